//! News that a table's content has changed, for what a backend keeps of it.

use super::ereport::catch;
use super::raw;
use crate::error::Error;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::CStr;

/// A table whose writers announce that they changed it. What was read of it holds until then.
pub struct Watch {
    schema: &'static CStr,
    name: &'static CStr,
    table: Cell<pg_sys::Oid>,
    fresh: Cell<bool>,
    listening: Cell<bool>,
}

// SAFETY: a backend has one thread.
unsafe impl Sync for Watch {}

impl Watch {
    pub const fn new([schema, name]: [&'static CStr; 2]) -> Self {
        Watch {
            schema,
            name,
            table: Cell::new(pg_sys::InvalidOid),
            fresh: Cell::new(false),
            listening: Cell::new(false),
        }
    }

    /// Whether nobody who committed by now has announced a change since [`Watch::begin`].
    pub fn is_fresh(&self) -> Result<bool, Error> {
        // SAFETY: as every statement does when it takes its first lock.
        unsafe { catch(|| raw::AcceptInvalidationMessages()) }.map_err(Error::Server)?;
        Ok(self.fresh.get())
    }

    /// Whether there is such a table: not in a database whose extension has not been updated yet.
    pub fn is_there(&self) -> Result<bool, Error> {
        self.look_up(true)?;
        Ok(self.table.get() != pg_sys::InvalidOid)
    }

    /// Listens from now on: what is read of the table next holds until it is changed.
    pub fn begin(&'static self) -> Result<(), Error> {
        self.find()?;
        if !self.listening.replace(true) {
            let watch = pg_sys::Datum::from(std::ptr::from_ref(self));
            // SAFETY: the callback and the watch live as long as the library, which is never unloaded.
            unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(grow_stale), watch) };
        }
        self.fresh.set(true);
        Ok(())
    }

    /// Takes [`Watch::begin`] back: what was to be read was not.
    pub fn forget(&self) {
        self.fresh.set(false);
    }

    /// Tells every backend once this transaction commits, and this one at once.
    pub fn announce(&self) -> Result<(), Error> {
        self.find()?;
        let table = self.table.get();
        // SAFETY: the table is there: it was just found.
        unsafe { catch(|| raw::CacheInvalidateRelcacheByRelid(table)) }.map_err(Error::Server)?;
        self.fresh.set(false);
        Ok(())
    }

    fn find(&self) -> Result<(), Error> {
        self.look_up(false)
    }

    fn look_up(&self, may_be_missing: bool) -> Result<(), Error> {
        // SAFETY: a missing schema raises, unless it may be missing.
        let found = unsafe {
            catch(|| {
                let schema = raw::get_namespace_oid(self.schema.as_ptr(), may_be_missing);
                raw::get_relname_relid(self.name.as_ptr(), schema)
            })
        };
        self.table.set(found.map_err(Error::Server)?);
        Ok(())
    }
}

/// Called by the server when a relation is said to have changed, or any may have.
///
/// # Safety
/// `watch` is the one that was registered.
unsafe extern "C-unwind" fn grow_stale(watch: pg_sys::Datum, relation: pg_sys::Oid) {
    // SAFETY: the caller's promise.
    let watch = unsafe { &*watch.cast_mut_ptr::<Watch>() };
    if relation == pg_sys::InvalidOid || relation == watch.table.get() {
        watch.fresh.set(false);
    }
}
