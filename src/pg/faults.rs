//! Errors thrown on demand, in the build that is tested inside the server: the n-th call of the server from now fails.

use std::cell::Cell;
use std::ffi::{c_char, c_int};

thread_local! {
    static COUNTDOWN: Cell<u32> = const { Cell::new(0) };
}

unsafe extern "C-unwind" {
    fn errstart_cold(level: c_int, domain: *const c_char) -> bool;
    fn errmsg(format: *const c_char, ...) -> c_int;
    fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
}

/// The `n`-th call from now fails; 0: none.
pub fn arm(n: u32) {
    COUNTDOWN.set(n);
}

/// Whether the fault is still to come.
pub fn is_armed() -> bool {
    COUNTDOWN.get() > 0
}

/// Counts a call; raises if it is the one. Called where an error of the server may jump out.
pub fn strike() {
    let left = COUNTDOWN.get();
    if left == 0 {
        return;
    }
    COUNTDOWN.set(left - 1);
    if left == 1 {
        // SAFETY: an error of the server as any other: the texts are constants, and nothing here needs dropping.
        unsafe {
            let message = c"injected fault".as_ptr();
            if errstart_cold(pgrx::PgLogLevel::ERROR as c_int, std::ptr::null()) {
                errmsg(message);
                errfinish(c"faults.rs".as_ptr(), 0, c"strike".as_ptr());
            }
        }
    }
}
