//! The reading order of events.

use crate::{Ask, Client};
use std::thread;
use std::time::Duration;

/// Waits until all events of now are final, which a transaction of another test may hold back, and answers the
/// position that a reader of all of them goes on from.
pub fn all_read(db: &mut Client) -> i64 {
    for _ in 0..6_000 {
        let read = db.one(
            "select case when event_store.safe_position() > coalesce(max(global_position), 0) \
             then event_store.safe_position() - 1 end from event_store.events",
        );
        if let Ok(position) = read.parse() {
            return position;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("some transaction never ends");
}
