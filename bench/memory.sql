-- Prints the statements of one session that shows its own memory before and after 100,000 calls.
\pset tuples_only on
\pset format unaligned
select 'set synchronous_commit = off;'
       'prepare call (int) as select txn_processing.transfer(source, destination, 1) from bench.pairs where no = $1;'
       '\o /dev/null'
union all
select format('execute call (%s);', 1 + n % 20000) from generate_series(1, 2000) n
union all
select '\o' || chr(10) || 'select ''before'', * from bench.memory();' || chr(10) || '\o /dev/null'
union all
select format('execute call (%s);', 1 + n % 20000) from generate_series(1, 100000) n
union all
select '\o' || chr(10) || 'select ''after'', * from bench.memory();';
