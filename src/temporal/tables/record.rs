//! What statements on a table do to its history.

use crate::error::Error;
use crate::pg::history::{Column, Index, Inserting, Lookup, Shape};
use crate::pg::{Arg, OwnerRights, Session, Statement, Type};

static SHAPE: Statement = Statement::new(
    // Indexes by which a key can be looked up, each with its columns' places in the table and what says that they are equal.
    c"WITH lookups AS (
          SELECT i.indrelid, i.indexrelid, i.indisprimary, i.indisunique AND i.indimmediate AS indisunique,
                 pg_catalog.array_agg(a.attname::text ORDER BY at.n) AS names,
                 pg_catalog.concat_ws(',', i.indexrelid, pg_catalog.string_agg(
                     pg_catalog.concat_ws(':', coalesce(own.attnum, 0), o.oprcode::oid), ',' ORDER BY at.n)) AS lookup
          FROM temporal.tables t
          JOIN pg_catalog.pg_index i ON i.indrelid IN (t.table_name, t.current_rows, t.past_rows, t.superseded_rows)
          CROSS JOIN pg_catalog.generate_series(0, i.indnkeyatts - 1) AS at (n)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[at.n]
          JOIN pg_catalog.pg_opclass c ON c.oid = i.indclass[at.n]
          JOIN pg_catalog.pg_am h ON h.oid = c.opcmethod AND h.amname = 'btree'
          JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
              AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
          JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr
          LEFT JOIN pg_catalog.pg_attribute own ON own.attrelid = t.table_name AND own.attname = a.attname
              AND own.attname = ANY (t.key_columns) AND NOT own.attisdropped
          WHERE t.table_name = $1::oid AND i.indisvalid AND i.indisready AND i.indpred IS NULL AND i.indexprs IS NULL
          GROUP BY i.indrelid, i.indexrelid, i.indisprimary, i.indisunique, i.indimmediate)
      SELECT t.current_rows::oid::bigint, t.past_rows::oid::bigint, t.superseded_rows::oid::bigint,
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
             (SELECT pg_catalog.concat_ws(',', t.current_rows::oid, t.past_rows::oid, t.superseded_rows::oid,
                         pg_catalog.string_agg(i.indexrelid::text, ','))
              FROM pg_catalog.pg_index i
              WHERE i.indrelid IN (t.table_name, t.current_rows, t.past_rows, t.superseded_rows)),
             newest.lookup,
             (SELECT l.lookup FROM lookups l
              WHERE l.indrelid = t.table_name AND l.indisunique AND l.names @> t.key_columns AND l.names <@ t.key_columns
                AND pg_catalog.cardinality(l.names) = pg_catalog.cardinality(t.key_columns)
              ORDER BY l.indexrelid LIMIT 1),
             (SELECT l.lookup FROM lookups l
              WHERE l.indrelid = t.past_rows AND l.names = newest.names || 'history_valid_to'::text
              ORDER BY l.indexrelid LIMIT 1),
             (SELECT l.lookup FROM lookups l
              WHERE l.indrelid = t.superseded_rows AND l.names = newest.names || 'history_known_to'::text
              ORDER BY l.indexrelid LIMIT 1)
      FROM temporal.tables t JOIN pg_catalog.pg_class h ON h.oid = t.current_rows
      -- Indexes without entries for what goes the short way: it was not scheduled, and ended with its table's row.
      CROSS JOIN (VALUES (ARRAY['(history_due IS NOT NULL)', '(history_valid_from > history_known_from)',
          '((NOT history_ended_live) AND (history_valid_to > history_known_from))'])) d (without)
      LEFT JOIN LATERAL (
          SELECT l.lookup, l.names FROM lookups l WHERE l.indrelid = t.current_rows AND l.indisprimary) newest ON true
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

/// An index and its first columns, which are the key's; none where it is missing, or has another key.
fn lookup(text: Option<&str>, columns: &[Column]) -> Option<Lookup> {
    let mut parts = text?.split(',');
    let index = parts.next()?.parse().ok()?;
    let mut places = Vec::new();
    for entry in parts {
        let (place, equals) = entry.split_once(':')?;
        let place: usize = place.parse().ok()?;
        if place > 0 {
            places.push((place - 1, equals.parse().ok()?));
        }
    }
    (places.len() == columns.iter().filter(|column| column.is_key).count())
        .then_some(Lookup { index, columns: places })
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
    let oids = |column| list(column).into_iter().map(|oid| u32::try_from(oid).expect("an oid")).collect();
    let find = |column| lookup(row.text(column).as_deref(), &columns);
    let newest = find(13);
    let inserting = find(14).zip(find(15)).zip(find(16)).map(|((own, ended), superseded)| Inserting {
        own,
        ended,
        superseded_rows: oid(3),
        superseded,
    });
    Ok(Some(Shape {
        table,
        current: oid(1),
        past: oid(2),
        is_simple: row.bool(8) == Some(true) && newest.is_some() && is_whole,
        newest: newest.unwrap_or(Lookup { index: 0, columns: Vec::new() }),
        inserting,
        current_indexes: indexes(&row.text(10).unwrap_or_default()),
        past_indexes: indexes(&row.text(11).unwrap_or_default()),
        watched: oids(12),
        long_way: oid(4),
        columns,
        current_columns: current_columns.iter().map(|n| n - 1).collect(),
        past_columns: past_columns.iter().map(|n| n - 1).collect(),
    }))
}
