//! What a fetch hands out.

use super::core::{self, partition_of};
use super::failure;
use super::statements::*;
use super::store::{self, Event, Subscription, Surroundings};
use crate::error::Error;
use crate::pg::plans::OrderedPlans;
use crate::pg::{Arg, PRESENT, Row, Session, Time, server};
use uuid::Uuid;

/// Events that are looked at in one go, and at the most in one fetch: a filter that matches rarely is then read past in
/// pieces.
const CHUNK: i64 = 10_000;
const MOST_CHUNKS: i64 = 10;

/// Streams with failed events that one fetch takes at the most.
const MAX_STREAMS: i32 = 100;

/// How long a stream without an event rests, unless its partition takes it back before.
const REST_MICROS: i64 = 1_000_000;

/// A consumer's row is written this often at the most.
const SEEN_MICROS: i64 = 1_000_000;

/// What a consumer gets.
pub struct Fetched {
    pub events: Vec<Event>,
    pub token: i64,
    pub leased_until: Time,
}

/// One fetch under way.
pub(super) struct Fetch<'f> {
    session: &'f Session,
    subscription: &'f Subscription,
    around: Surroundings,
    now: i64,
    batch: usize,
    token: Option<i64>,
    streams: Vec<Uuid>,
    events: Vec<Event>,
}

/// The next events for that consumer, leased to it.
pub fn fetch(session: &Session, name: &str, batch: usize, consumer: &str) -> Result<Fetched, Error> {
    store::enter(name, false)?;
    let subscription = store::find(session, name)?;
    let now = server::clock_micros();
    let around = subscription.surroundings(session, consumer, now)?;
    let (streams, events) = (Vec::new(), Vec::new());
    let subscription = &subscription;
    let mut fetch = Fetch { session, subscription, around, now, batch, token: None, streams, events };
    fetch.note(consumer)?;
    if !subscription.paused {
        let _plans = OrderedPlans::prefer();
        fetch.take()?;
    }
    fetch.lease(consumer)
}

impl Fetch<'_> {
    /// That the consumer is there.
    fn note(&self, consumer: &str) -> Result<(), Error> {
        let args = [self.subscription.key(), Arg::Text(Some(consumer)), Arg::Timestamp(Some(self.now))];
        match self.around.seen_at {
            None => self.session.run(&FIRST_SEEN, &args).map(drop),
            Some(Time(seen)) if seen + SEEN_MICROS > self.now => Ok(()),
            Some(_) if server::is_read_committed() => self.session.run(&SEEN_AGAIN, &args).map(drop),
            // Another session of that name may have noted it since the snapshot, which is no reason to fail.
            Some(_) => self.session.one_if_unchanged(&SEEN_AGAIN, &args, |_| ()).map(drop),
        }
    }

    fn take(&mut self) -> Result<(), Error> {
        if self.around.has_expired {
            self.around.has_streams |= failure::reclaim(self.session, self.subscription, self.now)?;
        }
        if self.around.has_streams && self.take_streams()? {
            return Ok(());
        }
        if !self.around.has_news && !self.around.has_replays && !self.around.has_clear {
            // Not even a row lock for a consumer that is up to date.
            return Ok(());
        }
        let left = self.take_partitions()?;
        if left && self.events.is_empty() {
            self.take_streams()?;
        }
        Ok(())
    }

    /// The token of this fetch. Drawn only once all that it covers is locked, so that it is above those before it.
    fn token(&mut self) -> Result<i64, Error> {
        if let Some(token) = self.token {
            return Ok(token);
        }
        let token = self.session.one(&TOKEN, &[], |row| row.bigint(1).expect(PRESENT))?.expect("one row");
        self.token = Some(token);
        Ok(token)
    }

    /// Events of streams that are apart from their partitions; true where it must stay at what was taken.
    fn take_streams(&mut self) -> Result<bool, Error> {
        if self.take_due(1, 1)? {
            return Ok(true);
        }
        let most = i32::try_from(self.batch).unwrap_or(MAX_STREAMS).min(MAX_STREAMS);
        self.take_due(0, most)?;
        Ok(self.events.len() >= self.batch)
    }

    fn take_due(&mut self, alone: i32, most: i32) -> Result<bool, Error> {
        let key = self.subscription.key();
        let args = [key, Arg::Timestamp(Some(self.now)), Arg::Int(Some(most)), Arg::Int(Some(alone))];
        let rows = self.session.run(&DUE, &args)?;
        for row in rows.iter() {
            let stream = row.uuid(1).expect(PRESENT);
            let next = row.int(2).expect(PRESENT);
            let failed = row.int(4).map(|version| (version, row.int(3).expect(PRESENT)));
            self.take_stream(stream, next, failed, row.bigint(5).expect(PRESENT))?;
            if self.events.len() >= self.batch {
                break;
            }
        }
        Ok(alone == 1 && !self.events.is_empty())
    }

    /// The next events of a stream up to its partition's position; after a failure one alone.
    fn take_stream(
        &mut self,
        stream: Uuid,
        next: i32,
        failed: Option<(i32, i32)>,
        end: i64,
    ) -> Result<(), Error> {
        let (session, subscription) = (self.session, self.subscription);
        let key = [subscription.key(), Arg::Uuid(Some(stream))];
        let attempts = |version| failed.filter(|failed| failed.0 == version).map_or(0, |failed| failed.1);
        let read = |row: Row| {
            let event = Event::read(&row, 1);
            Event { attempt: attempts(event.version) + 1, ..event }
        };
        let mut found: Vec<Event> = session.run(&REPLAY, &key)?.iter().map(read).collect();
        let from = [key[1], Arg::Int(Some(next)), Arg::BigInt(Some(end))];
        if found.is_empty() {
            let room = if attempts(next) > 0 { 1 } else { (self.batch - self.events.len()) as i64 };
            let [types, events, tags] = subscription.filter_args();
            let (room, chunk) = (Arg::BigInt(Some(room)), Arg::BigInt(Some(CHUNK)));
            let args = [from[0], from[1], from[2], room, chunk, types, events, tags];
            found = session.run(&PENDING, &args)?.iter().map(read).collect();
        }
        if found.is_empty() {
            let args = [from[0], from[1], from[2], Arg::BigInt(Some(CHUNK))];
            let end = session.one(&PENDING_END, &args, |row| (row.int(1), row.bigint(2).expect(PRESENT)))?;
            let (last, looked_at) = end.expect("an aggregate has one row");
            let then = if looked_at < CHUNK { self.now + REST_MICROS } else { self.now };
            let next = last.map_or(next, |last| last + 1);
            let rest = [key[0], key[1], Arg::Int(Some(next)), Arg::Timestamp(Some(then))];
            return session.run(&REST_STREAM, &rest).map(drop);
        }
        self.streams.push(stream);
        self.events.extend(found);
        Ok(())
    }

    /// Events of free partitions: of this consumer's share of them, and of the others only where it found none there.
    /// Answers whether streams left their partitions.
    fn take_partitions(&mut self) -> Result<bool, Error> {
        let (session, subscription) = (self.session, self.subscription);
        let had = self.events.len();
        let share = core::share(subscription.partitions, self.around.other_consumers + 1);
        let (mut tried, mut left) = (Vec::new(), false);
        while self.events.len() == had && self.events.len() < self.batch {
            let args = [subscription.key(), Arg::IntArray(&tried), Arg::Int(Some(share))];
            let rows = session.run(&CLAIM, &args)?;
            let claimed: Vec<(i32, i64)> =
                rows.iter().map(|row| (row.int(1).expect(PRESENT), row.bigint(2).expect(PRESENT))).collect();
            if claimed.is_empty() {
                break;
            }
            let numbers: Vec<i32> = claimed.iter().map(|(no, _)| *no).collect();
            left |= self.exchange_streams(&numbers)?;
            self.scan(&claimed, &numbers)?;
            tried.extend(numbers);
        }
        Ok(left)
    }

    /// Streams of these partitions that have caught up go back to them, and those of replayed events leave.
    fn exchange_streams(&mut self, partitions: &[i32]) -> Result<bool, Error> {
        let (key, numbers) = (self.subscription.key(), Arg::IntArray(partitions));
        if self.around.has_streams {
            let [types, events, tags] = self.subscription.filter_args();
            self.session.run(&REJOIN, &[key, numbers, types, events, tags])?;
        }
        if !self.around.has_replays {
            return Ok(false);
        }
        let left = self.session.run(&LEAVE, &[key, numbers, Arg::Timestamp(Some(self.now))])?.count() > 0;
        self.around.has_streams |= left;
        Ok(left)
    }

    /// Reads on from where the claimed partitions are, until there is something for them.
    fn scan(&mut self, claimed: &[(i32, i64)], numbers: &[i32]) -> Result<(), Error> {
        let subscription = self.subscription;
        let mut positions = vec![None; subscription.partitions as usize];
        for (no, position) in claimed {
            positions[*no as usize] = Some(*position);
        }
        let first = claimed.iter().map(|(_, position)| *position).min().unwrap_or(0);
        let is_all = positions.iter().all(|position| *position == Some(first));
        let (mut from, mut found) = (first, Vec::new());
        for _ in 0..MOST_CHUNKS {
            let room = self.batch - self.events.len();
            found = self.page(from, room, &positions, is_all)?;
            if found.len() == room {
                from = found.last().map_or(from, |event| event.position);
                break;
            }
            let (end, looked_at) = self.page_end(from)?;
            from = end.unwrap_or(from);
            if !found.is_empty() || looked_at < CHUNK {
                break;
            }
        }
        if from == first {
            return Ok(());
        }
        let token = if found.is_empty() { None } else { Some(self.token()?) };
        let mut taken: Vec<i32> = found
            .iter()
            .map(|event| partition_of(event.aggregate.as_u128(), subscription.partitions))
            .collect();
        taken.sort_unstable();
        taken.dedup();
        let (numbers, end) = (Arg::IntArray(numbers), Arg::BigInt(Some(from)));
        let args = [subscription.key(), numbers, end, Arg::IntArray(&taken), Arg::BigInt(token)];
        self.session.run(&ADVANCE, &args)?;
        self.events.extend(found);
        Ok(())
    }

    fn page(
        &self,
        from: i64,
        room: usize,
        positions: &[Option<i64>],
        is_all: bool,
    ) -> Result<Vec<Event>, Error> {
        let [types, events, tags] = self.subscription.filter_args();
        let args = [
            self.subscription.key(),
            Arg::BigInt(Some(from)),
            Arg::BigInt(Some(self.around.safe_position)),
            Arg::BigInt(Some(CHUNK)),
            Arg::BigInt(Some(room as i64)),
            Arg::BigIntArray(positions),
            Arg::Int(Some(i32::from(is_all))),
            types,
            events,
            tags,
        ];
        let rows = self.session.run(&SCAN, &args)?;
        Ok(rows.iter().map(|row| Event::read(&row, 1)).collect())
    }

    /// The last position of the page, and how many events it has.
    fn page_end(&self, from: i64) -> Result<(Option<i64>, i64), Error> {
        let args = [from, self.around.safe_position, CHUNK].map(|number| Arg::BigInt(Some(number)));
        let end = self.session.one(&SCAN_END, &args, |row| (row.bigint(1), row.bigint(2).expect(PRESENT)))?;
        Ok(end.expect("an aggregate has one row"))
    }

    fn lease(mut self, consumer: &str) -> Result<Fetched, Error> {
        let leased_until = self.now + i64::from(self.subscription.lease_ms) * 1_000;
        let key = self.subscription.key();
        if !self.events.is_empty() {
            let token = self.token()?;
            if !self.streams.is_empty() {
                let streams = Arg::UuidArray(&self.streams);
                self.session.run(&TAKE_STREAMS, &[key, streams, Arg::BigInt(Some(token))])?;
            }
            let open: Vec<Option<i64>> = self.events.iter().map(|event| Some(event.position)).collect();
            let (until, at) = (Arg::Timestamp(Some(leased_until)), Arg::Timestamp(Some(self.now)));
            let (token_arg, consumer) = (Arg::BigInt(Some(token)), Arg::Text(Some(consumer)));
            self.session.run(&LEASE, &[key, token_arg, consumer, until, at, Arg::BigIntArray(&open)])?;
            if token % 64 == 0 {
                self.session.run(&FORGET_LEASES, &[key, Arg::BigInt(Some(token - 1_000))])?;
                let day = Arg::Timestamp(Some(self.now - 24 * 3_600 * 1_000_000));
                self.session.run(&FORGET_CONSUMERS, &[key, day])?;
            }
        }
        Ok(Fetched { events: self.events, token: self.token.unwrap_or(0), leased_until: Time(leased_until) })
    }
}
