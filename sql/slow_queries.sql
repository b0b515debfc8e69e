-- Statements that take the most time, by pg_stat_statements of any version; and connections at a glance.

REVOKE ALL ON FUNCTION troubleshoot.slow_query_rows(integer, text) FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.slow_query_rows(integer, text) IS
    'The bound itself, for troubleshoot.slow_queries. NB021: max_rows not 1 to 1,000, or another order_by; 22004: null.';

CREATE FUNCTION troubleshoot.slow_queries(max_rows integer DEFAULT 20, order_by text DEFAULT 'total')
RETURNS TABLE (
    queryid bigint, query_preview text, calls bigint, total_time_ms numeric, avg_time_ms numeric, stddev_ms numeric,
    rows bigint, cache_hit_pct numeric, max_time_ms numeric, share_pct numeric, read_time_ms numeric,
    temp_blocks_written bigint, wal_bytes numeric, user_name text, database_name text, is_slow boolean, hint text)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE ROWS 20
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    bound integer := troubleshoot.slow_query_rows(max_rows, order_by);
    place text;
    has text[];
    total text;
    problem text;
    cure text;
BEGIN
    -- The view of the extension, whatever its schema, and not another one of its name.
    SELECT format('%I.%I', n.nspname, c.relname), array_agg(a.attname::text)
      INTO place, has
      FROM pg_extension e
      JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
                      AND d.classid = 'pg_class'::regclass
      JOIN pg_class c ON c.oid = d.objid AND c.relname = 'pg_stat_statements'
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE e.extname = 'pg_stat_statements'
     GROUP BY n.nspname, c.relname;
    IF place IS NULL THEN
        problem := '<pg_stat_statements is not installed>';
        cure := CASE WHEN current_setting('pg_stat_statements.max', true) IS NULL
                     THEN 'Add pg_stat_statements to shared_preload_libraries, restart the server, and CREATE EXTENSION pg_stat_statements.'
                     ELSE 'CREATE EXTENSION pg_stat_statements in this database.' END;
    ELSE
        -- Its columns have been renamed by its versions 1.8 and 1.11, and others have come.
        total := CASE WHEN 'total_exec_time' = ANY (has) THEN 'exec_time' ELSE 'time' END;
        BEGIN
            RETURN QUERY EXECUTE format(
                $q$SELECT s.queryid, left(s.query, 100), s.calls, round(s.total_%1$s::numeric, 2),
                          round(s.mean_%1$s::numeric, 2), round(s.stddev_%1$s::numeric, 2), s.rows,
                          round(100.0 * s.shared_blks_hit / nullif(s.shared_blks_hit + s.shared_blks_read, 0), 2),
                          round(s.max_%1$s::numeric, 2),
                          round(100 * s.total_%1$s::numeric / nullif(sum(s.total_%1$s::numeric) OVER (), 0), 2),
                          round(s.%2$s::numeric, 2), s.temp_blks_written, %3$s,
                          (SELECT r.rolname::text FROM pg_roles r WHERE r.oid = s.userid),
                          (SELECT b.datname::text FROM pg_database b WHERE b.oid = s.dbid),
                          s.calls >= 50 AND s.mean_%1$s >= 50,
                          CASE WHEN s.queryid IS NULL
                               THEN 'The statements of other roles are shown to pg_read_all_stats (pg_monitor) only.' END
                   FROM %4$s s
                   ORDER BY CASE $2 WHEN 'total' THEN s.total_%1$s WHEN 'mean' THEN s.mean_%1$s WHEN 'calls' THEN s.calls
                                    WHEN 'rows' THEN s.rows ELSE s.temp_blks_written END DESC, s.total_%1$s DESC
                   LIMIT $1$q$,
                total, CASE WHEN 'shared_blk_read_time' = ANY (has) THEN 'shared_blk_read_time' ELSE 'blk_read_time' END,
                CASE WHEN 'wal_bytes' = ANY (has) THEN 's.wal_bytes' ELSE 'NULL::numeric' END, place)
                USING bound, order_by;
            IF FOUND THEN
                RETURN;
            END IF;
            problem := '<nothing recorded>';
            cure := 'Look at pg_stat_statements.track and compute_query_id; pg_stat_statements_reset() may have just been called.';
        EXCEPTION
            WHEN object_not_in_prerequisite_state THEN
                problem := '<pg_stat_statements is not loaded>';
                cure := 'Add pg_stat_statements to shared_preload_libraries, and restart the server.';
            WHEN insufficient_privilege THEN
                problem := '<insufficient privilege>';
                cure := format('Grant USAGE on the schema of %s, SELECT on it, and pg_monitor.', place);
        END;
    END IF;
    query_preview := problem;
    hint := cure;
    RETURN NEXT;
END
$$;
REVOKE ALL ON FUNCTION troubleshoot.slow_queries(integer, text) FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.slow_queries(integer, text) IS
    'Statements by pg_stat_statements, of whatever version is installed. max_rows: 1 to 1,000; order_by: total (time), mean (time), calls, rows or temp (blocks written). Times in milliseconds since the statistics were last reset; share_pct: of the time of all statements; is_slow: 50 ms and more on average over 50 calls and more. Where pg_stat_statements is missing, not loaded, not visible or empty one row says so: queryid is null, and hint has the cure. NB021: a bound; 22004: null.';

CREATE VIEW troubleshoot.v_slow_queries AS
SELECT q.queryid, q.query_preview, q.calls, q.total_time_ms, q.avg_time_ms, q.stddev_ms, q.rows, q.cache_hit_pct,
       q.max_time_ms, q.share_pct, q.read_time_ms, q.temp_blocks_written, q.wal_bytes, q.user_name, q.database_name,
       q.is_slow, q.hint
FROM troubleshoot.slow_queries() q;
REVOKE ALL ON troubleshoot.v_slow_queries FROM PUBLIC;
COMMENT ON VIEW troubleshoot.v_slow_queries IS
    'The twenty statements that have taken the most time: troubleshoot.slow_queries(). One row with a hint where they cannot be told.';

CREATE FUNCTION troubleshoot.connection_analysis() RETURNS TABLE (metric text, value text, status text)
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 10
BEGIN ATOMIC
    WITH seen AS MATERIALIZED (
        SELECT pg_catalog.count(*) AS connections, pg_catalog.count(*) FILTER (WHERE NOT s.is_visible) AS hidden,
               pg_catalog.count(*) FILTER (WHERE s.state IN ('active', 'fastpath function call')) AS active,
               pg_catalog.count(*) FILTER (WHERE s.state = 'idle') AS idle,
               pg_catalog.count(*) FILTER (WHERE s.state LIKE 'idle in transaction%') AS in_transaction,
               pg_catalog.max(s.seconds_in_state) FILTER (WHERE s.state LIKE 'idle in transaction%') AS longest,
               pg_catalog.count(*) FILTER (WHERE s.wait_event_type = 'Lock') AS waiting,
               pooling.usable_connections() AS usable
        FROM pooling.sessions() s
    ), lines AS (
        SELECT 1 AS no, 'Max Connections' AS metric, pg_catalog.current_setting('max_connections') AS value, 'INFO' AS status,
               false AS is_counted, s.hidden FROM seen s
        UNION ALL
        SELECT 2, 'Current Connections', s.connections::text,
               CASE WHEN s.connections >= 0.75 * s.usable THEN 'WARNING' ELSE 'OK' END, false, s.hidden FROM seen s
        UNION ALL
        SELECT 3, 'Active Connections', s.active::text, 'INFO', true, s.hidden FROM seen s
        UNION ALL
        -- Idle connections of a pool cost little while there is room.
        SELECT 4, 'Idle Connections', s.idle::text,
               CASE WHEN s.idle > 0.7 * s.connections AND s.connections > 0.5 * s.usable THEN 'WARNING' ELSE 'OK' END,
               true, s.hidden FROM seen s
        UNION ALL
        SELECT 5, 'Idle in Transaction', s.in_transaction::text,
               CASE WHEN s.longest >= 900 THEN 'CRITICAL' WHEN s.in_transaction > 5 OR s.longest >= 300 THEN 'WARNING' ELSE 'OK' END,
               true, s.hidden FROM seen s
        UNION ALL
        SELECT 6, 'Connection Utilization', pg_catalog.round(100.0 * s.connections / s.usable, 1) || '%',
               CASE WHEN s.connections >= 0.9 * s.usable THEN 'CRITICAL'
                    WHEN s.connections >= 0.75 * s.usable THEN 'WARNING' ELSE 'OK' END, false, s.hidden FROM seen s
        UNION ALL
        SELECT 7, 'Usable Connections', s.usable::text, 'INFO', false, s.hidden FROM seen s
        UNION ALL
        SELECT 8, 'Waiting for a Lock', s.waiting::text, 'INFO', true, s.hidden FROM seen s
        UNION ALL
        SELECT 9, 'Longest Idle in Transaction', coalesce(pg_catalog.round(s.longest, 1) || ' s', 'none'), 'INFO', true, s.hidden
        FROM seen s
        UNION ALL
        SELECT 10, 'Not Visible', s.hidden::text, CASE WHEN s.hidden > 0 THEN 'UNKNOWN' ELSE 'OK' END, false, 0 FROM seen s
    )
    SELECT l.metric, CASE WHEN l.is_counted AND l.hidden > 0 THEN 'at least ' || l.value ELSE l.value END,
           CASE WHEN l.hidden > 0 AND (l.status = 'OK' OR l.is_counted AND l.status = 'INFO') THEN 'UNKNOWN' ELSE l.status END
    FROM lines l ORDER BY l.no;
END;
REVOKE ALL ON FUNCTION troubleshoot.connection_analysis() FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.connection_analysis() IS
    'Connections at this moment. Utilization is of those that clients may use, without the reserved ones (75 and 90 %); idle in transaction: more than 5, or one for 300 and 900 s, failed transactions with them. status: INFO, OK, WARNING, CRITICAL, or UNKNOWN where sessions are not visible to the caller (pg_monitor sees all).';
