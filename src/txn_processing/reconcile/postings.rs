//! An account's postings around a statement's period, read by the account's chains: no index on time, and no posting
//! of other years.

use super::store::External;
use crate::error::Error;
use crate::pg::spi::c_text;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Type};
use crate::txn_processing::calendar::MICROS_PER_DAY;
use crate::txn_processing::chains::Chains;
use crate::txn_processing::core::generated_reference;
use rust_decimal::Decimal;
use uuid::Uuid;

/// Postings that one statement may be held against.
const MAX_POSTINGS: i64 = 1_000_000;
/// Numbers of a chain that are read at once.
const PAGE: i64 = 20_000;

/// `$1` the account, `$2` and `$3` times, `$4` the time zone; the two arms' own conditions come between.
macro_rules! select_postings {
    ($debits:literal, $credits:literal) => {
        concat!(
            "SELECT e.transaction_id, e.leg, e.amount, e.is_debit, (e.at AT TIME ZONE $4)::date - '2000-01-01'::date, \
                    e.at, e.created_at, e.is_reversal, e.reference, e.batch, \
                    (SELECT x.match_id FROM txn_processing.reconciliation_match_postings x \
                     WHERE x.account_id = $1 AND x.transaction_id = e.transaction_id AND x.leg = e.leg AND x.in_force) \
             FROM ( \
                 SELECT m.transaction_id, m.leg, m.amount, true AS is_debit, coalesce(m.effective_at, m.created_at) AS at, \
                        m.created_at, m.transaction_type = 'reversal' AS is_reversal, m.reference, m.metadata ->> 'batch' AS batch ",
            $debits,
            "    UNION ALL \
                 SELECT m.transaction_id, m.leg, m.amount, false, coalesce(m.effective_at, m.created_at), \
                        m.created_at, m.transaction_type = 'reversal', m.reference, m.metadata ->> 'batch' ",
            $credits,
            ") e WHERE e.at >= $2 AND e.at < $3\0"
        )
    };
}

static OF_CHAIN: Statement = Statement::new(
    c_text(select_postings!(
        "FROM txn_processing.movements m WHERE m.debit_account = $1 AND m.debit_sequence >= $5 AND m.debit_sequence < $6",
        "FROM txn_processing.movements m WHERE m.credit_account = $1 AND m.credit_sequence >= $5 AND m.credit_sequence < $6"
    )),
    &[Type::Uuid, Type::Timestamp, Type::Timestamp, Type::Text, Type::BigInt, Type::BigInt],
);

/// Recorded after the time, effective before it.
static BACKDATED: Statement = Statement::new(
    c_text(select_postings!(
        "FROM txn_processing.backdated_entries b JOIN txn_processing.movements m \
             ON m.debit_account = b.account_id AND m.debit_sequence = b.sequence \
         WHERE b.account_id = $1 AND b.effective_at >= $2 AND b.effective_at < $3 AND b.recorded_at >= $3",
        "FROM txn_processing.backdated_entries b JOIN txn_processing.movements m \
             ON m.credit_account = b.account_id AND m.credit_sequence = b.sequence \
         WHERE b.account_id = $1 AND b.effective_at >= $2 AND b.effective_at < $3 AND b.recorded_at >= $3"
    )),
    &[Type::Uuid, Type::Timestamp, Type::Timestamp, Type::Text],
);

static OF_TRANSACTIONS: Statement = Statement::new(
    c_text(select_postings!(
        "FROM txn_processing.movements m WHERE m.transaction_id = ANY ($5) AND m.debit_account = $1",
        "FROM txn_processing.movements m WHERE m.transaction_id = ANY ($5) AND m.credit_account = $1"
    )),
    &[Type::Uuid, Type::Timestamp, Type::Timestamp, Type::Text, Type::UuidArray],
);

/// The account's side of a posting.
pub struct Posting {
    pub transaction: Uuid,
    pub leg: i16,
    /// Signed as the account's balance changed.
    pub amount: Decimal,
    pub day: i32,
    /// When it counts from.
    pub at: i64,
    /// As the caller gave it.
    pub given_reference: Option<String>,
    is_reversal: bool,
    created_at: i64,
    pub batch: Option<String>,
    /// The match in force that it is in.
    pub matched: Option<Uuid>,
}

impl Posting {
    /// What is shown where the caller gave none.
    pub fn generated_reference(&self) -> String {
        generated_reference(self.transaction, self.is_reversal, self.created_at)
    }
}

fn posting(row: &Row, grows_by_debits: bool) -> Posting {
    let amount = row.numeric(3).expect(PRESENT);
    let is_debit = row.bool(4).expect(PRESENT);
    Posting {
        transaction: row.uuid(1).expect(PRESENT),
        leg: row.get(2).expect(PRESENT),
        amount: if is_debit == grows_by_debits { amount } else { -amount },
        day: row.int(5).expect(PRESENT),
        at: row.time(6).expect(PRESENT).0,
        created_at: row.time(7).expect(PRESENT).0,
        is_reversal: row.bool(8).expect(PRESENT),
        given_reference: row.text(9),
        batch: row.text(10),
        matched: row.uuid(11),
    }
}

/// The postings effective in the statement's period and up to so many days around it, in no order. `open` opens the
/// sessions that read them, each freed before the next: one that writes sees what was committed meanwhile.
pub fn around(open: fn() -> Session, external: &External, days: i32) -> Result<Vec<Posting>, Error> {
    let margin = i64::from(days) * MICROS_PER_DAY;
    let (from, to) = (external.start.saturating_sub(margin), external.end.saturating_add(margin));
    let account = external.account;
    let grows_by_debits = external.mirror.grows_by_debits;
    let args = [
        Arg::Uuid(Some(account)),
        Arg::Timestamp(Some(from)),
        Arg::Timestamp(Some(to)),
        Arg::Text(Some(&external.zone)),
    ];
    let mut ranges = Vec::new();
    {
        let session = open();
        for chain in Chains::of(&session, account)?.chains {
            let last = |before: i64| {
                let found = chain.last(&session, account, |link| link.recorded_at < before)?;
                Ok::<_, Error>(found.map_or(chain.start, |link| link.sequence))
            };
            // A posting is never effective after it was recorded: what was recorded before `from` is out.
            ranges.push((last(from)? + 1, last(to)? + 1));
        }
    }
    let numbers: i64 = ranges.iter().map(|(first, end)| end - first).sum();
    if numbers > MAX_POSTINGS {
        let why = format!(
            "Its account has {numbers} postings around the period; a statement is held against {MAX_POSTINGS} at the most. \
             Shorter periods, or a smaller reference_window_days of its source's rules, make it fewer."
        );
        return Err(Error::ArgumentBounds { argument: "statement_id", why });
    }
    let mut postings = Vec::with_capacity(numbers as usize);
    for (first, end) in ranges {
        let mut page = first;
        while page < end {
            let next = end.min(page + PAGE);
            let mut args = args.to_vec();
            args.extend([Arg::BigInt(Some(page)), Arg::BigInt(Some(next))]);
            let session = open();
            postings.extend(session.run(&OF_CHAIN, &args)?.iter().map(|row| posting(&row, grows_by_debits)));
            page = next;
        }
    }
    let session = open();
    postings.extend(session.run(&BACKDATED, &args)?.iter().map(|row| posting(&row, grows_by_debits)));
    Ok(postings)
}

/// The account's side of those transactions, all legs of each.
pub fn of_transactions(
    session: &Session,
    account: Uuid,
    grows_by_debits: bool,
    transactions: &[Uuid],
) -> Result<Vec<Posting>, Error> {
    let args = [
        Arg::Uuid(Some(account)),
        Arg::Timestamp(Some(i64::MIN)),
        Arg::Timestamp(Some(i64::MAX)),
        Arg::Text(Some("UTC")),
        Arg::UuidArray(transactions),
    ];
    let rows = session.run(&OF_TRANSACTIONS, &args)?;
    Ok(rows.iter().map(|row| posting(&row, grows_by_debits)).collect())
}
