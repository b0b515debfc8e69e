//! A saga's state, and its log.
#![forbid(unsafe_code)]

use super::definition::Plan;
use uuid::Uuid;

/// Microseconds since 2000, as the server counts them.
pub type Micros = i64;

/// An enum whose variants have names in SQL.
macro_rules! named {
    ($(#[$about:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub fn text(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }
    };
}

/// The same, read from SQL too.
macro_rules! states {
    ($name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        named!($name { $($variant = $text),+ });

        impl $name {
            pub fn of(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

states!(Status {
    Started = "started", Running = "running", Completed = "completed", Compensating = "compensating",
    Failed = "failed", Parked = "parked",
});
states!(StepStatus {
    Pending = "pending", Running = "running", Waiting = "waiting", Completed = "completed", Failed = "failed",
    Compensated = "compensated",
});
states!(UndoStatus {
    Pending = "pending", Running = "running", Waiting = "waiting", Completed = "completed", Failed = "failed",
});
states!(Waits {
    Runner = "runner", Worker = "worker", Signal = "signal", Delay = "delay", Child = "child", Client = "client",
    Person = "person",
});
named!(
    /// Of the two effects that a step can have.
    Kind { Action = "action", Compensation = "compensation" }
);
named!(Subject { Saga = "saga", Step = "step", Compensation = "compensation" });

impl Status {
    pub fn has_ended(self) -> bool {
        matches!(self, Status::Completed | Status::Failed)
    }

    /// The states that a saga may go to from here.
    pub fn may_become(self, to: Status) -> bool {
        use Status::*;
        match self {
            Started => matches!(to, Running | Completed | Compensating),
            Running => matches!(to, Completed | Compensating | Parked),
            Compensating => matches!(to, Failed | Parked),
            Parked => matches!(to, Running | Compensating | Completed | Failed),
            Completed => to == Compensating,
            Failed => false,
        }
    }
}

impl StepStatus {
    pub fn may_become(self, to: StepStatus) -> bool {
        use StepStatus::*;
        match self {
            Pending => matches!(to, Running | Waiting),
            Running => matches!(to, Waiting | Completed | Failed),
            Waiting => matches!(to, Running | Completed | Failed),
            Completed => to == Compensated,
            Failed => matches!(to, Waiting | Completed | Compensated),
            Compensated => false,
        }
    }
}

impl UndoStatus {
    pub fn may_become(self, to: UndoStatus) -> bool {
        use UndoStatus::*;
        match self {
            Pending => matches!(to, Running | Waiting),
            Running => matches!(to, Waiting | Completed | Failed),
            Waiting => matches!(to, Running | Completed | Failed),
            Failed => matches!(to, Waiting | Completed),
            Completed => false,
        }
    }
}

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// An SQLSTATE; nothing where a person is told something.
    pub code: Option<String>,
    pub message: String,
}

impl Failure {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Failure { code: Some(code.to_owned()), message: message.into() }
    }
}

/// The attempts to have an effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    pub attempts: i32,
    pub put_off: i32,
    pub next_attempt_at: Option<Micros>,
    pub lease_token: Option<i64>,
    pub leased_until: Option<Micros>,
    pub claimed_by: Option<String>,
    /// Of the last attempt that failed.
    pub failure: Option<Failure>,
    pub started_at: Option<Micros>,
    pub completed_at: Option<Micros>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub id: Uuid,
    pub status: StepStatus,
    pub effort: Effort,
    pub timeout_at: Option<Micros>,
    /// An attempt has ended of which nobody knows whether it had its effect.
    pub effect_possible: bool,
    pub needs_undo: bool,
    pub compensated_at: Option<Micros>,
    pub child: Option<Uuid>,
    /// To be written.
    pub dirty: bool,
}

impl Step {
    pub fn pending(id: Uuid) -> Self {
        Step {
            id,
            status: StepStatus::Pending,
            effort: Effort::default(),
            timeout_at: None,
            effect_possible: false,
            needs_undo: false,
            compensated_at: None,
            child: None,
            dirty: false,
        }
    }
}

/// A step's compensation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    pub id: Uuid,
    pub status: UndoStatus,
    pub effort: Effort,
    pub dirty: bool,
}

/// A change of a status. Steps count from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub at: Micros,
    pub subject: Subject,
    pub step: Option<usize>,
    pub attempt: Option<i32>,
    pub from: Option<&'static str>,
    pub to: &'static str,
    pub failure: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saga {
    pub id: Uuid,
    pub status: Status,
    /// How many steps have begun.
    pub current: usize,
    pub deadline: Option<Micros>,
    pub past_return: bool,
    pub failure: Option<Failure>,
    pub parked: Option<String>,
    pub waits: Option<Waits>,
    pub due_at: Option<Micros>,
    /// What a worker may claim, and from when on.
    pub work: Option<(String, Micros)>,
    pub completed_at: Option<Micros>,
    pub steps: Vec<Step>,
    /// By step.
    pub undos: Vec<Option<Undo>>,
    /// What happened since it was read.
    pub log: Vec<Logged>,
    /// How it was when it was read: to tell whether anything is to be written.
    pub read_as: Option<Read>,
}

/// What of a saga's own row may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read(Option<Micros>, Option<Waits>, Option<(String, Micros)>, usize, bool);

impl Saga {
    /// As it is started.
    pub fn new(id: Uuid, steps: Vec<Uuid>, deadline: Option<Micros>, now: Micros) -> Self {
        let undos = steps.iter().map(|_| None).collect();
        Saga {
            id,
            status: Status::Started,
            current: 0,
            deadline,
            past_return: false,
            failure: None,
            parked: None,
            waits: Some(Waits::Runner),
            due_at: Some(now),
            work: None,
            completed_at: None,
            steps: steps.into_iter().map(Step::pending).collect(),
            undos,
            log: Vec::new(),
            read_as: None,
        }
    }

    fn row(&self) -> Read {
        Read(self.due_at, self.waits, self.work.clone(), self.current, self.past_return)
    }

    pub fn mark_read(&mut self) {
        self.read_as = Some(self.row());
    }

    pub fn has_changed(&self) -> bool {
        !self.log.is_empty() || self.read_as != Some(self.row()) || self.steps.iter().any(|step| step.dirty)
    }

    /// The step that has begun last.
    pub fn at(&self) -> Option<usize> {
        self.current.checked_sub(1)
    }

    pub(super) fn moved(&mut self, at: Micros, to: Status, why: Option<&Failure>) {
        assert!(self.status.may_become(to), "a saga does not go from {:?} to {to:?}", self.status);
        self.log.push(Logged {
            at,
            subject: Subject::Saga,
            step: None,
            attempt: None,
            from: Some(self.status.text()),
            to: to.text(),
            failure: why.cloned(),
        });
        self.status = to;
        self.completed_at = to.has_ended().then_some(at);
        if to != Status::Parked {
            self.parked = None;
        }
    }

    pub(super) fn step_moved(&mut self, at: Micros, step: usize, to: StepStatus, why: Option<&Failure>) {
        let moved = &mut self.steps[step];
        assert!(moved.status.may_become(to), "a step does not go from {:?} to {to:?}", moved.status);
        self.log.push(Logged {
            at,
            subject: Subject::Step,
            step: Some(step),
            attempt: Some(moved.effort.attempts).filter(|attempts| *attempts > 0),
            from: Some(moved.status.text()),
            to: to.text(),
            failure: why.cloned(),
        });
        moved.status = to;
        moved.dirty = true;
    }

    pub(super) fn undo_moved(&mut self, at: Micros, step: usize, to: UndoStatus, why: Option<&Failure>) {
        let moved = self.undos[step].as_mut().expect("it has begun");
        assert!(moved.status.may_become(to), "a compensation does not go from {:?} to {to:?}", moved.status);
        self.log.push(Logged {
            at,
            subject: Subject::Compensation,
            step: Some(step),
            attempt: Some(moved.effort.attempts).filter(|attempts| *attempts > 0),
            from: Some(moved.status.text()),
            to: to.text(),
            failure: why.cloned(),
        });
        moved.status = to;
        moved.dirty = true;
    }

    /// What must hold whenever a saga is written.
    pub fn check(&self, plan: &Plan) {
        assert_eq!(self.steps.len(), plan.steps.len(), "as many steps as its definition has");
        for (at, step) in self.steps.iter().enumerate() {
            let undone = self.undos[at].as_ref().is_some_and(|undo| undo.status == UndoStatus::Completed);
            assert!((step.status == StepStatus::Compensated) == undone, "undone steps are compensated");
            assert!(at < self.current || step.status == StepStatus::Pending, "later steps have not begun");
        }
        match self.status {
            Status::Completed => assert!(
                self.steps.iter().all(|step| step.status != StepStatus::Running),
                "a completed saga has nothing under way"
            ),
            Status::Failed => assert!(
                self.failure.is_some() && self.steps.iter().all(|s| s.status != StepStatus::Running),
                "a failed saga has a reason and nothing under way"
            ),
            Status::Parked => assert!(self.parked.is_some(), "a person is told why"),
            Status::Compensating => assert!(self.failure.is_some(), "it is undone for a reason"),
            Status::Started | Status::Running => assert!(self.failure.is_none(), "it has not failed"),
        }
    }
}
