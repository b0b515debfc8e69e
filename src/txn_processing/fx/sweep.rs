//! Residues that have come to whole minor units are posted.

use super::store::{self, Taken};
use crate::error::Error;
use crate::txn_processing::Kind;
use crate::txn_processing::batch::post_all;
use crate::txn_processing::engine::{Desk, Order};
use uuid::Uuid;

/// What became of the residues of one tenant and currency.
pub struct Swept {
    pub taken: Taken,
    /// Nothing where they came to less than a minor unit.
    pub transaction_id: Option<Uuid>,
}

/// Takes up to `most` residues, posts what is whole of their sums between position and rounding account, and keeps the
/// rest as one residue each.
pub fn sweep(desk: &Desk, most: i64) -> Result<Vec<Swept>, Error> {
    let taken = store::take(desk.session(), most)?;
    let ids: Vec<Uuid> = taken.iter().map(|_| Uuid::now_v7()).collect();
    let whole = || taken.iter().zip(&ids).filter(|(taken, _)| !taken.whole.is_zero());
    let orders = whole().map(|(taken, id)| order(taken, *id)).collect();
    for outcome in post_all(desk, orders, |_| false)? {
        outcome?;
    }
    for (taken, id) in taken.iter().zip(&ids) {
        store::record_sweep(desk.session(), *id, taken)?;
    }
    let swept = |(taken, id): (Taken, Uuid)| {
        let transaction_id = (!taken.whole.is_zero()).then_some(id);
        Swept { taken, transaction_id }
    };
    Ok(taken.into_iter().zip(ids).map(swept).collect())
}

fn order(taken: &Taken, id: Uuid) -> Result<Order<'_>, Error> {
    let unknown = || Error::AccountTypeNotFound { account_type: "fx_rounding".into() };
    let rounding = taken.rounding.ok_or_else(unknown)?;
    // The exact sum was above what was paid out: the position bears the exact one, and the bank has earned the rest.
    let earned = taken.whole.is_sign_positive();
    let (debit, credit) = if earned { (taken.position, rounding) } else { (rounding, taken.position) };
    Ok(Order {
        currency: Some(&taken.currency),
        transaction_id: Some(id),
        description: Some("Residues of exchanges"),
        by_the_bank: true,
        ..Order::of(Kind::Adjustment, debit, credit, Some(taken.whole.abs()))
    })
}
