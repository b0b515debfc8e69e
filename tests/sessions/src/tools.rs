//! The server's own programs, and where things are.

use postgres::{Client, Config, NoTls};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

pub struct Server {
    pub socket_dir: String,
    pub port: u16,
    /// The operating system's user who runs the server.
    pub os_user: String,
    pub superuser: String,
    pub pg_config: Option<String>,
    pub log: Option<PathBuf>,
}

/// The server the environment names; a test that has none cannot run at all.
pub fn server() -> Server {
    let want = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} must name the server under test"));
    Server {
        socket_dir: want("NEOBANK_SOCKET_DIR"),
        port: want("NEOBANK_PORT").parse().expect("NEOBANK_PORT is a port"),
        os_user: env::var("NEOBANK_OS_USER").unwrap_or_else(|_| "postgres".to_owned()),
        superuser: env::var("PGUSER").unwrap_or_else(|_| "postgres".to_owned()),
        pg_config: env::var("NEOBANK_PG_CONFIG").ok(),
        log: env::var("NEOBANK_LOG").ok().map(PathBuf::from),
    }
}

impl Server {
    pub fn connect(&self, database: &str, role: &str) -> Result<Client, postgres::Error> {
        Config::new()
            .host_path(&self.socket_dir)
            .port(self.port)
            .user(role)
            .dbname(database)
            .application_name("neobank-sessions")
            .connect(NoTls)
    }

    /// A program of this server with the connection options every one takes.
    pub fn tool(&self, program: &Path, database: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(["-h", &self.socket_dir, "-p", &self.port.to_string()])
            .args(["-U", &self.superuser, "-d", database])
            .env_remove("PGOPTIONS")
            .stdin(Stdio::null());
        command
    }
}

/// A program out of the server's own bin folder; none where it lacks it.
pub fn bindir_tool(program: &str) -> Option<PathBuf> {
    let pg_config = server().pg_config?;
    let output = Command::new(&pg_config).arg("--bindir").output().unwrap_or_else(|e| panic!("{pg_config}: {e}"));
    let bindir = String::from_utf8(output.stdout).expect("a path in UTF-8");
    let path = Path::new(bindir.trim()).join(program);
    path.is_file().then_some(path)
}

/// psql, of any version: the server's own, else the first on the PATH.
pub fn psql() -> Option<PathBuf> {
    let on_path = || env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join("psql")).find(|path| path.is_file());
    bindir_tool("psql").or_else(on_path)
}

/// Says on standard error what was not tested and why.
pub fn skipped(what: &str, why: &str) {
    say(&format!("SKIPPED: {what}: {why}"));
}

/// A proof's result in figures, with what repeats it: how many operations, faults and seconds, and the seed.
pub fn figure(what: &str, figures: &str) {
    say(&format!("FIGURE: {what}: {figures}"));
}

/// A line on standard error for whoever waits. Not by `eprintln!`, which the test runner swallows when the test passes.
pub fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("standard error takes a line");
}

/// A number from the environment; none where it is empty too, which is how make hands on what nobody gave.
pub fn given(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The size of a proof or its seed, from the environment of that name.
pub fn setting(name: &str, default: u64) -> u64 {
    given(name).unwrap_or(default)
}

/// Runs it to its end; what it printed, or a panic with what it complained about.
pub fn run_tool(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text in UTF-8")
}

/// What a proof draws by: SEED, to repeat a run; the same each time where REPEATABLE is set, as in CI, so that a change
/// of the code is what makes the difference; else the clock.
pub fn seed() -> u64 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_nanos() as u64;
    setting("SEED", if setting("REPEATABLE", 0) > 0 { 1 } else { clock % 1_000_000_000 })
}

/// The user and group to start a helper server as: none when we are not root.
pub fn os_user_ids() -> Option<(u32, u32)> {
    let id =
        |args: &[&str]| -> u32 { run_tool(Command::new("id").args(args)).trim().parse().expect("id prints a number") };
    let user = server().os_user;
    (id(&["-u"]) == 0).then(|| (id(&["-u", &user]), id(&["-g", &user])))
}

/// Asked for when the tests run: a build folder that two checkouts share may hold the other one's binary.
pub fn repository_root() -> PathBuf {
    let crate_folder = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&crate_folder).join("../..")
}

/// A folder for one test's files, removed when the test ends or panics.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let folder = env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a temporary folder");
        Scratch(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cleaning up: {}: {error}", self.0.display());
        }
    }
}
