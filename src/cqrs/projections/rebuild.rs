//! Building a projection anew from the first event, in a twin of its table, while the old one serves.
//!
//! The twin is filled in steps and takes the table's place in the last one. What an inline projection's appends do
//! meanwhile goes into the old table only, and is replayed into the twin as all else: at the swap appends are kept out by
//! the projection's lock, so that each event is in the twin once, replayed before or applied after. For that every append
//! that is under way must know of the projection: so the swap waits until all transactions have ended that began before
//! the replay was through (the fence).

use super::run::{PAGE, apply};
use super::store::{Projection, WATCH};
use super::twin::{new_fence, oldest_transaction};
use crate::error::Error;
use crate::pg::server;
use crate::txn_processing::engine::Desk;
use std::cell::Cell;

pub fn start(name: &str) -> Result<(), Error> {
    let desk = Desk::open();
    let projection = Projection::lock(desk.session(), name)?;
    if projection.twin.is_some() {
        return Err(projection.refused("is being rebuilt"));
    }
    let twin = projection.make_twin(desk.session())?;
    projection.set_twin(desk.session(), Some((&twin, 0)), None)
}

pub fn cancel(name: &str) -> Result<(), Error> {
    let desk = Desk::open();
    let projection = Projection::lock(desk.session(), name)?;
    if projection.twin.is_none() {
        return Err(projection.refused("is not being rebuilt"));
    }
    projection.drop_twin(desk.session())?;
    projection.set_twin(desk.session(), None, None)
}

/// Replays up to `most` events into the twin; whether that were all that there are.
fn replay(
    projection: &Projection,
    twin: &str,
    position: &mut i64,
    most: i32,
    only_final: bool,
) -> Result<bool, Error> {
    let (_, owner) = projection.target()?;
    let table = projection.twin_oid(Desk::open().session(), twin)?;
    let mut left = most;
    while left > 0 {
        let page = PAGE.min(left);
        let events = projection.events(Desk::open().session(), *position, page, only_final)?;
        apply(projection, &events, table, owner, &Cell::new(0))?;
        if let Some(last) = events.last() {
            *position = last.position;
        }
        if events.len() < page as usize {
            return Ok(true);
        }
        left -= page;
    }
    Ok(false)
}

/// One step; where the rebuild stands after it.
pub fn step(name: &str, most: i32) -> Result<&'static str, Error> {
    if !server::is_read_committed() {
        return Err(Error::IsolationLevel);
    }
    let taken = Projection::take(Desk::open().session(), name)?;
    let Some(projection) = taken else { return Ok("busy") };
    let Some(twin) = projection.twin.clone() else {
        return Err(projection.refused("is not being rebuilt"));
    };
    let mut position = projection.twin_position;
    let is_through = replay(&projection, &twin, &mut position, most, true)?;
    let keep = |fence| projection.set_twin(Desk::open().session(), Some((&twin, position)), fence);
    if !is_through {
        return keep(projection.fence).map(|()| "replaying");
    }
    if projection.is_inline {
        let passed = match projection.fence {
            None => {
                // Whoever made or paused it held this alone until all had been told.
                projection.fence_appends(false)?;
                let fence = new_fence(Desk::open().session())?;
                return keep(Some(fence)).map(|()| "waiting");
            }
            Some(fence) => oldest_transaction(Desk::open().session())? >= fence,
        };
        if !passed {
            return keep(projection.fence).map(|()| "waiting");
        }
        projection.fence_appends(true)?;
        // What has been committed up to now, and nothing else can be under way.
        while !replay(&projection, &twin, &mut position, PAGE, false)? {}
    }
    swap(&projection, &twin, position)
}

fn swap(projection: &Projection, twin: &str, position: i64) -> Result<&'static str, Error> {
    let desk = Desk::open();
    projection.swap_twin(desk.session(), twin)?;
    projection.swapped(desk.session(), position)?;
    WATCH.announce()?;
    Ok("done")
}
