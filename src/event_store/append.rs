//! Appending: locks in their order, then what they show, then the events.

use super::boundary::{self, Condition};
use super::core::{Expected, Stream, is_ledgers};
use super::direct::DirectStore;
use super::snapshots;
use super::store::{self, NewEvents, Next};
use super::tags::{Keys, key_of};
use crate::cqrs;
use crate::error::Error;
use crate::txn_processing::acknowledge_again;
use crate::txn_processing::engine::Desk;

/// What the stream's lock shows must be what the caller expects.
fn decide(new: &NewEvents, stream: Option<&Stream>, expected: Expected) -> Result<(), Error> {
    let actual = stream.map_or(0, |stream| stream.version);
    if let Some(other) = stream.filter(|stream| stream.aggregate_type != new.aggregate_type) {
        let (wanted, found) = (new.aggregate_type.to_owned(), other.aggregate_type.clone());
        return Err(Error::AggregateType { aggregate: new.aggregate, wanted, found });
    }
    if !expected.holds(actual) {
        return Err(Error::VersionConflict { aggregate: new.aggregate, expected: expected.text(), actual });
    }
    Ok(())
}

/// Appends, or answers the version that the events led to when they came first.
pub fn append(
    desk: &Desk,
    new: &NewEvents,
    expected: Expected,
    condition: Option<&Condition>,
) -> Result<i32, Error> {
    if is_ledgers(new.aggregate_type) {
        return Err(Error::LedgerType { aggregate_type: new.aggregate_type.to_owned() });
    }
    let keys: Keys = new.items.iter().flat_map(|item| &item.tags).flatten().map(|tag| key_of(tag)).collect();
    boundary::enter(&keys, condition)?;
    let decide = |stream: Option<&Stream>| {
        decide(new, stream, expected)?;
        condition.map_or(Ok(()), |condition| condition.check(desk.session()))
    };
    match DirectStore::open()? {
        Some(store) => append_direct(desk, &store, new, decide),
        None => append_by_sql(desk, new, decide),
    }
}

/// What follows from events that were just written.
fn follow_up(desk: &Desk, new: &NewEvents, next: Next) -> Result<i32, Error> {
    let versions = (next.before, next.version);
    snapshots::after_append(|| desk.session(), new.aggregate, new.aggregate_type, versions)?;
    cqrs::appended(|| desk.session(), new.ids)?;
    Ok(next.version)
}

fn append_by_sql(
    desk: &Desk,
    new: &NewEvents,
    decide: impl Fn(Option<&Stream>) -> Result<(), Error>,
) -> Result<i32, Error> {
    let session = desk.session();
    let mut was_taken = false;
    loop {
        let stream = store::lock(session, new.aggregate)?;
        if was_taken && stream.is_none() {
            // Nobody else has opened it, so a trigger has kept it from being opened.
            return Err(Error::EventSuppressed { aggregate: new.aggregate });
        }
        // A retry must hear of its success, whatever the stream's version is by now.
        if new.given_ids
            && let Some(version) = new.found(session)?
        {
            cqrs::found(new.ids);
            return Ok(version);
        }
        decide(stream.as_ref())?;
        let next = new.next(|| session, stream.as_ref())?;
        if new.write(session, stream.is_some(), next)? {
            return follow_up(desk, new, next);
        }
        was_taken = true;
    }
}

/// At first the stream is only read: to replace its row, if that is still the newest version, saves a lock. A refusal,
/// though, is told of what a lock shows.
fn append_direct(
    desk: &Desk,
    store: &DirectStore,
    new: &NewEvents,
    decide: impl Fn(Option<&Stream>) -> Result<(), Error>,
) -> Result<i32, Error> {
    let mut locked = false;
    loop {
        let found = store.stream(new.aggregate, locked)?;
        if new.given_ids
            && store.has_any(new.ids)?
            && let Some(version) = new.found(desk.session())?
        {
            cqrs::found(new.ids);
            if !locked {
                acknowledge_again(desk.session())?;
            }
            return Ok(version);
        }
        let stream = found.as_ref().map(|(stream, _)| stream);
        match decide(stream) {
            Err(refusal) if locked || matches!(refusal, Error::Server(_)) => return Err(refusal),
            Err(_) => {}
            Ok(()) => {
                let next = new.next(|| desk.session(), stream)?;
                if store.write(new, found.as_ref(), next)? {
                    return follow_up(desk, new, next);
                }
            }
        }
        locked = true;
    }
}
