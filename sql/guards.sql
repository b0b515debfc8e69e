-- Statement triggers: a posting pays for one test of a backend-local flag, a direct write for an error.
CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON txn_processing.movements
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON txn_processing.movements IS 'Keeps the ledger append-only (NB009).';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON txn_processing.backdated_entries
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON txn_processing.backdated_entries IS 'Keeps the ledger append-only (NB009).';

CREATE TRIGGER guard_loaded
    AFTER INSERT ON txn_processing.backdated_entries
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_loaded ON txn_processing.backdated_entries IS
    'Lets a restore load what the postings bear out, and nothing else (NB009).';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON banking.account_status_changes
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON banking.account_status_changes IS 'Keeps the log of changes append-only (NB009).';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON neobank.guard_log
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON neobank.guard_log IS 'Keeps the log of the guard append-only (NB009).';

CREATE TRIGGER guard_accounts
    BEFORE INSERT OR DELETE OR TRUNCATE OR UPDATE OF
        account_id, customer_id, version, created_at, updated_at, closed_at, tenant_no, slots, normal_side, limited, account_status,
        currency_code, current_balance, available_balance, overdraft_limit, account_type, account_number
    ON banking.accounts
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_accounts();
COMMENT ON TRIGGER guard_accounts ON banking.accounts IS 'Keeps balances and statuses to the ledger (NB010).';

CREATE TRIGGER guard_accounts
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON banking.account_slots
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_accounts();
COMMENT ON TRIGGER guard_accounts ON banking.account_slots IS 'Keeps balances to the ledger (NB010).';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON banking.balance_mode_changes
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON banking.balance_mode_changes IS 'Keeps the log of changes append-only (NB009).';

CREATE TRIGGER guard_loaded
    AFTER INSERT ON banking.balance_mode_changes
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_loaded ON banking.balance_mode_changes IS
    'Lets a restore load what the postings bear out, and nothing else (NB009).';

-- A session that replicates is no way past the guards either.
ALTER TABLE txn_processing.movements ENABLE ALWAYS TRIGGER guard_ledger;
ALTER TABLE txn_processing.backdated_entries ENABLE ALWAYS TRIGGER guard_ledger;
ALTER TABLE txn_processing.backdated_entries ENABLE ALWAYS TRIGGER guard_loaded;
ALTER TABLE banking.account_status_changes ENABLE ALWAYS TRIGGER guard_ledger;
ALTER TABLE neobank.guard_log ENABLE ALWAYS TRIGGER guard_ledger;
ALTER TABLE banking.accounts ENABLE ALWAYS TRIGGER guard_accounts;
ALTER TABLE banking.account_slots ENABLE ALWAYS TRIGGER guard_accounts;
ALTER TABLE banking.balance_mode_changes ENABLE ALWAYS TRIGGER guard_ledger;
ALTER TABLE banking.balance_mode_changes ENABLE ALWAYS TRIGGER guard_loaded;
