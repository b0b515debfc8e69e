//! A subscription, its events and leases as rows.

use super::core::{Filter, Open};
use crate::error::Error;
use crate::event_store::tags::key_of;
use crate::pg::locks::lock_numbered;
use crate::pg::types::JsonBytes;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Time, Type};
use uuid::Uuid;

/// How long a consumer that is not seen counts as one that has a share, at the least.
const CONSUMER_MS: i64 = 60_000;

static SUBSCRIPTION: Statement = Statement::new(
    c"SELECT s.partitions, s.max_attempts, s.backoff_first_ms, s.backoff_most_ms, s.lease_ms, s.parked_blocks, s.paused,
             s.aggregate_types, s.event_types, s.tags
      FROM event_store.subscriptions s WHERE s.name = $1",
    &[Type::Text],
);

// $2: the consumer; $3: now; $4: how long a consumer counts, in microseconds.
static SURROUNDINGS: Statement = Statement::new(
    c"SELECT safe.position,
             (SELECT count(*) FROM event_store.subscription_consumers c
              WHERE c.subscription = $1 AND c.consumer <> $2
                AND c.seen_at > $3 - pg_catalog.make_interval(secs => $4 / 1000000.0)),
             (SELECT c.seen_at FROM event_store.subscription_consumers c
              WHERE c.subscription = $1 AND c.consumer = $2),
             EXISTS (SELECT FROM event_store.subscription_leases l
                     WHERE l.subscription = $1 AND NOT l.done AND l.leased_until <= $3),
             EXISTS (SELECT FROM event_store.subscription_streams h WHERE h.subscription = $1),
             EXISTS (SELECT FROM event_store.subscription_streams h
                     WHERE h.subscription = $1 AND h.lease_token IS NULL AND NOT h.blocked AND h.attempts = 0),
             EXISTS (SELECT FROM event_store.subscription_parked k WHERE k.subscription = $1 AND k.replaying),
             EXISTS (SELECT FROM event_store.events e
                     WHERE e.global_position > (SELECT min(p.position) FROM event_store.subscription_partitions p
                                                WHERE p.subscription = $1 AND p.lease_token IS NULL)
                       AND e.global_position < safe.position)
      FROM (SELECT event_store.safe_position() AS position OFFSET 0) safe",
    &[Type::Text, Type::Text, Type::Timestamp, Type::BigInt],
);

static LOCK_LEASE: Statement = Statement::new(
    c"SELECT l.done, l.open_positions, l.acked_positions, l.consumer
      FROM event_store.subscription_leases l WHERE l.subscription = $1 AND l.lease_token = $2 FOR NO KEY UPDATE",
    &[Type::Text, Type::BigInt],
);

static OPEN_EVENTS: Statement = Statement::new(
    c"SELECT e.global_position, e.aggregate_id, e.event_version
      FROM event_store.events e WHERE e.global_position = ANY ($1) ORDER BY e.global_position",
    &[Type::BigIntArray],
);

static SETTLE_LEASE: Statement = Statement::new(
    c"UPDATE event_store.subscription_leases
      SET open_positions = $3, acked_positions = acked_positions || $4, done = pg_catalog.cardinality($3) = 0
      WHERE subscription = $1 AND lease_token = $2",
    &[Type::Text, Type::BigInt, Type::BigIntArray, Type::BigIntArray],
);

static FREE_PARTITIONS: Statement = Statement::new(
    c"UPDATE event_store.subscription_partitions p
      SET lease_token = NULL
      FROM (SELECT f.partition_no FROM event_store.subscription_partitions f
            WHERE f.subscription = $1 AND f.lease_token = $2 ORDER BY f.partition_no FOR NO KEY UPDATE) l
      WHERE p.subscription = $1 AND p.partition_no = l.partition_no",
    &[Type::Text, Type::BigInt],
);

/// What an event has, in the order of the table's columns.
macro_rules! event_columns {
    () => {
        "e.event_id, e.aggregate_id, e.global_position, e.created_at, e.event_version, e.aggregate_type::text, \
         e.event_type::text, e.created_by, e.event_data, e.metadata, e.tags "
    };
}
pub(super) use event_columns;

/// Whether the filter in three parameters lets the event pass.
macro_rules! passes {
    ($types:literal, $events:literal, $tags:literal) => {
        concat!(
            "(",
            $types,
            " IS NULL OR e.aggregate_type = ANY (",
            $types,
            ")) AND (",
            $events,
            " IS NULL OR e.event_type = ANY (",
            $events,
            ")) AND (",
            $tags,
            " IS NULL OR e.tags @> ",
            $tags,
            ")"
        )
    };
}
pub(super) use passes;

static EVENTS_BY_ID: Statement = Statement::new(
    c"SELECT e.global_position, e.aggregate_id, e.event_version, e.event_id
      FROM event_store.events e WHERE e.event_id = ANY ($1)",
    &[Type::UuidArray],
);

pub struct Subscription {
    pub name: String,
    pub partitions: i32,
    pub max_attempts: i32,
    pub backoff_first_ms: i32,
    pub backoff_most_ms: i32,
    pub lease_ms: i32,
    pub parked_blocks: bool,
    pub paused: bool,
    pub filter: Filter,
}

/// What a fetch finds at its start.
pub struct Surroundings {
    pub safe_position: i64,
    pub other_consumers: i64,
    pub seen_at: Option<Time>,
    pub has_expired: bool,
    pub has_streams: bool,
    /// Streams that may go back to their partition.
    pub has_clear: bool,
    pub has_replays: bool,
    /// Events that a free partition has yet to look at.
    pub has_news: bool,
}

pub struct Lease {
    pub token: i64,
    pub done: bool,
    pub open: Vec<i64>,
    pub acked: Vec<i64>,
    pub consumer: String,
}

/// An event as a fetch answers it.
pub struct Event {
    pub event_id: Uuid,
    pub aggregate: Uuid,
    pub position: i64,
    pub created_at: Time,
    pub version: i32,
    pub aggregate_type: String,
    pub event_type: String,
    pub created_by: String,
    pub data: JsonBytes,
    pub metadata: JsonBytes,
    pub tags: Option<Vec<Option<String>>>,
    pub attempt: i32,
}

impl Event {
    pub fn read(row: &Row, attempt: i32) -> Event {
        Event {
            event_id: row.uuid(1).expect(PRESENT),
            aggregate: row.uuid(2).expect(PRESENT),
            position: row.bigint(3).expect(PRESENT),
            created_at: row.time(4).expect(PRESENT),
            version: row.int(5).expect(PRESENT),
            aggregate_type: row.text(6).expect(PRESENT),
            event_type: row.text(7).expect(PRESENT),
            created_by: row.text(8).expect(PRESENT),
            data: row.get(9).expect(PRESENT),
            metadata: row.get(10).expect(PRESENT),
            tags: row.get(11),
            attempt,
        }
    }
}

pub fn find(session: &Session, name: &str) -> Result<Subscription, Error> {
    let found = session.one(&SUBSCRIPTION, &[Arg::Text(Some(name))], |row| Subscription {
        name: name.to_owned(),
        partitions: row.int(1).expect(PRESENT),
        max_attempts: row.int(2).expect(PRESENT),
        backoff_first_ms: row.int(3).expect(PRESENT),
        backoff_most_ms: row.int(4).expect(PRESENT),
        lease_ms: row.int(5).expect(PRESENT),
        parked_blocks: row.bool(6).expect(PRESENT),
        paused: row.bool(7).expect(PRESENT),
        filter: Filter { aggregate_types: row.get(8), event_types: row.get(9), tags: row.get(10) },
    })?;
    found.ok_or_else(|| Error::SubscriptionNotFound { name: name.to_owned() })
}

impl Subscription {
    /// The first argument of most statements.
    pub fn key(&self) -> Arg<'_> {
        Arg::Text(Some(&self.name))
    }

    pub fn filter_args(&self) -> [Arg<'_>; 3] {
        let Filter { aggregate_types, event_types, tags } = &self.filter;
        [aggregate_types, event_types, tags].map(|names| Arg::Texts(names.as_deref()))
    }

    pub fn surroundings(&self, session: &Session, consumer: &str, now: i64) -> Result<Surroundings, Error> {
        let counts = i64::from(self.lease_ms).max(CONSUMER_MS) * 1_000;
        let who = [Arg::Text(Some(consumer)), Arg::Timestamp(Some(now))];
        let args = [self.key(), who[0], who[1], Arg::BigInt(Some(counts))];
        let found = session.one(&SURROUNDINGS, &args, |row| Surroundings {
            safe_position: row.bigint(1).expect(PRESENT),
            other_consumers: row.bigint(2).expect(PRESENT),
            seen_at: row.time(3),
            has_expired: row.bool(4).expect(PRESENT),
            has_streams: row.bool(5).expect(PRESENT),
            has_clear: row.bool(6).expect(PRESENT),
            has_replays: row.bool(7).expect(PRESENT),
            has_news: row.bool(8).expect(PRESENT),
        })?;
        Ok(found.expect("one row"))
    }
}

/// Keeps a subscription apart from its reset until the transaction ends: whoever works with its events shares this lock,
/// and whoever forgets them takes it alone, before any row. Each goes through leases, streams, parked events and
/// partitions in an order of its own, and so they would come to wait for each other. Names whose hash is the same wait
/// for each other's resets, nothing else.
pub fn enter(name: &str, alone: bool) -> Result<(), Error> {
    let key = key_of(name);
    lock_numbered([c"event_store", c"subscriptions"], (key ^ (key >> 32)) as i32, alone)
}

/// Locks the lease; it must be there.
pub fn lock_lease(session: &Session, name: &str, token: i64) -> Result<Lease, Error> {
    enter(name, false)?;
    let args = [Arg::Text(Some(name)), Arg::BigInt(Some(token))];
    let lease = session.one(&LOCK_LEASE, &args, |row| Lease {
        token,
        done: row.bool(1).expect(PRESENT),
        open: row.get(2).expect(PRESENT),
        acked: row.get(3).expect(PRESENT),
        consumer: row.text(4).expect(PRESENT),
    })?;
    match lease {
        Some(lease) => Ok(lease),
        None => Err(find(session, name).err().unwrap_or(Error::LeaseLost { token })),
    }
}

fn some(positions: &[i64]) -> Vec<Option<i64>> {
    positions.iter().copied().map(Some).collect()
}

/// The events at these positions, ascending; one that a retention rule took away is left out.
pub fn open_events(session: &Session, positions: &[i64]) -> Result<Vec<Open>, Error> {
    let rows = session.run(&OPEN_EVENTS, &[Arg::BigIntArray(&some(positions))])?;
    Ok(rows.iter().map(|row| open_event(&row)).collect())
}

fn open_event(row: &Row) -> Open {
    Open {
        position: row.bigint(1).expect(PRESENT),
        aggregate: row.uuid(2).expect(PRESENT),
        version: row.int(3).expect(PRESENT),
    }
}

pub fn events_by_id(session: &Session, ids: &[Uuid]) -> Result<Vec<(Uuid, Open)>, Error> {
    let rows = session.run(&EVENTS_BY_ID, &[Arg::UuidArray(ids)])?;
    Ok(rows.iter().map(|row| (row.uuid(4).expect(PRESENT), open_event(&row))).collect())
}

impl Lease {
    /// Leaves these open and has those acknowledged; gives the partitions free once none is open.
    pub fn settle(&self, session: &Session, name: &str, left: &[i64], acked: &[i64]) -> Result<(), Error> {
        let key = [Arg::Text(Some(name)), Arg::BigInt(Some(self.token))];
        let (left, acked) = (some(left), some(acked));
        session.run(&SETTLE_LEASE, &[key[0], key[1], Arg::BigIntArray(&left), Arg::BigIntArray(&acked)])?;
        if left.is_empty() {
            free_partitions(session, name, self.token)?;
        }
        Ok(())
    }
}

pub fn free_partitions(session: &Session, name: &str, token: i64) -> Result<(), Error> {
    session.run(&FREE_PARTITIONS, &[Arg::Text(Some(name)), Arg::BigInt(Some(token))]).map(drop)
}
