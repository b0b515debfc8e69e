//! What the fuzzer hands to the code of the extension that reads bytes and texts of callers, and what it then holds
//! the answers against: a second way to the same answer, in whole numbers of any size.
//!
//! The extension's own sources are mounted here by their paths, without the server. A target is a function over bytes
//! that panics where something is wrong; `fuzz_targets/` gives it to libFuzzer, `tests/corpus.rs` to `cargo test`.
#![forbid(unsafe_code)]

// What of the sources is not called here is called in the extension.
#[allow(dead_code)]
#[path = "../../../src/banking/core.rs"]
mod banking;
#[allow(dead_code)]
#[path = "../../../src/error/mod.rs"]
mod error;
#[allow(dead_code)]
mod pg;
#[allow(dead_code)]
mod txn_processing;

mod amounts;
mod calendar;
mod input;
mod numeric;
mod percentages;
mod references;
mod statement_lines;

pub use amounts::amounts;
pub use calendar::calendar;
pub use numeric::numeric;
pub use percentages::percentages;
pub use references::references;
pub use statement_lines::statement_lines;

/// A target, and its name, which is that of its corpus.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 6] = [
    ("numeric", numeric),
    ("statement_lines", statement_lines),
    ("calendar", calendar),
    ("references", references),
    ("amounts", amounts),
    ("percentages", percentages),
];

/// Every refusal must have a text, in the style of the others.
fn well_worded(error: &error::Error) {
    let report = error.report();
    assert_eq!(report.sqlstate.len(), 5, "{error:?}");
    assert!(report.message.starts_with(|first: char| !first.is_uppercase()), "{error:?}");
    assert!(!report.message.ends_with('.') && report.hint.is_some(), "{error:?}");
}
