//! neobank: the core of a bank inside PostgreSQL.
//!
//! One module is one SQL schema is one folder. DDL lives in `sql/`, loaded in the order below.
#![deny(unsafe_code)]

use pgrx::prelude::*;

mod banking;
mod error;
mod guard;
mod guc;
mod neobank;
mod pg;
mod schemas;
mod txn_processing;

::pgrx::pg_module_magic!(name, version);

extension_sql_file!("../sql/schemas.sql", name = "schemas", bootstrap);
extension_sql_file!("../sql/neobank.sql", name = "neobank_tables", requires = ["schemas"]);
extension_sql_file!(
    "../sql/banking.sql",
    name = "banking_tables",
    requires = ["neobank_tables", neobank::uuid_v7]
);
extension_sql_file!("../sql/currencies.sql", name = "currencies", requires = ["banking_tables"]);
extension_sql_file!("../sql/txn_processing.sql", name = "txn_processing_tables", requires = ["currencies"]);
extension_sql_file!(
    "../sql/txn_processing_views.sql",
    name = "txn_processing_views",
    requires = ["txn_processing_tables", txn_processing::contract::generated_reference_sql]
);
extension_sql_file!(
    "../sql/guards.sql",
    name = "guards",
    requires = ["txn_processing_views", guard::neobank::guard_ledger, guard::neobank::guard_accounts]
);
extension_sql_file!("../sql/access.sql", name = "access", requires = ["guards"]);
extension_sql_file!("../sql/finish.sql", name = "finish", finalize);

/// Runs when a backend loads the library; the ledger needs no preloading.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    guc::init();
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
