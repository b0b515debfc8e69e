//! What the catalog says of the tables of a plan, and the settings that it was made under.

use super::plan::{Node, number};
use serde_json::Value;

/// A table of the plan.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub schema: String,
    pub name: String,
    /// Both names, quoted where they must be.
    pub quoted: String,
    /// Rows when statistics were last gathered; below zero where they never were.
    pub rows: f64,
    pub pages: f64,
    pub live_rows: f64,
    pub modified_rows: f64,
    pub is_partitioned: bool,
    pub columns: Vec<String>,
    /// The columns of each valid index without a condition, in its order.
    pub indexes: Vec<Vec<String>>,
}

#[derive(Clone, Debug)]
pub struct Facts {
    pub tables: Vec<Table>,
    pub work_mem_kb: f64,
    pub hash_mem_multiplier: f64,
}

fn text(json: &Value, key: &str) -> String {
    json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(json: &Value) -> Vec<String> {
    json.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Table {
    fn of(json: &Value) -> Table {
        let figure = |key: &str| json.get(key).and_then(number).unwrap_or(0.0);
        Table {
            schema: text(json, "schema"),
            name: text(json, "name"),
            quoted: text(json, "quoted"),
            rows: figure("rows"),
            pages: figure("pages"),
            live_rows: figure("live_rows"),
            modified_rows: figure("modified_rows"),
            is_partitioned: json.get("is_partitioned") == Some(&Value::Bool(true)),
            columns: json.get("columns").map(texts).unwrap_or_default(),
            indexes: json.get("indexes").and_then(Value::as_array).into_iter().flatten().map(texts).collect(),
        }
    }

    /// As large as it is known to be.
    pub fn likely_rows(&self) -> f64 {
        self.rows.max(self.live_rows)
    }

    pub fn has_index_on(&self, columns: &[String]) -> bool {
        self.indexes.iter().any(|index| {
            index.len() >= columns.len()
                && index[..columns.len()].iter().all(|column| columns.contains(column))
        })
    }
}

impl Facts {
    pub fn of(json: &Value) -> Facts {
        let figure = |key: &str, else_it_is| json.get(key).and_then(number).unwrap_or(else_it_is);
        Facts {
            tables: json
                .get("tables")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(Table::of)
                .collect(),
            work_mem_kb: figure("work_mem_kb", 4_096.0),
            hash_mem_multiplier: figure("hash_mem_multiplier", 2.0).max(1.0),
        }
    }

    pub fn table_of(&self, node: Node) -> Option<&Table> {
        let (schema, name) = node.relation()?;
        self.tables.iter().find(|table| table.schema == schema && table.name == name)
    }
}
