//! Faults from outside around everything that writes.

mod disk;
mod interrupts;
mod memory;
mod prepared;
mod replication;
