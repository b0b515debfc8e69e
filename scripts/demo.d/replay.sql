-- Replays a file of a bank's transactions: each account is opened on its first row, each row becomes one posting.
create schema demo;

create table demo.rows (
    seq                 int     primary key,
    booked_on           date    not null,
    account             text    not null,
    transaction_type    text    not null,
    amount              numeric not null,
    balance             numeric,
    bank_transaction_id text,
    category            text,
    transaction_id      uuid,
    balance_here        numeric
);
-- Says at once whether the file has balances.
create index rows_with_balance on demo.rows (seq) where balance is not null;

create table demo.bank_accounts (
    account    text primary key,
    account_id uuid not null
);

create function demo.account_of(p_account text) returns uuid
language plpgsql as $$
declare
    found_id uuid := (select account_id from demo.bank_accounts where account = p_account);
begin
    if found_id is null then
        -- Account 5868 was allowed below zero. Where the file has no balances its rows are not in the bank's own
        -- order within a day, so any account may be below zero for a moment.
        found_id := banking.open_account(
            banking.create_customer('Holder', p_account, format('holder-%s@example.org', p_account), '+420-555-0100',
                                    date '1960-01-01'),
            currency => 'CZK', account_number => p_account,
            overdraft_limit => case when p_account = '5868' then 100000
                                    when exists (select from demo.rows where balance is not null) then 0
                                    else 1000000 end);
        insert into demo.bank_accounts values (p_account, found_id);
    end if;
    return found_id;
end
$$;

-- Posts the rows with these numbers. Returns how many there were.
create function demo.replay(p_first int, p_last int) returns int
language plpgsql as $$
declare
    r      demo.rows;
    id     uuid;
    posted uuid;
    done   int := 0;
begin
    for r in select * from demo.rows where seq between p_first and p_last order by seq loop
        id := demo.account_of(r.account);
        posted := case r.transaction_type
            when 'deposit' then txn_processing.deposit(id, r.amount, 'CZK', r.category, r.bank_transaction_id,
                                                       effective_at => r.booked_on)
            when 'interest' then txn_processing.credit_interest(id, r.amount, 'CZK', r.category, r.bank_transaction_id,
                                                                effective_at => r.booked_on)
            when 'withdrawal' then txn_processing.withdraw(id, r.amount, 'CZK', r.category, r.bank_transaction_id,
                                                           effective_at => r.booked_on)
            when 'payment' then txn_processing.pay(id, r.amount, 'CZK', r.category, r.bank_transaction_id,
                                                   effective_at => r.booked_on)
            when 'fee' then txn_processing.charge_fee(id, r.amount, 'CZK', r.category, r.bank_transaction_id,
                                                      effective_at => r.booked_on)
        end;
        if posted is null then
            raise exception 'row % has the unknown transaction type "%"', r.seq, r.transaction_type;
        end if;
        update demo.rows
           set transaction_id = posted,
               balance_here = (select current_balance from banking.accounts where account_id = id)
         where seq = r.seq;
        done := done + 1;
    end loop;
    return done;
end
$$;

create function demo.replay_result() returns text
language sql as $$
    select case when count(balance) = 0 then
                    format('the file gives no balances; %s rows posted', count(*))
                else
                    format('the balance equalled the bank''s own after %s of %s rows',
                           count(*) filter (where balance = balance_here), count(balance))
           end
      from demo.rows
$$;
