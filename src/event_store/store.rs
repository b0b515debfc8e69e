//! Streams and events as rows.

use super::core::Stream;
use super::fold::State;
use super::position::{Position, Range};
use crate::error::Error;
use crate::pg::subtransaction::undoable;
use crate::pg::{Arg, JsonDatum, PRESENT, Session, Statement, Type, server};
use serde_json::Value;
use std::cell::Cell;
use uuid::Uuid;

static LOCK: Statement = Statement::new(
    c"SELECT s.aggregate_type::text, s.version, s.last_position
      FROM event_store.streams s WHERE s.aggregate_id = $1 FOR NO KEY UPDATE",
    &[Type::Uuid],
);

static BASE: Statement = Statement::new(c"SELECT b.added FROM event_store.position_base b", &[]);

static OPEN: Statement = Statement::new(
    c"INSERT INTO event_store.streams (aggregate_id, aggregate_type, version, last_position)
      VALUES ($1, $2, $3, $4) ON CONFLICT (aggregate_id) DO NOTHING",
    &[Type::Uuid, Type::Text, Type::Int, Type::BigInt],
);

static ADVANCE: Statement = Statement::new(
    c"UPDATE event_store.streams SET version = $2, last_position = $3 WHERE aggregate_id = $1",
    &[Type::Uuid, Type::Int, Type::BigInt],
);

static INSERT: Statement = Statement::new(
    c"INSERT INTO event_store.events
          (event_id, aggregate_id, aggregate_type, event_version, global_position, created_by, event_type, event_data,
           metadata, tags)
      SELECT i.id, $1, $2, $3 + i.n, $4 + i.n - 1, $5, i.item ->> 'event_type', i.item -> 'event_data',
             CASE pg_catalog.jsonb_typeof(i.item -> 'metadata') WHEN 'object' THEN i.item -> 'metadata' ELSE '{}' END,
             CASE pg_catalog.jsonb_typeof(i.item -> 'tags')
                 WHEN 'array' THEN ARRAY(SELECT t FROM pg_catalog.jsonb_array_elements_text(i.item -> 'tags') t) END
      FROM ROWS FROM (pg_catalog.jsonb_array_elements($6), pg_catalog.unnest($7)) WITH ORDINALITY i(item, id, n)
      ON CONFLICT (event_id) DO NOTHING",
    &[
        Type::Uuid, Type::Text, Type::Int, Type::BigInt, Type::Text, Type::Jsonb, Type::UuidArray,
    ],
);

static INSERT_ONE: Statement = Statement::new(
    c"INSERT INTO event_store.events
          (event_id, aggregate_id, aggregate_type, event_version, global_position, created_by, event_type, event_data,
           metadata, tags)
      VALUES ($7, $1, $2, $3, $4, $5, $6, $8, coalesce($9, '{}'), CASE WHEN pg_catalog.cardinality($10) > 0 THEN $10 END)
      ON CONFLICT (event_id) DO NOTHING",
    &[
        Type::Uuid, Type::Text, Type::Int, Type::BigInt, Type::Text, Type::Text, Type::Uuid, Type::Jsonb, Type::Jsonb,
        Type::TextArray,
    ],
);

// Of the ids that a call brings, how many are there, and whether they are this stream's, in this order without a gap,
// with this content. A number's scale is part of its content, which = on jsonb does not see.
static FOUND: Statement = Statement::new(
    c"SELECT count(*)::int, max(e.event_version),
             pg_catalog.bool_and(
                 e.aggregate_id = $1 AND e.event_type = i.item ->> 'event_type'
                 AND e.event_data::text = (i.item -> 'event_data')::text
                 AND e.metadata::text = CASE pg_catalog.jsonb_typeof(i.item -> 'metadata')
                                        WHEN 'object' THEN i.item -> 'metadata' ELSE '{}' END::text
                 AND e.tags IS NOT DISTINCT FROM
                     CASE pg_catalog.jsonb_typeof(i.item -> 'tags')
                         WHEN 'array' THEN ARRAY(SELECT t FROM pg_catalog.jsonb_array_elements_text(i.item -> 'tags') t) END)
             AND max(e.event_version - i.n) = min(e.event_version - i.n)
      FROM ROWS FROM (pg_catalog.jsonb_array_elements($2), pg_catalog.unnest($3)) WITH ORDINALITY i(item, id, n)
      JOIN event_store.events e ON e.event_id = i.id",
    &[Type::Uuid, Type::Jsonb, Type::UuidArray],
);

static AS_ITEMS: Statement = Statement::new(
    c"SELECT pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
          'event_type', $1, 'event_data', $2, 'metadata', $3,
          'tags', CASE WHEN pg_catalog.cardinality($4) > 0 THEN pg_catalog.to_jsonb($4) END))",
    &[Type::Text, Type::Jsonb, Type::Jsonb, Type::TextArray],
);

static PAGE: Statement = Statement::new(
    c"SELECT e.event_version, e.event_type::text, e.event_data
      FROM event_store.events e
      WHERE e.aggregate_id = $1 AND e.event_version > $2 AND e.event_version <= $3
      ORDER BY e.event_version LIMIT 1000",
    &[Type::Uuid, Type::Int, Type::Int],
);

thread_local! {
    static RANGE: Cell<Range> = const { Cell::new(Range::NONE) };
}

/// What is appended.
pub enum Content<'a> {
    One { event_type: &'a str, data: JsonDatum, metadata: Option<JsonDatum>, tags: &'a [Option<&'a str>] },
    Items(JsonDatum),
}

pub struct NewEvents<'a> {
    pub aggregate: Uuid,
    pub aggregate_type: &'a str,
    pub content: Content<'a>,
    /// One for each event.
    pub ids: &'a [Uuid],
    pub caller: &'a str,
}

/// Takes the stream's lock; nothing where it has no event yet.
pub fn lock(session: &Session, aggregate: Uuid) -> Result<Option<Stream>, Error> {
    session.one(&LOCK, &[Arg::Uuid(Some(aggregate))], |row| Stream {
        aggregate_type: row.text(1).expect(PRESENT),
        version: row.int(2).expect(PRESENT),
        last_position: Position(row.bigint(3).expect(PRESENT)),
    })
}

/// Positions for `count` events above `after`.
pub(super) fn positions(session: &Session, after: Position, count: usize) -> Result<Position, Error> {
    let added = session.one(&BASE, &[], |row| row.bigint(1).expect(PRESENT))?.unwrap_or(0);
    let mut range = RANGE.get().of(server::top_transaction());
    let first = match range.take(added, after, count) {
        Some(first) => first,
        None => {
            // A subtransaction has a number above all that were given out before, and it stays this transaction's own.
            let younger = undoable(|| Ok(Some(server::own_transaction())))?.expect("it answers a number");
            range = range.renewed(younger);
            range
                .take(added, after, count)
                .expect("a new range is above all older ones and has room for a batch")
        }
    };
    RANGE.set(range);
    Ok(first)
}

impl NewEvents<'_> {
    /// The version that the stream had after these events, if they are there already; nothing if none of them is. They
    /// must all be there, in this stream and with this content.
    pub fn found(&self, session: &Session) -> Result<Option<i32>, Error> {
        let items = match self.content {
            Content::Items(items) => items,
            Content::One { event_type, data, metadata, tags } => {
                let args = [
                    Arg::Text(Some(event_type)),
                    Arg::Jsonb(Some(data)),
                    Arg::Jsonb(metadata),
                    Arg::TextArray(tags),
                ];
                let items = session.run(&AS_ITEMS, &args)?.first().and_then(|row| row.json(1));
                items.expect("one row with an array")
            }
        };
        let args = [Arg::Uuid(Some(self.aggregate)), Arg::Jsonb(Some(items)), Arg::UuidArray(self.ids)];
        let rows = session.run_latest(&FOUND, &args)?;
        let row = rows.first().expect("an aggregate has a row");
        match row.int(1) {
            Some(0) => Ok(None),
            Some(count) if count as usize == self.ids.len() && row.bool(3) == Some(true) => Ok(row.int(2)),
            _ => Err(Error::EventConflict { aggregate: self.aggregate }),
        }
    }

    /// Writes them after `stream`, which this transaction has locked; nothing where the stream is new and another
    /// session has just opened it.
    pub fn append(&self, session: &Session, stream: Option<&Stream>) -> Result<Option<i32>, Error> {
        let (before, after) =
            stream.map_or((0, Position(0)), |stream| (stream.version, stream.last_position));
        let count = self.ids.len();
        let Some(version) = i32::try_from(count).ok().and_then(|count| before.checked_add(count)) else {
            let why = format!("It would have {before} and {count} events; the most is {}.", i32::MAX);
            return Err(Error::ArgumentBounds { argument: "events", why });
        };
        let first = positions(session, after, count)?;
        let last = first.0 + i64::from(version - before) - 1;
        let aggregate = Arg::Uuid(Some(self.aggregate));
        let of_type = Arg::Text(Some(self.aggregate_type));
        let moved = [Arg::Int(Some(version)), Arg::BigInt(Some(last))];
        if stream.is_some() {
            session.run(&ADVANCE, &[aggregate, moved[0], moved[1]])?;
        } else if session.run(&OPEN, &[aggregate, of_type, moved[0], moved[1]])?.count() == 0 {
            return Ok(None);
        }
        let (position, caller) = (Arg::BigInt(Some(first.0)), Arg::Text(Some(self.caller)));
        let written = match self.content {
            Content::Items(items) => {
                let items = [Arg::Jsonb(Some(items)), Arg::UuidArray(self.ids)];
                let args = [aggregate, of_type, Arg::Int(Some(before)), position, caller, items[0], items[1]];
                session.run(&INSERT, &args)?.count()
            }
            Content::One { event_type, data, metadata, tags } => {
                let args = [
                    aggregate,
                    of_type,
                    moved[0],
                    position,
                    caller,
                    Arg::Text(Some(event_type)),
                    Arg::Uuid(Some(self.ids[0])),
                    Arg::Jsonb(Some(data)),
                    Arg::Jsonb(metadata),
                    Arg::TextArray(tags),
                ];
                session.run(&INSERT_ONE, &args)?.count()
            }
        };
        if written < count {
            // Another session has just brought one of the ids to another stream.
            return Err(Error::EventConflict { aggregate: self.aggregate });
        }
        Ok(Some(version))
    }
}

/// One event to fold.
pub struct Past {
    pub version: i32,
    pub event_type: String,
    pub data: State,
}

/// The next events after `from`, at most as far as `to`, a page of them.
pub fn page(session: &Session, aggregate: Uuid, from: i32, to: i32) -> Result<Vec<Past>, Error> {
    let args = [Arg::Uuid(Some(aggregate)), Arg::Int(Some(from)), Arg::Int(Some(to))];
    let rows = session.run(&PAGE, &args)?;
    Ok(rows
        .iter()
        .map(|row| Past {
            version: row.int(1).expect(PRESENT),
            event_type: row.text(2).expect(PRESENT),
            data: match row.json(3).expect(PRESENT).parsed().0 {
                Value::Object(data) => data,
                _ => State::new(),
            },
        })
        .collect())
}
