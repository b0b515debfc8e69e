//! Work that may be undone, with the locks that it took, without ending the transaction.

use super::ereport::{Failure, catch, keep_in};
use super::raw;
use crate::error::Error;
use pgrx::pg_sys;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `work` in a subtransaction, which is rolled back where it answers nothing or fails. What `work` opens, it must
/// close.
pub fn undoable<T>(work: impl FnOnce() -> Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    // SAFETY: as PL/pgSQL runs a block with an exception handler: what the subtransaction made current is put back.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        let parent = pg_sys::CurTransactionContext;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = context;
        let done = catch_unwind(AssertUnwindSafe(work));
        let keep = |error| match error {
            Error::Server(error) => Error::Server(keep_in(parent, error)),
            other => other,
        };
        let done = done.map(|done| done.map_err(keep));
        if matches!(done, Ok(Ok(Some(_)))) {
            pg_sys::ReleaseCurrentSubTransaction();
        } else {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        pg_sys::CurrentMemoryContext = context;
        pg_sys::CurrentResourceOwner = owner;
        // Whoever reports a panic ends the transaction, not a subtransaction.
        done.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// Raises what a deferred constraint would raise at the commit, which looks at it again.
pub fn check_deferred() -> Result<(), Error> {
    let mut all_at_once = pg_sys::ConstraintsSetStmt {
        type_: pg_sys::NodeTag::T_ConstraintsSetStmt,
        constraints: std::ptr::null_mut(),
        deferred: false,
    };
    let checked = undoable(|| {
        // SAFETY: as SET CONSTRAINTS ALL IMMEDIATE does it, which ends with the subtransaction.
        unsafe { catch(|| raw::AfterTriggerSetState(&mut all_at_once)) }.map_err(Error::Server)?;
        Ok(None::<()>)
    });
    checked.map(|_| ())
}

/// Runs `work` in a subtransaction of its own. Where it fails the subtransaction is rolled back, with its locks, and the
/// transaction goes on: the failure is an answer. An error still is only what stops the statement itself (a cancel, a
/// timeout), or would meet every other attempt as well (no memory, a full disk, a setting that cannot be kept). What `work` opens, it must close.
pub fn attempted<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<Result<T, Failure>, Error> {
    match undoable(|| work().map(Some)) {
        Ok(done) => Ok(Ok(done.expect("the work answers something or fails"))),
        Err(Error::Server(error)) if error.stops_all() => Err(Error::Server(error)),
        Err(error @ (Error::NoDirectPath { .. } | Error::OutOfMemory { .. })) => Err(error),
        Err(error) => Ok(Err(Failure::of(error))),
    }
}
