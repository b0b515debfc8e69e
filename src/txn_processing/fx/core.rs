//! Rates, and what an amount comes to at one: no server, no clock, no randomness.
//!
//! Products are exact: an amount has up to 22 digits and a rate up to 12, so 128 bits hold them in full.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::txn_processing::core::MAX_AMOUNT;
use rust_decimal::Decimal;

/// Significant digits of a rate.
const RATE_DIGITS: u32 = 12;
const RATE_CEILING: i128 = 10i128.pow(RATE_DIGITS);
/// 10^-12 and 10^12: then 1 / rate is a rate as well, and no product has more than 28 decimals.
const MIN_RATE: Decimal = Decimal::from_parts(1, 0, 0, false, RATE_DIGITS);
const MAX_RATE: Decimal = Decimal::from_parts(3_567_587_328, 232, 0, false, 0);
const BASIS_POINTS: i64 = 10_000;

/// What an amount comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// With exactly as many decimals as its currency has.
    pub quote_amount: Decimal,
    /// The exact product less `quote_amount`: at most half of a minor unit, of either sign.
    pub residue: Decimal,
}

/// A rate that can be stored and used, without trailing zeros.
pub fn checked_rate(rate: Decimal) -> Result<Decimal, Error> {
    let refuse = |why: String| Err(Error::FxRate { why });
    if rate <= Decimal::ZERO {
        return refuse(format!("The rate is {rate}; it must be above zero."));
    }
    let rate = rate.normalize();
    if rate.mantissa() >= RATE_CEILING && significant(rate.mantissa()) >= RATE_CEILING {
        return refuse(format!("The rate {rate} has more than {RATE_DIGITS} significant digits."));
    }
    if !(MIN_RATE..=MAX_RATE).contains(&rate) {
        return refuse(format!("The rate is {rate}; rates are from {MIN_RATE} to {MAX_RATE}."));
    }
    Ok(rate)
}

/// The mantissa without the zeros that it ends in.
fn significant(mut mantissa: i128) -> i128 {
    while mantissa != 0 && mantissa % 10 == 0 {
        mantissa /= 10;
    }
    mantissa
}

/// `numerator / denominator`, both above zero, rounded half to even; and what is left: numerator less the quotient
/// times the denominator.
fn divided(numerator: i128, denominator: i128) -> (i128, i128) {
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    // Not `2 * rest`, which may pass 128 bits.
    let up = match rest.cmp(&(denominator - rest)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => quotient % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    if up { (quotient + 1, rest - denominator) } else { (quotient, rest) }
}

/// `1 / rate`, rounded half to even to as many digits as a rate has.
pub fn inverse(rate: Decimal) -> Decimal {
    let rate = rate.normalize();
    let (mantissa, scale) = (rate.mantissa(), rate.scale());
    // 1 / (mantissa * 10^-scale): so many further places give all its digits.
    let mut places = 0;
    while 10i128.pow(scale + places) < mantissa.saturating_mul(RATE_CEILING / 10) {
        places += 1;
    }
    let (quotient, _) = divided(10i128.pow(scale + places), mantissa);
    Decimal::from_i128_with_scale(quotient, places).normalize()
}

/// What `amount`, which its currency can hold, comes to at `rate` in a currency of `exponent` decimals.
pub fn exchange(amount: Decimal, rate: Decimal, exponent: u32, quote: &str) -> Result<Exchange, Error> {
    let refuse = |why: String| Error::InvalidAmount { why };
    let too_large = || refuse(format!("{amount} at {rate} comes to more than {MAX_AMOUNT} {quote}."));
    let (amount, rate) = (amount.normalize(), rate.normalize());
    let product = amount.mantissa().checked_mul(rate.mantissa()).ok_or_else(too_large)?;
    let scale = amount.scale() + rate.scale();
    let (units, rest) = if scale > exponent {
        divided(product, 10i128.checked_pow(scale - exponent).ok_or_else(too_large)?)
    } else {
        (product.checked_mul(10i128.pow(exponent - scale)).ok_or_else(too_large)?, 0)
    };
    let most = MAX_AMOUNT.mantissa() * 10i128.pow(exponent);
    if units > most {
        return Err(too_large());
    }
    if units == 0 {
        return Err(refuse(format!(
            "{amount} at {rate} is less than half of the smallest amount of {quote}."
        )));
    }
    let residue = Decimal::try_from_i128_with_scale(rest, scale).map_err(|_| too_large())?;
    Ok(Exchange {
        quote_amount: Decimal::from_i128_with_scale(units, exponent),
        residue: residue.normalize(),
    })
}

/// Whether the caller's rate is no further from the stored one than `tolerance_bp`, in hundredths of a percent of the
/// stored one.
pub fn is_near(given: Decimal, stored: Decimal, tolerance_bp: i32) -> bool {
    let scaled = |figure: Decimal, by: i64| figure.checked_mul(Decimal::from(by));
    let away = (given - stored).abs();
    match (scaled(away, BASIS_POINTS), scaled(stored, i64::from(tolerance_bp))) {
        (Some(away), Some(allowed)) => away <= allowed,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dec(text: &str) -> Decimal {
        Decimal::from_str_exact(text).expect("a figure")
    }

    /// `left * right` and `sum` as exact integers of 28 + 4 decimals would be too wide: compared digit by digit.
    fn product_is(left: Decimal, right: Decimal, posted: Decimal, residue: Decimal) -> bool {
        let scale = left.scale() + right.scale();
        let product = left.mantissa() * right.mantissa();
        let at = |figure: Decimal, scale: u32| figure.mantissa() * 10i128.pow(scale - figure.scale());
        let common = scale.max(posted.scale()).max(residue.scale());
        product.checked_mul(10i128.pow(common - scale)) == Some(at(posted, common) + at(residue, common))
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        for (amount, rate, exponent, posted, residue) in [
            ("1", "0.125", 2, "0.12", "0.005"),
            ("1", "0.135", 2, "0.14", "-0.005"),
            ("1.01", "1.5", 2, "1.52", "-0.005"),
            ("3", "0.5", 0, "2", "-0.5"),
            ("5", "0.5", 0, "2", "0.5"),
            ("100", "150.25", 0, "15025", "0"),
            ("100", "0.30745", 3, "30.745", "0"),
        ] {
            let found = exchange(dec(amount), dec(rate), exponent, "XYZ").expect("it fits");
            assert_eq!(
                (found.quote_amount, found.residue),
                (dec(posted), dec(residue)),
                "{amount} at {rate}"
            );
            assert_eq!(found.quote_amount.scale(), exponent);
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_not_cut() {
        for (amount, rate) in [
            ("1000000000000000000", "1.00000000001"),
            ("1000000000000000000", "1000000000000"),
            ("0.01", "0.000000000001"),
            ("1", "0.005"),
        ] {
            let refused = exchange(dec(amount), dec(rate), 2, "XYZ");
            assert!(matches!(refused, Err(Error::InvalidAmount { .. })), "{amount} at {rate}: {refused:?}");
        }
        assert!(exchange(MAX_AMOUNT, Decimal::ONE, 4, "XYZ").is_ok());
        assert!(exchange(MAX_AMOUNT, dec("0.000000000000999999999999"), 0, "XYZ").is_ok());
        for rate in ["0", "-1", "0.0000000000001", "1000000000001", "1.234567890123", "1234567890123"] {
            assert!(matches!(checked_rate(dec(rate)), Err(Error::FxRate { .. })), "{rate}");
        }
        for rate in ["0.000000000001", "1000000000000", "1.23456789012", "0.00000000000123456789012", "1.10"]
        {
            assert_eq!(checked_rate(dec(rate)).expect(rate), dec(rate));
        }
        assert_eq!((MIN_RATE, MAX_RATE), (dec("0.000000000001"), dec("1000000000000")));
    }

    #[test]
    fn inverses_have_twelve_digits() {
        for (rate, other) in [
            ("3", "0.333333333333"),
            ("0.9", "1.11111111111"),
            ("150", "0.00666666666667"),
            ("2", "0.5"),
            ("0.000000000001", "1000000000000"),
            ("1000000000000", "0.000000000001"),
        ] {
            assert_eq!(inverse(dec(rate)), dec(other), "1 / {rate}");
        }
    }

    #[test]
    fn tolerance_is_of_the_stored_rate() {
        assert!(is_near(dec("1.1"), dec("1"), 1_000) && is_near(dec("0.9"), dec("1"), 1_000));
        assert!(!is_near(dec("1.1001"), dec("1"), 1_000) && !is_near(dec("0.8999"), dec("1"), 1_000));
        assert!(is_near(dec("1"), dec("1"), 0) && !is_near(dec("1.00000000001"), dec("1"), 0));
        assert!(!is_near(MAX_RATE, MIN_RATE, 1_000_000) && is_near(MIN_RATE, MAX_RATE, 10_000));
    }

    fn rates() -> impl Strategy<Value = Decimal> {
        (1i64..1_000_000_000_000, 0u32..=23)
            .prop_map(|(digits, scale)| Decimal::new(digits, scale))
            .prop_filter("within the bounds", |rate| (MIN_RATE..=MAX_RATE).contains(rate))
    }

    fn amounts() -> impl Strategy<Value = Decimal> {
        (1i128..=10i128.pow(22), 0u32..=4)
            .prop_map(|(digits, scale)| Decimal::from_i128_with_scale(digits, scale))
            .prop_filter("an amount", |amount| *amount <= MAX_AMOUNT)
    }

    fn small_amounts() -> impl Strategy<Value = Decimal> {
        (1i64..1_000_000_000, 0u32..=4).prop_map(|(digits, scale)| Decimal::new(digits, scale))
    }

    proptest! {
        #[test]
        fn posted_and_residue_are_the_exact_product(
            amount in prop_oneof![amounts(), small_amounts()],
            rate in rates(),
            exponent in prop::sample::select(vec![0u32, 2, 3, 4]),
        ) {
            match exchange(amount, rate, exponent, "XYZ") {
                Ok(Exchange { quote_amount, residue }) => {
                    prop_assert!(product_is(amount.normalize(), rate.normalize(), quote_amount, residue));
                    prop_assert_eq!(quote_amount.scale(), exponent);
                    prop_assert!(quote_amount > Decimal::ZERO && quote_amount <= MAX_AMOUNT);
                    // Never more than half of a minor unit off.
                    prop_assert!(residue.abs() <= Decimal::new(5, exponent + 1));
                }
                Err(Error::InvalidAmount { .. }) => {
                    let half = Decimal::new(5, exponent + 1);
                    let about = amount.checked_mul(rate);
                    prop_assert!(about.is_none_or(|product| product >= MAX_AMOUNT - Decimal::ONE || product <= half));
                }
                Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
        }

        #[test]
        fn an_inverse_is_a_rate_and_nearly_leads_back(rate in rates()) {
            let other = inverse(rate);
            prop_assert_eq!(checked_rate(other).expect("a rate"), other);
            // Twelve digits are off by half of the last at the most: 5 parts in 10^12, and what the check itself rounds.
            let back = (rate * other - Decimal::ONE).abs();
            let rounding = if rate < Decimal::new(1, 6) { dec("0.000001") } else { dec("0.00000000001") };
            prop_assert!(back <= rounding, "{} * {} is off by {}", rate, other, back);
        }

        #[test]
        fn no_figure_panics(mantissa in any::<i64>(), scale in 0u32..=28, other in any::<i64>(), exponent in 0u32..=4) {
            if let Ok(rate) = checked_rate(Decimal::new(mantissa, scale)) {
                let _ = exchange(Decimal::new(other.saturating_abs().max(1), scale.min(4)), rate, exponent, "XYZ");
                let _ = inverse(rate);
                let _ = is_near(rate, MAX_RATE, 1_000_000);
            }
        }
    }
}
