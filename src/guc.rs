//! Every setting of the extension.

use crate::pg::settings::{define_session_switch, refuse_those_of_the_connection};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};
use std::ffi::CString;

/// How a posting reaches the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum PostingPath {
    /// Direct where the tables are as the installation made them, else through SQL.
    #[name = c"auto"]
    Auto,
    /// Direct, or an error.
    #[name = c"direct"]
    Direct,
    /// Through SQL statements.
    #[name = c"spi"]
    Spi,
}

/// Which way postings go.
static POSTING_PATH: GucSetting<PostingPath> = GucSetting::<PostingPath>::new(PostingPath::Auto);

/// Off: this session's direct writes to the ledger pass, each one logged and recorded.
static LEDGER_GUARD: GucSetting<bool> = GucSetting::<bool>::new(true);

/// How far back `effective_at` may lie.
static MAX_BACKDATE_DAYS: GucSetting<i32> = GucSetting::<i32>::new(366);

/// Whether a reversal may leave an account below its overdraft limit.
static REVERSAL_OVERDRAFT: GucSetting<bool> = GucSetting::<bool>::new(true);

/// How far the caller's rate of an exchange may be from the stored one, in hundredths of a percent.
static FX_RATE_TOLERANCE_BP: GucSetting<i32> = GucSetting::<i32>::new(1_000);

/// Whose midnight ends a business day.
static BUSINESS_TIME_ZONE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"UTC"));

/// How many background workers carry out requests.
static QUEUE_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(0);

/// The database whose queue they work on.
static QUEUE_DATABASE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"postgres"));

/// How long a worker rests after it found nothing to do.
static QUEUE_POLL_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(200);

/// How long processing waits for one lock.
static QUEUE_LOCK_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(200);

/// The bound of the delay before the first retry.
static QUEUE_RETRY_DELAY: GucSetting<i32> = GucSetting::<i32>::new(1_000);

/// At which instant the as-of views of tables with a history show what was true.
static AS_OF: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// With whose knowledge, as of when, they do.
static KNOWN_AT: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// Off: the owner's statements may write the tables of a history.
static HISTORY_GUARD: GucSetting<bool> = GucSetting::<bool>::new(true);

pub fn queue_workers() -> i32 {
    QUEUE_WORKERS.get()
}

pub fn queue_database() -> String {
    QUEUE_DATABASE.get().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

pub fn queue_poll_interval_ms() -> u64 {
    QUEUE_POLL_INTERVAL.get().unsigned_abs().into()
}

pub fn queue_lock_timeout_ms() -> i32 {
    QUEUE_LOCK_TIMEOUT.get()
}

pub fn queue_retry_delay_ms() -> u64 {
    QUEUE_RETRY_DELAY.get().unsigned_abs().into()
}

pub fn business_time_zone() -> String {
    BUSINESS_TIME_ZONE.get().map_or_else(|| "UTC".to_owned(), |zone| zone.to_string_lossy().into_owned())
}

pub fn ledger_guard() -> bool {
    LEDGER_GUARD.get()
}

pub fn max_backdate_days() -> i32 {
    MAX_BACKDATE_DAYS.get()
}

pub fn reversal_overdraft() -> bool {
    REVERSAL_OVERDRAFT.get()
}

pub fn fx_rate_tolerance_bp() -> i32 {
    FX_RATE_TOLERANCE_BP.get()
}

pub fn posting_path() -> PostingPath {
    POSTING_PATH.get()
}

pub fn init() {
    refuse_those_of_the_connection();
    GucRegistry::define_enum_guc(
        c"neobank.posting_path",
        c"How a posting reaches the tables: auto, direct or spi.",
        c"auto goes by table and index access calls while nothing but the extension hangs on the tables, else through SQL; direct refuses where it cannot. The view neobank.posting_path says which way is in force and why.",
        &POSTING_PATH,
        GucContext::Suset,
        GucFlags::default(),
    );
    define_session_switch(
        c"neobank.ledger_guard",
        c"Refuses direct writes to postings, balances and statuses.",
        c"A superuser may switch it off for one session; each statement that then passes is logged.",
        &LEDGER_GUARD,
    );
    GucRegistry::define_int_guc(
        c"neobank.max_backdate_days",
        c"How many days back a posting's effective_at may lie.",
        c"0 allows no backdating.",
        &MAX_BACKDATE_DAYS,
        0,
        100_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"neobank.reversal_overdraft",
        c"Whether a reversal may take an account below its overdraft limit.",
        c"A reversal undoes what should not have happened, so it may by default; off refuses it with NB001.",
        &REVERSAL_OVERDRAFT,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"neobank.fx_rate_tolerance_bp",
        c"How far the rate given to transfer_fx may be from the stored one, in basis points (hundredths of a percent).",
        c"Of the stored rate, in either direction; beyond it is NB037. 0 takes the stored rate only.",
        &FX_RATE_TOLERANCE_BP,
        0,
        1_000_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"neobank.queue_lock_timeout",
        c"How long processing of the queue waits for one lock before it puts the request off.",
        c"A shorter lock_timeout of the session goes before it. 0 leaves it to the session's.",
        &QUEUE_LOCK_TIMEOUT,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"neobank.queue_retry_delay",
        c"The longest delay before the first retry of a request of the queue.",
        c"It doubles with every further retry, up to five minutes; the delay is drawn between 0 and that.",
        &QUEUE_RETRY_DELAY,
        1,
        300_000,
        GucContext::Suset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_string_guc(
        c"neobank.business_time_zone",
        c"The time zone whose midnight ends a business day.",
        c"Interest is accrued on balances at that instant. Set it once for a database, before the first accrual.",
        &BUSINESS_TIME_ZONE,
        GucContext::Suset,
        GucFlags::default(),
    );
    init_temporal();
}

fn init_temporal() {
    GucRegistry::define_string_guc(
        c"neobank.as_of",
        c"The instant at which as-of views show what was true.",
        c"A timestamp with time zone; empty is now.",
        &AS_OF,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"neobank.known_at",
        c"The instant as known at which as-of views show what was true.",
        c"A timestamp with time zone; empty is with what is known today.",
        &KNOWN_AT,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"neobank.history_guard",
        c"Refuses direct writes to the tables of a history.",
        c"They belong to their table's owner, who may switch it off to repair something.",
        &HISTORY_GUARD,
        GucContext::Userset,
        GucFlags::default(),
    );
}

/// Settings that the postmaster needs at its start; they exist where the library is preloaded.
pub fn init_preloaded() {
    GucRegistry::define_int_guc(
        c"neobank.queue_workers",
        c"How many background workers carry out requests of the queue.",
        c"0 leaves it to callers of txn_processing.process_queue.",
        &QUEUE_WORKERS,
        0,
        32,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"neobank.queue_database",
        c"The database whose queue the background workers carry out.",
        c"They wait for the extension where it is not installed yet.",
        &QUEUE_DATABASE,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"neobank.queue_poll_interval",
        c"How long a background worker rests when it has found nothing to do.",
        c"While there is work it does not rest.",
        &QUEUE_POLL_INTERVAL,
        1,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
}
