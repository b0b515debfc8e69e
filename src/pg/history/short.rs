//! What most statements do to a history, without the cost of statements: a row is new, or its newest version is replaced, or
//! taken away, and stored with those that ended. Nothing is looked up but the row: no constraint can fail for it, and of
//! the indexes those get an entry that have one for such a row.

use super::part::Part;
use super::search::Search;
use super::slot::{get, same, set};
use super::{Column, Inserting, Shape, known_shape};
use crate::error::Error;
use crate::pg::ereport::catch;
use crate::pg::{raw, server};
use crate::temporal::tables::core::{Newest, Step, step};
use pgrx::{IntoDatum, pg_sys};

unsafe extern "C-unwind" {
    fn ExecDropSingleTupleTableSlot(slot: *mut pg_sys::TupleTableSlot);
    fn relation_close(table: pg_sys::Relation, mode: pg_sys::LOCKMODE);
    fn RelationGetNumberOfBlocksInFork(
        table: pg_sys::Relation,
        fork: pg_sys::ForkNumber::Type,
    ) -> pg_sys::BlockNumber;
    fn tuplestore_tuple_count(rows: *mut pg_sys::Tuplestorestate) -> i64;
    fn tuplestore_rescan(rows: *mut pg_sys::Tuplestorestate);
    fn tuplestore_gettupleslot(
        rows: *mut pg_sys::Tuplestorestate,
        forward: bool,
        copy: bool,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool;
}

const MAIN: pg_sys::ForkNumber::Type = pg_sys::ForkNumber::MAIN_FORKNUM;

/// What a statement has done.
#[derive(Clone, Copy)]
enum Change {
    Added(*mut pg_sys::Tuplestorestate),
    /// The rows before and after, in the same order.
    Changed(*mut pg_sys::Tuplestorestate, *mut pg_sys::Tuplestorestate),
    Removed(*mut pg_sys::Tuplestorestate),
}

impl Change {
    /// None where the short way has nothing to go by.
    ///
    /// # Safety
    /// `fired` is the server's.
    unsafe fn of(fired: *mut pg_sys::TriggerData) -> Option<Self> {
        // SAFETY: reads the trigger data.
        let (event, old, new) =
            unsafe { ((*fired).tg_event & 3, (*fired).tg_oldtable, (*fired).tg_newtable) };
        match event {
            // A snapshot that is older may not show what others have said about keys that were not in the table.
            0 if !new.is_null() && server::is_read_committed() => Some(Change::Added(new)),
            1 if !old.is_null() => Some(Change::Removed(old)),
            2 if !old.is_null() && !new.is_null() => Some(Change::Changed(old, new)),
            _ => None,
        }
    }

    fn rows(self) -> *mut pg_sys::Tuplestorestate {
        match self {
            Change::Added(rows) | Change::Changed(rows, _) | Change::Removed(rows) => rows,
        }
    }
}

/// Says what is in the way of a row that is new: a fact about its key that is yet to come, or one from a transaction that
/// began later.
struct Ahead<'s> {
    /// The row in the table itself.
    own: Search<'s>,
    ended: Search<'s>,
    /// None where there is nothing.
    superseded: Option<Search<'s>>,
    superseded_rows: pg_sys::Relation,
}

impl<'s> Ahead<'s> {
    /// # Safety
    /// Within `catch`; the tables are those of a history.
    unsafe fn open(of: &'s Inserting, table: pg_sys::Relation, past: pg_sys::Relation, began: i64) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let superseded_rows =
                raw::table_open(pg_sys::Oid::from(of.superseded_rows), pg_sys::RowExclusiveLock as i32);
            Ahead {
                own: Search::open(table, &of.own, None),
                ended: Search::open(past, &of.ended, Some(began)),
                superseded: (RelationGetNumberOfBlocksInFork(superseded_rows, MAIN) > 0)
                    .then(|| Search::open(superseded_rows, &of.superseded, Some(began))),
                superseded_rows,
            }
        }
    }

    /// # Safety
    /// As `open`.
    unsafe fn close(self) {
        // SAFETY: opened by `open`.
        unsafe {
            self.own.close();
            self.ended.close();
            if let Some(superseded) = self.superseded {
                superseded.close();
            }
            relation_close(self.superseded_rows, pg_sys::NoLock as i32);
        }
    }
}

/// What is read of, and what is said to have been done by whom.
struct Work<'s> {
    shape: &'s Shape,
    current: Part<'s>,
    past: Part<'s>,
    search: Search<'s>,
    ahead: Option<Ahead<'s>>,
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
    // SAFETY: the caller's promise.
    let (change, table) = unsafe { (Change::of(fired), (*fired).tg_relation) };
    let Some(change) = change else { return Ok(false) };
    let inserting = match (change, &shape.inserting) {
        (Change::Added(_), None) => return Ok(false),
        (Change::Added(_), inserting) => inserting.as_ref(),
        _ => None,
    };
    // SAFETY: reads a variable of this process.
    let who = server::role_name(unsafe { pg_sys::GetOuterUserId() });
    let who = who.as_str().into_datum().expect("a text is not null");
    let (transaction, began) = (server::top_transaction() as u64, server::transaction_began());
    // SAFETY: both are a history's.
    let (current, past) = unsafe {
        catch(|| {
            let is_single = tuplestore_tuple_count(change.rows()) == 1;
            (
                Part::open(shape.current, &shape.current_indexes, is_single),
                Part::open(shape.past, &shape.past_indexes, is_single),
            )
        })
    }
    .map_err(Error::Server)?;
    // Who waited for the locks may know them no longer.
    let is_known = known_shape(shape.table)?.is_some_and(|known| std::ptr::eq(&raw const *known, shape));
    // SAFETY: slots are of their tables' shapes; the closure owns nothing that needs dropping.
    unsafe {
        catch(|| {
            if !is_known {
                current.close();
                past.close();
                return false;
            }
            let minimal = &raw const pg_sys::TTSOpsMinimalTuple;
            let mut work = Work {
                shape,
                search: Search::open(current.relation, &shape.newest, None),
                ahead: inserting.map(|of| Ahead::open(of, table, past.relation, began)),
                current,
                past,
                old: raw::MakeSingleTupleTableSlot((*table).rd_att, minimal),
                new: raw::MakeSingleTupleTableSlot((*table).rd_att, minimal),
                who,
                transaction,
                began,
            };
            let is_usual = work.rows(change);
            work.close();
            is_usual
        })
    }
    .map_err(Error::Server)
}

/// The next row of a statement.
///
/// # Safety
/// Within `catch`; the slot is of the rows' shape.
unsafe fn next(rows: *mut pg_sys::Tuplestorestate, slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let is_there = tuplestore_gettupleslot(rows, true, false, slot);
        if is_there {
            raw::slot_getsomeattrs_int(slot, (*(*slot).tts_tupleDescriptor).natts);
        }
        is_there
    }
}

impl Work<'_> {
    /// Whether all were of the usual kind, and are recorded.
    ///
    /// # Safety
    /// Within `catch`; the rows are the statement's on this table.
    unsafe fn rows(&mut self, change: Change) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            let is_usual = match change {
                Change::Added(rows) => {
                    tuplestore_rescan(rows);
                    let mut is_usual = true;
                    while is_usual && next(rows, self.new) {
                        is_usual = self.begin();
                    }
                    is_usual
                }
                Change::Changed(old_rows, new_rows) => {
                    tuplestore_rescan(old_rows);
                    tuplestore_rescan(new_rows);
                    let mut is_usual = true;
                    while is_usual && next(old_rows, self.old) {
                        next(new_rows, self.new);
                        is_usual = self.change(true);
                    }
                    is_usual
                }
                Change::Removed(rows) => {
                    tuplestore_rescan(rows);
                    let mut is_usual = true;
                    while is_usual && next(rows, self.old) {
                        is_usual = self.change(false);
                    }
                    is_usual
                }
            };
            self.current.finish();
            self.past.finish();
            is_usual
        }
    }

    /// # Safety
    /// Within `catch`, after `rows`.
    unsafe fn close(self) {
        // SAFETY: made by `way`.
        unsafe {
            for slot in [self.old, self.new] {
                ExecDropSingleTupleTableSlot(slot);
            }
            self.search.close();
            if let Some(ahead) = self.ahead {
                ahead.close();
            }
            self.current.close();
            self.past.close();
        }
    }

    /// A row that is new is true from now on. Not where it is the table's no longer, or where its key has or had another
    /// that this one does not simply come after.
    ///
    /// # Safety
    /// Within `catch`; the slot holds the row.
    unsafe fn begin(&mut self) -> bool {
        let (columns, new) = (&self.shape.columns, self.new);
        let Some(ahead) = &mut self.ahead else { return false };
        // SAFETY: the caller's promise; positions are of the tables' columns.
        unsafe {
            let is_own = |found| columns.iter().all(|c| same(new, c.own, found, c.own));
            if !ahead.own.find(new, is_own)
                || self.search.is_there(new)
                || ahead.ended.is_there(new)
                || ahead.superseded.as_mut().is_some_and(|superseded| superseded.is_there(new))
            {
                return false;
            }
            // A slot that rows of statements are read into begins so, and has one.
            let bytes = (*(*new.cast::<pg_sys::MinimalTupleTableSlot>()).mintuple).t_len;
            let slot = self.current.blank();
            self.newest(slot, self.began, self.began);
            self.current.keep(bytes as usize);
            true
        }
    }

    /// What the statement made of the row, as the newest of its key.
    ///
    /// # Safety
    /// As `begin`; the slot is of the newest rows' table.
    unsafe fn newest(&self, slot: *mut pg_sys::TupleTableSlot, valid_from: i64, known_from: i64) {
        let shape = self.shape;
        // SAFETY: the caller's promise.
        unsafe {
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
        }
    }

    /// Whether the row was of the usual kind, and is recorded.
    ///
    /// # Safety
    /// Within `catch`; the slots hold the row's images.
    unsafe fn change(&mut self, is_update: bool) -> bool {
        let (shape, old, found) = (self.shape, self.old, self.search.found);
        let columns = &shape.columns;
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
            // Otherwise the row is not what the history takes it for: a fact has come due.
            let is_it = |found| columns.iter().all(|c: &Column| same(old, c.own, found, c.current));
            if !self.search.find(old, is_it) {
                return false;
            }
            let own = |part: usize| get(found, shape.current_columns[part]).0.value() as i64;
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
    /// As `change`.
    unsafe fn end(&mut self, instant: i64) {
        // SAFETY: the caller's promise; the version that was found is pinned, also where it is none any more.
        unsafe {
            let (shape, found) = (self.shape, self.search.found);
            let slot = self.past.blank();
            for column in &shape.columns {
                let (value, null) = get(found, column.current);
                set(slot, column.past, value, null);
            }
            let own = |part: usize| get(found, shape.current_columns[part]).0;
            let instant = pg_sys::Datum::from(instant);
            let me = pg_sys::Datum::from(self.transaction);
            let values = [own(0), instant, own(1), pg_sys::Datum::from(true), own(2), own(3), self.who, me];
            for (place, value) in shape.past_columns.iter().zip(values) {
                set(slot, *place, value, false);
            }
            // As every slot of the heap's, which has its tuple.
            let bytes = (*(*found.cast::<pg_sys::HeapTupleTableSlot>()).tuple).t_len;
            self.past.keep(bytes as usize);
        }
    }

    /// The newest row becomes what the statement made of it, or goes. Not where somebody else was quicker.
    ///
    /// # Safety
    /// As `change`.
    unsafe fn renew(&mut self, is_update: bool, valid_from: i64, known_from: i64) -> bool {
        let found = self.search.found;
        // SAFETY: the caller's promise.
        unsafe {
            let place = (*found).tts_tid;
            if !is_update {
                self.current.delete(place);
                return true;
            }
            let slot = self.current.blank();
            // What was dropped from the table stays as it was.
            for at in 0..(*(*self.current.relation).rd_att).natts as usize {
                let (value, null) = get(found, at);
                set(slot, at, value, null);
            }
            self.newest(slot, valid_from, known_from);
            self.current.replace(place)
        }
    }
}
