//! Sagas: what their functions do to the ledger, workers and people around them, and drawn at random.

mod rest;
mod rules;

pub use rest::{Ends, bring_to_rest, ends};
pub use rules::SAGAS;

use crate::generate::{Generator, UNKNOWN};
use crate::op::Op;
use neobank_sessions::{Decimal, Uuid};

pub const SETUP: &str = include_str!("setup.sql");

pub const TYPES: [&str; 5] = ["plain", "outside", "signalled", "parent", "no_return"];

/// What a saga is started with.
#[derive(Clone, Debug, PartialEq)]
pub struct Context {
    pub deposit: (Uuid, Decimal, &'static str),
    pub transfer: (Uuid, Uuid, Decimal, &'static str),
    /// Of what gives back.
    pub undoing: &'static str,
}

impl Context {
    fn json(&self) -> String {
        let ((to, amount, luck), (from, other, more, mores_luck)) = (self.deposit, self.transfer);
        format!(
            "{{\"deposit\": {{\"to\": \"{to}\", \"amount\": {amount}, \"fail\": \"{luck}\"}}, \"transfer\": \
             {{\"from\": \"{from}\", \"to\": \"{other}\", \"amount\": {more}, \"fail\": \"{mores_luck}\"}}, \
             \"undoing\": \"{}\"}}",
            self.undoing
        )
    }
}

/// A step that a worker has, or had, by its token.
pub type Task = (Uuid, i64);

#[derive(Clone, Debug, PartialEq)]
pub enum Sagaing {
    Start {
        saga_type: &'static str,
        key: Option<Uuid>,
        context: Context,
        /// It has a minute.
        deadline: bool,
    },
    /// Without a definition; the client does the steps.
    Create {
        steps: usize,
    },
    Execute {
        saga: Uuid,
    },
    Run {
        saga: Uuid,
    },
    RunReady {
        at_most: usize,
    },
    /// `short`: the lease has run out before anybody can use it.
    Claim {
        worker: usize,
        at_most: usize,
        short: bool,
    },
    Complete {
        task: Task,
    },
    Fail {
        task: Task,
        retryable: bool,
        effect_possible: bool,
    },
    Extend {
        task: Task,
    },
    Signal {
        saga: Uuid,
        id: Uuid,
        figure: u32,
    },
    Cancel {
        saga: Uuid,
    },
    RetryStep {
        saga: Uuid,
    },
    RetryCompensation {
        saga: Uuid,
    },
    Resolve {
        saga: Uuid,
        outcome: &'static str,
    },
    /// Of the clock, as far as this saga can see.
    Jump {
        saga: Uuid,
    },
}

impl Sagaing {
    pub fn name(&self) -> &'static str {
        match self {
            Sagaing::Start { .. } => "saga",
            Sagaing::Create { .. } => "client's saga",
            Sagaing::Execute { .. } => "client's step",
            Sagaing::Run { .. } => "run of a saga",
            Sagaing::RunReady { .. } => "run of sagas",
            Sagaing::Claim { .. } => "claim",
            Sagaing::Complete { .. } => "completed step",
            Sagaing::Fail { .. } => "failed step",
            Sagaing::Extend { .. } => "longer claim",
            Sagaing::Signal { .. } => "signal",
            Sagaing::Cancel { .. } => "cancellation",
            Sagaing::RetryStep { .. } => "retry of a step",
            Sagaing::RetryCompensation { .. } => "retry of a compensation",
            Sagaing::Resolve { .. } => "settlement by hand",
            Sagaing::Jump { .. } => "jump of the clock",
        }
    }

    pub fn sql(&self) -> String {
        match self {
            Sagaing::Start { saga_type, key, context, deadline } => {
                let key = key.map_or("null".to_owned(), |key| format!("'{key}'"));
                // As a time, not as a distance: it is no content of the key, but sent again it is the same statement.
                let deadline = if *deadline { "clock_timestamp() + interval '1 min'" } else { "null" };
                format!("select saga.start('{saga_type}', '{}', {key}, {deadline})", context.json())
            }
            Sagaing::Create { steps } => {
                let steps: Vec<String> = (1..=*steps).map(|n| format!("'step {n}'")).collect();
                format!("select saga.create_saga('by hand', array[{}]::text[])", steps.join(", "))
            }
            Sagaing::Execute { saga } => {
                format!("select coalesce(r ->> 'status', r ->> 'code', 'next') from saga.execute_step('{saga}') r")
            }
            Sagaing::Run { saga } => format!("select * from public.saga_run('{saga}')"),
            Sagaing::RunReady { at_most } => format!("select * from public.saga_run_ready({at_most})"),
            Sagaing::Claim { worker, at_most, short } => format!(
                "select step_id, lease_token, kind from saga.claim_step('worker {worker}', null, {}, {at_most})",
                if *short { 1 } else { 60_000 }
            ),
            Sagaing::Complete { task: (step, token) } => format!("select public.saga_complete('{step}', {token})"),
            Sagaing::Fail { task: (step, token), retryable, effect_possible } => {
                format!("select saga.fail_step('{step}', {token}, 'it will not', {retryable}, {effect_possible})")
            }
            Sagaing::Extend { task: (step, token) } => {
                format!("select saga.extend_lease('{step}', {token}, 60000) is null")
            }
            Sagaing::Signal { saga, id, figure } => {
                format!("select saga.signal('{saga}', 'go', '{{\"figure\": {figure}}}', '{id}')")
            }
            Sagaing::Cancel { saga } => format!("select saga.cancel('{saga}', 'not wanted')"),
            Sagaing::RetryStep { saga } => format!("select saga.retry_step('{saga}', 'once more')"),
            Sagaing::RetryCompensation { saga } => format!("select saga.retry_compensation('{saga}', 'once more')"),
            Sagaing::Resolve { saga, outcome } => format!("select saga.resolve('{saga}', '{outcome}', 'by hand')"),
            Sagaing::Jump { saga } => format!("select public.saga_jump('{saga}') is null"),
        }
    }

    /// It can be sent again: the second call answers the first.
    pub fn has_id(&self) -> bool {
        matches!(self, Sagaing::Start { key: Some(_), .. } | Sagaing::Signal { .. })
    }
}

impl Generator<'_> {
    /// How a function of a step fails. Too long takes only one that has a timeout, after it has had its effect.
    fn luck(&mut self) -> &'static str {
        self.pick(&[
            "never", "never", "never", "never", "never", "at times", "at times", "always", "for good", "too long",
        ])
    }

    pub(crate) fn start(&mut self) -> Op {
        let (to, from) = (self.account(), self.account());
        let (amount, more) = (self.amount_for(to), self.amount_for(from));
        let context = Context {
            deposit: (to, amount, self.luck()),
            transfer: (from, self.other(from), more, self.luck()),
            undoing: self.pick(&["never", "never", "never", "at times", "always"]),
        };
        let key = (!self.one_in(3)).then(|| self.id());
        let saga_type = self.pick(&TYPES);
        Op::Saga(Sagaing::Start { saga_type, key, context, deadline: self.one_in(6) })
    }

    fn saga(&mut self) -> Uuid {
        let pool = self.pool;
        self.known(pool.sagas.as_slice())
    }

    /// The latest claim mostly; at times one that was answered, or lost.
    fn task(&mut self) -> Task {
        let pool = self.pool;
        let latest = pool.tasks.iter().max_by_key(|(_, token)| *token);
        match latest {
            None => (UNKNOWN, 1 << 40),
            Some(_) if self.one_in(40) => (UNKNOWN, 1 << 40),
            Some(latest) if self.one_in(2) => *latest,
            Some(_) => self.pick(pool.tasks.as_slice()),
        }
    }

    pub(crate) fn run_sagas(&mut self) -> Op {
        Op::Saga(match self.dice.below(3) {
            0 => Sagaing::Run { saga: self.saga() },
            _ => Sagaing::RunReady { at_most: 1 + self.dice.below(6) },
        })
    }

    pub(crate) fn work(&mut self) -> Op {
        Op::Saga(match self.dice.below(12) {
            0..5 => {
                let (worker, at_most) = (self.dice.below(3), 1 + self.dice.below(3));
                Sagaing::Claim { worker, at_most, short: self.one_in(5) }
            }
            5..9 => Sagaing::Complete { task: self.task() },
            9 | 10 => {
                let (retryable, effect_possible) = (!self.one_in(3), self.one_in(4));
                Sagaing::Fail { task: self.task(), retryable, effect_possible }
            }
            _ => Sagaing::Extend { task: self.task() },
        })
    }

    pub(crate) fn around_sagas(&mut self) -> Op {
        let pool = self.pool;
        Op::Saga(match self.dice.below(20) {
            0..5 => Sagaing::Signal { saga: self.saga(), id: self.id(), figure: self.dice.below(1_000) as u32 },
            5 | 6 => Sagaing::Cancel { saga: self.saga() },
            7 => Sagaing::RetryStep { saga: self.known(pool.parked_sagas.as_slice()) },
            8 | 9 => Sagaing::RetryCompensation { saga: self.known(pool.parked_sagas.as_slice()) },
            10 | 11 => {
                let outcome = self.pick(&["step_done", "step_done", "step_failed", "completed", "failed"]);
                Sagaing::Resolve { saga: self.known(pool.parked_sagas.as_slice()), outcome }
            }
            12..14 => Sagaing::Jump { saga: self.saga() },
            14 | 15 => Sagaing::Create { steps: 1 + self.dice.below(3) },
            _ => Sagaing::Execute { saga: self.known(pool.clients_sagas.as_slice()) },
        })
    }
}
