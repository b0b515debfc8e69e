-- One row for each time that the ledger was published; the last one says whether it is. Every posting reads it once per
-- change and keeps the answer.
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
REVOKE ALL ON event_store.ledger_publications FROM PUBLIC;
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
-- A WITH keeps the server from taking the view for one that can be written to.
WITH publications AS (SELECT p.* FROM event_store.ledger_publications p)
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
FROM publications p;
REVOKE ALL ON event_store.ledger_publication FROM PUBLIC;
COMMENT ON VIEW event_store.ledger_publication IS
    'Each time that the ledger was published: since when, by whom, from which position, how many accounts were brought forward and how many postings'' events there are.';

-- Of what says something else there is none: an event that the ledger did not write must not stop those who read its own.
CREATE FUNCTION event_store.uuid_of(event_data jsonb, key text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN event_data ->> key ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN (event_data ->> key)::uuid END;
END;
REVOKE ALL ON FUNCTION event_store.uuid_of(jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION event_store.uuid_of(jsonb, text) IS
    'The uuid that event_data has under the key, written as the server writes it; null where it has none.';

CREATE FUNCTION event_store.figure_of(event_data jsonb, key text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE pg_catalog.jsonb_typeof(event_data -> key) WHEN 'number' THEN (event_data -> key)::numeric END;
END;
REVOKE ALL ON FUNCTION event_store.figure_of(jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION event_store.figure_of(jsonb, text) IS
    'The number that event_data has under the key; null where it has none.';

CREATE FUNCTION event_store.ledger_balances(as_of_position bigint DEFAULT NULL)
RETURNS TABLE (account_id uuid, currency_code text, balance numeric, postings bigint)
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 10000
BEGIN ATOMIC
    WITH opened AS (
        SELECT p.first_position, p.opened_position AS at, pg_catalog.to_jsonb(p.publication) AS publication
        FROM event_store.ledger_publications p
        WHERE p.opened_position = (SELECT event_store.ledger_opened_at(as_of_position))
    ), brought AS (
        SELECT DISTINCT ON (e.event_data ->> 'account_id')
            event_store.uuid_of(e.event_data, 'account_id') AS account_id,
            e.event_data ->> 'currency' AS currency_code,
            event_store.figure_of(e.event_data, 'balance') AS change
        FROM opened o
        JOIN event_store.events e
            ON e.aggregate_type = 'LedgerOpening'
           AND e.global_position >= o.first_position
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
                (event_store.uuid_of(e.event_data, 'debit_account'), event_store.figure_of(e.event_data, 'debit_change')),
                (event_store.uuid_of(e.event_data, 'credit_account'), event_store.figure_of(e.event_data, 'credit_change'))
        ) side (account_id, change)
    )
    SELECT c.account_id, c.currency_code, sum(c.change), sum(c.posting)::bigint
    FROM (
        SELECT b.account_id, b.currency_code, b.change, 0 AS posting FROM brought b
        UNION ALL
        SELECT p.account_id, p.currency_code, p.change, 1 FROM posted p
    ) c
    WHERE c.account_id IS NOT NULL AND c.change IS NOT NULL
    GROUP BY c.account_id, c.currency_code;
END;
REVOKE ALL ON FUNCTION event_store.ledger_balances(bigint) FROM PUBLIC;
COMMENT ON FUNCTION event_store.ledger_balances(bigint) IS
    'What each account holds by the events alone: what the last publication at that position brought forward, and its postings to there. as_of_position: the last position that counts, null: all that is committed. Equal to banking.account_balances in the same snapshot while the ledger is published; after it was switched off, as it was then. An account that was opened since and has no posting has no row. postings: its legs since the opening. NB132: retention has deleted events of that publication.';

CREATE FUNCTION event_store.check_ledger_events()
RETURNS TABLE (account_id uuid, by_events numeric, by_ledger numeric, wrong_events bigint, missing_events bigint)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 10
BEGIN ATOMIC
    WITH since AS MATERIALIZED (
        SELECT event_store.ledger_published_since() AS at
    ), by_ledger AS (
        SELECT a.account_id,
               coalesce(a.current_balance,
                        (SELECT sum(s.balance) FROM banking.account_slots s WHERE s.account_id = a.account_id)) AS balance,
               -- Every posting takes a number of the account's, or of one of its slots.
               a.version - 1 + coalesce(
                   (SELECT sum(s.sequence - (s.slot_no::bigint << 48) - 1)
                    FROM banking.account_slots s WHERE s.account_id = a.account_id), 0) AS postings
        FROM banking.accounts a
    ), brought AS (
        SELECT DISTINCT ON (e.event_data ->> 'account_id')
            event_store.uuid_of(e.event_data, 'account_id') AS account_id,
            event_store.figure_of(e.event_data, 'postings') AS postings
        FROM since
        JOIN event_store.ledger_publications p ON p.opened_position = since.at
        JOIN event_store.events e
            ON e.aggregate_type = 'LedgerOpening' AND e.global_position BETWEEN p.first_position AND since.at
           AND e.event_data -> 'publication' = pg_catalog.to_jsonb(p.publication)
        ORDER BY e.event_data ->> 'account_id', e.global_position DESC
    ), by_events AS (
        SELECT coalesce(e.account_id, b.account_id) AS account_id, e.balance,
               -- An account that was opened since has none before.
               CASE WHEN b.account_id IS NULL THEN e.postings ELSE coalesce(e.postings, 0) + b.postings END::bigint AS postings
        FROM event_store.ledger_balances() e
        FULL JOIN brought b ON b.account_id = e.account_id
    ), wrong AS (
        SELECT side.account_id, count(DISTINCT e.event_id) AS events
        FROM since
        JOIN event_store.events e ON e.aggregate_type = 'LedgerTransaction' AND e.global_position > since.at
        LEFT JOIN txn_processing.movements m
            ON m.transaction_id = event_store.uuid_of(e.event_data, 'transaction_id')
           AND m.leg = event_store.figure_of(e.event_data, 'leg')
        CROSS JOIN LATERAL (
            VALUES (event_store.uuid_of(e.event_data, 'debit_account')), (event_store.uuid_of(e.event_data, 'credit_account'))
        ) side (account_id)
        WHERE m.transaction_id IS NULL
           OR m.debit_account IS DISTINCT FROM event_store.uuid_of(e.event_data, 'debit_account')
           OR m.credit_account IS DISTINCT FROM event_store.uuid_of(e.event_data, 'credit_account')
           OR m.amount IS DISTINCT FROM event_store.figure_of(e.event_data, 'amount')
           OR m.amount IS DISTINCT FROM abs(event_store.figure_of(e.event_data, 'debit_change'))
           OR m.amount IS DISTINCT FROM abs(event_store.figure_of(e.event_data, 'credit_change'))
           OR m.currency_code IS DISTINCT FROM e.event_data ->> 'currency'
        GROUP BY side.account_id
    )
    SELECT coalesce(l.account_id, e.account_id, w.account_id), e.balance, l.balance, coalesce(w.events, 0),
           coalesce(CASE WHEN e.account_id IS NULL THEN l.postings ELSE l.postings - e.postings END, 0)
    FROM since
    CROSS JOIN (
        by_events e
        FULL JOIN by_ledger l ON l.account_id = e.account_id
        FULL JOIN wrong w ON w.account_id = coalesce(l.account_id, e.account_id)
    )
    WHERE coalesce(e.balance, 0) IS DISTINCT FROM l.balance OR w.events > 0
       OR (e.account_id IS NOT NULL AND l.postings <> e.postings)
       OR (e.account_id IS NULL AND l.postings > 0);
END;
REVOKE ALL ON FUNCTION event_store.check_ledger_events() FROM PUBLIC;
COMMENT ON FUNCTION event_store.check_ledger_events() IS
    'Accounts on which the events of the publication that is on and the ledger differ, at one moment, whoever posts meanwhile; none where all is right. by_events, by_ledger: the balances; wrong_events: events since then that say something else than their posting; account_id null: of events that name no account; missing_events: its postings since then less their events, so that lost ones which cancel each other out are found too. NB130: the ledger is not published.';

-- A procedure with a SET clause cannot commit, so it sets its search_path in each of its transactions, and between them,
-- where the caller's path holds, uses no operator. Everything it does runs with the caller's rights.
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
REVOKE ALL ON PROCEDURE event_store.run_ledger_publication(integer) FROM PUBLIC;
COMMENT ON PROCEDURE event_store.run_ledger_publication(integer) IS
    'Publishes the ledger of a bank with many accounts: calls event_store.prepare_ledger_publication, max_accounts (1 to 100,000) at a time, and commits after each call, so that other sessions see in event_store.ledger_publication how far it is; then event_store.publish_ledger(true). May be stopped and called again. Errors: of both; 2D000 inside a transaction block.';

SELECT pg_catalog.pg_extension_config_dump('event_store.ledger_publications', '');
