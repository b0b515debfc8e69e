//! Small questions to the server: owner, role, clock, version of the truth.

use pgrx::pg_sys;
use std::ffi::CStr;

/// Microseconds since 2000-01-01 00:00 UTC, as timestamptz has it.
pub fn clock_micros() -> i64 {
    // SAFETY: no arguments, no preconditions.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// The owner of the ledger's table, which is the owner of the extension.
pub fn owner() -> pg_sys::Oid {
    // SAFETY: catalog look-ups inside a transaction; the tuple is released before return.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"txn_processing".as_ptr(), false);
        let table = pg_sys::get_relname_relid(c"movements".as_ptr(), schema);
        let tuple =
            pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, pg_sys::Datum::from(table));
        assert!(!tuple.is_null(), "txn_processing.movements is part of this extension");
        let form: *const pg_sys::FormData_pg_class = pg_sys::GETSTRUCT(tuple).cast();
        let owner = (*form).relowner;
        pg_sys::ReleaseSysCache(tuple);
        owner
    }
}

pub fn role_name(role: pg_sys::Oid) -> String {
    // SAFETY: with `noerr` the answer is null or a C string in the current memory context.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() {
            return u32::from(role).to_string();
        }
        let text = CStr::from_ptr(name).to_string_lossy().into_owned();
        pg_sys::pfree(name.cast());
        text
    }
}

pub fn current_user() -> pg_sys::Oid {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::GetUserId() }
}

pub fn session_user() -> pg_sys::Oid {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::GetSessionUserId() }
}

/// Whether `member` is `role` or has its privileges.
pub fn has_privileges_of(member: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up inside a transaction.
    unsafe { pg_sys::has_privs_of_role(member, role) }
}

pub fn is_superuser(role: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up inside a transaction.
    unsafe { pg_sys::superuser_arg(role) }
}
