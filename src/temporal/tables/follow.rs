//! Histories follow their tables. Behind the event trigger of `sql/temporal_tables_follow.sql`.

use crate::error::Error;
use crate::pg::{Arg, OwnerRights, Session, Statement, Type, server};

static ALTERED: Statement = Statement::new(
    c"SELECT f.table_name::oid::bigint FROM temporal.tables_to_follow f WHERE NOT f.is_gone ORDER BY 1",
    &[],
);

static FORGET: Statement = Statement::new(
    c"WITH gone AS (
          DELETE FROM temporal.tables t USING temporal.tables_to_follow f
          WHERE f.table_name = t.table_name AND f.is_gone RETURNING t.table_name)
      DELETE FROM temporal.table_columns c USING gone g WHERE c.table_name = g.table_name",
    &[],
);

// A restore brings no numbers of columns, and gives them before anybody can rename one: its triggers are made last.
static NUMBER: Statement = Statement::new(
    c"INSERT INTO temporal.table_columns
      SELECT t.table_name, a.attnum, a.attname
      FROM temporal.tables t
      JOIN pg_catalog.pg_attribute a ON a.attrelid = t.table_name AND a.attnum > 0 AND NOT a.attisdropped
      JOIN pg_catalog.pg_attribute h ON h.attrelid = t.current_rows AND h.attname = a.attname AND h.attnum > 0
      WHERE NOT EXISTS (SELECT FROM temporal.table_columns c WHERE c.table_name = t.table_name)
      ON CONFLICT DO NOTHING",
    &[],
);

static FOLLOW: Statement = Statement::new(c"SELECT temporal.follow($1::oid::regclass)", &[Type::BigInt]);

/// What is to be followed is looked up with the extension's rights, as anybody may alter a table of his own; what is
/// then done to the history is done with the rights of who altered the table.
pub fn follow_tables() -> Result<(), Error> {
    let altered = {
        let _rights = OwnerRights::to_write_as(server::owner_of(c"temporal", c"tables"));
        let session = Session::write();
        session.run(&FORGET, &[])?;
        session.run(&NUMBER, &[])?;
        let tables: Vec<i64> = session.run(&ALTERED, &[])?.iter().filter_map(|row| row.bigint(1)).collect();
        tables
    };
    let session = Session::write();
    for table in altered {
        session.run(&FOLLOW, &[Arg::BigInt(Some(table))])?;
    }
    Ok(())
}
