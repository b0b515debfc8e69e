//! Event triggers: what the statement says that fired one. SQL cannot ask whether a DROP said CASCADE.

use super::{OwnerRights, Session, Statement, ereport, server};
use crate::error::Error;
use crate::guard_drop;
use crate::temporal::tables::follow;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

static HOME_SCHEMA: Statement = Statement::new(
    c"SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
      WHERE e.extname = 'neobank'",
    &[],
);

/// Called before DROP EXTENSION, DROP SCHEMA and DROP OWNED.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn neobank_guard_drop(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the server hands over a whole call, and its context is null or a node.
    let statement = unsafe { fired_by(call) };
    let Some(statement) = statement else {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED,
            "neobank.guard_drop must be called as an event trigger"
        );
    };
    // SAFETY: the parse tree of the statement under way lives until its end.
    let drops = unsafe { drops_extension(statement) };
    ereport::finish(drops.and_then(|drops| if drops { guard_drop::check() } else { Ok(()) }));
    pg_sys::Datum::null()
}

/// Tells the server how to call the function above.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_finfo_neobank_guard_drop() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// Called before statements that alter or drop tables.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn neobank_note_tables(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the server's own call.
    if unsafe { alters_tables(call) } {
        ereport::finish(follow::note_tables());
    }
    pg_sys::Datum::null()
}

/// Tells the server how to call the function above.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_finfo_neobank_note_tables() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// Called after statements that alter or drop tables.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn neobank_follow_tables(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the server's own call.
    if unsafe { alters_tables(call) } {
        ereport::finish(follow::follow_tables());
    }
    pg_sys::Datum::null()
}

/// Whether the statement may be of concern to a table with a history. A new table is not, unless it inherits.
///
/// # Safety
/// `call` is the server's.
unsafe fn alters_tables(call: pg_sys::FunctionCallInfo) -> bool {
    // SAFETY: the caller's promise; a node's tag says what it is, and its tree lives until the statement's end.
    unsafe {
        match fired_by(call) {
            None => {
                ereport!(
                    ERROR,
                    PgSqlErrorCode::ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED,
                    "temporal.follow_tables must be called as an event trigger"
                );
            }
            Some(statement) if (*statement).type_ == pg_sys::NodeTag::T_CreateStmt => {
                !(*statement.cast::<pg_sys::CreateStmt>()).inhRelations.is_null()
            }
            Some(_) => true,
        }
    }
}

/// Tells the server how to call the function above.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_finfo_neobank_follow_tables() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The statement that fired the trigger, none where the function was called otherwise.
///
/// # Safety
/// `call` is the server's.
unsafe fn fired_by(call: pg_sys::FunctionCallInfo) -> Option<*mut pg_sys::Node> {
    // SAFETY: the caller's promise; a node's tag says what it is.
    unsafe {
        let context = (*call).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_EventTriggerData {
            return None;
        }
        Some((*context.cast::<pg_sys::EventTriggerData>()).parsetree)
    }
}

/// Whether the statement would take this extension with it without both naming it and saying CASCADE.
///
/// # Safety
/// `statement` is a whole parse tree.
unsafe fn drops_extension(statement: *mut pg_sys::Node) -> Result<bool, Error> {
    // SAFETY: the caller's promise; a node's tag says what it is.
    unsafe {
        match (*statement).type_ {
            pg_sys::NodeTag::T_DropStmt => drop_reaches(&*statement.cast::<pg_sys::DropStmt>()),
            pg_sys::NodeTag::T_DropOwnedStmt => Ok(is_of_owner(&*statement.cast::<pg_sys::DropOwnedStmt>())),
            _ => Ok(false),
        }
    }
}

/// # Safety
/// `statement` is a whole parse tree.
unsafe fn drop_reaches(statement: &pg_sys::DropStmt) -> Result<bool, Error> {
    let cascades = statement.behavior == pg_sys::DropBehavior::DROP_CASCADE;
    // SAFETY: extensions and schemas are named by lists of strings.
    let names = |name: &CStr| unsafe { elements(statement.objects).any(|node| string_of(node) == name) };
    match statement.removeType {
        pg_sys::ObjectType::OBJECT_EXTENSION if names(c"neobank") => Ok(!cascades && is_for_caller()),
        // The language of some of its functions.
        pg_sys::ObjectType::OBJECT_EXTENSION => Ok(cascades && names(c"plpgsql")),
        pg_sys::ObjectType::OBJECT_SCHEMA => Ok(cascades && names(&home_schema()?)),
        _ => Ok(false),
    }
}

/// # Safety
/// `statement` is a whole parse tree.
unsafe fn is_of_owner(statement: &pg_sys::DropOwnedStmt) -> bool {
    let owner = server::owner();
    // SAFETY: a list of roles; one that is not there is left to the statement to complain about.
    let of_owner =
        unsafe { elements(statement.roles).any(|role| pg_sys::get_rolespec_oid(role.cast(), true) == owner) };
    of_owner && is_for_caller()
}

/// Whether the caller may drop what the extension's owner may; the server tells everybody else so itself.
fn is_for_caller() -> bool {
    server::has_privileges_of(server::current_user(), server::owner())
}

/// The schema that was current at CREATE EXTENSION: the extension counts as one of its objects.
fn home_schema() -> Result<CString, Error> {
    let _rights = OwnerRights::to_read();
    let session = Session::write();
    let name = session.run(&HOME_SCHEMA, &[])?.first().and_then(|row| row.text(1)).unwrap_or_default();
    Ok(CString::new(name).expect("a name of the catalog has no zero byte"))
}

/// # Safety
/// `list` is null or a list of pointers.
unsafe fn elements(list: *mut pg_sys::List) -> impl Iterator<Item = *mut std::ffi::c_void> {
    // SAFETY: the caller's promise.
    unsafe {
        let length = if list.is_null() { 0 } else { (*list).length as usize };
        (0..length).map(move |at| (*(*list).elements.add(at)).ptr_value)
    }
}

/// # Safety
/// `node` is a string node, which lives as long as its statement.
unsafe fn string_of<'a>(node: *mut std::ffi::c_void) -> &'a CStr {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr((*node.cast::<pg_sys::String>()).sval) }
}
