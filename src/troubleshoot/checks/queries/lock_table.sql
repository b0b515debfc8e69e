SELECT 'locks', 'the lock table',
       round(100.0 * count(*) / (current_setting('max_locks_per_transaction')::numeric
             * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int)), 2), NULL::text,
       format('%s locks are in it; when it is full, statements fail with "out of shared memory".', count(*)),
       'SELECT pid, count(*) FROM pg_locks WHERE NOT fastpath GROUP BY pid ORDER BY 2 DESC LIMIT 10;'
FROM pg_locks l WHERE NOT l.fastpath
