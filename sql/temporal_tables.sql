-- History of any table on two axes: what is known of the tables that have one, and how to speak of them in SQL.
--
-- A row's newest version is in current_rows: valid to and known to infinity, one per key at the most. What has an end on
-- the valid axis is in past_rows, what is no longer believed in superseded_rows. A plain statement ends a version on both
-- axes at the same instant T: before T it was believed to be open-ended, after T it is known to end at T. Both are one
-- row, with history_ended_live: it holds at (v, k) while least(v, k) < T. So a change writes one row more, not two.
CREATE TABLE temporal.tables (
    table_name regclass PRIMARY KEY,
    key_columns text[] NOT NULL CHECK (pg_catalog.cardinality(key_columns) BETWEEN 1 AND 32),
    key_operators text[] NOT NULL CHECK (pg_catalog.cardinality(key_operators) = pg_catalog.cardinality(key_columns)),
    base_name text NOT NULL,
    current_rows regclass NOT NULL UNIQUE,
    past_rows regclass NOT NULL UNIQUE,
    superseded_rows regclass NOT NULL UNIQUE,
    timeline regclass NOT NULL UNIQUE,
    as_of_view regclass NOT NULL UNIQUE,
    enabled_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    enabled_by text NOT NULL,
    pruned_before timestamptz,
    described text NOT NULL,
    gate bigint NOT NULL DEFAULT 0,
    as_of_schema text NOT NULL
);
REVOKE ALL ON temporal.tables FROM PUBLIC;
COMMENT ON TABLE temporal.tables IS
    'Tables with a history on two axes. Written by temporal.enable, disable and prune and by what follows changes of the tables; a row is changed by those who may alter its table.';
COMMENT ON COLUMN temporal.tables.key_operators IS 'The equality operators of the unique index over the key.';
COMMENT ON COLUMN temporal.tables.base_name IS 'What the names of the objects of its history begin with.';
COMMENT ON COLUMN temporal.tables.pruned_before IS 'Questions about instants before it are refused (NB331).';
COMMENT ON COLUMN temporal.tables.described IS 'Name, columns, rights and policies of the table as its history follows them.';
COMMENT ON COLUMN temporal.tables.as_of_schema IS 'Where the as-of view is, or was when it was last seen.';
COMMENT ON COLUMN temporal.tables.gate IS 'Counts the facts about keys that are not in the table, so that such calls go one after the other.';

-- Not dumped: a restore gives columns new numbers, and has the same names on both sides.
CREATE TABLE temporal.table_columns (
    table_name regclass NOT NULL,
    column_number smallint NOT NULL,
    column_name text NOT NULL,
    PRIMARY KEY (table_name, column_number)
);
REVOKE ALL ON temporal.table_columns FROM PUBLIC;
COMMENT ON TABLE temporal.table_columns IS
    'Columns of tables with a history by the number that stays when they are renamed. Written by temporal.enable and by what follows changes of the tables.';

-- Rights on the table decide about the row: only they can be the caller's here.
ALTER TABLE temporal.tables ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON temporal.tables FOR SELECT USING (true);
CREATE POLICY of_owner ON temporal.tables USING (
    pg_catalog.pg_has_role((SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = table_name), 'USAGE'));
COMMENT ON POLICY read ON temporal.tables IS 'Everybody who reads the table sees all of it.';
COMMENT ON POLICY of_owner ON temporal.tables IS 'A row is written by those who own its table.';
ALTER TABLE temporal.table_columns ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON temporal.table_columns FOR SELECT USING (true);
CREATE POLICY of_owner ON temporal.table_columns USING (
    pg_catalog.pg_has_role((SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = table_name), 'USAGE'));
COMMENT ON POLICY read ON temporal.table_columns IS 'Everybody who reads the table sees all of it.';
COMMENT ON POLICY of_owner ON temporal.table_columns IS 'A row is written by those who own its table.';

SELECT pg_catalog.pg_extension_config_dump('temporal.tables', '');

CREATE FUNCTION temporal.enabled_table(p_table regclass) RETURNS temporal.tables
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_table temporal.tables;
BEGIN
    IF p_table IS NULL THEN
        RAISE EXCEPTION 'argument "p_table" must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    SELECT t.* INTO found_table FROM temporal.tables t WHERE t.table_name = p_table;
    IF found_table.table_name IS NULL THEN
        RAISE EXCEPTION 'table has no history'
            USING ERRCODE = 'NB320', DETAIL = format('Table %s is not in temporal.tables.', p_table),
                  HINT = 'Give it one with temporal.enable.';
    END IF;
    RETURN found_table;
END
$$;
REVOKE ALL ON FUNCTION temporal.enabled_table(regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.enabled_table(regclass) IS
    'The row of temporal.tables of a table. NB320: it has no history; 22004: null.';

CREATE FUNCTION temporal.given(p_of temporal.tables) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_of.table_name IS NULL OR p_of.key_columns IS NULL THEN
        RAISE EXCEPTION 'argument "p_of" must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a row of temporal.tables, as temporal.enabled_table answers it.';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.given(temporal.tables) FROM PUBLIC;
COMMENT ON FUNCTION temporal.given(temporal.tables) IS 'Refuses a row of temporal.tables that is null (22004). Called by the functions that write statements from one.';

CREATE FUNCTION temporal.column_list(p_table regclass, p_prefix text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.string_agg(pg_catalog.format('%s%I', p_prefix, a.attname), ', ' ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = p_table AND a.attnum > 0 AND NOT a.attisdropped;
END;
REVOKE ALL ON FUNCTION temporal.column_list(regclass, text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.column_list(regclass, text) IS
    'The columns of a table in their order, quoted, each behind the prefix, parted by commas: a part of statements about it.';

CREATE FUNCTION temporal.key_match(p_of temporal.tables, p_left text, p_right text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.string_agg(
        pg_catalog.format('%s.%I %s %s.%I', p_left, k.name, k.operator, p_right, k.name), ' AND ' ORDER BY k.n)
    FROM ROWS FROM (pg_catalog.unnest((p_of).key_columns), pg_catalog.unnest((p_of).key_operators))
        WITH ORDINALITY AS k (name, operator, n);
END;
REVOKE ALL ON FUNCTION temporal.key_match(temporal.tables, text, text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.key_match(temporal.tables, text, text) IS
    'The condition that two aliases have the same key: a part of statements about a table with a history.';

CREATE FUNCTION temporal.base_type(p_type oid) RETURNS oid
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE kinds (type) AS (
        SELECT p_type
        UNION ALL
        SELECT t.typbasetype FROM kinds k JOIN pg_catalog.pg_type t ON t.oid = k.type AND t.typtype = 'd')
    SELECT t.oid FROM kinds k JOIN pg_catalog.pg_type t ON t.oid = k.type AND t.typtype <> 'd';
END;
REVOKE ALL ON FUNCTION temporal.base_type(oid) FROM PUBLIC;
COMMENT ON FUNCTION temporal.base_type(oid) IS 'What a domain is over, through domains over domains; any other type itself.';

-- Of the bare type: a column's length, scale or domain would make another key of one that it does not admit.
CREATE FUNCTION temporal.key_value(p_of temporal.tables, p_name text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE
        WHEN t.oid = 'pg_catalog.jsonb'::regtype THEN pg_catalog.format('($1 -> %L)', p_name)
        WHEN t.typtype = 'c' OR t.typcategory = 'A' THEN
            pg_catalog.format('(SELECT x.%1$I FROM pg_catalog.jsonb_to_record($1) x (%1$I %2$s))', p_name, pg_catalog.format_type(t.oid, -1))
        ELSE pg_catalog.format('($1 ->> %L)::%s', p_name, pg_catalog.format_type(t.oid, -1)) END
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.oid = temporal.base_type(a.atttypid)
    WHERE a.attrelid = (p_of).current_rows AND a.attname = p_name;
END;
REVOKE ALL ON FUNCTION temporal.key_value(temporal.tables, text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.key_value(temporal.tables, text) IS
    'The expression for a column of the key in the object that is the statement''s first parameter: a part of statements about a table with a history.';

CREATE FUNCTION temporal.key_condition(p_of temporal.tables, p_alias text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.string_agg(
        pg_catalog.format('%s.%I %s %s', p_alias, k.name, k.operator, temporal.key_value(p_of, k.name)), ' AND ' ORDER BY k.n)
    FROM ROWS FROM (pg_catalog.unnest((p_of).key_columns), pg_catalog.unnest((p_of).key_operators))
        WITH ORDINALITY AS k (name, operator, n);
END;
REVOKE ALL ON FUNCTION temporal.key_condition(temporal.tables, text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.key_condition(temporal.tables, text) IS
    'The condition that an alias has the key of the object that is the statement''s first parameter: a part of statements about a table with a history.';

CREATE FUNCTION temporal.key_object(p_of temporal.tables, p_alias text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.format('pg_catalog.jsonb_build_object(%s)', pg_catalog.string_agg(
        pg_catalog.format('%L, %s.%I%s', k.name, p_alias, k.name,
                          CASE WHEN t.oid >= 16384 OR t.typcategory = 'A' THEN '::pg_catalog.text' END), ', ' ORDER BY k.n))
    FROM pg_catalog.unnest((p_of).key_columns) WITH ORDINALITY AS k (name, n)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = (p_of).current_rows AND a.attname = k.name
    JOIN pg_catalog.pg_type t ON t.oid = temporal.base_type(a.atttypid);
END;
REVOKE ALL ON FUNCTION temporal.key_object(temporal.tables, text) FROM PUBLIC;
COMMENT ON FUNCTION temporal.key_object(temporal.tables, text) IS
    'The key of an alias as an object, in which arrays and types that are not the server''s own are text: JSON would lose bounds of arrays, and may have forms of a type that its input does not read. A part of statements about a table with a history.';

-- Expressions of policies are written in the session's styles of dates and the like, and must not differ by them.
CREATE FUNCTION temporal.describe(p_table regclass) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO, YMD'
SET timezone = 'UTC'
SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1
SET bytea_output = 'hex'
BEGIN ATOMIC
    SELECT pg_catalog.md5(pg_catalog.concat_ws(E'\n', n.nspname, c.relname, c.relowner::regrole, c.relacl, c.relrowsecurity,
        c.relforcerowsecurity, c.relispartition,
        EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)),
        (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attname,
                pg_catalog.format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation, a.attacl), E'\n' ORDER BY a.attnum)
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
        (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', p.polname, p.polcmd, p.polpermissive, p.polroles,
                pg_catalog.pg_get_expr(p.polqual, p.polrelid)), E'\n' ORDER BY p.polname)
         FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid)))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = p_table;
END;
REVOKE ALL ON FUNCTION temporal.describe(regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.describe(regclass) IS
    'A digest of what a history follows of its table: name, owner, inheritance, columns, rights, policies. Null: there is no such table.';

CREATE FUNCTION temporal.guard_history() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('neobank.history_guard', true) = 'off' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'history is written by its table'
        USING ERRCODE = 'NB328', DETAIL = format('%s of %I.%I was tried.', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME),
              HINT = 'Change the table, or correct the past with temporal.update_portion, delete_portion or insert_portion.';
END
$$;
REVOKE ALL ON FUNCTION temporal.guard_history() FROM PUBLIC;
COMMENT ON FUNCTION temporal.guard_history() IS
    'Trigger function of tables of histories: refuses what does not come from the table or from this schema''s functions (NB328). A session of the owner that has to repair something sets neobank.history_guard to off.';
