//! Exact arithmetic for percentages: whole numbers of a small unit, divided once, at the end.
#![forbid(unsafe_code)]

use rust_decimal::Decimal;

/// The most decimals of a balance or an amount.
pub const MONEY_DECIMALS: u32 = 4;
/// The most decimals of a percentage.
pub const PERCENT_DECIMALS: u32 = 6;

/// `value` in units of 10^-decimals; nothing where it has more decimals than that, or is too large.
pub fn scaled(value: Decimal, decimals: u32) -> Option<i128> {
    let value = value.normalize();
    let missing = decimals.checked_sub(value.scale())?;
    value.mantissa().checked_mul(10i128.pow(missing))
}

/// The nearest whole number to `numerator / denominator`, an even one where two are as near, and what is left of the
/// numerator.
pub fn half_even(numerator: i128, denominator: i128) -> (i128, i128) {
    let (floor, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    let rounds_up = match (rest).cmp(&(denominator - rest)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => floor % 2 != 0,
    };
    if rounds_up { (floor + 1, rest - denominator) } else { (floor, rest) }
}

/// A percentage for each part of a figure: `percent` from zero, each of `bands` from its lower bound upwards.
///
/// The sum over the parts of part times percentage, in units of 10^-(4 + 6). Marginal: a figure just above a bound pays
/// the higher percentage for what is above the bound only.
pub fn by_bands(figure: i128, percent: i128, bands: &[(i128, i128)]) -> Option<i128> {
    let mut sum: i128 = 0;
    let (mut from, mut rate) = (0, percent);
    for (next, next_rate) in bands.iter().take_while(|(next, _)| *next < figure) {
        sum = sum.checked_add((next - from).checked_mul(rate)?)?;
        (from, rate) = (*next, *next_rate);
    }
    sum.checked_add((figure - from).checked_mul(rate)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let cases = [
            (5, 10, 0),
            (15, 10, 2),
            (25, 10, 2),
            (-5, 10, 0),
            (-15, 10, -2),
            (14, 10, 1),
            (16, 10, 2),
            (-16, 10, -2),
        ];
        for (numerator, denominator, nearest) in cases {
            assert_eq!(half_even(numerator, denominator).0, nearest, "{numerator}/{denominator}");
        }
    }

    #[test]
    fn more_decimals_than_fit_are_nothing() {
        assert_eq!(scaled(Decimal::new(125, 2), 4), Some(12_500));
        assert_eq!(scaled(Decimal::new(1_250_000, 6), 4), Some(12_500));
        assert_eq!(scaled(Decimal::new(1, 5), 4), None);
        assert_eq!(scaled(Decimal::new(-1, 4), 4), Some(-1));
    }

    #[test]
    fn bands_are_marginal() {
        // 1 % to 100, 2 % to 1000, 3 % above.
        let bands = [(100, 2), (1_000, 3)];
        for (figure, sum) in [(50, 50), (100, 100), (101, 102), (1_000, 1_900), (1_001, 1_903), (0, 0)] {
            assert_eq!(by_bands(figure, 1, &bands), Some(sum), "{figure}");
        }
    }

    proptest! {
        #[test]
        fn rounding_keeps_what_it_does_not_take(numerator in any::<i64>(), denominator in 1i64..1_000_000_000) {
            let (whole, rest) = half_even(numerator.into(), denominator.into());
            prop_assert_eq!(whole * i128::from(denominator) + rest, numerator.into());
            prop_assert!(2 * rest.abs() <= denominator.into());
        }

        #[test]
        fn bands_are_continuous_and_grow(figure in 1i128..10_000_000, low in 1i128..5_000_000, high in 5_000_001i128..9_000_000) {
            let bands = [(low, 20), (high, 30)];
            let sum = |figure| by_bands(figure, 10, &bands).expect("small figures");
            let step = sum(figure) - sum(figure - 1);
            prop_assert!((10..=30).contains(&step), "one unit more adds one unit's percentage: {}", step);
        }
    }
}
