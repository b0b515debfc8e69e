//! Leases: named locks that outlive transactions and sessions until they expire. The row is the lock.

use super::core::lease_poll_ms;
use crate::error::Error;
use crate::pg::ereport::forget;
use crate::pg::server::{self, LockPatience};
use crate::pg::subtransaction::undoable;
use crate::pg::{Arg, PRESENT, Session, Statement, Time, Type};

static TAKEN: Statement = Statement::new(
    c"SELECT count(*) FROM concurrency.leases l WHERE l.name = ANY ($1) AND l.expires_at > clock_timestamp()",
    &[Type::TextArray],
);

// The token is drawn with the row's lock held, so that a later lease has a higher one.
static TAKE: Statement = Statement::new(
    c"INSERT INTO concurrency.leases AS l (name, token, taken_at, expires_at, taken_by, holder)
      VALUES ($1, nextval('concurrency.lease_token_seq'), clock_timestamp(),
              clock_timestamp() + $2 * interval '1 millisecond', $3, $4)
      ON CONFLICT (name) DO UPDATE
      SET token = nextval('concurrency.lease_token_seq'), taken_at = clock_timestamp(),
          expires_at = clock_timestamp() + $2 * interval '1 millisecond', taken_by = $3, holder = $4
      WHERE l.expires_at <= clock_timestamp()
      RETURNING l.token",
    &[Type::Text, Type::Int, Type::Text, Type::Text],
);

static EXTEND: Statement = Statement::new(
    c"UPDATE concurrency.leases l
      SET expires_at = greatest(l.expires_at, clock_timestamp() + $4 * interval '1 millisecond')
      WHERE l.name = $1 AND l.token = $2 AND l.taken_by = $3 AND l.expires_at > clock_timestamp()
      RETURNING l.expires_at",
    &[Type::Text, Type::BigInt, Type::Text, Type::Int],
);

static RELEASE: Statement = Statement::new(
    c"UPDATE concurrency.leases l SET expires_at = '-infinity'
      WHERE l.name = $1 AND l.token = $2 AND l.taken_by = $3 AND l.expires_at > clock_timestamp()",
    &[Type::Text, Type::BigInt, Type::Text],
);

static BREAK: Statement = Statement::new(
    c"UPDATE concurrency.leases l SET expires_at = '-infinity'
      WHERE l.name = $1 AND l.expires_at > clock_timestamp() RETURNING l.token, l.holder, l.taken_by",
    &[Type::Text],
);

// Whoever would take the lease waits for this lock, however long ago it has expired by then.
static HOLD: Statement = Statement::new(
    c"SELECT l.expires_at > clock_timestamp() FROM concurrency.leases l
      WHERE l.name = $1 AND l.token = $2 AND l.taken_by = $3 FOR SHARE",
    &[Type::Text, Type::BigInt, Type::Text],
);

static SLEEP: Statement = Statement::new(c"SELECT pg_catalog.pg_sleep($1 / 1000.0)", &[Type::Int]);

/// Who takes leases, and for how long.
pub struct Taker<'a> {
    pub role: &'a str,
    pub holder: &'a str,
    pub lease_ms: i32,
}

/// All of the names, which come in their order and once each, or nothing.
fn take(session: &Session, names: &[&str], taker: &Taker, wait_ms: i64) -> Result<Option<Vec<i64>>, Error> {
    let given: Vec<Option<&str>> = names.iter().copied().map(Some).collect();
    let taken = session.run_latest(&TAKEN, &[Arg::TextArray(&given)])?;
    if taken.first().and_then(|row| row.bigint(1)) != Some(0) {
        return Ok(None);
    }
    let outcome = undoable(|| {
        // Somebody may be taking one of them in a transaction that is still open.
        let _patience = LockPatience::at_most(wait_ms.clamp(1, i64::from(i32::MAX)) as i32);
        let mut tokens = Vec::new();
        for name in names {
            let args = [
                Arg::Text(Some(name)),
                Arg::Int(Some(taker.lease_ms)),
                Arg::Text(Some(taker.role)),
                Arg::Text(Some(taker.holder)),
            ];
            match session.run(&TAKE, &args)?.first() {
                Some(row) => tokens.push(row.bigint(1).expect(PRESENT)),
                None => return Ok(None),
            }
        }
        Ok(Some(tokens))
    });
    match outcome {
        Err(Error::Server(error)) if error.is("55P03") => {
            forget(error);
            Ok(None)
        }
        other => other,
    }
}

/// The same, looked at again and again for so long.
pub fn acquire(
    session: &Session,
    names: &[&str],
    taker: &Taker,
    timeout_ms: i32,
) -> Result<Option<Vec<i64>>, Error> {
    let until = server::clock_micros() + i64::from(timeout_ms) * 1_000;
    for looks in 0.. {
        let left_ms = (until - server::clock_micros()) / 1_000;
        if let Some(tokens) = take(session, names, taker, left_ms)? {
            return Ok(Some(tokens));
        }
        let left_ms = (until - server::clock_micros()) / 1_000;
        if left_ms <= 0 {
            break;
        }
        let pause_ms = lease_poll_ms(looks).min(left_ms) as i32;
        session.run(&SLEEP, &[Arg::Int(Some(pause_ms))])?;
    }
    Ok(None)
}

/// A lease as its holder names it.
pub struct Held<'a> {
    pub name: &'a str,
    pub token: i64,
    pub role: &'a str,
}

impl Held<'_> {
    fn lost(&self) -> Error {
        Error::LeaseNotHeld { name: self.name.to_owned(), token: self.token }
    }

    fn args(&self) -> [Arg<'_>; 3] {
        [Arg::Text(Some(self.name)), Arg::BigInt(Some(self.token)), Arg::Text(Some(self.role))]
    }

    pub fn extend(&self, session: &Session, lease_ms: i32) -> Result<Time, Error> {
        let [name, token, role] = self.args();
        let rows = session.run(&EXTEND, &[name, token, role, Arg::Int(Some(lease_ms))])?;
        rows.first().and_then(|row| row.time(1)).ok_or_else(|| self.lost())
    }

    pub fn release(&self, session: &Session) -> Result<bool, Error> {
        Ok(session.run(&RELEASE, &self.args())?.count() > 0)
    }

    pub fn hold(&self, session: &Session) -> Result<(), Error> {
        match session.run(&HOLD, &self.args())?.first().and_then(|row| row.bool(1)) {
            Some(true) => Ok(()),
            _ => Err(self.lost()),
        }
    }
}

/// Takes a lease away from whoever has it; who that was.
pub fn take_away(session: &Session, name: &str) -> Result<Option<(i64, String, String)>, Error> {
    let rows = session.run(&BREAK, &[Arg::Text(Some(name))])?;
    Ok(rows.first().map(|row| {
        (row.bigint(1).expect(PRESENT), row.text(2).unwrap_or_default(), row.text(3).unwrap_or_default())
    }))
}
