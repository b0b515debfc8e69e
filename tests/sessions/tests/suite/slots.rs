//! Switching an account between one balance and slots: nothing is lost on the way, nobody else may, and it is on record.

use neobank_sessions::*;

/// Mode, slots, and whether the balance is in the account's own row.
fn shown(bank: &mut Bank, account: Uuid) -> String {
    bank.db.one(&format!(
        "select b.balance_mode, b.slots, a.current_balance is null, a.available_balance is null, \
         b.current_balance, b.available_balance \
         from banking.account_balances b join banking.accounts a using (account_id) where account_id = '{account}'"
    ))
}

fn changes(bank: &mut Bank, account: Uuid) -> Vec<String> {
    bank.db.lines(&format!(
        "select balance_mode, balance, changed_by = session_user from banking.balance_mode_changes \
         where account_id = '{account}' order by changed_at"
    ))
}

fn set(account: impl std::fmt::Display, mode: &str) -> String {
    format!("select banking.set_balance_mode('{account}', '{mode}')")
}

#[test]
fn a_switch_there_and_back_changes_no_balance() {
    let mut bank = Bank::new();
    for (kind, opening, limit, calls) in [
        ("checking", "100", "0", "deposit withdraw"),
        ("checking", "0", "200", "withdraw deposit"),
        ("loan", "0", "500", "withdraw deposit"),
    ] {
        let account = bank.account_with(kind, "USD", opening, limit);
        let mut held = dec(opening);
        let mut recorded = Vec::new();
        for (mode, row) in
            [("slotted", "slotted|1|t|t"), ("exclusive", "exclusive|0|f|f"), ("slotted", "slotted|1|t|t")]
        {
            bank.mode(account, mode);
            assert_eq!(shown(&mut bank, account), format!("{row}|{held:.2}|{held:.2}"), "{kind}");
            recorded.push(format!("{mode}|{held:.2}|t"));
            assert_eq!(changes(&mut bank, account), recorded, "{kind}");
            audit(&mut bank.db);
            for (call, cents) in calls.split(' ').zip(["40", "9.75"]) {
                bank.db.run(&format!("select txn_processing.{call}('{account}', {cents})"));
                let grows = (call == "deposit") == (kind != "loan");
                held += if grows { dec(cents) } else { -dec(cents) };
                assert_eq!(bank.db.balance(account), held, "{kind} {call}");
            }
            audit(&mut bank.db);
        }
        // What is there can be had to the last cent, and no more.
        let all = if kind == "loan" { dec(limit) - held } else { held + dec(limit) };
        let call = |amount: Decimal| format!("select txn_processing.withdraw('{account}', {amount})");
        refused(&mut bank.db, &call(all + dec("0.01")), "NB001");
        bank.db.run(&call(all));
    }
    // The bank's own accounts are slotted from the start, and may be switched as well.
    let cash = bank.internal("cash", "USD");
    let held = bank.db.balance(cash);
    assert_eq!(shown(&mut bank, cash), format!("slotted|1|t|t|{held}|{held}"));
    bank.mode(cash, "exclusive");
    assert_eq!(shown(&mut bank, cash), format!("exclusive|0|f|f|{held}|{held}"));
    bank.account("3");
    bank.mode(cash, "slotted");
    assert_eq!(bank.db.balance(cash), held + dec("3"));
    audit(&mut bank.db);
}

#[test]
fn slots_of_an_earlier_time_are_taken_up_where_they_were_left() {
    // Their numbers must go on and what they held must not come back.
    let mut bank = Bank::new();
    let account = bank.slotted("checking", "100", "0");
    let slots = format!(
        "select slot_no, sequence - (slot_no::bigint << 48), balance from banking.account_slots \
         where account_id = '{account}' order by 1"
    );
    bank.grow(account, 4);
    let before = bank.db.lines(&slots);
    assert_eq!(before.len(), 4);
    bank.mode(account, "exclusive");
    bank.mode(account, "slotted");
    assert_eq!(bank.slots(account), 1, "it starts small again");
    let numbers = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| line.rsplit_once('|').expect("three columns").0.to_owned()).collect()
    };
    let after = bank.db.lines(&slots);
    assert_eq!(numbers(&after), numbers(&before));
    assert_eq!(after[0].rsplit('|').next(), Some("100.00"));
    bank.grow(account, 4);
    bank.db.run(&format!("select txn_processing.withdraw('{account}', 100)"));
    refused(&mut bank.db, &format!("select txn_processing.withdraw('{account}', 0.01)"), "NB001");
    audit(&mut bank.db);
}

#[test]
fn the_mode_that_is_set_already_is_no_change() {
    let mut bank = Bank::new();
    let account = bank.account("100");
    for (mode, logged) in [("exclusive", 0), ("slotted", 1), ("slotted", 1), ("exclusive", 2), ("exclusive", 2)] {
        let (before, known) = (snapshot(&mut bank.db), changes(&mut bank, account).len());
        bank.mode(account, mode);
        assert_eq!(changes(&mut bank, account).len(), logged);
        assert_eq!(before == snapshot(&mut bank.db), known == logged, "{mode}");
    }
    assert_eq!(changes(&mut bank, account), ["slotted|100.00|t", "exclusive|100.00|t"]);
}

#[test]
fn each_refusal_of_a_switch_changes_nothing() {
    let mut bank = Bank::new();
    let account = bank.account("100");
    let tenant = bank.db.id("select banking.create_tenant('Branch Two')");
    let customer = bank.customer_of(&format!("'{tenant}'"));
    let theirs = bank.db.id(&format!("select banking.open_account('{customer}', tenant => '{tenant}')"));
    let nobody = Uuid::now_v7();
    let db = &mut bank.db;
    refused(db, &set(nobody, "slotted"), "NB002");
    refused(db, &set(theirs, "slotted"), "NB013");
    refused(db, &format!("select banking.set_balance_mode('{account}', 'slotted', '{tenant}')"), "NB013");
    refused(db, &format!("select banking.set_balance_mode('{account}', 'slotted', '{nobody}')"), "NB015");
    for mode in ["Slotted", "SLOTTED", "slotted ", "", "sloted", "exclusive; drop table banking.accounts"] {
        refused(db, &set(account, mode), "NB021");
    }
    refused(db, "select banking.set_balance_mode(null, 'slotted')", "22004");
    refused(db, &format!("select banking.set_balance_mode('{account}', null)"), "22004");
    refused(db, "select banking.set_balance_mode(null, null)", "22004");
    // The tenant alone may be left out.
    db.run(&format!("select banking.set_balance_mode('{theirs}', 'slotted', '{tenant}')"));
    db.run(&format!("select banking.set_balance_mode('{account}', 'slotted', null)"));
    db.run(&format!(
        "select banking.set_balance_mode('{account}', 'exclusive', tenant => '00000000-0000-0000-0000-000000000000')"
    ));
    audit(db);
}

#[test]
fn what_is_reserved_or_too_much_for_a_slot_stays_in_one_balance() {
    let mut bank = Bank::new();
    let reserved = bank.account("100");
    let rich = bank.account("0");
    let at_most = bank.account("0");
    bank.db.run("set neobank.ledger_guard = off");
    bank.db.run(&format!(
        "update banking.accounts set current_balance = 1e22 + 0.01, available_balance = 1e22 + 0.01 \
             where account_id = '{rich}'; \
         update banking.accounts set current_balance = 1e22 + 0.00, available_balance = 1e22 + 0.00 \
             where account_id = '{at_most}'"
    ));
    bank.db.run("reset neobank.ledger_guard");
    bank.db.run(&format!("select txn_processing.place_hold('{reserved}', 0.01)"));
    refused(&mut bank.db, &set(reserved, "slotted"), "NB026");
    refused(&mut bank.db, &set(rich, "slotted"), "NB012");
    bank.mode(at_most, "slotted");
    refused(&mut bank.db, &format!("select txn_processing.deposit('{at_most}', 0.01)"), "NB012");
    bank.db.run(&format!("select txn_processing.withdraw('{at_most}', 1)"));
    bank.db.run(&format!("select txn_processing.deposit('{at_most}', 1)"));
}

#[test]
fn a_switch_that_is_rolled_back_never_was() {
    let mut bank = Bank::new();
    let account = bank.account("100");
    let before = snapshot(&mut bank.db);
    bank.db.run("begin");
    bank.mode(account, "slotted");
    bank.db.run(&format!("select txn_processing.deposit('{account}', 5)"));
    bank.db.run("savepoint here");
    bank.mode(account, "exclusive");
    bank.db.run(&format!("select txn_processing.withdraw('{account}', 105)"));
    bank.db.run("rollback to here");
    assert_eq!(shown(&mut bank, account), "slotted|1|t|t|105.00|105.00");
    bank.db.run("rollback");
    assert_eq!(before, snapshot(&mut bank.db));
    // Several in one transaction are told apart.
    bank.db.run("begin");
    for mode in ["slotted", "exclusive", "slotted", "exclusive"] {
        bank.mode(account, mode);
        bank.db.run(&format!("select txn_processing.deposit('{account}', 1)"));
    }
    bank.db.run("commit");
    assert_eq!(
        changes(&mut bank, account),
        ["slotted|100.00|t", "exclusive|101.00|t", "slotted|102.00|t", "exclusive|103.00|t"]
    );
    audit(&mut bank.db);
}

#[test]
fn only_operators_switch_and_it_says_who_did() {
    let mut bank = Bank::new();
    let account = bank.account("100");
    for level in ["", "reader", "teller"] {
        let role = bank.role(&format!("r{level}"));
        if !level.is_empty() {
            bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        }
        let before = snapshot(&mut bank.db);
        refused_with_code_only(&mut bank.session_as(&role), &set(account, "slotted"), "42501");
        assert_eq!(before, snapshot(&mut bank.db));
    }
    let operator = bank.role("operator");
    bank.db.run(&format!("select neobank.grant_usage('{operator}', 'operator')"));
    bank.session_as(&operator).run(&set(account, "slotted"));
    assert_eq!(bank.db.one("select changed_by from banking.balance_mode_changes"), operator);
}

#[test]
fn slots_and_the_log_of_switches_are_written_by_the_ledger_only() {
    let mut bank = Bank::new();
    let account = bank.slotted("checking", "100", "0");
    for (table, column, code) in
        [("banking.account_slots", "balance", "NB010"), ("banking.balance_mode_changes", "balance", "NB009")]
    {
        for sql in [
            format!("update {table} set {column} = {column} + 1"),
            format!("update {table} set {column} = {column} where false"),
            format!("delete from {table}"),
            format!("delete from {table} where account_id = '{account}'"),
            format!("truncate {table}"),
            format!("truncate {table} cascade"),
            format!("insert into {table} select * from {table}"),
            format!("insert into {table} select * from {table} on conflict do nothing"),
            format!("with gone as (delete from {table} returning *) select count(*) from gone"),
            format!("merge into {table} t using {table} s on t.account_id = s.account_id when matched then delete"),
            format!("copy {table} from program 'true'"),
        ] {
            refused(&mut bank.db, &sql, code);
        }
    }
    refused(&mut bank.db, "update banking.accounts set slots = 2", "NB010");
    bank.db.run("set session_replication_role = replica");
    refused(&mut bank.db, "update banking.account_slots set balance = 1", "NB010");
    refused(&mut bank.db, "delete from banking.balance_mode_changes", "NB009");
    bank.db.run("reset session_replication_role");
    bank.db.fails("update banking.account_balances set current_balance = 1");
    audit(&mut bank.db);
}

#[test]
fn no_switch_can_be_forged_in_a_bank_without_any() {
    // The log was empty, so its owner could load it, and balance_as_of told of money that was not there.
    let mut bank = Bank::new();
    let account = bank.account("10");
    for mode in ["exclusive", "slotted"] {
        let forge = format!(
            "insert into banking.balance_mode_changes (account_id, changed_at, balance_mode, balance, changed_by) \
             values ('{account}', clock_timestamp(), '{mode}', 1000000, 'me')"
        );
        refused(&mut bank.db, &forge, "NB009");
    }
    assert_eq!(bank.db.one(&format!("select txn_processing.balance_as_of('{account}', clock_timestamp())")), "10.00");
}

#[test]
fn a_slotted_account_has_no_version_to_be_optimistic_about() {
    let mut bank = Bank::new();
    let account = bank.slotted("checking", "100", "0");
    let version = format!("select version from banking.accounts where account_id = '{account}'");
    let found = bank.db.one(&version);
    bank.db.run(&format!("select txn_processing.deposit('{account}', 5)"));
    assert_eq!(bank.db.one(&version), found, "the version stands still");
    let update = format!("select success, new_version from banking.update_account_optimistic('{account}', 7, {found})");
    refused(&mut bank.db, &update, "NB026");
    bank.mode(account, "exclusive");
    assert_eq!(bank.db.one(&update), format!("t|{}", 1 + found.parse::<i64>().expect("a number")));
    assert_eq!(bank.db.balance(account), dec("7"));
    audit(&mut bank.db);
}

#[test]
fn answers_and_the_ledger_say_no_balance_of_a_slotted_account_rather_than_a_part_of_it() {
    // The row that a posting changes knows its share alone.
    let mut bank = Bank::new();
    let account = bank.slotted("checking", "100", "0");
    bank.grow(account, 2);
    let plain = bank.account("50");
    let answer = bank
        .db
        .json(&format!("select txn_processing.execute_transfer(null, 'r', '{plain}', '{account}', 10, 'USD', null)"));
    assert_eq!(answer["success"], true, "{answer}");
    let id = answer["transaction_id"].as_str().expect("an id").to_owned();
    let balances = "trim_scale(debit_balance), credit_balance is null";
    assert_eq!(bank.db.one(&format!("select {balances} from txn_processing.transaction('{id}')")), "40|t");
    let ledger = "select account_id, trim_scale(running_balance) from txn_processing.ledger";
    let lines = bank.db.lines(&format!("{ledger} where transaction_id = '{id}' order by entry_type desc"));
    assert_eq!(lines, [format!("{plain}|40"), format!("{account}|")]);
    let statement = format!("select running_balance is null from txn_processing.statement('{account}', max_rows => 1)");
    assert_eq!(bank.db.one(&statement), "t");
    let shares = format!("select sum(balance), count(*) from banking.account_slots where account_id = '{account}'");
    assert_eq!(bank.db.one(&shares), "110.00|2");
    for (key, value) in answer.as_object().expect("an object") {
        assert!(!key.contains("balance") || value.is_null() || value.to_string().starts_with("40"), "{key}: {answer}");
    }
}
