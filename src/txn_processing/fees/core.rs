//! What a fee comes to. No server, no clock, no randomness.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::txn_processing::MAX_AMOUNT;
use crate::txn_processing::exact::{MONEY_DECIMALS, PERCENT_DECIMALS, by_bands, half_even, scaled};
use crate::txn_processing::interest::core::ascending;
use rust_decimal::Decimal;

/// Decimals of an amount times a percentage as a fraction.
const PRODUCT_DECIMALS: u32 = MONEY_DECIMALS + PERCENT_DECIMALS + 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Fixed,
    Percentage,
    Tiered,
}

impl Method {
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "fixed" => Method::Fixed,
            "percentage" => Method::Percentage,
            "tiered" => Method::Tiered,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Method::Fixed => "fixed",
            Method::Percentage => "percentage",
            Method::Tiered => "tiered",
        }
    }
}

/// A marginal tier: its percentage holds above `from`, and its fixed amount is added there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    pub from: Decimal,
    pub percent: Decimal,
    pub fixed: Decimal,
}

/// How a fee follows from an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formula {
    pub method: Method,
    pub fixed: Decimal,
    pub percent: Decimal,
    pub floor: Option<Decimal>,
    pub cap: Option<Decimal>,
    pub tiers: Vec<Tier>,
}

fn refuse<T>(argument: &'static str, why: impl Into<String>) -> Result<T, Error> {
    Err(Error::ArgumentBounds { argument, why: why.into() })
}

fn amount(argument: &'static str, figure: Decimal, exponent: u32) -> Result<(), Error> {
    if figure < Decimal::ZERO || figure > MAX_AMOUNT {
        return refuse(argument, format!("It is {figure}; it must lie between 0 and {MAX_AMOUNT}."));
    }
    if figure.normalize().scale() > exponent {
        return refuse(argument, format!("{figure} has more than the {exponent} decimals of the currency."));
    }
    Ok(())
}

fn percentage(argument: &'static str, percent: Decimal) -> Result<(), Error> {
    if percent < Decimal::ZERO || percent > Decimal::ONE_HUNDRED {
        return refuse(argument, format!("It is {percent}; a fee takes 0 to 100 percent."));
    }
    if percent.normalize().scale() > PERCENT_DECIMALS {
        return refuse(argument, format!("{percent} has more than {PERCENT_DECIMALS} decimals."));
    }
    Ok(())
}

impl Formula {
    /// The formula, or why it is none.
    pub fn checked(self, exponent: u32) -> Result<Self, Error> {
        amount("fixed_amount", self.fixed, exponent)?;
        percentage("percent", self.percent)?;
        self.floor.map_or(Ok(()), |floor| amount("floor_amount", floor, exponent))?;
        self.cap.map_or(Ok(()), |cap| amount("cap_amount", cap, exponent))?;
        if let (Some(floor), Some(cap)) = (self.floor, self.cap)
            && cap < floor
        {
            return refuse("cap_amount", format!("It is {cap}, below the floor of {floor}."));
        }
        ascending("tier_from", self.tiers.iter().map(|tier| tier.from), exponent)?;
        for tier in &self.tiers {
            percentage("tier_percent", tier.percent)?;
            amount("tier_fixed", tier.fixed, exponent)?;
        }
        match self.method {
            Method::Fixed if !self.percent.is_zero() => refuse("percent", "A fixed fee has no percentage."),
            Method::Fixed if self.floor.or(self.cap).is_some() => {
                refuse("floor_amount", "A fixed fee has neither floor nor cap.")
            }
            Method::Fixed if self.fixed.is_zero() => refuse("fixed_amount", "A fixed fee is above zero."),
            Method::Percentage if self.percent.is_zero() => refuse("percent", "It is zero."),
            Method::Fixed | Method::Percentage if !self.tiers.is_empty() => {
                refuse("tier_from", "Only a tiered fee has tiers.")
            }
            Method::Tiered if self.tiers.is_empty() => {
                refuse("tier_from", "A tiered fee has at least one tier.")
            }
            _ => Ok(self),
        }
    }

    /// The fee on `figure`, rounded half to even to `exponent` decimals, not below the floor, not above the cap.
    /// Nothing where it is past what a posting may move.
    pub fn fee(&self, figure: Decimal, exponent: u32) -> Option<Decimal> {
        let rate = |percent| scaled(percent, PERCENT_DECIMALS);
        let bands: Option<Vec<_>> = self
            .tiers
            .iter()
            .map(|tier| Some((scaled(tier.from, MONEY_DECIMALS)?, rate(tier.percent)?)))
            .collect();
        let product = by_bands(scaled(figure, MONEY_DECIMALS)?, rate(self.percent)?, &bands?)?;
        let (minor, _) = half_even(product, 10i128.pow(PRODUCT_DECIMALS - exponent));
        let share = Decimal::try_from_i128_with_scale(minor, exponent).ok()?;
        let mut reached = self.tiers.iter().filter(|tier| figure > tier.from);
        let fixed = reached.try_fold(self.fixed, |sum, tier| sum.checked_add(tier.fixed))?;
        let mut fee = share.checked_add(fixed)?;
        fee = self.floor.map_or(fee, |floor| fee.max(floor));
        fee = self.cap.map_or(fee, |cap| fee.min(cap));
        fee.rescale(exponent);
        (fee <= MAX_AMOUNT).then_some(fee)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn formula(method: Method, fixed: i64, percent: Decimal) -> Formula {
        Formula { method, fixed: Decimal::new(fixed, 2), percent, floor: None, cap: None, tiers: vec![] }
    }

    fn tier(from: i64, percent: i64, fixed: i64) -> Tier {
        Tier { from: Decimal::from(from), percent: Decimal::from(percent), fixed: Decimal::new(fixed, 2) }
    }

    fn shown(formula: &Formula, amount: &str) -> String {
        let amount = Decimal::from_str_exact(amount).expect("an amount");
        formula.fee(amount, 2).expect("in range").to_string()
    }

    #[test]
    fn fees_come_to_what_the_schedule_says() {
        let card = formula(Method::Percentage, 30, Decimal::new(29, 1));
        assert_eq!(shown(&card, "100"), "3.20");
        // 2.9 % of 0.86 is 0.02494; of 50.00 it is 1.45; of 2.5 it is 0.0725.
        assert_eq!(shown(&card, "0.86"), "0.32");
        assert_eq!(shown(&formula(Method::Fixed, 125, Decimal::ZERO), "99999"), "1.25");
        let half = formula(Method::Percentage, 0, Decimal::ONE);
        assert_eq!((shown(&half, "0.50"), shown(&half, "1.50")), ("0.00".into(), "0.02".into()));
        let bounded = Formula { floor: Some(Decimal::ONE), cap: Some(Decimal::TEN), ..half };
        assert_eq!(
            (shown(&bounded, "0.01"), shown(&bounded, "100"), shown(&bounded, "100000")),
            ("1.00".into(), "1.00".into(), "10.00".into())
        );
        // 1 % to 100, 2 % to 1000, 3 % above and 5.00 once there.
        let tiered = Formula {
            tiers: vec![tier(100, 2, 0), tier(1_000, 3, 500)],
            ..formula(Method::Tiered, 0, Decimal::ONE)
        };
        assert_eq!(
            (shown(&tiered, "100"), shown(&tiered, "1000"), shown(&tiered, "2000")),
            ("1.00".into(), "19.00".into(), "54.00".into())
        );
    }

    #[test]
    fn formulas_out_of_bounds_are_refused() {
        let percentage = || formula(Method::Percentage, 0, Decimal::ONE);
        for bad in [
            formula(Method::Fixed, 0, Decimal::ZERO),
            formula(Method::Fixed, 100, Decimal::ONE),
            formula(Method::Fixed, -1, Decimal::ZERO),
            formula(Method::Percentage, 0, Decimal::ZERO),
            formula(Method::Percentage, 0, Decimal::from(101)),
            formula(Method::Percentage, 0, Decimal::new(1, 7)),
            formula(Method::Tiered, 0, Decimal::ONE),
            Formula { floor: Some(Decimal::TEN), cap: Some(Decimal::ONE), ..percentage() },
            Formula { floor: Some(Decimal::new(1, 3)), ..percentage() },
            Formula { tiers: vec![tier(1, 1, 0)], ..percentage() },
            Formula { tiers: vec![tier(5, 1, 0), tier(5, 1, 0)], ..formula(Method::Tiered, 0, Decimal::ONE) },
            Formula { tiers: vec![tier(5, 101, 0)], ..formula(Method::Tiered, 0, Decimal::ONE) },
            Formula { tiers: vec![tier(5, 1, -5)], ..formula(Method::Tiered, 0, Decimal::ONE) },
        ] {
            assert!(matches!(bad.clone().checked(2), Err(Error::ArgumentBounds { .. })), "{bad:?}");
        }
        assert!(percentage().checked(2).is_ok());
    }

    proptest! {
        #[test]
        fn a_fee_stays_within_floor_and_cap(amount in 0i64..1_000_000_000_000, percent in 1i64..100_000_000, floor in 0i64..10_000, more in 0i64..100_000, exponent in 2u32..=4) {
            let formula = Formula {
                floor: Some(Decimal::new(floor, 2)),
                cap: Some(Decimal::new(floor + more, 2)),
                ..formula(Method::Percentage, 7, Decimal::new(percent, 6))
            };
            let fee = formula.fee(Decimal::new(amount, 2), exponent).expect("in range");
            prop_assert!(Decimal::new(floor, 2) <= fee && fee <= Decimal::new(floor + more, 2));
            prop_assert_eq!(fee.scale(), exponent);
        }

        #[test]
        fn a_higher_amount_never_has_a_lower_fee_and_tiers_have_no_step(amount in 1i64..10_000_000, low in 1i64..5_000, high in 5_001i64..90_000) {
            let tiered = Formula { tiers: vec![tier(low, 2, 0), tier(high, 3, 0)], ..formula(Method::Tiered, 0, Decimal::ONE) };
            let at = |minor| tiered.fee(Decimal::new(minor, 2), 2).expect("in range");
            let step = at(amount) - at(amount - 1);
            prop_assert!(step >= Decimal::ZERO && step <= Decimal::new(1, 2), "{}", step);
        }

        #[test]
        fn a_percentage_is_off_by_half_a_unit_at_most(amount in 0i64..1_000_000_000, percent in 1i64..10_000) {
            let fee = formula(Method::Percentage, 0, Decimal::new(percent, 2)).fee(Decimal::new(amount, 2), 2).expect("in range");
            let exact = Decimal::new(amount, 2) * Decimal::new(percent, 4);
            prop_assert!((fee - exact).abs() <= Decimal::new(5, 3));
        }
    }
}
