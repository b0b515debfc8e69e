//! An auditor that reads nothing but `movements` and `accounts`, and works out
//! in its own SQL what they must say. It calls no function of the extension.

use crate::Ask;
use postgres::Client;

/// Every leg of every posting, seen from its account, signed by the account's
/// normal side.
const LEGS: &str = "with legs as (
    select m.debit_account as account_id, m.debit_sequence as seq, m.debit_balance as balance,
           case a.normal_side when 'D' then m.amount else -m.amount end as effect,
           m.currency_code, m.tenant_no
    from txn_processing.movements m join banking.accounts a on a.account_id = m.debit_account
    union all
    select m.credit_account, m.credit_sequence, m.credit_balance,
           case a.normal_side when 'C' then m.amount else -m.amount end,
           m.currency_code, m.tenant_no
    from txn_processing.movements m join banking.accounts a on a.account_id = m.credit_account
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
        "an account's sequence has no gap and no double",
        "select account_id from legs where seq is not null
         group by account_id having min(seq) <> 1 or max(seq) <> count(*)
            or count(distinct seq) <> count(*)",
    ),
    (
        "each stored balance is the one before it plus this posting",
        "select account_id from (
           select account_id, balance,
                  sum(effect) over (partition by account_id order by seq) as replayed
           from legs where seq is not null) c
         where balance is distinct from replayed",
    ),
    (
        "an account's balance is the replay of its postings",
        "select a.account_id from banking.accounts a
         left join (select account_id, sum(effect) as total from legs group by 1) l
           using (account_id)
         where a.current_balance is not null and a.current_balance <> coalesce(l.total, 0)",
    ),
    (
        "an account's version grows by one per posting",
        "select a.account_id from banking.accounts a
         join (select account_id, max(seq) as postings from legs group by 1) l
           using (account_id)
         where l.postings is not null and a.version <> 1 + l.postings",
    ),
    (
        "a reference number stands for one posting",
        "select reference_number from (
           select distinct transaction_id, reference_number from txn_processing.ledger) r
         group by 1 having count(*) > 1",
    ),
    (
        "the trial balance is even: assets and expenses against the rest",
        "select currency_code from legs l join banking.accounts a using (account_id, currency_code)
         group by currency_code
         having sum(case a.normal_side when 'D' then effect else -effect end) <> 0",
    ),
];

/// The rules that are broken, each with some of the rows that break it.
pub fn broken_rules(admin: &mut Client) -> Vec<String> {
    let mut broken = Vec::new();
    for (rule, query) in FAULTS {
        let faults = admin.lines(&format!("{LEGS} {query} limit 5"));
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
