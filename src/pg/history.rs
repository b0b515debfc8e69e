//! Rows of a history ended and begun by table access calls, for statements that update and delete rows of their table.

use super::ereport::{self, catch};
use super::{raw, server};
use crate::error::Error;
use crate::temporal::tables::core::{Newest, Step, step};
use crate::temporal::tables::record;
use pgrx::prelude::*;
use pgrx::{IntoDatum, pg_sys};
use std::cell::RefCell;
use std::ffi::c_int;
use std::rc::Rc;

/// Where a column of a table is in it and in its history, counted from 0.
pub struct Column {
    pub own: usize,
    pub current: usize,
    pub past: usize,
    pub is_key: bool,
}

/// The history of a table.
pub struct Shape {
    pub table: u32,
    pub current: u32,
    pub key_index: u32,
    pub past: u32,
    /// The trigger function in SQL, which knows what to do in every case.
    pub long_way: u32,
    pub is_simple: bool,
    pub columns: Vec<Column>,
    /// Valid from, known from, by, transaction.
    pub current_columns: Vec<usize>,
    /// Valid from, valid to, known from, ended live, by, transaction, closed by, closed transaction.
    pub past_columns: Vec<usize>,
}

thread_local! {
    /// What this backend knows of tables with a history.
    static SHAPES: RefCell<Option<Vec<Rc<Shape>>>> = const { RefCell::new(None) };
}

unsafe extern "C-unwind" {
    fn RelationFindReplTupleByIndex(
        table: pg_sys::Relation,
        index: pg_sys::Oid,
        mode: pg_sys::LockTupleMode::Type,
        wanted: *mut pg_sys::TupleTableSlot,
        found: *mut pg_sys::TupleTableSlot,
    ) -> bool;
    fn ExecSimpleRelationInsert(
        result: *mut pg_sys::ResultRelInfo,
        state: *mut pg_sys::EState,
        slot: *mut pg_sys::TupleTableSlot,
    );
    fn ExecSimpleRelationUpdate(
        result: *mut pg_sys::ResultRelInfo,
        state: *mut pg_sys::EState,
        recheck: *mut pg_sys::EPQState,
        old: *mut pg_sys::TupleTableSlot,
        new: *mut pg_sys::TupleTableSlot,
    );
    fn ExecSimpleRelationDelete(
        result: *mut pg_sys::ResultRelInfo,
        state: *mut pg_sys::EState,
        recheck: *mut pg_sys::EPQState,
        old: *mut pg_sys::TupleTableSlot,
    );
    fn ExecDropSingleTupleTableSlot(slot: *mut pg_sys::TupleTableSlot);
    fn ExecCloseIndices(result: *mut pg_sys::ResultRelInfo);
    fn ExecResetTupleTable(table: *mut pg_sys::List, free: bool);
    fn FreeExecutorState(state: *mut pg_sys::EState);
    fn tuplestore_rescan(rows: *mut pg_sys::Tuplestorestate);
    fn tuplestore_gettupleslot(
        rows: *mut pg_sys::Tuplestorestate,
        forward: bool,
        copy: bool,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool;
    fn datum_image_eq(one: pg_sys::Datum, other: pg_sys::Datum, by_value: bool, length: c_int) -> bool;
    fn relation_open(table: pg_sys::Oid, mode: pg_sys::LOCKMODE) -> pg_sys::Relation;
    fn relation_close(table: pg_sys::Relation, mode: pg_sys::LOCKMODE);
}

/// Called after statements that update or delete rows of a table with a history.
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
        if shape.is_simple && short_way(fired, &shape)? {
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
            shapes.retain(|s| changed != 0 && ![s.table, s.current, s.past, s.key_index].contains(&changed));
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

/// One of the two tables that are written.
#[derive(Clone, Copy)]
struct Part {
    relation: pg_sys::Relation,
    result: *mut pg_sys::ResultRelInfo,
    /// Of the row that is written.
    slot: *mut pg_sys::TupleTableSlot,
}

impl Part {
    /// # Safety
    /// Within `catch`; the table is a history's.
    unsafe fn open(table: u32) -> Part {
        // SAFETY: the caller's promise.
        unsafe {
            let relation = relation_open(pg_sys::Oid::from(table), pg_sys::RowExclusiveLock as i32);
            let result = raw::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*result).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            raw::InitResultRelInfo(result, relation, 0, std::ptr::null_mut(), 0);
            raw::ExecOpenIndices(result, false);
            let slot = raw::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsVirtual);
            let columns = (*(*relation).rd_att).natts as usize;
            std::slice::from_raw_parts_mut((*slot).tts_isnull, columns).fill(true);
            Part { relation, result, slot }
        }
    }

    /// # Safety
    /// As `open`.
    unsafe fn close(self) {
        // SAFETY: opened by `open`.
        unsafe {
            ExecCloseIndices(self.result);
            ExecDropSingleTupleTableSlot(self.slot);
            relation_close(self.relation, pg_sys::NoLock as i32);
        }
    }
}

/// What is read of, and what is said to have been done by whom.
#[derive(Clone, Copy)]
struct Work<'s> {
    shape: &'s Shape,
    current: Part,
    past: Part,
    state: *mut pg_sys::EState,
    old: *mut pg_sys::TupleTableSlot,
    new: *mut pg_sys::TupleTableSlot,
    wanted: *mut pg_sys::TupleTableSlot,
    found: *mut pg_sys::TupleTableSlot,
    who: pg_sys::Datum,
    transaction: u64,
    began: i64,
}

/// Whether all rows of the statement were of the usual kind and are recorded. If not, those that were are as the long way
/// would have left them, and it passes them by.
///
/// # Safety
/// `fired` is the server's, of the table of the shape.
unsafe fn short_way(fired: *mut pg_sys::TriggerData, shape: &Shape) -> Result<bool, Error> {
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
    // SAFETY: slots are of their tables' shapes; the closure owns nothing that needs dropping.
    unsafe {
        catch(|| {
            let (current, past) = (Part::open(shape.current), Part::open(shape.past));
            let minimal = &raw const pg_sys::TTSOpsMinimalTuple;
            let work = Work {
                shape,
                current,
                past,
                state: raw::CreateExecutorState(),
                old: raw::MakeSingleTupleTableSlot((*table).rd_att, minimal),
                new: raw::MakeSingleTupleTableSlot((*table).rd_att, minimal),
                wanted: raw::MakeSingleTupleTableSlot(
                    (*current.relation).rd_att,
                    &raw const pg_sys::TTSOpsVirtual,
                ),
                found: raw::table_slot_create(current.relation, std::ptr::null_mut()),
                who,
                transaction,
                began,
            };
            tuplestore_rescan(old_rows);
            if is_update {
                tuplestore_rescan(new_rows);
            }
            let mut is_usual = true;
            while is_usual && tuplestore_gettupleslot(old_rows, true, false, work.old) {
                raw::slot_getsomeattrs_int(work.old, (*(*table).rd_att).natts);
                if is_update {
                    tuplestore_gettupleslot(new_rows, true, false, work.new);
                    raw::slot_getsomeattrs_int(work.new, (*(*table).rd_att).natts);
                }
                is_usual = work.row(is_update);
            }
            for slot in [work.old, work.new, work.wanted, work.found] {
                ExecDropSingleTupleTableSlot(slot);
            }
            current.close();
            past.close();
            ExecResetTupleTable((*work.state).es_tupleTable, false);
            FreeExecutorState(work.state);
            is_usual
        })
    }
    .map_err(Error::Server)
}

impl Work<'_> {
    /// Whether the row was of the usual kind, and is recorded.
    ///
    /// # Safety
    /// Within `catch`; the slots hold the row's images.
    unsafe fn row(&self, is_update: bool) -> bool {
        // SAFETY: the caller's promise; positions are of the tables' columns.
        unsafe {
            let columns = &self.shape.columns;
            let is_same = |one, other, place: fn(&Column) -> usize| {
                columns.iter().all(|column| same(one, column.own, other, place(column)))
            };
            if is_update {
                if columns
                    .iter()
                    .any(|column| column.is_key && !same(self.old, column.own, self.new, column.own))
                {
                    return false;
                }
                if is_same(self.old, self.new, |column| column.own) {
                    return true;
                }
            }
            for column in columns.iter().filter(|column| column.is_key) {
                let (value, null) = get(self.old, column.own);
                set(self.wanted, column.current, value, null);
            }
            let index = pg_sys::Oid::from(self.shape.key_index);
            let mode = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
            if !RelationFindReplTupleByIndex(self.current.relation, index, mode, self.wanted, self.found) {
                return false;
            }
            raw::slot_getsomeattrs_int(self.found, (*(*self.current.relation).rd_att).natts);
            // Otherwise the row is not what the history takes it for: a fact has come due.
            if !is_same(self.old, self.found, |column| column.current) {
                return false;
            }
            let own = |part: usize| get(self.found, self.shape.current_columns[part]).0.value() as i64;
            let newest =
                Newest { valid_from: own(0), known_from: own(1), is_own: own(3) as u64 == self.transaction };
            match step(newest, self.began) {
                Step::EndAt(instant) => {
                    self.end(instant);
                    self.renew(is_update, instant, instant);
                }
                Step::Overwrite if is_update => self.renew(true, newest.valid_from, newest.known_from),
                Step::Overwrite | Step::Settle => return false,
            }
            true
        }
    }

    /// The row that was found goes to those that ended.
    ///
    /// # Safety
    /// As `row`.
    unsafe fn end(&self, instant: i64) {
        // SAFETY: the caller's promise.
        unsafe {
            let (slot, shape) = (self.past.slot, self.shape);
            clear(slot);
            for column in &shape.columns {
                let (value, null) = get(self.found, column.current);
                set(slot, column.past, value, null);
            }
            let own = |part: usize| get(self.found, shape.current_columns[part]).0;
            let instant = pg_sys::Datum::from(instant);
            let me = pg_sys::Datum::from(self.transaction);
            let values = [own(0), instant, own(1), pg_sys::Datum::from(true), own(2), own(3), self.who, me];
            for (place, value) in shape.past_columns.iter().zip(values) {
                set(slot, *place, value, false);
            }
            raw::ExecStoreVirtualTuple(slot);
            ExecSimpleRelationInsert(self.past.result, self.state, slot);
        }
    }

    /// The newest row becomes what the statement made of it, or goes.
    ///
    /// # Safety
    /// As `row`.
    unsafe fn renew(&self, is_update: bool, valid_from: i64, known_from: i64) {
        let nobody = std::ptr::null_mut();
        // SAFETY: the caller's promise; without triggers nothing is rechecked.
        unsafe {
            if !is_update {
                return ExecSimpleRelationDelete(self.current.result, self.state, nobody, self.found);
            }
            let (slot, shape) = (self.current.slot, self.shape);
            clear(slot);
            // What was dropped from the table stays as it was.
            for at in 0..(*(*self.current.relation).rd_att).natts as usize {
                let (value, null) = get(self.found, at);
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
            raw::ExecStoreVirtualTuple(slot);
            ExecSimpleRelationUpdate(self.current.result, self.state, nobody, self.found, slot);
        }
    }
}

/// # Safety
/// The slot has that column, and its values are taken out.
unsafe fn get(slot: *mut pg_sys::TupleTableSlot, column: usize) -> (pg_sys::Datum, bool) {
    // SAFETY: the caller's promise.
    unsafe { (*(*slot).tts_values.add(column), *(*slot).tts_isnull.add(column)) }
}

/// # Safety
/// A virtual slot that has that column.
unsafe fn set(slot: *mut pg_sys::TupleTableSlot, column: usize, value: pg_sys::Datum, null: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        *(*slot).tts_values.add(column) = value;
        *(*slot).tts_isnull.add(column) = null;
    }
}

/// # Safety
/// Within `catch`.
unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: every slot can be cleared.
    unsafe { ((*(*slot).tts_ops).clear.expect("every slot can be cleared"))(slot) }
}

/// Whether two columns hold the same, byte for byte.
///
/// # Safety
/// Within `catch`; both are of the type of the first.
unsafe fn same(
    one: *mut pg_sys::TupleTableSlot,
    at: usize,
    other: *mut pg_sys::TupleTableSlot,
    there: usize,
) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let ((value, null), (peer, peer_null)) = (get(one, at), get(other, there));
        if null || peer_null {
            return null && peer_null;
        }
        let column = super::compat::attribute((*one).tts_tupleDescriptor, at);
        datum_image_eq(value, peer, (*column).attbyval, (*column).attlen.into())
    }
}
