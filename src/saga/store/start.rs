//! New sagas.

use crate::error::Error;
use crate::pg::{Arg, JsonDatum, Session, Statement, Type};
use uuid::Uuid;

static START: Statement = Statement::new(
    c"WITH s AS (
          INSERT INTO saga.sagas
              (saga_id, saga_type, definition_version, context, idempotency_key, started_by, deadline_at, due_at,
               started_at, waits_for, parent_saga_id, parent_step, transitions)
          SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1
          WHERE NOT EXISTS (SELECT FROM saga.pruned_keys k WHERE k.saga_type = $2 AND k.idempotency_key = $5)
          ON CONFLICT (saga_type, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
          RETURNING saga_id),
      steps AS (
          INSERT INTO saga.saga_steps (step_id, saga_id, step_number, step_name)
          SELECT n.step_id, s.saga_id, n.number, n.name
          FROM s, unnest($13, $14) WITH ORDINALITY n(step_id, name, number)),
      log AS (
          INSERT INTO saga.transitions (saga_id, transition_no, recorded_at, subject, to_state, actor)
          SELECT s.saga_id, 1, $9, 'saga', 'started', $6 FROM s)
      SELECT s.saga_id FROM s",
    &[
        Type::Uuid,
        Type::Text,
        Type::Int,
        Type::Jsonb,
        Type::Text,
        Type::Text,
        Type::Timestamp,
        Type::Timestamp,
        Type::Timestamp,
        Type::Text,
        Type::Uuid,
        Type::Int,
        Type::UuidArray,
        Type::TextArray,
    ],
);

// A number's scale is part of the context, which = on jsonb does not see.
static FIND_KEY: Statement = Statement::new(
    c"SELECT s.saga_id, s.context::text = $3::text AND s.started_by = $4
      FROM saga.sagas s WHERE s.saga_type = $1 AND s.idempotency_key = $2
      UNION ALL
      SELECT k.saga_id, k.context_hash = sha256(convert_to($3::text, 'UTF8')) AND k.started_by = $4
      FROM saga.pruned_keys k WHERE k.saga_type = $1 AND k.idempotency_key = $2",
    &[Type::Text, Type::Text, Type::Jsonb, Type::Text],
);

static IS_PRUNED: Statement = Statement::new(
    c"SELECT FROM saga.pruned_keys k WHERE k.saga_type = $1 AND k.idempotency_key = $2",
    &[Type::Text, Type::Text],
);

static TAKE_BACK: Statement = Statement::new(
    c"WITH s AS (DELETE FROM saga.sagas s WHERE s.saga_id = $1),
      steps AS (DELETE FROM saga.saga_steps s WHERE s.saga_id = $1)
      DELETE FROM saga.transitions t WHERE t.saga_id = $1",
    &[Type::Uuid],
);

/// A saga as it is started.
pub struct NewSaga<'a> {
    pub saga_type: &'a str,
    /// Nothing for one that its client drives.
    pub version: Option<i32>,
    pub names: &'a [String],
    pub context: JsonDatum,
    pub key: Option<&'a str>,
    pub started_by: &'a str,
    pub deadline: Option<i64>,
    /// Saga and number of the step whose child it is.
    pub parent: Option<(Uuid, i32)>,
}

/// Its id; nothing where the key is there already.
pub fn start(session: &Session, new: &NewSaga, now: i64) -> Result<Option<Uuid>, Error> {
    let is_run = new.version.is_some();
    let ids: Vec<Uuid> = new.names.iter().map(|_| Uuid::now_v7()).collect();
    session.one(
        &START,
        &[
            Arg::Uuid(Some(Uuid::now_v7())),
            Arg::Text(Some(new.saga_type)),
            Arg::Int(new.version),
            Arg::Jsonb(Some(new.context)),
            Arg::Text(new.key),
            Arg::Text(Some(new.started_by)),
            Arg::Timestamp(new.deadline),
            Arg::Timestamp(is_run.then_some(now)),
            Arg::Timestamp(Some(now)),
            Arg::Text(Some(if is_run { "runner" } else { "client" })),
            Arg::Uuid(new.parent.map(|(saga, _)| saga)),
            Arg::Int(new.parent.map(|(_, step)| step)),
            Arg::UuidArray(&ids),
            Arg::Texts(Some(new.names)),
        ],
        |row| row.uuid(1).expect("the key of a row that was inserted"),
    )
}

/// The saga that has the key, and whether it is the same.
pub fn find_key(session: &Session, new: &NewSaga) -> Result<Option<(Uuid, bool)>, Error> {
    let args = [
        Arg::Text(Some(new.saga_type)),
        Arg::Text(new.key),
        Arg::Jsonb(Some(new.context)),
        Arg::Text(Some(new.started_by)),
    ];
    let row = session.run_latest(&FIND_KEY, &args)?.first();
    Ok(row.and_then(|row| Some((row.uuid(1)?, row.bool(2).unwrap_or(false)))))
}

/// Whether the key is that of a saga that was pruned.
pub fn is_pruned(session: &Session, new: &NewSaga) -> Result<bool, Error> {
    let args = [Arg::Text(Some(new.saga_type)), Arg::Text(new.key)];
    Ok(session.run_latest(&IS_PRUNED, &args)?.count() > 0)
}

/// Takes back a saga that this transaction has just started.
pub fn take_back(session: &Session, saga: Uuid) -> Result<(), Error> {
    session.run(&TAKE_BACK, &[Arg::Uuid(Some(saga))]).map(drop)
}
