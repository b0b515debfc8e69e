//! Tables of projections and the twins that they are rebuilt into.

use super::store::Projection;
use crate::error::Error;
use crate::pg::{Arg, PRESENT, RegClass, Session, Statement, Type};
use pgrx::pg_sys;

static TARGET: Statement = Statement::new(
    c"SELECT n.nspname::text, c.relname::text, pg_has_role($2, c.relowner, 'USAGE'), cqrs.target_obstacle(c.oid)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::oid",
    &[Type::BigInt, Type::Text],
);

static MAKE_TWIN: Statement = Statement::new(c"SELECT cqrs.make_twin($1::oid::regclass)", &[Type::BigInt]);

static SWAP_TWIN: Statement =
    Statement::new(c"SELECT cqrs.swap_twin($1::oid::regclass, $2)", &[Type::BigInt, Type::Text]);

static DROP_TWIN: Statement = Statement::new(c"SELECT cqrs.drop_twin($1, $2)", &[Type::Text, Type::Text]);

static RELATION: Statement = Statement::new(
    c"SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $1 AND c.relname = $2",
    &[Type::Text, Type::Text],
);

// Above every transaction that is under way or over, this one included.
static NEW_FENCE: Statement = Statement::new(
    c"SELECT greatest(pg_snapshot_xmax(pg_current_snapshot())::text::bigint, pg_current_xact_id()::text::bigint + 1)",
    &[],
);

static OLDEST: Statement =
    Statement::new(c"SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint", &[]);

impl Projection {
    pub fn make_twin(&self, session: &Session) -> Result<String, Error> {
        let (target, _) = self.target()?;
        let row = session.run(&MAKE_TWIN, &[oid(target)])?.first();
        Ok(row.and_then(|row| row.text(1)).expect("it answers the twin's name"))
    }

    pub fn twin_oid(&self, session: &Session, twin: &str) -> Result<pg_sys::Oid, Error> {
        let args = [Arg::Text(Some(&self.target_schema)), Arg::Text(Some(twin))];
        let row = session.run(&RELATION, &args)?.first();
        row.and_then(|row| row.get(1))
            .ok_or_else(|| self.refused("has lost the table that it is rebuilt into"))
    }

    pub fn swap_twin(&self, session: &Session, twin: &str) -> Result<(), Error> {
        let (target, _) = self.target()?;
        session.run(&SWAP_TWIN, &[oid(target), Arg::Text(Some(twin))]).map(drop)
    }

    pub fn drop_twin(&self, session: &Session) -> Result<(), Error> {
        let args = [Arg::Text(Some(&self.target_schema)), Arg::Text(self.twin.as_deref())];
        session.run(&DROP_TWIN, &args).map(drop)
    }
}

fn oid(oid: pg_sys::Oid) -> Arg<'static> {
    Arg::BigInt(Some(u32::from(oid).into()))
}

/// Schema and name of a table that may be a target for `caller`.
pub fn checked_target(session: &Session, target: RegClass, caller: &str) -> Result<[String; 2], Error> {
    let row = session.run(&TARGET, &[oid(target.0), Arg::Text(Some(caller))])?.first();
    let bad = |target: String, why: String| Err(Error::ProjectionTarget { target, why });
    let Some(row) = row else { return bad(u32::from(target.0).to_string(), "does not exist".into()) };
    let names = [row.text(1).expect(PRESENT), row.text(2).expect(PRESENT)];
    let shown = names.join(".");
    if let Some(why) = row.text(4) {
        return bad(shown, why);
    }
    if row.bool(3) != Some(true) {
        return bad(shown, "is not the caller's".into());
    }
    Ok(names)
}

pub fn new_fence(session: &Session) -> Result<i64, Error> {
    let row = session.run(&NEW_FENCE, &[])?.first();
    Ok(row.and_then(|row| row.bigint(1)).expect("one row"))
}

/// Every transaction below it has ended.
pub fn oldest_transaction(session: &Session) -> Result<i64, Error> {
    let row = session.run(&OLDEST, &[])?.first();
    Ok(row.and_then(|row| row.bigint(1)).expect("one row"))
}
