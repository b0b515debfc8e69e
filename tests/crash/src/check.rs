//! What the clients wrote down against what stands in the tables.

use crate::request::{Entry, Standing};
use neobank_sessions::{Ask, Client};
use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

/// Every fact that the tables hold, in the words in which it was asked for. Postings of the queue, of payment batches and
/// of opening deposits have ids that no client chose; the first two have rules of their own below.
const FACTS: [&str; 15] = [
    "select concat_ws(' ', 'movement', m.transaction_id, leg, transaction_type, debit_account, credit_account,
            coalesce(reverses::text, '-'), trim_scale(m.amount))
     from txn_processing.movements m
     where not exists (select from txn_processing.transaction_queue q where q.transaction_id = m.transaction_id)
       and not exists (select from txn_processing.payment_batch_items i where i.transaction_id = m.transaction_id)
       and not exists (select from txn_processing.hold_captures c where c.transaction_id = m.transaction_id)
       and not exists (select from txn_processing.dispute_postings d where d.transaction_id = m.transaction_id)
       and not exists (select from txn_processing.settlements s where s.transaction_id = m.transaction_id)
       and not exists (select from txn_processing.fx_sweeps s where s.transaction_id = m.transaction_id)
       and not exists (select from txn_processing.interest_capitalisations c where c.transaction_id = m.transaction_id)
       and not exists (select from txn_processing.fees_charged f where f.fee_transaction = m.transaction_id and f.fee_leg = m.leg)
       and not exists (select from cqrs.commands c where c.command_id = m.transaction_id)
       and not exists (select from public.saga_effects e where e.effect_id = m.transaction_id)
       and not exists (select from banking.accounts a where a.account_id = m.credit_account and a.account_number like 'N-%')",
    "select concat_ws(' ', 'fee', transaction_id, fee_code) from txn_processing.fees_charged where transaction_id is not null",
    "select concat_ws(' ', 'opening', a.account_number, trim_scale(m.amount))
     from banking.accounts a left join txn_processing.movements m
       on m.credit_account = a.account_id and m.description = 'Opening deposit'
     where a.account_number like 'N-%'",
    "select concat_ws(' ', 'receipt', receipt_id) from public.receipts",
    "select concat_ws(' ', 'hold', hold_id, account_id, trim_scale(amount)) from txn_processing.holds",
    "select concat_ws(' ', 'released', hold_id) from txn_processing.holds where state = 'released'",
    "select concat_ws(' ', 'capture', hold_id, transaction_id, trim_scale(amount)) from txn_processing.hold_captures",
    "select concat_ws(' ', 'dispute', dispute_id, transaction_id) from txn_processing.disputes
     union all
     select concat_ws(' ', 'resolved', dispute_id, state) from txn_processing.disputes where state <> 'open'",
    "select concat_ws(' ', 'event', event_id, aggregate_id, aggregate_type, event_type, event_data, metadata,
            coalesce(to_json(tags)::text, '-'))
     from event_store.events
     where aggregate_type not like 'Ledger%' and event_id not in (select event_id from cqrs.command_events)",
    "select concat_ws(' ', 'command', command_id, command_type, aggregate_type, aggregate_id,
            trim_scale((payload ->> 'amount')::numeric))
     from cqrs.commands",
    "select concat_ws(' ', 'told', event_id, token) from public.told",
    "select concat_ws(' ', 'saga', idempotency_key, saga_type) from saga.sagas where idempotency_key is not null
     union all
     select concat_ws(' ', 'signal', signal_id, saga_id, payload ->> 'figure') from saga.signals where payload ? 'figure'
     union all
     select concat_ws(' ', 'answered', step_id, token) from public.saga_answers",
    "select distinct concat_ws(' ', 'limit', account, kind, mark) from (
         select account, kind, mark from public_history.limits_current
         union all select account, kind, mark from public_history.limits_past
         union all select account, kind, mark from public_history.limits_superseded) h
     where mark is not null",
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
const RULES: [(&str, &str); 6] = [
    (
        "a completed request of the queue is one posting of its content",
        "select request_id from txn_processing.transaction_queue q
         where status = 'completed' and transaction_type <> 'reversal' and 1 <> (
           select count(*) from txn_processing.movements m
           where m.transaction_id = q.transaction_id and m.transaction_type = q.transaction_type
             and (q.transaction_type = 'adjustment'
                  or m.amount = q.amount
                     and (q.source_account_id is null or m.debit_account = q.source_account_id)
                     and (q.destination_account_id is null or m.credit_account = q.destination_account_id)))
         union all
         -- An exchange is given back leg by leg.
         select request_id from txn_processing.transaction_queue q
         where status = 'completed' and transaction_type = 'reversal' and (
           select count(*) from txn_processing.movements m
           where m.transaction_id = q.transaction_id and m.transaction_type = 'reversal'
             and m.reverses = (q.request_data ->> 'original_transaction_id')::uuid)
           not between 1 and (select count(*) from txn_processing.movements o
                              where o.transaction_id = (q.request_data ->> 'original_transaction_id')::uuid)
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
    (
        "interest is capitalised in one posting per account and day",
        "select account_id from txn_processing.interest_capitalisations c
         where amount <> 0 and 1 <> (
           select count(*) from txn_processing.movements m
           where m.transaction_id = c.transaction_id and m.amount = abs(c.amount)
             and c.account_id in (m.debit_account, m.credit_account))",
    ),
    (
        "a fee is one posting of its amount",
        "select fee_transaction from txn_processing.fees_charged f
         where 1 <> (select count(*) from txn_processing.movements m
                     where m.transaction_id = f.fee_transaction and m.leg = f.fee_leg and m.amount = f.amount
                       and m.debit_account = f.account_id)",
    ),
];

/// Facts as the tables hold them, found by all their words but the last too.
struct There {
    facts: HashMap<String, u32>,
    openings: HashMap<String, String>,
}

impl There {
    fn new(facts: HashMap<String, u32>) -> There {
        let starred = |fact: &&String| ["movement ", "capture "].iter().any(|kind| fact.starts_with(kind));
        let opening = |fact: &String| (fact.rsplit_once(' ').expect("several words").0.to_owned(), fact.clone());
        let openings = facts.keys().filter(starred).map(opening).collect();
        There { facts, openings }
    }

    fn find<'a>(&'a self, fact: &'a str) -> Option<&'a str> {
        let fact = fact.strip_suffix(" *").map_or(Some(fact), |opening| self.openings.get(opening).map(String::as_str));
        fact.filter(|fact| self.facts.contains_key(*fact))
    }
}

/// Whether each of them is there.
pub fn are_there<'a>(there: &HashMap<String, u32>, facts: impl Iterator<Item = &'a String>) -> Vec<bool> {
    let there = There::new(there.clone());
    facts.map(|fact| there.find(fact).is_some()).collect()
}

/// What the clients' journals and the tables disagree about: nothing, if all is well. `first` are the facts that were
/// there before the clients came.
pub fn check<'a>(
    db: &mut Client,
    first: &HashMap<String, u32>,
    journals: impl Iterator<Item = &'a Entry>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut there = There::new(facts(db));
    for (fact, times) in &there.facts {
        if *times > 1 {
            faults.push(format!("{times} times: {fact}"));
        }
    }
    for fact in first.keys() {
        if there.facts.remove(fact).is_none() {
            faults.push(format!("missing, of before: {fact}"));
        }
    }
    for entry in journals {
        for (group, standing) in entry.request.facts.iter().zip(&entry.standings) {
            let found: Vec<String> = group.iter().filter_map(|fact| there.find(fact)).map(str::to_owned).collect();
            let label = entry.request.label;
            match standing {
                Standing::Acknowledged if found.len() < group.len() => {
                    faults.push(format!("acknowledged, and missing: {label}: {group:?}"));
                }
                Standing::Refused if !found.is_empty() => {
                    faults.push(format!("refused, and there: {label}: {group:?}"))
                }
                Standing::Open if !found.is_empty() && found.len() < group.len() => {
                    faults.push(format!("half of it is there: {label}: {group:?}"));
                }
                _ => {}
            }
            for fact in found {
                there.facts.remove(&fact);
            }
        }
    }
    // Whoever was answered nothing may have been told of events as well, when its lease was settled at rest;
    // and steps are answered there too.
    let known = |fact: &str| ["completed ", "told ", "answered "].iter().any(|kind| fact.starts_with(kind));
    let nobodys = there.facts.keys().filter(|fact| !known(fact));
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
