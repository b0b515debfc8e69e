//! Deadlocks, as far as one can come to know of them.

use super::core::{self, Logged};
use crate::error::Error;
use crate::pg::subtransaction::attempted;
use crate::pg::{Arg, OwnerRights, PRESENT, Session, Statement, Type};

/// How much of the log one call reads.
const MAX_LOG_BYTES: i64 = 16 * 1024 * 1024;

static RECORD: Statement = Statement::new(
    c"INSERT INTO concurrency.deadlock_log
          (deadlock_time, process_id, transaction_id, query_text, lock_info, resolution, source, reported_by)
      VALUES (coalesce($1::timestamptz, clock_timestamp()), $2,
              concurrency.widen_xid($3::xid, pg_snapshot_xmax(pg_current_snapshot())), $4, $5::jsonb, $6, $7, $8)
      RETURNING log_id",
    &[Type::Text, Type::Int, Type::Text, Type::Text, Type::Text, Type::Text, Type::Text, Type::Text],
);

static START: Statement = Statement::new(
    c"INSERT INTO concurrency.deadlock_collection (deadlocks, counted_since, collected_at)
      SELECT d.deadlocks, d.stats_reset, clock_timestamp() FROM pg_catalog.pg_stat_database d
      WHERE d.datname = current_database()
      ON CONFLICT (only_row) DO NOTHING",
    &[],
);

static LOCK: Statement = Statement::new(
    c"SELECT c.deadlocks, c.log_file, c.log_offset,
             (SELECT CASE WHEN d.stats_reset IS NOT DISTINCT FROM c.counted_since THEN d.deadlocks - c.deadlocks
                     ELSE d.deadlocks END
              FROM pg_catalog.pg_stat_database d WHERE d.datname = current_database()),
             (SELECT count(*) FROM concurrency.deadlock_log l
              WHERE l.source <> 'counter' AND l.deadlock_time > c.collected_at),
             current_database()::text
      FROM concurrency.deadlock_collection c FOR UPDATE",
    &[],
);

static KEEP: Statement = Statement::new(
    c"UPDATE concurrency.deadlock_collection c
      SET deadlocks = d.deadlocks, counted_since = d.stats_reset, collected_at = clock_timestamp(), log_file = $1,
          log_offset = $2
      FROM pg_catalog.pg_stat_database d WHERE d.datname = current_database()",
    &[Type::Text, Type::BigInt],
);

static CLEAR: Statement = Statement::new(c"SELECT pg_catalog.pg_stat_clear_snapshot()", &[]);

static LOG_FILE: Statement = Statement::new(
    c"SELECT f.name, (pg_catalog.pg_stat_file(f.name, true)).size
      FROM (SELECT pg_catalog.pg_current_logfile('jsonlog') AS name) f WHERE f.name IS NOT NULL",
    &[],
);

static LOG: Statement = Statement::new(
    c"SELECT pg_catalog.pg_read_binary_file($1, $2, $3, true)",
    &[Type::Text, Type::BigInt, Type::BigInt],
);

static KNOWN: Statement = Statement::new(
    c"SELECT EXISTS (SELECT FROM concurrency.deadlock_log l
                     WHERE l.source = 'client' AND l.process_id = $1
                       AND l.deadlock_time BETWEEN $2::timestamptz - interval '1 second' AND $2::timestamptz + interval '1 minute')",
    &[Type::Int, Type::Text],
);

/// One row of the log to be.
pub struct Report<'a> {
    pub at: Option<&'a str>,
    pub pid: Option<i32>,
    pub transaction: Option<String>,
    pub query: Option<&'a str>,
    pub detail: &'a str,
    pub resolution: Option<&'a str>,
    pub source: &'a str,
    pub role: &'a str,
}

/// Writes it down; its number.
pub fn record(session: &Session, report: &Report) -> Result<i64, Error> {
    let waits = core::waits_of(report.detail);
    let info = core::lock_info(&waits, report.detail).to_string();
    write(session, report, report.pid.or_else(|| waits.first().map(|wait| wait.pid)), &info)
}

fn write(session: &Session, report: &Report, pid: Option<i32>, info: &str) -> Result<i64, Error> {
    let args = [
        Arg::Text(report.at),
        Arg::Int(pid),
        Arg::Text(report.transaction.as_deref()),
        Arg::Text(report.query),
        Arg::Text(Some(info)),
        Arg::Text(report.resolution),
        Arg::Text(Some(report.source)),
        Arg::Text(Some(report.role)),
    ];
    Ok(session.one(&RECORD, &args, |row| row.bigint(1).expect(PRESENT))?.expect("a row was written"))
}

/// Where the log is read from, and what is there.
struct Piece {
    file: String,
    offset: i64,
    bytes: Vec<u8>,
}

/// What was added to the server's log in JSON since that place, with the caller's own rights; of what was there at the
/// first call nothing. None where there is no such log, or the caller may not read it.
fn piece(seen: Option<&str>, offset: i64, is_first: bool) -> Result<Option<Piece>, Error> {
    let read = attempted(|| {
        let session = Session::write();
        let found = session.run(&LOG_FILE, &[])?.first().map(|row| (row.text(1), row.bigint(2)));
        let Some((Some(file), Some(size))) = found else { return Ok(None) };
        if is_first {
            return Ok(Some(Piece { file, offset: size, bytes: Vec::new() }));
        }
        // Another file than at the last call, or one that was begun anew, is read from its beginning.
        let offset = if seen == Some(file.as_str()) && offset <= size { offset } else { 0 };
        let args = [Arg::Text(Some(&file)), Arg::BigInt(Some(offset)), Arg::BigInt(Some(MAX_LOG_BYTES))];
        let bytes = session.run(&LOG, &args)?.first().and_then(|row| row.get::<Vec<u8>>(1));
        Ok(Some(Piece { file, offset, bytes: bytes.unwrap_or_default() }))
    })?;
    Ok(read.ok().flatten())
}

fn record_logged(session: &Session, logged: &Logged, role: &str) -> Result<bool, Error> {
    let args = [Arg::Int(logged.pid), Arg::Text(Some(&logged.at))];
    if session.one(&KNOWN, &args, |row| row.bool(1))?.flatten() == Some(true) {
        return Ok(false);
    }
    let report = Report {
        at: Some(&logged.at),
        pid: logged.pid,
        transaction: logged.transaction.map(|id| id.to_string()),
        query: logged.statement.as_deref(),
        detail: &logged.detail,
        resolution: Some("ended by the server"),
        source: "server log",
        role,
    };
    record(session, &report).map(|_| true)
}

/// Writes down what the log and the counter have since the last call; how many rows.
pub fn collect(role: &str) -> Result<i32, Error> {
    let (is_first, seen, offset, counted, told, database) = {
        let _rights = OwnerRights::to_write();
        let session = Session::write();
        session.run(&CLEAR, &[])?;
        let is_first = session.run(&START, &[])?.count() > 0;
        let rows = session.run_latest(&LOCK, &[])?;
        let row = rows.first().expect("the row is there by now");
        let number = |column| row.bigint(column).unwrap_or(0);
        (is_first, row.text(2), number(3), number(4), number(5), row.text(6).expect(PRESENT))
    };
    let piece = piece(seen.as_deref(), offset, is_first)?;
    let _rights = OwnerRights::to_write();
    let session = Session::write();
    let (mut rows, mut logged, mut place) = (0, 0, (seen, offset));
    if let Some(piece) = piece {
        let (found, read) = core::logged_deadlocks(&piece.bytes, &database);
        for entry in &found {
            let new = record_logged(&session, entry, role)?;
            rows += i32::from(new);
            logged += i64::from(new);
        }
        // A line that is longer than all that is read at once is not a deadlock's.
        let past =
            if read == 0 && piece.bytes.len() as i64 == MAX_LOG_BYTES { piece.bytes.len() } else { read };
        place = (Some(piece.file), piece.offset + past as i64);
    }
    let untold = counted - told - logged;
    if untold > 0 {
        let report = Report {
            at: None,
            pid: None,
            transaction: None,
            query: None,
            detail: "",
            resolution: Some("ended by the server"),
            source: "counter",
            role,
        };
        write(&session, &report, None, &format!("{{\"deadlocks\": {untold}}}"))?;
        rows += 1;
    }
    session.run(&KEEP, &[Arg::Text(place.0.as_deref()), Arg::BigInt(Some(place.1))])?;
    Ok(rows)
}
