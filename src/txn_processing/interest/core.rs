//! Interest: day counts, what a day earns, and what of it can be posted. No server, no clock, no randomness.
//!
//! Interest is counted in whole units of which [`DIVISOR`] are one unit of currency, so that no division takes place
//! before it is posted: a balance has up to 4 decimals, a percentage up to 6 and 2 for the percent, and 26,280 is the
//! least number that both 365 and 360 divide.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::txn_processing::calendar::civil;
use crate::txn_processing::exact::{MONEY_DECIMALS, PERCENT_DECIMALS, by_bands, half_even, scaled};
use rust_decimal::Decimal;

/// Units of accrual in one unit of currency: 26,280 * 100 * 10^4 * 10^6.
pub const DIVISOR: i128 = 26_280_000_000_000_000;
const YEARS: i128 = 26_280;
/// The highest annual percentage, either way.
pub const MAX_PERCENT: i64 = 1_000;
pub const MAX_TIERS: usize = 20;

/// How days are counted and how many make a year.
///
/// Source: 2006 ISDA Definitions, section 4.16: (d) Actual/365 (Fixed), (e) Actual/360, (g) 30E/360 (Eurobond Basis).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayCount {
    Act365,
    Act360,
    /// 30E/360. The American 30/360 is no use here: its count of a period is not the sum over the period's days.
    Thirty360,
}

impl DayCount {
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "act/365" => DayCount::Act365,
            "act/360" => DayCount::Act360,
            "30/360" => DayCount::Thirty360,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            DayCount::Act365 => "act/365",
            DayCount::Act360 => "act/360",
            DayCount::Thirty360 => "30/360",
        }
    }

    /// How many days of interest the day from `date` to the next counts for; dates are days since 2000-01-01.
    pub fn days(self, date: i32) -> i128 {
        match self {
            DayCount::Act365 | DayCount::Act360 => 1,
            DayCount::Thirty360 => i128::from(thirty_day(date + 1) - thirty_day(date)),
        }
    }

    /// Units of [`YEARS`] in a day.
    fn weight(self) -> i128 {
        match self {
            DayCount::Act365 => YEARS / 365,
            DayCount::Act360 | DayCount::Thirty360 => YEARS / 360,
        }
    }
}

/// The number of a date among days of which every month has 30: the 31st is the 30th.
fn thirty_day(date: i32) -> i64 {
    let (year, month, day) = civil(date);
    360 * year + 30 * month + day.min(30)
}

/// What a balance earns or costs in a year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub day_count: DayCount,
    /// On a balance above zero, up to the first tier.
    pub percent: Decimal,
    /// On a balance below zero.
    pub debit_percent: Decimal,
    /// Lower bounds, ascending, each with the percentage of what lies above it.
    pub tiers: Vec<(Decimal, Decimal)>,
}

fn bounded(argument: &'static str, percent: Decimal) -> Result<(), Error> {
    let why = if percent.abs() > Decimal::from(MAX_PERCENT) {
        format!("It is {percent}; a percentage lies between -{MAX_PERCENT} and {MAX_PERCENT}.")
    } else if percent.normalize().scale() > PERCENT_DECIMALS {
        format!("It is {percent}; a percentage has at most {PERCENT_DECIMALS} decimals.")
    } else {
        return Ok(());
    };
    Err(Error::ArgumentBounds { argument, why })
}

impl Rule {
    /// The rule, or why it is none.
    pub fn checked(self, exponent: u32) -> Result<Self, Error> {
        bounded("annual_percent", self.percent)?;
        bounded("debit_percent", self.debit_percent)?;
        ascending("tier_from", self.tiers.iter().map(|tier| tier.0), exponent)?;
        self.tiers.iter().try_for_each(|tier| bounded("tier_percent", tier.1))?;
        Ok(self)
    }

    /// What the day from `date` to the next adds to `balance`, the balance at the day's end, in units of accrual.
    /// Nothing where the figure is out of range.
    pub fn units(&self, balance: Decimal, date: i32) -> Option<i128> {
        let figure = scaled(balance, MONEY_DECIMALS)?;
        let rate = |percent| scaled(percent, PERCENT_DECIMALS);
        let year = if figure < 0 {
            figure.checked_mul(rate(self.debit_percent)?)?
        } else {
            let bands: Option<Vec<_>> = self
                .tiers
                .iter()
                .map(|tier| Some((scaled(tier.0, MONEY_DECIMALS)?, rate(tier.1)?)))
                .collect();
            by_bands(figure, rate(self.percent)?, &bands?)?
        };
        year.checked_mul(self.day_count.days(date) * self.day_count.weight())
    }
}

/// Refuses lower bounds that do not ascend from above zero, are too many, or have too many decimals.
pub fn ascending(
    argument: &'static str,
    bounds: impl ExactSizeIterator<Item = Decimal>,
    exponent: u32,
) -> Result<(), Error> {
    let refuse = |why: String| Err(Error::ArgumentBounds { argument, why });
    if bounds.len() > MAX_TIERS {
        return refuse(format!("It has {} elements; the most is {MAX_TIERS}.", bounds.len()));
    }
    let mut before = Decimal::ZERO;
    for bound in bounds {
        if bound <= before || bound > crate::txn_processing::MAX_AMOUNT {
            return refuse(format!("{bound} does not follow {before}: bounds ascend from above 0 to 10^18."));
        }
        if bound.normalize().scale() > exponent {
            return refuse(format!("{bound} has more than the {exponent} decimals of the currency."));
        }
        before = bound;
    }
    Ok(())
}

/// The amount that can be posted of so many units, in a currency with `exponent` decimals, and the units that stay.
/// Nothing where the amount is past what a figure holds.
pub fn to_post(units: i128, exponent: u32) -> Option<(Decimal, i128)> {
    let (minor, rest) = half_even(units, DIVISOR / 10i128.pow(exponent));
    Decimal::try_from_i128_with_scale(minor, exponent).ok().map(|amount| (amount, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Days since 2000-01-01 of a date, counted from the other direction.
    fn date(year: i64, month: i64, day: i64) -> i32 {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let years: i64 = (2000..year).map(|year| 365 + i64::from(leap(year))).sum();
        let months: i64 = lengths[..month as usize - 1].iter().sum();
        (years + months + day - 1) as i32
    }

    fn counted(convention: DayCount, from: i32, to: i32) -> i128 {
        (from..to).map(|date| convention.days(date)).sum()
    }

    #[test]
    fn periods_count_as_published() {
        // The column "30E/360" of the ISDA's list of examples for the 30/360 day count conventions.
        let periods = [
            ((2007, 1, 15), (2007, 1, 30), 15),
            ((2007, 1, 15), (2007, 2, 15), 30),
            ((2007, 1, 15), (2007, 7, 15), 180),
            ((2007, 9, 30), (2008, 3, 31), 180),
            ((2007, 9, 30), (2007, 10, 31), 30),
            ((2007, 9, 30), (2008, 9, 30), 360),
            ((2007, 1, 15), (2007, 1, 31), 15),
            ((2007, 1, 31), (2007, 2, 28), 28),
            ((2007, 2, 28), (2007, 3, 31), 32),
            ((2006, 8, 31), (2007, 2, 28), 178),
            ((2007, 2, 28), (2007, 8, 31), 182),
            ((2007, 2, 14), (2007, 2, 28), 14),
            ((2007, 2, 26), (2008, 2, 29), 363),
            ((2008, 2, 29), (2009, 2, 28), 359),
            ((2008, 2, 29), (2008, 3, 30), 31),
            ((2008, 2, 29), (2008, 3, 31), 31),
            ((2007, 2, 28), (2007, 3, 5), 7),
            ((2007, 10, 31), (2007, 11, 28), 28),
            ((2007, 8, 31), (2008, 2, 29), 179),
            ((2008, 2, 29), (2008, 8, 31), 181),
            ((2008, 8, 31), (2009, 2, 28), 178),
            ((2009, 2, 28), (2009, 8, 31), 182),
        ];
        for (from, to, days) in periods {
            let (from, to) = (date(from.0, from.1, from.2), date(to.0, to.1, to.2));
            assert_eq!(counted(DayCount::Thirty360, from, to), days, "{from} to {to}");
            assert_eq!(counted(DayCount::Act365, from, to), i128::from(to - from));
        }
    }

    fn rule(day_count: DayCount, percent: i64) -> Rule {
        Rule { day_count, percent: Decimal::from(percent), debit_percent: Decimal::ZERO, tiers: vec![] }
    }

    fn year(rule: &Rule, balance: i64, year: i64) -> Decimal {
        let days = date(year, 1, 1)..date(year + 1, 1, 1);
        let units = days.map(|day| rule.units(Decimal::from(balance), day).expect("in range")).sum();
        to_post(units, 4).expect("in range").0
    }

    #[test]
    fn a_year_earns_what_its_convention_says() {
        // 10,000 at 5 %: a common and a leap year.
        assert_eq!(year(&rule(DayCount::Act365, 5), 10_000, 2025), Decimal::from(500));
        assert_eq!(year(&rule(DayCount::Act365, 5), 10_000, 2024).to_string(), "501.3699");
        assert_eq!(year(&rule(DayCount::Act360, 5), 10_000, 2025).to_string(), "506.9444");
        assert_eq!(year(&rule(DayCount::Act360, 5), 10_000, 2024).to_string(), "508.3333");
        assert_eq!(year(&rule(DayCount::Thirty360, 5), 10_000, 2024), Decimal::from(500));
        assert_eq!(year(&rule(DayCount::Thirty360, 5), 10_000, 2025), Decimal::from(500));
        assert_eq!(year(&rule(DayCount::Act365, -1), 10_000, 2025), Decimal::from(-100));
    }

    #[test]
    fn overdrawn_balances_have_a_rate_of_their_own_and_no_tiers() {
        let mut rule = rule(DayCount::Act365, 5);
        rule.debit_percent = Decimal::new(73, 1);
        rule.tiers = vec![(Decimal::from(100), Decimal::from(50))];
        assert_eq!(rule.units(Decimal::from(-1_000), 0), Some(-DIVISOR / 5));
        assert_eq!(rule.units(Decimal::ZERO, 0), Some(0));
        // 100 at 5 % and 900 at 50 % are 455 a year.
        assert_eq!(rule.units(Decimal::from(1_000), 0), Some(DIVISOR * 455 / 365));
    }

    #[test]
    fn rules_out_of_bounds_are_refused() {
        let tiers = |tiers: &[(i64, u32)]| Rule {
            tiers: tiers.iter().map(|(from, scale)| (Decimal::new(*from, *scale), Decimal::ONE)).collect(),
            ..rule(DayCount::Act365, 5)
        };
        for bad in [
            rule(DayCount::Act365, 1_001),
            rule(DayCount::Act365, -1_001),
            Rule { percent: Decimal::new(1, 7), ..rule(DayCount::Act365, 5) },
            Rule { debit_percent: Decimal::from(1_001), ..rule(DayCount::Act365, 5) },
            tiers(&[(0, 0)]),
            tiers(&[(-5, 0)]),
            tiers(&[(10, 0), (10, 0)]),
            tiers(&[(1_001, 3)]),
            tiers(&(1..=21).map(|from| (from, 0)).collect::<Vec<_>>()),
        ] {
            assert!(matches!(bad.clone().checked(2), Err(Error::ArgumentBounds { .. })), "{bad:?}");
        }
        assert!(tiers(&[(1_000, 2), (2_000, 2)]).checked(2).is_ok());
    }

    #[test]
    fn absurd_figures_are_nothing_rather_than_wrong() {
        let most = Decimal::from_i128_with_scale(10i128.pow(24), 0);
        assert_eq!(rule(DayCount::Act360, MAX_PERCENT).units(most, 0), None);
        assert!(
            rule(DayCount::Act360, 5).units(Decimal::from_i128_with_scale(10i128.pow(20), 0), 0).is_some()
        );
        assert_eq!(to_post(i128::MAX, 0).map(|posted| posted.1.abs() < DIVISOR), Some(true));
    }

    proptest! {
        #[test]
        fn dates_are_the_calendars(year in 2000i64..2400, month in 1i64..=12, day in 1i64..=28) {
            prop_assert_eq!(civil(date(year, month, day)), (year, month, day));
        }

        #[test]
        fn a_period_is_the_sum_of_its_days(from in 0i32..40_000, length in 0i32..4_000) {
            let (one, other) = (civil(from), civil(from + length));
            let formula = 360 * (other.0 - one.0) + 30 * (other.1 - one.1) + other.2.min(30) - one.2.min(30);
            prop_assert_eq!(counted(DayCount::Thirty360, from, from + length), i128::from(formula));
        }

        #[test]
        fn no_fraction_is_lost_however_often_it_is_posted(
            balances in prop::collection::vec(-1_000_000_000i64..1_000_000_000, 1..60),
            percent in -20_000_000i64..20_000_000, every in 1usize..30, exponent in 0u32..=4, scheme in 0usize..3,
        ) {
            let rule = Rule {
                day_count: [DayCount::Act365, DayCount::Act360, DayCount::Thirty360][scheme],
                percent: Decimal::new(percent, 6),
                debit_percent: Decimal::new(percent / 3, 6),
                tiers: vec![(Decimal::from(1_000), Decimal::new(percent / 2, 6))],
            };
            let (mut open, mut exact, mut posted) = (0i128, 0i128, Decimal::ZERO);
            for (day, balance) in balances.iter().enumerate() {
                let units = rule.units(Decimal::new(*balance, 4), day as i32).expect("in range");
                open += units;
                exact += units;
                if day % every == 0 {
                    let (amount, rest) = to_post(open, exponent).expect("in range");
                    prop_assert!(2 * rest.abs() <= DIVISOR / 10i128.pow(exponent));
                    posted += amount;
                    open = rest;
                }
            }
            prop_assert_eq!(scaled(posted, 4).expect("few decimals") * (DIVISOR / 10_000) + open, exact);
        }
    }
}
