//! What is compared, and how far it may move before anybody cares.
#![forbid(unsafe_code)]

/// In which direction a departure is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    High,
    Low,
    Either,
}

pub struct Watched {
    pub metric: &'static str,
    pub unit: &'static str,
    pub bad: Bad,
    /// The least scale of a deviation: what is steady to the point of never moving must not raise an alert when it moves
    /// by next to nothing.
    pub floor: f64,
}

const fn watched(metric: &'static str, unit: &'static str, bad: Bad, floor: f64) -> Watched {
    Watched { metric, unit, bad, floor }
}

const PER_S: &str = "per second";
const BYTES_PER_S: &str = "bytes per second";
const EACH_10_MINUTES: f64 = 1.0 / 600.0;

pub const WATCHED: [Watched; 22] = [
    watched("commits_total", PER_S, Bad::Either, 1.0),
    watched("rollbacks_total", PER_S, Bad::High, 0.5),
    watched("rollback_percent", "percent", Bad::High, 1.0),
    watched("blocks_read_total", PER_S, Bad::High, 20.0),
    watched("cache_hit_percent", "percent", Bad::Low, 1.0),
    watched("rows_returned_total", PER_S, Bad::High, 10_000.0),
    watched("conflicts_total", PER_S, Bad::High, EACH_10_MINUTES),
    watched("deadlocks_total", PER_S, Bad::High, EACH_10_MINUTES),
    watched("temp_bytes_total", BYTES_PER_S, Bad::High, 262_144.0),
    watched("sessions_total", PER_S, Bad::High, 0.5),
    watched("sessions_fatal_total", PER_S, Bad::High, EACH_10_MINUTES),
    watched("checksum_failures_total", PER_S, Bad::High, EACH_10_MINUTES / 10.0),
    watched("wal_bytes_total", BYTES_PER_S, Bad::High, 262_144.0),
    watched("checkpoints_requested_total", PER_S, Bad::High, EACH_10_MINUTES),
    watched("statements_total", PER_S, Bad::Either, 1.0),
    watched("mean_statement_ms", "ms", Bad::High, 0.5),
    watched("connections", "connections", Bad::High, 3.0),
    watched("active_connections", "connections", Bad::High, 2.0),
    watched("idle_in_transaction_connections", "connections", Bad::High, 2.0),
    watched("blocked_connections", "connections", Bad::High, 1.0),
    watched("oldest_transaction_seconds", "seconds", Bad::High, 60.0),
    watched("oldest_xmin_age", "transactions", Bad::High, 1_000_000.0),
];

pub fn find(metric: &str) -> Option<&'static Watched> {
    WATCHED.iter().find(|watched| watched.metric == metric)
}
