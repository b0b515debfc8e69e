//! Amounts as callers give them, and what a request of the queue or an outcome of a dispute makes of them.

use crate::error::Error;
use crate::input::{Input, nearest, units};
use crate::txn_processing::MAX_AMOUNT;
use crate::txn_processing::core::{Kind, amount_of, exact_amount, in_currency};
use crate::txn_processing::disputes::{Outcome, moves};
use crate::txn_processing::exact::{half_even, scaled};
use crate::txn_processing::queue::{Asked, Plan, delay_ms, may_retry};
use crate::well_worded;
use num_bigint::BigInt;
use rust_decimal::Decimal;
use uuid::Uuid;

const KINDS: [Kind; 9] = [
    Kind::Deposit,
    Kind::Withdrawal,
    Kind::Transfer,
    Kind::Payment,
    Kind::Fee,
    Kind::Interest,
    Kind::Refund,
    Kind::Reversal,
    Kind::Adjustment,
];
const OUTCOMES: [Outcome; 4] = [Outcome::Won, Outcome::Lost, Outcome::Partial, Outcome::Withdrawn];

pub fn amounts(data: &[u8]) {
    let mut input = Input::new(data);
    let exponent = u32::from(input.up_to(4));
    let amount = input.decimal();
    bounds(amount);
    decimals(amount, exponent);
    request(&mut input, amount);
    dispute(&mut input, amount, exponent);
    rounding(&mut input, amount);
    let (failures, most) = (input.i32(), input.i32());
    let delay = delay_ms(u64::from(input.i32().unsigned_abs()), failures.max(1), input.i32() as u32);
    assert!(delay <= 300_000 && may_retry(failures, most) == (failures <= most));
}

/// The answer, and whether it was as it had to be.
fn held(answer: Result<Decimal, Error>, wanted: bool) -> Option<Decimal> {
    assert_eq!(answer.is_ok(), wanted, "{answer:?}");
    answer.inspect_err(well_worded).ok()
}

fn bounds(amount: Decimal) {
    let fits = !amount.is_zero() && amount.abs() <= MAX_AMOUNT;
    let read = held(amount_of(amount), fits);
    assert!(read.is_none_or(|read| read == amount), "{amount}");
    held(exact_amount(amount), fits && amount > Decimal::ZERO);
}

fn decimals(amount: Decimal, exponent: u32) {
    let Ok(amount) = amount_of(amount) else { return };
    let fits = amount.normalize().scale() <= exponent;
    if let Some(read) = held(in_currency(amount, exponent, "USD"), fits) {
        assert_eq!((read, read.scale()), (amount, exponent));
    }
}

fn request(input: &mut Input, amount: Decimal) {
    let kind = KINDS[usize::from(input.up_to(8))];
    let given = input.byte();
    let id = |bit: u8| (given >> bit & 1 == 1).then(|| Uuid::from_u128(u128::from(bit) + 1));
    let original = id(2).map(|id| id.to_string());
    let (source, destination) = (id(0), id(1));
    let reason = (given >> 3 & 1 == 1).then_some("why");
    let asked = Asked { kind, source, destination, amount, original: original.as_deref(), reason };
    let plan = match asked.plan() {
        Err(error) => return well_worded(&error),
        Ok(plan) => plan,
    };
    assert_eq!(plan.is_batchable(), matches!(plan, Plan::Transfer { .. } | Plan::WithTheBank { .. }));
    let moved = match plan {
        Plan::Transfer { from, to, amount } => {
            assert_eq!((Some(from), Some(to)), (source, destination));
            amount
        }
        Plan::WithTheBank { account, amount } => {
            assert!([source, destination].contains(&Some(account)));
            amount
        }
        Plan::Refund { original, amount } | Plan::Reversal { original, amount } => {
            assert_eq!(Some(original), id(2));
            amount
        }
        Plan::Adjustment { account, change } => {
            assert!(reason.is_some() && (source.is_some() != destination.is_some()));
            assert_eq!(Some(account), source.or(destination));
            if source.is_some() { -change } else { change }
        }
    };
    assert_eq!(moved, amount);
    let is_raise = kind == Kind::Adjustment && destination.is_some();
    assert!(moved.abs() <= MAX_AMOUNT && (moved > Decimal::ZERO || is_raise && !moved.is_zero()), "{moved}");
}

/// What the customer keeps and what is borne are the disputed amount, whichever way it goes.
fn dispute(input: &mut Input, amount: Decimal, exponent: u32) {
    let disputed = exact_amount(amount).and_then(|amount| in_currency(amount, exponent, "USD"));
    let (outcome, part) = (OUTCOMES[usize::from(input.up_to(3))], input.byte() & 1 == 1);
    let part = part.then(|| input.decimal());
    let Ok(disputed) = disputed else { return };
    let kept = match outcome.kept(disputed, part, "USD") {
        Err(error) => return well_worded(&error),
        Ok(kept) => kept,
    };
    assert!(Decimal::ZERO <= kept && kept <= disputed && kept.scale() == exponent, "{kept} of {disputed}");
    let [given, taken] = [true, false].map(|provisional| moves(disputed, kept, provisional));
    assert_eq!((given.credit, given.claw_back + given.borne), (Decimal::ZERO, disputed));
    assert_eq!((taken.credit, taken.claw_back, taken.borne), (kept, Decimal::ZERO, kept));
}

fn rounding(input: &mut Input, amount: Decimal) {
    let decimals = u32::from(input.up_to(6));
    let Some(numerator) = scaled(amount, decimals) else { return };
    assert_eq!(BigInt::from(numerator), units(amount, decimals));
    let denominator = i128::from(input.i64().unsigned_abs().max(1));
    let (whole, rest) = half_even(numerator, denominator);
    assert_eq!(BigInt::from(whole), nearest(&numerator.into(), &denominator.into()));
    assert_eq!(BigInt::from(whole) * denominator + rest, numerator.into());
}
