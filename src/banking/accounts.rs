//! Accounts: opening, status, limits, closing, and the optimistic update of the contract.

use super::core::{account_number, account_number_is_valid, status_may_change};
use super::store::{self, Change, LockedAccount, NewAccount};
use crate::error::Error;
use crate::neobank::access::check_execute;
use crate::pg::{BpChar, Numeric, Text, finish};
use crate::temporal::accounts::because;
use crate::txn_processing::bounds::given_reason;
use crate::txn_processing::engine::{Desk, Posted, post};
use crate::txn_processing::{
    Kind, MAX_AMOUNT, Tail, finite, id, in_currency, open_holds, post_adjustment, post_against, required,
    sql_id,
};
use pgrx::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

const MAX_ACCOUNT_NUMBER: usize = 50;
/// What the numbers of internal accounts begin with (store.rs makes them).
const INTERNAL_PREFIX: &str = "INTERNAL-";

/// The checked arguments of `open_account`.
struct Opening<'a> {
    customer: Uuid,
    account_type: &'a str,
    currency: &'a str,
    deposit: Decimal,
    limit: Decimal,
    number: Option<&'a str>,
    tenant: Option<Uuid>,
}

fn figure_from_zero(
    name: &'static str,
    value: Option<Numeric>,
    exponent: u32,
    currency: &str,
) -> Result<Decimal, Error> {
    figure_in_currency(name, finite(required(name, value)?)?, exponent, currency)
}

fn figure_in_currency(
    name: &'static str,
    figure: Decimal,
    exponent: u32,
    currency: &str,
) -> Result<Decimal, Error> {
    if figure.is_sign_negative() && !figure.is_zero() || figure > MAX_AMOUNT {
        return Err(Error::InvalidAmount {
            why: format!("The {name} is {figure}; it must lie between 0 and {MAX_AMOUNT}."),
        });
    }
    in_currency(figure, exponent, currency)
}

/// An overdraft limit, with as many decimals as the currency has.
pub fn limit_in_currency(limit: Decimal, exponent: u32, currency: &str) -> Result<Decimal, Error> {
    figure_in_currency("overdraft_limit", limit, exponent, currency)
}

pub fn checked_number(number: &str) -> Result<(), Error> {
    let why = if number.trim().is_empty() {
        "It is blank.".to_owned()
    } else if number.chars().count() > MAX_ACCOUNT_NUMBER {
        format!("It has more than {MAX_ACCOUNT_NUMBER} characters.")
    } else if number.starts_with(INTERNAL_PREFIX) {
        format!("Numbers that begin with {INTERNAL_PREFIX} are the bank's own.")
    } else {
        return Ok(());
    };
    Err(Error::AccountNumber { why })
}

fn open(desk: &Desk, opening: &Opening) -> Result<Uuid, Error> {
    let session = desk.session();
    let tenant_no = store::customer_tenant(session, opening.customer)?;
    if store::tenant_no(session, opening.tenant)? != tenant_no {
        return Err(Error::TenantMismatch {
            why: format!("Customer {} belongs to another tenant.", opening.customer),
        });
    }
    store::known_type(session, opening.account_type)?;
    let zero = in_currency(Decimal::ZERO, opening.limit.scale(), opening.currency)?;
    store::ensure_internals(session, tenant_no, opening.currency, zero)?;
    let account = Uuid::now_v7();
    let new = |number: &str| {
        store::insert_account(
            session,
            &NewAccount {
                id: account,
                customer: opening.customer,
                tenant_no,
                currency: opening.currency,
                zero,
                overdraft_limit: opening.limit,
                account_type: opening.account_type,
                number,
            },
        )
    };
    match opening.number {
        Some(number) if !new(number)? => {
            return Err(Error::AccountNumber { why: format!("Number {number:?} is taken.") });
        }
        Some(_) => {}
        // A generated number may have been given by hand before: the next one then.
        None => while !new(&account_number(store::next_serial(session)?))? {},
    }
    if !opening.deposit.is_zero() {
        let tail = Tail { description: Some("Opening deposit".into()), ..Tail::default() };
        post_against(desk, Kind::Deposit, account, opening.deposit, &tail)?;
    }
    Ok(account)
}

/// Sets a status and keeps the reason.
fn change_status(desk: &Desk, account: &LockedAccount, status: &str, reason: &str) -> Result<(), Error> {
    let _why = because(&desk.caller, reason);
    store::set_status(desk.session(), account.id, status)?;
    let change = Change { what: "status", old: &account.status, new: status, reason, by: &desk.caller };
    store::record_change(desk.session(), account.id, &change)
}

fn close(
    desk: &Desk,
    account: Uuid,
    sweep_to: Option<Uuid>,
    tenant: Option<Uuid>,
    reason: &str,
) -> Result<Option<Uuid>, Error> {
    if let Some(target) = sweep_to {
        store::lock_in_order(desk.session(), account, target)?;
    }
    let locked = store::lock_customer_account(desk.session(), account, tenant)?;
    if !matches!(locked.status.as_str(), "active" | "dormant") {
        return Err(Error::StatusChange { account, from: locked.status, to: "closed".into() });
    }
    if let Some(reserved) = open_holds(desk.session(), account)? {
        return Err(Error::HoldsOpen { account, reserved });
    }
    let _why = because(&desk.caller, reason);
    let mut swept = None;
    if !locked.balance.is_zero() {
        let not_empty = || Error::AccountNotEmpty { account, balance: locked.balance };
        let target = sweep_to.ok_or_else(not_empty)?;
        if locked.balance.is_sign_negative() {
            return Err(not_empty());
        }
        swept = Some(sweep(desk, &locked, target)?.transaction_id);
    }
    change_status(desk, &locked, "closed", reason)?;
    Ok(swept)
}

/// Moves the whole balance; a dormant account is woken for it, since it is closed in the same transaction.
fn sweep(desk: &Desk, account: &LockedAccount, target: Uuid) -> Result<Posted, Error> {
    if account.status == "dormant" {
        store::set_status(desk.session(), account.id, "active")?;
    }
    let tail = Tail { description: Some("Closing balance".into()), ..Tail::default() };
    post(desk, &tail.order(Kind::Transfer, account.id, target, Some(account.balance)))
}

fn set_status(account: Uuid, status: &str, reason: &str, tenant: Option<Uuid>) -> Result<(), Error> {
    given_reason("reason", reason)?;
    let desk = Desk::open();
    if status == "closed" {
        return close(&desk, account, None, tenant, reason).map(drop);
    }
    let locked = store::lock_customer_account(desk.session(), account, tenant)?;
    if !status_may_change(&locked.status, status) {
        return Err(Error::StatusChange { account, from: locked.status, to: status.to_owned() });
    }
    if locked.status == status {
        return Ok(());
    }
    change_status(&desk, &locked, status, reason)
}

fn set_limit(account: Uuid, limit: Option<Numeric>, reason: &str, tenant: Option<Uuid>) -> Result<(), Error> {
    given_reason("reason", reason)?;
    let desk = Desk::open();
    let locked = store::lock_customer_account(desk.session(), account, tenant)?;
    let exponent = locked.balance.scale();
    let limit = figure_from_zero("overdraft_limit", limit, exponent, &locked.currency)?;
    let why = because(&desk.caller, reason);
    store::set_limit(desk.session(), account, limit)?;
    drop(why);
    let change = Change {
        what: "overdraft_limit",
        old: &locked.overdraft_limit.to_string(),
        new: &limit.to_string(),
        reason,
        by: &desk.caller,
    };
    store::record_change(desk.session(), account, &change)
}

type OptimisticRow = (Option<bool>, Option<i32>, Option<String>);

/// Brings the balance to `wanted` by an adjustment, if the account is still at the version that the caller saw.
fn update_optimistic(account: Uuid, wanted: Decimal, expected: i32) -> Result<OptimisticRow, Error> {
    let desk = Desk::open();
    let locked = match store::lock_account(desk.session(), account) {
        Err(Error::AccountNotFound { .. }) => {
            return Ok((Some(false), None, Some("Account not found".into())));
        }
        other => other?,
    };
    let version = |version: i64| {
        i32::try_from(version).map_err(|_| Error::ArgumentBounds {
            argument: "p_expected_version",
            why: format!("The account is at version {version}, past what an integer holds."),
        })
    };
    if locked.internal {
        return Err(Error::InternalAccount { account });
    }
    if locked.slots > 0 {
        return Err(Error::BalanceMode {
            account,
            why: "is slotted: its postings go on side by side, and no version orders them".into(),
        });
    }
    let found = version(locked.version)?;
    if found != expected {
        let message = format!("Version mismatch - expected {expected} but found {found}");
        return Ok((Some(false), Some(found), Some(message)));
    }
    let change = in_currency(wanted, locked.balance.scale(), &locked.currency)? - locked.balance;
    if change.is_zero() {
        return Ok((Some(true), Some(found), None));
    }
    let tail = Tail { description: Some("Optimistic update".into()), ..Tail::default() };
    post_adjustment(&desk, account, change, &tail)?;
    Ok((Some(true), Some(version(locked.version + 1)?), None))
}

#[pg_extern(schema = "banking", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn open_account(
    customer_id: Option<pgrx::Uuid>,
    account_type: default!(Option<Text>, "'checking'"),
    currency: default!(Option<BpChar>, "'USD'"),
    opening_deposit: default!(Option<Numeric>, 0),
    overdraft_limit: default!(Option<Numeric>, 0),
    account_number: default!(Option<Text>, "NULL"),
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) -> pgrx::Uuid {
    let result = (|| {
        let customer = id(required("customer_id", customer_id)?);
        let account_type = required("account_type", account_type.as_deref())?;
        let currency = required("currency", currency.as_ref())?.0.as_str();
        account_number.as_deref().map_or(Ok(()), checked_number)?;
        let desk = Desk::open();
        let exponent = store::exponent(desk.session(), currency)?;
        let deposit = figure_from_zero("opening_deposit", opening_deposit, exponent, currency)?;
        let limit = figure_from_zero("overdraft_limit", overdraft_limit, exponent, currency)?;
        if !limit.is_zero() {
            check_execute(desk.session(), &desk.caller, "banking.set_overdraft_limit")?;
        }
        let number = account_number.as_deref();
        let tenant = tenant.map(id);
        open(&desk, &Opening { customer, account_type, currency, deposit, limit, number, tenant })
    })();
    drop((account_type, currency, account_number));
    sql_id(finish(result))
}

#[pg_extern(schema = "banking", volatile, parallel_unsafe)]
fn set_account_status(
    account_id: Option<pgrx::Uuid>,
    status: Option<Text>,
    reason: Option<Text>,
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) {
    let result = required("account_id", account_id).and_then(|account| {
        let status = required("status", status.as_deref())?;
        set_status(id(account), status, required("reason", reason.as_deref())?, tenant.map(id))
    });
    drop((status, reason));
    finish(result)
}

#[pg_extern(schema = "banking", volatile, parallel_unsafe)]
fn set_overdraft_limit(
    account_id: Option<pgrx::Uuid>,
    overdraft_limit: Option<Numeric>,
    reason: Option<Text>,
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) {
    let result = required("account_id", account_id).and_then(|account| {
        let reason = required("reason", reason.as_deref())?;
        set_limit(id(account), overdraft_limit, reason, tenant.map(id))
    });
    drop(reason);
    finish(result)
}

#[pg_extern(schema = "banking", volatile, parallel_unsafe)]
fn close_account(
    account_id: Option<pgrx::Uuid>,
    sweep_to: default!(Option<pgrx::Uuid>, "NULL"),
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) -> Option<pgrx::Uuid> {
    let result = required("account_id", account_id).and_then(|account| {
        close(&Desk::open(), id(account), sweep_to.map(id), tenant.map(id), "account closed")
    });
    finish(result).map(sql_id)
}

#[pg_extern(schema = "banking", volatile, parallel_unsafe)]
fn update_account_optimistic(
    p_account_id: Option<pgrx::Uuid>,
    p_new_balance: Option<Numeric>,
    p_expected_version: Option<i32>,
) -> TableIterator<
    'static,
    (name!(success, Option<bool>), name!(new_version, Option<i32>), name!(error_message, Option<String>)),
> {
    let result = required("p_account_id", p_account_id).and_then(|account| {
        let wanted = finite(required("p_new_balance", p_new_balance)?)?;
        if wanted.abs() > MAX_AMOUNT {
            return Err(Error::InvalidAmount { why: format!("The balance {wanted} is past {MAX_AMOUNT}.") });
        }
        update_optimistic(id(account), wanted, required("p_expected_version", p_expected_version)?)
    });
    TableIterator::once(finish(result))
}

#[pg_extern(schema = "banking", name = "account_number_is_valid", immutable, strict, parallel_safe)]
fn account_number_is_valid_sql(account_number: &str) -> bool {
    account_number_is_valid(account_number)
}
