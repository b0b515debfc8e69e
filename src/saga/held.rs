//! Sagas that this transaction has locked, with what belongs to them.

use super::core::{Machine, Plan, Saga};
use crate::error::Error;
use crate::pg::{JsonDatum, server};
use std::ffi::CString;
use std::rc::Rc;
use uuid::Uuid;

pub struct Held {
    pub saga: Saga,
    pub plan: Rc<Plan>,
    pub saga_type: String,
    /// Nothing for one that its client drives.
    pub version: Option<i32>,
    pub started_by: String,
    pub context: JsonDatum,
    pub parent: Option<Uuid>,
    /// Rows of its log.
    pub logged: i32,
    /// By step: what it was given, and what came out.
    pub inputs: Vec<Option<JsonDatum>>,
    pub outputs: Vec<Option<JsonDatum>>,
    /// What compensations answered.
    pub undo_outputs: Vec<Option<JsonDatum>>,
}

impl Held {
    /// The saga with its plan, at this moment.
    pub fn machine(&mut self) -> Machine<'_> {
        Machine {
            plan: &self.plan,
            saga: &mut self.saga,
            now: server::clock_micros(),
            roll: server::random_bits(),
        }
    }

    /// Gives compensations that have begun their ids.
    pub fn name_undos(&mut self) {
        for undo in self.saga.undos.iter_mut().flatten().filter(|undo| undo.id.is_nil()) {
            undo.id = Uuid::now_v7();
        }
    }

    /// Whatever its steps have put out, by their names.
    pub fn all_outputs(&self) -> Result<JsonDatum, Error> {
        let mut text = String::from("{");
        for (step, output) in self.plan.steps.iter().zip(&self.outputs) {
            let Some(output) = output else { continue };
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&serde_json::to_string(&step.name).expect("a text is JSON"));
            text.push(':');
            text.push_str(&output.to_text());
        }
        text.push('}');
        let text = CString::new(text).expect("JSON has no zero byte");
        JsonDatum::of_text(&text)
    }
}
