//! Rates of counters, and deviations from what is usual.
#![forbid(unsafe_code)]

use super::watched::{Bad, Watched};

pub use crate::troubleshoot::severity::Severity;

const MICROS: f64 = 1_000_000.0;

/// A figure as it stood. Times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stand {
    pub total: f64,
    pub reset_at: Option<i64>,
    pub at: i64,
}

/// A counter's growth per second. After a reset that the server tells the time of, it is what was counted since; where a
/// counter has fallen and nobody says why, nothing can be said.
pub fn rate(before: Stand, now: Stand) -> Option<f64> {
    let was_reset = now.reset_at > before.reset_at && now.reset_at.is_some_and(|reset| reset > before.at);
    let (grown, since) = match now.reset_at {
        Some(reset) if was_reset => (now.total, reset),
        _ => (now.total - before.total, before.at),
    };
    let seconds = (now.at - since) as f64 / MICROS;
    (grown >= 0.0 && seconds > 0.0).then(|| grown / seconds)
}

/// Below this many pages a second a share of them says nothing.
const PAGES_THAT_MATTER: f64 = 1.0;

/// Figures made of the rates of others.
pub fn derived(rate_of: impl Fn(&str) -> Option<f64>) -> Vec<(&'static str, f64)> {
    let share = |part: f64, rest: f64| 100.0 * part / (part + rest);
    let mut figures = Vec::new();
    if let (Some(hit), Some(read)) = (rate_of("blocks_hit_total"), rate_of("blocks_read_total"))
        && hit + read >= PAGES_THAT_MATTER
    {
        figures.push(("cache_hit_percent", share(hit, read)));
    }
    if let (Some(undone), Some(done)) = (rate_of("rollbacks_total"), rate_of("commits_total"))
        && undone + done > 0.0
    {
        figures.push(("rollback_percent", share(undone, done)));
    }
    if let (Some(seconds), Some(calls)) = (rate_of("statement_seconds_total"), rate_of("statements_total"))
        && calls > 0.0
    {
        figures.push(("mean_statement_ms", 1_000.0 * seconds / calls));
    }
    figures
}

/// The middle of the values; of an even number, the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// What makes the median absolute deviation of normally distributed values their standard deviation: 1 / Phi^-1(3/4)
/// (Rousseeuw and Croux, Alternatives to the Median Absolute Deviation, JASA 88, 1993).
const TO_SIGMA: f64 = 1.482_6;
/// Of the median.
const LEAST_SHARE: f64 = 0.05;

/// The usual value and how much it moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    pub median: f64,
    /// The median absolute deviation from it.
    pub mad: f64,
}

impl Usual {
    pub fn of(values: &[f64]) -> Option<Usual> {
        let median = median(values)?;
        let away: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
        Some(Usual { median, mad: self::median(&away)? })
    }

    /// How far a value is from the median, in units of the usual movement: the modified z-score (Iglewicz and Hoaglin,
    /// How to Detect and Handle Outliers, 1993, who call 3.5 and more an outlier), with a scale that is never next to
    /// nothing.
    pub fn deviation(&self, value: f64, floor: f64) -> f64 {
        let scale = (TO_SIGMA * self.mad).max(LEAST_SHARE * self.median.abs()).max(floor);
        (value - self.median) / scale
    }
}

/// The values that one is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    HourOfWeek,
    HourOfDay,
    All,
}

impl Scope {
    pub fn word(self) -> &'static str {
        match self {
            Scope::HourOfWeek => "hour of week",
            Scope::HourOfDay => "hour of day",
            Scope::All => "all hours",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub least_samples: usize,
    pub warning: f64,
    pub critical: f64,
}

/// A value against what is usual.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub severity: Severity,
    pub usual: Option<Usual>,
    pub deviation: Option<f64>,
    pub scope: Scope,
    pub samples: usize,
}

/// The narrowest scope with enough samples decides.
pub fn verdict(
    watched: &Watched,
    value: Option<f64>,
    scopes: &[(Scope, Vec<f64>)],
    limits: Limits,
) -> Verdict {
    let enough = scopes.iter().find(|(_, values)| values.len() >= limits.least_samples);
    let (scope, samples) = match enough.or(scopes.last()) {
        Some((scope, values)) => (*scope, values.len()),
        None => (Scope::All, 0),
    };
    let usual = enough.and_then(|(_, values)| Usual::of(values));
    let deviation = value.zip(usual).map(|(value, usual)| usual.deviation(value, watched.floor));
    let severity = deviation.map_or(Severity::Unknown, |deviation| {
        let badness = match watched.bad {
            Bad::High => deviation,
            Bad::Low => -deviation,
            Bad::Either => deviation.abs(),
        };
        if badness >= limits.critical {
            Severity::Critical
        } else if badness >= limits.warning {
            Severity::Warning
        } else {
            Severity::Ok
        }
    });
    Verdict { severity, usual, deviation, scope, samples }
}

/// What becomes of a metric's alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Nothing,
    Raise,
    /// It is worse than when it was raised.
    Worsen,
    /// It is as it was, or less bad.
    See,
    Resolve,
}

impl Change {
    pub fn of(open: Option<Severity>, now: Severity) -> Change {
        let is_bad = now >= Severity::Warning;
        match open {
            None if is_bad => Change::Raise,
            Some(before) if is_bad && now > before => Change::Worsen,
            Some(_) if is_bad => Change::See,
            Some(_) if now == Severity::Ok => Change::Resolve,
            _ => Change::Nothing,
        }
    }

    /// Whether somebody is told.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Change::Raise => Some("raised"),
            Change::Worsen => Some("worsened"),
            Change::Resolve => Some("resolved"),
            Change::Nothing | Change::See => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000_000;

    fn stand(total: f64, reset_at: Option<i64>, at: i64) -> Stand {
        Stand { total, reset_at, at }
    }

    #[test]
    fn a_counter_is_its_growth_and_a_reset_begins_anew() {
        let before = stand(100.0, Some(0), 10 * S);
        assert_eq!(rate(before, stand(400.0, Some(0), 40 * S)), Some(10.0));
        assert_eq!(rate(before, stand(50.0, Some(30 * S), 40 * S)), Some(5.0));
        // More was counted since the reset than before it: still only what came after.
        assert_eq!(rate(before, stand(200.0, Some(30 * S), 40 * S)), Some(20.0));
        // It fell, and nobody says when it was reset.
        assert_eq!(rate(before, stand(50.0, Some(0), 40 * S)), None);
        assert_eq!(rate(stand(100.0, None, 10 * S), stand(50.0, None, 40 * S)), None);
        assert_eq!(rate(before, stand(100.0, Some(0), 10 * S)), None);
        // A time that was not told before, and lies before the last sample, is no reset.
        assert_eq!(rate(stand(100.0, None, 10 * S), stand(400.0, Some(S), 40 * S)), Some(10.0));
    }

    #[test]
    fn shares_are_made_of_rates_and_only_where_something_happened() {
        let rates = |metric: &str| match metric {
            "blocks_hit_total" => Some(99.0),
            "blocks_read_total" => Some(1.0),
            "rollbacks_total" | "commits_total" => Some(0.0),
            "statement_seconds_total" => Some(0.5),
            "statements_total" => Some(100.0),
            _ => None,
        };
        assert_eq!(derived(rates), [("cache_hit_percent", 99.0), ("mean_statement_ms", 5.0)]);
        assert!(derived(|_| None).is_empty());
    }

    #[test]
    fn one_outlier_moves_neither_the_median_nor_the_scale() {
        let mut values = vec![10.0; 9];
        values.extend([11.0, 9.0, 12.0, 8.0]);
        let calm = Usual::of(&values).expect("there are values");
        values.push(1e9);
        let shaken = Usual::of(&values).expect("there are values");
        assert_eq!((calm.median, shaken.median), (10.0, 10.0));
        assert!(shaken.mad <= 1.0, "{shaken:?}");
        assert_eq!(Usual::of(&[]), None);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn what_never_moves_may_move_by_next_to_nothing() {
        let steady = Usual::of(&[100.0; 20]).expect("there are values");
        assert_eq!(steady.deviation(105.0, 1.0), 1.0);
        assert_eq!(Usual::of(&[0.0; 20]).expect("values").deviation(2.0, 1.0), 2.0);
    }

    const LIMITS: Limits = Limits { least_samples: 3, warning: 3.5, critical: 7.0 };

    fn watched(bad: Bad) -> Watched {
        Watched { metric: "m", unit: "u", bad, floor: 1.0 }
    }

    #[test]
    fn the_narrowest_scope_with_enough_samples_decides() {
        let scopes = [
            (Scope::HourOfWeek, vec![1.0, 1.0]),
            (Scope::HourOfDay, vec![50.0; 3]),
            (Scope::All, vec![1.0; 9]),
        ];
        let found = verdict(&watched(Bad::High), Some(50.0), &scopes, LIMITS);
        assert_eq!((found.scope, found.severity, found.samples), (Scope::HourOfDay, Severity::Ok, 3));
        let few = [(Scope::All, vec![1.0, 2.0])];
        let unknown = verdict(&watched(Bad::High), Some(50.0), &few, LIMITS);
        assert_eq!((unknown.severity, unknown.samples), (Severity::Unknown, 2));
        assert_eq!(verdict(&watched(Bad::High), None, &scopes, LIMITS).severity, Severity::Unknown);
    }

    #[test]
    fn a_departure_counts_in_its_bad_direction() {
        let scopes = [(Scope::All, vec![100.0; 5])];
        let severity = |bad, value| verdict(&watched(bad), Some(value), &scopes, LIMITS).severity;
        assert_eq!(severity(Bad::High, 0.0), Severity::Ok);
        assert_eq!(severity(Bad::Low, 0.0), Severity::Critical);
        assert_eq!(severity(Bad::Either, 0.0), Severity::Critical);
        assert_eq!(severity(Bad::High, 120.0), Severity::Warning);
        assert_eq!(severity(Bad::Either, 200.0), Severity::Critical);
    }

    #[test]
    fn an_alert_is_told_once_and_again_when_it_worsens() {
        use Severity::*;
        assert_eq!(Change::of(None, Ok), Change::Nothing);
        assert_eq!(Change::of(None, Warning), Change::Raise);
        assert_eq!(Change::of(Some(Warning), Warning), Change::See);
        assert_eq!(Change::of(Some(Warning), Critical), Change::Worsen);
        assert_eq!(Change::of(Some(Critical), Warning), Change::See);
        assert_eq!(Change::of(Some(Critical), Ok), Change::Resolve);
        assert_eq!(Change::of(Some(Critical), Unknown), Change::Nothing);
    }

    proptest! {
        #[test]
        fn half_of_the_values_lie_within_the_mad(values in prop::collection::vec(-1e6..1e6_f64, 1..60)) {
            let usual = Usual::of(&values).expect("there are values");
            let within = values.iter().filter(|value| (*value - usual.median).abs() <= usual.mad + 1e-9).count();
            prop_assert!(2 * within >= values.len());
        }

        #[test]
        fn a_rate_is_never_negative(total in 0.0..1e12_f64, before in 0.0..1e12_f64, reset in 0..100_i64) {
            let found = rate(stand(before, Some(0), 10 * S), stand(total, Some(reset * S), 100 * S + 1));
            prop_assert!(found.is_none_or(|rate| rate >= 0.0));
        }
    }
}
