//! Appends that depend on events of other streams: none that meets a condition may be there after a position.

use super::core::{MAX_NAME, MAX_TAGS, name_is_good, tags_are_good};
use super::tags::{ALL_TAGS, Depends, Hold, Keys, Locks, key_of};
use crate::error::Error;
use crate::pg::locks::{Mode, lock_key, lock_table};
use crate::pg::table::refuse_read_only;
use crate::pg::{Arg, PRESENT, Session, Statement, Type, server};
use std::cell::Cell;

pub const MAX_TYPES: usize = 100;

/// Events looked at one by one before an index on tags is asked: mostly a caller has read a moment ago.
const NEAR: i32 = 200;

static SAFE: Statement = Statement::new(c"SELECT event_store.safe_position()", &[]);

// An empty array stands for any.
static FIRST_NEAR: Statement = Statement::new(
    c"SELECT count(*)::int,
             min(e.global_position) FILTER (
                 WHERE (pg_catalog.cardinality($2) = 0 OR e.event_type = ANY ($2))
                   AND (pg_catalog.cardinality($3) = 0 OR e.tags @> $3))
      FROM (SELECT * FROM event_store.events WHERE global_position > $1 ORDER BY global_position LIMIT $4) e",
    &[Type::BigInt, Type::TextArray, Type::TextArray, Type::Int],
);

// The additions keep the planner from walking the positions instead of the tags.
static FIRST_TAGGED: Statement = Statement::new(
    c"SELECT min(e.global_position + 0)
      FROM event_store.events e
      WHERE e.tags @> $3 AND e.global_position + 0 > $1
        AND (pg_catalog.cardinality($2) = 0 OR e.event_type = ANY ($2))",
    &[Type::BigInt, Type::TextArray, Type::TextArray],
);

static FIRST_OF_TYPES: Statement = Statement::new(
    c"SELECT e.global_position
      FROM event_store.events e
      WHERE e.global_position > $1 AND e.event_type = ANY ($2)
      ORDER BY e.global_position LIMIT 1",
    &[Type::BigInt, Type::TextArray],
);

static AT_POSITION: Statement = Statement::new(
    c"SELECT e.event_id, e.event_type::text FROM event_store.events e WHERE e.global_position = $1",
    &[Type::BigInt],
);

/// No event of any of these types and with all of these tags may be there after the position.
pub struct Condition<'a> {
    pub after: i64,
    /// Empty: of any type.
    pub event_types: &'a [Option<&'a str>],
    /// Empty: with any tags or none.
    pub tags: &'a [Option<&'a str>],
}

impl Condition<'_> {
    /// The condition as it was given: `None` is a null argument.
    pub fn bounded(self, event_types: bool, tags: bool) -> Result<Self, Error> {
        let bad = |argument, why: String| Err(Error::ArgumentBounds { argument, why });
        if !event_types && !tags {
            return bad("tags", "One of event_types and tags must be given.".into());
        }
        if event_types && !(1..=MAX_TYPES).contains(&self.event_types.len()) {
            let why = format!("There are {}; it must have 1 to {MAX_TYPES}.", self.event_types.len());
            return bad("event_types", why);
        }
        if self.event_types.iter().any(|name| name.is_none_or(|name| name_is_good(name).is_err())) {
            let why = format!("One is null, blank or longer than {MAX_NAME} characters.");
            return bad("event_types", why);
        }
        if tags && self.tags.is_empty() {
            return bad("tags", format!("There are none; it must have 1 to {MAX_TAGS}."));
        }
        if let Err(why) = tags_are_good(self.tags.iter().copied()) {
            return bad("tags", why.into());
        }
        if self.after < 0 {
            return bad("after_position", format!("It is {}; positions begin at 0.", self.after));
        }
        Ok(self)
    }

    /// Events up to the position must be final: a caller who has read less of them could not know what it missed.
    pub fn refuse_open_past(&self, session: &Session) -> Result<(), Error> {
        let safe = session.run_latest(&SAFE, &[])?.first().and_then(|row| row.bigint(1)).expect(PRESENT);
        if self.after < safe {
            return Ok(());
        }
        let why = format!(
            "It is {}; events may still come below it, only those below {safe} (event_store.safe_position()) are final.",
            self.after
        );
        Err(Error::ArgumentBounds { argument: "after_position", why })
    }

    fn depends(&self) -> Depends {
        match self.tags.first() {
            Some(tag) => Depends::Tag(key_of(tag.expect("bounded"))),
            None => Depends::Events,
        }
    }

    /// The first event that meets it, as things stand now.
    fn first(&self, session: &Session) -> Result<Option<i64>, Error> {
        let after = Arg::BigInt(Some(self.after));
        let (types, tags) = (Arg::TextArray(self.event_types), Arg::TextArray(self.tags));
        let rows = session.run_latest(&FIRST_NEAR, &[after, types, tags, Arg::Int(Some(NEAR))])?;
        let near = rows.first().expect("an aggregate has a row");
        let (seen, first) = (near.int(1).expect(PRESENT), near.bigint(2));
        if first.is_some() || seen < NEAR {
            return Ok(first);
        }
        let rows = if self.tags.is_empty() {
            session.run_latest(&FIRST_OF_TYPES, &[after, types])?
        } else {
            session.run_latest(&FIRST_TAGGED, &[after, types, tags])?
        };
        Ok(rows.first().and_then(|row| row.bigint(1)))
    }

    /// Refuses where it is not met. The locks of [`enter`] are held, so nobody else can change the answer.
    pub fn check(&self, session: &Session) -> Result<(), Error> {
        let Some(position) = self.first(session)? else { return Ok(()) };
        let rows = session.run_latest(&AT_POSITION, &[Arg::BigInt(Some(position))])?;
        let row = rows.first().expect("it was just found, and events stay");
        Err(Error::AppendCondition {
            event: row.uuid(1).expect(PRESENT),
            event_type: row.text(2).expect(PRESENT),
            position,
            after: self.after,
        })
    }
}

thread_local! {
    /// When the transaction began that has locked keys, and how many.
    static HELD: Cell<(i64, usize)> = const { Cell::new((0, 0)) };
}

/// The same for events of many tags: no condition on tags is looked at until this transaction has ended.
pub fn enter_with_many_tags() -> Result<(), Error> {
    refuse_read_only(c"an append")?;
    lock_table([c"event_store", c"position_base"], Mode::Writer)?;
    lock_key(ALL_TAGS, Mode::NoWriters)
}

/// Keeps the events apart from appends that depend on them, and this append from events that it depends on. Every
/// append comes by here before it takes another lock.
pub fn enter(tags: &Keys, condition: Option<&Condition>) -> Result<(), Error> {
    refuse_read_only(c"an append")?;
    let depends = condition.map_or(Depends::Nothing, Condition::depends);
    let began = server::transaction_began();
    let (of, held) = HELD.get();
    let held = if of == began { held } else { 0 };
    let locks = Locks::of(tags, depends, held);
    let appenders = match locks.appenders {
        Hold::Shared => Mode::Writer,
        Hold::Exclusive => Mode::Alone,
    };
    lock_table([c"event_store", c"position_base"], appenders)?;
    match locks.all_tags {
        // Those who write many do not keep each other out, nor do those who depend on some.
        Some(Hold::Exclusive) => lock_key(ALL_TAGS, Mode::NoWriters)?,
        Some(Hold::Shared) => lock_key(ALL_TAGS, Mode::Writer)?,
        None => {}
    }
    if !locks.keys.is_empty() {
        HELD.set((began, held + locks.keys.len()));
    }
    locks.keys.iter().try_for_each(|(key, hold)| {
        let mode = match hold {
            Hold::Shared => Mode::Writer,
            Hold::Exclusive => Mode::Alone,
        };
        lock_key(*key, mode)
    })
}
