//! Types and values of a statement's parameters.

use super::numeric;
use super::types::{JsonDatum, Tid, Time};
use pgrx::{IntoDatum, pg_sys};
use rust_decimal::Decimal;
use std::fmt::{Display, Write};
use uuid::Uuid;

#[derive(Clone, Copy)]
pub enum Type {
    Uuid,
    Numeric,
    Text,
    BigInt,
    Int,
    Timestamp,
    Jsonb,
    Date,
    Tid,
    UuidArray,
    TextArray,
    IntArray,
    BigIntArray,
    TimestampArray,
    JsonbArray,
}

impl Type {
    pub(super) fn oid(self) -> pg_sys::Oid {
        match self {
            Type::Uuid => pg_sys::UUIDOID,
            Type::Numeric => pg_sys::NUMERICOID,
            Type::Text => pg_sys::TEXTOID,
            Type::BigInt => pg_sys::INT8OID,
            Type::Int => pg_sys::INT4OID,
            Type::Timestamp => pg_sys::TIMESTAMPTZOID,
            Type::Jsonb => pg_sys::JSONBOID,
            Type::Date => pg_sys::DATEOID,
            Type::Tid => pg_sys::TIDOID,
            Type::UuidArray => pg_sys::UUIDARRAYOID,
            Type::TextArray => pg_sys::TEXTARRAYOID,
            Type::IntArray => pg_sys::INT4ARRAYOID,
            Type::BigIntArray => pg_sys::INT8ARRAYOID,
            Type::TimestampArray => pg_sys::TIMESTAMPTZARRAYOID,
            Type::JsonbArray => pg_sys::JSONBARRAYOID,
        }
    }
}

/// One parameter's value; `None` is NULL.
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    Uuid(Option<Uuid>),
    Numeric(Option<Decimal>),
    Text(Option<&'a str>),
    BigInt(Option<i64>),
    Int(Option<i32>),
    Timestamp(Option<i64>),
    Jsonb(Option<JsonDatum>),
    Date(Option<i32>),
    Tid(Tid),
    UuidArray(&'a [Uuid]),
    /// The same with nulls in it.
    UuidOptions(&'a [Option<Uuid>]),
    TextArray(&'a [Option<&'a str>]),
    /// The same, or NULL.
    Texts(Option<&'a [String]>),
    IntArray(&'a [i32]),
    BigIntArray(&'a [Option<i64>]),
    TimestampArray(&'a [Option<i64>]),
    JsonbArray(&'a [Option<JsonDatum>]),
}

impl Arg<'_> {
    pub fn datum(self) -> Option<pg_sys::Datum> {
        match self {
            Arg::Uuid(value) => value.and_then(|u| pgrx::Uuid::from_bytes(*u.as_bytes()).into_datum()),
            Arg::Numeric(value) => value.map(numeric::to_datum),
            Arg::Text(value) => value.and_then(IntoDatum::into_datum),
            Arg::BigInt(value) | Arg::Timestamp(value) => value.map(pg_sys::Datum::from),
            Arg::Int(value) | Arg::Date(value) => value.map(pg_sys::Datum::from),
            Arg::Tid(tid) => tid.into_datum(),
            Arg::UuidArray(ids) => {
                ids.iter().map(|id| pgrx::Uuid::from_bytes(*id.as_bytes())).collect::<Vec<_>>().into_datum()
            }
            Arg::UuidOptions(ids) => {
                let pgrx_uuid = |id: &Uuid| pgrx::Uuid::from_bytes(*id.as_bytes());
                ids.iter().map(|id| id.as_ref().map(pgrx_uuid)).collect::<Vec<_>>().into_datum()
            }
            Arg::TextArray(texts) => texts.to_vec().into_datum(),
            Arg::Texts(texts) => texts.and_then(|texts| texts.to_vec().into_datum()),
            Arg::BigIntArray(numbers) => numbers.to_vec().into_datum(),
            Arg::IntArray(numbers) => numbers.to_vec().into_datum(),
            Arg::TimestampArray(times) => {
                times.iter().map(|time| time.map(Time)).collect::<Vec<_>>().into_datum()
            }
            Arg::Jsonb(value) => value.map(JsonDatum::datum),
            Arg::JsonbArray(values) => values.to_vec().into_datum(),
        }
    }

    pub(super) fn fits(self, declared: Type) -> bool {
        matches!(
            (self, declared),
            (Arg::Uuid(_), Type::Uuid)
                | (Arg::Numeric(_), Type::Numeric)
                | (Arg::Text(_), Type::Text)
                | (Arg::BigInt(_), Type::BigInt)
                | (Arg::Int(_), Type::Int)
                | (Arg::Timestamp(_), Type::Timestamp)
                | (Arg::Jsonb(_), Type::Jsonb)
                | (Arg::Date(_), Type::Date)
                | (Arg::Tid(_), Type::Tid)
                | (Arg::UuidArray(_) | Arg::UuidOptions(_), Type::UuidArray)
                | (Arg::TextArray(_) | Arg::Texts(_), Type::TextArray)
                | (Arg::BigIntArray(_), Type::BigIntArray)
                | (Arg::IntArray(_), Type::IntArray)
                | (Arg::TimestampArray(_), Type::TimestampArray)
                | (Arg::JsonbArray(_), Type::JsonbArray)
        )
    }
}

/// An array as the server reads it from text, of values that need no quotes.
pub fn array<T: Display>(values: impl Iterator<Item = T>) -> String {
    let mut text = String::from("{");
    for value in values {
        if text.len() > 1 {
            text.push(',');
        }
        write!(text, "{value}").expect("a string takes what is written");
    }
    text.push('}');
    text
}
