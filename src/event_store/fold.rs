//! Folding events into the state of their aggregate.
//!
//! Account events fold as their names say; any other event is merged into the state, key by key.
#![forbid(unsafe_code)]

use rust_decimal::Decimal;
use serde_json::{Map, Number, Value};
use std::str::FromStr;

/// The state of an aggregate as far as it was folded.
pub type State = Map<String, Value>;

const VERSION: &str = "version";

/// Applies one event; why it cannot be.
pub fn apply(state: &mut State, event_type: &str, data: State, version: i32) -> Result<(), String> {
    match event_type {
        "AccountOpened" => *state = data,
        "FundsDeposited" => change(state, "balance", figure(&data, "amount")?)?,
        "FundsWithdrawn" => change(state, "balance", -figure(&data, "amount")?)?,
        "AccountClosed" => {
            state.insert("status".into(), "closed".into());
        }
        _ => state.extend(data),
    }
    state.insert(VERSION.into(), version.into());
    Ok(())
}

/// An exact decimal under that key, written as a number or as text.
fn figure(object: &State, key: &str) -> Result<Decimal, String> {
    let found = object.get(key).ok_or_else(|| format!("has no {key}"))?;
    let text = match found {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return Err(format!("has a {key} that is no number")),
    };
    decimal(&text).ok_or_else(|| format!("has the {key} {text:.40}, which is no decimal of up to 28 digits"))
}

/// Every digit of it, or nothing: the library's own reading of an exponent rounds.
fn decimal(text: &str) -> Option<Decimal> {
    let Some((digits, exponent)) = text.split_once(['e', 'E']) else {
        return Decimal::from_str_exact(text).ok();
    };
    let (digits, exponent) = (Decimal::from_str_exact(digits).ok()?, exponent.parse::<i32>().ok()?);
    let scale = i64::from(digits.scale()) - i64::from(exponent);
    match u32::try_from(scale) {
        Ok(scale) => Decimal::try_from_i128_with_scale(digits.mantissa(), scale).ok(),
        Err(_) => {
            let raised = 10_i128.checked_pow(u32::try_from(-scale).ok()?)?;
            Decimal::try_from_i128_with_scale(digits.mantissa().checked_mul(raised)?, 0).ok()
        }
    }
}

/// The exact sum: the library's own addition drops digits that it has no room for.
fn exact_sum(a: Decimal, b: Decimal) -> Option<Decimal> {
    let scale = a.scale().max(b.scale());
    let at = |figure: Decimal| figure.mantissa().checked_mul(10_i128.checked_pow(scale - figure.scale())?);
    Decimal::try_from_i128_with_scale(at(a)?.checked_add(at(b)?)?, scale).ok()
}

/// Adds to a figure of the state; one that is not there yet counts as zero.
fn change(state: &mut State, key: &str, by: Decimal) -> Result<(), String> {
    let found = match state.get(key) {
        None | Some(Value::Null) => Decimal::ZERO,
        Some(_) => figure(state, key)?,
    };
    let sum = exact_sum(found, by).ok_or_else(|| format!("makes {key} longer than 28 digits"))?;
    // With arbitrary precision a number keeps its digits.
    let number = Number::from_str(&sum.to_string()).expect("a decimal's text is a JSON number");
    state.insert(key.into(), Value::Number(number));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn folded(events: &[(&str, Value)]) -> Result<String, String> {
        let mut state = State::new();
        for (version, (event_type, data)) in (1..).zip(events) {
            apply(&mut state, event_type, data.as_object().expect("an object").clone(), version)?;
        }
        Ok(Value::Object(state).to_string())
    }

    fn number(text: &str) -> Value {
        serde_json::from_str(text).expect("a number")
    }

    #[test]
    fn account_events_add_up_exactly() {
        let state = folded(&[
            ("AccountOpened", json!({"owner": "Ada", "balance": number("1000.00")})),
            ("FundsDeposited", json!({"amount": number("0.1")})),
            ("FundsDeposited", json!({"amount": "0.2"})),
            ("FundsWithdrawn", json!({"amount": number("500.30")})),
            ("AccountClosed", json!({"reason": "moved"})),
        ]);
        assert_eq!(state.as_deref(), Ok(r#"{"balance":500.00,"owner":"Ada","status":"closed","version":5}"#));
    }

    #[test]
    fn a_balance_that_was_never_opened_begins_at_zero() {
        let state =
            folded(&[("FundsDeposited", json!({"amount": 5})), ("FundsWithdrawn", json!({"amount": 7}))]);
        assert_eq!(state.as_deref(), Ok(r#"{"balance":-2,"version":2}"#));
    }

    #[test]
    fn other_events_are_merged_key_by_key() {
        let state = folded(&[
            ("Named", json!({"name": "a", "x": {"y": 1}})),
            ("Renamed", json!({"name": "b", "x": {"z": 2}})),
        ]);
        assert_eq!(state.as_deref(), Ok(r#"{"name":"b","version":2,"x":{"z":2}}"#));
    }

    #[test]
    fn what_is_no_figure_is_said() {
        for (data, why) in [
            (json!({}), "has no amount"),
            (json!({"amount": true}), "has a amount that is no number"),
            (
                json!({"amount": "1.00000000000000000000000000000000000001e0"}),
                "has the amount 1.00000000000000000000000000000000000001, which is no decimal of up to 28 digits",
            ),
            (json!({"amount": "ten"}), "has the amount ten, which is no decimal of up to 28 digits"),
        ] {
            assert_eq!(folded(&[("FundsDeposited", data)]), Err(why.to_owned()));
        }
        // The sum is rounded nowhere; once its last digits were dropped without a word.
        let long = [
            ("AccountOpened", json!({"balance": number("98765432109876543210987654.32")})),
            ("FundsDeposited", json!({"amount": number("0.001")})),
        ];
        assert_eq!(folded(&long), Err("makes balance longer than 28 digits".to_owned()));
        let most = number("79228162514264337593543950335");
        let twice =
            [("FundsDeposited", json!({"amount": most})), ("FundsDeposited", json!({"amount": most}))];
        assert_eq!(folded(&twice), Err("makes balance longer than 28 digits".to_owned()));
    }
}
