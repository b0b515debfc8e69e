//! Rows found, locked and replaced by access method calls: what the executor does for a one-row statement, without
//! its start-up cost.

use super::compat;
use super::ereport::{catch, is_failing};
use super::raw;
use super::table::{MAX_COLUMNS, Table};
use crate::error::Error;
use pgrx::{FromDatum, pg_sys};
use uuid::Uuid;

/// What to do about a row that another transaction holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Yes,
    No,
}

/// A row that was to be locked.
pub enum Locked<'t> {
    Row(Row<'t>),
    /// Another transaction holds it, and we were not to wait.
    Busy,
    /// Changed since it was found, which at REPEATABLE READ and above is too late.
    Changed,
    Missing,
}

/// What became of a row that was to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    Done,
    /// Another transaction holds it, and we were not to wait.
    Busy,
    /// It is no longer as it was read.
    Changed,
}

/// Looks rows up by their primary key: a uuid, or a uuid and a small integer.
pub struct Reader<'t> {
    table: &'t Table,
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
}

impl<'t> Reader<'t> {
    /// Sees what the active snapshot sees.
    pub fn open(table: &'t Table) -> Result<Self, Error> {
        let keys = table.shape.indexes[0].keys.len() as i32;
        let (relation, primary_key) = (table.relation, table.index(0));
        // SAFETY: the relation is open, a snapshot is active.
        let opened = unsafe {
            catch(|| {
                let slot = raw::table_slot_create(relation, std::ptr::null_mut());
                let index = raw::index_open(primary_key, pg_sys::RowExclusiveLock as i32);
                let scan = compat::index_begin(relation, index, raw::GetActiveSnapshot(), keys);
                (index, scan, slot)
            })
        };
        let (index, scan, slot) = opened.map_err(Error::Server)?;
        Ok(Reader { table, index, scan, slot })
    }

    /// Goes to the row of the key as the snapshot sees it; false where there is none.
    pub fn find(&mut self, key: Uuid, part: Option<i16>) -> Result<bool, Error> {
        let mut key_bytes = *key.as_bytes();
        let (scan, slot) = (self.scan, self.slot);
        // SAFETY: as many conditions as the scan was begun with; the key's bytes outlive the look-up.
        unsafe {
            let lenient = LenientPruning::begin(self.table);
            let found = catch(|| {
                let mut conditions = [pg_sys::ScanKeyData::default(), pg_sys::ScanKeyData::default()];
                let equal = pg_sys::BTEqualStrategyNumber as u16;
                let id = pg_sys::Datum::from(key_bytes.as_mut_ptr());
                raw::ScanKeyInit(&mut conditions[0], 1, equal, pg_sys::F_UUID_EQ.into(), id);
                if let Some(part) = part {
                    raw::ScanKeyInit(&mut conditions[1], 2, equal, pg_sys::F_INT2EQ.into(), part.into());
                }
                let count = 1 + i32::from(part.is_some());
                raw::index_rescan(scan, conditions.as_mut_ptr(), count, std::ptr::null_mut(), 0);
                raw::index_getnext_slot(scan, pg_sys::ScanDirection::ForwardScanDirection, slot)
            });
            drop(lenient);
            let found = found.map_err(Error::Server)?;
            assert!(!found || self.found::<pgrx::Uuid>(1).is_some_and(|id| *id == *key.as_bytes()));
            Ok(found)
        }
    }

    /// A column, counted from 1, of the row that was found.
    pub fn found<T: FromDatum>(&self, column: usize) -> Option<T> {
        // SAFETY: the slot holds a row of the table; the column's type is the caller's.
        unsafe {
            if ((*self.slot).tts_nvalid as usize) < column {
                pg_sys::slot_getsomeattrs_int(self.slot, column as i32);
            }
            let is_null = *(*self.slot).tts_isnull.add(column - 1);
            T::from_datum(*(*self.slot).tts_values.add(column - 1), is_null)
        }
    }

    /// The row that was found, not locked.
    pub fn take(&mut self) -> Result<Row<'t>, Error> {
        // SAFETY: the slot holds the row that was found.
        unsafe { Row::copy(self.table, self.slot) }
    }

    /// Locks the row that was found as FOR NO KEY UPDATE does. Below REPEATABLE READ it is then the newest version; where
    /// it is not to be waited for, it is locked only as it was found, and else no lock is taken: that of the newer
    /// versions would be, by a flag that LockRows always gives, where their writer ends while we look.
    pub fn lock(&mut self, wait: Wait) -> Result<Locked<'t>, Error> {
        // SAFETY: as the executor's LockRows does; the slot holds the row that the snapshot sees.
        let outcome = unsafe {
            let flags = match wait {
                Wait::No => 0,
                Wait::Yes if follows() => {
                    pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION
                        | pg_sys::TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS
                }
                Wait::Yes => pg_sys::TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS,
            } as u8;
            let lock = (*(*self.table.relation).rd_tableam).tuple_lock.expect("heap locks tuples");
            let policy = match wait {
                Wait::Yes => pg_sys::LockWaitPolicy::LockWaitBlock,
                Wait::No => pg_sys::LockWaitPolicy::LockWaitSkip,
            };
            let mode = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
            let mut failure = pg_sys::TM_FailureData::default();
            let mut place = (*self.slot).tts_tid;
            let command = pg_sys::GetCurrentCommandId(true);
            let snapshot = pg_sys::GetActiveSnapshot();
            let (relation, slot) = (self.table.relation, self.slot);
            catch(|| lock(relation, &mut place, snapshot, slot, command, mode, policy, flags, &mut failure))
        };
        match outcome.map_err(Error::Server)? {
            // SAFETY: the slot holds the locked version.
            pg_sys::TM_Result::TM_Ok => unsafe { Row::copy(self.table, self.slot) }.map(Locked::Row),
            pg_sys::TM_Result::TM_WouldBlock => Ok(Locked::Busy),
            pg_sys::TM_Result::TM_Deleted if follows() => Ok(Locked::Missing),
            pg_sys::TM_Result::TM_Updated | pg_sys::TM_Result::TM_Deleted => Ok(Locked::Changed),
            other => panic!("locking a row of {} answered {other}", self.table.shape.full_name()),
        }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if !is_failing() {
            // SAFETY: made by `open`.
            unsafe {
                pg_sys::index_endscan(self.scan);
                pg_sys::index_close(self.index, pg_sys::NoLock as i32);
                pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            }
        }
    }
}

/// While it lives, a page that is read is cleared of dead versions when it is nearly full, not as soon as less of it is
/// free than the table's fillfactor asks. The free half of a page in a table of fillfactor 50 then takes some twenty
/// updates between two clearings, not one; each clearing costs as much as a look-up, and writes WAL.
struct LenientPruning {
    relation: pg_sys::Relation,
    fillfactor: Option<i32>,
}

impl LenientPruning {
    /// # Safety
    /// The table stays open as long.
    unsafe fn begin(table: &Table) -> Self {
        let relation = table.relation;
        // SAFETY: the options of a table are of this type; they are this backend's copy.
        let fillfactor = unsafe { options(relation).map(|all| std::mem::replace(&mut all.fillfactor, 100)) };
        LenientPruning { relation, fillfactor }
    }
}

impl Drop for LenientPruning {
    fn drop(&mut self) {
        // SAFETY: as above; what the server reads anew meanwhile has the same value.
        if let Some((all, found)) = unsafe { options(self.relation) }.zip(self.fillfactor) {
            all.fillfactor = found;
        }
    }
}

/// # Safety
/// The relation is an open table.
unsafe fn options<'r>(relation: pg_sys::Relation) -> Option<&'r mut pg_sys::StdRdOptions> {
    // SAFETY: the caller's promise.
    unsafe { (*relation).rd_options.cast::<pg_sys::StdRdOptions>().as_mut() }
}

/// Whether a lock follows a row to its newest version: below REPEATABLE READ.
pub fn follows() -> bool {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::XactIsoLevel < pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// A copy of a row: a batch holds thousands, which may not keep thousands of buffers pinned.
pub struct Row<'t> {
    table: &'t Table,
    tuple: pg_sys::HeapTuple,
    values: [pg_sys::Datum; MAX_COLUMNS],
    nulls: [bool; MAX_COLUMNS],
}

impl<'t> Row<'t> {
    /// # Safety
    /// The slot holds a row of the table.
    unsafe fn copy(table: &'t Table, slot: *mut pg_sys::TupleTableSlot) -> Result<Self, Error> {
        let mut values = [pg_sys::Datum::from(0usize); MAX_COLUMNS];
        let mut nulls = [false; MAX_COLUMNS];
        let (value, null) = (values.as_mut_ptr(), nulls.as_mut_ptr());
        // SAFETY: no table here has more columns than the arrays.
        let copied = unsafe {
            let shape = (*table.relation).rd_att;
            catch(|| {
                let methods = &*(*slot).tts_ops;
                let tuple = compat::copy_heap_tuple(slot);
                (methods.clear.expect("every slot can be cleared"))(slot);
                raw::heap_deform_tuple(tuple, shape, value, null);
                tuple
            })
        };
        Ok(Row { table, tuple: copied.map_err(Error::Server)?, values, nulls })
    }

    /// A column's value, counted from 1, copied out.
    pub fn get<T: FromDatum>(&self, column: usize) -> Option<T> {
        // SAFETY: the datum points into the copied tuple; the column's type is the caller's.
        unsafe { T::from_datum(self.values[column - 1], self.nulls[column - 1]) }
    }

    pub fn is_null(&self, column: usize) -> bool {
        self.nulls[column - 1]
    }

    /// Bytes of a column of variable length, without its header.
    pub fn bytes(&self, column: usize) -> &[u8] {
        // SAFETY: the caller's column is a varlena, short enough to be neither compressed nor moved out of line.
        unsafe {
            let start = self.values[column - 1].cast_mut_ptr::<pg_sys::varlena>();
            let length = pgrx::varlena::varsize_any_exhdr(start);
            std::slice::from_raw_parts(pgrx::varlena::vardata_any(start).cast::<u8>(), length)
        }
    }

    /// Replaces the row by one that differs in the given columns, which may be of no key that others refer to.
    pub fn replace(&self, changes: &[(usize, pg_sys::Datum)], wait: Wait) -> Result<Replaced, Error> {
        let relation = self.table.relation;
        let (mut values, mut nulls) = (self.values, self.nulls);
        for (column, value) in changes {
            values[column - 1] = *value;
            nulls[column - 1] = false;
        }
        // SAFETY: the values are of their columns' types; a row that is no longer the newest is not replaced.
        unsafe {
            let columns = (*(*relation).rd_att).natts as usize;
            let mut place = (*self.tuple).t_self;
            let place = &raw mut place;
            let (outcome, wants_entries, new) = catch(|| {
                let new = raw::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsVirtual);
                std::ptr::copy_nonoverlapping(values.as_ptr(), (*new).tts_values, columns);
                std::ptr::copy_nonoverlapping(nulls.as_ptr(), (*new).tts_isnull, columns);
                raw::ExecStoreVirtualTuple(new);
                let (outcome, wanted) = compat::update_row(relation, place, new, wait == Wait::Yes);
                (outcome, wanted, new)
            })
            .map_err(Error::Server)?;
            let replaced = match outcome {
                pg_sys::TM_Result::TM_Ok => Replaced::Done,
                pg_sys::TM_Result::TM_BeingModified => Replaced::Busy,
                pg_sys::TM_Result::TM_Updated | pg_sys::TM_Result::TM_Deleted => Replaced::Changed,
                other => panic!("replacing a row of {} answered {other}", self.table.shape.full_name()),
            };
            if replaced == Replaced::Done && wants_entries {
                self.table.renew_index_entries(new)?;
            }
            pg_sys::ExecDropSingleTupleTableSlot(new);
            Ok(replaced)
        }
    }
}

impl Drop for Row<'_> {
    fn drop(&mut self) {
        if !is_failing() {
            // SAFETY: copied by `copy`.
            unsafe { pg_sys::heap_freetuple(self.tuple) };
        }
    }
}
