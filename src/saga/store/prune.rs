//! Sagas that go for good, and what is kept of them.

use super::super::core::{families, whole};
use crate::error::Error;
use crate::pg::plans::OrderedPlans;
use crate::pg::{Arg, PRESENT, Session, Statement, Type};
use std::collections::HashSet;
use uuid::Uuid;

// One probe of the index for each type that there is.
static TYPES: Statement = Statement::new(
    c"WITH RECURSIVE t (saga_type) AS (
          (SELECT s.saga_type::text FROM saga.sagas s
           WHERE s.status IN ('completed', 'failed') AND s.parent_saga_id IS NULL ORDER BY s.saga_type LIMIT 1)
          UNION ALL
          SELECT (SELECT s.saga_type::text FROM saga.sagas s
                  WHERE s.status IN ('completed', 'failed') AND s.parent_saga_id IS NULL AND s.saga_type > t.saga_type
                  ORDER BY s.saga_type LIMIT 1)
          FROM t WHERE t.saga_type IS NOT NULL)
      SELECT t.saga_type FROM t WHERE t.saga_type IS NOT NULL",
    &[],
);

// A saga that has ended stays so, unless its parent has it undone: so below one that has ended, and has no parent,
// nothing moves any more once all have ended.
macro_rules! ended {
    ($rest:literal) => {{
        const SQL: &str = concat!(
            "SELECT r.saga_id FROM saga.sagas r \
             WHERE r.saga_type = $1 AND r.status IN ('completed', 'failed') AND r.parent_saga_id IS NULL \
               AND r.completed_at < $2 AND NOT EXISTS ( \
                 WITH RECURSIVE d (saga_id, completed_at) AS ( \
                     SELECT c.saga_id, c.completed_at FROM saga.sagas c WHERE c.parent_saga_id = r.saga_id \
                     UNION ALL \
                     SELECT c.saga_id, c.completed_at FROM d JOIN saga.sagas c ON c.parent_saga_id = d.saga_id) \
                 SELECT FROM d WHERE d.completed_at IS NULL OR d.completed_at >= $2) \
             ORDER BY r.completed_at LIMIT ",
            $rest,
            "\0"
        );
        crate::pg::spi::c_text(SQL)
    }};
}

static ROOTS: Statement =
    Statement::new(ended!("$3 FOR UPDATE SKIP LOCKED"), &[Type::Text, Type::Timestamp, Type::Int]);

static LEFT: Statement = Statement::new(ended!("1"), &[Type::Text, Type::Timestamp]);

static DESCENDANTS: Statement = Statement::new(
    c"WITH RECURSIVE d (root, saga_id) AS (
          SELECT i.saga_id, c.saga_id FROM unnest($1) i(saga_id) JOIN saga.sagas c ON c.parent_saga_id = i.saga_id
          UNION ALL
          SELECT d.root, c.saga_id FROM d JOIN saga.sagas c ON c.parent_saga_id = d.saga_id)
      SELECT d.root, d.saga_id FROM d",
    &[Type::UuidArray],
);

static LOCK: Statement = Statement::new(
    c"SELECT s.saga_id FROM saga.sagas s WHERE s.saga_id = ANY ($1) FOR UPDATE SKIP LOCKED",
    &[Type::UuidArray],
);

static DELETE: Statement = Statement::new(
    c"WITH gone AS (DELETE FROM saga.sagas s WHERE s.saga_id = ANY ($1) RETURNING s.*),
      steps AS (DELETE FROM saga.saga_steps s WHERE s.saga_id = ANY ($1)),
      undos AS (DELETE FROM saga.compensations s WHERE s.saga_id = ANY ($1)),
      told AS (DELETE FROM saga.signals s WHERE s.saga_id = ANY ($1)),
      log AS (DELETE FROM saga.transitions s WHERE s.saga_id = ANY ($1) RETURNING s.saga_id),
      keys AS (
          INSERT INTO saga.pruned_keys
              (saga_type, idempotency_key, saga_id, started_by, context_hash, status, error_code, started_at, completed_at)
          SELECT g.saga_type, g.idempotency_key, g.saga_id, g.started_by,
                 pg_catalog.sha256(pg_catalog.convert_to(g.context::text, 'UTF8')), g.status, g.error_code, g.started_at,
                 g.completed_at
          FROM gone g WHERE g.idempotency_key IS NOT NULL)
      SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM log), (SELECT max(g.completed_at) FROM gone g)",
    &[Type::UuidArray],
);

static FORGET: Statement = Statement::new(
    c"WITH gone AS (
          DELETE FROM saga.pruned_keys k
          WHERE (k.saga_type, k.idempotency_key) IN (
              SELECT o.saga_type, o.idempotency_key FROM saga.pruned_keys o
              WHERE o.completed_at < $1 ORDER BY o.completed_at LIMIT $2 FOR UPDATE SKIP LOCKED)
          RETURNING k.completed_at)
      SELECT count(*), max(g.completed_at) FROM gone g",
    &[Type::Timestamp, Type::Int],
);

static KEYS_LEFT: Statement =
    Statement::new(c"SELECT FROM saga.pruned_keys k WHERE k.completed_at < $1 LIMIT 1", &[Type::Timestamp]);

static RECORD: Statement = Statement::new(
    c"INSERT INTO saga.prunings (pruned_by, before, saga_type, sagas, transitions, keys, last_completed_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7)",
    &[Type::Text, Type::Timestamp, Type::Text, Type::BigInt, Type::BigInt, Type::BigInt, Type::Timestamp],
);

/// What a call has deleted.
#[derive(Clone, Copy, Default)]
pub struct Gone {
    pub sagas: i64,
    pub transitions: i64,
    /// Of sagas that were pruned before.
    pub keys: i64,
    /// When the last of them ended.
    pub until: Option<i64>,
}

/// Types of sagas that have ended.
pub fn ended_types(session: &Session) -> Result<Vec<String>, Error> {
    let _plans = OrderedPlans::prefer();
    Ok(session.run(&TYPES, &[])?.iter().filter_map(|row| row.text(1)).collect())
}

fn ids(session: &Session, statement: &Statement, args: &[Arg]) -> Result<Vec<Uuid>, Error> {
    Ok(session.run(statement, args)?.iter().map(|row| row.uuid(1).expect(PRESENT)).collect())
}

/// Deletes sagas of the type that ended before then, those that ended first first, with their children; about `most`.
pub fn prune(session: &Session, of_type: &str, before: i64, most: i32) -> Result<Gone, Error> {
    let _plans = OrderedPlans::prefer();
    let args = [Arg::Text(Some(of_type)), Arg::Timestamp(Some(before)), Arg::Int(Some(most))];
    let roots = ids(session, &ROOTS, &args)?;
    if roots.is_empty() {
        return Ok(Gone::default());
    }
    let descendants: Vec<(Uuid, Uuid)> = session
        .run(&DESCENDANTS, &[Arg::UuidArray(&roots)])?
        .iter()
        .map(|row| (row.uuid(1).expect(PRESENT), row.uuid(2).expect(PRESENT)))
        .collect();
    let wanted: Vec<Uuid> = descendants.iter().map(|(_, saga)| *saga).collect();
    let locked: HashSet<Uuid> = if wanted.is_empty() {
        HashSet::new()
    } else {
        ids(session, &LOCK, &[Arg::UuidArray(&wanted)])?.into_iter().collect()
    };
    let room = usize::try_from(most).unwrap_or(0);
    let going = whole(&families(&roots, &descendants), &locked, room);
    if going.is_empty() {
        return Ok(Gone::default());
    }
    let row = session.run(&DELETE, &[Arg::UuidArray(&going)])?.first().expect("counts are one row");
    let sagas = row.bigint(1).expect(PRESENT);
    if usize::try_from(sagas) != Ok(going.len()) {
        return Err(Error::ClaimLost);
    }
    let transitions = row.bigint(2).expect(PRESENT);
    Ok(Gone { sagas, transitions, keys: 0, until: row.time(3).map(|time| time.0) })
}

/// Whether there is one of the type that could go.
pub fn is_left(session: &Session, of_type: &str, before: i64) -> Result<bool, Error> {
    let _plans = OrderedPlans::prefer();
    let args = [Arg::Text(Some(of_type)), Arg::Timestamp(Some(before))];
    Ok(session.run(&LEFT, &args)?.count() > 0)
}

/// Forgets keys of pruned sagas that ended before then.
pub fn forget_keys(session: &Session, before: i64, most: i32) -> Result<Gone, Error> {
    let row = session.run(&FORGET, &[Arg::Timestamp(Some(before)), Arg::Int(Some(most))])?.first();
    let row = row.expect("counts are one row");
    let keys = row.bigint(1).expect(PRESENT);
    Ok(Gone { keys, until: row.time(2).map(|time| time.0), ..Gone::default() })
}

pub fn are_keys_left(session: &Session, before: i64) -> Result<bool, Error> {
    Ok(session.run(&KEYS_LEFT, &[Arg::Timestamp(Some(before))])?.count() > 0)
}

/// Puts on record what was deleted.
pub fn record(
    session: &Session,
    gone: &Gone,
    before: i64,
    of_type: Option<&str>,
    caller: &str,
) -> Result<(), Error> {
    let args = [
        Arg::Text(Some(caller)),
        Arg::Timestamp(Some(before)),
        Arg::Text(of_type),
        Arg::BigInt(Some(gone.sagas)),
        Arg::BigInt(Some(gone.transitions)),
        Arg::BigInt(Some(gone.keys)),
        Arg::Timestamp(gone.until),
    ];
    session.run(&RECORD, &args).map(drop)
}
