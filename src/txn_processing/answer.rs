//! The JSON of the contract functions, typed: the seed's keys and what was added to them.

use super::core::{Kind, generated_reference};
use super::engine::Posted;
use crate::error::Error;
use crate::pg::finish;
use pgrx::JsonB;
use rust_decimal::Decimal;
use rust_decimal::serde::arbitrary_precision_option as exact;
use serde::Serialize;
use uuid::Uuid;

/// A success or a refusal.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Answer {
    Success(Box<Success>),
    Refusal(Box<Refusal>),
}

/// Keys without a value are left out.
#[derive(Default, Serialize)]
pub struct Success {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reversal_transaction_id: Option<Uuid>,
    reference: String,
    #[serde(with = "exact", skip_serializing_if = "Option::is_none")]
    from_balance: Option<Decimal>,
    #[serde(with = "exact", skip_serializing_if = "Option::is_none")]
    to_balance: Option<Decimal>,
    /// Of the one account named, where the other side is the bank's own.
    #[serde(with = "exact", skip_serializing_if = "Option::is_none")]
    balance: Option<Decimal>,
    /// Never silent: whether a reversal left its payee below zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    overdrawn: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Uuid>,
}

#[derive(Default, Serialize)]
pub struct Refusal {
    success: bool,
    pub error: String,
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(with = "exact", skip_serializing_if = "Option::is_none")]
    available: Option<Decimal>,
    #[serde(with = "exact", skip_serializing_if = "Option::is_none")]
    requested: Option<Decimal>,
    /// Of a request of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Uuid>,
}

impl Success {
    fn of(posted: &Posted, reference: Option<&str>, is_reversal: bool) -> Self {
        let generated = || generated_reference(posted.transaction_id, is_reversal, posted.created_at);
        Success {
            success: true,
            transaction_id: Some(posted.transaction_id),
            reference: reference.map_or_else(generated, str::to_owned),
            ..Success::default()
        }
    }

    /// Between an account and the bank: the account's side is shown.
    pub fn with_the_bank(posted: &Posted, kind: Kind, reference: Option<&str>) -> Self {
        let success = Success::of(posted, reference, false);
        if matches!(kind, Kind::Deposit | Kind::Interest) {
            let balance = posted.credit_balance;
            Success { to_balance: balance, balance, ..success }
        } else {
            let balance = posted.debit_balance;
            Success { from_balance: balance, balance, ..success }
        }
    }

    /// Between two accounts: both are shown.
    pub fn of_transfer(posted: &Posted, reference: Option<&str>) -> Self {
        Success {
            from_balance: posted.debit_balance,
            to_balance: posted.credit_balance,
            ..Success::of(posted, reference, false)
        }
    }

    pub fn of_reversal(posted: &Posted) -> Self {
        Success {
            from_balance: posted.debit_balance,
            to_balance: posted.credit_balance,
            overdrawn: Some(posted.overdrawn),
            ..Success::of(posted, None, true)
        }
    }

    /// The id under the key that `reverse_transaction` has for it.
    pub fn under_reversal_key(mut self) -> Self {
        self.reversal_transaction_id = self.transaction_id.take();
        self
    }
}

impl Refusal {
    /// The refusal's JSON; `Err` for what must be raised all the same.
    pub fn of(error: Error) -> Result<Self, Error> {
        if !error.is_refusal() {
            return Err(error);
        }
        let report = error.report();
        let (available, requested) = match error {
            Error::InsufficientFunds { available, requested, .. } => (Some(available), Some(requested)),
            _ => (None, None),
        };
        Ok(Refusal {
            error: capitalised(&report.message),
            code: report.word,
            sqlstate: Some(report.sqlstate),
            detail: report.detail,
            available,
            requested,
            ..Refusal::default()
        })
    }

    /// A request that cannot be carried out as it stands.
    pub fn of_request(error: &str, code: &'static str, status: Option<String>) -> Self {
        Refusal { error: error.to_owned(), code, status, ..Refusal::default() }
    }
}

impl Answer {
    pub fn about_request(mut self, id: Uuid) -> Self {
        match &mut self {
            Answer::Success(success) => success.request_id = Some(id),
            Answer::Refusal(refusal) => refusal.request_id = Some(id),
        }
        self
    }
}

impl From<Success> for Answer {
    fn from(success: Success) -> Self {
        Answer::Success(Box::new(success))
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Answer::Refusal(Box::new(refusal))
    }
}

/// JSON for a success and for a refusal; what is neither is raised.
pub fn to_json(result: Result<Answer, Error>) -> JsonB {
    let answer = finish(result.or_else(|error| Refusal::of(error).map(Answer::from)));
    JsonB(serde_json::to_value(answer).expect("texts, ids and exact numbers have a JSON form"))
}

/// The seed's wording begins with a capital letter.
fn capitalised(message: &str) -> String {
    let mut letters = message.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
