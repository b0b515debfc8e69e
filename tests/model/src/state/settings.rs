//! What is set about an account: status, overdraft limit, balance mode, spending limits; and closing it.

use super::State;
use super::rows::{Account, Party};
use crate::answer::{Answer, Faults, agree};
use crate::op::Op;
use neobank_sessions::{Decimal, Uuid};

impl State {
    /// Ends the answer: a refusal that is allowed, or the change.
    fn set(
        &mut self,
        account: Uuid,
        faults: &Faults,
        seen: &Answer,
        change: impl FnOnce(&mut Account),
    ) -> Result<(), String> {
        match seen {
            Answer::Refused(code) => faults.allow(code),
            Answer::Done(_) => {
                faults.allow_success()?;
                self.accounts.change(account, change);
                Ok(())
            }
        }
    }

    fn customers(&self, id: Uuid, faults: &mut Faults) -> Option<Account> {
        match self.named(id, faults)?.0 {
            Party::Customer(id) => Some(self.account(id).clone()),
            Party::Own(_) => None,
        }
    }

    pub(super) fn accept_status(&mut self, id: Uuid, status: &'static str, seen: &Answer) -> Result<(), String> {
        let mut faults = Faults::default();
        let account = self.customers(id, &mut faults);
        faults.must("NB019", account.is_some_and(|account| account.status == "closed"));
        self.set(id, &faults, seen, |account| account.status = status)
    }

    pub(super) fn accept_overdraft(&mut self, id: Uuid, limit: Decimal, seen: &Answer) -> Result<(), String> {
        let mut faults = Faults::default();
        faults.must("NB005", limit < Decimal::ZERO);
        let account = self.customers(id, &mut faults);
        // The page on accounts does not say whether the limit of a closed one may be set.
        faults.may("NB019", account.is_some_and(|account| account.status == "closed"));
        self.set(id, &faults, seen, |account| account.limit = limit)
    }

    fn has_open_holds(&self, id: Uuid) -> bool {
        self.holds.rows().any(|(_, hold)| hold.account == id && hold.open)
    }

    pub(super) fn accept_mode(&mut self, id: Uuid, slotted: bool, seen: &Answer) -> Result<(), String> {
        let mut faults = Faults::default();
        if let Some(account) = self.customers(id, &mut faults) {
            let changes = account.slotted != slotted;
            faults.must("NB026", changes && slotted && self.has_open_holds(id));
            faults.must("NB026", changes && slotted && account.limits.iter().any(Option::is_some));
            faults.may("NB019", account.status == "closed");
        }
        self.set(id, &faults, seen, |account| account.slotted = slotted)
    }

    pub(super) fn accept_limit(&mut self, op: &Op, seen: &Answer) -> Result<(), String> {
        let Op::SetLimit { account: id, period, amount, postings } = op else { unreachable!("a limit") };
        let mut faults = Faults::default();
        let at = ["transaction", "day", "month"].iter().position(|name| name == period).expect("one of three");
        faults.must("NB021", at == 0 && postings.is_some());
        faults.must("NB005", amount.is_some_and(|amount| amount <= Decimal::ZERO));
        let takes_away = amount.is_none() && postings.is_none();
        if let Some(account) = self.customers(*id, &mut faults) {
            faults.must("NB026", account.slotted && !takes_away);
            faults.may("NB026", account.slotted);
            faults.may("NB019", account.status == "closed");
        }
        let limit = (!takes_away).then_some((*amount, *postings));
        self.set(*id, &faults, seen, |account| account.limits[at] = limit)
    }

    pub(super) fn accept_closing(&mut self, id: Uuid, sweep_to: Option<Uuid>, seen: &Answer) -> Result<(), String> {
        assert!(sweep_to.is_none(), "sweeps are not generated");
        let mut faults = Faults::default();
        if let Some(account) = self.customers(id, &mut faults) {
            faults.must("NB019", !["active", "dormant"].contains(&account.status));
            faults.must("NB018", !account.balance.is_zero());
            faults.must("NB051", self.has_open_holds(id));
        }
        if let Answer::Done(lines) = seen {
            agree("the posting of a closing without money", lines[0].as_str(), "")?;
        }
        self.set(id, &faults, seen, |account| account.status = "closed")
    }
}
