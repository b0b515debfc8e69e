-- Connections: as they are, as they were, and what a pool of them should be.

-- Made by the library.
REVOKE ALL ON FUNCTION pooling.machine_cores() FROM PUBLIC;
REVOKE ALL ON FUNCTION pooling.what_if(integer, numeric, numeric) FROM PUBLIC;
REVOKE ALL ON FUNCTION pooling.recommended_size(numeric, numeric, integer, integer, numeric) FROM PUBLIC;
REVOKE ALL ON FUNCTION pooling.calculate_pool_size(integer, numeric, integer, numeric, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pooling.generate_pgbouncer_config(text[], text, text, integer, jsonb, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pooling.capture_sample(interval, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pooling.bounded_period(interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pooling.bounded_pool_size(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pooling.bounded_seconds(numeric) FROM PUBLIC;
-- One row each, which the planner cannot know.
ALTER FUNCTION pooling.what_if(integer, numeric, numeric) ROWS 1;
ALTER FUNCTION pooling.recommended_size(numeric, numeric, integer, integer, numeric) ROWS 1;
COMMENT ON FUNCTION pooling.machine_cores() IS
    'The processors that the server''s processes may run on: what control group and affinity leave of the machine''s.';
COMMENT ON FUNCTION pooling.what_if(integer, numeric, numeric) IS
    'What a pool makes of a load, by the queue M/M/c (Erlang C; L. Kleinrock, Queueing Systems 1, 3.5). pool_size: connections, 1 to 262,143; arrival_rate: transactions per second, 0 to 10^9; service_time_ms: how long each keeps its connection, above 0 and up to a day. Returns the mean of busy connections, the part of the time that each is busy, the probability of a wait for one, the mean wait and that of all but 5 %, the mean time from asking to the end, the mean length of the queue, and whether it is stable: else more comes than can be served, the waits are null and grow without end. NB021: a bound; 22004: null.';
COMMENT ON FUNCTION pooling.recommended_size(numeric, numeric, integer, integer, numeric) IS
    'How large a pool should be. arrival_rate: transactions per second, 0 to 10^9; service_time_ms: how long each keeps its connection; available_connections: the most there can be; cores: null, those of the machine; cpu_share: of the time that a connection is busy, the part in which it computes, above 0 and up to 1, null: 0.5. needed_connections is the least with which connections are busy at most 80 % of the time and the mean wait is at most 10 % of the service time; busy_connections is Little''s law; core_limit is cores / cpu_share + 1; recommended_pool_size the least of needed, core_limit and available, limited_by says which: load, cores or connections. NB021: a bound; 22004: null.';
COMMENT ON FUNCTION pooling.calculate_pool_size(integer, numeric, integer, numeric, integer) IS
    'How large a pool should be, step by step. p_max_db_connections: max_connections, 1 to 262,143; p_avg_query_time_ms: how long a transaction keeps its connection, above 0 and up to a day; p_target_tps: transactions per second, from 1; p_safety_margin: the part of the connections that pools may take, above 0 and up to 1; p_cores: null, those of the machine. Sizes as pooling.recommended_size. NB021: a bound; 22004: null.';
COMMENT ON FUNCTION pooling.generate_pgbouncer_config(text[], text, text, integer, jsonb, integer) IS
    'A pgbouncer.ini for pgbouncer 1.18 and later, from the live server''s settings. databases: names, up to 1,000, null: this one; pool_mode: transaction, session or statement; host: where pgbouncer finds the server, null: its socket, else its address; pool_size: null, of each database what pooling.recommend_for answers; settings: an object of pgbouncer''s settings in place of ours or beside them, texts and whole numbers, null leaves a line out; cores: null, those of the machine. The pools of all databases together take four fifths of the connections that clients may have. NB540: a setting; NB541: a database; NB021: a bound; 22004: null.';
COMMENT ON FUNCTION pooling.capture_sample(interval, integer) IS
    'Writes what connections do now into pooling.samples, and the counters of load into pooling.load_samples; for a scheduler, every 10 to 60 seconds, with the rights of pg_monitor: what the caller may not see is counted as not_visible. keep: older rows of these tables and of pooling.pool_stats are deleted, up to 10,000 of each in a call; above 0 and up to 366 days. max_groups: rows of a sample, 1 to 1,000, the largest groups of sessions; the rest goes into one row (others) of each database. Returns when it was. Any number of sessions may call it at once. NB021: a bound; 22004: null; 25006: on a standby.';
COMMENT ON FUNCTION pooling.bounded_period(interval) IS
    'The period itself, for functions that read samples. NB021: not above 0 and up to 366 days; 22004: null.';
COMMENT ON FUNCTION pooling.bounded_pool_size(integer) IS
    'The size itself; null for null. NB021: not 1 to 262,143.';

COMMENT ON FUNCTION pooling.bounded_seconds(numeric) IS
    'The seconds themselves. NB021: not 0 to 31,622,400; 22004: null.';

CREATE FUNCTION pooling.usable_connections() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    -- reserved_connections came with PostgreSQL 16.
    SELECT greatest(1, pg_catalog.current_setting('max_connections')::int
                       - pg_catalog.current_setting('superuser_reserved_connections')::int
                       - coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0));
END;
REVOKE ALL ON FUNCTION pooling.usable_connections() FROM PUBLIC;
COMMENT ON FUNCTION pooling.usable_connections() IS
    'How many connections ordinary roles may have: max_connections without those that are reserved.';

CREATE FUNCTION pooling.sessions() RETURNS TABLE (
    pid integer, user_name text, database_name text, application_name text, client_addr inet,
    backend_start timestamptz, xact_start timestamptz, state_change timestamptz, state text,
    wait_event_type text, wait_event text, holds_transaction_id boolean, holds_snapshot boolean, query text,
    is_visible boolean, seconds_in_state numeric, age_seconds numeric, transaction_seconds numeric)
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 100
BEGIN ATOMIC
    -- Within a transaction the server shows what it showed first until this is called.
    SELECT pg_catalog.pg_stat_clear_snapshot();
    SELECT a.pid, a.usename::text, a.datname::text, a.application_name, a.client_addr, a.backend_start, a.xact_start,
           a.state_change,
           CASE WHEN a.backend_type IS NULL OR a.state = 'disabled' THEN 'unknown' ELSE coalesce(a.state, 'starting') END,
           a.wait_event_type, a.wait_event, a.backend_xid IS NOT NULL, a.backend_xmin IS NOT NULL, a.query,
           a.backend_type IS NOT NULL AND a.state IS DISTINCT FROM 'disabled',
           pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.state_change)::numeric,
           pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.backend_start)::numeric,
           pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.xact_start)::numeric
    FROM pg_catalog.pg_stat_activity a
    -- Of sessions that the caller may not look into not even their kind is told.
    WHERE a.backend_type = 'client backend' OR a.backend_type IS NULL AND a.usesysid IS NOT NULL;
END;
REVOKE ALL ON FUNCTION pooling.sessions() FROM PUBLIC;
COMMENT ON FUNCTION pooling.sessions() IS
    'Sessions of clients at this moment, also within a transaction that has looked before. state is unknown, and is_visible false, where the caller may not look (without pg_monitor: other roles'' sessions, and then workers that run as a role are among them) or track_activities is off. Times in seconds; holds_snapshot: it keeps VACUUM from removing rows.';

CREATE VIEW pooling.v_connection_analysis AS
SELECT s.user_name AS username,
       pg_catalog.count(*) AS total_connections,
       CASE WHEN pg_catalog.bool_and(s.is_visible) THEN pg_catalog.count(*) FILTER (WHERE s.state = 'active') END AS active,
       CASE WHEN pg_catalog.bool_and(s.is_visible) THEN pg_catalog.count(*) FILTER (WHERE s.state = 'idle') END AS idle,
       CASE WHEN pg_catalog.bool_and(s.is_visible)
            THEN pg_catalog.count(*) FILTER (WHERE s.state = 'idle in transaction') END AS idle_in_transaction,
       CASE WHEN pg_catalog.bool_and(s.is_visible)
            THEN pg_catalog.count(*) FILTER (WHERE s.state = 'idle in transaction (aborted)') END AS aborted,
       pg_catalog.round(pg_catalog.avg(s.age_seconds), 2) AS avg_connection_age_seconds,
       pg_catalog.max(s.seconds_in_state) AS max_seconds_in_current_state,
       pg_catalog.count(*) FILTER (WHERE s.wait_event_type = 'Lock') AS waiting_for_lock,
       pg_catalog.max(s.transaction_seconds) AS longest_transaction_seconds,
       pg_catalog.count(DISTINCT s.application_name) FILTER (WHERE s.is_visible) AS applications,
       pg_catalog.count(*) FILTER (WHERE NOT s.is_visible) AS not_visible
FROM pooling.sessions() s
GROUP BY s.user_name
ORDER BY 2 DESC, 1;
REVOKE ALL ON pooling.v_connection_analysis FROM PUBLIC;
COMMENT ON VIEW pooling.v_connection_analysis IS
    'Connections of each role by state. not_visible: how many the reader may not look into (pg_monitor may); the counts by state are null then.';

CREATE FUNCTION pooling.idle_connections(seconds numeric DEFAULT 300) RETURNS TABLE (
    pid integer, usename text, application_name text, client_addr inet, state text, state_change timestamptz,
    idle_seconds numeric, query text, database_name text, holds_transaction_id boolean, holds_snapshot boolean,
    remediation_sql text)
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 100
BEGIN ATOMIC
    SELECT s.pid, s.user_name, s.application_name, s.client_addr, s.state, s.state_change, s.seconds_in_state, s.query,
           s.database_name, s.holds_transaction_id, s.holds_snapshot,
           -- pg_cancel_backend does nothing to a session that runs nothing.
           pg_catalog.format('SELECT pg_catalog.pg_terminate_backend(%s);', s.pid)
    FROM pooling.sessions() s, pooling.bounded_seconds(idle_connections.seconds) b
    WHERE s.state LIKE 'idle%' AND s.seconds_in_state > b OR NOT s.is_visible
    ORDER BY s.seconds_in_state DESC NULLS LAST, s.pid;
END;
REVOKE ALL ON FUNCTION pooling.idle_connections(numeric) FROM PUBLIC;
COMMENT ON FUNCTION pooling.idle_connections(numeric) IS
    'Sessions that have been idle, in a transaction or not, for longer than that; with state unknown those that the caller may not look into. seconds: 0 to 31,622,400. query: the last one; holds_snapshot: it keeps VACUUM from removing rows; remediation_sql: what ends the session. NB021: seconds; 22004: null.';

CREATE VIEW pooling.v_idle_connections AS
SELECT i.pid, i.usename, i.application_name, i.client_addr, i.state, i.state_change, i.idle_seconds, i.query,
       i.database_name, i.holds_transaction_id, i.holds_snapshot, i.remediation_sql
FROM pooling.idle_connections() i;
REVOKE ALL ON pooling.v_idle_connections FROM PUBLIC;
COMMENT ON VIEW pooling.v_idle_connections IS
    'pooling.idle_connections() of more than 5 minutes.';

CREATE TABLE pooling.samples (
    sampled_at timestamptz NOT NULL,
    database_name text NOT NULL,
    user_name text NOT NULL,
    application_name text NOT NULL,
    connections integer NOT NULL,
    active integer NOT NULL,
    idle integer NOT NULL,
    idle_in_transaction integer NOT NULL,
    aborted integer NOT NULL,
    not_visible integer NOT NULL,
    on_cpu integer NOT NULL,
    waiting_lock integer NOT NULL,
    waiting_io integer NOT NULL,
    oldest_connection_seconds numeric,
    longest_transaction_seconds numeric,
    PRIMARY KEY (sampled_at, database_name, user_name, application_name)
);
REVOKE ALL ON pooling.samples FROM PUBLIC;
COMMENT ON TABLE pooling.samples IS
    'Sessions at the moments of pooling.capture_sample, by database, role and application, without the one that sampled.';
COMMENT ON COLUMN pooling.samples.aborted IS 'Idle in a transaction that has failed.';
COMMENT ON COLUMN pooling.samples.not_visible IS 'How many the sampling role might not look into: they are in no other count but connections.';
COMMENT ON COLUMN pooling.samples.on_cpu IS 'Of the active ones, those that wait for nothing.';

CREATE TABLE pooling.load_samples (
    sampled_at timestamptz NOT NULL,
    database_name text NOT NULL,
    max_connections integer NOT NULL,
    usable_connections integer NOT NULL,
    connections integer NOT NULL,
    transactions bigint NOT NULL,
    active_ms numeric NOT NULL,
    idle_in_transaction_ms numeric NOT NULL,
    sessions bigint NOT NULL,
    sessions_lost bigint NOT NULL,
    stats_reset timestamptz,
    PRIMARY KEY (database_name, sampled_at)
);
REVOKE ALL ON pooling.load_samples FROM PUBLIC;
COMMENT ON TABLE pooling.load_samples IS
    'The server''s counters of each database in use at the moments of pooling.capture_sample, since stats_reset; pooling.load reads differences.';
COMMENT ON COLUMN pooling.load_samples.sessions_lost IS
    'Sessions that ended otherwise than by their client''s good-bye: abandoned, fatal or killed.';
CREATE INDEX load_samples_sampled_at ON pooling.load_samples (sampled_at);
COMMENT ON INDEX pooling.load_samples_sampled_at IS 'For deleting what is old.';

CREATE TABLE pooling.pool_stats (
    stat_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    pool_name varchar(100),
    client_connections integer CHECK (client_connections >= 0),
    server_connections integer CHECK (server_connections >= 0),
    server_active integer CHECK (server_active >= 0),
    server_idle integer CHECK (server_idle >= 0),
    max_wait_ms integer CHECK (max_wait_ms >= 0),
    avg_query_time_ms numeric CHECK (avg_query_time_ms >= 0),
    total_requests bigint CHECK (total_requests >= 0),
    collected_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
REVOKE ALL ON pooling.pool_stats FROM PUBLIC;
COMMENT ON TABLE pooling.pool_stats IS
    'What a pooler says of itself (SHOW POOLS, SHOW STATS), written by whoever asks it; pooling.capture_sample deletes what is old.';
COMMENT ON COLUMN pooling.pool_stats.pool_name IS 'The database; pooling.advice looks for the current one.';
COMMENT ON COLUMN pooling.pool_stats.max_wait_ms IS 'How long the oldest waiting client has been waiting for a connection.';
REVOKE ALL ON SEQUENCE pooling.pool_stats_stat_id_seq FROM PUBLIC;
COMMENT ON SEQUENCE pooling.pool_stats_stat_id_seq IS 'Numbers of pool_stats; gaps are possible.';
CREATE INDEX pool_stats_collected_at ON pooling.pool_stats (collected_at);
COMMENT ON INDEX pooling.pool_stats_collected_at IS 'For the last ones, and for deleting what is old.';

SELECT pg_catalog.pg_extension_config_dump('pooling.samples', '');
SELECT pg_catalog.pg_extension_config_dump('pooling.load_samples', '');
SELECT pg_catalog.pg_extension_config_dump('pooling.pool_stats', '');
SELECT pg_catalog.pg_extension_config_dump('pooling.pool_stats_stat_id_seq', '');

CREATE FUNCTION pooling.session_groups(max_groups integer) RETURNS TABLE (
    database_name text, user_name text, application_name text, connections integer, active integer, idle integer,
    idle_in_transaction integer, aborted integer, not_visible integer, on_cpu integer, waiting_lock integer,
    waiting_io integer, oldest_connection_seconds numeric, longest_transaction_seconds numeric)
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 100
BEGIN ATOMIC
    WITH sessions AS MATERIALIZED (
        SELECT s.*, coalesce(s.database_name, '') AS of_database, coalesce(s.user_name, '') AS of_user,
               coalesce(s.application_name, '') AS of_application
        FROM pooling.sessions() s WHERE s.pid <> pg_catalog.pg_backend_pid()
    ), largest AS (
        SELECT g.of_database, g.of_user, g.of_application FROM sessions g
        GROUP BY 1, 2, 3 ORDER BY pg_catalog.count(*) DESC, 1, 2, 3 LIMIT CASE WHEN session_groups.max_groups < 0 THEN 0 ELSE session_groups.max_groups END
    )
    SELECT s.of_database, CASE WHEN l.of_user IS NULL THEN '(others)' ELSE s.of_user END,
           CASE WHEN l.of_user IS NULL THEN '(others)' ELSE s.of_application END, pg_catalog.count(*)::int,
           (pg_catalog.count(*) FILTER (WHERE s.state IN ('active', 'fastpath function call')))::int,
           (pg_catalog.count(*) FILTER (WHERE s.state = 'idle'))::int,
           (pg_catalog.count(*) FILTER (WHERE s.state = 'idle in transaction'))::int,
           (pg_catalog.count(*) FILTER (WHERE s.state = 'idle in transaction (aborted)'))::int,
           (pg_catalog.count(*) FILTER (WHERE NOT s.is_visible))::int,
           (pg_catalog.count(*) FILTER (WHERE s.state IN ('active', 'fastpath function call') AND s.wait_event_type IS NULL))::int,
           (pg_catalog.count(*) FILTER (WHERE s.state = 'active' AND s.wait_event_type = 'Lock'))::int,
           (pg_catalog.count(*) FILTER (WHERE s.state = 'active' AND s.wait_event_type = 'IO'))::int,
           pg_catalog.round(pg_catalog.max(s.age_seconds), 3), pg_catalog.round(pg_catalog.max(s.transaction_seconds), 3)
    FROM sessions s
    LEFT JOIN largest l USING (of_database, of_user, of_application)
    GROUP BY 1, 2, 3;
END;
REVOKE ALL ON FUNCTION pooling.session_groups(integer) FROM PUBLIC;
COMMENT ON FUNCTION pooling.session_groups(integer) IS
    'The rows that pooling.capture_sample writes: other sessions by database, role and application, the largest max_groups, the rest as (others). Null: all groups; below 0: as 0.';
