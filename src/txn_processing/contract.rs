//! The contract functions: the same postings, answered in JSON; a business refusal does not raise.

use super::answer::{Answer, Success, to_json};
use super::core::{Kind, generated_reference};
use super::engine::Desk;
use super::strict::{Tail, id, post_internal, post_reversal, post_transfer, required};
use crate::error::Error;
use crate::pg::{BpChar, JsonDatum, Numeric, Text, Varchar};
use pgrx::JsonB;
use pgrx::prelude::*;
use uuid::Uuid;

fn tail(
    transaction_id: Option<pgrx::Uuid>,
    reference: Option<Varchar>,
    currency: Option<BpChar>,
    metadata: Option<JsonDatum>,
) -> Tail {
    let reference = reference.map(|r| Text(r.0));
    Tail { currency, reference, metadata, transaction_id, ..Tail::default() }
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn execute_transfer(
    p_transaction_id: Option<pgrx::Uuid>,
    p_reference: Option<Varchar>,
    p_from_account: Option<pgrx::Uuid>,
    p_to_account: Option<pgrx::Uuid>,
    p_amount: Option<Numeric>,
    p_currency: Option<BpChar>,
    p_metadata: Option<JsonDatum>,
) -> JsonB {
    let tail = tail(p_transaction_id, p_reference, p_currency, p_metadata);
    let names = ["p_from_account", "p_to_account", "p_amount"];
    let result = post_transfer(p_from_account, p_to_account, p_amount, names, &tail)
        .map(|posted| Success::of_transfer(&posted, tail.reference.as_deref()).into());
    drop(tail);
    to_json(result)
}

/// One contract function between an account and the bank's own.
macro_rules! execute {
    ($name:ident, $kind:expr) => {
        #[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
        fn $name(
            p_transaction_id: Option<pgrx::Uuid>,
            p_reference: Option<Varchar>,
            p_account_id: Option<pgrx::Uuid>,
            p_amount: Option<Numeric>,
            p_currency: Option<BpChar>,
            p_metadata: Option<JsonDatum>,
        ) -> JsonB {
            let tail = tail(p_transaction_id, p_reference, p_currency, p_metadata);
            let names = ["p_account_id", "p_amount"];
            let result = post_internal($kind, p_account_id, p_amount, names, &tail)
                .map(|posted| Success::with_the_bank(&posted, $kind, tail.reference.as_deref()).into());
            drop(tail);
            to_json(result)
        }
    };
}
execute!(execute_deposit, Kind::Deposit);
execute!(execute_withdrawal, Kind::Withdrawal);
execute!(execute_payment, Kind::Payment);

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn reverse_transaction(
    p_transaction_id: Option<pgrx::Uuid>,
    p_reason: Option<Text>,
    p_reversed_by: default!(Option<Text>, "CURRENT_USER"),
) -> JsonB {
    let result = reversal(p_transaction_id, p_reason, p_reversed_by);
    to_json(result)
}

fn reversal(
    transaction: Option<pgrx::Uuid>,
    reason: Option<Text>,
    reversed_by: Option<Text>,
) -> Result<Answer, Error> {
    let original: Uuid = id(required("p_transaction_id", transaction)?);
    let reason = required("p_reason", reason)?;
    let metadata = reversed_by.map(|by| JsonDatum::object(&[("reversed_by", &by)]));
    let tail = Tail { description: Some(reason), metadata, ..Tail::default() };
    post_reversal(&Desk::open(), original, None, &tail, None)
        .map(|posted| Success::of_reversal(&posted).under_reversal_key().into())
}

/// The reference shown where the caller gave none: unique, as it holds the whole id.
#[pg_extern(schema = "txn_processing", name = "generated_reference", immutable, strict, parallel_safe)]
fn generated_reference_sql(
    transaction_id: pgrx::Uuid,
    is_reversal: bool,
    created_at: crate::pg::Time,
) -> Varchar {
    Varchar(generated_reference(id(transaction_id), is_reversal, created_at.0))
}
