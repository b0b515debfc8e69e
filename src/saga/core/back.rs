//! The way back: what was done is undone, the last first.
#![forbid(unsafe_code)]

use super::definition::Undoing;
use super::effort::is_in_the_way;
use super::state::{Effort, Failure, Status, StepStatus, Undo, UndoStatus, Waits};
use super::{ChildUndoing, Machine, Next, codes};
use uuid::Uuid;

const MICROS_PER_MS: i64 = 1_000;

/// How often a parent looks whether a child that it has undone has come to its end.
const LOOK_MS: i64 = 1_000;

impl Machine<'_> {
    /// A move on the way back; nothing where more moves follow.
    pub(super) fn back(&mut self) -> Option<Next> {
        if let Some(next) = self.settle() {
            return next;
        }
        let needing = |at: &usize| {
            let step = &self.saga.steps[*at];
            step.needs_undo && matches!(step.status, StepStatus::Completed | StepStatus::Failed)
        };
        let Some(at) = (0..self.saga.current).rev().find(needing) else {
            let why = self.saga.failure.clone();
            self.saga.moved(self.now, Status::Failed, why.as_ref());
            return None;
        };
        let plan = self.plan;
        match plan.steps[at].undoing.as_ref().expect("only what can be undone needs it") {
            Undoing::Call(_) => Some(self.call_undo(at)),
            Undoing::External(work_type) => self.external_undo(at, work_type),
            Undoing::Child => {
                let child = self.saga.steps[at].child.expect("it was started");
                if self.undo(at).status == UndoStatus::Pending {
                    self.undo_mut(at).effort.begin_once();
                    self.saga.undo_moved(self.now, at, UndoStatus::Waiting, None);
                }
                Some(Next::UndoChild { step: at, child })
            }
        }
    }

    /// Ends what was under way when the saga failed. A worker that has the step may still answer until its lease ends:
    /// what it has done must be known before it is undone.
    fn settle(&mut self) -> Option<Option<Next>> {
        let at = self.saga.at()?;
        let why = || self.saga.failure.clone().expect("it fails for a reason");
        match self.saga.steps[at].status {
            StepStatus::Running => {
                let until = self.saga.steps[at].effort.leased_until.unwrap_or(self.now);
                if until > self.now {
                    self.saga.work = None;
                    return Some(Some(self.rest(Some(Waits::Worker), Some(until))));
                }
                // What a client does under execute_step is its own to undo.
                if self.saga.steps[at].effort.leased_until.is_some() {
                    self.no_answer(at);
                } else {
                    let why = why();
                    self.give_up(at, why);
                }
                Some(None)
            }
            StepStatus::Waiting => {
                let why = why();
                let step = &mut self.saga.steps[at];
                step.effect_possible |= step.child.is_some();
                self.give_up(at, why);
                Some(None)
            }
            // It has begun, and nothing of it has happened.
            StepStatus::Pending => {
                let why = why();
                self.saga.step_moved(self.now, at, StepStatus::Waiting, None);
                self.give_up(at, why);
                Some(None)
            }
            StepStatus::Completed | StepStatus::Failed | StepStatus::Compensated => None,
        }
    }

    fn undo(&mut self, at: usize) -> &Undo {
        self.undo_mut(at)
    }

    /// The compensation of a step, which is made when its turn comes.
    pub(super) fn undo_mut(&mut self, at: usize) -> &mut Undo {
        self.saga.undos[at].get_or_insert_with(|| Undo {
            id: Uuid::nil(),
            status: UndoStatus::Pending,
            effort: Effort::default(),
            dirty: true,
        })
    }

    fn call_undo(&mut self, at: usize) -> Next {
        let now = self.now;
        let undo = self.undo_mut(at);
        if !undo.effort.is_due(now) {
            let until = undo.effort.next_attempt_at;
            return self.rest(Some(Waits::Runner), until);
        }
        undo.effort.begin(now);
        self.saga.undo_moved(now, at, UndoStatus::Running, None);
        Next::CallUndo { step: at }
    }

    fn external_undo(&mut self, at: usize, work_type: &str) -> Option<Next> {
        let now = self.now;
        let undo = self.undo_mut(at);
        if undo.status == UndoStatus::Running {
            let until = undo.effort.leased_until.unwrap_or(now);
            if until <= now {
                self.no_undo_answer(at);
                return None;
            }
            self.saga.work = Some((work_type.to_owned(), until));
            return Some(self.rest(Some(Waits::Worker), Some(until)));
        }
        let from = undo.effort.next_attempt_at.unwrap_or(now);
        if undo.status == UndoStatus::Pending {
            self.saga.undo_moved(now, at, UndoStatus::Waiting, None);
        }
        let from = self.saga.work.take().map_or(from, |(_, at)| at.max(from));
        self.saga.work = Some((work_type.to_owned(), from));
        Some(self.rest(Some(Waits::Worker), None))
    }

    pub(super) fn no_undo_answer(&mut self, at: usize) {
        let failure = Failure::new(codes::NO_ANSWER, "the worker's lease ran out without an answer");
        self.undo_mut(at).effort.lease_token = None;
        self.undo_attempt_failed(at, failure, true);
        let now = self.now;
        let undo = self.undo_mut(at);
        if undo.status == UndoStatus::Waiting {
            undo.effort.next_attempt_at = Some(now);
            self.offer_undo(at);
        }
    }

    /// Workers may have what is theirs without a run in between.
    fn offer_undo(&mut self, at: usize) {
        if let Some(Undoing::External(work_type)) = &self.plan.steps[at].undoing {
            let now = self.now;
            let from = self.undo_mut(at).effort.next_attempt_at.unwrap_or(now);
            self.saga.work = Some((work_type.clone(), from));
            self.rest(Some(Waits::Worker), None);
        }
    }

    /// The compensation's function has answered.
    pub fn undo_called(&mut self, at: usize) {
        self.undone(at);
    }

    /// The compensation's function has failed, and left nothing behind.
    pub fn undo_failed(&mut self, at: usize, failure: Failure) {
        let (now, roll) = (self.now, self.roll);
        let in_the_way = failure.code.as_deref().is_some_and(is_in_the_way);
        if in_the_way && self.undo_mut(at).effort.may_be_put_off() {
            self.saga.undo_moved(now, at, UndoStatus::Waiting, Some(&failure));
            self.undo_mut(at).effort.put_off(now, roll, failure);
            return;
        }
        self.undo_attempt_failed(at, failure, true);
    }

    pub(super) fn undone(&mut self, at: usize) {
        let now = self.now;
        self.undo_mut(at).effort.succeed(now);
        self.saga.undo_moved(now, at, UndoStatus::Completed, None);
        self.saga.steps[at].compensated_at = Some(now);
        self.saga.step_moved(now, at, StepStatus::Compensated, None);
        self.wake();
    }

    pub(super) fn undo_attempt_failed(&mut self, at: usize, failure: Failure, may_try_again: bool) {
        let (now, roll, plan) = (self.now, self.roll, &self.plan.steps[at]);
        let effort = &mut self.undo_mut(at).effort;
        effort.fail(&failure);
        if may_try_again && effort.attempts < plan.undo_attempts {
            effort.back_off(now, plan.backoff, roll);
            self.saga.undo_moved(now, at, UndoStatus::Waiting, Some(&failure));
            self.wake();
            self.offer_undo(at);
            return;
        }
        let attempts = effort.attempts;
        self.saga.undo_moved(now, at, UndoStatus::Failed, Some(&failure));
        let name = &plan.name;
        self.park(format!(
            "the compensation of step {name} failed after {attempts} attempts: {}",
            failure.message
        ));
    }

    /// How far the undoing of the child is; answers whether the saga goes on now.
    pub fn child_undoing(&mut self, at: usize, undoing: ChildUndoing) -> bool {
        match undoing {
            ChildUndoing::Undone => self.undone(at),
            ChildUndoing::UnderWay => {
                let until = self.now + LOOK_MS * MICROS_PER_MS;
                self.rest(Some(Waits::Child), Some(until));
                return false;
            }
            ChildUndoing::Refused(failure) => self.undo_attempt_failed(at, failure, false),
        }
        true
    }

    /// Its parent wants it undone, whether it has ended or not.
    pub fn undo_with_parent(&mut self) -> ChildUndoing {
        let failure = || Failure::new(codes::WITH_PARENT, "the parent is undone");
        if self.saga.status == Status::Failed {
            return ChildUndoing::Undone;
        }
        let goes_forward = self.saga.failure.is_none();
        if self.saga.past_return || (goes_forward && !self.may_turn_back()) {
            let message = "the child is past its point of no return";
            return ChildUndoing::Refused(Failure::new("NB207", message));
        }
        if matches!(self.saga.status, Status::Started | Status::Running | Status::Completed) {
            self.turn_back(failure());
            self.try_failed_undos_again();
        }
        ChildUndoing::UnderWay
    }
}

impl Machine<'_> {
    /// Somebody has settled by hand a saga that was parked, and now it is undone after all.
    fn try_failed_undos_again(&mut self) {
        let now = self.now;
        for at in 0..self.saga.undos.len() {
            let has_failed = |undo: &Undo| undo.status == UndoStatus::Failed;
            if self.saga.undos[at].as_ref().is_some_and(has_failed) {
                self.undo_mut(at).effort.start_over(now);
                self.saga.undo_moved(now, at, UndoStatus::Waiting, None);
            }
        }
    }
}

impl Effort {
    /// One attempt, however often one has to look.
    fn begin_once(&mut self) {
        self.attempts = 1;
    }
}
