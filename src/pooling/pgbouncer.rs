//! The text of a pgbouncer.ini. What it may hold is what pgbouncer 1.18 knows: later releases know it too.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt::Write;

/// Every setting of the section `[pgbouncer]` of pgbouncer 1.18, in the order of `SHOW CONFIG`.
const SETTINGS: &str = "admin_users application_name_add_host auth_file auth_hba_file auth_query auth_type auth_user \
    autodb_idle_timeout client_idle_timeout client_login_timeout client_tls_ca_file client_tls_cert_file \
    client_tls_ciphers client_tls_dheparams client_tls_ecdhcurve client_tls_key_file client_tls_protocols \
    client_tls_sslmode default_pool_size disable_pqexec dns_max_ttl dns_nxdomain_ttl dns_zone_check_period \
    idle_transaction_timeout ignore_startup_parameters job_name listen_addr listen_backlog listen_port \
    log_connections log_disconnections log_pooler_errors log_stats logfile max_client_conn max_db_connections \
    max_packet_size max_user_connections min_pool_size pidfile pkt_buf pool_mode query_timeout \
    query_wait_timeout reserve_pool_size reserve_pool_timeout resolv_conf sbuf_loopcnt server_check_delay \
    server_check_query server_connect_timeout server_fast_close server_idle_timeout server_lifetime \
    server_login_retry server_reset_query server_reset_query_always server_round_robin server_tls_ca_file \
    server_tls_cert_file server_tls_ciphers server_tls_key_file server_tls_protocols server_tls_sslmode \
    service_name so_reuseport stats_period stats_users suspend_timeout syslog syslog_facility syslog_ident \
    tcp_defer_accept tcp_keepalive tcp_keepcnt tcp_keepidle tcp_keepintvl tcp_socket_buffer tcp_user_timeout \
    unix_socket_dir unix_socket_group unix_socket_mode user verbose";

pub const MODES: [&str; 3] = ["transaction", "session", "statement"];

const MOST_CHARACTERS: usize = 1_000;

pub fn is_setting(name: &str) -> bool {
    SETTINGS.split_whitespace().any(|known| known == name)
}

/// A value takes the rest of its line, without quotes.
pub fn value_is_good(value: &str) -> Result<(), &'static str> {
    if value.chars().any(char::is_control) {
        Err("has a line break or another control character")
    } else if value.chars().count() > MOST_CHARACTERS {
        Err("has more than 1,000 characters")
    } else {
        Ok(())
    }
}

/// What the server says about itself.
pub struct Live<'a> {
    pub server_version: &'a str,
    pub host: &'a str,
    pub port: i32,
    /// What clients may use: max_connections without those that are reserved.
    pub usable: u32,
    /// `password_encryption`.
    pub passwords: &'a str,
    /// 0: the server ends no session that is idle in a transaction.
    pub idle_in_transaction_seconds: u32,
    pub cores: u32,
}

/// A database, and how large its pool is to be. Its name is a good value.
pub struct Database {
    pub name: String,
    pub pool: u32,
    /// Whether the size comes from samples of the load, and not from the cores alone.
    pub is_measured: bool,
}

/// How many server connections the pools of each database may have together: an equal share of four fifths of what
/// clients may use. The rest is for who comes past pgbouncer: administrators, monitoring, dumps.
fn share(live: &Live, databases: usize) -> u32 {
    (live.usable * 4 / 5 / databases.max(1) as u32).max(1)
}

/// A name as it can stand before `=`. Release 1.18 takes letters, digits and `_.-` only, and quotes not at all,
/// whatever its manual says; `pgbouncer` is its console.
fn alias(name: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    let mut key: String = name.chars().map(plain).collect();
    if key == "pgbouncer" {
        key.push_str("_db");
    }
    let base = key.clone();
    let mut number = 2;
    while !taken.insert(key.clone()) {
        key = format!("{base}_{number}");
        number += 1;
    }
    key
}

/// A value of a connection string.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn databases(out: &mut String, live: &Live, databases: &[Database]) {
    let most = share(live, databases.len());
    // Names that need no other come first, so that each of these keeps its own.
    let mut taken = BTreeSet::new();
    let is_plain = |name: &str| alias(name, &mut BTreeSet::new()) == name;
    taken.extend(databases.iter().filter(|d| is_plain(&d.name)).map(|d| d.name.clone()));
    out.push_str("[databases]\n");
    for database in databases {
        let key =
            if is_plain(&database.name) { database.name.clone() } else { alias(&database.name, &mut taken) };
        if key != database.name {
            let _ = writeln!(
                out,
                "; pgbouncer cannot name the database {}: clients connect to {key}",
                database.name
            );
        }
        let pool = database.pool.min(most);
        let why = if database.is_measured {
            "from the measured load"
        } else {
            "from the cores: no load is measured"
        };
        let _ = writeln!(out, "; a pool of {pool}, {why}");
        // What is the same for all stands below, where SET in the console reaches it.
        let own = if databases.iter().all(|d| d.pool.min(most) == pool) {
            String::new()
        } else {
            format!(" pool_size={pool}")
        };
        let (host, name) = (quoted(live.host), quoted(&database.name));
        let _ = writeln!(out, "{key} = host={host} port={} dbname={name}{own}", live.port);
    }
}

/// What each pool mode keeps, and what it means for this extension.
fn mode_notes(mode: &str) -> &'static str {
    match mode {
        "session" => {
            "; session: a client keeps its server connection until it disconnects. Everything works, and as many\n\
             ; clients as the pool has connections can be connected at once.\n"
        }
        "statement" => {
            "; statement: the connection goes back after every statement, and BEGIN is refused. Each call of neobank\n\
             ; is whole by itself; several in one transaction are not possible.\n"
        }
        _ => {
            "; transaction: the connection goes back at the end of every transaction. All of neobank's functions work;\n\
             ; what must not outlive a transaction: SET (use SET LOCAL), prepared statements by name (before pgbouncer\n\
             ; 1.21), named locks and advisory locks of the session, LISTEN, temporary tables, WITH HOLD cursors.\n"
        }
    }
}

/// The lines of `[pgbouncer]` that follow from the server: sections with a title each.
fn derived(
    live: &Live,
    databases: &[Database],
    mode: &str,
) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let most = share(live, databases.len());
    let pool = databases.iter().map(|d| d.pool).max().unwrap_or(1).min(most);
    let reserve = (pool / 4).min(most - pool);
    let auth = if live.passwords == "md5" { "md5" } else { "scram-sha-256" };
    let text = |text: &str| text.to_owned();
    // Where the server ends such sessions itself, it does so with an error that names the cause.
    let idle = if live.idle_in_transaction_seconds > 0 { 0 } else { 300 };
    vec![
        ("where clients come in", vec![("listen_addr", text("*")), ("listen_port", text("6432"))]),
        (
            "who may: lines of \"user\" \"password\", as pg_authid has them",
            vec![("auth_type", text(auth)), ("auth_file", text("/etc/pgbouncer/userlist.txt"))],
        ),
        (
            "pools: one for each pair of database and user",
            vec![
                ("pool_mode", text(mode)),
                ("max_client_conn", (live.usable * 10).clamp(100, 10_000).to_string()),
                ("default_pool_size", pool.to_string()),
                ("min_pool_size", (pool / 4).to_string()),
                ("reserve_pool_size", reserve.to_string()),
                ("reserve_pool_timeout", text("3")),
                ("max_db_connections", most.to_string()),
            ],
        ),
        (
            "time limits in seconds; 0: none. Long statements are the server's to end (statement_timeout)",
            vec![
                ("server_lifetime", text("3600")),
                ("server_idle_timeout", text("600")),
                ("client_idle_timeout", text("0")),
                ("query_timeout", text("0")),
                ("query_wait_timeout", text("30")),
                ("idle_transaction_timeout", idle.to_string()),
            ],
        ),
        (
            "what a connection is cleaned with between clients (session mode only), and what drivers may send",
            vec![
                ("server_reset_query", text("DISCARD ALL")),
                ("ignore_startup_parameters", text("extra_float_digits")),
            ],
        ),
        (
            "log",
            vec![
                ("log_connections", text("1")),
                ("log_disconnections", text("1")),
                ("log_pooler_errors", text("1")),
                ("stats_period", text("60")),
                ("logfile", text("/var/log/postgresql/pgbouncer.log")),
                ("pidfile", text("/var/run/postgresql/pgbouncer.pid")),
                ("unix_socket_dir", text("/var/run/postgresql")),
            ],
        ),
        (
            "the console: psql -p 6432 pgbouncer",
            vec![("admin_users", text("pgbouncer_admin")), ("stats_users", text("pgbouncer_stats"))],
        ),
    ]
}

/// The whole file. `given` are settings of the caller's, in place of ours or beside them; None leaves a line out.
pub fn render(live: &Live, of: &[Database], mode: &str, given: &[(&str, Option<String>)]) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "; pgbouncer.ini for pgbouncer 1.18 and later, from the settings of PostgreSQL {}:\n\
         ; {} connections for clients, {} cores. Load again with RELOAD after a change.\n",
        live.server_version, live.usable, live.cores
    );
    databases(&mut out, live, of);
    out.push_str("\n[pgbouncer]\n");
    out.push_str(mode_notes(mode));
    let mut used = BTreeSet::new();
    for (title, lines) in derived(live, of, mode) {
        let _ = writeln!(out, "\n; {title}");
        for (key, value) in lines {
            used.insert(key);
            match given.iter().find(|(name, _)| *name == key) {
                Some((_, None)) => {}
                Some((_, Some(value))) => drop(writeln!(out, "{key} = {value}")),
                None => drop(writeln!(out, "{key} = {value}")),
            }
        }
    }
    if mode == "transaction" {
        out.push_str("; pgbouncer 1.21 and later keep prepared statements: max_prepared_statements = 200\n");
    }
    let more: Vec<_> = given.iter().filter(|(name, value)| !used.contains(name) && value.is_some()).collect();
    if !more.is_empty() {
        out.push_str("\n; settings of yours\n");
    }
    for (name, value) in more {
        let _ = writeln!(out, "{name} = {}", value.as_deref().unwrap_or_default());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Live<'static> {
        Live {
            server_version: "15.1",
            host: "/run/it's",
            port: 5433,
            usable: 97,
            passwords: "scram-sha-256",
            idle_in_transaction_seconds: 0,
            cores: 8,
        }
    }

    fn database(name: &str, pool: u32) -> Database {
        Database { name: name.into(), pool, is_measured: true }
    }

    fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
        let mut found = text.lines().filter_map(|l| l.strip_prefix(key)?.strip_prefix(" = "));
        let value = found.next();
        assert!(found.next().is_none(), "{key} twice");
        value
    }

    #[test]
    fn the_pools_fit_into_the_server() {
        for (usable, pool, many) in
            [(97, 17, 1), (97, 17, 5), (97, 200, 1), (97, 200, 7), (1, 5, 1), (3, 9, 2)]
        {
            let live = Live { usable, ..live() };
            let databases: Vec<_> = (0..many).map(|n| database(&format!("d{n}"), pool)).collect();
            let text = render(&live, &databases, "transaction", &[]);
            let number = |key| value(&text, key).expect(key).parse::<u32>().expect("a number");
            let most = number("max_db_connections");
            assert!(most * many <= usable.max(many), "{text}");
            assert!(number("default_pool_size") + number("reserve_pool_size") <= most, "{text}");
            assert!((1..=most).contains(&number("default_pool_size")), "{text}");
            assert!(number("min_pool_size") <= number("default_pool_size"), "{text}");
        }
    }

    #[test]
    fn names_and_hosts_are_quoted_or_stood_in_for() {
        let names = ["a b", "a_b", "a'b", "pgbouncer", "plain.db-1", "größe"];
        let databases: Vec<_> = names.iter().map(|name| database(name, 3)).collect();
        let text = render(&live(), &databases, "transaction", &[]);
        let keys: Vec<_> = text.lines().filter(|l| l.contains(" = host=")).collect();
        let starts = ["a_b_2 =", "a_b =", "a_b_3 =", "pgbouncer_db =", "plain.db-1 =", "gr__e ="];
        assert_eq!(keys[0], "a_b_2 = host='/run/it''s' port=5433 dbname='a b'");
        assert!(keys.iter().zip(starts).all(|(key, start)| key.starts_with(start)), "{keys:?}");
    }

    #[test]
    fn what_is_given_takes_the_place_of_ours() {
        let given = [
            ("listen_addr", Some(String::new())),
            ("auth_file", None),
            ("verbose", Some("1".into())),
            ("user", None),
        ];
        let text = render(&live(), &[database("d", 5)], "session", &given);
        assert_eq!(value(&text, "listen_addr"), Some(""));
        assert_eq!(value(&text, "auth_file"), None);
        assert_eq!(value(&text, "verbose"), Some("1"));
        assert_eq!(value(&text, "user"), None);
        assert_eq!(value(&text, "pool_mode"), Some("session"));
    }

    #[test]
    fn every_line_of_ours_is_a_setting() {
        for (_, lines) in derived(&live(), &[database("d", 5)], "transaction") {
            assert!(lines.iter().all(|(key, value)| is_setting(key) && value_is_good(value).is_ok()));
        }
        assert!(!is_setting("") && !is_setting("max_prepared_statements") && !is_setting("conffile"));
        assert!(value_is_good("a\nb = c").is_err());
    }

    #[test]
    fn the_server_ends_what_it_is_told_to_end() {
        let text = render(
            &Live { idle_in_transaction_seconds: 60, passwords: "md5", ..live() },
            &[database("d", 5)],
            "transaction",
            &[],
        );
        assert_eq!(value(&text, "idle_transaction_timeout"), Some("0"));
        assert_eq!(value(&text, "auth_type"), Some("md5"));
        assert_eq!(
            value(&render(&live(), &[database("d", 5)], "transaction", &[]), "idle_transaction_timeout"),
            Some("300")
        );
    }
}
