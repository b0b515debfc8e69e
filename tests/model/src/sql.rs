//! Operations as the statements that a client sends.

use crate::events;
use crate::op::{Item, Kind, Op, Posting, Request};
use neobank_sessions::Uuid;
use std::fmt::Display;

/// A literal, or null.
fn literal(value: Option<impl Display>) -> String {
    value.map_or("null".to_owned(), |value| format!("'{value}'"))
}

fn number(value: Option<impl Display>) -> String {
    value.map_or("null".to_owned(), |value| value.to_string())
}

fn array<T>(items: &[Item], of_type: &str, element: impl Fn(&Item) -> T) -> String
where
    T: Display,
{
    let elements: Vec<String> = items.iter().map(|item| element(item).to_string()).collect();
    format!("array[{}]::{of_type}[]", elements.join(","))
}

impl Posting {
    fn strict(&self) -> String {
        let (function, names_bank) = match self.kind {
            Kind::Transfer => ("transfer", false),
            Kind::Deposit => ("deposit", false),
            Kind::Withdrawal => ("withdraw", false),
            Kind::Payment => ("pay", false),
            Kind::Fee => ("charge_fee", false),
            Kind::Interest => ("credit_interest", false),
            Kind::PayBank => ("pay_bank", true),
            Kind::ReceiveFromBank => ("receive_from_bank", true),
        };
        let accounts: Vec<String> = self.named().into_iter().map(|id| literal(Some(id))).collect();
        let bank = if names_bank { format!("{}, 'IBAN 7', ", literal(self.bank)) } else { String::new() };
        format!(
            "select txn_processing.{function}({}, {}, {bank}currency => {}, reference => {}, effective_at => {}, \
             transaction_id => '{}')",
            accounts.join(", "),
            self.amount,
            literal(self.currency),
            literal(self.reference.as_ref()),
            literal(self.effective_at.as_ref()),
            self.id
        )
    }

    fn contract(&self) -> String {
        let function = match self.kind {
            Kind::Transfer => "execute_transfer",
            Kind::Deposit => "execute_deposit",
            Kind::Withdrawal => "execute_withdrawal",
            Kind::Payment => "execute_payment",
            kind => panic!("there is no contract function for {kind:?}"),
        };
        let accounts: Vec<String> = self.named().into_iter().map(|id| literal(Some(id))).collect();
        format!(
            "select txn_processing.{function}('{}', {}, {}, {}, {}, null)",
            self.id,
            literal(self.reference.as_ref()),
            accounts.join(", "),
            self.amount,
            literal(self.currency)
        )
    }

    fn named(&self) -> Vec<Uuid> {
        self.from.into_iter().chain(self.to).collect()
    }
}

fn batch(items: &[Item], atomic: bool, mixed: bool) -> String {
    let types = array(items, "text", |item| literal(Some(item.posting.kind.posted_as())));
    let function = if mixed { format!("post_batch({types}, ") } else { "post_transfers(".to_owned() };
    format!(
        "select ordinal, transaction_id, code, from_balance, to_balance from txn_processing.{function}{}, {}, {}, \
         transaction_ids => {}, refs => {}, linked => {}, atomic => {atomic}) order by ordinal",
        array(items, "uuid", |item| literal(item.posting.from)),
        array(items, "uuid", |item| literal(item.posting.to)),
        array(items, "numeric", |item| item.posting.amount),
        array(items, "uuid", |item| literal(Some(item.posting.id))),
        array(items, "text", |item| literal(item.posting.reference.as_ref())),
        array(items, "boolean", |item| item.linked),
    )
}

fn enqueue(key: &str, request: &Request, priority: usize) -> String {
    let (what, from, to, amount, data) = match request {
        Request::Post { kind, from, to, amount } => (kind.posted_as(), *from, *to, amount, "{}".to_owned()),
        Request::Adjust { account, amount } => {
            ("adjustment", None, Some(*account), amount, r#"{"reason": "counted again"}"#.to_owned())
        }
        Request::Refund { original, amount } => {
            ("refund", None, None, amount, format!(r#"{{"original_transaction_id": "{original}"}}"#))
        }
        Request::Reverse { original, amount } => (
            "reversal",
            None,
            None,
            amount,
            format!(r#"{{"original_transaction_id": "{original}", "reason": "by mistake"}}"#),
        ),
    };
    format!(
        "select txn_processing.enqueue('{what}', {}, {}, {amount}, idempotency_key => '{key}', \
         priority => {priority}, request_data => '{data}', max_retries => 100, expires_at => null)",
        literal(from),
        literal(to)
    )
}

/// Short enough to wait for, long enough that it is mostly placed before.
const SHORT: &str = "clock_timestamp() + interval '20 ms'";

impl Op {
    /// One statement; of a hold whose time is to be over, two.
    pub fn sql(&self) -> String {
        match self {
            Op::Post { posting, contract: true } => posting.contract(),
            Op::Post { posting, .. } => posting.strict(),
            Op::Batch { items, atomic, mixed } => batch(items, *atomic, *mixed),
            Op::Enqueue { key, request, priority } => enqueue(key, request, *priority),
            Op::Adjust { id, account, amount } => format!(
                "select txn_processing.adjust('{account}', {amount}, 'counted again', transaction_id => '{id}')"
            ),
            Op::Refund { id, original, amount } => format!(
                "select txn_processing.refund('{original}', {}, transaction_id => '{id}')",
                number(amount.as_ref())
            ),
            Op::Reverse { id, original, allow_overdraft } => format!(
                "select txn_processing.reverse('{original}', 'by mistake', reversal_transaction_id => '{id}', \
                 allow_overdraft => {})",
                number(allow_overdraft.as_ref())
            ),
            Op::ProcessQueue { at_most } => {
                format!("select request_id, status, code, transaction_id from txn_processing.process_queue({at_most})")
            }
            Op::ProcessRequest { request } => format!("select txn_processing.process_transaction('{request}')"),
            Op::Exchange { id, from, to, amount, rate } => format!(
                "select txn_processing.transfer_fx('{from}', '{to}', {amount}, {}, transaction_id => '{id}')",
                number(rate.as_ref())
            ),
            Op::SetRate { base, quote, rate } => {
                format!("select txn_processing.set_fx_rate('{base}', '{quote}', {rate}, clock_timestamp())")
            }
            Op::SweepResidues => {
                "select currency_code, swept, remainder, transaction_id from txn_processing.sweep_fx_residues()".into()
            }
            Op::OpenDispute { id, transaction, amount } => format!(
                "select txn_processing.open_dispute('{transaction}', 'never arrived', {}, '{id}')",
                number(amount.as_ref())
            ),
            Op::ResolveDispute { dispute, outcome, amount, charge_back } => format!(
                "select txn_processing.resolve_dispute('{dispute}', '{outcome}', {}, null, {})",
                number(amount.as_ref()),
                number(charge_back.as_ref())
            ),
            Op::Append(append) => append.sql(),
            Op::State { aggregate, up_to } => {
                format!("select event_store.get_aggregate_state('{aggregate}', {})", number(up_to.as_ref()))
            }
            Op::ReadStream { aggregate, from, at_most } => events::read_stream(*aggregate, *from, *at_most),
            Op::Decide(decision) => decision.sql(),
            Op::Position => "select event_store.safe_position() - 1".to_owned(),
            Op::Publish { on } => format!("select event_store.publish_ledger({on}) is null"),
            Op::CheckLedgerEvents => "select account_id, by_events, by_ledger, wrong_events \
                                      from event_store.check_ledger_events()"
                .to_owned(),
            Op::Submit(command) => command.sql(),
            Op::ProcessCommand => crate::cqrs::PROCESS.to_owned(),
            Op::Project(projecting) => projecting.sql(),
            Op::Consume(consuming) => consuming.sql(),
            Op::Saga(sagaing) => sagaing.sql(),
            Op::Table(tabled) => tabled.sql(),
            _ => self.sql_of_holds_and_accounts(),
        }
    }

    fn sql_of_holds_and_accounts(&self) -> String {
        match self {
            Op::Hold { id, account, amount, to, group, short } => format!(
                "select txn_processing.place_hold('{account}', {amount}, {}, {}, {}, hold_id => '{id}'){}",
                if *short { SHORT } else { "null" },
                literal(to.as_ref()),
                literal(group.as_ref()),
                if *short { "; select pg_sleep(0.02) is null" } else { "" }
            ),
            Op::Capture { id, hold, amount, to, last } => format!(
                "select txn_processing.capture_hold('{hold}', {}, {}, {last}, transaction_id => '{id}')",
                number(amount.as_ref()),
                literal(to.as_ref())
            ),
            Op::Release { hold } => format!("select txn_processing.release_hold('{hold}', 'not wanted') is null"),
            Op::CaptureGroup { group } => format!("select txn_processing.capture_hold_group('{group}')"),
            Op::ReleaseGroup { id, group } => format!("select txn_processing.release_hold_group('{group}', '{id}')"),
            Op::ExpireHolds => "select txn_processing.expire_holds()".to_owned(),
            Op::SetStatus { account, status } => {
                format!("select banking.set_account_status('{account}', '{status}', 'as it goes') is null")
            }
            Op::SetOverdraft { account, limit } => {
                format!("select banking.set_overdraft_limit('{account}', {limit}, 'as it goes') is null")
            }
            Op::SetMode { account, slotted } => format!(
                "select banking.set_balance_mode('{account}', '{}') is null",
                if *slotted { "slotted" } else { "exclusive" }
            ),
            Op::SetLimit { account, period, amount, postings } => format!(
                "select banking.set_account_limit('{account}', '{period}', {}, {}, 'as it goes') is null",
                number(amount.as_ref()),
                number(postings.as_ref())
            ),
            Op::History(historical) => historical.sql(),
            Op::Close { account, sweep_to } => {
                format!("select banking.close_account('{account}', sweep_to => {})", literal(sweep_to.as_ref()))
            }
            other => unreachable!("{} is written above", other.name()),
        }
    }
}
