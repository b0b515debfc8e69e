-- Sagas of three SQL steps through one worker in batches of 1,000: seconds of one session, and the same once :finished
-- sagas are in the table. Prints sagas a second, and what one claim of 100 due sagas costs.
create schema bench_saga;
create table bench_saga.effects (effect_id uuid primary key, saga_id uuid not null);
create function bench_saga.act(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb language plpgsql as $$
begin
    insert into bench_saga.effects values (effect_id, saga_id);
    return '{"done": true}';
end $$;
select saga.define('bench', '[{"name": "first", "action": "bench_saga.act", "compensation": "bench_saga.act"},
    {"name": "second", "action": "bench_saga.act", "compensation": "bench_saga.act"},
    {"name": "third", "action": "bench_saga.act"}]') as version \gset
create table bench_saga.rates (finished bigint not null, measure text not null, value double precision not null);

create procedure bench_saga.start(sagas integer) language plpgsql as $$
declare begun timestamptz := clock_timestamp();
begin
    perform saga.start('bench', jsonb_build_object('n', n)) from generate_series(1, sagas) n;
    insert into bench_saga.rates
    select (select count(*) from saga.sagas where status = 'completed'), 'started', sagas / extract(epoch from clock_timestamp() - begun);
    commit;
end $$;

-- A batch is a transaction, as in a worker.
create procedure bench_saga.run(history bigint) language plpgsql as $$
declare
    begun timestamptz := clock_timestamp();
    all_done bigint := 0;
    done bigint;
begin
    loop
        select count(*) into done from saga.run_ready(1000);
        commit;
        exit when done = 0;
        all_done := all_done + done;
    end loop;
    insert into bench_saga.rates values (history, 'completed', all_done / extract(epoch from clock_timestamp() - begun));
    commit;
end $$;

-- Finished sagas as runs leave them, without the cost of running them.
create procedure bench_saga.finish(sagas bigint) language plpgsql as $$
begin
    insert into saga.sagas (saga_type, status, current_step, started_at, completed_at, definition_version, transitions)
    select 'bench', 'completed', 3, now() - interval '1 day', now(), 1, 0 from generate_series(1, sagas);
    commit;
end $$;
\o /dev/null
vacuum analyze;
\o
call bench_saga.start(2000);
call bench_saga.run(-1);
call bench_saga.start(10000);
call bench_saga.run(0);
call bench_saga.start(10000);
call bench_saga.run(0);
call bench_saga.finish(:finished);
\o /dev/null
vacuum analyze saga.sagas;
\o
call bench_saga.start(10000);
call bench_saga.run(:finished);
call bench_saga.start(10000);
call bench_saga.run(:finished);
select finished, measure, round(max(value)) as most, round(min(value)) as least from bench_saga.rates
where finished in (0, :finished) and measure = 'completed' group by 1, 2 order by 1;
select round(max(value)) as started_most from bench_saga.rates where measure = 'started';
call bench_saga.start(200);
begin;
explain (analyze, buffers, costs off, timing off, summary off) select saga_id from saga.sagas where due_at <= clock_timestamp()::timestamptz order by due_at, saga_id limit 100 for no key update skip locked;
rollback;
