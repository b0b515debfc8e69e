-- As they are after a restore or an upgrade: the planner guesses.
WITH unread AS (
    SELECT c.oid, n.nspname, c.relname, troubleshoot.relation_file_bytes(pg_relation_filepath(c.oid)) AS bytes
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND c.reltuples = -1 AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
)
SELECT 'tables', format('%s tables', count(*)), count(*)::numeric, NULL::text,
       format('They were never analysed, the largest first: %s.',
              array_to_string((array_agg(format('%I.%I', u.nspname, u.relname) ORDER BY u.bytes DESC))[1:5], ', ')),
       'ANALYZE;'
FROM unread u WHERE u.bytes >= $2 * 1048576
HAVING count(*) > 0
