//! What the extension offers, as the catalog knows it: a new function, view or setting is found without a change here.

use neobank_sessions::{Ask, Client};
use serde_json::Value;

/// Of one class of objects, those that belong to the extension; joins as `d`.
fn members(class: &str) -> String {
    format!(
        "(select objid from pg_depend where deptype = 'e' and classid = '{class}'::regclass \
          and refclassid = 'pg_extension'::regclass \
          and refobjid = (select oid from pg_extension where extname = 'neobank')) d"
    )
}

#[derive(Clone, Debug)]
pub struct Argument {
    pub name: String,
    /// As `format_type` writes it.
    pub kind: String,
    pub has_default: bool,
    pub variadic: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Function,
    Procedure,
    Trigger,
}

#[derive(Clone, Debug)]
pub struct Function {
    /// With its schema.
    pub name: String,
    pub form: Form,
    pub arguments: Vec<Argument>,
}

impl Function {
    /// What it changes reaches beyond the database: a role's rights.
    pub fn concerns_roles(&self) -> bool {
        self.arguments.iter().any(|argument| ["name", "regrole"].contains(&argument.kind.as_str()))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Functions that the server makes for a range type have its own errors.
const NOT_THE_SERVERS: &str = "(select t.typtype from pg_type t where t.oid = p.prorettype) not in ('r', 'm')";

pub fn functions(db: &mut Client) -> Vec<Function> {
    let rows = db.lines(&format!(
        "select json_build_object( \
           'name', format('%I.%I', n.nspname, p.proname), 'kind', p.prokind, \
           'trigger', p.prorettype in ('trigger'::regtype, 'event_trigger'::regtype), \
           'arguments', (select coalesce(json_agg(json_build_object( \
              'name', coalesce(name, ''), 'kind', format_type(kind, null), \
              'has_default', nth > p.pronargs - p.pronargdefaults, \
              'variadic', p.provariadic <> 0 and nth = p.pronargs) order by nth), '[]') \
            from (select a.kind, a.nth, i.name from unnest(p.proargtypes) with ordinality a(kind, nth) \
              left join (select name, row_number() over (order by place) as nth from ( \
                select p.proargnames[place] as name, place from generate_subscripts(p.proargnames, 1) place \
                where coalesce(p.proargmodes[place], 'i') in ('i', 'b', 'v')) named) i using (nth)) x)) \
         from {} join pg_proc p on p.oid = d.objid join pg_namespace n on n.oid = p.pronamespace \
         where p.prokind in ('f', 'p') and {NOT_THE_SERVERS} order by n.nspname, p.proname, p.oid::regprocedure::text",
        members("pg_proc")
    ));
    rows.iter()
        .map(|row| {
            let found: Value = serde_json::from_str(row).expect("the server writes JSON");
            let arguments = found["arguments"].as_array().expect("a list").iter().map(|argument| Argument {
                name: text(&argument["name"]),
                kind: text(&argument["kind"]),
                has_default: argument["has_default"] == true,
                variadic: argument["variadic"] == true,
            });
            let form = match (found["trigger"] == true, found["kind"] == "p") {
                (true, _) => Form::Trigger,
                (_, true) => Form::Procedure,
                _ => Form::Function,
            };
            Function { name: text(&found["name"]), form, arguments: arguments.collect() }
        })
        .collect()
}

#[derive(Clone, Debug)]
pub struct Relation {
    pub name: String,
    /// Names and types.
    pub columns: Vec<(String, String)>,
    pub is_table: bool,
    /// What the role that was asked for may insert into and update.
    pub insertable: Vec<(String, String)>,
    pub updatable: Vec<(String, String)>,
}

/// Tables and views, with what `role` may do to them.
pub fn relations(db: &mut Client, role: &str) -> Vec<Relation> {
    let columns = |condition: &str| {
        format!(
            "(select coalesce(json_agg(json_build_array(quote_ident(attname), format_type(atttypid, null)) \
             order by attnum), '[]') from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped \
             and attgenerated = '' and {condition})"
        )
    };
    let may = |right: &str| columns(&format!("has_column_privilege('{role}', c.oid, attnum, '{right}')"));
    let rows = db.lines(&format!(
        "select json_build_object('name', c.oid::regclass, 'is_table', c.relkind in ('r', 'p'), 'columns', {}, \
                                  'insertable', {}, 'updatable', {}) \
         from {} join pg_class c on c.oid = d.objid where c.relkind in ('r', 'p', 'v', 'm') \
         order by c.oid::regclass::text",
        columns("true"),
        may("INSERT"),
        may("UPDATE"),
        members("pg_class")
    ));
    let pairs = |value: &Value| -> Vec<(String, String)> {
        value.as_array().expect("a list").iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
    };
    rows.iter()
        .map(|row| {
            let found: Value = serde_json::from_str(row).expect("the server writes JSON");
            Relation {
                name: text(&found["name"]),
                columns: pairs(&found["columns"]),
                is_table: found["is_table"] == true,
                insertable: pairs(&found["insertable"]),
                updatable: pairs(&found["updatable"]),
            }
        })
        .collect()
}

#[derive(Clone, Debug)]
pub struct Setting {
    pub name: String,
    pub kind: String,
    /// Values that it says it takes: the ends of its range, or its words.
    pub valid: Vec<String>,
    /// Whether a session may set it.
    pub in_session: bool,
}

pub fn settings(db: &mut Client) -> Vec<Setting> {
    // A session knows the settings once it has called a function of the library.
    db.run("select neobank.uuid_v7()");
    let rows = db.lines(
        "select json_build_object('name', name, 'kind', vartype, 'in_session', context in ('superuser', 'user'), \
         'valid', to_json(case vartype when 'enum' then enumvals when 'bool' then array['on', 'off'] \
                          when 'string' then array[setting] else array[min_val, max_val, setting] end)) \
         from pg_settings where name like 'neobank.%' order by name",
    );
    rows.iter()
        .map(|row| {
            let found: Value = serde_json::from_str(row).expect("the server writes JSON");
            Setting {
                name: text(&found["name"]),
                kind: text(&found["kind"]),
                valid: found["valid"].as_array().expect("a list").iter().map(text).collect(),
                in_session: found["in_session"] == true,
            }
        })
        .collect()
}
