-- What a bank looks at: postings by type, a statement, the trial balance, the reconciliation.
\echo
\echo 'Postings by type'
select transaction_type, count(*) as postings
  from txn_processing.movements group by transaction_type order by transaction_type;

-- The account that has seen the most types of posting, and of those the busiest.
select account_id as account, account_number as number, account_type as type, currency_code as currency
  from banking.accounts a
 cross join lateral (
       select count(distinct m.transaction_type) as types, count(*) as postings
         from txn_processing.movements m
        where m.debit_account = a.account_id or m.credit_account = a.account_id) seen
 where customer_id is not null
 order by types desc, postings desc, account_id limit 1 \gset
\echo 'Statement of' :type 'account' :number 'in' :currency '(its last 15 lines)'
select sequence, to_char(effective_at, 'YYYY-MM-DD HH24:MI') as effective, transaction_type as type,
       case entry_type when 'debit' then amount end as debit, case entry_type when 'credit' then amount end as credit,
       running_balance as balance, description, reference_number as reference
  from txn_processing.statement(:'account', max_rows => 15);

\echo 'Trial balance'
select currency_code as currency, account_class as class, account_type, accounts, debits, credits
  from txn_processing.trial_balance() order by 1, 2, 3;
select currency_code as currency, sum(debits) as debits, sum(credits) as credits,
       case when sum(debits) = sum(credits) then 'even' else 'NOT EVEN' end as result
  from txn_processing.trial_balance() group by 1 order by 1;

\echo 'Reconciliation: each account''s balance against the sum of its postings'
create temp table reconciliation as select * from txn_processing.daily_reconciliation();
select status, count(*) as accounts, sum(difference) as difference from reconciliation group by status;

do $$
begin
    if exists (select from txn_processing.trial_balance() group by currency_code having sum(debits) <> sum(credits)) then
        raise exception 'the trial balance is not even';
    end if;
    if exists (select from reconciliation where status <> 'Balanced') then
        raise exception 'the reconciliation found discrepancies';
    end if;
end
$$;
