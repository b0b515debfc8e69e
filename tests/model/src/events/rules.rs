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
        "a stream knows the position of its last event",
        "select s.aggregate_id from event_store.streams s
         where s.last_position is distinct from (
           select e.global_position from event_store.events e
           where e.aggregate_id = s.aggregate_id order by e.event_version desc limit 1)",
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
