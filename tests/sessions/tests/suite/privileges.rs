//! Who may do what: nobody anything, until it is granted. What each level may is in the golden file of the surface.

use neobank_sessions::*;

/// Functions of the extension that the role may execute, schema usage counted.
fn executable(bank: &mut Bank, role: &str) -> Vec<String> {
    bank.db.lines(&format!(
        "select distinct n.nspname || '.' || p.proname \
         from pg_depend d join pg_proc p on p.oid = d.objid and d.classid = 'pg_proc'::regclass \
         join pg_namespace n on n.oid = p.pronamespace \
         where d.deptype = 'e' and d.refclassid = 'pg_extension'::regclass \
         and d.refobjid = (select oid from pg_extension where extname = 'neobank') \
         and has_schema_privilege('{role}', n.oid, 'usage') \
         and has_function_privilege('{role}', p.oid, 'execute') order by 1"
    ))
}

/// Privileges on tables, views and sequences as `relation privilege`, without SELECT.
fn writable(bank: &mut Bank, role: &str) -> Vec<String> {
    bank.db.lines(&format!(
        "select c.oid::regclass || ' ' || privilege \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         cross join unnest('{{insert,update,delete,truncate,references,trigger}}'::text[]) privilege \
         where n.nspname in ('banking', 'txn_processing', 'neobank') and c.relkind in ('r', 'v') \
         and (has_table_privilege('{role}', c.oid, privilege) or privilege in \
              ('insert', 'update') and has_any_column_privilege('{role}', c.oid, privilege)) \
         order by 1"
    ))
}

fn readable(bank: &mut Bank, role: &str) -> Vec<String> {
    bank.db.lines(&format!(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname in ('banking', 'txn_processing', 'neobank') and c.relkind in ('r', 'v') \
         and has_table_privilege('{role}', c.oid, 'select') order by 1"
    ))
}

#[test]
fn a_fresh_role_has_nothing() {
    let mut bank = Bank::new();
    let nobody = bank.role("nobody");
    assert_eq!(executable(&mut bank, &nobody), [""; 0]);
    assert_eq!(writable(&mut bank, &nobody), [""; 0]);
    assert_eq!(readable(&mut bank, &nobody), [""; 0]);
    // What the catalog says is also what happens.
    let mut session = bank.session_as(&nobody);
    let calls = bank.db.lines(
        "select format('%s %s(%s)', case p.prokind when 'p' then 'call' else 'select' end, p.oid::regproc, (select string_agg('null::' || \
         format_type(t, null), ', ' order by n) \
         from unnest(p.proargtypes::oid[]) with ordinality x(t, n))) \
         from pg_depend d join pg_proc p on p.oid = d.objid \
         where d.classid = 'pg_proc'::regclass and d.refclassid = 'pg_extension'::regclass \
         and d.refobjid = (select oid from pg_extension where extname = 'neobank')",
    );
    assert!(calls.len() > 30, "{calls:#?}");
    for sql in calls {
        refused_with_code_only(&mut session, &sql, "42501");
    }
    let tables = bank.db.lines(
        "select c.oid::regclass from pg_depend d join pg_class c on c.oid = d.objid \
         where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_extension'::regclass \
         and c.relkind in ('r', 'v') \
         and d.refobjid = (select oid from pg_extension where extname = 'neobank')",
    );
    assert!(tables.len() > 8, "{tables:?}");
    for table in tables {
        for sql in [
            format!("select * from {table}"),
            format!("delete from {table}"),
            format!("insert into {table} default values"),
        ] {
            refused_with_code_only(&mut session, &sql, "42501");
        }
    }
}

#[test]
fn a_level_adds_to_the_one_before_it() {
    // What each level has is in the golden file of the surface.
    let mut bank = Bank::new();
    let mut before = (Vec::new(), Vec::new());
    for level in ["reader", "teller", "operator"] {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        let held = (executable(&mut bank, &role), readable(&mut bank, &role));
        assert!(held.0.len() > before.0.len() && before.0.iter().all(|name| held.0.contains(name)), "{level}");
        assert!(before.1.iter().all(|name| held.1.contains(name)), "{level}");
        before = held;
        let writes = writable(&mut bank, &role);
        for write in &writes {
            let (table, privilege) = write.split_once(' ').expect("two words");
            assert!(
                level != "reader"
                    && ["banking.customers", "txn_processing.transaction_queue"].contains(&table)
                    && ["insert", "update"].contains(&privilege),
                "{level} may {privilege} on {table}"
            );
        }
    }
}

#[test]
fn each_level_does_its_work() {
    let mut bank = Bank::new();
    let a = bank.account("1000");
    let b = bank.account("0");
    let [reader, teller, operator] = ["reader", "teller", "operator"].map(|level| {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        bank.session_as(&role)
    });
    let payment = bank.db.id(&format!("select txn_processing.pay('{a}', 10)"));
    let insert = "insert into txn_processing.transaction_queue \
         (transaction_type, destination_account_id, amount, request_data)";
    let reads = [
        format!("select count(*) from txn_processing.statement('{a}')"),
        format!("select txn_processing.balance_as_of('{a}', now())"),
        "select count(*) from txn_processing.trial_balance()".to_owned(),
        "select count(*) from txn_processing.trial_balance(now())".to_owned(),
        "select count(*) from txn_processing.daily_reconciliation()".to_owned(),
        format!("select count(*) from txn_processing.transaction('{payment}')"),
        "select count(*) from txn_processing.ledger".to_owned(),
        "select count(*) from banking.transactions".to_owned(),
        "select count(*) from banking.accounts".to_owned(),
        "select count(*) from banking.account_balances".to_owned(),
        "select count(*) from banking.account_slots".to_owned(),
        "select count(*) from banking.balance_mode_changes".to_owned(),
        "select path from neobank.posting_path".to_owned(),
        "select count(*) from txn_processing.payment_batches_status".to_owned(),
        "select count(*) from txn_processing.payment_batch_errors".to_owned(),
        "select count(*) from txn_processing.settlement_report".to_owned(),
        "select count(*) from txn_processing.clearing_items".to_owned(),
        "select count(*) from txn_processing.queue_status".to_owned(),
        "select count(*) from txn_processing.transaction_queue_attempts".to_owned(),
        format!("select * from txn_processing.fee_for('transfer', '{a}', 1)"),
        "select * from txn_processing.interest_accrued".to_owned(),
    ];
    let posts = [
        format!("select txn_processing.transfer('{a}', '{b}', 1)"),
        format!("select txn_processing.deposit('{a}', 1)"),
        format!("select txn_processing.withdraw('{a}', 1)"),
        format!("select txn_processing.pay('{a}', 1)"),
        format!("select txn_processing.refund('{payment}', 1)"),
        format!(
            "select 1 / (code = 'ok')::int from txn_processing.post_transfers(array['{a}']::uuid[], array['{b}']::uuid[], '{{1}}')"
        ),
        format!(
            "select 1 / (code = 'ok')::int from txn_processing.post_batch('{{payment}}', array['{a}']::uuid[], '{{null}}', '{{1}}')"
        ),
        format!("select txn_processing.transfer_with_fee('{a}', '{b}', 1)"),
        "select banking.create_customer('A', 'B', 'a@b.c', '1', '2000-01-01')".to_owned(),
        "select banking.open_account(customer_id, 'savings', 'EUR', 5) \
         from banking.customers limit 1"
            .to_owned(),
        format!("{insert} values ('deposit', '{a}', 1, '{{}}')"),
        format!("select txn_processing.pay_bank('{a}', 1, 'ST', '1')"),
        format!("select txn_processing.receive_from_bank('{a}', 1, 'ST', '1')"),
        format!(
            "select txn_processing.create_payment_batch( \
             '[{{\"from_account\": \"{a}\", \"to_account\": \"{b}\", \"amount\": 1}}]', current_user)"
        ),
        format!("select txn_processing.enqueue('transfer', '{a}', '{b}', 1)"),
    ];
    let mistake = bank.db.id(&format!("select txn_processing.pay('{a}', 10)"));
    let powers = [
        format!("select txn_processing.charge_fee('{a}', 1)"),
        format!("select txn_processing.credit_interest('{a}', 1)"),
        format!("select txn_processing.adjust('{a}', 1, 'why')"),
        format!("select txn_processing.reverse('{mistake}', 'why')"),
        "select txn_processing.process_transaction(request_id) \
         from txn_processing.transaction_queue where status = 'queued' limit 1"
            .to_owned(),
        "select 1 / (count(*) filter (where code = 'ok'))::int from txn_processing.process_queue()".to_owned(),
        format!("select banking.set_overdraft_limit('{b}', 5, 'why')"),
        format!("select banking.set_balance_mode('{b}', 'slotted')"),
        format!("select banking.set_account_status('{b}', 'dormant', 'why')"),
        format!("select banking.set_account_status('{b}', 'active', 'why')"),
        format!("select banking.close_account('{b}', '{a}')"),
        "select banking.create_tenant('Branch')".to_owned(),
        "select txn_processing.process_payment_batch(batch_id) from txn_processing.payment_batches limit 1".to_owned(),
        "select txn_processing.retry_payment_batch(batch_id) from txn_processing.payment_batches limit 1".to_owned(),
        "select txn_processing.cancel_payment_batch(batch_id) from txn_processing.payment_batches limit 1".to_owned(),
        "select * from txn_processing.settle((now() at time zone 'UTC')::date, 'USD')".to_owned(),
        "select txn_processing.set_interest_rule('savings', 'USD', 1, 'act/365', current_date)".to_owned(),
        format!("select txn_processing.set_account_interest_rule('{a}', 1, 'act/365', current_date)"),
        format!("select txn_processing.end_account_interest_rule('{a}', current_date)"),
        "select txn_processing.accrue_interest(current_date - 2)".to_owned(),
        "select txn_processing.capitalise_interest(current_date - 2)".to_owned(),
        format!("select txn_processing.settle_interest('{a}', current_date - 2)"),
        "select txn_processing.set_fee_schedule('x', 'payment', 'USD', 'fixed', current_date, fixed_amount => 1)"
            .to_owned(),
        format!("select txn_processing.apply_fee('{payment}')"),
        "select txn_processing.charge_periodic_fees(current_date - 2)".to_owned(),
        "call txn_processing.run_interest_accrual(current_date - 2)".to_owned(),
        "call txn_processing.run_interest_capitalisation(current_date - 2)".to_owned(),
        "call txn_processing.run_periodic_fees(current_date - 2)".to_owned(),
    ];
    let mut sessions = [(reader, 1), (teller, 2), (operator, 3)];
    for (session, rank) in &mut sessions {
        for (needed, calls) in [(1, &reads[..]), (2, &posts[..]), (3, &powers[..])] {
            for sql in calls {
                if *rank >= needed {
                    session.run(sql);
                } else {
                    refused_with_code_only(session, sql, "42501");
                }
            }
        }
    }
    let by = "select count(distinct created_by) from txn_processing.movements";
    assert_eq!(bank.db.count(by), 3, "the superuser, the teller, the operator");
    audit(&mut bank.db);
}

#[test]
fn revoke_usage_takes_everything_away() {
    let mut bank = Bank::new();
    for level in ["reader", "teller", "operator"] {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        assert!(!executable(&mut bank, &role).is_empty());
        bank.db.run(&format!("select neobank.revoke_usage('{role}')"));
        assert_eq!(executable(&mut bank, &role), [""; 0], "{level}");
        assert_eq!(writable(&mut bank, &role), [""; 0], "{level}");
        assert_eq!(readable(&mut bank, &role), [""; 0], "{level}");
        // Nothing is left that would keep the role from being dropped.
        bank.db.run(&format!("begin; drop role {role}; rollback"));
    }
}

#[test]
fn grants_with_bad_arguments_grant_nothing() {
    let mut bank = Bank::new();
    let role = bank.role("x");
    refused(&mut bank.db, &format!("select neobank.grant_usage('{role}', 'god')"), "NB021");
    refused_with_code_only(&mut bank.db, "select neobank.grant_usage('no_such_role', 'reader')", "42704");
    refused_with_code_only(
        &mut bank.db,
        "select neobank.grant_usage('x; drop table banking.tenants', 'reader')",
        "42704",
    );
    // PUBLIC is no role, however it is quoted: PostgreSQL takes "public" for it.
    let refusal = bank.db.fails("select neobank.grant_usage('public', 'operator')");
    assert!(!refusal.code.is_empty());
    assert_eq!(executable(&mut bank, &role), [""; 0]);
}

#[test]
fn a_role_name_that_needs_quoting_is_one_role() {
    let mut bank = Bank::new();
    let odd = format!("{}_\"; drop--", bank.name);
    let quoted = format!("\"{}\"", odd.replace('"', "\"\""));
    bank.db.run(&format!("create role {quoted}"));
    let outcome = bank.db.try_lines(&format!("select neobank.grant_usage('{odd}', 'teller')"));
    let may = executable(&mut bank, &odd);
    let revoked = bank.db.try_lines(&format!("select neobank.revoke_usage('{odd}')"));
    bank.db.run(&format!("drop owned by {quoted}; drop role {quoted}"));
    assert!(outcome.is_ok() && revoked.is_ok(), "{outcome:?} {revoked:?}");
    assert!(may.contains(&"txn_processing.transfer".to_owned()));
}

#[test]
fn a_teller_does_not_carry_a_customer_over_to_another_tenant() {
    // Tellers may write customers' addresses; the tenant, to which the
    // customer's accounts belong as well, is not theirs to change.
    let mut bank = Bank::new();
    bank.account("10");
    bank.db.run("select banking.create_tenant('Branch')");
    let teller = bank.role("teller");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    let mut session = bank.session_as(&teller);
    session.run("update banking.customers set city = 'London'");
    let sql = "update banking.customers set tenant_no = \
               (select max(tenant_no) from banking.tenants)";
    let moved = session.try_lines(sql);
    let astray = "select count(*) from banking.accounts a join banking.customers c \
                  using (customer_id) where a.tenant_no <> c.tenant_no";
    assert_eq!(bank.db.count(astray), 0, "{moved:?}");
}
