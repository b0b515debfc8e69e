//! Functions of the users' own that are called by their number, with the rights of whoever is current.

use super::call::Composite;
use super::ereport::catch;
use super::raw;
use super::types::JsonDatum;
use crate::error::Error;
use pgrx::{FromDatum, pg_sys};
use std::ffi::CStr;

/// `function(state jsonb, event event_store.events) returns jsonb`; null is an answer. Whether the caller may execute it
/// is for whoever calls to ask.
pub fn reduce(function: u32, state: JsonDatum, event: &Composite) -> Result<Option<JsonDatum>, Error> {
    let event = event.datum();
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
}
