//! `troubleshoot.metrics`: what Prometheus reads, held against a parser of the tests' own, against promtool and against
//! Prometheus' client for Python.

use neobank_sessions::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

/// A line: its name, its labels and its value.
pub type Sample = (String, Vec<(String, String)>, f64);

/// Strict: what the format does not allow panics.
pub fn parsed(text: &str) -> (BTreeMap<String, String>, Vec<Sample>) {
    assert!(text.ends_with('\n'), "the last line ends too");
    let (mut kinds, mut samples) = (BTreeMap::new(), Vec::<Sample>::new());
    let (mut seen, mut current) = (BTreeSet::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a text");
            assert!(!help.is_empty() && seen.insert(name.to_owned()), "{name} comes in two places");
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a kind");
            assert!(name == current && ["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            kinds.insert(name.to_owned(), kind.to_owned());
        } else {
            let sample = sample(line);
            assert_eq!(sample.0, current, "{line} is not below its own name");
            samples.push(sample);
        }
    }
    let mut ids: Vec<String> = samples.iter().map(|(name, labels, _)| format!("{name}{labels:?}")).collect();
    ids.sort();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "a series comes twice");
    (kinds, samples)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(label), "{line}");
            let mut value = String::new();
            let mut characters = after.char_indices();
            let close = loop {
                match characters.next().unwrap_or_else(|| panic!("an open quote: {line}")) {
                    (at, '"') => break at,
                    (_, '\\') => match characters.next() {
                        Some((_, 'n')) => value.push('\n'),
                        Some((_, c @ ('\\' | '"'))) => value.push(c),
                        other => panic!("{other:?} is escaped in {line}"),
                    },
                    (_, c) => value.push(c),
                }
            };
            labels.push((label.to_owned(), value));
            rest = &after[close + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').unwrap_or_else(|| panic!("{line}"));
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("{line}")))
}

/// What runs the text through Prometheus' own check; none where that is not installed.
fn promtool(text: &str) -> Option<()> {
    let fetched = repository_root().join("target/tools/promtool");
    let mut child = Command::new(if fetched.is_file() { fetched.as_os_str() } else { "promtool".as_ref() })
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.trim().is_empty(), "{told}");
    Some(())
}

/// What Debian's package of Prometheus' client for Python makes of it: one name a line, as the format's readers see it.
fn python(text: &str) -> Option<BTreeSet<String>> {
    // The system's, for which packages are; another may come first on the PATH.
    const PYTHON: &str = "/usr/bin/python3";
    const READ: &str = "import sys\n\
        from prometheus_client.parser import text_string_to_metric_families as families\n\
        print('\\n'.join(s.name for f in families(sys.stdin.read()) for s in f.samples))";
    let found = Command::new(PYTHON).args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut child = Command::new(PYTHON)
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was found");
    child.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "the parser refuses it");
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// The text as the server answers it, line feeds and all.
fn metrics(session: &mut Client) -> String {
    session.query_one("select troubleshoot.metrics()", &[]).expect("it answers").get(0)
}

const ODD: &str = "odd \\ \"name\"\nof <script>";

#[test]
fn every_parser_reads_it_whatever_tables_are_called() {
    let mut bank = Bank::new();
    bank.db
        .run(&format!("create table \"{}\" as select 1 as n from generate_series(1, 50000)", ODD.replace('"', "\"\"")));
    bank.db.run("select pg_stat_force_next_flush()");
    bank.db.run("vacuum analyze");
    let text = metrics(&mut bank.db);
    let (kinds, samples) = parsed(&text);
    assert!(kinds.len() > 40, "{}", kinds.len());
    let odd = samples.iter().find(|(name, labels, _)| {
        name == "neobank_table_live_rows" && labels.contains(&("table".to_owned(), ODD.to_owned()))
    });
    assert_eq!(odd.map(|(_, _, value)| *value), Some(50_000.0), "{text}");
    let value = |wanted: &str| samples.iter().find(|(name, ..)| name == wanted).map(|(_, _, value)| *value);
    assert_eq!(value("neobank_sees_all_sessions"), Some(1.0));
    assert!(value("neobank_commits_total").is_some_and(|commits| commits > 0.0));
    assert!(value("neobank_connections_limit").is_some_and(|limit| limit > 10.0));
    assert!(samples.iter().any(|(name, labels, _)| name == "neobank_findings"
        && labels.contains(&("severity".to_owned(), "critical".to_owned()))));
    if promtool(&text).is_none() {
        skipped("metrics checked by promtool", "it is not installed");
    }
    match python(&text) {
        Some(names) => assert_eq!(names, samples.iter().map(|(name, ..)| name.clone()).collect()),
        None => skipped("metrics read by Prometheus' client for Python", "it is not installed"),
    }
}

#[test]
fn the_number_of_series_has_a_bound() {
    let mut bank = Bank::new();
    bank.db.run(
        "do $$ begin for i in 1..100 loop execute format('create table t%s as select 1', i); end loop; end $$; \
         select pg_create_physical_replication_slot(current_database() || '_' || n) from generate_series(1, 5) n",
    );
    let (_, samples) = parsed(&metrics(&mut bank.db));
    bank.db.run("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name ~ ('^' || current_database() || '_')");
    let of_tables = samples.iter().filter(|(name, ..)| name == "neobank_table_size_bytes").count();
    assert_eq!(of_tables, 20);
    assert!(samples.len() < 500, "{}", samples.len());
}

#[test]
fn who_may_see_less_is_told_less() {
    let mut bank = Bank::new();
    let (reader, monitor) = (bank.role("reader"), bank.role("monitor"));
    bank.db.run(&format!(
        "select neobank.grant_usage('{reader}', 'reader'), neobank.grant_usage('{monitor}', 'reader'); grant pg_monitor to {monitor}"
    ));
    let (kinds, samples) = parsed(&metrics(&mut bank.session_as(&reader)));
    assert!(samples.contains(&("neobank_sees_all_sessions".to_owned(), vec![], 0.0)));
    assert!(!kinds.contains_key("neobank_connections") && !kinds.contains_key("neobank_waiting_connections"));
    let (kinds, samples) = parsed(&metrics(&mut bank.session_as(&monitor)));
    assert!(samples.contains(&("neobank_sees_all_sessions".to_owned(), vec![], 1.0)));
    assert!(kinds.contains_key("neobank_connections"));
}
