//! Checks: the SQL functions.

use super::core::{Thresholds, Worse, check_of};
use super::files;
use super::registry::{CHECKS, Check, find};
use super::run::{Finding, run};
use super::settings::{self, Note, Override};
use crate::error::Error;
use crate::pg::{Many, Numeric, Session, Text, Time, finish, server, survey};
use crate::txn_processing::bounds::given_reason;
use crate::txn_processing::engine::Desk;
use crate::txn_processing::required;
use pgrx::prelude::*;
use rust_decimal::Decimal;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// How long somebody may take note of a finding.
const MAX_ACKNOWLEDGED_DAYS: i64 = 366;
const MAX_THRESHOLD: i64 = 1_000_000_000_000_000_000;

fn known(check_id: &str) -> Result<&'static Check, Error> {
    find(check_id).ok_or_else(|| Error::CheckNotFound { check: check_id.to_owned() })
}

fn chosen(only: Option<&Many<String>>) -> Result<Vec<&'static Check>, Error> {
    let Some(only) = only else { return Ok(CHECKS.iter().collect()) };
    let mut checks = Vec::new();
    for name in &only.0 {
        let check = known(required("only_checks", name.as_deref())?)?;
        if !checks.iter().any(|other: &&Check| other.id == check.id) {
            checks.push(check);
        }
    }
    Ok(checks)
}

/// The row type of `troubleshoot.run_checks`.
type Row = (
    String,
    String,
    Option<String>,
    Option<Numeric>,
    Option<String>,
    Option<Numeric>,
    Option<Numeric>,
    String,
    Option<String>,
    String,
    Option<Time>,
);

fn row(finding: Finding) -> Row {
    (
        finding.check.to_owned(),
        finding.severity.word().to_owned(),
        finding.object,
        finding.value.map(Into::into),
        finding.unit.map(str::to_owned),
        finding.thresholds.warning.map(Into::into),
        finding.thresholds.critical.map(Into::into),
        finding.detail,
        finding.remedy,
        finding.fingerprint,
        finding.acknowledged_until,
    )
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn run_checks(
    only_checks: default!(Option<Many<String>>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(check_id, String),
        name!(severity, String),
        name!(object, Option<String>),
        name!(value, Option<Numeric>),
        name!(unit, Option<String>),
        name!(warning_threshold, Option<Numeric>),
        name!(critical_threshold, Option<Numeric>),
        name!(detail, String),
        name!(remediation_sql, Option<String>),
        name!(fingerprint, String),
        name!(acknowledged_until, Option<Time>),
    ),
> {
    let found = chosen(only_checks.as_ref()).and_then(|checks| run(&checks));
    drop(only_checks);
    TableIterator::new(finish(found).into_iter().map(row))
}

#[pg_extern(schema = "troubleshoot", immutable, parallel_safe)]
#[allow(clippy::type_complexity)]
fn check_definitions() -> TableIterator<
    'static,
    (
        name!(check_id, String),
        name!(category, String),
        name!(title, String),
        name!(unit, Option<String>),
        name!(worse, Option<String>),
        name!(warning, Option<Numeric>),
        name!(critical, Option<Numeric>),
        name!(minimum, Option<Numeric>),
        name!(minimum_unit, Option<String>),
    ),
> {
    let worse = |check: &Check| {
        let word = match check.worse {
            Worse::Higher => "higher",
            Worse::Lower => "lower",
        };
        check.is_measured().then(|| word.to_owned())
    };
    TableIterator::new(CHECKS.iter().map(move |check| {
        let Thresholds { warning, critical } = check.default_thresholds();
        (
            check.id.to_owned(),
            check.category.to_owned(),
            check.title.to_owned(),
            check.unit.map(str::to_owned),
            worse(check),
            warning.map(Into::into),
            critical.map(Into::into),
            check.default_minimum().map(Into::into),
            check.minimum_unit().map(str::to_owned),
        )
    }))
}

fn bounded(argument: &'static str, value: Option<Numeric>) -> Result<Option<Decimal>, Error> {
    let most = Decimal::from(MAX_THRESHOLD);
    match value.map(|value| value.0) {
        None => Ok(None),
        Some(Ok(value)) if value >= Decimal::ZERO && value <= most => Ok(Some(value)),
        Some(_) => {
            let why = "It must be a number from 0 to 10^18, with up to 28 digits.".to_owned();
            Err(Error::ArgumentBounds { argument, why })
        }
    }
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn set_threshold(
    check_id: Option<Text>,
    warning: Option<Numeric>,
    critical: Option<Numeric>,
    minimum: default!(Option<Numeric>, "NULL"),
) {
    let set = (|| {
        let check = known(required("check_id", check_id.as_deref())?)?;
        if !check.is_measured() {
            return Err(Error::NoThreshold { check: check.id.to_owned() });
        }
        let own = Override {
            warning: bounded("warning", warning)?,
            critical: bounded("critical", critical)?,
            minimum: bounded("minimum", minimum)?,
        };
        if !(Thresholds { warning: own.warning, critical: own.critical }).are_in_order(check.worse) {
            let why = "The warning must come before it on the way from good to bad.".to_owned();
            return Err(Error::ArgumentBounds { argument: "critical", why });
        }
        if own.minimum.is_some() && check.minimum_unit().is_none() {
            let why = format!("Check {:?} has no minimum.", check.id);
            return Err(Error::ArgumentBounds { argument: "minimum", why });
        }
        let desk = Desk::open();
        settings::set(desk.session(), check.id, &own, &desk.caller)
    })();
    drop(check_id);
    finish(set);
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn reset_threshold(check_id: Option<Text>) -> bool {
    let reset = (|| {
        let check = known(required("check_id", check_id.as_deref())?)?;
        settings::reset(Desk::open().session(), check.id)
    })();
    drop(check_id);
    finish(reset)
}

fn bounded_until(until: Time) -> Result<Time, Error> {
    let now = server::clock_micros();
    if until.0 > now && until.0 <= now + MAX_ACKNOWLEDGED_DAYS * MICROS_PER_DAY {
        return Ok(until);
    }
    let why = format!("It must lie in the future, at most {MAX_ACKNOWLEDGED_DAYS} days ahead.");
    Err(Error::ArgumentBounds { argument: "until", why })
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn acknowledge(fingerprint: Option<Text>, until: Option<Time>, reason: Option<Text>) {
    let done = (|| {
        let fingerprint = required("fingerprint", fingerprint.as_deref())?;
        let until = bounded_until(required("until", until)?)?;
        let reason = given_reason("reason", required("reason", reason.as_deref())?)?;
        let unknown = || Error::FindingNotFound { fingerprint: fingerprint.to_owned() };
        let check = find(check_of(fingerprint)).ok_or_else(unknown)?;
        let found = settings::find(&Session::survey(), check.id, fingerprint)?;
        let (severity, object) = found.filter(|(severity, _)| severity != "ok").ok_or_else(unknown)?;
        let note = Note { fingerprint, severity: &severity, object: object.as_deref(), until, reason };
        let desk = Desk::open();
        settings::acknowledge(desk.session(), &note, &desk.caller)
    })();
    drop((fingerprint, reason));
    finish(done);
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn unacknowledge(fingerprint: Option<Text>) -> bool {
    let done = required("fingerprint", fingerprint.as_deref())
        .and_then(|fingerprint| settings::unacknowledge(Desk::open().session(), fingerprint));
    drop(fingerprint);
    finish(done)
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn note_restore_test(tested_at: Option<Time>, note: Option<Text>) {
    let noted = (|| {
        let tested_at = required("tested_at", tested_at)?;
        let note = given_reason("note", required("note", note.as_deref())?)?;
        let age = server::clock_micros().checked_sub(tested_at.0);
        if !age.is_some_and(|age| (0..=36_525 * MICROS_PER_DAY).contains(&age)) {
            let why = "It must lie in the past, at most a hundred years back.".to_owned();
            return Err(Error::ArgumentBounds { argument: "tested_at", why });
        }
        let desk = Desk::open();
        settings::note_restore(desk.session(), tested_at, note, &desk.caller)
    })();
    drop(note);
    finish(noted);
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn sequence_position(sequence: Option<pg_sys::Oid>) -> Option<i64> {
    sequence.and_then(survey::sequence_position)
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn relation_file_bytes(path: Option<Text>) -> Option<i64> {
    path.and_then(|path| files::relation_file_bytes(&path))
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn multixact_member_segments() -> Option<i64> {
    files::multixact_member_segments()
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn subtransaction_overflows() -> SetOfIterator<'static, i32> {
    SetOfIterator::new(survey::subtransaction_overflows())
}
