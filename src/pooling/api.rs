//! The SQL functions that size a pool.

use super::core::{CPU_SHARE, HEADROOM, Limit, Load, MOST_CONNECTIONS, WAIT_SHARE, outlook, size};
use crate::error::Error;
use crate::pg::numeric::Unrepresentable;
use crate::pg::{Numeric, Text, finish};
use crate::txn_processing::required;
use pgrx::prelude::*;
use rust_decimal::Decimal;
use rust_decimal::prelude::{FromPrimitive, ToPrimitive};

const MOST_ARRIVALS: i64 = 1_000_000_000;
const MOST_SERVICE_MS: i64 = 86_400_000;
/// 366 days.
const MOST_SECONDS: i32 = 31_622_400;
const MOST_CORES: i32 = 65_536;

fn within(argument: &'static str, value: i32, most: i32) -> Result<u32, Error> {
    if (1..=most).contains(&value) {
        return Ok(value.unsigned_abs());
    }
    Err(Error::ArgumentBounds { argument, why: format!("It is {value}; it must be 1 to {most}.") })
}

pub(super) fn connections(argument: &'static str, value: Option<i32>) -> Result<u32, Error> {
    within(argument, required(argument, value)?, MOST_CONNECTIONS.cast_signed())
}

/// How many there are where the caller does not say it.
pub(super) fn cores(argument: &'static str, value: Option<i32>) -> Result<u32, Error> {
    value.map_or_else(|| Ok(machine()), |value| within(argument, value, MOST_CORES))
}

/// The processors that this process may run on: what the control group and the affinity leave of the machine's.
fn machine() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

fn figure(argument: &'static str, value: Option<Numeric>) -> Result<Decimal, Error> {
    required(argument, value)?.0.map(|figure| figure.normalize()).map_err(|why| {
        let why = match why {
            Unrepresentable::NotANumber => "It is NaN.",
            Unrepresentable::Infinite => "It is infinite.",
            Unrepresentable::TooManyDigits => "It has more than 28 digits.",
        };
        Error::ArgumentBounds { argument, why: why.into() }
    })
}

fn float(value: Decimal) -> f64 {
    value.to_f64().expect("every decimal has a nearest one")
}

/// A figure with so many decimals; null where it is too large to be one.
fn rounded(value: f64, decimals: u32) -> Option<Numeric> {
    Decimal::from_f64(value).map(|value| value.round_dp(decimals).normalize().into())
}

fn above_zero(argument: &'static str, value: Option<Numeric>, most: i64) -> Result<f64, Error> {
    let value = figure(argument, value)?;
    if value > Decimal::ZERO && value <= Decimal::from(most) {
        return Ok(float(value));
    }
    Err(Error::ArgumentBounds {
        argument,
        why: format!("It is {value}; it must be above 0 and up to {most}."),
    })
}

fn load(
    [arrivals, service]: [&'static str; 2],
    arrival_rate: Option<Numeric>,
    service_time_ms: Option<Numeric>,
) -> Result<Load, Error> {
    let rate = figure(arrivals, arrival_rate)?;
    if rate < Decimal::ZERO || rate > Decimal::from(MOST_ARRIVALS) {
        let why = format!("It is {rate}; it must be 0 to {MOST_ARRIVALS}.");
        return Err(Error::ArgumentBounds { argument: arrivals, why });
    }
    let service_seconds = above_zero(service, service_time_ms, MOST_SERVICE_MS)? / 1_000.0;
    Ok(Load { arrivals_per_second: float(rate), service_seconds })
}

#[pg_extern(schema = "pooling", stable, parallel_safe)]
fn machine_cores() -> i32 {
    i32::try_from(machine()).unwrap_or(i32::MAX)
}

/// For SQL functions.
#[pg_extern(schema = "pooling", immutable, parallel_safe)]
fn bounded_pool_size(pool_size: Option<i32>) -> Option<i32> {
    finish(pool_size.map(|size| connections("current_pool_size", Some(size))).transpose())
        .map(u32::cast_signed)
}

/// The same.
#[pg_extern(schema = "pooling", immutable, parallel_safe)]
fn bounded_seconds(seconds: Option<Numeric>) -> Numeric {
    finish(figure("seconds", seconds).and_then(|value| {
        if value >= Decimal::ZERO && value <= Decimal::from(MOST_SECONDS) {
            return Ok(value.into());
        }
        let why = format!("It is {value}; it must be 0 to {MOST_SECONDS}.");
        Err(Error::ArgumentBounds { argument: "seconds", why })
    }))
}

#[pg_extern(schema = "pooling", immutable, parallel_safe)]
#[allow(clippy::type_complexity)]
fn what_if(
    pool_size: Option<i32>,
    arrival_rate: Option<Numeric>,
    service_time_ms: Option<Numeric>,
) -> TableIterator<
    'static,
    (
        name!(busy_connections, Option<Numeric>),
        name!(utilization, Option<Numeric>),
        name!(wait_probability, Option<Numeric>),
        name!(mean_wait_ms, Option<Numeric>),
        name!(p95_wait_ms, Option<Numeric>),
        name!(mean_response_ms, Option<Numeric>),
        name!(queue_length, Option<Numeric>),
        name!(is_stable, bool),
    ),
> {
    let row = connections("pool_size", pool_size).and_then(|servers| {
        let load = load(["arrival_rate", "service_time_ms"], arrival_rate, service_time_ms)?;
        let outlook = outlook(servers, load);
        let ms = |seconds: f64| rounded(seconds * 1_000.0, 6);
        Ok((
            rounded(outlook.offered, 6),
            rounded(outlook.utilization, 6),
            rounded(outlook.wait_probability, 6),
            outlook.waits.and_then(|waits| ms(waits.mean_seconds)),
            outlook.waits.and_then(|waits| ms(waits.p95_seconds)),
            outlook.waits.and_then(|waits| ms(waits.mean_seconds + load.service_seconds)),
            outlook.waits.and_then(|waits| rounded(waits.queue_length, 6)),
            outlook.waits.is_some(),
        ))
    });
    TableIterator::once(finish(row))
}

#[pg_extern(schema = "pooling", stable, parallel_safe)]
#[allow(clippy::type_complexity)]
fn recommended_size(
    arrival_rate: Option<Numeric>,
    service_time_ms: Option<Numeric>,
    available_connections: Option<i32>,
    cores: default!(Option<i32>, "NULL"),
    cpu_share: default!(Option<Numeric>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(recommended_pool_size, i32),
        name!(limited_by, &'static str),
        name!(busy_connections, Option<Numeric>),
        name!(needed_connections, Option<Numeric>),
        name!(core_limit, i32),
        name!(used_cores, i32),
        name!(used_cpu_share, Option<Numeric>),
    ),
> {
    let row = (|| {
        let load = load(["arrival_rate", "service_time_ms"], arrival_rate, service_time_ms)?;
        let most = connections("available_connections", available_connections)?;
        let cores = self::cores("cores", cores)?;
        let cpu_share = cpu_share.map_or(Ok(CPU_SHARE), |share| above_zero("cpu_share", Some(share), 1))?;
        let size = size(load, most, cores, cpu_share);
        Ok((
            size.recommended.cast_signed(),
            size.limited_by.word(),
            rounded(load.busy(), 3),
            rounded(size.needed, 0),
            size.core_limit.cast_signed(),
            cores.cast_signed(),
            rounded(cpu_share, 4),
        ))
    })();
    TableIterator::once(finish(row))
}

fn text(value: f64, decimals: u32) -> String {
    rounded(value, decimals).and_then(|n| n.0.ok()).map_or("unknown".into(), |n| n.to_string())
}

/// What the calculator is asked.
struct Question {
    most: u32,
    service_ms: Decimal,
    tps: i32,
    margin: f64,
    cores: u32,
}

/// The calculator's lines: the contract's eight, then what they come from.
fn lines(question: &Question) -> Vec<(String, String, String)> {
    let Question { most, service_ms, tps, margin, cores } = *question;
    let service_seconds = float(service_ms) / 1_000.0;
    let load = Load { arrivals_per_second: f64::from(tps), service_seconds };
    let effective = ((f64::from(most) * margin).floor() as u32).max(1);
    let size = size(load, effective, cores, CPU_SHARE);
    let usable = f64::from(effective.min(size.core_limit));
    let outlook = outlook(size.recommended, load);
    let wait = outlook.waits.map_or("unbounded: more comes than can be served".to_owned(), |waits| {
        format!("{} ms", text(waits.mean_seconds * 1_000.0, 3))
    });
    let bottleneck = match size.limited_by {
        Limit::Load => "NONE - Configuration sufficient",
        Limit::Cores => "CPU - Need more cores or less work per query",
        Limit::Connections => "DATABASE - Need more connections or faster queries",
    };
    let headroom = format!(
        "Busy connections with headroom: busy at most {} % of the time, a mean wait of at most {} % of the query time",
        HEADROOM * 100.0,
        WAIT_SHARE * 100.0
    );
    let supported = if usable < f64::from(effective) {
        "Maximum TPS that the cores can serve"
    } else {
        "Maximum TPS with current settings"
    };
    [
        ("Max DB Connections", most.to_string(), "PostgreSQL max_connections setting"),
        ("Effective Connections", effective.to_string(), "Available after safety margin"),
        ("Avg Query Time", format!("{service_ms} ms"), "Average transaction duration"),
        ("Target TPS", tps.to_string(), "Desired transactions per second"),
        ("Connections per TPS", text(service_seconds, 6), "Connections needed to sustain 1 TPS"),
        (
            "Recommended Pool Size",
            size.recommended.to_string(),
            "Pool connections: what is needed, no more than the cores can use and the server has",
        ),
        ("Can Support TPS", text((usable / service_seconds).floor(), 0), supported),
        ("Bottleneck", bottleneck.to_owned(), "Identified limitation"),
        (
            "Busy Connections",
            text(load.busy(), 3),
            "Average at the target: TPS times query time (Little's law)",
        ),
        ("Needed Connections", text(size.needed, 0), &headroom),
        ("Cores", cores.to_string(), "Given, or those of the machine that the server runs on"),
        ("Core Limit", size.core_limit.to_string(), "Connections that keep the cores busy: 2 * cores + 1"),
        ("Mean Wait", wait, "For a connection of the recommended pool at the target"),
    ]
    .map(|(metric, value, explanation)| (metric.to_owned(), value, explanation.to_owned()))
    .into()
}

#[pg_extern(schema = "pooling", stable, parallel_safe)]
fn calculate_pool_size(
    p_max_db_connections: Option<i32>,
    p_avg_query_time_ms: Option<Numeric>,
    p_target_tps: Option<i32>,
    p_safety_margin: default!(Option<Numeric>, 0.8),
    p_cores: default!(Option<i32>, "NULL"),
) -> TableIterator<'static, (name!(metric, String), name!(value, String), name!(explanation, String))> {
    let answer = (|| {
        let most = connections("p_max_db_connections", p_max_db_connections)?;
        above_zero("p_avg_query_time_ms", p_avg_query_time_ms, MOST_SERVICE_MS)?;
        let service_ms = figure("p_avg_query_time_ms", p_avg_query_time_ms)?;
        let tps = required("p_target_tps", p_target_tps)?;
        within("p_target_tps", tps, i32::MAX)?;
        let margin = above_zero("p_safety_margin", p_safety_margin, 1)?;
        let cores = self::cores("p_cores", p_cores)?;
        Ok(lines(&Question { most, service_ms, tps, margin, cores }))
    })();
    TableIterator::new(finish(answer))
}

const ORDERS: [&str; 5] = ["total", "mean", "calls", "rows", "temp"];

/// The bound of troubleshoot.slow_queries, and its order.
#[pg_extern(schema = "troubleshoot", immutable, parallel_safe)]
fn slow_query_rows(max_rows: Option<i32>, order_by: Option<Text>) -> i32 {
    let rows = (|| {
        let word = required("order_by", order_by.as_deref())?;
        if !ORDERS.contains(&word) {
            let why = format!("It is {word:?}; it may be {}.", ORDERS.join(", "));
            return Err(Error::ArgumentBounds { argument: "order_by", why });
        }
        within("max_rows", required("max_rows", max_rows)?, 1_000).map(u32::cast_signed)
    })();
    drop(order_by);
    finish(rows)
}
