//! SQL `numeric` as [`Decimal`]: the datum around the digits, which [`digits`] reads and writes.

mod digits;

pub use digits::{Digits, Unrepresentable};

use digits::{decode, encode};
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::nullable::Nullable;
use pgrx::{FromDatum, IntoDatum, pg_sys};
use rust_decimal::Decimal;

/// A `numeric` argument or result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numeric(pub Result<Decimal, Unrepresentable>);

impl From<Decimal> for Numeric {
    fn from(value: Decimal) -> Self {
        Numeric(Ok(value))
    }
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

/// A numeric with its length before it, for tests.
#[cfg(test)]
pub fn varlena(value: Decimal) -> Vec<u8> {
    let encoded = encode(value);
    let length = (4 + 2 * encoded.count) as u32;
    let header = if cfg!(target_endian = "big") { length } else { length << 2 };
    let words = encoded.words[..encoded.count].iter().flat_map(|word| word.to_ne_bytes());
    header.to_ne_bytes().into_iter().chain(words).collect()
}
