//! The same of the history of accounts.

use neobank_model::world::World;
use neobank_sessions::*;

/// Changes and corrections, for damages to be done to.
pub fn fill(bank: &mut Bank, world: &World) {
    let account = world.places[1].id;
    bank.status(account, "dormant");
    bank.db.run(&format!("select banking.set_overdraft_limit('{account}', 120, 'r')"));
    bank.status(account, "active");
    bank.db.run(&format!(
        "select temporal.correct('{account}', '2001-01-01', null, '{{\"account_number\": \"OLD\"}}', 'r')"
    ));
}

pub fn damages(world: &World) -> Vec<(String, &'static str)> {
    let periods = "temporal.account_periods";
    let loose = format!(
        "alter table {periods} drop constraint account_periods_apart, drop constraint account_periods_valid_check, \
         drop constraint account_periods_transaction_check, drop constraint account_periods_recorded_check;"
    );
    let of = format!("account_id = '{}'", world.places[1].id);
    let known = format!("{of} and transaction_to is null and valid_to is not null");
    let present = format!("{of} and transaction_to is null and valid_to is null");
    let again = "account_id, customer_id, valid_from, valid_to, transaction_from, transaction_to, account_status, \
                 overdraft_limit, account_type, account_number";
    let overlap = "overlap on both axes";
    let empty = "neither empty nor recorded";
    let gap = "leaves no gap";
    vec![
        (format!("{loose} insert into {periods} ({again}) select {again} from {periods} where {known} limit 1"), overlap),
        (format!("{loose} update {periods} set transaction_to = null where {of}"), overlap),
        (format!("{loose} update {periods} set valid_to = valid_from where {known}"), empty),
        (format!("{loose} update {periods} set transaction_to = transaction_from where {of} and transaction_to is not null"), empty),
        (format!("{loose} update {periods} set transaction_from = valid_from - interval '1 hour' where {known}"), empty),
        (format!("delete from {periods} where {known} and overdraft_limit = 120"), gap),
        (format!("delete from {periods} where {present}"), gap),
        (format!("update {periods} set transaction_to = transaction_from + interval '1 ms' where {of} and transaction_to is null"), gap),
        (format!("update {periods} set overdraft_limit = 121 where {present}"), "the present is what the account is"),
        (format!("alter table banking.accounts disable trigger record_account; \
                  update banking.accounts set account_number = 'NEW' where {of}"), "the present is what the account is"),
        (format!("{loose} update {periods} set transaction_to = transaction_to + interval '1 microsecond' where {of} and transaction_to is not null"),
         "replaced as it ended"),
        (format!("{loose} delete from {periods} where {of} and valid_to is null and transaction_to is not null"), "had a present"),
        (format!("update {periods} set change_reason = 'another' where {of}"), "began a period"),
        ("insert into banking.account_status_changes select account_id, changed_at, change, old_value, '7', reason, changed_by \
          from banking.account_status_changes where change = 'overdraft_limit'".to_owned(), "began a period"),
    ]
}
