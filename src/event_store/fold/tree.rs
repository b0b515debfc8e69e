//! The state of an aggregate while it is folded: a tree whose figures are decimals.
#![forbid(unsafe_code)]

use crate::pg::jsonb::{Container, Item};
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::fmt::Write;
#[cfg(test)]
use std::str::FromStr;

pub type Fields = BTreeMap<String, Tree>;

#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Null,
    Bool(bool),
    Figure(Decimal),
    /// A number with more digits than a decimal has.
    Long(String),
    Text(String),
    Array(Vec<Tree>),
    Object(Fields),
}

impl From<Item<'_>> for Tree {
    fn from(item: Item) -> Self {
        match item {
            Item::Null => Tree::Null,
            Item::Bool(value) => Tree::Bool(value),
            Item::Number(digits) => digits.whole().map_or_else(|| Tree::Long(digits.text()), Tree::Figure),
            Item::Text(text) => Tree::Text(text.to_owned()),
            Item::Array(array) => Tree::Array(array.elements().map(Tree::from).collect()),
            Item::Object(object) => Tree::Object(fields(object)),
        }
    }
}

pub fn fields(object: Container) -> Fields {
    object.pairs().map(|(key, item)| (key.to_owned(), Tree::from(item))).collect()
}

/// A key of an object, or the number of an array's element.
pub fn child<'a>(of: Item<'a>, key: &str) -> Option<Item<'a>> {
    match of {
        Item::Object(object) => object.get(key),
        Item::Array(array) => key.parse().ok().and_then(|at| array.element(at)),
        _ => None,
    }
}

/// A decimal that is written as a number or as text: every digit of it, or nothing. The library's own reading of an
/// exponent rounds.
pub fn decimal(text: &str) -> Option<Decimal> {
    // The library passes underscores by.
    if text.contains('_') {
        return None;
    }
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

impl Tree {
    /// The figure that it is, or why it is none.
    pub fn figure(&self, name: &str) -> Result<Decimal, String> {
        match self {
            Tree::Figure(figure) => Ok(*figure),
            Tree::Long(text) | Tree::Text(text) => decimal(text.trim()).ok_or_else(|| no_decimal(name, text)),
            _ => Err(format!("has a {name} that is no number")),
        }
    }

    /// As JSON text.
    pub fn write(&self, to: &mut String) {
        match self {
            Tree::Null => to.push_str("null"),
            Tree::Bool(value) => to.push_str(if *value { "true" } else { "false" }),
            Tree::Figure(figure) => write!(to, "{figure}").expect("a string takes what is written"),
            Tree::Long(text) => to.push_str(text),
            Tree::Text(text) => quote(text, to),
            Tree::Array(items) => {
                to.push('[');
                for (at, item) in items.iter().enumerate() {
                    to.push_str(if at == 0 { "" } else { "," });
                    item.write(to);
                }
                to.push(']');
            }
            Tree::Object(fields) => write_object(fields, to),
        }
    }
}

pub fn no_decimal(name: &str, text: &str) -> String {
    format!("has the {name} {text:.40}, which is no decimal of up to 28 digits")
}

pub fn write_object(fields: &Fields, to: &mut String) {
    to.push('{');
    for (at, (key, value)) in fields.iter().enumerate() {
        to.push_str(if at == 0 { "" } else { "," });
        quote(key, to);
        to.push(':');
        value.write(to);
    }
    to.push('}');
}

fn quote(text: &str, to: &mut String) {
    to.push_str(&serde_json::to_string(text).expect("a text is JSON"));
}

/// A figure that is being changed: a whole number of units of 10^-scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amount {
    pub units: i128,
    pub scale: u32,
}

impl From<Decimal> for Amount {
    fn from(value: Decimal) -> Self {
        Amount { units: value.mantissa(), scale: value.scale() }
    }
}

impl Amount {
    /// With more digits than a decimal holds it is none.
    pub fn decimal(self) -> Option<Decimal> {
        Decimal::try_from_i128_with_scale(self.units, self.scale).ok()
    }

    pub fn plus(self, other: Amount) -> Option<Amount> {
        if self.scale == other.scale {
            let units = self.units + other.units;
            if units.unsigned_abs() >> 96 == 0 {
                return Some(Amount { units, ..self });
            }
        }
        exact_sum(self.decimal()?, other.decimal()?).map(Amount::from)
    }
}

impl std::ops::Neg for Amount {
    type Output = Amount;

    fn neg(self) -> Amount {
        Amount { units: -self.units, ..self }
    }
}

/// The exact sum; nothing where it has more digits than a decimal holds. The library's own addition drops decimals that
/// it has no room for.
fn exact_sum(a: Decimal, b: Decimal) -> Option<Decimal> {
    at_scale(a, b).or_else(|| at_scale(a.normalize(), b.normalize()))
}

fn at_scale(a: Decimal, b: Decimal) -> Option<Decimal> {
    if a.scale() == b.scale() {
        return Decimal::try_from_i128_with_scale(a.mantissa() + b.mantissa(), a.scale()).ok();
    }
    let scale = a.scale().max(b.scale());
    let raised = |value: Decimal| value.mantissa().checked_mul(10i128.pow(scale - value.scale()));
    let sum = raised(a)?.checked_add(raised(b)?)?;
    Decimal::try_from_i128_with_scale(sum, scale).ok()
}

/// From JSON text, for the tests of what is folded.
#[cfg(test)]
impl FromStr for Tree {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        fn of(value: serde_json::Value) -> Tree {
            use serde_json::Value;
            match value {
                Value::Null => Tree::Null,
                Value::Bool(value) => Tree::Bool(value),
                Value::Number(number) => {
                    let text = number.to_string();
                    Decimal::from_str_exact(&text).map_or(Tree::Long(text), Tree::Figure)
                }
                Value::String(text) => Tree::Text(text),
                Value::Array(items) => Tree::Array(items.into_iter().map(of).collect()),
                Value::Object(map) => Tree::Object(map.into_iter().map(|(k, v)| (k, of(v))).collect()),
            }
        }
        serde_json::from_str(text).map(of).map_err(|error| error.to_string())
    }
}
