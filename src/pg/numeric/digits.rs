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

/// A number within a jsonb: the payload of a numeric, which is neither infinite nor NaN there.
#[derive(Clone, Copy)]
pub struct Digits<'a>(&'a [u8]);

impl<'a> Digits<'a> {
    /// What a varlena with a long header says of itself is a numeric.
    pub fn of_varlena(bytes: &'a [u8]) -> Self {
        let header = u32::from_ne_bytes(bytes[..4].try_into().expect("four bytes"));
        let length = if cfg!(target_endian = "big") { header & 0x3FFF_FFFF } else { header >> 2 };
        Digits(&bytes[4..length as usize])
    }

    pub fn decimal(self) -> Result<Decimal, Unrepresentable> {
        decode(self.0)
    }

    /// Its digits as a whole number and its decimals, where they are few.
    pub fn short(self) -> Option<(i64, u32)> {
        let Header { negative, shown, weight, first_digit } = self.header();
        let digits = &self.0[first_digit..];
        let scale = ((digits.len() / 2) as i32 - 1 - weight) * DIGITS_PER_GROUP;
        let (mantissa, scale) = decode_short(digits, scale, shown)?;
        Some((if negative { -mantissa } else { mantissa }, scale))
    }

    /// The same where it shows as many decimals as the number does.
    pub fn whole(self) -> Option<Decimal> {
        self.decimal().ok().filter(|value| value.scale() == self.header().shown)
    }

    fn header(self) -> Header {
        Header::of(self.0)
    }

    /// As the server writes it, however long.
    pub fn text(self) -> String {
        let Header { negative, shown, weight, first_digit } = self.header();
        let digits = &self.0[first_digit..];
        let group = |at: i32| {
            let pair = usize::try_from(at).ok().and_then(|at| digits.get(2 * at..2 * at + 2));
            pair.map_or(0, |pair| u16::from_ne_bytes([pair[0], pair[1]]))
        };
        let mut text = String::from(if negative && !digits.is_empty() { "-" } else { "" });
        text += &if weight < 0 { 0 } else { group(0) }.to_string();
        (1..=weight).for_each(|at| text += &format!("{:04}", group(at)));
        if shown > 0 {
            let groups = shown.div_ceil(4) as i32;
            let places: String = (1..=groups).map(|at| format!("{:04}", group(weight + at))).collect();
            text.push('.');
            text += &places[..shown as usize];
        }
        text
    }
}

/// What a numeric says before its digits.
struct Header {
    negative: bool,
    shown: u32,
    weight: i32,
    first_digit: usize,
}

impl Header {
    fn of(payload: &[u8]) -> Header {
        let word = |at: usize| u16::from_ne_bytes([payload[at], payload[at + 1]]);
        let header = word(0);
        if header & SIGN_MASK == SHORT {
            let low = (header & SHORT_WEIGHT) as i32;
            let weight = if header & SHORT_WEIGHT_SIGN != 0 { low - 64 } else { low };
            let shown = u32::from((header >> SHORT_DSCALE_SHIFT) & SHORT_DSCALE);
            Header { negative: header & SHORT_NEGATIVE != 0, shown, weight, first_digit: 2 }
        } else {
            let weight = i32::from(word(2) as i16);
            let shown = u32::from(header & LONG_DSCALE);
            Header { negative: header & LONG_NEGATIVE != 0, shown, weight, first_digit: 4 }
        }
    }
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
    let Header { negative, shown: dscale, weight, first_digit } = Header::of(payload);

    let digits = &payload[first_digit..];
    let count = (digits.len() / 2) as i32;
    if let Some((mantissa, scale)) = decode_short(digits, (count - 1 - weight) * DIGITS_PER_GROUP, dscale) {
        return Ok(Decimal::new(if negative { -mantissa } else { mantissa }, scale));
    }
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

/// A few digits, as most amounts have: the processor divides 64 bits itself, and 128 only by a function.
fn decode_short(digits: &[u8], mut scale: i32, dscale: u32) -> Option<(i64, u32)> {
    let shown = i32::try_from(dscale.min(MAX_DECIMAL_DIGITS)).ok()?;
    if digits.is_empty() || digits.len() > 8 || !(0..=MAX_DECIMAL_DIGITS as i32).contains(&scale) {
        return None;
    }
    let groups = digits.chunks_exact(2).map(|two| i64::from(u16::from_ne_bytes([two[0], two[1]])));
    let mut mantissa = groups.fold(0i64, |before, group| before * BASE as i64 + group);
    // Places that are not shown are zeros. A division by a constant is a multiplication.
    if scale > shown {
        let (rest, quotient) = match scale - shown {
            1 => (mantissa % 10, mantissa / 10),
            2 => (mantissa % 100, mantissa / 100),
            3 => (mantissa % 1_000, mantissa / 1_000),
            _ => return None,
        };
        if rest != 0 {
            return None;
        }
        (mantissa, scale) = (quotient, shown);
    }
    while scale < shown {
        mantissa = mantissa.checked_mul(10)?;
        scale += 1;
    }
    (mantissa != 0).then_some((mantissa, scale as u32))
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

    #[test]
    fn a_number_is_written_as_the_server_writes_it() {
        let text = |payload: &[u16]| {
            let length = (4 + 2 * payload.len()) as u32;
            let header = if cfg!(target_endian = "big") { length } else { length << 2 };
            let bytes: Vec<u8> = header
                .to_ne_bytes()
                .into_iter()
                .chain(payload.iter().flat_map(|w| w.to_ne_bytes()))
                .collect();
            Digits::of_varlena(&bytes).text()
        };
        let shown = |places: u16| SHORT | places << SHORT_DSCALE_SHIFT;
        assert_eq!(text(&[shown(2)]), "0.00");
        assert_eq!(text(&[shown(2), 12, 3400]), "12.34");
        assert_eq!(text(&[shown(0) | 2, 1]), "100000000");
        assert_eq!(text(&[shown(9) | SHORT_NEGATIVE | SHORT_WEIGHT_SIGN | 62, 12]), "-0.000000120");
        assert_eq!(text(&[LONG_NEGATIVE | 3, 1, 7, 8, 9]), "-70008.000");
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
