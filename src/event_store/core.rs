//! What an append is allowed to do, decided on what the stream's lock shows.
#![forbid(unsafe_code)]

use super::position::Position;
use serde_json::{Map, Value};
use std::collections::HashSet;
use uuid::Uuid;

/// The most events of one call.
pub const MAX_EVENTS: usize = 10_000;
pub const MAX_NAME: usize = 100;
pub const MAX_TAGS: usize = 20;

/// What the caller believes of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Any,
    NoStream,
    Exists,
    Version(i32),
}

impl Expected {
    /// As the functions spell it: null, 0, -1, or a version.
    pub fn of(version: Option<i32>) -> Option<Expected> {
        match version {
            None => Some(Expected::Any),
            Some(0) => Some(Expected::NoStream),
            Some(-1) => Some(Expected::Exists),
            Some(version) if version > 0 => Some(Expected::Version(version)),
            Some(_) => None,
        }
    }

    pub fn holds(self, actual: i32) -> bool {
        match self {
            Expected::Any => true,
            Expected::NoStream => actual == 0,
            Expected::Exists => actual > 0,
            Expected::Version(version) => actual == version,
        }
    }

    pub fn text(self) -> String {
        match self {
            Expected::Any => "any".into(),
            Expected::NoStream => "no stream".into(),
            Expected::Exists => "a stream".into(),
            Expected::Version(version) => format!("version {version}"),
        }
    }
}

/// A stream as its lock shows it; one that has no event yet is at version 0.
#[derive(Clone, Debug)]
pub struct Stream {
    pub aggregate_type: String,
    pub version: i32,
    pub last_position: Position,
}

/// What is wrong with an item of a batch: its number from 1, its key, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct BadItem {
    pub number: usize,
    pub key: &'static str,
    pub why: String,
}

const KEYS: [&str; 5] = ["event_id", "event_type", "event_data", "metadata", "tags"];

/// The ids that the items bring, each `None` where one is to be drawn.
pub fn checked_items(items: &[Value]) -> Result<Vec<Option<Uuid>>, BadItem> {
    let mut seen = HashSet::new();
    items
        .iter()
        .enumerate()
        .map(|(at, item)| {
            let bad = |key, why: &str| BadItem { number: at + 1, key, why: why.to_owned() };
            let Value::Object(item) = item else { return Err(bad("event", "It is not an object.")) };
            if let Some(unknown) = item.keys().find(|key| !KEYS.contains(&key.as_str())) {
                let name: String = unknown.chars().take(50).collect();
                return Err(bad("event", &format!("It has the key {name:?}; keys are {}.", KEYS.join(", "))));
            }
            let id = item_id(item).map_err(|why| bad("event_id", why))?;
            if id.is_some_and(|id| !seen.insert(id)) {
                return Err(bad("event_id", "An event before it has the same."));
            }
            item_type(item).map_err(|why| bad("event_type", why))?;
            if !matches!(item.get("event_data"), Some(Value::Object(_))) {
                return Err(bad("event_data", "It is not an object."));
            }
            if !matches!(item.get("metadata"), None | Some(Value::Object(_) | Value::Null)) {
                return Err(bad("metadata", "It is not an object."));
            }
            item_tags(item).map_err(|why| bad("tags", why))?;
            Ok(id)
        })
        .collect()
}

fn item_id(item: &Map<String, Value>) -> Result<Option<Uuid>, &'static str> {
    match item.get("event_id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Uuid::parse_str(text).map(Some).map_err(|_| "It is not a uuid."),
        Some(_) => Err("It is not a uuid."),
    }
}

fn item_type(item: &Map<String, Value>) -> Result<(), &'static str> {
    let Some(Value::String(name)) = item.get("event_type") else { return Err("It is not a text.") };
    name_is_good(name)
}

/// 1 to 100 characters that are not all blank.
pub fn name_is_good(name: &str) -> Result<(), &'static str> {
    if name.trim().is_empty() {
        Err("It is blank.")
    } else if name.chars().nth(MAX_NAME).is_some() {
        Err("It is longer than 100 characters.")
    } else {
        Ok(())
    }
}

fn item_tags(item: &Map<String, Value>) -> Result<(), &'static str> {
    let tags = match item.get("tags") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(tags)) => tags,
        Some(_) => return Err("They are not an array."),
    };
    tags_are_good(tags.iter().map(Value::as_str))
}

pub fn tags_are_good<'a>(tags: impl ExactSizeIterator<Item = Option<&'a str>>) -> Result<(), &'static str> {
    if tags.len() > MAX_TAGS {
        return Err("There are more than 20.");
    }
    let mut seen = HashSet::new();
    for tag in tags {
        let tag = tag.ok_or("One is not a text.")?;
        name_is_good(tag).map_err(|_| "One is blank or longer than 100 characters.")?;
        if !seen.insert(tag) {
            return Err("One is there twice.");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fault(item: Value) -> Option<(&'static str, usize)> {
        let good = json!({"event_type": "Opened", "event_data": {}});
        checked_items(&[good, item]).err().map(|bad| (bad.key, bad.number))
    }

    #[test]
    fn an_expectation_is_about_the_version_found() {
        let cases =
            [(None, 0, true), (None, 7, true), (Some(0), 0, true), (Some(0), 1, false), (Some(-1), 0, false)];
        for (given, actual, holds) in cases {
            assert_eq!(Expected::of(given).map(|e| e.holds(actual)), Some(holds), "{given:?} of {actual}");
        }
        assert!(Expected::of(Some(3)).is_some_and(|e| e.holds(3) && !e.holds(4)));
        assert_eq!(Expected::of(Some(-2)), None);
    }

    #[test]
    fn a_bad_item_is_named() {
        let id = "018f0000-0000-7000-8000-000000000001";
        let event = |more: Value| {
            let mut event = json!({"event_type": "T", "event_data": {"a": 1}});
            let (target, more) =
                (event.as_object_mut().expect("an object"), more.as_object().expect("an object"));
            target.extend(more.clone());
            event
        };
        assert_eq!(fault(event(json!({"event_id": id, "metadata": {}, "tags": ["a", "b"]}))), None);
        assert_eq!(fault(event(json!({"event_id": null, "metadata": null, "tags": null}))), None);
        for (item, key) in [
            (json!(1), "event"),
            (event(json!({"data": 1})), "event"),
            (event(json!({"event_id": "x"})), "event_id"),
            (event(json!({"event_id": 1})), "event_id"),
            (event(json!({"event_type": " "})), "event_type"),
            (event(json!({"event_type": "x".repeat(101)})), "event_type"),
            (event(json!({"event_type": null})), "event_type"),
            (event(json!({"event_data": null})), "event_data"),
            (event(json!({"event_data": [1]})), "event_data"),
            (event(json!({"metadata": []})), "metadata"),
            (event(json!({"tags": "a"})), "tags"),
            (event(json!({"tags": [1]})), "tags"),
            (event(json!({"tags": ["a", "a"]})), "tags"),
            (event(json!({"tags": vec!["a"; 21]})), "tags"),
        ] {
            assert_eq!(fault(item.clone()), Some((key, 2)), "{item}");
        }
        let twice = event(json!({"event_id": id}));
        let bad = checked_items(&[twice.clone(), twice]).expect_err("one id cannot be two events");
        assert_eq!((bad.key, bad.number), ("event_id", 2));
    }
}
