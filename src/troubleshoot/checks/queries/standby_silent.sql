SELECT format('%s %s', r.application_name, r.client_addr), format('standby %s', r.application_name),
       round(greatest(extract(epoch FROM clock_timestamp() - r.reply_time), 0), 1), NULL::text,
       format('Connected, and it answered last at %s: it is stopped, or cut off. State %s; slot %s.', r.reply_time, r.state,
              coalesce((SELECT s.slot_name::text FROM pg_replication_slots s WHERE s.active_pid = r.pid), 'none')),
       format('SELECT pg_terminate_backend(%s); -- it connects anew where it can', r.pid)
FROM pg_stat_replication r
WHERE r.state IS DISTINCT FROM 'backup' AND extract(epoch FROM clock_timestamp() - r.reply_time) >= $1
