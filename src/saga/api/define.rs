//! Definitions, and sagas that are started from them.

use super::super::definitions;
use super::super::store::{self, NewSaga};
use super::{data, name};
use crate::error::Error;
use crate::pg::{JsonDatum, Text, Time, finish, server};
use crate::txn_processing::acknowledge_again;
use crate::txn_processing::bounds::{bounded_json, given_text};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{required, sql_id};
use pgrx::prelude::*;
use uuid::Uuid;

const MAX_KEY: usize = 200;
const MAX_STEPS_BYTES: usize = 1 << 18;

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn define(saga_type: Option<Text>, steps: Option<JsonDatum>) -> i32 {
    let result = (|| {
        let saga_type = name("saga_type", saga_type.as_deref())?;
        let steps = required("steps", steps)?;
        bounded_json("steps", steps, MAX_STEPS_BYTES, 4)?;
        let desk = Desk::open();
        let plan = definitions::checked(desk.session(), &steps.tree(), &desk.caller)?;
        definitions::add(desk.session(), saga_type, &plan, &desk.caller)
    })();
    drop(saga_type);
    finish(result)
}

/// Starts it, or finds the one that has its key.
fn started(desk: &Desk, new: &NewSaga) -> Result<Uuid, Error> {
    loop {
        if let Some(saga) = store::start(desk.session(), new, server::clock_micros())? {
            // Whoever waited for a call that pruned the key's saga did not see what it left of it.
            if new.key.is_none() || !store::is_pruned(desk.session(), new)? {
                return Ok(saga);
            }
            store::take_back(desk.session(), saga)?;
        }
        match store::find_key(desk.session(), new)? {
            Some((saga, true)) => return acknowledge_again(desk.session()).map(|()| saga),
            Some((saga, false)) => return Err(Error::SagaConflict { saga }),
            // It was forgotten since: the key is free again.
            None => {}
        }
    }
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn start(
    saga_type: Option<Text>,
    context: default!(Option<JsonDatum>, "'{}'"),
    idempotency_key: default!(Option<Text>, "NULL"),
    deadline: default!(Option<Time>, "NULL"),
) -> pgrx::Uuid {
    let result = (|| {
        let saga_type = name("saga_type", saga_type.as_deref())?;
        let context = data("context", context)?;
        let key = idempotency_key.as_deref();
        key.map(|key| given_text("idempotency_key", key, MAX_KEY)).transpose()?;
        let deadline = deadline.map(|time| time.0);
        if deadline.is_some_and(|at| at == i64::MAX || at == i64::MIN) {
            let why = "It must be finite.".into();
            return Err(Error::ArgumentBounds { argument: "deadline", why });
        }
        let desk = Desk::open();
        let (version, plan) = definitions::newest(desk.session(), saga_type)?;
        let names: Vec<String> = plan.steps.iter().map(|step| step.name.clone()).collect();
        let new = NewSaga {
            saga_type,
            version: Some(version),
            names: &names,
            context,
            key,
            started_by: &desk.caller,
            deadline,
            parent: None,
        };
        started(&desk, &new).map(sql_id)
    })();
    drop((saga_type, idempotency_key));
    finish(result)
}
