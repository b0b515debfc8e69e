//! Streams and events as rows.

use super::core::Stream;
use super::items::Item;
use super::position::{Position, Range};
use crate::error::Error;
use crate::pg::jsonb::Container;
use crate::pg::subtransaction::undoable;
use crate::pg::watch::Watch;
use crate::pg::{Arg, JsonDatum, Many, PRESENT, Session, Statement, Type, server};
use std::cell::Cell;
use std::collections::HashMap;
use uuid::Uuid;

static LOCK: Statement = Statement::new(
    c"SELECT s.aggregate_type::text, s.version, s.last_position, s.last_at
      FROM event_store.streams s WHERE s.aggregate_id = $1 FOR NO KEY UPDATE",
    &[Type::Uuid],
);

static BASE: Statement = Statement::new(c"SELECT b.added FROM event_store.position_base b", &[]);

static OPEN: Statement = Statement::new(
    c"INSERT INTO event_store.streams (aggregate_id, aggregate_type, version, last_position, last_at)
      VALUES ($1, $2, $3, $4, $5) ON CONFLICT (aggregate_id) DO NOTHING",
    &[Type::Uuid, Type::Text, Type::Int, Type::BigInt, Type::Timestamp],
);

static ADVANCE: Statement = Statement::new(
    c"UPDATE event_store.streams SET version = $2, last_position = $3, last_at = $4 WHERE aggregate_id = $1",
    &[Type::Uuid, Type::Int, Type::BigInt, Type::Timestamp],
);

static INSERT: Statement = Statement::new(
    c"INSERT INTO event_store.events
          (event_id, aggregate_id, aggregate_type, event_version, global_position, created_by, event_type, event_data,
           metadata, tags, created_at)
      VALUES ($7, $1, $2, $3, $4, $5, $6, $8, coalesce($9, '{}'), CASE WHEN pg_catalog.cardinality($10) > 0 THEN $10 END,
              $11)
      ON CONFLICT (event_id) DO NOTHING",
    &[
        Type::Uuid, Type::Text, Type::Int, Type::BigInt, Type::Text, Type::Text, Type::Uuid, Type::Jsonb, Type::Jsonb,
        Type::TextArray, Type::Timestamp,
    ],
);

static FOUND: Statement = Statement::new(
    c"SELECT e.event_id, e.aggregate_id, e.event_version, e.event_type::text, e.event_data, e.metadata, e.tags,
             e.aggregate_type::text
      FROM event_store.events e WHERE e.event_id = ANY ($1)",
    &[Type::UuidArray],
);

static BASE_WATCH: Watch = Watch::new([c"event_store", c"position_base"]);

thread_local! {
    static ADDED: Cell<i64> = const { Cell::new(0) };
    static RANGE: Cell<Range> = const { Cell::new(Range::NONE) };
}

/// Events as they are to be written, all to one stream.
pub struct NewEvents<'a> {
    pub aggregate: Uuid,
    pub aggregate_type: &'a str,
    pub items: &'a [Item<'a>],
    /// One for each event.
    pub ids: &'a [Uuid],
    /// Whether the caller brought one of them.
    pub given_ids: bool,
    pub caller: &'a str,
}

/// Where the events go: behind the stream's version, and from which position on.
#[derive(Clone, Copy)]
pub struct Next {
    /// The stream's version before them.
    pub before: i32,
    /// The stream's, once they are written.
    pub version: i32,
    /// When they are recorded, in microseconds: never before the stream's last event, even if the clock was set back.
    pub at: i64,
    first: Position,
}

impl Next {
    pub fn event_version(self, at: usize) -> i32 {
        self.before + 1 + at as i32
    }

    pub fn position(self, at: usize) -> i64 {
        self.first.0 + at as i64
    }

    pub fn last(self) -> i64 {
        self.first.0 + i64::from(self.version - self.before) - 1
    }
}

/// Takes the stream's lock; nothing where it has no event yet.
pub fn lock(session: &Session, aggregate: Uuid) -> Result<Option<Stream>, Error> {
    session.one(&LOCK, &[Arg::Uuid(Some(aggregate))], |row| Stream {
        aggregate_type: row.text(1).expect(PRESENT),
        version: row.int(2).expect(PRESENT),
        last_position: Position(row.bigint(3).expect(PRESENT)),
        last_at: row.time(4).expect(PRESENT).0,
    })
}

/// What is added to a transaction's number, read once until somebody moves it.
fn added<'s>(session: impl FnOnce() -> &'s Session) -> Result<i64, Error> {
    if BASE_WATCH.is_fresh()? {
        return Ok(ADDED.get());
    }
    let session = session();
    BASE_WATCH.begin()?;
    let rows = session.run_latest(&BASE, &[]).inspect_err(|_| BASE_WATCH.forget())?;
    let added = rows.first().and_then(|row| row.bigint(1)).unwrap_or(0);
    ADDED.set(added);
    Ok(added)
}

/// Somebody has moved it.
pub fn base_has_moved() -> Result<(), Error> {
    BASE_WATCH.announce()
}

/// Positions for `count` events above `after`. The session is opened where what is known is stale.
pub fn positions<'s>(
    session: impl FnOnce() -> &'s Session,
    after: Position,
    count: usize,
) -> Result<Position, Error> {
    let added = added(session)?;
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

fn same_json(stored: Option<JsonDatum>, wanted: Option<Container>) -> bool {
    let nothing = JsonDatum::object(&[]);
    let stored = stored.unwrap_or(nothing);
    let wanted = wanted.unwrap_or(nothing.container());
    // A number's scale is part of its content, which = on jsonb does not see.
    stored.container() == wanted || stored.to_text() == JsonDatum::of(wanted).to_text()
}

fn same_tags(stored: Option<Many<String>>, wanted: &[Option<&str>]) -> bool {
    let stored = stored.map_or(Vec::new(), |many| many.0);
    stored.iter().map(Option::as_deref).eq(wanted.iter().copied())
}

impl NewEvents<'_> {
    /// The version that the stream had after these events, if they are there already; nothing if none of them is. They
    /// must all be there, in this stream, one after the other, with this content.
    pub fn found(&self, session: &Session) -> Result<Option<i32>, Error> {
        let rows = session.run_latest(&FOUND, &[Arg::UuidArray(self.ids)])?;
        if rows.count() == 0 {
            return Ok(None);
        }
        let numbers: HashMap<Uuid, usize> = self.ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let mut before = None;
        let same = rows.iter().all(|row| {
            let at = numbers[&row.uuid(1).expect(PRESENT)];
            let item = &self.items[at];
            let version = i64::from(row.int(3).expect(PRESENT)) - at as i64;
            *before.get_or_insert(version) == version
                && row.uuid(2) == Some(self.aggregate)
                && row.text(4).as_deref() == Some(item.event_type)
                && same_json(row.json(5), Some(item.data))
                && same_json(row.json(6), item.metadata)
                && same_tags(row.get(7), &item.tags)
        });
        let first = before.and_then(|version| i32::try_from(version).ok());
        let Some(first) = first.filter(|_| same && rows.count() == self.ids.len()) else {
            return Err(Error::EventConflict { aggregate: self.aggregate });
        };
        let found = rows.first().and_then(|row| row.text(8)).expect(PRESENT);
        if found != self.aggregate_type {
            let wanted = self.aggregate_type.to_owned();
            return Err(Error::AggregateType { aggregate: self.aggregate, wanted, found });
        }
        Ok(Some(first + self.ids.len() as i32 - 1))
    }

    /// Where they go, behind `stream`. The session is opened where one is needed.
    pub fn next<'s>(
        &self,
        session: impl FnOnce() -> &'s Session,
        stream: Option<&Stream>,
    ) -> Result<Next, Error> {
        let (before, after) =
            stream.map_or((0, Position(0)), |stream| (stream.version, stream.last_position));
        let count = self.ids.len();
        let Some(version) = i32::try_from(count).ok().and_then(|count| before.checked_add(count)) else {
            let why = format!("It would have {before} and {count} events; the most is {}.", i32::MAX);
            return Err(Error::ArgumentBounds { argument: "events", why });
        };
        let at = server::clock_micros().max(stream.map_or(i64::MIN, |stream| stream.last_at));
        Ok(Next { before, version, at, first: positions(session, after, count)? })
    }

    /// Writes them by SQL to a stream that this transaction has locked; false where it is new and another session has
    /// just opened it.
    pub fn write(&self, session: &Session, is_open: bool, next: Next) -> Result<bool, Error> {
        let (aggregate, of_type) = (Arg::Uuid(Some(self.aggregate)), Arg::Text(Some(self.aggregate_type)));
        let recorded = Arg::Timestamp(Some(next.at));
        let moved = [Arg::Int(Some(next.version)), Arg::BigInt(Some(next.last()))];
        let suppressed = || Error::EventSuppressed { aggregate: self.aggregate };
        if is_open {
            if session.run(&ADVANCE, &[aggregate, moved[0], moved[1], recorded])?.count() == 0 {
                return Err(suppressed());
            }
        } else if session.run(&OPEN, &[aggregate, of_type, moved[0], moved[1], recorded])?.count() == 0 {
            return Ok(false);
        }
        for (at, item) in self.items.iter().enumerate() {
            let args = [
                aggregate,
                of_type,
                Arg::Int(Some(next.event_version(at))),
                Arg::BigInt(Some(next.position(at))),
                Arg::Text(Some(self.caller)),
                Arg::Text(Some(item.event_type)),
                Arg::Uuid(Some(self.ids[at])),
                Arg::Jsonb(Some(JsonDatum::of(item.data))),
                Arg::Jsonb(item.metadata.map(JsonDatum::of)),
                Arg::TextArray(&item.tags),
                recorded,
            ];
            if session.run(&INSERT, &args)?.count() == 0 {
                // Another session has just brought the id to another stream, or else a trigger has dropped the row.
                let ids = [self.ids[at]];
                let is_there = session.run_latest(&FOUND, &[Arg::UuidArray(&ids)])?.count() > 0;
                let conflict = Error::EventConflict { aggregate: self.aggregate };
                return Err(if is_there { conflict } else { suppressed() });
            }
        }
        Ok(true)
    }
}
