//! What a request asks for, and what becomes of one that failed: no server, no clock, no randomness.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::txn_processing::core::{Kind, amount_of, exact_amount};
use rust_decimal::Decimal;
use uuid::Uuid;

/// The longest delay before a retry.
pub const MAX_DELAY_MS: u64 = 300_000;

/// The most retries that `enqueue` lets a request ask for.
pub const MAX_RETRIES: i32 = 100;

/// A request as its row has it.
pub struct Asked<'a> {
    pub kind: Kind,
    pub source: Option<Uuid>,
    pub destination: Option<Uuid>,
    pub amount: Decimal,
    /// Of `request_data`.
    pub original: Option<&'a str>,
    pub reason: Option<&'a str>,
}

/// What is to be posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Transfer {
        from: Uuid,
        to: Uuid,
        amount: Decimal,
    },
    /// Between a customer's account and the bank's own.
    WithTheBank {
        account: Uuid,
        amount: Decimal,
    },
    Refund {
        original: Uuid,
        amount: Decimal,
    },
    Reversal {
        original: Uuid,
        amount: Decimal,
    },
    /// The change is signed.
    Adjustment {
        account: Uuid,
        change: Decimal,
    },
}

impl Plan {
    /// Whether it may be posted in one batch with others: whatever needs no look at the ledger first.
    pub fn is_batchable(&self) -> bool {
        matches!(self, Plan::Transfer { .. } | Plan::WithTheBank { .. })
    }
}

fn needed<T>(name: &'static str, value: Option<T>) -> Result<T, Error> {
    value.ok_or(Error::NullArgument { name })
}

impl Asked<'_> {
    /// What to post, or what the request lacks.
    pub fn plan(&self) -> Result<Plan, Error> {
        let source = || needed("source_account_id", self.source);
        let destination = || needed("destination_account_id", self.destination);
        let positive = || exact_amount(self.amount);
        if let Some((_, customer_is_debited)) = self.kind.other_side() {
            let account = if customer_is_debited { source()? } else { destination()? };
            return Ok(Plan::WithTheBank { account, amount: positive()? });
        }
        Ok(match self.kind {
            Kind::Transfer => Plan::Transfer { from: source()?, to: destination()?, amount: positive()? },
            Kind::Refund => Plan::Refund { original: self.original()?, amount: positive()? },
            Kind::Reversal => {
                needed("reason", self.reason)?;
                Plan::Reversal { original: self.original()?, amount: positive()? }
            }
            _ => {
                needed("reason", self.reason)?;
                self.adjustment()?
            }
        })
    }

    fn original(&self) -> Result<Uuid, Error> {
        let text = needed("original_transaction_id", self.original)?;
        Uuid::parse_str(text).map_err(|_| Error::ArgumentBounds {
            argument: "original_transaction_id",
            why: format!("{text:?} is not a uuid."),
        })
    }

    /// The bank's side follows from which account is named.
    fn adjustment(&self) -> Result<Plan, Error> {
        let (account, change) = match (self.source, self.destination) {
            (Some(_), Some(_)) => {
                return Err(Error::ArgumentBounds {
                    argument: "destination_account_id",
                    why: "An adjustment names one account: source to lower, destination to raise.".into(),
                });
            }
            (Some(source), None) => (source, -exact_amount(self.amount)?),
            (None, destination) => (needed("destination_account_id", destination)?, amount_of(self.amount)?),
        };
        Ok(Plan::Adjustment { account, change })
    }
}

/// Whether the same request may succeed another time, though nobody changes it: the server was in the way, not the
/// bank's rules.
pub fn is_transient(sqlstate: &str) -> bool {
    // Serialization failure, deadlock, lock timeout; class 53: out of memory, disk or connections; 58030: I/O.
    matches!(sqlstate, "40001" | "40P01" | "55P03" | "58030") || sqlstate.starts_with("53")
}

/// The word of a failure that the server raised.
pub fn word_of(sqlstate: &str) -> &'static str {
    match sqlstate {
        "40001" => "serialization_failure",
        "40P01" => "deadlock_detected",
        "55P03" => "lock_not_available",
        "NB025" => "posting_suppressed",
        _ => "server_error",
    }
}

/// Whether a request is tried again that has now failed `failures` times.
pub fn may_retry(failures: i32, max_retries: i32) -> bool {
    failures <= max_retries
}

/// The delay before the attempt after `failures` failed ones, with full jitter: evenly drawn from nothing to the bound,
/// which is `base_ms` after the first failure and doubles with each further one, up to [`MAX_DELAY_MS`]. `roll` is evenly
/// drawn from all its values. (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: spreading over the
/// whole interval makes the fewest attempts collide.)
pub fn delay_ms(base_ms: u64, failures: i32, roll: u32) -> u64 {
    let doublings = u32::try_from(failures - 1).unwrap_or(0).min(40);
    let bound = base_ms.saturating_mul(1 << doublings).min(MAX_DELAY_MS);
    // The bound is far below 2^32, so the product fits.
    ((bound + 1) * u64::from(roll)) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(kind: Kind, source: bool, destination: bool, amount: i64) -> Asked<'static> {
        let id = |there: bool, n: u128| there.then(|| Uuid::from_u128(n));
        Asked {
            kind,
            source: id(source, 1),
            destination: id(destination, 2),
            amount: Decimal::new(amount, 2),
            original: Some("00000000-0000-0000-0000-000000000003"),
            reason: Some("why"),
        }
    }

    #[test]
    fn the_account_that_counts_is_the_customers() {
        let account = |kind, source, destination| match asked(kind, source, destination, 100).plan() {
            Ok(Plan::WithTheBank { account, .. }) => account.as_u128(),
            _ => 0,
        };
        assert_eq!(account(Kind::Deposit, false, true), 2);
        assert_eq!(account(Kind::Interest, true, true), 2);
        assert_eq!(account(Kind::Withdrawal, true, false), 1);
        assert_eq!(account(Kind::Fee, true, true), 1);
        assert_eq!(account(Kind::Payment, false, true), 0);
    }

    #[test]
    fn an_adjustment_has_the_sign_of_its_side() {
        let change =
            |source, destination, amount| match asked(Kind::Adjustment, source, destination, amount).plan() {
                Ok(Plan::Adjustment { change, .. }) => Some(change),
                _ => None,
            };
        assert_eq!(change(true, false, 100), Some(Decimal::new(-100, 2)));
        assert_eq!(change(false, true, 100), Some(Decimal::new(100, 2)));
        assert_eq!(change(false, true, -100), Some(Decimal::new(-100, 2)));
        assert_eq!(change(true, false, -100), None);
        assert_eq!(change(true, true, 100), None);
        assert_eq!(change(false, false, 100), None);
    }

    #[test]
    fn what_is_lacking_is_named() {
        let refund = Asked { original: None, ..asked(Kind::Refund, false, false, 100) };
        assert!(matches!(refund.plan(), Err(Error::NullArgument { name: "original_transaction_id" })));
        let rubbish = Asked { original: Some("7"), ..asked(Kind::Refund, false, false, 100) };
        assert!(matches!(rubbish.plan(), Err(Error::ArgumentBounds { .. })));
        let reversal = Asked { reason: None, ..asked(Kind::Reversal, false, false, 100) };
        assert!(matches!(reversal.plan(), Err(Error::NullArgument { name: "reason" })));
        assert!(matches!(asked(Kind::Transfer, true, true, 0).plan(), Err(Error::InvalidAmount { .. })));
    }

    #[test]
    fn refusals_and_faults_are_final() {
        for code in ["40001", "40P01", "55P03", "53100", "53200"] {
            assert!(is_transient(code), "{code}");
        }
        for code in ["NB001", "42501", "22004", "P0001", "23505", "XX000", "57014", "NB025"] {
            assert!(!is_transient(code), "{code}");
        }
    }

    proptest! {
        #[test]
        fn a_delay_is_below_its_bound(base in 1u64..300_000, failures in 1i32..1_000, roll: u32) {
            let delay = delay_ms(base, failures, roll);
            let bound = u128::from(base) << (failures - 1).min(64);
            prop_assert!(u128::from(delay) <= bound.min(u128::from(MAX_DELAY_MS)));
        }

        #[test]
        fn the_whole_interval_is_used(base in 1u64..300_000, failures in 1i32..1_000) {
            prop_assert_eq!(delay_ms(base, failures, 0), 0);
            let bound = (u128::from(base) << (failures - 1).min(64)).min(u128::from(MAX_DELAY_MS));
            prop_assert_eq!(u128::from(delay_ms(base, failures, u32::MAX)), bound);
        }

        #[test]
        fn a_later_delay_has_no_lower_bound(base in 1u64..300_000, failures in 1i32..1_000, roll: u32) {
            prop_assert!(delay_ms(base, failures, roll) <= delay_ms(base, failures + 1, roll));
        }

        #[test]
        fn a_request_has_one_attempt_and_its_retries(max_retries in 0i32..=MAX_RETRIES) {
            let attempts = 1 + (1..).take_while(|failures| may_retry(*failures, max_retries)).count();
            prop_assert_eq!(attempts as i32, 1 + max_retries);
        }
    }
}
