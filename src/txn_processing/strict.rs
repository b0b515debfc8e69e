//! The strict functions: one transaction id back, or a typed error.
//!
//! They share one tail: `currency` (checked against the account's), `description`, `reference`, `metadata`,
//! `transaction_id` (the caller's, for retries) and `effective_at` (for backdating).

use super::bounds::given_reason;
use super::core::{Kind, amount_of, exact_amount};
use super::engine::{Desk, Order, Posted, post};
use super::give_back::give_back;
use super::store;
use crate::error::Error;
use crate::guc;
use crate::pg::{BpChar, JsonDatum, Numeric, Text, Time, finish, numeric::Unrepresentable};
use pgrx::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

pub fn required<T>(name: &'static str, value: Option<T>) -> Result<T, Error> {
    value.ok_or(Error::NullArgument { name })
}

pub fn id(value: pgrx::Uuid) -> Uuid {
    Uuid::from_bytes(*value.as_bytes())
}

/// The same the other way, for a result.
pub fn sql_id(value: Uuid) -> pgrx::Uuid {
    pgrx::Uuid::from_bytes(*value.as_bytes())
}

fn answer(result: Result<Posted, Error>) -> pgrx::Uuid {
    sql_id(finish(result).transaction_id)
}

/// A finite figure out of an argument.
pub fn finite(value: Numeric) -> Result<Decimal, Error> {
    value.0.map_err(|why| Error::InvalidAmount {
        why: match why {
            Unrepresentable::NotANumber => "The amount is NaN.",
            Unrepresentable::Infinite => "The amount is infinite.",
            Unrepresentable::TooManyDigits => "The amount has more than 28 digits.",
        }
        .into(),
    })
}

pub fn amount(name: &'static str, value: Option<Numeric>) -> Result<Decimal, Error> {
    exact_amount(finite(required(name, value)?)?)
}

/// The same of an amount that may be left open.
pub fn amount_if_given(value: Option<Numeric>) -> Result<Option<Decimal>, Error> {
    value.map(|value| exact_amount(finite(value)?)).transpose()
}

/// The arguments that every strict function ends with.
#[derive(Default)]
pub struct Tail {
    pub currency: Option<BpChar>,
    pub description: Option<Text>,
    pub reference: Option<Text>,
    pub metadata: Option<JsonDatum>,
    pub transaction_id: Option<pgrx::Uuid>,
    pub effective_at: Option<Time>,
}

impl Tail {
    pub fn order(&self, kind: Kind, debit: Uuid, credit: Uuid, amount: Option<Decimal>) -> Order<'_> {
        Order {
            currency: self.currency.as_ref().map(|c| c.0.as_str()),
            transaction_id: self.transaction_id.map(id),
            reference: self.reference.as_deref(),
            description: self.description.as_deref(),
            metadata: self.metadata,
            effective_at: self.effective_at.map(|time| time.0),
            ..Order::of(kind, debit, credit, amount)
        }
    }
}

/// From one account to another.
pub fn post_transfer(
    from: Option<pgrx::Uuid>,
    to: Option<pgrx::Uuid>,
    value: Option<Numeric>,
    names: [&'static str; 3],
    tail: &Tail,
) -> Result<Posted, Error> {
    let from = id(required(names[0], from)?);
    let to = id(required(names[1], to)?);
    let amount = amount(names[2], value)?;
    post(&Desk::open(), &tail.order(Kind::Transfer, from, to, Some(amount)))
}

/// Between a customer's account and the bank's own account of the kind's type.
pub fn post_internal(
    kind: Kind,
    account: Option<pgrx::Uuid>,
    value: Option<Numeric>,
    names: [&'static str; 2],
    tail: &Tail,
) -> Result<Posted, Error> {
    let account = id(required(names[0], account)?);
    let amount = amount(names[1], value)?;
    let desk = Desk::open();
    post_against(&desk, kind, account, amount, tail)
}

/// The same at an open desk.
pub fn post_against(
    desk: &Desk,
    kind: Kind,
    account: Uuid,
    amount: Decimal,
    tail: &Tail,
) -> Result<Posted, Error> {
    let (internal_type, customer_is_debited) =
        kind.other_side().unwrap_or_else(|| unreachable!("{} names both accounts", kind.name()));
    let internal = store::internal_account(desk.session(), account, internal_type)?;
    let (debit, credit) = if customer_is_debited { (account, internal) } else { (internal, account) };
    post(desk, &tail.order(kind, debit, credit, Some(amount)))
}

/// Changes a balance by a signed amount against suspense.
pub fn post_adjustment(desk: &Desk, account: Uuid, change: Decimal, tail: &Tail) -> Result<Posted, Error> {
    let suspense = store::internal_account(desk.session(), account, "suspense")?;
    let normal_side = store::normal_side(desk.session(), account)?;
    let is_debit = (normal_side == super::account::Side::Debit) == change.is_sign_positive();
    let (debit, credit) = if is_debit { (account, suspense) } else { (suspense, account) };
    post(desk, &tail.order(Kind::Adjustment, debit, credit, Some(change.abs())))
}

/// A reversal; `reason` is kept as the description.
pub fn post_reversal(
    desk: &Desk,
    original: Uuid,
    amount: Option<Decimal>,
    tail: &Tail,
    allow_overdraft: Option<bool>,
) -> Result<Posted, Error> {
    given_reason("reason", tail.description.as_deref().unwrap_or_default())?;
    let mut order = tail.order(Kind::Reversal, Uuid::nil(), Uuid::nil(), amount);
    order.may_overdraw = allow_overdraft.unwrap_or_else(guc::reversal_overdraft);
    give_back(desk, original, order)
}

pub fn post_refund(
    desk: &Desk,
    original: Uuid,
    amount: Option<Decimal>,
    tail: &Tail,
) -> Result<Posted, Error> {
    let order = tail.order(Kind::Refund, Uuid::nil(), Uuid::nil(), amount);
    give_back(desk, original, order)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn transfer(
    from_account: Option<pgrx::Uuid>,
    to_account: Option<pgrx::Uuid>,
    amount: Option<Numeric>,
    currency: default!(Option<BpChar>, "NULL"),
    description: default!(Option<Text>, "NULL"),
    reference: default!(Option<Text>, "NULL"),
    metadata: default!(Option<JsonDatum>, "NULL"),
    transaction_id: default!(Option<pgrx::Uuid>, "NULL"),
    effective_at: default!(Option<Time>, "NULL"),
) -> pgrx::Uuid {
    let tail = Tail { currency, description, reference, metadata, transaction_id, effective_at };
    let names = ["from_account", "to_account", "amount"];
    let posted = post_transfer(from_account, to_account, amount, names, &tail);
    drop(tail);
    answer(posted)
}

/// One strict function between an account and the bank's own.
macro_rules! against_the_bank {
    ($name:ident, $kind:expr) => {
        #[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
        #[allow(clippy::too_many_arguments)]
        fn $name(
            account: Option<pgrx::Uuid>,
            amount: Option<Numeric>,
            currency: default!(Option<BpChar>, "NULL"),
            description: default!(Option<Text>, "NULL"),
            reference: default!(Option<Text>, "NULL"),
            metadata: default!(Option<JsonDatum>, "NULL"),
            transaction_id: default!(Option<pgrx::Uuid>, "NULL"),
            effective_at: default!(Option<Time>, "NULL"),
        ) -> pgrx::Uuid {
            let tail = Tail { currency, description, reference, metadata, transaction_id, effective_at };
            let posted = post_internal($kind, account, amount, ["account", "amount"], &tail);
            drop(tail);
            answer(posted)
        }
    };
}
against_the_bank!(deposit, Kind::Deposit);
against_the_bank!(withdraw, Kind::Withdrawal);
against_the_bank!(pay, Kind::Payment);
against_the_bank!(charge_fee, Kind::Fee);
against_the_bank!(credit_interest, Kind::Interest);

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn adjust(
    account: Option<pgrx::Uuid>,
    amount: Option<Numeric>,
    reason: Option<Text>,
    currency: default!(Option<BpChar>, "NULL"),
    reference: default!(Option<Text>, "NULL"),
    metadata: default!(Option<JsonDatum>, "NULL"),
    transaction_id: default!(Option<pgrx::Uuid>, "NULL"),
    effective_at: default!(Option<Time>, "NULL"),
) -> pgrx::Uuid {
    let tail = Tail { currency, description: reason, reference, metadata, transaction_id, effective_at };
    let posted = checked_adjustment(account, amount, &tail);
    drop(tail);
    answer(posted)
}

fn checked_adjustment(
    account: Option<pgrx::Uuid>,
    change: Option<Numeric>,
    tail: &Tail,
) -> Result<Posted, Error> {
    let account = id(required("account", account)?);
    let change = amount_of(finite(required("amount", change)?)?)?;
    given_reason("reason", required("reason", tail.description.as_deref())?)?;
    post_adjustment(&Desk::open(), account, change, tail)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn refund(
    original_transaction: Option<pgrx::Uuid>,
    amount: default!(Option<Numeric>, "NULL"),
    description: default!(Option<Text>, "NULL"),
    reference: default!(Option<Text>, "NULL"),
    metadata: default!(Option<JsonDatum>, "NULL"),
    transaction_id: default!(Option<pgrx::Uuid>, "NULL"),
    effective_at: default!(Option<Time>, "NULL"),
) -> pgrx::Uuid {
    let tail = Tail { currency: None, description, reference, metadata, transaction_id, effective_at };
    let posted = required("original_transaction", original_transaction).and_then(|original| {
        let amount = amount_if_given(amount)?;
        post_refund(&Desk::open(), id(original), amount, &tail)
    });
    drop(tail);
    answer(posted)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn reverse(
    transaction_id: Option<pgrx::Uuid>,
    reason: Option<Text>,
    reference: default!(Option<Text>, "NULL"),
    metadata: default!(Option<JsonDatum>, "NULL"),
    reversal_transaction_id: default!(Option<pgrx::Uuid>, "NULL"),
    effective_at: default!(Option<Time>, "NULL"),
    allow_overdraft: default!(Option<bool>, "NULL"),
) -> pgrx::Uuid {
    let tail = Tail {
        currency: None,
        description: reason,
        reference,
        metadata,
        transaction_id: reversal_transaction_id,
        effective_at,
    };
    let posted = required("transaction_id", transaction_id).and_then(|original| {
        required("reason", tail.description.as_deref())?;
        post_reversal(&Desk::open(), id(original), None, &tail, allow_overdraft)
    });
    drop(tail);
    answer(posted)
}
