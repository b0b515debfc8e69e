//! Rules of interest: setting them, and finding them by their number.

use super::core::{DayCount, Rule};
use crate::banking::store as banking;
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Session, Statement, Type};
use crate::txn_processing::calendar::iso;
use crate::txn_processing::engine::Desk;
use rust_decimal::Decimal;
use std::collections::HashMap;
use uuid::Uuid;

// No accrual is under way while a rule is set, so none can use the rules as they were before.
static LOCK_TO_SET: Statement =
    Statement::new(c"LOCK TABLE txn_processing.interest_rules IN SHARE ROW EXCLUSIVE MODE", &[]);

static LOCK_TO_USE: Statement =
    Statement::new(c"LOCK TABLE txn_processing.interest_rules IN SHARE MODE", &[]);

// The tenant's first rule stands for all: rules are never taken away.
static LOCK_TENANT: Statement = Statement::new(
    c"SELECT r.rule_id FROM txn_processing.interest_rules r
      WHERE r.tenant_no = $1 ORDER BY r.rule_id LIMIT 1 FOR UPDATE",
    &[Type::Int],
);

static ACCRUED_BY_TYPE: Statement = Statement::new(
    c"SELECT max(p.accrued_through) - $4
      FROM banking.accounts a
      JOIN txn_processing.interest_positions p ON p.account_id = a.account_id
      WHERE a.tenant_no = $1 AND a.account_type = $2 AND a.currency_code = $3 AND a.customer_id IS NOT NULL",
    &[Type::Int, Type::Text, Type::Text, Type::Date],
);

static ACCRUED_ACCOUNT: Statement = Statement::new(
    c"SELECT p.accrued_through - $2 FROM txn_processing.interest_positions p WHERE p.account_id = $1",
    &[Type::Uuid, Type::Date],
);

static ACCOUNT: Statement = Statement::new(
    c"SELECT a.tenant_no, a.currency_code, c.exponent::int, a.customer_id IS NULL
      FROM banking.accounts a JOIN banking.currencies c ON c.currency_code = a.currency_code
      WHERE a.account_id = $1",
    &[Type::Uuid],
);

static LATEST: Statement = Statement::new(
    c"SELECT r.rule_id FROM txn_processing.interest_rules r
      WHERE r.tenant_no = $1 AND r.account_type IS NOT DISTINCT FROM $2 AND r.account_id IS NOT DISTINCT FROM $3
        AND r.currency_code = $4 AND r.valid_from = $5
      ORDER BY r.rule_id DESC LIMIT 1",
    &[Type::Int, Type::Text, Type::Uuid, Type::Text, Type::Date],
);

static INSERT_RULE: Statement = Statement::new(
    c"INSERT INTO txn_processing.interest_rules
          (tenant_no, account_type, account_id, currency_code, valid_from, day_count, annual_percent, debit_percent,
           created_by)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
      RETURNING rule_id",
    &[
        Type::Int, Type::Text, Type::Uuid, Type::Text, Type::Date, Type::Text, Type::Numeric, Type::Numeric, Type::Text,
    ],
);

static INSERT_TIER: Statement = Statement::new(
    c"INSERT INTO txn_processing.interest_tiers (rule_id, from_balance, annual_percent) VALUES ($1, $2, $3)",
    &[Type::Int, Type::Numeric, Type::Numeric],
);

static RULE: Statement = Statement::new(
    c"SELECT r.day_count, r.annual_percent, r.debit_percent FROM txn_processing.interest_rules r WHERE r.rule_id = $1",
    &[Type::Int],
);

static TIERS: Statement = Statement::new(
    c"SELECT t.from_balance, t.annual_percent FROM txn_processing.interest_tiers t
      WHERE t.rule_id = $1 ORDER BY t.from_balance",
    &[Type::Int],
);

/// Whose rule it is.
#[derive(Clone, Copy)]
pub enum For<'a> {
    Type(&'a str, &'a str),
    Account(Uuid),
}

/// Lets one accrual or capitalisation of the tenant go on at a time. False: it has no rule, and no interest.
pub fn lock_tenant(session: &Session, tenant_no: i32) -> Result<bool, Error> {
    session.run(&LOCK_TO_USE, &[])?;
    Ok(session.one(&LOCK_TENANT, &[Arg::Int(Some(tenant_no))], |_| ())?.is_some())
}

/// Sets a rule from a day that is not accrued yet; nothing as the rule ends an account's own. Answers its number.
pub fn set(
    desk: &Desk,
    whose: For,
    rule: Option<Rule>,
    valid_from: i32,
    tenant: Option<Uuid>,
) -> Result<i32, Error> {
    let session = desk.session();
    let tenant_no = banking::tenant_no(session, tenant)?;
    let found;
    let (account_type, account, currency, exponent) = match whose {
        For::Type(account_type, currency) => {
            banking::known_type(session, account_type)?;
            (Some(account_type), None, currency, banking::exponent(session, currency)?)
        }
        For::Account(account) => {
            found = customers_account(session, account, tenant_no)?;
            (None, Some(account), found.0.as_str(), found.1)
        }
    };
    let rule = rule.map(|rule| rule.checked(exponent)).transpose()?;
    session.run(&LOCK_TO_SET, &[])?;
    let from = Arg::Date(Some(valid_from));
    let text = |text| Arg::Text(Some(text));
    let ahead = match whose {
        For::Type(account_type, currency) => {
            let args = [Arg::Int(Some(tenant_no)), text(account_type), text(currency), from];
            session.one(&ACCRUED_BY_TYPE, &args, |row| row.int(1))?
        }
        For::Account(account) => {
            session.one(&ACCRUED_ACCOUNT, &[Arg::Uuid(Some(account)), from], |row| row.int(1))?
        }
    };
    let key = [Arg::Int(Some(tenant_no)), Arg::Text(account_type), Arg::Uuid(account), text(currency), from];
    // A retry of what is set already, though days have been accrued by it.
    if let Some(latest) = session.one(&LATEST, &key, |row| row.int(1).expect(PRESENT))?
        && load(session, latest)? == rule
    {
        return Ok(latest);
    }
    if let Some(ahead) = ahead.flatten().filter(|ahead| *ahead >= 0) {
        return Err(Error::DayAccrued { from: iso(valid_from), through: iso(valid_from + ahead) });
    }
    insert(desk, &key, rule.as_ref())
}

/// Currency and decimals of a customer's account of the tenant.
pub fn customers_account(session: &Session, account: Uuid, tenant_no: i32) -> Result<(String, u32), Error> {
    let read = |row: &crate::pg::Row| {
        (row.int(1).expect(PRESENT), row.text(2).expect(PRESENT), row.int(3).expect(PRESENT), row.bool(4))
    };
    let row = session.one(&ACCOUNT, &[Arg::Uuid(Some(account))], read)?;
    let (its_tenant, currency, exponent, internal) = row.ok_or(Error::AccountNotFound { account })?;
    if its_tenant != tenant_no {
        let why = format!("Account {account} belongs to another tenant than the one named.");
        return Err(Error::TenantMismatch { why });
    }
    if internal == Some(true) {
        return Err(Error::InternalAccount { account });
    }
    Ok((currency, exponent.unsigned_abs()))
}

fn insert(desk: &Desk, key: &[Arg; 5], rule: Option<&Rule>) -> Result<i32, Error> {
    let mut args = key.to_vec();
    args.push(Arg::Text(rule.map(|rule| rule.day_count.name())));
    args.push(Arg::Numeric(rule.map(|rule| rule.percent)));
    args.push(Arg::Numeric(rule.map(|rule| rule.debit_percent)));
    args.push(Arg::Text(Some(&desk.caller)));
    let id = desk.session().one(&INSERT_RULE, &args, |row| row.int(1).expect(PRESENT))?;
    let id = id.expect("INSERT ... RETURNING gives the row");
    for (from, percent) in rule.iter().flat_map(|rule| &rule.tiers) {
        let args = [Arg::Int(Some(id)), Arg::Numeric(Some(*from)), Arg::Numeric(Some(*percent))];
        desk.session().run(&INSERT_TIER, &args)?;
    }
    Ok(id)
}

/// The rule of that number; nothing where it ends an account's own.
fn load(session: &Session, id: i32) -> Result<Option<Rule>, Error> {
    let read = |row: &crate::pg::Row| (row.text(1), row.numeric(2), row.numeric(3));
    let row = session.one(&RULE, &[Arg::Int(Some(id))], read)?;
    let (Some(day_count), Some(percent), Some(debit_percent)) = row.expect("a rule that was found") else {
        return Ok(None);
    };
    let tiers = session.run(&TIERS, &[Arg::Int(Some(id))])?;
    let figure = |row: &crate::pg::Row, at| row.numeric(at).map(|figure: Decimal| figure.normalize());
    let tier = |row: crate::pg::Row| (figure(&row, 1).expect(PRESENT), figure(&row, 2).expect(PRESENT));
    Ok(Some(Rule {
        day_count: DayCount::of(&day_count).expect("held by a CHECK"),
        percent,
        debit_percent,
        tiers: tiers.iter().map(tier).collect(),
    }))
}

/// Rules by their numbers, each read once per call.
#[derive(Default)]
pub struct Rules(HashMap<i32, Rule>);

impl Rules {
    pub fn get(&mut self, session: &Session, id: i32) -> Result<&Rule, Error> {
        Ok(match self.0.entry(id) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(load(session, id)?.expect("only a rule with a percentage is applied"))
            }
        })
    }
}
