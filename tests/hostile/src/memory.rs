//! What a backend has taken from the system, looked at from inside and from outside.

use neobank_sessions::{Ask, Client};
use std::fs;

/// Growth of a block of calls that may be caches filling up. Three such blocks in a row may not.
const ALLOWED: [i64; 2] = [1 << 20, 16 << 20];

#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Of the server's memory contexts.
    contexts: i64,
    /// Of the process, without what it shares; 0 where the system does not say.
    process: i64,
}

impl Memory {
    /// The session must be allowed to read `pg_backend_memory_contexts`.
    pub fn of(session: &mut Client, pid: i64) -> Memory {
        let contexts = session.count("select sum(total_bytes) from pg_backend_memory_contexts");
        let process = fs::read_to_string(format!("/proc/{pid}/status")).ok().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.strip_suffix("kB"))?;
            Some(line.trim().parse::<i64>().ok()? * 1_024)
        });
        Memory { contexts, process: process.unwrap_or(0) }
    }
}

/// One function's blocks of calls.
#[derive(Clone, Default)]
pub struct Growth {
    in_a_row: [u32; 2],
    most: [i64; 2],
}

impl Growth {
    /// Whether it has grown in one block after the other.
    pub fn add(&mut self, before: Memory, after: Memory) -> Option<String> {
        let grown = [after.contexts - before.contexts, after.process - before.process];
        for way in 0..2 {
            self.in_a_row[way] = if grown[way] > ALLOWED[way] { self.in_a_row[way] + 1 } else { 0 };
            self.most[way] = self.most[way].max(grown[way]);
        }
        let way = (0..2).find(|&way| self.in_a_row[way] >= 3)?;
        let what = ["the server's memory contexts", "the process"][way];
        Some(format!("{what} grew in three blocks of calls in a row, by {} bytes in the last one", grown[way]))
    }
}
