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
use operation::{Change, Operation, Path, place};
use std::ffi::CString;
use std::rc::Rc;
use tree::{Amount, Fields, Tree, fields, write_object};

pub const VERSION: &str = "version";

/// The state of an aggregate as far as it was folded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    fields: Fields,
    version: i32,
    /// The figure that was changed last, while nothing else of the state is touched.
    hand: Option<(Path, Amount)>,
}

impl State {
    /// As it was written at that version.
    pub fn of(version: i32, object: Container) -> State {
        State { fields: fields(object), version, hand: None }
    }

    /// The last event that was folded.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// Folds the next event; why it cannot be.
    pub fn apply(&mut self, operations: &[Operation], data: Container, version: i32) -> Result<(), String> {
        if data.is_object() {
            operations.iter().try_for_each(|operation| self.operate(operation, data))?;
        }
        self.version = version;
        Ok(())
    }

    /// Most events of an account change its balance, one after the other: that is not looked up each time.
    fn operate(&mut self, operation: &Operation, data: Container) -> Result<(), String> {
        let by = match operation.change_of(data)? {
            Change::By(amount) => amount,
            Change::None => return Ok(()),
            Change::Other => {
                self.put_down();
                return operation.apply(&mut self.fields, data);
            }
        };
        if let Some((path, figure)) = &mut self.hand
            && (Rc::ptr_eq(path, &operation.path) || *path == operation.path)
        {
            *figure = operation.sum(*figure, by)?;
            return Ok(());
        }
        self.put_down();
        let before = operation.figure_in(&mut self.fields)?;
        self.hand = Some((Rc::clone(&operation.path), operation.sum(before, by)?));
        Ok(())
    }

    fn put_down(&mut self) {
        if let Some((path, figure)) = self.hand.take() {
            let figure = figure.decimal().expect("a sum is checked");
            *place(&mut self.fields, &path).expect("it was found there") = Tree::Figure(figure);
        }
    }

    /// The same with what a function has made of the state.
    pub fn replace(&mut self, object: Container, version: i32) {
        *self = State::of(version, object);
    }

    /// As JSON text, with its version where an event was folded.
    pub fn text(mut self) -> CString {
        self.put_down();
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
