//! Refunds and reversals.

use super::State;
use super::postings::Draft;
use super::rows::{Content, Leg, Posted};
use crate::answer::{Answer, Faults};
use neobank_sessions::{Decimal, Uuid};

fn swapped(leg: &Leg, amount: Decimal) -> Leg {
    Leg { debit: leg.credit, credit: leg.debit, amount, currency: leg.currency }
}

impl State {
    pub(super) fn refund(&self, original: Uuid, amount: Option<Decimal>, faults: &mut Faults) -> Option<Posted> {
        faults.must("NB005", amount.is_some_and(|amount| amount <= Decimal::ZERO));
        let Some(first) = self.postings.get(&original) else {
            faults.must("NB008", true);
            return None;
        };
        let refundable = ["deposit", "withdrawal", "transfer", "payment", "fee"].contains(&first.posted_as);
        let amount = amount.unwrap_or(first.left());
        faults.must("NB008", first.reversed || !refundable || first.exchange || first.of_dispute);
        faults.must("NB008", first.left() <= Decimal::ZERO || amount > first.left());
        faults.must("NB046", first.disputed);
        let leg = swapped(&first.legs[0], amount);
        let draft = Draft { leg, bounded: true, counted: false, freed: Decimal::ZERO };
        self.judge(&draft, faults);
        let mut posted = Posted::new(Content::Drawn, "refund", vec![draft.leg]);
        (posted.reverses, posted.bank) = (Some(original), first.bank);
        Some(posted)
    }

    pub(super) fn reversal(&self, original: Uuid, may_overdraw: bool, faults: &mut Faults) -> Option<Posted> {
        let Some(first) = self.postings.get(&original) else {
            faults.must("NB008", true);
            return None;
        };
        faults.must("NB008", first.reversed || first.posted_as == "reversal" || first.of_dispute);
        faults.must("NB008", first.refunded > Decimal::ZERO || first.kept > Decimal::ZERO);
        faults.must("NB046", first.disputed);
        let legs: Vec<Leg> = first.legs.iter().map(|leg| swapped(leg, leg.amount)).collect();
        for leg in &legs {
            let draft = Draft { leg: leg.clone(), bounded: !may_overdraw, counted: false, freed: Decimal::ZERO };
            self.judge(&draft, faults);
        }
        let mut posted = Posted::new(Content::Reverse { original }, "reversal", legs);
        (posted.reverses, posted.bank) = (Some(original), first.bank);
        (posted.residue, posted.exchange) = (-first.residue, first.exchange);
        Some(posted)
    }

    /// What giving back does to what is given back.
    pub(super) fn gave_back(&mut self, original: Uuid, amount: Decimal, whole: bool) {
        let first = self.postings.get(&original).expect("it was given back").clone();
        self.postings.change(original, |first| match whole {
            true => first.reversed = true,
            false => first.refunded += amount,
        });
        if whole
            && first.posted_as == "refund"
            && let Some(refunded) = first.reverses.filter(|refunded| self.postings.get(refunded).is_some())
        {
            self.postings.change(refunded, |refunded| refunded.refunded -= amount);
        }
        if whole && first.exchange {
            let quote = first.legs[1].currency;
            self.residues.set(quote, self.residue(quote) - first.residue);
        }
    }

    pub(super) fn accept_refund(
        &mut self,
        id: Uuid,
        original: Uuid,
        amount: Option<Decimal>,
        seen: &Answer,
    ) -> Result<(), String> {
        let mut faults = Faults::default();
        let content = Content::Refund { original, amount };
        let mut posted = self.refund(original, amount, &mut faults);
        if let Some(posted) = &mut posted {
            posted.content = content.clone();
        }
        let refunded = posted.as_ref().map(Posted::amount);
        if self.accept_strict(id, &content, &mut faults, posted, seen)? {
            self.gave_back(original, refunded.expect("it was posted"), false);
        }
        Ok(())
    }

    pub(super) fn accept_reversal(
        &mut self,
        id: Uuid,
        original: Uuid,
        allow_overdraft: Option<bool>,
        seen: &Answer,
    ) -> Result<(), String> {
        let mut faults = Faults::default();
        let posted = self.reversal(original, allow_overdraft.unwrap_or(true), &mut faults);
        let amount = posted.as_ref().map(Posted::amount);
        if self.accept_strict(id, &Content::Reverse { original }, &mut faults, posted, seen)? {
            self.gave_back(original, amount.expect("it was posted"), true);
        }
        Ok(())
    }
}
