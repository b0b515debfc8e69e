//! What users may do to the ledger's tables: it is seen at once, honoured, told of, and forgotten when it is gone.

use super::batches::{Item, transfers_sql};
use super::differential_world::check_indexes;
use neobank_sessions::*;

/// A change of one table, how it is undone, and what the reason says of it.
struct Change {
    make: &'static str,
    undo: &'static str,
    table: &'static str,
    reason: &'static str,
    /// Whether every posting then leaves a row in `public.noted`.
    notes: bool,
}

const fn change(table: &'static str, reason: &'static str, make: &'static str, undo: &'static str) -> Change {
    Change { make, undo, table, reason, notes: false }
}

const fn noting(table: &'static str, reason: &'static str, make: &'static str, undo: &'static str) -> Change {
    Change { make, undo, table, reason, notes: true }
}

pub const ACCOUNTS: &str = "banking.accounts";
pub const SLOTS: &str = "banking.account_slots";
pub const MOVEMENTS: &str = "txn_processing.movements";

const CHANGES: &[Change] = &[
    noting(
        ACCOUNTS,
        "trigger \"hung\"",
        "create trigger hung after update on banking.accounts for each row execute function public.note()",
        "drop trigger hung on banking.accounts",
    ),
    noting(
        SLOTS,
        "trigger \"hung\"",
        "create trigger hung before update on banking.account_slots for each row execute function public.note()",
        "drop trigger hung on banking.account_slots",
    ),
    noting(
        MOVEMENTS,
        "trigger \"hung\"",
        "create trigger hung after insert on txn_processing.movements for each statement \
         execute function public.note()",
        "drop trigger hung on txn_processing.movements",
    ),
    noting(
        MOVEMENTS,
        "trigger",
        "create constraint trigger hung after insert on txn_processing.movements deferrable initially deferred \
         for each row execute function public.note()",
        "drop trigger hung on txn_processing.movements",
    ),
    change(
        ACCOUNTS,
        "row security",
        "alter table banking.accounts enable row level security",
        "alter table banking.accounts disable row level security",
    ),
    change(
        SLOTS,
        "a CHECK",
        "alter table banking.account_slots add constraint hung check (balance < 1000000)",
        "alter table banking.account_slots drop constraint hung",
    ),
    change(
        MOVEMENTS,
        "a CHECK",
        "alter table txn_processing.movements add constraint hung check (amount < 1000) not valid",
        "alter table txn_processing.movements drop constraint hung",
    ),
    change(
        MOVEMENTS,
        "trigger",
        "alter table txn_processing.movements add constraint hung foreign key (debit_account) \
         references banking.accounts",
        "alter table txn_processing.movements drop constraint hung",
    ),
    change(
        MOVEMENTS,
        "other columns",
        "alter table txn_processing.movements alter description set not null",
        "alter table txn_processing.movements alter description drop not null",
    ),
    change(
        MOVEMENTS,
        "other indexes",
        "create index hung on txn_processing.movements (amount)",
        "drop index txn_processing.hung",
    ),
    change(
        ACCOUNTS,
        "other indexes",
        "create index hung on banking.accounts using hash (account_id)",
        "drop index banking.hung",
    ),
    change(
        MOVEMENTS,
        "other indexes",
        "drop index txn_processing.movements_reverses_idx",
        "create index movements_reverses_idx on txn_processing.movements (reverses) where reverses is not null",
    ),
    change(
        MOVEMENTS,
        "other indexes",
        "drop index txn_processing.movements_debit_key",
        "create unique index movements_debit_key on txn_processing.movements (debit_account, debit_sequence)",
    ),
    change(
        SLOTS,
        "missing",
        "drop trigger guard_accounts on banking.account_slots",
        "create trigger guard_accounts before insert or update or delete or truncate on banking.account_slots \
         for each statement execute function neobank.guard_accounts()",
    ),
    change(
        MOVEMENTS,
        "missing",
        "drop trigger guard_ledger on txn_processing.movements",
        "create trigger guard_ledger before insert or update or delete or truncate on txn_processing.movements \
         for each statement execute function neobank.guard_ledger()",
    ),
    change(
        ACCOUNTS,
        "replica identity",
        "alter table banking.accounts replica identity nothing",
        "alter table banking.accounts replica identity default",
    ),
    noting(
        ACCOUNTS,
        "a rule",
        "create rule hung as on update to banking.accounts do also insert into public.noted values (1)",
        "drop rule hung on banking.accounts",
    ),
    noting(
        MOVEMENTS,
        "a rule",
        "create rule hung as on insert to txn_processing.movements do also insert into public.noted values (1)",
        "drop rule hung on txn_processing.movements",
    ),
    change(
        SLOTS,
        "inheritance",
        "create table public.child () inherits (banking.account_slots)",
        "drop table public.child",
    ),
];

/// A bank whose session has posted directly on every table, one posting that touches them all, and what it posts.
pub struct Stage {
    pub bank: Bank,
    pub session: Client,
    pub posting: String,
}

pub fn stage() -> Stage {
    let mut bank = Bank::new();
    let (a, slotted) = (bank.account("1000"), bank.account("0"));
    bank.db.run(&format!("select banking.set_balance_mode('{slotted}', 'slotted')"));
    bank.db.run(
        "create table public.noted (n int); create function public.note() returns trigger language plpgsql \
         as 'begin insert into public.noted values (1); return new; end'",
    );
    let posting = format!("select txn_processing.transfer('{a}', '{slotted}', 1, description => 'One')");
    let mut session = bank.session_on("direct");
    session.run(&posting);
    session.run("set neobank.posting_path = auto");
    Stage { bank, session, posting }
}

impl Stage {
    fn path(&mut self) -> Vec<String> {
        let line = self.session.one("select * from neobank.posting_path");
        line.splitn(3, '|').map(str::to_owned).collect()
    }

    pub fn noted(&mut self) -> i64 {
        self.session.count("select count(*) from public.noted")
    }

    /// Posts as `auto` does, and holds that the change is told of, honoured, and in the way of `direct`.
    fn finds(&mut self, change: &Change) {
        let path = self.path();
        let told = format!("{} has", change.table);
        let is_told = path[2].starts_with(&told) || path[2].starts_with(&format!("{} is", change.table));
        assert_eq!(path[..2], ["auto", "spi"], "{}: {path:?}", change.make);
        assert!(is_told && path[2].contains(change.reason), "{}: {path:?}", change.make);
        let noted = self.noted();
        let posting = self.posting.clone();
        self.session.run(&posting);
        if change.make.contains("deferred") {
            self.session.run("do $$ begin set constraints all immediate; end $$");
        }
        assert_eq!(self.noted() > noted, change.notes, "{}", change.make);
    }

    fn is_refused(&mut self, change: &Change) {
        self.session.run("set neobank.posting_path = direct");
        let path = self.path();
        assert_eq!(path[..2], ["direct", "none"], "{}: {path:?}", change.make);
        let posting = self.posting.clone();
        let refusal = refused(&mut self.session, &posting, "NB027");
        assert!(refusal.detail.contains(change.table) && refusal.detail.contains(change.reason), "{refusal}");
        self.session.run("set neobank.posting_path = auto");
    }

    pub fn is_direct(&mut self, after: &str) {
        let path = self.path();
        assert_eq!(path[..2], ["auto", "direct"], "{after}: {path:?}");
        let posting = self.posting.clone();
        self.session.run("set neobank.posting_path = direct");
        self.session.run(&posting);
        self.session.run("set neobank.posting_path = auto");
    }
}

#[test]
fn a_change_of_a_table_is_seen_at_once_and_forgotten_when_it_is_gone() {
    for change in CHANGES {
        let mut stage = stage();
        stage.bank.db.run(change.make);
        stage.finds(change);
        stage.is_refused(change);
        stage.bank.db.run(change.undo);
        stage.is_direct(change.undo);
        audit(&mut stage.bank.db);
        check_indexes(&mut stage.bank);
    }
}

#[test]
fn a_change_made_and_rolled_back_in_the_same_transaction_holds_as_long() {
    for change in CHANGES {
        let mut stage = stage();
        stage.session.run("begin");
        let posting = stage.posting.clone();
        stage.session.run(&format!("savepoint s; {}", change.make));
        stage.finds(change);
        stage.session.run("rollback to s");
        stage.is_direct(&format!("rollback to a savepoint before: {}", change.make));
        stage.session.run(change.make);
        stage.finds(change);
        stage.session.run("rollback");
        stage.is_direct(&format!("rollback of: {}", change.make));
        stage.session.run(&format!("begin; {}; {posting}; commit", change.make));
        stage.finds(change);
        audit(&mut stage.bank.db);
        check_indexes(&mut stage.bank);
    }
}

#[test]
fn a_column_that_was_added_keeps_direct_access_away_for_good() {
    // A dropped column still has its place in every row.
    for (table, notes) in [(ACCOUNTS, false), (SLOTS, false), (MOVEMENTS, false)] {
        let mut stage = stage();
        stage.bank.db.run(&format!("alter table {table} add column hung text default 'x'"));
        let added = Change { make: "add column", undo: "", table, reason: "other columns", notes };
        stage.finds(&added);
        stage.is_refused(&added);
        let kept = stage.bank.db.lines(&format!("select distinct hung from {table}"));
        assert_eq!(kept, ["x"], "{table}");
        stage.bank.db.run(&format!("alter table {table} drop column hung"));
        stage.finds(&added);
        audit(&mut stage.bank.db);
        check_indexes(&mut stage.bank);
    }
}

#[test]
fn direct_that_cannot_be_kept_is_an_error_of_every_function() {
    // A refusal in JSON, or per item, would be taken for the customer's.
    let mut stage = stage();
    stage.bank.db.run(CHANGES[2].make);
    let (a, b) = (stage.bank.account("5"), stage.bank.account("5"));
    let paid = stage.bank.db.id(&format!("select txn_processing.pay('{a}', 1)"));
    stage.session.run("set neobank.posting_path = direct");
    for call in [
        format!("select txn_processing.deposit('{a}', 1)"),
        format!("select txn_processing.transfer('{a}', '{b}', 1, transaction_id => gen_random_uuid())"),
        format!("select txn_processing.refund('{paid}')"),
        format!("select txn_processing.reverse('{paid}', 'why')"),
        format!("select txn_processing.execute_transfer(null, null, '{a}', '{b}', 1, 'USD', null)"),
        format!("select txn_processing.reverse_transaction('{paid}', 'why')"),
        transfers_sql(&[Item::transfer(a, b, "1")], false),
        transfers_sql(&[Item::transfer(a, b, "1")], true),
    ] {
        refused(&mut stage.session, &call, "NB027");
    }
}
