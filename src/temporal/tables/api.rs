//! Changes of a portion of a row's time.

use crate::error::Error;
use crate::pg::{Arg, JsonDatum, OwnerRights, RegClass, Session, Statement, Time, Type, finish, server};
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
        let _rights = OwnerRights::of(u32::try_from(owner).expect("an oid").into());
        let micros = |time: Option<Time>| Arg::Timestamp(time.map(|time| time.0));
        let rows = session.run(
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
        )?;
        Ok(rows.first().and_then(|row| row.bigint(1)).unwrap_or_default())
    }
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
