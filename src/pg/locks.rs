//! Locks that are of no row: a table's, and those of keys that the extension makes up. All end with the transaction.

use super::ereport::catch;
use super::raw;
use crate::error::Error;
use pgrx::pg_sys;
use std::ffi::CStr;

/// How a lock is taken. Writers do not hinder each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Of one among many writers (ROW EXCLUSIVE).
    Writer,
    /// Keeps writers out, not others of its kind (SHARE).
    NoWriters,
    /// Keeps everybody out (SHARE ROW EXCLUSIVE).
    Alone,
}

impl Mode {
    fn number(self) -> i32 {
        let number = match self {
            Mode::Writer => pg_sys::RowExclusiveLock,
            Mode::NoWriters => pg_sys::ShareLock,
            Mode::Alone => pg_sys::ShareRowExclusiveLock,
        };
        number as i32
    }
}

/// Locks a table of the extension.
pub fn lock_table([schema, name]: [&'static CStr; 2], mode: Mode) -> Result<(), Error> {
    // SAFETY: a missing schema or table raises. To wait for the lock may be cancelled.
    let locked = unsafe {
        catch(|| {
            let schema = raw::get_namespace_oid(schema.as_ptr(), false);
            raw::LockRelationOid(raw::get_relname_relid(name.as_ptr(), schema), mode.number());
        })
    };
    locked.map_err(Error::Server)
}

/// Advisory locks of SQL have the classes 1 and 2: no application can take, or wait for, those of this one.
const KEY_CLASS: u16 = 0x4E42;
pub(super) const ADVISORY: u8 = 2;

/// Locks a key within this database.
pub fn lock_key(key: u64, mode: Mode) -> Result<(), Error> {
    // SAFETY: the tag lives as long as the call. To wait for the lock may be cancelled.
    let locked = unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.into(),
            locktag_field2: (key >> 32) as u32,
            locktag_field3: key as u32,
            locktag_field4: KEY_CLASS,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: ADVISORY,
        };
        catch(|| {
            raw::LockAcquire(&tag, mode.number(), false, false);
        })
    };
    locked.map_err(Error::Server)
}

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
