//! A client that survives: it writes down what it asks for before it sends it, and sends it again, under the same ids,
//! for as long as it takes to get an answer.

use crate::maker::Maker;
use crate::request::{Entry, Standing};
use crate::server::try_connect;
use neobank_sessions::{Ask, Client, Refusal};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(180);

/// What the clients and whoever kills the server know of each other.
pub struct Wire {
    /// Where the server's sockets are; it changes when a standby takes over.
    pub address: Mutex<PathBuf>,
    pub stop: AtomicBool,
    /// Answers so far, of all clients.
    pub answers: AtomicU64,
    /// For each client the backend that works for it at this moment, or 0.
    pub at_work: Vec<AtomicI64>,
    /// Statements that each new session begins with, by client.
    pub settings: Vec<String>,
    /// Requests that got no answer, and those of them which turned out to have been carried out.
    pub lost: AtomicU64,
    pub lost_but_done: AtomicU64,
    /// Acknowledged requests that were sent again.
    pub repeated: AtomicU64,
}

pub struct Teller {
    number: usize,
    maker: Maker,
    session: Option<(Client, i64, PathBuf)>,
    pub journal: Vec<Entry>,
}

/// Of unique keys, and of the constraints of tables of the application's own.
const CONSTRAINTS: [&str; 3] = ["23502", "23505", "23514"];

/// The connection is gone, or the server went down under the statement.
fn is_lost(refusal: &Refusal) -> bool {
    matches!(refusal.code.as_str(), "client" | "57P01" | "57P02" | "57P03" | "25006")
}

/// Nothing was done, and the same may be sent again.
fn is_transient(refusal: &Refusal) -> bool {
    matches!(refusal.code.as_str(), "40001" | "40P01" | "55P03")
}

impl Teller {
    pub fn new(number: usize, maker: Maker) -> Teller {
        Teller { number, maker, session: None, journal: Vec::new() }
    }

    /// Works until it is told to stop, then sees to it that every request has its answer.
    pub fn work(&mut self, wire: &Wire) {
        while !wire.stop.load(Ordering::Relaxed) {
            if !self.journal.is_empty() && self.maker.dice.below(20) == 0 {
                self.repeat_one(wire);
            }
            let request = self.maker.make();
            self.journal.push(Entry::new(request));
            let at = self.journal.len() - 1;
            self.carry_out(at, wire);
            self.maker.learn(&self.journal[at]);
        }
    }

    fn carry_out(&mut self, at: usize, wire: &Wire) {
        let sql = self.journal[at].request.sql.clone();
        loop {
            if self.journal[at].lost > 0 {
                self.look_for(at, wire);
            }
            match self.send(&sql, wire) {
                Err(refusal) if is_lost(&refusal) => {
                    self.session = None;
                    self.journal[at].lost += 1;
                    wire.lost.fetch_add(1, Ordering::Relaxed);
                    // What has no id of its own is not sent twice.
                    if self.journal[at].request.facts.is_empty() {
                        return;
                    }
                }
                Err(refusal) if is_transient(&refusal) => self.roll_back(wire),
                answer => {
                    let server = self.session.as_ref().map(|(_, _, server)| server.clone());
                    self.journal[at].answered_by = server.unwrap_or_default();
                    if let Err(refusal) = &answer {
                        let known = refusal.code.starts_with("NB") || CONSTRAINTS.contains(&refusal.code.as_str());
                        assert!(known, "client {}: {refusal}\nfrom: {sql}", self.number);
                        self.roll_back(wire);
                    }
                    self.journal[at].answered(answer);
                    wire.answers.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    /// For the statistics: whether a request that was not answered had been carried out.
    fn look_for(&mut self, at: usize, wire: &Wire) {
        let entry = &self.journal[at];
        let Some(id) = entry.request.probe.filter(|_| entry.standings.contains(&Standing::Open)) else { return };
        let there = format!("select count(*) from txn_processing.movements where transaction_id = '{id}'");
        if self.send(&there, wire).is_ok_and(|lines| lines[0] != "0") {
            wire.lost_but_done.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An acknowledged request that is sent again is answered in the same words.
    fn repeat_one(&mut self, wire: &Wire) {
        let at = self.maker.dice.below(self.journal.len());
        let entry = &self.journal[at];
        if !entry.is_acknowledged() || !entry.request.is_repeatable {
            return;
        }
        let (sql, wanted) = (entry.request.sql.clone(), entry.answer.clone());
        loop {
            match self.send(&sql, wire) {
                Err(refusal) if is_lost(&refusal) => {
                    self.session = None;
                    // Told to come to an end, it may find itself at a server that never promised to have it all.
                    if wire.stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
                Err(refusal) if is_transient(&refusal) => self.roll_back(wire),
                Err(refusal) => panic!("client {}: acknowledged, and now {refusal}\nfrom: {sql}", self.number),
                Ok(lines) => {
                    assert_eq!(lines, wanted, "client {}: another answer to the same: {sql}", self.number);
                    wire.repeated.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    fn roll_back(&mut self, wire: &Wire) {
        if self.send("rollback", wire).is_err() {
            self.session = None;
        }
    }

    /// Sends it over a session that is made where there is none.
    fn send(&mut self, sql: &str, wire: &Wire) -> Result<Vec<String>, Refusal> {
        if self.session.is_none() {
            self.session = Some(self.connected(wire));
        }
        let (session, backend, _) = self.session.as_mut().expect("it was just made");
        wire.at_work[self.number].store(*backend, Ordering::Relaxed);
        let answer = session.try_lines(sql);
        wire.at_work[self.number].store(0, Ordering::Relaxed);
        answer
    }

    fn connected(&self, wire: &Wire) -> (Client, i64, PathBuf) {
        let until = Instant::now() + PATIENCE;
        loop {
            let address = wire.address.lock().expect("nobody fails with it").clone();
            let connected = try_connect(&address, "bank").map_err(Refusal::from).and_then(|mut session| {
                session.try_lines(&wire.settings[self.number])?;
                // A standby that is not promoted yet is no place to post.
                let lines = session.try_lines("select pg_backend_pid() where not pg_is_in_recovery()")?;
                Ok((session, lines))
            });
            match connected {
                Ok((session, lines)) if !lines.is_empty() => {
                    return (session, lines[0].parse().expect("a process id"), address);
                }
                Ok(_) => {}
                Err(refusal) => {
                    assert!(is_lost(&refusal) || refusal.code == "53300", "client {}: {refusal}", self.number)
                }
            }
            assert!(Instant::now() < until, "client {}: no server came back", self.number);
            thread::sleep(Duration::from_millis(30));
        }
    }
}
