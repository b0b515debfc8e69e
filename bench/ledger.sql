-- A database to measure in: :accounts accounts for neobank and the same for the peer, the floor's table, and random
-- pairs and batches of them, made beforehand so that no measurement pays for drawing them.
create schema bench;

-- The load scripts make an account's id from its number in the same way; none of them looks an id up.
create function bench.account(p_no bigint) returns uuid
language sql immutable as $$ select ('00000000-0000-7000-8000-' || (100000000000 + p_no)::text)::uuid $$;

-- One account opened through the front door brings the customer and the bank's own accounts of the currency. The
-- others are put beside it past the guard, with their start balance: a million calls would take long.
select banking.create_customer('Bench', 'Mark', 'bench@example.org', '+1-555-0100', date '1980-01-01') as customer \gset
select banking.open_account(:'customer', 'checking', 'USD') as opened \gset

-- Numbers 0 and :accounts + 1 are kept for payees whom everybody pays.
set neobank.ledger_guard = off;
insert into banking.accounts (account_id, customer_id, version, created_at, updated_at, tenant_no, normal_side,
                              account_status, currency_code, current_balance, available_balance, overdraft_limit,
                              account_type, account_number)
select bench.account(no), :'customer', 1, now(), now(), 0, 'C', 'active', 'USD', 1000000000.00, 1000000000.00, 0,
       'checking', 'BENCH-' || no
  from generate_series(0, :accounts + 1) no;
reset neobank.ledger_guard;
select banking.set_balance_mode(bench.account(0), 'slotted');

insert into peer.accounts (account_id, account_number, current_balance, available_balance)
select bench.account(no), 'BENCH-' || no, 1000000000.00, 1000000000.00 from generate_series(0, :accounts + 1) no;

-- The floor of any durable call: one row, one index.
create table bench.floor (id uuid primary key default gen_random_uuid(), source uuid, destination uuid, amount numeric);

create table bench.batches (
    distribution text,
    size         int,
    no           int,
    sources      uuid[],
    destinations uuid[],
    amounts      numeric[],
    primary key (distribution, size, no)
);
-- Kept as they are, so that reading a batch costs no unpacking.
alter table bench.batches alter sources set storage external, alter destinations set storage external,
                          alter amounts set storage external;

-- Uniform, and Zipf with exponent 1.1: the account of rank r comes up as often as r to the power of -1.1. Ranks are
-- scattered over the accounts by a prime, as in accounts/zipf.pgbench.
with zipf as materialized (
    select array_agg(before order by rank) as starts
      from (select rank, (sum(weight) over (order by rank) - weight) / sum(weight) over () as before
              from (select rank, rank ^ (-1.1::double precision) as weight from generate_series(1, :accounts) rank) w) c
), sizes (size, batches) as (
    values (1, 20000), (100, 1000), (1000, 100), (8190, 40), (10000, 20)
), drawn as (
    select 'uniform' as distribution, size, no, 1 + floor(random() * :accounts)::bigint as source,
           1 + floor(random() * :accounts)::bigint as destination
      from sizes, generate_series(1, batches) no, generate_series(1, size)
    union all
    select 'zipf', size, no, 1 + width_bucket(random(), (select starts from zipf)) * 7919::bigint % :accounts,
           1 + width_bucket(random(), (select starts from zipf)) * 7919::bigint % :accounts
      from sizes, generate_series(1, batches) no, generate_series(1, size)
)
insert into bench.batches
select distribution, size, no, array_agg(bench.account(source)),
       array_agg(bench.account(case when destination = source then source % :accounts + 1 else destination end)),
       array_agg(1 + floor(random() * 1000)::numeric)
  from drawn group by distribution, size, no;

create table bench.pairs (no int primary key, source uuid not null, destination uuid not null);
insert into bench.pairs
select row_number() over (), source, destination
  from bench.batches, unnest(sources, destinations) p (source, destination)
 where (distribution, size) = ('uniform', 1);

-- Runs a statement that makes 20,000 transfers; returns microseconds for one, the commit apart.
create function bench.cost_us(p_statement text) returns double precision
language plpgsql as $$
declare
    began timestamptz := clock_timestamp();
begin
    execute p_statement;
    return extract(epoch from clock_timestamp() - began) * 1e6 / 20000;
end
$$;

-- Posts one of the batches of 10,000; divides by zero unless all of it went through.
create function bench.post(p_no int) returns void
language sql as $$
    select 1 / (count(*) filter (where code = 'ok') = 10000)::int
      from bench.batches b, txn_processing.post_transfers(b.sources, b.destinations, b.amounts)
     where (b.distribution, b.size, b.no) = ('uniform', 10000, p_no)
$$;

-- Lets the ledger grow by so many postings; every 10,000 are durable by themselves.
create procedure bench.grow(p_postings bigint)
language plpgsql as $$
begin
    for n in 1 .. p_postings / 10000 loop
        perform bench.post(1 + n % 20);
        commit;
    end loop;
end
$$;

-- This session's memory: what it has allocated, and what of its own the system has given it, in bytes. Shared memory
-- is left out, because each page of it counts from when the session first touches it.
create function bench.memory(out contexts bigint, out resident bigint)
language sql as $$
    select (select sum(total_bytes)::bigint from pg_backend_memory_contexts),
           1024 * substring(pg_read_file('/proc/' || pg_backend_pid() || '/status') from 'RssAnon:\s+(\d+) kB')::bigint
$$;

-- Median milliseconds of that many calls of a statement that is given one random number between 0 and 1.
create function bench.median_ms(p_statement text, p_calls int) returns double precision
language plpgsql as $$
declare
    began timestamptz;
    times double precision[];
begin
    for n in 1 .. p_calls loop
        began := clock_timestamp();
        execute p_statement using random();
        times := times || extract(epoch from clock_timestamp() - began) * 1000;
    end loop;
    return (select percentile_cont(0.5) within group (order by t) from unnest(times) t);
end
$$;
