//! The contract functions: the same postings, answered in JSON; a business refusal does not raise.

use super::core::{Kind, Side, generated_reference};
use super::engine::Posted;
use super::strict::{Tail, id, post_internal, post_reversal, post_transfer, required};
use crate::error::{Error, number};
use crate::pg::{BpChar, JsonDatum, Numeric, Varchar, finish};
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value};
use uuid::Uuid;

pub type Json = Map<String, Value>;

fn success(posted: &Posted, reference: Option<&str>, id_key: &str, is_reversal: bool) -> Json {
    let mut json = Map::new();
    json.insert("success".into(), true.into());
    let generated;
    let reference = match reference {
        Some(given) => given,
        None => {
            generated = generated_reference(posted.transaction_id, is_reversal, posted.created_at);
            &generated
        }
    };
    json.insert(id_key.into(), posted.transaction_id.to_string().into());
    json.insert("reference".into(), reference.into());
    json
}

/// The JSON of a posting between an account and the bank: the account's side is shown.
pub fn internal_json(posted: &Posted, kind: Kind, reference: Option<&str>) -> Json {
    let mut json = success(posted, reference, "transaction_id", false);
    let side = match kind {
        Kind::Deposit | Kind::Interest => Side::Credit,
        _ => Side::Debit,
    };
    let (key, balance) = match side {
        Side::Debit => ("from_balance", posted.debit_balance),
        Side::Credit => ("to_balance", posted.credit_balance),
    };
    json.insert(key.into(), number(balance));
    json.insert("balance".into(), number(balance));
    json
}

/// The JSON of a posting between two accounts: both are shown.
pub fn transfer_json(posted: &Posted, reference: Option<&str>) -> Json {
    let mut json = success(posted, reference, "transaction_id", false);
    json.insert("from_balance".into(), number(posted.debit_balance));
    json.insert("to_balance".into(), number(posted.credit_balance));
    json
}

/// The JSON of a reversal, its id under the key that the function's contract names.
pub fn reversal_json(posted: &Posted, id_key: &str) -> Json {
    let mut json = success(posted, None, id_key, true);
    // Never silent: the reversed payee's balance after, which may be below zero.
    json.insert("from_balance".into(), number(posted.debit_balance));
    json.insert("to_balance".into(), number(posted.credit_balance));
    json.insert("overdrawn".into(), posted.debit_balance.is_sign_negative().into());
    json
}

/// The answer: JSON for a success and for a refusal, an error raised for what is neither.
fn answer(result: Result<Json, Error>) -> JsonB {
    JsonB(Value::Object(finish(result.or_else(Error::into_json))))
}

fn tail(
    transaction_id: Option<pgrx::Uuid>,
    reference: Option<Varchar>,
    currency: Option<BpChar>,
    metadata: Option<JsonDatum>,
) -> Tail {
    let reference = reference.map(|r| r.0);
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
        .map(|posted| transfer_json(&posted, tail.reference.as_deref()));
    drop(tail);
    answer(result)
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
                .map(|posted| internal_json(&posted, $kind, tail.reference.as_deref()));
            drop(tail);
            answer(result)
        }
    };
}
execute!(execute_deposit, Kind::Deposit);
execute!(execute_withdrawal, Kind::Withdrawal);
execute!(execute_payment, Kind::Payment);

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn reverse_transaction(
    p_transaction_id: Option<pgrx::Uuid>,
    p_reason: Option<String>,
    p_reversed_by: default!(Option<String>, "CURRENT_USER"),
) -> JsonB {
    let result = reversal(p_transaction_id, p_reason, p_reversed_by);
    answer(result)
}

fn reversal(
    transaction: Option<pgrx::Uuid>,
    reason: Option<String>,
    reversed_by: Option<String>,
) -> Result<Json, Error> {
    let original: Uuid = id(required("p_transaction_id", transaction)?);
    let reason = required("p_reason", reason)?;
    let metadata = reversed_by.map(|by| JsonDatum::object(&[("reversed_by", &by)]));
    let tail = Tail { description: Some(reason), metadata, ..Tail::default() };
    post_reversal(original, &tail, None).map(|posted| reversal_json(&posted, "reversal_transaction_id"))
}

/// The reference shown where the caller gave none: unique, as it holds the whole id.
#[pg_extern(schema = "txn_processing", name = "generated_reference", immutable, parallel_safe)]
fn generated_reference_sql(
    transaction_id: pgrx::Uuid,
    is_reversal: bool,
    created_at: Option<crate::pg::Time>,
) -> Option<Varchar> {
    Some(Varchar(generated_reference(id(transaction_id), is_reversal, created_at?.0)))
}
