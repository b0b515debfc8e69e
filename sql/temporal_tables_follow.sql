-- What a table's history does when its table is altered: by the event trigger below, with the rights of who alters it.
CREATE FUNCTION temporal.follow_columns(p_of temporal.tables) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    entry record;
    part regclass;
    changed boolean := false;
    key_numbers smallint[];
BEGIN
    PERFORM temporal.given(p_of);
    -- After a restore columns have other numbers, and the same names in the table and its history.
    INSERT INTO temporal.table_columns
    SELECT p_of.table_name, a.attnum, a.attname FROM pg_attribute a
    WHERE a.attrelid = p_of.table_name AND a.attnum > 0 AND NOT a.attisdropped
      AND NOT EXISTS (SELECT FROM temporal.table_columns c WHERE c.table_name = p_of.table_name)
      AND EXISTS (SELECT FROM pg_attribute h WHERE h.attrelid = p_of.current_rows AND h.attname = a.attname AND h.attnum > 0 AND NOT h.attisdropped);
    SELECT array_agg(c.column_number ORDER BY k.n) INTO key_numbers
    FROM unnest(p_of.key_columns) WITH ORDINALITY k (name, n)
    JOIN temporal.table_columns c ON c.table_name = p_of.table_name AND c.column_name = k.name;
    -- Dropped ones first, then new names from hand to hand through one that nobody has: columns may swap theirs.
    FOR entry IN
        SELECT c.column_name AS old_name, c.column_number, a.attisdropped, a.attname,
               CASE WHEN a.attisdropped THEN format('%s_dropped_%s', left(c.column_name, 40), c.column_number)
               ELSE format('history_renamed_%s', c.column_number) END AS new_name
        FROM temporal.table_columns c JOIN pg_attribute a ON a.attrelid = c.table_name AND a.attnum = c.column_number
        WHERE c.table_name = p_of.table_name AND (a.attisdropped OR a.attname <> c.column_name)
        ORDER BY a.attisdropped DESC
    LOOP
        changed := true;
        IF entry.attisdropped AND (entry.old_name = ANY (p_of.key_columns) OR EXISTS (
            SELECT FROM temporal.period_foreign_keys f WHERE f.child_table = p_of.table_name AND entry.old_name = ANY (f.child_columns))) THEN
            RAISE EXCEPTION 'table with a history cannot be altered so'
                USING ERRCODE = 'NB333', DETAIL = format('Column %I is of the key of %s, or of a foreign key over periods.', entry.old_name, p_of.table_name),
                      HINT = 'Take the foreign key away, or stop the history with temporal.disable, first.';
        END IF;
        FOREACH part IN ARRAY ARRAY[p_of.current_rows, p_of.past_rows, p_of.superseded_rows] LOOP
            EXECUTE format('ALTER TABLE %s RENAME COLUMN %I TO %I', part, entry.old_name, entry.new_name);
        END LOOP;
        IF entry.attisdropped THEN
            DELETE FROM temporal.table_columns c WHERE c.table_name = p_of.table_name AND c.column_number = entry.column_number;
        END IF;
        UPDATE temporal.period_foreign_keys f SET child_columns = array_replace(f.child_columns, entry.old_name, entry.new_name)
        WHERE f.child_table = p_of.table_name;
    END LOOP;
    FOR entry IN
        SELECT c.column_number, c.column_name AS old_name, a.attname::text AS new_name, format('history_renamed_%s', c.column_number) AS name_now
        FROM temporal.table_columns c JOIN pg_attribute a ON a.attrelid = c.table_name AND a.attnum = c.column_number
        WHERE c.table_name = p_of.table_name AND a.attname <> c.column_name
    LOOP
        FOREACH part IN ARRAY ARRAY[p_of.current_rows, p_of.past_rows, p_of.superseded_rows] LOOP
            EXECUTE format('ALTER TABLE %s RENAME COLUMN %I TO %I', part, entry.name_now, entry.new_name);
        END LOOP;
        UPDATE temporal.period_foreign_keys f SET child_columns = array_replace(f.child_columns, entry.name_now, entry.new_name)
        WHERE f.child_table = p_of.table_name;
        UPDATE temporal.table_columns c SET column_name = entry.new_name
        WHERE c.table_name = p_of.table_name AND c.column_number = entry.column_number;
    END LOOP;
    UPDATE temporal.tables t SET key_columns = (
        SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(key_numbers) WITH ORDINALITY k (number, n)
        JOIN pg_attribute a ON a.attrelid = p_of.table_name AND a.attnum = k.number)
    WHERE t.table_name = p_of.table_name AND changed;
    RETURN changed;
END
$$;
REVOKE ALL ON FUNCTION temporal.follow_columns(temporal.tables) FROM PUBLIC;
COMMENT ON FUNCTION temporal.follow_columns(temporal.tables) IS
    'Gives the columns of a history the names that its table''s have; one that was dropped is kept as NAME_dropped_NUMBER. Called by temporal.follow. NB333: a column of the key was dropped.';

CREATE FUNCTION temporal.follow_types(p_of temporal.tables) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET neobank.history_guard = off
AS $$
DECLARE
    entry record;
    part regclass;
    names text[] := '{}';
BEGIN
    PERFORM temporal.given(p_of);
    FOR entry IN
        SELECT a.attname, a.attnum, h.attname IS NULL AS is_new, a.atthasdef, a.atthasmissing,
               format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attcollation <> 0 THEN ' COLLATE ' || a.attcollation::regcollation ELSE '' END AS type,
               CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END AS missing
        FROM pg_attribute a
        LEFT JOIN pg_attribute h ON h.attrelid = p_of.current_rows AND h.attname = a.attname AND h.attnum > 0 AND NOT h.attisdropped
        WHERE a.attrelid = p_of.table_name AND a.attnum > 0 AND NOT a.attisdropped
          AND (h.attname IS NULL OR (h.atttypid, h.atttypmod, h.attcollation) <> (a.atttypid, a.atttypmod, a.attcollation))
        ORDER BY a.attnum
    LOOP
        IF entry.is_new AND entry.attname LIKE 'history\_%' THEN
            RAISE EXCEPTION 'table with a history cannot be altered so'
                USING ERRCODE = 'NB333', DETAIL = format('Names that begin with history_ are of the history of %s.', p_of.table_name),
                      HINT = 'Choose another name.';
        END IF;
        FOREACH part IN ARRAY ARRAY[p_of.current_rows, p_of.past_rows, p_of.superseded_rows] LOOP
            IF entry.is_new THEN
                EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', part, entry.attname, entry.type);
            ELSE
                EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE %s USING %I::%s', part, entry.attname, entry.type, entry.attname,
                               split_part(entry.type, ' COLLATE ', 1));
            END IF;
        END LOOP;
        IF entry.is_new THEN
            INSERT INTO temporal.table_columns VALUES (p_of.table_name, entry.attnum, entry.attname);
        END IF;
        IF NOT entry.is_new OR entry.atthasdef THEN
            names := names || entry.attname::text;
        END IF;
    END LOOP;
    -- The rows that are there got their values by the statement, not by a change that became true today.
    IF names <> '{}' THEN
        EXECUTE format('UPDATE %s c SET (%s) = ROW(%s) FROM ONLY %s t WHERE %s AND record_image_ne(ROW(%s), ROW(%s))', p_of.current_rows,
            (SELECT string_agg(format('%I', n), ', ') FROM unnest(names) n), (SELECT string_agg(format('t.%I', n), ', ') FROM unnest(names) n),
            p_of.table_name, temporal.key_match(p_of, 't', 'c'),
            (SELECT string_agg(format('t.%I', n), ', ') FROM unnest(names) n), (SELECT string_agg(format('c.%I', n), ', ') FROM unnest(names) n));
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.follow_types(temporal.tables) FROM PUBLIC;
COMMENT ON FUNCTION temporal.follow_types(temporal.tables) IS
    'Adds to a history the columns that its table has and it has not, and gives the others their types, by a plain cast. The newest rows take the table''s values, older ones have null in a new column. Called by temporal.follow. NB333: a name of the history''s own.';

CREATE FUNCTION temporal.follow_rights(p_of temporal.tables) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner CONSTANT oid := (SELECT c.relowner FROM pg_class c WHERE c.oid = p_of.table_name);
    things CONSTANT regclass[] := ARRAY[p_of.current_rows, p_of.past_rows, p_of.superseded_rows, p_of.timeline, p_of.as_of_view];
    thing regclass;
    entry record;
BEGIN
    PERFORM temporal.given(p_of);
    FOREACH thing IN ARRAY things LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO %s', thing, owner::regrole);
        FOR entry IN
            SELECT DISTINCT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END AS grantee
            FROM (SELECT (aclexplode(c.relacl)).grantee FROM pg_class c WHERE c.oid = thing
                  UNION SELECT (aclexplode(a.attacl)).grantee FROM pg_attribute a WHERE a.attrelid = thing) x
            WHERE x.grantee <> owner
        LOOP
            EXECUTE format('REVOKE ALL ON %s FROM %s', thing, entry.grantee);
        END LOOP;
        FOR entry IN
            SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END AS grantee, '' AS columns
            FROM pg_class c, aclexplode(c.relacl) x
            WHERE c.oid = p_of.table_name AND x.privilege_type = 'SELECT' AND x.grantee <> owner
            UNION ALL
            SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END, format('(%s)', string_agg(DISTINCT format('%I', h.attname), ', '))
            FROM pg_attribute a, aclexplode(a.attacl) x, pg_attribute h
            WHERE a.attrelid = p_of.table_name AND a.attnum > 0 AND NOT a.attisdropped AND x.privilege_type = 'SELECT' AND x.grantee <> owner
              AND h.attrelid = thing AND h.attnum > 0 AND NOT h.attisdropped
              AND (h.attname = a.attname OR h.attname LIKE 'history\_%'
                   OR thing = p_of.timeline AND h.attname IN ('valid_from', 'valid_to', 'known_from', 'known_to')
                      AND NOT EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = p_of.table_name AND o.attname = h.attname))
            GROUP BY x.grantee
        LOOP
            EXECUTE format('GRANT SELECT %s ON %s TO %s', entry.columns, thing, entry.grantee);
            EXECUTE format('GRANT USAGE ON SCHEMA %s TO %s', (SELECT c.relnamespace::regnamespace FROM pg_class c WHERE c.oid = thing), entry.grantee);
        END LOOP;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION temporal.follow_rights(temporal.tables) FROM PUBLIC;
COMMENT ON FUNCTION temporal.follow_rights(temporal.tables) IS
    'Gives a history the owner of its table, and lets those read it who may read the table, and only these. Called by temporal.follow.';

CREATE FUNCTION temporal.follow_policies(p_of temporal.tables) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    part regclass;
    entry record;
    statement text;
BEGIN
    PERFORM temporal.given(p_of);
    FOREACH part IN ARRAY ARRAY[p_of.current_rows, p_of.past_rows, p_of.superseded_rows] LOOP
        EXECUTE format('ALTER TABLE %s %s ROW LEVEL SECURITY', part,
                       (SELECT CASE WHEN c.relrowsecurity THEN 'ENABLE' ELSE 'DISABLE' END FROM pg_class c WHERE c.oid = p_of.table_name));
        FOR entry IN SELECT p.polname FROM pg_policy p WHERE p.polrelid = part LOOP
            EXECUTE format('DROP POLICY %I ON %s', entry.polname, part);
        END LOOP;
        FOR entry IN
            SELECT p.polname, p.polpermissive, pg_get_expr(p.polqual, p.polrelid) AS condition,
                   (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE r::regrole::text END, ', ') FROM unnest(p.polroles) r) AS roles
            FROM pg_policy p WHERE p.polrelid = p_of.table_name AND p.polcmd IN ('r', '*') AND p.polqual IS NOT NULL
        LOOP
            statement := format('CREATE POLICY %I ON %s AS %s FOR SELECT TO %s USING (', entry.polname, part,
                                CASE WHEN entry.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, entry.roles);
            BEGIN
                EXECUTE statement || entry.condition || ')';
            EXCEPTION WHEN undefined_table OR undefined_column OR ambiguous_column THEN
                -- It names the table itself. Nobody sees by it what it might have kept back.
                RAISE WARNING 'policy % is not carried over to the history of %: %', entry.polname, p_of.table_name, SQLERRM;
                EXECUTE statement || 'false)';
            END;
        END LOOP;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION temporal.follow_policies(temporal.tables) FROM PUBLIC;
COMMENT ON FUNCTION temporal.follow_policies(temporal.tables) IS
    'Gives a history the row security of its table. A policy that names the table itself cannot be carried over, and shows nothing. Called by temporal.follow.';

CREATE FUNCTION temporal.follow(p_table regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_table temporal.tables := temporal.enabled_table(p_table);
    timeline_name text;
    as_of_name text;
    differs boolean;
BEGIN
    IF (SELECT c.relforcerowsecurity FROM pg_class c WHERE c.oid = p_table) THEN
        RAISE EXCEPTION 'table with a history cannot be altered so'
            USING ERRCODE = 'NB333', DETAIL = format('The owner of %s, who writes its history, must see all of its rows.', p_table),
                  HINT = 'Leave FORCE ROW LEVEL SECURITY out, or stop the history with temporal.disable.';
    END IF;
    -- First, so that the statements below do not call for this again.
    UPDATE temporal.tables t SET described = temporal.describe(p_table) WHERE t.table_name = p_table;
    SELECT array_agg(ROW(a.attname, a.atttypid, a.atttypmod, a.attcollation)::text ORDER BY a.attnum)
        IS DISTINCT FROM (SELECT array_agg(ROW(v.attname, v.atttypid, v.atttypmod, v.attcollation)::text ORDER BY v.attnum)
                          FROM pg_attribute v WHERE v.attrelid = of_table.as_of_view AND v.attnum > 0)
    INTO differs
    FROM pg_attribute a WHERE a.attrelid = p_table AND a.attnum > 0 AND NOT a.attisdropped;
    SELECT format('%s.%I', v.relnamespace::regnamespace, c.relname), format('%s.%I', a.relnamespace::regnamespace, c.relname),
           differs OR c.relname <> v.relname OR c.relname <> a.relname
    INTO timeline_name, as_of_name, differs
    FROM pg_class c, pg_class v, pg_class a WHERE c.oid = p_table AND v.oid = of_table.timeline AND a.oid = of_table.as_of_view;
    IF differs THEN
        EXECUTE format('DROP VIEW %s, %s', of_table.as_of_view, of_table.timeline);
        PERFORM temporal.follow_columns(of_table);
        SELECT t.* INTO of_table FROM temporal.tables t WHERE t.table_name = p_table;
        PERFORM temporal.follow_types(of_table);
        PERFORM temporal.make_views(of_table, timeline_name, as_of_name);
        UPDATE temporal.tables t SET timeline = timeline_name::regclass, as_of_view = as_of_name::regclass
        WHERE t.table_name = p_table RETURNING t.* INTO of_table;
    END IF;
    PERFORM temporal.make_functions(of_table);
    PERFORM temporal.follow_rights(of_table), temporal.follow_policies(of_table);
END
$$;
REVOKE ALL ON FUNCTION temporal.follow(regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.follow(regclass) IS
    'Brings the history of a table in line with the table: columns, types, name, owner, rights, row security. The event trigger calls it where the table was altered; it may be called at any time. NB320: the table has no history; NB333: the history cannot follow.';

CREATE VIEW temporal.tables_to_follow AS
-- A WITH keeps the server from taking the view for one that can be written to.
WITH enabled AS (SELECT t.* FROM temporal.tables t)
SELECT t.table_name, temporal.describe(t.table_name) IS NULL OR EXISTS (
           SELECT FROM pg_catalog.unnest(ARRAY[t.current_rows, t.past_rows, t.superseded_rows]) part
           WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = part)) AS is_gone
FROM enabled t
WHERE temporal.describe(t.table_name) IS DISTINCT FROM t.described
   -- The function that records has the names of the history's tables, which may be renamed, or their schema.
   OR NOT EXISTS (
       SELECT FROM pg_catalog.pg_class h
       JOIN pg_catalog.pg_proc p ON p.pronamespace = h.relnamespace AND p.proname = (t.base_name || '_record')::name
       WHERE h.oid = t.current_rows AND (
           SELECT pg_catalog.bool_and(pg_catalog.strpos(p.prosrc, pg_catalog.format(' %I.%I ', n.nspname, c.relname)) > 0)
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           WHERE c.oid IN (t.current_rows, t.past_rows, t.superseded_rows)));
REVOKE ALL ON temporal.tables_to_follow FROM PUBLIC;
COMMENT ON VIEW temporal.tables_to_follow IS
    'Tables that were altered, or whose history''s tables were renamed, since their history last followed them, and those that are gone.';

-- In the library because it looks with the extension's rights and acts with the caller's.
CREATE FUNCTION temporal.follow_tables() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'neobank_follow_tables';
REVOKE ALL ON FUNCTION temporal.follow_tables() FROM PUBLIC;
COMMENT ON FUNCTION temporal.follow_tables() IS
    'Event trigger: has the histories follow tables that were altered, and forgets those that were dropped; what was recorded of these stays.';

CREATE EVENT TRIGGER neobank_follow_tables ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'ALTER SCHEMA', 'ALTER POLICY', 'CREATE POLICY', 'DROP POLICY', 'GRANT', 'REVOKE', 'CREATE TRIGGER',
                 'DROP TABLE', 'DROP SCHEMA', 'DROP OWNED')
    EXECUTE FUNCTION temporal.follow_tables();
COMMENT ON EVENT TRIGGER neobank_follow_tables IS 'Has histories follow their tables.';

CREATE FUNCTION temporal.grant_tables(p_role name) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    entry record;
BEGIN
    IF p_role IS NULL THEN
        RAISE EXCEPTION 'argument "p_role" must not be null' USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = p_role) THEN
        RAISE EXCEPTION 'role "%" does not exist', p_role USING ERRCODE = 'undefined_object', HINT = 'Create it first.';
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA temporal TO %I', p_role);
    FOR entry IN
        SELECT r.privileges, r.object_kind, r.object_name FROM neobank.access_rights r
        WHERE r.object_name = ANY (ARRAY['temporal.tables', 'temporal.table_columns', 'temporal.period_foreign_keys', 'temporal.tables_to_follow'])
           OR r.object_kind = 'FUNCTION' AND r.object_name = ANY (ARRAY[
            'temporal.enabled_table', 'temporal.enabled_tables', 'temporal.period_key', 'temporal.given', 'temporal.column_list', 'temporal.key_match', 'temporal.key_condition', 'temporal.key_object', 'temporal.base_type', 'temporal.key_value', 'temporal.given_values',
            'temporal.describe', 'temporal.guard_history', 'temporal.record_body', 'temporal.record_history', 'temporal.make_functions', 'temporal.as_of_query',
            'temporal.timeline_query', 'temporal.make_views', 'temporal.table_obstacle', 'temporal.key_operators', 'temporal.make_tables',
            'temporal.make_triggers', 'temporal.home_schema', 'temporal.enable', 'temporal.disable', 'temporal.instant', 'temporal.new_values',
            'temporal.with_generated', 'temporal.rewrite', 'temporal.add_fact', 'temporal.believed', 'temporal.settle', 'temporal.lock_key', 'temporal.places', 'temporal.check_snapshot',
            'temporal.check_key', 'temporal.check_period', 'temporal.check_changes', 'temporal.check_rows', 'temporal.apply_key',
            'temporal.change_portion', 'temporal.update_portion', 'temporal.delete_portion', 'temporal.insert_portion', 'temporal.apply_due',
            'temporal.prune', 'temporal.check_history', 'temporal.as_of', 'temporal.follow_columns', 'temporal.follow_types',
            'temporal.follow_rights', 'temporal.follow_policies', 'temporal.follow', 'temporal.add_foreign_key', 'temporal.drop_foreign_key',
            'temporal.check_child', 'temporal.check_parent', 'temporal.uncovered'])
    LOOP
        EXECUTE format('GRANT %s ON %s %s TO %I', entry.privileges, entry.object_kind, entry.object_name, p_role);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION temporal.grant_tables(name) FROM PUBLIC;
COMMENT ON FUNCTION temporal.grant_tables(name) IS
    'p_role: who may give tables of its own a history, and change and read histories as far as its rights on the tables go; nothing of the bank''s books. neobank.revoke_usage takes it back. 42704: no such role; 22004: null.';
