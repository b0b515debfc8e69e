//! Changes of a portion of a row's time.

use crate::error::Error;
use crate::pg::{
    Arg, JsonDatum, OwnerRights, RegClass, Session, Statement, Text, Time, Type, finish, server,
};
use crate::txn_processing::bounds::bounded_json;
use crate::txn_processing::required;
use pgrx::prelude::*;

/// Bytes of a row's values in the binary form, and how deep they may nest.
const MAX_ROW_BYTES: usize = 16 << 20;
const MAX_ROW_DEPTH: usize = 64;

static RIGHTS: Statement = Statement::new(
    c"SELECT c.relowner::bigint, pg_catalog.has_table_privilege(c.oid, $2), pg_catalog.row_security_active(c.oid)
      FROM pg_catalog.pg_class c WHERE c.oid = $1::oid",
    &[Type::BigInt, Type::Text],
);

static CHANGE: Statement = Statement::new(
    c"SELECT temporal.change_portion($1::oid::regclass, $2, $3, $4, $5, $6, $7)",
    &[Type::BigInt, Type::Text, Type::Jsonb, Type::Timestamp, Type::Timestamp, Type::Jsonb, Type::Text],
);

static OWNER: Statement = Statement::new(
    c"SELECT c.relowner::bigint, pg_catalog.pg_has_role(c.relowner, 'USAGE')
      FROM pg_catalog.pg_class c WHERE c.oid = $1::oid",
    &[Type::BigInt],
);

static APPLY_DUE: Statement =
    Statement::new(c"SELECT temporal.apply_due_to($1::oid::regclass)", &[Type::BigInt]);

static FOLLOW: Statement =
    Statement::new(c"SELECT 0::bigint FROM temporal.follow_table($1::oid::regclass)", &[Type::BigInt]);

static PRUNE: Statement = Statement::new(
    c"SELECT temporal.prune_of($1::oid::regclass, $2, $3)",
    &[Type::BigInt, Type::Timestamp, Type::BigInt],
);

struct Portion {
    function: &'static str,
    /// As `temporal.change_portion` calls it, which is also the privilege that it takes.
    action: &'static str,
    table: Option<RegClass>,
    key: Option<JsonDatum>,
    valid_from: Option<Time>,
    valid_to: Option<Time>,
    values: Option<JsonDatum>,
}

impl Portion {
    /// With the rights of the table's owner, once the caller's own allow it.
    fn change(self) -> Result<i64, Error> {
        let table = i64::from(u32::from(required("p_table", self.table)?.0));
        for (name, json) in [("key", self.key), ("changes", self.values)] {
            if let Some(json) = json {
                bounded_json(name, json, MAX_ROW_BYTES, MAX_ROW_DEPTH)?;
            }
        }
        let who = server::role_name(server::current_user());
        let session = Session::write();
        let rows = session.run(&RIGHTS, &[Arg::BigInt(Some(table)), Arg::Text(Some(self.action))])?;
        let owner = rows.first().filter(|row| row.bool(2) == Some(true) && row.bool(3) == Some(false));
        let Some(owner) = owner.and_then(|row| row.bigint(1)) else {
            return Err(Error::NotPermitted { role: who, function: self.function });
        };
        let micros = |time: Option<Time>| Arg::Timestamp(time.map(|time| time.0));
        rows_of(
            u32::try_from(owner).expect("an oid").into(),
            &CHANGE,
            &[
                Arg::BigInt(Some(table)),
                Arg::Text(Some(self.action)),
                Arg::Jsonb(self.key),
                micros(self.valid_from),
                micros(self.valid_to),
                Arg::Jsonb(self.values),
                Arg::Text(Some(&who)),
            ],
        )
    }
}

/// Runs a statement with the rights of a table's owner. Returns the number that it answers, if it does.
pub(super) fn rows_of(owner: pg_sys::Oid, statement: &'static Statement, args: &[Arg]) -> Result<i64, Error> {
    let _rights = OwnerRights::of(owner);
    let session = Session::write();
    let rows = session.run(statement, args)?;
    Ok(rows.first().and_then(|row| row.bigint(1)).unwrap_or_default())
}

/// These call triggers and functions of the table's owner, who is not to get the caller's rights by them.
fn work_as_owner(
    table: Option<RegClass>,
    work: Option<Text>,
    before: Option<Time>,
    max_rows: Option<i64>,
) -> Result<i64, Error> {
    let table = i64::from(u32::from(required("p_table", table)?.0));
    let work = required("p_work", work)?;
    let (function, statement) = match &*work {
        "apply_due" => ("temporal.apply_due", &APPLY_DUE),
        "follow" => ("temporal.follow", &FOLLOW),
        "prune" => ("temporal.prune", &PRUNE),
        _ => {
            return Err(Error::ArgumentBounds {
                argument: "p_work",
                why: format!(
                    "It is {:?}, not follow, apply_due or prune.",
                    work.chars().take(20).collect::<String>()
                ),
            });
        }
    };
    let session = Session::write();
    let rows = session.run(&OWNER, &[Arg::BigInt(Some(table))])?;
    let Some(owner) = rows.first().filter(|row| row.bool(2) == Some(true)).and_then(|row| row.bigint(1))
    else {
        return Err(Error::NotPermitted { role: server::role_name(server::current_user()), function });
    };
    let args = [Arg::BigInt(Some(table)), Arg::Timestamp(before.map(|time| time.0)), Arg::BigInt(max_rows)];
    let owner = u32::try_from(owner).expect("an oid").into();
    rows_of(owner, statement, if *work == *"prune" { &args } else { &args[..1] })
}

#[pg_extern(schema = "temporal", volatile, parallel_unsafe)]
fn as_owner(
    p_table: Option<RegClass>,
    p_work: Option<Text>,
    p_before: Option<Time>,
    p_max_rows: Option<i64>,
) -> i64 {
    finish(work_as_owner(p_table, p_work, p_before, p_max_rows))
}

#[pg_extern(schema = "temporal", volatile, parallel_unsafe)]
fn update_portion(
    p_table: Option<RegClass>,
    key: Option<JsonDatum>,
    valid_from: Option<Time>,
    valid_to: Option<Time>,
    changes: Option<JsonDatum>,
) -> i64 {
    let function = "temporal.update_portion";
    let values = changes;
    finish(Portion { function, action: "update", table: p_table, key, valid_from, valid_to, values }.change())
}

#[pg_extern(schema = "temporal", volatile, parallel_unsafe)]
fn delete_portion(
    p_table: Option<RegClass>,
    key: Option<JsonDatum>,
    valid_from: Option<Time>,
    valid_to: Option<Time>,
) -> i64 {
    let function = "temporal.delete_portion";
    finish(
        Portion { function, action: "delete", table: p_table, key, valid_from, valid_to, values: None }
            .change(),
    )
}

#[pg_extern(schema = "temporal", volatile, parallel_unsafe)]
fn insert_portion(
    p_table: Option<RegClass>,
    row_values: Option<JsonDatum>,
    valid_from: Option<Time>,
    valid_to: default!(Option<Time>, "'infinity'"),
) -> i64 {
    let function = "temporal.insert_portion";
    let values = row_values;
    finish(
        Portion { function, action: "insert", table: p_table, key: None, valid_from, valid_to, values }
            .change(),
    )
}
