//! What is wrong with a plan, judged from EXPLAIN's JSON and a few facts of the catalog alone.
#![forbid(unsafe_code)]

mod condition;
mod facts;
mod plan;
mod remedy;
mod rows;
mod scans;
mod space;
#[cfg(test)]
mod tests;
mod whole;

pub use facts::Facts;
use plan::Node;
pub use remedy::Index;
use serde_json::Value;

pub use crate::troubleshoot::severity::Severity;

/// By the highest of three thresholds that the figure reaches, and that threshold.
fn reached(value: f64, levels: &[(f64, Severity)]) -> Option<(Severity, f64)> {
    levels
        .iter()
        .filter(|(least, _)| value >= *least)
        .map(|(least, severity)| (*severity, *least))
        .max_by_key(|(severity, _)| *severity)
}

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug)]
pub struct Finding {
    pub check_id: &'static str,
    pub severity: Severity,
    pub node: String,
    pub object: Option<String>,
    pub value: f64,
    pub unit: &'static str,
    pub threshold: f64,
    pub detail: String,
    pub remedy: String,
    pub remediation_sql: Option<String>,
    /// An index that would help, to be tried without being built.
    pub index: Option<Index>,
}

/// What the judges of single nodes share.
struct Judge<'a> {
    facts: &'a Facts,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    fn node(&mut self, node: Node) {
        self.misestimate(node);
        let thrown_away = self.filter(node);
        if !thrown_away {
            self.large_scan(node);
        }
        self.casts(node);
        self.nested_loop(node);
        self.repeated_subplan(node);
        self.sort(node);
        self.hash(node);
        self.hash_aggregate(node);
        self.stored_rows(node);
        self.lossy_bitmap(node);
        self.heap_fetches(node);
        self.workers(node);
    }
}

/// What is wrong, the worst first. `explained` is what EXPLAIN answered: an array of plans.
pub fn judge(explained: &Value, facts: &Facts) -> Vec<Finding> {
    let mut judge = Judge { facts, findings: Vec::new() };
    for whole in explained.as_array().into_iter().flatten() {
        let Some(top) = whole.get("Plan") else { continue };
        for node in Node::top(top).all() {
            judge.node(node);
        }
        judge.compilation(whole);
        judge.planning(whole);
    }
    judge.statistics();
    let mut findings = judge.findings;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// The plan in one sentence.
pub fn summary(explained: &Value) -> String {
    let wholes: Vec<&Value> = explained.as_array().into_iter().flatten().collect();
    let tops: Vec<Node> = wholes.iter().filter_map(|whole| whole.get("Plan")).map(Node::top).collect();
    let nodes: usize = tops.iter().map(|top| top.all().len()).sum();
    let cost: f64 = tops.iter().filter_map(|top| top.number("Total Cost")).sum();
    let expected: f64 = tops.iter().filter_map(|top| top.number("Plan Rows")).sum();
    let mut text = format!("{nodes} nodes, cost {}, {} rows expected", figure(cost), figure(expected));
    let ran: f64 = wholes.iter().filter_map(|whole| whole.get("Execution Time")?.as_f64()).sum();
    if tops.iter().any(|top| top.loops().is_some()) {
        let rows: f64 = tops.iter().filter_map(|top| top.number("Actual Rows")).sum();
        text.push_str(&format!(", {} came, in {} ms", figure(rows), figure(ran)));
    } else {
        text.push_str("; not run");
    }
    text
}

/// The cost of all of it, as the planner reckons.
pub fn cost(explained: &Value) -> f64 {
    explained
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|whole| whole.get("Plan")?.get("Total Cost")?.as_f64())
        .sum()
}

/// The tables of a plan, as two arrays: schemas and names.
pub fn tables(explained: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for top in explained.as_array().into_iter().flatten().filter_map(|whole| whole.get("Plan")) {
        for node in Node::top(top).all() {
            if let Some((schema, name)) = node.relation() {
                let table = (schema.to_owned(), name.to_owned());
                if !found.contains(&table) {
                    found.push(table);
                }
            }
        }
    }
    found
}

/// The name of the index in a plan that was made with a hypothetical one, which carries its number.
pub fn uses_index(explained: &Value, name: &str) -> bool {
    let mut plans = explained.as_array().into_iter().flatten().filter_map(|whole| whole.get("Plan"));
    plans.any(|top| Node::top(top).all().iter().any(|node| node.text("Index Name") == Some(name)))
}

/// A figure for people: three digits that count, thousands parted.
pub fn figure(value: f64) -> String {
    let rounded = if value.abs() >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    };
    let (whole, rest) = rounded.split_once('.').map_or((rounded.as_str(), ""), |(whole, rest)| (whole, rest));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if rest.is_empty() { format!("{sign}{text}") } else { format!("{sign}{text}.{rest}") }
}
