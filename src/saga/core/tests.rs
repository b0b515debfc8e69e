//! Random sagas with random failures, late answers and clock jumps: every one ends, and no effect counts twice.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::HashMap;

fn plan(steps: &[Value]) -> Plan {
    Plan::of_json(&json!(steps), &mut |named: Named| match named {
        Named::Written(text) => Ok(Function { schema: "s".into(), name: text.into() }),
        Named::Known(function) => Ok(function),
    })
    .expect("a good plan")
}

/// A saga, and the world in which its steps have effects.
struct World {
    plan: Plan,
    saga: Saga,
    now: i64,
    token: i64,
    /// Leases that workers think they have: step, kind, token.
    leases: Vec<(usize, Kind, i64)>,
    signals: u32,
    child: Option<ChildState>,
    /// How often the action, and the compensation, of each step had its effect for sure, in this order.
    effects: Vec<(usize, Kind)>,
    dice: Vec<u32>,
    rolled: usize,
    /// Nothing fails any more.
    calm: bool,
}

impl World {
    fn new(plan: Plan, dice: Vec<u32>, deadline: Option<i64>) -> Self {
        let ids = (0..plan.steps.len()).map(|n| Uuid::from_u128(n as u128 + 1)).collect();
        let saga = Saga::new(Uuid::from_u128(99), ids, deadline, 0);
        let (leases, effects, child) = (Vec::new(), Vec::new(), None);
        World {
            plan,
            saga,
            now: 0,
            token: 0,
            leases,
            signals: 0,
            child,
            effects,
            dice,
            rolled: 0,
            calm: false,
        }
    }

    fn roll(&mut self, sides: u32) -> u32 {
        self.rolled += 1;
        self.dice[self.rolled % self.dice.len()].wrapping_add(self.rolled as u32 / 7) % sides
    }

    fn machine(&mut self) -> Machine<'_> {
        let roll = self.dice[self.rolled % self.dice.len()];
        Machine { plan: &self.plan, saga: &mut self.saga, now: self.now, roll }
    }

    fn failure(&mut self) -> Option<Failure> {
        if self.calm {
            return None;
        }
        let code = match self.roll(8) {
            0 => "P0001",
            1 => "NB001",
            2 => "55P03",
            _ => return None,
        };
        Some(Failure::new(code, "it failed"))
    }

    fn run(&mut self) {
        loop {
            let next = self.machine().next();
            let goes_on = match next {
                Next::Rest => false,
                Next::Call { step } => {
                    let ends = self.machine().call_ends(step);
                    let lasts_too_long = !self.calm && ends.is_some() && self.roll(6) == 0;
                    match self.failure() {
                        _ if lasts_too_long => {
                            self.now = self.now.max(ends.unwrap_or(self.now));
                            self.machine().call_interrupted(step);
                        }
                        Some(failure) => self.machine().call_failed(step, failure),
                        None => {
                            self.effects.push((step, Kind::Action));
                            self.machine().called(step);
                        }
                    }
                    true
                }
                Next::CallUndo { step } => {
                    match self.failure() {
                        Some(failure) => self.machine().undo_failed(step, failure),
                        None => {
                            self.effects.push((step, Kind::Compensation));
                            self.machine().undo_called(step);
                        }
                    }
                    true
                }
                Next::TakeSignal { step, .. } => {
                    let found = self.signals > 0;
                    self.signals -= u32::from(found);
                    self.machine().signalled(step, found)
                }
                Next::StartChild { step, .. } => {
                    self.child = Some(ChildState::Open);
                    self.effects.push((step, Kind::Action));
                    self.machine().child_started(step, Uuid::from_u128(7));
                    true
                }
                Next::LookAtChild { step, .. } => {
                    let state = self.child.clone().expect("it was started");
                    if matches!(state, ChildState::Failed(_)) {
                        // It has undone itself.
                        self.effects.retain(|effect| *effect != (step, Kind::Action));
                    }
                    self.machine().child_is(step, state)
                }
                Next::UndoChild { step, .. } => {
                    let undoing = match self.roll(3) {
                        0 if !self.calm => ChildUndoing::UnderWay,
                        1 if !self.calm => ChildUndoing::Refused(Failure::new("NB207", "no")),
                        _ => {
                            self.effects.push((step, Kind::Compensation));
                            ChildUndoing::Undone
                        }
                    };
                    self.machine().child_undoing(step, undoing)
                }
            };
            if !goes_on {
                break;
            }
        }
        assert!(self.saga.due_at.is_none_or(|due| due > self.now) || self.saga.status.has_ended());
        self.saga.check(&self.plan);
    }

    fn claim(&mut self) {
        self.token += 1;
        let lease = Lease { worker: "w".into(), token: self.token, micros: 1_000 };
        if let Some(claimed) = self.machine().claim(&lease) {
            assert!(claimed.until > self.now);
            let token = self.token;
            self.leases.push((claimed.step, claimed.kind, token));
        }
        self.saga.check(&self.plan);
    }

    /// A worker answers, in time or late.
    fn answer(&mut self) {
        if self.leases.is_empty() {
            return;
        }
        let which = self.roll(self.leases.len() as u32) as usize;
        let (step, kind, token) = self.leases[which];
        let says = if self.calm { 3 } else { self.roll(6) };
        if says < 3 {
            let report =
                FailureReport { reason: "no".into(), may_try_again: says > 0, effect_possible: says == 2 };
            let _ = self.machine().fail(step, token, &report);
        } else if self.machine().complete(step, token) == Ok(true) {
            self.effects.push((step, kind));
            // A retry after a lost answer.
            assert_eq!(self.machine().complete(step, token), Ok(false));
        }
        if self.roll(2) == 0 {
            self.leases.swap_remove(which);
        }
        self.saga.check(&self.plan);
    }

    fn happen(&mut self, event: u8) {
        match event {
            0..=2 => self.run(),
            3 => self.claim(),
            4 => self.answer(),
            5 => self.now += i64::from(self.roll(3_000)),
            // The clock goes back.
            6 => self.now -= i64::from(self.roll(500)),
            7 => {
                if self.machine().notice("go").is_ok() {
                    self.signals += 1;
                }
            }
            8 => {
                let _ = self.machine().cancel("why");
            }
            9 => {
                let _ = self.machine().retry_step("again");
            }
            10 => {
                let _ = self.machine().retry_compensation("again");
            }
            11 if self.child == Some(ChildState::Open) => {
                let failed = ChildState::Failed(Failure::new("X", "child"));
                self.child = Some(if self.roll(2) == 0 { ChildState::Completed } else { failed });
            }
            12 => {
                if let Some((step, _, token)) = self.leases.first().copied() {
                    let _ = self.machine().extend(step, token, 500);
                }
            }
            _ => self.now += 400_000_000,
        }
    }

    /// Once nothing fails any more, it comes to an end, or waits for a person.
    fn calm_down(&mut self) {
        self.calm = true;
        for _ in 0..200 {
            self.run();
            if self.saga.status.has_ended() || self.saga.status == Status::Parked {
                return;
            }
            if self.child == Some(ChildState::Open) {
                self.child = Some(ChildState::Completed);
            }
            self.signals = 1;
            self.leases.clear();
            self.claim();
            self.answer();
            self.now = self.now.max(self.saga.due_at.unwrap_or(self.now)) + 1_000;
        }
        panic!("it does not end: {:?}", self.saga);
    }

    fn check_end(&self) {
        let count = |step, kind| self.effects.iter().filter(|effect| **effect == (step, kind)).count();
        for (at, step) in self.saga.steps.iter().enumerate() {
            let (done, undone) = (count(at, Kind::Action), count(at, Kind::Compensation));
            assert!(
                done <= 1 && undone <= 1,
                "no effect counts twice {:?} {:#?}",
                self.effects,
                self.saga.log
            );
            if self.saga.status == Status::Completed {
                assert_eq!((step.status, undone), (StepStatus::Completed, 0));
            }
            if self.saga.status == Status::Failed && self.plan.steps[at].undoing.is_some() {
                // What may have had its effect, or none, is undone as well.
                assert!(undone >= done, "all that was done is undone: {:?} {:?}", self.effects, self.saga);
            }
        }
        let undone: Vec<usize> =
            self.effects.iter().filter(|(_, kind)| *kind == Kind::Compensation).map(|(at, _)| *at).collect();
        assert!(undone.is_sorted_by(|first, next| first > next), "in reverse order: {undone:?}");
        let mut states: HashMap<(Subject, Option<usize>), &str> = HashMap::new();
        for logged in &self.saga.log {
            assert_ne!(logged.from, Some(logged.to), "no state moves to itself");
            if let Some(before) = states.insert((logged.subject, logged.step), logged.to) {
                assert_eq!(logged.from, Some(before), "the log has no gap");
            }
        }
        if self.saga.past_return {
            assert!(undone.is_empty(), "past the point of no return nothing is undone");
        }
    }
}

use super::state::Subject;

fn any_step(number: usize) -> impl Strategy<Value = Value> {
    let name = format!("s{number}");
    (0..10u8, any::<bool>(), any::<bool>(), 1..4).prop_map(move |(kind, undone, timed, attempts)| {
        let mut step = match kind {
            0..=3 => json!({"action": "f", "max_attempts": attempts, "backoff_ms": 1}),
            4..=6 => json!({"action": "external", "max_attempts": attempts, "backoff_ms": 0}),
            7 => json!({"signal": "go"}),
            8 => json!({"delay_ms": 2}),
            _ => json!({"child": "t"}),
        };
        step["name"] = name.as_str().into();
        if kind <= 6 && undone {
            step["compensation"] = (if kind % 2 == 0 { "external" } else { "g" }).into();
            step["compensation_max_attempts"] = 2.into();
        }
        if kind != 8 && timed {
            step["timeout_ms"] = 2.into();
        }
        step
    })
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let steps = [any_step(0), any_step(1), any_step(2), any_step(3)];
    (steps, 1..5usize, 0..8usize).prop_map(|(mut steps, count, no_return)| {
        if let Some(step) = steps.get_mut(no_return) {
            step["point_of_no_return"] = true.into();
            for step in &mut steps[no_return..] {
                step["compensation"] = Value::Null;
            }
        }
        plan(&steps[..count])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_saga_ends_and_no_effect_counts_twice(
        plan in any_plan(),
        events in prop::collection::vec(0..14u8, 0..60),
        dice in prop::collection::vec(any::<u32>(), 30),
        deadline in prop::option::of(0..20_000i64),
    ) {
        let mut world = World::new(plan, dice, deadline);
        for event in events {
            world.happen(event);
        }
        world.calm_down();
        world.check_end();
    }
}

fn drive(steps: &[Value], calls: impl Fn(usize) -> Option<Failure>) -> World {
    let mut world = World::new(plan(steps), vec![0], None);
    loop {
        match world.machine().next() {
            Next::Call { step } => match calls(step) {
                Some(failure) => world.machine().call_failed(step, failure),
                None => world.machine().called(step),
            },
            Next::CallUndo { step } => {
                world.effects.push((step, Kind::Compensation));
                world.machine().undo_called(step);
            }
            _ => break world,
        }
    }
}

#[test]
fn a_refusal_is_final_and_the_steps_before_it_are_undone() {
    let steps = [0, 1, 2].map(|n| json!({"name": format!("s{n}"), "action": "f", "compensation": "g"}));
    let world = drive(&steps, |step| (step == 2).then(|| Failure::new("NB001", "no money")));
    assert_eq!(world.saga.status, Status::Failed);
    assert_eq!(world.effects, [(1, Kind::Compensation), (0, Kind::Compensation)]);
    assert_eq!(world.saga.failure, Some(Failure::new("NB001", "no money")));
}

#[test]
fn past_the_point_of_no_return_a_failure_parks() {
    let steps = [
        json!({"name": "a", "action": "f", "compensation": "g"}),
        json!({"name": "b", "action": "f", "point_of_no_return": true}),
        json!({"name": "c", "action": "f", "max_attempts": 1}),
    ];
    let mut world = drive(&steps, |step| (step == 2).then(|| Failure::new("P0001", "no")));
    assert_eq!((world.saga.status, world.saga.waits), (Status::Parked, Some(Waits::Person)));
    assert_eq!(world.machine().cancel("why"), Err(Refusal::PastReturn));
    assert_eq!(world.machine().resolve(Outcome::StepFailed, "no"), Err(Refusal::PastReturn));
    world.machine().retry_step("again").expect("it is parked");
    assert!(matches!(world.machine().next(), Next::Call { step: 2 }));
}

#[test]
fn a_worker_that_answers_late_is_refused() {
    let steps = [json!({"name": "a", "action": "external", "max_attempts": 2})];
    let mut world = World::new(plan(&steps), vec![0], None);
    world.run();
    world.claim();
    world.now += 1_000;
    world.claim();
    assert_eq!(world.leases.len(), 2);
    assert_eq!(world.machine().complete(0, 1), Err(Refusal::LeaseLost));
    assert_eq!(world.machine().complete(0, 2), Ok(true));
    assert_eq!(world.machine().complete(0, 2), Ok(false));
}

#[test]
fn a_cancelled_saga_waits_for_the_worker_that_has_its_step() {
    let steps = [json!({"name": "a", "action": "external", "compensation": "g"})];
    let mut world = World::new(plan(&steps), vec![0], None);
    world.run();
    world.claim();
    world.machine().cancel("why").expect("nothing is final yet");
    world.run();
    assert_eq!((world.saga.status, world.saga.waits), (Status::Compensating, Some(Waits::Worker)));
    assert_eq!(
        world.machine().extend(0, 1, 5),
        Err(Refusal::State("It is being undone, and waits only for this step to end.".into()))
    );
    assert_eq!(world.machine().complete(0, 1), Ok(true));
    assert_eq!(world.machine().next(), Next::CallUndo { step: 0 });
}
