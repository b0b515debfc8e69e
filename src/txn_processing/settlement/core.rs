//! What a settlement decides: no server, no clock, no randomness.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::txn_processing::calendar::MICROS_PER_DAY;
use rust_decimal::Decimal;

/// 1900-01-01: nothing before it is worth a cut-off, and all from it on fit into 64 bits of microseconds.
const FIRST_DAY: i32 = -36_524;

/// The end of the day in UTC: what counts from then on belongs to a later date.
pub fn cut_off(day: i32) -> i64 {
    (i64::from(day) + 1) * MICROS_PER_DAY
}

/// Dates are settled in their order, each once it has begun.
pub fn check_day(day: i32, today: i32, last_settled: Option<i32>) -> Result<(), Error> {
    let refuse = |why: &str| Err(Error::SettlementDate { why: why.into() });
    if day > today {
        return refuse("It lies in the future (in UTC).");
    }
    if day < FIRST_DAY {
        return refuse("It lies before 1900.");
    }
    match last_settled {
        Some(last) if day < last => refuse("A later date is settled already."),
        _ => Ok(()),
    }
}

/// Which way money leaves the clearing account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Owed to the other bank: clearing is debited, nostro credited.
    Out(Decimal),
    /// Owed by it: nostro is debited, clearing credited.
    In(Decimal),
}

/// What went out to a counterparty and came in from it, both at least zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gross {
    pub outgoing: Decimal,
    pub incoming: Decimal,
}

impl Gross {
    pub fn net(&self) -> Decimal {
        self.outgoing - self.incoming
    }

    /// Nothing where the two are even.
    pub fn flow(&self) -> Option<Flow> {
        let net = self.net();
        if net.is_zero() {
            None
        } else if net.is_sign_positive() {
            Some(Flow::Out(net))
        } else {
            Some(Flow::In(-net))
        }
    }
}

/// The clearing account must hold what its open items add up to, or a settlement would carry a mistake out of the bank.
pub fn check_balance(balance: Decimal, open_items: Decimal) -> Result<(), Error> {
    if balance == open_items { Ok(()) } else { Err(Error::ClearingMismatch { balance, open_items }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::txn_processing::calendar::day_of;
    use proptest::prelude::*;

    #[test]
    fn a_day_ends_where_the_next_begins() {
        assert_eq!(cut_off(0), MICROS_PER_DAY);
        assert_eq!(day_of(cut_off(7)), 8);
        assert_eq!(day_of(cut_off(7) - 1), 7);
        assert_eq!(day_of(-1), -1);
        assert_eq!(cut_off(FIRST_DAY) % MICROS_PER_DAY, 0);
    }

    #[test]
    fn dates_are_settled_in_their_order() {
        assert!(check_day(10, 10, None).is_ok());
        assert!(check_day(10, 10, Some(9)).is_ok());
        assert!(check_day(10, 10, Some(10)).is_ok());
        assert!(check_day(9, 10, Some(10)).is_err());
        assert!(check_day(11, 10, None).is_err());
        assert!(check_day(i32::MAX, 10, None).is_err());
        assert!(check_day(i32::MIN, 10, None).is_err());
    }

    proptest! {
        #[test]
        fn the_flows_take_clearing_to_zero(items in proptest::collection::vec((0usize..5, any::<bool>(), 1i64..1_000_000), 0..60)) {
            let mut banks = [Gross::default(); 5];
            let mut clearing = Decimal::ZERO;
            for (bank, out, cents) in items {
                let amount = Decimal::new(cents, 2);
                if out {
                    banks[bank].outgoing += amount;
                    clearing += amount;
                } else {
                    banks[bank].incoming += amount;
                    clearing -= amount;
                }
            }
            let open = banks.iter().map(Gross::net).sum();
            prop_assert!(check_balance(clearing, open).is_ok());
            prop_assert!(check_balance(clearing + Decimal::ONE, open).is_err());
            for flow in banks.iter().filter_map(Gross::flow) {
                match flow {
                    Flow::Out(amount) => { prop_assert!(amount > Decimal::ZERO); clearing -= amount; }
                    Flow::In(amount) => { prop_assert!(amount > Decimal::ZERO); clearing += amount; }
                }
            }
            prop_assert!(clearing.is_zero());
        }
    }
}
