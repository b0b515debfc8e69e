-- Room on each page, so that a claim, which changes no indexed column, makes no index entries.
CREATE TABLE txn_processing.transaction_queue (
    request_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    transaction_type txn_processing.txn_type NOT NULL,
    source_account_id uuid,
    destination_account_id uuid,
    amount numeric NOT NULL,
    currency_code char(3) DEFAULT 'USD',
    priority integer NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 10),
    idempotency_key varchar(100) UNIQUE,
    request_data jsonb NOT NULL DEFAULT '{}',
    status varchar(20) NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'processing', 'completed', 'failed', 'expired')),
    retry_count integer NOT NULL DEFAULT 0,
    max_retries integer NOT NULL DEFAULT 3 CHECK (max_retries BETWEEN 0 AND 100),
    error_message text,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    processed_at timestamptz,
    expires_at timestamptz DEFAULT pg_catalog.now() + '1 hour'::interval,
    transaction_id uuid,
    requested_by text NOT NULL DEFAULT CURRENT_USER,
    error_code text,
    next_attempt_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    claim_token uuid,
    claimed_by text
) WITH (fillfactor = 70);
-- In the order in which requests are taken; the last column lets those that wait for a retry be passed over in the
-- index.
CREATE INDEX transaction_queue_ready_idx
    ON txn_processing.transaction_queue (priority, created_at, request_id, next_attempt_at)
    WHERE status = 'queued';
REVOKE ALL ON txn_processing.transaction_queue FROM PUBLIC;
COMMENT ON TABLE txn_processing.transaction_queue IS
    'Requests to post, carried out by txn_processing.process_queue, its background workers and process_transaction. Priority 1 is the highest, 10 the lowest. Make them with txn_processing.enqueue.';
COMMENT ON COLUMN txn_processing.transaction_queue.request_data IS
    'Metadata of the posting. Refund and reversal: original_transaction_id; adjustment and reversal: reason.';
COMMENT ON COLUMN txn_processing.transaction_queue.status IS
    'queued (also while it waits for a retry), completed, failed or expired. A claim and its outcome commit together, so processing is never seen.';
COMMENT ON COLUMN txn_processing.transaction_queue.retry_count IS 'Attempts that failed.';
COMMENT ON COLUMN txn_processing.transaction_queue.max_retries IS
    'How often a transient failure (lock timeout, deadlock, serialization, lack of resources) is tried again. A refusal is final.';
COMMENT ON COLUMN txn_processing.transaction_queue.requested_by IS
    'The role that asked: it must be allowed to execute the function of the same kind, or the request fails.';
COMMENT ON COLUMN txn_processing.transaction_queue.transaction_id IS 'What was posted; null until then.';
COMMENT ON COLUMN txn_processing.transaction_queue.error_code IS
    'The word of the last failure, as docs/errors.md lists them; null after a success.';
COMMENT ON COLUMN txn_processing.transaction_queue.next_attempt_at IS
    'txn_processing.process_queue leaves the request alone until then.';
COMMENT ON COLUMN txn_processing.transaction_queue.claim_token IS
    'Drawn for each claim; its outcome is written only to requests that still carry it. Kept when completed, null otherwise.';
COMMENT ON COLUMN txn_processing.transaction_queue.claimed_by IS 'Role and process id of the last claim.';

-- No foreign key: an attempt outlives the request that somebody prunes, and costs no check.
CREATE TABLE txn_processing.transaction_queue_attempts (
    request_id uuid NOT NULL,
    attempt integer NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('completed', 'retry', 'failed', 'expired')),
    code text NOT NULL,
    sqlstate text,
    message text,
    detail text,
    claim_token uuid NOT NULL,
    worker text NOT NULL,
    PRIMARY KEY (request_id, attempt)
);
REVOKE ALL ON txn_processing.transaction_queue_attempts FROM PUBLIC;
COMMENT ON TABLE txn_processing.transaction_queue_attempts IS
    'One row per attempt to carry out a request of txn_processing.transaction_queue whose transaction committed.';
COMMENT ON COLUMN txn_processing.transaction_queue_attempts.attempt IS 'Per request, from 1.';
COMMENT ON COLUMN txn_processing.transaction_queue_attempts.started_at IS
    'When the batch of which it was a part was begun.';
COMMENT ON COLUMN txn_processing.transaction_queue_attempts.outcome IS
    'completed, retry (a transient failure, to be tried again), failed (refused, or out of retries) or expired.';
COMMENT ON COLUMN txn_processing.transaction_queue_attempts.code IS
    'ok, or the word of the failure as docs/errors.md lists them.';
COMMENT ON COLUMN txn_processing.transaction_queue_attempts.sqlstate IS 'Of the failure; null for a success or an expiry.';
COMMENT ON COLUMN txn_processing.transaction_queue_attempts.claim_token IS 'The claim under which it was made.';
COMMENT ON COLUMN txn_processing.transaction_queue_attempts.worker IS 'Role and process id that made it.';

CREATE VIEW txn_processing.queue_status AS
SELECT
    q.status,
    q.transaction_type,
    pg_catalog.count(*) AS requests,
    pg_catalog.count(*) FILTER (
        WHERE q.status = 'queued' AND q.next_attempt_at <= pg_catalog.now()
    ) AS ready,
    pg_catalog.now() - pg_catalog.min(q.created_at) AS oldest_age,
    pg_catalog.min(q.next_attempt_at) FILTER (WHERE q.status = 'queued') AS next_attempt_at,
    pg_catalog.max(q.processed_at) AS last_processed_at
FROM txn_processing.transaction_queue q
GROUP BY q.status, q.transaction_type;
REVOKE ALL ON txn_processing.queue_status FROM PUBLIC;
COMMENT ON VIEW txn_processing.queue_status IS
    'The queue by status and type: how many requests, how many of them may be taken now, the age of the oldest, the next attempt that is due, the last one processed. Reads the whole queue.';

SELECT pg_catalog.pg_extension_config_dump('txn_processing.transaction_queue', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.transaction_queue_attempts', '');
