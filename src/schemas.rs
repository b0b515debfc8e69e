//! The schemas that functions of other modules name. `sql/schemas.sql` creates them first, so that a squatted one
//! stops the installation; the statements generated from here then find them.

use pgrx::prelude::*;

#[pg_schema]
mod banking {}

#[pg_schema]
mod txn_processing {}

#[pg_schema]
mod event_store {}

#[pg_schema]
mod cqrs {}

#[pg_schema]
mod saga {}

#[pg_schema]
mod temporal {}

#[pg_schema]
mod troubleshoot {}

#[pg_schema]
mod pooling {}

#[pg_schema]
mod concurrency {}
