//! Writing sagas, all of a transaction's at once.

use super::super::core::{Logged, Step, Undo, UndoStatus};
use super::super::held::Held;
use crate::error::Error;
use crate::pg::{Arg, JsonDatum, Session, Statement, Type};
use uuid::Uuid;

// No condition but the key, so that it goes by the key whatever the statistics say.
static SAGAS: Statement = Statement::new(
    c"UPDATE saga.sagas s
      SET status = o.status::saga.saga_status, current_step = o.current_step, completed_at = o.completed_at,
          error_code = o.error_code, error_message = o.error_message, due_at = o.due_at, work_type = o.work_type,
          work_at = o.work_at, waits_for = o.waits_for, parked_reason = o.parked_reason,
          past_return = o.past_return = 1, transitions = o.transitions
      FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
          AS o (saga_id, status, current_step, completed_at, error_code, error_message, due_at, work_type, work_at,
                waits_for, parked_reason, past_return, transitions)
      WHERE s.saga_id = o.saga_id",
    &[
        Type::UuidArray, Type::TextArray, Type::IntArray, Type::TimestampArray, Type::TextArray, Type::TextArray,
        Type::TimestampArray, Type::TextArray, Type::TimestampArray, Type::TextArray, Type::TextArray,
        Type::IntArray, Type::IntArray,
    ],
);

// flags: 1 compensation_needed, 2 effect_possible.
static STEPS: Statement = Statement::new(
    c"UPDATE saga.saga_steps p
      SET status = o.status, input_data = o.input_data, output_data = o.output_data, error_code = o.error_code,
          error_message = o.error_message, started_at = o.started_at, completed_at = o.completed_at,
          compensation_needed = o.flags & 1 <> 0, effect_possible = o.flags & 2 <> 0,
          compensated_at = o.compensated_at, attempts = o.attempts, put_off = o.put_off,
          next_attempt_at = o.next_attempt_at, timeout_at = o.timeout_at, lease_token = o.lease_token,
          leased_until = o.leased_until, claimed_by = o.claimed_by, child_saga_id = o.child_saga_id
      FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
          AS o (step_id, status, input_data, output_data, error_code, error_message, started_at, completed_at, flags,
                compensated_at, attempts, put_off, next_attempt_at, timeout_at, lease_token, leased_until, claimed_by,
                child_saga_id)
      WHERE p.step_id = o.step_id",
    &[
        Type::UuidArray, Type::TextArray, Type::JsonbArray, Type::JsonbArray, Type::TextArray, Type::TextArray,
        Type::TimestampArray, Type::TimestampArray, Type::IntArray, Type::TimestampArray, Type::IntArray,
        Type::IntArray, Type::TimestampArray, Type::TimestampArray, Type::BigIntArray, Type::TimestampArray,
        Type::TextArray, Type::UuidArray,
    ],
);

static UNDOS: Statement = Statement::new(
    c"INSERT INTO saga.compensations AS c
          (compensation_id, saga_id, step_number, status, output_data, error_code, error_message, started_at,
           completed_at, attempts, put_off, next_attempt_at, lease_token, leased_until, claimed_by)
      SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
      ON CONFLICT (compensation_id) DO UPDATE
      SET status = excluded.status, output_data = excluded.output_data, error_code = excluded.error_code,
          error_message = excluded.error_message, started_at = excluded.started_at,
          completed_at = excluded.completed_at, attempts = excluded.attempts, put_off = excluded.put_off,
          next_attempt_at = excluded.next_attempt_at, lease_token = excluded.lease_token,
          leased_until = excluded.leased_until, claimed_by = excluded.claimed_by",
    &[
        Type::UuidArray,
        Type::UuidArray,
        Type::IntArray,
        Type::TextArray,
        Type::JsonbArray,
        Type::TextArray,
        Type::TextArray,
        Type::TimestampArray,
        Type::TimestampArray,
        Type::IntArray,
        Type::IntArray,
        Type::TimestampArray,
        Type::BigIntArray,
        Type::TimestampArray,
        Type::TextArray,
    ],
);

static LOG: Statement = Statement::new(
    c"INSERT INTO saga.transitions
          (saga_id, transition_no, recorded_at, step_number, attempt, subject, from_state, to_state, code, message, actor)
      SELECT o.saga_id, o.transition_no, o.recorded_at, nullif(o.step_number, 0), nullif(o.attempt, 0), o.subject,
             o.from_state, o.to_state, o.code, o.message, $11
      FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
          AS o (saga_id, transition_no, recorded_at, step_number, attempt, subject, from_state, to_state, code, message)",
    &[
        Type::UuidArray, Type::IntArray, Type::TimestampArray, Type::IntArray, Type::IntArray, Type::TextArray,
        Type::TextArray, Type::TextArray, Type::TextArray, Type::TextArray, Type::Text,
    ],
);

// Nobody waits for a parent while holding its child: one that is locked looks by itself.
static WAKE: Statement = Statement::new(
    c"WITH free AS (
          SELECT s.saga_id FROM saga.sagas s
          WHERE s.saga_id = ANY ($1) AND s.waits_for = 'child' AND s.due_at > $2
          FOR NO KEY UPDATE SKIP LOCKED)
      UPDATE saga.sagas s SET due_at = $2 FROM free WHERE s.saga_id = free.saga_id",
    &[Type::UuidArray, Type::Timestamp],
);

fn column<'v, V, T>(rows: &'v [V], of: impl Fn(&'v V) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

/// Writes what has changed, and the log of it, in the name of `actor`.
pub fn save(session: &Session, held: &mut [Held], actor: &str) -> Result<(), Error> {
    let mut changed: Vec<&mut Held> = held.iter_mut().filter(|held| held.saga.has_changed()).collect();
    if changed.is_empty() {
        return Ok(());
    }
    for held in &mut changed {
        held.saga.check(&held.plan);
        held.name_undos();
    }
    {
        let changed: Vec<&Held> = changed.iter().map(|held| &**held).collect();
        sagas(session, &changed)?;
        steps(session, &changed)?;
        undos(session, &changed)?;
        log(session, &changed, actor)?;
    }
    for held in &mut changed {
        held.logged += held.saga.log.len() as i32;
        held.saga.log.clear();
        held.saga.steps.iter_mut().for_each(|step| step.dirty = false);
        held.saga.undos.iter_mut().flatten().for_each(|undo| undo.dirty = false);
        held.saga.mark_read();
    }
    Ok(())
}

fn sagas(session: &Session, changed: &[&Held]) -> Result<(), Error> {
    let failure = |held: &&Held| held.saga.failure.clone();
    let codes = column(changed, |held| failure(held).map(|why| why.code.unwrap_or_default()));
    let messages = column(changed, |held| failure(held).map(|why| bounded(&why.message)));
    let parked = column(changed, |held| held.saga.parked.as_deref().map(bounded));
    let rows = session.run(
        &SAGAS,
        &[
            Arg::UuidArray(&column(changed, |held| held.saga.id)),
            Arg::TextArray(&column(changed, |held| Some(held.saga.status.text()))),
            Arg::IntArray(&column(changed, |held| held.saga.current as i32)),
            Arg::TimestampArray(&column(changed, |held| held.saga.completed_at)),
            Arg::TextArray(&column(&codes, |code| code.as_deref())),
            Arg::TextArray(&column(&messages, |message| message.as_deref())),
            Arg::TimestampArray(&column(changed, |held| held.saga.due_at)),
            Arg::TextArray(&column(changed, |held| {
                held.saga.work.as_ref().map(|(of_type, _)| of_type.as_str())
            })),
            Arg::TimestampArray(&column(changed, |held| held.saga.work.as_ref().map(|(_, at)| *at))),
            Arg::TextArray(&column(changed, |held| held.saga.waits.map(|waits| waits.text()))),
            Arg::TextArray(&column(&parked, |why| why.as_deref())),
            Arg::IntArray(&column(changed, |held| i32::from(held.saga.past_return))),
            Arg::IntArray(&column(changed, |held| held.logged + held.saga.log.len() as i32)),
        ],
    )?;
    if rows.count() == changed.len() { Ok(()) } else { Err(Error::ClaimLost) }
}

fn steps(session: &Session, changed: &[&Held]) -> Result<(), Error> {
    let mut rows: Vec<(&Step, Option<JsonDatum>, Option<JsonDatum>)> = Vec::new();
    for held in changed {
        let data = held.inputs.iter().zip(&held.outputs);
        let all = held.saga.steps.iter().zip(data);
        rows.extend(
            all.filter(|(step, _)| step.dirty).map(|(step, (input, output))| (step, *input, *output)),
        );
    }
    if rows.is_empty() {
        return Ok(());
    }
    let messages =
        column(&rows, |(step, ..)| step.effort.failure.as_ref().map(|failure| bounded(&failure.message)));
    let flags = |step: &Step| i32::from(step.needs_undo) + 2 * i32::from(step.effect_possible);
    let written = session.run(
        &STEPS,
        &[
            Arg::UuidArray(&column(&rows, |(step, ..)| step.id)),
            Arg::TextArray(&column(&rows, |(step, ..)| Some(step.status.text()))),
            Arg::JsonbArray(&column(&rows, |(_, input, _)| *input)),
            Arg::JsonbArray(&column(&rows, |(.., output)| *output)),
            Arg::TextArray(&column(&rows, |(step, ..)| code(&step.effort.failure))),
            Arg::TextArray(&column(&messages, |message| message.as_deref())),
            Arg::TimestampArray(&column(&rows, |(step, ..)| step.effort.started_at)),
            Arg::TimestampArray(&column(&rows, |(step, ..)| step.effort.completed_at)),
            Arg::IntArray(&column(&rows, |(step, ..)| flags(step))),
            Arg::TimestampArray(&column(&rows, |(step, ..)| step.compensated_at)),
            Arg::IntArray(&column(&rows, |(step, ..)| step.effort.attempts)),
            Arg::IntArray(&column(&rows, |(step, ..)| step.effort.put_off)),
            Arg::TimestampArray(&column(&rows, |(step, ..)| step.effort.next_attempt_at)),
            Arg::TimestampArray(&column(&rows, |(step, ..)| step.timeout_at)),
            Arg::BigIntArray(&column(&rows, |(step, ..)| step.effort.lease_token)),
            Arg::TimestampArray(&column(&rows, |(step, ..)| step.effort.leased_until)),
            Arg::TextArray(&column(&rows, |(step, ..)| step.effort.claimed_by.as_deref())),
            Arg::UuidOptions(&column(&rows, |(step, ..)| step.child)),
        ],
    )?;
    if written.count() == rows.len() { Ok(()) } else { Err(Error::ClaimLost) }
}

fn undos(session: &Session, changed: &[&Held]) -> Result<(), Error> {
    let mut rows: Vec<(Uuid, i32, &Undo, Option<JsonDatum>)> = Vec::new();
    for held in changed {
        for (at, undo) in held.saga.undos.iter().enumerate() {
            if let Some(undo) = undo.as_ref().filter(|undo| undo.dirty) {
                let output = held.undo_outputs[at].filter(|_| undo.status == UndoStatus::Completed);
                rows.push((held.saga.id, at as i32 + 1, undo, output));
            }
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let messages = column(&rows, |(_, _, undo, _)| undo.effort.failure.as_ref().map(|f| bounded(&f.message)));
    session.run(
        &UNDOS,
        &[
            Arg::UuidArray(&column(&rows, |(_, _, undo, _)| undo.id)),
            Arg::UuidArray(&column(&rows, |(saga, ..)| *saga)),
            Arg::IntArray(&column(&rows, |(_, number, ..)| *number)),
            Arg::TextArray(&column(&rows, |(_, _, undo, _)| Some(undo.status.text()))),
            Arg::JsonbArray(&column(&rows, |(.., output)| *output)),
            Arg::TextArray(&column(&rows, |(_, _, undo, _)| code(&undo.effort.failure))),
            Arg::TextArray(&column(&messages, |message| message.as_deref())),
            Arg::TimestampArray(&column(&rows, |(_, _, undo, _)| undo.effort.started_at)),
            Arg::TimestampArray(&column(&rows, |(_, _, undo, _)| undo.effort.completed_at)),
            Arg::IntArray(&column(&rows, |(_, _, undo, _)| undo.effort.attempts)),
            Arg::IntArray(&column(&rows, |(_, _, undo, _)| undo.effort.put_off)),
            Arg::TimestampArray(&column(&rows, |(_, _, undo, _)| undo.effort.next_attempt_at)),
            Arg::BigIntArray(&column(&rows, |(_, _, undo, _)| undo.effort.lease_token)),
            Arg::TimestampArray(&column(&rows, |(_, _, undo, _)| undo.effort.leased_until)),
            Arg::TextArray(&column(&rows, |(_, _, undo, _)| undo.effort.claimed_by.as_deref())),
        ],
    )?;
    Ok(())
}

fn log(session: &Session, changed: &[&Held], actor: &str) -> Result<(), Error> {
    let mut rows: Vec<(Uuid, i32, &Logged)> = Vec::new();
    for held in changed {
        let numbers = held.logged + 1..;
        rows.extend(numbers.zip(&held.saga.log).map(|(number, logged)| (held.saga.id, number, logged)));
    }
    if rows.is_empty() {
        return Ok(());
    }
    let messages = column(&rows, |(.., logged)| logged.failure.as_ref().map(|f| bounded(&f.message)));
    session.run(
        &LOG,
        &[
            Arg::UuidArray(&column(&rows, |(saga, ..)| *saga)),
            Arg::IntArray(&column(&rows, |(_, number, _)| *number)),
            Arg::TimestampArray(&column(&rows, |(.., logged)| Some(logged.at))),
            Arg::IntArray(&column(&rows, |(.., logged)| logged.step.map_or(0, |at| at as i32 + 1))),
            Arg::IntArray(&column(&rows, |(.., logged)| logged.attempt.unwrap_or(0))),
            Arg::TextArray(&column(&rows, |(.., logged)| Some(logged.subject.text()))),
            Arg::TextArray(&column(&rows, |(.., logged)| logged.from)),
            Arg::TextArray(&column(&rows, |(.., logged)| Some(logged.to))),
            Arg::TextArray(&column(&rows, |(.., logged)| code(&logged.failure))),
            Arg::TextArray(&column(&messages, |message| message.as_deref())),
            Arg::Text(Some(actor)),
        ],
    )?;
    Ok(())
}

fn code(failure: &Option<super::super::core::Failure>) -> Option<&str> {
    failure.as_ref()?.code.as_deref()
}

/// Characters of a message that are kept.
const MOST: usize = 1_000;

fn bounded(text: &str) -> String {
    text.chars().take(MOST).collect()
}

/// Tells the parents of sagas that have ended, where nobody is at them.
pub fn wake_parents(session: &Session, held: &[Held], now: i64) -> Result<(), Error> {
    let has_ended = |held: &&Held| held.saga.status.has_ended();
    let parents: Vec<Uuid> = held.iter().filter(has_ended).filter_map(|held| held.parent).collect();
    if parents.is_empty() {
        return Ok(());
    }
    session.run(&WAKE, &[Arg::UuidArray(&parents), Arg::Timestamp(Some(now))]).map(drop)
}
