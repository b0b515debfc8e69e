//! Holds the state of the model against the tables.

use crate::answer::{agree, figure_in};
use crate::state::{Account, Party, State};
use crate::world::CURRENCIES;
use neobank_sessions::{Ask, Client, Decimal, Uuid};
use std::collections::HashMap;

/// Of every account of a customer, all that the model knows of it.
const CUSTOMERS: &str = "select account_id, account_status, overdraft_limit, balance_mode, current_balance, \
     available_balance from banking.account_balances where customer_id is not null";

/// Debits less credits of the bank's own accounts that moved.
const OWN: &str = "select account_type, currency_code, \
     sum(case normal_side when 'D' then current_balance else -current_balance end) \
     from banking.account_balances where customer_id is null group by 1, 2";

fn same_account(columns: &[&str], account: &Account) -> Result<(), String> {
    agree("status", columns[1], account.status)?;
    agree("overdraft limit", figure_in(columns[2]), Some(account.limit))?;
    agree("balance mode", columns[3] == "slotted", account.slotted)?;
    agree("balance", figure_in(columns[4]), Some(account.balance))?;
    agree("available balance", figure_in(columns[5]), Some(account.available_balance()))
}

/// Each account is as the model says. Sees what the session sees, so within its transaction too.
pub fn compare_accounts(session: &mut Client, state: &State) -> Result<(), String> {
    let customers: HashMap<&Uuid, &Account> = state.accounts().collect();
    let lines = session.lines(CUSTOMERS);
    agree("accounts of customers", lines.len(), customers.len())?;
    for line in &lines {
        let columns: Vec<&str> = line.split('|').collect();
        let id: Uuid = columns[0].parse().map_err(|e| format!("{e}: {line}"))?;
        let account = customers.get(&id).ok_or(format!("{id} is not known"))?;
        same_account(&columns, account).map_err(|error| format!("{error}, of {id}: {account:?}"))?;
    }
    let own: HashMap<(&str, &str), Decimal> = state.own_accounts().map(|(key, balance)| (*key, *balance)).collect();
    for line in session.lines(OWN) {
        let columns: Vec<&str> = line.split('|').collect();
        let predicted = own.get(&(columns[0], columns[1])).copied().unwrap_or_default();
        agree(&line, figure_in(columns[2]), Some(predicted))?;
    }
    Ok(())
}

/// The numbers of an account's postings, or of those of one of its slots, ascend in the order of the model.
fn ascend(last: &mut HashMap<(String, i64), i64>, account: &str, number: &str) -> Result<(), String> {
    let number: i64 = number.parse().map_err(|e| format!("{e}: {number}"))?;
    let before = last.insert((account.to_owned(), number >> 48), number).unwrap_or(0);
    agree(&format!("number {number} of {account} comes after {before}"), number > before, true)
}

/// Every posting is in the ledger as the model made it, and there is no other: accounts, amounts, and the balances
/// after it.
pub fn compare_ledger(session: &mut Client, state: &State) -> Result<(), String> {
    let rows = session.lines(
        "select transaction_id || ' ' || leg, amount, transaction_type, \
         case when debit_sequence < 1::bigint << 48 then debit_balance end, \
         case when credit_sequence < 1::bigint << 48 then credit_balance end, \
         debit_account, debit_sequence, credit_account, credit_sequence \
         from txn_processing.movements where description is distinct from 'Opening deposit'",
    );
    agree("postings in the ledger", rows.len(), state.applied().len())?;
    let key = |row: &String| row.split('|').next().unwrap_or_default().to_owned();
    let rows: HashMap<String, String> = rows.into_iter().map(|row| (key(&row), row)).collect();
    let mut last = HashMap::new();
    for leg in state.applied() {
        let Some(transaction) = leg.transaction else { continue };
        let name = format!("{transaction} {}", leg.leg);
        let row = rows.get(&name).ok_or(format!("{leg:?} is not in the ledger"))?;
        let columns: Vec<&str> = row.split('|').collect();
        let seen = (figure_in(columns[1]), columns[2], figure_in(columns[3]), figure_in(columns[4]));
        agree(&name, seen, (Some(leg.amount), leg.posted_as, leg.debit.1, leg.credit.1))?;
        for (party, account, number) in [(leg.debit.0, columns[5], columns[6]), (leg.credit.0, columns[7], columns[8])]
        {
            // The bank's own have slots, on which postings that do not conflict go on side by side.
            if let Party::Customer(id) = party {
                agree(&name, account, &id.to_string())?;
                ascend(&mut last, account, number)?;
            }
        }
    }
    for (currency, _) in CURRENCIES {
        let waits = format!(
            "select coalesce(sum(residue), 0) from txn_processing.fx_residues where currency_code = '{currency}'"
        );
        agree("residues that wait", session.money(&waits), state.residue(currency))?;
    }
    Ok(())
}

/// Settles today and holds the nets against what the model has in clearing: nothing is left there then.
pub fn compare_settlement(session: &mut Client, state: &State) -> Result<(), String> {
    for (currency, _) in CURRENCIES {
        let settle = format!(
            "select counterparty_bank, outgoing, incoming \
             from txn_processing.settle((now() at time zone 'UTC')::date, '{currency}')"
        );
        let mut seen: Vec<(String, Option<Decimal>, Option<Decimal>)> = Vec::new();
        for line in session.lines(&settle) {
            let columns: Vec<&str> = line.split('|').collect();
            seen.push((columns[0].to_owned(), figure_in(columns[1]), figure_in(columns[2])));
        }
        let waits = state.clearing().filter(|((_, of), _)| *of == currency);
        let mut wanted: Vec<_> =
            waits.map(|((bank, _), (out, incoming))| (bank.to_string(), Some(*out), Some(*incoming))).collect();
        seen.sort();
        wanted.sort();
        agree(&format!("settlement of {currency}"), seen, wanted)?;
    }
    let left = "select coalesce(sum(abs(current_balance)), 0) from banking.account_balances \
                where account_type = 'payments_clearing'";
    agree("what settlement leaves in clearing", session.money(left), Decimal::ZERO)
}
