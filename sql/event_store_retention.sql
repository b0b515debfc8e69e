CREATE TABLE event_store.retention_rules (
    aggregate_type varchar(100) PRIMARY KEY,
    keep interval NOT NULL,
    keep_state boolean NOT NULL,
    set_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    set_by text NOT NULL
);
REVOKE ALL ON event_store.retention_rules FROM PUBLIC;
COMMENT ON TABLE event_store.retention_rules IS
    'How long the events of a type are kept; those of a type without a rule, for ever. Set by event_store.set_retention.';
COMMENT ON COLUMN event_store.retention_rules.keep_state IS
    'Whether the state that deleted events led to is kept in their tombstone.';

CREATE TABLE event_store.tombstones (
    aggregate_id uuid NOT NULL,
    from_position bigint NOT NULL,
    to_position bigint NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    from_version integer NOT NULL,
    to_version integer NOT NULL,
    events integer NOT NULL,
    aggregate_type varchar(100) NOT NULL,
    keep interval NOT NULL,
    deleted_by text NOT NULL,
    content_hash bytea NOT NULL,
    state jsonb,
    PRIMARY KEY (aggregate_id, to_version)
);
REVOKE ALL ON event_store.tombstones FROM PUBLIC;
COMMENT ON TABLE event_store.tombstones IS
    'What event_store.apply_retention has deleted: which events of which stream, by which rule, when and by whom. Append-only (NB009).';
COMMENT ON COLUMN event_store.tombstones.events IS 'How many: from_version to to_version without gap.';
COMMENT ON COLUMN event_store.tombstones.first_at IS 'When the first of them was recorded; last_at: the last.';
COMMENT ON COLUMN event_store.tombstones.keep IS 'The rule''s, as it was then.';
COMMENT ON COLUMN event_store.tombstones.content_hash IS
    'What event_store.events_hash answers for the deleted rows: an archive of them can be held against it.';
COMMENT ON COLUMN event_store.tombstones.state IS
    'The state of the aggregate at to_version, where the rule keeps it.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON event_store.tombstones
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON event_store.tombstones IS 'Keeps what was deleted on record (NB009).';
CREATE TRIGGER guard_loaded
    AFTER INSERT ON event_store.tombstones
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_loaded ON event_store.tombstones IS
    'Lets positions go on from those of a restore, of which the last may be deleted.';
ALTER TABLE event_store.tombstones ENABLE ALWAYS TRIGGER guard_ledger;
ALTER TABLE event_store.tombstones ENABLE ALWAYS TRIGGER guard_loaded;

CREATE FUNCTION event_store.chain_event(before bytea, event event_store.events) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT pg_catalog.sha256(before || pg_catalog.convert_to(
        pg_catalog.jsonb_build_array(
            event.event_id, event.aggregate_id, event.global_position,
            (EXTRACT(epoch FROM event.created_at) * 1000000)::bigint,
            event.event_version, event.aggregate_type, event.event_type, event.created_by, event.event_data,
            event.metadata, event.tags)::text,
        'UTF8'));
END;
REVOKE ALL ON FUNCTION event_store.chain_event(bytea, event_store.events) FROM PUBLIC;
COMMENT ON FUNCTION event_store.chain_event(bytea, event_store.events) IS
    'One step of event_store.events_hash. before: the hash of the events before, empty at first; event: the next one. sha256 of both, the event as the text of the jsonb array of event_id, aggregate_id, global_position, created_at in microseconds since 1970, event_version, aggregate_type, event_type, created_by, event_data, metadata and tags.';

CREATE AGGREGATE event_store.events_hash(event event_store.events) (
    SFUNC = event_store.chain_event,
    STYPE = bytea,
    INITCOND = '\x',
    PARALLEL = SAFE
);
REVOKE ALL ON FUNCTION event_store.events_hash(event_store.events) FROM PUBLIC;
COMMENT ON AGGREGATE event_store.events_hash(event_store.events) IS
    'The hash of events one after the other, ordered by event_version. Of an archive with the same columns: SELECT event_store.events_hash(ROW(a.*)::event_store.events ORDER BY a.event_version) FROM archive a.';

-- Whoever reads events and has to see each of them says here how far it is.
CREATE FUNCTION event_store.lowest_needed_position() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(pg_catalog.min(n.position), 9223372036854775807)
    FROM (
        SELECT p.position + 1 FROM event_store.subscription_partitions p
        UNION ALL
        SELECT o.position FROM event_store.subscription_leases l, pg_catalog.unnest(l.open_positions) o(position)
        WHERE NOT l.done
        UNION ALL
        SELECT e.global_position
        FROM event_store.subscription_streams h
        JOIN event_store.events e ON e.aggregate_id = h.aggregate_id AND e.event_version = h.next_version
        UNION ALL
        SELECT k.global_position FROM event_store.subscription_parked k
        UNION ALL
        SELECT j.position + 1 FROM cqrs.projections j WHERE j.mode = 'async'
        UNION ALL
        SELECT j.twin_position + 1 FROM cqrs.projections j
    ) n(position);
END;
REVOKE ALL ON FUNCTION event_store.lowest_needed_position() FROM PUBLIC;
COMMENT ON FUNCTION event_store.lowest_needed_position() IS
    'The position below which everybody who reads through the event store has seen all events; the highest there is where nobody is behind. Retention deletes nothing from there on.';

-- As event_store.run_ledger_publication.
CREATE PROCEDURE event_store.run_retention(max_events integer DEFAULT 10000)
LANGUAGE plpgsql
AS $$
DECLARE
    is_over boolean;
BEGIN
    LOOP
        SET LOCAL search_path = pg_catalog, pg_temp;
        SELECT a.done OR a.events = 0 INTO is_over
        FROM event_store.apply_retention(run_retention.max_events) a;
        COMMIT;
        EXIT WHEN is_over;
    END LOOP;
END
$$;
REVOKE ALL ON PROCEDURE event_store.run_retention(integer) FROM PUBLIC;
COMMENT ON PROCEDURE event_store.run_retention(integer) IS
    'Calls event_store.apply_retention, max_events (1 to 100,000) at a time, until nothing is left that it could delete or other sessions hold the rest, and commits after each call. Errors: as apply_retention; 2D000 inside a transaction block.';

SELECT pg_catalog.pg_extension_config_dump('event_store.retention_rules', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.tombstones', '');
