//! Direct access and SQL must leave the same rows behind and refuse the same things.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use super::*;

    /// The same pseudo-random postings over five accounts of its own, all by one path; the answers in order.
    const RUN: &str = "
        CREATE FUNCTION pg_temp.run(path text, seed double precision) RETURNS text[] LANGUAGE plpgsql AS $$
        DECLARE
            accounts uuid[];
            answers text[] := '{}';
            answer jsonb;
        BEGIN
            PERFORM set_config('neobank.posting_path', path, true), setseed(seed);
            SELECT array_agg(banking.open_account(
                       banking.create_customer('P', path), opening_deposit => 100, overdraft_limit => n * 10,
                       currency => CASE n WHEN 5 THEN 'EUR' ELSE 'USD' END) ORDER BY n)
            INTO accounts FROM generate_series(1, 5) n;
            PERFORM banking.set_account_status(accounts[4], 'dormant', 'test');
            FOR i IN 1 .. 400 LOOP
                answer := CASE (random() * 3)::int
                    WHEN 0 THEN txn_processing.execute_deposit(NULL, 'R' || i, accounts[1 + (random() * 4)::int],
                                    (random() * 20)::numeric(9,2), NULL, jsonb_build_object('i', i))
                    WHEN 1 THEN txn_processing.execute_withdrawal(NULL, NULL, accounts[1 + (random() * 4)::int],
                                    (random() * 60)::numeric(9,2), 'USD', NULL)
                    ELSE txn_processing.execute_transfer(NULL, NULL, accounts[1 + (random() * 4)::int],
                                    accounts[1 + (random() * 4)::int], (random() * 60)::numeric(9,3), NULL, '{}')
                END;
                answers := answers || concat_ws('|', answer ->> 'code', answer ->> 'from_balance', answer ->> 'to_balance');
            END LOOP;
            RETURN answers || (
                SELECT array_agg(concat_ws('|', array_position(accounts, m.debit_account),
                           array_position(accounts, m.credit_account), m.transaction_type, m.amount, m.leg,
                           m.currency_code, m.reference, m.metadata, m.created_by, m.tenant_no,
                           CASE WHEN m.debit_account = ANY (accounts) THEN m.debit_sequence || ' ' || m.debit_balance END,
                           CASE WHEN m.credit_account = ANY (accounts) THEN m.credit_sequence || ' ' || m.credit_balance END)
                       ORDER BY m.transaction_id)
                FROM txn_processing.movements m
                WHERE m.debit_account = ANY (accounts) OR m.credit_account = ANY (accounts));
        END $$";

    fn run(path: &str, seed: f64) -> Vec<String> {
        let sql = format!("SELECT pg_temp.run('{path}', {seed})");
        Spi::get_one::<Vec<String>>(&sql).expect("it runs").expect("not null")
    }

    #[pg_test]
    fn both_paths_write_the_same_rows() {
        Spi::run(RUN).expect("the helper is made");
        for seed in [0.1, 0.42, -0.7] {
            let (direct, spi) = (run("auto", seed), run("spi", seed));
            assert!(
                direct.len() > 500 && direct.iter().any(|answer| answer.starts_with("insufficient_funds"))
            );
            assert_eq!(direct, spi, "seed {seed}");
        }
    }

    // A trigger that a user hangs on the ledger was passed by when rows were written by direct access.
    #[pg_test]
    fn a_users_trigger_is_not_passed_by() {
        // The account first: tests that open the first of a currency wait for each other's, and one that holds the
        // lock of a table then would not let the other end.
        Spi::run(
            "CREATE TABLE pg_temp.payee AS SELECT banking.open_account(banking.create_customer('A', 'B')) AS id;
             CREATE TABLE pg_temp.seen (n int);
             CREATE FUNCTION pg_temp.see() RETURNS trigger LANGUAGE plpgsql AS
                 $$BEGIN INSERT INTO pg_temp.seen VALUES (1); RETURN NEW; END$$;
             CREATE TRIGGER see AFTER INSERT ON txn_processing.movements
                 FOR EACH ROW EXECUTE FUNCTION pg_temp.see()",
        )
        .expect("the trigger is made");
        Spi::run("SELECT txn_processing.deposit(id, 5), txn_processing.deposit(id, 1) FROM pg_temp.payee")
            .expect("it posts");
        let seen: Option<i64> = Spi::get_one("SELECT count(*) FROM pg_temp.seen").expect("it runs");
        assert_eq!(seen, Some(2));
    }
}
