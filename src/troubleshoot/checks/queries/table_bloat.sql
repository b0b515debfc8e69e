WITH b AS MATERIALIZED (
    SELECT t.*, row_number() OVER (PARTITION BY t.is_known ORDER BY t.table_bytes DESC) AS place
    FROM troubleshoot.table_bloat((SELECT ($2 * 1048576)::bigint)) t
)
SELECT b.schema_name || '.' || b.table_name, format('%I.%I', b.schema_name, b.table_name), b.bloat_percent, NULL::text,
       format('%s of %s MB hold nothing. What VACUUM has freed is used again, but not given back.',
              round(b.bloat_bytes / 1048576.0, 1), round(b.table_bytes / 1048576.0, 1)),
       format('VACUUM (FULL, ANALYZE) %I.%I; -- locks the table; pg_repack does not', b.schema_name, b.table_name)
FROM b
WHERE b.is_known AND b.bloat_percent >= $1 AND b.bloat_bytes >= $2 * 1048576
UNION ALL
SELECT 'not known', format('%s tables', count(*)), NULL, 'unknown',
       format('They have no statistics, or none that this role may read, and so their bloat cannot be told: %s.',
              string_agg(format('%I.%I', b.schema_name, b.table_name), ', ' ORDER BY b.place) FILTER (WHERE b.place <= 5)),
       'ANALYZE;'
FROM b WHERE NOT b.is_known
HAVING count(*) > 0
