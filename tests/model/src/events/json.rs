//! JSON in the server's binary form, as far as its text shows it.

use serde_json::{Number, Value};
use std::str::FromStr;

/// A number without its exponent. Its trailing zeros are kept.
fn plain(number: &Number) -> Number {
    let text = number.to_string();
    let Some((digits, exponent)) = text.split_once(['e', 'E']) else { return number.clone() };
    let exponent: i64 = exponent.parse().expect("a whole exponent");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let point = whole.len() as i64 + exponent;
    let digits = format!("{whole}{fraction}");
    let before = if point > 0 { format!("{digits:0<width$}", width = point as usize) } else { digits.clone() };
    let whole = if point > 0 { before[..point as usize].trim_start_matches('0') } else { "" };
    let fraction = if point > 0 {
        before[point as usize..].to_owned()
    } else {
        format!("{}{digits}", "0".repeat(point.unsigned_abs() as usize))
    };
    let whole = if whole.is_empty() { "0" } else { whole };
    let text = if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
    Number::from_str(&text).expect("a number")
}

fn stored(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(plain(&number)),
        Value::Array(values) => Value::Array(values.into_iter().map(stored).collect()),
        Value::Object(values) => Value::Object(values.into_iter().map(|(key, value)| (key, stored(value))).collect()),
        other => other,
    }
}

/// What the text is when it has been stored.
pub fn binary(text: &str) -> Value {
    stored(serde_json::from_str(text).expect("it is JSON"))
}

/// As the server writes it: shorter keys first, and a blank after each comma and colon.
pub fn binary_text(value: &Value) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Array(values) => format!("[{}]", list(values.iter().map(binary_text).collect())),
        Value::Object(values) => {
            let mut keys: Vec<&String> = values.keys().collect();
            keys.sort_by_key(|key| (key.len(), key.as_bytes()));
            let pair = |key: &String| format!("{}: {}", Value::String(key.clone()), binary_text(&values[key]));
            format!("{{{}}}", list(keys.into_iter().map(pair).collect()))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_loses_its_exponent_and_keeps_its_zeros() {
        for (written, stored) in [
            ("1e2", "100"),
            ("1.50e1", "15.0"),
            ("25e-1", "2.5"),
            ("1.5e-3", "0.0015"),
            ("-1.25E1", "-12.5"),
            ("0.50", "0.50"),
        ] {
            assert_eq!(binary_text(&binary(written)), stored);
        }
        assert_eq!(
            binary_text(&binary(r#"{"bb":1.0,"c":[true,null],"a":"x"}"#)),
            r#"{"a": "x", "c": [true, null], "bb": 1.0}"#
        );
    }
}
