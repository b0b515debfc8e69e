//! Batches of postings of several types, of slotted accounts, of other currencies, and who may post which.

use super::batches::*;
use neobank_sessions::*;

/// Debits and credits of the trial balance, over all types, per currency.
fn even(bank: &mut Bank) {
    let off = "select currency_code from txn_processing.trial_balance() \
               group by currency_code having sum(debits) <> sum(credits)";
    assert_eq!(bank.db.lines(off), Vec::<String>::new());
    let faults = "select * from txn_processing.daily_reconciliation() where status <> 'Balanced'";
    assert_eq!(bank.db.lines(faults), Vec::<String>::new());
    audit(&mut bank.db);
}

#[test]
fn every_type_goes_to_the_banks_account_that_its_function_takes() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("100"), bank.account("0"));
        let euro = bank.account_with("savings", "EUR", "0", "0");
        let mut session = bank.session_on(path);
        let items = [
            Item::of("deposit", None, a, "50"),
            Item::of("withdrawal", a, None, "20"),
            Item::of("payment", a, None, "10"),
            Item::of("fee", b, None, "1.50"),
            Item::of("interest", None, b, "1.25"),
            Item::transfer(a, b, "5"),
            Item::of("deposit", None, euro, "3.33"),
            Item::of("withdrawal", b, None, "4.76"),
            Item::of("fee", b, None, "7"),
        ];
        let found = post_batch(&mut session, &items);
        let refused = "insufficient_funds";
        assert_eq!(codes(&found), ["ok", "ok", "ok", "ok", "ok", "ok", "ok", refused, "ok"], "{path}");
        let customers = found.iter().zip(&items).filter(|(answer, _)| answer.code == "ok");
        let side = |(answer, item): (&Answer, &Item)| if item.from.is_some() { answer.from } else { answer.to };
        let balances: Vec<_> = customers.map(side).map(|balance| balance.expect("exclusive")).collect();
        let wanted = ["150", "130", "120", "-1.5", "-0.25", "115", "3.33", "-2.25"].map(dec);
        assert_eq!(balances, wanted, "{path}");
        let rows = "select m.transaction_type, d.account_type, c.account_type, m.currency_code, trim_scale(m.amount) \
                    from txn_processing.movements m join banking.accounts d on d.account_id = m.debit_account \
                    join banking.accounts c on c.account_id = m.credit_account order by m.transaction_id offset 1";
        assert_eq!(
            bank.db.lines(rows),
            [
                "deposit|cash|checking|USD|50",
                "withdrawal|checking|cash|USD|20",
                "payment|checking|payments_clearing|USD|10",
                "fee|checking|fee_income|USD|1.5",
                "interest|interest_expense|checking|USD|1.25",
                "transfer|checking|checking|USD|5",
                "deposit|cash|savings|EUR|3.33",
                "fee|checking|fee_income|USD|7",
            ],
            "{path}"
        );
        even(&mut bank);
    }
}

#[test]
fn what_a_type_cannot_have_is_refused_per_item() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("100"), bank.account("0"));
        let (cash, suspense) = (bank.internal("cash", "USD"), bank.internal("suspense", "USD"));
        let mut session = bank.session_on(path);
        let bounds = "argument_out_of_bounds";
        let refusals = [
            (Item::of("refund", a, b, "1"), bounds),
            (Item::of("reversal", a, b, "1"), bounds),
            (Item::of("adjustment", a, None, "1"), bounds),
            (Item::of("Transfer", a, b, "1"), bounds),
            (Item::of("", a, b, "1"), bounds),
            (Item::of("null", a, b, "1"), "null_argument"),
            (Item::of("deposit", cash, a, "1"), bounds),
            (Item::of("deposit", a, b, "1"), bounds),
            (Item::of("interest", a, b, "1"), bounds),
            (Item::of("withdrawal", a, cash, "1"), bounds),
            (Item::of("payment", a, b, "1"), bounds),
            (Item::of("fee", a, b, "1"), bounds),
            (Item::of("deposit", None, None, "1"), "null_argument"),
            (Item::of("withdrawal", None, None, "1"), "null_argument"),
            (Item::of("payment", None, a, "1"), "null_argument"),
            (Item::of("deposit", None, Uuid::now_v7(), "1"), "account_not_found"),
            (Item::of("fee", Uuid::now_v7(), None, "1"), "account_not_found"),
            (Item::of("deposit", None, cash, "1"), "same_account"),
            (Item::of("deposit", None, suspense, "1"), "internal_account"),
            (Item::of("withdrawal", suspense, None, "1"), "internal_account"),
            (Item::of("fee", suspense, None, "1"), "internal_account"),
            (Item::of("transfer", suspense, a, "1"), "internal_account"),
            (Item::of("interest", None, a, "0.001"), "invalid_amount"),
            (Item::of("withdrawal", a, None, "101"), "insufficient_funds"),
            (Item::of("payment", a, None, "101"), "insufficient_funds"),
        ];
        let before = snapshot(&mut bank.db);
        let items: Vec<Item> = refusals.iter().map(|(item, _)| item.clone()).collect();
        let found = post_batch(&mut session, &items);
        for ((item, word), answer) in refusals.iter().zip(&found) {
            assert_eq!(answer.code, *word, "{path}: {item:?}");
        }
        assert_eq!(before, snapshot(&mut bank.db), "{path}");
    }
}

#[test]
fn decimals_are_those_of_the_items_currency() {
    for path in PATHS {
        let mut bank = Bank::new();
        let mut session = bank.session_on(path);
        let of = |bank: &mut Bank, currency: &str| {
            [bank.account_with("checking", currency, "100", "0"), bank.account_with("savings", currency, "0", "0")]
        };
        let ([yen, yen2], [dinar, dinar2], [usd, usd2]) =
            (of(&mut bank, "JPY"), of(&mut bank, "KWD"), of(&mut bank, "USD"));
        let items = [
            Item::transfer(yen, yen2, "1"),
            Item::transfer(yen, yen2, "1.0"),
            Item::transfer(yen, yen2, "0.5"),
            Item::transfer(dinar, dinar2, "1.234"),
            Item::transfer(dinar, dinar2, "1.2340000000"),
            Item::transfer(dinar, dinar2, "1.2341"),
            Item::transfer(usd, usd2, "1.23"),
            Item::transfer(usd, usd2, "1.234"),
            Item::transfer(usd, usd2, "0.01"),
        ];
        let no = "invalid_amount";
        let found = session.lines(&transfers_sql(&items, false));
        assert_eq!(codes(&answers(&found, 9)), ["ok", "ok", no, "ok", "ok", no, "ok", no, "ok"], "{path}");
        let shown: Vec<&str> = found.iter().filter_map(|line| line.split("ok|").nth(1)).collect();
        assert_eq!(shown, ["99|1", "98|2", "98.766|1.234", "97.532|2.468", "98.77|1.23", "98.76|1.24"], "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn references_are_kept_as_given_and_bounded() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("100"), bank.account("0"));
        let mut session = bank.session_on(path);
        let (widest, wider) = ("ü".repeat(50), "ü".repeat(51));
        let item = || Item::transfer(a, b, "1");
        let items = [item().refs(&widest), item().refs(&wider), item(), item().refs(""), item().refs(" | \\ \" ")];
        let found = post_transfers(&mut session, &items);
        assert_eq!(codes(&found), ["ok", "argument_out_of_bounds", "ok", "ok", "ok"], "{path}");
        let rows = "select '<' || reference || '>' from txn_processing.movements \
                    where transaction_type = 'transfer' order by transaction_id";
        assert_eq!(bank.db.lines(rows), [&format!("<{widest}>"), "", "<>", "< | \\ \" >"], "{path}");
        let shown = format!(
            "select reference_number ~ '^TXN-\\d{{8}}-[0-9A-F]{{32}}$' from txn_processing.transaction('{}')",
            found[2].id.expect("ok")
        );
        assert_eq!(bank.db.one(&shown), "t");
    }
}

#[test]
fn a_caller_posts_in_a_batch_what_it_may_post_alone() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("100"), bank.account("0"));
        let items = [
            Item::transfer(a, b, "1"),
            Item::of("fee", a, None, "1"),
            Item::of("deposit", None, a, "1"),
            Item::of("interest", None, a, "1"),
            Item::of("withdrawal", a, None, "1"),
            Item::of("payment", a, None, "1"),
        ];
        let no = "permission_denied";
        for (level, wanted) in [
            ("none", None),
            ("reader", None),
            ("teller", Some(["ok", no, "ok", no, "ok", "ok"])),
            ("operator", Some(["ok"; 6])),
        ] {
            let role = bank.role(level);
            bank.db.run(&format!("alter role {role} set neobank.posting_path = '{path}'"));
            if level != "none" {
                bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
            }
            let mut session = bank.session_as(&role);
            let before = snapshot(&mut bank.db);
            let Some(wanted) = wanted else {
                refused_with_code_only(&mut session, &batch_sql(&items, false), "42501");
                refused_with_code_only(&mut session, &transfers_sql(&items[..1], false), "42501");
                assert_eq!(before, snapshot(&mut bank.db), "{level}");
                continue;
            };
            assert_eq!(codes(&post_batch(&mut session, &items)), wanted, "{path} {level}");
            let posted = format!("select count(*) from txn_processing.movements where created_by = '{role}'");
            let good = wanted.iter().filter(|code| **code == "ok").count() as i64;
            assert_eq!(bank.db.count(&posted), good, "{path} {level}");
            if level == "teller" {
                // The whole call then fails with what felled it, and a right taken away is gone at once.
                let before = snapshot(&mut bank.db);
                let refusal = refused_with_code_only(&mut session, &batch_sql(&items, true), "42501");
                assert!(refusal.message.contains("charge_fee"), "{refusal}");
                assert_eq!(before, snapshot(&mut bank.db), "{path}");
                bank.db.run(&format!(
                    "revoke execute on function txn_processing.pay(uuid, numeric, char, text, text, jsonb, uuid, \
                     timestamptz) from {role}"
                ));
                assert_eq!(post_batch(&mut session, &items)[5].code, no, "{path}");
            }
        }
        even(&mut bank);
    }
}

#[test]
fn a_slotted_account_takes_part_and_its_bound_holds() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b, merchant) = (bank.account("100"), bank.account("0"), bank.account("5"));
        bank.db.run(&format!("select banking.set_balance_mode('{merchant}', 'slotted')"));
        let mut session = bank.session_on(path);
        let sale = || Item::transfer(a, merchant, "2");
        let mut items = vec![Item::transfer(merchant, b, "6")];
        items.extend([sale(), sale(), sale()]);
        items.extend([
            Item::transfer(merchant, b, "10"),
            Item::transfer(merchant, b, "1.01"),
            Item::of("withdrawal", merchant, None, "1"),
            Item::of("payment", merchant, None, "0.01"),
            Item::of("fee", merchant, None, "3"),
            Item::of("deposit", None, merchant, "2.99"),
            Item::transfer(merchant, b, "0.01"),
        ]);
        let found = post_batch(&mut session, &items);
        let no = "insufficient_funds";
        assert_eq!(codes(&found), [no, "ok", "ok", "ok", "ok", no, "ok", no, "ok", "ok", no], "{path}");
        for (item, answer) in items.iter().zip(&found).filter(|(_, answer)| answer.code == "ok") {
            // The bank's own accounts are slotted too.
            let slotted = |side: Option<Uuid>| side.is_none_or(|account| account == merchant);
            assert_eq!(answer.from.is_none(), slotted(item.from), "{path}: {item:?} {answer:?}");
            assert_eq!(answer.to.is_none(), slotted(item.to), "{path}: {item:?} {answer:?}");
        }
        assert_eq!(whole_balance(&mut bank.db, merchant), dec("-0.01"), "{path}");
        assert_eq!([a, b].map(|id| bank.db.balance(id)), [dec("94"), dec("10")], "{path}");
        even(&mut bank);
        // One batch that sells only, and leaves the merchant's other rows alone.
        let sales: Vec<Item> = (0..40).map(|_| sale()).collect();
        assert!(codes(&post_transfers(&mut session, &sales)).iter().all(|code| *code == "ok"), "{path}");
        assert_eq!(whole_balance(&mut bank.db, merchant), dec("79.99"), "{path}");
        even(&mut bank);
    }
}

#[test]
fn a_balance_past_its_bound_is_refused_in_the_item_that_would_pass_it() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b, c) = (bank.account("0"), bank.account("0"), bank.account("7"));
        bank.db.run(&format!("select banking.set_balance_mode('{a}', 'slotted')"));
        let mut session = bank.session_on(path);
        // A slot holds 10^22: ten thousand of the largest amount.
        let most = "1000000000000000000";
        let fill: Vec<Item> = (0..10_000).map(|n| Item::of(["deposit", "interest"][n % 2], None, a, most)).collect();
        assert!(codes(&post_batch(&mut session, &fill)).iter().all(|code| *code == "ok"), "{path}");
        let items = [
            Item::transfer(c, b, "1"),
            Item::of("deposit", None, a, "0.01"),
            Item::transfer(c, a, "1"),
            Item::transfer(a, b, "1"),
            Item::transfer(c, a, "1"),
            Item::transfer(c, b, "1"),
        ];
        let no = "limit_exceeded";
        assert_eq!(codes(&post_batch(&mut session, &items)), ["ok", no, no, "ok", "ok", "ok"], "{path}");
        assert_eq!(whole_balance(&mut bank.db, a), dec("10000000000000000000000"), "{path}");
        even(&mut bank);
    }
}
