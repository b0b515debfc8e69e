//! The codec of `numeric` against one by way of text, built as the server builds the digits.

use crate::input::Input;
use crate::pg::digits::{Unrepresentable, decode, encode};
use rust_decimal::Decimal;

const SHORT: u16 = 0x8000;
const MAX_DECIMALS: usize = 28;

pub fn numeric(data: &[u8]) {
    let mut input = Input::new(data);
    match input.up_to(2) {
        0 => any_payload(input.rest()),
        1 => written_by_the_server(&mut input),
        _ => there_and_back(input.decimal()),
    }
}

/// No payload as long as its header says makes it panic, and what is read can be written.
fn any_payload(bytes: &[u8]) {
    let even = &bytes[..bytes.len() & !1];
    let Some(header) = even.first_chunk().map(|word| u16::from_ne_bytes(*word)) else { return };
    let is_long = header & SHORT == 0;
    if is_long && even.len() < 4 {
        return;
    }
    if let Ok(value) = decode(even) {
        there_and_back(value);
    }
}

/// The digits of a number as a person writes them down.
struct Written {
    negative: bool,
    whole: Vec<u8>,
    decimals: Vec<u8>,
}

fn written_by_the_server(input: &mut Input) {
    let shape = input.byte();
    let (whole, decimals) = (usize::from(input.up_to(40)), usize::from(input.up_to(70)));
    // Runs of zeros are where digits are left out.
    let mask = input.byte() | 1;
    let mut digit = |at: usize| if mask >> (at % 8) & 1 == 1 { input.up_to(9) } else { 0 };
    let written = Written {
        negative: shape & 1 == 1,
        whole: (0..whole).map(&mut digit).collect(),
        decimals: (0..decimals).map(&mut digit).collect(),
    };
    for is_short in [true, false] {
        if let Some(payload) = written.payload(is_short) {
            written.check(decode(&payload));
        }
    }
}

impl Written {
    /// Groups of four digits around the point, without zero groups at either end, and the weight of the first.
    fn groups(&self) -> (Vec<u16>, i32) {
        let mut digits = vec![0; (4 - self.whole.len() % 4) % 4];
        digits.extend(&self.whole);
        let mut weight = (digits.len() / 4) as i32 - 1;
        digits.extend(&self.decimals);
        digits.resize(digits.len().next_multiple_of(4), 0);
        let group = |four: &[u8]| four.iter().fold(0, |sum, digit| sum * 10 + u16::from(*digit));
        let mut groups: Vec<u16> = digits.chunks(4).map(group).collect();
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let leading = groups.iter().take_while(|group| **group == 0).count();
        groups.drain(..leading);
        weight -= leading as i32;
        if groups.is_empty() { (groups, 0) } else { (groups, weight) }
    }

    /// As make_result lays it out; nothing where the short header cannot hold it.
    fn payload(&self, is_short: bool) -> Option<Vec<u8>> {
        let (groups, weight) = self.groups();
        let (dscale, negative) = (self.decimals.len() as u16, self.negative && !groups.is_empty());
        let mut words = if is_short {
            if dscale > 63 || !(-64..=63).contains(&weight) {
                return None;
            }
            vec![SHORT | u16::from(negative) << 13 | dscale << 7 | (weight as u16 & 0x7F)]
        } else {
            vec![u16::from(negative) << 14 | dscale, weight as u16]
        };
        words.extend(groups);
        Some(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
    }

    /// What 96 bits and 28 decimals hold must be read, with the decimals shown as far as they fit; nothing else.
    fn check(&self, read: Result<Decimal, Unrepresentable>) {
        let zeros = self.decimals.iter().rev().take_while(|digit| **digit == 0).count();
        let scale = self.decimals.len() - zeros;
        let mut digits = self.whole.iter().chain(&self.decimals[..scale]).copied();
        let mantissa = digits.try_fold(0u128, |sum, digit| sum.checked_mul(10)?.checked_add(digit.into()));
        let held =
            mantissa.filter(|mantissa| mantissa >> 96 == 0 && (scale <= MAX_DECIMALS || *mantissa == 0));
        let Some(mantissa) = held else {
            assert_eq!(read, Err(Unrepresentable::TooManyDigits), "{}", self.text());
            return;
        };
        let value = read.unwrap_or_else(|why| panic!("{why:?}: {}", self.text()));
        if mantissa == 0 {
            assert!(value.is_zero() && value.is_sign_positive(), "{value} for {}", self.text());
            return;
        }
        let signed = if self.negative { -(mantissa as i128) } else { mantissa as i128 };
        assert_eq!(value, Decimal::from_i128_with_scale(signed, scale as u32), "{}", self.text());
        let shown = value.scale() as usize;
        let next_fits = value.mantissa().unsigned_abs().checked_mul(10).is_some_and(|wider| wider >> 96 == 0);
        let is_full = shown == self.decimals.len().min(MAX_DECIMALS) || !next_fits;
        assert!(shown <= self.decimals.len() && is_full, "{value} for {}", self.text());
    }

    fn text(&self) -> String {
        let text = |digits: &[u8]| digits.iter().map(|digit| char::from(b'0' + digit)).collect::<String>();
        format!("{}{}.{}", if self.negative { "-" } else { "" }, text(&self.whole), text(&self.decimals))
    }
}

/// What is written is what the server would have written, and is read as it was, to the last decimal.
fn there_and_back(value: Decimal) {
    let encoded = encode(value);
    let payload: Vec<u8> =
        encoded.words[..encoded.count].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let text = value.abs().to_string();
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let digits = |text: &str| text.bytes().map(|digit| digit - b'0').collect();
    let written =
        Written { negative: value.is_sign_negative(), whole: digits(whole), decimals: digits(decimals) };
    assert_eq!(Some(&payload), written.payload(true).as_ref(), "{value}");
    let read = decode(&payload).unwrap_or_else(|why| panic!("{why:?}: {value}"));
    assert_eq!((read, read.scale()), (value, value.scale()));
}
