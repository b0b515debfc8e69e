//! The lines of an external statement as they are given: read, checked, added up.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::txn_processing::core::{amount_of, in_currency};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

/// Lines of one statement.
pub const MAX_LINES: usize = 100_000;
/// Characters.
const MAX_NAME: usize = 200;
const MAX_TEXT: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    line_ref: Option<String>,
    booked_on: Option<String>,
    booked_at: Option<String>,
    amount: Option<serde_json::Value>,
    reference: Option<String>,
    description: Option<String>,
    counterparty: Option<String>,
}

/// A line that is an object: what is derived would take an array of values too, in the order of its fields.
struct Object(Line);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Object;

            fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
                to.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, keys: A) -> Result<Object, A::Error> {
                Line::deserialize(MapAccessDeserializer::new(keys)).map(Object)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// What the lines come to.
#[derive(Debug, PartialEq, Eq)]
pub struct Total {
    pub count: usize,
    pub sum: Decimal,
}

struct Lines(Vec<Line>);

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting;
        impl<'de> Visitor<'de> for Counting {
            type Value = Lines;

            fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
                to.write_str("a JSON array of lines")
            }

            /// An error names the line.
            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Lines, A::Error> {
                let mut lines = Vec::new();
                loop {
                    match elements.next_element() {
                        Ok(Some(_)) if lines.len() == MAX_LINES => {
                            return Err(A::Error::custom(format!("there are more than {MAX_LINES} lines")));
                        }
                        Ok(Some(Object(line))) => lines.push(line),
                        Ok(None) => return Ok(Lines(lines)),
                        Err(why) => {
                            return Err(A::Error::custom(format!("line {}: {why}", lines.len() + 1)));
                        }
                    }
                }
            }
        }
        deserializer.deserialize_seq(Counting)
    }
}

fn refuse(line: usize, why: impl fmt::Display) -> Error {
    Error::ArgumentBounds { argument: "lines", why: format!("Line {line}: {why}.") }
}

/// A date as ISO 8601 writes it, one that exists.
fn is_date(text: &str) -> bool {
    let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<u32>().ok());
    let shape =
        |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    if text.len() != 10 || !text.bytes().enumerate().all(shape) {
        return false;
    }
    let (Some(year), Some(month), Some(day)) = (number(0, 4), number(5, 7), number(8, 10)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return false,
    };
    year > 0 && (1..=days).contains(&day)
}

/// An instant as RFC 3339 writes it: date, time of day, and Z or the distance from UTC.
fn is_instant(text: &str) -> bool {
    let two = |part: Option<&str>, most: u32| {
        part.filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|p| p.parse::<u32>().ok())
            .is_some_and(|n| n <= most)
    };
    let Some((date, time)) = text.get(..10).zip(text.get(11..)) else { return false };
    if !is_date(date) || !matches!(text.as_bytes()[10], b'T' | b' ') {
        return false;
    }
    let Some(zone_at) = time.find(['Z', '+', '-']) else { return false };
    let (clock, zone) = time.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(c, f)| (c, Some(f)));
    let mut parts = clock.split(':');
    let clock_is_good = two(parts.next(), 23) && two(parts.next(), 59) && two(parts.next(), 59);
    let fraction_is_good =
        fraction.is_none_or(|f| (1..=6).contains(&f.len()) && f.bytes().all(|b| b.is_ascii_digit()));
    let zone_is_good = zone == "Z"
        || zone[1..]
            .split_once(':')
            .is_some_and(|(hours, minutes)| two(Some(hours), 14) && two(Some(minutes), 59));
    clock_is_good && parts.next().is_none() && fraction_is_good && zone_is_good
}

fn amount(
    line: usize,
    given: Option<&serde_json::Value>,
    exponent: u32,
    currency: &str,
) -> Result<Decimal, Error> {
    let text = match given {
        Some(serde_json::Value::Number(number)) => number.to_string(),
        Some(serde_json::Value::String(text)) => text.clone(),
        None | Some(serde_json::Value::Null) => return Err(refuse(line, "amount is missing")),
        Some(_) => return Err(refuse(line, "amount is no number")),
    };
    let numberless = text.bytes().any(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'.'));
    let value = Decimal::from_str_exact(&text).ok().filter(|_| !numberless);
    let value =
        value.ok_or_else(|| refuse(line, format!("amount {text:?} is no decimal of up to 28 digits")))?;
    amount_of(value).and_then(|value| in_currency(value, exponent, currency)).map_err(|error| match error {
        Error::InvalidAmount { why } => Error::InvalidAmount { why: format!("Line {line}: {why}") },
        other => other,
    })
}

fn bounded(line: usize, name: &str, text: Option<&str>, most: usize) -> Result<(), Error> {
    match text.map(|text| text.chars().count()) {
        Some(length) if length > most => {
            Err(refuse(line, format!("{name} has {length} characters; the most is {most}")))
        }
        _ => Ok(()),
    }
}

/// Checks the lines, a JSON array, and adds them up. Every refusal names the line.
pub fn checked(json: &str, exponent: u32, currency: &str) -> Result<Total, Error> {
    let lines: Lines = serde_json::from_str(json).map_err(|error| {
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or_default();
        Error::ArgumentBounds { argument: "lines", why: format!("As given, {text}.") }
    })?;
    let mut names = HashSet::new();
    let mut sum = Decimal::new(0, exponent);
    for (line, no) in lines.0.iter().zip(1..) {
        if line.booked_on.is_none() && line.booked_at.is_none() {
            return Err(refuse(no, "booked_on and booked_at are both missing"));
        }
        if let Some(date) = line.booked_on.as_deref().filter(|date| !is_date(date)) {
            return Err(refuse(no, format!("booked_on {date:?} is no date of the form 2026-01-31")));
        }
        if let Some(at) = line.booked_at.as_deref().filter(|at| !is_instant(at)) {
            return Err(refuse(no, format!("booked_at {at:?} is no time of the form 2026-01-31T23:59:59Z")));
        }
        bounded(no, "line_ref", line.line_ref.as_deref(), MAX_NAME)?;
        bounded(no, "reference", line.reference.as_deref(), MAX_NAME)?;
        bounded(no, "counterparty", line.counterparty.as_deref(), MAX_NAME)?;
        bounded(no, "description", line.description.as_deref(), MAX_TEXT)?;
        if let Some(name) = line.line_ref.as_deref().filter(|&name| !names.insert(name)) {
            return Err(refuse(no, format!("line_ref {name:?} is an earlier line's too")));
        }
        sum += amount(no, line.amount.as_ref(), exponent, currency)?;
    }
    Ok(Total { count: lines.0.len(), sum })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn why(json: &str) -> String {
        match checked(json, 2, "USD") {
            Err(Error::ArgumentBounds { argument: "lines", why } | Error::InvalidAmount { why }) => why,
            other => panic!("{other:?} came of {json}"),
        }
    }

    #[test]
    fn lines_add_up_exactly() {
        let json = r#"[{"booked_on": "2026-02-28", "amount": 0.1}, {"booked_at": "2026-02-28T23:59:59.5+14:00", "amount": "-0.30"},
                       {"booked_on": "2024-02-29", "amount": 1000000000000000000, "line_ref": null}]"#;
        let total = checked(json, 2, "USD").expect("they are good");
        assert_eq!((total.count, total.sum.to_string()), (3, "999999999999999999.80".to_owned()));
        assert_eq!(checked("[]", 0, "JPY").expect("no lines").sum.to_string(), "0");
    }

    #[test]
    fn every_refusal_names_the_line() {
        for (line, word) in [
            (r#"{"amount": 1}"#, "both missing"),
            (r#"{"booked_on": "2026-02-29", "amount": 1}"#, "no date"),
            (r#"{"booked_on": "0000-01-01", "amount": 1}"#, "no date"),
            (r#"{"booked_on": "28.02.2026", "amount": 1}"#, "no date"),
            (r#"{"booked_at": "2026-02-28T10:00:00", "amount": 1}"#, "no time"),
            (r#"{"booked_at": "2026-02-28T25:00:00Z", "amount": 1}"#, "no time"),
            (r#"{"booked_on": "2026-02-28"}"#, "missing"),
            (r#"{"booked_on": "2026-02-28", "amount": "ten"}"#, "no decimal"),
            (r#"{"booked_on": "2026-02-28", "amount": [1]}"#, "no number"),
            (r#"{"booked_on": "2026-02-28", "amount": 1.005}"#, "decimals"),
            (r#"{"booked_on": "2026-02-28", "amount": 0}"#, "zero"),
            (r#"{"booked_on": "2026-02-28", "amount": 1, "colour": "red"}"#, "colour"),
            (r#"{"booked_on": 20260228, "amount": 1}"#, "string"),
            (r#"{"booked_on": "2026-02-28", "amount": 1, "line_ref": "a"}"#, "earlier"),
            ("7", "object"),
            (r#"["b", "2026-02-28", null, 1, null, null, null]"#, "object"),
        ] {
            let json = format!(r#"[{{"booked_on": "2026-02-28", "amount": 1, "line_ref": "a"}}, {line}]"#);
            let why = why(&json);
            assert!(why.to_lowercase().contains("line 2") && why.contains(word), "{why:?} of {line}");
        }
        assert!(why("{}").contains("array"));
        let long =
            format!(r#"[{{"booked_on": "2026-02-28", "amount": 1, "reference": "{}"}}]"#, "x".repeat(201));
        assert!(why(&long).contains("201 characters"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = (is_date(&text), is_instant(&text), checked(&text, 2, "USD"));
        }

        #[test]
        fn no_instant_panics(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.Zé+-]{0,16}") {
            let _ = is_instant(&text);
        }
    }
}
