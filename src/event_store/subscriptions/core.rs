//! What is decided about subscriptions: who takes how much, what an acknowledgement may say, and what becomes of an event
//! that failed.
#![forbid(unsafe_code)]

use crate::event_store::core::name_is_good;
use serde_json::Value;
use std::collections::HashMap;
use uuid::Uuid;

pub const MAX_PARTITIONS: i32 = 256;
pub const MAX_BATCH: i32 = 1_000;
/// The longest lease, delay and backoff: a week.
pub const MAX_WAIT_MS: i32 = 7 * 24 * 3_600 * 1_000;
pub const MAX_ATTEMPTS: i32 = 1_000;
const MAX_NAMES: usize = 100;

/// The partition of a stream, evenly spread whatever made the id. Stored positions depend on it, so it is never changed:
/// the finalizer of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014) over both
/// halves of the id.
pub fn partition_of(aggregate: u128, partitions: i32) -> i32 {
    let mixed = mix((aggregate >> 64) as u64 ^ mix(aggregate as u64));
    let partitions = u64::try_from(partitions).expect("above zero by its bounds");
    i32::try_from(mixed % partitions).expect("below the number of partitions")
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// How many partitions a fetch takes at first, so that each consumer gets its share.
pub fn share(partitions: i32, consumers: i64) -> i32 {
    let consumers = i32::try_from(consumers.clamp(1, i64::from(partitions))).expect("clamped");
    (partitions + consumers - 1) / consumers
}

/// The wait after `attempts` failures: the first one's, doubled with each further one, up to the most. Whoever fetches
/// first gets the stream, so there is no crowd that jitter would have to part.
pub fn delay_ms(first_ms: i32, most_ms: i32, attempts: i32) -> i64 {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(40);
    (i64::from(first_ms) << doublings).min(i64::from(most_ms))
}

/// What becomes of an event that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Retry { attempts: i32, alone: bool },
    Park { attempts: i32 },
}

/// The consumer said that it failed.
pub fn given_back(attempts_before: i32, most: i32, park: bool) -> Verdict {
    let attempts = attempts_before.saturating_add(1);
    if park || attempts >= most {
        Verdict::Park { attempts }
    } else {
        Verdict::Retry { attempts, alone: false }
    }
}

/// The consumer said nothing until the lease ran out. Whether this event or another of the lease killed it is not known
/// unless the event was alone in it, so only then it is parked, and before the last attempt it is made so.
pub fn ran_out(attempts_before: i32, most: i32, was_alone: bool) -> Verdict {
    let attempts = attempts_before.saturating_add(1);
    if was_alone && attempts >= most {
        Verdict::Park { attempts }
    } else {
        Verdict::Retry { attempts, alone: attempts >= most - 1 }
    }
}

/// An event in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    pub position: i64,
    pub aggregate: Uuid,
    pub version: i32,
}

/// An acknowledgement that leaves an earlier event of the same stream open.
#[derive(Debug, PartialEq, Eq)]
pub struct OutOfOrder {
    pub aggregate: Uuid,
    pub open: i32,
    pub given: i32,
}

/// Of the events in flight those that are left when the ones at these positions, which ascend, are acknowledged.
pub fn left(open: &[Open], acked: &[i64]) -> Result<Vec<Open>, OutOfOrder> {
    let is_acked = |event: &Open| acked.binary_search(&event.position).is_ok();
    let mut earliest: HashMap<Uuid, i32> = HashMap::new();
    for event in open.iter().filter(|event| !is_acked(event)) {
        let version = earliest.entry(event.aggregate).or_insert(event.version);
        *version = event.version.min(*version);
    }
    for event in open.iter().filter(|event| is_acked(event)) {
        if let Some(earlier) = earliest.get(&event.aggregate).filter(|version| **version < event.version) {
            let (open, given) = (*earlier, event.version);
            return Err(OutOfOrder { aggregate: event.aggregate, open, given });
        }
    }
    Ok(open.iter().filter(|event| !is_acked(event)).copied().collect())
}

/// The first event in flight of each stream.
pub fn heads(open: &[Open]) -> Vec<Open> {
    let mut heads: HashMap<Uuid, Open> = HashMap::new();
    for event in open {
        let head = heads.entry(event.aggregate).or_insert(*event);
        if event.version < head.version {
            *head = *event;
        }
    }
    let mut heads: Vec<Open> = heads.into_values().collect();
    heads.sort_unstable_by_key(|event| event.aggregate);
    heads
}

/// Which events a subscription wants; `None`: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub aggregate_types: Option<Vec<String>>,
    pub event_types: Option<Vec<String>>,
    pub tags: Option<Vec<String>>,
}

impl Filter {
    pub fn of(value: &Value) -> Result<Filter, String> {
        let Value::Object(keys) = value else { return Err("It must be a JSON object.".into()) };
        let mut filter = Filter::default();
        for (key, value) in keys {
            let target = match key.as_str() {
                "aggregate_types" => &mut filter.aggregate_types,
                "event_types" => &mut filter.event_types,
                "tags" => &mut filter.tags,
                _ => {
                    let name: String = key.chars().take(50).collect();
                    return Err(format!(
                        "It has the key {name:?}; keys are aggregate_types, event_types and tags."
                    ));
                }
            };
            *target = names(value).map_err(|why| format!("{key}: {why}"))?;
        }
        Ok(filter)
    }
}

fn names(value: &Value) -> Result<Option<Vec<String>>, String> {
    let items = match value {
        Value::Null => return Ok(None),
        Value::Array(items) if (1..=MAX_NAMES).contains(&items.len()) => items,
        _ => return Err(format!("it must be an array of 1 to {MAX_NAMES} texts.")),
    };
    let name = |item: &Value| match item {
        Value::String(name) if name_is_good(name).is_ok() => Ok(name.clone()),
        _ => Err("an element is not a text of 1 to 100 characters.".to_owned()),
    };
    items.iter().map(name).collect::<Result<_, _>>().map(Some)
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Now,
    After(i64),
}

impl Start {
    /// 'beginning', 'now', or a position in digits.
    pub fn of(text: &str) -> Option<Start> {
        match text {
            "beginning" => Some(Start::After(0)),
            "now" => Some(Start::Now),
            _ => text.parse().ok().filter(|position| *position >= 0).map(Start::After),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn event(position: i64, aggregate: u128, version: i32) -> Open {
        Open { position, aggregate: Uuid::from_u128(aggregate), version }
    }

    #[test]
    fn the_partition_of_a_stream_is_for_ever() {
        // Positions that are stored were made with it.
        let id = 0x018f_0000_0000_7000_8000_0000_0000_000a_u128;
        assert_eq!([1, 2, 16, 256].map(|partitions| partition_of(id, partitions)), [0, 0, 8, 248]);
    }

    #[test]
    fn streams_are_spread_whatever_made_their_ids() {
        let counted: fn(u128) -> u128 = |n| n;
        let by_time: fn(u128) -> u128 = |n| (0x018f << 112) | (n << 80) | 0x7000_8000_0000_0000_0000;
        let same_node: fn(u128) -> u128 = |n| (n << 96) | 0x11ee_8c90_0242_ac12_0002;
        for ids in [counted, by_time, same_node] {
            let mut streams = [0; 16];
            for n in 0..16_000 {
                streams[partition_of(ids(n), 16) as usize] += 1;
            }
            assert!(streams.iter().all(|count| (800..1_200).contains(count)), "{streams:?}");
        }
    }

    #[test]
    fn all_shares_together_are_all_partitions() {
        for (partitions, consumers, wanted) in
            [(16, 0, 16), (16, 1, 16), (16, 2, 8), (16, 3, 6), (16, 16, 1), (16, 99, 1), (1, 4, 1), (5, 2, 3)]
        {
            assert_eq!(share(partitions, consumers), wanted, "{partitions} among {consumers}");
        }
    }

    #[test]
    fn delays_double_up_to_the_most() {
        let delays = [1, 2, 3, 4, 60].map(|attempts| delay_ms(1_000, 5_000, attempts));
        assert_eq!(delays, [1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(delay_ms(0, 0, 3), 0);
    }

    #[test]
    fn the_last_attempt_parks() {
        assert_eq!(given_back(0, 3, false), Verdict::Retry { attempts: 1, alone: false });
        assert_eq!(given_back(2, 3, false), Verdict::Park { attempts: 3 });
        assert_eq!(given_back(0, 1, false), Verdict::Park { attempts: 1 });
        assert_eq!(given_back(0, 9, true), Verdict::Park { attempts: 1 });
    }

    #[test]
    fn a_neighbour_of_the_event_that_kills_is_never_parked() {
        assert_eq!(ran_out(0, 3, false), Verdict::Retry { attempts: 1, alone: false });
        assert_eq!(ran_out(1, 3, false), Verdict::Retry { attempts: 2, alone: true });
        assert_eq!(ran_out(2, 3, true), Verdict::Park { attempts: 3 });
        assert_eq!(ran_out(0, 1, false), Verdict::Retry { attempts: 1, alone: true });
        assert_eq!(ran_out(1, 1, true), Verdict::Park { attempts: 2 });
    }

    proptest! {
        #[test]
        fn who_kills_each_time_is_parked(most in 1i32..50) {
            let (mut before, mut alone) = (0, false);
            for _ in 0..=most {
                match ran_out(before, most, alone) {
                    Verdict::Retry { attempts, alone: next } => (before, alone) = (attempts, next),
                    Verdict::Park { attempts } => {
                        prop_assert!(attempts == most.max(2));
                        return Ok(());
                    }
                }
            }
            prop_assert!(false, "it is never parked");
        }
    }

    #[test]
    fn a_stream_is_acknowledged_in_its_order() {
        let open = [event(10, 1, 5), event(11, 2, 1), event(12, 1, 6), event(13, 1, 7)];
        let positions = |acked: &[i64]| {
            left(&open, acked).map(|left| left.iter().map(|event| event.position).collect::<Vec<_>>())
        };
        assert_eq!(positions(&[10, 11, 12, 13]), Ok(vec![]));
        assert_eq!(positions(&[11]), Ok(vec![10, 12, 13]));
        assert_eq!(positions(&[10, 12]), Ok(vec![11, 13]));
        let refused = OutOfOrder { aggregate: Uuid::from_u128(1), open: 5, given: 6 };
        assert_eq!(positions(&[12]), Err(refused));
        assert!(positions(&[10, 13]).is_err());
        let first: Vec<i64> = heads(&open).iter().map(|event| event.position).collect();
        assert_eq!(first, [10, 11]);
    }

    #[test]
    fn a_filter_names_what_it_wants() {
        let filter = Filter::of(&json!({"event_types": ["A", "B"], "tags": null})).expect("it is good");
        assert_eq!(filter.event_types, Some(vec!["A".to_owned(), "B".to_owned()]));
        assert_eq!((filter.aggregate_types, filter.tags), (None, None));
        for bad in [
            json!([]),
            json!(null),
            json!({"types": ["A"]}),
            json!({"tags": []}),
            json!({"tags": "a"}),
            json!({"tags": [1]}),
            json!({"tags": [" "]}),
            json!({"tags": vec!["a"; 101]}),
        ] {
            assert!(Filter::of(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_start_is_a_word_or_a_position() {
        assert_eq!(Start::of("beginning"), Some(Start::After(0)));
        assert_eq!(Start::of("now"), Some(Start::Now));
        assert_eq!(Start::of("1048576"), Some(Start::After(1_048_576)));
        for bad in ["", "end", "-1", "1.5", "9223372036854775808"] {
            assert_eq!(Start::of(bad), None, "{bad}");
        }
    }
}
