//! What the server knows of itself and has no SQL function for, or one that takes more than a look.

use super::compat::{Place, place};
use pgrx::pg_sys;

/// Where a sequence stands. None where it is no sequence, or gone, locked by somebody, or not for the caller to see:
/// `pg_sequence_last_value` takes a writer's lock, and waits for it. The server's description of the relation is not
/// made: of thousands of sequences it would take longer than all else.
pub fn sequence_position(sequence: pg_sys::Oid) -> Option<i64> {
    let look = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: what is locked is released before return, or by the transaction's abort where the server raises.
    unsafe {
        if !pg_sys::ConditionalLockRelationOid(sequence, look) {
            return None;
        }
        let position = storage(sequence).map(|(place, is_permanent)| first_value(place, is_permanent));
        pg_sys::UnlockRelationOid(sequence, look);
        position
    }
}

/// Where a sequence that the caller may read is stored, and whether it survives a crash.
///
/// # Safety
/// The oid is locked.
unsafe fn storage(sequence: pg_sys::Oid) -> Option<(Place, bool)> {
    // SAFETY: a catalog look-up; the tuple is released before return.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(sequence));
        if tuple.is_null() {
            return None;
        }
        let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>();
        let is_permanent = form.relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT;
        let is_here = is_permanent
            || form.relpersistence as u8 == pg_sys::RELPERSISTENCE_UNLOGGED && !pg_sys::RecoveryInProgress();
        let wanted = (pg_sys::ACL_SELECT | pg_sys::ACL_USAGE) as pg_sys::AclMode;
        let found = (form.relkind as u8 == pg_sys::RELKIND_SEQUENCE
            && is_here
            && pg_sys::pg_class_aclcheck(sequence, pg_sys::GetUserId(), wanted)
                == pg_sys::AclResult::ACLCHECK_OK)
            .then(|| (place(form.reltablespace, form.relfilenode), is_permanent));
        pg_sys::ReleaseSysCache(tuple);
        found
    }
}

/// The first column of the only tuple of a sequence's only page.
///
/// # Safety
/// There is a sequence, which stays there.
unsafe fn first_value(place: Place, is_permanent: bool) -> i64 {
    // SAFETY: the caller's promise; the page is pinned and locked while it is read.
    unsafe {
        let buffer = pg_sys::ReadBufferWithoutRelcache(
            place,
            pg_sys::ForkNumber::MAIN_FORKNUM,
            0,
            pg_sys::ReadBufferMode::RBM_NORMAL,
            std::ptr::null_mut(),
            is_permanent,
        );
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let page = pg_sys::BufferGetPage(buffer).cast::<u8>();
        let item = (*page.cast::<pg_sys::PageHeaderData>()).pd_linp.as_ptr();
        let header = page.add((*item).lp_off() as usize);
        let columns = header.add((*header.cast::<pg_sys::HeapTupleHeaderData>()).t_hoff.into());
        let value = columns.cast::<i64>().read_unaligned();
        pg_sys::UnlockReleaseBuffer(buffer);
        value
    }
}

/// The sessions whose transaction has more subtransactions with ids than the server keeps at hand.
pub fn subtransaction_overflows() -> Vec<i32> {
    // SAFETY: the array lives as long as the server, and entries are never moved. They change while they are read,
    // which a number and a flag stand; the numbers of sessions that ended meanwhile match nobody.
    unsafe {
        let all = &*pg_sys::ProcGlobal;
        (0..all.allProcCount as usize)
            .map(|at| all.allProcs.add(at))
            .filter(|entry| (&raw const (**entry).subxidStatus.overflowed).cast::<u8>().read_volatile() != 0)
            .map(|entry| (&raw const (*entry).pid).read_volatile())
            .filter(|pid| *pid != 0)
            .collect()
    }
}
