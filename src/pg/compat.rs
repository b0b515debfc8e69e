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
        // SAFETY: the level was opened by `pin`. As at a commit: what a user's trigger has set stays set.
        unsafe {
            pg_sys::AtEOXact_GUC(true, self.nest_level)
        };
    }
}

/// Begins an index scan on `keys` equality keys.
///
/// # Safety
/// Both relations are open and locked; the snapshot is active.
pub unsafe fn index_begin(
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::index_beginscan(table, index, snapshot, keys, 0);
        #[cfg(feature = "pg18")]
        return pg_sys::index_beginscan(table, index, snapshot, std::ptr::null_mut(), keys, 0);
    }
}

/// A column's description, counted from 0.
///
/// # Safety
/// The descriptor has that column.
pub unsafe fn attribute(shape: pg_sys::TupleDesc, column: usize) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return (*shape).attrs.as_ptr().add(column);
        #[cfg(feature = "pg18")]
        return pg_sys::TupleDescAttr(shape, column as i32);
    }
}

/// The oid of a table's primary key index.
///
/// # Safety
/// The relation is open.
pub unsafe fn primary_key(table: pg_sys::Relation) -> pg_sys::Oid {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::RelationGetPrimaryKeyIndex(table);
        #[cfg(feature = "pg18")]
        return pg_sys::RelationGetPrimaryKeyIndex(table, false);
    }
}

// Past the bindings' wrappers, as in heap.rs: the callers catch their errors.
unsafe extern "C-unwind" {
    fn simple_table_tuple_update(
        table: pg_sys::Relation,
        place: pg_sys::ItemPointer,
        slot: *mut pg_sys::TupleTableSlot,
        snapshot: pg_sys::Snapshot,
        #[cfg(feature = "pg15")] wanted: *mut bool,
        #[cfg(not(feature = "pg15"))] wanted: *mut pg_sys::TU_UpdateIndexes::Type,
    );
    fn ExecInsertIndexTuples(
        result: *mut pg_sys::ResultRelInfo,
        slot: *mut pg_sys::TupleTableSlot,
        state: *mut pg_sys::EState,
        update: bool,
        no_duplicate_error: bool,
        speculative_conflict: *mut bool,
        arbiters: *mut pg_sys::List,
        #[cfg(not(feature = "pg15"))] only_summarizing: bool,
    ) -> *mut pg_sys::List;
    fn GetActiveSnapshot() -> pg_sys::Snapshot;
}

/// Which indexes want entries for a new version of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WantEntries {
    None,
    All,
    /// The new version is heap-only: block-range indexes want to know, the others must not point at it.
    #[cfg(not(feature = "pg15"))]
    Summarizing,
}

/// Replaces the row at `place`; answers which indexes want entries for the new one.
///
/// # Safety
/// The row is locked by this transaction, the slot holds a row of the table, a snapshot is active.
pub unsafe fn update_row(
    table: pg_sys::Relation,
    place: pg_sys::ItemPointer,
    slot: *mut pg_sys::TupleTableSlot,
) -> WantEntries {
    // SAFETY: the caller's promise.
    unsafe {
        let snapshot = GetActiveSnapshot();
        #[cfg(feature = "pg15")]
        {
            let mut wanted = false;
            simple_table_tuple_update(table, place, slot, snapshot, &mut wanted);
            if wanted { WantEntries::All } else { WantEntries::None }
        }
        #[cfg(not(feature = "pg15"))]
        {
            let mut wanted = pg_sys::TU_UpdateIndexes::TU_None;
            simple_table_tuple_update(table, place, slot, snapshot, &mut wanted);
            match wanted {
                pg_sys::TU_UpdateIndexes::TU_None => WantEntries::None,
                pg_sys::TU_UpdateIndexes::TU_Summarizing => WantEntries::Summarizing,
                _ => WantEntries::All,
            }
        }
    }
}

/// Makes the entries of all open indexes for a row.
///
/// # Safety
/// `result` has its indexes open, the slot holds a row as stored.
pub unsafe fn insert_index_entries(
    result: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    state: *mut pg_sys::EState,
    is_update: bool,
    wanted: WantEntries,
) {
    // PostgreSQL 15 has no heap-only update that block-range indexes want to know of.
    #[cfg(feature = "pg15")]
    debug_assert!(wanted == WantEntries::All);
    // SAFETY: the caller's promise.
    unsafe {
        ExecInsertIndexTuples(
            result,
            slot,
            state,
            is_update,
            false,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            #[cfg(not(feature = "pg15"))]
            {
                wanted == WantEntries::Summarizing
            },
        );
    }
}
