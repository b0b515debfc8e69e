//! Exchanges between currencies, and what rounding leaves.

use super::postings::Draft;
use super::rows::{Content, Leg, Party, Posted};
use super::{Circumstances, State, done};
use crate::answer::{Answer, Faults, agree, figure_in};
use crate::op::Op;
use crate::world::{CURRENCIES, decimals_of};
use neobank_sessions::{Decimal, Uuid};
use rust_decimal::RoundingStrategy::MidpointNearestEven;

/// A rate given may be so far off the stored one: ten percent.
const TOLERANCE: Decimal = Decimal::from_parts(1, 0, 0, false, 1);

impl State {
    /// The pair's own rate, else the inverse of the other way round in twelve digits.
    fn stored_rate(&self, base: &'static str, quote: &'static str) -> Option<Decimal> {
        let inverse = |rate: &Decimal| {
            (Decimal::ONE / rate).round_sf_with_strategy(12, MidpointNearestEven).expect("a rate has an inverse")
        };
        self.rates.get(&(base, quote)).copied().or_else(|| self.rates.get(&(quote, base)).map(inverse))
    }

    fn exchange(
        &self,
        from: Uuid,
        to: Uuid,
        amount: Decimal,
        rate: Option<Decimal>,
        recorded: Option<Decimal>,
        faults: &mut Faults,
    ) -> Option<Posted> {
        faults.must("NB005", amount <= Decimal::ZERO);
        faults.must("NB006", from == to);
        let (payer, receiver) = (self.named(from, faults), self.named(to, faults));
        let ((payer, base), (receiver, quote)) = (payer?, receiver?);
        self.judge_amount(amount, base, faults);
        faults.must("NB004", base == quote);
        let stored = recorded.or_else(|| self.stored_rate(base, quote));
        faults.must("NB036", base != quote && stored.is_none());
        let rate = match (rate, stored) {
            (Some(given), Some(stored)) => {
                faults.must("NB037", (given / stored - Decimal::ONE).abs() > TOLERANCE);
                given
            }
            (given, stored) => given.or(stored).unwrap_or(Decimal::ONE),
        };
        let product = amount * rate;
        let quoted = product.round_dp_with_strategy(decimals_of(quote), MidpointNearestEven);
        faults.must("NB005", quoted.is_zero());
        let position = Party::Own("fx_position");
        let legs = vec![
            Leg { debit: payer, credit: position, amount, currency: base },
            Leg { debit: position, credit: receiver, amount: quoted.abs().max(Decimal::ONE), currency: quote },
        ];
        for leg in &legs {
            let draft = Draft { leg: leg.clone(), bounded: true, counted: true, freed: Decimal::ZERO };
            self.judge(&draft, faults);
        }
        let mut posted = Posted::new(Content::Exchange { from, to, amount, rate: None }, "transfer", legs);
        posted.legs[1].amount = quoted;
        (posted.exchange, posted.residue) = (true, product - quoted);
        Some(posted)
    }

    pub(super) fn accept_exchange(&mut self, op: &Op, seen: &Answer, how: Circumstances) -> Result<(), String> {
        let Op::Exchange { id, from, to, amount, rate } = op else { unreachable!("an exchange") };
        let mut faults = Faults::default();
        let recorded = self.recorded_rates.get(id).copied().filter(|_| how.stays);
        let content = Content::Exchange { from: *from, to: *to, amount: *amount, rate: *rate };
        let mut posted = self.exchange(*from, *to, *amount, *rate, recorded, &mut faults);
        if let Some(posted) = &mut posted {
            posted.content = content.clone();
        }
        let left = posted.as_ref().map(|posted| (posted.legs[1].currency, posted.residue));
        // Side by side, which rate is in force is a matter of the snapshot; what was exchanged has its rate on record.
        faults.may("NB005", !how.alone);
        if self.accept_strict(*id, &content, &mut faults, posted, seen)? {
            let (quote, residue) = left.expect("it was posted");
            self.residues.set(quote, self.residue(quote) + residue);
        }
        Ok(())
    }

    /// Whole minor units of what waits are posted. Side by side with others a sweep takes what it sees, so how much that
    /// is is held against the books at the end.
    pub(super) fn accept_sweep(&mut self, seen: &Answer, how: Circumstances) -> Result<(), String> {
        for line in done(seen)? {
            let columns: Vec<&str> = line.split('|').collect();
            let currency = CURRENCIES.iter().find(|(code, _)| *code == columns[0]).ok_or("no such currency")?.0;
            let swept = figure_in(columns[1]).ok_or("nothing swept")?;
            let remainder = figure_in(columns[2]).ok_or("no remainder")?;
            let waited = self.residue(currency);
            if how.alone {
                agree("what a sweep found", swept + remainder, waited)?;
            }
            agree("a sweep's posting", columns[3].is_empty(), swept.is_zero())?;
            self.residues.set(currency, waited - swept);
            if !swept.is_zero() {
                let (position, rounding) = (Party::Own("fx_position"), Party::Own("fx_rounding"));
                let (debit, credit) = if swept > Decimal::ZERO { (position, rounding) } else { (rounding, position) };
                let leg = Leg { debit, credit, amount: swept.abs(), currency };
                self.book(None, Posted::new(Content::Drawn, "adjustment", vec![leg]));
            }
        }
        for (currency, decimals) in CURRENCIES {
            let waits = self.residue(currency).abs();
            if how.alone && waits >= Decimal::new(1, decimals) {
                return Err(format!("after a sweep {waits} of {currency} still waits"));
            }
        }
        Ok(())
    }
}
