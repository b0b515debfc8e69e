//! Makes requests of every kind at random, each with the facts that it is to leave.

use crate::books::Books;
use crate::request::{Reading, Request};
use neobank_sessions::{Decimal, Dice, Uuid};

/// A posting of one leg as it is asked for.
#[derive(Clone, Debug)]
pub struct Posting {
    pub id: Uuid,
    kind: &'static str,
    debit: Uuid,
    credit: Uuid,
    amount: Decimal,
}

impl Posting {
    fn fact(&self) -> String {
        fact(self.id, 1, self.kind, self.debit, self.credit, self.amount, None)
    }
}

fn fact(id: Uuid, leg: u8, kind: &str, debit: Uuid, credit: Uuid, amount: Decimal, reverses: Option<Uuid>) -> String {
    let reverses = reverses.map_or("-".to_owned(), |id| id.to_string());
    format!("movement {id} {leg} {kind} {debit} {credit} {} {reverses}", amount.normalize())
}

pub struct Maker {
    pub dice: Dice,
    books: Books,
    client: usize,
    made: u64,
    /// Acknowledged and neither given back nor asked to be.
    pub posted: Vec<Posting>,
    /// Acknowledged holds with their accounts and amounts.
    pub held: Vec<(Uuid, Uuid, Decimal)>,
    pub batches: Vec<String>,
}

fn request(label: &'static str, sql: String, facts: Vec<Vec<String>>, probe: Option<Uuid>) -> Request {
    Request { label, sql, reading: Reading::Rows, facts, probe, is_repeatable: true, done_before: "" }
}

impl Maker {
    pub fn new(books: Books, client: usize, seed: u64) -> Maker {
        let dice = Dice(seed.wrapping_mul(31).wrapping_add(client as u64));
        Maker { dice, books, client, made: 0, posted: Vec::new(), held: Vec::new(), batches: Vec::new() }
    }

    /// The next request, and the posting that may be given back once it is acknowledged.
    pub fn make(&mut self) -> (Request, Option<Posting>) {
        self.made += 1;
        let request = match self.dice.below(100) {
            0..22 => return self.transfer(),
            22..40 => return self.one_sided(),
            40..46 => self.give_back(),
            46..54 => self.hold(),
            54..60 => self.end_hold(),
            60..70 => self.several(),
            70..77 => self.block(),
            77..84 => self.enqueue(),
            84..86 => self.process_queue(),
            86..90 => self.exchange(),
            90..92 => self.payment_batch(),
            92..94 => self.process_batch(),
            94..97 => self.open_account(),
            _ => self.steward(),
        };
        (request, None)
    }

    fn id(&mut self) -> Uuid {
        if self.dice.below(2) == 0 { Uuid::now_v7() } else { Uuid::new_v4() }
    }

    fn account(&mut self) -> Uuid {
        self.books.accounts[self.dice.below(self.books.accounts.len())]
    }

    fn two(&mut self) -> (Uuid, Uuid) {
        let (n, count) = (self.dice.below(self.books.accounts.len()), self.books.accounts.len());
        let other = (n + 1 + self.dice.below(count - 1)) % count;
        (self.books.accounts[n], self.books.accounts[other])
    }

    fn amount(&mut self) -> Decimal {
        Decimal::new(1 + self.dice.below(900) as i64, 2)
    }

    /// What a posting may be given beside its figures; some of it is long enough to be compressed or stored apart.
    fn tail(&mut self) -> String {
        let number = self.made;
        match self.dice.below(8) {
            0 => format!(", description => 'number {number} of client {}'", self.client),
            1 => {
                let wide = (0..150).map(|_| format!("{:x}", self.dice.below(1 << 30))).collect::<String>();
                format!(", metadata => '{{\"n\": {number}, \"wide\": \"{wide}\"}}'")
            }
            2 => format!(", reference => 'c{}-{}'", self.client, Uuid::new_v4()),
            _ => String::new(),
        }
    }

    fn transfer(&mut self) -> (Request, Option<Posting>) {
        let ((debit, credit), amount, id) = (self.two(), self.amount(), self.id());
        let posting = Posting { id, kind: "transfer", debit, credit, amount };
        let facts = vec![vec![posting.fact()]];
        let made = if self.dice.below(4) == 0 {
            let sql = format!(
                "select txn_processing.execute_transfer('{id}', null, '{debit}', '{credit}', {amount}, 'USD', '{{\"a\": 1}}')"
            );
            Request { reading: Reading::Json, ..request("contract transfer", sql, facts, Some(id)) }
        } else {
            // Given as a time and not as a distance: it is content, and sent again it must be the same.
            let day = &self.books.day;
            let dated = format!(", effective_at => '{day}'::timestamptz - interval '36 hours'");
            let dated = if self.dice.below(6) == 0 { dated } else { String::new() };
            let tail = self.tail();
            let sql = format!(
                "select txn_processing.transfer('{debit}', '{credit}', {amount}{tail}{dated}, transaction_id => '{id}')"
            );
            request(if dated.is_empty() { "transfer" } else { "backdated transfer" }, sql, facts, Some(id))
        };
        (made, Some(posting))
    }

    fn one_sided(&mut self) -> (Request, Option<Posting>) {
        let (account, amount, id, tail) = (self.account(), self.amount(), self.id(), self.tail());
        let Books { cash, clearing, fee_income, interest_expense, suspense, .. } = self.books;
        let (label, kind, debit, credit) = match self.dice.below(7) {
            0 | 1 => ("deposit", "deposit", cash, account),
            2 => ("withdraw", "withdrawal", account, cash),
            3 => ("pay", "payment", account, clearing),
            4 => ("charge_fee", "fee", account, fee_income),
            5 => ("credit_interest", "interest", interest_expense, account),
            _ => ("adjust", "adjustment", suspense, account),
        };
        let posting = Posting { id, kind, debit, credit, amount };
        let facts = vec![vec![posting.fact()]];
        let extra = if label == "adjust" { ", 'a correction'".to_owned() } else { tail };
        let sql = format!("select txn_processing.{label}('{account}', {amount}{extra}, transaction_id => '{id}')");
        (request(label, sql, facts, Some(id)), (kind != "adjustment" && kind != "interest").then_some(posting))
    }

    fn give_back(&mut self) -> Request {
        if self.posted.is_empty() {
            return self.transfer().0;
        }
        let at = self.dice.below(self.posted.len());
        let (original, id) = (self.posted.swap_remove(at), self.id());
        let Posting { id: first, debit, credit, amount, .. } = original;
        let facts = |kind: &str| vec![vec![fact(id, 1, kind, credit, debit, amount, Some(first))]];
        if self.dice.below(2) == 0 {
            let sql =
                format!("select txn_processing.reverse('{first}', 'by mistake', reversal_transaction_id => '{id}')");
            request("reverse", sql, facts("reversal"), Some(id))
        } else {
            let sql = format!("select txn_processing.refund('{first}', transaction_id => '{id}')");
            request("refund", sql, facts("refund"), Some(id))
        }
    }

    fn hold(&mut self) -> Request {
        let (account, amount, id) = (self.account(), self.amount(), self.id());
        let facts = vec![vec![format!("hold {id} {account} {}", amount.normalize())]];
        let ends = format!(", expires_at => '{}'::timestamptz + interval '2 days'", self.books.day);
        let ends = if self.dice.below(4) == 0 { ends } else { String::new() };
        let sql = format!("select txn_processing.place_hold('{account}', {amount}{ends}, hold_id => '{id}')");
        request("place_hold", sql, facts, None)
    }

    fn end_hold(&mut self) -> Request {
        if self.held.is_empty() {
            return self.hold();
        }
        let at = self.dice.below(self.held.len());
        let (hold, account, amount) = self.held.swap_remove(at);
        if self.dice.below(3) == 0 {
            let sql = format!("select txn_processing.release_hold('{hold}', 'not needed')");
            let facts = vec![vec![format!("released {hold}")]];
            return Request { is_repeatable: false, done_before: "NB011", ..request("release_hold", sql, facts, None) };
        }
        let (id, to) = (self.id(), self.account());
        let part = (amount / Decimal::from(2)).round_dp(2).max(Decimal::new(1, 2));
        let facts = vec![vec![
            fact(id, 1, "transfer", account, to, part, None),
            format!("capture {hold} {id} {}", part.normalize()),
        ]];
        let whole = self.dice.below(2) == 0;
        let sql = format!(
            "select txn_processing.capture_hold('{hold}', {part}, '{to}', final => {whole}, transaction_id => '{id}')"
        );
        request("capture_hold", sql, facts, Some(id))
    }

    /// A batch of up to forty items, some tied in pairs; or all or nothing.
    fn several(&mut self) -> Request {
        let (size, atomic) = (2 + self.dice.below(39), self.dice.below(4) == 0);
        let tied = !atomic && self.dice.below(3) == 0;
        let mut columns: [Vec<String>; 5] = Default::default();
        let mut facts = Vec::new();
        for at in 0..size {
            let ((from, to), amount, id) = (self.two(), self.amount(), self.id());
            facts.push(vec![fact(id, 1, "transfer", from, to, amount, None)]);
            let link = tied && at % 2 == 0 && at + 1 < size;
            for (column, value) in columns.iter_mut().zip([
                format!("'{from}'"),
                format!("'{to}'"),
                amount.to_string(),
                format!("'{id}'"),
                link.to_string(),
            ]) {
                column.push(value);
            }
        }
        let [from, to, amounts, ids, links] = columns.map(|column| column.join(","));
        let sql = format!(
            "select ordinal, code, transaction_id, from_balance, to_balance from txn_processing.post_transfers(\
             array[{from}]::uuid[], array[{to}]::uuid[], array[{amounts}]::numeric[], \
             transaction_ids => array[{ids}]::uuid[], linked => array[{links}]::boolean[], atomic => {atomic})"
        );
        if atomic {
            let all = vec![facts.into_iter().flatten().collect()];
            return request("atomic batch", sql, all, None);
        }
        Request { reading: Reading::Items, ..request("batch", sql, facts, None) }
    }

    /// Two postings and a row of the application's own in one transaction.
    fn block(&mut self) -> Request {
        let ((a, b), c, receipt) = (self.two(), self.account(), self.id());
        let (first, second, x, y) = (self.id(), self.id(), self.amount(), self.amount());
        let mut steps = [
            format!("select txn_processing.transfer('{a}', '{b}', {x}, transaction_id => '{first}')"),
            format!("select txn_processing.pay('{c}', {y}, transaction_id => '{second}')"),
            format!("insert into public.receipts values ('{receipt}', 'note') on conflict do nothing"),
        ];
        let turn = self.dice.below(3);
        steps.rotate_left(turn);
        let facts = vec![vec![
            fact(first, 1, "transfer", a, b, x, None),
            fact(second, 1, "payment", c, self.books.clearing, y, None),
            format!("receipt {receipt}"),
        ]];
        request("block", format!("begin; {}; commit", steps.join("; ")), facts, Some(first))
    }

    fn enqueue(&mut self) -> Request {
        let ((a, b), amount, key) = (self.two(), self.amount(), Uuid::new_v4());
        let (kind, from, to) = match self.dice.below(5) {
            0 => ("deposit", None, Some(b)),
            1 => ("withdrawal", Some(a), None),
            2 => ("fee", Some(a), None),
            _ => ("transfer", Some(a), Some(b)),
        };
        let literal = |account: Option<Uuid>| account.map_or("null".to_owned(), |id| format!("'{id}'"));
        let text = |account: Option<Uuid>| account.map_or("-".to_owned(), |id| id.to_string());
        let facts = vec![vec![format!("request {key} {kind} {} {} {}", text(from), text(to), amount.normalize())]];
        let (from, to) = (literal(from), literal(to));
        let sql = format!(
            "select txn_processing.enqueue('{kind}', {from}, {to}, {amount}, idempotency_key => '{key}', max_retries => 100)"
        );
        request("enqueue", sql, facts, None)
    }

    fn process_queue(&mut self) -> Request {
        let most = 1 + self.dice.below(30);
        let sql = format!(
            "select concat_ws(' ', status, request_id, transaction_id) from txn_processing.process_queue({most})"
        );
        let made = request("process_queue", sql, Vec::new(), None);
        Request { reading: Reading::Claims, is_repeatable: false, ..made }
    }

    fn exchange(&mut self) -> Request {
        let (from, id) = (self.account(), self.id());
        let to = self.books.euros[self.dice.below(self.books.euros.len())];
        // At the rate of a half, with no rounding.
        let half = Decimal::new(1 + self.dice.below(300) as i64, 2);
        let whole = half * Decimal::from(2);
        let [dollars, euros] = self.books.positions;
        let facts = vec![vec![
            fact(id, 1, "transfer", from, dollars, whole, None),
            fact(id, 2, "transfer", euros, to, half, None),
        ]];
        let sql = format!("select txn_processing.transfer_fx('{from}', '{to}', {whole}, transaction_id => '{id}')");
        request("transfer_fx", sql, facts, Some(id))
    }

    fn payment_batch(&mut self) -> Request {
        let (key, size) = (Uuid::new_v4().to_string(), 1 + self.dice.below(60));
        let items: Vec<_> = (0..size)
            .map(|n| {
                let ((from, to), amount) = (self.two(), self.amount());
                if n % 3 == 0 {
                    format!(
                        "{{\"from_account\": \"{from}\", \"counterparty_bank\": \"YZ\", \
                         \"counterparty_account\": \"{n}\", \"amount\": {amount}}}"
                    )
                } else {
                    format!("{{\"from_account\": \"{from}\", \"to_account\": \"{to}\", \"amount\": {amount}}}")
                }
            })
            .collect();
        let items = items.join(",");
        self.batches.push(key.clone());
        let sql = format!("select txn_processing.create_payment_batch('[{items}]', '{key}')");
        request("create_payment_batch", sql, vec![vec![format!("batch {key} {size}")]], None)
    }

    fn process_batch(&mut self) -> Request {
        if self.batches.is_empty() {
            return self.payment_batch();
        }
        let key = self.batches[self.dice.below(self.batches.len())].clone();
        let chunk = 1 + self.dice.below(40);
        let sql = format!(
            "select (txn_processing.process_payment_batch(batch_id, {chunk})).* \
             from txn_processing.payment_batches where idempotency_key = '{key}'"
        );
        Request { is_repeatable: false, ..request("process_payment_batch", sql, Vec::new(), None) }
    }

    fn open_account(&mut self) -> Request {
        let number = format!("N-{}", Uuid::new_v4());
        let customer = self.books.customer;
        let sql =
            format!("select banking.open_account('{customer}', 'savings', 'USD', 5, account_number => '{number}')");
        let facts = vec![vec![format!("opening {number} 5")]];
        Request { is_repeatable: false, done_before: "NB020", ..request("open_account", sql, facts, None) }
    }

    /// What happens to accounts beside postings, and to tables beside both.
    fn steward(&mut self) -> Request {
        let account = self.account();
        let sql = match self.dice.below(6) {
            0 => format!("select banking.set_balance_mode('{account}', 'slotted')"),
            1 => format!("select banking.set_balance_mode('{account}', 'exclusive')"),
            2 => format!("select banking.set_overdraft_limit('{account}', {}, 'reviewed')", self.dice.below(90)),
            3 => "select txn_processing.expire_holds()".to_owned(),
            4 => "select * from txn_processing.sweep_fx_residues()".to_owned(),
            _ => format!("select txn_processing.balance_as_of('{account}', now() - interval '1 day')"),
        };
        Request { is_repeatable: false, ..request("steward", sql, Vec::new(), None) }
    }
}
