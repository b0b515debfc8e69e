//! Disputes: the provisional credit, and who bears the loss.

use super::State;
use super::postings::Draft;
use super::rows::{Content, Dispute, Leg, Party, Posted};
use crate::answer::{Answer, Faults, agree};
use crate::op::Op;
use crate::world::PLAIN_DISPUTES;
use neobank_sessions::{Decimal, Uuid};

const WAITING: Party = Party::Own("disputes");

impl State {
    fn judge_plainly(&self, leg: &Leg, faults: &mut Faults) {
        let draft = Draft { leg: leg.clone(), bounded: false, counted: false, freed: Decimal::ZERO };
        self.judge(&draft, faults);
    }

    /// The dispute that would be opened, and its provisional credit.
    fn dispute(&self, of: Uuid, asked: Option<Decimal>, faults: &mut Faults) -> Option<(Dispute, Option<Leg>)> {
        faults.must("NB005", asked.is_some_and(|amount| amount <= Decimal::ZERO));
        let Some(first) = self.postings.get(&of) else {
            faults.must("NB045", true);
            return None;
        };
        let disputable = ["withdrawal", "transfer", "payment", "fee"].contains(&first.posted_as);
        faults.must("NB045", !disputable || first.legs.len() > 1 || first.reversed || first.of_dispute);
        let left = first.left();
        let amount = asked.unwrap_or(left);
        faults.must("NB046", first.disputed);
        faults.must("NB045", left <= Decimal::ZERO || amount > left);
        let Party::Customer(account) = first.legs[0].debit else {
            faults.must("NB045", true);
            return None;
        };
        let currency = first.legs[0].currency;
        self.judge_amount(amount, currency, faults);
        let plain = self.account(account).account_type == PLAIN_DISPUTES;
        let credit = Leg { debit: WAITING, credit: Party::Customer(account), amount, currency };
        if !plain {
            self.judge_plainly(&credit, faults);
        }
        let counterparty = first.legs[0].credit;
        let charge_back = plain && matches!(counterparty, Party::Customer(_));
        let dispute = Dispute {
            transaction: of,
            account,
            counterparty,
            asked,
            amount,
            provisional: !plain,
            charge_back,
            resolved: None,
        };
        Some((dispute, (!plain).then_some(credit)))
    }

    pub(super) fn accept_dispute(
        &mut self,
        id: Uuid,
        of: Uuid,
        asked: Option<Decimal>,
        seen: &Answer,
    ) -> Result<(), String> {
        let mut faults = Faults::default();
        let drafted = self.dispute(of, asked, &mut faults);
        if let Some(first) = self.disputes.get(&id) {
            let unclear = first.asked != asked && (first.asked.is_none() || asked.is_none());
            if first.transaction == of && first.asked == asked {
                return agree("a retried dispute", seen, &Answer::Done(vec![id.to_string()]));
            }
            if unclear && first.transaction == of && matches!(seen, Answer::Done(_)) {
                return agree("a retried dispute", seen, &Answer::Done(vec![id.to_string()]));
            }
            faults.must("NB007", true);
        }
        let lines = match seen {
            Answer::Refused(code) => return faults.allow(code),
            Answer::Done(lines) => lines,
        };
        faults.allow_success()?;
        agree("the id of a dispute", lines[0].as_str(), &id.to_string())?;
        let (dispute, credit) = drafted.expect("nothing is wrong with it");
        self.postings.change(of, |first| first.disputed = true);
        self.disputes.set(id, dispute);
        if let Some(leg) = credit {
            self.book_for_dispute(None, vec![leg]);
        }
        Ok(())
    }

    fn book_for_dispute(&mut self, id: Option<Uuid>, legs: Vec<Leg>) {
        let mut posted = Posted::new(Content::Drawn, "adjustment", legs);
        posted.of_dispute = true;
        self.book(id, posted);
    }

    /// What the customer keeps, and all legs of the outcome.
    fn resolution(
        &self,
        dispute: &Dispute,
        outcome: &str,
        given: Option<Decimal>,
        charge_back: Option<bool>,
        faults: &mut Faults,
    ) -> (Decimal, Vec<Leg>) {
        let keeps = match outcome {
            "won" => dispute.amount,
            "partial" => given.unwrap_or_default(),
            _ => Decimal::ZERO,
        };
        let currency = self.account(dispute.account).currency;
        if outcome == "partial" {
            let inside = keeps > Decimal::ZERO && keeps < dispute.amount;
            // Which of the two codes an amount gets that is no part of the disputed one is not written.
            faults.must("NB021", !inside);
            faults.may("NB005", !inside);
            self.judge_amount(keeps, currency, faults);
        }
        let customer = Party::Customer(dispute.account);
        let from_customer = matches!(dispute.counterparty, Party::Customer(_));
        // Where nothing is kept there is nothing to charge back either, and nothing is written about asking for it.
        let refused = charge_back == Some(true) && !from_customer;
        faults.must("NB021", refused && keeps > Decimal::ZERO);
        faults.may("NB021", refused);
        let leg = |debit, credit, amount| Leg { debit, credit, amount, currency };
        let mut legs = Vec::new();
        let taken_back = dispute.amount - keeps;
        if dispute.provisional && taken_back > Decimal::ZERO {
            legs.push(leg(customer, WAITING, taken_back));
        }
        if !dispute.provisional && keeps > Decimal::ZERO {
            legs.push(leg(WAITING, customer, keeps));
        }
        if keeps > Decimal::ZERO {
            let charged = charge_back.unwrap_or(dispute.charge_back) && from_customer;
            let bears = if charged { dispute.counterparty } else { Party::Own("dispute_losses") };
            legs.push(leg(bears, WAITING, keeps));
        }
        legs.iter().for_each(|leg| self.judge_plainly(leg, faults));
        (keeps, legs)
    }

    pub(super) fn accept_resolution(&mut self, op: &Op, seen: &Answer) -> Result<(), String> {
        let Op::ResolveDispute { dispute: id, outcome, amount, charge_back } = op else { unreachable!("a resolution") };
        let Some(dispute) = self.disputes.get(id).cloned() else {
            return match seen {
                // What is wrong with the arguments themselves may be told first.
                Answer::Refused(code) if ["NB047", "NB005", "NB021"].contains(&code.as_str()) => Ok(()),
                _ => Err(format!("there is no such dispute, and this is answered: {seen:?}")),
            };
        };
        if let Some((first, first_amount, first_charge, answer)) = &dispute.resolved {
            let same = first == outcome && first_amount == amount;
            return match seen {
                Answer::Done(lines) if same => agree("the answer of a retry", lines, answer),
                Answer::Refused(code) if !same || first_charge != charge_back => {
                    let allowed = ["NB047", "NB005", "NB021"].contains(&code.as_str());
                    agree(&format!("{code} may be told"), allowed, true)
                }
                _ => Err(format!("it was resolved as {:?}, and this is answered: {seen:?}", dispute.resolved)),
            };
        }
        let mut faults = Faults::default();
        let (keeps, legs) = self.resolution(&dispute, outcome, *amount, *charge_back, &mut faults);
        let lines = match seen {
            Answer::Refused(code) => return faults.allow(code),
            Answer::Done(lines) => lines.clone(),
        };
        faults.allow_success()?;
        let posting: Option<Uuid> = lines[0].parse().ok();
        agree("a posting of the outcome", posting.is_some(), !legs.is_empty())?;
        if !legs.is_empty() {
            self.book_for_dispute(posting, legs);
        }
        self.postings.change(dispute.transaction, |first| {
            first.disputed = false;
            first.kept += keeps;
        });
        let resolved = Some((*outcome, *amount, *charge_back, lines));
        self.disputes.change(*id, |dispute| dispute.resolved = resolved);
        Ok(())
    }
}
