//! Sagas whose steps the client does itself: the functions of the contract.

use super::super::core::{Refusal, Status, StepStatus};
use super::super::held::Held;
use super::super::running::Running;
use super::super::store::{self, NewSaga, Which};
use super::{data, name, refused, written};
use crate::error::Error;
use crate::pg::{JsonDatum, Many, Text, finish, server};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{id, required, sql_id};
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;
use uuid::Uuid;

const MAX_STEPS: usize = 1_000;

/// The names of the steps: each says something; two may be the same.
fn names(steps: Many<String>) -> Result<Vec<String>, Error> {
    if steps.0.len() > MAX_STEPS {
        let why = format!("It has {} elements; the most is {MAX_STEPS}.", steps.0.len());
        return Err(Error::ArgumentBounds { argument: "p_steps", why });
    }
    steps.0.into_iter().map(|step| name("p_steps", step.as_deref()).map(str::to_owned)).collect()
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn create_saga(
    p_saga_type: Option<Text>,
    p_steps: Option<Many<String>>,
    p_context: default!(Option<JsonDatum>, "'{}'"),
) -> pgrx::Uuid {
    let result = (|| {
        let saga_type = name("p_saga_type", p_saga_type.as_deref())?;
        let names = names(required("p_steps", p_steps)?)?;
        let context = data("p_context", p_context)?;
        let desk = Desk::open();
        let new = NewSaga {
            saga_type,
            version: None,
            names: &names,
            context,
            key: None,
            started_by: &desk.caller,
            deadline: None,
            parent: None,
        };
        let saga = store::start(desk.session(), &new, server::clock_micros())?;
        Ok(sql_id(saga.expect("it has no key that may be taken")))
    })();
    drop(p_saga_type);
    finish(result)
}

/// What is told of the step in hand.
fn in_hand(held: &Held, at: Option<usize>) -> serde_json::Value {
    match at {
        Some(at) => json!({
            "step_id": held.saga.steps[at].id,
            "step_name": held.plan.steps[at].name,
            "step_number": at + 1,
        }),
        None => json!({"status": "completed"}),
    }
}

/// Whether a call that names `step` as the one in hand was carried out before; `Err` where that step is in nobody's hand.
fn is_repeated(held: &Held, step: Option<Uuid>, output: JsonDatum) -> Result<bool, Error> {
    let Some(step) = step else { return Ok(false) };
    let saga = held.saga.id;
    let at = held.saga.steps.iter().position(|other| other.id == step).ok_or(Error::StepNotFound { step })?;
    if held.saga.at() == Some(at) && held.saga.steps[at].status == StepStatus::Running {
        return Ok(false);
    }
    let same = held.outputs[at].is_some_and(|before| before.to_text() == output.to_text());
    // The call that completed it put the next one into the client's hand, or ended the saga.
    let was_last = held.saga.at().is_some_and(|current| {
        let next_is_in_hand = current == at + 1 && held.saga.steps[current].status == StepStatus::Running;
        next_is_in_hand || (current == at && held.saga.status == Status::Completed)
    });
    if held.saga.steps[at].status == StepStatus::Completed && same && was_last {
        return Ok(true);
    }
    Err(Error::SagaState { saga, why: format!("Step {step} is not the one in hand.") })
}

fn execute(saga: Uuid, output: JsonDatum, step: Option<Uuid>) -> Result<serde_json::Value, Error> {
    let desk = Desk::open();
    if Running::has(saga) {
        return Err(Error::SagaNested { why: "A step's function would execute a step of its own saga." });
    }
    let found = store::load(desk.session(), Which::One(saga))?.pop();
    let mut held = found.ok_or(Error::SagaNotFound { saga })?;
    if held.version.is_some() {
        let why = "It has a definition: saga.run, saga.run_ready and workers complete its steps.".into();
        return Err(Error::SagaState { saga, why });
    }
    if is_repeated(&held, step, output)? {
        let current = held.saga.at().filter(|at| held.saga.steps[*at].status == StepStatus::Running);
        return Ok(in_hand(&held, current));
    }
    let before = held.saga.at().filter(|at| held.saga.steps[*at].status == StepStatus::Running);
    let next = held.machine().client_steps_on().map_err(|refusal: Refusal| refused(saga)(refusal))?;
    if let Some(before) = before {
        held.outputs[before] = Some(output);
    }
    if let Some(next) = next {
        held.inputs[next] = Some(output);
    }
    let held = written(desk.session(), held, &desk.caller)?;
    Ok(in_hand(&held, next))
}

/// The contract answers refusals, and raises nothing but what the server does.
fn to_json(result: Result<serde_json::Value, Error>) -> JsonB {
    JsonB(match result {
        Ok(answer) => answer,
        Err(error) if error.is_refusal() => {
            let report = error.report();
            let mut message = report.message;
            if let Some(first) = message.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            json!({"error": message, "code": report.word, "sqlstate": report.sqlstate, "detail": report.detail})
        }
        Err(error) => finish(Err(error)),
    })
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn execute_step(
    p_saga_id: Option<pgrx::Uuid>,
    p_output: default!(Option<JsonDatum>, "'{}'"),
    p_step_id: default!(Option<pgrx::Uuid>, "NULL"),
) -> JsonB {
    let result = (|| {
        let saga = id(required("p_saga_id", p_saga_id)?);
        execute(saga, data("p_output", p_output)?, p_step_id.map(id))
    })();
    to_json(result)
}
