//! Which sagas that have ended go together.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// A saga that nobody has started as a child, with all that descend from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    pub root: Uuid,
    pub descendants: Vec<Uuid>,
}

/// Families of these roots, in their order; `descendants` are pairs of a root and one that descends from it.
pub fn families(roots: &[Uuid], descendants: &[(Uuid, Uuid)]) -> Vec<Family> {
    let mut below: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    for (root, saga) in descendants {
        below.entry(*root).or_default().push(*saga);
    }
    let family = |root: &Uuid| Family { root: *root, descendants: below.remove(root).unwrap_or_default() };
    roots.iter().map(family).collect()
}

/// The sagas that go now: whole families all of whose members are locked, as many as there is room for. One that is
/// larger than all the room there is goes alone, or it would never go.
pub fn whole(families: &[Family], locked: &HashSet<Uuid>, room: usize) -> Vec<Uuid> {
    let mut going = Vec::new();
    for family in families {
        if !family.descendants.iter().all(|saga| locked.contains(saga)) {
            continue;
        }
        if !going.is_empty() && going.len() + 1 + family.descendants.len() > room {
            break;
        }
        going.push(family.root);
        going.extend(&family.descendants);
    }
    going
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn families_go_whole_or_not_at_all() {
        let all = families(&[id(1), id(2), id(3)], &[(id(2), id(20)), (id(2), id(21)), (id(3), id(30))]);
        assert_eq!(all[1], Family { root: id(2), descendants: vec![id(20), id(21)] });
        let locked = HashSet::from([id(20), id(21), id(30)]);
        assert_eq!(whole(&all, &locked, 100), [1, 2, 20, 21, 3, 30].map(id));
        assert_eq!(whole(&all, &locked, 4), [1, 2, 20, 21].map(id));
        assert_eq!(whole(&all, &locked, 3), [1].map(id));
        // Somebody else has one of them.
        assert_eq!(whole(&all, &HashSet::from([id(20), id(30)]), 100), [1, 3, 30].map(id));
        assert_eq!(whole(&all[1..2], &HashSet::new(), 100), [0; 0].map(id));
    }

    #[test]
    fn one_that_is_larger_than_the_room_goes_alone() {
        let all = families(&[id(2), id(3)], &[(id(2), id(20)), (id(2), id(21))]);
        assert_eq!(whole(&all, &HashSet::from([id(20), id(21)]), 1), [2, 20, 21].map(id));
    }
}
