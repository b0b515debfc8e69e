-- What applications keep beside their money: events of a loan application, who is told of them, what is made of them,
-- and the ledger itself as events.
select account_id as a, customer_id as customer from demo.accounts join banking.accounts using (account_id)
 where currency = 'USD' and no = 1 \gset
select account_id as b from demo.accounts where currency = 'USD' and no = 2 \gset
select neobank.uuid_v7() as loan \gset
select event_store.create_subscription('letters', '{"aggregate_types": ["LoanApplication"]}') \gset none_

\echo
\echo 'Events: a loan application, folded into its state; who decided on an old version is told so'
select event_store.append_events('LoanApplication', :'loan', '[
    {"event_type": "Submitted", "event_data": {"applicant": "Ada", "amount": 12000.00}, "tags": ["ssn:078-05-1120"]},
    {"event_type": "Scored", "event_data": {"score": 710}},
    {"event_type": "Approved", "event_data": {"rate": 4.25}}]', 0) as version;
select event_store.get_aggregate_state(:'loan') as state, event_store.get_aggregate_state(:'loan', 2) - 'applicant' as at_version_2;
\set ON_ERROR_STOP off
\set VERBOSITY terse
select event_store.append_event('LoanApplication', :'loan', 'Rejected', '{}', 2);
\echo 'One application for each person, across all streams: the second is refused'
select event_store.append_events_if('LoanApplication', neobank.uuid_v7(),
    '[{"event_type": "Submitted", "event_data": {}, "tags": ["ssn:078-05-1120"]}]', 0, '{Submitted}', '{ssn:078-05-1120}');
\set VERBOSITY default
\set ON_ERROR_STOP on

\echo 'Subscriptions: letters are written once for each event, in order; what fails is retried, then parked'
select f.event_id as event, lease_token as token from event_store.fetch('letters', 1, 'printer 1') f \gset
select event_store.nack('letters', :token, :'event', 'out of paper', park => true) is null as parked \gset
select subscription, events_behind, in_flight, blocked_streams, parked from event_store.subscription_lag;
select event_store.replay_parked('letters') as replayed \gset
select count(*) as letters, min(event_type) as first, min(lease_token) as token from event_store.fetch('letters', 10, 'printer 2') \gset
select :'first' as replayed, event_store.ack('letters', :token) as acknowledged;
select count(*) as letters, min(lease_token) as token from event_store.fetch('letters', 10, 'printer 2') \gset
select :letters as the_rest, event_store.ack('letters', :token) as acknowledged;

\echo 'The ledger as events, in the transactions that post; they alone rebuild the balances'
select event_store.publish_ledger(true) > 0 as published \gset
select txn_processing.transfer(:'a', :'b', 12.34, description => 'Published') as t \gset
select event_type, event_data -> 'amount' as amount, event_data ->> 'description' as description
  from event_store.read_stream(event_store.ledger_stream(:'t'));
select accounts as brought_forward, events, (select count(*) from event_store.check_ledger_events()) as differences
  from event_store.ledger_publication;
select event_store.publish_ledger(false) > 0 as switched_off \gset

\echo 'Read models: right at once, at no cost for postings'
select customer_name, total_accounts, total_balance, currency_code as currency, last_transaction_date is not null as has_moved
  from cqrs.customer_summary where customer_id = :'customer';
select current_balance as balance, transaction_count_30d, average_transaction_amount as average
  from cqrs.account_activity where account_id = :'b';
