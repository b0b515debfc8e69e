//! Marks and postings as rows.

use super::core::{STEP, lacking};
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Session, Statement, Type};
use crate::txn_processing::{Chain, Chains, probe};
use pgrx::AnyNumeric;
use uuid::Uuid;

static NEWEST_MARK: Statement = Statement::new(
    c"SELECT m.sequence, m.amount_total, m.last_effective
      FROM cqrs.activity_marks m WHERE m.account_id = $1 AND m.sequence > $2 AND m.sequence <= $3
      ORDER BY m.sequence DESC LIMIT 1",
    &[Type::Uuid, Type::BigInt, Type::BigInt],
);

static AMOUNT: Statement = Statement::new(
    c"SELECT coalesce(sum(p.amount), 0)
      FROM (SELECT m.amount FROM txn_processing.movements m
            WHERE m.debit_account = $1 AND m.debit_sequence > $2 AND m.debit_sequence <= $3
            UNION ALL
            SELECT m.amount FROM txn_processing.movements m
            WHERE m.credit_account = $1 AND m.credit_sequence > $2 AND m.credit_sequence <= $3) p",
    &[Type::Uuid, Type::BigInt, Type::BigInt],
);

// What is not backdated is effective when it is recorded, which ascends.
static NEWEST_NOT_BACKDATED: Statement = Statement::new(
    c"SELECT greatest(
          (SELECT m.created_at FROM txn_processing.movements m
           WHERE m.debit_account = $1 AND m.debit_sequence > $2 AND m.debit_sequence <= $3 AND m.effective_at IS NULL
           ORDER BY m.debit_sequence DESC LIMIT 1),
          (SELECT m.created_at FROM txn_processing.movements m
           WHERE m.credit_account = $1 AND m.credit_sequence > $2 AND m.credit_sequence <= $3 AND m.effective_at IS NULL
           ORDER BY m.credit_sequence DESC LIMIT 1))",
    &[Type::Uuid, Type::BigInt, Type::BigInt],
);

static NEWEST_BACKDATED: Statement = Statement::new(
    c"SELECT max(b.effective_at) FROM txn_processing.backdated_entries b WHERE b.account_id = $1",
    &[Type::Uuid],
);

// The postings of each step are added up, and the steps one after the other. The literal is core::STEP.
static MAKE: Statement = Statement::new(
    c"INSERT INTO cqrs.activity_marks (account_id, sequence, amount_total, last_effective)
      SELECT $1, s.last, coalesce(b.amount_total, 0) + sum(s.amount) OVER steps,
             greatest(b.last_effective, max(s.effective) OVER steps)
      FROM (SELECT max(p.sequence) AS last, sum(p.amount) AS amount, max(p.effective) AS effective
            FROM (SELECT m.debit_sequence AS sequence, m.amount, coalesce(m.effective_at, m.created_at) AS effective
                  FROM txn_processing.movements m
                  WHERE m.debit_account = $1 AND m.debit_sequence > $2 AND m.debit_sequence <= $3
                  UNION ALL
                  SELECT m.credit_sequence, m.amount, coalesce(m.effective_at, m.created_at)
                  FROM txn_processing.movements m
                  WHERE m.credit_account = $1 AND m.credit_sequence > $2 AND m.credit_sequence <= $3) p
            GROUP BY (p.sequence - $2 - 1) / 256) s
      LEFT JOIN cqrs.activity_marks b ON b.account_id = $1 AND b.sequence = $2
      WINDOW steps AS (ORDER BY s.last)
      ON CONFLICT (account_id, sequence) DO NOTHING",
    &[Type::Uuid, Type::BigInt, Type::BigInt],
);

// Accounts with a step that has no mark yet. Bits 48 and up of a number are its slot.
static DUE: Statement = Statement::new(
    c"SELECT a.account_id
      FROM banking.accounts a
      WHERE a.version > 256
        AND a.version - 1 - 256 >= coalesce((SELECT max(m.sequence) FROM cqrs.activity_marks m
                                             WHERE m.account_id = a.account_id AND m.sequence < 1::bigint << 48), 0)
      UNION
      SELECT s.account_id
      FROM banking.account_slots s
      WHERE s.sequence - (s.slot_no::bigint << 48) > 256
        AND s.sequence - 1 - 256 >= coalesce((SELECT max(m.sequence) FROM cqrs.activity_marks m
                                              WHERE m.account_id = s.account_id AND m.sequence > s.slot_no::bigint << 48
                                                AND m.sequence < s.sequence), s.slot_no::bigint << 48)
      LIMIT $1",
    &[Type::BigInt],
);

static OF_CUSTOMER: Statement = Statement::new(
    c"SELECT a.account_id FROM banking.accounts a WHERE a.customer_id = $1 ORDER BY a.account_id",
    &[Type::Uuid],
);

static CUSTOMER: Statement =
    Statement::new(c"SELECT 1 FROM banking.customers c WHERE c.customer_id = $1", &[Type::Uuid]);

static SET_RISK: Statement = Statement::new(
    c"INSERT INTO cqrs.risk_scores (customer_id, risk_score, set_by) VALUES ($1, $2, $3)
      ON CONFLICT (customer_id) DO UPDATE
      SET risk_score = excluded.risk_score, set_by = excluded.set_by, set_at = clock_timestamp()",
    &[Type::Uuid, Type::Int, Type::Text],
);

static FORGET_RISK: Statement =
    Statement::new(c"DELETE FROM cqrs.risk_scores WHERE customer_id = $1", &[Type::Uuid]);

/// What stands at a chain's newest mark.
struct Mark {
    sequence: i64,
    amount: AnyNumeric,
    effective: i64,
}

fn newest_mark(session: &Session, account: Uuid, start: i64, to: i64) -> Result<Option<Mark>, Error> {
    let args = [Arg::Uuid(Some(account)), Arg::BigInt(Some(start)), Arg::BigInt(Some(to))];
    session.one(&NEWEST_MARK, &args, |row| Mark {
        sequence: row.bigint(1).expect(PRESENT),
        amount: row.get(2).expect(PRESENT),
        effective: row.time(3).expect(PRESENT).0,
    })
}

/// What the postings numbered above `after` and up to `to` add up to.
fn added(session: &Session, account: Uuid, after: i64, to: i64) -> Result<AnyNumeric, Error> {
    if after == to {
        return Ok(0.into());
    }
    let args = [Arg::Uuid(Some(account)), Arg::BigInt(Some(after)), Arg::BigInt(Some(to))];
    let sum = session.one(&AMOUNT, &args, |row| row.get(1).expect("coalesce gives a value"))?;
    Ok(sum.expect("an aggregate has a row"))
}

/// The number of the last posting that was recorded by then; the chain's start where there is none.
fn last_before(session: &Session, account: Uuid, chain: &Chain, since: i64) -> Result<i64, Error> {
    // An account that is younger than that is told by one look.
    if probe(session, account, chain.start + 1)?.recorded_at > since {
        return Ok(chain.start);
    }
    let last = chain.last(session, account, |link| link.recorded_at <= since)?;
    Ok(last.map_or(chain.start, |link| link.sequence))
}

/// A chain's postings that were recorded after an instant: numbered above `after`, up to `to`.
pub struct Span {
    start: i64,
    after: i64,
    to: i64,
}

impl Span {
    /// Those of every chain that has any; all of its postings without an instant.
    pub fn all(session: &Session, account: Uuid, since: Option<i64>) -> Result<Vec<Span>, Error> {
        let mut spans = Vec::new();
        for chain in Chains::of(session, account)?.chains.iter().filter(|chain| has_postings(chain)) {
            let after = match since {
                None => chain.start,
                Some(since) => last_before(session, account, chain, since)?,
            };
            if after < chain.end - 1 {
                spans.push(Span { start: chain.start, after, to: chain.end - 1 });
            }
        }
        Ok(spans)
    }

    pub fn postings(&self) -> i64 {
        self.to - self.after
    }

    /// What they add up to: between two marks where there is one in the span, posting by posting where there is none.
    pub fn amount(&self, session: &Session, account: Uuid) -> Result<AnyNumeric, Error> {
        let newest = match newest_mark(session, account, self.start, self.to)? {
            Some(mark) if mark.sequence > self.after => mark,
            _ => return added(session, account, self.after, self.to),
        };
        let tail = added(session, account, newest.sequence, self.to)?;
        let before = match newest_mark(session, account, self.start, self.after)? {
            Some(mark) => mark.amount + added(session, account, mark.sequence, self.after)?,
            None => added(session, account, self.start, self.after)?,
        };
        Ok(newest.amount - before + tail)
    }
}

fn has_postings(chain: &Chain) -> bool {
    chain.end - 1 > chain.start
}

/// When the account's last posting was recorded.
pub fn last_recorded(session: &Session, account: Uuid) -> Result<Option<i64>, Error> {
    let mut latest = None;
    for chain in Chains::of(session, account)?.chains.iter().filter(|chain| has_postings(chain)) {
        latest = latest.max(Some(probe(session, account, chain.end - 1)?.recorded_at));
    }
    Ok(latest)
}

/// The latest time from which any of the account's postings counts.
pub fn last_effective(session: &Session, account: Uuid) -> Result<Option<i64>, Error> {
    let of_account = [Arg::Uuid(Some(account))];
    let mut latest =
        session.one(&NEWEST_BACKDATED, &of_account, |row| row.time(1))?.flatten().map(|time| time.0);
    for chain in Chains::of(session, account)?.chains.iter().filter(|chain| has_postings(chain)) {
        let to = chain.end - 1;
        let mark = newest_mark(session, account, chain.start, to)?;
        let after = mark.as_ref().map_or(chain.start, |mark| mark.sequence);
        let args = [Arg::Uuid(Some(account)), Arg::BigInt(Some(after)), Arg::BigInt(Some(to))];
        let newer = session.one(&NEWEST_NOT_BACKDATED, &args, |row| row.time(1))?.flatten();
        latest = latest.max(newer.map(|time| time.0)).max(mark.map(|mark| mark.effective));
    }
    Ok(latest)
}

/// Makes the marks that the account lacks, `most` at the most; how many.
pub fn mark(session: &Session, account: Uuid, most: i64) -> Result<i64, Error> {
    let mut made = 0;
    for chain in Chains::of(session, account)?.chains {
        let newest = newest_mark(session, account, chain.start, chain.end - 1)?.map(|mark| mark.sequence);
        if let Some(step) = lacking(chain.start, chain.end, newest, most - made) {
            let args = [Arg::Uuid(Some(account)), Arg::BigInt(Some(step.after)), Arg::BigInt(Some(step.to))];
            session.run(&MAKE, &args)?;
            made += step.marks;
        }
    }
    Ok(made)
}

fn ids(session: &Session, statement: &Statement, args: &[Arg]) -> Result<Vec<Uuid>, Error> {
    let rows = session.run(statement, args)?;
    Ok(rows.iter().map(|row| row.uuid(1).expect(PRESENT)).collect())
}

/// Accounts that lack marks.
pub fn due(session: &Session, most: i64) -> Result<Vec<Uuid>, Error> {
    ids(session, &DUE, &[Arg::BigInt(Some(most))])
}

pub fn accounts_of(session: &Session, customer: Uuid) -> Result<Vec<Uuid>, Error> {
    if session.run(&CUSTOMER, &[Arg::Uuid(Some(customer))])?.count() == 0 {
        return Err(Error::CustomerNotFound { customer });
    }
    ids(session, &OF_CUSTOMER, &[Arg::Uuid(Some(customer))])
}

/// Sets or takes away what the application thinks of a customer.
pub fn set_risk(session: &Session, customer: Uuid, score: Option<i32>, caller: &str) -> Result<(), Error> {
    accounts_of(session, customer)?;
    let of_customer = Arg::Uuid(Some(customer));
    match score {
        Some(_) => session.run(&SET_RISK, &[of_customer, Arg::Int(score), Arg::Text(Some(caller))])?,
        None => session.run(&FORGET_RISK, &[of_customer])?,
    };
    Ok(())
}

const _: () = assert!(STEP == 256, "the statements say it as a literal");
