//! The configuration that pooling.generate_pgbouncer_config writes, in a real pgbouncer: it loads without a complaint,
//! says what was meant, serves clients with no more backends than that, and follows the advice while it runs.

use neobank_sessions::*;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Ended by its own process id.
struct Pgbouncer {
    process: Child,
    scratch: Scratch,
}

impl Pgbouncer {
    fn program() -> Option<PathBuf> {
        let paths = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"];
        paths.iter().map(PathBuf::from).find(|path| path.is_file())
    }

    /// With that text, and users with what pg_authid has of their passwords.
    fn start(program: &Path, scratch: Scratch, text: &str, users: &[String]) -> Pgbouncer {
        let files = [("pgbouncer.ini", text.to_owned()), ("userlist.txt", users.join("\n") + "\n")];
        let paths = files.map(|(name, content)| {
            let path = scratch.file(name);
            fs::write(&path, content).expect("the file is written");
            path
        });
        let mut command = Command::new(program);
        command.arg(&paths[0]).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(scratch.file("stderr")).expect("the folder is ours"));
        if let Some((user, group)) = os_user_ids() {
            for path in [scratch.path(), &paths[0], &paths[1]] {
                chown(path, Some(user), Some(group)).expect("root may chown");
            }
            command.uid(user).gid(group);
        }
        Pgbouncer { process: command.spawn().expect("pgbouncer starts"), scratch }
    }

    fn log(&self) -> String {
        ["stderr", "log"].map(|name| fs::read_to_string(self.scratch.file(name)).unwrap_or_default()).concat()
    }

    fn connect(&self, database: &str, user: &str) -> Client {
        let mut last = None;
        for _ in 0..100 {
            let connected = postgres::Config::new()
                .host_path(self.scratch.path())
                .port(6432)
                .user(user)
                .password("secret")
                .dbname(database)
                .connect(postgres::NoTls);
            match connected {
                Ok(client) => return client,
                Err(error) => last = Some(error),
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("pgbouncer does not answer: {last:?}\n{}", self.log());
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        // Our own child, not yet waited for, so the id is still its own.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the file says of a setting.
fn written<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))
        .unwrap_or_else(|| panic!("{key} is not there\n{text}"))
}

/// A role with a password and the rights of a teller, and its line for pgbouncer.
fn user(bank: &mut Bank, label: &str) -> (String, String) {
    let role = bank.role(label);
    bank.db.run(&format!("alter role {role} password 'secret'; select neobank.grant_usage('{role}', 'teller')"));
    let secret = bank.db.one(&format!("select rolpassword from pg_authid where rolname = '{role}'"));
    let line = format!("\"{role}\" \"{secret}\"");
    (role, line)
}

/// The settings that are this machine's, as a test has it.
fn own_settings(scratch: &Scratch, admin: &str) -> String {
    let folder = scratch.path().display();
    format!(
        "{{\"listen_addr\": \"\", \"unix_socket_dir\": \"{folder}\", \"logfile\": \"{folder}/log\", \
          \"pidfile\": \"{folder}/pid\", \"auth_file\": \"{folder}/userlist.txt\", \"admin_users\": \"{admin}\", \
          \"verbose\": 0}}"
    )
}

#[test]
fn pgbouncer_runs_with_the_configuration_and_follows_the_advice() {
    let _crowd = crowd();
    let Some(program) = Pgbouncer::program() else {
        skipped("the generated configuration in pgbouncer", "pgbouncer is not installed");
        return;
    };
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("1000"));
    let (teller, line) = user(&mut bank, "teller");
    let odd = format!("{} odd=one", bank.name);
    bank.db.run(&format!("create database \"{odd}\" template template0"));
    let scratch = Scratch::new(&format!("{}_bouncer", bank.name));
    let settings = own_settings(&scratch, &teller);
    let text = bank.db.one(&format!(
        "select pooling.generate_pgbouncer_config(array[current_database(), $q${odd}$q$], pool_size => 3, settings => '{settings}')"
    ));
    let bouncer = Pgbouncer::start(&program, scratch, &text, &[line]);

    // What it says of itself is what the file says, line by line.
    let mut console = bouncer.connect("pgbouncer", &teller);
    let shown = console.lines("show config");
    let section = text.split("[pgbouncer]").nth(1).expect("it is there");
    let mut compared = 0;
    for (key, value) in section.lines().filter(|l| !l.starts_with(';')).filter_map(|l| l.split_once(" = ")) {
        let start = format!("{key}|{value}|");
        assert!(shown.iter().any(|line| line.starts_with(&start)), "{start} is not among {shown:#?}");
        compared += 1;
    }
    assert!(compared > 20, "{compared} settings of\n{text}");

    transfers_share_the_pool(&bouncer, &bank.name, &teller, a, b);
    assert_eq!(bank.db.balance(a), dec("1000"));
    audit(&mut bank.db);

    // A name that pgbouncer cannot write stands under another one.
    let alias = odd.replace([' ', '='], "_");
    assert_eq!(bouncer.connect(&alias, &teller).one("select current_database()"), odd);

    follows_the_advice(&mut bank, &mut console, &bouncer, &teller);
    let log = bouncer.log();
    let complaints: Vec<_> =
        log.lines().filter(|l| ["WARNING", "ERROR", "FATAL"].iter().any(|word| l.contains(word))).collect();
    assert!(complaints.is_empty() && log.contains("process up"), "{complaints:#?}\n{log}");
    drop((console, bouncer));
    bank.db.run(&format!("drop database \"{odd}\" with (force)"));
}

fn transfers_share_the_pool(bouncer: &Pgbouncer, database: &str, teller: &str, a: Uuid, b: Uuid) {
    let clients: Vec<Client> = (0..9).map(|_| bouncer.connect(database, teller)).collect();
    let workers: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(n, mut client)| {
            let (from, to) = if n < 6 && n % 2 == 0 { (a, b) } else { (b, a) };
            thread::spawn(move || {
                let mut backends = HashSet::new();
                for _ in 0..10 {
                    if n < 6 {
                        client.run(&format!("select txn_processing.transfer('{from}', '{to}', 1)"));
                    }
                    client.run("begin");
                    backends.insert(client.one("select pg_backend_pid()"));
                    client.run("commit");
                }
                backends
            })
        })
        .collect();
    let mut backends = HashSet::new();
    for worker in workers {
        backends.extend(worker.join().expect("no client fails"));
    }
    assert!((1..=3).contains(&backends.len()), "nine clients had {backends:?}, and the pool is of three");
}

/// A load of 800 transactions of 20 ms in a second: the pool of three grows while it runs.
fn follows_the_advice(bank: &mut Bank, console: &mut Client, bouncer: &Pgbouncer, teller: &str) {
    bank.db.run(
        "insert into pooling.load_samples select now() - (10 - n) * interval '60 s', current_database(), 200, 197, 3, \
         n * 48000, n * 960000, 0, n, 0, '2020-01-01' from generate_series(0, 10) n",
    );
    let size = bank.db.one("select pooling.advised_pool_size(3, '1 hour', 16)");
    assert_eq!(size, "20");
    console.run(&format!("SET default_pool_size = {size}"));
    let mut held: Vec<Client> = (0..6).map(|_| bouncer.connect(&bank.name, teller)).collect();
    let backends: HashSet<String> = held
        .iter_mut()
        .map(|client| {
            client.run("begin");
            client.one("select pg_backend_pid()")
        })
        .collect();
    assert_eq!(backends.len(), 6, "six transactions at once want six backends");
    // What it tells of itself is a row of pool_stats.
    let row = console
        .lines("show pools")
        .into_iter()
        .find(|line| line.starts_with(&format!("{}|", bank.name)))
        .expect("the pool is there");
    let columns: Vec<&str> = row.split('|').collect();
    bank.db.run(&format!(
        "insert into pooling.pool_stats (pool_name, client_connections, server_connections, server_active, max_wait_ms) \
         values ('{0}', {1} + {2}, {3} + {4}, {3}, {5} * 1000 + {6} / 1000)",
        columns[0], columns[2], columns[3], columns[6], columns[9], columns[13], columns[14]
    ));
    let size = "select detail ~ 'a pool of ([6-9]|1[0-9]|20):' from pooling.advice(null, '1 hour', 16) where check_id = 'pool_size'";
    assert_eq!(bank.db.one(size), "t", "{row}");
}

#[test]
fn each_mode_is_written_as_the_live_server_wants_it() {
    let mut bank = Bank::new();
    for mode in ["transaction", "session", "statement"] {
        let text = bank.db.one(&format!("select pooling.generate_pgbouncer_config(pool_mode => '{mode}')"));
        assert_eq!(written(&text, "pool_mode"), mode);
        assert!(text.contains(&format!("; {mode}: ")), "the mode is explained\n{text}");
        let server = server();
        let entry = format!("{0} = host='{1}' port={2} dbname='{0}'", bank.name, server.socket_dir, server.port);
        assert!(text.lines().any(|line| line == entry), "{entry} is not in\n{text}");
    }
    let of = |db: &mut Client, key: &str| {
        let text = db.one("select pooling.generate_pgbouncer_config(cores => 4)");
        written(&text, key).to_owned()
    };
    assert_eq!(of(&mut bank.db, "default_pool_size"), "9");
    assert_eq!(of(&mut bank.db, "auth_type"), "scram-sha-256");
    bank.db.run("set password_encryption = 'md5'");
    assert_eq!(of(&mut bank.db, "auth_type"), "md5");
    assert_eq!(of(&mut bank.db, "idle_transaction_timeout"), "300");
    bank.db.run("set idle_in_transaction_session_timeout = '1500ms'");
    assert_eq!(of(&mut bank.db, "idle_transaction_timeout"), "0");
    let most: i64 = of(&mut bank.db, "max_db_connections").parse().expect("a number");
    assert_eq!(most, bank.db.count("select pooling.usable_connections() * 4 / 5"));
    // Who may not see where the sockets are is given the address.
    let reader = bank.role("reader");
    bank.db.run(&format!("select neobank.grant_usage('{reader}', 'reader')"));
    let text = bank.session_as(&reader).one("select pooling.generate_pgbouncer_config()");
    assert!(text.contains(" = host='localhost' "), "{text}");
    let given = bank.db.one("select pooling.generate_pgbouncer_config(host => 'db.example.org')");
    assert!(given.contains(" = host='db.example.org' "), "{given}");
}
