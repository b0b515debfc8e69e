-- Customers and accounts for the demo, and a function that posts to them.
create schema demo;

create table demo.accounts (
    currency   char(3) not null,
    no         int     not null,
    account_id uuid    not null,
    primary key (currency, no)
);

-- Opens a checking and a savings account for each of that many customers.
create function demo.open_accounts(p_currency char(3), p_customers int, p_opening_deposit numeric) returns void
language sql as $$
    with customers as materialized (
        select n, banking.create_customer('Customer', n::text, format('customer-%s-%s@example.org', p_currency, n),
                                          '+1-555-0100', date '1960-01-01' + n) as customer_id
          from generate_series(1, p_customers) n)
    insert into demo.accounts
    select p_currency, row_number() over (),
           banking.open_account(customer_id, account_type, p_currency, p_opening_deposit)
      from customers, unnest(array['checking', 'savings']) account_type
$$;

-- Puts that many postings through, of every type in every twenty or forty. Returns their number.
create function demo.post(p_currency char(3), p_postings int) returns int
language plpgsql as $$
declare
    accounts uuid[] := (select array_agg(account_id order by no) from demo.accounts where currency = p_currency);
    decimals int := (select exponent from banking.currencies where currency_code = p_currency);
    -- Amounts are small against the opening deposits, so that no account runs dry.
    unit     numeric := case when p_currency = 'JPY' then 100 else 1 end;
    account  uuid;
    other    uuid;
    amount   numeric;
    transfer uuid;
    payment  uuid;
    paid     numeric;
    k        int;
begin
    for n in 1 .. p_postings loop
        k := 1 + floor(random() * cardinality(accounts));
        account := accounts[k];
        other := accounts[1 + k % cardinality(accounts)];
        amount := round((1 + 99 * random())::numeric * unit, decimals);
        case n % 20
            when 1, 2, 3, 4, 5, 6, 7, 8 then
                transfer := txn_processing.transfer(account, other, amount, description => 'Rent share');
            when 9, 10, 11 then
                perform txn_processing.deposit(account, amount, description => 'Cash paid in');
            when 12, 13 then
                perform txn_processing.withdraw(account, amount, description => 'Cash machine');
            when 14, 15, 16 then
                payment := txn_processing.pay(account, amount, description => 'Card payment');
                paid := amount;
            when 17 then
                perform txn_processing.charge_fee(account, 2 * unit, description => 'Account fee');
            when 18 then
                perform txn_processing.credit_interest(account, round(amount / 10, decimals), description => 'Interest');
            when 19 then
                perform txn_processing.refund(payment, round(paid / 2, decimals), description => 'Goods returned');
            else
                if n % 40 = 0 then
                    perform txn_processing.reverse(transfer, 'sent to the wrong account');
                else
                    perform txn_processing.adjust(account, case when n % 80 = 20 then amount else -amount end,
                                                  'counting difference');
                end if;
        end case;
    end loop;
    return p_postings;
end
$$;

select demo.open_accounts('USD', 250, 10000), demo.open_accounts('EUR', 250, 10000),
       demo.open_accounts('GBP', 250, 10000), demo.open_accounts('JPY', 250, 1000000);
