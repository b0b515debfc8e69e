//! The one codec between SQL `numeric` and [`Decimal`].
//!
//! The server stores a numeric as base-10,000 digits behind a short or a long header (src/backend/utils/adt/numeric.c).
//! Reading the digits costs tens of nanoseconds, a way through text about a microsecond.

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::nullable::Nullable;
use pgrx::{FromDatum, IntoDatum, pg_sys};
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
    /// More than 28 significant digits.
    TooManyDigits,
}

/// A `numeric` argument or result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numeric(pub Result<Decimal, Unrepresentable>);

impl From<Decimal> for Numeric {
    fn from(value: Decimal) -> Self {
        Numeric(Ok(value))
    }
}

/// Decodes the payload of a numeric: what follows the varlena header.
fn decode(payload: &[u8]) -> Result<Decimal, Unrepresentable> {
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
    while scale > 0 && mantissa.is_multiple_of(10) && scale > dscale as i32 {
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
struct Encoded {
    words: [u16; 12],
    count: usize,
}

fn encode(value: Decimal) -> Encoded {
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

/// Reads a numeric datum.
///
/// # Safety
/// `datum` must be a valid, non-null numeric.
pub unsafe fn from_datum(datum: pg_sys::Datum) -> Result<Decimal, Unrepresentable> {
    // SAFETY: the caller vouches for the datum; detoasting leaves a plain varlena, freed here if it is a copy.
    unsafe {
        let original = datum.cast_mut_ptr::<pg_sys::varlena>();
        let plain = pg_sys::pg_detoast_datum_packed(original);
        let length = pgrx::varlena::varsize_any_exhdr(plain);
        let start = pgrx::varlena::vardata_any(plain).cast::<u8>();
        let result = decode(std::slice::from_raw_parts(start, length));
        if !std::ptr::eq(plain, original) {
            pg_sys::pfree(plain.cast());
        }
        result
    }
}

/// Allocates a numeric in the current memory context.
pub fn to_datum(value: Decimal) -> pg_sys::Datum {
    let encoded = encode(value);
    let size = 4 + encoded.count * 2;
    // SAFETY: `size` bytes are allocated, the first four take the length, the rest the words.
    unsafe {
        let target = pg_sys::palloc(size).cast::<u8>();
        pgrx::varlena::set_varsize_4b(target.cast(), size as i32);
        std::ptr::copy_nonoverlapping(encoded.words.as_ptr().cast::<u8>(), target.add(4), encoded.count * 2);
        pg_sys::Datum::from(target)
    }
}

impl FromDatum for Numeric {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        // SAFETY: the function's declaration makes this argument a numeric.
        (!is_null).then(|| Numeric(unsafe { from_datum(datum) }))
    }
}

impl IntoDatum for Numeric {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        self.0.ok().map(to_datum)
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::NUMERICOID
    }
}

super::types::sql_type!(Numeric, "numeric");

// SAFETY: an element of an array of numerics, which the function's declaration makes it.
unsafe impl pgrx::datum::UnboxDatum for Numeric {
    type As<'src> = Numeric;

    unsafe fn unbox<'src>(datum: pgrx::datum::Datum<'src>) -> Numeric
    where
        Self: 'src,
    {
        // SAFETY: not null by the trait's contract.
        Numeric(unsafe { from_datum(datum.sans_lifetime()) })
    }
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
