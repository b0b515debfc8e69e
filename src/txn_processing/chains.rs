//! An account's postings as numbered chains: one for the account's own row, one for each of its slots.
//!
//! The numbers of a chain have no gaps and its times ascend with them, so the last posting recorded by a given instant
//! is found by bisection: no index on time, about twenty probes for a million postings.

use super::account::{MAX_SLOTS, chain_start};
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Session, Statement, Type};
use rust_decimal::Decimal;
use uuid::Uuid;

static PROBE: Statement = Statement::new(
    c"SELECT m.created_at, m.debit_balance
      FROM txn_processing.movements m WHERE m.debit_account = $1 AND m.debit_sequence = $2
      UNION ALL
      SELECT m.created_at, m.credit_balance
      FROM txn_processing.movements m WHERE m.credit_account = $1 AND m.credit_sequence = $2",
    &[Type::Uuid, Type::BigInt],
);

static ACCOUNT: Statement = Statement::new(
    c"SELECT a.version, coalesce(a.current_balance, (SELECT sum(s.balance) FROM banking.account_slots s
                                                     WHERE s.account_id = a.account_id))
      FROM banking.accounts a WHERE a.account_id = $1",
    &[Type::Uuid],
);

static SLOTS: Statement = Statement::new(
    c"SELECT s.slot_no, s.sequence FROM banking.account_slots s WHERE s.account_id = $1 ORDER BY s.slot_no",
    &[Type::Uuid],
);

/// The chain of numbers between `start` and `end`, both excluded.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    /// 0: the account's own row.
    pub slot: i16,
    pub start: i64,
    /// What the next posting gets.
    pub end: i64,
}

/// An account's chains, its own first, and its balance now.
pub struct Chains {
    pub balance: Decimal,
    pub chains: Vec<Chain>,
}

impl Chains {
    pub fn of(session: &Session, account: Uuid) -> Result<Self, Error> {
        let row = session.run(&ACCOUNT, &[Arg::Uuid(Some(account))])?.first();
        let row = row.ok_or(Error::AccountNotFound { account })?;
        let end = row.bigint(1).expect(PRESENT);
        let balance = row.numeric(2).expect("an account has its balance in its row or in slots");
        let mut chains = vec![Chain { slot: 0, start: 0, end }];
        for row in session.run(&SLOTS, &[Arg::Uuid(Some(account))])?.iter() {
            let slot: i16 = row.get(1).expect(PRESENT);
            assert!((1..=MAX_SLOTS).contains(&slot), "slots are numbered from 1");
            let end = row.bigint(2).expect(PRESENT);
            chains.push(Chain { slot, start: chain_start(slot), end });
        }
        Ok(Chains { balance, chains })
    }
}

/// A posting in a chain: its number, when it was recorded, and the balance of its row then.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub sequence: i64,
    pub recorded_at: i64,
    pub balance: Decimal,
}

impl Chain {
    /// The last posting that `accepts` takes, which must take a prefix of the chain; nothing where it takes none.
    pub fn last(
        &self,
        session: &Session,
        account: Uuid,
        accepts: impl Fn(&Link) -> bool,
    ) -> Result<Option<Link>, Error> {
        // `accepted` is known to be early enough (`start` stands for before the first), `refused` to be too late.
        let (mut accepted, mut refused) = (self.start, self.end);
        let (mut found, mut next) = (None, self.end - 1);
        while accepted + 1 < refused {
            let link = probe(session, account, next)?;
            if accepts(&link) {
                (accepted, found) = (next, Some(link));
            } else {
                refused = next;
            }
            next = accepted + (refused - accepted) / 2;
        }
        Ok(found)
    }
}

/// The posting of that number, which one of the account's chains has.
pub fn probe(session: &Session, account: Uuid, sequence: i64) -> Result<Link, Error> {
    let args = [Arg::Uuid(Some(account)), Arg::BigInt(Some(sequence))];
    let link = session.one(&PROBE, &args, |row| Link {
        sequence,
        recorded_at: row.time(1).expect(PRESENT).0,
        balance: row.numeric(2).expect(PRESENT),
    })?;
    Ok(link.expect("numbers of a chain have no gap"))
}
