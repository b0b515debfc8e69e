//! Rows of disputes.

use super::core::{Contested, Policy};
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Type};
use rust_decimal::Decimal;
use uuid::Uuid;

static CONTESTED: Statement = Statement::new(
    c"SELECT m.transaction_type::text, (SELECT pg_catalog.count(*) FROM txn_processing.movements l
                                        WHERE l.transaction_id = $1),
             m.amount, m.currency_code, m.created_at, a.customer_id IS NOT NULL, m.debit_account, m.credit_account,
             m.tenant_no, c.customer_id IS NOT NULL,
             p.provisional_credit, p.charge_back, p.window_days, p.minimum_amount, p.maximum_amount
      FROM txn_processing.movements m
      JOIN banking.accounts a ON a.account_id = m.debit_account
      JOIN banking.accounts c ON c.account_id = m.credit_account
      LEFT JOIN LATERAL (SELECT * FROM txn_processing.dispute_policies p
                         WHERE p.account_type = a.account_type ORDER BY p.shipped LIMIT 1) p ON true
      WHERE m.transaction_id = $1
      ORDER BY m.leg
      LIMIT 1",
    &[Type::Uuid],
);

// Whoever gives back the transaction locks this account, or its first slot: so both meet here.
static LOCK_ACCOUNT: Statement =
    Statement::new(c"SELECT FROM banking.accounts WHERE account_id = $1 FOR NO KEY UPDATE", &[Type::Uuid]);

static LOCK_SLOTS: Statement = Statement::new(
    c"SELECT FROM banking.account_slots WHERE account_id = $1 ORDER BY slot_no FOR NO KEY UPDATE",
    &[Type::Uuid],
);

// One that goes by an older snapshot would not see the dispute: it must find the rows changed.
static TOUCH_ACCOUNT: Statement = Statement::new(
    c"UPDATE banking.accounts SET updated_at = greatest(updated_at, clock_timestamp()) WHERE account_id = $1",
    &[Type::Uuid],
);

static TOUCH_SLOTS: Statement = Statement::new(
    c"UPDATE banking.account_slots SET updated_at = greatest(updated_at, clock_timestamp()) WHERE account_id = $1",
    &[Type::Uuid],
);

static INSERT: Statement = Statement::new(
    c"INSERT INTO txn_processing.disputes
          (dispute_id, transaction_id, account_id, counterparty, tenant_no, currency_code, amount, asked_amount,
           provisional, charge_back, reason, opened_by)
      SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 = 1, $10 = 1, $11, $12
      ON CONFLICT (dispute_id) DO NOTHING",
    &[
        Type::Uuid,
        Type::Uuid,
        Type::Uuid,
        Type::Uuid,
        Type::Int,
        Type::Text,
        Type::Numeric,
        Type::Numeric,
        Type::Int,
        Type::Int,
        Type::Text,
        Type::Text,
    ],
);

macro_rules! find {
    ($lock:literal) => {{
        const SQL: &str = concat!(
            "SELECT d.dispute_id, d.transaction_id, d.account_id, d.counterparty, d.currency_code, d.amount, \
                    d.asked_amount, d.provisional, d.charge_back, d.state, d.final_amount, d.reason, d.note, \
                    (SELECT c.customer_id IS NOT NULL FROM banking.accounts c WHERE c.account_id = d.counterparty), \
                    (SELECT p.transaction_id FROM txn_processing.dispute_postings p \
                     WHERE p.dispute_id = d.dispute_id AND p.purpose <> 'provisional_credit' LIMIT 1) \
             FROM txn_processing.disputes d WHERE d.dispute_id = $1",
            $lock,
            "\0"
        );
        Statement::new(crate::pg::spi::c_text(SQL), &[Type::Uuid])
    }};
}

static FIND: Statement = find!("");
static FIND_AND_LOCK: Statement = find!(" FOR NO KEY UPDATE OF d");

static RESOLVE: Statement = Statement::new(
    c"UPDATE txn_processing.disputes
      SET state = $2, final_amount = $3, charge_back = $4 = 1, note = $5, resolved_by = $6,
          resolved_at = greatest(opened_at, clock_timestamp())
      WHERE dispute_id = $1",
    &[Type::Uuid, Type::Text, Type::Numeric, Type::Int, Type::Text, Type::Text],
);

static LINK: Statement = Statement::new(
    c"INSERT INTO txn_processing.dispute_postings (transaction_id, leg, dispute_id, purpose) VALUES ($1, $2, $3, $4)",
    &[Type::Uuid, Type::Int, Type::Uuid, Type::Text],
);

static SET_POLICY: Statement = Statement::new(
    c"INSERT INTO txn_processing.dispute_policies
          (account_type, provisional_credit, charge_back, window_days, minimum_amount, maximum_amount, changed_by)
      SELECT t.account_type, $2 = 1, $3 = 1, $4, $5, $6, $7
      FROM banking.account_types t WHERE t.account_type = $1 AND NOT t.internal
      ON CONFLICT (account_type, shipped) DO UPDATE
          SET provisional_credit = excluded.provisional_credit, charge_back = excluded.charge_back,
              window_days = excluded.window_days, minimum_amount = excluded.minimum_amount,
              maximum_amount = excluded.maximum_amount, changed_by = excluded.changed_by, changed_at = now()",
    &[Type::Text, Type::Int, Type::Int, Type::Int, Type::Numeric, Type::Numeric, Type::Text],
);

fn flag(value: bool) -> Arg<'static> {
    Arg::Int(Some(i32::from(value)))
}

/// A transaction that is to be disputed, with its accounts.
pub struct Transaction {
    pub contested: Contested,
    pub debit: Uuid,
    pub credit: Uuid,
    pub tenant_no: i32,
    pub credits_customer: bool,
}

pub fn transaction(session: &Session, id: Uuid) -> Result<Option<Transaction>, Error> {
    session.one(&CONTESTED, &[Arg::Uuid(Some(id))], |row| {
        let policy = row.bool(11).map(|provisional_credit| Policy {
            provisional_credit,
            charge_back: row.bool(12).expect(PRESENT),
            window_days: row.int(13).expect(PRESENT),
            minimum: row.numeric(14).expect(PRESENT),
            maximum: row.numeric(15),
        });
        Transaction {
            contested: Contested {
                kind: row.text(1).expect(PRESENT),
                legs: row.bigint(2).expect(PRESENT),
                amount: row.numeric(3).expect(PRESENT),
                currency: row.text(4).expect(PRESENT),
                created_at: row.time(5).expect(PRESENT).0,
                debits_customer: row.bool(6).expect(PRESENT),
                policy,
            },
            debit: row.uuid(7).expect(PRESENT),
            credit: row.uuid(8).expect(PRESENT),
            tenant_no: row.int(9).expect(PRESENT),
            credits_customer: row.bool(10).expect(PRESENT),
        }
    })
}

/// Keeps everybody from giving back what `account` was debited, until this transaction ends. `other`: a customer's
/// account that is posted to as well, which must be locked in its place in the order of all postings.
pub fn lock_accounts(session: &Session, account: Uuid, other: Option<Uuid>) -> Result<(), Error> {
    let run =
        |statement: &Statement, account: Uuid| session.run(statement, &[Arg::Uuid(Some(account))]).map(drop);
    let mut accounts = vec![account];
    accounts.extend(other);
    accounts.sort_unstable();
    for id in accounts {
        run(&LOCK_ACCOUNT, id)?;
        run(&LOCK_SLOTS, id)?;
    }
    run(&TOUCH_ACCOUNT, account)?;
    run(&TOUCH_SLOTS, account)
}

/// A dispute as it is stored.
pub struct Dispute {
    pub id: Uuid,
    pub transaction: Uuid,
    pub account: Uuid,
    pub counterparty: Uuid,
    pub currency: String,
    pub amount: Decimal,
    pub asked_amount: Option<Decimal>,
    pub provisional: bool,
    pub charge_back: bool,
    pub state: String,
    pub kept: Option<Decimal>,
    pub reason: String,
    pub note: Option<String>,
    pub counterparty_is_customer: bool,
    /// The transaction that resolved it, where money was moved.
    pub resolution: Option<Uuid>,
}

fn dispute(row: &Row) -> Dispute {
    Dispute {
        id: row.uuid(1).expect(PRESENT),
        transaction: row.uuid(2).expect(PRESENT),
        account: row.uuid(3).expect(PRESENT),
        counterparty: row.uuid(4).expect(PRESENT),
        currency: row.text(5).expect(PRESENT),
        amount: row.numeric(6).expect(PRESENT),
        asked_amount: row.numeric(7),
        provisional: row.bool(8).expect(PRESENT),
        charge_back: row.bool(9).expect(PRESENT),
        state: row.text(10).expect(PRESENT),
        kept: row.numeric(11),
        reason: row.text(12).expect(PRESENT),
        note: row.text(13),
        counterparty_is_customer: row.bool(14).unwrap_or(false),
        resolution: row.uuid(15),
    }
}

pub fn find(session: &Session, id: Uuid) -> Result<Option<Dispute>, Error> {
    session.one(&FIND, &[Arg::Uuid(Some(id))], dispute)
}

/// The same, and nobody else resolves it until this transaction ends. Read once more when it is locked: the statement that
/// waited for who resolved it sees the dispute as it is now, but not the postings that were made of it.
pub fn find_and_lock(session: &Session, id: Uuid) -> Result<Option<Dispute>, Error> {
    match session.one(&FIND_AND_LOCK, &[Arg::Uuid(Some(id))], dispute)? {
        Some(_) => find(session, id),
        None => Ok(None),
    }
}

/// False where the id is there already.
pub fn insert(session: &Session, dispute: &Dispute, tenant_no: i32, by: &str) -> Result<bool, Error> {
    let rows = session.run(
        &INSERT,
        &[
            Arg::Uuid(Some(dispute.id)),
            Arg::Uuid(Some(dispute.transaction)),
            Arg::Uuid(Some(dispute.account)),
            Arg::Uuid(Some(dispute.counterparty)),
            Arg::Int(Some(tenant_no)),
            Arg::Text(Some(&dispute.currency)),
            Arg::Numeric(Some(dispute.amount)),
            Arg::Numeric(dispute.asked_amount),
            flag(dispute.provisional),
            flag(dispute.charge_back),
            Arg::Text(Some(&dispute.reason)),
            Arg::Text(Some(by)),
        ],
    )?;
    Ok(rows.count() == 1)
}

/// How a dispute ended.
pub struct Ending<'a> {
    pub state: &'static str,
    pub kept: Decimal,
    pub charged_back: bool,
    pub note: Option<&'a str>,
    pub by: &'a str,
}

pub fn resolve(session: &Session, id: Uuid, ending: &Ending) -> Result<(), Error> {
    session.run(
        &RESOLVE,
        &[
            Arg::Uuid(Some(id)),
            Arg::Text(Some(ending.state)),
            Arg::Numeric(Some(ending.kept)),
            flag(ending.charged_back),
            Arg::Text(ending.note),
            Arg::Text(Some(ending.by)),
        ],
    )?;
    Ok(())
}

pub fn link(session: &Session, posting: Uuid, leg: i16, dispute: Uuid, purpose: &str) -> Result<(), Error> {
    let args = [
        Arg::Uuid(Some(posting)),
        Arg::Int(Some(i32::from(leg))),
        Arg::Uuid(Some(dispute)),
        Arg::Text(Some(purpose)),
    ];
    session.run(&LINK, &args)?;
    Ok(())
}

/// False where there is no such account type.
pub fn set_policy(session: &Session, account_type: &str, policy: &Policy, by: &str) -> Result<bool, Error> {
    let rows = session.run(
        &SET_POLICY,
        &[
            Arg::Text(Some(account_type)),
            flag(policy.provisional_credit),
            flag(policy.charge_back),
            Arg::Int(Some(policy.window_days)),
            Arg::Numeric(Some(policy.minimum)),
            Arg::Numeric(policy.maximum),
            Arg::Text(Some(by)),
        ],
    )?;
    Ok(rows.count() == 1)
}
