//! Holds: placing, capturing, releasing, groups and expiry.

use super::postings::Draft;
use super::rows::{Content, Hold, Leg, Party, Posted};
use super::{Circumstances, State, done};
use crate::answer::{Answer, Faults, agree};
use crate::op::Op;
use crate::world::OVERCAPTURE;
use neobank_sessions::{Decimal, Uuid};

impl State {
    /// Changes a hold, and with it what its account has set aside.
    fn change_hold(&mut self, id: Uuid, change: impl FnOnce(&mut Hold)) {
        let aside = |hold: &Hold| if hold.open { hold.remaining() } else { Decimal::ZERO };
        let hold = self.holds.get(&id).expect("it is there");
        let (account, before) = (hold.account, aside(hold));
        self.holds.change(id, change);
        let after = aside(self.holds.get(&id).expect("it is there"));
        self.accounts.change(account, |account| account.held += after - before);
    }

    pub(super) fn accept_hold(&mut self, op: &Op, seen: &Answer) -> Result<(), String> {
        let Op::Hold { id, account, amount, to, group, short } = op else { unreachable!("a hold") };
        let mut faults = Faults::default();
        faults.must("NB005", *amount <= Decimal::ZERO);
        faults.may("NB006", *to == Some(*account));
        faults.may("NB024", *to == Some(self.cash));
        if let Some((party, currency)) = self.named(*account, &mut faults) {
            self.judge_amount(*amount, currency, &mut faults);
            if let Party::Customer(_) = party {
                let held = self.account(*account);
                faults.must("NB003", held.status != "active");
                faults.must("NB026", held.slotted);
                faults.must("NB001", *amount > held.available());
            }
            self.judge_receiver(*to, currency, &mut faults);
        }
        // On a busy machine its time may be over before it is placed.
        faults.may("NB021", *short);
        if let Some(first) = self.holds.get(id) {
            let same = (first.account, first.amount, first.to, first.group, first.short, *short)
                == (*account, *amount, *to, *group, false, false);
            if same {
                return agree("a retried hold", seen, &Answer::Done(vec![id.to_string()]));
            }
            faults.must("NB007", true);
        }
        let Answer::Done(lines) = seen else {
            let Answer::Refused(code) = seen else { unreachable!("an answer is one of two") };
            return faults.allow(code);
        };
        faults.allow_success()?;
        agree("the id of a hold", lines[0].as_str(), &id.to_string())?;
        let number = self.holds.mark();
        let (account, amount, to, group, short) = (*account, *amount, *to, *group, *short);
        let hold =
            Hold { account, amount, to, group, captured: Decimal::ZERO, open: false, short, number, turn: self.turn };
        self.holds.set(*id, hold);
        if !short {
            self.change_hold(*id, |hold| hold.open = true);
        }
        Ok(())
    }

    /// To whom it is to go may be looked at when the hold is placed, and is when it is captured.
    fn judge_receiver(&self, to: Option<Uuid>, currency: &str, faults: &mut Faults) {
        let Some(to) = to else { return };
        let mut found = Faults::default();
        let receiver = self.named(to, &mut found);
        faults.may("NB002", receiver.is_none());
        faults.may("NB004", receiver.is_some_and(|(_, other)| other != currency));
    }

    /// The posting of a capture. `amount` none: all that is left.
    fn capture(
        &self,
        id: Uuid,
        amount: Option<Decimal>,
        to: Option<Uuid>,
        last: bool,
        faults: &mut Faults,
    ) -> Option<Posted> {
        faults.must("NB005", amount.is_some_and(|amount| amount <= Decimal::ZERO));
        let Some(hold) = self.holds.get(&id) else {
            faults.must("NB011", true);
            return None;
        };
        let left = hold.remaining();
        faults.must("NB011", !hold.open || (amount.is_none() && left.is_zero()));
        let amount = amount.unwrap_or(left);
        let account = self.account(hold.account);
        let percent = if account.account_type == OVERCAPTURE.0 { OVERCAPTURE.1 } else { 0 };
        let most = hold.amount * Decimal::from(100 + percent) / Decimal::ONE_HUNDRED;
        faults.must("NB050", hold.captured + amount > most);
        let mut posted_as = "transfer";
        let credit = match to.or(hold.to) {
            Some(to) => {
                let (receiver, other) = self.named(to, faults)?;
                faults.must("NB004", other != account.currency);
                receiver
            }
            None => {
                posted_as = "payment";
                Party::Own("payments_clearing")
            }
        };
        // What stays set aside for further captures is not there for this one, though an account may have been overdrawn
        // since: by a fee, or by a lower limit.
        let freed = match (hold.open, last) {
            (true, true) => left,
            (true, false) => left.min(amount),
            (false, _) => Decimal::ZERO,
        };
        let leg = Leg { debit: Party::Customer(hold.account), credit, amount, currency: account.currency };
        let draft = Draft { leg, bounded: true, counted: true, freed };
        self.judge(&draft, faults);
        Some(Posted::new(Content::Capture { hold: id, amount: None, to }, posted_as, vec![draft.leg]))
    }

    fn captured(&mut self, id: Uuid, amount: Decimal, last: bool) {
        self.change_hold(id, |hold| {
            hold.captured += amount;
            hold.open = !last;
        });
    }

    pub(super) fn accept_capture(&mut self, op: &Op, seen: &Answer) -> Result<(), String> {
        let Op::Capture { id, hold, amount, to, last } = op else { unreachable!("a capture") };
        let mut faults = Faults::default();
        let content = Content::Capture { hold: *hold, amount: *amount, to: *to };
        let mut posted = self.capture(*hold, *amount, *to, *last, &mut faults);
        if let Some(posted) = &mut posted {
            posted.content = content.clone();
        }
        let captured = posted.as_ref().map(Posted::amount);
        if self.accept_strict(*id, &content, &mut faults, posted, seen)? {
            self.captured(*hold, captured.expect("it was posted"), *last);
        }
        Ok(())
    }

    pub(super) fn accept_release(&mut self, hold: Uuid, seen: &Answer) -> Result<(), String> {
        let open = self.holds.get(&hold).is_some_and(|hold| hold.open);
        match seen {
            Answer::Refused(code) if !open => agree("the code", code.as_str(), "NB011"),
            Answer::Refused(code) => Err(format!("refused with {code}, though it is open")),
            Answer::Done(_) if !open => Err("released, though it is not open".to_owned()),
            Answer::Done(_) => {
                self.change_hold(hold, |hold| hold.open = false);
                Ok(())
            }
        }
    }

    /// Open holds of the group, by account, then age.
    fn group(&self, group: Uuid) -> Vec<Uuid> {
        let of_group = |(_, hold): &(&Uuid, &Hold)| hold.group == Some(group) && hold.open;
        let mut open: Vec<_> =
            self.holds.rows().filter(of_group).map(|(id, hold)| (hold.account, hold.number, *id)).collect();
        open.sort();
        open.into_iter().map(|(_, _, id)| id).collect()
    }

    /// The holds that a call for the group may have found: all that are open, or those without the ones placed since.
    fn found(&self, group: Uuid, how: Circumstances) -> Vec<Vec<Uuid>> {
        let open = self.group(group);
        let older = |id: &&Uuid| self.holds.get(id).is_some_and(|hold| hold.turn <= how.since);
        let all_but_young: Vec<Uuid> = open.iter().filter(older).copied().collect();
        if all_but_young.len() == open.len() { vec![open] } else { vec![open, all_but_young] }
    }

    /// Those that it found by the bank's records, if they can be.
    fn recorded(&self, keys: &[Uuid], found: &[Vec<Uuid>]) -> Result<Option<Vec<Uuid>>, String> {
        let recorded: Option<Vec<&Vec<Uuid>>> = keys.iter().map(|key| self.recorded_holds.get(key)).collect();
        let Some(recorded) = recorded.filter(|_| !keys.is_empty()) else { return Ok(None) };
        let ids: Vec<Uuid> = recorded.into_iter().flatten().copied().collect();
        let (all, least) = (&found[0], &found[found.len() - 1]);
        match ids.iter().all(|id| all.contains(id)) && least.iter().all(|id| ids.contains(id)) {
            true => Ok(Some(all.iter().filter(|id| ids.contains(id)).copied().collect())),
            false => Err(format!("closed were {ids:?} of {all:?}, of which {least:?} could not be missed")),
        }
    }

    pub(super) fn accept_release_of_group(
        &mut self,
        id: Uuid,
        group: Uuid,
        seen: &Answer,
        how: Circumstances,
    ) -> Result<(), String> {
        let found = self.found(group, how);
        let lines = match seen {
            Answer::Refused(code) if found.iter().any(Vec::is_empty) => {
                return agree("the code", code.as_str(), "NB011");
            }
            Answer::Refused(code) => return Err(format!("refused with {code}, though {found:?} are open")),
            Answer::Done(lines) => lines,
        };
        let recorded = if how.stays { self.recorded(&[id], &found)? } else { None };
        let of_this_size = |open: &&Vec<Uuid>| open.len().to_string() == lines[0] && !open.is_empty();
        let released = recorded.as_ref().or(found.iter().find(of_this_size));
        let released = released.ok_or(format!("{lines:?} released, of {found:?}"))?;
        agree("how many were open", lines[0].as_str(), &released.len().to_string())?;
        released.iter().for_each(|id| self.change_hold(*id, |hold| hold.open = false));
        Ok(())
    }

    /// Captures each whole; what there is to refuse about those that cannot be. Which of them is told is not written.
    fn capture_all(&mut self, open: &[Uuid]) -> Option<Faults> {
        let mut refused = Faults::default();
        for id in open {
            let mut faults = Faults::default();
            let posted = self.capture(*id, None, None, true, &mut faults);
            refused.add(&faults);
            if !faults.none() {
                continue;
            }
            let posted = posted.expect("nothing is wrong with it");
            let amount = posted.amount();
            self.book(None, posted);
            self.captured(*id, amount, true);
        }
        (!refused.none()).then_some(refused)
    }

    pub(super) fn accept_capture_of_group(
        &mut self,
        group: Uuid,
        seen: &Answer,
        how: Circumstances,
    ) -> Result<(), String> {
        let mut found = self.found(group, how);
        if let Answer::Done(lines) = seen {
            let ids: Vec<Uuid> = lines.iter().filter_map(|line| line.parse().ok()).collect();
            if how.stays
                && let Some(recorded) = self.recorded(&ids, &found)?
            {
                found = vec![recorded];
            }
        }
        let mut told = String::new();
        for open in found {
            let before = self.mark();
            let refused = self.capture_all(&open);
            let accepted = match (seen, refused) {
                (Answer::Done(_), Some(faults)) => faults.allow_success(),
                (Answer::Done(lines), None) => agree("how many were captured", lines.len(), open.len())
                    .and_then(|()| agree("an empty group", open.is_empty(), false)),
                (Answer::Refused(code), Some(faults)) => faults.allow(code),
                (Answer::Refused(code), None) if open.is_empty() => agree("the code", code.as_str(), "NB011"),
                (Answer::Refused(code), None) => Err(format!("refused with {code}, though {open:?} can be captured")),
            };
            if accepted.is_err() || matches!(seen, Answer::Refused(_)) {
                self.back_to(before);
            }
            match accepted {
                Ok(()) => return Ok(()),
                Err(error) => told = error,
            }
        }
        Err(told)
    }

    /// Holds whose time is over count no more without it, so it changes nothing that shows.
    pub(super) fn accept_expiry(&mut self, seen: &Answer, _: Circumstances) -> Result<(), String> {
        done(seen).map(|_| ())
    }
}
