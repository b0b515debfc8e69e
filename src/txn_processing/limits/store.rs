//! Limits and what was spent, as rows.

use super::core::{Allowance, Limit, Period, Usage, starts};
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Type};
use crate::txn_processing::account::Account;
use crate::txn_processing::chains::{Chain, Chains};
use rust_decimal::Decimal;
use uuid::Uuid;

// What is set for the account goes before what is set for its type.
static LIMITS: Statement = Statement::new(
    c"SELECT l.period, l.max_amount, l.max_postings
      FROM banking.account_limits l WHERE l.account_id = $1
      UNION ALL
      SELECT t.period, t.max_amount, t.max_postings
      FROM banking.accounts a
      JOIN banking.account_limits t ON t.account_type = a.account_type AND t.currency_code = a.currency_code
      WHERE a.account_id = $1
        AND NOT EXISTS (SELECT FROM banking.account_limits l
                        WHERE l.account_id = a.account_id AND l.period = t.period)",
    &[Type::Uuid],
);

static USAGE: Statement = Statement::new(
    c"SELECT u.counted_to, u.day_start, u.day_amount, u.day_postings, u.month_start, u.month_amount, u.month_postings
      FROM txn_processing.limit_usage u WHERE u.account_id = $1",
    &[Type::Uuid],
);

// What was posted while nobody counted: before there was a limit, or credits and charges, which are few.
static SINCE: Statement = Statement::new(
    c"SELECT coalesce(sum(m.amount) FILTER (WHERE m.created_at >= $4), 0), count(*) FILTER (WHERE m.created_at >= $4),
             coalesce(sum(m.amount), 0), count(*)
      FROM txn_processing.movements m
      WHERE m.debit_account = $1 AND m.debit_sequence >= $2 AND m.debit_sequence < $3 AND m.created_at >= $5
        AND m.transaction_type IN ('withdrawal', 'transfer', 'payment')",
    &[Type::Uuid, Type::BigInt, Type::BigInt, Type::Timestamp, Type::Timestamp],
);

static RECORD: Statement = Statement::new(
    c"INSERT INTO txn_processing.limit_usage AS u
          (account_id, counted_to, day_start, day_amount, day_postings, month_start, month_amount, month_postings)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
      ON CONFLICT (account_id) DO UPDATE
          SET counted_to = $2, day_start = $3, day_amount = $4, day_postings = $5,
              month_start = $6, month_amount = $7, month_postings = $8",
    &[
        Type::Uuid, Type::BigInt, Type::Timestamp, Type::Numeric, Type::BigInt, Type::Timestamp, Type::Numeric,
        Type::BigInt,
    ],
);

static FORGET: Statement =
    Statement::new(c"DELETE FROM txn_processing.limit_usage WHERE account_id = $1", &[Type::Uuid]);

static SET: Statement = Statement::new(
    c"INSERT INTO banking.account_limits
          (account_id, account_type, currency_code, period, max_amount, max_postings, reason, set_by)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    &[Type::Uuid, Type::Text, Type::Text, Type::Text, Type::Numeric, Type::Int, Type::Text, Type::Text],
);

static DROP: Statement = Statement::new(
    c"DELETE FROM banking.account_limits l
      WHERE l.account_id IS NOT DISTINCT FROM $1 AND l.account_type IS NOT DISTINCT FROM $2
        AND l.currency_code = $3 AND l.period = $4",
    &[Type::Uuid, Type::Text, Type::Text, Type::Text],
);

static LOG: Statement = Statement::new(
    c"INSERT INTO banking.limit_changes
          (account_id, account_type, currency_code, period, max_amount, max_postings, reason, changed_by)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    &[Type::Uuid, Type::Text, Type::Text, Type::Text, Type::Numeric, Type::Int, Type::Text, Type::Text],
);

static MARK: Statement = Statement::new(
    c"UPDATE banking.accounts a
      SET limited = EXISTS (SELECT FROM banking.account_limits l WHERE l.account_id = a.account_id)
      WHERE a.account_id = $1",
    &[Type::Uuid],
);

static SLOTTED_OF_TYPE: Statement = Statement::new(
    c"SELECT a.account_id FROM banking.accounts a
      WHERE a.account_type = $1 AND a.currency_code = $2 AND a.slots > 0 LIMIT 1",
    &[Type::Text, Type::Text],
);

/// Who switches an account to slots waits for who sets a limit, and the other way round.
static LOCK: Statement =
    Statement::new(c"LOCK TABLE banking.account_limits IN SHARE ROW EXCLUSIVE MODE", &[]);

static IS_LIMITED: Statement = Statement::new(
    c"SELECT EXISTS (SELECT FROM banking.accounts a
                     JOIN banking.account_limits l
                       ON l.account_id = a.account_id
                       OR l.account_type = a.account_type AND l.currency_code = a.currency_code
                     WHERE a.account_id = $1)",
    &[Type::Uuid],
);

fn limit(row: Row) -> Limit {
    Limit {
        period: Period::of(&row.text(1).expect(PRESENT)).expect("a period of the CHECK"),
        max_amount: row.numeric(2),
        max_postings: row.int(3),
    }
}

fn usage(row: &Row, column: i32) -> Usage {
    Usage { amount: row.numeric(column).expect(PRESENT), postings: row.bigint(column + 1).expect(PRESENT) }
}

/// What was kept: up to which of the account's postings, and what was spent from when on.
struct Kept {
    counted_to: i64,
    starts: [i64; 2],
    usages: [Usage; 2],
}

/// What a locked account may spend at `at`.
pub fn allowance(session: &Session, account: &Account, at: i64) -> Result<Allowance, Error> {
    let id = Arg::Uuid(Some(account.id));
    let limits = session.run(&LIMITS, &[id])?.iter().map(limit).collect();
    let mut allowance = Allowance { limits, starts: starts(at), before: [Usage::default(); 2] };
    if !allowance.is_counted() {
        return Ok(allowance);
    }
    let [day, month] = allowance.starts;
    let kept = session.one(&USAGE, &[id], |row| Kept {
        counted_to: row.bigint(1).expect(PRESENT),
        starts: [row.time(2).expect(PRESENT).0, row.time(5).expect(PRESENT).0],
        usages: [usage(row, 3), usage(row, 6)],
    })?;
    let parts = match &kept {
        // Since then it had postings on its own chain only: see `forget`.
        Some(kept) => vec![(kept.counted_to, account.sequence)],
        // As the ledger has them: a batch may have taken in postings that it has yet to write.
        None => {
            let chains = Chains::of(session, account.id)?.chains;
            let part = |chain: &Chain| Ok((first_since(session, account.id, chain, month)?, chain.end));
            chains.iter().map(part).collect::<Result<_, Error>>()?
        }
    };
    for (from, end) in parts.into_iter().filter(|(from, end)| from < end) {
        let args = [
            id,
            Arg::BigInt(Some(from)),
            Arg::BigInt(Some(end)),
            Arg::Timestamp(Some(day)),
            Arg::Timestamp(Some(month)),
        ];
        let since = session.one(&SINCE, &args, |row| [usage(row, 1), usage(row, 3)])?;
        let since = since.expect("an aggregate without GROUP BY gives one row");
        for (before, since) in allowance.before.iter_mut().zip(since) {
            *before = before.and(since);
        }
    }
    if let Some(kept) = kept {
        for at in 0..2 {
            if kept.starts[at] == allowance.starts[at] {
                allowance.before[at] = allowance.before[at].and(kept.usages[at]);
            }
        }
    }
    Ok(allowance)
}

/// The number of the chain's first posting that was recorded at `month` or later.
fn first_since(session: &Session, account: Uuid, chain: &Chain, month: i64) -> Result<i64, Error> {
    let before = chain.last(session, account, |link| link.recorded_at < month)?;
    Ok(before.map_or(chain.start, |link| link.sequence) + 1)
}

/// Forgets what was counted of an account that goes over to slots: what it spends there is in their chains, and found
/// by who counts anew.
pub fn forget(session: &Session, account: Uuid) -> Result<(), Error> {
    session.run(&FORGET, &[Arg::Uuid(Some(account))]).map(drop)
}

/// Keeps what the account has spent, of which all postings are counted now.
pub fn record(session: &Session, account: &Account, allowance: &Allowance) -> Result<(), Error> {
    let [day, month] = allowance.spent(account);
    let args = [
        Arg::Uuid(Some(account.id)),
        Arg::BigInt(Some(account.sequence)),
        Arg::Timestamp(Some(allowance.starts[0])),
        Arg::Numeric(Some(day.amount)),
        Arg::BigInt(Some(day.postings)),
        Arg::Timestamp(Some(allowance.starts[1])),
        Arg::Numeric(Some(month.amount)),
        Arg::BigInt(Some(month.postings)),
    ];
    session.run(&RECORD, &args).map(drop)
}

/// Whose limit it is.
#[derive(Clone, Copy)]
pub enum Holder<'a> {
    Account(Uuid),
    Type(&'a str),
}

/// A limit as it is set; without an amount and a number it is taken away.
pub struct Setting<'a> {
    pub holder: Holder<'a>,
    pub currency: &'a str,
    pub period: Period,
    pub max_amount: Option<Decimal>,
    pub max_postings: Option<i32>,
    pub reason: &'a str,
    pub by: &'a str,
}

pub fn lock(session: &Session) -> Result<(), Error> {
    session.run(&LOCK, &[]).map(drop)
}

pub fn set(session: &Session, setting: &Setting) -> Result<(), Error> {
    let (account, of_type) = match setting.holder {
        Holder::Account(account) => (Some(account), None),
        Holder::Type(of_type) => (None, Some(of_type)),
    };
    let args = [
        Arg::Uuid(account),
        Arg::Text(of_type),
        Arg::Text(Some(setting.currency)),
        Arg::Text(Some(setting.period.name())),
        Arg::Numeric(setting.max_amount),
        Arg::Int(setting.max_postings),
        Arg::Text(Some(setting.reason)),
        Arg::Text(Some(setting.by)),
    ];
    session.run(&LOG, &args)?;
    session.run(&DROP, &args[..4])?;
    if setting.max_amount.is_some() || setting.max_postings.is_some() {
        session.run(&SET, &args).map_err(|error| match error {
            // Set by another session since the snapshot of a transaction that may not see it.
            Error::Server(error) if error.is("23505") => Error::ConcurrentUpdate,
            error => error,
        })?;
    }
    if account.is_some() {
        session.run(&MARK, &args[..1])?;
    }
    Ok(())
}

/// A slotted account of the type, if there is one.
pub fn slotted_of_type(session: &Session, of_type: &str, currency: &str) -> Result<Option<Uuid>, Error> {
    let args = [Arg::Text(Some(of_type)), Arg::Text(Some(currency))];
    Ok(session.run_latest(&SLOTTED_OF_TYPE, &args)?.first().and_then(|row| row.uuid(1)))
}

/// Whether the account has limits, its own or its type's, and will stay so until this transaction ends.
pub fn is_limited(session: &Session, account: Uuid) -> Result<bool, Error> {
    lock(session)?;
    let answer = session.run_latest(&IS_LIMITED, &[Arg::Uuid(Some(account))])?.first();
    Ok(answer.and_then(|row| row.bool(1)) == Some(true))
}
