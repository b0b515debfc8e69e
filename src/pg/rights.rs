//! Acting with the rights of the extension's owner, as SECURITY DEFINER does, without its per-call cost.

use super::compat::PinnedSearchPath;
use super::server;
use pgrx::pg_sys;
use std::cell::Cell;

thread_local! {
    /// How many ledger operations are under way in this backend; the guard triggers let their writes through.
    static WRITERS: Cell<u32> = const { Cell::new(0) };
}

/// While it lives, the backend acts as the extension's owner with `search_path = pg_catalog`.
///
/// EXECUTE on the calling function was checked by the server before we run. If an error ends the transaction
/// instead, the server restores the user by itself and unwinding drops this guard.
pub struct OwnerRights {
    caller: pg_sys::Oid,
    caller_context: i32,
    writers: u32,
    _path: PinnedSearchPath,
}

impl OwnerRights {
    pub fn to_read() -> Self {
        Self::assume(server::owner(), 0)
    }

    /// Acts as another role, such as the owner of a caller's table; the caller's right to that was checked.
    pub fn of(role: pg_sys::Oid) -> Self {
        Self::assume(role, 0)
    }

    /// The same, with the guard triggers letting this backend's writes through.
    pub fn to_write() -> Self {
        Self::assume(server::owner(), 1)
    }

    /// The same as the owner of another of the extension's tables, who may be somebody else than the ledger's.
    pub fn to_write_as(role: pg_sys::Oid) -> Self {
        Self::assume(role, 1)
    }

    /// The same around calls of others' functions.
    pub fn to_write_around_calls() -> Self {
        Self::with_path(server::owner(), 1, PinnedSearchPath::pin_as_setting)
    }

    fn assume(owner: pg_sys::Oid, writers: u32) -> Self {
        Self::with_path(owner, writers, PinnedSearchPath::pin)
    }

    fn with_path(owner: pg_sys::Oid, writers: u32, pin: fn() -> PinnedSearchPath) -> Self {
        let mut caller = pg_sys::InvalidOid;
        let mut caller_context = 0;
        // SAFETY: both out pointers live on this stack frame.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut caller, &mut caller_context);
            let context = caller_context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
            pg_sys::SetUserIdAndSecContext(owner, context);
        }
        WRITERS.with(|n| n.set(n.get() + writers));
        Self { caller, caller_context, writers, _path: pin() }
    }

    /// Whether an engine operation is running in this backend.
    pub fn engine_is_writing() -> bool {
        WRITERS.with(|n| n.get() > 0)
    }
}

/// Sets how many operations the guards see at work, and tells how many they saw.
pub(super) fn without_writers(writers: u32) -> u32 {
    WRITERS.with(|n| n.replace(writers))
}

impl Drop for OwnerRights {
    fn drop(&mut self) {
        WRITERS.with(|n| n.set(n.get() - self.writers));
        // SAFETY: restores what `assume` found.
        unsafe { pg_sys::SetUserIdAndSecContext(self.caller, self.caller_context) };
    }
}
