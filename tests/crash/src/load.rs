//! A crowd of clients at work, which can be told to stop and to go on.

use crate::books::Books;
use crate::check::are_there;
use crate::maker::Maker;
use crate::request::Entry;
use crate::server::Server;
use crate::teller::{Teller, Wire};
use neobank_sessions::Dice;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub struct Load {
    wire: Arc<Wire>,
    resting: Vec<Teller>,
    working: Vec<JoinHandle<Teller>>,
}

/// What happened to the requests so far.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub answers: u64,
    pub lost: u64,
    pub lost_but_done: u64,
    pub repeated: u64,
}

impl Load {
    /// As many clients as there are settings, each with its own statements at the beginning of a session.
    pub fn new(server: &Server, books: &Books, seed: u64, settings: &[&str]) -> Load {
        let clients = settings.len();
        let wire = Wire {
            address: Mutex::new(server.folder().to_owned()),
            stop: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            at_work: (0..clients).map(|_| AtomicI64::new(0)).collect(),
            settings: settings.iter().map(|line| line.to_string()).collect(),
            lost: AtomicU64::new(0),
            lost_but_done: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
        };
        let resting = (0..clients).map(|n| Teller::new(n, Maker::new(books.clone(), n, seed))).collect();
        Load { wire: Arc::new(wire), resting, working: Vec::new() }
    }

    pub fn begin(&mut self) {
        self.wire.stop.store(false, Ordering::Relaxed);
        for mut teller in self.resting.drain(..) {
            let wire = Arc::clone(&self.wire);
            self.working.push(thread::spawn(move || {
                teller.work(&wire);
                teller
            }));
        }
    }

    /// Every client ends with its last request answered. The server must be there, or come back.
    pub fn rest(&mut self) {
        self.wire.stop.store(true, Ordering::Relaxed);
        let ended = self.working.drain(..).map(|client| client.join().expect("no client fails"));
        self.resting.extend(ended);
    }

    /// From now on the clients turn to that server.
    pub fn turn_to(&self, folder: PathBuf) {
        *self.wire.address.lock().expect("nobody fails with it") = folder;
    }

    /// What the clients have written down; only while they rest.
    pub fn journals(&self) -> impl Iterator<Item = &Entry> {
        assert!(self.working.is_empty(), "clients at work keep their journals to themselves");
        self.resting.iter().flat_map(|teller| &teller.journal)
    }

    /// The same by client.
    pub fn journals_by_client(&self) -> impl Iterator<Item = &[Entry]> {
        assert!(self.working.is_empty(), "clients at work keep their journals to themselves");
        self.resting.iter().map(|teller| teller.journal.as_slice())
    }

    /// Lets every client come to the end of the request it is at, which it will send to the server that comes out of
    /// `change`, unless it is answered before.
    pub fn finish_with(&mut self, change: impl FnOnce() -> PathBuf) {
        self.wire.stop.store(true, Ordering::Relaxed);
        self.turn_to(change());
        self.rest();
    }

    /// Strikes out what a server has not that was never promised to have it all.
    pub fn forget_what_is_missing(&mut self, there: &HashMap<String, u32>) {
        for teller in &mut self.resting {
            teller.journal.retain(|entry| are_there(there, entry.promised()).into_iter().all(|found| found));
        }
    }

    pub fn counts(&self) -> Counts {
        let Wire { answers, lost, lost_but_done, repeated, .. } = &*self.wire;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            answers: read(answers),
            lost: read(lost),
            lost_but_done: read(lost_but_done),
            repeated: read(repeated),
        }
    }

    /// Waits for a random number of answers more, up to `most`, and for a moment in the middle of what follows.
    pub fn pass(&self, most: usize, dice: &mut Dice) {
        let wanted = self.counts().answers + dice.below(most) as u64;
        let until = Instant::now() + Duration::from_secs(180);
        while self.counts().answers <= wanted {
            assert!(self.working.iter().all(|client| !client.is_finished()), "a client failed, see above");
            assert!(Instant::now() < until, "the clients get no answers any more");
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_micros(dice.below(3_000) as u64));
    }

    /// A backend that is in the middle of a client's statement at this moment.
    pub fn backend_at_work(&self, dice: &mut Dice) -> Option<i64> {
        let first = dice.below(self.wire.at_work.len());
        let turns = self.wire.at_work.iter().cycle().skip(first).take(self.wire.at_work.len());
        turns.map(|backend| backend.load(Ordering::Relaxed)).find(|backend| *backend != 0)
    }
}

impl Drop for Load {
    /// A test that fails does not wait for its clients, and they do not go on for ever.
    fn drop(&mut self) {
        self.wire.stop.store(true, Ordering::Relaxed);
    }
}
