//! What a run has seen: each kind of operation, done and refused, by code.

use crate::answer::Answer;
use crate::op::{NAMES, Op};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub operations: u64,
    pub done: u64,
    seen: BTreeMap<(&'static str, String), u64>,
}

impl Tally {
    pub fn count(&mut self, op: &Op, answer: &Answer) {
        let outcome = match answer {
            Answer::Refused(code) => code.clone(),
            Answer::Done(lines) if op.is_refused_in(lines) => "refused in JSON".to_owned(),
            Answer::Done(_) => "done".to_owned(),
        };
        self.operations += 1;
        self.done += u64::from(outcome == "done");
        *self.seen.entry((op.name(), outcome)).or_default() += 1;
    }

    pub fn add(&mut self, other: &Tally) {
        self.operations += other.operations;
        self.done += other.done;
        for (key, times) in &other.seen {
            *self.seen.entry(key.clone()).or_default() += times;
        }
    }

    /// Kinds that were never carried out: a run that missed one has not tried what it says.
    pub fn never_done(&self) -> Vec<&'static str> {
        NAMES.into_iter().filter(|name| !self.seen.contains_key(&(*name, "done".to_owned()))).collect()
    }

    pub fn codes(&self) -> usize {
        let mut codes: Vec<&String> = self.seen.keys().map(|(_, code)| code).collect();
        codes.sort();
        codes.dedup();
        codes.len()
    }

    pub fn table(&self) -> String {
        self.seen.iter().map(|((name, code), times)| format!("{name}: {code}: {times}\n")).collect()
    }
}
