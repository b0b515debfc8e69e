//! What statements that update and delete rows do to the history of their table.

use crate::error::Error;
use crate::pg::history::{Column, Index, Shape};
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
                       'history_transaction', 'history_due']) WITH ORDINALITY x (name, n)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = t.current_rows AND a.attname = x.name),
             (SELECT pg_catalog.string_agg(a.attnum::text, ',' ORDER BY x.n)
              FROM pg_catalog.unnest(ARRAY['history_valid_from', 'history_valid_to', 'history_known_from',
                       'history_ended_live', 'history_by', 'history_transaction', 'history_closed_by',
                       'history_closed_transaction']) WITH ORDINALITY x (name, n)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = t.past_rows AND a.attname = x.name),
             -- Not the short way: triggers that may change the row again before this one sees it, keys that others
             -- check, values that are nowhere stored, a history that was changed by hand, which may want more of a row
             -- than the short way gives it.
             NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g
                         WHERE g.tgrelid = t.table_name AND g.tgtype & 66 = 0 AND NOT g.tgname LIKE 'neobank\\_history\\_%'
                           AND (NOT g.tgisinternal OR g.tgconstrrelid = t.table_name))
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g
                             WHERE g.tgrelid IN (t.current_rows, t.past_rows) AND g.tgname <> 'neobank_guard')
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                             WHERE a.attrelid = t.table_name AND a.attgenerated NOT IN ('', 's'))
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                             WHERE a.attrelid IN (t.current_rows, t.past_rows) AND a.attnum > 0 AND NOT a.attisdropped
                               AND (a.attnotnull AND a.attname NOT LIKE 'history\\_%' AND a.attname <> ALL (t.key_columns)
                                    OR a.attgenerated <> '' AND a.attname <> 'history_due'))
             AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint k
                  WHERE k.conrelid IN (t.current_rows, t.past_rows) AND k.contype NOT IN ('n', 'p')) = 1
             AND (SELECT pg_catalog.bool_and(k.indisready AND k.indimmediate AND NOT k.indisexclusion AND k.indexprs IS NULL
                             AND m.amname = 'btree' AND (k.indpred IS NULL OR k.has_none))
                  FROM (SELECT i.*, pg_catalog.pg_get_expr(i.indpred, i.indrelid) = ANY (d.without) AS has_none
                        FROM pg_catalog.pg_index i WHERE i.indrelid IN (t.current_rows, t.past_rows)) k
                  JOIN pg_catalog.pg_class x ON x.oid = k.indexrelid JOIN pg_catalog.pg_am m ON m.oid = x.relam)
             AND (SELECT pg_catalog.bool_and(c.relkind = 'r' AND NOT c.relispartition AND m.amname = 'heap' AND c.relreplident = 'd')
                  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am m ON m.oid = c.relam
                  WHERE c.oid IN (t.current_rows, t.past_rows)),
             (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = t.table_name AND a.attnum > 0 AND NOT a.attisdropped),
             (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', i.indexrelid, i.indisunique::int,
                         pg_catalog.replace(i.indkey::text, ' ', '.')), ',' ORDER BY i.indexrelid)
              FROM pg_catalog.pg_index i WHERE i.indrelid = t.current_rows AND i.indpred IS NULL),
             (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', i.indexrelid, i.indisunique::int,
                         pg_catalog.replace(i.indkey::text, ' ', '.')), ',' ORDER BY i.indexrelid)
              FROM pg_catalog.pg_index i WHERE i.indrelid = t.past_rows AND i.indpred IS NULL),
             (SELECT pg_catalog.string_agg(o.oprcode::oid::text, ',' ORDER BY at.n)
              FROM pg_catalog.pg_index i
              CROSS JOIN pg_catalog.generate_series(0, i.indnkeyatts - 1) AS at (n)
              JOIN pg_catalog.pg_opclass c ON c.oid = i.indclass[at.n]
              JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
                  AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
              JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr
              WHERE i.indrelid = t.current_rows AND i.indisprimary),
             (SELECT pg_catalog.string_agg(i.indexrelid::text, ',')
              FROM pg_catalog.pg_index i WHERE i.indrelid IN (t.current_rows, t.past_rows))
      FROM temporal.tables t JOIN pg_catalog.pg_class h ON h.oid = t.current_rows
      -- Indexes without entries for what goes the short way: it was not scheduled, and ended with its table's row.
      CROSS JOIN (VALUES (ARRAY['(history_due IS NOT NULL)', '(history_valid_from > history_known_from)',
          '((NOT history_ended_live) AND (history_valid_to > history_known_from))'])) d (without)
      WHERE t.table_name = $1::oid",
    &[Type::BigInt],
);

fn numbers(text: &str, by: char) -> Vec<usize> {
    text.split(by)
        .filter(|number| !number.is_empty())
        .map(|number| number.parse().expect("a number"))
        .collect()
}

/// Oid, whether unique, columns counted from 1. An index with an expression, whose column is 0, is none for the short way.
fn indexes(text: &str) -> Vec<Index> {
    let index = |entry: &str| {
        let mut parts = entry.split(':');
        let oid = parts.next()?.parse().ok()?;
        let is_unique = parts.next()? == "1";
        let columns: Option<Vec<usize>> =
            numbers(parts.next()?, '.').into_iter().map(|column| column.checked_sub(1)).collect();
        Some(Index { oid, is_unique, columns: columns? })
    };
    text.split(',').filter_map(index).collect()
}

/// The key's columns in the table, in the order of the index over the newest rows, and what says that they are equal.
fn key(columns: &[Column], index: Option<&Index>, equals: &[usize]) -> Vec<(usize, u32)> {
    let place =
        |current: usize| columns.iter().find(|column| column.current == current).map(|column| column.own);
    let Some(index) = index else { return Vec::new() };
    let key: Option<Vec<_>> = index
        .columns
        .iter()
        .zip(equals)
        .map(|(at, equals)| Some((place(*at)?, u32::try_from(*equals).ok()?)))
        .collect();
    key.filter(|key| key.len() == index.columns.len()).unwrap_or_default()
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
        row.bigint(9) == Some(columns.len() as i64) && current_columns.len() == 5 && past_columns.len() == 8;
    let current_indexes = indexes(&row.text(10).unwrap_or_default());
    let key = key(&columns, current_indexes.iter().find(|index| index.oid == oid(2)), &list(12));
    let is_found = !key.is_empty();
    let oids = |column| list(column).into_iter().map(|oid| u32::try_from(oid).expect("an oid")).collect();
    Ok(Some(Shape {
        table,
        current: oid(1),
        key_index: oid(2),
        key,
        past: oid(3),
        current_indexes,
        past_indexes: indexes(&row.text(11).unwrap_or_default()),
        watched: oids(13),
        long_way: oid(4),
        is_simple: row.bool(8) == Some(true) && is_found && is_whole,
        columns,
        current_columns: current_columns.iter().map(|n| n - 1).collect(),
        past_columns: past_columns.iter().map(|n| n - 1).collect(),
    }))
}
