//! Deleting old events by rule: what is deleted leaves a tombstone, and the state that it led to.

mod api;
mod store;

use super::fold::State;
use crate::error::Error;
use crate::pg::Session;
use uuid::Uuid;

/// Where folding an aggregate to version `to` begins: at the nearest snapshot, unless events after it are deleted; then
/// at the state that they led to, where that was kept.
pub fn origin(session: &Session, aggregate: Uuid, to: i32, snapshot: State) -> Result<State, Error> {
    let Some(last) = store::buried(session, aggregate)?.filter(|_| to > 0) else { return Ok(snapshot) };
    if snapshot.version() >= last {
        return Ok(snapshot);
    }
    match store::tombstone(session, aggregate, to)? {
        // Between two tombstones there is nothing to fold any more.
        Some((version, Some(state))) if version == to || version == last => Ok(state),
        _ => Err(Error::EventsDeleted { aggregate, through: last }),
    }
}

/// The last version that was recorded at or before that time, of a stream where no event that is left was; 0 if there is
/// none. Among deleted ones it is known where a tombstone ends or begins.
pub fn last_at(session: &Session, aggregate: Uuid, time: i64) -> Result<i32, Error> {
    match store::buried_at(session, aggregate, time)? {
        None => Ok(0),
        Some((version, true)) => Ok(version),
        Some((through, false)) => Err(Error::EventsDeleted { aggregate, through }),
    }
}
