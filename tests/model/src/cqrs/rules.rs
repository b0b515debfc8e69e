//! What is true of commands and projections at every moment.

use crate::auditor::Rule;

pub const CQRS: &[Rule] = &[
    (
        "a command that is completed has its effect once, and no other has any",
        "select c.command_id from cqrs.commands c
         left join (select metadata ->> 'causation_id' as command, count(*) as events from event_store.events
                    where metadata ? 'causation_id' group by 1) e on e.command = c.command_id::text
         left join (select transaction_id, count(*) as legs from txn_processing.movements group by 1) m
           on m.transaction_id = c.command_id
         where coalesce(case c.command_type when 'Note' then e.events else m.legs end, 0)
               <> case c.status when 'completed' then 1 else 0 end
            or coalesce(case c.command_type when 'Note' then m.legs else e.events end, 0) <> 0",
    ),
    (
        "a command knows the events that it made",
        "select coalesce(l.event_id, e.event_id) from cqrs.command_events l
         full join (select e.event_id, c.command_id from event_store.events e
                    join cqrs.commands c on c.command_id::text = coalesce(
                      case e.aggregate_type when 'LedgerTransaction' then e.event_data ->> 'transaction_id' end,
                      e.metadata ->> 'causation_id')) e using (event_id)
         where l.command_id is distinct from e.command_id",
    ),
    (
        "a command was tried as often as it may be, and says why it failed",
        "select command_id from cqrs.commands
         where attempts > 3 or (status <> 'pending') <> (processed_at is not null)
            or (status <> 'pending' and attempts = 0) or (status = 'pending' and attempts = 3)
            or (status = 'failed' and error_code is null) or (status = 'completed' and error_code is not null)",
    ),
    (
        "an inline projection is a recount of all events",
        "select coalesce(t.aggregate_id, e.aggregate_id) from public.tallied t
         full join (select aggregate_id, count(*) as events, max(event_version) as last from event_store.events
                    group by 1) e using (aggregate_id)
         where (t.events, t.last_version) is distinct from (e.events, e.last)",
    ),
    (
        "an async projection is a recount of the events up to where it is, in their order",
        "select coalesce(c.event_id, e.event_id) from public.copied c
         full join (select e.event_id, e.global_position, e.event_type, e.event_data from event_store.events e
                    where e.global_position <= (select p.position from cqrs.projections p where p.name = 'copied')) e
           using (event_id)
         where (c.global_position, c.event_type, c.event_data::text)
               is distinct from (e.global_position, e.event_type, e.event_data::text)
         union all
         select event_id from (
           select event_id, global_position, lag(global_position) over (order by seq) as before from public.copied) c
         where global_position <= before",
    ),
];
