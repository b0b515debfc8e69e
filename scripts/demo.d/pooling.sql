-- The connections to this server, how large a pool the postings just made would want, and pgbouncer's configuration.
\echo
\echo 'Connections: who has how many, and whether any is left open'
select username, total_connections as connections, active, idle, idle_in_transaction from pooling.v_connection_analysis;
select check_name, status, current_value from pooling.check_pool_health();

\echo 'A second of load between two samples: 400 transactions of a few milliseconds, and the pool they want'
select pg_stat_force_next_flush() is null as flushed \gset
select pooling.capture_sample() is not null as first \gset
do $$ begin for n in 1..400 loop perform sum(length(md5(x::text))) from generate_series(1, 2000) x; commit; end loop; end $$;
select pg_stat_force_next_flush() is null as flushed \gset
select pooling.capture_sample() is not null as second \gset
select round(arrival_rate) as transactions_per_second, service_time_ms, recommended_pool_size as pool, limited_by
  from pooling.recommend(since => '1 minute') where is_measured and database_name = current_database();

\echo 'What if: ten times as many transactions come, of 20 ms each'
select pool, wait_probability as waits, mean_wait_ms, p95_wait_ms, is_stable
  from unnest(array[4, 16, 20, 24]) pool, pooling.what_if(pool, 800, 20);

\echo 'pgbouncer.ini from this server''s settings (part)'
select line from regexp_split_to_table(pooling.generate_pgbouncer_config(), '\n') line
 where line ~ '^(pool_mode|max_client_conn|default_pool_size|min_pool_size|max_db_connections|auth_type)';

\echo 'The slowest statements, or why they cannot be told'
select query_preview, calls, avg_time_ms, hint from troubleshoot.slow_queries(3);
