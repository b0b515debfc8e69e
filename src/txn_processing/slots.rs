//! Slots: the rows over which the balance of a busy account is spread.
//!
//! A posting that no bound holds changes one slot and waits for nobody; one that may not take the account below its
//! bound holds all slots first. An account starts with one slot and gets another whenever a posting finds all of them
//! held, so a quiet account stays small.

use super::account::{MAX_SLOTS, chain_start};
use super::engine::Desk;
use crate::error::Error;
use crate::pg::subtransaction::undoable;
use crate::pg::{Arg, Session, Statement, Type, server};
use uuid::Uuid;

// Who is adding one already, or changes the account, is not waited for.
static LOCK_TO_ADD: Statement = Statement::new(
    c"SELECT FROM banking.accounts WHERE account_id = $1 AND slots = $2 FOR NO KEY UPDATE SKIP LOCKED",
    &[Type::Uuid, Type::Int],
);

// A slot of that number may be left from a time before: its numbers go on, and its balance is zero.
static ADD: Statement = Statement::new(
    c"INSERT INTO banking.account_slots (account_id, slot_no, sequence, updated_at, balance)
      SELECT $1, $2, $3, s.updated_at, s.balance - s.balance
      FROM banking.account_slots s WHERE s.account_id = $1 AND s.slot_no = 1
      ON CONFLICT (account_id, slot_no) DO UPDATE
          SET updated_at = greatest(banking.account_slots.updated_at, excluded.updated_at)",
    &[Type::Uuid, Type::Int, Type::BigInt],
);

// Its row may be left from a time before, and locked by a posting that came too late for that time.
static LOCK_LEFT: Statement = Statement::new(
    c"SELECT FROM banking.account_slots WHERE account_id = $1 AND slot_no = $2 FOR NO KEY UPDATE SKIP LOCKED",
    &[Type::Uuid, Type::Int],
);

static IS_LEFT: Statement = Statement::new(
    c"SELECT FROM banking.account_slots WHERE account_id = $1 AND slot_no = $2",
    &[Type::Uuid, Type::Int],
);

static DROP: Statement = Statement::new(
    c"DELETE FROM banking.account_slots WHERE account_id = $1 AND slot_no = $2",
    &[Type::Uuid, Type::Int],
);

static COUNT: Statement =
    Statement::new(c"UPDATE banking.accounts SET slots = $2 WHERE account_id = $1", &[Type::Uuid, Type::Int]);

/// The slot that a posting of this backend tries first. Backends that run together have different ones.
/// `first_slot`: always the first, so that all that give back one transaction meet there.
pub fn preferred(count: i16, first_slot: bool) -> i16 {
    if first_slot { 1 } else { 1 + (server::backend_number() % i32::from(count)) as i16 }
}

/// The slots in the order in which this backend tries them.
pub fn preference(count: i16, first_slot: bool) -> impl Iterator<Item = i16> {
    let first = preferred(count, first_slot);
    let tries = if first_slot { 1 } else { count };
    (0..tries).map(move |step| 1 + (first - 1 + step) % count)
}

/// A slot that this call has added, to be taken back if the call is refused.
pub struct Added {
    account: Uuid,
    no: i16,
    is_new: bool,
}

/// Gives the account a slot more than `count`; false where it has the most, or somebody else is at it: then no lock is
/// taken, also not of a row that was passed over because it changed while it was being locked.
pub fn add(desk: &Desk, account: Uuid, count: i16) -> Result<bool, Error> {
    if count >= MAX_SLOTS {
        return Ok(false);
    }
    let added = undoable(|| add_one(desk.session(), account, count))?;
    let is_added = added.is_some();
    desk.added.borrow_mut().extend(added);
    Ok(is_added)
}

fn add_one(session: &Session, account: Uuid, count: i16) -> Result<Option<Added>, Error> {
    let id = Arg::Uuid(Some(account));
    let no = count + 1;
    if session.run(&LOCK_TO_ADD, &[id, number(count)])?.count() == 0 {
        return Ok(None);
    }
    let is_new = session.run(&LOCK_LEFT, &[id, number(no)])?.count() == 0;
    if is_new && session.run(&IS_LEFT, &[id, number(no)])?.count() > 0 {
        return Ok(None);
    }
    session.run(&ADD, &[id, number(no), Arg::BigInt(Some(chain_start(no) + 1))])?;
    session.run(&COUNT, &[id, number(no)])?;
    Ok(Some(Added { account, no, is_new }))
}

/// Locks slots by `hold`, and lets go of them, and of a slot that was added, where it answers nothing: the mode may be
/// switched at any moment before a slot is held. The next who switches it holds the account's row, which we then want,
/// and wants the slots: none may be held by us.
pub fn hold_or_let_go<T>(
    desk: &Desk,
    hold: impl FnOnce() -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    // What is opened in the subtransaction would end with it.
    desk.session();
    let added = desk.added.borrow().len();
    let held = undoable(hold)?;
    if held.is_none() {
        desk.added.borrow_mut().truncate(added);
    }
    Ok(held)
}

/// Takes back what was added in vain: a refused call leaves nothing behind.
pub fn take_back(desk: &Desk) -> Result<(), Error> {
    for Added { account, no, is_new } in desk.added.take().into_iter().rev() {
        let id = Arg::Uuid(Some(account));
        if is_new {
            desk.session().run(&DROP, &[id, number(no)])?;
        }
        desk.session().run(&COUNT, &[id, number(no - 1)])?;
    }
    Ok(())
}

fn number(n: i16) -> Arg<'static> {
    Arg::Int(Some(i32::from(n)))
}
