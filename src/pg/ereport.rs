//! Errors in both directions: catching the server's without losing a field, raising ours with their own SQLSTATE.

use super::memory;
use crate::error::Error;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_int};

thread_local! {
    static FAILED: Cell<bool> = const { Cell::new(false) };
}

/// Whether an error is on its way out. The server may have been stopped half-way through anything then, so what it
/// holds for us is left to the transaction's abort and not handed back.
pub fn is_failing() -> bool {
    FAILED.get() || std::thread::panicking()
}

/// An error the server raised while we called it: code, texts, constraint name and context as they were. Null where
/// there was no memory left to keep it in.
#[derive(Debug)]
pub struct ServerError(*mut pg_sys::ErrorData);

const OUT_OF_MEMORY: &str = "53200";

impl ServerError {
    /// Whether it has that SQLSTATE.
    pub fn is(&self, sqlstate: &str) -> bool {
        self.packed_sqlstate() == pack_sqlstate(sqlstate)
    }

    /// Whether the statement was to stop.
    pub fn is_cancel(&self) -> bool {
        self.is("57014")
    }

    /// Whether it says nothing about what was tried, and would meet all else as well: the statement is to stop (57014),
    /// or the server lacks memory or disk (class 53).
    pub fn stops_all(&self) -> bool {
        self.is_cancel() || self.packed_sqlstate() & 0xFFF == pack_sqlstate("53")
    }

    /// Says that the place of the error is one in a text of its own, and not in the caller's statement.
    pub(super) fn within(self, text: &CStr) -> Self {
        // SAFETY: as in `stops_all`; the copy lives where the error does.
        unsafe {
            if let Some(data) = self.0.as_mut().filter(|data| data.cursorpos > 0) {
                data.internalquery =
                    pg_sys::MemoryContextStrdup(pg_sys::CurTransactionContext, text.as_ptr());
                data.internalpos = std::mem::take(&mut data.cursorpos);
            }
        }
        self
    }

    fn packed_sqlstate(&self) -> c_int {
        // SAFETY: copied by `catch`, it lives as long as the transaction.
        unsafe { self.0.as_ref() }.map_or_else(|| pack_sqlstate(OUT_OF_MEMORY), |data| data.sqlerrcode)
    }
}

// The bindings wrap every server function so that its errors become Rust panics, which keep neither unknown
// SQLSTATEs nor constraint names. These are the few we call directly, inside `catch` or as the last thing we do.
unsafe extern "C-unwind" {
    pub(super) fn SPI_execute_plan(
        plan: pg_sys::SPIPlanPtr,
        values: *mut pg_sys::Datum,
        nulls: *const std::ffi::c_char,
        read_only: bool,
        count: i64,
    ) -> c_int;
    pub(super) fn SPI_execute_snapshot(
        plan: pg_sys::SPIPlanPtr,
        values: *mut pg_sys::Datum,
        nulls: *const std::ffi::c_char,
        snapshot: pg_sys::Snapshot,
        crosscheck: pg_sys::Snapshot,
        read_only: bool,
        fire_triggers: bool,
        count: i64,
    ) -> c_int;
    pub(super) fn GetLatestSnapshot() -> pg_sys::Snapshot;
    pub(super) fn SPI_prepare_cursor(
        sql: *const std::ffi::c_char,
        arguments: c_int,
        types: *mut pg_sys::Oid,
        options: c_int,
    ) -> pg_sys::SPIPlanPtr;
    fn ThrowErrorData(error: *mut pg_sys::ErrorData);
    fn ReThrowError(error: *mut pg_sys::ErrorData) -> !;
    fn CopyErrorData() -> *mut pg_sys::ErrorData;
}

/// What a program and a person want to know of an error that does not end the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
}

impl Failure {
    /// Of an error whose subtransaction has been rolled back, so that nothing is left half done.
    pub fn of(error: Error) -> Self {
        if let Error::Server(error) = error {
            let failure = Failure {
                sqlstate: error.sqlstate(),
                message: error.text(|data| data.message).unwrap_or_default(),
                detail: error.text(|data| data.detail),
            };
            forget(error);
            return failure;
        }
        recovered();
        let report = error.report();
        Failure { sqlstate: report.sqlstate.to_owned(), message: report.message, detail: report.detail }
    }
}

impl ServerError {
    fn sqlstate(&self) -> String {
        let packed = self.packed_sqlstate();
        let character = |place: i32| char::from(b'0' + ((packed >> (6 * place)) & 0x3F) as u8);
        (0..5).map(character).collect()
    }

    fn text(&self, of: impl Fn(&pg_sys::ErrorData) -> *mut std::ffi::c_char) -> Option<String> {
        // SAFETY: as in `is`; its texts are null or C strings that live as long.
        unsafe {
            let text = of(self.0.as_ref()?);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    }
}

/// Runs `call`, which may do nothing but call one of the functions above, and hands its error back as a value.
///
/// # Safety
/// `call` must own nothing that needs dropping: an error jumps out of its middle. After an error the caller must
/// give it on to [`raise`], or to [`forget`] with a rollback, and may not go on using the (sub)transaction.
pub unsafe fn catch<T: Copy>(call: impl FnOnce() -> T) -> Result<T, ServerError> {
    // It outlives whatever this transaction level has open, and goes with it.
    // SAFETY: the caller's promise.
    unsafe { catch_into(pg_sys::CurTransactionContext, call) }
}

/// The same with the error kept in `keep`.
///
/// # Safety
/// As [`catch`].
unsafe fn catch_into<T: Copy>(
    keep: pg_sys::MemoryContext,
    call: impl FnOnce() -> T,
) -> Result<T, ServerError> {
    // SAFETY: the exception stack is put back on both ways out; `call` is plain per the caller's promise.
    unsafe {
        FAILED.set(false);
        let context = pg_sys::CurrentMemoryContext;
        let exceptions = pg_sys::PG_exception_stack;
        let callbacks = pg_sys::error_context_stack;
        let mut result = std::mem::MaybeUninit::<T>::uninit();
        let jumped = cee_scape::call_with_sigsetjmp(false, |buffer| {
            pg_sys::PG_exception_stack = std::ptr::from_ref(buffer).cast_mut().cast();
            #[cfg(any(test, feature = "pg_test"))]
            super::faults::strike();
            if memory::is_short() {
                raise_out_of_memory();
            }
            result.write(call());
            0
        });
        pg_sys::PG_exception_stack = exceptions;
        pg_sys::error_context_stack = callbacks;
        if jumped == 0 {
            return Ok(result.assume_init());
        }
        pg_sys::CurrentMemoryContext = keep;
        let error = copy_error();
        pg_sys::FlushErrorState();
        FAILED.set(true);
        pg_sys::CurrentMemoryContext = context;
        Err(error)
    }
}

/// The error that was caught, in the current memory context. Copying it may run out of memory in its turn, and an error
/// in the handling of another one is one step of few to the server's end.
///
/// # Safety
/// An error was just caught and is not flushed yet.
unsafe fn copy_error() -> ServerError {
    // SAFETY: the exception stack is put back on both ways out; the closure owns nothing.
    unsafe {
        let exceptions = pg_sys::PG_exception_stack;
        let callbacks = pg_sys::error_context_stack;
        let mut copy = std::ptr::null_mut::<pg_sys::ErrorData>();
        let copied = &raw mut copy;
        let jumped = cee_scape::call_with_sigsetjmp(false, |buffer| {
            pg_sys::PG_exception_stack = std::ptr::from_ref(buffer).cast_mut().cast();
            copied.write(CopyErrorData());
            0
        });
        pg_sys::PG_exception_stack = exceptions;
        pg_sys::error_context_stack = callbacks;
        ServerError(if jumped == 0 { copied.read() } else { std::ptr::null_mut() })
    }
}

/// The server's own error for memory that ran out, made without any.
fn raise_out_of_memory() -> ! {
    // SAFETY: zeroed ErrorData is the empty one; ThrowErrorData copies its texts into memory that the server keeps for
    // errors.
    unsafe {
        let mut data = std::mem::MaybeUninit::<pg_sys::ErrorData>::zeroed().assume_init();
        data.elevel = pgrx::PgLogLevel::ERROR as c_int;
        data.sqlerrcode = pack_sqlstate(OUT_OF_MEMORY);
        data.message = c"out of memory".as_ptr().cast_mut();
        data.hint = c"Bring fewer items in a call, or give the server more memory.".as_ptr().cast_mut();
        ThrowErrorData(&mut data);
        std::hint::unreachable_unchecked()
    }
}

/// Moves an error out of the subtransaction that it came from, before that is rolled back.
///
/// # Safety
/// `keep` outlives the error.
pub unsafe fn keep_in(keep: pg_sys::MemoryContext, error: ServerError) -> ServerError {
    if error.0.is_null() {
        return error;
    }
    // SAFETY: the error is whole; thrown again, it is copied as any other.
    unsafe { catch_into(keep, || -> () { ReThrowError(error.0) }).expect_err("what is thrown is caught") }
}

/// Drops an error whose subtransaction is about to be rolled back, which takes down what it left half done.
pub fn forget(_error: ServerError) {
    recovered();
}

/// What an error has left half done has been taken down.
pub fn recovered() {
    FAILED.set(false);
    memory::recovered();
}

/// The value, or the error raised: the last call of every SQL function.
pub fn finish<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| raise(error))
}

fn c_string(text: &str) -> *mut std::ffi::c_char {
    let clean = CString::new(text.replace('\0', "")).expect("zero bytes were removed");
    // SAFETY: copies into memory that the server frees with the transaction.
    unsafe { pg_sys::pstrdup(clean.as_ptr()) }
}

/// The server's packing of five characters into the code's integer (`MAKE_SQLSTATE`).
fn pack_sqlstate(code: &str) -> c_int {
    code.bytes().enumerate().fold(0, |packed, (place, byte)| {
        packed | ((c_int::from(byte) - c_int::from(b'0')) & 0x3F) << (6 * place)
    })
}

fn error_data(error: &Error, level: pgrx::PgLogLevel) -> *mut pg_sys::ErrorData {
    let report = error.report();
    // SAFETY: zeroed ErrorData is the empty one; every text is allocated by the server.
    unsafe {
        let data = pg_sys::palloc0(size_of::<pg_sys::ErrorData>()).cast::<pg_sys::ErrorData>();
        (*data).elevel = level as c_int;
        (*data).sqlerrcode = pack_sqlstate(report.sqlstate);
        (*data).message = c_string(&report.message);
        (*data).detail = report.detail.as_deref().map_or(std::ptr::null_mut(), c_string);
        (*data).hint = report.hint.map_or(std::ptr::null_mut(), c_string);
        (*data).assoc_context = pg_sys::CurrentMemoryContext;
        data
    }
}

/// Raises `error` in the server. Nothing below the SQL function's own frame may still own anything.
pub fn raise(error: Error) -> ! {
    recovered();
    if let Error::Server(ServerError(data)) = error {
        if data.is_null() {
            raise_out_of_memory();
        }
        // SAFETY: `data` came from CopyErrorData in this transaction.
        unsafe { ReThrowError(data) }
    }
    let data = error_data(&error, pgrx::PgLogLevel::ERROR);
    drop(error);
    // SAFETY: the data is complete, and level ERROR never returns.
    unsafe {
        ThrowErrorData(data);
        std::hint::unreachable_unchecked()
    }
}
