-- A bank with a bit of everything, so that what is asked with ids and words out of its tables goes deep.
DO $world$
DECLARE
  ada uuid := banking.create_customer('Ada', 'Byron', 'ada@example.org', '+44 20 7946 0001', '1985-12-10');
  bob uuid := banking.create_customer('Bob', 'Ng', customer_type => 'business', country_code => 'SG');
  north uuid := banking.create_tenant('North');
  ole uuid := banking.create_customer('Ole', 'Berg', tenant => north);
  today date := (now() AT TIME ZONE 'UTC')::date;
  accounts uuid[] := '{}';
  a uuid; b uuid; saving uuid; loan uuid; euro uuid; yen uuid; shop uuid; theirs uuid; old uuid; cash uuid;
  paid uuid; batch uuid; hold uuid; dispute uuid; statement uuid; line_ids uuid[]; posting_ids uuid[];
  n int;
BEGIN
  PERFORM txn_processing.set_interest_rule('savings', 'USD', 5, 'act/365', today - 20,
                                           tier_from => '{1000}', tier_percent => '{4}');
  PERFORM txn_processing.set_fee_schedule('wire', 'transfer', 'USD', 'percentage', today, percent => 0.5,
                                          floor_amount => 1, cap_amount => 20);
  PERFORM txn_processing.set_fee_schedule('stamp', 'payment', 'USD', 'tiered', today, tier_from => '{100, 400}',
                                          tier_percent => '{1, 0.5}', tier_fixed => '{0, 2}');
  PERFORM txn_processing.set_fee_schedule('keeping', 'periodic', 'USD', 'fixed', today - 60, fixed_amount => 2,
                                          period => 'month', account_type => 'checking');
  PERFORM txn_processing.set_fx_rate('EUR', 'USD', 1.0837, now() - interval '1 day');
  PERFORM txn_processing.set_fx_rate('USD', 'JPY', 150.255, now() - interval '1 day');
  PERFORM txn_processing.set_hold_rule('checking', 20);
  PERFORM txn_processing.set_dispute_policy('business', true, 120);
  PERFORM txn_processing.set_reconciliation_rule('First National', 1, date_tolerance_days => 2,
                                                 passes => '{reference,date,one_to_many,many_to_one,subset}');
  PERFORM banking.set_type_limit('credit_card', 'USD', 'transaction', 5000, NULL, 'house rule');

  FOR n IN 1..6 LOOP
    accounts := accounts || banking.open_account(ada, opening_deposit => 10000 * n, overdraft_limit => 100);
  END LOOP;
  a := accounts[1]; b := accounts[2];
  saving := banking.open_account(ada, 'savings', opening_deposit => 5000);
  loan := banking.open_account(bob, 'loan', overdraft_limit => 100000);
  euro := banking.open_account(bob, currency => 'EUR', opening_deposit => 7000);
  yen := banking.open_account(bob, currency => 'JPY', opening_deposit => 90000);
  shop := banking.open_account(bob, 'business', opening_deposit => 250);
  theirs := banking.open_account(ole, opening_deposit => 300, tenant => north);
  PERFORM banking.set_balance_mode(shop, 'slotted');
  PERFORM banking.set_account_status(banking.open_account(bob, opening_deposit => 10), 'frozen', 'lost papers');
  PERFORM banking.set_account_status(banking.open_account(bob, opening_deposit => 10), 'dormant', 'gone away');
  old := banking.open_account(bob, opening_deposit => 10);
  PERFORM banking.close_account(old, sweep_to => a);
  PERFORM banking.set_account_limit(accounts[3], 'day', 5000, 100, 'asked for');

  FOR n IN 1..12 LOOP
    PERFORM txn_processing.transfer(accounts[1 + n % 6], accounts[1 + (n + 1) % 6], n, reference => 'T-' || n,
                                    metadata => jsonb_build_object('batch', 'B-' || n % 3));
    PERFORM txn_processing.pay_bank(accounts[1 + n % 6], n + 0.25, 'YZ', '8714458' || n);
  END LOOP;
  PERFORM txn_processing.receive_from_bank(a, 45.5, 'ST', '89597016');
  PERFORM txn_processing.deposit(saving, 700, effective_at => (today - 10)::timestamp AT TIME ZONE 'UTC');
  PERFORM txn_processing.withdraw(loan, 900);
  PERFORM txn_processing.withdraw(shop, 1);
  PERFORM txn_processing.charge_fee(a, 1.5, description => 'card fee');
  PERFORM txn_processing.credit_interest(b, 0.02);
  PERFORM txn_processing.adjust(b, -0.01, 'a cent too many');
  PERFORM txn_processing.transfer_fx(euro, a, 10.01), txn_processing.transfer_fx(a, yen, 3);
  PERFORM txn_processing.transfer_with_fee(a, b, 500);
  PERFORM txn_processing.deposit(theirs, 5);
  PERFORM txn_processing.refund(txn_processing.pay(a, 30), 12);
  PERFORM txn_processing.reverse(txn_processing.transfer(b, a, 8), 'twice');
  PERFORM txn_processing.settle(today - 1, 'USD');

  FOR n IN 1..6 LOOP
    hold := txn_processing.place_hold(accounts[n], 50, now() + interval '7 days', to_account => accounts[1 + n % 6],
                                      group_id => CASE WHEN n > 3 THEN ada END);
    IF n = 1 THEN PERFORM txn_processing.capture_hold(hold, 20, final => false); END IF;
    IF n = 2 THEN PERFORM txn_processing.capture_hold(hold); END IF;
    IF n = 3 THEN PERFORM txn_processing.release_hold(hold, 'not needed'); END IF;
  END LOOP;

  FOR n IN 1..4 LOOP
    paid := txn_processing.transfer(shop, accounts[n], n);
    dispute := txn_processing.open_dispute(paid, 'never arrived');
    IF n = 1 THEN PERFORM txn_processing.resolve_dispute(dispute, 'won'); END IF;
  END LOOP;

  FOR n IN 1..8 LOOP
    PERFORM txn_processing.enqueue('transfer', accounts[1 + n % 6], accounts[1 + (n + 1) % 6], n,
                                   idempotency_key => 'key ' || n, priority => 1 + n,
                                   request_data => '{"description": "rent"}');
  END LOOP;
  PERFORM txn_processing.enqueue('withdrawal', a, amount => 900000000);
  PERFORM txn_processing.enqueue('adjustment', destination => b, amount => 5, request_data => '{"reason": "because"}');
  PERFORM txn_processing.enqueue('refund', amount => 1,
                                 request_data => jsonb_build_object('original_transaction_id', paid));
  PERFORM txn_processing.process_queue(3);

  FOR n IN 1..3 LOOP
    batch := txn_processing.create_payment_batch(jsonb_build_array(
        jsonb_build_object('from_account', a, 'to_account', b, 'amount', n, 'external_id', 'S-1'),
        jsonb_build_object('from_account', b, 'counterparty_bank', 'QR', 'counterparty_account', '139', 'amount', '2.5'),
        jsonb_build_object('from_account', ada, 'to_account', b, 'amount', 7, 'currency', 'USD', 'reference', 'R')),
      'salaries ' || n, 'salaries');
    IF n = 2 THEN PERFORM txn_processing.process_payment_batch(batch, 2); END IF;
    IF n = 3 THEN PERFORM txn_processing.process_payment_batch(batch); END IF;
  END LOOP;

  SELECT account_id INTO cash FROM banking.accounts
   WHERE customer_id IS NULL AND account_type = 'cash' AND currency_code = 'USD' AND tenant_no = 0;
  PERFORM txn_processing.deposit(a, 100, reference => 'INV-1'), txn_processing.deposit(a, 40), txn_processing.deposit(b, 3);
  statement := txn_processing.import_external_statement('First National', '2026/1', cash, 'USD', 0, 166.5,
    jsonb_build_array(
      jsonb_build_object('booked_on', today, 'amount', 100, 'reference', 'INV-1', 'line_ref', '1'),
      jsonb_build_object('booked_on', today, 'amount', 40, 'line_ref', '2', 'counterparty', 'Ada'),
      jsonb_build_object('booked_on', today, 'amount', 3, 'line_ref', '3'),
      jsonb_build_object('booked_on', today, 'amount', 15, 'line_ref', '4'),
      jsonb_build_object('booked_on', today, 'amount', 8, 'line_ref', '5'),
      jsonb_build_object('booked_on', today, 'amount', 0.5, 'line_ref', '6')));
  PERFORM txn_processing.match_external_statement(statement);
  SELECT array_agg(line_id) INTO line_ids FROM (
    SELECT line_id FROM txn_processing.reconciliation_breaks(statement)
     WHERE line_id IS NOT NULL ORDER BY line_no DESC LIMIT 1) one;
  SELECT array_agg(transaction_id) INTO posting_ids FROM (
    SELECT transaction_id FROM txn_processing.reconciliation_breaks(statement)
     WHERE transaction_id IS NOT NULL LIMIT 1) one;
  IF line_ids <> '{}' AND posting_ids <> '{}' THEN
    PERFORM txn_processing.manual_match(line_ids, posting_ids, 'seen by a person');
  END IF;
  PERFORM txn_processing.accrue_interest(today - 3);
  PERFORM txn_processing.capitalise_interest(today - 3);
  PERFORM txn_processing.charge_periodic_fees(today - 1);
END $world$;
