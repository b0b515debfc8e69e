//! Random operations of every kind against the model: by one session, whose every answer is predicted, and by eight at
//! once, whose answers must fit a serial order.

use neobank_model::alone::Watch;
use neobank_model::round::{alone, together};
use neobank_model::sagas::Ends;
use neobank_model::tally::Tally;
use neobank_sessions::*;
use std::time::Instant;

/// Operations of a round: one session with an audit after each, one session, eight sessions with single operations,
/// eight with transactions. In CI each is as small as shows that it works.
const LARGE: [u64; 4] = [200, 4_000, 10_000, 10_000];
const SMALL: [u64; 4] = [60, 600, 700, 700];
const SESSIONS: usize = 8;

#[derive(Default)]
struct Sum {
    tally: Tally,
    repeats: u64,
    explained: u64,
    reordered: u64,
    read: u64,
    handed_out: u64,
    sagas: Ends,
}

impl Sum {
    /// One round of each kind. Every other one posts by SQL where it can be chosen.
    fn round(&mut self, seed: u64, sizes: [u64; 4]) {
        let path = if seed.is_multiple_of(2) { "auto" } else { "spi" };
        for (every_step, operations) in [(true, sizes[0]), (false, sizes[1])] {
            let watch = Watch { every_step, path };
            let tally = alone(seed, operations, watch).unwrap_or_else(|error| panic!("{error}"));
            self.tally.add(&tally);
        }
        for (transactions, operations) in [(false, sizes[2]), (true, sizes[3])] {
            let round = together(seed, SESSIONS, operations, transactions).unwrap_or_else(|error| panic!("{error}"));
            self.tally.add(&round.tally);
            self.repeats += round.repeats;
            self.explained += round.explained;
            self.reordered += round.reordered;
            self.read += round.read;
            self.handed_out += round.handed_out;
            self.sagas.add(&round.sagas);
        }
    }
}

#[test]
fn every_answer_is_the_models() {
    let _crowd = crowd();
    let start = Instant::now();
    let seed = seed();
    say(&format!("model: SEED={seed}"));
    let wanted = setting("OPERATIONS", 0);
    let mut sum = Sum::default();
    for round in 0.. {
        sum.round(seed.wrapping_add(round), if wanted == 0 { SMALL } else { LARGE });
        if sum.tally.operations >= wanted {
            break;
        }
        say(&format!("model: {} operations of {wanted}, {} s", sum.tally.operations, start.elapsed().as_secs()));
    }
    let seconds = start.elapsed().as_secs_f64();
    let never = sum.tally.never_done();
    assert!(never.is_empty() || wanted == 0, "SEED={seed}: these were never carried out: {never:?}");
    figure(
        "model",
        &format!(
            "{} operations of {} kinds, {} done, refused with {} codes; {} transactions repeated after 40001 or 40P01; \
             {} answers that did not stay explained by a serial order, in which {} took effect before earlier clock readings; \
             {} events read beside their writers, {} handed out by subscriptions and projections; \
             of the sagas of many sessions {} completed, {} undone, {} settled by hand, {} parked at some time, {} effects; {seconds:.0} s, {:.0}/s, SEED={seed}",
            sum.tally.operations,
            neobank_model::op::NAMES.len() - never.len(),
            sum.tally.done,
            sum.tally.codes(),
            sum.repeats,
            sum.explained,
            sum.reordered,
            sum.read,
            sum.handed_out,
            sum.sagas.completed,
            sum.sagas.undone,
            sum.sagas.by_hand,
            sum.sagas.parked,
            sum.sagas.effects,
            sum.tally.operations as f64 / seconds,
        ),
    );
}
