//! Functions of the application's that are called as handlers.

use crate::error::Error;
use crate::pg::{Arg, PRESENT, RegProc, Session, Statement, Type};

static LOOK: Statement = Statement::new(
    c"SELECT n.nspname::text, p.proname::text, p.prokind = 'f' AND NOT p.proretset,
             p.prorettype::regtype::text || '(' ||
                 array_to_string(ARRAY(SELECT t.arg::regtype::text FROM unnest(p.proargtypes) WITH ORDINALITY t(arg, n)
                                       ORDER BY t.n), ', ') || ')',
             has_function_privilege($2, p.oid, 'EXECUTE')
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = $1::oid",
    &[Type::BigInt, Type::Text],
);

/// What such a function takes and answers.
#[derive(Clone, Copy)]
pub enum Signature {
    Command,
    Projection,
}

impl Signature {
    /// As the catalog spells it with only itself in the search path.
    fn text(self) -> &'static str {
        match self {
            Signature::Command => "jsonb(cqrs.commands)",
            Signature::Projection => "void(event_store.events, regclass)",
        }
    }
}

/// A function by its name: it is found again after a dump and a restore, and when it is replaced.
pub struct Function {
    pub schema: String,
    pub name: String,
}

impl Function {
    /// The function, if it is one that `caller` may have called.
    pub fn checked(
        session: &Session,
        function: RegProc,
        signature: Signature,
        caller: &str,
    ) -> Result<Function, Error> {
        let oid = i64::from(u32::from(function.0));
        let row = session.run(&LOOK, &[Arg::BigInt(Some(oid)), Arg::Text(Some(caller))])?.first();
        let invalid = |handler: String, why| Err(Error::HandlerInvalid { handler, why });
        let Some(row) = row else { return invalid(oid.to_string(), "does not exist") };
        let found = Function { schema: row.text(1).expect(PRESENT), name: row.text(2).expect(PRESENT) };
        let handler = format!("{}.{}", found.schema, found.name);
        if row.bool(3) != Some(true) || row.text(4).as_deref() != Some(signature.text()) {
            return invalid(handler, "takes or answers something else");
        }
        if row.bool(5) != Some(true) {
            return invalid(handler, "may not be executed by the caller");
        }
        Ok(found)
    }
}
