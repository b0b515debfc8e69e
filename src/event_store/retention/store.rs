//! Rules, what they let go of, and tombstones as rows.

use crate::error::Error;
use crate::event_store::fold::State;
use crate::pg::{Arg, JsonDatum, PRESENT, Session, Statement, Time, Type};
use uuid::Uuid;

static SET: Statement = Statement::new(
    c"INSERT INTO event_store.retention_rules (aggregate_type, keep, keep_state, set_by)
      VALUES ($1, pg_catalog.make_interval(months => $2, days => $3) + $4 * interval '1 microsecond', $5 > 0, $6)
      ON CONFLICT (aggregate_type) DO UPDATE
          SET keep = excluded.keep, keep_state = excluded.keep_state, set_by = excluded.set_by, set_at = excluded.set_at",
    &[Type::Text, Type::Int, Type::Int, Type::BigInt, Type::Int, Type::Text],
);

static UNSET: Statement =
    Statement::new(c"DELETE FROM event_store.retention_rules WHERE aggregate_type = $1", &[Type::Text]);

// What the balances of the published ledger rest on is needed by it.
static RULES: Statement = Statement::new(
    c"SELECT r.aggregate_type::text, r.keep_state, pg_catalog.clock_timestamp() - r.keep,
             least(event_store.safe_position(), event_store.lowest_needed_position(),
                   CASE WHEN r.aggregate_type IN ('LedgerTransaction', 'LedgerOpening', 'LedgerPublication')
                        THEN (SELECT p.first_position FROM event_store.ledger_publications p
                              WHERE p.state <> 'preparing' ORDER BY p.publication DESC LIMIT 1) END)
      FROM event_store.retention_rules r ORDER BY r.aggregate_type",
    &[],
);

// Only as many of the oldest are looked at as could be deleted: positions go with time.
static STREAMS: Statement = Statement::new(
    c"SELECT s.aggregate_id
      FROM event_store.streams s
      WHERE s.aggregate_id IN (
          SELECT o.aggregate_id
          FROM (SELECT e.aggregate_id, e.created_at FROM event_store.events e
                WHERE e.aggregate_type = $1 AND e.global_position < $3
                ORDER BY e.global_position LIMIT $4) o
          WHERE o.created_at < $2)
      ORDER BY s.aggregate_id
      FOR NO KEY UPDATE SKIP LOCKED",
    &[Type::Text, Type::Timestamp, Type::BigInt, Type::Int],
);

static IS_LEFT: Statement = Statement::new(
    c"SELECT EXISTS (
          SELECT FROM (SELECT e.created_at FROM event_store.events e
                       WHERE e.aggregate_type = $1 AND e.global_position < $3
                       ORDER BY e.global_position LIMIT $4) o
          WHERE o.created_at < $2)",
    &[Type::Text, Type::Timestamp, Type::BigInt, Type::Int],
);

static PREFIX: Statement = Statement::new(
    c"SELECT count(*)::int, max(p.event_version)
      FROM (SELECT e.event_version,
                   bool_and(e.created_at < $2 AND e.global_position < $3) OVER (ORDER BY e.event_version) AS may_go
            FROM (SELECT e.event_version, e.created_at, e.global_position FROM event_store.events e
                  WHERE e.aggregate_id = $1 ORDER BY e.event_version LIMIT $4) e) p
      WHERE p.may_go",
    &[Type::Uuid, Type::Timestamp, Type::BigInt, Type::Int],
);

static BURY: Statement = Statement::new(
    c"WITH gone AS (
          DELETE FROM event_store.events WHERE aggregate_id = $1 AND event_version <= $2 RETURNING *
      )
      INSERT INTO event_store.tombstones
          (aggregate_id, aggregate_type, from_version, to_version, from_position, to_position, first_at, last_at, events,
           keep, deleted_by, content_hash, state)
      SELECT $1, $3, min(g.event_version), max(g.event_version), min(g.global_position), max(g.global_position),
             min(g.created_at), max(g.created_at), count(*), (SELECT r.keep FROM event_store.retention_rules r WHERE r.aggregate_type = $3), $4,
             event_store.events_hash(ROW(g.*)::event_store.events ORDER BY g.event_version), $5
      FROM gone g",
    &[Type::Uuid, Type::Int, Type::Text, Type::Text, Type::Jsonb],
);

// Snapshots hold what the events said.
static FORGET_SNAPSHOTS: Statement = Statement::new(
    c"DELETE FROM event_store.snapshots WHERE aggregate_id = $1 AND (version <= $2 OR $3 = 0)",
    &[Type::Uuid, Type::Int, Type::Int],
);

static BURIED: Statement = Statement::new(
    c"SELECT t.to_version FROM event_store.tombstones t WHERE t.aggregate_id = $1 ORDER BY t.to_version DESC LIMIT 1",
    &[Type::Uuid],
);

static TOMBSTONE: Statement = Statement::new(
    c"SELECT t.to_version, t.state FROM event_store.tombstones t
      WHERE t.aggregate_id = $1 AND t.to_version <= $2 ORDER BY t.to_version DESC LIMIT 1",
    &[Type::Uuid, Type::Int],
);

// Times ascend within a stream.
static BURIED_AT: Statement = Statement::new(
    c"SELECT t.to_version, t.last_at <= $2 FROM event_store.tombstones t
      WHERE t.aggregate_id = $1 AND t.first_at <= $2 ORDER BY t.to_version DESC LIMIT 1",
    &[Type::Uuid, Type::Timestamp],
);

/// A type's rule, and what it lets go of at this moment.
pub struct Rule {
    pub aggregate_type: String,
    pub keep_state: bool,
    pub older_than: Time,
    /// Only what is below that position.
    pub below: i64,
}

/// How long something is kept: months, days and microseconds, as the server counts them.
pub struct Keep(pub i32, pub i32, pub i64);

pub fn set(
    session: &Session,
    of_type: &str,
    keep: Keep,
    keep_state: bool,
    caller: &str,
) -> Result<(), Error> {
    let args = [
        Arg::Text(Some(of_type)),
        Arg::Int(Some(keep.0)),
        Arg::Int(Some(keep.1)),
        Arg::BigInt(Some(keep.2)),
        Arg::Int(Some(keep_state.into())),
        Arg::Text(Some(caller)),
    ];
    session.run(&SET, &args).map(drop)
}

pub fn unset(session: &Session, of_type: &str) -> Result<(), Error> {
    session.run(&UNSET, &[Arg::Text(Some(of_type))]).map(drop)
}

pub fn rules(session: &Session) -> Result<Vec<Rule>, Error> {
    let rows = session.run(&RULES, &[])?;
    Ok(rows
        .iter()
        .map(|row| Rule {
            aggregate_type: row.text(1).expect(PRESENT),
            keep_state: row.bool(2).expect(PRESENT),
            older_than: row.time(3).expect(PRESENT),
            below: row.bigint(4).expect(PRESENT),
        })
        .collect())
}

fn oldest<'a>(rule: &'a Rule, most: i32) -> [Arg<'a>; 4] {
    [
        Arg::Text(Some(&rule.aggregate_type)),
        Arg::Timestamp(Some(rule.older_than.0)),
        Arg::BigInt(Some(rule.below)),
        Arg::Int(Some(most)),
    ]
}

/// The streams of the oldest events that may go, locked; without those that somebody else is at.
pub fn lock_streams(session: &Session, rule: &Rule, most: i32) -> Result<Vec<Uuid>, Error> {
    let rows = session.run(&STREAMS, &oldest(rule, most))?;
    Ok(rows.iter().map(|row| row.uuid(1).expect(PRESENT)).collect())
}

/// Whether the oldest events may go still.
pub fn is_left(session: &Session, rule: &Rule, most: i32) -> Result<bool, Error> {
    Ok(session.run(&IS_LEFT, &oldest(rule, most))?.first().and_then(|row| row.bool(1)) == Some(true))
}

/// Of a stream that is locked, how many of its first events may go, at the most `most`, and the version of the last.
pub fn prefix(
    session: &Session,
    rule: &Rule,
    aggregate: Uuid,
    most: i32,
) -> Result<Option<(i32, i32)>, Error> {
    let [_, older_than, below, most] = oldest(rule, most);
    let found = session.one(&PREFIX, &[Arg::Uuid(Some(aggregate)), older_than, below, most], |row| {
        row.int(1).zip(row.int(2))
    })?;
    Ok(found.flatten())
}

/// Deletes the events to that version and writes their tombstone.
pub fn bury(
    session: &Session,
    rule: &Rule,
    aggregate: Uuid,
    to: i32,
    state: Option<State>,
    caller: &str,
) -> Result<(), Error> {
    let forgotten = [Arg::Uuid(Some(aggregate)), Arg::Int(Some(to)), Arg::Int(Some(state.is_some().into()))];
    session.run(&FORGET_SNAPSHOTS, &forgotten)?;
    let state = state.map(|state| JsonDatum::of_text(&state.text())).transpose()?;
    let args = [
        Arg::Uuid(Some(aggregate)),
        Arg::Int(Some(to)),
        Arg::Text(Some(&rule.aggregate_type)),
        Arg::Text(Some(caller)),
        Arg::Jsonb(state),
    ];
    session.run(&BURY, &args).map(drop)
}

/// The last version that is deleted.
pub fn buried(session: &Session, aggregate: Uuid) -> Result<Option<i32>, Error> {
    session.one(&BURIED, &[Arg::Uuid(Some(aggregate))], |row| row.int(1).expect(PRESENT))
}

/// The last tombstone to that version, and the state that it keeps.
pub fn tombstone(session: &Session, aggregate: Uuid, to: i32) -> Result<Option<(i32, Option<State>)>, Error> {
    let args = [Arg::Uuid(Some(aggregate)), Arg::Int(Some(to))];
    session.one(&TOMBSTONE, &args, |row| {
        let version = row.int(1).expect(PRESENT);
        (version, row.json(2).map(|state| State::of(version, state.container())))
    })
}

/// The last tombstone that has an event of that time or before, and whether all of its events are.
pub fn buried_at(session: &Session, aggregate: Uuid, time: i64) -> Result<Option<(i32, bool)>, Error> {
    let args = [Arg::Uuid(Some(aggregate)), Arg::Timestamp(Some(time))];
    session.one(&BURIED_AT, &args, |row| (row.int(1).expect(PRESENT), row.bool(2).expect(PRESENT)))
}
