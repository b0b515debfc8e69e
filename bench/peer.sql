-- The peer: a ledger in PL/pgSQL that does the work of one transfer the way such ledgers are usually written: lock
-- both accounts, check, update both, insert a debit and a credit row, keep four indexes. Its locks are taken in one
-- order, so that the comparison measures work and not deadlocks.
create schema peer;

create table peer.accounts (
    account_id        uuid          primary key,
    account_number    varchar(50)   not null unique,
    account_status    varchar(20)   not null default 'active',
    currency_code     char(3)       not null default 'USD',
    current_balance   numeric(18,2) not null,
    available_balance numeric(18,2) not null,
    created_at        timestamptz   not null default now(),
    updated_at        timestamptz   not null default now()
);

create table peer.ledger (
    ledger_id        uuid          primary key default gen_random_uuid(),
    transaction_id   uuid          not null,
    account_id       uuid          not null references peer.accounts (account_id),
    entry_type       varchar(10)   not null check (entry_type in ('debit', 'credit')),
    amount           numeric(18,2) not null check (amount > 0),
    currency_code    char(3)       not null default 'USD',
    running_balance  numeric(18,2) not null,
    transaction_type text          not null,
    status           text          not null default 'pending',
    reference_number varchar(50)   not null,
    description      text,
    metadata         jsonb         default '{}',
    created_at       timestamptz   default now(),
    processed_at     timestamptz,
    reversed_at      timestamptz,
    reversed_by      uuid
);
create index ledger_account on peer.ledger (account_id, created_at desc);
create index ledger_transaction on peer.ledger (transaction_id);
create index ledger_reference on peer.ledger (reference_number);
create index ledger_status on peer.ledger (status) where status <> 'completed';

create function peer.transfer(p_from uuid, p_to uuid, p_amount numeric, p_currency char(3) default 'USD',
                              p_metadata jsonb default '{}') returns jsonb
language plpgsql as $$
declare
    source       record;
    destination  record;
    id           uuid := gen_random_uuid();
    reference    varchar(50) := 'TXN-' || to_char(now(), 'YYYYMMDD') || '-' || upper(left(id::text, 8));
    from_balance numeric(18,2);
    to_balance   numeric(18,2);
begin
    if p_from < p_to then
        select * into source from peer.accounts where account_id = p_from for update;
        select * into destination from peer.accounts where account_id = p_to for update;
    else
        select * into destination from peer.accounts where account_id = p_to for update;
        select * into source from peer.accounts where account_id = p_from for update;
    end if;

    if source.account_id is null or destination.account_id is null then
        return jsonb_build_object('error', 'Account not found');
    end if;
    if source.account_status <> 'active' then
        return jsonb_build_object('error', 'Source account not active');
    end if;
    if destination.account_status not in ('active', 'dormant') then
        return jsonb_build_object('error', 'Destination account not available');
    end if;
    if source.available_balance < p_amount then
        return jsonb_build_object('error', 'Insufficient funds', 'available', source.available_balance,
                                  'requested', p_amount);
    end if;

    update peer.accounts
       set current_balance = current_balance - p_amount, available_balance = available_balance - p_amount,
           updated_at = now()
     where account_id = p_from
    returning current_balance into from_balance;
    insert into peer.ledger (transaction_id, account_id, entry_type, amount, currency_code, running_balance,
                             transaction_type, status, reference_number, description, metadata, processed_at)
    values (id, p_from, 'debit', p_amount, p_currency, from_balance, 'transfer', 'completed', reference,
            'Transfer to ' || destination.account_number, p_metadata || jsonb_build_object('to_account', p_to), now());

    update peer.accounts
       set current_balance = current_balance + p_amount, available_balance = available_balance + p_amount,
           updated_at = now()
     where account_id = p_to
    returning current_balance into to_balance;
    insert into peer.ledger (transaction_id, account_id, entry_type, amount, currency_code, running_balance,
                             transaction_type, status, reference_number, description, metadata, processed_at)
    values (id, p_to, 'credit', p_amount, p_currency, to_balance, 'transfer', 'completed', reference,
            'Transfer from ' || source.account_number, p_metadata || jsonb_build_object('from_account', p_from), now());

    return jsonb_build_object('success', true, 'transaction_id', id, 'reference', reference,
                              'from_balance', from_balance, 'to_balance', to_balance);
end
$$;
