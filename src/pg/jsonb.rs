//! The binary form of jsonb, read in place: what a container has, without a tree of it.
//!
//! A container is a header word, an entry for each child, and their data. An entry has the child's kind, and its length
//! or, now and then, where its data ends. An object has all keys first, then all values.
#![forbid(unsafe_code)]

const COUNT: u32 = 0x0FFF_FFFF;
const IS_SCALAR: u32 = 0x1000_0000;
const IS_OBJECT: u32 = 0x2000_0000;

const LENGTH: u32 = 0x0FFF_FFFF;
const KIND: u32 = 0x7000_0000;
const HAS_END: u32 = 0x8000_0000;

const TEXT: u32 = 0;
const NUMBER: u32 = 0x1000_0000;
const NULL: u32 = 0x4000_0000;
const CONTAINER: u32 = 0x5000_0000;

const WORD: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Json<'a> {
    Null,
    Bool,
    Number,
    Text(&'a str),
    Array(Container<'a>),
    Object(Container<'a>),
}

/// An array or an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container<'a>(&'a [u8]);

impl<'a> Container<'a> {
    /// All of a jsonb's bytes after its length.
    pub fn new(bytes: &'a [u8]) -> Self {
        Container(bytes)
    }

    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    fn word(self, at: usize) -> u32 {
        let start = at * WORD;
        u32::from_ne_bytes(self.0[start..start + WORD].try_into().expect("a word has four bytes"))
    }

    /// Elements of an array, pairs of an object.
    pub fn count(self) -> usize {
        (self.word(0) & COUNT) as usize
    }

    pub fn is_object(self) -> bool {
        self.word(0) & IS_OBJECT != 0
    }

    /// A single value that is neither array nor object.
    pub fn is_scalar(self) -> bool {
        self.word(0) & IS_SCALAR != 0
    }

    fn children(self) -> Children<'a> {
        let count = if self.is_object() { 2 * self.count() } else { self.count() };
        Children { of: self, next: 0, count, offset: 0 }
    }

    pub fn elements(self) -> impl Iterator<Item = Json<'a>> {
        self.children()
    }

    /// Keys with their values.
    pub fn pairs(self) -> impl Iterator<Item = (&'a str, Json<'a>)> {
        let keys = self.children().take(self.count()).map(|key| match key {
            Json::Text(key) => key,
            other => panic!("a key is a text, not {other:?}"),
        });
        keys.zip(self.children().skip(self.count()))
    }

    /// Whether arrays and objects are nested deeper than that.
    pub fn is_deeper_than(self, levels: usize) -> bool {
        let mut open = if self.is_scalar() { Vec::new() } else { vec![self.children()] };
        while let Some(innermost) = open.last_mut() {
            match innermost.next() {
                _ if open.len() > levels => return true,
                Some(Json::Array(inner) | Json::Object(inner)) => open.push(inner.children()),
                Some(_) => {}
                None => {
                    open.pop();
                }
            }
        }
        false
    }
}

struct Children<'a> {
    of: Container<'a>,
    next: usize,
    count: usize,
    /// Where the data of the next one begins.
    offset: usize,
}

impl<'a> Iterator for Children<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        if self.next == self.count {
            return None;
        }
        let entry = self.of.word(1 + self.next);
        let length = (entry & LENGTH) as usize;
        let start = self.offset;
        let end = if entry & HAS_END != 0 { length } else { start + length };
        (self.next, self.offset) = (self.next + 1, end);
        let data = &self.of.0[(1 + self.count) * WORD..];
        Some(match entry & KIND {
            TEXT => Json::Text(std::str::from_utf8(&data[start..end]).expect("the database is in UTF8")),
            NUMBER => Json::Number,
            NULL => Json::Null,
            CONTAINER => {
                let inner = Container(&data[start.next_multiple_of(WORD)..end]);
                if inner.is_object() { Json::Object(inner) } else { Json::Array(inner) }
            }
            _ => Json::Bool,
        })
    }
}

#[cfg(test)]
pub mod written {
    //! The same form written, for tests.
    use super::*;
    use serde_json::Value;

    pub fn container(value: &Value) -> Vec<u8> {
        let (flag, children): (u32, Vec<Value>) = match value {
            Value::Array(items) => (0x4000_0000, items.clone()),
            Value::Object(map) => {
                let keys = map.keys().map(|key| Value::from(key.clone()));
                (IS_OBJECT, keys.chain(map.values().cloned()).collect())
            }
            scalar => (0x4000_0000 | IS_SCALAR, vec![scalar.clone()]),
        };
        let count = if flag == IS_OBJECT { children.len() / 2 } else { children.len() };
        let mut entries = vec![flag | count as u32];
        let mut data = Vec::new();
        for (at, child) in children.iter().enumerate() {
            let before = data.len();
            let kind = match child {
                Value::Null => NULL,
                Value::Bool(false) => 0x2000_0000,
                Value::Bool(true) => 0x3000_0000,
                Value::String(text) => {
                    data.extend_from_slice(text.as_bytes());
                    TEXT
                }
                Value::Number(_) => {
                    data.resize(data.len().next_multiple_of(WORD) + 8, 7);
                    NUMBER
                }
                inner => {
                    data.resize(data.len().next_multiple_of(WORD), 0);
                    data.extend(container(inner));
                    CONTAINER
                }
            };
            let (flag, length) = if at % 32 == 31 { (HAS_END, data.len()) } else { (0, data.len() - before) };
            entries.push(kind | flag | length as u32);
        }
        let mut bytes: Vec<u8> = entries.into_iter().flat_map(u32::to_ne_bytes).collect();
        bytes.extend(data);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn children_are_found_behind_one_another() {
        let value =
            json!({"a": "x", "bc": {"d": [1, "yz", null]}, "e": true, "f": [], "g": 1.5, "h": "last"});
        let bytes = written::container(&value);
        let pairs: Vec<_> = Container::new(&bytes).pairs().collect();
        assert_eq!(pairs.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["a", "bc", "e", "f", "g", "h"]);
        assert_eq!((pairs[0].1, pairs[2].1, pairs[4].1), (Json::Text("x"), Json::Bool, Json::Number));
        assert_eq!(pairs[5].1, Json::Text("last"));
        let Json::Object(inner) = pairs[1].1 else { panic!("{:?}", pairs[1]) };
        let Some((_, Json::Array(inner))) = inner.pairs().next() else { panic!("{inner:?}") };
        assert_eq!(inner.elements().collect::<Vec<_>>(), [Json::Number, Json::Text("yz"), Json::Null]);
        // Every 32nd entry has an end in place of a length.
        let many: Vec<_> = (0..100).map(|n| "x".repeat(n)).collect();
        let bytes = written::container(&json!(many));
        let read: Vec<_> = Container::new(&bytes).elements().collect();
        assert_eq!(read, many.iter().map(|text| Json::Text(text)).collect::<Vec<_>>());
    }

    #[test]
    fn depth_is_that_of_the_deepest() {
        for (value, depth) in [
            (json!(1), 0),
            (json!({}), 1),
            (json!([1, "[[["]), 1),
            (json!({"a": [], "b": 1}), 2),
            (json!([[], [[{"a": 1}]], []]), 4),
        ] {
            let bytes = written::container(&value);
            let container = Container::new(&bytes);
            assert!(!container.is_deeper_than(depth), "{value}");
            assert!(depth == 0 || container.is_deeper_than(depth - 1), "{value}");
        }
    }
}
