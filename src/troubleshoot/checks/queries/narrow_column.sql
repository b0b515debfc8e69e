-- The sequence goes on when the column is full. A foreign key between columns of two types compares by an operator of two.
WITH wide AS MATERIALIZED (
    SELECT s.seqrelid, s.seqmax FROM pg_sequence s WHERE s.seqtypid = 'int8'::regtype AND s.seqmax > 32767
), fed AS (
    SELECT s.seqrelid, s.seqmax, d.refobjid AS relation, d.refobjsubid AS attnum
    FROM wide s
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.refclassid = 'pg_class'::regclass
     AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    UNION
    SELECT s.seqrelid, s.seqmax, f.adrelid, f.adnum
    FROM wide s
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.seqrelid AND d.classid = 'pg_attrdef'::regclass
    JOIN pg_attrdef f ON f.oid = d.objid
), narrow AS (
    SELECT n.nspname, c.relname, a.attname, t.most,
           format('It is fed by the bigint sequence %s', f.seqrelid::regclass) AS why,
           troubleshoot.sequence_position(f.seqrelid) AS position
    FROM fed f
    JOIN pg_attribute a ON a.attrelid = f.relation AND a.attnum = f.attnum AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)
    JOIN pg_class c ON c.oid = f.relation
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (SELECT CASE a.atttypid WHEN 'int2'::regtype THEN 32767 ELSE 2147483647 END AS most) t
    WHERE f.seqmax > t.most
    UNION ALL
    SELECT n.nspname, c.relname, a.attname, NULL,
           format('It refers to %s.%I, which is wider', k.confrelid::regclass, b.attname), NULL
    FROM (SELECT k.* FROM pg_constraint k
          WHERE k.contype = 'f' AND k.conparentid = 0
            AND k.conpfeqop && ARRAY(SELECT o.oid FROM pg_operator o
                                     WHERE o.oprname = '=' AND o.oprleft IN ('int4'::regtype, 'int8'::regtype)
                                       AND o.oprright IN ('int2'::regtype, 'int4'::regtype) AND o.oprleft <> o.oprright)) k
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) r(attnum, referred)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = r.attnum AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)
    JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = r.referred AND b.atttypid IN ('int4'::regtype, 'int8'::regtype)
    JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE b.attlen > a.attlen
)
SELECT format('%I.%I.%I', r.nspname, r.relname, r.attname), format('%I.%I.%I', r.nspname, r.relname, r.attname),
       round(100.0 * r.position / r.most, 2), 'info', r.why || '.',
       format('ALTER TABLE %I.%I ALTER COLUMN %I TYPE bigint; -- rewrites the table', r.nspname, r.relname, r.attname)
FROM narrow r
