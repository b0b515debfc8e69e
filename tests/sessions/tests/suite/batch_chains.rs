//! Chains of a batch: linked items stand or fall as one, and what fell was never there.

use super::batches::*;
use neobank_sessions::*;

const FELL: &str = "linked_failed";
const POOR: &str = "insufficient_funds";

/// Ties every item but the last to the next one.
fn chain(items: impl IntoIterator<Item = Item>) -> Vec<Item> {
    let mut items: Vec<Item> = items.into_iter().map(Item::linked).collect();
    items.last_mut().expect("a chain has items").linked = false;
    items
}

#[test]
fn a_chain_of_the_whole_call_falls_wherever_it_fails() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b, c) = (bank.account("10"), bank.account("0"), bank.account("0"));
        let mut session = bank.session_on(path);
        let fine = [Item::transfer(a, b, "4"), Item::transfer(b, c, "3"), Item::transfer(c, a, "2")];
        for (bad, word) in [
            (Item::transfer(a, b, "1000"), POOR),
            (Item::transfer(a, a, "1"), "same_account"),
            (Item::transfer(a, b, "0.001"), "invalid_amount"),
            (Item::transfer(a, b, "NaN"), "invalid_amount"),
            (Item::of("transfer", None, b, "1"), "null_argument"),
            (Item::transfer(a, Uuid::now_v7(), "1"), "account_not_found"),
        ] {
            for place in 0..=3 {
                let mut items = fine.to_vec();
                items.insert(place, bad.clone());
                let before = snapshot(&mut bank.db);
                let found = post_transfers(&mut session, &chain(items));
                let mut wanted = vec![FELL; 4];
                wanted[place] = word;
                assert_eq!(codes(&found), wanted, "{path}: {word} at {place}");
                assert_eq!(before, snapshot(&mut bank.db), "{path}: {word} at {place}");
            }
        }
        // The same without what made it fall stands, and each item sees the one before.
        let found = post_transfers(&mut session, &chain(fine));
        let wanted = [("6", "4"), ("1", "3"), ("1", "8")].map(|(from, to)| (Some(dec(from)), Some(dec(to))));
        assert_eq!(found.iter().map(|answer| (answer.from, answer.to)).collect::<Vec<_>>(), wanted, "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn the_first_failure_of_a_chain_is_the_one_told() {
    // What stands behind it is not even looked at, so it cannot have a word of its own.
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("10"), bank.account("0"));
        let mut session = bank.session_on(path);
        let items = [
            Item::transfer(a, b, "10"),
            Item::transfer(a, b, "0.01"),
            Item::transfer(a, a, "1"),
            Item::of("transfer", None, b, "1"),
        ];
        assert_eq!(codes(&post_transfers(&mut session, &chain(items))), [FELL, POOR, FELL, FELL], "{path}");
    }
}

#[test]
fn chains_beside_each_other_fall_alone() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b, c) = (bank.account("10"), bank.account("0"), bank.account("0"));
        let mut session = bank.session_on(path);
        let mut items = chain([Item::transfer(a, b, "6"), Item::transfer(b, c, "5")]);
        items.extend(chain([Item::transfer(c, a, "5"), Item::transfer(a, b, "9"), Item::transfer(b, c, "11")]));
        items.push(Item::transfer(c, b, "5"));
        items.extend(chain([Item::transfer(b, a, "6"), Item::transfer(a, a, "1")]));
        items.extend(chain([Item::transfer(b, a, "6"), Item::transfer(a, c, "10")]));
        items.push(Item::transfer(a, b, "0.01"));
        let found = post_transfers(&mut session, &items);
        let wanted = ["ok", "ok", FELL, FELL, POOR, "ok", FELL, "same_account", "ok", "ok", POOR];
        assert_eq!(codes(&found), wanted, "{path}");
        // Items behind a fallen chain find the balances that were there before it, to the cent.
        assert_eq!((found[5].from, found[5].to), (Some(dec("0")), Some(dec("6"))), "{path}");
        assert_eq!((found[8].from, found[8].to), (Some(dec("0")), Some(dec("10"))), "{path}");
        assert_eq!([a, b, c].map(|id| bank.db.balance(id)), [dec("0"), dec("0"), dec("10")], "{path}");
        let versions = "select account_id, version from banking.accounts where customer_id is not null order by 1";
        let posted = |opening: i64, of: usize| 1 + opening + of as i64;
        let wanted = [(a, posted(1, 3)), (b, posted(0, 4)), (c, posted(0, 3))];
        assert_eq!(bank.db.lines(versions), wanted.map(|(id, version)| format!("{id}|{version}")), "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn a_fallen_chain_leaves_its_ids_free() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("10"), bank.account("0"));
        let mut session = bank.session_on(path);
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        let fallen = chain([Item::transfer(a, b, "10").with_id(one), Item::transfer(a, b, "5").with_id(two)]);
        let mut items = fallen.clone();
        // In the same call, with other content.
        items.push(Item::transfer(a, b, "1").with_id(one));
        items.push(Item::transfer(a, b, "1").with_id(one));
        let found = post_transfers(&mut session, &items);
        assert_eq!(codes(&found), [FELL, POOR, "ok", "ok"], "{path}");
        assert_eq!((found[2].id, &found[2]), (Some(one), &found[3]), "{path}");
        assert_eq!(bank.db.balance(b), dec("1"), "{path}");
        // In a later one; the id that stands now has other content.
        assert_eq!(codes(&post_transfers(&mut session, &fallen)), ["id_conflict", FELL], "{path}");
        let again = chain([Item::transfer(a, b, "2").with_id(two), Item::transfer(a, b, "1")]);
        assert_eq!(codes(&post_transfers(&mut session, &again)), ["ok", "ok"], "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn an_id_that_fell_with_a_chain_is_no_retry_for_the_items_behind() {
    // The second item answers what the first did; when the chain falls, both are gone.
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("10"), bank.account("0"));
        let mut session = bank.session_on(path);
        let id = Uuid::now_v7();
        let item = || Item::transfer(a, b, "4").with_id(id);
        let mut items = chain([item(), item(), Item::transfer(a, b, "7")]);
        items.push(item());
        let found = post_transfers(&mut session, &items);
        assert_eq!(codes(&found), [FELL, FELL, POOR, "ok"], "{path}");
        assert_eq!((found[3].from, found[3].to), (Some(dec("6")), Some(dec("4"))), "{path}");
        assert_eq!(bank.db.balance(b), dec("4"), "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn a_chain_that_falls_takes_nothing_back_that_stood_before_the_call() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("10"), bank.account("0"));
        let mut session = bank.session_on(path);
        let item = Item::transfer(a, b, "4").with_id(Uuid::now_v7());
        assert_eq!(codes(&post_transfers(&mut session, std::slice::from_ref(&item))), ["ok"]);
        let before = snapshot(&mut bank.db);
        let items = chain([item.clone(), Item::transfer(a, b, "7")]);
        assert_eq!(codes(&post_transfers(&mut session, &items)), [FELL, POOR], "{path}");
        assert_eq!(before, snapshot(&mut bank.db), "{path}");
        assert_eq!(codes(&post_transfers(&mut session, &[item])), ["ok"], "{path}");
        assert_eq!(before, snapshot(&mut bank.db), "{path}");
    }
}

#[test]
fn slots_are_as_they_were_after_a_chain_fell() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, merchant) = (bank.account("10"), bank.account("3"));
        bank.db.run(&format!("select banking.set_balance_mode('{merchant}', 'slotted')"));
        let mut session = bank.session_on(path);
        let sale = Item::transfer(a, merchant, "4");
        let fallen = chain([sale.clone(), Item::of("fee", merchant, None, "1"), Item::transfer(merchant, a, "6.01")]);
        let before = snapshot(&mut bank.db);
        assert_eq!(codes(&post_batch(&mut session, &fallen)), [FELL, FELL, POOR], "{path}");
        assert_eq!(before, snapshot(&mut bank.db), "{path}");
        let mut items = fallen;
        items.extend(chain([sale, Item::of("fee", merchant, None, "1"), Item::transfer(merchant, a, "6")]));
        assert_eq!(codes(&post_batch(&mut session, &items)), [FELL, FELL, POOR, "ok", "ok", "ok"], "{path}");
        assert_eq!(whole_balance(&mut bank.db, merchant), dec("0"), "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn an_atomic_call_raises_what_felled_it_and_writes_nothing() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b, c) = (bank.account("10"), bank.account("0"), bank.account("0"));
        bank.status(c, "frozen");
        let mut session = bank.session_on(path);
        let fine = [Item::transfer(a, b, "4"), Item::transfer(b, a, "3"), Item::transfer(a, b, "9")];
        let euro = bank.account_with("checking", "EUR", "1", "0");
        for (bad, code) in [
            (Item::transfer(a, b, "1000"), "NB001"),
            (Item::transfer(a, Uuid::now_v7(), "1"), "NB002"),
            (Item::transfer(a, c, "1"), "NB003"),
            (Item::transfer(a, euro, "1"), "NB004"),
            (Item::transfer(a, b, "Infinity"), "NB005"),
            (Item::transfer(b, b, "1"), "NB006"),
            (Item::transfer(a, b, "1").refs(&"x".repeat(51)), "NB021"),
            (Item::of("transfer", a, None, "1"), "22004"),
        ] {
            for place in 0..=3 {
                let mut items = fine.to_vec();
                items.insert(place, bad.clone());
                let refusal = refused(&mut session, &transfers_sql(&items, true), code);
                assert!(code == "22004" || !refusal.detail.is_empty(), "{path}: {refusal}");
                refused(&mut session, &batch_sql(&items, true), code);
            }
        }
        // Ties between some of the items change nothing.
        let mut items = fine.to_vec();
        items.push(Item::transfer(b, a, "1000"));
        items[0].linked = true;
        refused(&mut session, &transfers_sql(&items, true), "NB001");
        let found = answers(&session.lines(&transfers_sql(&fine, true)), 3);
        assert_eq!(codes(&found), ["ok"; 3], "{path}");
        assert_eq!([a, b].map(|id| bank.db.balance(id)), [dec("0"), dec("10")], "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn an_atomic_call_is_repeated_with_its_ids() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("10"), bank.account("0"));
        let mut session = bank.session_on(path);
        let items = ["6", "4"].map(|amount| Item::transfer(a, b, amount).with_id(Uuid::now_v7()));
        let sql = transfers_sql(&items, true);
        let first = session.lines(&sql);
        // The money is gone by now: a retry is no new posting.
        let before = snapshot(&mut bank.db);
        assert_eq!(session.lines(&sql), first, "{path}");
        assert_eq!(before, snapshot(&mut bank.db), "{path}");
        let [one, two] = items;
        let other = [one, Item { amount: "3".to_owned(), ..two }];
        refused(&mut session, &transfers_sql(&other, true), "NB007");
    }
}

#[test]
fn ties_may_be_null_which_is_none() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("10"), bank.account("0"));
        let mut session = bank.session_on(path);
        let found = session.lines(&format!(
            "select code from txn_processing.post_transfers(array_fill('{a}'::uuid, array[4]), \
             array_fill('{b}'::uuid, array[4]), array[1.0, 1000, 1, 1000], \
             linked => array[null, true, null, null])"
        ));
        assert_eq!(found, ["ok", POOR, FELL, POOR], "{path}");
        assert_eq!(bank.db.balance(b), dec("1"));
    }
}
