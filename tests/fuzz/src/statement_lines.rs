//! Lines of an external statement: whatever passes is what the rules ask for, read by another reader.

use crate::calendar::days_of;
use crate::input::{Input, units};
use crate::txn_processing::calendar::iso;
use crate::txn_processing::lines::{MAX_LINES, checked};
use crate::well_worded;
use num_bigint::BigInt;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use std::collections::HashSet;

const KEYS: [&str; 7] =
    ["line_ref", "booked_on", "booked_at", "amount", "reference", "description", "counterparty"];

pub fn statement_lines(data: &[u8]) {
    let mut input = Input::new(data);
    let exponent = u32::from(input.up_to(4));
    let json = input.text();
    match checked(&json, exponent, "USD") {
        Err(error) => well_worded(&error),
        Ok(total) => {
            let tree: Value = serde_json::from_str(&json).expect("it passed as JSON");
            let lines = tree.as_array().expect("it passed as an array");
            assert!(lines.len() <= MAX_LINES && total.count == lines.len());
            let mut names = HashSet::new();
            let sum: BigInt = lines.iter().map(|line| line_in_minor_units(line, exponent, &mut names)).sum();
            assert_eq!(units(total.sum, exponent), sum, "{json}");
        }
    }
}

fn line_in_minor_units<'a>(line: &'a Value, exponent: u32, names: &mut HashSet<&'a str>) -> BigInt {
    let line = line.as_object().expect("only an object passes");
    assert!(line.keys().all(|key| KEYS.contains(&key.as_str())), "{line:?}");
    let (day, instant) = (text(line, "booked_on"), text(line, "booked_at"));
    assert!(day.is_some() || instant.is_some(), "{line:?}");
    for date in day.into_iter().chain(instant.map(|instant| &instant[..10])) {
        exists(date);
    }
    if let Some(instant) = instant {
        assert!(instant.is_ascii() && instant.len() >= "2026-01-31T23:59:59Z".len(), "{instant}");
        assert!(
            &instant[11..13] <= "23" && &instant[14..16] <= "59" && &instant[17..19] <= "59",
            "{instant}"
        );
    }
    for (key, most) in [("line_ref", 200), ("reference", 200), ("counterparty", 200), ("description", 1_000)]
    {
        assert!(text(line, key).is_none_or(|text| text.chars().count() <= most), "{key}: {line:?}");
    }
    assert!(text(line, "line_ref").is_none_or(|name| names.insert(name)), "{line:?}");
    amount(&line["amount"], exponent)
}

fn text<'a>(line: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    match line.get(key) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(other) => panic!("{key}: {other}"),
    }
}

/// The calendar's own numbers know the date, and write it as it was given.
fn exists(date: &str) {
    let number = |from, to| date[from..to].parse().expect("digits");
    let day = days_of(number(0, 4), number(5, 7), number(8, 10));
    assert_eq!(iso(day as i32), date);
}

fn amount(given: &Value, exponent: u32) -> BigInt {
    let text = given.as_str().map_or_else(|| given.to_string(), str::to_owned);
    let (sign, digits) = text.strip_prefix('-').map_or((1, text.as_str()), |digits| (-1, digits));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let decimals = decimals.trim_end_matches('0');
    assert!(decimals.len() <= exponent as usize, "{text}");
    let digits = format!("{whole}{decimals:0<width$}", width = exponent as usize);
    let minor: BigInt = digits.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
    let most = units(Decimal::from(1_000_000_000_000_000_000u64), exponent);
    assert!(minor > BigInt::from(0) && minor <= most, "{text}");
    minor * sign
}
