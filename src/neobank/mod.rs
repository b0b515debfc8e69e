//! Schema `neobank`: what belongs to the extension as a whole.

pub mod access;

use pgrx::prelude::*;

/// A time-ordered unique id (UUID version 7, RFC 9562). Ids drawn by one session ascend.
#[pg_extern(schema = "neobank", volatile, parallel_safe)]
fn uuid_v7() -> pgrx::Uuid {
    pgrx::Uuid::from_bytes(*uuid::Uuid::now_v7().as_bytes())
}
