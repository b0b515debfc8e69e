//! Every SQL example of the README and of docs/ is run as it stands.
//!
//! A file's blocks run in order through one psql session in a fresh database;
//! the extension is there unless the file itself creates it. A block with
//! lines `--> text` must print exactly these lines, in order; `...` in one
//! stands for anything. A block marked `sql no-run` is left out.

use neobank_sessions::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Block {
    line: usize,
    sql: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, Block)> = None;
    for (at, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(info)) => {
                let mut words = info.split_whitespace();
                let sql = words.next() == Some("sql");
                let run = sql && !words.any(|word| word == "no-run");
                let block = Block { line: at + 2, sql: String::new() };
                open = Some((run, block));
            }
            (Some(_), Some(_)) => {
                if let Some((true, block)) = open.take() {
                    blocks.push(block);
                }
                open = None;
            }
            (Some((_, block)), None) => {
                block.sql.push_str(line);
                block.sql.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a code block is not closed");
    blocks
}

fn expected(block: &Block) -> Vec<String> {
    block
        .sql
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("-->"))
        .map(|line| line.trim().to_owned())
        .collect()
}

/// Whether the line is the pattern, in which `...` stands for anything.
fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("...");
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn marker(n: usize) -> String {
    format!("=== block {n} ends ===")
}

/// Runs the blocks of one file; the complaints, none if all is well.
fn run(path: &Path, psql: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let blocks = blocks(&text);
    let creates = blocks.iter().any(|block| block.sql.to_lowercase().contains("create extension neobank"));
    let mut bank = if creates { Bank::empty_database() } else { Bank::new() };
    let roles = "select quote_ident(rolname) from pg_roles where rolname !~ '^nbt_' order by 1";
    let roles_before = bank.db.lines(roles);
    let mut complaints = Vec::new();
    let mut script = String::new();
    for (n, block) in blocks.iter().enumerate() {
        script.push_str(&block.sql);
        script.push_str(&format!("\n\\echo {}\n", marker(n)));
    }
    let scratch = Scratch::new(&format!("{}_document", bank.name));
    let file = scratch.file("document.sql");
    fs::write(&file, script).expect("a temporary file");
    let mut command: Command = server().tool(psql, &bank.name);
    let output = command
        .args(["-X", "-At", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .expect("psql starts");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut rest = stdout.as_str();
    for (n, block) in blocks.iter().enumerate() {
        let place = format!("{}:{}", path.display(), block.line);
        let Some((mine, after)) = rest.split_once(&format!("{}\n", marker(n))) else {
            complaints.push(format!("{place}: the block fails\n{}\n{stderr}", block.sql));
            break;
        };
        rest = after;
        let wanted = expected(block);
        let came: Vec<&str> = mine.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let same = wanted.len() == came.len() && wanted.iter().zip(&came).all(|(want, line)| matches(want, line));
        if !wanted.is_empty() && !same {
            complaints.push(format!("{place}: printed\n{}\ninstead of\n{}", came.join("\n"), wanted.join("\n")));
        }
    }
    // Roles are the cluster's: an example's must not outlive its database.
    let roles_after = bank.db.lines(roles);
    for role in roles_after.iter().filter(|role| !roles_before.contains(role)) {
        bank.db.run(&format!("drop owned by {role}; drop role {role}"));
    }
    complaints
}

#[test]
fn the_examples_of_the_documents_run_and_print_what_they_say() {
    let Some(psql) = psql() else {
        skipped("examples of the documents", "there is no psql");
        return;
    };
    let root = repository_root();
    let mut files: Vec<PathBuf> = vec![root.join("README.md")];
    if let Ok(docs) = fs::read_dir(root.join("docs")) {
        files.extend(docs.map(|entry| entry.expect("a folder entry").path()));
    }
    files.retain(|path| path.extension().is_some_and(|ext| ext == "md") && path.is_file());
    files.sort();
    if files.is_empty() {
        skipped("examples of the documents", "there is no README.md and no docs/*.md");
        return;
    }
    let complaints: Vec<String> = files.iter().flat_map(|path| run(path, &psql)).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

#[test]
fn an_expected_line_may_leave_out_what_varies() {
    assert!(matches("paid ... to ...", "paid 10.00 to 0190-aa"));
    assert!(matches("10.00", "10.00"));
    assert!(!matches("10.00", "10.000"));
    assert!(!matches("... left", "10.00 left over"));
    assert!(!matches("a...b...c", "a c b"));
}
