//! What an account may still spend: no server, no clock.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::txn_processing::Kind;
use crate::txn_processing::account::Account;
use crate::txn_processing::calendar::{MICROS_PER_DAY, civil, day_of};
use rust_decimal::Decimal;

/// What a limit is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Transaction,
    Day,
    Month,
}

impl Period {
    pub fn of(name: &str) -> Option<Self> {
        [Period::Transaction, Period::Day, Period::Month].into_iter().find(|period| period.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Period::Transaction => "transaction",
            Period::Day => "day",
            Period::Month => "month",
        }
    }
}

/// What an account, or each account of a type, may spend in a period.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub period: Period,
    pub max_amount: Option<Decimal>,
    pub max_postings: Option<i32>,
}

/// What was spent since the beginning of a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub amount: Decimal,
    pub postings: i64,
}

impl Usage {
    pub fn and(self, other: Usage) -> Usage {
        Usage { amount: self.amount + other.amount, postings: self.postings + other.postings }
    }
}

/// An account's limits, and what it had spent before this call.
#[derive(Debug)]
pub struct Allowance {
    pub limits: Vec<Limit>,
    /// The first instants of the day and the month, in microseconds since 2000-01-01 UTC.
    pub starts: [i64; 2],
    /// In the day and in the month.
    pub before: [Usage; 2],
}

impl Allowance {
    /// Whether anything is counted beyond the single posting.
    pub fn is_counted(&self) -> bool {
        self.limits.iter().any(|limit| limit.period != Period::Transaction)
    }

    /// What was spent in the day and in the month, this call's postings with it.
    pub fn spent(&self, account: &Account) -> [Usage; 2] {
        let now = Usage { amount: account.spent, postings: i64::from(account.spent_times) };
        self.before.map(|before| before.and(now))
    }

    pub fn check(&self, account: &Account, amount: Decimal) -> Result<(), Error> {
        let [day, month] = self.spent(account);
        for limit in &self.limits {
            let (spent, period) = match limit.period {
                Period::Transaction => (Usage::default(), "a transaction"),
                Period::Day => (day, "a day"),
                Period::Month => (month, "a month"),
            };
            let refuse = |why: String| Err(Error::SpendingLimit { account: account.id, why });
            match limit.max_amount {
                Some(most) if spent.amount + amount > most => {
                    let spent = match limit.period {
                        Period::Transaction => String::new(),
                        Period::Day | Period::Month => format!("{} is spent, ", spent.amount),
                    };
                    return refuse(format!("{most} may be spent in {period}, {spent}{amount} was requested"));
                }
                _ => {}
            }
            match limit.max_postings {
                Some(most) if spent.postings >= i64::from(most) => {
                    let made = spent.postings;
                    return refuse(format!("{most} postings may be made in {period}, {made} were made"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether the debited account spends by it: what its holder decides, not charges and corrections.
pub fn counts(kind: Kind) -> bool {
    matches!(kind, Kind::Withdrawal | Kind::Transfer | Kind::Payment)
}

/// When the day and the month of an instant began, in UTC.
pub fn starts(at: i64) -> [i64; 2] {
    let date = day_of(at);
    let (_, _, day_of_month) = civil(date);
    let day = i64::from(date);
    [day * MICROS_PER_DAY, (day + 1 - day_of_month) * MICROS_PER_DAY]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn periods_begin_at_midnight_and_on_the_first() {
        let at = |day: i64, micros: i64| day * MICROS_PER_DAY + micros;
        // 2000-01-01 is day 0, 2000-02-29 day 59, 2000-03-01 day 60.
        assert_eq!(starts(0), [0, 0]);
        assert_eq!(starts(at(59, 5)), [at(59, 0), at(31, 0)]);
        assert_eq!(starts(at(60, 0) - 1), [at(59, 0), at(31, 0)]);
        assert_eq!(starts(at(60, 0)), [at(60, 0), at(60, 0)]);
        assert_eq!(starts(-1), [at(-1, 0), at(-31, 0)]);
    }

    proptest! {
        #[test]
        fn a_month_holds_its_days(at in -3_000_000_000_000_000i64..3_000_000_000_000_000) {
            let [day, month] = starts(at);
            prop_assert!(month <= day && day <= at && at - day < MICROS_PER_DAY && day - month < 31 * MICROS_PER_DAY);
            prop_assert_eq!(civil(day_of(month)).2, 1);
            prop_assert_eq!(civil(day_of(month)).1, civil(day_of(at)).1);
        }
    }
}
