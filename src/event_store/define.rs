//! The SQL functions that define reducers and take snapshots.

use super::handlers::{self, Use};
use super::reducers::{self, Target};
use super::{api, snapshots, store};
use crate::error::Error;
use crate::pg::{JsonDatum, RegProc, Text, finish, server};
use crate::txn_processing::bounds::bounded_json;
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{id, required};
use pgrx::prelude::*;

/// Of a definition, in the binary form.
const MAX_BYTES: usize = 64 * 1024;
const MAX_DEPTH: usize = 32;

fn target<'a>(aggregate_type: Option<&'a str>, event_type: Option<&'a str>) -> Result<Target<'a>, Error> {
    if aggregate_type.is_some() {
        api::name("aggregate_type", aggregate_type)?;
    }
    if event_type.is_some() {
        api::name("event_type", event_type)?;
    }
    Ok(Target { aggregate_type, event_type })
}

/// Of a function that everybody's states go through, its owner must be one whom everybody trusts.
fn handler_name(desk: &Desk, caller: pg_sys::Oid, function: RegProc) -> Result<String, Error> {
    if !server::has_privileges_of(caller, server::owner()) {
        let role = desk.caller.clone();
        return Err(Error::NotPermitted { role, function: "event_store.define_reducer with a handler" });
    }
    let name = handlers::name(desk.session(), function)?;
    handlers::find(desk.session(), &name, Use::ToDefine, caller)?;
    Ok(name)
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn define_reducer(
    aggregate_type: Option<Text>,
    event_type: Option<Text>,
    operations: default!(Option<JsonDatum>, "NULL"),
    handler: default!(Option<RegProc>, "NULL"),
) {
    let result = (|| {
        let target = target(aggregate_type.as_deref(), event_type.as_deref())?;
        if operations.is_some() == handler.is_some() {
            let why = "A reducer has either operations or a handler.".into();
            return Err(Error::ArgumentBounds { argument: "operations", why });
        }
        if let Some(definition) = operations {
            bounded_json("operations", definition, MAX_BYTES, MAX_DEPTH)?;
            reducers::checked(definition)?;
        }
        let (caller, desk) = (server::current_user(), Desk::open());
        let handler = handler.map(|function| handler_name(&desk, caller, function)).transpose()?;
        reducers::define(desk.session(), target, operations, handler.as_deref(), &desk.caller)
    })();
    drop((aggregate_type, event_type));
    finish(result)
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn drop_reducer(aggregate_type: Option<Text>, event_type: Option<Text>) {
    let result = (|| {
        let target = target(aggregate_type.as_deref(), event_type.as_deref())?;
        let desk = Desk::open();
        reducers::drop_defined(desk.session(), target)
    })();
    drop((aggregate_type, event_type));
    finish(result)
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn take_snapshot(p_aggregate_id: Option<pgrx::Uuid>) -> Option<i32> {
    finish(required("p_aggregate_id", p_aggregate_id).map(id).and_then(|aggregate| {
        let desk = Desk::open();
        let Some(stream) = store::lock(desk.session(), aggregate)? else { return Ok(None) };
        let taken = snapshots::take(desk.session(), aggregate, &stream.aggregate_type, stream.version)?;
        Ok(taken.then_some(stream.version))
    }))
}
