//! A database of its own for each test, cloned from a template that has the
//! extension, and dropped with its roles when the test ends or panics.

use crate::{Ask, tools::server};
use postgres::Client;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use uuid::Uuid;

static TEMPLATE: OnceLock<(String, Mutex<Client>)> = OnceLock::new();
static COUNTER: AtomicU32 = AtomicU32::new(0);
static CROWD: Mutex<()> = Mutex::new(());

/// Tests with many sessions take turns, so that no number of test threads
/// runs the server out of connections.
pub fn crowd() -> MutexGuard<'static, ()> {
    CROWD.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn maintenance() -> Client {
    let server = server();
    server.connect("postgres", &server.superuser).unwrap_or_else(|e| panic!("no server at {}: {e}", server.socket_dir))
}

/// Drops what a killed run left: its databases and roles carry its session's
/// process id, and that session is gone.
fn reap(client: &mut Client) {
    let gone = "not exists (select from pg_stat_activity s \
        where s.pid = substring(x.name from '^nbt_(\\d+)_')::int)";
    for (kind, names) in
        [("database", "select datname as name from pg_database"), ("role", "select rolname as name from pg_roles")]
    {
        let sql = format!("select quote_ident(x.name) from ({names}) x where x.name ~ '^nbt_\\d+_' and {gone}");
        for name in client.lines(&sql) {
            // A database whose drop was interrupted cannot be altered: the server would close the connection.
            let template = format!("select from pg_database where quote_ident(datname) = '{name}' and datistemplate");
            if kind == "database" && !client.lines(&template).is_empty() {
                let _ = client.try_lines(&format!("alter database {name} is_template false"));
            }
            // Another run may reap the same leftovers at this moment, hence no error of either.
            let _ = client.try_lines(&format!("drop {kind} if exists {name}"));
        }
    }
}

/// The template's name; its owner's session stays open as the sign of life.
fn template() -> &'static str {
    let (name, _) = TEMPLATE.get_or_init(|| {
        let mut client = maintenance();
        reap(&mut client);
        let name = format!("nbt_{}_template", client.one("select pg_backend_pid()"));
        client.run(&format!("create database {name} template template0"));
        let server = server();
        let mut inside = server.connect(&name, &server.superuser).expect("the new database lets us in");
        inside.run("create extension neobank");
        drop(inside);
        client.run(&format!("alter database {name} allow_connections false is_template true"));
        (name, Mutex::new(client))
    });
    name
}

pub struct Bank {
    pub name: String,
    /// A session of the superuser.
    pub db: Client,
    roles: Vec<String>,
}

impl Bank {
    /// A fresh bank without customers.
    pub fn new() -> Bank {
        Bank::from_template(template())
    }

    /// A database without the extension.
    pub fn empty_database() -> Bank {
        // Makes sure that the owner's session, and so the prefix, exists.
        template();
        Bank::from_template("template0")
    }

    fn from_template(source: &str) -> Bank {
        let prefix = template().trim_end_matches("template");
        let name = format!("{prefix}{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        maintenance().run(&format!("create database {name} template {source}"));
        let server = server();
        let db = server.connect(&name, &server.superuser).expect("the new database lets us in");
        Bank { name, db, roles: Vec::new() }
    }

    /// One more session of the superuser.
    pub fn session(&self) -> Client {
        self.session_as(&server().superuser)
    }

    /// The same with its postings on that path.
    pub fn session_on(&self, path: &str) -> Client {
        let mut session = self.session();
        session.run(&format!("set neobank.posting_path = '{path}'"));
        session
    }

    pub fn session_as(&self, role: &str) -> Client {
        server().connect(&self.name, role).unwrap_or_else(|e| panic!("{role} cannot log in: {e}"))
    }

    /// A new login role without any privilege, dropped with the database.
    pub fn role(&mut self, label: &str) -> String {
        let role = format!("{}_{label}", self.name);
        self.db.run(&format!("create role {role} login"));
        self.roles.push(role.clone());
        role
    }

    pub fn customer(&mut self) -> Uuid {
        self.customer_of("null")
    }

    /// A customer of the tenant, given as an SQL literal or `null`.
    pub fn customer_of(&mut self, tenant: &str) -> Uuid {
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        self.db.id(&format!(
            "select banking.create_customer('Ada', 'Lovelace {n}', 'ada{n}@example.org', \
             '+44 20 7946 {n:04}', '1985-12-10', tenant => {tenant})"
        ))
    }

    /// A checking account in USD with this opening deposit.
    pub fn account(&mut self, opening: &str) -> Uuid {
        self.account_with("checking", "USD", opening, "0")
    }

    pub fn account_with(&mut self, kind: &str, currency: &str, opening: &str, limit: &str) -> Uuid {
        let customer = self.customer();
        self.db.id(&format!("select banking.open_account('{customer}', '{kind}', '{currency}', {opening}, {limit})"))
    }

    /// The internal account of this type and currency of the bank itself.
    pub fn internal(&mut self, kind: &str, currency: &str) -> Uuid {
        self.db.id(&format!(
            "select account_id from banking.accounts where customer_id is null \
             and tenant_no = 0 and account_type = '{kind}' and currency_code = '{currency}'"
        ))
    }

    /// Such an account with its balance spread over slots.
    pub fn slotted(&mut self, kind: &str, opening: &str, limit: &str) -> Uuid {
        let account = self.account_with(kind, "USD", opening, limit);
        self.mode(account, "slotted");
        account
    }

    pub fn mode(&mut self, account: Uuid, mode: &str) {
        self.db.run(&format!("select banking.set_balance_mode('{account}', '{mode}')"));
    }

    pub fn slots(&mut self, account: Uuid) -> i64 {
        self.db.count(&format!("select slots from banking.accounts where account_id = '{account}'"))
    }

    /// Gives the account that many slots, by postings that find all of them held; its balance stays.
    pub fn grow(&mut self, account: Uuid, slots: i64) {
        let mut holder = self.session();
        while self.slots(account) < slots {
            let before = self.slots(account);
            holder.run(&format!(
                "begin; select from banking.account_slots where account_id = '{account}' and slot_no <= {before} \
                 for no key update"
            ));
            self.db.run(&format!("select txn_processing.adjust('{account}', 0.01, 'to grow')"));
            holder.run("rollback");
            self.db.run(&format!("select txn_processing.adjust('{account}', -0.01, 'to grow')"));
            assert_eq!(self.slots(account), before + 1, "a posting that finds all slots held makes one");
        }
    }

    pub fn status(&mut self, account: Uuid, status: &str) {
        self.db.run(&format!("select banking.set_account_status('{account}', '{status}', 'for the test')"));
    }

    pub fn backend_of(client: &mut Client) -> i64 {
        client.count("select pg_backend_pid()")
    }

    /// Waits until that backend waits for a lock another session holds.
    pub fn wait_until_blocked(&mut self, backend: i64) {
        for _ in 0..1_000 {
            let blocked = format!("select cardinality(pg_blocking_pids({backend})) > 0");
            if self.db.one(&blocked) == "t" {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("backend {backend} never came to wait for the other session");
    }
}

impl Default for Bank {
    fn default() -> Self {
        Bank::new()
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        let mut client = maintenance();
        // Errors are printed, not raised: a panic on top of a test's own
        // panic would hide it.
        let mut attempt = |sql: String| {
            if let Err(refusal) = client.try_lines(&sql) {
                eprintln!("cleaning up: {refusal}: {sql}");
            }
        };
        attempt(format!("drop database {} with (force)", self.name));
        for role in &self.roles {
            attempt(format!("drop role {role}"));
        }
    }
}
