//! The SQL functions that explain and end sessions.

use super::core::why;
use super::kill::{self, Found, Order, Outcome, Target, Within};
use super::method::Method;
use super::waiting::{self, Looked};
use crate::error::Error;
use crate::pg::compat::PinnedSearchPath;
use crate::pg::{Numeric, Session, Text, finish, server};
use crate::txn_processing::bounds::bounded_text;
use crate::txn_processing::required;
use pgrx::datum::Interval;
use pgrx::prelude::*;

/// A twelfth of 365.2425 days, and a thousand years of them.
const MICROS_PER_MONTH: i128 = 2_629_746_000_000;
const MICROS_PER_DAY: i128 = 86_400_000_000;
const MOST_MICROS: i128 = 12_000 * MICROS_PER_MONTH;
/// Shorter than this everything is long.
const LEAST_MICROS: i128 = 100_000;

fn milliseconds(argument: &'static str, interval: Option<&Interval>) -> Result<i64, Error> {
    let interval = required(argument, interval)?;
    let micros = i128::from(interval.months()) * MICROS_PER_MONTH
        + i128::from(interval.days()) * MICROS_PER_DAY
        + i128::from(interval.micros());
    if (LEAST_MICROS..=MOST_MICROS).contains(&micros) {
        return Ok((micros / 1_000) as i64);
    }
    let why = "It must be a tenth of a second to 1000 years.".into();
    Err(Error::ArgumentBounds { argument, why })
}

type Killed =
    (Option<i32>, Option<Interval>, Option<String>, String, Option<String>, Option<String>, Option<String>);

fn shown(found: Found, action: String) -> Killed {
    let age = server::clock_micros() - found.since.0;
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    (
        Some(found.pid),
        Interval::new(0, 0, age).ok(),
        Some(found.query.chars().take(200).collect()),
        action,
        text(found.user),
        text(found.database),
        text(found.application),
    )
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn kill_long_queries(
    p_max_duration: default!(Option<Interval>, "'5 minutes'"),
    p_dry_run: default!(Option<bool>, true),
    p_method: default!(Option<Text>, "'terminate'"),
    p_reason: default!(Option<Text>, "NULL"),
    p_database: default!(Option<Text>, "NULL"),
    p_user: default!(Option<Text>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(pid, Option<i32>),
        name!(duration, Option<Interval>),
        name!(query, Option<String>),
        name!(action, String),
        name!(user_name, Option<String>),
        name!(database_name, Option<String>),
        name!(application_name, Option<String>),
    ),
> {
    let by = killer();
    let killed = (|| {
        let longer_than_ms = milliseconds("p_max_duration", p_max_duration.as_ref())?;
        let dry_run = required("p_dry_run", p_dry_run)?;
        let method = required("p_method", p_method.as_deref())?;
        let method = Method::of(method).ok_or_else(|| Error::ArgumentBounds {
            argument: "p_method",
            why: format!("It is {method:?}; it must be terminate or cancel."),
        })?;
        bounded_text("p_reason", p_reason.as_deref(), 1_000)?;
        let within = Within { database: p_database.as_deref(), user: p_user.as_deref() };
        let order = Order { target: Target::LongQueries, method, by: &by, reason: p_reason.as_deref() };
        let _path = PinnedSearchPath::pin();
        let session = Session::write();
        let mut rows = Vec::new();
        for found in kill::search(&session, Target::LongQueries, longer_than_ms, within)? {
            let action = match &found.exempt {
                Some(why) => format!("EXEMPT ({why})"),
                None if dry_run => method.would().to_owned(),
                None => match kill::end(&session, &found, &order)? {
                    Outcome::Done => method.done().to_owned(),
                    Outcome::Gone => "GONE (it has ended, or gone on to another statement)".to_owned(),
                    Outcome::Refused(message) => format!("NOT PERMITTED ({message})"),
                },
            };
            rows.push(shown(found, action));
        }
        let hidden = kill::hidden(&session, within)?;
        if hidden > 0 {
            let action =
                format!("UNKNOWN (this role may not see what {hidden} sessions do: pg_read_all_stats)");
            rows.push((None, None, None, action, None, None, None));
        }
        Ok(rows)
    })();
    drop((p_max_duration, p_method, p_reason, p_database, p_user, by));
    TableIterator::new(finish(killed))
}

/// Whose rights end a session, and whose session that is.
fn killer() -> String {
    let (role, login) = (server::current_user(), server::session_user());
    let name = server::role_name(role);
    if role == login { name } else { format!("{name} ({})", server::role_name(login)) }
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn clear_idle_transactions(
    p_older_than: default!(Option<Interval>, "'10 minutes'"),
    p_dry_run: default!(Option<bool>, true),
    p_reason: default!(Option<Text>, "NULL"),
    p_database: default!(Option<Text>, "NULL"),
    p_user: default!(Option<Text>, "NULL"),
) -> i32 {
    let by = killer();
    let cleared = (|| {
        let longer_than_ms = milliseconds("p_older_than", p_older_than.as_ref())?;
        let dry_run = required("p_dry_run", p_dry_run)?;
        bounded_text("p_reason", p_reason.as_deref(), 1_000)?;
        let within = Within { database: p_database.as_deref(), user: p_user.as_deref() };
        let target = Target::IdleTransactions;
        let order = Order { target, method: Method::Terminate, by: &by, reason: p_reason.as_deref() };
        let _path = PinnedSearchPath::pin();
        let session = Session::write();
        let (mut cleared, mut refused) = (0, 0);
        for found in kill::search(&session, target, longer_than_ms, within)? {
            if found.exempt.is_some() {
                continue;
            }
            match if dry_run { Outcome::Done } else { kill::end(&session, &found, &order)? } {
                Outcome::Done => cleared += 1,
                Outcome::Gone => (),
                Outcome::Refused(_) => refused += 1,
            }
        }
        Ok((cleared, refused, kill::hidden(&session, within)?))
    })();
    drop((p_older_than, p_reason, p_database, p_user, by));
    let (cleared, refused, hidden) = finish(cleared);
    if hidden > 0 {
        pgrx::warning!("this role may not see what {hidden} sessions do, so they are not among these");
    }
    if refused > 0 {
        pgrx::warning!("this role may not end {refused} of the sessions: pg_signal_backend is needed");
    }
    cleared
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn why_waiting(
    pid: Option<i32>,
) -> TableIterator<
    'static,
    (
        name!(process_id, i32),
        name!(kind, String),
        name!(explanation, String),
        name!(blocked_by, Vec<i32>),
        name!(wait_event_type, Option<String>),
        name!(wait_event, Option<String>),
        name!(lock_mode, Option<String>),
        name!(object, Option<String>),
        name!(waiting_seconds, Option<Numeric>),
        name!(remediation_sql, Option<String>),
    ),
> {
    let looked = required("pid", pid).and_then(|pid| Ok((pid, waiting::look(pid)?)));
    let (pid, looked) = finish(looked);
    let Some(Looked { seen, waiting_seconds, remediation_sql }) = looked else {
        let text = format!("no session has process id {pid}: it has ended, or never was");
        let row = (pid, "no_session".to_owned(), text, Vec::new(), None, None, None, None, None, None);
        return TableIterator::once(row);
    };
    let reason = why(&seen);
    let (mode, object, mut blockers) = match seen.lock {
        Some(lock) => {
            (Some(lock.mode), Some(lock.object), lock.blockers.iter().map(|blocker| blocker.pid).collect())
        }
        None => (None, None, Vec::new()),
    };
    blockers.sort_unstable();
    blockers.dedup();
    TableIterator::once((
        pid,
        reason.kind.to_owned(),
        reason.text,
        blockers,
        seen.event_type,
        seen.event,
        mode.filter(|mode| !mode.is_empty()),
        object,
        waiting_seconds.map(Numeric::from),
        remediation_sql,
    ))
}
