//! When a prepared transaction began. The server keeps only when it was prepared, so each one takes a lock whose key is
//! its start, which pg_locks shows and a crash does not lose.

use super::locks::ADVISORY;
use super::{raw, server};
use pgrx::pg_sys;
use std::ffi::c_void;

/// No application can take locks of this class; temporal.safe_horizon reads them.
const STARTED_CLASS: u16 = 0x4E43;

unsafe extern "C-unwind" fn note_start(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    if event != pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE {
        return;
    }
    let began = server::transaction_began() as u64;
    // SAFETY: the tag lives as long as the call. Shared, so nobody is waited for; where there is no room for one more
    // lock the error jumps out of here, past nothing that needs dropping, and the transaction is not prepared.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.into(),
            locktag_field2: (began >> 32) as u32,
            locktag_field3: began as u32,
            locktag_field4: STARTED_CLASS,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: ADVISORY,
        };
        raw::LockAcquire(&tag, pg_sys::ShareLock as i32, false, false);
    }
}

/// Called once, when the library is loaded.
pub fn note_starts() {
    // SAFETY: the callback lives as long as the library, which is never unloaded.
    unsafe { pg_sys::RegisterXactCallback(Some(note_start), std::ptr::null_mut()) };
}
