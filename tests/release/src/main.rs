//! `upgrade-script FROM TO FRESH`: prints the upgrade script between the two versions. FRESH is the install script that
//! the sources make now; the rest is in `sql/` of the current folder.

use neobank_release::{Sources, script, upgrade};
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [from, to, fresh] = arguments.as_slice() else {
        eprintln!("usage: upgrade-script FROM TO FRESH");
        return ExitCode::FAILURE;
    };
    let read = |path: &str| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let [frozen, fresh, by_hand, finish] = [
        &format!("sql/releases/neobank--{from}.sql"),
        fresh,
        &format!("sql/upgrade/{from}--{to}.sql"),
        "sql/upgrade/finish.sql",
    ]
    .map(read);
    match upgrade(&Sources { frozen: &frozen, fresh: &fresh, by_hand: &by_hand, finish: &finish }) {
        Ok(statements) => {
            print!("{}", script(from, to, &statements));
            ExitCode::SUCCESS
        }
        Err(faults) => {
            eprintln!("sql/upgrade/{from}--{to}.sql must cover what changed, and nothing else:");
            faults.iter().for_each(|fault| eprintln!("  {fault}"));
            ExitCode::FAILURE
        }
    }
}
