//! What the background workers of the queue do for this schema.

use crate::pg::worker::{Worker, job_if};
use crate::pg::{Statement, Type};

/// Sagas of one transaction.
const SAGAS: i32 = 200;

// A library that is newer than the objects of the database finds them missing until they are updated.
static IS_THERE: Statement =
    Statement::new(c"SELECT to_regprocedure('saga.run_ready(integer)') IS NOT NULL", &[]);

static RUN: Statement = Statement::new(c"SELECT count(*) FROM saga.run_ready($1)", &[Type::Int]);

/// One turn; whether more is waiting, probably.
pub fn turn(worker: &Worker) -> bool {
    worker.transaction(c"saga.run_ready", || job_if(&IS_THERE, &RUN, SAGAS)) == Some(i64::from(SAGAS))
}
