//! The one posting engine: every way to move money ends here.
//!
//! The order of things is the design: lock both accounts, decide on what the locks show, then write. Whatever can be
//! refused is refused before the first write, so a refusal needs no savepoint and leaves nothing behind.

use super::books::Books;
use super::core::{self, Kind, Terms, decide};
use super::give_back;
use super::store::{self, Movement};
use crate::error::Error;
use crate::guc;
use crate::pg::{JsonDatum, OwnerRights, Session, server};
use rust_decimal::Decimal;
use uuid::Uuid;

const MAX_REFERENCE: usize = 50;
const MAX_TEXT: usize = 1_000;
const MAX_JSON_BYTES: usize = 16 * 1024;
const MAX_JSON_DEPTH: usize = 16;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A transaction that is given back, and how much it moved.
#[derive(Clone, Copy)]
pub struct GivenBack {
    pub id: Uuid,
    pub amount: Decimal,
}

/// One posting as it is asked for.
pub struct Order<'a> {
    pub kind: Kind,
    pub debit: Uuid,
    pub credit: Uuid,
    /// `None`: all that is left of the transaction that it gives back.
    pub amount: Option<Decimal>,
    pub currency: Option<&'a str>,
    pub transaction_id: Option<Uuid>,
    pub reference: Option<&'a str>,
    pub description: Option<&'a str>,
    pub metadata: Option<JsonDatum>,
    pub effective_at: Option<i64>,
    /// The transaction that a reversal or refund gives back.
    pub reverses: Option<GivenBack>,
    pub may_overdraw: bool,
}

/// What stands in the ledger after a posting, whether this call or an earlier one with the same id wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Posted {
    pub transaction_id: Uuid,
    pub debit_balance: Decimal,
    pub credit_balance: Decimal,
    pub created_at: i64,
}

/// Everything a posting needs from the outside: SPI with the owner's rights, and who called.
pub struct Desk {
    pub session: Session,
    pub caller: String,
    // Dropped after the session: fields drop in the order of their declaration.
    _rights: OwnerRights,
}

impl Desk {
    pub fn open() -> Self {
        let rights = OwnerRights::to_write();
        let caller = rights.caller();
        Desk { session: Session::write(), caller, _rights: rights }
    }
}

/// Bounds a text argument.
pub fn bounded_text(argument: &'static str, text: Option<&str>, most: usize) -> Result<(), Error> {
    match text.map(|t| t.chars().count()) {
        Some(length) if length > most => Err(Error::ArgumentBounds {
            argument,
            why: format!("It has {length} characters; the most is {most}."),
        }),
        _ => Ok(()),
    }
}

/// A reason: a text that says something.
pub fn given_reason<'a>(argument: &'static str, reason: &'a str) -> Result<&'a str, Error> {
    if reason.trim().is_empty() {
        return Err(Error::ArgumentBounds { argument, why: "It is blank.".into() });
    }
    bounded_text(argument, Some(reason), MAX_TEXT)?;
    Ok(reason)
}

fn bounded_metadata(metadata: Option<JsonDatum>) -> Result<(), Error> {
    let Some(json) = metadata else { return Ok(()) };
    let why = if !json.is_object() {
        "It must be a JSON object.".to_owned()
    } else if json.size() > MAX_JSON_BYTES {
        format!("It has {} bytes; the most is {MAX_JSON_BYTES}.", json.size())
    } else if json.depth() > MAX_JSON_DEPTH {
        format!("It is nested deeper than {MAX_JSON_DEPTH} levels.")
    } else {
        return Ok(());
    };
    Err(Error::ArgumentBounds { argument: "metadata", why })
}

fn bounded_effective_at(effective_at: Option<i64>, now: i64) -> Result<(), Error> {
    let Some(at) = effective_at else { return Ok(()) };
    if at > now {
        return Err(Error::EffectiveAt { why: "It lies in the future.".into() });
    }
    let days = guc::max_backdate_days();
    if at < now - i64::from(days) * MICROS_PER_DAY {
        return Err(Error::EffectiveAt { why: format!("It lies more than {days} days back.") });
    }
    Ok(())
}

fn validate(order: &Order, now: i64) -> Result<(), Error> {
    if order.debit == order.credit {
        return Err(Error::SameAccount { account: order.debit });
    }
    if let Some(amount) = order.amount {
        core::exact_amount(amount)?;
    }
    bounded_text("reference", order.reference, MAX_REFERENCE)?;
    bounded_text("description", order.description, MAX_TEXT)?;
    bounded_metadata(order.metadata)?;
    bounded_effective_at(order.effective_at, now)
}

/// Posts `order`, or answers why not. Nothing has been written when it is refused.
pub fn post(desk: &Desk, order: &Order) -> Result<Posted, Error> {
    match validate(order, server::clock_micros()).and_then(|()| attempt(desk, order)) {
        Ok(Some(posted)) => Ok(posted),
        // The id was taken before us, by a retry of the same or by something else.
        Ok(None) => earlier(desk, order)?.ok_or(Error::Suppressed),
        Err(error) if !error.is_refusal() => Err(error),
        // A retry of what succeeded must hear of its success, though the account may be empty or closed by now
        // and a backdated time out of its window.
        Err(refusal) => earlier(desk, order)?.ok_or(refusal),
    }
}

fn attempt(desk: &Desk, order: &Order) -> Result<Option<Posted>, Error> {
    let books = Books::open(&desk.session)?;
    let locked = books.lock(order.debit, order.credit)?;
    let (debit, credit) = locked.accounts();
    let amount = match order.reverses {
        Some(original) => give_back::still_to_give(&desk.session, order, original)?,
        None => order.amount.expect("only what gives back leaves the amount open"),
    };
    let terms = Terms {
        kind: order.kind,
        amount,
        currency: order.currency,
        may_overdraw: order.may_overdraw || order.kind.ignores_limit(),
    };
    let effect = decide(&terms, debit, credit)?;

    // Ids and times are drawn under the locks. A clock set back may not undo the order of an account's postings.
    let id = order.transaction_id.unwrap_or_else(Uuid::now_v7);
    let created_at = server::clock_micros().max(debit.updated_at).max(credit.updated_at);
    let movement = Movement { order, id, created_at, created_by: &desk.caller, effect, debit, credit };
    if !books.insert(&movement)? {
        return Ok(None);
    }
    locked.update(&movement)?;
    if let Some(effective_at) = order.effective_at {
        store::record_backdated(&desk.session, effective_at, &movement)?;
    }
    Ok(Some(Posted {
        transaction_id: id,
        debit_balance: effect.debit_balance,
        credit_balance: effect.credit_balance,
        created_at,
    }))
}

/// The first answer to the same id, or the conflict; nothing where the id is free.
fn earlier(desk: &Desk, order: &Order) -> Result<Option<Posted>, Error> {
    let Some(transaction_id) = order.transaction_id else { return Ok(None) };
    match store::find(&desk.session, transaction_id, order)? {
        None => Ok(None),
        Some(recorded) if !recorded.same_content => Err(Error::IdConflict { transaction: transaction_id }),
        Some(recorded) => Ok(Some(Posted {
            transaction_id,
            debit_balance: recorded.debit_balance,
            credit_balance: recorded.credit_balance,
            created_at: recorded.created_at,
        })),
    }
}
