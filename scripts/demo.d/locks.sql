-- Locks that applications take around their postings, and what an operator asks of sessions.
\echo
\echo 'Named locks: of a transaction, several in one order; and a lease, which outlives its session'
begin;
select concurrency.acquire_locks('{end of day, import of partner 7}', timeout_ms => 1000) as taken;
select scope, waiters from concurrency.lock_holders('end of day');
commit;
select concurrency.acquire_lease('statements', 'host 1', lease_ms => 60000) as token \gset
select concurrency.acquire_lease('statements', 'host 2') is null as somebody_has_it;
\set ON_ERROR_STOP off
\set VERBOSITY terse
\echo 'Whoever lost its lease is told so before it writes anything'
select concurrency.hold_lease('statements', :token - 1);
\set VERBOSITY default
\set ON_ERROR_STOP on
select concurrency.release_lease('statements', :token) as released;

\echo 'What a session waits for, who blocks whom, and what would be ended'
select kind, explanation from troubleshoot.why_waiting(pg_backend_pid());
select count(*) as sessions_in_the_blocking_tree from troubleshoot.blocking_tree;
select troubleshoot.clear_idle_transactions('1 hour') as idle_transactions_that_would_be_ended;
