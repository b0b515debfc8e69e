SELECT s.slot_name::text, format('slot %s', s.slot_name),
       round(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                             s.restart_lsn) / 1048576, 3),
       CASE WHEN s.wal_status IN ('lost', 'unreserved') OR to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL THEN 'critical'
            WHEN NOT s.active AND NOT s.temporary OR s.wal_status = 'extended' THEN 'warning'
            WHEN s.safe_wal_size < 0.2 * (SELECT k.setting::numeric * 1048576 FROM pg_settings k WHERE k.name = 'max_slot_wal_keep_size')
            THEN 'warning' END,
       format('%s, %s, wal_status %s%s.%s', s.slot_type,
              CASE WHEN s.active THEN format('in use by pid %s', s.active_pid) ELSE 'nobody reads it' END,
              coalesce(s.wal_status, 'not reserved'),
              coalesce(format(', %s MB until it is lost', round(s.safe_wal_size / 1048576.0)), ''),
              CASE WHEN s.wal_status = 'lost' THEN ' What its reader still wants is gone: it has to be built anew.'
                   WHEN s.active AND pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                                                          ELSE pg_current_wal_lsn() END, s.restart_lsn) / 1048576 >= $1
                   THEN format(' Its reader is connected and does not get on (%s).',
                               (SELECT coalesce(a.wait_event_type || ' ' || a.wait_event, 'running')
                                FROM pg_stat_activity a WHERE a.pid = s.active_pid))
                   ELSE '' END),
       format('SELECT pg_drop_replication_slot(%L); -- where its reader will not come back', s.slot_name)
FROM pg_replication_slots s
WHERE s.restart_lsn IS NOT NULL OR s.wal_status IS NOT NULL
