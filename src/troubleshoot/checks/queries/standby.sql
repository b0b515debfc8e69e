SELECT 'receiver', 'this standby',
       round(pg_wal_lsn_diff(coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), pg_last_wal_replay_lsn()) / 1048576, 3),
       CASE WHEN pg_get_wal_replay_pause_state() <> 'not paused' THEN 'warning'
            WHEN NOT EXISTS (SELECT FROM pg_stat_wal_receiver) AND current_setting('primary_conninfo') <> '' THEN 'warning' END,
       format('%s; %s. Received %s, replayed %s, the last transaction from %s.',
              CASE WHEN EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 'it receives from its primary'
                   ELSE 'it has no connection to its primary' END,
              CASE WHEN pg_get_wal_replay_pause_state() = 'not paused' THEN 'it replays' ELSE 'its replay is paused' END,
              pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp()),
       CASE WHEN pg_get_wal_replay_pause_state() <> 'not paused' THEN 'SELECT pg_wal_replay_resume();' END
WHERE pg_is_in_recovery()
