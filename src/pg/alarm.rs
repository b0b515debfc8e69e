//! An instant at which the work in hand is cancelled.

use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

// Of utils/timeout.h, which the bindings leave out. Their only error ends the session, past all of this.
unsafe extern "C-unwind" {
    fn RegisterTimeout(id: c_int, handler: extern "C-unwind" fn()) -> c_int;
    fn enable_timeout_every(id: c_int, at: pg_sys::TimestampTz, period_ms: c_int);
    fn get_timeout_active(id: c_int) -> bool;
    fn disable_timeout(id: c_int, keep_indicator: bool);
}

/// Any number from USER_TIMEOUT on, which depends on the version, has the server give one that is free.
const OF_OUR_OWN: c_int = 16;

/// STATEMENT_TIMEOUT, in every version.
const OF_STATEMENTS: c_int = 3;

/// Until it rings again, for work that goes on in spite of it.
const AGAIN_MS: c_int = 1_000;

static HAS_RUNG: AtomicBool = AtomicBool::new(false);

thread_local! {
    static ID: Cell<Option<c_int>> = const { Cell::new(None) };
}

/// While it lives, what this backend does is cancelled at that instant, as a client's cancel would do it.
pub struct Alarm {
    id: c_int,
    statement_has_timeout: bool,
}

impl Alarm {
    /// At an instant in microseconds as timestamptz has it. There is one alarm at a time.
    pub fn at(micros: i64) -> Self {
        let id = ID.get().unwrap_or_else(|| {
            // SAFETY: the handler does what a signal's handler may.
            unsafe { RegisterTimeout(OF_OUR_OWN, ring) }
        });
        ID.set(Some(id));
        HAS_RUNG.store(false, Ordering::Relaxed);
        // SAFETY: the timeouts are registered.
        unsafe {
            enable_timeout_every(id, micros, AGAIN_MS);
            Alarm { id, statement_has_timeout: get_timeout_active(OF_STATEMENTS) }
        }
    }

    fn has_rung(&self) -> bool {
        HAS_RUNG.load(Ordering::Relaxed)
    }

    /// Whether it was this that cancelled the work, and not the statement's timeout.
    pub fn has_cancelled(&self) -> bool {
        // SAFETY: the timeout is one of the server's.
        let statement_goes_on = unsafe { !self.statement_has_timeout || get_timeout_active(OF_STATEMENTS) };
        self.has_rung() && statement_goes_on
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: the timeout is registered; only this thread and its signal handlers write the variable.
        unsafe {
            disable_timeout(self.id, false);
            // It rang for work that ended before it noticed: what follows is not meant. A client's cancel of that moment
            // is lost, as beside a timeout of the server's.
            if self.has_rung() {
                (&raw mut pg_sys::QueryCancelPending).write_volatile(0);
            }
        }
    }
}

/// In a signal's handler, which has set the process's latch.
extern "C-unwind" fn ring() {
    HAS_RUNG.store(true, Ordering::Relaxed);
    // SAFETY: the server's own handlers write these.
    unsafe {
        (&raw mut pg_sys::QueryCancelPending).write_volatile(1);
        (&raw mut pg_sys::InterruptPending).write_volatile(1);
    }
}
