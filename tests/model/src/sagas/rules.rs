//! What is true of sagas at every moment.

use crate::auditor::Rule;

pub const SAGAS: &[Rule] = &[
    (
        "an effect of a saga is there once, and is one posting",
        "select effect_id from public.saga_effects group by 1 having count(*) > 1
         union all
         select e.effect_id from public.saga_effects e
         left join txn_processing.movements m on m.transaction_id = e.effect_id
         group by e.seq, e.effect_id
         having count(*) <> 1
             or bool_or(m.transaction_type::text is distinct from e.kind or m.reverses is distinct from e.reverses
                        or (m.amount <> (e.body ->> 'amount')::numeric))",
    ),
    (
        "a step of a function has its effect if and only if it was completed, and so has a compensation",
        "select coalesce(s.step_id, e.effect_id) from (
           select step_id, saga_id from saga.saga_steps s
           where status in ('completed', 'compensated') and step_name in ('deposit', 'transfer') and not exists (
             select from saga.transitions t where t.saga_id = s.saga_id and t.step_number = s.step_number
               and t.subject = 'step' and t.to_state = 'completed' and t.code = 'NB216')
           union all
           select compensation_id, saga_id from saga.compensations c
           join saga.saga_steps s using (saga_id, step_number)
           where c.status = 'completed' and step_name in ('deposit', 'transfer') and not exists (
             select from saga.transitions t where t.saga_id = c.saga_id and t.step_number = c.step_number
               and t.subject = 'compensation' and t.to_state = 'completed' and t.code = 'NB216')) s
         full join (select effect_id, saga_id from public.saga_effects) e
           on e.effect_id = s.step_id and e.saga_id = s.saga_id
         where s.step_id is null or e.effect_id is null",
    ),
    (
        "what a step posted is given back once if it is compensated, and not before",
        "select s.step_id from saga.saga_steps s
         join txn_processing.movements m on m.transaction_id = s.step_id
         left join saga.compensations c using (saga_id, step_number)
         where (select count(*) from txn_processing.movements g where g.reverses = s.step_id)
               <> case when s.status = 'compensated' and not exists (
                    select from saga.transitions t where t.saga_id = s.saga_id and t.step_number = s.step_number
                      and t.subject = 'compensation' and t.to_state = 'completed' and t.code = 'NB216') then 1 else 0 end
            or (s.status = 'compensated') <> (coalesce(c.status, 'none') = 'completed')",
    ),
    (
        "the log of a saga has no gap, and each of its lines goes on from the one before",
        "select s.saga_id from saga.sagas s
         left join (select saga_id, count(*) as lines, max(transition_no) as last, min(transition_no) as first
                    from saga.transitions group by 1) t using (saga_id)
         where (t.lines, t.last, t.first) is distinct from (s.transitions::bigint, s.transitions, 1)
         union all
         select saga_id from (
           select saga_id, subject, from_state, to_state,
                  lag(to_state) over (partition by saga_id, subject, step_number order by transition_no) as before
           from saga.transitions) t
         where from_state = to_state
            or from_state is distinct from coalesce(before, case when subject <> 'saga' then 'pending' end)
         union all
         select t.saga_id from saga.transitions t where not exists (
           select from saga.sagas s where s.saga_id = t.saga_id)",
    ),
    (
        "sagas, steps and compensations are as their last lines say",
        "select saga_id from (
           select saga_id, 'saga' as subject, null::int as step_number, status::text from saga.sagas
           union all select saga_id, 'step', step_number, status from saga.saga_steps
           union all select saga_id, 'compensation', step_number, status from saga.compensations) s
         left join (
           select distinct on (saga_id, subject, step_number) saga_id, subject, step_number, to_state
           from saga.transitions order by saga_id, subject, step_number, transition_no desc) t
           using (saga_id, subject)
         where t.step_number is not distinct from s.step_number and s.status <> t.to_state
         union all
         select saga_id from (
           select saga_id, step_number, 'step' as subject, status from saga.saga_steps
           union all select saga_id, step_number, 'compensation', status from saga.compensations) s
         where s.status <> 'pending' and not exists (
           select from saga.transitions t
           where t.saga_id = s.saga_id and t.subject = s.subject and t.step_number = s.step_number)",
    ),
    (
        "steps begin in order, and are undone in reverse",
        "select saga_id from (
           select saga_id, step_number, lag(step_number) over (partition by saga_id order by transition_no) as before
           from saga.transitions where subject = 'step' and to_state = 'compensated') t
         where step_number >= before
         union all
         select saga_id from (
           select saga_id, step_number, lag(step_number) over (partition by saga_id order by transition_no) as before
           from saga.transitions where subject = 'step' and from_state = 'pending') t
         where step_number <> coalesce(before, 0) + 1
         union all
         select s.saga_id from saga.transitions s
         join saga.transitions t on t.saga_id = s.saga_id and t.transition_no > s.transition_no
         where s.subject = 'saga' and s.to_state = 'compensating' and t.subject = 'step' and t.to_state = 'running'
         union all
         select s.saga_id from saga.sagas s
         where s.current_step <> (select count(*) from saga.saga_steps p
                                  where p.saga_id = s.saga_id and p.status <> 'pending')",
    ),
    (
        "a saga that has ended is completed, or undone, or settled by a person",
        "select s.saga_id from saga.sagas s
         where s.status in ('completed', 'failed')
           and (select t.code from saga.transitions t where t.saga_id = s.saga_id and t.subject = 'saga'
                order by t.transition_no desc limit 1) is distinct from 'NB216'
           and (s.waits_for is not null or s.parked_reason is not null or exists (
                  select from saga.saga_steps p where p.saga_id = s.saga_id
                    and case s.status when 'completed' then p.status <> 'completed'
                        else p.status in ('running', 'waiting') or (
                          p.compensation_needed and p.status in ('completed', 'failed')) end)
                or (s.status = 'failed') <> (s.error_code is not null)
                or (s.status = 'failed' and s.past_return))",
    ),
    (
        "a saga that has not ended is parked, or waits for somebody",
        "select saga_id from saga.sagas
         where status not in ('completed', 'failed')
           and (waits_for is null or (status = 'parked') <> (waits_for = 'person')
                or (status = 'parked') <> (parked_reason is not null)
                or (waits_for in ('runner', 'delay', 'child') and due_at is null)
                or (waits_for = 'worker' and due_at is null and work_type is null))",
    ),
    (
        "a step is answered under the token that it was claimed with last, and no other",
        "select p.step_id from saga.saga_steps p
         where p.lease_token is not null and exists (
             select from saga.transitions t where t.saga_id = p.saga_id and t.step_number = p.step_number
               and t.subject = 'step' and t.to_state = 'completed' and t.code is distinct from 'NB216')
           and not exists (select from public.saga_answers a where a.step_id = p.step_id and a.kind = 'action')
         union all
         select p.step_id from saga.compensations c join saga.saga_steps p using (saga_id, step_number)
         where c.lease_token is not null and exists (
             select from saga.transitions t where t.saga_id = c.saga_id and t.step_number = c.step_number
               and t.subject = 'compensation' and t.to_state = 'completed' and t.code is distinct from 'NB216')
           and not exists (select from public.saga_answers a where a.step_id = p.step_id and a.kind = 'compensation')
         union all
         -- What a person has settled has no token any more: nobody else is told that it has done it.
         select a.step_id from public.saga_answers a
         left join saga.saga_steps p on p.step_id = a.step_id
         left join saga.compensations c on c.saga_id = p.saga_id and c.step_number = p.step_number
         where p.step_id is null or case a.kind
             when 'action' then a.token is distinct from p.lease_token or p.status not in ('completed', 'compensated')
             else a.token is distinct from c.lease_token or c.status <> 'completed' end",
    ),
    (
        "nothing is tried more often than it may be",
        "select saga_id from (
           select s.saga_id, p.attempts, d.steps -> (p.step_number - 1) -> 'max_attempts' as most from saga.sagas s
           join saga.saga_steps p using (saga_id)
           join saga.definitions d on d.saga_type = s.saga_type and d.version = s.definition_version
           union all
           select s.saga_id, c.attempts, d.steps -> (c.step_number - 1) -> 'compensation_max_attempts' from saga.sagas s
           join saga.compensations c using (saga_id)
           join saga.definitions d on d.saga_type = s.saga_type and d.version = s.definition_version) a
         where attempts > (most #>> '{}')::int or attempts < 0",
    ),
    (
        "a signal is taken once, the oldest first, by a step that it completes",
        "select saga_id from saga.signals where consumed_by is not null
         group by saga_id, consumed_by having count(*) > 1
         union all
         select g.saga_id from saga.signals g
         join saga.signals o on o.saga_id = g.saga_id and o.name = g.name and o.signal_no < g.signal_no
         where g.consumed_by is not null and o.consumed_by is null
         union all
         select g.saga_id from saga.signals g
         left join saga.saga_steps p on p.saga_id = g.saga_id and p.step_number = g.consumed_by
         where g.consumed_by is not null and (
           p.step_id is null or p.status not in ('completed', 'compensated') or p.output_data is distinct from g.payload)
         union all
         select p.saga_id from saga.saga_steps p
         where p.step_name = 'go' and p.status in ('completed', 'compensated') and not exists (
           select from saga.signals g where g.saga_id = p.saga_id and g.consumed_by = p.step_number)",
    ),
    (
        "a step that has a child stands and falls with it",
        "select p.saga_id from saga.saga_steps p
         left join saga.sagas c on c.saga_id = p.child_saga_id
         left join saga.transitions t on t.saga_id = p.saga_id and t.step_number = p.step_number
                                     and t.subject = 'compensation' and t.to_state = 'completed' and t.code = 'NB216'
         where p.child_saga_id is not null and (
           (c.parent_saga_id, c.parent_step) is distinct from (p.saga_id, p.step_number)
           or (p.status = 'completed' and p.completed_at is not null and p.error_code is null
               and c.status not in ('completed', 'compensating', 'parked', 'failed'))
           or (p.status = 'compensated' and t.saga_id is null and c.status <> 'failed'))
         union all
         select c.saga_id from saga.sagas c
         where c.parent_saga_id is not null and not exists (
           select from saga.saga_steps p where p.saga_id = c.parent_saga_id and p.step_number = c.parent_step)",
    ),
];
