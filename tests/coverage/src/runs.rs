//! What one build of the code ran, out of `llvm-cov export`, and several of them added up.
//!
//! Each build names its functions differently, so they are matched by where they stand in the source. What counts as
//! code is what the library has that users install: tests and what only they use add to the counts of that, and are
//! not counted themselves. A generic function counts as run where any of its forms ran.

use serde_json::Value;
use std::collections::BTreeMap;

/// Line and column of a piece of code's begin and end.
pub type Span = [u64; 4];

/// True is what ran.
#[derive(Default, Debug, PartialEq)]
pub struct File {
    pub lines: BTreeMap<u64, bool>,
    pub regions: BTreeMap<Span, bool>,
    pub functions: BTreeMap<Span, bool>,
}

pub type Files = BTreeMap<String, File>;

const CODE: u64 = 0;

/// `exported`: what `llvm-cov export` wrote. `root`: the folder that files are named from; others are left out.
pub fn read(exported: &Value, root: &str) -> Files {
    let mut files = Files::new();
    let data = &exported["data"][0];
    for function in list(&data["functions"]) {
        let Some(name) = below(&function["filenames"][0], root) else { continue };
        let file = files.entry(name).or_default();
        let regions = list(&function["regions"]).iter().map(numbers).filter(|r| r[7] == CODE && r[5] == 0);
        let regions: Vec<_> = regions.collect();
        let Some((first, last)) = regions.first().zip(regions.iter().max_by_key(|r| (r[2], r[3]))) else { continue };
        note(&mut file.functions, [first[0], first[1], last[2], last[3]], first[4]);
        regions.iter().for_each(|region| note(&mut file.regions, span(region), region[4]));
    }
    for written in list(&data["files"]) {
        let Some(name) = below(&written["filename"], root) else { continue };
        files.entry(name).or_default().lines = lines(list(&written["segments"]));
    }
    files
}

/// Adds what a build with tests ran of the code in `product`.
pub fn add(product: &mut Files, tested: &Files) {
    fn join<K: Ord>(into: &mut BTreeMap<K, bool>, from: &BTreeMap<K, bool>) {
        into.iter_mut().for_each(|(key, ran)| *ran |= from.get(key).copied().unwrap_or(false));
    }
    for (name, file) in product {
        let Some(other) = tested.get(name) else { continue };
        join(&mut file.lines, &other.lines);
        join(&mut file.regions, &other.regions);
        join(&mut file.functions, &other.functions);
    }
}

/// Segments say where a count begins to hold. A line's is the highest of what begins on it and what reaches into it.
fn lines(segments: &[Value]) -> BTreeMap<u64, bool> {
    let mut lines = BTreeMap::new();
    let mut reaching: Option<bool> = None;
    let mut before = 0;
    for segment in segments {
        let at = |field: usize| &segment[field];
        let line = at(0).as_u64().expect("a segment begins with its line");
        let flag = |field: usize| at(field).as_bool().expect("a segment ends with three flags");
        let counted = flag(3).then(|| at(2).as_u64().expect("a count") > 0);
        if let Some(ran) = reaching {
            (before + 1..=line).for_each(|between| note(&mut lines, between, ran.into()));
        }
        if let (Some(ran), true, false) = (counted, flag(4), flag(5)) {
            note(&mut lines, line, ran.into());
        }
        (before, reaching) = (line, counted);
    }
    lines
}

fn note<K: Ord>(into: &mut BTreeMap<K, bool>, key: K, count: u64) {
    *into.entry(key).or_default() |= count > 0;
}

fn below(name: &Value, root: &str) -> Option<String> {
    let name = name.as_str().expect("a file has a name");
    name.strip_prefix(root)?.strip_prefix('/').map(str::to_owned)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn numbers(region: &Value) -> Vec<u64> {
    list(region).iter().map(|number| number.as_u64().expect("a region is numbers")).collect()
}

fn span(region: &[u64]) -> Span {
    [region[0], region[1], region[2], region[3]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn build(counts: [u64; 3], name: &str) -> Files {
        let [outer, inner, other] = counts;
        let exported = json!({"data": [{
            "files": [{"filename": "/r/src/a.rs", "segments": [
                [1, 1, outer, true, true, false], [2, 9, inner, true, true, false], [4, 2, outer, true, false, false],
                [5, 2, 0, false, false, false], [9, 1, other, true, true, false], [9, 20, 0, false, false, false]]}],
            "functions": [
                {"name": name, "filenames": ["/r/src/a.rs"],
                 "regions": [[1, 1, 5, 2, outer, 0, 0, 0], [2, 9, 4, 2, inner, 0, 0, 0], [3, 1, 3, 2, 0, 0, 0, 3]]},
                {"name": "other", "filenames": ["/r/src/a.rs"], "regions": [[9, 1, 9, 20, other, 0, 0, 0]]},
                {"name": "foreign", "filenames": ["/elsewhere/src/a.rs"], "regions": [[1, 1, 2, 2, 7, 0, 0, 0]]}]}]});
        read(&exported, "/r")
    }

    #[test]
    fn lines_take_the_highest_count_that_touches_them() {
        let files = build([3, 0, 0], "f");
        let lines: Vec<_> = files["src/a.rs"].lines.iter().map(|(line, ran)| (*line, *ran)).collect();
        assert_eq!(lines, [(1, true), (2, true), (3, false), (4, false), (5, true), (9, false)]);
        assert_eq!(files.len(), 1, "what lies elsewhere does not count");
    }

    #[test]
    fn builds_with_other_names_for_the_same_code_add_up() {
        let mut product = build([3, 0, 0], "f");
        add(&mut product, &build([1, 1, 0], "f_of_the_test_build"));
        let file = &product["src/a.rs"];
        assert_eq!(file.regions.values().filter(|ran| **ran).count(), 2);
        assert_eq!(file.regions.len(), 3, "a gap between two regions is no code");
        assert_eq!(file.functions.values().collect::<Vec<_>>(), [&true, &false]);
        assert!(file.lines[&3] && !file.lines[&9]);
    }

    #[test]
    fn what_only_a_test_build_has_is_not_counted() {
        let mut product = build([3, 0, 0], "f");
        let mut tested = Files::new();
        let only_there = tested.entry("src/a.rs".to_owned()).or_default();
        only_there.functions.insert([70, 1, 80, 1], true);
        only_there.lines.insert(70, true);
        add(&mut product, &tested);
        assert_eq!(product, build([3, 0, 0], "f"));
    }
}
