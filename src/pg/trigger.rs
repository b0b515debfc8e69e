//! Trigger functions that refuse, with a code, to be called as plain functions.

use crate::error::Error;
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::pg_sys;
use pgrx::trigger_support::PgTrigger;

/// What a statement's trigger returns: nothing, and not null.
pub struct Triggered;

pgrx::impl_sql_translatable!(Triggered, "trigger");

// SAFETY: a null pointer that is not null to SQL is what the server wants of triggers without a row.
unsafe impl BoxRet for Triggered {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        // SAFETY: as above.
        unsafe { fcinfo.return_raw_datum(pg_sys::Datum::from(0_usize)) }
    }
}

/// What fired the trigger whose function was called with `fcinfo`. The bindings' own attribute for trigger functions
/// panics where nothing did.
pub fn fired<'a>(fcinfo: pg_sys::FunctionCallInfo, function: &'static str) -> Result<PgTrigger<'a>, Error> {
    // SAFETY: the server called the function with it, so it is valid for as long as the call; whether there is a
    // trigger behind it is looked at first.
    unsafe { PgTrigger::from_fcinfo(&*fcinfo) }.map_err(|_| Error::NotATrigger { function })
}
