SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname),
       round(100.0 * d.dead / nullif(d.live + d.dead, 0), 1), NULL::text,
       format('%s dead and %s live rows; last vacuumed %s.', d.dead, d.live,
              coalesce(greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid))::text, 'never')),
       format('VACUUM (ANALYZE) %I.%I;', n.nspname, c.relname)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT pg_stat_get_dead_tuples(c.oid) AS dead, pg_stat_get_live_tuples(c.oid) AS live) d
WHERE c.relkind IN ('r', 'm', 't') AND n.nspname <> 'pg_catalog'
  AND d.dead >= $2 AND 100.0 * d.dead / nullif(d.live + d.dead, 0) >= $1
