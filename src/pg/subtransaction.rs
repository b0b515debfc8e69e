//! Work that may be undone, with the locks that it took, without ending the transaction.

use super::ereport::{Failure, keep_in};
use crate::error::Error;
use pgrx::pg_sys;

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
        let done = work().map_err(|error| match error {
            Error::Server(error) => Error::Server(keep_in(parent, error)),
            other => other,
        });
        if matches!(done, Ok(Some(_))) {
            pg_sys::ReleaseCurrentSubTransaction();
        } else {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        pg_sys::CurrentMemoryContext = context;
        pg_sys::CurrentResourceOwner = owner;
        done
    }
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
