//! Balances of the past: what a chain's last posting by then left, and the few backdated postings that count by then
//! but were recorded later, which have a table of their own.

use super::chains::{Chain, Chains};
use super::strict::{id, required};
use crate::error::Error;
use crate::pg::{Arg, Numeric, OwnerRights, PRESENT, Session, Statement, Time, Type, finish};
use pgrx::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

static BACKDATED: Statement = Statement::new(
    c"SELECT coalesce(sum(b.balance_change), 0) FROM txn_processing.backdated_entries b
      WHERE b.account_id = $1 AND b.effective_at <= $2 AND b.recorded_at > $3 AND b.recorded_at <= $4",
    &[Type::Uuid, Type::Timestamp, Type::Timestamp, Type::Timestamp],
);

static MODE_THEN: Statement = Statement::new(
    c"SELECT c.changed_at, c.balance_mode = 'slotted', c.balance FROM banking.balance_mode_changes c
      WHERE c.account_id = $1 AND c.changed_at <= $2 ORDER BY c.changed_at DESC LIMIT 1",
    &[Type::Uuid, Type::Timestamp],
);

/// The time for which an account was in one mode, and what it held when that began.
struct Era {
    began: i64,
    /// Not known before the first change: then only one kind of chain has postings.
    slotted: Option<bool>,
    balance: Decimal,
}

impl Era {
    fn at(session: &Session, account: Uuid, at: i64) -> Result<Self, Error> {
        let args = [Arg::Uuid(Some(account)), Arg::Timestamp(Some(at))];
        let era = session.one(&MODE_THEN, &args, |row| Era {
            began: row.time(1).expect(PRESENT).0,
            slotted: row.bool(2),
            balance: row.numeric(3).expect(PRESENT),
        })?;
        Ok(era.unwrap_or(Era { began: i64::MIN, slotted: None, balance: Decimal::ZERO }))
    }

    fn has(&self, chain: &Chain) -> bool {
        self.slotted.is_none_or(|slotted| slotted == (chain.slot > 0))
    }

    /// What a chain without a posting in this time holds: the first one what there was.
    fn opening(&self, chain: &Chain) -> Decimal {
        if chain.slot <= 1 { self.balance } else { Decimal::ZERO }
    }
}

/// What the account held at `valid_at`, as it was recorded by `known_at`.
///
/// A posting is never effective after it was recorded, so what was recorded by the earlier of both counts whole, and of
/// what came later only the backdated postings.
pub fn balance_between(account: Uuid, valid_at: i64, known_at: i64) -> Result<Decimal, Error> {
    let _rights = OwnerRights::to_read();
    let session = Session::read();
    let chains = Chains::of(&session, account)?;
    let at = valid_at.min(known_at);
    let era = Era::at(&session, account, at)?;
    let mut balance = Decimal::ZERO;
    for chain in chains.chains.iter().filter(|chain| era.has(chain)) {
        let last = chain.last(&session, account, |link| link.recorded_at <= at)?;
        let last = last.filter(|link| link.recorded_at >= era.began);
        balance += last.map_or(era.opening(chain), |link| link.balance);
    }
    if at < known_at {
        let args = [valid_at, at, known_at].map(|time| Arg::Timestamp(Some(time)));
        let args = [Arg::Uuid(Some(account)), args[0], args[1], args[2]];
        let later = session.one(&BACKDATED, &args, |row| row.numeric(1).expect("coalesce gives no null"))?;
        balance += later.expect("an aggregate without GROUP BY gives one row");
    }
    balance.rescale(chains.balance.scale());
    Ok(balance)
}

pub fn balance_at(account: Uuid, at: i64) -> Result<Decimal, Error> {
    balance_between(account, at, i64::MAX)
}

/// The account's balance at `at`, counting postings effective by then.
#[pg_extern(schema = "txn_processing", stable, parallel_restricted)]
fn balance_as_of(account_id: Option<pgrx::Uuid>, at: Option<Time>) -> Numeric {
    let result =
        required("account_id", account_id).and_then(|account| balance_at(id(account), required("at", at)?.0));
    finish(result).into()
}
