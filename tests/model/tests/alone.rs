//! One session against the model.

use neobank_model::alone::{Alone, Watch};
use neobank_sessions::*;

#[test]
fn each_answer_of_one_session_is_predicted() {
    let seed = setting("SEED", 7);
    let mut run = Alone::open(seed, Watch { every_step: false, path: "auto" });
    if let Err(error) = run.run(setting("OPERATIONS", 1000)) {
        panic!("seed {seed}\n{}\n{error}", run.trail());
    }
    say(&run.tally.table());
}

#[test]
fn tg() {
    let r = neobank_model::round::together(setting("SEED", 7), 8, setting("OPERATIONS", 1000));
    match r {
        Ok(r) => say(&format!("{} {} {} {}", r.tally.operations, r.tally.done, r.repeats, r.explained)),
        Err(e) => panic!("{e}"),
    }
}
