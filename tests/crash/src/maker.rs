//! Makes requests at random, each with the facts that it is to leave: most are drawn by the model's generator, the rest
//! are what it does not know of.

use crate::books::Books;
use crate::drawn::{Known, Leg, appended, drawn, movement, request};
use crate::request::{Entry, Reading, Request};
use neobank_model::events::{Append, NewEvent};
use neobank_model::generate::Generator;
use neobank_model::op::Op;
use neobank_model::pool::Pool;
use neobank_model::sagas::Sagaing;
use neobank_model::subscriptions::Consuming;
use neobank_model::tables::{marked, marked_portion};
use neobank_sessions::{Decimal, Dice, Uuid};

pub struct Maker {
    pub dice: Dice,
    books: Books,
    client: usize,
    made: u64,
    /// What was acknowledged to this client, for the generator to refer to.
    pool: Pool,
    known: Known,
    /// What the request is that was made last, if the generator drew it.
    drawn: Option<Op>,
    batches: Vec<String>,
}

impl Maker {
    pub fn new(books: Books, client: usize, seed: u64) -> Maker {
        let dice = Dice(seed.wrapping_mul(31).wrapping_add(client as u64));
        let (pool, known) = (Pool::default(), Known::default());
        Maker { dice, books, client, made: 0, pool, known, drawn: None, batches: Vec::new() }
    }

    /// The next request.
    pub fn make(&mut self) -> Request {
        self.made += 1;
        self.drawn = None;
        match self.dice.below(100) {
            0..8 => self.long_transfer(),
            8..18 => self.block(),
            18..20 => self.process_queue(),
            20..22 => self.payment_batch(),
            22..24 => self.process_batch(),
            24..27 => self.open_account(),
            27..30 => self.transfer_with_fee(),
            30..34 => self.steward(),
            34..38 => self.marked(),
            _ => self.draw(),
        }
    }

    /// What became of the request that was made last.
    pub fn learn(&mut self, entry: &Entry) {
        let Some(op) = self.drawn.take() else { return };
        // What leaves no fact is told by its answer alone.
        let done = (entry.request.facts.is_empty() || entry.is_acknowledged()) && !entry.answer.is_empty();
        self.pool.learn(&op, done.then_some(entry.answer.as_slice()), &mut self.dice);
        // A retry is made from what was written down, in the same words.
        self.pool.asked.clear();
    }

    /// An operation of the model.
    fn draw(&mut self) -> Request {
        loop {
            let mut op = Generator { dice: &mut self.dice, world: &self.books.world, pool: &self.pool }.next_op();
            match &mut op {
                Op::Append(append) => {
                    for event in &mut append.events {
                        event.id = event.id.or(Some(Uuid::new_v4()));
                    }
                }
                // These are asked for once: whoever asks first is answered so.
                Op::Release { hold } => self.pool.holds.retain(|known| known != hold),
                Op::ResolveDispute { dispute, .. } => self.pool.disputes.retain(|known| known != dispute),
                Op::Saga(Sagaing::Complete { task }) => self.pool.tasks.retain(|known| known != task),
                Op::Consume(Consuming::Ack { token, events }) => {
                    let lease = self.pool.leases.iter().position(|lease| lease.token == *token);
                    let lease = lease.map(|at| self.pool.leases.swap_remove(at));
                    let all = || lease.map(|lease| lease.events.into_iter().map(|event| event.0).collect());
                    *events = events.take().or_else(all);
                }
                _ => {}
            }
            if let Some(request) = drawn(&op, &self.books, &mut self.known) {
                self.drawn = Some(op);
                return request;
            }
        }
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

    /// With more to it than figures; some of it is long enough to be compressed or stored apart.
    fn long_transfer(&mut self) -> Request {
        let ((debit, credit), amount, id, number) = (self.two(), self.amount(), self.id(), self.made);
        let tail = match self.dice.below(3) {
            0 => format!(", description => 'number {number} of client {}'", self.client),
            1 => {
                let wide = (0..150).map(|_| format!("{:x}", self.dice.below(1 << 30))).collect::<String>();
                format!(", metadata => '{{\"n\": {number}, \"wide\": \"{wide}\"}}'")
            }
            _ => format!(", reference => 'c{}-{}'", self.client, Uuid::new_v4()),
        };
        // Given as a time and not as a distance: it is content, and sent again it must be the same.
        let dated = format!(", effective_at => '{}'::timestamptz - interval '36 hours'", self.books.day);
        let dated = if self.dice.below(6) == 0 { dated } else { String::new() };
        let sql = format!(
            "select txn_processing.transfer('{debit}', '{credit}', {amount}{tail}{dated}, transaction_id => '{id}')"
        );
        let facts = movement(id, "transfer", &[Leg { debit, credit, amount: Some(amount) }], None);
        request(if dated.is_empty() { "long transfer" } else { "backdated transfer" }, sql, vec![facts], Some(id))
    }

    fn transfer_with_fee(&mut self) -> Request {
        let ((debit, credit), id) = (self.two(), self.id());
        let amount = self.amount() + Decimal::ONE;
        let sql = format!(
            "select txn_processing.transfer_with_fee('{debit}', '{credit}', {amount}, transaction_id => '{id}')"
        );
        let mut facts = movement(id, "transfer", &[Leg { debit, credit, amount: Some(amount) }], None);
        facts.push(format!("fee {id} wire"));
        request("transfer with a fee", sql, vec![facts], Some(id))
    }

    /// Two postings, an event and a row of the application's own in one transaction.
    fn block(&mut self) -> Request {
        let ((a, b), c, receipt) = (self.two(), self.account(), self.id());
        let (first, second, x, y) = (self.id(), self.id(), self.amount(), self.amount());
        let aggregates = &self.books.world.aggregates;
        let event = NewEvent {
            id: Some(receipt),
            event_type: "FundsDeposited".to_owned(),
            data: format!("{{\"amount\": {x}, \"receipt\": \"{receipt}\"}}"),
            metadata: Some(format!("{{\"causation_id\": \"{first}\"}}")),
            tags: Some(vec!["block".to_owned()]),
            stray: false,
        };
        let append = Append {
            aggregate: aggregates[2 * self.dice.below(aggregates.len() / 2)],
            aggregate_type: "Account",
            events: vec![event],
            expected: None,
            batch: false,
        };
        let mut steps = [
            format!("select txn_processing.transfer('{a}', '{b}', {x}, transaction_id => '{first}')"),
            format!("select txn_processing.pay('{c}', {y}, transaction_id => '{second}')"),
            append.sql(),
            format!("insert into public.receipts values ('{receipt}', 'note') on conflict do nothing"),
        ];
        let turn = self.dice.below(steps.len());
        steps.rotate_left(turn);
        let clearing = self.books.own("payments_clearing", "USD");
        let mut facts = movement(first, "transfer", &[Leg { debit: a, credit: b, amount: Some(x) }], None);
        facts.extend(movement(second, "payment", &[Leg { debit: c, credit: clearing, amount: Some(y) }], None));
        facts.extend(appended(&append));
        facts.push(format!("receipt {receipt}"));
        request("block", format!("begin; {}; commit", steps.join("; ")), vec![facts], Some(first))
    }

    fn process_queue(&mut self) -> Request {
        let most = 1 + self.dice.below(30);
        let sql = format!(
            "select concat_ws(' ', status, request_id, transaction_id) from txn_processing.process_queue({most})"
        );
        let made = request("process_queue", sql, Vec::new(), None);
        Request { reading: Reading::Claims, is_repeatable: false, ..made }
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

    /// A row of a table with a history, which bears a mark that is looked for in its history: by a statement, beside a
    /// posting, or in a portion of the past.
    fn marked(&mut self) -> Request {
        // Of keys of its own: the model's change their keys.
        let key = (10 + self.dice.below(5) as u8, 1 + self.dice.below(3) as u8);
        let mark = self.id();
        let fact = format!("limit {} {} {mark}", key.0, key.1);
        let row = marked(key, mark);
        let (label, sql, facts, done_before) = match self.dice.below(4) {
            0 => {
                let from = format!("date '2003-01-01' + {}", self.dice.below(4000));
                ("marked portion", marked_portion(key, mark, &from), vec![fact], "NB325")
            }
            1 => {
                let ((a, b), x, first) = (self.two(), self.amount(), self.id());
                let transfer =
                    format!("select txn_processing.transfer('{a}', '{b}', {x}, transaction_id => '{first}')");
                let mut facts = movement(first, "transfer", &[Leg { debit: a, credit: b, amount: Some(x) }], None);
                facts.push(fact);
                ("marked block", format!("begin; {row}; {transfer}; commit"), facts, "")
            }
            _ => ("marked row", row, vec![fact], ""),
        };
        Request { is_repeatable: false, done_before, ..request(label, sql, vec![facts], None) }
    }

    /// What happens to accounts beside postings, and to tables beside both.
    fn steward(&mut self) -> Request {
        let account = self.account();
        let yesterday = "current_date - 1";
        let sql = match self.dice.below(9) {
            0 => format!("select banking.set_balance_mode('{account}', 'slotted')"),
            1 => format!("select banking.set_balance_mode('{account}', 'exclusive')"),
            2 => format!("select banking.set_overdraft_limit('{account}', {}, 'reviewed')", self.dice.below(90)),
            3 => "select * from txn_processing.sweep_fx_residues()".to_owned(),
            4 => format!("select txn_processing.balance_as_of('{account}', now() - interval '1 day')"),
            5 => "select * from txn_processing.settle((now() at time zone 'UTC')::date, 'USD')".to_owned(),
            6 => format!("select * from txn_processing.accrue_interest({yesterday})"),
            7 => format!("select * from txn_processing.capitalise_interest({yesterday})"),
            _ => format!("select * from txn_processing.charge_periodic_fees({yesterday})"),
        };
        Request { is_repeatable: false, ..request("steward", sql, Vec::new(), None) }
    }
}
