//! Lines find their postings by the rules or by hand, and what is left is explained.

use crate::reconciliation::{bank, breaks, explained, import, line, matched, posted};
use neobank_sessions::*;

#[test]
fn lines_find_their_postings_and_the_rest_is_told() {
    let (mut bank, a, cash) = bank();
    posted(&mut bank, a, 4, "100", "INV-1");
    posted(&mut bank, a, 5, "40", "");
    posted(&mut bank, a, 8, "7", "");
    posted(&mut bank, a, 8, "8", "");
    posted(&mut bank, a, 9, "60", "RUN");
    posted(&mut bank, a, 12, "3", "");
    posted(&mut bank, a, 12, "3", "");
    posted(&mut bank, a, 20, "11", "LONELY");
    let lines = [
        line(6, "100", "INV-1"),
        line(5, "40", ""),
        line(8, "15", ""),
        line(10, "20", "RUN"),
        line(10, "40", "RUN"),
        line(12, "3", ""),
        line(25, "9", "NOBODY"),
    ];
    let statement = bank.db.id(&import(cash, "S", "0", "227", &format!("[{}]", lines.join(","))));
    explained(&mut bank, statement);
    assert_eq!(matched(&mut bank, statement), "4|5|5|2|1");
    explained(&mut bank, statement);
    let made = "select kind, pass, rule_priority, difference from txn_processing.reconciliation_matches order by pass";
    assert_eq!(
        bank.db.lines(made),
        ["1:1|date||0.00", "n:1|many_to_one||0.00", "1:n|one_to_many||0.00", "1:1|reference||0.00"]
    );
    assert_eq!(
        breaks(&mut bank, statement),
        [
            "ambiguous|6|3.00|-3.00",
            "line_without_posting|7|9.00|-9.00",
            "posting_without_line||3.00|3.00",
            "posting_without_line||3.00|3.00",
            "posting_without_line||11.00|11.00",
        ]
    );
    let before = snapshot(&mut bank.db);
    assert_eq!(matched(&mut bank, statement), "0|0|0|2|1", "called again it finds nothing more");
    let after = snapshot(&mut bank.db);
    let touched: Vec<_> = before.iter().zip(&after).filter(|(b, a)| b != a).collect();
    assert_eq!(touched.len(), 1, "only the lock's counter: {touched:?}");
    let summary = format!(
        "select ledger_balance, statement_balance, difference, opening_difference, unmatched_postings, unmatched_lines, \
         amount_differences, timing, line_count, open_lines, ambiguous_lines \
         from txn_processing.reconciliation_summary('{statement}')"
    );
    assert_eq!(bank.db.one(&summary), "232.00|227.00|5.00|0.00|17.00|12.00|0.00|0.00|7|2|1");
    audit(&mut bank.db);
}

#[test]
fn rules_say_what_counts_as_the_same() {
    let (mut bank, a, cash) = bank();
    posted(&mut bank, a, 4, "100.30", "");
    posted(&mut bank, a, 9, "50", "");
    let lines = format!("[{}, {}]", line(4, "100", ""), line(12, "50", ""));
    let statement = bank.db.id(&import(cash, "S", "0", "150", &lines));
    assert_eq!(matched(&mut bank, statement), "0|0|0|2|0");
    let set = "select txn_processing.set_reconciliation_rule('correspondent', ";
    bank.db.run(&format!("{set} 1, date_tolerance_days => 2)"));
    assert_eq!(matched(&mut bank, statement), "0|0|0|2|0");
    bank.db.run(&format!("{set} 2, date_tolerance_days => 3, passes => '{{}}')"));
    assert_eq!(matched(&mut bank, statement), "0|0|0|2|0", "a rule without passes is off");
    bank.db.run(&format!("{set} 2, date_tolerance_days => 3)"));
    bank.db.run(&format!("{set} 3, amount_tolerance_percent => 0.3)"));
    let only = |priorities: &str| {
        format!("select * from txn_processing.match_external_statement('{statement}', '{priorities}')")
    };
    assert_eq!(bank.db.one(&only("{1}")), "0|0|0|2|0");
    assert_eq!(bank.db.one(&only("{2}")), "1|1|1|1|0");
    assert_eq!(matched(&mut bank, statement), "1|1|1|0|0");
    let made = "select rule_priority, difference from txn_processing.reconciliation_matches order by 1";
    assert_eq!(bank.db.lines(made), ["2|0.00", "3|0.30"]);
    assert_eq!(breaks(&mut bank, statement), ["amount_difference||0.30|0.30"]);
    explained(&mut bank, statement);
    refused(&mut bank.db, &only("{7}"), "NB021");
    refused(&mut bank.db, &only("{null}"), "22004");
    for (arguments, code) in [
        ("0", "NB021"),
        ("101", "NB021"),
        ("null", "22004"),
        ("1, -0.01", "NB021"),
        ("1, 'NaN'", "NB005"),
        ("1, null", "22004"),
        ("1, 0, 100.1", "NB021"),
        ("1, 0, 0, 367", "NB021"),
        ("1, 0, 0, 0, -1", "NB021"),
        ("1, passes => '{guess}'", "NB021"),
        ("1, passes => '{null}'", "22004"),
        ("1, passes => null", "22004"),
    ] {
        refused(&mut bank.db, &format!("{set} {arguments})"), code);
    }
    refused(&mut bank.db, "select txn_processing.set_reconciliation_rule(null, 1)", "22004");
    refused(&mut bank.db, "select txn_processing.set_reconciliation_rule(' ', 1)", "NB021");
}

#[test]
fn a_subset_is_found_where_a_rule_allows_it_and_there_is_one_only() {
    let (mut bank, a, cash) = bank();
    for amount in ["11", "23", "47", "5", "9.50"] {
        posted(&mut bank, a, 4, amount, "");
    }
    let statement = bank.db.id(&import(cash, "S", "0", "67.50", &format!("[{}]", line(4, "67.50", ""))));
    assert_eq!(matched(&mut bank, statement), "0|0|0|1|0");
    bank.db.run("select txn_processing.set_reconciliation_rule('correspondent', 1, passes => '{subset}')");
    assert_eq!(matched(&mut bank, statement), "1|1|3|0|0", "47 + 11 + 9.50");
    explained(&mut bank, statement);
}

#[test]
fn a_person_matches_and_undoes() {
    let (mut bank, a, cash) = bank();
    let (x, y) = (posted(&mut bank, a, 4, "100", ""), posted(&mut bank, a, 5, "20", ""));
    let statement =
        bank.db.id(&import(cash, "S", "0", "125", &format!("[{}, {}]", line(9, "60", ""), line(9, "65", ""))));
    let lines = bank.db.one("select array_agg(line_id) from txn_processing.external_lines");
    let by_hand = |lines: &str, transactions: &str, reason: &str| {
        format!("select txn_processing.manual_match('{lines}', '{transactions}', {reason})")
    };
    let both = format!("{{{x},{y}}}");
    let made = bank.db.id(&by_hand(&lines, &both, "'told on the telephone'"));
    let row = "select kind, pass, difference, reason, matched_by = current_user, undone_at is null \
               from txn_processing.reconciliation_matches";
    assert_eq!(bank.db.one(row), "n:m|manual|-5.00|told on the telephone|t|t");
    assert_eq!(breaks(&mut bank, statement), ["amount_difference||-5.00|-5.00"]);
    explained(&mut bank, statement);
    refused(&mut bank.db, &by_hand(&lines, &format!("{{{x}}}"), "'again'"), "NB055");
    let fresh = posted(&mut bank, a, 6, "1", "");
    refused(&mut bank.db, &by_hand(&lines, &format!("{{{fresh}}}"), "'again'"), "NB055");
    let nobody = Uuid::now_v7();
    let undo = |id: Uuid, reason: &str| format!("select txn_processing.unmatch('{id}', {reason})");
    refused(&mut bank.db, &undo(nobody, "'why'"), "NB056");
    refused(&mut bank.db, &undo(made, "' '"), "NB021");
    refused(&mut bank.db, &undo(made, "null"), "22004");
    refused(&mut bank.db, "select txn_processing.unmatch(null, 'why')", "22004");
    bank.db.run(&undo(made, "'a mistake'"));
    refused(&mut bank.db, &undo(made, "'again'"), "NB055");
    let history = "select undo_reason, undone_by = current_user, undone_at > matched_at, \
                   (select count(*) from txn_processing.reconciliation_match_lines where not in_force), \
                   (select count(*) from txn_processing.reconciliation_match_postings where not in_force) \
                   from txn_processing.reconciliation_matches";
    assert_eq!(bank.db.one(history), "a mistake|t|t|2|2");
    assert_eq!(breaks(&mut bank, statement).len(), 5);
    explained(&mut bank, statement);
    for (lines, transactions, reason, code) in [
        (lines.as_str(), format!("{{{x},{x}}}"), "'why'", "NB021"),
        (&lines, "{}".to_owned(), "'why'", "NB021"),
        ("{}", both.clone(), "'why'", "NB021"),
        (&lines, "{null}".to_owned(), "'why'", "22004"),
        ("{null}", both.clone(), "'why'", "22004"),
        (&lines, both.clone(), "''", "NB021"),
        (&lines, both.clone(), "null", "22004"),
        (&lines, format!("{{{nobody}}}"), "'why'", "NB056"),
        (&format!("{{{nobody}}}"), both.clone(), "'why'", "NB056"),
    ] {
        refused(&mut bank.db, &by_hand(lines, &transactions, reason), code);
    }
    refused(&mut bank.db, &format!("select txn_processing.manual_match(null, '{both}', 'why')"), "22004");
    refused(&mut bank.db, &format!("select txn_processing.manual_match('{lines}', null, 'why')"), "22004");
    bank.db.run(&by_hand(&lines, &both, "'it was right after all'"));
    explained(&mut bank, statement);
}

#[test]
fn a_person_matches_free_postings_and_lines_of_one_account() {
    let (mut bank, a, cash) = bank();
    let x = posted(&mut bank, a, 4, "60", "");
    let lines = format!("[{}, {}]", line(9, "60", "first"), line(9, "65", "second"));
    bank.db.run(&import(cash, "S", "0", "125", &lines));
    let clearing = bank.internal("payments_clearing", "USD");
    bank.db.run(&import(clearing, "T", "0", "5", &format!("[{}]", line(9, "5", "third"))));
    let mut lines_of = |amounts: &str| {
        let found = format!("select array_agg(line_id) from txn_processing.external_lines where amount in ({amounts})");
        bank.db.one(&found)
    };
    let (first, second, mixed) = (lines_of("60"), lines_of("65"), lines_of("60, 5"));
    let by_hand = |lines: &str| format!("select txn_processing.manual_match('{lines}', '{{{x}}}', 'by hand')");
    let refusal = refused(&mut bank.db, &by_hand(&mixed), "NB021");
    assert_eq!(refusal.detail, "Its lines mirror more than one account.");
    bank.db.run(&by_hand(&first));
    let refusal = refused(&mut bank.db, &by_hand(&second), "NB055");
    assert_eq!(refusal.detail, format!("Transaction {x} is in a match."));
}

#[test]
fn what_counts_in_another_period_is_timing() {
    // Booked there on the last day of January, here on the first of February.
    let (mut bank, a, cash) = bank();
    bank.db.run(&format!(
        "select txn_processing.deposit('{a}', 70, reference => 'LATE', effective_at => '2026-02-01 08:00+00')"
    ));
    let january = bank.db.id(&import(cash, "1", "0", "70", &format!("[{}]", line(31, "70", "LATE"))));
    let february = bank.db.id(&format!(
        "select txn_processing.import_external_statement('correspondent', '2', '{cash}', 'USD', 70, 70, '[]', \
         '2026-02-01', '2026-02-28')"
    ));
    assert_eq!(matched(&mut bank, january), "1|1|1|0|0");
    assert_eq!(breaks(&mut bank, january), ["timing||-70.00|-70.00"]);
    assert_eq!(breaks(&mut bank, february), ["opening_difference||-70.00|-70.00", "timing||70.00|70.00"]);
    explained(&mut bank, january);
    explained(&mut bank, february);
}

#[test]
fn a_liability_is_mirrored_by_its_own_sign() {
    // A customer's account: its balance grows by credits.
    let (mut bank, a, _) = bank();
    posted(&mut bank, a, 4, "100", "IN");
    bank.db
        .run(&format!("select txn_processing.withdraw('{a}', 30, reference => 'OUT', effective_at => '2026-01-05')"));
    let statement =
        bank.db.id(&import(a, "S", "0", "70", &format!("[{}, {}]", line(4, "100", "IN"), line(5, "-30", "OUT"))));
    assert_eq!(matched(&mut bank, statement), "2|2|2|0|0");
    assert_eq!(breaks(&mut bank, statement), [""; 0]);
}

#[test]
fn the_time_zone_says_what_a_day_is() {
    let (mut bank, a, cash) = bank();
    bank.db.run("set timezone = 'America/New_York'");
    // Still the 4th in New York.
    bank.db.run(&format!("select txn_processing.deposit('{a}', 10, effective_at => '2026-01-05 03:00Z')"));
    bank.db.run(&format!("select txn_processing.deposit('{a}', 11, effective_at => '2026-02-01 04:59Z')"));
    bank.db.run(&format!("select txn_processing.deposit('{a}', 12, effective_at => '2026-02-01 05:00Z')"));
    let lines = format!("[{}, {}]", line(4, "10", ""), r#"{"booked_at": "2026-02-01T04:30:00Z", "amount": 11}"#);
    let statement = bank.db.id(&import(cash, "S", "0", "21", &lines));
    // Whoever matches, from wherever.
    bank.db.run("set timezone = 'Asia/Tokyo'");
    assert_eq!(matched(&mut bank, statement), "2|2|2|0|0");
    assert_eq!(breaks(&mut bank, statement), [""; 0]);
    assert_eq!(bank.db.id(&import(cash, "S", "0", "21", &lines)), statement, "the same from another zone");
}
