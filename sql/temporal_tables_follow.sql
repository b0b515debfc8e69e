-- What the history of a table does when that is altered, by the event triggers of the next file: with the rights of its owner.
-- Only what gives a history a new owner takes the rights of who does it; no code of an owner's runs in that.
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
               CASE WHEN a.attisdropped THEN format('%s_dropped_%s', temporal.cut_name(c.column_name, 40), c.column_number)
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
            -- A type that was dropped with CASCADE took the history's columns along.
            CONTINUE WHEN NOT EXISTS (SELECT FROM pg_attribute h WHERE h.attrelid = part AND h.attname = entry.old_name AND NOT h.attisdropped);
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

CREATE FUNCTION temporal.check_keys(p_of temporal.tables, p_retyped text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lost text;
BEGIN
    PERFORM temporal.given(p_of);
    -- What was not recorded ahead of its time is in the table, as it is in the history.
    EXECUTE format('SELECT %s::text FROM %s c LEFT JOIN ONLY %s t ON %s
                    WHERE c.history_due IS NULL AND (t.%I IS NULL OR %s) LIMIT 1',
        temporal.key_object(p_of, 'c'), p_of.current_rows, p_of.table_name, temporal.key_match(p_of, 't', 'c'), p_of.key_columns[1],
        coalesce((SELECT string_agg(format('record_image_ne(ROW(t.%1$I), ROW(c.%1$I))', a.attname), ' OR ') FROM pg_attribute a
                  JOIN pg_attribute h ON h.attrelid = p_of.current_rows AND h.attname = a.attname AND h.attnum > 0 AND NOT h.attisdropped
                  WHERE a.attrelid = p_of.table_name AND a.attnum > 0 AND NOT a.attisdropped
                    AND a.attname <> ALL (p_retyped || p_of.key_columns)), 'false'))
    INTO lost;
    IF lost IS NOT NULL THEN
        RAISE EXCEPTION 'table with a history cannot be altered so'
            USING ERRCODE = 'NB333', DETAIL = format('Key %s of the history of %s is not that of the same row any more: the statement gave keys other values than a plain cast.', left(lost, 200), p_of.table_name),
                  HINT = 'Change the type without other values, or stop the history with temporal.disable first.';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.check_keys(temporal.tables, text[]) FROM PUBLIC;
COMMENT ON FUNCTION temporal.check_keys(temporal.tables, text[]) IS
    'Refuses that a key''s type was changed so that it tells other rows apart. p_retyped: the columns that were given another type. Called by temporal.follow_types. NB333: it was.';

CREATE FUNCTION temporal.fire_checks(p_of temporal.tables) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    checks CONSTANT text := (
        SELECT string_agg(DISTINCT format('%s.%I', k.connamespace::regnamespace, k.conname), ', ')
        FROM pg_trigger g JOIN pg_constraint k ON k.oid = g.tgconstraint
        WHERE g.tgrelid IN (p_of.current_rows, p_of.past_rows, p_of.superseded_rows) AND g.tgdeferrable AND g.tginitdeferred);
BEGIN
    PERFORM temporal.given(p_of);
    IF checks IS NOT NULL THEN
        EXECUTE format('SET CONSTRAINTS %s IMMEDIATE', checks);
        EXECUTE format('SET CONSTRAINTS %s DEFERRED', checks);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.fire_checks(temporal.tables) FROM PUBLIC;
COMMENT ON FUNCTION temporal.fire_checks(temporal.tables) IS
    'Has the foreign keys over periods of a table check what the transaction has done so far, as the server alters no table of which that is pending. Called by temporal.follow. NB330: one does not hold.';

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
        SELECT a.attname, a.attnum, h.attname IS NULL AS is_new,
               a.atthasdef OR a.atthasmissing OR a.attidentity <> '' OR y.typdefault IS NOT NULL AS has_values,
               format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attcollation <> 0 THEN ' COLLATE ' || a.attcollation::regcollation ELSE '' END AS type,
               CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END AS missing
        FROM pg_attribute a
        JOIN pg_type y ON y.oid = a.atttypid
        LEFT JOIN pg_attribute h ON h.attrelid = p_of.current_rows AND h.attname = a.attname AND h.attnum > 0 AND NOT h.attisdropped
        WHERE a.attrelid = p_of.table_name AND a.attnum > 0 AND NOT a.attisdropped
          AND (h.attname IS NULL OR (h.atttypid, h.atttypmod, h.attcollation) <> (a.atttypid, a.atttypmod, a.attcollation))
        ORDER BY a.attnum
    LOOP
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
        IF NOT entry.is_new OR entry.has_values THEN
            names := names || entry.attname::text;
        END IF;
    END LOOP;
    IF names && p_of.key_columns THEN
        PERFORM temporal.check_keys(p_of, names);
    END IF;
    -- The rows that are there got their values by the statement, not by a change that became true today.
    IF names <> '{}' THEN
        EXECUTE format('UPDATE %s c SET (%s) = ROW(%s) FROM ONLY %s t WHERE %s AND record_image_ne(ROW(%s), ROW(%s))', p_of.current_rows,
            (SELECT string_agg(format('%I', n), ', ') FROM unnest(names) n), (SELECT string_agg(format('t.%I', n), ', ') FROM unnest(names) n),
            p_of.table_name, temporal.key_match(p_of, 't', 'c'),
            (SELECT string_agg(format('t.%I', n), ', ') FROM unnest(names) n), (SELECT string_agg(format('c.%I', n), ', ') FROM unnest(names) n));
        PERFORM temporal.fire_checks(p_of);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION temporal.follow_types(temporal.tables) FROM PUBLIC;
COMMENT ON FUNCTION temporal.follow_types(temporal.tables) IS
    'Adds to a history the columns that its table has and it has not, and gives the others their types, by a plain cast. The newest rows take the table''s values, older ones have null in a new column. Called by temporal.follow. NB333: a key''s values were changed with its type.';

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
    'Lets those read a history who may read its table, and only these. Called by temporal.follow.';

CREATE FUNCTION temporal.follow_policies(p_of temporal.tables) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO, YMD'
SET timezone = 'UTC'
SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1
SET bytea_output = 'hex'
AS $$
DECLARE
    part regclass;
    entry record;
    statement text;
BEGIN
    PERFORM temporal.given(p_of);
    FOREACH part IN ARRAY ARRAY[p_of.current_rows, p_of.past_rows, p_of.superseded_rows] LOOP
        IF (SELECT c.relrowsecurity <> h.relrowsecurity FROM pg_class c, pg_class h WHERE c.oid = p_of.table_name AND h.oid = part) THEN
            EXECUTE format('ALTER TABLE %s %s ROW LEVEL SECURITY', part,
                           (SELECT CASE WHEN c.relrowsecurity THEN 'ENABLE' ELSE 'DISABLE' END FROM pg_class c WHERE c.oid = p_of.table_name));
        END IF;
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
            EXCEPTION WHEN undefined_table OR undefined_column OR ambiguous_column OR insufficient_privilege THEN
                -- It names the table itself, or what the owner may not. Nobody sees by it what it might have kept back.
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
