//! Faults from outside around everything that writes.

mod interrupts;
mod prepared;
mod replication;
