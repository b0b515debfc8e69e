//! Limits on what an account spends: by posting, by day and by month, in amount and in number.
//!
//! Counted are withdrawals, transfers and payments, when they are recorded, by days and months of UTC. They are checked
//! under the lock of the account that the posting debits, so no two postings share what is left.

mod api;
mod core;
mod store;
mod types;

pub use self::core::{Allowance, counts};
pub use store::{forget, is_limited};
pub use types::{has_limits, refresh};

use super::account::Account;
use super::engine::Desk;
use crate::error::Error;
use rust_decimal::Decimal;
use std::collections::hash_map::Entry;

/// Refuses a debit past what the account may still spend. The account is locked.
pub fn check(desk: &Desk, account: &Account, amount: Decimal, at: i64) -> Result<(), Error> {
    let mut allowances = desk.allowances.borrow_mut();
    let allowance = match allowances.entry(account.id) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(store::allowance(desk.session(), account, at)?),
    };
    allowance.check(account, amount)
}

/// Keeps what the account has spent by now, once it is written.
pub fn record(desk: &Desk, account: &Account) -> Result<(), Error> {
    if account.spent_times == 0 {
        return Ok(());
    }
    // The next posting at this desk finds what was spent with this one in it.
    match desk.allowances.borrow_mut().remove(&account.id) {
        Some(allowance) if allowance.is_counted() => store::record(desk.session(), account, &allowance),
        _ => Ok(()),
    }
}
