//! A disk of a few megabytes: a file system in memory, which only root may mount.

use neobank_sessions::*;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const MEGABYTE: u64 = 1 << 20;

/// Unmounted when the test ends or panics. It must outlive the server that works on it.
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// None where this user, or this machine, may not mount.
    pub fn mount(name: &str, bytes: u64) -> Option<Disk> {
        let (user, group) = os_user_ids()?;
        let folder = std::env::temp_dir().join(format!("nbt_{}_{name}_disk", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "tmpfs"])
            .arg(&folder)
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            let _ = std::fs::remove_dir(&folder);
            return None;
        }
        let disk = Disk { folder };
        chown(&disk.folder, Some(user), Some(group)).expect("root may chown");
        Some(disk)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn resize(&self, bytes: u64) {
        run_tool(Command::new("mount").args(["-o", &format!("remount,size={bytes}")]).arg(&self.folder));
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        let answer = run_tool(Command::new("df").args(["-B1", "--output=used"]).arg(&self.folder));
        answer.lines().nth(1).and_then(|line| line.trim().parse().ok()).expect("df prints a number")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server may be stopping still where a test panicked.
        let unmounted = Command::new("umount").arg("-l").arg(&self.folder).status();
        if !unmounted.is_ok_and(|status| status.success()) || std::fs::remove_dir(&self.folder).is_err() {
            say(&format!("cleaning up: {} is left", self.folder.display()));
        }
    }
}
