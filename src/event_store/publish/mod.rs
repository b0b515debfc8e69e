//! The ledger's postings as events, in the transaction that posts.
//!
//! Whoever posts holds the table lock of an INSERT on the movements until its transaction ends; whoever switches
//! publishing takes a lock that waits for all of them and keeps new ones waiting. So what a poster reads after it has
//! written its movements stays true until it commits: nobody posts unpublished after the switch, and nobody publishes
//! after it is off.

mod api;
mod core;
mod follow;
mod store;

pub use self::core::Leg;
pub use store::announce;

use super::position::Position;
use crate::error::Error;
use crate::pg::Session;

/// Appends the events of movements that this transaction has just written, where the ledger is published.
pub fn postings<'s, 'a>(
    session: impl Fn() -> &'s Session,
    legs: impl FnOnce() -> Vec<Leg<'a>>,
) -> Result<(), Error> {
    match store::opened(&session)? {
        None => Ok(()),
        Some(opened) => store::append(session(), Position(opened), &legs()),
    }
}
