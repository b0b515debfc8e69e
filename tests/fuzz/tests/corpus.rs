//! The fuzzer's targets without the fuzzer: over the committed corpus, and over random changes of it.

use neobank_fuzz::TARGETS;
use std::path::Path;
use std::{env, fs};

/// A reproducible stream of numbers (G. Marsaglia, "Xorshift RNGs", 2003: 13, 7, 17).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).expect("every target has a corpus").flatten().collect();
    files.sort_by_key(|file| file.file_name());
    files.iter().map(|file| fs::read(file.path()).expect("a file")).collect()
}

/// Some bytes set, cut off, added, or carried over from another input.
fn changed(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.below(256) as u8),
            2 => bytes.extend((0..dice.below(16)).map(|_| dice.below(256) as u8)),
            3 => {
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len() + 1);
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = dice.below(256) as u8;
                }
            }
        }
    }
    bytes
}

#[test]
fn every_target_holds_over_its_corpus_and_changes_of_it() {
    let setting = |name: &str| env::var(name).ok().filter(|text| !text.is_empty());
    let number =
        |name: &str, default: u64| setting(name).map_or(default, |text| text.parse().expect("a number"));
    let clock = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_micros() as u64;
    let drawn = if number("REPEATABLE", 0) > 0 { 1 } else { clock };
    let (seed, runs) = (number("SEED", drawn), number("RUNS", 20_000));
    for (name, target) in TARGETS {
        let seeds = corpus(name);
        seeds.iter().for_each(|seed| target(seed));
        println!("{name}: {} files and {runs} changes of them, SEED={seed}", seeds.len());
        let mut dice = Dice(seed | 1);
        for _ in 0..runs {
            target(&changed(&mut dice, &seeds));
        }
    }
}
