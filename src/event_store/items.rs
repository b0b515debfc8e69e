//! The events that a call brings, read out of its JSON where they stand.
#![forbid(unsafe_code)]

use super::core::{MAX_EVENTS, name_is_good, tags_are_good};
use crate::pg::jsonb::{Container, Item as Json};
use std::collections::HashSet;
use uuid::Uuid;

/// One event, as far as it is the caller's.
#[derive(Debug)]
pub struct Item<'a> {
    pub event_type: &'a str,
    pub data: Container<'a>,
    pub metadata: Option<Container<'a>>,
    /// Empty: none.
    pub tags: Vec<Option<&'a str>>,
}

/// What is wrong with an item of a batch: its number from 1, its key, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct BadItem {
    pub number: usize,
    pub key: &'static str,
    pub why: String,
}

const KEYS: [&str; 5] = ["event_id", "event_type", "event_data", "metadata", "tags"];

/// Events with the ids that they bring.
pub type Items<'a> = Vec<(Option<Uuid>, Item<'a>)>;

/// Why the whole is no batch.
pub fn batch_is_good(events: Container) -> Result<(), String> {
    if events.is_object() || events.is_scalar() {
        return Err("It must be a JSON array.".into());
    }
    match events.count() {
        1..=MAX_EVENTS => Ok(()),
        count => Err(format!("It has {count} events; it must have 1 to {MAX_EVENTS}.")),
    }
}

pub fn checked_items(events: Container<'_>) -> Result<Items<'_>, BadItem> {
    let mut seen = HashSet::new();
    let mut items = Vec::with_capacity(events.count());
    for (at, item) in events.elements().enumerate() {
        let bad = |(key, why): (&'static str, String)| BadItem { number: at + 1, key, why };
        let (id, item) = read_item(item).map_err(bad)?;
        if id.is_some_and(|id| !seen.insert(id)) {
            return Err(bad(("event_id", "An event before it has the same.".into())));
        }
        items.push((id, item));
    }
    Ok(items)
}

fn read_item(item: Json<'_>) -> Result<(Option<Uuid>, Item<'_>), (&'static str, String)> {
    let Json::Object(item) = item else { return Err(("event", "It is not an object.".into())) };
    let mut found = [None; KEYS.len()];
    for (key, value) in item.pairs() {
        let Some(at) = KEYS.iter().position(|known| *known == key) else {
            let name: String = key.chars().take(50).collect();
            return Err(("event", format!("It has the key {name:?}; keys are {}.", KEYS.join(", "))));
        };
        // A null says as much as nothing.
        found[at] = (!matches!(value, Json::Null)).then_some(value);
    }
    let [id, event_type, data, metadata, tags] = found;
    let id = id.map(item_id).transpose().map_err(|why| ("event_id", why.to_owned()))?;
    let event_type = match event_type {
        Some(Json::Text(name)) => name_is_good(name).map(|()| name),
        _ => Err("It is not a text."),
    };
    let event_type = event_type.map_err(|why| ("event_type", why.to_owned()))?;
    let Some(Json::Object(data)) = data else { return Err(("event_data", "It is not an object.".into())) };
    let metadata = match metadata {
        None => None,
        Some(Json::Object(metadata)) => Some(metadata),
        Some(_) => return Err(("metadata", "It is not an object.".into())),
    };
    let tags = item_tags(tags).map_err(|why| ("tags", why.to_owned()))?;
    Ok((id, Item { event_type, data, metadata, tags }))
}

fn item_id(id: Json) -> Result<Uuid, &'static str> {
    match id {
        Json::Text(text) => Uuid::parse_str(text).map_err(|_| "It is not a uuid."),
        _ => Err("It is not a uuid."),
    }
}

fn item_tags(tags: Option<Json<'_>>) -> Result<Vec<Option<&str>>, &'static str> {
    let tags = match tags {
        None => return Ok(Vec::new()),
        Some(Json::Array(tags)) => tags.elements().map(|tag| match tag {
            Json::Text(tag) => Some(tag),
            _ => None,
        }),
        Some(_) => return Err("They are not an array."),
    };
    let tags: Vec<_> = tags.collect();
    tags_are_good(tags.iter().copied())?;
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::jsonb::encoded;
    use serde_json::{Value, json};

    fn fault(item: Value) -> Option<(&'static str, usize)> {
        let good = json!({"event_type": "Opened", "event_data": {}});
        let bytes = encoded(&json!([good, item]));
        checked_items(Container::of(&bytes)).err().map(|bad| (bad.key, bad.number))
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
        let bytes = encoded(&json!([twice, twice]));
        let bad = checked_items(Container::of(&bytes)).expect_err("one id cannot be two events");
        assert_eq!((bad.key, bad.number), ("event_id", 2));
    }
}
