-- What stays of sagas that were deleted: their keys, so that a late retry finds the saga that it started, and a record
-- of each call.
CREATE TABLE saga.pruned_keys (
    saga_type varchar(100) NOT NULL,
    idempotency_key varchar(200) NOT NULL,
    saga_id uuid NOT NULL,
    started_by text NOT NULL,
    context_hash bytea NOT NULL,
    status saga.saga_status NOT NULL,
    error_code text,
    started_at timestamptz NOT NULL,
    completed_at timestamptz NOT NULL,
    pruned_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (saga_type, idempotency_key)
);
CREATE INDEX pruned_keys_completed_idx ON saga.pruned_keys (completed_at);
REVOKE ALL ON saga.pruned_keys FROM PUBLIC;
COMMENT ON TABLE saga.pruned_keys IS
    'The idempotency keys of sagas that saga.prune has deleted: saga.start with one of them answers the same saga still, until saga.forget_keys.';
COMMENT ON COLUMN saga.pruned_keys.context_hash IS
    'sha256 of the saga''s context as text, in UTF-8: another context is a conflict (NB204) as before.';
COMMENT ON COLUMN saga.pruned_keys.status IS 'How it ended: completed or failed.';
COMMENT ON COLUMN saga.pruned_keys.error_code IS 'The SQLSTATE of the reason why it was undone; null: it was not.';
COMMENT ON COLUMN saga.pruned_keys.completed_at IS 'When it ended, completed or failed.';

CREATE TABLE saga.prunings (
    pruning_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    pruned_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    pruned_by text NOT NULL,
    before timestamptz NOT NULL,
    saga_type varchar(100),
    sagas bigint NOT NULL,
    transitions bigint NOT NULL,
    keys bigint NOT NULL,
    last_completed_at timestamptz
);
REVOKE ALL ON saga.prunings FROM PUBLIC;
COMMENT ON TABLE saga.prunings IS
    'A row for each call of saga.prune and saga.forget_keys that has deleted something: who, when and what. Append-only (NB009).';
COMMENT ON COLUMN saga.prunings.before IS 'As it was given: what ended before could go.';
COMMENT ON COLUMN saga.prunings.saga_type IS 'As it was given; null: of all types.';
COMMENT ON COLUMN saga.prunings.sagas IS 'How many were deleted, children too.';
COMMENT ON COLUMN saga.prunings.transitions IS 'Rows of their log.';
COMMENT ON COLUMN saga.prunings.keys IS 'Rows of saga.pruned_keys that saga.forget_keys has deleted.';
COMMENT ON COLUMN saga.prunings.last_completed_at IS 'When the last of what was deleted had ended.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON saga.prunings
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON saga.prunings IS 'Keeps what was deleted on record (NB009).';
ALTER TABLE saga.prunings ENABLE ALWAYS TRIGGER guard_ledger;

REVOKE ALL ON FUNCTION saga.prune FROM PUBLIC;
REVOKE ALL ON FUNCTION saga.forget_keys FROM PUBLIC;
COMMENT ON FUNCTION saga.prune IS
    'Deletes sagas that ended, completed or failed, before an instant: with their steps, compensations, signals and log, and with their children, all of which must have ended before it too. What has not ended stays, and so does what another session has. A saga with an idempotency key leaves a row in saga.pruned_keys, each call one in saga.prunings. before: not yet to come; max_sagas: how many at the most, 1 to 10,000; one with more children than that goes alone; saga_type: of the saga itself, not of its children, null: all. Returns how many sagas were deleted, and whether nothing is left that it could have taken. NB021: a bound; 22004: null.';
COMMENT ON FUNCTION saga.forget_keys IS
    'Deletes keys of sagas that are pruned and ended before an instant: saga.start with such a key starts another saga. before: not yet to come; max_keys: 1 to 100,000. Returns how many were deleted, and whether none is left. NB021: a bound; 22004: null.';

-- As event_store.run_retention.
CREATE PROCEDURE saga.run_prune(before timestamptz, max_sagas integer DEFAULT 1000, saga_type text DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    is_over boolean;
BEGIN
    LOOP
        SET LOCAL search_path = pg_catalog, pg_temp;
        SELECT p.done OR p.sagas = 0 INTO is_over
        FROM saga.prune(run_prune.before, run_prune.max_sagas, run_prune.saga_type) p;
        COMMIT;
        EXIT WHEN is_over;
    END LOOP;
END
$$;
REVOKE ALL ON PROCEDURE saga.run_prune(timestamptz, integer, text) FROM PUBLIC;
COMMENT ON PROCEDURE saga.run_prune(timestamptz, integer, text) IS
    'Calls saga.prune until nothing is left that it could delete or other sessions hold the rest, and commits after each call; saga.prunings shows how far it is. before, max_sagas, saga_type and errors: as saga.prune; 2D000 inside a transaction block.';

SELECT pg_catalog.pg_extension_config_dump('saga.pruned_keys', '');
SELECT pg_catalog.pg_extension_config_dump('saga.prunings', '');
