//! Rows appended with their index entries: many at a time, the entries of each index in the order of its keys, so that
//! neighbours meet on the same page; or one, unless its key is taken.

use super::compat;
use super::ereport::{catch, is_failing};
use super::raw;
use super::table::{Index, MAX_INDEXES, Only, Table};
use crate::error::Error;
use pgrx::{PgMemoryContexts, pg_sys};

/// Rows that are formed before they are stored together.
const CHUNK: usize = 500;

/// The columns of one row in the making.
pub struct NewRow(*mut pg_sys::TupleTableSlot);

impl NewRow {
    /// A column counted from 1.
    fn datum(&self, column: usize) -> Option<pg_sys::Datum> {
        // SAFETY: the column is one of the table's; `set` filled it.
        unsafe {
            let is_null = *(*self.0).tts_isnull.add(column - 1);
            (!is_null).then(|| *(*self.0).tts_values.add(column - 1))
        }
    }

    fn belongs_to(&self, index: &Index) -> bool {
        match index.only {
            None => true,
            Some(Only::Null(column)) => self.datum(column).is_none(),
            Some(Only::NotNull(column)) => self.datum(column).is_some(),
        }
    }

    /// Gives all columns their values, in their order.
    pub fn fill<const N: usize>(&mut self, values: [Option<pg_sys::Datum>; N]) {
        // SAFETY: the slot has as many columns as its descriptor says, which is checked.
        unsafe {
            pg_sys::ExecClearTuple(self.0);
            assert!(N == (*(*self.0).tts_tupleDescriptor).natts as usize, "a value for every column");
            for (at, value) in values.into_iter().enumerate() {
                *(*self.0).tts_values.add(at) = value.unwrap_or(pg_sys::Datum::from(0usize));
                *(*self.0).tts_isnull.add(at) = value.is_none();
            }
            pg_sys::ExecStoreVirtualTuple(self.0);
        }
    }
}

/// An index entry to be made: a uuid, for most an integer, and the row's place.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    key: [u8; 16],
    part: i64,
    block: u32,
    offset: u16,
}

impl Entry {
    /// Nothing where a partial index leaves the row out.
    ///
    /// # Safety
    /// The first key is a uuid, the second, if any, an integer; the row is stored.
    unsafe fn of(row: &NewRow, index: &Index) -> Option<Self> {
        if !row.belongs_to(index) {
            return None;
        }
        // SAFETY: the caller's promise.
        unsafe {
            let key = *row.datum(index.keys[0])?.cast_mut_ptr::<[u8; 16]>();
            let part = match index.keys.get(1) {
                Some(column) => row.datum(*column)?.value() as i64,
                None => 0,
            };
            let place = (*row.0).tts_tid;
            let block = (u32::from(place.ip_blkid.bi_hi) << 16) | u32::from(place.ip_blkid.bi_lo);
            Some(Entry { key, part, block, offset: place.ip_posid })
        }
    }

    fn place(&self) -> pg_sys::ItemPointerData {
        pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData { bi_hi: (self.block >> 16) as u16, bi_lo: self.block as u16 },
            ip_posid: self.offset,
        }
    }
}

impl Table {
    /// Appends `count` rows, each filled by `fill`; a taken key raises a unique violation. What `fill` allocates is freed
    /// soon where there are several.
    pub fn append(&self, count: usize, mut fill: impl FnMut(usize, &mut NewRow)) -> Result<(), Error> {
        let mut entries: [Vec<Entry>; MAX_INDEXES] = Default::default();
        let single = count == 1;
        // SAFETY: for many, a descriptor that is no cached one spares each slot to register its use, and a context of
        // their own frees what the rows are made of.
        unsafe {
            let cached = (*self.relation).rd_att;
            let shape = if single { cached } else { pg_sys::CreateTupleDescCopy(cached) };
            let slots: Vec<_> = (0..count.min(CHUNK))
                .map(|_| pg_sys::MakeSingleTupleTableSlot(shape, &raw const pg_sys::TTSOpsVirtual))
                .collect();
            let mut context = (!single).then(|| PgMemoryContexts::new("neobank new rows"));
            for first in (0..count).step_by(CHUNK) {
                let parent = context.as_mut().map(|context| context.set_as_current());
                let slots = &slots[..CHUNK.min(count - first)];
                for (at, slot) in slots.iter().enumerate() {
                    fill(first + at, &mut NewRow(*slot));
                }
                let stored = self.store(slots, &mut entries);
                if let Some((context, parent)) = context.as_mut().zip(parent) {
                    pg_sys::CurrentMemoryContext = parent.value();
                    stored?;
                    context.reset();
                } else {
                    stored?;
                }
            }
            for slot in slots {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
        }
        for (at, entries) in entries.iter_mut().enumerate().filter(|(_, entries)| !entries.is_empty()) {
            entries.sort_unstable();
            self.insert_entries(at, entries)?;
        }
        Ok(())
    }

    /// Stores rows with their entries in those indexes whose order is that of the rows, or none; what the others are to
    /// get is added to `entries`.
    ///
    /// # Safety
    /// The slots have a value for every column.
    unsafe fn store(
        &self,
        slots: &[*mut pg_sys::TupleTableSlot],
        entries: &mut [Vec<Entry>; MAX_INDEXES],
    ) -> Result<(), Error> {
        // SAFETY: the caller's promise; the table is heap, which changes no pointer to a slot.
        unsafe {
            let command = pg_sys::GetCurrentCommandId(true);
            let store = (*(*self.relation).rd_tableam).multi_insert.expect("heap stores many");
            let (relation, target, count) = (self.relation, slots.as_ptr().cast_mut(), slots.len() as i32);
            catch(|| store(relation, target, count, command, 0, std::ptr::null_mut()))
                .map_err(Error::Server)?;
            for (at, index) in self.shape.indexes.iter().enumerate() {
                if self.shape.is_by_uuid(index) {
                    let rows = slots.iter().map(|slot| NewRow(*slot));
                    entries[at].extend(rows.filter_map(|row| Entry::of(&row, index)));
                } else if slots.iter().any(|slot| NewRow(*slot).belongs_to(index)) {
                    self.insert_rows(at, slots, false)?;
                }
            }
        }
        Ok(())
    }

    /// Makes the entries of stored rows in one index.
    ///
    /// # Safety
    /// The slots hold rows of this table that are stored.
    unsafe fn insert_rows(
        &self,
        at: usize,
        slots: &[*mut pg_sys::TupleTableSlot],
        unchanged: bool,
    ) -> Result<(), Error> {
        let (target, wanted) = (IndexToFill::of(self, at), &self.shape.indexes[at]);
        // SAFETY: the keys are the index's columns in their order, checked with the table's shape.
        let filled = unsafe {
            catch(|| {
                target.fill(|insert| {
                    for slot in slots {
                        let row = NewRow(*slot);
                        if !row.belongs_to(wanted) {
                            continue;
                        }
                        let (mut values, mut nulls) = ([pg_sys::Datum::from(0usize); 4], [false; 4]);
                        for (place, column) in wanted.keys.iter().enumerate() {
                            let key = row.datum(*column);
                            nulls[place] = key.is_none();
                            values[place] = key.unwrap_or(values[place]);
                        }
                        let place = &raw mut (**slot).tts_tid;
                        insert(values.as_mut_ptr(), nulls.as_mut_ptr(), place, unchanged);
                    }
                });
            })
        };
        filled.map_err(Error::Server)
    }

    fn insert_entries(&self, at: usize, entries: &mut [Entry]) -> Result<(), Error> {
        let target = IndexToFill::of(self, at);
        // SAFETY: the rows are stored; their keys are of the index's types, checked with the table's shape.
        let filled = unsafe {
            catch(|| {
                target.fill(|insert| {
                    for entry in entries.iter_mut() {
                        let mut place = entry.place();
                        let key = pg_sys::Datum::from(entry.key.as_mut_ptr());
                        let mut values = [key, pg_sys::Datum::from(entry.part)];
                        let mut nulls = [false; 2];
                        insert(values.as_mut_ptr(), nulls.as_mut_ptr(), &mut place, false);
                    }
                });
            })
        };
        filled.map_err(Error::Server)
    }

    /// Appends one row; false where a row with its primary key is there, for which a transaction that is about to
    /// write one is waited for: INSERT ... ON CONFLICT DO NOTHING.
    pub fn append_unless_taken(&self, fill: impl FnOnce(&mut NewRow)) -> Result<bool, Error> {
        // SAFETY: the slot has a value for every column; the executor's state lives as long as the open indexes.
        unsafe {
            let slot =
                pg_sys::MakeSingleTupleTableSlot((*self.relation).rd_att, &raw const pg_sys::TTSOpsVirtual);
            fill(&mut NewRow(slot));
            let executor = Executor::open(self)?;
            let arbiters = pg_sys::lappend_oid(std::ptr::null_mut(), self.index(0));
            let (result, state) = (executor.result, executor.state);
            let stored = catch(|| compat::insert_unless_taken(result, slot, state, arbiters));
            let stored = stored.map_err(Error::Server)?;
            drop(executor);
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            Ok(stored)
        }
    }

    /// Makes the index entries of a new version of a row that did not fit beside the old one. No key has changed,
    /// which the indexes are told, so that they look for entries of dead versions before they split a page.
    ///
    /// # Safety
    /// The slot holds the version just stored in this table, with a value for every column.
    pub(super) unsafe fn renew_index_entries(&self, slot: *mut pg_sys::TupleTableSlot) -> Result<(), Error> {
        let row = NewRow(slot);
        for (at, _) in self.shape.indexes.iter().enumerate().filter(|(_, index)| row.belongs_to(index)) {
            // SAFETY: the caller's promise.
            unsafe { self.insert_rows(at, &[slot], true) }?;
        }
        Ok(())
    }
}

/// An index that is about to get entries.
#[derive(Clone, Copy)]
struct IndexToFill {
    index: pg_sys::Oid,
    table: pg_sys::Relation,
    check: pg_sys::IndexUniqueCheck::Type,
}

impl IndexToFill {
    fn of(table: &Table, at: usize) -> Self {
        let check = if table.shape.indexes[at].unique {
            pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES
        } else {
            pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO
        };
        IndexToFill { index: table.index(at), table: table.relation, check }
    }

    /// Opens the index, lets `entries` insert by values, nulls, place and whether the key is an old one, and closes it.
    ///
    /// # Safety
    /// Called inside `catch`. As many values as the index has keys, of their types; the rows are stored.
    unsafe fn fill(
        self,
        entries: impl FnOnce(&mut dyn FnMut(*mut pg_sys::Datum, *mut bool, pg_sys::ItemPointer, bool)),
    ) {
        let IndexToFill { index, table, check } = self;
        // SAFETY: the caller's promise.
        unsafe {
            let index = raw::index_open(index, pg_sys::RowExclusiveLock as i32);
            let info = raw::BuildIndexInfo(index);
            entries(&mut |values, nulls, place, unchanged| {
                raw::index_insert(index, values, nulls, place, table, check, unchanged, info);
            });
            raw::pfree(info.cast());
            raw::index_close(index, pg_sys::NoLock as i32);
        }
    }
}

/// The executor's view of a table with its indexes open for entries on trial.
struct Executor {
    result: *mut pg_sys::ResultRelInfo,
    state: *mut pg_sys::EState,
}

impl Executor {
    fn open(table: &Table) -> Result<Self, Error> {
        let relation = table.relation;
        // SAFETY: the relation is open longer than this. To wait for an index's lock may be cancelled.
        let opened = unsafe {
            catch(|| {
                let state = raw::CreateExecutorState();
                let result = raw::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
                (*result).type_ = pg_sys::NodeTag::T_ResultRelInfo;
                raw::InitResultRelInfo(result, relation, 0, std::ptr::null_mut(), 0);
                raw::ExecOpenIndices(result, true);
                (result, state)
            })
        };
        let (result, state) = opened.map_err(Error::Server)?;
        Ok(Executor { result, state })
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if !is_failing() {
            // SAFETY: opened by `open`.
            unsafe {
                pg_sys::ExecCloseIndices(self.result);
                pg_sys::FreeExecutorState(self.state);
                pg_sys::pfree(self.result.cast());
            }
        }
    }
}
