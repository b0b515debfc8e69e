//! A real bank's standing orders to other banks, as one batch that is killed half-way, resumed and settled.

use neobank_sessions::*;
use std::fs;
use std::io::Write;
use std::thread;

#[test]
fn all_standing_orders_are_paid_once_and_settled_to_zero() {
    let path = repository_root().join("../shared/data/berka/standing_orders.csv");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => return skipped("standing orders of a real bank", &format!("{}: {error}", path.display())),
    };
    let mut bank = Bank::new();
    bank.db.run(
        "create table standing_order (order_id int primary key, account int, bank_to text, account_to text, \
         amount numeric, category text); create table known (account int primary key, account_id uuid)",
    );
    let columns = "order_id, account, bank_to, account_to, amount, category";
    let mut copy = bank
        .db
        .copy_in(&format!("copy standing_order ({columns}) from stdin (format csv, header match)"))
        .expect("COPY starts");
    copy.write_all(&bytes).expect("COPY takes the file");
    copy.finish().expect("COPY ends");
    assert_eq!(bank.db.count("select count(*) from standing_order"), 6_471);
    // Each account can pay all of its orders, but for every hundredth, which is a crown short.
    bank.db.run(
        "insert into known select account, banking.open_account(banking.create_customer('Account', account::text), \
         'checking', 'CZK', sum(amount) - (account % 100 = 0)::int) from standing_order group by account order by 1",
    );
    let creation = "select txn_processing.create_payment_batch((select jsonb_agg(jsonb_strip_nulls(jsonb_build_object( \
         'from_account', k.account_id, 'counterparty_bank', s.bank_to, 'counterparty_account', s.account_to, \
         'amount', s.amount, 'external_id', s.order_id::text, 'description', s.category)) order by s.order_id) \
         from standing_order s join known k using (account)), 'standing orders', 'of one month')";
    let batch = bank.db.id(creation);
    assert_eq!(bank.db.id(creation), batch, "handed in again, it is the same batch");

    // The session dies while it waits within a chunk: what it committed stands, the rest is pending.
    let mut holder = bank.session();
    holder.run("begin");
    holder.run(
        "select txn_processing.deposit(account_id, 1) from known \
         where account = (select account from standing_order order by order_id offset 3000 limit 1)",
    );
    let mut worker = bank.session();
    let backend = Bank::backend_of(&mut worker);
    let call = format!("call txn_processing.run_payment_batch('{batch}', 250)");
    let sql = call.clone();
    let killed = thread::spawn(move || worker.try_lines(&sql).is_err());
    bank.wait_until_blocked(backend);
    bank.db.run(&format!("select pg_terminate_backend({backend})"));
    assert!(killed.join().expect("the session ends"));
    holder.run("rollback");
    let totals = "select status, total_items, pending_items, completed_items + failed_items, \
         total_items = pending_items + completed_items + failed_items + cancelled_items, \
         total_amount = pending_amount + completed_amount + failed_amount + cancelled_amount, \
         total_amount = (select sum(amount) from standing_order) from txn_processing.payment_batches_status";
    assert_eq!(bank.db.one(totals), "processing|6471|3471|3000|t|t|t");

    bank.db.run(&call);
    let short = bank.db.count("select count(distinct account) from standing_order where account % 100 = 0");
    assert!(short > 10, "{short}");
    assert_eq!(bank.db.one(totals), "completed_with_errors|6471|0|6471|t|t|t");
    let errors = "select count(*), bool_and(error_code = 'insufficient_funds'), max(attempts) \
                  from txn_processing.payment_batch_errors";
    assert_eq!(bank.db.one(errors), format!("{short}|t|1"));
    bank.db.run("select txn_processing.deposit(account_id, 1) from known where account % 100 = 0");
    assert_eq!(bank.db.count(&format!("select txn_processing.retry_payment_batch('{batch}')")), short);
    bank.db.run(&call);
    assert_eq!(bank.db.one(totals), "completed|6471|0|6471|t|t|t");
    let payments = "select count(*), count(distinct transaction_id), sum(amount) = (select sum(amount) from standing_order) \
                    from txn_processing.movements where transaction_type = 'payment'";
    assert_eq!(bank.db.one(payments), "6471|6471|t");
    assert_eq!(
        bank.db
            .count("select count(*) from known k join banking.accounts using (account_id) where current_balance <> 0"),
        0
    );

    let settled = "select count(*) from txn_processing.settle((now() at time zone 'UTC')::date, 'CZK')";
    let banks = bank.db.count("select count(distinct bank_to) from standing_order");
    assert!(banks > 10, "{banks}");
    assert_eq!(bank.db.count(settled), banks);
    let off = bank.db.lines(
        "select counterparty_bank from (select bank_to as counterparty_bank, count(*) as payments, sum(amount) as net \
           from standing_order group by 1) f full join txn_processing.settlement_report r \
           using (counterparty_bank, payments, net) where f.net is null or r.net is null or r.incoming <> 0",
    );
    assert_eq!(off, [""; 0], "counterparties whose settlement is not the sum of the file");
    let (clearing, nostro) = (bank.internal("payments_clearing", "CZK"), bank.internal("nostro", "CZK"));
    assert_eq!(bank.db.balance(clearing), dec("0"));
    let sum = bank.db.money("select -sum(amount) from standing_order");
    assert_eq!(bank.db.balance(nostro), sum);
    audit(&mut bank.db);
}
