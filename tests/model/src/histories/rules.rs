//! What is true of the history of accounts at every moment.

use crate::auditor::Rule;

pub const HISTORIES: &[Rule] = &[
    (
        "no two rows of an account's history overlap on both axes",
        "select a.history_id from temporal.account_periods a
         join temporal.account_periods b on b.account_id = a.account_id and b.history_id > a.history_id
         where a.valid_from < coalesce(b.valid_to, 'infinity') and b.valid_from < coalesce(a.valid_to, 'infinity')
           and a.transaction_from < coalesce(b.transaction_to, 'infinity')
           and b.transaction_from < coalesce(a.transaction_to, 'infinity')",
    ),
    (
        "a period is neither empty nor recorded before it was true",
        "select history_id from temporal.account_periods
         where valid_to <= valid_from or transaction_to <= transaction_from or valid_from > transaction_from
            or valid_to > transaction_from or not isfinite(valid_from)",
    ),
    (
        "what is known of an account leaves no gap to the end of time",
        "select account_id from (
           select account_id, valid_to, lead(valid_from) over (partition by account_id order by valid_from) as next
           from temporal.account_periods where transaction_to is null) p
         where valid_to is distinct from next
         union all
         select account_id from temporal.account_periods group by 1 having count(*) filter (where transaction_to is null) = 0",
    ),
    (
        "what the history says of the present is what the account is",
        "select a.account_id from banking.accounts a join temporal.account_periods p using (account_id)
         where p.valid_to is null and p.transaction_to is null
           and (a.customer_id, a.account_number, a.account_type, a.account_status, a.overdraft_limit)
               is distinct from (p.customer_id, p.account_number, p.account_type, p.account_status, p.overdraft_limit)",
    ),
    (
        "what is no longer known was replaced as it ended",
        "select p.history_id from temporal.account_periods p
         where p.transaction_to is not null and not exists (
           select from temporal.account_periods n
           where n.account_id = p.account_id and n.transaction_from = p.transaction_to)",
    ),
    (
        "at every moment since its first row an account had a present",
        "select p.account_id from (select distinct account_id, transaction_from as at from temporal.account_periods) p
         where not exists (
           select from temporal.account_periods o
           where o.account_id = p.account_id and o.valid_to is null and o.transaction_from <= p.at
             and coalesce(o.transaction_to, 'infinity') > p.at)",
    ),
    (
        "each change of a status or an overdraft limit began a period",
        "select c.account_id from banking.account_status_changes c
         where c.old_value <> c.new_value and (c.change <> 'overdraft_limit' or c.old_value::numeric <> c.new_value::numeric)
           and not exists (
             select from temporal.account_periods p
             where p.account_id = c.account_id and p.valid_from = p.transaction_from and p.change_reason = c.reason
               and p.changed_by = c.changed_by
               and p.transaction_from between c.changed_at - interval '1 minute' and c.changed_at + interval '1 ms'
               and case c.change when 'status' then p.account_status = c.new_value
                        else p.overdraft_limit = c.new_value::numeric end)",
    ),
];
