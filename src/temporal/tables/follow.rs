//! Histories follow their tables. Behind the event triggers of `sql/temporal_tables_watch.sql`.

use super::api::rows_of;
use crate::error::Error;
use crate::pg::{Arg, OwnerRights, Session, Statement, Type, server};
use std::cell::{Cell, RefCell};

static ALTERED: Statement = Statement::new(
    c"SELECT f.table_name::oid::bigint, c.relowner::bigint,
             EXISTS (SELECT FROM pg_catalog.pg_class p
                     WHERE p.oid IN (t.current_rows, t.past_rows, t.superseded_rows, t.timeline, t.as_of_view)
                       AND p.relowner <> c.relowner)
             OR NOT pg_catalog.has_schema_privilege(c.relowner, 'temporal', 'USAGE')
             OR NOT pg_catalog.has_function_privilege(c.relowner, 'temporal.try_follow(regclass)', 'EXECUTE')
      FROM temporal.tables_to_follow f
      JOIN temporal.tables t ON t.table_name = f.table_name
      JOIN pg_catalog.pg_class c ON c.oid = f.table_name
      WHERE NOT f.is_gone ORDER BY 1",
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

static FOLLOW_OWNER: Statement =
    Statement::new(c"SELECT temporal.follow_owner($1::oid::regclass)", &[Type::BigInt]);
static FOLLOW: Statement =
    Statement::new(c"SELECT 0::bigint FROM temporal.follow_table($1::oid::regclass)", &[Type::BigInt]);
static TRY_FOLLOW: Statement =
    Statement::new(c"SELECT 0::bigint FROM temporal.try_follow($1::oid::regclass)", &[Type::BigInt]);

thread_local! {
    /// Tables that had not been followed when the statement under way began.
    static BEFORE: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
    /// Whether this backend is about to follow: the statements for that call for no more of it.
    static FOLLOWING: Cell<bool> = const { Cell::new(false) };
}

struct Following;

impl Following {
    fn begin() -> Self {
        FOLLOWING.set(true);
        Self
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        FOLLOWING.set(false);
    }
}

struct Altered {
    table: i64,
    owner: i64,
    /// The owner does not own all of the history, or may not keep one.
    is_anothers: bool,
}

fn altered(session: &Session) -> Result<Vec<Altered>, Error> {
    let rows = session.run(&ALTERED, &[])?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            Some(Altered { table: row.bigint(1)?, owner: row.bigint(2)?, is_anothers: row.bool(3)? })
        })
        .collect())
}

/// What the statement to come alters is told from what was altered before by this.
pub fn note_tables() -> Result<(), Error> {
    if FOLLOWING.get() {
        return Ok(());
    }
    let _rights = OwnerRights::to_write_as(server::owner_of(c"temporal", c"tables"));
    let tables = altered(&Session::write())?;
    BEFORE.set(tables.into_iter().map(|entry| entry.table).collect());
    Ok(())
}

/// What is to be followed is looked up with the extension's rights, as anybody may alter a table of his own; what is
/// then done to the history is done with the rights of the table's owner. A dump that is being restored brings the
/// history as it is to be.
pub fn follow_tables() -> Result<(), Error> {
    if FOLLOWING.get() {
        return Ok(());
    }
    let before = BEFORE.take();
    let tables = {
        let _rights = OwnerRights::to_write_as(server::owner_of(c"temporal", c"tables"));
        let session = Session::write();
        session.run(&FORGET, &[])?;
        session.run(&NUMBER, &[])?;
        altered(&session)?
    };
    if server::is_restoring() {
        return Ok(());
    }
    let _following = Following::begin();
    for entry in tables {
        let role = u32::try_from(entry.owner).expect("an oid").into();
        let is_callers = server::has_privileges_of(server::current_user(), role);
        let is_altered = !before.contains(&entry.table);
        // Nobody is kept from his own by what has become of another's table, which that one's owner will follow.
        let statement = match (is_altered, is_callers) {
            (true, true) => &FOLLOW,
            (true, false) | (false, true) => &TRY_FOLLOW,
            (false, false) => continue,
        };
        if is_altered && is_callers {
            Session::write().run(&FOLLOW_OWNER, &[Arg::BigInt(Some(entry.table))])?;
        } else if entry.is_anothers {
            continue;
        }
        rows_of(role, statement, &[Arg::BigInt(Some(entry.table))])?;
    }
    Ok(())
}
