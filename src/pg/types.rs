//! SQL types that pgrx does not carry over as the contract spells them.

use super::jsonb::Container;
use super::memory;
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::nullable::Nullable;
use pgrx::{FromDatum, IntoDatum, pg_sys};

/// Makes a type with [`FromDatum`] and [`IntoDatum`] usable as argument and result of a SQL function.
macro_rules! sql_type {
    ($type:ty, $sql:literal) => {
        pgrx::impl_sql_translatable!($type, $sql);

        // SAFETY: delegates to FromDatum, which handles NULL.
        unsafe impl<'fcx> ArgAbi<'fcx> for $type {
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // SAFETY: the caller's contract; every argument of this type is declared Option.
                unsafe { arg.unbox_arg_using_from_datum().expect("declared as Option, so never null here") }
            }

            unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
                // SAFETY: the caller's contract.
                unsafe { arg.unbox_arg_using_from_datum().into() }
            }
        }

        // SAFETY: the datum comes from IntoDatum, allocated in the function's result context.
        unsafe impl BoxRet for $type {
            unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
                match self.into_datum() {
                    // SAFETY: as above.
                    Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
                    None => fcinfo.return_null(),
                }
            }
        }
    };
}
pub(crate) use sql_type;

/// Refuses an argument of which a copy of Rust's would take more memory than there is.
///
/// # Safety
/// The datum is of a type of variable length, compressed or not.
unsafe fn ask_for(datum: pg_sys::Datum, bytes_per_byte: usize) {
    // SAFETY: the caller's promise.
    let bytes = unsafe { pg_sys::toast_raw_datum_size(datum) };
    if let Err(error) = memory::need(bytes, bytes_per_byte) {
        // The arguments before this one are the wrapper's, which drops them as this unwinds.
        let report = error.report();
        let code = pgrx::PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY;
        pg_sys::panic::ErrorReport::new(code, report.message, "ask_for")
            .set_detail(report.detail.unwrap_or_default())
            .set_hint(report.hint.unwrap_or_default())
            .report(pgrx::PgLogLevel::ERROR);
    }
}

/// `text`, which may be longer than there is memory for two of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text(text.to_owned())
    }
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// An array that a call brings, each element of which may be null.
///
/// Its length is checked once it is here, and to make it takes memory of Rust's: so that is asked for first.
pub struct Many<T>(pub Vec<Option<T>>);

/// Bytes of ours and of the server's own copies for each byte of an array; short numbers and texts take the most.
const BYTES_PER_BYTE: usize = 16;

impl<T> FromDatum for Many<T>
where
    Vec<Option<T>>: FromDatum,
{
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, oid: pg_sys::Oid) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: an array, compressed or not.
        unsafe { ask_for(datum, BYTES_PER_BYTE) };
        // SAFETY: the caller's contract.
        unsafe { Vec::<Option<T>>::from_polymorphic_datum(datum, false, oid) }.map(Many)
    }
}

impl<T: IntoDatum> IntoDatum for Many<T> {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        self.0.into_datum()
    }

    fn type_oid() -> pg_sys::Oid {
        Vec::<T>::type_oid()
    }
}
sql_type!(Many<pgrx::Uuid>, "uuid[]");
sql_type!(Many<super::Numeric>, "numeric[]");
sql_type!(Many<String>, "TEXT[]");
sql_type!(Many<bool>, "bool[]");

/// `char(3)`: a currency code, without its padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BpChar(pub String);

/// `varchar(50)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Varchar(pub String);

macro_rules! text_like {
    ($type:ident, $oid:expr, $read:expr) => {
        impl FromDatum for $type {
            unsafe fn from_polymorphic_datum(
                datum: pg_sys::Datum,
                is_null: bool,
                oid: pg_sys::Oid,
            ) -> Option<Self> {
                let read: fn(String) -> String = $read;
                if is_null {
                    return None;
                }
                // SAFETY: bpchar and varchar have the layout of text.
                unsafe { ask_for(datum, 1) };
                // SAFETY: as above.
                unsafe { String::from_polymorphic_datum(datum, is_null, oid) }.map(|t| $type(read(t)))
            }
        }

        impl IntoDatum for $type {
            fn into_datum(self) -> Option<pg_sys::Datum> {
                self.0.into_datum()
            }

            fn type_oid() -> pg_sys::Oid {
                $oid
            }
        }
    };
}
text_like!(BpChar, pg_sys::BPCHAROID, |t| t.trim_end_matches(' ').to_owned());
text_like!(Text, pg_sys::TEXTOID, |t| t);
text_like!(Varchar, pg_sys::VARCHAROID, |t| t);
sql_type!(BpChar, "char(3)");
sql_type!(Text, "TEXT");
sql_type!(Varchar, "varchar(50)");

/// A timestamptz in microseconds since 2000-01-01 00:00 UTC; the infinities are the ends of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl FromDatum for Time {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        (!is_null).then(|| Time(datum.value() as i64))
    }
}

impl IntoDatum for Time {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(pg_sys::Datum::from(self.0))
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TIMESTAMPTZOID
    }
}
sql_type!(Time, "timestamptz");

/// A date in days since 2000-01-01; the infinities are the ends of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i32);

impl FromDatum for Day {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        (!is_null).then(|| Day(datum.value() as i32))
    }
}

impl IntoDatum for Day {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(pg_sys::Datum::from(self.0))
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::DATEOID
    }
}
sql_type!(Day, "date");

/// A jsonb that is handed on as it came, detoasted and not parsed.
#[derive(Clone, Copy, Debug)]
pub struct JsonDatum(pg_sys::Datum);

const CONTAINER_COUNT: u32 = 0x0FFF_FFFF;
const CONTAINER_IS_OBJECT: u32 = 0x2000_0000;

impl JsonDatum {
    pub fn datum(self) -> pg_sys::Datum {
        self.0
    }

    /// What was copied out of the server's memory, in it again.
    pub fn of_bytes(bytes: JsonBytes) -> Self {
        JsonDatum(bytes.into_datum().expect("a jsonb is not null"))
    }

    /// A copy that outlives what it was read with.
    pub fn to_bytes(self) -> JsonBytes {
        // SAFETY: a jsonb, detoasted when it was read.
        unsafe { JsonBytes::from_datum(self.0, false) }.expect("it is not null")
    }

    /// Bytes of the binary form.
    pub fn size(self) -> usize {
        // SAFETY: detoasted when it was read.
        unsafe { pgrx::varlena::varsize_any(self.0.cast_mut_ptr()) }
    }

    /// As a tree.
    pub fn tree(self) -> serde_json::Value {
        self.container().tree()
    }

    /// Of a tree.
    pub fn of_value(value: &serde_json::Value) -> Self {
        let json = pgrx::JsonB(value.clone());
        JsonDatum(json.into_datum().expect("a tree is not null"))
    }

    /// An object of texts.
    pub fn object(entries: &[(&str, &str)]) -> Self {
        let object = entries.iter().map(|(key, text)| ((*key).to_owned(), (*text).into())).collect();
        let json = pgrx::JsonB(serde_json::Value::Object(object));
        JsonDatum(json.into_datum().expect("an object is not null"))
    }

    /// As `jsonb_out` writes it.
    pub fn to_text(self) -> String {
        // SAFETY: jsonb_out takes one jsonb and answers a C string, which is copied and freed.
        unsafe {
            let text: Option<&std::ffi::CStr> =
                pgrx::direct_function_call(pg_sys::jsonb_out, &[Some(self.0)]);
            let text = text.expect("jsonb_out never answers null");
            let copy = text.to_str().expect("the database is in UTF8").to_owned();
            pg_sys::pfree(text.as_ptr().cast_mut().cast());
            copy
        }
    }

    /// What it has in it, read in place.
    pub fn container(&self) -> Container<'_> {
        // SAFETY: detoasted, so its bytes lie behind a header of four; they live as long as the call.
        unsafe {
            let start = self.0.cast_mut_ptr::<u8>().add(pg_sys::VARHDRSZ);
            Container::of(std::slice::from_raw_parts(start, self.size() - pg_sys::VARHDRSZ))
        }
    }

    /// A part of a jsonb as one of its own, in the current memory context.
    pub fn of(container: Container) -> Self {
        let bytes = container.bytes();
        // SAFETY: as many bytes as are allocated.
        unsafe {
            let length = bytes.len() + pg_sys::VARHDRSZ;
            let target = pg_sys::palloc(length).cast::<pg_sys::varlena>();
            pgrx::varlena::set_varsize_4b(target, length as i32);
            let start = target.cast::<u8>().add(pg_sys::VARHDRSZ);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len());
            JsonDatum(pg_sys::Datum::from(target))
        }
    }

    fn container_header(self) -> u32 {
        // SAFETY: detoasted, with a four-byte header, so the container's header word follows it.
        unsafe { self.0.cast_mut_ptr::<u32>().add(1).read_unaligned() }
    }

    pub fn is_object(self) -> bool {
        self.container_header() & CONTAINER_IS_OBJECT != 0
    }

    pub fn is_empty(self) -> bool {
        self.container_header() & CONTAINER_COUNT == 0
    }
}

impl FromDatum for JsonDatum {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        // SAFETY: the function's declaration makes this a jsonb; the copy lives as long as the call.
        (!is_null).then(|| unsafe {
            JsonDatum(pg_sys::Datum::from(pg_sys::pg_detoast_datum(datum.cast_mut_ptr())))
        })
    }
}

impl IntoDatum for JsonDatum {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.0)
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}
sql_type!(JsonDatum, "jsonb");

/// The place of a row in its table.
#[derive(Clone, Copy, Debug)]
pub struct Tid(pg_sys::ItemPointerData);

impl FromDatum for Tid {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        // SAFETY: a tid, by the statement's text; it is copied.
        (!is_null).then(|| Tid(unsafe { *datum.cast_mut_ptr::<pg_sys::ItemPointerData>() }))
    }
}

impl IntoDatum for Tid {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        // SAFETY: as many bytes as a tid has are allocated.
        unsafe {
            let target = pg_sys::palloc(size_of::<pg_sys::ItemPointerData>());
            target.cast::<pg_sys::ItemPointerData>().write(self.0);
            Some(pg_sys::Datum::from(target))
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TIDOID
    }
}

/// A jsonb copied out of the server's memory, to outlive the SPI session that read it.
#[derive(Clone, Debug)]
pub struct JsonBytes(Box<[u8]>);

impl FromDatum for JsonBytes {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        // SAFETY: a varlena, by the statement's text; its whole length is copied.
        (!is_null).then(|| unsafe {
            let plain = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
            let length = pgrx::varlena::varsize_any(plain);
            JsonBytes(std::slice::from_raw_parts(plain.cast::<u8>(), length).into())
        })
    }
}

impl IntoDatum for JsonBytes {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        // SAFETY: as many bytes as are allocated.
        unsafe {
            let target = pg_sys::palloc(self.0.len()).cast::<u8>();
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), target, self.0.len());
            Some(pg_sys::Datum::from(target))
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}
sql_type!(JsonBytes, "jsonb");

/// A value of one of the extension's enums, handed on as the server numbers it.
macro_rules! enum_value {
    ($type:ident, $sql:literal) => {
        #[derive(Clone, Copy, Debug)]
        pub struct $type(pg_sys::Oid);

        impl FromDatum for $type {
            unsafe fn from_polymorphic_datum(
                datum: pg_sys::Datum,
                is_null: bool,
                oid: pg_sys::Oid,
            ) -> Option<Self> {
                // SAFETY: an enum's datum is the oid of its label.
                unsafe { pg_sys::Oid::from_polymorphic_datum(datum, is_null, oid) }.map($type)
            }
        }

        impl IntoDatum for $type {
            fn into_datum(self) -> Option<pg_sys::Datum> {
                self.0.into_datum()
            }

            fn type_oid() -> pg_sys::Oid {
                pg_sys::ANYENUMOID
            }
        }
        sql_type!($type, $sql);
    };
}
enum_value!(TxnType, "txn_processing.txn_type");
enum_value!(TxnStatus, "txn_processing.txn_status");
