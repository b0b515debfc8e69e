-- A table of the application's own with a history on two axes: what was true, and what was believed.
create table demo.rates (product text primary key, percent numeric not null);
insert into demo.rates values ('savings', 1.5), ('loan', 6);
select temporal.enable('demo.rates', p_valid_from => '2024-01-01') as rows_enabled;

\echo
\echo 'A correction of the past, a change of today, a fact of tomorrow'
select temporal.update_portion('demo.rates', '{"product": "savings"}', '2024-03-01', '2024-05-01', '{"percent": 1.75}') as corrected,
       temporal.update_portion('demo.rates', '{"product": "loan"}', now() + interval '1 day', 'infinity', '{"percent": 7}') as scheduled;
update demo.rates set percent = 2 where product = 'savings';
select product, percent, valid_from::date, case valid_to when 'infinity' then null else valid_to::date end as valid_to
  from demo_history.rates where known_to = 'infinity' order by product, valid_from;

\echo 'The same report, run in April 2024'
set search_path = demo_as_of, demo, public;
select product, percent from rates order by product;
set neobank.as_of = '2024-04-01';
select product, percent from rates order by product;
reset neobank.as_of;
reset search_path;
