-- Prints the statements of one session that measures its own memory before and after 100,000 calls.
\pset tuples_only on
\pset format unaligned
select 'set synchronous_commit = off;'
       'prepare call (int) as select txn_processing.transfer(source, destination, 1) from bench.pairs where no = $1;'
union all
select format('execute call (%s);', 1 + n % 20000) from generate_series(1, 2000) n
union all
select 'create temp table before as select * from bench.memory();'
union all
select format('execute call (%s);', 1 + n % 20000) from generate_series(1, 100000) n
union all
select 'create table bench.memory_result as
    select m.*, after - before as growth from bench.memory() a, before b,
           lateral (values (''allocated (memory contexts)'', b.contexts / 1024, a.contexts / 1024),
                           (''resident, its own (RssAnon)'', b.resident / 1024, a.resident / 1024)) m (memory, before, after);';
