//! Requests waiting to be posted, carried out one at a time by `process_transaction`.

use super::answer::{Answer, Refusal, Success, to_json};
use super::core::{Kind, amount_of, exact_amount};
use super::engine::{Desk, given_reason, post};
use super::strict::{Tail, finite, id, post_adjustment, post_against, post_refund, post_reversal, required};
use crate::error::Error;
use crate::neobank::access::check_execute;
use crate::pg::{Arg, BpChar, JsonDatum, Numeric, Row, Session, Statement, Type};
use pgrx::JsonB;
use pgrx::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

static CLAIM: Statement = Statement::new(
    c"SELECT status, transaction_type::text, source_account_id, destination_account_id, amount, currency_code,
             request_data, expires_at <= clock_timestamp(),
             request_data ->> 'original_transaction_id', request_data ->> 'reason', request_data ->> 'description',
             requested_by
      FROM txn_processing.transaction_queue
      WHERE request_id = $1
      FOR UPDATE SKIP LOCKED",
    &[Type::Uuid],
);

static FINISH: Statement = Statement::new(
    c"UPDATE txn_processing.transaction_queue
      SET status = $2, error_message = $3, transaction_id = $4, retry_count = retry_count + $5,
          processed_at = clock_timestamp()
      WHERE request_id = $1",
    &[Type::Uuid, Type::Text, Type::Text, Type::Uuid, Type::Int],
);

/// One claimed row of the queue.
struct Request {
    kind: String,
    source: Option<Uuid>,
    destination: Option<Uuid>,
    amount: Numeric,
    currency: Option<String>,
    data: Option<JsonDatum>,
    expired: bool,
    original: Option<String>,
    reason: Option<String>,
    description: Option<String>,
    requested_by: String,
}

impl Request {
    fn from_row(row: &Row) -> Option<Self> {
        Some(Request {
            kind: row.text(2)?,
            source: row.uuid(3),
            destination: row.uuid(4),
            amount: row.get(5)?,
            currency: row.text(6),
            data: row.json(7),
            expired: row.bool(8).unwrap_or(false),
            original: row.text(9),
            reason: row.text(10),
            description: row.text(11),
            requested_by: row.text(12)?,
        })
    }

    fn tail(&self, transaction_id: Uuid) -> Tail {
        Tail {
            currency: self.currency.clone().map(BpChar),
            description: self.description.clone(),
            metadata: self.data.filter(|data| !data.is_empty()),
            transaction_id: Some(pgrx::Uuid::from_bytes(*transaction_id.as_bytes())),
            ..Tail::default()
        }
    }

    fn source(&self) -> Result<Uuid, Error> {
        required("source_account_id", self.source)
    }

    fn destination(&self) -> Result<Uuid, Error> {
        required("destination_account_id", self.destination)
    }

    fn original(&self) -> Result<Uuid, Error> {
        let text = required("original_transaction_id", self.original.as_deref())?;
        Uuid::parse_str(text).map_err(|_| Error::ArgumentBounds {
            argument: "original_transaction_id",
            why: format!("{text:?} is not a uuid."),
        })
    }

    fn positive(&self) -> Result<Decimal, Error> {
        exact_amount(finite(self.amount)?)
    }

    /// The strict function that does the same when it is called at once.
    fn function(&self) -> &'static str {
        match self.kind.as_str() {
            "transfer" => "txn_processing.transfer",
            "deposit" => "txn_processing.deposit",
            "interest" => "txn_processing.credit_interest",
            "withdrawal" => "txn_processing.withdraw",
            "payment" => "txn_processing.pay",
            "fee" => "txn_processing.charge_fee",
            "refund" => "txn_processing.refund",
            "reversal" => "txn_processing.reverse",
            _ => "txn_processing.adjust",
        }
    }

    /// Posts the request; the bank's side of an adjustment follows from which account is named.
    fn post(&self, desk: &Desk, transaction_id: Uuid) -> Result<Success, Error> {
        // The queue is no way round the grants: who asked must be allowed to do it themselves.
        check_execute(&desk.session, &self.requested_by, self.function())?;
        let mut tail = self.tail(transaction_id);
        let against = |kind: Kind, account: Uuid, tail: &Tail| {
            post_against(desk, kind, account, self.positive()?, tail)
                .map(|posted| Success::with_the_bank(&posted, kind, None))
        };
        match self.kind.as_str() {
            "transfer" => {
                let (from, to) = (self.source()?, self.destination()?);
                post(desk, &tail.order(Kind::Transfer, from, to, Some(self.positive()?)))
                    .map(|posted| Success::of_transfer(&posted, None))
            }
            "deposit" => against(Kind::Deposit, self.destination()?, &tail),
            "interest" => against(Kind::Interest, self.destination()?, &tail),
            "withdrawal" => against(Kind::Withdrawal, self.source()?, &tail),
            "payment" => against(Kind::Payment, self.source()?, &tail),
            "fee" => against(Kind::Fee, self.source()?, &tail),
            "refund" => post_refund(desk, self.original()?, Some(self.positive()?), &tail)
                .map(|posted| Success::of_transfer(&posted, None)),
            "reversal" => {
                tail.description = Some(required("reason", self.reason.clone())?);
                post_reversal(desk, self.original()?, Some(self.positive()?), &tail, None)
                    .map(|posted| Success::of_reversal(&posted))
            }
            _ => {
                tail.description = Some(required("reason", self.reason.clone())?);
                given_reason("reason", tail.description.as_deref().unwrap_or_default())?;
                let (account, change) = match (self.source, self.destination) {
                    (Some(_), Some(_)) => {
                        return Err(Error::ArgumentBounds {
                            argument: "destination_account_id",
                            why: "An adjustment names one account: source to lower, destination to raise."
                                .into(),
                        });
                    }
                    (Some(source), None) => (source, -self.positive()?),
                    (None, _) => (self.destination()?, amount_of(finite(self.amount)?)?),
                };
                post_adjustment(desk, account, change, &tail)
                    .map(|posted| Success::of_transfer(&posted, None))
            }
        }
    }
}

fn close(
    session: &Session,
    request_id: Uuid,
    status: &str,
    message: Option<&str>,
    transaction_id: Option<Uuid>,
) -> Result<(), Error> {
    session.run(
        &FINISH,
        &[
            Arg::Uuid(Some(request_id)),
            Arg::Text(Some(status)),
            Arg::Text(message),
            Arg::Uuid(transaction_id),
            Arg::Int(Some(i32::from(status == "failed"))),
        ],
    )?;
    Ok(())
}

fn process(request_id: Uuid) -> Result<Answer, Error> {
    let desk = Desk::open();
    let claimed = desk.session.run(&CLAIM, &[Arg::Uuid(Some(request_id))])?.first();
    let Some(row) = claimed else {
        let error = "Request not found or already processing";
        return Ok(Refusal::of_request(error, "request_not_found", None).into());
    };
    let status = row.text(1).expect("not null by its declaration");
    if status != "queued" {
        let error = "Request already processed";
        return Ok(Refusal::of_request(error, "request_already_processed", Some(status)).into());
    }
    let request = Request::from_row(&row).expect("not null by their declaration");
    if request.expired {
        let error = "Request expired";
        close(&desk.session, request_id, "expired", Some(error), None)?;
        return Ok(Refusal::of_request(error, "request_expired", Some("expired".into())).into());
    }
    let transaction_id = Uuid::now_v7();
    match request.post(&desk, transaction_id) {
        Ok(success) => {
            close(&desk.session, request_id, "completed", None, Some(transaction_id))?;
            Ok(success.into())
        }
        Err(error) => {
            let refusal = Refusal::of(error)?;
            close(&desk.session, request_id, "failed", Some(&refusal.error), None)?;
            Ok(refusal.into())
        }
    }
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn process_transaction(p_request_id: Option<pgrx::Uuid>) -> JsonB {
    to_json(
        required("p_request_id", p_request_id)
            .map(id)
            .and_then(|request| process(request).map(|answer| answer.about_request(request))),
    )
}
