//! Steps that are done outside: leases with fencing tokens.
#![forbid(unsafe_code)]

use super::definition::{Action, Undoing};
use super::state::{Effort, Failure, Kind, Micros, Status, StepStatus, UndoStatus};
use super::{Machine, Next, Refusal, codes};

/// Who claims, under which token, and for how long.
#[derive(Clone, Debug)]
pub struct Lease {
    pub worker: String,
    pub token: i64,
    pub micros: Micros,
}

/// What was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub step: usize,
    pub kind: Kind,
    pub attempt: i32,
    pub until: Micros,
}

/// What a worker says of an attempt that failed.
#[derive(Clone, Debug)]
pub struct FailureReport {
    pub reason: String,
    pub may_try_again: bool,
    /// The worker does not know whether the attempt had its effect.
    pub effect_possible: bool,
}

impl Effort {
    fn lease(&mut self, lease: &Lease, until: Micros) {
        self.lease_token = Some(lease.token);
        self.leased_until = Some(until);
        self.claimed_by = Some(lease.worker.clone());
    }
}

impl Machine<'_> {
    /// Hands the step that waits for a worker to one; nothing where none does any more.
    pub fn claim(&mut self, lease: &Lease) -> Option<Claimed> {
        let claimed = match self.saga.status {
            Status::Running => self.claim_action(lease),
            Status::Compensating => self.claim_undo(lease),
            _ => None,
        }?;
        let next = self.next();
        assert!(next == Next::Rest, "a worker has it now");
        Some(claimed)
    }

    fn claim_action(&mut self, lease: &Lease) -> Option<Claimed> {
        let at = self.saga.at().filter(|at| matches!(self.plan.steps[*at].action, Action::External(_)))?;
        let step = &self.saga.steps[at];
        if step.status == StepStatus::Running {
            if step.effort.leased_until.is_some_and(|until| until > self.now) {
                return None;
            }
            self.no_answer(at);
        }
        let step = &self.saga.steps[at];
        if self.saga.status != Status::Running || step.status != StepStatus::Waiting {
            return None;
        }
        let passed = |limit: Option<Micros>| limit.is_some_and(|limit| limit <= self.now);
        if passed(step.timeout_at) || (passed(self.saga.deadline) && self.may_turn_back()) {
            self.wake();
            return None;
        }
        if !step.effort.is_due(self.now) {
            return None;
        }
        let until = self.now + lease.micros;
        let until = step.timeout_at.map_or(until, |most| most.min(until));
        self.begin_attempt(at);
        let effort = &mut self.saga.steps[at].effort;
        effort.lease(lease, until);
        Some(Claimed { step: at, kind: Kind::Action, attempt: effort.attempts, until })
    }

    fn claim_undo(&mut self, lease: &Lease) -> Option<Claimed> {
        let at = self.undo_in_turn()?;
        if !matches!(self.plan.steps[at].undoing, Some(Undoing::External(_))) {
            return None;
        }
        let (now, until) = (self.now, self.now + lease.micros);
        let undo = self.undo_mut(at);
        if undo.status == UndoStatus::Running {
            if undo.effort.leased_until.is_some_and(|until| until > now) {
                return None;
            }
            self.no_undo_answer(at);
        }
        let undo = self.undo_mut(at);
        if undo.status != UndoStatus::Waiting || !undo.effort.is_due(now) {
            return None;
        }
        undo.effort.begin(now);
        undo.effort.lease(lease, until);
        let attempt = undo.effort.attempts;
        self.saga.undo_moved(now, at, UndoStatus::Running, None);
        Some(Claimed { step: at, kind: Kind::Compensation, attempt, until })
    }

    fn undo_in_turn(&self) -> Option<usize> {
        self.saga.undos.iter().rposition(|undo| {
            undo.as_ref().is_some_and(|u| matches!(u.status, UndoStatus::Waiting | UndoStatus::Running))
        })
    }

    /// Which effect of the step the token is, or was, for.
    fn held(&self, at: usize, token: i64) -> Option<Kind> {
        let is = |effort: &Effort| effort.lease_token == Some(token);
        if is(&self.saga.steps[at].effort) {
            return Some(Kind::Action);
        }
        self.saga.undos[at].as_ref().filter(|undo| is(&undo.effort)).map(|_| Kind::Compensation)
    }

    /// The worker has done it; false where it has said so before. `Err` where the step is not its own any more.
    pub fn complete(&mut self, at: usize, token: i64) -> Result<bool, Refusal> {
        let undo = self.saga.undos[at].as_ref().map(|undo| undo.status);
        let step = &self.saga.steps[at];
        match (self.held(at, token), step.status, undo) {
            (Some(Kind::Action), StepStatus::Running, _) => {
                self.done(at);
                Ok(true)
            }
            // A step can be compensated without having been completed: then its worker has said something else.
            (Some(Kind::Action), StepStatus::Completed | StepStatus::Compensated, _)
                if step.effort.completed_at.is_some() =>
            {
                Ok(false)
            }
            (Some(Kind::Compensation), _, Some(UndoStatus::Completed)) => Ok(false),
            (Some(Kind::Compensation), _, Some(UndoStatus::Running)) => {
                self.undone(at);
                Ok(true)
            }
            _ => Err(Refusal::LeaseLost),
        }
    }

    /// The worker could not do it; false where it has said so before.
    pub fn fail(&mut self, at: usize, token: i64, report: &FailureReport) -> Result<bool, Refusal> {
        let failure = Failure::new(codes::WORKER_FAILED, report.reason.clone());
        let undo = self.saga.undos[at].as_ref().map(|undo| undo.status);
        match (self.held(at, token), self.saga.steps[at].status, undo) {
            (Some(Kind::Action), StepStatus::Running, _) => {
                self.saga.steps[at].effect_possible |= report.effect_possible;
                self.attempt_failed(at, failure, report.may_try_again);
                Ok(true)
            }
            (Some(Kind::Compensation), _, Some(UndoStatus::Running)) => {
                self.undo_attempt_failed(at, failure, report.may_try_again);
                Ok(true)
            }
            (Some(Kind::Action), StepStatus::Waiting | StepStatus::Failed, _)
            | (Some(Kind::Compensation), _, Some(UndoStatus::Waiting | UndoStatus::Failed)) => Ok(false),
            _ => Err(Refusal::LeaseLost),
        }
    }

    /// Gives the worker more time; until when it has the step now.
    pub fn extend(&mut self, at: usize, token: i64, micros: Micros) -> Result<Micros, Refusal> {
        let until = self.now + micros;
        let (effort, until) = match self.held(at, token) {
            Some(Kind::Action) if self.saga.steps[at].status == StepStatus::Running => {
                if self.saga.status == Status::Compensating {
                    let why = "It is being undone, and waits only for this step to end.";
                    return Err(Refusal::State(why.into()));
                }
                let step = &mut self.saga.steps[at];
                step.dirty = true;
                (&mut step.effort, step.timeout_at.map_or(until, |most| most.min(until)))
            }
            Some(Kind::Compensation) => match self.saga.undos[at].as_mut() {
                Some(undo) if undo.status == UndoStatus::Running => {
                    undo.dirty = true;
                    (&mut undo.effort, until)
                }
                _ => return Err(Refusal::LeaseLost),
            },
            _ => return Err(Refusal::LeaseLost),
        };
        // It is not made shorter.
        let until = effort.leased_until.map_or(until, |now| now.max(until));
        effort.leased_until = Some(until);
        if let Some((_, at)) = self.saga.work.as_mut() {
            *at = until;
        }
        self.rest(self.saga.waits, Some(until));
        Ok(until)
    }
}
