-- Nothing of the extension is PUBLIC's: functions made by the library included.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA neobank, banking, txn_processing, event_store, cqrs FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA troubleshoot FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA neobank, banking, txn_processing, event_store, cqrs FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA neobank, banking, txn_processing, event_store, cqrs FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA temporal FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA temporal FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA temporal FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA troubleshoot, concurrency FROM PUBLIC;
REVOKE ALL ON TYPE txn_processing.txn_type, txn_processing.txn_status FROM PUBLIC;
REVOKE ALL ON DOMAIN banking.account_status FROM PUBLIC;

-- Comments of the functions that the library makes and of the sequence behind an identity column; what else sql/
-- creates has its comment beside it.

COMMENT ON FUNCTION neobank.uuid_v7 IS
    'A new UUID version 7 (RFC 9562). Ids that one session draws ascend.';
COMMENT ON FUNCTION neobank.guard_ledger IS
    'Trigger: refuses direct writes to postings with NB009, unless a superuser has neobank.ledger_guard off (logged) or the owner loads the empty table in one statement, as a restore does.';
COMMENT ON FUNCTION neobank.guard_accounts IS
    'Trigger: refuses direct writes to banking.accounts and banking.account_slots with NB010, unless a superuser has neobank.ledger_guard off (logged) or the owner loads the empty table in one statement, as a restore does.';

COMMENT ON FUNCTION neobank.posting_path_in_force IS
    'The setting neobank.posting_path, the way on which postings of this session reach the tables (direct, spi, or none where every posting is refused), and why. Shown by the view neobank.posting_path.';

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
COMMENT ON FUNCTION banking.set_balance_mode IS
    'account_id: a customer''s or internal account; mode: exclusive (the balance is in one row, postings change it one after another) or slotted (spread over rows, postings go on side by side; one that may not pass the account''s limit locks all of them); tenant: the account''s, null means the bank itself. The balance stays the same; kept in banking.balance_mode_changes. NB002: account; NB012: more than 10^22 for a slot; NB013, NB015: tenant; NB021: mode; NB026: something is reserved.';
COMMENT ON FUNCTION banking.close_account IS
    'account_id: active or dormant; sweep_to: the account that gets what is left, null: there must be nothing left; tenant: the account''s, null means the bank itself. Returns the sweep''s transaction id, null where nothing was swept. NB002: account; NB013, NB015: tenant; NB018: money and no sweep_to, or a balance below zero; NB019: frozen or closed; and the errors of txn_processing.transfer.';
COMMENT ON FUNCTION banking.update_account_optimistic IS
    'p_account_id; p_new_balance: in units of the currency; p_expected_version: banking.accounts.version as the caller read it. Posts the difference as an adjustment if the version still holds. Returns success, the version found or made, and a message where the account is unknown or the version another. Raises NB003, NB005, NB026 (the account is slotted) and 22004.';

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

COMMENT ON FUNCTION txn_processing.post_transfers IS
    'Up to 10,000 transfers in one call. from_accounts, to_accounts, amounts, transaction_ids, refs: one element per item, meaning as in txn_processing.transfer; linked: true ties an item to the next one, a chain stands or falls as one; atomic: the whole call is one chain, and its first refusal is raised. Returns a row per item in order: ordinal from 1, transaction_id, code (ok, or why it was refused: docs/errors.md; linked_failed for the others of a chain), both balances after it (null for a slotted account). NB021: arrays differ in length, are too long, or linked ends in true; 22004: an array null; 40001: another session is posting one of transaction_ids.';
COMMENT ON FUNCTION txn_processing.post_batch IS
    'txn_processing.post_transfers over several types. types: one per item: transfer, deposit, withdrawal, payment, fee or interest, each as far as the caller may execute its strict function (permission_denied otherwise); from_accounts is null for deposit and interest, to_accounts for withdrawal, payment and fee: the bank''s own account stands there. The other arguments, result and errors: as txn_processing.post_transfers.';

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
COMMENT ON FUNCTION txn_processing.enqueue IS
    'Adds a request to txn_processing.transaction_queue, in the name of the caller, who must be allowed to execute the function of its type. transaction_type: one of the nine; source, destination: accounts as the type needs them; amount, currency: as txn_processing.transfer; idempotency_key: up to 100 characters, a second call with it and the same content answers the first request; priority: 1 (highest) to 10; request_data: metadata of the posting, with description, reason and original_transaction_id where the type needs them; max_retries: 0 to 100, of transient failures; expires_at: not carried out from then on, null: never. Returns the request''s id. NB005: amount; NB007: the key was used for something else; NB021: type, priority, max_retries, key, reason or request_data; 22004: what the type needs is null; 42501: not permitted.';
COMMENT ON FUNCTION txn_processing.process_queue IS
    'Carries out up to max_items (1 to 10,000) requests of txn_processing.transaction_queue that are due, by priority, then age; those that another session is carrying out are left out. All of it commits or rolls back with the caller''s transaction. Returns a row per request: request_id, its status now (completed; failed: refused or out of retries; queued: a transient failure, tried again after next_attempt_at; expired), code (ok, or a word of docs/errors.md), transaction_id of the posting. NB021: max_items; NB029: the transaction is not READ COMMITTED; NB030: a trigger interfered.';

COMMENT ON FUNCTION txn_processing.place_hold IS
    'Sets amount aside on account, so that nothing else can take it. amount: in units of the currency; expires_at: from then on it counts no more, null: never; to_account: to whom a capture goes that names nobody, null: payments_clearing; group_id: the caller''s, for holds that are captured or released together; currency: checked, null: the account''s; description, reference, metadata: as txn_processing.transfer; hold_id: the caller''s, so that a retry answers the first result, null: drawn. Returns the hold''s id. NB001: funds; NB002, NB003, NB024, NB026: account unknown, not active, internal, slotted; NB004: currency; NB005: amount; NB007: id with other content; NB021: texts, or expires_at not in the future; 22004: null.';
COMMENT ON FUNCTION txn_processing.capture_hold IS
    'Debits the hold''s account by what was set aside, and credits to_account (a transfer) or payments_clearing (a payment). amount: null: all that is left of it; to_account: null: the hold''s own; final: what is left afterwards is released, false: further captures may follow; the other arguments and errors: as txn_processing.transfer. Returns the posting''s id. NB011: hold unknown, captured, released or expired; NB050: more than the hold and its account type''s overcapture_percent allow.';
COMMENT ON FUNCTION txn_processing.release_hold IS
    'hold: an open one; reason: 1 to 1,000 characters, or null. What it set aside is available again. NB011: hold not open; NB021: reason.';
COMMENT ON FUNCTION txn_processing.capture_hold_group IS
    'group_id: captures every open hold of it whole, all of them or none; what has expired is no part of it. to_account, description, reference: as txn_processing.capture_hold. Returns the postings'' ids. NB011: no open hold in the group; other errors: as txn_processing.capture_hold.';
COMMENT ON FUNCTION txn_processing.release_hold_group IS
    'group_id: releases every open hold of it, what has expired is no part of it; reason: as txn_processing.release_hold. Returns how many. NB011: no open hold in the group, or one that was closed or expired meanwhile.';
COMMENT ON FUNCTION txn_processing.expire_holds IS
    'Marks holds whose time is over and brings available_balance of their accounts up to date; postings and banking.account_balances do not wait for it. max_accounts: 1 to 100,000. Returns how many holds it marked. NB021: max_accounts.';
COMMENT ON FUNCTION txn_processing.set_hold_rule IS
    'account_type: a customer''s; overcapture_percent: 0 to 1000, how far past its amount a hold on such an account may be captured in all. NB017: account type; NB021: percentage.';
COMMENT ON FUNCTION txn_processing.validate IS
    'What the strict function of transaction_type would answer now, without effect: it is tried, and taken back. transaction_type: one of txn_processing.txn_type, or exchange (transfer_fx at the stored rate), hold (place_hold), capture (capture_hold). source: the debited account (transfer, exchange, withdrawal, payment, fee, hold; adjustment); destination: the credited one (transfer, exchange, deposit, interest; hold and capture: may be null); original_transaction: of refund and reversal, and the hold of a capture; description: the reason of adjustment and reversal; the other arguments: as the strict function has them. Returns one row: ok, code (ok, or the refusal''s word), sqlstate, message, detail, hint. Locks the accounts for a moment as the posting would; raises what is no refusal (lock timeout, deadlock, 40001).';
COMMENT ON FUNCTION banking.set_account_limit IS
    'What account_id may spend by withdrawals, transfers and payments. period: transaction, day or month (UTC); max_amount: in units of the account''s currency, null: any; max_postings: of a day or month, null: any; both null: takes the limit away; reason: 1 to 1,000 characters; tenant: null: the bank itself. Goes before the limit of its type for the same period. NB002, NB013, NB024, NB026: account unknown, of another tenant, internal, slotted; NB005: amount; NB021: period, max_postings or reason. Postings past it are refused with NB012.';
COMMENT ON FUNCTION banking.set_type_limit IS
    'What each account of account_type in currency may spend; the other arguments as banking.set_account_limit. It counts for postings that begin after it is committed. NB016, NB017: currency, account type; NB026: an account of that type is slotted.';
COMMENT ON FUNCTION txn_processing.set_fx_rate IS
    'base, quote: two currencies; rate: how much of quote one unit of base is worth, from 10^-12 to 10^12 with up to 12 significant digits; valid_from: when it begins to hold, for all tenants, until that of a later one; of two with one valid_from the one recorded last holds. Kept in txn_processing.fx_rates. NB016: currency; NB021: base is quote, or valid_from infinite; NB038: rate; 22004: null.';
COMMENT ON FUNCTION txn_processing.fx_rate_at IS
    'base, quote: currencies; at: null for now. Returns how much of quote one unit of base is worth then: the rate of the pair, else the inverse of the rate of quote in base, rounded half to even to 12 significant digits; 1 where both are one. NB016: currency; NB036: no rate; 22004: null.';
COMMENT ON FUNCTION txn_processing.transfer_fx IS
    'Debits from_account by amount, in units of its currency, and credits to_account with amount * rate, rounded half to even to the decimals of its currency: two legs under one id, over the bank''s fx_position accounts. rate: units of to_account''s currency for one of from_account''s, at most neobank.fx_rate_tolerance_bp off the stored one, null: the stored one that is valid at effective_at; from_currency, to_currency: checked, null: the accounts''; description: null: one that tells both amounts and the rate; the other arguments and errors: as txn_processing.transfer. What rounding leaves is kept in txn_processing.fx_residues. NB004: the accounts are of one currency, or not of those named; NB005: amount, or what it comes to is zero or above 10^18; NB036: no rate; NB037: rate too far off; NB038: rate.';
COMMENT ON FUNCTION txn_processing.sweep_fx_residues IS
    'max_rows: how many rows of txn_processing.fx_residues to take, 1 to 100,000, the oldest first. Posts the whole minor units of their sums, by tenant and currency, between fx_position and fx_rounding, and keeps the rest as one row each. Returns a row per tenant and currency: swept (above zero: earned), remainder (less than one minor unit), transaction_id (null: nothing to post). Sweeps and exchanges do not wait for each other. NB021: max_rows.';

COMMENT ON FUNCTION txn_processing.open_dispute IS
    'transaction_id: a withdrawal, transfer, payment or fee of one leg that debits a customer''s account; reason: 1 to 1,000 characters; amount: in units of its currency, up to what is left after refunds and earlier disputes, null: all of that; dispute_id: the caller''s, so that a retry answers the first result, null: drawn. Where the policy of the account''s type says so, credits the account from the internal account disputes. Returns the dispute''s id; until it is resolved the transaction''s status is disputed, and it can be neither reversed nor refunded. NB003: the account cannot receive; NB005: amount; NB007: dispute_id with other content; NB021: reason; NB045: not disputable, DETAIL says why; NB046: it has an open dispute; 22004: null.';
COMMENT ON FUNCTION txn_processing.resolve_dispute IS
    'dispute: an open one; outcome: won (the customer keeps the amount), partial (keeps amount of it), lost or withdrawn (keeps nothing; a provisional credit is taken back, whatever the balance); amount: for partial only; note: up to 1,000 characters; charge_back: whether the customer whom the transaction credited pays (whatever the balance) or dispute_losses does, null: as the policy said when the dispute was opened. Returns the transaction that moved money, null where none was to be moved; a retry with the same arguments answers the same. NB003: an account cannot send or receive; NB005: decimals of amount; NB021: outcome, amount, note, or charge_back where the bank was credited; NB047: unknown, or resolved otherwise; 22004: null.';
COMMENT ON FUNCTION txn_processing.set_dispute_policy IS
    'account_type: of customers'' accounts; provisional_credit: whether opening a dispute credits the amount; window_days: how long after its recording a transaction can be disputed, 1 to 3,650; minimum_amount, maximum_amount: of a dispute, in units of the account''s currency, 0 to 10^18, null: no largest; charge_back: whether a dispute that is won is charged to the customer who was credited. Holds for disputes opened from then on. NB005: not a figure; NB017: account_type; NB021: window_days, minimum_amount, maximum_amount; 22004: null.';

COMMENT ON FUNCTION txn_processing.statement IS
    'account_id; from_time (inclusive), to_time (exclusive): effective time, null: unbounded; max_rows: 1 to 10,000; before_sequence: the last row''s sequence of the page before, null: the newest page. Returns the account''s postings, newest first. NB002: account; NB021: max_rows.';
COMMENT ON FUNCTION txn_processing.balance_as_of IS
    'account_id; at: effective time, inclusive. Returns the account''s balance then, in units of its currency, signed by its normal side. NB002: account.';
COMMENT ON FUNCTION txn_processing.generated_reference IS
    'transaction_id; is_reversal; created_at. The reference shown where the caller gave none: TXN or REV, the UTC day, the id in hexadecimal. Null where an argument is null.';

COMMENT ON FUNCTION txn_processing.pay_bank IS
    'Pays to another bank: debits account and credits payments_clearing, where the money waits for txn_processing.settle. counterparty_bank, counterparty_account: 1 to 50 characters, kept in the metadata and in txn_processing.clearing_items; the bank may not be ''unassigned''. The other arguments, result and errors: as txn_processing.transfer.';
COMMENT ON FUNCTION txn_processing.receive_from_bank IS
    'Takes in a payment from another bank: debits payments_clearing and credits account, as a deposit. Arguments, result and errors: as txn_processing.pay_bank.';
COMMENT ON FUNCTION txn_processing.settle IS
    'settlement_date: up to today in UTC; currency: three capital letters; tenant: null means the bank itself. Nets all that is in clearing and counts from before the end of the date in UTC, per counterparty bank (unassigned: postings that named none), and posts each net between payments_clearing and nostro. Once per date: a later call for it posts nothing and answers the same rows. Returns per counterparty the number of payments, outgoing, incoming, net and its posting (null where net is zero). Payments in the currency wait while it runs. NB015: tenant; NB016: currency; NB032: date in the future, or before one that is settled; NB035: clearing does not hold what its items add up to; 22004: null.';
COMMENT ON FUNCTION txn_processing.create_payment_batch IS
    'items: a JSON array of 1 to 100,000 objects {from_account, amount, and either to_account or counterparty_bank and counterparty_account; currency, reference, description, external_id may be left out}; idempotency_key: 1 to 100 characters; description: up to 1,000. Stores the items as pending, each with the id of its posting. Returns the batch''s id; the same key with the same items and description answers the first batch. NB007: key with other content; NB021: an argument out of bounds; NB033: an item is malformed, DETAIL names its number from 1 and its key; 22004: null.';
COMMENT ON FUNCTION txn_processing.process_payment_batch IS
    'batch_id; chunk: 1 to 10,000. Posts up to that many pending items, the first of those that no other session has claimed, as far as the role that created the batch may execute txn_processing.transfer and pay_bank; each becomes completed or failed. Returns how many it attempted, completed and failed, and whether more are pending. An error of the server (40001, 40P01, 55P03) leaves all of them pending. NB021: chunk; NB034: no such batch; 22004: null.';
COMMENT ON FUNCTION txn_processing.retry_payment_batch IS
    'batch_id. Makes the failed items pending again, and no others; process_payment_batch then posts them. Returns how many. NB034: no such batch; 22004: null.';
COMMENT ON FUNCTION txn_processing.cancel_payment_batch IS
    'batch_id. Takes back what is pending, for good; waits for sessions that are posting items of the batch. Returns how many items. NB034: no such batch; 22004: null.';
COMMENT ON FUNCTION txn_processing.import_external_statement IS
    'Takes in a statement of another book that mirrors one account, whole. source: whose book, 1 to 100 characters; statement_ref: its name of the statement, 1 to 200, unique per source; account: the account it mirrors; currency: checked against the account''s, null: the account''s; opening_balance, closing_balance: in units of the currency, -10^24 to 10^24; lines: a JSON array of up to 100,000 objects with amount (above 0 where the account''s balance grows by it, that is signed by its normal side; a number or a text of one), booked_on (2026-01-31) or booked_at (2026-01-31T23:59:59Z), and if wanted line_ref (unique in the statement), reference, counterparty (200 characters each), description (1,000); from_date, to_date: first and last day of the period, in the session''s time zone, null: those of the lines. Returns the statement''s id; the same source, statement_ref and content again answers the same id. NB002: account; NB004: currency; NB005: an amount; NB007: other content under this name; NB012: a balance out of range; NB021: a text, a line or a day; NB048: opening balance and lines do not come to the closing balance; NB049: its days overlap with another statement of source and account; 22004: null. A gap to the statement before is kept in its columns continuity and opening_gap.';
COMMENT ON FUNCTION txn_processing.set_reconciliation_rule IS
    'Sets what counts as the same line and posting for a source. source: 1 to 100 characters; priority: 1 to 100, rules are tried in ascending order; amount_tolerance: in units of the currency, 0 to 10^18; amount_tolerance_percent: of the line''s amount, 0 to 100, the larger of the two counts; date_tolerance_days: calendar days apart, 0 to 366; reference_window_days: the same for those of one reference; passes: reference, date, one_to_many, many_to_one, subset, or none to switch the rule off. NB005, NB021: out of bounds; 22004: null.';
COMMENT ON FUNCTION txn_processing.match_external_statement IS
    'Matches the statement''s open lines with the account''s open postings by the rules of its source; where a line or posting could go two ways it stays open. Called again it finds what has become possible since. statement_id; priorities: only these rules, null: all. Returns how many matches were made, of how many lines and postings, and how many lines are open, and of them ambiguous (there is a posting they may be). NB021: no such rule, or more than 1,000,000 postings around the period; NB056: no such statement; 22004: null.';
COMMENT ON FUNCTION txn_processing.manual_match IS
    'Matches lines with transactions because a person says so, whatever the amounts; the difference is recorded. lines: 1 to 1,000 ids of txn_processing.external_lines that mirror one account; transactions: 1 to 1,000 ids, each with a posting on that account; reason: 1 to 1,000 characters. Returns the match''s id. NB021: arrays or reason; NB055: one of them is in a match; NB056: no such line or posting; 22004: null.';
COMMENT ON FUNCTION txn_processing.unmatch IS
    'Undoes a match: its lines and postings are open again, the match stays with who undid it, when and why. match_id; reason: 1 to 1,000 characters. NB021: reason; NB055: undone already; NB056: no such match; 22004: null.';
COMMENT ON FUNCTION txn_processing.reconciliation_breaks IS
    'What keeps the account''s balance and the statement''s apart at the end of the statement''s period. statement_id. kind: opening_difference (the balances differed before its first day), gap (the statement before does not lead up to it; part of the opening difference), ambiguous and line_without_posting (lines), posting_without_line (of the period), amount_difference (a match that is not even), timing (a match with members outside of the period or statement). amount: signed as the account''s balance; difference: the break''s part of ledger balance less closing balance, which their sum is, exactly; age_days: days since booked_on. NB021: more than 1,000,000 postings around the period; NB056: no such statement; 22004: null.';
COMMENT ON FUNCTION txn_processing.reconciliation_summary IS
    'The sums of txn_processing.reconciliation_breaks and both balances at the end of the statement''s period. statement_id. difference = ledger_balance - statement_balance = opening_difference + unmatched_postings - unmatched_lines + amount_differences + timing; unexplained is what is left, 0 in an intact ledger. Errors: as there.';
COMMENT ON SEQUENCE txn_processing.interest_rules_rule_id_seq IS 'Numbers of interest rules; gaps are possible.';
COMMENT ON SEQUENCE txn_processing.fee_schedules_schedule_id_seq IS 'Numbers of fee schedules; gaps are possible.';

COMMENT ON FUNCTION txn_processing.set_interest_rule IS
    'What accounts of a type and currency earn and cost from a day on. account_type: a type of banking.account_types that is not internal; currency; annual_percent: percent a year on a balance above zero, 4.25 is 4.25 %, -1000 to 1000, up to 6 decimals; day_count: act/365, act/360 or 30/360 (30E/360); valid_from: a day that none of these accounts has accrued; debit_percent: percent a year on a balance below zero; tier_from, tier_percent: up to 20 marginal tiers, lower bounds ascending from above 0; tenant: null means the bank itself. Returns the rule''s number; the same rule again answers the same. NB015: tenant; NB016: currency; NB017: type; NB021: a figure, day_count or tiers; NB041: days are accrued already; 22004: null.';
COMMENT ON FUNCTION txn_processing.set_account_interest_rule IS
    'A rule for one account, which goes before its type''s. account: a customer''s; the other arguments, result and errors: as txn_processing.set_interest_rule. NB002: account; NB013: tenant; NB024: the bank''s own account.';
COMMENT ON FUNCTION txn_processing.end_account_interest_rule IS
    'From valid_from on the account follows its type''s rule again. account, valid_from, tenant, result and errors: as txn_processing.set_account_interest_rule.';
COMMENT ON FUNCTION txn_processing.accrue_interest IS
    'Accrues every account of the tenant that has a rule, day after day, from where it stands to p_date, a day that is over in neobank.business_time_zone; days missed before are made up. max_accounts: how many account-days this call takes, 1 to 10,000; call it until done. Each day once per account, whoever calls, however often. Returns the account-days of this call and of all calls for p_date, and whether all are done. NB015: tenant; NB021: max_accounts or p_date; NB040: the day is not over; NB044: interest out of range; 22004: null; 40001 at REPEATABLE READ and above.';
COMMENT ON FUNCTION txn_processing.capitalise_interest IS
    'Posts what accounts have accrued to the end of p_date, rounded half to even to the decimals of the currency; the rest stays with the account. Interest for the customer debits interest_expense, interest of the customer credits interest_income and may pass the overdraft limit. Counts from the end of p_date. max_accounts: how many accounts this call takes, 1 to 10,000; call it until done. Once per account and day. Returns accounts looked at, posted and refused, and whether all are done; refusals are in txn_processing.run_refusals and stay accrued. NB015: tenant; NB021: max_accounts or p_date; NB022: p_date is further back than neobank.max_backdate_days; NB040: the day is not over; NB042: an account is not accrued to p_date; 22004: null.';
COMMENT ON FUNCTION txn_processing.settle_interest IS
    'Accrues and posts the interest of one account to the end of p_date, as before it is closed. account: a customer''s; p_date, tenant: as txn_processing.capitalise_interest. Returns the posting''s id, null where there was less than half of the smallest unit. Raises what refuses the posting (NB003 and others), and the errors of both functions.';
COMMENT ON FUNCTION txn_processing.set_fee_schedule IS
    'What a fee is from a day on. fee_code: 1 to 50 characters; applies_to: deposit, withdrawal, transfer, payment, or periodic; currency; method: fixed, percentage or tiered; valid_from; account_type: null means any; fixed_amount: charged in any case; percent: of the amount, 0 to 100, up to 6 decimals; floor_amount, cap_amount: the least and the highest fee, after rounding; tier_from, tier_percent, tier_fixed: up to 20 marginal tiers, lower bounds ascending from above 0; period: month, quarter or year, of a periodic fee; valid_to: the last day, null: for good; tenant: null means the bank itself. Returns the schedule''s number; the same schedule again answers the same. NB015: tenant; NB016: currency; NB017: type; NB021: the others; 22004: null.';
COMMENT ON FUNCTION txn_processing.fee_for IS
    'transaction_type: deposit, withdrawal, transfer or payment; account: who would pay; amount: in units of the currency; at: when. Returns each fee that the schedules ask for, without zeros; charges nothing. NB002: account; NB005: amount; NB021: transaction_type.';
COMMENT ON FUNCTION txn_processing.apply_fee IS
    'Charges what the schedules of the day of a posted transaction ask for, each code once per transaction; may pass the overdraft limit as txn_processing.charge_fee. transaction_id: a deposit, withdrawal, transfer or payment that is not reversed; its debited customer pays, else the credited one; fee_code: null means all. Returns all that is charged on the transaction. NB003: status; NB021: fee_code; NB043: no such transaction, or none that takes fees; 22004: null.';
COMMENT ON FUNCTION txn_processing.transfer_with_fee IS
    'A transfer and the fees that the schedules ask for, as legs of one transaction: all or nothing, and the funds must be there for both. Arguments, result and errors: as txn_processing.transfer; a retry with the same transaction_id posts nothing, though the schedules may be others by now.';
COMMENT ON FUNCTION txn_processing.charge_periodic_fees IS
    'Charges each account of the tenant that is open the periodic fees of the month, quarter or year that p_date is in, once per account, code and period; may pass the overdraft limit. p_date: a day that is over in neobank.business_time_zone; percentages are of the balance at its end, and zero below zero. max_accounts: how many accounts this call takes, 1 to 10,000; call it until done. Returns accounts looked at, posted and refused, and whether all are done; refusals are in txn_processing.run_refusals. NB005: a fee past 10^18; NB015: tenant; NB021: max_accounts or p_date; NB040: the day is not over; 22004: null.';

COMMENT ON FUNCTION event_store.append_event IS
    'Appends one event to the stream of an aggregate. p_aggregate_type: 1 to 100 characters, kept from the first event on; p_aggregate_id; p_event_type: 1 to 100 characters; p_event_data: a JSON object of up to 1 MB and 64 levels; p_expected_version: the stream''s version as the caller knows it, 0: no stream, -1: a stream, null: any; p_metadata: a JSON object of up to 16 kB; p_event_id: the caller''s, so that a retry appends nothing and answers the same, null: drawn; p_tags: up to 20 different texts. Returns the event''s id. NB101: version; NB102: another type; NB103: id with other content; NB021: a bound; 22004: null.';
COMMENT ON FUNCTION event_store.append_events IS
    'Appends 1 to 10,000 events to one stream, all or none. aggregate_type, aggregate_id, expected_version: as event_store.append_event; events: an array of objects with event_type and event_data, and optionally event_id, metadata and tags. Returns the stream''s new version; a retry with the same event_ids and content appends nothing and answers the version that they led to. NB101: version; NB102: another type; NB103: ids with other content, or only some of them; NB104: an event that is none; NB021: a bound; 22004: null.';
COMMENT ON FUNCTION event_store.append_events_if IS
    'Appends as event_store.append_events does, provided that no event of any of event_types and with all of tags is there after after_position. aggregate_type, aggregate_id, events, expected_version: as there; after_position: the last position of what the caller decided on, read below event_store.safe_position(); event_types: 1 to 100, null: any; tags: 1 to 20, null: any or none; at least one of both is given. Calls wait for each other where the first of tags is the same; without tags every append waits. Returns the stream''s new version; a retry with the same event_ids is acknowledged whatever has come since. NB110: such an event is there; NB021: a bound, or a position that is not final yet; else as event_store.append_events.';
COMMENT ON FUNCTION event_store.get_aggregate_state IS
    'The aggregate''s events folded into one object with its version; {} where it has none. p_aggregate_id; p_up_to_version: the last event to fold, null: all. What an event does is what event_store.reducers has for it; without a reducer AccountOpened sets the state, FundsDeposited and FundsWithdrawn change balance by amount in exact decimals, AccountClosed sets status, any other event is merged key by key. NB105: an event that cannot be folded; NB107: a reducer''s function; NB021: a version below zero.';
COMMENT ON FUNCTION event_store.get_aggregate_state_at IS
    'The state up to the last event that was recorded at or before p_at (created_at), with all events before it, even where a clock that was set back gave one of them a later time; {} where there is none. p_aggregate_id; p_at. Errors as event_store.get_aggregate_state; 22004: null.';
COMMENT ON FUNCTION event_store.define_reducer IS
    'Declares what an event does to the state of its aggregate, in place of what was declared before. aggregate_type, event_type: 1 to 100 characters, null: any; those of the aggregate''s type go before those of any, among them one of the event''s type before that of any. operations: up to 100 objects in their order, each {set | merge | add | subtract | append | remove: path} with value (a constant) or from (a path in event_data) and optional (true: passed by where the event has no such thing), see docs/event_store.md; or handler: a function (state jsonb, event event_store.events) returning jsonb, called with the rights of whoever reads the state, to be defined by a member of the extension''s owner. NB106: an operation; NB107: the function; NB021: a bound, or none or both of them; 42501: a handler without the right.';
COMMENT ON FUNCTION event_store.drop_reducer IS
    'Takes a reducer away. aggregate_type, event_type: as it was defined. NB108: there is none.';
COMMENT ON FUNCTION event_store.take_snapshot IS
    'Takes a snapshot of an aggregate''s state at its version, as appending does once in a while: after reducers were defined anew or a database was restored. p_aggregate_id. Returns the version; null where there are no events, or reducers that are functions. NB105: an event that cannot be folded; 22004: null.';
COMMENT ON FUNCTION cqrs.transaction_count IS
    'How many postings, debits and credits, the account has. account_id: any account, slotted or not; since: only those recorded after that instant, null: all. Exact at the reader''s snapshot; takes about as many probes as the logarithm of their number. NB002: account; 22004: null.';
COMMENT ON FUNCTION cqrs.amount_total IS
    'What the amounts of the account''s postings add up to, debits and credits alike, in units of its currency. account_id; since: only those recorded after that instant, null: all. Exact at the reader''s snapshot; reads the postings that cqrs.refresh_activity has not marked yet. NB002: account; 22004: null.';
COMMENT ON FUNCTION cqrs.last_activity IS
    'When the account''s last posting was recorded; null without one. account_id. NB002: account; 22004: null.';
COMMENT ON FUNCTION cqrs.last_transaction_date IS
    'The latest effective time of any of the account''s postings, which is not that of the last one where that was backdated; null without one. account_id. NB002: account; 22004: null.';
COMMENT ON FUNCTION cqrs.refresh_activity IS
    'Makes the marks that let cqrs.account_activity and customer_summary tell long histories quickly; what they show stays the same. max_marks: how many this call makes, 1 to 100,000, of 256 postings each; call it until it answers 0. Returns how many it made. Any number of sessions may call it at once. NB021: max_marks; 22004: null.';
COMMENT ON FUNCTION cqrs.update_customer_summary IS
    'Makes all marks of one customer''s accounts, as cqrs.refresh_activity. cqrs.customer_summary is right without it. p_customer_id. NB014: customer; 22004: null.';
COMMENT ON FUNCTION cqrs.set_risk_score IS
    'customer_id; risk_score: a number of the application''s, shown in cqrs.customer_summary, null: none. NB014: customer; 22004: customer_id null.';
COMMENT ON FUNCTION cqrs.register_handler IS
    'Has a function carry out the commands of a type, in place of the one before. command_type: 1 to 100 characters; handler: a function (cqrs.commands) returns jsonb that the caller may execute; it is called with the rights of whoever submitted the command and search_path = pg_catalog; max_attempts: 1 to 100, of commands that do not say it. A handler is code that runs in others'' names: no level of neobank.grant_usage may register one. NB021: a bound; NB122: function; 22004: null.';
COMMENT ON FUNCTION cqrs.unregister_handler IS
    'Leaves the commands of a type without a handler: new ones are refused, pending ones fail. command_type. NB121: there is none; 22004: null.';
COMMENT ON FUNCTION cqrs.submit_command IS
    'Keeps a command, and has it carried out. command_type: one that has a handler; aggregate_type: 1 to 100 characters; payload: JSON of up to 1 MB and 64 levels; aggregate_id; command_id: the caller''s, so that a retry answers the first result, null: drawn; mode: immediate (the handler runs now, in this transaction, as the caller: an error of it is raised and undoes the command too) or queued (cqrs.process_commands or a background worker runs it); correlation_id: up to 200 characters, kept with it; max_attempts: 1 to 100, null: the handler''s. Returns what cqrs.command_result answers. NB120: id with other content; NB121: no handler; NB021: a bound; 22004: null; and what the handler raises.';
COMMENT ON FUNCTION cqrs.process_commands IS
    'Carries out pending commands that are due, the oldest first, each in a subtransaction with the rights of whoever submitted it. max_commands: 1 to 1,000. Any number of sessions may call it at once; a command is carried out once. A failure is kept with the command: tried again with growing delays after a serialization failure, deadlock, lock timeout or version conflict (NB101), up to its max_attempts, else failed for good. What says nothing about a command, a cancelled statement or a lack of memory or disk, is raised, and the call undone. Returns each command with its status, SQLSTATE and message. NB021: max_commands; NB029: not at READ COMMITTED; NB123: called by a handler; 22004: null.';
COMMENT ON SEQUENCE cqrs.projections_projection_no_seq IS 'Numbers of projections; gaps are possible.';
COMMENT ON FUNCTION cqrs.create_projection IS
    'Has a function keep a table from events. name: 1 to 100 characters; handler: a function (event event_store.events, target regclass) returns void that writes to the table it is given, called with the rights of that table''s owner and search_path = pg_catalog; target: a plain table of the caller''s; filter: {"aggregate_types": [...], "event_types": [...], "tags": [...]}, each optional, events must have one of the types and all of the tags; mode: async (cqrs.run_projection or a background worker applies all events from the first on, in their order, each once) or inline (each append applies its own events in its transaction, from now on, and fails where the handler fails; cqrs.rebuild_projection takes in the earlier ones). A handler is code that runs in others'' names: no level of neobank.grant_usage may make a projection. NB021: a bound; NB122: function; NB126: name taken; NB128: table; 22004: null.';
COMMENT ON FUNCTION cqrs.drop_projection IS
    'Ends a projection; its table stays, without further events. Waits for appends that are under way where it is inline. name. NB125: there is none; 22004: null.';
COMMENT ON FUNCTION cqrs.pause_projection IS
    'Stops a projection. An async one goes on with cqrs.resume_projection; an inline one misses what is appended meanwhile, so only a rebuild sets it going again: for a handler that makes appends fail. name. NB125: there is none; 22004: null.';
COMMENT ON FUNCTION cqrs.resume_projection IS
    'Lets a paused async projection go on where it was. name. NB125: there is none; NB127: it is inline; 22004: null.';
COMMENT ON FUNCTION cqrs.run_projection IS
    'Applies the next events to an async projection''s table and moves its position on, in one transaction: each event once, in their order, up to event_store.safe_position(). name; max_events: how many events to read, 1 to 100,000. Returns how many it has read, those that the filter leaves out too; null where another session is at it. An event that the handler fails on stops the projection there: those before it are applied, and cqrs.projection_status has the reason; the next call tries it again. NB021: max_events; NB125: there is none; NB127: it is inline or paused; NB128: its table is gone; 22004: null.';
COMMENT ON FUNCTION cqrs.rebuild_projection IS
    'Begins to build a projection anew from the first event, in an empty twin of its table, while the old table serves and is kept. Call cqrs.run_rebuild until it answers done. name. NB125: there is none; NB127: a rebuild is under way; NB128: the table has something that a twin would lose (triggers, foreign keys, views, policies, ...); 22004: null.';
COMMENT ON FUNCTION cqrs.run_rebuild IS
    'A step of a rebuild: replays events into the twin and, when there are no more, puts it in the table''s place with its name, owner, grants and comment. name; max_events: how many events to read, 1 to 100,000. Returns replaying (call it again), waiting (transactions are under way that began before; call it again later), busy (another session is at it) or done. The last step of an inline projection keeps appends out while it lasts, and waits for those that are under way: set lock_timeout. Raises what the handler raises, and then nothing of this step stays. NB021: max_events; NB029: not at READ COMMITTED; NB125: there is none; NB127: no rebuild is under way; NB128: as cqrs.rebuild_projection; 22004: null.';
COMMENT ON FUNCTION cqrs.cancel_rebuild IS
    'Ends a rebuild and drops its twin; the projection goes on as it was. name. NB125: there is none; NB127: no rebuild is under way; 22004: null.';
COMMENT ON FUNCTION event_store.page_size IS
    'The bound of a page: max_events itself, 1 to 100,000. NB021: outside of it; 22004: null.';

COMMENT ON FUNCTION event_store.stream_partition IS
    'The partition of a subscription that a stream belongs to, from 0. aggregate_id; partitions: how many the subscription has. The same for ever and on every machine; null for null.';
COMMENT ON FUNCTION event_store.create_subscription IS
    'Makes a subscription. name: 1 to 100 characters; filter: an object with aggregate_types, event_types (only events of these) and tags (only events that have all of them), each an array of 1 to 100 texts or left out; start: beginning, now, or a global position after which it begins; partitions: 1 to 256, the most consumers that have events at once, for good; max_attempts: after so many failures an event is parked, 1 to 1,000; backoff_first_ms, backoff_most_ms: the wait after the first failure, doubled with each further one, and its bound; lease_ms: how long a consumer may keep events; waits and leases to a week; parked_blocks: whether the later events of a stream wait for its parked one. NB114: the name is taken; NB021: a bound; 22004: null.';
COMMENT ON FUNCTION event_store.alter_subscription IS
    'Changes settings of a subscription, as event_store.create_subscription takes them; null leaves one as it is. paused: fetches answer nothing while it is true. NB115: no such subscription; NB021: a bound.';
COMMENT ON FUNCTION event_store.reset_subscription IS
    'Has a subscription begin anew: every event after start that matches is handed out, again where it was before. What is in flight, waiting or parked is forgotten, and leases are lost. Waits for transactions that have fetched and not ended. start: beginning, now, or a global position. NB115: no such subscription; NB021: start.';
COMMENT ON FUNCTION event_store.drop_subscription IS
    'Takes a subscription away with all that it knows. Waits for transactions that have fetched and not ended. NB115: no such subscription.';
COMMENT ON FUNCTION event_store.fetch IS
    'Hands out the next events of a subscription, in stream order, and leases them to the consumer: columns of event_store.events, attempt (from 1), lease_token (what ack and nack want; a later lease of a stream has a higher one), leased_until. name; batch: 1 to 1,000; consumer: who asks, 1 to 100 characters. No other consumer gets events of these streams until each event is acknowledged, given back, or the lease runs out. Looks at up to 100,000 events for each of its shares and answers nothing if none matches. NB115: no such subscription; NB021: a bound; 22004: null; 40001: above READ COMMITTED, another consumer was first.';
COMMENT ON FUNCTION event_store.ack IS
    'Events of a lease are handled. name; lease_token; event_ids: which ones, up to 10,000, null: all that are open. Returns how many were open; again for the same lease it returns 0. NB115: no such subscription; NB116: the lease is lost; NB117: not an event of the lease; NB118: an earlier event of its stream is open; 22004: null.';
COMMENT ON FUNCTION event_store.nack IS
    'An event of a lease could not be handled; the later ones of its stream in the lease go back with it. name; lease_token; event_id; reason: 1 to 1,000 characters; retry_in_ms: the wait, to a week, null: the subscription''s backoff; park: give it up at once. Returns when it is handed out again, null: it is parked, which also max_attempts failures lead to. The same again returns the same. NB115: no such subscription; NB116: the lease is lost; NB117: not an event of the lease; NB021: a bound; 22004: null.';
COMMENT ON FUNCTION event_store.extend_lease IS
    'Gives a consumer more time. name; lease_token; by_ms: from now on, to a week, null: the subscription''s lease_ms. Returns when the lease ends, never earlier than before. NB115: no such subscription; NB116: the lease is lost or all its events are settled; NB021: by_ms.';
COMMENT ON FUNCTION event_store.replay_parked IS
    'Has parked events handed out once more, with all attempts before them. name; event_ids: which ones, null: all, up to 10,000 in one call. Where parked events do not block, an event comes after later ones of its stream. Returns how many. NB115: no such subscription; NB119: an event is not parked; NB021: too many ids, or one null.';
COMMENT ON FUNCTION event_store.discard_parked IS
    'Gives parked events up for good; their streams go on. name; event_ids: up to 10,000. Returns how many. NB115: no such subscription; NB119: an event is not parked; NB021: too many ids, or one null; 22004: null.';
COMMENT ON FUNCTION event_store.publish_ledger IS
    'Switches the publishing of postings as events. publish: true: from its commit on every posting appends an event per leg in its own transaction, and what each account holds is brought forward as an event; false: no more. Waits for postings under way and keeps new ones waiting until its transaction ends, which is short once event_store.run_ledger_publication has prepared it. Returns the position of the event that says so, which all of the publication''s postings are above; what is so already is answered again; null where it never was on. 22004: null; 55P03: lock_timeout passed.';
COMMENT ON FUNCTION event_store.prepare_ledger_publication IS
    'Brings the next accounts forward ahead of event_store.publish_ledger(true), which writes again only those that have changed by then. max_accounts: 1 to 100,000. Locks no account and no posting. Returns how many, 0 once all are or while the ledger is published. NB021: max_accounts; 22004: null.';
COMMENT ON FUNCTION event_store.ledger_published_since IS
    'The position above which the events of postings are. NB130: the ledger is not published.';
COMMENT ON FUNCTION event_store.ledger_opened_at IS
    'The position at which the last publication of the ledger up to as_of_position (null: of all) was opened; null where there is none. NB132: retention has deleted events of it up to there.';
COMMENT ON FUNCTION event_store.ledger_stream IS
    'The aggregate whose events are the legs of that posting. transaction_id; of an aggregate of type LedgerTransaction the same function answers the transaction. 22004: null.';
COMMENT ON FUNCTION event_store.set_retention IS
    'Sets how long events are kept. aggregate_type: 1 to 100 characters; keep: from 0 to 1000 years, null: for ever, which takes the rule away; keep_state: whether the state that deleted events led to is kept, so that event_store.get_aggregate_state goes on. Deletes nothing by itself. NB021: a bound; 22004: null.';
COMMENT ON FUNCTION event_store.apply_retention IS
    'Deletes events that are older than their type''s rule keeps them, the oldest of each stream first, and writes a row into event_store.tombstones for each stream. Kept are events that are not final in the reading order yet (event_store.safe_position()), that event_store.lowest_needed_position() says are needed, or that the published ledger''s balances rest on. max_events: 1 to 100,000. Streams that others write to or delete from are left for the next call. Returns the events and streams of this call, and whether nothing was left that it could have taken. NB105: a state that was to be kept cannot be folded; NB021: max_events; 22004: null.';

COMMENT ON FUNCTION temporal.get_account_as_of IS
    'p_account_id; p_as_of_time: the time at which it was true, by effective time of the postings; p_transaction_time: the time at which it was recorded so; both inclusive, ''infinity'' for all that is there, the caller''s own transaction included. One row: the account as it was then, with its balance and its own spending limits, and the row of temporal.accounts_history that says so; none before it was opened or for an unknown id. 22004: null.';
COMMENT ON FUNCTION temporal.balance_as_of IS
    'account_id; valid_at: counts postings effective by then; known_at: counts postings recorded by then. What the account held, in units of its currency, with backdated postings where they were recorded by known_at; null for an unknown account. 22004: null.';
COMMENT ON FUNCTION temporal.balance_before IS
    'account_id; valid_to, transaction_to: as temporal.balance_as_of a microsecond before both, null: without an end. Behind current_balance of temporal.accounts_history. 22004: account_id null.';
COMMENT ON FUNCTION temporal.correct IS
    'Corrects what an account was from valid_from (inclusive) to valid_to (exclusive, null: up to now). account_id: a customer''s; changes: a JSON object with customer_id, account_number, account_type, account_status, overdraft_limit, as far as they were others; reason: 1 to 1,000 characters; tenant: the account''s, null means the bank itself. What was recorded before stays readable at times before. Before the account''s first period it is made to begin earlier. Returns when it was recorded, null where all read so already. NB002: account; NB005: limit; NB013, NB015: tenant; NB014, NB017: customer or type unknown; NB020: number; NB021: reason or changes; NB024: the bank''s own account; NB300: the time; NB301: a key or value; 22004: null.';
COMMENT ON FUNCTION temporal.record_account_change IS
    'Called by temporal.record_account with what an account was before the statement that changed it. Writes the account''s history.';
COMMENT ON FUNCTION temporal.account_range(uuid, uuid) IS 'A range of ids of accounts; comes with the type.';
COMMENT ON FUNCTION temporal.account_range(uuid, uuid, text) IS 'A range of ids of accounts; comes with the type.';
COMMENT ON FUNCTION temporal.account_multirange() IS 'No ids of accounts; comes with the type.';
COMMENT ON FUNCTION temporal.account_multirange(temporal.account_range) IS 'A range of ids of accounts as several; comes with the type.';
COMMENT ON FUNCTION temporal.account_multirange(temporal.account_range[]) IS 'Several ranges of ids of accounts; comes with the type.';
COMMENT ON CAST (temporal.account_range AS temporal.account_multirange) IS 'Comes with the type.';
REVOKE ALL ON FUNCTION temporal.check_snapshot FROM PUBLIC;
COMMENT ON FUNCTION temporal.check_snapshot IS
    'Above READ COMMITTED: fails with 40001 where others have recorded something of a key that the transaction''s snapshot does not show. p_table: with a history; p_key: an object of the key''s columns. Called by what records facts of keys that are not in the table. NB320: no history; 22004: null.';
REVOKE ALL ON FUNCTION temporal.as_owner FROM PUBLIC;
COMMENT ON FUNCTION temporal.as_owner IS
    'Does one of the works on a table''s history with the rights of the table''s owner, so that no trigger or function of his gets the caller''s. p_table; p_work: follow, apply_due, prune; p_before, p_max_rows: of prune. The caller must have the owner''s rights. Returns how many rows it was. Called by the functions of these names. NB320: the table has no history; NB021: no such work; 42501: not the owner; 22004: null.';
REVOKE ALL ON FUNCTION temporal.update_portion, temporal.delete_portion, temporal.insert_portion FROM PUBLIC;
COMMENT ON FUNCTION temporal.update_portion IS
    'Corrects or schedules: rows of a key that are true between two instants get changed values for that time; before and after it they stay, and what was believed until now stays readable. p_table: with a history; key: an object of the key''s columns; valid_from, valid_to: timestamps, -infinity and infinity for open ends; changes: an object of columns and their new values. The caller needs UPDATE on the table, on which no row security may apply to him. Where the time includes now the table''s row is changed too. Returns how many periods were changed; 0: nothing was true of the key then. NB320: no history; NB323: the key; NB324: the period; NB326: the changes; NB331: before what the history is kept from; NB336: a trigger or rule of the table keeps the row back; 22001, 23502, 23514: a constraint of the table; 42501: the caller''s rights; NB336: a trigger or rule of the table keeps the row back; 22004: null.';
COMMENT ON FUNCTION temporal.delete_portion IS
    'Nothing was, or will be, true of a key between two instants; what was believed until now stays readable. Arguments as temporal.update_portion takes them; the caller needs DELETE. Where the time includes now the table''s row goes. Returns how many periods there were. NB320, NB323, NB324, NB331, NB336, 42501, 22004: as there.';
COMMENT ON FUNCTION temporal.insert_portion IS
    'A row was, or will be, true between two instants in which its key has none. p_table; row_values: an object of columns and values, the key''s among them, where columns left out are null; valid_from, valid_to: timestamps. The caller needs INSERT. Where the time includes now the row is inserted into the table. Returns 1. NB325: the key has a row in that time; NB320, NB323, NB324, NB326, NB331, NB336, 22001, 23502, 23514, 42501, 22004: as temporal.update_portion.';
COMMENT ON FUNCTION troubleshoot.run_checks IS
    'What troubleshoot.checks calls, which also sees to it that nothing waits for a lock.';
COMMENT ON FUNCTION troubleshoot.check_definitions IS
    'The checks there are, with their own thresholds. See troubleshoot.check_catalogue.';
COMMENT ON FUNCTION troubleshoot.set_threshold IS
    'Sets thresholds of a check in the place of its own. check_id: as in troubleshoot.check_catalogue; warning, critical: in the check''s unit, 0 to 10^18, null: no value is so bad; minimum: in the check''s minimum_unit, what is smaller is left out, null: the check''s own. NB500: no such check; NB502: it measures nothing; NB021: a bound, critical before warning, or a minimum where there is none; 22004: check_id null.';
COMMENT ON FUNCTION troubleshoot.reset_threshold IS
    'Gives a check its own thresholds back. check_id. Returns whether others were set. NB500: no such check; 22004: null.';
COMMENT ON FUNCTION troubleshoot.acknowledge IS
    'Takes note of a finding: troubleshoot.checks() shows until when in acknowledged_until, as long as it is no worse than now. fingerprint: of a finding there is now; until: in the future, at most 366 days ahead; reason: 1 to 1,000 characters. NB501: there is no such finding; NB021: a bound; 22004: null.';
COMMENT ON FUNCTION troubleshoot.unacknowledge IS
    'Takes an acknowledgement back. fingerprint. Returns whether there was one. 22004: null.';
COMMENT ON FUNCTION troubleshoot.note_restore_test IS
    'Notes that a backup was restored and found whole, which the check restore_test goes by. tested_at: when, in the past; note: which backup, where to, how it was checked, 1 to 1,000 characters; for the same moment it replaces the note. NB021: a bound; 22004: null.';
COMMENT ON FUNCTION troubleshoot.sequence_position IS
    'Where a sequence stands, read without waiting and without a writer''s lock. sequence: its oid. Null: it is none, is gone or locked, or the caller may neither use nor select it.';
COMMENT ON FUNCTION troubleshoot.relation_file_bytes IS
    'Bytes in the files of a relation, looked at without a lock. path: what pg_relation_filepath answers. Null: there is no such file, or it is not a relation''s.';
COMMENT ON FUNCTION troubleshoot.multixact_member_segments IS
    'How many files of multixact members the server keeps; each has 32 pages.';
COMMENT ON FUNCTION troubleshoot.subtransaction_overflows IS
    'Process ids of the sessions whose transaction has more than 64 subtransactions that write.';
COMMENT ON FUNCTION troubleshoot.why_waiting IS
    'What a session waits for at this moment, in words. pid: its process id. kind, for programs: row_lock, row_queue, relation_lock, lock_queue (nobody has the lock, but somebody is ahead in its queue), transaction, older_transactions, advisory_lock, safe_snapshot, extend, sync_rep, client_read, client_write, io, lwlock, buffer_pin, ipc, parallel, archiver, checkpoint, barrier, recovery_conflict, timeout, extension, idle, idle_in_transaction, running, nothing_to_do, lock_just_now, client, other, unknown (this role may not see it), no_session. explanation, for people; blocked_by: 0 for a prepared transaction; waiting_seconds: of a lock only, as the server keeps no time for other waits; remediation_sql: what to run at the root of it. 22004: null.';
COMMENT ON FUNCTION troubleshoot.kill_long_queries IS
    'Ends client sessions whose statement has run for longer than p_max_duration (a tenth of a second to 1000 years), with the caller''s own rights (pg_signal_backend). p_dry_run: only say what would be ended; p_method: terminate (the session) or cancel (the statement); p_reason: up to 1,000 characters, logged; p_database, p_user: only sessions of that one, null: of all. Never ends other processes than clients'' (autovacuum, replication, workers), the caller''s own session, or one that troubleshoot.kill_exemption names. Each is looked at again as it is ended: the same session, the same statement. One row for each: action is WOULD TERMINATE (dry run), TERMINATED, WOULD CANCEL (dry run), CANCELLED, EXEMPT, GONE, NOT PERMITTED, each with its reason, or UNKNOWN, with pid null, where the role may not see what sessions do. Kills are in troubleshoot.kill_log and the server''s log. NB021: an argument; 22004: null.';
COMMENT ON FUNCTION troubleshoot.clear_idle_transactions IS
    'Terminates client sessions that have been idle in a transaction, failed or not, for longer than p_older_than (a tenth of a second to 1000 years); to cancel does nothing to them. p_dry_run: only count; p_reason: up to 1,000 characters, logged; p_database, p_user: only sessions of that one, null: of all. Exemptions, the second look and the log as for troubleshoot.kill_long_queries; troubleshoot.idle_transactions lists them. Returns how many were, or would be, ended; warns of those that the role may not see or end. NB021: an argument; 22004: null.';

COMMENT ON FUNCTION concurrency.acquire_customer_lock IS
    'Takes the named lock customer: and the id, for this transaction. p_customer_id: any id, there need be no such customer; p_timeout_ms: how long to wait, 0 to a week, 0: not at all. Returns whether it was had; true again where the transaction has it, to be released once more. Ends with the transaction, or with concurrency.release_customer_lock. 40P01: a deadlock; NB021: p_timeout_ms; 22004: null.';
COMMENT ON FUNCTION concurrency.release_customer_lock IS
    'Releases what concurrency.acquire_customer_lock took in this transaction. p_customer_id. False, with a warning, where this transaction does not have it. 22004: null.';
COMMENT ON FUNCTION concurrency.acquire_lock IS
    'Takes a named lock. name: 1 to 100 characters; timeout_ms: how long to wait, 0 to a week, 0: not at all; scope: transaction (released at its end, whatever savepoint it was taken under, or by concurrency.release_lock) or session (released by concurrency.release_lock or the session''s end only: not through a pooler of transactions). Returns whether it was had. A lock taken twice is to be released twice. 40P01: a deadlock; NB021: a bound; 22004: null.';
COMMENT ON FUNCTION concurrency.acquire_locks IS
    'Takes several named locks, or none. names: 1 to 1,000, taken in the order of their keys, which is everybody''s, so that calls like this cannot deadlock with each other; timeout_ms: for all of them together; scope, result and errors: as concurrency.acquire_lock.';
COMMENT ON FUNCTION concurrency.release_lock IS
    'Releases a named lock of this session. name; scope: as it was taken. False, with a warning, where the session does not have it. NB021: a bound; 22004: null.';
COMMENT ON FUNCTION concurrency.release_locks IS
    'Releases named locks of this session. names; scope: as they were taken. Returns how many it had; warns of the others. NB021: a bound; 22004: null.';
COMMENT ON FUNCTION concurrency.acquire_lease IS
    'Takes a named lock that outlives transaction and session, until it expires. name: 1 to 100 characters; holder: who takes it, in the caller''s words, 1 to 100; lease_ms: for how long, 1 ms to a week, by the server''s clock; timeout_ms: how long to wait for it, to a week, 0: not at all. Returns its token, higher than that of any earlier lease of the name; null where somebody has it. Others see it once it is committed. 40001: above READ COMMITTED; NB021: a bound; 22004: null.';
COMMENT ON FUNCTION concurrency.acquire_leases IS
    'Takes several leases, or none. names: 1 to 1,000, each counts once; the other arguments and errors: as concurrency.acquire_lease. Returns each name with its token; no row where they could not all be had in time.';
COMMENT ON FUNCTION concurrency.extend_lease IS
    'Gives a lease more time. name; token: as it was answered; lease_ms: from now on, 1 ms to a week. Returns when it ends, never earlier than before. NB510: it has expired, was released or broken, or is another role''s; NB021: a bound; 22004: null.';
COMMENT ON FUNCTION concurrency.release_lease IS
    'Ends a lease. name; token. False where it has ended already, so that to repeat it does no harm. NB021: a bound; 22004: null.';
COMMENT ON FUNCTION concurrency.hold_lease IS
    'Makes sure of a lease in the transaction that writes what it protects: nobody can take it until this transaction ends, even where it expires meanwhile. name; token. NB510: it is not held any more; 40001: above READ COMMITTED; NB021: a bound; 22004: null.';
COMMENT ON FUNCTION concurrency.break_lease IS
    'Ends a lease whoever has it; its holder learns of it with its next call (NB510). Waits for transactions that hold it by concurrency.hold_lease. name. Logged in the server''s log. False where nobody has it. NB021: a bound; 22004: null.';
COMMENT ON FUNCTION concurrency.record_deadlock IS
    'Writes a deadlock into concurrency.deadlock_log, from a client that was told of it (40P01), in a transaction of its own. detail: the DETAIL of the error, up to 100,000 characters; what it says in English about who waited for what is in lock_info; query_text: the statement that failed; resolution: what the client does about it; process_id: its backend, null: as detail has it. Returns log_id. NB021: a bound; 22004: detail null.';
COMMENT ON FUNCTION concurrency.collect_deadlocks IS
    'Writes into concurrency.deadlock_log what the server knows of deadlocks in this database since the last call; the first call only begins. From the server''s log, where log_destination has jsonlog and the caller may execute pg_current_logfile, pg_stat_file and pg_read_binary_file, up to 16 MB of it; what the counter of pg_stat_database has beyond that, and beyond what clients recorded, becomes one row with their number. Returns how many rows it wrote. Calls take turns.';
