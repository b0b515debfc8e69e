//! External statements: taken in whole and once, matched, and what is left explained to the cent.

use neobank_sessions::*;
use std::io::{Read, Write};

/// A bank, a customer's account and the cash account, which the statements mirror: a deposit is a credit on the
/// other bank's statement and makes our cash grow.
pub fn bank() -> (Bank, Uuid, Uuid) {
    let mut bank = Bank::new();
    bank.db.run("set timezone = 'UTC'; set neobank.max_backdate_days = 36500");
    let a = bank.account("0");
    let cash = bank.internal("cash", "USD");
    (bank, a, cash)
}

/// `import_external_statement` of the source 'correspondent' for January 2026.
pub fn import(account: Uuid, name: &str, opening: &str, closing: &str, lines: &str) -> String {
    format!(
        "select txn_processing.import_external_statement('correspondent', '{name}', '{account}', 'USD', {opening}, \
         {closing}, '{lines}', '2026-01-01', '2026-01-31')"
    )
}

/// A line as JSON.
pub fn line(day: u32, amount: &str, reference: &str) -> String {
    format!(r#"{{"booked_on": "2026-01-{day:02}", "amount": {amount}, "reference": "{reference}"}}"#)
}

pub fn posted(bank: &mut Bank, account: Uuid, day: u32, amount: &str, reference: &str) -> Uuid {
    bank.db.id(&format!(
        "select txn_processing.deposit('{account}', {amount}, reference => nullif('{reference}', ''), \
         effective_at => '2026-01-{day:02} 12:00+00')"
    ))
}

pub fn matched(bank: &mut Bank, statement: Uuid) -> String {
    bank.db.one(&format!("select * from txn_processing.match_external_statement('{statement}')"))
}

pub fn breaks(bank: &mut Bank, statement: Uuid) -> Vec<String> {
    bank.db.lines(&format!(
        "select kind, line_no, amount, difference from txn_processing.reconciliation_breaks('{statement}')"
    ))
}

/// The sum of the breaks is what the balances differ by.
pub fn explained(bank: &mut Bank, statement: Uuid) {
    let sums = bank.db.one(&format!(
        "select s.difference = s.ledger_balance - s.statement_balance, s.unexplained, \
                coalesce((select sum(b.difference) from txn_processing.reconciliation_breaks('{statement}') b), 0) = s.difference, \
                s.ledger_balance = txn_processing.balance_as_of(s.account_id, (s.to_date + 1)::timestamptz - interval '1 microsecond') \
         from txn_processing.reconciliation_summary('{statement}') s"
    ));
    assert_eq!(sums, "t|0.00|t|t");
}

#[test]
fn a_statement_is_taken_in_whole_and_once() {
    let (mut bank, _, cash) = bank();
    let lines = format!("[{}, {}]", line(5, "10.5", "A"), line(7, "-2", "B"));
    let sql = import(cash, "2026-01", "100", "108.50", &lines);
    let statement = bank.db.id(&sql);
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.id(&sql), statement);
    assert_eq!(bank.db.id(&import(cash, "2026-01", "100.00", "108.5", &lines.replace("-2", "-2.00"))), statement);
    assert_eq!(before, snapshot(&mut bank.db), "a retry changes nothing");
    let row = "select source, statement_ref, currency_code, from_date, to_date, time_zone, opening_balance, \
               closing_balance, line_count, continuity, opening_gap from txn_processing.external_statements";
    assert_eq!(bank.db.one(row), "correspondent|2026-01|USD|2026-01-01|2026-01-31|UTC|100.00|108.50|2|first|0");
    let rows = "select line_no, booked_on, amount, reference from txn_processing.external_lines order by 1";
    assert_eq!(bank.db.lines(rows), ["1|2026-01-05|10.50|A", "2|2026-01-07|-2.00|B"]);
    let other = bank.account("0");
    for changed in [
        import(other, "2026-01", "100", "108.50", &lines),
        import(cash, "2026-01", "101", "109.50", &lines),
        import(cash, "2026-01", "100", "108.50", &lines.replace("\"B\"", "\"C\"")),
        import(cash, "2026-01", "100", "108.50", &lines.replace("-07", "-08")),
        import(cash, "2026-01", "100", "110.50", &format!("[{}]", line(5, "10.5", "A"))),
        sql.replace("2026-01-31", "2026-01-30"),
        sql.replace("'2026-01-01'", "'2026-01-06'"),
    ] {
        refused(&mut bank.db, &changed, "NB007");
    }
}

#[test]
fn what_is_not_a_good_statement_is_refused() {
    let (mut bank, _, cash) = bank();
    let one = |line: &str| import(cash, "S", "0", "10", &format!("[{line}]"));
    let good = line(5, "10", "A");
    let refusal = refused(&mut bank.db, &import(cash, "S", "1", "10", &format!("[{good}]")), "NB048");
    assert_eq!(
        refusal.detail,
        "The opening balance 1.00 and the lines 10.00 come to 11.00, the closing balance is 10.00."
    );
    let missing = Uuid::now_v7();
    for (sql, code) in [
        (import(missing, "S", "0", "10", &format!("[{good}]")), "NB002"),
        (one(&good).replace("'USD'", "'EUR'"), "NB004"),
        (one(&line(5, "10.001", "A")), "NB005"),
        (one(&line(5, "0", "A")), "NB005"),
        (one(&line(5, "\"ten\"", "A")), "NB021"),
        (one("{\"amount\": 10}"), "NB021"),
        (one("{\"amount\": 10, \"booked_on\": \"2026-02-30\"}"), "NB021"),
        (one("{\"amount\": 10, \"booked_on\": \"2026-01-05\", \"colour\": 1}"), "NB021"),
        (one("7"), "NB021"),
        (one("[null, \"2026-01-05\", null, 10, null, null, null]"), "NB021"),
        (import(cash, "S", "0", "10", "{}"), "NB021"),
        (one(&good.replace("2026-01", "2026-02")), "NB021"),
        (one(&good).replace("'2026-01-31'", "'2025-12-31'"), "NB021"),
        (one(&good).replace("'2026-01-31'", "'infinity'"), "NB021"),
        (one(&good).replace("'S'", "' '"), "NB021"),
        (one(&good).replace("correspondent", &"x".repeat(101)), "NB021"),
        (import(cash, "S", "'NaN'", "10", &format!("[{good}]")), "NB005"),
        (import(cash, "S", "1e25", "1e25", "[]"), "NB012"),
        (import(cash, "S", "0.001", "10", &format!("[{good}]")), "NB005"),
    ] {
        refused(&mut bank.db, &sql, code);
    }
    for null in ["source", "statement_ref", "account", "opening_balance", "closing_balance", "lines"] {
        let argument = |name: &str, value: &str| format!("{name} => {}", if name == null { "null" } else { value });
        let sql = format!(
            "select txn_processing.import_external_statement({}, {}, {}, currency => null, {}, {}, {})",
            argument("source", "'s'"),
            argument("statement_ref", "'r'"),
            argument("account", &format!("'{cash}'")),
            argument("opening_balance", "0"),
            argument("closing_balance", "10"),
            argument("lines", &format!("'[{good}]'")),
        );
        refused(&mut bank.db, &sql, "22004");
    }
    let empty = "select txn_processing.import_external_statement('s', 'r', '{}', null, 5, 5, '[]'";
    let empty = empty.replace("{}", &cash.to_string());
    refused(&mut bank.db, &format!("{empty})"), "22004");
    // Without days the period is that of the lines; without lines it must be given.
    bank.db.run(&format!("{empty}, '2026-03-01', '2026-03-01')"));
    bank.db
        .run(&format!("select txn_processing.import_external_statement('s', 'r2', '{cash}', null, 5, 15, '[{good}]')"));
    let period = "select from_date, to_date from txn_processing.external_statements where statement_ref = 'r2'";
    assert_eq!(bank.db.one(period), "2026-01-05|2026-01-05");
}

#[test]
fn a_gap_is_kept_and_an_overlap_refused() {
    let (mut bank, _, cash) = bank();
    let sql = |name: &str, opening: i32, from: &str, to: &str| {
        format!(
            "select txn_processing.import_external_statement('correspondent', '{name}', '{cash}', 'USD', {opening}, \
             {opening}, '[]', '{from}', '{to}')"
        )
    };
    bank.db.run(&sql("1", 10, "2026-01-01", "2026-01-31"));
    bank.db.run(&sql("2", 10, "2026-02-01", "2026-02-28"));
    bank.db.run(&sql("3", 12, "2026-03-01", "2026-03-31"));
    let fifth = bank.db.id(&sql("5", 12, "2026-05-01", "2026-05-31"));
    let kept =
        "select statement_ref, continuity, opening_gap from txn_processing.external_statements order by from_date";
    assert_eq!(bank.db.lines(kept), ["1|first|0", "2|continuous|0", "3|gap|2.00", "5|gap|0.00"]);
    for (from, to) in [
        ("2026-01-31", "2026-02-01"),
        ("2025-12-01", "2026-12-31"),
        ("2026-02-10", "2026-02-10"),
        ("2026-05-31", "2026-06-30"),
    ] {
        refused(&mut bank.db, &sql("x", 12, from, to), "NB049");
    }
    let kinds = format!("select kind from txn_processing.reconciliation_breaks('{fifth}')");
    assert_eq!(bank.db.lines(&kinds), ["opening_difference", "gap"]);
    // What closes the gap is the missing statement.
    bank.db.run(&sql("4", 12, "2026-04-01", "2026-04-30"));
    assert_eq!(bank.db.lines(&kinds), ["opening_difference"]);
    // Another source, or another account, has days of its own.
    let a = bank.account("0");
    bank.db.run(&sql("x", 1, "2026-02-10", "2026-02-10").replace("correspondent", "other"));
    bank.db.run(&sql("x", 1, "2026-02-10", "2026-02-10").replace(&cash.to_string(), &a.to_string()));
}

#[test]
fn statements_and_matches_are_written_by_the_functions_only() {
    let (mut bank, a, cash) = bank();
    posted(&mut bank, a, 4, "10", "");
    let statement = bank.db.id(&import(cash, "S", "0", "10", &format!("[{}]", line(4, "10", ""))));
    matched(&mut bank, statement);
    for table in [
        "external_statements",
        "external_lines",
        "reconciliation_matches",
        "reconciliation_match_lines",
        "reconciliation_match_postings",
    ] {
        for sql in [
            format!("delete from txn_processing.{table}"),
            format!("truncate txn_processing.{table} cascade"),
            format!("insert into txn_processing.{table} select (x).* from txn_processing.{table} x"),
        ] {
            refused(&mut bank.db, &sql, "NB009");
        }
    }
    refused(&mut bank.db, "update txn_processing.external_lines set amount = 1", "NB009");
    refused(&mut bank.db, "update txn_processing.reconciliation_matches set difference = 1", "NB009");
    for sql in ["match_external_statement", "reconciliation_breaks", "reconciliation_summary"] {
        let id = Uuid::now_v7();
        refused(&mut bank.db, &format!("select * from txn_processing.{sql}('{id}')"), "NB056");
        refused(&mut bank.db, &format!("select * from txn_processing.{sql}(null)"), "22004");
    }
    // Reading needs nothing to write to.
    bank.db.run("begin transaction read only");
    bank.db.run(&format!("select * from txn_processing.reconciliation_breaks('{statement}')"));
    bank.db.run(&format!("select * from txn_processing.reconciliation_summary('{statement}')"));
    bank.db.run("rollback");
}

#[test]
fn operators_reconcile_and_readers_read() {
    let (mut bank, a, cash) = bank();
    let t = posted(&mut bank, a, 4, "10", "");
    let [mut reader, mut teller, mut operator] = ["reader", "teller", "operator"].map(|level| {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        bank.session_as(&role)
    });
    let sql = import(cash, "S", "0", "10", &format!("[{}]", line(4, "10", "")));
    let statement = operator.id(&sql);
    let l = bank.db.id("select line_id from txn_processing.external_lines");
    let nobody = Uuid::now_v7();
    for session in [&mut reader, &mut teller] {
        for sql in [
            sql.clone(),
            format!("select * from txn_processing.match_external_statement('{statement}')"),
            format!("select txn_processing.manual_match('{{{l}}}', '{{{t}}}', 'why')"),
            format!("select txn_processing.unmatch('{nobody}', 'why')"),
            "select txn_processing.set_reconciliation_rule('s', 1)".to_owned(),
            "update txn_processing.reconciliation_rules set priority = 2".to_owned(),
        ] {
            refused_with_code_only(session, &sql, "42501");
        }
        let open = format!("select count(*) from txn_processing.reconciliation_breaks('{statement}')");
        assert_eq!(session.count(&open), 2);
        session.run(&format!("select * from txn_processing.reconciliation_summary('{statement}')"));
    }
    operator.run("select txn_processing.set_reconciliation_rule('correspondent', 1)");
    operator.run(&format!("select * from txn_processing.match_external_statement('{statement}')"));
    let made = operator.id("select match_id from txn_processing.reconciliation_matches");
    operator.run(&format!("select txn_processing.unmatch('{made}', 'why')"));
    operator.run(&format!("select txn_processing.manual_match('{{{l}}}', '{{{t}}}', 'why')"));
    let by = "select count(distinct by) from (select imported_by from txn_processing.external_statements \
              union all select matched_by from txn_processing.reconciliation_matches \
              union all select undone_by from txn_processing.reconciliation_matches where undone_by is not null) x(by) \
              where by like '%operator'";
    assert_eq!(bank.db.count(by), 1);
}

#[test]
fn a_restore_loads_statements_and_matches_and_then_the_guard_is_there() {
    let (mut bank, a, cash) = bank();
    posted(&mut bank, a, 4, "10", "A");
    let lines = format!("[{}, {}]", line(4, "10", "A"), line(5, "2", "tab\\tand \\\\"));
    let statement = bank.db.id(&import(cash, "S", "0", "12", &lines));
    matched(&mut bank, statement);
    bank.db.run("select txn_processing.unmatch(match_id, 'why') from txn_processing.reconciliation_matches");
    matched(&mut bank, statement);
    bank.db.run("select txn_processing.set_reconciliation_rule('correspondent', 1, passes => '{}')");
    let mut restored = Bank::new();
    // What a table refers to comes first, as pg_dump has it; each table is one COPY by the owner.
    let tables = [
        "reconciled_accounts",
        "reconciliation_rules",
        "external_statements",
        "external_lines",
        "reconciliation_matches",
        "reconciliation_match_lines",
        "reconciliation_match_postings",
    ];
    for table in tables {
        let mut rows = Vec::new();
        let mut out = bank.db.copy_out(&format!("copy txn_processing.{table} to stdout")).expect("COPY starts");
        out.read_to_end(&mut rows).expect("COPY goes on");
        drop(out);
        assert!(!rows.is_empty(), "{table}");
        let mut copy = restored.db.copy_in(&format!("copy txn_processing.{table} from stdin")).expect("COPY starts");
        copy.write_all(&rows).expect("COPY takes the rows");
        copy.finish().expect("the guard lets the whole table in");
        let shown = |bank: &mut Bank| {
            let mut all = snapshot(&mut bank.db);
            all.retain(|line| line.starts_with(&format!("txn_processing.{table}|")));
            all
        };
        assert_eq!(shown(&mut bank), shown(&mut restored));
    }
    for table in &tables[2..] {
        let again = format!("insert into txn_processing.{table} select (x).* from txn_processing.{table} x");
        refused(&mut restored.db, &again, "NB009");
    }
    // A dump takes every table that has rows of users.
    let left_out = "select c.relname from pg_class c where c.relnamespace = 'txn_processing'::regnamespace \
                    and c.relkind = 'r' and c.relname ~ '^(recon|external)' and not exists (select from pg_extension e \
                    where e.extname = 'neobank' and c.oid = any (e.extconfig))";
    assert_eq!(bank.db.lines(left_out), [""; 0]);
}
