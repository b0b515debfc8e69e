-- What was true, and what was believed: an account's history on two axes.
select account_id as a from demo.accounts where currency = 'USD' and no = 3 \gset
select clock_timestamp() as before \gset
select banking.set_account_status(:'a', 'frozen', 'card reported stolen') as done \gset
select banking.set_account_status(:'a', 'active', 'card replaced') as done \gset
select clock_timestamp() as believed \gset

\echo
\echo 'History: a backdated deposit and a correction change the past, and not what was believed of it'
select txn_processing.deposit(:'a', 5, effective_at => :'before') as t \gset
select temporal.correct(:'a', :'before', :'believed', '{"overdraft_limit": 250}', 'contract found') is not null as corrected;
select 'as it was believed' as question, account_status as status, overdraft_limit, current_balance
  from temporal.get_account_as_of(:'a', :'before', :'believed')
union all
select 'as it is known now', account_status, overdraft_limit, current_balance
  from temporal.get_account_as_of(:'a', :'before', 'infinity');
select account_status as status, overdraft_limit, current_balance as balance, change_reason as why
  from temporal.timeline(:'a', 'infinity');
select clock_timestamp() - temporal.safe_horizon() < interval '1 minute' as answers_of_a_minute_ago_are_final;
