-- No foreign keys: only the extension's functions write here and none deletes; a check per item would cost half of what
-- the item does, and a restore would be bound to an order of the tables.
CREATE TABLE txn_processing.payment_batches (
    batch_id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    items integer NOT NULL CHECK (items > 0),
    idempotency_key varchar(100) NOT NULL UNIQUE,
    content_digest bytea NOT NULL,
    requested_by text NOT NULL,
    description text
);
REVOKE ALL ON txn_processing.payment_batches FROM PUBLIC;
COMMENT ON TABLE txn_processing.payment_batches IS
    'Payments handed in together by txn_processing.create_payment_batch. Its totals are in txn_processing.payment_batches_status.';
COMMENT ON COLUMN txn_processing.payment_batches.requested_by IS
    'The role that handed it in: its items are posted as far as this role may execute txn_processing.transfer and pay_bank.';
COMMENT ON COLUMN txn_processing.payment_batches.content_digest IS
    'SHA-256 over the items and the description: the same idempotency key with other content is refused (NB007).';

-- What the batch was handed in with, apart from its items, so that the items can be held against it.
CREATE TABLE txn_processing.payment_batch_totals (
    batch_id uuid NOT NULL,
    items integer NOT NULL,
    currency_code char(3) NOT NULL,
    amount numeric NOT NULL,
    PRIMARY KEY (batch_id, currency_code)
);
REVOKE ALL ON txn_processing.payment_batch_totals FROM PUBLIC;
COMMENT ON TABLE txn_processing.payment_batch_totals IS
    'Number and sum of a batch''s items per currency, taken when it was handed in.';

CREATE TABLE txn_processing.payment_batch_items (
    batch_id uuid NOT NULL,
    transaction_id uuid NOT NULL,
    from_account uuid NOT NULL,
    to_account uuid,
    last_attempt_at timestamptz,
    item_no integer NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    amount numeric NOT NULL,
    currency_code char(3) NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'completed', 'failed', 'cancelled')),
    counterparty_bank text,
    counterparty_account text,
    reference varchar(50),
    description text,
    external_id text,
    error_code text,
    error_sqlstate text,
    error_message text,
    error_detail text,
    PRIMARY KEY (batch_id, item_no),
    CHECK ((to_account IS NULL) <> (counterparty_bank IS NULL)),
    CHECK ((status = 'failed') <= (error_code IS NOT NULL))
);
CREATE INDEX payment_batch_items_pending_idx ON txn_processing.payment_batch_items (batch_id, item_no)
    WHERE status = 'pending';
CREATE INDEX payment_batch_items_failed_idx ON txn_processing.payment_batch_items (batch_id, item_no)
    WHERE status = 'failed';
REVOKE ALL ON txn_processing.payment_batch_items FROM PUBLIC;
COMMENT ON TABLE txn_processing.payment_batch_items IS
    'The payments of each batch, in the order in which they were handed in, and what became of them.';
COMMENT ON COLUMN txn_processing.payment_batch_items.item_no IS 'From 1.';
COMMENT ON COLUMN txn_processing.payment_batch_items.transaction_id IS
    'The posting''s id, drawn when the batch was created: no crash and no retry can post the item twice.';
COMMENT ON COLUMN txn_processing.payment_batch_items.currency_code IS
    'As handed in, else that of from_account when the batch was created; XXX where there was no such account.';
COMMENT ON COLUMN txn_processing.payment_batch_items.status IS
    'pending: still to be posted; completed: posted; failed: refused, see error_code; cancelled: taken back by txn_processing.cancel_payment_batch.';
COMMENT ON COLUMN txn_processing.payment_batch_items.error_code IS
    'Why the last attempt was refused, as a word of docs/errors.md; error_sqlstate is its code. Kept while a retry is pending.';
COMMENT ON COLUMN txn_processing.payment_batch_items.attempts IS 'How often it was posted or refused. An attempt that was rolled back does not count.';

CREATE VIEW txn_processing.payment_batches_status AS
SELECT
    b.batch_id,
    b.idempotency_key,
    b.description,
    b.requested_by,
    b.created_at,
    t.currency_code,
    CASE
        WHEN i.pending_items > 0 AND i.pending_items = t.items THEN 'pending'
        WHEN i.pending_items > 0 THEN 'processing'
        WHEN i.failed_items > 0 THEN 'completed_with_errors'
        WHEN i.completed_items = 0 THEN 'cancelled'
        ELSE 'completed'
    END AS status,
    t.items AS total_items,
    t.amount AS total_amount,
    i.pending_items,
    i.pending_amount,
    i.completed_items,
    i.completed_amount,
    i.failed_items,
    i.failed_amount,
    i.cancelled_items,
    i.cancelled_amount,
    i.last_attempt_at
FROM txn_processing.payment_batches b
JOIN txn_processing.payment_batch_totals t ON t.batch_id = b.batch_id
CROSS JOIN LATERAL (
    SELECT
        pg_catalog.count(*) FILTER (WHERE p.status = 'pending') AS pending_items,
        coalesce(pg_catalog.sum(p.amount) FILTER (WHERE p.status = 'pending'), 0) AS pending_amount,
        pg_catalog.count(*) FILTER (WHERE p.status = 'completed') AS completed_items,
        coalesce(pg_catalog.sum(p.amount) FILTER (WHERE p.status = 'completed'), 0) AS completed_amount,
        pg_catalog.count(*) FILTER (WHERE p.status = 'failed') AS failed_items,
        coalesce(pg_catalog.sum(p.amount) FILTER (WHERE p.status = 'failed'), 0) AS failed_amount,
        pg_catalog.count(*) FILTER (WHERE p.status = 'cancelled') AS cancelled_items,
        coalesce(pg_catalog.sum(p.amount) FILTER (WHERE p.status = 'cancelled'), 0) AS cancelled_amount,
        pg_catalog.max(p.last_attempt_at) AS last_attempt_at
    FROM txn_processing.payment_batch_items p
    WHERE p.batch_id = t.batch_id AND p.currency_code = t.currency_code
) i;
REVOKE ALL ON txn_processing.payment_batches_status FROM PUBLIC;
COMMENT ON VIEW txn_processing.payment_batches_status IS
    'How far each batch is, per currency: number and sum of its items by status. The four add up to total_items and total_amount, which were taken when the batch was handed in. status: pending, processing, completed, completed_with_errors or cancelled.';

CREATE VIEW txn_processing.payment_batch_errors AS
SELECT
    i.batch_id,
    b.idempotency_key,
    i.item_no,
    i.external_id,
    i.from_account,
    i.to_account,
    i.counterparty_bank,
    i.counterparty_account,
    i.amount,
    i.currency_code,
    i.error_code,
    i.error_sqlstate,
    i.error_message,
    i.error_detail,
    i.attempts,
    i.last_attempt_at,
    i.transaction_id
FROM txn_processing.payment_batch_items i
JOIN txn_processing.payment_batches b ON b.batch_id = i.batch_id
WHERE i.status = 'failed';
REVOKE ALL ON txn_processing.payment_batch_errors FROM PUBLIC;
COMMENT ON VIEW txn_processing.payment_batch_errors IS
    'The failed items of all batches and why the last attempt on each was refused.';

-- A procedure with a SET clause cannot commit, so it sets its search_path in each of its transactions, and between them,
-- where the caller's path holds, uses no operator. Everything it does runs with the caller's rights.
CREATE PROCEDURE txn_processing.run_payment_batch(batch_id uuid, chunk integer DEFAULT 1000)
LANGUAGE plpgsql
AS $$
DECLARE
    attempted integer;
    has_more boolean;
    is_done boolean;
    is_in_vain boolean;
    in_vain integer := 0;
    most_in_vain CONSTANT integer := 5;
BEGIN
    LOOP
        SET LOCAL search_path = pg_catalog, pg_temp;
        BEGIN
            SELECT p.attempted, p.more INTO attempted, has_more
            FROM txn_processing.process_payment_batch(run_payment_batch.batch_id, run_payment_batch.chunk) p;
            in_vain := 0;
        EXCEPTION
            WHEN serialization_failure OR deadlock_detected OR lock_not_available THEN
                in_vain := in_vain + 1;
                IF in_vain > most_in_vain THEN
                    RAISE;
                END IF;
        END;
        is_in_vain := in_vain > 0;
        -- What another session has claimed is that session's to finish.
        is_done := NOT is_in_vain AND (attempted = 0 OR NOT has_more);
        IF is_in_vain THEN
            -- With a new snapshot, where the old one was the trouble.
            ROLLBACK;
        ELSE
            COMMIT;
        END IF;
        EXIT WHEN is_done;
    END LOOP;
END
$$;
REVOKE ALL ON PROCEDURE txn_processing.run_payment_batch(uuid, integer) FROM PUBLIC;
COMMENT ON PROCEDURE txn_processing.run_payment_batch(uuid, integer) IS
    'batch_id; chunk: 1 to 10,000 items. Calls txn_processing.process_payment_batch until no pending item is left that another session has not claimed, and commits after each call, so that other sessions see how far it is. Repeats a call up to 5 times in a row after 40001, 40P01 or 55P03. Errors: as process_payment_batch; 2D000 inside a transaction block.';

SELECT pg_catalog.pg_extension_config_dump('txn_processing.payment_batches', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.payment_batch_totals', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.payment_batch_items', '');
