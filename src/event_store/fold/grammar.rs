//! Operations as a definition writes them, each an object:
//!
//! `{"set" | "merge" | "add" | "subtract" | "append" | "remove": path, "value": constant}` with `"from": path` in the
//! event's data in place of `value`, and `"optional": true` beside it. A path is an array of texts; an array's element
//! goes by its number from 0.
#![forbid(unsafe_code)]

use super::VERSION;
use super::operation::{Kind, Operation, Source};
use super::tree::{Fields, Tree};

pub const MAX_OPERATIONS: usize = 100;
const MAX_PATH: usize = 16;
const MAX_KEY: usize = 100;

/// What is wrong with a definition: the operation's number from 1 (0: all of them), its key, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct BadOperation {
    pub number: usize,
    pub key: String,
    pub why: String,
}

const KINDS: [(&str, Kind); 6] = [
    ("set", Kind::Set),
    ("merge", Kind::Merge),
    ("add", Kind::Add),
    ("subtract", Kind::Subtract),
    ("append", Kind::Append),
    ("remove", Kind::Remove),
];

type Bad = (String, String);

fn bad<T>(key: &str, why: impl Into<String>) -> Result<T, Bad> {
    Err((key.to_owned(), why.into()))
}

pub fn operations(definition: &Tree) -> Result<Vec<Operation>, BadOperation> {
    let all = |why: String| BadOperation { number: 0, key: "operations".into(), why };
    let Tree::Array(items) = definition else { return Err(all("They are not an array.".into())) };
    if items.len() > MAX_OPERATIONS {
        return Err(all(format!("There are {}; the most is {MAX_OPERATIONS}.", items.len())));
    }
    let checked = items
        .iter()
        .enumerate()
        .map(|(at, item)| operation(item).map_err(|(key, why)| BadOperation { number: at + 1, key, why }));
    checked.collect()
}

fn operation(item: &Tree) -> Result<Operation, Bad> {
    let Tree::Object(item) = item else { return bad("operation", "It is not an object.") };
    let named: Vec<_> = KINDS.iter().filter(|(name, _)| item.contains_key(*name)).collect();
    let &[&(name, kind)] = named.as_slice() else {
        return bad(
            "operation",
            "It must have exactly one of the keys set, merge, add, subtract, append and remove.",
        );
    };
    if let Some(unknown) =
        item.keys().find(|key| ![name, "value", "from", "optional"].contains(&key.as_str()))
    {
        let unknown: String = unknown.chars().take(50).collect();
        return bad(&unknown, "There is no such key.");
    }
    let path = path(name, &item[name])?;
    if path.is_empty() && !matches!(kind, Kind::Set | Kind::Merge) {
        return bad(name, "Its path is empty; only set and merge are for the whole state.");
    }
    if path.first().is_some_and(|key| key == VERSION) {
        return bad(name, "The state's version is the aggregate's, and no operation changes it.");
    }
    let source = source(item, kind)?;
    check_constant(kind, path.is_empty(), source.as_ref())?;
    let optional = match item.get("optional") {
        None => false,
        Some(Tree::Bool(optional)) if matches!(source, Some(Source::Event(_))) => *optional,
        Some(Tree::Bool(_)) => return bad("optional", "It is for what comes from the event."),
        Some(_) => return bad("optional", "It is not true or false."),
    };
    Ok(Operation { kind, path: path.into(), source, optional })
}

fn path(key: &str, found: &Tree) -> Result<Vec<String>, Bad> {
    let Tree::Array(items) = found else { return bad(key, "Its path is not an array of texts.") };
    if items.len() > MAX_PATH {
        return bad(key, format!("Its path has {} keys; the most is {MAX_PATH}.", items.len()));
    }
    let keys = items.iter().map(|item| match item {
        Tree::Text(text) if text.chars().nth(MAX_KEY).is_some() => {
            bad(key, format!("A key of its path is longer than {MAX_KEY} characters."))
        }
        Tree::Text(text) => Ok(text.clone()),
        _ => bad(key, "Its path is not an array of texts."),
    });
    keys.collect()
}

fn source(item: &Fields, kind: Kind) -> Result<Option<Source>, Bad> {
    match (item.get("value"), item.get("from")) {
        (None, None) if kind == Kind::Remove => Ok(None),
        (Some(_), _) if kind == Kind::Remove => bad("value", "To remove needs none."),
        (_, Some(_)) if kind == Kind::Remove => bad("from", "To remove needs none."),
        (None, None) => bad("value", "It has neither value nor from."),
        (Some(_), Some(_)) => bad("from", "It has value as well; one of them is wanted."),
        (Some(value), None) => Ok(Some(Source::Constant(value.clone()))),
        (None, Some(from)) => path("from", from).map(|path| Some(Source::Event(path))),
    }
}

/// What can be said of a constant before any event comes.
fn check_constant(kind: Kind, is_whole: bool, source: Option<&Source>) -> Result<(), Bad> {
    let Some(Source::Constant(value)) = source else { return Ok(()) };
    match kind {
        Kind::Add | Kind::Subtract => {
            value.figure("value").map(drop).or_else(|why| bad("value", format!("The operation {why}.")))
        }
        Kind::Merge => object_only(value),
        Kind::Set if is_whole => object_only(value),
        _ => Ok(()),
    }
}

fn object_only(value: &Tree) -> Result<(), Bad> {
    if matches!(value, Tree::Object(_)) { Ok(()) } else { bad("value", "It is not an object.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(definition: &str) -> Option<(usize, String)> {
        let tree: Tree = definition.parse().expect("it is JSON");
        operations(&tree).err().map(|bad| (bad.number, bad.key))
    }

    #[test]
    fn each_operation_is_read_as_it_is_written() {
        let definition = r#"[{"set": [], "from": []}, {"merge": ["a"], "value": {"b": 1}},
            {"add": ["balance"], "from": ["amount"]}, {"subtract": ["x", "0"], "value": "1.50"},
            {"append": ["list"], "from": ["n"], "optional": true}, {"remove": ["y", "z"]}]"#;
        let read = operations(&definition.parse().expect("it is JSON")).expect("it is right");
        let kinds: Vec<Kind> = read.iter().map(|operation| operation.kind).collect();
        assert_eq!(kinds, KINDS.map(|(_, kind)| kind));
        assert_eq!(read[2].source, Some(Source::Event(vec!["amount".into()])));
        assert!(read[4].optional && !read[2].optional);
    }

    #[test]
    fn a_bad_operation_is_named_with_its_key() {
        let good = r#"{"remove": ["a"]}"#;
        for (item, key) in [
            ("1", "operation"),
            ("{}", "operation"),
            (r#"{"set": ["a"], "add": ["a"], "value": 1}"#, "operation"),
            (r#"{"set": ["a"], "valu": 1}"#, "valu"),
            (r#"{"set": "a", "value": 1}"#, "set"),
            (r#"{"set": [1], "value": 1}"#, "set"),
            (r#"{"set": ["version"], "value": 1}"#, "set"),
            (r#"{"add": [], "value": 1}"#, "add"),
            (r#"{"remove": []}"#, "remove"),
            (r#"{"remove": ["a"], "value": 1}"#, "value"),
            (r#"{"set": ["a"]}"#, "value"),
            (r#"{"set": ["a"], "value": 1, "from": []}"#, "from"),
            (r#"{"set": ["a"], "from": "b"}"#, "from"),
            (r#"{"set": [], "value": 1}"#, "value"),
            (r#"{"merge": ["a"], "value": [1]}"#, "value"),
            (r#"{"add": ["a"], "value": "ten"}"#, "value"),
            (r#"{"set": ["a"], "from": ["b"], "optional": 1}"#, "optional"),
            (r#"{"set": ["a"], "value": 1, "optional": true}"#, "optional"),
        ] {
            assert_eq!(fault(&format!("[{good}, {item}]")), Some((2, key.to_owned())), "{item}");
        }
        assert_eq!(fault("{}"), Some((0, "operations".into())));
        assert_eq!(fault(&format!("[{}]", vec![good; 101].join(","))), Some((0, "operations".into())));
    }
}
