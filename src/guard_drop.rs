//! The guard of the extension itself: a ledger with money goes by `DROP EXTENSION neobank CASCADE` only.
//!
//! Behind the event trigger of `sql/guard_drop.sql`; `src/pg/event.rs` reads the statement.

use crate::error::Error;
use crate::pg::{OwnerRights, Session, Statement, server};

// A posting is kept for the record even where all money has left again.
static CONTENT: Statement = Statement::new(
    c"SELECT (SELECT count(*) FROM txn_processing.movements), count(*),
             coalesce(string_agg(DISTINCT a.currency_code::text, ', '), 'no currency'),
             coalesce(bool_or(a.current_balance <> 0), false)
             OR EXISTS (SELECT FROM banking.account_slots s WHERE s.balance <> 0)
      FROM banking.accounts a",
    &[],
);

// What is posted from here on waits until the statement has dropped the tables.
static CLOSE: Statement =
    Statement::new(c"LOCK TABLE txn_processing.movements IN SHARE ROW EXCLUSIVE MODE", &[]);

/// Refuses to drop the extension while there are postings or balances. Figures are for those who own it.
pub fn check() -> Result<(), Error> {
    let may_know = server::has_privileges_of(server::current_user(), server::owner());
    let _rights = OwnerRights::to_read();
    let session = Session::write();
    let refuse_content = || {
        let rows = session.run(&CONTENT, &[])?;
        let row = rows.first().expect("an aggregate answers one row");
        let count = |column| row.bigint(column).unwrap_or_default();
        let (postings, accounts) = (count(1), count(2));
        if postings == 0 && row.bool(4) != Some(true) {
            return Ok(());
        }
        let currencies = row.text(3).unwrap_or_default();
        let content =
            may_know.then(|| format!("Postings: {postings}; accounts: {accounts}, in {currencies}."));
        Err(Error::LedgerNotEmpty { content })
    };
    refuse_content()?;
    session.run(&CLOSE, &[])?;
    refuse_content()
}
