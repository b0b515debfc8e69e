SELECT 'workers', 'autovacuum workers', round(100.0 * count(*) / current_setting('autovacuum_max_workers')::int, 1), NULL::text,
       format('%s of %s are at work; where all are, tables wait for their turn.', count(*), current_setting('autovacuum_max_workers')),
       'SELECT * FROM pg_stat_progress_vacuum;'
FROM pg_stat_activity a WHERE a.backend_type = 'autovacuum worker'
