//! The public surface: every object of the extension is in `tests/golden/surface.txt`, as it is, with who may use it.
//! Whoever reads that file's changes sees what callers will notice. `scripts/accept-surface` writes it anew.

use neobank_sessions::*;
use std::fs;

fn golden() -> std::path::PathBuf {
    repository_root().join("tests/sessions/tests/golden/surface.txt")
}

fn roles(bank: &mut Bank) -> [String; 3] {
    ["reader", "teller", "operator"].map(|level| {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        role
    })
}

fn accepted() -> Vec<String> {
    let text = fs::read_to_string(golden()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_public_surface_is_the_one_in_the_golden_file() {
    let mut bank = Bank::new();
    let roles = roles(&mut bank);
    let found = surface(&mut bank.db, &roles);
    if setting("ACCEPT", 0) == 1 {
        fs::create_dir_all(golden().parent().expect("it is in a folder")).expect("the folder is made");
        fs::write(golden(), found.join("\n") + "\n").expect("the golden file is written");
    }
    let told = difference(&accepted(), &found);
    assert!(
        told.is_empty(),
        "{}\nwhere this is meant: scripts/accept-surface writes it to {}",
        told.join("\n"),
        golden().display()
    );
}

#[test]
fn what_nobody_listed_is_found() {
    let mut bank = Bank::new();
    let roles = roles(&mut bank);
    bank.db.run(
        "create function neobank.extra(a int) returns int language sql as 'select a'; \
         alter extension neobank add function neobank.extra(int); \
         alter function txn_processing.transfer security definer; \
         alter table banking.accounts add column extra int, disable trigger guard_accounts; \
         alter extension neobank drop view neobank.posting_path; \
         grant execute on function txn_processing.adjust to public; \
         drop index banking.accounts_customer_id_idx",
    );
    let found = surface(&mut bank.db, &roles);
    let told = difference(&accepted(), &found).join("\n");
    for wanted in [
        "new: function neobank.extra(integer): (a integer) returns integer, sql, volatile",
        "new: grant to public on function neobank.extra(integer): execute",
        "changed: function txn_processing.transfer(",
        "new: column banking.accounts.extra: integer",
        "changed: columns of banking.accounts",
        "changed: trigger guard_accounts on banking.accounts",
        "missing: view neobank.posting_path",
        "new: grant to public on function txn_processing.adjust(",
        "missing: grant to operator on function txn_processing.adjust(",
        "missing: index banking.accounts_customer_id_idx",
    ] {
        assert!(told.contains(wanted), "{wanted} is not in\n{told}");
    }
}
