//! Which account types have limits: kept in each backend, since every posting asks.

use crate::error::Error;
use crate::pg::watch::Watch;
use crate::pg::{Session, Statement};
use std::cell::RefCell;

static TYPES: Statement = Statement::new(
    c"SELECT DISTINCT l.account_type FROM banking.account_limits l WHERE l.account_type IS NOT NULL",
    &[],
);

static WATCH: Watch = Watch::new([c"banking", c"account_limits"]);

thread_local! {
    static LIMITED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Reads them anew where they have changed, before postings are decided.
pub fn refresh<'s>(session: impl FnOnce() -> &'s Session) -> Result<(), Error> {
    if WATCH.is_fresh()? {
        return Ok(());
    }
    let session = session();
    WATCH.begin()?;
    // An old snapshot would show what is kept here beyond its transaction.
    let types = session.run_latest(&TYPES, &[]).inspect_err(|_| WATCH.forget())?;
    LIMITED.set(types.iter().filter_map(|row| row.text(1)).collect());
    Ok(())
}

pub fn has_limits(account_type: &[u8]) -> bool {
    LIMITED.with_borrow(|types| types.iter().any(|limited| limited.as_bytes() == account_type))
}

/// The limits of a type were changed.
pub fn announce() -> Result<(), Error> {
    WATCH.announce()
}
