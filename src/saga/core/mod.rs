//! What a saga does next, and what becomes of it: no server, no clock, no randomness.
//!
//! The state is changed by the methods here only; each change of a status is logged where it happens, so the log cannot
//! differ from the state. Whoever drives a saga asks [`Machine::next`] what to do, does it, and tells how it ended.
#![forbid(unsafe_code)]

mod back;
mod definition;
mod effort;
mod external;
mod forward;
mod person;
mod pruning;
mod reading;
mod state;
#[cfg(test)]
mod tests;

pub use definition::{Action, Function, Invalid, Named, Plan, Undoing};
pub use external::{Claimed, FailureReport, Lease};
pub use person::Outcome;
pub use pruning::{families, whole};
pub use state::{
    Effort, Failure, Kind, Logged, Micros, Saga, Status, Step, StepStatus, Undo, UndoStatus, Waits,
};

use uuid::Uuid;

/// Codes that are kept with a saga, and never raised.
pub mod codes {
    pub const STEP_TIMEOUT: &str = "NB210";
    pub const DEADLINE: &str = "NB211";
    pub const CANCELLED: &str = "NB212";
    pub const NO_ANSWER: &str = "NB213";
    pub const CHILD_FAILED: &str = "NB214";
    pub const WORKER_FAILED: &str = "NB215";
    pub const BY_HAND: &str = "NB216";
    pub const WITH_PARENT: &str = "NB217";
}

/// What whoever drives a saga is to do. Steps count from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Call the action's function, up to [`Machine::call_ends`]; then [`Machine::called`], [`Machine::call_failed`] or
    /// [`Machine::call_interrupted`].
    Call { step: usize },
    /// Call the compensation's function; then [`Machine::undo_called`] or [`Machine::undo_failed`].
    CallUndo { step: usize },
    /// Take the oldest signal of that name; then [`Machine::signalled`].
    TakeSignal { step: usize, name: String },
    /// Start a saga; then [`Machine::child_started`] or [`Machine::child_not_started`].
    StartChild { step: usize, saga_type: String },
    /// Look what became of it; then [`Machine::child_is`].
    LookAtChild { step: usize, child: Uuid },
    /// Have it undone; then [`Machine::child_undoing`].
    UndoChild { step: usize, child: Uuid },
    /// Nothing until the saga is due, or somebody else acts.
    Rest,
}

/// What became of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildState {
    Open,
    Completed,
    Failed(Failure),
}

/// How far a child's undoing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildUndoing {
    UnderWay,
    Undone,
    Refused(Failure),
}

/// Why something cannot be done as things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    State(String),
    LeaseLost,
    PastReturn,
}

/// A saga with what it follows, at some time.
pub struct Machine<'a> {
    pub plan: &'a Plan,
    pub saga: &'a mut Saga,
    pub now: Micros,
    /// Evenly drawn, for the jitter of delays.
    pub roll: u32,
}

/// Moves that a run may make without an end; far more than any plan of bounded steps and attempts has.
const MOST_MOVES: usize = 100_000;

impl Machine<'_> {
    /// Goes on as far as it can by itself, and says what is to be done. At [`Next::Rest`] the saga is not due now.
    pub fn next(&mut self) -> Next {
        for _ in 0..MOST_MOVES {
            let next = match self.saga.status {
                Status::Started | Status::Running => self.forward(),
                Status::Compensating => self.back(),
                Status::Completed | Status::Failed => Some(self.rest(None, None)),
                Status::Parked => Some(self.rest(Some(Waits::Person), None)),
            };
            if let Some(next) = next {
                assert!(
                    next != Next::Rest || self.saga.due_at.is_none_or(|due| due > self.now),
                    "a saga that rests is not due"
                );
                return next;
            }
        }
        panic!("a saga moves without an end");
    }

    /// Rests until `until`, or the deadline where that still counts.
    fn rest(&mut self, waits: Option<Waits>, until: Option<Micros>) -> Next {
        let counts = matches!(self.saga.status, Status::Started | Status::Running) && self.may_turn_back();
        let deadline = self.saga.deadline.filter(|_| counts);
        self.saga.due_at = match (until, deadline) {
            (Some(until), Some(deadline)) => Some(until.min(deadline)),
            (until, deadline) => until.or(deadline),
        };
        self.saga.waits = waits;
        if !matches!(waits, Some(Waits::Worker)) {
            self.saga.work = None;
        }
        Next::Rest
    }

    /// Somebody has changed what `next` depends on.
    fn wake(&mut self) {
        self.saga.due_at = Some(self.now);
        self.saga.waits = Some(Waits::Runner);
        self.saga.work = None;
    }

    /// Whether nothing has happened yet that may not be undone, nor perhaps has.
    pub fn may_turn_back(&self) -> bool {
        let Some(at) = self.saga.at() else { return !self.saga.past_return };
        let step = &self.saga.steps[at];
        let perhaps_done = step.effect_possible || step.status == StepStatus::Running;
        let in_doubt = self.plan.steps[at].no_return && perhaps_done;
        !(self.saga.past_return || in_doubt)
    }

    /// The saga fails: what was done is undone from here on.
    fn turn_back(&mut self, failure: Failure) {
        self.saga.moved(self.now, Status::Compensating, Some(&failure));
        self.saga.failure = Some(failure);
        self.wake();
    }

    fn park(&mut self, why: String) {
        let failure = Failure { code: None, message: why.clone() };
        self.saga.moved(self.now, Status::Parked, Some(&failure));
        self.saga.parked = Some(why);
        self.rest(Some(Waits::Person), None);
    }
}
