-- Made by scripts/upgrade-script out of two install scripts and sql/upgrade/0.1.0--0.2.0.sql: not to be edited.
\echo Use "ALTER EXTENSION neobank UPDATE TO '0.2.0'" to load this file. \quit

CREATE SCHEMA event_store;

CREATE SCHEMA cqrs;

COMMENT ON SCHEMA event_store IS 'Events of aggregates: appended, read in order, folded into state.';

COMMENT ON SCHEMA cqrs IS 'Commands and what carries them out, read models, and projections of events.';

CREATE OR REPLACE  FUNCTION neobank."guard_accounts"(

) RETURNS trigger /* Triggered */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'guard_accounts_wrapper';

CREATE OR REPLACE  FUNCTION neobank."guard_ledger"(

) RETURNS trigger /* Triggered */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'guard_ledger_wrapper';

CREATE  FUNCTION event_store."ledger_stream"(
	"transaction_id" uuid /* Option < pgrx :: Uuid > */
) RETURNS uuid /* pgrx :: Uuid */
IMMUTABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'ledger_stream_wrapper';

CREATE  FUNCTION event_store."ledger_published_since"() RETURNS bigint /* i64 */
STRICT STABLE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'ledger_published_since_wrapper';

CREATE  FUNCTION event_store."publish_ledger"(
	"publish" bool /* Option < bool > */
) RETURNS bigint /* Option < i64 > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'publish_ledger_wrapper';

CREATE  FUNCTION event_store."discard_parked"(
	"name" TEXT, /* Option < Text > */
	"event_ids" uuid[] /* Option < Many < pgrx :: Uuid > > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'discard_parked_wrapper';

CREATE  FUNCTION event_store."create_subscription"(
	"name" TEXT, /* Option < Text > */
	"filter" jsonb DEFAULT '{}', /* Option < JsonDatum > */
	"start" TEXT DEFAULT 'beginning', /* Option < Text > */
	"partitions" INT DEFAULT 16, /* Option < i32 > */
	"max_attempts" INT DEFAULT 5, /* Option < i32 > */
	"backoff_first_ms" INT DEFAULT 1000, /* Option < i32 > */
	"backoff_most_ms" INT DEFAULT 300000, /* Option < i32 > */
	"lease_ms" INT DEFAULT 30000, /* Option < i32 > */
	"parked_blocks" bool DEFAULT true /* Option < bool > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'create_subscription_wrapper';

CREATE  FUNCTION event_store."take_snapshot"(
	"p_aggregate_id" uuid /* Option < pgrx :: Uuid > */
) RETURNS INT /* Option < i32 > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'take_snapshot_wrapper';

CREATE  FUNCTION event_store."drop_subscription"(
	"name" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'drop_subscription_wrapper';

CREATE  FUNCTION event_store."append_events_if"(
	"aggregate_type" TEXT, /* Option < Text > */
	"aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"events" jsonb, /* Option < JsonDatum > */
	"after_position" bigint, /* Option < i64 > */
	"event_types" TEXT[] DEFAULT NULL, /* Option < Many < String > > */
	"tags" TEXT[] DEFAULT NULL, /* Option < Many < String > > */
	"expected_version" INT DEFAULT NULL /* Option < i32 > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'append_events_if_wrapper';

CREATE  FUNCTION event_store."define_reducer"(
	"aggregate_type" TEXT, /* Option < Text > */
	"event_type" TEXT, /* Option < Text > */
	"operations" jsonb DEFAULT NULL, /* Option < JsonDatum > */
	"handler" regproc DEFAULT NULL /* Option < RegProc > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'define_reducer_wrapper';

CREATE  FUNCTION event_store."ack"(
	"name" TEXT, /* Option < Text > */
	"lease_token" bigint, /* Option < i64 > */
	"event_ids" uuid[] DEFAULT NULL /* Option < Many < pgrx :: Uuid > > */
) RETURNS INT /* i32 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'ack_wrapper';

CREATE  FUNCTION event_store."get_aggregate_state"(
	"p_aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"p_up_to_version" INT DEFAULT NULL /* Option < i32 > */
) RETURNS jsonb /* JsonDatum */
STABLE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'get_aggregate_state_wrapper';

CREATE  FUNCTION event_store."reset_subscription"(
	"name" TEXT, /* Option < Text > */
	"start" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'reset_subscription_wrapper';

CREATE  FUNCTION event_store."get_aggregate_state_at"(
	"p_aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"p_at" timestamptz /* Option < Time > */
) RETURNS jsonb /* JsonDatum */
STABLE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'get_aggregate_state_at_wrapper';

CREATE  FUNCTION event_store."stream_partition"(
	"aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"partitions" INT /* Option < i32 > */
) RETURNS INT /* Option < i32 > */
IMMUTABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'stream_partition_wrapper';

CREATE  FUNCTION event_store."append_event"(
	"p_aggregate_type" TEXT, /* Option < Text > */
	"p_aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"p_event_type" TEXT, /* Option < Text > */
	"p_event_data" jsonb, /* Option < JsonDatum > */
	"p_expected_version" INT DEFAULT NULL, /* Option < i32 > */
	"p_metadata" jsonb DEFAULT NULL, /* Option < JsonDatum > */
	"p_event_id" uuid DEFAULT NULL, /* Option < pgrx :: Uuid > */
	"p_tags" TEXT[] DEFAULT NULL /* Option < Many < String > > */
) RETURNS uuid /* pgrx :: Uuid */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'append_event_wrapper';

CREATE  FUNCTION event_store."alter_subscription"(
	"name" TEXT, /* Option < Text > */
	"max_attempts" INT DEFAULT NULL, /* Option < i32 > */
	"backoff_first_ms" INT DEFAULT NULL, /* Option < i32 > */
	"backoff_most_ms" INT DEFAULT NULL, /* Option < i32 > */
	"lease_ms" INT DEFAULT NULL, /* Option < i32 > */
	"parked_blocks" bool DEFAULT NULL, /* Option < bool > */
	"paused" bool DEFAULT NULL /* Option < bool > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'alter_subscription_wrapper';

CREATE  FUNCTION event_store."nack"(
	"name" TEXT, /* Option < Text > */
	"lease_token" bigint, /* Option < i64 > */
	"event_id" uuid, /* Option < pgrx :: Uuid > */
	"reason" TEXT, /* Option < Text > */
	"retry_in_ms" INT DEFAULT NULL, /* Option < i32 > */
	"park" bool DEFAULT false /* Option < bool > */
) RETURNS timestamptz /* Option < Time > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'nack_wrapper';

CREATE  FUNCTION event_store."fetch"(
	"name" TEXT, /* Option < Text > */
	"batch" INT, /* Option < i32 > */
	"consumer" TEXT /* Option < Text > */
) RETURNS TABLE (
	"event_id" uuid,  /* pgrx :: Uuid */
	"aggregate_id" uuid,  /* pgrx :: Uuid */
	"global_position" bigint,  /* i64 */
	"created_at" timestamptz,  /* Option < Time > */
	"event_version" INT,  /* i32 */
	"aggregate_type" TEXT,  /* String */
	"event_type" TEXT,  /* String */
	"created_by" TEXT,  /* String */
	"event_data" jsonb,  /* Option < JsonBytes > */
	"metadata" jsonb,  /* Option < JsonBytes > */
	"tags" TEXT[],  /* :: std :: option :: Option < Vec < Option < String > > > */
	"attempt" INT,  /* i32 */
	"lease_token" bigint,  /* i64 */
	"leased_until" timestamptz  /* Option < Time > */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'fetch_wrapper';

CREATE  FUNCTION event_store."set_retention"(
	"aggregate_type" TEXT, /* Option < Text > */
	"keep" interval, /* Option < Interval > */
	"keep_state" bool DEFAULT true /* Option < bool > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'set_retention_wrapper';

CREATE  FUNCTION event_store."drop_reducer"(
	"aggregate_type" TEXT, /* Option < Text > */
	"event_type" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'drop_reducer_wrapper';

CREATE  FUNCTION event_store."append_events"(
	"aggregate_type" TEXT, /* Option < Text > */
	"aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"events" jsonb, /* Option < JsonDatum > */
	"expected_version" INT DEFAULT NULL /* Option < i32 > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'append_events_wrapper';

CREATE  FUNCTION event_store."replay_parked"(
	"name" TEXT, /* Option < Text > */
	"event_ids" uuid[] DEFAULT NULL /* Option < Many < pgrx :: Uuid > > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'replay_parked_wrapper';

CREATE  FUNCTION event_store."extend_lease"(
	"name" TEXT, /* Option < Text > */
	"lease_token" bigint, /* Option < i64 > */
	"by_ms" INT DEFAULT NULL /* Option < i32 > */
) RETURNS timestamptz /* Option < Time > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'extend_lease_wrapper';

CREATE  FUNCTION event_store."prepare_ledger_publication"(
	"max_accounts" INT DEFAULT 10000 /* Option < i32 > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'prepare_ledger_publication_wrapper';

CREATE  FUNCTION event_store."page_size"(
	"max_events" INT /* Option < i32 > */
) RETURNS INT /* i32 */
IMMUTABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'page_size_wrapper';

CREATE  FUNCTION event_store."apply_retention"(
	"max_events" INT DEFAULT 10000 /* Option < i32 > */
) RETURNS TABLE (
	"events" bigint,  /* i64 */
	"streams" bigint,  /* i64 */
	"done" bool  /* bool */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'apply_retention_wrapper';

CREATE  FUNCTION cqrs."run_rebuild"(
	"name" TEXT, /* Option < Text > */
	"max_events" INT DEFAULT 1000 /* Option < i32 > */
) RETURNS TEXT /* & '_ str */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'run_rebuild_wrapper';

CREATE  FUNCTION cqrs."transaction_count"(
	"account_id" uuid, /* Option < pgrx :: Uuid > */
	"since" timestamptz DEFAULT NULL /* Option < Time > */
) RETURNS bigint /* i64 */
STABLE PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'transaction_count_wrapper';

CREATE  FUNCTION cqrs."rebuild_projection"(
	"name" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'rebuild_projection_wrapper';

CREATE  FUNCTION cqrs."last_transaction_date"(
	"account_id" uuid /* Option < pgrx :: Uuid > */
) RETURNS timestamptz /* Option < Time > */
STABLE PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'last_transaction_date_wrapper';

CREATE  FUNCTION cqrs."update_customer_summary"(
	"p_customer_id" uuid /* Option < pgrx :: Uuid > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'update_customer_summary_wrapper';

CREATE  FUNCTION cqrs."create_projection"(
	"name" TEXT, /* Option < Text > */
	"handler" regproc, /* Option < RegProc > */
	"target" regclass, /* Option < RegClass > */
	"filter" jsonb DEFAULT '{}', /* Option < JsonDatum > */
	"mode" TEXT DEFAULT 'async' /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'create_projection_wrapper';

CREATE  FUNCTION cqrs."cancel_rebuild"(
	"name" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'cancel_rebuild_wrapper';

CREATE  FUNCTION cqrs."amount_total"(
	"account_id" uuid, /* Option < pgrx :: Uuid > */
	"since" timestamptz DEFAULT NULL /* Option < Time > */
) RETURNS NUMERIC /* AnyNumeric */
STABLE PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'amount_total_wrapper';

CREATE  FUNCTION cqrs."unregister_handler"(
	"command_type" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'unregister_handler_wrapper';

CREATE  FUNCTION cqrs."set_risk_score"(
	"customer_id" uuid, /* Option < pgrx :: Uuid > */
	"risk_score" INT /* Option < i32 > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'set_risk_score_wrapper';

CREATE  FUNCTION cqrs."run_projection"(
	"name" TEXT, /* Option < Text > */
	"max_events" INT DEFAULT 1000 /* Option < i32 > */
) RETURNS bigint /* Option < i64 > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'run_projection_wrapper';

CREATE  FUNCTION cqrs."submit_command"(
	"command_type" TEXT, /* Option < Text > */
	"aggregate_type" TEXT, /* Option < Text > */
	"payload" jsonb, /* Option < JsonDatum > */
	"aggregate_id" uuid DEFAULT NULL, /* Option < pgrx :: Uuid > */
	"command_id" uuid DEFAULT NULL, /* Option < pgrx :: Uuid > */
	"mode" TEXT DEFAULT 'immediate', /* Option < Text > */
	"correlation_id" TEXT DEFAULT NULL, /* Option < Text > */
	"max_attempts" INT DEFAULT NULL /* Option < i32 > */
) RETURNS jsonb /* JsonBytes */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'submit_command_wrapper';

CREATE  FUNCTION cqrs."last_activity"(
	"account_id" uuid /* Option < pgrx :: Uuid > */
) RETURNS timestamptz /* Option < Time > */
STABLE PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'last_activity_wrapper';

CREATE  FUNCTION cqrs."drop_projection"(
	"name" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'drop_projection_wrapper';

CREATE  FUNCTION cqrs."process_commands"(
	"max_commands" INT DEFAULT 100 /* Option < i32 > */
) RETURNS TABLE (
	"command_id" uuid,  /* pgrx :: Uuid */
	"status" TEXT,  /* & '_ str */
	"code" TEXT,  /* String */
	"message" TEXT  /* Option < String > */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'process_commands_wrapper';

CREATE  FUNCTION cqrs."resume_projection"(
	"name" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'resume_projection_wrapper';

CREATE  FUNCTION cqrs."register_handler"(
	"command_type" TEXT, /* Option < Text > */
	"handler" regproc, /* Option < RegProc > */
	"max_attempts" INT DEFAULT 5 /* Option < i32 > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'register_handler_wrapper';

CREATE  FUNCTION cqrs."pause_projection"(
	"name" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'pause_projection_wrapper';

CREATE  FUNCTION cqrs."refresh_activity"(
	"max_marks" INT DEFAULT 1000 /* Option < i32 > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'refresh_activity_wrapper';

ALTER TABLE banking.customers ALTER COLUMN customer_number
    SET DEFAULT ('C' || pg_catalog.to_char(pg_catalog.nextval('banking.customer_number_seq'), 'FM9999999990000000000'));

ALTER TABLE banking.account_limits REPLICA IDENTITY FULL;

CREATE OR REPLACE FUNCTION txn_processing.daily_reconciliation(p_date date DEFAULT CURRENT_DATE)
RETURNS TABLE (
    account_id uuid,
    account_number varchar(50),
    ledger_balance numeric,
    account_balance numeric,
    difference numeric,
    status text
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    -- Both sides at the same instant: what the ledger adds up to until then, and what the account carries now less
    -- what the ledger added since. Debits and credits are added up where they are read, so that parallel workers share
    -- both the reading and the adding; the day's end is worked out once, not per posting.
    WITH day AS (
        -- No posting is as late as the latest day that a timestamp can have, and the day after that is none.
        SELECT (least(coalesce(p_date, CURRENT_DATE), DATE '9999-12-31') + 1)::timestamptz AS ends
    ), sides AS (
        SELECT
            m.credit_account AS account_id,
            pg_catalog.sum(m.amount) AS total,
            pg_catalog.sum(m.amount) FILTER (WHERE coalesce(m.effective_at, m.created_at) >= (SELECT d.ends FROM day d)) AS since
        FROM txn_processing.movements m
        GROUP BY m.credit_account
        UNION ALL
        SELECT
            m.debit_account,
            -pg_catalog.sum(m.amount),
            -pg_catalog.sum(m.amount) FILTER (WHERE coalesce(m.effective_at, m.created_at) >= (SELECT d.ends FROM day d))
        FROM txn_processing.movements m
        GROUP BY m.debit_account
    ), sums AS (
        SELECT s.account_id, pg_catalog.sum(s.total) AS total, coalesce(pg_catalog.sum(s.since), 0) AS since
        FROM sides s
        GROUP BY s.account_id
    ), slots AS (
        SELECT t.account_id, pg_catalog.sum(t.balance) AS balance FROM banking.account_slots t GROUP BY t.account_id
    ), carried AS (
        SELECT
            a.account_id, a.account_number, a.normal_side,
            CASE WHEN a.slots > 0 THEN t.balance ELSE a.current_balance END AS balance
        FROM banking.accounts a
        LEFT JOIN slots t ON t.account_id = a.account_id
    ), balances AS (
        -- FULL: postings on an account that is not there are a discrepancy too.
        SELECT
            coalesce(a.account_id, s.account_id) AS account_id, a.account_number,
            CASE a.normal_side WHEN 'D' THEN -1 ELSE 1 END * (coalesce(s.total, 0) - coalesce(s.since, 0)) AS ledger_balance,
            coalesce(a.balance, 0) - CASE a.normal_side WHEN 'D' THEN -1 ELSE 1 END * coalesce(s.since, 0) AS account_balance
        FROM carried a
        FULL JOIN sums s ON s.account_id = a.account_id
    )
    SELECT
        b.account_id, b.account_number, b.ledger_balance, b.account_balance, b.ledger_balance - b.account_balance,
        CASE WHEN b.ledger_balance = b.account_balance THEN 'Balanced' ELSE 'Discrepancy' END
    FROM balances b
    ORDER BY pg_catalog.abs(b.ledger_balance - b.account_balance) DESC, b.account_number, b.account_id;
END;

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

CREATE TABLE event_store.streams (
    aggregate_id uuid PRIMARY KEY,
    last_position bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    version integer NOT NULL,
    aggregate_type varchar(100) NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE event_store.streams IS
    'One row per aggregate: whoever appends locks it, so the versions of a stream have no gap and no double. Written by the appending functions only (NB009).';

COMMENT ON COLUMN event_store.streams.version IS 'The version of its last event, which is the number of its events.';

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

CREATE INDEX events_tags_idx ON event_store.events USING gin (tags) WITH (fastupdate = off) WHERE tags IS NOT NULL;

COMMENT ON TABLE event_store.events IS 'What has happened, append-only (NB009). Written by event_store.append_event and append_events.';

COMMENT ON COLUMN event_store.events.event_version IS 'From 1, without gap, within its aggregate.';

COMMENT ON COLUMN event_store.events.global_position IS
    'The order of all events: ascends within every stream. Its upper bits are the number of the writing transaction, so positions below event_store.safe_position() are final: nothing will appear between them any more.';

COMMENT ON COLUMN event_store.events.metadata IS 'About the event, such as correlation_id and causation_id.';

COMMENT ON COLUMN event_store.events.tags IS 'What the event is about beside its aggregate; null: nothing.';

CREATE TABLE event_store.position_base (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    added bigint NOT NULL CHECK (added >= 0)
);

INSERT INTO event_store.position_base (added) VALUES (0);

COMMENT ON TABLE event_store.position_base IS
    'What is added to a transaction''s number to make it the upper bits of its events'' positions. Above zero after a restore into a cluster that has counted fewer transactions.';

CREATE FUNCTION event_store.safe_position() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT (b.added + pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint) << 20
    FROM event_store.position_base b;
END;

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
      AND (read_all.tags IS NULL OR e.tags @> read_all.tags)
    ORDER BY e.global_position
    LIMIT event_store.page_size(max_events);
END;

COMMENT ON FUNCTION event_store.read_all(bigint, integer, text[], text[], text[]) IS
    'Events of all aggregates in an order that skips nobody who commits late: go on with after_position, the last global_position that was read. Events appear once no transaction that is under way can put one before them (event_store.safe_position()). max_events: 1 to 100,000; aggregate_types, event_types: only these; tags: only events that have all of them. NB021: max_events.';

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

CREATE TABLE cqrs.activity_marks (
    account_id uuid NOT NULL,
    sequence bigint NOT NULL,
    last_effective timestamptz NOT NULL,
    amount_total numeric NOT NULL,
    PRIMARY KEY (account_id, sequence)
);

COMMENT ON TABLE cqrs.activity_marks IS
    'What the first 256, 512, 768 ... postings of an account, or of one of its slots, add up to: so that readers need not add up a long history. Made by cqrs.refresh_activity; a missing row makes reading slower and nothing else, so all may be deleted.';

COMMENT ON COLUMN cqrs.activity_marks.sequence IS
    'The number of the last posting that is in it, as txn_processing.movements counts them.';

COMMENT ON COLUMN cqrs.activity_marks.amount_total IS
    'The amounts of the account''s postings up to that one, or of the slot''s, debits and credits alike.';

COMMENT ON COLUMN cqrs.activity_marks.last_effective IS 'The latest time from which any of them counts.';

CREATE TABLE cqrs.risk_scores (
    customer_id uuid PRIMARY KEY,
    set_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    risk_score integer NOT NULL,
    set_by text NOT NULL
);

COMMENT ON TABLE cqrs.risk_scores IS
    'What the application thinks of a customer, shown in cqrs.customer_summary. Set by cqrs.set_risk_score; the row of a customer who is deleted is shown nowhere.';

CREATE TABLE cqrs.command_handlers (
    command_type varchar(100) PRIMARY KEY,
    handler_schema text NOT NULL,
    handler_name text NOT NULL,
    max_attempts integer NOT NULL CHECK (max_attempts BETWEEN 1 AND 100),
    registered_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    registered_by text NOT NULL
);

COMMENT ON TABLE cqrs.command_handlers IS
    'Which function carries out the commands of a type. Written by cqrs.register_handler.';

COMMENT ON COLUMN cqrs.command_handlers.max_attempts IS 'Of commands that do not say it themselves.';

CREATE TABLE cqrs.commands (
    command_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    command_type varchar(100) NOT NULL,
    aggregate_type varchar(100) NOT NULL,
    aggregate_id uuid,
    payload jsonb NOT NULL,
    status varchar(20) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'completed', 'failed')),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    processed_at timestamptz,
    result jsonb,
    attempts integer NOT NULL DEFAULT 0,
    max_attempts integer CHECK (max_attempts BETWEEN 1 AND 100),
    next_attempt_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    submitted_by text NOT NULL DEFAULT CURRENT_USER,
    correlation_id text,
    error_code text,
    error_message text,
    error_detail text
) WITH (fillfactor = 70);

CREATE INDEX commands_pending_idx ON cqrs.commands (created_at, command_id, next_attempt_at) WHERE status = 'pending';

COMMENT ON TABLE cqrs.commands IS
    'What somebody wants done, and what became of it. Submit with cqrs.submit_command; cqrs.process_commands and the background workers carry out what is pending.';

COMMENT ON COLUMN cqrs.commands.command_id IS 'The caller''s, so that a retry answers the first result, or drawn.';

COMMENT ON COLUMN cqrs.commands.status IS
    'pending (also while it waits for another attempt), completed or failed. A claim and its outcome commit together, so nothing between is ever seen.';

COMMENT ON COLUMN cqrs.commands.result IS 'What the handler answered.';

COMMENT ON COLUMN cqrs.commands.attempts IS 'How often the handler was called.';

COMMENT ON COLUMN cqrs.commands.max_attempts IS 'Null: as the handler was registered with.';

COMMENT ON COLUMN cqrs.commands.next_attempt_at IS 'cqrs.process_commands leaves the command alone until then.';

COMMENT ON COLUMN cqrs.commands.submitted_by IS 'The role that wants it: the handler runs with its rights.';

COMMENT ON COLUMN cqrs.commands.error_code IS 'The SQLSTATE of the last attempt where that failed; null after a success.';

CREATE TABLE cqrs.command_events (
    event_id uuid PRIMARY KEY,
    command_id uuid NOT NULL
);

CREATE INDEX command_events_command_id_idx ON cqrs.command_events (command_id);

COMMENT ON TABLE cqrs.command_events IS
    'Which command appended an event: every event that a handler, or what it called, has appended.';

CREATE FUNCTION cqrs.command_result(command_id uuid) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        pg_catalog.jsonb_build_object(
            'command_id', c.command_id, 'command_type', c.command_type, 'status', c.status, 'result', c.result,
            'attempts', c.attempts,
            'events', coalesce(
                (SELECT pg_catalog.jsonb_agg(e.event_id ORDER BY e.global_position)
                 FROM cqrs.command_events l JOIN event_store.events e ON e.event_id = l.event_id
                 WHERE l.command_id = c.command_id), '[]'))
        || CASE WHEN c.error_code IS NULL THEN '{}'
           ELSE pg_catalog.jsonb_build_object('error', pg_catalog.jsonb_build_object(
               'code', c.error_code, 'message', c.error_message, 'detail', c.error_detail)) END
    FROM cqrs.commands c
    WHERE c.command_id = $1;
END;

COMMENT ON FUNCTION cqrs.command_result(uuid) IS
    'What became of a command: its status, the handler''s result, attempts, the ids of the events that it appended, in their order, and the error of the last attempt. command_id; null for an unknown one.';

SELECT pg_catalog.pg_extension_config_dump('cqrs.command_handlers', '');

SELECT pg_catalog.pg_extension_config_dump('cqrs.commands', '');

SELECT pg_catalog.pg_extension_config_dump('cqrs.command_events', '');

SELECT pg_catalog.pg_extension_config_dump('cqrs.activity_marks', '');

SELECT pg_catalog.pg_extension_config_dump('cqrs.risk_scores', '');

CREATE TABLE cqrs.projections (
    name varchar(100) PRIMARY KEY,
    projection_no integer GENERATED BY DEFAULT AS IDENTITY UNIQUE,
    generation integer NOT NULL DEFAULT 0,
    mode text NOT NULL CHECK (mode IN ('inline', 'async')),
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused')),
    handler_schema text NOT NULL,
    handler_name text NOT NULL,
    target_schema text NOT NULL,
    target_name text NOT NULL,
    aggregate_types text[] NOT NULL,
    event_types text[] NOT NULL,
    tags text[] NOT NULL,
    position bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    failures integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    failed_event uuid,
    error_code text,
    error_message text,
    error_detail text,
    twin_name text,
    twin_position bigint,
    fence bigint,
    rebuild_started_at timestamptz
) WITH (fillfactor = 50);

COMMENT ON TABLE cqrs.projections IS
    'Tables that functions of the application''s keep from events. Written by cqrs.create_projection and its siblings; read it through cqrs.projection_status.';

COMMENT ON COLUMN cqrs.projections.generation IS 'One more with each rebuild, which puts another table in the place of the target.';

COMMENT ON COLUMN cqrs.projections.aggregate_types IS 'Events of these types only; empty: of any. So are event_types.';

COMMENT ON COLUMN cqrs.projections.tags IS 'Events that have all of these.';

COMMENT ON COLUMN cqrs.projections.position IS
    'Of an async projection: the global_position of the last event that it has come to.';

COMMENT ON COLUMN cqrs.projections.failed_event IS 'The event that an async projection stands before, and error_code and so on why.';

COMMENT ON COLUMN cqrs.projections.twin_name IS 'While it is rebuilt: the table that will take the target''s place.';

COMMENT ON COLUMN cqrs.projections.twin_position IS 'How far events are replayed into it.';

COMMENT ON COLUMN cqrs.projections.fence IS
    'Once the replay is through, of an inline projection: the number that all transactions under way must be above before the swap.';

CREATE VIEW cqrs.projection_status AS
SELECT
    p.name,
    p.mode,
    p.state,
    pg_catalog.format('%I.%I', p.handler_schema, p.handler_name) AS handler,
    pg_catalog.format('%I.%I', p.target_schema, p.target_name) AS target,
    CASE p.mode WHEN 'async' THEN p.position END AS position,
    l.behind,
    CASE WHEN l.behind = 0 THEN '0'::interval ELSE pg_catalog.clock_timestamp() - l.oldest END AS lag,
    p.updated_at,
    p.failures,
    p.next_attempt_at,
    p.failed_event,
    p.error_code,
    p.error_message,
    p.error_detail,
    p.rebuild_started_at,
    CASE WHEN p.twin_name IS NOT NULL THEN p.twin_position END AS rebuild_position,
    CASE
        WHEN p.twin_name IS NULL THEN NULL
        WHEN p.fence IS NOT NULL THEN 'waiting'
        ELSE 'replaying'
    END AS rebuild_state
FROM cqrs.projections p
LEFT JOIN LATERAL (
    SELECT pg_catalog.count(*) AS behind, pg_catalog.min(w.created_at) AS oldest
    FROM (SELECT e.created_at FROM event_store.events e
          WHERE e.global_position > p.position
          ORDER BY e.global_position LIMIT 10000) w
) l ON p.mode = 'async';

COMMENT ON VIEW cqrs.projection_status IS 'Where each projection and its rebuild stand, and what stops them.';

COMMENT ON COLUMN cqrs.projection_status.behind IS
    'Events of any type that an async projection has not come to yet; 10,000 stands for that or more.';

COMMENT ON COLUMN cqrs.projection_status.lag IS 'The age of the oldest of them.';

CREATE FUNCTION cqrs.target_obstacle(target regclass) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE
        WHEN c.relkind <> 'r' OR c.relispartition OR c.relpersistence = 't' THEN 'is not a plain table'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
                     AND d.objid = c.oid AND d.deptype = 'e') THEN 'is part of an extension'
        WHEN c.relrowsecurity OR EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid)
            THEN 'has row-level security'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) THEN 'has triggers'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND c.oid IN (k.conrelid, k.confrelid))
            THEN 'has foreign keys'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)) THEN 'inherits'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prrelid = c.oid) THEN 'is published'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid)
            OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                       WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid
                         AND d.classid = 'pg_catalog.pg_rewrite'::regclass) THEN 'has rules, or views refer to it'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
                     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
                       AND d.refobjid = c.oid AND d.deptype = 'a') THEN 'has a serial column, which would lose its sequence'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d
                     WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid AND d.deptype = 'n'
                       AND d.classid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_class'::regclass))
            OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                       WHERE d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid IN (c.reltype, (
                           SELECT t.typarray FROM pg_catalog.pg_type t WHERE t.oid = c.reltype))
                         AND d.deptype = 'n') THEN 'is used by a function or another table'
    END
    FROM pg_catalog.pg_class c
    WHERE c.oid = $1;
END;

COMMENT ON FUNCTION cqrs.target_obstacle(regclass) IS
    'Why a table cannot be a projection''s: what a table that is put into its place would lose. target; null: nothing stands in the way. Called by cqrs.create_projection and the rebuild.';

CREATE FUNCTION cqrs.make_twin(target regclass) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    old record;
    twin CONSTANT text := 'rebuild_' || replace(gen_random_uuid()::text, '-', '');
BEGIN
    SELECT n.nspname, c.relname, c.relowner, c.relpersistence, array_to_string(c.reloptions, ', ') AS options,
           cqrs.target_obstacle(c.oid) AS obstacle
    INTO old
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target;
    IF old.obstacle IS NOT NULL THEN
        RAISE EXCEPTION 'table cannot be a projection''s'
            USING ERRCODE = 'NB128', DETAIL = format('Table %s %s.', target, old.obstacle),
                  HINT = 'Give a plain table of your own, to which nothing else refers.';
    END IF;
    EXECUTE format('CREATE %s TABLE %I.%I (LIKE %s INCLUDING ALL)',
                   CASE old.relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE '' END, old.nspname, twin, target);
    IF old.options <> '' THEN
        EXECUTE format('ALTER TABLE %I.%I SET (%s)', old.nspname, twin, old.options);
    END IF;
    EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', old.nspname, twin, pg_get_userbyid(old.relowner));
    RETURN twin;
END
$$;

COMMENT ON FUNCTION cqrs.make_twin(regclass) IS
    'Makes an empty table like the target, with its owner, in its schema; returns its name. Called by cqrs.rebuild_projection. NB128: the target has something that it would lose.';

CREATE FUNCTION cqrs.swap_twin(target regclass, twin text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    old record;
    entry record;
    fresh oid;
    obstacle text;
    renamed text[];
    pair text[];
BEGIN
    SELECT to_regclass(format('%I.%I', n.nspname, twin)) INTO fresh
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target;
    IF fresh IS NULL THEN
        RAISE EXCEPTION 'table cannot be a projection''s'
            USING ERRCODE = 'NB128', DETAIL = format('There is no table %s, or beside it none of the name %L.', target, twin),
                  HINT = 'Leave the call to cqrs.run_rebuild.';
    END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', target);
    obstacle := cqrs.target_obstacle(target);
    IF obstacle IS NOT NULL THEN
        RAISE EXCEPTION 'table cannot be a projection''s'
            USING ERRCODE = 'NB128', DETAIL = format('Table %s %s.', target, obstacle),
                  HINT = 'Give a plain table of your own, to which nothing else refers.';
    END IF;
    SELECT n.nspname, c.relname, c.relacl, pg_get_userbyid(c.relowner) AS owner, obj_description(c.oid, 'pg_class') AS comment
    INTO old
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target;

    -- What default privileges gave it goes, then it gets what the old one has.
    FOR entry IN
        SELECT DISTINCT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(x.grantee)) END AS grantee
        FROM pg_class c, aclexplode(c.relacl) x WHERE c.oid = fresh
        UNION SELECT format('%I', old.owner) WHERE old.relacl IS NOT NULL
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', fresh::regclass, entry.grantee);
    END LOOP;
    FOR entry IN
        SELECT x.privilege_type, '' AS columns,
               CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(x.grantee)) END AS grantee, x.is_grantable
        FROM aclexplode(coalesce(old.relacl, acldefault('r', old.owner::regrole))) x
        UNION ALL
        SELECT x.privilege_type, format(' (%I)', a.attname),
               CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(x.grantee)) END, x.is_grantable
        FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
        EXECUTE format('GRANT %s%s ON %s TO %s%s', entry.privilege_type, entry.columns, fresh::regclass, entry.grantee,
                       CASE WHEN entry.is_grantable AND entry.grantee <> 'PUBLIC' THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
    EXECUTE format('COMMENT ON TABLE %s IS %L', fresh::regclass, old.comment);

    -- Indexes were made in the order of the old ones, those of a kind beside each other.
    WITH indexes AS (
        SELECT i.indrelid, c.relname,
               row_number() OVER (
                   PARTITION BY i.indrelid, i.indisprimary, i.indisunique, substring(pg_get_indexdef(c.oid) FROM ' USING .*$')
                   ORDER BY c.oid) AS nth,
               i.indisprimary, i.indisunique, substring(pg_get_indexdef(c.oid) FROM ' USING .*$') AS definition
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid IN (target, fresh)
    )
    SELECT array_agg(ARRAY[f.relname::text, o.relname::text])
    INTO renamed
    FROM indexes f JOIN indexes o USING (nth, indisprimary, indisunique, definition)
    WHERE f.indrelid = fresh AND o.indrelid = target AND f.relname <> o.relname;

    EXECUTE format('DROP TABLE %s', target);
    EXECUTE format('ALTER TABLE %I.%I RENAME TO %I', old.nspname, twin, old.relname);
    IF renamed IS NOT NULL THEN
        FOREACH pair SLICE 1 IN ARRAY renamed LOOP
            EXECUTE format('ALTER INDEX %I.%I RENAME TO %I', old.nspname, pair[1], pair[2]);
        END LOOP;
    END IF;
END
$$;

COMMENT ON FUNCTION cqrs.swap_twin(regclass, text) IS
    'Puts the twin in the place of the target, with its name, grants, comment and names of indexes, and drops the target. Called by cqrs.run_rebuild. NB128: there is no such table, or the target has something that the twin would lose.';

CREATE FUNCTION cqrs.drop_twin(schema_name text, twin text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Somebody may have dropped it before.
    IF to_regclass(format('%I.%I', schema_name, twin)) IS NOT NULL THEN
        EXECUTE format('DROP TABLE %I.%I', schema_name, twin);
    END IF;
END
$$;

COMMENT ON FUNCTION cqrs.drop_twin(text, text) IS
    'Drops the table that a projection was being rebuilt into. Called by cqrs.cancel_rebuild and drop_projection.';

SELECT pg_catalog.pg_extension_config_dump('cqrs.projections', '');

SELECT pg_catalog.pg_extension_config_dump('cqrs.projections_projection_no_seq', '');

CREATE VIEW cqrs.customer_balances AS
SELECT
    a.customer_id,
    a.currency_code,
    pg_catalog.count(*)::integer AS accounts,
    coalesce(pg_catalog.sum(a.current_balance) FILTER (WHERE a.normal_side = 'C'), 0) AS deposits,
    coalesce(pg_catalog.sum(a.current_balance) FILTER (WHERE a.normal_side = 'D'), 0) AS debts,
    pg_catalog.sum(CASE a.normal_side WHEN 'C' THEN a.current_balance ELSE -a.current_balance END) AS balance
FROM banking.account_balances a
WHERE a.customer_id IS NOT NULL
GROUP BY a.customer_id, a.currency_code;

COMMENT ON VIEW cqrs.customer_balances IS
    'What each customer has in each currency, at the reader''s snapshot. Amounts of different currencies are never added.';

COMMENT ON COLUMN cqrs.customer_balances.accounts IS 'The customer''s accounts in the currency, closed ones too.';

COMMENT ON COLUMN cqrs.customer_balances.deposits IS
    'The sum of the balances that the bank owes the customer (normal side C); below zero by what is overdrawn.';

COMMENT ON COLUMN cqrs.customer_balances.debts IS
    'The sum of the balances that the customer owes the bank (normal side D: loans, credit cards).';

COMMENT ON COLUMN cqrs.customer_balances.balance IS 'deposits less debts.';

CREATE VIEW cqrs.customer_summary AS
SELECT
    c.customer_id,
    c.first_name || ' ' || c.last_name AS customer_name,
    t.accounts AS total_accounts,
    CASE WHEN t.currencies > 1 THEN NULL ELSE coalesce(t.balance, 0) END AS total_balance,
    (SELECT pg_catalog.max(cqrs.last_transaction_date(a.account_id))
     FROM banking.accounts a WHERE a.customer_id = c.customer_id) AS last_transaction_date,
    r.risk_score,
    greatest(
        c.updated_at, r.set_at,
        (SELECT pg_catalog.max(greatest(a.updated_at, (SELECT pg_catalog.max(s.updated_at) FROM banking.account_slots s
                                                       WHERE s.account_id = a.account_id)))
         FROM banking.accounts a WHERE a.customer_id = c.customer_id)
    ) AS updated_at,
    CASE WHEN t.currencies = 1 THEN t.currency_code END::char(3) AS currency_code,
    t.balances,
    c.tenant_no
FROM banking.customers c
LEFT JOIN cqrs.risk_scores r ON r.customer_id = c.customer_id
CROSS JOIN LATERAL (
    SELECT
        coalesce(pg_catalog.sum(b.accounts), 0)::integer AS accounts,
        pg_catalog.count(*) AS currencies,
        pg_catalog.sum(b.balance) AS balance,
        pg_catalog.max(b.currency_code) AS currency_code,
        coalesce(pg_catalog.jsonb_object_agg(b.currency_code, b.balance), '{}') AS balances
    FROM cqrs.customer_balances b
    WHERE b.customer_id = c.customer_id
) t;

COMMENT ON VIEW cqrs.customer_summary IS
    'One row per customer, exact at the reader''s snapshot: postings pay nothing for it, and nothing has to be refreshed.';

COMMENT ON COLUMN cqrs.customer_summary.customer_name IS 'First and last name.';

COMMENT ON COLUMN cqrs.customer_summary.total_accounts IS 'All of the customer''s accounts, closed ones too.';

COMMENT ON COLUMN cqrs.customer_summary.total_balance IS
    'What the accounts hold together, in currency_code: what the bank owes the customer less what the customer owes (loans, credit cards). 0 without accounts. Null where they are in several currencies: then there is no such sum, and balances has one for each.';

COMMENT ON COLUMN cqrs.customer_summary.last_transaction_date IS
    'The latest effective time of any posting on any of the accounts (transaction_date of banking.transactions); null without postings.';

COMMENT ON COLUMN cqrs.customer_summary.risk_score IS 'As cqrs.set_risk_score set it; null until then.';

COMMENT ON COLUMN cqrs.customer_summary.updated_at IS
    'When the customer, the risk score or any of the accounts last changed.';

COMMENT ON COLUMN cqrs.customer_summary.currency_code IS 'The currency of all accounts; null where there are several or none.';

COMMENT ON COLUMN cqrs.customer_summary.balances IS
    'balance of cqrs.customer_balances by currency: {"EUR": 10.00, "JPY": 500}.';

CREATE VIEW cqrs.account_activity AS
SELECT
    a.account_id,
    a.account_number,
    c.first_name || ' ' || c.last_name AS customer_name,
    a.current_balance,
    a.available_balance,
    cqrs.transaction_count(a.account_id, pg_catalog.now() - '720 hours'::interval)::integer AS transaction_count_30d,
    pg_catalog.round(
        cqrs.amount_total(a.account_id) / nullif(cqrs.transaction_count(a.account_id), 0), k.exponent
    ) AS average_transaction_amount,
    cqrs.last_activity(a.account_id) AS last_activity,
    (SELECT greatest(o.updated_at, pg_catalog.max(s.updated_at))
     FROM banking.accounts o
     LEFT JOIN banking.account_slots s ON s.account_id = o.account_id
     WHERE o.account_id = a.account_id
     GROUP BY o.updated_at) AS updated_at,
    a.currency_code,
    cqrs.transaction_count(a.account_id) AS transaction_count,
    pg_catalog.round(
        cqrs.amount_total(a.account_id, pg_catalog.now() - '720 hours'::interval)
            / nullif(cqrs.transaction_count(a.account_id, pg_catalog.now() - '720 hours'::interval), 0),
        k.exponent
    ) AS average_transaction_amount_30d,
    a.customer_id,
    a.tenant_no
FROM banking.account_balances a
JOIN banking.customers c ON c.customer_id = a.customer_id
JOIN banking.currencies k ON k.currency_code = a.currency_code;

COMMENT ON VIEW cqrs.account_activity IS
    'One row per account of a customer, exact at the reader''s snapshot. Columns that are not asked for cost nothing. cqrs.refresh_activity makes the averages of accounts with many postings quick; it changes no figure.';

COMMENT ON COLUMN cqrs.account_activity.customer_name IS 'First and last name.';

COMMENT ON COLUMN cqrs.account_activity.current_balance IS 'As banking.account_balances has it, slotted accounts too.';

COMMENT ON COLUMN cqrs.account_activity.available_balance IS 'current_balance less what open holds set aside.';

COMMENT ON COLUMN cqrs.account_activity.transaction_count_30d IS
    'Postings on the account, debits and credits, that were recorded in the 720 hours before this transaction began: a rolling window, not whole days. A backdated posting counts when it is recorded; each leg and each reversal counts as one.';

COMMENT ON COLUMN cqrs.account_activity.average_transaction_amount IS
    'The mean amount of all postings on the account, debits and credits alike, rounded to the decimals of the currency; null without postings.';

COMMENT ON COLUMN cqrs.account_activity.last_activity IS 'When the last posting was recorded; null without postings.';

COMMENT ON COLUMN cqrs.account_activity.updated_at IS 'When the account, or one of its slots, last changed.';

COMMENT ON COLUMN cqrs.account_activity.transaction_count IS 'All postings on the account.';

COMMENT ON COLUMN cqrs.account_activity.average_transaction_amount_30d IS
    'The mean amount of the postings that transaction_count_30d counts; null without any.';

CREATE TABLE event_store.ledger_publications (
    publication integer PRIMARY KEY,
    stream_id uuid NOT NULL,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    accounts bigint NOT NULL DEFAULT 0,
    last_account uuid,
    first_position bigint,
    last_position bigint,
    opened_position bigint,
    opened_at timestamptz,
    closed_position bigint,
    closed_at timestamptz,
    state text NOT NULL CHECK (state IN ('preparing', 'on', 'off')),
    started_by text NOT NULL,
    opened_by text,
    closed_by text
);

COMMENT ON TABLE event_store.ledger_publications IS
    'When the ledger''s postings were published as events. Written by event_store.publish_ledger and prepare_ledger_publication only (NB009).';

COMMENT ON COLUMN event_store.ledger_publications.stream_id IS
    'The aggregate whose events PublicationOpened and PublicationClosed are its beginning and end.';

COMMENT ON COLUMN event_store.ledger_publications.accounts IS
    'How many accounts were brought forward; one that changed between its preparation and the opening counts twice.';

COMMENT ON COLUMN event_store.ledger_publications.last_account IS 'The last account that was brought forward: they go by ascending id.';

COMMENT ON COLUMN event_store.ledger_publications.first_position IS
    'The first of its events: balances cannot be rebuilt without those from here on.';

COMMENT ON COLUMN event_store.ledger_publications.last_position IS 'The last BalanceBroughtForward so far.';

COMMENT ON COLUMN event_store.ledger_publications.opened_position IS
    'PublicationOpened: what is brought forward is below, the postings are above.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON event_store.ledger_publications
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_ledger ON event_store.ledger_publications IS
    'Keeps what is published to the functions that see to it (NB009).';

CREATE TRIGGER guard_loaded
    AFTER INSERT ON event_store.ledger_publications
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_loaded ON event_store.ledger_publications IS
    'Tells sessions that are open what a restore has loaded.';

ALTER TABLE event_store.ledger_publications ENABLE ALWAYS TRIGGER guard_ledger;

ALTER TABLE event_store.ledger_publications ENABLE ALWAYS TRIGGER guard_loaded;

CREATE VIEW event_store.ledger_publication AS
SELECT
    p.publication,
    p.state,
    p.accounts,
    p.opened_position,
    p.opened_at,
    p.opened_by,
    p.closed_position,
    p.closed_at,
    p.closed_by,
    (
        SELECT count(*)
        FROM event_store.events e
        WHERE e.aggregate_type = 'LedgerTransaction'
          AND e.global_position > p.opened_position
          AND e.global_position < coalesce(p.closed_position, 9223372036854775807)
    ) AS events
FROM event_store.ledger_publications p;

COMMENT ON VIEW event_store.ledger_publication IS
    'Each time that the ledger was published: since when, by whom, from which position, how many accounts were brought forward and how many postings'' events there are.';

CREATE FUNCTION event_store.ledger_balances(as_of_position bigint DEFAULT NULL)
RETURNS TABLE (account_id uuid, currency_code text, balance numeric, postings bigint)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10000
BEGIN ATOMIC
    WITH opened AS (
        SELECT e.global_position AS at, e.event_data -> 'publication' AS publication
        FROM event_store.events e
        WHERE e.aggregate_type = 'LedgerPublication'
          AND e.event_type = 'PublicationOpened'
          AND e.global_position <= coalesce(as_of_position, 9223372036854775807)
        ORDER BY e.global_position DESC
        LIMIT 1
    ), brought AS (
        SELECT DISTINCT ON (e.event_data ->> 'account_id')
            (e.event_data ->> 'account_id')::uuid AS account_id,
            e.event_data ->> 'currency' AS currency_code,
            (e.event_data ->> 'balance')::numeric AS change
        FROM opened o
        JOIN event_store.events e
            ON e.aggregate_type = 'LedgerOpening'
           AND e.global_position < o.at
           AND e.event_data -> 'publication' = o.publication
        ORDER BY e.event_data ->> 'account_id', e.global_position DESC
    ), posted AS (
        SELECT side.account_id, e.event_data ->> 'currency' AS currency_code, side.change
        FROM opened o
        JOIN event_store.events e
            ON e.aggregate_type = 'LedgerTransaction'
           AND e.global_position > o.at
           AND e.global_position <= coalesce(as_of_position, 9223372036854775807)
        CROSS JOIN LATERAL (
            VALUES
                ((e.event_data ->> 'debit_account')::uuid, (e.event_data ->> 'debit_change')::numeric),
                ((e.event_data ->> 'credit_account')::uuid, (e.event_data ->> 'credit_change')::numeric)
        ) side (account_id, change)
    )
    SELECT c.account_id, c.currency_code, sum(c.change), sum(c.posting)::bigint
    FROM (
        SELECT b.account_id, b.currency_code, b.change, 0 AS posting FROM brought b
        UNION ALL
        SELECT p.account_id, p.currency_code, p.change, 1 FROM posted p
    ) c
    GROUP BY c.account_id, c.currency_code;
END;

COMMENT ON FUNCTION event_store.ledger_balances(bigint) IS
    'What each account holds by the events alone: what the last publication at that position brought forward, and its postings to there. as_of_position: the last position that counts, null: all that is committed. Equal to banking.account_balances in the same snapshot while the ledger is published; after it was switched off, as it was then. An account that was opened since and has no posting has no row. postings: its legs since the opening.';

CREATE FUNCTION event_store.check_ledger_events()
RETURNS TABLE (account_id uuid, by_events numeric, by_ledger numeric, wrong_events bigint)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 10
BEGIN ATOMIC
    WITH since AS MATERIALIZED (
        SELECT event_store.ledger_published_since() AS at
    ), by_ledger AS (
        SELECT a.account_id,
               coalesce(a.current_balance,
                        (SELECT sum(s.balance) FROM banking.account_slots s WHERE s.account_id = a.account_id)) AS balance
        FROM banking.accounts a
    ), wrong AS (
        SELECT side.account_id, count(*) AS events
        FROM since
        JOIN event_store.events e ON e.aggregate_type = 'LedgerTransaction' AND e.global_position > since.at
        LEFT JOIN txn_processing.movements m
            ON m.transaction_id = (e.event_data ->> 'transaction_id')::uuid AND m.leg = (e.event_data ->> 'leg')::smallint
        CROSS JOIN LATERAL (
            VALUES ((e.event_data ->> 'debit_account')::uuid), ((e.event_data ->> 'credit_account')::uuid)
        ) side (account_id)
        WHERE m.debit_account IS DISTINCT FROM (e.event_data ->> 'debit_account')::uuid
           OR m.credit_account IS DISTINCT FROM (e.event_data ->> 'credit_account')::uuid
           OR m.amount IS DISTINCT FROM (e.event_data ->> 'amount')::numeric
           OR m.amount IS DISTINCT FROM abs((e.event_data ->> 'debit_change')::numeric)
           OR m.amount IS DISTINCT FROM abs((e.event_data ->> 'credit_change')::numeric)
           OR m.currency_code IS DISTINCT FROM e.event_data ->> 'currency'
        GROUP BY side.account_id
    )
    SELECT coalesce(l.account_id, e.account_id, w.account_id), e.balance, l.balance, coalesce(w.events, 0)
    FROM since
    CROSS JOIN (
        event_store.ledger_balances() e
        FULL JOIN by_ledger l ON l.account_id = e.account_id
        FULL JOIN wrong w ON w.account_id = coalesce(l.account_id, e.account_id)
    )
    WHERE coalesce(e.balance, 0) IS DISTINCT FROM l.balance OR w.events > 0;
END;

COMMENT ON FUNCTION event_store.check_ledger_events() IS
    'Accounts on which the events of the publication that is on and the ledger differ, at one moment, whoever posts meanwhile; none where all is right. by_events, by_ledger: the balances; wrong_events: events since then that say something else than their posting. NB130: the ledger is not published.';

CREATE PROCEDURE event_store.run_ledger_publication(max_accounts integer DEFAULT 10000)
LANGUAGE plpgsql
AS $$
DECLARE
    is_done boolean;
BEGIN
    LOOP
        SET LOCAL search_path = pg_catalog, pg_temp;
        is_done := event_store.prepare_ledger_publication(run_ledger_publication.max_accounts) = 0;
        COMMIT;
        EXIT WHEN is_done;
    END LOOP;
    SET LOCAL search_path = pg_catalog, pg_temp;
    PERFORM event_store.publish_ledger(true);
    COMMIT;
END
$$;

COMMENT ON PROCEDURE event_store.run_ledger_publication(integer) IS
    'Publishes the ledger of a bank with many accounts: calls event_store.prepare_ledger_publication, max_accounts (1 to 100,000) at a time, and commits after each call, so that other sessions see in event_store.ledger_publication how far it is; then event_store.publish_ledger(true). May be stopped and called again. Errors: of both; 2D000 inside a transaction block.';

SELECT pg_catalog.pg_extension_config_dump('event_store.ledger_publications', '');

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

COMMENT ON TABLE event_store.subscriptions IS
    'Who is to get which events. Written by event_store.create_subscription, alter_subscription and drop_subscription.';

COMMENT ON COLUMN event_store.subscriptions.partitions IS
    'A stream belongs to one of them (event_store.stream_partition); as many consumers can have events at once.';

COMMENT ON COLUMN event_store.subscriptions.parked_blocks IS
    'Whether the later events of a stream wait for its parked one to be replayed or discarded.';

COMMENT ON COLUMN event_store.subscriptions.aggregate_types IS 'Only events of these; null: of all.';

COMMENT ON COLUMN event_store.subscriptions.event_types IS 'Only events of these; null: of all.';

COMMENT ON COLUMN event_store.subscriptions.tags IS 'Only events that have all of these; null: all events.';

CREATE TABLE event_store.subscription_partitions (
    subscription text COLLATE "C" NOT NULL,
    partition_no integer NOT NULL,
    position bigint NOT NULL CHECK (position >= 0),
    lease_token bigint,
    PRIMARY KEY (subscription, partition_no)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

COMMENT ON TABLE event_store.subscription_partitions IS
    'How far each partition of a subscription has come. Who holds a row''s lock, or its lease, has the partition''s streams for itself.';

COMMENT ON COLUMN event_store.subscription_partitions.position IS
    'Every event of the partition up to here is handled, or in flight (event_store.subscription_leases), or its stream is in event_store.subscription_streams.';

COMMENT ON COLUMN event_store.subscription_partitions.lease_token IS 'Whose events are in flight; null: none.';

CREATE TABLE event_store.subscription_streams (
    subscription text COLLATE "C" NOT NULL,
    aggregate_id uuid NOT NULL,
    retry_at timestamptz NOT NULL,
    lease_token bigint,
    failed_token bigint,
    partition_no integer NOT NULL,
    next_version integer NOT NULL CHECK (next_version > 0),
    attempts integer NOT NULL CHECK (attempts >= 0),
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

COMMENT ON TABLE event_store.subscription_streams IS
    'Streams with an event that failed: they are handed out by themselves until they have caught up with their partition.';

COMMENT ON COLUMN event_store.subscription_streams.next_version IS 'The first version that is neither handled nor parked.';

COMMENT ON COLUMN event_store.subscription_streams.attempts IS 'How often the next event has failed.';

COMMENT ON COLUMN event_store.subscription_streams.blocked IS 'An event of it is parked, and the others wait for that.';

COMMENT ON COLUMN event_store.subscription_streams.alone IS
    'Its next event is handed out with no other, so that a consumer that dies again shows whose fault it is.';

COMMENT ON COLUMN event_store.subscription_streams.failed_token IS 'The lease in which the next event failed last.';

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

COMMENT ON TABLE event_store.subscription_parked IS
    'Events that were given up after the most attempts, until they are replayed or discarded. See event_store.parked_events.';

COMMENT ON COLUMN event_store.subscription_parked.replaying IS 'It is to be handed out once more.';

COMMENT ON COLUMN event_store.subscription_parked.lease_token IS 'The lease in which it was parked.';

CREATE SEQUENCE event_store.lease_token_seq;

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

COMMENT ON TABLE event_store.subscription_consumers IS
    'Who fetches, so that each consumer takes its share of the partitions. Forgotten a day after it was seen last.';

COMMENT ON COLUMN event_store.subscription_consumers.seen_at IS 'When it fetched last, to the second.';

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

COMMENT ON VIEW event_store.parked_events IS
    'Events that were given up: attempts, the reason of the last failure, consumer (who had it), replaying (event_store.replay_parked was called for it), blocks (the stream''s later events wait for it).';

SELECT pg_catalog.pg_extension_config_dump('event_store.subscriptions', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_partitions', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_streams', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_parked', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_leases', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_consumers', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.lease_token_seq', '');

CREATE TABLE event_store.retention_rules (
    aggregate_type varchar(100) PRIMARY KEY,
    keep interval NOT NULL,
    keep_state boolean NOT NULL,
    set_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    set_by text NOT NULL
);

COMMENT ON TABLE event_store.retention_rules IS
    'How long the events of a type are kept; those of a type without a rule, for ever. Set by event_store.set_retention.';

COMMENT ON COLUMN event_store.retention_rules.keep_state IS
    'Whether the state that deleted events led to is kept in their tombstone.';

CREATE TABLE event_store.tombstones (
    aggregate_id uuid NOT NULL,
    from_position bigint NOT NULL,
    to_position bigint NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
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

COMMENT ON TABLE event_store.tombstones IS
    'What event_store.apply_retention has deleted: which events of which stream, by which rule, when and by whom. Append-only (NB009).';

COMMENT ON COLUMN event_store.tombstones.events IS 'How many: from_version to to_version without gap.';

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

COMMENT ON FUNCTION event_store.chain_event(bytea, event_store.events) IS
    'One step of event_store.events_hash. before: the hash of the events before, empty at first; event: the next one. sha256 of both, the event as the text of the jsonb array of event_id, aggregate_id, global_position, created_at in microseconds since 1970, event_version, aggregate_type, event_type, created_by, event_data, metadata and tags.';

CREATE AGGREGATE event_store.events_hash(event event_store.events) (
    SFUNC = event_store.chain_event,
    STYPE = bytea,
    INITCOND = '\x',
    PARALLEL = SAFE
);

COMMENT ON AGGREGATE event_store.events_hash(event_store.events) IS
    'The hash of events one after the other, ordered by event_version. Of an archive with the same columns: SELECT event_store.events_hash(ROW(a.*)::event_store.events ORDER BY a.event_version) FROM archive a.';

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

COMMENT ON FUNCTION event_store.lowest_needed_position() IS
    'The position below which everybody who reads through the event store has seen all events; the highest there is where nobody is behind. Retention deletes nothing from there on.';

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

COMMENT ON PROCEDURE event_store.run_retention(integer) IS
    'Calls event_store.apply_retention, max_events (1 to 100,000) at a time, until nothing is left that it could delete or other sessions hold the rest, and commits after each call. Errors: as apply_retention; 2D000 inside a transaction block.';

SELECT pg_catalog.pg_extension_config_dump('event_store.retention_rules', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.tombstones', '');

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

ALTER TABLE event_store.reducers REPLICA IDENTITY FULL;

COMMENT ON TABLE event_store.reducers IS
    'What events do to the state of their aggregate. Written by event_store.define_reducer and drop_reducer (NB009).';

COMMENT ON COLUMN event_store.reducers.aggregate_type IS 'Null: any.';

COMMENT ON COLUMN event_store.reducers.event_type IS 'Null: any that has no reducer of its own.';

COMMENT ON COLUMN event_store.reducers.handler IS
    'The function (state jsonb, event event_store.events) returning jsonb, by its name: looked up when it is called.';

CREATE TABLE event_store.snapshots (
    aggregate_id uuid NOT NULL,
    generation uuid NOT NULL,
    version integer NOT NULL,
    bytes integer NOT NULL,
    kept boolean NOT NULL,
    state jsonb NOT NULL,
    PRIMARY KEY (aggregate_id, version)
);

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

UPDATE txn_processing.transaction_queue SET max_retries = CASE WHEN max_retries < 0 THEN 0 ELSE 100 END
WHERE NOT max_retries BETWEEN 0 AND 100;

ALTER TABLE txn_processing.transaction_queue
    ADD CONSTRAINT transaction_queue_max_retries_check CHECK (max_retries BETWEEN 0 AND 100);

DELETE FROM neobank.access_rights;

INSERT INTO neobank.access_rights (access_level, privileges, object_kind, object_name) VALUES
    ('reader', 'USAGE', 'SCHEMA', 'neobank'),
    ('reader', 'USAGE', 'SCHEMA', 'banking'),
    ('reader', 'USAGE', 'SCHEMA', 'txn_processing'),
    ('reader', 'USAGE', 'SCHEMA', 'event_store'),
    ('reader', 'USAGE', 'TYPE', 'banking.account_status'),
    ('reader', 'USAGE', 'TYPE', 'txn_processing.txn_type'),
    ('reader', 'USAGE', 'TYPE', 'txn_processing.txn_status'),
    ('reader', 'SELECT', 'TABLE', 'banking.tenants'),
    ('reader', 'SELECT', 'TABLE', 'banking.currencies'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_types'),
    ('reader', 'SELECT', 'TABLE', 'banking.customers'),
    ('reader', 'SELECT', 'TABLE', 'banking.accounts'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_slots'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_balances'),
    ('reader', 'SELECT', 'TABLE', 'banking.balance_mode_changes'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_status_changes'),
    ('reader', 'SELECT', 'TABLE', 'banking.transactions'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.movements'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.backdated_entries'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.ledger'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_limits'),
    ('reader', 'SELECT', 'TABLE', 'banking.limit_changes'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.limit_usage'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.hold_rules'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.holds'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.hold_captures'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.account_holds'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.transaction_queue'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.disputes'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.dispute_postings'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.dispute_policies'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_rates'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_transfers'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_residues'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_sweeps'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_positions'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.fx_rate_at'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.fx_gains'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.transaction_queue_attempts'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.queue_status'),
    ('reader', 'SELECT', 'TABLE', 'neobank.posting_path'),
    ('reader', 'EXECUTE', 'FUNCTION', 'neobank.uuid_v7'),
    ('reader', 'EXECUTE', 'FUNCTION', 'neobank.posting_path_in_force'),
    ('reader', 'EXECUTE', 'FUNCTION', 'banking.account_number_is_valid'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.generated_reference'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.statement'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.balance_as_of'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.transaction'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.trial_balance'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.daily_reconciliation'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.clearing_items'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.clearing_positions'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batch_errors'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batch_items'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batch_totals'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batches'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batches_status'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.settlement_report'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.settlement_runs'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.settlements'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.external_lines'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.external_statements'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciled_accounts'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciliation_match_lines'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciliation_match_postings'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciliation_matches'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciliation_rules'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.reconciliation_breaks'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.reconciliation_summary'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_rules'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_tiers'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_positions'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_accruals'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_capitalisations'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_accrued'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.daily_runs'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.run_refusals'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fee_schedules'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fee_tiers'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fees_charged'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.fee_for'),
    ('reader', 'SELECT', 'TABLE', 'event_store.streams'),
    ('reader', 'SELECT', 'TABLE', 'event_store.events'),
    ('reader', 'SELECT', 'TABLE', 'event_store.position_base'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.safe_position'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.page_size'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.read_stream'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.read_category'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.read_all'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.get_aggregate_state'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.get_aggregate_state_at'),
    ('reader', 'SELECT', 'TABLE', 'event_store.reducers'),
    ('reader', 'SELECT', 'TABLE', 'event_store.snapshots'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscriptions'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_partitions'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_streams'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_parked'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_leases'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_consumers'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_lag'),
    ('reader', 'SELECT', 'TABLE', 'event_store.parked_events'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.stream_partition'),
    ('reader', 'SELECT', 'TABLE', 'event_store.ledger_publications'),
    ('reader', 'SELECT', 'TABLE', 'event_store.ledger_publication'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.ledger_stream'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.ledger_published_since'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.ledger_balances'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.check_ledger_events'),
    ('reader', 'SELECT', 'TABLE', 'event_store.retention_rules'),
    ('reader', 'SELECT', 'TABLE', 'event_store.tombstones'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.lowest_needed_position'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.chain_event'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.events_hash'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.publish_ledger'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.prepare_ledger_publication'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'event_store.run_ledger_publication'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.set_retention'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.apply_retention'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'event_store.run_retention'),
    ('reader', 'USAGE', 'SCHEMA', 'cqrs'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.customer_summary'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.customer_balances'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.account_activity'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.activity_marks'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.risk_scores'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.transaction_count'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.amount_total'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.last_activity'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.last_transaction_date'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.commands'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.command_events'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.command_handlers'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.command_result'),
    ('teller', 'INSERT (command_id, command_type, aggregate_type, aggregate_id, payload, max_attempts, correlation_id)', 'TABLE', 'cqrs.commands'),
    ('teller', 'EXECUTE', 'FUNCTION', 'cqrs.submit_command'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.process_commands'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.projections'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.projection_status'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.run_projection'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.pause_projection'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.resume_projection'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.rebuild_projection'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.run_rebuild'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.cancel_rebuild'),
    ('teller', 'EXECUTE', 'FUNCTION', 'cqrs.update_customer_summary'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.refresh_activity'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.set_risk_score'),
    ('teller', 'INSERT, UPDATE', 'TABLE', 'banking.customers'),
    ('teller', 'USAGE', 'SEQUENCE', 'banking.customer_number_seq'),
    ('teller', 'INSERT (request_id, transaction_type, source_account_id, destination_account_id, amount, currency_code, priority, idempotency_key, request_data, max_retries, expires_at)', 'TABLE', 'txn_processing.transaction_queue'),
    ('teller', 'EXECUTE', 'FUNCTION', 'banking.create_customer'),
    ('teller', 'EXECUTE', 'FUNCTION', 'banking.open_account'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.transfer'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.transfer_fx'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.open_dispute'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.deposit'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.withdraw'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.pay'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.refund'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.place_hold'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.capture_hold'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.release_hold'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.capture_hold_group'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.release_hold_group'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.validate'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.post_transfers'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.post_batch'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_transfer'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_deposit'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_withdrawal'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_payment'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.enqueue'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.create_payment_batch'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.pay_bank'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.receive_from_bank'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.transfer_with_fee'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.append_event'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.append_events'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.append_events_if'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.define_reducer'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.drop_reducer'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.take_snapshot'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.fetch'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.ack'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.nack'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.extend_lease'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.create_subscription'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.alter_subscription'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.reset_subscription'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.drop_subscription'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.replay_parked'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.discard_parked'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.process_transaction'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.resolve_dispute'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_dispute_policy'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_fx_rate'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.sweep_fx_residues'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.process_queue'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.charge_fee'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.credit_interest'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.adjust'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.reverse'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.reverse_transaction'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_account_status'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_overdraft_limit'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_balance_mode'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.expire_holds'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_hold_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_account_limit'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_type_limit'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.close_account'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.update_account_optimistic'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.create_tenant'),
    ('operator', 'SELECT', 'TABLE', 'neobank.guard_log'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.cancel_payment_batch'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.process_payment_batch'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.retry_payment_batch'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'txn_processing.run_payment_batch'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.settle'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.import_external_statement'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.match_external_statement'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.manual_match'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.unmatch'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_reconciliation_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_interest_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_account_interest_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.end_account_interest_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.accrue_interest'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.capitalise_interest'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.settle_interest'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_fee_schedule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.apply_fee'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.charge_periodic_fees'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'txn_processing.run_interest_accrual'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'txn_processing.run_interest_capitalisation'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'txn_processing.run_periodic_fees');

CREATE OR REPLACE FUNCTION neobank.grant_usage(role name, level text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    levels CONSTANT text[] := ARRAY['reader', 'teller', 'operator'];
    rank CONSTANT integer := array_position(levels, level);
    entry neobank.access_rights;
BEGIN
    IF role IS NULL OR level IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN role IS NULL THEN 'role' ELSE 'level' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF rank IS NULL THEN
        RAISE EXCEPTION 'argument "level" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = format('There is no level %L.', left(level, 100)),
                  HINT = 'Levels are reader, teller and operator.';
    END IF;
    IF role = 'public' THEN
        RAISE EXCEPTION 'argument "role" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = 'PUBLIC is everybody, and gets nothing.', HINT = 'Name a role.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role
            USING ERRCODE = 'undefined_object', HINT = 'Create it first.';
    END IF;
    FOR entry IN
        SELECT r.* FROM neobank.access_rights r WHERE array_position(levels, r.access_level) <= rank
    LOOP
        -- Both parts of the name are constants of the install; the role is the only value, and it is quoted.
        EXECUTE format('GRANT %s ON %s %s TO %I', entry.privileges, entry.object_kind, entry.object_name, role);
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION neobank.revoke_usage(role name) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    entry neobank.access_rights;
BEGIN
    IF role IS NULL THEN
        RAISE EXCEPTION 'argument "role" must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF role = 'public' THEN
        RAISE EXCEPTION 'argument "role" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = 'PUBLIC has nothing that could be revoked.', HINT = 'Name a role.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role
            USING ERRCODE = 'undefined_object', HINT = 'There is nothing to revoke.';
    END IF;
    FOR entry IN SELECT r.* FROM neobank.access_rights r LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %I', entry.object_kind, entry.object_name, role);
    END LOOP;
END
$$;

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

COMMENT ON FUNCTION event_store.append_event IS
    'Appends one event to the stream of an aggregate. p_aggregate_type: 1 to 100 characters, kept from the first event on; p_aggregate_id; p_event_type: 1 to 100 characters; p_event_data: a JSON object of up to 1 MB and 64 levels; p_expected_version: the stream''s version as the caller knows it, 0: no stream, -1: a stream, null: any; p_metadata: a JSON object of up to 16 kB; p_event_id: the caller''s, so that a retry appends nothing and answers the same, null: drawn; p_tags: up to 20 different texts. Returns the event''s id. NB101: version; NB102: another type; NB103: id with other content; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION event_store.append_events IS
    'Appends 1 to 10,000 events to one stream, all or none. aggregate_type, aggregate_id, expected_version: as event_store.append_event; events: an array of objects with event_type and event_data, and optionally event_id, metadata and tags. Returns the stream''s new version; a retry with the same event_ids and content appends nothing and answers the version that they led to. NB101: version; NB102: another type; NB103: ids with other content, or only some of them; NB104: an event that is none; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION event_store.append_events_if IS
    'Appends as event_store.append_events does, provided that no event of any of event_types and with all of tags is there after after_position. aggregate_type, aggregate_id, events, expected_version: as there; after_position: the last position of what the caller decided on, read below event_store.safe_position(); event_types: 1 to 100, null: any; tags: 1 to 20, null: any or none; at least one of both is given. Calls wait for each other where the first of tags is the same; without tags every append waits. Returns the stream''s new version; a retry with the same event_ids is acknowledged whatever has come since. NB110: such an event is there; NB021: a bound, or a position that is not final yet; else as event_store.append_events.';

COMMENT ON FUNCTION event_store.get_aggregate_state IS
    'The aggregate''s events folded into one object with its version; {} where it has none. p_aggregate_id; p_up_to_version: the last event to fold, null: all. What an event does is what event_store.reducers has for it; without a reducer AccountOpened sets the state, FundsDeposited and FundsWithdrawn change balance by amount in exact decimals, AccountClosed sets status, any other event is merged key by key. NB105: an event that cannot be folded; NB107: a reducer''s function; NB021: a version below zero.';

COMMENT ON FUNCTION event_store.get_aggregate_state_at IS
    'The state up to the last event that was recorded at or before p_at (created_at), with all events before it, even where a clock that was set back gave one of them a later time; {} where there is none. p_aggregate_id; p_at. Errors as event_store.get_aggregate_state; 22004: null.';

COMMENT ON FUNCTION event_store.define_reducer IS
    'Declares what an event does to the state of its aggregate, in place of what was declared before. aggregate_type, event_type: 1 to 100 characters, null: any; those of the aggregate''s type go before those of any, among them one of the event''s type before that of any. operations: up to 100 objects in their order, each {set | merge | add | subtract | append | remove: path} with value (a constant) or from (a path in event_data) and optional (true: passed by where the event has no such thing), see docs/event_store.md; or handler: a function (state jsonb, event event_store.events) returning jsonb, called with the rights of whoever reads the state, to be defined by a member of the extension''s owner. NB106: an operation; NB107: the function; NB021: a bound, or none or both of them; 42501: a handler without the right.';

COMMENT ON FUNCTION event_store.drop_reducer IS
    'Takes a reducer away. aggregate_type, event_type: as it was defined. NB108: there is none.';

COMMENT ON FUNCTION event_store.take_snapshot IS
    'Takes a snapshot of an aggregate''s state at its version, as appending does once in a while: after reducers were defined anew or a database was restored. p_aggregate_id. Returns the version; null where there are no events, or reducers that are functions. NB105: an event that cannot be folded; 22004: null.';

COMMENT ON FUNCTION cqrs.transaction_count IS
    'How many postings, debits and credits, the account has. account_id: any account, slotted or not; since: only those recorded after that instant, null: all. Exact at the reader''s snapshot; takes about as many probes as the logarithm of their number. NB002: account; 22004: null.';

COMMENT ON FUNCTION cqrs.amount_total IS
    'What the amounts of the account''s postings add up to, debits and credits alike, in units of its currency. account_id; since: only those recorded after that instant, null: all. Exact at the reader''s snapshot; reads the postings that cqrs.refresh_activity has not marked yet. NB002: account; 22004: null.';

COMMENT ON FUNCTION cqrs.last_activity IS
    'When the account''s last posting was recorded; null without one. account_id. NB002: account; 22004: null.';

COMMENT ON FUNCTION cqrs.last_transaction_date IS
    'The latest effective time of any of the account''s postings, which is not that of the last one where that was backdated; null without one. account_id. NB002: account; 22004: null.';

COMMENT ON FUNCTION cqrs.refresh_activity IS
    'Makes the marks that let cqrs.account_activity and customer_summary tell long histories quickly; what they show stays the same. max_marks: how many this call makes, 1 to 100,000, of 256 postings each; call it until it answers 0. Returns how many it made. Any number of sessions may call it at once. NB021: max_marks; 22004: null.';

COMMENT ON FUNCTION cqrs.update_customer_summary IS
    'Makes all marks of one customer''s accounts, as cqrs.refresh_activity. cqrs.customer_summary is right without it. p_customer_id. NB014: customer; 22004: null.';

COMMENT ON FUNCTION cqrs.set_risk_score IS
    'customer_id; risk_score: a number of the application''s, shown in cqrs.customer_summary, null: none. NB014: customer; 22004: customer_id null.';

COMMENT ON FUNCTION cqrs.register_handler IS
    'Has a function carry out the commands of a type, in place of the one before. command_type: 1 to 100 characters; handler: a function (cqrs.commands) returns jsonb that the caller may execute; it is called with the rights of whoever submitted the command and search_path = pg_catalog; max_attempts: 1 to 100, of commands that do not say it. A handler is code that runs in others'' names: no level of neobank.grant_usage may register one. NB021: a bound; NB122: function; 22004: null.';

COMMENT ON FUNCTION cqrs.unregister_handler IS
    'Leaves the commands of a type without a handler: new ones are refused, pending ones fail. command_type. NB121: there is none; 22004: null.';

COMMENT ON FUNCTION cqrs.submit_command IS
    'Keeps a command, and has it carried out. command_type: one that has a handler; aggregate_type: 1 to 100 characters; payload: JSON of up to 1 MB and 64 levels; aggregate_id; command_id: the caller''s, so that a retry answers the first result, null: drawn; mode: immediate (the handler runs now, in this transaction, as the caller: an error of it is raised and undoes the command too) or queued (cqrs.process_commands or a background worker runs it); correlation_id: up to 200 characters, kept with it; max_attempts: 1 to 100, null: the handler''s. Returns what cqrs.command_result answers. NB120: id with other content; NB121: no handler; NB021: a bound; 22004: null; and what the handler raises.';

COMMENT ON FUNCTION cqrs.process_commands IS
    'Carries out pending commands that are due, the oldest first, each in a subtransaction with the rights of whoever submitted it. max_commands: 1 to 1,000. Any number of sessions may call it at once; a command is carried out once. A failure is kept with the command: tried again with growing delays after a serialization failure, deadlock, lock timeout or version conflict (NB101), up to its max_attempts, else failed for good. What says nothing about a command, a cancelled statement or a lack of memory or disk, is raised, and the call undone. Returns each command with its status, SQLSTATE and message. NB021: max_commands; NB029: not at READ COMMITTED; NB123: called by a handler; 22004: null.';

COMMENT ON SEQUENCE cqrs.projections_projection_no_seq IS 'Numbers of projections; gaps are possible.';

COMMENT ON FUNCTION cqrs.create_projection IS
    'Has a function keep a table from events. name: 1 to 100 characters; handler: a function (event event_store.events, target regclass) returns void that writes to the table it is given, called with the rights of that table''s owner and search_path = pg_catalog; target: a plain table of the caller''s; filter: {"aggregate_types": [...], "event_types": [...], "tags": [...]}, each optional, events must have one of the types and all of the tags; mode: async (cqrs.run_projection or a background worker applies all events from the first on, in their order, each once) or inline (each append applies its own events in its transaction, from now on, and fails where the handler fails; cqrs.rebuild_projection takes in the earlier ones). A handler is code that runs in others'' names: no level of neobank.grant_usage may make a projection. NB021: a bound; NB122: function; NB126: name taken; NB128: table; 22004: null.';

COMMENT ON FUNCTION cqrs.drop_projection IS
    'Ends a projection; its table stays, without further events. Waits for appends that are under way where it is inline. name. NB125: there is none; 22004: null.';

COMMENT ON FUNCTION cqrs.pause_projection IS
    'Stops a projection. An async one goes on with cqrs.resume_projection; an inline one misses what is appended meanwhile, so only a rebuild sets it going again: for a handler that makes appends fail. name. NB125: there is none; 22004: null.';

COMMENT ON FUNCTION cqrs.resume_projection IS
    'Lets a paused async projection go on where it was. name. NB125: there is none; NB127: it is inline; 22004: null.';

COMMENT ON FUNCTION cqrs.run_projection IS
    'Applies the next events to an async projection''s table and moves its position on, in one transaction: each event once, in their order, up to event_store.safe_position(). name; max_events: how many events to read, 1 to 100,000. Returns how many it has read, those that the filter leaves out too; null where another session is at it. An event that the handler fails on stops the projection there: those before it are applied, and cqrs.projection_status has the reason; the next call tries it again. NB021: max_events; NB125: there is none; NB127: it is inline or paused; NB128: its table is gone; 22004: null.';

COMMENT ON FUNCTION cqrs.rebuild_projection IS
    'Begins to build a projection anew from the first event, in an empty twin of its table, while the old table serves and is kept. Call cqrs.run_rebuild until it answers done. name. NB125: there is none; NB127: a rebuild is under way; NB128: the table has something that a twin would lose (triggers, foreign keys, views, policies, ...); 22004: null.';

COMMENT ON FUNCTION cqrs.run_rebuild IS
    'A step of a rebuild: replays events into the twin and, when there are no more, puts it in the table''s place with its name, owner, grants and comment. name; max_events: how many events to read, 1 to 100,000. Returns replaying (call it again), waiting (transactions are under way that began before; call it again later), busy (another session is at it) or done. The last step of an inline projection keeps appends out while it lasts, and waits for those that are under way: set lock_timeout. Raises what the handler raises, and then nothing of this step stays. NB021: max_events; NB029: not at READ COMMITTED; NB125: there is none; NB127: no rebuild is under way; NB128: as cqrs.rebuild_projection; 22004: null.';

COMMENT ON FUNCTION cqrs.cancel_rebuild IS
    'Ends a rebuild and drops its twin; the projection goes on as it was. name. NB125: there is none; NB127: no rebuild is under way; 22004: null.';

COMMENT ON FUNCTION event_store.page_size IS
    'The bound of a page: max_events itself, 1 to 100,000. NB021: outside of it; 22004: null.';

COMMENT ON FUNCTION event_store.stream_partition IS
    'The partition of a subscription that a stream belongs to, from 0. aggregate_id; partitions: how many the subscription has. The same for ever and on every machine; null for null.';

COMMENT ON FUNCTION event_store.create_subscription IS
    'Makes a subscription. name: 1 to 100 characters; filter: an object with aggregate_types, event_types (only events of these) and tags (only events that have all of them), each an array of 1 to 100 texts or left out; start: beginning, now, or a global position after which it begins; partitions: 1 to 256, the most consumers that have events at once, for good; max_attempts: after so many failures an event is parked, 1 to 1,000; backoff_first_ms, backoff_most_ms: the wait after the first failure, doubled with each further one, and its bound; lease_ms: how long a consumer may keep events; waits and leases to a week; parked_blocks: whether the later events of a stream wait for its parked one. NB114: the name is taken; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION event_store.alter_subscription IS
    'Changes settings of a subscription, as event_store.create_subscription takes them; null leaves one as it is. paused: fetches answer nothing while it is true. NB115: no such subscription; NB021: a bound.';

COMMENT ON FUNCTION event_store.reset_subscription IS
    'Has a subscription begin anew: every event after start that matches is handed out, again where it was before. What is in flight, waiting or parked is forgotten, and leases are lost. Waits for transactions that have fetched and not ended. start: beginning, now, or a global position. NB115: no such subscription; NB021: start.';

COMMENT ON FUNCTION event_store.drop_subscription IS
    'Takes a subscription away with all that it knows. Waits for transactions that have fetched and not ended. NB115: no such subscription.';

COMMENT ON FUNCTION event_store.fetch IS
    'Hands out the next events of a subscription, in stream order, and leases them to the consumer: columns of event_store.events, attempt (from 1), lease_token (what ack and nack want; a later lease of a stream has a higher one), leased_until. name; batch: 1 to 1,000; consumer: who asks, 1 to 100 characters. No other consumer gets events of these streams until each event is acknowledged, given back, or the lease runs out. Looks at up to 100,000 events for each of its shares and answers nothing if none matches. NB115: no such subscription; NB021: a bound; 22004: null; 40001: above READ COMMITTED, another consumer was first.';

COMMENT ON FUNCTION event_store.ack IS
    'Events of a lease are handled. name; lease_token; event_ids: which ones, up to 10,000, null: all that are open. Returns how many were open; again for the same lease it returns 0. NB115: no such subscription; NB116: the lease is lost; NB117: not an event of the lease; NB118: an earlier event of its stream is open; 22004: null.';

COMMENT ON FUNCTION event_store.nack IS
    'An event of a lease could not be handled; the later ones of its stream in the lease go back with it. name; lease_token; event_id; reason: 1 to 1,000 characters; retry_in_ms: the wait, to a week, null: the subscription''s backoff; park: give it up at once. Returns when it is handed out again, null: it is parked, which also max_attempts failures lead to. The same again returns the same. NB115: no such subscription; NB116: the lease is lost; NB117: not an event of the lease; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION event_store.extend_lease IS
    'Gives a consumer more time. name; lease_token; by_ms: from now on, to a week, null: the subscription''s lease_ms. Returns when the lease ends, never earlier than before. NB115: no such subscription; NB116: the lease is lost or all its events are settled; NB021: by_ms.';

COMMENT ON FUNCTION event_store.replay_parked IS
    'Has parked events handed out once more, with all attempts before them. name; event_ids: which ones, null: all, up to 10,000 in one call. Where parked events do not block, an event comes after later ones of its stream. Returns how many. NB115: no such subscription; NB119: an event is not parked; NB021: too many ids, or one null.';

COMMENT ON FUNCTION event_store.discard_parked IS
    'Gives parked events up for good; their streams go on. name; event_ids: up to 10,000. Returns how many. NB115: no such subscription; NB119: an event is not parked; NB021: too many ids, or one null; 22004: null.';

COMMENT ON FUNCTION event_store.publish_ledger IS
    'Switches the publishing of postings as events. publish: true: from its commit on every posting appends an event per leg in its own transaction, and what each account holds is brought forward as an event; false: no more. Waits for postings under way and keeps new ones waiting until its transaction ends, which is short once event_store.run_ledger_publication has prepared it. Returns the position of the event that says so, which all of the publication''s postings are above; what is so already is answered again; null where it never was on. 22004: null; 55P03: lock_timeout passed.';

COMMENT ON FUNCTION event_store.prepare_ledger_publication IS
    'Brings the next accounts forward ahead of event_store.publish_ledger(true), which writes again only those that have changed by then. max_accounts: 1 to 100,000. Locks no account and no posting. Returns how many, 0 once all are or while the ledger is published. NB021: max_accounts; 22004: null.';

COMMENT ON FUNCTION event_store.ledger_published_since IS
    'The position above which the events of postings are. NB130: the ledger is not published.';

COMMENT ON FUNCTION event_store.ledger_stream IS
    'The aggregate whose events are the legs of that posting. transaction_id; of an aggregate of type LedgerTransaction the same function answers the transaction. 22004: null.';

COMMENT ON FUNCTION event_store.set_retention IS
    'Sets how long events are kept. aggregate_type: 1 to 100 characters; keep: from 0 to 1000 years, null: for ever, which takes the rule away; keep_state: whether the state that deleted events led to is kept, so that event_store.get_aggregate_state goes on. Deletes nothing by itself. NB021: a bound; 22004: null.';

COMMENT ON FUNCTION event_store.apply_retention IS
    'Deletes events that are older than their type''s rule keeps them, the oldest of each stream first, and writes a row into event_store.tombstones for each stream. Kept are events that are not final in the reading order yet (event_store.safe_position()), that event_store.lowest_needed_position() says are needed, or that the published ledger''s balances rest on. max_events: 1 to 100,000. Streams that others write to or delete from are left for the next call. Returns the events and streams of this call, and whether nothing was left that it could have taken. NB105: a state that was to be kept cannot be folded; NB021: max_events; 22004: null.';

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
