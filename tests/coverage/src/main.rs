//! `neobank-coverage FOLDER`: reads what `llvm-cov export` wrote of each build into FOLDER (`product.so.json`, and
//! `units.json` and `in-server.so.json` where there are), prints the table and the functions that never ran, and writes
//! coverage.json and not-covered.txt there.

mod runs;
mod table;

use runs::{Files, Span};
use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

fn main() {
    let folder = env::args().nth(1).expect("the folder of the reports is the argument");
    let folder = Path::new(&folder);
    let root = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).expect("the repository is there");
    let build = |name: &str| -> Option<Files> {
        let text = fs::read_to_string(folder.join(name)).ok()?;
        let exported = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name} is not what was exported: {e}"));
        Some(runs::read(&exported, root.to_str().expect("a path in UTF-8")))
    };
    let mut product = build("product.so.json").expect("the library's own counts were exported");
    for tested in ["units.json", "in-server.so.json"] {
        match build(tested) {
            Some(tested) => runs::add(&mut product, &tested),
            None => println!("without {tested}: the tests inside the server are not counted"),
        }
    }
    let table = table::add_up(&product);
    let source = |name: &str| fs::read_to_string(root.join(name)).expect("counted code has a source");
    let (never, listing) = not_covered(&product, source);
    write(folder, "coverage.json", &format!("{:#}\n", table.json()));
    write(folder, "not-covered.txt", &listing);
    print!("{}", table.text());
    println!("\n{} functions never ran:", never.len());
    never.iter().for_each(|function| println!("   {function}"));
    println!("\nFIGURE: coverage of src/: {}", table.total.sentence());
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// The functions that never ran, and a listing of every line that did not.
fn not_covered(files: &Files, source: impl Fn(&str) -> String) -> (Vec<String>, String) {
    let (mut never, mut listing) = (Vec::new(), String::new());
    for (name, file) in files {
        let text = source(name);
        let text: Vec<&str> = text.lines().collect();
        let line = |number: u64| text.get(number as usize - 1).copied().unwrap_or_default();
        never.extend(never_ran(&file.functions).map(|span| format!("{name}:{}: {}", span[0], line(span[0]).trim())));
        for (number, _) in file.lines.iter().filter(|(_, ran)| !**ran) {
            listing.push_str(&format!("{name}:{number}: {}\n", line(*number)));
        }
    }
    (never, listing)
}

/// Without what stands inside another function that never ran.
fn never_ran(functions: &BTreeMap<Span, bool>) -> impl Iterator<Item = &Span> {
    let idle: Vec<&Span> = functions.iter().filter(|(_, ran)| !**ran).map(|(span, _)| span).collect();
    let inside = |inner: &Span, outer: &Span| {
        inner != outer && (outer[0], outer[1]) <= (inner[0], inner[1]) && (inner[2], inner[3]) <= (outer[2], outer[3])
    };
    let mut outermost = idle.clone();
    outermost.retain(|span| !idle.iter().any(|outer| inside(span, outer)));
    outermost.into_iter()
}
