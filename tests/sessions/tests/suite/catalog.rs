//! What the catalog says about the extension's own objects.

use neobank_sessions::*;

const MEMBERS: &str = "(select classid, objid from pg_depend where deptype = 'e' \
    and refclassid = 'pg_extension'::regclass \
    and refobjid = (select oid from pg_extension where extname = 'neobank')) d";

// The privileges of a multirange are those of its range. Arrays and, where PostgreSQL lists them at all (17 and later), row types belong to their element or table.

#[test]
fn public_has_no_privilege_on_anything() {
    let mut bank = Bank::new();
    let public = format!(
        "select pg_describe_object(d.classid, d.objid, 0), x.privilege_type from {MEMBERS} \
         cross join lateral ( \
           select coalesce(proacl, acldefault('f', proowner)) as acl from pg_proc \
             where d.classid = 'pg_proc'::regclass and oid = d.objid \
           union all select coalesce(relacl, acldefault( \
             case relkind when 'S' then 's' else 'r' end::\"char\", relowner)) from pg_class \
             where d.classid = 'pg_class'::regclass and oid = d.objid \
           union all select coalesce(nspacl, acldefault('n', nspowner)) from pg_namespace \
             where d.classid = 'pg_namespace'::regclass and oid = d.objid \
           union all select coalesce(typacl, acldefault('T', typowner)) from pg_type \
             where d.classid = 'pg_type'::regclass and oid = d.objid and typelem = 0 and typrelid = 0 and typtype <> 'm' \
         ) a cross join lateral aclexplode(a.acl) x where x.grantee = 0"
    );
    assert_eq!(bank.db.lines(&public), [""; 0]);
    // Columns have grants of their own.
    let columns = format!(
        "select attrelid::regclass, attname from pg_attribute join {MEMBERS} \
         on d.classid = 'pg_class'::regclass and d.objid = attrelid where attacl is not null"
    );
    assert_eq!(bank.db.lines(&columns), [""; 0]);
}

#[test]
fn every_object_has_a_comment() {
    let mut bank = Bank::new();
    let members = bank.db.count(&format!("select count(*) from {MEMBERS}"));
    assert!(members > 50, "{members}");
    let silent = format!(
        "select pg_describe_object(classid, objid, 0) from {MEMBERS} \
         where coalesce(obj_description(objid, classid::regclass::name), '') = '' \
         and not (classid = 'pg_type'::regclass and \
                  (select typelem <> 0 or typrelid <> 0 from pg_type where oid = objid)) order by 1"
    );
    assert_eq!(bank.db.lines(&silent), [""; 0]);
    let triggers = "select tgname, tgrelid::regclass from pg_trigger t \
         join pg_class c on c.oid = tgrelid join pg_namespace n on n.oid = relnamespace \
         where nspname in ('banking', 'txn_processing', 'neobank') and not tgisinternal \
         and obj_description(t.oid, 'pg_trigger') is null";
    assert_eq!(bank.db.lines(triggers), [""; 0]);
}

#[test]
fn definer_functions_and_procedural_ones_pin_their_search_path() {
    let mut bank = Bank::new();
    let loose = format!(
        "select p.oid::regprocedure from {MEMBERS} join pg_proc p \
         on d.classid = 'pg_proc'::regclass and p.oid = d.objid \
         join pg_language l on l.oid = p.prolang \
         where (p.prosecdef or l.lanname = 'plpgsql' and p.prokind <> 'p') \
         and not coalesce(p.proconfig, '{{}}') && \
             array['search_path=pg_catalog, pg_temp', 'search_path=\"pg_catalog, pg_temp\"']"
    );
    assert_eq!(bank.db.lines(&loose), [""; 0]);
    // A procedure that commits cannot carry a setting. It has the caller's rights, and sets the path in each of its
    // transactions before anything else.
    let committing = format!(
        "select p.oid::regprocedure, not p.prosecdef and p.prosrc ~ \
         '^\\s*DECLARE[^;]*(;[^;]*)*BEGIN\\s+(WHILE NOT is_done )?LOOP\\s+SET LOCAL search_path = pg_catalog, pg_temp;' \
         from {MEMBERS} join pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid \
         where p.prokind = 'p' order by 1"
    );
    let procedures = bank.db.lines(&committing);
    assert!(procedures.len() > 3 && procedures.iter().all(|line| line.ends_with("|t")), "{procedures:?}");
}

#[test]
fn functions_say_what_they_are() {
    let mut bank = Bank::new();
    let declared = |bank: &mut Bank, condition: &str| {
        bank.db.lines(&format!(
            "select distinct p.pronamespace::regnamespace || '.' || p.proname from {MEMBERS} \
             join pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid \
             where p.prorettype <> 'trigger'::regtype and ({condition}) order by 1"
        ))
    };
    // What writes cannot run in a parallel worker.
    let parallel_writers = declared(&mut bank, "p.provolatile = 'v' and p.proparallel <> 'u'");
    assert_eq!(parallel_writers, ["neobank.uuid_v7"]);
    // STRICT would answer NULL for a missing argument instead of naming it.
    // Those that the server makes for a range are as it makes them.
    let strict = declared(
        &mut bank,
        "p.proisstrict and p.pronargs > 0 and (select typtype from pg_type where oid = p.prorettype) not in ('r', 'm')",
    );
    for name in strict {
        assert!(
            ["banking.account_number_is_valid", "txn_processing.generated_reference"].contains(&name.as_str()),
            "{name} is STRICT"
        );
    }
}

#[test]
fn money_is_nowhere_a_float_and_every_time_has_its_zone() {
    let mut bank = Bank::new();
    let columns = "select attrelid::regclass, attname, format_type(atttypid, null) \
         from pg_attribute join pg_class c on c.oid = attrelid \
         join pg_namespace n on n.oid = relnamespace \
         where nspname in ('banking', 'txn_processing', 'neobank') and attnum > 0 \
         and atttypid in ('float4'::regtype, 'float8'::regtype, 'money'::regtype, \
                          'timestamp'::regtype, 'json'::regtype)";
    assert_eq!(bank.db.lines(columns), [""; 0]);
    let functions = format!(
        "select p.oid::regprocedure from {MEMBERS} join pg_proc p \
         on d.classid = 'pg_proc'::regclass and p.oid = d.objid \
         where array['float4', 'float8', 'money', 'timestamp']::regtype[]::oid[] && \
         (coalesce(p.proallargtypes, p.proargtypes::oid[]) || p.prorettype)"
    );
    assert_eq!(bank.db.lines(&functions), [""; 0]);
}

#[test]
fn a_squatted_schema_stops_the_installation() {
    let mut bank = Bank::empty_database();
    bank.db.run("create schema banking");
    bank.db.run("create function banking.transfer(uuid) returns void language sql as 'select null::void'");
    let refusal = bank.db.fails("create extension neobank");
    assert_eq!(refusal.code, "42P06", "{refusal}");
    bank.db.run("drop schema banking cascade");
    bank.db.run("create extension neobank");
    bank.db.run("drop extension neobank");
    let left = "select count(*) from pg_namespace \
                where nspname in ('banking', 'txn_processing', 'neobank')";
    assert_eq!(bank.db.count(left), 0, "DROP EXTENSION leaves its schemas");
    bank.db.run("create extension neobank");
}
