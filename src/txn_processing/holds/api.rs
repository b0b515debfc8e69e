//! The SQL functions of holds.

use super::core::{Hold, State};
use super::store::{self, NewHold};
use super::{Capture, open_reserve};
use crate::banking::store::{self as accounts, LockedAccount};
use crate::error::{Error, Role};
use crate::pg::{BpChar, JsonDatum, Numeric, Text, Time, finish, server};
use crate::txn_processing::account::{Side, Status};
use crate::txn_processing::batch::{all_or_first_refusal, post_all};
use crate::txn_processing::bounds::{bounded_texts, given_reason};
use crate::txn_processing::core::{Kind, in_currency};
use crate::txn_processing::engine::{Desk, Order, Posted, post};
use crate::txn_processing::store::{internal_account, normal_side};
use crate::txn_processing::strict::{Tail, amount, amount_if_given, finite, id, required, sql_id};
use pgrx::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

/// The most accounts whose holds one call of `expire_holds` closes.
const MAX_ACCOUNTS: i32 = 100_000;

/// What may have something held against it: one balance of a customer's.
fn may_hold(locked: &LockedAccount) -> Result<(), Error> {
    let account = locked.id;
    if locked.internal {
        return Err(Error::InternalAccount { account });
    }
    if locked.slots > 0 {
        let why = "is slotted: nothing can be held against a balance that is spread".into();
        return Err(Error::BalanceMode { account, why });
    }
    Ok(())
}

pub fn place(desk: &Desk, new: &NewHold) -> Result<(), Error> {
    if new.to_account == Some(new.account) {
        return Err(Error::SameAccount { account: new.account });
    }
    bounded_texts(new.reference, new.description, new.metadata)?;
    let session = desk.session();
    // Every change of a hold locks its account first.
    let locked = accounts::lock_account(session, new.account)?;
    // A retry must hear of its success, whatever became of the account or the hold since.
    match store::is_same(session, new)? {
        Some(true) => return Ok(()),
        Some(false) => return Err(Error::IdConflict { transaction: new.id }),
        None => {}
    }
    may_hold(&locked)?;
    if locked.status != "active" {
        let status = Status::of(locked.status.as_bytes()).expect("a status of the domain").name();
        return Err(Error::AccountNotActive { account: new.account, status, role: Role::Sender });
    }
    if let Some(wanted) = new.currency.filter(|wanted| *wanted != locked.currency) {
        return Err(Error::CurrencyMismatch { wanted: wanted.into(), found: locked.currency });
    }
    let amount = in_currency(new.amount, locked.balance.scale(), &locked.currency)?;
    if new.expires_at.is_some_and(|at| at <= server::clock_micros()) {
        let why = "It is not in the future.".into();
        return Err(Error::ArgumentBounds { argument: "expires_at", why });
    }
    let reserved = open_reserve(session, new.account)?;
    let debitable = match normal_side(session, new.account)? {
        Side::Credit => locked.balance - reserved + locked.overdraft_limit,
        Side::Debit => locked.overdraft_limit - locked.balance - reserved,
    };
    if amount > debitable {
        return Err(Error::InsufficientFunds {
            account: new.account,
            available: debitable,
            requested: amount,
        });
    }
    let new = NewHold { amount, currency: Some(&locked.currency), ..*new };
    if !store::insert(session, &new, &desk.caller)? {
        // Another session placed it on another account.
        return Err(Error::IdConflict { transaction: new.id });
    }
    store::write_available(session, new.account, reserved + amount)
}

/// The posting that a capture asks for.
pub fn order<'a>(
    desk: &Desk,
    capture: Capture,
    amount: Option<Decimal>,
    to_account: Option<Uuid>,
    tail: &'a Tail,
) -> Result<Order<'a>, Error> {
    let session = desk.session();
    let from = store::account_of(session, capture.hold)?;
    let named = match to_account {
        Some(named) => Some(named),
        None => store::destination(session, capture.hold)?,
    };
    let (kind, to) = match named {
        Some(to) => (Kind::Transfer, to),
        None => (Kind::Payment, internal_account(session, from, "payments_clearing")?),
    };
    Ok(Order { capture: Some(capture), ..tail.order(kind, from, to, amount) })
}

/// All open holds of a group, each captured whole; all of them or none.
fn capture_all(
    desk: &Desk,
    group: Uuid,
    to_account: Option<Uuid>,
    tail: &Tail,
) -> Result<Vec<Posted>, Error> {
    let mut holds = store::of_group(desk.session(), group)?;
    loop {
        if holds.is_empty() {
            return Err(no_open_hold(group));
        }
        let whole = |(hold, ..): &(Uuid, Uuid, Option<Uuid>)| {
            order(desk, Capture { hold: *hold, is_final: true }, None, to_account, tail)
        };
        let orders = holds.iter().map(whole).collect::<Result<Vec<_>, _>>()?;
        let posted = all_or_first_refusal(post_all(desk, orders.into_iter().map(Ok).collect(), |_| true)?);
        if !matches!(posted, Err(Error::HoldNotOpen { .. })) {
            return posted;
        }
        // One was closed while its account was waited for, and so is none of the group any more. The accounts of the
        // others are held by now.
        let open = store::of_group(desk.session(), group)?;
        let before = holds.len();
        holds.retain(|(hold, ..)| open.iter().any(|(still, ..)| still == hold));
        if holds.len() == before {
            return posted;
        }
    }
}

fn no_open_hold(group: Uuid) -> Error {
    Error::HoldNotOpen { hold: group, why: "is no group with an open hold".into() }
}

/// Inside: why not, where it is not open.
fn release_if_open(desk: &Desk, hold: Uuid, reason: Option<&str>) -> Result<Result<(), Error>, Error> {
    let account = store::account_of(desk.session(), hold)?;
    accounts::lock_account(desk.session(), account)?;
    let hold: Hold = store::lock(desk.session(), hold)?;
    if let Err(closed) = hold.must_be_open() {
        return Ok(Err(closed));
    }
    store::close(desk.session(), hold.id, State::Released, reason)?;
    store::write_available(desk.session(), account, open_reserve(desk.session(), account)?).map(Ok)
}

fn release(desk: &Desk, hold: Uuid, reason: Option<&str>) -> Result<(), Error> {
    release_if_open(desk, hold, reason)?
}

/// Releases those that are open once their accounts are held: another session may have closed one meanwhile.
fn release_all(desk: &Desk, group: Uuid, reason: Option<&str>) -> Result<i64, Error> {
    let mut released = 0;
    for (hold, ..) in store::of_group(desk.session(), group)? {
        released += i64::from(release_if_open(desk, hold, reason)?.is_ok());
    }
    if released == 0 { Err(no_open_hold(group)) } else { Ok(released) }
}

fn expire(desk: &Desk, most: i32) -> Result<i64, Error> {
    let mut expired = 0;
    for account in store::with_expired(desk.session(), i64::from(most))? {
        accounts::lock_account(desk.session(), account)?;
        expired += store::expire(desk.session(), account)? as i64;
        store::write_available(desk.session(), account, open_reserve(desk.session(), account)?)?;
    }
    Ok(expired)
}

fn reason_given(reason: &Option<Text>) -> Result<Option<&str>, Error> {
    reason.as_deref().map(|reason| given_reason("reason", reason)).transpose()
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn place_hold(
    account: Option<pgrx::Uuid>,
    amount: Option<Numeric>,
    expires_at: default!(Option<Time>, "NULL"),
    to_account: default!(Option<pgrx::Uuid>, "NULL"),
    group_id: default!(Option<pgrx::Uuid>, "NULL"),
    currency: default!(Option<BpChar>, "NULL"),
    description: default!(Option<Text>, "NULL"),
    reference: default!(Option<Text>, "NULL"),
    metadata: default!(Option<JsonDatum>, "NULL"),
    hold_id: default!(Option<pgrx::Uuid>, "NULL"),
) -> pgrx::Uuid {
    let result = (|| {
        let new = NewHold {
            id: hold_id.map_or_else(Uuid::now_v7, id),
            account: id(required("account", account)?),
            to_account: to_account.map(id),
            group: group_id.map(id),
            expires_at: expires_at.map(|time| time.0),
            amount: self::amount("amount", amount)?,
            currency: currency.as_ref().map(|currency| currency.0.as_str()),
            reference: reference.as_deref(),
            description: description.as_deref(),
            metadata,
        };
        place(&Desk::open(), &new)?;
        Ok(new.id)
    })();
    drop((currency, description, reference));
    sql_id(finish(result))
}

#[pg_extern(
    schema = "txn_processing",
    volatile,
    parallel_unsafe,
    sql = r#"
CREATE FUNCTION txn_processing.capture_hold(
    hold uuid,
    amount numeric DEFAULT NULL,
    to_account uuid DEFAULT NULL,
    final boolean DEFAULT true,
    description text DEFAULT NULL,
    reference text DEFAULT NULL,
    metadata jsonb DEFAULT NULL,
    transaction_id uuid DEFAULT NULL
) RETURNS uuid VOLATILE PARALLEL UNSAFE LANGUAGE c AS 'MODULE_PATHNAME', 'capture_hold_wrapper';
"#
)]
#[allow(clippy::too_many_arguments)]
fn capture_hold(
    hold: Option<pgrx::Uuid>,
    amount: Option<Numeric>,
    to_account: Option<pgrx::Uuid>,
    is_final: Option<bool>,
    description: Option<Text>,
    reference: Option<Text>,
    metadata: Option<JsonDatum>,
    transaction_id: Option<pgrx::Uuid>,
) -> pgrx::Uuid {
    let tail = Tail { description, reference, metadata, transaction_id, ..Tail::default() };
    let result = (|| {
        let capture = Capture { hold: id(required("hold", hold)?), is_final: required("final", is_final)? };
        let amount = amount_if_given(amount)?;
        let desk = Desk::open();
        let order = order(&desk, capture, amount, to_account.map(id), &tail)?;
        post(&desk, &order)
    })();
    drop(tail);
    sql_id(finish(result).transaction_id)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn release_hold(hold: Option<pgrx::Uuid>, reason: default!(Option<Text>, "NULL")) {
    let result = (|| release(&Desk::open(), id(required("hold", hold)?), reason_given(&reason)?))();
    drop(reason);
    finish(result)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn capture_hold_group(
    group_id: Option<pgrx::Uuid>,
    to_account: default!(Option<pgrx::Uuid>, "NULL"),
    description: default!(Option<Text>, "NULL"),
    reference: default!(Option<Text>, "NULL"),
) -> SetOfIterator<'static, pgrx::Uuid> {
    let tail = Tail { description, reference, ..Tail::default() };
    let result = required("group_id", group_id)
        .and_then(|group| capture_all(&Desk::open(), id(group), to_account.map(id), &tail));
    drop(tail);
    let posted: Vec<_> = finish(result).iter().map(|posted| sql_id(posted.transaction_id)).collect();
    SetOfIterator::new(posted)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn release_hold_group(group_id: Option<pgrx::Uuid>, reason: default!(Option<Text>, "NULL")) -> i64 {
    let result =
        (|| release_all(&Desk::open(), id(required("group_id", group_id)?), reason_given(&reason)?))();
    drop(reason);
    finish(result)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn expire_holds(max_accounts: default!(Option<i32>, 10_000)) -> i64 {
    let result = required("max_accounts", max_accounts).and_then(|most| {
        if !(1..=MAX_ACCOUNTS).contains(&most) {
            let why = format!("It is {most}; a call looks at 1 to {MAX_ACCOUNTS} accounts.");
            return Err(Error::ArgumentBounds { argument: "max_accounts", why });
        }
        expire(&Desk::open(), most)
    });
    finish(result)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn set_hold_rule(account_type: Option<Text>, overcapture_percent: Option<Numeric>) {
    let result = (|| {
        let account_type = required("account_type", account_type.as_deref())?;
        let percent = finite(required("overcapture_percent", overcapture_percent)?)?;
        if percent.is_sign_negative() && !percent.is_zero() || percent > Decimal::ONE_THOUSAND {
            let why = format!("It is {percent}; it lies between 0 and 1000.");
            return Err(Error::ArgumentBounds { argument: "overcapture_percent", why });
        }
        let desk = Desk::open();
        accounts::known_type(desk.session(), account_type)?;
        store::set_rule(desk.session(), account_type, percent, &desk.caller)
    })();
    drop(account_type);
    finish(result)
}
