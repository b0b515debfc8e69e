//! The ledger's rows through SQL: what postings read and write.

use super::account::{Account, Currency, Side};
use super::core::Effect;
use super::engine::Order;
use super::holds::Taken;
use crate::error::Error;
use crate::event_store::publish::Leg;
use crate::pg::spi::c_text;
use crate::pg::{Arg, JsonDatum, PRESENT, Row, Session, Statement, Tid, Type};
use rust_decimal::Decimal;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

// No join: without statistics one would begin at the bank's account and look for the other among all of the tenant's.
static INTERNAL: Statement = Statement::new(
    c"SELECT a.account_id,
             (SELECT i.account_id FROM banking.accounts i
              WHERE i.tenant_no = a.tenant_no AND i.currency_code = a.currency_code AND i.account_type = $2
                AND i.customer_id IS NULL)
      FROM banking.accounts a
      WHERE a.account_id = ANY ($1)",
    &[Type::UuidArray, Type::Text],
);

static TAKEN: Statement = Statement::new(
    c"SELECT DISTINCT m.transaction_id FROM txn_processing.movements m WHERE m.transaction_id = ANY ($1)",
    &[Type::UuidArray],
);

static NOTHING: Statement = Statement::new(
    c"SELECT pg_catalog.pg_logical_emit_message(true, 'neobank'::text, ''::text)
      WHERE NOT pg_catalog.pg_is_in_recovery()",
    &[],
);

static SIDE: Statement =
    Statement::new(c"SELECT normal_side FROM banking.accounts WHERE account_id = $1", &[Type::Uuid]);

/// The insert of a movement, with what keeps a taken id from being an error.
macro_rules! insert_movement {
    ($unless_taken:literal) => {{
        const SQL: &str = concat!(
            "INSERT INTO txn_processing.movements \
                 (transaction_id, debit_account, credit_account, debit_sequence, credit_sequence, created_at, \
                  tenant_no, transaction_type, leg, amount, debit_balance, credit_balance, currency_code, created_by, \
                  effective_at, reverses, reference, description, metadata) \
             SELECT $1, $2, $3, $4, $5, $6, $7, $8::txn_processing.txn_type, $19, $9, $10, $11, $12, $13, $14, $15, \
                    $16, $17, $18",
            $unless_taken,
            "\0"
        );
        Statement::new(
            c_text(SQL),
            &[
                Type::Uuid, Type::Uuid, Type::Uuid, Type::BigInt, Type::BigInt, Type::Timestamp, Type::Int,
                Type::Text, Type::Numeric, Type::Numeric, Type::Numeric, Type::Text, Type::Text, Type::Timestamp,
                Type::Uuid, Type::Text, Type::Text, Type::Jsonb, Type::Int,
            ],
        )
    }};
}

/// For an id drawn here, which nobody else has.
static INSERT: Statement = insert_movement!("");

/// For an id that the caller gave: a second session that brings it waits here for the first to end.
static INSERT_GIVEN_ID: Statement = insert_movement!(" ON CONFLICT (transaction_id, leg) DO NOTHING");

// By their place, which cannot change while they are locked; a table that inherits has rows at the same places.
static WRITE_ACCOUNT: Statement = Statement::new(
    c"UPDATE ONLY banking.accounts
      SET version = $2, updated_at = $3, current_balance = $4, available_balance = $5
      WHERE ctid = $1",
    &[Type::Tid, Type::BigInt, Type::Timestamp, Type::Numeric, Type::Numeric],
);

static WRITE_SLOT: Statement = Statement::new(
    c"UPDATE ONLY banking.account_slots SET sequence = $2, updated_at = $3, balance = $4 WHERE ctid = $1",
    &[Type::Tid, Type::BigInt, Type::Timestamp, Type::Numeric],
);

static RECORD_BACKDATED: Statement = Statement::new(
    c"INSERT INTO txn_processing.backdated_entries
          (account_id, effective_at, sequence, balance_change, recorded_at)
      VALUES ($2, $1, $3, $4, $8), ($5, $1, $6, $7, $8)",
    &[
        Type::Timestamp,
        Type::Uuid,
        Type::BigInt,
        Type::Numeric,
        Type::Uuid,
        Type::BigInt,
        Type::Numeric,
        Type::Timestamp,
    ],
);

static FIND: Statement = Statement::new(
    c"SELECT CASE WHEN m.debit_sequence < 1::bigint << 48 THEN m.debit_balance END,
             CASE WHEN m.credit_sequence < 1::bigint << 48 THEN m.credit_balance END,
             m.created_at,
             m.transaction_type = $2::txn_processing.txn_type
                 AND m.debit_account = $3 AND m.credit_account = $4
                 AND ($5 IS NULL OR m.amount = $5)
                 AND ($6 IS NULL OR m.currency_code = $6)
                 AND m.reference IS NOT DISTINCT FROM $7
                 AND m.description IS NOT DISTINCT FROM $8
                 AND m.metadata IS NOT DISTINCT FROM $9
                 AND m.effective_at IS NOT DISTINCT FROM $10
                 AND m.reverses IS NOT DISTINCT FROM $11
                 AND $13 IS NOT DISTINCT FROM (SELECT c.hold_id FROM txn_processing.hold_captures c
                                               WHERE c.transaction_id = m.transaction_id)
      FROM txn_processing.movements m
      WHERE m.transaction_id = $1 AND m.leg = $12",
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
        Type::Int,
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
             coalesce(sum(f.amount), 0),
             (SELECT coalesce(sum(d.final_amount), 0) FROM txn_processing.disputes d WHERE d.transaction_id = $1),
             (SELECT d.dispute_id FROM txn_processing.disputes d WHERE d.transaction_id = $1 AND d.state = 'open'),
             (SELECT p.dispute_id FROM txn_processing.dispute_postings p WHERE p.transaction_id = $1 LIMIT 1)
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
    pub tenant_no: i32,
    pub currency: Currency,
    pub effect: Effect,
    /// Of the debited and the credited account's balance.
    pub changes: [Decimal; 2],
    pub debit_sequence: i64,
    pub credit_sequence: i64,
    /// What it captures of a hold.
    pub taken: Option<Taken>,
}

impl Movement<'_> {
    /// What is published of it.
    pub fn as_event(&self) -> Leg<'_> {
        let Movement { order, effect, .. } = self;
        Leg {
            transaction: self.id,
            leg: order.leg,
            kind: order.kind.name(),
            accounts: [order.debit, order.credit],
            amount: effect.amount,
            changes: self.changes,
            sequences: [self.debit_sequence, self.credit_sequence],
            currency: self.currency.as_str(),
            tenant_no: self.tenant_no,
            reference: order.reference,
            description: order.description,
            reverses: order.reverses.map(|original| original.id),
            metadata: order.metadata.map(JsonDatum::to_text),
            effective_at: order.effective_at,
            created_at: self.created_at,
            created_by: self.created_by,
        }
    }
}

/// A transaction that stands in the ledger already.
pub struct Recorded {
    /// Nothing where the account was slotted.
    pub debit_balance: Option<Decimal>,
    pub credit_balance: Option<Decimal>,
    pub created_at: i64,
    pub same_content: bool,
}

/// One leg of a transaction that a refund or reversal is to give back.
pub struct Original {
    pub kind: String,
    pub debit: Uuid,
    pub credit: Uuid,
    pub amount: Decimal,
}

pub fn side(letter: Option<u8>) -> Side {
    if letter == Some(b'D') { Side::Debit } else { Side::Credit }
}

/// The bank's own account of that type, of the tenant and currency of `account`.
pub fn internal_account(session: &Session, account: Uuid, of_type: &str) -> Result<Uuid, Error> {
    let args = [Arg::UuidArray(&[account]), Arg::Text(Some(of_type))];
    let found = session.one(&INTERNAL, &args, |row| row.uuid(2))?;
    found.flatten().ok_or(Error::AccountNotFound { account })
}

/// The same for many accounts: each with the bank's; those that do not exist are left out.
pub fn internal_accounts(
    session: &Session,
    accounts: &[Uuid],
    of_type: &str,
) -> Result<HashMap<Uuid, Uuid>, Error> {
    let rows = session.run(&INTERNAL, &[Arg::UuidArray(accounts), Arg::Text(Some(of_type))])?;
    Ok(rows.iter().filter_map(|row| row.uuid(1).zip(row.uuid(2))).collect())
}

/// Which of the ids stand in the ledger.
pub fn taken(session: &Session, ids: &[Uuid]) -> Result<HashSet<Uuid>, Error> {
    let rows = session.run(&TAKEN, &[Arg::UuidArray(ids)])?;
    Ok(rows.iter().filter_map(|row| row.uuid(1)).collect())
}

/// The side on which an account's balance grows.
pub fn normal_side(session: &Session, id: Uuid) -> Result<Side, Error> {
    let row = session.run(&SIDE, &[Arg::Uuid(Some(id))])?.first();
    row.map(|row| side(row.letter(1))).ok_or(Error::AccountNotFound { account: id })
}

fn insert_with(session: &Session, statement: &Statement, movement: &Movement) -> Result<bool, Error> {
    let Movement { order, effect, .. } = movement;
    let rows = session.run(
        statement,
        &[
            Arg::Uuid(Some(movement.id)),
            Arg::Uuid(Some(order.debit)),
            Arg::Uuid(Some(order.credit)),
            Arg::BigInt(Some(movement.debit_sequence)),
            Arg::BigInt(Some(movement.credit_sequence)),
            Arg::Timestamp(Some(movement.created_at)),
            Arg::Int(Some(movement.tenant_no)),
            Arg::Text(Some(order.kind.name())),
            Arg::Numeric(Some(effect.amount)),
            Arg::Numeric(Some(effect.debit_balance)),
            Arg::Numeric(Some(effect.credit_balance)),
            Arg::Text(Some(movement.currency.as_str())),
            Arg::Text(Some(movement.created_by)),
            Arg::Timestamp(order.effective_at),
            Arg::Uuid(order.reverses.map(|original| original.id)),
            Arg::Text(order.reference),
            Arg::Text(order.description),
            Arg::Jsonb(order.metadata),
            Arg::Int(Some(i32::from(order.leg))),
        ],
    )?;
    Ok(rows.count() == 1)
}

/// Appends a movement with an id that nobody else has.
pub fn insert(session: &Session, movement: &Movement) -> Result<(), Error> {
    if insert_with(session, &INSERT, movement)? { Ok(()) } else { Err(Error::Suppressed) }
}

/// Appends a movement; false where its id is there already, and nothing is written then.
pub fn insert_unless_taken(session: &Session, movement: &Movement) -> Result<bool, Error> {
    insert_with(session, &INSERT_GIVEN_ID, movement)
}

/// Writes an account, or its slot, as it is after its postings.
pub fn write(session: &Session, account: &Account, tid: Tid) -> Result<(), Error> {
    let place = Arg::Tid(tid);
    let sequence = Arg::BigInt(Some(account.sequence));
    let updated_at = Arg::Timestamp(Some(account.updated_at));
    let balance = Arg::Numeric(Some(account.balance));
    let rows = if account.slotted {
        session.run(&WRITE_SLOT, &[place, sequence, updated_at, balance])?
    } else {
        let available = Arg::Numeric(Some(account.available));
        session.run(&WRITE_ACCOUNT, &[place, sequence, updated_at, balance, available])?
    };
    if rows.count() == 1 { Ok(()) } else { Err(Error::Suppressed) }
}

/// Keeps both sides of a backdated posting by their effective time.
pub fn record_backdated(session: &Session, effective_at: i64, movement: &Movement) -> Result<(), Error> {
    session.run(
        &RECORD_BACKDATED,
        &[
            Arg::Timestamp(Some(effective_at)),
            Arg::Uuid(Some(movement.order.debit)),
            Arg::BigInt(Some(movement.debit_sequence)),
            Arg::Numeric(Some(movement.changes[0])),
            Arg::Uuid(Some(movement.order.credit)),
            Arg::BigInt(Some(movement.credit_sequence)),
            Arg::Numeric(Some(movement.changes[1])),
            Arg::Timestamp(Some(movement.created_at)),
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
            Arg::Int(Some(i32::from(order.leg))),
            Arg::Uuid(order.capture.map(|capture| capture.hold)),
        ],
    )?;
    Ok(rows.first().and_then(|row| {
        Some(Recorded {
            debit_balance: row.numeric(1),
            credit_balance: row.numeric(2),
            created_at: row.time(3)?.0,
            same_content: row.bool(4)?,
        })
    }))
}

/// The legs of a transaction, in their order.
pub fn original(session: &Session, id: Uuid) -> Result<Vec<Original>, Error> {
    let rows = session.run(&ORIGINAL, &[Arg::Uuid(Some(id))])?;
    let leg = |row: Row| Original {
        kind: row.text(1).expect(PRESENT),
        debit: row.uuid(2).expect(PRESENT),
        credit: row.uuid(3).expect(PRESENT),
        amount: row.numeric(4).expect(PRESENT),
    };
    Ok(rows.iter().map(leg).collect())
}

/// What became of a transaction since.
pub struct Given {
    pub reversed: bool,
    pub refunded: Decimal,
    /// Left to the customer by disputes that are resolved.
    pub settled: Decimal,
    /// The dispute that is open.
    pub disputed: Option<Uuid>,
    /// The dispute of which the transaction is a posting.
    pub part_of: Option<Uuid>,
}

/// What of the transaction is given back. Call it under the locks of its accounts.
pub fn given_back(session: &Session, id: Uuid) -> Result<Given, Error> {
    let row = session.run(&GIVEN_BACK, &[Arg::Uuid(Some(id))])?.first();
    let row = row.expect("an aggregate without GROUP BY gives one row");
    let given = "neither EXISTS nor coalesce gives null";
    Ok(Given {
        reversed: row.bool(1).expect(given),
        refunded: row.numeric(2).expect(given),
        settled: row.numeric(3).expect(given),
        disputed: row.uuid(4),
        part_of: row.uuid(5),
    })
}

/// Before what an earlier call did is answered once more: the new answer is an acknowledgement too. That call's commit may
/// not have reached the standbys that commits wait for, because its own wait was interrupted or the server crashed in it,
/// and a transaction that has only read waits for nobody. One that has written to the log, if only an empty message, waits
/// until the standbys have all that stands before it. Not needed where a row has been locked, which writes to the log.
pub fn acknowledge_again(session: &Session) -> Result<(), Error> {
    session.run(&NOTHING, &[]).map(drop)
}
