//! Ending sessions: chosen, looked at again at the moment of the kill, and written down.

use super::core::Method;
use crate::error::Error;
use crate::pg::ereport::Failure;
use crate::pg::subtransaction::undoable;
use crate::pg::{Arg, OwnerRights, PRESENT, Session, Statement, Time, Type};

static CLEAR: Statement = Statement::new(c"SELECT pg_catalog.pg_stat_clear_snapshot()", &[]);

static LONG_QUERIES: Statement = Statement::new(
    c"SELECT a.pid, a.backend_start, a.query_start, a.query_start, pg_catalog.left(a.query, 1000), a.usename::text,
             a.datname::text, a.application_name,
             troubleshoot.kill_exemption(a.usename, a.application_name, a.datname)
      FROM pg_catalog.pg_stat_activity a
      WHERE a.backend_type = 'client backend' AND a.pid <> pg_catalog.pg_backend_pid()
        AND a.state IN ('active', 'fastpath function call')
        AND a.query_start < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1 / 1000.0)
        AND ($2 IS NULL OR a.datname = $2) AND ($3 IS NULL OR a.usename = $3)
      ORDER BY a.query_start, a.pid",
    &[Type::BigInt, Type::Text, Type::Text],
);

static IDLE_TRANSACTIONS: Statement = Statement::new(
    c"SELECT a.pid, a.backend_start, a.state_change, a.state_change, pg_catalog.left(a.query, 1000), a.usename::text,
             a.datname::text, a.application_name,
             troubleshoot.kill_exemption(a.usename, a.application_name, a.datname)
      FROM pg_catalog.pg_stat_activity a
      WHERE a.backend_type = 'client backend' AND a.pid <> pg_catalog.pg_backend_pid()
        AND a.state IN ('idle in transaction', 'idle in transaction (aborted)')
        AND a.state_change < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1 / 1000.0)
        AND ($2 IS NULL OR a.datname = $2) AND ($3 IS NULL OR a.usename = $3)
      ORDER BY a.state_change, a.pid",
    &[Type::BigInt, Type::Text, Type::Text],
);

// Sessions of which the caller cannot tell what they do.
static HIDDEN: Statement = Statement::new(
    c"SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a
      WHERE a.pid <> pg_catalog.pg_backend_pid() AND (a.backend_type IS NULL OR a.state = 'disabled')
        AND ($1 IS NULL OR a.datname = $1) AND ($2 IS NULL OR a.usename = $2)",
    &[Type::Text, Type::Text],
);

static MAY_WRITE: Statement = Statement::new(
    c"SELECT NOT pg_catalog.pg_is_in_recovery()
             AND pg_catalog.current_setting('transaction_read_only') = 'off'",
    &[],
);

// The last look and the signal are one statement: the session is still the one that was chosen, and still at it.
static TERMINATE_QUERY: Statement = Statement::new(
    c"SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
      WHERE a.pid = $1 AND a.backend_start = $2 AND a.query_start = $3
        AND a.state IN ('active', 'fastpath function call')",
    &[Type::Int, Type::Timestamp, Type::Timestamp],
);

static CANCEL_QUERY: Statement = Statement::new(
    c"SELECT pg_catalog.pg_cancel_backend(a.pid) FROM pg_catalog.pg_stat_activity a
      WHERE a.pid = $1 AND a.backend_start = $2 AND a.query_start = $3
        AND a.state IN ('active', 'fastpath function call')",
    &[Type::Int, Type::Timestamp, Type::Timestamp],
);

static TERMINATE_IDLE: Statement = Statement::new(
    c"SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
      WHERE a.pid = $1 AND a.backend_start = $2 AND a.state_change = $3
        AND a.state IN ('idle in transaction', 'idle in transaction (aborted)')",
    &[Type::Int, Type::Timestamp, Type::Timestamp],
);

static DETAILS: Statement = Statement::new(
    c"SELECT pg_catalog.host(a.client_addr), a.state, a.xact_start, a.query_start
      FROM pg_catalog.pg_stat_activity a WHERE a.pid = $1",
    &[Type::Int],
);

static LOG: Statement = Statement::new(
    c"INSERT INTO troubleshoot.kill_log
          (killed_at, killed_by, by_function, method, pid, backend_start, user_name, database_name, application_name,
           client_address, state, xact_start, query_start, query, reason)
      VALUES (clock_timestamp(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    &[
        Type::Text,
        Type::Text,
        Type::Text,
        Type::Int,
        Type::Timestamp,
        Type::Text,
        Type::Text,
        Type::Text,
        Type::Text,
        Type::Text,
        Type::Timestamp,
        Type::Timestamp,
        Type::Text,
        Type::Text,
    ],
);

/// What sessions are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    LongQueries,
    IdleTransactions,
}

impl Target {
    pub fn function(self) -> &'static str {
        match self {
            Target::LongQueries => "kill_long_queries",
            Target::IdleTransactions => "clear_idle_transactions",
        }
    }

    fn search(self) -> &'static Statement {
        match self {
            Target::LongQueries => &LONG_QUERIES,
            Target::IdleTransactions => &IDLE_TRANSACTIONS,
        }
    }

    fn signal(self, method: Method) -> &'static Statement {
        match (self, method) {
            (Target::IdleTransactions, _) => &TERMINATE_IDLE,
            (Target::LongQueries, Method::Terminate) => &TERMINATE_QUERY,
            (Target::LongQueries, Method::Cancel) => &CANCEL_QUERY,
        }
    }
}

/// Whose sessions are meant; `None`: everybody's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Within<'a> {
    pub database: Option<&'a str>,
    pub user: Option<&'a str>,
}

/// A session that was found.
pub struct Found {
    pub pid: i32,
    backend_start: i64,
    mark: i64,
    /// Since when it is at it.
    pub since: Time,
    pub query: String,
    pub user: String,
    pub database: String,
    pub application: String,
    pub exempt: Option<String>,
}

pub fn search(
    session: &Session,
    target: Target,
    longer_than_ms: i64,
    within: Within,
) -> Result<Vec<Found>, Error> {
    session.run(&CLEAR, &[])?;
    let args = [Arg::BigInt(Some(longer_than_ms)), Arg::Text(within.database), Arg::Text(within.user)];
    let rows = session.run(target.search(), &args)?;
    let micros = |time: Option<Time>| time.expect(PRESENT).0;
    Ok(rows
        .iter()
        .map(|row| Found {
            pid: row.int(1).expect(PRESENT),
            backend_start: micros(row.time(2)),
            mark: micros(row.time(3)),
            since: row.time(4).expect(PRESENT),
            query: row.text(5).unwrap_or_default(),
            user: row.text(6).unwrap_or_default(),
            database: row.text(7).unwrap_or_default(),
            application: row.text(8).unwrap_or_default(),
            exempt: row.text(9),
        })
        .collect())
}

/// How many sessions the caller cannot judge.
pub fn hidden(session: &Session, within: Within) -> Result<i64, Error> {
    let rows = session.run(&HIDDEN, &[Arg::Text(within.database), Arg::Text(within.user)])?;
    Ok(rows.first().and_then(|row| row.bigint(1)).unwrap_or(0))
}

/// Why, and in whose name.
pub struct Order<'a> {
    pub target: Target,
    pub method: Method,
    pub by: &'a str,
    pub reason: Option<&'a str>,
}

/// What became of one session.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// It has ended, or gone on to something else.
    Gone,
    /// The server said no.
    Refused(String),
}

fn write_log(session: &Session, found: &Found, order: &Order) -> Result<(), Error> {
    let rows = session.run(&DETAILS, &[Arg::Int(Some(found.pid))])?;
    let (address, state, xact_start, query_start) = match rows.first() {
        Some(row) => (row.text(1), row.text(2), row.time(3), row.time(4)),
        None => (None, None, None, None),
    };
    let method = if order.method == Method::Cancel { "cancel" } else { "terminate" };
    let _rights = OwnerRights::to_write();
    let args = [
        Arg::Text(Some(order.by)),
        Arg::Text(Some(order.target.function())),
        Arg::Text(Some(method)),
        Arg::Int(Some(found.pid)),
        Arg::Timestamp(Some(found.backend_start)),
        Arg::Text(Some(&found.user)),
        Arg::Text(Some(&found.database)),
        Arg::Text(Some(&found.application)),
        Arg::Text(address.as_deref()),
        Arg::Text(state.as_deref()),
        Arg::Timestamp(xact_start.map(|time| time.0)),
        Arg::Timestamp(query_start.map(|time| time.0)),
        Arg::Text(Some(&found.query)),
        Arg::Text(order.reason),
    ];
    session.run(&LOG, &args).map(drop)
}

/// Ends one session, with the caller's rights. The row in the log comes first: where it cannot be written nothing is
/// ended, and where nothing was ended it goes again.
pub fn end(session: &Session, found: &Found, order: &Order) -> Result<Outcome, Error> {
    let may_write = session.run(&MAY_WRITE, &[])?.first().and_then(|row| row.bool(1)) == Some(true);
    let ended = undoable(|| {
        if may_write {
            write_log(session, found, order)?;
        }
        session.run(&CLEAR, &[])?;
        let args = [
            Arg::Int(Some(found.pid)),
            Arg::Timestamp(Some(found.backend_start)),
            Arg::Timestamp(Some(found.mark)),
        ];
        let signalled = session.run(order.target.signal(order.method), &args)?;
        Ok((signalled.first().and_then(|row| row.bool(1)) == Some(true)).then_some(()))
    });
    match ended {
        Ok(Some(())) => {
            pgrx::log!(
                "neobank: {} by {}: {} process {} of user {:?}, database {:?}, application {:?}; reason: {}",
                order.target.function(),
                order.by,
                order.method.done().to_lowercase(),
                found.pid,
                found.user,
                found.database,
                found.application,
                order.reason.unwrap_or("none given")
            );
            Ok(Outcome::Done)
        }
        Ok(None) => Ok(Outcome::Gone),
        Err(Error::Server(error)) if error.stops_all() => Err(Error::Server(error)),
        Err(error) => Ok(Outcome::Refused(Failure::of(error).message)),
    }
}
