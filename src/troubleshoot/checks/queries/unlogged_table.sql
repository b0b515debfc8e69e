-- A logged table cannot refer to an unlogged one: those that it refers to come first.
WITH RECURSIVE unlogged AS MATERIALIZED (
    SELECT c.oid, c.reltuples, c.relname, n.nspname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence = 'u'
), needed (relation, first, depth) AS (
    SELECT u.oid, u.oid, 0 FROM unlogged u
    UNION
    SELECT n.relation, k.confrelid, n.depth + 1
    FROM needed n
    JOIN pg_constraint k ON k.contype = 'f' AND k.conrelid = n.first AND k.confrelid <> n.first
    JOIN unlogged u ON u.oid = k.confrelid
    WHERE n.depth < 20
), steps AS (
    SELECT n.relation, n.first, max(n.depth) AS depth FROM needed n GROUP BY n.relation, n.first
)
SELECT format('%I.%I', u.nspname, u.relname), format('%I.%I', u.nspname, u.relname), greatest(u.reltuples, 0)::numeric, 'warning',
       'The table is unlogged: after a crash it is empty, and standbys and backups have none of it.',
       (SELECT string_agg(format('ALTER TABLE %I.%I SET LOGGED;', f.nspname, f.relname), ' ' ORDER BY s.depth DESC, s.first)
        FROM steps s JOIN unlogged f ON f.oid = s.first WHERE s.relation = u.oid) || ' -- rewrites the table'
FROM unlogged u
