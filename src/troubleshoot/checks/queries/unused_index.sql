-- Kept out: what a constraint, a replica identity or a foreign key rests on, and parts of partitioned indexes.
WITH large AS MATERIALIZED (
    SELECT c.oid, c.relname, c.relnamespace, c.relpages FROM pg_class c
    WHERE c.relkind = 'i' AND NOT c.relispartition
      AND c.relpages >= (SELECT ceil($1 * 1048576 / current_setting('block_size')::int)::bigint)
)
SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname),
       round(c.relpages * current_setting('block_size')::numeric / 1048576, 1), NULL::text,
       format('Not used once since %s on this server; scans on standbys are not counted here.',
              coalesce((SELECT d.stats_reset FROM pg_stat_database d WHERE d.datname = current_database()),
                       pg_postmaster_start_time())),
       format('DROP INDEX CONCURRENTLY %I.%I;', n.nspname, c.relname)
FROM large c
JOIN pg_index i ON i.indexrelid = c.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indisvalid AND NOT i.indisunique AND NOT i.indisexclusion AND NOT i.indisreplident AND NOT i.indisclustered
  AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
  AND pg_stat_get_numscans(i.indexrelid) = 0
  AND NOT EXISTS (SELECT FROM pg_constraint k
                  WHERE k.contype = 'f' AND k.conrelid = i.indrelid AND i.indpred IS NULL
                    AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = i.indrelid AND e.deptype = 'e')
