-- A dump leaves out rows that CREATE EXTENSION made, and a restore makes them anew: none but those may be marked as such,
-- and they stay as they were made. What banking.keep_in_use does for the others is not repeated here.
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
REVOKE ALL ON FUNCTION neobank.guard_shipped() FROM PUBLIC;
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
