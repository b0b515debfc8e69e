//! The SQL function that writes pgbouncer's configuration from the server's settings.

use super::api;
use super::pgbouncer::{self, Database, Live, MODES};
use crate::error::Error;
use crate::pg::compat::PinnedSearchPath;
use crate::pg::jsonb::Item;
use crate::pg::{Arg, JsonDatum, Many, PRESENT, Session, Statement, Text, Type, finish};
use crate::txn_processing::bounds::bounded_json;
use crate::txn_processing::required;
use pgrx::prelude::*;

const MOST_DATABASES: usize = 1_000;
const MOST_BYTES: usize = 65_536;

/// A setting that the caller may not see is null.
static SERVER: Statement = Statement::new(
    c"SELECT pg_catalog.current_setting('server_version'),
             pooling.usable_connections(),
             pg_catalog.current_setting('port')::int,
             pg_catalog.current_setting('password_encryption'),
             ceil((SELECT s.setting::numeric FROM pg_catalog.pg_settings s
                   WHERE s.name = 'idle_in_transaction_session_timeout') / 1000)::int,
             pg_catalog.current_setting('listen_addresses'),
             (SELECT pg_catalog.btrim(pg_catalog.split_part(s.setting, ',', 1)) FROM pg_catalog.pg_settings s
              WHERE s.name = 'unix_socket_directories'),
             pg_catalog.current_database()::text",
    &[],
);

static DATABASES: Statement = Statement::new(
    c"SELECT n.name, r.recommended_pool_size, r.is_measured
      FROM pg_catalog.unnest($1) WITH ORDINALITY n(name, no)
      JOIN pg_catalog.pg_database d ON d.datname = n.name AND d.datallowconn AND NOT d.datistemplate
      CROSS JOIN LATERAL pooling.recommend_for(n.name, $2) r
      ORDER BY n.no",
    &[Type::TextArray, Type::Int],
);

/// Settings of the caller's: texts and whole numbers; null leaves a line out.
fn given(settings: &JsonDatum) -> Result<Vec<(&str, Option<String>)>, Error> {
    if !settings.is_object() {
        let why = "It must be a JSON object.".into();
        return Err(Error::ArgumentBounds { argument: "settings", why });
    }
    bounded_json("settings", *settings, MOST_BYTES, 2)?;
    let wrong = |name: &str, why: &str| Error::PgbouncerSetting { name: name.into(), why: why.into() };
    let mut given = Vec::new();
    for (name, item) in settings.container().pairs() {
        if !pgbouncer::is_setting(name) {
            return Err(wrong(name, "is none that pgbouncer 1.18 has"));
        }
        if name == "pool_mode" {
            return Err(wrong(name, "is the argument pool_mode"));
        }
        let value = match item {
            Item::Null => None,
            Item::Text(text) => Some(text.to_owned()),
            Item::Number(digits) => match digits.decimal() {
                Ok(number) if number.fract().is_zero() && !number.is_sign_negative() => {
                    Some(number.normalize().to_string())
                }
                _ => return Err(wrong(name, "is a number that is not whole")),
            },
            _ => return Err(wrong(name, "is neither a text nor a number")),
        };
        if let Some(value) = &value {
            pgbouncer::value_is_good(value).map_err(|why| wrong(name, why))?;
        }
        given.push((name, value));
    }
    Ok(given)
}

fn host_of(given: Option<&str>, addresses: &str, sockets: Option<String>) -> Result<String, Error> {
    if let Some(host) = given {
        let why = if host.trim().is_empty() { Err("is blank") } else { pgbouncer::value_is_good(host) };
        return why
            .map(|()| host.to_owned())
            .map_err(|why| Error::ArgumentBounds { argument: "host", why: format!("It {why}.") });
    }
    // On the server's own machine a socket is the shorter way.
    match sockets.filter(|folder| folder.starts_with('/')) {
        Some(folder) => Ok(folder),
        None => {
            let first = addresses.split(',').next().unwrap_or_default().trim();
            Ok(if ["", "*", "0.0.0.0", "::"].contains(&first) { "localhost".into() } else { first.into() })
        }
    }
}

fn named(databases: Option<&Many<String>>, current: String) -> Result<Vec<String>, Error> {
    let Some(many) = databases else { return Ok(vec![current]) };
    if many.0.is_empty() || many.0.len() > MOST_DATABASES {
        let why = format!("It has {} names; it must have 1 to {MOST_DATABASES}.", many.0.len());
        return Err(Error::ArgumentBounds { argument: "databases", why });
    }
    let mut names = Vec::new();
    for name in &many.0 {
        let name = required("databases", name.as_ref())?;
        if pgbouncer::value_is_good(name).is_err() {
            let why = "has a line break or another control character in its name";
            return Err(Error::PoolDatabase { name: name.clone(), why });
        }
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    Ok(names)
}

fn configuration(
    databases: Option<&Many<String>>,
    pool_mode: Option<&str>,
    host: Option<&str>,
    pool_size: Option<i32>,
    settings: Option<JsonDatum>,
    cores: Option<i32>,
) -> Result<String, Error> {
    let mode = required("pool_mode", pool_mode)?;
    if !MODES.contains(&mode) {
        let why = format!("It is {mode:?}; it may be {}.", MODES.join(", "));
        return Err(Error::ArgumentBounds { argument: "pool_mode", why });
    }
    let size = pool_size.map(|size| api::connections("pool_size", Some(size))).transpose()?;
    let cores = api::cores("cores", cores)?;
    let settings = required("settings", settings)?;
    let given = given(&settings)?;
    let _path = PinnedSearchPath::pin();
    let session = Session::read();
    let row = session.run(&SERVER, &[])?.first().expect("a SELECT without FROM has one row");
    let text = |column| row.text(column).expect(PRESENT);
    let number = |column| row.int(column).unwrap_or(0).unsigned_abs();
    let (version, passwords) = (text(1), text(4));
    let host = host_of(host, &text(6), row.text(7))?;
    let names = named(databases, text(8))?;
    let live = Live {
        server_version: &version,
        host: &host,
        port: row.int(3).expect(PRESENT),
        usable: number(2),
        passwords: &passwords,
        idle_in_transaction_seconds: number(5),
        cores,
    };
    let asked: Vec<_> = names.iter().map(|name| Some(name.as_str())).collect();
    let args = [Arg::TextArray(&asked), Arg::Int(Some(cores.cast_signed()))];
    let rows = session.run(&DATABASES, &args)?;
    let found: Vec<Database> = rows
        .iter()
        .map(|row| Database {
            name: row.text(1).expect(PRESENT),
            pool: size.unwrap_or(row.int(2).unwrap_or(1).unsigned_abs()),
            is_measured: row.bool(3) == Some(true),
        })
        .collect();
    if let Some(name) = names.iter().find(|name| !found.iter().any(|d| d.name == **name)) {
        let why = "does not exist, is a template or takes no connections";
        return Err(Error::PoolDatabase { name: name.clone(), why });
    }
    Ok(pgbouncer::render(&live, &found, mode, &given))
}

#[pg_extern(schema = "pooling", volatile, parallel_unsafe)]
fn generate_pgbouncer_config(
    databases: default!(Option<Many<String>>, "NULL"),
    pool_mode: default!(Option<Text>, "'transaction'"),
    host: default!(Option<Text>, "NULL"),
    pool_size: default!(Option<i32>, "NULL"),
    settings: default!(Option<JsonDatum>, "'{}'"),
    cores: default!(Option<i32>, "NULL"),
) -> String {
    let text =
        configuration(databases.as_ref(), pool_mode.as_deref(), host.as_deref(), pool_size, settings, cores);
    drop((databases, pool_mode, host));
    finish(text)
}
