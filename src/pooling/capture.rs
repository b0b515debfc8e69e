//! Samples of connections and of the load on them.

use crate::error::Error;
use crate::pg::compat::PinnedSearchPath;
use crate::pg::{Arg, Session, Statement, Time, Type, finish};
use crate::txn_processing::required;
use pgrx::datum::Interval;
use pgrx::prelude::*;

const MICROS_PER_DAY: i128 = 86_400_000_000;
const MOST_DAYS: i128 = 366;
const MOST_GROUPS: i32 = 1_000;

/// Groups beyond the largest ones go into one row of each database. Two sessions may sample in the same microsecond: one
/// of them is as good as the other.
static CONNECTIONS: Statement = Statement::new(
    c"INSERT INTO pooling.samples AS s
      SELECT $1, g.database_name, g.user_name, g.application_name, g.connections, g.active, g.idle,
             g.idle_in_transaction, g.aborted, g.not_visible, g.on_cpu, g.waiting_lock, g.waiting_io,
             g.oldest_connection_seconds, g.longest_transaction_seconds
      FROM pooling.session_groups($2) g
      ON CONFLICT DO NOTHING",
    &[Type::Timestamp, Type::Int],
);

static LOAD: Statement = Statement::new(
    c"INSERT INTO pooling.load_samples AS s
      SELECT $1, d.datname, pg_catalog.current_setting('max_connections')::int, pooling.usable_connections(),
             d.numbackends, d.xact_commit + d.xact_rollback, d.active_time::numeric,
             d.idle_in_transaction_time::numeric, d.sessions, d.sessions_abandoned + d.sessions_fatal
             + d.sessions_killed, d.stats_reset
      FROM pg_catalog.pg_stat_database d
      WHERE d.datid <> 0 AND (d.numbackends > 0 OR d.datname = pg_catalog.current_database())
      ORDER BY d.datname = pg_catalog.current_database() DESC, d.numbackends DESC, d.datname
      LIMIT $2
      ON CONFLICT DO NOTHING",
    &[Type::Timestamp, Type::Int],
);

/// More than a call can add, and so that none takes long. Rows that others delete at this moment are theirs.
macro_rules! forget {
    ($table:literal, $time:literal) => {
        Statement::new(
            crate::pg::spi::c_text(concat!(
                "DELETE FROM ",
                $table,
                " WHERE ctid = ANY (ARRAY(SELECT o.ctid FROM ",
                $table,
                " o WHERE o.",
                $time,
                " < $1 ORDER BY o.",
                $time,
                " LIMIT 10000 FOR UPDATE SKIP LOCKED))\0"
            )),
            &[Type::Timestamp],
        )
    };
}
static FORGET: [Statement; 3] = [
    forget!("pooling.samples", "sampled_at"),
    forget!("pooling.load_samples", "sampled_at"),
    forget!("pooling.pool_stats", "collected_at"),
];

/// A period in microseconds, a month being 30 days.
fn bounded(argument: &'static str, period: &Interval) -> Result<i64, Error> {
    let days = i128::from(period.months()) * 30 + i128::from(period.days());
    let micros = days * MICROS_PER_DAY + i128::from(period.micros());
    if micros > 0 && micros <= MOST_DAYS * MICROS_PER_DAY {
        return Ok(micros as i64);
    }
    let why = format!("It must be above 0 and up to {MOST_DAYS} days.");
    Err(Error::ArgumentBounds { argument, why })
}

/// For SQL functions.
#[pg_extern(schema = "pooling", immutable, parallel_safe)]
fn bounded_period(since: Option<Interval>) -> Interval {
    finish(required("since", since).and_then(|since| bounded("since", &since).map(|_| since)))
}

#[pg_extern(schema = "pooling", volatile, parallel_unsafe)]
fn capture_sample(
    keep: default!(Option<Interval>, "'7 days'"),
    max_groups: default!(Option<i32>, 100),
) -> Option<Time> {
    let captured = (|| {
        let keep = bounded("keep", &required("keep", keep)?)?;
        let most = required("max_groups", max_groups)?;
        if !(1..=MOST_GROUPS).contains(&most) {
            let why = format!("It is {most}; it must be 1 to {MOST_GROUPS}.");
            return Err(Error::ArgumentBounds { argument: "max_groups", why });
        }
        let now = crate::pg::server::clock_micros();
        let _path = PinnedSearchPath::pin();
        let session = Session::write();
        // First the states: to ask for them clears what this transaction has seen of the statistics before.
        session.run(&CONNECTIONS, &[Arg::Timestamp(Some(now)), Arg::Int(Some(most))])?;
        session.run(&LOAD, &[Arg::Timestamp(Some(now)), Arg::Int(Some(most))])?;
        for forget in &FORGET {
            session.run(forget, &[Arg::Timestamp(Some(now - keep))])?;
        }
        Ok(Some(Time(now)))
    })();
    finish(captured)
}
