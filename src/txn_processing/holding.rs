//! Locking what a posting changes, whichever way the rows are reached.
//!
//! A posting locks the account's own row, or slots and not that row. Whatever changes an account's status, limit or mode
//! locks the row and writes all its slots: so who holds a slot and then reads the account sees it as it stays until the
//! end of the transaction.

use super::account::{Account, Slot};
use super::books::Want;
use super::engine::Desk;
use super::slots;
use crate::error::Error;
use crate::pg::rows::follows;
use uuid::Uuid;

/// Where an account was looked for.
pub enum Found<P> {
    Missing,
    /// Its balance is not there: in slots, not in its row, or the other way round.
    Elsewhere,
    Held(Account, P),
}

/// The rows of accounts and slots.
pub trait Rows {
    /// Where a locked row is.
    type Place;

    /// Locks the account's own row, waiting for its holder, unless its balance is in slots; the row may be locked then.
    fn lock_row(&self, id: Uuid) -> Result<Found<Self::Place>, Error>;

    /// The account as a fresh snapshot sees it, and how many slots it has.
    fn glance(&self, id: Uuid) -> Result<Option<(Account, i16)>, Error>;

    /// Refuses an account whose row has changed since the snapshot of a transaction that may not see that.
    fn refuse_if_changed(&self, id: Uuid) -> Result<(), Error>;

    /// Locks a slot, waiting for its holder.
    fn lock_slot(&self, id: Uuid, no: i16) -> Result<(Slot, Self::Place), Error>;

    /// Locks a slot that is still as it was read before the account was, and answers the account on it. Nothing where
    /// somebody is at the slot, or was meanwhile: then no lock is taken. Whoever changes an account writes its slots, so
    /// what was read of it holds.
    fn try_slot(&self, id: Uuid, no: i16) -> Result<Option<Found<Self::Place>>, Error>;
}

/// A slot and where it is.
type Placed<P> = (Slot, P);

/// Locks what a posting on the account changes, and reads it as it is then, once `found` is what its own row gave. An
/// account that does not exist gives nothing.
pub fn hold<R: Rows>(
    rows: &R,
    desk: &Desk,
    want: &Want,
    mut found: Found<R::Place>,
) -> Result<Option<(Account, R::Place)>, Error> {
    loop {
        match found {
            Found::Missing => return Ok(None),
            Found::Held(account, place) => return Ok(Some((account, place))),
            Found::Elsewhere => {}
        }
        found = match hold_slots(rows, desk, want)? {
            // The mode was switched meanwhile.
            Found::Elsewhere => rows.lock_row(want.account)?,
            found => found,
        };
    }
}

/// One slot, or all where a bound is to be held.
fn hold_slots<R: Rows>(rows: &R, desk: &Desk, want: &Want) -> Result<Found<R::Place>, Error> {
    let Some((before, count)) = rows.glance(want.account)? else { return Ok(Found::Missing) };
    if count == 0 {
        return Ok(Found::Elsewhere);
    }
    let whole = want.whole && !before.internal;
    // A slot that was added since the snapshot would be missing in the sum; but then the account's row has changed.
    if whole && !follows() {
        rows.refuse_if_changed(want.account)?;
    }
    if !whole && let Some(found) = free_slot(rows, want, count)? {
        return Ok(found);
    }
    let held = slots::hold_or_let_go(desk, || {
        let mut held = Vec::new();
        if !whole {
            let grown = !want.first_slot && slots::add(desk, want.account, count)?;
            let no = if grown { count + 1 } else { slots::preferred(count, want.first_slot) };
            held.push(rows.lock_slot(want.account, no)?);
        }
        with_account(rows, want, count, held, whole)
    })?;
    Ok(held.map_or(Found::Elsewhere, |(account, place)| Found::Held(account, place)))
}

/// The account as it is under the locks of its slots, of which all are wanted, or those given; nothing where they do not
/// hold its balance any more.
fn with_account<R: Rows>(
    rows: &R,
    want: &Want,
    mut count: i16,
    mut held: Vec<Placed<R::Place>>,
    whole: bool,
) -> Result<Option<(Account, R::Place)>, Error> {
    loop {
        // Slots may be added while others are waited for.
        while whole && held.len() < count as usize {
            held.push(rows.lock_slot(want.account, held.len() as i16 + 1)?);
        }
        let Some((account, now)) = rows.glance(want.account)? else { return Ok(None) };
        // Slots above the number in use are left from a time before: what is put there would be lost.
        if now == 0 || held.iter().any(|(slot, _)| slot.no > now) {
            return Ok(None);
        }
        if !whole || now == count {
            let (slots, mut places): (Vec<Slot>, Vec<R::Place>) = held.into_iter().unzip();
            let (account, at) = account.on_slot(&slots, whole);
            return Ok(Some((account, places.swap_remove(at))));
        }
        count = now;
    }
}

/// The account on a slot that nobody holds; nothing where all are held.
fn free_slot<R: Rows>(rows: &R, want: &Want, count: i16) -> Result<Option<Found<R::Place>>, Error> {
    for no in slots::preference(count, want.first_slot) {
        if let Some(found) = rows.try_slot(want.account, no)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
