//! What to do: indexes, statistics, memory.

use super::condition::{Comparison, columns_in, comparison, conjuncts};
use super::facts::Table;
use super::plan::Node;

/// An index to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The table, quoted.
    pub table: String,
    pub columns: Vec<String>,
}

impl Index {
    fn list(&self) -> String {
        self.columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ")
    }

    /// Made beside the writers of the table.
    pub fn sql(&self) -> String {
        format!("CREATE INDEX CONCURRENTLY ON {} ({})", self.table, self.list())
    }

    /// For hypopg, which makes nothing.
    pub fn hypothetical_sql(&self) -> String {
        format!("CREATE INDEX ON {} ({})", self.table, self.list())
    }
}

/// As SQL takes a name. What needs no quotes is left without; a keyword is quoted by being short of none.
pub fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !KEYWORDS.contains(&name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The reserved words that people do call columns.
const KEYWORDS: [&str; 24] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "asc",
    "case",
    "check",
    "column",
    "default",
    "desc",
    "end",
    "from",
    "group",
    "limit",
    "offset",
    "order",
    "primary",
    "references",
    "select",
    "table",
    "to",
    "user",
    "when",
];

/// Comparisons of a node's own condition with what is known beforehand.
pub fn comparisons(node: Node, key: &str, table: &Table) -> Vec<Comparison> {
    let Some(filter) = node.text(key) else { return Vec::new() };
    conjuncts(filter).into_iter().filter_map(|part| comparison(part, node.alias(), &table.columns)).collect()
}

/// Equalities first, then one range: only that many columns of a b-tree narrow a search.
pub fn index_for(node: Node, table: &Table) -> Option<Index> {
    let known = comparisons(node, "Index Cond", table);
    let all: Vec<Comparison> = known
        .into_iter()
        .chain(comparisons(node, "Filter", table))
        .filter(|one| one.cast.is_none())
        .collect();
    let mut columns: Vec<String> = Vec::new();
    let ranges = all.iter().filter(|one| !one.is_equality).take(1);
    for one in all.iter().filter(|one| one.is_equality).chain(ranges) {
        if !columns.contains(&one.column) {
            columns.push(one.column.clone());
        }
    }
    columns.truncate(4);
    if columns.is_empty() || table.has_index_on(&columns) {
        return None;
    }
    Some(Index { table: table.quoted.clone(), columns })
}

/// Columns that are looked at together.
pub fn filtered_columns(node: Node, table: &Table) -> Vec<String> {
    let texts = ["Filter", "Index Cond", "Recheck Cond"].into_iter().filter_map(|key| node.text(key));
    let mut columns: Vec<String> = Vec::new();
    for column in texts.flat_map(|text| columns_in(text, node.alias(), &table.columns)) {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

/// A `work_mem` that is a power of two, at the least this many kilobytes; more than 2 GB is nobody's advice.
pub fn memory(kilobytes: f64) -> Option<String> {
    const MOST_KB: f64 = 2_097_152.0;
    if !(kilobytes.is_finite() && kilobytes <= MOST_KB) {
        return None;
    }
    let megabytes = (kilobytes / 1_024.0).ceil().max(1.0) as u64;
    Some(format!("SET LOCAL work_mem = '{}MB'", megabytes.next_power_of_two()))
}

pub const MEMORY: &str = "Raise work_mem for this query alone, or have it handle fewer rows: each such node of each session may take as much.";
