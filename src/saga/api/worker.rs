//! Steps that are done outside.

use super::super::core::{Claimed, FailureReport, Kind, Lease, Refusal};
use super::super::held::Held;
use super::super::running::Running;
use super::super::store::{self, Which};
use super::{data, locked, name, within, written};
use crate::error::Error;
use crate::pg::types::JsonBytes;
use crate::pg::{JsonDatum, Many, PRESENT, Session, Statement, Text, Time, finish, server};
use crate::txn_processing::bounds::given_reason;
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{acknowledge_again, id, required, sql_id};
use pgrx::prelude::*;
use uuid::Uuid;

const MAX_STEPS: i32 = 1_000;
const MAX_TYPES: usize = 100;
/// A week.
const MAX_LEASE_MS: i32 = 604_800_000;
const MICROS_PER_MS: i64 = 1_000;

/// What an action or a compensation is when its worker has done it.
const COMPLETED: &str = "completed";

static TOKEN: Statement =
    Statement::new(c"SELECT pg_catalog.nextval('saga.lease_token_seq'::pg_catalog.regclass)", &[]);

/// A step as it is handed out.
struct HandedOut {
    saga: Uuid,
    saga_type: String,
    step: Uuid,
    number: i32,
    name: String,
    effect: Uuid,
    work_type: String,
    token: i64,
    claimed: Claimed,
    context: JsonBytes,
    outputs: JsonBytes,
}

fn hand_out(session: &Session, held: &mut Held, lease: &mut Lease) -> Result<Option<HandedOut>, Error> {
    lease.token =
        session.one(&TOKEN, &[], |row| row.bigint(1).expect(PRESENT))?.expect("a sequence has more");
    let Some(claimed) = held.machine().claim(lease) else { return Ok(None) };
    held.name_undos();
    let step = &held.saga.steps[claimed.step];
    let effect = match claimed.kind {
        Kind::Action => step.id,
        Kind::Compensation => held.saga.undos[claimed.step].as_ref().expect("it was claimed").id,
    };
    let work = held.saga.work.as_ref().expect("it waits for the worker");
    Ok(Some(HandedOut {
        saga: held.saga.id,
        saga_type: held.saga_type.clone(),
        step: step.id,
        number: claimed.step as i32 + 1,
        name: held.plan.steps[claimed.step].name.clone(),
        effect,
        work_type: work.0.clone(),
        token: lease.token,
        claimed,
        context: held.context.to_bytes(),
        outputs: held.all_outputs()?.to_bytes(),
    }))
}

fn claim_of_type(
    session: &Session,
    of_type: &str,
    most: i32,
    lease: &mut Lease,
) -> Result<Vec<HandedOut>, Error> {
    let mut held = store::load(session, Which::Work(most, server::clock_micros(), of_type))?;
    // A step's function claims: what its own session is running is not as it is stored.
    held.retain(|held| !Running::has(held.saga.id));
    let mut handed_out = Vec::new();
    for held in &mut held {
        handed_out.extend(hand_out(session, held, lease)?);
    }
    store::save(session, &mut held, &lease.worker)?;
    Ok(handed_out)
}

fn types_of(types: Option<Many<String>>) -> Result<Option<Vec<String>>, Error> {
    let Some(types) = types else { return Ok(None) };
    let wrong = |why: String| Err(Error::ArgumentBounds { argument: "types", why });
    if types.0.len() > MAX_TYPES {
        return wrong(format!("It has {} elements; the most is {MAX_TYPES}.", types.0.len()));
    }
    let mut given = Vec::new();
    for of_type in types.0 {
        let Some(of_type) = of_type else { return wrong("One of its elements is null.".into()) };
        if !given.contains(&of_type) {
            given.push(of_type);
        }
    }
    Ok(Some(given))
}

/// A row of the result.
type Line = (
    pgrx::Uuid,
    String,
    pgrx::Uuid,
    i32,
    String,
    &'static str,
    pgrx::Uuid,
    String,
    i32,
    i64,
    Time,
    JsonBytes,
    JsonBytes,
);

fn line(out: HandedOut) -> Line {
    let claimed = out.claimed;
    (
        sql_id(out.saga),
        out.saga_type,
        sql_id(out.step),
        out.number,
        out.name,
        claimed.kind.text(),
        sql_id(out.effect),
        out.work_type,
        claimed.attempt,
        out.token,
        Time(claimed.until),
        out.context,
        out.outputs,
    )
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn claim_step(
    worker: Option<Text>,
    types: default!(Option<Many<String>>, "NULL"),
    lease_ms: default!(Option<i32>, 30000),
    max_steps: default!(Option<i32>, 1),
) -> TableIterator<
    'static,
    (
        name!(saga_id, pgrx::Uuid),
        name!(saga_type, String),
        name!(step_id, pgrx::Uuid),
        name!(step_number, i32),
        name!(step_name, String),
        name!(kind, &'static str),
        name!(effect_id, pgrx::Uuid),
        name!(work_type, String),
        name!(attempt, i32),
        name!(lease_token, i64),
        name!(leased_until, Time),
        name!(context, JsonBytes),
        name!(outputs, JsonBytes),
    ),
> {
    let result = (|| {
        let worker = name("worker", worker.as_deref())?;
        let types = types_of(types)?;
        let lease_ms = within("lease_ms", lease_ms, MAX_LEASE_MS)?;
        let most = within("max_steps", max_steps, MAX_STEPS)?;
        if !server::is_read_committed() {
            return Err(Error::IsolationLevel);
        }
        let desk = Desk::open();
        let session = desk.session();
        let types = types.map_or_else(|| store::work_types(session), Ok)?;
        let mut lease =
            Lease { worker: worker.to_owned(), token: 0, micros: i64::from(lease_ms) * MICROS_PER_MS };
        let mut lines: Vec<Line> = Vec::new();
        for of_type in types {
            let left = most - lines.len() as i32;
            if left > 0 {
                lines.extend(claim_of_type(session, &of_type, left, &mut lease)?.into_iter().map(line));
            }
        }
        Ok(lines)
    })();
    drop(worker);
    TableIterator::new(finish(result))
}

/// A step that a worker says something about: its saga, locked, and its place.
fn step_of(session: &Session, step: Uuid) -> Result<(Held, usize), Error> {
    let (saga, at) = store::saga_of_step(session, step)?;
    Ok((locked(session, saga)?, at))
}

fn refused(step: Uuid, saga: Uuid, token: i64) -> impl FnOnce(Refusal) -> Error {
    move |refusal| match refusal {
        Refusal::State(why) => Error::SagaState { saga, why },
        Refusal::LeaseLost | Refusal::PastReturn => Error::StepLeaseLost { step, token },
    }
}

/// Whatever the step, or its compensation, has come to, by the token.
fn status_of(held: &Held, at: usize, token: i64) -> &'static str {
    let undo = held.saga.undos[at].as_ref().filter(|undo| undo.effort.lease_token == Some(token));
    undo.map_or(held.saga.steps[at].status.text(), |undo| undo.status.text())
}

/// Who has the lease, or had it.
fn worker_of(held: &Held, at: usize, token: i64) -> String {
    let undo = held.saga.undos[at].as_ref().map(|undo| &undo.effort);
    let effort = undo.filter(|effort| effort.lease_token == Some(token));
    effort.unwrap_or(&held.saga.steps[at].effort).claimed_by.clone().unwrap_or_default()
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn complete_step(
    step_id: Option<pgrx::Uuid>,
    lease_token: Option<i64>,
    output: default!(Option<JsonDatum>, "'{}'"),
) -> Text {
    let result = (|| {
        let step = id(required("step_id", step_id)?);
        let token = required("lease_token", lease_token)?;
        let output = data("output", output)?;
        let desk = Desk::open();
        let (mut held, at) = step_of(desk.session(), step)?;
        let is_undo = held.saga.undos[at].as_ref().is_some_and(|undo| undo.effort.lease_token == Some(token));
        let is_new = held.machine().complete(at, token).map_err(refused(step, held.saga.id, token))?;
        if !is_new {
            // The step may have been undone since.
            return acknowledge_again(desk.session()).map(|()| COMPLETED);
        }
        let place = if is_undo { &mut held.undo_outputs[at] } else { &mut held.outputs[at] };
        *place = Some(output);
        let worker = worker_of(&held, at, token);
        written(desk.session(), held, &worker)?;
        Ok(COMPLETED)
    })();
    finish(result).into()
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn fail_step(
    step_id: Option<pgrx::Uuid>,
    lease_token: Option<i64>,
    reason: Option<Text>,
    retryable: default!(Option<bool>, true),
    effect_possible: default!(Option<bool>, false),
) -> Text {
    let result = (|| {
        let step = id(required("step_id", step_id)?);
        let token = required("lease_token", lease_token)?;
        let report = FailureReport {
            reason: given_reason("reason", required("reason", reason.as_deref())?)?.to_owned(),
            may_try_again: required("retryable", retryable)?,
            effect_possible: required("effect_possible", effect_possible)?,
        };
        let desk = Desk::open();
        let (mut held, at) = step_of(desk.session(), step)?;
        let saga = held.saga.id;
        if !held.machine().fail(at, token, &report).map_err(refused(step, saga, token))? {
            return acknowledge_again(desk.session()).map(|()| status_of(&held, at, token));
        }
        let worker = worker_of(&held, at, token);
        let held = written(desk.session(), held, &worker)?;
        Ok(status_of(&held, at, token))
    })();
    drop(reason);
    finish(result).into()
}

// Symbols of the library are one name space, and subscriptions have leases too.
#[pg_extern(schema = "saga", name = "extend_lease", volatile, parallel_unsafe)]
fn extend_step_lease(
    step_id: Option<pgrx::Uuid>,
    lease_token: Option<i64>,
    lease_ms: default!(Option<i32>, 30000),
) -> Time {
    let result = (|| {
        let step = id(required("step_id", step_id)?);
        let token = required("lease_token", lease_token)?;
        let micros = i64::from(within("lease_ms", lease_ms, MAX_LEASE_MS)?) * MICROS_PER_MS;
        let desk = Desk::open();
        let (mut held, at) = step_of(desk.session(), step)?;
        let saga = held.saga.id;
        let until = held.machine().extend(at, token, micros).map_err(refused(step, saga, token))?;
        written(desk.session(), held, &desk.caller)?;
        Ok(Time(until))
    })();
    finish(result)
}
