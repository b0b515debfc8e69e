//! The SQL functions of the event store.

use super::append::append;
use super::core::{Expected, name_is_good, tags_are_good};
use super::items::{Item, batch_is_good, checked_items};
use super::store::NewEvents;
use crate::error::Error;
use crate::pg::{JsonDatum, Many, Text, finish, memory};
use crate::txn_processing::bounds::{bounded_json, bounded_metadata};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{id, required, sql_id};
use pgrx::prelude::*;
use uuid::Uuid;

/// Bytes of what one event says, in the binary form.
const MAX_DATA_BYTES: usize = 1 << 20;
const MAX_DATA_DEPTH: usize = 64;
const MAX_PAGE: i32 = 100_000;

pub fn name<'a>(argument: &'static str, value: Option<&'a str>) -> Result<&'a str, Error> {
    let text = required(argument, value)?;
    name_is_good(text).map_err(|why| Error::ArgumentBounds { argument, why: why.into() })?;
    Ok(text)
}

/// The elements of an array; none of a null one.
pub(super) fn texts(many: Option<&Many<String>>) -> Vec<Option<&str>> {
    many.iter().flat_map(|many| &many.0).map(Option::as_deref).collect()
}

pub(super) fn expectation(argument: &'static str, version: Option<i32>) -> Result<Expected, Error> {
    Expected::of(version).ok_or_else(|| Error::ArgumentBounds {
        argument,
        why: format!(
            "It is {}; it must be a version, 0 (no stream), -1 (a stream) or null.",
            version.unwrap_or(0)
        ),
    })
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
        let tags = texts(p_tags.as_ref());
        tags_are_good(tags.iter().copied())
            .map_err(|why| Error::ArgumentBounds { argument: "p_tags", why: why.into() })?;
        let expected = expectation("p_expected_version", p_expected_version)?;
        let event = p_event_id.map_or_else(Uuid::now_v7, id);
        let desk = Desk::open();
        let metadata = p_metadata.as_ref().map(JsonDatum::container);
        let item = Item { event_type, data: data.container(), metadata, tags };
        let new = NewEvents {
            aggregate,
            aggregate_type,
            items: &[item],
            ids: &[event],
            given_ids: p_event_id.is_some(),
            caller: &desk.caller,
        };
        append(&desk, &new, expected, None)?;
        Ok(sql_id(event))
    })();
    drop((p_aggregate_type, p_event_type, p_tags));
    finish(result)
}

/// Bytes of what is made of an event for each byte of the binary form, at the most.
const BYTES_PER_BYTE: usize = 16;

/// The events of a call that brings many.
pub(super) struct Batch<'a> {
    pub items: Vec<Item<'a>>,
    /// Drawn where it brings none.
    pub ids: Vec<Uuid>,
    pub given_ids: bool,
}

impl<'a> Batch<'a> {
    pub fn of(events: &'a JsonDatum) -> Result<Batch<'a>, Error> {
        bounded_json("events", *events, 64 * MAX_DATA_BYTES, MAX_DATA_DEPTH)?;
        memory::need(events.size(), BYTES_PER_BYTE)?;
        batch_is_good(events.container()).map_err(|why| Error::ArgumentBounds { argument: "events", why })?;
        let items = checked_items(events.container()).map_err(|bad| Error::EventInvalid {
            number: bad.number,
            key: bad.key,
            why: bad.why,
        })?;
        let given_ids = items.iter().any(|(id, _)| id.is_some());
        let (ids, items) =
            items.into_iter().map(|(id, item)| (id.unwrap_or_else(Uuid::now_v7), item)).unzip();
        Ok(Batch { items, ids, given_ids })
    }

    pub fn for_stream(&'a self, aggregate: Uuid, aggregate_type: &'a str, caller: &'a str) -> NewEvents<'a> {
        let Batch { items, ids, given_ids } = self;
        NewEvents { aggregate, aggregate_type, items, ids, given_ids: *given_ids, caller }
    }
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
        let events = required("events", events)?;
        let batch = Batch::of(&events)?;
        let expected = expectation("expected_version", expected_version)?;
        let desk = Desk::open();
        let new = batch.for_stream(aggregate, aggregate_type, &desk.caller);
        append(&desk, &new, expected, None).map(i64::from)
    })();
    drop(aggregate_type);
    finish(result)
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
