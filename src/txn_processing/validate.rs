//! Dry runs: what a strict function would answer, without effect.

use super::batch::Outcome;
use super::bounds::given_reason;
use super::core::{Kind, amount_of};
use super::engine::{Desk, post};
use super::fx;
use super::holds::{self, Capture, NewHold};
use super::strict::{
    Tail, amount, amount_if_given, finite, id, post_adjustment, post_against, post_refund, post_reversal,
    required,
};
use crate::error::Error;
use crate::neobank::access::check_execute;
use crate::pg::subtransaction::undoable;
use crate::pg::{BpChar, JsonDatum, Numeric, Text, Time, finish};
use pgrx::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

/// The call that is to be tried.
#[derive(Clone, Copy)]
enum Call {
    Posting(Kind),
    Exchange,
    Hold,
    Capture,
}

impl Call {
    fn of(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "exchange" => Call::Exchange,
            "hold" => Call::Hold,
            "capture" => Call::Capture,
            _ => Call::Posting(Kind::of(name).ok_or_else(|| Error::ArgumentBounds {
                argument: "transaction_type",
                why: format!(
                    "It is {name:?}; types are those of txn_processing.txn_type, exchange, hold and capture."
                ),
            })?),
        })
    }

    /// The strict function.
    fn function(self) -> &'static str {
        match self {
            Call::Posting(kind) => kind.function(),
            Call::Exchange => "txn_processing.transfer_fx",
            Call::Hold => "txn_processing.place_hold",
            Call::Capture => "txn_processing.capture_hold",
        }
    }
}

/// What is to be tried.
struct Attempt<'a> {
    call: Call,
    source: Option<Uuid>,
    destination: Option<Uuid>,
    amount: Option<Numeric>,
    original: Option<Uuid>,
    tail: &'a Tail,
    allow_overdraft: Option<bool>,
}

impl Attempt<'_> {
    fn positive(&self) -> Result<Decimal, Error> {
        amount("amount", self.amount)
    }

    fn part(&self) -> Result<Option<Decimal>, Error> {
        amount_if_given(self.amount)
    }

    /// The customer's side of a posting with the bank.
    fn account(&self, is_debited: bool) -> Result<Uuid, Error> {
        if is_debited { required("source", self.source) } else { required("destination", self.destination) }
    }

    fn original(&self) -> Result<Uuid, Error> {
        required("original_transaction", self.original)
    }

    fn run(&self, desk: &Desk) -> Result<(), Error> {
        match self.call {
            Call::Posting(kind) => self.post(desk, kind).map(drop),
            Call::Exchange => {
                let accounts = [self.account(true)?, self.account(false)?];
                fx::post_at_stored_rate(desk, accounts, self.positive()?, self.tail).map(drop)
            }
            Call::Hold => self.hold(desk),
            Call::Capture => {
                let capture = Capture { hold: self.original()?, is_final: true };
                let order = holds::order(desk, capture, self.part()?, self.destination, self.tail)?;
                post(desk, &order).map(drop)
            }
        }
    }

    fn hold(&self, desk: &Desk) -> Result<(), Error> {
        let new = NewHold {
            id: self.tail.transaction_id.map_or_else(Uuid::now_v7, id),
            account: self.account(true)?,
            to_account: self.destination,
            group: None,
            expires_at: None,
            amount: self.positive()?,
            currency: self.tail.currency.as_ref().map(|currency| currency.0.as_str()),
            reference: self.tail.reference.as_deref(),
            description: self.tail.description.as_deref(),
            metadata: self.tail.metadata,
        };
        holds::place(desk, &new)
    }

    fn post(&self, desk: &Desk, kind: Kind) -> Outcome {
        match kind {
            Kind::Transfer => {
                let (from, to) = (self.account(true)?, self.account(false)?);
                post(desk, &self.tail.order(Kind::Transfer, from, to, Some(self.positive()?)))
            }
            Kind::Refund => post_refund(desk, self.original()?, self.part()?, self.tail),
            Kind::Reversal => {
                let original = self.original()?;
                required("description", self.tail.description.as_deref())?;
                post_reversal(desk, original, self.part()?, self.tail, self.allow_overdraft)
            }
            Kind::Adjustment => {
                let account = self.source.or(self.destination);
                let account = required("source", account)?;
                let change = amount_of(finite(required("amount", self.amount)?)?)?;
                given_reason("description", required("description", self.tail.description.as_deref())?)?;
                post_adjustment(desk, account, change, self.tail)
            }
            kind => {
                let (_, is_debited) = kind.other_side().expect("the others name one account");
                post_against(desk, kind, self.account(is_debited)?, self.positive()?, self.tail)
            }
        }
    }
}

/// The refusal, or nothing. What is neither is raised.
fn refusal(attempt: Result<Attempt, Error>) -> Result<Option<Error>, Error> {
    let tried = attempt.and_then(|attempt| {
        let desk = Desk::open();
        // What is opened in the subtransaction would end with it.
        check_execute(desk.session(), &desk.caller, attempt.call.function())?;
        let mut outcome = None;
        // Answering nothing, it is rolled back: no posting, no lock, no slot stays.
        undoable(|| {
            outcome = Some(match attempt.run(&desk) {
                Err(error) if !error.is_refusal() => return Err(error),
                other => other,
            });
            Ok(None::<()>)
        })?;
        outcome.expect("it was tried")
    });
    match tried {
        Ok(()) => Ok(None),
        Err(error) if error.is_refusal() => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

type Line = (bool, &'static str, Option<&'static str>, Option<String>, Option<String>, Option<&'static str>);

fn line(refusal: Option<Error>) -> Line {
    match refusal {
        None => (true, "ok", None, None, None, None),
        Some(refusal) => {
            let report = refusal.report();
            (false, report.word, Some(report.sqlstate), Some(report.message), report.detail, report.hint)
        }
    }
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn validate(
    transaction_type: Option<Text>,
    source: default!(Option<pgrx::Uuid>, "NULL"),
    destination: default!(Option<pgrx::Uuid>, "NULL"),
    amount: default!(Option<Numeric>, "NULL"),
    currency: default!(Option<BpChar>, "NULL"),
    description: default!(Option<Text>, "NULL"),
    reference: default!(Option<Text>, "NULL"),
    metadata: default!(Option<JsonDatum>, "NULL"),
    transaction_id: default!(Option<pgrx::Uuid>, "NULL"),
    effective_at: default!(Option<Time>, "NULL"),
    original_transaction: default!(Option<pgrx::Uuid>, "NULL"),
    allow_overdraft: default!(Option<bool>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(ok, bool),
        name!(code, &'static str),
        name!(sqlstate, Option<&'static str>),
        name!(message, Option<String>),
        name!(detail, Option<String>),
        name!(hint, Option<&'static str>),
    ),
> {
    let tail = Tail { currency, description, reference, metadata, transaction_id, effective_at };
    let attempt = required("transaction_type", transaction_type.as_deref()).and_then(|name| {
        Ok(Attempt {
            call: Call::of(name)?,
            source: source.map(id),
            destination: destination.map(id),
            amount,
            original: original_transaction.map(id),
            tail: &tail,
            allow_overdraft,
        })
    });
    let refusal = refusal(attempt);
    drop((tail, transaction_type));
    TableIterator::once(line(finish(refusal)))
}
