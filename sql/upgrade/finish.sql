-- Nothing of the extension is PUBLIC's, as in finish.sql of the installation. Only what has no grants yet, which is what
-- this upgrade made: a REVOKE on older objects would record what users have granted on them meanwhile as the
-- extension's own, and dumps leave that out.
DO $$
DECLARE
    revoke text;
BEGIN
    FOR revoke IN
        SELECT pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC', o.object)
        FROM pg_catalog.pg_depend d
        CROSS JOIN LATERAL (
            SELECT 'ROUTINE ' || p.oid::pg_catalog.regprocedure AS object FROM pg_catalog.pg_proc p
            WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = d.objid AND p.proacl IS NULL
            UNION ALL
            SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::pg_catalog.regclass
            FROM pg_catalog.pg_class c
            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = d.objid AND c.relacl IS NULL
              AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
            UNION ALL
            SELECT 'TYPE ' || t.oid::pg_catalog.regtype FROM pg_catalog.pg_type t
            WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = d.objid AND t.typacl IS NULL
              AND t.typelem = 0 AND t.typrelid = 0
        ) o
        WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND d.refobjid = (SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname = 'neobank')
    LOOP
        EXECUTE revoke;
    END LOOP;
END
$$;
