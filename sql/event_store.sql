-- Fixed-width columns first; half of each page stays free, so that the update of an append finds room beside the old
-- row (a HOT update).
CREATE TABLE event_store.streams (
    aggregate_id uuid PRIMARY KEY,
    last_position bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    last_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    version integer NOT NULL,
    aggregate_type varchar(100) NOT NULL
) WITH (fillfactor = 50);
REVOKE ALL ON event_store.streams FROM PUBLIC;
COMMENT ON TABLE event_store.streams IS
    'One row per aggregate: whoever appends locks it, so the versions of a stream have no gap and no double. Written by the appending functions only (NB009).';
COMMENT ON COLUMN event_store.streams.version IS 'The version of its last event, which is the number of its events.';
COMMENT ON COLUMN event_store.streams.last_at IS
    'The time of its last event: none of a later version is earlier, even if the server''s clock is set back.';
COMMENT ON COLUMN event_store.streams.last_position IS 'The global position of its last event.';

CREATE TABLE event_store.events (
    event_id uuid PRIMARY KEY,
    aggregate_id uuid NOT NULL,
    global_position bigint NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    event_version integer NOT NULL,
    aggregate_type varchar(100) NOT NULL,
    event_type varchar(100) NOT NULL,
    created_by text NOT NULL,
    event_data jsonb NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    tags text[],
    UNIQUE (aggregate_id, event_version)
);
CREATE INDEX events_category_idx ON event_store.events (aggregate_type, global_position);
-- Events without tags have no entry. No pending list: it would be searched from end to end by each append with a condition.
CREATE INDEX events_tags_idx ON event_store.events USING gin (tags) WITH (fastupdate = off) WHERE tags IS NOT NULL;
REVOKE ALL ON event_store.events FROM PUBLIC;
COMMENT ON TABLE event_store.events IS 'What has happened, append-only (NB009). Written by event_store.append_event and append_events.';
COMMENT ON COLUMN event_store.events.event_version IS 'From 1, without gap, within its aggregate.';
COMMENT ON COLUMN event_store.events.global_position IS
    'The order of all events: ascends within every stream. Its upper bits are the number of the writing transaction, so positions below event_store.safe_position() are final: nothing will appear between them any more.';
COMMENT ON COLUMN event_store.events.metadata IS 'About the event, such as correlation_id and causation_id.';
COMMENT ON COLUMN event_store.events.tags IS 'What the event is about beside its aggregate; null: nothing.';

-- Transactions count from a lower number where a database is restored in another cluster; positions go on from where
-- they were.
CREATE TABLE event_store.position_base (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    added bigint NOT NULL CHECK (added >= 0)
);
INSERT INTO event_store.position_base (added) VALUES (0);
REVOKE ALL ON event_store.position_base FROM PUBLIC;
COMMENT ON TABLE event_store.position_base IS
    'What is added to a transaction''s number to make it the upper bits of its events'' positions. Above zero after a restore into a cluster that has counted fewer transactions.';

CREATE FUNCTION event_store.safe_position() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT (b.added + pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint) << 20
    FROM event_store.position_base b;
END;
REVOKE ALL ON FUNCTION event_store.safe_position() FROM PUBLIC;
COMMENT ON FUNCTION event_store.safe_position() IS
    'The position below which the order of all events is final. Held back by the oldest transaction that has written anything, in any database of the cluster.';

CREATE FUNCTION event_store.read_stream(aggregate_id uuid, from_version integer DEFAULT 1, max_events integer DEFAULT 1000)
RETURNS SETOF event_store.events
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000
BEGIN ATOMIC
    SELECT e.*
    FROM event_store.events e
    WHERE e.aggregate_id = read_stream.aggregate_id AND e.event_version >= coalesce(from_version, 1)
    ORDER BY e.event_version
    LIMIT event_store.page_size(max_events);
END;
REVOKE ALL ON FUNCTION event_store.read_stream(uuid, integer, integer) FROM PUBLIC;
COMMENT ON FUNCTION event_store.read_stream(uuid, integer, integer) IS
    'The events of an aggregate in their order. aggregate_id; from_version: the first version wanted; max_events: 1 to 100,000. An unknown aggregate has none. NB021: max_events.';

CREATE FUNCTION event_store.read_category(
    aggregate_type text,
    after_position bigint DEFAULT 0,
    max_events integer DEFAULT 1000
)
RETURNS SETOF event_store.events
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000
BEGIN ATOMIC
    SELECT e.*
    FROM event_store.events e
    WHERE e.aggregate_type = read_category.aggregate_type
      AND e.global_position > coalesce(after_position, 0)
      AND e.global_position < (SELECT event_store.safe_position())
    ORDER BY e.global_position
    LIMIT event_store.page_size(max_events);
END;
REVOKE ALL ON FUNCTION event_store.read_category(text, bigint, integer) FROM PUBLIC;
COMMENT ON FUNCTION event_store.read_category(text, bigint, integer) IS
    'The events of all aggregates of a type, as event_store.read_all reads those of all. NB021: max_events.';

CREATE FUNCTION event_store.read_all(
    after_position bigint DEFAULT 0,
    max_events integer DEFAULT 1000,
    aggregate_types text[] DEFAULT NULL,
    event_types text[] DEFAULT NULL,
    tags text[] DEFAULT NULL
)
RETURNS SETOF event_store.events
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000
BEGIN ATOMIC
    SELECT e.*
    FROM event_store.events e
    WHERE e.global_position > coalesce(after_position, 0)
      AND e.global_position < (SELECT event_store.safe_position())
      AND (aggregate_types IS NULL OR e.aggregate_type = ANY (aggregate_types))
      AND (event_types IS NULL OR e.event_type = ANY (event_types))
      AND (read_all.tags IS NULL OR pg_catalog.cardinality(read_all.tags) = 0 OR e.tags @> read_all.tags)
    ORDER BY e.global_position
    LIMIT event_store.page_size(max_events);
END;
REVOKE ALL ON FUNCTION event_store.read_all(bigint, integer, text[], text[], text[]) FROM PUBLIC;
COMMENT ON FUNCTION event_store.read_all(bigint, integer, text[], text[], text[]) IS
    'Events of all aggregates in an order that skips nobody who commits late: go on with after_position, the last global_position that was read. Events appear once no transaction that is under way can put one before them (event_store.safe_position()). max_events: 1 to 100,000; aggregate_types, event_types: only these; tags: only events that have all of them, without any of them all. NB021: max_events.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON event_store.events
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON event_store.events IS 'Keeps the events append-only (NB009).';

CREATE TRIGGER guard_loaded
    AFTER INSERT ON event_store.events
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_loaded ON event_store.events IS
    'Lets positions go on from those of a restore.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON event_store.streams
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON event_store.streams IS 'Keeps the versions to the appending functions (NB009).';

ALTER TABLE event_store.events ENABLE ALWAYS TRIGGER guard_ledger;
ALTER TABLE event_store.events ENABLE ALWAYS TRIGGER guard_loaded;
ALTER TABLE event_store.streams ENABLE ALWAYS TRIGGER guard_ledger;

SELECT pg_catalog.pg_extension_config_dump('event_store.streams', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.events', '');
