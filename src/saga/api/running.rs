//! Running sagas.

use super::super::core::Status;
use super::super::held::Held;
use super::super::run::run as run_all;
use super::super::running::Running;
use super::super::store::{self, Which};
use super::{locked, within};
use crate::error::Error;
use crate::pg::{Text, finish, server};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{id, required, sql_id};
use pgrx::prelude::*;
use uuid::Uuid;

/// The most sagas of one call.
const MAX_SAGAS: i32 = 10_000;

fn refuse_nested() -> Result<(), Error> {
    if Running::is_any() {
        return Err(Error::SagaNested { why: "A step's function would run sagas." });
    }
    Ok(())
}

fn run_one(saga: Uuid) -> Result<&'static str, Error> {
    refuse_nested()?;
    let desk = Desk::open_around_calls();
    let mut held = locked(desk.session(), saga)?;
    if held.version.is_none() && !held.saga.status.has_ended() && held.saga.status != Status::Compensating {
        let why = "It has no definition: saga.execute_step completes its steps.".into();
        return Err(Error::SagaState { saga, why });
    }
    run_all(desk.session(), std::slice::from_mut(&mut held), &desk.caller)?;
    Ok(held.saga.status.text())
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn run(saga_id: Option<pgrx::Uuid>) -> Text {
    finish(required("saga_id", saga_id).and_then(|saga| run_one(id(saga)))).into()
}

#[pg_extern(schema = "saga", stable, parallel_restricted)]
fn is_called(saga_id: Option<pgrx::Uuid>, effect_id: Option<pgrx::Uuid>) -> bool {
    saga_id.zip(effect_id).is_some_and(|(saga, effect)| Running::is_calling(id(saga), id(effect)))
}

/// One row of the result.
type Line = (pgrx::Uuid, &'static str, Option<i32>, Option<&'static str>, Option<String>, Option<String>);

fn line(held: &Held) -> Line {
    let saga = &held.saga;
    let step = saga.at().map(|at| &saga.steps[at]);
    let undo = saga.undos.iter().flatten().find_map(|undo| undo.effort.failure.clone());
    let of_step = || step.and_then(|step| step.effort.failure.clone());
    let failure = undo.or_else(|| saga.failure.clone()).or_else(of_step);
    let number = saga.at().map(|at| at as i32 + 1);
    let (code, message) = failure.map_or((None, None), |why| (why.code, Some(why.message)));
    (sql_id(saga.id), saga.status.text(), number, saga.waits.map(|waits| waits.text()), code, message)
}

fn run_due(max_sagas: Option<i32>) -> Result<Vec<Line>, Error> {
    let most = within("max_sagas", max_sagas, MAX_SAGAS)?;
    if !server::is_read_committed() {
        return Err(Error::IsolationLevel);
    }
    refuse_nested()?;
    let desk = Desk::open_around_calls();
    let mut held = store::load(desk.session(), Which::Due(most, server::clock_micros()))?;
    run_all(desk.session(), &mut held, &desk.caller)?;
    Ok(held.iter().map(line).collect())
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn run_ready(
    max_sagas: default!(Option<i32>, 100),
) -> TableIterator<
    'static,
    (
        name!(saga_id, pgrx::Uuid),
        name!(status, &'static str),
        name!(step_number, Option<i32>),
        name!(waits_for, Option<&'static str>),
        name!(code, Option<String>),
        name!(message, Option<String>),
    ),
> {
    TableIterator::new(finish(run_due(max_sagas)))
}
