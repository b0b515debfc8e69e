//! Streams and events by direct access.

use super::core::Stream;
use super::position::Position;
use super::store::{NewEvents, Next};
use crate::error::Error;
use crate::guc::{self, PostingPath};
use crate::pg::append::NewRow;
use crate::pg::rows::{Locked, Reader, Replaced, Row, Wait, follows};
use crate::pg::table::{Column, FreshSnapshot, Index, Method, Only, Shape, Table};
use crate::pg::{Arg, JsonDatum, PRESENT, Time};
use pgrx::pg_sys::{self, Datum};
use uuid::Uuid;

/// Columns of `event_store.streams`.
mod stream {
    pub const LAST_POSITION: usize = 2;
    pub const LAST_AT: usize = 4;
    pub const VERSION: usize = 5;
    pub const AGGREGATE_TYPE: usize = 6;
}

static STREAMS: Shape = Shape::new(
    [c"event_store", c"streams"],
    &[
        Column::required(pg_sys::UUIDOID),
        Column::required(pg_sys::INT8OID),
        Column::required(pg_sys::TIMESTAMPTZOID),
        Column::required(pg_sys::TIMESTAMPTZOID),
        Column::required(pg_sys::INT4OID),
        Column::required(pg_sys::VARCHAROID),
    ],
    &[Index::unique(&[1])],
    c"guard_ledger",
);

static EVENTS: Shape = Shape::new(
    [c"event_store", c"events"],
    &[
        Column::required(pg_sys::UUIDOID),
        Column::required(pg_sys::UUIDOID),
        Column::required(pg_sys::INT8OID),
        Column::required(pg_sys::TIMESTAMPTZOID),
        Column::required(pg_sys::INT4OID),
        Column::required(pg_sys::VARCHAROID),
        Column::required(pg_sys::VARCHAROID),
        Column::required(pg_sys::TEXTOID),
        Column::required(pg_sys::JSONBOID),
        Column::required(pg_sys::JSONBOID),
        Column::optional(pg_sys::TEXTARRAYOID),
    ],
    &[
        Index::unique(&[1]),
        Index::unique(&[3]),
        Index::unique(&[2, 5]),
        Index::plain(&[6, 3], None),
        Index { method: Method::Gin, ..Index::plain(&[11], Some(Only::NotNull(11))) },
    ],
    c"guard_ledger",
);

/// The two tables that every append touches.
pub struct DirectStore {
    streams: Table,
    events: Table,
}

/// A stream and its row.
pub type Found<'d> = (Stream, Row<'d>);

impl DirectStore {
    /// Nothing where appends are to go through SQL.
    pub fn open() -> Result<Option<Self>, Error> {
        let setting = guc::posting_path();
        if setting == PostingPath::Spi {
            return Ok(None);
        }
        let store = DirectStore { streams: Table::open(&STREAMS)?, events: Table::open(&EVENTS)? };
        if store.streams.is_plain() && store.events.is_plain() {
            return Ok(Some(store));
        }
        if setting == PostingPath::Auto {
            return Ok(None);
        }
        let obstacle =
            store.streams.obstacle()?.map_or_else(|| store.events.obstacle(), |why| Ok(Some(why)))?;
        Err(Error::NoDirectPath { why: obstacle.unwrap_or_else(|| "has changed".into()) })
    }

    /// The stream as it is: locked, or only read, when [`DirectStore::write`] tells whether it was still so.
    pub fn stream(&self, aggregate: Uuid, locked: bool) -> Result<Option<Found<'_>>, Error> {
        let _snapshot = FreshSnapshot::take();
        let mut streams = Reader::open(&self.streams)?;
        if !streams.find(aggregate, None)? {
            return Ok(None);
        }
        let row = if locked {
            match streams.lock(Wait::Yes)? {
                Locked::Row(row) => row,
                Locked::Missing => return Ok(None),
                Locked::Busy | Locked::Changed => return Err(Error::ConcurrentUpdate),
            }
        } else {
            streams.take()?
        };
        Ok(Some((read(&row), row)))
    }

    /// Whether an event with one of the ids is there, seen or not by the transaction's own snapshot.
    pub fn has_any(&self, ids: &[Uuid]) -> Result<bool, Error> {
        let _snapshot = FreshSnapshot::latest();
        let mut events = Reader::open(&self.events)?;
        for id in ids {
            if events.find(*id, None)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the events; false where the stream is not as it was read, or has just been opened by another session.
    pub fn write(&self, new: &NewEvents, stream: Option<&Found>, next: Next) -> Result<bool, Error> {
        let version = Arg::Int(Some(next.version)).datum().expect("a number");
        let last = Arg::BigInt(Some(next.last())).datum().expect("a number");
        let at = Arg::Timestamp(Some(next.at)).datum().expect("a number");
        let moved = match stream {
            Some((_, row)) => {
                let changes =
                    [(stream::LAST_POSITION, last), (stream::LAST_AT, at), (stream::VERSION, version)];
                row.replace(&changes, Wait::Yes)? == Replaced::Done
            }
            None => self.open_stream(new, last, version, at)?,
        };
        if moved {
            self.append(new, next)?;
        }
        Ok(moved)
    }

    fn open_stream(&self, new: &NewEvents, last: Datum, version: Datum, at: Datum) -> Result<bool, Error> {
        let fill = |row: &mut NewRow| {
            row.fill([
                Arg::Uuid(Some(new.aggregate)).datum(),
                Some(last),
                Some(at),
                Some(at),
                Some(version),
                Arg::Text(Some(new.aggregate_type)).datum(),
            ]);
        };
        if self.streams.append_unless_taken(fill)? {
            return Ok(true);
        }
        // At REPEATABLE READ and above it may be there without being visible, and then nothing can be said of it.
        let _snapshot = FreshSnapshot::take();
        let is_visible = follows() || Reader::open(&self.streams)?.find(new.aggregate, None)?;
        if is_visible { Ok(false) } else { Err(Error::ConcurrentUpdate) }
    }

    fn append(&self, new: &NewEvents, next: Next) -> Result<(), Error> {
        let [of_type, by] = [new.aggregate_type, new.caller].map(|text| Arg::Text(Some(text)).datum());
        let nothing = JsonDatum::object(&[]).datum();
        let appended = self.events.append(new.items.len(), |at, row| {
            let item = &new.items[at];
            row.fill([
                Arg::Uuid(Some(new.ids[at])).datum(),
                Arg::Uuid(Some(new.aggregate)).datum(),
                Arg::BigInt(Some(next.position(at))).datum(),
                Arg::Timestamp(Some(next.at)).datum(),
                Arg::Int(Some(next.event_version(at))).datum(),
                of_type,
                Arg::Text(Some(item.event_type)).datum(),
                by,
                Some(JsonDatum::of(item.data).datum()),
                Some(item.metadata.map_or(nothing, |metadata| JsonDatum::of(metadata).datum())),
                if item.tags.is_empty() { None } else { Arg::TextArray(&item.tags).datum() },
            ]);
        });
        match appended {
            // Positions and versions are ours alone, so it is an id, which was not there when we looked.
            Err(Error::Server(error)) if new.given_ids && error.is("23505") => {
                Err(Error::EventConflict { aggregate: new.aggregate })
            }
            other => other,
        }
    }
}

fn read(row: &Row) -> Stream {
    Stream {
        aggregate_type: String::from_utf8_lossy(row.bytes(stream::AGGREGATE_TYPE)).into_owned(),
        version: row.get(stream::VERSION).expect(PRESENT),
        last_position: Position(row.get(stream::LAST_POSITION).expect(PRESENT)),
        last_at: row.get::<Time>(stream::LAST_AT).expect(PRESENT).0,
    }
}
