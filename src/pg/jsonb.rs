//! The binary form of a jsonb, read in place: bytes in, no server and no copy.
//!
//! A container is a word with its kind and its count, a word for each of its entries, and their data
//! (src/include/utils/jsonb.h). An object's entries are its keys, the shorter ones first, and then their values. An
//! entry's word has its length, and every thirty-second one where it ends instead.
#![forbid(unsafe_code)]

use super::numeric::Digits;
use serde_json::Value;

const COUNT: u32 = 0x0FFF_FFFF;
const IS_SCALAR: u32 = 0x1000_0000;
const IS_OBJECT: u32 = 0x2000_0000;
const HAS_END: u32 = 0x8000_0000;
const LENGTH: u32 = 0x0FFF_FFFF;
const KIND: u32 = 0x7000_0000;
const TEXT: u32 = 0x0000_0000;
const NUMBER: u32 = 0x1000_0000;
const FALSE: u32 = 0x2000_0000;
const TRUE: u32 = 0x3000_0000;
const NULL: u32 = 0x4000_0000;
const UTF8: &str = "the database is in UTF8";

/// An object or an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container<'a> {
    bytes: &'a [u8],
    header: u32,
}

/// A value within a container.
#[derive(Clone, Copy)]
pub enum Item<'a> {
    Null,
    Bool(bool),
    Number(Digits<'a>),
    Text(&'a str),
    Array(Container<'a>),
    Object(Container<'a>),
}

impl Item<'_> {
    fn tree(self) -> Value {
        match self {
            Item::Null => Value::Null,
            Item::Bool(value) => Value::Bool(value),
            Item::Number(digits) => {
                Value::Number(digits.text().parse().expect("a number of a jsonb is one of JSON"))
            }
            Item::Text(text) => Value::String(text.to_owned()),
            Item::Array(inner) | Item::Object(inner) => inner.tree(),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

impl<'a> Container<'a> {
    /// What follows a jsonb's length.
    pub fn of(bytes: &'a [u8]) -> Self {
        Container { bytes, header: word(bytes, 0) }
    }

    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    pub fn is_object(self) -> bool {
        self.header & IS_OBJECT != 0
    }

    /// A single value that is neither array nor object, which is kept as an array of one.
    pub fn is_scalar(self) -> bool {
        self.header & IS_SCALAR != 0
    }

    /// Elements of an array, pairs of an object.
    pub fn count(self) -> usize {
        (self.header & COUNT) as usize
    }

    fn entries(self) -> usize {
        self.count() << usize::from(self.is_object())
    }

    fn entry(self, at: usize) -> u32 {
        word(self.bytes, 4 + 4 * at)
    }

    fn data(self) -> &'a [u8] {
        &self.bytes[4 + 4 * self.entries()..]
    }

    /// Where an entry's data begin.
    fn start(self, at: usize) -> usize {
        let mut start = 0;
        for before in (0..at).rev() {
            let entry = self.entry(before);
            start += (entry & LENGTH) as usize;
            if entry & HAS_END != 0 {
                break;
            }
        }
        start
    }

    /// Where an entry's data end, given where they begin.
    fn end(self, at: usize, start: usize) -> usize {
        let entry = self.entry(at);
        let length = (entry & LENGTH) as usize;
        if entry & HAS_END != 0 { length } else { start + length }
    }

    fn text(self, start: usize, end: usize) -> &'a str {
        std::str::from_utf8(&self.data()[start..end]).expect(UTF8)
    }

    fn item(self, at: usize, start: usize) -> Item<'a> {
        let end = self.end(at, start);
        // Numbers and containers begin at a multiple of four.
        let aligned = start.next_multiple_of(4);
        match self.entry(at) & KIND {
            TEXT => Item::Text(self.text(start, end)),
            NUMBER => Item::Number(Digits::of_varlena(&self.data()[aligned..end])),
            FALSE => Item::Bool(false),
            TRUE => Item::Bool(true),
            NULL => Item::Null,
            _ => match Container::of(&self.data()[aligned..end]) {
                object if object.is_object() => Item::Object(object),
                array => Item::Array(array),
            },
        }
    }

    /// An object's value under that key.
    pub fn get(self, key: &str) -> Option<Item<'a>> {
        if !self.is_object() {
            return None;
        }
        let (data, count, mut start) = (self.data(), self.count(), 0);
        for at in 0..count {
            let end = self.end(at, start);
            if end - start > key.len() {
                return None;
            }
            if &data[start..end] == key.as_bytes() {
                return Some(self.item(count + at, self.start(count + at)));
            }
            start = end;
        }
        None
    }

    /// An array's element.
    pub fn element(self, at: usize) -> Option<Item<'a>> {
        (!self.is_object() && at < self.count()).then(|| self.item(at, self.start(at)))
    }

    /// An array's elements.
    pub fn elements(self) -> impl Iterator<Item = Item<'a>> {
        self.run(0, self.count())
    }

    /// An object's keys with their values.
    pub fn pairs(self) -> impl Iterator<Item = (&'a str, Item<'a>)> {
        let count = self.count();
        let mut start = 0;
        let keys = (0..count).map(move |at| {
            let end = self.end(at, start);
            let key = self.text(start, end);
            start = end;
            key
        });
        keys.zip(self.run(count, count))
    }

    /// As a tree. Not by way of its text: a reader of text takes an object with a certain key for a number.
    pub fn tree(self) -> Value {
        if self.is_object() {
            return Value::Object(self.pairs().map(|(key, item)| (key.to_owned(), item.tree())).collect());
        }
        let mut elements = self.elements().map(Item::tree);
        if self.is_scalar() {
            elements.next().expect("a scalar is one")
        } else {
            Value::Array(elements.collect())
        }
    }

    /// Whether arrays and objects are nested deeper than that.
    pub fn is_deeper_than(self, levels: usize) -> bool {
        let children = |container: Self| container.run(0, container.entries());
        let mut open = if self.is_scalar() { Vec::new() } else { vec![children(self)] };
        while let Some(innermost) = open.last_mut() {
            match innermost.next() {
                _ if open.len() > levels => return true,
                Some(Item::Array(inner) | Item::Object(inner)) => open.push(children(inner)),
                Some(_) => {}
                None => {
                    open.pop();
                }
            }
        }
        false
    }

    fn run(self, first: usize, count: usize) -> impl Iterator<Item = Item<'a>> {
        let mut start = self.start(first);
        (first..first + count).map(move |at| {
            let item = self.item(at, start);
            start = self.end(at, start);
            item
        })
    }
}

/// The binary form of a tree whose numbers are short, for tests.
/// The binary form of a tree whose numbers are short, for tests.
#[cfg(test)]
pub fn encoded(value: &serde_json::Value) -> Vec<u8> {
    use super::numeric::varlena;
    let mut items: Vec<(u32, Vec<u8>)> = Vec::new();
    let header = match value {
        Value::Object(object) => {
            let mut pairs: Vec<_> = object.iter().collect();
            pairs.sort_by(|(a, _), (b, _)| (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes())));
            items.extend(pairs.iter().map(|(key, _)| (TEXT, key.as_bytes().to_vec())));
            items.extend(pairs.iter().map(|(_, value)| scalar_or(value)));
            IS_OBJECT | pairs.len() as u32
        }
        Value::Array(array) => {
            items.extend(array.iter().map(scalar_or));
            0x4000_0000 | array.len() as u32
        }
        _ => panic!("only containers stand alone"),
    };
    fn scalar_or(value: &Value) -> (u32, Vec<u8>) {
        match value {
            Value::Null => (NULL, Vec::new()),
            Value::Bool(true) => (TRUE, Vec::new()),
            Value::Bool(false) => (FALSE, Vec::new()),
            Value::String(text) => (TEXT, text.as_bytes().to_vec()),
            Value::Number(number) => (NUMBER, varlena(number.to_string().parse().expect("a short number"))),
            container => (0x5000_0000, encoded(container)),
        }
    }
    let (mut words, mut data) = (header.to_ne_bytes().to_vec(), Vec::new());
    for (at, (kind, bytes)) in items.into_iter().enumerate() {
        let begin = data.len();
        if matches!(kind, NUMBER | 0x5000_0000) {
            data.resize(begin.next_multiple_of(4), 0);
        }
        data.extend(bytes);
        let entry = if at % 32 == 0 { HAS_END | data.len() as u32 } else { (data.len() - begin) as u32 };
        words.extend((kind | entry).to_ne_bytes());
    }
    [words, data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn children_are_found_behind_one_another() {
        let value =
            json!({"a": "x", "bc": {"d": [1, "yz", null]}, "e": true, "f": [], "g": 1.5, "h": "last"});
        let bytes = encoded(&value);
        let pairs: Vec<_> = Container::of(&bytes).pairs().collect();
        assert_eq!(pairs.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["a", "e", "f", "g", "h", "bc"]);
        assert!(matches!(pairs[0].1, Item::Text("x")) && matches!(pairs[1].1, Item::Bool(true)));
        assert!(matches!(pairs[3].1, Item::Number(_)) && matches!(pairs[4].1, Item::Text("last")));
        let Item::Object(inner) = pairs[5].1 else { panic!("an object is under bc") };
        let Some((_, Item::Array(inner))) = inner.pairs().next() else { panic!("an array is under d") };
        let elements: Vec<_> = inner.elements().collect();
        assert!(matches!(elements[..], [Item::Number(_), Item::Text("yz"), Item::Null]));
        // Every 32nd entry has an end in place of a length.
        let many: Vec<_> = (0..100).map(|n| "x".repeat(n)).collect();
        let bytes = encoded(&json!(many));
        let texts = Container::of(&bytes).elements().map(|item| match item {
            Item::Text(text) => text,
            _ => panic!("all are texts"),
        });
        assert_eq!(texts.collect::<Vec<_>>(), many);
    }

    #[test]
    fn depth_is_that_of_the_deepest() {
        for (value, depth) in [
            (json!({}), 1),
            (json!([1, "[[["]), 1),
            (json!({"a": [], "b": 1}), 2),
            (json!([[], [[{"a": 1}]], []]), 4),
        ] {
            let bytes = encoded(&value);
            let container = Container::of(&bytes);
            assert!(!container.is_deeper_than(depth), "{value}");
            assert!(depth == 0 || container.is_deeper_than(depth - 1), "{value}");
        }
    }
}
