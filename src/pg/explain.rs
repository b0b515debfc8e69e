//! Statements that somebody hands over as text: looked at by the server's own parser, and run with values bound.

use super::ereport::catch;
use crate::error::Error;
use pgrx::pg_sys;
use std::ffi::{CStr, CString, c_char, c_int};

// Past the bindings' wrappers, as in `raw`.
unsafe extern "C-unwind" {
    fn pg_parse_query(text: *const c_char) -> *mut pg_sys::List;
    fn pg_analyze_and_rewrite_varparams(
        statement: *mut pg_sys::RawStmt,
        text: *const c_char,
        types: *mut *mut pg_sys::Oid,
        count: *mut c_int,
        environment: *mut pg_sys::QueryEnvironment,
    ) -> *mut pg_sys::List;
    fn getTypeInputInfo(of: pg_sys::Oid, function: *mut pg_sys::Oid, parameter: *mut pg_sys::Oid);
    fn OidInputFunctionCall(
        function: pg_sys::Oid,
        text: *mut c_char,
        parameter: pg_sys::Oid,
        modifier: i32,
    ) -> pg_sys::Datum;
    fn SPI_execute_with_args(
        text: *const c_char,
        count: c_int,
        types: *mut pg_sys::Oid,
        values: *mut pg_sys::Datum,
        nulls: *const c_char,
        read_only: bool,
        rows: i64,
    ) -> c_int;
    fn SPI_getvalue(tuple: pg_sys::HeapTuple, shape: pg_sys::TupleDesc, column: c_int) -> *mut c_char;
}

/// What a text turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Of so many statements, and not of one.
    Statements(usize),
    /// One that is carried out without a plan.
    Utility,
    Planned,
}

/// Looks at a text without running it. The tables that it names are locked as the statement would lock them, and what
/// their owners' views are made of is looked at, so this belongs into a subtransaction. The types of its parameters are
/// found by where they stand.
pub fn examine(text: &CStr) -> Result<(Given, Vec<pg_sys::Oid>), Error> {
    let mut types: *mut pg_sys::Oid = std::ptr::null_mut();
    let mut count: c_int = 0;
    let (types_at, count_at) = (&raw mut types, &raw mut count);
    // SAFETY: the closure calls the server only; the out pointers live on this stack frame.
    let given = unsafe {
        catch(|| {
            let statements = pg_parse_query(text.as_ptr());
            let found = if statements.is_null() { 0 } else { (*statements).length as usize };
            if found != 1 {
                return Given::Statements(found);
            }
            let statement = (*(*statements).elements).ptr_value.cast::<pg_sys::RawStmt>();
            let none = std::ptr::null_mut();
            let kind = (*(*statement).stmt).type_;
            if !matches!(
                kind,
                pg_sys::NodeTag::T_SelectStmt
                    | pg_sys::NodeTag::T_InsertStmt
                    | pg_sys::NodeTag::T_UpdateStmt
                    | pg_sys::NodeTag::T_DeleteStmt
                    | pg_sys::NodeTag::T_MergeStmt
            ) {
                return Given::Utility;
            }
            let queries =
                pg_analyze_and_rewrite_varparams(statement, text.as_ptr(), types_at, count_at, none);
            // SELECT INTO makes a table, and shows only here.
            let makes_table = !queries.is_null()
                && (0..(*queries).length as usize).any(|at| {
                    let query = (*(*queries).elements.add(at)).ptr_value.cast::<pg_sys::Query>();
                    (*query).commandType == pg_sys::CmdType::CMD_UTILITY
                });
            if makes_table { Given::Utility } else { Given::Planned }
        })
    };
    let given = given.map_err(|error| Error::Server(error.within(text)))?;
    let types = match given {
        // SAFETY: as many as the server has counted.
        Given::Planned if count > 0 => unsafe { std::slice::from_raw_parts(types, count as usize) }.to_vec(),
        _ => Vec::new(),
    };
    Ok((given, types))
}

/// Runs a text within a session that writes, each value read as its type is read; the first column of the first row, as
/// text.
pub fn first_text(
    _session: &super::Session,
    text: &CStr,
    types: &[pg_sys::Oid],
    values: &[Option<CString>],
) -> Result<Option<String>, Error> {
    let mut types = types.to_vec();
    let mut datums = vec![pg_sys::Datum::from(0usize); values.len()];
    let nulls: Vec<c_char> =
        values.iter().map(|value| (if value.is_some() { b' ' } else { b'n' }) as c_char).collect();
    let (types_at, datums_at, nulls_at) = (types.as_mut_ptr(), datums.as_mut_ptr(), nulls.as_ptr());
    // SAFETY: as many types, values and marks as are counted; the closure calls the server only, and what it borrows
    // lives on outside of it.
    let answer = unsafe {
        catch(|| {
            for (at, value) in values.iter().enumerate() {
                if let Some(value) = value {
                    let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
                    getTypeInputInfo(*types_at.add(at), &mut function, &mut parameter);
                    *datums_at.add(at) =
                        OidInputFunctionCall(function, value.as_ptr().cast_mut(), parameter, -1);
                }
            }
            let count = values.len() as c_int;
            let code = SPI_execute_with_args(text.as_ptr(), count, types_at, datums_at, nulls_at, false, 0);
            let (table, rows) = (pg_sys::SPI_tuptable, pg_sys::SPI_processed);
            if code < 0 || table.is_null() || rows == 0 {
                return (code, std::ptr::null_mut());
            }
            (code, SPI_getvalue(*(*table).vals, (*table).tupdesc, 1))
        })
    };
    let (code, answer) = answer.map_err(Error::Server)?;
    assert!(code >= 0, "SPI_execute_with_args answered {code}");
    // SAFETY: a C string of the session's memory.
    Ok((!answer.is_null()).then(|| unsafe { CStr::from_ptr(answer) }.to_string_lossy().into_owned()))
}
