-- The objects of a table's history, made by its owner: tables in SCHEMA_history, a view in SCHEMA_as_of, and the function
-- that the table's triggers call. Statements are put together from names of the catalog, which are quoted, never from values.
CREATE FUNCTION temporal.record_body(p_of temporal.tables) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    body CONSTANT text := $body$
#variable_conflict use_variable
DECLARE
    began CONSTANT timestamptz := now();
    me CONSTANT xid8 := pg_current_xact_id();
    who CONSTANT text := coalesce(nullif(current_setting('role'), 'none'), session_user);
    tick CONSTANT interval := '1 microsecond';
    left_over bigint;
    entry record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
            -- What others have said about keys that were not in the table would not be seen.
            PERFORM FROM temporal.tables t WHERE t.table_name = TG_RELID FOR SHARE;
            PERFORM temporal.check_snapshot(TG_RELID, k.key) FROM (SELECT DISTINCT {n.key} AS key FROM new_rows n) k;
        END IF;
        WITH added AS (
            INSERT INTO {current} AS c ({columns}, history_valid_from, history_known_from, history_by, history_transaction)
            SELECT {t.columns}, began, began, who, me
            FROM new_rows n JOIN {table} t ON {n=t}
            WHERE NOT EXISTS (SELECT FROM {current} c WHERE {t=c})
              AND NOT EXISTS (SELECT FROM {past} p WHERE {t=p} AND p.history_valid_to > began)
              AND NOT EXISTS (SELECT FROM {superseded} s WHERE {t=s} AND s.history_known_to > began)
            RETURNING 1)
        SELECT (SELECT count(*) FROM new_rows) - (SELECT count(*) FROM added) INTO left_over;
        IF left_over > 0 THEN
            FOR entry IN
                SELECT DISTINCT {n.key} AS key FROM new_rows n
                WHERE NOT EXISTS (
                    SELECT FROM {table} t JOIN {current} c ON {t=c}
                    WHERE {n=t} AND record_image_eq(ROW({t.columns}), ROW({c.columns}))
                      AND c.history_valid_from <= clock_timestamp())
            LOOP
                PERFORM temporal.settle(TG_RELID, entry.key, NULL, who);
            END LOOP;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
            PERFORM temporal.check_snapshot(TG_RELID, {k.key})
            FROM (SELECT {n.keys} FROM new_rows n EXCEPT SELECT {o.keys} FROM old_rows o) k;
        END IF;
        WITH touched AS MATERIALIZED (
            SELECT c.ctid AS history_place, c.history_transaction = me AND c.history_known_from >= began AS history_mine,
                   greatest(began, c.history_known_from + tick) AS history_instant, {t.columns}
            FROM new_rows n JOIN {table} t ON {n=t} JOIN {current} c ON {t=c}
            WHERE record_image_ne(ROW({t.columns}), ROW({c.columns}))
              AND CASE WHEN c.history_transaction = me AND c.history_known_from >= began
                       THEN c.history_valid_from = c.history_known_from
                       ELSE c.history_valid_from <= c.history_known_from
                            AND c.history_valid_from < greatest(began, c.history_known_from + tick) END
        ), ended AS (
            INSERT INTO {past} ({columns}, history_valid_from, history_valid_to, history_known_from, history_ended_live,
                                history_by, history_transaction, history_closed_by, history_closed_transaction)
            SELECT {c.columns}, c.history_valid_from, x.history_instant, c.history_known_from, true,
                   c.history_by, c.history_transaction, who, me
            FROM touched x JOIN {current} c ON c.ctid = x.history_place
            WHERE NOT x.history_mine
        ), renewed AS (
            UPDATE {current} c
            SET ({columns}, history_valid_from, history_known_from, history_by, history_transaction) =
                ROW({x.columns}, CASE WHEN x.history_mine THEN c.history_valid_from ELSE x.history_instant END,
                    CASE WHEN x.history_mine THEN c.history_known_from ELSE x.history_instant END, who, me)
            FROM touched x
            WHERE c.ctid = x.history_place
            RETURNING 1)
        SELECT (SELECT count(*) FROM new_rows) - (SELECT count(*) FROM renewed) INTO left_over;
        IF left_over > 0 THEN
            FOR entry IN
                SELECT {k.key} AS key, (SELECT to_jsonb(ROW({o.columns})::text) FROM old_rows o WHERE {o=k} LIMIT 1) AS old_row
                FROM (SELECT {o.keys} FROM old_rows o UNION SELECT {n.keys} FROM new_rows n) k
                WHERE NOT EXISTS (
                    SELECT FROM {table} t JOIN {current} c ON {t=c}
                    WHERE {t=k} AND record_image_eq(ROW({t.columns}), ROW({c.columns}))
                      AND c.history_valid_from <= clock_timestamp())
            LOOP
                PERFORM temporal.settle(TG_RELID, entry.key, entry.old_row, who);
            END LOOP;
        END IF;
    ELSIF TG_OP = 'DELETE' THEN
        WITH gone AS (
            DELETE FROM {current} c USING old_rows o
            WHERE {o=c} AND NOT EXISTS (SELECT FROM {table} t WHERE {t=o})
              AND NOT (c.history_transaction = me AND c.history_known_from >= began)
              AND c.history_valid_from <= c.history_known_from
              AND c.history_valid_from < greatest(began, c.history_known_from + tick)
            RETURNING c.*
        ), ended AS (
            INSERT INTO {past} ({columns}, history_valid_from, history_valid_to, history_known_from, history_ended_live,
                                history_by, history_transaction, history_closed_by, history_closed_transaction)
            SELECT {g.columns}, g.history_valid_from, greatest(began, g.history_known_from + tick), g.history_known_from, true,
                   g.history_by, g.history_transaction, who, me
            FROM gone g
            RETURNING 1)
        SELECT (SELECT count(*) FROM old_rows) - (SELECT count(*) FROM ended) INTO left_over;
        IF left_over > 0 THEN
            FOR entry IN
                SELECT DISTINCT {o.key} AS key FROM old_rows o
                WHERE EXISTS (SELECT FROM {current} c WHERE {o=c})
                   OR EXISTS (SELECT FROM {past} p WHERE {o=p} AND p.history_valid_to > began)
            LOOP
                PERFORM temporal.settle(TG_RELID, entry.key, NULL, who);
            END LOOP;
        END IF;
    ELSE
        WITH gone AS (
            DELETE FROM {current} c
            WHERE NOT (c.history_transaction = me AND c.history_known_from >= began)
              AND c.history_valid_from <= c.history_known_from
              AND c.history_valid_from < greatest(began, c.history_known_from + tick)
            RETURNING c.*)
        INSERT INTO {past} ({columns}, history_valid_from, history_valid_to, history_known_from, history_ended_live,
                            history_by, history_transaction, history_closed_by, history_closed_transaction)
        SELECT {g.columns}, g.history_valid_from, greatest(began, g.history_known_from + tick), g.history_known_from, true,
               g.history_by, g.history_transaction, who, me
        FROM gone g;
        FOR entry IN
            SELECT {c.key} AS key FROM {current} c
            UNION SELECT {p.key} FROM {past} p WHERE p.history_valid_to > clock_timestamp()
        LOOP
            PERFORM temporal.settle(TG_RELID, entry.key, NULL, who);
        END LOOP;
    END IF;
    RETURN NULL;
END
$body$;
BEGIN
    PERFORM temporal.given(p_of);
    -- At once, as the names may have braces in them too.
    RETURN (
        SELECT string_agg(CASE
            WHEN x.n % 2 = 1 THEN x.part
            WHEN x.part = 'table' THEN p_of.table_name::text
            WHEN x.part = 'current' THEN p_of.current_rows::text
            WHEN x.part = 'past' THEN p_of.past_rows::text
            WHEN x.part = 'superseded' THEN p_of.superseded_rows::text
            WHEN x.part = 'columns' THEN temporal.column_list(p_of.table_name, '')
            WHEN x.part LIKE '_.columns' THEN temporal.column_list(p_of.table_name, left(x.part, 2))
            WHEN x.part LIKE '_.key' THEN temporal.key_object(p_of, left(x.part, 1))
            WHEN x.part LIKE '_.keys' THEN (SELECT string_agg(format('%s.%I', left(x.part, 1), k), ', ') FROM unnest(p_of.key_columns) k)
            ELSE temporal.key_match(p_of, left(x.part, 1), right(x.part, 1)) END, '' ORDER BY x.n)
        FROM unnest(regexp_split_to_array(body, '[{}]')) WITH ORDINALITY AS x (part, n));
END
$$;
REVOKE ALL ON FUNCTION temporal.record_body(temporal.tables) FROM PUBLIC;
COMMENT ON FUNCTION temporal.record_body(temporal.tables) IS
    'The text of the function that records what statements do to a table. Its usual ways write one row more for each row of the statement; what they leave over goes through temporal.settle, key by key.';

-- The instant that it writes into a function is read by sessions of any style of dates and any time zone.
CREATE FUNCTION temporal.make_functions(p_of temporal.tables) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO, YMD'
SET timezone = 'UTC'
SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1
SET bytea_output = 'hex'
AS $$
DECLARE
    home CONSTANT text := (SELECT c.relnamespace::regnamespace::text FROM pg_class c WHERE c.oid = p_of.current_rows);
    owner CONSTANT text := (SELECT c.relowner::regrole::text FROM pg_class c WHERE c.oid = p_of.table_name);
    record_name CONSTANT text := format('%s.%I', home, p_of.base_name || '_record');
    instant_name CONSTANT text := format('%s.%I', home, p_of.base_name || '_instant');
BEGIN
    PERFORM temporal.given(p_of);
    -- Keys go through text: so each must read as what it was, whatever the session has set.
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
         SET search_path = pg_catalog, pg_temp SET row_security = on SET extra_float_digits = 1 SET DateStyle = ''ISO, YMD''
         SET IntervalStyle = ''iso_8601'' AS %L', record_name, temporal.record_body(p_of));
    -- Names nothing of the extension, so that the past can be read when that is dropped. A view asks for an instant in
    -- several places, of which some are come to long after others: so now is the same for all of a statement, or, where
    -- all its statements see one snapshot, of a transaction. What a procedure writes after a commit within it began later.
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION %s(axis text) RETURNS timestamptz LANGUAGE plpgsql STABLE PARALLEL SAFE
         SET search_path = pg_catalog, pg_temp AS %L', instant_name, format($body$
DECLARE
    given CONSTANT text := nullif(current_setting('neobank.' || axis, true), '');
    instant CONSTANT timestamptz := coalesce(
        given::timestamptz,
        CASE WHEN axis <> 'as_of' THEN 'infinity' WHEN current_setting('transaction_isolation') LIKE 'read %%'
             THEN greatest(now(), statement_timestamp()) ELSE now() END);
BEGIN
    IF instant < %L::timestamptz THEN
        RAISE EXCEPTION 'history of the time is pruned'
            USING ERRCODE = 'NB331', DETAIL = format('The history of %%s was asked at %%s, and is kept from %%s on.', %L, instant, %L::timestamptz),
                  HINT = 'Ask about a later instant.';
    END IF;
    RETURN instant;
END
$body$, coalesce(p_of.pruned_before, '-infinity'), p_of.table_name, coalesce(p_of.pruned_before, '-infinity')));
    EXECUTE format('ALTER FUNCTION %s() OWNER TO %s', record_name, owner);
    EXECUTE format('ALTER FUNCTION %s(text) OWNER TO %s', instant_name, owner);
    EXECUTE format('REVOKE ALL ON FUNCTION %s() FROM PUBLIC', record_name);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s(text) TO PUBLIC', instant_name);
    EXECUTE format('COMMENT ON FUNCTION %s() IS %L', record_name,
                   format('Records what statements do to %s. Made by temporal.enable, and anew when the table is altered.', p_of.table_name));
    EXECUTE format('COMMENT ON FUNCTION %s(text) IS %L', instant_name,
                   format('The instant of neobank.as_of or neobank.known_at, whichever axis says, for %s. NB331: before what its history is kept from.', p_of.table_name));
END
$$;
REVOKE ALL ON FUNCTION temporal.make_functions(temporal.tables) FROM PUBLIC;
COMMENT ON FUNCTION temporal.make_functions(temporal.tables) IS
    'Makes the functions of a table''s history, or makes them anew. Called by temporal.enable, follow and prune.';

-- One branch for each of the three tables: the newest rows are most of them, and the last is passed over unless
-- neobank.known_at is set. The conditions stand outside, and the planner leaves of them in each branch what is not settled
-- by history_part: so the branches are tables to it, which parallel workers may share.
CREATE FUNCTION temporal.as_of_query(p_of temporal.tables, p_valid_at text, p_known_at text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.format(
        'SELECT %1$s FROM (
            SELECT %2$s, 1 AS history_part, c.history_valid_from, NULL::timestamptz AS history_valid_to, c.history_known_from,
                   NULL::timestamptz AS history_known_to, NULL::boolean AS history_ended_live FROM %3$s c
            UNION ALL
            SELECT %2$s, 2, c.history_valid_from, c.history_valid_to, c.history_known_from, NULL, c.history_ended_live FROM %4$s c
            UNION ALL
            SELECT %2$s, 3, c.history_valid_from, c.history_valid_to, c.history_known_from, c.history_known_to, c.history_ended_live FROM %5$s c) x
         WHERE x.history_valid_from <= %6$s AND x.history_known_from <= %7$s
            AND (x.history_part = 1 OR x.history_valid_to > %6$s OR x.history_ended_live AND x.history_valid_to > %7$s)
            AND (x.history_part < 3 OR %7$s < ''infinity'') AND (x.history_part < 3 OR x.history_known_to > %7$s)',
        temporal.column_list((p_of).table_name, 'x.'), temporal.column_list((p_of).table_name, 'c.'), (p_of).current_rows,
        (p_of).past_rows, (p_of).superseded_rows, p_valid_at, p_known_at);
END;
REVOKE ALL ON FUNCTION temporal.as_of_query(temporal.tables, text, text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.as_of_query(temporal.tables, text, text) IS
    'The query for the rows of a table that were true at one instant as known at another; both are expressions.';

CREATE FUNCTION temporal.timeline_query(p_of temporal.tables) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- A column of the table keeps its name, and the history's gets a longer one.
    names CONSTANT text := (
        SELECT string_agg(format(', %s AS %I', x.expression, CASE WHEN EXISTS (
                   SELECT FROM pg_attribute a WHERE a.attrelid = p_of.table_name AND a.attname = x.name AND NOT a.attisdropped)
               THEN 'history_' || x.name ELSE x.name END), '' ORDER BY x.n)
        FROM (VALUES (1, 'valid_from', '%1$s'), (2, 'valid_to', '%2$s'), (3, 'known_from', 'c.history_known_from'),
                     (4, 'known_to', '%3$s'), (5, 'recorded_by', 'c.history_by'),
                     (6, 'transaction_id', 'c.history_transaction'), (7, 'closed_by', '%4$s'),
                     (8, 'closed_transaction_id', '%5$s')) x (n, name, expression));
    columns CONSTANT text := replace(temporal.column_list(p_of.table_name, 'c.'), '%', '%%');
    branch CONSTANT text := 'SELECT ' || columns || names || ' FROM %6$s c';
    closed CONSTANT text[] := ARRAY['c.history_closed_by', 'c.history_closed_transaction'];
    forever CONSTANT text := '''infinity''::timestamptz';
BEGIN
    PERFORM temporal.given(p_of);
    RETURN format(branch, 'c.history_valid_from', forever, forever, 'NULL::text', 'NULL::xid8', p_of.current_rows)
        || ' UNION ALL ' || format(branch, 'c.history_valid_from', 'c.history_valid_to', forever, closed[1], closed[2], p_of.past_rows)
        || ' UNION ALL ' || format(branch, 'c.history_valid_to', forever, 'c.history_valid_to', closed[1], closed[2], p_of.past_rows)
        || ' WHERE c.history_ended_live'
        || ' UNION ALL ' || format(branch, 'c.history_valid_from', 'c.history_valid_to', 'c.history_known_to', closed[1], closed[2], p_of.superseded_rows)
        || ' UNION ALL ' || format(branch, 'c.history_valid_to', forever, 'least(c.history_valid_to, c.history_known_to)', closed[1], closed[2], p_of.superseded_rows)
        || ' WHERE c.history_ended_live';
END
$$;
REVOKE ALL ON FUNCTION temporal.timeline_query(temporal.tables) FROM PUBLIC;
COMMENT ON FUNCTION temporal.timeline_query(temporal.tables) IS
    'The query for all that a table''s history says, a rectangle of valid and known time in each row.';

CREATE FUNCTION temporal.make_views(p_of temporal.tables, p_timeline text, p_as_of text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    home CONSTANT text := (SELECT c.relnamespace::regnamespace::text FROM pg_class c WHERE c.oid = p_of.current_rows);
    owner CONSTANT text := (SELECT c.relowner::regrole::text FROM pg_class c WHERE c.oid = p_of.table_name);
    instant CONSTANT text := '(SELECT ' || replace(format('%s.%I', home, p_of.base_name || '_instant'), '%', '%%') || '(%L))';
BEGIN
    PERFORM temporal.given(p_of);
    EXECUTE format('CREATE VIEW %s WITH (security_invoker = true) AS %s', p_timeline, temporal.timeline_query(p_of));
    EXECUTE format('CREATE VIEW %s WITH (security_invoker = true) AS %s', p_as_of,
                   temporal.as_of_query(p_of, format(instant, 'as_of'), format(instant, 'known_at')));
    EXECUTE format('ALTER VIEW %s OWNER TO %s', p_timeline, owner);
    EXECUTE format('ALTER VIEW %s OWNER TO %s', p_as_of, owner);
    EXECUTE format('COMMENT ON VIEW %s IS %L', p_timeline,
                   format('All that was ever true or believed of %s, from valid_from to valid_to, as known from known_from to known_to.', p_of.table_name));
    EXECUTE format('COMMENT ON VIEW %s IS %L', p_as_of,
                   format('%s as it was at neobank.as_of (unset: now), as known at neobank.known_at (unset: today''s knowledge).', p_of.table_name));
END
$$;
REVOKE ALL ON FUNCTION temporal.make_views(temporal.tables, text, text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.make_views(temporal.tables, text, text) IS
    'Makes the views of a table''s history under these names. Called by temporal.enable and follow.';
