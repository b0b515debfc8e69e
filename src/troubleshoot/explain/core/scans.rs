//! Scans: what they read for nothing.

use super::facts::Table;
use super::plan::Node;
use super::remedy::{Index, comparisons, filtered_columns, index_for};
use super::{Finding, Judge, Severity, figure, reached};

const PERCENT_THROWN_AWAY: [(f64, Severity); 2] = [(50.0, Severity::Info), (90.0, Severity::Warning)];
const ROWS_THROWN_AWAY: f64 = 10_000.0;
/// Of 8 kB: from 8 MB on a table takes noticeable time to read, from 100 MB on it takes the cache from others.
const PAGES: [(f64, Severity); 2] = [(1_000.0, Severity::Info), (12_800.0, Severity::Warning)];
/// Of a table's rows: above this reading all of it is the right way.
const SELECTIVE: f64 = 0.1;
const HEAP_FETCHES: f64 = 1_000.0;

impl Table {
    /// Whether statistics say little: a fifth of the rows changed since they were gathered, or they never were.
    pub fn is_stale(&self) -> bool {
        self.percent_changed() >= STALE_PERCENT[0].0
    }

    fn percent_changed(&self) -> f64 {
        if self.is_partitioned || self.likely_rows() < STALE_ROWS {
            return 0.0;
        }
        if self.rows < 0.0 {
            return 100.0;
        }
        if self.modified_rows < STALE_ROWS { 0.0 } else { 100.0 * self.modified_rows / self.rows.max(1.0) }
    }
}

const STALE_PERCENT: [(f64, Severity); 2] = [(20.0, Severity::Info), (50.0, Severity::Warning)];
const STALE_ROWS: f64 = 1_000.0;

impl Judge<'_> {
    /// Rows that were read, looked at and left; answers whether there was something to say.
    pub(super) fn filter(&mut self, node: Node) -> bool {
        let Some(loops) = node.loops().filter(|loops| *loops > 0.0) else { return false };
        if !node.is_scan() && !node.is_join() {
            return false;
        }
        let removed: f64 = ["Rows Removed by Filter", "Rows Removed by Join Filter"]
            .into_iter()
            .filter_map(|key| node.number(key))
            .sum();
        let kept = node.number("Actual Rows").unwrap_or(0.0);
        if removed * loops < ROWS_THROWN_AWAY {
            return false;
        }
        let percent = 100.0 * removed / (removed + kept);
        let Some((severity, threshold)) = reached(percent, &PERCENT_THROWN_AWAY) else {
            return false;
        };
        let detail = format!(
            "It read {} rows and threw {} of them away ({} %).",
            figure((removed + kept) * loops),
            figure(removed * loops),
            figure(percent)
        );
        let table = self.facts.table_of(node);
        let (remedy, index) = match table {
            Some(table) => for_scan(node, table),
            None => (
                "Compare columns of the two sides for equality, so that they can be hashed or merged.".into(),
                None,
            ),
        };
        self.findings.push(Finding {
            check_id: "filter",
            severity,
            node: node.label(),
            object: table.map(|table| table.quoted.clone()),
            value: percent,
            unit: "percent",
            threshold,
            detail,
            remedy,
            remediation_sql: index.as_ref().map(Index::sql),
            index,
        });
        true
    }

    /// A large table read as a whole for a few of its rows, be it run or only planned.
    pub(super) fn large_scan(&mut self, node: Node) {
        let Some(table) = self.facts.table_of(node) else { return };
        let wants_few = node.likely_rows() * node.loops().unwrap_or(1.0) <= SELECTIVE * table.likely_rows();
        // A scan that something above ends early reads less than all of it.
        let is_full = node.kind() == "Seq Scan" && node.text("Filter").is_some() && !node.may_stop_early;
        let Some((severity, threshold)) = reached(table.pages, &PAGES) else { return };
        if !is_full || !wants_few {
            return;
        }
        let (remedy, index) = for_scan(node, table);
        self.findings.push(Finding {
            check_id: "large_scan",
            severity,
            node: node.label(),
            object: Some(table.quoted.clone()),
            value: table.pages * 8_192.0,
            unit: "bytes",
            threshold: threshold * 8_192.0,
            detail: format!(
                "It reads all {} MB of the table for about {} of its {} rows.",
                figure(table.pages / 128.0),
                figure(node.likely_rows()),
                figure(table.likely_rows())
            ),
            remedy,
            remediation_sql: index.as_ref().map(Index::sql),
            index,
        });
    }

    /// A column that is turned into another type before it is compared, so that its index cannot serve.
    pub(super) fn casts(&mut self, node: Node) {
        let Some(table) = self.facts.table_of(node).filter(|table| table.likely_rows() >= STALE_ROWS) else {
            return;
        };
        let casts = comparisons(node, "Filter", table);
        let hidden = casts.into_iter().find_map(|one| Some((one.cast?, one.column)));
        let Some((cast, column)) = hidden else { return };
        if !table.has_index_on(std::slice::from_ref(&column)) {
            return;
        }
        self.findings.push(Finding {
            check_id: "cast",
            severity: Severity::Warning,
            node: node.label(),
            object: Some(table.quoted.clone()),
            value: table.likely_rows(),
            unit: "rows",
            threshold: STALE_ROWS,
            detail: format!(
                "Column {column} has an index, which cannot be used: it is turned into {cast} to be compared."
            ),
            remedy:
                "Give the parameter the column's own type, in the client or with a cast of the parameter."
                    .into(),
            remediation_sql: None,
            index: None,
        });
    }

    pub(super) fn heap_fetches(&mut self, node: Node) {
        let (Some(fetches), Some(loops)) = (node.number("Heap Fetches"), node.loops()) else { return };
        let rows = node.number("Actual Rows").unwrap_or(0.0) * loops;
        if fetches < HEAP_FETCHES || fetches < rows / 2.0 {
            return;
        }
        let table = self.facts.table_of(node);
        self.findings.push(Finding {
            check_id: "heap_fetches",
            severity: Severity::Info,
            node: node.label(),
            object: table.map(|table| table.quoted.clone()),
            value: fetches,
            unit: "fetches",
            threshold: HEAP_FETCHES,
            detail: format!(
                "An index-only scan of {} rows went to the table {} times to see whether they are visible.",
                figure(rows),
                figure(fetches)
            ),
            remedy: "VACUUM marks pages as visible to all; have autovacuum come to this table more often."
                .into(),
            remediation_sql: table.map(|table| format!("VACUUM {}", table.quoted)),
            index: None,
        });
    }

    /// Of the tables, not of a node.
    pub(super) fn statistics(&mut self) {
        for table in &self.facts.tables {
            let percent = table.percent_changed();
            let Some((severity, threshold)) = reached(percent, &STALE_PERCENT) else { continue };
            let detail = if table.rows < 0.0 {
                format!("The table was never analyzed, and has about {} rows.", figure(table.live_rows))
            } else {
                format!(
                    "{} rows were changed since the table of {} was analyzed.",
                    figure(table.modified_rows),
                    figure(table.rows)
                )
            };
            self.findings.push(Finding {
                check_id: "stale_statistics",
                severity,
                node: table.quoted.clone(),
                object: Some(table.quoted.clone()),
                value: percent,
                unit: "percent",
                threshold,
                detail,
                remedy: "Gather statistics now, and lower autovacuum_analyze_scale_factor for the table if it happens again.".into(),
                remediation_sql: Some(format!("ANALYZE {}", table.quoted)),
                index: None,
            });
        }
    }
}

fn for_scan(node: Node, table: &Table) -> (String, Option<Index>) {
    if let Some(index) = index_for(node, table) {
        return ("An index over what is compared would find the rows at once.".into(), Some(index));
    }
    let columns = filtered_columns(node, table);
    let remedy = if !columns.is_empty() && table.has_index_on(&columns[..1]) {
        "There is an index on what is compared, and the planner did not think it worth its while: look at the estimates, at the order of the index's columns, and at random_page_cost."
    } else {
        "The condition is no plain comparison: an index on the expression, or of the kind that its operator wants (trigrams, GIN, GiST), can serve it."
    };
    (remedy.into(), None)
}
