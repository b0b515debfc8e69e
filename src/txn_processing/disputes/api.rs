//! The SQL functions of disputes.

use super::core::{Outcome, Policy};
use super::desk::{Claim, Verdict, open, resolve};
use super::policy;
use crate::error::Error;
use crate::pg::{Numeric, Text, finish};
use crate::txn_processing::bounds::{bounded_text, given_reason};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::strict::{amount as positive, finite, id, required, sql_id};
use pgrx::prelude::*;

const MAX_NOTE: usize = 1_000;

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn open_dispute(
    transaction_id: Option<pgrx::Uuid>,
    reason: Option<Text>,
    amount: default!(Option<Numeric>, "NULL"),
    dispute_id: default!(Option<pgrx::Uuid>, "NULL"),
) -> pgrx::Uuid {
    let opened = (|| {
        let claim = Claim {
            transaction: id(required("transaction_id", transaction_id)?),
            reason: given_reason("reason", required("reason", reason.as_deref())?)?,
            amount: amount.map(|value| positive("amount", Some(value))).transpose()?,
            id: dispute_id.map(id),
        };
        open(&Desk::open(), &claim)
    })();
    drop(reason);
    sql_id(finish(opened))
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn resolve_dispute(
    dispute: Option<pgrx::Uuid>,
    outcome: Option<Text>,
    amount: default!(Option<Numeric>, "NULL"),
    note: default!(Option<Text>, "NULL"),
    charge_back: default!(Option<bool>, "NULL"),
) -> Option<pgrx::Uuid> {
    let resolved = (|| {
        let dispute = id(required("dispute", dispute)?);
        let name = required("outcome", outcome.as_deref())?;
        let unknown =
            || Error::ArgumentBounds { argument: "outcome", why: format!("There is no outcome {name:?}.") };
        bounded_text("note", note.as_deref(), MAX_NOTE)?;
        let verdict = Verdict {
            outcome: Outcome::of(name).ok_or_else(unknown)?,
            amount: amount.map(finite).transpose()?,
            note: note.as_deref(),
            charge_back,
        };
        resolve(&Desk::open(), dispute, &verdict)
    })();
    drop((outcome, note));
    finish(resolved).map(sql_id)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn set_dispute_policy(
    account_type: Option<Text>,
    provisional_credit: Option<bool>,
    window_days: Option<i32>,
    minimum_amount: default!(Option<Numeric>, 0),
    maximum_amount: default!(Option<Numeric>, "NULL"),
    charge_back: default!(Option<bool>, false),
) {
    let set = (|| {
        let account_type = required("account_type", account_type.as_deref())?;
        let policy = Policy {
            provisional_credit: required("provisional_credit", provisional_credit)?,
            charge_back: required("charge_back", charge_back)?,
            window_days: required("window_days", window_days)?,
            minimum: finite(required("minimum_amount", minimum_amount)?)?,
            maximum: maximum_amount.map(finite).transpose()?,
        };
        policy::set(account_type, &policy)
    })();
    drop(account_type);
    finish(set)
}
