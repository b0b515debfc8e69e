//! Functions of the users' own that are called by their number, with the rights of whoever is current.

use super::ereport::catch;
use super::raw;
use super::types::JsonDatum;
use crate::error::Error;
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::nullable::Nullable;
use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::ffi::CStr;

/// The name of a function, as `regproc`.
#[derive(Clone, Copy, Debug)]
pub struct FunctionId(pub pg_sys::Oid);

impl FromDatum for FunctionId {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, oid: pg_sys::Oid) -> Option<Self> {
        // SAFETY: a regproc's datum is the number of its function.
        unsafe { pg_sys::Oid::from_polymorphic_datum(datum, is_null, oid) }.map(FunctionId)
    }
}

impl IntoDatum for FunctionId {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        self.0.into_datum()
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::REGPROCOID
    }
}
super::types::sql_type!(FunctionId, "regproc");

/// A whole row, copied out of the server's memory.
pub struct RowBytes(Box<[u8]>);

impl FromDatum for RowBytes {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        // SAFETY: a row as a value, by the statement's text: a plain varlena, whose whole length is copied.
        (!is_null).then(|| unsafe {
            let length = pgrx::varlena::varsize_any(datum.cast_mut_ptr());
            RowBytes(std::slice::from_raw_parts(datum.cast_mut_ptr::<u8>(), length).into())
        })
    }
}

impl IntoDatum for RowBytes {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        // SAFETY: as many bytes as are allocated.
        unsafe {
            let target = pg_sys::palloc(self.0.len()).cast::<u8>();
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), target, self.0.len());
            Some(pg_sys::Datum::from(target))
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::RECORDOID
    }
}

/// `function(state jsonb, event event_store.events) returns jsonb`; null is an answer. Whether the caller may execute it
/// is for whoever calls to ask.
pub fn reduce(function: u32, state: JsonDatum, event: RowBytes) -> Result<Option<JsonDatum>, Error> {
    let event = event.into_datum().expect("a row is not null");
    let state = state.datum();
    // SAFETY: the function takes two arguments of these types, by its signature; the closure only calls the server.
    let answer = unsafe {
        catch(|| {
            let info = raw::palloc0(size_of::<pg_sys::FmgrInfo>()).cast::<pg_sys::FmgrInfo>();
            raw::fmgr_info(pg_sys::Oid::from(function), info);
            let size = size_of::<pg_sys::FunctionCallInfoBaseData>() + 2 * size_of::<pg_sys::NullableDatum>();
            let call = raw::palloc0(size).cast::<pg_sys::FunctionCallInfoBaseData>();
            (*call).flinfo = info;
            (*call).nargs = 2;
            let arguments = (*call).args.as_mut_ptr();
            *arguments = pg_sys::NullableDatum { value: state, isnull: false };
            *arguments.add(1) = pg_sys::NullableDatum { value: event, isnull: false };
            let code = (*info).fn_addr.expect("fmgr_info finds the code or raises");
            let answer = code(call);
            (answer, (*call).isnull)
        })
    };
    let (answer, is_null) = answer.map_err(Error::Server)?;
    // SAFETY: a jsonb, by the function's signature.
    Ok(unsafe { JsonDatum::from_datum(answer, is_null) })
}

impl JsonDatum {
    /// Of its text.
    pub fn of_text(text: &CStr) -> Result<JsonDatum, Error> {
        let argument = pg_sys::Datum::from(text.as_ptr());
        let function: pg_sys::PGFunction = Some(raw::jsonb_in);
        // SAFETY: jsonb_in takes one C string; it refuses what is no JSON, or too large.
        let json = unsafe { catch(|| raw::DirectFunctionCall1Coll(function, pg_sys::InvalidOid, argument)) };
        // SAFETY: what it answers is a jsonb.
        json.map(|json| unsafe { JsonDatum::from_datum(json, false) }.expect("jsonb_in answers no null"))
            .map_err(Error::Server)
    }

    /// A copy of its binary form, without its length.
    pub fn bytes(self) -> Vec<u8> {
        // SAFETY: detoasted when it was read, with a four-byte header.
        unsafe { std::slice::from_raw_parts(self.datum().cast_mut_ptr::<u8>().add(4), self.size() - 4) }
            .to_vec()
    }

    pub fn container<T>(self, read: impl FnOnce(super::jsonb::Container) -> T) -> T {
        // SAFETY: as above; nothing of it outlives the call.
        let bytes =
            unsafe { std::slice::from_raw_parts(self.datum().cast_mut_ptr::<u8>().add(4), self.size() - 4) };
        read(super::jsonb::Container::of(bytes))
    }
}
