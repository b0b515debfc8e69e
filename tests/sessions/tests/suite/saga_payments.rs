//! The saga that ships, a payment to another bank: once through, failing at each step, and drawn.

use neobank_sessions::*;
use uuid::Uuid;

/// A bank where payments are defined, with an account of 100.00.
fn bank() -> (Bank, Uuid) {
    let mut bank = Bank::new();
    bank.db.run("select saga.define('bank_payment', saga.bank_payment_steps())");
    let account = bank.account("100");
    (bank, account)
}

fn start(bank: &mut Bank, account: Uuid, amount: &str) -> Uuid {
    bank.db.id(&format!(
        "select saga.start_bank_payment('{account}', {amount}, 'XYZBDEFF', 'DE89', description => 'Rent')"
    ))
}

/// Runs the saga to its end and answers for the systems outside; what comes at step `failing` is refused for good.
fn drive(bank: &mut Bank, saga: Uuid, failing: &str) -> String {
    loop {
        let status = bank.db.one(&format!("select saga.run('{saga}')"));
        let work = bank.db.lines("select step_id, lease_token, kind, step_name from saga.claim_step('worker')");
        let Some(work) = work.first() else { return status };
        let work: Vec<&str> = work.split('|').collect();
        if work[2] == "action" && work[3] == failing {
            bank.db.run(&format!("select saga.fail_step('{}', {}, 'refused', false)", work[0], work[1]));
        } else {
            bank.db.run(&format!("select saga.complete_step('{}', {})", work[0], work[1]));
        }
    }
}

/// Balance, what is set aside, and what waits for settlement with the other bank.
fn money(bank: &mut Bank, account: Uuid) -> String {
    bank.db.one(&format!(
        "select concat_ws(' ', current_balance, current_balance - available_balance, (select coalesce(sum(case direction \
           when 'outgoing' then amount else -amount end), 0) from txn_processing.clearing_items \
           where counterparty_bank = 'XYZBDEFF')) from banking.account_balances where account_id = '{account}'"
    ))
}

#[test]
fn a_payment_goes_through_once() {
    let (mut bank, account) = bank();
    let saga = start(&mut bank, account, "40");
    assert_eq!(bank.db.one(&format!("select saga.run('{saga}')")), "running");
    assert_eq!(money(&mut bank, account), "100.00 40.00 0", "set aside while the scheme has it");
    assert_eq!(drive(&mut bank, saga, ""), "completed");
    assert_eq!(money(&mut bank, account), "60.00 0.00 40.00");
    let posting = format!(
        "select m.amount, m.description, m.metadata ->> 'counterparty_account' from saga.saga_steps s \
         join txn_processing.movements m on m.transaction_id = s.step_id where s.saga_id = '{saga}'"
    );
    assert_eq!(bank.db.lines(&posting), ["40.00|Rent|DE89"]);
    audit(&mut bank.db);
}

#[test]
fn a_payment_that_fails_at_a_step_leaves_the_ledger_even() {
    let (mut bank, account) = bank();
    for (amount, failing, code, undone) in
        [("100.01", "hold", "NB001", "0"), ("40", "submit", "NB215", "1"), ("40.00", "notify", "NB215", "3")]
    {
        let saga = start(&mut bank, account, amount);
        assert_eq!(drive(&mut bank, saga, failing), "failed", "{failing}");
        let of =
            format!("select step_name, error_code, compensated_steps from saga.failed_sagas where saga_id = '{saga}'");
        assert_eq!(bank.db.lines(&of), [format!("{failing}|{code}|{undone}")]);
        assert_eq!(money(&mut bank, account).split(' ').take(2).collect::<Vec<_>>(), ["100.00", "0.00"], "{failing}");
    }
    // A capture that the ledger refuses: the account was frozen while the scheme had the payment.
    let saga = start(&mut bank, account, "40");
    bank.db.run(&format!("select saga.run('{saga}')"));
    bank.status(account, "frozen");
    assert_eq!(drive(&mut bank, saga, ""), "failed");
    let of = format!("select step_name, error_code, compensated_steps from saga.failed_sagas where saga_id = '{saga}'");
    assert_eq!(bank.db.lines(&of), ["capture|NB003|2"]);
    bank.status(account, "active");
    assert_eq!(money(&mut bank, account), "100.00 0.00 0.00", "and nothing is left to settle");
    audit(&mut bank.db);
}

#[test]
fn the_hold_may_be_gone_when_its_turn_comes() {
    let (mut bank, account) = bank();
    let (paid, undone) = (start(&mut bank, account, "40"), start(&mut bank, account, "50"));
    bank.db.run(&format!("select saga.run('{paid}'), saga.run('{undone}')"));
    bank.db.run("select txn_processing.release_hold(hold_id) from txn_processing.account_holds where state = 'open'");
    assert_eq!(money(&mut bank, account), "100.00 0.00 0");
    // Free funds are enough for the one, and there is nothing to release for the other.
    bank.db.run(&format!("select saga.cancel('{undone}', 'second thoughts')"));
    assert_eq!(drive(&mut bank, paid, ""), "completed");
    assert_eq!(bank.db.one(&format!("select saga.run('{undone}')")), "failed");
    assert_eq!(money(&mut bank, account), "60.00 0.00 40.00");
    audit(&mut bank.db);
}

#[test]
fn who_may_pay_may_start_one_and_its_steps_have_no_more_rights() {
    let (mut bank, account) = bank();
    let (teller, nobody) = (bank.role("teller"), bank.role("nobody"));
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    bank.db.run(&format!("grant usage on schema saga to {nobody}"));
    let call =
        format!("select saga.start_bank_payment('{account}', 40, 'XYZBDEFF', 'DE89', idempotency_key => 'rent')");
    let mut as_teller = bank.session_as(&teller);
    let saga = as_teller.id(&call);
    assert_eq!(as_teller.id(&call), saga, "the same key starts one saga");
    let other = as_teller.try_lines(&call.replace("40", "41")).expect_err("another payment under the key");
    assert_eq!(other.code, "NB204");
    assert_eq!(bank.session_as(&nobody).try_lines(&call).expect_err("no right").code, "42501");
    // Rights that the teller has lost in between are lost to the saga too.
    bank.db.run(&format!("select neobank.revoke_usage('{teller}')"));
    assert_eq!(drive(&mut bank, saga, ""), "failed");
    assert_eq!(bank.db.one(&format!("select error_code from saga.sagas where saga_id = '{saga}'")), "42501");
    assert_eq!(money(&mut bank, account), "100.00 0.00 0");
}

#[test]
fn what_is_not_defined_cannot_be_started() {
    let mut bank = Bank::new();
    refused(&mut bank.db, "select saga.start_bank_payment(gen_random_uuid(), 1, 'XYZBDEFF', 'DE89')", "NB203");
    // What the arguments lack the first step says.
    bank.db.run("select saga.define('bank_payment', saga.bank_payment_steps())");
    let saga = bank.db.id("select saga.start_bank_payment(null, 1, 'XYZBDEFF', 'DE89')");
    assert_eq!(drive(&mut bank, saga, ""), "failed");
    assert_eq!(bank.db.one("select error_code from saga.sagas"), "22004");
}

/// A teller may pay and not reverse: what the payment had posted stayed, and the saga was parked.
#[test]
fn a_tellers_payment_is_undone_after_its_capture() {
    let (mut bank, account) = bank();
    let teller = bank.role("teller");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    let mut session = bank.session_as(&teller);
    let saga = session.id(&format!("select saga.start_bank_payment('{account}', 40, 'XYZBDEFF', 'DE89')"));
    assert_eq!(drive(&mut bank, saga, "notify"), "failed");
    assert_eq!(money(&mut bank, account), "100.00 0.00 0.00");
    let saga = session.id(&format!("select saga.start_bank_payment('{account}', 40, 'XYZBDEFF', 'DE89')"));
    assert_eq!(drive(&mut bank, saga, ""), "completed");
    // The function's rights are the saga's: nobody reverses a payment by calling it.
    let forged = format!(
        "select saga.payment_return('{saga}', gen_random_uuid(), '{{}}', (select jsonb_build_object('capture', \
         s.output_data) from saga.saga_steps s where s.saga_id = '{saga}' and s.step_name = 'capture'))"
    );
    refused(&mut bank.db, &forged, "42501");
    bank.db.run(&format!("grant select on saga.saga_steps to {teller}"));
    refused_with_code_only(&mut session, &forged, "42501");
    assert_eq!(money(&mut bank, account), "60.00 0.00 40.00");
    audit(&mut bank.db);
}

#[test]
fn a_saga_is_drawn() {
    let (mut bank, account) = bank();
    let saga = start(&mut bank, account, "40");
    drive(&mut bank, saga, "submit");
    let text = bank.db.one(&format!("select saga.describe('{saga}')"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], format!("bank_payment {saga}: failed"));
    assert_eq!(lines[1], "  because refused (NB215)");
    assert!(lines[2].contains("[<] hold") && lines[2].contains("compensated, by saga.payment_release"), "{text}");
    assert!(lines[3].contains("[!] submit") && lines[3].contains("refused (NB215)"), "{text}");
    assert_eq!(lines.len(), 6, "{text}");
    let drawn = bank.db.one(&format!("select saga.describe('{saga}', 'mermaid')"));
    assert!(drawn.starts_with("flowchart LR\n"), "{drawn}");
    for part in ["s1 -- undone --> u1", "start --> s1", "s2 -.-> s3", "]:::failed", "classDef failed"] {
        assert!(drawn.contains(part), "no {part}: {drawn}");
    }
    // Names are text of anybody: none of it becomes markup.
    let named =
        bank.db.id(r#"select saga.create_saga('a"b', array['<script>alert(1)</script>"]; click s1', E'two\nlines'])"#);
    let drawn = bank.db.one(&format!("select saga.describe('{named}', 'mermaid')"));
    assert!(!drawn.contains("<script") && drawn.matches("\n    s1[\"1 ").count() == 1, "{drawn}");
    assert!(drawn.contains("#60;script#62;") && drawn.contains("two lines"), "{drawn}");
    for (call, code) in [
        (format!("saga.describe('{saga}', 'png')"), "NB021"),
        ("saga.describe(gen_random_uuid())".into(), "NB200"),
        ("saga.describe(null)".into(), "22004"),
        (format!("saga.describe('{saga}', null)"), "22004"),
    ] {
        refused(&mut bank.db, &format!("select {call}"), code);
    }
}

/// Mermaid took directives, formulas, icons, backslashes before n and the word direction out of quoted names: some made the
/// whole drawing unreadable to it. What is written here was drawn by Mermaid 11 as the names are.
#[test]
fn names_that_mean_something_to_mermaid_are_only_names() {
    let mut bank = Bank::new();
    for (name, drawn) in [
        ("plain name_1, 2 (x) a/b-c.", "plain name_1, 2 (x) a/b-c."),
        ("%%{init: {}}%%", "#37;#37;#123;init#58; #123;#125;#125;#37;#37;"),
        ("$$x^2$$", "#36;#36;x#94;2#36;#36;"),
        ("fa:fa-car", "fa#58;#8203;fa-car"),
        ("a\\nb", "a#92;nb"),
        ("direction TB", "directio#110; TB"),
        ("end;[x]{y}|z", "end#59;#91;x#93;#123;y#125;#124;z"),
        ("\"`<b>&#9829;</b>`\"", "#34;#96;#60;b#62;#38;#35;9829#59;#60;/b#62;#96;#34;"),
        ("a\tb\u{7f}", "a b "),
        ("\u{65e5}\u{672c} \u{1f600} \u{e4}", "\u{65e5}\u{672c} \u{1f600} \u{e4}"),
        ("", ""),
    ] {
        let said = bank.db.query_one("select saga.mermaid_text($1)", &[&name]).expect("a text").get::<_, String>(0);
        assert_eq!(said, drawn, "{name}");
    }
    assert_eq!(bank.db.one("select saga.mermaid_text(null) is null"), "t");
}
