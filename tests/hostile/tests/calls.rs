//! Every function by its signature in the catalog, every view and table, every setting: with input that makes sense,
//! and with input that does not.

use neobank_hostile::run::Fuzz;
use neobank_hostile::{catalog, foul, values};
use neobank_sessions::*;
use std::fs;
use std::time::Instant;

/// Calls of one function in a row, after which there is a new bank.
const BLOCK: u64 = 100;

/// What the server's log says from now on; none where the tests cannot read it.
struct Log(Option<(std::path::PathBuf, usize)>);

impl Log {
    fn from_now() -> Log {
        Log(server().log.and_then(|path| fs::metadata(&path).ok().map(|found| (path, found.len() as usize))))
    }

    fn crashes(&self) -> Vec<String> {
        let Some((path, start)) = &self.0 else { return Vec::new() };
        let bytes = fs::read(path).expect("it was there before");
        let text = String::from_utf8_lossy(&bytes[*start..]);
        let crash = |line: &&str| line.contains("terminated by signal") || line.contains("PANIC:");
        text.lines().filter(crash).map(str::to_owned).collect()
    }
}

/// All functions, relations and writes once, `block` calls of each.
fn pass(fuzz: &mut Fuzz, block: u64) {
    let functions = fuzz.functions();
    assert!(functions.len() > 80, "the catalog has them: {}", functions.len());
    for function in &functions {
        fuzz.block(function, block);
    }
    let queue: Vec<_> = functions.iter().filter(|f| f.name.contains(".process_")).cloned().collect();
    for relation in fuzz.relations() {
        for _ in 0..block.div_ceil(5) {
            fuzz.query(&relation);
            fuzz.write(&relation, &queue);
        }
    }
}

#[test]
fn every_function_answers_or_refuses_properly() {
    let (calls, seed, began, log) = (setting("CALLS", 3_000), seed(), Instant::now(), Log::from_now());
    say(&format!("hostile calls: CALLS={calls} SEED={seed}"));
    let mut fuzz = Fuzz::new(seed);
    let up_since = fuzz.world.bank.db.one("select pg_postmaster_start_time()");
    let functions = fuzz.functions().len() as u64;
    // Queries and writes of the tables are about half as many as the calls of functions.
    let block = (calls * 2 / 3 / functions).clamp(1, BLOCK);
    loop {
        pass(&mut fuzz, block);
        if fuzz.found_enough() || fuzz.report.total(|tally| tally.calls) >= calls {
            break;
        }
        fuzz.renew();
    }
    fuzz.check_books();
    for line in fuzz.report.lines().iter().filter(|_| calls >= 20_000) {
        say(line);
    }
    let report = &fuzz.report;
    say(&format!("never answered anything but a refusal: {}", report.never_past().join(", ")));
    figure(
        "hostile calls",
        &format!(
            "{functions} functions and {} statements on tables and views, {} calls, at least {} of each, \
             {} answered, {} refused, {} faults, {} s, seed {seed}",
            report.by_name.len() as u64 - functions,
            report.total(|tally| tally.calls),
            report.least(),
            report.total(|tally| tally.successes),
            report.total(|tally| tally.refusals),
            fuzz.faults.len(),
            began.elapsed().as_secs()
        ),
    );
    let faults: Vec<String> = fuzz.faults.iter().map(|(what, sql)| format!("{what}\n{sql}")).collect();
    assert!(faults.is_empty(), "SEED={seed} CALLS={calls}\n{}", faults.join("\n\n"));
    assert_eq!(log.crashes(), [""; 0], "SEED={seed} CALLS={calls}");
    assert_eq!(fuzz.world.bank.db.one("select pg_postmaster_start_time()"), up_since, "the server started anew");
}

#[test]
fn odd_settings_are_refused_or_lived_with() {
    let (seed, began) = (seed(), Instant::now());
    let mut fuzz = Fuzz::new(seed);
    let functions = fuzz.functions();
    let settings = catalog::settings(&mut fuzz.world.bank.db);
    assert!(settings.len() > 5, "{settings:?}");
    let (mut tried, mut taken) = (0, 0);
    for setting in &settings {
        let extremes = ["-1", "0", "1.5", "1e10", "2147483648", "-9223372036854775809", "1h", "maybe", "DEFAULT"];
        for value in setting.valid.iter().map(String::as_str).chain(extremes).chain(foul::TEXTS.iter().copied()) {
            let set = format!("set {} = {}", setting.name, values::quoted(value));
            tried += 1;
            if fuzz.set(&set) {
                assert!(setting.in_session, "a session may not: {set}");
                taken += 1;
                for _ in 0..3 {
                    let function = &functions[fuzz.dice.below(functions.len())];
                    fuzz.call_while(&set, function);
                }
            }
        }
        fuzz.set(&format!("reset {}", setting.name));
    }
    fuzz.check_books();
    let seconds = began.elapsed().as_secs();
    let count = settings.len();
    figure("hostile settings", &format!("{count} settings, {tried} values, {taken} taken, {seconds} s, seed {seed}"));
    assert!(fuzz.faults.is_empty(), "SEED={seed} {:#?}", fuzz.faults);
}
