-- Medians over the rounds, and neobank's ratio to the peer and the floor with its spread from round to round.
\pset footer off
\echo
\echo 'Transfers per second, durable, random pairs among 10,000 accounts (floor: INSERT of one row with one index)'
select n.clients, round(percentile_cont(0.5) within group (order by n.value)) as neobank,
       round(percentile_cont(0.5) within group (order by p.value)) as peer,
       round(percentile_cont(0.5) within group (order by f.value)) as floor,
       format('%s (%s-%s)', round(percentile_cont(0.5) within group (order by n.value / p.value)::numeric, 2),
              round(min(n.value / p.value)::numeric, 2), round(max(n.value / p.value)::numeric, 2)) as "neobank / peer",
       format('%s (%s-%s)', round(percentile_cont(0.5) within group (order by n.value / f.value)::numeric, 2),
              round(min(n.value / f.value)::numeric, 2), round(max(n.value / f.value)::numeric, 2)) as "neobank / floor"
  from bench.results n
  join bench.results p on p.measure = 'peer' and (p.clients, p.round) = (n.clients, n.round)
  join bench.results f on f.measure = 'floor' and (f.clients, f.round) = (n.clients, n.round)
 where n.measure = 'neobank' group by n.clients order by n.clients;

\echo 'Cost of one transfer inside the server, microseconds (one statement, 20,000 transfers)'
select round(percentile_cont(0.5) within group (order by n.value)::numeric, 1) as neobank,
       round(percentile_cont(0.5) within group (order by p.value)::numeric, 1) as peer,
       format('%s (%s-%s)', round(percentile_cont(0.5) within group (order by p.value / n.value)::numeric, 2),
              round(min(p.value / n.value)::numeric, 2), round(max(p.value / n.value)::numeric, 2)) as "peer / neobank"
  from bench.results n join bench.results p on p.measure = 'peer cost' and p.round = n.round
 where n.measure = 'neobank cost';

\echo 'Memory of one session over 100,000 calls of transfer, kB'
select * from bench.memory_result;

\echo 'Reads on an account with' :postings 'postings, median milliseconds of 200 calls'
select measure as read, round(value::numeric, 3) as ms from bench.results where measure like 'read:%' order by 1;
