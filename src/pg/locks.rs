//! Locks that are of no row: a table's, and those of keys that the extension makes up. All but those that an application
//! takes for its session end with the transaction.

use super::ereport::{catch, forget};
use super::raw;
use super::server::LockPatience;
use super::subtransaction::undoable;
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
const ADVISORY: u8 = 2;

/// Those that applications name; the views that show them know the number.
const NAME_CLASS: u16 = 0x4E43;

fn tag_of(key: u64, class: u16) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        // SAFETY: reads a variable of this process.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.into(),
        locktag_field2: (key >> 32) as u32,
        locktag_field3: key as u32,
        locktag_field4: class,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: ADVISORY,
    }
}

/// Locks a key within this database.
pub fn lock_key(key: u64, mode: Mode) -> Result<(), Error> {
    let tag = tag_of(key, KEY_CLASS);
    // SAFETY: the tag lives as long as the call. To wait for the lock may be cancelled.
    let locked = unsafe {
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

/// Takes the lock of an application's key, for the transaction or for the session; whether that was possible within
/// `wait_ms`, and within what the session allows for any lock.
///
/// A lock of the transaction is the transaction's whatever savepoint it is taken under, so that it can be released
/// anywhere in it: to roll back to the savepoint does not release it.
pub fn lock_named(key: i64, of_session: bool, wait_ms: i32) -> Result<bool, Error> {
    let tag = tag_of(key as u64, NAME_CLASS);
    let mode = pg_sys::ExclusiveLock as i32;
    // SAFETY: the tag lives as long as the call; the owner is put back, on an error by the abort of the subtransaction.
    let take = |only_if_free: bool| unsafe {
        catch(|| {
            let owner = pg_sys::CurrentResourceOwner;
            pg_sys::CurrentResourceOwner = pg_sys::TopTransactionResourceOwner;
            let taken = raw::LockAcquire(&tag, mode, of_session, only_if_free);
            pg_sys::CurrentResourceOwner = owner;
            taken != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
        })
        .map_err(Error::Server)
    };
    if take(true)? {
        return Ok(true);
    }
    if wait_ms <= 0 {
        return Ok(false);
    }
    let waited = undoable(|| {
        let _patience = LockPatience::at_most(wait_ms);
        take(false).map(Some)
    });
    match waited {
        Err(Error::Server(error)) if error.is("55P03") => {
            forget(error);
            Ok(false)
        }
        other => Ok(other?.is_some()),
    }
}

/// Releases it once; false, with a warning of the server's, where the session does not have it.
pub fn unlock_named(key: i64, of_session: bool) -> Result<bool, Error> {
    let tag = tag_of(key as u64, NAME_CLASS);
    // SAFETY: as above; it raises nothing but for damaged memory.
    let released = unsafe {
        catch(|| {
            let owner = pg_sys::CurrentResourceOwner;
            pg_sys::CurrentResourceOwner = pg_sys::TopTransactionResourceOwner;
            let released = raw::LockRelease(&tag, pg_sys::ExclusiveLock as i32, of_session);
            pg_sys::CurrentResourceOwner = owner;
            released
        })
    };
    released.map_err(Error::Server)
}
