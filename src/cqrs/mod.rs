//! Schema `cqrs`: read models of the ledger, commands and what carries them out, and projections of events.

pub mod activity;
pub mod commands;
mod projections;
mod worker;

pub use worker::turn;

use crate::error::Error;
use crate::pg::Session;
use uuid::Uuid;

/// What hangs on an append: events that were just written, in the same transaction.
pub fn appended<'s>(session: impl FnOnce() -> &'s Session, ids: &[Uuid]) -> Result<(), Error> {
    found(ids);
    projections::apply_inline(session, ids)
}

/// Whether anything may hang on the next append.
pub fn is_followed() -> Result<bool, Error> {
    Ok(commands::is_any_running() || projections::may_be_any_inline()?)
}

/// The same of events that a retry brought again.
pub fn found(ids: &[Uuid]) {
    commands::appended(ids);
}
