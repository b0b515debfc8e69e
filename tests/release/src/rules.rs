//! What is done with a statement that the frozen script does not have.

use crate::split::Statement;

pub enum Rule {
    /// Not part of an upgrade: what the finish does, and what pgrx writes for schemas that are there.
    LeaveOut,
    /// As it stands, also over an older one.
    Latest,
    /// As it stands, or in place of an older one of the same name.
    Replace,
    /// As it stands; what it stood for before is somebody's to think about.
    Plain,
}

/// Statements that OR REPLACE is for.
const REPLACED: [&str; 3] = ["CREATE FUNCTION", "CREATE PROCEDURE", "CREATE VIEW"];

pub fn rule(statement: &Statement) -> Rule {
    let normal = statement.normal.as_str();
    if normal.starts_with("REVOKE ") && normal.ends_with(" FROM PUBLIC")
        || normal.starts_with("CREATE SCHEMA IF NOT EXISTS ")
    {
        Rule::LeaveOut
    } else if normal.starts_with("COMMENT ON ") || normal.starts_with(CONFIG_DUMP) {
        Rule::Latest
    } else if REPLACED.iter().any(|kind| normal.starts_with(kind)) {
        Rule::Replace
    } else {
        Rule::Plain
    }
}

const CONFIG_DUMP: &str = "SELECT pg_catalog.pg_extension_config_dump(";

/// What stays when a statement is changed: what it makes or fills. Whole statements are their own names else.
pub fn name(statement: &Statement) -> String {
    let normal = statement.normal.as_str();
    let up_to = |end: Option<usize>| normal[..end.unwrap_or(normal.len())].trim_end().to_owned();
    if normal.starts_with("CREATE FUNCTION") || normal.starts_with("CREATE PROCEDURE") {
        up_to(end_of_arguments(normal)).replace("( )", "()")
    } else if normal.starts_with("COMMENT ON ") {
        up_to(normal.find(" IS "))
    } else if normal.starts_with(CONFIG_DUMP) {
        up_to(normal.find(','))
    } else if ["CREATE TABLE ", "CREATE VIEW ", "INSERT INTO ", "CREATE DOMAIN ", "CREATE TYPE ", "CREATE SEQUENCE "]
        .iter()
        .any(|kind| normal.starts_with(kind))
    {
        words(normal, 3)
    } else {
        normal.to_owned()
    }
}

fn words(normal: &str, count: usize) -> String {
    normal.split(' ').take(count).collect::<Vec<_>>().join(" ")
}

/// After the bracket that closes the arguments' list.
fn end_of_arguments(normal: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, character) in normal.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth == 1 => return Some(at + 1),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

pub fn or_replace(text: &str) -> String {
    text.replacen("CREATE", "CREATE OR REPLACE", 1)
}
