//! The tables of a history that are written, and the entries of their indexes.

use super::Index;
use super::entries::Entries;
use super::slot::clear;
use crate::pg::{compat, raw};
use pgrx::pg_sys;

/// Rows that are stored together, and the bytes at which no more are waited for.
const ROWS: usize = 256;
const BYTES: usize = 64 << 10;

unsafe extern "C-unwind" {
    fn ExecDropSingleTupleTableSlot(slot: *mut pg_sys::TupleTableSlot);
    fn relation_close(table: pg_sys::Relation, mode: pg_sys::LOCKMODE);
    fn simple_heap_delete(table: pg_sys::Relation, place: pg_sys::ItemPointer);
    fn GetCurrentCommandId(used: bool) -> pg_sys::CommandId;
    fn CreateTupleDescCopy(shape: pg_sys::TupleDesc) -> pg_sys::TupleDesc;
    fn AllocSetContextCreateInternal(
        parent: pg_sys::MemoryContext,
        name: *const std::ffi::c_char,
        least: usize,
        first: usize,
        most: usize,
    ) -> pg_sys::MemoryContext;
    fn MemoryContextReset(context: pg_sys::MemoryContext);
    fn MemoryContextDelete(context: pg_sys::MemoryContext);
}

/// # Safety
/// Within `catch`.
unsafe fn memory() -> pg_sys::MemoryContext {
    // SAFETY: a child of the context of the call, with which it ends at the latest.
    unsafe {
        let name = c"neobank rows of a history".as_ptr();
        AllocSetContextCreateInternal(pg_sys::CurrentMemoryContext, name, 0, 8 << 10, 8 << 20)
    }
}

/// One of the two tables that are written. Rows wait until there are many, which the table then stores at once; nothing of
/// what is done meanwhile looks for them.
#[derive(Clone, Copy)]
pub(super) struct Part<'s> {
    pub relation: pg_sys::Relation,
    indexes: &'s [Index],
    /// As many as the indexes.
    entries: *mut Entries,
    /// Of a statement with one row nothing waits.
    is_single: bool,
    /// Made one by one as they are needed; those of the rows that wait come first.
    slots: *mut *mut pg_sys::TupleTableSlot,
    made: usize,
    waiting: usize,
    bytes: usize,
    /// Of all slots but the first: not the cached one, of which each use is registered.
    shape: pg_sys::TupleDesc,
    /// What storing many leaves behind.
    spare: pg_sys::MemoryContext,
    /// What the entries are made of that wait.
    kept: pg_sys::MemoryContext,
}

impl<'s> Part<'s> {
    /// # Safety
    /// Within `catch`; the table is a history's.
    pub unsafe fn open(table: u32, indexes: &'s [Index], is_single: bool) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let relation = raw::table_open(pg_sys::Oid::from(table), pg_sys::RowExclusiveLock as i32);
            let rows = if is_single { 1 } else { ROWS };
            Part {
                relation,
                indexes,
                entries: raw::palloc0(size_of::<Entries>() * indexes.len()).cast(),
                is_single,
                slots: raw::palloc0(size_of::<*mut pg_sys::TupleTableSlot>() * rows).cast(),
                made: 0,
                waiting: 0,
                bytes: 0,
                shape: std::ptr::null_mut(),
                spare: std::ptr::null_mut(),
                kept: std::ptr::null_mut(),
            }
        }
    }

    /// A slot for the next row, which has every column null.
    ///
    /// # Safety
    /// As `open`.
    pub unsafe fn blank(&mut self) -> *mut pg_sys::TupleTableSlot {
        // SAFETY: the caller's promise; `keep` leaves a place for one more.
        unsafe {
            let own = (*self.relation).rd_att;
            if self.waiting == self.made {
                let shape = match self.made {
                    0 => own,
                    _ if !self.shape.is_null() => self.shape,
                    _ => CreateTupleDescCopy(own),
                };
                if self.made > 0 {
                    self.shape = shape;
                }
                *self.slots.add(self.made) =
                    raw::MakeSingleTupleTableSlot(shape, &raw const pg_sys::TTSOpsVirtual);
                self.made += 1;
            }
            let slot = *self.slots.add(self.waiting);
            clear(slot);
            std::slice::from_raw_parts_mut((*slot).tts_isnull, (*own).natts as usize).fill(true);
            slot
        }
    }

    /// Has the row of the slot that was handed out last be stored, with about so many bytes.
    ///
    /// # Safety
    /// As `open`; the slot is filled.
    pub unsafe fn keep(&mut self, bytes: usize) {
        // SAFETY: the caller's promise. What the values point to is copied, as it does not stay.
        unsafe {
            let slot = *self.slots.add(self.waiting);
            raw::ExecStoreVirtualTuple(slot);
            self.waiting += 1;
            if self.is_single {
                return self.store();
            }
            ((*(*slot).tts_ops).materialize.expect("every slot can be kept"))(slot);
            self.bytes += bytes;
            if self.waiting == ROWS || self.bytes > BYTES {
                self.store();
            }
        }
    }

    /// Stores what waits, with all entries.
    ///
    /// # Safety
    /// As `open`.
    pub unsafe fn finish(&mut self) {
        // SAFETY: the caller's promise.
        unsafe {
            self.store();
            self.flush();
        }
    }

    /// Stores the rows that wait.
    ///
    /// # Safety
    /// As `open`.
    unsafe fn store(&mut self) {
        let count = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        if count == 0 {
            return;
        }
        // SAFETY: the caller's promise; the context is a child of the one that is left for it.
        unsafe {
            let (relation, command) = (self.relation, GetCurrentCommandId(true));
            let methods = &*(*relation).rd_tableam;
            if count == 1 {
                let store = methods.tuple_insert.expect("heap stores tuples");
                store(relation, *self.slots, command, 0, std::ptr::null_mut());
            } else {
                let before = pg_sys::CurrentMemoryContext;
                if self.spare.is_null() {
                    self.spare = memory();
                }
                pg_sys::CurrentMemoryContext = self.spare;
                let store = methods.multi_insert.expect("heap stores many");
                store(relation, self.slots, count as i32, command, 0, std::ptr::null_mut());
                pg_sys::CurrentMemoryContext = before;
                MemoryContextReset(self.spare);
            }
            for row in 0..count {
                self.enter(*self.slots.add(row), false);
            }
        }
    }

    /// Replaces the row at `place` by that of the slot that was handed out last, which is not kept; false where somebody
    /// else was quicker.
    ///
    /// # Safety
    /// As `open`; the slot is filled, the row has its key.
    pub unsafe fn replace(&mut self, place: pg_sys::ItemPointerData) -> bool {
        let mut place = place;
        // SAFETY: the caller's promise.
        unsafe {
            let slot = *self.slots.add(self.waiting);
            raw::ExecStoreVirtualTuple(slot);
            let (outcome, wants_entries) = compat::update_row(self.relation, &raw mut place, slot, true);
            if outcome != pg_sys::TM_Result::TM_Ok {
                return false;
            }
            if wants_entries {
                self.enter(slot, true);
            }
            true
        }
    }

    /// # Safety
    /// As `open`.
    pub unsafe fn delete(&self, place: pg_sys::ItemPointerData) {
        let mut place = place;
        // SAFETY: the caller's promise.
        unsafe { simple_heap_delete(self.relation, &raw mut place) }
    }

    /// The row of a slot gets its entries in the indexes, now or with others.
    ///
    /// # Safety
    /// As `open`; the row is stored; `old_key`: unique indexes have an entry of its key already.
    unsafe fn enter(&mut self, slot: *mut pg_sys::TupleTableSlot, old_key: bool) {
        let mut is_time = false;
        // SAFETY: the caller's promise.
        unsafe {
            for (at, index) in self.indexes.iter().enumerate() {
                let entries = &mut *self.entries.add(at);
                if self.is_single {
                    entries.make(index, self.relation, slot, old_key);
                    continue;
                }
                if self.kept.is_null() {
                    self.kept = memory();
                }
                is_time |= entries.add(index, slot, old_key, self.kept);
            }
            if is_time {
                self.flush();
            }
        }
    }

    /// Makes the entries that wait.
    ///
    /// # Safety
    /// As `open`.
    unsafe fn flush(&mut self) {
        // SAFETY: the caller's promise.
        unsafe {
            for (at, index) in self.indexes.iter().enumerate() {
                (*self.entries.add(at)).flush(index, self.relation);
            }
            if !self.kept.is_null() {
                MemoryContextReset(self.kept);
            }
        }
    }

    /// # Safety
    /// As `open`; nothing waits.
    pub unsafe fn close(self) {
        // SAFETY: made by this.
        unsafe {
            for at in 0..self.indexes.len() {
                (*self.entries.add(at)).close();
            }
            for at in 0..self.made {
                ExecDropSingleTupleTableSlot(*self.slots.add(at));
            }
            for context in [self.spare, self.kept] {
                if !context.is_null() {
                    MemoryContextDelete(context);
                }
            }
            relation_close(self.relation, pg_sys::NoLock as i32);
        }
    }
}
