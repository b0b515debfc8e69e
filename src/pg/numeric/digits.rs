//! The one codec between SQL `numeric` and [`Decimal`]: bytes in, bytes out, no server.
//!
//! The server stores a numeric as base-10,000 digits behind a short or a long header (src/backend/utils/adt/numeric.c).
//! Reading the digits costs tens of nanoseconds, a way through text about a microsecond.
#![forbid(unsafe_code)]

use rust_decimal::Decimal;

const BASE: u128 = 10_000;
const DIGITS_PER_GROUP: i32 = 4;
const SIGN_MASK: u16 = 0xC000;
const SPECIAL: u16 = 0xC000;
const EXTENDED_MASK: u16 = 0xF000;
const NAN: u16 = 0xC000;
const LONG_NEGATIVE: u16 = 0x4000;
const LONG_DSCALE: u16 = 0x3FFF;
const SHORT: u16 = 0x8000;
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_DSCALE_SHIFT: u16 = 7;
const SHORT_DSCALE: u16 = 0x3F;
const SHORT_WEIGHT_SIGN: u16 = 0x40;
const SHORT_WEIGHT: u16 = 0x3F;
/// What 96 bits hold in full; the server's numeric goes far beyond.
const MAX_DECIMAL_DIGITS: u32 = 28;

/// Why a numeric has no [`Decimal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrepresentable {
    NotANumber,
    Infinite,
    /// More than 28 significant digits, zeros at their end not counted.
    TooManyDigits,
}

/// Decodes the payload of a numeric: what follows the varlena header.
pub fn decode(payload: &[u8]) -> Result<Decimal, Unrepresentable> {
    let word = |at: usize| u16::from_ne_bytes([payload[at], payload[at + 1]]);
    let header = word(0);
    if header & SIGN_MASK == SPECIAL {
        return Err(if header & EXTENDED_MASK == NAN {
            Unrepresentable::NotANumber
        } else {
            Unrepresentable::Infinite
        });
    }
    let (negative, dscale, weight, first_digit) = if header & SIGN_MASK == SHORT {
        let low = (header & SHORT_WEIGHT) as i32;
        let weight = if header & SHORT_WEIGHT_SIGN != 0 { low - 64 } else { low };
        let dscale = (header >> SHORT_DSCALE_SHIFT) & SHORT_DSCALE;
        (header & SHORT_NEGATIVE != 0, dscale as u32, weight, 2)
    } else {
        let weight = i16::from_ne_bytes([payload[2], payload[3]]) as i32;
        (header & LONG_NEGATIVE != 0, (header & LONG_DSCALE) as u32, weight, 4)
    };

    let digits = &payload[first_digit..];
    let count = (digits.len() / 2) as i32;
    let mut mantissa: u128 = 0;
    for at in 0..count as usize {
        let digit = u16::from_ne_bytes([digits[2 * at], digits[2 * at + 1]]) as u128;
        mantissa = mantissa
            .checked_mul(BASE)
            .and_then(|m| m.checked_add(digit))
            .ok_or(Unrepresentable::TooManyDigits)?;
    }
    // Digit i stands for 10,000^(weight - i): the last one fixes the natural scale.
    let mut scale = (count - 1 - weight) * DIGITS_PER_GROUP;
    if mantissa == 0 {
        return Ok(Decimal::new(0, dscale.min(MAX_DECIMAL_DIGITS)));
    }
    // Zeros past what is shown, and shown ones that 96 bits have no room for: 1e25 + 0.5 shown to six places.
    while scale > 0 && (scale > dscale as i32 || mantissa >> 96 != 0) && mantissa.is_multiple_of(10) {
        mantissa /= 10;
        scale -= 1;
    }
    let wanted = dscale.min(MAX_DECIMAL_DIGITS) as i32;
    while scale < wanted {
        match mantissa.checked_mul(10).filter(|m| *m >> 96 == 0) {
            Some(wider) => {
                mantissa = wider;
                scale += 1;
            }
            // The value is held in full already unless it needs these places to the left of the point.
            None if scale >= 0 => break,
            None => return Err(Unrepresentable::TooManyDigits),
        }
    }
    let mantissa = i128::try_from(mantissa).map_err(|_| Unrepresentable::TooManyDigits)?;
    let signed = if negative { -mantissa } else { mantissa };
    u32::try_from(scale)
        .ok()
        .and_then(|scale| Decimal::try_from_i128_with_scale(signed, scale).ok())
        .ok_or(Unrepresentable::TooManyDigits)
}

/// Header and at most eight base-10,000 digits, after the four bytes of varlena length.
pub struct Encoded {
    pub words: [u16; 12],
    pub count: usize,
}

pub fn encode(value: Decimal) -> Encoded {
    let scale = value.scale();
    let pad = (4 - scale % 4) % 4;
    let mut rest = value.mantissa().unsigned_abs() * 10u128.pow(pad);
    let fraction_groups = ((scale + pad) / 4) as i32;
    let mut reversed = [0u16; 11];
    let mut groups = 0usize;
    while rest > 0 {
        reversed[groups] = (rest % BASE) as u16;
        rest /= BASE;
        groups += 1;
    }
    let weight = if groups == 0 { 0 } else { groups as i32 - fraction_groups - 1 };
    let trailing_zeros = reversed[..groups].iter().take_while(|d| **d == 0).count();
    let negative = value.is_sign_negative() && groups > 0;

    let mut words = [0u16; 12];
    words[0] = SHORT
        | if negative { SHORT_NEGATIVE } else { 0 }
        | ((scale as u16) << SHORT_DSCALE_SHIFT)
        | if weight < 0 { SHORT_WEIGHT_SIGN } else { 0 }
        | (weight as u16 & SHORT_WEIGHT);
    let mut count = 1;
    for digit in reversed[trailing_zeros..groups].iter().rev() {
        words[count] = *digit;
        count += 1;
    }
    Encoded { words, count }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn through_bytes(value: Decimal) -> Decimal {
        let encoded = encode(value);
        let bytes: Vec<u8> = encoded.words[..encoded.count].iter().flat_map(|w| w.to_ne_bytes()).collect();
        decode(&bytes).expect("an encoded Decimal decodes")
    }

    /// The fuzzer's: a value of 26 digits was refused because of the zeros it was shown with.
    #[test]
    fn zeros_that_are_shown_do_not_make_a_value_too_long() {
        let groups: [u16; 8] = [9, 9999, 9999, 9999, 9999, 9999, 9999, 5000];
        let header = SHORT | 6 << SHORT_DSCALE_SHIFT | 6;
        let bytes: Vec<u8> = std::iter::once(header).chain(groups).flat_map(u16::to_ne_bytes).collect();
        let value = decode(&bytes).expect("26 digits fit");
        assert_eq!(value, Decimal::from_i128_with_scale(99_999_999_999_999_999_999_999_995, 1));
    }

    proptest! {
        #[test]
        fn every_decimal_survives(mantissa in -79_228_162_514_264_337_593_543_950_335i128..=79_228_162_514_264_337_593_543_950_335, scale in 0u32..=28) {
            let value = Decimal::from_i128_with_scale(mantissa, scale);
            let back = through_bytes(value);
            prop_assert_eq!(back, value);
            prop_assert_eq!(back.scale(), value.scale());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 4..40)) {
            let even = &bytes[..bytes.len() & !1];
            let _ = decode(even);
        }
    }
}
