-- A day at the bank: queue, holds, limits, exchanges, payments to other banks, disputes, interest, fees, and the
-- statement of a correspondent. Each part prints what it left.
select account_id as a from demo.accounts where currency = 'USD' and no = 1 \gset
select account_id as b from demo.accounts where currency = 'USD' and no = 2 \gset
select account_id as euro from demo.accounts where currency = 'EUR' and no = 1 \gset

\echo
\echo 'Queue: 500 transfers are handed in, one of them past its expiry, and carried out in batches'
select count(txn_processing.enqueue('transfer', x.account_id, y.account_id, 1, 'USD', 'demo-' || x.no, 5, '{}', 3,
                                    case x.no when 7 then clock_timestamp() + interval '1 microsecond' else now() + interval '1 hour' end)) as requests
  from demo.accounts x join demo.accounts y on y.currency = 'USD' and y.no = x.no % 500 + 1 and y.no <> x.no
 where x.currency = 'USD' \gset
select count(*) as carried_out from txn_processing.process_queue(1000) \gset
select status, transaction_type as type, requests from txn_processing.queue_status order by 1, 2;

\echo 'Holds: 60 are set aside for a hotel, 20 captured, the rest released; another expires by itself'
select txn_processing.place_hold(:'a', 60, description => 'Hotel') as hold \gset
select txn_processing.place_hold(:'a', 30, expires_at => clock_timestamp() + interval '50 milliseconds') as other \gset
select current_balance as balance, available_balance as available from banking.account_balances where account_id = :'a';
select txn_processing.capture_hold(:'hold', 20, :'b') is not null as captured, pg_sleep(0.06) is null as waited \gset
select current_balance as balance, available_balance as available from banking.account_balances where account_id = :'a';

\echo 'Limits and dry runs: what a posting would be answered, without effect'
select banking.set_account_limit(:'b', 'day', 100, null, 'student account') \gset none_
select ok, code, detail from txn_processing.validate('transfer', :'b', :'a', 101);

\echo 'Exchanges: rates, a transfer from dollars to euros, and what the positions are worth'
select txn_processing.set_fx_rate('EUR', 'USD', 1.0875) \gset none_
select txn_processing.transfer_fx(:'a', :'euro', 100, description => 'Holiday money') as exchange \gset
select base, quote, rate, base_amount, quote_amount, residue
  from txn_processing.fx_transfers where transaction_id = :'exchange';
select currency_code as currency, net_position, rate, value from txn_processing.fx_gains('USD') where net_position <> 0;

\echo 'Payments: a batch of 500 to three banks, two of which lack funds; then settlement empties clearing'
select txn_processing.create_payment_batch(
           (select jsonb_agg(jsonb_build_object(
                       'from_account', account_id, 'counterparty_bank', (array['AB', 'CD', 'EF'])[1 + no % 3],
                       'counterparty_account', (90000000 + no)::text,
                       'amount', case when no in (10, 20) then 9000000 else 5 end) order by no)
              from demo.accounts where currency = 'USD' and no <= 500), 'payroll-1') as batch \gset
call txn_processing.run_payment_batch(:'batch', 100);
select status, completed_items, completed_amount, failed_items, pending_items, total_items
  from txn_processing.payment_batches_status where batch_id = :'batch';
select counterparty_bank as bank, payments, outgoing, incoming, net
  from txn_processing.settle((now() at time zone 'UTC')::date, 'USD');
select current_balance as left_in_clearing from banking.account_balances
 where account_type = 'payments_clearing' and currency_code = 'USD' and tenant_no = 0;

\echo 'A dispute: a provisional credit, and its end'
select txn_processing.pay(:'a', 40, description => 'Concert tickets') as paid \gset
select txn_processing.open_dispute(:'paid', 'Never delivered') as dispute \gset
select distinct status from txn_processing.ledger where transaction_id = :'paid';
select txn_processing.resolve_dispute(:'dispute', 'partial', 15, 'half of it was delivered') is not null as resolved \gset
select state, amount, final_amount from txn_processing.disputes where dispute_id = :'dispute';

\echo 'Interest and fees: 3.65 % on savings by act/365, accrued and capitalised; a wire fee of 0.5 %, at least 1'
select count(txn_processing.deposit(account_id, 5000, effective_at => now() - interval '4 days')) as deposits
  from demo.accounts where currency = 'USD' and no % 2 = 0 \gset
select txn_processing.set_interest_rule('savings', 'USD', 3.65, 'act/365', current_date - 2) \gset none_
call txn_processing.run_interest_accrual(current_date - 1);
call txn_processing.run_interest_capitalisation(current_date - 1);
select count(*) as accounts, sum(amount) as capitalised from txn_processing.interest_capitalisations where amount <> 0;
select txn_processing.set_fee_schedule('wire', 'transfer', 'USD', 'percentage', current_date, percent => 0.5, floor_amount => 1) \gset none_
select txn_processing.transfer_with_fee(:'a', :'b', 50) as wired \gset
select fee_code, amount from txn_processing.fees_charged where fee_transaction = :'wired';

\echo 'The correspondent''s statement: matched with our nostro, the one line that we do not know is a break'
select account_id as nostro, current_balance as closing from banking.account_balances
 where account_type = 'nostro' and currency_code = 'USD' and tenant_no = 0 \gset
select txn_processing.import_external_statement('correspondent', 'S-1', :'nostro', 'USD', 0, (:closing) - 3,
           (select jsonb_agg(jsonb_build_object('booked_on', current_date, 'amount', amount, 'reference', reference_number))
              from (select case entry_type when 'debit' then amount else -amount end as amount, reference_number
                      from txn_processing.ledger where account_id = :'nostro'
                     union all select -3, 'Account keeping') l)) as statement \gset
select * from txn_processing.match_external_statement(:'statement');
select kind, line_no, amount, difference, reference from txn_processing.reconciliation_breaks(:'statement');
