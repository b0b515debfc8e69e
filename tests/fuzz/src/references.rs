//! Account numbers with their check digits, generated references, and the words that stand for kinds and states.

use crate::banking::{account_number, account_number_is_valid, status_may_change};
use crate::input::Input;
use crate::txn_processing::account::{Currency, Status};
use crate::txn_processing::calendar::{civil, day_of};
use crate::txn_processing::core::{Kind, generated_reference};
use crate::txn_processing::disputes::Outcome;
use crate::txn_processing::fees::Method;
use crate::txn_processing::interest::core::DayCount;
use crate::txn_processing::limits::Period;
use crate::txn_processing::queue::{Asked, Plan};
use crate::well_worded;
use num_bigint::BigInt;
use rust_decimal::Decimal;
use uuid::Uuid;

pub fn references(data: &[u8]) {
    let mut input = Input::new(data);
    match input.up_to(3) {
        0 => made(input.i64()),
        1 => checked(&input.text()),
        2 => words(&input.text()),
        _ => {
            let (id, is_reversal, at) = (Uuid::from_bytes(input.bytes()), input.byte() & 1 == 1, input.i64());
            reference(id, is_reversal, at);
            original(&input.text());
        }
    }
}

/// Numbers of a sequence are above zero.
fn made(serial: i64) {
    let serial = serial & i64::MAX;
    let number = account_number(serial);
    assert!(account_number_is_valid(&number), "{number}");
    assert_eq!(number[..number.len() - 2].parse(), Ok(serial));
    checked(&number);
}

fn checked(text: &str) {
    let is_number = text.len() >= 14 && text.bytes().all(|byte| byte.is_ascii_digit());
    let holds = is_number && text.parse::<BigInt>().expect("digits") % 97 == BigInt::from(1);
    assert_eq!(account_number_is_valid(text), holds, "{text}");
}

fn words(text: &str) {
    let names = [
        Kind::of(text).map(Kind::name),
        Method::of(text).map(Method::name),
        DayCount::of(text).map(DayCount::name),
        Period::of(text).map(Period::name),
        Outcome::of(text).map(Outcome::name),
        Status::of(text.as_bytes()).map(Status::name),
    ];
    assert!(names.into_iter().flatten().all(|name| name == text), "{text}");
    if let Some(code) = Currency::of(text.as_bytes()) {
        assert_eq!(code.as_str(), text);
    }
    for status in ["active", "dormant", "frozen", "closed"] {
        assert!(!status_may_change(text, status) || Status::of(text.as_bytes()).is_some(), "{text}");
        assert!(!status_may_change(status, text) || Status::of(text.as_bytes()).is_some(), "{text}");
    }
}

fn reference(id: Uuid, is_reversal: bool, at: i64) {
    let text = generated_reference(id, is_reversal, at);
    let (year, month, day) = civil(day_of(at));
    let tail = format!("{year:04}{month:02}{day:02}-{}", id.simple().to_string().to_uppercase());
    assert_eq!(text, format!("{}-{tail}", if is_reversal { "REV" } else { "TXN" }));
}

fn original(text: &str) {
    let asked = Asked {
        kind: Kind::Refund,
        source: None,
        destination: None,
        amount: Decimal::ONE,
        original: Some(text),
        reason: None,
    };
    match asked.plan() {
        Ok(Plan::Refund { original, amount }) => {
            let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
            assert!(
                digits.to_lowercase().ends_with(&original.simple().to_string()) && amount == Decimal::ONE
            );
        }
        Ok(other) => panic!("{other:?}"),
        Err(error) => well_worded(&error),
    }
}
