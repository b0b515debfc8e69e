//! Through a real pgbouncer in transaction mode: a client's next transaction
//! runs on another backend, so nothing may be kept in the session.

use neobank_sessions::*;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// A pgbouncer of our own, ended by its own process id.
struct Pooler {
    process: Child,
    scratch: Scratch,
    port: u16,
}

impl Pooler {
    fn start(bank: &Bank) -> Option<Pooler> {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"]
            .iter()
            .map(PathBuf::from)
            .find(|path| path.is_file())?;
        let server = server();
        let scratch = Scratch::new(&format!("{}_pooler", bank.name));
        let folder = scratch.path();
        // Only the name of its socket: the pooler listens to no network address.
        let port = 6432;
        let settings = format!(
            "[databases]\n{0} = host={1} port={2} dbname={0} user={3}\n[pgbouncer]\n\
             listen_addr =\nlisten_port = {port}\nunix_socket_dir = {4}\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 50\n\
             logfile = {4}/log\npidfile = {4}/pid\n",
            bank.name,
            server.socket_dir,
            server.port,
            server.superuser,
            folder.display()
        );
        let ini = scratch.file("pgbouncer.ini");
        fs::write(&ini, settings).expect("the settings are written");
        let mut command = Command::new(program);
        command.arg("-q").arg(&ini);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        if let Some((user, group)) = os_user_ids() {
            for path in [folder, &ini] {
                chown(path, Some(user), Some(group)).expect("root may chown");
            }
            command.uid(user).gid(group);
        }
        let process = command.spawn().expect("pgbouncer starts");
        Some(Pooler { process, scratch, port })
    }

    fn connect(&self, database: &str) -> Client {
        let mut last = None;
        for _ in 0..100 {
            match postgres::Config::new()
                .host_path(self.scratch.path())
                .port(self.port)
                .user("anyone")
                .dbname(database)
                .connect(postgres::NoTls)
            {
                Ok(client) => return client,
                Err(error) => last = Some(error),
            }
            thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.scratch.file("log")).unwrap_or_default();
        panic!("pgbouncer does not answer: {last:?}\n{log}");
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // Our own child, not yet waited for, so the id is still its own.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn transfers_interleave_over_a_few_backends() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let Some(pooler) = Pooler::start(&bank) else {
        skipped("the ledger behind pgbouncer", "pgbouncer is not installed");
        return;
    };
    let a = bank.account("1000");
    let b = bank.account("1000");
    let clients: Vec<Client> = (0..8).map(|_| pooler.connect(&bank.name)).collect();
    let workers: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(n, mut client)| {
            let (from, to) = if n % 2 == 0 { (a, b) } else { (b, a) };
            thread::spawn(move || {
                let mut backends = HashSet::new();
                for turn in 0..60 {
                    let id = Uuid::now_v7();
                    let call = format!(
                        "select txn_processing.transfer('{from}', '{to}', 1, \
                         transaction_id => '{id}')"
                    );
                    if turn % 3 == 0 {
                        client.run("begin");
                        client.run(&call);
                        client.run("commit");
                    } else {
                        client.run(&call);
                    }
                    // The retry lands on whatever backend is free.
                    let line = client.one(&format!(
                        "select pg_backend_pid(), x from txn_processing.transfer('{from}', \
                         '{to}', 1, transaction_id => '{id}') x"
                    ));
                    let (backend, answer) = line.split_once('|').expect("two columns");
                    assert_eq!(answer, id.to_string());
                    backends.insert(backend.to_owned());
                    if turn % 10 == 0 {
                        let refusal =
                            client.fails(&format!("select txn_processing.transfer('{from}', '{to}', 1000000)"));
                        assert_eq!(refusal.code, "NB001", "{refusal}");
                    }
                }
                backends
            })
        })
        .collect();
    let per_client: Vec<HashSet<String>> =
        workers.into_iter().map(|worker| worker.join().expect("no client fails")).collect();
    let all: HashSet<&String> = per_client.iter().flatten().collect();
    assert!(all.len() <= 3, "the pool has three backends: {all:?}");
    assert!(
        per_client.iter().any(|backends| backends.len() > 1),
        "no client ever changed its backend, so nothing was shown"
    );
    let posted = "select count(*) from txn_processing.movements where transaction_type = 'transfer'";
    assert_eq!(bank.db.count(posted), 480);
    assert_eq!(bank.db.balance(a), dec("1000"));
    audit(&mut bank.db);
}
