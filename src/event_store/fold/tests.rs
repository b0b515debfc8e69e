//! What folding makes of events in their binary form.

use super::rules::{Action, Lookup, Rules};
use super::*;
use crate::pg::jsonb::encoded;
use proptest::prelude::*;

fn folded(events: &[(&str, &str)]) -> Result<String, String> {
    let (rules, mut state) = (Rules::of("Account", &[]), State::default());
    let mut lookup = Lookup::of(&rules);
    for (version, (event_type, data)) in (1..).zip(events) {
        let bytes = encoded(&serde_json::from_str(data).expect("it is JSON"));
        let Action::Operations(operations) = lookup.action(event_type.as_bytes()) else {
            panic!("no function is built in")
        };
        state.apply(operations, Container::of(&bytes), version)?;
    }
    Ok(state.text().into_string().expect("it is text"))
}

#[test]
fn account_events_add_up_exactly() {
    let state = folded(&[
        ("AccountOpened", r#"{"owner": "Ada", "balance": 1000.00}"#),
        ("FundsDeposited", r#"{"amount": 0.1}"#),
        ("FundsDeposited", r#"{"amount": "0.2"}"#),
        ("FundsWithdrawn", r#"{"amount": 500.30}"#),
        ("AccountClosed", r#"{"reason": "moved"}"#),
    ]);
    assert_eq!(state.as_deref(), Ok(r#"{"balance":500.00,"owner":"Ada","status":"closed","version":5}"#));
}

#[test]
fn a_balance_that_was_never_opened_begins_at_zero() {
    let state = folded(&[("FundsDeposited", r#"{"amount": 5}"#), ("FundsWithdrawn", r#"{"amount": 7}"#)]);
    assert_eq!(state.as_deref(), Ok(r#"{"balance":-2,"version":2}"#));
}

#[test]
fn other_events_are_merged_key_by_key() {
    let state = folded(&[
        ("Named", r#"{"name": "a", "x": {"y": 1}}"#),
        ("Renamed", r#"{"name": "b\"\n", "x": {"z": [2, null, true, false, "t"]}}"#),
    ]);
    assert_eq!(state.as_deref(), Ok(r#"{"name":"b\"\n","version":2,"x":{"z":[2,null,true,false,"t"]}}"#));
}

#[test]
fn a_balance_that_events_change_and_set_in_turn_is_never_an_old_one() {
    let state = folded(&[
        ("FundsDeposited", r#"{"amount": 5}"#),
        ("Corrected", r#"{"balance": 100.5}"#),
        ("FundsDeposited", r#"{"amount": 1}"#),
        ("AccountOpened", r#"{"balance": 3}"#),
        ("FundsWithdrawn", r#"{"amount": 1.25}"#),
    ]);
    assert_eq!(state.as_deref(), Ok(r#"{"balance":1.75,"version":5}"#));
}

#[test]
fn what_is_no_figure_is_said() {
    for (data, why) in [
        ("{}", "has no amount"),
        (r#"{"amount": true}"#, "has a amount that is no number"),
        (r#"{"amount": "ten"}"#, "has the amount ten, which is no decimal of up to 28 digits"),
    ] {
        assert_eq!(folded(&[("FundsDeposited", data)]), Err(why.to_owned()));
    }
    let most = ("FundsDeposited", r#"{"amount": 79228162514264337593543950335}"#);
    assert_eq!(folded(&[most, most]), Err("makes balance longer than 28 digits".to_owned()));
    let tenth = ("FundsDeposited", r#"{"amount": 0.1}"#);
    assert_eq!(folded(&[most, tenth]), Err("makes balance longer than 28 digits".to_owned()));
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(|text| Value::String(text.replace('\0', ""))),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map("[a-z]{0,6}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_binary_form_is_read_as_it_was_written(
        map in prop::collection::btree_map("[a-z]{0,6}", json(), 0..80)
    ) {
        let object = serde_json::Value::Object(map.into_iter().collect());
        let bytes = encoded(&object);
        let container = Container::of(&bytes);
        for (key, value) in object.as_object().expect("an object") {
            let found = container.get(key).expect("it is there");
            prop_assert_eq!(Tree::from(found), value.to_string().parse::<Tree>().expect("it is JSON"));
        }
        prop_assert!(container.get("not there").is_none());
        let mut text = String::new();
        write_object(&fields(container), &mut text);
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON"), object);
    }
}
