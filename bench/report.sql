-- The report. bench/report turns its tables into Markdown.
\pset format unaligned
\pset fieldsep '|'
\pset footer off
\pset tuples_only on
select format('PostgreSQL %s; %s cores, the load on the same machine; one flush (fdatasync of 8 kB, pg_test_fsync) takes %s us.',
              substring(current_setting('server_version') from '^\S+'),
              max(value) filter (where subject = 'cores'), max(value) filter (where subject = 'fdatasync'))
  from bench.results where step = 'machine';
select 'Settings: ' || string_agg(format('`%s = %s`', name, current_setting(name)), ', ' order by position) || '.'
  from unnest('{shared_buffers,max_wal_size,checkpoint_timeout,synchronous_commit,fsync,full_page_writes}'::text[])
       with ordinality s (name, position);
\qecho :method 'Made by'
\qecho
\qecho '    ' :command
\pset tuples_only off

\qecho
\qecho '### What it is meant to reach'
\qecho
select bar, wanted, reached, result from bench.bars order by no;

\qecho
\qecho '### One transfer per call'
\qecho
\qecho 'Transfers per second, and for one transfer bytes of log, bytes of page images, and buffers.'
\qecho
with ratios as (
    select accounts, distribution, clients, bench.spread(array_agg(ratio) filter (where other = 'peer'), 2) as peer,
           bench.spread(array_agg(ratio) filter (where other = 'floor'), 2) as floor
      from bench.ratios where (step, measure, subject) = ('single', 'rate', 'neobank')
     group by accounts, distribution, clients
)
select bench.figure(accounts) as accounts, distribution as drawn, clients, bench.figure(n.rate) as neobank,
       bench.figure(p.rate) as peer, bench.figure(f.rate) as floor, r.peer as "to peer", r.floor as "to floor",
       bench.figure(n.wal) as log, bench.figure(n.images) as images, bench.figure(n.buffers) as buffers,
       bench.figure(p.wal) as "peer: log", bench.figure(p.images) as images, bench.figure(p.buffers) as buffers
  from bench.loads n
  join bench.loads p using (step, accounts, distribution, clients)
  join bench.loads f using (step, accounts, distribution, clients)
  join ratios r using (accounts, distribution, clients)
 where step = 'single' and (n.subject, p.subject, f.subject) = ('neobank', 'peer', 'floor')
 order by n.accounts, distribution, n.clients;

\qecho
\qecho '### One account that all pay'
\qecho
select case distribution when 'one' then 'one' else 'at random' end as payee, subject as "by", clients,
       bench.spread(array_agg(value), 0) as rate
  from bench.results where (step, measure) = ('payee', 'rate')
 group by distribution, subject, clients
 order by distribution desc, array_position('{neobank,slotted,exclusive,peer}', subject);

\qecho
\qecho '### Cost in the server'
\qecho
\qecho 'Microseconds for one transfer, 20,000 of them in one statement.'
\qecho
select subject as "by", bench.spread(array_agg(value), 1) as microseconds
  from bench.results where step = 'cost' group by subject order by subject;

\qecho
\qecho '### Many transfers in one call'
\qecho
\qecho 'Transfers per second by size of the batch and number of clients, payers and payees uniform among the fewest accounts.'
\qecho 'Beside it the peer and the floor, the same batch in one statement, with one client.'
\qecho
select bench.figure(batch) as batch, case subject when 'neobank' then clients::text else subject end as name,
       bench.figure(rate) as rate, array_position('{neobank,peer,floor}', subject) * 1000 + clients as position
  from bench.loads
 where step = 'batches' and distribution = 'uniform' and batch is not null
   and accounts = (select min(accounts) from bench.loads where step = 'batches')
 order by loads.batch
\crosstabview batch name rate position
\qecho
\qecho 'With the number of clients that serves best, to the peer with the same batch, and to the floor with one INSERT per'
\qecho 'call and the most clients:'
\qecho
select bench.figure(b.accounts) as accounts, b.distribution as drawn, bench.figure(b.batch) as batch, b.clients,
       bench.figure(b.rate) as rate, bench.spread(array_agg(to_peer), 2) as "to peer",
       bench.spread(array_agg(to_floor), 2) as "to floor", bench.figure(b.wal) as log,
       bench.figure(b.images) as images, bench.figure(b.buffers) as buffers
  from bench.best_batches b join bench.batch_ratios f using (accounts, distribution, batch)
 group by b.accounts, b.distribution, b.batch, b.clients, b.rate, b.wal, b.images, b.buffers
 order by b.accounts, b.distribution, b.batch;

\qecho
\qecho '### Bytes'
\qecho
\qecho 'Log of one transfer, one per call, once the pages have had their image after a checkpoint:'
\qecho
select subject as "by", bench.figure(wal) as records, bench.figure(images) as images, bench.figure(buffers) as buffers
  from bench.loads where step = 'bytes' order by array_position('{neobank,peer,floor}', subject);
\qecho
\qecho 'Disk for one transfer:'
\qecho
select case when history is null then subject else format('%s, %s in batches', subject, bench.figure(history)) end as "by",
       substring(measure from 6) as part, bench.figure(value, 1) as bytes
  from bench.results where measure like 'disk %'
 order by subject, history nulls first, measure <> 'disk total', measure <> 'disk heap', measure
\crosstabview part by bytes

\qecho
\qecho '### How cost grows'
\qecho
\qecho 'Transfers per second by postings in the ledger, uniform among the fewest accounts; the rate to that of the shortest'
\qecho 'ledger, and the same with both relative to the floor beside them. One per call is measured twice: just after a'
\qecho 'checkpoint, and again at once.'
\qecho
with growth as (
    select subject, batch, history, bench.spread(array_agg(ratio), 2) as ratio,
           bench.spread(array_agg(ratio_to_floor), 2) as to_floor
      from bench.growth group by subject, batch, history
)
select case when l.subject = 'floor' then 'floor' when l.batch is not null then 'batches of ' || bench.figure(l.batch)
            when l.subject = 'first' then 'after a checkpoint' else 'one per call' end as load, l.clients,
       bench.figure(l.history) as postings, bench.figure(l.rate) as rate, g.ratio as "to shortest",
       g.to_floor as "relative to floor", bench.figure(l.wal) as log, bench.figure(l.images) as images,
       bench.figure(l.buffers) as buffers
  from bench.loads l
  left join growth g on g.subject = l.subject and g.history = l.history and g.batch is not distinct from l.batch
 where l.step = 'growth'
 order by l.subject = 'floor', l.batch nulls first, l.subject, l.history;

\qecho
\qecho '### Memory'
\qecho
\qecho 'Kilobytes of one session.'
\qecho
select subject as session, bench.figure(value) as kilobytes
  from bench.results where step = 'memory' order by position(' ' in subject) = 0, subject like '% after', subject;

\qecho
\qecho '### Reads'
\qecho
select format('Milliseconds on an account with %s postings, median of 200 calls.', bench.figure(max(history)))
  from bench.results where step = 'reads' \g (format=unaligned tuples_only=on)
\qecho
select subject as read, bench.figure(value, 2) as ms from bench.results where step = 'reads' order by subject;

\qecho
\qecho '### Events'
\qecho
\qecho 'Events per second on streams drawn at random, and for one event bytes of log and of page images and buffers. The floor is'
\qecho 'an INSERT of the same row into a plain table with the same columns and indexes; `tagged` has two tags, `conditional` one and'
\qecho 'the condition that nobody has it.'
\qecho
select l.subject as "by", coalesce(bench.figure(l.batch), 'one') as batch, l.clients, bench.figure(l.rate) as rate,
       bench.spread(array_agg(r.ratio) filter (where r.ratio is not null), 2) as "to floor",
       bench.figure(l.wal) as log, bench.figure(l.images) as images, bench.figure(l.buffers, 1) as buffers
  from bench.loads l
  left join bench.ratios r on r.measure = 'rate' and r.other = 'floor' and (r.step, r.subject) = (l.step, l.subject)
       and (r.clients, r.batch) is not distinct from (l.clients, l.batch) and l.subject <> 'floor'
 where l.step = 'events'
 group by l.subject, l.batch, l.clients, l.rate, l.wal, l.images, l.buffers
 order by l.batch nulls first, l.clients, array_position('{neobank,tagged,conditional,floor}', l.subject);
\qecho
\qecho 'The same by events in the store, to that of the shortest, and with both relative to the floor, whose table has no history:'
\qecho
with growth as (
    select subject, batch, history, bench.spread(array_agg(ratio), 2) as ratio,
           bench.spread(array_agg(ratio_to_floor), 2) as to_floor
      from bench.event_growth group by subject, batch, history
)
select case when l.subject = 'floor' then 'floor' when l.batch is not null then 'batches of ' || bench.figure(l.batch)
            when l.subject = 'first' then 'after a checkpoint' else 'one per call' end as load, l.clients,
       bench.figure(l.history) as events, bench.figure(l.rate) as rate, g.ratio as "to shortest",
       g.to_floor as "relative to floor", bench.figure(l.wal) as log, bench.figure(l.images) as images
  from bench.loads l
  left join growth g on g.subject = l.subject and g.history = l.history and g.batch is not distinct from l.batch
 where l.step = 'events_growth'
 order by l.subject = 'floor', l.batch nulls first, l.subject, l.history;
\qecho
\qecho 'The state of an aggregate of 100,000 events, in milliseconds, with snapshots, from its events alone, and by a fold in PL/pgSQL:'
\qecho
select s.subject as "state from", bench.spread(array_agg(s.value), 2) as milliseconds,
       bench.spread(array_agg(r.ratio), 1) as "times faster"
  from bench.results s
  left join bench.ratios r on (r.step, r.measure, r.other, r.round) = (s.step, s.measure, s.subject, s.round)
       and r.subject = 'PL/pgSQL' and s.subject <> 'PL/pgSQL'
 where (s.step, s.measure) = ('event_state', 'milliseconds')
 group by s.subject order by avg(s.value) desc;
\qecho
\qecho 'Histories of tables: processor time of a statement on a row, alone and among 8,000, and a report, serial and with two workers:'
\qecho
select r.measure, r.subject, bench.spread(array_agg(r.value), 2) as figure, bench.spread(array_agg(p.ratio), 2) as "to plain"
  from bench.results r
  left join bench.ratios p on (p.step, p.measure, p.subject, p.round, p.other) = (r.step, r.measure, r.subject, r.round, 'plain')
       and r.subject <> 'plain'
 where r.step = 'histories'
 group by r.measure, r.subject order by r.measure desc, avg(r.value);
