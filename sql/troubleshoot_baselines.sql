-- What is usual, and what departs from it.

CREATE FUNCTION troubleshoot.measurements()
RETURNS TABLE (metric text, kind text, labels jsonb, value numeric, reset_at timestamptz, help text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    sees_all CONSTANT boolean := pg_has_role('pg_read_all_stats', 'USAGE');
    statements regclass;
BEGIN
    RETURN QUERY
    SELECT x.metric, 'counter', '{}'::jsonb, x.value, d.stats_reset, x.help
    FROM pg_stat_database d
    CROSS JOIN LATERAL (VALUES
        ('commits_total', d.xact_commit::numeric, 'Transactions committed in this database.'),
        ('rollbacks_total', d.xact_rollback::numeric, 'Transactions rolled back in this database.'),
        ('blocks_read_total', d.blks_read::numeric, 'Pages that were not in shared buffers.'),
        ('blocks_hit_total', d.blks_hit::numeric, 'Pages found in shared buffers.'),
        ('rows_returned_total', d.tup_returned::numeric, 'Rows read by scans.'),
        ('rows_fetched_total', d.tup_fetched::numeric, 'Rows fetched by index scans.'),
        ('rows_inserted_total', d.tup_inserted::numeric, 'Rows inserted.'),
        ('rows_updated_total', d.tup_updated::numeric, 'Rows updated.'),
        ('rows_deleted_total', d.tup_deleted::numeric, 'Rows deleted.'),
        ('conflicts_total', d.conflicts::numeric, 'Queries cancelled on a standby for conflicts with recovery.'),
        ('deadlocks_total', d.deadlocks::numeric, 'Deadlocks.'),
        ('temp_files_total', d.temp_files::numeric, 'Temporary files written by queries.'),
        ('temp_bytes_total', d.temp_bytes::numeric, 'Bytes written to temporary files.'),
        ('sessions_total', d.sessions::numeric, 'Sessions begun.'),
        ('sessions_fatal_total', d.sessions_fatal::numeric, 'Sessions ended by a fatal error.'),
        ('sessions_killed_total', d.sessions_killed::numeric, 'Sessions ended by an operator.'),
        ('active_seconds_total', round(d.active_time::numeric / 1000, 3), 'Time that sessions spent on statements.'),
        ('idle_in_transaction_seconds_total', round(d.idle_in_transaction_time::numeric / 1000, 3),
            'Time that sessions spent idle in a transaction.'),
        ('checksum_failures_total', d.checksum_failures::numeric, 'Pages with a wrong checksum.')
    ) AS x (metric, value, help)
    WHERE d.datname = current_database() AND x.value IS NOT NULL;

    RETURN QUERY
    SELECT x.metric, 'counter', '{}'::jsonb, x.value, w.stats_reset, x.help
    FROM pg_stat_wal w
    CROSS JOIN LATERAL (VALUES
        ('wal_records_total', w.wal_records::numeric, 'WAL records written.'),
        ('wal_full_pages_total', w.wal_fpi::numeric, 'Full page images written to WAL.'),
        ('wal_bytes_total', w.wal_bytes, 'Bytes of WAL written.'),
        ('wal_buffers_full_total', w.wal_buffers_full::numeric, 'Times that WAL was written because its buffers were full.')
    ) AS x (metric, value, help);

    -- Planned when it is reached, so only the view that this server has is looked up.
    IF current_setting('server_version_num')::integer >= 170000 THEN
        RETURN QUERY
        SELECT x.metric, 'counter', '{}'::jsonb, x.value, c.stats_reset, x.help
        FROM pg_stat_checkpointer c
        CROSS JOIN LATERAL (VALUES
            ('checkpoints_timed_total', c.num_timed::numeric, 'Checkpoints because checkpoint_timeout had passed.'),
            ('checkpoints_requested_total', c.num_requested::numeric, 'Checkpoints for other reasons, as max_wal_size.'),
            ('checkpoint_blocks_written_total', c.buffers_written::numeric, 'Pages written by checkpoints.')
        ) AS x (metric, value, help);
    ELSE
        RETURN QUERY
        SELECT x.metric, 'counter', '{}'::jsonb, x.value, b.stats_reset, x.help
        FROM pg_stat_bgwriter b
        CROSS JOIN LATERAL (VALUES
            ('checkpoints_timed_total', b.checkpoints_timed::numeric, 'Checkpoints because checkpoint_timeout had passed.'),
            ('checkpoints_requested_total', b.checkpoints_req::numeric, 'Checkpoints for other reasons, as max_wal_size.'),
            ('checkpoint_blocks_written_total', b.buffers_checkpoint::numeric, 'Pages written by checkpoints.')
        ) AS x (metric, value, help);
    END IF;

    SELECT to_regclass(format('%I.pg_stat_statements', n.nspname)) INTO statements
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'pg_stat_statements' AND sees_all;
    IF statements IS NOT NULL THEN
        BEGIN
            -- The extension's own columns, by its version: total_exec_time since 1.8.
            RETURN QUERY EXECUTE format($statement$
                SELECT x.metric, 'counter', '{}'::jsonb, x.value, NULL::timestamptz, x.help
                FROM (SELECT coalesce(sum(s.calls), 0) AS calls, coalesce(sum(s.total_exec_time), 0) AS ms FROM %s s) t
                CROSS JOIN LATERAL (VALUES
                    ('statements_total', t.calls::numeric, 'Statements that pg_stat_statements has counted.'),
                    ('statement_seconds_total', round(t.ms::numeric / 1000, 3), 'Time that they took.')
                ) AS x (metric, value, help) $statement$, statements);
        EXCEPTION WHEN object_not_in_prerequisite_state OR insufficient_privilege OR undefined_column THEN
            -- It is not preloaded, not granted, or of another age: then it says nothing.
            NULL;
        END;
    END IF;

    RETURN QUERY
    SELECT x.metric, 'gauge', '{}'::jsonb, x.value, NULL::timestamptz, x.help
    FROM (VALUES
        ('database_transaction_id_age', (SELECT age(d.datfrozenxid)::numeric FROM pg_database d WHERE d.datname = current_database()),
            'Age of the oldest transaction id of this database; the server stops near 2,000,000,000.'),
        ('database_multixact_id_age', (SELECT mxid_age(d.datminmxid)::numeric FROM pg_database d WHERE d.datname = current_database()),
            'Age of the oldest multixact id of this database.'),
        ('database_size_bytes', CASE WHEN sees_all OR has_database_privilege(current_database(), 'CONNECT')
            THEN pg_database_size(current_database())::numeric END, 'Size of this database on disk.'),
        ('connections_limit', current_setting('max_connections')::numeric
            - current_setting('superuser_reserved_connections')::numeric, 'Connections that there may be, without the reserved ones.'),
        ('prepared_transactions', (SELECT count(*)::numeric FROM pg_prepared_xacts), 'Prepared transactions that wait for an end.'),
        ('lock_waits', (SELECT count(*)::numeric FROM pg_locks l WHERE NOT l.granted), 'Locks that are waited for.'),
        ('start_timestamp_seconds', round(extract(epoch FROM pg_postmaster_start_time()), 0), 'When the server started, in Unix time.'),
        ('in_recovery', pg_is_in_recovery()::integer::numeric, '1 on a standby, 0 on a primary.'),
        ('sees_all_sessions', sees_all::integer::numeric, '1 where the role that reads may see other sessions (pg_monitor), else 0.')
    ) AS x (metric, value, help)
    WHERE x.value IS NOT NULL;

    -- What others do is NULL for who may not see it, and would count as nothing.
    IF sees_all THEN
        RETURN QUERY
        SELECT x.metric, 'gauge', '{}'::jsonb, x.value, NULL::timestamptz, x.help
        FROM (
            SELECT count(*)::numeric AS connections,
                count(*) FILTER (WHERE a.state = 'active')::numeric AS active,
                count(*) FILTER (WHERE a.state LIKE 'idle in transaction%')::numeric AS idle_in_transaction,
                count(*) FILTER (WHERE a.wait_event_type = 'Lock')::numeric AS blocked,
                coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start)), 0) AS oldest_transaction,
                coalesce(max(age(a.backend_xmin)), 0)::numeric AS oldest_xmin
            FROM pg_stat_activity a
            WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
        ) a
        CROSS JOIN LATERAL (VALUES
            ('connections', a.connections, 'Client connections to the server, without this one.'),
            ('active_connections', a.active, 'Connections that run a statement.'),
            ('idle_in_transaction_connections', a.idle_in_transaction, 'Connections idle in a transaction.'),
            ('blocked_connections', a.blocked, 'Connections that wait for a lock.'),
            ('oldest_transaction_seconds', round(greatest(a.oldest_transaction, 0), 3), 'Age of the oldest open transaction.'),
            ('oldest_xmin_age', a.oldest_xmin, 'Transactions since the oldest snapshot in use.')
        ) AS x (metric, value, help);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION troubleshoot.measurements() FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.measurements() IS
    'What the server counts, one row per figure without labels: what baselines keep and troubleshoot.metrics() begins with. kind: counter (grows until reset_at moves) or gauge. Takes no lock on a table and writes nothing; works on a standby. What the caller may not see is left out.';

CREATE TABLE troubleshoot.samples (
    captured_at timestamptz NOT NULL,
    metric text NOT NULL CHECK (length(metric) BETWEEN 1 AND 100),
    hour_of_week smallint NOT NULL CHECK (hour_of_week BETWEEN 0 AND 167),
    total numeric,
    reset_at timestamptz,
    value numeric,
    PRIMARY KEY (metric, captured_at)
);
CREATE INDEX samples_captured_at ON troubleshoot.samples (captured_at);
REVOKE ALL ON troubleshoot.samples FROM PUBLIC;
COMMENT ON TABLE troubleshoot.samples IS
    'What troubleshoot.capture_baseline() has measured. total: a counter as it stood, null for gauges and what is derived; value: the gauge, the counter''s rate per second since the sample before, or a share; null where nothing can be said, as after a restart. hour_of_week: in UTC, from Monday 00:00. Bounded by keep_days and most_samples of troubleshoot.baseline_settings.';
COMMENT ON INDEX troubleshoot.samples_captured_at IS 'For the newest sample, and for deleting the old ones.';
COMMENT ON CONSTRAINT samples_pkey ON troubleshoot.samples IS 'One value of a metric at a time.';

CREATE TABLE troubleshoot.alerts (
    alert_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    metric text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('warning', 'critical')),
    raised_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    resolved_at timestamptz,
    value numeric NOT NULL,
    median numeric NOT NULL,
    deviation numeric NOT NULL,
    detail text NOT NULL
);
CREATE UNIQUE INDEX alerts_open ON troubleshoot.alerts (metric) WHERE resolved_at IS NULL;
CREATE INDEX alerts_raised_at ON troubleshoot.alerts (raised_at);
REVOKE ALL ON troubleshoot.alerts FROM PUBLIC;
COMMENT ON TABLE troubleshoot.alerts IS
    'Departures from what is usual, found by troubleshoot.run_baseline(). One row per metric from the sample in which it departed (raised_at) to the one in which it was back (resolved_at); value, median, deviation, severity: the worst of them. The newest 10,000 that are resolved are kept.';
COMMENT ON INDEX troubleshoot.alerts_open IS 'One open alert per metric.';
COMMENT ON INDEX troubleshoot.alerts_raised_at IS 'For the newest alerts, and for deleting the old ones.';
REVOKE ALL ON SEQUENCE troubleshoot.alerts_alert_id_seq FROM PUBLIC;
COMMENT ON SEQUENCE troubleshoot.alerts_alert_id_seq IS 'Numbers of alerts; gaps are possible.';

CREATE TABLE troubleshoot.baseline_settings (
    name text PRIMARY KEY,
    value numeric NOT NULL,
    CONSTRAINT baseline_settings_bounds CHECK (CASE name
        WHEN 'keep_days' THEN value BETWEEN 1 AND 400
        WHEN 'most_samples' THEN value BETWEEN 1000 AND 100000000
        WHEN 'least_samples' THEN value BETWEEN 3 AND 10000
        WHEN 'warning_deviation' THEN value BETWEEN 1 AND 1000
        WHEN 'critical_deviation' THEN value BETWEEN 1 AND 1000
        ELSE false END)
);
REVOKE ALL ON troubleshoot.baseline_settings FROM PUBLIC;
COMMENT ON TABLE troubleshoot.baseline_settings IS
    'What is set in the place of the built-in values. keep_days (35): age at which samples go; most_samples (2,000,000): rows of troubleshoot.samples; least_samples (8): from how many on something is usual; warning_deviation (3.5), critical_deviation (7): robust deviations from the median.';
COMMENT ON CONSTRAINT baseline_settings_bounds ON troubleshoot.baseline_settings IS 'Known names, each within its bounds.';

-- Each statement is looked at whole: a restore brings both rows with one.
CREATE FUNCTION troubleshoot.guard_baseline_settings() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    warning numeric := coalesce((SELECT s.value FROM troubleshoot.baseline_settings s WHERE s.name = 'warning_deviation'), 3.5);
    critical numeric := coalesce((SELECT s.value FROM troubleshoot.baseline_settings s WHERE s.name = 'critical_deviation'), 7);
BEGIN
    IF warning > critical THEN
        RAISE EXCEPTION 'argument "warning_deviation" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = format('It is %s, and critical_deviation is %s: the warning must come first.', warning, critical),
                  HINT = 'Set both with one statement.';
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION troubleshoot.guard_baseline_settings() FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.guard_baseline_settings() IS
    'Refuses a warning_deviation above critical_deviation, where one that is not set has its built-in value. NB021.';
CREATE TRIGGER deviations_in_order AFTER INSERT OR UPDATE OR DELETE ON troubleshoot.baseline_settings
    FOR EACH STATEMENT EXECUTE FUNCTION troubleshoot.guard_baseline_settings();
COMMENT ON TRIGGER deviations_in_order ON troubleshoot.baseline_settings IS 'The warning comes before the alarm.';

SELECT pg_catalog.pg_extension_config_dump('troubleshoot.samples', '');
SELECT pg_catalog.pg_extension_config_dump('troubleshoot.alerts', '');
SELECT pg_catalog.pg_extension_config_dump('troubleshoot.alerts_alert_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('troubleshoot.baseline_settings', '');

REVOKE ALL ON FUNCTION troubleshoot.capture_baseline, troubleshoot.compare_baseline, troubleshoot.run_baseline FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.capture_baseline IS
    'Measures the server and keeps it in troubleshoot.samples: gauges as they stand, counters as their rate per second since the sample before, and what is derived from them. A counter that was reset counts from its reset. Acts with the rights of the extension''s owner. Returns how many values were kept; 0 within a second of the sample before, or while another session is at it.';
COMMENT ON FUNCTION troubleshoot.compare_baseline IS
    'How far a sample departs from what is usual. at: the newest sample up to then, null: the newest of all; days: how many days before it are looked at, 1 to 400. Usual is the median of the same hour of the week; where that has too few samples, of the same hour of any day; then of all. deviation: (value - median) / scale, where the scale is 1.4826 times the median absolute deviation, at the least 5 % of the median, and at the least what matters for the metric. severity: warning and critical by troubleshoot.baseline_settings, ok, or unknown where there are too few samples. NB021: days; 22004: days null.';
COMMENT ON FUNCTION troubleshoot.run_baseline IS
    'What a scheduler calls: measures, compares, raises and resolves troubleshoot.alerts, notifies the channel neobank_alerts of each change as JSON, and deletes what is past its bounds. In a transaction of its own: a notification takes a lock of the whole server at commit, so no posting may wait with it. Returns values kept, alerts raised, alerts resolved, and samples deleted. NB527: the transaction has written already.';
