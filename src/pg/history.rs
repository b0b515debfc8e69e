//! Rows of a history ended and begun by table access calls, for statements on its table.

mod entries;
mod part;
mod search;
mod short;
mod slot;

use super::ereport::{self, catch};
use super::raw;
use crate::error::Error;
use crate::temporal::tables::record;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;

/// Where a column of a table is in it and in its history, counted from 0.
pub struct Column {
    pub own: usize,
    pub current: usize,
    pub past: usize,
    pub is_key: bool,
}

/// An index that has an entry for each row that goes the short way, and its columns, counted from 0.
pub struct Index {
    pub oid: u32,
    pub is_unique: bool,
    pub columns: Vec<usize>,
}

/// An index whose first columns are the key's: where they are in the table that has the history, and the functions that
/// say whether they are equal.
pub struct Lookup {
    pub index: u32,
    pub columns: Vec<(usize, u32)>,
}

/// What is looked up for a row that is new.
pub struct Inserting {
    /// Of the table itself, single for each key.
    pub own: Lookup,
    /// With when the row ended behind the key.
    pub ended: Lookup,
    pub superseded_rows: u32,
    /// With until when it was believed behind the key.
    pub superseded: Lookup,
}

/// The history of a table.
pub struct Shape {
    pub table: u32,
    pub current: u32,
    /// Single for each key.
    pub newest: Lookup,
    pub past: u32,
    /// None where an index is missing.
    pub inserting: Option<Inserting>,
    pub current_indexes: Vec<Index>,
    pub past_indexes: Vec<Index>,
    /// Its tables and their indexes: what is known here holds until one of them changes.
    pub watched: Vec<u32>,
    /// The trigger function in SQL, which knows what to do in every case.
    pub long_way: u32,
    pub is_simple: bool,
    pub columns: Vec<Column>,
    /// Valid from, known from, by, transaction, due.
    pub current_columns: Vec<usize>,
    /// Valid from, valid to, known from, ended live, by, transaction, closed by, closed transaction.
    pub past_columns: Vec<usize>,
}

thread_local! {
    /// What this backend knows of tables with a history.
    static SHAPES: RefCell<Option<Vec<Rc<Shape>>>> = const { RefCell::new(None) };
}

/// Called after statements that insert, update or delete rows of a table with a history.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn neobank_record_history(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the server hands over a whole call, and its context is null or a node.
    let fired = unsafe {
        let context = (*call).context;
        let is_trigger = !context.is_null() && (*context).type_ == pg_sys::NodeTag::T_TriggerData;
        is_trigger.then(|| context.cast::<pg_sys::TriggerData>())
    };
    let Some(fired) = fired else {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            "temporal.record_history must be called as a trigger"
        );
    };
    // SAFETY: the server's own trigger data.
    ereport::finish(unsafe { record_statement(fired) });
    pg_sys::Datum::null()
}

/// Tells the server how to call the function above.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_finfo_neobank_record_history() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// # Safety
/// `fired` is the server's.
unsafe fn record_statement(fired: *mut pg_sys::TriggerData) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    let table = unsafe { u32::from((*(*fired).tg_relation).rd_id) };
    let Some(shape) = known_shape(table)? else {
        return Err(Error::NotATrigger { function: "temporal.record_history" });
    };
    // SAFETY: the caller's promise; a shape that is simple was just compared with the catalog.
    unsafe {
        if shape.is_simple && short::way(fired, &shape)? {
            return Ok(());
        }
        long_way(fired, &shape)
    }
}

fn known_shape(table: u32) -> Result<Option<Rc<Shape>>, Error> {
    let known = SHAPES.with_borrow_mut(|shapes| {
        let shapes = shapes.get_or_insert_with(|| {
            // SAFETY: the callback lives as long as the library, which is never unloaded.
            unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(forget), pg_sys::Datum::null()) };
            Vec::new()
        });
        shapes.iter().find(|shape| shape.table == table).cloned()
    });
    if known.is_some() {
        return Ok(known);
    }
    let fresh = record::shape(table)?.map(Rc::new);
    if let Some(shape) = &fresh {
        SHAPES.with_borrow_mut(|shapes| shapes.get_or_insert_default().push(Rc::clone(shape)));
    }
    Ok(fresh)
}

/// Called by the server when a relation is said to have changed, or any may have.
unsafe extern "C-unwind" fn forget(_: pg_sys::Datum, relation: pg_sys::Oid) {
    let changed = u32::from(relation);
    SHAPES.with(|shapes| {
        // Never borrowed across a call of the server.
        if let Ok(mut shapes) = shapes.try_borrow_mut()
            && let Some(shapes) = shapes.as_mut()
        {
            shapes.retain(|s| changed != 0 && s.table != changed && !s.watched.contains(&changed));
        }
    });
}

/// The function in SQL, fired as this one was.
///
/// # Safety
/// `fired` is the server's.
unsafe fn long_way(fired: *mut pg_sys::TriggerData, shape: &Shape) -> Result<(), Error> {
    let function = pg_sys::Oid::from(shape.long_way);
    // SAFETY: a trigger function without arguments; the call's memory is of its size, and lives as long.
    unsafe {
        catch(|| {
            let mut info = std::mem::zeroed::<pg_sys::FmgrInfo>();
            raw::fmgr_info(function, &raw mut info);
            let mut call = std::mem::zeroed::<pg_sys::FunctionCallInfoBaseData>();
            call.flinfo = &raw mut info;
            call.context = fired.cast();
            (info.fn_addr.expect("the server has looked it up"))(&raw mut call);
        })
    }
    .map_err(Error::Server)
}
