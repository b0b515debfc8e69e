CREATE FUNCTION temporal.table_obstacle(p_table regclass) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE
        WHEN c.relkind = 'p' THEN 'is partitioned'
        WHEN c.relispartition THEN 'is a partition'
        WHEN c.relkind <> 'r' THEN 'is not an ordinary table'
        WHEN c.relpersistence <> 'p' THEN 'is temporary or unlogged'
        WHEN n.nspname IN ('pg_catalog', 'information_schema') OR EXISTS (
            SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
            THEN 'belongs to the server or to an extension'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid OR i.inhparent = c.oid)
            THEN 'inherits, or is inherited from'
        WHEN c.relforcerowsecurity THEN 'forces row security on its owner, who writes the history'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_attribute a
                     WHERE a.attrelid = c.oid AND a.attname LIKE 'history\_%' AND NOT a.attisdropped)
            THEN 'has a column whose name begins with history_'
        WHEN NOT (pg_catalog.has_schema_privilege(c.relowner, 'temporal', 'USAGE')
                  AND pg_catalog.has_function_privilege(c.relowner, 'temporal.settle(regclass, jsonb, jsonb, text)', 'EXECUTE'))
            THEN 'has an owner who may not keep histories: see temporal.grant_tables'
    END
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = p_table;
END;
REVOKE ALL ON FUNCTION temporal.table_obstacle(regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.table_obstacle(regclass) IS
    'Why a table cannot have a history; null: nothing stands in the way.';

CREATE FUNCTION temporal.key_operators(p_table regclass, p_key_columns text[]) RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT found_index.operators
    FROM (
        SELECT i.indexrelid, pg_catalog.array_agg(
                   pg_catalog.format('OPERATOR(%s.%s)', o.oprnamespace::regnamespace, o.oprname)
                   ORDER BY pg_catalog.array_position(p_key_columns, a.attname::text)) AS operators,
               pg_catalog.array_agg(a.attname::text) AS names, pg_catalog.bool_and(a.attnotnull) AS complete
        FROM pg_catalog.pg_index i
        CROSS JOIN pg_catalog.generate_series(0, i.indnkeyatts - 1) AS at (n)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[at.n]
        JOIN pg_catalog.pg_opclass c ON c.oid = i.indclass[at.n]
        JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
            AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
        JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr
        WHERE i.indrelid = p_table AND i.indisunique AND i.indimmediate AND i.indisvalid
          AND i.indpred IS NULL AND i.indexprs IS NULL
        GROUP BY i.indexrelid, i.indnkeyatts) found_index
    WHERE found_index.complete AND found_index.names @> p_key_columns AND found_index.names <@ p_key_columns
      AND pg_catalog.cardinality(found_index.names) = pg_catalog.cardinality(p_key_columns)
    ORDER BY found_index.indexrelid
    LIMIT 1;
END;
REVOKE ALL ON FUNCTION temporal.key_operators(regclass, text[]) FROM PUBLIC;
COMMENT ON FUNCTION temporal.key_operators(regclass, text[]) IS
    'The equality operators of the unique index over these columns, none of which may be null; null: there is no such index.';

CREATE FUNCTION temporal.cut_name(p_name text, p_bytes integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog."left"(p_name, (
        SELECT pg_catalog.max(n) FROM pg_catalog.generate_series(0, least(pg_catalog.length(p_name), p_bytes, 63)) n
        WHERE pg_catalog.octet_length(pg_catalog."left"(p_name, n)) <= p_bytes));
END;
REVOKE ALL ON FUNCTION temporal.cut_name(text, integer) FROM PUBLIC;
COMMENT ON FUNCTION temporal.cut_name(text, integer) IS
    'As many characters of a name as take up to p_bytes bytes, which is how the server bounds names; up to 63.';

CREATE FUNCTION temporal.free_name(p_schema text, p_wanted text, p_bytes integer, p_endings text[], p_own regclass) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := temporal.cut_name(p_wanted, p_bytes);
    n integer := 1;
BEGIN
    IF p_schema IS NULL OR p_wanted IS NULL OR p_bytes IS NULL OR p_endings IS NULL THEN
        RAISE EXCEPTION 'argument must not be null' USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value for each.';
    END IF;
    WHILE EXISTS (
            SELECT FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
            WHERE s.nspname = p_schema AND c.relname = ANY (SELECT name || e FROM unnest(p_endings) e) AND c.oid IS DISTINCT FROM p_own)
        OR EXISTS (
            SELECT FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace
            WHERE s.nspname = p_schema AND p.proname = ANY (SELECT name || e FROM unnest(p_endings) e WHERE e <> ''))
    LOOP
        n := n + 1;
        name := temporal.cut_name(p_wanted, p_bytes - 1 - length(n::text)) || '_' || n;
    END LOOP;
    RETURN name;
END
$$;
REVOKE ALL ON FUNCTION temporal.free_name(text, text, integer, text[], regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.free_name(text, text, integer, text[], regclass) IS
    'The wanted name, cut to p_bytes, or, where a table, view or function of the schema other than p_own has it with one of the endings, the same with the first number behind it that is free.';

CREATE FUNCTION temporal.make_tables(p_table regclass, p_home text, p_base text, p_key_columns text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    home CONSTANT text := quote_ident(p_home);
    owner CONSTANT text := (SELECT c.relowner::regrole::text FROM pg_class c WHERE c.oid = p_table);
    columns CONSTANT text := (
        SELECT string_agg(format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                   CASE WHEN a.attcollation <> 0 THEN ' COLLATE ' || a.attcollation::regcollation END), ', ' ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = p_table AND a.attnum > 0 AND NOT a.attisdropped);
    key CONSTANT text := (SELECT string_agg(format('%I', k), ', ' ORDER BY n) FROM unnest(p_key_columns) WITH ORDINALITY x (k, n));
    recorded CONSTANT text := 'history_by text NOT NULL, history_transaction xid8 NOT NULL';
    closed CONSTANT text := 'history_closed_by text NOT NULL, history_closed_transaction xid8 NOT NULL';
    part text;
    name text;
BEGIN
    IF p_table IS NULL OR p_home IS NULL OR p_base IS NULL OR p_key_columns IS NULL THEN
        RAISE EXCEPTION 'argument must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value for each.';
    END IF;
    -- An indexed column that changes with every version would cost every index an entry each time: so what is scheduled
    -- has its instant once more, where what is not has none.
    EXECUTE format('CREATE TABLE %s.%I (%s, history_valid_from timestamptz NOT NULL, history_known_from timestamptz NOT NULL, %s,
                        history_due timestamptz GENERATED ALWAYS AS (CASE WHEN history_valid_from > history_known_from
                            THEN history_valid_from END) STORED)
                    WITH (fillfactor = 80)', home, p_base || '_current', columns, recorded);
    EXECUTE format('CREATE TABLE %s.%I (%s, history_valid_from timestamptz NOT NULL, history_valid_to timestamptz NOT NULL,
                        history_known_from timestamptz NOT NULL, history_ended_live boolean NOT NULL, %s, %s,
                        CHECK (history_valid_from < history_valid_to AND history_valid_to < ''infinity''))',
                   home, p_base || '_past', columns, recorded, closed);
    EXECUTE format('CREATE TABLE %s.%I (%s, history_valid_from timestamptz NOT NULL, history_valid_to timestamptz NOT NULL,
                        history_known_from timestamptz NOT NULL, history_known_to timestamptz NOT NULL,
                        history_ended_live boolean NOT NULL, %s, %s,
                        CHECK (history_valid_from < history_valid_to),
                        CHECK (history_known_from < history_known_to AND history_known_to < ''infinity''))',
                   home, p_base || '_superseded', columns, recorded, closed);
    EXECUTE format('ALTER TABLE %s.%I ADD PRIMARY KEY (%s)', home, p_base || '_current', key);
    EXECUTE format('CREATE INDEX ON %s.%I (history_due) WHERE history_due IS NOT NULL', home, p_base || '_current');
    EXECUTE format('CREATE UNIQUE INDEX ON %s.%I (%s, history_valid_to)', home, p_base || '_past', key);
    EXECUTE format('CREATE INDEX ON %s.%I (history_valid_from) WHERE history_valid_from > history_known_from', home, p_base || '_past');
    EXECUTE format('CREATE INDEX ON %s.%I (history_valid_to) WHERE NOT history_ended_live AND history_valid_to > history_known_from', home, p_base || '_past');
    EXECUTE format('CREATE INDEX ON %s.%I (%s, history_known_to)', home, p_base || '_superseded', key);
    FOREACH part IN ARRAY ARRAY['_current', '_past', '_superseded'] LOOP
        name := format('%s.%I', home, p_base || part);
        EXECUTE format('ALTER TABLE %s OWNER TO %s', name, owner);
        EXECUTE format('CREATE TRIGGER neobank_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s
                        FOR EACH STATEMENT WHEN (pg_catalog.pg_trigger_depth() = 0)
                        EXECUTE FUNCTION temporal.guard_history()', name);
        EXECUTE format('ALTER TRIGGER neobank_guard ON %s DEPENDS ON EXTENSION neobank', name);
        EXECUTE format('COMMENT ON TABLE %s IS %L', name, format('History of %s, written with it (NB328).', p_table));
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION temporal.make_tables(regclass, text, text, text[]) FROM PUBLIC;
COMMENT ON FUNCTION temporal.make_tables(regclass, text, text, text[]) IS
    'Makes the three tables of a table''s history. Called by temporal.enable.';

-- In the library because it writes without the cost of a statement.
CREATE FUNCTION temporal.record_history() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'neobank_record_history';
REVOKE ALL ON FUNCTION temporal.record_history() FROM PUBLIC;
COMMENT ON FUNCTION temporal.record_history() IS
    'Trigger function of tables with a history, for statements that insert, update and delete. Ends the rows'' versions and begins new ones; what is not of the usual kind goes through the function that temporal.enable has made for the table.';

CREATE FUNCTION temporal.make_triggers(p_of temporal.tables) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    record_name CONSTANT text := (
        SELECT format('%s.%I', c.relnamespace::regnamespace, p_of.base_name || '_record')
        FROM pg_class c WHERE c.oid = p_of.current_rows);
    part record;
BEGIN
    PERFORM temporal.given(p_of);
    FOR part IN
        SELECT * FROM (VALUES ('insert', 'REFERENCING NEW TABLE AS new_rows', 'temporal.record_history'),
                              ('update', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows', 'temporal.record_history'),
                              ('delete', 'REFERENCING OLD TABLE AS old_rows', 'temporal.record_history'),
                              ('truncate', '', record_name)) x (event, rows, function_name)
    LOOP
        EXECUTE format('CREATE TRIGGER neobank_history_%1$s AFTER %1$s ON %2$s %3$s
                        FOR EACH STATEMENT EXECUTE FUNCTION %4$s()', part.event, p_of.table_name, part.rows, part.function_name);
        EXECUTE format('ALTER TRIGGER neobank_history_%s ON %s DEPENDS ON EXTENSION neobank', part.event, p_of.table_name);
        EXECUTE format('COMMENT ON TRIGGER neobank_history_%s ON %s IS %L', part.event, p_of.table_name, 'Keeps the history of the table.');
    END LOOP;
    EXECUTE format('ALTER FUNCTION %s() DEPENDS ON EXTENSION neobank', record_name);
END
$$;
REVOKE ALL ON FUNCTION temporal.make_triggers(temporal.tables) FROM PUBLIC;
COMMENT ON FUNCTION temporal.make_triggers(temporal.tables) IS
    'Makes the triggers that keep a table''s history. They go with the extension, the history stays. Called by temporal.enable.';

CREATE FUNCTION temporal.home_schema(p_name text, p_table regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regnamespace(quote_ident(p_name)) IS NULL THEN
        EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', p_name,
                       (SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = p_table));
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.home_schema(text, regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.home_schema(text, regclass) IS 'Makes a schema for histories where there is none, as the table''s owner''s. Called by temporal.enable.';

CREATE FUNCTION temporal.enable(
    p_table regclass, p_key_columns text[] DEFAULT NULL, p_valid_from timestamptz DEFAULT now(),
    p_history_schema text DEFAULT NULL, p_as_of_schema text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET neobank.history_guard = off
AS $$
DECLARE
    made temporal.tables;
    of_table record;
    obstacle text;
    home text;
    as_of_home text;
    timeline_name text;
    as_of_name text;
    present bigint;
BEGIN
    IF p_table IS NULL OR p_valid_from IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN p_table IS NULL THEN 'p_table' ELSE 'p_valid_from' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF p_history_schema = '' OR p_as_of_schema = '' OR octet_length(p_history_schema) > 63 OR octet_length(p_as_of_schema) > 63 THEN
        RAISE EXCEPTION 'argument "%" is out of bounds', CASE WHEN p_history_schema = '' OR octet_length(p_history_schema) > 63 THEN 'p_history_schema' ELSE 'p_as_of_schema' END
            USING ERRCODE = 'NB021', DETAIL = 'A schema''s name has 1 to 63 bytes.', HINT = 'Give a name, or null for the usual one.';
    END IF;
    IF p_history_schema = p_as_of_schema THEN
        RAISE EXCEPTION 'argument "p_as_of_schema" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = 'It is the schema of the history too, and both have a view of the table''s name.', HINT = 'Give another schema.';
    END IF;
    IF p_valid_from = 'infinity' OR p_valid_from > now() THEN
        RAISE EXCEPTION 'period is not valid'
            USING ERRCODE = 'NB324', DETAIL = format('The rows that are there would be true from %s on, which is yet to come.', p_valid_from),
                  HINT = 'Give an instant of the past, or -infinity.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = p_table AND c.relkind IN ('r', 'p')) THEN
        RAISE EXCEPTION 'table cannot have a history'
            USING ERRCODE = 'NB321', DETAIL = format('%s is no table.', p_table), HINT = 'Give a permanent, ordinary table of your own.';
    END IF;
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', p_table);
    SELECT c.relname, n.nspname, c.relowner, c.relowner::regrole::text AS owner INTO of_table
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = p_table;
    IF NOT pg_has_role(of_table.relowner, 'USAGE') THEN
        RAISE EXCEPTION 'must be owner of table %', p_table USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF EXISTS (SELECT FROM temporal.tables t WHERE t.table_name = p_table) THEN
        RAISE EXCEPTION 'table has a history'
            USING ERRCODE = 'NB322', DETAIL = format('Table %s was enabled before.', p_table), HINT = 'Look into temporal.tables.';
    END IF;
    obstacle := temporal.table_obstacle(p_table);
    IF obstacle IS NOT NULL THEN
        RAISE EXCEPTION 'table cannot have a history'
            USING ERRCODE = 'NB321', DETAIL = format('Table %s %s.', p_table, obstacle),
                  HINT = CASE split_part(obstacle, ' ', 1)
                      WHEN 'forces' THEN 'Take that off with ALTER TABLE ... NO FORCE ROW LEVEL SECURITY: its policies go on to hold for all but the owner, and for the history.'
                      WHEN 'inherits,' THEN 'Keep its rows in one table: a history is that of one table, and knows nothing of others'' rows.'
                      WHEN 'has' THEN CASE WHEN obstacle LIKE '%owner%' THEN 'Call temporal.grant_tables for the owner.' ELSE 'Rename the column.' END
                      ELSE CASE WHEN obstacle LIKE '%partition%' THEN 'Keep its rows in one table: a history is that of one table, and knows nothing of others'' rows.'
                                ELSE 'Give a permanent, ordinary table of your own.' END END;
    END IF;
    made.key_columns := coalesce(p_key_columns, (
        SELECT array_agg(a.attname::text ORDER BY k.n)
        FROM pg_index i, unnest(i.indkey::smallint[]) WITH ORDINALITY k (attnum, n), pg_attribute a
        WHERE i.indrelid = p_table AND i.indisprimary AND a.attrelid = p_table AND a.attnum = k.attnum AND k.n <= i.indnkeyatts));
    made.key_operators := temporal.key_operators(p_table, made.key_columns);
    IF made.key_operators IS NULL THEN
        RAISE EXCEPTION 'table cannot have a history'
            USING ERRCODE = 'NB321',
                  DETAIL = format('Table %s has no unique index over (%s) whose columns are not null.', p_table, array_to_string(made.key_columns, ', ')),
                  HINT = 'Name the columns of the primary key, or of a unique index that is neither partial nor deferrable.';
    END IF;
    made.table_name := p_table;
    home := coalesce(p_history_schema, temporal.cut_name(of_table.nspname, 50) || '_history');
    as_of_home := coalesce(p_as_of_schema, temporal.cut_name(of_table.nspname, 50) || '_as_of');
    -- A history that was kept, and one of another table, may have the usual names.
    made.base_name := temporal.free_name(home, of_table.relname, 40, ARRAY['_current', '_past', '_superseded', '_record', '_instant'], NULL);
    made.as_of_schema := as_of_home;
    PERFORM temporal.home_schema(home, p_table), temporal.home_schema(as_of_home, p_table);
    PERFORM temporal.make_tables(p_table, home, made.base_name, made.key_columns);
    made.current_rows := format('%I.%I', home, made.base_name || '_current')::regclass;
    made.past_rows := format('%I.%I', home, made.base_name || '_past')::regclass;
    made.superseded_rows := format('%I.%I', home, made.base_name || '_superseded')::regclass;
    made.enabled_at := clock_timestamp();
    made.enabled_by := current_user;
    made.described := temporal.describe(p_table);
    made.gate := 0;
    PERFORM temporal.make_functions(made);
    timeline_name := format('%I.%I', home, temporal.free_name(home, of_table.relname, 63, '{""}', NULL));
    as_of_name := format('%I.%I', as_of_home, temporal.free_name(as_of_home, of_table.relname, 63, '{""}', NULL));
    PERFORM temporal.make_views(made, timeline_name, as_of_name);
    made.timeline := timeline_name::regclass;
    made.as_of_view := as_of_name::regclass;
    INSERT INTO temporal.tables SELECT made.*;
    INSERT INTO temporal.table_columns
    SELECT p_table, a.attnum, a.attname FROM pg_attribute a WHERE a.attrelid = p_table AND a.attnum > 0 AND NOT a.attisdropped;
    EXECUTE format('INSERT INTO %s (%s, history_valid_from, history_known_from, history_by, history_transaction)
                    SELECT %s, $1, now(), current_user, pg_current_xact_id() FROM ONLY %s t',
                   made.current_rows, temporal.column_list(p_table, ''), temporal.column_list(p_table, 't.'), p_table)
    USING p_valid_from;
    GET DIAGNOSTICS present = ROW_COUNT;
    PERFORM temporal.make_triggers(made);
    PERFORM temporal.follow(p_table);
    RETURN present;
END
$$;
REVOKE ALL ON FUNCTION temporal.enable(regclass, text[], timestamptz, text, text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.enable(regclass, text[], timestamptz, text, text) IS
    'Gives a table of the caller''s a history on both axes. p_table; p_key_columns: columns of a unique index that are not null, which tell its rows apart for ever, null: the primary key; p_valid_from: since when the rows that are there are true, -infinity for ever; p_history_schema, p_as_of_schema: where its tables and its view go, by default the table''s schema with _history and _as_of behind it, made where they are missing. Writers of the table wait until the transaction ends. Returns how many rows there are. NB321: the table cannot have one; NB322: it has one; NB324: p_valid_from is yet to come; 42501: not the owner; 22004: null.';

CREATE FUNCTION temporal.drop_views(p_of temporal.tables) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Their owner may have dropped one, or a type that they show with CASCADE.
    there CONSTANT text := (
        SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c WHERE c.oid IN (p_of.timeline, p_of.as_of_view));
BEGIN
    PERFORM temporal.given(p_of);
    IF there IS NOT NULL THEN
        EXECUTE 'DROP VIEW ' || there;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.drop_views(temporal.tables) FROM PUBLIC;
COMMENT ON FUNCTION temporal.drop_views(temporal.tables) IS
    'Drops the views of a history, as far as they are there. Called by temporal.disable and follow.';

CREATE FUNCTION temporal.disable(p_table regclass, p_keep_history boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_table CONSTANT temporal.tables := temporal.enabled_table(p_table);
    home text;
    event text;
BEGIN
    IF p_keep_history IS NULL THEN
        RAISE EXCEPTION 'argument "p_keep_history" must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', p_table);
    SELECT c.relnamespace::regnamespace::text INTO home FROM pg_class c WHERE c.oid = of_table.current_rows;
    IF EXISTS (SELECT FROM temporal.period_foreign_keys f WHERE p_table IN (f.child_table, f.parent_table)) THEN
        RAISE EXCEPTION 'table has foreign keys over periods'
            USING ERRCODE = 'NB332', DETAIL = format('Table %s is part of one in temporal.period_foreign_keys.', p_table),
                  HINT = 'Drop it with temporal.drop_foreign_key first.';
    END IF;
    DELETE FROM temporal.table_columns c WHERE c.table_name = p_table;
    DELETE FROM temporal.tables t WHERE t.table_name = p_table;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'must be owner of table %', p_table USING ERRCODE = 'insufficient_privilege';
    END IF;
    FOREACH event IN ARRAY ARRAY['insert', 'update', 'delete', 'truncate'] LOOP
        EXECUTE format('DROP TRIGGER IF EXISTS neobank_history_%s ON %s', event, p_table);
    END LOOP;
    EXECUTE format('DROP FUNCTION IF EXISTS %s.%I()', home, of_table.base_name || '_record');
    IF NOT p_keep_history THEN
        PERFORM temporal.drop_views(of_table);
        EXECUTE format('DROP TABLE %s, %s, %s', of_table.current_rows, of_table.past_rows, of_table.superseded_rows);
        EXECUTE format('DROP FUNCTION IF EXISTS %s.%I(text)', home, of_table.base_name || '_instant');
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.disable(regclass, boolean) FROM PUBLIC;
COMMENT ON FUNCTION temporal.disable(regclass, boolean) IS
    'Stops the history of a table. p_table; p_keep_history: true: the tables and views of the history stay as they are, and belong to the table''s owner; false: they are dropped. NB320: the table has no history; NB332: it is part of a foreign key over periods; 42501: not the owner; 22004: null.';
