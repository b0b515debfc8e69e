//! Rows of batches and their items.

use super::core::Verdict;
use crate::error::Error;
use crate::pg::{Arg, JsonDatum, PRESENT, Row, Session, Statement, Type};
use rust_decimal::Decimal;
use uuid::Uuid;

static REQUESTED_BY: Statement = Statement::new(
    c"SELECT requested_by FROM txn_processing.payment_batches WHERE batch_id = $1",
    &[Type::Uuid],
);

// Retries and cancellations of one batch take turns.
static LOCK: Statement = Statement::new(
    c"SELECT FROM txn_processing.payment_batches WHERE batch_id = $1 FOR NO KEY UPDATE",
    &[Type::Uuid],
);

// What another session is posting is not waited for: so a claim never waits, whatever the session holds already.
static CLAIM: Statement = Statement::new(
    c"SELECT item_no, transaction_id, from_account, to_account, amount, currency_code, reference, description,
             CASE WHEN counterparty_bank IS NOT NULL THEN jsonb_build_object(
                 'counterparty_bank', counterparty_bank, 'counterparty_account', counterparty_account) END
      FROM txn_processing.payment_batch_items
      WHERE batch_id = $1 AND status = 'pending'
      ORDER BY item_no
      LIMIT $2
      FOR UPDATE SKIP LOCKED",
    &[Type::Uuid, Type::BigInt],
);

// Each row by its key: OFFSET 0 keeps the planner from reading the whole batch for every row of it, which it does while
// it has no statistics, as right after a large batch was handed in.
static CLOSE: Statement = Statement::new(
    c"UPDATE txn_processing.payment_batch_items i
      SET status = CASE WHEN v.code IS NULL THEN 'completed' ELSE 'failed' END, attempts = i.attempts + 1,
          last_attempt_at = clock_timestamp(), error_code = v.code, error_sqlstate = v.sqlstate,
          error_message = v.message, error_detail = v.detail
      FROM jsonb_to_recordset($2::jsonb)
          v(item_no integer, code text, sqlstate text, message text, detail text)
      CROSS JOIN LATERAL (
          SELECT p.ctid AS place FROM txn_processing.payment_batch_items p
          WHERE p.batch_id = $1 AND p.item_no = v.item_no
          OFFSET 0) p
      WHERE i.ctid = p.place",
    &[Type::Uuid, Type::Text],
);

static RECORD_CLEARING: Statement = Statement::new(
    c"INSERT INTO txn_processing.clearing_items
          (transaction_id, effective_at, tenant_no, leg, amount, currency_code, direction, counterparty_bank,
           counterparty_account)
      SELECT m.transaction_id, coalesce(m.effective_at, m.created_at), m.tenant_no, m.leg, m.amount, m.currency_code,
             'outgoing', i.counterparty_bank, i.counterparty_account
      FROM jsonb_to_recordset($2::jsonb) v(item_no integer, code text)
      CROSS JOIN LATERAL (
          SELECT p.transaction_id, p.counterparty_bank, p.counterparty_account
          FROM txn_processing.payment_batch_items p
          WHERE p.batch_id = $1 AND p.item_no = v.item_no AND p.counterparty_bank IS NOT NULL
          OFFSET 0) i
      CROSS JOIN LATERAL (
          SELECT p.* FROM txn_processing.movements p
          WHERE p.transaction_id = i.transaction_id AND p.leg = 1
          OFFSET 0) m
      WHERE v.code IS NULL
      ON CONFLICT (transaction_id, leg) DO NOTHING",
    &[Type::Uuid, Type::Text],
);

static MORE: Statement = Statement::new(
    c"SELECT FROM txn_processing.payment_batch_items WHERE batch_id = $1 AND status = 'pending' LIMIT 1",
    &[Type::Uuid],
);

static RETRY: Statement = Statement::new(
    c"UPDATE txn_processing.payment_batch_items SET status = 'pending' WHERE batch_id = $1 AND status = 'failed'",
    &[Type::Uuid],
);

// Items that another session is posting are waited for: then none of the batch is pending.
static CANCEL: Statement = Statement::new(
    c"UPDATE txn_processing.payment_batch_items SET status = 'cancelled' WHERE batch_id = $1 AND status = 'pending'",
    &[Type::Uuid],
);

/// An item that this session has claimed.
pub struct Item {
    pub no: i32,
    pub transaction_id: Uuid,
    pub from: Uuid,
    /// Nothing for a payment to another bank.
    pub to: Option<Uuid>,
    pub amount: Decimal,
    pub currency: String,
    pub reference: Option<String>,
    pub description: Option<String>,
    /// Names the other bank.
    pub metadata: Option<JsonDatum>,
}

impl Item {
    fn from_row(row: Row) -> Self {
        Item {
            no: row.int(1).expect(PRESENT),
            transaction_id: row.uuid(2).expect(PRESENT),
            from: row.uuid(3).expect(PRESENT),
            to: row.uuid(4),
            amount: row.numeric(5).expect(PRESENT),
            currency: row.text(6).expect(PRESENT),
            reference: row.text(7),
            description: row.text(8),
            metadata: row.json(9),
        }
    }
}

/// The role that handed the batch in.
pub fn requested_by(session: &Session, batch: Uuid) -> Result<String, Error> {
    let row = session.run(&REQUESTED_BY, &[Arg::Uuid(Some(batch))])?.first();
    row.and_then(|row| row.text(1)).ok_or(Error::BatchNotFound { batch })
}

/// The first pending items that no other session holds, locked.
pub fn claim(session: &Session, batch: Uuid, most: i64) -> Result<Vec<Item>, Error> {
    let rows = session.run(&CLAIM, &[Arg::Uuid(Some(batch)), Arg::BigInt(Some(most))])?;
    Ok(rows.iter().map(Item::from_row).collect())
}

/// Writes what became of the claimed items, and the clearing items of those that went to other banks.
pub fn close(session: &Session, batch: Uuid, verdicts: &[Verdict]) -> Result<(), Error> {
    let json = serde_json::to_string(verdicts).expect("numbers and texts have a JSON form");
    let args = [Arg::Uuid(Some(batch)), Arg::Text(Some(&json))];
    let written = session.run(&CLOSE, &args)?.count();
    if written != verdicts.len() {
        return Err(Error::Suppressed);
    }
    session.run(&RECORD_CLEARING, &args)?;
    Ok(())
}

/// Whether items are pending, here or in another session's hands.
pub fn has_pending(session: &Session, batch: Uuid) -> Result<bool, Error> {
    Ok(session.run(&MORE, &[Arg::Uuid(Some(batch))])?.count() > 0)
}

fn change(session: &Session, batch: Uuid, statement: &Statement) -> Result<i64, Error> {
    let id = [Arg::Uuid(Some(batch))];
    if session.run(&LOCK, &id)?.count() == 0 {
        return Err(Error::BatchNotFound { batch });
    }
    Ok(session.run(statement, &id)?.count() as i64)
}

/// Makes the failed items pending again; answers how many.
pub fn retry(session: &Session, batch: Uuid) -> Result<i64, Error> {
    change(session, batch, &RETRY)
}

/// Takes back what is pending; answers how many.
pub fn cancel(session: &Session, batch: Uuid) -> Result<i64, Error> {
    change(session, batch, &CANCEL)
}
