//! The rows of the queue: claims, outcomes, and requests that are made.

use super::super::core::Kind;
use super::super::strict::{Tail, finite};
use super::core::{Asked, Plan};
use crate::error::Error;
use crate::pg::plans::OrderedPlans;
use crate::pg::spi::c_text;
use crate::pg::{Arg, BpChar, JsonDatum, Numeric, PRESENT, Row, Session, Statement, Text, Type};
use uuid::Uuid;

/// A claim of the requests that `$which` selects as the relation `ready`. Until it is committed nobody else takes them,
/// for they are locked; nor does this transaction, for they have a token.
macro_rules! claim {
    ($which:literal, $types:expr) => {{
        const SQL: &str = concat!(
            "WITH ready AS (",
            $which,
            ") \
             UPDATE txn_processing.transaction_queue q SET claim_token = $1, claimed_by = $2 \
             FROM ready WHERE q.request_id = ready.request_id \
             RETURNING q.request_id, q.transaction_type::text, q.source_account_id, q.destination_account_id, \
                       q.amount, q.currency_code, q.request_data, q.expires_at <= clock_timestamp(), \
                       q.request_data ->> 'original_transaction_id', q.request_data ->> 'reason', \
                       q.request_data ->> 'description', q.requested_by, q.retry_count, q.max_retries, \
                       q.priority, q.created_at\0"
        );
        Statement::new(c_text(SQL), $types)
    }};
}

// The time is a parameter: a volatile function would not be asked in the index.
static CLAIM_READY: Statement = claim!(
    "SELECT r.request_id FROM txn_processing.transaction_queue r \
     WHERE r.status = 'queued' AND r.next_attempt_at <= $4 AND r.claim_token IS NULL \
     ORDER BY r.priority, r.created_at, r.request_id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED",
    &[Type::Uuid, Type::Text, Type::Int, Type::Timestamp]
);

static CLAIM_ONE: Statement = claim!("SELECT $3::uuid AS request_id", &[Type::Uuid, Type::Text, Type::Uuid]);

// Of one that this transaction has claimed already, nothing.
static LOOK: Statement = Statement::new(
    c"SELECT status FROM txn_processing.transaction_queue
      WHERE request_id = $1 AND (claim_token IS NULL OR status <> 'queued') FOR NO KEY UPDATE SKIP LOCKED",
    &[Type::Uuid],
);

// No condition but the key and the token, so that it goes by the key whatever the statistics say.
static FINISH: Statement = Statement::new(
    c"UPDATE txn_processing.transaction_queue q
      SET status = o.status, error_code = o.code, error_message = o.message, transaction_id = o.transaction_id,
          retry_count = q.retry_count + o.failures,
          next_attempt_at = coalesce(o.next_attempt_at, q.next_attempt_at),
          processed_at = CASE WHEN o.status <> 'queued' THEN clock_timestamp() END,
          claim_token = CASE WHEN o.status = 'completed' THEN q.claim_token END
      FROM unnest($2, $3, $4, $5, $6, $7, $8)
          AS o (request_id, status, code, message, transaction_id, failures, next_attempt_at)
      WHERE q.request_id = o.request_id AND q.claim_token = $1",
    &[
        Type::Uuid,
        Type::UuidArray,
        Type::TextArray,
        Type::TextArray,
        Type::TextArray,
        Type::UuidArray,
        Type::IntArray,
        Type::TimestampArray,
    ],
);

static RECORD: Statement = Statement::new(
    c"INSERT INTO txn_processing.transaction_queue_attempts
          (request_id, attempt, started_at, ended_at, outcome, code, sqlstate, message, detail, claim_token, worker)
      SELECT o.request_id,
             1 + coalesce((SELECT max(a.attempt) FROM txn_processing.transaction_queue_attempts a
                           WHERE a.request_id = o.request_id), 0),
             o.started_at, o.ended_at, CASE o.status WHEN 'queued' THEN 'retry' ELSE o.status END,
             coalesce(o.code, 'ok'), o.sqlstate, o.message, o.detail, $1, $2
      FROM unnest($3, $4, $5, $6, $7, $8, $9, $10)
          AS o (request_id, status, code, sqlstate, message, detail, started_at, ended_at)",
    &[
        Type::Uuid,
        Type::Text,
        Type::UuidArray,
        Type::TextArray,
        Type::TextArray,
        Type::TextArray,
        Type::TextArray,
        Type::TextArray,
        Type::TimestampArray,
        Type::TimestampArray,
    ],
);

// Of accounts that have their balance in their own row, those that nobody else has locked.
static FREE: Statement = Statement::new(
    c"SELECT a.account_id FROM banking.accounts a
      WHERE a.account_id = ANY ($1) AND a.slots = 0 FOR NO KEY UPDATE SKIP LOCKED",
    &[Type::UuidArray],
);

static IN_ONE_ROW: Statement = Statement::new(
    c"SELECT a.account_id FROM banking.accounts a WHERE a.account_id = ANY ($1) AND a.slots = 0",
    &[Type::UuidArray],
);

static ADD: Statement = Statement::new(
    c"INSERT INTO txn_processing.transaction_queue
          (transaction_type, source_account_id, destination_account_id, amount, currency_code, idempotency_key,
           priority, request_data, max_retries, expires_at, requested_by, created_at, next_attempt_at)
      SELECT $1::txn_processing.txn_type, $2, $3, $4, $5, $6, $7, coalesce($8, '{}'), $9, $10, $11, t.now, t.now
      FROM (SELECT clock_timestamp() AS now) t
      ON CONFLICT (idempotency_key) DO NOTHING
      RETURNING request_id",
    &[
        Type::Text,
        Type::Uuid,
        Type::Uuid,
        Type::Numeric,
        Type::Text,
        Type::Text,
        Type::Int,
        Type::Jsonb,
        Type::Int,
        Type::Timestamp,
        Type::Text,
    ],
);

static FIND_KEY: Statement = Statement::new(
    c"SELECT request_id,
             transaction_type = $2::txn_processing.txn_type
                 AND source_account_id IS NOT DISTINCT FROM $3 AND destination_account_id IS NOT DISTINCT FROM $4
                 AND amount = $5 AND currency_code IS NOT DISTINCT FROM $6
                 AND request_data = coalesce($7, '{}') AND requested_by = $8
      FROM txn_processing.transaction_queue WHERE idempotency_key = $1",
    &[
        Type::Text,
        Type::Text,
        Type::Uuid,
        Type::Uuid,
        Type::Numeric,
        Type::Text,
        Type::Jsonb,
        Type::Text,
    ],
);

/// A claimed row of the queue.
pub struct Request {
    pub id: Uuid,
    pub kind: Kind,
    source: Option<Uuid>,
    destination: Option<Uuid>,
    amount: Numeric,
    original: Option<String>,
    reason: Option<String>,
    pub expired: bool,
    pub requested_by: String,
    /// Attempts that failed before.
    pub failures: i32,
    pub max_retries: i32,
    /// What its posting is given: the reason is the description of what has one.
    pub tail: Tail,
    place: (i32, i64, Uuid),
}

impl Request {
    fn from_row(row: &Row) -> Self {
        let id = row.uuid(1).expect(PRESENT);
        let kind = Kind::of(&row.text(2).expect(PRESENT)).expect("a label of the enum");
        let data: JsonDatum = row.json(7).expect(PRESENT);
        let reason = row.text(10);
        let has_reason = matches!(kind, Kind::Reversal | Kind::Adjustment);
        let description = if has_reason { reason.clone() } else { row.text(11) };
        Request {
            id,
            kind,
            source: row.uuid(3),
            destination: row.uuid(4),
            amount: row.get(5).expect(PRESENT),
            original: row.text(9),
            reason,
            expired: row.bool(8).unwrap_or(false),
            requested_by: row.text(12).expect(PRESENT),
            failures: row.int(13).expect(PRESENT),
            max_retries: row.int(14).expect(PRESENT),
            tail: Tail {
                currency: row.text(6).map(BpChar),
                description: description.map(Text),
                metadata: (!data.is_empty()).then_some(data),
                ..Tail::default()
            },
            place: (row.int(15).expect(PRESENT), row.time(16).expect(PRESENT).0, id),
        }
    }

    pub fn plan(&self) -> Result<Plan, Error> {
        Asked {
            kind: self.kind,
            source: self.source,
            destination: self.destination,
            amount: finite(self.amount)?,
            original: self.original.as_deref(),
            reason: self.reason.as_deref(),
        }
        .plan()
    }
}

/// Who claims, and the token of this claim.
pub struct Claim {
    pub token: Uuid,
    /// Role and process.
    pub worker: String,
}

impl Claim {
    fn requests(
        &self,
        session: &Session,
        statement: &Statement,
        which: &[Arg],
    ) -> Result<Vec<Request>, Error> {
        let _plans = OrderedPlans::prefer();
        let args = [&[Arg::Uuid(Some(self.token)), Arg::Text(Some(&self.worker))], which].concat();
        let rows = session.run(statement, &args)?;
        let mut requests: Vec<Request> = rows.iter().map(|row| Request::from_row(&row)).collect();
        requests.sort_unstable_by_key(|request| request.place);
        Ok(requests)
    }

    /// Up to `most` requests that are due `now` and that nobody else has, in the order of priority and age.
    pub fn ready(&self, session: &Session, most: i32, now: i64) -> Result<Vec<Request>, Error> {
        self.requests(session, &CLAIM_READY, &[Arg::Int(Some(most)), Arg::Timestamp(Some(now))])
    }

    /// One that [`status`] has locked.
    pub fn one(&self, session: &Session, id: Uuid) -> Result<Request, Error> {
        let requests = self.requests(session, &CLAIM_ONE, &[Arg::Uuid(Some(id))])?;
        requests.into_iter().next().ok_or(Error::ClaimLost)
    }
}

/// Locks a request and tells its status; nothing where there is none, or somebody is at it.
pub fn status(session: &Session, id: Uuid) -> Result<Option<String>, Error> {
    let row = session.run(&LOOK, &[Arg::Uuid(Some(id))])?.first();
    Ok(row.map(|row| row.text(1).expect(PRESENT)))
}

/// What became of a request in this attempt.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// `queued`: it is tried again.
    pub status: &'static str,
    /// The word of what went wrong.
    pub code: Option<&'static str>,
    pub sqlstate: Option<String>,
    pub message: Option<String>,
    pub detail: Option<String>,
    pub transaction_id: Option<Uuid>,
    pub next_attempt_at: Option<i64>,
    pub started_at: i64,
    pub ended_at: i64,
}

/// Writes what became of claimed requests, if they still carry the token of the claim.
pub fn finish(session: &Session, claim: &Claim, done: &[(Uuid, &Verdict)]) -> Result<(), Error> {
    fn column<'v, T>(done: &[(Uuid, &'v Verdict)], of: impl Fn(&'v Verdict) -> T) -> Vec<T> {
        done.iter().map(|(_, verdict)| of(verdict)).collect()
    }
    let ids: Vec<Uuid> = done.iter().map(|(id, _)| *id).collect();
    let statuses = column(done, |verdict| Some(verdict.status));
    let codes = column(done, |verdict| verdict.code);
    let messages = column(done, |verdict| verdict.message.as_deref());
    let token = Arg::Uuid(Some(claim.token));
    let rows = session.run(
        &FINISH,
        &[
            token,
            Arg::UuidArray(&ids),
            Arg::TextArray(&statuses),
            Arg::TextArray(&codes),
            Arg::TextArray(&messages),
            Arg::UuidOptions(&column(done, |verdict| verdict.transaction_id)),
            // An expired request has not failed, it was not tried.
            Arg::IntArray(&column(done, |verdict| i32::from(verdict.sqlstate.is_some()))),
            Arg::TimestampArray(&column(done, |verdict| verdict.next_attempt_at)),
        ],
    )?;
    if rows.count() != done.len() {
        return Err(Error::ClaimLost);
    }
    session.run(
        &RECORD,
        &[
            token,
            Arg::Text(Some(&claim.worker)),
            Arg::UuidArray(&ids),
            Arg::TextArray(&statuses),
            Arg::TextArray(&codes),
            Arg::TextArray(&column(done, |verdict| verdict.sqlstate.as_deref())),
            Arg::TextArray(&messages),
            Arg::TextArray(&column(done, |verdict| verdict.detail.as_deref())),
            Arg::TimestampArray(&column(done, |verdict| Some(verdict.started_at))),
            Arg::TimestampArray(&column(done, |verdict| Some(verdict.ended_at))),
        ],
    )?;
    Ok(())
}

/// Of these accounts, those whose own row another session has locked. Locks the others: to be undone.
pub fn held_by_others(session: &Session, accounts: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    let ids = |statement| -> Result<Vec<Uuid>, Error> {
        let rows = session.run(statement, &[Arg::UuidArray(accounts)])?;
        Ok(rows.iter().filter_map(|row| row.uuid(1)).collect())
    };
    let free: std::collections::HashSet<Uuid> = ids(&FREE)?.into_iter().collect();
    Ok(ids(&IN_ONE_ROW)?.into_iter().filter(|account| !free.contains(account)).collect())
}

/// A request as `enqueue` makes it.
pub struct NewRequest<'a> {
    pub asked: Asked<'a>,
    pub currency: Option<&'a str>,
    pub key: Option<&'a str>,
    pub priority: i32,
    pub data: Option<JsonDatum>,
    pub max_retries: i32,
    pub expires_at: Option<i64>,
    pub requested_by: &'a str,
}

/// Adds a request; nothing where its key is there already.
pub fn add(session: &Session, new: &NewRequest) -> Result<Option<Uuid>, Error> {
    session.one(
        &ADD,
        &[
            Arg::Text(Some(new.asked.kind.name())),
            Arg::Uuid(new.asked.source),
            Arg::Uuid(new.asked.destination),
            Arg::Numeric(Some(new.asked.amount)),
            Arg::Text(new.currency),
            Arg::Text(new.key),
            Arg::Int(Some(new.priority)),
            Arg::Jsonb(new.data),
            Arg::Int(Some(new.max_retries)),
            Arg::Timestamp(new.expires_at),
            Arg::Text(Some(new.requested_by)),
        ],
        |row| row.uuid(1).expect(PRESENT),
    )
}

/// The request that has the key, and whether it asks for the same.
pub fn find_key(session: &Session, key: &str, new: &NewRequest) -> Result<Option<(Uuid, bool)>, Error> {
    session.one(
        &FIND_KEY,
        &[
            Arg::Text(Some(key)),
            Arg::Text(Some(new.asked.kind.name())),
            Arg::Uuid(new.asked.source),
            Arg::Uuid(new.asked.destination),
            Arg::Numeric(Some(new.asked.amount)),
            Arg::Text(new.currency),
            Arg::Jsonb(new.data),
            Arg::Text(Some(new.requested_by)),
        ],
        |row| (row.uuid(1).expect(PRESENT), row.bool(2).unwrap_or(false)),
    )
}
