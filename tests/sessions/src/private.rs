//! A cluster of a test's own, with settings that the shared one does not have, and which may be killed.

use crate::Ask;
use crate::tools::{Scratch, bindir_tool, os_user_ids, run_tool};
use postgres::{Client, NoTls};
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PORT: u16 = 5432;

/// Stopped and removed when the test ends or panics.
pub struct PrivateCluster {
    scratch: Scratch,
    pg_ctl: PathBuf,
}

impl PrivateCluster {
    /// None where the server's programs cannot be found. `name` is the test's alone.
    pub fn start(name: &str, settings: &str) -> Option<PrivateCluster> {
        PrivateCluster::made(name, settings, &[])
    }

    /// One whose pages carry checksums.
    pub fn with_checksums(name: &str, settings: &str) -> Option<PrivateCluster> {
        PrivateCluster::made(name, settings, &["--data-checksums"])
    }

    fn made(name: &str, settings: &str, options: &[&str]) -> Option<PrivateCluster> {
        let (initdb, pg_ctl) = (bindir_tool("initdb")?, bindir_tool("pg_ctl")?);
        let scratch = Scratch::new(&format!("nbt_{}_{name}", std::process::id()));
        if let Some((user, group)) = os_user_ids() {
            chown(scratch.path(), Some(user), Some(group)).expect("root may chown");
        }
        let cluster = PrivateCluster { scratch, pg_ctl };
        let data = cluster.data();
        run_tool(
            cluster
                .command(&initdb)
                .arg("-D")
                .arg(&data)
                .args(["-U", "postgres", "-A", "trust"])
                .args(["-E", "UTF8", "--locale=C"])
                .args(options),
        );
        let conf = data.join("postgresql.conf");
        let mut text = fs::read_to_string(&conf).expect("initdb wrote it");
        text.push_str(&format!(
            "\nlisten_addresses = ''\nport = {PORT}\nunix_socket_directories = '{}'\n{settings}\n",
            cluster.scratch.path().display()
        ));
        fs::write(&conf, text).expect("the settings are written");
        cluster.run("start");
        Some(cluster)
    }

    /// A standby of this cluster by streaming replication, in a cluster of its own, with a slot of its name. None where
    /// the server's programs cannot be found.
    pub fn standby(&self, name: &str, settings: &str) -> Option<PrivateCluster> {
        let base_backup = bindir_tool("pg_basebackup")?;
        let scratch = Scratch::new(&format!("nbt_{}_{name}", std::process::id()));
        if let Some((user, group)) = os_user_ids() {
            chown(scratch.path(), Some(user), Some(group)).expect("root may chown");
        }
        let standby = PrivateCluster { scratch, pg_ctl: self.pg_ctl.clone() };
        let primary =
            format!("host={} port={PORT} user=postgres application_name={name}", self.scratch.path().display());
        run_tool(
            standby
                .command(&base_backup)
                .arg("-D")
                .arg(standby.data())
                .args(["-d", &primary])
                .args(["-R", "-X", "stream", "-c", "fast", "-C", "-S", name]),
        );
        let conf = standby.data().join("postgresql.conf");
        let mut text = fs::read_to_string(&conf).expect("it was copied");
        text.push_str(&format!("\nunix_socket_directories = '{}'\n{settings}\n", standby.scratch.path().display()));
        fs::write(&conf, text).expect("the settings are written");
        standby.run("start");
        Some(standby)
    }

    /// Stops it, with a checkpoint.
    pub fn stop(&self) {
        self.run("stop");
    }

    fn data(&self) -> PathBuf {
        self.scratch.file("data")
    }

    /// A program of the server, run by its user.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.scratch.path()).env("LC_ALL", "C").stdin(Stdio::null());
        if let Some((user, group)) = os_user_ids() {
            command.uid(user).gid(group);
        }
        command
    }

    fn run(&self, action: &str) {
        let mut command = self.command(&self.pg_ctl);
        command.args(["-s", "-w", "-t", "60", "-m", "fast", "-D"]).arg(self.data());
        // What it starts lives on and must not hold our pipes open.
        command.arg("-l").arg(self.scratch.file("log")).arg(action).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().expect("pg_ctl starts");
        assert!(status.success(), "pg_ctl {action}: {status}\n{}", self.log());
    }

    pub fn restart(&self) {
        self.run("restart");
    }

    /// Adds to the settings, and lets the server read them.
    pub fn reload(&self, settings: &str) {
        let conf = self.data().join("postgresql.conf");
        let text = fs::read_to_string(&conf).expect("it is there");
        fs::write(&conf, format!("{text}\n{settings}\n")).expect("the settings are written");
        self.run("reload");
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.file("log")).unwrap_or_default()
    }

    /// Waits for a server that comes up again after a crash.
    pub fn connect(&self, database: &str) -> Client {
        for _ in 0..600 {
            let connected = postgres::Config::new()
                .host_path(self.scratch.path())
                .port(PORT)
                .user("postgres")
                .dbname(database)
                .connect(NoTls);
            if let Ok(client) = connected {
                return client;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("the cluster does not answer\n{}", self.log());
    }

    /// Waits until the condition holds, no longer than so many seconds.
    pub fn wait_for(&self, db: &mut Client, condition: &str, seconds: u64) {
        let until = Instant::now() + Duration::from_secs(seconds);
        while db.one(&format!("select {condition}")) != "t" {
            assert!(Instant::now() < until, "{condition} never came to be: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The server takes all sessions down when one of its processes is killed, and recovers: a session from after that.
    pub fn after_crash(&self, mut before: Client, database: &str, seconds: u64) -> Client {
        let until = Instant::now() + Duration::from_secs(seconds);
        while before.try_lines("select 1").is_ok() {
            assert!(Instant::now() < until, "the server went on: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
        self.connect(database)
    }

    /// Stops, puts `folder` in the place of that folder of the data with what is in it, and starts again.
    pub fn move_folder(&self, name: &str, folder: &Path) {
        self.run("stop");
        let (from, to) = (self.data().join(name), folder.join(name));
        run_tool(Command::new("cp").arg("-a").args([&from, &to]));
        fs::remove_dir_all(&from).expect("it was copied");
        std::os::unix::fs::symlink(&to, &from).expect("its place is free");
        self.run("start");
    }

    /// The folder of the cluster's data and socket.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Stops without a checkpoint, and starts with that much address space for each process, where a number is given.
    pub fn restart_within(&self, bytes: Option<u64>) {
        let mut stop = self.command(&self.pg_ctl);
        stop.args(["-s", "-w", "-t", "60", "-m", "immediate", "-D"]).arg(self.data()).arg("stop");
        run_tool(&mut stop);
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| (bytes / 1_024).to_string());
        let mut start = self.command(Path::new("/bin/sh"));
        start.args(["-c", "ulimit -v \"$1\"; shift; exec \"$@\"", "sh", &limit]).arg(&self.pg_ctl);
        start
            .args(["-s", "-w", "-t", "60", "-D"])
            .arg(self.data())
            .arg("-l")
            .arg(self.scratch.file("log"))
            .arg("start");
        start.env_remove("RUST_BACKTRACE").stdout(Stdio::null()).stderr(Stdio::null());
        let status = start.status().expect("a shell starts");
        assert!(status.success(), "the server does not start within {limit} kB: {status}\n{}", self.log());
    }

    /// Kills the postmaster with -9, waits until all its processes have noticed, and starts again.
    pub fn crash(&self) {
        let pid_file = self.data().join("postmaster.pid");
        let text = fs::read_to_string(&pid_file).expect("a running server has one");
        let postmaster = text.lines().next().and_then(|line| line.parse().ok()).expect("its first line is a number");
        self.kill(postmaster);
        self.start_after_death();
    }

    /// Waits until no process of the server that died is left, and starts it again.
    pub fn start_after_death(&self) {
        let works_here =
            |entry: fs::DirEntry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == self.data());
        let waited = std::time::Instant::now();
        while fs::read_dir("/proc").expect("Linux has it").flatten().any(works_here) {
            assert!(waited.elapsed() < Duration::from_secs(60), "processes of the killed server go on");
            thread::sleep(Duration::from_millis(20));
        }
        // The number of the killed process may still be taken, by its zombie for one.
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
        let _ = fs::remove_file(self.scratch.file(&format!(".s.PGSQL.{PORT}.lock")));
        self.run("start");
    }

    /// Kills one process of this cluster, as the system does when memory runs out.
    pub fn kill(&self, process: i64) {
        run_tool(Command::new("kill").args(["-9", &process.to_string()]));
    }
}

impl Drop for PrivateCluster {
    fn drop(&mut self) {
        let mut command = self.command(&self.pg_ctl);
        command.args(["-s", "-w", "-t", "60", "-m", "immediate", "-D"]).arg(self.data()).arg("stop");
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
