//! The ledger from inside one transaction.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use super::*;

    fn one<T: pgrx::FromDatum + pgrx::IntoDatum>(sql: &str) -> T {
        Spi::get_one(sql).expect("the statement runs").expect("not null")
    }

    fn account(opening: &str, options: &str) -> String {
        one(&format!(
            "SELECT banking.open_account(
                 banking.create_customer('Ada', 'Byron', 'ada@example.org', '+44', '1815-12-10'),
                 opening_deposit => {opening}{options})::text"
        ))
    }

    fn balance(account: &str) -> String {
        one(&format!("SELECT current_balance::text FROM banking.accounts WHERE account_id = '{account}'"))
    }

    /// SQLSTATE and message that a statement raises.
    fn refusal(sql: &str) -> (String, String) {
        let quoted = sql.replace('\'', "''");
        Spi::run(
            "CREATE OR REPLACE FUNCTION pg_temp.attempt(sql text) RETURNS text LANGUAGE plpgsql AS
             $$BEGIN EXECUTE sql; RETURN 'none|';
               EXCEPTION WHEN OTHERS THEN RETURN sqlstate || '|' || sqlerrm; END$$",
        )
        .expect("the helper is made");
        let answer: String = one(&format!("SELECT pg_temp.attempt('{quoted}')"));
        let (state, message) = answer.split_once('|').expect("two parts");
        (state.to_owned(), message.to_owned())
    }

    #[pg_test]
    fn every_type_of_posting_moves_what_it_says() {
        let (a, b) = (account("100", ""), account("0", ""));
        let post = |call: &str| -> String { one(&format!("SELECT txn_processing.{call}::text")) };
        post(&format!("transfer('{a}', '{b}', 40)"));
        post(&format!("withdraw('{a}', 10)"));
        let payment = post(&format!("pay('{a}', 20)"));
        post(&format!("charge_fee('{a}', 1.50)"));
        post(&format!("credit_interest('{b}', 0.25)"));
        post(&format!("refund('{payment}', 5)"));
        post(&format!("adjust('{b}', -0.25, 'interest booked twice')"));
        let wrong = post(&format!("deposit('{b}', 7)"));
        post(&format!("reverse('{wrong}', 'counted wrongly')"));
        assert_eq!(balance(&a), "33.50");
        assert_eq!(balance(&b), "40.00");
        let even: bool = one("SELECT sum(debits) = sum(credits) FROM txn_processing.trial_balance()");
        assert!(even);
        let off: i64 =
            one("SELECT count(*) FROM txn_processing.daily_reconciliation() WHERE status <> 'Balanced'");
        assert_eq!(off, 0);
    }

    #[pg_test]
    fn refusals_carry_their_own_sqlstate() {
        let (a, b) = (account("10", ""), account("0", ", currency => 'JPY'"));
        let nobody = "00000000-0000-4000-8000-000000000000";
        for (call, state) in [
            (format!("transfer('{a}', '{b}', 1)"), "NB004"),
            (format!("transfer('{a}', '{a}', 1)"), "NB006"),
            (format!("transfer('{a}', '{nobody}', 1)"), "NB002"),
            (format!("withdraw('{a}', 10.01)"), "NB001"),
            (format!("withdraw('{a}', 0.001)"), "NB005"),
            (format!("withdraw('{a}', 'NaN')"), "NB005"),
            (format!("withdraw('{a}', 'Infinity')"), "NB005"),
            (format!("withdraw('{a}', 0)"), "NB005"),
            (format!("withdraw('{a}', -1)"), "NB005"),
            (format!("deposit('{a}', 1000000000000000001)"), "NB005"),
            (format!("deposit('{b}', 0.5)"), "NB005"),
            (format!("withdraw('{a}', null)"), "22004"),
            (format!("reverse('{nobody}', 'x')"), "NB008"),
            (format!("adjust('{a}', 1, ' ')"), "NB021"),
            (format!("deposit('{a}', 1, metadata => '[]')"), "NB021"),
            (format!("deposit('{a}', 1, effective_at => now() + interval '1 day')"), "NB022"),
        ] {
            assert_eq!(refusal(&format!("SELECT txn_processing.{call}")).0, state, "{call}");
        }
        assert_eq!(balance(&a), "10.00");
        assert_eq!(refusal("UPDATE banking.accounts SET current_balance = 0").0, "NB010");
        assert_eq!(refusal("DELETE FROM txn_processing.movements").0, "NB009");
    }

    // An error of the server inside our own statements once lost its SQLSTATE and constraint on the way out.
    #[pg_test]
    fn errors_of_the_server_pass_through_unchanged() {
        Spi::run(
            "CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$BEGIN RAISE EXCEPTION 'not on sundays' USING ERRCODE = 'XY123'; END$$;
             CREATE TRIGGER refuse BEFORE INSERT ON banking.customers
                 FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse()",
        )
        .expect("the trigger is made");
        let seen = refusal("SELECT banking.create_customer('A', 'B')");
        assert_eq!(seen, ("XY123".to_owned(), "not on sundays".to_owned()));
    }

    #[pg_test]
    fn a_retry_is_answered_and_other_content_refused() {
        let (a, b) = (account("50", ""), account("0", ""));
        let call = format!("txn_processing.transfer('{a}', '{b}', 50, transaction_id => '{a}')::text");
        let first: String = one(&format!("SELECT {call}"));
        let again: String = one(&format!("SELECT {call}"));
        assert_eq!(first, again);
        assert_eq!(balance(&a), "0.00");
        let other = call.replace(", 50,", ", 49,");
        assert_eq!(refusal(&format!("SELECT {other}")).0, "NB007");
    }
}
