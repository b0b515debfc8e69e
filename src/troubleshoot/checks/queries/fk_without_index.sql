-- The columns may stand in any order, as long as they come first.
SELECT format('%I.%I %I', n.nspname, c.relname, k.conname), format('%I.%I', n.nspname, c.relname),
       greatest(c.reltuples, 0)::numeric, 'info',
       format('Foreign key %I to %s: no index begins with (%s), so a DELETE there, or a change of the key, reads the whole table.',
              k.conname, k.confrelid::regclass, a.names),
       format('CREATE INDEX CONCURRENTLY ON %I.%I (%s);', n.nspname, c.relname, a.names)
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY f.place) AS names
    FROM unnest(k.conkey) WITH ORDINALITY f(attnum, place)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = f.attnum
) a
WHERE k.contype = 'f' AND k.conparentid = 0
  AND NOT EXISTS (SELECT FROM pg_index i
                  WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
                    AND i.indnkeyatts >= cardinality(k.conkey)
                    AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = k.conrelid AND e.deptype = 'e')
