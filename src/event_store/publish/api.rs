//! Publishing the ledger: the SQL functions.

use super::core::stream_of;
use super::follow;
use super::store::{self, Publication, State};
use crate::error::Error;
use crate::event_store::boundary;
use crate::event_store::tags::Keys;
use crate::pg::{OwnerRights, Session, finish};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{id, required, sql_id};
use pgrx::prelude::*;
use uuid::Uuid;

/// Accounts that one statement brings forward under the lock: their positions fit into one range.
const MOST: usize = 500_000;
/// The most of one call ahead of it.
const MAX_ACCOUNTS: i32 = 100_000;

/// The publication that is to be opened, begun if need be; nothing where one is on.
fn begun(desk: &Desk) -> Result<Result<Publication, i64>, Error> {
    let session = desk.session();
    let last = store::last(session)?;
    match last {
        Some(on) if on.state == State::On => Ok(Err(on.opened.expect("it has been since it is on"))),
        Some(preparing) if preparing.state == State::Preparing => Ok(Ok(preparing)),
        older => {
            let number = older.as_ref().map_or(1, |older| older.number + 1);
            store::begin(session, number, Uuid::now_v7(), &desk.caller)?;
            Ok(Ok(store::last(session)?.expect("it was just begun")))
        }
    }
}

fn switch_on(desk: &Desk) -> Result<i64, Error> {
    let session = desk.session();
    store::lock_publications(session)?;
    let mut publication = match begun(desk)? {
        Ok(publication) => publication,
        Err(opened) => return Ok(opened),
    };
    store::lock_movements(session)?;
    boundary::enter_with_many_tags()?;
    let mut after = Uuid::nil();
    loop {
        let first = store::youngest(session, MOST)?;
        let brought = store::bring_forward(session, &publication, after, MOST, first, true, &desk.caller)?;
        let Some((count, last)) = brought else { break };
        store::advance(session, &mut publication, count, last, first)?;
        follow::appended(session, first, count)?;
        after = last;
        if count < MOST as i64 {
            break;
        }
    }
    let position = store::youngest(session, 1)?;
    store::mark(session, &publication, State::On, position, &desk.caller)?;
    follow::appended(session, position, 1)?;
    Ok(position.0)
}

fn switch_off(desk: &Desk) -> Result<Option<i64>, Error> {
    let session = desk.session();
    store::lock_publications(session)?;
    let Some(publication) = store::last(session)? else { return Ok(None) };
    if publication.state != State::On {
        return Ok(publication.closed);
    }
    store::lock_movements(session)?;
    // Its event has no tag.
    boundary::enter(&Keys::new(), None)?;
    let position = store::youngest(session, 1)?;
    store::mark(session, &publication, State::Off, position, &desk.caller)?;
    follow::appended(session, position, 1)?;
    Ok(Some(position.0))
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn publish_ledger(publish: Option<bool>) -> Option<i64> {
    finish(required("publish", publish).and_then(|publish| {
        let desk = Desk::open();
        if publish { switch_on(&desk).map(Some) } else { switch_off(&desk) }
    }))
}

fn prepare(desk: &Desk, most: usize) -> Result<i64, Error> {
    let session = desk.session();
    store::lock_publications(session)?;
    let Ok(mut publication) = begun(desk)? else { return Ok(0) };
    boundary::enter_with_many_tags()?;
    let first = store::youngest(session, most)?;
    let from = publication.last_account;
    let brought = store::bring_forward(session, &publication, from, most, first, false, &desk.caller)?;
    let Some((count, last)) = brought else { return Ok(0) };
    store::advance(session, &mut publication, count, last, first)?;
    follow::appended(session, first, count)?;
    Ok(count)
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn prepare_ledger_publication(max_accounts: default!(Option<i32>, 10_000)) -> i64 {
    finish(required("max_accounts", max_accounts).and_then(|most| {
        if !(1..=MAX_ACCOUNTS).contains(&most) {
            let why = format!("It is {most}; it must be 1 to {MAX_ACCOUNTS}.");
            return Err(Error::ArgumentBounds { argument: "max_accounts", why });
        }
        prepare(&Desk::open(), most.unsigned_abs() as usize)
    }))
}

#[pg_extern(schema = "event_store", stable, parallel_unsafe)]
fn ledger_published_since() -> i64 {
    let last = {
        let _rights = OwnerRights::to_read();
        store::seen(&Session::read())
    };
    finish(last.and_then(|opened| opened.ok_or(Error::NotPublished)))
}

#[pg_extern(schema = "event_store", stable, parallel_restricted)]
fn ledger_opened_at(as_of_position: Option<i64>) -> Option<i64> {
    let found = {
        let _rights = OwnerRights::to_read();
        store::opened_at(&Session::read(), as_of_position.unwrap_or(i64::MAX))
    };
    finish(found)
}

#[pg_extern(schema = "event_store", immutable, parallel_safe)]
fn ledger_stream(transaction_id: Option<pgrx::Uuid>) -> pgrx::Uuid {
    finish(required("transaction_id", transaction_id).map(|transaction| sql_id(stream_of(id(transaction)))))
}
