-- Everything that was measured is a row of one table; the report is SQL over it.
create extension pg_walinspect;
create schema bench;

create table bench.results (
    step         text not null,  -- which part of the run
    subject      text not null,  -- neobank, peer, floor, or what else was measured
    measure      text not null,  -- rate (transfers per second), wal and images (bytes), buffers, cost_us, ...
    clients      int,
    accounts     int,
    distribution text,
    batch        int,            -- transfers in one call
    history      bigint,         -- postings in the ledger beforehand
    round        int,
    value        double precision not null
);

-- Where the write-ahead log and the buffer counter of a database stand.
create function bench.counters(p_database text, out lsn pg_lsn, out buffers bigint)
language sql as $$
    select pg_current_wal_insert_lsn(), blks_hit + blks_read from pg_stat_database where datname = p_database
$$;

-- Bytes of the records written since, and of the page images among them. What the server writes for itself is left
-- out, and all is null where a checkpoint has removed the beginning.
create function bench.wal_since(p_lsn pg_lsn, out records numeric, out images numeric)
language sql as $$
    select sum(record_size) filter (where "resource_manager/record_type" not in ('XLOG', 'Standby')), sum(fpi_size)
      from (select pg_current_wal_flush_lsn() as upto) now, pg_get_wal_stats(p_lsn, upto)
     where pg_walfile_name(p_lsn) in (select name from pg_ls_waldir())
$$;

-- Medians over the rounds of all that was measured of a load.
create view bench.loads as
select step, subject, clients, accounts, distribution, batch, history,
       percentile_cont(0.5) within group (order by value) filter (where measure = 'rate') as rate,
       percentile_cont(0.5) within group (order by value) filter (where measure = 'wal') as wal,
       percentile_cont(0.5) within group (order by value) filter (where measure = 'images') as images,
       percentile_cont(0.5) within group (order by value) filter (where measure = 'buffers') as buffers
  from bench.results where measure in ('rate', 'wal', 'images', 'buffers')
 group by step, subject, clients, accounts, distribution, batch, history;

-- Each subject to each other one that was measured in the same turn, round by round.
create view bench.ratios as
select step, n.subject, o.subject as other, measure, n.clients, n.accounts, n.distribution, n.batch, n.history, n.round,
       n.value / o.value as ratio
  from bench.results n join bench.results o using (step, measure)
 where (n.clients, n.accounts, n.distribution, n.batch, n.history, n.round)
       is not distinct from (o.clients, o.accounts, o.distribution, o.batch, o.history, o.round);

-- The number of clients that posts batches of a size fastest, by accounts and the way to draw them.
create view bench.best_batches as
select distinct on (accounts, distribution, batch) *
  from bench.loads where (step, subject) = ('batches', 'neobank')
 order by accounts, distribution, batch, rate desc;

-- The same round by round: to the floor with one INSERT per call and the most clients, and to the peer with the same
-- batch in one statement.
create view bench.batch_ratios as
select r.accounts, r.distribution, r.batch, r.value / f.value as to_floor, r.value / p.value as to_peer
  from bench.best_batches b
  join bench.results r using (step, subject, accounts, distribution, batch, clients)
  join bench.results f on (f.step, f.subject, f.measure, f.round, f.accounts)
                          = (r.step, 'floor', r.measure, r.round, r.accounts) and f.batch is null
  left join bench.results p on (p.step, p.subject, p.measure, p.round, p.accounts, p.distribution, p.batch)
                               = (r.step, 'peer', r.measure, r.round, r.accounts, r.distribution, r.batch)
 where r.measure = 'rate';

-- How a rate changes with the ledger's length: to the shortest, and the same when both are taken relative to the
-- floor's rate beside them, which leaves out what the machine itself did in the meantime.
create view bench.growth as
with rates as (
    select n.*, f.value as floor
      from bench.results n
      join bench.results f on (f.step, f.subject, f.measure, f.history, f.round)
                              = (n.step, 'floor', n.measure, n.history, n.round)
     where n.step = 'growth' and n.measure = 'rate' and n.subject in ('first', 'neobank')
)
select n.subject, n.batch, n.history, n.round, n.value / s.value as ratio,
       (n.value / n.floor) / (s.value / s.floor) as ratio_to_floor
  from rates n
  join rates s on s.subject = n.subject and s.round = n.round and s.batch is not distinct from n.batch
 where s.history = (select min(history) from rates);

-- The same of the event store.
create view bench.event_growth as
with rates as (
    select n.*, f.value as floor
      from bench.results n
      join bench.results f on (f.step, f.subject, f.measure, f.history, f.round)
                              = (n.step, 'floor', n.measure, n.history, n.round)
     where n.step = 'events_growth' and n.measure = 'rate' and n.subject <> 'floor'
)
select n.subject, n.batch, n.history, n.round, n.value / s.value as ratio,
       (n.value / n.floor) / (s.value / s.floor) as ratio_to_floor
  from rates n
  join rates s on s.subject = n.subject and s.round = n.round and s.batch is not distinct from n.batch
 where s.history = (select min(history) from rates);

create function bench.figure(p_value double precision, p_places int default 0) returns text
language sql immutable as $$
    select to_char(p_value, 'FM999,999,990' || case when p_places > 0 then '.' || repeat('0', p_places) else '' end)
$$;

-- A median with its spread, as in "3.10 (3.02-3.17)".
create function bench.spread(p_values double precision[], p_places int) returns text
language sql immutable as $$
    select bench.figure(percentile_cont(0.5) within group (order by v), p_places)
           || case when count(v) > 1
                   then format(' (%s-%s)', bench.figure(min(v), p_places), bench.figure(max(v), p_places)) else '' end
      from unnest(p_values) v
$$;
