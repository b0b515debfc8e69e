//! The way to the end.
#![forbid(unsafe_code)]

use super::definition::Action;
use super::effort::{is_final, is_in_the_way};
use super::state::{Failure, Micros, Status, StepStatus, Waits};
use super::{ChildState, Machine, Next, codes};
use uuid::Uuid;

const MICROS_PER_MS: i64 = 1_000;

/// How often a parent looks whether its child has ended, beside being told: after an eighth of the time that it has
/// waited, within these bounds.
const LOOK_MS: (i64, i64) = (1_000, 300_000);

fn deadline_passed() -> Failure {
    Failure::new(codes::DEADLINE, "the saga's deadline has passed")
}

impl Machine<'_> {
    /// A move on the way forward; nothing where more moves follow.
    pub(super) fn forward(&mut self) -> Option<Next> {
        if self.saga.deadline.is_some_and(|deadline| deadline <= self.now) && self.may_turn_back() {
            self.turn_back(deadline_passed());
            return None;
        }
        match self.saga.at() {
            Some(at) if self.saga.steps[at].status != StepStatus::Completed => self.go_on(at),
            _ if self.saga.current == self.saga.steps.len() => {
                self.saga.moved(self.now, Status::Completed, None);
                None
            }
            _ if self.plan.steps[self.saga.current].action == Action::Client => {
                Some(self.rest(Some(Waits::Client), None))
            }
            _ => {
                self.begin_step();
                None
            }
        }
    }

    pub(super) fn begin_step(&mut self) {
        let at = self.saga.current;
        let plan = &self.plan.steps[at];
        if self.saga.status == Status::Started {
            self.saga.moved(self.now, Status::Running, None);
        }
        self.saga.current += 1;
        let step = &mut self.saga.steps[at];
        step.effort.started_at = Some(self.now);
        step.timeout_at = plan.timeout_ms.map(|ms| self.now + ms * MICROS_PER_MS);
        step.dirty = true;
    }

    fn go_on(&mut self, at: usize) -> Option<Next> {
        let plan = self.plan;
        let step = &self.saga.steps[at];
        // A worker that has the step keeps it until its lease ends, which is no later than the timeout. A signal that is
        // there counts, however late somebody looks.
        let has_timed_out = step.timeout_at.is_some_and(|timeout| timeout <= self.now);
        let may_still_end =
            step.status == StepStatus::Running || matches!(plan.steps[at].action, Action::Signal(_));
        if has_timed_out && !may_still_end {
            self.time_out(at);
            return None;
        }
        match &plan.steps[at].action {
            Action::Call(_) => Some(self.call(at)),
            Action::External(work_type) => self.external(at, work_type),
            Action::Signal(name) => {
                self.wait(at);
                Some(Next::TakeSignal { step: at, name: name.clone() })
            }
            Action::Delay(ms) => {
                self.wait(at);
                let until = self.saga.steps[at].effort.started_at.unwrap_or(self.now) + ms * MICROS_PER_MS;
                if until > self.now {
                    return Some(self.rest(Some(Waits::Delay), Some(until)));
                }
                self.done(at);
                None
            }
            Action::Child(saga_type) => Some(match step.child {
                None => Next::StartChild { step: at, saga_type: saga_type.clone() },
                Some(child) => Next::LookAtChild { step: at, child },
            }),
            Action::Client => Some(self.rest(Some(Waits::Client), None)),
        }
    }

    fn wait(&mut self, at: usize) {
        if self.saga.steps[at].status == StepStatus::Pending {
            self.saga.step_moved(self.now, at, StepStatus::Waiting, None);
        }
    }

    fn call(&mut self, at: usize) -> Next {
        let step = &self.saga.steps[at];
        if !step.effort.is_due(self.now) {
            let until = [step.effort.next_attempt_at, step.timeout_at].into_iter().flatten().min();
            return self.rest(Some(Waits::Runner), until);
        }
        self.begin_attempt(at);
        Next::Call { step: at }
    }

    pub(super) fn begin_attempt(&mut self, at: usize) {
        let has_undoing = self.plan.steps[at].undoing.is_some();
        let step = &mut self.saga.steps[at];
        step.effort.begin(self.now);
        step.needs_undo = has_undoing;
        self.saga.step_moved(self.now, at, StepStatus::Running, None);
    }

    fn external(&mut self, at: usize, work_type: &str) -> Option<Next> {
        self.wait(at);
        let step = &self.saga.steps[at];
        if step.status == StepStatus::Running {
            let until = step.effort.leased_until.unwrap_or(self.now);
            if until <= self.now {
                self.no_answer(at);
                return None;
            }
            // Whoever claims next finds it once the lease has run out.
            self.saga.work = Some((work_type.to_owned(), until));
            return Some(self.rest(Some(Waits::Worker), Some(until)));
        }
        let (from, timeout) = (step.effort.next_attempt_at.unwrap_or(self.now), step.timeout_at);
        let from = self.saga.work.take().map_or(from, |(_, at)| at.max(from));
        self.saga.work = Some((work_type.to_owned(), from));
        Some(self.rest(Some(Waits::Worker), timeout))
    }

    /// A lease ran out: what became of the attempt is not known.
    pub(super) fn no_answer(&mut self, at: usize) {
        self.saga.steps[at].effect_possible = true;
        let failure = Failure::new(codes::NO_ANSWER, "the worker's lease ran out without an answer");
        self.saga.steps[at].effort.lease_token = None;
        self.attempt_failed(at, failure, true);
        // The lease itself was the delay.
        let step = &mut self.saga.steps[at];
        if step.status == StepStatus::Waiting {
            step.effort.next_attempt_at = Some(self.now);
            self.offer(at);
        }
    }

    fn time_out(&mut self, at: usize) {
        let name = &self.plan.steps[at].name;
        let failure = Failure::new(codes::STEP_TIMEOUT, format!("step {name} was not completed in time"));
        if matches!(self.plan.steps[at].action, Action::Child(_)) && self.saga.steps[at].child.is_some() {
            self.saga.steps[at].effect_possible = true;
        }
        self.wait(at);
        self.give_up(at, failure);
    }

    /// The step is completed.
    pub(super) fn done(&mut self, at: usize) {
        let plan = &self.plan.steps[at];
        let step = &mut self.saga.steps[at];
        step.effort.succeed(self.now);
        step.needs_undo = plan.undoing.is_some();
        self.saga.past_return |= plan.no_return;
        self.saga.step_moved(self.now, at, StepStatus::Completed, None);
        if !self.saga.status.has_ended() {
            self.wake();
        }
    }

    /// The action's function has answered.
    pub fn called(&mut self, at: usize) {
        self.done(at);
    }

    /// The action's function has failed, and left nothing behind.
    pub fn call_failed(&mut self, at: usize, failure: Failure) {
        let code = failure.code.clone().unwrap_or_default();
        if is_in_the_way(&code) && self.saga.steps[at].effort.may_be_put_off() {
            self.without_effect(at);
            self.saga.step_moved(self.now, at, StepStatus::Waiting, Some(&failure));
            self.saga.steps[at].effort.put_off(self.now, self.roll, failure);
            return;
        }
        // Past the point of no return there is no other way than to try again.
        self.attempt_failed(at, failure, self.saga.past_return || !is_final(&code));
    }

    /// When a call of the step's function is to be interrupted, if it has not ended: at the step's timeout, or at the
    /// saga's deadline where that counts.
    pub fn call_ends(&self, at: usize) -> Option<Micros> {
        let deadline = self.saga.deadline.filter(|_| self.may_turn_back());
        [self.saga.steps[at].timeout_at, deadline].into_iter().flatten().min()
    }

    /// The call was interrupted then, and has had no effect.
    pub fn call_interrupted(&mut self, at: usize) {
        self.without_effect(at);
        let ended = self.call_ends(at);
        if self.saga.steps[at].timeout_at == ended {
            self.time_out(at);
            return;
        }
        let failure = deadline_passed();
        self.saga.step_moved(self.now, at, StepStatus::Waiting, Some(&failure));
        self.saga.steps[at].effort.fail(&failure);
        self.turn_back(failure);
    }

    /// There is no such child to start.
    pub fn child_not_started(&mut self, at: usize, failure: Failure) {
        self.wait(at);
        self.give_up(at, failure);
    }

    /// The attempt that ends had no effect.
    fn without_effect(&mut self, at: usize) {
        let step = &mut self.saga.steps[at];
        step.needs_undo &= step.effect_possible;
    }

    pub(super) fn attempt_failed(&mut self, at: usize, failure: Failure, may_try_again: bool) {
        self.without_effect(at);
        let plan = &self.plan.steps[at];
        let has_attempts = self.saga.steps[at].effort.attempts < plan.max_attempts;
        let goes_on = matches!(self.saga.status, Status::Started | Status::Running);
        if !(may_try_again && has_attempts && goes_on) {
            self.give_up(at, failure);
            return;
        }
        let effort = &mut self.saga.steps[at].effort;
        effort.fail(&failure);
        effort.back_off(self.now, plan.backoff, self.roll);
        self.saga.step_moved(self.now, at, StepStatus::Waiting, Some(&failure));
        self.wake();
        self.offer(at);
    }

    /// Workers may have what is theirs without a run in between.
    fn offer(&mut self, at: usize) {
        if let Action::External(work_type) = &self.plan.steps[at].action {
            let step = &self.saga.steps[at];
            let (from, timeout) = (step.effort.next_attempt_at.unwrap_or(self.now), step.timeout_at);
            self.saga.work = Some((work_type.clone(), from));
            self.rest(Some(Waits::Worker), timeout);
        }
    }

    /// The step has failed for good.
    pub(super) fn give_up(&mut self, at: usize, failure: Failure) {
        let has_undoing = self.plan.steps[at].undoing.is_some();
        let in_doubt = self.plan.steps[at].no_return && self.saga.steps[at].effect_possible;
        let may_turn_back = !(self.saga.past_return || in_doubt);
        let step = &mut self.saga.steps[at];
        step.needs_undo = has_undoing && step.effect_possible;
        step.effort.fail(&failure);
        self.saga.step_moved(self.now, at, StepStatus::Failed, Some(&failure));
        if self.saga.status == Status::Compensating {
            self.wake();
        } else if may_turn_back {
            self.turn_back(failure);
        } else {
            let name = &self.plan.steps[at].name;
            let past = if self.saga.past_return { "past" } else { "at" };
            self.park(format!("step {name} failed {past} the point of no return: {}", failure.message));
        }
    }

    /// Whether the signal was there; answers whether the saga goes on now.
    pub fn signalled(&mut self, at: usize, found: bool) -> bool {
        let timeout = self.saga.steps[at].timeout_at;
        if found {
            self.done(at);
        } else if timeout.is_some_and(|timeout| timeout <= self.now) {
            self.time_out(at);
        } else {
            self.rest(Some(Waits::Signal), timeout);
            return false;
        }
        true
    }

    pub fn child_started(&mut self, at: usize, child: Uuid) {
        let step = &mut self.saga.steps[at];
        step.child = Some(child);
        step.needs_undo = true;
        step.dirty = true;
        self.wait(at);
    }

    /// What became of the child; answers whether the saga goes on now.
    pub fn child_is(&mut self, at: usize, state: ChildState) -> bool {
        match state {
            ChildState::Completed => self.done(at),
            ChildState::Failed(why) => {
                // It has undone itself.
                let message = format!("the child failed: {}", why.message);
                self.give_up(at, Failure::new(codes::CHILD_FAILED, message));
            }
            ChildState::Open => {
                let step = &self.saga.steps[at];
                let waited = (self.now - step.effort.started_at.unwrap_or(self.now)).max(0);
                let look =
                    self.now + (waited / 8).clamp(LOOK_MS.0 * MICROS_PER_MS, LOOK_MS.1 * MICROS_PER_MS);
                let until = step.timeout_at.map_or(look, |timeout| timeout.min(look));
                self.rest(Some(Waits::Child), Some(until));
                return false;
            }
        }
        true
    }
}
