//! Appends on a condition, and the ledger as events.

use super::{Event, Party, State, done};
use crate::answer::{Answer, Faults, agree};
use crate::events::{Append, Decision, POSTED, place_of_leg};
use neobank_sessions::Uuid;

impl Decision {
    fn is_about(&self, event_type: &str, tags: Option<&[String]>) -> bool {
        self.event_types.as_ref().is_none_or(|types| types.contains(&event_type))
            && self.tags.iter().flatten().all(|tag| tags.is_some_and(|tags| tags.contains(tag)))
    }
}

impl State {
    pub(super) fn is_published(&self) -> bool {
        self.published.get(&()).copied().unwrap_or(false)
    }

    fn is_after(&self, place: (Uuid, i32), position: i64) -> bool {
        self.recorded_positions.get(&place).is_none_or(|there| *there > position)
    }

    /// Whether an event of what the decision is about is there after its position.
    fn judge_condition(&self, decision: &Decision, faults: &mut Faults) {
        let after = decision.after;
        let is_there = |(place, event): (&(Uuid, i32), &Event)| {
            decision.is_about(&event.event_type, event.tags.as_deref()) && self.is_after(*place, after)
        };
        let appended = self.events.rows().any(|(place, event)| is_there((place, event.as_ref())));
        faults.must("NB110", appended);
        let Some(account) = decision.account else { return };
        let side = Party::Customer(account);
        for leg in self.applied().iter().filter(|leg| leg.published && [leg.debit.0, leg.credit.0].contains(&side)) {
            match leg.transaction {
                Some(id) => faults.must("NB110", self.is_after(place_of_leg(id, leg.leg), after)),
                // The bank drew its id, so nobody knows where it is.
                None => faults.may("NB110", true),
            }
        }
    }

    pub(super) fn accept_decision(&mut self, decision: &Decision, seen: &Answer) -> Result<(), String> {
        let mut faults = Faults::default();
        let nothing = decision.event_types.is_none() && decision.tags.is_none();
        let odd = nothing || decision.after < 0 || decision.after == crate::events::FAR;
        faults.must("NB021", odd);
        if odd && matches!(seen, Answer::Refused(code) if code == "NB021") {
            return Ok(());
        }
        self.judge_condition(decision, &mut faults);
        self.accept_append_where(&Append { batch: true, ..decision.append.clone() }, faults, seen)
    }

    pub(super) fn accept_publication(&mut self, on: bool, seen: &Answer) -> Result<(), String> {
        let lines = done(seen)?;
        let never = self.published.get(&()).is_none();
        agree("no position of a publication", lines[0] == "t", !on && never)?;
        if on || !never {
            self.published.set((), on);
        }
        Ok(())
    }

    pub(super) fn accept_check(&self, seen: &Answer) -> Result<(), String> {
        let wanted = if self.is_published() { Answer::Done(Vec::new()) } else { Answer::Refused("NB130".to_owned()) };
        agree("accounts whose events are not right", seen, &wanted)
    }

    /// Legs that are events: how many, and which, as far as their ids were told.
    pub fn published_legs(&self) -> (usize, Vec<(Uuid, usize, &'static str)>) {
        let legs = || self.applied().iter().filter(|leg| leg.published);
        let event_type = |kind: &str| POSTED.iter().find(|(of, _)| *of == kind).expect("a type of posting").1;
        let known = legs().filter_map(|leg| Some((leg.transaction?, leg.leg, event_type(leg.posted_as))));
        (legs().count(), known.collect())
    }
}
