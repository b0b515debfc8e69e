-- The sequence goes on when the column is full. A foreign key between columns of two types compares by an operator of two.
-- A column that is inherited changes its type where it was declared.
WITH RECURSIVE wide AS MATERIALIZED (
    SELECT s.seqrelid, s.seqmin, s.seqmax, s.seqincrement > 0 AS is_rising FROM pg_sequence s
    WHERE s.seqtypid = 'int8'::regtype AND CASE WHEN s.seqincrement > 0 THEN s.seqmax > 32767 ELSE s.seqmin < -32768 END
), small (type, most) AS MATERIALIZED (
    -- Domains over them too.
    SELECT t.oid, CASE t.oid WHEN 'int2'::regtype THEN 32767 ELSE 2147483647 END
    FROM pg_type t WHERE t.oid IN ('int2'::regtype, 'int4'::regtype)
    UNION ALL
    SELECT t.oid, s.most FROM small s JOIN pg_type t ON t.typbasetype = s.type AND t.typtype = 'd'
), fed AS (
    SELECT s.*, d.refobjid AS relation, d.refobjsubid AS attnum
    FROM wide s
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.refclassid = 'pg_class'::regclass
     AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    UNION
    SELECT s.*, f.adrelid, f.adnum
    FROM wide s
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.seqrelid AND d.classid = 'pg_attrdef'::regclass
    JOIN pg_attrdef f ON f.oid = d.objid
), narrow (relation, attnum, most, why, seqrelid) AS (
    SELECT f.relation, a.attnum::int, t.most, format('It is fed by the bigint sequence %s', f.seqrelid::regclass), f.seqrelid
    FROM fed f
    JOIN pg_attribute a ON a.attrelid = f.relation AND a.attnum = f.attnum
    JOIN small t ON t.type = a.atttypid
    WHERE CASE WHEN f.is_rising THEN f.seqmax > t.most ELSE f.seqmin < -t.most - 1 END
    UNION ALL
    SELECT a.attrelid, a.attnum::int, NULL, format('It refers to %s.%I, which is wider', k.confrelid::regclass, b.attname), NULL
    FROM (SELECT k.* FROM pg_constraint k
          WHERE k.contype = 'f' AND k.conparentid = 0
            AND k.conpfeqop && ARRAY(SELECT o.oid FROM pg_operator o
                                     WHERE o.oprname = '=' AND o.oprleft IN ('int4'::regtype, 'int8'::regtype)
                                       AND o.oprright IN ('int2'::regtype, 'int4'::regtype) AND o.oprleft <> o.oprright)) k
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) r(attnum, referred)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = r.attnum
    JOIN small t ON t.type = a.atttypid
    JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = r.referred
    WHERE b.attlen > a.attlen
), upwards AS (
    SELECT n.* FROM narrow n
    UNION
    SELECT i.inhparent, b.attnum::int, u.most, u.why, u.seqrelid
    FROM upwards u
    JOIN pg_attribute a ON a.attrelid = u.relation AND a.attnum = u.attnum AND a.attinhcount > 0
    JOIN pg_inherits i ON i.inhrelid = u.relation
    JOIN pg_attribute b ON b.attrelid = i.inhparent AND b.attname = a.attname
), declared AS (
    SELECT u.*, n.nspname, c.relname, a.attname, a.attnum = ANY (k.partattrs) AS is_partition_key,
           CASE WHEN s.is_rising THEN greatest(s.seqmin, -u.most - 1) ELSE least(s.seqmax, u.most) END::numeric AS beginning,
           CASE WHEN s.is_rising THEN u.most ELSE -u.most - 1 END::numeric AS ending,
           troubleshoot.sequence_position(s.seqrelid) AS position
    FROM upwards u
    JOIN pg_attribute a ON a.attrelid = u.relation AND a.attnum = u.attnum AND a.attinhcount = 0
    JOIN pg_class c ON c.oid = u.relation
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN wide s ON s.seqrelid = u.seqrelid
    LEFT JOIN pg_partitioned_table k ON k.partrelid = u.relation
)
SELECT format('%I.%I.%I', r.nspname, r.relname, r.attname), format('%I.%I.%I', r.nspname, r.relname, r.attname),
       round(100 * (r.position - r.beginning) / (r.ending - r.beginning), 2), 'info', r.why || '.',
       CASE WHEN r.is_partition_key
            THEN '-- it is in the partition key, whose type cannot be changed: move the rows to a table that has it as bigint'
            ELSE format('ALTER TABLE %I.%I ALTER COLUMN %I TYPE bigint; -- rewrites the table', r.nspname, r.relname, r.attname) END
FROM declared r
