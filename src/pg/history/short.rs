//! What most statements do to a history, without the cost of statements: the newest version of a row is replaced, or taken
//! away, and stored with those that ended. Nothing is looked up but the row: no constraint can fail for it, and of the
//! indexes those get an entry that have one for such a row.

use super::slot::{clear, get, same, set};
use super::{Index, Shape, known_shape};
use crate::error::Error;
use crate::pg::ereport::catch;
use crate::pg::{compat, raw, server};
use crate::temporal::tables::core::{Newest, Step, step};
use pgrx::{IntoDatum, pg_sys};

const EQUAL: pg_sys::StrategyNumber = 3;

unsafe extern "C-unwind" {
    fn ExecDropSingleTupleTableSlot(slot: *mut pg_sys::TupleTableSlot);
    fn tuplestore_rescan(rows: *mut pg_sys::Tuplestorestate);
    fn tuplestore_gettupleslot(
        rows: *mut pg_sys::Tuplestorestate,
        forward: bool,
        copy: bool,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool;
    fn relation_close(table: pg_sys::Relation, mode: pg_sys::LOCKMODE);
    fn index_endscan(scan: pg_sys::IndexScanDesc);
    fn simple_heap_delete(table: pg_sys::Relation, place: pg_sys::ItemPointer);
    fn GetCurrentCommandId(used: bool) -> pg_sys::CommandId;
}

/// One of the two tables that are written.
#[derive(Clone, Copy)]
struct Part {
    relation: pg_sys::Relation,
    /// Of the row that is written.
    slot: *mut pg_sys::TupleTableSlot,
    /// As many as the table's indexes, opened when the first entry is made.
    indexes: *mut (pg_sys::Relation, *mut pg_sys::IndexInfo),
}

impl Part {
    /// # Safety
    /// Within `catch`; the table is a history's.
    unsafe fn open(table: u32, indexes: &[Index]) -> Part {
        // SAFETY: the caller's promise.
        unsafe {
            let relation = raw::table_open(pg_sys::Oid::from(table), pg_sys::RowExclusiveLock as i32);
            let slot = raw::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsVirtual);
            let columns = (*(*relation).rd_att).natts as usize;
            std::slice::from_raw_parts_mut((*slot).tts_isnull, columns).fill(true);
            let size = size_of::<(pg_sys::Relation, *mut pg_sys::IndexInfo)>() * indexes.len();
            Part { relation, slot, indexes: raw::palloc0(size).cast() }
        }
    }

    /// Makes the entries of the row that was just stored.
    ///
    /// # Safety
    /// As `open`, with the same indexes; `old_key`: the unique ones have an entry of its key already.
    unsafe fn index(&self, indexes: &[Index], old_key: bool) {
        let mut values = [pg_sys::Datum::from(0); pg_sys::INDEX_MAX_KEYS as usize];
        let mut nulls = [false; pg_sys::INDEX_MAX_KEYS as usize];
        // SAFETY: the caller's promise; an index has at most so many columns, which its table has.
        unsafe {
            for (at, index) in indexes.iter().enumerate() {
                let open = &mut *self.indexes.add(at);
                if open.0.is_null() {
                    open.0 = raw::index_open(pg_sys::Oid::from(index.oid), pg_sys::RowExclusiveLock as i32);
                    open.1 = raw::BuildIndexInfo(open.0);
                }
                for (place, column) in index.columns.iter().enumerate() {
                    (values[place], nulls[place]) = get(self.slot, *column);
                }
                let check = if index.is_unique {
                    pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES
                } else {
                    pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO
                };
                let place = &raw mut (*self.slot).tts_tid;
                let is_old = old_key && index.is_unique;
                let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
                raw::index_insert(open.0, values, nulls, place, self.relation, check, is_old, open.1);
            }
        }
    }

    /// # Safety
    /// As `open`, with the same indexes.
    unsafe fn close(self, indexes: &[Index]) {
        // SAFETY: opened by `open` and `index`.
        unsafe {
            for at in 0..indexes.len() {
                let (index, _) = *self.indexes.add(at);
                if !index.is_null() {
                    raw::index_close(index, pg_sys::NoLock as i32);
                }
            }
            ExecDropSingleTupleTableSlot(self.slot);
            relation_close(self.relation, pg_sys::NoLock as i32);
        }
    }
}

/// Finds the newest version of a key, whoever wrote it, as the executor does for rows that come by replication.
#[derive(Clone, Copy)]
struct Search {
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    keys: *mut pg_sys::ScanKeyData,
    snapshot: *mut pg_sys::SnapshotData,
    found: *mut pg_sys::TupleTableSlot,
}

impl Search {
    /// # Safety
    /// Within `catch`; the relation is the one with the newest rows.
    unsafe fn open(relation: pg_sys::Relation, shape: &Shape) -> Search {
        let count = shape.key.len();
        // SAFETY: the caller's promise; the functions are of the index's columns.
        unsafe {
            let index = raw::index_open(pg_sys::Oid::from(shape.key_index), pg_sys::RowExclusiveLock as i32);
            let keys = raw::palloc0(size_of::<pg_sys::ScanKeyData>() * count).cast::<pg_sys::ScanKeyData>();
            for (at, (_, equals)) in shape.key.iter().enumerate() {
                let (key, column) = (keys.add(at), at as pg_sys::AttrNumber + 1);
                let equals = pg_sys::Oid::from(*equals);
                raw::ScanKeyInit(key, column, EQUAL, equals, pg_sys::Datum::from(0));
                (*key).sk_collation = *(*index).rd_indcollation.add(at);
            }
            let snapshot = raw::palloc0(size_of::<pg_sys::SnapshotData>()).cast::<pg_sys::SnapshotData>();
            (*snapshot).snapshot_type = pg_sys::SnapshotType::SNAPSHOT_DIRTY;
            let scan = compat::index_begin(relation, index, snapshot, count as i32);
            let found = raw::table_slot_create(relation, std::ptr::null_mut());
            Search { index, scan, keys, snapshot, found }
        }
    }

    /// Whether there is a version that nobody else is about to change.
    ///
    /// # Safety
    /// As `open`; the slot holds a row of the table, which has every column.
    unsafe fn find(&self, shape: &Shape, row: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            let count = shape.key.len();
            for (at, (column, _)) in shape.key.iter().enumerate() {
                (*self.keys.add(at)).sk_argument = get(row, *column).0;
            }
            raw::index_rescan(self.scan, self.keys, count as i32, std::ptr::null_mut(), 0);
            raw::index_getnext_slot(self.scan, pg_sys::ScanDirection::ForwardScanDirection, self.found)
                && (*self.snapshot).xmin == pg_sys::InvalidTransactionId
                && (*self.snapshot).xmax == pg_sys::InvalidTransactionId
        }
    }

    /// # Safety
    /// As `open`.
    unsafe fn close(self) {
        // SAFETY: opened by `open`.
        unsafe {
            index_endscan(self.scan);
            ExecDropSingleTupleTableSlot(self.found);
            raw::index_close(self.index, pg_sys::NoLock as i32);
        }
    }
}

/// What is read of, and what is said to have been done by whom.
#[derive(Clone, Copy)]
struct Work<'s> {
    shape: &'s Shape,
    current: Part,
    past: Part,
    search: Search,
    old: *mut pg_sys::TupleTableSlot,
    new: *mut pg_sys::TupleTableSlot,
    who: pg_sys::Datum,
    transaction: u64,
    began: i64,
}

/// Whether all rows of the statement were of the usual kind and are recorded. If not, those that were are as the long way
/// would have left them, and it passes them by.
///
/// # Safety
/// `fired` is the server's, of the table of the shape.
pub(super) unsafe fn way(fired: *mut pg_sys::TriggerData, shape: &Shape) -> Result<bool, Error> {
    // SAFETY: reads the trigger data.
    let (event, table, old_rows, new_rows) =
        unsafe { ((*fired).tg_event, (*fired).tg_relation, (*fired).tg_oldtable, (*fired).tg_newtable) };
    let is_update = event & 3 == 2;
    if old_rows.is_null() || (is_update && new_rows.is_null()) {
        return Ok(false);
    }
    // SAFETY: reads a variable of this process.
    let who = server::role_name(unsafe { pg_sys::GetOuterUserId() });
    let who = who.as_str().into_datum().expect("a text is not null");
    let (transaction, began) = (server::top_transaction() as u64, server::transaction_began());
    // SAFETY: both are a history's.
    let (current, past) = unsafe {
        catch(|| {
            (Part::open(shape.current, &shape.current_indexes), Part::open(shape.past, &shape.past_indexes))
        })
    }
    .map_err(Error::Server)?;
    // Who waited for the locks may know them no longer.
    let is_known = known_shape(shape.table)?.is_some_and(|known| std::ptr::eq(&raw const *known, shape));
    // SAFETY: slots are of their tables' shapes; the closure owns nothing that needs dropping.
    unsafe {
        catch(|| {
            let mut is_usual = is_known;
            if is_known {
                let minimal = &raw const pg_sys::TTSOpsMinimalTuple;
                let work = Work {
                    shape,
                    current,
                    past,
                    search: Search::open(current.relation, shape),
                    old: raw::MakeSingleTupleTableSlot((*table).rd_att, minimal),
                    new: raw::MakeSingleTupleTableSlot((*table).rd_att, minimal),
                    who,
                    transaction,
                    began,
                };
                is_usual = work.rows(table, old_rows, is_update.then_some(new_rows));
                for slot in [work.old, work.new] {
                    ExecDropSingleTupleTableSlot(slot);
                }
                work.search.close();
            }
            current.close(&shape.current_indexes);
            past.close(&shape.past_indexes);
            is_usual
        })
    }
    .map_err(Error::Server)
}

impl Work<'_> {
    /// Whether all were of the usual kind, and are recorded.
    ///
    /// # Safety
    /// Within `catch`; the rows are the statement's on this table.
    unsafe fn rows(
        &self,
        table: pg_sys::Relation,
        old_rows: *mut pg_sys::Tuplestorestate,
        new_rows: Option<*mut pg_sys::Tuplestorestate>,
    ) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            let columns = (*(*table).rd_att).natts;
            tuplestore_rescan(old_rows);
            if let Some(new_rows) = new_rows {
                tuplestore_rescan(new_rows);
            }
            while tuplestore_gettupleslot(old_rows, true, false, self.old) {
                raw::slot_getsomeattrs_int(self.old, columns);
                if let Some(new_rows) = new_rows {
                    tuplestore_gettupleslot(new_rows, true, false, self.new);
                    raw::slot_getsomeattrs_int(self.new, columns);
                }
                if !self.row(new_rows.is_some()) {
                    return false;
                }
            }
            true
        }
    }

    /// Whether the row was of the usual kind, and is recorded.
    ///
    /// # Safety
    /// Within `catch`; the slots hold the row's images.
    unsafe fn row(&self, is_update: bool) -> bool {
        let (columns, found) = (&self.shape.columns, self.search.found);
        // SAFETY: the caller's promise; positions are of the tables' columns.
        unsafe {
            if is_update {
                let is_same = |at: usize| same(self.old, at, self.new, at);
                if !columns.iter().filter(|column| column.is_key).all(|column| is_same(column.own)) {
                    return false;
                }
                if columns.iter().all(|column| is_same(column.own)) {
                    return true;
                }
            }
            if !self.search.find(self.shape, self.old) {
                return false;
            }
            raw::slot_getsomeattrs_int(found, (*(*self.current.relation).rd_att).natts);
            // Otherwise the row is not what the history takes it for: a fact has come due.
            if !columns.iter().all(|column| same(self.old, column.own, found, column.current)) {
                return false;
            }
            let own = |part: usize| get(found, self.shape.current_columns[part]).0.value() as i64;
            let newest =
                Newest { valid_from: own(0), known_from: own(1), is_own: own(3) as u64 == self.transaction };
            match step(newest, self.began) {
                Step::EndAt(instant) => {
                    let is_done = self.renew(is_update, instant, instant);
                    if is_done {
                        self.end(instant);
                    }
                    is_done
                }
                Step::Overwrite if is_update => self.renew(true, newest.valid_from, newest.known_from),
                Step::Overwrite | Step::Settle => false,
            }
        }
    }

    /// The row that was found goes to those that ended.
    ///
    /// # Safety
    /// As `row`.
    unsafe fn end(&self, instant: i64) {
        // SAFETY: the caller's promise; the version that was found is pinned, also where it is none any more.
        unsafe {
            let (slot, shape) = (self.past.slot, self.shape);
            clear(slot);
            for column in &shape.columns {
                let (value, null) = get(self.search.found, column.current);
                set(slot, column.past, value, null);
            }
            let own = |part: usize| get(self.search.found, shape.current_columns[part]).0;
            let instant = pg_sys::Datum::from(instant);
            let me = pg_sys::Datum::from(self.transaction);
            let values = [own(0), instant, own(1), pg_sys::Datum::from(true), own(2), own(3), self.who, me];
            for (place, value) in shape.past_columns.iter().zip(values) {
                set(slot, *place, value, false);
            }
            raw::ExecStoreVirtualTuple(slot);
            let relation = self.past.relation;
            let store = (*(*relation).rd_tableam).tuple_insert.expect("heap stores tuples");
            store(relation, slot, GetCurrentCommandId(true), 0, std::ptr::null_mut());
            self.past.index(&shape.past_indexes, false);
        }
    }

    /// The newest row becomes what the statement made of it, or goes. Not where somebody else was quicker.
    ///
    /// # Safety
    /// As `row`.
    unsafe fn renew(&self, is_update: bool, valid_from: i64, known_from: i64) -> bool {
        let found = self.search.found;
        // SAFETY: the caller's promise.
        unsafe {
            let relation = self.current.relation;
            let mut place = (*found).tts_tid;
            if !is_update {
                simple_heap_delete(relation, &raw mut place);
                return true;
            }
            let (slot, shape) = (self.current.slot, self.shape);
            clear(slot);
            // What was dropped from the table stays as it was.
            for at in 0..(*(*relation).rd_att).natts as usize {
                let (value, null) = get(found, at);
                set(slot, at, value, null);
            }
            for column in &shape.columns {
                let (value, null) = get(self.new, column.own);
                set(slot, column.current, value, null);
            }
            let (from, known) = (pg_sys::Datum::from(valid_from), pg_sys::Datum::from(known_from));
            let values = [from, known, self.who, pg_sys::Datum::from(self.transaction)];
            for (place, value) in shape.current_columns.iter().zip(values) {
                set(slot, *place, value, false);
            }
            // Nothing that goes this way is scheduled.
            set(slot, shape.current_columns[4], pg_sys::Datum::from(0), true);
            raw::ExecStoreVirtualTuple(slot);
            let (outcome, wants_entries) = compat::update_row(relation, &raw mut place, slot, true);
            if outcome != pg_sys::TM_Result::TM_Ok {
                return false;
            }
            if wants_entries {
                self.current.index(&shape.current_indexes, true);
            }
            true
        }
    }
}
