-- Who is in the way is the lock manager's answer: a join of pg_locks on the relation names bystanders.
SELECT format('%s@%s', l.pid, extract(epoch FROM l.waitstart)),
       format('pid %s (%s@%s %s)', l.pid, a.usename, a.datname, a.application_name),
       round(extract(epoch FROM clock_timestamp() - l.waitstart), 1), NULL::text,
       format('Waits for %s on %s, behind %s.', l.mode,
              CASE WHEN l.relation IS NULL THEN l.locktype
                   WHEN l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                   THEN format('%s %s', l.locktype, l.relation::regclass)
                   ELSE format('%s %s of another database', l.locktype, l.relation) END,
              (SELECT string_agg(DISTINCT CASE b.pid WHEN 0 THEN 'a prepared transaction' ELSE 'pid ' || b.pid END, ', ')
               FROM unnest(pg_blocking_pids(l.pid)) b(pid))),
       'SELECT * FROM troubleshoot.blocking_tree;'
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE NOT l.granted AND extract(epoch FROM clock_timestamp() - l.waitstart) >= $1
