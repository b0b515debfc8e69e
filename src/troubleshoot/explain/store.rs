//! Asks the server for a plan, and for what the catalog says of its tables.

use super::core::{self, Facts, Finding, Index};
use crate::error::Error;
use crate::pg::compat::PinnedSearchPath;
use crate::pg::explain::{Given, examine, first_text};
use crate::pg::plans::CallersPlans;
use crate::pg::subtransaction::undoable;
use crate::pg::{Arg, Session, Statement, Type};
use serde_json::Value;
use std::ffi::CString;

/// The transaction state in which a plan is made, and run where that is asked for; undone with the subtransaction. A
/// session that waits for a lock without end would itself be what others wait behind.
static RESTRAIN: Statement = Statement::new(
    c"select pg_catalog.set_config('transaction_read_only', 'on', true), \
        case when pg_catalog.current_setting('lock_timeout') operator(pg_catalog.=) '0' \
             then pg_catalog.set_config('lock_timeout', '1s', true) end",
    &[],
);

/// Of the tables of a plan, whose schemas and names are given; read without a lock on any of them.
static FACTS: Statement = Statement::new(
    c"select jsonb_build_object( \
        'work_mem_kb', (select setting::numeric from pg_settings where name = 'work_mem'), \
        'hash_mem_multiplier', (select setting::numeric from pg_settings where name = 'hash_mem_multiplier'), \
        'tables', coalesce((select jsonb_agg(jsonb_build_object( \
            'schema', s.name, 'name', c.relname, 'quoted', quote_ident(s.name) || '.' || quote_ident(c.relname), \
            'rows', c.reltuples, 'pages', c.relpages, 'is_partitioned', c.relkind = 'p', \
            'live_rows', pg_stat_get_live_tuples(c.oid), 'modified_rows', pg_stat_get_mod_since_analyze(c.oid), \
            'columns', (select jsonb_agg(a.attname) from pg_attribute a \
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), \
            'indexes', (select coalesce(jsonb_agg((select jsonb_agg(a.attname order by k.place) \
                    from unnest(i.indkey::smallint[]) with ordinality k (attnum, place) \
                    join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum \
                    where k.place <= i.indnkeyatts)), '[]') \
                from pg_index i where i.indrelid = c.oid and i.indisvalid and i.indpred is null \
                    and i.indexprs is null))) \
          from pg_class c join pg_namespace n on n.oid = c.relnamespace \
          cross join lateral (select case when n.oid = pg_my_temp_schema() then 'pg_temp' else n.nspname end) s (name) \
          where (s.name, c.relname) in (select * from unnest($1::name[], $2::name[]))), '[]'))",
    &[Type::TextArray, Type::TextArray],
);

/// Where hypopg is, quoted.
static HYPOPG: Statement = Statement::new(
    c"select pg_catalog.quote_ident(n.nspname) from pg_catalog.pg_extension e \
        join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) e.extnamespace \
        where e.extname operator(pg_catalog.=) 'hypopg'",
    &[],
);

/// Indexes that are tried for one plan.
const MOST_TRIED: usize = 3;

pub struct Asked<'a> {
    pub query: &'a str,
    pub params: &'a [Option<&'a str>],
    pub run: bool,
}

pub struct Answer {
    pub plan: String,
    pub findings: Vec<Finding>,
    pub summary: String,
}

fn c_string(argument: &'static str, text: &str) -> Result<CString, Error> {
    CString::new(text)
        .map_err(|_| Error::ArgumentBounds { argument, why: "It has a zero byte in it.".into() })
}

/// A statement that may be explained, with the types and texts of its parameters.
struct Bound {
    types: Vec<pgrx::pg_sys::Oid>,
    values: Vec<Option<CString>>,
}

impl Bound {
    fn of(asked: &Asked) -> Result<Bound, Error> {
        let (given, types) = examine(&c_string("query", asked.query)?)?;
        match given {
            Given::Statements(count) => {
                return Err(Error::NotExplainable { why: format!("It consists of {count} statements.") });
            }
            Given::Utility => {
                return Err(Error::NotExplainable { why: "It is carried out without a plan.".into() });
            }
            Given::Planned => {}
        }
        if types.len() != asked.params.len() {
            return Err(Error::ParametersDiffer { wanted: types.len(), given: asked.params.len() });
        }
        let value = |text: &Option<&str>| text.map(|text| c_string("params", text)).transpose();
        let values = asked.params.iter().map(value).collect::<Result<_, _>>()?;
        Ok(Bound { types, values })
    }

    fn plan(&self, session: &Session, asked: &Asked, options: &str) -> Result<String, Error> {
        let text = c_string("query", &format!("EXPLAIN (FORMAT JSON, VERBOSE{options}) {}", asked.query))?;
        // Ours are none of the caller's.
        let _plans = CallersPlans::restore();
        let plan = first_text(session, &text, &self.types, &self.values)?;
        // A rule may leave nothing of a statement.
        Ok(plan.unwrap_or_else(|| "[]".into()))
    }
}

fn parsed(plan: &str) -> Value {
    serde_json::from_str(plan).unwrap_or(Value::Array(Vec::new()))
}

fn facts(session: &Session, plan: &Value) -> Result<Facts, Error> {
    let _path = PinnedSearchPath::pin();
    let tables = core::tables(plan);
    let schemas: Vec<Option<&str>> = tables.iter().map(|(schema, _)| Some(schema.as_str())).collect();
    let names: Vec<Option<&str>> = tables.iter().map(|(_, name)| Some(name.as_str())).collect();
    let json = session.one(&FACTS, &[Arg::TextArray(&schemas), Arg::TextArray(&names)], |row| {
        row.json(1).map(|json| json.to_text())
    })?;
    Ok(Facts::of(&parsed(&json.flatten().unwrap_or_default())))
}

/// Makes a hypothetical index; its number and name.
fn hypothesize(session: &Session, hypopg: &str, index: &Index) -> Result<Option<(u32, String)>, Error> {
    let create = format!(
        "select indexrelid operator(pg_catalog.||) ' ' operator(pg_catalog.||) indexname from {hypopg}.hypopg_create_index($1)"
    );
    let sql = c_string("query", &index.hypothetical_sql())?;
    let made = first_text(session, &c_string("query", &create)?, &[pgrx::pg_sys::TEXTOID], &[Some(sql)])?;
    Ok(made.and_then(|made| {
        let (number, name) = made.split_once(' ')?;
        Some((number.parse().ok()?, name.to_owned()))
    }))
}

/// Tries the indexes that findings propose, where hypopg is installed; what the planner would not take is not proposed
/// any more. Hypothetical indexes are this backend's alone, and taken away before anything else happens.
fn try_indexes(session: &Session, bound: &Bound, asked: &Asked, answer: &mut Answer) -> Result<(), Error> {
    let Some(hypopg) = session.one(&HYPOPG, &[], |row| row.text(1))?.flatten() else { return Ok(()) };
    let before = core::cost(&parsed(&bound.plan(session, asked, "")?));
    let proposing = answer.findings.iter_mut().filter(|finding| finding.index.is_some());
    for finding in proposing.take(MOST_TRIED) {
        let Some(index) = &finding.index else { continue };
        let Some((number, name)) = hypothesize(session, &hypopg, index)? else { continue };
        let planned = bound.plan(session, asked, "");
        let drop = c_string("query", &format!("select {hypopg}.hypopg_drop_index({number})"))?;
        let plan = parsed(&planned?);
        first_text(session, &drop, &[], &[])?;
        let after = core::cost(&plan);
        if core::uses_index(&plan, &name) && after < before {
            finding.remedy.push_str(&format!(
                " Tried as a hypothetical index: the planner takes it, and the cost falls from {} to {}.",
                core::figure(before),
                core::figure(after)
            ));
        } else {
            finding.remedy =
                "Tried as a hypothetical index on what is compared: the planner would not take it.".into();
            finding.remediation_sql = None;
        }
    }
    Ok(())
}

fn within(asked: &Asked) -> Result<Answer, Error> {
    let session = Session::write();
    session.run(&RESTRAIN, &[])?;
    let bound = Bound::of(asked)?;
    let plan =
        bound.plan(&session, asked, if asked.run { ", ANALYZE, BUFFERS, SETTINGS" } else { ", SETTINGS" })?;
    let json = parsed(&plan);
    let facts = facts(&session, &json)?;
    let findings = core::judge(&json, &facts);
    let mut answer = Answer { plan, summary: core::summary(&json), findings };
    if answer.findings.iter().any(|finding| finding.index.is_some()) {
        try_indexes(&session, &bound, asked, &mut answer)?;
    }
    Ok(answer)
}

/// In a subtransaction that may not write and is rolled back in any case, with its locks.
pub fn explain(asked: &Asked) -> Result<Answer, Error> {
    let mut answer = None;
    undoable(|| {
        answer = Some(within(asked)?);
        Ok(None::<()>)
    })?;
    Ok(answer.expect("what fails is answered as an error"))
}
