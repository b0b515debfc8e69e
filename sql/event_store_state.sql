CREATE TABLE event_store.reducers (
    aggregate_type varchar(100),
    event_type varchar(100),
    operations jsonb,
    handler text,
    defined_by text NOT NULL,
    defined_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    UNIQUE NULLS NOT DISTINCT (aggregate_type, event_type),
    CHECK ((operations IS NULL) <> (handler IS NULL))
);
-- Its rows change, and its key has nulls: without this a publication of the table would refuse that.
ALTER TABLE event_store.reducers REPLICA IDENTITY FULL;
REVOKE ALL ON event_store.reducers FROM PUBLIC;
COMMENT ON TABLE event_store.reducers IS
    'What events do to the state of their aggregate. Written by event_store.define_reducer and drop_reducer (NB009).';
COMMENT ON COLUMN event_store.reducers.aggregate_type IS 'Null: any.';
COMMENT ON COLUMN event_store.reducers.event_type IS 'Null: any that has no reducer of its own.';
COMMENT ON COLUMN event_store.reducers.handler IS
    'The function (state jsonb, event event_store.events) returning jsonb, by its name: looked up when it is called.';

-- Not dumped: a restored database takes its snapshots anew as events are appended.
CREATE TABLE event_store.snapshots (
    aggregate_id uuid NOT NULL,
    generation uuid NOT NULL,
    version integer NOT NULL,
    bytes integer NOT NULL,
    kept boolean NOT NULL,
    state jsonb NOT NULL,
    PRIMARY KEY (aggregate_id, version)
);
REVOKE ALL ON event_store.snapshots FROM PUBLIC;
COMMENT ON TABLE event_store.snapshots IS
    'States of long streams at some of their versions, from which event_store.get_aggregate_state goes on. Written by the appending functions only (NB009), in the transaction of the events. All of it may be missing: states are only slower then.';
COMMENT ON COLUMN event_store.snapshots.generation IS
    'Of the reducers that made it; readers with others pass it by.';
COMMENT ON COLUMN event_store.snapshots.bytes IS 'The size of the state: a large one is written less often.';
COMMENT ON COLUMN event_store.snapshots.kept IS 'Stays when newer ones come, for the states at old versions.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON event_store.reducers
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON event_store.reducers IS 'Keeps the reducers to those that were checked (NB009).';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON event_store.snapshots
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON event_store.snapshots IS 'Keeps states to what events make of them (NB009).';

ALTER TABLE event_store.reducers ENABLE ALWAYS TRIGGER guard_ledger;
ALTER TABLE event_store.snapshots ENABLE ALWAYS TRIGGER guard_ledger;

SELECT pg_catalog.pg_extension_config_dump('event_store.reducers', '');
