-- A payment to another bank as a saga, once through and failing at each of its steps: whatever was done is undone, and
-- the ledger is even after each. What other systems do is done here by a worker called demo.
select saga.define('bank_payment', saga.bank_payment_steps()) as version \gset
select account_id as payer from demo.accounts where currency = 'EUR' and no = 1 \gset
select current_balance as balance from banking.account_balances where account_id = :'payer' \gset

-- Runs the saga, and answers for the systems outside; fails what comes at step failing, for good.
create function demo.drive(saga uuid, failing text) returns text
language plpgsql as $$
declare
    work record;
begin
    loop
        perform saga.run(saga);
        select * into work from saga.claim_step('demo', array['payment_submit', 'payment_notify'], max_steps => 1);
        exit when not found;
        if work.kind = 'action' and work.step_name = failing then
            perform saga.fail_step(work.step_id, work.lease_token, failing || ' was refused', retryable => false);
        else
            perform saga.complete_step(work.step_id, work.lease_token, pg_catalog.jsonb_build_object('scheme_reference', work.effect_id));
        end if;
    end loop;
    return (select status from saga.sagas where saga_id = saga);
end $$;

\echo
\echo 'Sagas: a payment to another bank, once through'
select saga.start_bank_payment(:'payer', 25, 'XYZBDEFF', 'DE89370400440532013000', description => 'Rent', idempotency_key => 'rent-11') as paid \gset
select demo.drive(:'paid', null) as status;
select saga.describe(:'paid');

\echo 'The same refused at each step: with more than there is, by the scheme, by the ledger, by the notifier'
select saga.start_bank_payment(:'payer', :balance + 1, 'XYZBDEFF', 'DE89370400440532013000') as at_hold,
       saga.start_bank_payment(:'payer', 26, 'XYZBDEFF', 'DE89370400440532013000') as at_submit,
       saga.start_bank_payment(:'payer', 27, 'unassigned', 'DE89370400440532013000') as at_capture,
       saga.start_bank_payment(:'payer', 28, 'XYZBDEFF', 'DE89370400440532013000') as at_notify \gset
select demo.drive(:'at_hold', null) as hold, demo.drive(:'at_submit', 'submit') as submit,
       demo.drive(:'at_capture', null) as capture, demo.drive(:'at_notify', 'notify') as notify;
select f.step_name as failed_at, f.error_code as code, f.error_message as why, f.compensated_steps as undone
  from saga.failed_sagas f where f.saga_type = 'bank_payment' order by f.started_at;
select current_balance as balance, :balance - current_balance as paid, current_balance - available_balance as set_aside
  from banking.account_balances where account_id = :'payer';
