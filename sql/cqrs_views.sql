-- What is owed to the customer counts up, what the customer owes counts down: a loan's balance is no money of theirs.
CREATE VIEW cqrs.customer_balances AS
SELECT
    a.customer_id,
    a.currency_code,
    pg_catalog.count(*)::integer AS accounts,
    coalesce(pg_catalog.sum(a.current_balance) FILTER (WHERE a.normal_side = 'C'), 0) AS deposits,
    coalesce(pg_catalog.sum(a.current_balance) FILTER (WHERE a.normal_side = 'D'), 0) AS debts,
    pg_catalog.sum(CASE a.normal_side WHEN 'C' THEN a.current_balance ELSE -a.current_balance END) AS balance
FROM banking.account_balances a
WHERE a.customer_id IS NOT NULL
GROUP BY a.customer_id, a.currency_code;
REVOKE ALL ON cqrs.customer_balances FROM PUBLIC;
COMMENT ON VIEW cqrs.customer_balances IS
    'What each customer has in each currency, at the reader''s snapshot. Amounts of different currencies are never added.';
COMMENT ON COLUMN cqrs.customer_balances.accounts IS 'The customer''s accounts in the currency, closed ones too.';
COMMENT ON COLUMN cqrs.customer_balances.deposits IS
    'The sum of the balances that the bank owes the customer (normal side C); below zero by what is overdrawn.';
COMMENT ON COLUMN cqrs.customer_balances.debts IS
    'The sum of the balances that the customer owes the bank (normal side D: loans, credit cards).';
COMMENT ON COLUMN cqrs.customer_balances.balance IS 'deposits less debts.';

CREATE VIEW cqrs.customer_summary AS
SELECT
    c.customer_id,
    c.first_name || ' ' || c.last_name AS customer_name,
    t.accounts AS total_accounts,
    CASE WHEN t.currencies > 1 THEN NULL ELSE coalesce(t.balance, 0) END AS total_balance,
    (SELECT pg_catalog.max(cqrs.last_transaction_date(a.account_id))
     FROM banking.accounts a WHERE a.customer_id = c.customer_id) AS last_transaction_date,
    r.risk_score,
    greatest(
        c.updated_at, r.set_at,
        (SELECT pg_catalog.max(greatest(a.updated_at, (SELECT pg_catalog.max(s.updated_at) FROM banking.account_slots s
                                                       WHERE s.account_id = a.account_id)))
         FROM banking.accounts a WHERE a.customer_id = c.customer_id)
    ) AS updated_at,
    CASE WHEN t.currencies = 1 THEN t.currency_code END::char(3) AS currency_code,
    t.balances,
    c.tenant_no
FROM banking.customers c
LEFT JOIN cqrs.risk_scores r ON r.customer_id = c.customer_id
CROSS JOIN LATERAL (
    SELECT
        coalesce(pg_catalog.sum(b.accounts), 0)::integer AS accounts,
        pg_catalog.count(*) AS currencies,
        pg_catalog.sum(b.balance) AS balance,
        pg_catalog.max(b.currency_code) AS currency_code,
        coalesce(pg_catalog.jsonb_object_agg(b.currency_code, b.balance), '{}') AS balances
    FROM cqrs.customer_balances b
    WHERE b.customer_id = c.customer_id
) t;
REVOKE ALL ON cqrs.customer_summary FROM PUBLIC;
COMMENT ON VIEW cqrs.customer_summary IS
    'One row per customer, exact at the reader''s snapshot: postings pay nothing for it, and nothing has to be refreshed.';
COMMENT ON COLUMN cqrs.customer_summary.customer_name IS 'First and last name.';
COMMENT ON COLUMN cqrs.customer_summary.total_accounts IS 'All of the customer''s accounts, closed ones too.';
COMMENT ON COLUMN cqrs.customer_summary.total_balance IS
    'What the accounts hold together, in currency_code: what the bank owes the customer less what the customer owes (loans, credit cards). 0 without accounts. Null where they are in several currencies: then there is no such sum, and balances has one for each.';
COMMENT ON COLUMN cqrs.customer_summary.last_transaction_date IS
    'The latest effective time of any posting on any of the accounts (transaction_date of banking.transactions); null without postings.';
COMMENT ON COLUMN cqrs.customer_summary.risk_score IS 'As cqrs.set_risk_score set it; null until then.';
COMMENT ON COLUMN cqrs.customer_summary.updated_at IS
    'When the customer, the risk score or any of the accounts last changed.';
COMMENT ON COLUMN cqrs.customer_summary.currency_code IS 'The currency of all accounts; null where there are several or none.';
COMMENT ON COLUMN cqrs.customer_summary.balances IS
    'balance of cqrs.customer_balances by currency: {"EUR": 10.00, "JPY": 500}.';

CREATE VIEW cqrs.account_activity AS
SELECT
    a.account_id,
    a.account_number,
    c.first_name || ' ' || c.last_name AS customer_name,
    a.current_balance,
    a.available_balance,
    cqrs.transaction_count(a.account_id, pg_catalog.now() - '720 hours'::interval)::integer AS transaction_count_30d,
    pg_catalog.round(
        cqrs.amount_total(a.account_id) / nullif(cqrs.transaction_count(a.account_id), 0), k.exponent
    ) AS average_transaction_amount,
    cqrs.last_activity(a.account_id) AS last_activity,
    (SELECT greatest(o.updated_at, pg_catalog.max(s.updated_at))
     FROM banking.accounts o
     LEFT JOIN banking.account_slots s ON s.account_id = o.account_id
     WHERE o.account_id = a.account_id
     GROUP BY o.updated_at) AS updated_at,
    a.currency_code,
    cqrs.transaction_count(a.account_id) AS transaction_count,
    pg_catalog.round(
        cqrs.amount_total(a.account_id, pg_catalog.now() - '720 hours'::interval)
            / nullif(cqrs.transaction_count(a.account_id, pg_catalog.now() - '720 hours'::interval), 0),
        k.exponent
    ) AS average_transaction_amount_30d,
    a.customer_id,
    a.tenant_no
FROM banking.account_balances a
JOIN banking.customers c ON c.customer_id = a.customer_id
JOIN banking.currencies k ON k.currency_code = a.currency_code;
REVOKE ALL ON cqrs.account_activity FROM PUBLIC;
COMMENT ON VIEW cqrs.account_activity IS
    'One row per account of a customer, exact at the reader''s snapshot. Columns that are not asked for cost nothing. cqrs.refresh_activity makes the averages of accounts with many postings quick; it changes no figure.';
COMMENT ON COLUMN cqrs.account_activity.customer_name IS 'First and last name.';
COMMENT ON COLUMN cqrs.account_activity.current_balance IS 'As banking.account_balances has it, slotted accounts too.';
COMMENT ON COLUMN cqrs.account_activity.available_balance IS 'current_balance less what open holds set aside.';
COMMENT ON COLUMN cqrs.account_activity.transaction_count_30d IS
    'Postings on the account, debits and credits, that were recorded in the 720 hours before this transaction began: a rolling window, not whole days. A backdated posting counts when it is recorded; each leg and each reversal counts as one.';
COMMENT ON COLUMN cqrs.account_activity.average_transaction_amount IS
    'The mean amount of all postings on the account, debits and credits alike, rounded to the decimals of the currency; null without postings.';
COMMENT ON COLUMN cqrs.account_activity.last_activity IS 'When the last posting was recorded; null without postings.';
COMMENT ON COLUMN cqrs.account_activity.updated_at IS 'When the account, or one of its slots, last changed.';
COMMENT ON COLUMN cqrs.account_activity.transaction_count IS 'All postings on the account.';
COMMENT ON COLUMN cqrs.account_activity.average_transaction_amount_30d IS
    'The mean amount of the postings that transaction_count_30d counts; null without any.';
