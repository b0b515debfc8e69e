//! Entries of indexes that wait until there are many, and are then made in about the order of their keys: so neighbours
//! meet on the same page, in whatever order a statement came to its rows.

use super::Index;
use super::slot::get;
use crate::pg::{compat, raw};
use pgrx::pg_sys;

/// Entries that are made together at the most, and room for the first.
const MOST: usize = 8192;
const FIRST: usize = 64;

unsafe extern "C-unwind" {
    fn datumCopy(value: pg_sys::Datum, by_value: bool, length: i32) -> pg_sys::Datum;
    fn MemoryContextAlloc(context: pg_sys::MemoryContext, size: usize) -> *mut std::ffi::c_void;
    fn repalloc(memory: *mut std::ffi::c_void, size: usize) -> *mut std::ffi::c_void;
}

/// An entry to be made.
#[derive(Clone, Copy)]
struct Entry {
    order: [u64; 2],
    place: pg_sys::ItemPointerData,
    /// A unique index has an entry of this key already.
    old_key: bool,
    values: *mut pg_sys::Datum,
    nulls: *mut bool,
}

/// An index of a history, and what it is to get.
#[derive(Clone, Copy)]
pub(super) struct Entries {
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    waiting: *mut Entry,
    room: usize,
    count: usize,
}

/// A number that is the greater the greater a key's column is; of texts and the like only about so.
///
/// # Safety
/// The value is of that column's type, and not null.
unsafe fn order(value: pg_sys::Datum, column: *const pg_sys::FormData_pg_attribute) -> u64 {
    // SAFETY: the caller's promise; as many bytes are read as there are.
    unsafe {
        if (*column).attbyval {
            return (value.value() as u64) ^ (1 << 63);
        }
        let start = value.cast_mut_ptr::<u8>();
        let (first, length) = match (*column).attlen {
            -1 => {
                let packed = start.cast::<pg_sys::varlena>();
                (pgrx::vardata_any(packed).cast::<u8>(), pgrx::varsize_any_exhdr(packed))
            }
            length => (start.cast_const(), usize::try_from(length).unwrap_or(0)),
        };
        let mut bytes = [0; 8];
        let length = length.min(8);
        std::ptr::copy_nonoverlapping(first, bytes.as_mut_ptr(), length);
        u64::from_be_bytes(bytes)
    }
}

impl Entries {
    /// # Safety
    /// Within `catch`.
    unsafe fn open(&mut self, of: &Index) {
        if self.index.is_null() {
            // SAFETY: the caller's promise.
            unsafe {
                self.index = raw::index_open(pg_sys::Oid::from(of.oid), pg_sys::RowExclusiveLock as i32);
                self.info = raw::BuildIndexInfo(self.index);
            }
        }
    }

    /// Has room for one more.
    ///
    /// # Safety
    /// Within `catch`; the memory context of the call stays as long as this.
    unsafe fn reserve(&mut self) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.waiting.is_null() {
                self.room = FIRST;
                self.waiting = raw::palloc0(size_of::<Entry>() * FIRST).cast();
            } else if self.count == self.room {
                self.room *= 2;
                self.waiting = repalloc(self.waiting.cast(), size_of::<Entry>() * self.room).cast();
            }
        }
    }

    /// Makes the entry of a row.
    ///
    /// # Safety
    /// Within `catch`; the slot has a row of the table that is stored.
    pub unsafe fn make(
        &mut self,
        of: &Index,
        table: pg_sys::Relation,
        slot: *mut pg_sys::TupleTableSlot,
        old_key: bool,
    ) {
        let mut values = [pg_sys::Datum::from(0); pg_sys::INDEX_MAX_KEYS as usize];
        let mut nulls = [false; pg_sys::INDEX_MAX_KEYS as usize];
        // SAFETY: the caller's promise; an index has at most so many columns, which its table has.
        unsafe {
            self.open(of);
            for (place, column) in of.columns.iter().enumerate() {
                (values[place], nulls[place]) = get(slot, *column);
            }
            let mut entry = Entry {
                order: [0; 2],
                place: (*slot).tts_tid,
                old_key,
                values: values.as_mut_ptr(),
                nulls: nulls.as_mut_ptr(),
            };
            self.enter(of, table, &mut entry);
        }
    }

    /// Has the entry of a row be made with others; true where it is time for that.
    ///
    /// # Safety
    /// As `make`; the memory stays until the entries are made.
    pub unsafe fn add(
        &mut self,
        of: &Index,
        slot: *mut pg_sys::TupleTableSlot,
        old_key: bool,
        memory: pg_sys::MemoryContext,
    ) -> bool {
        let count = of.columns.len();
        // SAFETY: the caller's promise; there is room for the values and behind them for what is null.
        unsafe {
            self.open(of);
            self.reserve();
            let values = MemoryContextAlloc(memory, (size_of::<pg_sys::Datum>() + 1) * count);
            let values = values.cast::<pg_sys::Datum>();
            let nulls = values.add(count).cast::<bool>();
            let mut entry = Entry { order: [0; 2], place: (*slot).tts_tid, old_key, values, nulls };
            for (place, at) in of.columns.iter().enumerate() {
                let (value, null) = get(slot, *at);
                let column = compat::attribute((*self.index).rd_att, place);
                nulls.add(place).write(null);
                if null {
                    values.add(place).write(pg_sys::Datum::from(0));
                    continue;
                }
                if place < 2 {
                    entry.order[place] = order(value, column);
                }
                let before = pg_sys::CurrentMemoryContext;
                pg_sys::CurrentMemoryContext = memory;
                let copy = datumCopy(value, (*column).attbyval, (*column).attlen.into());
                pg_sys::CurrentMemoryContext = before;
                values.add(place).write(copy);
            }
            self.waiting.add(self.count).write(entry);
            self.count += 1;
            self.count == MOST
        }
    }

    /// Makes all entries that wait.
    ///
    /// # Safety
    /// As `make`.
    pub unsafe fn flush(&mut self, of: &Index, table: pg_sys::Relation) {
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return;
        }
        // SAFETY: so many were written.
        unsafe {
            let entries = std::slice::from_raw_parts_mut(self.waiting, count);
            entries.sort_unstable_by_key(|entry| entry.order);
            for entry in entries {
                self.enter(of, table, entry);
            }
        }
    }

    /// # Safety
    /// As `make`.
    unsafe fn enter(&self, of: &Index, table: pg_sys::Relation, entry: &mut Entry) {
        let check = if of.is_unique {
            pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES
        } else {
            pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO
        };
        let is_old = entry.old_key && of.is_unique;
        // SAFETY: the caller's promise.
        unsafe {
            let place = &raw mut entry.place;
            raw::index_insert(self.index, entry.values, entry.nulls, place, table, check, is_old, self.info);
        }
    }

    /// # Safety
    /// Within `catch`; nothing waits.
    pub unsafe fn close(self) {
        if !self.index.is_null() {
            // SAFETY: opened by this.
            unsafe { raw::index_close(self.index, pg_sys::NoLock as i32) };
        }
    }
}
