//! Charging a fee on a posted transaction, or together with a transfer.

use super::store::{self, Charged, Fee};
use crate::error::Error;
use crate::guc;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Type, server};
use crate::txn_processing::batch::post_legs;
use crate::txn_processing::core::Kind;
use crate::txn_processing::engine::{Desk, Order, validate};
use crate::txn_processing::store::{internal_account, original};
use crate::txn_processing::strict::{Tail, id};
use rust_decimal::Decimal;
use uuid::Uuid;

static TRANSACTION: Statement = Statement::new(
    c"SELECT m.transaction_type::text, m.amount, coalesce(m.effective_at, m.created_at),
             CASE WHEN d.customer_id IS NOT NULL THEN d.account_id
                  WHEN c.customer_id IS NOT NULL THEN c.account_id END,
             EXISTS (SELECT FROM txn_processing.movements r
                     WHERE r.reverses = m.transaction_id AND r.transaction_type = 'reversal')
      FROM txn_processing.movements m
      JOIN banking.accounts d ON d.account_id = m.debit_account
      JOIN banking.accounts c ON c.account_id = m.credit_account
      WHERE m.transaction_id = $1 AND m.leg = 1",
    &[Type::Uuid],
);

/// On what fees are charged.
pub const KINDS: [Kind; 4] = [Kind::Deposit, Kind::Withdrawal, Kind::Transfer, Kind::Payment];

/// A transaction, and the account that pays for it: the customer's that is debited, else the one that is credited.
struct Chargeable {
    kind: Kind,
    amount: Decimal,
    at: i64,
    payer: Uuid,
}

fn chargeable(session: &Session, transaction: Uuid) -> Result<Chargeable, Error> {
    let refuse = |why: String| Error::NoFee { transaction, why };
    let read = |row: &Row| {
        let kind = row.text(1).expect(PRESENT);
        (kind, row.numeric(2).expect(PRESENT), row.time(3).expect(PRESENT).0, row.uuid(4), row.bool(5))
    };
    let found = session.one(&TRANSACTION, &[Arg::Uuid(Some(transaction))], read)?;
    let (kind, amount, at, payer, reversed) = found.ok_or_else(|| refuse("does not exist".into()))?;
    let chargeable = Kind::of(&kind).filter(|kind| KINDS.contains(kind));
    let kind = chargeable.ok_or_else(|| refuse(format!("is of type {kind}")))?;
    if reversed == Some(true) {
        return Err(refuse("is reversed".into()));
    }
    let payer = payer.ok_or_else(|| refuse("is between accounts of the bank's own".into()))?;
    Ok(Chargeable { kind, amount, at, payer })
}

pub fn description(fee: &Fee) -> String {
    format!("Fee {}", fee.code)
}

/// Debits the account by a fee.
pub fn order<'a>(account: Uuid, income: Uuid, amount: Decimal, description: &'a str) -> Order<'a> {
    Order { description: Some(description), ..Order::of(Kind::Fee, account, income, Some(amount)) }
}

/// Charges what the schedules say for a transaction, each code once. Answers all that is charged on it.
pub fn on_transaction(desk: &Desk, transaction: Uuid, code: Option<&str>) -> Result<Vec<Charged>, Error> {
    let session = desk.session();
    let before = store::charged(session, transaction, code)?;
    let found = match chargeable(session, transaction) {
        // A retry hears of what was charged before the transaction was reversed.
        Err(Error::NoFee { .. }) if !before.is_empty() => return Ok(before),
        found => found?,
    };
    let zone = guc::business_time_zone();
    let fees = store::due(session, found.kind.name(), found.payer, found.amount, found.at, &zone)?;
    let mut new: Vec<Charged> = Vec::new();
    for fee in fees {
        let known = before.iter().any(|charged| charged.fee.code == fee.code);
        if known || code.is_some_and(|code| code != fee.code) {
            continue;
        }
        let charge = Charged { fee, transaction: Uuid::now_v7(), leg: 1 };
        if store::claim(session, transaction, found.payer, &charge)? {
            new.push(charge);
        }
    }
    if !new.is_empty() {
        let income = internal_account(session, found.payer, "fee_income")?;
        let texts: Vec<String> = new.iter().map(|charge| description(&charge.fee)).collect();
        let legs = new.iter().zip(&texts).map(|(charge, text)| Order {
            transaction_id: Some(charge.transaction),
            ..order(found.payer, income, charge.fee.amount, text)
        });
        post_legs(desk, legs.collect())?;
    }
    store::charged(session, transaction, code)
}

/// What a transfer of that id has been charged, or is to be: decided once, so that a retry asks for the same.
fn fees_of(
    desk: &Desk,
    transaction: Uuid,
    given: bool,
    from: Uuid,
    amount: Decimal,
    at: i64,
) -> Result<Vec<Charged>, Error> {
    let session = desk.session();
    if given && !original(session, transaction)?.is_empty() {
        return store::charged(session, transaction, None);
    }
    let fees = store::due(session, Kind::Transfer.name(), from, amount, at, &guc::business_time_zone())?;
    let charges = (2..).zip(fees).map(|(leg, fee)| Charged { fee, transaction, leg });
    let charges: Vec<Charged> = charges.collect();
    for charge in &charges {
        if !store::claim(session, transaction, from, charge)? {
            // Another session brought the same id meanwhile, and has committed.
            return store::charged(session, transaction, None);
        }
    }
    Ok(charges)
}

/// A transfer and its fees as legs of one transaction. The fees are debited first, so the funds must be there for both.
pub fn transfer(desk: &Desk, from: Uuid, to: Uuid, amount: Decimal, tail: &Tail) -> Result<Uuid, Error> {
    let now = server::clock_micros();
    let given = tail.transaction_id.map(id);
    let transaction = given.unwrap_or_else(Uuid::now_v7);
    let transfer =
        Order { transaction_id: Some(transaction), ..tail.order(Kind::Transfer, from, to, Some(amount)) };
    if given.is_none() {
        validate(&transfer, now)?;
    }
    let at = transfer.effective_at.unwrap_or(now);
    let charges = fees_of(desk, transaction, given.is_some(), from, amount, at)?;
    let mut legs = Vec::with_capacity(charges.len() + 1);
    let texts: Vec<String> = charges.iter().map(|charge| description(&charge.fee)).collect();
    if !charges.is_empty() {
        let income = internal_account(desk.session(), from, "fee_income")?;
        legs.extend(charges.iter().zip(&texts).map(|(charge, text)| Order {
            leg: charge.leg,
            transaction_id: Some(transaction),
            effective_at: transfer.effective_at,
            currency: transfer.currency,
            ..order(from, income, charge.fee.amount, text)
        }));
    }
    legs.push(transfer);
    post_legs(desk, legs)?;
    Ok(transaction)
}
