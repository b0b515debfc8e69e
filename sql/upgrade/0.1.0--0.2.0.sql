-- What scripts/upgrade-script cannot take over by itself; docs/testing.md tells how to write it.

-- @for CREATE TABLE banking.customers
ALTER TABLE banking.customers ALTER COLUMN customer_number
    SET DEFAULT ('C' || pg_catalog.to_char(pg_catalog.nextval('banking.customer_number_seq'), 'FM9999999990000000000'));

-- @for INSERT INTO banking.currencies
-- The same names, written in another way.

-- @for CREATE TABLE txn_processing.transaction_queue
UPDATE txn_processing.transaction_queue SET max_retries = CASE WHEN max_retries < 0 THEN 0 ELSE 100 END
WHERE NOT max_retries BETWEEN 0 AND 100;
ALTER TABLE txn_processing.transaction_queue
    ADD CONSTRAINT transaction_queue_max_retries_check CHECK (max_retries BETWEEN 0 AND 100);

-- @for INSERT INTO neobank.access_rights
DELETE FROM neobank.access_rights;
-- @new

-- @last
SELECT temporal.adopt_status_changes();
