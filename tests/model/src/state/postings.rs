//! Postings: what refuses one, and what one does.

use super::rows::{Account, Applied, Content, Leg, Party, Posted, Same};
use super::{Circumstances, State};
use crate::answer::{Answer, Faults, agree, figure_in};
use crate::op::{Kind, Posting};
use crate::world::decimals_of;
use neobank_sessions::{Decimal, Uuid, dec};

/// A posting that is looked at before it is made.
pub struct Draft {
    pub leg: Leg,
    /// The debit is bounded by the overdraft limit.
    pub bounded: bool,
    /// It counts against what the account may spend.
    pub counted: bool,
    /// Held for this very posting.
    pub freed: Decimal,
}

impl State {
    /// The account that is named, with its currency; the bank's own may not be.
    pub(super) fn named(&self, id: Uuid, faults: &mut Faults) -> Option<(Party, &'static str)> {
        if id == self.cash {
            faults.must("NB024", true);
            return Some((Party::Own("cash"), "USD"));
        }
        let account = self.accounts.get(&id);
        faults.must("NB002", account.is_none());
        account.map(|account| (Party::Customer(id), account.currency))
    }

    pub(super) fn account(&self, id: Uuid) -> &Account {
        self.accounts.get(&id).expect("the party was found")
    }

    pub(super) fn judge_amount(&self, amount: Decimal, currency: &str, faults: &mut Faults) {
        faults.must("NB005", amount <= Decimal::ZERO || amount.normalize().scale() > decimals_of(currency));
    }

    pub(super) fn judge(&self, draft: &Draft, faults: &mut Faults) {
        let Draft { leg, bounded, counted, freed } = draft;
        self.judge_amount(leg.amount, leg.currency, faults);
        faults.must("NB006", leg.debit == leg.credit);
        if let Party::Customer(id) = leg.debit {
            let account = self.account(id);
            faults.must("NB003", account.status != "active");
            let lacks = *bounded && leg.amount > account.available() + freed;
            // What nothing bounds, such as a fee, does not wait for the slot that this one has.
            let may_have_had = self.built_upon && account.slotted;
            faults.must("NB001", lacks && !may_have_had);
            faults.may("NB001", lacks && may_have_had);
            faults.must("NB012", *counted && !account.may_spend(leg.amount));
        }
        if let Party::Customer(id) = leg.credit {
            faults.must("NB003", !["active", "dormant"].contains(&self.account(id).status));
        }
    }

    fn move_money(&mut self, party: Party, debit: bool, leg: &Leg) -> Option<Decimal> {
        match party {
            Party::Own(account_type) => {
                let key = (account_type, leg.currency);
                let before = self.own_balance(account_type, leg.currency);
                self.own.set(key, if debit { before + leg.amount } else { before - leg.amount });
                None
            }
            Party::Customer(id) => {
                self.accounts.change(id, |account| account.change(debit, leg.amount));
                self.account(id).shown()
            }
        }
    }

    /// Makes it. Without an id it was drawn by the bank and nobody asks for it later.
    pub(super) fn book(&mut self, id: Option<Uuid>, mut posted: Posted) {
        let posted_as = posted.posted_as;
        let spends = ["transfer", "withdrawal", "payment"].contains(&posted_as);
        for (at, leg) in posted.legs.clone().iter().enumerate() {
            let debit = self.move_money(leg.debit, true, leg);
            let credit = self.move_money(leg.credit, false, leg);
            if let (true, Party::Customer(account)) = (spends, leg.debit) {
                self.accounts.change(account, |account| {
                    account.spent += leg.amount;
                    account.spendings += 1;
                });
            }
            if at == 0 {
                posted.balances = (debit, credit);
            }
            self.applied.push(Applied {
                transaction: id,
                leg: at + 1,
                debit: (leg.debit, debit),
                credit: (leg.credit, credit),
                amount: leg.amount,
                posted_as,
                published: self.is_published(),
            });
        }
        self.put_into_clearing(&posted);
        if let Some(id) = id {
            self.postings.set(id, posted);
        }
    }

    /// Payments wait in clearing for their bank, whichever way they go; those that name none for the bank of nobody.
    fn put_into_clearing(&mut self, posted: &Posted) {
        let leg = &posted.legs[0];
        let outgoing = leg.credit == Party::Own("payments_clearing");
        if !outgoing && leg.debit != Party::Own("payments_clearing") {
            return;
        }
        let key = (posted.bank.unwrap_or("unassigned"), leg.currency);
        let (mut out, mut incoming) = self.clearing.get(&key).copied().unwrap_or_default();
        if outgoing {
            out += leg.amount
        } else {
            incoming += leg.amount
        }
        self.clearing.set(key, (out, incoming));
    }

    /// What stands under the id already, if the call repeats it.
    pub(super) fn repeats(&self, id: Uuid, content: &Content) -> Option<Same> {
        let first = &self.postings.get(&id)?.content;
        let amount_of_first = self.postings.get(&id)?.amount();
        let open = |first: &Option<Decimal>, now: &Option<Decimal>| match (first, now) {
            (Some(first), Some(now)) if first == now => Same::Yes,
            (None, None) => Same::Yes,
            (None, Some(now)) if *now == amount_of_first => Same::Unclear,
            (Some(_), None) => Same::Unclear,
            _ => Same::No,
        };
        Some(match (first, content) {
            (Content::Refund { original: a, amount: x }, Content::Refund { original: b, amount: y }) if a == b => {
                open(x, y)
            }
            (Content::Capture { hold: a, amount: x, to: to_a }, Content::Capture { hold: b, amount: y, to: to_b })
                if a == b && to_a == to_b =>
            {
                open(x, y)
            }
            (Content::Post(a), Content::Post(b)) if a.currency != b.currency => {
                // The currency counts where it is given.
                let accounts = [a.from, a.to].into_iter().flatten().find_map(|id| self.accounts.get(&id));
                let right = b.currency.is_none() || accounts.map(|account| account.currency) == b.currency;
                let same = Posting { currency: None, ..a.clone() } == Posting { currency: None, ..b.clone() };
                if right && same { Same::Yes } else { Same::No }
            }
            (a, b) if a == b => Same::Yes,
            _ => Same::No,
        })
    }

    /// Two accounts of a posting, of which the bank's is found by the other's currency.
    fn parties(&self, posting: &Posting, faults: &mut Faults) -> Option<(Party, Party, &'static str)> {
        let from = posting.from.map(|id| self.named(id, faults));
        let to = posting.to.map(|id| self.named(id, faults));
        let own = Party::Own(match posting.kind {
            Kind::Deposit | Kind::Withdrawal => "cash",
            Kind::Payment | Kind::PayBank | Kind::ReceiveFromBank => "payments_clearing",
            Kind::Fee => "fee_income",
            Kind::Interest => "interest_expense",
            Kind::Transfer => "",
        });
        match (from, to) {
            (Some(from), Some(to)) => {
                let ((from, currency), (to, other)) = (from?, to?);
                faults.must("NB004", currency != other);
                Some((from, to, currency))
            }
            (Some(from), None) => from.map(|(from, currency)| (from, own, currency)),
            (None, Some(to)) => to.map(|(to, currency)| (own, to, currency)),
            (None, None) => None,
        }
    }

    /// What there is to refuse, and the posting to be made.
    pub(super) fn draft(&self, posting: &Posting, faults: &mut Faults) -> Option<Posted> {
        faults.must("NB005", posting.amount <= Decimal::ZERO);
        faults.must("NB021", posting.reference.as_ref().is_some_and(|text| text.chars().count() > 50));
        faults.must("NB006", posting.from.is_some() && posting.from == posting.to);
        let (debit, credit, currency) = self.parties(posting, faults)?;
        faults.must("NB004", posting.currency.is_some_and(|given| given != currency));
        let leg = Leg { debit, credit, amount: posting.amount, currency };
        let bounded = !matches!(posting.kind, Kind::Fee | Kind::Interest);
        let counted = matches!(posting.kind, Kind::Transfer | Kind::Withdrawal | Kind::Payment | Kind::PayBank);
        let draft = Draft { leg, bounded, counted, freed: Decimal::ZERO };
        self.judge(&draft, faults);
        let content = Content::Post(posting.clone());
        let mut posted = Posted::new(content, posting.kind.posted_as(), vec![draft.leg]);
        posted.bank = posting.bank;
        Some(posted)
    }

    /// A strict function that answers the transaction's id, or refuses.
    pub(super) fn accept_strict(
        &mut self,
        id: Uuid,
        content: &Content,
        faults: &mut Faults,
        posted: Option<Posted>,
        seen: &Answer,
    ) -> Result<bool, String> {
        let same = self.repeats(id, content);
        if let Some(Same::Yes | Same::Unclear) = same
            && let Answer::Done(lines) = seen
        {
            agree("the id of a retry", lines[0].as_str(), &id.to_string())?;
            return Ok(false);
        }
        if same == Some(Same::Yes) {
            return Err(format!("a retry is refused: {seen:?}"));
        }
        faults.must("NB007", same.is_some());
        match seen {
            Answer::Refused(code) => faults.allow(code).map(|()| false),
            Answer::Done(lines) => {
                faults.allow_success()?;
                agree("the id", lines[0].as_str(), &id.to_string())?;
                self.book(Some(id), posted.expect("nothing is wrong with it"));
                Ok(true)
            }
        }
    }

    pub(super) fn accept_posting(
        &mut self,
        posting: &Posting,
        contract: bool,
        seen: &Answer,
        how: Circumstances,
    ) -> Result<(), String> {
        let mut faults = Faults::default();
        let content = Content::Post(posting.clone());
        let posted = self.draft(posting, &mut faults);
        if !contract {
            return self.accept_strict(posting.id, &content, &mut faults, posted, seen).map(|_| ());
        }
        let Answer::Done(lines) = seen else { return Err(format!("a contract function raises {seen:?}")) };
        let json: serde_json::Value = serde_json::from_str(&lines[0]).map_err(|e| format!("{e}: {lines:?}"))?;
        let text = |key: &str| json.get(key).map(|value| value.to_string().trim_matches('"').to_owned());
        let as_strict = match text("success").as_deref() {
            Some("true") => Answer::Done(vec![text("transaction_id").unwrap_or_default()]),
            _ => Answer::Refused(text("sqlstate").unwrap_or_default()),
        };
        let refused = matches!(as_strict, Answer::Refused(_));
        if !refused || how.checks(0) {
            self.accept_strict(posting.id, &content, &mut faults, posted, &as_strict)?;
        }
        if refused {
            return Ok(());
        }
        let (from, to) = self.postings.get(&posting.id).expect("it was posted").balances;
        let (from, to) = (posting.from.and(from), posting.to.and(to));
        let figure = |key: &str| text(key).as_deref().and_then(figure_in);
        agree("from_balance", figure("from_balance"), from)?;
        agree("to_balance", figure("to_balance"), to)?;
        let balance = if posting.kind == Kind::Transfer { None } else { from.or(to) };
        agree("balance", figure("balance"), balance)
    }

    pub(super) fn accept_adjustment(
        &mut self,
        id: Uuid,
        account: Uuid,
        amount: Decimal,
        seen: &Answer,
    ) -> Result<(), String> {
        let mut faults = Faults::default();
        let posted = self.adjustment(account, amount, &mut faults);
        let content = Content::Adjust { account, amount };
        self.accept_strict(id, &content, &mut faults, posted, seen).map(|_| ())
    }

    /// Against suspense. It may name an account of the bank.
    pub(super) fn adjustment(&self, account: Uuid, amount: Decimal, faults: &mut Faults) -> Option<Posted> {
        faults.must("NB005", amount.is_zero());
        let mut ignored = Faults::default();
        let Some((party, currency)) = self.named(account, &mut ignored) else {
            faults.must("NB002", true);
            return None;
        };
        let grows_by_debit = match party {
            Party::Customer(id) => self.account(id).owes(),
            Party::Own(_) => true,
        };
        let suspense = Party::Own("suspense");
        let debits = (amount > Decimal::ZERO) == grows_by_debit;
        let (debit, credit) = if debits { (party, suspense) } else { (suspense, party) };
        let leg = Leg { debit, credit, amount: if amount.is_zero() { dec("1") } else { amount.abs() }, currency };
        let draft = Draft { leg, bounded: false, counted: false, freed: Decimal::ZERO };
        self.judge(&draft, faults);
        Some(Posted::new(Content::Adjust { account, amount }, "adjustment", vec![draft.leg]))
    }
}
