-- What changes a history beside the usual statements: portions of periods, corrections of the past, facts yet to come.
--
-- All of it runs with the rights of the table's owner. Who changes a key holds its row in the table, or, where the key is
-- not in the table, keeps writers of the table out.
CREATE FUNCTION temporal.instant(p_of temporal.tables, p_key jsonb, p_from timestamptz, p_to timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    instant timestamptz;
BEGIN
    PERFORM temporal.given(p_of);
    EXECUTE format(
        'SELECT greatest(now(),
            (SELECT max(CASE WHEN c.history_transaction = pg_current_xact_id() AND c.history_known_from >= now()
                        THEN c.history_known_from ELSE c.history_known_from + interval ''1 microsecond'' END)
             FROM %1$s c WHERE %4$s AND c.history_valid_from < $3),
            (SELECT max(CASE WHEN p.history_transaction = pg_current_xact_id() AND p.history_known_from >= now()
                        THEN p.history_known_from ELSE p.history_known_from + interval ''1 microsecond'' END)
             FROM %2$s p WHERE %5$s AND p.history_valid_to > $2 AND p.history_valid_from < $3),
            (SELECT max(p.history_valid_to) FROM %2$s p WHERE %5$s AND p.history_valid_to > now() AND p.history_ended_live),
            (SELECT max(s.history_known_to) FROM %3$s s WHERE %6$s AND s.history_known_to > now()))',
        p_of.current_rows, p_of.past_rows, p_of.superseded_rows, temporal.key_condition(p_of, 'c'),
        temporal.key_condition(p_of, 'p'), temporal.key_condition(p_of, 's'))
    INTO instant USING p_key, coalesce(p_from, now()), p_to;
    RETURN instant;
END
$$;
REVOKE ALL ON FUNCTION temporal.instant(temporal.tables, jsonb, timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION temporal.instant(temporal.tables, jsonb, timestamptz, timestamptz) IS
    'When a change of a key''s period is known from: the transaction''s start, or, where a transaction that began later was first, a microsecond after what it recorded. So no period is ever empty or inverted.';

CREATE FUNCTION temporal.new_values(p_of temporal.tables, p_source text, p_changes jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.string_agg(pg_catalog.format('%s.%I', CASE
               WHEN p_source = 'table' OR p_changes ? a.attname::text THEN 'x' ELSE 'r' END, a.attname), ', ' ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = (p_of).table_name AND a.attnum > 0 AND NOT a.attisdropped;
END;
REVOKE ALL ON FUNCTION temporal.new_values(temporal.tables, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION temporal.new_values(temporal.tables, text, jsonb) IS
    'The columns of a changed row: those of the change from alias x, the others from alias r.';

-- Only the columns that are given: a domain may refuse the null that the others would be.
CREATE FUNCTION temporal.given_values(p_of temporal.tables, p_parameter text, p_values jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.format('pg_catalog.jsonb_to_record(%s) x (%s)', p_parameter, pg_catalog.string_agg(
        pg_catalog.concat(pg_catalog.quote_ident(a.attname), ' ', pg_catalog.format_type(a.atttypid, a.atttypmod),
                          CASE WHEN a.attcollation <> 0 THEN ' COLLATE ' || a.attcollation::regcollation END), ', ' ORDER BY a.attnum))
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = (p_of).table_name AND a.attnum > 0 AND NOT a.attisdropped AND p_values ? a.attname::text;
END;
REVOKE ALL ON FUNCTION temporal.given_values(temporal.tables, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION temporal.given_values(temporal.tables, text, jsonb) IS
    'The columns that an object of values has, of the table''s types, as a row of alias x; p_parameter: the statement''s parameter that is the object.';

CREATE FUNCTION temporal.with_generated(p_of temporal.tables) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.string_agg(CASE WHEN a.attgenerated = '' THEN pg_catalog.format('m.%I', a.attname)
               ELSE pg_catalog.format('(%s)', pg_catalog.pg_get_expr(d.adbin, d.adrelid)) END, ', ' ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = (p_of).table_name AND a.attnum > 0 AND NOT a.attisdropped;
END;
REVOKE ALL ON FUNCTION temporal.with_generated(temporal.tables) FROM PUBLIC;
COMMENT ON FUNCTION temporal.with_generated(temporal.tables) IS
    'The columns of a row of alias m, those that are generated worked out anew.';

CREATE FUNCTION temporal.rewrite(
    p_of temporal.tables, p_key jsonb, p_from timestamptz, p_to timestamptz, p_instant timestamptz, p_source text, p_changes jsonb, p_who text
) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    columns CONSTANT text := temporal.column_list(p_of.table_name, '');
    old_columns CONSTANT text := temporal.column_list(p_of.table_name, 'r.');
    source CONSTANT text := CASE p_source
        WHEN 'table' THEN format(' JOIN %s x ON %s', p_of.table_name, temporal.key_match(p_of, 'x', 'r'))
        ELSE ' CROSS JOIN ' || temporal.given_values(p_of, '$7', p_changes) END;
    into_past CONSTANT text := format('INSERT INTO %s (%s, history_valid_from, history_valid_to, history_known_from, history_ended_live,
        history_by, history_transaction, history_closed_by, history_closed_transaction)', p_of.past_rows, columns);
    into_current CONSTANT text := format('INSERT INTO %s (%s, history_valid_from, history_known_from, history_by, history_transaction)',
                                         p_of.current_rows, columns);
    changing text;
    piece record;
    pieces bigint := 0;
BEGIN
    PERFORM temporal.given(p_of);
    changing := CASE WHEN p_source = 'none' THEN '' ELSE
        format(', m AS (SELECT %1$s, greatest(r.history_valid_from, $3) AS history_valid_from, least(r.history_end, $4) AS history_valid_to FROM r%2$s),
            changed AS (%3$s SELECT %5$s, m.history_valid_from, m.history_valid_to, $5, false, $8, pg_current_xact_id(), $8, pg_current_xact_id()
                FROM m WHERE m.history_valid_to < ''infinity''),
            changed_open AS (%4$s SELECT %5$s, m.history_valid_from, $5, $8, pg_current_xact_id() FROM m WHERE m.history_valid_to = ''infinity'')',
            temporal.new_values(p_of, p_source, p_changes), source, into_past, into_current, temporal.with_generated(p_of)) END;
    FOR piece IN EXECUTE format(
        'SELECT c.ctid AS place, true AS is_open, c.history_transaction = pg_current_xact_id() AND c.history_known_from >= now() AS is_mine
         FROM %1$s c WHERE %3$s AND c.history_valid_from < $3
         UNION ALL
         SELECT p.ctid, false, p.history_transaction = pg_current_xact_id() AND p.history_known_from >= now()
         FROM %2$s p WHERE %4$s AND p.history_valid_to > $2 AND p.history_valid_from < $3',
        p_of.current_rows, p_of.past_rows, temporal.key_condition(p_of, 'c'), temporal.key_condition(p_of, 'p'))
        USING p_key, p_from, p_to
    LOOP
        EXECUTE format('WITH r AS (DELETE FROM %6$s c WHERE c.ctid = $2 RETURNING c.*, %7$s),
            believed AS (INSERT INTO %1$s (%2$s, history_valid_from, history_valid_to, history_known_from, history_known_to, history_ended_live,
                    history_by, history_transaction, history_closed_by, history_closed_transaction)
                SELECT %3$s, r.history_valid_from, r.history_end, r.history_known_from, $5, r.history_live, r.history_by, r.history_transaction,
                    $8, pg_current_xact_id()
                FROM r WHERE NOT $6),
            before AS (%4$s SELECT %3$s, r.history_valid_from, $3, $5, false, $8, pg_current_xact_id(), $8, pg_current_xact_id()
                FROM r WHERE r.history_valid_from < $3),
            after AS (%4$s SELECT %3$s, $4, r.history_end, $5, false, $8, pg_current_xact_id(), $8, pg_current_xact_id()
                FROM r WHERE $4 < r.history_end AND r.history_end < ''infinity''),
            after_open AS (%5$s SELECT %3$s, $4, $5, $8, pg_current_xact_id() FROM r WHERE $4 < r.history_end AND r.history_end = ''infinity'')
            %8$s
            SELECT count(*), ($1, $7) IS NULL FROM r',
            p_of.superseded_rows, columns, old_columns, into_past, into_current,
            CASE WHEN piece.is_open THEN p_of.current_rows ELSE p_of.past_rows END,
            CASE WHEN piece.is_open THEN '''infinity''::timestamptz AS history_end, false AS history_live'
                 ELSE 'c.history_valid_to AS history_end, c.history_ended_live AS history_live' END, changing)
        USING p_key, piece.place, p_from, p_to, p_instant, piece.is_mine, p_changes, p_who;
        pieces := pieces + 1;
    END LOOP;
    RETURN pieces;
END
$$;
REVOKE ALL ON FUNCTION temporal.rewrite(temporal.tables, jsonb, timestamptz, timestamptz, timestamptz, text, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.rewrite(temporal.tables, jsonb, timestamptz, timestamptz, timestamptz, text, jsonb, text) IS
    'What is believed of a key from p_from to p_to is superseded at p_instant: p_source none: by nothing, changes: by the same with p_changes, table: by the table''s row. What lies outside is believed on. Returns the number of periods.';

CREATE FUNCTION temporal.add_fact(
    p_of temporal.tables, p_key jsonb, p_from timestamptz, p_to timestamptz, p_instant timestamptz, p_source text, p_values jsonb, p_who text
) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    taken text;
    source CONSTANT text := CASE p_source
        WHEN 'table' THEN format('%s m WHERE %s', p_of.table_name, temporal.key_condition(p_of, 'm'))
        ELSE format('(SELECT %s FROM %s) m', (
            SELECT string_agg(CASE WHEN p_values ? a.attname::text THEN format('x.%I', a.attname)
                              ELSE format('NULL::%s AS %I', format_type(a.atttypid, a.atttypmod), a.attname) END, ', ' ORDER BY a.attnum)
            FROM pg_attribute a
            WHERE a.attrelid = p_of.table_name AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''),
            temporal.given_values(p_of, '$6', p_values)) END;
BEGIN
    PERFORM temporal.given(p_of);
    EXECUTE format(
        'SELECT format(''from %%s to %%s'', x.a, x.z) FROM (
            SELECT c.history_valid_from AS a, ''infinity''::timestamptz AS z FROM %1$s c WHERE %3$s AND c.history_valid_from < $3
            UNION ALL SELECT p.history_valid_from, p.history_valid_to FROM %2$s p
            WHERE %4$s AND p.history_valid_to > $2 AND p.history_valid_from < $3) x ORDER BY x.a LIMIT 1',
        p_of.current_rows, p_of.past_rows, temporal.key_condition(p_of, 'c'), temporal.key_condition(p_of, 'p'))
    INTO taken USING p_key, p_from, p_to;
    IF taken IS NOT NULL THEN
        RAISE EXCEPTION 'period overlaps another one of its key'
            USING ERRCODE = 'NB325', DETAIL = format('Key %s of %s has a row %s.', left(p_key::text, 200), p_of.table_name, taken),
                  HINT = 'Change the row with temporal.update_portion, or delete that portion first.';
    END IF;
    IF p_to = 'infinity' THEN
        EXECUTE format('INSERT INTO %s (%s, history_valid_from, history_known_from, history_by, history_transaction)
                        SELECT %s, $2, $4, $5, pg_current_xact_id() FROM %s', p_of.current_rows,
                       temporal.column_list(p_of.table_name, ''), temporal.with_generated(p_of), source)
        USING p_key, p_from, p_to, p_instant, p_who, p_values;
    ELSE
        EXECUTE format('INSERT INTO %s (%s, history_valid_from, history_valid_to, history_known_from, history_ended_live, history_by,
                            history_transaction, history_closed_by, history_closed_transaction)
                        SELECT %s, $2, $3, $4, false, $5, pg_current_xact_id(), $5, pg_current_xact_id() FROM %s', p_of.past_rows,
                       temporal.column_list(p_of.table_name, ''), temporal.with_generated(p_of), source)
        USING p_key, p_from, p_to, p_instant, p_who, p_values;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.add_fact(temporal.tables, jsonb, timestamptz, timestamptz, timestamptz, text, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.add_fact(temporal.tables, jsonb, timestamptz, timestamptz, timestamptz, text, jsonb, text) IS
    'A row of a key is true from p_from to p_to, known from p_instant. p_source: table: the table''s row, changes: p_values. NB325: there is one in that time.';

CREATE FUNCTION temporal.believed(p_of temporal.tables, p_key jsonb, p_at timestamptz,
    OUT in_table boolean, OUT is_believed boolean, OUT is_same boolean, OUT valid_from timestamptz, OUT valid_to timestamptz,
    OUT is_mine boolean, OUT believed_row jsonb)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM temporal.given(p_of);
    EXECUTE format(
        'SELECT t.history_there IS NOT NULL, b.history_there IS NOT NULL,
                t.history_there AND b.history_there AND record_image_eq(ROW(%1$s), ROW(%2$s)),
                b.history_valid_from, b.history_valid_to, b.history_mine, b.history_image
         FROM (SELECT) one
         LEFT JOIN (SELECT true AS history_there, t.* FROM ONLY %3$s t WHERE %4$s) t ON true
         LEFT JOIN (
            SELECT true AS history_there, %5$s, c.history_valid_from, ''infinity''::timestamptz AS history_valid_to,
                   c.history_transaction = pg_current_xact_id() AND c.history_known_from >= now() AS history_mine,
                   to_jsonb(ROW(%5$s)::text) AS history_image
            FROM %6$s c WHERE %7$s AND c.history_valid_from <= $2
            UNION ALL
            SELECT true, %5$s, c.history_valid_from, c.history_valid_to,
                   c.history_transaction = pg_current_xact_id() AND c.history_known_from >= now(), to_jsonb(ROW(%5$s)::text)
            FROM %8$s c WHERE %7$s AND c.history_valid_to > $2 AND c.history_valid_from <= $2) b ON true',
        temporal.column_list(p_of.table_name, 't.'), temporal.column_list(p_of.table_name, 'b.'), p_of.table_name,
        temporal.key_condition(p_of, 't'), temporal.column_list(p_of.table_name, 'c.'), p_of.current_rows,
        temporal.key_condition(p_of, 'c'), p_of.past_rows)
    INTO in_table, is_believed, is_same, valid_from, valid_to, is_mine, believed_row USING p_key, p_at;
END
$$;
REVOKE ALL ON FUNCTION temporal.believed(temporal.tables, jsonb, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION temporal.believed(temporal.tables, jsonb, timestamptz) IS
    'Whether the table has a row of the key, whether its history believes one to be true at the instant and from when to when, whether they are the same, and whether this transaction recorded it; believed_row is its columns as the text of a row.';

CREATE FUNCTION temporal.settle(p_table regclass, p_key jsonb, p_old_row jsonb, p_who text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_table CONSTANT temporal.tables := temporal.enabled_table(p_table);
    present CONSTANT timestamptz := clock_timestamp();
    seen record;
    due text;
    instant timestamptz;
    later timestamptz;
BEGIN
    seen := temporal.believed(of_table, p_key, present);
    IF seen.is_same OR NOT (seen.in_table OR seen.is_believed) THEN
        RETURN;
    END IF;
    -- The row that the statement found is not what is true by now: a fact has come due that the table does not have yet.
    IF seen.in_table AND seen.is_believed AND NOT seen.is_mine AND p_old_row IS NOT NULL AND seen.believed_row <> p_old_row THEN
        due := format('Key %s of %s is to have another row since %s.', left(p_key::text, 200), p_table, seen.valid_from);
    ELSIF seen.in_table AND NOT seen.is_believed AND p_old_row IS NOT NULL AND pg_trigger_depth() = 1 THEN
        EXECUTE format('SELECT ''Key %%s of %%s is to have no row since '' || max(p.history_valid_to) || ''.'' FROM %s p
                        WHERE %s AND p.history_valid_to <= $2 AND NOT p.history_ended_live
                          AND p.history_valid_to > p.history_known_from AND to_jsonb(ROW(%s)::text) = $3',
                       of_table.past_rows, temporal.key_condition(of_table, 'p'), temporal.column_list(p_table, 'p.'))
        INTO due USING p_key, present, p_old_row;
        due := format(due, left(p_key::text, 200), p_table);
    END IF;
    IF due IS NOT NULL THEN
        RAISE EXCEPTION 'a fact has come due that is not in the table'
            USING ERRCODE = 'NB327', DETAIL = due,
                  HINT = 'Call temporal.apply_due, and repeat the statement.';
    END IF;
    instant := temporal.instant(of_table, p_key, CASE WHEN seen.is_believed THEN greatest(seen.valid_from, now()) END, 'infinity');
    IF NOT seen.in_table THEN
        PERFORM temporal.rewrite(of_table, p_key, greatest(instant, seen.valid_from), 'infinity', instant, 'none', NULL, p_who);
    ELSIF seen.is_believed THEN
        PERFORM temporal.rewrite(of_table, p_key, greatest(instant, seen.valid_from), seen.valid_to, instant, 'table', NULL, p_who);
    ELSE
        EXECUTE format('SELECT greatest($2, max(p.history_valid_to) FILTER (WHERE p.history_valid_to <= $3)) FROM %s p
                        WHERE %s AND p.history_valid_to > $2', of_table.past_rows, temporal.key_condition(of_table, 'p'))
        INTO later USING p_key, instant, present;
        seen.valid_from := later;
        EXECUTE format('SELECT least((SELECT min(c.history_valid_from) FROM %s c WHERE %s), (SELECT min(p.history_valid_from) FROM %s p
                        WHERE %s AND p.history_valid_to > $2), ''infinity'')', of_table.current_rows,
                       temporal.key_condition(of_table, 'c'), of_table.past_rows, temporal.key_condition(of_table, 'p'))
        INTO later USING p_key, seen.valid_from;
        PERFORM temporal.add_fact(of_table, p_key, seen.valid_from, later, instant, 'table', NULL, p_who);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.settle(regclass, jsonb, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.settle(regclass, jsonb, jsonb, text) IS
    'Has the history of a key say from now on what the table says. p_old_row: what the statement found, its columns as the text of a row; null: nothing. A changed row holds until the next fact that is scheduled, a deleted one takes those with it, a new one holds until the next. Called by triggers. NB327: a fact has come due that is not in the table.';
