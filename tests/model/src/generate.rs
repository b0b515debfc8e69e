//! Random operations. Most could succeed; some are bad on purpose: too much, below zero, too many decimals, one account
//! twice, another currency, an unknown id, an id that stands for something else already.

use crate::op::{Item, Kind, Op, Posting, Request};
use crate::pool::Pool;
use crate::sagas::Sagaing;
use crate::world::{Place, World};
use neobank_sessions::{Decimal, Dice, Uuid};

pub const UNKNOWN: Uuid = Uuid::from_u128(7);

pub struct Generator<'a> {
    pub dice: &'a mut Dice,
    pub world: &'a World,
    pub pool: &'a Pool,
}

/// How often each is drawn, in parts of their sum.
type Draw = fn(&mut Generator) -> Op;
const DRAWS: [(usize, Draw); 47] = [
    (16, |g| g.post(Kind::Transfer)),
    (8, |g| g.post(Kind::Deposit)),
    (6, |g| g.post(Kind::Withdrawal)),
    (3, |g| g.post(Kind::Payment)),
    (3, |g| g.post(Kind::Fee)),
    (2, |g| g.post(Kind::Interest)),
    (3, |g| g.post(Kind::PayBank)),
    (3, |g| g.post(Kind::ReceiveFromBank)),
    (3, |g| g.adjust()),
    (4, |g| Op::Refund { id: g.id(), original: g.transaction(), amount: g.perhaps_amount() }),
    (4, |g| g.reverse()),
    (7, |g| g.hold()),
    (6, |g| g.capture()),
    (3, |g| Op::Release { hold: g.known(g.pool.holds.as_slice()) }),
    (1, |g| Op::CaptureGroup { group: g.known(g.pool.groups.as_slice()) }),
    (1, |g| Op::ReleaseGroup { id: g.id(), group: g.known(g.pool.groups.as_slice()) }),
    (1, |_| Op::ExpireHolds),
    (5, |g| g.batch()),
    (5, |g| g.exchange()),
    (1, |g| g.rate_or_sweep()),
    (3, |g| Op::OpenDispute { id: g.id(), transaction: g.transaction(), amount: g.perhaps_amount() }),
    (3, |g| g.resolve()),
    (6, |g| g.enqueue()),
    (4, |g| g.process()),
    (3, |g| g.status()),
    (3, |g| g.setting()),
    (5, |g| Op::History(g.historical())),
    (12, |g| Op::Table(g.tabled())),
    (4, |g| Op::Table(g.ask_table())),
    (10, |g| g.append(false)),
    (5, |g| g.append(true)),
    (4, |g| g.state()),
    (3, |g| g.read_stream()),
    (6, |g| g.decide()),
    (2, |_| Op::Position),
    (1, |g| Op::Publish { on: !g.one_in(3) }),
    (1, |_| Op::CheckLedgerEvents),
    (5, |g| g.command()),
    (3, |_| Op::ProcessCommand),
    (3, |g| g.project()),
    (5, |g| g.fetch()),
    (7, |g| g.consume()),
    (8, |g| g.start()),
    (9, |g| g.run_sagas()),
    (11, |g| g.work()),
    (8, |g| g.around_sagas()),
    (8, |g| g.again()),
];

impl Generator<'_> {
    pub fn next_op(&mut self) -> Op {
        let sum: usize = DRAWS.iter().map(|(weight, _)| weight).sum();
        let mut at = self.dice.below(sum);
        for (weight, draw) in DRAWS {
            if at < weight {
                return draw(self);
            }
            at -= weight;
        }
        unreachable!("the weights add up to their sum")
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.dice.below(n) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.dice.below(of.len())].clone()
    }

    pub(crate) fn id(&mut self) -> Uuid {
        let mut half = || (self.dice.below(1 << 31) as u64) << 31 | self.dice.below(1 << 31) as u64;
        uuid::Builder::from_random_bytes((u128::from(half()) << 64 | u128::from(half())).to_be_bytes()).into_uuid()
    }

    pub(crate) fn known(&mut self, ids: &[Uuid]) -> Uuid {
        if ids.is_empty() || self.one_in(25) { UNKNOWN } else { self.pick(ids) }
    }

    fn transaction(&mut self) -> Uuid {
        let pool = self.pool;
        self.known(pool.transactions.as_slice())
    }

    fn place(&mut self) -> Place {
        // The first half is busier than the rest.
        let places = if self.one_in(2) { self.world.places.len() / 2 } else { self.world.places.len() };
        self.world.places[self.dice.below(places)].clone()
    }

    pub(crate) fn account(&mut self) -> Uuid {
        match self.dice.below(60) {
            0 => UNKNOWN,
            1 => self.world.cash,
            _ => self.place().id,
        }
    }

    /// Of dollars; yen are counted in hundreds of them.
    fn amount(&mut self) -> Decimal {
        match self.dice.below(40) {
            0 => Decimal::ZERO,
            1 => Decimal::from(-5),
            2 => Decimal::new(1005, 3),
            3 => Decimal::from(1_000_000),
            4..10 => Decimal::from(self.dice.below(400) as u64 + 1),
            10..20 => Decimal::from(self.dice.below(40) as u64 + 1),
            _ => Decimal::new(self.dice.below(6_000) as i64 + 1, 2),
        }
    }

    fn amount_in(&mut self, currency: &str) -> Decimal {
        let amount = self.amount();
        if currency == "JPY" && !self.one_in(30) { (amount * Decimal::from(100)).trunc() } else { amount }
    }

    fn perhaps_amount(&mut self) -> Option<Decimal> {
        if self.one_in(2) { None } else { Some(self.amount()) }
    }

    pub(crate) fn amount_for(&mut self, account: Uuid) -> Decimal {
        let place = self.world.places.iter().find(|place| place.id == account);
        let currency = place.map_or("USD", |place| place.currency);
        self.amount_in(currency)
    }

    /// Another account, mostly of the same currency.
    pub(crate) fn other(&mut self, than: Uuid) -> Uuid {
        let currency = self.world.places.iter().find(|place| place.id == than).map(|place| place.currency);
        for _ in 0..6 {
            let place = self.place();
            if place.id != than && Some(place.currency) == currency {
                return place.id;
            }
        }
        self.account()
    }

    fn posting(&mut self, kind: Kind) -> Posting {
        let (debits, credits) = kind.sides();
        let account = self.account();
        let (from, to) = match (debits, credits) {
            (true, true) => (Some(account), Some(self.other(account))),
            (true, false) => (Some(account), None),
            _ => (None, Some(account)),
        };
        let place = self.world.places.iter().find(|place| place.id == account);
        let currency = place.map(|place| place.currency);
        let bank = matches!(kind, Kind::PayBank | Kind::ReceiveFromBank);
        Posting {
            id: self.id(),
            kind,
            from,
            to,
            amount: self.amount_for(account),
            currency: match self.dice.below(40) {
                0 => Some("EUR"),
                1..14 => currency,
                _ => None,
            },
            reference: match self.dice.below(30) {
                0 => Some("R".repeat(51)),
                1..4 => Some(format!("R-{}", self.dice.below(1 << 30))),
                _ => None,
            },
            effective_at: None,
            bank: bank.then(|| self.pick(&["DE1", "FR2", "JP3"])),
        }
    }

    fn post(&mut self, kind: Kind) -> Op {
        let mut posting = self.posting(kind);
        let has_contract = matches!(kind, Kind::Transfer | Kind::Deposit | Kind::Withdrawal | Kind::Payment);
        let contract = has_contract && self.one_in(3);
        if !contract && self.one_in(8) {
            let past = &self.world.past;
            posting.effective_at = Some(past[self.dice.below(past.len())].clone());
        }
        Op::Post { posting, contract }
    }

    fn adjust(&mut self) -> Op {
        let account = self.account();
        let amount = self.amount_for(account);
        Op::Adjust { id: self.id(), account, amount: if self.one_in(2) { -amount } else { amount } }
    }

    fn reverse(&mut self) -> Op {
        let allow_overdraft = self.pick(&[None, Some(true), Some(false), Some(false)]);
        Op::Reverse { id: self.id(), original: self.transaction(), allow_overdraft }
    }

    fn hold(&mut self) -> Op {
        let account = self.account();
        let to = if self.one_in(2) { Some(self.other(account)) } else { None };
        let pool = self.pool;
        let group = match self.dice.below(4) {
            0 => Some(self.id()),
            1 => Some(self.known(pool.groups.as_slice())),
            _ => None,
        };
        Op::Hold { id: self.id(), account, amount: self.amount_for(account), to, group, short: self.one_in(15) }
    }

    fn capture(&mut self) -> Op {
        let pool = self.pool;
        let hold = self.known(pool.holds.as_slice());
        let to = if self.one_in(6) { Some(self.account()) } else { None };
        Op::Capture { id: self.id(), hold, amount: self.perhaps_amount(), to, last: self.one_in(2) }
    }

    fn batch(&mut self) -> Op {
        let mixed = self.one_in(2);
        let kinds = [Kind::Transfer, Kind::Deposit, Kind::Withdrawal, Kind::Payment, Kind::Fee, Kind::Interest];
        let size = 1 + self.dice.below(6);
        let item = |_| {
            let kind = if mixed { self.pick(&kinds) } else { Kind::Transfer };
            let mut posting = self.posting(kind);
            posting.currency = None;
            Item { posting, linked: self.one_in(3) }
        };
        let mut items: Vec<Item> = (0..size).map(item).collect();
        items.last_mut().expect("one at least").linked = false;
        Op::Batch { items, atomic: self.one_in(4), mixed }
    }

    fn exchange(&mut self) -> Op {
        let from = self.account();
        let mut to = self.place();
        for _ in 0..4 {
            if self.world.places.iter().any(|place| place.id == from && place.currency != to.currency) {
                break;
            }
            to = self.world.places[self.dice.below(self.world.places.len())].clone();
        }
        let rate = match self.dice.below(6) {
            0 => Some(Decimal::new(11, 1)),
            1 => Some(Decimal::from(151)),
            _ => None,
        };
        Op::Exchange { id: self.id(), from, to: to.id, amount: self.amount_for(from), rate }
    }

    fn rate_or_sweep(&mut self) -> Op {
        if self.one_in(2) {
            return Op::SweepResidues;
        }
        let (base, quote, first) = self.pick(&crate::world::RATES);
        let change = Decimal::new(990 + self.dice.below(21) as i64, 3);
        let rate = (neobank_sessions::dec(first) * change).round_sf(8).expect("a rate of eight digits");
        Op::SetRate { base, quote, rate }
    }

    fn resolve(&mut self) -> Op {
        let pool = self.pool;
        let dispute = self.known(pool.disputes.as_slice());
        let outcome = self.pick(&["won", "won", "partial", "partial", "lost", "withdrawn"]);
        let amount = (outcome == "partial").then(|| self.amount());
        Op::ResolveDispute { dispute, outcome, amount, charge_back: self.pick(&[None, None, Some(false), Some(true)]) }
    }

    fn enqueue(&mut self) -> Op {
        let kinds = [Kind::Transfer, Kind::Deposit, Kind::Withdrawal, Kind::Payment, Kind::Fee, Kind::Interest];
        let request = match self.dice.below(10) {
            0 => {
                let account = self.account();
                let amount = self.amount_for(account);
                Request::Adjust { account, amount: if self.one_in(2) { -amount } else { amount } }
            }
            1 => Request::Refund { original: self.transaction(), amount: self.amount() },
            2 => Request::Reverse { original: self.transaction(), amount: self.amount() },
            _ => {
                let kind = self.pick(&kinds);
                let Posting { kind, from, to, amount, .. } = self.posting(kind);
                Request::Post { kind, from, to, amount }
            }
        };
        Op::Enqueue { key: format!("K-{}", self.id()), request, priority: 1 + self.dice.below(10) }
    }

    fn process(&mut self) -> Op {
        let pool = self.pool;
        if self.one_in(3) {
            return Op::ProcessRequest { request: self.known(pool.requests.as_slice()) };
        }
        Op::ProcessQueue { at_most: 1 + self.dice.below(8) }
    }

    fn status(&mut self) -> Op {
        // An account that is not active gets back to it soon.
        let status = self.pick(&["active", "active", "active", "active", "frozen", "dormant"]);
        let place = self.pick(&[1, 2, 4, 6]);
        let account = if self.one_in(15) { self.account() } else { self.world.places[place].id };
        Op::SetStatus { account, status }
    }

    fn setting(&mut self) -> Op {
        let account = self.account();
        match self.dice.below(7) {
            0 | 1 => Op::SetOverdraft { account, limit: Decimal::from(self.dice.below(8) as i64 * 50 - 10) },
            2 | 3 => {
                let account = if self.one_in(20) { UNKNOWN } else { self.place().id };
                Op::SetMode { account, slotted: self.one_in(2) }
            }
            4 | 5 => {
                let period = self.pick(&["transaction", "day", "month"]);
                let amount = if self.one_in(3) { None } else { Some(Decimal::from(self.dice.below(60) as u64 * 500)) };
                let postings = if self.one_in(3) { Some(self.dice.below(2_000) as i64) } else { None };
                Op::SetLimit { account, period, amount, postings }
            }
            _ => Op::Close { account: if self.one_in(2) { self.world.spare.id } else { account }, sweep_to: None },
        }
    }

    /// Something that was asked for already, by any session: the same again, or something else under its id.
    fn again(&mut self) -> Op {
        let pool = self.pool;
        if pool.asked.is_empty() {
            return self.post(Kind::Deposit);
        }
        let mut op = self.pick(pool.asked.as_slice());
        if self.one_in(4) {
            let more = self.amount();
            match &mut op {
                Op::Post { posting, .. } => posting.amount = more,
                Op::Adjust { amount, .. } | Op::Hold { amount, .. } | Op::Exchange { amount, .. } => *amount = more,
                Op::Refund { amount, .. } | Op::Capture { amount, .. } | Op::OpenDispute { amount, .. } => {
                    *amount = Some(more);
                }
                Op::Batch { items, .. } => items[0].posting.amount = more,
                Op::Enqueue { request: Request::Post { amount, .. }, .. } => *amount = more,
                Op::Append(append) => self.alter(append),
                Op::Decide(decision) => self.alter(&mut decision.append),
                Op::Submit(command) => command.cents += 1,
                Op::Saga(Sagaing::Start { context, .. }) => context.deposit.1 += Decimal::ONE,
                Op::Saga(Sagaing::Signal { figure, .. }) => *figure += 1,
                _ => {}
            }
        }
        op
    }
}
