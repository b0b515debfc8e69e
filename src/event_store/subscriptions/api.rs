//! The SQL functions of subscriptions.

use super::admin::{self, Fate, Settings};
use super::core::{Filter, MAX_ATTEMPTS, MAX_BATCH, MAX_PARTITIONS, MAX_WAIT_MS, Start, partition_of};
use super::fetch::{self, Fetched};
use super::settle::{self, GivenBack};
use super::store::Event;
use crate::error::Error;
use crate::event_store::core::name_is_good;
use crate::pg::types::JsonBytes;
use crate::pg::{JsonDatum, Many, OwnerRights, Session, Text, Time, finish};
use crate::txn_processing::bounds::{bounded_json, given_reason};
use crate::txn_processing::{id, required, sql_id};
use pgrx::prelude::*;
use uuid::Uuid;

const MAX_FILTER_BYTES: usize = 64 * 1024;
const MAX_FILTER_DEPTH: usize = 4;
const MAX_IDS: usize = 10_000;

fn name<'a>(argument: &'static str, value: Option<&'a str>) -> Result<&'a str, Error> {
    let text = required(argument, value)?;
    name_is_good(text).map_err(|why| Error::ArgumentBounds { argument, why: why.into() })?;
    Ok(text)
}

fn within(argument: &'static str, value: i32, from: i32, to: i32) -> Result<i32, Error> {
    if (from..=to).contains(&value) {
        return Ok(value);
    }
    Err(Error::ArgumentBounds { argument, why: format!("It is {value}; it must be {from} to {to}.") })
}

fn start_of(text: Option<&str>) -> Result<Start, Error> {
    let text = required("start", text)?;
    Start::of(text).ok_or_else(|| Error::ArgumentBounds {
        argument: "start",
        why: format!("It is {text:?}; it must be beginning, now or a position."),
    })
}

/// Refuses settings that make no sense; those that are there.
fn check(settings: &Settings) -> Result<(), Error> {
    let Settings { max_attempts, backoff_first_ms, backoff_most_ms, lease_ms, .. } = *settings;
    max_attempts.map_or(Ok(0), |value| within("max_attempts", value, 1, MAX_ATTEMPTS))?;
    backoff_first_ms.map_or(Ok(0), |value| within("backoff_first_ms", value, 0, MAX_WAIT_MS))?;
    backoff_most_ms.map_or(Ok(0), |value| {
        within("backoff_most_ms", value, backoff_first_ms.unwrap_or(0), MAX_WAIT_MS)
    })?;
    lease_ms.map_or(Ok(0), |value| within("lease_ms", value, 1, MAX_WAIT_MS))?;
    Ok(())
}

/// Runs `work` with the rights of the extension's owner.
fn as_owner<T>(work: impl FnOnce(&Session) -> Result<T, Error>) -> Result<T, Error> {
    let _rights = OwnerRights::to_write();
    work(&Session::write())
}

/// Ids of events, none of them null, with no more than a call may have.
fn ids(argument: &'static str, ids: &Many<pgrx::Uuid>) -> Result<Vec<Uuid>, Error> {
    if ids.0.len() > MAX_IDS {
        let why = format!("It has {} elements; the most is {MAX_IDS}.", ids.0.len());
        return Err(Error::ArgumentBounds { argument, why });
    }
    let given = |value: &Option<pgrx::Uuid>| value.map(id);
    let why = || Error::ArgumentBounds { argument, why: "One of its elements is null.".into() };
    ids.0.iter().map(|value| given(value).ok_or_else(why)).collect()
}

#[pg_extern(schema = "event_store", immutable, parallel_safe)]
fn stream_partition(aggregate_id: Option<pgrx::Uuid>, partitions: Option<i32>) -> Option<i32> {
    let (stream, partitions) = aggregate_id.map(id).zip(partitions)?;
    (partitions > 0).then(|| partition_of(stream.as_u128(), partitions))
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn create_subscription(
    name: Option<Text>,
    filter: default!(Option<JsonDatum>, "'{}'"),
    start: default!(Option<Text>, "'beginning'"),
    partitions: default!(Option<i32>, 16),
    max_attempts: default!(Option<i32>, 5),
    backoff_first_ms: default!(Option<i32>, 1000),
    backoff_most_ms: default!(Option<i32>, 300000),
    lease_ms: default!(Option<i32>, 30000),
    parked_blocks: default!(Option<bool>, true),
) {
    let result = (|| {
        let name = self::name("name", name.as_deref())?;
        let filter = required("filter", filter)?;
        bounded_json("filter", filter, MAX_FILTER_BYTES, MAX_FILTER_DEPTH)?;
        let filter =
            Filter::of(&filter.tree()).map_err(|why| Error::ArgumentBounds { argument: "filter", why })?;
        let start = start_of(start.as_deref())?;
        let partitions = within("partitions", required("partitions", partitions)?, 1, MAX_PARTITIONS)?;
        let settings = Settings {
            max_attempts: Some(required("max_attempts", max_attempts)?),
            backoff_first_ms: Some(required("backoff_first_ms", backoff_first_ms)?),
            backoff_most_ms: Some(required("backoff_most_ms", backoff_most_ms)?),
            lease_ms: Some(required("lease_ms", lease_ms)?),
            parked_blocks: Some(required("parked_blocks", parked_blocks)?),
            paused: None,
        };
        check(&settings)?;
        as_owner(|session| admin::create(session, name, &filter, start, partitions, &settings))
    })();
    drop((name, start));
    finish(result)
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn alter_subscription(
    name: Option<Text>,
    max_attempts: default!(Option<i32>, "NULL"),
    backoff_first_ms: default!(Option<i32>, "NULL"),
    backoff_most_ms: default!(Option<i32>, "NULL"),
    lease_ms: default!(Option<i32>, "NULL"),
    parked_blocks: default!(Option<bool>, "NULL"),
    paused: default!(Option<bool>, "NULL"),
) {
    let result = self::name("name", name.as_deref()).and_then(|name| {
        let settings =
            Settings { max_attempts, backoff_first_ms, backoff_most_ms, lease_ms, parked_blocks, paused };
        as_owner(|session| admin::alter(session, name, &settings, check))
    });
    drop(name);
    finish(result)
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn reset_subscription(name: Option<Text>, start: Option<Text>) {
    let result = self::name("name", name.as_deref()).and_then(|name| {
        let start = start_of(start.as_deref())?;
        as_owner(|session| admin::reset(session, name, start))
    });
    drop((name, start));
    finish(result)
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn drop_subscription(name: Option<Text>) {
    let result =
        self::name("name", name.as_deref()).and_then(|name| as_owner(|session| admin::remove(session, name)));
    drop(name);
    finish(result)
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn fetch(
    name: Option<Text>,
    batch: Option<i32>,
    consumer: Option<Text>,
) -> TableIterator<
    'static,
    (
        name!(event_id, pgrx::Uuid),
        name!(aggregate_id, pgrx::Uuid),
        name!(global_position, i64),
        name!(created_at, Option<Time>),
        name!(event_version, i32),
        name!(aggregate_type, String),
        name!(event_type, String),
        name!(created_by, String),
        name!(event_data, Option<JsonBytes>),
        name!(metadata, Option<JsonBytes>),
        name!(tags, Option<Vec<Option<String>>>),
        name!(attempt, i32),
        name!(lease_token, i64),
        name!(leased_until, Option<Time>),
    ),
> {
    let result = (|| {
        let name = self::name("name", name.as_deref())?;
        let batch = within("batch", required("batch", batch)?, 1, MAX_BATCH)?;
        let consumer = self::name("consumer", consumer.as_deref())?;
        as_owner(|session| fetch::fetch(session, name, batch as usize, consumer))
    })();
    drop((name, consumer));
    let Fetched { events, token, leased_until } = finish(result);
    TableIterator::new(events.into_iter().map(move |event: Event| {
        (
            sql_id(event.event_id),
            sql_id(event.aggregate),
            event.position,
            Some(event.created_at),
            event.version,
            event.aggregate_type,
            event.event_type,
            event.created_by,
            Some(event.data),
            Some(event.metadata),
            event.tags,
            event.attempt,
            token,
            Some(leased_until),
        )
    }))
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn ack(
    name: Option<Text>,
    lease_token: Option<i64>,
    event_ids: default!(Option<Many<pgrx::Uuid>>, "NULL"),
) -> i32 {
    let result = (|| {
        let name = self::name("name", name.as_deref())?;
        let token = required("lease_token", lease_token)?;
        let events = event_ids.as_ref().map(|events| ids("event_ids", events)).transpose()?;
        as_owner(|session| settle::ack(session, name, token, events.as_deref()))
    })();
    drop((name, event_ids));
    finish(result)
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn nack(
    name: Option<Text>,
    lease_token: Option<i64>,
    event_id: Option<pgrx::Uuid>,
    reason: Option<Text>,
    retry_in_ms: default!(Option<i32>, "NULL"),
    park: default!(Option<bool>, false),
) -> Option<Time> {
    let result = (|| {
        let name = self::name("name", name.as_deref())?;
        let token = required("lease_token", lease_token)?;
        let event = id(required("event_id", event_id)?);
        let reason = given_reason("reason", required("reason", reason.as_deref())?)?;
        retry_in_ms.map_or(Ok(0), |value| within("retry_in_ms", value, 0, MAX_WAIT_MS))?;
        let park = required("park", park)?;
        let given = GivenBack { event, reason, delay_ms: retry_in_ms, park };
        as_owner(|session| settle::nack(session, name, token, &given))
    })();
    drop((name, reason));
    finish(result)
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn extend_lease(
    name: Option<Text>,
    lease_token: Option<i64>,
    by_ms: default!(Option<i32>, "NULL"),
) -> Option<Time> {
    let result = (|| {
        let name = self::name("name", name.as_deref())?;
        let token = required("lease_token", lease_token)?;
        by_ms.map_or(Ok(0), |value| within("by_ms", value, 1, MAX_WAIT_MS))?;
        as_owner(|session| settle::extend(session, name, token, by_ms))
    })();
    drop(name);
    Some(finish(result))
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn replay_parked(name: Option<Text>, event_ids: default!(Option<Many<pgrx::Uuid>>, "NULL")) -> i64 {
    let result = self::name("name", name.as_deref()).and_then(|name| {
        let events = event_ids.as_ref().map(|events| ids("event_ids", events)).transpose()?;
        as_owner(|session| admin::decide(session, name, events.as_deref(), Fate::Replay))
    });
    drop((name, event_ids));
    finish(result)
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn discard_parked(name: Option<Text>, event_ids: Option<Many<pgrx::Uuid>>) -> i64 {
    let result = self::name("name", name.as_deref()).and_then(|name| {
        let events = ids("event_ids", required("event_ids", event_ids.as_ref())?)?;
        as_owner(|session| admin::decide(session, name, Some(&events), Fate::Discard))
    });
    drop((name, event_ids));
    finish(result)
}
