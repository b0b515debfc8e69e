SELECT 'deadlocks', format('database %I', d.datname),
       round((d.deadlocks / greatest(extract(epoch FROM clock_timestamp() - t.since) / 86400, 1))::numeric, 3), NULL::text,
       format('%s since %s. The server''s log has the statements of each.', d.deadlocks, t.since),
       'SELECT * FROM concurrency.detect_deadlock_risk();'
FROM pg_stat_database d
CROSS JOIN LATERAL (SELECT coalesce(d.stats_reset, pg_postmaster_start_time()) AS since) t
WHERE d.datname = current_database()
