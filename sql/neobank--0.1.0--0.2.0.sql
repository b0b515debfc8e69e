-- Made by scripts/upgrade-script out of two install scripts and sql/upgrade/0.1.0--0.2.0.sql: not to be edited.
\echo Use "ALTER EXTENSION neobank UPDATE TO '0.2.0'" to load this file. \quit

CREATE SCHEMA event_store;

COMMENT ON SCHEMA event_store IS 'Events of aggregates: appended, read in order, folded into state.';

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

CREATE  FUNCTION event_store."append_events"(
	"aggregate_type" TEXT, /* Option < Text > */
	"aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"events" jsonb, /* Option < JsonDatum > */
	"expected_version" INT DEFAULT NULL /* Option < i32 > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'append_events_wrapper';

CREATE  FUNCTION event_store."page_size"(
	"max_events" INT /* Option < i32 > */
) RETURNS INT /* i32 */
IMMUTABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'page_size_wrapper';

CREATE  FUNCTION event_store."get_aggregate_state"(
	"p_aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"p_up_to_version" INT DEFAULT NULL /* Option < i32 > */
) RETURNS jsonb /* JsonB */
STABLE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'get_aggregate_state_wrapper';

CREATE OR REPLACE  FUNCTION neobank."guard_ledger"(

) RETURNS trigger /* Triggered */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'guard_ledger_wrapper';

CREATE OR REPLACE  FUNCTION neobank."guard_accounts"(

) RETURNS trigger /* Triggered */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'guard_accounts_wrapper';

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

CREATE TABLE event_store.streams (
    aggregate_id uuid PRIMARY KEY,
    last_position bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    version integer NOT NULL CHECK (version >= 0),
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

COMMENT ON FUNCTION event_store.get_aggregate_state IS
    'The aggregate''s events folded into one object with its version; {} where it has none. p_aggregate_id; p_up_to_version: the last event to fold, null: all. AccountOpened sets the state, FundsDeposited and FundsWithdrawn change balance by amount in exact decimals, AccountClosed sets status, any other event is merged key by key. NB105: an amount that is none; NB021: a version below zero.';

COMMENT ON FUNCTION event_store.page_size IS
    'The bound of a page: max_events itself, 1 to 100,000. NB021: outside of it; 22004: null.';

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
