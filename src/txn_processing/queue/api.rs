//! The SQL functions of the queue.

use super::super::answer::{Answer, Refusal, Success, to_json};
use super::super::bounds::{bounded_metadata, given_reason, given_text};
use super::super::core::Kind;
use super::super::engine::{Desk, Posted};
use super::super::store::acknowledge_again;
use super::super::strict::{finite, id, required, sql_id};
use super::core::{Asked, MAX_RETRIES};
use super::processing::{Rights, carry_out, post_alone};
use super::store::{self, Claim, NewRequest, Request, Verdict};
use crate::error::Error;
use crate::pg::{BpChar, JsonDatum, Numeric, Text, Time, finish, server};
use pgrx::JsonB;
use pgrx::prelude::*;
use uuid::Uuid;

/// The most requests of one call.
const MAX_ITEMS: i32 = 10_000;
const MAX_KEY: usize = 100;

fn within(argument: &'static str, value: i32, least: i32, most: i32) -> Result<i32, Error> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(Error::ArgumentBounds { argument, why: format!("It is {value}; it must be {least} to {most}.") })
}

fn new_claim(desk: &Desk) -> Claim {
    Claim { token: Uuid::now_v7(), worker: format!("{} [{}]", desk.caller, server::process_id()) }
}

/// One row of the result.
type Line = (pgrx::Uuid, &'static str, &'static str, Option<pgrx::Uuid>);

fn line((request, verdict): (&Request, &Verdict)) -> Line {
    let code = verdict.code.unwrap_or("ok");
    (sql_id(request.id), verdict.status, code, verdict.transaction_id.map(sql_id))
}

fn process_ready(max_items: Option<i32>) -> Result<Vec<Line>, Error> {
    let most = within("max_items", required("max_items", max_items)?, 1, MAX_ITEMS)?;
    if !server::is_read_committed() {
        return Err(Error::IsolationLevel);
    }
    let desk = Desk::open();
    let claim = new_claim(&desk);
    let requests = claim.ready(desk.session(), most, server::clock_micros())?;
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let verdicts = carry_out(&desk, &claim, &requests)?;
    Ok(requests.iter().zip(&verdicts).map(line).collect())
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn process_queue(
    max_items: default!(Option<i32>, 100),
) -> TableIterator<
    'static,
    (
        name!(request_id, pgrx::Uuid),
        name!(status, &'static str),
        name!(code, &'static str),
        name!(transaction_id, Option<pgrx::Uuid>),
    ),
> {
    TableIterator::new(finish(process_ready(max_items)))
}

/// The JSON that the function of the same kind answers.
fn success(kind: Kind, posted: &Posted) -> Success {
    match kind {
        Kind::Reversal => Success::of_reversal(posted),
        kind if kind.other_side().is_some() => Success::with_the_bank(posted, kind, None),
        _ => Success::of_transfer(posted, None),
    }
}

fn process_one(request_id: Uuid) -> Result<Answer, Error> {
    let desk = Desk::open();
    let session = desk.session();
    let Some(status) = store::status(session, request_id)? else {
        let error = "Request not found or already processing";
        return Ok(Refusal::of_request(error, "request_not_found", None).into());
    };
    if status != "queued" {
        let error = "Request already processed";
        return Ok(Refusal::of_request(error, "request_already_processed", Some(status)).into());
    }
    let claim = new_claim(&desk);
    let request = claim.one(session, request_id)?;
    let started_at = server::clock_micros();
    let (verdict, answer) = if request.expired {
        let refusal = Refusal::of_request("Request expired", "request_expired", Some("expired".into()));
        (Verdict::expired(started_at), refusal.into())
    } else {
        match post_alone(&desk, &request) {
            Ok(posted) => (Verdict::completed(started_at, &posted), success(request.kind, &posted).into()),
            Err(error) => {
                let refusal = Refusal::of(error)?;
                (Verdict::of_refusal(started_at, &refusal), refusal.into())
            }
        }
    };
    store::finish(session, &claim, &[(request_id, &verdict)])?;
    Ok(answer)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn process_transaction(p_request_id: Option<pgrx::Uuid>) -> JsonB {
    to_json(
        required("p_request_id", p_request_id)
            .map(id)
            .and_then(|request| process_one(request).map(|answer| answer.about_request(request))),
    )
}

/// Adds the request, or answers the one that has its key and asks for the same.
fn add(desk: &Desk, new: &NewRequest) -> Result<Uuid, Error> {
    loop {
        if let Some(request) = store::add(desk.session(), new)? {
            return Ok(request);
        }
        let key = new.key.expect("only a key can be taken");
        match store::find_key(desk.session(), key, new)? {
            Some((request, true)) => return acknowledge_again(desk.session()).map(|()| request),
            Some((request, false)) => return Err(Error::KeyConflict { request }),
            // It was deleted since: the key is free again.
            None => {}
        }
    }
}

fn text_of(data: &Option<JsonB>, key: &str) -> Option<String> {
    match data.as_ref()?.0.get(key)? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Refuses what could only fail later, and who may not have it posted.
fn check(desk: &Desk, new: &NewRequest) -> Result<(), Error> {
    Rights::default().check(desk, new.requested_by, new.asked.kind)?;
    new.asked.plan()?;
    if matches!(new.asked.kind, Kind::Reversal | Kind::Adjustment) {
        given_reason("reason", new.asked.reason.unwrap_or_default())?;
    }
    if let Some(code) = new.currency.filter(|code| code.chars().count() > 3) {
        // Which three letters it are is asked when it is posted; the table has no room for more.
        return Err(Error::ArgumentBounds { argument: "currency", why: format!("It is {code:?}.") });
    }
    within("priority", new.priority, 1, 10)?;
    within("max_retries", new.max_retries, 0, MAX_RETRIES)?;
    new.key.map_or(Ok(()), |key| given_text("idempotency_key", key, MAX_KEY).map(drop))
}

/// It becomes the posting's metadata.
fn bounded_data(data: Option<JsonDatum>) -> Result<Option<JsonB>, Error> {
    bounded_metadata(data).map_err(|error| match error {
        Error::ArgumentBounds { why, .. } => Error::ArgumentBounds { argument: "request_data", why },
        other => other,
    })?;
    Ok(data.map(|json| JsonB(json.tree())))
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn enqueue(
    transaction_type: Option<Text>,
    source: default!(Option<pgrx::Uuid>, "NULL"),
    destination: default!(Option<pgrx::Uuid>, "NULL"),
    amount: default!(Option<Numeric>, "NULL"),
    currency: default!(Option<BpChar>, "NULL"),
    idempotency_key: default!(Option<Text>, "NULL"),
    priority: default!(Option<i32>, 5),
    request_data: default!(Option<JsonDatum>, "'{}'"),
    max_retries: default!(Option<i32>, 3),
    expires_at: default!(Option<Time>, "pg_catalog.now() + '1 hour'::interval"),
) -> pgrx::Uuid {
    let request = (|| {
        let name = required("transaction_type", transaction_type.as_deref())?;
        let kind = Kind::of(name).ok_or_else(|| Error::ArgumentBounds {
            argument: "transaction_type",
            why: format!("There is no type {name:?}."),
        })?;
        let desk = Desk::open();
        let data = bounded_data(request_data)?;
        let (original, reason) = (text_of(&data, "original_transaction_id"), text_of(&data, "reason"));
        let new = NewRequest {
            asked: Asked {
                kind,
                source: source.map(id),
                destination: destination.map(id),
                amount: finite(required("amount", amount)?)?,
                original: original.as_deref(),
                reason: reason.as_deref(),
            },
            currency: currency.as_ref().map(|code| code.0.as_str()),
            key: idempotency_key.as_deref(),
            priority: required("priority", priority)?,
            data: request_data,
            max_retries: required("max_retries", max_retries)?,
            expires_at: expires_at.map(|time| time.0),
            requested_by: &desk.caller,
        };
        check(&desk, &new)?;
        add(&desk, &new).map(sql_id)
    })();
    drop((transaction_type, currency, idempotency_key));
    finish(request)
}
