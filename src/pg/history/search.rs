//! Rows found by their key, whoever wrote them, as the executor does for rows that come by replication.

use super::Lookup;
use super::slot::get;
use crate::pg::{compat, raw};
use pgrx::pg_sys;

const EQUAL: pg_sys::StrategyNumber = 3;
const GREATER: pg_sys::StrategyNumber = 5;

/// How often in a row the next place may be the wrong one until it is not looked at any more.
const TRIES: u8 = 3;

unsafe extern "C-unwind" {
    fn ExecDropSingleTupleTableSlot(slot: *mut pg_sys::TupleTableSlot);
    fn index_endscan(scan: pg_sys::IndexScanDesc);
}

/// Looks for rows of a table by an index whose first columns are the key's.
pub(super) struct Search<'s> {
    relation: pg_sys::Relation,
    key: &'s Lookup,
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    keys: *mut pg_sys::ScanKeyData,
    count: i32,
    snapshot: *mut pg_sys::SnapshotData,
    /// The row that was found, and stays until the next one is looked for.
    pub found: *mut pg_sys::TupleTableSlot,
    last: pg_sys::ItemPointerData,
    tries: u8,
}

impl<'s> Search<'s> {
    /// `after`: only rows whose instant behind the key in the index is later than that.
    ///
    /// # Safety
    /// Within `catch`; the relation is open, and is the lookup's.
    pub unsafe fn open(relation: pg_sys::Relation, key: &'s Lookup, after: Option<i64>) -> Self {
        let count = key.columns.len() + usize::from(after.is_some());
        // SAFETY: the caller's promise; the functions are of the index's columns.
        unsafe {
            let index = raw::index_open(pg_sys::Oid::from(key.index), pg_sys::RowExclusiveLock as i32);
            let keys = raw::palloc0(size_of::<pg_sys::ScanKeyData>() * count).cast::<pg_sys::ScanKeyData>();
            let zero = pg_sys::Datum::from(0);
            for (at, (_, equals)) in key.columns.iter().enumerate() {
                let (entry, column) = (keys.add(at), at as pg_sys::AttrNumber + 1);
                raw::ScanKeyInit(entry, column, EQUAL, pg_sys::Oid::from(*equals), zero);
                (*entry).sk_collation = *(*index).rd_indcollation.add(at);
            }
            if let Some(instant) = after {
                let later = pg_sys::Oid::from(pg_sys::F_TIMESTAMPTZ_GT);
                let (entry, instant) = (keys.add(count - 1), pg_sys::Datum::from(instant));
                raw::ScanKeyInit(entry, count as pg_sys::AttrNumber, GREATER, later, instant);
            }
            let snapshot = raw::palloc0(size_of::<pg_sys::SnapshotData>()).cast::<pg_sys::SnapshotData>();
            (*snapshot).snapshot_type = pg_sys::SnapshotType::SNAPSHOT_DIRTY;
            let scan = compat::index_begin(relation, index, snapshot, count as i32);
            let found = raw::table_slot_create(relation, std::ptr::null_mut());
            let (last, count) = (pg_sys::ItemPointerData::default(), count as i32);
            Search { relation, key, index, scan, keys, count, snapshot, found, last, tries: 0 }
        }
    }

    /// Whether there is a row with the key of that one.
    ///
    /// # Safety
    /// As `open`; the slot holds a row of the table that has the history.
    pub unsafe fn is_there(&mut self, row: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            for (at, (column, _)) in self.key.columns.iter().enumerate() {
                (*self.keys.add(at)).sk_argument = get(row, *column).0;
            }
            raw::index_rescan(self.scan, self.keys, self.count, std::ptr::null_mut(), 0);
            raw::index_getnext_slot(self.scan, pg_sys::ScanDirection::ForwardScanDirection, self.found)
        }
    }

    /// Whether the row with the key of that one `is_it`, and nobody else is about to change it. Rows that a statement
    /// meets one after the other are often neighbours here, too: so the place behind the last one is looked at first. A
    /// row there that is the right one is the only one, as the index is unique.
    ///
    /// # Safety
    /// As `is_there`.
    pub unsafe fn find(
        &mut self,
        row: *mut pg_sys::TupleTableSlot,
        is_it: impl Fn(*mut pg_sys::TupleTableSlot) -> bool,
    ) -> bool {
        // SAFETY: the caller's promise; the last place's page is there as long as the table is locked.
        unsafe {
            let columns = (*(*self.relation).rd_att).natts;
            if self.tries > 0 {
                let mut next = self.last;
                next.ip_posid += 1;
                let look = (*(*self.relation).rd_tableam).tuple_fetch_row_version;
                let look = look.expect("heap finds rows by their place");
                if look(self.relation, &raw mut next, self.snapshot, self.found) {
                    raw::slot_getsomeattrs_int(self.found, columns);
                    if self.is_settled() && is_it(self.found) {
                        (self.last, self.tries) = ((*self.found).tts_tid, TRIES);
                        return true;
                    }
                }
                self.tries -= 1;
            }
            if !self.is_there(row) || !self.is_settled() {
                return false;
            }
            raw::slot_getsomeattrs_int(self.found, columns);
            let place = (*self.found).tts_tid;
            let is_near = place.ip_blkid.bi_hi == self.last.ip_blkid.bi_hi
                && place.ip_blkid.bi_lo.abs_diff(self.last.ip_blkid.bi_lo) < 2;
            if is_near || self.last.ip_posid == 0 {
                self.tries = self.tries.max(1);
            }
            self.last = place;
            is_it(self.found)
        }
    }

    /// # Safety
    /// The snapshot has just been used.
    unsafe fn is_settled(&self) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            (*self.snapshot).xmin == pg_sys::InvalidTransactionId
                && (*self.snapshot).xmax == pg_sys::InvalidTransactionId
        }
    }

    /// # Safety
    /// As `open`.
    pub unsafe fn close(self) {
        // SAFETY: opened by `open`.
        unsafe {
            index_endscan(self.scan);
            ExecDropSingleTupleTableSlot(self.found);
            raw::index_close(self.index, pg_sys::NoLock as i32);
        }
    }
}
