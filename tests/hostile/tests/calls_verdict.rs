//! That the verdict can fail: functions with a fault each, put among those of the extension, are found.

use neobank_hostile::run::Fuzz;
use neobank_sessions::*;

/// The faults that calling such a function shows. `body` is PL/pgSQL that answers JSON.
fn faults_of(body: &str, prepare: impl FnOnce(&mut Fuzz)) -> Vec<String> {
    let mut fuzz = Fuzz::new(7);
    prepare(&mut fuzz);
    fuzz.world.bank.db.run(&format!(
        "create function banking.broken(n integer default 1) returns jsonb language plpgsql as $body$ {body} $body$; \
         alter extension neobank add function banking.broken(integer)"
    ));
    let broken = fuzz.functions().into_iter().find(|function| function.name == "banking.broken");
    let broken = broken.expect("the catalog has it, so it is called");
    for _ in 0..3 {
        fuzz.block(&broken, 40);
    }
    fuzz.faults.keys().cloned().collect()
}

fn found(body: &str, what: &str) {
    let faults = faults_of(body, |fuzz| fuzz.sample_every = 1);
    assert!(faults.iter().any(|fault| fault.contains(what)), "{what:?} of {body:?} was not found: {faults:?}");
}

#[test]
fn a_sound_function_is_none() {
    let sound = "begin if n is null then raise 'no number' using errcode = 'NB021', hint = 'Give one.'; end if; \
                 return '{\"success\": false, \"code\": \"same_account\", \"error\": \"x\", \"sqlstate\": \"NB006\"}'; end";
    assert_eq!(faults_of(sound, |fuzz| fuzz.sample_every = 1), [""; 0]);
}

#[test]
fn codes_and_texts_that_should_not_be_are_found() {
    let raise = |message: &str, with: &str| format!("begin raise exception '%', {message} using {with}; end");
    found(&raise("'oh'", "errcode = 'XX000'"), "SQLSTATE XX000");
    found(&raise("'oh'", "errcode = 'NB999', hint = 'None.'"), "SQLSTATE NB999");
    found("begin return n / 0; end", "SQLSTATE 22012");
    found("begin return (select x from banking.no_such_table); end", "SQLSTATE 42P01");
    found(&raise("repeat('x', 3000)", "errcode = 'NB021', hint = 'None.'"), "a text of 3000 bytes");
    found(&raise("'it panicked'", "errcode = 'NB021', hint = 'None.'"), "a text with \"panicked\"");
    found(&raise("'oh'", "errcode = 'NB021', hint = 'None.', detail = 'Some(3)'"), "a text with \"Some(\"");
    found(&raise("'oh'", "errcode = 'NB021'"), "no hint");
    found(&raise("'Oh.'", "errcode = 'NB021', hint = 'None.'"), "not in house style");
    let told = |code: &str| format!("begin return '{{\"success\": false, \"error\": \"x\", {code}}}'; end");
    found(&told("\"code\": \"same_account\", \"sqlstate\": \"XX000\""), "SQLSTATE XX000");
    found(&told("\"sqlstate\": \"NB006\""), "a refusal without a code");
}

#[test]
fn a_refusal_that_leaves_something_is_found() {
    found(
        "begin insert into banking.tenants (name) values (gen_random_uuid()::text); \
         return '{\"success\": false, \"code\": \"same_account\", \"error\": \"x\", \"sqlstate\": \"NB006\"}'; end",
        "has changed a table",
    );
}

#[test]
fn a_call_without_end_is_found() {
    let faults = faults_of("begin loop n := 1; end loop; end", |fuzz| {
        fuzz.set_timeout(50);
        fuzz.give_up_after = 1;
    });
    assert!(faults.iter().any(|fault| fault.contains("no end within 300 ms")), "{faults:?}");
}

#[test]
fn a_backend_that_grows_is_found() {
    let leak =
        "begin execute format('prepare %I as select %L', gen_random_uuid(), repeat('x', 100000)); return '{}'; end";
    let faults = faults_of(leak, |_| {});
    assert!(faults.iter().any(|fault| fault.contains("memory contexts grew")), "{faults:?}");
}

#[test]
fn a_backend_that_is_gone_is_found() {
    let faults = faults_of("begin perform pg_terminate_backend(pg_backend_pid()); return '{}'; end", |_| {});
    assert!(!faults.is_empty());
}
