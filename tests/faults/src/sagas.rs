//! The functions of sagas that write. Those of the steps are of the stage, and post.

use crate::operations::{Again, Operation};

/// Types of sagas: one that does and undoes all in a run, and others that come to where somebody else has to act.
pub const SETUP: &str = "
    create table stage.lease (step uuid, token bigint);
    create function stage.act(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb language plpgsql as $$
    begin
        perform txn_processing.transfer(a, b, 1, transaction_id => effect_id) from stage.exclusive where n = 1;
        return jsonb_build_object('transaction_id', effect_id);
    end $$;
    create function stage.undo(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb language sql as $$
        select jsonb_build_object('transaction_id', txn_processing.reverse(
            (outputs -> 'act' ->> 'transaction_id')::uuid, 'undone', reversal_transaction_id => effect_id)) $$;
    create function stage.fail(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb language plpgsql as $$
    begin raise exception 'it is wrong' using errcode = '22023'; end $$;
    select saga.define('done', '[{\"name\": \"act\", \"action\": \"stage.act\"}, {\"name\": \"pause\", \"delay_ms\": 0}]'),
           saga.define('undone', '[{\"name\": \"act\", \"action\": \"stage.act\", \"compensation\": \"stage.undo\"},
                                   {\"name\": \"fail\", \"action\": \"stage.fail\"}]'),
           saga.define('not undone', '[{\"name\": \"act\", \"action\": \"stage.act\", \"compensation\": \"stage.fail\", \"compensation_max_attempts\": 1},
                                       {\"name\": \"fail\", \"action\": \"stage.fail\"}]'),
           saga.define('past return', '[{\"name\": \"pause\", \"delay_ms\": 0, \"point_of_no_return\": true},
                                        {\"name\": \"fail\", \"action\": \"stage.fail\", \"max_attempts\": 1}]'),
           saga.define('outside', '[{\"name\": \"ask\", \"action\": \"external\", \"type\": \"ask\"}]'),
           saga.define('asked', '[{\"name\": \"ask\", \"action\": \"external\", \"type\": \"other\"}]'),
           saga.define('child', '[{\"name\": \"go\", \"child\": \"done\"}]'),
           saga.define('signalled', '[{\"name\": \"go\", \"signal\": \"go\"}]'),
           saga.define('bank_payment', saga.bank_payment_steps());
    create function stage.saga(of_type text) returns uuid language plpgsql as $$
    declare saga uuid := saga.start(of_type);
    begin perform saga.run(saga); return saga; end $$;";

const fn after(name: &'static str, prepare: &'static [&'static str], call: &'static str, again: Again) -> Operation {
    // None of them is about the accounts of the stage.
    Operation { name, only_exclusive: true, prepare, call, again }
}

const OUTSIDE: &str = "update stage.one set made = stage.saga('outside')";
const LEASED: &str = "delete from stage.lease; select stage.saga('outside'); \
     insert into stage.lease select step_id, lease_token from saga.claim_step('w', '{ask}', 86400000)";
const HELD: &str = "update stage.fresh f set made = (saga.payment_hold(f.id, gen_random_uuid(), \
     jsonb_build_object('account', p.a, 'amount', 2), '{}') ->> 'hold_id')::uuid from {accounts} p where p.n = f.n";
const ENDED: &str = "select saga.run(saga.start('done', idempotency_key => id::text)) from stage.fresh";

pub const SAGAS: &[Operation] = &[
    after(
        "define",
        &[],
        "select saga.define(id::text, '[{\"name\": \"act\", \"action\": \"stage.act\"}]') from stage.one",
        Again::Nothing,
    ),
    after(
        "start",
        &[],
        "select saga.start('done', jsonb_build_object('n', n), id::text) from stage.fresh",
        Again::Nothing,
    ),
    after("create_saga", &[], "select saga.create_saga('own', '{one,two}') from stage.fresh", Again::Anew),
    after(
        "execute_step",
        &[
            "update stage.one set made = saga.create_saga('own', '{one,two,three}')",
            "update stage.one set spare = (saga.execute_step(made) ->> 'step_id')::uuid",
        ],
        "select saga.execute_step(made, '{\"n\": 1.50}', spare) from stage.one",
        Again::Nothing,
    ),
    // A lock that was in the way puts the step off, and counts for no attempt: the next call finds it due.
    after(
        "run",
        &["update stage.one set made = saga.start('undone')"],
        "update saga.saga_steps set next_attempt_at = null from stage.one where saga_id = made and next_attempt_at is not null; \
         update saga.compensations set next_attempt_at = null from stage.one where saga_id = made and next_attempt_at is not null; \
         select saga.run(made) from stage.one",
        Again::Nothing,
    ),
    after(
        "run_ready",
        &["select saga.start(t) from unnest(array['done', 'undone', 'child', 'signalled', 'outside']) t"],
        "select * from saga.run_ready()",
        Again::Anew,
    ),
    after(
        "claim_step",
        &["select stage.saga('asked') from generate_series(1, 3)"],
        "select * from saga.claim_step('w', '{other}', 86400000)",
        Again::Anew,
    ),
    after(
        "complete_step",
        &[LEASED],
        "select saga.complete_step(step, token, '{\"n\": 1.50}') from stage.lease",
        Again::Nothing,
    ),
    after(
        "fail_step",
        &[LEASED],
        "select saga.fail_step(step, token, 'it does not go', retryable => false) from stage.lease",
        Again::Nothing,
    ),
    after("extend_lease", &[LEASED], "select saga.extend_lease(step, token, 90000000) from stage.lease", Again::Anew),
    after(
        "signal",
        &["update stage.one set made = stage.saga('signalled')"],
        "select saga.signal(made, 'go', '{\"n\": 1.50}', id) from stage.one",
        Again::Nothing,
    ),
    after("cancel", &[OUTSIDE], "select saga.cancel(made, 'why') from stage.one", Again::Nothing),
    after(
        "retry_step",
        &["update stage.one set made = stage.saga('past return')"],
        "select saga.retry_step(made, 'why') from stage.one",
        Again::Refused(&["NB201"]),
    ),
    after(
        "retry_compensation",
        &["update stage.one set made = stage.saga('not undone')"],
        "select saga.retry_compensation(made, 'why') from stage.one",
        Again::Refused(&["NB201"]),
    ),
    after(
        "resolve",
        &["update stage.one set made = stage.saga('not undone')"],
        "select saga.resolve(made, 'step_done', 'why') from stage.one",
        Again::Refused(&["NB201"]),
    ),
    after("prune", &[ENDED], "select * from saga.prune(now(), 10000)", Again::Nothing),
    after(
        "forget_keys",
        &[ENDED, "select * from saga.prune(now(), 10000)"],
        "select * from saga.forget_keys(now())",
        Again::Nothing,
    ),
    after(
        "start_bank_payment",
        &[],
        "select saga.start_bank_payment(a, 1, 'YZ', '1', idempotency_key => id::text) from {accounts} join stage.fresh using (n)",
        Again::Nothing,
    ),
    after(
        "payment_hold",
        &[],
        "select saga.payment_hold(id, id, jsonb_build_object('account', a, 'amount', 1), '{}') \
         from {accounts} join stage.fresh using (n)",
        Again::Nothing,
    ),
    after(
        "payment_release",
        &[HELD],
        "select saga.payment_release(id, id, '{}', jsonb_build_object('hold', jsonb_build_object('hold_id', made))) from stage.fresh",
        Again::Nothing,
    ),
    after(
        "payment_capture",
        &[HELD],
        "select saga.payment_capture(id, id, jsonb_build_object('account', a, 'amount', 2, 'counterparty_bank', 'YZ', \
         'counterparty_account', '1'), jsonb_build_object('hold', jsonb_build_object('hold_id', made))) \
         from {accounts} join stage.fresh using (n)",
        Again::Nothing,
    ),
];
