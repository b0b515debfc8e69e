//! The extension as the catalog knows it: a line for each object that it owns, with all that a caller can notice.
//!
//! The lines are the same on every major version of the server. What depends on who installed it is not in them.

use crate::Ask;
use postgres::Client;
use std::collections::BTreeMap;

/// The objects that belong to the extension, as `classid, objid`.
const MEMBERS: &str = "with members as (
    select d.classid, d.objid from pg_depend d where d.deptype = 'e' and d.refclassid = 'pg_extension'::regclass
      and d.refobjid = (select oid from pg_extension where extname = 'neobank')
), relations as (
    select c.*, c.oid::regclass::text as name,
           case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view'
                          when 'm' then 'materialized view' when 'S' then 'sequence' else c.relkind::text end as kind
    from members join pg_class c on classid = 'pg_class'::regclass and c.oid = objid
), routines as (
    select p.*, case p.prokind when 'p' then 'procedure ' when 'a' then 'aggregate ' else 'function ' end
                || p.oid::regprocedure as name
    from members join pg_proc p on classid = 'pg_proc'::regclass and p.oid = objid
), types as (
    -- Arrays and row types belong to their element or table.
    select t.*, t.oid::regtype::text as name
    from members join pg_type t on classid = 'pg_type'::regclass and t.oid = objid
    where t.typelem = 0 and t.typrelid = 0
)";

/// Each gives lines of the form `what: how it is`.
const SURFACE: &[&str] = &[
    "select format('schema %s: ', objid::regnamespace) from members where classid = 'pg_namespace'::regclass",
    "select format('%s %s: %s', kind, name, concat_ws(', ',
        case relpersistence when 'p' then null else 'persistence ' || relpersistence::text end,
        case when relrowsecurity then 'row security' end, case when relforcerowsecurity then 'forced' end,
        case relreplident when 'f' then 'replica identity full' when 'i' then 'replica identity by index' end,
        array_to_string(reloptions, ', '))) from relations where relkind <> 'S'",
    "select format('sequence %s: %s start %s increment %s from %s to %s cache %s%s', name, seqtypid::regtype, seqstart,
        seqincrement, seqmin, seqmax, seqcache, case when seqcycle then ' cycle' else '' end)
     from relations join pg_sequence on seqrelid = oid",
    "select format('column %s.%s: %s%s%s%s', name, attname, format_type(atttypid, atttypmod),
        case when attnotnull then ' not null' else '' end,
        case attidentity when 'a' then ' identity always' when 'd' then ' identity by default' else '' end,
        coalesce(case attgenerated when '' then ' default ' else ' generated ' end || pg_get_expr(adbin, adrelid), ''))
     from relations join pg_attribute on attrelid = relations.oid
     left join pg_attrdef on adrelid = attrelid and adnum = attnum
     where attnum > 0 and not attisdropped and relkind in ('r', 'p', 'v', 'm')",
    // The order of columns matters to whoever inserts without naming them.
    "select format('columns of %s: %s', name, string_agg(attname, ', ' order by attnum))
     from relations join pg_attribute on attrelid = oid
     where attnum > 0 and not attisdropped and relkind in ('r', 'p', 'v', 'm') group by name",
    // PostgreSQL 18 lists NOT NULL as constraints too.
    "select format('constraint %s on %s: %s', conname, coalesce(r.name, t.name), regexp_replace(pg_get_constraintdef(c.oid), '\\s+', ' ', 'g'))
     from pg_constraint c left join relations r on r.oid = conrelid left join types t on t.oid = contypid
     where contype <> 'n' and (r.oid is not null or t.oid is not null)",
    "select format('index %s: %s', indexrelid::regclass, pg_get_indexdef(indexrelid))
     from relations join pg_index on indrelid = oid",
    "select format('trigger %s on %s: %s, enabled %s', tgname, name, pg_get_triggerdef(t.oid), tgenabled)
     from relations r join pg_trigger t on tgrelid = r.oid where not tgisinternal",
    "select format('policy %s on %s: %s', polname, name, polcmd) from relations r join pg_policy p on polrelid = r.oid",
    "select format('%s: (%s) returns %s, %s', name, pg_get_function_arguments(r.oid), coalesce(pg_get_function_result(r.oid), 'nothing'),
        concat_ws(', ', l.lanname,
            case provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
            case when proisstrict then 'strict' else 'null allowed' end,
            case proparallel when 's' then 'parallel safe' when 'r' then 'parallel restricted' else 'parallel unsafe' end,
            case when prosecdef then 'security definer' else 'security invoker' end, case when proleakproof then 'leakproof' end,
            'cost ' || procost, case when proretset then 'rows ' || prorows end, array_to_string(proconfig, ', ')))
     from routines r join pg_language l on l.oid = prolang",
    "select format('type %s: %s', name, case typtype
        when 'd' then 'domain over ' || format_type(typbasetype, typtypmod) || case when typnotnull then ' not null' else '' end
        when 'e' then 'enum of ' || (select string_agg(enumlabel, ', ' order by enumsortorder) from pg_enum where enumtypid = types.oid)
        else 'kind ' || typtype::text end) from types",
    "select format('event trigger %s: on %s of %s, %s, enabled %s', evtname, evtevent, array_to_string(evttags, ', '),
        evtfoid::regprocedure, evtenabled)
     from members join pg_event_trigger e on classid = 'pg_event_trigger'::regclass and e.oid = objid",
    "select format('dumped %s: %s', c::regclass, extcondition[n])
     from pg_extension, unnest(extconfig) with ordinality x(c, n) where extname = 'neobank'",
    "select format('%s %s: ', i.type, i.identity) from members cross join lateral pg_identify_object(classid, objid, 0) i
     where classid not in ('pg_namespace'::regclass, 'pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass,
                           'pg_event_trigger'::regclass)",
    // Those that only a preloaded library has are the postmaster's.
    "select format('setting %s: %s%s, %s, default %s', name, vartype,
        case vartype when 'enum' then ' of ' || array_to_string(enumvals, ', ')
                     when 'integer' then ' from ' || min_val || ' to ' || max_val else '' end,
        context, quote_literal(boot_val) || coalesce(' ' || unit, ''))
     from pg_settings where name like 'neobank.%' and context not in ('postmaster', 'sighup')",
];

/// What each level of rights adds to the one before it; `owner` and who owns the level's role are left out.
const GRANTS: &str = ", acls as (
    select 'schema ' || n.oid::regnamespace as object, coalesce(nspacl, acldefault('n', nspowner)) as acl, null as columns
    from members join pg_namespace n on classid = 'pg_namespace'::regclass and n.oid = objid
    union all
    select kind || ' ' || name, coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::\"char\", relowner)), null
    from relations where relkind in ('r', 'p', 'v', 'm', 'S')
    union all
    select name, coalesce(proacl, acldefault('f', proowner)), null from routines
    union all
    select 'type ' || name, coalesce(typacl, acldefault('T', typowner)), null from types
    union all
    select kind || ' ' || name, attacl, attname
    from relations join pg_attribute on attrelid = oid where attacl is not null and not attisdropped
), levels as (
    select 0 as rank, 'public' as level, 0::oid as role
    union all select rank, level, to_regrole(role)::oid
    from unnest(array[{roles}]) with ordinality r(role, rank)
    join unnest(array['reader', 'teller', 'operator']) with ordinality l(level, rank) using (rank)
), held as (
    select distinct on (object, columns, privilege_type) level, object, columns, lower(privilege_type) as privilege
    from acls cross join lateral aclexplode(acl) x join levels on x.grantee = role
    order by object, columns, privilege_type, rank
)
select format('grant to %s on %s: %s', level, object, string_agg(right_held, ', ' order by right_held))
from (select level, object, privilege || coalesce(' (' || string_agg(columns, ', ' order by columns) || ')', '') as right_held
      from held group by level, object, privilege, columns is null) g
group by level, object";

/// What does not show from outside, and yet must be the same after an upgrade as after an installation.
const INSIDE: &[&str] = &[
    "select format('version: %s', extversion) from pg_extension where extname = 'neobank'",
    "select format('body of %s: %s', name, md5(concat_ws(' ', prosrc, probin, pg_get_function_sqlbody(oid)))) from routines",
    "select format('query of %s: %s', name, md5(pg_get_viewdef(oid))) from relations where relkind = 'v'",
    "select format('storage of %s.%s: %s', name, attname, attstorage)
     from relations join pg_attribute on attrelid = oid where attnum > 0 and not attisdropped",
    "select format('comment on %s: %s', pg_describe_object(c.classoid, c.objoid, c.objsubid), md5(c.description))
     from pg_description c
     where exists (select from members where classid = c.classoid and objid = c.objoid)
        or c.classoid = 'pg_trigger'::regclass
           and exists (select from relations r join pg_trigger t on tgrelid = r.oid where t.oid = c.objoid)",
    "select format('initial rights on %s: %s', pg_describe_object(p.classoid, p.objoid, p.objsubid), initprivs)
     from pg_init_privs p where exists (select from members where classid = p.classoid and objid = p.objoid)",
    "select format('rights on %s: %s', name, proacl) from routines",
    "select format('rights on %s: %s', name, relacl) from relations",
    "select format('rights on %s: %s', name, typacl) from types",
    "select format('rows of %s: %s', 'neobank.access_rights', md5(string_agg(r::text, e'\\n' order by r::text)))
     from neobank.access_rights r",
];

fn lines(admin: &mut Client, queries: &[&str]) -> Vec<String> {
    // The library's settings are there from its first use on.
    admin.run("load 'neobank'");
    let mut found: Vec<String> = queries.iter().flat_map(|query| admin.lines(&format!("{MEMBERS} {query}"))).collect();
    for line in &mut found {
        line.truncate(line.trim_end().len());
    }
    found.sort_unstable();
    found
}

/// What callers see. `roles` have been granted the levels reader, teller and operator in this order.
pub fn surface(admin: &mut Client, roles: &[String; 3]) -> Vec<String> {
    let quoted = roles.iter().map(|role| format!("'{role}'")).collect::<Vec<_>>().join(", ");
    let grants = GRANTS.replace("{roles}", &quoted);
    let queries: Vec<&str> = SURFACE.iter().copied().chain([grants.as_str()]).collect();
    lines(admin, &queries)
}

/// All that the catalog has of the extension.
pub fn catalog(admin: &mut Client) -> Vec<String> {
    let queries: Vec<&str> = SURFACE.iter().chain(INSIDE).copied().collect();
    lines(admin, &queries)
}

/// Lines for people: what is missing, what is new, and what is another than it was.
pub fn difference(wanted: &[String], found: &[String]) -> Vec<String> {
    let by_name = |lines: &[String]| -> BTreeMap<String, String> {
        let parts = lines.iter().map(|line| line.split_once(':').unwrap_or((line, "")));
        parts.map(|(name, what)| (name.to_owned(), what.trim().to_owned())).collect()
    };
    let (wanted, found) = (by_name(wanted), by_name(found));
    let mut told = Vec::new();
    for (name, was) in &wanted {
        match found.get(name) {
            None => told.push(format!("missing: {name}: {was}")),
            Some(is) if is != was => told.push(format!("changed: {name}\n    was: {was}\n     is: {is}")),
            Some(_) => {}
        }
    }
    told.extend(
        found.iter().filter(|(name, _)| !wanted.contains_key(*name)).map(|(name, is)| format!("new: {name}: {is}")),
    );
    told
}
