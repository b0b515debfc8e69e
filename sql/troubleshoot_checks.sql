-- Checks, their thresholds and findings.

CREATE TABLE troubleshoot.thresholds (
    check_id text PRIMARY KEY,
    -- NaN is above every number, so it is not within these either.
    warning numeric CHECK (warning BETWEEN 0 AND 1e18),
    critical numeric CHECK (critical BETWEEN 0 AND 1e18),
    minimum numeric CHECK (minimum BETWEEN 0 AND 1e18),
    set_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    set_by text NOT NULL
);
REVOKE ALL ON troubleshoot.thresholds FROM PUBLIC;
COMMENT ON TABLE troubleshoot.thresholds IS
    'Thresholds in the place of a check''s own. Set by troubleshoot.set_threshold; troubleshoot.check_catalogue shows those in force.';
COMMENT ON COLUMN troubleshoot.thresholds.warning IS 'In the check''s unit; null: no value is a warning.';
COMMENT ON COLUMN troubleshoot.thresholds.critical IS 'In the check''s unit; null: no value is critical.';
COMMENT ON COLUMN troubleshoot.thresholds.minimum IS 'What is smaller is left out; null: the check''s own minimum.';

CREATE TABLE troubleshoot.acknowledgements (
    fingerprint text PRIMARY KEY,
    severity text NOT NULL CHECK (severity IN ('info', 'unknown', 'warning', 'critical')),
    object text,
    acknowledged_until timestamptz NOT NULL,
    reason text NOT NULL,
    acknowledged_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    acknowledged_by text NOT NULL
);
REVOKE ALL ON troubleshoot.acknowledgements FROM PUBLIC;
COMMENT ON TABLE troubleshoot.acknowledgements IS
    'Findings that somebody has taken note of, until when and why. Set by troubleshoot.acknowledge.';
COMMENT ON COLUMN troubleshoot.acknowledgements.severity IS
    'What it was then. A finding that has become worse since counts as not acknowledged.';

CREATE TABLE troubleshoot.restore_tests (
    tested_at timestamptz PRIMARY KEY,
    note text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    noted_by text NOT NULL
);
REVOKE ALL ON troubleshoot.restore_tests FROM PUBLIC;
COMMENT ON TABLE troubleshoot.restore_tests IS
    'When a backup was restored and found whole. Set by troubleshoot.note_restore_test.';

SELECT pg_catalog.pg_extension_config_dump('troubleshoot.thresholds', '');
SELECT pg_catalog.pg_extension_config_dump('troubleshoot.acknowledgements', '');
SELECT pg_catalog.pg_extension_config_dump('troubleshoot.restore_tests', '');

-- A wait for a lock ends at once, and is an answer of the check that met it.
CREATE FUNCTION troubleshoot.checks(only_checks text[] DEFAULT NULL)
RETURNS TABLE (
    check_id text, severity text, object text, value numeric, unit text, warning_threshold numeric,
    critical_threshold numeric, detail text, remediation_sql text, fingerprint text, acknowledged_until timestamptz)
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1ms'
SET datestyle = 'ISO, YMD'
BEGIN ATOMIC
    SELECT r.check_id, r.severity, r.object, r.value, r.unit, r.warning_threshold, r.critical_threshold, r.detail,
           r.remediation_sql, r.fingerprint, r.acknowledged_until
    FROM troubleshoot.run_checks(only_checks) r;
END;
REVOKE ALL ON FUNCTION troubleshoot.checks(text[]) FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.checks(text[]) IS
    'Checks the server and this database; the most urgent findings first, and a row for each check that found nothing. only_checks: names of checks, null: all. severity: critical, warning, unknown (it cannot be told: the role may not see it, something is locked or not installed), info, ok. value and thresholds in unit; remediation_sql: what to run once it is understood; fingerprint: the same for as long as the finding lasts; acknowledged_until: somebody took note of it, as bad as it is now. Reads with the caller''s rights, waits for no lock, takes none stronger than ACCESS SHARE, and runs on a standby. NB500: no such check; 22004: a name null.';

CREATE VIEW troubleshoot.check_catalogue AS
SELECT d.check_id, d.category, d.title, d.unit, d.worse,
       CASE WHEN t.check_id IS NULL THEN d.warning ELSE t.warning END AS warning,
       CASE WHEN t.check_id IS NULL THEN d.critical ELSE t.critical END AS critical,
       coalesce(t.minimum, d.minimum) AS minimum, d.minimum_unit,
       d.warning AS default_warning, d.critical AS default_critical, d.minimum AS default_minimum,
       t.set_at, t.set_by
FROM troubleshoot.check_definitions() d
LEFT JOIN troubleshoot.thresholds t ON t.check_id = d.check_id;
REVOKE ALL ON troubleshoot.check_catalogue FROM PUBLIC;
COMMENT ON VIEW troubleshoot.check_catalogue IS
    'The checks of troubleshoot.checks(), with the thresholds in force and the check''s own. worse: whether higher or lower values are; null where nothing is measured. minimum: what is smaller is left out.';

-- Which columns it has follows the version of the extension, not the server's.
CREATE FUNCTION troubleshoot.slow_statements(least_mean_ms numeric, least_calls numeric)
RETURNS TABLE (queryid bigint, query text, calls bigint, mean_ms numeric, total_ms numeric)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place oid;
    schema_name text;
    timed text;
BEGIN
    SELECT n.oid, n.nspname INTO place, schema_name
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'pg_stat_statements is not installed'
            USING ERRCODE = 'NB503', DETAIL = 'Without it the server does not keep how long statements take.',
                  HINT = 'Add it to shared_preload_libraries, restart, and run CREATE EXTENSION pg_stat_statements.';
    END IF;
    SELECT CASE WHEN count(*) FILTER (WHERE a.attname = 'total_exec_time') > 0 THEN 'total_exec_time' ELSE 'total_time' END
    INTO timed
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relname = 'pg_stat_statements' AND c.relnamespace = place;
    RETURN QUERY EXECUTE format(
        'SELECT s.queryid, pg_catalog.min(s.query), pg_catalog.sum(s.calls)::bigint, '
        'pg_catalog.round((pg_catalog.sum(s.%2$I) / pg_catalog.sum(s.calls))::numeric, 3), '
        'pg_catalog.round(pg_catalog.sum(s.%2$I)::numeric, 3) FROM %1$I.pg_stat_statements s '
        'WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) '
        'AND s.queryid IS NOT NULL AND s.calls > 0 GROUP BY s.queryid '
        'HAVING pg_catalog.sum(s.calls) >= $2 AND pg_catalog.sum(s.%2$I) / pg_catalog.sum(s.calls) >= $1',
        schema_name, timed) USING least_mean_ms, least_calls;
END
$$;
REVOKE ALL ON FUNCTION troubleshoot.slow_statements(numeric, numeric) FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.slow_statements(numeric, numeric) IS
    'Statements of this database that take least_mean_ms milliseconds or more on average and were called least_calls times or more, from pg_stat_statements. NB503: it is not installed; 55000: it is not loaded.';
