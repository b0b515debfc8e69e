-- When the history of a table follows it, and for whom: its owner, its views and triggers anew, the event triggers, grants.
CREATE FUNCTION temporal.follow_owner(p_table regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_table CONSTANT temporal.tables := temporal.enabled_table(p_table);
    owner CONSTANT oid := (SELECT c.relowner FROM pg_class c WHERE c.oid = p_table);
    obstacle text;
    entry record;
BEGIN
    obstacle := CASE
        WHEN NOT (has_schema_privilege(owner, 'temporal', 'USAGE')
                  AND has_function_privilege(owner, 'temporal.settle(regclass, jsonb, jsonb, text)', 'EXECUTE'))
        THEN format('Role %s may not keep histories: see temporal.grant_tables.', owner::regrole) END;
    IF obstacle IS NOT NULL THEN
        RAISE EXCEPTION 'table with a history cannot be altered so'
            USING ERRCODE = 'NB333', DETAIL = obstacle, HINT = 'Give the owner of the table that right first.';
    END IF;
    FOR entry IN
        SELECT DISTINCT n.oid, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid IN (of_table.current_rows, of_table.timeline, of_table.as_of_view)
          AND NOT (has_schema_privilege(owner, n.oid, 'USAGE') AND has_schema_privilege(owner, n.oid, 'CREATE'))
    LOOP
        -- The grant option, as those who may read the table are let in by its owner.
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO %s WITH GRANT OPTION', entry.nspname, owner::regrole);
    END LOOP;
    FOR entry IN
        SELECT c.oid::regclass AS name FROM pg_class c
        WHERE c.oid IN (of_table.current_rows, of_table.past_rows, of_table.superseded_rows, of_table.timeline, of_table.as_of_view)
          AND c.relowner <> owner ORDER BY c.oid
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO %s', entry.name, owner::regrole);
    END LOOP;
    FOR entry IN
        SELECT p.oid::regprocedure AS name FROM pg_proc p
        WHERE p.proowner <> owner AND (
            p.oid IN (SELECT to_regprocedure(format('%s.%I%s', c.relnamespace::regnamespace, of_table.base_name || x.ending, x.arguments))
                      FROM pg_class c, (VALUES ('_record', '()'), ('_instant', '(text)')) x (ending, arguments) WHERE c.oid = of_table.current_rows)
            OR p.oid IN (SELECT g.tgfoid FROM pg_trigger g, temporal.period_foreign_keys f
                         WHERE g.tgrelid = of_table.current_rows AND g.tgname IN (f.key_name || '_child', f.key_name || '_parent')))
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO %s', entry.name, owner::regrole);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION temporal.follow_owner(regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.follow_owner(regclass) IS
    'Gives a history the owner of its table, and that one the right to its schemas. With the rights of the caller, who gave the table. Called by temporal.follow and the event trigger. NB320: the table has no history; NB333: the owner may not keep one.';

CREATE FUNCTION temporal.follow_table(p_table regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_table temporal.tables := temporal.enabled_table(p_table);
    home text;
    timeline_name text;
    as_of_name text;
    differs boolean;
    refused text;
BEGIN
    SELECT CASE
        WHEN c.relforcerowsecurity THEN format('The owner of %s, who writes its history, must see all of its rows.', p_table)
        WHEN EXISTS (SELECT FROM pg_inherits i WHERE p_table IN (i.inhrelid, i.inhparent))
            THEN format('%s would inherit or be inherited from, and a history is that of one table.', p_table)
        WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = p_table AND a.attname LIKE 'history\_%' AND NOT a.attisdropped)
            THEN format('Names that begin with history_ are of the history of %s.', p_table) END
    INTO refused
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = p_table;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'table with a history cannot be altered so'
            USING ERRCODE = 'NB333', DETAIL = refused, HINT = 'Leave that out, or stop the history with temporal.disable first.';
    END IF;
    -- First, so that the statements below do not call for this again.
    UPDATE temporal.tables t SET described = temporal.describe(p_table),
        as_of_schema = coalesce((SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = t.as_of_view), t.as_of_schema)
    WHERE t.table_name = p_table RETURNING t.* INTO of_table;
    PERFORM temporal.fire_checks(of_table);
    SELECT array_agg(ROW(a.attname, a.atttypid, a.atttypmod, a.attcollation)::text ORDER BY a.attnum)
        IS DISTINCT FROM (SELECT array_agg(ROW(v.attname, v.atttypid, v.atttypmod, v.attcollation)::text ORDER BY v.attnum)
                          FROM pg_attribute v WHERE v.attrelid = of_table.as_of_view AND v.attnum > 0)
    INTO differs
    FROM pg_attribute a WHERE a.attrelid = p_table AND a.attnum > 0 AND NOT a.attisdropped;
    SELECT n.nspname INTO home FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = of_table.current_rows;
    -- A view that is gone, with a type perhaps that it showed, is made anew.
    SELECT temporal.free_name(home, c.relname, 63, '{""}', of_table.timeline), temporal.free_name(of_table.as_of_schema, c.relname, 63, '{""}', of_table.as_of_view)
    INTO timeline_name, as_of_name
    FROM pg_class c WHERE c.oid = p_table;
    differs := differs OR (SELECT count(*) <> 2 FROM pg_class v
        WHERE v.oid = of_table.timeline AND v.relname = timeline_name OR v.oid = of_table.as_of_view AND v.relname = as_of_name);
    IF differs THEN
        PERFORM temporal.drop_views(of_table);
        PERFORM temporal.follow_columns(of_table);
        SELECT t.* INTO of_table FROM temporal.tables t WHERE t.table_name = p_table;
        PERFORM temporal.follow_types(of_table);
    END IF;
    PERFORM temporal.make_functions(of_table);
    IF differs THEN
        timeline_name := format('%I.%I', home, timeline_name);
        as_of_name := format('%I.%I', of_table.as_of_schema, as_of_name);
        PERFORM temporal.home_schema(of_table.as_of_schema, p_table);
        PERFORM temporal.make_views(of_table, timeline_name, as_of_name);
        UPDATE temporal.tables t SET timeline = timeline_name::regclass, as_of_view = as_of_name::regclass
        WHERE t.table_name = p_table RETURNING t.* INTO of_table;
    END IF;
    PERFORM temporal.follow_rights(of_table), temporal.follow_policies(of_table);
END
$$;
REVOKE ALL ON FUNCTION temporal.follow_table(regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.follow_table(regclass) IS
    'What temporal.follow does beside the owner. With the rights of the table''s owner. NB320: the table has no history; NB333: the history cannot follow.';

CREATE FUNCTION temporal.try_follow(p_table regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM temporal.follow_table(p_table);
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'history of % does not follow its table: % (%)', p_table, SQLERRM, SQLSTATE
        USING HINT = 'Have its owner call temporal.follow, or temporal.disable.';
END
$$;
REVOKE ALL ON FUNCTION temporal.try_follow(regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.try_follow(regclass) IS
    'The same, as far as it can be done: where not, a warning says why. Called by the event trigger for tables that the statement has not altered.';

CREATE FUNCTION temporal.follow(p_table regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM temporal.follow_owner(p_table);
    PERFORM temporal.as_owner(p_table, 'follow', NULL, NULL);
END
$$;
REVOKE ALL ON FUNCTION temporal.follow(regclass) FROM PUBLIC;
COMMENT ON FUNCTION temporal.follow(regclass) IS
    'Brings the history of a table in line with the table: columns, types, name, owner, rights, row security; views that are gone are made anew. The event trigger calls it where the table was altered; it may be called at any time. NB320: the table has no history; NB333: the history cannot follow; 42501: not the owner.';

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

-- In the library because they look with the extension's rights and act with those of the table's owner.
CREATE FUNCTION temporal.note_tables() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'neobank_note_tables';
REVOKE ALL ON FUNCTION temporal.note_tables() FROM PUBLIC;
COMMENT ON FUNCTION temporal.note_tables() IS
    'Event trigger: notes which tables'' histories have not followed before the statement, so that those it alters are told from them.';

CREATE FUNCTION temporal.follow_tables() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'neobank_follow_tables';
REVOKE ALL ON FUNCTION temporal.follow_tables() FROM PUBLIC;
COMMENT ON FUNCTION temporal.follow_tables() IS
    'Event trigger: has the histories follow tables that the statement altered, and, where that can be done, the caller''s others; forgets those that were dropped, of which what was recorded stays. A session whose check_function_bodies is off, as one that restores a dump, has none follow.';

CREATE EVENT TRIGGER neobank_note_tables ON ddl_command_start
    WHEN TAG IN ('ALTER TABLE', 'ALTER SCHEMA', 'ALTER TYPE', 'ALTER DOMAIN', 'ALTER POLICY', 'CREATE POLICY', 'DROP POLICY', 'GRANT', 'REVOKE',
                 'CREATE TABLE', 'CREATE TRIGGER', 'DROP TABLE', 'DROP SCHEMA', 'DROP TYPE', 'DROP DOMAIN', 'DROP OWNED')
    EXECUTE FUNCTION temporal.note_tables();
COMMENT ON EVENT TRIGGER neobank_note_tables IS 'Tells tables that a statement alters from those that were altered before.';

CREATE EVENT TRIGGER neobank_follow_tables ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'ALTER SCHEMA', 'ALTER TYPE', 'ALTER DOMAIN', 'ALTER POLICY', 'CREATE POLICY', 'DROP POLICY', 'GRANT', 'REVOKE',
                 'CREATE TABLE', 'CREATE TRIGGER', 'DROP TABLE', 'DROP SCHEMA', 'DROP TYPE', 'DROP DOMAIN', 'DROP OWNED')
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
            'temporal.check_child', 'temporal.check_parent', 'temporal.uncovered',
            'temporal.cut_name', 'temporal.free_name', 'temporal.drop_views', 'temporal.as_owner', 'temporal.apply_due_to', 'temporal.prune_of', 'temporal.check_keys', 'temporal.fire_checks', 'temporal.follow_owner', 'temporal.follow_table', 'temporal.try_follow'])
    LOOP
        EXECUTE format('GRANT %s ON %s %s TO %I', entry.privileges, entry.object_kind, entry.object_name, p_role);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION temporal.grant_tables(name) FROM PUBLIC;
COMMENT ON FUNCTION temporal.grant_tables(name) IS
    'p_role: who may give tables of its own a history, and change and read histories as far as its rights on the tables go; nothing of the bank''s books. neobank.revoke_usage takes it back. 42704: no such role; 22004: null.';
