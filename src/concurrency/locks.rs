//! Named locks of transactions and sessions: advisory locks of a class of their own, so that they never meet those that
//! applications take by `pg_advisory_lock`.

use super::core::Scope;
use crate::error::Error;
use crate::pg::locks::{lock_named, unlock_named};
use crate::pg::{Arg, PRESENT, Session, Statement, Type, server};

// One order for everybody: that of the keys, each once.
static KEYS: Statement = Statement::new(
    c"SELECT DISTINCT concurrency.lock_key(n.name) AS key FROM pg_catalog.unnest($1) n (name) ORDER BY key",
    &[Type::TextArray],
);

pub fn keys(names: &[&str]) -> Result<Vec<i64>, Error> {
    let session = Session::read();
    let given: Vec<Option<&str>> = names.iter().copied().map(Some).collect();
    let rows = session.run(&KEYS, &[Arg::TextArray(&given)])?;
    Ok(rows.iter().map(|row| row.bigint(1).expect(PRESENT)).collect())
}

/// Takes all of them within that time, or none.
pub fn acquire(keys: &[i64], timeout_ms: i32, scope: Scope) -> Result<bool, Error> {
    let until = server::clock_micros() + i64::from(timeout_ms) * 1_000;
    for (at, key) in keys.iter().enumerate() {
        let left_ms = (until - server::clock_micros()).max(0) / 1_000;
        let taken = lock_named(*key, scope == Scope::Session, left_ms as i32);
        if !matches!(taken, Ok(true)) {
            // Those of a session would outlive even a transaction that fails.
            for key in &keys[..at] {
                unlock_named(*key, scope == Scope::Session)?;
            }
            return taken;
        }
    }
    Ok(true)
}

/// How many of them this session had; the others it is told of as warnings.
pub fn release(keys: &[i64], scope: Scope) -> Result<i32, Error> {
    let mut released = 0;
    for key in keys.iter().rev() {
        released += i32::from(unlock_named(*key, scope == Scope::Session)?);
    }
    Ok(released)
}
