//! Disputes: what may be contested, where the money is meanwhile, and that nobody gives it back a second time.

use neobank_sessions::*;
use std::thread;

fn dispute(transaction: Uuid, rest: &str) -> String {
    format!("select txn_processing.open_dispute('{transaction}', 'not mine'{rest})")
}

fn resolve(dispute: Uuid, rest: &str) -> String {
    format!("select txn_processing.resolve_dispute('{dispute}', {rest})")
}

fn policy(bank: &mut Bank, rest: &str) {
    bank.db.run(&format!("select txn_processing.set_dispute_policy('checking', {rest})"));
}

/// A customer with 100 left, a merchant with 100, and the transfer of 100 between them.
fn bought() -> (Bank, Uuid, Uuid, Uuid) {
    let mut bank = Bank::new();
    let (customer, merchant) = (bank.account("200"), bank.account("0"));
    let payment = bank.db.id(&format!("select txn_processing.transfer('{customer}', '{merchant}', 100)"));
    (bank, customer, merchant, payment)
}

fn held(bank: &mut Bank, of_type: &str) -> Decimal {
    let account = bank.internal(of_type, "USD");
    bank.db.balance(account)
}

fn status(bank: &mut Bank, transaction: Uuid) -> String {
    let of_function = bank.db.one(&format!("select status from txn_processing.transaction('{transaction}')"));
    for view in ["txn_processing.ledger", "banking.transactions"] {
        let of_view = format!("select distinct status from {view} where transaction_id = '{transaction}'");
        assert_eq!(bank.db.one(&of_view), of_function);
    }
    of_function
}

/// What must hold of disputes at any moment, from the tables alone.
fn audit_disputes(bank: &mut Bank) {
    let rules = [
        (
            "the account between holds the provisional credits of open disputes",
            "select a.currency_code from banking.account_balances a where a.account_type = 'disputes' \
             and a.current_balance <> coalesce((select sum(d.amount) from txn_processing.disputes d \
             where d.tenant_no = a.tenant_no and d.currency_code = a.currency_code and d.provisional \
             and d.state = 'open'), 0)",
        ),
        (
            "a customer has got what the disputes say",
            "select d.dispute_id from txn_processing.disputes d where coalesce((select sum(case d.account_id \
             when m.credit_account then m.amount when m.debit_account then -m.amount else 0 end) \
             from txn_processing.dispute_postings p join txn_processing.movements m using (transaction_id, leg) \
             where p.dispute_id = d.dispute_id), 0) \
             <> case when d.state = 'open' then case when d.provisional then d.amount else 0 end \
                else d.final_amount end",
        ),
        (
            "no transaction is given back beyond its amount",
            "select m.transaction_id from txn_processing.movements m where m.leg = 1 and m.amount < \
             coalesce((select sum(coalesce(d.final_amount, d.amount)) from txn_processing.disputes d \
                       where d.transaction_id = m.transaction_id), 0) \
             + coalesce((select sum(r.amount) from txn_processing.movements r \
                         where r.reverses = m.transaction_id and not exists (select from \
                         txn_processing.movements u where u.reverses = r.transaction_id)), 0)",
        ),
    ];
    for (rule, query) in rules {
        assert_eq!(bank.db.lines(query), [""; 0], "{rule}");
    }
    audit(&mut bank.db);
}

#[test]
fn every_outcome_moves_what_it_says() {
    // (provisional, charge back, outcome) -> customer, merchant, losses, purposes of the resolution.
    let cases = [
        (true, false, "'won'", "200", "100", "100", "write_off"),
        (true, true, "'won'", "200", "0", "0", "charge_back"),
        (true, false, "'lost'", "100", "100", "0", "clawback"),
        (true, true, "'withdrawn'", "100", "100", "0", "clawback"),
        (true, false, "'partial', 30", "130", "100", "30", "clawback,write_off"),
        (true, true, "'partial', 30", "130", "70", "0", "clawback,charge_back"),
        (false, false, "'won'", "200", "100", "100", "final_credit,write_off"),
        (false, true, "'won'", "200", "0", "0", "final_credit,charge_back"),
        (false, false, "'lost'", "100", "100", "0", ""),
        (false, false, "'withdrawn'", "100", "100", "0", ""),
        (false, true, "'partial', 30.00", "130", "70", "0", "final_credit,charge_back"),
    ];
    for (provisional, charge_back, outcome, of_customer, of_merchant, losses, purposes) in cases {
        let name = format!("provisional {provisional}, charge back {charge_back}, {outcome}");
        let (mut bank, customer, merchant, payment) = bought();
        policy(&mut bank, &format!("{provisional}, 30, charge_back => {charge_back}"));
        let id = bank.db.id(&dispute(payment, ""));
        let credited = if provisional { "200" } else { "100" };
        assert_eq!(bank.db.balance(customer), dec(credited), "{name}");
        assert_eq!(held(&mut bank, "disputes"), dec(if provisional { "100" } else { "0" }), "{name}");
        assert_eq!(status(&mut bank, payment), "disputed", "{name}");
        audit_disputes(&mut bank);
        let answer = bank.db.one(&resolve(id, outcome));
        assert_eq!(answer.is_empty(), purposes.is_empty(), "{name}");
        assert_eq!(bank.db.balance(customer), dec(of_customer), "{name}");
        assert_eq!(bank.db.balance(merchant), dec(of_merchant), "{name}");
        assert_eq!(held(&mut bank, "dispute_losses"), dec(losses), "{name}");
        assert_eq!(held(&mut bank, "disputes"), dec("0"), "{name}");
        assert_eq!(status(&mut bank, payment), "completed", "{name}");
        let linked = format!(
            "select coalesce(string_agg(purpose, ',' order by leg), '') from txn_processing.dispute_postings \
             where dispute_id = '{id}' and purpose <> 'provisional_credit'"
        );
        assert_eq!(bank.db.one(&linked), purposes, "{name}");
        audit_disputes(&mut bank);
        // A retry answers the same; another outcome is refused.
        let before = snapshot(&mut bank.db);
        assert_eq!(bank.db.one(&resolve(id, outcome)), answer, "{name}");
        assert_eq!(before, snapshot(&mut bank.db), "{name}");
        let other = if outcome == "'lost'" { "'withdrawn'" } else { "'lost'" };
        refused(&mut bank.db, &resolve(id, other), "NB047");
    }
}

/// A dispute that was withdrawn with charge_back => true was not charged back, since nothing was kept. That was taken for
/// another content: the same call again, of a client that had lost the answer, was refused with NB047.
#[test]
fn a_retry_of_what_is_not_charged_back_answers_the_same() {
    let (mut bank, _, _, payment) = bought();
    for outcome in ["'withdrawn', charge_back => true", "'lost', charge_back => true"] {
        let id = bank.db.id(&dispute(payment, ""));
        let answer = bank.db.one(&resolve(id, outcome));
        assert_eq!(bank.db.one(&resolve(id, outcome)), answer, "{outcome}");
        refused(&mut bank.db, &resolve(id, "'won', charge_back => true"), "NB047");
    }
}

/// Two sessions send the same outcome. The second waits for the first, and then answered null: it had read the dispute
/// anew, but not the posting that ended it.
#[test]
fn a_retry_that_waits_for_the_first_call_answers_the_same() {
    let (mut bank, _, _, payment) = bought();
    let id = bank.db.id(&dispute(payment, ""));
    let (mut first, mut second) = (bank.session(), bank.session());
    let waits = Bank::backend_of(&mut second);
    first.run("begin");
    let answer = first.id(&resolve(id, "'lost'"));
    let work = thread::spawn(move || second.id(&resolve(id, "'lost'")));
    bank.wait_until_blocked(waits);
    first.run("commit");
    assert_eq!(work.join().expect("it is answered"), answer);
    audit_disputes(&mut bank);
}

#[test]
fn a_dispute_is_on_record() {
    let (mut bank, customer, merchant, payment) = bought();
    let id = Uuid::now_v7();
    let open = dispute(payment, &format!(", 40, '{id}'"));
    assert_eq!(bank.db.id(&open), id);
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.id(&dispute(payment, &format!(", 40.00, '{id}'"))), id, "a retry");
    assert_eq!(before, snapshot(&mut bank.db));
    let kept = format!(
        "select account_id, counterparty, currency_code, amount, provisional, state, final_amount, reason, \
         opened_by = session_user, resolved_at from txn_processing.disputes where dispute_id = '{id}'"
    );
    assert_eq!(bank.db.one(&kept), format!("{customer}|{merchant}|USD|40.00|t|open||not mine|t|"));
    bank.db.run(&resolve(id, "'partial', 15, 'half of it was delivered'"));
    let ended = format!(
        "select state, final_amount, note, resolved_by = session_user, resolved_at >= opened_at \
         from txn_processing.disputes where dispute_id = '{id}'"
    );
    assert_eq!(bank.db.one(&ended), "partial|15.00|half of it was delivered|t|t");
    assert_eq!(bank.db.id(&open), id, "a retry after its end");
    for sql in [
        dispute(payment, &format!(", 41, '{id}'")),
        dispute(payment, &format!(", null, '{id}'")),
        format!("select txn_processing.open_dispute('{payment}', 'other', 40, '{id}')"),
    ] {
        refused(&mut bank.db, &sql, "NB007");
    }
    let told = "select description, metadata ->> 'dispute' from txn_processing.movements \
                where transaction_type = 'adjustment' order by transaction_id, leg";
    assert_eq!(
        bank.db.lines(told),
        [
            format!("Provisional credit of a disputed transaction|{id}"),
            format!("Provisional credit taken back|{id}"),
            format!("Borne by the bank: a dispute was won|{id}"),
        ]
    );
    audit_disputes(&mut bank);
}

#[test]
fn what_cannot_be_disputed_is_refused_and_leaves_nothing() {
    let (mut bank, customer, merchant, payment) = bought();
    let deposit = bank.db.id(&format!("select txn_processing.deposit('{customer}', 5)"));
    let adjusted = bank.db.id(&format!("select txn_processing.adjust('{customer}', -5, 'why')"));
    let reversed = bank.db.id(&format!("select txn_processing.pay('{customer}', 5)"));
    let reversal = bank.db.id(&format!("select txn_processing.reverse('{reversed}', 'why')"));
    let refunded = bank.db.id(&format!("select txn_processing.pay('{customer}', 5)"));
    let refund = bank.db.id(&format!("select txn_processing.refund('{refunded}')"));
    let part = bank.db.id(&format!("select txn_processing.pay('{customer}', 5)"));
    bank.db.run(&format!("select txn_processing.refund('{part}', 2)"));
    let yen = bank.account_with("checking", "JPY", "0", "0");
    bank.db.run("select txn_processing.set_fx_rate('USD', 'JPY', 100)");
    let exchange = bank.db.id(&format!("select txn_processing.transfer_fx('{customer}', '{yen}', 1)"));
    bank.db.run(
        "insert into banking.account_types (account_type, account_class, normal_side, description) \
         values ('piggy_bank', 'liability', 'C', 'For children')",
    );
    let piggy = bank.account_with("piggy_bank", "USD", "10", "0");
    let broken = bank.db.id(&format!("select txn_processing.withdraw('{piggy}', 1)"));
    let cases = [
        (dispute(Uuid::now_v7(), ""), "NB045"),
        (dispute(deposit, ""), "NB045"),
        (dispute(adjusted, ""), "NB045"),
        (dispute(reversed, ""), "NB045"),
        (dispute(reversal, ""), "NB045"),
        (dispute(refunded, ""), "NB045"),
        (dispute(refund, ""), "NB045"),
        (dispute(exchange, ""), "NB045"),
        (dispute(broken, ""), "NB045"),
        (dispute(part, ", 3.01"), "NB045"),
        (dispute(payment, ", 100.01"), "NB045"),
        (dispute(payment, ", 0.001"), "NB005"),
        (dispute(payment, ", 0"), "NB005"),
        (dispute(payment, ", -1"), "NB005"),
        (dispute(payment, ", 'NaN'"), "NB005"),
        (format!("select txn_processing.open_dispute('{payment}', ' ')"), "NB021"),
        (format!("select txn_processing.open_dispute('{payment}', repeat('x', 1001))"), "NB021"),
        (format!("select txn_processing.open_dispute('{payment}', null)"), "22004"),
        ("select txn_processing.open_dispute(null, 'why')".into(), "22004"),
        (resolve(Uuid::now_v7(), "'won'"), "NB047"),
        ("select txn_processing.resolve_dispute(null, 'won')".into(), "22004"),
        ("select txn_processing.set_dispute_policy('cash', true, 30)".into(), "NB017"),
        ("select txn_processing.set_dispute_policy('nothing', true, 30)".into(), "NB017"),
        ("select txn_processing.set_dispute_policy('checking', true, 0)".into(), "NB021"),
        ("select txn_processing.set_dispute_policy('checking', true, 3651)".into(), "NB021"),
        ("select txn_processing.set_dispute_policy('checking', true, 30, -1)".into(), "NB021"),
        ("select txn_processing.set_dispute_policy('checking', true, 30, 5, 4)".into(), "NB021"),
        ("select txn_processing.set_dispute_policy('checking', true, 30, 'NaN')".into(), "NB005"),
        ("select txn_processing.set_dispute_policy(null, true, 30)".into(), "22004"),
        ("select txn_processing.set_dispute_policy('checking', null, 30)".into(), "22004"),
        ("select txn_processing.set_dispute_policy('checking', true, null)".into(), "22004"),
        ("select txn_processing.set_dispute_policy('checking', true, 30, null)".into(), "22004"),
        ("select txn_processing.set_dispute_policy('checking', true, 30, charge_back => null)".into(), "22004"),
    ];
    for (sql, code) in &cases {
        refused(&mut bank.db, sql, code);
    }
    // What is left after the refund may be.
    bank.db.run(&dispute(part, ""));
    let of_part = format!("select amount from txn_processing.disputes where transaction_id = '{part}'");
    assert_eq!(bank.db.money(&of_part), dec("3"));
    // The policy's bounds.
    policy(&mut bank, "true, 30, 5, 50");
    refused(&mut bank.db, &dispute(payment, ", 4.99"), "NB045");
    refused(&mut bank.db, &dispute(payment, ", 50.01"), "NB045");
    refused(&mut bank.db, &dispute(payment, ""), "NB045");
    let id = bank.db.id(&dispute(payment, ", 50"));
    let refusal = refused(&mut bank.db, &dispute(payment, ", 50"), "NB046");
    assert!(refusal.hint.contains("resolve_dispute"), "{refusal}");
    for (rest, code) in [
        ("'god'", "NB021"),
        ("null", "22004"),
        ("'partial'", "22004"),
        ("'partial', 50", "NB021"),
        ("'partial', 0", "NB021"),
        ("'partial', 'NaN'", "NB005"),
        ("'partial', 0.001", "NB005"),
        ("'won', 10", "NB021"),
        ("'won', note => repeat('x', 1001)", "NB021"),
    ] {
        refused(&mut bank.db, &resolve(id, rest), code);
    }
    bank.status(customer, "frozen");
    refused(&mut bank.db, &resolve(id, "'lost'"), "NB003");
    bank.status(customer, "active");
    bank.status(merchant, "frozen");
    refused(&mut bank.db, &resolve(id, "'won', charge_back => true"), "NB003");
    bank.db.run(&resolve(id, "'won'"));
    bank.status(merchant, "active");
    bank.status(customer, "frozen");
    refused(&mut bank.db, &dispute(payment, ", 20"), "NB003");
    audit_disputes(&mut bank);
}

#[test]
fn a_transaction_that_is_too_old_is_not_disputed() {
    let (mut bank, customer, ..) = bought();
    bank.db.run(&format!(
        "set neobank.ledger_guard = off; \
         update txn_processing.movements set created_at = created_at - interval '121 days' \
         where debit_account = '{customer}'; reset neobank.ledger_guard"
    ));
    let payment = format!("select transaction_id from txn_processing.movements where debit_account = '{customer}'");
    let payment = bank.db.id(&payment);
    let refusal = refused(&mut bank.db, &dispute(payment, ""), "NB045");
    assert!(refusal.detail.contains("120 days"), "{refusal}");
    policy(&mut bank, "true, 122");
    bank.db.run(&dispute(payment, ""));
}

#[test]
fn while_it_is_open_nobody_gives_the_money_back() {
    let (mut bank, customer, merchant, payment) = bought();
    let id = bank.db.id(&dispute(payment, ", 60"));
    let credit = format!("select transaction_id from txn_processing.dispute_postings where dispute_id = '{id}'");
    let credit = bank.db.id(&credit);
    for sql in [
        format!("select txn_processing.reverse('{payment}', 'why')"),
        format!("select txn_processing.refund('{payment}')"),
        format!("select txn_processing.refund('{payment}', 1)"),
    ] {
        refused(&mut bank.db, &sql, "NB046");
    }
    let sql = format!("select txn_processing.reverse_transaction('{payment}', 'why', 'Bob')");
    answers_refusal(&mut bank.db, &sql, "disputed", "NB046");
    // Nor is what the dispute itself posted taken back past it.
    refused(&mut bank.db, &format!("select txn_processing.reverse('{credit}', 'why')"), "NB008");
    bank.db.run(&resolve(id, "'won'"));
    refused(&mut bank.db, &format!("select txn_processing.reverse('{credit}', 'why')"), "NB008");
    refused(&mut bank.db, &format!("select txn_processing.reverse('{payment}', 'why')"), "NB008");
    refused(&mut bank.db, &format!("select txn_processing.refund('{payment}', 40.01)"), "NB008");
    refused(&mut bank.db, &dispute(payment, ", 40.01"), "NB045");
    bank.db.run(&format!("select txn_processing.refund('{payment}')"));
    assert_eq!((bank.db.balance(customer), bank.db.balance(merchant)), (dec("200"), dec("60")));
    refused(&mut bank.db, &format!("select txn_processing.refund('{payment}')"), "NB008");
    refused(&mut bank.db, &dispute(payment, ""), "NB045");
    // One that was lost leaves everything as it was before it.
    let other = bank.db.id(&format!("select txn_processing.pay('{customer}', 10)"));
    let lost = bank.db.id(&dispute(other, ""));
    bank.db.run(&resolve(lost, "'lost'"));
    let again = bank.db.id(&dispute(other, ""));
    bank.db.run(&resolve(again, "'withdrawn'"));
    bank.db.run(&format!("select txn_processing.reverse('{other}', 'why')"));
    assert_eq!(status(&mut bank, other), "reversed");
    audit_disputes(&mut bank);
}

#[test]
fn a_clawback_may_overdraw_and_a_loan_is_credited_too() {
    let (mut bank, customer, merchant, payment) = bought();
    let id = bank.db.id(&dispute(payment, ""));
    bank.db.run(&format!("select txn_processing.withdraw('{customer}', 200)"));
    bank.db.run(&resolve(id, "'lost'"));
    assert_eq!(bank.db.balance(customer), dec("-100"));
    let card = bank.account_with("credit_card", "USD", "0", "500");
    let bill = bank.db.id(&format!("select txn_processing.transfer('{card}', '{merchant}', 80)"));
    let id = bank.db.id(&dispute(bill, ""));
    assert_eq!(bank.db.balance(card), dec("0"));
    bank.db.run(&format!("select txn_processing.withdraw('{merchant}', 180)"));
    bank.db.run(&resolve(id, "'won', charge_back => true"));
    assert_eq!((bank.db.balance(card), bank.db.balance(merchant)), (dec("0"), dec("-80")));
    // The bank's own account cannot be charged.
    let bill = bank.db.id(&format!("select txn_processing.pay('{card}', 5)"));
    let id = bank.db.id(&dispute(bill, ""));
    refused(&mut bank.db, &resolve(id, "'won', charge_back => true"), "NB021");
    bank.db.run(&resolve(id, "'won'"));
    audit_disputes(&mut bank);
}

/// All that would give the money of a payment back.
fn ways(payment: Uuid) -> [String; 4] {
    [
        dispute(payment, ""),
        dispute(payment, ", 60"),
        format!("select txn_processing.reverse('{payment}', 'why')"),
        format!("select txn_processing.refund('{payment}')"),
    ]
}

/// A customer and a merchant, both over three slots or not, and a policy of that kind.
fn opposite_sides(slotted: bool, provisional: bool) -> (Bank, Uuid, Uuid) {
    let mut bank = Bank::new();
    let [customer, merchant] = ["9000", "9000"].map(|opening| bank.account(opening));
    if slotted {
        for account in [customer, merchant] {
            bank.mode(account, "slotted");
            bank.grow(account, 3);
        }
    }
    policy(&mut bank, &format!("{provisional}, 30"));
    (bank, customer, merchant)
}

#[test]
fn a_dispute_and_what_gives_back_meet() {
    // Whether the accounts are slotted, and whether the dispute posts anything.
    let _crowd = crowd();
    for (slotted, provisional) in [(false, true), (false, false), (true, true), (true, false)] {
        let (mut bank, customer, merchant) = opposite_sides(slotted, provisional);
        let pairs = (0..4).flat_map(|first| (0..4).map(move |second| (first, second)));
        for (first, second) in pairs.filter(|pair| pair.0 < 2 || pair.1 < 2) {
            for commits in [true, false] {
                let name = format!("{first} then {second}, slotted {slotted}, provisional {provisional}, {commits}");
                let sql = format!("select txn_processing.transfer('{customer}', '{merchant}', 100)");
                let payment = bank.db.id(&sql);
                let mut holder = bank.session();
                holder.run("begin");
                holder.run(&ways(payment)[first]);
                let mut waiter = bank.session();
                if second == 3 || first == 1 {
                    waiter.run("set neobank.posting_path = 'spi'");
                }
                let backend = Bank::backend_of(&mut waiter);
                let sql = ways(payment)[second].clone();
                let waiting = thread::spawn(move || waiter.try_lines(&sql));
                bank.wait_until_blocked(backend);
                holder.run(if commits { "commit" } else { "rollback" });
                match waiting.join().expect("it is answered") {
                    Ok(_) => assert!(!commits, "{name}"),
                    Err(refusal) => {
                        let code = if first < 2 { "NB046" } else { "NB045" };
                        assert!(commits && refusal.code == code, "{name}: {refusal}");
                    }
                }
            }
        }
        audit_disputes(&mut bank);
    }
}

#[test]
fn under_an_old_snapshot_the_second_is_told_to_start_anew() {
    let _crowd = crowd();
    for (slotted, provisional) in [(false, true), (false, false), (true, true), (true, false)] {
        let (mut bank, customer, merchant) = opposite_sides(slotted, provisional);
        for level in ["repeatable read", "serializable"] {
            for (first, second) in [(0, 2), (0, 3), (2, 0), (3, 0), (0, 1)] {
                let name = format!("{first} then {second}, {level}, slotted {slotted}, provisional {provisional}");
                let sql = format!("select txn_processing.transfer('{customer}', '{merchant}', 100)");
                let payment = bank.db.id(&sql);
                let mut late = bank.session();
                late.run(&format!("begin isolation level {level}; select count(*) from banking.accounts"));
                bank.db.run(&ways(payment)[first]);
                let refusal = late.fails(&ways(payment)[second]);
                assert_eq!(refusal.code, "40001", "{name}: {refusal}");
                late.run("rollback");
            }
        }
        audit_disputes(&mut bank);
    }
}

#[test]
fn two_resolve_one_dispute_once() {
    for commits in [true, false] {
        let (mut bank, customer, _, payment) = bought();
        let id = bank.db.id(&dispute(payment, ""));
        let mut holder = bank.session();
        holder.run("begin");
        holder.run(&resolve(id, "'won'"));
        let mut waiter = bank.session();
        let backend = Bank::backend_of(&mut waiter);
        let waiting = thread::spawn(move || waiter.try_lines(&resolve(id, "'lost'")));
        bank.wait_until_blocked(backend);
        holder.run(if commits { "commit" } else { "rollback" });
        match waiting.join().expect("it is answered") {
            Ok(_) => assert!(!commits),
            Err(refusal) => assert!(commits && refusal.code == "NB047", "{refusal}"),
        }
        assert_eq!(bank.db.balance(customer), dec(if commits { "200" } else { "100" }));
        audit_disputes(&mut bank);
    }
}

#[test]
fn what_is_rolled_back_was_never_disputed() {
    let (mut bank, _, _, payment) = bought();
    let before = snapshot(&mut bank.db);
    bank.db.run("begin");
    policy(&mut bank, "true, 30");
    let id = bank.db.id(&dispute(payment, ""));
    bank.db.run(&resolve(id, "'won'"));
    bank.db.run("rollback");
    assert_eq!(before, snapshot(&mut bank.db));
}

#[test]
fn tellers_open_and_operators_resolve() {
    let (mut bank, _, _, payment) = bought();
    let [mut reader, mut teller, mut operator] = ["reader", "teller", "operator"].map(|level| {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        bank.session_as(&role)
    });
    let open = dispute(payment, "");
    refused_with_code_only(&mut reader, &open, "42501");
    let id = teller.id(&open);
    for session in [&mut reader, &mut teller] {
        refused_with_code_only(session, &resolve(id, "'won'"), "42501");
        refused_with_code_only(session, "select txn_processing.set_dispute_policy('checking', true, 30)", "42501");
    }
    assert_eq!(reader.one(&format!("select status from txn_processing.transaction('{payment}')")), "disputed");
    reader.run("select * from txn_processing.disputes, txn_processing.dispute_postings");
    reader.run("select * from txn_processing.dispute_policies");
    operator.run(&resolve(id, "'won'"));
    operator.run("select txn_processing.set_dispute_policy('checking', true, 30)");
    for table in ["disputes", "dispute_postings", "dispute_policies"] {
        refused_with_code_only(&mut operator, &format!("delete from txn_processing.{table}"), "42501");
    }
    let by = "select opened_by like '%teller', resolved_by like '%operator' from txn_processing.disputes";
    assert_eq!(bank.db.one(by), "t|t");
    audit_disputes(&mut bank);
}

#[test]
fn the_ledger_of_one_account_is_still_read_by_its_indexes() {
    let (mut bank, customer, ..) = bought();
    bank.db.run("set enable_seqscan = off");
    let plan = bank
        .db
        .lines(&format!("explain (costs off) select * from txn_processing.ledger where account_id = '{customer}'"))
        .join("\n");
    for index in ["movements_debit_key", "movements_credit_key"] {
        assert!(plan.contains(&format!("using {index}")) || plan.contains(&format!("on {index}")), "{index}: {plan}");
    }
    assert!(plan.contains("disputes_open_key"), "{plan}");
}

#[test]
fn many_disputes_at_once_give_nothing_back_twice() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let accounts: Vec<Uuid> = (0..4).map(|_| bank.account("10000")).collect();
    bank.mode(accounts[3], "slotted");
    policy(&mut bank, "true, 30, charge_back => true");
    let payments: Vec<Uuid> = (0..24)
        .map(|n| {
            let (from, to) = (accounts[n % 4], accounts[(n + 1 + n / 4 % 3) % 4]);
            bank.db.id(&format!("select txn_processing.transfer('{from}', '{to}', {})", 10 + n))
        })
        .collect();
    let outcomes = together(&bank, 6, move |n, session| {
        if n % 2 == 1 {
            session.run("set neobank.posting_path = 'spi'");
        }
        let mut dice = Dice(n as u64 + 5);
        let mut done = 0;
        for _ in 0..50 {
            let payment = payments[dice.below(payments.len())];
            let part = 1 + dice.below(8);
            let pick = format!(
                "(select dispute_id from txn_processing.disputes where transaction_id = '{payment}' \
                 and state = 'open')"
            );
            let sql = match dice.below(8) {
                0..3 => dispute(payment, &format!(", {part}")),
                3 => format!("select txn_processing.refund('{payment}', {part})"),
                4 => format!("select txn_processing.reverse('{payment}', 'why')"),
                5 => format!("select txn_processing.resolve_dispute({pick}, 'won')"),
                6 => format!("select txn_processing.resolve_dispute({pick}, 'partial', 0.5)"),
                _ => format!("select txn_processing.resolve_dispute({pick}, 'lost')"),
            };
            match session.try_lines(&sql) {
                Ok(_) => done += 1,
                Err(refusal) => assert!(
                    ["NB008", "NB045", "NB046", "NB047", "22004"].contains(&refusal.code.as_str()),
                    "{refusal}\nfrom: {sql}"
                ),
            }
        }
        done
    });
    assert!(outcomes.iter().sum::<i32>() > 60, "{outcomes:?}");
    audit_disputes(&mut bank);
}
