//! Projections and the events that they read, as rows.

use super::super::commands::Function;
use super::core::Filter;
use crate::error::Error;
use crate::pg::call::Composite;
use crate::pg::ereport::Failure;
use crate::pg::locks::lock_numbered;
use crate::pg::plans::OrderedPlans;
use crate::pg::spi::{Rows, c_text};
use crate::pg::watch::Watch;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Type};
use pgrx::pg_sys;
use uuid::Uuid;

/// Its writers announce what inline projections there are.
pub static WATCH: Watch = Watch::new([c"cqrs", c"projections"]);

macro_rules! select {
    ($which:literal, $types:expr) => {{
        const SQL: &str = concat!(
            "SELECT p.projection_no, p.name::text, p.mode, p.state = 'running', p.handler_schema, p.handler_name, \
                    p.target_schema, p.target_name, p.position, p.failures, p.twin_name, p.twin_position, p.fence, \
                    p.generation, c.oid, c.relowner \
             FROM cqrs.projections p \
             LEFT JOIN pg_namespace n ON n.nspname = p.target_schema \
             LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.target_name \
             WHERE ",
            $which,
            "\0"
        );
        Statement::new(c_text(SQL), $types)
    }};
}

static FIND: Statement = select!("p.name = $1", &[Type::Text]);
static FREE: Statement = select!("p.name = $1 FOR NO KEY UPDATE OF p SKIP LOCKED", &[Type::Text]);
static LOCK: Statement = select!("p.name = $1 FOR NO KEY UPDATE OF p", &[Type::Text]);
static INLINE: Statement = select!("p.mode = 'inline' ORDER BY p.projection_no", &[]);

static SEEN_GENERATION: Statement =
    Statement::new(c"SELECT p.generation FROM cqrs.projections p WHERE p.projection_no = $1", &[Type::Int]);

static ADD: Statement = Statement::new(
    c"INSERT INTO cqrs.projections
          (name, mode, handler_schema, handler_name, target_schema, target_name, aggregate_types, event_types, tags,
           created_by)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
      ON CONFLICT DO NOTHING
      RETURNING projection_no",
    &[
        Type::Text, Type::Text, Type::Text, Type::Text, Type::Text, Type::Text, Type::TextArray, Type::TextArray,
        Type::TextArray, Type::Text,
    ],
);

static WITH_TARGET: Statement = Statement::new(
    c"SELECT p.name::text FROM cqrs.projections p WHERE p.target_schema = $1 AND p.target_name = $2",
    &[Type::Text, Type::Text],
);

static DELETE: Statement =
    Statement::new(c"DELETE FROM cqrs.projections WHERE projection_no = $1", &[Type::Int]);

static SET_STATE: Statement = Statement::new(
    c"UPDATE cqrs.projections SET state = $2, updated_at = clock_timestamp() WHERE projection_no = $1",
    &[Type::Int, Type::Text],
);

static MOVE: Statement = Statement::new(
    c"UPDATE cqrs.projections
      SET position = $2, updated_at = clock_timestamp(), failures = 0, next_attempt_at = NULL, failed_event = NULL,
          error_code = NULL, error_message = NULL, error_detail = NULL
      WHERE projection_no = $1",
    &[Type::Int, Type::BigInt],
);

static FAIL: Statement = Statement::new(
    c"UPDATE cqrs.projections
      SET failures = failures + 1, updated_at = clock_timestamp(), next_attempt_at = $2, failed_event = $3,
          error_code = $4, error_message = $5, error_detail = $6
      WHERE projection_no = $1",
    &[Type::Int, Type::Timestamp, Type::Uuid, Type::Text, Type::Text, Type::Text],
);

static SET_TWIN: Statement = Statement::new(
    c"UPDATE cqrs.projections
      SET twin_name = $2, twin_position = $3, fence = $4, updated_at = clock_timestamp(),
          rebuild_started_at = CASE WHEN $2 IS NOT NULL THEN coalesce(rebuild_started_at, clock_timestamp()) END
      WHERE projection_no = $1",
    &[Type::Int, Type::Text, Type::BigInt, Type::BigInt],
);

static SWAPPED: Statement = Statement::new(
    c"UPDATE cqrs.projections
      SET twin_name = NULL, twin_position = NULL, fence = NULL, rebuild_started_at = NULL, generation = generation + 1,
          position = greatest(position, $2), updated_at = clock_timestamp(), failures = 0, next_attempt_at = NULL,
          failed_event = NULL, error_code = NULL, error_message = NULL, error_detail = NULL,
          state = CASE mode WHEN 'inline' THEN 'running' ELSE state END
      WHERE projection_no = $1",
    &[Type::Int, Type::BigInt],
);

/// The next events; one that the filter does not want comes without itself.
macro_rules! events {
    ($which:literal, $types:expr) => {{
        const SQL: &str = concat!(
            "SELECT r.global_position, r.event_id, CASE WHEN r.wanted THEN r.e END \
             FROM (SELECT e, e.global_position, e.event_id, \
                          (cardinality(p.aggregate_types) = 0 OR e.aggregate_type = ANY (p.aggregate_types)) \
                          AND (cardinality(p.event_types) = 0 OR e.event_type = ANY (p.event_types)) \
                          AND (cardinality(p.tags) = 0 OR coalesce(e.tags @> p.tags, false)) AS wanted \
                   FROM cqrs.projections p, event_store.events e \
                   WHERE p.projection_no = $1 AND ",
            $which,
            ") r ORDER BY r.global_position\0"
        );
        Statement::new(c_text(SQL), $types)
    }};
}

static FINAL_EVENTS: Statement = events!(
    "e.global_position > $2 AND e.global_position < (SELECT event_store.safe_position()) \
     ORDER BY e.global_position LIMIT $3",
    &[Type::Int, Type::BigInt, Type::Int]
);

static ALL_EVENTS: Statement = events!(
    "e.global_position > $2 ORDER BY e.global_position LIMIT $3",
    &[Type::Int, Type::BigInt, Type::Int]
);

static THESE_EVENTS: Statement = events!("e.event_id = ANY ($2)", &[Type::Int, Type::UuidArray]);

/// A projection as its row has it.
pub struct Projection {
    pub number: i32,
    pub name: String,
    pub is_inline: bool,
    pub is_running: bool,
    pub handler: Function,
    pub target_schema: String,
    pub target_name: String,
    pub position: i64,
    pub failures: i32,
    pub twin: Option<String>,
    pub twin_position: i64,
    pub fence: Option<i64>,
    pub generation: i32,
    /// The target's oid and owner; nothing where it is not there any more.
    found: Option<(pg_sys::Oid, pg_sys::Oid)>,
}

impl Projection {
    fn of(row: &Row) -> Self {
        let text = |column| row.text(column).expect(PRESENT);
        Projection {
            number: row.int(1).expect(PRESENT),
            name: text(2),
            is_inline: text(3) == "inline",
            is_running: row.bool(4).expect(PRESENT),
            handler: Function { schema: text(5), name: text(6) },
            target_schema: text(7),
            target_name: text(8),
            position: row.bigint(9).expect(PRESENT),
            failures: row.int(10).expect(PRESENT),
            twin: row.text(11),
            twin_position: row.bigint(12).unwrap_or(0),
            fence: row.bigint(13),
            generation: row.int(14).expect(PRESENT),
            found: row.get(15).zip(row.get(16)),
        }
    }

    pub fn find(session: &Session, name: &str) -> Result<Projection, Error> {
        Self::first(session.run_latest(&FIND, &[Arg::Text(Some(name))])?, name)
    }

    /// Its lock; nothing where another session has it.
    pub fn take(session: &Session, name: &str) -> Result<Option<Projection>, Error> {
        let is_taken = session.run(&FREE, &[Arg::Text(Some(name))])?.count() > 0;
        let found = Self::find(session, name)?;
        Ok(is_taken.then_some(found))
    }

    /// Waits for its lock.
    pub fn lock(session: &Session, name: &str) -> Result<Projection, Error> {
        session.run(&LOCK, &[Arg::Text(Some(name))])?;
        // What it was locked with may be of before the wait: a rebuild has put another table in the target's place.
        Self::find(session, name)
    }

    fn first(rows: Rows, name: &str) -> Result<Projection, Error> {
        let row = rows.first().ok_or_else(|| Error::ProjectionNotFound { name: name.to_owned() })?;
        Ok(Self::of(&row))
    }

    pub fn inline(session: &Session) -> Result<Vec<Projection>, Error> {
        let rows = session.run_latest(&INLINE, &[])?;
        Ok(rows.iter().map(|row| Self::of(&row)).collect())
    }

    /// The table and its owner.
    pub fn target(&self) -> Result<(pg_sys::Oid, pg_sys::Oid), Error> {
        self.found.ok_or_else(|| self.bad_target("is not there under that name".into()))
    }

    pub fn bad_target(&self, why: String) -> Error {
        Error::ProjectionTarget { target: format!("{}.{}", self.target_schema, self.target_name), why }
    }

    pub fn refused(&self, why: &'static str) -> Error {
        Error::ProjectionState { name: self.name.clone(), why }
    }

    /// Keeps appends out, or lets them in beside each other, until this transaction ends.
    pub fn fence_appends(&self, alone: bool) -> Result<(), Error> {
        fence_appends(self.number, alone)
    }

    /// Whether the transaction's own snapshot shows the projection as it is now.
    pub fn is_seen(&self, session: &Session) -> Result<bool, Error> {
        let row = session.run(&SEEN_GENERATION, &[Arg::Int(Some(self.number))])?.first();
        Ok(row.and_then(|row| row.int(1)) == Some(self.generation))
    }

    fn update(&self, session: &Session, statement: &Statement, args: &[Arg]) -> Result<(), Error> {
        session.run(statement, &[&[Arg::Int(Some(self.number))], args].concat()).map(drop)
    }

    pub fn delete(&self, session: &Session) -> Result<(), Error> {
        self.update(session, &DELETE, &[])
    }

    pub fn set_state(&self, session: &Session, state: &str) -> Result<(), Error> {
        self.update(session, &SET_STATE, &[Arg::Text(Some(state))])
    }

    pub fn moved(&self, session: &Session, position: i64) -> Result<(), Error> {
        self.update(session, &MOVE, &[Arg::BigInt(Some(position))])
    }

    pub fn fail(&self, session: &Session, event: Uuid, failure: &Failure, next: i64) -> Result<(), Error> {
        let texts = [Some(failure.sqlstate.as_str()), Some(&failure.message), failure.detail.as_deref()]
            .map(Arg::Text);
        let args = [&[Arg::Timestamp(Some(next)), Arg::Uuid(Some(event))], &texts[..]].concat();
        self.update(session, &FAIL, &args)
    }

    pub fn set_twin(
        &self,
        session: &Session,
        twin: Option<(&str, i64)>,
        fence: Option<i64>,
    ) -> Result<(), Error> {
        let args = [
            Arg::Text(twin.map(|(name, _)| name)),
            Arg::BigInt(twin.map(|(_, position)| position)),
            Arg::BigInt(fence),
        ];
        self.update(session, &SET_TWIN, &args)
    }

    pub fn swapped(&self, session: &Session, position: i64) -> Result<(), Error> {
        self.update(session, &SWAPPED, &[Arg::BigInt(Some(position))])
    }

    /// Up to `most` events after `position`, `only_final` ones: those between which nothing will appear any more.
    pub fn events(
        &self,
        session: &Session,
        position: i64,
        most: i32,
        only_final: bool,
    ) -> Result<Vec<Event>, Error> {
        let _plans = OrderedPlans::prefer();
        let args = [Arg::Int(Some(self.number)), Arg::BigInt(Some(position)), Arg::Int(Some(most))];
        let statement = if only_final { &FINAL_EVENTS } else { &ALL_EVENTS };
        Ok(Event::all(session.run(statement, &args)?))
    }

    pub fn these_events(&self, session: &Session, ids: &[Uuid]) -> Result<Vec<Event>, Error> {
        let args = [Arg::Int(Some(self.number)), Arg::UuidArray(ids)];
        Ok(Event::all(session.run(&THESE_EVENTS, &args)?))
    }
}

/// One event that a projection has come to.
pub struct Event {
    pub position: i64,
    pub id: Uuid,
    /// Nothing where the filter does not want it.
    pub row: Option<Composite>,
}

impl Event {
    fn all(rows: Rows) -> Vec<Event> {
        let event = |row: Row| Event {
            position: row.bigint(1).expect(PRESENT),
            id: row.uuid(2).expect(PRESENT),
            row: row.composite(3),
        };
        rows.iter().map(event).collect()
    }
}

pub fn fence_appends(number: i32, alone: bool) -> Result<(), Error> {
    lock_numbered([c"cqrs", c"projections"], number, alone)
}

/// The projection that keeps that table, as things stand now.
pub fn with_target(session: &Session, [schema, table]: [&str; 2]) -> Result<Option<String>, Error> {
    let rows = session.run_latest(&WITH_TARGET, &[schema, table].map(|name| Arg::Text(Some(name))))?;
    Ok(rows.first().and_then(|row| row.text(1)))
}

/// Adds a projection; nothing where there is one of that name, or of that target.
pub fn add(
    session: &Session,
    [name, mode]: [&str; 2],
    handler: &Function,
    [schema, target]: [&str; 2],
    filter: &Filter,
    caller: &str,
) -> Result<Option<i32>, Error> {
    fn list(names: &[String]) -> Vec<Option<&str>> {
        names.iter().map(|name| Some(name.as_str())).collect()
    }
    let lists = [list(&filter.aggregate_types), list(&filter.event_types), list(&filter.tags)];
    let texts = [name, mode, &handler.schema, &handler.name, schema, target];
    let mut args: Vec<Arg> = texts.iter().map(|text| Arg::Text(Some(text))).collect();
    args.extend(lists.iter().map(|names| Arg::TextArray(names)));
    args.push(Arg::Text(Some(caller)));
    Ok(session.run(&ADD, &args)?.first().map(|row| row.int(1).expect(PRESENT)))
}
