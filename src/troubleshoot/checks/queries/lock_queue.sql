-- Whoever comes after a waiting ACCESS EXCLUSIVE waits behind it, readers too.
SELECT format('%s@%s', l.pid, extract(epoch FROM l.waitstart)),
       format('pid %s (%s@%s %s)', l.pid, a.usename, a.datname, a.application_name),
       round(extract(epoch FROM clock_timestamp() - l.waitstart), 1), NULL::text,
       format('Waits for AccessExclusiveLock on %s, behind pid %s; %s others wait behind it. lock_timeout is %s by default here. %s',
              CASE WHEN l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                   THEN l.relation::regclass::text ELSE format('relation %s of another database', l.relation) END,
              array_to_string(pg_blocking_pids(l.pid), ', '),
              (SELECT count(*) FROM pg_locks o
               WHERE NOT o.granted AND o.locktype = 'relation' AND o.database = l.database AND o.relation = l.relation
                 AND o.pid <> l.pid),
              (SELECT CASE s.reset_val WHEN '0' THEN 'off' ELSE s.reset_val || ' ms' END
               FROM pg_settings s WHERE s.name = 'lock_timeout'),
              left(a.query, 200)),
       format('SELECT pg_cancel_backend(%s); -- and again with SET lock_timeout = ''3s''', l.pid)
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE NOT l.granted AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
  AND extract(epoch FROM clock_timestamp() - l.waitstart) >= $1
