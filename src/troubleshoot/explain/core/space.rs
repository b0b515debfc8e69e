//! Memory: what did not fit into it.

use super::plan::{Node, number};
use super::remedy::{MEMORY, memory};
use super::{Finding, Judge, Severity, figure, reached};
use serde_json::Value;

/// Of temporary files.
const SPILLED_KB: [(f64, Severity); 2] = [(0.0, Severity::Info), (102_400.0, Severity::Warning)];
/// What rows take in memory as against in a file, where they are packed.
const MEMORY_PER_DISK: f64 = 3.0;
/// Bytes of a page's entry in a bitmap: its words, and two pointers of the hash table (tbm_calculate_entries in
/// tidbitmap.c).
const BYTES_PER_BITMAP_PAGE: f64 = 64.0;
const ROWS_RECHECKED: f64 = 10_000.0;
/// Pages at the end of a node's rows, which say nothing about the rest.
const LEAST_STORED_KB: f64 = 64.0;

impl Judge<'_> {
    fn spill(&mut self, node: Node, disk_kb: f64, wanted_kb: f64, what: String) {
        let (severity, threshold) =
            reached(disk_kb, &SPILLED_KB).unwrap_or((Severity::Info, SPILLED_KB[0].0));
        self.findings.push(Finding {
            check_id: "spill",
            severity,
            node: node.label(),
            object: None,
            value: disk_kb,
            unit: "kB",
            threshold,
            detail: what,
            remedy: MEMORY.into(),
            remediation_sql: memory(wanted_kb),
            index: None,
        });
    }

    pub(super) fn sort(&mut self, node: Node) {
        let workers = node.value("Workers").and_then(Value::as_array).into_iter().flatten();
        let of_workers = workers.filter_map(on_disk);
        let own = on_disk_of(node);
        let sorts: Vec<f64> = own.into_iter().chain(of_workers).collect();
        let groups = ["Full-sort Groups", "Pre-sorted Groups"]
            .into_iter()
            .filter_map(|key| number(node.value(key)?.get("Sort Space Disk")?.get("Peak Sort Space Used")?));
        let most = sorts.iter().copied().chain(groups).fold(0.0, f64::max);
        if most > 0.0 {
            let total: f64 = if sorts.is_empty() { most } else { sorts.iter().sum() };
            let what = format!(
                "The sort did not fit into work_mem ({} kB) and went through {} kB on disk.",
                figure(self.facts.work_mem_kb),
                figure(total)
            );
            self.spill(node, total, most * MEMORY_PER_DISK, what);
        }
    }

    pub(super) fn hash(&mut self, node: Node) {
        let Some(batches) = node.number("Hash Batches").filter(|batches| *batches > 1.0) else { return };
        let peak = node.number("Peak Memory Usage").unwrap_or(self.facts.work_mem_kb);
        let planned = node.number("Original Hash Batches").unwrap_or(batches);
        let surprise =
            if batches > planned { format!("; {} were planned", figure(planned)) } else { String::new() };
        let what = format!(
            "The hash table did not fit into memory ({} kB) and was split into {} batches on disk{surprise}.",
            figure(self.facts.work_mem_kb * self.facts.hash_mem_multiplier),
            figure(batches)
        );
        let wanted = batches * peak / self.facts.hash_mem_multiplier;
        self.spill(node, (batches - 1.0) * peak, wanted, what);
    }

    pub(super) fn hash_aggregate(&mut self, node: Node) {
        let Some(batches) = node.number("HashAgg Batches").filter(|batches| *batches > 1.0) else { return };
        let disk = node.number("Disk Usage").unwrap_or(0.0);
        let peak = node.number("Peak Memory Usage").unwrap_or(self.facts.work_mem_kb);
        let what = format!(
            "The groups did not fit into memory and went through {} kB on disk in {} batches.",
            figure(disk),
            figure(batches)
        );
        self.spill(node, disk, (peak + disk * MEMORY_PER_DISK) / self.facts.hash_mem_multiplier, what);
    }

    /// Rows that a node keeps for others, or for itself to read again: told by their storage since PostgreSQL 18, and
    /// before by the temporary blocks that were written here and not below.
    pub(super) fn stored_rows(&mut self, node: Node) {
        if !matches!(
            node.kind(),
            "Materialize" | "CTE Scan" | "WindowAgg" | "Recursive Union" | "Function Scan"
        ) {
            return;
        }
        let blocks = |node: Node| node.number("Temp Written Blocks").unwrap_or(0.0);
        let below: f64 = node.children().into_iter().map(blocks).sum();
        let disk_kb = 8.0 * (blocks(node) - below);
        if disk_kb < LEAST_STORED_KB {
            return;
        }
        let what =
            format!("The rows that it keeps did not fit into work_mem: {} kB went to disk.", figure(disk_kb));
        self.spill(node, disk_kb, disk_kb * MEMORY_PER_DISK, what);
    }

    pub(super) fn lossy_bitmap(&mut self, node: Node) {
        let Some(lossy) = node.number("Lossy Heap Blocks").filter(|blocks| *blocks > 0.0) else { return };
        let exact = node.number("Exact Heap Blocks").unwrap_or(0.0);
        let rechecked =
            node.number("Rows Removed by Index Recheck").unwrap_or(0.0) * node.loops().unwrap_or(1.0);
        let severity = if rechecked >= ROWS_RECHECKED { Severity::Warning } else { Severity::Info };
        let detail = format!(
            "The bitmap of rows did not fit into work_mem ({} kB): of {} pages only the numbers were kept, and {} rows were read to be thrown away.",
            figure(self.facts.work_mem_kb),
            figure(lossy),
            figure(rechecked)
        );
        self.findings.push(Finding {
            check_id: "lossy_bitmap",
            severity,
            node: node.label(),
            object: self.facts.table_of(node).map(|table| table.quoted.clone()),
            value: lossy,
            unit: "pages",
            threshold: 0.0,
            detail,
            remedy: MEMORY.into(),
            // Twice, for a hash table is doubled when it grows.
            remediation_sql: memory((exact + lossy) * BYTES_PER_BITMAP_PAGE / 1_024.0 * 2.0),
            index: None,
        });
    }
}

fn on_disk(of: &Value) -> Option<f64> {
    (of.get("Sort Space Type")?.as_str()? == "Disk")
        .then(|| of.get("Sort Space Used").and_then(number))
        .flatten()
}

fn on_disk_of(node: Node) -> Option<f64> {
    (node.text("Sort Space Type")? == "Disk").then(|| node.number("Sort Space Used")).flatten()
}
