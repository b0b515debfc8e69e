//! Deleting old events by rule: what is deleted leaves a tombstone, and the state that it led to.

mod api;
mod store;

use super::fold::State;
use crate::error::Error;
use crate::pg::Session;
use uuid::Uuid;

/// Where folding an aggregate to version `to` begins, if not at its first event: the version that deleted events led to,
/// and the state at it.
pub fn origin(session: &Session, aggregate: Uuid, to: i32) -> Result<Option<(i32, State)>, Error> {
    let Some(last) = store::buried(session, aggregate)?.filter(|_| to > 0) else { return Ok(None) };
    match store::tombstone(session, aggregate, to)? {
        // Between two tombstones there is nothing to fold any more.
        Some((version, Some(state))) if version == to || version == last => Ok(Some((version, state))),
        _ => Err(Error::EventsDeleted { aggregate, through: last }),
    }
}
