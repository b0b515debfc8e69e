//! The auditor that the other tests trust must itself find what is wrong.

use neobank_sessions::*;

/// Each damage, done past the guard and rolled back, is found by the rule that is to find it.
fn all_found(bank: &mut Bank, damages: &[(String, &str)]) {
    audit(&mut bank.db);
    for (damage, rule) in damages {
        bank.db.run("begin");
        bank.db.run("set local neobank.ledger_guard = off");
        bank.db.run(damage);
        let broken = broken_rules(&mut bank.db);
        bank.db.run("rollback");
        assert!(broken.iter().any(|found| found.contains(rule)), "{damage}: {broken:#?}");
    }
    audit(&mut bank.db);
}

#[test]
fn the_auditor_finds_every_kind_of_damage() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    let euro = bank.account_with("checking", "EUR", "0", "0");
    for n in 1..=4 {
        bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', {n}, reference => 'r{n}')"));
    }
    bank.db.run(&format!("select txn_processing.transfer('{b}', '{a}', 5, effective_at => now() - interval '1 day')"));
    let movements = "update txn_processing.movements";
    let accounts = "update banking.accounts";
    let dated = "txn_processing.backdated_entries";
    let second = "where amount = 2";
    let damages = [
        (format!("{movements} set credit_account = gen_random_uuid() {second}"), "two accounts"),
        (format!("{movements} set credit_account = '{euro}' {second}"), "one currency"),
        (format!("{movements} set tenant_no = 7 {second}"), "one tenant"),
        (format!("{movements} set amount = 2.0 {second}"), "decimals"),
        (format!("{movements} set debit_sequence = 99 {second}"), "no gap"),
        (format!("{movements} set created_at = created_at - interval '1 hour' {second}"), "times ascend"),
        (format!("{movements} set debit_balance = debit_balance + 0.01 {second}"), "before it plus"),
        (format!("{movements} set amount = 2.50 {second}"), "before it plus"),
        (format!("delete from txn_processing.movements {second}"), "no gap"),
        (format!("{accounts} set current_balance = 0 where account_id = '{a}'"), "replay"),
        (format!("{accounts} set current_balance = 0 where account_id = '{a}'"), "books are even"),
        (format!("{accounts} set available_balance = null where account_id = '{a}'"), "not in both"),
        (format!("{accounts} set current_balance = null where account_id = '{a}'"), "not in both"),
        (format!("{accounts} set version = 1 where account_id = '{b}'"), "grow by one"),
        (format!("{accounts} set version = 2 where account_id = '{euro}'"), "grow by one"),
        (format!("update {dated} set balance_change = 4.99 where account_id = '{a}'"), "its entry"),
        (format!("update {dated} set recorded_at = now() where account_id = '{a}'"), "its entry"),
        (format!("delete from {dated} where account_id = '{a}'"), "its entry"),
        (format!("insert into {dated} values ('{euro}', now(), 1, now(), 5.00)"), "its entry"),
        (format!("{movements} set reference = 'r1' {second}"), "reference"),
    ];
    all_found(&mut bank, &damages);
}

#[test]
fn the_auditor_finds_every_kind_of_damage_to_slots() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let plain = bank.account("100");
    // Slotted, exclusive, slotted again, with a second slot made while the first was held.
    bank.db.run(&format!("select banking.set_balance_mode('{a}', 'slotted')"));
    bank.db.run(&format!("select txn_processing.deposit('{a}', 7)"));
    bank.db.run(&format!("select banking.set_balance_mode('{a}', 'exclusive')"));
    bank.db.run(&format!("select txn_processing.deposit('{a}', 8)"));
    bank.db.run(&format!("select banking.set_balance_mode('{a}', 'slotted')"));
    let mut holder = bank.session();
    holder.run(&format!("begin; select txn_processing.deposit('{a}', 9)"));
    bank.db.run(&format!("select txn_processing.deposit('{a}', 10)"));
    holder.run("commit");
    let slots = format!("select slot_no, balance from banking.account_slots where account_id = '{a}' order by 1");
    assert_eq!(bank.db.lines(&slots), ["1|124.00", "2|10.00"]);

    let slot = |what: &str, no: i32| {
        format!("update banking.account_slots set {what} where account_id = '{a}' and slot_no = {no}")
    };
    let account = |what: &str| format!("update banking.accounts set {what} where account_id = '{a}'");
    let change = |what: &str, mode: &str| {
        format!("update banking.balance_mode_changes set {what} where balance_mode = '{mode}'")
    };
    let posting = |what: &str, amount: i32| {
        format!("update txn_processing.movements set {what} where credit_account = '{a}' and amount = {amount}")
    };
    let move_cent = format!("{}; {}", slot("balance = balance + 0.01", 1), slot("balance = balance - 0.01", 2));
    let damages = [
        (slot("balance = balance + 0.01", 1), "replay"),
        (slot("balance = balance + 0.01", 1), "books are even"),
        // The sum is right, the shares are not.
        (move_cent, "row in use holds"),
        (slot("balance = 10.000", 2), "decimals"),
        (slot("sequence = sequence + 1", 2), "grow by one"),
        (account("slots = 1"), "out of use holds nothing"),
        (account("slots = 1"), "replay"),
        (account("slots = 3"), "as many slots"),
        (account("slots = 33"), "as many slots"),
        (account("slots = 0"), "not in both"),
        (account("slots = 0, current_balance = 134.00, available_balance = 134.00"), "mode that was last set"),
        (account("current_balance = 134.00"), "not in both"),
        (account("version = version + 1"), "grow by one"),
        (format!("delete from banking.account_slots where account_id = '{a}' and slot_no = 2"), "as many slots"),
        (
            format!("insert into banking.account_slots values ('{plain}', (33::bigint << 48) + 1, now(), 33, 0.00)"),
            "as many slots",
        ),
        (
            format!("insert into banking.account_slots values ('{plain}', (1::bigint << 48) + 1, now(), 1, 0.01)"),
            "out of use holds nothing",
        ),
        (change("balance = balance + 0.01", "exclusive"), "takes over"),
        (change("balance_mode = 'slotted'", "exclusive"), "takes over"),
        (change("changed_at = changed_at + interval '1 day'", "exclusive"), "chain of the mode"),
        ("delete from banking.balance_mode_changes".to_owned(), "chain of the mode"),
        (posting("credit_sequence = credit_sequence + 1", 10), "no gap"),
        (posting("credit_sequence = (3::bigint << 48) + 1", 10), "grow by one"),
        (posting("credit_sequence = 4", 10), "chain of the mode"),
        (posting("credit_balance = 134.00", 10), "before it plus"),
        // As if the slot had not been emptied by the switch to exclusive.
        (posting("credit_balance = 231.00", 9), "before it plus"),
        (posting("created_at = created_at - interval '1 hour'", 9), "times ascend"),
    ];
    all_found(&mut bank, &damages);
}

#[test]
fn the_auditor_finds_every_kind_of_damage_to_holds_and_limits() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let loan = bank.account_with("loan", "USD", "0", "50");
    bank.db.run(&format!("select txn_processing.withdraw('{a}', 1)"));
    bank.db.run(&format!("select banking.set_account_limit('{a}', 'day', 90, null, 'r')"));
    let open = bank.db.id(&format!("select txn_processing.place_hold('{a}', 20)"));
    let taken = bank.db.id(&format!("select txn_processing.place_hold('{a}', 10)"));
    bank.db.run(&format!("select txn_processing.capture_hold('{taken}', 4, final => false)"));
    bank.db.run(&format!("select txn_processing.capture_hold('{taken}')"));
    bank.db.run(&format!("select txn_processing.place_hold('{loan}', 30)"));
    let accounts = "update banking.accounts set available_balance = available_balance";
    let holds = "update txn_processing.holds set";
    let usage = "update txn_processing.limit_usage set";
    let damages = [
        (format!("{accounts} + 0.01 where account_id = '{a}'"), "sets aside"),
        (format!("{accounts} - 0.01 where account_id = '{a}'"), "sets aside"),
        (format!("{accounts} - 0.01 where account_id = '{loan}'"), "sets aside"),
        (format!("{holds} state = 'released', closed_at = now() where hold_id = '{open}'"), "sets aside"),
        (format!("{holds} captured = 5.00 where hold_id = '{open}'"), "sum of its captures"),
        ("delete from txn_processing.hold_captures where amount = 4".to_owned(), "sum of its captures"),
        (
            "update txn_processing.hold_captures set transaction_id = gen_random_uuid() where amount = 4".to_owned(),
            "one posting",
        ),
        ("update txn_processing.movements set amount = 4.01 where amount = 4".to_owned(), "one posting"),
        (format!("{holds} closed_at = null where hold_id = '{taken}'"), "closed once"),
        (format!("{holds} state = 'open' where hold_id = '{taken}'"), "closed once"),
        (format!("{holds} currency_code = 'EUR' where hold_id = '{open}'"), "closed once"),
        (format!("{holds} amount = 20 where hold_id = '{open}'"), "figures of holds"),
        (format!("{usage} day_amount = 10"), "has spent"),
        (format!("{usage} month_postings = 9"), "has spent"),
        (format!("{usage} counted_to = 1"), "has spent"),
        (format!("{usage} day_start = day_start + interval '1 hour'"), "has spent"),
    ];
    all_found(&mut bank, &damages);
}
