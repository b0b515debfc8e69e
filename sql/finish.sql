-- Nothing of the extension is PUBLIC's: functions made by the library included.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA neobank, banking, txn_processing FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA neobank, banking, txn_processing FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA neobank, banking, txn_processing FROM PUBLIC;
REVOKE ALL ON TYPE txn_processing.txn_type, txn_processing.txn_status FROM PUBLIC;
REVOKE ALL ON DOMAIN banking.account_status FROM PUBLIC;

-- Comments of the functions that the library makes and of the sequence behind an identity column; what else sql/
-- creates has its comment beside it.

COMMENT ON FUNCTION neobank.uuid_v7 IS
    'A new UUID version 7 (RFC 9562). Ids that one session draws ascend.';
COMMENT ON FUNCTION neobank.guard_ledger IS
    'Trigger: refuses direct writes to postings with NB009, unless a superuser has neobank.ledger_guard off (logged) or the owner loads the empty table in one statement, as a restore does.';
COMMENT ON FUNCTION neobank.guard_accounts IS
    'Trigger: refuses direct writes to banking.accounts with NB010, unless a superuser has neobank.ledger_guard off (logged) or the owner loads the empty table in one statement, as a restore does.';

COMMENT ON SEQUENCE banking.tenants_tenant_no_seq IS 'Numbers of tenants; gaps are possible.';

COMMENT ON FUNCTION banking.create_tenant IS
    'name: 1 to 200 characters, unique. Returns the new tenant''s id, which other functions take as their argument tenant. NB021: name blank, too long or taken.';
COMMENT ON FUNCTION banking.create_customer IS
    'first_name, last_name: 1 to 100 characters; the other texts as long as their columns in banking.customers; tenant: null means the bank itself. Returns the new customer''s id. NB015: no such tenant; NB021: a name blank or a text too long; 22004: a name or customer_type null.';
COMMENT ON FUNCTION banking.open_account IS
    'customer_id: the holder; account_type: a type of banking.account_types that is not internal; currency: three capital letters; opening_deposit, overdraft_limit: in units of the currency, 0 to 10^18; account_number: 1 to 50 characters, null: twelve digits and two check digits are generated; tenant: the customer''s, null means the bank itself. Returns the new account''s id. The first account of a tenant and currency makes their internal accounts. NB005: amount; NB013, NB015: tenant; NB014: customer; NB016: currency; NB017: type; NB020: number.';
COMMENT ON FUNCTION banking.account_number_is_valid IS
    'account_number: digits. True where the check digits hold (ISO 7064, MOD 97-10) and there are at least 14 digits; it does not say that the account exists.';
COMMENT ON FUNCTION banking.set_account_status IS
    'account_id; status: active, dormant (receives, does not send), frozen (neither) or closed (final, as banking.close_account without a sweep); reason: 1 to 1,000 characters, kept in banking.account_status_changes; tenant: the account''s, null means the bank itself. NB002: account; NB013, NB015: tenant; NB018: closing with money on it; NB019: no such status or closed; NB021: reason.';
COMMENT ON FUNCTION banking.set_overdraft_limit IS
    'account_id; overdraft_limit: how far debits may take the balance past zero, in units of the currency, 0 to 10^18; reason: 1 to 1,000 characters, kept in banking.account_status_changes; tenant: the account''s, null means the bank itself. NB002: account; NB005: limit; NB013, NB015: tenant; NB021: reason.';
COMMENT ON FUNCTION banking.close_account IS
    'account_id: active or dormant; sweep_to: the account that gets what is left, null: there must be nothing left; tenant: the account''s, null means the bank itself. Returns the sweep''s transaction id, null where nothing was swept. NB002: account; NB013, NB015: tenant; NB018: money and no sweep_to, or a balance below zero; NB019: frozen or closed; and the errors of txn_processing.transfer.';
COMMENT ON FUNCTION banking.update_account_optimistic IS
    'p_account_id; p_new_balance: in units of the currency; p_expected_version: banking.accounts.version as the caller read it. Posts the difference as an adjustment if the version still holds. Returns success, the version found or made, and a message where the account is unknown or the version another. Raises NB003, NB005 and 22004.';

COMMENT ON FUNCTION txn_processing.transfer IS
    'Debits from_account and credits to_account. amount: in units of the currency, above 0, to 10^18, no more decimals than the currency has; currency: checked against the accounts'', null: theirs; description: up to 1,000 characters; reference: up to 50, null: shown as generated; metadata: a JSON object of up to 16 kB and 16 levels; transaction_id: the caller''s, so that a retry answers the first result, null: drawn; effective_at: when it counts from, now or up to neobank.max_backdate_days back, null: now. Returns the transaction''s id. NB001: funds; NB002: account; NB003: status; NB004: currency; NB005: amount; NB006: same account; NB007: id with other content; NB012: balance out of range; NB013: tenants differ; NB021: text or metadata; NB022: effective_at; 22004: null.';
COMMENT ON FUNCTION txn_processing.deposit IS
    'Debits cash and credits account. amount and the arguments after it, result and errors: as txn_processing.transfer.';
COMMENT ON FUNCTION txn_processing.withdraw IS
    'Debits account and credits cash. amount and the arguments after it, result and errors: as txn_processing.transfer.';
COMMENT ON FUNCTION txn_processing.pay IS
    'Debits account and credits payments_clearing. amount and the arguments after it, result and errors: as txn_processing.transfer.';
COMMENT ON FUNCTION txn_processing.charge_fee IS
    'Debits account and credits fee_income; may pass the overdraft limit. amount and the arguments after it, result and errors: as txn_processing.transfer, without NB001.';
COMMENT ON FUNCTION txn_processing.credit_interest IS
    'Debits interest_expense and credits account. amount and the arguments after it, result and errors: as txn_processing.transfer.';
COMMENT ON FUNCTION txn_processing.adjust IS
    'Changes a balance against suspense; may pass the overdraft limit. account; amount: in units of the currency, above 0 adds to the balance, below 0 takes from it; reason: 1 to 1,000 characters, kept as the description; the other arguments, result and errors: as txn_processing.transfer, without NB001; NB021: reason blank or too long.';
COMMENT ON FUNCTION txn_processing.refund IS
    'Gives back original_transaction, or part of it, with debit and credit swapped. amount: in units of the currency, in total never more than the original, null: all that is left; the other arguments, result and errors: as txn_processing.transfer. NB008: original unknown, reversed, a reversal, a refund, or less left than amount.';
COMMENT ON FUNCTION txn_processing.reverse IS
    'Gives back a whole transaction, once, with debit and credit swapped; its status is reversed from then on. transaction_id: the original; reason: 1 to 1,000 characters; reversal_transaction_id: the caller''s id for the reversal, so that a retry answers the first result; allow_overdraft: whether the account that gives back may pass its limit, null: as neobank.reversal_overdraft says; reference, metadata, effective_at, errors: as txn_processing.transfer. Returns the reversal''s id. NB008: original unknown, reversed, refunded, or a reversal; NB021: reason.';

COMMENT ON FUNCTION txn_processing.execute_transfer IS
    'txn_processing.transfer for programs that read JSON: p_transaction_id, p_reference, p_currency and p_metadata may be null. Returns success, transaction_id, reference, from_balance, to_balance; a refusal is not raised but answered as success false, error, code, sqlstate, detail, and for insufficient_funds available and requested. Codes: docs/errors.md.';
COMMENT ON FUNCTION txn_processing.execute_deposit IS
    'txn_processing.deposit for programs that read JSON: p_transaction_id, p_reference, p_currency and p_metadata may be null. Returns success, transaction_id, reference, to_balance, balance; a refusal as txn_processing.execute_transfer.';
COMMENT ON FUNCTION txn_processing.execute_withdrawal IS
    'txn_processing.withdraw for programs that read JSON: p_transaction_id, p_reference, p_currency and p_metadata may be null. Returns success, transaction_id, reference, from_balance, balance; a refusal as txn_processing.execute_transfer.';
COMMENT ON FUNCTION txn_processing.execute_payment IS
    'txn_processing.pay for programs that read JSON: p_transaction_id, p_reference, p_currency and p_metadata may be null. Returns success, transaction_id, reference, from_balance, balance; a refusal as txn_processing.execute_transfer.';
COMMENT ON FUNCTION txn_processing.reverse_transaction IS
    'txn_processing.reverse for programs that read JSON. p_transaction_id: the original; p_reason: 1 to 1,000 characters; p_reversed_by: a name kept in the metadata. Returns success, reversal_transaction_id, reference, from_balance, to_balance, overdrawn (whether the account that gave back is below zero); a refusal as txn_processing.execute_transfer.';
COMMENT ON FUNCTION txn_processing.process_transaction IS
    'p_request_id: a queued row of txn_processing.transaction_queue. Posts it and sets its status, error_message and transaction_id. Returns the posting''s JSON with request_id; a refusal as txn_processing.execute_transfer, the request then being failed; request_not_found (or another session has it), request_already_processed, request_expired.';

COMMENT ON FUNCTION txn_processing.statement IS
    'account_id; from_time (inclusive), to_time (exclusive): effective time, null: unbounded; max_rows: 1 to 10,000; before_sequence: the last row''s sequence of the page before, null: the newest page. Returns the account''s postings, newest first. NB002: account; NB021: max_rows.';
COMMENT ON FUNCTION txn_processing.balance_as_of IS
    'account_id; at: effective time, inclusive. Returns the account''s balance then, in units of its currency, signed by its normal side. NB002: account.';
COMMENT ON FUNCTION txn_processing.generated_reference IS
    'transaction_id; is_reversal; created_at. The reference shown where the caller gave none: TXN or REV, the UTC day, the id in hexadecimal. Null where an argument is null.';
