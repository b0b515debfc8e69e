//! An install script taken apart into its statements.

/// One statement, as it stands and as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Without the comments before it, without its semicolon.
    pub text: String,
    /// The same without any comment and with single spaces, except in strings and bodies.
    pub normal: String,
}

/// The statements of a script in order. Comments between them and psql's own commands are left out.
pub fn statements(script: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut reader = Reader { rest: script, text: String::new(), normal: String::new() };
    while !reader.rest.is_empty() {
        if reader.text.is_empty() && reader.rest.starts_with('\\') {
            reader.rest = reader.rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if reader.rest.starts_with(';') && !reader.is_in_body() {
            reader.rest = &reader.rest[1..];
            found.extend(reader.finish());
        } else {
            reader.step();
        }
    }
    assert!(reader.finish().is_none(), "the script ends in the middle of a statement");
    found
}

struct Reader<'a> {
    rest: &'a str,
    text: String,
    normal: String,
}

impl Reader<'_> {
    fn finish(&mut self) -> Option<Statement> {
        let statement = Statement { text: self.text.trim_end().to_owned(), normal: self.normal.trim_end().to_owned() };
        self.text.clear();
        self.normal.clear();
        (!statement.normal.is_empty()).then_some(statement)
    }

    /// Whether a semicolon ends a statement of a function's body, which only the body's own END follows.
    fn is_in_body(&self) -> bool {
        self.normal.contains(" BEGIN ATOMIC ") && !self.normal.trim_end().ends_with("; END")
    }

    /// Takes the next comment, quoted piece or character.
    fn step(&mut self) {
        let rest = self.rest;
        if rest.starts_with("--") {
            self.comment(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.comment(end_of_comment(rest));
        } else if let Some(length) = quoted(rest) {
            self.keep(length, true);
        } else {
            let first = rest.chars().next().expect("the rest is not empty");
            self.keep(first.len_utf8(), false);
        }
    }

    /// Comments before a statement are not part of it.
    fn comment(&mut self, length: usize) {
        if !self.text.is_empty() {
            self.text.push_str(&self.rest[..length]);
        }
        self.space();
        self.rest = &self.rest[length..];
    }

    fn keep(&mut self, length: usize, is_quoted: bool) {
        let (piece, rest) = self.rest.split_at(length);
        let is_space = !is_quoted && piece.trim().is_empty();
        if !(is_space && self.text.is_empty()) {
            self.text.push_str(piece);
        }
        if is_space {
            self.space()
        } else {
            self.normal.push_str(piece)
        }
        self.rest = rest;
    }

    fn space(&mut self) {
        if !self.normal.is_empty() && !self.normal.ends_with(' ') {
            self.normal.push(' ');
        }
    }
}

/// The length of a comment in slashes and stars, which may hold others.
fn end_of_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    panic!("a comment does not end: {}", text.chars().take(60).collect::<String>());
}

/// The length of the string, quoted name or dollar-quoted body at the beginning, if one is there.
fn quoted(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    let mark = match first {
        '\'' | '"' => &text[..1],
        '$' => {
            let tag = text[1..].find('$')? + 2;
            let is_tag = text[1..tag - 1].chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !is_tag {
                return None;
            }
            &text[..tag]
        }
        _ => return None,
    };
    // A doubled quote ends one string and begins the next: what is between them is empty.
    let length = text[mark.len()..].find(mark).unwrap_or_else(|| panic!("{mark} does not end"));
    Some(length + 2 * mark.len())
}

#[cfg(test)]
mod tests {
    use super::statements;

    #[test]
    fn a_semicolon_in_quotes_or_a_comment_ends_nothing() {
        let script = "\\echo Use it \\quit\n-- first; not\nSELECT 'a;''b', \"c;d\" -- e; f\n  , $x$ g; $$ h $x$;\n\
                      /* i; /* j; */ */ DO $$ BEGIN; END $$;";
        let found = statements(script);
        assert_eq!(found.len(), 2, "{found:#?}");
        assert_eq!(found[0].normal, "SELECT 'a;''b', \"c;d\" , $x$ g; $$ h $x$");
        assert_eq!(found[1].text, "DO $$ BEGIN; END $$");
    }

    #[test]
    fn a_function_with_a_body_in_sql_is_one_statement() {
        let script = "CREATE FUNCTION f() RETURNS int\nBEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END;\n\
                      SELECT 2;\nEND;\nSELECT 3;";
        let found = statements(script);
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].text.ends_with("SELECT 2;\nEND"), "{found:#?}");
    }

    #[test]
    fn layout_and_comments_make_no_other_statement() {
        let [one, other] = ["CREATE  TABLE a (b int) -- c", "-- d\nCREATE TABLE\n a /* e */ (b int)"]
            .map(|text| statements(&format!("{text}\n;")).remove(0));
        assert_eq!(one.normal, other.normal);
        assert_ne!(one.text, other.text);
    }
}
