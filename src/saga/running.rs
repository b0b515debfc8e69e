//! Which sagas this backend is running: they are kept in memory until all of a batch is written, so what a step's
//! function would change of them meanwhile would be lost.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::HashSet;
use uuid::Uuid;

#[derive(Default)]
struct Batch {
    sagas: HashSet<Uuid>,
    nudged: HashSet<Uuid>,
    /// The saga and the effect of the function that is being called.
    called: Option<(Uuid, Uuid)>,
}

thread_local! {
    static BATCH: RefCell<Option<Batch>> = const { RefCell::new(None) };
}

/// While it lives, these sagas are being run.
pub struct Running(());

impl Running {
    pub fn begin(sagas: impl Iterator<Item = Uuid>) -> Self {
        BATCH.set(Some(Batch { sagas: sagas.collect(), ..Batch::default() }));
        Running(())
    }

    pub fn is_any() -> bool {
        BATCH.with_borrow(Option::is_some)
    }

    pub fn has(saga: Uuid) -> bool {
        BATCH.with_borrow(|batch| batch.as_ref().is_some_and(|batch| batch.sagas.contains(&saga)))
    }

    /// A function is called for that effect of a saga, or none any more.
    pub fn calls(called: Option<(Uuid, Uuid)>) {
        BATCH.with_borrow_mut(|batch| {
            if let Some(batch) = batch {
                batch.called = called;
            }
        });
    }

    pub fn is_calling(saga: Uuid, effect: Uuid) -> bool {
        BATCH.with_borrow(|batch| batch.as_ref().is_some_and(|batch| batch.called == Some((saga, effect))))
    }

    /// There is news for a saga, which looks at it once the batch is written.
    pub fn nudge(saga: Uuid) {
        BATCH.with_borrow_mut(|batch| {
            if let Some(batch) = batch {
                batch.nudged.insert(saga);
            }
        });
    }

    pub fn is_nudged(saga: Uuid) -> bool {
        BATCH.with_borrow(|batch| batch.as_ref().is_some_and(|batch| batch.nudged.contains(&saga)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        BATCH.take();
    }
}
