-- Who waits for whom, and how to end it. All of it reads pg_locks, pg_stat_activity and pg_prepared_xacts, opens no table
-- of users and takes no lock on one, so it answers while everything else waits, and on a standby too.

-- The table of conflicts in the server's documentation, chapter Explicit Locking.
CREATE FUNCTION troubleshoot.lock_modes_conflict(held text, wanted text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE held
        WHEN 'AccessShareLock' THEN wanted = 'AccessExclusiveLock'
        WHEN 'RowShareLock' THEN wanted IN ('ExclusiveLock', 'AccessExclusiveLock')
        WHEN 'RowExclusiveLock' THEN
            wanted IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
        WHEN 'ShareUpdateExclusiveLock' THEN
            wanted NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
        WHEN 'ShareLock' THEN wanted NOT IN ('AccessShareLock', 'RowShareLock', 'ShareLock')
        WHEN 'ShareRowExclusiveLock' THEN wanted NOT IN ('AccessShareLock', 'RowShareLock')
        WHEN 'ExclusiveLock' THEN wanted <> 'AccessShareLock'
        WHEN 'AccessExclusiveLock' THEN true
    END;
END;
REVOKE ALL ON FUNCTION troubleshoot.lock_modes_conflict(text, text) FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.lock_modes_conflict(text, text) IS
    'Whether a lock in mode wanted has to wait for one in mode held. Modes as pg_locks names them, AccessShareLock for one. Null for a mode that there is not.';

CREATE FUNCTION troubleshoot.lock_object(
    locktype text, database oid, relation oid, page integer, tuple smallint, virtualxid text, transactionid xid,
    classid oid, objid oid, objsubid smallint
) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE
        WHEN locktype IN ('relation', 'extend', 'page', 'tuple') THEN
            CASE locktype WHEN 'extend' THEN 'growth of ' WHEN 'page' THEN pg_catalog.format('page %s of ', page)
                WHEN 'tuple' THEN pg_catalog.format('row (%s,%s) of ', page, tuple) ELSE '' END
            || CASE WHEN database IN (0, (SELECT d.oid FROM pg_catalog.pg_database d
                                          WHERE d.datname = pg_catalog.current_database())) THEN
                coalesce((SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c
                          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation),
                         pg_catalog.format('relation %s', relation))
               ELSE pg_catalog.format('relation %s of database %s', relation,
                        coalesce((SELECT d.datname::text FROM pg_catalog.pg_database d WHERE d.oid = database),
                                 database::text)) END
        WHEN locktype IN ('transactionid', 'applytransaction') THEN pg_catalog.format('transaction %s', transactionid)
        WHEN locktype = 'virtualxid' THEN pg_catalog.format('virtual transaction %s', virtualxid)
        WHEN locktype = 'spectoken' THEN pg_catalog.format('speculative insert of transaction %s', transactionid)
        WHEN locktype = 'advisory' THEN
            CASE WHEN objsubid = 1 THEN
                pg_catalog.format('advisory lock %s', (classid::bigint << 32) | objid::bigint)
            WHEN objsubid = 2 THEN
                pg_catalog.format('advisory lock (%s, %s)',
                    ((classid::bigint + 2147483648) % 4294967296) - 2147483648,
                    ((objid::bigint + 2147483648) % 4294967296) - 2147483648)
            WHEN objsubid = 20035 THEN
                pg_catalog.format('named lock with key %s', (classid::bigint << 32) | objid::bigint)
            ELSE pg_catalog.format('key %s of neobank', (classid::bigint << 32) | objid::bigint) END
        WHEN locktype = 'object' THEN
            pg_catalog.format('object %s of %s', objid,
                coalesce((SELECT c.relname::text FROM pg_catalog.pg_class c WHERE c.oid = classid), classid::text))
        ELSE locktype
    END;
END;
REVOKE ALL ON FUNCTION troubleshoot.lock_object(text, oid, oid, integer, smallint, text, xid, oid, oid, smallint) FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.lock_object(text, oid, oid, integer, smallint, text, xid, oid, oid, smallint) IS
    'What a row of pg_locks is about, in words; its arguments are that row''s columns. Relations of other databases go by their number.';

CREATE FUNCTION troubleshoot.lock_waits() RETURNS TABLE (
    waiter_pid integer,
    blocker_pid integer,
    prepared_gid text,
    prepared_at timestamptz,
    prepared_owner name,
    prepared_database name,
    queued boolean,
    lock_type text,
    wanted_mode text,
    held_mode text,
    object text,
    waiting_since timestamptz,
    holds_others boolean
)
-- To compile what is planned for many rows would take seconds, and rows are few or many without a plan's knowing.
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 10
SET jit = off
BEGIN ATOMIC
    -- Activity is read once per transaction and then kept; locks are not. Both are to be of this moment.
    SELECT pg_catalog.pg_stat_clear_snapshot();
    WITH locks AS MATERIALIZED (
        SELECT l.*, (l.locktype, l.database, l.relation, l.page, l.tuple, l.virtualxid, l.transactionid, l.classid,
                     l.objid, l.objsubid)::text AS place
        FROM pg_catalog.pg_locks l
    ), waiters AS MATERIALIZED (
        SELECT l.*, pg_catalog.pg_blocking_pids(l.pid) AS blockers,
            troubleshoot.lock_object(l.locktype, l.database, l.relation, l.page, l.tuple, l.virtualxid, l.transactionid,
                l.classid, l.objid, l.objsubid) AS object
        FROM locks l WHERE NOT l.granted AND l.pid IS NOT NULL
    ), edges AS (
        SELECT DISTINCT w.pid, b.pid AS blocker, w.place FROM waiters w
        CROSS JOIN LATERAL pg_catalog.unnest(w.blockers) b (pid)
    ), prepared AS (
        -- Its locks carry the number of the session that prepared it; the one on its own id tells which it is.
        SELECT l.virtualtransaction, p.* FROM locks l
        JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = l.transactionid
        WHERE l.pid IS NULL AND l.locktype = 'transactionid' AND l.granted
    ), held AS (
        -- What the blocker has, or wants and is ahead with, at the very place that is waited for.
        SELECT DISTINCT ON (e.pid, e.blocker, p.gid) e.pid, e.blocker, p.gid, p.prepared, p.owner, p.database,
            h.granted, h.mode
        FROM edges e
        JOIN waiters w ON w.pid = e.pid AND w.place = e.place
        LEFT JOIN locks h ON h.place = e.place AND coalesce(h.pid, 0) = e.blocker
            AND troubleshoot.lock_modes_conflict(h.mode, w.mode)
        LEFT JOIN prepared p ON e.blocker = 0 AND p.virtualtransaction = h.virtualtransaction
        ORDER BY e.pid, e.blocker, p.gid, h.granted DESC NULLS LAST, h.mode
    ), rows AS (
        -- Who waits for the writer of a row holds the row's own lock meanwhile, which tells which row it is.
        SELECT DISTINCT ON (l.pid) l.pid,
            troubleshoot.lock_object(l.locktype, l.database, l.relation, l.page, l.tuple, l.virtualxid,
                l.transactionid, l.classid, l.objid, l.objsubid) AS object
        FROM locks l WHERE l.locktype = 'tuple' AND l.granted AND l.pid IN (SELECT w.pid FROM waiters w)
        ORDER BY l.pid, l.relation, l.page, l.tuple
    )
    SELECT w.pid, h.blocker, h.gid, h.prepared, h.owner, h.database, coalesce(NOT h.granted, false), w.locktype,
        w.mode, h.mode,
        coalesce(CASE WHEN w.locktype = 'transactionid' THEN r.object END, w.object),
        w.waitstart,
        -- A statement gets its number before it waits for its first row; only what ran before it has written anything.
        EXISTS (SELECT FROM locks o WHERE o.pid = w.pid AND o.granted AND o.locktype = 'transactionid')
            AND coalesce(a.xact_start < a.query_start, true)
    FROM held h
    JOIN waiters w ON w.pid = h.pid
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
    LEFT JOIN rows r ON r.pid = w.pid
    UNION ALL
    -- A SERIALIZABLE READ ONLY DEFERRABLE transaction waits for others, but for no lock.
    SELECT a.pid, b.pid, NULL, NULL, NULL, NULL, false, 'snapshot', NULL, NULL, 'a safe snapshot', a.query_start, false
    FROM pg_catalog.pg_stat_activity a
    CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_safe_snapshot_blocking_pids(a.pid)) b (pid)
    WHERE a.wait_event = 'SafeSnapshot';
END;
REVOKE ALL ON FUNCTION troubleshoot.lock_waits() FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.lock_waits() IS
    'Each session that waits for a lock with each one that it waits for, by pg_blocking_pids. blocker_pid: 0 for a prepared transaction, which prepared_gid names; queued: the blocker does not have the lock either, it is ahead in the queue; wanted_mode, held_mode; object: what the lock is on, the row where it is one; holds_others: its transaction has written, or may have, before this statement, so that others may come to wait for it. Takes no lock and waits for none.';

CREATE VIEW troubleshoot.blocking_tree AS
WITH RECURSIVE waits AS MATERIALIZED (
    SELECT w.*, CASE WHEN w.blocker_pid = 0 THEN 'prepared ' || coalesce(w.prepared_gid, '') ELSE w.blocker_pid::text END
        AS blocker_key
    FROM troubleshoot.lock_waits() w
), parents AS MATERIALIZED (
    -- Each session stands once in the tree: below one that has what it waits for, before those that only queue for it.
    SELECT DISTINCT ON (w.waiter_pid) w.waiter_pid, w.waiter_pid::text AS node, w.blocker_key AS parent, w.wanted_mode,
        w.object, w.waiting_since, w.queued
    FROM waits w
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.blocker_pid
    ORDER BY w.waiter_pid, w.queued, coalesce(w.prepared_at, a.xact_start), w.blocker_key
), climb (start, node, visited) AS (
    SELECT p.node, p.node, ARRAY[p.node] FROM parents p
    UNION ALL
    SELECT c.start, p.parent, c.visited || p.parent
    FROM climb c JOIN parents p ON p.node = c.node
    WHERE NOT p.parent = ANY (c.visited[2:]) AND p.parent <> c.start
), circles AS (
    -- Whoever comes back to itself: the one with the lowest number stands for the circle.
    SELECT c.start AS node FROM climb c JOIN parents p ON p.node = c.node
    WHERE p.parent = c.start
    GROUP BY c.start, c.visited
    HAVING c.start::integer = (SELECT min(v::integer) FROM pg_catalog.unnest(c.visited) v)
), roots AS (
    SELECT DISTINCT w.blocker_key AS node, w.blocker_pid AS pid, w.prepared_gid, w.prepared_at, w.prepared_owner,
        w.prepared_database, false AS in_circle
    FROM waits w WHERE NOT EXISTS (SELECT FROM parents p WHERE p.node = w.blocker_key)
    UNION ALL
    SELECT c.node, c.node::integer, NULL, NULL, NULL, NULL, true FROM circles c
), tree (node, pid, root_pid, root_gid, root, depth, path) AS (
    SELECT r.node, r.pid, r.pid, r.prepared_gid, r.node, 0, ARRAY[r.pid] FROM roots r
    UNION ALL
    SELECT p.node, p.waiter_pid, t.root_pid, t.root_gid, t.root, t.depth + 1, t.path || p.waiter_pid
    FROM tree t JOIN parents p ON p.parent = t.node
    WHERE NOT EXISTS (SELECT FROM circles c WHERE c.node = p.node)
), holders AS (
    SELECT w.blocker_key AS node, count(DISTINCT w.waiter_pid) AS waiters,
        (pg_catalog.array_agg(w.held_mode ORDER BY w.waiting_since))[1] AS held_mode,
        (pg_catalog.array_agg(w.object ORDER BY w.waiting_since))[1] AS object
    FROM waits w GROUP BY w.blocker_key
), waiters AS (
    SELECT w.waiter_pid AS pid, pg_catalog.array_agg(DISTINCT w.blocker_pid ORDER BY w.blocker_pid) AS blocked_by
    FROM waits w GROUP BY w.waiter_pid
), branches AS (
    -- Each session with all that wait for it along the tree.
    SELECT t.root, a.pid, count(*) AS members
    FROM tree t CROSS JOIN LATERAL pg_catalog.unnest(t.path) a (pid)
    GROUP BY t.root, a.pid
)
SELECT t.root_pid, t.depth, t.pid, t.path,
    coalesce(d.blocked_by, '{}') AS blocked_by,
    coalesce(a.usename, r.prepared_owner)::text AS user_name,
    coalesce(a.datname, r.prepared_database)::text AS database_name,
    a.application_name,
    CASE WHEN t.pid = 0 THEN 'prepared' WHEN a.backend_type <> 'client backend' THEN coalesce(a.state, a.backend_type)
        ELSE coalesce(a.state, 'unknown') END AS state,
    a.wait_event_type, a.wait_event,
    coalesce(p.wanted_mode, h.held_mode) AS lock_mode,
    coalesce(p.object, h.object) AS object,
    pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - p.waiting_since), 3) AS waiting_seconds,
    pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(a.xact_start, r.prepared_at)), 3)
        AS transaction_seconds,
    coalesce(a.query, r.prepared_gid) AS query,
    CASE
        WHEN r.in_circle THEN
            '-- a circle: the server ends one of its sessions after deadlock_timeout'
        WHEN t.pid = 0 AND r.prepared_gid IS NULL THEN
            '-- a prepared transaction that has ended meanwhile, or that cannot be told: look at pg_prepared_xacts'
        WHEN t.pid = 0 THEN
            pg_catalog.format('ROLLBACK PREPARED %L; -- or COMMIT PREPARED, in database %I: its coordinator knows which',
                r.prepared_gid,
                -- A line break would end the comment.
                pg_catalog.translate(r.prepared_database::text, E'\r\n', '  '))
        WHEN t.depth > 0 AND p.wanted_mode = 'AccessExclusiveLock' AND h.waiters > 0 THEN
            pg_catalog.format('SELECT pg_cancel_backend(%s); -- others queue behind it; repeat it with lock_timeout set',
                t.pid)
        WHEN t.depth > 0 THEN NULL
        WHEN a.pid IS NULL THEN '-- has ended meanwhile'
        WHEN a.backend_type = 'autovacuum worker' AND a.query ~ 'to prevent wraparound' THEN
            '-- it prevents wraparound: let it finish'
        WHEN a.backend_type IN ('autovacuum worker', 'parallel worker') THEN
            pg_catalog.format('SELECT pg_cancel_backend(%s);', coalesce(a.leader_pid, t.pid))
        WHEN a.backend_type <> 'client backend' THEN
            pg_catalog.format('-- a %s: do not end it before you know why it waits', a.backend_type)
        WHEN a.state IS NULL OR a.state = 'disabled' THEN
            '-- unknown: this role may not see what the session does (pg_read_all_stats)'
        WHEN a.state IN ('active', 'fastpath function call') THEN
            pg_catalog.format('SELECT pg_cancel_backend(%s);', t.pid)
        ELSE pg_catalog.format('SELECT pg_terminate_backend(%s); -- to cancel does nothing while it is idle', t.pid)
    END AS remediation_sql,
    greatest(coalesce(h.waiters, 0), b.members - 1)::integer AS waiters,
    coalesce(r.in_circle, false) AS is_deadlock, t.root_gid
FROM tree t
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = t.pid AND t.pid <> 0
LEFT JOIN parents p ON p.node = t.node
LEFT JOIN roots r ON r.node = t.node
LEFT JOIN holders h ON h.node = t.node
LEFT JOIN waiters d ON d.pid = t.pid AND t.pid <> 0
LEFT JOIN branches b ON b.root = t.root AND b.pid = t.pid
ORDER BY t.root, t.path;
REVOKE ALL ON troubleshoot.blocking_tree FROM PUBLIC;
COMMENT ON VIEW troubleshoot.blocking_tree IS
    'Who waits for a lock and for whom, as trees: a root (depth 0) waits for nobody that keeps a lock from it, what is below waits for what is above. Each session stands once, below one that has what it waits for; blocked_by names all. pid 0: a prepared transaction, with its gid in query. lock_mode, object: wanted by who waits, held by a root. waiting_seconds: since pg_locks.waitstart; waiters: how many wait for it, directly or through others; is_deadlock: a circle, which the server is about to break; root_gid: of a tree below a prepared transaction; state unknown: the caller may not see it (pg_read_all_stats). remediation_sql: what to run, at the roots. No row: nobody waits for a lock.';

CREATE VIEW troubleshoot.v_blocking_chains AS
WITH RECURSIVE tree AS MATERIALIZED (
    SELECT t.*, t.path[pg_catalog.array_length(t.path, 1) - 1] AS parent_pid FROM troubleshoot.blocking_tree t
), steps AS (
    -- All of those that are waited for directly, then up the tree to its root.
    SELECT t.pid AS blocked_pid, b.pid AS blocking_pid, 1 AS depth, ARRAY[b.pid] AS path, b.pid = t.parent_pid AS goes_on
    FROM tree t CROSS JOIN LATERAL pg_catalog.unnest(t.blocked_by) b (pid)
    WHERE t.pid <> 0
    UNION ALL
    SELECT s.blocked_pid, t.parent_pid, s.depth + 1, s.path || t.parent_pid, true
    FROM steps s JOIN tree t ON t.pid = s.blocking_pid AND t.pid <> 0
    WHERE s.goes_on AND t.depth > 0 AND NOT t.parent_pid = ANY (s.path) AND t.parent_pid <> s.blocked_pid
), nodes AS (
    SELECT DISTINCT ON (t.pid) t.pid, t.user_name, t.query FROM tree t ORDER BY t.pid, t.waiters DESC
)
SELECT s.blocked_pid, d.user_name AS blocked_user, d.query AS blocked_query,
    s.blocking_pid, g.user_name AS blocking_user, g.query AS blocking_query, s.depth, s.path
FROM steps s
LEFT JOIN nodes d ON d.pid = s.blocked_pid
LEFT JOIN nodes g ON g.pid = s.blocking_pid
ORDER BY s.depth DESC, s.blocked_pid, s.blocking_pid;
REVOKE ALL ON troubleshoot.v_blocking_chains FROM PUBLIC;
COMMENT ON VIEW troubleshoot.v_blocking_chains IS
    'Each session that waits for a lock (blocked_pid), each one that it waits for (depth 1), and those that this one waits for in its turn, up to the root. path: from the direct blocker on. blocking_pid 0: a prepared transaction, with its gid in blocking_query. See troubleshoot.blocking_tree.';

CREATE TABLE troubleshoot.kill_exemptions (
    kind text NOT NULL CHECK (kind IN ('role', 'application', 'database')),
    pattern text COLLATE "C" NOT NULL CHECK (pg_catalog.length(pattern) BETWEEN 1 AND 100),
    -- LIKE fails on one whose last character escapes nothing, and with it every kill would.
    CONSTRAINT kill_exemptions_escapes CHECK (pattern !~ '(^|[^\\])(\\\\)*\\$'),
    reason text,
    PRIMARY KEY (kind, pattern)
);
REVOKE ALL ON troubleshoot.kill_exemptions FROM PUBLIC;
COMMENT ON TABLE troubleshoot.kill_exemptions IS
    'Whose sessions troubleshoot.kill_long_queries and clear_idle_transactions leave alone, beside backups, replication, maintenance by the server and the caller''s own session. Its owner writes it.';
COMMENT ON COLUMN troubleshoot.kill_exemptions.kind IS
    'role: the session''s user; application: its application_name, which a client sets as it likes; database.';
COMMENT ON COLUMN troubleshoot.kill_exemptions.pattern IS 'The whole name, as LIKE compares it: % stands for anything, and \ takes the character after it as it is.';

CREATE FUNCTION troubleshoot.kill_exemption(user_name name, application_name text, database_name name) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(
        (SELECT 'backup or restore' WHERE application_name ~
            '^(pg_dump|pg_dumpall|pg_restore|pg_basebackup|pg_receivewal|pg_rewind|pg_probackup|pgBackRest|wal-g)\M|^barman'),
        (SELECT e.kind || ' ' || e.pattern || coalesce(': ' || e.reason, '')
         FROM troubleshoot.kill_exemptions e
         WHERE CASE e.kind WHEN 'role' THEN user_name::text WHEN 'application' THEN application_name
               ELSE database_name::text END LIKE e.pattern
         ORDER BY e.kind, e.pattern LIMIT 1));
END;
REVOKE ALL ON FUNCTION troubleshoot.kill_exemption(name, text, name) FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.kill_exemption(name, text, name) IS
    'Why a client''s session with this user, application_name and database is not ended by the functions of troubleshoot: it backs up or restores, or a row of troubleshoot.kill_exemptions says so. Null: it may be.';

CREATE TABLE troubleshoot.kill_log (
    log_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    killed_at timestamptz NOT NULL,
    killed_by text NOT NULL,
    by_function text NOT NULL,
    method text NOT NULL CHECK (method IN ('cancel', 'terminate')),
    pid integer NOT NULL,
    backend_start timestamptz NOT NULL,
    user_name text,
    database_name text,
    application_name text,
    client_address text,
    state text,
    xact_start timestamptz,
    query_start timestamptz,
    query text,
    reason text
);
CREATE INDEX kill_log_time_idx ON troubleshoot.kill_log (killed_at);
REVOKE ALL ON troubleshoot.kill_log FROM PUBLIC;
REVOKE ALL ON SEQUENCE troubleshoot.kill_log_log_id_seq FROM PUBLIC;
COMMENT ON TABLE troubleshoot.kill_log IS
    'What was ended by troubleshoot.kill_long_queries and clear_idle_transactions, by whom and why. A row is written in the transaction of the call, before the session is ended: where it cannot be written nothing is ended, and where the caller rolls back it is gone, so each kill is in the server''s log as well.';
COMMENT ON SEQUENCE troubleshoot.kill_log_log_id_seq IS 'Numbers of rows of troubleshoot.kill_log; gaps are possible.';
COMMENT ON COLUMN troubleshoot.kill_log.killed_by IS 'The role whose rights allowed it, and the session''s user where it is another.';
COMMENT ON COLUMN troubleshoot.kill_log.query IS 'Up to 1,000 characters of the statement that ran, or ran last.';

CREATE VIEW troubleshoot.idle_transactions AS
WITH sessions AS (SELECT s.* FROM pg_catalog.pg_stat_activity s)
SELECT a.pid, a.usename::text AS user_name, a.datname::text AS database_name, a.application_name,
    CASE WHEN a.state IS NULL OR a.state = 'disabled' THEN 'unknown' ELSE a.state END AS state,
    pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - a.state_change), 3) AS idle_seconds,
    pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start), 3) AS transaction_seconds,
    a.backend_xid IS NOT NULL AS has_written,
    a.backend_xmin IS NOT NULL AS holds_back_vacuum,
    troubleshoot.kill_exemption(a.usename, a.application_name, a.datname) AS exempt,
    a.query AS last_query,
    CASE WHEN a.state IN ('idle in transaction', 'idle in transaction (aborted)')
        THEN pg_catalog.format('SELECT pg_terminate_backend(%s);', a.pid) END AS remediation_sql
FROM sessions a
WHERE a.pid <> pg_catalog.pg_backend_pid()
  AND (a.state IN ('idle in transaction', 'idle in transaction (aborted)') AND a.backend_type = 'client backend'
       OR a.state = 'disabled' OR a.backend_type IS NULL)
ORDER BY a.state_change NULLS LAST, a.pid;
REVOKE ALL ON troubleshoot.idle_transactions FROM PUBLIC;
COMMENT ON VIEW troubleshoot.idle_transactions IS
    'Client sessions whose transaction is open while they do nothing, the longest idle first. has_written: others may wait for its rows; holds_back_vacuum: it has a snapshot; exempt: why troubleshoot.clear_idle_transactions leaves it. state unknown: the caller may not see it (pg_read_all_stats), or track_activities is off.';

SELECT pg_catalog.pg_extension_config_dump('troubleshoot.kill_exemptions', '');
SELECT pg_catalog.pg_extension_config_dump('troubleshoot.kill_log', '');
SELECT pg_catalog.pg_extension_config_dump('troubleshoot.kill_log_log_id_seq', '');
