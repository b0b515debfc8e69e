//! Values that have broken programs before.

use crate::json;
use crate::values::{Maker, quoted};

/// Ready to be quoted: each breaks some way of building, cutting, counting or printing text.
pub const TEXTS: &[&str] = &[
    "",
    " ",
    "\t\n\r\u{b}\u{c}",
    "\u{a0}\u{2003}\u{3000}",
    "x",
    "'; DROP TABLE banking.accounts; --",
    "\"",
    "''''",
    "$$",
    "$1",
    ":x :'x' :\"x\"",
    "\\",
    "\\'\\\"\\n\\0\\x41\\u0000",
    "%s%n%d%%%1$s",
    "{}{0}{:?}",
    "null",
    "NULL",
    "NaN",
    "-Infinity",
    "1e999",
    "0x10",
    "true",
    "../../../etc/passwd",
    "<script>alert(1)</script>",
    "{\"a\": 1}",
    "{1,2,NULL}",
    "pg_catalog.pg_class",
    "current_user",
    "USD",
    "00000000-0000-0000-0000-000000000000",
    "\u{1}\u{2}\u{7}\u{8}\u{1b}[31m\u{7f}\u{80}\u{9f}",
    "\u{202e}\u{200f}\u{2066}abc\u{2069}",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    "\u{200b}\u{200d}\u{feff}\u{ad}",
    "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{1f3fd}",
    "\u{fffe}\u{ffff}\u{10ffff}",
    "\u{130}\u{131}\u{df}\u{1e9e}\u{fb03}",
    "\u{2028}\u{2029}\u{85}",
    "\u{d55c}\u{ae00}\u{4e2d}\u{6587}\u{0e01}\u{0e38}",
    "\u{661}\u{662}\u{663}\u{ff11}",
    "active ",
    "ACTIVE",
    "transfer\n",
];

/// Repeated these many times: about the bounds of columns and arguments, and far beyond.
const LENGTHS: &[usize] = &[50, 51, 100, 101, 200, 201, 256, 1_000, 1_001, 8_192, 65_536, 1_000_000];
const HUGE: usize = 20_000_000;
const UNITS: &[&str] = &["x", " ", "'", "\\", "\u{e4}", "\u{1f4b0}", "a\u{301}", "%s"];

const NUMERICS: &[&str] = &[
    "0",
    "'-0.0'",
    "-1",
    "-0.01",
    "0.001",
    "0.00001",
    "1e18",
    "1e18 + 0.01",
    "-1e18",
    "999999999999999999.99",
    "1e22",
    "1e24",
    "79228162514264337593543950335",
    "79228162514264337593543950336",
    "7922816251426433759354395033.5",
    "1e28",
    "1e-28",
    "1e-29",
    "'NaN'",
    "'Infinity'",
    "'-Infinity'",
    "1e131071",
    "-1e131071",
    "'1e-16383'",
    "repeat('9', 131072)",
    "'0.' || repeat('3', 16383)",
    "repeat('9', 131072) || '.' || repeat('9', 16383)",
    "'5.' || repeat('0', 1000)",
    "'10.' || repeat('0', 16383)",
    "'1.' || repeat('0', 28)",
    "'1.' || repeat('0', 30) || '1'",
    "9223372036854775808",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
];

const DATES: &[&str] = &[
    "'-infinity'",
    "'infinity'",
    "'4713-01-01 BC'",
    "'0001-12-31 BC'",
    "'0001-01-01'",
    "'1582-10-10'",
    "'1899-12-31'",
    "'1900-01-01'",
    "'1970-01-01'",
    "'2000-02-29'",
    "current_date",
    "current_date + 1",
    "current_date + 40000",
    "'9999-12-31'",
    "'10000-01-01'",
    "'5874897-12-31'",
];

const TIMES: &[&str] = &[
    "'-infinity'",
    "'infinity'",
    "'4714-11-24 00:00:00+00 BC'",
    "'0001-12-31 23:59:59.999999+00 BC'",
    "'0001-01-01 00:00:00+00'",
    "'1899-12-31 23:59:59+00'",
    "'1970-01-01 00:00:00+00'",
    "'1999-12-31 23:59:59.999999+00'",
    "now()",
    "clock_timestamp()",
    "now() + interval '1 microsecond'",
    "now() - interval '1 microsecond'",
    "now() + interval '100 years'",
    "now() - interval '100 years'",
    "'9999-12-31 23:59:59.999999+00'",
    "'10000-01-01 00:00:00+00'",
    "'294276-12-31 23:59:59.999999+00'",
];

impl Maker<'_> {
    fn foul_text(&mut self) -> String {
        match self.dice.below(20) {
            0..=8 => quoted(self.one_of(TEXTS)),
            9..=14 => {
                let (unit, length) = (self.one_of(UNITS), *self.pick(LENGTHS));
                format!("repeat({}, {length})", quoted(unit))
            }
            15 if self.chance(20) => format!("repeat({}, {HUGE})", quoted(self.one_of(&UNITS[..4]))),
            // A word, but of another list.
            _ => {
                let lists: Vec<&Vec<String>> = self.pools.words.values().collect();
                let list = self.pick(&lists);
                quoted(&list[self.dice.below(list.len())])
            }
        }
    }

    fn foul_uuid(&mut self) -> String {
        match self.dice.below(4) {
            0 => "'00000000-0000-0000-0000-000000000000'::uuid".to_owned(),
            1 => "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid".to_owned(),
            // One that exists, but as something else.
            _ => {
                let lists: Vec<&Vec<String>> = self.pools.uuids.values().collect();
                let list = self.pick(&lists);
                format!("'{}'::uuid", self.pick(list))
            }
        }
    }

    fn foul_integer(&mut self, kind: &str) -> String {
        let (least, most) = match kind {
            "smallint" => ("-32768", "32767"),
            "integer" => ("-2147483648", "2147483647"),
            _ => ("-9223372036854775808", "9223372036854775807"),
        };
        let value = self.one_of(&[least, most, "0", "-1", "101", "10001", "32767"]);
        format!("'{value}'::{kind}")
    }

    /// An expression of that type which a careless program does not expect.
    pub fn foul(&mut self, argument: &str, kind: &str) -> String {
        if kind == "anyelement" {
            return self.good(argument, kind);
        }
        if self.chance(15) {
            return format!("null::{kind}");
        }
        if let Some(element) = kind.strip_suffix("[]") {
            return self.foul_array(argument, element);
        }
        match kind {
            "uuid" => self.foul_uuid(),
            "name" => format!("{}::name", quoted(self.one_of(&TEXTS[..30]))),
            "text" | "character varying" | "character" => format!("({})::{}", self.foul_text(), unbounded(kind)),
            "numeric" => format!("({})::numeric", self.one_of(NUMERICS)),
            "double precision" | "real" => {
                format!("'{}'::{kind}", self.one_of(&["NaN", "Infinity", "-Infinity", "-0", "1e-37", "1e37"]))
            }
            "integer" | "bigint" | "smallint" => self.foul_integer(kind),
            "date" => format!("({})::date", self.one_of(DATES)),
            "timestamp with time zone" | "timestamp without time zone" => format!("({})::{kind}", self.one_of(TIMES)),
            "interval" => {
                format!("'{}'::interval", self.one_of(&["0", "-1 day", "178000000 years", "-178000000 years"]))
            }
            "jsonb" | "json" => format!("({})::{kind}", json::foul(self, argument)),
            "bytea" => format!("repeat('x', {})::bytea", self.pick(LENGTHS)),
            "oid" | "regclass" | "regproc" | "regtype" => {
                format!("{}::{kind}", self.one_of(&["0", "1259", "4294967295"]))
            }
            _ => self.good(argument, kind),
        }
    }

    fn foul_array(&mut self, argument: &str, element: &str) -> String {
        let one = self.good(argument, element);
        let length = self.length;
        match self.dice.below(10) {
            0 => format!("array[]::{element}[]"),
            1 => format!("array[null]::{element}[]"),
            2 => format!("array_fill(null::{element}, array[{length}])"),
            3 => format!("array_fill({one}, array[{}])", length + 1),
            4 => format!("array_fill({one}, array[2, {length}])"),
            5 => format!("array_fill({one}, array[{length}], array[-7])"),
            6 => format!("array_fill({one}, array[{length}], array[2147483000])"),
            7 => format!("array_fill({one}, array[{}])", self.pick(&[10_000, 10_001, 100_000])),
            8 if self.chance(20) => format!("array_fill({one}, array[1000000])"),
            _ => {
                let foul = self.foul(argument, element);
                let mut elements = vec![one; length];
                elements[length / 2] = foul;
                format!("array[{}]::{element}[]", elements.join(", "))
            }
        }
    }
}

/// `char` alone is `char(1)` in a cast, but any length as the type of an argument.
fn unbounded(kind: &str) -> &str {
    if kind == "character" { "bpchar" } else { kind }
}
