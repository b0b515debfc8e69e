//! How long what a caller writes beside the figures may be.

use crate::error::Error;
use crate::pg::JsonDatum;

const MAX_REFERENCE: usize = 50;
const MAX_TEXT: usize = 1_000;
const MAX_JSON_BYTES: usize = 16 * 1024;
const MAX_JSON_DEPTH: usize = 16;

/// Bounds a text argument.
pub fn bounded_text(argument: &'static str, text: Option<&str>, most: usize) -> Result<(), Error> {
    match text.map(|t| t.chars().count()) {
        Some(length) if length > most => Err(Error::ArgumentBounds {
            argument,
            why: format!("It has {length} characters; the most is {most}."),
        }),
        _ => Ok(()),
    }
}

/// A text that says something.
pub fn given_text<'a>(argument: &'static str, text: &'a str, most: usize) -> Result<&'a str, Error> {
    if text.trim().is_empty() {
        return Err(Error::ArgumentBounds { argument, why: "It is blank.".into() });
    }
    bounded_text(argument, Some(text), most)?;
    Ok(text)
}

/// Why something is done.
pub fn given_reason<'a>(argument: &'static str, reason: &'a str) -> Result<&'a str, Error> {
    given_text(argument, reason, MAX_TEXT)
}

/// Bounds a JSON argument, in bytes of the binary form and in levels.
pub fn bounded_json(
    argument: &'static str,
    json: JsonDatum,
    most_bytes: usize,
    most_levels: usize,
) -> Result<(), Error> {
    let why = if json.size() > most_bytes {
        format!("It has {} bytes; the most is {most_bytes}.", json.size())
    } else if json.container().is_deeper_than(most_levels) {
        format!("It is nested deeper than {most_levels} levels.")
    } else {
        return Ok(());
    };
    Err(Error::ArgumentBounds { argument, why })
}

pub fn bounded_metadata(metadata: Option<JsonDatum>) -> Result<(), Error> {
    let Some(json) = metadata else { return Ok(()) };
    if !json.is_object() {
        let why = "It must be a JSON object.".into();
        return Err(Error::ArgumentBounds { argument: "metadata", why });
    }
    bounded_json("metadata", json, MAX_JSON_BYTES, MAX_JSON_DEPTH)
}

/// What a caller may write beside the figures.
pub fn bounded_texts(
    reference: Option<&str>,
    description: Option<&str>,
    metadata: Option<JsonDatum>,
) -> Result<(), Error> {
    bounded_text("reference", reference, MAX_REFERENCE)?;
    bounded_text("description", description, MAX_TEXT)?;
    bounded_metadata(metadata)
}
