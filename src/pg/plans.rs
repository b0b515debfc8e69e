//! Planner settings that are in force for a while: they are backend-local, and put back on errors too.

use pgrx::pg_sys;
use std::cell::Cell;

/// Some planner settings and what they are to be.
#[derive(Clone, Copy)]
struct Settings<const N: usize>([(*mut bool, bool); N]);

impl<const N: usize> Settings<N> {
    /// Puts these in the place of those that are in force, which it answers.
    fn put(self) -> Self {
        // SAFETY: each is one of the server's own variables; a backend has one thread.
        Settings(self.0.map(|(setting, value)| unsafe { (setting, setting.replace(value)) }))
    }
}

/// While it lives, plans go by indexes: our reads want few rows of tables that may be large, and a plan kept from
/// the time when a table was small must not scan it all later.
pub struct IndexPlans {
    found: Settings<4>,
    /// Whether they are those of the caller.
    is_outermost: bool,
}

thread_local! {
    static OF_CALLER: Cell<Option<Settings<4>>> = const { Cell::new(None) };
}

impl IndexPlans {
    pub(super) fn prefer() -> Self {
        let wanted = [
            (&raw mut pg_sys::enable_seqscan, false),
            (&raw mut pg_sys::enable_hashjoin, false),
            (&raw mut pg_sys::enable_mergejoin, false),
            (&raw mut pg_sys::jit_enabled, false),
        ];
        let found = Settings(wanted).put();
        let is_outermost = OF_CALLER.get().is_none();
        if is_outermost {
            OF_CALLER.set(Some(found));
        }
        IndexPlans { found, is_outermost }
    }
}

impl Drop for IndexPlans {
    fn drop(&mut self) {
        self.found.put();
        if self.is_outermost {
            OF_CALLER.set(None);
        }
    }
}

/// While it lives, plans are made as the caller wants them: for functions that are not ours.
pub struct CallersPlans {
    of_caller: Option<Settings<4>>,
    found: Option<Settings<4>>,
}

impl CallersPlans {
    pub fn restore() -> Self {
        let of_caller = OF_CALLER.take();
        CallersPlans { of_caller, found: of_caller.map(Settings::put) }
    }
}

impl Drop for CallersPlans {
    fn drop(&mut self) {
        self.found.map(Settings::put);
        OF_CALLER.set(self.of_caller);
    }
}

/// While it lives, a statement that wants the first rows of an order takes them from an index that has that order, and
/// does not read and sort all: for a queue, which may be short when its plan is made and long when it is used.
pub struct OrderedPlans(Settings<2>);

impl OrderedPlans {
    pub fn prefer() -> Self {
        let wanted = [(&raw mut pg_sys::enable_sort, false), (&raw mut pg_sys::enable_bitmapscan, false)];
        OrderedPlans(Settings(wanted).put())
    }
}

impl Drop for OrderedPlans {
    fn drop(&mut self) {
        self.0.put();
    }
}

/// While it lives, a statement that compares two large sets hashes one of them: to look each row up would go through all
/// of the other, where no index leads to it.
pub struct HashedPlans(Settings<2>);

impl HashedPlans {
    pub fn prefer() -> Self {
        let wanted = [(&raw mut pg_sys::enable_hashjoin, true), (&raw mut pg_sys::enable_nestloop, false)];
        HashedPlans(Settings(wanted).put())
    }
}

impl Drop for HashedPlans {
    fn drop(&mut self) {
        self.0.put();
    }
}

/// While it lives, nothing is compiled: statements over the catalogs look dear to the planner, and are over before the
/// compiler would be.
pub struct CatalogPlans(Settings<1>);

impl CatalogPlans {
    pub fn prefer() -> Self {
        CatalogPlans(Settings([(&raw mut pg_sys::jit_enabled, false)]).put())
    }
}

impl Drop for CatalogPlans {
    fn drop(&mut self) {
        self.0.put();
    }
}
