\echo Use "CREATE EXTENSION neobank" to load this file. \quit

DO $$
BEGIN
    IF pg_catalog.current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'neobank needs a database in UTF8'
            USING ERRCODE = 'feature_not_supported',
                  DETAIL = pg_catalog.format('This one is in %s.', pg_catalog.current_setting('server_encoding')),
                  HINT = 'Create the database with ENCODING ''UTF8''.';
    END IF;
END
$$;

-- No IF NOT EXISTS: a schema that somebody put there beforehand must stop the installation.
CREATE SCHEMA neobank;
CREATE SCHEMA banking;
CREATE SCHEMA txn_processing;
CREATE SCHEMA event_store;
CREATE SCHEMA cqrs;
CREATE SCHEMA saga;
CREATE SCHEMA temporal;
CREATE SCHEMA troubleshoot;
CREATE SCHEMA pooling;
CREATE SCHEMA concurrency;

COMMENT ON SCHEMA neobank IS 'The extension itself: rights, ids, the log of the ledger guard.';
COMMENT ON SCHEMA banking IS 'Tenants, currencies, customers and accounts.';
COMMENT ON SCHEMA txn_processing IS 'The double-entry ledger: postings, their queue, and what can be read from them.';
COMMENT ON SCHEMA event_store IS 'Events of aggregates: appended, read in order, folded into state.';
COMMENT ON SCHEMA cqrs IS 'Commands and what carries them out, read models, and projections of events.';
COMMENT ON SCHEMA saga IS 'Sagas: long transactions of steps that all finish, or are undone in reverse order.';
COMMENT ON SCHEMA temporal IS 'What was true, and what was believed: history on two axes, of accounts and of any table.';
COMMENT ON SCHEMA troubleshoot IS 'Finding out what is wrong with a server, and putting it right.';
COMMENT ON SCHEMA pooling IS 'Connections and their pools: measured, judged, sized.';
COMMENT ON SCHEMA concurrency IS 'Locks, versions and isolation: shown, and named locks for applications.';
