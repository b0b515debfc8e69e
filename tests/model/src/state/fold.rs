//! The state of an aggregate: its events folded one after the other, in decimals of its own.

use super::events::Event;
use crate::events::binary_text;
use serde_json::{Map, Number, Value};
use std::str::FromStr;

/// So many digits are promised.
const DIGITS: usize = 28;

/// A decimal: `units` of ten to the minus `scale`.
#[derive(Clone, Copy, Debug)]
struct Exact {
    units: i128,
    scale: u32,
}

impl Exact {
    const ZERO: Exact = Exact { units: 0, scale: 0 };

    fn digits(self) -> usize {
        self.units.unsigned_abs().to_string().len()
    }

    fn of(text: &str) -> Option<Exact> {
        let text = text.trim();
        let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let exponent: i32 = exponent.parse().ok()?;
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let units: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = fraction.len() as i32 - exponent;
        let read = match scale {
            0.. => Exact { units, scale: scale as u32 },
            _ => Exact { units: units.checked_mul(10_i128.checked_pow(scale.unsigned_abs())?)?, scale: 0 },
        };
        (read.digits() <= DIGITS && read.scale <= DIGITS as u32).then_some(read)
    }

    fn of_value(value: &Value) -> Option<Exact> {
        match value {
            Value::Number(number) => Exact::of(&number.to_string()),
            Value::String(text) => Exact::of(text),
            _ => None,
        }
    }

    fn plus(self, other: Exact) -> Exact {
        let scale = self.scale.max(other.scale);
        let at = |figure: Exact| figure.units * 10_i128.pow(scale - figure.scale);
        Exact { units: at(self) + at(other), scale }
    }

    fn number(self) -> Number {
        let digits = format!("{:0>width$}", self.units.unsigned_abs(), width = self.scale as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.scale as usize);
        let sign = if self.units < 0 { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        Number::from_str(&format!("{sign}{whole}{point}{fraction}")).expect("a number")
    }
}

/// Why there is no state.
#[derive(Debug, PartialEq)]
pub enum NoState {
    /// At this version is a figure that is none, or that makes one which is too long.
    NotFoldable(i32),
}

fn change(state: &mut Map<String, Value>, data: &Map<String, Value>, withdrawn: bool) -> Option<()> {
    let amount = data.get("amount").and_then(Exact::of_value)?;
    let balance = match state.get("balance") {
        None | Some(Value::Null) => Exact::ZERO,
        Some(balance) => Exact::of_value(balance)?,
    };
    let by = Exact { units: if withdrawn { -amount.units } else { amount.units }, ..amount };
    let sum = balance.plus(by);
    if sum.digits() > DIGITS {
        return None;
    }
    state.insert("balance".to_owned(), Value::Number(sum.number()));
    Some(())
}

/// Of events from the first one on, as the server writes it.
pub fn fold<'a>(events: impl Iterator<Item = &'a Event>) -> Result<String, NoState> {
    let mut state = Map::new();
    for (version, event) in (1..).zip(events) {
        let data = event.data.as_object().expect("data is an object");
        match event.event_type.as_str() {
            "AccountOpened" => state = data.clone(),
            "FundsDeposited" | "FundsWithdrawn" => {
                let withdrawn = event.event_type == "FundsWithdrawn";
                change(&mut state, data, withdrawn).ok_or(NoState::NotFoldable(version))?;
            }
            "AccountClosed" => {
                state.insert("status".to_owned(), "closed".into());
            }
            _ => state.extend(data.clone()),
        }
        state.insert("version".to_owned(), version.into());
    }
    Ok(binary_text(&Value::Object(state)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::binary;

    fn folded(events: &[(&str, &str)]) -> Result<String, NoState> {
        let event = |(event_type, data): &(&str, &str)| Event {
            id: None,
            event_type: (*event_type).to_owned(),
            data: binary(data),
            metadata: binary("{}"),
            tags: None,
            turn: 0,
        };
        let events: Vec<Event> = events.iter().map(event).collect();
        fold(events.iter())
    }

    #[test]
    fn figures_add_up_exactly_or_not_at_all() {
        let long = r#"{"balance": 98765432109876543210987654.32}"#;
        let state = |text: &str| Ok(text.to_owned());
        assert_eq!(folded(&[]), state("{}"));
        assert_eq!(
            folded(&[("AccountOpened", r#"{"balance": 0.10}"#), ("FundsDeposited", r#"{"amount": "25e-1"}"#)]),
            state(r#"{"balance": 2.60, "version": 2}"#)
        );
        assert_eq!(
            folded(&[("FundsWithdrawn", r#"{"amount": 0.05}"#), ("AccountClosed", "{}")]),
            state(r#"{"status": "closed", "balance": -0.05, "version": 2}"#)
        );
        assert_eq!(
            folded(&[("AccountOpened", long), ("FundsDeposited", r#"{"amount": 0.001}"#)]),
            Err(NoState::NotFoldable(2))
        );
        assert_eq!(
            folded(&[("AccountOpened", long), ("FundsDeposited", r#"{"amount": 0.01}"#)]),
            state(r#"{"balance": 98765432109876543210987654.33, "version": 2}"#)
        );
        for no_amount in ["{}", r#"{"amount": true}"#, r#"{"amount": "ten"}"#] {
            assert_eq!(folded(&[("FundsDeposited", no_amount)]), Err(NoState::NotFoldable(1)));
        }
    }
}
