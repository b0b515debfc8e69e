//! Which streams a call's postings make.
#![forbid(unsafe_code)]

use uuid::Uuid;

/// One movement that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    pub transaction: Uuid,
    pub leg: i16,
    /// Whether the debited and the credited account's balance falls.
    pub falls: [bool; 2],
}

/// Told from the streams of callers, who may use a transaction's id for an aggregate of theirs. The first ten bytes
/// stay, so that ids which ascend in time make streams that do.
const MARK: [u8; 6] = *b"LEDGER";

/// The stream of a transaction's events; of a stream, the transaction.
pub fn stream_of(transaction: Uuid) -> Uuid {
    let mut bytes = transaction.into_bytes();
    for (byte, mark) in bytes[10..].iter_mut().zip(MARK) {
        *byte ^= mark;
    }
    Uuid::from_bytes(bytes)
}

/// The events of a call, as columns.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Events {
    pub transactions: Vec<Uuid>,
    pub legs: Vec<i32>,
    pub streams: Vec<Uuid>,
    pub versions: Vec<i32>,
    /// -1 or 1.
    pub debit_signs: Vec<i32>,
    pub credit_signs: Vec<i32>,
    /// Each stream once, with the number of its last event in the call and its version after it.
    pub opened: Vec<Uuid>,
    pub last: Vec<i32>,
    pub reached: Vec<i32>,
}

impl Events {
    /// The legs of a transaction stand together, in their order.
    pub fn of(legs: &[Leg]) -> Events {
        let mut events = Events::default();
        for legs in legs.chunk_by(|one, next| one.transaction == next.transaction) {
            let stream = stream_of(legs[0].transaction);
            for (version, leg) in (1..).zip(legs) {
                events.transactions.push(leg.transaction);
                events.legs.push(leg.leg.into());
                events.streams.push(stream);
                events.versions.push(version);
                let sign = |falls| if falls { -1 } else { 1 };
                events.debit_signs.push(sign(leg.falls[0]));
                events.credit_signs.push(sign(leg.falls[1]));
            }
            events.opened.push(stream);
            events.last.push(events.legs.len() as i32);
            events.reached.push(legs.len() as i32);
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_another_than_its_transaction_and_leads_back() {
        let transaction = Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_000a);
        let stream = stream_of(transaction);
        assert_ne!(stream, transaction);
        assert_eq!(stream_of(stream), transaction);
        assert_eq!(stream.as_bytes()[..10], transaction.as_bytes()[..10]);
    }

    #[test]
    fn legs_of_a_transaction_are_one_stream() {
        let leg =
            |transaction, leg| Leg { transaction: Uuid::from_u128(transaction), leg, falls: [true, false] };
        let events = Events::of(&[leg(1, 1), leg(2, 1), leg(2, 2), leg(3, 1)]);
        assert_eq!(events.versions, [1, 1, 2, 1]);
        assert_eq!(events.opened, [1, 2, 3].map(|id| stream_of(Uuid::from_u128(id))));
        assert_eq!((events.last, events.reached), (vec![1, 3, 4], vec![1, 2, 1]));
        assert_eq!((events.debit_signs[0], events.credit_signs[0]), (-1, 1));
        assert_eq!(events.streams[1], events.streams[2]);
    }
}
