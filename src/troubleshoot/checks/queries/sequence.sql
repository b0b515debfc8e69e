-- A sequence ends where it, the column that it feeds, or a column that refers to that one does.
WITH fed AS (
    SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS attnum
    FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    UNION
    SELECT d.refobjid, f.adrelid, f.adnum
    FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
), columns AS (
    SELECT f.sequence, f.relation, f.attnum FROM fed f
    UNION
    SELECT f.sequence, k.conrelid, r.attnum
    FROM fed f
    JOIN pg_constraint k ON k.contype = 'f' AND k.confrelid = f.relation AND f.attnum = ANY (k.confkey)
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) r(attnum, referred)
    WHERE r.referred = f.attnum
), limits AS (
    SELECT c.sequence, min(CASE a.atttypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 END) AS most
    FROM columns c JOIN pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.attnum
    GROUP BY c.sequence
), read AS (
    SELECT c.oid, n.nspname, c.relname, s.seqincrement,
           CASE WHEN s.seqincrement > 0 THEN least(s.seqmax, l.most) ELSE greatest(s.seqmin, -l.most - 1) END AS most,
           least(s.seqmax, l.most) < s.seqmax AS by_column,
           troubleshoot.sequence_position(c.oid) AS position
    FROM pg_sequence s
    JOIN pg_class c ON c.oid = s.seqrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN limits l ON l.sequence = c.oid
    WHERE NOT s.seqcycle AND c.relpersistence <> 't'
)
SELECT format('%I.%I', r.nspname, r.relname), format('%I.%I', r.nspname, r.relname),
       round(100.0 * r.position / nullif(r.most, 0), 2), NULL::text,
       format('It stands at %s of %s, %s.', r.position, r.most,
              CASE WHEN r.by_column THEN 'which is what the column, or one that refers to it, can hold' ELSE 'its own end' END),
       CASE WHEN r.by_column THEN 'ALTER TABLE ... ALTER COLUMN ... TYPE bigint; -- rewrites the table, and the columns that refer to it come first'
            ELSE format('ALTER SEQUENCE %I.%I AS bigint MAXVALUE 9223372036854775807; -- and its column', r.nspname, r.relname) END
FROM read r WHERE 100.0 * r.position / nullif(r.most, 0) >= $1
UNION ALL
SELECT 'not read', format('%s sequences', count(*)), NULL, 'unknown',
       'They are locked, or this role may not read them.', 'GRANT SELECT ON ALL SEQUENCES IN SCHEMA ... TO ...;'
FROM read r WHERE r.position IS NULL HAVING count(*) > 0
