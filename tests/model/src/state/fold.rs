//! The state of an aggregate: its events folded one after the other, in decimals of its own.

use super::events::Event;
use crate::answer::{Answer, agree};
use crate::events::binary_text;
use serde_json::{Map, Number, Value};
use std::str::FromStr;

/// So many digits are promised. Some longer figures fit as well, and whether they are taken is not written.
const DIGITS: usize = 28;
const MOST: u128 = 1 << 96;

/// A decimal: `units` of ten to the minus `scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Exact {
    units: i128,
    scale: u32,
}

impl Exact {
    const ZERO: Exact = Exact { units: 0, scale: 0 };

    fn of(text: &str) -> Option<Exact> {
        let text = text.trim();
        let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let exponent: i32 = exponent.parse().ok()?;
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let units: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = fraction.len() as i32 - exponent;
        match scale {
            0.. => Some(Exact { units, scale: scale as u32 }),
            _ => Some(Exact { units: units.checked_mul(10_i128.checked_pow(scale.unsigned_abs())?)?, scale: 0 }),
        }
    }

    fn of_value(value: &Value) -> Option<Exact> {
        match value {
            Value::Number(number) => Exact::of(&number.to_string()),
            Value::String(text) => Exact::of(text),
            _ => None,
        }
    }

    fn is_promised(self) -> bool {
        self.units.unsigned_abs().to_string().len() <= DIGITS && self.scale <= DIGITS as u32
    }

    /// Without zeros at the end.
    fn shortest(self) -> Exact {
        let mut short = self;
        while short.scale > 0 && short.units % 10 == 0 {
            short = Exact { units: short.units / 10, scale: short.scale - 1 };
        }
        short
    }

    fn is_possible(self) -> bool {
        let Exact { units, scale } = self.shortest();
        units.unsigned_abs() < MOST && scale <= DIGITS as u32
    }

    fn plus(self, other: Exact) -> Option<Exact> {
        let scale = self.scale.max(other.scale);
        let at = |figure: Exact| figure.units.checked_mul(10_i128.checked_pow(scale - figure.scale)?);
        Some(Exact { units: at(self)?.checked_add(at(other)?)?, scale })
    }

    fn number(self) -> Number {
        let digits = format!("{:0>width$}", self.units.unsigned_abs(), width = self.scale as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.scale as usize);
        let sign = if self.units < 0 { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        Number::from_str(&format!("{sign}{whole}{point}{fraction}")).expect("a number")
    }
}

/// What is told of an aggregate.
#[derive(Debug, PartialEq)]
pub struct Told {
    /// None: an event is not foldable.
    state: Option<Map<String, Value>>,
    /// A figure is longer than is promised, and fits.
    long: bool,
}

impl Told {
    fn change(&mut self, data: &Map<String, Value>, withdrawn: bool) -> Option<()> {
        let state = self.state.as_mut()?;
        let amount = data.get("amount").and_then(Exact::of_value)?;
        let balance = match state.get("balance") {
            None | Some(Value::Null) => Exact::ZERO,
            Some(balance) => Exact::of_value(balance)?,
        };
        let by = Exact { units: if withdrawn { -amount.units } else { amount.units }, ..amount };
        let sum = balance.plus(by)?;
        let figures = [balance, amount, sum];
        self.long |= !figures.into_iter().all(Exact::is_promised);
        if !figures.into_iter().all(Exact::is_possible) {
            return None;
        }
        state.insert("balance".to_owned(), Value::Number(sum.number()));
        Some(())
    }

    /// Whether that answer tells it: the state as the server writes it, or NB105.
    pub fn is(&self, seen: &Answer) -> Result<(), String> {
        let refused = Answer::Refused("NB105".to_owned());
        let Some(state) = &self.state else { return agree("what is not foldable", seen, &refused) };
        let Answer::Done(lines) = seen else {
            return if self.long {
                agree("the state", seen, &refused)
            } else {
                Err(format!("{seen:?} instead of {state:?}"))
            };
        };
        if !self.long {
            return agree("the state", lines[0].as_str(), &binary_text(&Value::Object(state.clone())));
        }
        // The zeros at the end of a long figure may have made room.
        let short = |state: &Map<String, Value>| {
            let balance = state.get("balance").and_then(Exact::of_value).map(Exact::shortest);
            let mut rest = state.clone();
            rest.remove("balance");
            (balance, rest)
        };
        let seen: Map<String, Value> = serde_json::from_str(&lines[0]).map_err(|e| format!("{e}: {lines:?}"))?;
        agree("the state", short(&seen), short(state))
    }
}

/// Of events from the first one on.
pub fn fold<'a>(events: impl Iterator<Item = &'a Event>) -> Told {
    let mut told = Told { state: Some(Map::new()), long: false };
    for (version, event) in (1..).zip(events) {
        let data = event.data.as_object().expect("data is an object");
        let Some(state) = told.state.as_mut() else { break };
        match event.event_type.as_str() {
            "AccountOpened" => *state = data.clone(),
            "FundsDeposited" | "FundsWithdrawn" => {
                if told.change(data, event.event_type == "FundsWithdrawn").is_none() {
                    told.state = None;
                }
            }
            "AccountClosed" => {
                state.insert("status".to_owned(), "closed".into());
            }
            _ => state.extend(data.clone()),
        }
        if let Some(state) = told.state.as_mut() {
            state.insert("version".to_owned(), version.into());
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::binary;

    fn folds(events: &[(&str, &str)], told: Option<&str>) {
        let event = |(event_type, data): &(&str, &str)| Event {
            id: None,
            event_type: (*event_type).to_owned(),
            data: binary(data),
            metadata: binary("{}"),
            tags: None,
            turn: 0,
        };
        let events: Vec<Event> = events.iter().map(event).collect();
        let seen = match told {
            Some(state) => Answer::Done(vec![state.to_owned()]),
            None => Answer::Refused("NB105".to_owned()),
        };
        assert_eq!(fold(events.iter()).is(&seen), Ok(()));
    }

    #[test]
    fn figures_add_up_exactly_or_not_at_all() {
        let long = r#"{"balance": 98765432109876543210987654.32}"#;
        let deposit = |data| ("FundsDeposited", data);
        folds(&[], Some("{}"));
        folds(
            &[("AccountOpened", r#"{"balance": 0.10}"#), deposit(r#"{"amount": "25e-1"}"#)],
            Some(r#"{"balance": 2.60, "version": 2}"#),
        );
        folds(
            &[("FundsWithdrawn", r#"{"amount": 0.05}"#), ("AccountClosed", "{}")],
            Some(r#"{"status": "closed", "balance": -0.05, "version": 2}"#),
        );
        folds(
            &[("AccountOpened", long), deposit(r#"{"amount": 0.01}"#)],
            Some(r#"{"balance": 98765432109876543210987654.33, "version": 2}"#),
        );
        folds(&[("AccountOpened", long), deposit(r#"{"amount": 0.001}"#)], None);
        for no_amount in ["{}", r#"{"amount": true}"#, r#"{"amount": "ten"}"#, r#"{"amount": 1e40}"#] {
            folds(&[deposit(no_amount)], None);
        }
    }
}
