//! Signals, cancelling, and what people decide about parked sagas.

use super::super::core::{Machine, Outcome, Refusal};
use super::super::held::Held;
use super::super::running::Running;
use super::super::store::{self, Which};
use super::{data, locked, name, refused, written};
use crate::error::Error;
use crate::pg::{Arg, JsonDatum, Session, Statement, Text, Type, finish};
use crate::txn_processing::bounds::given_reason;
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{acknowledge_again, id, required, sql_id};
use pgrx::prelude::*;
use uuid::Uuid;

static SEND: Statement = Statement::new(
    c"INSERT INTO saga.signals (signal_id, saga_id, name, payload, sent_by) VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (signal_id) DO NOTHING",
    &[Type::Uuid, Type::Uuid, Type::Text, Type::Jsonb, Type::Text],
);

static IS_SAME: Statement = Statement::new(
    c"SELECT g.saga_id = $2 AND g.name = $3 AND g.payload::text = $4::text AND g.sent_by = $5
      FROM saga.signals g WHERE g.signal_id = $1",
    &[Type::Uuid, Type::Uuid, Type::Text, Type::Jsonb, Type::Text],
);

/// Whether the signal is there already.
fn is_sent(session: &Session, signal: Uuid, content: &[Arg]) -> Result<bool, Error> {
    let row = session.run_latest(&IS_SAME, content)?.first();
    match row.map(|row| row.bool(1) == Some(true)) {
        None => Ok(false),
        Some(true) => acknowledge_again(session).map(|()| true),
        Some(false) => Err(Error::SignalConflict { signal }),
    }
}

fn send(signal: Uuid, saga: Uuid, of_name: &str, payload: JsonDatum) -> Result<(), Error> {
    let desk = Desk::open();
    let session = desk.session();
    let content = [
        Arg::Uuid(Some(signal)),
        Arg::Uuid(Some(saga)),
        Arg::Text(Some(of_name)),
        Arg::Jsonb(Some(payload)),
        Arg::Text(Some(&desk.caller)),
    ];
    // A retry is told so even when the saga has ended by now.
    if is_sent(session, signal, &content)? {
        return Ok(());
    }
    // Of a saga that this session is running the row is locked, and its state is in memory.
    let mut held = if Running::has(saga) {
        None
    } else {
        Some(store::load(session, Which::One(saga))?.pop().ok_or(Error::SagaNotFound { saga })?)
    };
    if let Some(held) = &mut held {
        held.machine().notice(of_name).map_err(refused(saga))?;
    }
    if session.run(&SEND, &content)?.count() == 0 {
        // It came from another session meanwhile.
        return is_sent(session, signal, &content).map(drop);
    }
    match held {
        Some(held) => written(session, held, &desk.caller).map(drop),
        None => {
            Running::nudge(saga);
            Ok(())
        }
    }
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn signal(
    saga_id: Option<pgrx::Uuid>,
    name: Option<Text>,
    payload: default!(Option<JsonDatum>, "'{}'"),
    signal_id: default!(Option<pgrx::Uuid>, "NULL"),
) -> pgrx::Uuid {
    let result = (|| {
        let saga = id(required("saga_id", saga_id)?);
        let of_name = self::name("name", name.as_deref())?;
        let payload = data("payload", payload)?;
        let signal = signal_id.map_or_else(Uuid::now_v7, id);
        send(signal, saga, of_name, payload).map(|()| sql_id(signal))
    })();
    drop(name);
    finish(result)
}

/// Has somebody decide about a saga, and answers its status after that.
fn decide(
    saga_id: Option<pgrx::Uuid>,
    reason: Option<&str>,
    decision: impl FnOnce(&mut Held, &str) -> Result<(), Refusal>,
) -> Result<Text, Error> {
    let saga = id(required("saga_id", saga_id)?);
    let reason = given_reason("reason", required("reason", reason)?)?;
    let desk = Desk::open();
    let mut held = locked(desk.session(), saga)?;
    decision(&mut held, reason).map_err(refused(saga))?;
    let held = written(desk.session(), held, &desk.caller)?;
    Ok(held.saga.status.text().into())
}

/// The same with one of the machine's own decisions.
fn by_machine(
    saga_id: Option<pgrx::Uuid>,
    reason: Option<Text>,
    decision: fn(&mut Machine, &str) -> Result<(), Refusal>,
) -> Text {
    let result = decide(saga_id, reason.as_deref(), |held, reason| decision(&mut held.machine(), reason));
    drop(reason);
    finish(result)
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn cancel(saga_id: Option<pgrx::Uuid>, reason: Option<Text>) -> Text {
    by_machine(saga_id, reason, |machine, reason| machine.cancel(reason))
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn retry_step(saga_id: Option<pgrx::Uuid>, reason: Option<Text>) -> Text {
    by_machine(saga_id, reason, |machine, reason| machine.retry_step(reason))
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn retry_compensation(saga_id: Option<pgrx::Uuid>, reason: Option<Text>) -> Text {
    by_machine(saga_id, reason, |machine, reason| machine.retry_compensation(reason))
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn resolve(
    saga_id: Option<pgrx::Uuid>,
    outcome: Option<Text>,
    reason: Option<Text>,
    output: default!(Option<JsonDatum>, "NULL"),
) -> Text {
    let result = (|| {
        let text = required("outcome", outcome.as_deref())?;
        let chosen = Outcome::of(text).ok_or_else(|| Error::ArgumentBounds {
            argument: "outcome",
            why: format!("It is {text:?}; it must be step_done, step_failed, completed or failed."),
        })?;
        let output = output.map(|output| data("output", Some(output))).transpose()?;
        decide(saga_id, reason.as_deref(), |held, reason| {
            if let Some(at) = held.machine().resolve(chosen, reason)? {
                held.outputs[at] = output.or(held.outputs[at]);
            }
            Ok(())
        })
    })();
    drop((outcome, reason));
    finish(result)
}
