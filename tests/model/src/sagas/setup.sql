-- What an application has: functions of steps, each with the one that undoes it, and a record of every effect that a
-- function had. What failed leaves none.
create sequence public.saga_luck_seq;
create table public.saga_effects (seq bigint generated always as identity primary key, saga_id uuid not null,
                                  effect_id uuid not null, kind text not null, reverses uuid, body jsonb not null,
                                  xact xid8 not null default pg_current_xact_id(), told boolean not null default false);
create index on public.saga_effects (effect_id);
create index on public.saga_effects (xact) where not told;
-- What workers outside were acknowledged.
create table public.saga_answers (step_id uuid not null, token bigint not null, kind text not null, primary key (step_id, token));
create function public.saga_luck(fail text) returns void language plpgsql as $$
begin
    if fail = 'always' or (fail = 'at times' and nextval('public.saga_luck_seq') % 2 = 0) then
        raise exception 'bad luck';
    elsif fail = 'for good' then
        raise exception 'it is wrong' using errcode = '22023';
    end if;
end $$;
create function public.saga_deposit(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb language plpgsql as $$
begin
    perform public.saga_luck(context -> 'deposit' ->> 'fail');
    perform txn_processing.deposit((context -> 'deposit' ->> 'to')::uuid, (context -> 'deposit' ->> 'amount')::numeric,
        transaction_id => effect_id);
    insert into public.saga_effects (saga_id, effect_id, kind, body)
    values (saga_id, effect_id, 'deposit', context -> 'deposit');
    return jsonb_build_object('transaction_id', effect_id);
end $$;
create function public.saga_transfer(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb language plpgsql as $$
begin
    -- A child's does not fail so: it is completed, and undone when its parent's fails.
    perform public.saga_luck(case when not context ? 'parent' then context -> 'transfer' ->> 'fail' end);
    perform txn_processing.transfer((context -> 'transfer' ->> 'from')::uuid, (context -> 'transfer' ->> 'to')::uuid,
        (context -> 'transfer' ->> 'amount')::numeric, transaction_id => effect_id);
    insert into public.saga_effects (saga_id, effect_id, kind, body)
    values (saga_id, effect_id, 'transfer', context -> 'transfer');
    return jsonb_build_object('transaction_id', effect_id);
end $$;
create function public.saga_transfer_in_time(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb language plpgsql as $$
declare
    answer jsonb := public.saga_transfer(saga_id, effect_id, context, outputs);
begin
    if context -> 'transfer' ->> 'fail' = 'too long' then
        perform pg_sleep(600);
    end if;
    return answer;
end $$;
create function public.saga_give_back(saga_id uuid, effect_id uuid, context jsonb, original uuid) returns jsonb language plpgsql as $$
begin
    perform public.saga_luck(context ->> 'undoing');
    perform txn_processing.reverse(original, 'undone', reversal_transaction_id => effect_id);
    insert into public.saga_effects (saga_id, effect_id, kind, reverses, body)
    values (saga_id, effect_id, 'reversal', original, '{}');
    return jsonb_build_object('transaction_id', effect_id);
end $$;
create function public.saga_deposit_back(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb language sql as $$
    select public.saga_give_back(saga_id, effect_id, context, (outputs -> 'deposit' ->> 'transaction_id')::uuid)
$$;
create function public.saga_transfer_back(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb language sql as $$
    select public.saga_give_back(saga_id, effect_id, context, (outputs -> 'transfer' ->> 'transaction_id')::uuid)
$$;
-- What functions of sagas did in this transaction, and nobody was told yet.
create function public.saga_told() returns setof text language sql as $$
    with told as (update public.saga_effects set told = true
                  where xact = pg_current_xact_id() and not told returning *)
    select concat_ws('|', 'effect', kind, effect_id,
                     coalesce(reverses::text, concat_ws('|', coalesce(body ->> 'from', '-'), body ->> 'to', body ->> 'amount')))
    from told order by seq
$$;
create function public.saga_run(saga uuid) returns setof text language plpgsql as $$
begin
    return next concat_ws('|', 'saga', saga, saga.run(saga));
    return query select * from public.saga_told();
end $$;
create function public.saga_run_ready(most int) returns setof text language plpgsql as $$
begin
    return query select concat_ws('|', 'saga', r.saga_id, r.status) from saga.run_ready(most) r;
    return query select * from public.saga_told();
end $$;
create function public.saga_complete(step uuid, token bigint) returns text language plpgsql as $$
declare
    answer text := saga.complete_step(step, token, jsonb_build_object('token', token));
begin
    insert into public.saga_answers
    select step, token, case when exists (
        select from saga.saga_steps s join saga.compensations c using (saga_id, step_number)
        where s.step_id = step and c.lease_token = token) then 'compensation' else 'action' end
    on conflict do nothing;
    return answer;
end $$;
-- The clock jumps by a day, for this saga: leases, delays, timeouts and deadlines are over.
create function public.saga_jump(saga uuid) returns void language plpgsql as $$
begin
    perform from saga.sagas s where s.saga_id = saga for update;
    update saga.sagas s set due_at = due_at - interval '1 day', work_at = work_at - interval '1 day',
        deadline_at = deadline_at - interval '1 day'
    where s.saga_id = saga and s.status not in ('completed', 'failed');
    update saga.saga_steps s set next_attempt_at = next_attempt_at - interval '1 day', started_at = started_at - interval '1 day',
        timeout_at = timeout_at - interval '1 day', leased_until = leased_until - interval '1 day'
    where s.saga_id = saga and s.status in ('running', 'waiting');
    update saga.compensations c set next_attempt_at = next_attempt_at - interval '1 day', started_at = started_at - interval '1 day',
        leased_until = leased_until - interval '1 day'
    where c.saga_id = saga and c.status in ('running', 'waiting');
end $$;
-- One thing that brings the saga on, from outside: a worker that answers, a signal, a client, a person, the time.
create function public.saga_nudge(saga uuid, round int) returns void language plpgsql as $$
declare
    it saga.sagas;
begin
    select * into it from saga.sagas s where s.saga_id = saga;
    if it.waits_for = 'signal' and round = 0 then
        perform saga.signal(saga, 'go', '{}');
    elsif it.waits_for = 'client' then
        perform saga.execute_step(saga, '{}');
    elsif it.waits_for = 'person' and round < 2 and it.error_code is null then
        perform saga.retry_step(saga, 'once more');
    elsif it.waits_for = 'person' and round < 2 then
        perform saga.retry_compensation(saga, 'once more');
    elsif it.waits_for = 'person' then
        perform saga.resolve(saga, (array['step_done', 'failed', 'completed'])[1 + round % 3], 'by hand');
    elsif it.waits_for in ('worker', 'signal', 'delay', 'child', 'runner') then
        perform public.saga_jump(saga);
    end if;
exception when sqlstate 'NB201' or sqlstate 'NB207' then
    -- Somebody else, a background worker, was at it first.
    null;
end $$;
select saga.define('plain', '[
    {"name": "deposit", "action": "public.saga_deposit", "compensation": "public.saga_deposit_back",
     "max_attempts": 2, "backoff_ms": 0, "compensation_max_attempts": 2},
    {"name": "transfer", "action": "public.saga_transfer_in_time", "compensation": "public.saga_transfer_back",
     "max_attempts": 2, "backoff_ms": 0, "compensation_max_attempts": 2, "timeout_ms": 200},
    {"name": "pause", "delay_ms": 1}]');
select saga.define('outside', '[
    {"name": "deposit", "action": "public.saga_deposit", "compensation": "public.saga_deposit_back",
     "max_attempts": 2, "backoff_ms": 1, "compensation_max_attempts": 2},
    {"name": "ask", "action": "external", "compensation": "external", "max_attempts": 2, "backoff_ms": 0,
     "compensation_max_attempts": 2, "timeout_ms": 60000},
    {"name": "transfer", "action": "public.saga_transfer", "compensation": "public.saga_transfer_back",
     "max_attempts": 2, "backoff_ms": 0, "compensation_max_attempts": 2}]');
select saga.define('signalled', '[
    {"name": "deposit", "action": "public.saga_deposit", "compensation": "public.saga_deposit_back",
     "max_attempts": 2, "backoff_ms": 0, "compensation_max_attempts": 2},
    {"name": "go", "signal": "go", "timeout_ms": 60000},
    {"name": "transfer", "action": "public.saga_transfer", "compensation": "public.saga_transfer_back",
     "max_attempts": 2, "backoff_ms": 0, "compensation_max_attempts": 2}]');
select saga.define('parent', '[
    {"name": "deposit", "action": "public.saga_deposit", "compensation": "public.saga_deposit_back",
     "max_attempts": 2, "backoff_ms": 0, "compensation_max_attempts": 2},
    {"name": "child", "child": "outside"},
    {"name": "transfer", "action": "public.saga_transfer", "compensation": "public.saga_transfer_back",
     "max_attempts": 2, "backoff_ms": 0, "compensation_max_attempts": 2}]');
select saga.define('no_return', '[
    {"name": "deposit", "action": "public.saga_deposit", "compensation": "public.saga_deposit_back",
     "max_attempts": 2, "backoff_ms": 0, "compensation_max_attempts": 2},
    {"name": "send", "action": "external", "type": "ask", "point_of_no_return": true, "max_attempts": 2, "backoff_ms": 0},
    {"name": "transfer", "action": "public.saga_transfer", "max_attempts": 2, "backoff_ms": 0}]')
