//! A cluster that may be killed in every way and comes up again. Its postmaster is our own child: a killed process that
//! nobody waits for stays as a zombie, and a zombie's lock file looks like that of a server that runs.

use neobank_sessions::postgres::{Client, Config, NoTls};
use neobank_sessions::{Ask, Scratch, bindir_tool, os_user_ids, run_tool};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PORT: u16 = 5432;
const PATIENCE: Duration = Duration::from_secs(120);

/// Stopped and removed when the test ends or panics.
pub struct Server {
    folder: Scratch,
    postmaster: Option<Child>,
}

/// Connects to the server whose sockets are in the folder.
pub fn try_connect(folder: &Path, database: &str) -> Result<Client, neobank_sessions::postgres::Error> {
    Config::new()
        .host_path(folder)
        .port(PORT)
        .user("postgres")
        .dbname(database)
        .connect_timeout(PATIENCE)
        .connect(NoTls)
}

/// Whether there was such a process to send it to.
fn send(process: i64, signal: &str) -> bool {
    let mut command = Command::new("kill");
    let status = command.args([signal, &process.to_string()]).stderr(Stdio::null()).status();
    status.expect("kill is everywhere").success()
}

fn tool(program: &str) -> PathBuf {
    bindir_tool(program).unwrap_or_else(|| panic!("the server under test has no {program}"))
}

impl Server {
    /// A new cluster with the settings added to its own, up and running, with a database named bank and no other: crash
    /// recovery begins by syncing every file, and most files would be those of databases that nobody uses. `name` is
    /// the test's alone.
    pub fn create(name: &str, settings: &str) -> Server {
        let server = Server::in_folder(name);
        let mut initdb = server.command(&tool("initdb"));
        // With checksums a page that was torn by a kill is found as such.
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-k", "-N", "--wal-segsize=1", "-D"]);
        run_tool(initdb.arg(server.data()));
        server.add_settings(&format!(
            "listen_addresses = ''\nport = {PORT}\nmax_connections = 60\nshared_buffers = 64MB\n\
             log_min_messages = log\nlog_line_prefix = '%m [%p] %b '"
        ));
        let mut server = server.within_folder(settings);
        server.spawn();
        server.wait_until_it_answers("postgres");
        try_connect(server.folder(), "postgres").expect("it has just answered").run("create database bank");
        let mut session = server.connect();
        for database in ["template0", "template1", "postgres"] {
            session.run(&format!("alter database {database} is_template false"));
            session.run(&format!("drop database {database} with (force)"));
        }
        server
    }

    /// A folder that its user may write to, and nothing in it.
    pub(crate) fn in_folder(name: &str) -> Server {
        let folder = Scratch::new(&format!("nbt_{}_{name}", std::process::id()));
        if let Some((user, group)) = os_user_ids() {
            chown(folder.path(), Some(user), Some(group)).expect("root may chown");
        }
        Server { folder, postmaster: None }
    }

    /// The same with its sockets in its own folder.
    pub(crate) fn within_folder(self, settings: &str) -> Server {
        self.add_settings(&format!("unix_socket_directories = '{}'\n{settings}", self.folder.path().display()));
        self
    }

    /// Settings from the next start on; the last word counts.
    pub fn add_settings(&self, settings: &str) {
        let conf = self.data().join("postgresql.conf");
        let text = fs::read_to_string(&conf).expect("it is there");
        fs::write(&conf, format!("{text}\n{settings}\n")).expect("the settings are written");
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.file("data")
    }

    pub fn log(&self) -> String {
        fs::read(self.folder.file("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// A program of the server, run by its user.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env("LC_ALL", "C").stdin(Stdio::null());
        if let Some((user, group)) = os_user_ids() {
            command.uid(user).gid(group);
        }
        command
    }

    /// Starts the postmaster and waits for nothing.
    pub fn spawn(&mut self) {
        self.clear_empty_locks();
        let log = OpenOptions::new().create(true).append(true).open(self.folder.file("log")).expect("a log");
        let errors = log.try_clone().expect("a second handle of the log");
        let mut command = self.command(&tool("postgres"));
        let child = command.arg("-D").arg(self.data()).stdout(log).stderr(errors).spawn();
        self.postmaster = Some(child.expect("postgres starts"));
    }

    /// A postmaster that is killed between making a lock file and writing into it leaves it empty, which no later one
    /// takes over: a person removes it, as the server's hint says.
    fn clear_empty_locks(&self) {
        for folder in [self.folder(), &self.data()] {
            let files = fs::read_dir(folder).into_iter().flatten().flatten();
            let locks = files.filter(|file| {
                let name = file.file_name().to_string_lossy().into_owned();
                name == "postmaster.pid" || name.ends_with(".lock")
            });
            for lock in locks.filter(|lock| lock.metadata().is_ok_and(|found| found.len() == 0)) {
                fs::remove_file(lock.path()).expect("the folder is ours");
            }
        }
    }

    /// Starts it and waits until it answers.
    pub fn start(&mut self) {
        self.spawn();
        self.wait_until_up();
    }

    /// Starts it again and again while processes of the one before hold its memory; waits for the end of recovery.
    pub fn wait_until_up(&mut self) {
        self.wait_until_it_answers("bank");
    }

    fn wait_until_it_answers(&mut self, database: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok(mut session) = try_connect(self.folder(), database)
                && session.try_lines("select 1").is_ok()
            {
                return;
            }
            assert!(Instant::now() < until, "the server does not come up:\n{}", self.log());
            if self.ended() {
                self.spawn();
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the postmaster has ended by itself.
    pub fn wait_until_down(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !self.ended() {
            assert!(Instant::now() < until, "the server does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the postmaster is no more.
    pub fn ended(&mut self) -> bool {
        let Some(child) = &mut self.postmaster else { return true };
        let ended = child.try_wait().expect("it is our child").is_some();
        if ended {
            self.postmaster = None;
        }
        ended
    }

    pub fn connect(&self) -> Client {
        let until = Instant::now() + PATIENCE;
        loop {
            match try_connect(self.folder(), "bank") {
                Ok(client) => return client,
                Err(error) if Instant::now() > until => panic!("{error}\n{}", self.log()),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Kills the postmaster with -9. Its children notice in their own time, and may finish what they are at.
    pub fn kill_postmaster(&mut self) {
        let Some(mut child) = self.postmaster.take() else { return };
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// `pg_ctl stop -m immediate`: every process is told to leave everything as it is.
    pub fn stop_immediately(&mut self) {
        let mut command = self.command(&tool("pg_ctl"));
        run_tool(command.args(["-s", "-w", "-t", "60", "-m", "immediate", "stop", "-D"]).arg(self.data()));
        if let Some(mut child) = self.postmaster.take() {
            child.wait().expect("it is our child");
        }
    }

    /// Ends it cleanly.
    pub fn shut_down(&mut self) {
        let Some(mut child) = self.postmaster.take() else { return };
        send(child.id().into(), "-INT");
        child.wait().expect("it is our child");
    }

    /// Sends the signal to a process of this cluster, and says whether it was there. One that has ended meanwhile may
    /// have left its number to somebody else's.
    pub fn signal(&self, process: i64, signal: &str) -> bool {
        let home = fs::read_link(format!("/proc/{process}/cwd"));
        (home.is_ok_and(|home| home == self.data()) || !Path::new("/proc/self").exists()) && send(process, signal)
    }

    /// Processes of this cluster by what their title says, postmaster aside.
    pub fn process_titled(&self, title: &str) -> Option<i64> {
        let postmaster = self.postmaster.as_ref()?.id();
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).ok()?;
        let titled = |process: &&str| {
            fs::read_to_string(format!("/proc/{process}/cmdline")).is_ok_and(|line| line.contains(title))
        };
        children.split(' ').filter(|process| !process.is_empty()).find(titled)?.parse().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.postmaster.take() {
            send(child.id().into(), "-QUIT");
            let _ = child.wait();
        }
        // Children of a postmaster that was killed write until they notice.
        let until = Instant::now() + Duration::from_secs(20);
        while works_in(&self.data()) && Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether a process of ours has the folder as its own, where the system tells.
fn works_in(folder: &Path) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.map(|process| process.path().join("cwd")).any(|cwd| fs::read_link(cwd).is_ok_and(|cwd| cwd == folder))
}
