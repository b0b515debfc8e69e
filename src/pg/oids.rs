//! SQL types whose values are oids of things in the catalog.

use super::types::sql_type;
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::nullable::Nullable;
use pgrx::{FromDatum, IntoDatum, pg_sys};

macro_rules! oid_value {
    ($type:ident, $sql:literal, $oid:expr) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $type(pub pg_sys::Oid);

        impl FromDatum for $type {
            unsafe fn from_polymorphic_datum(
                datum: pg_sys::Datum,
                is_null: bool,
                oid: pg_sys::Oid,
            ) -> Option<Self> {
                // SAFETY: by the function's declaration, or the statement's text.
                unsafe { pg_sys::Oid::from_polymorphic_datum(datum, is_null, oid) }.map($type)
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
        sql_type!($type, $sql);
    };
}
oid_value!(RegProc, "regproc", pg_sys::REGPROCOID);
oid_value!(RegClass, "regclass", pg_sys::REGCLASSOID);
