SELECT 'archiver', 'the archiver',
       round(extract(epoch FROM clock_timestamp() - coalesce(a.last_archived_time, a.stats_reset, pg_postmaster_start_time())), 1), 'warning',
       format('%s failed at %s; the last segment archived was %s at %s. WAL piles up until it succeeds, and backups end there.',
              a.last_failed_wal, a.last_failed_time, coalesce(a.last_archived_wal, 'none'), a.last_archived_time),
       'SELECT * FROM pg_stat_archiver; -- and the server''s log'
FROM pg_stat_archiver a
WHERE a.last_failed_time > coalesce(a.last_archived_time, '-infinity')
UNION ALL
SELECT 'command', 'archive_command', NULL, 'critical',
       'archive_mode is on, and there is nothing that archives: WAL piles up until the disk is full.',
       'ALTER SYSTEM SET archive_command = ...; SELECT pg_reload_conf();'
WHERE current_setting('archive_mode') <> 'off' AND current_setting('archive_command') IN ('', '(disabled)')
  AND coalesce(current_setting('archive_library', true), '') = ''
