-- The saga of a payment to another bank. Its functions run with the rights of whoever started the saga, so who may pay
-- there may pay here. What a step posts carries the step's effect_id, and says so in its reference.
CREATE FUNCTION saga.bank_payment_steps() RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '[
    {"name": "hold", "action": "saga.payment_hold", "compensation": "saga.payment_release"},
    {"name": "submit", "action": "external", "type": "payment_submit", "compensation": "external",
     "max_attempts": 5, "timeout_ms": 86400000},
    {"name": "capture", "action": "saga.payment_capture", "compensation": "saga.payment_return"},
    {"name": "notify", "action": "external", "type": "payment_notify", "max_attempts": 10, "timeout_ms": 86400000}
]'::jsonb;
REVOKE ALL ON FUNCTION saga.bank_payment_steps() FROM PUBLIC;
COMMENT ON FUNCTION saga.bank_payment_steps() IS
    'The steps of a payment to another bank, for saga.define: hold (sets the amount aside; undone by releasing it), submit (external: hands the payment to the scheme; undone externally by recalling it), capture (posts the payment; undone by reversing it), notify (external: tells the payer).';

CREATE FUNCTION saga.payment_hold(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT pg_catalog.jsonb_build_object('hold_id', txn_processing.place_hold(
        (context ->> 'account')::uuid, (context ->> 'amount')::numeric, currency => (context ->> 'currency')::bpchar,
        description => context ->> 'description', reference => 'saga ' || saga_id::text, hold_id => effect_id));
END;
REVOKE ALL ON FUNCTION saga.payment_hold(uuid, uuid, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION saga.payment_hold(uuid, uuid, jsonb, jsonb) IS
    'Step hold of a payment to another bank: sets context''s amount aside on its account. Raises what txn_processing.place_hold raises.';

CREATE FUNCTION saga.payment_release(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held CONSTANT uuid := outputs -> 'hold' ->> 'hold_id';
BEGIN
    -- The capture has released it, a person may have, or its time is over.
    IF EXISTS (SELECT FROM txn_processing.account_holds h WHERE h.hold_id = held AND h.state = 'open') THEN
        PERFORM txn_processing.release_hold(held, 'saga ' || payment_release.saga_id || ' is undone');
    END IF;
    RETURN pg_catalog.jsonb_build_object('hold_id', held);
END
$$;
REVOKE ALL ON FUNCTION saga.payment_release(uuid, uuid, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION saga.payment_release(uuid, uuid, jsonb, jsonb) IS
    'Undoes step hold of a payment to another bank: releases what is still set aside.';

CREATE FUNCTION saga.payment_capture(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held CONSTANT uuid := outputs -> 'hold' ->> 'hold_id';
BEGIN
    -- Released and paid in one transaction, under the account's lock: nobody gets in between. A payment, not a capture,
    -- since it names the other bank, which settlement goes by. Where the hold has expired, free funds have to do.
    IF EXISTS (SELECT FROM txn_processing.account_holds h WHERE h.hold_id = held AND h.state = 'open') THEN
        PERFORM txn_processing.release_hold(held, 'paid by saga ' || payment_capture.saga_id);
    END IF;
    RETURN pg_catalog.jsonb_build_object('transaction_id', txn_processing.pay_bank(
        (context ->> 'account')::uuid, (context ->> 'amount')::numeric,
        context ->> 'counterparty_bank', context ->> 'counterparty_account',
        currency => (context ->> 'currency')::bpchar, description => context ->> 'description',
        reference => 'saga ' || payment_capture.saga_id, transaction_id => effect_id));
END
$$;
REVOKE ALL ON FUNCTION saga.payment_capture(uuid, uuid, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION saga.payment_capture(uuid, uuid, jsonb, jsonb) IS
    'Step capture of a payment to another bank: releases the hold and posts the payment to context''s counterparty. Raises what txn_processing.pay_bank raises.';

-- With the owner's rights: who may pay need not be one who may reverse. So only its own saga may call it.
CREATE FUNCTION saga.payment_return(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT saga.is_called(payment_return.saga_id, payment_return.effect_id) THEN
        RAISE EXCEPTION 'permission denied for function payment_return'
            USING ERRCODE = 'insufficient_privilege', DETAIL = 'It is called by a saga that undoes its own capture only.',
                  HINT = 'Cancel the saga with saga.cancel, or reverse the posting with txn_processing.reverse.';
    END IF;
    RETURN pg_catalog.jsonb_build_object('transaction_id', txn_processing.reverse(
        (outputs -> 'capture' ->> 'transaction_id')::uuid, 'saga ' || payment_return.saga_id || ' is undone',
        reversal_transaction_id => effect_id));
END
$$;
REVOKE ALL ON FUNCTION saga.payment_return(uuid, uuid, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION saga.payment_return(uuid, uuid, jsonb, jsonb) IS
    'Undoes step capture of a payment to another bank: reverses the posting, with the extension''s rights. 42501: called otherwise than by the saga. Raises what txn_processing.reverse raises.';

CREATE FUNCTION saga.start_bank_payment(
    account uuid,
    amount numeric,
    counterparty_bank text,
    counterparty_account text,
    currency char(3) DEFAULT NULL,
    description text DEFAULT NULL,
    idempotency_key text DEFAULT NULL,
    deadline timestamptz DEFAULT NULL
) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT saga.start('bank_payment', pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'account', account, 'amount', amount, 'counterparty_bank', counterparty_bank,
        'counterparty_account', counterparty_account, 'currency', currency, 'description', description)),
        idempotency_key, deadline);
END;
REVOKE ALL ON FUNCTION saga.start_bank_payment(uuid, numeric, text, text, char, text, text, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION saga.start_bank_payment(uuid, numeric, text, text, char, text, text, timestamptz) IS
    'Starts a payment to another bank as a saga of type bank_payment, which an operator has defined once: saga.define(''bank_payment'', saga.bank_payment_steps()), or steps of the bank''s own. account, amount, counterparty_bank, counterparty_account, currency, description: as txn_processing.pay_bank; idempotency_key, deadline: as saga.start. Returns the saga''s id. What is wrong with the arguments the first step says, and the saga fails without effect. NB203: bank_payment is not defined; NB204, NB021: as saga.start.';
