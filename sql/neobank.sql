CREATE TABLE neobank.guard_log (
    logged_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    session_role text NOT NULL,
    acting_role text NOT NULL,
    action text NOT NULL,
    relation text NOT NULL,
    query text
);
REVOKE ALL ON neobank.guard_log FROM PUBLIC;
COMMENT ON TABLE neobank.guard_log IS
    'One row per statement that wrote past the ledger while a superuser had neobank.ledger_guard off; commits and rolls back with that statement.';
SELECT pg_catalog.pg_extension_config_dump('neobank.guard_log', '');
