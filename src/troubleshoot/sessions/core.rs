//! What a session waits for, in words; and the words of the functions that end sessions.
#![forbid(unsafe_code)]

/// How a session is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Cancel,
    Terminate,
}

impl Method {
    pub fn of(text: &str) -> Option<Method> {
        match text {
            "cancel" => Some(Method::Cancel),
            "terminate" => Some(Method::Terminate),
            _ => None,
        }
    }

    pub fn done(self) -> &'static str {
        match self {
            Method::Cancel => "CANCELLED",
            Method::Terminate => "TERMINATED",
        }
    }

    pub fn would(self) -> &'static str {
        match self {
            Method::Cancel => "WOULD CANCEL (dry run)",
            Method::Terminate => "WOULD TERMINATE (dry run)",
        }
    }
}

/// One of those that a lock is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocker {
    /// 0: a prepared transaction.
    pub pid: i32,
    pub gid: Option<String>,
    /// It does not have the lock either.
    pub queued: bool,
    pub held_mode: Option<String>,
}

/// The lock that is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    pub kind: String,
    pub mode: String,
    pub object: String,
    pub blockers: Vec<Blocker>,
}

/// A session as the server shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub backend_type: Option<String>,
    pub state: Option<String>,
    pub event_type: Option<String>,
    pub event: Option<String>,
    pub transaction_seconds: Option<i64>,
    pub lock: Option<Lock>,
}

/// A word for programs, a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub kind: &'static str,
    pub text: String,
}

fn reason(kind: &'static str, text: impl Into<String>) -> Reason {
    Reason { kind, text: text.into() }
}

fn named(blocker: &Blocker) -> String {
    match (&blocker.gid, blocker.pid) {
        (Some(gid), _) => format!("prepared transaction {gid:?}"),
        (None, 0) => "a prepared transaction".into(),
        (None, pid) => format!("process {pid}"),
    }
}

/// `process 1, process 2 and process 3`; of many the first ones.
fn all_of<'a>(blockers: impl Iterator<Item = &'a Blocker>) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = blockers.map(named).collect();
    if names.len() > SHOWN {
        let more = names.len() - SHOWN;
        names.truncate(SHOWN);
        names.push(format!("{more} more"));
    }
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "nobody".into(),
    }
}

fn why_locked(lock: &Lock) -> Reason {
    let Lock { kind, mode, object, blockers } = lock;
    let holders: Vec<&Blocker> = blockers.iter().filter(|blocker| !blocker.queued).collect();
    let who = all_of(blockers.iter());
    if holders.is_empty() {
        let mut wanted: Vec<&str> =
            blockers.iter().filter_map(|blocker| blocker.held_mode.as_deref()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let text = format!(
            "it wants {mode} on {object}, which nobody has locked against it; but {who} came before, and waits there for {}: who comes later queues behind",
            wanted.join(", ")
        );
        return reason("lock_queue", text);
    }
    let holders_are = all_of(holders.iter().copied());
    match kind.as_str() {
        "transactionid" if object.starts_with("transaction") => reason(
            "transaction",
            format!(
                "it waits for the end of {object}, of {holders_are}: that has written the same key of a unique index, or a row that this one needs"
            ),
        ),
        "transactionid" => reason(
            "row_lock",
            format!(
                "it waits for {object}, which {holders_are} has changed or locked, until that transaction ends"
            ),
        ),
        "tuple" => reason(
            "row_queue",
            format!(
                "it stands in the queue for {object}; {holders_are} is at its head and waits for the transaction that has changed or locked the row"
            ),
        ),
        "virtualxid" => reason(
            "older_transactions",
            format!(
                "it waits for the transaction of {holders_are} to end, whatever that does: CREATE INDEX CONCURRENTLY and its like wait for all that began before"
            ),
        ),
        "advisory" | "userlock" => {
            reason("advisory_lock", format!("it waits for {object}, which {holders_are} has"))
        }
        "snapshot" => reason(
            "safe_snapshot",
            format!(
                "a serializable read-only deferrable transaction waits until {holders_are}, which may write, is over"
            ),
        ),
        "extend" => {
            reason("extend", format!("it waits for its turn at the {object}; {holders_are} is at it"))
        }
        _ => {
            let mut modes: Vec<&str> =
                holders.iter().filter_map(|holder| holder.held_mode.as_deref()).collect();
            modes.sort_unstable();
            modes.dedup();
            let has = if modes.is_empty() { "a lock against it".into() } else { modes.join(", ") };
            reason("relation_lock", format!("it wants {mode} on {object}, where {holders_are} has {has}"))
        }
    }
}

fn why_client(event: &str, state: &str, open_seconds: Option<i64>) -> Reason {
    match (event, state) {
        ("ClientWrite", _) => reason(
            "client_write",
            "the client does not take its result: it is slow, stopped, or behind a slow network",
        ),
        ("ClientRead", "idle") => reason(
            "idle",
            "it waits for nothing: the client has no statement for it, and no transaction is open",
        ),
        ("ClientRead", "idle in transaction" | "idle in transaction (aborted)") => {
            let open = open_seconds.map_or(String::new(), |seconds| format!(", open for {seconds} s,"));
            let what = if state.ends_with("(aborted)") { "a failed transaction" } else { "a transaction" };
            reason(
                "idle_in_transaction",
                format!(
                    "the client sends no statement while it has {what}{open} whose locks it keeps: look at the application"
                ),
            )
        }
        ("ClientRead", _) => {
            reason("client_read", "it waits for the client to send more of its data, as COPY FROM STDIN does")
        }
        _ => reason("client", format!("it waits for the client or the network ({event})")),
    }
}

fn why_ipc(event: &str) -> Reason {
    match event {
        "SyncRep" => reason(
            "sync_rep",
            "its commit is on this server's disk and waits for a synchronous standby to say the same: look at pg_stat_replication and synchronous_standby_names; if no such standby is there, all commits wait",
        ),
        "SafeSnapshot" => reason("safe_snapshot", "it waits for serializable transactions that may write"),
        "ExecuteGather"
        | "ParallelFinish"
        | "MessageQueueReceive"
        | "MessageQueueSend"
        | "BgWorkerStartup"
        | "BgWorkerShutdown" => reason(
            "parallel",
            "it waits for another process that works on the same statement: look at that one (leader_pid)",
        ),
        "BackupWaitWalArchive" => reason(
            "archiver",
            "a backup has ended and waits for its last WAL to be archived: look at pg_stat_archiver",
        ),
        "CheckpointStart" | "CheckpointDone" => reason("checkpoint", "it waits for a checkpoint"),
        "ProcSignalBarrier" => reason(
            "barrier",
            "it waits for every other process to take note of something, as DROP DATABASE does",
        ),
        "RecoveryConflictSnapshot" | "RecoveryConflictTablespace" => reason(
            "recovery_conflict",
            "recovery waits for queries on this standby that still need what it is to remove",
        ),
        _ => reason("ipc", format!("it waits for another process of the server ({event})")),
    }
}

fn why_io(event: &str) -> Reason {
    let text = match event {
        "DataFileRead" | "DataFilePrefetch" => {
            "it reads a table or an index from disk, as it is not in shared_buffers"
        }
        "DataFileWrite" | "DataFileFlush" | "DataFileSync" | "DataFileExtend" | "DataFileTruncate" => {
            "it writes a table or an index to disk"
        }
        "WALWrite" | "WALSync" | "WalSync" | "WalWrite" | "WALInitWrite" | "WALInitSync" => {
            "it waits for the disk that has the WAL, as each commit does"
        }
        "WALRead" | "WalRead" => "it reads WAL from disk",
        "BufFileRead" | "BufFileWrite" | "BufFileTruncate" => {
            "it sorts, hashes or materializes on disk: its part of work_mem is too small for it"
        }
        "SLRURead" | "SLRUWrite" | "SLRUSync" | "SlruRead" | "SlruWrite" => {
            "it reads or writes the state of transactions on disk"
        }
        _ => return reason("io", format!("it waits for the disk ({event})")),
    };
    reason("io", format!("{text} ({event})"))
}

fn why_lwlock(event: &str) -> Reason {
    let about = match event {
        "WALWrite" => "others flush the WAL at this moment: many commits, or a slow disk",
        "WALInsert" => "many sessions write WAL at once",
        "BufferMapping" | "buffer_mapping" => "many sessions bring pages into shared_buffers at once",
        "BufferContent" | "buffer_content" => {
            "many sessions are at the same page: a hot row, or the end of an index"
        }
        "LockManager" | "lock_manager" | "LockFastPath" => {
            "too many locks are taken at once: many partitions or indexes per statement, many short statements"
        }
        "ProcArray" | "XidGen" => "many transactions begin and end at once",
        "SubtransSLRU" | "SubtransBuffer" | "SubtransControlLock" => {
            "transactions have more than 64 savepoints each, while another one is long"
        }
        "MultiXactOffsetSLRU"
        | "MultiXactMemberSLRU"
        | "MultiXactGen"
        | "MultiXactOffsetBuffer"
        | "MultiXactMemberBuffer" => "many sessions lock the same rows together, as foreign keys do",
        "XactSLRU" | "XactBuffer" | "CommitTsSLRU" | "CommitTsBuffer" => {
            "the state of transactions is looked up"
        }
        "NotifyQueue" | "NotifySLRU" | "NotifyBuffer" => "the queue of NOTIFY is busy",
        _ => "it is had for moments only; seen often, it is a bottleneck",
    };
    reason("lwlock", format!("it waits for an internal lock of the server ({event}): {about}"))
}

fn why_timeout(event: &str) -> Reason {
    let text = match event {
        "PgSleep" => "it sleeps, as its statement says",
        "VacuumDelay" => "it is a vacuum that pauses, as vacuum_cost_delay says",
        "VacuumTruncate" => "it is a vacuum that would cut off the end of a table, and waits for its lock",
        "RecoveryApplyDelay" => "recovery is delayed on purpose (recovery_min_apply_delay)",
        "BaseBackupThrottle" => "it is a base backup that is slowed down on purpose",
        "CheckpointWriteDelay" => "the checkpoint spreads its writes, as checkpoint_completion_target says",
        "SpinDelay" => "it waits for a spinlock: more sessions are active than the machine has cores for",
        _ => "it waits for a time to pass",
    };
    reason("timeout", format!("{text} ({event})"))
}

/// What a session of which the server shows this waits for.
pub fn why(seen: &Seen) -> Reason {
    if let Some(lock) = &seen.lock {
        return why_locked(lock);
    }
    let Some(backend_type) = &seen.backend_type else {
        return reason(
            "unknown",
            "this role may not see what the session does, and no lock is what it waits for: pg_read_all_stats is needed",
        );
    };
    let state = seen.state.as_deref().unwrap_or("");
    if state == "disabled" {
        return reason("unknown", "the session does not tell what it does: track_activities is off");
    }
    let event = seen.event.as_deref().unwrap_or("");
    match seen.event_type.as_deref() {
        Some("Lock") => {
            reason("lock_just_now", "it waited for a lock, and has it by now or has given up: look again")
        }
        Some("Client") => why_client(event, state, seen.transaction_seconds),
        Some("IPC") => why_ipc(event),
        Some("IO") => why_io(event),
        Some("LWLock") => why_lwlock(event),
        Some("Timeout") => why_timeout(event),
        Some("BufferPin") => reason(
            "buffer_pin",
            "it waits until no other session uses a page: a cursor that was left in the middle of a table keeps one in use",
        ),
        Some("Activity") => reason(
            "nothing_to_do",
            format!("it waits for nothing: a {backend_type} that has nothing to do ({event})"),
        ),
        Some("Extension") => reason("extension", format!("it waits inside of an extension ({event})")),
        Some(other) => reason("other", format!("it waits for {other} {event}")),
        None if state == "active" || backend_type != "client backend" => {
            reason("running", "it waits for nothing: it works, or waits where the server does not say so")
        }
        None => reason("idle", format!("it waits for nothing: it is {state}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(kind: &str, object: &str, blockers: &[(i32, bool)]) -> Reason {
        let blockers = blockers
            .iter()
            .map(|(pid, queued)| Blocker {
                pid: *pid,
                gid: (*pid == 0).then(|| "g".to_owned()),
                queued: *queued,
                held_mode: Some("ShareLock".into()),
            })
            .collect();
        let lock =
            Lock { kind: kind.into(), mode: "RowExclusiveLock".into(), object: object.into(), blockers };
        why(&Seen { lock: Some(lock), ..Seen::default() })
    }

    #[test]
    fn locks_are_told_apart() {
        assert_eq!(blocked("transactionid", "row (0,1) of a.b", &[(7, false)]).kind, "row_lock");
        assert_eq!(blocked("transactionid", "transaction 9", &[(7, false)]).kind, "transaction");
        assert_eq!(blocked("tuple", "row (0,1) of a.b", &[(7, false)]).kind, "row_queue");
        let queue = blocked("relation", "a.b", &[(7, true), (8, true)]);
        assert_eq!(queue.kind, "lock_queue");
        assert!(queue.text.contains("process 7 and process 8 came before"), "{}", queue.text);
        let held = blocked("relation", "a.b", &[(7, true), (0, false)]);
        assert_eq!(held.kind, "relation_lock");
        assert!(held.text.ends_with("where prepared transaction \"g\" has ShareLock"), "{}", held.text);
        assert_eq!(
            blocked("virtualxid", "virtual transaction 3/4", &[(7, false)]).kind,
            "older_transactions"
        );
    }

    #[test]
    fn many_blockers_are_counted() {
        let blockers: Vec<Blocker> = (1..=8).map(|pid| Blocker { pid, ..Blocker::default() }).collect();
        assert_eq!(
            all_of(blockers.iter()),
            "process 1, process 2, process 3, process 4, process 5 and 3 more"
        );
    }

    #[test]
    fn what_cannot_be_seen_is_unknown() {
        assert_eq!(why(&Seen::default()).kind, "unknown");
        let silent = Seen {
            backend_type: Some("client backend".into()),
            state: Some("disabled".into()),
            ..Seen::default()
        };
        assert_eq!(why(&silent).kind, "unknown");
    }

    #[test]
    fn events_have_words() {
        let kind = |event_type: &str, event: &str, state: &str| {
            why(&Seen {
                backend_type: Some("client backend".into()),
                state: Some(state.into()),
                event_type: Some(event_type.into()),
                event: Some(event.into()),
                ..Seen::default()
            })
            .kind
        };
        assert_eq!(kind("Client", "ClientRead", "idle"), "idle");
        assert_eq!(kind("Client", "ClientRead", "idle in transaction (aborted)"), "idle_in_transaction");
        assert_eq!(kind("Client", "ClientRead", "active"), "client_read");
        assert_eq!(kind("IPC", "SyncRep", "active"), "sync_rep");
        assert_eq!(kind("IO", "DataFileRead", "active"), "io");
        assert_eq!(kind("LWLock", "WALWrite", "active"), "lwlock");
        assert_eq!(kind("BufferPin", "BufferPin", "active"), "buffer_pin");
        assert_eq!(kind("SomethingNew", "X", "active"), "other");
    }
}
