//! What the session tests share: a database per test, psql-like questions,
//! refusals that must leave every table as it was, and an auditor that knows
//! nothing of the extension's own code.
//!
//! The server is named by the environment: `NEOBANK_SOCKET_DIR`, `NEOBANK_PORT`,
//! `NEOBANK_OS_USER` (who
//! runs it) and `PGUSER` (its superuser), both `postgres` by default,
//! `NEOBANK_PG_CONFIG` and, where the server's log is a file, `NEOBANK_LOG`.

mod ask;
mod audit;
mod bank;
mod crowd;
mod events;
mod private;
mod refusal;
mod surface;
mod tools;

pub use ask::{Ask, dec};
pub use audit::{audit, audit_in_passing, broken_rules};
pub use bank::{Bank, crowd};
pub use crowd::{Dice, together};
pub use events::all_read;
pub use private::PrivateCluster;
pub use refusal::{Refusal, answers_refusal, refused, refused_with_code_only, snapshot};
pub use surface::{catalog, difference, surface};
pub use tools::{
    Scratch, bindir_tool, figure, given, os_user_ids, psql, repository_root, run_tool, say, seed, server, setting,
    skipped,
};
pub use uuid::Uuid;

pub use postgres::{self, Client};
pub use rust_decimal::Decimal;
