//! Thresholds that were set, and findings that somebody has taken note of, as rows.

use super::core::Severity;
use crate::error::Error;
use crate::pg::compat::PinnedSearchPath;
use crate::pg::numeric::Unrepresentable;
use crate::pg::{Arg, Numeric, PRESENT, Row, Session, Statement, Time, Type};
use rust_decimal::Decimal;
use std::collections::HashMap;

/// In the place of a check's own.
pub struct Override {
    pub warning: Option<Decimal>,
    pub critical: Option<Decimal>,
    pub minimum: Option<Decimal>,
}

pub struct Noted {
    pub severity: Severity,
    pub until: Time,
}

static THRESHOLDS: Statement = Statement::new(
    c"SELECT t.check_id, t.warning, t.critical, t.minimum FROM troubleshoot.thresholds t",
    &[],
);

static NOTED: Statement = Statement::new(
    c"SELECT a.fingerprint, a.severity, a.acknowledged_until FROM troubleshoot.acknowledgements a
      WHERE a.acknowledged_until > pg_catalog.clock_timestamp()",
    &[],
);

static SET: Statement = Statement::new(
    c"INSERT INTO troubleshoot.thresholds (check_id, warning, critical, minimum, set_by) VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (check_id) DO UPDATE SET warning = excluded.warning, critical = excluded.critical,
          minimum = excluded.minimum, set_by = excluded.set_by, set_at = excluded.set_at",
    &[Type::Text, Type::Numeric, Type::Numeric, Type::Numeric, Type::Text],
);

static RESET: Statement = Statement::new(
    c"DELETE FROM troubleshoot.thresholds WHERE check_id = $1 RETURNING check_id",
    &[Type::Text],
);

static FIND: Statement = Statement::new(
    c"SELECT c.severity, c.object FROM troubleshoot.checks(ARRAY[$1]) c WHERE c.fingerprint = $2",
    &[Type::Text, Type::Text],
);

static ACKNOWLEDGE: Statement = Statement::new(
    c"INSERT INTO troubleshoot.acknowledgements (fingerprint, severity, object, acknowledged_until, reason, acknowledged_by)
      VALUES ($1, $2, $3, $4, $5, $6)
      ON CONFLICT (fingerprint) DO UPDATE SET severity = excluded.severity, object = excluded.object,
          acknowledged_until = excluded.acknowledged_until, reason = excluded.reason,
          acknowledged_by = excluded.acknowledged_by, acknowledged_at = excluded.acknowledged_at",
    &[Type::Text, Type::Text, Type::Text, Type::Timestamp, Type::Text, Type::Text],
);

static UNACKNOWLEDGE: Statement = Statement::new(
    c"DELETE FROM troubleshoot.acknowledgements WHERE fingerprint = $1 RETURNING acknowledged_until",
    &[Type::Text],
);

static NOTE_RESTORE: Statement = Statement::new(
    c"INSERT INTO troubleshoot.restore_tests (tested_at, note, noted_by) VALUES ($1, $2, $3)
      ON CONFLICT (tested_at) DO UPDATE SET note = excluded.note, noted_by = excluded.noted_by, noted_at = excluded.noted_at",
    &[Type::Timestamp, Type::Text, Type::Text],
);

/// One that a row has, or none; a row that an owner wrote past `set_threshold` may have what is no figure here.
fn figure(row: &Row, column: i32) -> Result<Option<Decimal>, Unrepresentable> {
    row.get::<Numeric>(column).map(|figure| figure.0).transpose()
}

fn overriding(row: &Row) -> Result<Override, Unrepresentable> {
    Ok(Override { warning: figure(row, 2)?, critical: figure(row, 3)?, minimum: figure(row, 4)? })
}

/// By the check's name; nothing where they cannot be read.
pub fn thresholds(session: &Session) -> Result<HashMap<String, Option<Override>>, Error> {
    let rows = session.run(&THRESHOLDS, &[])?;
    Ok(rows.iter().map(|row| (row.text(1).expect(PRESENT), overriding(&row).ok())).collect())
}

pub fn noted(session: &Session) -> Result<HashMap<String, Noted>, Error> {
    let rows = session.run(&NOTED, &[])?;
    Ok(rows
        .iter()
        .map(|row| {
            let word = row.text(2).expect(PRESENT);
            let severity = Severity::of_word(&word).expect("a check of the table's");
            (row.text(1).expect(PRESENT), Noted { severity, until: row.time(3).expect(PRESENT) })
        })
        .collect())
}

pub fn set(session: &Session, check: &str, own: &Override, caller: &str) -> Result<(), Error> {
    let args = [
        Arg::Text(Some(check)),
        Arg::Numeric(own.warning),
        Arg::Numeric(own.critical),
        Arg::Numeric(own.minimum),
        Arg::Text(Some(caller)),
    ];
    session.run(&SET, &args).map(drop)
}

/// Whether there were any.
pub fn reset(session: &Session, check: &str) -> Result<bool, Error> {
    Ok(session.run(&RESET, &[Arg::Text(Some(check))])?.count() > 0)
}

/// A finding as the caller sees it now: its severity, and what it is of.
pub fn find(
    session: &Session,
    check: &str,
    fingerprint: &str,
) -> Result<Option<(String, Option<String>)>, Error> {
    let _path = PinnedSearchPath::pin();
    let rows = session.run(&FIND, &[Arg::Text(Some(check)), Arg::Text(Some(fingerprint))])?;
    Ok(rows.first().map(|row| (row.text(1).expect(PRESENT), row.text(2))))
}

pub struct Note<'a> {
    pub fingerprint: &'a str,
    pub severity: &'a str,
    pub object: Option<&'a str>,
    pub until: Time,
    pub reason: &'a str,
}

pub fn acknowledge(session: &Session, note: &Note, caller: &str) -> Result<(), Error> {
    let args = [
        Arg::Text(Some(note.fingerprint)),
        Arg::Text(Some(note.severity)),
        Arg::Text(note.object),
        Arg::Timestamp(Some(note.until.0)),
        Arg::Text(Some(note.reason)),
        Arg::Text(Some(caller)),
    ];
    session.run(&ACKNOWLEDGE, &args).map(drop)
}

/// Whether there was one.
pub fn unacknowledge(session: &Session, fingerprint: &str) -> Result<bool, Error> {
    Ok(session.run(&UNACKNOWLEDGE, &[Arg::Text(Some(fingerprint))])?.count() > 0)
}

pub fn note_restore(session: &Session, tested_at: Time, note: &str, caller: &str) -> Result<(), Error> {
    let args = [Arg::Timestamp(Some(tested_at.0)), Arg::Text(Some(note)), Arg::Text(Some(caller))];
    session.run(&NOTE_RESTORE, &args).map(drop)
}
