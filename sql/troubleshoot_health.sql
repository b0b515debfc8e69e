-- Bloat, and the health of tables and of the server.

-- What rows of the average width would fill, by the layout of pages and tuples: a page has a header of 24 bytes and 4 bytes
-- for each tuple; a tuple has 23 bytes, a bit for each column where any is null, and its values, both parts aligned to 8.
-- relpages and reltuples were counted together, so they fit each other; the size of the file may be a later one.
CREATE FUNCTION troubleshoot.table_bloat(min_bytes bigint DEFAULT 0)
RETURNS TABLE (
    schema_name text, table_name text, table_bytes bigint, bloat_bytes bigint, bloat_percent numeric, is_known boolean)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
    WITH big AS MATERIALIZED (
        SELECT c.oid, n.nspname, c.relname, c.reltuples::numeric AS rows, s.bytes, b.size AS block,
               coalesce((SELECT o.option_value::int FROM pg_catalog.pg_options_to_table(c.reloptions) o
                         WHERE o.option_name = 'fillfactor'), 100) AS fill
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN (SELECT (SELECT pg_catalog.current_setting('block_size')::bigint) AS size) b
        CROSS JOIN LATERAL (
            SELECT CASE WHEN c.reltuples = -1
                        THEN coalesce(troubleshoot.relation_file_bytes(pg_catalog.pg_relation_filepath(c.oid)), 0)
                        ELSE c.relpages * b.size END AS bytes
        ) s
        WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
          AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND (c.reltuples = -1 OR c.relpages >= (SELECT min_bytes / pg_catalog.current_setting('block_size')::bigint))
          AND s.bytes >= min_bytes AND s.bytes > 0
    ), measured AS (
        SELECT g.*, w.columns, w.known, 4 + w.head + pg_catalog.ceil(w.width / 8) * 8 AS tuple
        FROM big g
        CROSS JOIN LATERAL (
            SELECT pg_catalog.count(*) AS columns, pg_catalog.count(s.attname) AS known,
                   pg_catalog.ceil((23 + CASE WHEN pg_catalog.bool_or(s.null_frac > 0)
                                              THEN (pg_catalog.count(*) + 7) / 8 ELSE 0 END) / 8.0) * 8 AS head,
                   coalesce(pg_catalog.sum((1 - s.null_frac::numeric) * s.avg_width), 0) AS width
            FROM pg_catalog.pg_attribute a
            LEFT JOIN LATERAL (
                SELECT p.attname, p.null_frac, p.avg_width
                FROM pg_catalog.pg_stats p
                WHERE p.schemaname = g.nspname AND p.tablename = g.relname AND p.attname = a.attname AND NOT p.inherited
            ) s ON true
            WHERE a.attrelid = g.oid AND a.attnum > 0 AND NOT a.attisdropped
        ) w
    ), estimated AS (
        SELECT m.*, (m.known = m.columns OR m.rows = 0) AND m.rows >= 0 AS is_known,
               m.block * pg_catalog.ceil(
                   m.rows / greatest(pg_catalog.floor((m.block - 24) * m.fill / (100 * m.tuple)), 1)) AS wanted
        FROM measured m
    )
    SELECT e.nspname::text, e.relname::text, e.bytes,
           CASE WHEN e.is_known THEN greatest(e.bytes - e.wanted, 0)::bigint END,
           CASE WHEN e.is_known THEN pg_catalog.round(100 * greatest(e.bytes - e.wanted, 0) / e.bytes, 1) END,
           e.is_known
    FROM estimated e;
END;
REVOKE ALL ON FUNCTION troubleshoot.table_bloat(bigint) FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.table_bloat(bigint) IS
    'How much of each table of min_bytes or more holds nothing, estimated from the statistics of the last VACUUM and ANALYZE: bytes, and percent of the table. Where is_known is false they are null: the table was never analysed, or the caller may not read its statistics. TOAST tables are left out. Takes no lock on the tables.';

-- Of b-trees: an entry has 8 bytes, 8 more where a column is null, its values aligned to 8, and 4 in the page, which has a
-- header of 24 and 16 at its end. Entries that were put together (deduplication) take less: then nothing is found.
CREATE FUNCTION troubleshoot.index_bloat(min_bytes bigint DEFAULT 0)
RETURNS TABLE (
    schema_name text, table_name text, index_name text, index_bytes bigint, bloat_bytes bigint, bloat_percent numeric,
    is_known boolean)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
    WITH big AS MATERIALIZED (
        SELECT c.oid, n.nspname, c.relname, t.relname AS table_name, tn.nspname AS table_schema, i.indkey,
               c.reltuples::numeric AS rows, c.relpages * b.size AS bytes, b.size AS block,
               t.reltuples >= 0 AND c.reltuples >= 0 AS is_counted,
               coalesce((SELECT o.option_value::int FROM pg_catalog.pg_options_to_table(c.reloptions) o
                         WHERE o.option_name = 'fillfactor'), 90) AS fill
        FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        JOIN pg_catalog.pg_am m ON m.oid = c.relam AND m.amname = 'btree'
        JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
        CROSS JOIN (SELECT (SELECT pg_catalog.current_setting('block_size')::bigint) AS size) b
        WHERE c.relkind = 'i' AND c.relpersistence <> 't'
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
          AND c.relpages > 1 AND c.relpages >= (SELECT min_bytes / pg_catalog.current_setting('block_size')::bigint)
    ), measured AS (
        SELECT g.*, w.columns, w.known,
               4 + CASE WHEN w.has_nulls THEN 16 ELSE 8 END + pg_catalog.ceil(w.width / 8) * 8 AS entry
        FROM big g
        CROSS JOIN LATERAL (
            SELECT pg_catalog.count(*) AS columns, pg_catalog.count(s.attname) AS known,
                   coalesce(pg_catalog.bool_or(s.null_frac > 0), false) AS has_nulls,
                   coalesce(pg_catalog.sum((1 - s.null_frac::numeric) * s.avg_width), 0) AS width
            FROM pg_catalog.pg_attribute a
            LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = g.oid
            LEFT JOIN pg_catalog.pg_attribute o ON o.attrelid = i.indrelid AND o.attnum = g.indkey[a.attnum - 1] AND o.attnum <> 0
            LEFT JOIN LATERAL (
                SELECT p.attname, p.null_frac, p.avg_width
                FROM pg_catalog.pg_stats p
                WHERE p.schemaname = CASE WHEN o.attnum IS NULL THEN g.nspname ELSE g.table_schema END
                  AND p.tablename = CASE WHEN o.attnum IS NULL THEN g.relname ELSE g.table_name END
                  AND p.attname = CASE WHEN o.attnum IS NULL THEN a.attname ELSE o.attname END
                  AND NOT p.inherited
            ) s ON true
            WHERE a.attrelid = g.oid AND a.attnum > 0
        ) w
    ), estimated AS (
        -- One page describes the tree, and those above the leaves have an entry for each page below.
        SELECT m.*, m.is_counted AND (m.known = m.columns OR m.rows = 0) AS is_known,
               m.block * (1 + pg_catalog.ceil(
                   m.rows / greatest(pg_catalog.floor((m.block - 40) * m.fill / (100 * m.entry)), 1)
                   * (1 + m.entry / (m.block - 40)))) AS wanted
        FROM measured m
    )
    SELECT e.nspname::text, e.table_name::text, e.relname::text, e.bytes,
           CASE WHEN e.is_known THEN greatest(e.bytes - e.wanted, 0)::bigint END,
           CASE WHEN e.is_known THEN pg_catalog.round(100 * greatest(e.bytes - e.wanted, 0) / e.bytes, 1) END,
           e.is_known
    FROM estimated e;
END;
REVOKE ALL ON FUNCTION troubleshoot.index_bloat(bigint) FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.index_bloat(bigint) IS
    'The same as troubleshoot.table_bloat for b-tree indexes of min_bytes or more. A leaf that is as full as fillfactor says counts as full; an index that grows at random places settles at about 30 percent.';

CREATE FUNCTION troubleshoot.known_schema(p_schema text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_schema IS NOT NULL AND NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = p_schema) THEN
        RAISE EXCEPTION 'argument "p_schema" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = format('There is no schema %I.', left(p_schema, 100)),
                  HINT = 'See the argument''s bounds in docs/errors.md.';
    END IF;
    RETURN p_schema;
END
$$;
REVOKE ALL ON FUNCTION troubleshoot.known_schema(text) FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.known_schema(text) IS
    'p_schema, where there is a schema of that name or it is null. NB021: there is none.';

CREATE FUNCTION troubleshoot.check_table_health(p_schema text DEFAULT 'banking')
RETURNS TABLE (table_name text, issue_type text, severity text, details text, recommendation text)
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1ms'
BEGIN ATOMIC
    WITH wanted AS MATERIALIZED (
        -- A name that is mistyped is not to look like one where all is well.
        SELECT troubleshoot.known_schema(p_schema) AS schema_name
    ), limits AS (
        SELECT k.check_id, k.warning, k.critical, k.minimum FROM troubleshoot.check_catalogue k
    ), tables AS (
        SELECT c.oid, n.nspname, c.relname, c.reltuples, pg_catalog.format('%s.%s', n.nspname, c.relname) AS shown,
               pg_catalog.format('%I.%I', n.nspname, c.relname) AS quoted
        FROM wanted w
        CROSS JOIN pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'm') AND (w.schema_name IS NULL OR n.nspname = w.schema_name)
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND c.relpersistence <> 't'
    ), found AS (
        SELECT 1 AS place, t.shown, 'Table Bloat' AS issue,
               CASE WHEN NOT b.is_known THEN 'UNKNOWN'
                    WHEN b.bloat_bytes >= l.minimum * 1048576 AND b.bloat_percent >= l.critical THEN 'CRITICAL'
                    WHEN b.bloat_bytes >= l.minimum * 1048576 THEN 'WARNING' ELSE 'INFO' END AS severity,
               CASE WHEN b.is_known
                    THEN pg_catalog.format('%s of %s hold nothing (%s %%, estimated)', pg_catalog.pg_size_pretty(b.bloat_bytes),
                                           pg_catalog.pg_size_pretty(b.table_bytes), b.bloat_percent)
                    ELSE 'Never analysed, or its statistics may not be read by this role' END AS details,
               CASE WHEN b.is_known THEN pg_catalog.format('VACUUM (FULL, ANALYZE) %s in a maintenance window, or pg_repack', t.quoted)
                    ELSE pg_catalog.format('ANALYZE %s', t.quoted) END AS recommendation
        FROM tables t
        JOIN troubleshoot.table_bloat(1048576) b ON b.schema_name = t.nspname AND b.table_name = t.relname
        JOIN limits l ON l.check_id = 'table_bloat'
        WHERE NOT b.is_known OR b.bloat_percent >= coalesce(l.warning, l.critical)
        UNION ALL
        SELECT 2, t.shown, 'Dead Tuples',
               CASE WHEN d.dead < l.minimum THEN 'INFO'
                    WHEN 100.0 * d.dead / (d.live + d.dead) >= l.critical THEN 'CRITICAL'
                    WHEN 100.0 * d.dead / (d.live + d.dead) >= l.warning THEN 'WARNING' ELSE 'INFO' END,
               pg_catalog.format('Dead tuples: %s, Live tuples: %s', d.dead, d.live),
               pg_catalog.format('Run VACUUM ANALYZE %s', t.quoted)
        FROM tables t
        CROSS JOIN LATERAL (SELECT pg_catalog.pg_stat_get_dead_tuples(t.oid) AS dead, pg_catalog.pg_stat_get_live_tuples(t.oid) AS live) d
        JOIN limits l ON l.check_id = 'dead_tuples'
        -- Autovacuum leaves fewer than 50 alone.
        WHERE d.dead > 50 AND d.dead > d.live * 0.1
        UNION ALL
        SELECT 3, t.shown, 'Missing Index',
               CASE WHEN s.seq > s.idx * 10 AND s.live > 10000 THEN 'WARNING' ELSE 'INFO' END,
               pg_catalog.format('Seq scans: %s, Index scans: %s', s.seq, s.idx),
               'Consider adding indexes based on query patterns; see troubleshoot.explain'
        FROM tables t
        CROSS JOIN LATERAL (
            SELECT pg_catalog.pg_stat_get_numscans(t.oid) AS seq, pg_catalog.pg_stat_get_live_tuples(t.oid) AS live,
                   coalesce((SELECT pg_catalog.sum(pg_catalog.pg_stat_get_numscans(i.indexrelid))
                             FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid), 0) AS idx
        ) s
        WHERE s.seq > s.idx * 5 AND s.live > 1000
        UNION ALL
        SELECT 4, pg_catalog.format('%s.%s', t.nspname, c.relname), 'Unused Index', 'INFO',
               pg_catalog.format('Index scans: 0, Size: %s',
                                 pg_catalog.pg_size_pretty(c.relpages * pg_catalog.current_setting('block_size')::bigint)),
               'Consider dropping if truly unused, on standbys too'
        FROM tables t
        JOIN pg_catalog.pg_index i ON i.indrelid = t.oid
        JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        WHERE c.relkind = 'i' AND i.indisvalid AND NOT i.indisunique AND NOT i.indisexclusion AND NOT i.indisreplident
          AND pg_catalog.pg_stat_get_numscans(i.indexrelid) = 0
          AND c.relpages * pg_catalog.current_setting('block_size')::bigint > 1048576
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
                          WHERE k.contype = 'f' AND k.conrelid = t.oid AND i.indpred IS NULL
                            AND (i.indkey::int2[])[0:pg_catalog.cardinality(k.conkey) - 1] @> k.conkey)
    )
    SELECT f.shown, f.issue, f.severity, f.details, f.recommendation
    FROM found f
    ORDER BY f.place, CASE f.severity WHEN 'CRITICAL' THEN 1 WHEN 'WARNING' THEN 2 WHEN 'UNKNOWN' THEN 3 ELSE 4 END, f.shown;
END;
REVOKE ALL ON FUNCTION troubleshoot.check_table_health(text) FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.check_table_health(text) IS
    'What is wrong with the tables of p_schema (null: of all schemas): Table Bloat (space that holds nothing, from 1 MB; estimated), Dead Tuples (rows that VACUUM has not removed), Missing Index, Unused Index. severity: CRITICAL, WARNING, UNKNOWN, INFO, by the thresholds of the checks table_bloat and dead_tuples; below their minimum INFO. NB021: there is no such schema.';

CREATE VIEW concurrency.v_table_bloat AS
SELECT n.nspname || '.' || c.relname AS table_name,
       d.live AS live_tuples,
       d.dead AS dead_tuples,
       pg_catalog.round(100.0 * d.dead / nullif(d.live + d.dead, 0), 2) AS dead_tuple_ratio,
       pg_catalog.pg_stat_get_last_vacuum_time(c.oid) AS last_vacuum,
       pg_catalog.pg_stat_get_last_autovacuum_time(c.oid) AS last_autovacuum,
       -- Autovacuum leaves fewer than 50 alone.
       CASE WHEN d.dead > 50 + d.live * 0.2 THEN 'VACUUM NEEDED'
            WHEN d.dead > 50 + d.live * 0.1 THEN 'MONITOR'
            ELSE 'OK' END AS status,
       b.table_bytes, b.bloat_bytes, b.bloat_percent
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT pg_catalog.pg_stat_get_live_tuples(c.oid) AS live, pg_catalog.pg_stat_get_dead_tuples(c.oid) AS dead) d
LEFT JOIN troubleshoot.table_bloat(0) b ON b.schema_name = n.nspname AND b.table_name = c.relname
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY dead_tuple_ratio DESC NULLS LAST;
REVOKE ALL ON concurrency.v_table_bloat FROM PUBLIC;
COMMENT ON VIEW concurrency.v_table_bloat IS
    'Tables by their share of dead rows in percent; status (VACUUM NEEDED, MONITOR, OK) goes by dead rows. bloat_bytes and bloat_percent, by troubleshoot.table_bloat, are space that holds nothing, which VACUUM does not give back; null where it cannot be told.';

CREATE FUNCTION troubleshoot.full_health_check()
RETURNS TABLE (category text, check_name text, status text, value text, recommendation text)
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1ms'
BEGIN ATOMIC
    WITH sight AS MATERIALIZED (
        SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS has_all,
               pg_catalog.current_setting('max_connections')::numeric AS most
    ), found AS MATERIALIZED (
        SELECT c.*, k.category, k.title FROM troubleshoot.checks() c JOIN troubleshoot.check_catalogue k ON k.check_id = c.check_id
    ), sessions AS MATERIALIZED (
        SELECT pg_catalog.count(*) AS taken,
               pg_catalog.count(*) FILTER (WHERE a.state = 'active') AS active,
               pg_catalog.count(*) FILTER (WHERE a.state = 'idle') AS idle,
               pg_catalog.count(*) FILTER (WHERE a.state LIKE 'idle in transaction%') AS in_transaction
        FROM pg_catalog.pg_stat_activity a WHERE a.backend_type = 'client backend'
    ), lag AS MATERIALIZED (
        SELECT pg_catalog.count(*) AS standbys,
               pg_catalog.max(pg_catalog.pg_wal_lsn_diff(r.sent_lsn, r.replay_lsn)) AS bytes
        FROM pg_catalog.pg_stat_replication r
    ), cache AS MATERIALIZED (
        SELECT pg_catalog.round(100.0 * d.blks_hit / nullif(d.blks_hit + d.blks_read, 0), 2) AS hit,
               d.blks_hit + d.blks_read AS blocks
        FROM pg_catalog.pg_stat_database d WHERE d.datname = pg_catalog.current_database()
    ), told (place, category, check_name, status, value, recommendation) AS (
        SELECT 1, 'Storage', 'Database Size', 'INFO',
               pg_catalog.pg_size_pretty(pg_catalog.pg_database_size(pg_catalog.current_database())), NULL::text
        UNION ALL
        SELECT m.place, 'Connections', m.metric, CASE WHEN s.has_all OR m.place = 2 THEN m.status ELSE 'UNKNOWN' END,
               CASE WHEN s.has_all OR m.place = 2 THEN m.value END,
               CASE WHEN NOT s.has_all AND m.place <> 2 THEN 'GRANT pg_monitor TO this role'
                    WHEN m.status NOT IN ('OK', 'INFO') THEN 'SELECT * FROM pooling.v_connection_analysis' END
        FROM sight s CROSS JOIN sessions n
        CROSS JOIN LATERAL (VALUES
            (2, 'Max Connections', s.most::text, 'INFO'),
            (3, 'Current Connections', n.taken::text, CASE WHEN n.taken > s.most * 0.8 THEN 'WARNING' ELSE 'OK' END),
            (4, 'Active Connections', n.active::text, 'INFO'),
            (5, 'Idle Connections', n.idle::text, CASE WHEN n.idle > 10 AND n.idle > n.taken * 0.7 THEN 'WARNING' ELSE 'OK' END),
            (6, 'Idle in Transaction', n.in_transaction::text, CASE WHEN n.in_transaction > 5 THEN 'WARNING' ELSE 'OK' END),
            (7, 'Connection Utilization', pg_catalog.round(100.0 * n.taken / s.most, 1) || '%',
             CASE WHEN n.taken > s.most * 0.9 THEN 'CRITICAL' WHEN n.taken > s.most * 0.7 THEN 'WARNING' ELSE 'OK' END)
        ) m(place, metric, value, status)
        UNION ALL
        SELECT 8, 'Replication', 'Replica Lag',
               CASE WHEN l.standbys > 0 AND l.bytes IS NULL THEN 'UNKNOWN' WHEN l.bytes > 104857600 THEN 'WARNING' ELSE 'OK' END,
               CASE WHEN l.standbys = 0 THEN 'No replicas' ELSE pg_catalog.pg_size_pretty(l.bytes) END, NULL
        FROM lag l
        UNION ALL
        -- A server that has just started has read everything.
        SELECT 9, 'Performance', 'Buffer Cache Hit Ratio',
               CASE WHEN c.blocks < 10000 THEN 'INFO' WHEN c.hit > 99 THEN 'OK' WHEN c.hit > 95 THEN 'WARNING' ELSE 'CRITICAL' END,
               coalesce(c.hit || '%', 'No reads'),
               CASE WHEN c.blocks >= 10000 AND c.hit < 95 THEN 'Consider increasing shared_buffers' END
        FROM cache c
        UNION ALL
        SELECT 10, 'Maintenance', 'Transaction ID Age',
               CASE WHEN a.age >= 0.01 * k.critical * 2147483648 THEN 'CRITICAL' WHEN a.age >= 0.01 * k.warning * 2147483648 THEN 'WARNING'
                    ELSE 'OK' END,
               a.age::text, CASE WHEN a.age >= 0.01 * k.warning * 2147483648 THEN 'Run VACUUM FREEZE on large tables' END
        FROM (SELECT pg_catalog.age(d.datfrozenxid) AS age FROM pg_catalog.pg_database d
              WHERE d.datname = pg_catalog.current_database()) a
        JOIN troubleshoot.check_catalogue k ON k.check_id = 'xid_age'
        UNION ALL
        SELECT 11, f.category, f.title, pg_catalog.upper(f.severity),
               pg_catalog.concat_ws(': ', f.object, coalesce(f.value || coalesce(' ' || f.unit, ''), f.detail)),
               CASE WHEN f.severity <> 'ok' THEN f.remediation_sql END
        FROM found f
    )
    SELECT t.category, t.check_name, t.status, t.value, t.recommendation
    FROM told t
    ORDER BY t.place, CASE t.status WHEN 'CRITICAL' THEN 1 WHEN 'WARNING' THEN 2 WHEN 'UNKNOWN' THEN 3 WHEN 'INFO' THEN 4 ELSE 5 END,
             t.category, t.check_name;
END;
REVOKE ALL ON FUNCTION troubleshoot.full_health_check() FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.full_health_check() IS
    'The server and this database at a glance: size, connections, replicas, cache, transaction id age, and then what troubleshoot.checks() finds. status: CRITICAL, WARNING, UNKNOWN (this role may not see it), INFO, OK.';
