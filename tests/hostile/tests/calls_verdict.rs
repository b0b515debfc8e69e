//! That the verdict can fail: functions with a fault each, put among those of the extension, are found.

use neobank_hostile::run::Fuzz;
use neobank_sessions::*;

/// Calls functions of these bodies, PL/pgSQL that answers JSON, in one bank; the faults that each has shown.
fn faults_of(bodies: &[String], adjust: impl FnOnce(&mut Fuzz)) -> Vec<Vec<String>> {
    let mut fuzz = Fuzz::new(7);
    adjust(&mut fuzz);
    for (nth, body) in bodies.iter().enumerate() {
        fuzz.world.bank.db.run(&format!(
            "create function banking.broken_{nth}(n integer default 1) returns jsonb \
             language plpgsql as $body$ begin {body} end $body$; \
             alter extension neobank add function banking.broken_{nth}(integer)"
        ));
    }
    let functions = fuzz.functions();
    (0..bodies.len())
        .map(|nth| {
            let broken = functions.iter().find(|function| function.name == format!("banking.broken_{nth}"));
            let broken = broken.expect("the catalog has it, so it is called");
            for _ in 0..3 {
                fuzz.block(broken, 20);
            }
            fuzz.faults.keys().filter(|fault| fault.starts_with(&broken.name)).cloned().collect()
        })
        .collect()
}

/// Each body shows the fault beside it.
fn found(bodies: &[(String, &str)], adjust: impl FnOnce(&mut Fuzz)) {
    let only: Vec<String> = bodies.iter().map(|(body, _)| body.clone()).collect();
    for ((body, wanted), faults) in bodies.iter().zip(faults_of(&only, adjust)) {
        let fits = faults.iter().any(|fault| fault.contains(wanted));
        assert!(fits, "{wanted:?} of {body:?} was not found: {faults:?}");
    }
}

fn raise(message: &str, with: &str) -> String {
    format!("raise exception '%', {message} using {with};")
}

fn answer(entries: &str) -> String {
    format!("return '{{\"success\": false, \"error\": \"x\", {entries}}}';")
}

const REFUSAL: &str = "\"code\": \"same_account\", \"sqlstate\": \"NB006\"";

#[test]
fn codes_and_texts_that_should_not_be_are_found() {
    let proper = "errcode = 'NB021', hint = 'None.'";
    found(
        &[
            (raise("'oh'", "errcode = 'XX000'"), "SQLSTATE XX000"),
            (raise("'oh'", "errcode = 'NB999', hint = 'None.'"), "SQLSTATE NB999"),
            ("return n / 0;".to_owned(), "SQLSTATE 22012"),
            ("return (select x from banking.no_such_table);".to_owned(), "SQLSTATE 42P01"),
            (raise("repeat('x', 3000)", proper), "a text of 3000 bytes"),
            (raise("'it panicked'", proper), "a text with \"panicked\""),
            (raise("'oh'", &format!("{proper}, detail = 'Some(3)'")), "a text with \"Some(\""),
            (raise("'oh'", "errcode = 'NB021'"), "no hint"),
            (raise("'Oh.'", proper), "not in house style"),
            (answer("\"code\": \"same_account\", \"sqlstate\": \"XX000\""), "SQLSTATE XX000"),
            (answer("\"sqlstate\": \"NB006\""), "a refusal without a code"),
            ("perform pg_terminate_backend(pg_backend_pid());".to_owned(), "SQLSTATE 57P01"),
        ],
        |fuzz| fuzz.give_up_after = 100,
    );
}

#[test]
fn a_refusal_that_leaves_something_is_found() {
    let leaves = format!("insert into banking.tenants (name) values (gen_random_uuid()::text); {}", answer(REFUSAL));
    found(&[(leaves, "has changed a table")], |fuzz| {
        fuzz.sample_every = 1;
        fuzz.give_up_after = 1;
    });
}

#[test]
fn a_call_without_end_is_found() {
    found(&[("loop n := 1; end loop;".to_owned(), "no end within 300 ms")], |fuzz| {
        fuzz.set_timeout(50);
        fuzz.give_up_after = 1;
    });
}

#[test]
fn a_backend_that_grows_is_found() {
    let leak = "execute format('prepare %I as select %L', gen_random_uuid(), repeat('x', 300000)); return '{}';";
    found(&[(leak.to_owned(), "memory contexts grew")], |_| {});
}

#[test]
fn what_is_sound_has_no_fault() {
    let sound = "if n is null then raise 'no number' using errcode = 'NB021', hint = 'Give one.'; end if;";
    let faults = faults_of(&[format!("{sound} {}", answer(REFUSAL))], |fuzz| fuzz.sample_every = 4);
    assert_eq!(faults, [[""; 0]]);
}
