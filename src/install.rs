//! What CREATE EXTENSION loads of `sql/`, and in which order.

use pgrx::prelude::*;

extension_sql_file!("../sql/schemas.sql", name = "schemas", bootstrap);
extension_sql_file!("../sql/neobank.sql", name = "neobank_tables", requires = ["schemas"]);
extension_sql_file!(
    "../sql/banking.sql",
    name = "banking_tables",
    requires = ["neobank_tables", neobank::uuid_v7]
);
extension_sql_file!("../sql/currencies.sql", name = "currencies", requires = ["banking_tables"]);
extension_sql_file!("../sql/txn_processing.sql", name = "txn_processing_tables", requires = ["currencies"]);
extension_sql_file!("../sql/limits.sql", name = "limits", requires = ["txn_processing_tables"]);
extension_sql_file!("../sql/holds.sql", name = "holds", requires = ["txn_processing_tables"]);
extension_sql_file!("../sql/disputes.sql", name = "disputes", requires = ["txn_processing_tables"]);
extension_sql_file!("../sql/queue.sql", name = "queue", requires = ["txn_processing_tables"]);
extension_sql_file!(
    "../sql/txn_processing_views.sql",
    name = "txn_processing_views",
    requires = ["holds", "limits", "disputes", txn_processing::contract::generated_reference_sql]
);
extension_sql_file!(
    "../sql/guards.sql",
    name = "guards",
    requires = ["txn_processing_views", guard::neobank::guard_ledger, guard::neobank::guard_accounts]
);
extension_sql_file!(
    "../sql/posting_path.sql",
    name = "posting_path",
    requires = ["guards", txn_processing::path::neobank::posting_path_in_force]
);
extension_sql_file!("../sql/settlement.sql", name = "settlement", requires = ["posting_path"]);
extension_sql_file!("../sql/payment_batches.sql", name = "payment_batches", requires = ["settlement"]);
extension_sql_file!(
    "../sql/fx.sql",
    name = "fx",
    requires = ["posting_path", txn_processing::fx::api::fx_rate_at, txn_processing::balances::balance_as_of]
);
extension_sql_file!("../sql/reconciliation.sql", name = "reconciliation", requires = ["guards"]);
extension_sql_file!("../sql/interest.sql", name = "interest", requires = ["posting_path"]);
extension_sql_file!("../sql/fees.sql", name = "fees", requires = ["interest"]);
extension_sql_file!(
    "../sql/event_store.sql",
    name = "event_store_tables",
    requires = ["guards", event_store::api::page_size]
);
extension_sql_file!("../sql/cqrs.sql", name = "cqrs_tables", requires = ["event_store_tables"]);
extension_sql_file!("../sql/cqrs_projections.sql", name = "cqrs_projections", requires = ["cqrs_tables"]);
extension_sql_file!(
    "../sql/cqrs_views.sql",
    name = "cqrs_views",
    requires = [
        "cqrs_tables",
        "cqrs_projections",
        cqrs::activity::api::transaction_count,
        cqrs::activity::api::amount_total,
        cqrs::activity::api::last_activity,
        cqrs::activity::api::last_transaction_date,
    ]
);
extension_sql_file!(
    "../sql/event_store_state.sql",
    name = "event_store_state",
    requires = ["event_store_tables"]
);
extension_sql_file!(
    "../sql/event_store_subscriptions.sql",
    name = "event_store_subscriptions",
    requires = ["event_store_tables", event_store::subscriptions::api::stream_partition]
);
extension_sql_file!(
    "../sql/event_store_publish.sql",
    name = "event_store_publish",
    requires = [
        "event_store_tables",
        event_store::publish::api::ledger_opened_at,
        event_store::publish::api::ledger_published_since,
        event_store::publish::api::prepare_ledger_publication,
        event_store::publish::api::publish_ledger
    ]
);
extension_sql_file!(
    "../sql/event_store_retention.sql",
    name = "event_store_retention",
    requires = [
        "event_store_publish",
        "event_store_subscriptions",
        "cqrs_projections",
        event_store::retention::api::apply_retention
    ]
);
extension_sql_file!("../sql/saga.sql", name = "saga_tables", requires = ["guards"]);
extension_sql_file!(
    "../sql/saga_functions.sql",
    name = "saga_functions",
    requires = [
        "saga_tables",
        saga::api::define::define,
        saga::api::define::start,
        saga::api::running::run,
        saga::api::running::run_ready,
        saga::api::worker::claim_step,
        saga::api::worker::complete_step,
        saga::api::worker::fail_step,
        saga::api::worker::extend_step_lease,
        saga::api::person::signal,
        saga::api::person::cancel,
        saga::api::person::retry_step,
        saga::api::person::retry_compensation,
        saga::api::person::resolve,
        saga::api::client::create_saga,
        saga::api::client::execute_step,
    ]
);
extension_sql_file!(
    "../sql/saga_prune.sql",
    name = "saga_prune",
    requires = ["saga_functions", saga::api::prune::prune, saga::api::prune::forget_keys]
);
extension_sql_file!("../sql/saga_describe.sql", name = "saga_describe", requires = ["saga_functions"]);
extension_sql_file!(
    "../sql/saga_payments.sql",
    name = "saga_payments",
    requires = ["saga_functions", txn_processing::holds::api::place_hold, txn_processing::strict::reverse]
);
extension_sql_file!(
    "../sql/temporal_accounts.sql",
    name = "temporal_accounts",
    requires = [
        "guards",
        temporal::accounts::reading::account_balance_as_of,
        temporal::accounts::reading::balance_before,
        temporal::accounts::reading::get_account_as_of
    ]
);
extension_sql_file!("../sql/temporal_tables.sql", name = "temporal_registry", requires = ["guards"]);
extension_sql_file!(
    "../sql/temporal_tables_make.sql",
    name = "temporal_make",
    requires = ["temporal_registry"]
);
extension_sql_file!(
    "../sql/temporal_tables_change.sql",
    name = "temporal_change",
    requires = ["temporal_make"]
);
extension_sql_file!(
    "../sql/temporal_tables_portions.sql",
    name = "temporal_portions",
    requires = ["temporal_change"]
);
extension_sql_file!(
    "../sql/temporal_tables_keys.sql",
    name = "temporal_keys",
    requires = ["temporal_portions"]
);
extension_sql_file!(
    "../sql/temporal_tables_enable.sql",
    name = "temporal_enable",
    requires = ["temporal_keys"]
);
extension_sql_file!(
    "../sql/temporal_tables_keep.sql",
    name = "temporal_keep",
    requires = ["temporal_enable"]
);
extension_sql_file!(
    "../sql/temporal_tables_follow.sql",
    name = "temporal_follow",
    requires = ["temporal_keep"]
);
extension_sql_file!(
    "../sql/temporal_tables_watch.sql",
    name = "temporal_tables",
    requires = ["temporal_follow"]
);
extension_sql_file!(
    "../sql/troubleshoot_checks.sql",
    name = "troubleshoot_checks",
    requires = [
        "schemas",
        troubleshoot::checks::api::run_checks,
        troubleshoot::checks::api::check_definitions,
        troubleshoot::checks::api::relation_file_bytes
    ]
);
extension_sql_file!(
    "../sql/troubleshoot_health.sql",
    name = "troubleshoot_health",
    requires = ["troubleshoot_checks"]
);
extension_sql_file!(
    "../sql/troubleshoot_sessions.sql",
    name = "troubleshoot_sessions",
    requires = ["schemas"]
);
extension_sql_file!(
    "../sql/troubleshoot_explain.sql",
    name = "troubleshoot_explain",
    requires = ["schemas", troubleshoot::explain::api::explain]
);
extension_sql_file!(
    "../sql/troubleshoot_baselines.sql",
    name = "troubleshoot_baselines",
    requires = [
        "schemas",
        troubleshoot::baselines::api::capture_baseline,
        troubleshoot::baselines::api::compare_baseline,
        troubleshoot::baselines::api::run_baseline
    ]
);
extension_sql_file!(
    "../sql/troubleshoot_report.sql",
    name = "troubleshoot_report",
    requires = [
        "troubleshoot_checks",
        "troubleshoot_health",
        "troubleshoot_sessions",
        "troubleshoot_baselines",
        troubleshoot::report::api::metrics,
        troubleshoot::report::api::report_html
    ]
);
extension_sql_file!(
    "../sql/concurrency.sql",
    name = "concurrency_tables",
    requires = ["troubleshoot_sessions"]
);
extension_sql_file!(
    "../sql/pooling.sql",
    name = "pooling_tables",
    requires = [
        "schemas",
        pooling::api::machine_cores,
        pooling::api::what_if,
        pooling::api::recommended_size,
        pooling::api::calculate_pool_size,
        pooling::api::bounded_pool_size,
        pooling::api::bounded_seconds,
        pooling::capture::bounded_period,
        pooling::capture::capture_sample,
        pooling::pgbouncer_api::generate_pgbouncer_config
    ]
);
extension_sql_file!("../sql/pooling_advice.sql", name = "pooling_advice", requires = ["pooling_tables"]);
extension_sql_file!(
    "../sql/slow_queries.sql",
    name = "slow_queries",
    requires = ["pooling_tables", pooling::api::slow_query_rows]
);
extension_sql_file!(
    "../sql/access.sql",
    name = "access",
    requires = [
        "queue",
        "payment_batches",
        "fx",
        "reconciliation",
        "fees",
        "event_store_tables",
        "event_store_state",
        "event_store_retention",
        "cqrs_views",
        "saga_describe",
        "saga_prune",
        "saga_payments",
        "temporal_accounts",
        "temporal_tables",
        "troubleshoot_health",
        "troubleshoot_sessions",
        "troubleshoot_explain",
        "troubleshoot_baselines",
        "troubleshoot_report",
        "pooling_advice",
        "slow_queries",
        "concurrency_tables"
    ]
);
extension_sql_file!("../sql/guard_shipped.sql", name = "guard_shipped", requires = ["guards"]);
extension_sql_file!("../sql/guard_drop.sql", name = "guard_drop", requires = ["access"]);
extension_sql_file!("../sql/finish.sql", name = "finish", finalize);
