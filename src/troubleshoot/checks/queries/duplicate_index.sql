-- Two of the same key, operator classes, collations, order, INCLUDE columns, expressions and predicate. Where parts of an
-- expression stood in the statement that made it is no difference. One that enforces a rule is not needed only where
-- another enforces the same rule; one that something rests on, as a foreign key, stays whatever else there is.
WITH alike AS MATERIALIZED (
    SELECT i.* FROM pg_index i
    WHERE i.indisvalid
      AND EXISTS (SELECT FROM pg_index o
                  WHERE o.indrelid = i.indrelid AND o.indnatts = i.indnatts AND o.indkey[0] = i.indkey[0]
                    AND o.indexrelid <> i.indexrelid AND o.indisvalid)
), signed AS (
    SELECT i.indexrelid, c.relname, n.nspname, c.relpages, k.conname, r.relname AS table_name,
           first_value(i.indexrelid) OVER same AS family, row_number() OVER same AS place, u.rule, u.is_needed
    FROM alike i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class r ON r.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_constraint k ON k.conrelid = i.indrelid AND k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
    CROSS JOIN LATERAL (
        SELECT CASE WHEN i.indisexclusion THEN format('exclude %s %s', k.conexclop::text, i.indimmediate)
                    WHEN i.indisunique THEN format('unique %s %s', i.indnullsnotdistinct, i.indimmediate) END AS rule,
               i.indisprimary OR i.indisreplident
               OR EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conindid = i.indexrelid) AS is_needed
    ) u
    WHERE NOT c.relispartition AND c.relkind = 'i'
      AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
    WINDOW same AS (
        PARTITION BY i.indrelid, c.relam, i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text,
                     i.indnkeyatts,
                     CASE WHEN i.indexprs IS NOT NULL THEN regexp_replace(i.indexprs::text, ':location -?\d+', '', 'g') END,
                     CASE WHEN i.indpred IS NOT NULL THEN regexp_replace(i.indpred::text, ':location -?\d+', '', 'g') END
        ORDER BY i.indisprimary DESC, u.is_needed DESC, i.indisexclusion DESC, i.indisunique DESC,
                 k.conname IS NOT NULL DESC, i.indexrelid)
), doubled AS (
    SELECT s.*, (SELECT o.indexrelid FROM signed o
                 WHERE o.family = s.family AND o.place < s.place AND (s.rule IS NULL OR s.rule = o.rule)
                 ORDER BY o.place LIMIT 1) AS kept
    FROM signed s WHERE NOT s.is_needed
)
SELECT format('%I.%I', s.nspname, s.relname), format('%I.%I', s.nspname, s.relname),
       round(s.relpages * current_setting('block_size')::numeric / 1048576, 1), 'warning',
       format('The same as %s, which stays.', s.kept::regclass),
       CASE WHEN s.conname IS NULL THEN format('DROP INDEX CONCURRENTLY %I.%I;', s.nspname, s.relname)
            ELSE format('ALTER TABLE %I.%I DROP CONSTRAINT %I;', s.nspname, s.table_name, s.conname) END
FROM doubled s
WHERE s.kept IS NOT NULL
