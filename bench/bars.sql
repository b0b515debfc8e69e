-- What the ledger is meant to reach: one row for each bar, with the ratio or figure of every round.
-- Where a bar names clients, accounts or postings, the run's most clients, fewest accounts and longest ledger count.
create view bench.bars as
with few as (
    select min(accounts) as accounts, max(clients) filter (where batch is null) as clients,
           max(history) filter (where step = 'growth') as history
      from bench.results
), event_store as (
    select max(clients) filter (where batch is null) as clients, max(history) as history
      from bench.results where step in ('events', 'events_growth')
), figures (no, bar, bound, at_least, places, value) as (
    select case when r.clients = 1 then 3 when other = 'peer' then 1 else 2 end,
           format('one transfer per call, %s %s, to the %s', r.clients,
                  case r.clients when 1 then 'client' else 'clients' end, other),
           case when r.clients = 1 then 1.6 when other = 'peer' then 3.0 else 0.6 end, true, 2, ratio
      from bench.ratios r join few f using (accounts)
     where (step, measure, subject, distribution) = ('single', 'rate', 'neobank', 'uniform')
       and (r.clients = f.clients and other in ('peer', 'floor') or r.clients = 1 and other = 'peer')
    union all
    select 4, 'cost of one in the server, peer to neobank', 6, true, 2, ratio
      from bench.ratios where (step, measure, subject, other) = ('cost', 'cost_us', 'peer', 'neobank')
    union all
    select case batch when 100 then 5 else 6 end,
           format('batches of %s, to the floor at %s clients (%s where that is 22,000)', bench.figure(batch), f.clients,
                  case batch when 100 then '80,000' else '150,000' end),
           case batch when 100 then 80 else 150 end / 22.0, true, 2, to_floor
      from bench.batch_ratios b join few f using (accounts)
     where distribution = 'uniform' and batch in (100, 8190)
    union all
    select 7, format('all pay one slotted account, %s clients, to payees at random', s.clients), 0.8, true, 2,
           s.value / u.value
      from bench.results s join bench.results u using (step, measure, round)
     where (step, measure, s.subject, u.subject, u.distribution) = ('payee', 'rate', 'slotted', 'neobank', 'uniform')
    union all
    select 8, 'write-ahead log of one, page images apart, to the peer', 0.5, false, 2, ratio
      from bench.ratios where (step, measure, subject, other) = ('bytes', 'wal', 'neobank', 'peer')
    union all
    select case step when 'bytes' then 9 else 10 end,
           case step when 'bytes' then 'bytes on disk of one, with indexes, posted one by one'
                else format('the same, %s posted in batches', bench.figure(r.history)) end, 330, false, 0, value
      from bench.results r, few f
     where subject = 'neobank' and measure = 'disk total' and (step = 'bytes' or step = 'growth' and r.history = f.history)
    union all
    select 11 + coalesce(batch, 0) + kind,
           format('%s after %s postings, to an empty ledger%s',
                  case when batch is null then 'one per call' else format('batches of %s', bench.figure(batch)) end,
                  bench.figure(g.history), case kind when 1 then ', each relative to the floor beside it' else '' end),
           0.85, true, 2, case kind when 1 then ratio_to_floor else ratio end
      from bench.growth g join few f using (history), generate_series(0, 1) kind
     where subject = 'neobank'
    union all
    select 99999, 'queued transfers a second, one caller, 1,000 in a transaction', 5000, true, 0, value
      from bench.results where (step, measure) = ('queue', 'rate')
    union all
    select 100000, 'MB of memory above idle, batches of 10,000', 32, false, 1, (p.value - i.value) / 1024
      from bench.results p join bench.results i using (step)
     where (step, p.subject, i.subject) = ('memory', 'peak', 'idle')
    union all
    select 100001, format('one event per call, %s clients, to the floor', e.clients), 0.6, true, 2, ratio
      from bench.ratios r join event_store e using (clients)
     where (step, measure, subject, other) = ('events', 'rate', 'neobank', 'floor') and batch is null
    union all
    select 100002, 'events a second in batches of 1,000, two callers', 50000, true, 0, value
      from bench.results where (step, subject, measure, batch, clients) = ('events', 'neobank', 'rate', 1000, 2)
    union all
    select 100003, format('one event per call after %s events, to an empty store, each relative to the floor beside it',
                          bench.figure(g.history)), 0.85, true, 2, ratio_to_floor
      from bench.event_growth g join event_store e using (history)
     where batch is null and subject = 'neobank' and g.history > 0
    union all
    select 100004, format('state of %s events without snapshots, times faster than a PL/pgSQL fold',
                          bench.figure(r.history)), 20, true, 1, ratio
      from bench.ratios r where (step, measure, subject, other) = ('event_state', 'milliseconds', 'PL/pgSQL', 'events')
    union all
    select 100005, format('state of %s events with snapshots, milliseconds', bench.figure(history)), 5, false, 2, value
      from bench.results where (step, measure, subject) = ('event_state', 'milliseconds', 'snapshots')
    union all
    select 100006 + (history > 0)::int, format('three-step sagas a second, one session, %s finished ones in the table',
                                               bench.figure(history)), 2000, true, 0, value
      from bench.results where (step, measure) = ('sagas', 'sagas_rate')
    union all
    select 100013 + w.n, 'what a history adds to ' || w.what || ', to what an INSERT adds', 1, false, 2,
           (h.value - p.value) / (l.value - p.value)
      from (values (0, 'update_us', 'an UPDATE of one row'), (1, 'insert_us', 'an INSERT of one row'),
                   (2, 'delete_us', 'a DELETE of one row'), (3, 'update_many_us', 'an UPDATE of 8,000 rows'),
                   (4, 'insert_many_us', 'an INSERT of 8,000 rows'), (5, 'delete_many_us', 'a DELETE of 8,000 rows')) w (n, measure, what)
      join bench.results h using (measure)
      join bench.results p on (p.step, p.measure, p.round, p.subject) = (h.step, h.measure, h.round, 'plain')
      join bench.results l on (l.step, l.measure, l.round, l.subject) = (h.step, h.measure, h.round, 'log')
     where (h.step, h.subject) = ('histories', 'history') and l.value > p.value
    union all
    select case measure when 'report_ms' then 100011 else 100012 end,
           format('report in the past over %s rows, to the same on a plain table%s', bench.figure(history),
                  case measure when 'parallel_ms' then ', two parallel workers' else '' end), 2, false, 2, ratio
      from bench.ratios where step = 'histories' and (subject, other) = ('as_of', 'plain')
)
select no, bar, case when at_least then 'at least ' else 'at most ' end || bench.figure(bound, places) as wanted,
       bench.spread(rounds, places) as reached,
       case when median >= bound and at_least or median <= bound and not at_least then 'met'
            else format('missed by %s %%', bench.figure(100 * abs(median / bound - 1), 1)) end as result
  from (select no, bar, bound, at_least, places, array_agg(value) as rounds,
               percentile_cont(0.5) within group (order by value) as median
          from figures group by no, bar, bound, at_least, places) f;
