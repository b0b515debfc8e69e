//! The auditor that every run relies on must itself find what is wrong; and so must the model.

mod events;
mod histories;
mod readers;
mod sagas;
mod tables;

use neobank_model::alone::{Alone, Watch};
use neobank_model::answer::Answer;
use neobank_model::auditor::{RULES, audit_all, broken_here};
use neobank_model::compare::{compare_accounts, compare_ledger, compare_settlement};
use neobank_model::crowd::{Asked, Attempt};
use neobank_model::op::{Kind, Op, Posting};
use neobank_model::replay::replay;
use neobank_model::state::{Circumstances, Refusals, State};
use neobank_model::world::World;
use neobank_sessions::*;

/// One session, whose answers nobody else's work explains.
const HOW: Circumstances = Circumstances {
    alone: true,
    read_committed: true,
    refusals: Refusals::All,
    since: u64::MAX,
    begun_at: 0,
    answered_at: 0,
    stays: true,
};

/// A bank in which a little of everything was done.
fn busy_bank() -> (Bank, World) {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let [a, b, savings, slotted, business, .., euro, _] = &world.places[..] else { unreachable!("eight accounts") };
    let (a, b, savings, slotted, business, euro) = (a.id, b.id, savings.id, slotted.id, business.id, euro.id);
    let ledger = "select txn_processing.";
    for statement in [
        format!("transfer('{a}', '{b}', 60, transaction_id => '{}')", id(1)),
        format!("refund('{}', 10, transaction_id => '{}')", id(1), id(2)),
        format!("pay('{a}', 30, transaction_id => '{}')", id(3)),
        format!("reverse('{}', 'by mistake', reversal_transaction_id => '{}')", id(3), id(4)),
        format!("place_hold('{savings}', 70, hold_id => '{}')", id(5)),
        format!("withdraw('{a}', 20, transaction_id => '{}')", id(6)),
        format!("open_dispute('{}', 'never arrived', 15, '{}')", id(6), id(7)),
        format!("transfer('{b}', '{savings}', 12, transaction_id => '{}')", id(8)),
        format!("open_dispute('{}', 'never arrived', 12, '{}')", id(8), id(9)),
        format!("resolve_dispute('{}', 'partial', 5)", id(9)),
        format!("transfer_fx('{euro}', '{a}', 10.01, transaction_id => '{}')", id(10)),
        format!("pay_bank('{business}', 40, 'DE1', 'IBAN 7', transaction_id => '{}')", id(11)),
        format!("enqueue('transfer', '{a}', '{slotted}', 9, idempotency_key => 'one')"),
        format!("enqueue('withdrawal', '{a}', amount => 9000, idempotency_key => 'two')"),
        "process_queue()".to_owned(),
        "settle((now() at time zone 'UTC')::date, 'USD')".to_owned(),
    ] {
        bank.db.run(&format!("{ledger}{statement}"));
    }
    bank.db.run(&format!("select banking.set_account_limit('{b}', 'transaction', 100, null, 'r')"));
    for (aggregate, from, many) in [(0, 20, 3), (1, 30, 1), (0, 40, 1)] {
        bank.db.run(&events::append(&world, aggregate, from, many).sql());
    }
    readers::fill(&mut bank, &world);
    histories::fill(&mut bank, &world);
    tables::fill(&mut bank);
    sagas::fill(&mut bank, &world);
    (bank, world)
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(0xFEED << 64 | n)
}

/// What each damage is, and the rule that is to find it.
fn damages(world: &World) -> Vec<(String, &'static str)> {
    let [a, b, savings, slotted, .., euro, _] = &world.places[..] else { unreachable!("eight accounts") };
    let (a, b, savings, slotted, euro) = (a.id, b.id, savings.id, slotted.id, euro.id);
    let movements = "update txn_processing.movements set";
    let queue = "update txn_processing.transaction_queue set";
    let of = |n: u128| format!("where transaction_id = '{}'", id(n));
    vec![
        (format!("{movements} debit_account = '{euro}', debit_sequence = 99 {}", of(1)), "debits equal credits"),
        (format!("update banking.accounts set available_balance = 1 where account_id = '{a}'"), "in each currency"),
        (
            format!("update txn_processing.holds set account_id = '{slotted}' where hold_id = '{}'", id(5)),
            "nothing is held",
        ),
        (format!("{movements} amount = 60.01 {}", of(2)), "given back once"),
        (format!("{movements} transaction_type = 'reversal', reverses = '{}' {}", id(3), of(1)), "given back once"),
        (format!("{movements} debit_account = '{savings}', debit_sequence = 99 {}", of(2)), "swapped"),
        (format!("{movements} debit_balance = -0.01 {}", of(1)), "below its limit"),
        (
            format!("update banking.account_limits set max_amount = 1, set_at = '2020-01-01' where account_id = '{b}'"),
            "spends no more",
        ),
        (
            format!("update txn_processing.disputes set amount = 14 where dispute_id = '{}'", id(7)),
            "provisional credit of the open",
        ),
        (
            "delete from txn_processing.dispute_postings where purpose = 'clawback'".to_owned(),
            "leaves nothing of itself",
        ),
        (
            format!("update txn_processing.disputes set amount = 21 where dispute_id = '{}'", id(7)),
            "no more than the transaction",
        ),
        ("update txn_processing.fx_transfers set residue = residue + 0.001".to_owned(), "at its rate"),
        ("update txn_processing.fx_transfers set rate = 1.2".to_owned(), "at its rate"),
        ("delete from txn_processing.fx_transfers".to_owned(), "is an exchange"),
        ("delete from txn_processing.fx_residues".to_owned(), "was swept or waits"),
        ("update txn_processing.fx_transfers set quote_amount = quote_amount + 1".to_owned(), "position is the sum"),
        (format!("{queue} transaction_id = null where status = 'completed'"), "has its posting"),
        (format!("{queue} transaction_id = '{}' where status = 'completed'", id(1)), "has its posting"),
        (format!("{queue} transaction_id = '{}', status = 'completed'", id(1)), "one request at the most"),
        (format!("{queue} status = 'queued' where status = 'failed'"), "what became of the request"),
        ("update txn_processing.transaction_queue_attempts set attempt = 2".to_owned(), "what became of the request"),
        ("update txn_processing.clearing_items set amount = amount + 1".to_owned(), "items of clearing"),
        ("update txn_processing.clearing_items set amount = amount + 1".to_owned(), "posts its net"),
        (
            "update txn_processing.settlements set outgoing = incoming + 1, net = 1 where net <> 0".to_owned(),
            "posts its net",
        ),
    ]
}

#[test]
fn the_auditor_finds_every_kind_of_damage() {
    let (mut bank, world) = busy_bank();
    let mut damages = damages(&world);
    damages.extend(events::damages(&world));
    damages.extend(readers::damages(&world));
    damages.extend(histories::damages(&world));
    damages.extend(tables::damages(&world));
    damages.extend(sagas::damages());
    audit_all(&mut bank.db).expect("nothing is broken yet");
    let mut found_by: Vec<&str> = Vec::new();
    let mut missed: Vec<String> = Vec::new();
    for (damage, rule) in &damages {
        bank.db.run("begin; set local neobank.ledger_guard = off");
        bank.db.run(damage);
        let broken = broken_here(&mut bank.db);
        bank.db.run("rollback");
        if !broken.iter().any(|found| found.contains(rule)) {
            missed.push(format!("{damage}: {broken:#?}"));
        }
        found_by.push(rule);
    }
    assert!(missed.is_empty(), "not found by the rule that is to find it: {missed:#?}");
    for (rule, _) in RULES.into_iter().flatten() {
        assert!(
            found_by.iter().any(|found| rule.contains(found)),
            "no damage shows that this rule is looked at: {rule}"
        );
    }
    audit_all(&mut bank.db).expect("all of it was rolled back");
}

/// A posting behind the model's back, a balance, a status: each shows in the comparison.
#[test]
fn the_comparison_finds_what_the_model_does_not_know_of() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let state = State::opened(&world);
    compare_accounts(&mut bank.db, &state).expect("nothing was done yet");
    compare_ledger(&mut bank.db, &state).expect("nothing was done yet");
    compare_settlement(&mut bank.db, &state).expect("nothing is in clearing yet");
    let a = world.places[0].id;
    for (change, accounts_differ, ledger_differs) in [
        (format!("select txn_processing.deposit('{a}', 1)"), true, true),
        (format!("select txn_processing.adjust('{}', 1, 'r')", bank.internal("nostro", "USD")), true, true),
        (format!("select txn_processing.place_hold('{a}', 1)"), true, false),
        (format!("select banking.set_account_status('{a}', 'frozen', 'r')"), true, false),
        (format!("select banking.set_overdraft_limit('{a}', 1, 'r')"), true, false),
        (format!("select banking.set_balance_mode('{a}', 'slotted')"), true, false),
        (
            format!("select banking.open_account(customer_id) from banking.accounts where account_id = '{a}'"),
            true,
            false,
        ),
    ] {
        bank.db.run("begin");
        bank.db.run(&change);
        assert_eq!(compare_accounts(&mut bank.db, &state).is_err(), accounts_differ, "{change}");
        assert_eq!(compare_ledger(&mut bank.db, &state).is_err(), ledger_differs, "{change}");
        bank.db.run("rollback");
    }
}

/// Wrong answers of every sort are not accepted.
#[test]
fn the_model_does_not_believe_everything() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let mut state = State::opened(&world);
    let posting = Posting {
        id: id(1),
        kind: Kind::Withdrawal,
        from: Some(world.places[0].id),
        to: None,
        amount: dec("400"),
        currency: None,
        reference: None,
        effective_at: None,
        bank: None,
    };
    let op = |posting: &Posting, contract| Op::Post { posting: posting.clone(), contract };
    let (done, other) = (Answer::Done(vec![id(1).to_string()]), Answer::Done(vec![id(2).to_string()]));
    let refused = |code: &str| Answer::Refused(code.to_owned());
    let json = |balance: &str| {
        let figures = format!(r#""balance": {balance}, "from_balance": {balance}"#);
        Answer::Done(vec![format!(r#"{{"success": true, "transaction_id": "{}", {figures}}}"#, id(1))])
    };
    for (contract, wrong) in
        [(false, other), (false, refused("NB001")), (true, json("100.01")), (true, refused("NB001"))]
    {
        state.accept(&op(&posting, contract), &wrong, HOW).expect_err("it is not what was to be answered");
        compare_accounts(&mut bank.db, &state).expect("the model is as before");
    }
    state.accept(&op(&posting, true), &json("100.00"), HOW).expect("so it is");
    // The same again answers the same, and another content under the id is refused.
    state.accept(&op(&posting, false), &done, HOW).expect("a retry");
    state.accept(&op(&posting, false), &refused("NB001"), HOW).expect_err("a retry is not refused");
    let more = Posting { amount: dec("401"), ..posting };
    state.accept(&op(&more, false), &done, HOW).expect_err("another amount");
    state.accept(&op(&more, false), &refused("NB007"), HOW).expect("another amount");
    let again = Posting { id: id(3), ..more };
    state.accept(&op(&again, false), &Answer::Done(vec![id(3).to_string()]), HOW).expect_err("there is not enough");
    state.accept(&op(&again, false), &refused("NB001"), HOW).expect("there is not enough");
    state.accept(&op(&again, false), &refused("NB003"), HOW).expect_err("the account is active");
}

/// An attempt of one operation: asked and answered then, and committed at that reading, if it was.
fn attempt(op: &Op, answer: Answer, asked_at: i64, committed: Option<i64>, answered_at: i64) -> Attempt {
    let (op, stays) = (op.clone(), committed.is_some());
    let asked = vec![Asked { op, answer, asked_at, answered_at, upon: Vec::new(), stays }];
    Attempt { session: 0, level: "read committed", begun_at: asked_at, ended_at: answered_at, committed, asked }
}

/// Answers of sessions side by side that no serial order explains, or only one that turns real time round.
#[test]
fn the_replay_does_not_believe_everything() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let account = world.places[0].id;
    let take = |n: u128| Op::Adjust { id: id(n), account, amount: dec("-400") };
    let hold = |n: u128| Op::Hold { id: id(n), account, amount: dec("400"), to: None, group: None, short: false };
    let done = |n: u128| Answer::Done(vec![id(n).to_string()]);
    let refused = || Answer::Refused("NB001".to_owned());
    let come_about = |attempts: &[Attempt]| replay(State::opened(&world), attempts).map(|all| all.reordered);
    // 500 are there: 400 can be held once.
    let first = attempt(&hold(1), done(1), 0, Some(10), 12);
    let twice = attempt(&hold(2), done(2), 5, Some(20), 22);
    come_about(&[first.clone(), twice]).expect_err("they are not there twice");
    let late = attempt(&hold(2), refused(), 9, None, 22);
    assert_eq!(come_about(&[first.clone(), late]), Ok(0));
    let early = attempt(&hold(2), refused(), 1, None, 9);
    come_about(&[first, early]).expect_err("it was refused before anything was held");
    // What nothing bounds may come after what it overlaps with, whichever read the clock first; but not after what
    // was asked later than it was answered.
    let fee = attempt(&take(3), done(3), 0, Some(10), 12);
    let beside = attempt(&hold(4), done(4), 5, Some(20), 22);
    assert_eq!(come_about(&[fee.clone(), beside]), Ok(1));
    let afterwards = attempt(&hold(4), done(4), 13, Some(20), 22);
    come_about(&[fee, afterwards]).expect_err("the money was gone when it was asked");
}

/// A balance that changes behind the back of a run is found by it.
#[test]
fn a_run_finds_money_that_appears() {
    let mut run = Alone::open(11, Watch { every_step: false, path: "auto" });
    run.run(40).expect("nothing is wrong yet");
    run.database().run(
        "begin; set local neobank.ledger_guard = off; \
         update banking.accounts set current_balance = current_balance + 1 where slots = 0 and customer_id is not null; \
         commit",
    );
    run.run(60).expect_err("money has appeared");
}
