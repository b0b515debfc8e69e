//! What people and clients decide: cancelling, parked sagas, steps that the client does itself.
#![forbid(unsafe_code)]

use super::definition::Action;
use super::state::{Failure, Status, StepStatus, UndoStatus, Waits};
use super::{Machine, Refusal, codes};

/// How a person settles a parked saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The step, or its compensation, was done by hand: the saga goes on.
    StepDone,
    /// The step surely had no effect: what came before it is undone.
    StepFailed,
    /// All is settled by hand.
    Completed,
    Failed,
}

impl Outcome {
    pub fn of(text: &str) -> Option<Self> {
        Some(match text {
            "step_done" => Outcome::StepDone,
            "step_failed" => Outcome::StepFailed,
            "completed" => Outcome::Completed,
            "failed" => Outcome::Failed,
            _ => return None,
        })
    }
}

const MICROS_PER_MS: i64 = 1_000;

fn state<T>(why: &str) -> Result<T, Refusal> {
    Err(Refusal::State(why.into()))
}

impl Machine<'_> {
    /// Has it undone; a saga that is being undone, or is, stays as it is.
    pub fn cancel(&mut self, reason: &str) -> Result<(), Refusal> {
        match self.saga.status {
            Status::Completed => state("It is completed."),
            Status::Compensating | Status::Failed => Ok(()),
            Status::Parked if self.saga.failure.is_some() => Ok(()),
            Status::Parked => Err(Refusal::PastReturn),
            Status::Started | Status::Running if !self.may_turn_back() => Err(Refusal::PastReturn),
            Status::Started | Status::Running => {
                self.turn_back(Failure::new(codes::CANCELLED, reason));
                Ok(())
            }
        }
    }

    /// A signal has come; whether one may.
    pub fn notice(&mut self, name: &str) -> Result<(), Refusal> {
        if self.saga.status.has_ended() {
            return state("It has ended.");
        }
        let is_awaited =
            |at: usize| matches!(&self.plan.steps[at].action, Action::Signal(awaited) if awaited == name);
        if self.saga.status == Status::Running && self.saga.at().is_some_and(is_awaited) {
            self.saga.due_at = Some(self.now);
        }
        Ok(())
    }

    fn parked_step(&self) -> Result<usize, Refusal> {
        let at = self.saga.at().filter(|at| self.saga.steps[*at].status == StepStatus::Failed);
        match (self.saga.status, &self.saga.failure, at) {
            (Status::Parked, None, Some(at)) => Ok(at),
            (Status::Parked, ..) => state("It is being undone: its compensation is to be retried."),
            _ => state("It is not parked."),
        }
    }

    fn parked_undo(&self) -> Result<usize, Refusal> {
        let failed =
            |at: &usize| self.saga.undos[*at].as_ref().is_some_and(|undo| undo.status == UndoStatus::Failed);
        let at = (0..self.saga.steps.len()).find(failed);
        match (self.saga.status, &self.saga.failure, at) {
            (Status::Parked, Some(_), Some(at)) => Ok(at),
            (Status::Parked, ..) => state("It is not being undone: its step is to be retried."),
            _ => state("It is not parked."),
        }
    }

    /// Tries the step that failed past the point of no return anew, with all its attempts and time.
    pub fn retry_step(&mut self, reason: &str) -> Result<(), Refusal> {
        let at = self.parked_step()?;
        let why = by_hand(reason);
        let timeout = self.plan.steps[at].timeout_ms.map(|ms| self.now + ms * MICROS_PER_MS);
        let step = &mut self.saga.steps[at];
        step.effort.start_over(self.now);
        step.effort.started_at = Some(self.now);
        step.timeout_at = timeout;
        // A child that only took too long is still there: it is waited for again.
        if step.effort.failure.as_ref().is_some_and(|why| why.code.as_deref() == Some(codes::CHILD_FAILED)) {
            step.child = None;
        }
        self.saga.step_moved(self.now, at, StepStatus::Waiting, Some(&why));
        self.saga.moved(self.now, Status::Running, Some(&why));
        self.wake();
        Ok(())
    }

    /// The same of a compensation.
    pub fn retry_compensation(&mut self, reason: &str) -> Result<(), Refusal> {
        let at = self.parked_undo()?;
        let (now, why) = (self.now, by_hand(reason));
        self.undo_mut(at).effort.start_over(now);
        self.saga.undo_moved(now, at, UndoStatus::Waiting, Some(&why));
        self.saga.moved(now, Status::Compensating, Some(&why));
        self.wake();
        Ok(())
    }

    /// Settles a parked saga. Answers the step whose output the person may give.
    pub fn resolve(&mut self, outcome: Outcome, reason: &str) -> Result<Option<usize>, Refusal> {
        let why = by_hand(reason);
        if self.saga.status != Status::Parked {
            return state("It is not parked.");
        }
        match outcome {
            Outcome::StepDone if self.saga.failure.is_some() => {
                let at = self.parked_undo()?;
                let now = self.now;
                self.undo_mut(at).effort.settle(now);
                self.saga.undo_moved(now, at, UndoStatus::Completed, Some(&why));
                self.saga.steps[at].compensated_at = Some(now);
                self.saga.step_moved(now, at, StepStatus::Compensated, Some(&why));
                self.saga.moved(now, Status::Compensating, Some(&why));
                self.wake();
                Ok(None)
            }
            Outcome::StepDone => {
                let at = self.parked_step()?;
                self.saga.steps[at].effort.settle(self.now);
                self.saga.past_return |= self.plan.steps[at].no_return;
                self.saga.step_moved(self.now, at, StepStatus::Completed, Some(&why));
                self.saga.moved(self.now, Status::Running, Some(&why));
                self.wake();
                Ok(Some(at))
            }
            Outcome::StepFailed => {
                let at = self.parked_step()?;
                if self.saga.past_return {
                    return Err(Refusal::PastReturn);
                }
                let step = &mut self.saga.steps[at];
                (step.effect_possible, step.needs_undo, step.dirty) = (false, false, true);
                let failure = step.effort.failure.clone().unwrap_or_else(|| why.clone());
                self.saga.moved(self.now, Status::Compensating, Some(&why));
                self.saga.failure = Some(failure);
                self.wake();
                Ok(None)
            }
            Outcome::Completed | Outcome::Failed => {
                let to = if outcome == Outcome::Completed { Status::Completed } else { Status::Failed };
                self.saga.moved(self.now, to, Some(&why));
                if to == Status::Failed {
                    self.saga.failure.get_or_insert(why);
                }
                self.rest(None, None);
                Ok(None)
            }
        }
    }

    /// Completes the step that the client has in hand, and puts the next one into its hand; that step, or nothing where
    /// all are completed.
    pub fn client_steps_on(&mut self) -> Result<Option<usize>, Refusal> {
        if !matches!(self.saga.status, Status::Started | Status::Running) {
            return state("It is not in a state in which steps are executed.");
        }
        if let Some(at) = self.saga.at().filter(|at| self.saga.steps[*at].status == StepStatus::Running) {
            self.done(at);
        }
        if self.saga.current == self.saga.steps.len() {
            self.saga.moved(self.now, Status::Completed, None);
            self.rest(None, None);
            return Ok(None);
        }
        self.begin_step();
        let at = self.saga.current - 1;
        self.begin_attempt(at);
        self.rest(Some(Waits::Client), None);
        Ok(Some(at))
    }
}

fn by_hand(reason: &str) -> Failure {
    Failure::new(codes::BY_HAND, reason)
}
