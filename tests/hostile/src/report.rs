//! What came of the calls, by function.

use std::collections::BTreeMap;

#[derive(Clone, Default)]
pub struct Tally {
    pub calls: u64,
    pub successes: u64,
    pub refusals: u64,
    pub codes: BTreeMap<String, u64>,
}

#[derive(Default)]
pub struct Report {
    pub by_name: BTreeMap<String, Tally>,
}

impl Report {
    pub fn of(&mut self, name: &str) -> &mut Tally {
        self.by_name.entry(name.to_owned()).or_default()
    }

    pub fn total(&self, of: impl Fn(&Tally) -> u64) -> u64 {
        self.by_name.values().map(of).sum()
    }

    /// Of the name that was called least.
    pub fn least(&self) -> u64 {
        self.by_name.values().map(|tally| tally.calls).min().unwrap_or(0)
    }

    /// Names that never answered anything but a refusal.
    pub fn never_past(&self) -> Vec<&str> {
        self.by_name.iter().filter(|(_, tally)| tally.successes == 0).map(|(name, _)| name.as_str()).collect()
    }

    pub fn lines(&self) -> Vec<String> {
        let line = |(name, tally): (&String, &Tally)| {
            let codes: Vec<String> = tally.codes.iter().map(|(code, times)| format!("{code} {times}")).collect();
            format!("{name}: {} calls, {} answered; {}", tally.calls, tally.successes, codes.join(", "))
        };
        self.by_name.iter().map(line).collect()
    }
}
