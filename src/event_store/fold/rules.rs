//! Which reducer an event of an aggregate type has.
//!
//! Those of the type go before those of any type; among them one for the event's type before the one for any event.
#![forbid(unsafe_code)]

use super::operation::{Kind, Operation, Path, Source};
use super::tree::Tree;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use uuid::Uuid;

/// Goes up with every change of this code that folds the same events of the same rules to another state.
const REVISION: u128 = 1;

#[derive(Debug)]
pub enum Action {
    Operations(Vec<Operation>),
    /// The name of a function, quoted where it must be.
    Function(String),
}

/// A reducer as it was defined; without a type it is for any.
#[derive(Clone, Debug)]
pub struct Reducer {
    pub aggregate_type: Option<String>,
    pub event_type: Option<String>,
    pub action: Rc<Action>,
    /// Stands for all of the above.
    pub digest: Uuid,
}

/// Names are looked up for each event; the keys are those of definitions, which no writer of events chooses.
#[derive(Clone, Default)]
struct QuickHasher(u64);

impl Hasher for QuickHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }
}

type ByEvent = HashMap<Box<[u8]>, Rc<Action>, BuildHasherDefault<QuickHasher>>;

/// What the events of one aggregate type do.
#[derive(Debug)]
pub struct Rules {
    by_event: ByEvent,
    other: Rc<Action>,
    /// What was folded by the same rules has the same one.
    pub generation: Uuid,
    pub has_functions: bool,
}

impl Rules {
    pub fn of(aggregate_type: &str, reducers: &[Reducer]) -> Rules {
        let own = |reducer: &&Reducer| reducer.aggregate_type.as_deref() == Some(aggregate_type);
        let any = |reducer: &&Reducer| reducer.aggregate_type.is_none();
        let mut by_event = built_in();
        let mut other = merge_all();
        // Each later one goes before those that came earlier.
        let ranked = reducers.iter().filter(any).chain(reducers.iter().filter(own));
        for of_own in [false, true] {
            let level = ranked.clone().filter(|reducer| reducer.aggregate_type.is_some() == of_own);
            if let Some(catch_all) = level.clone().find(|reducer| reducer.event_type.is_none()) {
                by_event.clear();
                other = Rc::clone(&catch_all.action);
            }
            for reducer in level {
                if let Some(event_type) = &reducer.event_type {
                    by_event.insert(event_type.as_bytes().into(), Rc::clone(&reducer.action));
                }
            }
        }
        let digests = ranked.clone().map(|reducer| reducer.digest.as_u128());
        let has_functions = ranked.clone().any(|reducer| matches!(*reducer.action, Action::Function(_)));
        let generation = Uuid::from_u128(digests.fold(REVISION, |all, digest| all ^ digest));
        Rules { by_event, other, generation, has_functions }
    }

    pub fn action(&self, event_type: &[u8]) -> &Action {
        self.by_event.get(event_type).unwrap_or(&self.other)
    }
}

/// Looks up the types of one event after the other, of which most are the same few.
pub struct Lookup<'r> {
    rules: &'r Rules,
    recent: [(&'r [u8], &'r Action); 2],
}

impl<'r> Lookup<'r> {
    pub fn of(rules: &'r Rules) -> Self {
        Lookup { rules, recent: [(&[], &rules.other); 2] }
    }

    pub fn action(&mut self, event_type: &[u8]) -> &'r Action {
        // The last letter tells more types apart than the first.
        let is = |known: &[u8]| known.last() == event_type.last() && known == event_type;
        for (known, action) in self.recent {
            if is(known) {
                return action;
            }
        }
        let Some((known, action)) = self.rules.by_event.get_key_value(event_type) else {
            return &self.rules.other;
        };
        self.recent = [(known, action), self.recent[0]];
        action
    }
}

fn built_in() -> ByEvent {
    let balance: Path = ["balance".to_owned()].into();
    let of_amount = |kind| operation(kind, &balance, Source::Event(vec!["amount".into()]));
    let closed = Source::Constant(Tree::Text("closed".into()));
    [
        ("AccountOpened", operation(Kind::Set, &Path::default(), Source::Event(Vec::new()))),
        ("FundsDeposited", of_amount(Kind::Add)),
        ("FundsWithdrawn", of_amount(Kind::Subtract)),
        ("AccountClosed", operation(Kind::Set, &["status".to_owned()].into(), closed)),
    ]
    .into_iter()
    .map(|(name, action)| (name.as_bytes().into(), action))
    .collect()
}

fn merge_all() -> Rc<Action> {
    operation(Kind::Merge, &Path::default(), Source::Event(Vec::new()))
}

fn operation(kind: Kind, path: &Path, source: Source) -> Rc<Action> {
    let path = Rc::clone(path);
    Rc::new(Action::Operations(vec![Operation { kind, path, source: Some(source), optional: false }]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reducer(aggregate_type: Option<&str>, event_type: Option<&str>, name: &str, digest: u128) -> Reducer {
        Reducer {
            aggregate_type: aggregate_type.map(str::to_owned),
            event_type: event_type.map(str::to_owned),
            action: Rc::new(Action::Function(name.to_owned())),
            digest: Uuid::from_u128(digest),
        }
    }

    fn name(rules: &Rules, event_type: &str) -> String {
        match rules.action(event_type.as_bytes()) {
            Action::Function(name) => name.clone(),
            Action::Operations(_) => "built in".to_owned(),
        }
    }

    #[test]
    fn the_nearest_reducer_is_taken() {
        let all = [
            reducer(None, Some("E"), "any E", 2),
            reducer(Some("T"), None, "T any", 4),
            reducer(Some("T"), Some("F"), "T F", 8),
            reducer(Some("U"), Some("F"), "U F", 16),
        ];
        let of_t = Rules::of("T", &all);
        let names = ["E", "F", "AccountOpened", "X"].map(|event| name(&of_t, event));
        assert_eq!(names, ["T any", "T F", "T any", "T any"]);
        let mut lookup = Lookup::of(&of_t);
        for event in ["E", "F", "F", "X", "F", "E"] {
            assert!(std::ptr::eq(lookup.action(event.as_bytes()), of_t.action(event.as_bytes())));
        }
        let of_u = Rules::of("U", &all);
        let names = ["E", "F", "AccountOpened", "X"].map(|event| name(&of_u, event));
        assert_eq!(names, ["any E", "U F", "built in", "built in"]);
        let with_any = Rules::of("U", &[&all[..], &[reducer(None, None, "any any", 32)]].concat());
        let names = ["E", "F", "AccountOpened", "X"].map(|event| name(&with_any, event));
        assert_eq!(names, ["any E", "U F", "any any", "any any"]);
    }

    #[test]
    fn a_generation_is_that_of_the_reducers_that_matter() {
        let all = [
            reducer(None, Some("E"), "a", 2),
            reducer(Some("T"), Some("E"), "b", 4),
            reducer(Some("U"), None, "c", 8),
        ];
        let of_t = Rules::of("T", &all).generation;
        assert_eq!(of_t, Rules::of("T", &all[..2]).generation);
        assert_ne!(of_t, Rules::of("T", &all[..1]).generation);
        assert_ne!(of_t, Rules::of("T", &all[1..]).generation);
        assert!(Rules::of("T", &all).has_functions && !Rules::of("T", &[]).has_functions);
    }
}
