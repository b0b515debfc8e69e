-- Made by scripts/upgrade-script out of two install scripts and sql/upgrade/0.1.0--0.2.0.sql: not to be edited.
\echo Use "ALTER EXTENSION neobank UPDATE TO '0.2.0'" to load this file. \quit

CREATE OR REPLACE  FUNCTION neobank."guard_accounts"(

) RETURNS trigger /* Triggered */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'guard_accounts_wrapper';

CREATE OR REPLACE  FUNCTION neobank."guard_ledger"(

) RETURNS trigger /* Triggered */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'guard_ledger_wrapper';

ALTER TABLE banking.customers ALTER COLUMN customer_number
    SET DEFAULT ('C' || pg_catalog.to_char(pg_catalog.nextval('banking.customer_number_seq'), 'FM9999999990000000000'));

UPDATE txn_processing.transaction_queue SET max_retries = CASE WHEN max_retries < 0 THEN 0 ELSE 100 END
WHERE NOT max_retries BETWEEN 0 AND 100;

ALTER TABLE txn_processing.transaction_queue
    ADD CONSTRAINT transaction_queue_max_retries_check CHECK (max_retries BETWEEN 0 AND 100);

ALTER TABLE banking.account_limits REPLICA IDENTITY FULL;

CREATE OR REPLACE FUNCTION txn_processing.daily_reconciliation(p_date date DEFAULT CURRENT_DATE)
RETURNS TABLE (
    account_id uuid,
    account_number varchar(50),
    ledger_balance numeric,
    account_balance numeric,
    difference numeric,
    status text
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    -- Both sides at the same instant: what the ledger adds up to until then, and what the account carries now less
    -- what the ledger added since. Debits and credits are added up where they are read, so that parallel workers share
    -- both the reading and the adding; the day's end is worked out once, not per posting.
    WITH day AS (
        -- No posting is as late as the latest day that a timestamp can have, and the day after that is none.
        SELECT (least(coalesce(p_date, CURRENT_DATE), DATE '9999-12-31') + 1)::timestamptz AS ends
    ), sides AS (
        SELECT
            m.credit_account AS account_id,
            pg_catalog.sum(m.amount) AS total,
            pg_catalog.sum(m.amount) FILTER (WHERE coalesce(m.effective_at, m.created_at) >= (SELECT d.ends FROM day d)) AS since
        FROM txn_processing.movements m
        GROUP BY m.credit_account
        UNION ALL
        SELECT
            m.debit_account,
            -pg_catalog.sum(m.amount),
            -pg_catalog.sum(m.amount) FILTER (WHERE coalesce(m.effective_at, m.created_at) >= (SELECT d.ends FROM day d))
        FROM txn_processing.movements m
        GROUP BY m.debit_account
    ), sums AS (
        SELECT s.account_id, pg_catalog.sum(s.total) AS total, coalesce(pg_catalog.sum(s.since), 0) AS since
        FROM sides s
        GROUP BY s.account_id
    ), slots AS (
        SELECT t.account_id, pg_catalog.sum(t.balance) AS balance FROM banking.account_slots t GROUP BY t.account_id
    ), carried AS (
        SELECT
            a.account_id, a.account_number, a.normal_side,
            CASE WHEN a.slots > 0 THEN t.balance ELSE a.current_balance END AS balance
        FROM banking.accounts a
        LEFT JOIN slots t ON t.account_id = a.account_id
    ), balances AS (
        -- FULL: postings on an account that is not there are a discrepancy too.
        SELECT
            coalesce(a.account_id, s.account_id) AS account_id, a.account_number,
            CASE a.normal_side WHEN 'D' THEN -1 ELSE 1 END * (coalesce(s.total, 0) - coalesce(s.since, 0)) AS ledger_balance,
            coalesce(a.balance, 0) - CASE a.normal_side WHEN 'D' THEN -1 ELSE 1 END * coalesce(s.since, 0) AS account_balance
        FROM carried a
        FULL JOIN sums s ON s.account_id = a.account_id
    )
    SELECT
        b.account_id, b.account_number, b.ledger_balance, b.account_balance, b.ledger_balance - b.account_balance,
        CASE WHEN b.ledger_balance = b.account_balance THEN 'Balanced' ELSE 'Discrepancy' END
    FROM balances b
    ORDER BY pg_catalog.abs(b.ledger_balance - b.account_balance) DESC, b.account_number, b.account_id;
END;

CREATE FUNCTION neobank.guard_shipped() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'row belongs to the extension'
        USING ERRCODE = 'NB023',
              DETAIL = format('%s of a shipped row of %s.%s is refused.', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME),
              HINT = 'A dump leaves such rows out. Add a row of your own, with shipped false.';
END
$$;

COMMENT ON FUNCTION neobank.guard_shipped() IS
    'Trigger: refuses with NB023 to mark a row as made by CREATE EXTENSION, which a dump would lose, and to change one that is.';

CREATE TRIGGER guard_shipped BEFORE INSERT OR UPDATE OF shipped ON banking.currencies
    FOR EACH ROW WHEN (NEW.shipped) EXECUTE FUNCTION neobank.guard_shipped();

COMMENT ON TRIGGER guard_shipped ON banking.currencies IS 'Keeps rows of users from being marked as shipped (NB023).';

CREATE TRIGGER guard_shipped BEFORE INSERT OR UPDATE OF shipped ON banking.account_types
    FOR EACH ROW WHEN (NEW.shipped) EXECUTE FUNCTION neobank.guard_shipped();

COMMENT ON TRIGGER guard_shipped ON banking.account_types IS 'Keeps rows of users from being marked as shipped (NB023).';

CREATE TRIGGER guard_shipped BEFORE INSERT OR UPDATE OF shipped ON txn_processing.dispute_policies
    FOR EACH ROW WHEN (NEW.shipped) EXECUTE FUNCTION neobank.guard_shipped();

COMMENT ON TRIGGER guard_shipped ON txn_processing.dispute_policies IS 'Keeps rows of users from being marked as shipped (NB023).';

CREATE TRIGGER keep_shipped BEFORE UPDATE OR DELETE ON txn_processing.dispute_policies
    FOR EACH ROW WHEN (OLD.shipped) EXECUTE FUNCTION neobank.guard_shipped();

COMMENT ON TRIGGER keep_shipped ON txn_processing.dispute_policies IS 'Keeps rows that CREATE EXTENSION made (NB023).';

CREATE OR REPLACE FUNCTION neobank.grant_usage(role name, level text) RETURNS void
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
            USING ERRCODE = 'NB021', DETAIL = format('There is no level %L.', left(level, 100)),
                  HINT = 'Levels are reader, teller and operator.';
    END IF;
    IF role = 'public' THEN
        RAISE EXCEPTION 'argument "role" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = 'PUBLIC is everybody, and gets nothing.', HINT = 'Name a role.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role
            USING ERRCODE = 'undefined_object', HINT = 'Create it first.';
    END IF;
    FOR entry IN
        SELECT r.* FROM neobank.access_rights r WHERE array_position(levels, r.access_level) <= rank
    LOOP
        -- Both parts of the name are constants of the install; the role is the only value, and it is quoted.
        EXECUTE format('GRANT %s ON %s %s TO %I', entry.privileges, entry.object_kind, entry.object_name, role);
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION neobank.revoke_usage(role name) RETURNS void
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
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role
            USING ERRCODE = 'undefined_object', HINT = 'There is nothing to revoke.';
    END IF;
    FOR entry IN SELECT r.* FROM neobank.access_rights r LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %I', entry.object_kind, entry.object_name, role);
    END LOOP;
END
$$;

CREATE FUNCTION neobank.guard_drop() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'neobank_guard_drop';

COMMENT ON FUNCTION neobank.guard_drop() IS
    'Event trigger: refuses with NB052 to drop the extension while the ledger has postings or balances, unless the statement is DROP EXTENSION neobank CASCADE.';

CREATE EVENT TRIGGER neobank_guard_drop ON ddl_command_start
    WHEN TAG IN ('DROP EXTENSION', 'DROP OWNED', 'DROP SCHEMA')
    EXECUTE FUNCTION neobank.guard_drop();

COMMENT ON EVENT TRIGGER neobank_guard_drop IS 'Keeps a ledger that holds money from being dropped (NB052).';

ALTER EVENT TRIGGER neobank_guard_drop ENABLE ALWAYS;

SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
DECLARE
    revoke text;
BEGIN
    FOR revoke IN
        SELECT format('REVOKE ALL ON %s FROM PUBLIC', o.object)
        FROM pg_depend d
        CROSS JOIN LATERAL (
            SELECT 'ROUTINE ' || p.oid::regprocedure AS object FROM pg_proc p
            WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid AND p.proacl IS NULL
            UNION ALL
            SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass
            FROM pg_class c
            WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relacl IS NULL
              AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
            UNION ALL
            SELECT 'TYPE ' || t.oid::regtype FROM pg_type t
            WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid AND t.typacl IS NULL
              AND t.typelem = 0 AND t.typrelid = 0
        ) o
        WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
          AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'neobank')
    LOOP
        EXECUTE revoke;
    END LOOP;
END
$$;
