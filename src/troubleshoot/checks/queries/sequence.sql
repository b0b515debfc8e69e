-- A sequence ends where it, the column that it feeds, or a column that refers to that one does. Those that would not be near
-- the end of the smallest column there is are let go first.
WITH positions AS MATERIALIZED (
    SELECT s.*, troubleshoot.sequence_position(s.seqrelid) AS position FROM pg_sequence s WHERE NOT s.seqcycle
), near AS MATERIALIZED (
    SELECT p.*, n.nspname, c.relname
    FROM positions p
    JOIN pg_class c ON c.oid = p.seqrelid AND c.relpersistence <> 't'
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE abs(p.position::numeric) * 100 >= $1 * least(p.seqmax - least(p.seqmin, 0)::numeric, 32767) OR p.position IS NULL
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
), limits AS (
    SELECT c.seqrelid, min(CASE a.atttypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 END) AS most
    FROM columns c JOIN pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.attnum
    GROUP BY c.seqrelid
), judged AS (
    SELECT p.*, CASE WHEN p.seqincrement > 0 THEN least(p.seqmax, l.most) ELSE greatest(p.seqmin, -l.most - 1) END AS most,
           coalesce(l.most < p.seqmax, false) AS by_column
    FROM near p LEFT JOIN limits l ON l.seqrelid = p.seqrelid
)
SELECT format('%I.%I', r.nspname, r.relname), format('%I.%I', r.nspname, r.relname),
       round(100.0 * r.position / r.most, 2), NULL::text,
       format('It stands at %s of %s, %s.', r.position, r.most,
              CASE WHEN r.by_column THEN 'which is what the column, or one that refers to it, can hold' ELSE 'its own end' END),
       CASE WHEN r.by_column THEN 'ALTER TABLE ... ALTER COLUMN ... TYPE bigint; -- rewrites the table, and the columns that refer to it come first'
            ELSE format('ALTER SEQUENCE %I.%I AS bigint MAXVALUE 9223372036854775807; -- and its column', r.nspname, r.relname) END
FROM judged r WHERE 100.0 * r.position / nullif(r.most, 0) >= $1
UNION ALL
SELECT 'not read', format('%s sequences', count(*)), NULL, 'unknown',
       'They are locked, or this role may not read them.', 'GRANT SELECT ON ALL SEQUENCES IN SCHEMA ... TO ...;'
FROM near r WHERE r.position IS NULL HAVING count(*) > 0
