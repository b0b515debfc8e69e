//! Statements of account.

use super::chains::{Chain, Chains, Link, probe};
use super::strict::{id, required};
use crate::error::Error;
use crate::pg::spi::c_text;
use crate::pg::types::{JsonBytes, TxnStatus, TxnType};
use crate::pg::{Arg, BpChar, Numeric, OwnerRights, Row, Session, Statement, Time, Type, Varchar, finish};
use pgrx::prelude::*;
use std::cmp::Reverse;
use uuid::Uuid;

const MAX_ROWS: i32 = 10_000;
/// So many numbers at least are looked at in one go, once the first page had gaps.
const MIN_NUMBERS: i32 = 1_000;

/// All columns of a statement's row, from the ledger's view.
macro_rules! page {
    ($conditions:literal) => {{
        const SQL: &str = concat!(
            "SELECT sequence, transaction_id, transaction_type, entry_type, amount, currency_code, \
                    running_balance, counterparty, reference_number, description, metadata, status, \
                    effective_at, created_at \
             FROM txn_processing.ledger WHERE account_id = $1 AND ",
            $conditions,
            "\0"
        );
        c_text(SQL)
    }};
}

static PAGE: Statement = Statement::new(
    page!("sequence >= $2 AND sequence < $3 AND effective_at >= $4 ORDER BY sequence DESC"),
    &[Type::Uuid, Type::BigInt, Type::BigInt, Type::Timestamp],
);

/// Postings of a chain recorded after the period and effective in it.
static BACKDATED_INTO: Statement = Statement::new(
    page!(
        "sequence = ANY (ARRAY( \
             SELECT b.sequence FROM txn_processing.backdated_entries b \
             WHERE b.account_id = $1 AND b.effective_at >= $4 AND b.effective_at < $5 \
               AND b.sequence >= $2 AND b.sequence < $3 \
             ORDER BY b.sequence DESC LIMIT $6)) \
         ORDER BY sequence DESC"
    ),
    &[Type::Uuid, Type::BigInt, Type::BigInt, Type::Timestamp, Type::Timestamp, Type::BigInt],
);

type Entry = (
    Option<i64>,
    Option<pgrx::Uuid>,
    Option<TxnType>,
    Option<String>,
    Option<Numeric>,
    Option<BpChar>,
    Option<Numeric>,
    Option<pgrx::Uuid>,
    Option<Varchar>,
    Option<String>,
    Option<JsonBytes>,
    Option<TxnStatus>,
    Option<Time>,
    Option<Time>,
);

fn entry(row: &Row) -> Entry {
    (
        row.bigint(1),
        row.get(2),
        row.get(3),
        row.text(4),
        row.get(5),
        row.get(6),
        row.get(7),
        row.get(8),
        row.get(9),
        row.text(10),
        row.get(11),
        row.get(12),
        row.get(13),
        row.get(14),
    )
}

/// What a page is to hold.
struct Request {
    account: Uuid,
    from: i64,
    to: Option<i64>,
    max_rows: i32,
    before: Option<i64>,
}

impl Request {
    fn checked(
        account: Option<pgrx::Uuid>,
        from: Option<Time>,
        to: Option<Time>,
        max_rows: Option<i32>,
        before: Option<i64>,
    ) -> Result<Self, Error> {
        let account = id(required("account_id", account)?);
        let max_rows = required("max_rows", max_rows)?;
        if !(1..=MAX_ROWS).contains(&max_rows) {
            return Err(Error::ArgumentBounds {
                argument: "max_rows",
                why: format!("It is {max_rows}; a page has 1 to {MAX_ROWS} rows."),
            });
        }
        let from = from.map_or(i64::MIN, |t| t.0);
        Ok(Request { account, from, to: to.map(|t| t.0), max_rows, before })
    }

    fn rows(&self) -> Result<Vec<Entry>, Error> {
        let _rights = OwnerRights::to_read();
        let session = Session::read();
        let chains = Chains::of(&session, self.account)?;
        let cursor = self.cursor(&session, &chains)?;
        let mut entries = Vec::new();
        for chain in &chains.chains {
            entries.extend(self.of_chain(&session, chain, cursor.as_ref())?);
        }
        if chains.chains.len() > 1 {
            entries.sort_by_key(|entry| Reverse((entry.13, entry.0)));
            entries.truncate(self.max_rows as usize);
        }
        Ok(entries)
    }

    /// The posting before which the page begins, where its place among other chains matters.
    fn cursor(&self, session: &Session, chains: &Chains) -> Result<Option<Link>, Error> {
        let Some(before) = self.before.filter(|_| chains.chains.len() > 1) else { return Ok(None) };
        let is_known = chains.chains.iter().any(|chain| chain.start < before && before < chain.end);
        is_known.then(|| probe(session, self.account, before)).transpose()
    }

    /// The newest of a chain's postings that the page may hold, newest first.
    fn of_chain(&self, session: &Session, chain: &Chain, cursor: Option<&Link>) -> Result<Vec<Entry>, Error> {
        let last = |accepts: &dyn Fn(&Link) -> bool| {
            let found = chain.last(session, self.account, accepts)?;
            Ok::<_, Error>(found.map_or(chain.start, |link| link.sequence))
        };
        let end = match (self.before, cursor) {
            (None, _) => chain.end,
            // Newest first is by time, and among equal times by number.
            (Some(_), Some(cursor)) => {
                let place = (cursor.recorded_at, cursor.sequence);
                1 + last(&|link| (link.recorded_at, link.sequence) < place)?
            }
            (Some(before), None) => before.clamp(chain.start + 1, chain.end),
        };
        // A posting is never effective after it was recorded: what was recorded before `from` is out.
        let too_early = match self.from {
            i64::MIN => chain.start,
            from => last(&|link| link.recorded_at < from)?,
        };
        let in_time = match self.to {
            None => chain.end - 1,
            Some(to) => last(&|link| link.recorded_at < to)?,
        };
        let wanted = self.max_rows as usize;
        let mut entries = Vec::new();
        let bounds = |first: i64, end: i64| {
            [
                Arg::Uuid(Some(self.account)),
                Arg::BigInt(Some(first)),
                Arg::BigInt(Some(end)),
                Arg::Timestamp(Some(self.from)),
            ]
        };
        // Numbers above `in_time` come first, newest first as the page is.
        if let Some(to) = self.to.filter(|_| in_time + 1 < end) {
            let mut args = bounds(in_time + 1, end).to_vec();
            args.extend([Arg::Timestamp(Some(to)), Arg::BigInt(Some(wanted as i64))]);
            entries.extend(session.run(&BACKDATED_INTO, &args)?.iter().map(|row| entry(&row)));
        }
        // Numbers have no gaps, so so many of them are a page; backdated ones may fall out, then it takes more.
        let mut end = end.min(in_time + 1);
        let mut numbers = self.max_rows;
        while entries.len() < wanted && end > too_early + 1 {
            let first = (end - i64::from(numbers)).max(too_early + 1);
            // A session of its own, so that its rows are freed before the next.
            let session = Session::read();
            entries.extend(session.run(&PAGE, &bounds(first, end))?.iter().map(|row| entry(&row)));
            end = first;
            numbers = self.max_rows.max(MIN_NUMBERS);
        }
        entries.truncate(wanted);
        Ok(entries)
    }
}

/// A page of an account's postings, newest first.
#[pg_extern(
    schema = "txn_processing",
    stable,
    parallel_restricted,
    requires = ["txn_processing_tables"]
)]
#[allow(clippy::type_complexity)]
fn statement(
    account_id: Option<pgrx::Uuid>,
    from_time: default!(Option<Time>, "NULL"),
    to_time: default!(Option<Time>, "NULL"),
    max_rows: default!(Option<i32>, 100),
    before_sequence: default!(Option<i64>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(sequence, Option<i64>),
        name!(transaction_id, Option<pgrx::Uuid>),
        name!(transaction_type, Option<TxnType>),
        name!(entry_type, Option<String>),
        name!(amount, Option<Numeric>),
        name!(currency_code, Option<BpChar>),
        name!(running_balance, Option<Numeric>),
        name!(counterparty, Option<pgrx::Uuid>),
        name!(reference_number, Option<Varchar>),
        name!(description, Option<String>),
        name!(metadata, Option<JsonBytes>),
        name!(status, Option<TxnStatus>),
        name!(effective_at, Option<Time>),
        name!(created_at, Option<Time>),
    ),
> {
    let rows = Request::checked(account_id, from_time, to_time, max_rows, before_sequence)
        .and_then(|request| request.rows());
    TableIterator::new(finish(rows))
}
