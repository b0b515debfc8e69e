//! Runs checks one by one, each so that its failure is an answer of its own.

use super::core::{Severity, Thresholds, fingerprint, severity};
use super::registry::{Check, Needs};
use super::settings::{self, Noted, Override};
use crate::error::Error;
use crate::pg::compat::PinnedSearchPath;
use crate::pg::ereport::Failure;
use crate::pg::subtransaction::attempted;
use crate::pg::{Arg, Numeric, PRESENT, Row, Session, Statement, Time, Type};
use rust_decimal::Decimal;
use std::cmp::Reverse;
use std::collections::HashMap;

/// Findings of one check that are told one by one; the others are counted.
const MAX_FINDINGS: usize = 100;

pub struct Finding {
    pub check: &'static str,
    pub severity: Severity,
    pub object: Option<String>,
    pub value: Option<Decimal>,
    pub unit: Option<&'static str>,
    pub thresholds: Thresholds,
    pub detail: String,
    pub remedy: Option<String>,
    pub fingerprint: String,
    pub acknowledged_until: Option<Time>,
}

/// The columns of each query: identity, object, value, the least severity, detail, remedy.
const COLUMNS: [Type; 6] = [Type::Text, Type::Text, Type::Numeric, Type::Text, Type::Text, Type::Text];

/// What a query answers.
struct Raw {
    identity: String,
    object: Option<String>,
    value: Option<Decimal>,
    at_least: Option<Severity>,
    detail: String,
    remedy: Option<String>,
}

/// What the caller may see.
#[derive(Clone, Copy)]
struct Sight {
    statistics: bool,
    activity: bool,
}

// Within a transaction pg_stat_activity and the statistics stay as they were first read.
static SIGHT: Statement = Statement::new(
    c"SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'),
             pg_catalog.current_setting('track_activities') = 'on',
             pg_catalog.pg_stat_clear_snapshot() IS NULL",
    &[],
);

struct Setup {
    sight: Sight,
    own: HashMap<String, Option<Override>>,
    noted: HashMap<String, Noted>,
}

/// Runs `work` with a session of its own, in a subtransaction.
fn tried<T>(work: impl FnOnce(&Session) -> Result<T, Error>) -> Result<Result<T, Failure>, Error> {
    attempted(|| {
        let session = Session::survey();
        work(&session)
    })
}

fn set_up() -> Result<Result<Setup, Failure>, Error> {
    tried(|session| {
        let row = session.run(&SIGHT, &[])?;
        let row = row.first().expect("a SELECT without FROM answers a row");
        let statistics = row.bool(1).expect(PRESENT);
        let sight = Sight { statistics, activity: statistics && row.bool(2).expect(PRESENT) };
        Ok(Setup { sight, own: settings::thresholds(session)?, noted: settings::noted(session)? })
    })
}

fn query(
    check: &Check,
    floor: Option<Decimal>,
    minimum: Option<Decimal>,
) -> Result<Result<Vec<Raw>, Failure>, Error> {
    let found = tried(|session| {
        let rows = session.run(check.statement(), &[Arg::Numeric(floor), Arg::Numeric(minimum)])?;
        // Of most checks no row is seen until something is wrong: that would be too late to find out.
        Ok(rows.have(&COLUMNS).then(|| rows.iter().map(raw).collect()))
    })?;
    Ok(found.and_then(|rows| {
        rows.ok_or_else(|| Failure {
            sqlstate: "XX000".to_owned(),
            message: "its query has other columns than it ought to".to_owned(),
            detail: None,
        })
    }))
}

fn raw(row: Row) -> Raw {
    Raw {
        identity: row.text(1).unwrap_or_default(),
        object: row.text(2),
        // One that is not finite says nothing.
        value: row.get::<Numeric>(3).and_then(|value| value.0.ok()).map(|value| value.normalize()),
        at_least: row.text(4).and_then(|word| Severity::of_word(&word)),
        detail: row.text(5).unwrap_or_default(),
        remedy: row.text(6),
    }
}

/// A row about the check itself.
fn of_check(check: &'static Check, thresholds: Thresholds, severity: Severity, detail: String) -> Finding {
    Finding {
        check: check.id,
        severity,
        object: None,
        value: None,
        unit: check.unit,
        thresholds,
        detail,
        remedy: None,
        fingerprint: fingerprint(check.id, None),
        acknowledged_until: None,
    }
}

fn blind(check: &'static Check, thresholds: Thresholds, sight: Sight) -> Option<Finding> {
    let (detail, remedy) = match check.needs {
        Needs::Statistics | Needs::Activity if !sight.statistics => (
            "This role may not see what other sessions and standbys do.",
            "GRANT pg_monitor TO CURRENT_USER; -- by a superuser",
        ),
        Needs::Activity if !sight.activity => {
            ("track_activities is off.", "ALTER SYSTEM SET track_activities = on; SELECT pg_reload_conf();")
        }
        _ => return None,
    };
    let finding = of_check(check, thresholds, Severity::Unknown, detail.to_owned());
    Some(Finding { remedy: Some(remedy.to_owned()), ..finding })
}

/// What was set is no figure: to go by the check's own would be to go by what nobody wants.
fn unreadable(check: &'static Check) -> Finding {
    let detail =
        "Its row in troubleshoot.thresholds has what is no number from 0 to 10^18 of up to 28 digits.";
    Finding {
        remedy: Some(format!("SELECT troubleshoot.reset_threshold('{}');", check.id)),
        ..of_check(check, check.default_thresholds(), Severity::Unknown, detail.to_owned())
    }
}

fn failed(check: &'static Check, thresholds: Thresholds, failure: Failure) -> Finding {
    let why = match (failure.sqlstate.as_str(), failure.detail) {
        ("55P03", _) => "a table that it reads is locked".to_owned(),
        (_, Some(detail)) => format!("{} ({detail})", failure.message),
        (_, None) => failure.message,
    };
    of_check(
        check,
        thresholds,
        Severity::Unknown,
        format!("The check could not be made: {why}; SQLSTATE {}.", failure.sqlstate),
    )
}

fn graded(check: &'static Check, thresholds: Thresholds, raw: Raw) -> Finding {
    Finding {
        check: check.id,
        severity: severity(raw.value, raw.at_least, &thresholds, check.worse, check.cap),
        object: raw.object,
        value: raw.value,
        unit: check.unit,
        thresholds,
        detail: raw.detail,
        remedy: raw.remedy,
        fingerprint: fingerprint(check.id, Some(&raw.identity)),
        acknowledged_until: None,
    }
}

/// The worst ones, and how many there are besides.
fn shortened(check: &'static Check, thresholds: Thresholds, mut found: Vec<Finding>) -> Vec<Finding> {
    found.sort_by_key(|finding| (Reverse(finding.severity), Reverse(finding.value)));
    if found.len() > MAX_FINDINGS {
        let rest = found.split_off(MAX_FINDINGS);
        let severity = rest.first().map_or(Severity::Ok, |finding| finding.severity);
        let detail = format!("{} more findings of this check are not shown.", rest.len());
        found.push(Finding {
            fingerprint: fingerprint(check.id, Some("more")),
            object: Some(format!("{} more", rest.len())),
            ..of_check(check, thresholds, severity, detail)
        });
    }
    found
}

fn one(check: &'static Check, setup: &Setup) -> Result<Vec<Finding>, Error> {
    let own = setup.own.get(check.id);
    if matches!(own, Some(None)) {
        return Ok(vec![unreadable(check)]);
    }
    let own = own.and_then(Option::as_ref);
    let thresholds = own.map_or(check.default_thresholds(), |own| Thresholds {
        warning: own.warning,
        critical: own.critical,
    });
    if let Some(finding) = blind(check, thresholds, setup.sight) {
        return Ok(vec![finding]);
    }
    let minimum = own.and_then(|own| own.minimum).or(check.default_minimum());
    Ok(match query(check, thresholds.mildest(check.worse), minimum)? {
        Err(failure) => vec![failed(check, thresholds, failure)],
        Ok(rows) if rows.is_empty() => {
            vec![of_check(check, thresholds, Severity::Ok, "Nothing was found.".to_owned())]
        }
        Ok(rows) => {
            let found = rows.into_iter().map(|raw| graded(check, thresholds, raw)).collect();
            shortened(check, thresholds, found)
        }
    })
}

/// Runs the checks; the most urgent findings come first.
pub fn run(checks: &[&'static Check]) -> Result<Vec<Finding>, Error> {
    let _path = PinnedSearchPath::pin();
    let setup = match set_up()? {
        Ok(setup) => setup,
        Err(failure) => {
            // What was set is not known, so nothing can be told from thresholds.
            return Ok(checks
                .iter()
                .map(|check| failed(check, check.default_thresholds(), failure.clone()))
                .collect());
        }
    };
    let mut found = Vec::new();
    for check in checks {
        found.extend(one(check, &setup)?);
    }
    for finding in &mut found {
        let noted = setup.noted.get(&finding.fingerprint);
        finding.acknowledged_until =
            noted.filter(|noted| finding.severity.is_covered_by(noted.severity)).map(|noted| noted.until);
    }
    found.sort_by_key(|finding| Reverse(finding.severity));
    Ok(found)
}
