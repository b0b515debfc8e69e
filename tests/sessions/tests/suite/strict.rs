//! The strict functions doing what they are for: who is debited, who credited,
//! what both balances say afterwards.

use neobank_sessions::*;

/// One posting as the ledger keeps it, for comparison in one line:
/// type, debit account, credit account, amount, currency, number of legs.
fn posting(bank: &mut Bank, id: Uuid) -> String {
    bank.db.one(&format!(
        "select transaction_type, debit_account, credit_account, trim_scale(amount), \
         currency_code, count(*) over () \
         from txn_processing.movements where transaction_id = '{id}'"
    ))
}

#[test]
fn every_posting_function_debits_and_credits_the_right_accounts() {
    let mut bank = Bank::new();
    let a = bank.account("1000");
    let b = bank.account("0");
    let cash = bank.internal("cash", "USD");
    let clearing = bank.internal("payments_clearing", "USD");
    let fees = bank.internal("fee_income", "USD");
    let interest = bank.internal("interest_expense", "USD");
    let suspense = bank.internal("suspense", "USD");
    let cases = [
        ("transfer", format!("transfer('{a}', '{b}', 100)"), a, b, "100", "900"),
        ("deposit", format!("deposit('{a}', 50.25)"), cash, a, "50.25", "950.25"),
        ("withdrawal", format!("withdraw('{a}', 0.25)"), a, cash, "0.25", "950"),
        ("payment", format!("pay('{a}', 40)"), a, clearing, "40", "910"),
        ("fee", format!("charge_fee('{a}', 5)"), a, fees, "5", "905"),
        ("interest", format!("credit_interest('{a}', 1.11)"), interest, a, "1.11", "906.11"),
        ("adjustment", format!("adjust('{a}', 3, 'found')"), suspense, a, "3", "909.11"),
        ("adjustment", format!("adjust('{a}', -9.11, 'lost')"), a, suspense, "9.11", "900"),
    ];
    for (kind, call, debit, credit, amount, balance) in cases {
        let id = bank.db.id(&format!("select txn_processing.{call}"));
        assert_eq!(posting(&mut bank, id), format!("{kind}|{debit}|{credit}|{amount}|USD|1"), "{call}");
        assert_eq!(bank.db.balance(a), dec(balance), "{call}");
        assert_eq!(id.get_version_num(), 7, "{call}");
    }
    assert_eq!(bank.db.balance(b), dec("100"));
    audit(&mut bank.db);
}

#[test]
fn a_refund_gives_back_part_of_a_payment_and_then_the_rest() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let clearing = bank.internal("payments_clearing", "USD");
    let payment = bank.db.id(&format!("select txn_processing.pay('{a}', 60)"));
    let part = bank.db.id(&format!("select txn_processing.refund('{payment}', 20)"));
    assert_eq!(posting(&mut bank, part), format!("refund|{clearing}|{a}|20|USD|1"));
    let rest = bank.db.id(&format!("select txn_processing.refund('{payment}')"));
    assert_eq!(posting(&mut bank, rest), format!("refund|{clearing}|{a}|40|USD|1"));
    assert_eq!(bank.db.balance(a), dec("100"));
    let origin = "select distinct reverses from txn_processing.movements \
                  where transaction_type = 'refund'";
    assert_eq!(bank.db.id(origin), payment);
    refused(&mut bank.db, &format!("select txn_processing.refund('{payment}', 0.01)"), "NB008");
    audit(&mut bank.db);
}

#[test]
fn each_type_of_posting_can_be_reversed_once() {
    let mut bank = Bank::new();
    let a = bank.account("1000");
    let b = bank.account("0");
    for call in [
        format!("transfer('{a}', '{b}', 10)"),
        format!("deposit('{a}', 10)"),
        format!("withdraw('{a}', 10)"),
        format!("pay('{a}', 10)"),
        format!("charge_fee('{a}', 10)"),
        format!("credit_interest('{a}', 10)"),
        format!("adjust('{a}', -10, 'a slip')"),
    ] {
        let id = bank.db.id(&format!("select txn_processing.{call}"));
        let before = posting(&mut bank, id);
        let reversal = bank.db.id(&format!("select txn_processing.reverse('{id}', 'by mistake')"));
        let (debit, credit) = {
            let mut parts = before.split('|').skip(1);
            (parts.next().expect("a side"), parts.next().expect("a side"))
        };
        assert_eq!(posting(&mut bank, reversal), format!("reversal|{credit}|{debit}|10|USD|1"), "{call}");
        assert_eq!(bank.db.balance(a), dec("1000"), "{call}");
        assert_eq!(posting(&mut bank, id), before, "the original stays: {call}");
        let again = refused(&mut bank.db, &format!("select txn_processing.reverse('{id}', 'again')"), "NB008");
        assert!(again.detail.contains(&id.to_string()), "{again}");
        refused(&mut bank.db, &format!("select txn_processing.reverse('{reversal}', 'back again')"), "NB008");
        refused(&mut bank.db, &format!("select txn_processing.refund('{id}')"), "NB008");
        let status = format!(
            "select distinct status, reversed_by, reversed_at is not null \
             from txn_processing.ledger where transaction_id = '{id}'"
        );
        assert_eq!(bank.db.one(&status), format!("reversed|{reversal}|t"));
    }
    audit(&mut bank.db);
}

#[test]
fn a_refunded_payment_cannot_be_reversed_on_top() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let payment = bank.db.id(&format!("select txn_processing.pay('{a}', 60)"));
    bank.db.run(&format!("select txn_processing.refund('{payment}', 1)"));
    refused(&mut bank.db, &format!("select txn_processing.reverse('{payment}', 'twice the money')"), "NB008");
}

#[test]
fn sequences_and_balances_are_written_on_both_sides() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("50");
    let id = bank.db.id(&format!("select txn_processing.transfer('{a}', '{b}', 30)"));
    let sides = format!(
        "select debit_sequence, credit_sequence, trim_scale(debit_balance), \
         trim_scale(credit_balance) from txn_processing.movements where transaction_id = '{id}'"
    );
    assert_eq!(bank.db.one(&sides), "2|2|70|80");
    let version = format!("select version from banking.accounts where account_id in ('{a}', '{b}')");
    assert_eq!(bank.db.lines(&version), ["3", "3"]);
}

#[test]
fn texts_metadata_and_a_chosen_id_are_kept() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    let id = Uuid::now_v7();
    let call = format!(
        "select txn_processing.transfer(from_account => '{a}', to_account => '{b}', \
         amount => 10, currency => 'USD', description => 'Miete; Übertrag 😀', \
         reference => 'R-1', metadata => '{{\"k\": [1, {{\"x\": null}}]}}', \
         transaction_id => '{id}', effective_at => now() - interval '2 days')"
    );
    assert_eq!(bank.db.id(&call), id);
    let kept = format!(
        "select description, reference_number, metadata, \
         effective_at < now() - interval '1 day', created_by = session_user, leg \
         from txn_processing.transaction('{id}')"
    );
    assert_eq!(bank.db.one(&kept), "Miete; Übertrag 😀|R-1|{\"k\": [1, {\"x\": null}]}|t|t|1");
}

#[test]
fn reference_numbers_are_generated_and_unique() {
    let mut bank = Bank::new();
    let a = bank.account("1000");
    for _ in 0..100 {
        bank.db.run(&format!("select txn_processing.withdraw('{a}', 1)"));
    }
    let distinct = "select count(distinct l.reference_number), \
         bool_and(l.reference_number <> '' and length(l.reference_number) <= 50), \
         bool_and(l.reference_number = b.reference_number) \
         from txn_processing.ledger l join banking.transactions b using (transaction_id)";
    assert_eq!(bank.db.one(distinct), "101|t|t");
}

#[test]
fn a_loan_is_signed_by_its_own_side() {
    // A loan's balance is what the customer owes: paying it out makes it grow,
    // paying it back makes it shrink, and its limit bounds what may be drawn.
    let mut bank = Bank::new();
    let checking = bank.account("0");
    let loan = bank.account_with("loan", "USD", "0", "500");
    bank.db.run(&format!("select txn_processing.transfer('{loan}', '{checking}', 400)"));
    assert_eq!(bank.db.balance(loan), dec("400"));
    assert_eq!(bank.db.balance(checking), dec("400"));
    bank.db.run(&format!("select txn_processing.transfer('{checking}', '{loan}', 150)"));
    assert_eq!(bank.db.balance(loan), dec("250"));
    refused(&mut bank.db, &format!("select txn_processing.transfer('{loan}', '{checking}', 250.01)"), "NB001");
    bank.db.run(&format!("select txn_processing.transfer('{loan}', '{checking}', 250)"));
    assert_eq!(bank.db.balance(loan), dec("500"));
    audit(&mut bank.db);
}

#[test]
fn an_overdraft_limit_is_the_bound_and_fees_may_pass_it() {
    let mut bank = Bank::new();
    let a = bank.account_with("checking", "USD", "100", "50");
    refused(&mut bank.db, &format!("select txn_processing.withdraw('{a}', 150.01)"), "NB001");
    bank.db.run(&format!("select txn_processing.withdraw('{a}', 150)"));
    assert_eq!(bank.db.balance(a), dec("-50"));
    bank.db.run(&format!("select txn_processing.charge_fee('{a}', 5)"));
    bank.db.run(&format!("select txn_processing.adjust('{a}', -5, 'penalty')"));
    assert_eq!(bank.db.balance(a), dec("-60"));
    refused(&mut bank.db, &format!("select txn_processing.pay('{a}', 0.01)"), "NB001");
    bank.db.run(&format!("select banking.set_overdraft_limit('{a}', 100, 'good customer')"));
    bank.db.run(&format!("select txn_processing.pay('{a}', 40)"));
    assert_eq!(bank.db.balance(a), dec("-100"));
    audit(&mut bank.db);
}

#[test]
fn a_reversal_below_the_limit_follows_its_rule() {
    // The seed's reversal overdrew the payee without saying so, and its CHECK
    // made the same reversal fail on another day. Here the rule has a name.
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    let id = bank.db.id(&format!("select txn_processing.transfer('{a}', '{b}', 80)"));
    bank.db.run(&format!("select txn_processing.withdraw('{b}', 80)"));
    refused(
        &mut bank.db,
        &format!("select txn_processing.reverse('{id}', 'wrong payee', allow_overdraft => false)"),
        "NB001",
    );
    bank.db.run("set neobank.reversal_overdraft = off");
    refused(&mut bank.db, &format!("select txn_processing.reverse('{id}', 'wrong payee')"), "NB001");
    bank.db.run("reset neobank.reversal_overdraft");
    bank.db.run(&format!("select txn_processing.reverse('{id}', 'wrong payee')"));
    assert_eq!(bank.db.balance(b), dec("-80"));
    assert_eq!(bank.db.balance(a), dec("100"));
    audit(&mut bank.db);
}

#[test]
fn a_generated_account_number_checks_itself() {
    let mut bank = Bank::new();
    let a = bank.account("0");
    let number = bank.db.one(&format!("select account_number from banking.accounts where account_id = '{a}'"));
    let valid =
        |bank: &mut Bank, number: &str| bank.db.one(&format!("select banking.account_number_is_valid('{number}')"));
    assert_eq!(valid(&mut bank, &number), "t");
    // One digit typed wrong, or two neighbours swapped, must not pass.
    let digits: Vec<char> = number.chars().collect();
    for at in 0..digits.len() {
        if let Some(value) = digits[at].to_digit(10) {
            let mut typo = digits.clone();
            typo[at] = char::from_digit((value + 1) % 10, 10).expect("a digit");
            let typo: String = typo.into_iter().collect();
            assert_eq!(valid(&mut bank, &typo), "f", "{typo} for {number}");
        }
        if at > 0 && digits[at] != digits[at - 1] && digits[at].is_ascii_digit() && digits[at - 1].is_ascii_digit() {
            let mut swap = digits.clone();
            swap.swap(at, at - 1);
            let swap: String = swap.into_iter().collect();
            assert_eq!(valid(&mut bank, &swap), "f", "{swap} for {number}");
        }
    }
}
