-- A sequence ends where it, the column that it feeds, or a column that refers to that one does; what is told is how much of
-- the way from its other end is behind it, so it is the same upwards and downwards. Those that would not be near the end of
-- the smallest column there is are let go first. A column that is inherited changes its type where it was declared.
WITH RECURSIVE positions AS MATERIALIZED (
    SELECT s.*, s.seqincrement > 0 AS is_rising, troubleshoot.sequence_position(s.seqrelid) AS position
    FROM pg_sequence s WHERE NOT s.seqcycle
), near AS MATERIALIZED (
    SELECT p.*, n.nspname, c.relname
    FROM positions p
    JOIN pg_class c ON c.oid = p.seqrelid AND c.relpersistence <> 't'
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE p.position IS NULL OR abs(p.seqincrement) > 1
       OR CASE WHEN p.is_rising THEN p.seqmin <> 1 ELSE p.seqmax <> -1 END
       OR abs(p.position::numeric) * 100 >= $1 * least(p.seqmax::numeric - p.seqmin, 32766)
), whole (type, base) AS MATERIALIZED (
    -- Types of such columns, domains over them too.
    SELECT t.oid, t.oid FROM pg_type t WHERE t.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
    UNION ALL
    SELECT t.oid, w.base FROM whole w JOIN pg_type t ON t.typbasetype = w.type AND t.typtype = 'd'
), fed AS MATERIALIZED (
    SELECT p.seqrelid, d.refobjid AS relation, d.refobjsubid AS attnum
    FROM near p
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = p.seqrelid AND d.refclassid = 'pg_class'::regclass
     AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    WHERE p.position IS NOT NULL
    UNION
    SELECT p.seqrelid, f.adrelid, f.adnum
    FROM near p
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = p.seqrelid AND d.classid = 'pg_attrdef'::regclass
    JOIN pg_attrdef f ON f.oid = d.objid
    WHERE p.position IS NOT NULL
), columns AS (
    SELECT f.seqrelid, f.relation, f.attnum FROM fed f
    UNION
    SELECT f.seqrelid, k.conrelid, r.attnum
    FROM fed f
    JOIN pg_constraint k ON k.contype = 'f' AND k.confrelid = f.relation AND f.attnum = ANY (k.confkey)
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) r(attnum, referred)
    WHERE r.referred = f.attnum
), upwards (seqrelid, relation, attnum) AS (
    SELECT c.seqrelid, c.relation, c.attnum::int FROM columns c
    UNION
    SELECT u.seqrelid, i.inhparent, b.attnum::int
    FROM upwards u
    JOIN pg_attribute a ON a.attrelid = u.relation AND a.attnum = u.attnum AND a.attinhcount > 0
    JOIN pg_inherits i ON i.inhrelid = u.relation
    JOIN pg_attribute b ON b.attrelid = i.inhparent AND b.attname = a.attname
), limits AS (
    SELECT u.seqrelid, min(CASE w.base WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 END) AS most,
           string_agg(format('ALTER TABLE %s ALTER COLUMN %I TYPE bigint;', u.relation::regclass, a.attname), ' ' ORDER BY u.relation, u.attnum)
             FILTER (WHERE w.base <> 'int8'::regtype AND a.attinhcount = 0) AS widening,
           min(format('%s.%I', u.relation::regclass, a.attname))
             FILTER (WHERE w.base <> 'int8'::regtype AND a.attnum = ANY (k.partattrs)) AS partition_key
    FROM upwards u
    JOIN pg_attribute a ON a.attrelid = u.relation AND a.attnum = u.attnum
    JOIN whole w ON w.type = a.atttypid
    LEFT JOIN pg_partitioned_table k ON k.partrelid = u.relation
    GROUP BY u.seqrelid
), judged AS (
    SELECT p.*, l.widening, l.partition_key, coalesce(l.most, 9223372036854775807)::numeric AS room,
           CASE WHEN p.is_rising THEN greatest(p.seqmin, -l.most - 1) ELSE least(p.seqmax, l.most) END::numeric AS least,
           CASE WHEN p.is_rising THEN least(p.seqmax, l.most) ELSE greatest(p.seqmin, -l.most - 1) END::numeric AS most,
           coalesce(CASE WHEN p.is_rising THEN l.most <= p.seqmax ELSE -l.most - 1 >= p.seqmin END, false) AS by_column
    FROM near p LEFT JOIN limits l ON l.seqrelid = p.seqrelid
), told AS (
    -- One that has no room for a further step has come to its end.
    SELECT j.*, CASE WHEN j.most <> j.least AND abs(j.most - j.position) < abs(j.seqincrement::numeric) THEN 100
                     ELSE round(100 * (j.position - j.least) / nullif(j.most - j.least, 0), 2) END AS used,
           CASE WHEN j.is_rising THEN 'MAXVALUE ' || 9223372036854775807 ELSE 'MINVALUE -9223372036854775808' END AS full_bound
    FROM judged j
)
SELECT format('%I.%I', r.nspname, r.relname), format('%I.%I', r.nspname, r.relname), r.used, NULL::text,
       format('It stands at %s of %s, %s.', r.position, r.most,
              CASE WHEN r.by_column THEN 'which is what its column, or one that refers to it, can hold' ELSE 'its own end' END),
       CASE WHEN r.by_column AND r.partition_key IS NOT NULL
            THEN format('-- %s is in a partition key, whose type cannot be changed: move the rows to a table that has it as bigint',
                        translate(r.partition_key, E'\r\n', '  '))
            WHEN r.by_column
            THEN format('%s ALTER SEQUENCE %I.%I AS bigint %s; -- rewrites the tables', r.widening, r.nspname, r.relname, r.full_bound)
            WHEN r.room > 2147483647 AND abs(r.most) >= 9223372036854775807
            THEN '-- it has all of bigint: the next numbers need another key'
            ELSE format('ALTER SEQUENCE %I.%I AS bigint %s;', r.nspname, r.relname,
                        CASE WHEN r.room > 2147483647 THEN r.full_bound WHEN r.is_rising THEN 'MAXVALUE ' || r.room
                             ELSE 'MINVALUE ' || -r.room - 1 END) END
FROM told r WHERE r.used >= $1
UNION ALL
SELECT 'not read', format('%s sequences', count(*)), NULL, 'unknown',
       'They are locked, or this role may not read them.', 'GRANT SELECT ON ALL SEQUENCES IN SCHEMA ... TO ...;'
FROM near r WHERE r.position IS NULL HAVING count(*) > 0
