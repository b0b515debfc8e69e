//! What is worked out about locks without asking the server: scopes, and what a deadlock's text says.
#![forbid(unsafe_code)]

use serde_json::{Value, json};

/// How long a named lock lasts when nobody releases it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Transaction,
    Session,
}

impl Scope {
    pub fn of(text: &str) -> Option<Scope> {
        match text {
            "transaction" => Some(Scope::Transaction),
            "session" => Some(Scope::Session),
            _ => None,
        }
    }
}

/// The wait before the next look at leases that others have: short at first, for those that are about to be released.
pub fn lease_poll_ms(looks: u32) -> i64 {
    (10 << looks.min(5)).min(250)
}

/// One line of a deadlock's DETAIL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    pub pid: i32,
    pub mode: String,
    pub object: String,
    pub blocked_by: i32,
}

/// Reads `Process 1 waits for ShareLock on transaction 2; blocked by process 3.` Anything else, as a server with messages
/// in another language writes it, is no wait.
fn wait_of(line: &str) -> Option<Wait> {
    let (pid, rest) = line.trim().strip_prefix("Process ")?.split_once(" waits for ")?;
    let (lock, blocker) = rest.rsplit_once("; blocked by process ")?;
    let (mode, object) = lock.split_once(" on ")?;
    let blocked_by = blocker.trim_end_matches('.').parse().ok()?;
    Some(Wait { pid: pid.parse().ok()?, mode: mode.to_owned(), object: object.to_owned(), blocked_by })
}

/// All waits that a deadlock's DETAIL names; the first one is that of the session that the server ended.
pub fn waits_of(detail: &str) -> Vec<Wait> {
    detail.lines().filter_map(wait_of).collect()
}

/// What `concurrency.deadlock_log.lock_info` has of it.
pub fn lock_info(waits: &[Wait], detail: &str) -> Value {
    let waits: Vec<Value> = waits
        .iter()
        .map(|wait| {
            json!({"pid": wait.pid, "mode": wait.mode, "object": wait.object, "blocked_by": wait.blocked_by})
        })
        .collect();
    json!({"waits": waits, "detail": detail})
}

/// A deadlock as the server's log in JSON has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub at: String,
    pub pid: Option<i32>,
    pub transaction: Option<u32>,
    pub statement: Option<String>,
    pub detail: String,
}

/// The deadlocks of one database in a piece of the log, and the bytes up to the end of its last whole line.
pub fn logged_deadlocks(piece: &[u8], database: &str) -> (Vec<Logged>, usize) {
    let whole = piece.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let found = piece[..whole]
        .split(|byte| *byte == b'\n')
        .filter(|line| line.windows(7).any(|part| part == b"\"40P01\""))
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|entry| entry["state_code"] == "40P01" && entry["dbname"] == database)
        .filter_map(|entry| {
            let text = |key: &str| entry[key].as_str().map(str::to_owned);
            let number = |key: &str| entry[key].as_i64();
            Some(Logged {
                at: text("timestamp")?,
                pid: number("pid").and_then(|pid| pid.try_into().ok()),
                transaction: number("txid").and_then(|id| id.try_into().ok()).filter(|id| *id != 0),
                statement: text("statement"),
                detail: text("detail").unwrap_or_default(),
            })
        })
        .collect();
    (found, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DETAIL: &str = "Process 31 waits for ShareLock on transaction 761; blocked by process 27.\n\
         Process 27 waits for AccessExclusiveLock on relation 16385 of database 5; blocked by process 31.";

    #[test]
    fn a_deadlocks_detail_is_read() {
        let waits = waits_of(DETAIL);
        assert_eq!(waits.len(), 2);
        assert_eq!(
            waits[1],
            Wait {
                pid: 27,
                mode: "AccessExclusiveLock".into(),
                object: "relation 16385 of database 5".into(),
                blocked_by: 31
            }
        );
        let with_queries =
            format!("{DETAIL}\nProcess 31: update x set v = 1; -- blocked by process me\nProcess 27: lock x");
        assert_eq!(waits_of(&with_queries), waits);
        assert_eq!(waits_of("Prozess 31 wartet auf ShareLock"), []);
        assert_eq!(waits_of(""), []);
        assert_eq!(lock_info(&waits, DETAIL)["waits"][0]["blocked_by"], 27);
    }

    #[test]
    fn a_piece_of_the_log_is_read_to_its_last_whole_line() {
        let ours = r#"{"timestamp":"2026-01-02 03:04:05.678 UTC","dbname":"bank","pid":31,"txid":761,"state_code":"40P01","detail":"d","statement":"s"}"#;
        let other =
            r#"{"timestamp":"2026-01-02 03:04:05.678 UTC","dbname":"else","pid":32,"state_code":"40P01"}"#;
        let piece =
            format!("{ours}\n{other}\n{{\"state_code\":\"42601\"}}\nnot json \"40P01\"\n{{\"state_co");
        let (found, read) = logged_deadlocks(piece.as_bytes(), "bank");
        assert_eq!(read, piece.rfind('\n').expect("it has lines") + 1);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].pid, found[0].transaction, found[0].statement.as_deref()),
            (Some(31), Some(761), Some("s"))
        );
        assert_eq!(logged_deadlocks(b"half a line", "bank"), (vec![], 0));
    }

    #[test]
    fn leases_are_looked_at_less_and_less_often() {
        assert_eq!([0, 1, 2, 5, 60].map(lease_poll_ms), [10, 20, 40, 250, 250]);
    }
}
