//! neobank: the core of a bank inside PostgreSQL.
//!
//! One module is one SQL schema is one folder. DDL lives in `sql/`; `install` says in which order it is loaded.
#![deny(unsafe_code)]

use pgrx::prelude::*;

mod banking;
mod concurrency;
mod cqrs;
mod error;
mod event_store;
mod guard;
mod guard_drop;
mod guc;
mod install;
mod neobank;
mod pg;
mod pooling;
mod saga;
mod schemas;
mod temporal;
mod troubleshoot;
mod txn_processing;

::pgrx::pg_module_magic!(name, version);

/// Runs when a backend loads the library; the ledger needs no preloading, the queue's background workers do.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    guc::init();
    pg::prepared::note_starts();
    if pg::server::is_preloading() {
        guc::init_preloaded();
        pg::worker::register_queue_workers(guc::queue_workers());
    }
}

#[cfg(any(test, feature = "pg_test"))]
mod tests;

/// Called by `cargo pgrx test`.
#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}
