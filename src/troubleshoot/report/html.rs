//! Text that becomes HTML, and figures that become text.
#![forbid(unsafe_code)]

use serde_json::Value;

/// Whatever comes from the database, made harmless within elements and quoted attributes. What would turn the writing
/// around or cannot be seen shows as a replacement character: names are not to look like others.
pub fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' | '\t' => html.push(c),
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}' => {
                html.push('\u{FFFD}')
            }
            control if control.is_control() => html.push('\u{FFFD}'),
            other => html.push(other),
        }
    }
    html
}

/// The first characters of a text.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

pub fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

pub fn number(of: &Value, key: &str) -> Option<f64> {
    of.get(key).and_then(Value::as_f64)
}

pub fn rows<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Thousands parted, with as many decimals as tell something.
pub fn count(value: f64) -> String {
    crate::troubleshoot::explain::core::figure(value)
}

pub fn bytes(value: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut scaled = value;
    let mut unit = 0;
    while scaled.abs() >= 1_000.0 && unit + 1 < units.len() {
        scaled /= 1_024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{scaled:.0} B")
    } else if scaled.abs() >= 100.0 {
        format!("{scaled:.0} {}", units[unit])
    } else {
        format!("{scaled:.1} {}", units[unit])
    }
}

pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1_000.0),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// A column of a table: its heading, whether it has figures, and whether it names the row.
pub struct Column {
    pub heading: &'static str,
    pub class: &'static str,
}

pub const fn main(heading: &'static str) -> Column {
    Column { heading, class: "main" }
}

pub const fn words(heading: &'static str) -> Column {
    Column { heading, class: "" }
}

/// Words that may be broken anywhere, for names and statements are long.
pub const fn long(heading: &'static str) -> Column {
    Column { heading, class: "long" }
}

pub const fn figures(heading: &'static str) -> Column {
    Column { heading, class: "n" }
}

/// A table of cells that are HTML already; on a phone each cell carries its heading.
pub fn table(caption: &str, columns: &[Column], lines: &[Vec<String>]) -> String {
    let mut html = format!("<table aria-label=\"{}\"><thead><tr>", escaped(caption));
    for column in columns {
        html.push_str(&format!("<th scope=\"col\" class=\"{}\">{}</th>", column.class, column.heading));
    }
    html.push_str("</tr></thead><tbody>");
    for line in lines {
        html.push_str("<tr>");
        for (column, cell) in columns.iter().zip(line) {
            html.push_str(&format!(
                "<td class=\"{}\" data-label=\"{}\"><span>{cell}</span></td>",
                column.class, column.heading
            ));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_the_database_becomes_markup() {
        assert_eq!(
            escaped("<script>alert('x')</script> \"a\" & b\u{202E}\u{1}\u{7F}"),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &quot;a&quot; &amp; b\u{FFFD}\u{FFFD}\u{FFFD}"
        );
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(
            (bytes(0.0), bytes(1_023.0), bytes(1_536.0)),
            ("0 B".into(), "1.0 kB".into(), "1.5 kB".into())
        );
        assert_eq!(
            (duration(0.25), duration(90.0), duration(7_200.0)),
            ("250 ms".into(), "90.0 s".into(), "2.0 h".into())
        );
        assert_eq!((cut("abc", 3), cut("abcd", 3)), ("abc".into(), "ab…".into()));
    }
}
