//! SQL statements with kept plans.
//!
//! A [`Statement`] is planned once per backend and re-planned by the server when a table changes. A [`Session`] is
//! one connection to the server's SPI; results live until it is dropped, so values are copied out as they are read.

use super::args::{Arg, Type};
use super::call::Composite;
use super::ereport::{self, ServerError};
use super::memory;
use super::numeric;
use super::plans::{CatalogPlans, IndexPlans};
use super::subtransaction::undoable;
use super::types::{JsonDatum, Time};
use crate::error::Error;
use pgrx::{FromDatum, pg_sys};
use rust_decimal::Decimal;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;
use uuid::Uuid;

/// Parameters of the widest statement.
pub(super) const MAX_ARGS: usize = 20;

/// What is made of a row, at the most: its values, and what is worked out and written from them.
const BYTES_PER_ROW: usize = 1_024;

/// Why a column's value is there.
pub const PRESENT: &str = "not null by its declaration";

/// SQL text, its parameter types, and its plan in this backend.
pub struct Statement {
    sql: &'static CStr,
    types: &'static [Type],
    plan: Cell<pg_sys::SPIPlanPtr>,
}

// SAFETY: a backend has one thread.
unsafe impl Sync for Statement {}

impl Statement {
    pub const fn new(sql: &'static CStr, types: &'static [Type]) -> Self {
        Self { sql, types, plan: Cell::new(std::ptr::null_mut()) }
    }

    pub(super) fn check(&self, args: &[Arg]) {
        assert!(
            args.len() == self.types.len()
                && args.iter().zip(self.types).all(|(arg, declared)| arg.fits(*declared)),
            "parameters of {:?}",
            self.sql
        );
    }

    pub(super) fn type_oid(&self, at: usize) -> pg_sys::Oid {
        self.types[at].oid()
    }

    pub(super) fn plan(&self) -> Result<pg_sys::SPIPlanPtr, ServerError> {
        if self.plan.get().is_null() {
            let mut oids = [pg_sys::InvalidOid; MAX_ARGS];
            for (oid, declared) in oids.iter_mut().zip(self.types) {
                *oid = declared.oid();
            }
            // SAFETY: called with a session open; the closure only calls SPI.
            unsafe {
                let plan = ereport::catch(|| {
                    ereport::SPI_prepare_cursor(
                        self.sql.as_ptr(),
                        self.types.len() as c_int,
                        oids.as_mut_ptr(),
                        pg_sys::CURSOR_OPT_GENERIC_PLAN as c_int,
                    )
                })?;
                assert!(!plan.is_null(), "SPI_prepare refuses only bad arguments");
                pg_sys::SPI_keepplan(plan);
                self.plan.set(plan);
            }
        }
        Ok(self.plan.get())
    }
}

/// A statement's text put together at compile time, with the zero byte that the server's strings end in.
pub const fn c_text(sql: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(sql.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("the text must end in its only zero byte"),
    }
}

/// An open connection to SPI.
pub struct Session {
    pub(super) read_only: bool,
    _plans: Plans,
}

/// What statements are planned by. Dropped, it puts the settings back.
enum Plans {
    ByIndex { _settings: IndexPlans },
    OfCatalogs { _settings: CatalogPlans },
}

impl Session {
    /// For functions that write: each statement takes a fresh snapshot, as in a volatile function.
    pub fn write() -> Self {
        Self::connect(false)
    }

    /// For functions that read: every statement sees the caller's snapshot. Works on a standby.
    pub fn read() -> Self {
        Self::connect(true)
    }

    /// For functions that look through all of the catalogs: read-only, and planned as the server would.
    pub fn survey() -> Self {
        let plans = Plans::OfCatalogs { _settings: CatalogPlans::prefer() };
        Self::connect_with(true, plans)
    }

    fn connect(read_only: bool) -> Self {
        Self::connect_with(read_only, Plans::ByIndex { _settings: IndexPlans::prefer() })
    }

    fn connect_with(read_only: bool, plans: Plans) -> Self {
        // SAFETY: paired with SPI_finish in `drop`, or cleaned up by the transaction's abort.
        let code = unsafe { pg_sys::SPI_connect() };
        assert!(code == pg_sys::SPI_OK_CONNECT as i32, "SPI_connect has no other answer");
        Self { read_only, _plans: plans }
    }

    pub fn run<'s>(&'s self, statement: &Statement, args: &[Arg]) -> Result<Rows<'s>, Error> {
        self.execute(statement, args, false)
    }

    /// Sees what is committed by now, whatever the transaction's own snapshot shows, as the server's foreign keys do.
    pub fn run_latest<'s>(&'s self, statement: &Statement, args: &[Arg]) -> Result<Rows<'s>, Error> {
        self.execute(statement, args, true)
    }

    fn execute<'s>(&'s self, statement: &Statement, args: &[Arg], latest: bool) -> Result<Rows<'s>, Error> {
        statement.check(args);
        let mut values = [pg_sys::Datum::from(0usize); MAX_ARGS];
        let mut nulls = [b' ' as c_char; MAX_ARGS];
        for (at, arg) in args.iter().enumerate() {
            match arg.datum() {
                Some(datum) => values[at] = datum,
                None => nulls[at] = b'n' as c_char,
            }
        }
        let outcome = statement.plan().and_then(|plan| {
            // SAFETY: as many values as the plan has parameters, of the declared types; the closure only calls SPI.
            unsafe {
                ereport::catch(|| {
                    let (values, nulls) = (values.as_mut_ptr(), nulls.as_ptr());
                    if latest {
                        let (now, none) = (ereport::GetLatestSnapshot(), std::ptr::null_mut());
                        ereport::SPI_execute_snapshot(plan, values, nulls, now, none, self.read_only, true, 0)
                    } else {
                        ereport::SPI_execute_plan(plan, values, nulls, self.read_only, 0)
                    }
                })
            }
        });
        let code = outcome.map_err(Error::Server)?;
        assert!(code >= 0, "SPI_execute_plan answered {code} for {:?}", statement.sql);
        // SAFETY: SPI sets both with each execution.
        let (table, processed) = unsafe { (pg_sys::SPI_tuptable, pg_sys::SPI_processed) };
        if !table.is_null() {
            memory::need(processed as usize, BYTES_PER_ROW)?;
        }
        Ok(Rows { table, processed: processed as usize, session: PhantomData })
    }
}

impl Session {
    /// The first row, read by `read`, and freed at once: for statements that run thousands of times in a session.
    pub fn one<T>(
        &self,
        statement: &Statement,
        args: &[Arg],
        read: impl FnOnce(&Row) -> T,
    ) -> Result<Option<T>, Error> {
        let rows = self.run(statement, args)?;
        let value = rows.first().map(|row| read(&row));
        // SAFETY: the row was copied out of by `read`, and `rows` ends here.
        unsafe { pg_sys::SPI_freetuptable(rows.table) };
        Ok(value)
    }

    /// The same in a subtransaction, for a statement that locks and does not wait: a serialization failure (40001) counts
    /// as no row, and where there is none no lock is kept. A row that changes while it is being locked is passed over,
    /// but its new version would stay locked.
    pub fn one_if_unchanged<T>(
        &self,
        statement: &Statement,
        args: &[Arg],
        read: impl FnOnce(&Row) -> T,
    ) -> Result<Option<T>, Error> {
        undoable(|| match self.one(statement, args, read) {
            Err(Error::Server(error)) if error.is("40001") => {
                ereport::forget(error);
                Ok(None)
            }
            other => other,
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // After an error the executor's state is half built: the transaction's abort takes it down.
        if !ereport::is_failing() {
            // SAFETY: connected in `connect`.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}

/// The rows of one statement.
#[derive(Clone, Copy)]
pub struct Rows<'s> {
    table: *mut pg_sys::SPITupleTable,
    processed: usize,
    session: PhantomData<&'s Session>,
}

impl<'s> Rows<'s> {
    /// Rows found or written.
    pub fn count(&self) -> usize {
        self.processed
    }

    /// Whether the columns are of these types, however many rows there are.
    pub fn have(&self, types: &[Type]) -> bool {
        if self.table.is_null() {
            return false;
        }
        // SAFETY: SPI's own descriptor of the rows; columns count from 1 to as many as it says.
        unsafe {
            let shape = (*self.table).tupdesc;
            (*shape).natts as usize == types.len()
                && (1..).zip(types).all(|(at, wanted)| pg_sys::SPI_gettypeid(shape, at) == wanted.oid())
        }
    }

    pub fn first(&self) -> Option<Row<'s>> {
        self.iter().next()
    }

    pub fn iter(&self) -> impl Iterator<Item = Row<'s>> + use<'s> {
        let Rows { table, processed, .. } = *self;
        let rows = if table.is_null() { 0 } else { processed };
        // SAFETY: SPI filled `processed` tuples, which live until the session ends.
        (0..rows).map(move |at| unsafe {
            Row { tuple: *(*table).vals.add(at), shape: (*table).tupdesc, session: PhantomData }
        })
    }
}

/// One row; columns count from 1. A column read as another type than the statement gives is a bug in this crate.
pub struct Row<'s> {
    tuple: pg_sys::HeapTuple,
    shape: pg_sys::TupleDesc,
    session: PhantomData<&'s Session>,
}

impl Row<'_> {
    fn datum(&self, column: i32) -> Option<pg_sys::Datum> {
        let mut is_null = false;
        // SAFETY: tuple and descriptor belong together.
        let datum = unsafe { pg_sys::SPI_getbinval(self.tuple, self.shape, column, &mut is_null) };
        (!is_null).then_some(datum)
    }

    /// Any type that copies what it reads.
    pub fn get<T: FromDatum>(&self, column: i32) -> Option<T> {
        // SAFETY: the statement's text fixes the column's type.
        self.datum(column).and_then(|datum| unsafe { T::from_datum(datum, false) })
    }

    pub fn uuid(&self, column: i32) -> Option<Uuid> {
        self.get::<pgrx::Uuid>(column).map(|u| Uuid::from_bytes(*u.as_bytes()))
    }

    /// A numeric that this extension wrote, so one that fits.
    pub fn numeric(&self, column: i32) -> Option<Decimal> {
        self.get::<numeric::Numeric>(column)
            .map(|n| n.0.expect("the ledger bounds every figure that it stores"))
    }

    pub fn text(&self, column: i32) -> Option<String> {
        // SAFETY: the descriptor is the tuple's own.
        let of = unsafe { pg_sys::SPI_gettypeid(self.shape, column) };
        // A name has no length in front: as a text it would be read past its end.
        assert_ne!(of, pg_sys::NAMEOID, "column {column} is a name and is read as a text");
        self.get(column)
    }

    pub fn bigint(&self, column: i32) -> Option<i64> {
        self.get(column)
    }

    pub fn int(&self, column: i32) -> Option<i32> {
        self.get(column)
    }

    pub fn bool(&self, column: i32) -> Option<bool> {
        self.get(column)
    }

    pub fn time(&self, column: i32) -> Option<Time> {
        self.get(column)
    }

    /// A jsonb that lives as long as the session.
    pub fn json(&self, column: i32) -> Option<JsonDatum> {
        self.get(column)
    }

    /// A whole row.
    pub fn composite(&self, column: i32) -> Option<Composite> {
        // SAFETY: tuple and descriptor belong together; the statement's text makes this column a row.
        self.datum(column)
            .map(|datum| unsafe { Composite::copy(pg_sys::SPI_gettypeid(self.shape, column), datum) })
    }

    /// A `"char"`.
    pub fn letter(&self, column: i32) -> Option<u8> {
        self.datum(column).map(|datum| datum.value() as u8)
    }
}
