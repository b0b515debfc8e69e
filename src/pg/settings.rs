//! Settings whose rules the safe registry cannot express.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::{CStr, c_void};

/// Accepts on from anywhere, off only from the session itself, and logs it: a database or a role may not carry it.
#[pg_guard]
unsafe extern "C-unwind" fn off_for_one_session(
    value: *mut bool,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: the server hands over the value to check.
    let on = unsafe { *value };
    if on {
        return true;
    }
    let of_session = matches!(source, pg_sys::GucSource::PGC_S_SESSION | pg_sys::GucSource::PGC_S_CLIENT);
    if of_session {
        pgrx::log!("neobank: the ledger guard is switched off for this session");
    }
    of_session
}

/// A switch, on by default, that a superuser may turn off for one session and nobody for more than that.
pub fn define_session_switch(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<bool>,
) {
    let flags = GucFlags::DISALLOW_IN_FILE;
    // SAFETY: the hook keeps nothing, and logging a constant does not fail.
    unsafe {
        GucRegistry::define_bool_guc_with_hooks(
            name,
            short,
            long,
            setting,
            GucContext::Suset,
            flags,
            Some(off_for_one_session),
            None,
            None,
        );
    }
}
