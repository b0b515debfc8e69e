-- The sequence goes on when the column is full.
WITH fed AS (
    SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS attnum
    FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    UNION
    SELECT d.refobjid, f.adrelid, f.adnum
    FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
), narrow AS (
    SELECT n.nspname, c.relname, a.attname, t.most,
           format('It is fed by the bigint sequence %s', f.sequence::regclass) AS why,
           troubleshoot.sequence_position(f.sequence) AS position
    FROM fed f
    JOIN pg_sequence s ON s.seqrelid = f.sequence AND s.seqtypid = 'int8'::regtype
    JOIN pg_attribute a ON a.attrelid = f.relation AND a.attnum = f.attnum AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)
    JOIN pg_class c ON c.oid = f.relation
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (SELECT CASE a.atttypid WHEN 'int2'::regtype THEN 32767 ELSE 2147483647 END AS most) t
    WHERE s.seqmax > t.most
    UNION ALL
    SELECT n.nspname, c.relname, a.attname, NULL,
           format('It refers to %s.%I, which is wider', k.confrelid::regclass, b.attname), NULL
    FROM pg_constraint k
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) r(attnum, referred)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = r.attnum AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)
    JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = r.referred AND b.atttypid IN ('int4'::regtype, 'int8'::regtype)
    JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0 AND b.attlen > a.attlen
)
SELECT format('%I.%I.%I', r.nspname, r.relname, r.attname), format('%I.%I.%I', r.nspname, r.relname, r.attname),
       round(100.0 * r.position / r.most, 2), 'info', r.why || '.',
       format('ALTER TABLE %I.%I ALTER COLUMN %I TYPE bigint; -- rewrites the table', r.nspname, r.relname, r.attname)
FROM narrow r
