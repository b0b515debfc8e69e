-- No foreign keys among these tables: their checks would lock the subscription's one row in every fetch. The functions
-- that drop and reset take the rows away, while nobody works with the subscription.
CREATE TABLE event_store.subscriptions (
    name text COLLATE "C" PRIMARY KEY,
    partitions integer NOT NULL CHECK (partitions BETWEEN 1 AND 256),
    max_attempts integer NOT NULL CHECK (max_attempts > 0),
    backoff_first_ms integer NOT NULL CHECK (backoff_first_ms >= 0),
    backoff_most_ms integer NOT NULL CHECK (backoff_most_ms >= backoff_first_ms),
    lease_ms integer NOT NULL CHECK (lease_ms > 0),
    parked_blocks boolean NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    aggregate_types text[],
    event_types text[],
    tags text[]
);
REVOKE ALL ON event_store.subscriptions FROM PUBLIC;
COMMENT ON TABLE event_store.subscriptions IS
    'Who is to get which events. Written by event_store.create_subscription, alter_subscription and drop_subscription.';
COMMENT ON COLUMN event_store.subscriptions.partitions IS
    'A stream belongs to one of them (event_store.stream_partition); as many consumers can have events at once.';
COMMENT ON COLUMN event_store.subscriptions.parked_blocks IS
    'Whether the later events of a stream wait for its parked one to be replayed or discarded.';
COMMENT ON COLUMN event_store.subscriptions.aggregate_types IS 'Only events of these; null: of all.';
COMMENT ON COLUMN event_store.subscriptions.event_types IS 'Only events of these; null: of all.';
COMMENT ON COLUMN event_store.subscriptions.tags IS 'Only events that have all of these; null: all events.';

-- Few rows, changed by every fetch and acknowledgement: the page's free part takes the new versions.
CREATE TABLE event_store.subscription_partitions (
    subscription text COLLATE "C" NOT NULL,
    partition_no integer NOT NULL,
    position bigint NOT NULL CHECK (position >= 0),
    lease_token bigint,
    PRIMARY KEY (subscription, partition_no)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
REVOKE ALL ON event_store.subscription_partitions FROM PUBLIC;
COMMENT ON TABLE event_store.subscription_partitions IS
    'How far each partition of a subscription has come. Who holds a row''s lock, or its lease, has the partition''s streams for itself.';
COMMENT ON COLUMN event_store.subscription_partitions.position IS
    'Every event of the partition up to here is handled, or in flight (event_store.subscription_leases), or its stream is in event_store.subscription_streams.';
COMMENT ON COLUMN event_store.subscription_partitions.lease_token IS 'Whose events are in flight; null: none.';

-- Streams that are not with their partition, because an event failed. Few, and gone once the stream has caught up.
CREATE TABLE event_store.subscription_streams (
    subscription text COLLATE "C" NOT NULL,
    aggregate_id uuid NOT NULL,
    retry_at timestamptz NOT NULL,
    lease_token bigint,
    failed_token bigint,
    partition_no integer NOT NULL,
    next_version integer NOT NULL CHECK (next_version > 0),
    attempts integer NOT NULL CHECK (attempts >= 0),
    failed_version integer,
    blocked boolean NOT NULL DEFAULT false,
    alone boolean NOT NULL DEFAULT false,
    reason text,
    PRIMARY KEY (subscription, aggregate_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
CREATE INDEX subscription_streams_due_idx ON event_store.subscription_streams (subscription, alone, retry_at)
    WHERE lease_token IS NULL AND NOT blocked;
CREATE INDEX subscription_streams_lease_idx ON event_store.subscription_streams (subscription, lease_token)
    WHERE lease_token IS NOT NULL;
CREATE INDEX subscription_streams_clear_idx ON event_store.subscription_streams (subscription, partition_no)
    WHERE lease_token IS NULL AND NOT blocked AND attempts = 0;
REVOKE ALL ON event_store.subscription_streams FROM PUBLIC;
COMMENT ON TABLE event_store.subscription_streams IS
    'Streams with an event that failed: they are handed out by themselves until they have caught up with their partition.';
COMMENT ON COLUMN event_store.subscription_streams.next_version IS 'The first version that is neither handled nor parked.';
COMMENT ON COLUMN event_store.subscription_streams.attempts IS 'How often the event that failed last has failed.';
COMMENT ON COLUMN event_store.subscription_streams.failed_version IS
    'The version of the event that failed last: the next one, or a parked one that is replayed.';
COMMENT ON COLUMN event_store.subscription_streams.blocked IS 'An event of it is parked, and the others wait for that.';
COMMENT ON COLUMN event_store.subscription_streams.alone IS
    'Its next event is handed out with no other, so that a consumer that dies again shows whose fault it is.';
COMMENT ON COLUMN event_store.subscription_streams.failed_token IS 'The lease in which an event failed last.';

CREATE TABLE event_store.subscription_parked (
    subscription text COLLATE "C" NOT NULL,
    global_position bigint NOT NULL,
    aggregate_id uuid NOT NULL,
    event_id uuid NOT NULL,
    parked_at timestamptz NOT NULL,
    lease_token bigint,
    partition_no integer NOT NULL,
    event_version integer NOT NULL,
    attempts integer NOT NULL,
    replaying boolean NOT NULL DEFAULT false,
    consumer text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (subscription, global_position)
);
CREATE INDEX subscription_parked_stream_idx
    ON event_store.subscription_parked (subscription, aggregate_id, event_version);
CREATE INDEX subscription_parked_replaying_idx ON event_store.subscription_parked (subscription, partition_no)
    WHERE replaying;
REVOKE ALL ON event_store.subscription_parked FROM PUBLIC;
COMMENT ON TABLE event_store.subscription_parked IS
    'Events that were given up after the most attempts, until they are replayed or discarded. See event_store.parked_events.';
COMMENT ON COLUMN event_store.subscription_parked.replaying IS 'It is to be handed out once more.';
COMMENT ON COLUMN event_store.subscription_parked.lease_token IS 'The lease in which it was parked.';

CREATE SEQUENCE event_store.lease_token_seq;
REVOKE ALL ON SEQUENCE event_store.lease_token_seq FROM PUBLIC;
COMMENT ON SEQUENCE event_store.lease_token_seq IS
    'Fencing tokens: of two leases of a stream the later has the higher one.';

CREATE TABLE event_store.subscription_leases (
    subscription text COLLATE "C" NOT NULL,
    lease_token bigint NOT NULL,
    leased_until timestamptz NOT NULL,
    taken_at timestamptz NOT NULL,
    taken_in xid8 NOT NULL,
    done boolean NOT NULL DEFAULT false,
    consumer text NOT NULL,
    open_positions bigint[] NOT NULL,
    acked_positions bigint[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (subscription, lease_token)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX subscription_leases_open_idx ON event_store.subscription_leases (subscription, leased_until)
    WHERE NOT done;
REVOKE ALL ON event_store.subscription_leases FROM PUBLIC;
COMMENT ON TABLE event_store.subscription_leases IS
    'What each fetch has handed out. The last thousand that are done are kept, so that an acknowledgement that comes again is known.';
COMMENT ON COLUMN event_store.subscription_leases.open_positions IS
    'The positions of its events that are neither acknowledged nor given back.';
COMMENT ON COLUMN event_store.subscription_leases.taken_in IS
    'The transaction of the fetch. In a row that is restored it is another than the one that writes.';

CREATE FUNCTION event_store.end_restored_lease() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.leased_until := '-infinity';
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION event_store.end_restored_lease() FROM PUBLIC;
COMMENT ON FUNCTION event_store.end_restored_lease() IS
    'Ends leases that come with a restore: their consumers are those of another database.';
CREATE TRIGGER end_restored_lease
    BEFORE INSERT ON event_store.subscription_leases
    FOR EACH ROW WHEN (NOT NEW.done AND NEW.taken_in <> pg_catalog.pg_current_xact_id())
    EXECUTE FUNCTION event_store.end_restored_lease();
COMMENT ON TRIGGER end_restored_lease ON event_store.subscription_leases IS
    'Events that were in flight when a dump was made are handed out at once where it is restored, without counting an attempt.';

CREATE TABLE event_store.subscription_consumers (
    subscription text COLLATE "C" NOT NULL,
    consumer text COLLATE "C" NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (subscription, consumer)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
REVOKE ALL ON event_store.subscription_consumers FROM PUBLIC;
COMMENT ON TABLE event_store.subscription_consumers IS
    'Who fetches, so that each consumer takes its share of the partitions. Forgotten a day after it was seen last.';
COMMENT ON COLUMN event_store.subscription_consumers.seen_at IS 'When it fetched last, to the second.';

-- The figures look at no more than 100,000 events of each subscription.
CREATE VIEW event_store.subscription_lag AS
SELECT s.name AS subscription,
       s.paused,
       p.position,
       unread.events + unsettled.events AS events_behind,
       oldest.created_at AS oldest_at,
       pg_catalog.clock_timestamp() - oldest.created_at AS oldest_age,
       (SELECT coalesce(sum(pg_catalog.cardinality(l.open_positions)), 0)
        FROM event_store.subscription_leases l WHERE l.subscription = s.name AND NOT l.done) AS in_flight,
       (SELECT count(*) FROM event_store.subscription_streams h
        WHERE h.subscription = s.name AND NOT h.blocked AND h.attempts > 0) AS retrying_streams,
       (SELECT count(*) FROM event_store.subscription_streams h
        WHERE h.subscription = s.name AND h.blocked) AS blocked_streams,
       (SELECT count(*) FROM event_store.subscription_parked k
        WHERE k.subscription = s.name AND NOT k.replaying) AS parked,
       c.consumers,
       c.last_seen_at
FROM event_store.subscriptions s
CROSS JOIN LATERAL (
    SELECT min(x.position) AS position FROM event_store.subscription_partitions x WHERE x.subscription = s.name
) p
CROSS JOIN LATERAL (
    SELECT count(*) AS events, min(e.created_at) AS created_at
    FROM (SELECT * FROM event_store.events a
          WHERE a.global_position > p.position ORDER BY a.global_position LIMIT 100000) e
    JOIN event_store.subscription_partitions x
      ON x.subscription = s.name AND x.partition_no = event_store.stream_partition(e.aggregate_id, s.partitions)
    WHERE e.global_position > x.position
      AND (s.aggregate_types IS NULL OR e.aggregate_type = ANY (s.aggregate_types))
      AND (s.event_types IS NULL OR e.event_type = ANY (s.event_types))
      AND (s.tags IS NULL OR e.tags @> s.tags)
) unread
CROSS JOIN LATERAL (
    SELECT count(*) AS events, min(u.created_at) AS created_at
    FROM (
        SELECT e.global_position, e.created_at
        FROM event_store.subscription_leases l
        CROSS JOIN LATERAL pg_catalog.unnest(l.open_positions) o(position)
        JOIN event_store.events e ON e.global_position = o.position
        WHERE l.subscription = s.name AND NOT l.done
        UNION
        SELECT e.global_position, e.created_at
        FROM event_store.subscription_streams h
        JOIN event_store.subscription_partitions x
          ON x.subscription = s.name AND x.partition_no = h.partition_no
        CROSS JOIN LATERAL (
            SELECT a.global_position, a.created_at
            FROM event_store.events a
            WHERE a.aggregate_id = h.aggregate_id AND a.event_version >= h.next_version
              AND a.global_position <= x.position
              AND (s.aggregate_types IS NULL OR a.aggregate_type = ANY (s.aggregate_types))
              AND (s.event_types IS NULL OR a.event_type = ANY (s.event_types))
              AND (s.tags IS NULL OR a.tags @> s.tags)
            LIMIT 100000
        ) e
        WHERE h.subscription = s.name
        UNION
        SELECT k.global_position, e.created_at
        FROM event_store.subscription_parked k
        JOIN event_store.events e ON e.global_position = k.global_position
        WHERE k.subscription = s.name AND k.replaying
    ) u
) unsettled
CROSS JOIN LATERAL (SELECT least(unread.created_at, unsettled.created_at) AS created_at) oldest
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE n.seen_at > pg_catalog.clock_timestamp() - interval '1 minute') AS consumers,
           max(n.seen_at) AS last_seen_at
    FROM event_store.subscription_consumers n WHERE n.subscription = s.name
) c;
REVOKE ALL ON event_store.subscription_lag FROM PUBLIC;
COMMENT ON VIEW event_store.subscription_lag IS
    'How far each subscription is behind: position (all partitions have read up to there), events_behind (events that match and are neither handled nor parked; counted up to 100,000 unread ones), oldest_at and oldest_age (of the oldest of them), in_flight (events that consumers have), retrying_streams, blocked_streams, parked (events), consumers (seen in the last minute), last_seen_at.';

CREATE VIEW event_store.parked_events AS
SELECT k.subscription, k.event_id, k.aggregate_id, k.event_version, k.global_position, e.aggregate_type, e.event_type,
       e.event_data, e.metadata, e.created_at, k.attempts, k.reason, k.consumer, k.parked_at, k.replaying,
       coalesce(h.blocked, false) AS blocks
FROM event_store.subscription_parked k
LEFT JOIN event_store.events e ON e.global_position = k.global_position
LEFT JOIN event_store.subscription_streams h
  ON h.subscription = k.subscription AND h.aggregate_id = k.aggregate_id;
REVOKE ALL ON event_store.parked_events FROM PUBLIC;
COMMENT ON VIEW event_store.parked_events IS
    'Events that were given up: attempts, the reason of the last failure, consumer (who had it), replaying (event_store.replay_parked was called for it), blocks (the stream''s later events wait for it).';

SELECT pg_catalog.pg_extension_config_dump('event_store.subscriptions', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_partitions', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_streams', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_parked', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_leases', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_consumers', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.lease_token_seq', '');
