//! The checks there are.

use super::core::{Severity, Thresholds, Worse};
use crate::pg::spi::c_text;
use crate::pg::{Statement, Type, compat};
use rust_decimal::Decimal;

/// What a check's query must be able to see; where the caller cannot, the answer is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Catalogs,
    /// What pg_read_all_stats shows of other sessions and of standbys.
    Statistics,
    /// The same of what sessions do, which the server has to keep track of.
    Activity,
}

pub struct Check {
    pub id: &'static str,
    pub category: &'static str,
    pub title: &'static str,
    pub unit: Option<&'static str>,
    pub worse: Worse,
    /// None of a check that does not measure.
    defaults: Option<(Option<i32>, Option<i32>)>,
    /// What is smaller is left out, and the unit of that.
    minimum: Option<(i32, &'static str)>,
    pub cap: Severity,
    pub needs: Needs,
    pub query: &'static Statement,
}

impl Check {
    pub fn is_measured(&self) -> bool {
        self.defaults.is_some()
    }

    pub fn default_thresholds(&self) -> Thresholds {
        let (warning, critical) = self.defaults.unwrap_or_default();
        Thresholds { warning: warning.map(Decimal::from), critical: critical.map(Decimal::from) }
    }

    pub fn default_minimum(&self) -> Option<Decimal> {
        self.minimum.map(|(least, _)| least.into())
    }

    pub fn minimum_unit(&self) -> Option<&'static str> {
        self.minimum.map(|(_, unit)| unit)
    }

    const fn of(
        id: &'static str,
        category: &'static str,
        title: &'static str,
        needs: Needs,
        query: &'static Statement,
    ) -> Self {
        let (worse, cap) = (Worse::Higher, Severity::Critical);
        Check { id, category, title, unit: None, worse, defaults: None, minimum: None, cap, needs, query }
    }

    /// Measured in `unit`, bad from these values on.
    const fn from(mut self, unit: &'static str, warning: Option<i32>, critical: Option<i32>) -> Self {
        self.unit = Some(unit);
        self.defaults = Some((warning, critical));
        self
    }

    /// Measured in `unit`, bad from these values down.
    const fn below(mut self, unit: &'static str, warning: Option<i32>, critical: Option<i32>) -> Self {
        self.worse = Worse::Lower;
        self.from(unit, warning, critical)
    }

    /// The value is told, and judged by nothing.
    const fn told_in(mut self, unit: &'static str) -> Self {
        self.unit = Some(unit);
        self
    }

    const fn of_at_least(mut self, least: i32, unit: &'static str) -> Self {
        self.minimum = Some((least, unit));
        self
    }

    const fn at_most(mut self, cap: Severity) -> Self {
        self.cap = cap;
        self
    }
}

macro_rules! query {
    ($name:literal) => {{
        static QUERY: Statement = Statement::new(
            c_text(concat!(include_str!(concat!("queries/", $name, ".sql")), "\0")),
            &[Type::Numeric, Type::Numeric],
        );
        &QUERY
    }};
}

macro_rules! check {
    ($id:literal, $category:literal, $title:literal, $needs:ident) => {
        Check::of($id, $category, $title, Needs::$needs, query!($id))
    };
}

static CHECKPOINTS_17: &Statement = query!("checkpoints_17");

pub fn find(id: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.id == id)
}

impl Check {
    /// As this server has its views.
    pub fn statement(&self) -> &'static Statement {
        if self.id == "checkpoints" && compat::HAS_CHECKPOINTER_STATISTICS {
            CHECKPOINTS_17
        } else {
            self.query
        }
    }
}

pub static CHECKS: &[Check] = &[
    check!("long_query", "Sessions", "Long query", Activity).from("s", Some(300), Some(1_800)),
    check!("idle_in_transaction", "Sessions", "Idle in transaction", Activity).from(
        "s",
        Some(300),
        Some(900),
    ),
    check!("blocked", "Sessions", "Waiting for a lock", Catalogs).from("s", Some(30), Some(300)),
    check!("lock_queue", "Sessions", "ACCESS EXCLUSIVE waits, and all behind it", Catalogs).from(
        "s",
        Some(5),
        Some(30),
    ),
    check!("connections", "Sessions", "Connections taken", Statistics).from("%", Some(75), Some(90)),
    check!("subtransactions", "Sessions", "Subtransactions past the cache", Activity).told_in("s"),
    check!("prepared_transaction", "Sessions", "Prepared transaction left behind", Catalogs).from(
        "s",
        Some(300),
        Some(3_600),
    ),
    check!("lock_table", "Sessions", "Lock table", Catalogs).from("%", Some(50), Some(80)),
    check!("notification_queue", "Sessions", "Notification queue", Catalogs).from("%", Some(25), Some(50)),
    check!("deadlocks", "Sessions", "Deadlocks", Catalogs).from("per day", Some(5), Some(100)),
    check!("xid_age", "Wraparound", "Transaction id age", Catalogs).from("%", Some(50), Some(75)),
    check!("multixact_age", "Wraparound", "Multixact age", Catalogs).from("%", Some(50), Some(75)),
    check!("multixact_members", "Wraparound", "Multixact member space", Catalogs).from(
        "%",
        Some(50),
        Some(75),
    ),
    check!("xmin_horizon", "Wraparound", "Who keeps VACUUM from old rows", Activity).from(
        "transactions",
        Some(5_000_000),
        Some(50_000_000),
    ),
    check!("sequence", "Wraparound", "Sequence running out", Catalogs).from("%", Some(75), Some(90)),
    check!("narrow_column", "Wraparound", "Column narrower than what fills it", Catalogs).from(
        "%",
        Some(50),
        Some(75),
    ),
    check!("replication_lag", "Replication", "Standby behind", Statistics).from("MB", Some(100), Some(1_024)),
    check!("standby_silent", "Replication", "Standby does not answer", Statistics).from(
        "s",
        Some(60),
        Some(300),
    ),
    check!("sync_standby", "Replication", "Synchronous standby gone", Statistics).told_in("standbys"),
    check!("slot", "Replication", "Replication slot", Statistics).from("MB", Some(1_024), Some(10_240)),
    check!("standby", "Replication", "This standby's replay", Statistics).from("MB", Some(100), Some(1_024)),
    check!("subscription", "Replication", "Subscription stopped", Statistics).from("errors", Some(1), None),
    check!("replica_identity", "Replication", "Published without identity", Catalogs),
    check!("archiver", "Backups", "Archiving fails", Catalogs).from("s", None, Some(900)),
    check!("archive_backlog", "Backups", "WAL waits to be archived", Catalogs).from(
        "segments",
        Some(10),
        Some(100),
    ),
    check!("restore_test", "Backups", "Last tested restore", Catalogs).from("days", Some(35), Some(100)),
    check!("checksum_failures", "Integrity", "Damaged pages", Catalogs).told_in("pages"),
    check!("collation_version", "Integrity", "Collation changed under indexes", Catalogs).told_in("indexes"),
    check!("invalid_index", "Integrity", "Invalid index", Statistics),
    check!("disabled_trigger", "Integrity", "Disabled trigger", Catalogs),
    check!("not_valid_constraint", "Integrity", "Constraint not validated", Catalogs),
    check!("unlogged_table", "Integrity", "Unlogged table", Catalogs).told_in("rows"),
    check!("partition_runway", "Integrity", "Partitions run out", Catalogs).below("days", Some(14), Some(3)),
    check!("default_partition", "Integrity", "Rows in a default partition", Catalogs).from(
        "rows",
        Some(1),
        None,
    ),
    check!("settings", "Settings", "Settings that endanger data", Catalogs),
    check!("authentication", "Settings", "Logins without protection", Catalogs),
    check!("config_files", "Settings", "Configuration file", Catalogs),
    check!("role_expiry", "Settings", "Password ends", Catalogs).below("days", Some(14), Some(3)),
    check!("autovacuum", "Maintenance", "Autovacuum switched off", Catalogs).told_in("rows"),
    check!("autovacuum_workers", "Maintenance", "Autovacuum workers taken", Statistics).from(
        "%",
        Some(100),
        None,
    ),
    check!("dead_tuples", "Maintenance", "Dead rows", Catalogs)
        .from("%", Some(20), Some(50))
        .of_at_least(10_000, "rows"),
    check!("table_bloat", "Maintenance", "Table bloat", Catalogs)
        .from("%", Some(30), Some(80))
        .of_at_least(100, "MB"),
    check!("index_bloat", "Maintenance", "Index bloat", Catalogs)
        .from("%", Some(30), Some(80))
        .of_at_least(100, "MB"),
    check!("never_analysed", "Maintenance", "Never analysed", Catalogs)
        .from("tables", Some(1), None)
        .of_at_least(1, "MB"),
    check!("duplicate_index", "Design", "Duplicate index", Catalogs).told_in("MB"),
    check!("prefix_index", "Design", "Index covered by a wider one", Catalogs).told_in("MB"),
    check!("unused_index", "Design", "Unused index", Catalogs)
        .from("MB", Some(10), None)
        .at_most(Severity::Info),
    check!("fk_without_index", "Design", "Foreign key without index", Catalogs).from(
        "rows",
        Some(10_000),
        None,
    ),
    check!("slow_query", "Performance", "Slow query", Statistics)
        .from("ms", Some(50), Some(1_000))
        .of_at_least(50, "calls"),
    check!("cache_hit", "Performance", "Cache hit", Catalogs)
        .below("%", Some(99), None)
        .of_at_least(10_000, "blocks")
        .at_most(Severity::Info),
    check!("checkpoints", "Performance", "Checkpoints forced by WAL", Catalogs)
        .from("%", Some(50), None)
        .of_at_least(10, "checkpoints"),
    check!("temp_files", "Performance", "Temporary files", Catalogs).from(
        "MB per hour",
        Some(1_024),
        Some(10_240),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_defaults_are_in_order() {
        for (at, check) in CHECKS.iter().enumerate() {
            assert!(CHECKS[..at].iter().all(|other| other.id != check.id), "{}", check.id);
            assert!(check.default_thresholds().are_in_order(check.worse), "{}", check.id);
            assert!(check.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", check.id);
            assert_eq!(find(check.id).map(|found| found.title), Some(check.title));
        }
    }
}
