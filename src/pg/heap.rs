//! Rows by table and index access calls: what the executor does for a one-row statement, without its start-up cost.
//!
//! Triggers, row security, CHECKs and foreign keys of the table are not looked at, so a caller asks
//! [`Table::is_plain`] first and otherwise goes through SQL.

use super::compat::{self, WantEntries};
use super::ereport::catch;
use crate::error::Error;
use pgrx::{FromDatum, pg_sys};
use std::ffi::{CStr, c_char};
use uuid::Uuid;

/// A column as the installation made it; without a type where the type is the extension's own.
pub struct Column {
    oid: Option<pg_sys::Oid>,
    not_null: bool,
}

impl Column {
    pub const fn required(oid: pg_sys::Oid) -> Self {
        Column { oid: Some(oid), not_null: true }
    }

    pub const fn optional(oid: pg_sys::Oid) -> Self {
        Column { oid: Some(oid), not_null: false }
    }

    pub const fn of_own_type() -> Self {
        Column { oid: None, not_null: true }
    }
}

/// What direct access relies on.
pub struct Shape {
    pub columns: &'static [Column],
    pub indexes: usize,
    pub trigger: &'static CStr,
}

/// An open table. After an error the transaction's abort closes it.
pub struct Table(pg_sys::Relation);

/// A fresh snapshot, as a volatile function's statement has: it sees what this transaction did before.
pub struct FreshSnapshot(());

impl FreshSnapshot {
    pub fn take() -> Self {
        // SAFETY: paired with the pop in `drop`, or popped by the transaction's abort.
        unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        FreshSnapshot(())
    }
}

impl Drop for FreshSnapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: pushed by `take`.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}

// Called past the bindings' wrappers and inside `catch`, so that their errors keep every field.
unsafe extern "C-unwind" {
    fn PreventCommandIfReadOnly(command: *const c_char);
    fn PreventCommandIfParallelMode(command: *const c_char);
    fn index_getnext_slot(
        scan: pg_sys::IndexScanDesc,
        direction: pg_sys::ScanDirection::Type,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool;
    fn simple_table_tuple_insert(table: pg_sys::Relation, slot: *mut pg_sys::TupleTableSlot);
}

/// Refuses as a writing statement would in a read-only transaction.
pub fn refuse_read_only(command: &CStr) -> Result<(), Error> {
    // SAFETY: both only look at the transaction's state.
    let checked = unsafe {
        catch(|| {
            PreventCommandIfReadOnly(command.as_ptr());
            PreventCommandIfParallelMode(command.as_ptr());
        })
    };
    checked.map_err(Error::Server)
}

/// The datum of an enum's label.
pub fn enum_label(enum_type: pg_sys::Oid, label: &CStr) -> pg_sys::Datum {
    // SAFETY: a catalog look-up; the tuple is released before return.
    unsafe {
        let tuple = pg_sys::SearchSysCache2(
            pg_sys::SysCacheIdentifier::ENUMTYPOIDNAME as i32,
            pg_sys::Datum::from(enum_type),
            pg_sys::Datum::from(label.as_ptr()),
        );
        assert!(!tuple.is_null(), "{label:?} is a label of the enum");
        let form: *const pg_sys::FormData_pg_enum = pg_sys::GETSTRUCT(tuple).cast();
        let oid = (*form).oid;
        pg_sys::ReleaseSysCache(tuple);
        pg_sys::Datum::from(oid)
    }
}

impl Table {
    /// Opens a table for writing. The lock stays until the transaction ends, as an UPDATE's does.
    pub fn open(schema: &CStr, name: &CStr) -> Self {
        // SAFETY: a missing schema or table raises.
        unsafe {
            let schema = pg_sys::get_namespace_oid(schema.as_ptr(), false);
            let table = pg_sys::get_relname_relid(name.as_ptr(), schema);
            Table(pg_sys::table_open(table, pg_sys::RowExclusiveLock as i32))
        }
    }

    /// Whether the table is as the installation made it, so that nothing hangs on it which only the executor honours.
    /// Foreign keys that point here watch keys, which no posting changes.
    pub fn is_plain(&self, wanted: &Shape) -> bool {
        // SAFETY: the relation is open; its descriptors are valid as long.
        unsafe {
            let relation = &*self.0;
            let form = &*relation.rd_rel;
            let shape = &*relation.rd_att;
            let unconstrained = shape.constr.is_null()
                || ((*shape.constr).num_check == 0 && !(*shape.constr).has_generated_stored);
            form.relkind == pg_sys::RELKIND_RELATION as c_char
                && form.relam == pg_sys::HEAP_TABLE_AM_OID
                && form.relreplident != pg_sys::REPLICA_IDENTITY_NOTHING as c_char
                && !form.relrowsecurity
                && !form.relhasrules
                && !form.relispartition
                && unconstrained
                && self.has_columns(wanted.columns)
                && self.has_only_trigger(wanted.trigger)
                && self.index_count() == wanted.indexes
        }
    }

    fn has_columns(&self, wanted: &[Column]) -> bool {
        // SAFETY: the relation is open; no more columns are looked at than it has.
        unsafe {
            let shape = (*self.0).rd_att;
            (*shape).natts as usize == wanted.len()
                && wanted.iter().enumerate().all(|(at, column)| {
                    let found = &*compat::attribute(shape, at);
                    found.attnotnull == column.not_null
                        && !found.attisdropped
                        && column.oid.is_none_or(|oid| oid == found.atttypid)
                })
        }
    }

    fn has_only_trigger(&self, name: &CStr) -> bool {
        // SAFETY: as many triggers as the descriptor says.
        unsafe {
            let Some(descriptor) = (*self.0).trigdesc.as_ref() else { return false };
            let triggers = std::slice::from_raw_parts(descriptor.triggers, descriptor.numtriggers as usize);
            let watches_keys = |trigger: &pg_sys::Trigger| {
                trigger.tgisinternal
                    && pg_sys::RI_FKey_trigger_type(trigger.tgfoid) == pg_sys::RI_TRIGGER_PK as i32
            };
            let mut others = triggers.iter().filter(|trigger| !watches_keys(trigger));
            others.next().is_some_and(|own| CStr::from_ptr(own.tgname) == name)
                && others.next().is_none()
                && !descriptor.trig_insert_before_row
                && !descriptor.trig_update_before_row
        }
    }

    fn index_count(&self) -> usize {
        // SAFETY: the list is ours to free.
        unsafe {
            let indexes = pg_sys::RelationGetIndexList(self.0);
            let count = indexes.as_ref().map_or(0, |list| list.length as usize);
            pg_sys::list_free(indexes);
            count
        }
    }

    /// The type of a column, counted from 1.
    pub fn column_type(&self, column: usize) -> pg_sys::Oid {
        // SAFETY: the caller's column is one of the table's.
        unsafe { pg_sys::SPI_gettypeid((*self.0).rd_att, column as i32) }
    }

    /// Finds a row by its uuid primary key and locks it as FOR NO KEY UPDATE does, waiting for its holder.
    /// Needs a [`FreshSnapshot`].
    pub fn lock_row(&self, key: Uuid) -> Result<Option<LockedRow<'_>>, Error> {
        let mut key_bytes = *key.as_bytes();
        // SAFETY: the relation is open, the key's bytes outlive the scan, a snapshot is active.
        unsafe {
            let slot = pg_sys::table_slot_create(self.0, std::ptr::null_mut());
            let row = LockedRow { table: self, slot };
            let mut scan_key = pg_sys::ScanKeyData::default();
            pg_sys::ScanKeyInit(
                &mut scan_key,
                1,
                pg_sys::BTEqualStrategyNumber as u16,
                pg_sys::F_UUID_EQ.into(),
                pg_sys::Datum::from(key_bytes.as_mut_ptr()),
            );
            let snapshot = pg_sys::GetActiveSnapshot();
            let index = pg_sys::index_open(compat::primary_key(self.0), pg_sys::RowExclusiveLock as i32);
            let scan = compat::index_begin(self.0, index, snapshot, 1);
            pg_sys::index_rescan(scan, &mut scan_key, 1, std::ptr::null_mut(), 0);
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            let found = catch(|| index_getnext_slot(scan, forward, slot)).map_err(Error::Server)?;
            pg_sys::index_endscan(scan);
            pg_sys::index_close(index, pg_sys::NoLock as i32);
            if !found || !row.lock(snapshot)? {
                return Ok(None);
            }
            let locked: Option<pgrx::Uuid> = row.get(1);
            assert!(locked.is_some_and(|id| *id == *key.as_bytes()), "the index led to another row");
            Ok(Some(row))
        }
    }

    /// Appends a row with all its index entries; a taken key raises a unique violation.
    pub fn insert(&self, values: &[Option<pg_sys::Datum>]) -> Result<(), Error> {
        // SAFETY: as many values as the table has columns, each of its column's type.
        unsafe {
            let slot = pg_sys::MakeSingleTupleTableSlot((*self.0).rd_att, &raw const pg_sys::TTSOpsVirtual);
            assert!(values.len() == (*(*self.0).rd_att).natts as usize, "a value for every column");
            for (at, value) in values.iter().enumerate() {
                *(*slot).tts_values.add(at) = value.unwrap_or(pg_sys::Datum::from(0usize));
                *(*slot).tts_isnull.add(at) = value.is_none();
            }
            pg_sys::ExecStoreVirtualTuple(slot);
            let table = self.0;
            catch(|| simple_table_tuple_insert(table, slot)).map_err(Error::Server)?;
            self.insert_index_entries(slot, false, WantEntries::All)?;
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            Ok(())
        }
    }

    /// # Safety
    /// The slot holds a row just stored in this table.
    unsafe fn insert_index_entries(
        &self,
        slot: *mut pg_sys::TupleTableSlot,
        is_update: bool,
        wanted: WantEntries,
    ) -> Result<(), Error> {
        // SAFETY: the executor state lives as long as the open indexes need it.
        unsafe {
            let state = pg_sys::CreateExecutorState();
            let result = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*result).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(result, self.0, 0, std::ptr::null_mut(), 0);
            pg_sys::ExecOpenIndices(result, false);
            catch(|| compat::insert_index_entries(result, slot, state, is_update, wanted))
                .map_err(Error::Server)?;
            pg_sys::ExecCloseIndices(result);
            pg_sys::FreeExecutorState(state);
            pg_sys::pfree(result.cast());
            Ok(())
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened by `open`; the lock is kept.
            unsafe { pg_sys::table_close(self.0, pg_sys::NoLock as i32) };
        }
    }
}

/// A row locked by this transaction, as it is under the lock.
pub struct LockedRow<'t> {
    table: &'t Table,
    slot: *mut pg_sys::TupleTableSlot,
}

impl LockedRow<'_> {
    /// False where the row is gone.
    ///
    /// # Safety
    /// The slot holds the row that `snapshot` sees.
    unsafe fn lock(&self, snapshot: pg_sys::Snapshot) -> Result<bool, Error> {
        // SAFETY: as the executor's LockRows does.
        let outcome = unsafe {
            let flags = if flags_follow() { pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION } else { 0 };
            let flags = (flags | pg_sys::TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS) as u8;
            let lock = (*(*self.table.0).rd_tableam).tuple_lock.expect("heap locks tuples");
            let mut failure = pg_sys::TM_FailureData::default();
            let mut place = (*self.slot).tts_tid;
            let command = pg_sys::GetCurrentCommandId(true);
            let (table, slot) = (self.table.0, self.slot);
            catch(|| {
                lock(
                    table,
                    &mut place,
                    snapshot,
                    slot,
                    command,
                    pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
                    pg_sys::LockWaitPolicy::LockWaitBlock,
                    flags,
                    &mut failure,
                )
            })
        };
        match outcome.map_err(Error::Server)? {
            pg_sys::TM_Result::TM_Ok => Ok(true),
            pg_sys::TM_Result::TM_Deleted if flags_follow() => Ok(false),
            pg_sys::TM_Result::TM_Updated | pg_sys::TM_Result::TM_Deleted => Err(Error::ConcurrentUpdate),
            other => panic!("locking an account's row answered {other}"),
        }
    }

    /// A column's value, counted from 1, copied out.
    pub fn get<T: FromDatum>(&self, column: usize) -> Option<T> {
        // SAFETY: the slot's buffer is pinned; the column's type is the caller's.
        unsafe {
            if i32::from((*self.slot).tts_nvalid) < column as i32 {
                pg_sys::slot_getsomeattrs_int(self.slot, (*(*self.table.0).rd_att).natts);
            }
            let is_null = *(*self.slot).tts_isnull.add(column - 1);
            T::from_datum(*(*self.slot).tts_values.add(column - 1), is_null)
        }
    }

    /// Replaces the row by one that differs in the given columns, which may be of no primary key.
    pub fn update(&self, changes: &[(usize, pg_sys::Datum)]) -> Result<(), Error> {
        // SAFETY: the row is locked by us, so its place holds; the values are of their columns' types.
        unsafe {
            let shape = (*self.table.0).rd_att;
            let columns = (*shape).natts as usize;
            pg_sys::slot_getsomeattrs_int(self.slot, columns as i32);
            let new = pg_sys::MakeSingleTupleTableSlot(shape, &raw const pg_sys::TTSOpsVirtual);
            std::ptr::copy_nonoverlapping((*self.slot).tts_values, (*new).tts_values, columns);
            std::ptr::copy_nonoverlapping((*self.slot).tts_isnull, (*new).tts_isnull, columns);
            for (column, value) in changes {
                *(*new).tts_values.add(column - 1) = *value;
                *(*new).tts_isnull.add(column - 1) = false;
            }
            pg_sys::ExecStoreVirtualTuple(new);
            let mut place = (*self.slot).tts_tid;
            let (table, place) = (self.table.0, &raw mut place);
            let wanted = catch(|| compat::update_row(table, place, new)).map_err(Error::Server)?;
            if wanted != WantEntries::None {
                self.table.insert_index_entries(new, true, wanted)?;
            }
            pg_sys::ExecDropSingleTupleTableSlot(new);
            Ok(())
        }
    }
}

/// Whether a lock follows a row to its newest version: below REPEATABLE READ.
fn flags_follow() -> bool {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::XactIsoLevel < pg_sys::XACT_REPEATABLE_READ as i32 }
}

impl Drop for LockedRow<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: made by `lock_row`.
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) };
        }
    }
}
