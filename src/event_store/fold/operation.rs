//! What an event does to the state: operations on places in it, in their order.
#![forbid(unsafe_code)]

use super::tree::{Fields, Tree, child, decimal, exact_sum, fields, no_decimal};
use crate::pg::jsonb::{Container, Item};
use rust_decimal::Decimal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Set,
    Merge,
    Add,
    Subtract,
    Append,
    Remove,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Constant(Tree),
    /// The place in the event's data; none: all of them.
    Event(Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    pub kind: Kind,
    pub path: Vec<String>,
    /// Removing needs none.
    pub source: Option<Source>,
    /// What the event does not have is passed by.
    pub optional: bool,
}

/// A value as it was found.
enum Found<'a> {
    Constant(&'a Tree),
    Event(Item<'a>),
}

impl Found<'_> {
    fn tree(&self) -> Tree {
        match self {
            Found::Constant(tree) => (*tree).clone(),
            Found::Event(item) => Tree::from(*item),
        }
    }

    fn figure(&self, name: impl Fn() -> String) -> Result<Decimal, String> {
        match self {
            Found::Constant(tree) => tree.figure(&name()),
            Found::Event(Item::Number(digits)) => {
                digits.decimal().map_err(|_| no_decimal(&name(), &digits.text()))
            }
            Found::Event(Item::Text(text)) => {
                decimal(text.trim()).ok_or_else(|| no_decimal(&name(), text.trim()))
            }
            Found::Event(_) => Err(format!("has a {} that is no number", name())),
        }
    }
}

impl Operation {
    /// Changes the state; why that cannot be done.
    pub fn apply(&self, state: &mut Fields, data: Container) -> Result<(), String> {
        let Some(source) = &self.source else {
            remove(state, &self.path);
            return Ok(());
        };
        let found = match source {
            Source::Constant(tree) => Found::Constant(tree),
            Source::Event(path) => {
                let whole = Item::Object(data);
                match path.iter().try_fold(whole, |item, key| child(item, key)) {
                    Some(item) => Found::Event(item),
                    None if self.optional => return Ok(()),
                    None => return Err(format!("has no {}", path.join("."))),
                }
            }
        };
        match self.kind {
            Kind::Set => self.set(state, &found),
            Kind::Merge => self.merge(state, &found),
            Kind::Add => self.change(state, found.figure(|| self.source_name())?),
            Kind::Subtract => self.change(state, -found.figure(|| self.source_name())?),
            Kind::Append => self.append(state, &found),
            Kind::Remove => unreachable!("it has no source"),
        }
    }

    fn source_name(&self) -> String {
        match &self.source {
            Some(Source::Event(path)) => path.join("."),
            _ => "value".to_owned(),
        }
    }

    fn set(&self, state: &mut Fields, found: &Found) -> Result<(), String> {
        if !self.path.is_empty() {
            *place(state, &self.path)? = found.tree();
            return Ok(());
        }
        *state = match found {
            Found::Event(Item::Object(object)) => fields(*object),
            Found::Constant(Tree::Object(fields)) => fields.clone(),
            _ => return Err(format!("has a {} that is no object", self.source_name())),
        };
        Ok(())
    }

    fn merge(&self, state: &mut Fields, found: &Found) -> Result<(), String> {
        let target = if self.path.is_empty() {
            state
        } else {
            let place = place(state, &self.path)?;
            if *place == Tree::Null {
                *place = Tree::Object(Fields::new());
            }
            let Tree::Object(fields) = place else { return Err(self.misplaced("object")) };
            fields
        };
        match found {
            Found::Event(Item::Object(object)) => {
                for (key, item) in object.pairs() {
                    match target.get_mut(key) {
                        Some(value) => *value = Tree::from(item),
                        None => drop(target.insert(key.to_owned(), Tree::from(item))),
                    }
                }
            }
            Found::Constant(Tree::Object(fields)) => target.extend(fields.clone()),
            _ => return Err(format!("has a {} that is no object", self.source_name())),
        }
        Ok(())
    }

    /// What is not there yet counts as zero.
    fn change(&self, state: &mut Fields, by: Decimal) -> Result<(), String> {
        let place = place(state, &self.path)?;
        let before = match &*place {
            Tree::Figure(figure) => *figure,
            Tree::Null => Decimal::ZERO,
            other => other.figure(&self.path.join("."))?,
        };
        let sum = exact_sum(before, by);
        *place = Tree::Figure(
            sum.ok_or_else(|| format!("makes {} longer than 28 digits", self.path.join(".")))?,
        );
        Ok(())
    }

    fn append(&self, state: &mut Fields, found: &Found) -> Result<(), String> {
        let place = place(state, &self.path)?;
        if *place == Tree::Null {
            *place = Tree::Array(Vec::new());
        }
        let Tree::Array(items) = place else { return Err(self.misplaced("array")) };
        items.push(found.tree());
        Ok(())
    }

    fn misplaced(&self, wanted: &str) -> String {
        format!("finds no {wanted} at {} of the state", self.path.join("."))
    }
}

/// The value at a path of one key or more. Keys that are not there are made, of null.
fn place<'s>(state: &'s mut Fields, path: &[String]) -> Result<&'s mut Tree, String> {
    let (first, rest) = path.split_first().expect("a path has a key, or it is not looked up");
    let mut here = field(state, first);
    for key in rest {
        if *here == Tree::Null {
            *here = Tree::Object(Fields::new());
        }
        here = match here {
            Tree::Object(fields) => field(fields, key),
            Tree::Array(items) => {
                let element = key.parse::<usize>().ok().and_then(|at| items.get_mut(at));
                element.ok_or_else(|| format!("finds no element {key} at {} of the state", path.join(".")))?
            }
            _ => return Err(format!("finds no object above {} of the state", path.join("."))),
        };
    }
    Ok(here)
}

fn field<'s>(fields: &'s mut Fields, key: &str) -> &'s mut Tree {
    // Looked up twice only where it is new.
    if !fields.contains_key(key) {
        fields.insert(key.to_owned(), Tree::Null);
    }
    fields.get_mut(key).expect("it is there or was just made")
}

/// Takes out what is there; what is not there is as it should be.
fn remove(state: &mut Fields, path: &[String]) {
    let Some((last, above)) = path.split_last() else { return };
    let Some((first, rest)) = above.split_first() else {
        state.remove(last);
        return;
    };
    let mut here = state.get_mut(first);
    for key in rest {
        here = match here {
            Some(Tree::Object(fields)) => fields.get_mut(key),
            Some(Tree::Array(items)) => key.parse::<usize>().ok().and_then(|at| items.get_mut(at)),
            _ => None,
        };
    }
    match here {
        Some(Tree::Object(fields)) => drop(fields.remove(last)),
        Some(Tree::Array(items)) => {
            if let Some(at) = last.parse::<usize>().ok().filter(|at| *at < items.len()) {
                items.remove(at);
            }
        }
        _ => {}
    }
}
