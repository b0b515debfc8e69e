//! JSON of the shapes that functions want, the same with something wrong in it, and JSON of no shape at all.

use crate::foul::TEXTS;
use crate::values::{Maker, quoted};
use serde_json::{Map, Value, json};

/// What has JSON under that name would take.
pub fn example(maker: &mut Maker, argument: &str) -> Value {
    let count = maker.dice.below(3) + 1;
    match argument {
        "items" => (0..count).map(|_| item(maker)).collect(),
        "lines" => (0..count).flat_map(|n| lines(maker, n)).collect(),
        _ => object(maker),
    }
}

fn number(digits: &str) -> Value {
    serde_json::from_str(digits).expect("digits are a number")
}

/// Of a payment batch.
fn item(maker: &mut Maker) -> Value {
    let mut item = json!({"from_account": maker.account(), "amount": number(&maker.amount("amount"))});
    if maker.chance(50) {
        item["to_account"] = maker.account().into();
    } else {
        item["counterparty_bank"] = "YZ".into();
        item["counterparty_account"] = "87144583".into();
    }
    if maker.chance(30) {
        item["currency"] = maker.currency().into();
        item["description"] = "rent".into();
        item["reference"] = "R".into();
    }
    item
}

/// Two of an external statement that come to nothing.
fn lines(maker: &mut Maker, n: usize) -> [Value; 2] {
    let amount = maker.amount("amount");
    [line(maker, 2 * n, &amount), line(maker, 2 * n + 1, &format!("-{amount}"))]
}

fn line(maker: &mut Maker, n: usize, amount: &str) -> Value {
    let mut line = json!({"amount": number(amount), "line_ref": format!("{n}")});
    if maker.chance(80) {
        line["booked_on"] = format!("2026-01-{:02}", maker.dice.below(28) + 1).into();
    } else {
        line["booked_at"] = "2026-01-31T23:59:59Z".into();
    }
    if maker.chance(40) {
        line["reference"] = maker.word("reference").into();
        line["counterparty"] = "Ada".into();
    }
    line
}

/// Metadata, or a request's data.
fn object(maker: &mut Maker) -> Value {
    let mut object = json!({"reason": "because", "description": "rent", "n": [1, 2.5, {"deep": null}]});
    if maker.chance(60) {
        let transactions = maker.good("transaction_id", "uuid");
        let id = transactions.trim_start_matches('\'').trim_end_matches("'::uuid").to_owned();
        object["original_transaction_id"] = id.into();
    }
    object
}

/// Expressions of text that is JSON, and mostly nobody's idea of an argument.
const SHAPELESS: &[&str] = &[
    "'null'",
    "'{}'",
    "'[]'",
    "'true'",
    "'1'",
    "'\"x\"'",
    "'[[]]'",
    "'[null]'",
    "'[{}]'",
    "'{\"\": \"\"}'",
    "'{\"a\": 1, \"a\": 2}'",
    "'{\"a\": 1e400}'",
    "'{\"a\": 1e-400}'",
    "'{\"a\": 1e131000}'",
    "'{\"a\": -0.0}'",
    "'{\"a\": 18446744073709551616}'",
    "'{\"a\": 1' || repeat('0', 100000) || '}'",
    "'{\"a\": 0.' || repeat('1', 16000) || '}'",
    "'[1e400, 1e-16000, -1e131000]'",
    "'{\"' || repeat('k', 100000) || '\": 1}'",
    "'{\"a\": \"' || repeat('x', 16350) || '\"}'",
    "'{\"a\": \"' || repeat('x', 1000000) || '\"}'",
    "'{\"a\": \"\\u0001\\u202e\\ud83d\\udcb0\\uffff\"}'",
    "repeat('{\"a\":', 16) || '1' || repeat('}', 16)",
    "repeat('{\"a\":', 17) || '1' || repeat('}', 17)",
    "repeat('{\"a\":', 127) || '1' || repeat('}', 127)",
    "repeat('{\"a\":', 128) || '1' || repeat('}', 128)",
    "repeat('[', 1000) || repeat(']', 1000)",
    "'{\"a\":' || repeat('[', 5000) || repeat(']', 5000) || '}'",
    "'[' || repeat('{\"a\":', 5000) || '1' || repeat('}', 5000) || ']'",
    "repeat('[', 10000) || repeat(']', 10000)",
    "'[' || repeat('1,', 100000) || '1]'",
    "'[' || repeat('{},', 100001) || '{}]'",
    "'{' || (select string_agg('\"k' || n || '\": ' || n, ',') from generate_series(1, 20000) n) || '}'",
];

/// An expression of text that is JSON.
pub fn foul(maker: &mut Maker, argument: &str) -> String {
    if maker.chance(1) {
        return "'{\"a\": \"' || repeat('x', 20000000) || '\"}'".to_owned();
    }
    if maker.chance(35) {
        return maker.one_of(SHAPELESS).to_owned();
    }
    let mut value = example(maker, argument);
    for _ in 0..=maker.dice.below(2) {
        mutate(maker, &mut value);
    }
    quoted(&value.to_string())
}

/// Goes down at random and breaks something there.
fn mutate(maker: &mut Maker, value: &mut Value) {
    let deeper = maker.chance(75);
    match value {
        Value::Array(list) if deeper && !list.is_empty() => {
            let at = maker.dice.below(list.len());
            mutate(maker, &mut list[at]);
        }
        Value::Array(list) if !list.is_empty() => list.push(list[0].clone()),
        Value::Object(map) if !map.is_empty() => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let key = maker.pick(&keys).clone();
            mutate_member(maker, map, &key, deeper);
        }
        _ => *value = other(maker),
    }
}

fn mutate_member(maker: &mut Maker, map: &mut Map<String, Value>, key: &str, deeper: bool) {
    if deeper {
        mutate(maker, &mut map[key]);
        return;
    }
    match maker.dice.below(5) {
        0 => {
            map.remove(key);
        }
        1 => {
            let value = map.remove(key).unwrap_or_default();
            map.insert(key.to_uppercase(), value);
        }
        2 => {
            map.insert(maker.one_of(TEXTS).to_owned(), other(maker));
        }
        3 => {
            let value = map[key].clone();
            map[key] = json!([value]);
        }
        _ => map[key] = other(maker),
    }
}

/// A scalar of any kind.
fn other(maker: &mut Maker) -> Value {
    match maker.dice.below(8) {
        0 => Value::Null,
        1 => json!(maker.chance(50)),
        2 => json!({}),
        3 => json!([]),
        4 => number(maker.one_of(&[
            "0",
            "-1",
            "-0.0",
            "1e18",
            "1e19",
            "1e400",
            "1e-400",
            "0.00001",
            "1e131000",
            "18446744073709551616",
            "1.10",
            "123456789012345678901234567890.5",
        ])),
        5 => Value::String("x".repeat(*maker.pick(&[51, 101, 201, 1_001, 20_000]))),
        6 => json!(maker.one_of(&[
            "1e5",
            " 10 ",
            "10,5",
            "0x10",
            "NaN",
            "Infinity",
            "-Infinity",
            "infinity",
            "1e999999999",
            "+1",
            "1_000",
            "2026-13-01",
            "2026-02-30",
            "infinity",
            "-infinity",
            "0000-01-01",
            "300000-01-01",
            "5874898-01-01",
            "2026-01-31T24:00:00Z",
            "2026-01-31T23:59:60Z",
            "2026-01-31 BC",
            "now",
            "today",
            "yesterday",
            "allballs",
            "{00000000-0000-0000-0000-000000000000}",
            "00000000000000000000000000000000",
        ])),
        _ => Value::from(maker.one_of(TEXTS)),
    }
}
