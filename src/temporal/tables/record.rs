//! What statements that update and delete rows do to the history of their table.

use crate::error::Error;
use crate::pg::history::{Column, Shape};
use crate::pg::{Arg, OwnerRights, Session, Statement, Type};

static SHAPE: Statement = Statement::new(
    c"SELECT t.current_rows::oid::bigint,
             coalesce((SELECT i.indexrelid FROM pg_catalog.pg_index i
                       WHERE i.indrelid = t.current_rows AND i.indisprimary)::bigint, 0),
             t.past_rows::oid::bigint,
             pg_catalog.to_regprocedure(pg_catalog.format('%s.%I()', h.relnamespace::regnamespace, t.base_name || '_record'))::oid::bigint,
             (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', a.attnum, c.attnum, p.attnum,
                         (a.attname = ANY (t.key_columns))::int), ',' ORDER BY a.attnum)
              FROM pg_catalog.pg_attribute a
              JOIN pg_catalog.pg_attribute c ON c.attrelid = t.current_rows AND c.attname = a.attname AND NOT c.attisdropped
              JOIN pg_catalog.pg_attribute p ON p.attrelid = t.past_rows AND p.attname = a.attname AND NOT p.attisdropped
              WHERE a.attrelid = t.table_name AND a.attnum > 0 AND NOT a.attisdropped),
             (SELECT pg_catalog.string_agg(a.attnum::text, ',' ORDER BY x.n)
              FROM pg_catalog.unnest(ARRAY['history_valid_from', 'history_known_from', 'history_by',
                       'history_transaction']) WITH ORDINALITY x (name, n)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = t.current_rows AND a.attname = x.name),
             (SELECT pg_catalog.string_agg(a.attnum::text, ',' ORDER BY x.n)
              FROM pg_catalog.unnest(ARRAY['history_valid_from', 'history_valid_to', 'history_known_from',
                       'history_ended_live', 'history_by', 'history_transaction', 'history_closed_by',
                       'history_closed_transaction']) WITH ORDINALITY x (name, n)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = t.past_rows AND a.attname = x.name),
             -- Not the short way: triggers that may change the row again before this one sees it, keys that others
             -- check, values that are nowhere stored, a history that was changed by hand.
             NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g
                         WHERE g.tgrelid = t.table_name AND g.tgtype & 66 = 0 AND NOT g.tgname LIKE 'neobank\\_history\\_%'
                           AND (NOT g.tgisinternal OR g.tgconstrrelid = t.table_name))
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g
                             WHERE g.tgrelid IN (t.current_rows, t.past_rows) AND g.tgname <> 'neobank_guard')
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                             WHERE a.attrelid = t.table_name AND a.attgenerated NOT IN ('', 's'))
             AND (SELECT pg_catalog.bool_and(c.relkind = 'r' AND NOT c.relispartition AND m.amname = 'heap')
                  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am m ON m.oid = c.relam
                  WHERE c.oid IN (t.current_rows, t.past_rows)),
             (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = t.table_name AND a.attnum > 0 AND NOT a.attisdropped)
      FROM temporal.tables t JOIN pg_catalog.pg_class h ON h.oid = t.current_rows
      WHERE t.table_name = $1::oid",
    &[Type::BigInt],
);

fn numbers(text: &str, by: char) -> Vec<usize> {
    text.split(by).map(|number| number.parse().expect("a column's number")).collect()
}

/// The history of a table as the catalog has it now; none where it has none.
pub fn shape(table: u32) -> Result<Option<Shape>, Error> {
    let _rights = OwnerRights::to_read();
    let session = Session::read();
    let rows = session.run(&SHAPE, &[Arg::BigInt(Some(table.into()))])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let oid = |column| u32::try_from(row.bigint(column).unwrap_or_default()).expect("an oid");
    let list = |column| numbers(&row.text(column).unwrap_or_default(), ',');
    let columns: Vec<Column> = row
        .text(5)
        .unwrap_or_default()
        .split(',')
        .map(|entry| {
            let part = numbers(entry, ':');
            Column { own: part[0] - 1, current: part[1] - 1, past: part[2] - 1, is_key: part[3] == 1 }
        })
        .collect();
    let (current_columns, past_columns) = (list(6), list(7));
    let is_whole =
        row.bigint(9) == Some(columns.len() as i64) && current_columns.len() == 4 && past_columns.len() == 8;
    Ok(Some(Shape {
        table,
        current: oid(1),
        key_index: oid(2),
        past: oid(3),
        long_way: oid(4),
        is_simple: row.bool(8) == Some(true) && oid(2) != 0 && is_whole,
        columns,
        current_columns: current_columns.iter().map(|n| n - 1).collect(),
        past_columns: past_columns.iter().map(|n| n - 1).collect(),
    }))
}
