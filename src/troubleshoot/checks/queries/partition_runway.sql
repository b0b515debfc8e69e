-- The bounds' text is made without their table, so that no lock is taken. A partition that is partitioned itself needs parts
-- only up to its own end, and none once that has passed. Dates may lie further off than a timestamp can.
WITH RECURSIVE by_time AS MATERIALIZED (
    SELECT p.partrelid, p.partdefid, a.attname
    FROM pg_partitioned_table p
    JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
     AND a.atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
    WHERE p.partstrat = 'r' AND p.partnatts = 1
), bounds AS MATERIALIZED (
    SELECT t.partrelid, t.attname, i.inhrelid, u.bound ~ ' TO \(MAXVALUE\)$' OR u.upper = 'infinity' OR u.upper ~ '^[1-9]\d{6}' OR u.upper ~ '^29\d{4}-' AS is_endless,
           u.upper
    FROM by_time t
    JOIN pg_inherits i ON i.inhparent = t.partrelid
    JOIN pg_class c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, 0) AS bound,
                               substring(pg_get_expr(c.relpartbound, 0) FROM $q$ TO \('([^']*)'\)$$q$) AS upper) u
), ended AS MATERIALIZED (
    SELECT b.partrelid, b.attname, b.inhrelid, b.is_endless, CASE WHEN NOT b.is_endless THEN b.upper::timestamptz END AS upper FROM bounds b
), above (relation, attname, ancestor) AS (
    SELECT t.partrelid, t.attname, t.partrelid FROM by_time t
    UNION
    SELECT a.relation, a.attname, i.inhparent
    FROM above a JOIN pg_inherits i ON i.inhrelid = a.ancestor
), own AS (
    SELECT a.relation, min(e.upper) AS upper
    FROM above a JOIN ended e ON e.inhrelid = a.ancestor AND e.attname = a.attname
    GROUP BY a.relation
), ends AS (
    SELECT t.partrelid, t.partdefid, max(e.upper) AS ends, coalesce(bool_or(e.is_endless), false) AS is_endless,
           count(e.inhrelid) AS parts
    FROM by_time t LEFT JOIN ended e ON e.partrelid = t.partrelid
    GROUP BY t.partrelid, t.partdefid
)
SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname),
       CASE WHEN e.parts = 0 THEN 0 ELSE round(extract(epoch FROM e.ends - clock_timestamp()) / 86400, 2) END, NULL::text,
       CASE WHEN e.parts = 0 THEN 'It has no partition: its rows are refused.'
            ELSE format('Its last partition ends at %s; rows after it %s.', e.ends,
                        CASE WHEN e.partdefid = 0 THEN 'are refused' ELSE format('go to %s', e.partdefid::regclass) END) END,
       CASE WHEN e.parts = 0 THEN format('CREATE TABLE ... PARTITION OF %I.%I FOR VALUES FROM (...) TO (...);', n.nspname, c.relname)
            ELSE format('CREATE TABLE ... PARTITION OF %I.%I FOR VALUES FROM (%L) TO (...);', n.nspname, c.relname, e.ends) END
FROM ends e
JOIN pg_class c ON c.oid = e.partrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN own o ON o.relation = e.partrelid
WHERE NOT e.is_endless
  AND (e.parts = 0 AND $1 >= 0 OR e.ends <= clock_timestamp() + least($1, 1000000) * interval '1 day')
  AND (o.upper IS NULL OR o.upper > clock_timestamp() AND (e.ends < o.upper OR e.parts = 0))
