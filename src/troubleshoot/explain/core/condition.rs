//! Reads a filter as the server prints it: which columns it compares, and how.
//!
//! The text is the server's own, so its form is known: every operation stands in brackets, columns carry their table's
//! alias where there is more than one, and names that need quotes have them.

/// A comparison of a column with something that is no column of the same table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub column: String,
    pub is_equality: bool,
    /// The type that the column is turned into before it is compared, where that keeps its indexes out.
    pub cast: Option<String>,
}

/// The parts of a conjunction, without their brackets.
pub fn conjuncts(filter: &str) -> Vec<&str> {
    let inner = unwrapped(filter.trim());
    let parts = split_at_top(inner, " AND ");
    if parts.len() == 1 {
        return vec![inner];
    }
    parts.into_iter().map(|part| unwrapped(part.trim())).collect()
}

/// Walks a text outside of its quotes: the byte's place, the byte, and how deep in brackets it is.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, u8, usize)> + '_ {
    let mut quote = None;
    let mut depth = 0_usize;
    text.bytes().enumerate().filter_map(move |(at, byte)| {
        match (quote, byte) {
            (Some(open), _) => {
                if byte == open {
                    quote = None;
                }
                return None;
            }
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                return None;
            }
            (None, b'(') => depth += 1,
            (None, b')') => {
                depth = depth.saturating_sub(1);
                return Some((at, byte, depth + 1));
            }
            _ => {}
        }
        Some((at, byte, depth))
    })
}

fn split_at_top<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, _, depth) in outside_quotes(text) {
        if depth == 0 && at >= start && text[at..].starts_with(separator) {
            parts.push(&text[start..at]);
            start = at + separator.len();
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Without the brackets around all of it.
fn unwrapped(text: &str) -> &str {
    if !text.starts_with('(') || !text.ends_with(')') {
        return text;
    }
    let closes = outside_quotes(text).find(|(_, byte, depth)| *byte == b')' && *depth == 1);
    match closes {
        Some((at, _, _)) if at + 1 == text.len() => unwrapped(&text[1..at]),
        _ => text,
    }
}

const OPERATORS: [(&str, bool); 6] =
    [(" = ", true), (" >= ", false), (" <= ", false), (" > ", false), (" < ", false), (" = ANY ", true)];

/// A conversion after which an index of the column still serves.
fn keeps_indexes(cast: &str) -> bool {
    matches!(cast, "text" | "bpchar" | "name")
}

/// A column by itself, perhaps converted: `a.b`, `b`, `(a.b)::text`, `"B"`.
fn column<'c>(
    side: &str,
    alias: Option<&str>,
    columns: &'c [String],
) -> Option<(&'c String, Option<String>)> {
    let (named, cast) = match side.rsplit_once("::") {
        Some((named, cast)) => (unwrapped(named.trim()), Some(cast.trim().to_owned())),
        None => (unwrapped(side.trim()), None),
    };
    let plain = |name: &str| match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_owned(),
    };
    let found = columns.iter().find(|column| {
        let bare = plain(named) == **column;
        let prefixed = alias.is_some_and(|alias| {
            let quoted_alias = format!("\"{}\".", alias.replace('"', "\"\""));
            let rest = named.strip_prefix(alias).and_then(|rest| rest.strip_prefix('.'));
            rest.or_else(|| named.strip_prefix(quoted_alias.as_str()))
                .is_some_and(|rest| plain(rest) == **column)
        });
        bare || prefixed
    })?;
    Some((found, cast.filter(|cast| !keeps_indexes(cast))))
}

/// The comparison that a part makes, if it is a plain one.
pub fn comparison(part: &str, alias: Option<&str>, columns: &[String]) -> Option<Comparison> {
    OPERATORS.iter().find_map(|(operator, is_equality)| {
        let sides = split_at_top(part, operator);
        let [left, right] = sides[..] else { return None };
        let of = |side, other| {
            let (name, cast) = column(side, alias, columns)?;
            // The other side must be known before the table is looked at.
            columns_in(other, alias, columns).is_empty().then(|| Comparison {
                column: name.clone(),
                is_equality: *is_equality,
                cast,
            })
        };
        of(left, right).or_else(|| of(right, left))
    })
}

/// Every column of the table that a text names, in its order.
pub fn columns_in(text: &str, alias: Option<&str>, columns: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == '.' || c == '"';
    let unquoted = without_strings(text);
    for word in unquoted.split(|c: char| !is_part(c)).filter(|word| !word.is_empty()) {
        if let Some((name, _)) = column(word, alias, columns)
            && !found.contains(name)
        {
            found.push(name.clone());
        }
    }
    found
}

fn without_strings(text: &str) -> String {
    let mut inside = false;
    text.chars()
        .filter(|c| {
            if *c == '\'' {
                inside = !inside;
                return false;
            }
            !inside
        })
        .collect()
}
