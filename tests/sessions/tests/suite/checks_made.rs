//! That no check goes without a test of its own: somewhere its finding is made and told with its severity, and somewhere
//! it is silent about what is in order. Read from the tests' own text: what is said there in so many words, they assert.

use neobank_sessions::*;
use std::collections::BTreeSet;

/// What asserts findings, in the files of checks.
const ASSERTIONS: [&str; 4] = ["found(", "comes_to(", "found_are(", "silent("];

/// The calls of these in a file's text, without comments: the name, and the literals among the arguments.
fn assertions(source: &str) -> Vec<(&'static str, Vec<String>)> {
    let code: String = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut calls = Vec::new();
    for name in ASSERTIONS {
        for (at, _) in code.match_indices(name) {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !code[..at].ends_with(is_part) && !code[..at].ends_with("fn ") {
                calls.push((name, literals(&code[at + name.len()..])));
            }
        }
    }
    calls
}

/// The literals up to the parenthesis that closes.
fn literals(arguments: &str) -> Vec<String> {
    let (mut found, mut open, mut inside) = (Vec::new(), 1, None::<String>);
    let mut characters = arguments.chars();
    while let Some(c) = characters.next() {
        match (&mut inside, c) {
            (Some(_), '"') => found.extend(inside.take()),
            (Some(text), '\\') => text.extend(characters.next()),
            (Some(text), _) => text.push(c),
            (None, '"') => inside = Some(String::new()),
            (None, '(') => open += 1,
            (None, ')') if open == 1 => break,
            (None, ')') => open -= 1,
            _ => (),
        }
    }
    found
}

#[test]
fn every_check_has_a_test_that_makes_its_finding_and_one_that_does_not() {
    let folder = repository_root().join("tests/sessions/tests/suite");
    let (mut made, mut quiet) = (BTreeSet::new(), BTreeSet::new());
    for entry in std::fs::read_dir(&folder).expect("the tests are there").flatten() {
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        if !name.starts_with("checks") || name == "checks_made.rs" {
            continue;
        }
        for (call, literals) in assertions(&std::fs::read_to_string(entry.path()).expect("it is text")) {
            // The check is the first literal; one that a loop hands over does not count.
            let Some((check, told)) = literals.split_first() else { continue };
            let severity = told.last().map_or("", |last| last.rsplit('|').next().unwrap_or(last));
            if call == "silent(" || severity == "silent" {
                quiet.insert(check.clone());
            } else if ["info", "warning", "critical"].contains(&severity) {
                made.insert(check.clone());
            }
        }
    }
    let mut bank = Bank::new();
    let checks = bank.db.lines("select check_id from troubleshoot.check_catalogue order by 1");
    let lacking =
        |has: &BTreeSet<String>| -> Vec<&String> { checks.iter().filter(|check| !has.contains(*check)).collect() };
    assert_eq!(lacking(&made), [""; 0], "no test makes these findings");
    assert_eq!(lacking(&quiet), [""; 0], "no test holds these to silence");
}

#[test]
fn assertions_are_read_as_they_stand() {
    let source = "    found(&mut db, \"slot\", &format!(\"slot \\\"{a}\\\"\"), \"warning\");\n    // silent(db, \"slot\", \"x\")\n    \
                  found_are(db, \"sequence\", &[\"a|info\"]); not_found(\"x\"); comes_to(db, check, \"b\", \"silent\");\nfn silent(a) {}";
    let calls: Vec<String> =
        assertions(source).into_iter().map(|(name, all)| format!("{name}{}", all.join(","))).collect();
    assert_eq!(calls, ["found(slot,slot \"{a}\",warning", "comes_to(b,silent", "found_are(sequence,a|info"]);
}
