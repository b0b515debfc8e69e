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
        if let Some((party, currency)) = self.named(*account, &mut faults) {
            self.judge_amount(*amount, currency, &mut faults);
            if let Party::Customer(_) = party {
                let held = self.account(*account);
                faults.must("NB003", held.status != "active");
                faults.must("NB026", held.slotted);
                faults.must("NB001", *amount > held.available());
            }
            self.judge_receiver(*to, *account, currency, &mut faults);
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
        let hold = Hold { account, amount, to, group, captured: Decimal::ZERO, open: false, short, number };
        self.holds.set(*id, hold);
        if !short {
            self.change_hold(*id, |hold| hold.open = true);
        }
        Ok(())
    }

    /// To whom it is to go may be looked at when the hold is placed, and is when it is captured.
    fn judge_receiver(&self, to: Option<Uuid>, account: Uuid, currency: &str, faults: &mut Faults) {
        let Some(to) = to else { return };
        let mut found = Faults::default();
        let receiver = self.named(to, &mut found);
        faults.may("NB002", receiver.is_none());
        faults.may("NB024", to == self.cash);
        faults.may("NB006", to == account);
        faults.may("NB004", receiver.is_some_and(|(_, other)| other != currency));
    }

    /// The posting of a capture. `amount` none: all that is left.
    fn capture(&self, id: Uuid, amount: Option<Decimal>, to: Option<Uuid>, faults: &mut Faults) -> Option<Posted> {
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
        let leg = Leg { debit: Party::Customer(hold.account), credit, amount, currency: account.currency };
        let draft = Draft { leg, bounded: true, counted: true, freed: if hold.open { left } else { Decimal::ZERO } };
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
        let mut posted = self.capture(*hold, *amount, *to, &mut faults);
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

    pub(super) fn accept_release_of_group(&mut self, group: Uuid, seen: &Answer) -> Result<(), String> {
        let open = self.group(group);
        match seen {
            Answer::Refused(code) if open.is_empty() => agree("the code", code.as_str(), "NB011"),
            Answer::Refused(code) => Err(format!("refused with {code}, though {open:?} are open")),
            Answer::Done(lines) => {
                agree("how many were open", lines[0].as_str(), &open.len().to_string())?;
                open.into_iter().for_each(|id| self.change_hold(id, |hold| hold.open = false));
                Ok(())
            }
        }
    }

    pub(super) fn accept_capture_of_group(&mut self, group: Uuid, seen: &Answer) -> Result<(), String> {
        let open = self.group(group);
        let before = self.mark();
        let mut refused: Option<Faults> = None;
        for id in &open {
            let mut faults = Faults::default();
            let posted = self.capture(*id, None, None, &mut faults);
            if !faults.none() {
                refused = Some(faults);
                break;
            }
            let posted = posted.expect("nothing is wrong with it");
            let amount = posted.amount();
            self.book(None, posted);
            self.captured(*id, amount, true);
        }
        match seen {
            Answer::Done(lines) => {
                if let Some(faults) = refused {
                    faults.allow_success()?;
                }
                agree("how many were captured", lines.len(), open.len())?;
                agree("an empty group", open.is_empty(), false)
            }
            Answer::Refused(code) => {
                self.back_to(before);
                match refused {
                    Some(faults) => faults.allow(code),
                    None if open.is_empty() => agree("the code", code.as_str(), "NB011"),
                    None => Err(format!("refused with {code}, though {open:?} can be captured")),
                }
            }
        }
    }

    /// Holds whose time is over count no more without it, so it changes nothing that shows.
    pub(super) fn accept_expiry(&mut self, seen: &Answer, _: Circumstances) -> Result<(), String> {
        done(seen).map(|_| ())
    }
}
