SELECT 'temp', format('database %I', d.datname),
       round((d.temp_bytes / 1048576.0 / greatest(extract(epoch FROM clock_timestamp() - t.since) / 3600, 1))::numeric, 3), NULL::text,
       format('%s temporary files with %s MB since %s: sorts and hashes that work_mem (%s) was too small for.',
              d.temp_files, round(d.temp_bytes / 1048576.0, 1), t.since, current_setting('work_mem')),
       'ALTER SYSTEM SET log_temp_files = ''10MB''; SELECT pg_reload_conf();'
FROM pg_stat_database d
CROSS JOIN LATERAL (SELECT coalesce(d.stats_reset, pg_postmaster_start_time()) AS since) t
WHERE d.datname = current_database()
