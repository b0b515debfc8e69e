-- What the samples say about the load, and what follows for a pool.

CREATE FUNCTION pooling.load(since interval DEFAULT '01:00:00') RETURNS TABLE (
    database_name text, first_at timestamptz, last_at timestamptz, steps bigint, seconds numeric, transactions numeric,
    arrival_rate numeric, peak_arrival_rate numeric, service_time_ms numeric, busy_connections numeric,
    peak_busy_connections numeric, idle_in_transaction_share numeric, cpu_share numeric, lock_share numeric,
    sessions_per_second numeric, sessions_lost numeric, mean_connections numeric, peak_connections integer,
    usable_connections integer, not_visible bigint)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 5
BEGIN ATOMIC
    WITH bounds AS MATERIALIZED (
        SELECT pg_catalog.clock_timestamp() - pooling.bounded_period(load.since) AS from_time
    ), paired AS (
        SELECT l.*,
               date_part('epoch', l.sampled_at - pg_catalog.lag(l.sampled_at) OVER w)::numeric AS step_seconds,
               l.transactions - pg_catalog.lag(l.transactions) OVER w AS step_transactions,
               l.active_ms - pg_catalog.lag(l.active_ms) OVER w AS step_active,
               l.idle_in_transaction_ms - pg_catalog.lag(l.idle_in_transaction_ms) OVER w AS step_idle,
               l.sessions - pg_catalog.lag(l.sessions) OVER w AS step_sessions,
               l.sessions_lost - pg_catalog.lag(l.sessions_lost) OVER w AS step_lost,
               l.stats_reset IS NOT DISTINCT FROM pg_catalog.lag(l.stats_reset) OVER w AS is_same
        FROM pooling.load_samples l, bounds b
        WHERE l.sampled_at >= b.from_time
        WINDOW w AS (PARTITION BY l.database_name ORDER BY l.sampled_at)
    ), steps AS (
        -- A server that crashed begins its counters anew, without saying so in stats_reset.
        SELECT * FROM paired p
        WHERE p.is_same AND p.step_seconds > 0 AND p.step_transactions >= 0 AND p.step_active >= 0
          AND p.step_idle >= 0 AND p.step_sessions >= 0 AND p.step_lost >= 0
    ), states AS (
        SELECT s.database_name, pg_catalog.sum(s.active + s.idle_in_transaction + s.aborted) AS busy,
               pg_catalog.sum(s.on_cpu) AS on_cpu, pg_catalog.sum(s.waiting_lock) AS waiting_lock,
               pg_catalog.sum(s.not_visible) AS not_visible
        FROM pooling.samples s, bounds b WHERE s.sampled_at >= b.from_time GROUP BY 1
    ), totals AS (
        SELECT t.database_name, pg_catalog.min(t.sampled_at) AS first_at, pg_catalog.max(t.sampled_at) AS last_at,
               pg_catalog.count(*) AS steps, pg_catalog.sum(t.step_seconds) AS seconds,
               pg_catalog.sum(t.step_transactions) AS transactions,
               pg_catalog.sum(t.step_active) AS active_ms, pg_catalog.sum(t.step_idle) AS idle_ms,
               pg_catalog.percentile_disc(0.95) WITHIN GROUP (ORDER BY t.step_transactions / t.step_seconds) AS peak_rate,
               pg_catalog.percentile_disc(0.95) WITHIN GROUP
                   (ORDER BY (t.step_active + t.step_idle) / t.step_seconds / 1000) AS peak_busy,
               pg_catalog.sum(t.step_sessions) AS sessions, pg_catalog.sum(t.step_lost) AS lost,
               pg_catalog.avg(t.connections) AS connections, pg_catalog.max(t.connections) AS peak_connections,
               pg_catalog.min(t.usable_connections) AS usable
        FROM steps t GROUP BY 1
    )
    SELECT t.database_name, t.first_at, t.last_at, t.steps, pg_catalog.round(t.seconds, 3), t.transactions,
           pg_catalog.round(t.transactions / t.seconds, 3), pg_catalog.round(t.peak_rate, 3),
           pg_catalog.round((t.active_ms + t.idle_ms) / nullif(t.transactions, 0), 4),
           pg_catalog.round((t.active_ms + t.idle_ms) / t.seconds / 1000, 3), pg_catalog.round(t.peak_busy, 3),
           pg_catalog.round(t.idle_ms / nullif(t.active_ms + t.idle_ms, 0), 4),
           -- Fewer glances than that say little. Who waits for a lock is left out: more connections would wait with it.
           CASE WHEN s.busy - s.waiting_lock >= 20 AND s.not_visible = 0
                THEN pg_catalog.round(s.on_cpu / (s.busy - s.waiting_lock)::numeric, 4) END,
           CASE WHEN s.busy >= 20 AND s.not_visible = 0 THEN pg_catalog.round(s.waiting_lock / s.busy::numeric, 4) END,
           pg_catalog.round(t.sessions / t.seconds, 4), t.lost, pg_catalog.round(t.connections, 1),
           t.peak_connections, t.usable, coalesce(s.not_visible, 0)
    FROM totals t LEFT JOIN states s USING (database_name);
END;
REVOKE ALL ON FUNCTION pooling.load(interval) FROM PUBLIC;
COMMENT ON FUNCTION pooling.load(interval) IS
    'The load on each database, from the differences of its samples (steps). since: how far back, above 0 and up to 366 days. arrival_rate: transactions per second; service_time_ms: how long one keeps its connection, running or idle in it; busy_connections: how many are so at a time; peak_...: all but 5 % of the steps have less; idle_in_transaction_share: the part of the busy time that the application spends thinking; cpu_share, lock_share: of the busy sessions seen in samples those that compute, and that wait for a lock, null below 20 of them or where some were not visible; not_visible: sessions that the sampling role might not look into. NB021: since; 22004: null.';

CREATE FUNCTION pooling.recommend_for(
    database_name text, cores integer DEFAULT NULL, since interval DEFAULT '1 day') RETURNS TABLE (
    recommended_pool_size integer, limited_by text, is_measured boolean, arrival_rate numeric, service_time_ms numeric,
    busy_connections numeric, needed_connections numeric, core_limit integer, used_cores integer,
    used_cpu_share numeric, available_connections integer, utilization numeric, mean_wait_ms numeric, is_stable boolean,
    detail text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
    -- At the most one row; the aggregates make it exactly one. Outer joins to functions beside each other are more than
    -- some planners (17.10) find a plan for.
    WITH measured AS MATERIALIZED (
        SELECT pg_catalog.count(*) > 0 AS is_known, least(pg_catalog.max(l.peak_arrival_rate), 1000000000) AS rate,
               least(pg_catalog.max(l.service_time_ms), 86400000) AS service, pg_catalog.max(l.cpu_share) AS cpu_share,
               greatest(1, pooling.usable_connections() * 4 / 5) AS available
        FROM pooling.load(recommend_for.since) l
        WHERE l.database_name = recommend_for.database_name AND l.service_time_ms > 0 AND l.peak_arrival_rate > 0
    ), sized AS MATERIALIZED (
        SELECT m.*, r.*,
               CASE WHEN m.is_known THEN r.recommended_pool_size ELSE least(r.core_limit, m.available) END AS size
        FROM measured m, LATERAL pooling.recommended_size(
            coalesce(m.rate, 0), coalesce(m.service, 1), m.available, recommend_for.cores,
            CASE WHEN m.cpu_share < 0.05 THEN 0.05 ELSE m.cpu_share END) r
    )
    SELECT s.size, CASE WHEN s.is_known THEN s.limited_by ELSE 'nothing measured' END, s.is_known, s.rate, s.service,
           CASE WHEN s.is_known THEN s.busy_connections END, CASE WHEN s.is_known THEN s.needed_connections END,
           s.core_limit, s.used_cores, s.used_cpu_share, s.available,
           CASE WHEN s.is_known THEN w.utilization END, CASE WHEN s.is_known THEN w.mean_wait_ms END,
           CASE WHEN s.is_known THEN w.is_stable END,
           CASE WHEN s.is_known THEN pg_catalog.format(
                    '%s transactions/s at peak, %s ms each: %s connections busy; %s needed, %s cores can use %s, %s available',
                    s.rate, s.service, s.busy_connections, s.needed_connections, s.used_cores, s.core_limit, s.available)
                ELSE pg_catalog.format(
                    'no load measured: %s cores can use %s connections, %s available', s.used_cores, s.core_limit, s.available)
           END
    FROM sized s, LATERAL pooling.what_if(s.size, coalesce(s.rate, 0), coalesce(s.service, 1)) w;
END;
REVOKE ALL ON FUNCTION pooling.recommend_for(text, integer, interval) FROM PUBLIC;
COMMENT ON FUNCTION pooling.recommend_for(text, integer, interval) IS
    'How large the pool of a database should be, from its samples. database_name; cores: null, those of the machine; since: how far back. The load is that of 95 % of the time (pooling.load), available are four fifths of what clients may use, the rest as pooling.recommended_size; mean_wait_ms is the wait for a connection of the recommended pool, null where is_stable is false: more comes than it can serve. Without a measured load (is_measured false) what the cores can use. NB021: a bound; 22004: since null.';

CREATE FUNCTION pooling.recommend(cores integer DEFAULT NULL, since interval DEFAULT '1 day') RETURNS TABLE (
    database_name text, recommended_pool_size integer, limited_by text, is_measured boolean, arrival_rate numeric,
    service_time_ms numeric, busy_connections numeric, needed_connections numeric, core_limit integer,
    used_cores integer, used_cpu_share numeric, available_connections integer, utilization numeric, mean_wait_ms numeric,
    is_stable boolean, detail text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 5
BEGIN ATOMIC
    SELECT d.name, r.*
    FROM (SELECT l.database_name AS name FROM pooling.load(recommend.since) l
          UNION SELECT pg_catalog.current_database()::text) d
    CROSS JOIN LATERAL pooling.recommend_for(d.name, recommend.cores, recommend.since) r
    ORDER BY d.name;
END;
REVOKE ALL ON FUNCTION pooling.recommend(integer, interval) FROM PUBLIC;
COMMENT ON FUNCTION pooling.recommend(integer, interval) IS
    'pooling.recommend_for of this database and each one that has samples. All pools together must fit into the server: each is sized as if it were alone.';

CREATE FUNCTION pooling.advised_pool_size(
    current_pool_size integer, since interval DEFAULT '00:15:00', cores integer DEFAULT NULL) RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN c.size IS NULL
                  OR r.is_measured AND pg_catalog.abs(r.recommended_pool_size - c.size) > greatest(1, c.size / 5)
                THEN r.recommended_pool_size ELSE c.size END
    FROM pooling.recommend_for(pg_catalog.current_database()::text, advised_pool_size.cores, advised_pool_size.since) r,
         (SELECT pooling.bounded_pool_size(advised_pool_size.current_pool_size) AS size) c;
END;
REVOKE ALL ON FUNCTION pooling.advised_pool_size(integer, interval, integer) FROM PUBLIC;
COMMENT ON FUNCTION pooling.advised_pool_size(integer, interval, integer) IS
    'The size to set for the pool of this database now, for a scheduler. current_pool_size: as it is, null: none yet. It stays where nothing is measured, and where the recommended size is within a fifth of it, so that the pool is not resized for every ripple. since, cores: as pooling.recommend_for. NB021: a bound; 22004: since null.';

CREATE FUNCTION pooling.advice(
    current_pool_size integer DEFAULT NULL, since interval DEFAULT '00:15:00', cores integer DEFAULT NULL)
RETURNS TABLE (check_id text, severity text, value numeric, unit text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 8
BEGIN ATOMIC
    WITH measured AS MATERIALIZED (
        SELECT l.*, r.recommended_pool_size AS wanted, r.detail AS why,
               least(l.peak_arrival_rate, 1000000000) AS rate, least(l.service_time_ms, 86400000) AS service
        FROM pooling.load(advice.since) l
        CROSS JOIN LATERAL pooling.recommend_for(l.database_name, advice.cores, advice.since) r
        WHERE l.database_name = pg_catalog.current_database() AND l.service_time_ms > 0 AND l.peak_arrival_rate > 0
    ), pool AS MATERIALIZED (
        SELECT m.*, c.size, w.wait_probability, w.mean_wait_ms, w.is_stable
        FROM measured m
        CROSS JOIN LATERAL (
            SELECT coalesce(pooling.bounded_pool_size(advice.current_pool_size),
                            (SELECT pg_catalog.max(s.server_connections) FROM pooling.pool_stats s
                             WHERE s.pool_name = m.database_name AND s.server_connections > 0
                               AND s.collected_at >= pg_catalog.clock_timestamp() - advice.since),
                            greatest(m.peak_connections, 1)) AS size) c
        CROSS JOIN LATERAL pooling.what_if(least(c.size, 262143), m.rate, m.service) w
    )
    SELECT 'samples', 'unknown', NULL::numeric, NULL::text,
           'no load of this database was sampled in that time',
           'have a scheduler call SELECT pooling.capture_sample(); every 10 to 60 seconds'
    WHERE pooling.bounded_pool_size(advice.current_pool_size) IS NOT DISTINCT FROM advice.current_pool_size
      AND NOT EXISTS (SELECT FROM measured)
    UNION ALL
    SELECT 'visibility', 'unknown', p.not_visible, 'sessions',
           'the role that samples might not look into other sessions', 'GRANT pg_monitor to the role that samples'
    FROM pool p WHERE p.not_visible > 0
    UNION ALL
    SELECT 'pool_size',
           CASE WHEN NOT p.is_stable THEN 'critical' WHEN p.mean_wait_ms > p.service THEN 'warning'
                WHEN pg_catalog.abs(p.wanted - p.size) > greatest(1, p.size / 5) THEN 'info' ELSE 'ok' END,
           p.wanted, 'connections',
           pg_catalog.format('a pool of %s: %s; %s', p.size,
               CASE WHEN NOT p.is_stable THEN 'more comes than it can serve'
                    ELSE pg_catalog.format('%s %% wait, %s ms on average', pg_catalog.round(100 * p.wait_probability, 1),
                                           pg_catalog.round(p.mean_wait_ms, 3)) END, p.why),
           CASE WHEN pg_catalog.abs(p.wanted - p.size) <= greatest(1, p.size / 5) THEN 'keep it'
                ELSE pg_catalog.format('in pgbouncer''s console: SET default_pool_size = %s;', p.wanted) END
    FROM pool p
    UNION ALL
    SELECT 'connections',
           CASE WHEN p.peak_connections >= 0.9 * p.usable_connections THEN 'critical'
                WHEN p.peak_connections >= 0.75 * p.usable_connections THEN 'warning' ELSE 'ok' END,
           p.peak_connections, 'connections',
           pg_catalog.format('at the most %s of %s connections that clients may use, %s on average', p.peak_connections,
                             p.usable_connections, p.mean_connections),
           'put a pool between the applications and the server: SELECT pooling.generate_pgbouncer_config();'
    FROM pool p
    UNION ALL
    SELECT 'idle_in_transaction', CASE WHEN p.idle_in_transaction_share >= 0.25 THEN 'warning' ELSE 'ok' END,
           100 * p.idle_in_transaction_share, '%', 'the part of the busy time in which the server waits for the application',
           'let transactions do nothing but statements: one call and one round trip where it can be'
    FROM pool p
    UNION ALL
    SELECT 'lock_waits',
           CASE WHEN p.lock_share IS NULL THEN 'unknown' WHEN p.lock_share >= 0.25 THEN 'warning' ELSE 'ok' END,
           100 * p.lock_share, '%',
           CASE WHEN p.lock_share IS NULL THEN 'too few busy sessions were seen, or not all of them'
                ELSE 'of the busy sessions wait for a lock: more connections would wait with them' END,
           'look at what they wait for: SELECT * FROM troubleshoot.blocking_tree;'
    FROM pool p
    UNION ALL
    SELECT 'connection_churn',
           CASE WHEN p.sessions_per_second >= 1 AND p.sessions_per_second * p.seconds * 10 >= p.transactions THEN 'warning'
                ELSE 'ok' END,
           p.sessions_per_second, 'connections/s', 'new connections; each costs the server a process',
           'put a pool between the applications and the server: SELECT pooling.generate_pgbouncer_config();'
    FROM pool p
    UNION ALL
    SELECT 'sessions_lost', CASE WHEN p.sessions_lost > 0 THEN 'info' ELSE 'ok' END, p.sessions_lost, 'connections',
           'ended without a good-bye: abandoned by their client, killed, or by a fatal error',
           'look into the server''s log, and at the time limits between pool and network'
    FROM pool p;
END;
REVOKE ALL ON FUNCTION pooling.advice(integer, interval, integer) FROM PUBLIC;
COMMENT ON FUNCTION pooling.advice(integer, interval, integer) IS
    'What to do about the pool of this database, by the load of a while. current_pool_size: as it is, null: what pooling.pool_stats says of a pool of the database''s name, else the most connections seen; since: how far back; cores: null, those of the machine. severity: ok, info, warning, critical, or unknown, where samples are missing or the role that took them could not see. NB021: a bound; 22004: since null.';

CREATE FUNCTION pooling.check_pool_health(seconds numeric DEFAULT 60)
RETURNS TABLE (check_name text, status text, current_value text, recommendation text)
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 6
BEGIN ATOMIC
    WITH seen AS MATERIALIZED (
        SELECT pg_catalog.count(*) AS connections, pg_catalog.count(*) FILTER (WHERE NOT s.is_visible) AS hidden,
               pg_catalog.count(*) FILTER (WHERE s.state LIKE 'idle in transaction%' AND s.seconds_in_state > b) AS in_transaction,
               pg_catalog.max(s.transaction_seconds) FILTER (WHERE s.state LIKE 'idle in transaction%') AS longest,
               pg_catalog.avg(s.age_seconds) AS age
        FROM pooling.sessions() s, pooling.bounded_seconds(check_pool_health.seconds) b
    ), judged AS (
        SELECT 1 AS no, 'Connection Utilization' AS name,
               CASE WHEN s.connections >= 0.9 * u.usable THEN 'CRITICAL' WHEN s.connections >= 0.75 * u.usable THEN 'WARNING' ELSE 'OK' END AS status,
               pg_catalog.format('%s / %s', s.connections, u.usable) AS value,
               'Consider connection pooling or increasing max_connections' AS advice, s.hidden
        FROM seen s, (SELECT pooling.usable_connections() AS usable) u
        UNION ALL
        SELECT 2, 'Idle in Transaction',
               CASE WHEN s.in_transaction >= 5 THEN 'CRITICAL' WHEN s.in_transaction > 0 THEN 'WARNING' ELSE 'OK' END,
               s.in_transaction::text, 'Long idle-in-transaction blocks other operations', s.hidden FROM seen s
        UNION ALL
        SELECT 3, 'Avg Connection Age', CASE WHEN s.age >= 3600 THEN 'REVIEW' ELSE 'OK' END,
               coalesce(pg_catalog.round(s.age / 60, 1)::text || ' minutes', 'unknown'),
               'Long-lived connections may indicate missing pooling', s.hidden FROM seen s
        UNION ALL
        SELECT 4, 'Longest Idle in Transaction',
               CASE WHEN s.longest >= 900 THEN 'CRITICAL' WHEN s.longest >= 300 THEN 'WARNING' ELSE 'OK' END,
               coalesce(pg_catalog.round(s.longest, 1)::text || ' seconds', 'none'),
               'Set idle_in_transaction_session_timeout, or end the session: pooling.v_idle_connections', s.hidden FROM seen s
        UNION ALL
        SELECT 5, 'Wait for a Pooled Connection',
               CASE WHEN p.wait IS NULL THEN 'UNKNOWN' WHEN p.wait >= 1000 THEN 'CRITICAL' WHEN p.wait > 0 THEN 'WARNING' ELSE 'OK' END,
               coalesce(p.wait || ' ms', 'no rows of the last 5 minutes in pooling.pool_stats'),
               'Look at pooling.advice()', 0 FROM (
            SELECT pg_catalog.max(t.max_wait_ms) AS wait FROM pooling.pool_stats t
            WHERE t.collected_at >= pg_catalog.clock_timestamp() - interval '5 minutes') p
        UNION ALL
        SELECT 6, 'Sampling', CASE WHEN l.age IS NULL OR l.age > interval '5 minutes' THEN 'UNKNOWN' ELSE 'OK' END,
               coalesce(pg_catalog.round(pg_catalog.date_part('epoch', l.age)::numeric)::text || ' seconds ago', 'never'),
               'Have a scheduler call pooling.capture_sample()', 0 FROM (
            SELECT pg_catalog.clock_timestamp() - pg_catalog.max(t.sampled_at) AS age FROM pooling.load_samples t) l
    )
    SELECT j.name, CASE WHEN j.status = 'OK' AND j.hidden > 0 THEN 'UNKNOWN' ELSE j.status END,
           CASE WHEN j.hidden > 0 AND j.no IN (2, 4) THEN 'at least ' || j.value ELSE j.value END,
           CASE WHEN j.status = 'OK' AND j.hidden > 0
                THEN pg_catalog.format('%s sessions are not visible: grant pg_monitor', j.hidden)
                WHEN j.status = 'OK' THEN 'Healthy' ELSE j.advice END
    FROM judged j ORDER BY j.no;
END;
REVOKE ALL ON FUNCTION pooling.check_pool_health(numeric) FROM PUBLIC;
COMMENT ON FUNCTION pooling.check_pool_health(numeric) IS
    'Connections at this moment: of those that clients may use (75 and 90 %), idle in a transaction for more than so many seconds (1 and 5 of them) and the longest (300 and 900 s), their mean age (an hour), the wait that the pooler tells of (0 and 1,000 ms, pooling.pool_stats), the last sample. status: OK, REVIEW, WARNING, CRITICAL, or UNKNOWN: the caller may not see it (pg_monitor may), or nobody has measured it. NB021: seconds; 22004: null.';
