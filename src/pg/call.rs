//! Functions that are not the extension's, called in somebody's name.

use super::compat::OwnSettings;
use super::ereport;
use super::plans::CallersPlans;
use super::rights::without_writers;
use super::types::{JsonBytes, JsonDatum};
use crate::error::Error;
use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int};

/// While it lives, the backend acts as that role with `search_path = pg_catalog, pg_temp`, and guards see none of the
/// ledger's own functions at work. What is SET meanwhile is put back afterwards. A role that is not the caller's cannot be left again by what runs, nor leave anything behind in the
/// session (a security-restricted operation, as the server's own maintenance runs what it finds in indexes).
pub struct ActingAs {
    found: pg_sys::Oid,
    found_context: i32,
    writers: u32,
    _settings: OwnSettings,
    _plans: CallersPlans,
}

impl ActingAs {
    pub fn role(role: pg_sys::Oid) -> Self {
        let mut found = pg_sys::InvalidOid;
        let mut found_context = 0;
        // SAFETY: both out pointers live on this stack frame.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut found, &mut found_context);
            if role != found {
                let restricted = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
                pg_sys::SetUserIdAndSecContext(role, found_context | restricted as i32);
            }
        }
        let writers = without_writers(0);
        ActingAs {
            found,
            found_context,
            writers,
            _settings: OwnSettings::begin(false),
            _plans: CallersPlans::restore(),
        }
    }
}

impl Drop for ActingAs {
    fn drop(&mut self) {
        without_writers(self.writers);
        // SAFETY: restores what `role` found.
        unsafe { pg_sys::SetUserIdAndSecContext(self.found, self.found_context) };
    }
}

/// A whole row, copied out of the server's memory.
pub struct Composite {
    type_oid: pg_sys::Oid,
    bytes: JsonBytes,
}

impl Composite {
    /// # Safety
    /// `datum` is a row of that type.
    pub(super) unsafe fn copy(type_oid: pg_sys::Oid, datum: pg_sys::Datum) -> Self {
        // SAFETY: a row is a varlena with its length in front, as a jsonb is.
        let bytes = unsafe { JsonBytes::from_datum(datum, false) }.expect("it is not null");
        Composite { type_oid, bytes }
    }

    /// The row in the server's memory again.
    pub(super) fn datum(&self) -> pg_sys::Datum {
        self.bytes.clone().into_datum().expect("a row is not null")
    }
}

/// An argument of such a function.
pub enum Value<'a> {
    Row(&'a Composite),
    Relation(pg_sys::Oid),
    Uuid(uuid::Uuid),
    Json(JsonDatum),
}

impl Value<'_> {
    fn type_oid(&self) -> pg_sys::Oid {
        match self {
            Value::Row(row) => row.type_oid,
            Value::Relation(_) => pg_sys::REGCLASSOID,
            Value::Uuid(_) => pg_sys::UUIDOID,
            Value::Json(_) => pg_sys::JSONBOID,
        }
    }

    fn datum(&self) -> pg_sys::Datum {
        match self {
            Value::Row(row) => row.datum(),
            Value::Relation(oid) => pg_sys::Datum::from(*oid),
            Value::Uuid(id) => {
                pgrx::Uuid::from_bytes(*id.as_bytes()).into_datum().expect("an id is not null")
            }
            Value::Json(json) => json.datum(),
        }
    }
}

/// Plans that a backend keeps of such calls.
const MAX_PLANS: usize = 200;

thread_local! {
    static PLANS: RefCell<HashMap<CString, pg_sys::SPIPlanPtr>> = RefCell::default();
}

/// Calls `schema.name(values)`. What it answers is a jsonb, or not looked at.
pub fn call(schema: &str, name: &str, values: &[Value], answers: bool) -> Result<Option<JsonBytes>, Error> {
    let quoted = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    let places: Vec<String> = (1..=values.len()).map(|n| format!("${n}")).collect();
    let sql = format!("SELECT {}.{}({})", quoted(schema), quoted(name), places.join(", "));
    let sql = CString::new(sql).expect("a name of the catalog has no zero byte");
    // SAFETY: paired with SPI_finish, or cleaned up by the abort of the (sub)transaction.
    let code = unsafe { pg_sys::SPI_connect() };
    assert!(code == pg_sys::SPI_OK_CONNECT as i32, "SPI_connect has no other answer");
    let plan = plan(sql, values)?;
    let mut datums: Vec<pg_sys::Datum> = values.iter().map(Value::datum).collect();
    let nulls = vec![b' ' as c_char; values.len()];
    let (values, nulls) = (datums.as_mut_ptr(), nulls.as_ptr());
    // SAFETY: as many values as the plan has parameters, of its types; the closure only calls SPI.
    let code = unsafe { ereport::catch(|| ereport::SPI_execute_plan(plan, values, nulls, false, 0)) };
    assert!(code.map_err(Error::Server)? >= 0, "a SELECT of one row");
    // SAFETY: the statement gave rows of one column; what is read of them is copied before the session ends.
    unsafe {
        let (table, mut is_null) = (pg_sys::SPI_tuptable, false);
        // It may have been made anew since somebody looked at its type.
        if answers
            && (pg_sys::SPI_processed != 1 || pg_sys::SPI_gettypeid((*table).tupdesc, 1) != pg_sys::JSONBOID)
        {
            return Err(Error::FunctionChanged { function: format!("{schema}.{name}") });
        }
        if !answers {
            pg_sys::SPI_finish();
            return Ok(None);
        }
        let datum = pg_sys::SPI_getbinval(*(*table).vals, (*table).tupdesc, 1, &mut is_null);
        let answer = JsonBytes::from_datum(datum, is_null);
        pg_sys::SPI_finish();
        Ok(answer)
    }
}

fn plan(sql: CString, values: &[Value]) -> Result<pg_sys::SPIPlanPtr, Error> {
    let known = PLANS.with_borrow(|plans| plans.get(&sql).copied());
    if let Some(plan) = known {
        return Ok(plan);
    }
    let mut types: Vec<pg_sys::Oid> = values.iter().map(Value::type_oid).collect();
    let (text, count, types) = (sql.as_ptr(), values.len() as c_int, types.as_mut_ptr());
    // SAFETY: called with a session open; the closure only calls SPI.
    let plan = unsafe { ereport::catch(|| ereport::SPI_prepare_cursor(text, count, types, 0)) };
    let plan = plan.map_err(Error::Server)?;
    assert!(!plan.is_null(), "SPI_prepare refuses only bad arguments");
    PLANS.with_borrow_mut(|plans| {
        // SAFETY: none of them is being executed: a plan in use is held by the server itself.
        unsafe {
            if plans.len() >= MAX_PLANS {
                for (_, old) in plans.drain() {
                    pg_sys::SPI_freeplan(old);
                }
            }
            pg_sys::SPI_keepplan(plan);
        }
        plans.insert(sql, plan);
    });
    Ok(plan)
}
