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
    owner_of(c"txn_processing", c"movements")
}

/// The owner of a table of this extension.
pub fn owner_of(schema: &CStr, table: &CStr) -> pg_sys::Oid {
    // SAFETY: catalog look-ups inside a transaction; the tuple is released before return.
    unsafe {
        let schema = pg_sys::get_namespace_oid(schema.as_ptr(), false);
        let table = pg_sys::get_relname_relid(table.as_ptr(), schema);
        let tuple =
            pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, pg_sys::Datum::from(table));
        assert!(!tuple.is_null(), "the table is part of this extension");
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

/// The role of that name, if there is one.
pub fn role_named(name: &str) -> Option<pg_sys::Oid> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: a catalog look-up inside a transaction, which answers nothing where there is no such role.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (role != pg_sys::InvalidOid).then_some(role)
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

/// A number that tells this backend from the others that run now.
pub fn backend_number() -> i32 {
    super::compat::backend_number()
}

/// The datum of an enum's label.
pub fn enum_label(enum_type: pg_sys::Oid, label: &CStr) -> pg_sys::Datum {
    // SAFETY: a catalog look-up; the tuple is released before return.
    unsafe {
        let tuple = pg_sys::SearchSysCache2(
            pg_sys::SysCacheIdentifier::ENUMTYPOIDNAME as i32,
            pg_sys::Datum::from(enum_type),
            pg_sys::Datum::from(label.as_ptr()),
        );
        assert!(!tuple.is_null(), "{label:?} is a label of the enum");
        let form: *const pg_sys::FormData_pg_enum = pg_sys::GETSTRUCT(tuple).cast();
        let oid = (*form).oid;
        pg_sys::ReleaseSysCache(tuple);
        pg_sys::Datum::from(oid)
    }
}

/// Whether each statement of this transaction sees what others have committed by its start.
pub fn is_read_committed() -> bool {
    // SAFETY: reads a backend-local variable. Both lower levels behave as READ COMMITTED.
    unsafe { pg_sys::XactIsoLevel <= pg_sys::XACT_READ_COMMITTED as i32 }
}

/// Whether conflicts of this transaction with what others read and write make it fail.
pub fn is_serializable() -> bool {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as i32 }
}

/// The operating system's number of this backend, as pg_stat_activity shows it.
pub fn process_id() -> i32 {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::MyProcPid }
}

/// When this transaction began, in microseconds: no other one of this backend did at the same.
pub fn transaction_began() -> i64 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }
}

/// Whether this transaction has a number, as it gets with the first thing that it writes.
pub fn has_written() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId }
}

/// The number of this transaction, which it gets if it has none; it never wraps around.
pub fn top_transaction() -> i64 {
    // SAFETY: inside a transaction that may write.
    unsafe { pg_sys::GetTopFullTransactionId().value as i64 }
}

/// The same of the subtransaction that is under way.
pub fn own_transaction() -> i64 {
    // SAFETY: as above.
    unsafe { pg_sys::GetCurrentFullTransactionId().value as i64 }
}

/// Thirty-two bits that nobody can foresee.
pub fn random_bits() -> u32 {
    let mut bytes = [0u8; 4];
    // SAFETY: as many bytes as the array has.
    let drawn = unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) };
    assert!(drawn, "the server's source of random numbers fails");
    u32::from_ne_bytes(bytes)
}

/// How long the deadlock detector lets a session wait before it looks.
pub fn deadlock_timeout_ms() -> i32 {
    // SAFETY: reads a setting.
    unsafe { pg_sys::DeadlockTimeout }
}

/// While it lives, the backend waits at most so long for each lock; no longer than the session allows anyway.
pub struct LockPatience {
    found_ms: i32,
}

impl LockPatience {
    /// 0: as long as the session allows.
    pub fn at_most(ms: i32) -> Self {
        // SAFETY: a backend-local setting, read each time that a lock is waited for; `drop` puts it back, on errors too.
        unsafe {
            let found_ms = pg_sys::LockTimeout;
            if ms > 0 && (found_ms == 0 || ms < found_ms) {
                pg_sys::LockTimeout = ms;
            }
            LockPatience { found_ms }
        }
    }

    /// At most `most_ms`. Who holds something already and waits for more may be waited for by the one that it waits for:
    /// then it gives way before the deadlock detector makes somebody, who may be a client, the victim.
    pub fn giving_way(most_ms: i32, holds_something: bool) -> Self {
        if !holds_something {
            return Self::at_most(most_ms);
        }
        let short = (deadlock_timeout_ms() / 4).clamp(1, 100);
        Self::at_most(if most_ms == 0 { short } else { most_ms.min(short) })
    }
}

impl Drop for LockPatience {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { pg_sys::LockTimeout = self.found_ms };
    }
}

/// Whether the extension is installed in this database.
pub fn has_extension() -> bool {
    // SAFETY: a catalog look-up inside a transaction.
    unsafe { pg_sys::get_extension_oid(c"neobank".as_ptr(), true) != pg_sys::InvalidOid }
}

/// Whether the session's user was granted the right to set it; not known, so no, outside of a transaction.
pub fn may_set(setting: &CStr) -> bool {
    // SAFETY: a catalog look-up inside a transaction.
    unsafe {
        pg_sys::IsTransactionState()
            && pg_sys::pg_parameter_aclcheck(
                setting.as_ptr(),
                pg_sys::GetSessionUserId(),
                pg_sys::ACL_SET as pg_sys::AclMode,
            ) == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// Whether this process applies what another server's publication sends.
pub fn is_applying() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::IsLogicalWorker() }
}

/// Whether the library is being loaded by the postmaster, from shared_preload_libraries.
pub fn is_preloading() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// Whether the session is one that restores a dump: such ones do not look into the bodies of functions.
pub fn is_restoring() -> bool {
    // SAFETY: a setting of this backend.
    unsafe { !pg_sys::check_function_bodies }
}
