//! What a call's postings say as events, and which streams they make.
#![forbid(unsafe_code)]

use rust_decimal::Decimal;
use std::fmt::Write;
use uuid::Uuid;

/// One movement that was written.
#[derive(Clone, Debug)]
pub struct Leg<'a> {
    pub transaction: Uuid,
    pub leg: i16,
    pub kind: &'static str,
    /// Debited and credited.
    pub accounts: [Uuid; 2],
    pub amount: Decimal,
    /// Of the balances, signed.
    pub changes: [Decimal; 2],
    pub sequences: [i64; 2],
    pub currency: &'a str,
    pub tenant_no: i32,
    pub reference: Option<&'a str>,
    pub description: Option<&'a str>,
    pub reverses: Option<Uuid>,
    /// As JSON.
    pub metadata: Option<String>,
    pub effective_at: Option<i64>,
    pub created_at: i64,
    pub created_by: &'a str,
}

impl Leg<'_> {
    pub fn event_type(&self) -> String {
        let (first, rest) = self.kind.split_at(1);
        format!("{}{rest}Posted", first.to_ascii_uppercase())
    }

    pub fn tags(&self) -> [String; 2] {
        self.accounts.map(|account| format!("account:{account}"))
    }

    /// The event's data as JSON, without the time that a backdated posting counts from.
    pub fn data(&self) -> String {
        let Leg { transaction, leg, kind, amount, currency, tenant_no, .. } = self;
        let ([debit, credit], [debit_change, credit_change]) = (self.accounts, self.changes);
        let [debit_sequence, credit_sequence] = self.sequences;
        let mut json = format!(
            "{{\"transaction_id\":\"{transaction}\",\"leg\":{leg},\"type\":\"{kind}\",\
             \"debit_account\":\"{debit}\",\"credit_account\":\"{credit}\",\"amount\":{amount},\
             \"currency\":\"{currency}\",\"debit_change\":{debit_change},\"credit_change\":{credit_change},\
             \"debit_sequence\":{debit_sequence},\"credit_sequence\":{credit_sequence},\"tenant_no\":{tenant_no}"
        );
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        for (key, value) in [
            ("reference", self.reference.map(quoted)),
            ("description", self.description.map(quoted)),
            ("reverses", self.reverses.map(|original| format!("\"{original}\""))),
            ("metadata", self.metadata.clone()),
        ] {
            if let Some(value) = value {
                write!(json, ",\"{key}\":{value}").expect("a string takes what is written");
            }
        }
        json.push('}');
        json
    }
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

/// Where the events of a call belong, as columns.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Places {
    pub streams: Vec<Uuid>,
    pub versions: Vec<i32>,
    /// Each stream once, with the number of its last event in the call and its version after it.
    pub opened: Vec<Uuid>,
    pub last: Vec<i32>,
    pub reached: Vec<i32>,
}

impl Places {
    /// The legs of a transaction stand together, in their order.
    pub fn of(legs: &[Leg]) -> Places {
        let mut places = Places::default();
        for legs in legs.chunk_by(|one, next| one.transaction == next.transaction) {
            let stream = stream_of(legs[0].transaction);
            places.streams.extend(legs.iter().map(|_| stream));
            places.versions.extend((1..).zip(legs).map(|(version, _)| version));
            places.opened.push(stream);
            places.last.push(places.streams.len() as i32);
            places.reached.push(legs.len() as i32);
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(transaction: u128, leg: i16) -> Leg<'static> {
        Leg {
            transaction: Uuid::from_u128(transaction),
            leg,
            kind: "transfer",
            accounts: [1, 2].map(Uuid::from_u128),
            amount: Decimal::new(150, 2),
            changes: [Decimal::new(-150, 2), Decimal::new(150, 2)],
            sequences: [7, 1 << 48],
            currency: "USD",
            tenant_no: 0,
            reference: None,
            description: None,
            reverses: None,
            metadata: None,
            effective_at: None,
            created_at: 0,
            created_by: "ada",
        }
    }

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
        let places = Places::of(&[leg(1, 1), leg(2, 1), leg(2, 2), leg(3, 1)]);
        assert_eq!(places.versions, [1, 1, 2, 1]);
        assert_eq!(places.opened, [1, 2, 3].map(|id| stream_of(Uuid::from_u128(id))));
        assert_eq!((places.last, places.reached), (vec![1, 3, 4], vec![1, 2, 1]));
        assert_eq!(places.streams[1], places.streams[2]);
    }

    #[test]
    fn data_is_json_with_every_digit() {
        let leg = Leg {
            reference: Some("R \"1\"\n"),
            metadata: Some("{\"x\": null, \"y\": 1.50}".into()),
            ..leg(9, 2)
        };
        let data = leg.data();
        let json: serde_json::Value = serde_json::from_str(&data).expect("it is JSON");
        assert_eq!(json["reference"], "R \"1\"\n");
        assert_eq!(json["metadata"]["x"], serde_json::Value::Null);
        assert!(data.contains("\"debit_change\":-1.50,\"credit_change\":1.50"), "{data}");
        assert!(json.get("description").is_none() && json.get("reverses").is_none());
        assert_eq!(leg.event_type(), "TransferPosted");
    }
}
