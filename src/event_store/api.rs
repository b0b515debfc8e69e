//! The SQL functions of the event store.

use super::core::{Expected, MAX_EVENTS, Stream, checked_items, name_is_good, tags_are_good};
use super::fold::{State, apply};
use super::store::{self, Content, NewEvents};
use crate::cqrs;
use crate::error::Error;
use crate::pg::{JsonDatum, Many, OwnerRights, Session, Text, finish, memory};
use crate::txn_processing::bounds::{bounded_json, bounded_metadata};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{id, required, sql_id};
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::Value;
use uuid::Uuid;

/// Bytes of what one event says, in the binary form.
const MAX_DATA_BYTES: usize = 1 << 20;
const MAX_DATA_DEPTH: usize = 64;
const MAX_PAGE: i32 = 100_000;

fn name<'a>(argument: &'static str, value: Option<&'a str>) -> Result<&'a str, Error> {
    let text = required(argument, value)?;
    name_is_good(text).map_err(|why| Error::ArgumentBounds { argument, why: why.into() })?;
    Ok(text)
}

fn expectation(version: Option<i32>) -> Result<Expected, Error> {
    Expected::of(version).ok_or_else(|| Error::ArgumentBounds {
        argument: "p_expected_version",
        why: format!(
            "It is {}; it must be a version, 0 (no stream), -1 (a stream) or null.",
            version.unwrap_or(0)
        ),
    })
}

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
fn append(desk: &Desk, new: &NewEvents, given_ids: bool, expected: Expected) -> Result<i32, Error> {
    let session = desk.session();
    loop {
        let stream = store::lock(session, new.aggregate)?;
        // A retry must hear of its success, whatever the stream's version is by now.
        if given_ids && let Some(version) = new.found(session)? {
            cqrs::found(new.ids);
            return Ok(version);
        }
        decide(new, stream.as_ref(), expected)?;
        if let Some(version) = new.append(session, stream.as_ref())? {
            cqrs::appended(|| session, new.ids)?;
            return Ok(version);
        }
    }
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn append_event(
    p_aggregate_type: Option<Text>,
    p_aggregate_id: Option<pgrx::Uuid>,
    p_event_type: Option<Text>,
    p_event_data: Option<JsonDatum>,
    p_expected_version: default!(Option<i32>, "NULL"),
    p_metadata: default!(Option<JsonDatum>, "NULL"),
    p_event_id: default!(Option<pgrx::Uuid>, "NULL"),
    p_tags: default!(Option<Many<String>>, "NULL"),
) -> pgrx::Uuid {
    let result = (|| {
        let aggregate_type = name("p_aggregate_type", p_aggregate_type.as_deref())?;
        let aggregate = id(required("p_aggregate_id", p_aggregate_id)?);
        let event_type = name("p_event_type", p_event_type.as_deref())?;
        let data = required("p_event_data", p_event_data)?;
        if !data.is_object() {
            let why = "It must be a JSON object.".into();
            return Err(Error::ArgumentBounds { argument: "p_event_data", why });
        }
        bounded_json("p_event_data", data, MAX_DATA_BYTES, MAX_DATA_DEPTH)?;
        bounded_metadata(p_metadata)?;
        let tags: Vec<_> = p_tags.iter().flat_map(|tags| &tags.0).map(Option::as_deref).collect();
        tags_are_good(tags.iter().copied())
            .map_err(|why| Error::ArgumentBounds { argument: "p_tags", why: why.into() })?;
        let expected = expectation(p_expected_version)?;
        let event = p_event_id.map_or_else(Uuid::now_v7, id);
        let desk = Desk::open();
        let content = Content::One { event_type, data, metadata: p_metadata, tags: &tags };
        let new = NewEvents { aggregate, aggregate_type, content, ids: &[event], caller: &desk.caller };
        append(&desk, &new, p_event_id.is_some(), expected)?;
        Ok(sql_id(event))
    })();
    drop((p_aggregate_type, p_event_type, p_tags));
    finish(result)
}

/// Bytes of the tree for each byte of the binary form.
const BYTES_PER_BYTE: usize = 16;

/// The ids of a batch, drawn where it brings none; whether it brings any.
fn ids_of(events: JsonDatum) -> Result<(Vec<Uuid>, bool), Error> {
    memory::need(events.size(), BYTES_PER_BYTE)?;
    let Value::Array(items) = events.parsed().0 else {
        return Err(Error::ArgumentBounds { argument: "events", why: "It must be a JSON array.".into() });
    };
    if items.is_empty() || items.len() > MAX_EVENTS {
        let why = format!("It has {} events; it must have 1 to {MAX_EVENTS}.", items.len());
        return Err(Error::ArgumentBounds { argument: "events", why });
    }
    let given = checked_items(&items).map_err(|bad| Error::EventInvalid {
        number: bad.number,
        key: bad.key,
        why: bad.why,
    })?;
    let brings = given.iter().any(Option::is_some);
    Ok((given.into_iter().map(|id| id.unwrap_or_else(Uuid::now_v7)).collect(), brings))
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn append_events(
    aggregate_type: Option<Text>,
    aggregate_id: Option<pgrx::Uuid>,
    events: Option<JsonDatum>,
    expected_version: default!(Option<i32>, "NULL"),
) -> i64 {
    let result = (|| {
        let aggregate_type = name("aggregate_type", aggregate_type.as_deref())?;
        let aggregate = id(required("aggregate_id", aggregate_id)?);
        let items = required("events", events)?;
        bounded_json("events", items, 64 * MAX_DATA_BYTES, MAX_DATA_DEPTH)?;
        let (ids, given) = ids_of(items)?;
        let expected = expectation(expected_version)?;
        let desk = Desk::open();
        let content = Content::Items(items);
        let new = NewEvents { aggregate, aggregate_type, content, ids: &ids, caller: &desk.caller };
        append(&desk, &new, given, expected).map(i64::from)
    })();
    drop(aggregate_type);
    finish(result)
}

fn state_of(aggregate: Uuid, to: i32) -> Result<State, Error> {
    let mut state = State::new();
    let mut reached = 0;
    loop {
        let _rights = OwnerRights::to_read();
        // One session a page: what SPI has read lives as long as its session.
        let page = store::page(&Session::read(), aggregate, reached, to)?;
        let Some(last) = page.last().map(|event| event.version) else { return Ok(state) };
        for event in page {
            apply(&mut state, &event.event_type, event.data, event.version)
                .map_err(|why| Error::NotFoldable { aggregate, version: event.version, why })?;
        }
        reached = last;
    }
}

#[pg_extern(schema = "event_store", stable, parallel_unsafe)]
fn get_aggregate_state(
    p_aggregate_id: Option<pgrx::Uuid>,
    p_up_to_version: default!(Option<i32>, "NULL"),
) -> JsonB {
    let state = required("p_aggregate_id", p_aggregate_id).map(id).and_then(|aggregate| {
        let to = p_up_to_version.unwrap_or(i32::MAX);
        if to < 0 {
            let why = format!("It is {to}; versions begin at 1.");
            return Err(Error::ArgumentBounds { argument: "p_up_to_version", why });
        }
        state_of(aggregate, to)
    });
    JsonB(Value::Object(finish(state)))
}

/// The bound of a page, for the reading functions.
#[pg_extern(schema = "event_store", immutable, parallel_safe)]
fn page_size(max_events: Option<i32>) -> i32 {
    finish(required("max_events", max_events).and_then(|size| {
        if (1..=MAX_PAGE).contains(&size) {
            return Ok(size);
        }
        let why = format!("It is {size}; it must be 1 to {MAX_PAGE}.");
        Err(Error::ArgumentBounds { argument: "max_events", why })
    }))
}
