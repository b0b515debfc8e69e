-- The operator's toolkit on the demo's database.
\echo
\echo 'Checks of the server: what an operator should know, the most urgent first'
create unlogged table public.demo_unlogged (id serial, account uuid);
select setval('public.demo_unlogged_id_seq', 2000000000) \gset none_
create index demo_first on public.demo_unlogged (account);
create index demo_again on public.demo_unlogged (account);
select severity, check_id, object, value, unit, left(detail, 90) as detail
  from troubleshoot.checks() where severity <> 'ok';
select count(*) as checks_without_finding from troubleshoot.checks() where severity = 'ok';

\echo 'One of them is acknowledged, a threshold set; the next call knows'
select troubleshoot.acknowledge(fingerprint, now() + interval '7 days', 'The demo made it')
  from troubleshoot.checks(array['unlogged_table']) \gset none_
select troubleshoot.set_threshold('sequence', 95, 99) \gset none_
select check_id, severity, object, acknowledged_until::date - current_date as days
  from troubleshoot.checks(array['unlogged_table', 'sequence', 'duplicate_index']);
select troubleshoot.reset_threshold('sequence') \gset none_
select table_name, live_tuples, dead_tuples, status, pg_size_pretty(table_bytes) as size, bloat_percent
  from concurrency.v_table_bloat order by table_bytes desc nulls last limit 4;
drop table public.demo_unlogged;
