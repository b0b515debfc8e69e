-- To cancel such a session would do nothing: there is no statement to cancel.
SELECT format('%s@%s', a.pid, extract(epoch FROM a.xact_start)),
       format('pid %s (%s@%s %s)', a.pid, a.usename, a.datname, a.application_name),
       round(extract(epoch FROM clock_timestamp() - a.state_change), 1), NULL::text,
       format('State %s; %s; %s. Last statement: %s', a.state,
              CASE WHEN a.backend_xid IS NULL THEN 'it has written nothing' ELSE 'it holds transaction id ' || a.backend_xid END,
              CASE WHEN a.backend_xmin IS NULL THEN 'it holds no snapshot'
                   ELSE format('its snapshot keeps VACUUM from rows of the last %s transactions', age(a.backend_xmin)) END,
              left(a.query, 300)),
       format('SELECT pg_terminate_backend(%s);', a.pid)
FROM pg_stat_activity a
WHERE a.state IN ('idle in transaction', 'idle in transaction (aborted)') AND a.pid <> pg_backend_pid()
  AND extract(epoch FROM clock_timestamp() - a.state_change) >= $1
