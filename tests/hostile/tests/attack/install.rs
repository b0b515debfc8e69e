//! Attacks on the installation: what somebody has put into the database before CREATE EXTENSION runs as a superuser.

use neobank_sessions::*;

/// Every operator that pg_catalog has, for every pair of types that it has not got it for, and functions of its names
/// that fit better. They tell who runs them.
const BETTER_MATCHES: &str = r#"
create sequence public.alarm;
grant usage on sequence public.alarm to public;
create function public.tell() returns void language plpgsql immutable set search_path = pg_catalog
as $$ begin perform nextval('public.alarm'); end $$;
grant execute on function public.tell() to public;
do $do$
declare
    kinds text[] := array['numeric', 'text', 'varchar', 'bpchar', 'int2', 'int4', 'int8', '"char"'];
    symbols text[] := array['=', '<>', '<', '||', '~', '-'];
    names text[] := array['length', 'round', 'upper', 'sum'];
    s text; l text; r text; n integer := 0;
begin
    foreach s in array symbols loop
        foreach l in array kinds loop
            foreach r in array kinds loop
                continue when exists (select from pg_operator where oprnamespace = 'pg_catalog'::regnamespace
                    and oprname = s and oprleft = l::regtype and oprright = r::regtype);
                n := n + 1;
                execute format('create function public.op_%s(%s, %s) returns %s language plpgsql immutable as %L', n, l, r,
                    case when s in ('||', '-') then 'text' else 'bool' end,
                    'begin perform public.tell(); return null; end');
                execute format('create operator public.%s (leftarg = %s, rightarg = %s, function = public.op_%s)', s, l, r, n);
            end loop;
        end loop;
    end loop;
    foreach s in array names loop
        foreach l in array kinds loop
            continue when exists (select from pg_proc where pronamespace = 'pg_catalog'::regnamespace
                and proname = s and proargtypes = l::regtype::oid::text::oidvector);
            execute format('create function public.%I(%s) returns text language plpgsql immutable as %L', s, l,
                'begin perform public.tell(); return null; end');
        end loop;
    end loop;
end
$do$;
"#;

/// What of the extension, or of its tables and views, rests on something outside of pg_catalog and its own schemas.
const OUTSIDE: &str = "
with recursive ours as (
    select classid, objid from pg_catalog.pg_depend where deptype operator(pg_catalog.=) 'e'
    and refobjid operator(pg_catalog.=) (select oid from pg_catalog.pg_extension where extname operator(pg_catalog.=) 'neobank')
    union
    select d.classid, d.objid from pg_catalog.pg_depend d join ours o
      on d.refclassid operator(pg_catalog.=) o.classid and d.refobjid operator(pg_catalog.=) o.objid
     and d.deptype operator(pg_catalog.=) any (array['a', 'i']::\"char\"[])
), used as (
    select distinct d.classid, d.objid, d.refclassid, d.refobjid from pg_catalog.pg_depend d join ours o
      on d.classid operator(pg_catalog.=) o.classid and d.objid operator(pg_catalog.=) o.objid
)
select pg_catalog.pg_describe_object(classid, objid, 0), pg_catalog.pg_describe_object(refclassid, refobjid, 0) from used
where coalesce(
    (select pronamespace from pg_catalog.pg_proc where oid operator(pg_catalog.=) refobjid
        and refclassid operator(pg_catalog.=) 'pg_catalog.pg_proc'::regclass::oid),
    (select oprnamespace from pg_catalog.pg_operator where oid operator(pg_catalog.=) refobjid
        and refclassid operator(pg_catalog.=) 'pg_catalog.pg_operator'::regclass::oid),
    (select typnamespace from pg_catalog.pg_type where oid operator(pg_catalog.=) refobjid
        and refclassid operator(pg_catalog.=) 'pg_catalog.pg_type'::regclass::oid))
    operator(pg_catalog.=) 'public'::regnamespace::oid";

const ALARMS: &str = "select case when is_called then last_value else 0 end from public.alarm";

fn database_of(attacker: &mut String) -> (Bank, Client) {
    let mut bank = Bank::empty_database();
    *attacker = bank.role("attacker");
    bank.db.run(&format!("grant create, usage on schema public to {attacker}"));
    let name = bank.name.clone();
    bank.db.run(&format!("grant create on database {name} to {attacker}"));
    let session = bank.session_as(attacker);
    (bank, session)
}

#[test]
fn operators_that_fit_better_are_not_taken_into_the_extension() {
    // The scripts ran with the schema that CREATE EXTENSION found first in the search_path, mostly public. There an
    // operator varchar = varchar fits better than the catalog's text = text: it was run by the superuser who installed,
    // and stayed in the indexes and views for everybody who used the bank.
    let mut attacker = String::new();
    let (mut bank, mut session) = database_of(&mut attacker);
    session.run(BETTER_MATCHES);
    bank.db.run("set search_path = public");
    bank.db.run("select 'a'::varchar = 'b'::varchar");
    let told = bank.db.count(ALARMS);
    assert!(told > 0, "the trap tells where it is met");
    bank.db.run("create extension neobank");
    bank.db.run("set search_path = pg_catalog");
    assert_eq!(bank.db.count(ALARMS), told, "run by the superuser who installed");
    assert_eq!(bank.db.lines(OUTSIDE), [""; 0]);
    bank.db.run("set search_path = public");
    let customer = bank.customer();
    let account = bank.db.id(&format!("select banking.open_account('{customer}', opening_deposit => 10)"));
    for sql in [
        format!("select txn_processing.pay('{account}', 1)"),
        format!("select txn_processing.enqueue('withdrawal', '{account}', null, 1)"),
        "select count(*) from txn_processing.process_queue()".to_owned(),
        "select count(*) from txn_processing.ledger".to_owned(),
        "select count(*) from banking.account_balances".to_owned(),
        "select count(*) from txn_processing.account_holds".to_owned(),
        "select count(*) from txn_processing.queue_status".to_owned(),
        "select count(*) from txn_processing.daily_reconciliation()".to_owned(),
        "select count(*) from txn_processing.trial_balance()".to_owned(),
        "select count(*) from txn_processing.settlement_report".to_owned(),
        "update banking.customers set city = 'Rome'".to_owned(),
        "select neobank.grant_usage(current_user, 'reader')".to_owned(),
    ] {
        bank.db.run(&sql);
        assert_eq!(bank.db.count(ALARMS), told, "run by {sql}");
    }
}

#[test]
fn the_extension_goes_nowhere_but_where_it_belongs() {
    // Another schema than the control file's would be the one in which its scripts resolve names.
    let mut attacker = String::new();
    let (mut bank, mut session) = database_of(&mut attacker);
    session.run("create schema mine");
    assert_eq!(bank.db.fails("create extension neobank schema mine").code, "0A000");
    bank.db.run("create extension neobank");
    let at = "select extnamespace::regnamespace, extrelocatable from pg_extension where extname = 'neobank'";
    assert_eq!(bank.db.one(at), "pg_catalog|f");
    assert_eq!(bank.db.fails("alter extension neobank set schema mine").code, "0A000");
    let in_catalog = "select count(*) from pg_depend d where deptype = 'e' and coalesce( \
        (select pronamespace from pg_proc where oid = objid and classid = 'pg_proc'::regclass), \
        (select relnamespace from pg_class where oid = objid and classid = 'pg_class'::regclass), \
        (select typnamespace from pg_type where oid = objid and classid = 'pg_type'::regclass)) = 'pg_catalog'::regnamespace \
        and refobjid = (select oid from pg_extension where extname = 'neobank')";
    assert_eq!(bank.db.count(in_catalog), 0, "nothing of ours lies in the catalog itself");
}

#[test]
fn schemas_made_beforehand_stop_it_and_nobody_else_installs_it() {
    // With a schema of that name the attacker would own what tellers call.
    let mut attacker = String::new();
    let (mut bank, mut session) = database_of(&mut attacker);
    for schema in ["neobank", "banking", "txn_processing", "event_store"] {
        session.run(&format!("create schema {schema}"));
        for sql in ["create extension neobank", "create extension neobank cascade"] {
            assert_eq!(bank.db.fails(sql).code, "42P06", "{schema}");
        }
        session.run(&format!("drop schema {schema}"));
    }
    let name = bank.name.clone();
    assert_eq!(session.fails("create extension neobank").code, "42501");
    bank.db.run(&format!("alter database {name} owner to {attacker}"));
    assert_eq!(session.fails("create extension neobank").code, "42501", "nor the owner of the database");
    assert_eq!(
        session.fails("create function public.f() returns uuid language c as 'neobank', 'uuid_v7_wrapper'").code,
        "42501"
    );
    bank.db.run("create extension neobank");
    for sql in [
        "drop extension neobank",
        "drop extension neobank cascade",
        "alter extension neobank update",
        "alter extension neobank drop table txn_processing.movements",
        "alter extension neobank add schema public",
    ] {
        assert_eq!(session.fails(sql).code, "42501", "{sql}");
    }
    let owned = "select datdba::regrole from pg_database where datname = current_database()";
    assert_eq!(bank.db.one(owned), attacker);
    bank.db.run(&format!("alter database {name} owner to current_user"));
}
