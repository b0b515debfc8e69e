WITH b AS MATERIALIZED (SELECT t.* FROM troubleshoot.index_bloat((SELECT ($2 * 1048576)::bigint)) t)
SELECT b.schema_name || '.' || b.index_name, format('%I.%I', b.schema_name, b.index_name), b.bloat_percent, NULL::text,
       format('On %I.%I: %s of %s MB hold nothing.', b.schema_name, b.table_name,
              round(b.bloat_bytes / 1048576.0, 1), round(b.index_bytes / 1048576.0, 1)),
       format('REINDEX INDEX CONCURRENTLY %I.%I;', b.schema_name, b.index_name)
FROM b
WHERE b.is_known AND b.bloat_percent >= $1 AND b.bloat_bytes >= $2 * 1048576
UNION ALL
SELECT 'not known', format('%s indexes', count(*)), NULL, 'unknown',
       'They have no statistics, or none that this role may read, and so their bloat cannot be told.', 'ANALYZE;'
FROM b WHERE NOT b.is_known
HAVING count(*) > 0
