//! Errors thrown at every point where a call of the server may fail: nothing is half done, and the session goes on.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use super::*;
    use crate::pg::faults;

    /// More calls than any of the operations makes.
    const MANY: u32 = 2_000;

    const HELPERS: &str = "
        CREATE FUNCTION pg_temp.attempt(sql text) RETURNS text LANGUAGE plpgsql AS
            $$BEGIN EXECUTE sql; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN sqlerrm; END$$;
        CREATE FUNCTION pg_temp.account(mode text) RETURNS uuid LANGUAGE plpgsql AS $$
        DECLARE account uuid := banking.open_account(banking.create_customer('F', mode), opening_deposit => 100);
        BEGIN PERFORM banking.set_balance_mode(account, mode); RETURN account; END$$;
        CREATE FUNCTION pg_temp.books() RETURNS text LANGUAGE sql AS $$
            SELECT md5(concat((SELECT string_agg(m::text, '|' ORDER BY m.transaction_id) FROM txn_processing.movements m),
                              (SELECT string_agg(a::text, '|' ORDER BY a.account_id) FROM banking.accounts a),
                              (SELECT string_agg(s::text, '|' ORDER BY s.account_id, s.slot_no) FROM banking.account_slots s),
                              (SELECT string_agg(b::text, '|' ORDER BY b.account_id, b.sequence)
                               FROM txn_processing.backdated_entries b),
                              (SELECT string_agg(h::text, '|' ORDER BY h.hold_id) FROM txn_processing.holds h),
                              (SELECT string_agg(c::text, '|' ORDER BY c.transaction_id)
                               FROM txn_processing.hold_captures c),
                              (SELECT string_agg(r::text, '|' ORDER BY r.account_type) FROM txn_processing.hold_rules r),
                              (SELECT string_agg(u::text, '|' ORDER BY u.account_id) FROM txn_processing.limit_usage u),
                              (SELECT string_agg(l::text, '|' ORDER BY l::text) FROM banking.account_limits l),
                              (SELECT string_agg(g::text, '|' ORDER BY g::text) FROM banking.limit_changes g))) $$;
        CREATE TABLE pg_temp.made AS
            SELECT pg_temp.account('exclusive') AS a, pg_temp.account('exclusive') AS b,
                   pg_temp.account('slotted') AS c, pg_temp.account('slotted') AS d;
        CREATE TABLE pg_temp.bound AS SELECT pg_temp.account('exclusive') AS e;
        SELECT banking.set_account_limit(e, 'day', 90, NULL, 'for the test') FROM pg_temp.bound;
        CREATE TABLE pg_temp.held AS
            SELECT txn_processing.place_hold(e, 5) AS whole, txn_processing.place_hold(e, 5) AS part,
                   txn_processing.place_hold(e, 5) AS gone,
                   txn_processing.place_hold(e, 5, group_id => '00000000-0000-4000-8000-000000000001') AS one,
                   txn_processing.place_hold(a, 5, group_id => '00000000-0000-4000-8000-000000000001') AS two,
                   txn_processing.place_hold(b, 5, clock_timestamp() + interval '10 ms') AS late
            FROM pg_temp.made, pg_temp.bound;
        SELECT pg_sleep(0.02);
        CREATE TABLE pg_temp.paid AS SELECT txn_processing.pay(a, 5) AS id FROM pg_temp.made;";

    const OPERATIONS: [&str; 22] = [
        "SELECT txn_processing.transfer(a, b, 1) FROM pg_temp.made",
        "SELECT txn_processing.transfer(b, a, 1, effective_at => now() - interval '1 day') FROM pg_temp.made",
        "SELECT txn_processing.transfer(a, b, 1, transaction_id => gen_random_uuid()) FROM pg_temp.made",
        "SELECT txn_processing.deposit(a, 1) FROM pg_temp.made",
        "SELECT txn_processing.transfer(c, d, 1) FROM pg_temp.made",
        "SELECT txn_processing.execute_transfer(NULL, NULL, a, c, 1, NULL, NULL) FROM pg_temp.made",
        "SELECT txn_processing.refund(id, 1) FROM pg_temp.paid",
        "SELECT banking.set_balance_mode(b, 'slotted'), banking.set_balance_mode(c, 'exclusive') FROM pg_temp.made",
        "SELECT count(*) FROM pg_temp.made, LATERAL txn_processing.post_transfers(
             array_fill(a, ARRAY[600]), array_fill(b, ARRAY[600]), array_fill(0.01, ARRAY[600])) p",
        "SELECT count(*) FROM pg_temp.made, LATERAL txn_processing.post_transfers(
             ARRAY[a, c], ARRAY[c, b], ARRAY[1, 1], ARRAY[gen_random_uuid(), gen_random_uuid()]) p",
        "SELECT count(*) FROM pg_temp.made, LATERAL txn_processing.post_batch(
             ARRAY['deposit', 'payment'], ARRAY[NULL, a], ARRAY[c, NULL], ARRAY[1, 1]) p",
        "SELECT txn_processing.place_hold(e, 1) FROM pg_temp.bound",
        "SELECT txn_processing.capture_hold(whole, transaction_id => gen_random_uuid()) FROM pg_temp.held",
        "SELECT txn_processing.capture_hold(part, 2, b, final => false) FROM pg_temp.held, pg_temp.made",
        "SELECT txn_processing.release_hold(gone) FROM pg_temp.held",
        "SELECT count(*) FROM txn_processing.capture_hold_group('00000000-0000-4000-8000-000000000001')",
        "SELECT txn_processing.expire_holds()",
        "SELECT txn_processing.transfer(e, b, 1) FROM pg_temp.made, pg_temp.bound",
        "SELECT count(*) FROM pg_temp.made, pg_temp.bound, LATERAL txn_processing.post_transfers(
             ARRAY[b, e, e], ARRAY[e, b, b], ARRAY[1, 1, 1000], linked => ARRAY[true, false, false]) p",
        "SELECT banking.set_account_limit(e, 'month', 80, 30, 'for the test') FROM pg_temp.bound",
        "SELECT banking.set_type_limit('savings', 'USD', 'day', 80, 30, 'for the test')",
        "SELECT count(*) FROM pg_temp.made, pg_temp.bound, LATERAL txn_processing.validate('transfer', e, c, 1) v",
    ];

    fn text(sql: &str) -> String {
        Spi::get_one(sql).expect("it runs").expect("not null")
    }

    fn fail_everywhere(path: &str) {
        Spi::run(HELPERS).expect("the helpers are made");
        Spi::run(&format!("SET neobank.posting_path = {path}")).expect("a superuser may");
        for operation in OPERATIONS {
            let quoted = operation.replace('\'', "''");
            let mut failures = 0;
            for n in 1..MANY {
                let before = text("SELECT pg_temp.books()");
                faults::arm(n);
                let answer = text(&format!("SELECT pg_temp.attempt('{quoted}')"));
                let struck = !faults::is_armed();
                faults::arm(0);
                if !struck {
                    assert_eq!(answer, "done", "{operation} without a fault, after {failures} with one");
                    break;
                }
                failures += 1;
                assert_eq!(answer, "injected fault", "call {n} of {operation}");
                assert_eq!(text("SELECT pg_temp.books()"), before, "call {n} of {operation} left something");
            }
            assert!(failures > 3, "{operation} has {failures} points of failure");
        }
        let even = "SELECT (sum(debits) = sum(credits))::text FROM txn_processing.trial_balance()";
        assert_eq!(text(even), "true");
        let off =
            "SELECT count(*)::text FROM txn_processing.daily_reconciliation() WHERE status <> 'Balanced'";
        assert_eq!(text(off), "0");
    }

    #[pg_test]
    fn a_fault_anywhere_in_direct_access_changes_nothing() {
        fail_everywhere("direct");
    }

    #[pg_test]
    fn a_fault_anywhere_in_sql_changes_nothing() {
        fail_everywhere("spi");
    }
}
