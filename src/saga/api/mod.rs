//! The SQL functions of sagas.

mod client;
mod define;
mod person;
mod prune;
mod running;
mod worker;

use super::core::Refusal;
use super::held::Held;
use super::run::{MAX_DATA_BYTES, MAX_DATA_DEPTH};
use super::running::Running;
use super::store::{self, Which};
use crate::error::Error;
use crate::pg::{JsonDatum, Session};
use crate::txn_processing::bounds::{bounded_json, given_text};
use crate::txn_processing::required;
use uuid::Uuid;

const MAX_NAME: usize = 100;

fn name<'a>(argument: &'static str, value: Option<&'a str>) -> Result<&'a str, Error> {
    given_text(argument, required(argument, value)?, MAX_NAME)
}

fn within(argument: &'static str, value: Option<i32>, most: i32) -> Result<i32, Error> {
    let value = required(argument, value)?;
    if (1..=most).contains(&value) {
        return Ok(value);
    }
    Err(Error::ArgumentBounds { argument, why: format!("It is {value}; it must be 1 to {most}.") })
}

fn data(argument: &'static str, value: Option<JsonDatum>) -> Result<JsonDatum, Error> {
    let value = required(argument, value)?;
    bounded_json(argument, value, MAX_DATA_BYTES, MAX_DATA_DEPTH)?;
    Ok(value)
}

/// Locks one saga, whoever has it now.
fn locked(session: &Session, saga: Uuid) -> Result<Held, Error> {
    if Running::has(saga) {
        let why = "A function that a step of this session's batch calls would change a saga of the batch.";
        return Err(Error::SagaNested { why });
    }
    store::load(session, Which::One(saga))?.pop().ok_or(Error::SagaNotFound { saga })
}

/// Writes what somebody has decided about a saga.
fn written(session: &Session, mut held: Held, actor: &str) -> Result<Held, Error> {
    store::save(session, std::slice::from_mut(&mut held), actor)?;
    let now = crate::pg::server::clock_micros();
    store::wake_parents(session, std::slice::from_ref(&held), now)?;
    Ok(held)
}

/// A refusal about that saga.
fn refused(saga: Uuid) -> impl FnOnce(Refusal) -> Error {
    move |refusal| match refusal {
        Refusal::State(why) => Error::SagaState { saga, why },
        Refusal::PastReturn | Refusal::LeaseLost => Error::PastReturn { saga },
    }
}
