//! Dropping the extension: an empty one goes as any other, a ledger that holds money by CASCADE only.

use neobank_sessions::*;

const DROP: &str = "drop extension neobank";

/// As where 0.1.0 was created: there the extension belonged to the schema that was current, and goes with it.
fn make_it_one_of_public(db: &mut Client) {
    db.run(
        "update pg_extension set extnamespace = 'public'::regnamespace where extname = 'neobank'; \
         insert into pg_depend select 'pg_extension'::regclass, oid, 0, 'pg_namespace'::regclass, extnamespace, 0, 'n' \
         from pg_extension where extname = 'neobank'",
    );
}

#[test]
fn a_ledger_that_holds_money_is_dropped_by_cascade_only() {
    let mut bank = Bank::new();
    let a = bank.account("25");
    bank.account_with("checking", "EUR", "0", "0");
    make_it_one_of_public(&mut bank.db);
    for sql in [
        DROP,
        "drop extension if exists neobank restrict",
        "drop extension plpgsql, neobank",
        "drop extension plpgsql cascade",
        "drop schema public cascade",
    ] {
        let refusal = refused(&mut bank.db, sql, "NB052");
        assert_eq!(refusal.message, "the ledger holds money");
        assert!(refusal.detail.starts_with("Postings: 1; accounts: "), "{refusal}");
        assert!(refusal.detail.ends_with(", in EUR, USD."), "{refusal}");
        assert!(refusal.hint.contains("CASCADE"), "{refusal}");
    }
    // What the server itself refuses, whatever it says.
    for sql in ["drop schema banking cascade", "drop schema txn_processing", "drop table banking.accounts cascade"] {
        refused(&mut bank.db, sql, "2BP01");
    }
    // With all money gone the postings are still there.
    bank.db.run(&format!("select txn_processing.withdraw('{a}', 25)"));
    refused(&mut bank.db, DROP, "NB052");
    // A session that replicates is no way past it.
    bank.db.run("set session_replication_role = replica");
    refused(&mut bank.db, DROP, "NB052");
    bank.db.run("reset session_replication_role");
    bank.db.run("drop extension neobank cascade");
    let left = "select count(*) from pg_event_trigger union all \
                select count(*) from pg_namespace where nspname in ('banking', 'txn_processing', 'neobank')";
    assert_eq!(bank.db.lines(left), ["0", "0"]);
    bank.db.run("create extension neobank");
}

#[test]
fn what_holds_no_money_is_dropped_as_any_other_extension() {
    let mut bank = Bank::new();
    bank.account("0");
    bank.db.run("create schema s; create extension citext; drop schema s cascade; drop extension citext");
    bank.db.run(DROP);
    bank.db.run("create extension neobank");
    make_it_one_of_public(&mut bank.db);
    bank.db.run("drop schema public cascade");
    assert_eq!(bank.db.count("select count(*) from pg_extension where extname = 'neobank'"), 0);
}

#[test]
fn a_posting_that_is_under_way_keeps_the_extension() {
    // Without a lock between the look at the ledger and the drop, what is posted in between goes with it.
    let mut bank = Bank::new();
    let a = bank.account("0");
    let mut teller = bank.session();
    teller.run(&format!("begin; select txn_processing.deposit('{a}', 5)"));
    let mut dropper = bank.session();
    let backend = Bank::backend_of(&mut dropper);
    let drop = std::thread::spawn(move || dropper.fails(DROP));
    bank.wait_until_blocked(backend);
    teller.run("commit");
    let refusal = drop.join().expect("the session does not panic");
    assert_eq!(refusal.code, "NB052", "{refusal}");
    assert_eq!(bank.db.balance(a), dec("5"));
}

#[test]
fn figures_are_for_those_who_own_the_extension() {
    let mut bank = Bank::new();
    bank.account("25");
    let stranger = bank.role("stranger");
    let mut session = bank.session_as(&stranger);
    refused_with_code_only(&mut session, DROP, "42501");
    refused_with_code_only(&mut session, "select neobank.guard_drop()", "42501");
    refused_with_code_only(&mut bank.db, "select neobank.guard_drop()", "39P03");
    // The schema's owner would take the extension with it.
    make_it_one_of_public(&mut bank.db);
    bank.db.run(&format!("alter schema public owner to {stranger}"));
    let refusal = session.fails("drop schema public cascade");
    assert_eq!((refusal.code.as_str(), refusal.detail.as_str()), ("NB052", ""), "{refusal}");
}

#[test]
fn the_owner_who_goes_does_not_take_the_ledger_along() {
    let mut bank = Bank::empty_database();
    let boss = bank.role("boss");
    bank.db.run(&format!("alter role {boss} superuser"));
    bank.session_as(&boss).run("create extension neobank");
    bank.account("25");
    for behaviour in ["", "restrict", "cascade"] {
        refused(&mut bank.db, &format!("drop owned by {boss} {behaviour}"), "NB052");
    }
    bank.db.run(&format!("set role {boss}"));
    refused(&mut bank.db, "drop owned by current_user cascade", "NB052");
    bank.db.run("reset role");
    bank.db.run(&format!("drop extension neobank cascade; drop owned by {boss}"));
}
