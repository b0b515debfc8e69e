-- One account with :postings postings, and its reads.
set synchronous_commit = off;
select banking.open_account(customer_id) as big from banking.accounts where customer_id is not null limit 1 \gset
select clock_timestamp() as t0 \gset
select format('call bench.fill(%L, %s)', :'big', :postings / 20) from generate_series(1, 20) \gexec
select clock_timestamp() as t1 \gset
reset synchronous_commit;
vacuum analyze txn_processing.movements;
checkpoint;

insert into bench.results (measure, value)
select 'read: balance_as_of, random instant',
       bench.median_ms(format('select txn_processing.balance_as_of(%L, %L::timestamptz + $1 * (%L::timestamptz - %L::timestamptz))',
                              :'big', :'t0', :'t1', :'t0'), 200);
insert into bench.results (measure, value)
select 'read: statement, newest 100 rows',
       bench.median_ms(format('select count(*) from txn_processing.statement(%L) where $1 >= 0', :'big'), 200);
insert into bench.results (measure, value)
select 'read: statement, 100 rows at a random place',
       bench.median_ms(format('select count(*) from txn_processing.statement(%L, before_sequence => 101 + ($1 * (%s - 101))::bigint)',
                              :'big', :postings), 200);
insert into bench.results (measure, value)
select 'read: statement, 100 rows before a random instant',
       bench.median_ms(format('select count(*) from txn_processing.statement(%L, to_time => %L::timestamptz + (0.1 + 0.9 * $1) * (%L::timestamptz - %L::timestamptz))',
                              :'big', :'t0', :'t1', :'t0'), 200);
