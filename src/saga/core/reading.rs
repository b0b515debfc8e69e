//! A step of a definition, read key by key.
#![forbid(unsafe_code)]

use super::definition::{
    Action, Backoff, EXTERNAL, Function, Invalid, MAX_NAME, Named, Resolve, StepPlan, Undoing,
};
use serde_json::{Map, Value};

const MAX_ATTEMPTS: i64 = 1_000;
/// A year.
const MAX_MS: i64 = 366 * 86_400_000;

pub(super) struct Reader<'a> {
    pub step: usize,
    pub object: &'a Map<String, Value>,
}

impl<'a> Reader<'a> {
    pub fn wrong<T>(&self, key: &'static str, why: impl Into<String>) -> Result<T, Invalid> {
        Err(Invalid { step: self.step, key, why: why.into() })
    }

    /// A key that is null is as good as none.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &'static str) -> Result<Option<&'a str>, Invalid> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let Some(text) = value.as_str() else { return self.wrong(key, "It must be a text.") };
        if text.trim().is_empty() || text.chars().count() > MAX_NAME {
            return self.wrong(key, format!("It must have 1 to {MAX_NAME} characters, not only blanks."));
        }
        Ok(Some(text))
    }

    fn number(
        &self,
        key: &'static str,
        least: i64,
        most: i64,
        default: Option<i64>,
    ) -> Result<Option<i64>, Invalid> {
        let Some(value) = self.get(key) else { return Ok(default) };
        match value.as_i64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => self.wrong(key, format!("It must be a whole number from {least} to {most}.")),
        }
    }

    fn flag(&self, key: &'static str) -> Result<bool, Invalid> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => self.wrong(key, "It must be true or false."),
        }
    }

    /// `external`, or a function.
    fn doing(&self, key: &'static str, resolve: &mut Resolve) -> Result<Option<Option<Function>>, Invalid> {
        let named = match self.get(key) {
            None => return Ok(None),
            Some(Value::String(text)) if text == EXTERNAL => return Ok(Some(None)),
            Some(Value::String(text)) => Named::Written(text),
            Some(Value::Object(object)) => {
                let part = |part| object.get(part).and_then(Value::as_str).map(str::to_owned);
                let (Some(schema), Some(name), 2) = (part("schema"), part("name"), object.len()) else {
                    return self.wrong(key, "It must have a schema and a name, and nothing else.");
                };
                Named::Known(Function { schema, name })
            }
            Some(_) => return self.wrong(key, "It must be external, or a function."),
        };
        resolve(named).map(|function| Some(Some(function))).or_else(|why| self.wrong(key, why))
    }

    fn action(&self, name: &str, resolve: &mut Resolve) -> Result<Action, Invalid> {
        let kinds = ["action", "signal", "delay_ms", "child"];
        if kinds.iter().filter(|key| self.get(key).is_some()).count() != 1 {
            return self.wrong("action", "A step has one of action, signal, delay_ms and child.");
        }
        let work_type = self.text("type")?;
        if let Some(doing) = self.doing("action", resolve)? {
            return Ok(match doing {
                Some(function) => Action::Call(function),
                None => Action::External(work_type.unwrap_or(name).to_owned()),
            });
        }
        if let Some(ms) = self.number("delay_ms", 0, MAX_MS, None)? {
            return Ok(Action::Delay(ms));
        }
        if let Some(signal) = self.text("signal")? {
            return Ok(Action::Signal(signal.to_owned()));
        }
        let child = self.text("child")?.expect("one of four is there");
        Ok(Action::Child(child.to_owned()))
    }

    fn undoing(
        &self,
        name: &str,
        action: &Action,
        resolve: &mut Resolve,
    ) -> Result<Option<Undoing>, Invalid> {
        let given = self.doing("compensation", resolve)?;
        match (action, given) {
            (Action::Child(_), None) => Ok(Some(Undoing::Child)),
            (_, None) => Ok(None),
            (Action::Call(_) | Action::External(_), Some(Some(function))) => {
                Ok(Some(Undoing::Call(function)))
            }
            (Action::Call(_) | Action::External(_), Some(None)) => {
                let work_type = self.text("type")?.unwrap_or(name);
                Ok(Some(Undoing::External(work_type.to_owned())))
            }
            _ => self.wrong("compensation", "Only an action has one; a child is undone by itself."),
        }
    }

    pub fn step(&self, resolve: &mut Resolve) -> Result<StepPlan, Invalid> {
        let known = [
            "name",
            "action",
            "signal",
            "delay_ms",
            "child",
            "type",
            "compensation",
            "timeout_ms",
            "max_attempts",
            "backoff_ms",
            "backoff_most_ms",
            "compensation_max_attempts",
            "point_of_no_return",
        ];
        if let Some(unknown) = self.object.keys().find(|key| !known.contains(&key.as_str())) {
            return self.wrong("key", format!("There is no key {unknown:?}."));
        }
        let Some(name) = self.text("name")? else { return self.wrong("name", "It is missing.") };
        let action = self.action(name, resolve)?;
        let undoing = self.undoing(name, &action, resolve)?;
        let is_tried = matches!(action, Action::Call(_) | Action::External(_));
        let is_external =
            matches!(action, Action::External(_)) || matches!(undoing, Some(Undoing::External(_)));
        if self.get("type").is_some() && !is_external {
            return self.wrong("type", "Only what is external has one.");
        }
        if self.get("max_attempts").is_some() && !is_tried {
            return self.wrong("max_attempts", "Only an action has attempts.");
        }
        if self.get("timeout_ms").is_some() && matches!(action, Action::Delay(_)) {
            return self.wrong("timeout_ms", "A delay has none.");
        }
        let first_ms = self.number("backoff_ms", 0, MAX_MS, Some(1_000))?.unwrap_or(0);
        let most_ms = self.number("backoff_most_ms", 0, MAX_MS, Some(first_ms.max(300_000)))?.unwrap_or(0);
        if most_ms < first_ms {
            return self.wrong("backoff_most_ms", "It is below backoff_ms.");
        }
        let attempts = |key, default| -> Result<i32, Invalid> {
            let number = self.number(key, 1, MAX_ATTEMPTS, Some(default))?.unwrap_or(default);
            Ok(number as i32)
        };
        Ok(StepPlan {
            name: name.to_owned(),
            max_attempts: attempts("max_attempts", if is_tried { 3 } else { 1 })?,
            undo_attempts: attempts("compensation_max_attempts", 10)?,
            timeout_ms: self.number("timeout_ms", 1, MAX_MS, None)?,
            backoff: Backoff { first_ms, most_ms },
            no_return: self.flag("point_of_no_return")?,
            action,
            undoing,
        })
    }
}
