//! The ledger's rows: the only place that reads for posting and writes accounts and movements.

use super::core::{Account, Effect, Side};
use super::engine::Order;
use crate::error::Error;
use crate::pg::spi::c_text;
use crate::pg::{Arg, Row, Session, Statement, Tid, Type};
use rust_decimal::Decimal;
use uuid::Uuid;

// The order of the rows is the order of the locks: ascending id, the same for every posting, so that no two wait
// for each other. Internal accounts' ids sort last, so a busy one is held for the shortest time.
static LOCK: Statement = Statement::new(
    c"SELECT account_id, tenant_no, currency_code, account_status, normal_side, current_balance,
             available_balance, overdraft_limit, version, updated_at, customer_id IS NULL, ctid
      FROM banking.accounts
      WHERE account_id = ANY (ARRAY[$1, $2])
      ORDER BY account_id
      FOR NO KEY UPDATE",
    &[Type::Uuid, Type::Uuid],
);

static INTERNAL: Statement = Statement::new(
    c"SELECT i.account_id
      FROM banking.accounts a
      JOIN banking.accounts i ON i.tenant_no = a.tenant_no AND i.currency_code = a.currency_code
                             AND i.customer_id IS NULL AND i.account_type = $2
      WHERE a.account_id = $1",
    &[Type::Uuid, Type::Text],
);

static GLANCE: Statement = Statement::new(
    c"SELECT normal_side, current_balance, version FROM banking.accounts WHERE account_id = $1",
    &[Type::Uuid],
);

/// The insert of a movement, with what keeps a taken id from being an error.
macro_rules! insert_movement {
    ($unless_taken:literal) => {{
        const SQL: &str = concat!(
            "INSERT INTO txn_processing.movements \
                 (transaction_id, debit_account, credit_account, debit_sequence, credit_sequence, created_at, \
                  tenant_no, transaction_type, leg, amount, debit_balance, credit_balance, currency_code, created_by, \
                  effective_at, reverses, reference, description, metadata) \
             SELECT $1, $2, $3, $4, $5, $6, $7, $8::txn_processing.txn_type, 1, $9, $10, $11, $12, $13, $14, $15, \
                    $16, $17, $18",
            $unless_taken,
            "\0"
        );
        Statement::new(
            c_text(SQL),
            &[
                Type::Uuid, Type::Uuid, Type::Uuid, Type::BigInt, Type::BigInt, Type::Timestamp, Type::Int,
                Type::Text, Type::Numeric, Type::Numeric, Type::Numeric, Type::Text, Type::Text, Type::Timestamp,
                Type::Uuid, Type::Text, Type::Text, Type::Jsonb,
            ],
        )
    }};
}

/// For an id drawn here, which nobody else has.
static INSERT: Statement = insert_movement!("");

/// For an id that the caller gave: a second session that brings it waits here for the first to end.
static INSERT_GIVEN_ID: Statement = insert_movement!(" ON CONFLICT (transaction_id, leg) DO NOTHING");

// Both rows in one go and by their place, which cannot change while they are locked.
static UPDATE_BALANCES: Statement = Statement::new(
    c"UPDATE banking.accounts
      SET current_balance = CASE account_id WHEN $3 THEN $5 ELSE $6 END,
          available_balance = CASE account_id WHEN $3 THEN $7 ELSE $8 END,
          version = version + 1,
          updated_at = $4
      WHERE ctid = ANY (ARRAY[$1, $2])",
    &[
        Type::Tid,
        Type::Tid,
        Type::Uuid,
        Type::Timestamp,
        Type::Numeric,
        Type::Numeric,
        Type::Numeric,
        Type::Numeric,
    ],
);

static RECORD_BACKDATED: Statement = Statement::new(
    c"INSERT INTO txn_processing.backdated_entries (account_id, effective_at, sequence, balance_change)
      VALUES ($2, $1, $3, $4), ($5, $1, $6, $7)",
    &[Type::Timestamp, Type::Uuid, Type::BigInt, Type::Numeric, Type::Uuid, Type::BigInt, Type::Numeric],
);

static FIND: Statement = Statement::new(
    c"SELECT m.debit_balance, m.credit_balance, m.created_at,
             m.transaction_type = $2::txn_processing.txn_type
                 AND m.debit_account = $3 AND m.credit_account = $4
                 AND ($5 IS NULL OR m.amount = $5)
                 AND ($6 IS NULL OR m.currency_code = $6)
                 AND m.reference IS NOT DISTINCT FROM $7
                 AND m.description IS NOT DISTINCT FROM $8
                 AND m.metadata IS NOT DISTINCT FROM $9
                 AND m.effective_at IS NOT DISTINCT FROM $10
                 AND m.reverses IS NOT DISTINCT FROM $11
      FROM txn_processing.movements m
      WHERE m.transaction_id = $1
      ORDER BY m.leg
      LIMIT 1",
    &[
        Type::Uuid,
        Type::Text,
        Type::Uuid,
        Type::Uuid,
        Type::Numeric,
        Type::Text,
        Type::Text,
        Type::Text,
        Type::Jsonb,
        Type::Timestamp,
        Type::Uuid,
    ],
);

static ORIGINAL: Statement = Statement::new(
    c"SELECT m.transaction_type::text, m.debit_account, m.credit_account, m.amount
      FROM txn_processing.movements m
      WHERE m.transaction_id = $1
      ORDER BY m.leg",
    &[Type::Uuid],
);

static GIVEN_BACK: Statement = Statement::new(
    c"SELECT EXISTS (SELECT FROM txn_processing.movements r
                     WHERE r.reverses = $1 AND r.transaction_type = 'reversal'),
             coalesce(sum(f.amount), 0)
      FROM txn_processing.movements f
      WHERE f.reverses = $1 AND f.transaction_type = 'refund'
        AND NOT EXISTS (SELECT FROM txn_processing.movements u
                        WHERE u.reverses = f.transaction_id AND u.transaction_type = 'reversal')",
    &[Type::Uuid],
);

/// A posting that was decided, as it is to be written.
pub struct Movement<'a> {
    pub order: &'a Order<'a>,
    pub id: Uuid,
    pub created_at: i64,
    pub created_by: &'a str,
    pub effect: Effect,
    pub debit: &'a Account,
    pub credit: &'a Account,
}

/// A transaction that stands in the ledger already.
pub struct Recorded {
    pub debit_balance: Decimal,
    pub credit_balance: Decimal,
    pub created_at: i64,
    pub same_content: bool,
}

/// A transaction that a refund or reversal is to give back.
pub struct Original {
    pub kind: String,
    pub debit: Uuid,
    pub credit: Uuid,
    pub amount: Decimal,
}

pub fn side(letter: Option<u8>) -> Side {
    if letter == Some(b'D') { Side::Debit } else { Side::Credit }
}

fn account(row: &Row) -> Option<Account> {
    Some(Account {
        id: row.uuid(1)?,
        tenant_no: row.int(2)?,
        currency: row.text(3)?,
        status: row.text(4)?,
        normal_side: side(row.letter(5)),
        balance: row.numeric(6)?,
        available: row.numeric(7)?,
        overdraft_limit: row.numeric(8)?,
        version: row.bigint(9)?,
        updated_at: row.time(10)?.0,
        internal: row.bool(11)?,
    })
}

/// An account and where its row is, which stays so while it is locked.
pub type Placed = (Account, Tid);

/// Locks both accounts until the transaction ends and reads them as they are then.
pub fn lock(session: &Session, debit: Uuid, credit: Uuid) -> Result<(Placed, Placed), Error> {
    let rows = session.run(&LOCK, &[Arg::Uuid(Some(debit)), Arg::Uuid(Some(credit))])?;
    let (mut debited, mut credited) = (None, None);
    for row in rows.iter() {
        let read = account(&row).zip(row.get(12));
        let (account, place) = read.expect("no column of an account that is read here is null");
        if account.id == debit {
            debited = Some((account, place));
        } else {
            credited = Some((account, place));
        }
    }
    let debited = debited.ok_or(Error::AccountNotFound { account: debit })?;
    Ok((debited, credited.ok_or(Error::AccountNotFound { account: credit })?))
}

/// The bank's own account of that type, of the tenant and currency of `account`.
pub fn internal_account(session: &Session, account: Uuid, of_type: &str) -> Result<Uuid, Error> {
    session
        .run(&INTERNAL, &[Arg::Uuid(Some(account)), Arg::Text(Some(of_type))])?
        .first()
        .and_then(|row| row.uuid(1))
        .ok_or(Error::AccountNotFound { account })
}

/// Normal side, balance and version of an account, without a lock.
pub fn glance(session: &Session, id: Uuid) -> Result<(Side, Decimal, i64), Error> {
    let row = session.run(&GLANCE, &[Arg::Uuid(Some(id))])?.first();
    let row = row.ok_or(Error::AccountNotFound { account: id })?;
    let figures = row.numeric(2).zip(row.bigint(3)).expect("not null by their declaration");
    Ok((side(row.letter(1)), figures.0, figures.1))
}

/// Appends the movement; false where its id is there already, and nothing is written then.
pub fn insert(session: &Session, movement: &Movement) -> Result<bool, Error> {
    let Movement { order, effect, debit, credit, .. } = movement;
    let statement = if order.transaction_id.is_some() { &INSERT_GIVEN_ID } else { &INSERT };
    let rows = session.run(
        statement,
        &[
            Arg::Uuid(Some(movement.id)),
            Arg::Uuid(Some(debit.id)),
            Arg::Uuid(Some(credit.id)),
            Arg::BigInt(Some(debit.version)),
            Arg::BigInt(Some(credit.version)),
            Arg::Timestamp(Some(movement.created_at)),
            Arg::Int(Some(debit.tenant_no)),
            Arg::Text(Some(order.kind.name())),
            Arg::Numeric(Some(effect.amount)),
            Arg::Numeric(Some(effect.debit_balance)),
            Arg::Numeric(Some(effect.credit_balance)),
            Arg::Text(Some(&debit.currency)),
            Arg::Text(Some(movement.created_by)),
            Arg::Timestamp(order.effective_at),
            Arg::Uuid(order.reverses.map(|original| original.id)),
            Arg::Text(order.reference),
            Arg::Text(order.description),
            Arg::Jsonb(order.metadata),
        ],
    )?;
    match rows.count() {
        0 if order.transaction_id.is_none() => Err(Error::Suppressed),
        count => Ok(count == 1),
    }
}

/// Writes the balances after a posting.
pub fn update_balances(
    session: &Session,
    (debit_place, credit_place): (Tid, Tid),
    movement: &Movement,
) -> Result<(), Error> {
    let Movement { effect, debit, credit, .. } = movement;
    let rows = session.run(
        &UPDATE_BALANCES,
        &[
            Arg::Tid(debit_place),
            Arg::Tid(credit_place),
            Arg::Uuid(Some(debit.id)),
            Arg::Timestamp(Some(movement.created_at)),
            Arg::Numeric(Some(effect.debit_balance)),
            Arg::Numeric(Some(effect.credit_balance)),
            Arg::Numeric(Some(debit.available_after(effect.debit_balance))),
            Arg::Numeric(Some(credit.available_after(effect.credit_balance))),
        ],
    )?;
    if rows.count() == 2 { Ok(()) } else { Err(Error::Suppressed) }
}

/// Keeps both sides of a backdated posting by their effective time.
pub fn record_backdated(session: &Session, effective_at: i64, movement: &Movement) -> Result<(), Error> {
    let Movement { effect, debit, credit, .. } = movement;
    session.run(
        &RECORD_BACKDATED,
        &[
            Arg::Timestamp(Some(effective_at)),
            Arg::Uuid(Some(debit.id)),
            Arg::BigInt(Some(debit.version)),
            Arg::Numeric(Some(effect.debit_balance - debit.balance)),
            Arg::Uuid(Some(credit.id)),
            Arg::BigInt(Some(credit.version)),
            Arg::Numeric(Some(effect.credit_balance - credit.balance)),
        ],
    )?;
    Ok(())
}

/// The transaction of that id, held against what is asked for now.
pub fn find(session: &Session, id: Uuid, order: &Order) -> Result<Option<Recorded>, Error> {
    let rows = session.run(
        &FIND,
        &[
            Arg::Uuid(Some(id)),
            Arg::Text(Some(order.kind.name())),
            Arg::Uuid(Some(order.debit)),
            Arg::Uuid(Some(order.credit)),
            Arg::Numeric(order.amount),
            Arg::Text(order.currency),
            Arg::Text(order.reference),
            Arg::Text(order.description),
            Arg::Jsonb(order.metadata),
            Arg::Timestamp(order.effective_at),
            Arg::Uuid(order.reverses.map(|original| original.id)),
        ],
    )?;
    Ok(rows.first().and_then(|row| {
        Some(Recorded {
            debit_balance: row.numeric(1)?,
            credit_balance: row.numeric(2)?,
            created_at: row.time(3)?.0,
            same_content: row.bool(4)?,
        })
    }))
}

pub fn original(session: &Session, id: Uuid) -> Result<Option<Original>, Error> {
    let row = session.run(&ORIGINAL, &[Arg::Uuid(Some(id))])?.first();
    Ok(row.and_then(|row| {
        Some(Original {
            kind: row.text(1)?,
            debit: row.uuid(2)?,
            credit: row.uuid(3)?,
            amount: row.numeric(4)?,
        })
    }))
}

/// Whether the transaction is reversed, and how much of it is refunded. Call it under the locks of its accounts.
pub fn given_back(session: &Session, id: Uuid) -> Result<(bool, Decimal), Error> {
    let row = session.run(&GIVEN_BACK, &[Arg::Uuid(Some(id))])?.first();
    let row = row.expect("an aggregate without GROUP BY gives one row");
    Ok(row.bool(1).zip(row.numeric(2)).expect("neither EXISTS nor coalesce gives null"))
}
