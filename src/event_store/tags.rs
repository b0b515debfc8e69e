//! Which locks keep an append apart from those who must not miss it.
//!
//! Whoever appends an event holds a shared lock on the key of each of its tags; whoever appends on the condition that
//! no event has certain tags holds an exclusive one on the first of them. Every event that meets the condition has that
//! tag, so either the event is committed when the condition is looked at, or its writer waits until the condition's has
//! ended. A condition without tags takes a lock that every appender shares.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

/// The most keys that a transaction locks one by one: the server has room for some thousands in all.
pub const MANY_KEYS: usize = 64;

/// The key that stands for all tags. No tag has it.
pub const ALL_TAGS: u64 = 0;

/// FNV-1a, which no update of a library changes: sessions with the old and the new one must agree on the keys. Tags
/// that share a key wait for each other, nothing else.
pub fn key_of(tag: &str) -> u64 {
    let hash = tag.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    hash.max(ALL_TAGS + 1)
}

/// The keys of all tags of a call.
pub type Keys = BTreeSet<u64>;

/// What an append depends on beside its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depends {
    Nothing,
    /// On events with a tag that has this key.
    Tag(u64),
    /// On events of any tags.
    Events,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Shared,
    Exclusive,
}

/// The locks of an append, to be taken in this order.
#[derive(Debug, PartialEq, Eq)]
pub struct Locks {
    /// Of the lock that all appenders share.
    pub appenders: Hold,
    /// Of all tags at once: shared among those who depend on some, exclusive for those who write many.
    pub all_tags: Option<Hold>,
    /// In ascending order.
    pub keys: Vec<(u64, Hold)>,
}

impl Locks {
    /// For events with these tags, in a transaction that has locked so many keys before.
    pub fn of(tags: &Keys, depends: Depends, held: usize) -> Locks {
        let few = |more: usize| held + tags.len() + more <= MANY_KEYS;
        let shared = || tags.iter().map(|key| (*key, Hold::Shared));
        match depends {
            Depends::Nothing if few(0) => {
                Locks { appenders: Hold::Shared, all_tags: None, keys: shared().collect() }
            }
            Depends::Nothing => {
                Locks { appenders: Hold::Shared, all_tags: Some(Hold::Exclusive), keys: Vec::new() }
            }
            Depends::Tag(key) if few(1) => {
                let mut keys: Vec<_> = shared().filter(|(tag, _)| *tag != key).collect();
                keys.push((key, Hold::Exclusive));
                keys.sort_unstable_by_key(|(key, _)| *key);
                Locks { appenders: Hold::Shared, all_tags: Some(Hold::Shared), keys }
            }
            Depends::Tag(_) | Depends::Events => {
                Locks { appenders: Hold::Exclusive, all_tags: None, keys: Vec::new() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_what_they_are() {
        // Published values of FNV-1a.
        assert_eq!(key_of("a"), 0xAF63_DC4C_8601_EC8C);
        assert_eq!(key_of("foobar"), 0x8594_4171_F739_67E8);
        assert_ne!(key_of(""), ALL_TAGS);
    }

    #[test]
    fn keys_are_locked_in_one_order() {
        let tags = Keys::from([9, 3, 5]);
        let plain = Locks::of(&tags, Depends::Nothing, 0);
        assert_eq!(plain.keys, [(3, Hold::Shared), (5, Hold::Shared), (9, Hold::Shared)]);
        let conditional = Locks::of(&tags, Depends::Tag(4), 0);
        let held = [(3, Hold::Shared), (4, Hold::Exclusive), (5, Hold::Shared), (9, Hold::Shared)];
        assert_eq!((conditional.appenders, conditional.keys), (Hold::Shared, held.to_vec()));
        assert_eq!(Locks::of(&tags, Depends::Tag(5), 0).keys[1], (5, Hold::Exclusive));
    }

    /// Whether the two cannot be held at once.
    fn exclude(a: &Locks, b: &Locks) -> bool {
        let all_tags = match (a.all_tags, b.all_tags) {
            (Some(a), Some(b)) => a != b,
            _ => false,
        };
        let keys = a.keys.iter().any(|(key, hold)| {
            b.keys
                .iter()
                .any(|(other, its)| key == other && (*hold == Hold::Exclusive || *its == Hold::Exclusive))
        });
        all_tags || keys || a.appenders == Hold::Exclusive || b.appenders == Hold::Exclusive
    }

    #[test]
    fn a_condition_keeps_out_whoever_could_break_it() {
        let few = Keys::from([3, 5]);
        let many: Keys = (1..=70).collect();
        let conditions = [Depends::Tag(5), Depends::Events];
        for condition in conditions {
            for held in [0, 30, 64, 1000] {
                let conditional = Locks::of(&Keys::new(), condition, held);
                for (tags, used) in [(&few, 0), (&few, 63), (&many, 0)] {
                    for depends in [Depends::Nothing, Depends::Tag(7), Depends::Tag(5), Depends::Events] {
                        let writer = Locks::of(tags, depends, used);
                        assert!(
                            exclude(&conditional, &writer),
                            "{condition:?} {held} {tags:?} {used} {depends:?}"
                        );
                    }
                }
            }
        }
        // Nobody else waits.
        let plain = Locks::of(&few, Depends::Nothing, 0);
        let other = Locks::of(&Keys::from([4]), Depends::Tag(4), 0);
        assert!(!exclude(&plain, &plain) && !exclude(&plain, &other));
        let bulk = Locks::of(&many, Depends::Nothing, 0);
        assert!(!exclude(&bulk, &bulk) && !exclude(&bulk, &plain));
    }
}
