//! Reversals and refunds: new postings that point at the one they give back.

use super::batch::post_legs;
use super::core::Kind;
use super::engine::{Desk, GivenBack, Order, Posted, post};
use super::fx;
use super::settlement::record_give_back;
use super::store::{self, Given, Original};
use crate::error::Error;
use crate::pg::Session;
use rust_decimal::Decimal;
use uuid::Uuid;

/// What a customer paid or was paid; the bank's own corrections are reversed by those who may.
const REFUNDABLE: [&str; 5] = ["deposit", "withdrawal", "transfer", "payment", "fee"];

fn refuse(transaction: Uuid, why: impl Into<String>) -> Error {
    Error::NotReversible { transaction, why: why.into() }
}

/// Posts `order` with the accounts of `original` swapped, leg by leg; answers the first leg's posting.
pub fn give_back(desk: &Desk, original: Uuid, order: Order) -> Result<Posted, Error> {
    let is_reversal = order.kind == Kind::Reversal;
    let posted = post_swapped(desk, original, order)?;
    if posted.is_repeat {
        return Ok(posted);
    }
    if is_reversal {
        fx::undo(desk.session(), original, posted.transaction_id)?;
    }
    // What was to be settled with another bank is to be settled the other way round.
    record_give_back(desk.session(), original, posted.transaction_id)?;
    Ok(posted)
}

fn post_swapped(desk: &Desk, original: Uuid, order: Order) -> Result<Posted, Error> {
    let legs = store::original(desk.session(), original)?;
    let first = legs.first().ok_or_else(|| refuse(original, "does not exist"))?;
    if first.kind == Kind::Reversal.name() {
        return Err(refuse(original, "is itself a reversal"));
    }
    if order.kind == Kind::Refund && !REFUNDABLE.contains(&first.kind.as_str()) {
        return Err(refuse(original, format!("is of type {}, which is reversed, not refunded", first.kind)));
    }
    if legs.len() == 1 {
        return post(desk, &swapped(&order, 1, original, first));
    }
    if order.kind == Kind::Refund {
        return Err(refuse(original, "has several legs, which are reversed, not refunded"));
    }
    // All legs carry one id, drawn here where the caller gave none.
    let transaction_id = order.transaction_id.or_else(|| Some(Uuid::now_v7()));
    let order = Order { amount: None, transaction_id, ..order };
    let legs = (1..).zip(&legs).map(|(leg, found)| swapped(&order, leg, original, found));
    Ok(post_legs(desk, legs.collect())?[0])
}

fn swapped<'a>(order: &Order<'a>, leg: i16, original: Uuid, found: &Original) -> Order<'a> {
    let reverses = Some(GivenBack { id: original, amount: found.amount });
    Order { leg, debit: found.credit, credit: found.debit, reverses, ..*order }
}

/// How much to give back: asked under the locks, where nobody else can be giving back at the same time.
pub fn still_to_give(session: &Session, order: &Order, found: GivenBack) -> Result<Decimal, Error> {
    let original = found.id;
    let Given { reversed, refunded, settled, disputed, part_of } = store::given_back(session, original)?;
    if reversed {
        return Err(refuse(original, "is already reversed"));
    }
    if let Some(dispute) = part_of {
        return Err(refuse(original, format!("is a posting of dispute {dispute}")));
    }
    if let Some(dispute) = disputed {
        return Err(Error::Disputed { transaction: original, dispute });
    }
    if order.kind == Kind::Reversal {
        if !refunded.is_zero() {
            return Err(refuse(original, format!("is already refunded by {refunded}; refund the rest")));
        }
        if !settled.is_zero() {
            return Err(refuse(original, format!("is settled by a dispute for {settled}; refund the rest")));
        }
        return match order.amount {
            Some(other) if other != found.amount => {
                Err(refuse(original, format!("is of {}; a reversal takes it back whole", found.amount)))
            }
            _ => Ok(found.amount),
        };
    }
    let left = found.amount - refunded - settled;
    let amount = order.amount.unwrap_or(left);
    if left.is_zero() {
        return Err(refuse(original, format!("is already refunded in full ({})", refunded + settled)));
    }
    if amount > left {
        return Err(refuse(
            original,
            format!("has {left} left to refund of {}, {amount} was requested", found.amount),
        ));
    }
    Ok(amount)
}
