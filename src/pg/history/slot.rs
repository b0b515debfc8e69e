//! Columns of rows in slots.

use crate::pg::compat;
use pgrx::pg_sys;
use std::ffi::c_int;

unsafe extern "C-unwind" {
    fn datum_image_eq(one: pg_sys::Datum, other: pg_sys::Datum, by_value: bool, length: c_int) -> bool;
}

/// # Safety
/// The slot has that column, and its values are taken out.
pub(super) unsafe fn get(slot: *mut pg_sys::TupleTableSlot, column: usize) -> (pg_sys::Datum, bool) {
    // SAFETY: the caller's promise.
    unsafe { (*(*slot).tts_values.add(column), *(*slot).tts_isnull.add(column)) }
}

/// # Safety
/// A virtual slot that has that column.
pub(super) unsafe fn set(slot: *mut pg_sys::TupleTableSlot, column: usize, value: pg_sys::Datum, null: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        *(*slot).tts_values.add(column) = value;
        *(*slot).tts_isnull.add(column) = null;
    }
}

/// # Safety
/// Within `catch`.
pub(super) unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: every slot can be cleared.
    unsafe { ((*(*slot).tts_ops).clear.expect("every slot can be cleared"))(slot) }
}

/// Whether two columns hold the same, byte for byte.
///
/// # Safety
/// Within `catch`; both are of the type of the first.
pub(super) unsafe fn same(
    one: *mut pg_sys::TupleTableSlot,
    at: usize,
    other: *mut pg_sys::TupleTableSlot,
    there: usize,
) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let ((value, null), (peer, peer_null)) = (get(one, at), get(other, there));
        if null || peer_null {
            return null && peer_null;
        }
        let column = compat::attribute((*one).tts_tupleDescriptor, at);
        datum_image_eq(value, peer, (*column).attbyval, (*column).attlen.into())
    }
}
