//! Holds: money that is set aside on an account until it is captured, released, or its time is over.
//!
//! The row of an account carries what is held against it as the difference of its two balances. A hold that expired
//! counts no more from that moment: whoever is about to change an account with something held against it reads the holds
//! first, under the account's lock, which every change of a hold takes before the hold's own.

mod api;
mod core;
mod store;

pub use self::core::Taken;
pub use api::{order, place};
pub use store::{NewHold, open_holds, open_reserve, record};

use super::account::Account;
use super::engine::Desk;
use crate::error::Error;
use rust_decimal::Decimal;
use uuid::Uuid;

/// What a posting captures.
#[derive(Clone, Copy, Debug)]
pub struct Capture {
    pub hold: Uuid,
    /// What is left of the hold afterwards is released.
    pub is_final: bool,
}

/// Brings what is held against a locked account up to this moment.
pub fn refresh(desk: &Desk, account: &mut Account) -> Result<(), Error> {
    if account.is_reserved() {
        account.reserve(store::open_reserve(desk.session(), account.id)?);
    }
    Ok(())
}

/// Takes `amount`, or all that is left, out of a hold on the locked account, which may then be debited by it.
pub fn take(
    desk: &Desk,
    capture: Capture,
    amount: Option<Decimal>,
    account: &mut Account,
) -> Result<Taken, Error> {
    let hold = store::lock(desk.session(), capture.hold)?;
    let taken = core::take(&hold, capture, amount)?;
    account.reserve(account.reserved() - taken.released);
    Ok(taken)
}
