-- What the history of a table costs: statements on it against plain ones, alone and with one INSERT of their own into a log,
-- and a report at an instant of the past against the same report on the plain table. In a database with the extension:
-- psql -X -v rows=1000000 -f bench/temporal_tables.sql; ratios of one run count, not its times.
\if :{?rows} \else \set rows 200000 \endif
set synchronous_commit = off;
set max_parallel_workers_per_gather = 0;
create schema bench_history;
create table bench_history.plain (id int primary key, customer int not null, status text not null, amount numeric not null, note text);
insert into bench_history.plain
    select n, n % 1000, (array['open', 'paid', 'late'])[n % 3 + 1], n % 977, 'note ' || n from generate_series(1, :rows) n;
create table bench_history.kept (like bench_history.plain including all);
create table bench_history.logged (like bench_history.plain including all);
insert into bench_history.kept select * from bench_history.plain;
insert into bench_history.logged select * from bench_history.plain;
create table bench_history.log (like bench_history.plain, valid_from timestamptz, valid_to timestamptz, who text, transaction_id xid8);
create index on bench_history.log (id, valid_to);
select temporal.enable('bench_history.kept', p_valid_from => '2020-01-01') as rows_enabled;
vacuum analyze;

create function bench_history.cost(what text, log boolean) returns numeric language plpgsql as $$
declare started timestamptz := clock_timestamp();
begin
    for i in 1 .. 20000 loop
        execute format('update bench_history.%I set amount = amount + 1 where id = $1', what) using i;
        if log then
            execute 'insert into bench_history.log select p.*, now(), now(), current_user, pg_current_xact_id() from bench_history.logged p where id = $1' using i;
        end if;
    end loop;
    return round(extract(epoch from clock_timestamp() - started) * 50, 1);
end $$;
\echo 'microseconds for one update: plain, with a history, with an insert into a log; three times'
select bench_history.cost('plain', false) as plain, bench_history.cost('kept', false) as history, bench_history.cost('logged', true) as log;
select bench_history.cost('plain', false) as plain, bench_history.cost('kept', false) as history, bench_history.cost('logged', true) as log;
select bench_history.cost('plain', false) as plain, bench_history.cost('kept', false) as history, bench_history.cost('logged', true) as log;

vacuum analyze;
\timing on
\echo 'a report: plain and in the past, three times'
set neobank.as_of = '2021-05-05';
select status, count(*), sum(amount) from bench_history.plain group by 1 order by 1;
select status, count(*), sum(amount) from bench_history_as_of.kept group by 1 order by 1;
select status, count(*), sum(amount) from bench_history.plain group by 1 order by 1;
select status, count(*), sum(amount) from bench_history_as_of.kept group by 1 order by 1;
select status, count(*), sum(amount) from bench_history.plain group by 1 order by 1;
select status, count(*), sum(amount) from bench_history_as_of.kept group by 1 order by 1;
\timing off
set client_min_messages = warning;
drop schema bench_history, bench_history_history, bench_history_as_of cascade;
