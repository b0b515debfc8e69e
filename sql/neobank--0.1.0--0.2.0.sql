-- Made by scripts/upgrade-script out of two install scripts and sql/upgrade/0.1.0--0.2.0.sql: not to be edited.
\echo Use "ALTER EXTENSION neobank UPDATE TO '0.2.0'" to load this file. \quit

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
