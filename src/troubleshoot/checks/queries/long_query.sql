SELECT format('%s@%s', a.pid, extract(epoch FROM a.query_start)),
       format('pid %s (%s@%s %s)', a.pid, a.usename, a.datname, a.application_name),
       round(extract(epoch FROM clock_timestamp() - a.query_start), 1), NULL::text,
       format('It waits for %s: %s', coalesce(a.wait_event_type || ' ' || a.wait_event, 'nothing'), left(a.query, 300)),
       format('SELECT pg_cancel_backend(%s);', a.pid)
FROM pg_stat_activity a
WHERE a.backend_type = 'client backend' AND a.state = 'active' AND a.pid <> pg_backend_pid()
  AND extract(epoch FROM clock_timestamp() - a.query_start) >= $1
