//! Schema `concurrency`: locks, versions and isolation, and named locks for applications.

mod api;
mod core;
mod deadlocks;
mod leases;
mod locks;
