//! The history of accounts: what is recorded by itself, what a correction makes of it, who may, and what is refused.

use neobank_sessions::*;

fn as_of(account: Uuid, valid: &str, known: &str) -> String {
    format!(
        "select account_status || ' ' || trim_scale(overdraft_limit) || ' ' || trim_scale(current_balance) \
         from temporal.get_account_as_of('{account}', {valid}, {known})"
    )
}

fn correct(account: Uuid, from: &str, to: &str, changes: &str) -> String {
    format!("select temporal.correct('{account}', {from}, {to}, '{changes}', 'found out')")
}

/// The clock, for the statements that follow.
fn now(bank: &mut Bank) -> String {
    format!("'{}'", bank.db.one("select clock_timestamp()"))
}

/// What must be true of every history.
pub fn in_order(bank: &mut Bank) {
    let overlaps = "select count(*) from temporal.account_periods a join temporal.account_periods b \
        on a.account_id = b.account_id and a.history_id < b.history_id \
        and tstzrange(a.valid_from, a.valid_to) && tstzrange(b.valid_from, b.valid_to) \
        and tstzrange(a.transaction_from, a.transaction_to) && tstzrange(b.transaction_from, b.transaction_to)";
    assert_eq!(bank.db.count(overlaps), 0);
    let gaps = "select count(*) from (select valid_to, lead(valid_from) over w as next \
        from temporal.account_periods where transaction_to is null \
        window w as (partition by account_id order by valid_from)) p where p.valid_to is distinct from p.next";
    assert_eq!(bank.db.count(gaps), 0);
    let present = "select count(*) from banking.accounts a join temporal.account_periods p using (account_id) \
        where p.valid_to is null and p.transaction_to is null \
        and (a.customer_id, a.account_number, a.account_type, a.account_status, a.overdraft_limit) \
        is distinct from (p.customer_id, p.account_number, p.account_type, p.account_status, p.overdraft_limit)";
    assert_eq!(bank.db.count(present), 0);
}

#[test]
fn changes_are_recorded_by_themselves_and_opening_writes_nothing() {
    let mut bank = Bank::new();
    let account = bank.account("100");
    assert_eq!(bank.db.count("select count(*) from temporal.account_periods"), 0);
    let history = format!("select count(*) from temporal.accounts_history where account_id = '{account}'");
    assert_eq!(bank.db.count(&history), 1, "who never changed has one row");
    assert_eq!(bank.db.one(&as_of(account, "now()", "now()")), "active 0 100");
    let opened = now(&mut bank);
    bank.status(account, "frozen");
    let frozen = now(&mut bank);
    bank.db.run(&format!("select banking.set_overdraft_limit('{account}', 30, 'better customer')"));
    bank.db.run(&format!("select banking.set_account_limit('{account}', 'day', 50, 3, 'careful')"));
    let limited = now(&mut bank);
    assert_eq!(bank.db.count(&history), 5);
    assert_eq!(bank.db.one(&as_of(account, &opened, "'infinity'")), "active 0 100");
    assert_eq!(bank.db.one(&as_of(account, &frozen, "'infinity'")), "frozen 0 100");
    assert_eq!(bank.db.one(&as_of(account, &limited, &frozen)), "frozen 0 100", "nobody knew of the limit");
    assert_eq!(bank.db.one(&as_of(account, "'infinity'", "'infinity'")), "frozen 30 100");
    assert_eq!(
        bank.db.lines(&format!("select * from temporal.diff('{account}', {opened}, {limited})")),
        [
            "account_status|active|frozen",
            "overdraft_limit|0.00|30.00",
            "limits|{}|{\"day\": {\"max_amount\": 50.00, \"max_postings\": 3}}"
        ]
    );
    assert_eq!(
        bank.db.lines(&format!("select account_status, change_reason from temporal.timeline('{account}')")),
        ["active|", "frozen|for the test", "frozen|better customer"]
    );
    // Setting what is set already is no change.
    bank.db.run(&format!("select banking.set_overdraft_limit('{account}', 30, 'again')"));
    assert_eq!(bank.db.count(&history), 5);
    // A change past the functions, which only a superuser can make, is recorded too.
    let heir = bank.customer();
    bank.db.run(&format!(
        "set neobank.ledger_guard = off; update banking.accounts set customer_id = '{heir}', account_number = 'X' \
         where account_id = '{account}'; reset neobank.ledger_guard"
    ));
    let last = format!(
        "select customer_id = '{heir}', account_number, changed_by = session_user, change_reason is null \
         from temporal.get_account_as_of('{account}', 'infinity', 'infinity')"
    );
    assert_eq!(bank.db.one(&last), "t|X|t|t");
    in_order(&mut bank);
}

/// Row triggers on banking.accounts kept postings off direct access; that of the history must not.
#[test]
fn postings_stay_direct_and_write_no_history() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    bank.status(a, "dormant");
    bank.status(a, "active");
    let rows = "select count(*), max(history_id) from temporal.account_periods";
    let before = bank.db.one(rows);
    assert_eq!(bank.db.one("select path from neobank.posting_path"), "direct");
    for path in ["direct", "spi"] {
        let mut session = bank.session_on(path);
        session.run(&format!("select txn_processing.transfer('{a}', '{b}', 1) from generate_series(1, 50)"));
    }
    assert_eq!(bank.db.one(rows), before);
    // A user's trigger on columns that no posting changes is not in the way either; one on others is.
    bank.db.run(
        "create function public.note() returns trigger language plpgsql as 'begin return new; end'; \
         create trigger mine before update of account_status on banking.accounts for each row execute function public.note()",
    );
    assert_eq!(bank.db.one("select path from neobank.posting_path"), "direct");
    bank.db.run(
        "create trigger mine_too after update of account_status, version on banking.accounts \
         for each row execute function public.note()",
    );
    assert_eq!(bank.db.one("select path from neobank.posting_path"), "spi");
    audit(&mut bank.db);
}

#[test]
fn a_correction_changes_the_past_and_not_what_was_believed() {
    let mut bank = Bank::new();
    let account = bank.account("100");
    let t0 = now(&mut bank);
    bank.status(account, "frozen");
    let t1 = now(&mut bank);
    bank.status(account, "active");
    let t2 = now(&mut bank);
    let at = bank.db.one(&correct(account, &t0, &t1, r#"{"account_status": "dormant", "overdraft_limit": 7}"#));
    for (valid, after, before) in [
        (&t0, "dormant 7 100", "active 0 100"),
        (&t1, "frozen 0 100", "frozen 0 100"),
        (&t2, "active 0 100", "active 0 100"),
    ] {
        assert_eq!(bank.db.one(&as_of(account, valid, "'infinity'")), after);
        assert_eq!(bank.db.one(&as_of(account, valid, &t2)), before);
        let just_before = format!("timestamptz '{at}' - interval '1 microsecond'");
        assert_eq!(bank.db.one(&as_of(account, valid, &just_before)), before);
        assert_eq!(bank.db.one(&as_of(account, valid, &format!("'{at}'"))), after);
    }
    assert_eq!(
        bank.db.lines(&format!("select * from temporal.diff('{account}', {t0}, {t0}, {t2}, 'infinity')")),
        ["account_status|active|dormant", "overdraft_limit|0.00|7.00"]
    );
    // A retry finds it done, and writes nothing.
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.one(&correct(account, &t0, &t1, r#"{"account_status": "dormant"}"#)), "");
    assert_eq!(snapshot(&mut bank.db), before);
    // Up to now: the present stays what banking.accounts says.
    bank.db.run(&correct(account, &t1, "null", r#"{"account_number": "N-1", "account_type": "savings"}"#));
    let present = format!(
        "select account_number like '0%', account_type from temporal.get_account_as_of('{account}', 'infinity', 'infinity')"
    );
    assert_eq!(bank.db.one(&present), "t|checking");
    let past = format!(
        "select account_number, account_type, account_status, change_reason, changed_by = session_user \
         from temporal.get_account_as_of('{account}', {t2}, 'infinity')"
    );
    assert_eq!(bank.db.one(&past), "N-1|savings|active|found out|t");
    in_order(&mut bank);
}

#[test]
fn an_account_can_be_made_to_begin_earlier() {
    let mut bank = Bank::new();
    let account = bank.account("0");
    bank.db.run("set timezone = 'UTC'");
    let yesterday = "now() - interval '1 day'";
    bank.db.run(&format!("select txn_processing.deposit('{account}', 5, effective_at => now() - interval '12 hours')"));
    assert_eq!(bank.db.lines(&as_of(account, yesterday, "'infinity'")), [""; 0]);
    bank.db.run(&correct(account, "now() - interval '2 days'", "now()", r#"{"account_status": "dormant"}"#));
    assert_eq!(bank.db.one(&as_of(account, yesterday, "'infinity'")), "dormant 0 0");
    assert_eq!(bank.db.one(&as_of(account, "now() - interval '11 hours'", "'infinity'")), "dormant 0 5");
    refused(
        &mut bank.db,
        &correct(account, "now() - interval '9 days'", "now() - interval '8 days'", r#"{"account_status": "active"}"#),
        "NB300",
    );
    in_order(&mut bank);
}

#[test]
fn bad_corrections_are_refused_and_change_nothing() {
    let mut bank = Bank::new();
    let account = bank.account("0");
    let cash = bank.internal("cash", "USD");
    let tenant = bank.db.id("select banking.create_tenant('another')");
    let stranger = bank.customer_of(&format!("'{tenant}'"));
    let status = r#"{"account_status": "frozen"}"#;
    let hour = "now() - interval '1 hour'";
    for (from, to) in [
        ("now()", "now()"),
        ("now()", hour),
        ("'-infinity'", "now()"),
        (hour, "'infinity'"),
        (hour, "now() + interval '1 hour'"),
        ("now() + interval '1 hour'", "null"),
    ] {
        refused(&mut bank.db, &correct(account, from, to, status), "NB300");
    }
    for (changes, code) in [
        ("{}", "NB301"),
        (r#"{"balance": 1}"#, "NB301"),
        (r#"{"currency_code": "EUR"}"#, "NB301"),
        (r#"{"account_status": "asleep"}"#, "NB301"),
        (r#"{"account_status": null}"#, "NB301"),
        (r#"{"customer_id": 7}"#, "NB301"),
        (r#"{"customer_id": "7"}"#, "NB301"),
        (r#"{"account_type": "loan"}"#, "NB301"),
        (r#"{"account_type": "cash"}"#, "NB017"),
        (r#"{"account_type": "none"}"#, "NB017"),
        (r#"{"account_number": ""}"#, "NB020"),
        (r#"{"account_number": "INTERNAL-1"}"#, "NB020"),
        (r#"{"overdraft_limit": -1}"#, "NB005"),
        (r#"{"overdraft_limit": 1.001}"#, "NB005"),
        (r#"{"overdraft_limit": "1"}"#, "NB301"),
        ("[]", "NB021"),
        ("1", "NB021"),
    ] {
        refused(&mut bank.db, &correct(account, hour, "null", changes), code);
    }
    refused(&mut bank.db, &correct(account, hour, "null", &format!(r#"{{"customer_id": "{stranger}"}}"#)), "NB013");
    refused(&mut bank.db, &correct(account, hour, "null", &format!(r#"{{"customer_id": "{account}"}}"#)), "NB014");
    refused(
        &mut bank.db,
        &correct(account, hour, "null", &format!(r#"{{"account_number": "{}"}}"#, "9".repeat(5000))),
        "NB021",
    );
    refused(&mut bank.db, &correct(cash, hour, "null", status), "NB024");
    refused(&mut bank.db, &correct(Uuid::now_v7(), hour, "null", status), "NB002");
    refused(&mut bank.db, &format!("select temporal.correct('{account}', {hour}, null, '{status}', ' ')"), "NB021");
    let other = format!("select temporal.correct('{account}', {hour}, null, '{status}', 'why', ");
    refused(&mut bank.db, &format!("{other}'{tenant}')"), "NB013");
    refused(&mut bank.db, &format!("{other}'{account}')"), "NB015");
    for call in [
        format!("temporal.correct(null, now(), null, '{status}', 'why')"),
        format!("temporal.correct('{account}', null, null, '{status}', 'why')"),
        format!("temporal.correct('{account}', {hour}, null, null, 'why')"),
        format!("temporal.correct('{account}', {hour}, null, '{status}', null)"),
        "temporal.get_account_as_of(null)".into(),
        format!("temporal.get_account_as_of('{account}', null)"),
        format!("temporal.get_account_as_of('{account}', now(), null)"),
        format!("temporal.balance_as_of('{account}', null)"),
        "temporal.balance_as_of(null)".into(),
        "temporal.balance_before(null, null, null)".into(),
        format!("temporal.diff('{account}', null, now())"),
        "temporal.timeline(null)".into(),
        format!("temporal.timeline('{account}', null)"),
        "temporal.limits_as_of(null, now())".into(),
        format!("temporal.limits_as_of('{account}', null)"),
    ] {
        refused(&mut bank.db, &format!("select * from {call}"), "22004");
    }
    let unknown = Uuid::now_v7();
    assert_eq!(bank.db.lines(&format!("select * from temporal.get_account_as_of('{unknown}')")), [""; 0]);
    assert_eq!(bank.db.lines(&format!("select * from temporal.timeline('{unknown}')")), [""; 0]);
    assert_eq!(bank.db.lines(&format!("select * from temporal.timeline('{account}', '-infinity')")), [""; 0]);
    assert_eq!(bank.db.one(&format!("select temporal.balance_as_of('{unknown}') is null")), "t");
}

/// The database itself refuses what no function would write, whoever asks.
#[test]
fn rows_cannot_overlap_be_empty_or_be_rewritten() {
    let mut bank = Bank::new();
    let account = bank.account("0");
    bank.status(account, "frozen");
    for write in [
        "update temporal.account_periods set account_status = 'active'",
        "delete from temporal.account_periods",
        "truncate temporal.account_periods",
        "insert into temporal.account_periods select * from temporal.account_periods",
    ] {
        refused(&mut bank.db, write, "NB009");
    }
    let row = |span: &str| {
        format!(
            "set neobank.ledger_guard = off; insert into temporal.account_periods \
             (account_id, valid_from, valid_to, transaction_from, transaction_to, account_status, overdraft_limit, \
              account_type, account_number) select account_id, {span}, 'active', 0, 'checking', '1' \
             from banking.accounts where account_id = '{account}'"
        )
    };
    for (span, code) in [
        ("created_at, null, now(), null", "23P01"),
        ("created_at, created_at + interval '1 microsecond', now(), null", "23P01"),
        ("now(), now(), now(), null", "23514"),
        ("now(), now() - interval '1 hour', now(), null", "22000"),
        ("now(), null, now(), now()", "23514"),
        ("now() + interval '1 hour', null, now(), null", "23514"),
        ("'-infinity', null, now(), null", "23514"),
    ] {
        let refusal = bank.db.fails(&row(span));
        // A range's own check may come before the table's.
        assert!(refusal.code == code || (code == "22000" && refusal.code == "23514"), "{span}: {refusal}");
        bank.db.run("reset neobank.ledger_guard");
    }
    in_order(&mut bank);
}

#[test]
fn rights_are_handed_out_by_level() {
    let mut bank = Bank::new();
    let account = bank.account("5");
    let roles = ["reader", "teller", "operator"].map(|level| {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        role
    });
    let write = correct(account, "now() - interval '1 hour'", "null", r#"{"account_status": "frozen"}"#);
    for (n, role) in roles.iter().enumerate() {
        let mut session = bank.session_as(role);
        assert_eq!(session.one(&as_of(account, "now()", "'infinity'")), "active 0 5");
        session.run(&format!("select * from temporal.accounts_history where account_id = '{account}'"));
        session.run(&format!("select * from temporal.timeline('{account}')"));
        session.run(&format!("select * from temporal.diff('{account}', now() - interval '1 day', now())"));
        assert_eq!(session.one("select temporal.safe_horizon() is not null"), "t");
        if n < 2 {
            refused_with_code_only(&mut session, &write, "42501");
        } else {
            session.run(&write);
            let by =
                format!("select changed_by from temporal.timeline('{account}', 'infinity') where valid_to is not null");
            assert!(session.lines(&by).iter().all(|name| name == role));
        }
        refused_with_code_only(
            &mut session,
            &format!("select temporal.record_account_change('{account}', now(), null, 'active', 0, 'checking', '1')"),
            "42501",
        );
    }
    // Who changes an account is recorded under the name that he called by.
    let mut operator = bank.session_as(&roles[2]);
    operator.run(&format!("select banking.set_account_status('{account}', 'dormant', 'asleep')"));
    let last = format!(
        "select changed_by, change_reason from temporal.timeline('{account}', 'infinity') where valid_to is null"
    );
    assert_eq!(operator.one(&last), format!("{}|asleep", roles[2]));
}

/// The seed's function hid overlapping rows behind LIMIT 1, and nothing ever wrote any.
#[test]
fn what_is_rolled_back_was_never_known() {
    let mut bank = Bank::new();
    let account = bank.account("0");
    bank.status(account, "frozen");
    let before = snapshot(&mut bank.db);
    bank.db.run("begin");
    bank.status(account, "active");
    bank.db.run(&correct(account, "now() - interval '1 hour'", "now()", r#"{"overdraft_limit": 4}"#));
    bank.status(account, "dormant");
    bank.db.run("savepoint s");
    bank.status(account, "frozen");
    bank.db.run("rollback to s");
    assert_eq!(bank.db.one(&as_of(account, "'infinity'", "'infinity'")), "dormant 0 0");
    in_order(&mut bank);
    bank.db.run("rollback");
    assert_eq!(snapshot(&mut bank.db), before);
}

/// Each change has a period of its own, also when several are of one transaction, begun long before.
#[test]
fn two_changes_in_one_transaction_and_an_old_transaction_have_ascending_times() {
    let mut bank = Bank::new();
    let account = bank.account("0");
    let mut old = bank.session();
    old.run("begin; select 1");
    bank.status(account, "frozen");
    let known = now(&mut bank);
    old.run(&format!("select banking.set_account_status('{account}', 'dormant', 'old')"));
    old.run(&format!("select banking.set_account_status('{account}', 'active', 'old')"));
    old.run("commit");
    let times = format!(
        "select account_status, valid_from > {known} from temporal.timeline('{account}', 'infinity') order by valid_from"
    );
    assert_eq!(bank.db.lines(&times), ["active|f", "frozen|f", "dormant|t", "active|t"]);
    let distinct =
        "select count(distinct transaction_from) = count(*) from temporal.account_periods where valid_to is null";
    assert_eq!(bank.db.one(distinct), "t");
    // Closing a dormant account with money on it wakes it first: both are recorded.
    let (from, to) = (bank.account("9"), bank.account("0"));
    bank.status(from, "dormant");
    bank.db.run(&format!("select banking.close_account('{from}', '{to}')"));
    let steps = format!("select account_status, change_reason from temporal.timeline('{from}', 'infinity')");
    assert_eq!(
        bank.db.lines(&steps),
        ["active|", "dormant|for the test", "active|account closed", "closed|account closed"]
    );
    in_order(&mut bank);
}

/// The whole bank at a time is each of its accounts at that time.
#[test]
fn all_accounts_read_as_each_of_them() {
    let mut bank = Bank::new();
    let accounts = [bank.account("5"), bank.account("7"), bank.slotted("checking", "9", "0")];
    let before = now(&mut bank);
    bank.status(accounts[0], "frozen");
    bank.db.run(&format!("select txn_processing.deposit('{}', 1, effective_at => {before})", accounts[1]));
    bank.db.run(&correct(accounts[2], &before, "null", r#"{"account_number": "OLD"}"#));
    for (valid, known) in [(before.as_str(), before.as_str()), (before.as_str(), "'infinity'"), ("now()", "'infinity'")]
    {
        let differ = format!(
            "select count(*), count(*) filter (where to_jsonb(s) = to_jsonb(o)) from temporal.accounts_as_of({valid}, {known}) s \
             left join lateral temporal.get_account_as_of(s.account_id, {valid}, {known}) o on true"
        );
        let all = bank.db.count("select count(*) from banking.accounts");
        assert_eq!(bank.db.one(&differ), format!("{all}|{all}"));
    }
}

/// Accounts of a release that had no history: what their log of changes tells is what the history would have had.
#[test]
fn a_history_is_made_of_the_log_of_changes() {
    let mut bank = Bank::new();
    let (account, untouched) = (bank.account("5"), bank.account("7"));
    for status in ["frozen", "dormant", "active"] {
        bank.status(account, status);
        bank.db.run(&format!("select banking.set_overdraft_limit('{account}', {}, 'as well')", status.len()));
    }
    let history = "select account_id, account_status, overdraft_limit, changed_by, change_reason \
                   from temporal.accounts_history where customer_id is not null order by account_id, valid_from, transaction_from";
    let recorded = bank.db.lines(history);
    assert_eq!(recorded.len(), 14);
    refused(&mut bank.db, "select temporal.adopt_status_changes()", "NB009");
    bank.db.run("set neobank.ledger_guard = off; truncate temporal.account_periods; reset neobank.ledger_guard");
    bank.db.run("select temporal.adopt_status_changes()");
    assert_eq!(bank.db.lines(history), recorded);
    in_order(&mut bank);
    bank.status(account, "frozen");
    bank.status(untouched, "frozen");
    assert_eq!(bank.db.lines(history).len(), 18);
    in_order(&mut bank);
}
