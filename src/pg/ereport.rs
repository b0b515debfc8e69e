//! Errors in both directions: catching the server's without losing a field, raising ours with their own SQLSTATE.

use crate::error::Error;
use pgrx::pg_sys;
use std::ffi::{CString, c_int};

/// An error the server raised while we called it: code, texts, constraint name and context as they were.
#[derive(Debug)]
pub struct ServerError(*mut pg_sys::ErrorData);

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
    pub(super) fn SPI_prepare_cursor(
        sql: *const std::ffi::c_char,
        arguments: c_int,
        types: *mut pg_sys::Oid,
        options: c_int,
    ) -> pg_sys::SPIPlanPtr;
    fn ThrowErrorData(error: *mut pg_sys::ErrorData);
    fn ReThrowError(error: *mut pg_sys::ErrorData) -> !;
}

/// Runs `call`, which may do nothing but call one of the functions above, and hands its error back as a value.
///
/// # Safety
/// `call` must own nothing that needs dropping: an error jumps out of its middle. After an error the caller must
/// give it on to [`raise`] and may not go on using the transaction.
pub unsafe fn catch<T: Copy>(call: impl FnOnce() -> T) -> Result<T, ServerError> {
    // SAFETY: the exception stack is put back on both ways out; `call` is plain per the caller's promise.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let exceptions = pg_sys::PG_exception_stack;
        let callbacks = pg_sys::error_context_stack;
        let mut result = std::mem::MaybeUninit::<T>::uninit();
        let jumped = cee_scape::call_with_sigsetjmp(false, |buffer| {
            pg_sys::PG_exception_stack = std::ptr::from_ref(buffer).cast_mut().cast();
            result.write(call());
            0
        });
        pg_sys::PG_exception_stack = exceptions;
        pg_sys::error_context_stack = callbacks;
        if jumped == 0 {
            return Ok(result.assume_init());
        }
        // It outlives the SPI session that may be open here, which ends before the error is raised again.
        pg_sys::CurrentMemoryContext = pg_sys::CurTransactionContext;
        let error = pg_sys::CopyErrorData();
        pg_sys::FlushErrorState();
        pg_sys::CurrentMemoryContext = context;
        Err(ServerError(error))
    }
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
    if let Error::Server(ServerError(data)) = error {
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
