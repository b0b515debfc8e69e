//! Subscriptions made, changed, set back and dropped, and what becomes of parked events.

use super::core::{Filter, Start};
use super::failure;
use super::store;
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Session, Statement, Type, server};
use std::collections::HashSet;
use uuid::Uuid;

/// Parked events that one call takes when none are named.
const MAX_PARKED: i32 = 10_000;

static SAFE: Statement = Statement::new(c"SELECT event_store.safe_position()", &[]);

static CREATE: Statement = Statement::new(
    c"INSERT INTO event_store.subscriptions
          (name, partitions, max_attempts, backoff_first_ms, backoff_most_ms, lease_ms, parked_blocks, aggregate_types,
           event_types, tags)
      VALUES ($1, $2, $3, $4, $5, $6, $7 = 1, $8, $9, $10)
      ON CONFLICT (name) DO NOTHING",
    &[
        Type::Text, Type::Int, Type::Int, Type::Int, Type::Int, Type::Int, Type::Int, Type::TextArray, Type::TextArray,
        Type::TextArray,
    ],
);

static CREATE_PARTITIONS: Statement = Statement::new(
    c"INSERT INTO event_store.subscription_partitions (subscription, partition_no, position)
      SELECT $1, n, $3 FROM pg_catalog.generate_series(0, $2 - 1) n",
    &[Type::Text, Type::Int, Type::BigInt],
);

static LOCK: Statement = Statement::new(
    c"SELECT true FROM event_store.subscriptions s WHERE s.name = $1 FOR UPDATE",
    &[Type::Text],
);

static ALTER: Statement = Statement::new(
    c"UPDATE event_store.subscriptions
      SET max_attempts = $2, backoff_first_ms = $3, backoff_most_ms = $4, lease_ms = $5, parked_blocks = $6 = 1,
          paused = $7 = 1
      WHERE name = $1",
    &[Type::Text, Type::Int, Type::Int, Type::Int, Type::Int, Type::Int, Type::Int],
);

static SET_BACK: Statement = Statement::new(
    c"UPDATE event_store.subscription_partitions SET position = $2, lease_token = NULL WHERE subscription = $1",
    &[Type::Text, Type::BigInt],
);

static DROP_LEASES: Statement =
    Statement::new(c"DELETE FROM event_store.subscription_leases WHERE subscription = $1", &[Type::Text]);
static DROP_STREAMS: Statement =
    Statement::new(c"DELETE FROM event_store.subscription_streams WHERE subscription = $1", &[Type::Text]);
static DROP_PARKED: Statement =
    Statement::new(c"DELETE FROM event_store.subscription_parked WHERE subscription = $1", &[Type::Text]);
static DROP_CONSUMERS: Statement =
    Statement::new(c"DELETE FROM event_store.subscription_consumers WHERE subscription = $1", &[Type::Text]);
static DROP_PARTITIONS: Statement =
    Statement::new(c"DELETE FROM event_store.subscription_partitions WHERE subscription = $1", &[Type::Text]);
static DROP: Statement =
    Statement::new(c"DELETE FROM event_store.subscriptions WHERE name = $1", &[Type::Text]);

static PARKED: Statement = Statement::new(
    c"SELECT k.event_id, k.aggregate_id FROM event_store.subscription_parked k
      WHERE k.subscription = $1 AND NOT k.replaying ORDER BY k.global_position LIMIT $2",
    &[Type::Text, Type::Int],
);

static PARKED_OF: Statement = Statement::new(
    c"SELECT k.event_id, k.aggregate_id FROM event_store.events e
      JOIN event_store.subscription_parked k ON k.subscription = $1 AND k.global_position = e.global_position
      WHERE e.event_id = ANY ($2)",
    &[Type::Text, Type::UuidArray],
);

static LOCK_STREAMS: Statement = Statement::new(
    c"SELECT h.aggregate_id FROM event_store.subscription_streams h
      WHERE h.subscription = $1 AND h.aggregate_id = ANY ($2) ORDER BY h.aggregate_id FOR NO KEY UPDATE",
    &[Type::Text, Type::UuidArray],
);

static REPLAY: Statement = Statement::new(
    c"UPDATE event_store.subscription_parked SET replaying = true
      WHERE subscription = $1 AND aggregate_id = ANY ($2) AND event_id = ANY ($3) AND NOT replaying",
    &[Type::Text, Type::UuidArray, Type::UuidArray],
);

static DISCARD: Statement = Statement::new(
    c"DELETE FROM event_store.subscription_parked
      WHERE subscription = $1 AND aggregate_id = ANY ($2) AND event_id = ANY ($3)
      RETURNING aggregate_id, event_version",
    &[Type::Text, Type::UuidArray, Type::UuidArray],
);

// A fetch above READ COMMITTED that goes by an older snapshot, in which these events are still parked, is refused then.
static NOTE_DISCARD: Statement = Statement::new(
    c"UPDATE event_store.subscription_streams SET next_version = next_version
      WHERE subscription = $1 AND aggregate_id = ANY ($2)",
    &[Type::Text, Type::UuidArray],
);

// Streams go on that no parked event blocks any more.
static GO_ON: Statement = Statement::new(
    c"UPDATE event_store.subscription_streams h
      SET blocked = false, attempts = 0, alone = false, retry_at = $3, failed_token = NULL, failed_version = NULL,
          reason = NULL
      WHERE h.subscription = $1 AND h.aggregate_id = ANY ($2) AND h.blocked
        AND NOT EXISTS (SELECT FROM event_store.subscription_parked k
                        WHERE k.subscription = $1 AND k.aggregate_id = h.aggregate_id AND NOT k.replaying)",
    &[Type::Text, Type::UuidArray, Type::Timestamp],
);

/// What can be set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    pub max_attempts: Option<i32>,
    pub backoff_first_ms: Option<i32>,
    pub backoff_most_ms: Option<i32>,
    pub lease_ms: Option<i32>,
    pub parked_blocks: Option<bool>,
    pub paused: Option<bool>,
}

fn position(session: &Session, argument: &'static str, start: Start) -> Result<i64, Error> {
    let safe = session.one(&SAFE, &[], |row| row.bigint(1).expect(PRESENT))?.expect("one row");
    match start {
        Start::Now => Ok((safe - 1).max(0)),
        Start::After(position) if position < safe => Ok(position),
        Start::After(position) => {
            let why = format!("Position {position} is still to come; readers have reached {}.", safe - 1);
            Err(Error::ArgumentBounds { argument, why })
        }
    }
}

/// Makes a subscription; every one of the settings is given.
pub fn create(
    session: &Session,
    name: &str,
    filter: &Filter,
    start: Start,
    partitions: i32,
    settings: &Settings,
) -> Result<(), Error> {
    let position = position(session, "start", start)?;
    let key = Arg::Text(Some(name));
    let int = |value: Option<i32>| Arg::Int(value);
    let created = session.run(
        &CREATE,
        &[
            key,
            Arg::Int(Some(partitions)),
            int(settings.max_attempts),
            int(settings.backoff_first_ms),
            int(settings.backoff_most_ms),
            int(settings.lease_ms),
            int(settings.parked_blocks.map(i32::from)),
            Arg::Texts(filter.aggregate_types.as_deref()),
            Arg::Texts(filter.event_types.as_deref()),
            Arg::Texts(filter.tags.as_deref()),
        ],
    )?;
    if created.count() == 0 {
        return Err(Error::SubscriptionExists { name: name.to_owned() });
    }
    // A consumer of an earlier one of the name may have left its row a moment after the drop.
    session.run(&DROP_CONSUMERS, &[key])?;
    session.run(&CREATE_PARTITIONS, &[key, Arg::Int(Some(partitions)), Arg::BigInt(Some(position))]).map(drop)
}

fn lock(session: &Session, name: &str) -> Result<(), Error> {
    match session.run(&LOCK, &[Arg::Text(Some(name))])?.count() {
        0 => Err(Error::SubscriptionNotFound { name: name.to_owned() }),
        _ => Ok(()),
    }
}

/// Changes what is given; `check` looks at the whole.
pub fn alter(
    session: &Session,
    name: &str,
    new: &Settings,
    check: impl FnOnce(&Settings) -> Result<(), Error>,
) -> Result<(), Error> {
    lock(session, name)?;
    let old = store::find(session, name)?;
    let all = Settings {
        max_attempts: new.max_attempts.or(Some(old.max_attempts)),
        backoff_first_ms: new.backoff_first_ms.or(Some(old.backoff_first_ms)),
        backoff_most_ms: new.backoff_most_ms.or(Some(old.backoff_most_ms)),
        lease_ms: new.lease_ms.or(Some(old.lease_ms)),
        parked_blocks: new.parked_blocks.or(Some(old.parked_blocks)),
        paused: new.paused.or(Some(old.paused)),
    };
    check(&all)?;
    let args = [
        Arg::Text(Some(name)),
        Arg::Int(all.max_attempts),
        Arg::Int(all.backoff_first_ms),
        Arg::Int(all.backoff_most_ms),
        Arg::Int(all.lease_ms),
        Arg::Int(all.parked_blocks.map(i32::from)),
        Arg::Int(all.paused.map(i32::from)),
    ];
    session.run(&ALTER, &args).map(drop)
}

/// Forgets what is in flight, retried and parked. Nobody works with the subscription meanwhile.
fn forget(session: &Session, name: &str) -> Result<(), Error> {
    let key = [Arg::Text(Some(name))];
    [&DROP_LEASES, &DROP_STREAMS, &DROP_PARKED]
        .into_iter()
        .try_for_each(|statement| session.run(statement, &key).map(drop))
}

pub fn reset(session: &Session, name: &str, start: Start) -> Result<(), Error> {
    store::enter(name, true)?;
    lock(session, name)?;
    let position = position(session, "start", start)?;
    forget(session, name)?;
    session.run(&SET_BACK, &[Arg::Text(Some(name)), Arg::BigInt(Some(position))]).map(drop)
}

pub fn remove(session: &Session, name: &str) -> Result<(), Error> {
    store::enter(name, true)?;
    lock(session, name)?;
    forget(session, name)?;
    for statement in [&DROP_PARTITIONS, &DROP_CONSUMERS, &DROP] {
        session.run(statement, &[Arg::Text(Some(name))])?;
    }
    Ok(())
}

/// What is to become of parked events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Replay,
    Discard,
}

/// Has parked events handed out again, or gives them up for good; how many. `None`: all that are parked.
pub fn decide(session: &Session, name: &str, ids: Option<&[Uuid]>, fate: Fate) -> Result<i64, Error> {
    store::enter(name, false)?;
    store::find(session, name)?;
    let key = Arg::Text(Some(name));
    let rows = match ids {
        None => session.run(&PARKED, &[key, Arg::Int(Some(MAX_PARKED))])?,
        Some(ids) => session.run(&PARKED_OF, &[key, Arg::UuidArray(ids)])?,
    };
    let found: Vec<(Uuid, Uuid)> =
        rows.iter().map(|row| (row.uuid(1).expect(PRESENT), row.uuid(2).expect(PRESENT))).collect();
    let known: HashSet<Uuid> = found.iter().map(|(event, _)| *event).collect();
    if let Some(event) = ids.unwrap_or_default().iter().find(|id| !known.contains(*id)) {
        return Err(Error::EventNotParked { event: *event });
    }
    let (events, streams): (Vec<Uuid>, Vec<Uuid>) = found.into_iter().unzip();
    session.run(&LOCK_STREAMS, &[key, Arg::UuidArray(&streams)])?;
    let args = [key, Arg::UuidArray(&streams), Arg::UuidArray(&events)];
    let changed = match fate {
        Fate::Replay => session.run(&REPLAY, &args)?.count(),
        Fate::Discard => {
            session.run(&NOTE_DISCARD, &args[..2])?;
            let gone = session.run(&DISCARD, &args)?;
            for row in gone.iter() {
                failure::forget(session, name, row.uuid(1).expect(PRESENT), &[row.int(2).expect(PRESENT)])?;
            }
            gone.count()
        }
    };
    let now = Arg::Timestamp(Some(server::clock_micros()));
    session.run(&GO_ON, &[key, Arg::UuidArray(&streams), now])?;
    Ok(changed as i64)
}
