-- STABLE, and so sees what the statement sees that calls it.
CREATE FUNCTION temporal.places(p_of temporal.tables, p_key jsonb) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_places text;
BEGIN
    PERFORM temporal.given(p_of);
    EXECUTE format(
        'SELECT string_agg(x.place, '';'') FROM (
            SELECT ''c'' || c.ctid AS place FROM %1$s c WHERE %4$s
            UNION ALL SELECT ''p'' || c.ctid FROM %2$s c WHERE %4$s
            UNION ALL SELECT ''s'' || c.ctid FROM %3$s c WHERE %4$s) x',
        p_of.current_rows, p_of.past_rows, p_of.superseded_rows, temporal.key_condition(p_of, 'c'))
    INTO found_places USING p_key;
    RETURN found_places;
END
$$;
REVOKE ALL ON FUNCTION temporal.places(temporal.tables, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION temporal.places(temporal.tables, jsonb) IS
    'Where the rows of a key are in the tables of its history, parted by semicolons; null: there are none. Called by temporal.check_snapshot.';

CREATE FUNCTION temporal.lock_key(p_of temporal.tables, p_key jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET row_security = on
AS $$
DECLARE
    locking CONSTANT text := format('SELECT 1 FROM ONLY %s t WHERE %s FOR UPDATE', p_of.table_name, temporal.key_condition(p_of, 't'));
    touched bigint;
BEGIN
    PERFORM temporal.given(p_of);
    EXECUTE locking USING p_key;
    GET DIAGNOSTICS touched = ROW_COUNT;
    IF touched > 0 THEN
        -- A transaction whose snapshot is older than this change of the key must notice.
        EXECUTE format('UPDATE %s c SET history_by = c.history_by WHERE %s', p_of.current_rows, temporal.key_condition(p_of, 'c')) USING p_key;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched > 0 THEN
            RETURN;
        END IF;
    ELSE
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', p_of.current_rows);
        EXECUTE locking USING p_key;
        PERFORM temporal.check_snapshot(p_of.table_name, p_key);
    END IF;
    UPDATE temporal.tables t SET gate = t.gate + 1 WHERE t.table_name = p_of.table_name;
END
$$;
REVOKE ALL ON FUNCTION temporal.lock_key(temporal.tables, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION temporal.lock_key(temporal.tables, jsonb) IS
    'Keeps others from changing what is believed of a key until the transaction ends: by its row, or, where it is not in the table, by keeping out who writes the table. Above READ COMMITTED a change in between is 40001.';

CREATE FUNCTION temporal.check_key(p_of temporal.tables, p_key jsonb) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM temporal.given(p_of);
    IF p_key IS NULL THEN
        RAISE EXCEPTION 'argument "key" must not be null' USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF jsonb_typeof(p_key) <> 'object' OR EXISTS (
        SELECT FROM unnest(p_of.key_columns) k WHERE p_key ->> k IS NULL) OR EXISTS (
        SELECT FROM jsonb_object_keys(CASE jsonb_typeof(p_key) WHEN 'object' THEN p_key ELSE '{}' END) o
        WHERE o <> ALL (p_of.key_columns)) THEN
        RAISE EXCEPTION 'key is not valid'
            USING ERRCODE = 'NB323', DETAIL = format('The key of %s is (%s); %s came.', p_of.table_name,
                                                    array_to_string(p_of.key_columns, ', '), left(p_key::text, 200)),
                  HINT = 'Give an object of these columns, none of them null.';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.check_key(temporal.tables, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION temporal.check_key(temporal.tables, jsonb) IS
    'Refuses what is not a whole key of the table. NB323: it is not; 22004: null.';

CREATE FUNCTION temporal.check_period(p_from timestamptz, p_to timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_from IS NULL OR p_to IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN p_from IS NULL THEN 'valid_from' ELSE 'valid_to' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Use infinity for an open end.';
    END IF;
    IF p_from >= p_to THEN
        RAISE EXCEPTION 'period is not valid'
            USING ERRCODE = 'NB324', DETAIL = format('It is to begin at %s and to end at %s.', p_from, p_to),
                  HINT = 'Give an end after the begin; the begin belongs to the period, the end does not.';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.check_period(timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION temporal.check_period(timestamptz, timestamptz) IS
    'Refuses a period that is empty or inverted. NB324: it is; 22004: null.';

CREATE FUNCTION temporal.check_changes(p_of temporal.tables, p_changes jsonb, p_with_key boolean) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong text;
BEGIN
    PERFORM temporal.given(p_of);
    IF p_changes IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN p_with_key THEN 'row_values' ELSE 'changes' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF jsonb_typeof(p_changes) <> 'object' OR p_changes = '{}' THEN
        wrong := 'It must be an object with a column at least.';
    ELSE
        SELECT CASE
            WHEN a.attname IS NULL THEN format('There is no column %s.', quote_ident(left(o, 100)))
            WHEN a.attgenerated <> '' THEN format('Column %I is generated.', o)
            WHEN NOT p_with_key AND o = ANY (p_of.key_columns) THEN format('Column %I is of the key, which tells rows apart for ever.', o) END
        INTO wrong
        FROM jsonb_object_keys(p_changes) o
        LEFT JOIN pg_attribute a ON a.attrelid = p_of.table_name AND a.attname = o AND a.attnum > 0 AND NOT a.attisdropped
        WHERE a.attname IS NULL OR a.attgenerated <> '' OR NOT p_with_key AND o = ANY (p_of.key_columns)
        LIMIT 1;
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'values are not valid'
            USING ERRCODE = 'NB326', DETAIL = wrong, HINT = format('Give values of columns of %s by their names.', p_of.table_name);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.check_changes(temporal.tables, jsonb, boolean) FROM PUBLIC;
COMMENT ON FUNCTION temporal.check_changes(temporal.tables, jsonb, boolean) IS
    'Refuses values that are not of the table''s columns. NB326: they are not; 22004: null.';

CREATE FUNCTION temporal.check_rows(p_of temporal.tables, p_key jsonb, p_from timestamptz, p_to timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    columns CONSTANT text := temporal.column_list(p_of.table_name, 'c.');
    pieces CONSTANT text := format(
        'SELECT %1$s, c.history_valid_from, ''infinity''::timestamptz AS history_valid_to FROM %2$s c WHERE %4$s AND c.history_valid_from < $3
         UNION ALL SELECT %1$s, c.history_valid_from, c.history_valid_to FROM %3$s c
         WHERE %4$s AND c.history_valid_to > $2 AND c.history_valid_from < $3',
        columns, p_of.current_rows, p_of.past_rows, temporal.key_condition(p_of, 'c'));
    rule record;
    is_broken boolean;
BEGIN
    PERFORM temporal.given(p_of);
    FOR rule IN
        SELECT c.conname::text AS name, pg_get_expr(c.conbin, c.conrelid) AS must, 'check_violation' AS code
        FROM pg_constraint c WHERE c.conrelid = p_of.table_name AND c.contype = 'c'
        UNION ALL
        SELECT a.attname, format('%I IS NOT NULL', a.attname), 'not_null_violation'
        FROM pg_attribute a WHERE a.attrelid = p_of.table_name AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM (%s) t WHERE NOT coalesce((%s), true))', pieces, rule.must)
        INTO is_broken USING p_key, p_from, p_to;
        IF is_broken AND rule.code = 'check_violation' THEN
            RAISE EXCEPTION 'row of the period violates check constraint "%"', rule.name
                USING ERRCODE = rule.code, TABLE = p_of.table_name::text, CONSTRAINT = rule.name;
        ELSIF is_broken THEN
            RAISE EXCEPTION 'null value in column "%" violates not-null constraint', rule.name
                USING ERRCODE = rule.code, TABLE = p_of.table_name::text, COLUMN = rule.name;
        END IF;
    END LOOP;
    EXECUTE format('SELECT EXISTS (SELECT FROM (SELECT x.history_valid_from < lag(x.history_valid_to) OVER (ORDER BY x.history_valid_from, x.history_valid_to) AS overlaps
                    FROM (%s) x) y WHERE y.overlaps)', pieces)
    INTO is_broken USING p_key, '-infinity'::timestamptz, 'infinity'::timestamptz;
    IF is_broken THEN
        RAISE EXCEPTION 'history is inconsistent'
            USING ERRCODE = 'NB329', DETAIL = format('Periods of key %s of %s would overlap.', left(p_key::text, 200), p_of.table_name),
                  HINT = 'See temporal.check_history; the history was changed past its table.';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.check_rows(temporal.tables, jsonb, timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION temporal.check_rows(temporal.tables, jsonb, timestamptz, timestamptz) IS
    'What a portion was given must keep the table''s constraints, as far as they are of one row, and no two periods of the key may overlap. 23514, 23502: a constraint; NB329: an overlap.';

CREATE FUNCTION temporal.apply_key(p_of temporal.tables, p_key jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    present CONSTANT timestamptz := clock_timestamp();
    seen record := temporal.believed(p_of, p_key, present);
    names text;
    sources text;
BEGIN
    PERFORM temporal.given(p_of);
    IF seen.is_same OR NOT (seen.in_table OR seen.is_believed) THEN
        RETURN false;
    END IF;
    SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum), string_agg(format('b.%I', a.attname), ', ' ORDER BY a.attnum)
    INTO names, sources
    FROM pg_attribute a
    WHERE a.attrelid = p_of.table_name AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
      AND NOT (seen.in_table AND (a.attidentity = 'a' OR a.attname = ANY (p_of.key_columns)));
    sources := format('SELECT %1$s FROM (
            SELECT %2$s FROM %3$s b WHERE %5$s AND b.history_valid_from <= $2
            UNION ALL SELECT %2$s FROM %4$s b WHERE %5$s AND b.history_valid_from <= $2 AND b.history_valid_to > $2) b',
        sources, temporal.column_list(p_of.table_name, 'b.'), p_of.current_rows, p_of.past_rows, temporal.key_condition(p_of, 'b'));
    IF NOT seen.is_believed THEN
        EXECUTE format('DELETE FROM ONLY %s t WHERE %s', p_of.table_name, temporal.key_condition(p_of, 't')) USING p_key;
    ELSIF seen.in_table THEN
        EXECUTE format('UPDATE ONLY %s t SET (%s) = (%s) WHERE %s', p_of.table_name, names, sources, temporal.key_condition(p_of, 't'))
        USING p_key, present;
    ELSE
        EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE %s', p_of.table_name, names, sources) USING p_key, present;
    END IF;
    seen := temporal.believed(p_of, p_key, present);
    IF seen.is_same IS NOT TRUE AND (seen.in_table OR seen.is_believed) THEN
        -- Unless a further fact has come due meanwhile.
        seen := temporal.believed(p_of, p_key, clock_timestamp());
    END IF;
    IF seen.is_same IS NOT TRUE AND (seen.in_table OR seen.is_believed) THEN
        RAISE EXCEPTION 'table does not take the row'
            USING ERRCODE = 'NB336', DETAIL = format('What is true now of key %s was written to %s, which does not say so: a trigger or rule of the table keeps it back.', left(p_key::text, 200), p_of.table_name),
                  HINT = 'Change the trigger or rule, or give a portion that the table may have.';
    END IF;
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION temporal.apply_key(temporal.tables, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION temporal.apply_key(temporal.tables, jsonb) IS
    'Has the table say of a key what its history believes to be true now. Returns whether that changed it. NB336: a trigger or rule of the table keeps the row back.';

CREATE FUNCTION temporal.change_portion(
    p_table regclass, p_action text, p_key jsonb, p_from timestamptz, p_to timestamptz, p_values jsonb, p_who text
) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET neobank.history_guard = off
SET extra_float_digits = 1
AS $$
DECLARE
    of_table CONSTANT temporal.tables := temporal.enabled_table(p_table);
    key jsonb := p_key;
    instant timestamptz;
    present timestamptz;
    pieces bigint := 1;
BEGIN
    IF p_action <> 'delete' THEN
        PERFORM temporal.check_changes(of_table, p_values, p_action = 'insert');
    END IF;
    IF p_action = 'insert' THEN
        SELECT jsonb_object_agg(k, p_values -> k) INTO key FROM unnest(of_table.key_columns) k;
    END IF;
    PERFORM temporal.check_key(of_table, key), temporal.check_period(p_from, p_to);
    IF p_action = 'insert' THEN
        -- As the columns will have it.
        EXECUTE format('SELECT %s FROM %s', temporal.key_object(of_table, 'x'), temporal.given_values(of_table, '$1', key)) INTO key USING key;
    END IF;
    IF p_from < of_table.pruned_before THEN
        RAISE EXCEPTION 'history of the time is pruned'
            USING ERRCODE = 'NB331', DETAIL = format('The history of %s is kept from %s on.', p_table, of_table.pruned_before),
                  HINT = 'Begin the portion at a later instant.';
    END IF;
    PERFORM temporal.lock_key(of_table, key);
    instant := temporal.instant(of_table, key, p_from, p_to);
    IF p_action = 'insert' THEN
        PERFORM temporal.add_fact(of_table, key, p_from, p_to, instant, 'changes', p_values, p_who);
    ELSE
        pieces := temporal.rewrite(of_table, key, p_from, p_to, instant, CASE p_action WHEN 'delete' THEN 'none' ELSE 'changes' END, p_values, p_who);
    END IF;
    PERFORM temporal.check_rows(of_table, key, p_from, p_to);
    present := clock_timestamp();
    -- What is recorded anew was not recorded ahead of its time: what was due before is brought into the table now, as
    -- temporal.apply_due will not find it any more.
    IF pieces > 0 OR p_from <= present AND present < p_to THEN
        PERFORM temporal.apply_key(of_table, key);
    END IF;
    RETURN pieces;
END
$$;
REVOKE ALL ON FUNCTION temporal.change_portion(regclass, text, jsonb, timestamptz, timestamptz, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.change_portion(regclass, text, jsonb, timestamptz, timestamptz, jsonb, text) IS
    'What temporal.update_portion, delete_portion and insert_portion do once they have seen to the caller''s rights. With the rights of the table''s owner.';
