//! Streams of events: what an append does and is refused for, and what reading them answers.

use super::fold::{Told, fold};
use super::{State, done};
use crate::answer::{Answer, Faults, agree};
use crate::events::{Append, NewEvent, binary};
use neobank_sessions::Uuid;
use serde_json::Value;
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub aggregate_type: &'static str,
    pub version: i32,
}

#[derive(Clone, Debug)]
pub struct Event {
    /// None where the bank drew it and did not tell.
    pub id: Option<Uuid>,
    pub event_type: String,
    pub data: Value,
    pub metadata: Value,
    pub tags: Option<Vec<String>>,
    /// Its transaction.
    pub turn: u64,
}

impl Event {
    fn of(new: &NewEvent, turn: u64) -> Event {
        Event {
            id: new.id,
            event_type: new.event_type.clone(),
            data: binary(&new.data),
            metadata: binary(new.metadata.as_deref().unwrap_or("{}")),
            // No tag at all is none.
            tags: new.tags.clone().filter(|tags| !tags.is_empty()),
            turn,
        }
    }

    fn same_content(&self, other: &Event) -> bool {
        // A number's zeros are a part of it.
        self.event_type == other.event_type
            && self.data == other.data
            && self.metadata == other.metadata
            && self.tags == other.tags
    }

    /// Columns as `events::read_stream` asks for them.
    pub fn line(&self, version: i32, id: &str, aggregate_type: &str) -> String {
        let tags = self.tags.as_ref().map(|tags| serde_json::json!(tags).to_string());
        let [data, metadata] = [&self.data, &self.metadata].map(crate::events::binary_text);
        format!("{version}|{id}|{aggregate_type}|{}|{data}|{metadata}|{}", self.event_type, tags.unwrap_or_default())
    }
}

impl State {
    pub fn streams(&self) -> impl Iterator<Item = (&Uuid, &Stream)> {
        self.streams.rows()
    }

    pub fn event(&self, aggregate: Uuid, version: i32) -> Option<&Event> {
        self.events.get(&(aggregate, version)).map(Arc::as_ref)
    }

    fn version(&self, aggregate: Uuid) -> i32 {
        self.streams.get(&aggregate).map_or(0, |stream| stream.version)
    }

    /// The version after these events where they are all there, in their order and with their content.
    fn appended_before(&self, append: &Append) -> Option<i32> {
        let mut places = append.events.iter().map(|event| self.event_ids.get(&event.id?));
        let first = places.next()?.copied()?;
        let in_order = |(at, place): (usize, Option<&(Uuid, i32)>)| place == Some(&(first.0, first.1 + 1 + at as i32));
        let same = append.events.iter().zip(first.1..).all(|(event, version)| {
            self.event(append.aggregate, version).is_some_and(|there| there.same_content(&Event::of(event, 0)))
        });
        (first.0 == append.aggregate && places.enumerate().all(in_order) && same)
            .then_some(first.1 + append.events.len() as i32 - 1)
    }

    fn judge_append(&self, append: &Append, faults: &mut Faults) {
        let Append { aggregate, aggregate_type, events, expected, batch } = append;
        faults.must("NB021", expected.is_some_and(|version| version < -1) || events.is_empty());
        let ids: Vec<Uuid> = events.iter().filter_map(|event| event.id).collect();
        let twice = ids.iter().enumerate().any(|(at, id)| ids[..at].contains(id));
        faults.must(if *batch { "NB104" } else { "NB021" }, twice || events.iter().any(NewEvent::is_bad));
        faults.must("NB103", ids.iter().any(|id| self.event_ids.get(id).is_some()));
        let stream = self.streams.get(aggregate);
        faults.must("NB102", stream.is_some_and(|stream| stream.aggregate_type != *aggregate_type));
        let version = self.version(*aggregate);
        faults.must(
            "NB101",
            match expected {
                None => false,
                Some(-1) => version == 0,
                Some(expected) => version != *expected,
            },
        );
    }

    pub(super) fn accept_append(&mut self, append: &Append, seen: &Answer) -> Result<(), String> {
        self.accept_append_where(append, Faults::default(), seen)
    }

    /// With what else there is to refuse, unless it is a retry.
    pub(super) fn accept_append_where(
        &mut self,
        append: &Append,
        mut faults: Faults,
        seen: &Answer,
    ) -> Result<(), String> {
        let Append { aggregate, events, batch, .. } = append;
        let answer_of = |version: i32| match (batch, events[0].id) {
            (false, Some(id)) => id.to_string(),
            _ => version.to_string(),
        };
        let bad_expectation = append.expected.is_some_and(|version| version < -1);
        if let (Some(version), false) = (self.appended_before(append), bad_expectation) {
            let other_type = self.streams.get(aggregate).is_some_and(|it| it.aggregate_type != append.aggregate_type);
            return match seen {
                Answer::Refused(code) if other_type => agree("a retry under another type", code.as_str(), "NB102"),
                _ => agree("a retried append", seen, &Answer::Done(vec![answer_of(version)])),
            };
        }
        self.judge_append(append, &mut faults);
        let lines = match seen {
            Answer::Refused(code) => return faults.allow(code),
            Answer::Done(lines) => lines,
        };
        faults.allow_success()?;
        let before = self.version(*aggregate);
        let version = before + events.len() as i32;
        if *batch || events[0].id.is_some() {
            agree("the answer of an append", &lines[0], &answer_of(version))?;
        }
        for (event, version) in events.iter().zip(before + 1..) {
            let mut event = Event::of(event, self.turn);
            if !batch {
                event.id = Some(lines[0].parse().map_err(|e| format!("{e}: {lines:?}"))?);
            }
            if let Some(id) = event.id {
                agree("an id that was drawn is new", self.event_ids.get(&id), None)?;
                self.event_ids.set(id, (*aggregate, version));
            }
            self.events.set((*aggregate, version), Arc::new(event));
        }
        self.streams.set(*aggregate, Stream { aggregate_type: append.aggregate_type, version });
        Ok(())
    }

    /// What is told of an aggregate's state at that version, or at the last one.
    pub fn state_of(&self, aggregate: Uuid, up_to: Option<i32>) -> Told {
        let last = self.version(aggregate).min(up_to.unwrap_or(i32::MAX));
        fold((1..=last).map(|version| self.event(aggregate, version).expect("versions have no gap")))
    }

    pub(super) fn accept_state(&self, aggregate: Uuid, up_to: Option<i32>, seen: &Answer) -> Result<(), String> {
        if up_to.is_some_and(|version| version < 0) {
            return agree("a version below zero", seen, &Answer::Refused("NB021".to_owned()));
        }
        self.state_of(aggregate, up_to).is(seen)
    }

    pub(super) fn accept_stream(&self, of: Uuid, from: i32, at_most: i32, seen: &Answer) -> Result<(), String> {
        if at_most < 1 {
            return agree("a page of none", seen, &Answer::Refused("NB021".to_owned()));
        }
        let lines = done(seen)?;
        let last = self.version(of).min(from.max(1).saturating_add(at_most - 1));
        agree("how many events are read", lines.len() as i32, (last - from.max(1) + 1).max(0))?;
        for (line, version) in lines.iter().zip(from.max(1)..) {
            self.same_line(of, version, line)?;
        }
        Ok(())
    }

    /// The event of that version reads so.
    pub fn same_line(&self, aggregate: Uuid, version: i32, line: &str) -> Result<(), String> {
        let event = self.event(aggregate, version).ok_or(format!("an event that nobody appended: {line}"))?;
        let seen = line.split('|').nth(1).ok_or(format!("no id: {line}"))?;
        let id = event.id.map_or(seen.to_owned(), |id| id.to_string());
        let aggregate_type = self.streams.get(&aggregate).map_or("", |stream| stream.aggregate_type);
        agree("an event", line, event.line(version, &id, aggregate_type).as_str())
    }
}
