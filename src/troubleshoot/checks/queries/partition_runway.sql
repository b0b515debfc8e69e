-- The bounds' text is made without their table, so that no lock is taken.
WITH bounds AS (
    SELECT p.partrelid, p.partdefid,
           substring(pg_get_expr(c.relpartbound, 0) FROM $q$ TO \('([^']*)'\)$$q$) AS upper,
           pg_get_expr(c.relpartbound, 0) ~ ' TO \(MAXVALUE\)$' AS endless
    FROM pg_partitioned_table p
    JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
     AND a.atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
    JOIN pg_inherits i ON i.inhparent = p.partrelid
    JOIN pg_class c ON c.oid = i.inhrelid
    WHERE p.partstrat = 'r' AND p.partnatts = 1
), ends AS (
    SELECT b.partrelid, b.partdefid, max(b.upper::timestamptz) AS ends, bool_or(b.endless) AS endless
    FROM bounds b GROUP BY b.partrelid, b.partdefid
)
SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname),
       round(extract(epoch FROM e.ends - clock_timestamp()) / 86400, 2), NULL::text,
       format('Its last partition ends at %s; rows after it %s.', e.ends,
              CASE WHEN e.partdefid = 0 THEN 'are refused' ELSE format('go to %s', e.partdefid::regclass) END),
       format('CREATE TABLE ... PARTITION OF %I.%I FOR VALUES FROM (%L) TO (...);', n.nspname, c.relname, e.ends)
FROM ends e JOIN pg_class c ON c.oid = e.partrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT e.endless AND extract(epoch FROM e.ends - clock_timestamp()) / 86400 <= $1
