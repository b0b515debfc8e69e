-- Nothing of the extension is PUBLIC's, as in finish.sql of the installation. Only what has no grants yet, which is what
-- this upgrade made: a REVOKE on older objects would record what users have granted on them meanwhile as the
-- extension's own, and dumps leave that out.
SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
DECLARE
    revoke text;
BEGIN
    FOR revoke IN
        SELECT format('REVOKE ALL ON %s FROM PUBLIC', o.object)
        FROM pg_depend d
        CROSS JOIN LATERAL (
            SELECT 'ROUTINE ' || p.oid::regprocedure AS object FROM pg_proc p
            WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid AND p.proacl IS NULL
            UNION ALL
            SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass
            FROM pg_class c
            WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relacl IS NULL
              AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
            UNION ALL
            SELECT 'TYPE ' || t.oid::regtype FROM pg_type t
            WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid AND t.typacl IS NULL
              AND t.typelem = 0 AND t.typrelid = 0 AND t.typtype <> 'm'
        ) o
        WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
          AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'neobank')
    LOOP
        EXECUTE revoke;
    END LOOP;
END
$$;
