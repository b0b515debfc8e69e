CREATE FUNCTION temporal.enabled_tables(p_table regclass) RETURNS SETOF temporal.tables
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_table IS NOT NULL THEN
        RETURN NEXT temporal.enabled_table(p_table);
        RETURN;
    END IF;
    RETURN QUERY
    SELECT t.* FROM temporal.tables t JOIN pg_class c ON c.oid = t.table_name
    WHERE pg_has_role(c.relowner, 'USAGE') ORDER BY t.table_name;
END
$$;
REVOKE ALL ON FUNCTION temporal.enabled_tables(regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.enabled_tables(regclass) IS
    'The row of temporal.tables of a table; null: those of all the caller''s tables. NB320: the table has no history.';

-- The triggers of a table and of its history are its owner's, and so is the role that they run as.
CREATE FUNCTION temporal.apply_due_to(p_table regclass) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET neobank.history_guard = off
SET extra_float_digits = 1
SET intervalstyle = 'iso_8601'
AS $$
DECLARE
    of_table CONSTANT temporal.tables := temporal.enabled_table(p_table);
    present CONSTANT timestamptz := clock_timestamp();
    entry record;
    applied bigint := 0;
BEGIN
    FOR entry IN EXECUTE format(
        'SELECT %1$s AS key FROM %2$s c WHERE c.history_due <= $1
            AND NOT EXISTS (SELECT FROM %4$s t WHERE %5$s AND record_image_eq(ROW(%6$s), ROW(%7$s)))
         UNION
         SELECT %1$s FROM %3$s c WHERE c.history_valid_from > c.history_known_from AND c.history_valid_from <= $1 AND c.history_valid_to > $1
            AND NOT EXISTS (SELECT FROM %4$s t WHERE %5$s AND record_image_eq(ROW(%6$s), ROW(%7$s)))
         UNION
         SELECT %1$s FROM %3$s c JOIN %4$s t ON %5$s
         WHERE NOT c.history_ended_live AND c.history_valid_to > c.history_known_from AND c.history_valid_to <= $1
            AND NOT EXISTS (SELECT FROM %2$s n WHERE %8$s AND n.history_valid_from <= $1)
            AND NOT EXISTS (SELECT FROM %3$s n WHERE %8$s AND n.history_valid_to > $1 AND n.history_valid_from <= $1)
         ORDER BY 1',
        temporal.key_object(of_table, 'c'), of_table.current_rows, of_table.past_rows, of_table.table_name,
        temporal.key_match(of_table, 't', 'c'), temporal.column_list(of_table.table_name, 't.'),
        temporal.column_list(of_table.table_name, 'c.'), temporal.key_match(of_table, 'n', 'c')) USING present
    LOOP
        PERFORM temporal.lock_key(of_table, entry.key);
        IF temporal.apply_key(of_table, entry.key) THEN
            applied := applied + 1;
        END IF;
    END LOOP;
    RETURN applied;
END
$$;
REVOKE ALL ON FUNCTION temporal.apply_due_to(regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.apply_due_to(regclass) IS
    'What temporal.apply_due does to one table. With the rights of the table''s owner.';

CREATE FUNCTION temporal.apply_due(p_table regclass DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_table temporal.tables;
    applied bigint := 0;
BEGIN
    FOR of_table IN SELECT t.* FROM temporal.enabled_tables(p_table) t LOOP
        applied := applied + temporal.as_owner(of_table.table_name, 'apply_due', NULL, NULL);
    END LOOP;
    RETURN applied;
END
$$;
REVOKE ALL ON FUNCTION temporal.apply_due(regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.apply_due(regclass) IS
    'Brings tables up to facts that were recorded ahead of their time and have come due. p_table: null: all of the caller''s. Returns how many rows were inserted, changed or deleted. NB320: the table has no history; NB336: a trigger or rule of the table keeps a row back.';

CREATE FUNCTION temporal.prune_of(p_table regclass, p_before timestamptz, p_max_rows bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET neobank.history_guard = off
AS $$
DECLARE
    of_table CONSTANT temporal.tables := temporal.enabled_table(p_table);
    told temporal.tables;
    pruned bigint;
    further bigint;
BEGIN
    -- Readers are told before rows go: the two are one transaction. Who waited for one that prunes up to a later
    -- instant leaves that as it is.
    UPDATE temporal.tables t SET pruned_before = p_before
    WHERE t.table_name = p_table AND coalesce(t.pruned_before, '-infinity') < p_before
    RETURNING t.* INTO told;
    IF told.table_name IS NOT NULL THEN
        PERFORM temporal.make_functions(told);
    END IF;
    EXECUTE format('DELETE FROM %1$s p WHERE p.ctid = ANY (ARRAY(SELECT x.ctid FROM %1$s x WHERE x.history_known_to <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))', of_table.superseded_rows)
    USING p_before, p_max_rows;
    GET DIAGNOSTICS pruned = ROW_COUNT;
    EXECUTE format('DELETE FROM %1$s p WHERE p.ctid = ANY (ARRAY(SELECT x.ctid FROM %1$s x WHERE x.history_valid_to <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))', of_table.past_rows)
    USING p_before, p_max_rows - pruned;
    GET DIAGNOSTICS further = ROW_COUNT;
    RETURN pruned + further;
END
$$;
REVOKE ALL ON FUNCTION temporal.prune_of(regclass, timestamptz, bigint) FROM PUBLIC;
COMMENT ON FUNCTION temporal.prune_of(regclass, timestamptz, bigint) IS
    'What temporal.prune does to one table; returns how many rows went. With the rights of the table''s owner.';

CREATE FUNCTION temporal.prune(p_before timestamptz, p_table regclass DEFAULT NULL, p_max_rows integer DEFAULT 10000)
RETURNS TABLE (table_name regclass, rows_pruned bigint, is_done boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    of_table temporal.tables;
    room bigint := p_max_rows;
BEGIN
    IF p_before IS NULL OR p_max_rows IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN p_before IS NULL THEN 'p_before' ELSE 'p_max_rows' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF p_before > now() OR p_max_rows NOT BETWEEN 1 AND 1000000 THEN
        RAISE EXCEPTION 'argument "%" is out of bounds', CASE WHEN p_before > now() THEN 'p_before' ELSE 'p_max_rows' END
            USING ERRCODE = 'NB021', DETAIL = 'p_before may not be yet to come, p_max_rows must be 1 to 1,000,000.',
                  HINT = 'Give an instant of the past, and call again until is_done.';
    END IF;
    FOR of_table IN SELECT t.* FROM temporal.enabled_tables(p_table) t LOOP
        rows_pruned := temporal.as_owner(of_table.table_name, 'prune', p_before, room);
        room := room - rows_pruned;
        table_name := of_table.table_name;
        is_done := room > 0;
        RETURN NEXT;
        EXIT WHEN room <= 0;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION temporal.prune(timestamptz, regclass, integer) FROM PUBLIC;
COMMENT ON FUNCTION temporal.prune(timestamptz, regclass, integer) IS
    'Deletes what only questions about instants before p_before need; such questions are then refused (NB331). p_before: not yet to come; p_table: null: all of the caller''s; p_max_rows: the most rows that one call deletes, 1 to 1,000,000. Returns a row for each table that it came to; call again until is_done is true in all. NB320: the table has no history; NB021: a bound; 22004: null.';

CREATE FUNCTION temporal.check_history(p_table regclass)
RETURNS TABLE (problem text, key jsonb, detail text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET extra_float_digits = 1
AS $$
DECLARE
    of_table CONSTANT temporal.tables := temporal.enabled_table(p_table);
BEGIN
    RETURN QUERY EXECUTE format(
        'WITH pieces AS (
            SELECT 1 AS part, c.ctid AS place, %1$s AS key, c.history_valid_from AS vf, ''infinity''::timestamptz AS vt, c.history_known_from AS kf, ''infinity''::timestamptz AS kt FROM %2$s c
            UNION ALL SELECT 2, c.ctid, %1$s, c.history_valid_from, c.history_valid_to, c.history_known_from, ''infinity'' FROM %3$s c
            UNION ALL SELECT 3, c.ctid, %1$s, c.history_valid_to, ''infinity'', c.history_known_from, c.history_valid_to FROM %3$s c WHERE c.history_ended_live
            UNION ALL SELECT 4, c.ctid, %1$s, c.history_valid_from, c.history_valid_to, c.history_known_from, c.history_known_to FROM %4$s c
            UNION ALL SELECT 5, c.ctid, %1$s, c.history_valid_to, ''infinity'', c.history_known_from, least(c.history_valid_to, c.history_known_to) FROM %4$s c WHERE c.history_ended_live)
         SELECT ''overlap'', a.key, format(''[%%s, %%s) known [%%s, %%s) and [%%s, %%s) known [%%s, %%s)'', a.vf, a.vt, a.kf, a.kt, b.vf, b.vt, b.kf, b.kt)
         FROM pieces a JOIN pieces b ON a.key = b.key AND (a.part, a.place) < (b.part, b.place)
            AND a.vf < b.vt AND b.vf < a.vt AND a.kf < b.kt AND b.kf < a.kt
         UNION ALL
         SELECT ''inverted period'', a.key, format(''[%%s, %%s) known [%%s, %%s)'', a.vf, a.vt, a.kf, a.kt) FROM pieces a WHERE a.vf >= a.vt OR a.kf >= a.kt',
        temporal.key_object(of_table, 'c'), of_table.current_rows, of_table.past_rows, of_table.superseded_rows);
    RETURN QUERY EXECUTE format(
        'WITH present AS MATERIALIZED (SELECT clock_timestamp() AS instant)
         SELECT ''table and history differ'', CASE WHEN t.ctid IS NULL THEN %2$s ELSE %1$s END, CASE WHEN t.ctid IS NULL THEN ''only in the history'' WHEN c.* IS NULL THEN ''only in the table'' ELSE ''other values'' END
         FROM ONLY %3$s t FULL JOIN (%4$s) c ON %5$s
         WHERE (record_image_eq(ROW(%6$s), ROW(%7$s))) IS NOT TRUE',
        temporal.key_object(of_table, 't'), temporal.key_object(of_table, 'c'), p_table,
        temporal.as_of_query(of_table, '(SELECT present.instant FROM present)', '''infinity''::timestamptz'), temporal.key_match(of_table, 't', 'c'),
        temporal.column_list(p_table, 't.'), temporal.column_list(p_table, 'c.'));
END
$$;
REVOKE ALL ON FUNCTION temporal.check_history(regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.check_history(regclass) IS
    'Looks through the whole history of a table. Returns a row for each pair of periods of a key that overlap on both axes, each period that is inverted, and each key of which the table does not say what the history believes now (also one with a fact that has come due, until temporal.apply_due). No row: all is well. NB320: the table has no history; 22004: null.';

CREATE FUNCTION temporal.as_of(p_row anyelement, p_valid_at timestamptz DEFAULT NULL, p_known_at timestamptz DEFAULT 'infinity')
RETURNS SETOF anyelement
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_table temporal.tables;
    given CONSTANT regclass := (SELECT t.typrelid FROM pg_type t WHERE t.oid = pg_typeof(p_row) AND t.typrelid <> 0);
    valid_at CONSTANT timestamptz := coalesce(
        p_valid_at, CASE WHEN current_setting('transaction_isolation') LIKE 'read %' THEN greatest(now(), statement_timestamp()) ELSE now() END);
BEGIN
    IF given IS NULL THEN
        RAISE EXCEPTION 'table has no history'
            USING ERRCODE = 'NB320', DETAIL = format('%s is not the row type of a table.', pg_typeof(p_row)),
                  HINT = 'Give null::TABLE.';
    END IF;
    IF p_known_at IS NULL THEN
        RAISE EXCEPTION 'argument "p_known_at" must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Use infinity for what is known today.';
    END IF;
    of_table := temporal.enabled_table(given);
    IF least(valid_at, p_known_at) < of_table.pruned_before THEN
        RAISE EXCEPTION 'history of the time is pruned'
            USING ERRCODE = 'NB331', DETAIL = format('The history of %s was asked at %s, and is kept from %s on.', given, least(valid_at, p_known_at), of_table.pruned_before),
                  HINT = 'Ask about a later instant.';
    END IF;
    RETURN QUERY EXECUTE temporal.as_of_query(of_table, '$1', '$2') USING valid_at, p_known_at;
END
$$;
REVOKE ALL ON FUNCTION temporal.as_of(anyelement, timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION temporal.as_of(anyelement, timestamptz, timestamptz) IS
    'The rows of a table that were true at an instant, as known at another. p_row: null::TABLE; p_valid_at: null: now; p_known_at: infinity: with today''s knowledge. With the caller''s own rights. NB320: the table has no history; NB331: the history of that time is pruned; 22004: null.';
