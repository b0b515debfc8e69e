//! What the background workers of the queue do for this schema, each job in a transaction of its own.

use crate::pg::worker::{Worker, job_if};
use crate::pg::{Statement, Type};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Commands of one transaction.
const COMMANDS: i32 = 100;

// A library that is newer than the objects of the database finds them missing until they are updated.
static IS_THERE: Statement =
    Statement::new(c"SELECT to_regprocedure('cqrs.process_commands(integer)') IS NOT NULL", &[]);

static PROCESS: Statement = Statement::new(c"SELECT count(*) FROM cqrs.process_commands($1)", &[Type::Int]);

/// Events that one transaction reads for each projection.
const EVENTS: i32 = 1_000;

static RUN: Statement = Statement::new(
    c"SELECT coalesce(max(cqrs.run_projection(p.name, $1)), 0)
      FROM cqrs.projections p
      WHERE p.mode = 'async' AND p.state = 'running'
        AND (p.next_attempt_at IS NULL OR p.next_attempt_at <= clock_timestamp())",
    &[Type::Int],
);

/// Marks of one transaction, and how often accounts that lack some are looked for: that reads all accounts.
const MARKS: i32 = 1_000;
const MARKS_EVERY: Duration = Duration::from_secs(60);

static REFRESH: Statement = Statement::new(c"SELECT cqrs.refresh_activity($1)", &[Type::Int]);

thread_local! {
    static REFRESHED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// One turn; whether more is waiting, probably.
pub fn turn(worker: &Worker) -> bool {
    let commands = worker.transaction(c"cqrs.process_commands", || job_if(&IS_THERE, &PROCESS, COMMANDS));
    let events = worker.transaction(c"cqrs.run_projection", || job_if(&IS_THERE, &RUN, EVENTS));
    let mut is_more = commands.is_some_and(|done| done >= i64::from(COMMANDS))
        || events.is_some_and(|read| read >= i64::from(EVENTS));
    if REFRESHED.get().is_none_or(|last| last.elapsed() >= MARKS_EVERY) {
        let marks = worker.transaction(c"cqrs.refresh_activity", || job_if(&IS_THERE, &REFRESH, MARKS));
        if marks == Some(i64::from(MARKS)) {
            is_more = true;
        } else {
            REFRESHED.set(Some(Instant::now()));
        }
    }
    is_more
}
