-- 10,000 accounts for neobank and the same ones for the peer, the floor's table, and what measures.
create schema bench;

create table bench.accounts_by_no (no int primary key, account_id uuid not null);
insert into bench.accounts_by_no
select no, banking.open_account(customer_id, opening_deposit => 1000000)
  from (select banking.create_customer('Bench', 'Mark', 'bench@example.org', '+1-555-0100', date '1980-01-01')) c (customer_id),
       generate_series(1, 10000) no;
insert into peer.accounts (account_id, account_number, current_balance, available_balance)
select account_id, account_number, current_balance, available_balance
  from banking.accounts join bench.accounts_by_no using (account_id);

-- What any durable write costs here: one row, one index.
create table bench.floor (id uuid primary key default gen_random_uuid(), source uuid, destination uuid, amount numeric);

create table bench.results (measure text, clients int, round int, value double precision);

-- The same 20,000 random pairs for both ledgers.
create table bench.pairs (no int primary key, source uuid not null, destination uuid not null);
insert into bench.pairs
select n, s.account_id, d.account_id
  from (select n, 1 + floor(random() * 10000)::int as a, 1 + floor(random() * 9999)::int as b
          from generate_series(1, 20000) n offset 0) r
  join bench.accounts_by_no s on s.no = a
  join bench.accounts_by_no d on d.no = b + (b >= a)::int;

-- Runs a statement that makes 20,000 transfers; returns microseconds for one. Undoes them, so that rounds are alike.
create function bench.cost_us(p_statement text) returns double precision
language plpgsql as $$
declare
    began timestamptz;
    cost  double precision;
begin
    begin
        began := clock_timestamp();
        execute p_statement;
        cost := extract(epoch from clock_timestamp() - began) * 1e6 / 20000;
        raise exception using errcode = 'RB000';
    exception when sqlstate 'RB000' then
        return cost;
    end;
end
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

-- Deposits one at a time on one account; a commit now and then keeps the account's dead row versions few.
create procedure bench.fill(p_account uuid, p_postings int)
language plpgsql as $$
begin
    for n in 1 .. p_postings loop
        perform txn_processing.deposit(p_account, 1);
        if n % 20 = 0 then
            commit;
        end if;
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
