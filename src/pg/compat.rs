//! Differences between the server's major versions: the only `cfg(feature = "pgNN")` of the crate.

use pgrx::pg_sys;

/// While it lives, names resolve in `pg_catalog` only, so nothing that a caller put into their own
/// `search_path` can stand in for an operator or function that our statements mean.
pub enum PinnedSearchPath {
    /// Costs next to nothing; but as long as it is there no function's `SET search_path` has an effect.
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    Override,
    Setting {
        _settings: OwnSettings,
    },
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
        Self::Override
    }

    #[cfg(any(feature = "pg17", feature = "pg18"))]
    pub fn pin() -> Self {
        Self::pin_as_setting()
    }

    /// So that functions of others that are called meanwhile can have a path of their own.
    pub fn pin_as_setting() -> Self {
        Self::Setting { _settings: OwnSettings::begin(true) }
    }
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
impl Drop for PinnedSearchPath {
    fn drop(&mut self) {
        if matches!(self, Self::Override) && !super::ereport::is_failing() {
            // SAFETY: pushed by `pin` in the same subtransaction.
            unsafe { pg_sys::PopOverrideSearchPath() };
        }
    }
}

/// While it lives, `search_path` is `pg_catalog, pg_temp`.
pub struct OwnSettings {
    nest_level: i32,
    keeps: bool,
}

impl OwnSettings {
    /// `keeps`: what is set meanwhile stays set.
    pub fn begin(keeps: bool) -> Self {
        // SAFETY: a new nest level is closed in `drop`, or by the transaction's abort.
        unsafe {
            let nest_level = pg_sys::NewGUCNestLevel();
            #[cfg(any(feature = "pg15", feature = "pg16"))]
            pg_sys::set_config_option(
                c"search_path".as_ptr(),
                c"pg_catalog, pg_temp".as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            pg_sys::RestrictSearchPath();
            OwnSettings { nest_level, keeps }
        }
    }
}

impl Drop for OwnSettings {
    fn drop(&mut self) {
        if !super::ereport::is_failing() {
            // SAFETY: the level was opened by `begin`.
            unsafe { pg_sys::AtEOXact_GUC(self.keeps, self.nest_level) };
        }
    }
}

/// Whether checkpoints are counted in a view of their own, pg_stat_checkpointer.
pub const HAS_CHECKPOINTER_STATISTICS: bool = cfg!(any(feature = "pg17", feature = "pg18"));

/// Every setting that this process knows of.
pub fn settings() -> &'static [*mut pg_sys::config_generic] {
    // SAFETY: as many as the server says; none ends before the process or the memory context of this call does.
    unsafe {
        #[cfg(feature = "pg15")]
        return std::slice::from_raw_parts(
            pg_sys::get_guc_variables(),
            pg_sys::GetNumConfigOptions() as usize,
        );
        #[cfg(not(feature = "pg15"))]
        {
            let mut count = 0;
            let first = pg_sys::get_guc_variables(&mut count);
            std::slice::from_raw_parts(first, count as usize)
        }
    }
}

/// Begins an index scan on `keys` equality keys.
///
/// # Safety
/// Called inside `catch`. Both relations are open and locked; the snapshot is active.
pub unsafe fn index_begin(
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the caller's promise.
    unsafe {
        index_beginscan(
            table,
            index,
            snapshot,
            #[cfg(feature = "pg18")]
            std::ptr::null_mut(),
            keys,
            0,
        )
    }
}

/// A copy of the tuple that a slot holds.
///
/// # Safety
/// Called inside `catch`. The slot holds a tuple.
pub unsafe fn copy_heap_tuple(slot: *mut pg_sys::TupleTableSlot) -> pg_sys::HeapTuple {
    // SAFETY: the caller's promise.
    unsafe { ((*(*slot).tts_ops).copy_heap_tuple.expect("every slot's tuple can be copied"))(slot) }
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

// Past the bindings' wrappers, as in `raw`.
unsafe extern "C-unwind" {
    fn index_beginscan(
        table: pg_sys::Relation,
        index: pg_sys::Relation,
        snapshot: pg_sys::Snapshot,
        #[cfg(feature = "pg18")] instrument: *mut pg_sys::IndexScanInstrumentation,
        keys: i32,
        orders: i32,
    ) -> pg_sys::IndexScanDesc;
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
    fn ExecCheckIndexConstraints(
        result: *mut pg_sys::ResultRelInfo,
        slot: *mut pg_sys::TupleTableSlot,
        state: *mut pg_sys::EState,
        conflict: pg_sys::ItemPointer,
        #[cfg(feature = "pg18")] own: pg_sys::ItemPointer,
        arbiters: *mut pg_sys::List,
    ) -> bool;
    fn GetCurrentTransactionId() -> pg_sys::TransactionId;
    fn GetCurrentCommandId(used: bool) -> pg_sys::CommandId;
    fn SpeculativeInsertionLockAcquire(transaction: pg_sys::TransactionId) -> u32;
    fn SpeculativeInsertionLockRelease(transaction: pg_sys::TransactionId);
    fn die(signal: std::ffi::c_int);
}

/// Replaces the row at `place` if it is still the newest version; answers whether the indexes want entries for the new
/// one. Summarizing indexes, which may want some for a heap-only row, are none of ours.
///
/// # Safety
/// The slot holds a row of the table.
pub unsafe fn update_row(
    table: pg_sys::Relation,
    place: pg_sys::ItemPointer,
    slot: *mut pg_sys::TupleTableSlot,
    wait: bool,
) -> (pg_sys::TM_Result::Type, bool) {
    // SAFETY: the caller's promise; heap looks at no snapshot here without a crosscheck.
    unsafe {
        let replace = (*(*table).rd_tableam).tuple_update.expect("heap replaces tuples");
        let mut failure = pg_sys::TM_FailureData::default();
        let mut mode = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
        let none = std::ptr::null_mut();
        let command = GetCurrentCommandId(true);
        #[cfg(feature = "pg15")]
        let mut wanted = false;
        #[cfg(not(feature = "pg15"))]
        let mut wanted = pg_sys::TU_UpdateIndexes::TU_None;
        let outcome =
            replace(table, place, slot, command, none, none, wait, &mut failure, &mut mode, &mut wanted);
        #[cfg(not(feature = "pg15"))]
        let wanted = wanted == pg_sys::TU_UpdateIndexes::TU_All;
        (outcome, wanted)
    }
}

/// Stores a row unless one with its key in the `arbiters` is there, as INSERT ... ON CONFLICT DO NOTHING does: look,
/// store on trial, make the entries, and start again where somebody was quicker in between.
///
/// # Safety
/// `result` has its indexes open for speculative entries, the slot holds a row of the table.
pub unsafe fn insert_unless_taken(
    result: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    state: *mut pg_sys::EState,
    arbiters: *mut pg_sys::List,
) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let table = (*result).ri_RelationDesc;
        let methods = &*(*table).rd_tableam;
        let store = methods.tuple_insert_speculative.expect("heap stores on trial");
        let complete = methods.tuple_complete_speculative.expect("heap ends a trial");
        let transaction = GetCurrentTransactionId();
        let command = GetCurrentCommandId(true);
        loop {
            let mut conflict = pg_sys::ItemPointerData::default();
            let free = ExecCheckIndexConstraints(
                result,
                slot,
                state,
                &mut conflict,
                #[cfg(feature = "pg18")]
                &mut pg_sys::ItemPointerData::default(),
                arbiters,
            );
            if !free {
                return false;
            }
            let token = SpeculativeInsertionLockAcquire(transaction);
            store(table, slot, command, 0, std::ptr::null_mut(), token);
            let mut overtaken = false;
            ExecInsertIndexTuples(
                result,
                slot,
                state,
                false,
                true,
                &mut overtaken,
                arbiters,
                #[cfg(not(feature = "pg15"))]
                false,
            );
            complete(table, slot, token, !overtaken);
            SpeculativeInsertionLockRelease(transaction);
            if !overtaken {
                return true;
            }
        }
    }
}

/// A number that tells this backend from the others that run now, small ones first.
pub fn backend_number() -> i32 {
    // SAFETY: reads a backend-local variable.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        return pg_sys::MyBackendId;
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        return pg_sys::MyProcNumber;
    }
}

/// Lets SIGTERM end this background worker at the next moment at which it may be interrupted, as it ends a backend.
pub fn end_on_sigterm() {
    // SAFETY: `die` is the server's own handler, made for this; it returns to whatever was interrupted.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(pg_sys::SIGTERM as i32, Some(die));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(pg_sys::SIGTERM as i32, Some(die));
    }
}

/// Where a relation's files are.
#[cfg(feature = "pg15")]
pub type Place = pg_sys::RelFileNode;
#[cfg(not(feature = "pg15"))]
pub type Place = pg_sys::RelFileLocator;

/// The place of a relation of this database, by its tablespace (none: the database's own) and the number of its file.
pub fn place(tablespace: pg_sys::Oid, file: pg_sys::Oid) -> Place {
    // SAFETY: backend-local variables, set when the session came to its database.
    let (own, database) = unsafe { (pg_sys::MyDatabaseTableSpace, pg_sys::MyDatabaseId) };
    let tablespace = if tablespace == pg_sys::InvalidOid { own } else { tablespace };
    #[cfg(feature = "pg15")]
    return Place { spcNode: tablespace, dbNode: database, relNode: file };
    #[cfg(not(feature = "pg15"))]
    return Place { spcOid: tablespace, dbOid: database, relNumber: file };
}
