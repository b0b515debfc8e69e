-- Metrics and the report.

-- Compiled, what reads a handful of rows through a dozen joins takes seconds: jit is off where such reading is done.

-- What the report says of a table's space, as of the last VACUUM or ANALYZE: asking for sizes would open each table, and
-- wait behind whoever has one locked.
CREATE FUNCTION troubleshoot.largest_tables(most integer)
RETURNS TABLE (schema_name name, table_name name, bytes bigint, live_rows bigint, dead_rows bigint, bloat_bytes bigint,
    sequential_scans bigint, index_scans bigint, last_vacuum timestamptz, last_analyze timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
BEGIN ATOMIC
    WITH tables AS (
        SELECT c.oid, n.nspname, c.relname, c.reltuples,
               c.relpages::bigint + coalesce(t.relpages, 0)
                   + coalesce((SELECT sum(i.relpages) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
                               WHERE x.indrelid = c.oid), 0) AS pages
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
        WHERE c.relkind IN ('r', 'm') AND n.nspname NOT LIKE 'pg\_temp%'
        ORDER BY pages DESC, c.oid
        LIMIT greatest(most, 0)
    )
    SELECT t.nspname, t.relname, t.pages * current_setting('block_size')::bigint,
           greatest(pg_stat_get_live_tuples(t.oid), t.reltuples::bigint), pg_stat_get_dead_tuples(t.oid),
           b.bloat_bytes,
           pg_stat_get_numscans(t.oid),
           (SELECT sum(pg_stat_get_numscans(x.indexrelid))::bigint FROM pg_index x WHERE x.indrelid = t.oid),
           greatest(pg_stat_get_last_vacuum_time(t.oid), pg_stat_get_last_autovacuum_time(t.oid)),
           greatest(pg_stat_get_last_analyze_time(t.oid), pg_stat_get_last_autoanalyze_time(t.oid))
    FROM tables t
    LEFT JOIN troubleshoot.table_bloat(1048576) b ON b.schema_name = t.nspname AND b.table_name = t.relname
    ORDER BY t.pages DESC, t.oid;
END;
REVOKE ALL ON FUNCTION troubleshoot.largest_tables(integer) FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.largest_tables(integer) IS
    'The largest tables and materialized views. most: how many. bytes: with indexes and TOAST, as of the last VACUUM or ANALYZE, for no table is opened; bloat_bytes: as troubleshoot.table_bloat, of tables of 1 MB and more.';

CREATE FUNCTION troubleshoot.top_statements(most integer)
RETURNS TABLE (query text, calls bigint, total_ms numeric, mean_ms numeric, rows bigint, percent numeric)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    statements regclass;
BEGIN
    SELECT to_regclass(format('%I.pg_stat_statements', n.nspname)) INTO statements
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'pg_stat_statements';
    IF statements IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format($statement$
        SELECT left(regexp_replace(s.query, '\s+', ' ', 'g'), 500), s.calls, round(s.total_exec_time::numeric, 1),
               round(s.mean_exec_time::numeric, 2), s.rows,
               round((100 * s.total_exec_time / nullif(sum(s.total_exec_time) OVER (), 0))::numeric, 1)
        FROM %s s WHERE s.dbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
        ORDER BY s.total_exec_time DESC LIMIT greatest($1, 0) $statement$, statements) USING most;
EXCEPTION WHEN object_not_in_prerequisite_state OR insufficient_privilege OR undefined_column THEN
    -- It is not preloaded, not granted, or of another age.
    RETURN;
END
$$;
REVOKE ALL ON FUNCTION troubleshoot.top_statements(integer) FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.top_statements(integer) IS
    'The statements of this database that took the most time, where pg_stat_statements is installed, preloaded and readable; else nothing. most: how many. query: its first 500 characters; percent: of the time of all.';

CREATE FUNCTION troubleshoot.labelled_measurements()
RETURNS TABLE (metric text, kind text, labels jsonb, value numeric, reset_at timestamptz, help text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    IF pg_has_role('pg_read_all_stats', 'USAGE') THEN
        RETURN QUERY
        SELECT 'connections_by_state', 'gauge', jsonb_build_object('state', s.state), count(a.pid)::numeric, NULL::timestamptz,
               'Client connections by what they do.'
        FROM unnest(ARRAY['active', 'idle', 'idle in transaction', 'idle in transaction (aborted)',
                          'fastpath function call', 'disabled']) s (state)
        LEFT JOIN pg_stat_activity a ON a.state = s.state AND a.backend_type = 'client backend'
        GROUP BY s.state;

        RETURN QUERY
        SELECT 'waiting_connections', 'gauge', jsonb_build_object('wait_event_type', s.kind), count(a.pid)::numeric,
               NULL::timestamptz, 'Client connections with a statement under way, by what they wait for; CPU: for nothing.'
        FROM unnest(ARRAY['Activity', 'BufferPin', 'Client', 'CPU', 'Extension', 'IO', 'IPC', 'Lock', 'LWLock', 'Timeout']) s (kind)
        LEFT JOIN pg_stat_activity a ON coalesce(a.wait_event_type, 'CPU') = s.kind AND a.state = 'active'
            AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
        GROUP BY s.kind;

        RETURN QUERY
        SELECT x.metric, 'gauge', jsonb_build_object('application_name', r.application_name), x.value, NULL::timestamptz, x.help
        FROM (SELECT s.application_name, max(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
                         ELSE pg_current_wal_lsn() END, s.replay_lsn)) AS lag
              FROM pg_stat_replication s GROUP BY s.application_name
              ORDER BY lag DESC NULLS LAST, s.application_name LIMIT 20) r
        CROSS JOIN LATERAL (VALUES
            ('replication_lag_bytes', greatest(r.lag, 0), 'WAL that a standby has not replayed; the furthest behind of its name.')
        ) AS x (metric, value, help)
        WHERE x.value IS NOT NULL;
    END IF;

    RETURN QUERY
    SELECT 'slot_retained_bytes', 'gauge', jsonb_build_object('slot_name', s.slot_name), greatest(s.kept, 0), NULL::timestamptz,
           'WAL that is kept for a replication slot; the 20 that keep the most.'
    FROM (SELECT r.slot_name, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                     ELSE pg_current_wal_lsn() END, r.restart_lsn) AS kept
          FROM pg_replication_slots r WHERE r.restart_lsn IS NOT NULL
          ORDER BY kept DESC, r.slot_name LIMIT 20) s
    WHERE s.kept IS NOT NULL;

    RETURN QUERY
    SELECT 'locks', 'gauge', jsonb_build_object('mode', l.mode, 'granted', l.granted), count(*)::numeric, NULL::timestamptz,
           'Locks held and waited for, by mode.'
    FROM pg_locks l WHERE l.mode IS NOT NULL GROUP BY l.mode, l.granted;

    RETURN QUERY
    SELECT x.metric, x.kind, jsonb_build_object('schema', t.schema_name, 'table', t.table_name), x.value, NULL::timestamptz, x.help
    FROM troubleshoot.largest_tables(20) t
    CROSS JOIN LATERAL (VALUES
        ('table_size_bytes', 'gauge', t.bytes::numeric, 'Size with indexes and TOAST as of the last VACUUM or ANALYZE; the 20 largest tables.'),
        ('table_live_rows', 'gauge', t.live_rows::numeric, 'Rows of the 20 largest tables.'),
        ('table_dead_rows', 'gauge', t.dead_rows::numeric, 'Dead rows of the 20 largest tables.'),
        ('table_bloat_bytes', 'gauge', t.bloat_bytes::numeric, 'Estimated bloat of the 20 largest tables.'),
        ('table_sequential_scans_total', 'counter', t.sequential_scans::numeric, 'Sequential scans of the 20 largest tables.'),
        ('table_index_scans_total', 'counter', coalesce(t.index_scans, 0)::numeric, 'Index scans of the 20 largest tables.')
    ) AS x (metric, kind, value, help)
    WHERE x.value IS NOT NULL;

    IF has_table_privilege('troubleshoot.alerts', 'SELECT') THEN
        RETURN QUERY
        SELECT 'open_alerts', 'gauge', jsonb_build_object('severity', s.severity), count(a.alert_id)::numeric, NULL::timestamptz,
               'Departures from the baseline that are not resolved.'
        FROM unnest(ARRAY['warning', 'critical']) s (severity)
        LEFT JOIN troubleshoot.alerts a ON a.severity = s.severity AND a.resolved_at IS NULL
        GROUP BY s.severity;
    END IF;

    IF has_function_privilege('troubleshoot.checks(text[])', 'EXECUTE') THEN
        RETURN QUERY
        SELECT 'findings', 'gauge', jsonb_build_object('severity', s.severity), count(c.check_id)::numeric, NULL::timestamptz,
               'Findings of troubleshoot.checks() that are not acknowledged, by severity.'
        FROM unnest(ARRAY['ok', 'info', 'warning', 'critical', 'unknown']) s (severity)
        LEFT JOIN troubleshoot.checks() c ON c.severity = s.severity
            AND NOT coalesce(c.acknowledged_until > statement_timestamp(), false)
        GROUP BY s.severity;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION troubleshoot.labelled_measurements() FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.labelled_measurements() IS
    'What troubleshoot.metrics() has beyond troubleshoot.measurements(): figures by state, wait, standby, slot, lock mode and table, with at most 20 of what users name. What the caller may not see is left out.';

CREATE FUNCTION troubleshoot.report_data() RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    sees_all CONSTANT boolean := pg_has_role('pg_read_all_stats', 'USAGE');
    data jsonb;
    part jsonb;
BEGIN
    data := jsonb_build_object(
        'database', current_database(),
        'version', current_setting('server_version'),
        'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
        'at_seconds', extract(epoch FROM clock_timestamp()),
        'started', to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
        'in_recovery', pg_is_in_recovery(),
        'sees_all', sees_all,
        'role', current_user,
        'connections_limit', current_setting('max_connections')::integer
            - current_setting('superuser_reserved_connections')::integer);

    SELECT jsonb_object_agg(m.metric, m.value) INTO part FROM troubleshoot.measurements() m;
    data := data || jsonb_build_object('figures', part);

    SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') INTO part FROM (
        SELECT s.metric, array_agg(round(extract(epoch FROM s.captured_at)) ORDER BY s.captured_at) AS times,
               array_agg(round(s.value, 3) ORDER BY s.captured_at) AS values
        FROM troubleshoot.samples s
        WHERE has_table_privilege('troubleshoot.samples', 'SELECT')
          AND s.captured_at > clock_timestamp() - interval '24 hours'
          AND s.metric IN ('commits_total', 'rollbacks_total', 'connections', 'active_connections',
                           'idle_in_transaction_connections', 'cache_hit_percent', 'mean_statement_ms', 'wal_bytes_total')
        GROUP BY s.metric) t;
    data := data || jsonb_build_object('history', part);

    SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]') INTO part FROM (
        SELECT a.state, count(*) AS count FROM pg_stat_activity a
        WHERE a.backend_type = 'client backend' AND a.state IS NOT NULL GROUP BY a.state ORDER BY 2 DESC, 1) s;
    data := data || jsonb_build_object('states', part);

    SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]') INTO part FROM (
        SELECT coalesce(a.wait_event_type, 'CPU') AS kind, coalesce(a.wait_event, 'running') AS event, count(*) AS count
        FROM pg_stat_activity a
        WHERE a.backend_type = 'client backend' AND a.state = 'active' AND a.pid <> pg_backend_pid()
        GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 12) s;
    data := data || jsonb_build_object('waits', part);

    SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]') INTO part FROM troubleshoot.top_statements(10) s;
    data := data || jsonb_build_object('statements', part,
        'has_statements', EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_stat_statements'));

    SELECT coalesce(jsonb_agg(jsonb_build_object('name', format('%I.%I', t.schema_name, t.table_name), 'bytes', t.bytes,
               'live_rows', t.live_rows, 'dead_rows', t.dead_rows, 'bloat_bytes', t.bloat_bytes,
               'sequential_scans', t.sequential_scans, 'index_scans', coalesce(t.index_scans, 0),
               'vacuum', to_char(t.last_vacuum AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
               'analyze', to_char(t.last_analyze AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'))), '[]')
    INTO part FROM troubleshoot.largest_tables(100) t
    WHERE t.schema_name NOT IN ('pg_catalog', 'information_schema') OR t.bytes > 100 * 1024 * 1024;
    data := data || jsonb_build_object('tables', part);

    part := NULL;
    IF has_table_privilege('troubleshoot.blocking_tree', 'SELECT') THEN
        SELECT coalesce(jsonb_agg(to_jsonb(b)), '[]') INTO part FROM (
            SELECT t.root_pid, t.depth, t.pid, t.user_name, t.application_name, t.state, t.wait_event_type, t.lock_mode,
                   t.object, round(t.waiting_seconds, 1) AS waiting_seconds,
                   round(t.transaction_seconds, 1) AS transaction_seconds, left(t.query, 500) AS query, t.remediation_sql
            FROM troubleshoot.blocking_tree t ORDER BY t.path LIMIT 50) b;
    END IF;
    data := data || jsonb_build_object('blocking', part);

    part := NULL;
    IF has_function_privilege('troubleshoot.checks(text[])', 'EXECUTE') THEN
        SELECT coalesce(jsonb_agg(to_jsonb(f)), '[]') INTO part FROM (
            SELECT c.check_id, c.severity, c.object, c.value, c.unit, c.warning_threshold, c.critical_threshold,
                   c.detail, c.remediation_sql, to_char(c.acknowledged_until AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS acknowledged
            FROM troubleshoot.checks() c
            ORDER BY array_position(ARRAY['critical', 'warning', 'unknown', 'info', 'ok'], c.severity), c.check_id, c.object
        ) f;
    END IF;
    data := data || jsonb_build_object('findings', part);

    part := '[]';
    IF has_table_privilege('troubleshoot.alerts', 'SELECT') THEN
        SELECT coalesce(jsonb_agg(to_jsonb(a)), '[]') INTO part FROM (
            SELECT a.metric, a.severity, a.detail, round(a.deviation, 1) AS deviation,
                   to_char(a.raised_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') AS raised
            FROM troubleshoot.alerts a WHERE a.resolved_at IS NULL ORDER BY a.severity, a.raised_at) a;
    END IF;
    RETURN data || jsonb_build_object('alerts', part);
END
$$;
REVOKE ALL ON FUNCTION troubleshoot.report_data() FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.report_data() IS
    'All that troubleshoot.report_html() shows, for programs: server, figures, samples of the last 24 hours, connections, waits, statements, tables, blocking, findings and alerts. blocking and findings are null where the caller may not read them. Takes no lock on a user''s table.';

REVOKE ALL ON FUNCTION troubleshoot.metrics, troubleshoot.report_html FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.metrics IS
    'The server in figures, in the text exposition format 0.0.4 of Prometheus: troubleshoot.measurements() and troubleshoot.labelled_measurements(), each name with the prefix neobank_. At most some hundreds of series, however many tables, standbys and slots there are. What the caller may not see is left out, and neobank_sees_all_sessions says whether that is so. Works on a standby.';
COMMENT ON FUNCTION troubleshoot.report_html IS
    'One page of HTML with all that it needs inside, without scripts: findings and what to do, load, connections, waits, statements, tables, blocking. For a browser, light or dark, a phone, or paper. What comes from the database is escaped. Works on a standby.';
