//! Prometheus' text exposition format, version 0.0.4.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write;

/// A figure and the labels that tell it from others of its name.
pub struct Figure {
    pub metric: String,
    pub is_counter: bool,
    pub labels: Vec<(String, String)>,
    /// As the server writes a `numeric`.
    pub value: String,
    pub help: String,
}

const PREFIX: &str = "neobank_";

/// Backslash and line feed, and in labels the quote too.
fn escaped(text: &str, with_quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if with_quotes => escaped.push_str("\\\""),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `numeric` has the names of these in another spelling.
fn number(value: &str) -> &str {
    match value {
        "Infinity" => "+Inf",
        "-Infinity" => "-Inf",
        other => other,
    }
}

/// All figures of a name stand together, below its help and type.
pub fn exposition(figures: &[Figure]) -> String {
    let mut by_name: BTreeMap<&str, Vec<&Figure>> = BTreeMap::new();
    for figure in figures {
        by_name.entry(&figure.metric).or_default().push(figure);
    }
    let mut text = String::new();
    for (name, figures) in by_name {
        let first = figures[0];
        let kind = if first.is_counter { "counter" } else { "gauge" };
        writeln!(text, "# HELP {PREFIX}{name} {}", escaped(&first.help, false)).expect("a string takes it");
        writeln!(text, "# TYPE {PREFIX}{name} {kind}").expect("a string takes it");
        for figure in figures {
            let labels: Vec<String> = figure
                .labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value, true)))
                .collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            writeln!(text, "{PREFIX}{name}{labels} {}", number(&figure.value)).expect("a string takes it");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(metric: &str, labels: &[(&str, &str)], value: &str) -> Figure {
        Figure {
            metric: metric.into(),
            is_counter: metric.ends_with("_total"),
            labels: labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            value: value.into(),
            help: "Back\\slash\nand line.".into(),
        }
    }

    #[test]
    fn names_stand_together_and_texts_are_escaped() {
        let figures = [
            figure("rows", &[("table", "a\"b\\c\nd")], "1"),
            figure("commits_total", &[], "12.5"),
            figure("rows", &[("table", "e"), ("schema", "é")], "-Infinity"),
        ];
        assert_eq!(
            exposition(&figures),
            "# HELP neobank_commits_total Back\\\\slash\\nand line.\n\
             # TYPE neobank_commits_total counter\n\
             neobank_commits_total 12.5\n\
             # HELP neobank_rows Back\\\\slash\\nand line.\n\
             # TYPE neobank_rows gauge\n\
             neobank_rows{table=\"a\\\"b\\\\c\\nd\"} 1\n\
             neobank_rows{table=\"e\",schema=\"é\"} -Inf\n"
        );
        assert_eq!(exposition(&[]), "");
    }
}
