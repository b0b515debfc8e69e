//! Batches that come again, and batches that come at once.

use super::batches::*;
use neobank_sessions::*;
use std::sync::{Arc, Barrier};
use std::thread;

/// Runs in its own session, and ends its transaction either way.
fn in_background(mut session: Client, sql: String) -> thread::JoinHandle<Result<Vec<String>, Refusal>> {
    thread::spawn(move || {
        let answer = session.try_lines(&sql);
        session.run(if answer.is_ok() { "commit" } else { "rollback" });
        answer
    })
}

#[test]
fn a_batch_that_comes_again_answers_what_it_answered_and_posts_nothing() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b, slotted) = (bank.account("100"), bank.account("0"), bank.account("20"));
        bank.db.run(&format!("select banking.set_balance_mode('{slotted}', 'slotted')"));
        let mut session = bank.session_on(path);
        let items: Vec<Item> = [
            Item::transfer(a, b, "60"),
            Item::of("withdrawal", b, None, "10").refs("cash"),
            Item::transfer(a, slotted, "40"),
            Item::of("fee", a, None, "1"),
            Item::of("payment", slotted, None, "60"),
            Item::of("deposit", None, a, "2"),
        ]
        .map(|item| item.with_id(Uuid::now_v7()))
        .to_vec();
        let first = post_batch(&mut session, &items);
        assert_eq!(codes(&first), ["ok"; 6], "{path}");
        bank.status(b, "frozen");
        let before = snapshot(&mut bank.db);
        assert_eq!(post_batch(&mut session, &items), first, "{path}");
        // In another order, among others, or by another path.
        let turned: Vec<Item> = items.iter().rev().cloned().collect();
        let answers: Vec<Answer> = post_batch(&mut session, &turned).into_iter().rev().collect();
        assert_eq!(answers, first, "{path}");
        for path in PATHS {
            assert_eq!(post_batch(&mut bank.session_on(path), &items), first, "{path}");
        }
        assert_eq!(before, snapshot(&mut bank.db), "{path}");
        // With other content each is a conflict.
        let others: Vec<Item> = items
            .iter()
            .enumerate()
            .map(|(at, item)| match at % 3 {
                0 => Item { amount: "0.01".to_owned(), ..item.clone() },
                1 => Item { reference: Some("other".to_owned()), ..item.clone() },
                _ => Item::of("transfer", b, a, &item.amount).with_id(item.id.expect("given")),
            })
            .collect();
        assert_eq!(codes(&post_batch(&mut session, &others)), ["id_conflict"; 6], "{path}");
        assert_eq!(before, snapshot(&mut bank.db), "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn batches_that_share_some_ids_post_each_once() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("100"), bank.account("0"));
        let mut session = bank.session_on(path);
        let ids: Vec<Uuid> = (0..6).map(|_| Uuid::now_v7()).collect();
        let items: Vec<Item> = ids.iter().map(|id| Item::transfer(a, b, "1").with_id(*id)).collect();
        let first = post_transfers(&mut session, &items[..4]);
        let second = post_transfers(&mut session, &items[2..]);
        assert_eq!(second[..2], first[2..], "{path}");
        assert_eq!((second[3].id, second[3].to), (Some(ids[5]), Some(dec("6"))), "{path}");
        // A function and a batch are one about ids too.
        let alone = format!("select txn_processing.transfer('{a}', '{b}', 1, transaction_id => '{}')", ids[5]);
        assert_eq!(session.id(&alone), ids[5], "{path}");
        let by_function = Uuid::now_v7();
        session.run(&format!("select txn_processing.transfer('{a}', '{b}', 2, transaction_id => '{by_function}')"));
        let again = Item::transfer(a, b, "2").with_id(by_function);
        let other = Item::transfer(a, b, "3").with_id(by_function);
        let found = post_transfers(&mut session, &[again, other]);
        assert_eq!(codes(&found), ["ok", "id_conflict"], "{path}");
        assert_eq!((found[0].from, found[0].to), (Some(dec("92")), Some(dec("8"))), "{path}");
        assert_eq!(bank.db.balance(b), dec("8"), "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn an_id_twice_in_one_batch_is_one_posting_or_a_conflict() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b, slotted) = (bank.account("100"), bank.account("0"), bank.account("0"));
        bank.db.run(&format!("select banking.set_balance_mode('{slotted}', 'slotted')"));
        let mut session = bank.session_on(path);
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        let item = || Item::transfer(a, b, "10").with_id(one);
        let items = [
            item(),
            Item::transfer(a, b, "1"),
            item(),
            Item { amount: "10.00".to_owned(), ..item() },
            Item { amount: "11".to_owned(), ..item() },
            Item::transfer(b, a, "10").with_id(one),
            item().refs("r"),
            Item::of("withdrawal", a, None, "10").with_id(one),
            Item::transfer(a, slotted, "1").with_id(two),
            Item::transfer(a, slotted, "1").with_id(two),
            item(),
        ];
        let found = post_batch(&mut session, &items);
        let no = "id_conflict";
        assert_eq!(codes(&found), ["ok", "ok", "ok", "ok", no, no, no, no, "ok", "ok", "ok"], "{path}");
        for repeated in [2, 3, 10] {
            assert_eq!(found[repeated], found[0], "{path}");
        }
        assert_eq!((found[9].id, &found[9]), (Some(two), &found[8]), "{path}");
        assert_eq!(bank.db.balance(b), dec("11"), "{path}");
        assert_eq!(whole_balance(&mut bank.db, slotted), dec("1"), "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn what_is_rolled_back_was_never_posted() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b, slotted) = (bank.account("100"), bank.account("0"), bank.account("0"));
        bank.db.run(&format!("select banking.set_balance_mode('{slotted}', 'slotted')"));
        let mut session = bank.session_on(path);
        let items = [
            Item::transfer(a, b, "10").with_id(Uuid::now_v7()),
            Item::transfer(b, slotted, "5").with_id(Uuid::now_v7()),
        ];
        let before = snapshot(&mut bank.db);
        session.run("begin");
        let first = post_transfers(&mut session, &items);
        session.run("savepoint s");
        let more = [Item::transfer(a, b, "90"), Item::transfer(slotted, b, "5")];
        assert_eq!(codes(&post_transfers(&mut session, &more)), ["ok", "ok"], "{path}");
        assert_eq!(codes(&post_transfers(&mut session, &more)), ["insufficient_funds"; 2], "{path}");
        session.run("rollback to s");
        assert_eq!(post_transfers(&mut session, &items), first, "{path}: as it was at the savepoint");
        session.run("rollback");
        assert_eq!(before, snapshot(&mut bank.db), "{path}");
        assert_eq!(post_transfers(&mut session, &items), first, "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn overlapping_batches_in_opposite_orders_do_not_lock_each_other_out() {
    let _crowd = crowd();
    for path in PATHS {
        let mut bank = Bank::new();
        let mut accounts: Vec<Uuid> = (0..12).map(|_| bank.account("1000")).collect();
        for account in &accounts[..3] {
            bank.db.run(&format!("select banking.set_balance_mode('{account}', 'slotted')"));
        }
        accounts.sort_unstable();
        let start = Arc::new(Barrier::new(4));
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (mut session, start) = (bank.session_on(path), Arc::clone(&start));
                let mut order = accounts.clone();
                if worker % 2 == 1 {
                    order.reverse();
                }
                thread::spawn(move || {
                    start.wait();
                    for round in 0..40 {
                        let transfer =
                            |at: usize| Item::transfer(order[at % 12], order[(at * 5 + round + 1) % 12], "0.25");
                        let mut items: Vec<Item> = (0..60).map(transfer).filter(|item| item.from != item.to).collect();
                        items.extend(order.iter().map(|id| Item::of("withdrawal", *id, None, "0.25")));
                        items.extend(order.iter().map(|id| Item::of("deposit", None, *id, "0.25")));
                        // A deadlock would be an error of the call.
                        let found = post_batch(&mut session, &items);
                        assert!(codes(&found).iter().all(|code| *code == "ok"), "{found:?}");
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().expect("no error"));
        let total = "select sum(current_balance) from banking.account_balances where customer_id is not null";
        assert_eq!(bank.db.money(total), dec("12000"), "{path}");
        audit(&mut bank.db);
    }
}

/// The first session posts and stays open; the second brings the same ids and must wait.
fn same_ids_at_once(path: &str, level: &str, same_accounts: bool, same_content: bool, first_commits: bool) {
    let name = format!(
        "{path}, {level}, same accounts: {same_accounts}, same content: {same_content}, commits: {first_commits}"
    );
    let mut bank = Bank::new();
    let accounts: Vec<Uuid> = (0..4).map(|_| bank.account("100")).collect();
    let ids: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
    let items = |from: Uuid, to: Uuid, amount: &str| -> Vec<Item> {
        ids.iter().map(|id| Item::transfer(from, to, amount).with_id(*id)).collect()
    };
    let first = items(accounts[0], accounts[1], "1");
    let (from, to) = if same_accounts { (accounts[0], accounts[1]) } else { (accounts[2], accounts[3]) };
    let second = items(from, to, if same_content { "1" } else { "2" });
    let (mut holder, mut waiter) = (bank.session_on(path), bank.session_on(path));
    let backend = Bank::backend_of(&mut waiter);
    waiter.run(&format!("begin isolation level {level}; select count(*) from banking.accounts"));
    holder.run("begin");
    let held = post_transfers(&mut holder, &first);
    let waiting = in_background(waiter, transfers_sql(&second, false));
    bank.wait_until_blocked(backend);
    holder.run(if first_commits { "commit" } else { "rollback" });
    let answer = waiting.join().expect("the waiter ends");
    let is_retry = same_accounts && same_content;
    match answer {
        Ok(lines) if first_commits => {
            let found = answers(&lines, 3);
            assert!(level == "read committed" && same_accounts, "{name}: {found:?}");
            if is_retry {
                assert_eq!(found, held, "{name}");
            } else {
                assert_eq!(codes(&found), ["id_conflict"; 3], "{name}");
            }
        }
        Ok(lines) => assert_eq!(codes(&answers(&lines, 3)), ["ok"; 3], "{name}"),
        Err(refusal) => {
            assert_eq!(refusal.code, "40001", "{name}: {refusal}");
            assert!(first_commits && !(level == "read committed" && same_accounts), "{name}: {refusal}");
            assert!(!refusal.hint.is_empty() || refusal.message.starts_with("could not serialize"), "{refusal}");
            // The caller repeats the transaction and hears what became of the ids.
            let found = post_transfers(&mut bank.db, &second);
            assert_eq!(codes(&found), [if is_retry { "ok" } else { "id_conflict" }; 3], "{name}");
        }
    }
    let rows = format!(
        "select count(*), trim_scale(sum(amount)) from txn_processing.movements where transaction_id in ('{}')",
        ids.iter().map(Uuid::to_string).collect::<Vec<_>>().join("', '")
    );
    let each = if first_commits || same_content { 3 } else { 6 };
    assert_eq!(bank.db.one(&rows), format!("3|{each}"), "{name}");
    audit(&mut bank.db);
}

#[test]
fn the_same_ids_in_two_batches_at_once_have_one_effect() {
    let _crowd = crowd();
    for path in PATHS {
        for level in ["read committed", "repeatable read", "serializable"] {
            for same_accounts in [true, false] {
                for same_content in [true, false] {
                    for first_commits in [true, false] {
                        same_ids_at_once(path, level, same_accounts, same_content, first_commits);
                    }
                }
            }
        }
    }
}

#[test]
fn many_sessions_with_one_batch_get_one_answer() {
    let _crowd = crowd();
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("1000"), bank.account("0"));
        for round in 1..=10 {
            let items: Vec<Item> = (0..5).map(|_| Item::transfer(a, b, "1").with_id(Uuid::now_v7())).collect();
            let racers: Vec<_> = (0..5)
                .map(|_| {
                    let (mut session, items) = (bank.session_on(path), items.clone());
                    thread::spawn(move || post_transfers(&mut session, &items))
                })
                .collect();
            let mut found = racers.into_iter().map(|racer| racer.join().expect("no error for a retry"));
            let first = found.next().expect("five");
            assert_eq!(codes(&first), ["ok"; 5]);
            assert!(found.all(|answers| answers == first), "{path}");
            assert_eq!(bank.db.balance(b), dec(&(5 * round).to_string()), "{path}");
        }
        audit(&mut bank.db);
    }
}
