//! What a projection is told: no server, no clock, no randomness.
#![forbid(unsafe_code)]

use serde_json::Value;

/// The most names in one list of a filter.
const MAX_NAMES: usize = 100;
const MAX_NAME: usize = 100;
const KEYS: [&str; 3] = ["aggregate_types", "event_types", "tags"];

/// Which events are applied: of these types, and with all of these tags. Empty: any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub aggregate_types: Vec<String>,
    pub event_types: Vec<String>,
    pub tags: Vec<String>,
}

impl Filter {
    /// `{"aggregate_types": [...], "event_types": [...], "tags": [...]}`, each of them optional.
    pub fn of(json: &Value) -> Result<Filter, String> {
        let Value::Object(object) = json else { return Err("It must be a JSON object.".into()) };
        if let Some(unknown) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let name: String = unknown.chars().take(50).collect();
            return Err(format!("It has the key {name:?}; keys are {}.", KEYS.join(", ")));
        }
        let list = |key: &str| names(object.get(key)).map_err(|why| format!("Of {key}: {why}"));
        Ok(Filter {
            aggregate_types: list("aggregate_types")?,
            event_types: list("event_types")?,
            tags: list("tags")?,
        })
    }
}

fn names(list: Option<&Value>) -> Result<Vec<String>, &'static str> {
    match list {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= MAX_NAMES => items
            .iter()
            .map(|item| match item {
                Value::String(name) if !name.is_empty() && name.chars().count() <= MAX_NAME => {
                    Ok(name.clone())
                }
                _ => Err("a name has 1 to 100 characters."),
            })
            .collect(),
        _ => Err("it must be an array of up to 100 names."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_filter_names_what_it_wants() {
        assert_eq!(Filter::of(&json!({})), Ok(Filter::default()));
        let filter = Filter::of(&json!({"event_types": ["A", "B"], "tags": null})).expect("it is one");
        assert_eq!((filter.event_types, filter.tags), (vec!["A".into(), "B".into()], vec![]));
    }

    #[test]
    fn what_is_none_is_refused() {
        for json in [
            json!([]),
            json!({"types": []}),
            json!({"tags": "x"}),
            json!({"tags": [1]}),
            json!({"tags": [""]}),
            json!({"tags": ["x".repeat(101)]}),
            json!({"tags": vec!["x"; 101]}),
        ] {
            assert!(Filter::of(&json).is_err(), "{json}");
        }
    }
}
