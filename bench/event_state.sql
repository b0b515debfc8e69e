-- State of an aggregate of 100,000 events: with snapshots, without, and by a PL/pgSQL fold over the same rows. All three
-- are timed in turn, :rounds times, so that what else the machine does meets them alike. Prints kind, round, milliseconds.
SET client_min_messages = warning;

CREATE SCHEMA bench_state;
CREATE TABLE bench_state.streams (kind text PRIMARY KEY, aggregate_id uuid NOT NULL);
CREATE TABLE bench_state.times (no integer GENERATED ALWAYS AS IDENTITY, kind text NOT NULL, ms numeric NOT NULL);
INSERT INTO bench_state.streams VALUES
    ('events', '018f0000-0000-7000-8000-0000000000e1'), ('snapshots', '018f0000-0000-7000-8000-0000000000e2');

-- A fold as an application writes it: a loop over the events, a branch for each type.
CREATE FUNCTION bench_state.peer(id uuid, up_to integer DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    state jsonb := '{}';
    r record;
BEGIN
    FOR r IN
        SELECT * FROM event_store.events e
        WHERE e.aggregate_id = id AND (up_to IS NULL OR e.event_version <= up_to)
        ORDER BY e.event_version
    LOOP
        CASE r.event_type
            WHEN 'AccountOpened' THEN
                state := r.event_data;
            WHEN 'FundsDeposited' THEN
                state := jsonb_set(state, '{balance}',
                    to_jsonb((state ->> 'balance')::numeric + (r.event_data ->> 'amount')::numeric));
            WHEN 'FundsWithdrawn' THEN
                state := jsonb_set(state, '{balance}',
                    to_jsonb((state ->> 'balance')::numeric - (r.event_data ->> 'amount')::numeric));
            WHEN 'AccountClosed' THEN
                state := jsonb_set(state, '{status}', '"closed"');
            ELSE
                state := state || r.event_data;
        END CASE;
        state := jsonb_set(state, '{version}', to_jsonb(r.event_version));
    END LOOP;
    RETURN state;
END
$$;

-- Every hundredth event is one that is merged.
CREATE PROCEDURE bench_state.fill(id uuid)
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM event_store.append_event('Account', id, 'AccountOpened',
        '{"owner": "Ada Lovelace", "currency": "USD", "balance": 1000.00}');
    FOR batch IN 0..99 LOOP
        PERFORM event_store.append_events('Account', id, (
            SELECT jsonb_agg(CASE
                WHEN n % 100 = 7 THEN jsonb_build_object('event_type', 'AddressChanged',
                    'event_data', jsonb_build_object('city', 'London ' || n, 'street', 'Fleet Street ' || n))
                WHEN n % 3 = 0 THEN jsonb_build_object('event_type', 'FundsWithdrawn',
                    'event_data', jsonb_build_object('amount', round((n % 977) / 100.0, 2), 'reference', 'card ' || n))
                ELSE jsonb_build_object('event_type', 'FundsDeposited',
                    'event_data', jsonb_build_object('amount', round((n % 1013) / 100.0, 2), 'reference', 'till ' || n))
                END ORDER BY n)
            FROM generate_series(batch * 1000 + 1, batch * 1000 + CASE batch WHEN 99 THEN 999 ELSE 1000 END) n));
        COMMIT;
    END LOOP;
END
$$;
CALL bench_state.fill('018f0000-0000-7000-8000-0000000000e1');
CALL bench_state.fill('018f0000-0000-7000-8000-0000000000e2');
-- The first stream's snapshots are of other rules than those that are read by, as after a redefinition.
SET neobank.ledger_guard = off;
DELETE FROM event_store.snapshots WHERE aggregate_id = '018f0000-0000-7000-8000-0000000000e1';
RESET neobank.ledger_guard;
VACUUM ANALYZE event_store.events, event_store.streams, event_store.snapshots;

CREATE PROCEDURE bench_state.measure(rounds integer)
LANGUAGE plpgsql
AS $$
DECLARE
    begun timestamptz;
    answers jsonb[];
BEGIN
    FOR round IN 0..rounds LOOP
        begun := clock_timestamp();
        answers[1] := bench_state.peer('018f0000-0000-7000-8000-0000000000e1');
        INSERT INTO bench_state.times (kind, ms) SELECT 'PL/pgSQL', extract(epoch FROM clock_timestamp() - begun) * 1000 WHERE round > 0;
        begun := clock_timestamp();
        answers[2] := event_store.get_aggregate_state('018f0000-0000-7000-8000-0000000000e1');
        INSERT INTO bench_state.times (kind, ms) SELECT 'events', extract(epoch FROM clock_timestamp() - begun) * 1000 WHERE round > 0;
        begun := clock_timestamp();
        answers[3] := event_store.get_aggregate_state('018f0000-0000-7000-8000-0000000000e2');
        INSERT INTO bench_state.times (kind, ms) SELECT 'snapshots', extract(epoch FROM clock_timestamp() - begun) * 1000 WHERE round > 0;
        IF answers[1] IS DISTINCT FROM answers[2] OR answers[1] IS DISTINCT FROM answers[3] THEN
            RAISE EXCEPTION 'the folds differ: %', answers;
        END IF;
        COMMIT;
    END LOOP;
END
$$;
CALL bench_state.measure(:rounds);

SELECT kind, row_number() OVER (PARTITION BY kind ORDER BY no), ms FROM bench_state.times ORDER BY no;
DROP SCHEMA bench_state CASCADE;
