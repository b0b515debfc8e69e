//! Settings whose rules the safe registry cannot express.

use super::{compat, server};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
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

/// Refuses to be loaded where the client's connection options name a setting of the extension that the client may not
/// set: until then the server has taken them as they came, in the place of what a superuser has set for the database or
/// the role, and would now go on with the built-in value.
pub fn refuse_those_of_the_connection() {
    // SAFETY: settings live as long as the process, and their names end in a zero byte.
    let given = compat::settings().iter().find_map(|setting| unsafe {
        let setting = &**setting;
        let name = CStr::from_ptr(setting.name);
        let is_ours = name.to_bytes().to_ascii_lowercase().starts_with(b"neobank.");
        let is_clients = setting.reset_source == pg_sys::GucSource::PGC_S_CLIENT
            && setting.reset_scontext == pg_sys::GucContext::PGC_BACKEND;
        (is_ours && is_clients && !server::may_set(name)).then(|| name.to_string_lossy().into_owned())
    });
    if let Some(name) = given {
        ErrorReport::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied to set parameter \"{name}\""),
            "refuse_those_of_the_connection",
        )
        .set_detail("It is among the options that the connection was opened with.")
        .set_hint("Connect without it.")
        .report(PgLogLevel::ERROR);
    }
}
