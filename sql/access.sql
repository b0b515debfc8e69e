CREATE TABLE neobank.access_rights (
    access_level text NOT NULL CHECK (access_level IN ('reader', 'teller', 'operator')),
    privileges text NOT NULL,
    object_kind text NOT NULL CHECK (object_kind IN ('SCHEMA', 'TABLE', 'SEQUENCE', 'FUNCTION', 'PROCEDURE', 'TYPE')),
    object_name text NOT NULL,
    PRIMARY KEY (access_level, object_kind, object_name, privileges)
);
REVOKE ALL ON neobank.access_rights FROM PUBLIC;
COMMENT ON TABLE neobank.access_rights IS
    'What neobank.grant_usage hands out. A teller has all of a reader''s rights, an operator all of a teller''s.';

INSERT INTO neobank.access_rights (access_level, privileges, object_kind, object_name) VALUES
    ('reader', 'USAGE', 'SCHEMA', 'neobank'),
    ('reader', 'USAGE', 'SCHEMA', 'banking'),
    ('reader', 'USAGE', 'SCHEMA', 'txn_processing'),
    ('reader', 'USAGE', 'SCHEMA', 'event_store'),
    ('reader', 'USAGE', 'TYPE', 'banking.account_status'),
    ('reader', 'USAGE', 'TYPE', 'txn_processing.txn_type'),
    ('reader', 'USAGE', 'TYPE', 'txn_processing.txn_status'),
    ('reader', 'SELECT', 'TABLE', 'banking.tenants'),
    ('reader', 'SELECT', 'TABLE', 'banking.currencies'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_types'),
    ('reader', 'SELECT', 'TABLE', 'banking.customers'),
    ('reader', 'SELECT', 'TABLE', 'banking.accounts'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_slots'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_balances'),
    ('reader', 'SELECT', 'TABLE', 'banking.balance_mode_changes'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_status_changes'),
    ('reader', 'SELECT', 'TABLE', 'banking.transactions'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.movements'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.backdated_entries'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.ledger'),
    ('reader', 'SELECT', 'TABLE', 'banking.account_limits'),
    ('reader', 'SELECT', 'TABLE', 'banking.limit_changes'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.limit_usage'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.hold_rules'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.holds'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.hold_captures'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.account_holds'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.transaction_queue'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.disputes'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.dispute_postings'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.dispute_policies'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_rates'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_transfers'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_residues'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_sweeps'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fx_positions'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.fx_rate_at'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.fx_gains'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.transaction_queue_attempts'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.queue_status'),
    ('reader', 'SELECT', 'TABLE', 'neobank.posting_path'),
    ('reader', 'EXECUTE', 'FUNCTION', 'neobank.uuid_v7'),
    ('reader', 'EXECUTE', 'FUNCTION', 'neobank.posting_path_in_force'),
    ('reader', 'EXECUTE', 'FUNCTION', 'banking.account_number_is_valid'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.generated_reference'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.statement'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.balance_as_of'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.transaction'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.trial_balance'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.daily_reconciliation'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.clearing_items'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.clearing_positions'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batch_errors'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batch_items'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batch_totals'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batches'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.payment_batches_status'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.settlement_report'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.settlement_runs'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.settlements'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.external_lines'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.external_statements'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciled_accounts'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciliation_match_lines'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciliation_match_postings'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciliation_matches'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.reconciliation_rules'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.reconciliation_breaks'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.reconciliation_summary'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_rules'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_tiers'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_positions'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_accruals'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_capitalisations'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.interest_accrued'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.daily_runs'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.run_refusals'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fee_schedules'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fee_tiers'),
    ('reader', 'SELECT', 'TABLE', 'txn_processing.fees_charged'),
    ('reader', 'EXECUTE', 'FUNCTION', 'txn_processing.fee_for'),
    ('reader', 'SELECT', 'TABLE', 'event_store.streams'),
    ('reader', 'SELECT', 'TABLE', 'event_store.events'),
    ('reader', 'SELECT', 'TABLE', 'event_store.position_base'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.safe_position'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.page_size'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.read_stream'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.read_category'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.read_all'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.get_aggregate_state'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.get_aggregate_state_at'),
    ('reader', 'SELECT', 'TABLE', 'event_store.reducers'),
    ('reader', 'SELECT', 'TABLE', 'event_store.snapshots'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscriptions'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_partitions'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_streams'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_parked'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_leases'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_consumers'),
    ('reader', 'SELECT', 'TABLE', 'event_store.subscription_lag'),
    ('reader', 'SELECT', 'TABLE', 'event_store.parked_events'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.stream_partition'),
    ('reader', 'SELECT', 'TABLE', 'event_store.ledger_publications'),
    ('reader', 'SELECT', 'TABLE', 'event_store.ledger_publication'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.ledger_stream'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.ledger_published_since'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.ledger_balances'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.check_ledger_events'),
    ('reader', 'SELECT', 'TABLE', 'event_store.retention_rules'),
    ('reader', 'SELECT', 'TABLE', 'event_store.tombstones'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.lowest_needed_position'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.chain_event'),
    ('reader', 'EXECUTE', 'FUNCTION', 'event_store.events_hash'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.publish_ledger'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.prepare_ledger_publication'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'event_store.run_ledger_publication'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.set_retention'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.apply_retention'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'event_store.run_retention'),
    ('reader', 'USAGE', 'SCHEMA', 'cqrs'),
    ('reader', 'USAGE', 'SCHEMA', 'saga'),
    ('reader', 'USAGE', 'SCHEMA', 'temporal'),
    ('reader', 'USAGE', 'SCHEMA', 'troubleshoot'),
    ('reader', 'USAGE', 'SCHEMA', 'pooling'),
    ('reader', 'USAGE', 'SCHEMA', 'concurrency'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.machine_cores'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.what_if'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.recommended_size'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.calculate_pool_size'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.usable_connections'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.sessions'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.bounded_period'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.bounded_pool_size'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.bounded_seconds'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.idle_connections'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.check_pool_health'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.load'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.recommend_for'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.recommend'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.advised_pool_size'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.advice'),
    ('reader', 'EXECUTE', 'FUNCTION', 'pooling.generate_pgbouncer_config'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.slow_query_rows'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.slow_queries'),
    ('reader', 'EXECUTE', 'FUNCTION', 'troubleshoot.connection_analysis'),
    ('reader', 'SELECT', 'TABLE', 'pooling.v_connection_analysis'),
    ('reader', 'SELECT', 'TABLE', 'pooling.v_idle_connections'),
    ('reader', 'SELECT', 'TABLE', 'pooling.samples'),
    ('reader', 'SELECT', 'TABLE', 'pooling.load_samples'),
    ('reader', 'SELECT', 'TABLE', 'pooling.pool_stats'),
    ('reader', 'SELECT', 'TABLE', 'troubleshoot.v_slow_queries'),
    ('operator', 'INSERT, UPDATE, DELETE', 'TABLE', 'pooling.samples'),
    ('operator', 'INSERT, UPDATE, DELETE', 'TABLE', 'pooling.load_samples'),
    ('operator', 'INSERT, UPDATE, DELETE', 'TABLE', 'pooling.pool_stats'),
    ('operator', 'EXECUTE', 'FUNCTION', 'pooling.session_groups'),
    ('operator', 'EXECUTE', 'FUNCTION', 'pooling.capture_sample'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.customer_summary'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.customer_balances'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.account_activity'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.activity_marks'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.risk_scores'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.transaction_count'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.amount_total'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.last_activity'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.last_transaction_date'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.commands'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.command_events'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.command_handlers'),
    ('reader', 'EXECUTE', 'FUNCTION', 'cqrs.command_result'),
    ('teller', 'INSERT (command_id, command_type, aggregate_type, aggregate_id, payload, max_attempts, correlation_id)', 'TABLE', 'cqrs.commands'),
    ('teller', 'EXECUTE', 'FUNCTION', 'cqrs.submit_command'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.process_commands'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.projections'),
    ('reader', 'SELECT', 'TABLE', 'cqrs.projection_status'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.run_projection'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.pause_projection'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.resume_projection'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.rebuild_projection'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.run_rebuild'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.cancel_rebuild'),
    ('teller', 'EXECUTE', 'FUNCTION', 'cqrs.update_customer_summary'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.refresh_activity'),
    ('operator', 'EXECUTE', 'FUNCTION', 'cqrs.set_risk_score'),
    ('teller', 'INSERT, UPDATE', 'TABLE', 'banking.customers'),
    ('teller', 'USAGE', 'SEQUENCE', 'banking.customer_number_seq'),
    ('teller', 'INSERT (request_id, transaction_type, source_account_id, destination_account_id, amount, currency_code, priority, idempotency_key, request_data, max_retries, expires_at)', 'TABLE', 'txn_processing.transaction_queue'),
    ('teller', 'EXECUTE', 'FUNCTION', 'banking.create_customer'),
    ('teller', 'EXECUTE', 'FUNCTION', 'banking.open_account'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.transfer'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.transfer_fx'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.open_dispute'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.deposit'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.withdraw'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.pay'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.refund'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.place_hold'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.capture_hold'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.release_hold'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.capture_hold_group'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.release_hold_group'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.validate'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.post_transfers'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.post_batch'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_transfer'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_deposit'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_withdrawal'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.execute_payment'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.enqueue'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.create_payment_batch'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.pay_bank'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.receive_from_bank'),
    ('teller', 'EXECUTE', 'FUNCTION', 'txn_processing.transfer_with_fee'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.append_event'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.append_events'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.append_events_if'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.define_reducer'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.drop_reducer'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.take_snapshot'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.fetch'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.ack'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.nack'),
    ('teller', 'EXECUTE', 'FUNCTION', 'event_store.extend_lease'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.create_subscription'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.alter_subscription'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.reset_subscription'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.drop_subscription'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.replay_parked'),
    ('operator', 'EXECUTE', 'FUNCTION', 'event_store.discard_parked'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.process_transaction'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.resolve_dispute'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_dispute_policy'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_fx_rate'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.sweep_fx_residues'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.process_queue'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.charge_fee'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.credit_interest'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.adjust'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.reverse'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.reverse_transaction'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_account_status'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_overdraft_limit'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_balance_mode'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.expire_holds'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_hold_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_account_limit'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.set_type_limit'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.close_account'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.update_account_optimistic'),
    ('operator', 'EXECUTE', 'FUNCTION', 'banking.create_tenant'),
    ('operator', 'SELECT', 'TABLE', 'neobank.guard_log'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.cancel_payment_batch'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.process_payment_batch'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.retry_payment_batch'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'txn_processing.run_payment_batch'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.settle'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.import_external_statement'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.match_external_statement'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.manual_match'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.unmatch'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_reconciliation_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_interest_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_account_interest_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.end_account_interest_rule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.accrue_interest'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.capitalise_interest'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.settle_interest'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.set_fee_schedule'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.apply_fee'),
    ('operator', 'EXECUTE', 'FUNCTION', 'txn_processing.charge_periodic_fees'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'txn_processing.run_interest_accrual'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'txn_processing.run_interest_capitalisation'),
    ('operator', 'EXECUTE', 'PROCEDURE', 'txn_processing.run_periodic_fees');

CREATE FUNCTION neobank.grant_usage(role name, level text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    levels CONSTANT text[] := ARRAY['reader', 'teller', 'operator'];
    rank CONSTANT integer := array_position(levels, level);
    entry neobank.access_rights;
BEGIN
    IF role IS NULL OR level IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN role IS NULL THEN 'role' ELSE 'level' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF rank IS NULL THEN
        RAISE EXCEPTION 'argument "level" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = format('There is no level %L.', left(level, 100)),
                  HINT = 'Levels are reader, teller and operator.';
    END IF;
    IF role = 'public' THEN
        RAISE EXCEPTION 'argument "role" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = 'PUBLIC is everybody, and gets nothing.', HINT = 'Name a role.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role
            USING ERRCODE = 'undefined_object', HINT = 'Create it first.';
    END IF;
    FOR entry IN
        SELECT r.* FROM neobank.access_rights r WHERE array_position(levels, r.access_level) <= rank
    LOOP
        -- Both parts of the name are constants of the install; the role is the only value, and it is quoted.
        EXECUTE format('GRANT %s ON %s %s TO %I', entry.privileges, entry.object_kind, entry.object_name, role);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION neobank.grant_usage(name, text) FROM PUBLIC;
COMMENT ON FUNCTION neobank.grant_usage(name, text) IS
    'role: who gets rights. level: reader (sees everything), teller (also customers, accounts, deposits, transfers, payments, refunds), operator (also fees, interest, adjustments, reversals, statuses, limits, closing, tenants). Adds to what the role has; neobank.revoke_usage takes all. NB021: no such level, or role public.';

CREATE FUNCTION neobank.revoke_usage(role name) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    entry neobank.access_rights;
BEGIN
    IF role IS NULL THEN
        RAISE EXCEPTION 'argument "role" must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    IF role = 'public' THEN
        RAISE EXCEPTION 'argument "role" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = 'PUBLIC has nothing that could be revoked.', HINT = 'Name a role.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role
            USING ERRCODE = 'undefined_object', HINT = 'There is nothing to revoke.';
    END IF;
    FOR entry IN SELECT r.* FROM neobank.access_rights r LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %I', entry.object_kind, entry.object_name, role);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION neobank.revoke_usage(name) FROM PUBLIC;
COMMENT ON FUNCTION neobank.revoke_usage(name) IS
    'role: who loses every right that neobank.grant_usage gave.';
