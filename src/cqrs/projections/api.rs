//! The SQL functions of projections.

use super::super::commands::{Function, Signature, checked_name};
use super::core::Filter;
use super::store::{self, Projection, WATCH};
use super::twin::checked_target;
use super::{rebuild, run};
use crate::error::Error;
use crate::pg::{JsonDatum, RegClass, RegProc, Text, finish};
use crate::txn_processing::bounds::bounded_json;
use crate::txn_processing::engine::Desk;
use crate::txn_processing::required;
use pgrx::prelude::*;

/// The most events of one call.
const MAX_EVENTS: i32 = 100_000;
const MAX_FILTER_BYTES: usize = 64 * 1024;

fn checked_filter(filter: Option<JsonDatum>) -> Result<Filter, Error> {
    let Some(json) = filter else { return Ok(Filter::default()) };
    bounded_json("filter", json, MAX_FILTER_BYTES, 3)?;
    Filter::of(&json.tree()).map_err(|why| Error::ArgumentBounds { argument: "filter", why })
}

fn bounded(max_events: Option<i32>) -> Result<i32, Error> {
    let most = required("max_events", max_events)?;
    if (1..=MAX_EVENTS).contains(&most) {
        return Ok(most);
    }
    let why = format!("It is {most}; it must be 1 to {MAX_EVENTS}.");
    Err(Error::ArgumentBounds { argument: "max_events", why })
}

/// One would lose its rows when the other is rebuilt.
fn target_taken([schema, table]: [&str; 2], other: &str) -> Error {
    let why = format!("is that of the projection {other:?}");
    Error::ProjectionTarget { target: format!("{schema}.{table}"), why }
}

/// Does something to a projection that is named.
fn with_name<T>(name: Option<Text>, work: impl FnOnce(&str) -> Result<T, Error>) -> T {
    let result = checked_name("name", name.as_deref()).and_then(work);
    drop(name);
    finish(result)
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
fn create_projection(
    name: Option<Text>,
    handler: Option<RegProc>,
    target: Option<RegClass>,
    filter: default!(Option<JsonDatum>, "'{}'"),
    mode: default!(Option<Text>, "'async'"),
) {
    let result = (|| {
        let name = checked_name("name", name.as_deref())?;
        let (handler, target) = (required("handler", handler)?, required("target", target)?);
        let filter = checked_filter(filter)?;
        let mode = required("mode", mode.as_deref())?;
        if !["inline", "async"].contains(&mode) {
            let why = format!("It is {mode:?}; it must be inline or async.");
            return Err(Error::ArgumentBounds { argument: "mode", why });
        }
        let desk = Desk::open();
        let session = desk.session();
        let handler = Function::checked(session, handler, Signature::Projection, &desk.caller)?;
        let [schema, table] = checked_target(session, target, &desk.caller)?;
        let added = store::add(session, [name, mode], &handler, [&schema, &table], &filter, &desk.caller)?;
        let Some(number) = added else {
            return Err(
                match store::with_target(session, [&schema, &table])?.filter(|other| other != name) {
                    Some(other) => target_taken([&schema, &table], &other),
                    None => Error::ProjectionExists { name: name.to_owned() },
                },
            );
        };
        store::fence_appends(number, true)?;
        WATCH.announce()
    })();
    drop((name, mode));
    finish(result);
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
fn drop_projection(name: Option<Text>) {
    with_name(name, |name| {
        let desk = Desk::open();
        let projection = Projection::lock(desk.session(), name)?;
        projection.fence_appends(true)?;
        if projection.twin.is_some() {
            projection.drop_twin(desk.session())?;
        }
        projection.delete(desk.session())?;
        WATCH.announce()
    });
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
fn pause_projection(name: Option<Text>) {
    with_name(name, |name| {
        let desk = Desk::open();
        let projection = Projection::lock(desk.session(), name)?;
        if projection.is_inline {
            projection.fence_appends(true)?;
        }
        projection.set_state(desk.session(), "paused")?;
        WATCH.announce()
    });
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
fn resume_projection(name: Option<Text>) {
    with_name(name, |name| {
        let desk = Desk::open();
        let projection = Projection::lock(desk.session(), name)?;
        if projection.is_inline && !projection.is_running {
            return Err(projection.refused("has missed events while it was paused"));
        }
        projection.set_state(desk.session(), "running")
    });
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
fn run_projection(name: Option<Text>, max_events: default!(Option<i32>, 1000)) -> Option<i64> {
    with_name(name, |name| run::run(name, bounded(max_events)?))
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
fn rebuild_projection(name: Option<Text>) {
    with_name(name, rebuild::start);
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
fn run_rebuild(name: Option<Text>, max_events: default!(Option<i32>, 1000)) -> &'static str {
    with_name(name, |name| rebuild::step(name, bounded(max_events)?))
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
fn cancel_rebuild(name: Option<Text>) {
    with_name(name, rebuild::cancel);
}
