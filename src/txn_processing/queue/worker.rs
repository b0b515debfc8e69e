//! The background worker: `process_queue` again and again, a transaction for each batch.

use crate::error::Error;
use crate::guc;
use crate::pg::worker::{Worker, job};
use crate::pg::{Statement, Type, server};
use crate::{cqrs, saga};

/// Requests of one transaction: enough to share the cost of a commit, few enough to hold their accounts for some
/// hundredths of a second only.
const BATCH: i32 = 1_000;

/// How long to wait for the extension to be installed, or after an error.
const PATIENCE_MS: u64 = 5_000;

static PROCESS: Statement =
    Statement::new(c"SELECT count(*) FROM txn_processing.process_queue($1)", &[Type::Int]);

enum Turn {
    /// So many requests were carried out, put off or refused.
    Done(i64),
    NotInstalled,
}

/// A worker's life.
pub fn run_queue_worker() {
    let worker = Worker::connect(&guc::queue_database());
    loop {
        let turn = worker.transaction(c"txn_processing.process_queue", one_batch);
        let rest_ms = match turn {
            Some(Turn::Done(requests)) => {
                let is_more = [requests >= i64::from(BATCH), cqrs::turn(&worker), saga::turn(&worker)];
                if is_more.contains(&true) { 0 } else { guc::queue_poll_interval_ms() }
            }
            Some(Turn::NotInstalled) | None => PATIENCE_MS.max(guc::queue_poll_interval_ms()),
        };
        if !worker.rest(rest_ms) {
            return;
        }
    }
}

fn one_batch() -> Result<Turn, Error> {
    if !server::has_extension() {
        return Ok(Turn::NotInstalled);
    }
    job(&PROCESS, BATCH).map(Turn::Done)
}
