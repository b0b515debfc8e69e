//! Many sessions at once, and what they choose by.

use crate::{Bank, Client};
use std::sync::{Arc, Barrier};
use std::thread;

/// Runs `work` in that many sessions at once and gives back what each answered.
pub fn together<T: Send + 'static>(
    bank: &Bank,
    sessions: usize,
    work: impl Fn(usize, &mut Client) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let work = Arc::new(work);
    let start = Arc::new(Barrier::new(sessions));
    let workers: Vec<_> = (0..sessions)
        .map(|n| {
            let mut session = bank.session();
            let (work, start) = (Arc::clone(&work), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                work(n, &mut session)
            })
        })
        .collect();
    workers.into_iter().map(|worker| worker.join().expect("no session fails")).collect()
}

/// A small generator of its own, so that a failure can be run again.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}
