//! Rows of tenants, customers and accounts.

use crate::error::Error;
use crate::pg::{Arg, Session, Statement, Type};
use rust_decimal::Decimal;
use uuid::Uuid;

// FOR SHARE: neither may be deleted or re-keyed until the account that is about to use it is there to be seen.
static TENANT: Statement =
    Statement::new(c"SELECT tenant_no FROM banking.tenants WHERE tenant_id = $1 FOR SHARE", &[Type::Uuid]);

static INSERT_TENANT: Statement = Statement::new(
    c"INSERT INTO banking.tenants (name) VALUES ($1) ON CONFLICT DO NOTHING RETURNING tenant_id",
    &[Type::Text],
);

static CUSTOMER_TENANT: Statement = Statement::new(
    c"SELECT tenant_no FROM banking.customers WHERE customer_id = $1 FOR SHARE",
    &[Type::Uuid],
);

static CURRENCY: Statement = Statement::new(
    c"SELECT exponent::int FROM banking.currencies WHERE currency_code = $1::char(3) FOR SHARE",
    &[Type::Text],
);

static ACCOUNT_TYPE: Statement = Statement::new(
    c"SELECT normal_side FROM banking.account_types WHERE account_type = $1 AND NOT internal FOR SHARE",
    &[Type::Text],
);

// Ids that begin with ffffffff sort after every customer's, so a posting locks the busy internal account last.
// Their numbers begin as no customer's may, so the only conflict is a second session that makes the same accounts.
// Everybody's deposits meet on them, so they are slotted from the start.
static INSERT_INTERNALS: Statement = Statement::new(
    c"WITH made AS (
          INSERT INTO banking.accounts
              (account_id, created_at, updated_at, tenant_no, slots, normal_side, currency_code, account_type,
               account_number)
          SELECT overlay(gen_random_uuid()::text PLACING 'ffffffff' FROM 1)::uuid, clock_timestamp(),
                 clock_timestamp(), $1, 1, t.normal_side, $2, t.account_type,
                 'INTERNAL-' || upper(t.account_type) || '-' || $2
          FROM banking.account_types t
          WHERE t.internal
            AND NOT EXISTS (SELECT FROM banking.accounts a
                            WHERE a.tenant_no = $1 AND a.currency_code = $2 AND a.account_type = t.account_type
                              AND a.customer_id IS NULL)
          ORDER BY t.account_type
          ON CONFLICT DO NOTHING
          RETURNING account_id, updated_at)
      INSERT INTO banking.account_slots (account_id, sequence, updated_at, slot_no, balance)
      SELECT m.account_id, (1::bigint << 48) + 1, m.updated_at, 1, $3 FROM made m",
    &[Type::Int, Type::Text, Type::Numeric],
);

static NEXT_SERIAL: Statement = Statement::new(c"SELECT nextval('banking.account_number_seq')", &[]);

static INSERT_ACCOUNT: Statement = Statement::new(
    c"INSERT INTO banking.accounts
          (account_id, customer_id, created_at, updated_at, tenant_no, normal_side, currency_code, current_balance,
           available_balance, overdraft_limit, account_type, account_number)
      SELECT $1, $2, clock_timestamp(), clock_timestamp(), $3, t.normal_side, $4, $5, $5, $6, t.account_type, $8
      FROM banking.account_types t
      WHERE t.account_type = $7
      ON CONFLICT (tenant_no, account_number) DO NOTHING",
    &[
        Type::Uuid, Type::Uuid, Type::Int, Type::Text, Type::Numeric, Type::Numeric, Type::Text, Type::Text,
    ],
);

static LOCK_ACCOUNT: Statement = Statement::new(
    c"SELECT account_status, current_balance, overdraft_limit, version, tenant_no, customer_id IS NULL,
             currency_code, slots, updated_at
      FROM banking.accounts WHERE account_id = $1 FOR NO KEY UPDATE",
    &[Type::Uuid],
);

static LOCK_SLOTS: Statement = Statement::new(
    c"SELECT balance, updated_at FROM banking.account_slots
      WHERE account_id = $1 ORDER BY slot_no FOR NO KEY UPDATE",
    &[Type::Uuid],
);

// A posting that holds one of the slots takes what it reads of the account for final: so all of them change with it.
static TOUCH_SLOTS: Statement = Statement::new(
    c"UPDATE banking.account_slots SET updated_at = greatest(updated_at, clock_timestamp()) WHERE account_id = $1",
    &[Type::Uuid],
);

static SET_STATUS: Statement = Statement::new(
    c"UPDATE banking.accounts
      SET account_status = $2, updated_at = greatest(updated_at, clock_timestamp()),
          closed_at = CASE WHEN $2 = 'closed' THEN clock_timestamp() END
      WHERE account_id = $1",
    &[Type::Uuid, Type::Text],
);

static SET_LIMIT: Statement = Statement::new(
    c"UPDATE banking.accounts
      SET overdraft_limit = $2, updated_at = greatest(updated_at, clock_timestamp())
      WHERE account_id = $1",
    &[Type::Uuid, Type::Numeric],
);

static RECORD_CHANGE: Statement = Statement::new(
    c"INSERT INTO banking.account_status_changes
          (account_id, changed_at, change, old_value, new_value, reason, changed_by)
      VALUES ($1, clock_timestamp(), $2, $3, $4, $5, $6)",
    &[Type::Uuid, Type::Text, Type::Text, Type::Text, Type::Text, Type::Text],
);

/// An account as an operator's function sees it, locked.
pub struct LockedAccount {
    pub id: Uuid,
    pub status: String,
    pub balance: Decimal,
    pub overdraft_limit: Decimal,
    pub version: i64,
    pub tenant_no: i32,
    pub internal: bool,
    pub currency: String,
    /// 0: the balance is in the account's own row.
    pub slots: i16,
    /// The latest of the account's and its slots'.
    pub updated_at: i64,
}

/// A change of an account that keeps its reason.
pub struct Change<'a> {
    pub what: &'static str,
    pub old: &'a str,
    pub new: &'a str,
    pub reason: &'a str,
    pub by: &'a str,
}

/// The tenant's number; the bank itself where none is given.
pub fn tenant_no(session: &Session, tenant: Option<Uuid>) -> Result<i32, Error> {
    let Some(tenant) = tenant else { return Ok(0) };
    let row = session.run(&TENANT, &[Arg::Uuid(Some(tenant))])?.first();
    row.and_then(|row| row.int(1)).ok_or(Error::TenantNotFound { tenant })
}

/// The new tenant's id; nothing where the name is taken.
pub fn insert_tenant(session: &Session, name: &str) -> Result<Option<Uuid>, Error> {
    Ok(session.run(&INSERT_TENANT, &[Arg::Text(Some(name))])?.first().and_then(|row| row.uuid(1)))
}

pub fn customer_tenant(session: &Session, customer: Uuid) -> Result<i32, Error> {
    let row = session.run(&CUSTOMER_TENANT, &[Arg::Uuid(Some(customer))])?.first();
    row.and_then(|row| row.int(1)).ok_or(Error::CustomerNotFound { customer })
}

/// The number of decimals of a currency.
pub fn exponent(session: &Session, currency: &str) -> Result<u32, Error> {
    let row = session.run(&CURRENCY, &[Arg::Text(Some(currency))])?.first();
    row.and_then(|row| row.int(1))
        .map(i32::unsigned_abs)
        .ok_or_else(|| Error::CurrencyNotFound { currency: currency.to_owned() })
}

pub fn known_type(session: &Session, account_type: &str) -> Result<(), Error> {
    let rows = session.run(&ACCOUNT_TYPE, &[Arg::Text(Some(account_type))])?;
    let unknown = || Error::AccountTypeNotFound { account_type: account_type.to_owned() };
    rows.first().map(drop).ok_or_else(unknown)
}

/// Makes the bank's own accounts of a tenant and currency where they are missing.
pub fn ensure_internals(
    session: &Session,
    tenant_no: i32,
    currency: &str,
    zero: Decimal,
) -> Result<(), Error> {
    session.run(
        &INSERT_INTERNALS,
        &[Arg::Int(Some(tenant_no)), Arg::Text(Some(currency)), Arg::Numeric(Some(zero))],
    )?;
    Ok(())
}

pub fn next_serial(session: &Session) -> Result<i64, Error> {
    let row = session.run(&NEXT_SERIAL, &[])?.first();
    Ok(row.and_then(|row| row.bigint(1)).expect("nextval gives a number"))
}

/// What a new account is opened with.
pub struct NewAccount<'a> {
    pub id: Uuid,
    pub customer: Uuid,
    pub tenant_no: i32,
    pub currency: &'a str,
    pub zero: Decimal,
    pub overdraft_limit: Decimal,
    pub account_type: &'a str,
    pub number: &'a str,
}

/// False where the account number is taken.
pub fn insert_account(session: &Session, new: &NewAccount) -> Result<bool, Error> {
    let rows = session.run(
        &INSERT_ACCOUNT,
        &[
            Arg::Uuid(Some(new.id)),
            Arg::Uuid(Some(new.customer)),
            Arg::Int(Some(new.tenant_no)),
            Arg::Text(Some(new.currency)),
            Arg::Numeric(Some(new.zero)),
            Arg::Numeric(Some(new.overdraft_limit)),
            Arg::Text(Some(new.account_type)),
            Arg::Text(Some(new.number)),
        ],
    )?;
    Ok(rows.count() == 1)
}

/// Locks an account with all its slots.
pub fn lock_account(session: &Session, account: Uuid) -> Result<LockedAccount, Error> {
    let row = session.run(&LOCK_ACCOUNT, &[Arg::Uuid(Some(account))])?.first();
    let row = row.ok_or(Error::AccountNotFound { account })?;
    let present = "not null by its declaration";
    let slots: i16 = row.get(8).expect(present);
    let mut balance = row.numeric(2).unwrap_or_default();
    let mut updated_at = row.time(9).expect(present).0;
    if slots > 0 {
        let rows = session.run(&LOCK_SLOTS, &[Arg::Uuid(Some(account))])?;
        for slot in rows.iter() {
            balance += slot.numeric(1).expect(present);
            updated_at = updated_at.max(slot.time(2).expect(present).0);
        }
    }
    Ok(LockedAccount {
        id: account,
        status: row.text(1).expect(present),
        balance,
        overdraft_limit: row.numeric(3).expect(present),
        version: row.bigint(4).expect(present),
        tenant_no: row.int(5).expect(present),
        internal: row.bool(6).expect(present),
        currency: row.text(7).expect(present),
        slots,
        updated_at,
    })
}

/// Locks two accounts in the one order that all postings keep to. One that does not exist has nothing to lock.
pub fn lock_in_order(session: &Session, one: Uuid, other: Uuid) -> Result<(), Error> {
    for account in [one.min(other), one.max(other)] {
        match lock_account(session, account) {
            Ok(_) | Err(Error::AccountNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Locks an account of the tenant; the bank itself where none is given.
pub fn lock_tenants_account(
    session: &Session,
    account: Uuid,
    tenant: Option<Uuid>,
) -> Result<LockedAccount, Error> {
    let tenant_no = tenant_no(session, tenant)?;
    let locked = lock_account(session, account)?;
    if locked.tenant_no != tenant_no {
        return Err(Error::TenantMismatch {
            why: format!("Account {account} belongs to another tenant than the one named."),
        });
    }
    Ok(locked)
}

/// The same for a customer's account.
pub fn lock_customer_account(
    session: &Session,
    account: Uuid,
    tenant: Option<Uuid>,
) -> Result<LockedAccount, Error> {
    let locked = lock_tenants_account(session, account, tenant)?;
    if locked.internal {
        return Err(Error::InternalAccount { account });
    }
    Ok(locked)
}

/// Lets postings that read the account before they locked a slot know that it has changed.
fn touch_slots(session: &Session, account: Uuid) -> Result<(), Error> {
    session.run(&TOUCH_SLOTS, &[Arg::Uuid(Some(account))])?;
    Ok(())
}

pub fn set_status(session: &Session, account: Uuid, status: &str) -> Result<(), Error> {
    session.run(&SET_STATUS, &[Arg::Uuid(Some(account)), Arg::Text(Some(status))])?;
    touch_slots(session, account)
}

pub fn set_limit(session: &Session, account: Uuid, limit: Decimal) -> Result<(), Error> {
    session.run(&SET_LIMIT, &[Arg::Uuid(Some(account)), Arg::Numeric(Some(limit))])?;
    touch_slots(session, account)
}

pub fn record_change(session: &Session, account: Uuid, change: &Change) -> Result<(), Error> {
    session.run(
        &RECORD_CHANGE,
        &[
            Arg::Uuid(Some(account)),
            Arg::Text(Some(change.what)),
            Arg::Text(Some(change.old)),
            Arg::Text(Some(change.new)),
            Arg::Text(Some(change.reason)),
            Arg::Text(Some(change.by)),
        ],
    )?;
    Ok(())
}
