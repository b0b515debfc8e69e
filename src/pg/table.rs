//! Tables opened for direct access, and whether they may be written that way.
//!
//! Triggers, row security, CHECKs and foreign keys of a table are not looked at by the access methods, so a caller
//! asks [`Table::obstacle`] first and otherwise goes through SQL.

use super::ereport::{catch, is_failing};
use super::plain::{find_indexes, obstacle};
use super::raw;
use crate::error::Error;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::CStr;

/// More than any table here has.
pub const MAX_COLUMNS: usize = 20;
pub(super) const MAX_INDEXES: usize = 5;

/// A column as the installation made it; without a type where the type is the extension's own.
pub struct Column {
    pub(super) oid: Option<pg_sys::Oid>,
    pub(super) not_null: bool,
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

/// An index as the installation made it.
pub struct Index {
    /// Columns, counted from 1.
    pub keys: &'static [usize],
    pub unique: bool,
    /// It has only the rows in which this column is null, or is not.
    pub only: Option<Only>,
    pub method: Method,
}

/// How an index finds its rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Method {
    BTree,
    /// By the elements of an array.
    Gin,
}

/// The condition of a partial index.
#[derive(Clone, Copy)]
pub enum Only {
    Null(usize),
    NotNull(usize),
}

impl Index {
    /// On columns without a condition.
    pub const fn unique(keys: &'static [usize]) -> Self {
        Index { keys, unique: true, only: None, method: Method::BTree }
    }

    /// The same where several rows may have the same values.
    pub const fn plain(keys: &'static [usize], only: Option<Only>) -> Self {
        Index { keys, unique: false, only, method: Method::BTree }
    }
}

/// A table as the installation made it, and what this backend has found out about it.
pub struct Shape {
    schema: &'static CStr,
    name: &'static CStr,
    pub(super) columns: &'static [Column],
    /// The primary key first.
    pub indexes: &'static [Index],
    /// The installation's trigger, and the function that it and others of the installation call.
    pub(super) trigger: &'static CStr,
    /// Of a table whose rows are only updated: the columns.
    pub(super) only_updated: Option<&'static [usize]>,
    known: Cell<Option<Known>>,
    next: Cell<Option<&'static Shape>>,
}

// SAFETY: a backend has one thread.
unsafe impl Sync for Shape {}

impl Shape {
    pub const fn new(
        [schema, name]: [&'static CStr; 2],
        columns: &'static [Column],
        indexes: &'static [Index],
        trigger: &'static CStr,
    ) -> Self {
        assert!(columns.len() <= MAX_COLUMNS && indexes.len() <= MAX_INDEXES);
        let (known, next) = (Cell::new(None), Cell::new(None));
        Shape { schema, name, columns, indexes, trigger, only_updated: None, known, next }
    }

    /// The same of a table of which access methods change nothing but these columns: triggers on others do not matter.
    pub const fn only_updated(self, columns: &'static [usize]) -> Self {
        Shape { only_updated: Some(columns), ..self }
    }

    /// Whether the table is as the installation made it, without opening it where that is known. News of a change
    /// arrives with the first lock that a transaction takes, so a caller opens another table before it asks.
    pub fn is_plain(&'static self) -> Result<bool, Error> {
        match self.known.get() {
            Some(known) if known.plain => Ok(true),
            _ => Ok(Table::open(self)?.is_plain()),
        }
    }

    /// Whether an index begins with a uuid and has nothing but an integer behind it.
    pub(super) fn is_by_uuid(&self, index: &Index) -> bool {
        self.columns[index.keys[0] - 1].oid == Some(pg_sys::UUIDOID)
    }

    /// The table's name for a message.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema.to_string_lossy(), self.name.to_string_lossy())
    }
}

/// What was found in the catalogs, until the server says that the table has changed.
#[derive(Clone, Copy)]
struct Known {
    table: pg_sys::Oid,
    plain: bool,
    /// In the order of the shape's.
    indexes: [pg_sys::Oid; MAX_INDEXES],
}

thread_local! {
    /// All shapes that know something, as a list through `next`.
    static FIRST: Cell<Option<&'static Shape>> = const { Cell::new(None) };
    static LISTENING: Cell<bool> = const { Cell::new(false) };
}

/// Called by the server when a relation's description has changed, or any may have.
unsafe extern "C-unwind" fn forget(_: pg_sys::Datum, relation: pg_sys::Oid) {
    let mut shape = FIRST.get();
    while let Some(known) = shape {
        // Its indexes report to the table as well when they are made or dropped, but not when they are altered.
        let concerns = |found: Known| found.table == relation || found.indexes.contains(&relation);
        if relation == pg_sys::InvalidOid || known.known.get().is_some_and(concerns) {
            known.known.set(None);
        }
        shape = known.next.get();
    }
}

fn remember(shape: &'static Shape, known: Known) {
    if !LISTENING.replace(true) {
        // SAFETY: the callback lives as long as the library, which is never unloaded.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(forget), pg_sys::Datum::from(0usize)) };
    }
    let mut listed = FIRST.get();
    while let Some(other) = listed {
        if std::ptr::eq(other, shape) {
            break;
        }
        listed = other.next.get();
    }
    if listed.is_none() {
        shape.next.set(FIRST.replace(Some(shape)));
    }
    shape.known.set(Some(known));
}

/// Refuses as a writing statement would in a read-only transaction.
pub fn refuse_read_only(command: &CStr) -> Result<(), Error> {
    // SAFETY: both only look at the transaction's state.
    let checked = unsafe {
        catch(|| {
            raw::PreventCommandIfReadOnly(command.as_ptr());
            raw::PreventCommandIfParallelMode(command.as_ptr());
        })
    };
    checked.map_err(Error::Server)
}

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

    /// One that sees what is committed by now, whatever the transaction's own shows.
    pub fn latest() -> Self {
        // SAFETY: as above.
        unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
        }
        FreshSnapshot(())
    }
}

impl Drop for FreshSnapshot {
    fn drop(&mut self) {
        if !is_failing() {
            // SAFETY: pushed by `take`.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}

/// An open table. After an error the transaction's abort closes it.
pub struct Table {
    pub(super) relation: pg_sys::Relation,
    pub(super) shape: &'static Shape,
    known: Known,
}

impl Table {
    /// Opens a table for writing. The lock stays until the transaction ends, as an UPDATE's does.
    pub fn open(shape: &'static Shape) -> Result<Self, Error> {
        Self::open_with(shape, pg_sys::RowExclusiveLock)
    }

    /// Opens a table to look at it, which a standby allows.
    pub fn open_to_read(shape: &'static Shape) -> Result<Self, Error> {
        Self::open_with(shape, pg_sys::AccessShareLock)
    }

    fn open_with(shape: &'static Shape, lock: u32) -> Result<Self, Error> {
        let known = shape.known.get().map(|known| known.table);
        // SAFETY: a missing schema or table raises. To wait for the lock may be cancelled.
        unsafe {
            let opened = catch(|| {
                let table = known.unwrap_or_else(|| {
                    let schema = raw::get_namespace_oid(shape.schema.as_ptr(), false);
                    raw::get_relname_relid(shape.name.as_ptr(), schema)
                });
                (table, raw::table_open(table, lock as i32))
            });
            let (table, relation) = opened.map_err(Error::Server)?;
            // To wait for the lock may have brought news of a change.
            // What stands in the way may go without news of it, as the last child of a table does.
            if let Some(known) = shape.known.get().filter(|known| known.plain) {
                return Ok(Table { relation, shape, known });
            }
            let indexes = find_indexes(relation, shape)?;
            let plain = obstacle(relation, shape, indexes.is_some())?.is_none();
            let known = Known { table, plain, indexes: indexes.unwrap_or_default() };
            remember(shape, known);
            Ok(Table { relation, shape, known })
        }
    }

    /// Whether the table is as the installation made it, so that nothing hangs on it which only the executor honours.
    pub fn is_plain(&self) -> bool {
        self.known.plain
    }

    /// What stands in the way of direct access.
    pub fn obstacle(&self) -> Result<Option<String>, Error> {
        // SAFETY: the relation is open.
        unsafe {
            let has_indexes = find_indexes(self.relation, self.shape)?.is_some();
            obstacle(self.relation, self.shape, has_indexes)
        }
    }

    pub(super) fn index(&self, at: usize) -> pg_sys::Oid {
        self.known.indexes[at]
    }

    /// The type of a column, counted from 1.
    pub fn column_type(&self, column: usize) -> pg_sys::Oid {
        // SAFETY: the caller's column is one of the table's.
        unsafe { pg_sys::SPI_gettypeid((*self.relation).rd_att, column as i32) }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !is_failing() {
            // SAFETY: opened by `open`; the lock is kept.
            unsafe { pg_sys::table_close(self.relation, pg_sys::NoLock as i32) };
        }
    }
}
