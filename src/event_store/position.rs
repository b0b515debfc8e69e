//! Positions in the order of all events.
//!
//! A position's upper bits are a range, its lower bits count within it. A range is the number of a transaction, or of a
//! subtransaction of it, that nobody else has; a writer never uses one below its own transaction's number. So all
//! events below the oldest transaction that is under way are there, and nothing will come between them.
#![forbid(unsafe_code)]

const RANGE_BITS: u32 = 20;
const RANGE_SIZE: i64 = 1 << RANGE_BITS;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub i64);

/// The positions that a transaction has in hand.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    transaction: i64,
    range: i64,
    used: i64,
}

impl Range {
    pub const NONE: Range = Range { transaction: 0, range: 0, used: 0 };

    /// The range to go on with in that transaction.
    pub fn of(self, transaction: i64) -> Range {
        if self.transaction == transaction {
            self
        } else {
            Range { transaction, range: transaction, used: 0 }
        }
    }

    /// The same transaction with the number of a new subtransaction.
    pub fn renewed(self, subtransaction: i64) -> Range {
        Range { range: subtransaction, used: 0, ..self }
    }

    /// The first of `count` neighbours above `after`; nothing where this range has no room for them.
    pub fn take(&mut self, added: i64, after: Position, count: usize) -> Option<Position> {
        let count = i64::try_from(count).expect("a batch is bounded");
        let first = Position(((added + self.range) << RANGE_BITS) + self.used);
        if first <= after || self.used + count > RANGE_SIZE {
            return None;
        }
        self.used += count;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_ascend_within_a_transaction() {
        let mut range = Range::NONE.of(7);
        let first = range.take(0, Position(0), 3).expect("there is room");
        let next = range.of(7).take(0, first, 1).expect("there is room");
        assert_eq!((first.0, next.0), (7 << 20, (7 << 20) + 3));
        assert_eq!(range.of(8).take(0, next, 1), Some(Position(8 << 20)));
    }

    #[test]
    fn a_stream_written_by_a_younger_transaction_wants_a_younger_range() {
        let mut range = Range::NONE.of(7);
        let theirs = Position(9 << 20);
        assert_eq!(range.take(0, theirs, 1), None);
        assert_eq!(range.renewed(10).take(0, theirs, 1), Some(Position(10 << 20)));
    }

    #[test]
    fn a_full_range_is_not_overrun() {
        let mut range = Range::NONE.of(7);
        assert!(range.take(0, Position(0), (1 << 20) - 1).is_some());
        assert_eq!(range.take(0, Position(0), 2), None);
        assert!(range.take(0, Position(0), 1).is_some());
        assert_eq!(range.take(0, Position(0), 1), None);
    }
}
