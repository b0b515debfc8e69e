//! Fees, interest and exchange: what passes the checks is worked out again in whole numbers of any size.

use crate::input::{Input, nearest, units};
use crate::txn_processing::MAX_AMOUNT;
use crate::txn_processing::calendar::civil;
use crate::txn_processing::fees::{Formula, Method, Tier};
use crate::txn_processing::fx::{checked_rate, exchange, inverse, is_near};
use crate::txn_processing::interest::core::{DIVISOR, DayCount, Rule, to_post};
use crate::well_worded;
use num_bigint::BigInt;
use rust_decimal::Decimal;

const MONEY_DECIMALS: u32 = 4;
const PERCENT_DECIMALS: u32 = 6;

pub fn percentages(data: &[u8]) {
    let mut input = Input::new(data);
    let exponent = u32::from(input.up_to(4));
    match input.up_to(2) {
        0 => fee(&mut input, exponent),
        1 => interest(&mut input, exponent),
        _ => foreign_exchange(&mut input, exponent),
    }
}

/// As the caller gave it, mostly within the bounds, and now and then any decimal at all.
fn given(input: &mut Input, decimals: u32) -> Decimal {
    match input.up_to(7) {
        0 => input.decimal(),
        _ => input.figure(decimals).abs(),
    }
}

fn percent(input: &mut Input) -> Decimal {
    match input.up_to(7) {
        0 => input.decimal(),
        _ => Decimal::new(i64::from(input.i32() % 100_000_001), PERCENT_DECIMALS),
    }
}

fn power(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

/// Part times percentage, added up tier by tier from the top.
fn marginal(
    figure: Decimal,
    base: Decimal,
    tiers: impl DoubleEndedIterator<Item = (Decimal, Decimal)>,
) -> BigInt {
    let mut above = units(figure, MONEY_DECIMALS);
    let mut sum = BigInt::from(0);
    for (from, percent) in tiers.rev() {
        let from = units(from, MONEY_DECIMALS);
        if above > from {
            sum += (&above - &from) * units(percent, PERCENT_DECIMALS);
            above = from;
        }
    }
    sum + above * units(base, PERCENT_DECIMALS)
}

fn fee(input: &mut Input, exponent: u32) {
    let method = [Method::Fixed, Method::Percentage, Method::Tiered][usize::from(input.up_to(2))];
    let optional = |input: &mut Input| (input.byte() & 1 == 1).then(|| given(input, exponent));
    let tiers = input.up_to(22);
    let formula = Formula {
        method,
        fixed: given(input, exponent),
        percent: percent(input),
        floor: optional(input),
        cap: optional(input),
        tiers: (0..tiers)
            .map(|_| Tier {
                from: given(input, exponent),
                percent: percent(input),
                fixed: given(input, exponent),
            })
            .collect(),
    };
    let formula = match formula.checked(exponent) {
        Err(error) => return well_worded(&error),
        Ok(formula) => formula,
    };
    let figure = input.figure(exponent).abs();
    let tiers = formula.tiers.iter().map(|tier| (tier.from, tier.percent));
    let product = marginal(figure, formula.percent, tiers);
    let share = nearest(&product, &power(MONEY_DECIMALS + PERCENT_DECIMALS + 2 - exponent));
    let reached = formula.tiers.iter().filter(|tier| figure > tier.from);
    let mut wanted = share + units(formula.fixed, exponent);
    wanted += reached.map(|tier| units(tier.fixed, exponent)).sum::<BigInt>();
    wanted = formula.floor.map_or(wanted.clone(), |floor| wanted.max(units(floor, exponent)));
    wanted = formula.cap.map_or(wanted.clone(), |cap| wanted.min(units(cap, exponent)));
    match formula.fee(figure, exponent) {
        Some(fee) => {
            assert_eq!((units(fee, exponent), fee.scale()), (wanted, exponent), "{formula:?} on {figure}")
        }
        None => assert!(wanted > units(MAX_AMOUNT, exponent), "{formula:?} on {figure}: {wanted}"),
    }
}

fn interest(input: &mut Input, exponent: u32) {
    let day_count = [DayCount::Act365, DayCount::Act360, DayCount::Thirty360][usize::from(input.up_to(2))];
    let tiers = input.up_to(22);
    let rule = Rule {
        day_count,
        percent: percent(input),
        debit_percent: percent(input),
        tiers: (0..tiers).map(|_| (given(input, exponent), percent(input))).collect(),
    };
    let rule = match rule.checked(exponent) {
        Err(error) => return well_worded(&error),
        Ok(rule) => rule,
    };
    let (balance, date) = (input.figure(exponent), input.i32() % 1_000_000);
    let year = if balance < Decimal::ZERO {
        units(balance, MONEY_DECIMALS) * units(rule.debit_percent, PERCENT_DECIMALS)
    } else {
        marginal(balance, rule.percent, rule.tiers.iter().copied())
    };
    let weight = if day_count == DayCount::Act365 { 72 } else { 73 };
    let wanted = year * weight * days(day_count, date);
    let earned = rule.units(balance, date).expect("a day's interest on an amount fits");
    assert_eq!(BigInt::from(earned), wanted, "{rule:?} on {balance} at {date}");
    posted(earned, exponent);
    posted(i128::from_le_bytes(input.bytes()) >> 8, exponent);
}

/// By the dates' numbers of the day and of the one after it, the 31st being the 30th.
fn days(day_count: DayCount, date: i32) -> i64 {
    if day_count != DayCount::Thirty360 {
        return 1;
    }
    let [from, to] = [date, date + 1].map(|date| {
        let (year, month, day) = civil(date);
        (year * 12 + month) * 30 + day.min(30)
    });
    to - from
}

fn posted(accrued: i128, exponent: u32) {
    let unit = BigInt::from(DIVISOR) / power(exponent);
    match to_post(accrued, exponent) {
        Some((amount, rest)) => {
            assert_eq!(units(amount, exponent), nearest(&accrued.into(), &unit), "{accrued}");
            assert_eq!(units(amount, exponent) * unit + rest, accrued.into());
        }
        None => assert!(nearest(&accrued.into(), &unit).bits() > 96, "{accrued}"),
    }
}

fn foreign_exchange(input: &mut Input, exponent: u32) {
    let rate = match input.up_to(1) {
        0 => input.decimal(),
        _ => {
            let digits = input.i64().unsigned_abs() % 1_000_000_000_000;
            Decimal::from_i128_with_scale(digits.into(), u32::from(input.up_to(12)))
        }
    };
    let rate = match checked_rate(rate) {
        Err(error) => return well_worded(&error),
        Ok(rate) => rate,
    };
    let back = inverse(rate);
    assert!(checked_rate(back).is_ok_and(|checked| checked == back), "1 / {rate} = {back}");
    assert!(is_near(rate, rate, 0));
    let decimals = u32::from(input.up_to(4));
    let amount = input.figure(decimals).abs();
    if amount.is_zero() {
        return;
    }
    let scale = MONEY_DECIMALS + rate.scale();
    let product = units(amount, MONEY_DECIMALS) * units(rate, rate.scale());
    let minor = power(scale) / power(exponent);
    let wanted = nearest(&product, &minor);
    match exchange(amount, rate, exponent, "EUR") {
        Ok(made) => {
            assert_eq!((units(made.quote_amount, exponent), made.quote_amount.scale()), (wanted, exponent));
            let whole = units(made.quote_amount, scale) + units(made.residue, scale);
            assert_eq!(whole, product, "{amount} at {rate}");
        }
        Err(error) => {
            well_worded(&error);
            let in_range = wanted > BigInt::from(0) && wanted <= units(MAX_AMOUNT, exponent);
            assert!(!in_range, "{amount} at {rate} is {wanted} minor units: {error:?}");
        }
    }
}
