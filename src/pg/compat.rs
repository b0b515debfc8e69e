//! Differences between the server's major versions: the only `cfg(feature = "pgNN")` of the crate.

use pgrx::pg_sys;

/// While it lives, names resolve in `pg_catalog` only, so nothing that a caller put into their own
/// `search_path` can stand in for an operator or function that our statements mean.
pub struct PinnedSearchPath {
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    nest_level: i32,
}

impl PinnedSearchPath {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    pub fn pin() -> Self {
        let mut path = pg_sys::OverrideSearchPath {
            schemas: std::ptr::null_mut(),
            addCatalog: true,
            addTemp: false,
            ..Default::default()
        };
        // SAFETY: the server copies the struct; (sub)transaction abort pops what is left on the stack.
        unsafe { pg_sys::PushOverrideSearchPath(&mut path) };
        Self {}
    }

    #[cfg(any(feature = "pg17", feature = "pg18"))]
    pub fn pin() -> Self {
        // SAFETY: a new nest level is closed in `drop`, or by the transaction's abort.
        unsafe {
            let nest_level = pg_sys::NewGUCNestLevel();
            pg_sys::RestrictSearchPath();
            Self { nest_level }
        }
    }
}

impl Drop for PinnedSearchPath {
    fn drop(&mut self) {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        // SAFETY: pushed by `pin` in the same subtransaction.
        unsafe {
            pg_sys::PopOverrideSearchPath()
        };
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        // SAFETY: the level was opened by `pin`.
        unsafe {
            pg_sys::AtEOXact_GUC(false, self.nest_level)
        };
    }
}
