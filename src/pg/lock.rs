//! Locks on things that are no tables, held to the end of the transaction, which only the extension can take.

use super::ereport::catch;
use super::raw;
use crate::error::Error;
use pgrx::pg_sys;
use std::ffi::CStr;

/// Locks number `number` of what the table lists: shared with others who share it, or alone. News that whoever held it
/// alone has committed are in this backend's caches afterwards.
pub fn lock_numbered([schema, table]: [&CStr; 2], number: i32, alone: bool) -> Result<(), Error> {
    let mode = if alone { pg_sys::AccessExclusiveLock } else { pg_sys::RowExclusiveLock } as i32;
    let number = pg_sys::Oid::from(number as u32);
    // SAFETY: a missing schema or table raises, as does a wait that is given up.
    let locked = unsafe {
        catch(|| {
            let class =
                raw::get_relname_relid(table.as_ptr(), raw::get_namespace_oid(schema.as_ptr(), false));
            raw::LockDatabaseObject(class, number, 0, mode);
        })
    };
    locked.map_err(Error::Server)
}
