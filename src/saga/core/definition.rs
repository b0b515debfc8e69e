//! What a type of saga consists of: read from JSON, checked, and written as JSON again.
#![forbid(unsafe_code)]

use super::reading::Reader;
use serde_json::{Value, json};

pub const MAX_STEPS: usize = 100;
pub const MAX_NAME: usize = 100;
pub(super) const EXTERNAL: &str = "external";

/// A function by its name: it is found again after a dump and a restore, and when it is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub schema: String,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Call(Function),
    /// What workers claim it by.
    External(String),
    Signal(String),
    /// In milliseconds.
    Delay(i64),
    /// Of that type.
    Child(String),
    /// Whatever the client does between two calls of `execute_step`.
    Client,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undoing {
    Call(Function),
    External(String),
    Child,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub first_ms: i64,
    pub most_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepPlan {
    pub name: String,
    pub action: Action,
    pub undoing: Option<Undoing>,
    pub timeout_ms: Option<i64>,
    pub max_attempts: i32,
    pub undo_attempts: i32,
    pub backoff: Backoff,
    pub no_return: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<StepPlan>,
}

/// What is wrong with a definition: in which step, from 1 (0: with all), and under which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub step: usize,
    pub key: &'static str,
    pub why: String,
}

/// A function as a definition names it.
pub enum Named<'a> {
    /// As somebody wrote it, to be looked up.
    Written(&'a str),
    Known(Function),
}

/// Looks a function up.
pub type Resolve<'a> = dyn FnMut(Named) -> Result<Function, String> + 'a;

impl Plan {
    /// What a definition says; functions go through `resolve`.
    pub fn of_json(steps: &Value, resolve: &mut Resolve) -> Result<Plan, Invalid> {
        let all = |why: String| Invalid { step: 0, key: "steps", why };
        let Some(array) = steps.as_array() else { return Err(all("It must be an array of steps.".into())) };
        if array.is_empty() || array.len() > MAX_STEPS {
            return Err(all(format!("It has {} steps; it must have 1 to {MAX_STEPS}.", array.len())));
        }
        let mut plan = Plan { steps: Vec::with_capacity(array.len()) };
        for (at, step) in array.iter().enumerate() {
            let number = at + 1;
            let Some(object) = step.as_object() else {
                return Err(Invalid { step: number, key: "step", why: "It must be an object.".into() });
            };
            let reader = Reader { step: number, object };
            let step = reader.step(resolve)?;
            if plan.steps.iter().any(|before| before.name == step.name) {
                return reader.wrong("name", format!("An earlier step is {:?} too.", step.name));
            }
            let is_past = step.no_return || plan.steps.iter().any(|before| before.no_return);
            if step.no_return && plan.steps.iter().any(|before| before.no_return) {
                return reader.wrong("point_of_no_return", "There is one before it.");
            }
            if is_past && matches!(step.undoing, Some(Undoing::Call(_) | Undoing::External(_))) {
                return reader.wrong("compensation", "From the point of no return on nothing is undone.");
            }
            plan.steps.push(step);
        }
        Ok(plan)
    }

    /// As it is stored: with every key, and functions by schema and name.
    pub fn to_json(&self) -> Value {
        self.steps.iter().map(StepPlan::to_json).collect()
    }

    /// Of a saga that its client drives.
    pub fn of_client(names: Vec<String>) -> Plan {
        let step = |name| StepPlan {
            name,
            action: Action::Client,
            undoing: None,
            timeout_ms: None,
            max_attempts: 1,
            undo_attempts: 1,
            backoff: Backoff { first_ms: 0, most_ms: 0 },
            no_return: false,
        };
        Plan { steps: names.into_iter().map(step).collect() }
    }
}

impl StepPlan {
    fn to_json(&self) -> Value {
        let function = |function: &Function| json!({"schema": function.schema, "name": function.name});
        let mut step = json!({
            "name": self.name,
            "backoff_ms": self.backoff.first_ms,
            "backoff_most_ms": self.backoff.most_ms,
            "compensation_max_attempts": self.undo_attempts,
            "point_of_no_return": self.no_return,
        });
        let mut set = |key: &str, value: Value| {
            step.as_object_mut().expect("an object was just made").insert(key.to_owned(), value);
        };
        match &self.action {
            Action::Call(called) => set("action", function(called)),
            Action::External(work_type) => {
                set("action", EXTERNAL.into());
                set("type", work_type.as_str().into());
            }
            Action::Signal(name) => set("signal", name.as_str().into()),
            Action::Delay(ms) => set("delay_ms", (*ms).into()),
            Action::Child(saga_type) => set("child", saga_type.as_str().into()),
            Action::Client => {}
        }
        match &self.undoing {
            Some(Undoing::Call(called)) => set("compensation", function(called)),
            Some(Undoing::External(work_type)) => {
                set("compensation", EXTERNAL.into());
                set("type", work_type.as_str().into());
            }
            Some(Undoing::Child) | None => {}
        }
        if matches!(self.action, Action::Call(_) | Action::External(_)) {
            set("max_attempts", self.max_attempts.into());
        }
        if let Some(ms) = self.timeout_ms {
            set("timeout_ms", ms.into());
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(steps: Value) -> Result<Plan, Invalid> {
        Plan::of_json(&steps, &mut |named| match named {
            Named::Written(text) => {
                let (schema, name) = text.split_once('.').ok_or("It has no schema.")?;
                Ok(Function { schema: schema.into(), name: name.into() })
            }
            Named::Known(function) => Ok(function),
        })
    }

    #[test]
    fn what_is_stored_is_read_again_as_it_was() {
        let plan = read(json!([
            {"name": "hold", "action": "app.hold", "compensation": "app.release", "timeout_ms": 500},
            {"name": "wait", "delay_ms": 0},
            {"name": "submit", "action": "external", "type": "scheme", "point_of_no_return": true,
             "max_attempts": 7, "backoff_ms": 5, "backoff_most_ms": 6},
            {"name": "answer", "signal": "settled", "timeout_ms": 1},
            {"name": "letters", "child": "letters"}]))
        .expect("it is good");
        assert_eq!(read(plan.to_json()), Ok(plan.clone()));
        assert_eq!(plan.steps[2].action, Action::External("scheme".into()));
        assert_eq!(plan.steps[4].undoing, Some(Undoing::Child));
        assert_eq!((plan.steps[0].max_attempts, plan.steps[0].undo_attempts), (3, 10));
    }

    #[test]
    fn each_mistake_is_told_with_its_step_and_key() {
        let call = json!({"name": "a", "action": "s.f"});
        for (steps, step, key) in [
            (json!({}), 0, "steps"),
            (json!([]), 0, "steps"),
            (json!([1]), 1, "step"),
            (json!([{"action": "s.f"}]), 1, "name"),
            (json!([{"name": " ", "action": "s.f"}]), 1, "name"),
            (json!([call, call]), 2, "name"),
            (json!([{"name": "a"}]), 1, "action"),
            (json!([{"name": "a", "action": "s.f", "signal": "x"}]), 1, "action"),
            (json!([{"name": "a", "action": "f"}]), 1, "action"),
            (json!([{"name": "a", "action": {"schema": "s"}}]), 1, "action"),
            (json!([{"name": "a", "action": "s.f", "typo": 1}]), 1, "key"),
            (json!([{"name": "a", "action": "s.f", "type": "x"}]), 1, "type"),
            (json!([{"name": "a", "signal": "x", "compensation": "s.f"}]), 1, "compensation"),
            (json!([{"name": "a", "signal": "x", "max_attempts": 2}]), 1, "max_attempts"),
            (json!([{"name": "a", "delay_ms": 5, "timeout_ms": 2}]), 1, "timeout_ms"),
            (json!([{"name": "a", "delay_ms": -5}]), 1, "delay_ms"),
            (json!([{"name": "a", "action": "s.f", "max_attempts": 0}]), 1, "max_attempts"),
            (
                json!([{"name": "a", "action": "s.f", "backoff_ms": 9, "backoff_most_ms": 8}]),
                1,
                "backoff_most_ms",
            ),
            (json!([{"name": "a", "action": "s.f", "point_of_no_return": 1}]), 1, "point_of_no_return"),
            (
                json!([{"name": "a", "action": "s.f", "point_of_no_return": true},
                    {"name": "b", "action": "s.f", "compensation": "s.g"}]),
                2,
                "compensation",
            ),
            (
                json!([{"name": "a", "action": "s.f", "point_of_no_return": true},
                    {"name": "b", "action": "s.f", "point_of_no_return": true}]),
                2,
                "point_of_no_return",
            ),
        ] {
            let invalid = read(steps.clone()).expect_err("it is wrong");
            assert_eq!((invalid.step, invalid.key), (step, key), "{steps}");
        }
    }
}
