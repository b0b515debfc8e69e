//! Which events a handler appends while it runs: told by the append itself, so that nothing has to be marked in them.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use uuid::Uuid;

thread_local! {
    /// The events of each handler that is under way in this backend, the innermost last.
    static RUNNING: RefCell<Vec<Vec<Uuid>>> = const { RefCell::new(Vec::new()) };
}

/// A handler that is under way.
pub struct Running(());

impl Running {
    pub fn begin() -> Self {
        RUNNING.with_borrow_mut(|running| running.push(Vec::new()));
        Running(())
    }

    /// What it has appended, some of which it may have rolled back again.
    pub fn events(self) -> Vec<Uuid> {
        RUNNING.with_borrow_mut(|running| running.last_mut().map(std::mem::take)).unwrap_or_default()
    }

    pub fn is_any() -> bool {
        RUNNING.with_borrow(|running| !running.is_empty())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(|running| running.pop());
    }
}

/// These events were appended, or were there already.
pub fn appended(ids: &[Uuid]) {
    RUNNING.with_borrow_mut(|running| {
        if let Some(events) = running.last_mut() {
            events.extend_from_slice(ids);
        }
    });
}
