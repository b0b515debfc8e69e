//! What is true of subscriptions at every moment. All partitions have read as far as the least position of any.

use crate::auditor::Rule;

pub const SUBSCRIPTIONS: &[Rule] = &[
    (
        "what a subscription has passed is handled, each event once, and nothing else is",
        "with passed as (select min(position) as least, max(position) as most
                         from event_store.subscription_partitions where subscription = 'inbox')
         select e.event_id from event_store.events e
         where e.event_type in ('FundsDeposited', 'FundsWithdrawn', 'DepositPosted', 'TransferPosted')
           and e.global_position <= (select least from passed)
           and not exists (select from public.handled h where h.event_id = e.event_id)
         union all
         select h.event_id from public.handled h
         left join event_store.events e using (event_id)
         where e.event_id is null or h.global_position > (select most from passed)
            or e.event_type not in ('FundsDeposited', 'FundsWithdrawn', 'DepositPosted', 'TransferPosted')",
    ),
    (
        "the events of a stream are handled in their order",
        "select event_id from (
           select event_id, event_version, lag(event_version) over (partition by aggregate_id order by seq) as before
           from public.handled) h
         where event_version <= before
         union all
         select event_id from (
           select event_id, event_version, lag(event_version) over (partition by aggregate_id order by seq) as before
           from public.told) t
         where event_version <= before",
    ),
    (
        "an event is acknowledged, given up, in flight, waiting or still to come: none is lost",
        "select e.event_id from event_store.events e
         where e.aggregate_type = 'Account'
           and e.global_position <= (select min(position) from event_store.subscription_partitions
                                     where subscription = 'letters')
           and not exists (select from public.told t where t.event_id = e.event_id)
           and not exists (select from public.discarded d where d.event_id = e.event_id)
           and not exists (select from event_store.subscription_leases l
                           where l.subscription = 'letters' and not l.done
                             and l.open_positions @> array[e.global_position])
           and not exists (select from event_store.subscription_streams s
                           where s.subscription = 'letters' and s.aggregate_id = e.aggregate_id
                             and s.next_version <= e.event_version)
           and not exists (select from event_store.subscription_parked k
                           where k.subscription = 'letters' and k.event_id = e.event_id)",
    ),
    (
        "what is acknowledged is over",
        "select t.event_id from public.told t
         where exists (select from event_store.subscription_leases l
                       where l.subscription = 'letters' and not l.done and l.open_positions @> array[t.global_position])
            or exists (select from event_store.subscription_parked k
                       where k.subscription = 'letters' and k.event_id = t.event_id)
            or t.global_position > (select max(position) from event_store.subscription_partitions
                                    where subscription = 'letters')
            or not exists (select from event_store.events e
                           where e.event_id = t.event_id and e.aggregate_type = 'Account')",
    ),
    (
        "an event is in flight once",
        "select position::text from event_store.subscription_leases l cross join unnest(l.open_positions) position
         where not l.done group by l.subscription, position having count(*) > 1",
    ),
];
