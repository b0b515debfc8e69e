//! What a correction is to set: read out of its JSON and checked.

use super::core::Changes;
use super::store;
use crate::banking::store as accounts;
use crate::banking::{checked_number, limit_in_currency};
use crate::error::Error;
use crate::pg::jsonb::Item;
use crate::pg::{JsonDatum, Numeric, Session};
use crate::txn_processing::finite;
use rust_decimal::Decimal;
use uuid::Uuid;

const STATUSES: [&str; 4] = ["active", "dormant", "frozen", "closed"];
/// Longer texts are none of an account's.
const MAX_BYTES: usize = 4_096;

fn bad<T>(key: &str, why: impl Into<String>) -> Result<T, Error> {
    Err(Error::CorrectionInvalid { key: key.chars().take(100).collect(), why: why.into() })
}

fn text(key: &str, item: Item) -> Result<String, Error> {
    match item {
        Item::Text(text) => Ok(text.to_owned()),
        _ => bad(key, "It is not a text."),
    }
}

fn figure(key: &str, item: Item) -> Result<Decimal, Error> {
    match item {
        Item::Number(digits) => finite(Numeric(digits.decimal())),
        _ => bad(key, "It is not a number."),
    }
}

/// The changes as they are written.
pub fn read(changes: JsonDatum) -> Result<Changes, Error> {
    if changes.size() > MAX_BYTES {
        let why = format!("It has {} bytes; the most is {MAX_BYTES}.", changes.size());
        return Err(Error::ArgumentBounds { argument: "changes", why });
    }
    if !changes.is_object() {
        return Err(Error::ArgumentBounds { argument: "changes", why: "It must be a JSON object.".into() });
    }
    let mut read = Changes::default();
    for (key, item) in changes.container().pairs() {
        match key {
            "customer_id" => match Uuid::try_parse(&text(key, item)?) {
                Ok(customer) => read.customer = Some(customer),
                Err(_) => return bad(key, "It is not a uuid."),
            },
            "account_number" => read.number = Some(text(key, item)?),
            "account_type" => read.account_type = Some(text(key, item)?),
            "account_status" => {
                let status = text(key, item)?;
                if !STATUSES.contains(&status.as_str()) {
                    return bad(key, "Statuses are active, dormant, frozen and closed.");
                }
                read.status = Some(status);
            }
            "overdraft_limit" => read.overdraft_limit = Some(figure(key, item)?),
            _ => return bad(key, "No such attribute is recorded."),
        }
    }
    if read == Changes::default() {
        return bad("changes", "There are none.");
    }
    Ok(read)
}

/// The same against the account that they are for, in its currency.
pub fn checked(
    session: &Session,
    account: &accounts::LockedAccount,
    mut changes: Changes,
) -> Result<Changes, Error> {
    if let Some(customer) = changes.customer
        && accounts::customer_tenant(session, customer)? != account.tenant_no
    {
        let why = format!("Customer {customer} belongs to another tenant.");
        return Err(Error::TenantMismatch { why });
    }
    changes.number.as_deref().map_or(Ok(()), checked_number)?;
    if let Some(account_type) = &changes.account_type {
        accounts::known_type(session, account_type)?;
        if !store::has_side_of(session, account.id, account_type)? {
            return bad("account_type", "Its balances have the other sign.");
        }
    }
    if let Some(limit) = changes.overdraft_limit {
        changes.overdraft_limit = Some(limit_in_currency(limit, account.balance.scale(), &account.currency)?);
    }
    Ok(changes)
}
