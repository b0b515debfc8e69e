//! Reads the server's figures and what was kept of them, and keeps more.

use super::core::{Change, Limits, Scope, Severity, Stand, Usual, Verdict, derived, rate, verdict};
use super::watched::{WATCHED, Watched};
use crate::error::Error;
use crate::pg::spi::PRESENT;
use crate::pg::{Arg, JsonDatum, Row, Session, Statement, Type};
use serde_json::{Value, json};
use std::ffi::CString;

/// One session measures at a time; whoever comes meanwhile has nothing to add. The key is the table's number.
static TAKE_TURN: Statement =
    Statement::new(c"select pg_try_advisory_xact_lock('troubleshoot.samples'::regclass::oid::int, 0)", &[]);

/// What the newest sample kept of each metric. One that a clock which was wrong has dated ahead is not the newest.
static BEFORE: Statement = Statement::new(
    c"select s.metric, s.total::float8, s.reset_at, s.captured_at from troubleshoot.samples s \
        where s.captured_at = (select max(n.captured_at) from troubleshoot.samples n \
                               where n.captured_at <= clock_timestamp())",
    &[],
);

static MEASURE: Statement = Statement::new(
    c"select m.metric, m.kind = 'counter', m.value::text, m.value::float8, m.reset_at, clock_timestamp(), m.reset_at::text \
        from troubleshoot.measurements() m",
    &[],
);

/// Hours are of UTC: those of a zone would come twice or not at all when its clocks change.
static KEEP: Statement = Statement::new(
    c"insert into troubleshoot.samples (captured_at, metric, hour_of_week, total, reset_at, value) \
        select $1, r.metric, ((extract(isodow from $1 at time zone 'UTC') - 1) * 24 \
               + extract(hour from $1 at time zone 'UTC'))::smallint, r.total, r.reset_at, round(r.value, 6) \
        from jsonb_to_recordset($2) r (metric text, total numeric, reset_at timestamptz, value numeric)",
    &[Type::Timestamp, Type::Jsonb],
);

static SETTING: Statement = Statement::new(
    c"select coalesce((select s.value from troubleshoot.baseline_settings s where s.name = $1), $2::numeric)::float8",
    &[Type::Text, Type::Int],
);

/// The newest sample up to a moment, and what came in the days before it, three ways.
static COMPARE: Statement = Statement::new(
    c"with newest as (select max(s.captured_at) as at from troubleshoot.samples s \
                      where s.captured_at <= coalesce($1, clock_timestamp())) \
      select s.metric, s.captured_at, s.value::float8, \
             coalesce(array_agg(h.value::float8) filter (where h.hour_of_week = s.hour_of_week), '{}'), \
             coalesce(array_agg(h.value::float8) filter (where h.hour_of_week % 24 = s.hour_of_week % 24), '{}'), \
             coalesce(array_agg(h.value::float8) filter (where h.value is not null), '{}') \
      from newest join troubleshoot.samples s on s.captured_at = newest.at \
      left join troubleshoot.samples h on h.metric = s.metric and h.captured_at < s.captured_at \
           and h.captured_at >= s.captured_at - make_interval(days => $2) and h.value is not null \
      where s.metric = any ($3) \
      group by s.metric, s.captured_at, s.value order by s.metric",
    &[Type::Timestamp, Type::Int, Type::TextArray],
);

pub fn takes_turn(session: &Session) -> Result<bool, Error> {
    Ok(session.one(&TAKE_TURN, &[], |row| row.bool(1))?.flatten() == Some(true))
}

fn setting(session: &Session, name: &str, else_it_is: i32) -> Result<f64, Error> {
    let found = session
        .one(&SETTING, &[Arg::Text(Some(name)), Arg::Int(Some(else_it_is))], |row| row.get::<f64>(1))?;
    Ok(found.flatten().unwrap_or_else(|| else_it_is.into()))
}

fn json_datum(value: &Value) -> Result<JsonDatum, Error> {
    JsonDatum::of_text(&CString::new(value.to_string()).expect("JSON has no zero byte"))
}

struct Before {
    metric: String,
    stand: Option<Stand>,
    at: i64,
}

fn before(session: &Session) -> Result<Vec<Before>, Error> {
    let read = |row: Row| {
        let at = row.time(4).expect(PRESENT).0;
        let stand =
            row.get::<f64>(2).map(|total| Stand { total, reset_at: row.time(3).map(|time| time.0), at });
        Before { metric: row.text(1).expect(PRESENT), stand, at }
    };
    Ok(session.run_latest(&BEFORE, &[])?.iter().map(read).collect())
}

const LEAST_MICROS: i64 = 1_000_000;
/// Measures and keeps; how many values, and none where the last sample has hardly passed.
pub fn capture(session: &Session) -> Result<i32, Error> {
    let before = before(session)?;
    let mut now = 0;
    let mut rows = Vec::new();
    let mut rates: Vec<(String, f64)> = Vec::new();
    for row in session.run(&MEASURE, &[])?.iter() {
        let metric = row.text(1).expect(PRESENT);
        let value = row.get::<f64>(4).expect(PRESENT);
        let reset_at = row.time(5).map(|time| time.0);
        now = row.time(6).expect(PRESENT).0;
        if row.bool(2) != Some(true) {
            rows.push(json!({"metric": metric, "value": value}));
            continue;
        }
        let earlier =
            before.iter().find(|earlier| earlier.metric == metric).and_then(|earlier| earlier.stand);
        let grown = earlier.and_then(|earlier| rate(earlier, Stand { total: value, reset_at, at: now }));
        rows.push(json!({"metric": metric, "total": row.text(3), "reset_at": row.text(7), "value": grown}));
        rates.extend(grown.map(|rate| (metric, rate)));
    }
    if before.iter().any(|earlier| now - earlier.at < LEAST_MICROS) {
        return Ok(0);
    }
    let rate_of = |metric: &str| rates.iter().find(|(name, _)| name == metric).map(|(_, rate)| *rate);
    rows.extend(
        derived(rate_of).into_iter().map(|(metric, value)| json!({"metric": metric, "value": value})),
    );
    let kept = rows.len() as i32;
    session.run(&KEEP, &[Arg::Timestamp(Some(now)), Arg::Jsonb(Some(json_datum(&Value::Array(rows))?))])?;
    Ok(kept)
}

/// A metric of a sample against what is usual.
pub struct Compared {
    pub watched: &'static Watched,
    pub at: i64,
    pub value: Option<f64>,
    pub verdict: Verdict,
}

impl Compared {
    /// For people.
    pub fn detail(&self) -> String {
        let Watched { metric, unit, .. } = self.watched;
        let Some(value) = self.value else { return format!("{metric} could not be measured.") };
        match self.verdict.usual {
            Some(Usual { median, mad }) => format!(
                "{metric} is {value:.2} {unit}; usual is {median:.2}, give or take {mad:.2} ({} samples, {}).",
                self.verdict.samples,
                self.verdict.scope.word()
            ),
            None => format!(
                "{metric} is {value:.2} {unit}; {} samples are too few to say what is usual.",
                self.verdict.samples
            ),
        }
    }
}

pub fn limits(session: &Session) -> Result<Limits, Error> {
    Ok(Limits {
        least_samples: setting(session, "least_samples", 8)? as usize,
        warning: session
            .one(&DEVIATION, &[Arg::Text(Some("warning_deviation"))], |row| row.get(1))?
            .flatten()
            .unwrap_or(3.5),
        critical: session
            .one(&DEVIATION, &[Arg::Text(Some("critical_deviation"))], |row| row.get(1))?
            .flatten()
            .unwrap_or(7.0),
    })
}

pub fn keep_days(session: &Session) -> Result<i32, Error> {
    Ok(setting(session, "keep_days", 35)? as i32)
}

pub fn compare(session: &Session, at: Option<i64>, days: i32) -> Result<Vec<Compared>, Error> {
    let limits = limits(session)?;
    let names: Vec<Option<&str>> = WATCHED.iter().map(|watched| Some(watched.metric)).collect();
    let args = [Arg::Timestamp(at), Arg::Int(Some(days)), Arg::TextArray(&names)];
    let read = |row: Row| {
        let metric = row.text(1).expect(PRESENT);
        let value = row.get::<f64>(3);
        let values = |column| row.get::<Vec<f64>>(column).unwrap_or_default();
        let scopes = [(Scope::HourOfWeek, values(4)), (Scope::HourOfDay, values(5)), (Scope::All, values(6))];
        let watched = super::watched::find(&metric).expect("only these are asked for");
        let verdict = verdict(watched, value, &scopes, limits);
        Compared { watched, at: row.time(2).expect(PRESENT).0, value, verdict }
    };
    Ok(session.run_latest(&COMPARE, &args)?.iter().map(read).collect())
}

static DEVIATION: Statement = Statement::new(
    c"select s.value::float8 from troubleshoot.baseline_settings s where s.name = $1",
    &[Type::Text],
);

static OPEN: Statement = Statement::new(
    c"select a.metric, a.severity from troubleshoot.alerts a where a.resolved_at is null",
    &[],
);

/// Only one session raises and resolves at a time, so what was read as open is.
static RAISE: Statement = Statement::new(
    c"insert into troubleshoot.alerts as a \
        (metric, severity, raised_at, last_seen_at, value, median, deviation, detail) \
      select r.metric, r.severity, $1, $1, round(r.value, 6), round(r.median, 6), round(r.deviation, 3), r.detail \
      from jsonb_to_recordset($2) \
           r (metric text, severity text, value numeric, median numeric, deviation numeric, detail text) \
      on conflict (metric) where resolved_at is null do update set last_seen_at = excluded.last_seen_at, \
        (severity, value, median, deviation, detail) = (select \
           case when a.severity = 'critical' then a.severity else excluded.severity end, \
           case when w.worse then excluded.value else a.value end, \
           case when w.worse then excluded.median else a.median end, \
           case when w.worse then excluded.deviation else a.deviation end, \
           case when w.worse then excluded.detail else a.detail end \
         from (select abs(excluded.deviation) > abs(a.deviation) as worse) w)",
    &[Type::Timestamp, Type::Jsonb],
);

static RESOLVE: Statement = Statement::new(
    c"update troubleshoot.alerts set resolved_at = $1 where resolved_at is null and metric = any ($2)",
    &[Type::Timestamp, Type::TextArray],
);

static NOTIFY: Statement = Statement::new(c"select pg_notify('neobank_alerts', $1)", &[Type::Text]);

/// How many alerts were raised, and how many resolved.
pub fn alert(session: &Session, compared: &[Compared]) -> Result<(i32, i32), Error> {
    let severity = |word: String| Severity::of_word(&word).unwrap_or(Severity::Unknown);
    let read = |row: Row| (row.text(1).expect(PRESENT), severity(row.text(2).expect(PRESENT)));
    let open: Vec<(String, Severity)> = session.run_latest(&OPEN, &[])?.iter().map(read).collect();
    let (mut bad, mut good, mut raised, mut at) = (Vec::new(), Vec::new(), 0, 0);
    for one in compared {
        let before =
            open.iter().find(|(metric, _)| metric == one.watched.metric).map(|(_, severity)| *severity);
        let change = Change::of(before, one.verdict.severity);
        at = one.at;
        let row = json!({
            "metric": one.watched.metric, "severity": one.verdict.severity.word(), "value": one.value,
            "median": one.verdict.usual.map(|usual| usual.median), "deviation": one.verdict.deviation,
            "detail": one.detail(),
        });
        if let Some(word) = change.word() {
            let mut news = row.clone();
            news["change"] = word.into();
            session.run(&NOTIFY, &[Arg::Text(Some(&news.to_string()))])?;
        }
        match change {
            Change::Nothing => {}
            Change::Resolve => good.push(Some(one.watched.metric)),
            Change::Raise | Change::Worsen | Change::See => {
                raised += i32::from(change == Change::Raise);
                bad.push(row);
            }
        }
    }
    if !bad.is_empty() {
        session
            .run(&RAISE, &[Arg::Timestamp(Some(at)), Arg::Jsonb(Some(json_datum(&Value::Array(bad))?))])?;
    }
    if !good.is_empty() {
        session.run(&RESOLVE, &[Arg::Timestamp(Some(at)), Arg::TextArray(&good)])?;
    }
    Ok((raised, good.len() as i32))
}

/// A run deletes this many at the most: it is to be short, and the next one comes soon.
static PRUNE: Statement = Statement::new(
    c"delete from troubleshoot.samples s where s.ctid = any (array( \
        select o.ctid from troubleshoot.samples o \
        where o.captured_at < greatest(now() - make_interval(days => $1), \
            (select n.captured_at from troubleshoot.samples n order by n.captured_at desc offset $2 limit 1)) \
        order by o.captured_at limit 50000))",
    &[Type::Int, Type::BigInt],
);

static PRUNE_ALERTS: Statement = Statement::new(
    c"delete from troubleshoot.alerts a where a.resolved_at is not null and a.alert_id < \
        (select n.alert_id from troubleshoot.alerts n where n.resolved_at is not null \
         order by n.alert_id desc offset 10000 limit 1)",
    &[],
);

/// Deletes what is too old or too much; how many samples.
pub fn prune(session: &Session, keep_days: i32) -> Result<i64, Error> {
    let most = setting(session, "most_samples", 2_000_000)? as i64;
    let gone = session.run(&PRUNE, &[Arg::Int(Some(keep_days)), Arg::BigInt(Some(most - 1))])?.count() as i64;
    session.run(&PRUNE_ALERTS, &[])?;
    Ok(gone)
}

static HAS_WRITTEN: Statement =
    Statement::new(c"select pg_catalog.pg_current_xact_id_if_assigned() is not null", &[]);

pub fn has_written(session: &Session) -> Result<bool, Error> {
    Ok(session.one(&HAS_WRITTEN, &[], |row| row.bool(1))?.flatten() == Some(true))
}
