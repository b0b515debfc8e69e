//! Events as operations: how they are written as SQL, drawn at random, and held against the tables.

mod compare;
mod decide;
mod draw;
mod json;
mod rules;

pub use compare::{compare_events, read_on};
pub use decide::{Decision, FAR, POSTED, place_of_leg, positions};
pub use json::{binary, binary_text};
pub use rules::{EVENTS, PUBLISHED};

use neobank_sessions::Uuid;
use serde_json::Value;

/// An event as its caller writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    pub id: Option<Uuid>,
    pub event_type: String,
    /// JSON text.
    pub data: String,
    pub metadata: Option<String>,
    pub tags: Option<Vec<String>>,
    /// With a key that no event has; in a batch only.
    pub stray: bool,
}

/// One event by append_event, or some by append_events.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    pub aggregate: Uuid,
    pub aggregate_type: &'static str,
    pub events: Vec<NewEvent>,
    pub expected: Option<i32>,
    pub batch: bool,
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl NewEvent {
    /// It is none: a call that brings it is refused.
    pub fn is_bad(&self) -> bool {
        let tags = self.tags.as_deref().unwrap_or_default();
        let twice = tags.iter().enumerate().any(|(at, tag)| tags[..at].contains(tag));
        let no_object = |text: &str| !serde_json::from_str::<Value>(text).expect("it is JSON").is_object();
        self.event_type.trim().is_empty()
            || self.stray
            || twice
            || no_object(&self.data)
            || self.metadata.as_deref().is_some_and(no_object)
    }

    fn item(&self) -> String {
        let name = Value::String(self.event_type.clone());
        let mut keys = vec![format!("\"event_type\": {name}, \"event_data\": {}", self.data)];
        keys.extend(self.id.map(|id| format!("\"event_id\": \"{id}\"")));
        keys.extend(self.metadata.as_ref().map(|metadata| format!("\"metadata\": {metadata}")));
        keys.extend(self.tags.as_ref().map(|tags| format!("\"tags\": {}", serde_json::json!(tags))));
        keys.extend(self.stray.then(|| "\"data\": {}".to_owned()));
        format!("{{{}}}", keys.join(", "))
    }
}

impl Append {
    pub fn sql(&self) -> String {
        let (aggregate, of_type) = (self.aggregate, self.aggregate_type);
        let expected = self.expected.map_or("null".to_owned(), |version| version.to_string());
        if self.batch {
            let items: Vec<String> = self.events.iter().map(NewEvent::item).collect();
            let items = quoted(&format!("[{}]", items.join(", ")));
            return format!("select event_store.append_events('{of_type}', '{aggregate}', {items}, {expected})");
        }
        let NewEvent { id, event_type, data, metadata, tags, .. } = &self.events[0];
        let tags = tags.as_ref().map_or("null".to_owned(), |tags| {
            let tags: Vec<String> = tags.iter().map(|tag| quoted(tag)).collect();
            format!("array[{}]::text[]", tags.join(", "))
        });
        format!(
            "select event_store.append_event('{of_type}', '{aggregate}', {}, {}, {expected}, {}, {}, {tags})",
            quoted(event_type),
            quoted(data),
            metadata.as_deref().map_or("null".to_owned(), quoted),
            id.map_or("null".to_owned(), |id| format!("'{id}'")),
        )
    }
}

pub fn read_stream(aggregate: Uuid, from: i32, at_most: i32) -> String {
    format!(
        "select event_version, event_id, aggregate_type, event_type, event_data, metadata, to_json(tags) \
         from event_store.read_stream('{aggregate}', {from}, {at_most})"
    )
}
