-- Foreign keys over periods: as long as a row of the child is true, a row of the parent with that key is.
CREATE TABLE temporal.period_foreign_keys (
    key_name text PRIMARY KEY,
    child_table regclass NOT NULL,
    child_columns text[] NOT NULL,
    parent_table regclass NOT NULL
);
REVOKE ALL ON temporal.period_foreign_keys FROM PUBLIC;
COMMENT ON TABLE temporal.period_foreign_keys IS
    'Foreign keys over periods. Written by temporal.add_foreign_key and drop_foreign_key.';
COMMENT ON COLUMN temporal.period_foreign_keys.child_columns IS 'In the order of the parent''s key.';
ALTER TABLE temporal.period_foreign_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON temporal.period_foreign_keys FOR SELECT USING (true);
CREATE POLICY of_owner ON temporal.period_foreign_keys USING (
    pg_catalog.pg_has_role((SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = child_table), 'USAGE'));
COMMENT ON POLICY read ON temporal.period_foreign_keys IS 'Everybody who reads the table sees all of it.';
COMMENT ON POLICY of_owner ON temporal.period_foreign_keys IS 'A row is written by those who own its child table.';
SELECT pg_catalog.pg_extension_config_dump('temporal.period_foreign_keys', '');

CREATE FUNCTION temporal.period_key(p_name text) RETURNS temporal.period_foreign_keys
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link temporal.period_foreign_keys;
BEGIN
    SELECT f.* INTO link FROM temporal.period_foreign_keys f WHERE f.key_name = p_name;
    IF link.key_name IS NULL THEN
        RAISE EXCEPTION 'foreign key over periods not found'
            USING ERRCODE = 'NB335', DETAIL = format('There is none of the name %L.', left(p_name, 100)),
                  HINT = 'Look into temporal.period_foreign_keys.';
    END IF;
    RETURN link;
END
$$;
REVOKE ALL ON FUNCTION temporal.period_key(text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.period_key(text) IS
    'The row of temporal.period_foreign_keys of that name. NB335: there is none.';

CREATE FUNCTION temporal.uncovered(p_name text, p_condition text, p_key jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link temporal.period_foreign_keys;
    child temporal.tables;
    parent temporal.tables;
    same text;
    found_row text;
BEGIN
    link := temporal.period_key(p_name);
    child := temporal.enabled_table(link.child_table);
    parent := temporal.enabled_table(link.parent_table);
    SELECT string_agg(format('p.%I %s c.%I', k.name, k.operator, k.column_name), ' AND ') INTO same
    FROM ROWS FROM (unnest(parent.key_columns), unnest(parent.key_operators), unnest(link.child_columns)) AS k (name, operator, column_name);
    EXECUTE format(
        'SELECT format(''%%s from %%s to %%s'', %1$s, c.history_valid_from, c.history_valid_to)
         FROM (SELECT %3$s, ''infinity''::timestamptz AS history_valid_to FROM %2$s c WHERE %4$s
               UNION ALL SELECT %3$s, c.history_valid_to FROM %5$s c WHERE %4$s) c
         WHERE %6$s AND (
            SELECT range_agg(tstzrange(p.history_valid_from, p.history_valid_to)) FROM (
                SELECT p.history_valid_from, ''infinity''::timestamptz AS history_valid_to FROM %7$s p WHERE %9$s
                UNION ALL SELECT p.history_valid_from, p.history_valid_to FROM %8$s p WHERE %9$s) p)
            @> tstzrange(greatest(c.history_valid_from, $2), c.history_valid_to) IS NOT TRUE
            -- What is pruned of one of them is not asked for.
            AND greatest(c.history_valid_from, $2) < c.history_valid_to
         LIMIT 1',
        temporal.key_object(child, 'c'), child.current_rows,
        (SELECT string_agg(DISTINCT format('c.%I', n), ', ') FROM unnest(child.key_columns || link.child_columns) n) || ', c.history_valid_from',
        p_condition, child.past_rows, (SELECT string_agg(format('c.%I IS NOT NULL', n), ' AND ') FROM unnest(link.child_columns) n),
        parent.current_rows, parent.past_rows, same)
    INTO found_row USING p_key, greatest(child.pruned_before, parent.pruned_before);
    RETURN found_row;
END
$$;
REVOKE ALL ON FUNCTION temporal.uncovered(text, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION temporal.uncovered(text, text, jsonb) IS
    'The first row of the child that meets the condition (over alias c, with p_key as its first parameter) and whose time, from when both histories are kept on, is not covered by the parent''s; null: there is none.';

CREATE FUNCTION temporal.check_child(p_name text, p_row jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link temporal.period_foreign_keys;
    child temporal.tables;
    parent temporal.tables;
    key jsonb;
    part regclass;
    held tid[];
    there tid[];
    lost text;
BEGIN
    link := temporal.period_key(p_name);
    SELECT jsonb_object_agg(k.name, p_row -> k.column_name) INTO key
    FROM temporal.tables t, ROWS FROM (unnest(t.key_columns), unnest(link.child_columns)) AS k (name, column_name)
    WHERE t.table_name = link.parent_table;
    child := temporal.enabled_table(link.child_table);
    parent := temporal.enabled_table(link.parent_table);
    -- Who is about to take away from the parent's time waits, or is waited for. Rows that somebody put in the place of
    -- others meanwhile are not held yet: then once more.
    FOREACH part IN ARRAY ARRAY[parent.current_rows, parent.past_rows] LOOP
        LOOP
            EXECUTE format('SELECT array_agg(x.place ORDER BY x.place) FROM (SELECT p.ctid AS place FROM %s p WHERE %s FOR SHARE) x',
                           part, temporal.key_condition(parent, 'p')) INTO held USING key;
            EXECUTE format('SELECT array_agg(p.ctid ORDER BY p.ctid) FROM %s p WHERE %s',
                           part, temporal.key_condition(parent, 'p')) INTO there USING key;
            EXIT WHEN there <@ held OR there IS NULL;
        END LOOP;
    END LOOP;
    SELECT jsonb_object_agg(k, p_row -> k) INTO key FROM unnest(child.key_columns) k;
    lost := temporal.uncovered(p_name, temporal.key_condition(child, 'c'), key);
    IF lost IS NOT NULL THEN
        RAISE EXCEPTION 'period of the parent does not cover the child''s'
            USING ERRCODE = 'NB330', DETAIL = format('Row %s of %s has no row of %s all that time.', lost, link.child_table, link.parent_table),
                  HINT = 'Give the parent that time first, or the child less.', CONSTRAINT = p_name;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.check_child(text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION temporal.check_child(text, jsonb) IS
    'Refuses a key of the child whose time the parent does not cover. Called by the triggers of a foreign key over periods, at the end of the transaction. NB330: it does not.';

CREATE FUNCTION temporal.check_parent(p_name text, p_row jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link temporal.period_foreign_keys;
    condition text;
    lost text;
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'isolation level does not allow it'
            USING ERRCODE = 'NB334', DETAIL = 'Children that others have added since the transaction began would not be seen.',
                  HINT = 'Change rows that foreign keys over periods refer to at READ COMMITTED.';
    END IF;
    link := temporal.period_key(p_name);
    SELECT string_agg(format('c.%I %s %s', k.column_name, k.operator, temporal.key_value(t, k.name)), ' AND ')
    INTO condition
    FROM temporal.tables t,
         ROWS FROM (unnest(t.key_columns), unnest(t.key_operators), unnest(link.child_columns)) AS k (name, operator, column_name)
    WHERE t.table_name = link.parent_table;
    lost := temporal.uncovered(p_name, condition, p_row);
    IF lost IS NOT NULL THEN
        RAISE EXCEPTION 'period of the parent does not cover the child''s'
            USING ERRCODE = 'NB330', DETAIL = format('Row %s of %s would have no row of %s all that time.', lost, link.child_table, link.parent_table),
                  HINT = 'Take the time away from the child first.', CONSTRAINT = p_name;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.check_parent(text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION temporal.check_parent(text, jsonb) IS
    'Refuses a change of a parent''s time that leaves a child without it. Called by the triggers of a foreign key over periods, at the end of the transaction. NB330: it would; NB334: above READ COMMITTED.';

CREATE FUNCTION temporal.add_foreign_key(p_child regclass, p_columns text[], p_parent regclass, p_name text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    child CONSTANT temporal.tables := temporal.enabled_table(p_child);
    parent CONSTANT temporal.tables := temporal.enabled_table(p_parent);
    name CONSTANT text := coalesce(p_name, temporal.cut_name(child.base_name || '_' || array_to_string(p_columns, '_'), 40) || '_period_fkey');
    home CONSTANT text := (SELECT c.relnamespace::regnamespace::text FROM pg_class c WHERE c.oid = child.current_rows);
    owner CONSTANT oid := (SELECT c.relowner FROM pg_class c WHERE c.oid = p_child);
    wrong text;
    part record;
    lost text;
BEGIN
    IF p_columns IS NULL THEN
        RAISE EXCEPTION 'argument "p_columns" must not be null' USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    EXECUTE format('LOCK TABLE %s, %s IN SHARE ROW EXCLUSIVE MODE', p_child, p_parent);
    EXECUTE format('LOCK TABLE %s, %s IN SHARE ROW EXCLUSIVE MODE', child.current_rows, parent.current_rows);
    wrong := CASE
        WHEN NOT pg_has_role(owner, 'USAGE') OR owner <> (SELECT c.relowner FROM pg_class c WHERE c.oid = p_parent) THEN 'The tables are not both of the same owner, who alone may do this.'
        WHEN cardinality(p_columns) <> cardinality(parent.key_columns) THEN format('The key of %s is (%s).', p_parent, array_to_string(parent.key_columns, ', '))
        WHEN EXISTS (SELECT FROM temporal.period_foreign_keys f WHERE f.key_name = name) THEN format('There is one of the name %L.', name)
        WHEN octet_length(name) > 50 OR name = '' THEN 'A name has 1 to 50 bytes.'
        ELSE (SELECT format('Column %I of %s is not of the type of %I.', k.column_name, p_child, k.name)
              FROM ROWS FROM (unnest(parent.key_columns), unnest(p_columns)) AS k (name, column_name)
              JOIN pg_attribute a ON a.attrelid = p_parent AND a.attname = k.name
              LEFT JOIN pg_attribute c ON c.attrelid = p_child AND c.attname = k.column_name AND c.attnum > 0 AND NOT c.attisdropped
              WHERE c.atttypid IS DISTINCT FROM a.atttypid LIMIT 1) END;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'foreign key over periods cannot be added'
            USING ERRCODE = 'NB332', DETAIL = wrong, HINT = 'Name columns of the child in the order of the parent''s key.';
    END IF;
    INSERT INTO temporal.period_foreign_keys VALUES (name, p_child, p_columns, p_parent);
    lost := temporal.uncovered(name, 'true', NULL);
    IF lost IS NOT NULL THEN
        RAISE EXCEPTION 'period of the parent does not cover the child''s'
            USING ERRCODE = 'NB330', DETAIL = format('Row %s of %s has no row of %s all that time.', lost, p_child, p_parent),
                  HINT = 'Give the parent that time first, or the child less.';
    END IF;
    FOR part IN
        SELECT '_child' AS side, 'NEW' AS image, 'INSERT OR UPDATE' AS events, child.current_rows AS current_rows, child.past_rows AS past_rows
        UNION ALL SELECT '_parent', 'OLD', 'UPDATE OR DELETE', parent.current_rows, parent.past_rows
    LOOP
        -- As the owner: when a transaction ends, its user may be another than the one who wrote.
        EXECUTE format('CREATE FUNCTION %s.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on
            SET extra_float_digits = 1 SET intervalstyle = ''iso_8601'' AS %L',
            home, name || part.side, format('BEGIN PERFORM temporal.check%s(%L, to_jsonb(%s)); RETURN NULL; END', part.side, name, part.image));
        EXECUTE format('REVOKE ALL ON FUNCTION %s.%I() FROM PUBLIC', home, name || part.side);
        EXECUTE format('ALTER FUNCTION %s.%I() OWNER TO %s', home, name || part.side, owner::regrole);
        EXECUTE format('ALTER FUNCTION %s.%I() DEPENDS ON EXTENSION neobank', home, name || part.side);
        EXECUTE format('CREATE CONSTRAINT TRIGGER %1$I AFTER %2$s ON %3$s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION %4$s.%1$I()',
                       name || part.side, part.events, part.current_rows, home);
        EXECUTE format('ALTER TRIGGER %I ON %s DEPENDS ON EXTENSION neobank', name || part.side, part.current_rows);
        EXECUTE format('CREATE CONSTRAINT TRIGGER %1$I AFTER %2$s ON %3$s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION %4$s.%1$I()',
                       name || part.side, part.events, part.past_rows, home);
        EXECUTE format('ALTER TRIGGER %I ON %s DEPENDS ON EXTENSION neobank', name || part.side, part.past_rows);
    END LOOP;
    EXECUTE format('CREATE INDEX %I ON %s (%s)', name || '_current', child.current_rows, (SELECT string_agg(format('%I', n), ', ') FROM unnest(p_columns) n));
    EXECUTE format('CREATE INDEX %I ON %s (%s)', name || '_past', child.past_rows, (SELECT string_agg(format('%I', n), ', ') FROM unnest(p_columns) n));
    RETURN name;
END
$$;
REVOKE ALL ON FUNCTION temporal.add_foreign_key(regclass, text[], regclass, text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.add_foreign_key(regclass, text[], regclass, text) IS
    'Demands that as long as a row of p_child is true whose p_columns are not null, a row of p_parent is true that has them as its key; of what is believed today. Checked when a transaction ends, under concurrency too. p_columns: in the order of the parent''s key; p_name: of the key, up to 50 bytes, null: made from the names. Both tables have a history and the same owner. Returns the name. NB320: a table has none; NB330: it is not so now; NB332: it cannot be added; 22004: null.';

CREATE FUNCTION temporal.drop_foreign_key(p_name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link temporal.period_foreign_keys;
    child temporal.tables;
    home text;
    side text;
BEGIN
    DELETE FROM temporal.period_foreign_keys f WHERE f.key_name = p_name RETURNING f.* INTO link;
    IF link.key_name IS NULL THEN
        RAISE EXCEPTION 'foreign key over periods not found'
            USING ERRCODE = 'NB335', DETAIL = format('There is none of the name %L that the caller may drop.', left(p_name, 100)),
                  HINT = 'Look into temporal.period_foreign_keys.';
    END IF;
    child := temporal.enabled_table(link.child_table);
    SELECT c.relnamespace::regnamespace::text INTO home FROM pg_class c WHERE c.oid = child.current_rows;
    FOREACH side IN ARRAY ARRAY['_child', '_parent'] LOOP
        -- With its triggers.
        EXECUTE format('DROP FUNCTION %s.%I() CASCADE', home, p_name || side);
    END LOOP;
    EXECUTE format('DROP INDEX %1$s.%2$I, %1$s.%3$I', home, p_name || '_current', p_name || '_past');
END
$$;
REVOKE ALL ON FUNCTION temporal.drop_foreign_key(text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.drop_foreign_key(text) IS
    'Takes a foreign key over periods away. NB335: there is none of that name.';
