//! Reversals and refunds: new postings that point at the one they give back.

use super::core::Kind;
use super::engine::{Desk, GivenBack, Order, Posted, post};
use super::store;
use crate::error::Error;
use crate::pg::Session;
use rust_decimal::Decimal;
use uuid::Uuid;

/// What a customer paid or was paid; the bank's own corrections are reversed by those who may.
const REFUNDABLE: [&str; 5] = ["deposit", "withdrawal", "transfer", "payment", "fee"];

fn refuse(transaction: Uuid, why: impl Into<String>) -> Error {
    Error::NotReversible { transaction, why: why.into() }
}

/// Posts `order` with the accounts of `original` swapped.
pub fn give_back(desk: &Desk, original: Uuid, order: Order) -> Result<Posted, Error> {
    let found =
        store::original(&desk.session, original)?.ok_or_else(|| refuse(original, "does not exist"))?;
    if found.kind == Kind::Reversal.name() {
        return Err(refuse(original, "is itself a reversal"));
    }
    if order.kind == Kind::Refund && !REFUNDABLE.contains(&found.kind.as_str()) {
        return Err(refuse(original, format!("is of type {}, which is reversed, not refunded", found.kind)));
    }
    let reverses = Some(GivenBack { id: original, amount: found.amount });
    let order = Order { debit: found.credit, credit: found.debit, reverses, ..order };
    post(desk, &order)
}

/// How much to give back: asked under the locks, where nobody else can be giving back at the same time.
pub fn still_to_give(session: &Session, order: &Order, found: GivenBack) -> Result<Decimal, Error> {
    let original = found.id;
    let (reversed, refunded) = store::given_back(session, original)?;
    if reversed {
        return Err(refuse(original, "is already reversed"));
    }
    if order.kind == Kind::Reversal {
        if !refunded.is_zero() {
            return Err(refuse(original, format!("is already refunded by {refunded}; refund the rest")));
        }
        return match order.amount {
            Some(other) if other != found.amount => {
                Err(refuse(original, format!("is of {}; a reversal takes it back whole", found.amount)))
            }
            _ => Ok(found.amount),
        };
    }
    let left = found.amount - refunded;
    let amount = order.amount.unwrap_or(left);
    if left.is_zero() {
        return Err(refuse(original, format!("is already refunded in full ({refunded})")));
    }
    if amount > left {
        return Err(refuse(
            original,
            format!("has {left} left to refund of {}, {amount} was requested", found.amount),
        ));
    }
    Ok(amount)
}
