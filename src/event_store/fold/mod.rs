//! Folding events into the state of their aggregate.
//!
//! What an event does is what a reducer declares. Where none does, account events fold as their names say, and any other
//! event is merged into the state, key by key.
#![forbid(unsafe_code)]

pub mod grammar;
pub mod operation;
pub mod rules;
pub mod tree;

use crate::pg::jsonb::Container;
use operation::Operation;
use std::ffi::CString;
use tree::{Fields, Tree, fields, write_object};

pub const VERSION: &str = "version";

/// The state of an aggregate as far as it was folded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    fields: Fields,
    version: i32,
}

impl State {
    /// As it was written at that version.
    pub fn of(version: i32, object: Container) -> State {
        State { fields: fields(object), version }
    }

    /// The last event that was folded.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// Folds the next event; why it cannot be.
    pub fn apply(&mut self, operations: &[Operation], data: Container, version: i32) -> Result<(), String> {
        if data.is_object() {
            operations.iter().try_for_each(|operation| operation.apply(&mut self.fields, data))?;
        }
        self.version = version;
        Ok(())
    }

    /// The same with what a function has made of the state.
    pub fn replace(&mut self, object: Container, version: i32) {
        *self = State::of(version, object);
    }

    /// As JSON text, with its version where an event was folded.
    pub fn text(mut self) -> CString {
        if self.version > 0 {
            self.fields.insert(VERSION.to_owned(), Tree::Figure(self.version.into()));
        }
        let mut text = String::new();
        write_object(&self.fields, &mut text);
        CString::new(text).expect("JSON text has no zero byte")
    }
}

#[cfg(test)]
mod tests;
