//! Functions of the server, past the bindings' wrappers.
//!
//! A wrapper turns the server's error into a panic, which loses fields of it, and costs as much as many a small function.
//! These are called inside [`super::ereport::catch`] only, several at a time: an error jumps out of its closure, which
//! must own nothing that needs dropping. Declared here is what has the same signature in every major version; the others
//! are in `compat`.

use pgrx::pg_sys;
use std::ffi::{c_char, c_int};

unsafe extern "C-unwind" {
    pub fn GetActiveSnapshot() -> pg_sys::Snapshot;
    pub fn PreventCommandIfReadOnly(command: *const c_char);
    pub fn PreventCommandIfParallelMode(command: *const c_char);
    pub fn AcceptInvalidationMessages();
    pub fn LockRelationOid(table: pg_sys::Oid, mode: pg_sys::LOCKMODE);
    pub fn LockAcquire(
        tag: *const pg_sys::LOCKTAG,
        mode: pg_sys::LOCKMODE,
        of_session: bool,
        only_if_free: bool,
    ) -> pg_sys::LockAcquireResult::Type;
    pub fn LockRelease(tag: *const pg_sys::LOCKTAG, mode: pg_sys::LOCKMODE, of_session: bool) -> bool;
    pub fn LockDatabaseObject(class: pg_sys::Oid, object: pg_sys::Oid, part: u16, mode: c_int);
    pub fn AfterTriggerSetState(statement: *mut pg_sys::ConstraintsSetStmt);
    pub fn CacheInvalidateRelcacheByRelid(table: pg_sys::Oid);
    pub fn pfree(pointer: *mut std::ffi::c_void);

    pub fn makeParamList(count: c_int) -> pg_sys::ParamListInfo;
    pub fn SPI_execute_plan_extended(
        plan: pg_sys::SPIPlanPtr,
        options: *const pg_sys::SPIExecuteOptions,
    ) -> c_int;
    pub fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, count: c_int);
    pub fn pg_detoast_datum_packed(datum: *mut pg_sys::varlena) -> *mut pg_sys::varlena;
    pub fn DirectFunctionCall1Coll(
        function: pg_sys::PGFunction,
        collation: pg_sys::Oid,
        argument: pg_sys::Datum,
    ) -> pg_sys::Datum;
    pub fn jsonb_in(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
    pub fn fmgr_info(function: pg_sys::Oid, info: *mut pg_sys::FmgrInfo);
    pub fn palloc0(size: usize) -> *mut std::ffi::c_void;
    pub fn CreateExecutorState() -> *mut pg_sys::EState;
    pub fn InitResultRelInfo(
        result: *mut pg_sys::ResultRelInfo,
        table: pg_sys::Relation,
        range_table_index: pg_sys::Index,
        partition_root: *mut pg_sys::ResultRelInfo,
        instrument: c_int,
    );
    pub fn ExecOpenIndices(result: *mut pg_sys::ResultRelInfo, speculative: bool);
    pub fn get_namespace_oid(name: *const c_char, missing_is_fine: bool) -> pg_sys::Oid;
    pub fn get_relname_relid(name: *const c_char, schema: pg_sys::Oid) -> pg_sys::Oid;
    pub fn get_func_name(function: pg_sys::Oid) -> *mut c_char;
    pub fn get_func_namespace(function: pg_sys::Oid) -> pg_sys::Oid;
    pub fn RI_FKey_trigger_type(function: pg_sys::Oid) -> c_int;
    pub fn RelationGetIndexList(table: pg_sys::Relation) -> *mut pg_sys::List;
    pub fn RelationGetIndexPredicate(index: pg_sys::Relation) -> *mut pg_sys::List;
    pub fn RelationGetReplicaIndex(table: pg_sys::Relation) -> pg_sys::Oid;
    pub fn RelationBuildPublicationDesc(table: pg_sys::Relation, description: *mut pg_sys::PublicationDesc);
    pub fn find_inheritance_children(parent: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> *mut pg_sys::List;
    pub fn table_open(table: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> pg_sys::Relation;
    pub fn table_slot_create(
        table: pg_sys::Relation,
        list: *mut *mut pg_sys::List,
    ) -> *mut pg_sys::TupleTableSlot;
    pub fn MakeSingleTupleTableSlot(
        shape: pg_sys::TupleDesc,
        methods: *const pg_sys::TupleTableSlotOps,
    ) -> *mut pg_sys::TupleTableSlot;
    pub fn ExecStoreVirtualTuple(slot: *mut pg_sys::TupleTableSlot) -> *mut pg_sys::TupleTableSlot;
    pub fn heap_deform_tuple(
        tuple: pg_sys::HeapTuple,
        shape: pg_sys::TupleDesc,
        values: *mut pg_sys::Datum,
        nulls: *mut bool,
    );

    pub fn index_open(index: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> pg_sys::Relation;
    pub fn index_close(index: pg_sys::Relation, lock: pg_sys::LOCKMODE);
    pub fn BuildIndexInfo(index: pg_sys::Relation) -> *mut pg_sys::IndexInfo;
    pub fn ScanKeyInit(
        entry: pg_sys::ScanKey,
        column: pg_sys::AttrNumber,
        strategy: pg_sys::StrategyNumber,
        procedure: pg_sys::RegProcedure,
        argument: pg_sys::Datum,
    );
    pub fn index_getnext_tid(
        scan: pg_sys::IndexScanDesc,
        direction: pg_sys::ScanDirection::Type,
    ) -> pg_sys::ItemPointer;
    pub fn ReleaseAndReadBuffer(
        buffer: pg_sys::Buffer,
        table: pg_sys::Relation,
        block: pg_sys::BlockNumber,
    ) -> pg_sys::Buffer;
    pub fn LockBuffer(buffer: pg_sys::Buffer, mode: c_int);
    pub fn ReleaseBuffer(buffer: pg_sys::Buffer);
    pub fn heap_hot_search_buffer(
        place: pg_sys::ItemPointer,
        table: pg_sys::Relation,
        buffer: pg_sys::Buffer,
        snapshot: pg_sys::Snapshot,
        tuple: pg_sys::HeapTuple,
        all_dead: *mut bool,
        first_call: bool,
    ) -> bool;
    pub fn index_rescan(
        scan: pg_sys::IndexScanDesc,
        keys: pg_sys::ScanKey,
        count: c_int,
        orders: pg_sys::ScanKey,
        order_count: c_int,
    );
    pub fn index_getnext_slot(
        scan: pg_sys::IndexScanDesc,
        direction: pg_sys::ScanDirection::Type,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool;
    pub fn index_insert(
        index: pg_sys::Relation,
        values: *mut pg_sys::Datum,
        nulls: *mut bool,
        place: pg_sys::ItemPointer,
        table: pg_sys::Relation,
        check: pg_sys::IndexUniqueCheck::Type,
        unchanged: bool,
        info: *mut pg_sys::IndexInfo,
    ) -> bool;
}
