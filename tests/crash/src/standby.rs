//! A streaming standby, made by a backup that is taken while the primary is under load. The backup is the low-level one,
//! because not every server comes with pg_basebackup.

use crate::Server;
use neobank_sessions::{Ask, os_user_ids};
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Folders of which the copy has only themselves.
const EMPTY: [&str; 7] =
    ["pg_wal", "pg_replslot", "pg_stat_tmp", "pg_subtrans", "pg_notify", "pg_dynshmem", "pg_snapshots"];
const LEFT_OUT: [&str; 3] = ["postmaster.pid", "postmaster.opts", "pg_internal.init"];

fn make_folder(folder: &Path, owner: Option<(u32, u32)>) {
    DirBuilder::new().mode(0o700).create(folder).expect("a folder for the copy");
    if let Some((user, group)) = owner {
        chown(folder, Some(user), Some(group)).expect("root may chown");
    }
}

/// Copies what is there. What goes away meanwhile is not missed: the log of the time of the backup is replayed.
fn copy(from: &Path, to: &Path, owner: Option<(u32, u32)>) {
    make_folder(to, owner);
    for entry in fs::read_dir(from).expect("a folder of the primary") {
        let entry = entry.expect("an entry of a folder");
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        let name = name.to_string_lossy();
        if LEFT_OUT.contains(&&*name) || name.starts_with("pgsql_tmp") {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && EMPTY.contains(&&*name) => make_folder(&target, owner),
            Ok(kind) if kind.is_dir() => copy(&entry.path(), &target, owner),
            _ => match fs::copy(entry.path(), &target) {
                Ok(_) => {
                    if let Some((user, group)) = owner {
                        chown(&target, Some(user), Some(group)).expect("root may chown");
                    }
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{}: {error}", entry.path().display()),
            },
        }
    }
}

impl Server {
    /// A standby of this server that streams from it over a slot, up and answering.
    pub fn standby(&self, name: &str, settings: &str) -> Server {
        let standby = Server::in_folder(name);
        let mut session = self.connect();
        session.run("select pg_create_physical_replication_slot('standby', true)");
        session.run("select pg_backup_start('standby', true)");
        let (data, owner) = (standby.data(), os_user_ids());
        copy(&self.data(), &data, owner);
        make_folder(&data.join("pg_wal").join("archive_status"), owner);
        let label = session.one("select labelfile from pg_backup_stop(false)");
        for (file, text) in [("backup_label", label.as_str()), ("standby.signal", "")] {
            fs::write(data.join(file), text).expect("a file in the copy");
            if let Some((user, group)) = owner {
                chown(data.join(file), Some(user), Some(group)).expect("root may chown");
            }
        }
        let mut standby = standby.within_folder(&format!(
            "primary_conninfo = 'host={} port=5432 user=postgres application_name=standby'\n\
             primary_slot_name = 'standby'\nhot_standby = on\nsynchronous_standby_names = ''\n{settings}",
            self.folder().display()
        ));
        standby.start();
        standby
    }

    /// Waits until the standby has replayed all that this server has written.
    pub fn wait_for(&self, standby: &Server) {
        let written = self.connect().one("select pg_current_wal_insert_lsn()");
        let mut session = standby.connect();
        let until = Instant::now() + Duration::from_secs(120);
        while session.one(&format!("select pg_last_wal_replay_lsn() >= '{written}'")) != "t" {
            assert!(Instant::now() < until, "the standby falls behind:\n{}", standby.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes the standby a server of its own, which takes what it has received into account first.
    pub fn promote(&self) {
        assert_eq!(self.connect().one("select pg_promote(true, 120)"), "t", "{}", self.log());
    }
}
