//! The auditor: what is true of the tables at every moment, whatever was done. Its rules are SQL over tables only, and
//! call no function and no view of the extension. Those of accounts, postings, holds and limits are in the sessions'
//! crate; here are those of what is built upon them.
//!
//! A system that comes later adds a file with its rules, and its list to `RULES`.

use crate::cqrs::CQRS;
use crate::events::{EVENTS, PUBLISHED};
use crate::histories::HISTORIES;
use crate::sagas::SAGAS;
use crate::subscriptions::SUBSCRIPTIONS;
use crate::tables::TABLES;
use neobank_sessions::{Ask, Client, broken_rules};

/// What must hold, and a query that finds rows that break it.
pub type Rule = (&'static str, &'static str);

const LEDGER: &[Rule] = &[
    (
        "debits equal credits in each currency, posted",
        "select a.currency_code from (
           select debit_account as account_id, amount from txn_processing.movements
           union all select credit_account, -amount from txn_processing.movements) e
         join banking.accounts a using (account_id)
         group by 1 having sum(e.amount) <> 0",
    ),
    (
        "what accounts set aside is what open holds hold back, in each currency",
        "select currency_code from (
           select a.currency_code, sum(abs(a.current_balance - a.available_balance)) as aside
           from banking.accounts a where a.slots = 0 group by 1) a
         left join (
           select h.currency_code, sum(greatest(h.amount - h.captured, 0)) as most,
                  coalesce(sum(greatest(h.amount - h.captured, 0))
                           filter (where h.expires_at is null or h.expires_at > clock_timestamp()), 0) as least
           from txn_processing.holds h where h.state = 'open' group by 1) h using (currency_code)
         where a.aside not between coalesce(h.least, 0) and coalesce(h.most, 0)",
    ),
    (
        "nothing is held on a slotted account",
        "select h.hold_id from txn_processing.holds h join banking.accounts a using (account_id)
         where h.state = 'open' and a.slots > 0 and h.amount > h.captured
           and (h.expires_at is null or h.expires_at > clock_timestamp())",
    ),
    (
        "a posting is given back once, or refunded up to its amount",
        "select o.transaction_id from txn_processing.movements o
         join txn_processing.movements g on g.reverses = o.transaction_id and g.leg = o.leg
         where not (o.transaction_type = 'adjustment' and g.transaction_type = 'reversal' and o.reverses is not null)
         group by o.transaction_id, o.leg, o.amount
         having count(*) filter (where g.transaction_type = 'reversal') > 1
             or coalesce(sum(g.amount) filter (
                  where g.transaction_type = 'refund' and not exists (
                    select from txn_processing.movements r
                    where r.reverses = g.transaction_id and r.transaction_type = 'reversal')), 0)
                + coalesce(sum(g.amount) filter (where g.transaction_type = 'reversal'), 0) > o.amount",
    ),
    (
        "what is given back has the accounts of its original, swapped",
        "select g.transaction_id from txn_processing.movements g
         where g.transaction_type in ('refund', 'reversal') and not exists (
           select from txn_processing.movements o
           where o.transaction_id = g.reverses and o.leg = g.leg and o.debit_account = g.credit_account
             and o.credit_account = g.debit_account and g.amount <= o.amount
             and (g.transaction_type = 'refund' or g.amount = o.amount))",
    ),
    (
        "a debit that is bounded leaves no account below its limit, unless the limit was lowered",
        "select m.transaction_id from txn_processing.movements m
         join banking.accounts a on a.account_id = m.debit_account and a.customer_id is not null
         where m.transaction_type in ('transfer', 'withdrawal', 'payment', 'refund')
           and m.debit_sequence < 1::bigint << 48
           and case a.normal_side when 'D' then -m.debit_balance else m.debit_balance end
               < -greatest(a.overdraft_limit, (
                   select coalesce(max(greatest(c.old_value::numeric, c.new_value::numeric)), 0)
                   from banking.account_status_changes c
                   where c.account_id = a.account_id and c.change = 'overdraft_limit'))",
    ),
    (
        "an account spends no more in a day than the most it was ever allowed, since it was",
        "select l.account_id from banking.account_limits l
         cross join lateral (
           select sum(m.amount) as spent, max(m.amount) as largest from txn_processing.movements m
           where m.debit_account = l.account_id and m.transaction_type in ('transfer', 'withdrawal', 'payment')
             and m.created_at > l.set_at) s
         where l.account_id is not null and l.max_amount is not null
           and case l.period when 'transaction' then s.largest
                    when 'day' then case when l.set_at > (date_trunc('day', now() at time zone 'UTC') at time zone 'UTC') then s.spent end end
               > l.max_amount",
    ),
];

const DISPUTES: &[Rule] = &[
    (
        "what is on disputes is the provisional credit of the open ones",
        "select currency_code from (
           select a.currency_code, coalesce(a.current_balance, 0) + coalesce(
                  (select sum(s.balance) from banking.account_slots s where s.account_id = a.account_id), 0) as balance
           from banking.accounts a where a.customer_id is null and a.account_type = 'disputes') b
         left join (select currency_code, sum(amount) as credits from txn_processing.disputes
                    where state = 'open' and provisional group by 1) d using (currency_code)
         where b.balance <> coalesce(d.credits, 0)",
    ),
    (
        "a dispute that has ended leaves nothing of itself on disputes",
        "select p.dispute_id from txn_processing.dispute_postings p
         join txn_processing.disputes d on d.dispute_id = p.dispute_id
         join txn_processing.movements m on m.transaction_id = p.transaction_id and m.leg = p.leg
         join banking.accounts a on a.account_type = 'disputes' and a.customer_id is null
                                and a.account_id in (m.debit_account, m.credit_account)
         group by p.dispute_id, d.state, d.provisional, d.amount
         having sum(case a.account_id when m.debit_account then m.amount else -m.amount end)
                <> case when d.state = 'open' and d.provisional then d.amount else 0 end",
    ),
    (
        "disputes and what was given back are no more than the transaction",
        "select d.transaction_id from txn_processing.disputes d
         join txn_processing.movements m on m.transaction_id = d.transaction_id and m.leg = 1
         group by d.transaction_id, m.amount
         having sum(case d.state when 'open' then d.amount else d.final_amount end) > m.amount
             or count(*) filter (where d.state = 'open') > 1",
    ),
];

const EXCHANGES: &[Rule] = &[
    (
        "an exchange is two postings at its rate, and what rounding left",
        "select f.transaction_id from txn_processing.fx_transfers f
         left join txn_processing.movements a on a.transaction_id = f.transaction_id and a.leg = 1
         left join txn_processing.movements b on b.transaction_id = f.transaction_id and b.leg = 2
         where f.base_amount * f.rate <> f.quote_amount + f.residue
            or a.amount is distinct from abs(f.base_amount) or b.amount is distinct from abs(f.quote_amount)
            or a.currency_code <> f.base or b.currency_code <> f.quote
            or (f.reverses is null) <> (f.base_amount > 0)",
    ),
    (
        "each pair of legs in two currencies is an exchange",
        "select transaction_id from txn_processing.movements m
         group by 1 having count(distinct currency_code) > 1 and not exists (
           select from txn_processing.fx_transfers f where f.transaction_id = m.transaction_id)",
    ),
    (
        "what rounding left was swept or waits",
        "select tenant_no, currency_code from (
           select tenant_no, quote as currency_code, residue as left_over from txn_processing.fx_transfers
           union all select tenant_no, currency_code, -amount from txn_processing.fx_sweeps
           union all select tenant_no, currency_code, -residue from txn_processing.fx_residues) r
         group by 1, 2 having sum(left_over) <> 0",
    ),
    (
        "a position is the sum of its exchanges and sweeps",
        "select currency_code from (
           select a.currency_code, a.account_id,
                  coalesce(a.current_balance, (select sum(s.balance) from banking.account_slots s
                                               where s.account_id = a.account_id), 0) as balance
           from banking.accounts a where a.customer_id is null and a.account_type = 'fx_position'
             and a.tenant_no = 0) p
         where -p.balance <> coalesce((select sum(base_amount) from txn_processing.fx_transfers
                                       where base = p.currency_code and tenant_no = 0), 0)
               - coalesce((select sum(quote_amount) from txn_processing.fx_transfers
                           where quote = p.currency_code and tenant_no = 0), 0)
               - coalesce((select sum(amount) from txn_processing.fx_sweeps
                           where currency_code = p.currency_code and tenant_no = 0), 0)",
    ),
];

const QUEUE: &[Rule] = &[
    (
        "a request that is done has its posting, and no other has one",
        "select q.request_id from txn_processing.transaction_queue q
         where (q.status = 'completed') <> (q.transaction_id is not null) or q.status = 'processing'
            or (q.transaction_id is not null and not exists (
                  select from txn_processing.movements m where m.transaction_id = q.transaction_id
                    and m.transaction_type = q.transaction_type
                    and (q.transaction_type in ('adjustment', 'reversal') or m.amount = q.amount)
                    and (q.transaction_type = 'adjustment' or q.source_account_id is null
                         or m.debit_account = q.source_account_id)
                    and (q.transaction_type = 'adjustment' or q.destination_account_id is null
                         or m.credit_account = q.destination_account_id)))",
    ),
    (
        "a posting is of one request at the most, and a key of one",
        "select transaction_id::text from txn_processing.transaction_queue
         where transaction_id is not null group by 1 having count(*) > 1
         union all
         select idempotency_key from txn_processing.transaction_queue
         where idempotency_key is not null group by 1 having count(*) > 1",
    ),
    (
        "attempts are numbered, and the last one says what became of the request",
        "select request_id from txn_processing.transaction_queue q
         join (select request_id, count(*) as n, max(attempt) as last, count(*) filter (where outcome = 'completed') as done,
                      (array_agg(outcome order by attempt desc))[1] as outcome
               from txn_processing.transaction_queue_attempts group by 1) a using (request_id)
         where a.n <> a.last or a.done > 1
            or a.outcome <> case q.status when 'queued' then 'retry' else q.status end",
    ),
];

const CLEARING: &[Rule] = &[
    (
        "items of clearing are postings through payments_clearing",
        "select i.transaction_id from txn_processing.clearing_items i
         where not exists (
           select from txn_processing.movements m
           join banking.accounts a on a.customer_id is null and a.account_type = 'payments_clearing'
            and a.account_id = case i.direction when 'outgoing' then m.credit_account else m.debit_account end
           where m.transaction_id = i.transaction_id and m.leg = i.leg and m.amount = i.amount
             and m.currency_code = i.currency_code)",
    ),
    (
        "a settlement posts its net, which is that of its items",
        "select s.settlement_id from txn_processing.settlements s
         left join txn_processing.movements m on m.transaction_id = s.transaction_id
         where coalesce(m.amount, 0) <> abs(s.net) or s.net <> s.outgoing - s.incoming
            or s.net <> (select coalesce(sum(case direction when 'outgoing' then amount else -amount end), 0)
                         from txn_processing.clearing_items i where i.settlement_id = s.settlement_id)",
    ),
];

/// By system.
pub const RULES: [&[Rule]; 12] =
    [LEDGER, DISPUTES, EXCHANGES, QUEUE, CLEARING, HISTORIES, TABLES, EVENTS, PUBLISHED, CQRS, SUBSCRIPTIONS, SAGAS];

/// The rules of `RULES` that are broken, each with some of the rows that break it.
pub fn broken_here(admin: &mut Client) -> Vec<String> {
    let mut broken = Vec::new();
    for (rule, query) in RULES.into_iter().flatten() {
        let faults = admin.lines(&format!("select * from ({query}) f limit 5"));
        if !faults.is_empty() {
            broken.push(format!("{rule}: {faults:?}"));
        }
    }
    broken
}

/// Says which rules are broken, if any, of all there are.
pub fn audit_all(admin: &mut Client) -> Result<(), String> {
    let mut broken = broken_rules(admin);
    broken.extend(broken_here(admin));
    if broken.is_empty() { Ok(()) } else { Err(format!("the auditor: {broken:#?}")) }
}
