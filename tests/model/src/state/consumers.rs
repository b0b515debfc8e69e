//! Subscriptions: what a fetch may hand out, and what consumers may say of it. Which of the streams that are free it
//! takes the documents leave open; that each event comes, and in its turn, shows in the end. Which leases it finds run
//! out it is asked; what becomes of their events then is predicted.

use super::{Circumstances, State, done};
use crate::answer::{Answer, Faults, agree};
use crate::subscriptions::{Consuming, Line, MAX_ATTEMPTS, Told};
use neobank_sessions::Uuid;
use std::collections::HashMap;
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
    Discarded,
}

/// Of an event that was handed out.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub is: Is,
    /// The lease it was in last.
    token: i64,
    /// It was parked, and its replay is not over.
    replayed: bool,
    /// While a consumer has it.
    discarded: bool,
}

/// Of the event of a stream that failed last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failure {
    version: i32,
    attempts: i32,
    /// It comes with no other the next time.
    alone: bool,
}

/// So many leases that are over are remembered for certain.
const REMEMBERED: i64 = 900;

impl State {
    fn standing(&self, place: Place) -> Option<Standing> {
        self.handed.get(&place).copied()
    }

    fn failure(&self, place: Place) -> Option<Failure> {
        self.failures.get(&place.0).copied().filter(|failure| failure.version == place.1)
    }

    fn attempts(&self, place: Place) -> i32 {
        self.failure(place).map_or(0, |failure| failure.attempts)
    }

    /// The event is over: it failed no more.
    fn forget(&mut self, place: Place) {
        if self.failure(place).is_some() {
            self.failures.set(place.0, Failure::default());
        }
    }

    fn place_of(&self, event: Uuid, lease: &Lease) -> Option<Place> {
        // Where nobody was told its id, the event is found by what the fetch said.
        lease
            .events
            .iter()
            .copied()
            .find(|place| self.event_ids.get(&event) == Some(place) || self.fetched.get(place) == Some(&event))
    }

    fn open_of(&self, lease: &Lease, token: i64) -> Vec<Place> {
        let is_open = |place: &Place| self.standing(*place).is_some_and(|it| it.is == Is::Open(token));
        lease.events.iter().copied().filter(is_open).collect()
    }

    /// Tried again from now on.
    fn again(&mut self, place: Place, there: Standing, alone: bool) {
        let attempts = self.attempts(place) + 1;
        self.failures.set(place.0, Failure { version: place.1, attempts, alone });
        self.handed.set(place, Standing { is: Is::Waiting, ..there });
    }

    fn park(&mut self, place: Place, there: Standing) {
        self.failures.set(place.0, Failure::default());
        self.handed.set(place, Standing { is: Is::Parked, replayed: false, ..there });
    }

    /// A lease has run out: the first event of each of its streams has failed, since nobody knows which of them did.
    fn take_away(&mut self, token: i64, how: Circumstances) -> Result<(), String> {
        let lease = self.leases.get(&token).ok_or(format!("lease {token} is unknown"))?.clone();
        agree(&format!("lease {token} is taken away once"), lease.lost, false)?;
        agree(&format!("lease {token} may have run out"), lease.until <= how.answered_at, true)?;
        let open = self.open_of(&lease, token);
        agree("something of it is open", open.is_empty(), false)?;
        let mut heads: HashMap<Uuid, i32> = HashMap::new();
        for place in &open {
            let head = heads.entry(place.0).or_insert(place.1);
            *head = place.1.min(*head);
        }
        for place in &open {
            let there = self.standing(*place).expect("it was handed out");
            let attempts = self.attempts(*place) + 1;
            match () {
                () if there.discarded => self.handed.set(*place, Standing { is: Is::Discarded, ..there }),
                () if heads[&place.0] != place.1 => self.handed.set(*place, Standing { is: Is::Waiting, ..there }),
                () if open.len() == 1 && attempts >= MAX_ATTEMPTS => self.park(*place, there),
                () => self.again(*place, there, attempts >= MAX_ATTEMPTS - 1),
            }
        }
        self.leases.set(token, Lease { lost: true, ..lease });
        Ok(())
    }

    fn hand_out(&mut self, line: &Line) -> Result<(), String> {
        let place = (line.aggregate, line.version);
        self.same_line(line.aggregate, line.version, line.content)?;
        agree(
            "the type of its stream",
            self.streams.get(&line.aggregate).map(|it| it.aggregate_type),
            Some("Account"),
        )?;
        let before = self.standing(place);
        if !matches!(before.map(|it| it.is), None | Some(Is::Waiting)) {
            return Err(format!("{before:?} is handed out again"));
        }
        agree("a later token for the same stream", line.token > before.map_or(0, |it| it.token), true)?;
        agree("the attempt", line.attempt, self.attempts(place) + 1)?;
        if line.version > 1 {
            let earlier = self.standing((line.aggregate, line.version - 1)).map(|it| it.is);
            let in_turn = matches!(earlier, Some(Is::Told | Is::Discarded)) || earlier == Some(Is::Open(line.token));
            agree(&format!("{earlier:?} comes before it in its stream"), in_turn, true)?;
        }
        let replayed = before.is_some_and(|it| it.replayed);
        self.handed.set(place, Standing { is: Is::Open(line.token), token: line.token, replayed, discarded: false });
        self.fetched.set(place, line.event);
        Ok(())
    }

    fn accept_fetch(&mut self, batch: usize, seen: &Answer, how: Circumstances) -> Result<(), String> {
        let mut lines: Vec<Line> = Vec::new();
        for line in done(seen)? {
            match Told::read(line) {
                Told::TakenAway(token) => self.take_away(token, how)?,
                Told::Event(line) => lines.push(line),
            }
        }
        agree("no more than were asked for", lines.len() <= batch, true)?;
        let Some(first) = lines.first() else { return Ok(()) };
        agree("a token is new", self.leases.get(&first.token).is_none(), true)?;
        for line in &lines {
            agree("one lease", (line.token, line.until), (first.token, first.until))?;
            let place = (line.aggregate, line.version);
            let alone = self.failure(place).is_some_and(|failure| failure.alone);
            agree("it comes alone before its last attempt", alone && lines.len() > 1, false)?;
            self.hand_out(line).map_err(|error| format!("{error}: {}", line.content))?;
        }
        let events = Arc::new(lines.iter().map(|line| (line.aggregate, line.version)).collect());
        self.leases.set(first.token, Lease { events, until: first.until, lost: false });
        Ok(())
    }

    /// The lease, and what there is to refuse about it.
    fn lease(&self, token: i64, faults: &mut Faults) -> Option<Lease> {
        let lease = self.leases.get(&token).cloned();
        faults.must("NB116", lease.as_ref().is_none_or(|lease| lease.lost));
        let known = lease.as_ref()?;
        let latest = self.leases.rows().map(|(token, _)| *token).max().unwrap_or(0);
        faults.may("NB116", self.open_of(known, token).is_empty() && latest > token + REMEMBERED);
        lease
    }

    fn accept_ack(&mut self, token: i64, events: Option<&[Uuid]>, seen: &Answer) -> Result<(), String> {
        let mut faults = Faults::default();
        let lease = self.lease(token, &mut faults);
        let mut places: Vec<Place> = Vec::new();
        if let Some(lease) = &lease {
            let open = self.open_of(lease, token);
            match events {
                None => places.extend(&open),
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
                    places.extend(named.into_iter().flatten().filter(|place| open.contains(place)));
                }
            }
            places.sort_unstable();
            places.dedup();
            let left_before = |place: &Place| {
                open.iter().any(|other| other.0 == place.0 && other.1 < place.1 && !places.contains(other))
            };
            faults.must("NB118", places.iter().any(left_before));
        }
        let lines = match seen {
            Answer::Refused(code) => return faults.allow(code),
            Answer::Done(lines) => lines,
        };
        faults.allow_success()?;
        agree("how many are acknowledged", lines[0].as_str(), &places.len().to_string())?;
        for place in places {
            let there = self.standing(place).expect("it is open");
            self.handed.set(place, Standing { is: Is::Told, replayed: false, ..there });
            self.forget(place);
        }
        Ok(())
    }

    fn accept_failure(&mut self, token: i64, event: Uuid, park: bool, seen: &Answer) -> Result<(), String> {
        let mut faults = Faults::default();
        let lease = self.lease(token, &mut faults);
        let place = lease.as_ref().and_then(|lease| self.place_of(event, lease));
        let there = place.and_then(|place| self.standing(place));
        let open = there.filter(|it| it.is == Is::Open(token)).and(place).zip(there);
        // Given back with that token before: the answer is that of then, for as long as it is remembered.
        let was_in_it = there.is_some_and(|it| it.is != Is::Told);
        faults.must("NB117", lease.is_some() && open.is_none() && !was_in_it);
        faults.may("NB117", open.is_none());
        let parks =
            open.is_some_and(|(place, there)| !there.discarded && (park || self.attempts(place) + 1 >= MAX_ATTEMPTS));
        if let (Some((place, _)), Some(lease)) = (open, &lease) {
            let of_lease = self.open_of(lease, token);
            let open_before = of_lease.iter().any(|other| other.0 == place.0 && other.1 < place.1);
            faults.must("NB118", parks && open_before);
        }
        let lines = match seen {
            Answer::Refused(code) => return faults.allow(code),
            Answer::Done(lines) => lines,
        };
        faults.allow_success()?;
        let Some((place, there)) = open else { return Ok(()) };
        agree("given up", lines[0].is_empty(), parks || there.discarded)?;
        match () {
            () if there.discarded => self.handed.set(place, Standing { is: Is::Discarded, ..there }),
            () if parks => self.park(place, there),
            () => self.again(place, there, false),
        }
        // The later ones of its stream go back with it.
        for version in place.1 + 1.. {
            let Some(later) = self.standing((place.0, version)) else { break };
            if later.is == Is::Open(token) {
                self.handed.set((place.0, version), Standing { is: Is::Waiting, ..later });
            }
        }
        Ok(())
    }

    fn accept_fate(&mut self, event: Uuid, replay: bool, seen: &Answer, how: Circumstances) -> Result<(), String> {
        let mut faults = Faults::default();
        let place = self.event_ids.get(&event).copied();
        let place = place.or_else(|| self.fetched.rows().find(|(_, id)| **id == event).map(|(place, _)| *place));
        let there = place.and_then(|place| Some((place, self.standing(place)?)));
        let found = there.filter(|(_, there)| there.is == Is::Parked || there.replayed);
        faults.must("NB119", found.is_none());
        let lines = match seen {
            Answer::Refused(code) => return faults.allow(code),
            Answer::Done(lines) => lines,
        };
        if lines[0] == "0" && how.read_committed && !how.alone {
            // Another session decided while this one waited for it.
            return Ok(());
        }
        faults.allow_success()?;
        let (place, there) = found.expect("there is nothing to refuse");
        let changes = !replay || there.is == Is::Parked;
        agree("how many are decided", lines[0].as_str(), if changes { "1" } else { "0" })?;
        let has_it = matches!(there.is, Is::Open(_));
        match () {
            () if !changes => {}
            () if replay => self.handed.set(place, Standing { is: Is::Waiting, replayed: true, ..there }),
            // What a consumer has stays with it.
            () if has_it => self.handed.set(place, Standing { replayed: false, discarded: true, ..there }),
            () => self.handed.set(place, Standing { is: Is::Discarded, replayed: false, ..there }),
        }
        if !replay {
            self.forget(place);
        }
        Ok(())
    }

    fn accept_extension(&mut self, token: i64, seen: &Answer) -> Result<(), String> {
        let mut faults = Faults::default();
        let lease = self.lease(token, &mut faults);
        faults.must("NB116", lease.as_ref().is_none_or(|lease| self.open_of(lease, token).is_empty()));
        let lines = match seen {
            Answer::Refused(code) => return faults.allow(code),
            Answer::Done(lines) => lines,
        };
        faults.allow_success()?;
        let until: i64 = lines[0].parse().map_err(|e| format!("{e}: {lines:?}"))?;
        let lease = lease.expect("it is not lost");
        agree("a lease gets no shorter", until >= lease.until, true)?;
        self.leases.set(token, Lease { until, ..lease });
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
            Consuming::Ack { token, events } => self.accept_ack(*token, events.as_deref(), seen),
            Consuming::Fail { token, event, park } => self.accept_failure(*token, *event, *park, seen),
            Consuming::Extend { token } => self.accept_extension(*token, seen),
            Consuming::Replay { event } => self.accept_fate(*event, true, seen, how),
            Consuming::Discard { event } => self.accept_fate(*event, false, seen, how),
            Consuming::Reset => {
                self.handed.clear();
                self.leases.clear();
                self.failures.clear();
                done(seen).map(|_| ())
            }
        }
    }

    /// Events that consumers of letters have acknowledged.
    pub fn told(&self) -> impl Iterator<Item = &Place> {
        self.handed.rows().filter(|(_, there)| there.is == Is::Told).map(|(place, _)| place)
    }
}
