-- More than 64 subtransactions with ids: each row that such a transaction has touched sends every reader to pg_subtrans.
SELECT format('%s@%s', a.pid, extract(epoch FROM a.xact_start)),
       format('pid %s (%s@%s %s)', a.pid, a.usename, a.datname, a.application_name),
       round(extract(epoch FROM clock_timestamp() - a.xact_start), 1), 'warning',
       format('Its transaction has more than 64 subtransactions (savepoints, blocks with exception handlers) that write: %s',
              left(a.query, 200)),
       format('SELECT pg_terminate_backend(%s);', a.pid)
FROM troubleshoot.subtransaction_overflows() o(pid) JOIN pg_stat_activity a ON a.pid = o.pid
WHERE a.pid <> pg_backend_pid()
