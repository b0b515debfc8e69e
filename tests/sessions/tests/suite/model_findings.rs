//! One test per fault that random operations against the model (`tests/model`) found.

use crate::events::{append, append_many};
use neobank_sessions::*;

/// An empty array of tags was kept as one by append_events and left out by append_event, so that a retry by the other
/// function was refused as another event (NB103).
#[test]
fn no_tags_are_the_same_in_every_spelling() {
    let mut bank = Bank::new();
    let (stream, id) = (Uuid::now_v7(), Uuid::now_v7());
    let event = |tags: &str| format!(r#"[{{"event_type": "T", "event_data": {{}}, "event_id": "{id}"{tags}}}]"#);
    assert_eq!(bank.db.one(&append_many(stream, &event(r#", "tags": []"#), "")), "1");
    assert_eq!(bank.db.one("select tags is null from event_store.events"), "t");
    for tags in ["", r#", "tags": null"#, r#", "tags": []"#] {
        assert_eq!(bank.db.one(&append_many(stream, &event(tags), "")), "1", "{tags}");
    }
    for tags in ["null", "'{}'"] {
        let one = append(stream, "T", "{}", &format!(", null, null, '{id}', {tags}"));
        assert_eq!(bank.db.id(&one), id, "{tags}");
    }
}

/// Figures of more digits than fit were rounded without a word: an amount written as text with an exponent, and a sum.
#[test]
fn a_figure_that_does_not_fit_is_refused_and_not_rounded() {
    let mut bank = Bank::new();
    let long = r#"{"balance": 98765432109876543210987654.32}"#;
    for (opened, amount) in [("{}", r#""1.00000000000000000000000000000000000001e0""#), (long, "0.001")] {
        let stream = Uuid::now_v7();
        bank.db.run(&append(stream, "AccountOpened", opened, ""));
        bank.db.run(&append(stream, "FundsDeposited", &format!(r#"{{"amount": {amount}}}"#), ""));
        let state = format!("select event_store.get_aggregate_state('{stream}')");
        refused(&mut bank.db, &state, "NB105");
    }
    let stream = Uuid::now_v7();
    bank.db.run(&append(stream, "AccountOpened", long, ""));
    bank.db.run(&append(stream, "FundsDeposited", r#"{"amount": "1e-2"}"#, ""));
    bank.db.run(&append(stream, "FundsWithdrawn", r#"{"amount": "250e-2"}"#, ""));
    assert_eq!(
        bank.db.one(&format!("select event_store.get_aggregate_state('{stream}')")),
        r#"{"balance": 98765432109876543210987651.83, "version": 3}"#
    );
}
