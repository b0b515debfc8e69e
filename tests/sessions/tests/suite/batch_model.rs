//! Random batches against a model of the ledger in twenty lines: it predicts every code, every balance and every id.
//! A failure names its seed: run it again with `SEED`.

use super::batches::*;
use super::differential::{Dice, seeds};
use super::differential_world::check_indexes;
use neobank_sessions::*;
use std::collections::HashMap;

/// Refusals that the model comes to, and the codes that an atomic call raises for them.
const WORDS: [(&str, &str); 9] = [
    ("insufficient_funds", "NB001"),
    ("account_not_found", "NB002"),
    ("account_not_active", "NB003"),
    ("currency_mismatch", "NB004"),
    ("invalid_amount", "NB005"),
    ("same_account", "NB006"),
    ("id_conflict", "NB007"),
    ("argument_out_of_bounds", "NB021"),
    ("null_argument", "22004"),
];

/// What the model knows of an account.
#[derive(Clone, Debug)]
struct Account {
    id: Uuid,
    currency: &'static str,
    decimals: u32,
    balance: Decimal,
    limit: Decimal,
    /// A loan's balance is what is owed.
    owes: bool,
    slotted: bool,
    status: &'static str,
}

impl Account {
    fn change(&mut self, debit: bool, amount: Decimal) {
        if debit == self.owes { self.balance += amount } else { self.balance -= amount }
    }

    fn may_take(&self, amount: Decimal) -> bool {
        let there = if self.owes { self.limit - self.balance } else { self.balance + self.limit };
        amount <= there
    }

    fn shown(&self) -> Option<Decimal> {
        (!self.slotted).then_some(self.balance)
    }
}

#[derive(Clone)]
struct Model {
    accounts: Vec<Account>,
    /// What each id was used for, and what it answered.
    ids: HashMap<Uuid, (Item, Answer)>,
}

fn refusal(code: &str) -> Answer {
    Answer { id: None, code: code.to_owned(), from: None, to: None }
}

impl Model {
    fn find(&mut self, id: Uuid) -> Result<&mut Account, &'static str> {
        self.accounts.iter_mut().find(|account| account.id == id).ok_or("account_not_found")
    }

    /// What one item answers; the state is then as after it.
    fn item(&mut self, item: &Item) -> Result<Answer, &'static str> {
        let debits = matches!(item.kind, "transfer" | "withdrawal" | "payment" | "fee");
        let credits = matches!(item.kind, "transfer" | "deposit" | "interest");
        let named =
            |wanted: bool, id: Option<Uuid>| if wanted { id.ok_or("null_argument").map(Some) } else { Ok(None) };
        let (from, to) = (named(debits, item.from)?, named(credits, item.to)?);
        if !(debits && credits) {
            // The bank's side is looked for by the customer's account.
            self.find(from.or(to).expect("one is named"))?;
        }
        if item.amount == "null" {
            return Err("null_argument");
        }
        let amount = item.amount.parse::<Decimal>().map_err(|_| "invalid_amount")?;
        if amount <= Decimal::ZERO {
            return Err("invalid_amount");
        }
        if let Some((first, answer)) = item.id.and_then(|id| self.ids.get(&id)) {
            let same = Item { amount: first.amount.clone(), linked: first.linked, ..item.clone() } == *first;
            let is_retry = same && dec(&first.amount) == amount;
            return if is_retry { Ok(answer.clone()) } else { Err("id_conflict") };
        }
        if from.is_some() && from == to {
            return Err("same_account");
        }
        if item.reference.as_ref().is_some_and(|text| text.chars().count() > 50) {
            return Err("argument_out_of_bounds");
        }
        let debited = from.map(|id| self.find(id).cloned()).transpose()?;
        let credited = to.map(|id| self.find(id).cloned()).transpose()?;
        let either = debited.as_ref().or(credited.as_ref()).expect("one is named");
        if [&debited, &credited].into_iter().flatten().any(|account| account.currency != either.currency) {
            return Err("currency_mismatch");
        }
        if amount.normalize().scale() > either.decimals {
            return Err("invalid_amount");
        }
        let sends = debited.as_ref().is_none_or(|account| account.status == "active");
        let receives = credited.as_ref().is_none_or(|account| ["active", "dormant"].contains(&account.status));
        if !sends || !receives {
            return Err("account_not_active");
        }
        if item.kind != "fee" && debited.as_ref().is_some_and(|account| !account.may_take(amount)) {
            return Err("insufficient_funds");
        }
        let mut apply = |id: Option<Uuid>, debit: bool| {
            let account = id.map(|id| self.find(id).expect("found above"));
            account.and_then(|account| {
                account.change(debit, amount);
                account.shown()
            })
        };
        let answer = Answer { id: item.id, code: "ok".to_owned(), from: apply(from, true), to: apply(to, false) };
        if let Some(id) = item.id {
            self.ids.insert(id, (item.clone(), answer.clone()));
        }
        Ok(answer)
    }

    fn batch(&mut self, items: &[Item]) -> Vec<Answer> {
        let mut answers = Vec::new();
        for chain in items.split_inclusive(|item| !item.linked) {
            let before = self.clone();
            let found: Vec<_> = chain.iter().map(|item| self.item(item)).collect();
            match found.iter().position(Result::is_err) {
                None => answers.extend(found.into_iter().flatten()),
                Some(first) => {
                    *self = before;
                    let code = |(at, found): (usize, &Result<Answer, &str>)| match found {
                        Err(code) if at == first => refusal(code),
                        _ => refusal("linked_failed"),
                    };
                    answers.extend(found.iter().enumerate().map(code));
                }
            }
        }
        answers
    }
}

fn open(bank: &mut Bank) -> Model {
    let kinds = [
        ("checking", "USD", 2, "100", "0", false, "active"),
        ("checking", "USD", 2, "0", "50", false, "active"),
        ("savings", "USD", 2, "20", "0", false, "active"),
        ("business", "USD", 2, "100", "0", true, "active"),
        ("business", "USD", 2, "0", "30", true, "active"),
        ("loan", "USD", 2, "0", "500", false, "active"),
        ("checking", "USD", 2, "70", "0", false, "dormant"),
        ("checking", "USD", 2, "70", "0", false, "frozen"),
        ("business", "USD", 2, "70", "0", true, "frozen"),
        ("checking", "JPY", 0, "5000", "0", false, "active"),
        ("savings", "JPY", 0, "0", "0", false, "active"),
    ];
    let open = |(kind, currency, decimals, opening, limit, slotted, status)| {
        let id = bank.account_with(kind, currency, opening, limit);
        if slotted {
            bank.db.run(&format!("select banking.set_balance_mode('{id}', 'slotted')"));
        }
        if status != "active" {
            bank.status(id, status);
        }
        Account {
            id,
            currency,
            decimals,
            balance: dec(opening),
            limit: dec(limit),
            owes: kind == "loan",
            slotted,
            status,
        }
    };
    Model { accounts: kinds.into_iter().map(open).collect(), ids: HashMap::new() }
}

fn random_item(dice: &mut Dice, model: &Model, given: &mut Vec<Item>) -> Item {
    if !given.is_empty() && dice.one_in(6) {
        // A retry, mostly with the same content.
        let again = dice.pick(given);
        let amount = if dice.one_in(4) { "3.21".to_owned() } else { again.amount.clone() };
        return Item { amount, linked: dice.one_in(4), ..again };
    }
    let mut account = || match dice.below(40) {
        0 => Some(Uuid::from_u128(7)),
        1 => None,
        // Mostly those of one currency that are active.
        n if n < 30 => Some(model.accounts[dice.below(6)].id),
        _ => Some(model.accounts[dice.below(model.accounts.len())].id),
    };
    let (from, to) = (account(), account());
    let kind = dice.pick(&["transfer", "transfer", "transfer", "deposit", "withdrawal", "payment", "fee", "interest"]);
    let (from, to) = match kind {
        "transfer" => (from, to),
        "deposit" | "interest" => (None, to),
        _ => (from, None),
    };
    let odd = ["0", "-5", "0.001", "1.10", "10.000", "null"];
    let amount = match dice.below(10) {
        0 => dice.pick(&odd).to_owned(),
        1 => (dice.below(300) + 1).to_string(),
        _ => format!("{}.{:02}", dice.below(20), dice.below(100)),
    };
    let mut item = Item::of(kind, from, to, &amount);
    item.reference = match dice.below(20) {
        0 => Some("x".repeat(51)),
        1..3 => Some(format!("R-{}", Uuid::new_v4().simple())),
        _ => None,
    };
    item.linked = dice.one_in(4);
    if dice.one_in(3) {
        item.id = Some(Uuid::from_u64_pair(0xFEED, given.len() as u64));
        given.push(item.clone());
    }
    item
}

fn follow_the_model(path: &str, seed: u64) {
    let mut bank = Bank::new();
    let mut model = open(&mut bank);
    let mut session = bank.session_on(path);
    let (mut dice, mut given) = (Dice::new(seed), Vec::new());
    let mut seen: HashMap<String, usize> = HashMap::new();
    for round in 0..120 {
        let name = format!("{path}, seed {seed}, round {round}");
        let size = 1 + dice.below(25);
        let mut items: Vec<Item> = (0..size).map(|_| random_item(&mut dice, &model, &mut given)).collect();
        items.last_mut().expect("one at least").linked = false;
        let atomic = dice.one_in(5);
        let before = model.clone();
        if atomic {
            items.truncate(4);
            items.iter_mut().for_each(|item| item.linked = true);
            items.last_mut().expect("one at least").linked = false;
        }
        let wanted = model.batch(&items);
        let felled = wanted.iter().find(|answer| !["ok", "linked_failed"].contains(&answer.code.as_str()));
        if atomic && let Some(cause) = felled {
            let refusal = session.fails(&batch_sql(&items, true));
            assert!(
                WORDS.contains(&(cause.code.as_str(), refusal.code.as_str())),
                "{name}: {cause:?}, {refusal}\n{items:#?}"
            );
            model = before;
            *seen.entry("atomic refusal".to_owned()).or_default() += 1;
        } else {
            let lines = session.lines(&batch_sql(&items, atomic));
            let mut found = answers(&lines, items.len());
            // Ids that the function draws are not the model's to know.
            for (answer, wanted) in found.iter_mut().zip(&wanted).filter(|(_, wanted)| wanted.id.is_none()) {
                answer.id = answer.id.filter(|_| wanted.code != "ok");
            }
            for (at, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                assert_eq!(found, wanted, "{name}, item {at}: {:#?}\n{:#?}", items[at], model.accounts);
                *seen.entry(found.code.clone()).or_default() += 1;
            }
        }
        for account in &model.accounts {
            assert_eq!(whole_balance(&mut bank.db, account.id), account.balance, "{name}: {account:?}");
        }
    }
    let codes = WORDS.iter().map(|(word, _)| *word).chain(["ok", "linked_failed", "atomic refusal"]);
    for code in codes {
        assert!(seen.contains_key(code), "{path}, seed {seed}: never came to {code}: {seen:?}");
    }
    audit(&mut bank.db);
    check_indexes(&mut bank);
}

#[test]
fn random_batches_answer_what_the_model_predicts() {
    for seed in seeds() {
        for path in PATHS {
            follow_the_model(path, seed);
        }
    }
}
