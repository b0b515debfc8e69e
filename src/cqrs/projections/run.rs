//! Applying events behind the appends, in their order, each once.

use super::store::{Event, Projection};
use crate::error::Error;
use crate::guc;
use crate::pg::call::{ActingAs, Value, call};
use crate::pg::ereport::Failure;
use crate::pg::server;
use crate::pg::subtransaction::attempted;
use crate::txn_processing::delay_ms;
use crate::txn_processing::engine::Desk;
use pgrx::pg_sys;
use std::cell::Cell;

/// Events that are read, and applied in one subtransaction, at a time.
pub const PAGE: i32 = 256;
const MICROS_PER_MS: i64 = 1_000;

/// Applies events to a table; `applied` tells how many are done.
pub fn apply(
    projection: &Projection,
    events: &[Event],
    target: pg_sys::Oid,
    owner: pg_sys::Oid,
    applied: &Cell<usize>,
) -> Result<(), Error> {
    let _role = ActingAs::role(owner);
    for event in events {
        if let Some(row) = &event.row {
            let values = [Value::Row(row), Value::Relation(target)];
            call(&projection.handler.schema, &projection.handler.name, &values, false)?;
        }
        applied.set(applied.get() + 1);
    }
    Ok(())
}

/// Applies as many of the events as go, in subtransactions: how many those are, and why the next does not.
fn apply_what_goes(projection: &Projection, events: &[Event]) -> Result<(usize, Option<Failure>), Error> {
    let (target, owner) = projection.target()?;
    let (mut upto, mut why) = (events.len(), None);
    loop {
        let applied = Cell::new(0);
        match attempted(|| apply(projection, &events[..upto], target, owner, &applied))? {
            Ok(()) => return Ok((upto, why)),
            Err(failure) => (upto, why) = (applied.get(), Some(failure)),
        }
    }
}

/// Moves the projection on by up to `most` events; how many it has read, nothing where another session is at it.
pub fn run(name: &str, most: i32) -> Result<Option<i64>, Error> {
    let taken = Projection::take(Desk::open().session(), name)?;
    let Some(projection) = taken else { return Ok(None) };
    if projection.is_inline {
        return Err(projection.refused("is inline: appends apply its events"));
    }
    if !projection.is_running {
        return Err(projection.refused("is paused"));
    }
    let (mut position, mut read) = (projection.position, 0);
    while read < i64::from(most) {
        let page = i64::from(PAGE).min(i64::from(most) - read) as i32;
        let events = projection.events(Desk::open().session(), position, page, true)?;
        let (done, why) = apply_what_goes(&projection, &events)?;
        if let Some(last) = events[..done].last() {
            position = last.position;
        }
        read += done as i64;
        let desk = Desk::open();
        if done > 0 {
            projection.moved(desk.session(), position)?;
        }
        if let Some(failure) = why {
            let failures = if done > 0 { 1 } else { projection.failures.saturating_add(1) };
            let ms = delay_ms(guc::queue_retry_delay_ms(), failures, server::random_bits());
            let next = server::clock_micros() + ms as i64 * MICROS_PER_MS;
            projection.fail(desk.session(), events[done].id, &failure, next)?;
            break;
        }
        if events.len() < page as usize {
            break;
        }
    }
    Ok(Some(read))
}
