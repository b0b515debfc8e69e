//! What is made of a value: how bad it is, and what names the finding.
#![forbid(unsafe_code)]

use rust_decimal::Decimal;

pub use crate::troubleshoot::severity::Severity;

/// Which way is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    Higher,
    Lower,
}

/// From which value on a finding is a warning, and critical. One that is not given is never reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    pub warning: Option<Decimal>,
    pub critical: Option<Decimal>,
}

impl Thresholds {
    /// The first one that a value going from good to bad comes by.
    pub fn mildest(&self, worse: Worse) -> Option<Decimal> {
        match (self.warning, self.critical) {
            (Some(warning), Some(critical)) => Some(match worse {
                Worse::Higher => warning.min(critical),
                Worse::Lower => warning.max(critical),
            }),
            (warning, critical) => warning.or(critical),
        }
    }

    /// Whether the warning comes no later than the alarm.
    pub fn are_in_order(&self, worse: Worse) -> bool {
        match (self.warning, self.critical) {
            (Some(warning), Some(critical)) => reaches(critical, warning, worse),
            _ => true,
        }
    }

    pub fn grade(&self, value: Decimal, worse: Worse) -> Severity {
        let is_past = |threshold: Option<Decimal>| threshold.is_some_and(|at| reaches(value, at, worse));
        if is_past(self.critical) {
            Severity::Critical
        } else if is_past(self.warning) {
            Severity::Warning
        } else {
            Severity::Ok
        }
    }
}

fn reaches(value: Decimal, threshold: Decimal, worse: Worse) -> bool {
    match worse {
        Worse::Higher => value >= threshold,
        Worse::Lower => value <= threshold,
    }
}

/// The severity of a finding. `at_least`: what its query says whatever the value is; unknown stays unknown.
/// `cap`: the worst that findings of this check can be by their value.
pub fn severity(
    value: Option<Decimal>,
    at_least: Option<Severity>,
    thresholds: &Thresholds,
    worse: Worse,
    cap: Severity,
) -> Severity {
    if at_least == Some(Severity::Unknown) {
        return Severity::Unknown;
    }
    let graded = value.map_or(Severity::Ok, |value| thresholds.grade(value, worse)).min(cap);
    graded.max(at_least.unwrap_or(Severity::Ok))
}

/// What names a finding for as long as it lasts, and again when it comes back: the check, and 64 bits of FNV-1a
/// (Fowler, Noll and Vo) of what tells it from others of that check.
pub fn fingerprint(check: &str, identity: Option<&str>) -> String {
    let Some(identity) = identity else { return check.to_owned() };
    let hash = identity.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{check}:{hash:016x}")
}

/// The check that a fingerprint is of.
pub fn check_of(fingerprint: &str) -> &str {
    fingerprint.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thresholds(warning: Option<i64>, critical: Option<i64>) -> Thresholds {
        Thresholds { warning: warning.map(Decimal::from), critical: critical.map(Decimal::from) }
    }

    fn grade(value: i64, warning: Option<i64>, critical: Option<i64>, worse: Worse) -> Severity {
        severity(Some(value.into()), None, &thresholds(warning, critical), worse, Severity::Critical)
    }

    #[test]
    fn a_threshold_is_reached_at_its_value() {
        assert_eq!(grade(74, Some(75), Some(90), Worse::Higher), Severity::Ok);
        assert_eq!(grade(75, Some(75), Some(90), Worse::Higher), Severity::Warning);
        assert_eq!(grade(90, Some(75), Some(90), Worse::Higher), Severity::Critical);
        assert_eq!(grade(15, Some(14), Some(3), Worse::Lower), Severity::Ok);
        assert_eq!(grade(14, Some(14), Some(3), Worse::Lower), Severity::Warning);
        assert_eq!(grade(-1, Some(14), Some(3), Worse::Lower), Severity::Critical);
    }

    #[test]
    fn a_threshold_that_is_not_given_is_never_reached() {
        assert_eq!(grade(i64::MAX, None, None, Worse::Higher), Severity::Ok);
        assert_eq!(grade(100, Some(1), None, Worse::Higher), Severity::Warning);
        assert_eq!(grade(100, None, Some(1), Worse::Higher), Severity::Critical);
    }

    #[test]
    fn the_mildest_is_what_queries_go_by() {
        assert_eq!(thresholds(Some(75), Some(90)).mildest(Worse::Higher), Some(75.into()));
        assert_eq!(thresholds(Some(14), Some(3)).mildest(Worse::Lower), Some(14.into()));
        assert_eq!(thresholds(None, Some(3)).mildest(Worse::Lower), Some(3.into()));
        assert_eq!(thresholds(None, None).mildest(Worse::Higher), None);
        assert!(!thresholds(Some(90), Some(75)).are_in_order(Worse::Higher));
        assert!(thresholds(Some(90), Some(75)).are_in_order(Worse::Lower));
    }

    #[test]
    fn what_the_query_says_is_the_least_and_unknown_stays_unknown() {
        let of = |at_least, cap| {
            severity(Some(95.into()), at_least, &thresholds(Some(75), Some(90)), Worse::Higher, cap)
        };
        assert_eq!(of(Some(Severity::Unknown), Severity::Critical), Severity::Unknown);
        assert_eq!(of(Some(Severity::Warning), Severity::Critical), Severity::Critical);
        assert_eq!(of(None, Severity::Info), Severity::Info);
        let unmeasured = severity(
            None,
            Some(Severity::Warning),
            &thresholds(None, None),
            Worse::Higher,
            Severity::Critical,
        );
        assert_eq!(unmeasured, Severity::Warning);
    }

    #[test]
    fn a_note_of_something_covers_nothing_worse() {
        assert!(Severity::Warning.is_covered_by(Severity::Warning));
        assert!(Severity::Warning.is_covered_by(Severity::Critical));
        assert!(!Severity::Critical.is_covered_by(Severity::Warning));
        assert!(!Severity::Unknown.is_covered_by(Severity::Critical));
        assert!(!Severity::Info.is_covered_by(Severity::Unknown));
    }

    #[test]
    fn a_fingerprint_is_the_published_hash_and_names_its_check() {
        // The vectors of the FNV reference code.
        assert_eq!(fingerprint("slot", Some("")), "slot:cbf29ce484222325");
        assert_eq!(fingerprint("slot", Some("a")), "slot:af63dc4c8601ec8c");
        assert_eq!(fingerprint("slot", Some("foobar")), "slot:85944171f73967e8");
        assert_eq!(fingerprint("slot", None), "slot");
        assert_eq!(check_of("slot:af63dc4c8601ec8c"), "slot");
        assert_eq!(check_of("slot"), "slot");
    }

    #[test]
    fn every_severity_has_its_word() {
        for word in ["ok", "info", "unknown", "warning", "critical"] {
            assert_eq!(Severity::of_word(word).map(Severity::word), Some(word));
        }
        assert_eq!(Severity::of_word("fatal"), None);
    }
}
