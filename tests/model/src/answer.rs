//! What the server answered, and the refusals that a model allows.

use neobank_sessions::{Decimal, dec};
use std::collections::BTreeSet;

/// Of one operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The rows as lines, columns parted by `|`.
    Done(Vec<String>),
    /// With this SQLSTATE.
    Refused(String),
}

/// Refusals by name, where a function answers instead of raising.
const WORDS: [(&str, &str); 13] = [
    ("insufficient_funds", "NB001"),
    ("account_not_found", "NB002"),
    ("account_not_active", "NB003"),
    ("currency_mismatch", "NB004"),
    ("invalid_amount", "NB005"),
    ("same_account", "NB006"),
    ("id_conflict", "NB007"),
    ("not_reversible", "NB008"),
    ("limit_exceeded", "NB012"),
    ("argument_out_of_bounds", "NB021"),
    ("internal_account", "NB024"),
    ("disputed", "NB046"),
    ("linked_failed", "NB028"),
];

pub fn code_of(word: &str) -> String {
    WORDS.iter().find(|(name, _)| *name == word).map_or(format!("word {word}"), |(_, code)| (*code).to_owned())
}

/// Where several causes for a refusal come together the documents do not say which one is told, so each may be.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// One of these is to be told.
    must: BTreeSet<&'static str>,
    /// One of these may be told, or it may be done.
    may: BTreeSet<&'static str>,
}

impl Faults {
    pub fn must(&mut self, code: &'static str, when: bool) {
        if when {
            self.must.insert(code);
        }
    }

    pub fn may(&mut self, code: &'static str, when: bool) {
        if when {
            self.may.insert(code);
        }
    }

    pub fn add(&mut self, other: &Faults) {
        self.must.extend(&other.must);
        self.may.extend(&other.may);
    }

    pub fn none(&self) -> bool {
        self.must.is_empty()
    }

    pub fn allow(&self, code: &str) -> Result<(), String> {
        match self.must.contains(code) || self.may.contains(code) {
            true => Ok(()),
            false => Err(format!("refused with {code}; what there is to refuse: {self:?}")),
        }
    }

    pub fn allow_success(&self) -> Result<(), String> {
        if self.none() { Ok(()) } else { Err(format!("done, but there is to refuse: {self:?}")) }
    }
}

/// The figure in a column, or none where it is empty.
pub fn figure_in(column: &str) -> Option<Decimal> {
    (!column.is_empty()).then(|| dec(column))
}

pub fn agree<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, wanted: T) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("{what}: {seen:?} was seen, {wanted:?} is predicted")) }
}
