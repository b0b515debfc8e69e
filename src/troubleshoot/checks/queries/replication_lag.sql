-- In bytes: the time since the last replayed transaction grows on an idle primary.
SELECT format('%s %s', r.application_name, r.client_addr), format('standby %s', r.application_name),
       round(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                                  ELSE pg_current_wal_lsn() END,
                             coalesce(r.replay_lsn, r.flush_lsn, r.sent_lsn)) / 1048576, 3),
       CASE WHEN r.replay_lsn IS NULL AND r.sent_lsn IS NULL THEN 'unknown' END,
       format('State %s, %s; sent %s, flushed %s, replayed %s.', r.state, r.sync_state, r.sent_lsn, r.flush_lsn, r.replay_lsn),
       'SELECT * FROM pg_stat_wal_receiver; -- on that standby'
FROM pg_stat_replication r
WHERE r.state IS DISTINCT FROM 'backup'
