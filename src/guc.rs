//! Every setting of the extension.

use crate::pg::settings::define_session_switch;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

/// How a posting reaches the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum PostingPath {
    /// Direct where the tables are as the installation made them, else through SQL.
    #[name = c"auto"]
    Auto,
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

pub fn ledger_guard() -> bool {
    LEDGER_GUARD.get()
}

pub fn max_backdate_days() -> i32 {
    MAX_BACKDATE_DAYS.get()
}

pub fn reversal_overdraft() -> bool {
    REVERSAL_OVERDRAFT.get()
}

pub fn posting_path() -> PostingPath {
    POSTING_PATH.get()
}

pub fn init() {
    GucRegistry::define_enum_guc(
        c"neobank.posting_path",
        c"How a posting reaches the tables: auto or spi.",
        c"auto goes by table and index access calls while nothing but the extension hangs on the tables.",
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
}
