//! The fuzzer's bytes as values. What is missing at the end is zero, so that every string of bytes is an input.

use num_bigint::BigInt;
use rust_decimal::Decimal;

pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Input(data)
    }

    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// From 0 to `most`.
    pub fn up_to(&mut self, most: u8) -> u8 {
        self.byte() % (most + 1)
    }

    pub fn i32(&mut self) -> i32 {
        i32::from_le_bytes(self.bytes())
    }

    pub fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.bytes())
    }

    /// Any decimal: of as many bytes as the first one says, so that small ones are as likely as large ones.
    pub fn decimal(&mut self) -> Decimal {
        let shape = self.byte();
        let mut mantissa = [0u8; 12];
        let size = usize::from(shape & 0x0F).min(mantissa.len());
        mantissa[..size].fill_with(|| self.byte());
        let part = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| mantissa[at + byte]));
        Decimal::from_parts(part(0), part(4), part(8), shape & 0x80 != 0, u32::from(self.up_to(28)))
    }

    /// One that a caller is likely to give: up to 18 digits and as many decimals as asked for.
    pub fn figure(&mut self, decimals: u32) -> Decimal {
        let size = usize::from(self.up_to(8));
        let mut bytes = [0u8; 8];
        bytes[..size].fill_with(|| self.byte());
        Decimal::new(i64::from_le_bytes(bytes) % 1_000_000_000_000_000_000, decimals)
    }

    /// All that is left, as text.
    pub fn text(self) -> String {
        String::from_utf8_lossy(self.0).into_owned()
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// The value in units of 10^-decimals, which must hold all its places.
pub fn units(value: Decimal, decimals: u32) -> BigInt {
    let value = value.normalize();
    let places = decimals.checked_sub(value.scale()).expect("asked for with enough decimals");
    BigInt::from(value.mantissa()) * BigInt::from(10).pow(places)
}

/// The nearest whole number to a fraction with a denominator above zero, an even one where two are as near: by the
/// definition, from both neighbours.
pub fn nearest(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    let zero = BigInt::from(0);
    let mut floor = numerator / denominator;
    if &floor * denominator > *numerator {
        floor -= 1;
    }
    let (below, above) = (numerator - &floor * denominator, (&floor + 1) * denominator - numerator);
    let is_even = &floor % 2 == zero;
    if below < above || (below == above && is_even) { floor } else { floor + 1 }
}
