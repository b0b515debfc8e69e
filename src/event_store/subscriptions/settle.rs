//! What consumers say about the events that they have.

use super::core::{self, Open, Verdict};
use super::failure::{self, Failure};
use super::store::{self, Lease};
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Session, Statement, Time, Type, server};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

static STREAMS_OF_LEASE: Statement = Statement::new(
    c"SELECT h.aggregate_id, h.next_version
      FROM event_store.subscription_streams h WHERE h.subscription = $1 AND h.lease_token = $2
      ORDER BY h.aggregate_id FOR NO KEY UPDATE",
    &[Type::Text, Type::BigInt],
);

static HANDLED: Statement = Statement::new(
    c"UPDATE event_store.subscription_streams
      SET next_version = greatest(next_version, $3), retry_at = $4
      WHERE subscription = $1 AND aggregate_id = $2",
    &[Type::Text, Type::Uuid, Type::Int, Type::Timestamp],
);

static UNPARK: Statement = Statement::new(
    c"DELETE FROM event_store.subscription_parked
      WHERE subscription = $1 AND global_position = ANY ($2) AND replaying
      RETURNING aggregate_id, event_version",
    &[Type::Text, Type::BigIntArray],
);

static EXTEND: Statement = Statement::new(
    c"UPDATE event_store.subscription_leases
      SET leased_until = greatest(leased_until, $3) WHERE subscription = $1 AND lease_token = $2
      RETURNING leased_until",
    &[Type::Text, Type::BigInt, Type::Timestamp],
);

/// Acknowledges these events of the lease, or all that are open; how many that were not yet.
pub fn ack(session: &Session, name: &str, token: i64, ids: Option<&[Uuid]>) -> Result<i32, Error> {
    let lease = store::lock_lease(session, name, token)?;
    let (acked, left) = match ids {
        None => (lease.open.clone(), Vec::new()),
        Some(ids) => named(session, &lease, ids)?,
    };
    if acked.is_empty() {
        return Ok(0);
    }
    settle_streams(session, name, token, &acked, &left)?;
    let positions: Vec<i64> = left.iter().map(|event| event.position).collect();
    lease.settle(session, name, &positions, &acked)?;
    Ok(i32::try_from(acked.len()).expect("a batch is bounded"))
}

/// The positions that are acknowledged by naming these events, and the events that stay open.
fn named(session: &Session, lease: &Lease, ids: &[Uuid]) -> Result<(Vec<i64>, Vec<Open>), Error> {
    let found: HashMap<Uuid, Open> = store::events_by_id(session, ids)?.into_iter().collect();
    let mut acked = Vec::new();
    for id in ids {
        let position = found.get(id).map(|event| event.position);
        match position {
            Some(position) if lease.open.contains(&position) => acked.push(position),
            Some(position) if lease.acked.contains(&position) => {}
            _ => return Err(Error::EventNotInLease { event: *id, token: lease.token }),
        }
    }
    acked.sort_unstable();
    acked.dedup();
    if acked.len() == lease.open.len() {
        return Ok((acked, Vec::new()));
    }
    let open = store::open_events(session, &lease.open)?;
    let left = core::left(&open, &acked).map_err(|out| Error::EventOrder {
        aggregate: out.aggregate,
        open: out.open,
        given: out.given,
    })?;
    Ok((acked, left))
}

/// Streams of the lease that are apart from their partitions go on after what was acknowledged.
fn settle_streams(
    session: &Session,
    name: &str,
    token: i64,
    acked: &[i64],
    left: &[Open],
) -> Result<(), Error> {
    let key = [Arg::Text(Some(name)), Arg::BigInt(Some(token))];
    let rows = session.run(&STREAMS_OF_LEASE, &key)?;
    if rows.count() == 0 {
        return Ok(());
    }
    let next: HashMap<Uuid, i32> =
        rows.iter().map(|row| (row.uuid(1).expect(PRESENT), row.int(2).expect(PRESENT))).collect();
    let acked = store::open_events(session, acked)?;
    let mut replayed = Vec::new();
    let mut handled: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for event in &acked {
        match next.get(&event.aggregate) {
            Some(next) if event.version >= *next => {
                handled.entry(event.aggregate).or_default().push(event.version)
            }
            Some(_) => replayed.push(Some(event.position)),
            None => {}
        }
    }
    if !replayed.is_empty() {
        for row in session.run(&UNPARK, &[key[0], Arg::BigIntArray(&replayed)])?.iter() {
            handled.entry(row.uuid(1).expect(PRESENT)).or_default().push(row.int(2).expect(PRESENT));
        }
    }
    let now = Arg::Timestamp(Some(server::clock_micros()));
    for (stream, versions) in handled {
        let last = versions.iter().max().copied().unwrap_or(0);
        failure::forget(session, name, stream, &versions)?;
        session.run(&HANDLED, &[key[0], Arg::Uuid(Some(stream)), Arg::Int(Some(last + 1)), now])?;
    }
    failure::release(session, name, token, left)
}

/// What a consumer says of an event that it could not handle.
pub struct GivenBack<'a> {
    pub event: Uuid,
    pub reason: &'a str,
    pub delay_ms: Option<i32>,
    pub park: bool,
}

/// Gives the event back, and with it the later ones of its stream in the lease; when it is tried again, or nothing where it
/// is parked.
pub fn nack(session: &Session, name: &str, token: i64, given: &GivenBack) -> Result<Option<Time>, Error> {
    let subscription = store::find(session, name)?;
    let lease = store::lock_lease(session, name, token)?;
    let not_there = || Error::EventNotInLease { event: given.event, token };
    let found = store::events_by_id(session, &[given.event])?;
    let (_, event) = *found.first().ok_or_else(not_there)?;
    if !lease.open.contains(&event.position) {
        let before = failure::given_back_before(session, name, event, token)?.ok_or_else(not_there)?;
        return Ok(before.map(Time));
    }
    let open = store::open_events(session, &lease.open)?;
    let is_given = |other: &Open| other.aggregate == event.aggregate && other.version >= event.version;
    let left: Vec<Open> = open.iter().filter(|other| !is_given(other)).copied().collect();
    let earlier =
        left.iter().filter(|other| other.aggregate == event.aggregate).map(|other| other.version).min();
    let failure = Failure {
        event,
        token,
        consumer: &lease.consumer,
        reason: given.reason,
        kept_by: earlier.map(|_| token),
        delay_ms: given.delay_ms.map(i64::from),
        now: server::clock_micros(),
    };
    let apart = failure::apart(session, name, event.aggregate, event.version)?;
    let retry_at = if apart.as_ref().is_some_and(|apart| apart.is_past(event.version, token)) {
        failure::release(session, name, token, &left)?;
        None
    } else {
        let before = failure.attempts_before(apart.as_ref());
        let verdict = failure::verdict_of(before, &subscription, given.park);
        // The stream would be past the earlier one, and back at the parked one if that fails.
        if let (Verdict::Park { .. }, Some(open)) = (verdict, earlier) {
            return Err(Error::EventOrder { aggregate: event.aggregate, open, given: event.version });
        }
        failure.settle(session, &subscription, apart.as_ref(), verdict)?
    };
    let positions: Vec<i64> = left.iter().map(|event| event.position).collect();
    lease.settle(session, name, &positions, &[])?;
    Ok(retry_at.map(Time))
}

/// Gives the consumer more time, from now on; when the lease ends.
pub fn extend(session: &Session, name: &str, token: i64, by_ms: Option<i32>) -> Result<Time, Error> {
    let subscription = store::find(session, name)?;
    if store::lock_lease(session, name, token)?.done {
        return Err(Error::LeaseLost { token });
    }
    let until = server::clock_micros() + i64::from(by_ms.unwrap_or(subscription.lease_ms)) * 1_000;
    let args = [Arg::Text(Some(name)), Arg::BigInt(Some(token)), Arg::Timestamp(Some(until))];
    let until = session.one(&EXTEND, &args, |row| row.time(1).expect(PRESENT))?;
    Ok(until.expect("its row is locked"))
}
