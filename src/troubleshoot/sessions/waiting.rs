//! What the server shows of one session.

use super::core::{Blocker, Lock, Seen};
use crate::error::Error;
use crate::pg::compat::PinnedSearchPath;
use crate::pg::{Arg, PRESENT, Session, Statement, Type};
use rust_decimal::Decimal;

static CLEAR: Statement = Statement::new(c"SELECT pg_catalog.pg_stat_clear_snapshot()", &[]);

static SESSION: Statement = Statement::new(
    c"SELECT a.backend_type, a.state, a.wait_event_type, a.wait_event,
             pg_catalog.floor(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start))::bigint
      FROM pg_catalog.pg_stat_activity a WHERE a.pid = $1",
    &[Type::Int],
);

static LOCKS: Statement = Statement::new(
    c"SELECT w.lock_type, w.wanted_mode, w.object, w.blocker_pid, w.prepared_gid, w.queued, w.held_mode,
             pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - w.waiting_since), 3)
      FROM troubleshoot.lock_waits() w WHERE w.waiter_pid = $1
      ORDER BY w.queued, w.blocker_pid, w.prepared_gid",
    &[Type::Int],
);

static REMEDY: Statement = Statement::new(
    c"WITH tree AS MATERIALIZED (SELECT * FROM troubleshoot.blocking_tree)
      SELECT r.remediation_sql FROM tree t
      JOIN tree r ON r.root_pid = t.root_pid AND r.root_gid IS NOT DISTINCT FROM t.root_gid
      WHERE t.pid = $1 AND r.remediation_sql IS NOT NULL AND r.pid = ANY (t.path) AND r.pid <> t.pid
      ORDER BY r.depth LIMIT 1",
    &[Type::Int],
);

/// A session, and how long it has waited for its lock.
pub struct Looked {
    pub seen: Seen,
    pub waiting_seconds: Option<Decimal>,
    pub remediation_sql: Option<String>,
}

/// Nothing where there is no such process.
pub fn look(pid: i32) -> Result<Option<Looked>, Error> {
    let _path = PinnedSearchPath::pin();
    let session = Session::read();
    session.run(&CLEAR, &[])?;
    let rows = session.run(&SESSION, &[Arg::Int(Some(pid))])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let mut seen = Seen {
        backend_type: row.text(1),
        state: row.text(2),
        event_type: row.text(3),
        event: row.text(4),
        transaction_seconds: row.bigint(5),
        lock: None,
    };
    let mut waiting_seconds = None;
    let rows = session.run(&LOCKS, &[Arg::Int(Some(pid))])?;
    for row in rows.iter() {
        waiting_seconds = waiting_seconds.or(row.numeric(8));
        let lock = seen.lock.get_or_insert_with(|| Lock {
            kind: row.text(1).expect(PRESENT),
            mode: row.text(2).unwrap_or_default(),
            object: row.text(3).unwrap_or_default(),
            blockers: Vec::new(),
        });
        lock.blockers.push(Blocker {
            pid: row.int(4).expect(PRESENT),
            gid: row.text(5),
            queued: row.bool(6) == Some(true),
            held_mode: row.text(7),
        });
    }
    let remediation_sql = match seen.lock {
        None => None,
        Some(_) => session.run(&REMEDY, &[Arg::Int(Some(pid))])?.first().and_then(|row| row.text(1)),
    };
    Ok(Some(Looked { seen, waiting_seconds, remediation_sql }))
}
