//! Every function that writes, each as a call that can be made again: with ids, where the function takes one.

use crate::sagas::SAGAS;

/// A call of one function or a few.
pub struct Operation {
    pub name: &'static str,
    /// Slotted accounts are refused holds, for one.
    pub only_exclusive: bool,
    /// What is done before, in transactions of its own.
    pub prepare: &'static [&'static str],
    pub call: &'static str,
    pub again: Again,
}

/// What the same call does once it has succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Nothing: it answers what it answered.
    Nothing,
    /// Refused, with one of these codes.
    Refused(&'static [&'static str]),
    /// The same once more: the function takes no id.
    Anew,
}

const fn keyed(name: &'static str, call: &'static str) -> Operation {
    Operation { name, only_exclusive: false, prepare: &[], call, again: Again::Nothing }
}

const fn after(name: &'static str, prepare: &'static [&'static str], call: &'static str, again: Again) -> Operation {
    Operation { name, only_exclusive: false, prepare, call, again }
}

/// The same on exclusive accounts only.
const fn bound(name: &'static str, prepare: &'static [&'static str], call: &'static str, again: Again) -> Operation {
    Operation { name, only_exclusive: true, prepare, call, again }
}

const PAID: &str = "update stage.fresh f set made = txn_processing.pay(p.a, 2) from {accounts} p where p.n = f.n";
const SENT: &str =
    "update stage.fresh f set made = txn_processing.transfer(p.a, p.b, 2) from {accounts} p where p.n = f.n";
const HELD: &str = "update stage.fresh f set made = txn_processing.place_hold(p.a, 2, to_account => p.b) from {accounts} p where p.n = f.n";
const GROUPED: &str =
    "select txn_processing.place_hold(p.a, 2, to_account => p.b, group_id => o.id) from {accounts} p, stage.one o";
const QUEUED: &str = "select txn_processing.enqueue('transfer', p.a, p.b, 1) from {accounts} p";
const BATCHED: &str =
    "update stage.one set made = txn_processing.create_payment_batch(stage.items('{mode}'), id::text)";
const FAILED: &str = "update stage.one set made = txn_processing.create_payment_batch(jsonb_build_array(jsonb_build_object( \
     'from_account', (select a from {accounts} limit 1), 'to_account', (select b from {accounts} limit 1), \
     'amount', 1000000000)), id::text); select txn_processing.process_payment_batch(made) from stage.one";
const IMPORTED: &str = "update stage.one set made = txn_processing.import_external_statement( \
     id::text, 'one', (select account_id from banking.accounts where account_type = 'cash' and currency_code = 'USD'), \
     'USD', 0, 60, stage.lines(id)); \
     select txn_processing.deposit(p.a, 1, reference => left(o.id::text || n, 50)) from {accounts} p, stage.one o; \
     update stage.one o set lines = (select array_agg(line_id) from (select line_id from txn_processing.external_lines l \
        where l.statement_id = o.made order by line_no limit 20) l), \
     ids = array[(select txn_processing.deposit(a, 20) from {accounts} limit 1)]";
const MATCHED: &str = "update stage.one set spare = txn_processing.manual_match(lines, ids, 'by hand')";
const CLEARED: &str = "select txn_processing.pay_bank(p.a, 1 + n, 'bank ' || n % 5, 'x', \
     effective_at => (o.day + time '12:00') at time zone 'UTC') from {accounts} p, stage.one o";
const UNSPENT: &str = "update stage.one set made = stage.account('checking', 'USD', '{mode}', 0)";

/// Every operation.
pub fn all() -> impl Iterator<Item = &'static Operation> {
    LEDGER.iter().chain(SAGAS)
}

/// In the order of docs/: postings, give-backs, batches, holds, queue, payments, exchange, interest, fees, disputes,
/// statements, and what a bank sets up.
const LEDGER: &[Operation] = &[
    keyed(
        "transfer",
        "select txn_processing.transfer(a, b, 1, transaction_id => id) from {accounts} join stage.fresh using (n)",
    ),
    keyed(
        "backdated transfer",
        "select txn_processing.transfer(a, b, 1, transaction_id => id, effective_at => at) from {accounts} join stage.fresh using (n)",
    ),
    keyed(
        "deposit",
        "select txn_processing.deposit(a, 1, transaction_id => id) from {accounts} join stage.fresh using (n)",
    ),
    keyed(
        "withdraw",
        "select txn_processing.withdraw(a, 1, transaction_id => id) from {accounts} join stage.fresh using (n)",
    ),
    keyed("pay", "select txn_processing.pay(a, 1, transaction_id => id) from {accounts} join stage.fresh using (n)"),
    keyed(
        "charge_fee",
        "select txn_processing.charge_fee(a, 1, transaction_id => id) from {accounts} join stage.fresh using (n)",
    ),
    keyed(
        "credit_interest",
        "select txn_processing.credit_interest(a, 1, transaction_id => id) from {accounts} join stage.fresh using (n)",
    ),
    keyed(
        "adjust",
        "select txn_processing.adjust(a, -1, 'why', transaction_id => id) from {accounts} join stage.fresh using (n)",
    ),
    keyed(
        "execute_transfer",
        "select txn_processing.execute_transfer(id, null, a, b, 1, 'USD', null) from {accounts} join stage.fresh using (n)",
    ),
    keyed(
        "execute_deposit",
        "select txn_processing.execute_deposit(id, null, a, 1, 'USD', null) from {accounts} join stage.fresh using (n)",
    ),
    keyed(
        "execute_withdrawal",
        "select txn_processing.execute_withdrawal(id, null, a, 1, 'USD', null) from {accounts} join stage.fresh using (n)",
    ),
    keyed(
        "execute_payment",
        "select txn_processing.execute_payment(id, null, a, 1, 'USD', null) from {accounts} join stage.fresh using (n)",
    ),
    after(
        "refund",
        &[PAID],
        "select txn_processing.refund(made, 1, transaction_id => id) from stage.fresh",
        Again::Nothing,
    ),
    after(
        "reverse",
        &[SENT],
        "select txn_processing.reverse(made, 'why', reversal_transaction_id => id) from stage.fresh",
        Again::Nothing,
    ),
    // A second call answers that it is reversed already.
    after(
        "reverse_transaction",
        &[SENT],
        "select txn_processing.reverse_transaction(made, 'why') from stage.fresh",
        Again::Nothing,
    ),
    keyed(
        "post_transfers",
        "select * from stage.fresh o, lateral (select array_agg(a order by n) as a, array_agg(b order by n) as b, \
         array_agg(1::numeric) as m from {accounts}) p, lateral (select array_agg(id order by n) as ids from stage.fresh) f, \
         lateral txn_processing.post_transfers(a, b, m, ids, atomic => true) where o.n = 1",
    ),
    keyed(
        "post_batch",
        "select * from (select array_agg(a order by n) as a, array_agg(null::uuid) as none, array_agg(1::numeric) as m, \
         array_agg('deposit'::text) as t from {accounts}) p, (select array_agg(id order by n) as ids from stage.fresh) f, \
         lateral txn_processing.post_batch(t, none, a, m, ids)",
    ),
    bound(
        "place_hold",
        &[],
        "select txn_processing.place_hold(a, 1, hold_id => id) from {accounts} join stage.fresh using (n)",
        Again::Nothing,
    ),
    bound(
        "capture_hold",
        &[HELD],
        "select txn_processing.capture_hold(made, 1, transaction_id => id) from stage.fresh",
        Again::Nothing,
    ),
    bound(
        "release_hold",
        &[HELD],
        "select txn_processing.release_hold(made) from stage.fresh",
        Again::Refused(&["NB011"]),
    ),
    bound(
        "capture_hold_group",
        &[GROUPED],
        "select txn_processing.capture_hold_group(id) from stage.one",
        Again::Refused(&["NB011"]),
    ),
    bound(
        "release_hold_group",
        &[GROUPED],
        "select txn_processing.release_hold_group(id) from stage.one",
        Again::Refused(&["NB011"]),
    ),
    bound(
        "expire_holds",
        &[
            "select txn_processing.place_hold(a, 1, clock_timestamp() + interval '1 hour') from {accounts}",
            "update txn_processing.holds set expires_at = placed_at + interval '1 us' where state = 'open'",
        ],
        "select txn_processing.expire_holds()",
        Again::Nothing,
    ),
    keyed(
        "enqueue",
        "select txn_processing.enqueue('transfer', a, b, 1, idempotency_key => id::text) from {accounts} join stage.fresh using (n)",
    ),
    after("process_queue", &[QUEUED], "select * from txn_processing.process_queue(100)", Again::Anew),
    after(
        "process_transaction",
        &[
            "update stage.fresh f set made = txn_processing.enqueue('transfer', p.a, p.b, 1) from {accounts} p where p.n = f.n",
        ],
        "select txn_processing.process_transaction(made) from stage.fresh",
        Again::Nothing,
    ),
    keyed(
        "create_payment_batch",
        "select txn_processing.create_payment_batch(stage.items('{mode}'), id::text) from stage.one",
    ),
    after(
        "process_payment_batch",
        &[BATCHED],
        "select p.* from stage.one, txn_processing.process_payment_batch(made) p",
        Again::Nothing,
    ),
    after(
        "cancel_payment_batch",
        &[BATCHED],
        "select txn_processing.cancel_payment_batch(made) from stage.one",
        Again::Nothing,
    ),
    after(
        "retry_payment_batch",
        &[FAILED],
        "select txn_processing.retry_payment_batch(made) from stage.one",
        Again::Nothing,
    ),
    keyed(
        "pay_bank",
        "select txn_processing.pay_bank(a, 1, 'YZ', '1', transaction_id => id) from {accounts} join stage.fresh using (n)",
    ),
    keyed(
        "receive_from_bank",
        "select txn_processing.receive_from_bank(a, 1, 'YZ', '1', transaction_id => id) from {accounts} join stage.fresh using (n)",
    ),
    after("settle", &[CLEARED], "select s.* from stage.one, txn_processing.settle(day, 'USD') s", Again::Nothing),
    keyed(
        "transfer_fx",
        "select txn_processing.transfer_fx(a, euro, 1.37, transaction_id => id) from stage.others, {accounts} join stage.fresh using (n)",
    ),
    // Every call puts the residues that are left together.
    after(
        "sweep_fx_residues",
        &["select txn_processing.transfer_fx(a, euro, 1.37 + n * 0.01) from {accounts}, stage.others"],
        "select * from txn_processing.sweep_fx_residues()",
        Again::Anew,
    ),
    keyed("accrue_interest", "select i.* from stage.one, txn_processing.accrue_interest(day) i"),
    after(
        "capitalise_interest",
        &["select txn_processing.accrue_interest(day) from stage.one"],
        "select i.* from stage.one, txn_processing.capitalise_interest(day) i",
        Again::Nothing,
    ),
    // Even where nothing is due, it looks at the account once more.
    after(
        "settle_interest",
        &[],
        "select txn_processing.settle_interest(saver, day) from stage.one, stage.others",
        Again::Anew,
    ),
    keyed("charge_periodic_fees", "select f.* from stage.one, txn_processing.charge_periodic_fees(month) f"),
    keyed(
        "transfer_with_fee",
        "select txn_processing.transfer_with_fee(a, b, 10, transaction_id => id) from {accounts} join stage.fresh using (n)",
    ),
    after("apply_fee", &[SENT], "select f.* from stage.fresh, txn_processing.apply_fee(made) f", Again::Nothing),
    after(
        "open_dispute",
        &[PAID],
        "select txn_processing.open_dispute(made, 'why', dispute_id => id) from stage.fresh",
        Again::Nothing,
    ),
    after(
        "resolve_dispute",
        &[
            "update stage.fresh f set made = txn_processing.open_dispute(txn_processing.pay(p.a, 2), 'why') from {accounts} p where p.n = f.n",
        ],
        "select txn_processing.resolve_dispute(made, 'partial', 1) from stage.fresh",
        Again::Nothing,
    ),
    keyed(
        "import_external_statement",
        "select txn_processing.import_external_statement(id::text, 'one', (select account_id from banking.accounts \
         where account_type = 'cash' and currency_code = 'USD'), 'USD', 0, 60, stage.lines(id)) from stage.one",
    ),
    after(
        "match_external_statement",
        &[IMPORTED],
        "select m.* from stage.one, txn_processing.match_external_statement(made) m",
        Again::Nothing,
    ),
    after(
        "manual_match",
        &[IMPORTED],
        "select txn_processing.manual_match(lines, ids, 'by hand') from stage.one",
        Again::Refused(&["NB055"]),
    ),
    after(
        "unmatch",
        &[IMPORTED, MATCHED],
        "select txn_processing.unmatch(spare, 'not so') from stage.one",
        Again::Refused(&["NB055"]),
    ),
    after(
        "set_reconciliation_rule",
        &[],
        "select txn_processing.set_reconciliation_rule(id::text, 1) from stage.fresh",
        Again::Anew,
    ),
    after(
        "set_balance_mode",
        &[UNSPENT],
        "select banking.set_balance_mode(made, case '{mode}' when 'slotted' then 'exclusive' else 'slotted' end) from stage.one",
        Again::Nothing,
    ),
    after(
        "set_account_status",
        &[UNSPENT],
        "select banking.set_account_status(made, 'frozen', 'why') from stage.one",
        Again::Nothing,
    ),
    after(
        "set_overdraft_limit",
        &[UNSPENT],
        "select banking.set_overdraft_limit(made, 7, 'why') from stage.one",
        Again::Anew,
    ),
    after(
        "correct",
        &[UNSPENT],
        "select temporal.correct(made, date_trunc('hour', now()) - interval '1 day', null, '{\"account_number\": \"N\"}', 'why') \
         from stage.one",
        Again::Anew,
    ),
    bound(
        "set_account_limit",
        &[UNSPENT],
        "select banking.set_account_limit(made, 'day', 7, 3, 'why') from stage.one",
        Again::Anew,
    ),
    after(
        "set_type_limit",
        &["select banking.set_type_limit('business', 'USD', 'day', null, null, 'why')"],
        "select banking.set_type_limit('business', 'USD', 'day', 70, 30, 'why')",
        Again::Anew,
    ),
    after(
        "close_account",
        &["update stage.one set made = stage.account('checking', 'USD', '{mode}', 9)"],
        "select banking.close_account(made, (select a from {accounts} limit 1)) from stage.one",
        Again::Refused(&["NB019"]),
    ),
    after("open_account", &[], "select stage.account('checking', 'USD', '{mode}', 5)", Again::Anew),
    after("create_customer", &[], "select banking.create_customer('Ada', 'Byron') from stage.fresh", Again::Anew),
    after("create_tenant", &[], "select banking.create_tenant(id::text) from stage.one", Again::Refused(&["NB021"])),
    after(
        "update_account_optimistic",
        &["update stage.one set made = stage.account('checking', 'USD', 'exclusive', 9)"],
        "select u.* from stage.one, banking.update_account_optimistic(made, 10, 2) u",
        Again::Nothing,
    ),
    after("set_fx_rate", &[], "select txn_processing.set_fx_rate('USD', 'CHF', 0.5, at) from stage.one", Again::Anew),
    after("set_hold_rule", &[], "select txn_processing.set_hold_rule('business', 5)", Again::Anew),
    after("set_dispute_policy", &[], "select txn_processing.set_dispute_policy('business', true, 5)", Again::Anew),
    keyed(
        "set_interest_rule",
        "select txn_processing.set_interest_rule('term_deposit', 'USD', 3, 'act/360', day + 400) from stage.one",
    ),
    after(
        "set_account_interest_rule",
        &["update stage.one set made = stage.account('term_deposit', 'USD', 'exclusive', 9)"],
        "select txn_processing.set_account_interest_rule(made, 3, 'act/360', today) from stage.one",
        Again::Nothing,
    ),
    after(
        "end_account_interest_rule",
        &["update stage.one set made = stage.account('term_deposit', 'USD', 'exclusive', 9); \
         select txn_processing.set_account_interest_rule(made, 3, 'act/360', today) from stage.one"],
        "select txn_processing.end_account_interest_rule(made, today + 1) from stage.one",
        Again::Nothing,
    ),
    keyed(
        "set_fee_schedule",
        "select txn_processing.set_fee_schedule(left(id::text, 50), 'payment', 'CHF', 'fixed', today, fixed_amount => 1) from stage.one",
    ),
    keyed("grant_usage", "select neobank.grant_usage('pg_monitor', 'operator')"),
    keyed("revoke_usage", "select neobank.revoke_usage('pg_monitor')"),
];
