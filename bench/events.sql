-- What the event store is measured beside: a plain table with the columns and indexes of event_store.events (the
-- floor). :streams streams with one event each, and batches of 1,000 events to append.
create schema bench;
create table bench.plain_events (
    event_id uuid primary key,
    aggregate_id uuid not null,
    global_position bigint not null unique,
    created_at timestamptz not null default clock_timestamp(),
    event_version integer not null,
    aggregate_type varchar(100) not null,
    event_type varchar(100) not null,
    created_by text not null,
    event_data jsonb not null,
    metadata jsonb not null default '{}',
    tags text[],
    unique (aggregate_id, event_version)
);
create index on bench.plain_events (aggregate_type, global_position);
create index on bench.plain_events using gin (tags) with (fastupdate = off) where tags is not null;
-- Ascending ids, as those of version 7 are: random ones would make the floor slower.
create sequence bench.plain_no cache 100;

create function bench.event_id(no bigint) returns uuid
language sql immutable as $$ select ('01900000-0000-7000-8000-' || lpad(to_hex(no), 12, '0'))::uuid $$;

create table bench.event_batches as
select no, (select jsonb_agg(jsonb_build_object('event_type', 'FundsDeposited', 'event_data',
               jsonb_build_object('amount', round((random() * 1000)::numeric, 2), 'account', k, 'currency', 'EUR')))
              from generate_series(1, 1000) k where no is not null) as events
  from generate_series(1, 20) no;

-- :streams streams, so that appends find them.
select count(event_store.append_event('Account', ('00000000-0000-7000-8000-' || (100000000000 + n))::uuid, 'AccountOpened', '{}'))
  from generate_series(1, :streams) n;

-- History of ours: batches over all streams, each its own transaction.
create procedure bench.grow_events(events bigint, streams bigint)
language plpgsql as $$
begin
    for n in 1 .. events / 1000 loop
        perform event_store.append_events('Account', ('00000000-0000-7000-8000-' || (100000000000 + 1 + n * 7919 % streams))::uuid, b.events)
           from bench.event_batches b where b.no = 1 + n % 20;
        commit;
    end loop;
end $$;
