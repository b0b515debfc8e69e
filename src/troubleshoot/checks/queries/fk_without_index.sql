-- The columns may stand in any order, as long as they come first. Only the findings that are told have their texts made.
WITH bare AS MATERIALIZED (
    SELECT k.conname, k.conrelid, k.confrelid, k.conkey, c.relname, c.relkind, c.relnamespace, greatest(c.reltuples, 0) AS rows,
           row_number() OVER (ORDER BY c.reltuples DESC, k.oid) AS place
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid
    WHERE k.contype = 'f' AND k.conparentid = 0
      AND NOT EXISTS (SELECT FROM pg_index i
                      WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
                        AND i.indnkeyatts >= cardinality(k.conkey) AND i.indkey[0] = ANY (k.conkey)
                        AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = k.conrelid AND e.deptype = 'e')
), named AS (
    SELECT b.*, n.nspname,
           (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY f.place)
            FROM unnest(b.conkey) WITH ORDINALITY f(attnum, place)
            JOIN pg_attribute a ON a.attrelid = b.conrelid AND a.attnum = f.attnum) AS names
    FROM bare b JOIN pg_namespace n ON n.oid = b.relnamespace
    WHERE b.place < 100
)
SELECT format('%I.%I %I', b.nspname, b.relname, b.conname), format('%I.%I', b.nspname, b.relname), b.rows::numeric, 'info',
       format('Foreign key %I to %s: no index begins with (%s), so a DELETE there, or a change of the key, reads the whole table.',
              b.conname, b.confrelid::regclass, b.names),
       -- Of a partitioned table no index can be made beside its writers.
       CASE b.relkind WHEN 'p' THEN format('CREATE INDEX ON %I.%I (%s); -- writers wait meanwhile', b.nspname, b.relname, b.names)
                      ELSE format('CREATE INDEX CONCURRENTLY ON %I.%I (%s);', b.nspname, b.relname, b.names) END
FROM named b
UNION ALL
SELECT 'more', format('%s more', count(*)), max(b.rows)::numeric, 'info', format('%s more findings of this check are not shown.', count(*)), NULL
FROM bare b WHERE b.place >= 100 HAVING count(*) > 0
