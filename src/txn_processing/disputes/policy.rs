//! Policies of the bank's own.

use super::core::Policy;
use super::store;
use crate::error::Error;
use crate::txn_processing::MAX_AMOUNT;
use crate::txn_processing::engine::Desk;
use rust_decimal::Decimal;

const MAX_WINDOW_DAYS: i32 = 3_650;

/// Puts the policy in the place of the one that the account type had.
pub fn set(account_type: &str, policy: &Policy) -> Result<(), Error> {
    let refuse = |argument, why| Err(Error::ArgumentBounds { argument, why });
    if !(1..=MAX_WINDOW_DAYS).contains(&policy.window_days) {
        let why = format!("It is {}; a window has 1 to {MAX_WINDOW_DAYS} days.", policy.window_days);
        return refuse("window_days", why);
    }
    let figure = |figure: Decimal| figure >= Decimal::ZERO && figure <= MAX_AMOUNT;
    if !figure(policy.minimum) {
        return refuse("minimum_amount", format!("It is {}; it is from 0 to {MAX_AMOUNT}.", policy.minimum));
    }
    if let Some(maximum) = policy.maximum.filter(|most| !figure(*most) || *most < policy.minimum) {
        let why = format!("It is {maximum}; it is from minimum_amount to {MAX_AMOUNT}.");
        return refuse("maximum_amount", why);
    }
    let desk = Desk::open();
    if store::set_policy(desk.session(), account_type, policy, &desk.caller)? {
        Ok(())
    } else {
        Err(Error::AccountTypeNotFound { account_type: account_type.to_owned() })
    }
}
