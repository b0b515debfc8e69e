//! The SQL functions of commands.

use super::core::{Fate, MAX_ATTEMPTS, fate};
use super::handlers::{Function, Signature};
use super::running::Running;
use super::store::{self, Command, NewCommand};
use crate::error::Error;
use crate::guc;
use crate::pg::call::{ActingAs, Value, call};
use crate::pg::ereport::Failure;
use crate::pg::server::{self, LockPatience};
use crate::pg::subtransaction::attempted;
use crate::pg::types::JsonBytes;
use crate::pg::{JsonDatum, RegProc, Text, finish};
use crate::txn_processing::bounds::{bounded_json, given_text};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{delay_ms, id, required, sql_id};
use pgrx::prelude::*;
use uuid::Uuid;

const MAX_NAME: usize = 100;
const MAX_CORRELATION: usize = 200;
const MAX_PAYLOAD_BYTES: usize = 1 << 20;
const MAX_PAYLOAD_DEPTH: usize = 64;
/// The most commands of one call.
const MAX_ITEMS: i32 = 1_000;
const MICROS_PER_MS: i64 = 1_000;

pub fn checked_name<'a>(argument: &'static str, value: Option<&'a str>) -> Result<&'a str, Error> {
    given_text(argument, required(argument, value)?, MAX_NAME)
}

fn within(argument: &'static str, value: i32, most: i32) -> Result<i32, Error> {
    if (1..=most).contains(&value) {
        return Ok(value);
    }
    Err(Error::ArgumentBounds { argument, why: format!("It is {value}; it must be 1 to {most}.") })
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
fn register_handler(
    command_type: Option<Text>,
    handler: Option<RegProc>,
    max_attempts: default!(Option<i32>, 5),
) {
    let result = (|| {
        let of_type = checked_name("command_type", command_type.as_deref())?;
        let handler = required("handler", handler)?;
        let most = within("max_attempts", required("max_attempts", max_attempts)?, MAX_ATTEMPTS)?;
        let desk = Desk::open();
        let function = Function::checked(desk.session(), handler, Signature::Command, &desk.caller)?;
        store::set_handler(desk.session(), of_type, &function, most, &desk.caller)
    })();
    drop(command_type);
    finish(result);
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
fn unregister_handler(command_type: Option<Text>) {
    let result = checked_name("command_type", command_type.as_deref()).and_then(|of_type| {
        if store::drop_handler(Desk::open().session(), of_type)? {
            return Ok(());
        }
        Err(Error::CommandUnknown { command_type: of_type.to_owned() })
    });
    drop(command_type);
    finish(result);
}

/// Calls the handler as `role`; what it answered, and the events that it appended.
fn carry_out(command: &Command, role: pg_sys::Oid) -> Result<(Option<JsonBytes>, Vec<Uuid>), Error> {
    let unknown = || Error::CommandUnknown { command_type: command.command_type.clone() };
    let handler = command.handler.as_ref().ok_or_else(unknown)?;
    let running = Running::begin();
    let _role = ActingAs::role(role);
    let answer = call(&handler.schema, &handler.name, &[Value::Row(&command.row)], true)?;
    Ok((answer, running.events()))
}

/// Adds it, or finds that it was there already with the same content.
fn add(desk: &Desk, new: &NewCommand) -> Result<bool, Error> {
    loop {
        if new.add(desk.session(), &desk.caller)? {
            return Ok(true);
        }
        match new.is_same(desk.session(), &desk.caller)? {
            Some(true) => return Ok(false),
            Some(false) => return Err(Error::CommandConflict { command: new.id }),
            // It was deleted since: the id is free again.
            None => {}
        }
    }
}

fn submit(new: &NewCommand, at_once: bool) -> Result<JsonBytes, Error> {
    let desk = Desk::open();
    if !store::has_handler(desk.session(), new.command_type)? {
        return Err(Error::CommandUnknown { command_type: new.command_type.to_owned() });
    }
    if !add(&desk, new)? || !at_once {
        return store::answer(desk.session(), new.id);
    }
    let command = Command::take(desk.session(), new.id)?;
    // The handler is the caller's, with the caller's rights and none of ours.
    drop(desk);
    let (result, events) = carry_out(&command, server::current_user())?;
    let desk = Desk::open();
    command.complete(desk.session(), result.map(JsonDatum::of_bytes), &events)?;
    store::answer(desk.session(), new.id)
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn submit_command(
    command_type: Option<Text>,
    aggregate_type: Option<Text>,
    payload: Option<JsonDatum>,
    aggregate_id: default!(Option<pgrx::Uuid>, "NULL"),
    command_id: default!(Option<pgrx::Uuid>, "NULL"),
    mode: default!(Option<Text>, "'immediate'"),
    correlation_id: default!(Option<Text>, "NULL"),
    max_attempts: default!(Option<i32>, "NULL"),
) -> JsonBytes {
    let result = (|| {
        let of_type = checked_name("command_type", command_type.as_deref())?;
        let of_aggregate = checked_name("aggregate_type", aggregate_type.as_deref())?;
        let payload = required("payload", payload)?;
        bounded_json("payload", payload, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH)?;
        let at_once = match required("mode", mode.as_deref())? {
            "immediate" => true,
            "queued" => false,
            other => {
                let why = format!("It is {other:?}; it must be immediate or queued.");
                return Err(Error::ArgumentBounds { argument: "mode", why });
            }
        };
        if let Some(text) = correlation_id.as_deref() {
            given_text("correlation_id", text, MAX_CORRELATION)?;
        }
        let most = max_attempts.map(|most| within("max_attempts", most, MAX_ATTEMPTS)).transpose()?;
        let new = NewCommand {
            id: command_id.map_or_else(Uuid::now_v7, id),
            command_type: of_type,
            aggregate_type: of_aggregate,
            aggregate: aggregate_id.map(id),
            payload,
            correlation: correlation_id.as_deref(),
            max_attempts: most,
        };
        submit(&new, at_once)
    })();
    drop((command_type, aggregate_type, mode, correlation_id));
    finish(result)
}

/// One row of the result.
type Line = (pgrx::Uuid, &'static str, String, Option<String>);

fn next_attempt(command: &Command, failure: &Failure) -> Option<i64> {
    let attempts = command.attempts.saturating_add(1);
    match fate(&failure.sqlstate, attempts, command.max_attempts) {
        Fate::Failed => None,
        Fate::Again => {
            let ms = delay_ms(guc::queue_retry_delay_ms(), attempts, server::random_bits());
            Some(server::clock_micros() + ms as i64 * MICROS_PER_MS)
        }
    }
}

fn process_one(id: Uuid, holds_something: &mut bool) -> Result<Line, Error> {
    let command = Command::take(Desk::open().session(), id)?;
    let attempt = {
        let _patience = LockPatience::giving_way(guc::queue_lock_timeout_ms(), *holds_something);
        attempted(|| {
            let gone = || Error::SubmitterGone { role: command.submitted_by.clone() };
            carry_out(&command, command.submitter.ok_or_else(gone)?)
        })?
    };
    let desk = Desk::open();
    match attempt {
        Ok((result, events)) => {
            *holds_something = true;
            command.complete(desk.session(), result.map(JsonDatum::of_bytes), &events)?;
            Ok((sql_id(id), "completed", "00000".into(), None))
        }
        Err(failure) => {
            let next = next_attempt(&command, &failure);
            let status = command.fail(desk.session(), &failure, next)?;
            Ok((sql_id(id), status, failure.sqlstate, Some(failure.message)))
        }
    }
}

fn process(max_commands: Option<i32>) -> Result<Vec<Line>, Error> {
    let most = within("max_commands", required("max_commands", max_commands)?, MAX_ITEMS)?;
    if !server::is_read_committed() {
        return Err(Error::IsolationLevel);
    }
    if Running::is_any() {
        return Err(Error::CommandNested);
    }
    let claimed = store::claim(Desk::open().session(), most, server::clock_micros())?;
    let mut holds_something = false;
    claimed.into_iter().map(|id| process_one(id, &mut holds_something)).collect()
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn process_commands(
    max_commands: default!(Option<i32>, 100),
) -> TableIterator<
    'static,
    (
        name!(command_id, pgrx::Uuid),
        name!(status, &'static str),
        name!(code, String),
        name!(message, Option<String>),
    ),
> {
    TableIterator::new(finish(process(max_commands)))
}
