//! The same random work by direct access and by SQL, each in a database of its own: every answer, every refusal and
//! every row must be the same. A failure names its seed and the operation.

use super::batches::{Item, batch_sql, transfers_sql};
use super::differential_world::{World, check_indexes, dump, grow};
use neobank_sessions::*;

/// A small generator of its own, so that a failure can be run again.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// Three that stay and one that is new each time, but in CI; or the one of `SEED`, to run a failure again.
pub fn seeds() -> Vec<u64> {
    match given("SEED") {
        Some(seed) => vec![seed],
        None => vec![1, 2, 3, seed()],
    }
}

/// Accounts that each world has, in this order.
const KINDS: [(&str, &str, &str, &str); 9] = [
    ("checking", "USD", "1000", "0"),
    ("savings", "USD", "50", "0"),
    ("checking", "USD", "0", "200"),
    ("loan", "USD", "0", "5000"),
    ("checking", "USD", "0", "0"),
    ("business", "USD", "300", "0"),
    ("business", "USD", "300", "100"),
    ("checking", "EUR", "70", "0"),
    ("checking", "JPY", "7000", "0"),
];
/// Of these, the ones that are slotted; the second of them over three slots.
const SLOTTED: [usize; 2] = [5, 6];

fn open(path: &str) -> World {
    let mut bank = Bank::new();
    let accounts: Vec<Uuid> = KINDS
        .iter()
        .map(|(kind, currency, opening, limit)| bank.account_with(kind, currency, opening, limit))
        .collect();
    for at in SLOTTED {
        bank.db.run(&format!("select banking.set_balance_mode('{}', 'slotted')", accounts[at]));
    }
    let mut world = World::new(bank, path, accounts);
    grow(&mut world, SLOTTED[1], 3);
    world
}

/// Makes one operation after the other as SQL; `{a1}` stands for account 1, `{p1}` for the second posting answered.
struct Maker {
    dice: Dice,
    given: Vec<Uuid>,
    day: String,
    made: Vec<String>,
}

impl Maker {
    fn account(&mut self) -> String {
        match self.dice.below(60) {
            0 => "00000000-0000-7000-8000-000000000000".to_owned(),
            // Mostly the first seven, which have one currency.
            n if n < 8 => format!("{{a{}}}", self.dice.below(KINDS.len())),
            _ => format!("{{a{}}}", self.dice.below(7)),
        }
    }

    fn amount(&mut self) -> String {
        let odd = ["0", "-1", "1.005", "'NaN'", "'Infinity'", "1000000000000000001", "10.00", "1e2", "999999"];
        match self.dice.below(12) {
            0 => self.dice.pick(&odd).to_owned(),
            1..3 => (1 + self.dice.below(200)).to_string(),
            _ => format!("{}.{:02}", self.dice.below(40), self.dice.below(99) + 1),
        }
    }

    /// An id, in one of three cases one that was given before.
    fn id(&mut self) -> Uuid {
        if !self.given.is_empty() && self.dice.one_in(3) {
            return self.dice.pick(&self.given);
        }
        let id = Uuid::from_u64_pair(self.given.len() as u64 + 1, 0xDEAD_0000_0000_0000);
        self.given.push(id);
        id
    }

    fn posted(&mut self) -> String {
        format!("{{p{}}}", self.dice.below(1_000))
    }

    /// Named arguments at the end, of which any may be there.
    fn tail(&mut self, id_name: &str) -> String {
        let mut tail = String::new();
        let text = format!("{:x}", self.dice.below(1 << 30)).repeat(self.dice.pick(&[1, 1, 1, 7, 200]));
        let wide = (0..1_500).map(|_| format!("{:x}", self.dice.below(1 << 24))).collect::<String>();
        let json = self.dice.pick(&["{}", "{\"k\": [1, {\"l\": null}]}", "[1]", "{\"x\": 1.50}"]).to_owned();
        for (one_in, argument) in [
            (6, format!("reference => '{text}'")),
            (6, "description => 'What it was for'".to_owned()),
            (10, format!("metadata => '{json}'")),
            (60, format!("metadata => '{{\"wide\": \"{wide}\"}}'")),
            (4, format!("{id_name} => '{}'", self.id())),
            (8, format!("effective_at => '{}'::timestamptz - interval '{} hours'", self.day, self.dice.below(9_000))),
        ] {
            let name = argument.split(' ').next().unwrap_or_default();
            if self.dice.one_in(one_in) && !tail.contains(name) {
                tail += &format!(", {argument}");
            }
        }
        tail
    }

    fn strict(&mut self) -> String {
        let (a, b, amount, tail) = (self.account(), self.account(), self.amount(), self.tail("transaction_id"));
        let one = self.dice.pick(&["deposit", "withdraw", "pay", "charge_fee", "credit_interest"]);
        let plain = tail.replace(", description => 'What it was for'", "");
        match self.dice.below(8) {
            0..4 => format!("select txn_processing.transfer('{a}', '{b}', {amount}{tail})"),
            4..7 => format!("select txn_processing.{one}('{a}', {amount}{tail})"),
            _ => format!("select txn_processing.adjust('{a}', {amount}, 'a correction'{plain})"),
        }
    }

    fn contract(&mut self) -> String {
        let (a, b, amount) = (self.account(), self.account(), self.amount());
        let id = if self.dice.one_in(2) { format!("'{}'", self.id()) } else { "null".to_owned() };
        let reference = self.dice.pick(&["null", "'R-1'", "'R-2'"]);
        let currency = self.dice.pick(&["'USD'", "'USD'", "null", "'EUR'"]);
        let one = self.dice.pick(&["deposit", "withdrawal", "payment"]);
        let end = format!("{amount}, {currency}, null");
        if self.dice.one_in(2) {
            format!("select txn_processing.execute_transfer({id}, {reference}, '{a}', '{b}', {end})")
        } else {
            format!("select txn_processing.execute_{one}({id}, {reference}, '{a}', {end})")
        }
    }

    fn given_back(&mut self) -> String {
        let (posted, amount) = (self.posted(), self.amount());
        let amount = self.dice.pick(&["null".to_owned(), "0.5".to_owned(), amount]);
        match self.dice.below(4) {
            0 | 1 => {
                let tail = self.tail("transaction_id");
                format!("select txn_processing.refund('{posted}', {amount}{tail})")
            }
            2 => {
                let tail = self.tail("reversal_transaction_id").replace(", description => 'What it was for'", "");
                format!("select txn_processing.reverse('{posted}', 'by mistake'{tail})")
            }
            _ => format!("select txn_processing.reverse_transaction('{posted}', 'by mistake', 'somebody')"),
        }
    }

    fn batch(&mut self) -> String {
        // Item wants ids; the accounts' placeholders are put in afterwards.
        let mut names = Vec::new();
        let mut name = |dice: &mut Self| {
            let stand_in = Uuid::from_u64_pair(0xFACE, names.len() as u64);
            names.push((stand_in, dice.account()));
            stand_in
        };
        let types = ["deposit", "withdrawal", "payment", "fee", "interest", "transfer", "transfer", "refund"];
        let mut items: Vec<Item> = Vec::new();
        for _ in 0..1 + self.dice.below(12) {
            let kind = self.dice.pick(&types);
            let (from, to) = (name(self), name(self));
            let amount = self.amount().replace('\'', "");
            let mut item = match kind {
                "deposit" | "interest" => Item::of(kind, None, to, &amount),
                "transfer" | "refund" => Item::of(kind, from, to, &amount),
                _ => Item::of(kind, from, None, &amount),
            };
            item.id = self.dice.one_in(3).then(|| self.id());
            item.reference = self.dice.one_in(3).then(|| format!("R-{}", self.dice.below(5)));
            item.linked = self.dice.one_in(4);
            items.push(item);
        }
        items.last_mut().expect("at least one").linked = false;
        let atomic = self.dice.one_in(5);
        let sql = if self.dice.one_in(3) {
            items.iter_mut().for_each(|item| item.kind = "transfer");
            transfers_sql(&items, atomic)
        } else {
            batch_sql(&items, atomic)
        };
        names.iter().fold(sql, |sql, (stand_in, name)| sql.replace(&stand_in.to_string(), name))
    }

    fn about_accounts(&mut self) -> String {
        let account = format!("{{a{}}}", self.dice.below(KINDS.len()));
        let status = self.dice.pick(&["active", "active", "active", "dormant", "frozen", "closed"]);
        let limit = self.dice.pick(&["0", "100", "1000"]);
        let mode = self.dice.pick(&["exclusive", "slotted"]);
        match self.dice.below(4) {
            0 => format!("select banking.set_account_status('{account}', '{status}', 'why')"),
            1 => format!("select banking.set_overdraft_limit('{account}', {limit}, 'why')"),
            2 => format!("select banking.set_balance_mode('{account}', '{mode}')"),
            _ => format!("select banking.set_account_status('{account}', 'active', 'again')"),
        }
    }

    fn one(&mut self) -> String {
        let one = match self.dice.below(20) {
            // A retry.
            0 | 1 if !self.made.is_empty() => self.dice.pick(&self.made),
            0..8 => self.strict(),
            8..12 => self.contract(),
            12..16 => self.given_back(),
            16..19 => self.batch(),
            _ => self.about_accounts(),
        };
        self.made.push(one.clone());
        one
    }

    /// A few statements, mostly one; sometimes a transaction, of which a part or all may be rolled back.
    fn statements(&mut self) -> Vec<String> {
        if !self.dice.one_in(6) {
            return vec![self.one()];
        }
        let level = self.dice.pick(&["read committed", "repeatable read", "serializable"]);
        let mut all = vec![format!("begin isolation level {level}")];
        for _ in 0..1 + self.dice.below(4) {
            let end = self.dice.pick(&["release", "release", "rollback to"]);
            // An error leaves nothing but ROLLBACK TO, which the world then puts in place of the end.
            all.extend(["savepoint s".to_owned(), self.one(), format!("{end} s")]);
        }
        all.push(self.dice.pick(&["commit", "commit", "rollback"]).to_owned());
        all
    }
}

fn same_on_both_paths(seed: u64, rounds: usize) {
    let mut worlds = [open("direct"), open("spi")];
    let day = worlds[0].bank.db.one("select date_trunc('hour', now())");
    let mut maker = Maker { dice: Dice::new(seed), given: Vec::new(), day, made: Vec::new() };
    let (mut posted, mut refused) = (0, 0);
    for round in 0..rounds {
        for statement in maker.statements() {
            let [direct, spi] = worlds.each_mut().map(|world| world.run(&statement));
            assert_eq!(direct, spi, "seed {seed}, round {round}: {statement}");
            if direct.starts_with("refused") { refused += 1 } else { posted += 1 }
        }
        if round % 100 == 99 || round + 1 == rounds {
            let [direct, spi] = worlds.each_mut().map(dump);
            for (direct, spi) in direct.iter().zip(&spi) {
                assert_eq!(direct, spi, "seed {seed}, after round {round}");
            }
            assert_eq!(direct.len(), spi.len(), "seed {seed}, after round {round}");
        }
    }
    assert!(posted > rounds / 2 && refused > rounds / 10, "seed {seed}: {posted} done, {refused} refused");
    for world in &mut worlds {
        let mut broken = broken_rules(&mut world.bank.db);
        // References of callers are repeated here, which they may be.
        broken.retain(|rule| !rule.starts_with("a reference number"));
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
        let faults = "select * from txn_processing.daily_reconciliation() where status <> 'Balanced'";
        assert_eq!(world.bank.db.lines(faults), Vec::<String>::new(), "seed {seed}");
    }
    check_indexes(&mut worlds[0].bank);
}

#[test]
fn random_work_reads_the_same_on_both_paths() {
    for seed in seeds() {
        same_on_both_paths(seed, 500);
    }
}

#[test]
fn one_backend_may_change_its_path_at_any_time() {
    // Kept plans of one way and cached tables of the other look at the same rows.
    let mut bank = Bank::new();
    let accounts: Vec<Uuid> = (0..4).map(|_| bank.account("1000")).collect();
    bank.db.run(&format!("select banking.set_balance_mode('{}', 'slotted')", accounts[3]));
    let mut session = bank.session_on("direct");
    let mut dice = Dice::new(11);
    for round in 0..400 {
        let path = dice.pick(&["direct", "spi", "auto"]);
        session.run(&format!("set neobank.posting_path = {path}"));
        let from = dice.below(4);
        let (from, to) = (accounts[from], accounts[(from + 1 + dice.below(3)) % 4]);
        if round % 7 == 0 {
            session.run("begin");
        }
        session.run(&format!("select txn_processing.transfer('{from}', '{to}', 0.25)"));
        if round % 7 == 6 {
            session.run("commit");
        }
    }
    session.run("commit");
    audit(&mut bank.db);
    check_indexes(&mut bank);
}

/// Many postings on the same two accounts in one transaction, so that rows leave their page and the indexes get new
/// entries, part of it or all rolled back.
fn bulk(session: &mut Client, dice: &mut Dice, [a, b]: [Uuid; 2]) {
    let both = |times: usize| {
        format!(
            "select count(txn_processing.transfer('{a}', '{b}', 1)), count(txn_processing.transfer('{b}', '{a}', 1)) \
             from generate_series(1, {times})"
        )
    };
    let items: Vec<Item> = (0..40)
        .map(|n| if n % 2 == 0 { Item::transfer(a, b, "1") } else { Item::transfer(b, a, "1") })
        .map(|item| item.with_id(Uuid::new_v4()))
        .collect();
    let steps = [
        format!("begin; {}; savepoint s; {}", both(30), both(20)),
        dice.pick(&["release s", "rollback to s"]).to_owned(),
        transfers_sql(&items, false),
        // A taken id is found by an index, and a refused speculative row is taken out again.
        format!("savepoint t; {}", transfers_sql(&items[..20], false)),
        both(5),
        dice.pick(&["rollback to t; commit", "commit", "rollback"]).to_owned(),
    ];
    for step in steps {
        if let Err(refusal) = session.try_lines(&step) {
            // Who has credited a slotted account holds one of its slots, and wants all of them to debit it.
            assert_eq!(refusal.code, "40P01", "{refusal}");
            session.run("rollback");
            return;
        }
    }
}

#[test]
fn both_paths_at_once_with_rollbacks_keep_rows_and_indexes_whole() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let mut accounts: Vec<Uuid> = (0..5).map(|_| bank.account("10000")).collect();
    accounts.sort_unstable();
    let total = "select sum(current_balance) from banking.account_balances where customer_id is not null";
    let workers: Vec<_> = ["direct", "spi", "direct", "auto"]
        .iter()
        .enumerate()
        .map(|(n, path)| {
            let (mut session, accounts) = (bank.session_on(path), accounts.clone());
            std::thread::spawn(move || {
                let mut dice = Dice::new(n as u64 + 99);
                for _ in 0..25 {
                    let first = dice.below(4);
                    bulk(&mut session, &mut dice, [accounts[first], accounts[first + 1]]);
                }
            })
        })
        .collect();
    let mut switched = 0;
    while workers.iter().any(|worker| !worker.is_finished()) {
        // The account in the middle is slotted now and then.
        let mode = ["slotted", "exclusive"][switched % 2];
        match bank.db.try_lines(&format!("select banking.set_balance_mode('{}', '{mode}')", accounts[2])) {
            Ok(_) => switched += 1,
            Err(refusal) => assert_eq!(refusal.code, "40P01", "{refusal}"),
        }
        bank.db.run("vacuum (index_cleanup on, truncate off) banking.accounts");
        bank.db.run("vacuum (index_cleanup on, truncate off) txn_processing.movements");
        assert_eq!(bank.db.money(total), dec("50000"), "in the middle of it");
    }
    workers.into_iter().for_each(|worker| worker.join().expect("no error"));
    assert!(switched > 3, "{switched} switches");
    audit(&mut bank.db);
    check_indexes(&mut bank);
}
