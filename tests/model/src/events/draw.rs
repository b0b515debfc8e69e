//! Random events over few aggregates, so that sessions collide.

use super::{Append, NewEvent};
use crate::generate::Generator;
use crate::op::Op;
use neobank_sessions::Uuid;

const TYPES: [&str; 2] = ["Account", "Application"];

impl Generator<'_> {
    fn aggregate(&mut self) -> Uuid {
        let known = &self.world.aggregates;
        match self.dice.below(12) {
            // A new one, that of another session beside it too.
            0 => Uuid::from_u128(0xF2E5 << 64 | self.pool.streams.len() as u128),
            1 if !self.pool.new_streams.is_empty() => self.pick(self.pool.new_streams.as_slice()),
            // Half of all is about two of them.
            2..7 => known[self.dice.below(2)],
            _ => known[self.dice.below(known.len())],
        }
    }

    fn aggregate_type(&mut self, of: Uuid) -> &'static str {
        let at = self.world.aggregates.iter().position(|aggregate| *aggregate == of).unwrap_or(0);
        // Who came first decides; so it is mostly the right one.
        let wrong = self.pool.streams.contains_key(&of) && self.one_in(25);
        TYPES[(at + usize::from(wrong)) % 2]
    }

    fn expectation(&mut self, of: Uuid) -> Option<i32> {
        let guess = self.pool.streams.get(&of).copied().unwrap_or(0);
        match self.dice.below(14) {
            0 => Some(0),
            1 => Some(-1),
            2..6 => Some(guess),
            6 => Some(guess + 1),
            7 if self.one_in(4) => Some(-2),
            _ => None,
        }
    }

    fn figure(&mut self) -> String {
        let cents = self.dice.below(90_000);
        match self.dice.below(8) {
            0 => format!("\"{}.{:02}\"", cents / 100, cents % 100),
            1 => format!("{}.{:04}", cents / 100, cents % 100),
            2 => format!("{}e2", cents / 1_000),
            3 => format!("{}e-3", cents + 1),
            4 => format!("\"{}e-1\"", cents + 1),
            _ => format!("{}.{:02}", cents / 100, cents % 100),
        }
    }

    /// Too long, or none at all. The state cannot be told from such an event on.
    fn odd_figure(&mut self) -> String {
        let odd = [
            "true",
            "null",
            "\"ten\"",
            "\" 7.5 \"",
            "1234567890123456789012345678901234567890.5",
            "98765432109876543210987654.32",
            "0.00000000001",
            "-4.25",
            "\"1.00000000000000000000000000000000000001e0\"",
        ];
        self.pick(&odd).to_owned()
    }

    fn data(&mut self, event_type: &str, odd: bool) -> String {
        let figure = if odd { self.odd_figure() } else { self.figure() };
        let n = self.dice.below(100);
        match event_type {
            "AccountOpened" => format!("{{\"owner\": \"O'Hara {n}\", \"balance\": {figure}}}"),
            "FundsDeposited" | "FundsWithdrawn" => format!("{{\"amount\": {figure}, \"till\": {n}}}"),
            "AccountClosed" => "{\"reason\": \"moved\"}".to_owned(),
            _ if n < 10 => format!("{{\"version\": {n}, \"status\": null, \"balance\": null}}"),
            _ => format!("{{\"city\": \"Zürich \\\"{n}\\\"\", \"x\": {{\"long\": [{n}, 1.50e1], \"y\": true}}}}"),
        }
    }

    fn event(&mut self, of: Uuid) -> NewEvent {
        let known = [
            "AccountOpened",
            "FundsDeposited",
            "FundsDeposited",
            "FundsDeposited",
            "FundsWithdrawn",
            "FundsWithdrawn",
            "AccountClosed",
            "AddressChanged",
            "LimitChanged",
        ];
        let event_type = self.pick(&known).to_owned();
        let last = self.world.aggregates.last() == Some(&of) || !self.world.aggregates.contains(&of);
        let odd = last && self.one_in(6);
        let data = self.data(&event_type, odd);
        let metadata = self.one_in(4).then(|| format!("{{\"correlation_id\": \"c-{}\"}}", self.dice.below(1_000)));
        let tags = match self.dice.below(8) {
            0 => Some(vec!["till 3".to_owned(), format!("day {}", self.dice.below(30))]),
            1 => Some(vec!["branch \"north\"".to_owned()]),
            2 => Some(Vec::new()),
            _ => None,
        };
        let id = if self.one_in(3) { None } else { Some(self.id()) };
        NewEvent { id, event_type, data, metadata, tags, stray: false }
    }

    pub(crate) fn append(&mut self, batch: bool) -> Op {
        let aggregate = self.aggregate();
        let (aggregate_type, expected) = (self.aggregate_type(aggregate), self.expectation(aggregate));
        let size = if batch { 1 + self.dice.below(5) } else { 1 };
        let mut events: Vec<NewEvent> = (0..size).map(|_| self.event(aggregate)).collect();
        if self.one_in(20) {
            let at = self.dice.below(size);
            self.spoil(&mut events, at, batch);
        }
        Op::Append(Append { aggregate, aggregate_type, events, expected, batch })
    }

    fn spoil(&mut self, events: &mut Vec<NewEvent>, at: usize, batch: bool) {
        match self.dice.below(if batch { 7 } else { 4 }) {
            0 => events[at].event_type = " ".to_owned(),
            1 => events[at].data = "[1]".to_owned(),
            2 => events[at].metadata = Some("[]".to_owned()),
            3 => events[at].tags = Some(vec!["a".to_owned(), "a".to_owned()]),
            4 => events[at].stray = true,
            5 => events.clear(),
            _ => {
                events[at].id = Some(self.id());
                let twin = events[at].clone();
                events.push(twin);
            }
        }
    }

    /// The same ids with something else: content, aggregate, order, or only some of them.
    pub(crate) fn alter(&mut self, append: &mut Append) {
        let at = self.dice.below(append.events.len().max(1));
        match self.dice.below(8) {
            0 => append.aggregate = self.aggregate(),
            1 => append.events.reverse(),
            2 => append.events.truncate(1.max(at)),
            3 => append.expected = self.expectation(append.aggregate),
            4 if append.batch => {
                let one_more = self.event(append.aggregate);
                append.events.push(one_more);
            }
            5 => append.batch = append.batch || !append.events.is_empty(),
            6 => append.aggregate_type = self.pick(&TYPES),
            _ => {
                if let Some(event) = append.events.get_mut(at) {
                    match self.dice.below(4) {
                        0 => event.event_type = "Renamed".to_owned(),
                        1 => event.metadata = Some("{\"again\": true}".to_owned()),
                        2 => event.tags = Some(vec!["again".to_owned()]),
                        _ => event.data = "{\"again\": 1.0}".to_owned(),
                    }
                }
            }
        }
    }

    pub(crate) fn state(&mut self) -> Op {
        let aggregate = self.aggregate();
        let known = self.pool.streams.get(&aggregate).copied().unwrap_or(0);
        let up_to = match self.dice.below(6) {
            0..3 => None,
            3 if self.one_in(6) => Some(-1),
            _ => Some(self.dice.below(known as usize + 2) as i32),
        };
        Op::State { aggregate, up_to }
    }

    pub(crate) fn read_stream(&mut self) -> Op {
        let aggregate = self.aggregate();
        let known = self.pool.streams.get(&aggregate).copied().unwrap_or(0);
        let near = (known - self.dice.below(12) as i32).max(0);
        let from = if self.one_in(3) { 1 + self.dice.below(20) as i32 } else { near };
        let at_most = if self.one_in(30) { 0 } else { 1 + self.dice.below(20) as i32 };
        Op::ReadStream { aggregate, from, at_most }
    }
}
