//! Subscriptions: what a fetch may hand out, and what consumers may say of it. Which of the streams that are free it
//! takes the documents leave open; that each event comes, and in its turn, shows in the end.

use super::{Circumstances, State, done};
use crate::answer::{Answer, Faults, agree};
use crate::subscriptions::{Consuming, Line, MAX_ATTEMPTS};
use neobank_sessions::Uuid;
use std::sync::Arc;

type Place = (Uuid, i32);

#[derive(Clone, Debug)]
pub struct Lease {
    events: Arc<Vec<Place>>,
    /// When it runs out, in microseconds.
    until: i64,
    lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    /// Handed out with this token.
    Open(i64),
    Told,
    /// Given back, or its lease was lost.
    Waiting,
    Parked,
    Replayed,
    Discarded,
}

/// Of an event that was handed out.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub is: Is,
    /// The lease it was in last.
    token: i64,
    /// How often it has failed, if that is `sure`: a lease that runs out counts as well.
    attempts: i32,
    sure: bool,
}

/// So many leases that are over are remembered for certain.
const REMEMBERED: i64 = 900;

impl State {
    fn standing(&self, place: Place) -> Option<Standing> {
        self.handed.get(&place).copied()
    }

    fn place_of(&self, event: Uuid, lease: &Lease) -> Option<Place> {
        // Where nobody was told its id, the event is found by what the fetch said.
        lease
            .events
            .iter()
            .copied()
            .find(|place| self.event_ids.get(&event) == Some(place) || self.fetched.get(place) == Some(&event))
    }

    fn lose(&mut self, token: i64, how: Circumstances) -> Result<(), String> {
        let lease = self.leases.get(&token).ok_or(format!("lease {token} is unknown"))?.clone();
        agree(&format!("lease {token} may have run out"), lease.until <= how.answered_at, true)?;
        self.leases.set(token, Lease { lost: true, ..lease.clone() });
        for place in lease.events.iter() {
            let there = self.standing(*place).expect("it was handed out");
            if there.is == Is::Open(token) {
                self.handed.set(*place, Standing { is: Is::Waiting, sure: false, ..there });
                self.forget_failures_after(*place);
            }
        }
        Ok(())
    }

    /// A stream remembers one failure, that of its next event.
    fn forget_failures_after(&mut self, place: Place) {
        for version in place.1 + 1.. {
            let Some(later) = self.standing((place.0, version)) else { break };
            self.handed.set((place.0, version), Standing { sure: later.sure && later.attempts == 0, ..later });
        }
    }

    fn hand_out(&mut self, line: &Line, how: Circumstances) -> Result<(), String> {
        let place = (line.aggregate, line.version);
        self.same_line(line.aggregate, line.version, line.content)?;
        agree(
            "the type of its stream",
            self.streams.get(&line.aggregate).map(|it| it.aggregate_type),
            Some("Account"),
        )?;
        if let Some(Standing { is: Is::Open(token), .. }) = self.standing(place)
            && token != line.token
        {
            self.lose(token, how)?;
        }
        let before = self.standing(place);
        let fresh = matches!(before.map(|it| it.is), None | Some(Is::Waiting | Is::Replayed));
        // Given up as the last attempt ran out, which nobody was told, and replayed by whoever saw it.
        if !fresh {
            return Err(format!("{before:?} is handed out again"));
        }
        let (token, attempts, sure) = before.map_or((0, 0, true), |it| (it.token, it.attempts, it.sure));
        agree("a later token for the same stream", line.token > token, true)?;
        agree("the first attempt is 1", line.attempt >= 1, true)?;
        // One whose lease ran out with others in it has one attempt more, alone.
        if sure {
            agree("no more attempts than there may be", line.attempt <= MAX_ATTEMPTS, true)?;
            agree("the attempt", line.attempt, attempts + 1)?;
        }
        if line.version > 1 {
            let earlier = self.standing((line.aggregate, line.version - 1)).map(|it| it.is);
            let in_turn = matches!(earlier, Some(Is::Told | Is::Discarded)) || earlier == Some(Is::Open(line.token));
            agree(&format!("{earlier:?} comes before it in its stream"), in_turn, true)?;
        }
        let standing = Standing { is: Is::Open(line.token), token: line.token, attempts: line.attempt - 1, sure };
        self.handed.set(place, standing);
        self.fetched.set(place, line.event);
        Ok(())
    }

    fn accept_fetch(&mut self, batch: usize, seen: &Answer, how: Circumstances) -> Result<(), String> {
        let lines: Vec<Line> = done(seen)?.iter().map(|line| Line::read(line)).collect();
        agree("no more than were asked for", lines.len() <= batch, true)?;
        let Some(first) = lines.first() else { return Ok(()) };
        agree("a token is new", self.leases.get(&first.token).is_none(), true)?;
        for line in &lines {
            agree("one lease", (line.token, line.until), (first.token, first.until))?;
            self.hand_out(line, how).map_err(|error| format!("{error}: {}", line.content))?;
        }
        let events = Arc::new(lines.iter().map(|line| (line.aggregate, line.version)).collect());
        self.leases.set(first.token, Lease { events, until: first.until, lost: false });
        Ok(())
    }

    /// The lease, and what there is to refuse about it.
    fn lease(&self, token: i64, faults: &mut Faults, how: Circumstances) -> Option<Lease> {
        let lease = self.leases.get(&token).cloned();
        faults.must("NB116", lease.as_ref().is_none_or(|lease| lease.lost));
        let Some(known) = &lease else { return None };
        let is_open = |place: &&Place| self.standing(**place).is_some_and(|it| it.is == Is::Open(token));
        let open = known.events.iter().filter(is_open).count();
        faults.may("NB116", open > 0 && known.until <= how.answered_at);
        let latest = self.leases.rows().map(|(token, _)| *token).max().unwrap_or(0);
        faults.may("NB116", open == 0 && latest > token + REMEMBERED);
        lease
    }

    fn accept_ack(
        &mut self,
        token: i64,
        events: Option<&[Uuid]>,
        seen: &Answer,
        how: Circumstances,
    ) -> Result<(), String> {
        let mut faults = Faults::default();
        let lease = self.lease(token, &mut faults, how);
        let mut places: Vec<Place> = Vec::new();
        if let Some(lease) = &lease {
            match events {
                None => places.extend(lease.events.iter()),
                Some(events) => {
                    let named: Vec<Option<Place>> = events.iter().map(|event| self.place_of(*event, lease)).collect();
                    let is_of_it = |place: &Option<Place>| {
                        place.and_then(|place| self.standing(place)).is_some_and(|there| match there.is {
                            Is::Open(by) => by == token,
                            Is::Told => there.token == token,
                            _ => false,
                        })
                    };
                    faults.must("NB117", !named.iter().all(is_of_it));
                    places.extend(named.into_iter().flatten());
                }
            }
            places.retain(|place| self.standing(*place).is_some_and(|there| there.is == Is::Open(token)));
            places.sort_unstable();
            places.dedup();
            let open_before = |place: &Place| {
                lease.events.iter().any(|other| {
                    other.0 == place.0
                        && other.1 < place.1
                        && !places.contains(other)
                        && self.standing(*other).is_some_and(|there| there.is == Is::Open(token))
                })
            };
            faults.must("NB118", places.iter().any(open_before));
        }
        let lines = match seen {
            Answer::Refused(code) => return faults.allow(code),
            Answer::Done(lines) => lines,
        };
        faults.allow_success()?;
        agree("how many are acknowledged", lines[0].as_str(), &places.len().to_string())?;
        for place in places {
            let there = self.standing(place).expect("it is open");
            self.handed.set(place, Standing { is: Is::Told, ..there });
        }
        Ok(())
    }

    fn accept_failure(
        &mut self,
        token: i64,
        event: Uuid,
        park: bool,
        seen: &Answer,
        how: Circumstances,
    ) -> Result<(), String> {
        let mut faults = Faults::default();
        let lease = self.lease(token, &mut faults, how);
        let place = lease.as_ref().and_then(|lease| self.place_of(event, lease));
        let there = place.and_then(|place| self.standing(place));
        let is_open = there.is_some_and(|it| it.is == Is::Open(token));
        // Given back with that token before: the answer is that of then, for as long as it is remembered.
        let was_in_it = there.is_some_and(|it| !matches!(it.is, Is::Told | Is::Open(_)));
        faults.must("NB117", lease.is_some() && !is_open && !was_in_it);
        faults.may("NB117", !is_open);
        if let (Some(place), Some(there), true) = (place, there, is_open) {
            let open_before = (1..place.1)
                .any(|version| self.standing((place.0, version)).is_some_and(|other| other.is == Is::Open(token)));
            faults.must("NB118", open_before && (park || there.sure && there.attempts + 1 >= MAX_ATTEMPTS));
            faults.may("NB118", open_before && !there.sure);
        }
        let lines = match seen {
            Answer::Refused(code) => return faults.allow(code),
            Answer::Done(lines) => lines,
        };
        faults.allow_success()?;
        let (Some(place), Some(there), true) = (place, there, is_open) else { return Ok(()) };
        let parked = lines[0].is_empty();
        if park || there.sure {
            agree("parked", parked, park || there.attempts + 1 >= MAX_ATTEMPTS)?;
        }
        let is = if parked { Is::Parked } else { Is::Waiting };
        let attempts = if parked { 0 } else { there.attempts + 1 };
        self.handed.set(place, Standing { is, attempts, sure: there.sure && !parked, ..there });
        // The later ones of its stream go back with it.
        for version in place.1 + 1.. {
            let Some(later) = self.standing((place.0, version)) else { break };
            let is = if later.is == Is::Open(token) { Is::Waiting } else { later.is };
            self.handed.set((place.0, version), Standing { is, ..later });
        }
        self.forget_failures_after(place);
        Ok(())
    }

    fn accept_fate(&mut self, events: &[Uuid], to: Is, seen: &Answer) -> Result<(), String> {
        let mut faults = Faults::default();
        let mut found: Vec<(Place, Standing)> = Vec::new();
        for event in events {
            let place = self.event_ids.get(event).copied();
            let place = place.or_else(|| self.fetched.rows().find(|(_, id)| *id == event).map(|(place, _)| *place));
            let there = place.and_then(|place| Some((place, self.standing(place)?)));
            let is_parked = there.is_some_and(|(_, there)| matches!(there.is, Is::Parked | Is::Replayed));
            // Given up when its last lease ran out, which nobody was told; or a replay of it is under way.
            let unsure = there.is_some_and(|(_, there)| !there.sure && matches!(there.is, Is::Waiting | Is::Open(_)));
            faults.must("NB119", !is_parked && !unsure);
            faults.may("NB119", unsure || there.is_some_and(|(_, there)| there.is == Is::Replayed && !there.sure));
            found.extend(there);
        }
        let lines = match seen {
            Answer::Refused(code) => return faults.allow(code),
            Answer::Done(lines) => lines,
        };
        faults.allow_success()?;
        let changed: usize = lines[0].parse().map_err(|e| format!("{e}: {lines:?}"))?;
        agree("no more than were named", changed <= events.len(), true)?;
        if changed == 0 {
            return Ok(());
        }
        for (place, there) in found {
            // What a consumer has stays with it.
            if !matches!(there.is, Is::Open(_)) {
                self.handed.set(place, Standing { is: to, sure: false, ..there });
            }
        }
        Ok(())
    }

    pub(super) fn accept_consuming(
        &mut self,
        consuming: &Consuming,
        seen: &Answer,
        how: Circumstances,
    ) -> Result<(), String> {
        match consuming {
            Consuming::Handle { batch, .. } => {
                let events: usize = done(seen)?[0].parse().map_err(|e| format!("{e}: {seen:?}"))?;
                agree("no more than were asked for", events <= *batch, true)
            }
            Consuming::Fetch { batch, .. } => self.accept_fetch(*batch, seen, how),
            Consuming::Ack { token, events } => self.accept_ack(*token, events.as_deref(), seen, how),
            Consuming::Fail { token, event, park } => self.accept_failure(*token, *event, *park, seen, how),
            Consuming::Extend { token } => {
                let mut faults = Faults::default();
                let lease = self.lease(*token, &mut faults, how);
                let of_it = |place: &Place| self.standing(*place).is_some_and(|it| it.is == Is::Open(*token));
                faults.must("NB116", !lease.as_ref().is_some_and(|lease| lease.events.iter().any(of_it)));
                let lines = match seen {
                    Answer::Refused(code) => return faults.allow(code),
                    Answer::Done(lines) => lines,
                };
                faults.allow_success()?;
                let until: i64 = lines[0].parse().map_err(|e| format!("{e}: {lines:?}"))?;
                let lease = lease.expect("it is not lost");
                agree("a lease gets no shorter", until >= lease.until, true)?;
                self.leases.set(*token, Lease { until, ..lease });
                Ok(())
            }
            Consuming::Replay { events } => self.accept_fate(events, Is::Replayed, seen),
            Consuming::Discard { events } => self.accept_fate(events, Is::Discarded, seen),
            Consuming::Reset => {
                self.handed.clear();
                self.leases.clear();
                done(seen).map(|_| ())
            }
        }
    }

    /// Events that consumers of letters have acknowledged.
    pub fn told(&self) -> impl Iterator<Item = &Place> {
        self.handed.rows().filter(|(_, there)| there.is == Is::Told).map(|(place, _)| place)
    }
}
