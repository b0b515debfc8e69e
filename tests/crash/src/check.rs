//! What the clients wrote down against what stands in the tables.

use crate::request::{Entry, Standing};
use neobank_sessions::{Ask, Client};
use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

/// Every fact that the tables hold, in the words in which it was asked for. Postings of the queue, of payment batches and
/// of opening deposits have ids that no client chose; the first two have rules of their own below.
const FACTS: [&str; 8] = [
    "select concat_ws(' ', 'movement', m.transaction_id, leg, transaction_type, debit_account, credit_account,
            trim_scale(m.amount), coalesce(reverses::text, '-'))
     from txn_processing.movements m
     where not exists (select from txn_processing.transaction_queue q where q.transaction_id = m.transaction_id)
       and not exists (select from txn_processing.payment_batch_items i where i.transaction_id = m.transaction_id)
       and not exists (select from banking.accounts a where a.account_id = m.credit_account and a.account_number like 'N-%')",
    "select concat_ws(' ', 'opening', a.account_number, trim_scale(m.amount))
     from banking.accounts a left join txn_processing.movements m on m.credit_account = a.account_id
     where a.account_number like 'N-%'",
    "select concat_ws(' ', 'receipt', receipt_id) from public.receipts",
    "select concat_ws(' ', 'hold', hold_id, account_id, trim_scale(amount)) from txn_processing.holds",
    "select concat_ws(' ', 'released', hold_id) from txn_processing.holds where state = 'released'",
    "select concat_ws(' ', 'capture', hold_id, transaction_id, trim_scale(amount)) from txn_processing.hold_captures",
    "select concat_ws(' ', 'request', idempotency_key, transaction_type, coalesce(source_account_id::text, '-'),
            coalesce(destination_account_id::text, '-'), trim_scale(amount))
     from txn_processing.transaction_queue
     union all
     select concat_ws(' ', 'completed', request_id, transaction_id)
     from txn_processing.transaction_queue where status = 'completed'",
    "select concat_ws(' ', 'batch', idempotency_key,
            (select count(*) from txn_processing.payment_batch_items i where i.batch_id = b.batch_id))
     from txn_processing.payment_batches b",
];

/// Rules of what the clients asked for and others carried out. No row may come.
const RULES: [(&str, &str); 4] = [
    (
        "a completed request of the queue is one posting of its content",
        "select request_id from txn_processing.transaction_queue q where status = 'completed' and 1 <> (
           select count(*) from txn_processing.movements m
           where m.transaction_id = q.transaction_id and m.transaction_type = q.transaction_type
             and m.amount = q.amount
             and (q.source_account_id is null or m.debit_account = q.source_account_id)
             and (q.destination_account_id is null or m.credit_account = q.destination_account_id))
         union all
         select request_id from txn_processing.transaction_queue
         where (status = 'completed') <> (transaction_id is not null)",
    ),
    (
        "no posting belongs to two requests",
        "select transaction_id from (
           select transaction_id from txn_processing.transaction_queue where transaction_id is not null
           union all select transaction_id from txn_processing.payment_batch_items where status = 'completed') t
         group by 1 having count(*) > 1",
    ),
    (
        "a request was completed in one attempt",
        "select request_id from txn_processing.transaction_queue q
         where (select count(*) from txn_processing.transaction_queue_attempts a
                where a.request_id = q.request_id and a.outcome = 'completed')
               <> case q.status when 'completed' then 1 else 0 end",
    ),
    (
        "an item of a payment batch is posted if and only if it is completed",
        "select batch_id, item_no from txn_processing.payment_batch_items i
         where case status when 'completed' then 1 else 0 end <> (
           select count(*) from txn_processing.movements m
           where m.transaction_id = i.transaction_id and m.amount = i.amount and m.debit_account = i.from_account)",
    ),
];

/// What the clients' journals and the tables disagree about: nothing, if all is well. `first` are the facts that were
/// there before the clients came.
pub fn check<'a>(
    db: &mut Client,
    first: &HashMap<String, u32>,
    journals: impl Iterator<Item = &'a Entry>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut there = facts(db);
    for (fact, times) in &there {
        if *times > 1 {
            faults.push(format!("{times} times: {fact}"));
        }
    }
    for fact in first.keys() {
        if there.remove(fact).is_none() {
            faults.push(format!("missing, of before: {fact}"));
        }
    }
    for entry in journals {
        for (group, standing) in entry.request.facts.iter().zip(&entry.standings) {
            let found = group.iter().filter(|fact| there.contains_key(*fact)).count();
            let label = entry.request.label;
            match standing {
                Standing::Acknowledged if found < group.len() => {
                    faults.push(format!("acknowledged, and missing: {label}: {group:?}"));
                }
                Standing::Refused if found > 0 => faults.push(format!("refused, and there: {label}: {group:?}")),
                Standing::Open if found > 0 && found < group.len() => {
                    faults.push(format!("half of it is there: {label}: {group:?}"));
                }
                _ => {}
            }
            for fact in group {
                there.remove(fact);
            }
        }
    }
    let nobodys = there.keys().filter(|fact| !fact.starts_with("completed "));
    faults.extend(nobodys.map(|fact| format!("nobody asked for it: {fact}")));
    for (rule, query) in RULES {
        faults.extend(db.lines(query).iter().map(|row| format!("{rule}: {row}")));
    }
    faults
}

/// Every fact, and how often it is there.
pub fn facts(db: &mut Client) -> HashMap<String, u32> {
    let mut facts = HashMap::new();
    for query in FACTS {
        for line in db.lines(query) {
            *facts.entry(line).or_default() += 1;
        }
    }
    facts
}

/// Waits until the workers have carried out every request of the queue.
pub fn drained(db: &mut Client) {
    let until = Instant::now() + Duration::from_secs(120);
    let left = "select count(*) from txn_processing.transaction_queue where status = 'queued'";
    while db.count(left) > 0 {
        assert!(Instant::now() < until, "{} requests are left in the queue", db.count(left));
        thread::sleep(Duration::from_millis(20));
    }
}
