//! A plan as EXPLAIN (FORMAT JSON) writes it, and what is to be known of a node's surroundings to judge it.

use serde_json::Value;

/// A node, and how it is run.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    json: &'a Value,
    /// Whether the node above may stop before this one has given all its rows: what has not come was not misjudged.
    pub may_stop_early: bool,
    /// Whether rows are read again after a mark was restored, and so counted twice.
    pub is_rewound: bool,
}

impl<'a> Node<'a> {
    pub fn top(json: &'a Value) -> Self {
        Node { json, may_stop_early: false, is_rewound: false }
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.json.get(key)?.as_str()
    }

    pub fn number(&self, key: &str) -> Option<f64> {
        number(self.json.get(key)?)
    }

    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.json.get(key)
    }

    pub fn kind(&self) -> &'a str {
        self.text("Node Type").unwrap_or("Result")
    }

    pub fn is_join(&self) -> bool {
        matches!(self.kind(), "Nested Loop" | "Hash Join" | "Merge Join")
    }

    pub fn is_scan(&self) -> bool {
        self.kind().ends_with("Scan")
    }

    /// How often it was run; nothing where the plan was not run at all.
    pub fn loops(&self) -> Option<f64> {
        self.number("Actual Loops")
    }

    /// Rows that it was to give and gave, each time.
    pub fn rows(&self) -> Option<(f64, f64)> {
        Some((self.number("Plan Rows")?, self.number("Actual Rows")?))
    }

    /// Rows that came, or that were expected where the plan was not run.
    pub fn likely_rows(&self) -> f64 {
        self.number("Actual Rows").or_else(|| self.number("Plan Rows")).unwrap_or(0.0)
    }

    /// The table as `schema.name`, unquoted.
    pub fn relation(&self) -> Option<(&'a str, &'a str)> {
        Some((self.text("Schema").unwrap_or("pg_temp"), self.text("Relation Name")?))
    }

    pub fn alias(&self) -> Option<&'a str> {
        self.text("Alias").or_else(|| self.text("Relation Name"))
    }

    /// For people: `Seq Scan on app.payments p`.
    pub fn label(&self) -> String {
        let kind = match (self.kind(), self.text("Join Type")) {
            (kind @ ("Hash Join" | "Merge Join"), Some("Inner") | None) => kind.to_owned(),
            ("Nested Loop", Some("Inner") | None) => "Nested Loop".to_owned(),
            ("Hash Join", Some(join)) => format!("Hash {join} Join"),
            ("Merge Join", Some(join)) => format!("Merge {join} Join"),
            ("Nested Loop", Some(join)) => format!("Nested Loop {join} Join"),
            (kind, _) => kind.to_owned(),
        };
        let mut label = kind;
        if let Some(index) = self.text("Index Name") {
            label.push_str(&format!(" using {index}"));
        }
        if let Some((schema, name)) = self.relation() {
            label.push_str(&format!(" on {schema}.{name}"));
            if let Some(alias) = self.alias().filter(|alias| *alias != name) {
                label.push_str(&format!(" {alias}"));
            }
        } else if let Some(other) = self.text("CTE Name").or_else(|| self.text("Function Name")) {
            label.push_str(&format!(" on {other}"));
        }
        label
    }

    /// Whether all rows are taken in before the first is given out.
    fn takes_all(&self) -> bool {
        match self.kind() {
            "Sort" | "Hash" | "Bitmap Heap Scan" | "BitmapAnd" | "BitmapOr" => true,
            "Aggregate" => self.text("Strategy") != Some("Sorted"),
            _ => false,
        }
    }

    pub fn children(&self) -> Vec<Node<'a>> {
        let Some(plans) = self.json.get("Plans").and_then(Value::as_array) else { return Vec::new() };
        let stops_inner =
            matches!(self.text("Join Type"), Some("Semi" | "Anti" | "Right Anti" | "Right Semi"))
                || self.json.get("Inner Unique") == Some(&Value::Bool(true));
        let child = |json: &'a Value| {
            let relationship = json.get("Parent Relationship").and_then(Value::as_str).unwrap_or("Outer");
            let mine = match (self.kind(), relationship) {
                (_, "SubPlan" | "InitPlan") | ("Limit" | "Merge Join", _) => true,
                ("Nested Loop", "Inner") => stops_inner,
                _ => false,
            };
            Node {
                json,
                may_stop_early: mine || (self.may_stop_early && !self.takes_all()),
                is_rewound: self.kind() == "Merge Join" && relationship == "Inner"
                    || self.is_rewound && matches!(self.kind(), "Materialize" | "Sort"),
            }
        };
        plans.iter().map(child).collect()
    }

    pub fn child(&self, relationship: &str) -> Option<Node<'a>> {
        self.children().into_iter().find(|child| child.text("Parent Relationship") == Some(relationship))
    }

    /// Itself and all below, from the top.
    pub fn all(self) -> Vec<Node<'a>> {
        let mut all = vec![self];
        let mut at = 0;
        while let Some(node) = all.get(at).copied() {
            all.extend(node.children());
            at += 1;
        }
        all
    }
}

/// A number, however exactly it is written.
pub fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}
