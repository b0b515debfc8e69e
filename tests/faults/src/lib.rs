//! Timeouts, full disks, little memory, prepared transactions and replication around postings.
//!
//! The servers under test are started by the tests. What they share is here: a bank with a bit of everything, the
//! operations on it, and what must be true after each fault.

mod checks;
pub mod disk;
pub mod operations;
mod sagas;
mod stage;

pub use checks::{at_rest, check_log, check_storage, differences, effects};
pub use operations::Operation;
pub use stage::{Stage, found_bank};
