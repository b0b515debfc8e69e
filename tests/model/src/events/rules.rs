//! What is true of the event store's tables at every moment.

use crate::auditor::Rule;

pub const EVENTS: &[Rule] = &[
    (
        "versions of a stream have no gap and no double, and the last is the stream's",
        "select coalesce(s.aggregate_id, e.aggregate_id) from event_store.streams s
         full join (select aggregate_id, min(event_version) as first, max(event_version) as last, count(*) as events,
                           count(distinct event_version) as versions
                    from event_store.events group by 1) e using (aggregate_id)
         where (s.version, 1, e.events, e.events) is distinct from (e.last, e.first, e.last, e.versions)",
    ),
    (
        "a stream knows the position of its last event, and its time",
        "select s.aggregate_id from event_store.streams s
         left join lateral (
           select e.global_position, e.created_at from event_store.events e
           where e.aggregate_id = s.aggregate_id order by e.event_version desc limit 1) e on true
         where s.last_position is distinct from e.global_position
            or (s.last_at is distinct from e.created_at and s.aggregate_type not like 'Ledger%')",
    ),
    (
        "an event is of the type of its stream",
        "select e.event_id from event_store.events e
         left join event_store.streams s using (aggregate_id)
         where s.aggregate_type is distinct from e.aggregate_type",
    ),
    (
        "an id and a position stand for one event",
        "select event_id::text from event_store.events group by 1 having count(*) > 1
         union all
         select global_position::text from event_store.events group by 1 having count(*) > 1",
    ),
    (
        "positions and times ascend with the versions of a stream",
        "select event_id from (
           select event_id, global_position, created_at,
                  lag(global_position) over w as position_before, lag(created_at) over w as time_before
           from event_store.events window w as (partition by aggregate_id order by event_version)) e
         where global_position <= position_before or created_at < time_before",
    ),
    (
        "a position is in a range that a transaction was given",
        "select e.event_id from event_store.events e cross join event_store.position_base b
         where e.global_position >> 20 >= b.added + pg_snapshot_xmax(pg_current_snapshot())::text::bigint
            or e.global_position >> 20 < 3",
    ),
    (
        "an event has what events have",
        "select event_id from event_store.events
         where jsonb_typeof(event_data) <> 'object' or jsonb_typeof(metadata) <> 'object' or btrim(event_type) = ''
            or cardinality(tags) not between 1 and 20
            or cardinality(tags) <> (select count(distinct tag) from unnest(tags) tag where btrim(tag) <> '')",
    ),
];

/// What is true of the events of the ledger.
pub const PUBLISHED: &[Rule] = &[
    (
        "an event of the ledger says what its posting says, and says it once",
        "select e.event_id::text from event_store.events e
         left join txn_processing.movements m
           on m.transaction_id = (e.event_data ->> 'transaction_id')::uuid and m.leg = (e.event_data ->> 'leg')::int
         where e.aggregate_type = 'LedgerTransaction'
           and ((m.debit_account, m.credit_account, m.debit_sequence, m.credit_sequence, m.amount, m.currency_code::text,
                 m.created_at, m.created_by, initcap(m.transaction_type::text) || 'Posted', m.reference::text)
                is distinct from
                ((e.event_data ->> 'debit_account')::uuid, (e.event_data ->> 'credit_account')::uuid,
                 (e.event_data ->> 'debit_sequence')::bigint, (e.event_data ->> 'credit_sequence')::bigint,
                 (e.event_data ->> 'amount')::numeric, e.event_data ->> 'currency', e.created_at, e.created_by,
                 e.event_type::text, e.event_data ->> 'reference')
                or not e.tags @> array['account:' || m.debit_account, 'account:' || m.credit_account])
         union all
         select e.event_data ->> 'transaction_id' from event_store.events e
         where e.aggregate_type = 'LedgerTransaction'
         group by 1, e.event_data ->> 'leg' having count(*) > 1",
    ),
    (
        "a transaction is published with all of its legs or with none",
        "select e.transaction_id from (
           select (event_data ->> 'transaction_id')::uuid as transaction_id, count(*) as legs,
                  count(distinct aggregate_id) as streams
           from event_store.events where aggregate_type = 'LedgerTransaction' group by 1) e
         join (select transaction_id, count(*) as legs from txn_processing.movements group by 1) m using (transaction_id)
         where e.legs <> m.legs or e.streams <> 1",
    ),
    (
        "between two postings of an account that one publication has, it has all",
        "with legs as (
           select e.global_position, (e.event_data ->> 'debit_account')::uuid as account_id,
                  (e.event_data ->> 'debit_sequence')::bigint as n
           from event_store.events e where e.aggregate_type = 'LedgerTransaction'
           union all
           select e.global_position, (e.event_data ->> 'credit_account')::uuid, (e.event_data ->> 'credit_sequence')::bigint
           from event_store.events e where e.aggregate_type = 'LedgerTransaction')
         select l.account_id from legs l
         join event_store.ledger_publications p
           on l.global_position > p.opened_position and l.global_position < coalesce(p.closed_position, 1::bigint << 62)
         group by p.publication, l.account_id, l.n >> 48
         having max(l.n) - min(l.n) + 1 <> count(*)",
    ),
    (
        "what was brought forward and the postings since are the balances, for as long as they are published",
        "with p as (select * from event_store.ledger_publications where state = 'on'),
              sides as (
           select distinct on (e.event_data ->> 'account_id')
                  (e.event_data ->> 'account_id')::uuid as account_id, (e.event_data ->> 'balance')::numeric as change
           from p join event_store.events e on e.aggregate_type = 'LedgerOpening'
             and (e.event_data ->> 'publication')::int = p.publication and e.global_position < p.opened_position
           order by e.event_data ->> 'account_id', e.global_position desc),
              changes as (
           select * from sides
           union all
           select (e.event_data ->> 'debit_account')::uuid, (e.event_data ->> 'debit_change')::numeric
           from p join event_store.events e on e.aggregate_type = 'LedgerTransaction'
             and e.global_position > p.opened_position
           union all
           select (e.event_data ->> 'credit_account')::uuid, (e.event_data ->> 'credit_change')::numeric
           from p join event_store.events e on e.aggregate_type = 'LedgerTransaction'
             and e.global_position > p.opened_position)
         select a.account_id from p cross join (
           select a.account_id, coalesce(a.current_balance,
                    (select sum(s.balance) from banking.account_slots s where s.account_id = a.account_id)) as balance
           from banking.accounts a) a
         left join (select account_id, sum(change) as balance from changes group by 1) c using (account_id)
         where a.balance <> coalesce(c.balance, 0)",
    ),
];
