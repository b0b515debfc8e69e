//! An auditor that reads nothing but the ledger's tables, and works out in its
//! own SQL what they must say. It uses no function and no view of the extension.
//!
//! An account's postings are chains: one on the account's own row, one on each
//! of its slots. Chain and number are the upper and the lower bits of a
//! sequence. A switch of the balance mode begins an era, in which the first
//! chain in use opens with what the account held and the others with nothing.

use crate::Ask;
use postgres::Client;

const TABLES: &str = "with legs as (
    -- Every leg of every posting, seen from its account, signed by the account's normal side.
    select e.account_id, e.seq >> 48 as chain, e.seq & ((1::bigint << 48) - 1) as n, e.balance,
           case e.side when a.normal_side then e.amount else -e.amount end as effect,
           e.created_at, e.effective_at, e.seq, e.currency_code, e.tenant_no,
           (select count(*) from banking.balance_mode_changes c
            where c.account_id = e.account_id and c.changed_at <= e.created_at) as era
    from (select debit_account as account_id, 'D'::\"char\" as side, debit_sequence as seq, debit_balance as balance,
                 amount, created_at, effective_at, currency_code, tenant_no
          from txn_processing.movements
          union all
          select credit_account, 'C', credit_sequence, credit_balance,
                 amount, created_at, effective_at, currency_code, tenant_no
          from txn_processing.movements) e
    join banking.accounts a using (account_id)
), eras as (
    select account_id, 0 as era, '-infinity'::timestamptz as began, 0::numeric as opening,
           case coalesce((select c.balance_mode from banking.balance_mode_changes c
                          where c.account_id = a.account_id order by c.changed_at limit 1),
                         case slots when 0 then 'slotted' else 'exclusive' end)
                when 'slotted' then 'exclusive' else 'slotted' end as mode
    from banking.accounts a
    union all
    select account_id, row_number() over (partition by account_id order by changed_at), changed_at, balance,
           balance_mode
    from banking.balance_mode_changes
), chains as (
    -- Every row that may hold a balance.
    select account_id, 0 as chain, version as next_n, current_balance as balance, slots = 0 as in_use
    from banking.accounts
    union all
    select s.account_id, s.slot_no, s.sequence - (s.slot_no::bigint << 48), s.balance, s.slot_no <= a.slots
    from banking.account_slots s join banking.accounts a using (account_id)
)";

const FAULTS: &[(&str, &str)] = &[
    (
        "each posting has two accounts that exist, two sides and a positive amount",
        "select m.transaction_id from txn_processing.movements m
         where m.debit_account = m.credit_account or not m.amount > 0
            or not exists (select from banking.accounts a where a.account_id = m.debit_account)
            or not exists (select from banking.accounts a where a.account_id = m.credit_account)",
    ),
    (
        "a posting stays within one currency and one tenant",
        "select l.account_id from legs l join banking.accounts a using (account_id)
         where a.currency_code <> l.currency_code or a.tenant_no <> l.tenant_no",
    ),
    (
        "figures have the decimals of their currency",
        "select account_id from (
           select account_id, balance from chains union all
           select account_id, balance from legs union all select account_id, effect from legs) f
         join banking.accounts using (account_id) join banking.currencies using (currency_code)
         where scale(f.balance) <> exponent",
    ),
    (
        "the numbers of a chain have no gap and no double",
        "select account_id, chain from legs group by account_id, chain
         having min(n) <> 1 or max(n) <> count(*) or count(distinct n) <> count(*)",
    ),
    (
        "times ascend with the numbers of a chain",
        "select account_id, chain, n from (
           select account_id, chain, n, created_at,
                  lag(created_at) over (partition by account_id, chain order by n) as before
           from legs) t
         where created_at < before",
    ),
    (
        "each stored balance is the one before it plus this posting",
        "select account_id, chain, n from (
           select l.account_id, l.chain, l.n, l.balance,
                  case when l.chain <= 1 then e.opening else 0 end
                  + sum(l.effect) over (partition by l.account_id, l.chain, l.era order by l.n) as replayed
           from legs l join eras e using (account_id, era)) c
         where balance is distinct from replayed",
    ),
    (
        "a posting is on a chain of the mode its account was in",
        "select account_id, chain, n from legs l join eras using (account_id, era)
         where (chain = 0) <> (mode = 'exclusive')",
    ),
    (
        "a switch of the mode takes over what the account held",
        "select e.account_id, e.era from eras e
         where era > 0 and (
           opening <> (select coalesce(sum(l.effect), 0) from legs l
                       where l.account_id = e.account_id and l.created_at < e.began)
           or mode = (select b.mode from eras b where b.account_id = e.account_id and b.era = e.era - 1))",
    ),
    (
        "an account is in the mode that was last set",
        "select account_id from banking.accounts a
         where (slots = 0) <> ('exclusive' = (
           select mode from eras e where e.account_id = a.account_id order by era desc limit 1))",
    ),
    (
        "an account's balance is the replay of its postings",
        "select a.account_id from banking.accounts a
         left join (select account_id, sum(balance) as total from chains where in_use group by 1) b using (account_id)
         left join (select account_id, sum(effect) as total from legs group by 1) l using (account_id)
         where coalesce(b.total, 0) <> coalesce(l.total, 0)",
    ),
    (
        "a row in use holds what its chain's postings left",
        "select c.account_id, c.chain from chains c
         join (select distinct on (account_id) * from eras order by account_id, era desc) e using (account_id)
         where c.in_use and c.balance is distinct from (
           select case when c.chain <= 1 then e.opening else 0 end + coalesce(sum(l.effect), 0) from legs l
           where l.account_id = c.account_id and l.chain = c.chain and l.era = e.era)",
    ),
    ("a row out of use holds nothing", "select account_id, chain from chains where not in_use and balance <> 0"),
    (
        "a balance is in the account's row or in its slots, not in both",
        "select account_id from banking.accounts a
         where (slots > 0) <> (current_balance is null) or (slots > 0) <> (available_balance is null)",
    ),
    (
        "an account has as many slots as it says, at most 32",
        "select account_id from banking.accounts a
         where slots not between 0 and 32
            or slots <> (select count(*) from banking.account_slots s
                         where s.account_id = a.account_id and s.slot_no between 1 and a.slots)
         union all
         select account_id from banking.account_slots s
         where slot_no not between 1 and 32
            or not exists (select from banking.accounts a where a.account_id = s.account_id)
         union all
         select account_id from legs where chain not between 0 and 32",
    ),
    (
        "versions and slots' numbers grow by one per posting",
        "select c.account_id, c.chain from chains c
         left join (select account_id, chain, count(*) as postings from legs group by 1, 2) l
           using (account_id, chain)
         where c.next_n <> 1 + coalesce(l.postings, 0)",
    ),
    (
        "each side of a backdated posting has its entry, and nothing else has",
        "select account_id, seq from (
           select account_id, seq, effective_at, created_at, effect from legs where effective_at is not null) l
         full join (
           select account_id, sequence as seq, effective_at, recorded_at as created_at, balance_change as effect
           from txn_processing.backdated_entries) b
           using (account_id, seq, effective_at, created_at, effect)
         where l.effect is null or b.effect is null",
    ),
    (
        "a reference number stands for one posting",
        "select shown from (
           select distinct transaction_id, coalesce(reference,
                  case transaction_type when 'reversal' then 'REV-' else 'TXN-' end
                  || to_char(created_at at time zone 'UTC', 'YYYYMMDD-')
                  || upper(replace(transaction_id::text, '-', ''))) as shown
           from txn_processing.movements) r
         group by 1 having count(*) > 1",
    ),
    (
        "what an account's row sets aside is what its open holds do, those whose time is over with them or not",
        "select a.account_id from banking.accounts a
         cross join lateral (
           select coalesce(sum(greatest(h.amount - h.captured, 0)), 0) as most,
                  coalesce(sum(greatest(h.amount - h.captured, 0))
                           filter (where h.expires_at is null or h.expires_at > clock_timestamp()), 0) as least
           from txn_processing.holds h where h.account_id = a.account_id and h.state = 'open') o
         where case when slots > 0 then 0
                    when normal_side = 'D' then available_balance - current_balance
                    else current_balance - available_balance end not between o.least and o.most",
    ),
    (
        "what was captured of a hold is the sum of its captures",
        "select h.hold_id from txn_processing.holds h
         where h.captured <> (select coalesce(sum(c.amount), 0) from txn_processing.hold_captures c
                              where c.hold_id = h.hold_id)
            or h.captured < 0",
    ),
    (
        "a capture is one posting that debited its hold's account by as much",
        "select c.transaction_id from txn_processing.hold_captures c
         where not exists (
           select from txn_processing.holds h join txn_processing.movements m
             on m.debit_account = h.account_id and m.currency_code = h.currency_code
           where h.hold_id = c.hold_id and m.transaction_id = c.transaction_id and m.amount = c.amount
             and m.transaction_type in ('transfer', 'payment'))",
    ),
    (
        "a hold is open or was closed once, and captured only with a capture",
        "select h.hold_id from txn_processing.holds h
         where (h.state = 'open') <> (h.closed_at is null) or (h.state = 'captured' and h.captured = 0)
            or (h.state = 'expired' and h.expires_at is null)
            or not exists (select from banking.accounts a
                           where a.account_id = h.account_id and a.currency_code = h.currency_code)",
    ),
    (
        "figures of holds have the decimals of their currency",
        "select hold_id from txn_processing.holds h join banking.currencies using (currency_code)
         left join txn_processing.hold_captures c using (hold_id)
         where scale(h.amount) <> exponent or (h.captured <> 0 and scale(h.captured) <> exponent)
            or scale(c.amount) <> exponent",
    ),
    (
        "what an account has spent in the day and the month is what its postings say",
        "select u.account_id from txn_processing.limit_usage u
         cross join lateral (
           select coalesce(sum(amount) filter (where created_at >= u.day_start), 0) as day_amount,
                  count(*) filter (where created_at >= u.day_start) as day_postings,
                  coalesce(sum(amount) filter (where created_at >= u.month_start), 0) as month_amount,
                  count(*) filter (where created_at >= u.month_start) as month_postings
           from txn_processing.movements m
           where m.debit_account = u.account_id and m.transaction_type in ('withdrawal', 'transfer', 'payment')
             and (m.debit_sequence < u.counted_to or m.debit_sequence >= 1::bigint << 48)) s
         where (u.day_amount, u.day_postings, u.month_amount, u.month_postings)
               is distinct from (s.day_amount, s.day_postings, s.month_amount, s.month_postings)
            or u.day_start at time zone 'UTC' <> date_trunc('day', u.day_start at time zone 'UTC')
            or u.month_start at time zone 'UTC' <> date_trunc('month', u.day_start at time zone 'UTC')",
    ),
    (
        "the books are even: assets and expenses against the rest",
        "select tenant_no, currency_code from chains join banking.accounts a using (account_id)
         where in_use group by 1, 2
         having sum(case a.normal_side when 'D' then balance else -balance end) <> 0",
    ),
];

/// The rules that are broken, each with some of the rows that break it.
pub fn broken_rules(admin: &mut Client) -> Vec<String> {
    let mut broken = Vec::new();
    for (rule, query) in FAULTS {
        let faults = admin.lines(&format!("{TABLES} select * from ({query}) f limit 5"));
        if !faults.is_empty() {
            broken.push(format!("{rule}: {faults:?}"));
        }
    }
    broken
}

/// Panics when a rule is broken.
pub fn audit(admin: &mut Client) {
    let broken = broken_rules(admin);
    assert!(broken.is_empty(), "broken: {broken:#?}");
}

/// The same at one moment, while others go on posting.
pub fn audit_in_passing(admin: &mut Client) {
    admin.run("begin isolation level repeatable read read only");
    let broken = broken_rules(admin);
    admin.run("rollback");
    assert!(broken.is_empty(), "broken while postings went on: {broken:#?}");
}
