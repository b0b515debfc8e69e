//! What the server knows of itself and has no SQL function for, or one that takes more than a look.

use pgrx::pg_sys;

/// Where a sequence stands. None where it is no sequence, or gone, locked by somebody, or not for the caller to see:
/// `pg_sequence_last_value` takes a writer's lock, and waits for it.
pub fn sequence_position(sequence: pg_sys::Oid) -> Option<i64> {
    let look = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: catalog look-ups inside a transaction. What is locked and opened is released on each way out, or by the
    // transaction's abort where the server raises.
    unsafe {
        if !pg_sys::ConditionalLockRelationOid(sequence, look) {
            return None;
        }
        let relation = pg_sys::try_relation_open(sequence, pg_sys::NoLock as pg_sys::LOCKMODE);
        if relation.is_null() {
            pg_sys::UnlockRelationOid(sequence, look);
            return None;
        }
        let position = may_be_read(relation).then(|| first_tuple(relation));
        pg_sys::relation_close(relation, look);
        position
    }
}

/// # Safety
/// The relation is open.
unsafe fn may_be_read(relation: pg_sys::Relation) -> bool {
    // SAFETY: the caller's promise; an open relation is in the catalogs.
    unsafe {
        let form = &*(*relation).rd_rel;
        let wanted = (pg_sys::ACL_SELECT | pg_sys::ACL_USAGE).into();
        let allowed = pg_sys::pg_class_aclcheck((*relation).rd_id, pg_sys::GetUserId(), wanted);
        let is_here = form.relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT
            || form.relpersistence as u8 == pg_sys::RELPERSISTENCE_UNLOGGED && !pg_sys::RecoveryInProgress();
        form.relkind as u8 == pg_sys::RELKIND_SEQUENCE && is_here && allowed == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// # Safety
/// The relation is an open sequence with storage: one page with one tuple, whose first column is its last value.
unsafe fn first_tuple(sequence: pg_sys::Relation) -> i64 {
    // SAFETY: the caller's promise; the page is pinned and locked while it is read.
    unsafe {
        let buffer = pg_sys::ReadBuffer(sequence, 0);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let page = pg_sys::BufferGetPage(buffer).cast::<u8>();
        let item = (*page.cast::<pg_sys::PageHeaderData>()).pd_linp.as_ptr();
        let header = page.add((*item).lp_off() as usize);
        let columns = header.add((*header.cast::<pg_sys::HeapTupleHeaderData>()).t_hoff.into());
        let position = columns.cast::<i64>().read_unaligned();
        pg_sys::UnlockReleaseBuffer(buffer);
        position
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
