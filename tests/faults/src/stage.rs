//! A bank with a bit of everything, in which any operation can be called again and again.

use crate::operations::Operation;
use crate::sagas::SETUP;
use neobank_sessions::*;

const EVERYTHING: &str = "
    create schema stage;
    create table stage.exclusive (n int primary key, a uuid, b uuid);
    create table stage.slotted (n int primary key, a uuid, b uuid);
    create table stage.fresh (n int primary key, id uuid, made uuid, at timestamptz);
    create table stage.one (id uuid, made uuid, day date, today date, month date, spare uuid, at timestamptz, lines uuid[], ids uuid[]);
    insert into stage.one default values;
    create table stage.days (operation text primary key, day date);
    create function stage.account(kind text, currency text, mode text, opening numeric) returns uuid
        language plpgsql as $$
    declare account uuid := banking.open_account(
        banking.create_customer('Ada', 'Byron'), kind, currency, opening_deposit => opening,
        overdraft_limit => 1000000);
    begin perform banking.set_balance_mode(account, mode); return account; end $$;
    insert into stage.exclusive select n, stage.account('checking', 'USD', 'exclusive', 100000),
        stage.account('checking', 'USD', 'exclusive', 100000) from generate_series(1, 24) n;
    insert into stage.slotted select n, stage.account('checking', 'USD', 'slotted', 100000),
        stage.account('checking', 'USD', 'slotted', 100000) from generate_series(1, 24) n;
    create table stage.others as
        select stage.account('checking', 'EUR', 'exclusive', 100000) as euro,
               stage.account('savings', 'USD', 'exclusive', 100000) as saver;
    select txn_processing.set_fx_rate('USD', 'EUR', 0.9123, now() - interval '1 hour');
    select txn_processing.set_fee_schedule('wire', 'transfer', 'USD', 'fixed', current_date - 400, fixed_amount => 1);
    select txn_processing.set_fee_schedule('month', 'periodic', 'USD', 'fixed', '2001-01-01', 'savings',
                                           fixed_amount => 1, period => 'month');
    select txn_processing.set_interest_rule('savings', 'USD', 5, 'act/365', current_date - 341);
    select txn_processing.deposit(saver, 1000, effective_at => now() - interval '341 days') from stage.others;
    create function stage.lines(of uuid) returns jsonb language sql as $$
        select jsonb_agg(jsonb_build_object('amount', 1, 'booked_on', '2026-01-31', 'line_ref', i::text,
                                            'reference', of::text || i)) from generate_series(1, 60) i $$;
    create function stage.items(accounts text) returns jsonb language plpgsql as $$
    declare items jsonb;
    begin
        execute format('select jsonb_agg(jsonb_build_object(''from_account'', a, ''to_account'', b, ''amount'', 1)) ||
            jsonb_agg(jsonb_build_object(''from_account'', b, ''counterparty_bank'', ''YZ'',
                                         ''counterparty_account'', ''1'', ''amount'', 1)) from stage.%I', accounts)
            into items;
        return items;
    end $$;";

/// Makes the database `bank` of the cluster, with the extension in it.
pub fn found_bank(cluster: &PrivateCluster) -> Client {
    cluster.connect("postgres").run("create database bank");
    let mut db = cluster.connect("bank");
    db.run("create extension neobank");
    db
}

/// Which accounts an operation is tried on, and on which path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    pub path: &'static str,
    pub accounts: &'static str,
}

impl Stage {
    pub const ALL: [Stage; 4] = [
        Stage { path: "direct", accounts: "exclusive" },
        Stage { path: "direct", accounts: "slotted" },
        Stage { path: "spi", accounts: "exclusive" },
        Stage { path: "spi", accounts: "slotted" },
    ];

    /// The bank's accounts and helpers.
    pub fn set(db: &mut Client) {
        db.run(EVERYTHING);
        db.run(SETUP);
        // Fees of a period are for accounts that were there in it.
        db.run(
            "begin; set local neobank.ledger_guard = off; \
             update banking.accounts set created_at = '2000-01-01' where account_id = (select saver from stage.others); commit",
        );
    }

    /// The statement with this stage's accounts; its text holds no values.
    pub fn text(&self, template: &str) -> String {
        template.replace("{accounts}", &format!("stage.{}", self.accounts)).replace("{mode}", self.accounts)
    }

    /// Makes what the next call of the operation needs: fresh ids, and what it works on.
    pub fn prepare(&self, db: &mut Client, operation: &Operation) {
        db.run(
            "truncate stage.fresh; \
             insert into stage.fresh select n, gen_random_uuid(), null, now() - interval '1 day' \
             from generate_series(1, 24) n; \
             update stage.one set id = gen_random_uuid(), made = null, spare = null, at = now(), today = current_date",
        );
        // The next day of those that are done day by day.
        db.run(&format!(
            "insert into stage.days values ('{}', current_date - 339) on conflict (operation) \
             do update set day = least(days.day + 1, current_date - 1); \
             update stage.one o set day = d.day, month = least( \
             date '2001-01-31' + (d.day - current_date + 340) * 31, current_date - 1) from stage.days d where d.operation = '{}'",
            operation.name, operation.name
        ));
        for statement in operation.prepare {
            db.run(&self.text(statement));
        }
    }
}
