//! Projections that are kept in the appending transaction itself.

use super::store::{Projection, WATCH};
use crate::error::Error;
use crate::pg::call::{ActingAs, Value, call};
use crate::pg::{Session, server};
use std::cell::RefCell;
use uuid::Uuid;

thread_local! {
    /// Those that there are, in the order in which they are locked.
    static INLINE: RefCell<Vec<i32>> = const { RefCell::new(Vec::new()) };
}

/// Whether there may be one.
pub fn may_be_any() -> Result<bool, Error> {
    Ok(!WATCH.is_fresh()? || !INLINE.with_borrow(Vec::is_empty))
}

/// Applies events that were just appended. Costs a look at a flag where there is no such projection.
pub fn apply<'s>(session: impl FnOnce() -> &'s Session, ids: &[Uuid]) -> Result<(), Error> {
    if !may_be_any()? {
        return Ok(());
    }
    let session = session();
    for projection in locked(session)? {
        if !server::is_read_committed() && !projection.is_seen(session)? {
            // Its table is another one than this transaction's snapshot shows.
            return Err(Error::ConcurrentUpdate);
        }
        if !projection.is_running {
            continue;
        }
        let (target, owner) = projection.target()?;
        for event in projection.these_events(session, ids)? {
            if let Some(row) = &event.row {
                let _role = ActingAs::role(owner);
                let values = [Value::Row(row), Value::Relation(target)];
                call(&projection.handler.schema, &projection.handler.name, &values, false)?;
            }
        }
    }
    Ok(())
}

/// The inline projections as they are while this transaction holds their locks: whoever changes one waits for it.
fn locked(session: &Session) -> Result<Vec<Projection>, Error> {
    loop {
        WATCH.begin()?;
        let found = Projection::inline(session).inspect_err(|_| WATCH.forget())?;
        INLINE.set(found.iter().map(|projection| projection.number).collect());
        for projection in &found {
            projection.fence_appends(false)?;
        }
        if WATCH.is_fresh()? {
            return Ok(found);
        }
    }
}
