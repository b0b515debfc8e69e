//! What is wrong with a run as a whole.

use super::plan::{Node, number};
use super::{Finding, Judge, Severity, figure};
use serde_json::Value;

/// Of the time that the query ran.
const PERCENT_COMPILING: f64 = 50.0;
const MS_THAT_MATTER: f64 = 50.0;

impl Judge<'_> {
    fn of_the_run(
        &mut self,
        check_id: &'static str,
        value: f64,
        detail: String,
        remedy: &str,
        sql: Option<&str>,
    ) {
        self.findings.push(Finding {
            check_id,
            severity: Severity::Info,
            node: "the query".into(),
            object: None,
            value,
            unit: "ms",
            threshold: MS_THAT_MATTER,
            detail,
            remedy: remedy.into(),
            remediation_sql: sql.map(str::to_owned),
            index: None,
        });
    }

    pub(super) fn compilation(&mut self, whole: &Value) {
        let spent = whole.get("JIT").and_then(|jit| number(jit.get("Timing")?.get("Total")?));
        let (Some(spent), Some(ran)) = (spent, whole.get("Execution Time").and_then(number)) else { return };
        if spent < MS_THAT_MATTER || 100.0 * spent < PERCENT_COMPILING * ran {
            return;
        }
        let detail =
            format!("Of {} ms the query spent {} ms on compiling itself.", figure(ran), figure(spent));
        let remedy = "Switch compilation off for such queries, or raise jit_above_cost.";
        self.of_the_run("jit", spent, detail, remedy, Some("SET LOCAL jit = off"));
    }

    pub(super) fn planning(&mut self, whole: &Value) {
        let time = |key: &str| whole.get(key).and_then(number);
        let (Some(planned), Some(ran)) = (time("Planning Time"), time("Execution Time")) else { return };
        if planned < MS_THAT_MATTER || planned < 2.0 * ran {
            return;
        }
        let detail = format!("It was planned for {} ms and ran for {} ms.", figure(planned), figure(ran));
        let remedy = "Keep the plan: a prepared statement, fewer partitions that cannot be told apart early, fewer joined tables.";
        self.of_the_run("planning", planned, detail, remedy, None);
    }

    pub(super) fn workers(&mut self, node: Node) {
        let (Some(planned), Some(came)) = (node.number("Workers Planned"), node.number("Workers Launched"))
        else {
            return;
        };
        if came >= planned {
            return;
        }
        self.findings.push(Finding {
            check_id: "workers",
            severity: Severity::Info,
            node: node.label(),
            object: None,
            value: planned - came,
            unit: "workers",
            threshold: 1.0,
            detail: format!("{} of {} parallel workers were to be had.", figure(came), figure(planned)),
            remedy: "max_parallel_workers and max_worker_processes bound all sessions together; the plan was made for more than there were.".into(),
            remediation_sql: None,
            index: None,
        });
    }
}
