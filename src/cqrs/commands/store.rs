//! Commands and their handlers as rows.

use super::handlers::Function;
use crate::error::Error;
use crate::pg::call::Composite;
use crate::pg::ereport::Failure;
use crate::pg::plans::OrderedPlans;
use crate::pg::types::JsonBytes;
use crate::pg::{Arg, JsonDatum, PRESENT, Session, Statement, Type};
use pgrx::pg_sys;
use uuid::Uuid;

static SET_HANDLER: Statement = Statement::new(
    c"INSERT INTO cqrs.command_handlers (command_type, handler_schema, handler_name, max_attempts, registered_by)
      VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (command_type) DO UPDATE
      SET handler_schema = excluded.handler_schema, handler_name = excluded.handler_name,
          max_attempts = excluded.max_attempts, registered_by = excluded.registered_by,
          registered_at = clock_timestamp()",
    &[Type::Text, Type::Text, Type::Text, Type::Int, Type::Text],
);

static DROP_HANDLER: Statement =
    Statement::new(c"DELETE FROM cqrs.command_handlers WHERE command_type = $1", &[Type::Text]);

static HAS_HANDLER: Statement =
    Statement::new(c"SELECT 1 FROM cqrs.command_handlers WHERE command_type = $1", &[Type::Text]);

static ADD: Statement = Statement::new(
    c"INSERT INTO cqrs.commands
          (command_id, command_type, aggregate_type, aggregate_id, payload, correlation_id, max_attempts, submitted_by)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
      ON CONFLICT (command_id) DO NOTHING",
    &[
        Type::Uuid, Type::Text, Type::Text, Type::Uuid, Type::Jsonb, Type::Text, Type::Int, Type::Text,
    ],
);

// A number's scale is part of the payload, which = on jsonb does not see.
static IS_SAME: Statement = Statement::new(
    c"SELECT command_type = $2 AND aggregate_type = $3 AND aggregate_id IS NOT DISTINCT FROM $4
             AND payload::text = $5::text AND submitted_by = $6
      FROM cqrs.commands WHERE command_id = $1",
    &[Type::Uuid, Type::Text, Type::Text, Type::Uuid, Type::Jsonb, Type::Text],
);

static ANSWER: Statement = Statement::new(c"SELECT cqrs.command_result($1)", &[Type::Uuid]);

// The time is a parameter: a volatile function would not be asked in the index.
static CLAIM: Statement = Statement::new(
    c"SELECT c.command_id FROM cqrs.commands c
      WHERE c.status = 'pending' AND c.next_attempt_at <= $2
      ORDER BY c.created_at, c.command_id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED",
    &[Type::Int, Type::Timestamp],
);

static TAKE: Statement = Statement::new(
    c"SELECT c, c.command_type::text, h.handler_schema::text, h.handler_name::text, c.attempts,
             coalesce(c.max_attempts, h.max_attempts, 1), c.submitted_by, r.oid
      FROM cqrs.commands c
      LEFT JOIN cqrs.command_handlers h ON h.command_type = c.command_type
      LEFT JOIN pg_roles r ON r.rolname = c.submitted_by
      WHERE c.command_id = $1",
    &[Type::Uuid],
);

static COMPLETE: Statement = Statement::new(
    c"UPDATE cqrs.commands
      SET status = 'completed', result = $2, attempts = attempts + 1, processed_at = clock_timestamp(),
          error_code = NULL, error_message = NULL, error_detail = NULL
      WHERE command_id = $1 AND status = 'pending'",
    &[Type::Uuid, Type::Jsonb],
);

static LINK: Statement = Statement::new(
    c"INSERT INTO cqrs.command_events (event_id, command_id, global_position)
      SELECT e.event_id, $1, e.global_position FROM event_store.events e WHERE e.event_id = ANY ($2)
      ON CONFLICT (event_id) DO NOTHING",
    &[Type::Uuid, Type::UuidArray],
);

static FAIL: Statement = Statement::new(
    c"UPDATE cqrs.commands
      SET status = $2, attempts = attempts + 1, next_attempt_at = coalesce($3, next_attempt_at),
          processed_at = CASE $2 WHEN 'failed' THEN clock_timestamp() END,
          error_code = $4, error_message = $5, error_detail = $6
      WHERE command_id = $1 AND status = 'pending'",
    &[Type::Uuid, Type::Text, Type::Timestamp, Type::Text, Type::Text, Type::Text],
);

pub fn set_handler(
    session: &Session,
    command_type: &str,
    handler: &Function,
    max_attempts: i32,
    caller: &str,
) -> Result<(), Error> {
    let names = [Some(command_type), Some(&handler.schema), Some(&handler.name)].map(Arg::Text);
    let [command_type, schema, name] = names;
    let args = [command_type, schema, name, Arg::Int(Some(max_attempts)), Arg::Text(Some(caller))];
    session.run(&SET_HANDLER, &args).map(drop)
}

/// Whether there was one.
pub fn drop_handler(session: &Session, command_type: &str) -> Result<bool, Error> {
    Ok(session.run(&DROP_HANDLER, &[Arg::Text(Some(command_type))])?.count() > 0)
}

pub fn has_handler(session: &Session, command_type: &str) -> Result<bool, Error> {
    Ok(session.run(&HAS_HANDLER, &[Arg::Text(Some(command_type))])?.count() > 0)
}

/// A command as it is submitted.
pub struct NewCommand<'a> {
    pub id: Uuid,
    pub command_type: &'a str,
    pub aggregate_type: &'a str,
    pub aggregate: Option<Uuid>,
    pub payload: JsonDatum,
    pub correlation: Option<&'a str>,
    pub max_attempts: Option<i32>,
}

impl NewCommand<'_> {
    fn content(&self) -> [Arg<'_>; 5] {
        [
            Arg::Uuid(Some(self.id)),
            Arg::Text(Some(self.command_type)),
            Arg::Text(Some(self.aggregate_type)),
            Arg::Uuid(self.aggregate),
            Arg::Jsonb(Some(self.payload)),
        ]
    }

    /// Whether it was added; not where its id is there already.
    pub fn add(&self, session: &Session, caller: &str) -> Result<bool, Error> {
        let rest = [Arg::Text(self.correlation), Arg::Int(self.max_attempts), Arg::Text(Some(caller))];
        let args = [&self.content()[..], &rest].concat();
        Ok(session.run(&ADD, &args)?.count() > 0)
    }

    /// Whether the command that has the id asks for the same.
    pub fn is_same(&self, session: &Session, caller: &str) -> Result<Option<bool>, Error> {
        let args = [&self.content()[..], &[Arg::Text(Some(caller))]].concat();
        let row = session.run_latest(&IS_SAME, &args)?.first();
        Ok(row.map(|row| row.bool(1).unwrap_or(false)))
    }
}

/// What is told of a command.
pub fn answer(session: &Session, command: Uuid) -> Result<JsonBytes, Error> {
    let row = session.run_latest(&ANSWER, &[Arg::Uuid(Some(command))])?.first();
    Ok(row.and_then(|row| row.get(1)).expect("the command is there"))
}

/// Locks up to `most` commands that are due `now` and that nobody else has, the oldest first.
pub fn claim(session: &Session, most: i32, now: i64) -> Result<Vec<Uuid>, Error> {
    let _plans = OrderedPlans::prefer();
    let rows = session.run(&CLAIM, &[Arg::Int(Some(most)), Arg::Timestamp(Some(now))])?;
    Ok(rows.iter().map(|row| row.uuid(1).expect(PRESENT)).collect())
}

/// A command that is to be carried out.
pub struct Command {
    pub id: Uuid,
    pub row: Composite,
    pub command_type: String,
    pub handler: Option<Function>,
    /// Attempts before.
    pub attempts: i32,
    pub max_attempts: i32,
    pub submitted_by: String,
    /// The role of that name now.
    pub submitter: Option<pg_sys::Oid>,
}

impl Command {
    pub fn take(session: &Session, id: Uuid) -> Result<Command, Error> {
        let row = session.run(&TAKE, &[Arg::Uuid(Some(id))])?.first().ok_or(Error::ClaimLost)?;
        let handler = row.text(3).zip(row.text(4)).map(|(schema, name)| Function { schema, name });
        Ok(Command {
            id,
            row: row.composite(1).expect(PRESENT),
            command_type: row.text(2).expect(PRESENT),
            handler,
            attempts: row.int(5).expect(PRESENT),
            max_attempts: row.int(6).expect(PRESENT),
            submitted_by: row.text(7).expect(PRESENT),
            submitter: row.get(8),
        })
    }

    pub fn complete(
        &self,
        session: &Session,
        result: Option<JsonDatum>,
        events: &[Uuid],
    ) -> Result<(), Error> {
        let id = Arg::Uuid(Some(self.id));
        if session.run(&COMPLETE, &[id, Arg::Jsonb(result)])?.count() == 0 {
            return Err(Error::ClaimLost);
        }
        if !events.is_empty() {
            session.run(&LINK, &[id, Arg::UuidArray(events)])?;
        }
        Ok(())
    }

    /// `next_attempt_at`: nothing where it has failed for good.
    pub fn fail(
        &self,
        session: &Session,
        failure: &Failure,
        next_attempt_at: Option<i64>,
    ) -> Result<&'static str, Error> {
        let status = if next_attempt_at.is_some() { "pending" } else { "failed" };
        let args = [
            Arg::Uuid(Some(self.id)),
            Arg::Text(Some(status)),
            Arg::Timestamp(next_attempt_at),
            Arg::Text(Some(&failure.sqlstate)),
            Arg::Text(Some(&failure.message)),
            Arg::Text(failure.detail.as_deref()),
        ];
        if session.run(&FAIL, &args)?.count() == 0 {
            return Err(Error::ClaimLost);
        }
        Ok(status)
    }
}
