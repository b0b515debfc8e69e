//! Whether a role may execute a function, asked where the server's own check sees another role than the one meant.

use crate::error::Error;
use crate::pg::{Arg, Session, Statement, Type};

static MAY_EXECUTE: Statement = Statement::new(
    c"SELECT has_function_privilege(r.oid, p.oid, 'EXECUTE')
      FROM pg_catalog.pg_roles r, pg_catalog.pg_proc p, pg_catalog.pg_namespace n
      WHERE r.rolname = $1 AND n.nspname = $2 AND p.pronamespace = n.oid AND p.proname = $3",
    &[Type::Text, Type::Text, Type::Text],
);

/// Refuses a role that may not execute `function`, which is named with its schema.
pub fn check_execute(session: &Session, role: &str, function: &'static str) -> Result<(), Error> {
    let (schema, name) = function.split_once('.').expect("named with its schema");
    let args = [Arg::Text(Some(role)), Arg::Text(Some(schema)), Arg::Text(Some(name))];
    let row = session.run(&MAY_EXECUTE, &args)?.first();
    if row.and_then(|row| row.bool(1)) == Some(true) {
        return Ok(());
    }
    Err(Error::NotPermitted { role: role.to_owned(), function })
}
