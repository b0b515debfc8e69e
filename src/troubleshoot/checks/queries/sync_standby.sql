-- Commits wait until enough of them have answered.
WITH wanted AS (
    SELECT current_setting('synchronous_standby_names') AS names,
           coalesce(substring(current_setting('synchronous_standby_names') FROM '^\s*(?:[A-Za-z]+\s+)?(\d+)\s*\(')::int, 1) AS needed,
           (SELECT count(*) FROM pg_stat_replication r WHERE r.sync_state IN ('sync', 'quorum') AND r.state = 'streaming') AS present,
           (SELECT count(*) FROM pg_stat_activity a WHERE a.wait_event = 'SyncRep') AS waiting
)
SELECT 'synchronous', w.names, w.present::numeric, 'critical',
       format('%s of %s synchronous standbys are there, and %s sessions wait in their commit.', w.present, w.needed, w.waiting),
       'ALTER SYSTEM SET synchronous_standby_names = ''''; SELECT pg_reload_conf(); -- gives up the second copy'
FROM wanted w
WHERE trim(w.names) <> '' AND w.present < w.needed AND NOT pg_is_in_recovery()
