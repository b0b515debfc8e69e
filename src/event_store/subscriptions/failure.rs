//! What becomes of an event that failed: its stream leaves the partition, and the event is tried again or parked.

use super::core::{self, Open, Verdict, delay_ms, given_back, partition_of, ran_out};
use super::store::{self, Subscription};
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Session, Statement, Time, Type};
use std::collections::HashSet;
use uuid::Uuid;

/// Leases that have run out which one fetch clears away at the most.
const MAX_EXPIRED: i32 = 10;

static EXPIRED: Statement = Statement::new(
    c"SELECT l.lease_token, l.open_positions, l.consumer, l.leased_until = '-infinity'
      FROM event_store.subscription_leases l
      WHERE l.subscription = $1 AND NOT l.done AND l.leased_until <= $2
      ORDER BY l.leased_until LIMIT $3 FOR UPDATE SKIP LOCKED",
    &[Type::Text, Type::Timestamp, Type::Int],
);

static DROP_LEASE: Statement = Statement::new(
    c"DELETE FROM event_store.subscription_leases WHERE subscription = $1 AND lease_token = $2",
    &[Type::Text, Type::BigInt],
);

static STREAM: Statement = Statement::new(
    c"SELECT h.next_version, h.attempts, h.failed_version, h.failed_token, h.retry_at,
             EXISTS (SELECT FROM event_store.subscription_parked k
                     WHERE k.subscription = h.subscription AND k.aggregate_id = h.aggregate_id
                       AND k.event_version = $3 AND k.replaying)
      FROM event_store.subscription_streams h WHERE h.subscription = $1 AND h.aggregate_id = $2
      FOR NO KEY UPDATE OF h",
    &[Type::Text, Type::Uuid, Type::Int],
);

static KEEP: Statement = Statement::new(
    c"INSERT INTO event_store.subscription_streams
          (subscription, aggregate_id, partition_no, next_version, attempts, retry_at, lease_token, failed_token,
           blocked, alone, reason, failed_version)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9 = 1, $10 = 1, $11, $12)
      ON CONFLICT (subscription, aggregate_id) DO UPDATE
          SET next_version = $4, attempts = $5, retry_at = $6, lease_token = $7, failed_token = $8, blocked = $9 = 1,
              alone = $10 = 1, reason = $11, failed_version = $12",
    &[
        Type::Text, Type::Uuid, Type::Int, Type::Int, Type::Int, Type::Timestamp, Type::BigInt, Type::BigInt,
        Type::Int, Type::Int, Type::Text, Type::Int,
    ],
);

static PARK: Statement = Statement::new(
    c"INSERT INTO event_store.subscription_parked
          (subscription, global_position, aggregate_id, event_id, event_version, partition_no, attempts, reason, consumer,
           lease_token, parked_at)
      SELECT $1, e.global_position, e.aggregate_id, e.event_id, e.event_version, $3, $4, $5, $6, $7, $8
      FROM event_store.events e WHERE e.global_position = $2
      ON CONFLICT (subscription, global_position) DO UPDATE
          SET attempts = $4, reason = $5, consumer = $6, lease_token = $7, parked_at = $8, replaying = false",
    &[
        Type::Text, Type::BigInt, Type::Int, Type::Int, Type::Text, Type::Text, Type::BigInt, Type::Timestamp,
    ],
);

static RELEASE: Statement = Statement::new(
    c"UPDATE event_store.subscription_streams
      SET lease_token = NULL WHERE subscription = $1 AND lease_token = $2 AND aggregate_id <> ALL ($3)",
    &[Type::Text, Type::BigInt, Type::UuidArray],
);

static FORGET: Statement = Statement::new(
    c"UPDATE event_store.subscription_streams
      SET attempts = 0, alone = false, failed_version = NULL, failed_token = NULL, reason = NULL,
          retry_at = least(retry_at, pg_catalog.clock_timestamp())
      WHERE subscription = $1 AND aggregate_id = $2 AND failed_version = ANY ($3)",
    &[Type::Text, Type::Uuid, Type::IntArray],
);

static PARKED_BY: Statement = Statement::new(
    c"SELECT true FROM event_store.subscription_parked k
      WHERE k.subscription = $1 AND k.global_position = $2 AND k.lease_token = $3 AND NOT k.replaying",
    &[Type::Text, Type::BigInt, Type::BigInt],
);

/// A stream that is apart from its partition, as its lock shows it.
pub struct Apart {
    pub next_version: i32,
    pub attempts: i32,
    /// The event whose failures these are.
    pub failed_version: Option<i32>,
    pub failed_token: Option<i64>,
    pub retry_at: Time,
    /// Whether the version asked about is a parked one that is replayed.
    pub is_replay: bool,
}

pub fn apart(session: &Session, name: &str, stream: Uuid, version: i32) -> Result<Option<Apart>, Error> {
    let args = [Arg::Text(Some(name)), Arg::Uuid(Some(stream)), Arg::Int(Some(version))];
    session.one(&STREAM, &args, |row| Apart {
        next_version: row.int(1).expect(PRESENT),
        attempts: row.int(2).expect(PRESENT),
        failed_version: row.int(3),
        failed_token: row.bigint(4),
        retry_at: row.time(5).expect(PRESENT),
        is_replay: row.bool(6).expect(PRESENT),
    })
}

impl Apart {
    /// Whether an event that its lease has was discarded meanwhile: its replay was under way. The stream is past it then,
    /// and not because a later one failed in the same lease.
    pub fn is_past(&self, version: i32, token: i64) -> bool {
        !self.is_replay && self.next_version > version && self.failed_token != Some(token)
    }
}

/// An event that failed.
pub struct Failure<'a> {
    pub event: Open,
    /// The lease it was in.
    pub token: i64,
    pub consumer: &'a str,
    pub reason: &'a str,
    /// The lease that keeps the stream, because earlier events of it are still in flight.
    pub kept_by: Option<i64>,
    /// How long to wait; none: as the subscription's backoff has it.
    pub delay_ms: Option<i64>,
    pub now: i64,
}

impl Failure<'_> {
    /// How often the event had failed before.
    pub fn attempts_before(&self, apart: Option<&Apart>) -> i32 {
        apart
            .filter(|apart| apart.failed_version == Some(self.event.version))
            .map_or(0, |apart| apart.attempts)
    }

    /// Carries the verdict out; when the event is tried again, or nothing where it is parked.
    pub fn settle(
        &self,
        session: &Session,
        subscription: &Subscription,
        apart: Option<&Apart>,
        verdict: Verdict,
    ) -> Result<Option<i64>, Error> {
        let event = self.event;
        let partition = partition_of(event.aggregate.as_u128(), subscription.partitions);
        let (first, most) = (subscription.backoff_first_ms, subscription.backoff_most_ms);
        let delay = |attempts| self.delay_ms.unwrap_or_else(|| delay_ms(first, most, attempts));
        let (attempts, wait_ms, alone) = match verdict {
            Verdict::Retry { attempts, alone } => (attempts, delay(attempts), alone),
            Verdict::Park { .. } => (0, 0, false),
        };
        let parked = matches!(verdict, Verdict::Park { .. });
        // Whichever later one failed before: those between go back with this one.
        let ahead = event.version + i32::from(parked);
        let next = apart.filter(|apart| apart.is_replay).map_or(ahead, |apart| apart.next_version);
        let retry_at = self.now + wait_ms * 1_000;
        let flag = |is: bool| Arg::Int(Some(i32::from(is)));
        session.run(
            &KEEP,
            &[
                subscription.key(),
                Arg::Uuid(Some(event.aggregate)),
                Arg::Int(Some(partition)),
                Arg::Int(Some(next)),
                Arg::Int(Some(attempts)),
                Arg::Timestamp(Some(retry_at)),
                Arg::BigInt(self.kept_by),
                Arg::BigInt(Some(self.token)),
                flag(parked && subscription.parked_blocks),
                flag(alone),
                Arg::Text(Some(self.reason)),
                Arg::Int(Some(event.version)),
            ],
        )?;
        let Verdict::Park { attempts } = verdict else { return Ok(Some(retry_at)) };
        let args = [
            subscription.key(),
            Arg::BigInt(Some(event.position)),
            Arg::Int(Some(partition)),
            Arg::Int(Some(attempts)),
            Arg::Text(Some(self.reason)),
            Arg::Text(Some(self.consumer)),
            Arg::BigInt(Some(self.token)),
            Arg::Timestamp(Some(self.now)),
        ];
        session.run(&PARK, &args)?;
        Ok(None)
    }
}

/// Streams of the lease with no event in flight any more can be had by others.
pub fn release(session: &Session, name: &str, token: i64, still_open: &[Open]) -> Result<(), Error> {
    let streams: HashSet<Uuid> = still_open.iter().map(|event| event.aggregate).collect();
    let streams: Vec<Uuid> = streams.into_iter().collect();
    let args = [Arg::Text(Some(name)), Arg::BigInt(Some(token)), Arg::UuidArray(&streams)];
    session.run(&RELEASE, &args).map(drop)
}

/// Events of the stream that are over count no more: what comes next of it has failures of its own.
pub fn forget(session: &Session, name: &str, stream: Uuid, versions: &[i32]) -> Result<(), Error> {
    let args = [Arg::Text(Some(name)), Arg::Uuid(Some(stream)), Arg::IntArray(versions)];
    session.run(&FORGET, &args).map(drop)
}

/// What a consumer hears who gives the same event back once more.
pub fn given_back_before(
    session: &Session,
    name: &str,
    event: Open,
    token: i64,
) -> Result<Option<Option<i64>>, Error> {
    let args = [Arg::Text(Some(name)), Arg::BigInt(Some(event.position)), Arg::BigInt(Some(token))];
    if session.run(&PARKED_BY, &args)?.count() > 0 {
        return Ok(Some(None));
    }
    let apart = apart(session, name, event.aggregate, event.version)?;
    let is_same = |apart: &Apart| {
        apart.failed_token == Some(token) && apart.failed_version == Some(event.version) && apart.attempts > 0
    };
    Ok(apart.filter(is_same).map(|apart| Some(apart.retry_at.0)))
}

/// What `settle` is to do for a consumer that gave an event back.
pub fn verdict_of(attempts_before: i32, subscription: &Subscription, park: bool) -> Verdict {
    given_back(attempts_before, subscription.max_attempts, park)
}

/// Takes the events of leases that have run out away from their consumers; whether there were any.
pub fn reclaim(session: &Session, subscription: &Subscription, now: i64) -> Result<bool, Error> {
    let args = [subscription.key(), Arg::Timestamp(Some(now)), Arg::Int(Some(MAX_EXPIRED))];
    let rows = session.run(&EXPIRED, &args)?;
    for row in rows.iter() {
        let token = row.bigint(1).expect(PRESENT);
        let open = store::open_events(session, &row.get::<Vec<i64>>(2).expect(PRESENT))?;
        let consumer = row.text(3).expect(PRESENT);
        let restored = row.bool(4).expect(PRESENT);
        for event in core::heads(&open) {
            let (reason, delay_ms) = if restored {
                ("in flight when the database was dumped", Some(0))
            } else {
                ("the lease ran out", None)
            };
            let failure = Failure { event, token, consumer: &consumer, reason, kept_by: None, delay_ms, now };
            let apart = apart(session, &subscription.name, event.aggregate, event.version)?;
            if apart.as_ref().is_some_and(|apart| apart.is_past(event.version, token)) {
                continue;
            }
            let before = failure.attempts_before(apart.as_ref());
            let verdict = if restored {
                Verdict::Retry { attempts: before, alone: false }
            } else {
                ran_out(before, subscription.max_attempts, open.len() == 1)
            };
            failure.settle(session, subscription, apart.as_ref(), verdict)?;
        }
        let key = [subscription.key(), Arg::BigInt(Some(token))];
        session.run(&DROP_LEASE, &key)?;
        release(session, &subscription.name, token, &[])?;
        store::free_partitions(session, &subscription.name, token)?;
    }
    Ok(rows.count() > 0)
}
