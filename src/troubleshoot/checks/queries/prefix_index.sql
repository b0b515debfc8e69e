SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname),
       round(c.relpages * current_setting('block_size')::numeric / 1048576, 1), 'info',
       format('Its columns are the first ones of %s, which can serve its searches, at the price of its width.', min(w.indexrelid)::regclass),
       format('DROP INDEX CONCURRENTLY %I.%I;', n.nspname, c.relname)
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_index w ON w.indrelid = i.indrelid AND w.indexrelid <> i.indexrelid AND w.indisvalid AND w.indpred IS NULL
 AND w.indnkeyatts > i.indnkeyatts
 AND starts_with(w.indkey::text, i.indkey::text || ' ')
 AND starts_with(w.indclass::text, i.indclass::text || ' ')
 AND starts_with(w.indcollation::text, i.indcollation::text || ' ')
 AND starts_with(w.indoption::text, i.indoption::text || ' ')
JOIN pg_class wc ON wc.oid = w.indexrelid AND wc.relam = c.relam
JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree'
WHERE i.indisvalid AND NOT c.relispartition AND c.relkind = 'i'
  AND NOT i.indisunique AND NOT i.indisexclusion AND NOT i.indisreplident AND i.indpred IS NULL AND i.indexprs IS NULL
  AND i.indnatts = i.indnkeyatts
  AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = i.indrelid AND e.deptype = 'e')
GROUP BY n.nspname, c.relname, c.relpages
