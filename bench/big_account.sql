-- One account with :postings postings, and the median milliseconds of its reads, one line "read|ms" each.
-- Everybody pays it in batches of 1,000, so that it has as many instants as batches.
select bench.account(1) as big \gset
create procedure pg_temp.fill(p_account uuid, p_batches int)
language plpgsql as $$
declare
    payers  uuid[] := (select array_agg(bench.account(no) order by no) from generate_series(2, 1001) no);
    payees  uuid[] := array_fill(p_account, '{1000}');
    amounts numeric[] := array_fill(1::numeric, '{1000}');
begin
    for n in 1 .. p_batches loop
        perform 1 / (count(*) filter (where code = 'ok') = 1000)::int
           from txn_processing.post_transfers(payers, payees, amounts);
        commit;
    end loop;
end
$$;
select clock_timestamp() as t0 \gset
call pg_temp.fill(:'big', :postings / 1000);
select clock_timestamp() as t1 \gset
vacuum analyze txn_processing.movements;
checkpoint;

select 'balance_as_of, random instant',
       bench.median_ms(format('select txn_processing.balance_as_of(%L, %L::timestamptz + $1 * (%L::timestamptz - %L::timestamptz))',
                              :'big', :'t0', :'t1', :'t0'), 200);
select 'statement, newest 100 rows',
       bench.median_ms(format('select count(*) from txn_processing.statement(%L) where $1 >= 0', :'big'), 200);
select 'statement, 100 rows at a random place',
       bench.median_ms(format('select count(*) from txn_processing.statement(%L, before_sequence => 101 + ($1 * (%s - 101))::bigint)',
                              :'big', :postings), 200);
select 'statement, 100 rows before a random instant',
       bench.median_ms(format('select count(*) from txn_processing.statement(%L, to_time => %L::timestamptz + (0.1 + 0.9 * $1) * (%L::timestamptz - %L::timestamptz))',
                              :'big', :'t0', :'t1', :'t0'), 200);
