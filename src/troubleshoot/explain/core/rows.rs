//! Rows: how many were expected, how many came, how often.

use super::plan::Node;
use super::remedy::{filtered_columns, quoted};
use super::{Finding, Judge, Severity, figure, reached};

/// As the viewers of plans grade them.
const TIMES_OFF: [(f64, Severity); 3] =
    [(10.0, Severity::Info), (100.0, Severity::Warning), (1_000.0, Severity::Critical)];
/// Below this nothing that is planned would be planned differently.
const ROWS_THAT_MATTER: f64 = 1_000.0;
const LOOPS_THAT_MATTER: f64 = 10_000.0;
/// Rows looked at over and over by a scan inside a loop.
const ROWS_RESCANNED: f64 = 1_000_000.0;
const ROWS_RESCANNED_AS_PLANNED: f64 = 10_000_000.0;

/// How many times more (above 1) or fewer (below -1) rows came than were expected.
fn times_off(node: Node) -> Option<f64> {
    let loops = node.loops().filter(|loops| *loops > 0.0)?;
    // Bitmaps are not counted in rows, and what only hands on is judged where it comes from.
    if matches!(
        node.kind(),
        "BitmapAnd" | "BitmapOr" | "Bitmap Index Scan" | "Limit" | "LockRows" | "ModifyTable"
    ) {
        return None;
    }
    let (expected, came) = node.rows()?;
    let (expected, came) = (expected.max(1.0), came.max(1.0));
    if expected.max(came) * loops < ROWS_THAT_MATTER {
        return None;
    }
    let times = if came >= expected { came / expected } else { -expected / came };
    let excused = if times > 0.0 { node.is_rewound } else { node.may_stop_early };
    (!excused && times.abs() >= TIMES_OFF[0].0).then_some(times)
}

/// Whether the mistake comes from a node below.
fn is_inherited(node: Node, times: f64) -> bool {
    node.children().into_iter().any(|child| {
        let own = times_off(child).is_some_and(|below| below.signum() == times.signum());
        own || (matches!(child.kind(), "Bitmap Index Scan" | "Limit") && is_inherited(child, times))
    })
}

impl Judge<'_> {
    pub(super) fn misestimate(&mut self, node: Node) {
        let Some(times) = times_off(node) else { return };
        if is_inherited(node, times) {
            return;
        }
        let Some((severity, threshold)) = reached(times.abs(), &TIMES_OFF) else { return };
        let (expected, came) = node.rows().unwrap_or_default();
        let loops = node.loops().unwrap_or(1.0);
        let each = if loops > 1.0 { format!(" each of {} times", figure(loops)) } else { String::new() };
        let detail = format!(
            "The planner expected {} rows and {} came{each}: {} times {}.",
            figure(expected),
            figure(came),
            figure(times.abs()),
            if times > 0.0 { "more" } else { "fewer" }
        );
        let (remedy, remediation_sql, object) = self.for_estimates(node);
        self.findings.push(Finding {
            check_id: "misestimate",
            severity,
            node: node.label(),
            object,
            value: times.abs(),
            unit: "times",
            threshold,
            detail,
            remedy,
            remediation_sql,
            index: None,
        });
    }

    fn for_estimates(&self, node: Node) -> (String, Option<String>, Option<String>) {
        if node.kind() == "Function Scan" {
            let remedy = "Tell the planner how many rows the function answers: ALTER FUNCTION ... ROWS n, or a support function.";
            return (remedy.into(), None, node.text("Function Name").map(str::to_owned));
        }
        let Some(table) = self.facts.table_of(node) else {
            let remedy = if node.is_join() || node.kind() == "Aggregate" {
                "No statistics span tables or expressions: gather CREATE STATISTICS on the columns that are joined or grouped together, or materialise a step of the query into a temporary table and ANALYZE it."
            } else {
                "Look at the statistics of the tables below this node; a step that cannot be estimated may go into a temporary table that is analyzed."
            };
            return (remedy.into(), None, None);
        };
        let object = Some(table.quoted.clone());
        if table.is_stale() {
            let sql = format!("ANALYZE {}", table.quoted);
            return ("The table's statistics are out of date.".into(), Some(sql), object);
        }
        let columns = filtered_columns(node, table);
        match columns.len() {
            2..=8 => {
                let list: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
                let sql = format!(
                    "CREATE STATISTICS (dependencies, ndistinct, mcv) ON {} FROM {}; ANALYZE {}",
                    list.join(", "),
                    table.quoted,
                    table.quoted
                );
                let remedy = "The columns of the condition hang together, and the planner takes them for independent: statistics over them together tell it.";
                (remedy.into(), Some(sql), object)
            }
            1 => {
                let column = quoted(&columns[0]);
                let sql = format!(
                    "ALTER TABLE {} ALTER COLUMN {column} SET STATISTICS 1000; ANALYZE {}",
                    table.quoted, table.quoted
                );
                let remedy = "The sample of the column is too small for how its values are spread, or the condition is an expression: then CREATE STATISTICS on the expression helps.";
                (remedy.into(), Some(sql), object)
            }
            _ => {
                let sql = format!("ANALYZE {}", table.quoted);
                ("Gather statistics again, and look at what was changed since.".into(), Some(sql), object)
            }
        }
    }

    pub(super) fn nested_loop(&mut self, node: Node) {
        if node.kind() != "Nested Loop" {
            return;
        }
        let (Some(outer), Some(inner)) = (node.child("Outer"), node.child("Inner")) else { return };
        let scan = match inner.kind() {
            "Materialize" | "Memoize" => inner.child("Outer").unwrap_or(inner),
            _ => inner,
        };
        let found = match inner.loops() {
            Some(loops) => repeated(outer, inner, scan, loops),
            None => planned(outer, scan),
        };
        let Some((severity, value, threshold, detail)) = found else { return };
        let remedy = "With a right estimate of the outer side the planner would take a hash or merge join: put that right first, and index the inner side's join column if the loop is to stay.";
        self.findings.push(Finding {
            check_id: "nested_loop",
            severity,
            node: node.label(),
            object: scan.relation().map(|(schema, name)| format!("{}.{}", quoted(schema), quoted(name))),
            value,
            unit: "loops",
            threshold,
            detail,
            remedy: remedy.into(),
            remediation_sql: None,
            index: None,
        });
    }

    pub(super) fn repeated_subplan(&mut self, node: Node) {
        let Some(loops) = node.loops() else { return };
        if node.text("Parent Relationship") != Some("SubPlan") || loops < LOOPS_THAT_MATTER {
            return;
        }
        let severity = if loops >= 10.0 * LOOPS_THAT_MATTER { Severity::Warning } else { Severity::Info };
        self.findings.push(Finding {
            check_id: "repeated_subplan",
            severity,
            node: node.label(),
            object: node.text("Subplan Name").map(str::to_owned),
            value: loops,
            unit: "loops",
            threshold: LOOPS_THAT_MATTER,
            detail: format!("The subquery was run for each of {} rows.", figure(loops)),
            remedy: "Write it as a join, with EXISTS or NOT EXISTS in the place of IN or NOT IN, or as LEFT JOIN LATERAL over a grouped subquery.".into(),
            remediation_sql: None,
            index: None,
        });
    }
}

type Loop = (Severity, f64, f64, String);

/// A loop as it was run: far more often than planned, or over a table that is read as a whole each time.
fn repeated(outer: Node, inner: Node, scan: Node, loops: f64) -> Option<Loop> {
    let looked_at =
        scan.number("Rows Removed by Filter").unwrap_or(0.0) + scan.number("Actual Rows").unwrap_or(0.0);
    let rescanned = looked_at * loops;
    if scan.kind() == "Seq Scan" && loops >= 2.0 && rescanned >= ROWS_RESCANNED {
        let severity =
            if rescanned >= 100.0 * ROWS_RESCANNED { Severity::Critical } else { Severity::Warning };
        let detail =
            format!("Its inner side went through {} rows {} times over.", figure(looked_at), figure(loops));
        return Some((severity, loops, 2.0, detail));
    }
    let expected = outer.number("Plan Rows")?.max(1.0) * outer.loops()?.max(1.0);
    if inner.loops()? < LOOPS_THAT_MATTER || loops < 10.0 * expected {
        return None;
    }
    let severity = if loops >= 100.0 * expected { Severity::Critical } else { Severity::Warning };
    let detail = format!(
        "Its inner side was run {} times, and was planned to be run {} times.",
        figure(loops),
        figure(expected)
    );
    Some((severity, loops, LOOPS_THAT_MATTER, detail))
}

/// A loop that was only planned.
fn planned(outer: Node, scan: Node) -> Option<Loop> {
    let (loops, rows) = (outer.number("Plan Rows")?, scan.number("Plan Rows")?);
    if scan.kind() != "Seq Scan" || loops < 2.0 || loops * rows < ROWS_RESCANNED_AS_PLANNED {
        return None;
    }
    let detail =
        format!("Its inner side would go through {} rows {} times over.", figure(rows), figure(loops));
    Some((Severity::Warning, loops, 2.0, detail))
}
