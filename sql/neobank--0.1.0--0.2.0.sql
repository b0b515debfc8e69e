-- Made by scripts/upgrade-script out of two install scripts and sql/upgrade/0.1.0--0.2.0.sql: not to be edited.
\echo Use "ALTER EXTENSION neobank UPDATE TO '0.2.0'" to load this file. \quit

CREATE SCHEMA event_store;

CREATE SCHEMA cqrs;

CREATE SCHEMA saga;

CREATE SCHEMA temporal;

CREATE SCHEMA troubleshoot;

CREATE SCHEMA pooling;

CREATE SCHEMA concurrency;

COMMENT ON SCHEMA event_store IS 'Events of aggregates: appended, read in order, folded into state.';

COMMENT ON SCHEMA cqrs IS 'Commands and what carries them out, read models, and projections of events.';

COMMENT ON SCHEMA saga IS 'Sagas: long transactions of steps that all finish, or are undone in reverse order.';

COMMENT ON SCHEMA temporal IS 'What was true, and what was believed: history on two axes, of accounts and of any table.';

COMMENT ON SCHEMA troubleshoot IS 'Finding out what is wrong with a server, and putting it right.';

COMMENT ON SCHEMA pooling IS 'Connections and their pools: measured, judged, sized.';

COMMENT ON SCHEMA concurrency IS 'Locks, versions and isolation: shown, and named locks for applications.';

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

COMMENT ON VIEW troubleshoot.idle_transactions IS
    'Client sessions whose transaction is open while they do nothing, the longest idle first. has_written: others may wait for its rows; holds_back_vacuum: it has a snapshot; exempt: why troubleshoot.clear_idle_transactions leaves it. state unknown: the caller may not see it (pg_read_all_stats), or track_activities is off.';

SELECT pg_catalog.pg_extension_config_dump('troubleshoot.kill_exemptions', '');

SELECT pg_catalog.pg_extension_config_dump('troubleshoot.kill_log', '');

SELECT pg_catalog.pg_extension_config_dump('troubleshoot.kill_log_log_id_seq', '');

CREATE VIEW concurrency.v_lock_analysis AS
SELECT w.waiter_pid AS blocked_pid, d.usename AS blocked_user, d.application_name AS blocked_app,
    d.query AS blocked_query, w.wanted_mode AS blocked_mode,
    w.blocker_pid AS blocking_pid, coalesce(g.usename, w.prepared_owner) AS blocking_user,
    g.application_name AS blocking_app, coalesce(g.query, w.prepared_gid) AS blocking_query,
    w.held_mode AS blocking_mode,
    pg_catalog.clock_timestamp() - coalesce(w.waiting_since, d.state_change) AS blocked_duration,
    w.lock_type, w.object, w.queued AS blocking_is_queued
FROM troubleshoot.lock_waits() w
LEFT JOIN pg_catalog.pg_stat_activity d ON d.pid = w.waiter_pid
LEFT JOIN pg_catalog.pg_stat_activity g ON g.pid = w.blocker_pid AND w.blocker_pid <> 0
ORDER BY blocked_duration DESC, blocked_pid, blocking_pid;

COMMENT ON VIEW concurrency.v_lock_analysis IS
    'Each session that waits for a lock with each one that it waits for, by pg_blocking_pids. blocked_mode: wanted; blocking_mode: held or, where blocking_is_queued, wanted as well by one that is ahead in the queue; object: what the lock is on; blocking_pid 0: a prepared transaction, with its gid in blocking_query. blocked_duration: since the wait began.';

CREATE FUNCTION concurrency.detect_deadlock_risk() RETURNS TABLE (
    session1_pid integer,
    session1_locks text,
    session2_pid integer,
    session2_locks text,
    risk_level text
)
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 10
SET jit = off
BEGIN ATOMIC
    WITH RECURSIVE waits AS MATERIALIZED (
        SELECT w.* FROM troubleshoot.lock_waits() w WHERE w.lock_type <> 'snapshot'
    ), reach (from_pid, to_pid) AS (
        SELECT w.waiter_pid, w.blocker_pid FROM waits w WHERE NOT w.queued AND w.blocker_pid <> 0
        UNION
        SELECT r.from_pid, w.blocker_pid FROM reach r JOIN waits w ON w.waiter_pid = r.to_pid
        WHERE NOT w.queued AND w.blocker_pid <> 0
    ), held AS MATERIALIZED (
        SELECT DISTINCT l.pid, l.relation, l.mode, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
        FROM pg_catalog.pg_locks l
        JOIN pg_catalog.pg_class c ON c.oid = l.relation
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE l.locktype = 'relation' AND l.granted AND c.relkind IN ('r', 'p', 'm')
          AND l.mode NOT IN ('AccessShareLock', 'SIReadLock') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
                            WHERE d.datname = pg_catalog.current_database())
    ), texts AS (
        SELECT h.pid, pg_catalog.string_agg(h.name || ' (' || h.mode || ')', ', ' ORDER BY h.name, h.mode) AS locks
        FROM held h GROUP BY h.pid
    ), wanted AS (
        -- The table of the row, or the table itself, that a session waits for.
        SELECT DISTINCT w.waiter_pid AS pid, pg_catalog.regexp_replace(w.object, '^row \([0-9,]+\) of ', '') AS name
        FROM waits w WHERE w.lock_type IN ('transactionid', 'tuple', 'relation')
    ), pairs AS (
        SELECT r.from_pid AS one, r.to_pid AS two, 1 AS rank, 'DEADLOCK - each waits for the other' AS risk
        FROM reach r
        WHERE r.from_pid < r.to_pid AND EXISTS (SELECT FROM reach b WHERE b.from_pid = r.to_pid AND b.to_pid = r.from_pid)
        UNION ALL
        SELECT a.pid, b.pid, 2, 'HIGH - opposite order: each has locked what the other waits to lock more of'
        FROM wanted a JOIN wanted b ON b.pid > a.pid AND a.name <> b.name
        WHERE EXISTS (SELECT FROM held h WHERE h.pid = a.pid AND h.name = b.name)
          AND EXISTS (SELECT FROM held h WHERE h.pid = b.pid AND h.name = a.name)
        UNION ALL
        SELECT w.waiter_pid, w.blocker_pid, 3, 'HIGH - Both sessions hold locks'
        FROM waits w
        WHERE NOT w.queued AND w.holds_others AND w.blocker_pid <> 0
          AND NOT EXISTS (SELECT FROM waits b WHERE b.waiter_pid = w.blocker_pid)
          AND EXISTS (SELECT FROM wanted t JOIN held h ON h.pid = t.pid AND h.name <> t.name
                      WHERE t.pid = w.waiter_pid)
        UNION ALL
        SELECT w.waiter_pid, w.blocker_pid, 4, 'MEDIUM'
        FROM waits w WHERE NOT w.queued AND w.holds_others AND w.blocker_pid <> 0
    ), worst AS (
        SELECT DISTINCT ON (least(p.one, p.two), greatest(p.one, p.two)) p.*
        FROM pairs p ORDER BY least(p.one, p.two), greatest(p.one, p.two), p.rank
    )
    SELECT p.one, coalesce(a.locks, 'none'), p.two, coalesce(b.locks, 'none'), p.risk
    FROM worst p
    LEFT JOIN texts a ON a.pid = p.one
    LEFT JOIN texts b ON b.pid = p.two
    ORDER BY p.rank, p.one, p.two;
END;

COMMENT ON FUNCTION concurrency.detect_deadlock_risk() IS
    'Pairs of sessions that wait, or make wait, in a way that may end in a deadlock, by what is waited for at this moment. risk_level: DEADLOCK: a circle, which the server breaks after deadlock_timeout; HIGH - opposite order: each has written to the table that the other waits for, so it is luck that they are not at the same rows; HIGH - Both sessions hold locks: one waits for the other, and has written elsewhere before: let that one touch it and there is a deadlock; MEDIUM: the same within one table. session1_locks, session2_locks: tables of this database that are locked for writing. No row where nobody who has written waits.';

CREATE FUNCTION concurrency.widen_xid(narrow xid, next_xid xid8) RETURNS xid8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    -- The latest number below next_xid with these last 32 bits; what is not below it has wrapped around, or is none.
    SELECT CASE
        WHEN narrow::text::bigint < 3 THEN narrow::text::xid8
        WHEN next_xid::text::numeric - distance.back >= 3 THEN (next_xid::text::numeric - distance.back)::text::xid8
    END
    FROM (SELECT ((next_xid::text::numeric % 4294967296 - narrow::text::numeric - 1 + 4294967296) % 4294967296) + 1)
        distance (back);
END;

COMMENT ON FUNCTION concurrency.widen_xid(xid, xid8) IS
    'A transaction id of 32 bits with its epoch: the latest one below next_xid. Null where there is none.';

CREATE FUNCTION concurrency.show_mvcc_info(p_table_name regclass, p_max_rows integer DEFAULT 1000) RETURNS TABLE (
    ctid tid,
    xmin xid8,
    xmax xid8,
    xmin_committed boolean,
    xmax_committed boolean,
    current_snapshot text,
    xmin_status text,
    xmax_status text
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kind "char";
    frozen_below xid;
BEGIN
    IF p_table_name IS NULL OR p_max_rows IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null',
            CASE WHEN p_table_name IS NULL THEN 'p_table_name' ELSE 'p_max_rows' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    SELECT c.relkind, c.relfrozenxid INTO kind, frozen_below FROM pg_class c WHERE c.oid = p_table_name;
    IF kind IS NULL OR kind NOT IN ('r', 'm', 'p') THEN
        RAISE EXCEPTION 'argument "p_table_name" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = format('%s has no rows with versions of its own.', p_table_name),
                  HINT = 'Name a table or a materialized view.';
    END IF;
    IF p_max_rows NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION 'argument "p_max_rows" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = format('It is %s; it must be 1 to 100000.', p_max_rows),
                  HINT = 'See the argument''s bounds in docs/errors.md.';
    END IF;
    -- Rather an error than a place in the queue behind somebody who alters the table.
    EXECUTE format('LOCK TABLE %s IN ACCESS SHARE MODE NOWAIT', p_table_name);
    RETURN QUERY EXECUTE format($query$
        SELECT v.ctid, v.xmin8, v.xmax8,
            v.xmin_status IN ('committed', 'frozen', 'own'), coalesce(v.xmax_status = 'committed', false),
            v.snapshot, v.xmin_status, v.xmax_status
        FROM (
            SELECT r.ctid, r.snapshot, r.xmin8, r.xmax8,
                CASE WHEN r.narrow_xmin::text::bigint < 3 OR r.xmin8 IS NULL OR r.xmin8 < r.frozen8 THEN 'frozen'
                     WHEN r.xmin8 >= r.seen_below THEN 'own'
                     ELSE coalesce(nullif(pg_xact_status(r.xmin8), 'in progress'),
                                   CASE WHEN pg_xact_status(r.xmin8) IS NULL THEN 'frozen' ELSE 'own' END)
                     END AS xmin_status,
                CASE WHEN r.narrow_xmax = '0'::xid THEN NULL
                     WHEN r.xmax8 >= r.seen_below THEN 'in progress'
                     WHEN r.xmax8 IS NULL OR r.xmax8 < r.frozen8 THEN 'a multixact, or long past'
                     ELSE coalesce(pg_xact_status(r.xmax8), 'long past') END AS xmax_status
            FROM (
                SELECT t.ctid, t.xmin AS narrow_xmin, t.xmax AS narrow_xmax, s.snapshot::text AS snapshot,
                    concurrency.widen_xid(t.xmin, s.bound) AS xmin8,
                    CASE WHEN t.xmax <> '0'::xid THEN concurrency.widen_xid(t.xmax, s.bound) END AS xmax8,
                    concurrency.widen_xid($1, s.bound) AS frozen8, pg_snapshot_xmax(s.snapshot) AS seen_below
                FROM %s t
                -- Transactions that began since: this one's own parts, or those who lock and delete.
                CROSS JOIN (SELECT c.snapshot, (pg_snapshot_xmax(c.snapshot)::text::bigint + 1048576)::text::xid8 AS bound
                            FROM (SELECT pg_current_snapshot() AS snapshot) c) s
                LIMIT $2
            ) r
        ) v
    $query$, p_table_name) USING frozen_below, p_max_rows;
END
$$;

COMMENT ON FUNCTION concurrency.show_mvcc_info(regclass, integer) IS
    'The versions of rows that the caller sees in a table, as they lie in it. p_table_name: one that the caller may read; p_max_rows: the most rows to show, 1 to 100,000. xmin, xmax: the transactions that made and that deleted, changed or locked the row, in 64 bits; xmin_status: committed, frozen (older than any transaction that is looked up) or own; xmax_status: null (nobody), in progress, aborted, or committed, which in a row that is seen means that it was only locked. A multixact in xmax cannot be told from a transaction here. NB021: no table, or p_max_rows; 42501: may not read it; 55P03: somebody has it locked; 22004: null.';

CREATE FUNCTION concurrency.demonstrate_isolation_levels() RETURNS TABLE (
    isolation_level text,
    phenomenon text,
    allowed boolean,
    example text
)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT l.level, p.phenomenon, l.rank >= p.allowed_from, CASE WHEN l.rank >= p.allowed_from THEN p.happens ELSE p.kept END
    FROM (VALUES ('READ UNCOMMITTED', 1, 3), ('READ COMMITTED', 2, 3), ('REPEATABLE READ', 3, 2), ('SERIALIZABLE', 4, 1))
        l (level, place, rank)
    CROSS JOIN (VALUES
        ('Dirty Read', 1, 4, NULL,
         'Nobody sees what is not committed: READ UNCOMMITTED is READ COMMITTED in PostgreSQL'),
        ('Non-repeatable Read', 2, 3, 'The same row, read again, shows what others have committed meanwhile',
         'All statements see the snapshot of the first one'),
        ('Phantom Read', 3, 3, 'The same condition, asked again, finds rows that others have committed meanwhile',
         'All statements see the snapshot of the first one, which the standard does not ask of REPEATABLE READ'),
        ('Serialization Anomaly', 4, 2,
         'Two transactions each decide upon what the other is changing, and both commit (write skew)',
         'One of the two fails with 40001 and is to be repeated')
    ) p (phenomenon, place, allowed_from, happens, kept)
    ORDER BY l.place, p.place;
END;

COMMENT ON FUNCTION concurrency.demonstrate_isolation_levels() IS
    'What each isolation level of PostgreSQL lets happen (allowed), and how that looks. The tests of the extension do each of it with two sessions.';

CREATE TABLE concurrency.deadlock_log (
    log_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    deadlock_time timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    process_id integer,
    transaction_id xid8,
    query_text text,
    lock_info jsonb,
    resolution text,
    source text NOT NULL DEFAULT 'client' CHECK (source IN ('client', 'server log', 'counter')),
    reported_by text
);

CREATE INDEX deadlock_log_time_idx ON concurrency.deadlock_log (deadlock_time);

COMMENT ON TABLE concurrency.deadlock_log IS
    'Deadlocks of this database. PostgreSQL calls nobody when it breaks one, so they come from those who were told (source client: concurrency.record_deadlock), from the server''s log where it is JSON and the caller may read it (server log), and from the server''s counter, which says how many there were and nothing else (counter): concurrency.collect_deadlocks.';

COMMENT ON COLUMN concurrency.deadlock_log.process_id IS 'The session whose transaction the server ended.';

COMMENT ON COLUMN concurrency.deadlock_log.lock_info IS
    'waits: who waited for which lock, and for whom, as far as the text could be read; detail: that text; deadlocks: how many, where they were only counted.';

COMMENT ON COLUMN concurrency.deadlock_log.resolution IS 'What came of it: what the client says it did, or ended by the server.';

COMMENT ON SEQUENCE concurrency.deadlock_log_log_id_seq IS 'Numbers of rows of concurrency.deadlock_log; gaps are possible.';

CREATE TABLE concurrency.deadlock_collection (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    deadlocks bigint NOT NULL,
    counted_since timestamptz,
    collected_at timestamptz NOT NULL,
    log_file text,
    log_offset bigint NOT NULL DEFAULT 0
);

COMMENT ON TABLE concurrency.deadlock_collection IS
    'How far concurrency.collect_deadlocks has come in the server''s counter and log. Of this server, so it is in no dump.';

CREATE TABLE concurrency.leases (
    name text COLLATE "C" PRIMARY KEY,
    token bigint NOT NULL,
    taken_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    taken_by text NOT NULL,
    holder text NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);

COMMENT ON TABLE concurrency.leases IS
    'Named locks that outlive transactions and sessions, until they expire: the row is the lock, and stays when the lease has ended. Written by concurrency.acquire_leases and its siblings.';

COMMENT ON COLUMN concurrency.leases.token IS 'A later lease of the same name has a higher one.';

COMMENT ON COLUMN concurrency.leases.expires_at IS 'By the server''s clock; -infinity: released.';

COMMENT ON COLUMN concurrency.leases.taken_by IS 'The role that took it: no other one extends or releases it.';

COMMENT ON COLUMN concurrency.leases.holder IS 'Who has it, in the words of whoever took it.';

CREATE SEQUENCE concurrency.lease_token_seq;

COMMENT ON SEQUENCE concurrency.lease_token_seq IS 'Tokens of leases; gaps are possible.';

CREATE FUNCTION concurrency.lock_key(name text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT ('x' || pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to(name, 'UTF8')), 1, 8),
                                     'hex'))::bit(64)::bigint;
END;

COMMENT ON FUNCTION concurrency.lock_key(text) IS
    'The key of a named lock: the first 64 bits of the name''s SHA-256. Two names with one key would wait for each other and do no other harm; among a million names that has a chance of one in thirty-seven million. Null for null.';

CREATE VIEW concurrency.held_locks AS
SELECT CASE WHEN l.pid IS NULL THEN 'prepared transaction' ELSE 'session or transaction' END
        AS scope,
    NULL::text AS name, (l.classid::bigint << 32) | l.objid::bigint AS lock_key, a.application_name AS holder, l.pid,
    a.usename::text AS user_name, coalesce(a.state, 'unknown') AS state, NULL::timestamptz AS taken_at,
    NULL::timestamptz AS expires_at, NULL::bigint AS token,
    (SELECT count(*) FROM pg_catalog.pg_locks w
     WHERE w.locktype = 'advisory' AND w.database = l.database AND w.classid = l.classid AND w.objid = l.objid
       AND w.objsubid = l.objsubid AND NOT w.granted)::integer AS waiters
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.objsubid = 20035 AND l.granted
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
UNION ALL
SELECT 'lease', s.name, concurrency.lock_key(s.name), s.holder, NULL, s.taken_by, NULL, s.taken_at, s.expires_at,
    s.token, NULL
FROM concurrency.leases s
WHERE s.expires_at > pg_catalog.clock_timestamp();

COMMENT ON VIEW concurrency.held_locks IS
    'Named locks of this database that somebody has: leases with their name, token and end; those of sessions and transactions with their key (concurrency.lock_key tells a name''s) and how many wait for it. See concurrency.lock_holders.';

CREATE FUNCTION concurrency.lock_holders(name text) RETURNS SETOF concurrency.held_locks
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT h.scope, coalesce(h.name, lock_holders.name), h.lock_key, h.holder, h.pid, h.user_name, h.state, h.taken_at,
        h.expires_at, h.token, h.waiters
    FROM concurrency.held_locks h
    WHERE h.lock_key = concurrency.lock_key(lock_holders.name);
END;

COMMENT ON FUNCTION concurrency.lock_holders(text) IS
    'Who has the named lock or lease of that name, as concurrency.held_locks shows it. name: of a customer''s lock it is customer: and the id.';

SELECT pg_catalog.pg_extension_config_dump('concurrency.deadlock_log', '');

SELECT pg_catalog.pg_extension_config_dump('concurrency.deadlock_log_log_id_seq', '');

SELECT pg_catalog.pg_extension_config_dump('concurrency.leases', '');

SELECT pg_catalog.pg_extension_config_dump('concurrency.lease_token_seq', '');

CREATE  FUNCTION temporal."delete_portion"(
	"p_table" regclass, /* Option < RegClass > */
	"key" jsonb, /* Option < JsonDatum > */
	"valid_from" timestamptz, /* Option < Time > */
	"valid_to" timestamptz /* Option < Time > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'delete_portion_wrapper';

CREATE  FUNCTION temporal."check_snapshot"(
	"p_table" regclass, /* Option < RegClass > */
	"p_key" jsonb /* Option < JsonDatum > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'check_snapshot_wrapper';

CREATE  FUNCTION temporal."as_owner"(
	"p_table" regclass, /* Option < RegClass > */
	"p_work" TEXT, /* Option < Text > */
	"p_before" timestamptz, /* Option < Time > */
	"p_max_rows" bigint /* Option < i64 > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'as_owner_wrapper';

CREATE  FUNCTION temporal."record_account_change"(
	"account_id" uuid, /* Option < pgrx :: Uuid > */
	"created_at" timestamptz, /* Option < Time > */
	"customer_id" uuid, /* Option < pgrx :: Uuid > */
	"account_status" TEXT, /* Option < Text > */
	"overdraft_limit" numeric, /* Option < Numeric > */
	"account_type" TEXT, /* Option < Text > */
	"account_number" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'record_account_change_wrapper';

CREATE  FUNCTION temporal."balance_before"(
	"account_id" uuid, /* Option < pgrx :: Uuid > */
	"valid_to" timestamptz, /* Option < Time > */
	"transaction_to" timestamptz /* Option < Time > */
) RETURNS numeric /* Option < Numeric > */
STABLE PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'balance_before_wrapper';

CREATE  FUNCTION temporal."insert_portion"(
	"p_table" regclass, /* Option < RegClass > */
	"row_values" jsonb, /* Option < JsonDatum > */
	"valid_from" timestamptz, /* Option < Time > */
	"valid_to" timestamptz DEFAULT 'infinity' /* Option < Time > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'insert_portion_wrapper';

CREATE  FUNCTION temporal."correct"(
	"account_id" uuid, /* Option < pgrx :: Uuid > */
	"valid_from" timestamptz, /* Option < Time > */
	"valid_to" timestamptz, /* Option < Time > */
	"changes" jsonb, /* Option < JsonDatum > */
	"reason" TEXT, /* Option < Text > */
	"tenant" uuid DEFAULT NULL /* Option < pgrx :: Uuid > */
) RETURNS timestamptz /* Option < Time > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'correct_wrapper';

CREATE  FUNCTION temporal."update_portion"(
	"p_table" regclass, /* Option < RegClass > */
	"key" jsonb, /* Option < JsonDatum > */
	"valid_from" timestamptz, /* Option < Time > */
	"valid_to" timestamptz, /* Option < Time > */
	"changes" jsonb /* Option < JsonDatum > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'update_portion_wrapper';

CREATE  FUNCTION temporal."balance_as_of"(
	"account_id" uuid, /* Option < pgrx :: Uuid > */
	"valid_at" timestamptz DEFAULT now(), /* Option < Time > */
	"known_at" timestamptz DEFAULT now() /* Option < Time > */
) RETURNS numeric /* Option < Numeric > */
STABLE PARALLEL RESTRICTED  
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'account_balance_as_of_wrapper';

CREATE  FUNCTION temporal."get_account_as_of"(
	"p_account_id" uuid, /* Option < pgrx :: Uuid > */
	"p_as_of_time" timestamptz DEFAULT now(), /* Option < Time > */
	"p_transaction_time" timestamptz DEFAULT now() /* Option < Time > */
) RETURNS TABLE (
	"account_id" uuid,  /* pgrx :: Uuid */
	"customer_id" uuid,  /* Option < pgrx :: Uuid > */
	"account_number" varchar(50),  /* Option < Varchar > */
	"current_balance" numeric,  /* Option < Numeric > */
	"account_status" TEXT,  /* Option < String > */
	"valid_from" timestamptz,  /* Option < Time > */
	"valid_to" timestamptz,  /* Option < Time > */
	"account_type" TEXT,  /* Option < String > */
	"overdraft_limit" numeric,  /* Option < Numeric > */
	"limits" jsonb,  /* Option < JsonBytes > */
	"transaction_from" timestamptz,  /* Option < Time > */
	"transaction_to" timestamptz,  /* Option < Time > */
	"changed_by" TEXT,  /* Option < String > */
	"change_reason" TEXT  /* Option < String > */
)
STABLE PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'get_account_as_of_wrapper';

CREATE  FUNCTION concurrency."record_deadlock"(
	"detail" TEXT, /* Option < Text > */
	"query_text" TEXT DEFAULT NULL, /* Option < Text > */
	"resolution" TEXT DEFAULT NULL, /* Option < Text > */
	"process_id" INT DEFAULT NULL /* Option < i32 > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'record_deadlock_wrapper';

CREATE  FUNCTION concurrency."release_lock"(
	"name" TEXT, /* Option < Text > */
	"scope" TEXT DEFAULT 'transaction' /* Option < Text > */
) RETURNS bool /* bool */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'release_lock_wrapper';

CREATE  FUNCTION concurrency."extend_lease"(
	"name" TEXT, /* Option < Text > */
	"token" bigint, /* Option < i64 > */
	"lease_ms" INT DEFAULT 30000 /* Option < i32 > */
) RETURNS timestamptz /* Option < Time > */
VOLATILE PARALLEL UNSAFE  
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'extend_lease_sql_wrapper';

CREATE  FUNCTION concurrency."acquire_lease"(
	"name" TEXT, /* Option < Text > */
	"holder" TEXT, /* Option < Text > */
	"lease_ms" INT DEFAULT 30000, /* Option < i32 > */
	"timeout_ms" INT DEFAULT 0 /* Option < i32 > */
) RETURNS bigint /* Option < i64 > */
VOLATILE PARALLEL UNSAFE  
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'acquire_lease_sql_wrapper';

CREATE  FUNCTION concurrency."release_customer_lock"(
	"p_customer_id" uuid /* Option < pgrx :: Uuid > */
) RETURNS bool /* bool */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'release_customer_lock_wrapper';

CREATE  FUNCTION concurrency."acquire_lock"(
	"name" TEXT, /* Option < Text > */
	"timeout_ms" INT DEFAULT 5000, /* Option < i32 > */
	"scope" TEXT DEFAULT 'transaction' /* Option < Text > */
) RETURNS bool /* bool */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'acquire_lock_wrapper';

CREATE  FUNCTION concurrency."acquire_locks"(
	"names" TEXT[], /* Option < Many < String > > */
	"timeout_ms" INT DEFAULT 5000, /* Option < i32 > */
	"scope" TEXT DEFAULT 'transaction' /* Option < Text > */
) RETURNS bool /* bool */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'acquire_locks_wrapper';

CREATE  FUNCTION concurrency."hold_lease"(
	"name" TEXT, /* Option < Text > */
	"token" bigint /* Option < i64 > */
) RETURNS void
VOLATILE PARALLEL UNSAFE  
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'hold_lease_sql_wrapper';

CREATE  FUNCTION concurrency."acquire_leases"(
	"names" TEXT[], /* Option < Many < String > > */
	"holder" TEXT, /* Option < Text > */
	"lease_ms" INT DEFAULT 30000, /* Option < i32 > */
	"timeout_ms" INT DEFAULT 0 /* Option < i32 > */
) RETURNS TABLE (
	"name" TEXT,  /* String */
	"token" bigint  /* i64 */
)
VOLATILE PARALLEL UNSAFE  
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'acquire_leases_sql_wrapper';

CREATE  FUNCTION concurrency."release_lease"(
	"name" TEXT, /* Option < Text > */
	"token" bigint /* Option < i64 > */
) RETURNS bool /* bool */
VOLATILE PARALLEL UNSAFE  
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'release_lease_sql_wrapper';

CREATE  FUNCTION concurrency."acquire_customer_lock"(
	"p_customer_id" uuid, /* Option < pgrx :: Uuid > */
	"p_timeout_ms" INT DEFAULT 5000 /* Option < i32 > */
) RETURNS bool /* bool */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'acquire_customer_lock_wrapper';

CREATE  FUNCTION concurrency."break_lease"(
	"name" TEXT /* Option < Text > */
) RETURNS bool /* bool */
VOLATILE PARALLEL UNSAFE  
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'break_lease_sql_wrapper';

CREATE  FUNCTION concurrency."collect_deadlocks"() RETURNS INT /* i32 */
STRICT VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'collect_deadlocks_wrapper';

CREATE  FUNCTION concurrency."release_locks"(
	"names" TEXT[], /* Option < Many < String > > */
	"scope" TEXT DEFAULT 'transaction' /* Option < Text > */
) RETURNS INT /* i32 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'release_locks_wrapper';

CREATE  FUNCTION pooling."recommended_size"(
	"arrival_rate" numeric, /* Option < Numeric > */
	"service_time_ms" numeric, /* Option < Numeric > */
	"available_connections" INT, /* Option < i32 > */
	"cores" INT DEFAULT NULL, /* Option < i32 > */
	"cpu_share" numeric DEFAULT NULL /* Option < Numeric > */
) RETURNS TABLE (
	"recommended_pool_size" INT,  /* i32 */
	"limited_by" TEXT,  /* & '_ str */
	"busy_connections" numeric,  /* Option < Numeric > */
	"needed_connections" numeric,  /* Option < Numeric > */
	"core_limit" INT,  /* i32 */
	"used_cores" INT,  /* i32 */
	"used_cpu_share" numeric  /* Option < Numeric > */
)
STABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'recommended_size_wrapper';

CREATE  FUNCTION pooling."calculate_pool_size"(
	"p_max_db_connections" INT, /* Option < i32 > */
	"p_avg_query_time_ms" numeric, /* Option < Numeric > */
	"p_target_tps" INT, /* Option < i32 > */
	"p_safety_margin" numeric DEFAULT 0.8, /* Option < Numeric > */
	"p_cores" INT DEFAULT NULL /* Option < i32 > */
) RETURNS TABLE (
	"metric" TEXT,  /* String */
	"value" TEXT,  /* String */
	"explanation" TEXT  /* String */
)
STABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'calculate_pool_size_wrapper';

CREATE  FUNCTION pooling."what_if"(
	"pool_size" INT, /* Option < i32 > */
	"arrival_rate" numeric, /* Option < Numeric > */
	"service_time_ms" numeric /* Option < Numeric > */
) RETURNS TABLE (
	"busy_connections" numeric,  /* Option < Numeric > */
	"utilization" numeric,  /* Option < Numeric > */
	"wait_probability" numeric,  /* Option < Numeric > */
	"mean_wait_ms" numeric,  /* Option < Numeric > */
	"p95_wait_ms" numeric,  /* Option < Numeric > */
	"mean_response_ms" numeric,  /* Option < Numeric > */
	"queue_length" numeric,  /* Option < Numeric > */
	"is_stable" bool  /* bool */
)
IMMUTABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'what_if_wrapper';

CREATE  FUNCTION pooling."generate_pgbouncer_config"(
	"databases" TEXT[] DEFAULT NULL, /* Option < Many < String > > */
	"pool_mode" TEXT DEFAULT 'transaction', /* Option < Text > */
	"host" TEXT DEFAULT NULL, /* Option < Text > */
	"pool_size" INT DEFAULT NULL, /* Option < i32 > */
	"settings" jsonb DEFAULT '{}', /* Option < JsonDatum > */
	"cores" INT DEFAULT NULL /* Option < i32 > */
) RETURNS TEXT /* String */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'generate_pgbouncer_config_wrapper';

CREATE  FUNCTION pooling."bounded_period"(
	"since" interval /* Option < Interval > */
) RETURNS interval /* Interval */
IMMUTABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'bounded_period_wrapper';

CREATE  FUNCTION pooling."capture_sample"(
	"keep" interval DEFAULT '7 days', /* Option < Interval > */
	"max_groups" INT DEFAULT 100 /* Option < i32 > */
) RETURNS timestamptz /* Option < Time > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'capture_sample_wrapper';

CREATE  FUNCTION pooling."machine_cores"() RETURNS INT /* i32 */
STRICT STABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'machine_cores_wrapper';

CREATE  FUNCTION pooling."bounded_pool_size"(
	"pool_size" INT /* Option < i32 > */
) RETURNS INT /* Option < i32 > */
IMMUTABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'bounded_pool_size_wrapper';

CREATE  FUNCTION pooling."bounded_seconds"(
	"seconds" numeric /* Option < Numeric > */
) RETURNS numeric /* Numeric */
IMMUTABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'bounded_seconds_wrapper';

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

COMMENT ON FUNCTION pooling.idle_connections(numeric) IS
    'Sessions that have been idle, in a transaction or not, for longer than that; with state unknown those that the caller may not look into. seconds: 0 to 31,622,400. query: the last one; holds_snapshot: it keeps VACUUM from removing rows; remediation_sql: what ends the session. NB021: seconds; 22004: null.';

CREATE VIEW pooling.v_idle_connections AS
SELECT i.pid, i.usename, i.application_name, i.client_addr, i.state, i.state_change, i.idle_seconds, i.query,
       i.database_name, i.holds_transaction_id, i.holds_snapshot, i.remediation_sql
FROM pooling.idle_connections() i;

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

COMMENT ON TABLE pooling.pool_stats IS
    'What a pooler says of itself (SHOW POOLS, SHOW STATS), written by whoever asks it; pooling.capture_sample deletes what is old.';

COMMENT ON COLUMN pooling.pool_stats.pool_name IS 'The database; pooling.advice looks for the current one.';

COMMENT ON COLUMN pooling.pool_stats.max_wait_ms IS 'How long the oldest waiting client has been waiting for a connection.';

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

COMMENT ON FUNCTION pooling.session_groups(integer) IS
    'The rows that pooling.capture_sample writes: other sessions by database, role and application, the largest max_groups, the rest as (others). Null: all groups; below 0: as 0.';

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

COMMENT ON FUNCTION pooling.check_pool_health(numeric) IS
    'Connections at this moment: of those that clients may use (75 and 90 %), idle in a transaction for more than so many seconds (1 and 5 of them) and the longest (300 and 900 s), their mean age (an hour), the wait that the pooler tells of (0 and 1,000 ms, pooling.pool_stats), the last sample. status: OK, REVIEW, WARNING, CRITICAL, or UNKNOWN: the caller may not see it (pg_monitor may), or nobody has measured it. NB021: seconds; 22004: null.';

CREATE  FUNCTION troubleshoot."unacknowledge"(
	"fingerprint" TEXT /* Option < Text > */
) RETURNS bool /* bool */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'unacknowledge_wrapper';

CREATE  FUNCTION troubleshoot."explain"(
	"query" TEXT, /* Option < Text > */
	"params" TEXT[] DEFAULT '{}', /* Option < Many < String > > */
	"analyze" bool DEFAULT false /* Option < bool > */
) RETURNS TABLE (
	"check_id" TEXT,  /* & '_ str */
	"severity" TEXT,  /* & '_ str */
	"node" TEXT,  /* String */
	"object" TEXT,  /* Option < String > */
	"value" numeric,  /* Option < Numeric > */
	"unit" TEXT,  /* Option < & '_ str > */
	"threshold" numeric,  /* Option < Numeric > */
	"detail" TEXT,  /* String */
	"remedy" TEXT,  /* Option < String > */
	"remediation_sql" TEXT,  /* Option < String > */
	"plan" jsonb  /* Option < JsonDatum > */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'explain_wrapper';

COMMENT ON FUNCTION troubleshoot.explain IS
    'What is wrong with the plan of a query, the worst first, and what to do about it. query: one SELECT, INSERT, UPDATE, DELETE or MERGE, with $1, $2 ... for parameters, up to 100,000 characters; params: a text for each, read as the type that its place wants; analyze: also run it, which tells what came of the estimates. Planned and run with the caller''s rights and search_path, in a subtransaction that may not write and is always rolled back; what a function does outside of the database is done. Waits 1 s for a lock unless lock_timeout is set; statement_timeout holds. The first row is the plan itself. Where hypopg is installed, proposed indexes are tried with it. NB021: a bound; NB525: several statements, or one without a plan; NB526: number of parameters; 25006: analyze of a query that writes; 22004: null; and what the query itself raises.';

CREATE  FUNCTION troubleshoot."set_threshold"(
	"check_id" TEXT, /* Option < Text > */
	"warning" numeric, /* Option < Numeric > */
	"critical" numeric, /* Option < Numeric > */
	"minimum" numeric DEFAULT NULL /* Option < Numeric > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'set_threshold_wrapper';

CREATE  FUNCTION troubleshoot."clear_idle_transactions"(
	"p_older_than" interval DEFAULT '10 minutes', /* Option < Interval > */
	"p_dry_run" bool DEFAULT true, /* Option < bool > */
	"p_reason" TEXT DEFAULT NULL, /* Option < Text > */
	"p_database" TEXT DEFAULT NULL, /* Option < Text > */
	"p_user" TEXT DEFAULT NULL /* Option < Text > */
) RETURNS INT /* i32 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'clear_idle_transactions_wrapper';

CREATE  FUNCTION troubleshoot."compare_baseline"(
	"at" timestamptz DEFAULT NULL, /* Option < Time > */
	"days" INT DEFAULT 35 /* Option < i32 > */
) RETURNS TABLE (
	"metric" TEXT,  /* & '_ str */
	"severity" TEXT,  /* & '_ str */
	"captured_at" timestamptz,  /* Time */
	"value" numeric,  /* Option < Numeric > */
	"unit" TEXT,  /* & '_ str */
	"median" numeric,  /* Option < Numeric > */
	"mad" numeric,  /* Option < Numeric > */
	"deviation" numeric,  /* Option < Numeric > */
	"scope" TEXT,  /* & '_ str */
	"samples" INT,  /* i32 */
	"detail" TEXT  /* String */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'compare_baseline_wrapper';

CREATE  FUNCTION troubleshoot."sequence_position"(
	"sequence" oid /* Option < pg_sys :: Oid > */
) RETURNS bigint /* Option < i64 > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'sequence_position_wrapper';

CREATE  FUNCTION troubleshoot."reset_threshold"(
	"check_id" TEXT /* Option < Text > */
) RETURNS bool /* bool */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'reset_threshold_wrapper';

CREATE  FUNCTION troubleshoot."slow_query_rows"(
	"max_rows" INT, /* Option < i32 > */
	"order_by" TEXT /* Option < Text > */
) RETURNS INT /* i32 */
IMMUTABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'slow_query_rows_wrapper';

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

COMMENT ON FUNCTION troubleshoot.slow_queries(integer, text) IS
    'Statements by pg_stat_statements, of whatever version is installed. max_rows: 1 to 1,000; order_by: total (time), mean (time), calls, rows or temp (blocks written). Times in milliseconds since the statistics were last reset; share_pct: of the time of all statements; is_slow: 50 ms and more on average over 50 calls and more. Where pg_stat_statements is missing, not loaded, not visible or empty one row says so: queryid is null, and hint has the cure. NB021: a bound; 22004: null.';

CREATE VIEW troubleshoot.v_slow_queries AS
SELECT q.queryid, q.query_preview, q.calls, q.total_time_ms, q.avg_time_ms, q.stddev_ms, q.rows, q.cache_hit_pct,
       q.max_time_ms, q.share_pct, q.read_time_ms, q.temp_blocks_written, q.wal_bytes, q.user_name, q.database_name,
       q.is_slow, q.hint
FROM troubleshoot.slow_queries() q;

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

COMMENT ON FUNCTION troubleshoot.connection_analysis() IS
    'Connections at this moment. Utilization is of those that clients may use, without the reserved ones (75 and 90 %); idle in transaction: more than 5, or one for 300 and 900 s, failed transactions with them. status: INFO, OK, WARNING, CRITICAL, or UNKNOWN where sessions are not visible to the caller (pg_monitor sees all).';

CREATE  FUNCTION troubleshoot."relation_file_bytes"(
	"path" TEXT /* Option < Text > */
) RETURNS bigint /* Option < i64 > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'relation_file_bytes_wrapper';

CREATE  FUNCTION troubleshoot."report_html"() RETURNS TEXT /* String */
STRICT VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'report_html_wrapper';

CREATE  FUNCTION troubleshoot."run_baseline"() RETURNS TABLE (
	"captured" INT,  /* i32 */
	"raised" INT,  /* i32 */
	"resolved" INT,  /* i32 */
	"deleted" bigint  /* i64 */
)
STRICT VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'run_baseline_wrapper';

CREATE  FUNCTION troubleshoot."capture_baseline"() RETURNS INT /* i32 */
STRICT VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'capture_baseline_wrapper';

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

COMMENT ON TABLE troubleshoot.alerts IS
    'Departures from what is usual, found by troubleshoot.run_baseline(). One row per metric from the sample in which it departed (raised_at) to the one in which it was back (resolved_at); value, median, deviation, severity: the worst of them. The newest 10,000 that are resolved are kept.';

COMMENT ON INDEX troubleshoot.alerts_open IS 'One open alert per metric.';

COMMENT ON INDEX troubleshoot.alerts_raised_at IS 'For the newest alerts, and for deleting the old ones.';

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

COMMENT ON TABLE troubleshoot.baseline_settings IS
    'What is set in the place of the built-in values. keep_days (35): age at which samples go; most_samples (2,000,000): rows of troubleshoot.samples; least_samples (8): from how many on something is usual; warning_deviation (3.5), critical_deviation (7): robust deviations from the median.';

COMMENT ON CONSTRAINT baseline_settings_bounds ON troubleshoot.baseline_settings IS 'Known names, each within its bounds.';

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

COMMENT ON FUNCTION troubleshoot.guard_baseline_settings() IS
    'Refuses a warning_deviation above critical_deviation, where one that is not set has its built-in value. NB021.';

CREATE TRIGGER deviations_in_order AFTER INSERT OR UPDATE OR DELETE ON troubleshoot.baseline_settings
    FOR EACH STATEMENT EXECUTE FUNCTION troubleshoot.guard_baseline_settings();

COMMENT ON TRIGGER deviations_in_order ON troubleshoot.baseline_settings IS 'The warning comes before the alarm.';

SELECT pg_catalog.pg_extension_config_dump('troubleshoot.samples', '');

SELECT pg_catalog.pg_extension_config_dump('troubleshoot.alerts', '');

SELECT pg_catalog.pg_extension_config_dump('troubleshoot.alerts_alert_id_seq', '');

SELECT pg_catalog.pg_extension_config_dump('troubleshoot.baseline_settings', '');

COMMENT ON FUNCTION troubleshoot.capture_baseline IS
    'Measures the server and keeps it in troubleshoot.samples: gauges as they stand, counters as their rate per second since the sample before, and what is derived from them. A counter that was reset counts from its reset. Acts with the rights of the extension''s owner. Returns how many values were kept; 0 within a second of the sample before, or while another session is at it.';

COMMENT ON FUNCTION troubleshoot.compare_baseline IS
    'How far a sample departs from what is usual. at: the newest sample up to then, null: the newest of all; days: how many days before it are looked at, 1 to 400. Usual is the median of the same hour of the week; where that has too few samples, of the same hour of any day; then of all. deviation: (value - median) / scale, where the scale is 1.4826 times the median absolute deviation, at the least 5 % of the median, and at the least what matters for the metric. severity: warning and critical by troubleshoot.baseline_settings, ok, or unknown where there are too few samples. NB021: days; 22004: days null.';

COMMENT ON FUNCTION troubleshoot.run_baseline IS
    'What a scheduler calls: measures, compares, raises and resolves troubleshoot.alerts, notifies the channel neobank_alerts of each change as JSON, and deletes what is past its bounds. In a transaction of its own: a notification takes a lock of the whole server at commit, so no posting may wait with it. Returns values kept, alerts raised, alerts resolved, and samples deleted. NB527: the transaction has written already.';

CREATE  FUNCTION troubleshoot."multixact_member_segments"() RETURNS bigint /* Option < i64 > */
STRICT VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'multixact_member_segments_wrapper';

CREATE  FUNCTION troubleshoot."note_restore_test"(
	"tested_at" timestamptz, /* Option < Time > */
	"note" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'note_restore_test_wrapper';

CREATE  FUNCTION troubleshoot."acknowledge"(
	"fingerprint" TEXT, /* Option < Text > */
	"until" timestamptz, /* Option < Time > */
	"reason" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'acknowledge_wrapper';

CREATE  FUNCTION troubleshoot."kill_long_queries"(
	"p_max_duration" interval DEFAULT '5 minutes', /* Option < Interval > */
	"p_dry_run" bool DEFAULT true, /* Option < bool > */
	"p_method" TEXT DEFAULT 'terminate', /* Option < Text > */
	"p_reason" TEXT DEFAULT NULL, /* Option < Text > */
	"p_database" TEXT DEFAULT NULL, /* Option < Text > */
	"p_user" TEXT DEFAULT NULL /* Option < Text > */
) RETURNS TABLE (
	"pid" INT,  /* Option < i32 > */
	"duration" interval,  /* Option < Interval > */
	"query" TEXT,  /* Option < String > */
	"action" TEXT,  /* String */
	"user_name" TEXT,  /* Option < String > */
	"database_name" TEXT,  /* Option < String > */
	"application_name" TEXT  /* Option < String > */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'kill_long_queries_wrapper';

CREATE  FUNCTION troubleshoot."run_checks"(
	"only_checks" TEXT[] DEFAULT NULL /* Option < Many < String > > */
) RETURNS TABLE (
	"check_id" TEXT,  /* String */
	"severity" TEXT,  /* String */
	"object" TEXT,  /* Option < String > */
	"value" numeric,  /* Option < Numeric > */
	"unit" TEXT,  /* Option < String > */
	"warning_threshold" numeric,  /* Option < Numeric > */
	"critical_threshold" numeric,  /* Option < Numeric > */
	"detail" TEXT,  /* String */
	"remediation_sql" TEXT,  /* Option < String > */
	"fingerprint" TEXT,  /* String */
	"acknowledged_until" timestamptz  /* Option < Time > */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'run_checks_wrapper';

CREATE  FUNCTION troubleshoot."subtransaction_overflows"() RETURNS SETOF INT /* i32 */
STRICT VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'subtransaction_overflows_wrapper';

CREATE  FUNCTION troubleshoot."why_waiting"(
	"pid" INT /* Option < i32 > */
) RETURNS TABLE (
	"process_id" INT,  /* i32 */
	"kind" TEXT,  /* String */
	"explanation" TEXT,  /* String */
	"blocked_by" INT[],  /* Vec < i32 > */
	"wait_event_type" TEXT,  /* Option < String > */
	"wait_event" TEXT,  /* Option < String > */
	"lock_mode" TEXT,  /* Option < String > */
	"object" TEXT,  /* Option < String > */
	"waiting_seconds" numeric,  /* Option < Numeric > */
	"remediation_sql" TEXT  /* Option < String > */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'why_waiting_wrapper';

CREATE  FUNCTION troubleshoot."check_definitions"() RETURNS TABLE (
	"check_id" TEXT,  /* String */
	"category" TEXT,  /* String */
	"title" TEXT,  /* String */
	"unit" TEXT,  /* Option < String > */
	"worse" TEXT,  /* Option < String > */
	"warning" numeric,  /* Option < Numeric > */
	"critical" numeric,  /* Option < Numeric > */
	"minimum" numeric,  /* Option < Numeric > */
	"minimum_unit" TEXT  /* Option < String > */
)
IMMUTABLE STRICT PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'check_definitions_wrapper';

CREATE TABLE troubleshoot.thresholds (
    check_id text PRIMARY KEY,
    -- NaN is above every number, so it is not within these either.
    warning numeric CHECK (warning BETWEEN 0 AND 1e18),
    critical numeric CHECK (critical BETWEEN 0 AND 1e18),
    minimum numeric CHECK (minimum BETWEEN 0 AND 1e18),
    set_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    set_by text NOT NULL
);

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

COMMENT ON TABLE troubleshoot.restore_tests IS
    'When a backup was restored and found whole. Set by troubleshoot.note_restore_test.';

SELECT pg_catalog.pg_extension_config_dump('troubleshoot.thresholds', '');

SELECT pg_catalog.pg_extension_config_dump('troubleshoot.acknowledgements', '');

SELECT pg_catalog.pg_extension_config_dump('troubleshoot.restore_tests', '');

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

COMMENT ON VIEW troubleshoot.check_catalogue IS
    'The checks of troubleshoot.checks(), with the thresholds in force and the check''s own. worse: whether higher or lower values are; null where nothing is measured. minimum: what is smaller is left out.';

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

COMMENT ON FUNCTION troubleshoot.slow_statements(numeric, numeric) IS
    'Statements of this database that take least_mean_ms milliseconds or more on average and were called least_calls times or more, from pg_stat_statements. NB503: it is not installed; 55000: it is not loaded.';

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

COMMENT ON FUNCTION troubleshoot.table_bloat(bigint) IS
    'How much of each table of min_bytes or more holds nothing, estimated from the statistics of the last VACUUM and ANALYZE: bytes, and percent of the table. Where is_known is false they are null: the table was never analysed, or the caller may not read its statistics. TOAST tables are left out. Takes no lock on the tables.';

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

COMMENT ON FUNCTION troubleshoot.full_health_check() IS
    'The server and this database at a glance: size, connections, replicas, cache, transaction id age, and then what troubleshoot.checks() finds. status: CRITICAL, WARNING, UNKNOWN (this role may not see it), INFO, OK.';

CREATE  FUNCTION troubleshoot."metrics"() RETURNS TEXT /* String */
STRICT VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'metrics_wrapper';

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

COMMENT ON FUNCTION troubleshoot.report_data() IS
    'All that troubleshoot.report_html() shows, for programs: server, figures, samples of the last 24 hours, connections, waits, statements, tables, blocking, findings and alerts. blocking and findings are null where the caller may not read them. Takes no lock on a user''s table.';

COMMENT ON FUNCTION troubleshoot.metrics IS
    'The server in figures, in the text exposition format 0.0.4 of Prometheus: troubleshoot.measurements() and troubleshoot.labelled_measurements(), each name with the prefix neobank_. At most some hundreds of series, however many tables, standbys and slots there are. What the caller may not see is left out, and neobank_sees_all_sessions says whether that is so. Works on a standby.';

COMMENT ON FUNCTION troubleshoot.report_html IS
    'One page of HTML with all that it needs inside, without scripts: findings and what to do, load, connections, waits, statements, tables, blocking. For a browser, light or dark, a phone, or paper. What comes from the database is escaped. Works on a standby.';

CREATE  FUNCTION cqrs."pause_projection"(
	"name" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'pause_projection_wrapper';

CREATE  FUNCTION cqrs."cancel_rebuild"(
	"name" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'cancel_rebuild_wrapper';

CREATE  FUNCTION cqrs."resume_projection"(
	"name" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'resume_projection_wrapper';

CREATE  FUNCTION cqrs."process_commands"(
	"max_commands" INT DEFAULT 100 /* Option < i32 > */
) RETURNS TABLE (
	"command_id" uuid,  /* pgrx :: Uuid */
	"status" TEXT,  /* & '_ str */
	"code" TEXT,  /* String */
	"message" TEXT  /* Option < String > */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'process_commands_wrapper';

CREATE  FUNCTION cqrs."create_projection"(
	"name" TEXT, /* Option < Text > */
	"handler" regproc, /* Option < RegProc > */
	"target" regclass, /* Option < RegClass > */
	"filter" jsonb DEFAULT '{}', /* Option < JsonDatum > */
	"mode" TEXT DEFAULT 'async' /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'create_projection_wrapper';

CREATE  FUNCTION cqrs."drop_projection"(
	"name" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'drop_projection_wrapper';

CREATE  FUNCTION cqrs."unregister_handler"(
	"command_type" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'unregister_handler_wrapper';

CREATE  FUNCTION cqrs."last_activity"(
	"account_id" uuid /* Option < pgrx :: Uuid > */
) RETURNS timestamptz /* Option < Time > */
STABLE PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'last_activity_wrapper';

CREATE  FUNCTION cqrs."register_handler"(
	"command_type" TEXT, /* Option < Text > */
	"handler" regproc, /* Option < RegProc > */
	"max_attempts" INT DEFAULT 5 /* Option < i32 > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'register_handler_wrapper';

CREATE  FUNCTION cqrs."rebuild_projection"(
	"name" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'rebuild_projection_wrapper';

CREATE  FUNCTION cqrs."run_projection"(
	"name" TEXT, /* Option < Text > */
	"max_events" INT DEFAULT 1000 /* Option < i32 > */
) RETURNS bigint /* Option < i64 > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'run_projection_wrapper';

CREATE  FUNCTION cqrs."run_rebuild"(
	"name" TEXT, /* Option < Text > */
	"max_events" INT DEFAULT 1000 /* Option < i32 > */
) RETURNS TEXT /* & '_ str */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'run_rebuild_wrapper';

CREATE  FUNCTION cqrs."set_risk_score"(
	"customer_id" uuid, /* Option < pgrx :: Uuid > */
	"risk_score" INT /* Option < i32 > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'set_risk_score_wrapper';

CREATE  FUNCTION cqrs."submit_command"(
	"command_type" TEXT, /* Option < Text > */
	"aggregate_type" TEXT, /* Option < Text > */
	"payload" jsonb, /* Option < JsonDatum > */
	"aggregate_id" uuid DEFAULT NULL, /* Option < pgrx :: Uuid > */
	"command_id" uuid DEFAULT NULL, /* Option < pgrx :: Uuid > */
	"mode" TEXT DEFAULT 'immediate', /* Option < Text > */
	"correlation_id" TEXT DEFAULT NULL, /* Option < Text > */
	"max_attempts" INT DEFAULT NULL /* Option < i32 > */
) RETURNS jsonb /* JsonBytes */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'submit_command_wrapper';

CREATE  FUNCTION cqrs."amount_total"(
	"account_id" uuid, /* Option < pgrx :: Uuid > */
	"since" timestamptz DEFAULT NULL /* Option < Time > */
) RETURNS NUMERIC /* AnyNumeric */
STABLE PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'amount_total_wrapper';

CREATE  FUNCTION cqrs."transaction_count"(
	"account_id" uuid, /* Option < pgrx :: Uuid > */
	"since" timestamptz DEFAULT NULL /* Option < Time > */
) RETURNS bigint /* i64 */
STABLE PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'transaction_count_wrapper';

CREATE  FUNCTION cqrs."last_transaction_date"(
	"account_id" uuid /* Option < pgrx :: Uuid > */
) RETURNS timestamptz /* Option < Time > */
STABLE PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'last_transaction_date_wrapper';

CREATE  FUNCTION cqrs."update_customer_summary"(
	"p_customer_id" uuid /* Option < pgrx :: Uuid > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'update_customer_summary_wrapper';

CREATE  FUNCTION cqrs."refresh_activity"(
	"max_marks" INT DEFAULT 1000 /* Option < i32 > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'refresh_activity_wrapper';

CREATE  FUNCTION event_store."ledger_stream"(
	"transaction_id" uuid /* Option < pgrx :: Uuid > */
) RETURNS uuid /* pgrx :: Uuid */
IMMUTABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'ledger_stream_wrapper';

CREATE  FUNCTION event_store."alter_subscription"(
	"name" TEXT, /* Option < Text > */
	"max_attempts" INT DEFAULT NULL, /* Option < i32 > */
	"backoff_first_ms" INT DEFAULT NULL, /* Option < i32 > */
	"backoff_most_ms" INT DEFAULT NULL, /* Option < i32 > */
	"lease_ms" INT DEFAULT NULL, /* Option < i32 > */
	"parked_blocks" bool DEFAULT NULL, /* Option < bool > */
	"paused" bool DEFAULT NULL /* Option < bool > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'alter_subscription_wrapper';

CREATE  FUNCTION event_store."discard_parked"(
	"name" TEXT, /* Option < Text > */
	"event_ids" uuid[] /* Option < Many < pgrx :: Uuid > > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'discard_parked_wrapper';

CREATE  FUNCTION event_store."extend_lease"(
	"name" TEXT, /* Option < Text > */
	"lease_token" bigint, /* Option < i64 > */
	"by_ms" INT DEFAULT NULL /* Option < i32 > */
) RETURNS timestamptz /* Option < Time > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'extend_lease_wrapper';

CREATE  FUNCTION event_store."ledger_opened_at"(
	"as_of_position" bigint /* Option < i64 > */
) RETURNS bigint /* Option < i64 > */
STABLE PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'ledger_opened_at_wrapper';

CREATE  FUNCTION event_store."get_aggregate_state"(
	"p_aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"p_up_to_version" INT DEFAULT NULL /* Option < i32 > */
) RETURNS jsonb /* JsonDatum */
STABLE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'get_aggregate_state_wrapper';

CREATE  FUNCTION event_store."drop_subscription"(
	"name" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'drop_subscription_wrapper';

CREATE  FUNCTION event_store."prepare_ledger_publication"(
	"max_accounts" INT DEFAULT 10000 /* Option < i32 > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'prepare_ledger_publication_wrapper';

CREATE  FUNCTION event_store."ledger_published_since"() RETURNS bigint /* i64 */
STRICT STABLE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'ledger_published_since_wrapper';

CREATE  FUNCTION event_store."append_events"(
	"aggregate_type" TEXT, /* Option < Text > */
	"aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"events" jsonb, /* Option < JsonDatum > */
	"expected_version" INT DEFAULT NULL /* Option < i32 > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'append_events_wrapper';

CREATE  FUNCTION event_store."take_snapshot"(
	"p_aggregate_id" uuid /* Option < pgrx :: Uuid > */
) RETURNS INT /* Option < i32 > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'take_snapshot_wrapper';

CREATE  FUNCTION event_store."get_aggregate_state_at"(
	"p_aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"p_at" timestamptz /* Option < Time > */
) RETURNS jsonb /* JsonDatum */
STABLE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'get_aggregate_state_at_wrapper';

CREATE  FUNCTION event_store."drop_reducer"(
	"aggregate_type" TEXT, /* Option < Text > */
	"event_type" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'drop_reducer_wrapper';

CREATE  FUNCTION event_store."replay_parked"(
	"name" TEXT, /* Option < Text > */
	"event_ids" uuid[] DEFAULT NULL /* Option < Many < pgrx :: Uuid > > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'replay_parked_wrapper';

CREATE  FUNCTION event_store."fetch"(
	"name" TEXT, /* Option < Text > */
	"batch" INT, /* Option < i32 > */
	"consumer" TEXT /* Option < Text > */
) RETURNS TABLE (
	"event_id" uuid,  /* pgrx :: Uuid */
	"aggregate_id" uuid,  /* pgrx :: Uuid */
	"global_position" bigint,  /* i64 */
	"created_at" timestamptz,  /* Option < Time > */
	"event_version" INT,  /* i32 */
	"aggregate_type" TEXT,  /* String */
	"event_type" TEXT,  /* String */
	"created_by" TEXT,  /* String */
	"event_data" jsonb,  /* Option < JsonBytes > */
	"metadata" jsonb,  /* Option < JsonBytes > */
	"tags" TEXT[],  /* :: std :: option :: Option < Vec < Option < String > > > */
	"attempt" INT,  /* i32 */
	"lease_token" bigint,  /* i64 */
	"leased_until" timestamptz  /* Option < Time > */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'fetch_wrapper';

CREATE  FUNCTION event_store."apply_retention"(
	"max_events" INT DEFAULT 10000 /* Option < i32 > */
) RETURNS TABLE (
	"events" bigint,  /* i64 */
	"streams" bigint,  /* i64 */
	"done" bool  /* bool */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'apply_retention_wrapper';

CREATE  FUNCTION event_store."append_events_if"(
	"aggregate_type" TEXT, /* Option < Text > */
	"aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"events" jsonb, /* Option < JsonDatum > */
	"after_position" bigint, /* Option < i64 > */
	"event_types" TEXT[] DEFAULT NULL, /* Option < Many < String > > */
	"tags" TEXT[] DEFAULT NULL, /* Option < Many < String > > */
	"expected_version" INT DEFAULT NULL /* Option < i32 > */
) RETURNS bigint /* i64 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'append_events_if_wrapper';

CREATE  FUNCTION event_store."publish_ledger"(
	"publish" bool /* Option < bool > */
) RETURNS bigint /* Option < i64 > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'publish_ledger_wrapper';

CREATE  FUNCTION event_store."append_event"(
	"p_aggregate_type" TEXT, /* Option < Text > */
	"p_aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"p_event_type" TEXT, /* Option < Text > */
	"p_event_data" jsonb, /* Option < JsonDatum > */
	"p_expected_version" INT DEFAULT NULL, /* Option < i32 > */
	"p_metadata" jsonb DEFAULT NULL, /* Option < JsonDatum > */
	"p_event_id" uuid DEFAULT NULL, /* Option < pgrx :: Uuid > */
	"p_tags" TEXT[] DEFAULT NULL /* Option < Many < String > > */
) RETURNS uuid /* pgrx :: Uuid */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'append_event_wrapper';

CREATE  FUNCTION event_store."set_retention"(
	"aggregate_type" TEXT, /* Option < Text > */
	"keep" interval, /* Option < Interval > */
	"keep_state" bool DEFAULT true /* Option < bool > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'set_retention_wrapper';

CREATE  FUNCTION event_store."stream_partition"(
	"aggregate_id" uuid, /* Option < pgrx :: Uuid > */
	"partitions" INT /* Option < i32 > */
) RETURNS INT /* Option < i32 > */
IMMUTABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'stream_partition_wrapper';

CREATE  FUNCTION event_store."ack"(
	"name" TEXT, /* Option < Text > */
	"lease_token" bigint, /* Option < i64 > */
	"event_ids" uuid[] DEFAULT NULL /* Option < Many < pgrx :: Uuid > > */
) RETURNS INT /* i32 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'ack_wrapper';

CREATE  FUNCTION event_store."define_reducer"(
	"aggregate_type" TEXT, /* Option < Text > */
	"event_type" TEXT, /* Option < Text > */
	"operations" jsonb DEFAULT NULL, /* Option < JsonDatum > */
	"handler" regproc DEFAULT NULL /* Option < RegProc > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'define_reducer_wrapper';

CREATE  FUNCTION event_store."nack"(
	"name" TEXT, /* Option < Text > */
	"lease_token" bigint, /* Option < i64 > */
	"event_id" uuid, /* Option < pgrx :: Uuid > */
	"reason" TEXT, /* Option < Text > */
	"retry_in_ms" INT DEFAULT NULL, /* Option < i32 > */
	"park" bool DEFAULT false /* Option < bool > */
) RETURNS timestamptz /* Option < Time > */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'nack_wrapper';

CREATE  FUNCTION event_store."create_subscription"(
	"name" TEXT, /* Option < Text > */
	"filter" jsonb DEFAULT '{}', /* Option < JsonDatum > */
	"start" TEXT DEFAULT 'beginning', /* Option < Text > */
	"partitions" INT DEFAULT 16, /* Option < i32 > */
	"max_attempts" INT DEFAULT 5, /* Option < i32 > */
	"backoff_first_ms" INT DEFAULT 1000, /* Option < i32 > */
	"backoff_most_ms" INT DEFAULT 300000, /* Option < i32 > */
	"lease_ms" INT DEFAULT 30000, /* Option < i32 > */
	"parked_blocks" bool DEFAULT true /* Option < bool > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'create_subscription_wrapper';

CREATE  FUNCTION event_store."page_size"(
	"max_events" INT /* Option < i32 > */
) RETURNS INT /* i32 */
IMMUTABLE PARALLEL SAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'page_size_wrapper';

CREATE  FUNCTION event_store."reset_subscription"(
	"name" TEXT, /* Option < Text > */
	"start" TEXT /* Option < Text > */
) RETURNS void
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'reset_subscription_wrapper';

ALTER TABLE banking.customers ALTER COLUMN customer_number
    SET DEFAULT ('C' || pg_catalog.to_char(pg_catalog.nextval('banking.customer_number_seq'), 'FM9999999990000000000'));

ALTER TABLE banking.account_limits REPLICA IDENTITY FULL;

UPDATE txn_processing.transaction_queue SET max_retries = CASE WHEN max_retries < 0 THEN 0 ELSE 100 END
WHERE NOT max_retries BETWEEN 0 AND 100;

ALTER TABLE txn_processing.transaction_queue
    ADD CONSTRAINT transaction_queue_max_retries_check CHECK (max_retries BETWEEN 0 AND 100);

CREATE OR REPLACE FUNCTION txn_processing.daily_reconciliation(p_date date DEFAULT CURRENT_DATE)
RETURNS TABLE (
    account_id uuid,
    account_number varchar(50),
    ledger_balance numeric,
    account_balance numeric,
    difference numeric,
    status text
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    -- Both sides at the same instant: what the ledger adds up to until then, and what the account carries now less
    -- what the ledger added since. Debits and credits are added up where they are read, so that parallel workers share
    -- both the reading and the adding; the day's end is worked out once, not per posting.
    WITH day AS (
        -- No posting is as late as the latest day that a timestamp can have, and the day after that is none.
        SELECT (least(coalesce(p_date, CURRENT_DATE), DATE '9999-12-31') + 1)::timestamptz AS ends
    ), sides AS (
        SELECT
            m.credit_account AS account_id,
            pg_catalog.sum(m.amount) AS total,
            pg_catalog.sum(m.amount) FILTER (WHERE coalesce(m.effective_at, m.created_at) >= (SELECT d.ends FROM day d)) AS since
        FROM txn_processing.movements m
        GROUP BY m.credit_account
        UNION ALL
        SELECT
            m.debit_account,
            -pg_catalog.sum(m.amount),
            -pg_catalog.sum(m.amount) FILTER (WHERE coalesce(m.effective_at, m.created_at) >= (SELECT d.ends FROM day d))
        FROM txn_processing.movements m
        GROUP BY m.debit_account
    ), sums AS (
        SELECT s.account_id, pg_catalog.sum(s.total) AS total, coalesce(pg_catalog.sum(s.since), 0) AS since
        FROM sides s
        GROUP BY s.account_id
    ), slots AS (
        SELECT t.account_id, pg_catalog.sum(t.balance) AS balance FROM banking.account_slots t GROUP BY t.account_id
    ), carried AS (
        SELECT
            a.account_id, a.account_number, a.normal_side,
            CASE WHEN a.slots > 0 THEN t.balance ELSE a.current_balance END AS balance
        FROM banking.accounts a
        LEFT JOIN slots t ON t.account_id = a.account_id
    ), balances AS (
        -- FULL: postings on an account that is not there are a discrepancy too.
        SELECT
            coalesce(a.account_id, s.account_id) AS account_id, a.account_number,
            CASE a.normal_side WHEN 'D' THEN -1 ELSE 1 END * (coalesce(s.total, 0) - coalesce(s.since, 0)) AS ledger_balance,
            coalesce(a.balance, 0) - CASE a.normal_side WHEN 'D' THEN -1 ELSE 1 END * coalesce(s.since, 0) AS account_balance
        FROM carried a
        FULL JOIN sums s ON s.account_id = a.account_id
    )
    SELECT
        b.account_id, b.account_number, b.ledger_balance, b.account_balance, b.ledger_balance - b.account_balance,
        CASE WHEN b.ledger_balance = b.account_balance THEN 'Balanced' ELSE 'Discrepancy' END
    FROM balances b
    ORDER BY pg_catalog.abs(b.ledger_balance - b.account_balance) DESC, b.account_number, b.account_id;
END;

CREATE OR REPLACE  FUNCTION neobank."guard_ledger"(

) RETURNS trigger /* Triggered */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'guard_ledger_wrapper';

CREATE OR REPLACE  FUNCTION neobank."guard_accounts"(

) RETURNS trigger /* Triggered */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'guard_accounts_wrapper';

CREATE TYPE saga.saga_status AS ENUM ('started', 'running', 'completed', 'compensating', 'failed', 'parked');

COMMENT ON TYPE saga.saga_status IS
    'started (no step has begun), running, completed, compensating (what was done is being undone), failed (it has ended, and all that it did is undone), parked (somebody has to decide: see saga.parked_sagas).';

CREATE TABLE saga.definitions (
    saga_type varchar(100) NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    steps jsonb NOT NULL,
    defined_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    defined_by text NOT NULL DEFAULT CURRENT_USER,
    PRIMARY KEY (saga_type, version)
);

COMMENT ON TABLE saga.definitions IS
    'The steps of each type of saga, every version that there was: a saga keeps the one that it was started with. Written by saga.define.';

COMMENT ON COLUMN saga.definitions.version IS 'From 1, without gap, within its type; the highest is the one that is started.';

COMMENT ON COLUMN saga.definitions.steps IS
    'As given to saga.define, with every key that was left out filled in, and functions as schema and name.';

CREATE TABLE saga.sagas (
    saga_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    saga_type varchar(100) NOT NULL,
    status saga.saga_status NOT NULL DEFAULT 'started',
    current_step integer NOT NULL DEFAULT 0,
    context jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    completed_at timestamptz,
    error_message text,
    definition_version integer,
    idempotency_key varchar(200),
    started_by text NOT NULL DEFAULT CURRENT_USER,
    deadline_at timestamptz,
    due_at timestamptz,
    work_type varchar(100),
    work_at timestamptz,
    waits_for text CHECK (waits_for IN ('runner', 'worker', 'signal', 'delay', 'child', 'client', 'person')),
    error_code text,
    parked_reason text,
    past_return boolean NOT NULL DEFAULT false,
    parent_saga_id uuid,
    parent_step integer,
    transitions integer NOT NULL DEFAULT 0,
    CHECK (status NOT IN ('completed', 'failed') OR (due_at IS NULL AND work_type IS NULL AND completed_at IS NOT NULL))
) WITH (fillfactor = 70);

CREATE INDEX sagas_due_idx ON saga.sagas (due_at, saga_id) WHERE due_at IS NOT NULL;

CREATE UNIQUE INDEX sagas_idempotency_key_idx ON saga.sagas (saga_type, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

CREATE INDEX sagas_work_idx ON saga.sagas (work_type, work_at, saga_id) WHERE work_type IS NOT NULL;

CREATE INDEX sagas_open_idx ON saga.sagas (started_at) WHERE status NOT IN ('completed', 'failed');

CREATE INDEX sagas_parent_idx ON saga.sagas (parent_saga_id) WHERE parent_saga_id IS NOT NULL;

CREATE INDEX sagas_ended_idx ON saga.sagas (saga_type, completed_at)
    WHERE status IN ('completed', 'failed') AND parent_saga_id IS NULL;

COMMENT ON TABLE saga.sagas IS
    'Sagas: whoever changes one locks its row here first. Start with saga.start, or saga.create_saga where the client drives the steps itself.';

COMMENT ON COLUMN saga.sagas.current_step IS 'The step that has begun last; 0: none.';

COMMENT ON COLUMN saga.sagas.context IS 'As given at the start; it does not change. What steps answered is in saga.saga_steps.output_data.';

COMMENT ON COLUMN saga.sagas.completed_at IS 'When it ended, completed or failed.';

COMMENT ON COLUMN saga.sagas.error_message IS 'Why it is being undone, or was; the first reason stays.';

COMMENT ON COLUMN saga.sagas.error_code IS 'The SQLSTATE of that reason; null while nothing has failed for good.';

COMMENT ON COLUMN saga.sagas.definition_version IS 'Of saga.definitions; null: made by saga.create_saga, and driven by saga.execute_step.';

COMMENT ON COLUMN saga.sagas.started_by IS 'The role that started it: its functions run with the rights of this role.';

COMMENT ON COLUMN saga.sagas.deadline_at IS 'If it is not completed or past its point of no return by then, it is undone.';

COMMENT ON COLUMN saga.sagas.due_at IS 'When saga.run_ready has something to do for it; null: nothing, until somebody else acts.';

COMMENT ON COLUMN saga.sagas.work_type IS 'What saga.claim_step may hand out of it; null: nothing.';

COMMENT ON COLUMN saga.sagas.work_at IS 'From when on it may: while a worker has it, when the lease runs out.';

COMMENT ON COLUMN saga.sagas.waits_for IS 'runner (saga.run_ready), worker (of an external step), signal, delay, child, client (saga.execute_step) or person (parked); null: it has ended.';

COMMENT ON COLUMN saga.sagas.parked_reason IS 'Why somebody has to decide; null: nobody has to.';

COMMENT ON COLUMN saga.sagas.past_return IS 'The step of no return is completed: from here it goes on, or is parked.';

COMMENT ON COLUMN saga.sagas.parent_saga_id IS 'The saga whose step parent_step it is; null: none.';

COMMENT ON COLUMN saga.sagas.transitions IS 'Rows of saga.transitions about it.';

CREATE TABLE saga.saga_steps (
    step_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    saga_id uuid NOT NULL,
    step_number integer NOT NULL,
    step_name varchar(100) NOT NULL,
    status varchar(20) NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'running', 'waiting', 'completed', 'failed', 'compensated')),
    input_data jsonb,
    output_data jsonb,
    error_message text,
    started_at timestamptz,
    completed_at timestamptz,
    compensation_needed boolean NOT NULL DEFAULT false,
    compensated_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    put_off integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    timeout_at timestamptz,
    lease_token bigint,
    leased_until timestamptz,
    claimed_by text,
    error_code text,
    child_saga_id uuid,
    effect_possible boolean NOT NULL DEFAULT false,
    UNIQUE (saga_id, step_number)
) WITH (fillfactor = 50);

COMMENT ON TABLE saga.saga_steps IS 'The steps of sagas, each with its action. Their compensations are in saga.compensations.';

COMMENT ON COLUMN saga.saga_steps.step_id IS 'Also the key of its effect: the same for all attempts.';

COMMENT ON COLUMN saga.saga_steps.status IS
    'pending (not reached), running (a worker or client has it), waiting (for a worker, a signal, a time, a child, or another attempt), completed, failed (given up), compensated.';

COMMENT ON COLUMN saga.saga_steps.input_data IS
    'What saga.execute_step was given when the step began; null in a saga with a definition.';

COMMENT ON COLUMN saga.saga_steps.output_data IS 'What the action answered, the worker reported, or the signal brought.';

COMMENT ON COLUMN saga.saga_steps.compensation_needed IS
    'If the saga fails, this step is to be undone: set with its start where it has a compensation, taken back where it surely had no effect.';

COMMENT ON COLUMN saga.saga_steps.attempts IS 'How often the action was begun.';

COMMENT ON COLUMN saga.saga_steps.put_off IS 'How often a lock stood in the way since then, which counts as no attempt.';

COMMENT ON COLUMN saga.saga_steps.timeout_at IS 'No attempt begins after that, no wait lasts longer, and a function that has not ended is interrupted; null: no limit.';

COMMENT ON COLUMN saga.saga_steps.lease_token IS
    'The fencing token under which a worker has it, or had it when it answered: of two leases the later has the higher one.';

COMMENT ON COLUMN saga.saga_steps.claimed_by IS 'The worker that had it last.';

COMMENT ON COLUMN saga.saga_steps.error_code IS 'The SQLSTATE of the last attempt that failed; null after a success.';

COMMENT ON COLUMN saga.saga_steps.effect_possible IS
    'An attempt ended without an answer, so it may have had its effect; then the step is undone though it failed.';

COMMENT ON COLUMN saga.saga_steps.child_saga_id IS 'The saga that it has started and waits for.';

CREATE TABLE saga.compensations (
    compensation_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    saga_id uuid NOT NULL,
    step_number integer NOT NULL,
    status varchar(20) NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'running', 'waiting', 'completed', 'failed')),
    output_data jsonb,
    error_message text,
    started_at timestamptz,
    completed_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    put_off integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    lease_token bigint,
    leased_until timestamptz,
    claimed_by text,
    error_code text,
    UNIQUE (saga_id, step_number)
) WITH (fillfactor = 50);

COMMENT ON TABLE saga.compensations IS
    'What undoes a step: one row for each that has to be undone, made when its turn comes.';

COMMENT ON COLUMN saga.compensations.compensation_id IS 'Also the key of its effect: the same for all attempts, another than the step''s.';

COMMENT ON COLUMN saga.compensations.status IS
    'pending, running (a worker has it), waiting (for a worker or another attempt), completed, failed (attempts are used up: the saga is parked).';

CREATE SEQUENCE saga.lease_token_seq;

COMMENT ON SEQUENCE saga.lease_token_seq IS 'Fencing tokens: of two leases of a step the later has the higher one.';

CREATE TABLE saga.signals (
    signal_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    saga_id uuid NOT NULL,
    name varchar(100) NOT NULL,
    payload jsonb NOT NULL,
    received_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    sent_by text NOT NULL DEFAULT CURRENT_USER,
    consumed_by integer,
    consumed_at timestamptz
);

ALTER TABLE saga.signals ADD signal_no bigint GENERATED ALWAYS AS IDENTITY;

CREATE INDEX signals_saga_idx ON saga.signals (saga_id, name, signal_no);

COMMENT ON TABLE saga.signals IS
    'What sagas were told from outside: kept until a step waits for it, each for one step. Sent with saga.signal.';

COMMENT ON COLUMN saga.signals.consumed_by IS 'The number of the step that took it; null: none yet.';

COMMENT ON COLUMN saga.signals.signal_no IS 'Steps take signals of a name in this order.';

COMMENT ON SEQUENCE saga.signals_signal_no_seq IS 'Numbers of signals; gaps are possible.';

CREATE TABLE saga.transitions (
    saga_id uuid NOT NULL,
    transition_no integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    step_number integer,
    attempt integer,
    subject text NOT NULL CHECK (subject IN ('saga', 'step', 'compensation')),
    from_state text,
    to_state text NOT NULL,
    actor text NOT NULL,
    code text,
    message text,
    PRIMARY KEY (saga_id, transition_no),
    CHECK (from_state IS DISTINCT FROM to_state)
);

COMMENT ON TABLE saga.transitions IS
    'Everything that happened to every saga that is not pruned, append-only (NB009): each change of state of a saga, its steps and their compensations, in its order.';

COMMENT ON COLUMN saga.transitions.transition_no IS 'From 1, without gap, within its saga.';

COMMENT ON COLUMN saga.transitions.recorded_at IS 'The clock''s time when it was decided.';

COMMENT ON COLUMN saga.transitions.attempt IS 'Of a step or compensation: which attempt began or ended.';

COMMENT ON COLUMN saga.transitions.from_state IS 'Null: it begins.';

COMMENT ON COLUMN saga.transitions.actor IS 'The role that did it, or the worker under its lease.';

COMMENT ON COLUMN saga.transitions.code IS 'Why, where something failed: an SQLSTATE.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON saga.transitions
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_ledger ON saga.transitions IS 'Keeps the log append-only (NB009).';

ALTER TABLE saga.transitions ENABLE ALWAYS TRIGGER guard_ledger;

CREATE VIEW saga.running_sagas AS
SELECT s.saga_id, s.saga_type, s.definition_version, s.status, s.current_step, p.step_name, p.status AS step_status,
       p.attempts, s.waits_for, s.due_at, s.work_type, p.claimed_by, p.leased_until, p.timeout_at, s.deadline_at,
       s.started_at, pg_catalog.clock_timestamp() - s.started_at AS age, s.error_code, s.error_message,
       p.error_code AS step_error_code, p.error_message AS step_error_message, s.started_by, s.parent_saga_id
FROM saga.sagas s
LEFT JOIN saga.saga_steps p ON p.saga_id = s.saga_id AND p.step_number = s.current_step
WHERE s.status NOT IN ('completed', 'failed');

COMMENT ON VIEW saga.running_sagas IS
    'Sagas that have not ended, parked ones too: the step they are at, what they wait for (see saga.sagas), their age, why they are being undone (error_code, error_message) and what went wrong with the step last (step_error_code, step_error_message).';

CREATE VIEW saga.parked_sagas AS
SELECT s.saga_id, s.saga_type, CASE WHEN s.error_code IS NULL THEN 'forward' ELSE 'compensating' END AS direction,
       s.parked_reason, u.step_number, u.step_name, u.code AS error_code, u.message AS error_message, u.attempts,
       s.error_code AS saga_error_code, s.error_message AS saga_error_message, s.started_at,
       (SELECT max(t.recorded_at) FROM saga.transitions t
        WHERE t.saga_id = s.saga_id AND t.subject = 'saga' AND t.to_state = 'parked') AS parked_at
FROM saga.sagas s
LEFT JOIN LATERAL (
    SELECT c.step_number, p.step_name, c.error_code AS code, c.error_message AS message, c.attempts
    FROM saga.compensations c
    JOIN saga.saga_steps p ON p.saga_id = c.saga_id AND p.step_number = c.step_number
    WHERE c.saga_id = s.saga_id AND c.status = 'failed' AND s.error_code IS NOT NULL
    UNION ALL
    SELECT p.step_number, p.step_name, p.error_code, p.error_message, p.attempts
    FROM saga.saga_steps p
    WHERE p.saga_id = s.saga_id AND p.status = 'failed' AND s.error_code IS NULL
    LIMIT 1
) u ON true
WHERE s.status = 'parked';

COMMENT ON VIEW saga.parked_sagas IS
    'Sagas on which somebody has to decide: direction (forward: past the point of no return, or its outcome is not known; compensating), parked_reason, the step with its last error, and why the saga is being undone (saga_error_code, saga_error_message). See saga.retry_step, saga.retry_compensation and saga.resolve.';

CREATE VIEW saga.failed_sagas AS
SELECT s.saga_id, s.saga_type, s.definition_version, s.error_code, s.error_message, s.current_step, p.step_name,
       (SELECT count(*) FROM saga.compensations c WHERE c.saga_id = s.saga_id AND c.status = 'completed')
           AS compensated_steps,
       s.started_at, s.completed_at, s.started_by
FROM saga.sagas s
LEFT JOIN saga.saga_steps p ON p.saga_id = s.saga_id AND p.step_number = s.current_step
WHERE s.status = 'failed';

COMMENT ON VIEW saga.failed_sagas IS
    'Sagas that have ended without success, with the reason, the last step that had begun, and how many steps were undone.';

CREATE VIEW saga.stuck_sagas AS
SELECT s.saga_id, s.saga_type, s.status, s.waits_for, p.step_number, p.step_name, r.reason, r.since,
       pg_catalog.clock_timestamp() - r.since AS waiting
FROM saga.sagas s
LEFT JOIN saga.saga_steps p ON p.saga_id = s.saga_id AND p.step_number = s.current_step
CROSS JOIN LATERAL (
    SELECT 'parked: ' || s.parked_reason AS reason,
           (SELECT max(t.recorded_at) FROM saga.transitions t
            WHERE t.saga_id = s.saga_id AND t.subject = 'saga' AND t.to_state = 'parked') AS since
    WHERE s.status = 'parked'
    UNION ALL
    SELECT 'it is due, and nobody calls saga.run_ready', s.due_at
    WHERE s.due_at < pg_catalog.clock_timestamp() - interval '1 minute'
    UNION ALL
    SELECT 'no worker claims steps of type ' || s.work_type, s.work_at
    WHERE s.work_at < pg_catalog.clock_timestamp() - interval '5 minutes'
) r
WHERE s.status NOT IN ('completed', 'failed');

COMMENT ON VIEW saga.stuck_sagas IS
    'Sagas for which nobody does what is to be done: parked ones, those due for more than a minute, and those whose external step no worker has claimed for five; with the reason and since when.';

SELECT pg_catalog.pg_extension_config_dump('saga.definitions', '');

SELECT pg_catalog.pg_extension_config_dump('saga.sagas', '');

SELECT pg_catalog.pg_extension_config_dump('saga.saga_steps', '');

SELECT pg_catalog.pg_extension_config_dump('saga.compensations', '');

SELECT pg_catalog.pg_extension_config_dump('saga.signals', '');

SELECT pg_catalog.pg_extension_config_dump('saga.signals_signal_no_seq', '');

SELECT pg_catalog.pg_extension_config_dump('saga.transitions', '');

SELECT pg_catalog.pg_extension_config_dump('saga.lease_token_seq', '');

CREATE FUNCTION neobank.guard_shipped() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'row belongs to the extension'
        USING ERRCODE = 'NB023',
              DETAIL = format('%s of a shipped row of %s.%s is refused.', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME),
              HINT = 'A dump leaves such rows out. Add a row of your own, with shipped false.';
END
$$;

COMMENT ON FUNCTION neobank.guard_shipped() IS
    'Trigger: refuses with NB023 to mark a row as made by CREATE EXTENSION, which a dump would lose, and to change one that is.';

CREATE TRIGGER guard_shipped BEFORE INSERT OR UPDATE OF shipped ON banking.currencies
    FOR EACH ROW WHEN (NEW.shipped) EXECUTE FUNCTION neobank.guard_shipped();

COMMENT ON TRIGGER guard_shipped ON banking.currencies IS 'Keeps rows of users from being marked as shipped (NB023).';

CREATE TRIGGER guard_shipped BEFORE INSERT OR UPDATE OF shipped ON banking.account_types
    FOR EACH ROW WHEN (NEW.shipped) EXECUTE FUNCTION neobank.guard_shipped();

COMMENT ON TRIGGER guard_shipped ON banking.account_types IS 'Keeps rows of users from being marked as shipped (NB023).';

CREATE TRIGGER guard_shipped BEFORE INSERT OR UPDATE OF shipped ON txn_processing.dispute_policies
    FOR EACH ROW WHEN (NEW.shipped) EXECUTE FUNCTION neobank.guard_shipped();

COMMENT ON TRIGGER guard_shipped ON txn_processing.dispute_policies IS 'Keeps rows of users from being marked as shipped (NB023).';

CREATE TRIGGER keep_shipped BEFORE UPDATE OR DELETE ON txn_processing.dispute_policies
    FOR EACH ROW WHEN (OLD.shipped) EXECUTE FUNCTION neobank.guard_shipped();

COMMENT ON TRIGGER keep_shipped ON txn_processing.dispute_policies IS 'Keeps rows that CREATE EXTENSION made (NB023).';

CREATE TABLE temporal.tables (
    table_name regclass PRIMARY KEY,
    key_columns text[] NOT NULL CHECK (pg_catalog.cardinality(key_columns) BETWEEN 1 AND 32),
    key_operators text[] NOT NULL CHECK (pg_catalog.cardinality(key_operators) = pg_catalog.cardinality(key_columns)),
    base_name text NOT NULL,
    current_rows regclass NOT NULL UNIQUE,
    past_rows regclass NOT NULL UNIQUE,
    superseded_rows regclass NOT NULL UNIQUE,
    timeline regclass NOT NULL UNIQUE,
    as_of_view regclass NOT NULL UNIQUE,
    enabled_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    enabled_by text NOT NULL,
    pruned_before timestamptz,
    described text NOT NULL,
    gate bigint NOT NULL DEFAULT 0,
    as_of_schema text NOT NULL
);

COMMENT ON TABLE temporal.tables IS
    'Tables with a history on two axes. Written by temporal.enable, disable and prune and by what follows changes of the tables; a row is changed by those who may alter its table.';

COMMENT ON COLUMN temporal.tables.key_operators IS 'The equality operators of the unique index over the key.';

COMMENT ON COLUMN temporal.tables.base_name IS 'What the names of the objects of its history begin with.';

COMMENT ON COLUMN temporal.tables.pruned_before IS 'Questions about instants before it are refused (NB331).';

COMMENT ON COLUMN temporal.tables.described IS 'Name, columns, rights and policies of the table as its history follows them.';

COMMENT ON COLUMN temporal.tables.as_of_schema IS 'Where the as-of view is, or was when it was last seen.';

COMMENT ON COLUMN temporal.tables.gate IS 'Counts the facts about keys that are not in the table, so that such calls go one after the other.';

CREATE TABLE temporal.table_columns (
    table_name regclass NOT NULL,
    column_number smallint NOT NULL,
    column_name text NOT NULL,
    PRIMARY KEY (table_name, column_number)
);

COMMENT ON TABLE temporal.table_columns IS
    'Columns of tables with a history by the number that stays when they are renamed. Written by temporal.enable and by what follows changes of the tables.';

ALTER TABLE temporal.tables ENABLE ROW LEVEL SECURITY;

CREATE POLICY read ON temporal.tables FOR SELECT USING (true);

CREATE POLICY of_owner ON temporal.tables USING (
    pg_catalog.pg_has_role((SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = table_name), 'USAGE'));

COMMENT ON POLICY read ON temporal.tables IS 'Everybody who reads the table sees all of it.';

COMMENT ON POLICY of_owner ON temporal.tables IS 'A row is written by those who own its table.';

ALTER TABLE temporal.table_columns ENABLE ROW LEVEL SECURITY;

CREATE POLICY read ON temporal.table_columns FOR SELECT USING (true);

CREATE POLICY of_owner ON temporal.table_columns USING (
    pg_catalog.pg_has_role((SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = table_name), 'USAGE'));

COMMENT ON POLICY read ON temporal.table_columns IS 'Everybody who reads the table sees all of it.';

COMMENT ON POLICY of_owner ON temporal.table_columns IS 'A row is written by those who own its table.';

SELECT pg_catalog.pg_extension_config_dump('temporal.tables', '');

CREATE FUNCTION temporal.enabled_table(p_table regclass) RETURNS temporal.tables
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_table temporal.tables;
BEGIN
    IF p_table IS NULL THEN
        RAISE EXCEPTION 'argument "p_table" must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    SELECT t.* INTO found_table FROM temporal.tables t WHERE t.table_name = p_table;
    IF found_table.table_name IS NULL THEN
        RAISE EXCEPTION 'table has no history'
            USING ERRCODE = 'NB320', DETAIL = format('Table %s is not in temporal.tables.', p_table),
                  HINT = 'Give it one with temporal.enable.';
    END IF;
    RETURN found_table;
END
$$;

COMMENT ON FUNCTION temporal.enabled_table(regclass) IS
    'The row of temporal.tables of a table. NB320: it has no history; 22004: null.';

CREATE FUNCTION temporal.given(p_of temporal.tables) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_of.table_name IS NULL OR p_of.key_columns IS NULL THEN
        RAISE EXCEPTION 'argument "p_of" must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a row of temporal.tables, as temporal.enabled_table answers it.';
    END IF;
END
$$;

COMMENT ON FUNCTION temporal.given(temporal.tables) IS 'Refuses a row of temporal.tables that is null (22004). Called by the functions that write statements from one.';

CREATE FUNCTION temporal.column_list(p_table regclass, p_prefix text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.string_agg(pg_catalog.format('%s%I', p_prefix, a.attname), ', ' ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = p_table AND a.attnum > 0 AND NOT a.attisdropped;
END;

COMMENT ON FUNCTION temporal.column_list(regclass, text) IS
    'The columns of a table in their order, quoted, each behind the prefix, parted by commas: a part of statements about it.';

CREATE FUNCTION temporal.key_match(p_of temporal.tables, p_left text, p_right text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.string_agg(
        pg_catalog.format('%s.%I %s %s.%I', p_left, k.name, k.operator, p_right, k.name), ' AND ' ORDER BY k.n)
    FROM ROWS FROM (pg_catalog.unnest((p_of).key_columns), pg_catalog.unnest((p_of).key_operators))
        WITH ORDINALITY AS k (name, operator, n);
END;

COMMENT ON FUNCTION temporal.key_match(temporal.tables, text, text) IS
    'The condition that two aliases have the same key: a part of statements about a table with a history.';

CREATE FUNCTION temporal.base_type(p_type oid) RETURNS oid
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE kinds (type) AS (
        SELECT p_type
        UNION ALL
        SELECT t.typbasetype FROM kinds k JOIN pg_catalog.pg_type t ON t.oid = k.type AND t.typtype = 'd')
    SELECT t.oid FROM kinds k JOIN pg_catalog.pg_type t ON t.oid = k.type AND t.typtype <> 'd';
END;

COMMENT ON FUNCTION temporal.base_type(oid) IS 'What a domain is over, through domains over domains; any other type itself.';

CREATE FUNCTION temporal.key_value(p_of temporal.tables, p_name text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE
        WHEN t.oid = 'pg_catalog.jsonb'::regtype THEN pg_catalog.format('($1 -> %L)', p_name)
        WHEN t.typtype = 'c' OR t.typcategory = 'A' THEN
            pg_catalog.format('(SELECT x.%1$I FROM pg_catalog.jsonb_to_record($1) x (%1$I %2$s))', p_name, pg_catalog.format_type(t.oid, -1))
        ELSE pg_catalog.format('($1 ->> %L)::%s', p_name, pg_catalog.format_type(t.oid, -1)) END
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.oid = temporal.base_type(a.atttypid)
    WHERE a.attrelid = (p_of).current_rows AND a.attname = p_name;
END;

COMMENT ON FUNCTION temporal.key_value(temporal.tables, text) IS
    'The expression for a column of the key in the object that is the statement''s first parameter: a part of statements about a table with a history.';

CREATE FUNCTION temporal.key_condition(p_of temporal.tables, p_alias text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.string_agg(
        pg_catalog.format('%s.%I %s %s', p_alias, k.name, k.operator, temporal.key_value(p_of, k.name)), ' AND ' ORDER BY k.n)
    FROM ROWS FROM (pg_catalog.unnest((p_of).key_columns), pg_catalog.unnest((p_of).key_operators))
        WITH ORDINALITY AS k (name, operator, n);
END;

COMMENT ON FUNCTION temporal.key_condition(temporal.tables, text) IS
    'The condition that an alias has the key of the object that is the statement''s first parameter: a part of statements about a table with a history.';

CREATE FUNCTION temporal.key_object(p_of temporal.tables, p_alias text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.format('pg_catalog.jsonb_build_object(%s)', pg_catalog.string_agg(
        pg_catalog.format('%L, %s.%I%s', k.name, p_alias, k.name,
                          CASE WHEN t.oid >= 16384 OR t.typcategory = 'A' THEN '::pg_catalog.text' END), ', ' ORDER BY k.n))
    FROM pg_catalog.unnest((p_of).key_columns) WITH ORDINALITY AS k (name, n)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = (p_of).current_rows AND a.attname = k.name
    JOIN pg_catalog.pg_type t ON t.oid = temporal.base_type(a.atttypid);
END;

COMMENT ON FUNCTION temporal.key_object(temporal.tables, text) IS
    'The key of an alias as an object, in which arrays and types that are not the server''s own are text: JSON would lose bounds of arrays, and may have forms of a type that its input does not read. A part of statements about a table with a history.';

CREATE FUNCTION temporal.describe(p_table regclass) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO, YMD'
SET timezone = 'UTC'
SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1
SET bytea_output = 'hex'
BEGIN ATOMIC
    SELECT pg_catalog.md5(pg_catalog.concat_ws(E'\n', n.nspname, c.relname, c.relowner::regrole, c.relacl, c.relrowsecurity,
        c.relforcerowsecurity, c.relispartition,
        EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)),
        (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attname,
                pg_catalog.format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation, a.attacl), E'\n' ORDER BY a.attnum)
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
        (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', p.polname, p.polcmd, p.polpermissive, p.polroles,
                pg_catalog.pg_get_expr(p.polqual, p.polrelid)), E'\n' ORDER BY p.polname)
         FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid)))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = p_table;
END;

COMMENT ON FUNCTION temporal.describe(regclass) IS
    'A digest of what a history follows of its table: name, owner, inheritance, columns, rights, policies. Null: there is no such table.';

CREATE FUNCTION temporal.guard_history() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('neobank.history_guard', true) = 'off' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'history is written by its table'
        USING ERRCODE = 'NB328', DETAIL = format('%s of %I.%I was tried.', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME),
              HINT = 'Change the table, or correct the past with temporal.update_portion, delete_portion or insert_portion.';
END
$$;

COMMENT ON FUNCTION temporal.guard_history() IS
    'Trigger function of tables of histories: refuses what does not come from the table or from this schema''s functions (NB328). A session of the owner that has to repair something sets neobank.history_guard to off.';

CREATE FUNCTION temporal.record_body(p_of temporal.tables) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    body CONSTANT text := $body$
#variable_conflict use_variable
DECLARE
    began CONSTANT timestamptz := now();
    me CONSTANT xid8 := pg_current_xact_id();
    who CONSTANT text := coalesce(nullif(current_setting('role'), 'none'), session_user);
    tick CONSTANT interval := '1 microsecond';
    left_over bigint;
    entry record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
            -- What others have said about keys that were not in the table would not be seen.
            PERFORM FROM temporal.tables t WHERE t.table_name = TG_RELID FOR SHARE;
            PERFORM temporal.check_snapshot(TG_RELID, k.key) FROM (SELECT DISTINCT {n.key} AS key FROM new_rows n) k;
        END IF;
        WITH added AS (
            INSERT INTO {current} AS c ({columns}, history_valid_from, history_known_from, history_by, history_transaction)
            SELECT {t.columns}, began, began, who, me
            FROM new_rows n JOIN {table} t ON {n=t}
            WHERE NOT EXISTS (SELECT FROM {current} c WHERE {t=c})
              AND NOT EXISTS (SELECT FROM {past} p WHERE {t=p} AND p.history_valid_to > began)
              AND NOT EXISTS (SELECT FROM {superseded} s WHERE {t=s} AND s.history_known_to > began)
            RETURNING 1)
        SELECT (SELECT count(*) FROM new_rows) - (SELECT count(*) FROM added) INTO left_over;
        IF left_over > 0 THEN
            FOR entry IN
                SELECT DISTINCT {n.key} AS key FROM new_rows n
                WHERE NOT EXISTS (
                    SELECT FROM {table} t JOIN {current} c ON {t=c}
                    WHERE {n=t} AND record_image_eq(ROW({t.columns}), ROW({c.columns}))
                      AND c.history_valid_from <= clock_timestamp())
            LOOP
                PERFORM temporal.settle(TG_RELID, entry.key, NULL, who);
            END LOOP;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
            PERFORM temporal.check_snapshot(TG_RELID, {k.key})
            FROM (SELECT {n.keys} FROM new_rows n EXCEPT SELECT {o.keys} FROM old_rows o) k;
        END IF;
        WITH touched AS MATERIALIZED (
            SELECT c.ctid AS history_place, c.history_transaction = me AND c.history_known_from >= began AS history_mine,
                   greatest(began, c.history_known_from + tick) AS history_instant, {t.columns}
            FROM new_rows n JOIN {table} t ON {n=t} JOIN {current} c ON {t=c}
            WHERE record_image_ne(ROW({t.columns}), ROW({c.columns}))
              AND CASE WHEN c.history_transaction = me AND c.history_known_from >= began
                       THEN c.history_valid_from = c.history_known_from
                       ELSE c.history_valid_from <= c.history_known_from
                            AND c.history_valid_from < greatest(began, c.history_known_from + tick) END
        ), ended AS (
            INSERT INTO {past} ({columns}, history_valid_from, history_valid_to, history_known_from, history_ended_live,
                                history_by, history_transaction, history_closed_by, history_closed_transaction)
            SELECT {c.columns}, c.history_valid_from, x.history_instant, c.history_known_from, true,
                   c.history_by, c.history_transaction, who, me
            FROM touched x JOIN {current} c ON c.ctid = x.history_place
            WHERE NOT x.history_mine
        ), renewed AS (
            UPDATE {current} c
            SET ({columns}, history_valid_from, history_known_from, history_by, history_transaction) =
                ROW({x.columns}, CASE WHEN x.history_mine THEN c.history_valid_from ELSE x.history_instant END,
                    CASE WHEN x.history_mine THEN c.history_known_from ELSE x.history_instant END, who, me)
            FROM touched x
            WHERE c.ctid = x.history_place
            RETURNING 1)
        SELECT (SELECT count(*) FROM new_rows) - (SELECT count(*) FROM renewed) INTO left_over;
        IF left_over > 0 THEN
            FOR entry IN
                SELECT {k.key} AS key, (SELECT to_jsonb(ROW({o.columns})::text) FROM old_rows o WHERE {o=k} LIMIT 1) AS old_row
                FROM (SELECT {o.keys} FROM old_rows o UNION SELECT {n.keys} FROM new_rows n) k
                WHERE NOT EXISTS (
                    SELECT FROM {table} t JOIN {current} c ON {t=c}
                    WHERE {t=k} AND record_image_eq(ROW({t.columns}), ROW({c.columns}))
                      AND c.history_valid_from <= clock_timestamp())
            LOOP
                PERFORM temporal.settle(TG_RELID, entry.key, entry.old_row, who);
            END LOOP;
        END IF;
    ELSIF TG_OP = 'DELETE' THEN
        WITH gone AS (
            DELETE FROM {current} c USING old_rows o
            WHERE {o=c} AND NOT EXISTS (SELECT FROM {table} t WHERE {t=o})
              AND NOT (c.history_transaction = me AND c.history_known_from >= began)
              AND c.history_valid_from <= c.history_known_from
              AND c.history_valid_from < greatest(began, c.history_known_from + tick)
            RETURNING c.*
        ), ended AS (
            INSERT INTO {past} ({columns}, history_valid_from, history_valid_to, history_known_from, history_ended_live,
                                history_by, history_transaction, history_closed_by, history_closed_transaction)
            SELECT {g.columns}, g.history_valid_from, greatest(began, g.history_known_from + tick), g.history_known_from, true,
                   g.history_by, g.history_transaction, who, me
            FROM gone g
            RETURNING 1)
        SELECT (SELECT count(*) FROM old_rows) - (SELECT count(*) FROM ended) INTO left_over;
        IF left_over > 0 THEN
            FOR entry IN
                SELECT DISTINCT {o.key} AS key FROM old_rows o
                WHERE EXISTS (SELECT FROM {current} c WHERE {o=c})
                   OR EXISTS (SELECT FROM {past} p WHERE {o=p} AND p.history_valid_to > began)
            LOOP
                PERFORM temporal.settle(TG_RELID, entry.key, NULL, who);
            END LOOP;
        END IF;
    ELSE
        WITH gone AS (
            DELETE FROM {current} c
            WHERE NOT (c.history_transaction = me AND c.history_known_from >= began)
              AND c.history_valid_from <= c.history_known_from
              AND c.history_valid_from < greatest(began, c.history_known_from + tick)
            RETURNING c.*)
        INSERT INTO {past} ({columns}, history_valid_from, history_valid_to, history_known_from, history_ended_live,
                            history_by, history_transaction, history_closed_by, history_closed_transaction)
        SELECT {g.columns}, g.history_valid_from, greatest(began, g.history_known_from + tick), g.history_known_from, true,
               g.history_by, g.history_transaction, who, me
        FROM gone g;
        FOR entry IN
            SELECT {c.key} AS key FROM {current} c
            UNION SELECT {p.key} FROM {past} p WHERE p.history_valid_to > clock_timestamp()
        LOOP
            PERFORM temporal.settle(TG_RELID, entry.key, NULL, who);
        END LOOP;
    END IF;
    RETURN NULL;
END
$body$;
BEGIN
    PERFORM temporal.given(p_of);
    -- At once, as the names may have braces in them too.
    RETURN (
        SELECT string_agg(CASE
            WHEN x.n % 2 = 1 THEN x.part
            WHEN x.part = 'table' THEN p_of.table_name::text
            WHEN x.part = 'current' THEN p_of.current_rows::text
            WHEN x.part = 'past' THEN p_of.past_rows::text
            WHEN x.part = 'superseded' THEN p_of.superseded_rows::text
            WHEN x.part = 'columns' THEN temporal.column_list(p_of.table_name, '')
            WHEN x.part LIKE '_.columns' THEN temporal.column_list(p_of.table_name, left(x.part, 2))
            WHEN x.part LIKE '_.key' THEN temporal.key_object(p_of, left(x.part, 1))
            WHEN x.part LIKE '_.keys' THEN (SELECT string_agg(format('%s.%I', left(x.part, 1), k), ', ') FROM unnest(p_of.key_columns) k)
            ELSE temporal.key_match(p_of, left(x.part, 1), right(x.part, 1)) END, '' ORDER BY x.n)
        FROM unnest(regexp_split_to_array(body, '[{}]')) WITH ORDINALITY AS x (part, n));
END
$$;

COMMENT ON FUNCTION temporal.record_body(temporal.tables) IS
    'The text of the function that records what statements do to a table. Its usual ways write one row more for each row of the statement; what they leave over goes through temporal.settle, key by key.';

CREATE FUNCTION temporal.make_functions(p_of temporal.tables) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO, YMD'
SET timezone = 'UTC'
SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1
SET bytea_output = 'hex'
AS $$
DECLARE
    home CONSTANT text := (SELECT c.relnamespace::regnamespace::text FROM pg_class c WHERE c.oid = p_of.current_rows);
    owner CONSTANT text := (SELECT c.relowner::regrole::text FROM pg_class c WHERE c.oid = p_of.table_name);
    record_name CONSTANT text := format('%s.%I', home, p_of.base_name || '_record');
    instant_name CONSTANT text := format('%s.%I', home, p_of.base_name || '_instant');
BEGIN
    PERFORM temporal.given(p_of);
    -- Keys go through text: so each must read as what it was, whatever the session has set.
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
         SET search_path = pg_catalog, pg_temp SET row_security = on SET extra_float_digits = 1 SET DateStyle = ''ISO, YMD''
         SET IntervalStyle = ''iso_8601'' AS %L', record_name, temporal.record_body(p_of));
    -- Names nothing of the extension, so that the past can be read when that is dropped. A view asks for an instant in
    -- several places, of which some are come to long after others: so now is the same for all of a statement, or, where
    -- all its statements see one snapshot, of a transaction. What a procedure writes after a commit within it began later.
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION %s(axis text) RETURNS timestamptz LANGUAGE plpgsql STABLE PARALLEL SAFE
         SET search_path = pg_catalog, pg_temp AS %L', instant_name, format($body$
DECLARE
    given CONSTANT text := nullif(current_setting('neobank.' || axis, true), '');
    instant CONSTANT timestamptz := coalesce(
        given::timestamptz,
        CASE WHEN axis <> 'as_of' THEN 'infinity' WHEN current_setting('transaction_isolation') LIKE 'read %%'
             THEN greatest(now(), statement_timestamp()) ELSE now() END);
BEGIN
    IF instant < %L::timestamptz THEN
        RAISE EXCEPTION 'history of the time is pruned'
            USING ERRCODE = 'NB331', DETAIL = format('The history of %%s was asked at %%s, and is kept from %%s on.', %L, instant, %L::timestamptz),
                  HINT = 'Ask about a later instant.';
    END IF;
    RETURN instant;
END
$body$, coalesce(p_of.pruned_before, '-infinity'), p_of.table_name, coalesce(p_of.pruned_before, '-infinity')));
    EXECUTE format('ALTER FUNCTION %s() OWNER TO %s', record_name, owner);
    EXECUTE format('ALTER FUNCTION %s(text) OWNER TO %s', instant_name, owner);
    EXECUTE format('REVOKE ALL ON FUNCTION %s() FROM PUBLIC', record_name);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s(text) TO PUBLIC', instant_name);
    EXECUTE format('COMMENT ON FUNCTION %s() IS %L', record_name,
                   format('Records what statements do to %s. Made by temporal.enable, and anew when the table is altered.', p_of.table_name));
    EXECUTE format('COMMENT ON FUNCTION %s(text) IS %L', instant_name,
                   format('The instant of neobank.as_of or neobank.known_at, whichever axis says, for %s. NB331: before what its history is kept from.', p_of.table_name));
END
$$;

COMMENT ON FUNCTION temporal.make_functions(temporal.tables) IS
    'Makes the functions of a table''s history, or makes them anew. Called by temporal.enable, follow and prune.';

CREATE FUNCTION temporal.as_of_query(p_of temporal.tables, p_valid_at text, p_known_at text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.format(
        'SELECT %1$s FROM (
            SELECT %2$s, 1 AS history_part, c.history_valid_from, NULL::timestamptz AS history_valid_to, c.history_known_from,
                   NULL::timestamptz AS history_known_to, NULL::boolean AS history_ended_live FROM %3$s c
            UNION ALL
            SELECT %2$s, 2, c.history_valid_from, c.history_valid_to, c.history_known_from, NULL, c.history_ended_live FROM %4$s c
            UNION ALL
            SELECT %2$s, 3, c.history_valid_from, c.history_valid_to, c.history_known_from, c.history_known_to, c.history_ended_live FROM %5$s c) x
         WHERE x.history_valid_from <= %6$s AND x.history_known_from <= %7$s
            AND (x.history_part = 1 OR x.history_valid_to > %6$s OR x.history_ended_live AND x.history_valid_to > %7$s)
            AND (x.history_part < 3 OR %7$s < ''infinity'') AND (x.history_part < 3 OR x.history_known_to > %7$s)',
        temporal.column_list((p_of).table_name, 'x.'), temporal.column_list((p_of).table_name, 'c.'), (p_of).current_rows,
        (p_of).past_rows, (p_of).superseded_rows, p_valid_at, p_known_at);
END;

COMMENT ON FUNCTION temporal.as_of_query(temporal.tables, text, text) IS
    'The query for the rows of a table that were true at one instant as known at another; both are expressions.';

CREATE FUNCTION temporal.timeline_query(p_of temporal.tables) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- A column of the table keeps its name, and the history's gets a longer one.
    names CONSTANT text := (
        SELECT string_agg(format(', %s AS %I', x.expression, CASE WHEN EXISTS (
                   SELECT FROM pg_attribute a WHERE a.attrelid = p_of.table_name AND a.attname = x.name AND NOT a.attisdropped)
               THEN 'history_' || x.name ELSE x.name END), '' ORDER BY x.n)
        FROM (VALUES (1, 'valid_from', '%1$s'), (2, 'valid_to', '%2$s'), (3, 'known_from', 'c.history_known_from'),
                     (4, 'known_to', '%3$s'), (5, 'recorded_by', 'c.history_by'),
                     (6, 'transaction_id', 'c.history_transaction'), (7, 'closed_by', '%4$s'),
                     (8, 'closed_transaction_id', '%5$s')) x (n, name, expression));
    columns CONSTANT text := replace(temporal.column_list(p_of.table_name, 'c.'), '%', '%%');
    branch CONSTANT text := 'SELECT ' || columns || names || ' FROM %6$s c';
    closed CONSTANT text[] := ARRAY['c.history_closed_by', 'c.history_closed_transaction'];
    forever CONSTANT text := '''infinity''::timestamptz';
BEGIN
    PERFORM temporal.given(p_of);
    RETURN format(branch, 'c.history_valid_from', forever, forever, 'NULL::text', 'NULL::xid8', p_of.current_rows)
        || ' UNION ALL ' || format(branch, 'c.history_valid_from', 'c.history_valid_to', forever, closed[1], closed[2], p_of.past_rows)
        || ' UNION ALL ' || format(branch, 'c.history_valid_to', forever, 'c.history_valid_to', closed[1], closed[2], p_of.past_rows)
        || ' WHERE c.history_ended_live'
        || ' UNION ALL ' || format(branch, 'c.history_valid_from', 'c.history_valid_to', 'c.history_known_to', closed[1], closed[2], p_of.superseded_rows)
        || ' UNION ALL ' || format(branch, 'c.history_valid_to', forever, 'least(c.history_valid_to, c.history_known_to)', closed[1], closed[2], p_of.superseded_rows)
        || ' WHERE c.history_ended_live';
END
$$;

COMMENT ON FUNCTION temporal.timeline_query(temporal.tables) IS
    'The query for all that a table''s history says, a rectangle of valid and known time in each row.';

CREATE FUNCTION temporal.make_views(p_of temporal.tables, p_timeline text, p_as_of text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    home CONSTANT text := (SELECT c.relnamespace::regnamespace::text FROM pg_class c WHERE c.oid = p_of.current_rows);
    owner CONSTANT text := (SELECT c.relowner::regrole::text FROM pg_class c WHERE c.oid = p_of.table_name);
    instant CONSTANT text := '(SELECT ' || replace(format('%s.%I', home, p_of.base_name || '_instant'), '%', '%%') || '(%L))';
BEGIN
    PERFORM temporal.given(p_of);
    EXECUTE format('CREATE VIEW %s WITH (security_invoker = true) AS %s', p_timeline, temporal.timeline_query(p_of));
    EXECUTE format('CREATE VIEW %s WITH (security_invoker = true) AS %s', p_as_of,
                   temporal.as_of_query(p_of, format(instant, 'as_of'), format(instant, 'known_at')));
    EXECUTE format('ALTER VIEW %s OWNER TO %s', p_timeline, owner);
    EXECUTE format('ALTER VIEW %s OWNER TO %s', p_as_of, owner);
    EXECUTE format('COMMENT ON VIEW %s IS %L', p_timeline,
                   format('All that was ever true or believed of %s, from valid_from to valid_to, as known from known_from to known_to.', p_of.table_name));
    EXECUTE format('COMMENT ON VIEW %s IS %L', p_as_of,
                   format('%s as it was at neobank.as_of (unset: now), as known at neobank.known_at (unset: today''s knowledge).', p_of.table_name));
END
$$;

COMMENT ON FUNCTION temporal.make_views(temporal.tables, text, text) IS
    'Makes the views of a table''s history under these names. Called by temporal.enable and follow.';

CREATE FUNCTION temporal.instant(p_of temporal.tables, p_key jsonb, p_from timestamptz, p_to timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    instant timestamptz;
BEGIN
    PERFORM temporal.given(p_of);
    EXECUTE format(
        'SELECT greatest(now(),
            (SELECT max(CASE WHEN c.history_transaction = pg_current_xact_id() AND c.history_known_from >= now()
                        THEN c.history_known_from ELSE c.history_known_from + interval ''1 microsecond'' END)
             FROM %1$s c WHERE %4$s AND c.history_valid_from < $3),
            (SELECT max(CASE WHEN p.history_transaction = pg_current_xact_id() AND p.history_known_from >= now()
                        THEN p.history_known_from ELSE p.history_known_from + interval ''1 microsecond'' END)
             FROM %2$s p WHERE %5$s AND p.history_valid_to > $2 AND p.history_valid_from < $3),
            (SELECT max(p.history_valid_to) FROM %2$s p WHERE %5$s AND p.history_valid_to > now() AND p.history_ended_live),
            (SELECT max(s.history_known_to) FROM %3$s s WHERE %6$s AND s.history_known_to > now()))',
        p_of.current_rows, p_of.past_rows, p_of.superseded_rows, temporal.key_condition(p_of, 'c'),
        temporal.key_condition(p_of, 'p'), temporal.key_condition(p_of, 's'))
    INTO instant USING p_key, coalesce(p_from, now()), p_to;
    RETURN instant;
END
$$;

COMMENT ON FUNCTION temporal.instant(temporal.tables, jsonb, timestamptz, timestamptz) IS
    'When a change of a key''s period is known from: the transaction''s start, or, where a transaction that began later was first, a microsecond after what it recorded. So no period is ever empty or inverted.';

CREATE FUNCTION temporal.new_values(p_of temporal.tables, p_source text, p_changes jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.string_agg(pg_catalog.format('%s.%I', CASE
               WHEN p_source = 'table' OR p_changes ? a.attname::text THEN 'x' ELSE 'r' END, a.attname), ', ' ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = (p_of).table_name AND a.attnum > 0 AND NOT a.attisdropped;
END;

COMMENT ON FUNCTION temporal.new_values(temporal.tables, text, jsonb) IS
    'The columns of a changed row: those of the change from alias x, the others from alias r.';

CREATE FUNCTION temporal.given_values(p_of temporal.tables, p_parameter text, p_values jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.format('pg_catalog.jsonb_to_record(%s) x (%s)', p_parameter, pg_catalog.string_agg(
        pg_catalog.concat(pg_catalog.quote_ident(a.attname), ' ', pg_catalog.format_type(a.atttypid, a.atttypmod),
                          CASE WHEN a.attcollation <> 0 THEN ' COLLATE ' || a.attcollation::regcollation END), ', ' ORDER BY a.attnum))
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = (p_of).table_name AND a.attnum > 0 AND NOT a.attisdropped AND p_values ? a.attname::text;
END;

COMMENT ON FUNCTION temporal.given_values(temporal.tables, text, jsonb) IS
    'The columns that an object of values has, of the table''s types, as a row of alias x; p_parameter: the statement''s parameter that is the object.';

CREATE FUNCTION temporal.with_generated(p_of temporal.tables) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.string_agg(CASE WHEN a.attgenerated = '' THEN pg_catalog.format('m.%I', a.attname)
               ELSE pg_catalog.format('(%s)', pg_catalog.pg_get_expr(d.adbin, d.adrelid)) END, ', ' ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = (p_of).table_name AND a.attnum > 0 AND NOT a.attisdropped;
END;

COMMENT ON FUNCTION temporal.with_generated(temporal.tables) IS
    'The columns of a row of alias m, those that are generated worked out anew.';

CREATE FUNCTION temporal.rewrite(
    p_of temporal.tables, p_key jsonb, p_from timestamptz, p_to timestamptz, p_instant timestamptz, p_source text, p_changes jsonb, p_who text
) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    columns CONSTANT text := temporal.column_list(p_of.table_name, '');
    old_columns CONSTANT text := temporal.column_list(p_of.table_name, 'r.');
    source CONSTANT text := CASE p_source
        WHEN 'table' THEN format(' JOIN %s x ON %s', p_of.table_name, temporal.key_match(p_of, 'x', 'r'))
        ELSE ' CROSS JOIN ' || temporal.given_values(p_of, '$7', p_changes) END;
    into_past CONSTANT text := format('INSERT INTO %s (%s, history_valid_from, history_valid_to, history_known_from, history_ended_live,
        history_by, history_transaction, history_closed_by, history_closed_transaction)', p_of.past_rows, columns);
    into_current CONSTANT text := format('INSERT INTO %s (%s, history_valid_from, history_known_from, history_by, history_transaction)',
                                         p_of.current_rows, columns);
    changing text;
    piece record;
    pieces bigint := 0;
BEGIN
    PERFORM temporal.given(p_of);
    changing := CASE WHEN p_source = 'none' THEN '' ELSE
        format(', m AS (SELECT %1$s, greatest(r.history_valid_from, $3) AS history_valid_from, least(r.history_end, $4) AS history_valid_to FROM r%2$s),
            changed AS (%3$s SELECT %5$s, m.history_valid_from, m.history_valid_to, $5, false, $8, pg_current_xact_id(), $8, pg_current_xact_id()
                FROM m WHERE m.history_valid_to < ''infinity''),
            changed_open AS (%4$s SELECT %5$s, m.history_valid_from, $5, $8, pg_current_xact_id() FROM m WHERE m.history_valid_to = ''infinity'')',
            temporal.new_values(p_of, p_source, p_changes), source, into_past, into_current, temporal.with_generated(p_of)) END;
    FOR piece IN EXECUTE format(
        'SELECT c.ctid AS place, true AS is_open, c.history_transaction = pg_current_xact_id() AND c.history_known_from >= now() AS is_mine
         FROM %1$s c WHERE %3$s AND c.history_valid_from < $3
         UNION ALL
         SELECT p.ctid, false, p.history_transaction = pg_current_xact_id() AND p.history_known_from >= now()
         FROM %2$s p WHERE %4$s AND p.history_valid_to > $2 AND p.history_valid_from < $3',
        p_of.current_rows, p_of.past_rows, temporal.key_condition(p_of, 'c'), temporal.key_condition(p_of, 'p'))
        USING p_key, p_from, p_to
    LOOP
        EXECUTE format('WITH r AS (DELETE FROM %6$s c WHERE c.ctid = $2 RETURNING c.*, %7$s),
            believed AS (INSERT INTO %1$s (%2$s, history_valid_from, history_valid_to, history_known_from, history_known_to, history_ended_live,
                    history_by, history_transaction, history_closed_by, history_closed_transaction)
                SELECT %3$s, r.history_valid_from, r.history_end, r.history_known_from, $5, r.history_live, r.history_by, r.history_transaction,
                    $8, pg_current_xact_id()
                FROM r WHERE NOT $6),
            before AS (%4$s SELECT %3$s, r.history_valid_from, $3, $5, false, $8, pg_current_xact_id(), $8, pg_current_xact_id()
                FROM r WHERE r.history_valid_from < $3),
            after AS (%4$s SELECT %3$s, $4, r.history_end, $5, false, $8, pg_current_xact_id(), $8, pg_current_xact_id()
                FROM r WHERE $4 < r.history_end AND r.history_end < ''infinity''),
            after_open AS (%5$s SELECT %3$s, $4, $5, $8, pg_current_xact_id() FROM r WHERE $4 < r.history_end AND r.history_end = ''infinity'')
            %8$s
            SELECT count(*), ($1, $7) IS NULL FROM r',
            p_of.superseded_rows, columns, old_columns, into_past, into_current,
            CASE WHEN piece.is_open THEN p_of.current_rows ELSE p_of.past_rows END,
            CASE WHEN piece.is_open THEN '''infinity''::timestamptz AS history_end, false AS history_live'
                 ELSE 'c.history_valid_to AS history_end, c.history_ended_live AS history_live' END, changing)
        USING p_key, piece.place, p_from, p_to, p_instant, piece.is_mine, p_changes, p_who;
        pieces := pieces + 1;
    END LOOP;
    RETURN pieces;
END
$$;

COMMENT ON FUNCTION temporal.rewrite(temporal.tables, jsonb, timestamptz, timestamptz, timestamptz, text, jsonb, text) IS
    'What is believed of a key from p_from to p_to is superseded at p_instant: p_source none: by nothing, changes: by the same with p_changes, table: by the table''s row. What lies outside is believed on. Returns the number of periods.';

CREATE FUNCTION temporal.add_fact(
    p_of temporal.tables, p_key jsonb, p_from timestamptz, p_to timestamptz, p_instant timestamptz, p_source text, p_values jsonb, p_who text
) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    taken text;
    source CONSTANT text := CASE p_source
        WHEN 'table' THEN format('%s m WHERE %s', p_of.table_name, temporal.key_condition(p_of, 'm'))
        ELSE format('(SELECT %s FROM %s) m', (
            SELECT string_agg(CASE WHEN p_values ? a.attname::text THEN format('x.%I', a.attname)
                              ELSE format('NULL::%s AS %I', format_type(a.atttypid, a.atttypmod), a.attname) END, ', ' ORDER BY a.attnum)
            FROM pg_attribute a
            WHERE a.attrelid = p_of.table_name AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''),
            temporal.given_values(p_of, '$6', p_values)) END;
BEGIN
    PERFORM temporal.given(p_of);
    EXECUTE format(
        'SELECT format(''from %%s to %%s'', x.a, x.z) FROM (
            SELECT c.history_valid_from AS a, ''infinity''::timestamptz AS z FROM %1$s c WHERE %3$s AND c.history_valid_from < $3
            UNION ALL SELECT p.history_valid_from, p.history_valid_to FROM %2$s p
            WHERE %4$s AND p.history_valid_to > $2 AND p.history_valid_from < $3) x ORDER BY x.a LIMIT 1',
        p_of.current_rows, p_of.past_rows, temporal.key_condition(p_of, 'c'), temporal.key_condition(p_of, 'p'))
    INTO taken USING p_key, p_from, p_to;
    IF taken IS NOT NULL THEN
        RAISE EXCEPTION 'period overlaps another one of its key'
            USING ERRCODE = 'NB325', DETAIL = format('Key %s of %s has a row %s.', left(p_key::text, 200), p_of.table_name, taken),
                  HINT = 'Change the row with temporal.update_portion, or delete that portion first.';
    END IF;
    IF p_to = 'infinity' THEN
        EXECUTE format('INSERT INTO %s (%s, history_valid_from, history_known_from, history_by, history_transaction)
                        SELECT %s, $2, $4, $5, pg_current_xact_id() FROM %s', p_of.current_rows,
                       temporal.column_list(p_of.table_name, ''), temporal.with_generated(p_of), source)
        USING p_key, p_from, p_to, p_instant, p_who, p_values;
    ELSE
        EXECUTE format('INSERT INTO %s (%s, history_valid_from, history_valid_to, history_known_from, history_ended_live, history_by,
                            history_transaction, history_closed_by, history_closed_transaction)
                        SELECT %s, $2, $3, $4, false, $5, pg_current_xact_id(), $5, pg_current_xact_id() FROM %s', p_of.past_rows,
                       temporal.column_list(p_of.table_name, ''), temporal.with_generated(p_of), source)
        USING p_key, p_from, p_to, p_instant, p_who, p_values;
    END IF;
END
$$;

COMMENT ON FUNCTION temporal.add_fact(temporal.tables, jsonb, timestamptz, timestamptz, timestamptz, text, jsonb, text) IS
    'A row of a key is true from p_from to p_to, known from p_instant. p_source: table: the table''s row, changes: p_values. NB325: there is one in that time.';

CREATE FUNCTION temporal.believed(p_of temporal.tables, p_key jsonb, p_at timestamptz,
    OUT in_table boolean, OUT is_believed boolean, OUT is_same boolean, OUT valid_from timestamptz, OUT valid_to timestamptz,
    OUT is_mine boolean, OUT believed_row jsonb)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM temporal.given(p_of);
    EXECUTE format(
        'SELECT t.history_there IS NOT NULL, b.history_there IS NOT NULL,
                t.history_there AND b.history_there AND record_image_eq(ROW(%1$s), ROW(%2$s)),
                b.history_valid_from, b.history_valid_to, b.history_mine, b.history_image
         FROM (SELECT) one
         LEFT JOIN (SELECT true AS history_there, t.* FROM ONLY %3$s t WHERE %4$s) t ON true
         LEFT JOIN (
            SELECT true AS history_there, %5$s, c.history_valid_from, ''infinity''::timestamptz AS history_valid_to,
                   c.history_transaction = pg_current_xact_id() AND c.history_known_from >= now() AS history_mine,
                   to_jsonb(ROW(%5$s)::text) AS history_image
            FROM %6$s c WHERE %7$s AND c.history_valid_from <= $2
            UNION ALL
            SELECT true, %5$s, c.history_valid_from, c.history_valid_to,
                   c.history_transaction = pg_current_xact_id() AND c.history_known_from >= now(), to_jsonb(ROW(%5$s)::text)
            FROM %8$s c WHERE %7$s AND c.history_valid_to > $2 AND c.history_valid_from <= $2) b ON true',
        temporal.column_list(p_of.table_name, 't.'), temporal.column_list(p_of.table_name, 'b.'), p_of.table_name,
        temporal.key_condition(p_of, 't'), temporal.column_list(p_of.table_name, 'c.'), p_of.current_rows,
        temporal.key_condition(p_of, 'c'), p_of.past_rows)
    INTO in_table, is_believed, is_same, valid_from, valid_to, is_mine, believed_row USING p_key, p_at;
END
$$;

COMMENT ON FUNCTION temporal.believed(temporal.tables, jsonb, timestamptz) IS
    'Whether the table has a row of the key, whether its history believes one to be true at the instant and from when to when, whether they are the same, and whether this transaction recorded it; believed_row is its columns as the text of a row.';

CREATE FUNCTION temporal.settle(p_table regclass, p_key jsonb, p_old_row jsonb, p_who text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_table CONSTANT temporal.tables := temporal.enabled_table(p_table);
    present CONSTANT timestamptz := clock_timestamp();
    seen record;
    due text;
    instant timestamptz;
    later timestamptz;
BEGIN
    seen := temporal.believed(of_table, p_key, present);
    IF seen.is_same OR NOT (seen.in_table OR seen.is_believed) THEN
        RETURN;
    END IF;
    -- The row that the statement found is not what is true by now: a fact has come due that the table does not have yet.
    IF seen.in_table AND seen.is_believed AND NOT seen.is_mine AND p_old_row IS NOT NULL AND seen.believed_row <> p_old_row THEN
        due := format('Key %s of %s is to have another row since %s.', left(p_key::text, 200), p_table, seen.valid_from);
    ELSIF seen.in_table AND NOT seen.is_believed AND p_old_row IS NOT NULL AND pg_trigger_depth() = 1 THEN
        EXECUTE format('SELECT ''Key %%s of %%s is to have no row since '' || max(p.history_valid_to) || ''.'' FROM %s p
                        WHERE %s AND p.history_valid_to <= $2 AND NOT p.history_ended_live
                          AND p.history_valid_to > p.history_known_from AND to_jsonb(ROW(%s)::text) = $3',
                       of_table.past_rows, temporal.key_condition(of_table, 'p'), temporal.column_list(p_table, 'p.'))
        INTO due USING p_key, present, p_old_row;
        due := format(due, left(p_key::text, 200), p_table);
    END IF;
    IF due IS NOT NULL THEN
        RAISE EXCEPTION 'a fact has come due that is not in the table'
            USING ERRCODE = 'NB327', DETAIL = due,
                  HINT = 'Call temporal.apply_due, and repeat the statement.';
    END IF;
    instant := temporal.instant(of_table, p_key, CASE WHEN seen.is_believed THEN greatest(seen.valid_from, now()) END, 'infinity');
    IF NOT seen.in_table THEN
        PERFORM temporal.rewrite(of_table, p_key, greatest(instant, seen.valid_from), 'infinity', instant, 'none', NULL, p_who);
    ELSIF seen.is_believed THEN
        PERFORM temporal.rewrite(of_table, p_key, greatest(instant, seen.valid_from), seen.valid_to, instant, 'table', NULL, p_who);
    ELSE
        EXECUTE format('SELECT greatest($2, max(p.history_valid_to) FILTER (WHERE p.history_valid_to <= $3)) FROM %s p
                        WHERE %s AND p.history_valid_to > $2', of_table.past_rows, temporal.key_condition(of_table, 'p'))
        INTO later USING p_key, instant, present;
        seen.valid_from := later;
        EXECUTE format('SELECT least((SELECT min(c.history_valid_from) FROM %s c WHERE %s), (SELECT min(p.history_valid_from) FROM %s p
                        WHERE %s AND p.history_valid_to > $2), ''infinity'')', of_table.current_rows,
                       temporal.key_condition(of_table, 'c'), of_table.past_rows, temporal.key_condition(of_table, 'p'))
        INTO later USING p_key, seen.valid_from;
        PERFORM temporal.add_fact(of_table, p_key, seen.valid_from, later, instant, 'table', NULL, p_who);
    END IF;
END
$$;

COMMENT ON FUNCTION temporal.settle(regclass, jsonb, jsonb, text) IS
    'Has the history of a key say from now on what the table says. p_old_row: what the statement found, its columns as the text of a row; null: nothing. A changed row holds until the next fact that is scheduled, a deleted one takes those with it, a new one holds until the next. Called by triggers. NB327: a fact has come due that is not in the table.';

CREATE FUNCTION temporal.places(p_of temporal.tables, p_key jsonb) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_places text;
BEGIN
    PERFORM temporal.given(p_of);
    EXECUTE format(
        'SELECT string_agg(x.place, '';'') FROM (
            SELECT ''c'' || c.ctid AS place FROM %1$s c WHERE %4$s
            UNION ALL SELECT ''p'' || c.ctid FROM %2$s c WHERE %4$s
            UNION ALL SELECT ''s'' || c.ctid FROM %3$s c WHERE %4$s) x',
        p_of.current_rows, p_of.past_rows, p_of.superseded_rows, temporal.key_condition(p_of, 'c'))
    INTO found_places USING p_key;
    RETURN found_places;
END
$$;

COMMENT ON FUNCTION temporal.places(temporal.tables, jsonb) IS
    'Where the rows of a key are in the tables of its history, parted by semicolons; null: there are none. Called by temporal.check_snapshot.';

CREATE FUNCTION temporal.lock_key(p_of temporal.tables, p_key jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET row_security = on
AS $$
DECLARE
    locking CONSTANT text := format('SELECT 1 FROM ONLY %s t WHERE %s FOR UPDATE', p_of.table_name, temporal.key_condition(p_of, 't'));
    touched bigint;
BEGIN
    PERFORM temporal.given(p_of);
    EXECUTE locking USING p_key;
    GET DIAGNOSTICS touched = ROW_COUNT;
    IF touched > 0 THEN
        -- A transaction whose snapshot is older than this change of the key must notice.
        EXECUTE format('UPDATE %s c SET history_by = c.history_by WHERE %s', p_of.current_rows, temporal.key_condition(p_of, 'c')) USING p_key;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched > 0 THEN
            RETURN;
        END IF;
    ELSE
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', p_of.current_rows);
        EXECUTE locking USING p_key;
        PERFORM temporal.check_snapshot(p_of.table_name, p_key);
    END IF;
    UPDATE temporal.tables t SET gate = t.gate + 1 WHERE t.table_name = p_of.table_name;
END
$$;

COMMENT ON FUNCTION temporal.lock_key(temporal.tables, jsonb) IS
    'Keeps others from changing what is believed of a key until the transaction ends: by its row, or, where it is not in the table, by keeping out who writes the table. Above READ COMMITTED a change in between is 40001.';

CREATE FUNCTION temporal.check_key(p_of temporal.tables, p_key jsonb) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM temporal.given(p_of);
    IF p_key IS NULL THEN
        RAISE EXCEPTION 'argument "key" must not be null' USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF jsonb_typeof(p_key) <> 'object' OR EXISTS (
        SELECT FROM unnest(p_of.key_columns) k WHERE p_key ->> k IS NULL) OR EXISTS (
        SELECT FROM jsonb_object_keys(CASE jsonb_typeof(p_key) WHEN 'object' THEN p_key ELSE '{}' END) o
        WHERE o <> ALL (p_of.key_columns)) THEN
        RAISE EXCEPTION 'key is not valid'
            USING ERRCODE = 'NB323', DETAIL = format('The key of %s is (%s); %s came.', p_of.table_name,
                                                    array_to_string(p_of.key_columns, ', '), left(p_key::text, 200)),
                  HINT = 'Give an object of these columns, none of them null.';
    END IF;
END
$$;

COMMENT ON FUNCTION temporal.check_key(temporal.tables, jsonb) IS
    'Refuses what is not a whole key of the table. NB323: it is not; 22004: null.';

CREATE FUNCTION temporal.check_period(p_from timestamptz, p_to timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_from IS NULL OR p_to IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN p_from IS NULL THEN 'valid_from' ELSE 'valid_to' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Use infinity for an open end.';
    END IF;
    IF p_from >= p_to THEN
        RAISE EXCEPTION 'period is not valid'
            USING ERRCODE = 'NB324', DETAIL = format('It is to begin at %s and to end at %s.', p_from, p_to),
                  HINT = 'Give an end after the begin; the begin belongs to the period, the end does not.';
    END IF;
END
$$;

COMMENT ON FUNCTION temporal.check_period(timestamptz, timestamptz) IS
    'Refuses a period that is empty or inverted. NB324: it is; 22004: null.';

CREATE FUNCTION temporal.check_changes(p_of temporal.tables, p_changes jsonb, p_with_key boolean) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong text;
BEGIN
    PERFORM temporal.given(p_of);
    IF p_changes IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN p_with_key THEN 'row_values' ELSE 'changes' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF jsonb_typeof(p_changes) <> 'object' OR p_changes = '{}' THEN
        wrong := 'It must be an object with a column at least.';
    ELSE
        SELECT CASE
            WHEN a.attname IS NULL THEN format('There is no column %s.', quote_ident(left(o, 100)))
            WHEN a.attgenerated <> '' THEN format('Column %I is generated.', o)
            WHEN NOT p_with_key AND o = ANY (p_of.key_columns) THEN format('Column %I is of the key, which tells rows apart for ever.', o) END
        INTO wrong
        FROM jsonb_object_keys(p_changes) o
        LEFT JOIN pg_attribute a ON a.attrelid = p_of.table_name AND a.attname = o AND a.attnum > 0 AND NOT a.attisdropped
        WHERE a.attname IS NULL OR a.attgenerated <> '' OR NOT p_with_key AND o = ANY (p_of.key_columns)
        LIMIT 1;
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'values are not valid'
            USING ERRCODE = 'NB326', DETAIL = wrong, HINT = format('Give values of columns of %s by their names.', p_of.table_name);
    END IF;
END
$$;

COMMENT ON FUNCTION temporal.check_changes(temporal.tables, jsonb, boolean) IS
    'Refuses values that are not of the table''s columns. NB326: they are not; 22004: null.';

CREATE FUNCTION temporal.check_rows(p_of temporal.tables, p_key jsonb, p_from timestamptz, p_to timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    columns CONSTANT text := temporal.column_list(p_of.table_name, 'c.');
    pieces CONSTANT text := format(
        'SELECT %1$s, c.history_valid_from, ''infinity''::timestamptz AS history_valid_to FROM %2$s c WHERE %4$s AND c.history_valid_from < $3
         UNION ALL SELECT %1$s, c.history_valid_from, c.history_valid_to FROM %3$s c
         WHERE %4$s AND c.history_valid_to > $2 AND c.history_valid_from < $3',
        columns, p_of.current_rows, p_of.past_rows, temporal.key_condition(p_of, 'c'));
    rule record;
    is_broken boolean;
BEGIN
    PERFORM temporal.given(p_of);
    FOR rule IN
        SELECT c.conname::text AS name, pg_get_expr(c.conbin, c.conrelid) AS must, 'check_violation' AS code
        FROM pg_constraint c WHERE c.conrelid = p_of.table_name AND c.contype = 'c'
        UNION ALL
        SELECT a.attname, format('%I IS NOT NULL', a.attname), 'not_null_violation'
        FROM pg_attribute a WHERE a.attrelid = p_of.table_name AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM (%s) t WHERE NOT coalesce((%s), true))', pieces, rule.must)
        INTO is_broken USING p_key, p_from, p_to;
        IF is_broken AND rule.code = 'check_violation' THEN
            RAISE EXCEPTION 'row of the period violates check constraint "%"', rule.name
                USING ERRCODE = rule.code, TABLE = p_of.table_name::text, CONSTRAINT = rule.name;
        ELSIF is_broken THEN
            RAISE EXCEPTION 'null value in column "%" violates not-null constraint', rule.name
                USING ERRCODE = rule.code, TABLE = p_of.table_name::text, COLUMN = rule.name;
        END IF;
    END LOOP;
    EXECUTE format('SELECT EXISTS (SELECT FROM (SELECT x.history_valid_from < lag(x.history_valid_to) OVER (ORDER BY x.history_valid_from, x.history_valid_to) AS overlaps
                    FROM (%s) x) y WHERE y.overlaps)', pieces)
    INTO is_broken USING p_key, '-infinity'::timestamptz, 'infinity'::timestamptz;
    IF is_broken THEN
        RAISE EXCEPTION 'history is inconsistent'
            USING ERRCODE = 'NB329', DETAIL = format('Periods of key %s of %s would overlap.', left(p_key::text, 200), p_of.table_name),
                  HINT = 'See temporal.check_history; the history was changed past its table.';
    END IF;
END
$$;

COMMENT ON FUNCTION temporal.check_rows(temporal.tables, jsonb, timestamptz, timestamptz) IS
    'What a portion was given must keep the table''s constraints, as far as they are of one row, and no two periods of the key may overlap. 23514, 23502: a constraint; NB329: an overlap.';

CREATE FUNCTION temporal.apply_key(p_of temporal.tables, p_key jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    present CONSTANT timestamptz := clock_timestamp();
    seen record := temporal.believed(p_of, p_key, present);
    names text;
    sources text;
BEGIN
    PERFORM temporal.given(p_of);
    IF seen.is_same OR NOT (seen.in_table OR seen.is_believed) THEN
        RETURN false;
    END IF;
    SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum), string_agg(format('b.%I', a.attname), ', ' ORDER BY a.attnum)
    INTO names, sources
    FROM pg_attribute a
    WHERE a.attrelid = p_of.table_name AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
      AND NOT (seen.in_table AND (a.attidentity = 'a' OR a.attname = ANY (p_of.key_columns)));
    sources := format('SELECT %1$s FROM (
            SELECT %2$s FROM %3$s b WHERE %5$s AND b.history_valid_from <= $2
            UNION ALL SELECT %2$s FROM %4$s b WHERE %5$s AND b.history_valid_from <= $2 AND b.history_valid_to > $2) b',
        sources, temporal.column_list(p_of.table_name, 'b.'), p_of.current_rows, p_of.past_rows, temporal.key_condition(p_of, 'b'));
    IF NOT seen.is_believed THEN
        EXECUTE format('DELETE FROM ONLY %s t WHERE %s', p_of.table_name, temporal.key_condition(p_of, 't')) USING p_key;
    ELSIF seen.in_table THEN
        EXECUTE format('UPDATE ONLY %s t SET (%s) = (%s) WHERE %s', p_of.table_name, names, sources, temporal.key_condition(p_of, 't'))
        USING p_key, present;
    ELSE
        EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE %s', p_of.table_name, names, sources) USING p_key, present;
    END IF;
    seen := temporal.believed(p_of, p_key, present);
    IF seen.is_same IS NOT TRUE AND (seen.in_table OR seen.is_believed) THEN
        -- Unless a further fact has come due meanwhile.
        seen := temporal.believed(p_of, p_key, clock_timestamp());
    END IF;
    IF seen.is_same IS NOT TRUE AND (seen.in_table OR seen.is_believed) THEN
        RAISE EXCEPTION 'table does not take the row'
            USING ERRCODE = 'NB336', DETAIL = format('What is true now of key %s was written to %s, which does not say so: a trigger or rule of the table keeps it back.', left(p_key::text, 200), p_of.table_name),
                  HINT = 'Change the trigger or rule, or give a portion that the table may have.';
    END IF;
    RETURN true;
END
$$;

COMMENT ON FUNCTION temporal.apply_key(temporal.tables, jsonb) IS
    'Has the table say of a key what its history believes to be true now. Returns whether that changed it. NB336: a trigger or rule of the table keeps the row back.';

CREATE FUNCTION temporal.change_portion(
    p_table regclass, p_action text, p_key jsonb, p_from timestamptz, p_to timestamptz, p_values jsonb, p_who text
) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET neobank.history_guard = off
SET extra_float_digits = 1
AS $$
DECLARE
    of_table CONSTANT temporal.tables := temporal.enabled_table(p_table);
    key jsonb := p_key;
    instant timestamptz;
    present timestamptz;
    pieces bigint := 1;
BEGIN
    IF p_action <> 'delete' THEN
        PERFORM temporal.check_changes(of_table, p_values, p_action = 'insert');
    END IF;
    IF p_action = 'insert' THEN
        SELECT jsonb_object_agg(k, p_values -> k) INTO key FROM unnest(of_table.key_columns) k;
    END IF;
    PERFORM temporal.check_key(of_table, key), temporal.check_period(p_from, p_to);
    IF p_action = 'insert' THEN
        -- As the columns will have it.
        EXECUTE format('SELECT %s FROM %s', temporal.key_object(of_table, 'x'), temporal.given_values(of_table, '$1', key)) INTO key USING key;
    END IF;
    IF p_from < of_table.pruned_before THEN
        RAISE EXCEPTION 'history of the time is pruned'
            USING ERRCODE = 'NB331', DETAIL = format('The history of %s is kept from %s on.', p_table, of_table.pruned_before),
                  HINT = 'Begin the portion at a later instant.';
    END IF;
    PERFORM temporal.lock_key(of_table, key);
    instant := temporal.instant(of_table, key, p_from, p_to);
    IF p_action = 'insert' THEN
        PERFORM temporal.add_fact(of_table, key, p_from, p_to, instant, 'changes', p_values, p_who);
    ELSE
        pieces := temporal.rewrite(of_table, key, p_from, p_to, instant, CASE p_action WHEN 'delete' THEN 'none' ELSE 'changes' END, p_values, p_who);
    END IF;
    PERFORM temporal.check_rows(of_table, key, p_from, p_to);
    present := clock_timestamp();
    -- What is recorded anew was not recorded ahead of its time: what was due before is brought into the table now, as
    -- temporal.apply_due will not find it any more.
    IF pieces > 0 OR p_from <= present AND present < p_to THEN
        PERFORM temporal.apply_key(of_table, key);
    END IF;
    RETURN pieces;
END
$$;

COMMENT ON FUNCTION temporal.change_portion(regclass, text, jsonb, timestamptz, timestamptz, jsonb, text) IS
    'What temporal.update_portion, delete_portion and insert_portion do once they have seen to the caller''s rights. With the rights of the table''s owner.';

CREATE TABLE temporal.period_foreign_keys (
    key_name text PRIMARY KEY,
    child_table regclass NOT NULL,
    child_columns text[] NOT NULL,
    parent_table regclass NOT NULL
);

COMMENT ON TABLE temporal.period_foreign_keys IS
    'Foreign keys over periods. Written by temporal.add_foreign_key and drop_foreign_key.';

COMMENT ON COLUMN temporal.period_foreign_keys.child_columns IS 'In the order of the parent''s key.';

ALTER TABLE temporal.period_foreign_keys ENABLE ROW LEVEL SECURITY;

CREATE POLICY read ON temporal.period_foreign_keys FOR SELECT USING (true);

CREATE POLICY of_owner ON temporal.period_foreign_keys USING (
    pg_catalog.pg_has_role((SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = child_table), 'USAGE'));

COMMENT ON POLICY read ON temporal.period_foreign_keys IS 'Everybody who reads the table sees all of it.';

COMMENT ON POLICY of_owner ON temporal.period_foreign_keys IS 'A row is written by those who own its child table.';

SELECT pg_catalog.pg_extension_config_dump('temporal.period_foreign_keys', '');

CREATE FUNCTION temporal.period_key(p_name text) RETURNS temporal.period_foreign_keys
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link temporal.period_foreign_keys;
BEGIN
    SELECT f.* INTO link FROM temporal.period_foreign_keys f WHERE f.key_name = p_name;
    IF link.key_name IS NULL THEN
        RAISE EXCEPTION 'foreign key over periods not found'
            USING ERRCODE = 'NB335', DETAIL = format('There is none of the name %L.', left(p_name, 100)),
                  HINT = 'Look into temporal.period_foreign_keys.';
    END IF;
    RETURN link;
END
$$;

COMMENT ON FUNCTION temporal.period_key(text) IS
    'The row of temporal.period_foreign_keys of that name. NB335: there is none.';

CREATE FUNCTION temporal.uncovered(p_name text, p_condition text, p_key jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link temporal.period_foreign_keys;
    child temporal.tables;
    parent temporal.tables;
    same text;
    found_row text;
BEGIN
    link := temporal.period_key(p_name);
    child := temporal.enabled_table(link.child_table);
    parent := temporal.enabled_table(link.parent_table);
    SELECT string_agg(format('p.%I %s c.%I', k.name, k.operator, k.column_name), ' AND ') INTO same
    FROM ROWS FROM (unnest(parent.key_columns), unnest(parent.key_operators), unnest(link.child_columns)) AS k (name, operator, column_name);
    EXECUTE format(
        'SELECT format(''%%s from %%s to %%s'', %1$s, c.history_valid_from, c.history_valid_to)
         FROM (SELECT %3$s, ''infinity''::timestamptz AS history_valid_to FROM %2$s c WHERE %4$s
               UNION ALL SELECT %3$s, c.history_valid_to FROM %5$s c WHERE %4$s) c
         WHERE %6$s AND (
            SELECT range_agg(tstzrange(p.history_valid_from, p.history_valid_to)) FROM (
                SELECT p.history_valid_from, ''infinity''::timestamptz AS history_valid_to FROM %7$s p WHERE %9$s
                UNION ALL SELECT p.history_valid_from, p.history_valid_to FROM %8$s p WHERE %9$s) p)
            @> tstzrange(greatest(c.history_valid_from, $2), c.history_valid_to) IS NOT TRUE
            -- What is pruned of one of them is not asked for.
            AND greatest(c.history_valid_from, $2) < c.history_valid_to
         LIMIT 1',
        temporal.key_object(child, 'c'), child.current_rows,
        (SELECT string_agg(DISTINCT format('c.%I', n), ', ') FROM unnest(child.key_columns || link.child_columns) n) || ', c.history_valid_from',
        p_condition, child.past_rows, (SELECT string_agg(format('c.%I IS NOT NULL', n), ' AND ') FROM unnest(link.child_columns) n),
        parent.current_rows, parent.past_rows, same)
    INTO found_row USING p_key, greatest(child.pruned_before, parent.pruned_before);
    RETURN found_row;
END
$$;

COMMENT ON FUNCTION temporal.uncovered(text, text, jsonb) IS
    'The first row of the child that meets the condition (over alias c, with p_key as its first parameter) and whose time, from when both histories are kept on, is not covered by the parent''s; null: there is none.';

CREATE FUNCTION temporal.check_child(p_name text, p_row jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link temporal.period_foreign_keys;
    child temporal.tables;
    parent temporal.tables;
    key jsonb;
    part regclass;
    held tid[];
    there tid[];
    lost text;
BEGIN
    link := temporal.period_key(p_name);
    SELECT jsonb_object_agg(k.name, p_row -> k.column_name) INTO key
    FROM temporal.tables t, ROWS FROM (unnest(t.key_columns), unnest(link.child_columns)) AS k (name, column_name)
    WHERE t.table_name = link.parent_table;
    child := temporal.enabled_table(link.child_table);
    parent := temporal.enabled_table(link.parent_table);
    -- Who is about to take away from the parent's time waits, or is waited for. Rows that somebody put in the place of
    -- others meanwhile are not held yet: then once more.
    FOREACH part IN ARRAY ARRAY[parent.current_rows, parent.past_rows] LOOP
        LOOP
            EXECUTE format('SELECT array_agg(x.place ORDER BY x.place) FROM (SELECT p.ctid AS place FROM %s p WHERE %s FOR SHARE) x',
                           part, temporal.key_condition(parent, 'p')) INTO held USING key;
            EXECUTE format('SELECT array_agg(p.ctid ORDER BY p.ctid) FROM %s p WHERE %s',
                           part, temporal.key_condition(parent, 'p')) INTO there USING key;
            EXIT WHEN there <@ held OR there IS NULL;
        END LOOP;
    END LOOP;
    SELECT jsonb_object_agg(k, p_row -> k) INTO key FROM unnest(child.key_columns) k;
    lost := temporal.uncovered(p_name, temporal.key_condition(child, 'c'), key);
    IF lost IS NOT NULL THEN
        RAISE EXCEPTION 'period of the parent does not cover the child''s'
            USING ERRCODE = 'NB330', DETAIL = format('Row %s of %s has no row of %s all that time.', lost, link.child_table, link.parent_table),
                  HINT = 'Give the parent that time first, or the child less.', CONSTRAINT = p_name;
    END IF;
END
$$;

COMMENT ON FUNCTION temporal.check_child(text, jsonb) IS
    'Refuses a key of the child whose time the parent does not cover. Called by the triggers of a foreign key over periods, at the end of the transaction. NB330: it does not.';

CREATE FUNCTION temporal.check_parent(p_name text, p_row jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link temporal.period_foreign_keys;
    condition text;
    lost text;
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'isolation level does not allow it'
            USING ERRCODE = 'NB334', DETAIL = 'Children that others have added since the transaction began would not be seen.',
                  HINT = 'Change rows that foreign keys over periods refer to at READ COMMITTED.';
    END IF;
    link := temporal.period_key(p_name);
    SELECT string_agg(format('c.%I %s %s', k.column_name, k.operator, temporal.key_value(t, k.name)), ' AND ')
    INTO condition
    FROM temporal.tables t,
         ROWS FROM (unnest(t.key_columns), unnest(t.key_operators), unnest(link.child_columns)) AS k (name, operator, column_name)
    WHERE t.table_name = link.parent_table;
    lost := temporal.uncovered(p_name, condition, p_row);
    IF lost IS NOT NULL THEN
        RAISE EXCEPTION 'period of the parent does not cover the child''s'
            USING ERRCODE = 'NB330', DETAIL = format('Row %s of %s would have no row of %s all that time.', lost, link.child_table, link.parent_table),
                  HINT = 'Take the time away from the child first.', CONSTRAINT = p_name;
    END IF;
END
$$;

COMMENT ON FUNCTION temporal.check_parent(text, jsonb) IS
    'Refuses a change of a parent''s time that leaves a child without it. Called by the triggers of a foreign key over periods, at the end of the transaction. NB330: it would; NB334: above READ COMMITTED.';

CREATE FUNCTION temporal.add_foreign_key(p_child regclass, p_columns text[], p_parent regclass, p_name text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    child CONSTANT temporal.tables := temporal.enabled_table(p_child);
    parent CONSTANT temporal.tables := temporal.enabled_table(p_parent);
    name CONSTANT text := coalesce(p_name, temporal.cut_name(child.base_name || '_' || array_to_string(p_columns, '_'), 40) || '_period_fkey');
    home CONSTANT text := (SELECT c.relnamespace::regnamespace::text FROM pg_class c WHERE c.oid = child.current_rows);
    owner CONSTANT oid := (SELECT c.relowner FROM pg_class c WHERE c.oid = p_child);
    wrong text;
    part record;
    lost text;
BEGIN
    IF p_columns IS NULL THEN
        RAISE EXCEPTION 'argument "p_columns" must not be null' USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    EXECUTE format('LOCK TABLE %s, %s IN SHARE ROW EXCLUSIVE MODE', p_child, p_parent);
    EXECUTE format('LOCK TABLE %s, %s IN SHARE ROW EXCLUSIVE MODE', child.current_rows, parent.current_rows);
    wrong := CASE
        WHEN NOT pg_has_role(owner, 'USAGE') OR owner <> (SELECT c.relowner FROM pg_class c WHERE c.oid = p_parent) THEN 'The tables are not both of the same owner, who alone may do this.'
        WHEN cardinality(p_columns) <> cardinality(parent.key_columns) THEN format('The key of %s is (%s).', p_parent, array_to_string(parent.key_columns, ', '))
        WHEN EXISTS (SELECT FROM temporal.period_foreign_keys f WHERE f.key_name = name) THEN format('There is one of the name %L.', name)
        WHEN octet_length(name) > 50 OR name = '' THEN 'A name has 1 to 50 bytes.'
        ELSE (SELECT format('Column %I of %s is not of the type of %I.', k.column_name, p_child, k.name)
              FROM ROWS FROM (unnest(parent.key_columns), unnest(p_columns)) AS k (name, column_name)
              JOIN pg_attribute a ON a.attrelid = p_parent AND a.attname = k.name
              LEFT JOIN pg_attribute c ON c.attrelid = p_child AND c.attname = k.column_name AND c.attnum > 0 AND NOT c.attisdropped
              WHERE c.atttypid IS DISTINCT FROM a.atttypid LIMIT 1) END;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'foreign key over periods cannot be added'
            USING ERRCODE = 'NB332', DETAIL = wrong, HINT = 'Name columns of the child in the order of the parent''s key.';
    END IF;
    INSERT INTO temporal.period_foreign_keys VALUES (name, p_child, p_columns, p_parent);
    lost := temporal.uncovered(name, 'true', NULL);
    IF lost IS NOT NULL THEN
        RAISE EXCEPTION 'period of the parent does not cover the child''s'
            USING ERRCODE = 'NB330', DETAIL = format('Row %s of %s has no row of %s all that time.', lost, p_child, p_parent),
                  HINT = 'Give the parent that time first, or the child less.';
    END IF;
    FOR part IN
        SELECT '_child' AS side, 'NEW' AS image, 'INSERT OR UPDATE' AS events, child.current_rows AS current_rows, child.past_rows AS past_rows
        UNION ALL SELECT '_parent', 'OLD', 'UPDATE OR DELETE', parent.current_rows, parent.past_rows
    LOOP
        -- As the owner: when a transaction ends, its user may be another than the one who wrote.
        EXECUTE format('CREATE FUNCTION %s.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on
            SET extra_float_digits = 1 SET intervalstyle = ''iso_8601'' AS %L',
            home, name || part.side, format('BEGIN PERFORM temporal.check%s(%L, to_jsonb(%s)); RETURN NULL; END', part.side, name, part.image));
        EXECUTE format('REVOKE ALL ON FUNCTION %s.%I() FROM PUBLIC', home, name || part.side);
        EXECUTE format('ALTER FUNCTION %s.%I() OWNER TO %s', home, name || part.side, owner::regrole);
        EXECUTE format('ALTER FUNCTION %s.%I() DEPENDS ON EXTENSION neobank', home, name || part.side);
        EXECUTE format('CREATE CONSTRAINT TRIGGER %1$I AFTER %2$s ON %3$s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION %4$s.%1$I()',
                       name || part.side, part.events, part.current_rows, home);
        EXECUTE format('ALTER TRIGGER %I ON %s DEPENDS ON EXTENSION neobank', name || part.side, part.current_rows);
        EXECUTE format('CREATE CONSTRAINT TRIGGER %1$I AFTER %2$s ON %3$s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION %4$s.%1$I()',
                       name || part.side, part.events, part.past_rows, home);
        EXECUTE format('ALTER TRIGGER %I ON %s DEPENDS ON EXTENSION neobank', name || part.side, part.past_rows);
    END LOOP;
    EXECUTE format('CREATE INDEX %I ON %s (%s)', name || '_current', child.current_rows, (SELECT string_agg(format('%I', n), ', ') FROM unnest(p_columns) n));
    EXECUTE format('CREATE INDEX %I ON %s (%s)', name || '_past', child.past_rows, (SELECT string_agg(format('%I', n), ', ') FROM unnest(p_columns) n));
    RETURN name;
END
$$;

COMMENT ON FUNCTION temporal.add_foreign_key(regclass, text[], regclass, text) IS
    'Demands that as long as a row of p_child is true whose p_columns are not null, a row of p_parent is true that has them as its key; of what is believed today. Checked when a transaction ends, under concurrency too. p_columns: in the order of the parent''s key; p_name: of the key, up to 50 bytes, null: made from the names. Both tables have a history and the same owner. Returns the name. NB320: a table has none; NB330: it is not so now; NB332: it cannot be added; 22004: null.';

CREATE FUNCTION temporal.drop_foreign_key(p_name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link temporal.period_foreign_keys;
    child temporal.tables;
    home text;
    side text;
BEGIN
    DELETE FROM temporal.period_foreign_keys f WHERE f.key_name = p_name RETURNING f.* INTO link;
    IF link.key_name IS NULL THEN
        RAISE EXCEPTION 'foreign key over periods not found'
            USING ERRCODE = 'NB335', DETAIL = format('There is none of the name %L that the caller may drop.', left(p_name, 100)),
                  HINT = 'Look into temporal.period_foreign_keys.';
    END IF;
    child := temporal.enabled_table(link.child_table);
    SELECT c.relnamespace::regnamespace::text INTO home FROM pg_class c WHERE c.oid = child.current_rows;
    FOREACH side IN ARRAY ARRAY['_child', '_parent'] LOOP
        -- With its triggers.
        EXECUTE format('DROP FUNCTION %s.%I() CASCADE', home, p_name || side);
    END LOOP;
    EXECUTE format('DROP INDEX %1$s.%2$I, %1$s.%3$I', home, p_name || '_current', p_name || '_past');
END
$$;

COMMENT ON FUNCTION temporal.drop_foreign_key(text) IS
    'Takes a foreign key over periods away. NB335: there is none of that name.';

CREATE FUNCTION temporal.table_obstacle(p_table regclass) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE
        WHEN c.relkind = 'p' THEN 'is partitioned'
        WHEN c.relispartition THEN 'is a partition'
        WHEN c.relkind <> 'r' THEN 'is not an ordinary table'
        WHEN c.relpersistence <> 'p' THEN 'is temporary or unlogged'
        WHEN n.nspname IN ('pg_catalog', 'information_schema') OR EXISTS (
            SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
            THEN 'belongs to the server or to an extension'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid OR i.inhparent = c.oid)
            THEN 'inherits, or is inherited from'
        WHEN c.relforcerowsecurity THEN 'forces row security on its owner, who writes the history'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_attribute a
                     WHERE a.attrelid = c.oid AND a.attname LIKE 'history\_%' AND NOT a.attisdropped)
            THEN 'has a column whose name begins with history_'
        WHEN NOT (pg_catalog.has_schema_privilege(c.relowner, 'temporal', 'USAGE')
                  AND pg_catalog.has_function_privilege(c.relowner, 'temporal.settle(regclass, jsonb, jsonb, text)', 'EXECUTE'))
            THEN 'has an owner who may not keep histories: see temporal.grant_tables'
    END
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = p_table;
END;

COMMENT ON FUNCTION temporal.table_obstacle(regclass) IS
    'Why a table cannot have a history; null: nothing stands in the way.';

CREATE FUNCTION temporal.key_operators(p_table regclass, p_key_columns text[]) RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT found_index.operators
    FROM (
        SELECT i.indexrelid, pg_catalog.array_agg(
                   pg_catalog.format('OPERATOR(%s.%s)', o.oprnamespace::regnamespace, o.oprname)
                   ORDER BY pg_catalog.array_position(p_key_columns, a.attname::text)) AS operators,
               pg_catalog.array_agg(a.attname::text) AS names, pg_catalog.bool_and(a.attnotnull) AS complete
        FROM pg_catalog.pg_index i
        CROSS JOIN pg_catalog.generate_series(0, i.indnkeyatts - 1) AS at (n)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[at.n]
        JOIN pg_catalog.pg_opclass c ON c.oid = i.indclass[at.n]
        JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
            AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
        JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr
        WHERE i.indrelid = p_table AND i.indisunique AND i.indimmediate AND i.indisvalid
          AND i.indpred IS NULL AND i.indexprs IS NULL
        GROUP BY i.indexrelid, i.indnkeyatts) found_index
    WHERE found_index.complete AND found_index.names @> p_key_columns AND found_index.names <@ p_key_columns
      AND pg_catalog.cardinality(found_index.names) = pg_catalog.cardinality(p_key_columns)
    ORDER BY found_index.indexrelid
    LIMIT 1;
END;

COMMENT ON FUNCTION temporal.key_operators(regclass, text[]) IS
    'The equality operators of the unique index over these columns, none of which may be null; null: there is no such index.';

CREATE FUNCTION temporal.cut_name(p_name text, p_bytes integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog."left"(p_name, (
        SELECT pg_catalog.max(n) FROM pg_catalog.generate_series(0, least(pg_catalog.length(p_name), p_bytes, 63)) n
        WHERE pg_catalog.octet_length(pg_catalog."left"(p_name, n)) <= p_bytes));
END;

COMMENT ON FUNCTION temporal.cut_name(text, integer) IS
    'As many characters of a name as take up to p_bytes bytes, which is how the server bounds names; up to 63.';

CREATE FUNCTION temporal.free_name(p_schema text, p_wanted text, p_bytes integer, p_endings text[], p_own regclass) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := temporal.cut_name(p_wanted, p_bytes);
    n integer := 1;
BEGIN
    IF p_schema IS NULL OR p_wanted IS NULL OR p_bytes IS NULL OR p_endings IS NULL THEN
        RAISE EXCEPTION 'argument must not be null' USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value for each.';
    END IF;
    WHILE EXISTS (
            SELECT FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
            WHERE s.nspname = p_schema AND c.relname = ANY (SELECT name || e FROM unnest(p_endings) e) AND c.oid IS DISTINCT FROM p_own)
        OR EXISTS (
            SELECT FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace
            WHERE s.nspname = p_schema AND p.proname = ANY (SELECT name || e FROM unnest(p_endings) e WHERE e <> ''))
    LOOP
        n := n + 1;
        name := temporal.cut_name(p_wanted, p_bytes - 1 - length(n::text)) || '_' || n;
    END LOOP;
    RETURN name;
END
$$;

COMMENT ON FUNCTION temporal.free_name(text, text, integer, text[], regclass) IS
    'The wanted name, cut to p_bytes, or, where a table, view or function of the schema other than p_own has it with one of the endings, the same with the first number behind it that is free.';

CREATE FUNCTION temporal.make_tables(p_table regclass, p_home text, p_base text, p_key_columns text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    home CONSTANT text := quote_ident(p_home);
    owner CONSTANT text := (SELECT c.relowner::regrole::text FROM pg_class c WHERE c.oid = p_table);
    columns CONSTANT text := (
        SELECT string_agg(format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                   CASE WHEN a.attcollation <> 0 THEN ' COLLATE ' || a.attcollation::regcollation END), ', ' ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = p_table AND a.attnum > 0 AND NOT a.attisdropped);
    key CONSTANT text := (SELECT string_agg(format('%I', k), ', ' ORDER BY n) FROM unnest(p_key_columns) WITH ORDINALITY x (k, n));
    recorded CONSTANT text := 'history_by text NOT NULL, history_transaction xid8 NOT NULL';
    closed CONSTANT text := 'history_closed_by text NOT NULL, history_closed_transaction xid8 NOT NULL';
    part text;
    name text;
BEGIN
    IF p_table IS NULL OR p_home IS NULL OR p_base IS NULL OR p_key_columns IS NULL THEN
        RAISE EXCEPTION 'argument must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value for each.';
    END IF;
    -- An indexed column that changes with every version would cost every index an entry each time: so what is scheduled
    -- has its instant once more, where what is not has none.
    EXECUTE format('CREATE TABLE %s.%I (%s, history_valid_from timestamptz NOT NULL, history_known_from timestamptz NOT NULL, %s,
                        history_due timestamptz GENERATED ALWAYS AS (CASE WHEN history_valid_from > history_known_from
                            THEN history_valid_from END) STORED)
                    WITH (fillfactor = 80)', home, p_base || '_current', columns, recorded);
    EXECUTE format('CREATE TABLE %s.%I (%s, history_valid_from timestamptz NOT NULL, history_valid_to timestamptz NOT NULL,
                        history_known_from timestamptz NOT NULL, history_ended_live boolean NOT NULL, %s, %s,
                        CHECK (history_valid_from < history_valid_to AND history_valid_to < ''infinity''))',
                   home, p_base || '_past', columns, recorded, closed);
    EXECUTE format('CREATE TABLE %s.%I (%s, history_valid_from timestamptz NOT NULL, history_valid_to timestamptz NOT NULL,
                        history_known_from timestamptz NOT NULL, history_known_to timestamptz NOT NULL,
                        history_ended_live boolean NOT NULL, %s, %s,
                        CHECK (history_valid_from < history_valid_to),
                        CHECK (history_known_from < history_known_to AND history_known_to < ''infinity''))',
                   home, p_base || '_superseded', columns, recorded, closed);
    EXECUTE format('ALTER TABLE %s.%I ADD PRIMARY KEY (%s)', home, p_base || '_current', key);
    EXECUTE format('CREATE INDEX ON %s.%I (history_due) WHERE history_due IS NOT NULL', home, p_base || '_current');
    EXECUTE format('CREATE UNIQUE INDEX ON %s.%I (%s, history_valid_to)', home, p_base || '_past', key);
    EXECUTE format('CREATE INDEX ON %s.%I (history_valid_from) WHERE history_valid_from > history_known_from', home, p_base || '_past');
    EXECUTE format('CREATE INDEX ON %s.%I (history_valid_to) WHERE NOT history_ended_live AND history_valid_to > history_known_from', home, p_base || '_past');
    EXECUTE format('CREATE INDEX ON %s.%I (%s, history_known_to)', home, p_base || '_superseded', key);
    FOREACH part IN ARRAY ARRAY['_current', '_past', '_superseded'] LOOP
        name := format('%s.%I', home, p_base || part);
        EXECUTE format('ALTER TABLE %s OWNER TO %s', name, owner);
        EXECUTE format('CREATE TRIGGER neobank_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s
                        FOR EACH STATEMENT WHEN (pg_catalog.pg_trigger_depth() = 0)
                        EXECUTE FUNCTION temporal.guard_history()', name);
        EXECUTE format('ALTER TRIGGER neobank_guard ON %s DEPENDS ON EXTENSION neobank', name);
        EXECUTE format('COMMENT ON TABLE %s IS %L', name, format('History of %s, written with it (NB328).', p_table));
    END LOOP;
END
$$;

COMMENT ON FUNCTION temporal.make_tables(regclass, text, text, text[]) IS
    'Makes the three tables of a table''s history. Called by temporal.enable.';

CREATE FUNCTION temporal.record_history() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'neobank_record_history';

COMMENT ON FUNCTION temporal.record_history() IS
    'Trigger function of tables with a history, for statements that insert, update and delete. Ends the rows'' versions and begins new ones; what is not of the usual kind goes through the function that temporal.enable has made for the table.';

CREATE FUNCTION temporal.make_triggers(p_of temporal.tables) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    record_name CONSTANT text := (
        SELECT format('%s.%I', c.relnamespace::regnamespace, p_of.base_name || '_record')
        FROM pg_class c WHERE c.oid = p_of.current_rows);
    part record;
BEGIN
    PERFORM temporal.given(p_of);
    FOR part IN
        SELECT * FROM (VALUES ('insert', 'REFERENCING NEW TABLE AS new_rows', 'temporal.record_history'),
                              ('update', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows', 'temporal.record_history'),
                              ('delete', 'REFERENCING OLD TABLE AS old_rows', 'temporal.record_history'),
                              ('truncate', '', record_name)) x (event, rows, function_name)
    LOOP
        EXECUTE format('CREATE TRIGGER neobank_history_%1$s AFTER %1$s ON %2$s %3$s
                        FOR EACH STATEMENT EXECUTE FUNCTION %4$s()', part.event, p_of.table_name, part.rows, part.function_name);
        EXECUTE format('ALTER TRIGGER neobank_history_%s ON %s DEPENDS ON EXTENSION neobank', part.event, p_of.table_name);
        EXECUTE format('COMMENT ON TRIGGER neobank_history_%s ON %s IS %L', part.event, p_of.table_name, 'Keeps the history of the table.');
    END LOOP;
    EXECUTE format('ALTER FUNCTION %s() DEPENDS ON EXTENSION neobank', record_name);
END
$$;

COMMENT ON FUNCTION temporal.make_triggers(temporal.tables) IS
    'Makes the triggers that keep a table''s history. They go with the extension, the history stays. Called by temporal.enable.';

CREATE FUNCTION temporal.home_schema(p_name text, p_table regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regnamespace(quote_ident(p_name)) IS NULL THEN
        EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', p_name,
                       (SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = p_table));
    END IF;
END
$$;

COMMENT ON FUNCTION temporal.home_schema(text, regclass) IS 'Makes a schema for histories where there is none, as the table''s owner''s. Called by temporal.enable.';

CREATE FUNCTION temporal.enable(
    p_table regclass, p_key_columns text[] DEFAULT NULL, p_valid_from timestamptz DEFAULT now(),
    p_history_schema text DEFAULT NULL, p_as_of_schema text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET neobank.history_guard = off
AS $$
DECLARE
    made temporal.tables;
    of_table record;
    obstacle text;
    home text;
    as_of_home text;
    timeline_name text;
    as_of_name text;
    present bigint;
BEGIN
    IF p_table IS NULL OR p_valid_from IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN p_table IS NULL THEN 'p_table' ELSE 'p_valid_from' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF p_history_schema = '' OR p_as_of_schema = '' OR octet_length(p_history_schema) > 63 OR octet_length(p_as_of_schema) > 63 THEN
        RAISE EXCEPTION 'argument "%" is out of bounds', CASE WHEN p_history_schema = '' OR octet_length(p_history_schema) > 63 THEN 'p_history_schema' ELSE 'p_as_of_schema' END
            USING ERRCODE = 'NB021', DETAIL = 'A schema''s name has 1 to 63 bytes.', HINT = 'Give a name, or null for the usual one.';
    END IF;
    IF p_history_schema = p_as_of_schema THEN
        RAISE EXCEPTION 'argument "p_as_of_schema" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = 'It is the schema of the history too, and both have a view of the table''s name.', HINT = 'Give another schema.';
    END IF;
    IF p_valid_from = 'infinity' OR p_valid_from > now() THEN
        RAISE EXCEPTION 'period is not valid'
            USING ERRCODE = 'NB324', DETAIL = format('The rows that are there would be true from %s on, which is yet to come.', p_valid_from),
                  HINT = 'Give an instant of the past, or -infinity.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = p_table AND c.relkind IN ('r', 'p')) THEN
        RAISE EXCEPTION 'table cannot have a history'
            USING ERRCODE = 'NB321', DETAIL = format('%s is no table.', p_table), HINT = 'Give a permanent, ordinary table of your own.';
    END IF;
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', p_table);
    SELECT c.relname, n.nspname, c.relowner, c.relowner::regrole::text AS owner INTO of_table
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = p_table;
    IF NOT pg_has_role(of_table.relowner, 'USAGE') THEN
        RAISE EXCEPTION 'must be owner of table %', p_table USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF EXISTS (SELECT FROM temporal.tables t WHERE t.table_name = p_table) THEN
        RAISE EXCEPTION 'table has a history'
            USING ERRCODE = 'NB322', DETAIL = format('Table %s was enabled before.', p_table), HINT = 'Look into temporal.tables.';
    END IF;
    obstacle := temporal.table_obstacle(p_table);
    IF obstacle IS NOT NULL THEN
        RAISE EXCEPTION 'table cannot have a history'
            USING ERRCODE = 'NB321', DETAIL = format('Table %s %s.', p_table, obstacle),
                  HINT = CASE split_part(obstacle, ' ', 1)
                      WHEN 'forces' THEN 'Take that off with ALTER TABLE ... NO FORCE ROW LEVEL SECURITY: its policies go on to hold for all but the owner, and for the history.'
                      WHEN 'inherits,' THEN 'Keep its rows in one table: a history is that of one table, and knows nothing of others'' rows.'
                      WHEN 'has' THEN CASE WHEN obstacle LIKE '%owner%' THEN 'Call temporal.grant_tables for the owner.' ELSE 'Rename the column.' END
                      ELSE CASE WHEN obstacle LIKE '%partition%' THEN 'Keep its rows in one table: a history is that of one table, and knows nothing of others'' rows.'
                                ELSE 'Give a permanent, ordinary table of your own.' END END;
    END IF;
    made.key_columns := coalesce(p_key_columns, (
        SELECT array_agg(a.attname::text ORDER BY k.n)
        FROM pg_index i, unnest(i.indkey::smallint[]) WITH ORDINALITY k (attnum, n), pg_attribute a
        WHERE i.indrelid = p_table AND i.indisprimary AND a.attrelid = p_table AND a.attnum = k.attnum AND k.n <= i.indnkeyatts));
    made.key_operators := temporal.key_operators(p_table, made.key_columns);
    IF made.key_operators IS NULL THEN
        RAISE EXCEPTION 'table cannot have a history'
            USING ERRCODE = 'NB321',
                  DETAIL = format('Table %s has no unique index over (%s) whose columns are not null.', p_table, array_to_string(made.key_columns, ', ')),
                  HINT = 'Name the columns of the primary key, or of a unique index that is neither partial nor deferrable.';
    END IF;
    made.table_name := p_table;
    home := coalesce(p_history_schema, temporal.cut_name(of_table.nspname, 50) || '_history');
    as_of_home := coalesce(p_as_of_schema, temporal.cut_name(of_table.nspname, 50) || '_as_of');
    -- A history that was kept, and one of another table, may have the usual names.
    made.base_name := temporal.free_name(home, of_table.relname, 40, ARRAY['_current', '_past', '_superseded', '_record', '_instant'], NULL);
    made.as_of_schema := as_of_home;
    PERFORM temporal.home_schema(home, p_table), temporal.home_schema(as_of_home, p_table);
    PERFORM temporal.make_tables(p_table, home, made.base_name, made.key_columns);
    made.current_rows := format('%I.%I', home, made.base_name || '_current')::regclass;
    made.past_rows := format('%I.%I', home, made.base_name || '_past')::regclass;
    made.superseded_rows := format('%I.%I', home, made.base_name || '_superseded')::regclass;
    made.enabled_at := clock_timestamp();
    made.enabled_by := current_user;
    made.described := temporal.describe(p_table);
    made.gate := 0;
    PERFORM temporal.make_functions(made);
    timeline_name := format('%I.%I', home, temporal.free_name(home, of_table.relname, 63, '{""}', NULL));
    as_of_name := format('%I.%I', as_of_home, temporal.free_name(as_of_home, of_table.relname, 63, '{""}', NULL));
    PERFORM temporal.make_views(made, timeline_name, as_of_name);
    made.timeline := timeline_name::regclass;
    made.as_of_view := as_of_name::regclass;
    INSERT INTO temporal.tables SELECT made.*;
    INSERT INTO temporal.table_columns
    SELECT p_table, a.attnum, a.attname FROM pg_attribute a WHERE a.attrelid = p_table AND a.attnum > 0 AND NOT a.attisdropped;
    EXECUTE format('INSERT INTO %s (%s, history_valid_from, history_known_from, history_by, history_transaction)
                    SELECT %s, $1, now(), current_user, pg_current_xact_id() FROM ONLY %s t',
                   made.current_rows, temporal.column_list(p_table, ''), temporal.column_list(p_table, 't.'), p_table)
    USING p_valid_from;
    GET DIAGNOSTICS present = ROW_COUNT;
    PERFORM temporal.make_triggers(made);
    PERFORM temporal.follow(p_table);
    RETURN present;
END
$$;

COMMENT ON FUNCTION temporal.enable(regclass, text[], timestamptz, text, text) IS
    'Gives a table of the caller''s a history on both axes. p_table; p_key_columns: columns of a unique index that are not null, which tell its rows apart for ever, null: the primary key; p_valid_from: since when the rows that are there are true, -infinity for ever; p_history_schema, p_as_of_schema: where its tables and its view go, by default the table''s schema with _history and _as_of behind it, made where they are missing. Writers of the table wait until the transaction ends. Returns how many rows there are. NB321: the table cannot have one; NB322: it has one; NB324: p_valid_from is yet to come; 42501: not the owner; 22004: null.';

CREATE FUNCTION temporal.drop_views(p_of temporal.tables) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Their owner may have dropped one, or a type that they show with CASCADE.
    there CONSTANT text := (
        SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c WHERE c.oid IN (p_of.timeline, p_of.as_of_view));
BEGIN
    PERFORM temporal.given(p_of);
    IF there IS NOT NULL THEN
        EXECUTE 'DROP VIEW ' || there;
    END IF;
END
$$;

COMMENT ON FUNCTION temporal.drop_views(temporal.tables) IS
    'Drops the views of a history, as far as they are there. Called by temporal.disable and follow.';

CREATE FUNCTION temporal.disable(p_table regclass, p_keep_history boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_table CONSTANT temporal.tables := temporal.enabled_table(p_table);
    home text;
    event text;
BEGIN
    IF p_keep_history IS NULL THEN
        RAISE EXCEPTION 'argument "p_keep_history" must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', p_table);
    SELECT c.relnamespace::regnamespace::text INTO home FROM pg_class c WHERE c.oid = of_table.current_rows;
    IF EXISTS (SELECT FROM temporal.period_foreign_keys f WHERE p_table IN (f.child_table, f.parent_table)) THEN
        RAISE EXCEPTION 'table has foreign keys over periods'
            USING ERRCODE = 'NB332', DETAIL = format('Table %s is part of one in temporal.period_foreign_keys.', p_table),
                  HINT = 'Drop it with temporal.drop_foreign_key first.';
    END IF;
    DELETE FROM temporal.table_columns c WHERE c.table_name = p_table;
    DELETE FROM temporal.tables t WHERE t.table_name = p_table;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'must be owner of table %', p_table USING ERRCODE = 'insufficient_privilege';
    END IF;
    FOREACH event IN ARRAY ARRAY['insert', 'update', 'delete', 'truncate'] LOOP
        EXECUTE format('DROP TRIGGER IF EXISTS neobank_history_%s ON %s', event, p_table);
    END LOOP;
    EXECUTE format('DROP FUNCTION IF EXISTS %s.%I()', home, of_table.base_name || '_record');
    IF NOT p_keep_history THEN
        PERFORM temporal.drop_views(of_table);
        EXECUTE format('DROP TABLE %s, %s, %s', of_table.current_rows, of_table.past_rows, of_table.superseded_rows);
        EXECUTE format('DROP FUNCTION IF EXISTS %s.%I(text)', home, of_table.base_name || '_instant');
    END IF;
END
$$;

COMMENT ON FUNCTION temporal.disable(regclass, boolean) IS
    'Stops the history of a table. p_table; p_keep_history: true: the tables and views of the history stay as they are, and belong to the table''s owner; false: they are dropped. NB320: the table has no history; NB332: it is part of a foreign key over periods; 42501: not the owner; 22004: null.';

CREATE FUNCTION temporal.enabled_tables(p_table regclass) RETURNS SETOF temporal.tables
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_table IS NOT NULL THEN
        RETURN NEXT temporal.enabled_table(p_table);
        RETURN;
    END IF;
    RETURN QUERY
    SELECT t.* FROM temporal.tables t JOIN pg_class c ON c.oid = t.table_name
    WHERE pg_has_role(c.relowner, 'USAGE') ORDER BY t.table_name;
END
$$;

COMMENT ON FUNCTION temporal.enabled_tables(regclass) IS
    'The row of temporal.tables of a table; null: those of all the caller''s tables. NB320: the table has no history.';

CREATE FUNCTION temporal.apply_due_to(p_table regclass) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET neobank.history_guard = off
SET extra_float_digits = 1
SET intervalstyle = 'iso_8601'
AS $$
DECLARE
    of_table CONSTANT temporal.tables := temporal.enabled_table(p_table);
    present CONSTANT timestamptz := clock_timestamp();
    entry record;
    applied bigint := 0;
BEGIN
    FOR entry IN EXECUTE format(
        'SELECT %1$s AS key FROM %2$s c WHERE c.history_due <= $1
            AND NOT EXISTS (SELECT FROM %4$s t WHERE %5$s AND record_image_eq(ROW(%6$s), ROW(%7$s)))
         UNION
         SELECT %1$s FROM %3$s c WHERE c.history_valid_from > c.history_known_from AND c.history_valid_from <= $1 AND c.history_valid_to > $1
            AND NOT EXISTS (SELECT FROM %4$s t WHERE %5$s AND record_image_eq(ROW(%6$s), ROW(%7$s)))
         UNION
         SELECT %1$s FROM %3$s c JOIN %4$s t ON %5$s
         WHERE NOT c.history_ended_live AND c.history_valid_to > c.history_known_from AND c.history_valid_to <= $1
            AND NOT EXISTS (SELECT FROM %2$s n WHERE %8$s AND n.history_valid_from <= $1)
            AND NOT EXISTS (SELECT FROM %3$s n WHERE %8$s AND n.history_valid_to > $1 AND n.history_valid_from <= $1)
         ORDER BY 1',
        temporal.key_object(of_table, 'c'), of_table.current_rows, of_table.past_rows, of_table.table_name,
        temporal.key_match(of_table, 't', 'c'), temporal.column_list(of_table.table_name, 't.'),
        temporal.column_list(of_table.table_name, 'c.'), temporal.key_match(of_table, 'n', 'c')) USING present
    LOOP
        PERFORM temporal.lock_key(of_table, entry.key);
        IF temporal.apply_key(of_table, entry.key) THEN
            applied := applied + 1;
        END IF;
    END LOOP;
    RETURN applied;
END
$$;

COMMENT ON FUNCTION temporal.apply_due_to(regclass) IS
    'What temporal.apply_due does to one table. With the rights of the table''s owner.';

CREATE FUNCTION temporal.apply_due(p_table regclass DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_table temporal.tables;
    applied bigint := 0;
BEGIN
    FOR of_table IN SELECT t.* FROM temporal.enabled_tables(p_table) t LOOP
        applied := applied + temporal.as_owner(of_table.table_name, 'apply_due', NULL, NULL);
    END LOOP;
    RETURN applied;
END
$$;

COMMENT ON FUNCTION temporal.apply_due(regclass) IS
    'Brings tables up to facts that were recorded ahead of their time and have come due. p_table: null: all of the caller''s. Returns how many rows were inserted, changed or deleted. NB320: the table has no history; NB336: a trigger or rule of the table keeps a row back.';

CREATE FUNCTION temporal.prune_of(p_table regclass, p_before timestamptz, p_max_rows bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET neobank.history_guard = off
AS $$
DECLARE
    of_table CONSTANT temporal.tables := temporal.enabled_table(p_table);
    told temporal.tables;
    pruned bigint;
    further bigint;
BEGIN
    -- Readers are told before rows go: the two are one transaction. Who waited for one that prunes up to a later
    -- instant leaves that as it is.
    UPDATE temporal.tables t SET pruned_before = p_before
    WHERE t.table_name = p_table AND coalesce(t.pruned_before, '-infinity') < p_before
    RETURNING t.* INTO told;
    IF told.table_name IS NOT NULL THEN
        PERFORM temporal.make_functions(told);
    END IF;
    EXECUTE format('DELETE FROM %1$s p WHERE p.ctid = ANY (ARRAY(SELECT x.ctid FROM %1$s x WHERE x.history_known_to <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))', of_table.superseded_rows)
    USING p_before, p_max_rows;
    GET DIAGNOSTICS pruned = ROW_COUNT;
    EXECUTE format('DELETE FROM %1$s p WHERE p.ctid = ANY (ARRAY(SELECT x.ctid FROM %1$s x WHERE x.history_valid_to <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))', of_table.past_rows)
    USING p_before, p_max_rows - pruned;
    GET DIAGNOSTICS further = ROW_COUNT;
    RETURN pruned + further;
END
$$;

COMMENT ON FUNCTION temporal.prune_of(regclass, timestamptz, bigint) IS
    'What temporal.prune does to one table; returns how many rows went. With the rights of the table''s owner.';

CREATE FUNCTION temporal.prune(p_before timestamptz, p_table regclass DEFAULT NULL, p_max_rows integer DEFAULT 10000)
RETURNS TABLE (table_name regclass, rows_pruned bigint, is_done boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    of_table temporal.tables;
    room bigint := p_max_rows;
BEGIN
    IF p_before IS NULL OR p_max_rows IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN p_before IS NULL THEN 'p_before' ELSE 'p_max_rows' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF p_before > now() OR p_max_rows NOT BETWEEN 1 AND 1000000 THEN
        RAISE EXCEPTION 'argument "%" is out of bounds', CASE WHEN p_before > now() THEN 'p_before' ELSE 'p_max_rows' END
            USING ERRCODE = 'NB021', DETAIL = 'p_before may not be yet to come, p_max_rows must be 1 to 1,000,000.',
                  HINT = 'Give an instant of the past, and call again until is_done.';
    END IF;
    FOR of_table IN SELECT t.* FROM temporal.enabled_tables(p_table) t LOOP
        rows_pruned := temporal.as_owner(of_table.table_name, 'prune', p_before, room);
        room := room - rows_pruned;
        table_name := of_table.table_name;
        is_done := room > 0;
        RETURN NEXT;
        EXIT WHEN room <= 0;
    END LOOP;
END
$$;

COMMENT ON FUNCTION temporal.prune(timestamptz, regclass, integer) IS
    'Deletes what only questions about instants before p_before need; such questions are then refused (NB331). p_before: not yet to come; p_table: null: all of the caller''s; p_max_rows: the most rows that one call deletes, 1 to 1,000,000. Returns a row for each table that it came to; call again until is_done is true in all. NB320: the table has no history; NB021: a bound; 22004: null.';

CREATE FUNCTION temporal.check_history(p_table regclass)
RETURNS TABLE (problem text, key jsonb, detail text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET extra_float_digits = 1
AS $$
DECLARE
    of_table CONSTANT temporal.tables := temporal.enabled_table(p_table);
BEGIN
    RETURN QUERY EXECUTE format(
        'WITH pieces AS (
            SELECT 1 AS part, c.ctid AS place, %1$s AS key, c.history_valid_from AS vf, ''infinity''::timestamptz AS vt, c.history_known_from AS kf, ''infinity''::timestamptz AS kt FROM %2$s c
            UNION ALL SELECT 2, c.ctid, %1$s, c.history_valid_from, c.history_valid_to, c.history_known_from, ''infinity'' FROM %3$s c
            UNION ALL SELECT 3, c.ctid, %1$s, c.history_valid_to, ''infinity'', c.history_known_from, c.history_valid_to FROM %3$s c WHERE c.history_ended_live
            UNION ALL SELECT 4, c.ctid, %1$s, c.history_valid_from, c.history_valid_to, c.history_known_from, c.history_known_to FROM %4$s c
            UNION ALL SELECT 5, c.ctid, %1$s, c.history_valid_to, ''infinity'', c.history_known_from, least(c.history_valid_to, c.history_known_to) FROM %4$s c WHERE c.history_ended_live)
         SELECT ''overlap'', a.key, format(''[%%s, %%s) known [%%s, %%s) and [%%s, %%s) known [%%s, %%s)'', a.vf, a.vt, a.kf, a.kt, b.vf, b.vt, b.kf, b.kt)
         FROM pieces a JOIN pieces b ON a.key = b.key AND (a.part, a.place) < (b.part, b.place)
            AND a.vf < b.vt AND b.vf < a.vt AND a.kf < b.kt AND b.kf < a.kt
         UNION ALL
         SELECT ''inverted period'', a.key, format(''[%%s, %%s) known [%%s, %%s)'', a.vf, a.vt, a.kf, a.kt) FROM pieces a WHERE a.vf >= a.vt OR a.kf >= a.kt',
        temporal.key_object(of_table, 'c'), of_table.current_rows, of_table.past_rows, of_table.superseded_rows);
    RETURN QUERY EXECUTE format(
        'WITH present AS MATERIALIZED (SELECT clock_timestamp() AS instant)
         SELECT ''table and history differ'', CASE WHEN t.ctid IS NULL THEN %2$s ELSE %1$s END, CASE WHEN t.ctid IS NULL THEN ''only in the history'' WHEN c.* IS NULL THEN ''only in the table'' ELSE ''other values'' END
         FROM ONLY %3$s t FULL JOIN (%4$s) c ON %5$s
         WHERE (record_image_eq(ROW(%6$s), ROW(%7$s))) IS NOT TRUE',
        temporal.key_object(of_table, 't'), temporal.key_object(of_table, 'c'), p_table,
        temporal.as_of_query(of_table, '(SELECT present.instant FROM present)', '''infinity''::timestamptz'), temporal.key_match(of_table, 't', 'c'),
        temporal.column_list(p_table, 't.'), temporal.column_list(p_table, 'c.'));
END
$$;

COMMENT ON FUNCTION temporal.check_history(regclass) IS
    'Looks through the whole history of a table. Returns a row for each pair of periods of a key that overlap on both axes, each period that is inverted, and each key of which the table does not say what the history believes now (also one with a fact that has come due, until temporal.apply_due). No row: all is well. NB320: the table has no history; 22004: null.';

CREATE FUNCTION temporal.as_of(p_row anyelement, p_valid_at timestamptz DEFAULT NULL, p_known_at timestamptz DEFAULT 'infinity')
RETURNS SETOF anyelement
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_table temporal.tables;
    given CONSTANT regclass := (SELECT t.typrelid FROM pg_type t WHERE t.oid = pg_typeof(p_row) AND t.typrelid <> 0);
    valid_at CONSTANT timestamptz := coalesce(
        p_valid_at, CASE WHEN current_setting('transaction_isolation') LIKE 'read %' THEN greatest(now(), statement_timestamp()) ELSE now() END);
BEGIN
    IF given IS NULL THEN
        RAISE EXCEPTION 'table has no history'
            USING ERRCODE = 'NB320', DETAIL = format('%s is not the row type of a table.', pg_typeof(p_row)),
                  HINT = 'Give null::TABLE.';
    END IF;
    IF p_known_at IS NULL THEN
        RAISE EXCEPTION 'argument "p_known_at" must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Use infinity for what is known today.';
    END IF;
    of_table := temporal.enabled_table(given);
    IF least(valid_at, p_known_at) < of_table.pruned_before THEN
        RAISE EXCEPTION 'history of the time is pruned'
            USING ERRCODE = 'NB331', DETAIL = format('The history of %s was asked at %s, and is kept from %s on.', given, least(valid_at, p_known_at), of_table.pruned_before),
                  HINT = 'Ask about a later instant.';
    END IF;
    RETURN QUERY EXECUTE temporal.as_of_query(of_table, '$1', '$2') USING valid_at, p_known_at;
END
$$;

COMMENT ON FUNCTION temporal.as_of(anyelement, timestamptz, timestamptz) IS
    'The rows of a table that were true at an instant, as known at another. p_row: null::TABLE; p_valid_at: null: now; p_known_at: infinity: with today''s knowledge. With the caller''s own rights. NB320: the table has no history; NB331: the history of that time is pruned; 22004: null.';

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

COMMENT ON FUNCTION temporal.follow_policies(temporal.tables) IS
    'Gives a history the row security of its table. A policy that names the table itself cannot be carried over, and shows nothing. Called by temporal.follow.';

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

COMMENT ON VIEW temporal.tables_to_follow IS
    'Tables that were altered, or whose history''s tables were renamed, since their history last followed them, and those that are gone.';

CREATE FUNCTION temporal.note_tables() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'neobank_note_tables';

COMMENT ON FUNCTION temporal.note_tables() IS
    'Event trigger: notes which tables'' histories have not followed before the statement, so that those it alters are told from them.';

CREATE FUNCTION temporal.follow_tables() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'neobank_follow_tables';

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

COMMENT ON FUNCTION temporal.grant_tables(name) IS
    'p_role: who may give tables of its own a history, and change and read histories as far as its rights on the tables go; nothing of the bank''s books. neobank.revoke_usage takes it back. 42704: no such role; 22004: null.';

CREATE TYPE temporal.account_range AS RANGE (subtype = uuid, multirange_type_name = temporal.account_multirange);

COMMENT ON TYPE temporal.account_range IS
    'Ids of accounts from one to another. Gives the index that keeps an account''s periods apart a way to compare ids for equality, without another extension.';

COMMENT ON TYPE temporal.account_multirange IS 'Several ranges of ids of accounts; comes with temporal.account_range.';

CREATE TABLE temporal.account_periods (
    history_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    account_id uuid NOT NULL,
    customer_id uuid,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz,
    transaction_from timestamptz NOT NULL,
    transaction_to timestamptz,
    account_status banking.account_status NOT NULL,
    overdraft_limit numeric NOT NULL,
    account_type varchar(30) NOT NULL,
    account_number varchar(50) NOT NULL,
    changed_by text,
    change_reason text,
    CONSTRAINT account_periods_valid_check CHECK (
        pg_catalog.isfinite(valid_from) AND (valid_to IS NULL OR pg_catalog.isfinite(valid_to) AND valid_from < valid_to)),
    CONSTRAINT account_periods_transaction_check CHECK (
        pg_catalog.isfinite(transaction_from)
        AND (transaction_to IS NULL OR pg_catalog.isfinite(transaction_to) AND transaction_from < transaction_to)),
    -- Nothing is recorded before it is true: what was known at a time ends the search for what was valid later.
    CONSTRAINT account_periods_recorded_check CHECK (
        valid_from <= transaction_from AND (valid_to IS NULL OR valid_to <= transaction_from)),
    CONSTRAINT account_periods_apart EXCLUDE USING gist (
        temporal.account_range(account_id, account_id, '[]') WITH &&,
        pg_catalog.tstzrange(valid_from, valid_to) WITH &&,
        pg_catalog.tstzrange(transaction_from, transaction_to) WITH &&)
);

CREATE INDEX account_periods_account_id_idx ON temporal.account_periods (account_id, valid_from, transaction_from);

CREATE INDEX account_periods_current_idx ON temporal.account_periods (account_id, valid_from) WHERE transaction_to IS NULL;

CREATE INDEX account_periods_recorded_idx ON temporal.account_periods (account_id, transaction_from);

COMMENT ON TABLE temporal.account_periods IS
    'What was true of an account from valid_from to valid_to, as recorded from transaction_from to transaction_to (null: still). No two rows of an account overlap on both. Append-only, but that transaction_to is set once (NB009). Read it through temporal.accounts_history, which has the accounts that never changed too.';

COMMENT ON COLUMN temporal.account_periods.transaction_from IS
    'When it was recorded, taken from the clock under the account''s lock: later than everything recorded of the account before.';

COMMENT ON COLUMN temporal.account_periods.changed_by IS 'The role that changed or corrected the account; null in its first period.';

COMMENT ON SEQUENCE temporal.account_periods_history_id_seq IS 'Numbers of rows of an account''s history; gaps are possible.';

SELECT pg_catalog.pg_extension_config_dump('temporal.account_periods', '');

SELECT pg_catalog.pg_extension_config_dump('temporal.account_periods_history_id_seq', '');

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON temporal.account_periods
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_ledger ON temporal.account_periods IS 'Keeps the history append-only (NB009).';

CREATE TRIGGER guard_loaded
    AFTER INSERT ON temporal.account_periods
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_loaded ON temporal.account_periods IS
    'Lets a restore load a history whose present is what the accounts are, and nothing else (NB009).';

ALTER TABLE temporal.account_periods ENABLE ALWAYS TRIGGER guard_ledger;

ALTER TABLE temporal.account_periods ENABLE ALWAYS TRIGGER guard_loaded;

CREATE FUNCTION temporal.record_account() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM temporal.record_account_change(
        OLD.account_id, OLD.created_at, OLD.customer_id, OLD.account_status, OLD.overdraft_limit, OLD.account_type,
        OLD.account_number);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION temporal.record_account() IS
    'Trigger: records a change of an account''s holder, number, type, status or overdraft limit.';

CREATE TRIGGER record_account
    AFTER UPDATE OF customer_id, account_status, overdraft_limit, account_type, account_number ON banking.accounts
    FOR EACH ROW
    WHEN (OLD.customer_id IS DISTINCT FROM NEW.customer_id OR OLD.account_status <> NEW.account_status
          OR OLD.overdraft_limit <> NEW.overdraft_limit OR OLD.account_type <> NEW.account_type
          OR OLD.account_number <> NEW.account_number)
    EXECUTE FUNCTION temporal.record_account();

COMMENT ON TRIGGER record_account ON banking.accounts IS 'Keeps the account''s history.';

CREATE FUNCTION temporal.limits_as_of(p_account_id uuid, p_at timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_account_id IS NULL OR p_at IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN p_account_id IS NULL THEN 'p_account_id' ELSE 'p_at' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    RETURN coalesce(jsonb_object_agg(
               c.period, jsonb_build_object('max_amount', c.max_amount, 'max_postings', c.max_postings)), '{}')
    FROM (SELECT DISTINCT ON (l.period) l.period, l.max_amount, l.max_postings
          FROM banking.limit_changes l
          WHERE l.account_id = p_account_id AND l.changed_at <= p_at
          ORDER BY l.period, l.changed_at DESC) c
    WHERE c.max_amount IS NOT NULL OR c.max_postings IS NOT NULL;
END
$$;

COMMENT ON FUNCTION temporal.limits_as_of(uuid, timestamptz) IS
    'p_account_id; p_at: a time, inclusive. The spending limits that were set for the account itself then, by period: {"day": {"max_amount": ..., "max_postings": ...}}; {} where there were none. 22004: null.';

CREATE VIEW temporal.accounts_history AS
SELECT
    p.history_id, p.account_id, p.customer_id, p.account_number, p.account_type,
    temporal.balance_before(p.account_id, p.valid_to, p.transaction_to) AS current_balance,
    p.account_status::varchar(20) AS account_status, p.valid_from, p.valid_to, p.transaction_from, p.transaction_to,
    p.changed_by, p.change_reason, p.overdraft_limit
FROM temporal.account_periods p
UNION ALL
SELECT
    NULL::bigint, a.account_id, a.customer_id, a.account_number, a.account_type,
    temporal.balance_before(a.account_id, NULL, NULL),
    a.account_status::varchar(20), a.created_at, NULL::timestamptz, a.created_at, NULL::timestamptz,
    NULL::text, NULL::text, a.overdraft_limit
FROM banking.accounts a
WHERE NOT EXISTS (SELECT FROM temporal.account_periods p WHERE p.account_id = a.account_id);

COMMENT ON VIEW temporal.accounts_history IS
    'The history of every account on both axes: a row is what was true from valid_from to valid_to (null: still), as recorded from transaction_from to transaction_to (null: still). An account that never changed has one row, with history_id null.';

COMMENT ON COLUMN temporal.accounts_history.current_balance IS
    'What the account held when valid_to ended, as known when transaction_to ended, by effective time; of an open row, what it holds. Read from the ledger, only where it is asked for.';

CREATE FUNCTION temporal.accounts_as_of(
    p_as_of_time timestamptz DEFAULT now(),
    p_transaction_time timestamptz DEFAULT now()
)
RETURNS TABLE (
    account_id uuid,
    customer_id uuid,
    account_number varchar(50),
    current_balance numeric,
    account_status varchar(20),
    valid_from timestamptz,
    valid_to timestamptz,
    account_type varchar(30),
    overdraft_limit numeric,
    limits jsonb,
    transaction_from timestamptz,
    transaction_to timestamptz,
    changed_by text,
    change_reason text
)
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT
        h.account_id, h.customer_id, h.account_number, temporal.balance_as_of(h.account_id, $1, $2), h.account_status,
        h.valid_from, h.valid_to, h.account_type, h.overdraft_limit,
        temporal.limits_as_of(h.account_id, least($1, $2)), h.transaction_from, h.transaction_to, h.changed_by,
        h.change_reason
    FROM temporal.accounts_history h
    WHERE h.valid_from <= $1 AND (h.valid_to IS NULL OR h.valid_to > $1)
      AND h.transaction_from <= $2 AND (h.transaction_to IS NULL OR h.transaction_to > $2);
END;

COMMENT ON FUNCTION temporal.accounts_as_of(timestamptz, timestamptz) IS
    'Every account as temporal.get_account_as_of answers it for these times, for reports on the whole bank; no row where one is null. Balances and limits are worked out only where they are asked for.';

CREATE FUNCTION temporal.adopt_status_changes() RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    WITH changes AS (
        SELECT c.*, pg_catalog.row_number() OVER w AS n, pg_catalog.count(*) OVER (PARTITION BY c.account_id) AS changes
        FROM banking.account_status_changes c
        WHERE c.old_value <> c.new_value
        WINDOW w AS (PARTITION BY c.account_id ORDER BY c.changed_at)
    ), segments AS (
        -- Number 0 is from the opening to the first change. Times ascend, if only by a microsecond.
        SELECT
            a.account_id, s.n, a.customer_id, a.account_type, a.account_number, c.changed_by, c.reason,
            CASE s.n WHEN 0 THEN a.created_at
                 ELSE (SELECT pg_catalog.max(e.changed_at + (s.n - e.n) * interval '1 microsecond')
                       FROM changes e WHERE e.account_id = a.account_id AND e.n <= s.n) END AS begins,
            coalesce(
                (SELECT e.old_value FROM changes e WHERE e.account_id = a.account_id AND e.change = 'status' AND e.n > s.n
                 ORDER BY e.n LIMIT 1), a.account_status) AS status,
            coalesce(
                (SELECT e.old_value::numeric FROM changes e
                 WHERE e.account_id = a.account_id AND e.change = 'overdraft_limit' AND e.n > s.n ORDER BY e.n LIMIT 1),
                a.overdraft_limit) AS overdraft_limit
        FROM (SELECT DISTINCT account_id, changes FROM changes) l
        JOIN banking.accounts a ON a.account_id = l.account_id
        CROSS JOIN LATERAL pg_catalog.generate_series(0, l.changes) AS s (n)
        LEFT JOIN changes c ON c.account_id = a.account_id AND c.n = s.n
    ), periods AS (
        SELECT s.*, pg_catalog.lead(s.begins) OVER (PARTITION BY s.account_id ORDER BY s.n) AS ends FROM segments s
    )
    INSERT INTO temporal.account_periods
        (account_id, customer_id, valid_from, valid_to, transaction_from, transaction_to, account_status, overdraft_limit,
         account_type, account_number, changed_by, change_reason)
    SELECT
        p.account_id, p.customer_id, p.begins, r.valid_to, r.transaction_from, r.transaction_to,
        p.status::banking.account_status, p.overdraft_limit, p.account_type, p.account_number, p.changed_by, p.reason
    FROM periods p
    CROSS JOIN LATERAL (VALUES (NULL::timestamptz, p.begins, p.ends), (p.ends, p.ends, NULL)) r (valid_to, transaction_from, transaction_to)
    WHERE r.transaction_from IS NOT NULL
    ORDER BY p.account_id, p.n;
END;

COMMENT ON FUNCTION temporal.adopt_status_changes() IS
    'For the extension''s owner, once after accounts of a release without a history were brought in (an upgrade does it by itself): writes the history of their statuses and overdraft limits from banking.account_status_changes. NB009: there is a history.';

CREATE FUNCTION temporal.timeline(account_id uuid, known_at timestamptz DEFAULT now())
RETURNS TABLE (
    valid_from timestamptz,
    valid_to timestamptz,
    customer_id uuid,
    account_number varchar(50),
    account_type varchar(30),
    account_status varchar(20),
    overdraft_limit numeric,
    current_balance numeric,
    transaction_from timestamptz,
    changed_by text,
    change_reason text
)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF account_id IS NULL OR known_at IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN account_id IS NULL THEN 'account_id' ELSE 'known_at' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    RETURN QUERY
    SELECT
        h.valid_from, h.valid_to, h.customer_id, h.account_number, h.account_type, h.account_status, h.overdraft_limit,
        temporal.balance_as_of(
            h.account_id, coalesce(h.valid_to - interval '1 microsecond', 'infinity'), timeline.known_at),
        h.transaction_from, h.changed_by, h.change_reason
    FROM temporal.accounts_history h
    WHERE h.account_id = timeline.account_id AND h.transaction_from <= timeline.known_at
      AND (h.transaction_to IS NULL OR h.transaction_to > timeline.known_at)
    ORDER BY h.valid_from;
END
$$;

COMMENT ON FUNCTION temporal.timeline(uuid, timestamptz) IS
    'account_id; known_at: as it was recorded then, ''infinity'' for all that is. The periods of the account one after the other, each with what the account held at its end. No row for an unknown account, or before it was opened. 22004: null.';

CREATE FUNCTION temporal.diff(
    account_id uuid,
    t1 timestamptz,
    t2 timestamptz,
    known_at_1 timestamptz DEFAULT now(),
    known_at_2 timestamptz DEFAULT now()
)
RETURNS TABLE (attribute text, old_value text, new_value text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH attributes (position, attribute) AS (
        VALUES (1, 'customer_id'), (2, 'account_number'), (3, 'account_type'), (4, 'account_status'),
               (5, 'overdraft_limit'), (6, 'limits'), (7, 'current_balance')
    ), before AS (
        SELECT pg_catalog.to_jsonb(s.*) AS state FROM temporal.get_account_as_of($1, $2, $4) s
    ), after AS (
        SELECT pg_catalog.to_jsonb(s.*) AS state FROM temporal.get_account_as_of($1, $3, $5) s
    )
    SELECT a.attribute, (SELECT b.state ->> a.attribute FROM before b), (SELECT f.state ->> a.attribute FROM after f)
    FROM attributes a
    WHERE (SELECT b.state -> a.attribute FROM before b) IS DISTINCT FROM (SELECT f.state -> a.attribute FROM after f)
    ORDER BY a.position;
END;

COMMENT ON FUNCTION temporal.diff(uuid, timestamptz, timestamptz, timestamptz, timestamptz) IS
    'account_id; t1, t2: two times; known_at_1, known_at_2: each as it was recorded then. What is different between them, by attribute; with the same time twice and two known_at, what was corrected in between. An account that was not there has nulls. 22004: null.';

CREATE FUNCTION temporal.safe_horizon() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked CONSTANT timestamptz := clock_timestamp();
    writing integer[];
    began timestamptz;
    prepared timestamptz;
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN NULL;
    END IF;
    -- Times are taken from the clock by who holds a writer's lock on a table, and mostly a transaction number: whoever has
    -- neither when we look takes his times after we asked. Locks first: a writer has one until its number is there.
    writing := ARRAY(
        SELECT l.pid FROM pg_locks l
        WHERE l.locktype = 'relation' AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
          AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
          AND l.pid IS NOT NULL);
    PERFORM pg_stat_clear_snapshot();
    -- A session that hides from us has no time when it began: then nothing can be said.
    SELECT min(CASE WHEN a.backend_start IS NULL THEN '-infinity' ELSE coalesce(a.xact_start, a.backend_start) END) INTO began
    FROM pg_stat_activity a
    WHERE a.datname = current_database()
      AND (a.backend_xid IS NOT NULL OR a.pid = ANY (writing) OR a.backend_start IS NULL)
      AND coalesce(a.backend_type, '') <> 'autovacuum worker';
    -- When a prepared transaction began is in a lock that it took for that: see src/pg/prepared.rs.
    SELECT min(coalesce(
        (SELECT timestamptz '2000-01-01 00:00:00Z'
                + ((m.classid::bigint << 32) + m.objid::bigint) * interval '1 microsecond'
         FROM pg_locks o
         JOIN pg_locks m ON m.virtualtransaction = o.virtualtransaction AND m.locktype = 'advisory' AND m.objsubid = 20035
         WHERE o.locktype = 'transactionid' AND o.transactionid = p.transaction AND o.granted AND o.pid IS NULL),
        '-infinity')) INTO prepared
    FROM pg_prepared_xacts p
    WHERE p.database = current_database();
    RETURN nullif(least(asked, began, prepared) - interval '1 microsecond', '-infinity');
END
$$;

COMMENT ON FUNCTION temporal.safe_horizon() IS
    'Up to when nothing can be recorded any more: an answer of temporal.get_account_as_of with p_transaction_time at or before it stays the same for ever. The start of the oldest open transaction that writes in this database, prepared ones included, or now. Null where it cannot be known: on a standby, and while a transaction is prepared by a session that had not loaded the extension.';

CREATE TABLE event_store.streams (
    aggregate_id uuid PRIMARY KEY,
    last_position bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    last_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    version integer NOT NULL,
    aggregate_type varchar(100) NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE event_store.streams IS
    'One row per aggregate: whoever appends locks it, so the versions of a stream have no gap and no double. Written by the appending functions only (NB009).';

COMMENT ON COLUMN event_store.streams.version IS 'The version of its last event, which is the number of its events.';

COMMENT ON COLUMN event_store.streams.last_at IS
    'The time of its last event: none of a later version is earlier, even if the server''s clock is set back.';

COMMENT ON COLUMN event_store.streams.last_position IS 'The global position of its last event.';

CREATE TABLE event_store.events (
    event_id uuid PRIMARY KEY,
    aggregate_id uuid NOT NULL,
    global_position bigint NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    event_version integer NOT NULL,
    aggregate_type varchar(100) NOT NULL,
    event_type varchar(100) NOT NULL,
    created_by text NOT NULL,
    event_data jsonb NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    tags text[],
    UNIQUE (aggregate_id, event_version)
);

CREATE INDEX events_category_idx ON event_store.events (aggregate_type, global_position);

CREATE INDEX events_tags_idx ON event_store.events USING gin (tags) WITH (fastupdate = off) WHERE tags IS NOT NULL;

COMMENT ON TABLE event_store.events IS 'What has happened, append-only (NB009). Written by event_store.append_event and append_events.';

COMMENT ON COLUMN event_store.events.event_version IS 'From 1, without gap, within its aggregate.';

COMMENT ON COLUMN event_store.events.global_position IS
    'The order of all events: ascends within every stream. Its upper bits are the number of the writing transaction, so positions below event_store.safe_position() are final: nothing will appear between them any more.';

COMMENT ON COLUMN event_store.events.metadata IS 'About the event, such as correlation_id and causation_id.';

COMMENT ON COLUMN event_store.events.tags IS 'What the event is about beside its aggregate; null: nothing.';

CREATE TABLE event_store.position_base (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    added bigint NOT NULL CHECK (added >= 0)
);

INSERT INTO event_store.position_base (added) VALUES (0);

COMMENT ON TABLE event_store.position_base IS
    'What is added to a transaction''s number to make it the upper bits of its events'' positions. Above zero after a restore into a cluster that has counted fewer transactions.';

CREATE FUNCTION event_store.safe_position() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT (b.added + pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint) << 20
    FROM event_store.position_base b;
END;

COMMENT ON FUNCTION event_store.safe_position() IS
    'The position below which the order of all events is final. Held back by the oldest transaction that has written anything, in any database of the cluster.';

CREATE FUNCTION event_store.read_stream(aggregate_id uuid, from_version integer DEFAULT 1, max_events integer DEFAULT 1000)
RETURNS SETOF event_store.events
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000
BEGIN ATOMIC
    SELECT e.*
    FROM event_store.events e
    WHERE e.aggregate_id = read_stream.aggregate_id AND e.event_version >= coalesce(from_version, 1)
    ORDER BY e.event_version
    LIMIT event_store.page_size(max_events);
END;

COMMENT ON FUNCTION event_store.read_stream(uuid, integer, integer) IS
    'The events of an aggregate in their order. aggregate_id; from_version: the first version wanted; max_events: 1 to 100,000. An unknown aggregate has none. NB021: max_events.';

CREATE FUNCTION event_store.read_category(
    aggregate_type text,
    after_position bigint DEFAULT 0,
    max_events integer DEFAULT 1000
)
RETURNS SETOF event_store.events
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000
BEGIN ATOMIC
    SELECT e.*
    FROM event_store.events e
    WHERE e.aggregate_type = read_category.aggregate_type
      AND e.global_position > coalesce(after_position, 0)
      AND e.global_position < (SELECT event_store.safe_position())
    ORDER BY e.global_position
    LIMIT event_store.page_size(max_events);
END;

COMMENT ON FUNCTION event_store.read_category(text, bigint, integer) IS
    'The events of all aggregates of a type, as event_store.read_all reads those of all. NB021: max_events.';

CREATE FUNCTION event_store.read_all(
    after_position bigint DEFAULT 0,
    max_events integer DEFAULT 1000,
    aggregate_types text[] DEFAULT NULL,
    event_types text[] DEFAULT NULL,
    tags text[] DEFAULT NULL
)
RETURNS SETOF event_store.events
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000
BEGIN ATOMIC
    SELECT e.*
    FROM event_store.events e
    WHERE e.global_position > coalesce(after_position, 0)
      AND e.global_position < (SELECT event_store.safe_position())
      AND (aggregate_types IS NULL OR e.aggregate_type = ANY (aggregate_types))
      AND (event_types IS NULL OR e.event_type = ANY (event_types))
      AND (read_all.tags IS NULL OR pg_catalog.cardinality(read_all.tags) = 0 OR e.tags @> read_all.tags)
    ORDER BY e.global_position
    LIMIT event_store.page_size(max_events);
END;

COMMENT ON FUNCTION event_store.read_all(bigint, integer, text[], text[], text[]) IS
    'Events of all aggregates in an order that skips nobody who commits late: go on with after_position, the last global_position that was read. Events appear once no transaction that is under way can put one before them (event_store.safe_position()). max_events: 1 to 100,000; aggregate_types, event_types: only these; tags: only events that have all of them, without any of them all. NB021: max_events.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON event_store.events
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_ledger ON event_store.events IS 'Keeps the events append-only (NB009).';

CREATE TRIGGER guard_loaded
    AFTER INSERT ON event_store.events
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_loaded ON event_store.events IS
    'Lets positions go on from those of a restore.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON event_store.streams
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_ledger ON event_store.streams IS 'Keeps the versions to the appending functions (NB009).';

ALTER TABLE event_store.events ENABLE ALWAYS TRIGGER guard_ledger;

ALTER TABLE event_store.events ENABLE ALWAYS TRIGGER guard_loaded;

ALTER TABLE event_store.streams ENABLE ALWAYS TRIGGER guard_ledger;

SELECT pg_catalog.pg_extension_config_dump('event_store.streams', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.events', '');

CREATE TABLE event_store.ledger_publications (
    publication integer PRIMARY KEY,
    stream_id uuid NOT NULL,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    accounts bigint NOT NULL DEFAULT 0,
    last_account uuid,
    first_position bigint,
    last_position bigint,
    opened_position bigint,
    opened_at timestamptz,
    closed_position bigint,
    closed_at timestamptz,
    state text NOT NULL CHECK (state IN ('preparing', 'on', 'off')),
    started_by text NOT NULL,
    opened_by text,
    closed_by text
);

COMMENT ON TABLE event_store.ledger_publications IS
    'When the ledger''s postings were published as events. Written by event_store.publish_ledger and prepare_ledger_publication only (NB009).';

COMMENT ON COLUMN event_store.ledger_publications.stream_id IS
    'The aggregate whose events PublicationOpened and PublicationClosed are its beginning and end.';

COMMENT ON COLUMN event_store.ledger_publications.accounts IS
    'How many accounts were brought forward; one that changed between its preparation and the opening counts twice.';

COMMENT ON COLUMN event_store.ledger_publications.last_account IS 'The last account that was brought forward: they go by ascending id.';

COMMENT ON COLUMN event_store.ledger_publications.first_position IS
    'The first of its events: balances cannot be rebuilt without those from here on.';

COMMENT ON COLUMN event_store.ledger_publications.last_position IS 'The last BalanceBroughtForward so far.';

COMMENT ON COLUMN event_store.ledger_publications.opened_position IS
    'PublicationOpened: what is brought forward is below, the postings are above.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON event_store.ledger_publications
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_ledger ON event_store.ledger_publications IS
    'Keeps what is published to the functions that see to it (NB009).';

CREATE TRIGGER guard_loaded
    AFTER INSERT ON event_store.ledger_publications
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_loaded ON event_store.ledger_publications IS
    'Tells sessions that are open what a restore has loaded.';

ALTER TABLE event_store.ledger_publications ENABLE ALWAYS TRIGGER guard_ledger;

ALTER TABLE event_store.ledger_publications ENABLE ALWAYS TRIGGER guard_loaded;

CREATE VIEW event_store.ledger_publication AS
-- A WITH keeps the server from taking the view for one that can be written to.
WITH publications AS (SELECT p.* FROM event_store.ledger_publications p)
SELECT
    p.publication,
    p.state,
    p.accounts,
    p.opened_position,
    p.opened_at,
    p.opened_by,
    p.closed_position,
    p.closed_at,
    p.closed_by,
    (
        SELECT count(*)
        FROM event_store.events e
        WHERE e.aggregate_type = 'LedgerTransaction'
          AND e.global_position > p.opened_position
          AND e.global_position < coalesce(p.closed_position, 9223372036854775807)
    ) AS events
FROM publications p;

COMMENT ON VIEW event_store.ledger_publication IS
    'Each time that the ledger was published: since when, by whom, from which position, how many accounts were brought forward and how many postings'' events there are.';

CREATE FUNCTION event_store.uuid_of(event_data jsonb, key text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN event_data ->> key ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN (event_data ->> key)::uuid END;
END;

COMMENT ON FUNCTION event_store.uuid_of(jsonb, text) IS
    'The uuid that event_data has under the key, written as the server writes it; null where it has none.';

CREATE FUNCTION event_store.figure_of(event_data jsonb, key text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE pg_catalog.jsonb_typeof(event_data -> key) WHEN 'number' THEN (event_data -> key)::numeric END;
END;

COMMENT ON FUNCTION event_store.figure_of(jsonb, text) IS
    'The number that event_data has under the key; null where it has none.';

CREATE FUNCTION event_store.ledger_balances(as_of_position bigint DEFAULT NULL)
RETURNS TABLE (account_id uuid, currency_code text, balance numeric, postings bigint)
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 10000
BEGIN ATOMIC
    WITH opened AS (
        SELECT p.first_position, p.opened_position AS at, pg_catalog.to_jsonb(p.publication) AS publication
        FROM event_store.ledger_publications p
        WHERE p.opened_position = (SELECT event_store.ledger_opened_at(as_of_position))
    ), brought AS (
        SELECT DISTINCT ON (e.event_data ->> 'account_id')
            event_store.uuid_of(e.event_data, 'account_id') AS account_id,
            e.event_data ->> 'currency' AS currency_code,
            event_store.figure_of(e.event_data, 'balance') AS change
        FROM opened o
        JOIN event_store.events e
            ON e.aggregate_type = 'LedgerOpening'
           AND e.global_position >= o.first_position
           AND e.global_position < o.at
           AND e.event_data -> 'publication' = o.publication
        ORDER BY e.event_data ->> 'account_id', e.global_position DESC
    ), posted AS (
        SELECT side.account_id, e.event_data ->> 'currency' AS currency_code, side.change
        FROM opened o
        JOIN event_store.events e
            ON e.aggregate_type = 'LedgerTransaction'
           AND e.global_position > o.at
           AND e.global_position <= coalesce(as_of_position, 9223372036854775807)
        CROSS JOIN LATERAL (
            VALUES
                (event_store.uuid_of(e.event_data, 'debit_account'), event_store.figure_of(e.event_data, 'debit_change')),
                (event_store.uuid_of(e.event_data, 'credit_account'), event_store.figure_of(e.event_data, 'credit_change'))
        ) side (account_id, change)
    )
    SELECT c.account_id, c.currency_code, sum(c.change), sum(c.posting)::bigint
    FROM (
        SELECT b.account_id, b.currency_code, b.change, 0 AS posting FROM brought b
        UNION ALL
        SELECT p.account_id, p.currency_code, p.change, 1 FROM posted p
    ) c
    WHERE c.account_id IS NOT NULL AND c.change IS NOT NULL
    GROUP BY c.account_id, c.currency_code;
END;

COMMENT ON FUNCTION event_store.ledger_balances(bigint) IS
    'What each account holds by the events alone: what the last publication at that position brought forward, and its postings to there. as_of_position: the last position that counts, null: all that is committed. Equal to banking.account_balances in the same snapshot while the ledger is published; after it was switched off, as it was then. An account that was opened since and has no posting has no row. postings: its legs since the opening. NB132: retention has deleted events of that publication.';

CREATE FUNCTION event_store.check_ledger_events()
RETURNS TABLE (account_id uuid, by_events numeric, by_ledger numeric, wrong_events bigint, missing_events bigint)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 10
BEGIN ATOMIC
    WITH since AS MATERIALIZED (
        SELECT event_store.ledger_published_since() AS at
    ), by_ledger AS (
        SELECT a.account_id,
               coalesce(a.current_balance,
                        (SELECT sum(s.balance) FROM banking.account_slots s WHERE s.account_id = a.account_id)) AS balance,
               -- Every posting takes a number of the account's, or of one of its slots.
               a.version - 1 + coalesce(
                   (SELECT sum(s.sequence - (s.slot_no::bigint << 48) - 1)
                    FROM banking.account_slots s WHERE s.account_id = a.account_id), 0) AS postings
        FROM banking.accounts a
    ), brought AS (
        SELECT DISTINCT ON (e.event_data ->> 'account_id')
            event_store.uuid_of(e.event_data, 'account_id') AS account_id,
            event_store.figure_of(e.event_data, 'postings') AS postings
        FROM since
        JOIN event_store.ledger_publications p ON p.opened_position = since.at
        JOIN event_store.events e
            ON e.aggregate_type = 'LedgerOpening' AND e.global_position BETWEEN p.first_position AND since.at
           AND e.event_data -> 'publication' = pg_catalog.to_jsonb(p.publication)
        ORDER BY e.event_data ->> 'account_id', e.global_position DESC
    ), by_events AS (
        SELECT coalesce(e.account_id, b.account_id) AS account_id, e.balance,
               -- An account that was opened since has none before.
               CASE WHEN b.account_id IS NULL THEN e.postings ELSE coalesce(e.postings, 0) + b.postings END::bigint AS postings
        FROM event_store.ledger_balances() e
        FULL JOIN brought b ON b.account_id = e.account_id
    ), wrong AS (
        SELECT side.account_id, count(DISTINCT e.event_id) AS events
        FROM since
        JOIN event_store.events e ON e.aggregate_type = 'LedgerTransaction' AND e.global_position > since.at
        LEFT JOIN txn_processing.movements m
            ON m.transaction_id = event_store.uuid_of(e.event_data, 'transaction_id')
           AND m.leg = event_store.figure_of(e.event_data, 'leg')
        CROSS JOIN LATERAL (
            VALUES (event_store.uuid_of(e.event_data, 'debit_account')), (event_store.uuid_of(e.event_data, 'credit_account'))
        ) side (account_id)
        WHERE m.transaction_id IS NULL
           OR m.debit_account IS DISTINCT FROM event_store.uuid_of(e.event_data, 'debit_account')
           OR m.credit_account IS DISTINCT FROM event_store.uuid_of(e.event_data, 'credit_account')
           OR m.amount IS DISTINCT FROM event_store.figure_of(e.event_data, 'amount')
           OR m.amount IS DISTINCT FROM abs(event_store.figure_of(e.event_data, 'debit_change'))
           OR m.amount IS DISTINCT FROM abs(event_store.figure_of(e.event_data, 'credit_change'))
           OR m.currency_code IS DISTINCT FROM e.event_data ->> 'currency'
        GROUP BY side.account_id
    )
    SELECT coalesce(l.account_id, e.account_id, w.account_id), e.balance, l.balance, coalesce(w.events, 0),
           coalesce(CASE WHEN e.account_id IS NULL THEN l.postings ELSE l.postings - e.postings END, 0)
    FROM since
    CROSS JOIN (
        by_events e
        FULL JOIN by_ledger l ON l.account_id = e.account_id
        FULL JOIN wrong w ON w.account_id = coalesce(l.account_id, e.account_id)
    )
    WHERE coalesce(e.balance, 0) IS DISTINCT FROM l.balance OR w.events > 0
       OR (e.account_id IS NOT NULL AND l.postings <> e.postings)
       OR (e.account_id IS NULL AND l.postings > 0);
END;

COMMENT ON FUNCTION event_store.check_ledger_events() IS
    'Accounts on which the events of the publication that is on and the ledger differ, at one moment, whoever posts meanwhile; none where all is right. by_events, by_ledger: the balances; wrong_events: events since then that say something else than their posting; account_id null: of events that name no account; missing_events: its postings since then less their events, so that lost ones which cancel each other out are found too. NB130: the ledger is not published.';

CREATE PROCEDURE event_store.run_ledger_publication(max_accounts integer DEFAULT 10000)
LANGUAGE plpgsql
AS $$
DECLARE
    is_done boolean;
BEGIN
    LOOP
        SET LOCAL search_path = pg_catalog, pg_temp;
        is_done := event_store.prepare_ledger_publication(run_ledger_publication.max_accounts) = 0;
        COMMIT;
        EXIT WHEN is_done;
    END LOOP;
    SET LOCAL search_path = pg_catalog, pg_temp;
    PERFORM event_store.publish_ledger(true);
    COMMIT;
END
$$;

COMMENT ON PROCEDURE event_store.run_ledger_publication(integer) IS
    'Publishes the ledger of a bank with many accounts: calls event_store.prepare_ledger_publication, max_accounts (1 to 100,000) at a time, and commits after each call, so that other sessions see in event_store.ledger_publication how far it is; then event_store.publish_ledger(true). May be stopped and called again. Errors: of both; 2D000 inside a transaction block.';

SELECT pg_catalog.pg_extension_config_dump('event_store.ledger_publications', '');

CREATE TABLE event_store.subscriptions (
    name text COLLATE "C" PRIMARY KEY,
    partitions integer NOT NULL CHECK (partitions BETWEEN 1 AND 256),
    max_attempts integer NOT NULL CHECK (max_attempts > 0),
    backoff_first_ms integer NOT NULL CHECK (backoff_first_ms >= 0),
    backoff_most_ms integer NOT NULL CHECK (backoff_most_ms >= backoff_first_ms),
    lease_ms integer NOT NULL CHECK (lease_ms > 0),
    parked_blocks boolean NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    aggregate_types text[],
    event_types text[],
    tags text[]
);

COMMENT ON TABLE event_store.subscriptions IS
    'Who is to get which events. Written by event_store.create_subscription, alter_subscription and drop_subscription.';

COMMENT ON COLUMN event_store.subscriptions.partitions IS
    'A stream belongs to one of them (event_store.stream_partition); as many consumers can have events at once.';

COMMENT ON COLUMN event_store.subscriptions.parked_blocks IS
    'Whether the later events of a stream wait for its parked one to be replayed or discarded.';

COMMENT ON COLUMN event_store.subscriptions.aggregate_types IS 'Only events of these; null: of all.';

COMMENT ON COLUMN event_store.subscriptions.event_types IS 'Only events of these; null: of all.';

COMMENT ON COLUMN event_store.subscriptions.tags IS 'Only events that have all of these; null: all events.';

CREATE TABLE event_store.subscription_partitions (
    subscription text COLLATE "C" NOT NULL,
    partition_no integer NOT NULL,
    position bigint NOT NULL CHECK (position >= 0),
    lease_token bigint,
    PRIMARY KEY (subscription, partition_no)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

COMMENT ON TABLE event_store.subscription_partitions IS
    'How far each partition of a subscription has come. Who holds a row''s lock, or its lease, has the partition''s streams for itself.';

COMMENT ON COLUMN event_store.subscription_partitions.position IS
    'Every event of the partition up to here is handled, or in flight (event_store.subscription_leases), or its stream is in event_store.subscription_streams.';

COMMENT ON COLUMN event_store.subscription_partitions.lease_token IS 'Whose events are in flight; null: none.';

CREATE TABLE event_store.subscription_streams (
    subscription text COLLATE "C" NOT NULL,
    aggregate_id uuid NOT NULL,
    retry_at timestamptz NOT NULL,
    lease_token bigint,
    failed_token bigint,
    partition_no integer NOT NULL,
    next_version integer NOT NULL CHECK (next_version > 0),
    attempts integer NOT NULL CHECK (attempts >= 0),
    failed_version integer,
    blocked boolean NOT NULL DEFAULT false,
    alone boolean NOT NULL DEFAULT false,
    reason text,
    PRIMARY KEY (subscription, aggregate_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);

CREATE INDEX subscription_streams_due_idx ON event_store.subscription_streams (subscription, alone, retry_at)
    WHERE lease_token IS NULL AND NOT blocked;

CREATE INDEX subscription_streams_lease_idx ON event_store.subscription_streams (subscription, lease_token)
    WHERE lease_token IS NOT NULL;

CREATE INDEX subscription_streams_clear_idx ON event_store.subscription_streams (subscription, partition_no)
    WHERE lease_token IS NULL AND NOT blocked AND attempts = 0;

COMMENT ON TABLE event_store.subscription_streams IS
    'Streams with an event that failed: they are handed out by themselves until they have caught up with their partition.';

COMMENT ON COLUMN event_store.subscription_streams.next_version IS 'The first version that is neither handled nor parked.';

COMMENT ON COLUMN event_store.subscription_streams.attempts IS 'How often the event that failed last has failed.';

COMMENT ON COLUMN event_store.subscription_streams.failed_version IS
    'The version of the event that failed last: the next one, or a parked one that is replayed.';

COMMENT ON COLUMN event_store.subscription_streams.blocked IS 'An event of it is parked, and the others wait for that.';

COMMENT ON COLUMN event_store.subscription_streams.alone IS
    'Its next event is handed out with no other, so that a consumer that dies again shows whose fault it is.';

COMMENT ON COLUMN event_store.subscription_streams.failed_token IS 'The lease in which an event failed last.';

CREATE TABLE event_store.subscription_parked (
    subscription text COLLATE "C" NOT NULL,
    global_position bigint NOT NULL,
    aggregate_id uuid NOT NULL,
    event_id uuid NOT NULL,
    parked_at timestamptz NOT NULL,
    lease_token bigint,
    partition_no integer NOT NULL,
    event_version integer NOT NULL,
    attempts integer NOT NULL,
    replaying boolean NOT NULL DEFAULT false,
    consumer text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (subscription, global_position)
);

CREATE INDEX subscription_parked_stream_idx
    ON event_store.subscription_parked (subscription, aggregate_id, event_version);

CREATE INDEX subscription_parked_replaying_idx ON event_store.subscription_parked (subscription, partition_no)
    WHERE replaying;

COMMENT ON TABLE event_store.subscription_parked IS
    'Events that were given up after the most attempts, until they are replayed or discarded. See event_store.parked_events.';

COMMENT ON COLUMN event_store.subscription_parked.replaying IS 'It is to be handed out once more.';

COMMENT ON COLUMN event_store.subscription_parked.lease_token IS 'The lease in which it was parked.';

CREATE SEQUENCE event_store.lease_token_seq;

COMMENT ON SEQUENCE event_store.lease_token_seq IS
    'Fencing tokens: of two leases of a stream the later has the higher one.';

CREATE TABLE event_store.subscription_leases (
    subscription text COLLATE "C" NOT NULL,
    lease_token bigint NOT NULL,
    leased_until timestamptz NOT NULL,
    taken_at timestamptz NOT NULL,
    taken_in xid8 NOT NULL,
    done boolean NOT NULL DEFAULT false,
    consumer text NOT NULL,
    open_positions bigint[] NOT NULL,
    acked_positions bigint[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (subscription, lease_token)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE INDEX subscription_leases_open_idx ON event_store.subscription_leases (subscription, leased_until)
    WHERE NOT done;

COMMENT ON TABLE event_store.subscription_leases IS
    'What each fetch has handed out. The last thousand that are done are kept, so that an acknowledgement that comes again is known.';

COMMENT ON COLUMN event_store.subscription_leases.open_positions IS
    'The positions of its events that are neither acknowledged nor given back.';

COMMENT ON COLUMN event_store.subscription_leases.taken_in IS
    'The transaction of the fetch. In a row that is restored it is another than the one that writes.';

CREATE FUNCTION event_store.end_restored_lease() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.leased_until := '-infinity';
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION event_store.end_restored_lease() IS
    'Ends leases that come with a restore: their consumers are those of another database.';

CREATE TRIGGER end_restored_lease
    BEFORE INSERT ON event_store.subscription_leases
    FOR EACH ROW WHEN (NOT NEW.done AND NEW.taken_in <> pg_catalog.pg_current_xact_id())
    EXECUTE FUNCTION event_store.end_restored_lease();

COMMENT ON TRIGGER end_restored_lease ON event_store.subscription_leases IS
    'Events that were in flight when a dump was made are handed out at once where it is restored, without counting an attempt.';

CREATE TABLE event_store.subscription_consumers (
    subscription text COLLATE "C" NOT NULL,
    consumer text COLLATE "C" NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (subscription, consumer)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

COMMENT ON TABLE event_store.subscription_consumers IS
    'Who fetches, so that each consumer takes its share of the partitions. Forgotten a day after it was seen last.';

COMMENT ON COLUMN event_store.subscription_consumers.seen_at IS 'When it fetched last, to the second.';

CREATE VIEW event_store.subscription_lag AS
SELECT s.name AS subscription,
       s.paused,
       p.position,
       unread.events + unsettled.events AS events_behind,
       oldest.created_at AS oldest_at,
       pg_catalog.clock_timestamp() - oldest.created_at AS oldest_age,
       (SELECT coalesce(sum(pg_catalog.cardinality(l.open_positions)), 0)
        FROM event_store.subscription_leases l WHERE l.subscription = s.name AND NOT l.done) AS in_flight,
       (SELECT count(*) FROM event_store.subscription_streams h
        WHERE h.subscription = s.name AND NOT h.blocked AND h.attempts > 0) AS retrying_streams,
       (SELECT count(*) FROM event_store.subscription_streams h
        WHERE h.subscription = s.name AND h.blocked) AS blocked_streams,
       (SELECT count(*) FROM event_store.subscription_parked k
        WHERE k.subscription = s.name AND NOT k.replaying) AS parked,
       c.consumers,
       c.last_seen_at
FROM event_store.subscriptions s
CROSS JOIN LATERAL (
    SELECT min(x.position) AS position FROM event_store.subscription_partitions x WHERE x.subscription = s.name
) p
CROSS JOIN LATERAL (
    SELECT count(*) AS events, min(e.created_at) AS created_at
    FROM (SELECT * FROM event_store.events a
          WHERE a.global_position > p.position ORDER BY a.global_position LIMIT 100000) e
    JOIN event_store.subscription_partitions x
      ON x.subscription = s.name AND x.partition_no = event_store.stream_partition(e.aggregate_id, s.partitions)
    WHERE e.global_position > x.position
      AND (s.aggregate_types IS NULL OR e.aggregate_type = ANY (s.aggregate_types))
      AND (s.event_types IS NULL OR e.event_type = ANY (s.event_types))
      AND (s.tags IS NULL OR e.tags @> s.tags)
) unread
CROSS JOIN LATERAL (
    SELECT count(*) AS events, min(u.created_at) AS created_at
    FROM (
        SELECT e.global_position, e.created_at
        FROM event_store.subscription_leases l
        CROSS JOIN LATERAL pg_catalog.unnest(l.open_positions) o(position)
        JOIN event_store.events e ON e.global_position = o.position
        WHERE l.subscription = s.name AND NOT l.done
        UNION
        SELECT e.global_position, e.created_at
        FROM event_store.subscription_streams h
        JOIN event_store.subscription_partitions x
          ON x.subscription = s.name AND x.partition_no = h.partition_no
        CROSS JOIN LATERAL (
            SELECT a.global_position, a.created_at
            FROM event_store.events a
            WHERE a.aggregate_id = h.aggregate_id AND a.event_version >= h.next_version
              AND a.global_position <= x.position
              AND (s.aggregate_types IS NULL OR a.aggregate_type = ANY (s.aggregate_types))
              AND (s.event_types IS NULL OR a.event_type = ANY (s.event_types))
              AND (s.tags IS NULL OR a.tags @> s.tags)
            LIMIT 100000
        ) e
        WHERE h.subscription = s.name
        UNION
        SELECT k.global_position, e.created_at
        FROM event_store.subscription_parked k
        JOIN event_store.events e ON e.global_position = k.global_position
        WHERE k.subscription = s.name AND k.replaying
    ) u
) unsettled
CROSS JOIN LATERAL (SELECT least(unread.created_at, unsettled.created_at) AS created_at) oldest
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE n.seen_at > pg_catalog.clock_timestamp() - interval '1 minute') AS consumers,
           max(n.seen_at) AS last_seen_at
    FROM event_store.subscription_consumers n WHERE n.subscription = s.name
) c;

COMMENT ON VIEW event_store.subscription_lag IS
    'How far each subscription is behind: position (all partitions have read up to there), events_behind (events that match and are neither handled nor parked; counted up to 100,000 unread ones), oldest_at and oldest_age (of the oldest of them), in_flight (events that consumers have), retrying_streams, blocked_streams, parked (events), consumers (seen in the last minute), last_seen_at.';

CREATE VIEW event_store.parked_events AS
SELECT k.subscription, k.event_id, k.aggregate_id, k.event_version, k.global_position, e.aggregate_type, e.event_type,
       e.event_data, e.metadata, e.created_at, k.attempts, k.reason, k.consumer, k.parked_at, k.replaying,
       coalesce(h.blocked, false) AS blocks
FROM event_store.subscription_parked k
LEFT JOIN event_store.events e ON e.global_position = k.global_position
LEFT JOIN event_store.subscription_streams h
  ON h.subscription = k.subscription AND h.aggregate_id = k.aggregate_id;

COMMENT ON VIEW event_store.parked_events IS
    'Events that were given up: attempts, the reason of the last failure, consumer (who had it), replaying (event_store.replay_parked was called for it), blocks (the stream''s later events wait for it).';

SELECT pg_catalog.pg_extension_config_dump('event_store.subscriptions', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_partitions', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_streams', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_parked', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_leases', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_consumers', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.lease_token_seq', '');

CREATE TABLE event_store.reducers (
    aggregate_type varchar(100),
    event_type varchar(100),
    operations jsonb,
    handler text,
    defined_by text NOT NULL,
    defined_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    UNIQUE NULLS NOT DISTINCT (aggregate_type, event_type),
    CHECK ((operations IS NULL) <> (handler IS NULL))
);

ALTER TABLE event_store.reducers REPLICA IDENTITY FULL;

COMMENT ON TABLE event_store.reducers IS
    'What events do to the state of their aggregate. Written by event_store.define_reducer and drop_reducer (NB009).';

COMMENT ON COLUMN event_store.reducers.aggregate_type IS 'Null: any.';

COMMENT ON COLUMN event_store.reducers.event_type IS 'Null: any that has no reducer of its own.';

COMMENT ON COLUMN event_store.reducers.handler IS
    'The function (state jsonb, event event_store.events) returning jsonb, by its name: looked up when it is called.';

CREATE TABLE event_store.snapshots (
    aggregate_id uuid NOT NULL,
    generation uuid NOT NULL,
    version integer NOT NULL,
    bytes integer NOT NULL,
    kept boolean NOT NULL,
    state jsonb NOT NULL,
    PRIMARY KEY (aggregate_id, version)
);

COMMENT ON TABLE event_store.snapshots IS
    'States of long streams at some of their versions, from which event_store.get_aggregate_state goes on. Written by the appending functions only (NB009), in the transaction of the events. All of it may be missing: states are only slower then.';

COMMENT ON COLUMN event_store.snapshots.generation IS
    'Of the reducers that made it; readers with others pass it by.';

COMMENT ON COLUMN event_store.snapshots.bytes IS 'The size of the state: a large one is written less often.';

COMMENT ON COLUMN event_store.snapshots.kept IS 'Stays when newer ones come, for the states at old versions.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON event_store.reducers
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_ledger ON event_store.reducers IS 'Keeps the reducers to those that were checked (NB009).';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON event_store.snapshots
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_ledger ON event_store.snapshots IS 'Keeps states to what events make of them (NB009).';

ALTER TABLE event_store.reducers ENABLE ALWAYS TRIGGER guard_ledger;

ALTER TABLE event_store.snapshots ENABLE ALWAYS TRIGGER guard_ledger;

SELECT pg_catalog.pg_extension_config_dump('event_store.reducers', '');

CREATE TABLE cqrs.activity_marks (
    account_id uuid NOT NULL,
    sequence bigint NOT NULL,
    last_effective timestamptz NOT NULL,
    amount_total numeric NOT NULL,
    PRIMARY KEY (account_id, sequence)
);

COMMENT ON TABLE cqrs.activity_marks IS
    'What the first 256, 512, 768 ... postings of an account, or of one of its slots, add up to: so that readers need not add up a long history. Made by cqrs.refresh_activity; a missing row makes reading slower and nothing else, so all may be deleted.';

COMMENT ON COLUMN cqrs.activity_marks.sequence IS
    'The number of the last posting that is in it, as txn_processing.movements counts them.';

COMMENT ON COLUMN cqrs.activity_marks.amount_total IS
    'The amounts of the account''s postings up to that one, or of the slot''s, debits and credits alike.';

COMMENT ON COLUMN cqrs.activity_marks.last_effective IS 'The latest time from which any of them counts.';

CREATE TABLE cqrs.risk_scores (
    customer_id uuid PRIMARY KEY,
    set_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    risk_score integer NOT NULL,
    set_by text NOT NULL
);

COMMENT ON TABLE cqrs.risk_scores IS
    'What the application thinks of a customer, shown in cqrs.customer_summary. Set by cqrs.set_risk_score; the row of a customer who is deleted is shown nowhere.';

CREATE TABLE cqrs.command_handlers (
    command_type varchar(100) PRIMARY KEY,
    handler_schema text NOT NULL,
    handler_name text NOT NULL,
    max_attempts integer NOT NULL CHECK (max_attempts BETWEEN 1 AND 100),
    registered_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    registered_by text NOT NULL
);

COMMENT ON TABLE cqrs.command_handlers IS
    'Which function carries out the commands of a type. Written by cqrs.register_handler.';

COMMENT ON COLUMN cqrs.command_handlers.max_attempts IS 'Of commands that do not say it themselves.';

CREATE TABLE cqrs.commands (
    command_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    command_type varchar(100) NOT NULL,
    aggregate_type varchar(100) NOT NULL,
    aggregate_id uuid,
    payload jsonb NOT NULL,
    status varchar(20) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'completed', 'failed')),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    processed_at timestamptz,
    result jsonb,
    attempts integer NOT NULL DEFAULT 0,
    max_attempts integer CHECK (max_attempts BETWEEN 1 AND 100),
    next_attempt_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    submitted_by text NOT NULL DEFAULT CURRENT_USER,
    correlation_id text,
    error_code text,
    error_message text,
    error_detail text
) WITH (fillfactor = 70);

CREATE INDEX commands_pending_idx ON cqrs.commands (created_at, command_id, next_attempt_at) WHERE status = 'pending';

COMMENT ON TABLE cqrs.commands IS
    'What somebody wants done, and what became of it. Submit with cqrs.submit_command; cqrs.process_commands and the background workers carry out what is pending.';

COMMENT ON COLUMN cqrs.commands.command_id IS 'The caller''s, so that a retry answers the first result, or drawn.';

COMMENT ON COLUMN cqrs.commands.status IS
    'pending (also while it waits for another attempt), completed or failed. A claim and its outcome commit together, so nothing between is ever seen.';

COMMENT ON COLUMN cqrs.commands.result IS 'What the handler answered.';

COMMENT ON COLUMN cqrs.commands.attempts IS 'How often the handler was called.';

COMMENT ON COLUMN cqrs.commands.max_attempts IS 'Null: as the handler was registered with.';

COMMENT ON COLUMN cqrs.commands.next_attempt_at IS 'cqrs.process_commands leaves the command alone until then.';

COMMENT ON COLUMN cqrs.commands.submitted_by IS 'The role that wants it: the handler runs with its rights.';

COMMENT ON COLUMN cqrs.commands.error_code IS 'The SQLSTATE of the last attempt where that failed; null after a success.';

CREATE TABLE cqrs.command_events (
    event_id uuid PRIMARY KEY,
    command_id uuid NOT NULL,
    global_position bigint NOT NULL
);

CREATE INDEX command_events_command_id_idx ON cqrs.command_events (command_id);

COMMENT ON TABLE cqrs.command_events IS
    'Which command appended an event: every event that a handler, or what it called, has appended. Its row stays when retention deletes the event.';

COMMENT ON COLUMN cqrs.command_events.global_position IS 'The event''s.';

CREATE FUNCTION cqrs.command_result(command_id uuid) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        pg_catalog.jsonb_build_object(
            'command_id', c.command_id, 'command_type', c.command_type, 'status', c.status, 'result', c.result,
            'attempts', c.attempts,
            'events', coalesce(
                (SELECT pg_catalog.jsonb_agg(l.event_id ORDER BY l.global_position)
                 FROM cqrs.command_events l
                 WHERE l.command_id = c.command_id), '[]'))
        || CASE WHEN c.error_code IS NULL THEN '{}'
           ELSE pg_catalog.jsonb_build_object('error', pg_catalog.jsonb_build_object(
               'code', c.error_code, 'message', c.error_message, 'detail', c.error_detail)) END
    FROM cqrs.commands c
    WHERE c.command_id = $1;
END;

COMMENT ON FUNCTION cqrs.command_result(uuid) IS
    'What became of a command: its status, the handler''s result, attempts, the ids of the events that it appended, in their order, and the error of the last attempt. command_id; null for an unknown one.';

SELECT pg_catalog.pg_extension_config_dump('cqrs.command_handlers', '');

SELECT pg_catalog.pg_extension_config_dump('cqrs.commands', '');

SELECT pg_catalog.pg_extension_config_dump('cqrs.command_events', '');

SELECT pg_catalog.pg_extension_config_dump('cqrs.activity_marks', '');

SELECT pg_catalog.pg_extension_config_dump('cqrs.risk_scores', '');

CREATE TABLE cqrs.projections (
    name varchar(100) PRIMARY KEY,
    projection_no integer GENERATED BY DEFAULT AS IDENTITY UNIQUE,
    generation integer NOT NULL DEFAULT 0,
    mode text NOT NULL CHECK (mode IN ('inline', 'async')),
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused')),
    handler_schema text NOT NULL,
    handler_name text NOT NULL,
    target_schema text NOT NULL,
    target_name text NOT NULL,
    aggregate_types text[] NOT NULL,
    event_types text[] NOT NULL,
    tags text[] NOT NULL,
    position bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    failures integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    failed_event uuid,
    error_code text,
    error_message text,
    error_detail text,
    twin_name text,
    twin_position bigint,
    fence bigint,
    rebuild_started_at timestamptz,
    UNIQUE (target_schema, target_name)
) WITH (fillfactor = 50);

COMMENT ON TABLE cqrs.projections IS
    'Tables that functions of the application''s keep from events. Written by cqrs.create_projection and its siblings; read it through cqrs.projection_status.';

COMMENT ON COLUMN cqrs.projections.generation IS 'One more with each rebuild, which puts another table in the place of the target.';

COMMENT ON COLUMN cqrs.projections.aggregate_types IS 'Events of these types only; empty: of any. So are event_types.';

COMMENT ON COLUMN cqrs.projections.tags IS 'Events that have all of these.';

COMMENT ON COLUMN cqrs.projections.position IS
    'Of an async projection: the global_position of the last event that it has come to.';

COMMENT ON COLUMN cqrs.projections.failed_event IS 'The event that an async projection stands before, and error_code and so on why.';

COMMENT ON COLUMN cqrs.projections.twin_name IS 'While it is rebuilt: the table that will take the target''s place.';

COMMENT ON COLUMN cqrs.projections.twin_position IS 'How far events are replayed into it.';

COMMENT ON COLUMN cqrs.projections.fence IS
    'Once the replay is through, of an inline projection: the number that all transactions under way must be above before the swap.';

CREATE VIEW cqrs.projection_status AS
SELECT
    p.name,
    p.mode,
    p.state,
    pg_catalog.format('%I.%I', p.handler_schema, p.handler_name) AS handler,
    pg_catalog.format('%I.%I', p.target_schema, p.target_name) AS target,
    CASE p.mode WHEN 'async' THEN p.position END AS position,
    l.behind,
    CASE WHEN l.behind = 0 THEN '0'::interval ELSE pg_catalog.clock_timestamp() - l.oldest END AS lag,
    p.updated_at,
    p.failures,
    p.next_attempt_at,
    p.failed_event,
    p.error_code,
    p.error_message,
    p.error_detail,
    p.rebuild_started_at,
    CASE WHEN p.twin_name IS NOT NULL THEN p.twin_position END AS rebuild_position,
    CASE
        WHEN p.twin_name IS NULL THEN NULL
        WHEN p.fence IS NOT NULL THEN 'waiting'
        ELSE 'replaying'
    END AS rebuild_state
FROM cqrs.projections p
LEFT JOIN LATERAL (
    SELECT pg_catalog.count(*) AS behind, pg_catalog.min(w.created_at) AS oldest
    FROM (SELECT e.created_at FROM event_store.events e
          WHERE e.global_position > p.position
          ORDER BY e.global_position LIMIT 10000) w
) l ON p.mode = 'async';

COMMENT ON VIEW cqrs.projection_status IS 'Where each projection and its rebuild stand, and what stops them.';

COMMENT ON COLUMN cqrs.projection_status.behind IS
    'Events of any type that an async projection has not come to yet; 10,000 stands for that or more.';

COMMENT ON COLUMN cqrs.projection_status.lag IS 'The age of the oldest of them.';

CREATE FUNCTION cqrs.target_obstacle(target regclass) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE
        WHEN c.relkind <> 'r' OR c.relispartition OR c.relpersistence = 't' THEN 'is not a plain table'
        WHEN c.relnamespace IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace, 'information_schema'::regnamespace)
            THEN 'belongs to the system'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
                     AND d.objid = c.oid AND d.deptype = 'e') THEN 'is part of an extension'
        WHEN EXISTS (SELECT FROM cqrs.projections p JOIN pg_catalog.pg_namespace n ON n.nspname = p.target_schema
                     WHERE n.oid = c.relnamespace AND p.twin_name = c.relname) THEN 'is what a projection is rebuilt into'
        WHEN c.relrowsecurity OR EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid)
            THEN 'has row-level security'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) THEN 'has triggers'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND c.oid IN (k.conrelid, k.confrelid))
            THEN 'has foreign keys'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)) THEN 'inherits'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prrelid = c.oid) THEN 'is published'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid)
            OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                       WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid
                         AND d.classid = 'pg_catalog.pg_rewrite'::regclass) THEN 'has rules, or views refer to it'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
                     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
                       AND d.refobjid = c.oid AND d.deptype = 'a') THEN 'has a serial column, which would lose its sequence'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
                     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
                       AND d.refobjid = c.oid AND d.deptype = 'i' AND s.relacl IS NOT NULL)
            THEN 'has an identity column with grants on its sequence'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_statistic_ext x WHERE x.stxrelid = c.oid) THEN 'has extended statistics'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_seclabel l
                     WHERE l.classoid = 'pg_catalog.pg_class'::regclass AND l.objoid = c.oid) THEN 'has security labels'
        WHEN c.reloftype <> 0 THEN 'is of a composite type'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d
                     WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid AND d.deptype = 'n'
                       AND d.classid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_class'::regclass))
            OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                       WHERE d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid IN (c.reltype, (
                           SELECT t.typarray FROM pg_catalog.pg_type t WHERE t.oid = c.reltype))
                         AND d.deptype = 'n') THEN 'is used by a function or another table'
    END
    FROM pg_catalog.pg_class c
    WHERE c.oid = $1;
END;

COMMENT ON FUNCTION cqrs.target_obstacle(regclass) IS
    'Why a table cannot be a projection''s: what a table that is put into its place would lose. target; null: nothing stands in the way. Called by cqrs.create_projection and the rebuild.';

CREATE FUNCTION cqrs.twin_indexes(target regclass, twin regclass)
RETURNS TABLE (old_index regclass, twin_index regclass)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 4
BEGIN ATOMIC
    WITH indexes AS (
        SELECT i.indrelid, i.indexrelid,
               row_number() OVER (
                   PARTITION BY i.indrelid, i.indisprimary, i.indisunique,
                                substring(pg_catalog.pg_get_indexdef(i.indexrelid) FROM ' USING .*$')
                   ORDER BY i.indexrelid) AS nth,
               i.indisprimary, i.indisunique, substring(pg_catalog.pg_get_indexdef(i.indexrelid) FROM ' USING .*$') AS definition
        FROM pg_catalog.pg_index i
        WHERE i.indrelid IN (target, twin)
    )
    SELECT o.indexrelid::regclass, f.indexrelid::regclass
    FROM indexes f JOIN indexes o USING (nth, indisprimary, indisunique, definition)
    WHERE f.indrelid = twin AND o.indrelid = target;
END;

COMMENT ON FUNCTION cqrs.twin_indexes(regclass, regclass) IS
    'Which index of a projection''s target is which of its twin. Called by cqrs.make_twin and swap_twin.';

CREATE FUNCTION cqrs.make_twin(target regclass) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    old record;
    entry record;
    fresh regclass;
    twin CONSTANT text := 'rebuild_' || replace(gen_random_uuid()::text, '-', '');
BEGIN
    SELECT n.nspname, c.relname, c.relowner, c.relpersistence, c.relreplident, am.amname, s.spcname,
           (SELECT string_agg(o, ', ')
            FROM (SELECT unnest(c.reloptions) AS o
                  UNION ALL SELECT 'toast.' || unnest(t.reloptions) FROM pg_class t WHERE t.oid = c.reltoastrelid) o) AS options,
           cqrs.target_obstacle(c.oid) AS obstacle
    INTO old
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_am am ON am.oid = c.relam
    LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
    WHERE c.oid = target;
    IF old.obstacle IS NOT NULL THEN
        RAISE EXCEPTION 'table cannot be a projection''s'
            USING ERRCODE = 'NB128', DETAIL = format('Table %s %s.', target, old.obstacle),
                  HINT = 'Give a plain table of your own, to which nothing else refers.';
    END IF;
    EXECUTE format('CREATE %s TABLE %I.%I (LIKE %s INCLUDING ALL) USING %I%s',
                   CASE old.relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE '' END, old.nspname, twin, target, old.amname,
                   ' TABLESPACE ' || quote_ident(old.spcname));
    fresh := to_regclass(format('%I.%I', old.nspname, twin));
    IF old.options <> '' THEN
        EXECUTE format('ALTER TABLE %s SET (%s)', fresh, old.options);
    END IF;
    FOR entry IN
        SELECT format('ALTER COLUMN %I SET STATISTICS %s', a.attname, a.attstattarget) AS change
        FROM pg_attribute a WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0
        UNION ALL
        -- The server may keep others there, of its own.
        SELECT format('ALTER COLUMN %I SET (%s)', a.attname, o)
        FROM pg_attribute a, unnest(a.attoptions) o
        WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND o ~ '^n_distinct(_inherited)?='
        UNION ALL
        -- What is updated and deleted in the twin may be published, as all tables are.
        SELECT 'REPLICA IDENTITY ' || CASE old.relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END
        WHERE old.relreplident IN ('f', 'n')
        UNION ALL
        SELECT format('REPLICA IDENTITY USING INDEX %I', c.relname)
        FROM cqrs.twin_indexes(target, fresh) x
        JOIN pg_index i ON i.indexrelid = x.old_index AND i.indisreplident
        JOIN pg_class c ON c.oid = x.twin_index
        UNION ALL
        SELECT format('CLUSTER ON %I', c.relname)
        FROM cqrs.twin_indexes(target, fresh) x
        JOIN pg_index i ON i.indexrelid = x.old_index AND i.indisclustered
        JOIN pg_class c ON c.oid = x.twin_index
    LOOP
        EXECUTE format('ALTER TABLE %s %s', fresh, entry.change);
    END LOOP;
    FOR entry IN
        SELECT x.twin_index, a.attnum, a.attstattarget
        FROM cqrs.twin_indexes(target, fresh) x
        JOIN pg_attribute a ON a.attrelid = x.old_index AND a.attstattarget >= 0
    LOOP
        EXECUTE format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s', entry.twin_index, entry.attnum, entry.attstattarget);
    END LOOP;
    EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', old.nspname, twin, pg_get_userbyid(old.relowner));
    RETURN twin;
END
$$;

COMMENT ON FUNCTION cqrs.make_twin(regclass) IS
    'Makes an empty table like the target, with its owner, in its schema; returns its name. Called by cqrs.rebuild_projection. NB128: the target has something that it would lose.';

CREATE FUNCTION cqrs.swap_twin(target regclass, twin text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    old record;
    entry record;
    fresh oid;
    obstacle text;
    renamed text[];
    pair text[];
BEGIN
    SELECT to_regclass(format('%I.%I', n.nspname, twin)) INTO fresh
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target;
    IF fresh IS NULL THEN
        RAISE EXCEPTION 'table cannot be a projection''s'
            USING ERRCODE = 'NB128', DETAIL = format('There is no table %s, or beside it none of the name %L.', target, left(twin, 100)),
                  HINT = 'Leave the call to cqrs.run_rebuild.';
    END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', target);
    obstacle := cqrs.target_obstacle(target);
    IF obstacle IS NOT NULL THEN
        RAISE EXCEPTION 'table cannot be a projection''s'
            USING ERRCODE = 'NB128', DETAIL = format('Table %s %s.', target, obstacle),
                  HINT = 'Give a plain table of your own, to which nothing else refers.';
    END IF;
    SELECT n.nspname, c.relname, c.relacl, pg_get_userbyid(c.relowner) AS owner, obj_description(c.oid, 'pg_class') AS comment
    INTO old
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target;

    -- What default privileges gave it goes, then it gets what the old one has.
    FOR entry IN
        SELECT DISTINCT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(x.grantee)) END AS grantee
        FROM pg_class c, aclexplode(c.relacl) x WHERE c.oid = fresh
        UNION SELECT format('%I', old.owner) WHERE old.relacl IS NOT NULL
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', fresh::regclass, entry.grantee);
    END LOOP;
    FOR entry IN
        SELECT x.privilege_type, '' AS columns,
               CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(x.grantee)) END AS grantee, x.is_grantable
        FROM aclexplode(coalesce(old.relacl, acldefault('r', old.owner::regrole))) x
        UNION ALL
        SELECT x.privilege_type, format(' (%I)', a.attname),
               CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(x.grantee)) END, x.is_grantable
        FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
        EXECUTE format('GRANT %s%s ON %s TO %s%s', entry.privilege_type, entry.columns, fresh::regclass, entry.grantee,
                       CASE WHEN entry.is_grantable AND entry.grantee <> 'PUBLIC' THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
    EXECUTE format('COMMENT ON TABLE %s IS %L', fresh::regclass, old.comment);

    -- An identity column's sequence is renamed as an index is: both are relations.
    SELECT array_agg(ARRAY[f.relname::text, o.relname::text])
    INTO renamed
    FROM (
        SELECT x.twin_index::oid AS fresh, x.old_index::oid AS old FROM cqrs.twin_indexes(target, fresh) x
        UNION ALL
        SELECT pg_get_serial_sequence(fresh::regclass::text, a.attname)::regclass,
               pg_get_serial_sequence(target::text, a.attname)::regclass
        FROM pg_attribute a WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity <> ''
    ) x
    JOIN pg_class f ON f.oid = x.fresh
    JOIN pg_class o ON o.oid = x.old
    WHERE f.relname <> o.relname;

    EXECUTE format('DROP TABLE %s', target);
    EXECUTE format('ALTER TABLE %I.%I RENAME TO %I', old.nspname, twin, old.relname);
    IF renamed IS NOT NULL THEN
        FOREACH pair SLICE 1 IN ARRAY renamed LOOP
            EXECUTE format('ALTER TABLE %I.%I RENAME TO %I', old.nspname, pair[1], pair[2]);
        END LOOP;
    END IF;
END
$$;

COMMENT ON FUNCTION cqrs.swap_twin(regclass, text) IS
    'Puts the twin in the place of the target, with its name, grants, comment and names of indexes and of identity columns'' sequences, and drops the target. Called by cqrs.run_rebuild. NB128: there is no such table, or the target has something that the twin would lose.';

CREATE FUNCTION cqrs.drop_twin(schema_name text, twin text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Somebody may have dropped it before.
    IF to_regclass(format('%I.%I', schema_name, twin)) IS NOT NULL THEN
        EXECUTE format('DROP TABLE %I.%I', schema_name, twin);
    END IF;
END
$$;

COMMENT ON FUNCTION cqrs.drop_twin(text, text) IS
    'Drops the table that a projection was being rebuilt into. Called by cqrs.cancel_rebuild and drop_projection.';

SELECT pg_catalog.pg_extension_config_dump('cqrs.projections', '');

SELECT pg_catalog.pg_extension_config_dump('cqrs.projections_projection_no_seq', '');

CREATE TABLE event_store.retention_rules (
    aggregate_type varchar(100) PRIMARY KEY,
    keep interval NOT NULL,
    keep_state boolean NOT NULL,
    set_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    set_by text NOT NULL
);

COMMENT ON TABLE event_store.retention_rules IS
    'How long the events of a type are kept; those of a type without a rule, for ever. Set by event_store.set_retention.';

COMMENT ON COLUMN event_store.retention_rules.keep_state IS
    'Whether the state that deleted events led to is kept in their tombstone.';

CREATE TABLE event_store.tombstones (
    aggregate_id uuid NOT NULL,
    from_position bigint NOT NULL,
    to_position bigint NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    from_version integer NOT NULL,
    to_version integer NOT NULL,
    events integer NOT NULL,
    aggregate_type varchar(100) NOT NULL,
    keep interval NOT NULL,
    deleted_by text NOT NULL,
    content_hash bytea NOT NULL,
    state jsonb,
    PRIMARY KEY (aggregate_id, to_version)
);

COMMENT ON TABLE event_store.tombstones IS
    'What event_store.apply_retention has deleted: which events of which stream, by which rule, when and by whom. Append-only (NB009).';

COMMENT ON COLUMN event_store.tombstones.events IS 'How many: from_version to to_version without gap.';

COMMENT ON COLUMN event_store.tombstones.first_at IS 'When the first of them was recorded; last_at: the last.';

COMMENT ON COLUMN event_store.tombstones.keep IS 'The rule''s, as it was then.';

COMMENT ON COLUMN event_store.tombstones.content_hash IS
    'What event_store.events_hash answers for the deleted rows: an archive of them can be held against it.';

COMMENT ON COLUMN event_store.tombstones.state IS
    'The state of the aggregate at to_version, where the rule keeps it.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON event_store.tombstones
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_ledger ON event_store.tombstones IS 'Keeps what was deleted on record (NB009).';

CREATE TRIGGER guard_loaded
    AFTER INSERT ON event_store.tombstones
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_loaded ON event_store.tombstones IS
    'Lets positions go on from those of a restore, of which the last may be deleted.';

ALTER TABLE event_store.tombstones ENABLE ALWAYS TRIGGER guard_ledger;

ALTER TABLE event_store.tombstones ENABLE ALWAYS TRIGGER guard_loaded;

CREATE FUNCTION event_store.chain_event(before bytea, event event_store.events) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT pg_catalog.sha256(before || pg_catalog.convert_to(
        pg_catalog.jsonb_build_array(
            event.event_id, event.aggregate_id, event.global_position,
            (EXTRACT(epoch FROM event.created_at) * 1000000)::bigint,
            event.event_version, event.aggregate_type, event.event_type, event.created_by, event.event_data,
            event.metadata, event.tags)::text,
        'UTF8'));
END;

COMMENT ON FUNCTION event_store.chain_event(bytea, event_store.events) IS
    'One step of event_store.events_hash. before: the hash of the events before, empty at first; event: the next one. sha256 of both, the event as the text of the jsonb array of event_id, aggregate_id, global_position, created_at in microseconds since 1970, event_version, aggregate_type, event_type, created_by, event_data, metadata and tags.';

CREATE AGGREGATE event_store.events_hash(event event_store.events) (
    SFUNC = event_store.chain_event,
    STYPE = bytea,
    INITCOND = '\x',
    PARALLEL = SAFE
);

COMMENT ON AGGREGATE event_store.events_hash(event_store.events) IS
    'The hash of events one after the other, ordered by event_version. Of an archive with the same columns: SELECT event_store.events_hash(ROW(a.*)::event_store.events ORDER BY a.event_version) FROM archive a.';

CREATE FUNCTION event_store.lowest_needed_position() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(pg_catalog.min(n.position), 9223372036854775807)
    FROM (
        SELECT p.position + 1 FROM event_store.subscription_partitions p
        UNION ALL
        SELECT o.position FROM event_store.subscription_leases l, pg_catalog.unnest(l.open_positions) o(position)
        WHERE NOT l.done
        UNION ALL
        SELECT e.global_position
        FROM event_store.subscription_streams h
        JOIN event_store.events e ON e.aggregate_id = h.aggregate_id AND e.event_version = h.next_version
        UNION ALL
        SELECT k.global_position FROM event_store.subscription_parked k
        UNION ALL
        SELECT j.position + 1 FROM cqrs.projections j WHERE j.mode = 'async'
        UNION ALL
        SELECT j.twin_position + 1 FROM cqrs.projections j
    ) n(position);
END;

COMMENT ON FUNCTION event_store.lowest_needed_position() IS
    'The position below which everybody who reads through the event store has seen all events; the highest there is where nobody is behind. Retention deletes nothing from there on.';

CREATE PROCEDURE event_store.run_retention(max_events integer DEFAULT 10000)
LANGUAGE plpgsql
AS $$
DECLARE
    is_over boolean;
BEGIN
    LOOP
        SET LOCAL search_path = pg_catalog, pg_temp;
        SELECT a.done OR a.events = 0 INTO is_over
        FROM event_store.apply_retention(run_retention.max_events) a;
        COMMIT;
        EXIT WHEN is_over;
    END LOOP;
END
$$;

COMMENT ON PROCEDURE event_store.run_retention(integer) IS
    'Calls event_store.apply_retention, max_events (1 to 100,000) at a time, until nothing is left that it could delete or other sessions hold the rest, and commits after each call. Errors: as apply_retention; 2D000 inside a transaction block.';

SELECT pg_catalog.pg_extension_config_dump('event_store.retention_rules', '');

SELECT pg_catalog.pg_extension_config_dump('event_store.tombstones', '');

CREATE VIEW cqrs.customer_balances AS
SELECT
    a.customer_id,
    a.currency_code,
    pg_catalog.count(*)::integer AS accounts,
    coalesce(pg_catalog.sum(a.current_balance) FILTER (WHERE a.normal_side = 'C'), 0) AS deposits,
    coalesce(pg_catalog.sum(a.current_balance) FILTER (WHERE a.normal_side = 'D'), 0) AS debts,
    pg_catalog.sum(CASE a.normal_side WHEN 'C' THEN a.current_balance ELSE -a.current_balance END) AS balance
FROM banking.account_balances a
WHERE a.customer_id IS NOT NULL
GROUP BY a.customer_id, a.currency_code;

COMMENT ON VIEW cqrs.customer_balances IS
    'What each customer has in each currency, at the reader''s snapshot. Amounts of different currencies are never added.';

COMMENT ON COLUMN cqrs.customer_balances.accounts IS 'The customer''s accounts in the currency, closed ones too.';

COMMENT ON COLUMN cqrs.customer_balances.deposits IS
    'The sum of the balances that the bank owes the customer (normal side C); below zero by what is overdrawn.';

COMMENT ON COLUMN cqrs.customer_balances.debts IS
    'The sum of the balances that the customer owes the bank (normal side D: loans, credit cards).';

COMMENT ON COLUMN cqrs.customer_balances.balance IS 'deposits less debts.';

CREATE VIEW cqrs.customer_summary AS
SELECT
    c.customer_id,
    c.first_name || ' ' || c.last_name AS customer_name,
    t.accounts AS total_accounts,
    CASE WHEN t.currencies > 1 THEN NULL ELSE coalesce(t.balance, 0) END AS total_balance,
    (SELECT pg_catalog.max(cqrs.last_transaction_date(a.account_id))
     FROM banking.accounts a WHERE a.customer_id = c.customer_id) AS last_transaction_date,
    r.risk_score,
    greatest(
        c.updated_at, r.set_at,
        (SELECT pg_catalog.max(greatest(a.updated_at, (SELECT pg_catalog.max(s.updated_at) FROM banking.account_slots s
                                                       WHERE s.account_id = a.account_id)))
         FROM banking.accounts a WHERE a.customer_id = c.customer_id)
    ) AS updated_at,
    CASE WHEN t.currencies = 1 THEN t.currency_code END::char(3) AS currency_code,
    t.balances,
    c.tenant_no
FROM banking.customers c
LEFT JOIN cqrs.risk_scores r ON r.customer_id = c.customer_id
CROSS JOIN LATERAL (
    SELECT
        coalesce(pg_catalog.sum(b.accounts), 0)::integer AS accounts,
        pg_catalog.count(*) AS currencies,
        pg_catalog.sum(b.balance) AS balance,
        pg_catalog.max(b.currency_code) AS currency_code,
        coalesce(pg_catalog.jsonb_object_agg(b.currency_code, b.balance), '{}') AS balances
    FROM cqrs.customer_balances b
    WHERE b.customer_id = c.customer_id
) t;

COMMENT ON VIEW cqrs.customer_summary IS
    'One row per customer, exact at the reader''s snapshot: postings pay nothing for it, and nothing has to be refreshed.';

COMMENT ON COLUMN cqrs.customer_summary.customer_name IS 'First and last name.';

COMMENT ON COLUMN cqrs.customer_summary.total_accounts IS 'All of the customer''s accounts, closed ones too.';

COMMENT ON COLUMN cqrs.customer_summary.total_balance IS
    'What the accounts hold together, in currency_code: what the bank owes the customer less what the customer owes (loans, credit cards). 0 without accounts. Null where they are in several currencies: then there is no such sum, and balances has one for each.';

COMMENT ON COLUMN cqrs.customer_summary.last_transaction_date IS
    'The latest effective time of any posting on any of the accounts (transaction_date of banking.transactions); null without postings.';

COMMENT ON COLUMN cqrs.customer_summary.risk_score IS 'As cqrs.set_risk_score set it; null until then.';

COMMENT ON COLUMN cqrs.customer_summary.updated_at IS
    'When the customer, the risk score or any of the accounts last changed.';

COMMENT ON COLUMN cqrs.customer_summary.currency_code IS 'The currency of all accounts; null where there are several or none.';

COMMENT ON COLUMN cqrs.customer_summary.balances IS
    'balance of cqrs.customer_balances by currency: {"EUR": 10.00, "JPY": 500}.';

CREATE VIEW cqrs.account_activity AS
SELECT
    a.account_id,
    a.account_number,
    c.first_name || ' ' || c.last_name AS customer_name,
    a.current_balance,
    a.available_balance,
    cqrs.transaction_count(a.account_id, pg_catalog.now() - '720 hours'::interval)::integer AS transaction_count_30d,
    pg_catalog.round(
        cqrs.amount_total(a.account_id) / nullif(cqrs.transaction_count(a.account_id), 0), k.exponent
    ) AS average_transaction_amount,
    cqrs.last_activity(a.account_id) AS last_activity,
    (SELECT greatest(o.updated_at, pg_catalog.max(s.updated_at))
     FROM banking.accounts o
     LEFT JOIN banking.account_slots s ON s.account_id = o.account_id
     WHERE o.account_id = a.account_id
     GROUP BY o.updated_at) AS updated_at,
    a.currency_code,
    cqrs.transaction_count(a.account_id) AS transaction_count,
    pg_catalog.round(
        cqrs.amount_total(a.account_id, pg_catalog.now() - '720 hours'::interval)
            / nullif(cqrs.transaction_count(a.account_id, pg_catalog.now() - '720 hours'::interval), 0),
        k.exponent
    ) AS average_transaction_amount_30d,
    a.customer_id,
    a.tenant_no
FROM banking.account_balances a
JOIN banking.customers c ON c.customer_id = a.customer_id
JOIN banking.currencies k ON k.currency_code = a.currency_code;

COMMENT ON VIEW cqrs.account_activity IS
    'One row per account of a customer, exact at the reader''s snapshot. Columns that are not asked for cost nothing. cqrs.refresh_activity makes the averages of accounts with many postings quick; it changes no figure.';

COMMENT ON COLUMN cqrs.account_activity.customer_name IS 'First and last name.';

COMMENT ON COLUMN cqrs.account_activity.current_balance IS 'As banking.account_balances has it, slotted accounts too.';

COMMENT ON COLUMN cqrs.account_activity.available_balance IS 'current_balance less what open holds set aside.';

COMMENT ON COLUMN cqrs.account_activity.transaction_count_30d IS
    'Postings on the account, debits and credits, that were recorded in the 720 hours before this transaction began: a rolling window, not whole days. A backdated posting counts when it is recorded; each leg and each reversal counts as one.';

COMMENT ON COLUMN cqrs.account_activity.average_transaction_amount IS
    'The mean amount of all postings on the account, debits and credits alike, rounded to the decimals of the currency; null without postings.';

COMMENT ON COLUMN cqrs.account_activity.last_activity IS 'When the last posting was recorded; null without postings.';

COMMENT ON COLUMN cqrs.account_activity.updated_at IS 'When the account, or one of its slots, last changed.';

COMMENT ON COLUMN cqrs.account_activity.transaction_count IS 'All postings on the account.';

COMMENT ON COLUMN cqrs.account_activity.average_transaction_amount_30d IS
    'The mean amount of the postings that transaction_count_30d counts; null without any.';

CREATE  FUNCTION saga."retry_compensation"(
	"saga_id" uuid, /* Option < pgrx :: Uuid > */
	"reason" TEXT /* Option < Text > */
) RETURNS TEXT /* Text */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'retry_compensation_wrapper';

CREATE  FUNCTION saga."is_called"(
	"saga_id" uuid, /* Option < pgrx :: Uuid > */
	"effect_id" uuid /* Option < pgrx :: Uuid > */
) RETURNS bool /* bool */
STABLE PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'is_called_wrapper';

CREATE  FUNCTION saga."define"(
	"saga_type" TEXT, /* Option < Text > */
	"steps" jsonb /* Option < JsonDatum > */
) RETURNS INT /* i32 */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'define_wrapper';

CREATE  FUNCTION saga."run_ready"(
	"max_sagas" INT DEFAULT 100 /* Option < i32 > */
) RETURNS TABLE (
	"saga_id" uuid,  /* pgrx :: Uuid */
	"status" TEXT,  /* & '_ str */
	"step_number" INT,  /* Option < i32 > */
	"waits_for" TEXT,  /* Option < & '_ str > */
	"code" TEXT,  /* Option < String > */
	"message" TEXT  /* Option < String > */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'run_ready_wrapper';

CREATE  FUNCTION saga."forget_keys"(
	"before" timestamptz, /* Option < Time > */
	"max_keys" INT DEFAULT 10000 /* Option < i32 > */
) RETURNS TABLE (
	"keys" bigint,  /* i64 */
	"done" bool  /* bool */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'forget_keys_wrapper';

CREATE  FUNCTION saga."signal"(
	"saga_id" uuid, /* Option < pgrx :: Uuid > */
	"name" TEXT, /* Option < Text > */
	"payload" jsonb DEFAULT '{}', /* Option < JsonDatum > */
	"signal_id" uuid DEFAULT NULL /* Option < pgrx :: Uuid > */
) RETURNS uuid /* pgrx :: Uuid */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'signal_wrapper';

CREATE  FUNCTION saga."fail_step"(
	"step_id" uuid, /* Option < pgrx :: Uuid > */
	"lease_token" bigint, /* Option < i64 > */
	"reason" TEXT, /* Option < Text > */
	"retryable" bool DEFAULT true, /* Option < bool > */
	"effect_possible" bool DEFAULT false /* Option < bool > */
) RETURNS TEXT /* Text */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'fail_step_wrapper';

CREATE  FUNCTION saga."resolve"(
	"saga_id" uuid, /* Option < pgrx :: Uuid > */
	"outcome" TEXT, /* Option < Text > */
	"reason" TEXT, /* Option < Text > */
	"output" jsonb DEFAULT NULL /* Option < JsonDatum > */
) RETURNS TEXT /* Text */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'resolve_wrapper';

CREATE  FUNCTION saga."run"(
	"saga_id" uuid /* Option < pgrx :: Uuid > */
) RETURNS TEXT /* Text */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'run_wrapper';

CREATE  FUNCTION saga."cancel"(
	"saga_id" uuid, /* Option < pgrx :: Uuid > */
	"reason" TEXT /* Option < Text > */
) RETURNS TEXT /* Text */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'cancel_wrapper';

CREATE  FUNCTION saga."create_saga"(
	"p_saga_type" TEXT, /* Option < Text > */
	"p_steps" TEXT[], /* Option < Many < String > > */
	"p_context" jsonb DEFAULT '{}' /* Option < JsonDatum > */
) RETURNS uuid /* pgrx :: Uuid */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'create_saga_wrapper';

CREATE  FUNCTION saga."complete_step"(
	"step_id" uuid, /* Option < pgrx :: Uuid > */
	"lease_token" bigint, /* Option < i64 > */
	"output" jsonb DEFAULT '{}' /* Option < JsonDatum > */
) RETURNS TEXT /* Text */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'complete_step_wrapper';

CREATE  FUNCTION saga."claim_step"(
	"worker" TEXT, /* Option < Text > */
	"types" TEXT[] DEFAULT NULL, /* Option < Many < String > > */
	"lease_ms" INT DEFAULT 30000, /* Option < i32 > */
	"max_steps" INT DEFAULT 1 /* Option < i32 > */
) RETURNS TABLE (
	"saga_id" uuid,  /* pgrx :: Uuid */
	"saga_type" TEXT,  /* String */
	"step_id" uuid,  /* pgrx :: Uuid */
	"step_number" INT,  /* i32 */
	"step_name" TEXT,  /* String */
	"kind" TEXT,  /* & '_ str */
	"effect_id" uuid,  /* pgrx :: Uuid */
	"work_type" TEXT,  /* String */
	"attempt" INT,  /* i32 */
	"lease_token" bigint,  /* i64 */
	"leased_until" timestamptz,  /* Time */
	"context" jsonb,  /* JsonBytes */
	"outputs" jsonb  /* JsonBytes */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'claim_step_wrapper';

CREATE  FUNCTION saga."prune"(
	"before" timestamptz, /* Option < Time > */
	"max_sagas" INT DEFAULT 1000, /* Option < i32 > */
	"saga_type" TEXT DEFAULT NULL /* Option < Text > */
) RETURNS TABLE (
	"sagas" bigint,  /* i64 */
	"done" bool  /* bool */
)
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'prune_wrapper';

CREATE  FUNCTION saga."extend_lease"(
	"step_id" uuid, /* Option < pgrx :: Uuid > */
	"lease_token" bigint, /* Option < i64 > */
	"lease_ms" INT DEFAULT 30000 /* Option < i32 > */
) RETURNS timestamptz /* Time */
VOLATILE PARALLEL UNSAFE  
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'extend_step_lease_wrapper';

CREATE  FUNCTION saga."retry_step"(
	"saga_id" uuid, /* Option < pgrx :: Uuid > */
	"reason" TEXT /* Option < Text > */
) RETURNS TEXT /* Text */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'retry_step_wrapper';

CREATE  FUNCTION saga."start"(
	"saga_type" TEXT, /* Option < Text > */
	"context" jsonb DEFAULT '{}', /* Option < JsonDatum > */
	"idempotency_key" TEXT DEFAULT NULL, /* Option < Text > */
	"deadline" timestamptz DEFAULT NULL /* Option < Time > */
) RETURNS uuid /* pgrx :: Uuid */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'start_wrapper';

CREATE  FUNCTION saga."execute_step"(
	"p_saga_id" uuid, /* Option < pgrx :: Uuid > */
	"p_output" jsonb DEFAULT '{}', /* Option < JsonDatum > */
	"p_step_id" uuid DEFAULT NULL /* Option < pgrx :: Uuid > */
) RETURNS jsonb /* JsonB */
VOLATILE PARALLEL UNSAFE 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'execute_step_wrapper';

COMMENT ON FUNCTION saga.define IS
    'Defines the steps of a type of saga, in a new version; sagas that are under way keep theirs. saga_type: 1 to 100 characters; steps: an array of 1 to 100 steps, see docs/saga.md, whose functions take (saga_id uuid, effect_id uuid, context jsonb, outputs jsonb), return jsonb, and may be executed by the caller; they are called with the rights of whoever started the saga and search_path = pg_catalog. Returns the version; the same steps again: the newest one''s. A definition is code that runs in others'' names: no level of neobank.grant_usage may define. NB021: a bound; NB202: steps; 22004: null.';

COMMENT ON FUNCTION saga.start IS
    'Starts a saga of the newest version of its type; saga.run_ready or a background worker runs it. saga_type; context: JSON of up to 1 MB and 64 levels, given to every step; idempotency_key: 1 to 200 characters, per type: the same key with the same context by the same role answers the same saga, one that saga.prune has deleted too (until saga.forget_keys), null: none; deadline: if it is not completed or past its point of no return by then it is undone, null: none. Returns the saga''s id. NB203: no definition; NB204: key with other content; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION saga.run IS
    'Runs one saga as far as it can go, in this transaction, and waits for whoever has it. saga_id. Returns its status. A step''s function runs in a subtransaction; what it did and the record of it commit together. NB200: no such saga; NB201: it has no definition; NB206: called by a step; 22004: null.';

COMMENT ON FUNCTION saga.is_called IS
    'Whether this session is calling a function of that saga now, for that effect: what a function that acts with rights of its own asks before it believes its arguments. saga_id, effect_id: as the function was given them; false for null.';

COMMENT ON FUNCTION saga.run_ready IS
    'Runs sagas that are due, those due longest first, each as far as it can go; those that another session has are passed over. max_sagas: 1 to 10,000. Returns for each its id, status, the step that has begun last, what it waits for (as saga.sagas.waits_for), and code and message of its last failure. A cancelled statement (57014) or a lack of memory or disk (class 53) undoes the whole call. NB021: max_sagas; NB029: not at READ COMMITTED; NB206: called by a step; 22004: null.';

COMMENT ON FUNCTION saga.claim_step IS
    'Hands external steps and external compensations to a worker. worker: its name, 1 to 100 characters, kept in the log; types: what it can do, by the steps'' types, null: everything; lease_ms: for how long nobody else gets them, in milliseconds, 1 to 604,800,000, cut to the step''s timeout; max_steps: 1 to 1,000. Returns saga, step, kind (action or compensation), effect_id (the same for all attempts: the key to give to the other system), attempt, lease_token (later leases of a step have higher ones), leased_until, the saga''s context and the outputs of its completed steps by name. NB021: a bound; NB029: not at READ COMMITTED; 22004: null.';

COMMENT ON FUNCTION saga.complete_step IS
    'The worker has done it. step_id, lease_token: as saga.claim_step answered; output: JSON of up to 1 MB and 64 levels. Returns completed; a repeated call answers the same, also when the step has been undone since. NB205: the lease ran out and the step was handed on, a person has settled it, or the saga has gone on without it: nothing is changed; NB209: no such step; NB206; NB021: output; 22004: null.';

COMMENT ON FUNCTION saga.fail_step IS
    'The worker could not do it. step_id, lease_token; reason: 1 to 1,000 characters; retryable: false where another attempt would fail too; effect_possible: true where it may have been done all the same: then the step is undone too if the saga fails, and a step of no return is parked. Returns the step''s status, or its compensation''s: waiting (for another attempt) or failed. NB205, NB206, NB209, NB021, 22004: as saga.complete_step.';

COMMENT ON FUNCTION saga.extend_lease IS
    'Gives the worker more time. step_id, lease_token; lease_ms: from now on, in milliseconds, 1 to 604,800,000. Returns until when it has the step; never less than before, never more than the step''s timeout. NB201: the saga is being undone, and waits for this step to end; NB205, NB206, NB209, NB021, 22004: as saga.complete_step.';

COMMENT ON FUNCTION saga.signal IS
    'Tells a saga something; the oldest signal of a name is taken by the first step that waits for it, however early it came. saga_id; name: 1 to 100 characters; payload: JSON of up to 1 MB and 64 levels, the step''s output; signal_id: the sender''s, so that a retry is told once, null: drawn. Returns the signal''s id. NB200: no such saga; NB201: it has ended; NB208: id with other content; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION saga.cancel IS
    'Has a saga undone. saga_id; reason: 1 to 1,000 characters. Returns its status: compensating, or what it was where it was being undone already, or is. A worker that has a step may still answer until its lease ends, and is undone after that. NB200: no such saga; NB201: it is completed; NB206: it is run by this session; NB207: it is past its point of no return, or may be; NB021: reason; 22004: null.';

COMMENT ON FUNCTION saga.retry_step IS
    'Tries the step anew on which a saga was parked past its point of no return, with all its attempts and time. saga_id; reason: 1 to 1,000 characters, kept in the log. Returns the status, running. NB200: no such saga; NB201: it is not parked, or on a compensation; NB021: reason; 22004: null.';

COMMENT ON FUNCTION saga.retry_compensation IS
    'Tries the compensation anew on which a saga was parked, with all its attempts. saga_id; reason: 1 to 1,000 characters, kept in the log. Returns the status, compensating. NB200: no such saga; NB201: it is not parked, or not on a compensation; NB021: reason; 22004: null.';

COMMENT ON FUNCTION saga.resolve IS
    'Settles a parked saga by hand. saga_id; outcome: step_done (the step or compensation was done by hand: it goes on), step_failed (the step of no return surely had no effect: the saga is undone), completed or failed (all is settled: it ends so); reason: 1 to 1,000 characters, kept in the log; output: of a step that is done, null: none. Returns the status. NB200: no such saga; NB201: it is not parked; NB207: step_failed past the point of no return; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION saga.create_saga IS
    'Makes a saga without a definition, whose steps the client does and completes with saga.execute_step. p_saga_type: 1 to 100 characters; p_steps: names of up to 1,000 steps, of 1 to 100 characters; p_context: JSON of up to 1 MB and 64 levels. Returns the saga''s id. NB021: a bound; 22004: null.';

COMMENT ON FUNCTION saga.execute_step IS
    'Completes the step in hand with that output, and puts the next one into the client''s hand, with the output as its input. p_saga_id; p_output: JSON of up to 1 MB and 64 levels; p_step_id: the step that the client takes to be in hand, so that a retry does not complete the next one, null: whichever is. Returns step_id, step_name and step_number of the next step, {"status": "completed"} after the last, or error, code, sqlstate and detail: saga_not_found, saga_state, step_not_found, saga_nested, argument_out_of_bounds, null_argument.';

CREATE TABLE saga.pruned_keys (
    saga_type varchar(100) NOT NULL,
    idempotency_key varchar(200) NOT NULL,
    saga_id uuid NOT NULL,
    started_by text NOT NULL,
    context_hash bytea NOT NULL,
    status saga.saga_status NOT NULL,
    error_code text,
    started_at timestamptz NOT NULL,
    completed_at timestamptz NOT NULL,
    pruned_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (saga_type, idempotency_key)
);

CREATE INDEX pruned_keys_completed_idx ON saga.pruned_keys (completed_at);

COMMENT ON TABLE saga.pruned_keys IS
    'The idempotency keys of sagas that saga.prune has deleted: saga.start with one of them answers the same saga still, until saga.forget_keys.';

COMMENT ON COLUMN saga.pruned_keys.context_hash IS
    'sha256 of the saga''s context as text, in UTF-8: another context is a conflict (NB204) as before.';

COMMENT ON COLUMN saga.pruned_keys.status IS 'How it ended: completed or failed.';

COMMENT ON COLUMN saga.pruned_keys.error_code IS 'The SQLSTATE of the reason why it was undone; null: it was not.';

COMMENT ON COLUMN saga.pruned_keys.completed_at IS 'When it ended, completed or failed.';

CREATE TABLE saga.prunings (
    pruning_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    pruned_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    pruned_by text NOT NULL,
    before timestamptz NOT NULL,
    saga_type varchar(100),
    sagas bigint NOT NULL,
    transitions bigint NOT NULL,
    keys bigint NOT NULL,
    last_completed_at timestamptz
);

COMMENT ON TABLE saga.prunings IS
    'A row for each call of saga.prune and saga.forget_keys that has deleted something: who, when and what. Append-only (NB009).';

COMMENT ON COLUMN saga.prunings.before IS 'As it was given: what ended before could go.';

COMMENT ON COLUMN saga.prunings.saga_type IS 'As it was given; null: of all types.';

COMMENT ON COLUMN saga.prunings.sagas IS 'How many were deleted, children too.';

COMMENT ON COLUMN saga.prunings.transitions IS 'Rows of their log.';

COMMENT ON COLUMN saga.prunings.keys IS 'Rows of saga.pruned_keys that saga.forget_keys has deleted.';

COMMENT ON COLUMN saga.prunings.last_completed_at IS 'When the last of what was deleted had ended.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON saga.prunings
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();

COMMENT ON TRIGGER guard_ledger ON saga.prunings IS 'Keeps what was deleted on record (NB009).';

ALTER TABLE saga.prunings ENABLE ALWAYS TRIGGER guard_ledger;

COMMENT ON FUNCTION saga.prune IS
    'Deletes sagas that ended, completed or failed, before an instant: with their steps, compensations, signals and log, and with their children, all of which must have ended before it too. What has not ended stays, and so does what another session has. A saga with an idempotency key leaves a row in saga.pruned_keys, each call one in saga.prunings. before: not yet to come; max_sagas: how many at the most, 1 to 10,000; one with more children than that goes alone; saga_type: of the saga itself, not of its children, null: all. Returns how many sagas were deleted, and whether nothing is left that it could have taken. NB021: a bound; 22004: null.';

COMMENT ON FUNCTION saga.forget_keys IS
    'Deletes keys of sagas that are pruned and ended before an instant: saga.start with such a key starts another saga. before: not yet to come; max_keys: 1 to 100,000. Returns how many were deleted, and whether none is left. NB021: a bound; 22004: null.';

CREATE PROCEDURE saga.run_prune(before timestamptz, max_sagas integer DEFAULT 1000, saga_type text DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    is_over boolean;
BEGIN
    LOOP
        SET LOCAL search_path = pg_catalog, pg_temp;
        SELECT p.done OR p.sagas = 0 INTO is_over
        FROM saga.prune(run_prune.before, run_prune.max_sagas, run_prune.saga_type) p;
        COMMIT;
        EXIT WHEN is_over;
    END LOOP;
END
$$;

COMMENT ON PROCEDURE saga.run_prune(timestamptz, integer, text) IS
    'Calls saga.prune until nothing is left that it could delete or other sessions hold the rest, and commits after each call; saga.prunings shows how far it is. before, max_sagas, saga_type and errors: as saga.prune; 2D000 inside a transaction block.';

SELECT pg_catalog.pg_extension_config_dump('saga.pruned_keys', '');

SELECT pg_catalog.pg_extension_config_dump('saga.prunings', '');

CREATE FUNCTION saga.step_does(plan jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN plan IS NULL THEN 'the client does it'
    WHEN plan ? 'signal' THEN 'waits for signal ' || (plan ->> 'signal')
    WHEN plan ? 'delay_ms' THEN 'waits ' || (plan ->> 'delay_ms') || ' ms'
    WHEN plan ? 'child' THEN 'starts saga ' || (plan ->> 'child')
    WHEN plan -> 'action' = '"external"'::jsonb THEN 'external: ' || coalesce(plan ->> 'type', plan ->> 'name')
    ELSE 'calls ' || (plan -> 'action' ->> 'schema') || '.' || (plan -> 'action' ->> 'name')
END;

COMMENT ON FUNCTION saga.step_does(jsonb) IS 'What a step of a definition does, in words. plan: an element of saga.definitions.steps; null: a step that has no definition.';

CREATE VIEW saga.step_plans AS
SELECT p.saga_id, p.step_number, p.step_name, p.status, p.attempts, p.claimed_by, p.leased_until, p.next_attempt_at,
       p.timeout_at, p.child_saga_id, p.started_at, p.completed_at,
       saga.step_does(d.plan) AS does,
       CASE WHEN d.plan -> 'compensation' = '"external"'::jsonb THEN 'external'
            ELSE (d.plan -> 'compensation' ->> 'schema') || '.' || (d.plan -> 'compensation' ->> 'name') END AS undone_by,
       coalesce((d.plan ->> 'point_of_no_return')::boolean, false) AS point_of_no_return,
       c.status AS compensation_status, c.attempts AS compensation_attempts,
       coalesce(c.error_code, p.error_code) AS error_code, coalesce(c.error_message, p.error_message) AS error_message
FROM saga.saga_steps p
JOIN saga.sagas s USING (saga_id)
LEFT JOIN saga.definitions f ON f.saga_type = s.saga_type AND f.version = s.definition_version
LEFT JOIN saga.compensations c USING (saga_id, step_number)
CROSS JOIN LATERAL (SELECT f.steps -> (p.step_number - 1) AS plan) d;

COMMENT ON VIEW saga.step_plans IS
    'Every step of every saga with what its definition says of it (does, undone_by, point_of_no_return), how far it and its compensation are, and what went wrong last.';

CREATE FUNCTION saga.describe_as_text(saga_id uuid) RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
BEGIN ATOMIC
    WITH steps AS MATERIALIZED (
        SELECT p.*, max(pg_catalog.length(p.step_name)) OVER () AS name_width,
               max(pg_catalog.length(p.does)) OVER () AS does_width
        FROM saga.step_plans p WHERE p.saga_id = $1
    ), lines (place, line) AS (
        SELECT 0, pg_catalog.format('%s %s: %s', s.saga_type, s.saga_id, s.status)
        FROM saga.sagas s WHERE s.saga_id = $1
        UNION ALL
        SELECT 1, '  because ' || s.error_message || coalesce(' (' || s.error_code || ')', '')
        FROM saga.sagas s WHERE s.saga_id = $1 AND s.error_message IS NOT NULL
        UNION ALL
        SELECT 2, '  parked: ' || s.parked_reason FROM saga.sagas s WHERE s.saga_id = $1 AND s.parked_reason IS NOT NULL
        UNION ALL
        SELECT 3, '  waits for ' || s.waits_for
                  || coalesce(', due ' || pg_catalog.to_char(s.due_at, 'YYYY-MM-DD HH24:MI:SS TZ'), '')
        FROM saga.sagas s WHERE s.saga_id = $1 AND s.waits_for IS NOT NULL
        UNION ALL
        SELECT 4, '  deadline ' || pg_catalog.to_char(s.deadline_at, 'YYYY-MM-DD HH24:MI:SS TZ')
        FROM saga.sagas s WHERE s.saga_id = $1 AND s.deadline_at IS NOT NULL
        UNION ALL
        SELECT 5, '  child of ' || s.parent_saga_id::text || ', step ' || s.parent_step::text
        FROM saga.sagas s WHERE s.saga_id = $1 AND s.parent_saga_id IS NOT NULL
        UNION ALL
        SELECT 10 + p.step_number, pg_catalog.rtrim(pg_catalog.format('  %s %s %s  %s  %s',
            pg_catalog.lpad(p.step_number::text, 3),
            CASE p.status WHEN 'completed' THEN '[x]' WHEN 'compensated' THEN '[<]' WHEN 'failed' THEN '[!]'
                          WHEN 'running' THEN '[>]' WHEN 'waiting' THEN '[.]' ELSE '[ ]' END,
            pg_catalog.rpad(p.step_name, p.name_width), pg_catalog.rpad(p.does, p.does_width),
            pg_catalog.concat_ws(', ',
                p.status,
                CASE WHEN p.attempts > 1 THEN p.attempts::text || ' attempts' END,
                'by ' || CASE WHEN p.status = 'running' THEN p.claimed_by END,
                'saga ' || p.child_saga_id::text,
                CASE WHEN p.compensation_status IS NOT NULL AND p.compensation_status <> 'completed'
                     THEN 'undoing is ' || p.compensation_status END,
                CASE WHEN p.point_of_no_return THEN 'point of no return' END,
                CASE WHEN p.status = 'compensated' AND p.undone_by IS NOT NULL THEN 'by ' || p.undone_by END,
                p.error_message || coalesce(' (' || p.error_code || ')', ''))))
        FROM steps p
    )
    SELECT l.line FROM lines l ORDER BY l.place;
END;

COMMENT ON FUNCTION saga.describe_as_text(uuid) IS
    'A saga as lines of text: its status and why, what it waits for, and a line for each step. saga_id. No line: there is no such saga.';

CREATE FUNCTION saga.mermaid_text(name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN name IS NOT NULL THEN pg_catalog.replace(pg_catalog.replace(coalesce((
    SELECT pg_catalog.string_agg(
        CASE WHEN c.letter ~ '[[:cntrl:]]' THEN ' '
             WHEN pg_catalog.ascii(c.letter) > 127 OR c.letter ~ '[A-Za-z0-9 _.,()/-]' THEN c.letter
             ELSE '#' || pg_catalog.ascii(c.letter)::text || ';' END, '' ORDER BY c.place)
    FROM pg_catalog.string_to_table(name, NULL) WITH ORDINALITY AS c (letter, place)), ''),
    '#58;fa-', '#58;#8203;fa-'), 'direction', 'directio#110;') END;

COMMENT ON FUNCTION saga.mermaid_text(text) IS 'A text as it may stand between quotation marks in a Mermaid diagram. name; null for null.';

CREATE FUNCTION saga.describe_as_mermaid(saga_id uuid) RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE ROWS 20
BEGIN ATOMIC
    WITH steps AS MATERIALIZED (
        SELECT p.*, pg_catalog.lag(p.step_number) OVER (ORDER BY p.step_number) AS before
        FROM saga.step_plans p WHERE p.saga_id = $1
    ), lines (place, line) AS (
        SELECT 0, 'flowchart LR' FROM saga.sagas s WHERE s.saga_id = $1
        UNION ALL
        SELECT 1, pg_catalog.format('    start(["%s"]):::%s', saga.mermaid_text(s.saga_type), s.status)
        FROM saga.sagas s WHERE s.saga_id = $1
        UNION ALL
        SELECT 10 * p.step_number, pg_catalog.format('    s%s["%s %s<br/>%s<br/>%s"]:::%s', p.step_number, p.step_number,
            saga.mermaid_text(p.step_name), saga.mermaid_text(p.does), p.status, p.status)
        FROM steps p
        UNION ALL
        SELECT 10 * p.step_number + 1, pg_catalog.format('    %s %s s%s', coalesce('s' || p.before::text, 'start'),
            CASE WHEN p.status = 'pending' THEN '-.->' ELSE '-->' END, p.step_number)
        FROM steps p
        UNION ALL
        SELECT 10 * p.step_number + 2, pg_catalog.format('    u%s["undo %s<br/>%s<br/>%s"]:::%s', p.step_number,
            saga.mermaid_text(p.step_name), saga.mermaid_text(coalesce(p.undone_by, '')), p.compensation_status,
            CASE p.compensation_status WHEN 'completed' THEN 'compensated' ELSE p.compensation_status END)
        FROM steps p WHERE p.compensation_status IS NOT NULL
        UNION ALL
        SELECT 10 * p.step_number + 3, pg_catalog.format('    s%s -- undone --> u%s', p.step_number, p.step_number)
        FROM steps p WHERE p.compensation_status IS NOT NULL
        UNION ALL
        SELECT 100000, '    classDef ' || c.style
        FROM saga.sagas s, pg_catalog.unnest(ARRAY[
            'completed fill:#d9f2dd,stroke:#2e7d32,color:#12351a', 'compensated fill:#e8e3f3,stroke:#5e4b8b,color:#2b2145',
            'compensating fill:#e8e3f3,stroke:#5e4b8b,color:#2b2145', 'failed fill:#fbdcdc,stroke:#b3261e,color:#4a0f0c',
            'parked fill:#ffe8c7,stroke:#b26a00,color:#4a2c00', 'running fill:#dbe9fb,stroke:#1f5fa8,color:#0e2b4d',
            'waiting fill:#fff6d6,stroke:#8a7300,color:#3d3300', 'started fill:#f2f2f2,stroke:#777777,color:#222222',
            'pending fill:#f2f2f2,stroke:#999999,color:#444444']) AS c (style)
        WHERE s.saga_id = $1
    )
    SELECT l.line FROM lines l ORDER BY l.place, l.line;
END;

COMMENT ON FUNCTION saga.describe_as_mermaid(uuid) IS
    'A saga as the lines of a Mermaid flowchart: its steps and what undid them, coloured by their states. saga_id. No line: there is no such saga.';

CREATE FUNCTION saga.describe(saga_id uuid, format text DEFAULT 'text') RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    drawn text;
BEGIN
    IF saga_id IS NULL OR format IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN saga_id IS NULL THEN 'saga_id' ELSE 'format' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass a value.';
    ELSIF format = 'text' THEN
        SELECT string_agg(d.line, E'\n') INTO drawn FROM saga.describe_as_text(describe.saga_id) AS d (line);
    ELSIF format = 'mermaid' THEN
        SELECT string_agg(d.line, E'\n') INTO drawn FROM saga.describe_as_mermaid(describe.saga_id) AS d (line);
    ELSE
        RAISE EXCEPTION 'argument "format" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = pg_catalog.format('%L is none.', pg_catalog.left(format, 100)), HINT = 'Use text or mermaid.';
    END IF;
    IF drawn IS NULL THEN
        RAISE EXCEPTION 'saga not found'
            USING ERRCODE = 'NB200', DETAIL = pg_catalog.format('There is no saga %s.', describe.saga_id),
                  HINT = 'See saga.sagas.';
    END IF;
    RETURN drawn;
END
$$;

COMMENT ON FUNCTION saga.describe(uuid, text) IS
    'Draws a saga: each step with what it does and how far it is, what went wrong, what undid it. saga_id; format: text, or mermaid for a Mermaid flowchart. NB200: no such saga; NB021: format; 22004: null.';

CREATE FUNCTION saga.bank_payment_steps() RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '[
    {"name": "hold", "action": "saga.payment_hold", "compensation": "saga.payment_release"},
    {"name": "submit", "action": "external", "type": "payment_submit", "compensation": "external",
     "max_attempts": 5, "timeout_ms": 86400000},
    {"name": "capture", "action": "saga.payment_capture", "compensation": "saga.payment_return"},
    {"name": "notify", "action": "external", "type": "payment_notify", "max_attempts": 10, "timeout_ms": 86400000}
]'::jsonb;

COMMENT ON FUNCTION saga.bank_payment_steps() IS
    'The steps of a payment to another bank, for saga.define: hold (sets the amount aside; undone by releasing it), submit (external: hands the payment to the scheme; undone externally by recalling it), capture (posts the payment; undone by reversing it), notify (external: tells the payer).';

CREATE FUNCTION saga.payment_hold(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT pg_catalog.jsonb_build_object('hold_id', txn_processing.place_hold(
        (context ->> 'account')::uuid, (context ->> 'amount')::numeric, currency => (context ->> 'currency')::bpchar,
        description => context ->> 'description', reference => 'saga ' || saga_id::text, hold_id => effect_id));
END;

COMMENT ON FUNCTION saga.payment_hold(uuid, uuid, jsonb, jsonb) IS
    'Step hold of a payment to another bank: sets context''s amount aside on its account. Raises what txn_processing.place_hold raises.';

CREATE FUNCTION saga.payment_release(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held CONSTANT uuid := outputs -> 'hold' ->> 'hold_id';
BEGIN
    -- The capture has released it, a person may have, or its time is over.
    IF EXISTS (SELECT FROM txn_processing.account_holds h WHERE h.hold_id = held AND h.state = 'open') THEN
        PERFORM txn_processing.release_hold(held, 'saga ' || payment_release.saga_id || ' is undone');
    END IF;
    RETURN pg_catalog.jsonb_build_object('hold_id', held);
END
$$;

COMMENT ON FUNCTION saga.payment_release(uuid, uuid, jsonb, jsonb) IS
    'Undoes step hold of a payment to another bank: releases what is still set aside.';

CREATE FUNCTION saga.payment_capture(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held CONSTANT uuid := outputs -> 'hold' ->> 'hold_id';
BEGIN
    -- Released and paid in one transaction, under the account's lock: nobody gets in between. A payment, not a capture,
    -- since it names the other bank, which settlement goes by. Where the hold has expired, free funds have to do.
    IF EXISTS (SELECT FROM txn_processing.account_holds h WHERE h.hold_id = held AND h.state = 'open') THEN
        PERFORM txn_processing.release_hold(held, 'paid by saga ' || payment_capture.saga_id);
    END IF;
    RETURN pg_catalog.jsonb_build_object('transaction_id', txn_processing.pay_bank(
        (context ->> 'account')::uuid, (context ->> 'amount')::numeric,
        context ->> 'counterparty_bank', context ->> 'counterparty_account',
        currency => (context ->> 'currency')::bpchar, description => context ->> 'description',
        reference => 'saga ' || payment_capture.saga_id, transaction_id => effect_id));
END
$$;

COMMENT ON FUNCTION saga.payment_capture(uuid, uuid, jsonb, jsonb) IS
    'Step capture of a payment to another bank: releases the hold and posts the payment to context''s counterparty. Raises what txn_processing.pay_bank raises.';

CREATE FUNCTION saga.payment_return(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT saga.is_called(payment_return.saga_id, payment_return.effect_id) THEN
        RAISE EXCEPTION 'permission denied for function payment_return'
            USING ERRCODE = 'insufficient_privilege', DETAIL = 'It is called by a saga that undoes its own capture only.',
                  HINT = 'Cancel the saga with saga.cancel, or reverse the posting with txn_processing.reverse.';
    END IF;
    RETURN pg_catalog.jsonb_build_object('transaction_id', txn_processing.reverse(
        (outputs -> 'capture' ->> 'transaction_id')::uuid, 'saga ' || payment_return.saga_id || ' is undone',
        reversal_transaction_id => effect_id));
END
$$;

COMMENT ON FUNCTION saga.payment_return(uuid, uuid, jsonb, jsonb) IS
    'Undoes step capture of a payment to another bank: reverses the posting, with the extension''s rights. 42501: called otherwise than by the saga. Raises what txn_processing.reverse raises.';

CREATE FUNCTION saga.start_bank_payment(
    account uuid,
    amount numeric,
    counterparty_bank text,
    counterparty_account text,
    currency char(3) DEFAULT NULL,
    description text DEFAULT NULL,
    idempotency_key text DEFAULT NULL,
    deadline timestamptz DEFAULT NULL
) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT saga.start('bank_payment', pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'account', account, 'amount', amount, 'counterparty_bank', counterparty_bank,
        'counterparty_account', counterparty_account, 'currency', currency, 'description', description)),
        idempotency_key, deadline);
END;

COMMENT ON FUNCTION saga.start_bank_payment(uuid, numeric, text, text, char, text, text, timestamptz) IS
    'Starts a payment to another bank as a saga of type bank_payment, which an operator has defined once: saga.define(''bank_payment'', saga.bank_payment_steps()), or steps of the bank''s own. account, amount, counterparty_bank, counterparty_account, currency, description: as txn_processing.pay_bank; idempotency_key, deadline: as saga.start. Returns the saga''s id. What is wrong with the arguments the first step says, and the saga fails without effect. NB203: bank_payment is not defined; NB204, NB021: as saga.start.';

DELETE FROM neobank.access_rights;

INSERT INTO neobank.access_rights (access_level, privileges, object_kind, object_name) VALUES
    ('reader', 'USAGE', 'SCHEMA', 'neobank'),
    ('reader', 'USAGE', 'SCHEMA', 'banking'),
    ('reader', 'USAGE', 'SCHEMA', 'txn_processing'),
    ('reader', 'USAGE', 'SCHEMA', 'event_store'),
    ('reader', 'USAGE', 'TYPE', 'banking.account_status'),
    ('reader', 'USAGE', 'TYPE', 'txn_processing.txn_type'),
    ('reader', 'USAGE', 'TYPE', 'txn_processing.txn_status'),
    ('reader', 'SELECT', 'TABLE', 'banking.tenants'),
    ('reader', 'SELECT', 'TABLE', 'banking.currencies'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_types'),
    ('reader', 'SELECT', 'TABLE', 'banking.customers'),
    ('reader', 'SELECT', 'TABLE', 'banking.accounts'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_slots'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_balances'),
    ('reader', 'SELECT', 'TABLE', 'banking.balance_mode_changes'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_status_changes'),
    ('reader', 'SELECT', 'TABLE', 'banking.transactions'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.movements'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.backdated_entries'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.ledger'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_limits'),
    ('reader', 'SELECT', 'TABLE', 'banking.limit_changes'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.limit_usage'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.hold_rules'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.holds'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.hold_captures'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.account_holds'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.transaction_queue'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.disputes'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.dispute_postings'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.dispute_policies'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_rates'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_transfers'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_residues'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_sweeps'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_positions'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.fx_rate_at'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.fx_gains'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.transaction_queue_attempts'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.queue_status'),
    ('reader', 'SELECT', 'TABLE', 'neobank.posting_path'),
    ('reader', 'EXECUTE', 'FUNCTION', 'neobank.uuid_v7'),
    ('reader', 'EXECUTE', 'FUNCTION', 'neobank.posting_path_in_force'),
    ('reader', 'EXECUTE', 'FUNCTION', 'banking.account_number_is_valid'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.generated_reference'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.statement'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.balance_as_of'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.transaction'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.trial_balance'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.daily_reconciliation'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.clearing_items'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.clearing_positions'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batch_errors'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batch_items'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batch_totals'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batches'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batches_status'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.settlement_report'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.settlement_runs'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.settlements'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.external_lines'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.external_statements'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciled_accounts'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciliation_match_lines'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciliation_match_postings'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciliation_matches'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciliation_rules'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.reconciliation_breaks'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.reconciliation_summary'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_rules'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_tiers'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_positions'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_accruals'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_capitalisations'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_accrued'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.daily_runs'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.run_refusals'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fee_schedules'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fee_tiers'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fees_charged'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.fee_for'),
    ('reader', 'SELECT', 'TABLE', 'event_store.streams'),
    ('reader', 'SELECT', 'TABLE', 'event_store.events'),
    ('reader', 'SELECT', 'TABLE', 'event_store.position_base'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.safe_position'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.page_size'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.read_stream'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.read_category'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.read_all'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.get_aggregate_state'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.get_aggregate_state_at'),
    ('reader', 'SELECT', 'TABLE', 'event_store.reducers'),
    ('reader', 'SELECT', 'TABLE', 'event_store.snapshots'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscriptions'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_partitions'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_streams'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_parked'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_leases'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_consumers'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_lag'),
    ('reader', 'SELECT', 'TABLE', 'event_store.parked_events'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.stream_partition'),
    ('reader', 'SELECT', 'TABLE', 'event_store.ledger_publications'),
    ('reader', 'SELECT', 'TABLE', 'event_store.ledger_publication'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.ledger_stream'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.ledger_published_since'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.ledger_opened_at'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.uuid_of'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.figure_of'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.ledger_balances'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.check_ledger_events'),
    ('reader', 'SELECT', 'TABLE', 'event_store.retention_rules'),
    ('reader', 'SELECT', 'TABLE', 'event_store.tombstones'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.lowest_needed_position'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.chain_event'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.events_hash'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.publish_ledger'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.prepare_ledger_publication'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'event_store.run_ledger_publication'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.set_retention'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.apply_retention'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'event_store.run_retention'),
    ('reader', 'USAGE', 'TYPE', 'saga.saga_status'),
    ('reader', 'SELECT', 'TABLE', 'saga.definitions'),
    ('reader', 'SELECT', 'TABLE', 'saga.sagas'),
    ('reader', 'SELECT', 'TABLE', 'saga.saga_steps'),
    ('reader', 'SELECT', 'TABLE', 'saga.compensations'),
    ('reader', 'SELECT', 'TABLE', 'saga.signals'),
    ('reader', 'SELECT', 'TABLE', 'saga.transitions'),
    ('reader', 'SELECT', 'TABLE', 'saga.pruned_keys'),
    ('reader', 'SELECT', 'TABLE', 'saga.prunings'),
    ('reader', 'SELECT', 'TABLE', 'saga.running_sagas'),
    ('reader', 'SELECT', 'TABLE', 'saga.parked_sagas'),
    ('reader', 'SELECT', 'TABLE', 'saga.failed_sagas'),
    ('reader', 'SELECT', 'TABLE', 'saga.stuck_sagas'),
    ('reader', 'SELECT', 'TABLE', 'saga.step_plans'),
    ('reader', 'EXECUTE', 'FUNCTION', 'saga.step_does'),
    ('reader', 'EXECUTE', 'FUNCTION', 'saga.mermaid_text'),
    ('reader', 'EXECUTE', 'FUNCTION', 'saga.describe_as_text'),
    ('reader', 'EXECUTE', 'FUNCTION', 'saga.describe_as_mermaid'),
    ('reader', 'EXECUTE', 'FUNCTION', 'saga.describe'),
    ('teller', 'EXECUTE', 'FUNCTION', 'saga.create_saga'),
    ('teller', 'EXECUTE', 'FUNCTION', 'saga.execute_step'),
    ('teller', 'EXECUTE', 'FUNCTION', 'saga.start'),
    ('teller', 'EXECUTE', 'FUNCTION', 'saga.start_bank_payment'),
    ('teller', 'EXECUTE', 'FUNCTION', 'saga.payment_hold'),
    ('teller', 'EXECUTE', 'FUNCTION', 'saga.payment_release'),
    ('teller', 'EXECUTE', 'FUNCTION', 'saga.payment_capture'),
    ('teller', 'EXECUTE', 'FUNCTION', 'saga.payment_return'),
    ('reader', 'EXECUTE', 'FUNCTION', 'saga.bank_payment_steps'),
    ('teller', 'EXECUTE', 'FUNCTION', 'saga.signal'),
    ('teller', 'EXECUTE', 'FUNCTION', 'saga.cancel'),
    ('operator', 'EXECUTE', 'FUNCTION', 'saga.run'),
    ('operator', 'EXECUTE', 'FUNCTION', 'saga.run_ready'),
    ('operator', 'EXECUTE', 'FUNCTION', 'saga.claim_step'),
    ('operator', 'EXECUTE', 'FUNCTION', 'saga.complete_step'),
    ('operator', 'EXECUTE', 'FUNCTION', 'saga.fail_step'),
    ('operator', 'EXECUTE', 'FUNCTION', 'saga.extend_lease'),
    ('operator', 'EXECUTE', 'FUNCTION', 'saga.retry_step'),
    ('operator', 'EXECUTE', 'FUNCTION', 'saga.retry_compensation'),
    ('operator', 'EXECUTE', 'FUNCTION', 'saga.resolve'),
    ('operator', 'EXECUTE', 'FUNCTION', 'saga.prune'),
    ('operator', 'EXECUTE', 'FUNCTION', 'saga.forget_keys'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'saga.run_prune'),
    ('reader', 'USAGE', 'SCHEMA', 'cqrs'),
    ('reader', 'USAGE', 'SCHEMA', 'saga'),
    ('reader', 'USAGE', 'SCHEMA', 'temporal'),
    ('reader', 'SELECT', 'TABLE', 'temporal.account_periods'),
    ('reader', 'SELECT', 'TABLE', 'temporal.accounts_history'),
    ('reader', 'EXECUTE', 'FUNCTION', 'temporal.get_account_as_of'),
    ('reader', 'EXECUTE', 'FUNCTION', 'temporal.accounts_as_of'),
    ('reader', 'EXECUTE', 'FUNCTION', 'temporal.balance_as_of'),
    ('reader', 'EXECUTE', 'FUNCTION', 'temporal.balance_before'),
    ('reader', 'EXECUTE', 'FUNCTION', 'temporal.limits_as_of'),
    ('reader', 'EXECUTE', 'FUNCTION', 'temporal.timeline'),
    ('reader', 'EXECUTE', 'FUNCTION', 'temporal.diff'),
    ('reader', 'EXECUTE', 'FUNCTION', 'temporal.safe_horizon'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.correct'),
    ('reader', 'EXECUTE', 'FUNCTION', 'temporal.as_of'),
    ('reader', 'SELECT', 'TABLE', 'temporal.tables'),
    ('reader', 'SELECT', 'TABLE', 'temporal.period_foreign_keys'),
    ('reader', 'SELECT', 'TABLE', 'temporal.tables_to_follow'),
    ('reader', 'EXECUTE', 'FUNCTION', 'temporal.enabled_table'),
    ('reader', 'EXECUTE', 'FUNCTION', 'temporal.column_list'),
    ('reader', 'EXECUTE', 'FUNCTION', 'temporal.as_of_query'),
    ('reader', 'EXECUTE', 'FUNCTION', 'temporal.describe'),
    ('teller', 'EXECUTE', 'FUNCTION', 'temporal.update_portion'),
    ('teller', 'EXECUTE', 'FUNCTION', 'temporal.delete_portion'),
    ('teller', 'EXECUTE', 'FUNCTION', 'temporal.insert_portion'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.given'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.enabled_tables'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.period_key'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.key_match'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.base_type'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.key_value'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.key_condition'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.key_object'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.guard_history'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.record_body'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.record_history'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.make_functions'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.timeline_query'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.make_views'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.table_obstacle'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.key_operators'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.make_tables'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.make_triggers'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.home_schema'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.enable'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.disable'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.instant'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.new_values'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.given_values'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.with_generated'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.rewrite'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.add_fact'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.believed'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.settle'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.lock_key'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.places'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.check_snapshot'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.check_key'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.check_period'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.check_changes'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.check_rows'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.apply_key'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.change_portion'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.apply_due'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.prune'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.check_history'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.follow_columns'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.follow_types'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.follow_rights'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.follow_policies'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.follow'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.add_foreign_key'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.drop_foreign_key'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.check_child'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.check_parent'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.uncovered'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.cut_name'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.free_name'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.drop_views'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.as_owner'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.apply_due_to'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.prune_of'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.check_keys'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.fire_checks'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.follow_owner'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.follow_table'),
    ('operator', 'EXECUTE', 'FUNCTION', 'temporal.try_follow'),
    ('operator', 'SELECT, INSERT, UPDATE, DELETE', 'TABLE', 'temporal.tables'),
    ('operator', 'SELECT, INSERT, UPDATE, DELETE', 'TABLE', 'temporal.table_columns'),
    ('operator', 'SELECT, INSERT, UPDATE, DELETE', 'TABLE', 'temporal.period_foreign_keys'),
    ('reader', 'USAGE', 'SCHEMA', 'troubleshoot'),
    ('reader', 'USAGE', 'SCHEMA', 'pooling'),
    ('reader', 'USAGE', 'SCHEMA', 'concurrency'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.explain'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.measurements'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.labelled_measurements'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.largest_tables'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.top_statements'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.report_data'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.metrics'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.report_html'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.compare_baseline'),
    ('reader', 'SELECT', 'TABLE', 'troubleshoot.samples'),
    ('reader', 'SELECT', 'TABLE', 'troubleshoot.alerts'),
    ('reader', 'SELECT', 'TABLE', 'troubleshoot.baseline_settings'),
    ('operator', 'EXECUTE', 'FUNCTION', 'troubleshoot.capture_baseline'),
    ('operator', 'EXECUTE', 'FUNCTION', 'troubleshoot.run_baseline'),
    ('operator', 'INSERT, UPDATE, DELETE', 'TABLE', 'troubleshoot.baseline_settings'),
    ('reader', 'SELECT', 'TABLE', 'troubleshoot.thresholds'),
    ('reader', 'SELECT', 'TABLE', 'troubleshoot.acknowledgements'),
    ('reader', 'SELECT', 'TABLE', 'troubleshoot.restore_tests'),
    ('reader', 'SELECT', 'TABLE', 'troubleshoot.check_catalogue'),
    ('reader', 'SELECT', 'TABLE', 'concurrency.v_table_bloat'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.checks'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.run_checks'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.check_definitions'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.slow_statements'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.table_bloat'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.index_bloat'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.check_table_health'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.known_schema'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.full_health_check'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.sequence_position'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.relation_file_bytes'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.multixact_member_segments'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.subtransaction_overflows'),
    ('operator', 'EXECUTE', 'FUNCTION', 'troubleshoot.set_threshold'),
    ('operator', 'EXECUTE', 'FUNCTION', 'troubleshoot.reset_threshold'),
    ('operator', 'EXECUTE', 'FUNCTION', 'troubleshoot.acknowledge'),
    ('operator', 'EXECUTE', 'FUNCTION', 'troubleshoot.unacknowledge'),
    ('operator', 'EXECUTE', 'FUNCTION', 'troubleshoot.note_restore_test'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.machine_cores'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.what_if'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.recommended_size'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.calculate_pool_size'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.usable_connections'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.sessions'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.bounded_period'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.bounded_pool_size'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.bounded_seconds'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.idle_connections'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.check_pool_health'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.load'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.recommend_for'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.recommend'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.advised_pool_size'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.advice'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.generate_pgbouncer_config'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.slow_query_rows'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.slow_queries'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.connection_analysis'),
    ('reader', 'SELECT', 'TABLE', 'pooling.v_connection_analysis'),
    ('reader', 'SELECT', 'TABLE', 'pooling.v_idle_connections'),
    ('reader', 'SELECT', 'TABLE', 'pooling.samples'),
    ('reader', 'SELECT', 'TABLE', 'pooling.load_samples'),
    ('reader', 'SELECT', 'TABLE', 'pooling.pool_stats'),
    ('reader', 'SELECT', 'TABLE', 'troubleshoot.v_slow_queries'),
    ('operator', 'INSERT, UPDATE, DELETE', 'TABLE', 'pooling.samples'),
    ('operator', 'INSERT, UPDATE, DELETE', 'TABLE', 'pooling.load_samples'),
    ('operator', 'INSERT, UPDATE, DELETE', 'TABLE', 'pooling.pool_stats'),
    ('operator', 'EXECUTE', 'FUNCTION', 'pooling.session_groups'),
    ('operator', 'EXECUTE', 'FUNCTION', 'pooling.capture_sample'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.customer_summary'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.customer_balances'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.account_activity'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.activity_marks'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.risk_scores'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.transaction_count'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.amount_total'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.last_activity'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.last_transaction_date'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.commands'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.command_events'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.command_handlers'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.command_result'),
    ('teller', 'INSERT (command_id, command_type, aggregate_type, aggregate_id, payload, max_attempts, correlation_id)', 'TABLE', 'cqrs.commands'),
    ('teller', 'EXECUTE', 'FUNCTION', 'cqrs.submit_command'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.process_commands'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.projections'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.projection_status'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.run_projection'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.pause_projection'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.resume_projection'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.rebuild_projection'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.run_rebuild'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.cancel_rebuild'),
    ('teller', 'EXECUTE', 'FUNCTION', 'cqrs.update_customer_summary'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.refresh_activity'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.set_risk_score'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.lock_modes_conflict'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.lock_object'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.lock_waits'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.why_waiting'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.kill_exemption'),
    ('reader', 'SELECT', 'TABLE', 'troubleshoot.blocking_tree'),
    ('reader', 'SELECT', 'TABLE', 'troubleshoot.v_blocking_chains'),
    ('reader', 'SELECT', 'TABLE', 'troubleshoot.idle_transactions'),
    ('reader', 'SELECT', 'TABLE', 'troubleshoot.kill_exemptions'),
    ('reader', 'SELECT', 'TABLE', 'concurrency.v_lock_analysis'),
    ('reader', 'SELECT', 'TABLE', 'concurrency.held_locks'),
    ('reader', 'SELECT', 'TABLE', 'concurrency.leases'),
    ('reader', 'EXECUTE', 'FUNCTION', 'concurrency.detect_deadlock_risk'),
    ('reader', 'EXECUTE', 'FUNCTION', 'concurrency.widen_xid'),
    ('reader', 'EXECUTE', 'FUNCTION', 'concurrency.show_mvcc_info'),
    ('reader', 'EXECUTE', 'FUNCTION', 'concurrency.demonstrate_isolation_levels'),
    ('reader', 'EXECUTE', 'FUNCTION', 'concurrency.lock_key'),
    ('reader', 'EXECUTE', 'FUNCTION', 'concurrency.lock_holders'),
    ('teller', 'EXECUTE', 'FUNCTION', 'concurrency.acquire_customer_lock'),
    ('teller', 'EXECUTE', 'FUNCTION', 'concurrency.release_customer_lock'),
    ('teller', 'EXECUTE', 'FUNCTION', 'concurrency.acquire_lock'),
    ('teller', 'EXECUTE', 'FUNCTION', 'concurrency.acquire_locks'),
    ('teller', 'EXECUTE', 'FUNCTION', 'concurrency.release_lock'),
    ('teller', 'EXECUTE', 'FUNCTION', 'concurrency.release_locks'),
    ('teller', 'EXECUTE', 'FUNCTION', 'concurrency.acquire_lease'),
    ('teller', 'EXECUTE', 'FUNCTION', 'concurrency.acquire_leases'),
    ('teller', 'EXECUTE', 'FUNCTION', 'concurrency.extend_lease'),
    ('teller', 'EXECUTE', 'FUNCTION', 'concurrency.release_lease'),
    ('teller', 'EXECUTE', 'FUNCTION', 'concurrency.hold_lease'),
    ('teller', 'EXECUTE', 'FUNCTION', 'concurrency.record_deadlock'),
    ('operator', 'EXECUTE', 'FUNCTION', 'concurrency.break_lease'),
    ('operator', 'EXECUTE', 'FUNCTION', 'concurrency.collect_deadlocks'),
    ('operator', 'SELECT', 'TABLE', 'concurrency.deadlock_log'),
    ('operator', 'SELECT', 'TABLE', 'concurrency.deadlock_collection'),
    ('operator', 'EXECUTE', 'FUNCTION', 'troubleshoot.kill_long_queries'),
    ('operator', 'EXECUTE', 'FUNCTION', 'troubleshoot.clear_idle_transactions'),
    ('operator', 'SELECT', 'TABLE', 'troubleshoot.kill_log'),
    ('teller', 'INSERT, UPDATE', 'TABLE', 'banking.customers'),
    ('teller', 'USAGE', 'SEQUENCE', 'banking.customer_number_seq'),
    ('teller', 'INSERT (request_id, transaction_type, source_account_id, destination_account_id, amount, currency_code, priority, idempotency_key, request_data, max_retries, expires_at)', 'TABLE', 'txn_processing.transaction_queue'),
    ('teller', 'EXECUTE', 'FUNCTION', 'banking.create_customer'),
    ('teller', 'EXECUTE', 'FUNCTION', 'banking.open_account'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.transfer'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.transfer_fx'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.open_dispute'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.deposit'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.withdraw'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.pay'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.refund'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.place_hold'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.capture_hold'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.release_hold'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.capture_hold_group'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.release_hold_group'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.validate'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.post_transfers'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.post_batch'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_transfer'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_deposit'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_withdrawal'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_payment'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.enqueue'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.create_payment_batch'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.pay_bank'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.receive_from_bank'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.transfer_with_fee'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.append_event'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.append_events'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.append_events_if'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.define_reducer'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.drop_reducer'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.take_snapshot'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.fetch'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.ack'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.nack'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.extend_lease'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.create_subscription'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.alter_subscription'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.reset_subscription'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.drop_subscription'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.replay_parked'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.discard_parked'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.process_transaction'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.resolve_dispute'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_dispute_policy'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_fx_rate'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.sweep_fx_residues'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.process_queue'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.charge_fee'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.credit_interest'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.adjust'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.reverse'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.reverse_transaction'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_account_status'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_overdraft_limit'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_balance_mode'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.expire_holds'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_hold_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_account_limit'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_type_limit'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.close_account'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.update_account_optimistic'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.create_tenant'),
    ('operator', 'SELECT', 'TABLE', 'neobank.guard_log'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.cancel_payment_batch'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.process_payment_batch'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.retry_payment_batch'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'txn_processing.run_payment_batch'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.settle'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.import_external_statement'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.match_external_statement'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.manual_match'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.unmatch'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_reconciliation_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_interest_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_account_interest_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.end_account_interest_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.accrue_interest'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.capitalise_interest'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.settle_interest'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_fee_schedule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.apply_fee'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.charge_periodic_fees'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'txn_processing.run_interest_accrual'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'txn_processing.run_interest_capitalisation'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'txn_processing.run_periodic_fees');

CREATE OR REPLACE FUNCTION neobank.grant_usage(role name, level text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    levels CONSTANT text[] := ARRAY['reader', 'teller', 'operator'];
    rank CONSTANT integer := array_position(levels, level);
    entry neobank.access_rights;
BEGIN
    IF role IS NULL OR level IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN role IS NULL THEN 'role' ELSE 'level' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF rank IS NULL THEN
        RAISE EXCEPTION 'argument "level" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = format('There is no level %L.', left(level, 100)),
                  HINT = 'Levels are reader, teller and operator.';
    END IF;
    IF role = 'public' THEN
        RAISE EXCEPTION 'argument "role" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = 'PUBLIC is everybody, and gets nothing.', HINT = 'Name a role.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role
            USING ERRCODE = 'undefined_object', HINT = 'Create it first.';
    END IF;
    FOR entry IN
        SELECT r.* FROM neobank.access_rights r WHERE array_position(levels, r.access_level) <= rank
    LOOP
        -- Both parts of the name are constants of the install; the role is the only value, and it is quoted.
        EXECUTE format('GRANT %s ON %s %s TO %I', entry.privileges, entry.object_kind, entry.object_name, role);
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION neobank.revoke_usage(role name) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    entry neobank.access_rights;
BEGIN
    IF role IS NULL THEN
        RAISE EXCEPTION 'argument "role" must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF role = 'public' THEN
        RAISE EXCEPTION 'argument "role" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = 'PUBLIC has nothing that could be revoked.', HINT = 'Name a role.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role
            USING ERRCODE = 'undefined_object', HINT = 'There is nothing to revoke.';
    END IF;
    FOR entry IN SELECT r.* FROM neobank.access_rights r LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %I', entry.object_kind, entry.object_name, role);
    END LOOP;
END
$$;

CREATE FUNCTION neobank.guard_drop() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'neobank_guard_drop';

COMMENT ON FUNCTION neobank.guard_drop() IS
    'Event trigger: refuses with NB052 to drop the extension while the ledger has postings or balances, unless the statement is DROP EXTENSION neobank CASCADE.';

CREATE EVENT TRIGGER neobank_guard_drop ON ddl_command_start
    WHEN TAG IN ('DROP EXTENSION', 'DROP OWNED', 'DROP SCHEMA')
    EXECUTE FUNCTION neobank.guard_drop();

COMMENT ON EVENT TRIGGER neobank_guard_drop IS 'Keeps a ledger that holds money from being dropped (NB052).';

ALTER EVENT TRIGGER neobank_guard_drop ENABLE ALWAYS;

COMMENT ON FUNCTION event_store.append_event IS
    'Appends one event to the stream of an aggregate. p_aggregate_type: 1 to 100 characters, kept from the first event on; p_aggregate_id; p_event_type: 1 to 100 characters; p_event_data: a JSON object of up to 1 MB and 64 levels; p_expected_version: the stream''s version as the caller knows it, 0: no stream, -1: a stream, null: any; p_metadata: a JSON object of up to 16 kB; p_event_id: the caller''s, so that a retry appends nothing and answers the same, null: drawn; p_tags: up to 20 different texts. Returns the event''s id. NB101: version; NB102: another type; NB103: id with other content; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION event_store.append_events IS
    'Appends 1 to 10,000 events to one stream, all or none. aggregate_type, aggregate_id, expected_version: as event_store.append_event; events: an array of objects with event_type and event_data, and optionally event_id, metadata and tags. Returns the stream''s new version; a retry with the same event_ids and content appends nothing and answers the version that they led to. NB101: version; NB102: another type; NB103: ids with other content, or only some of them; NB104: an event that is none; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION event_store.append_events_if IS
    'Appends as event_store.append_events does, provided that no event of any of event_types and with all of tags is there after after_position. aggregate_type, aggregate_id, events, expected_version: as there; after_position: the last position of what the caller decided on, read below event_store.safe_position(); event_types: 1 to 100, null: any; tags: 1 to 20, null: any or none; at least one of both is given. Calls wait for each other where the first of tags is the same; without tags every append waits. Returns the stream''s new version; a retry with the same event_ids is acknowledged whatever has come since. NB110: such an event is there; NB021: a bound, or a position that is not final yet; else as event_store.append_events.';

COMMENT ON FUNCTION event_store.get_aggregate_state IS
    'The aggregate''s events folded into one object with its version; {} where it has none. p_aggregate_id; p_up_to_version: the last event to fold, null: all. What an event does is what event_store.reducers has for it; without a reducer AccountOpened sets the state, FundsDeposited and FundsWithdrawn change balance by amount in exact decimals, AccountClosed sets status, any other event is merged key by key. NB105: an event that cannot be folded; NB107: a reducer''s function; NB021: a version below zero.';

COMMENT ON FUNCTION event_store.get_aggregate_state_at IS
    'The state up to the last event that was recorded at or before p_at (created_at), with all events before it, even where a clock that was set back gave one of them a later time; {} where there is none. p_aggregate_id; p_at. Errors as event_store.get_aggregate_state; 22004: null.';

COMMENT ON FUNCTION event_store.define_reducer IS
    'Declares what an event does to the state of its aggregate, in place of what was declared before. aggregate_type, event_type: 1 to 100 characters, null: any; those of the aggregate''s type go before those of any, among them one of the event''s type before that of any. operations: up to 100 objects in their order, each {set | merge | add | subtract | append | remove: path} with value (a constant) or from (a path in event_data) and optional (true: passed by where the event has no such thing), see docs/event_store.md; or handler: a function (state jsonb, event event_store.events) returning jsonb, called with the rights of whoever reads the state, to be defined by a member of the extension''s owner. NB106: an operation; NB107: the function; NB021: a bound, or none or both of them; 42501: a handler without the right.';

COMMENT ON FUNCTION event_store.drop_reducer IS
    'Takes a reducer away. aggregate_type, event_type: as it was defined. NB108: there is none.';

COMMENT ON FUNCTION event_store.take_snapshot IS
    'Takes a snapshot of an aggregate''s state at its version, as appending does once in a while: after reducers were defined anew or a database was restored. p_aggregate_id. Returns the version; null where there are no events, or reducers that are functions. NB105: an event that cannot be folded; 22004: null.';

COMMENT ON FUNCTION cqrs.transaction_count IS
    'How many postings, debits and credits, the account has. account_id: any account, slotted or not; since: only those recorded after that instant, null: all. Exact at the reader''s snapshot; takes about as many probes as the logarithm of their number. NB002: account; 22004: null.';

COMMENT ON FUNCTION cqrs.amount_total IS
    'What the amounts of the account''s postings add up to, debits and credits alike, in units of its currency. account_id; since: only those recorded after that instant, null: all. Exact at the reader''s snapshot; reads the postings that cqrs.refresh_activity has not marked yet. NB002: account; 22004: null.';

COMMENT ON FUNCTION cqrs.last_activity IS
    'When the account''s last posting was recorded; null without one. account_id. NB002: account; 22004: null.';

COMMENT ON FUNCTION cqrs.last_transaction_date IS
    'The latest effective time of any of the account''s postings, which is not that of the last one where that was backdated; null without one. account_id. NB002: account; 22004: null.';

COMMENT ON FUNCTION cqrs.refresh_activity IS
    'Makes the marks that let cqrs.account_activity and customer_summary tell long histories quickly; what they show stays the same. max_marks: how many this call makes, 1 to 100,000, of 256 postings each; call it until it answers 0. Returns how many it made. Any number of sessions may call it at once. NB021: max_marks; 22004: null.';

COMMENT ON FUNCTION cqrs.update_customer_summary IS
    'Makes all marks of one customer''s accounts, as cqrs.refresh_activity. cqrs.customer_summary is right without it. p_customer_id. NB014: customer; 22004: null.';

COMMENT ON FUNCTION cqrs.set_risk_score IS
    'customer_id; risk_score: a number of the application''s, shown in cqrs.customer_summary, null: none. NB014: customer; 22004: customer_id null.';

COMMENT ON FUNCTION cqrs.register_handler IS
    'Has a function carry out the commands of a type, in place of the one before. command_type: 1 to 100 characters; handler: a function (cqrs.commands) returns jsonb that the caller may execute; it is called with the rights of whoever submitted the command and search_path = pg_catalog; max_attempts: 1 to 100, of commands that do not say it. A handler is code that runs in others'' names: no level of neobank.grant_usage may register one. NB021: a bound; NB122: function; 22004: null.';

COMMENT ON FUNCTION cqrs.unregister_handler IS
    'Leaves the commands of a type without a handler: new ones are refused, pending ones fail. command_type. NB121: there is none; 22004: null.';

COMMENT ON FUNCTION cqrs.submit_command IS
    'Keeps a command, and has it carried out. command_type: one that has a handler; aggregate_type: 1 to 100 characters; payload: JSON of up to 1 MB and 64 levels; aggregate_id; command_id: the caller''s, so that a retry answers the first result, null: drawn; mode: immediate (the handler runs now, in this transaction, as the caller: an error of it is raised and undoes the command too) or queued (cqrs.process_commands or a background worker runs it); correlation_id: up to 200 characters, kept with it; max_attempts: 1 to 100, null: the handler''s. Returns what cqrs.command_result answers. NB120: id with other content; NB121: no handler; NB021: a bound; 22004: null; and what the handler raises.';

COMMENT ON FUNCTION cqrs.process_commands IS
    'Carries out pending commands that are due, the oldest first, each in a subtransaction with the rights of whoever submitted it. max_commands: 1 to 1,000. Any number of sessions may call it at once; a command is carried out once. A failure is kept with the command: tried again with growing delays after a serialization failure, deadlock, lock timeout or version conflict (NB101), up to its max_attempts, else failed for good. What says nothing about a command, a cancelled statement or a lack of memory or disk, is raised, and the call undone. Returns each command with its status, SQLSTATE and message. NB021: max_commands; NB029: not at READ COMMITTED; NB123: called by a handler; 22004: null.';

COMMENT ON SEQUENCE cqrs.projections_projection_no_seq IS 'Numbers of projections; gaps are possible.';

COMMENT ON FUNCTION cqrs.create_projection IS
    'Has a function keep a table from events. name: 1 to 100 characters; handler: a function (event event_store.events, target regclass) returns void that writes to the table it is given, called with the rights of that table''s owner and search_path = pg_catalog; target: a plain table of the caller''s; filter: {"aggregate_types": [...], "event_types": [...], "tags": [...]}, each optional, events must have one of the types and all of the tags; mode: async (cqrs.run_projection or a background worker applies all events from the first on, in their order, each once) or inline (each append applies its own events in its transaction, from now on, and fails where the handler fails; cqrs.rebuild_projection takes in the earlier ones). A handler is code that runs in others'' names: no level of neobank.grant_usage may make a projection. NB021: a bound; NB122: function; NB126: name taken; NB128: table; 22004: null.';

COMMENT ON FUNCTION cqrs.drop_projection IS
    'Ends a projection; its table stays, without further events. Waits for appends that are under way where it is inline. name. NB125: there is none; 22004: null.';

COMMENT ON FUNCTION cqrs.pause_projection IS
    'Stops a projection. An async one goes on with cqrs.resume_projection; an inline one misses what is appended meanwhile, so only a rebuild sets it going again: for a handler that makes appends fail. name. NB125: there is none; 22004: null.';

COMMENT ON FUNCTION cqrs.resume_projection IS
    'Lets a paused async projection go on where it was. name. NB125: there is none; NB127: it is inline; 22004: null.';

COMMENT ON FUNCTION cqrs.run_projection IS
    'Applies the next events to an async projection''s table and moves its position on, in one transaction: each event once, in their order, up to event_store.safe_position(). name; max_events: how many events to read, 1 to 100,000. Returns how many it has read, those that the filter leaves out too; null where another session is at it. An event that the handler fails on stops the projection there: those before it are applied, and cqrs.projection_status has the reason; the next call tries it again. NB021: max_events; NB125: there is none; NB127: it is inline or paused; NB128: its table is gone; 22004: null.';

COMMENT ON FUNCTION cqrs.rebuild_projection IS
    'Begins to build a projection anew from the first event, in an empty twin of its table, while the old table serves and is kept. Call cqrs.run_rebuild until it answers done. name. NB125: there is none; NB127: a rebuild is under way; NB128: the table has something that a twin would lose (triggers, foreign keys, views, policies, ...); 22004: null.';

COMMENT ON FUNCTION cqrs.run_rebuild IS
    'A step of a rebuild: replays events into the twin and, when there are no more, puts it in the table''s place with its name, owner, grants and comment. name; max_events: how many events to read, 1 to 100,000. Returns replaying (call it again), waiting (transactions are under way that began before; call it again later), busy (another session is at it) or done. The last step of an inline projection keeps appends out while it lasts, and waits for those that are under way: set lock_timeout. Raises what the handler raises, and then nothing of this step stays. NB021: max_events; NB029: not at READ COMMITTED; NB125: there is none; NB127: no rebuild is under way; NB128: as cqrs.rebuild_projection; 22004: null.';

COMMENT ON FUNCTION cqrs.cancel_rebuild IS
    'Ends a rebuild and drops its twin; the projection goes on as it was. name. NB125: there is none; NB127: no rebuild is under way; 22004: null.';

COMMENT ON FUNCTION event_store.page_size IS
    'The bound of a page: max_events itself, 1 to 100,000. NB021: outside of it; 22004: null.';

COMMENT ON FUNCTION event_store.stream_partition IS
    'The partition of a subscription that a stream belongs to, from 0. aggregate_id; partitions: how many the subscription has. The same for ever and on every machine; null for null.';

COMMENT ON FUNCTION event_store.create_subscription IS
    'Makes a subscription. name: 1 to 100 characters; filter: an object with aggregate_types, event_types (only events of these) and tags (only events that have all of them), each an array of 1 to 100 texts or left out; start: beginning, now, or a global position after which it begins; partitions: 1 to 256, the most consumers that have events at once, for good; max_attempts: after so many failures an event is parked, 1 to 1,000; backoff_first_ms, backoff_most_ms: the wait after the first failure, doubled with each further one, and its bound; lease_ms: how long a consumer may keep events; waits and leases to a week; parked_blocks: whether the later events of a stream wait for its parked one. NB114: the name is taken; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION event_store.alter_subscription IS
    'Changes settings of a subscription, as event_store.create_subscription takes them; null leaves one as it is. paused: fetches answer nothing while it is true. NB115: no such subscription; NB021: a bound.';

COMMENT ON FUNCTION event_store.reset_subscription IS
    'Has a subscription begin anew: every event after start that matches is handed out, again where it was before. What is in flight, waiting or parked is forgotten, and leases are lost. Waits for transactions that have fetched and not ended. start: beginning, now, or a global position. NB115: no such subscription; NB021: start.';

COMMENT ON FUNCTION event_store.drop_subscription IS
    'Takes a subscription away with all that it knows. Waits for transactions that have fetched and not ended. NB115: no such subscription.';

COMMENT ON FUNCTION event_store.fetch IS
    'Hands out the next events of a subscription, in stream order, and leases them to the consumer: columns of event_store.events, attempt (from 1), lease_token (what ack and nack want; a later lease of a stream has a higher one), leased_until. name; batch: 1 to 1,000; consumer: who asks, 1 to 100 characters. No other consumer gets events of these streams until each event is acknowledged, given back, or the lease runs out. Looks at up to 100,000 events for each of its shares and answers nothing if none matches. NB115: no such subscription; NB021: a bound; 22004: null; 40001: above READ COMMITTED, another consumer was first.';

COMMENT ON FUNCTION event_store.ack IS
    'Events of a lease are handled. name; lease_token; event_ids: which ones, up to 10,000, null: all that are open. Returns how many were open; again for the same lease it returns 0. NB115: no such subscription; NB116: the lease is lost; NB117: not an event of the lease; NB118: an earlier event of its stream is open; 22004: null.';

COMMENT ON FUNCTION event_store.nack IS
    'An event of a lease could not be handled; the later ones of its stream in the lease go back with it. name; lease_token; event_id; reason: 1 to 1,000 characters; retry_in_ms: the wait, to a week, null: the subscription''s backoff; park: give it up at once. Returns when it is handed out again, null: it is parked, which also max_attempts failures lead to. The same again returns the same. NB115: no such subscription; NB116: the lease is lost; NB117: not an event of the lease; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION event_store.extend_lease IS
    'Gives a consumer more time. name; lease_token; by_ms: from now on, to a week, null: the subscription''s lease_ms. Returns when the lease ends, never earlier than before. NB115: no such subscription; NB116: the lease is lost or all its events are settled; NB021: by_ms.';

COMMENT ON FUNCTION event_store.replay_parked IS
    'Has parked events handed out once more, with all attempts before them. name; event_ids: which ones, null: all, up to 10,000 in one call. Where parked events do not block, an event comes after later ones of its stream. Returns how many. NB115: no such subscription; NB119: an event is not parked; NB021: too many ids, or one null.';

COMMENT ON FUNCTION event_store.discard_parked IS
    'Gives parked events up for good; their streams go on. name; event_ids: up to 10,000. Returns how many. NB115: no such subscription; NB119: an event is not parked; NB021: too many ids, or one null; 22004: null.';

COMMENT ON FUNCTION event_store.publish_ledger IS
    'Switches the publishing of postings as events. publish: true: from its commit on every posting appends an event per leg in its own transaction, and what each account holds is brought forward as an event; false: no more. Waits for postings under way and keeps new ones waiting until its transaction ends, which is short once event_store.run_ledger_publication has prepared it. Returns the position of the event that says so, which all of the publication''s postings are above; what is so already is answered again; null where it never was on. 22004: null; 55P03: lock_timeout passed.';

COMMENT ON FUNCTION event_store.prepare_ledger_publication IS
    'Brings the next accounts forward ahead of event_store.publish_ledger(true), which writes again only those that have changed by then. max_accounts: 1 to 100,000. Locks no account and no posting. Returns how many, 0 once all are or while the ledger is published. NB021: max_accounts; 22004: null.';

COMMENT ON FUNCTION event_store.ledger_published_since IS
    'The position above which the events of postings are. NB130: the ledger is not published.';

COMMENT ON FUNCTION event_store.ledger_opened_at IS
    'The position at which the last publication of the ledger up to as_of_position (null: of all) was opened; null where there is none. NB132: retention has deleted events of it up to there.';

COMMENT ON FUNCTION event_store.ledger_stream IS
    'The aggregate whose events are the legs of that posting. transaction_id; of an aggregate of type LedgerTransaction the same function answers the transaction. 22004: null.';

COMMENT ON FUNCTION event_store.set_retention IS
    'Sets how long events are kept. aggregate_type: 1 to 100 characters; keep: from 0 to 1000 years, null: for ever, which takes the rule away; keep_state: whether the state that deleted events led to is kept, so that event_store.get_aggregate_state goes on. Deletes nothing by itself. NB021: a bound; 22004: null.';

COMMENT ON FUNCTION event_store.apply_retention IS
    'Deletes events that are older than their type''s rule keeps them, the oldest of each stream first, and writes a row into event_store.tombstones for each stream. Kept are events that are not final in the reading order yet (event_store.safe_position()), that event_store.lowest_needed_position() says are needed, or that the published ledger''s balances rest on. max_events: 1 to 100,000. Streams that others write to or delete from are left for the next call. Returns the events and streams of this call, and whether nothing was left that it could have taken. NB105: a state that was to be kept cannot be folded; NB021: max_events; 22004: null.';

COMMENT ON FUNCTION temporal.get_account_as_of IS
    'p_account_id; p_as_of_time: the time at which it was true, by effective time of the postings; p_transaction_time: the time at which it was recorded so; both inclusive, ''infinity'' for all that is there, the caller''s own transaction included. One row: the account as it was then, with its balance and its own spending limits, and the row of temporal.accounts_history that says so; none before it was opened or for an unknown id. 22004: null.';

COMMENT ON FUNCTION temporal.balance_as_of IS
    'account_id; valid_at: counts postings effective by then; known_at: counts postings recorded by then. What the account held, in units of its currency, with backdated postings where they were recorded by known_at; null for an unknown account. 22004: null.';

COMMENT ON FUNCTION temporal.balance_before IS
    'account_id; valid_to, transaction_to: as temporal.balance_as_of a microsecond before both, null: without an end. Behind current_balance of temporal.accounts_history. 22004: account_id null.';

COMMENT ON FUNCTION temporal.correct IS
    'Corrects what an account was from valid_from (inclusive) to valid_to (exclusive, null: up to now). account_id: a customer''s; changes: a JSON object with customer_id, account_number, account_type, account_status, overdraft_limit, as far as they were others; reason: 1 to 1,000 characters; tenant: the account''s, null means the bank itself. What was recorded before stays readable at times before. Before the account''s first period it is made to begin earlier. Returns when it was recorded, null where all read so already. NB002: account; NB005: limit; NB013, NB015: tenant; NB014, NB017: customer or type unknown; NB020: number; NB021: reason or changes; NB024: the bank''s own account; NB300: the time; NB301: a key or value; 22004: null.';

COMMENT ON FUNCTION temporal.record_account_change IS
    'Called by temporal.record_account with what an account was before the statement that changed it. Writes the account''s history.';

COMMENT ON FUNCTION temporal.account_range(uuid, uuid) IS 'A range of ids of accounts; comes with the type.';

COMMENT ON FUNCTION temporal.account_range(uuid, uuid, text) IS 'A range of ids of accounts; comes with the type.';

COMMENT ON FUNCTION temporal.account_multirange() IS 'No ids of accounts; comes with the type.';

COMMENT ON FUNCTION temporal.account_multirange(temporal.account_range) IS 'A range of ids of accounts as several; comes with the type.';

COMMENT ON FUNCTION temporal.account_multirange(temporal.account_range[]) IS 'Several ranges of ids of accounts; comes with the type.';

COMMENT ON CAST (temporal.account_range AS temporal.account_multirange) IS 'Comes with the type.';

COMMENT ON FUNCTION temporal.check_snapshot IS
    'Above READ COMMITTED: fails with 40001 where others have recorded something of a key that the transaction''s snapshot does not show. p_table: with a history; p_key: an object of the key''s columns. Called by what records facts of keys that are not in the table. NB320: no history; 22004: null.';

COMMENT ON FUNCTION temporal.as_owner IS
    'Does one of the works on a table''s history with the rights of the table''s owner, so that no trigger or function of his gets the caller''s. p_table; p_work: follow, apply_due, prune; p_before, p_max_rows: of prune. The caller must have the owner''s rights. Returns how many rows it was. Called by the functions of these names. NB320: the table has no history; NB021: no such work; 42501: not the owner; 22004: null.';

COMMENT ON FUNCTION temporal.update_portion IS
    'Corrects or schedules: rows of a key that are true between two instants get changed values for that time; before and after it they stay, and what was believed until now stays readable. p_table: with a history; key: an object of the key''s columns; valid_from, valid_to: timestamps, -infinity and infinity for open ends; changes: an object of columns and their new values. The caller needs UPDATE on the table, on which no row security may apply to him. Where the time includes now the table''s row is changed too. Returns how many periods were changed; 0: nothing was true of the key then. NB320: no history; NB323: the key; NB324: the period; NB326: the changes; NB331: before what the history is kept from; NB336: a trigger or rule of the table keeps the row back; 22001, 23502, 23514: a constraint of the table; 42501: the caller''s rights; NB336: a trigger or rule of the table keeps the row back; 22004: null.';

COMMENT ON FUNCTION temporal.delete_portion IS
    'Nothing was, or will be, true of a key between two instants; what was believed until now stays readable. Arguments as temporal.update_portion takes them; the caller needs DELETE. Where the time includes now the table''s row goes. Returns how many periods there were. NB320, NB323, NB324, NB331, NB336, 42501, 22004: as there.';

COMMENT ON FUNCTION temporal.insert_portion IS
    'A row was, or will be, true between two instants in which its key has none. p_table; row_values: an object of columns and values, the key''s among them, where columns left out are null; valid_from, valid_to: timestamps. The caller needs INSERT. Where the time includes now the row is inserted into the table. Returns 1. NB325: the key has a row in that time; NB320, NB323, NB324, NB326, NB331, NB336, 22001, 23502, 23514, 42501, 22004: as temporal.update_portion.';

COMMENT ON FUNCTION troubleshoot.run_checks IS
    'What troubleshoot.checks calls, which also sees to it that nothing waits for a lock.';

COMMENT ON FUNCTION troubleshoot.check_definitions IS
    'The checks there are, with their own thresholds. See troubleshoot.check_catalogue.';

COMMENT ON FUNCTION troubleshoot.set_threshold IS
    'Sets thresholds of a check in the place of its own. check_id: as in troubleshoot.check_catalogue; warning, critical: in the check''s unit, 0 to 10^18, null: no value is so bad; minimum: in the check''s minimum_unit, what is smaller is left out, null: the check''s own. NB500: no such check; NB502: it measures nothing; NB021: a bound, critical before warning, or a minimum where there is none; 22004: check_id null.';

COMMENT ON FUNCTION troubleshoot.reset_threshold IS
    'Gives a check its own thresholds back. check_id. Returns whether others were set. NB500: no such check; 22004: null.';

COMMENT ON FUNCTION troubleshoot.acknowledge IS
    'Takes note of a finding: troubleshoot.checks() shows until when in acknowledged_until, as long as it is no worse than now. fingerprint: of a finding there is now; until: in the future, at most 366 days ahead; reason: 1 to 1,000 characters. NB501: there is no such finding; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION troubleshoot.unacknowledge IS
    'Takes an acknowledgement back. fingerprint. Returns whether there was one. 22004: null.';

COMMENT ON FUNCTION troubleshoot.note_restore_test IS
    'Notes that a backup was restored and found whole, which the check restore_test goes by. tested_at: when, in the past; note: which backup, where to, how it was checked, 1 to 1,000 characters; for the same moment it replaces the note. NB021: a bound; 22004: null.';

COMMENT ON FUNCTION troubleshoot.sequence_position IS
    'Where a sequence stands, read without waiting and without a writer''s lock. sequence: its oid. Null: it is none, is gone or locked, or the caller may neither use nor select it.';

COMMENT ON FUNCTION troubleshoot.relation_file_bytes IS
    'Bytes in the files of a relation, looked at without a lock. path: what pg_relation_filepath answers. Null: there is no such file, or it is not a relation''s.';

COMMENT ON FUNCTION troubleshoot.multixact_member_segments IS
    'How many files of multixact members the server keeps; each has 32 pages.';

COMMENT ON FUNCTION troubleshoot.subtransaction_overflows IS
    'Process ids of the sessions whose transaction has more than 64 subtransactions that write.';

COMMENT ON FUNCTION troubleshoot.why_waiting IS
    'What a session waits for at this moment, in words. pid: its process id. kind, for programs: row_lock, row_queue, relation_lock, lock_queue (nobody has the lock, but somebody is ahead in its queue), transaction, older_transactions, advisory_lock, safe_snapshot, extend, sync_rep, client_read, client_write, io, lwlock, buffer_pin, ipc, parallel, archiver, checkpoint, barrier, recovery_conflict, timeout, extension, idle, idle_in_transaction, running, nothing_to_do, lock_just_now, client, other, unknown (this role may not see it), no_session. explanation, for people; blocked_by: 0 for a prepared transaction; waiting_seconds: of a lock only, as the server keeps no time for other waits; remediation_sql: what to run at the root of it. 22004: null.';

COMMENT ON FUNCTION troubleshoot.kill_long_queries IS
    'Ends client sessions whose statement has run for longer than p_max_duration (a tenth of a second to 1000 years), with the caller''s own rights (pg_signal_backend). p_dry_run: only say what would be ended; p_method: terminate (the session) or cancel (the statement); p_reason: up to 1,000 characters, logged; p_database, p_user: only sessions of that one, null: of all. Never ends other processes than clients'' (autovacuum, replication, workers), the caller''s own session, or one that troubleshoot.kill_exemption names. Each is looked at again as it is ended: the same session, the same statement. One row for each: action is WOULD TERMINATE (dry run), TERMINATED, WOULD CANCEL (dry run), CANCELLED, EXEMPT, GONE, NOT PERMITTED, each with its reason, or UNKNOWN, with pid null, where the role may not see what sessions do. Kills are in troubleshoot.kill_log and the server''s log. NB021: an argument; 22004: null.';

COMMENT ON FUNCTION troubleshoot.clear_idle_transactions IS
    'Terminates client sessions that have been idle in a transaction, failed or not, for longer than p_older_than (a tenth of a second to 1000 years); to cancel does nothing to them. p_dry_run: only count; p_reason: up to 1,000 characters, logged; p_database, p_user: only sessions of that one, null: of all. Exemptions, the second look and the log as for troubleshoot.kill_long_queries; troubleshoot.idle_transactions lists them. Returns how many were, or would be, ended; warns of those that the role may not see or end. NB021: an argument; 22004: null.';

COMMENT ON FUNCTION concurrency.acquire_customer_lock IS
    'Takes the named lock customer: and the id, for this transaction. p_customer_id: any id, there need be no such customer; p_timeout_ms: how long to wait, 0 to a week, 0: not at all. Returns whether it was had; true again where the transaction has it, to be released once more. Ends with the transaction, or with concurrency.release_customer_lock. 40P01: a deadlock; NB021: p_timeout_ms; 22004: null.';

COMMENT ON FUNCTION concurrency.release_customer_lock IS
    'Releases what concurrency.acquire_customer_lock took in this transaction. p_customer_id. False, with a warning, where this transaction does not have it. 22004: null.';

COMMENT ON FUNCTION concurrency.acquire_lock IS
    'Takes a named lock. name: 1 to 100 characters; timeout_ms: how long to wait, 0 to a week, 0: not at all; scope: transaction (released at its end, whatever savepoint it was taken under, or by concurrency.release_lock) or session (released by concurrency.release_lock or the session''s end only: not through a pooler of transactions). Returns whether it was had. A lock taken twice is to be released twice. 40P01: a deadlock; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION concurrency.acquire_locks IS
    'Takes several named locks, or none. names: 1 to 1,000, taken in the order of their keys, which is everybody''s, so that calls like this cannot deadlock with each other; timeout_ms: for all of them together; scope, result and errors: as concurrency.acquire_lock.';

COMMENT ON FUNCTION concurrency.release_lock IS
    'Releases a named lock of this session. name; scope: as it was taken. False, with a warning, where the session does not have it. NB021: a bound; 22004: null.';

COMMENT ON FUNCTION concurrency.release_locks IS
    'Releases named locks of this session. names; scope: as they were taken. Returns how many it had; warns of the others. NB021: a bound; 22004: null.';

COMMENT ON FUNCTION concurrency.acquire_lease IS
    'Takes a named lock that outlives transaction and session, until it expires. name: 1 to 100 characters; holder: who takes it, in the caller''s words, 1 to 100; lease_ms: for how long, 1 ms to a week, by the server''s clock; timeout_ms: how long to wait for it, to a week, 0: not at all. Returns its token, higher than that of any earlier lease of the name; null where somebody has it. Others see it once it is committed. 40001: above READ COMMITTED; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION concurrency.acquire_leases IS
    'Takes several leases, or none. names: 1 to 1,000, each counts once; the other arguments and errors: as concurrency.acquire_lease. Returns each name with its token; no row where they could not all be had in time.';

COMMENT ON FUNCTION concurrency.extend_lease IS
    'Gives a lease more time. name; token: as it was answered; lease_ms: from now on, 1 ms to a week. Returns when it ends, never earlier than before. NB510: it has expired, was released or broken, or is another role''s; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION concurrency.release_lease IS
    'Ends a lease. name; token. False where it has ended already, so that to repeat it does no harm. NB021: a bound; 22004: null.';

COMMENT ON FUNCTION concurrency.hold_lease IS
    'Makes sure of a lease in the transaction that writes what it protects: nobody can take it until this transaction ends, even where it expires meanwhile. name; token. NB510: it is not held any more; 40001: above READ COMMITTED; NB021: a bound; 22004: null.';

COMMENT ON FUNCTION concurrency.break_lease IS
    'Ends a lease whoever has it; its holder learns of it with its next call (NB510). Waits for transactions that hold it by concurrency.hold_lease. name. Logged in the server''s log. False where nobody has it. NB021: a bound; 22004: null.';

COMMENT ON FUNCTION concurrency.record_deadlock IS
    'Writes a deadlock into concurrency.deadlock_log, from a client that was told of it (40P01), in a transaction of its own. detail: the DETAIL of the error, up to 100,000 characters; what it says in English about who waited for what is in lock_info; query_text: the statement that failed; resolution: what the client does about it; process_id: its backend, null: as detail has it. Returns log_id. NB021: a bound; 22004: detail null.';

COMMENT ON FUNCTION concurrency.collect_deadlocks IS
    'Writes into concurrency.deadlock_log what the server knows of deadlocks in this database since the last call; the first call only begins. From the server''s log, where log_destination has jsonlog and the caller may execute pg_current_logfile, pg_stat_file and pg_read_binary_file, up to 16 MB of it; what the counter of pg_stat_database has beyond that, and beyond what clients recorded, becomes one row with their number. Returns how many rows it wrote. Calls take turns.';

SELECT temporal.adopt_status_changes();

SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
DECLARE
    revoke text;
BEGIN
    FOR revoke IN
        SELECT format('REVOKE ALL ON %s FROM PUBLIC', o.object)
        FROM pg_depend d
        CROSS JOIN LATERAL (
            SELECT 'ROUTINE ' || p.oid::regprocedure AS object FROM pg_proc p
            WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid AND p.proacl IS NULL
            UNION ALL
            SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass
            FROM pg_class c
            WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relacl IS NULL
              AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
            UNION ALL
            SELECT 'TYPE ' || t.oid::regtype FROM pg_type t
            WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid AND t.typacl IS NULL
              AND t.typelem = 0 AND t.typrelid = 0 AND t.typtype <> 'm'
        ) o
        WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
          AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'neobank')
    LOOP
        EXECUTE revoke;
    END LOOP;
END
$$;
