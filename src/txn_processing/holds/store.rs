//! Holds as rows.

use super::core::{Hold, State, Taken};
use crate::error::Error;
use crate::pg::{Arg, JsonDatum, PRESENT, Session, Statement, Type};
use rust_decimal::Decimal;
use uuid::Uuid;

// The one condition of what counts: open, and its time not over at this moment, which is later than now() where a lock
// was waited for.
static OPEN_RESERVE: Statement = Statement::new(
    c"SELECT sum(greatest(h.amount - h.captured, 0))
      FROM txn_processing.holds h
      WHERE h.account_id = $1 AND h.state = 'open' AND (h.expires_at IS NULL OR h.expires_at > clock_timestamp())",
    &[Type::Uuid],
);

static ACCOUNT_OF: Statement =
    Statement::new(c"SELECT h.account_id FROM txn_processing.holds h WHERE h.hold_id = $1", &[Type::Uuid]);

static LOCK: Statement = Statement::new(
    c"SELECT h.amount, h.captured,
             CASE WHEN h.state = 'open' AND h.expires_at <= clock_timestamp() THEN 'expired' ELSE h.state END,
             coalesce(r.overcapture_percent, 0)
      FROM txn_processing.holds h
      JOIN banking.accounts a ON a.account_id = h.account_id
      LEFT JOIN txn_processing.hold_rules r ON r.account_type = a.account_type
      WHERE h.hold_id = $1
      FOR NO KEY UPDATE OF h",
    &[Type::Uuid],
);

static INSERT: Statement = Statement::new(
    c"INSERT INTO txn_processing.holds
          (hold_id, account_id, to_account, group_id, expires_at, amount, currency_code, reference, description,
           metadata, placed_by)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
      ON CONFLICT (hold_id) DO NOTHING",
    &[
        Type::Uuid, Type::Uuid, Type::Uuid, Type::Uuid, Type::Timestamp, Type::Numeric, Type::Text, Type::Text,
        Type::Text, Type::Jsonb, Type::Text,
    ],
);

static IS_SAME: Statement = Statement::new(
    c"SELECT h.account_id = $2 AND h.to_account IS NOT DISTINCT FROM $3 AND h.group_id IS NOT DISTINCT FROM $4
             AND h.expires_at IS NOT DISTINCT FROM $5 AND h.amount = $6 AND ($7 IS NULL OR h.currency_code = $7)
             AND h.reference IS NOT DISTINCT FROM $8 AND h.description IS NOT DISTINCT FROM $9
             AND h.metadata IS NOT DISTINCT FROM $10
      FROM txn_processing.holds h WHERE h.hold_id = $1",
    &[
        Type::Uuid, Type::Uuid, Type::Uuid, Type::Uuid, Type::Timestamp, Type::Numeric, Type::Text, Type::Text,
        Type::Text, Type::Jsonb,
    ],
);

static CAPTURE: Statement = Statement::new(
    c"WITH taken AS (
          INSERT INTO txn_processing.hold_captures (hold_id, transaction_id, amount) VALUES ($1, $2, $3))
      UPDATE txn_processing.holds
      SET captured = $4, state = CASE WHEN $5 = 1 THEN 'captured' ELSE state END,
          closed_at = CASE WHEN $5 = 1 THEN clock_timestamp() END
      WHERE hold_id = $1",
    &[Type::Uuid, Type::Uuid, Type::Numeric, Type::Numeric, Type::Int],
);

static CLOSE: Statement = Statement::new(
    c"UPDATE txn_processing.holds
      SET state = $2, closed_at = clock_timestamp(), closing_reason = $3
      WHERE hold_id = $1",
    &[Type::Uuid, Type::Text, Type::Text],
);

static EXPIRE: Statement = Statement::new(
    c"UPDATE txn_processing.holds
      SET state = 'expired', closed_at = expires_at
      WHERE account_id = $1 AND state = 'open' AND expires_at <= clock_timestamp()",
    &[Type::Uuid],
);

static WITH_EXPIRED: Statement = Statement::new(
    c"SELECT DISTINCT d.account_id
      FROM (SELECT h.account_id FROM txn_processing.holds h
            WHERE h.state = 'open' AND h.expires_at <= clock_timestamp()
            ORDER BY h.expires_at LIMIT $1) d
      ORDER BY d.account_id",
    &[Type::BigInt],
);

static WRITE_AVAILABLE: Statement = Statement::new(
    c"UPDATE banking.accounts
      SET available_balance = CASE normal_side WHEN 'D' THEN current_balance + $2 ELSE current_balance - $2 END
      WHERE account_id = $1 AND slots = 0",
    &[Type::Uuid, Type::Numeric],
);

// What has expired is no part of the group any more, whether it is marked or not.
static OF_GROUP: Statement = Statement::new(
    c"SELECT h.hold_id, h.account_id, h.to_account FROM txn_processing.holds h
      WHERE h.group_id = $1 AND h.state = 'open' AND (h.expires_at IS NULL OR h.expires_at > clock_timestamp())
      ORDER BY h.account_id, h.hold_id",
    &[Type::Uuid],
);

static DESTINATION: Statement =
    Statement::new(c"SELECT h.to_account FROM txn_processing.holds h WHERE h.hold_id = $1", &[Type::Uuid]);

static SET_RULE: Statement = Statement::new(
    c"INSERT INTO txn_processing.hold_rules (account_type, overcapture_percent, set_by) VALUES ($1, $2, $3)
      ON CONFLICT (account_type) DO UPDATE SET overcapture_percent = $2, set_by = $3, set_at = clock_timestamp()",
    &[Type::Text, Type::Numeric, Type::Text],
);

/// What the account's open holds set aside at this moment; none where it has none. That may be nothing while one is
/// open: it was captured whole, and is kept open for more.
pub fn open_holds(session: &Session, account: Uuid) -> Result<Option<Decimal>, Error> {
    let sum = session.one(&OPEN_RESERVE, &[Arg::Uuid(Some(account))], |row| row.numeric(1))?;
    Ok(sum.expect("an aggregate without GROUP BY gives one row"))
}

pub fn open_reserve(session: &Session, account: Uuid) -> Result<Decimal, Error> {
    Ok(open_holds(session, account)?.unwrap_or_default())
}

fn unknown(hold: Uuid) -> Error {
    Error::HoldNotOpen { hold, why: "does not exist".into() }
}

/// The account of a hold, which never changes.
pub fn account_of(session: &Session, hold: Uuid) -> Result<Uuid, Error> {
    let row = session.run(&ACCOUNT_OF, &[Arg::Uuid(Some(hold))])?.first();
    row.and_then(|row| row.uuid(1)).ok_or_else(|| unknown(hold))
}

/// To whom a hold is captured where nobody is named.
pub fn destination(session: &Session, hold: Uuid) -> Result<Option<Uuid>, Error> {
    Ok(session.run(&DESTINATION, &[Arg::Uuid(Some(hold))])?.first().and_then(|row| row.uuid(1)))
}

/// Locks a hold; its account is locked already.
pub fn lock(session: &Session, hold: Uuid) -> Result<Hold, Error> {
    let found = session.one(&LOCK, &[Arg::Uuid(Some(hold))], |row| Hold {
        id: hold,
        amount: row.numeric(1).expect(PRESENT),
        captured: row.numeric(2).expect(PRESENT),
        state: row.text(3).and_then(|name| State::of(&name)).expect("a state of the CHECK"),
        overcapture_percent: row.numeric(4).expect(PRESENT),
    })?;
    found.ok_or_else(|| unknown(hold))
}

/// A hold as it is asked for.
pub struct NewHold<'a> {
    pub id: Uuid,
    pub account: Uuid,
    pub to_account: Option<Uuid>,
    pub group: Option<Uuid>,
    pub expires_at: Option<i64>,
    pub amount: Decimal,
    pub currency: Option<&'a str>,
    pub reference: Option<&'a str>,
    pub description: Option<&'a str>,
    pub metadata: Option<JsonDatum>,
}

impl NewHold<'_> {
    fn args(&self) -> [Arg<'_>; 10] {
        [
            Arg::Uuid(Some(self.id)),
            Arg::Uuid(Some(self.account)),
            Arg::Uuid(self.to_account),
            Arg::Uuid(self.group),
            Arg::Timestamp(self.expires_at),
            Arg::Numeric(Some(self.amount)),
            Arg::Text(self.currency),
            Arg::Text(self.reference),
            Arg::Text(self.description),
            Arg::Jsonb(self.metadata),
        ]
    }
}

/// False where the id is taken.
pub fn insert(session: &Session, new: &NewHold, placed_by: &str) -> Result<bool, Error> {
    let mut args = new.args().to_vec();
    args.push(Arg::Text(Some(placed_by)));
    Ok(session.run(&INSERT, &args)?.count() == 1)
}

/// Whether a hold of that id says the same; nothing where there is none.
pub fn is_same(session: &Session, new: &NewHold) -> Result<Option<bool>, Error> {
    Ok(session.run(&IS_SAME, &new.args())?.first().and_then(|row| row.bool(1)))
}

/// Keeps a capture with the posting that made it.
pub fn record(session: &Session, taken: &Taken, transaction: Uuid) -> Result<(), Error> {
    let args = [
        Arg::Uuid(Some(taken.hold)),
        Arg::Uuid(Some(transaction)),
        Arg::Numeric(Some(taken.amount)),
        Arg::Numeric(Some(taken.captured)),
        Arg::Int(Some(i32::from(taken.closes))),
    ];
    session.run(&CAPTURE, &args).map(drop)
}

pub fn close(session: &Session, hold: Uuid, state: State, reason: Option<&str>) -> Result<(), Error> {
    let args = [Arg::Uuid(Some(hold)), Arg::Text(Some(state.name())), Arg::Text(reason)];
    session.run(&CLOSE, &args).map(drop)
}

/// Closes the account's holds whose time is over; how many there were.
pub fn expire(session: &Session, account: Uuid) -> Result<usize, Error> {
    Ok(session.run(&EXPIRE, &[Arg::Uuid(Some(account))])?.count())
}

/// Accounts with holds whose time is over, ascending.
pub fn with_expired(session: &Session, most: i64) -> Result<Vec<Uuid>, Error> {
    Ok(session.run(&WITH_EXPIRED, &[Arg::BigInt(Some(most))])?.iter().filter_map(|row| row.uuid(1)).collect())
}

/// Writes what a locked account has available, given what is held against it.
pub fn write_available(session: &Session, account: Uuid, reserved: Decimal) -> Result<(), Error> {
    session.run(&WRITE_AVAILABLE, &[Arg::Uuid(Some(account)), Arg::Numeric(Some(reserved))]).map(drop)
}

/// The open holds of a group: hold, account, and to whom it is captured, by account.
pub fn of_group(session: &Session, group: Uuid) -> Result<Vec<(Uuid, Uuid, Option<Uuid>)>, Error> {
    let rows = session.run(&OF_GROUP, &[Arg::Uuid(Some(group))])?;
    Ok(rows.iter().filter_map(|row| Some((row.uuid(1)?, row.uuid(2)?, row.uuid(3)))).collect())
}

pub fn set_rule(session: &Session, account_type: &str, percent: Decimal, by: &str) -> Result<(), Error> {
    let args = [Arg::Text(Some(account_type)), Arg::Numeric(Some(percent)), Arg::Text(Some(by))];
    session.run(&SET_RULE, &args).map(drop)
}
