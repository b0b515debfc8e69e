-- In the library because SQL cannot ask whether the statement says CASCADE.
CREATE FUNCTION neobank.guard_drop() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'neobank_guard_drop';
REVOKE ALL ON FUNCTION neobank.guard_drop() FROM PUBLIC;
COMMENT ON FUNCTION neobank.guard_drop() IS
    'Event trigger: refuses with NB052 to drop the extension while the ledger has postings or balances, unless the statement is DROP EXTENSION neobank CASCADE.';

CREATE EVENT TRIGGER neobank_guard_drop ON ddl_command_start
    WHEN TAG IN ('DROP EXTENSION', 'DROP OWNED', 'DROP SCHEMA')
    EXECUTE FUNCTION neobank.guard_drop();
COMMENT ON EVENT TRIGGER neobank_guard_drop IS 'Keeps a ledger that holds money from being dropped (NB052).';
-- A session that replicates is no way past it either.
ALTER EVENT TRIGGER neobank_guard_drop ENABLE ALWAYS;
