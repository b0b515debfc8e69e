CREATE TABLE neobank.access_rights (
    access_level text NOT NULL CHECK (access_level IN ('reader', 'teller', 'operator')),
    privileges text NOT NULL,
    object_kind text NOT NULL CHECK (object_kind IN ('SCHEMA', 'TABLE', 'SEQUENCE', 'FUNCTION', 'TYPE')),
    object_name text NOT NULL,
    PRIMARY KEY (access_level, object_kind, object_name, privileges)
);
REVOKE ALL ON neobank.access_rights FROM PUBLIC;
COMMENT ON TABLE neobank.access_rights IS
    'What neobank.grant_usage hands out. A teller has all of a reader''s rights, an operator all of a teller''s.';

INSERT INTO neobank.access_rights (access_level, privileges, object_kind, object_name) VALUES
    ('reader', 'USAGE', 'SCHEMA', 'neobank'),
    ('reader', 'USAGE', 'SCHEMA', 'banking'),
    ('reader', 'USAGE', 'SCHEMA', 'txn_processing'),
    ('reader', 'USAGE', 'TYPE', 'banking.account_status'),
    ('reader', 'USAGE', 'TYPE', 'txn_processing.txn_type'),
    ('reader', 'USAGE', 'TYPE', 'txn_processing.txn_status'),
    ('reader', 'SELECT', 'TABLE', 'banking.tenants'),
    ('reader', 'SELECT', 'TABLE', 'banking.currencies'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_types'),
    ('reader', 'SELECT', 'TABLE', 'banking.customers'),
    ('reader', 'SELECT', 'TABLE', 'banking.accounts'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_status_changes'),
    ('reader', 'SELECT', 'TABLE', 'banking.transactions'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.movements'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.backdated_entries'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.ledger'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.transaction_queue'),
    ('reader', 'EXECUTE', 'FUNCTION', 'neobank.uuid_v7'),
    ('reader', 'EXECUTE', 'FUNCTION', 'banking.account_number_is_valid'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.generated_reference'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.statement'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.balance_as_of'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.transaction'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.trial_balance'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.daily_reconciliation'),
    ('teller', 'INSERT, UPDATE', 'TABLE', 'banking.customers'),
    ('teller', 'USAGE', 'SEQUENCE', 'banking.customer_number_seq'),
    ('teller', 'INSERT (request_id, transaction_type, source_account_id, destination_account_id, amount, currency_code, priority, idempotency_key, request_data, max_retries, expires_at)', 'TABLE', 'txn_processing.transaction_queue'),
    ('teller', 'EXECUTE', 'FUNCTION', 'banking.create_customer'),
    ('teller', 'EXECUTE', 'FUNCTION', 'banking.open_account'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.transfer'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.deposit'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.withdraw'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.pay'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.refund'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_transfer'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_deposit'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_withdrawal'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_payment'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.process_transaction'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.charge_fee'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.credit_interest'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.adjust'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.reverse'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.reverse_transaction'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_account_status'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_overdraft_limit'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.close_account'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.update_account_optimistic'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.create_tenant'),
    ('operator', 'SELECT', 'TABLE', 'neobank.guard_log');

CREATE FUNCTION neobank.grant_usage(role name, level text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    levels CONSTANT text[] := ARRAY['reader', 'teller', 'operator'];
    rank CONSTANT integer := array_position(levels, level);
    entry neobank.access_rights;
BEGIN
    IF role IS NULL OR level IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN role IS NULL THEN 'role' ELSE 'level' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF rank IS NULL THEN
        RAISE EXCEPTION 'argument "level" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = format('There is no level %L.', level),
                  HINT = 'Levels are reader, teller and operator.';
    END IF;
    IF role = 'public' THEN
        RAISE EXCEPTION 'argument "role" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = 'PUBLIC is everybody, and gets nothing.', HINT = 'Name a role.';
    END IF;
    FOR entry IN
        SELECT r.* FROM neobank.access_rights r WHERE array_position(levels, r.access_level) <= rank
    LOOP
        -- Both parts of the name are constants of the install; the role is the only value, and it is quoted.
        EXECUTE format('GRANT %s ON %s %s TO %I', entry.privileges, entry.object_kind, entry.object_name, role);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION neobank.grant_usage(name, text) FROM PUBLIC;
COMMENT ON FUNCTION neobank.grant_usage(name, text) IS
    'role: who gets rights. level: reader (sees everything), teller (also customers, accounts, deposits, transfers, payments, refunds), operator (also fees, interest, adjustments, reversals, statuses, limits, closing, tenants). Adds to what the role has; neobank.revoke_usage takes all. NB021: no such level, or role public.';

CREATE FUNCTION neobank.revoke_usage(role name) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    entry neobank.access_rights;
BEGIN
    IF role IS NULL THEN
        RAISE EXCEPTION 'argument "role" must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF role = 'public' THEN
        RAISE EXCEPTION 'argument "role" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = 'PUBLIC has nothing that could be revoked.', HINT = 'Name a role.';
    END IF;
    FOR entry IN SELECT r.* FROM neobank.access_rights r LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %I', entry.object_kind, entry.object_name, role);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION neobank.revoke_usage(name) FROM PUBLIC;
COMMENT ON FUNCTION neobank.revoke_usage(name) IS
    'role: who loses every right that neobank.grant_usage gave.';
