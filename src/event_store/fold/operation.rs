//! What an event does to the state: operations on places in it, in their order.
#![forbid(unsafe_code)]

use super::tree::{Amount, Fields, Tree, child, decimal, fields, no_decimal};
use crate::pg::jsonb::{Container, Item};
use rust_decimal::Decimal;
use std::rc::Rc;

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

/// Keys, from the outermost in.
pub type Path = Rc<[String]>;

#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    pub kind: Kind,
    pub path: Path,
    /// Removing needs none.
    pub source: Option<Source>,
    /// What the event does not have is passed by.
    pub optional: bool,
}

/// What an operation does to a figure.
pub enum Change {
    By(Amount),
    /// The event does not have it, and need not.
    None,
    /// It is not for a figure.
    Other,
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

    fn figure(&self, name: impl Fn() -> String) -> Result<Amount, String> {
        let figure = match self {
            Found::Constant(tree) => tree.figure(&name()),
            Found::Event(Item::Number(digits)) => match digits.short() {
                Some((units, scale)) => return Ok(Amount { units: units.into(), scale }),
                None => digits.decimal().map_err(|_| no_decimal(&name(), &digits.text())),
            },
            Found::Event(Item::Text(text)) => {
                decimal(text.trim()).ok_or_else(|| no_decimal(&name(), text.trim()))
            }
            Found::Event(_) => Err(format!("has a {} that is no number", name())),
        };
        figure.map(Amount::from)
    }
}

impl Operation {
    /// Changes the state; why that cannot be done. Figures are changed by whoever holds them.
    pub fn apply(&self, state: &mut Fields, data: Container) -> Result<(), String> {
        if self.kind == Kind::Remove {
            remove(state, &self.path);
            return Ok(());
        }
        let Some(found) = self.find(data)? else { return Ok(()) };
        match self.kind {
            Kind::Set => self.set(state, &found),
            Kind::Merge => self.merge(state, &found),
            Kind::Append => self.append(state, &found),
            Kind::Add | Kind::Subtract | Kind::Remove => Ok(()),
        }
    }

    /// The value that it takes; nothing where the event does not have it, and need not.
    fn find<'a>(&'a self, data: Container<'a>) -> Result<Option<Found<'a>>, String> {
        let path = match &self.source {
            None => return Ok(None),
            Some(Source::Constant(tree)) => return Ok(Some(Found::Constant(tree))),
            Some(Source::Event(path)) => path,
        };
        let found = match path.as_slice() {
            [key] => data.get(key),
            keys => keys.iter().try_fold(Item::Object(data), |item, key| child(item, key)),
        };
        match found {
            Some(item) => Ok(Some(Found::Event(item))),
            None if self.optional => Ok(None),
            None => Err(format!("has no {}", path.join("."))),
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

    pub fn change_of(&self, data: Container) -> Result<Change, String> {
        if !matches!(self.kind, Kind::Add | Kind::Subtract) {
            return Ok(Change::Other);
        }
        let Some(found) = self.find(data)? else { return Ok(Change::None) };
        let amount = found.figure(|| self.source_name())?;
        Ok(Change::By(if self.kind == Kind::Add { amount } else { -amount }))
    }

    /// The figure that it changes. What is not there yet counts as zero.
    pub fn figure_in(&self, state: &mut Fields) -> Result<Amount, String> {
        let figure = match place(state, &self.path)? {
            Tree::Figure(figure) => *figure,
            Tree::Null => Decimal::ZERO,
            other => other.figure(&self.path.join("."))?,
        };
        Ok(figure.into())
    }

    pub fn sum(&self, before: Amount, by: Amount) -> Result<Amount, String> {
        before.plus(by).ok_or_else(|| format!("makes {} longer than 28 digits", self.path.join(".")))
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
pub fn place<'s>(state: &'s mut Fields, path: &[String]) -> Result<&'s mut Tree, String> {
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
