\echo An account as of a time, with 1,000,000 rows of history: a fifth of them of one account, the others of 1,000 accounts.
-- Run in a database of its own with the extension installed: psql -X -f bench/temporal_accounts.sql. Wanted: below 0.2 ms.
\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;

CREATE SCHEMA bench_temporal;
CREATE TABLE bench_temporal.accounts (no integer PRIMARY KEY, account_id uuid NOT NULL, changes integer NOT NULL);
CREATE TABLE bench_temporal.times (question text NOT NULL, ms numeric NOT NULL);

INSERT INTO bench_temporal.accounts
SELECT n, banking.open_account(banking.create_customer('History', n::text), opening_deposit => 100),
       CASE n WHEN 0 THEN 100000 ELSE 400 END
FROM generate_series(0, 1000) n;

-- Nothing that is measured reads by the index of the constraint, and to fill it takes minutes.
ALTER TABLE temporal.account_periods DROP CONSTRAINT account_periods_apart;
-- A change in each second of the past. A row for what was believed until the next one, and one for what is known since.
SET neobank.ledger_guard = off;
WITH changed AS (
    SELECT a.account_id, c.n, a.changes,
           now() - (a.changes - c.n + 10) * interval '1 second' AS at
    FROM bench_temporal.accounts a, generate_series(0, a.changes) c(n)
), periods AS (
    SELECT c.account_id, c.n, c.at, CASE WHEN c.n < c.changes THEN c.at + interval '1 second' END AS next
    FROM changed c
)
INSERT INTO temporal.account_periods
    (account_id, customer_id, valid_from, valid_to, transaction_from, transaction_to, account_status, overdraft_limit,
     account_type, account_number)
SELECT p.account_id, b.customer_id, p.at, r.valid_to, r.transaction_from, r.transaction_to,
       (CASE WHEN p.next IS NOT NULL AND p.n % 2 = 1 THEN 'frozen' ELSE 'active' END)::banking.account_status,
       b.overdraft_limit, b.account_type, b.account_number
FROM periods p
JOIN banking.accounts b USING (account_id)
CROSS JOIN LATERAL (
    VALUES (NULL::timestamptz, p.at, p.next), (p.next, p.next, NULL)
) r (valid_to, transaction_from, transaction_to)
WHERE r.transaction_from IS NOT NULL
ORDER BY p.at;
RESET neobank.ledger_guard;
VACUUM ANALYZE temporal.account_periods;
SELECT count(*) AS rows, pg_size_pretty(pg_total_relation_size('temporal.account_periods')) AS on_disk
FROM temporal.account_periods;

CREATE FUNCTION bench_temporal.take(question text, accounts int4range, known_now boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    id uuid;
    drawn integer;
    changes integer;
    valid_at timestamptz;
    known_at timestamptz;
    began timestamptz;
BEGIN
    FOR n IN 1..200 LOOP
        drawn := lower(accounts) + floor(random() * (upper(accounts) - lower(accounts)))::int;
        SELECT a.account_id, a.changes INTO id, changes FROM bench_temporal.accounts a WHERE a.no = drawn;
        valid_at := now() - random() * changes * interval '1 second';
        known_at := CASE WHEN known_now THEN now() ELSE now() - random() * changes * interval '1 second' END;
        began := clock_timestamp();
        PERFORM FROM temporal.get_account_as_of(id, valid_at, known_at);
        INSERT INTO bench_temporal.times VALUES (question, 1000 * EXTRACT(epoch FROM clock_timestamp() - began));
    END LOOP;
END
$$;

SELECT bench_temporal.take(question, accounts, known_now)
FROM generate_series(0, 3), (VALUES
    ('one of 1,000 accounts, as known now', int4range(1, 1001), true),
    ('one of 1,000 accounts, as known then', int4range(1, 1001), false),
    ('the account of 200,000 rows, as known now', int4range(0, 1), true),
    ('the account of 200,000 rows, as known then', int4range(0, 1), false)) q (question, accounts, known_now) \g /dev/null

SELECT question, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 3) AS median_ms,
       round(percentile_cont(0.95) WITHIN GROUP (ORDER BY ms)::numeric, 3) AS ms_of_95_percent
FROM bench_temporal.times GROUP BY question ORDER BY question;
EXPLAIN (ANALYZE, BUFFERS, COSTS OFF)
SELECT * FROM temporal.get_account_as_of((SELECT account_id FROM bench_temporal.accounts WHERE no = 0), now() - interval '1 hour');

\echo What a posting pays for the trigger on banking.accounts: microseconds of each with and without it, in turns.
CREATE TABLE bench_temporal.costs (path text NOT NULL, has_trigger boolean NOT NULL, us numeric NOT NULL);
CREATE PROCEDURE bench_temporal.post(postings integer, rounds integer)
LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz;
BEGIN
    FOR round IN 0..rounds LOOP
        FOR way IN 0..3 LOOP
            PERFORM set_config('neobank.posting_path', CASE way / 2 WHEN 0 THEN 'direct' ELSE 'spi' END, false);
            EXECUTE CASE way % 2 WHEN 0 THEN 'ALTER TABLE banking.accounts DISABLE TRIGGER record_account'
                                 ELSE 'ALTER TABLE banking.accounts ENABLE TRIGGER record_account' END;
            COMMIT;
            PERFORM txn_processing.transfer(a.account_id, b.account_id, 0.01)
            FROM bench_temporal.accounts a, bench_temporal.accounts b WHERE a.no = 1 AND b.no = 2;
            began := clock_timestamp();
            PERFORM txn_processing.transfer(a.account_id, b.account_id, 0.01)
            FROM generate_series(1, postings) n
            JOIN bench_temporal.accounts a ON a.no = 1 + n % 1000
            JOIN bench_temporal.accounts b ON b.no = 1 + (n * 7 + 1) % 1000 AND b.no <> a.no;
            -- Round 0 warms up.
            INSERT INTO bench_temporal.costs
            SELECT current_setting('neobank.posting_path'), way % 2 = 1,
                   1000000 * EXTRACT(epoch FROM clock_timestamp() - began) / postings
            WHERE round > 0;
            COMMIT;
        END LOOP;
    END LOOP;
END
$$;
CALL bench_temporal.post(5000, 9);
SELECT path, has_trigger, round(min(us), 2) AS least_us, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY us)::numeric, 2) AS median_us
FROM bench_temporal.costs GROUP BY path, has_trigger ORDER BY path, has_trigger;
