//! A background worker's frame: signals, its connection, and transactions that end in the log when they fail.

use super::ereport::{Failure, recovered};
use super::{Arg, OwnerRights, PRESENT, Session, Statement, compat, server};
use crate::error::Error;
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, SignalWakeFlags};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CStr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// How long the postmaster waits before it starts a worker again that has ended.
const RESTART_AFTER: Duration = Duration::from_secs(5);

/// Has the postmaster start `count` workers of the queue; only while the library is being preloaded.
pub fn register_queue_workers(count: i32) {
    assert!(server::is_preloading(), "the postmaster takes workers at its start only");
    for number in 1..=count {
        BackgroundWorkerBuilder::new(&format!("neobank queue worker {number}"))
            .set_type("neobank queue worker")
            .set_library("neobank")
            .set_function("neobank_queue_worker")
            .set_restart_time(Some(RESTART_AFTER))
            .enable_spi_access()
            .load();
    }
}

/// Where the postmaster enters a worker of the queue.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn neobank_queue_worker(_argument: pg_sys::Datum) {
    crate::txn_processing::run_queue_worker();
}

/// A background worker that is connected to its database.
pub struct Worker(());

impl Worker {
    /// Connects this process, which must be one of the workers registered above, as the bootstrap superuser.
    pub fn connect(database: &str) -> Self {
        compat::end_on_sigterm();
        BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP);
        BackgroundWorker::connect_worker_to_spi(Some(database), None);
        // Whatever the database sets for its clients; and a name.
        for (setting, value) in [
            (c"default_transaction_isolation", c"read committed"),
            (c"default_transaction_read_only", c"off"),
            (c"default_transaction_deferrable", c"off"),
            (c"application_name", c"neobank queue worker"),
        ] {
            // SAFETY: the settings exist in every version, with these values.
            unsafe {
                pg_sys::SetConfigOption(
                    setting.as_ptr(),
                    value.as_ptr(),
                    pg_sys::GucContext::PGC_SUSET,
                    pg_sys::GucSource::PGC_S_OVERRIDE,
                );
            }
        }
        Worker(())
    }

    /// Waits for the time to pass, or for a signal; false where the postmaster is gone. Does not return where the
    /// worker is to end.
    pub fn rest(&self, ms: u64) -> bool {
        let goes_on = BackgroundWorker::wait_latch(Some(Duration::from_millis(ms)));
        if BackgroundWorker::sighup_received() {
            // SAFETY: outside of any transaction, as the server's own workers do.
            unsafe {
                pg_sys::ConfigReloadPending = 0;
                pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
            }
        }
        goes_on
    }

    /// Runs `work` in a transaction, shown as `activity`. An error rolls it back, goes to the log, and answers nothing.
    pub fn transaction<T>(&self, activity: &CStr, work: impl FnOnce() -> Result<T, Error>) -> Option<T> {
        let run = AssertUnwindSafe(|| {
            // SAFETY: as a backend runs a statement of its client; the worker is outside of a transaction here.
            unsafe {
                pg_sys::SetCurrentStatementStartTimestamp();
                pg_sys::StartTransactionCommand();
                pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, activity.as_ptr());
                pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            }
            let value = match work() {
                Ok(value) => value,
                Err(error) => return Self::abort(&Failure::of(error)),
            };
            // SAFETY: the snapshot pushed above; then the transaction begun above.
            unsafe {
                pg_sys::PopActiveSnapshot();
                pg_sys::CommitTransactionCommand();
            }
            Some(value)
        });
        let caught = |cause: pg_sys::panic::CaughtError| {
            let text = match &cause {
                pg_sys::panic::CaughtError::PostgresError(report)
                | pg_sys::panic::CaughtError::ErrorReport(report)
                | pg_sys::panic::CaughtError::RustPanic { ereport: report, .. } => report,
            };
            let sqlstate = format!("{:?}", text.sql_error_code());
            Self::abort(&Failure { sqlstate, message: text.message().to_owned(), detail: None })
        };
        let answer = PgTryBuilder::new(run).catch_others(caught).catch_rust_panic(caught).execute();
        // SAFETY: outside of a transaction; a null text stands for none.
        unsafe {
            pg_sys::pgstat_report_stat(false);
            pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null());
        }
        answer
    }

    fn abort<T>(failure: &Failure) -> Option<T> {
        pgrx::warning!("neobank queue worker: {} (SQLSTATE {})", failure.message, failure.sqlstate);
        // SAFETY: takes down whatever state the transaction is in.
        unsafe { pg_sys::AbortCurrentTransaction() };
        recovered();
        None
    }
}

// A constraint trigger that waits for the commit would fail all of a batch; like this it fails its own piece of work.
static AT_ONCE: Statement = Statement::new(c"SET CONSTRAINTS ALL IMMEDIATE", &[]);

/// A worker's piece of work: a statement that takes how much it may do at most and answers how much it did. Nothing is
/// done where `is_there` answers false.
pub fn job_if(is_there: &Statement, statement: &Statement, most: i32) -> Result<i64, Error> {
    let is_there = {
        let _rights = OwnerRights::to_read();
        Session::write().run(is_there, &[])?.first().and_then(|row| row.bool(1))
    };
    if is_there == Some(true) { job(statement, most) } else { Ok(0) }
}

/// The same of what every release has.
pub fn job(statement: &Statement, most: i32) -> Result<i64, Error> {
    // The worker is a superuser's process; nothing of the bank runs with more than its owner's rights.
    let _rights = OwnerRights::to_read();
    let session = Session::write();
    session.run(&AT_ONCE, &[])?;
    let row = session.run(statement, &[Arg::Int(Some(most))])?.first();
    Ok(row.and_then(|row| row.bigint(1)).expect(PRESENT))
}
