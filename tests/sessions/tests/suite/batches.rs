//! Many postings in one call: what each item answers, and what an item that is refused leaves of the others.

use neobank_sessions::*;

/// Both ways to the tables; every test of batches runs on each.
pub const PATHS: [&str; 2] = ["direct", "spi"];

/// One element of each array.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub kind: &'static str,
    pub from: Option<Uuid>,
    pub to: Option<Uuid>,
    pub amount: String,
    pub id: Option<Uuid>,
    pub reference: Option<String>,
    pub linked: bool,
}

impl Item {
    pub fn of(kind: &'static str, from: impl Into<Option<Uuid>>, to: impl Into<Option<Uuid>>, amount: &str) -> Item {
        Item {
            kind,
            from: from.into(),
            to: to.into(),
            amount: amount.to_owned(),
            id: None,
            reference: None,
            linked: false,
        }
    }

    pub fn transfer(from: Uuid, to: Uuid, amount: &str) -> Item {
        Item::of("transfer", from, to, amount)
    }

    pub fn with_id(self, id: Uuid) -> Item {
        Item { id: Some(id), ..self }
    }

    pub fn refs(self, reference: &str) -> Item {
        Item { reference: Some(reference.to_owned()), ..self }
    }

    pub fn linked(self) -> Item {
        Item { linked: true, ..self }
    }
}

/// One row of the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub id: Option<Uuid>,
    pub code: String,
    pub from: Option<Decimal>,
    pub to: Option<Decimal>,
}

fn array(items: &[Item], sql_type: &str, element: impl Fn(&Item) -> Option<String>) -> String {
    let elements = items.iter().map(|item| element(item).map_or("null".to_owned(), |text| format!("'{text}'")));
    format!("array[{}]::{sql_type}[]", elements.collect::<Vec<_>>().join(", "))
}

/// What follows the types in the list of arguments of both functions.
fn arguments(items: &[Item], atomic: bool) -> String {
    [
        array(items, "uuid", |item| item.from.map(|id| id.to_string())),
        array(items, "uuid", |item| item.to.map(|id| id.to_string())),
        array(items, "numeric", |item| (item.amount != "null").then(|| item.amount.clone())),
        array(items, "uuid", |item| item.id.map(|id| id.to_string())),
        array(items, "text", |item| item.reference.clone()),
        array(items, "boolean", |item| Some(item.linked.to_string())),
        atomic.to_string(),
    ]
    .join(", ")
}

pub fn transfers_sql(items: &[Item], atomic: bool) -> String {
    format!("select * from txn_processing.post_transfers({})", arguments(items, atomic))
}

pub fn batch_sql(items: &[Item], atomic: bool) -> String {
    let types = array(items, "text", |item| (item.kind != "null").then(|| item.kind.to_owned()));
    format!("select * from txn_processing.post_batch({types}, {})", arguments(items, atomic))
}

/// The rows of a batch, which must come in the order of the items, numbered from 1.
pub fn answers(lines: &[String], items: usize) -> Vec<Answer> {
    assert_eq!(lines.len(), items, "one row per item: {lines:#?}");
    let row = |(at, line): (usize, &String)| {
        let cells: Vec<&str> = line.split('|').collect();
        let [ordinal, id, code, from, to] = cells[..] else { panic!("five columns wanted: {line}") };
        assert_eq!(ordinal, (at + 1).to_string(), "{lines:#?}");
        let answer = Answer {
            id: (!id.is_empty()).then(|| id.parse().expect("a uuid")),
            code: code.to_owned(),
            from: (!from.is_empty()).then(|| dec(from)),
            to: (!to.is_empty()).then(|| dec(to)),
        };
        let refused = (answer.id, answer.from, answer.to) == (None, None, None);
        assert!(if code == "ok" { answer.id.is_some() } else { refused }, "{line}");
        answer
    };
    lines.iter().enumerate().map(row).collect()
}

pub fn post_transfers(session: &mut Client, items: &[Item]) -> Vec<Answer> {
    answers(&session.lines(&transfers_sql(items, false)), items.len())
}

pub fn post_batch(session: &mut Client, items: &[Item]) -> Vec<Answer> {
    answers(&session.lines(&batch_sql(items, false)), items.len())
}

pub fn codes(answers: &[Answer]) -> Vec<&str> {
    answers.iter().map(|answer| answer.code.as_str()).collect()
}

pub fn whole_balance(session: &mut Client, account: Uuid) -> Decimal {
    session.money(&format!("select current_balance from banking.account_balances where account_id = '{account}'"))
}

fn postings(bank: &mut Bank) -> i64 {
    bank.db.count("select count(*) from txn_processing.movements")
}

#[test]
fn an_item_spends_what_the_one_before_it_brought() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b, c) = (bank.account("10"), bank.account("0"), bank.account("0"));
        let mut session = bank.session_on(path);
        let items = [
            Item::transfer(b, c, "10"),
            Item::transfer(a, b, "10"),
            Item::transfer(b, c, "7.50"),
            Item::transfer(b, c, "2.51"),
            Item::transfer(c, a, "7.5"),
            Item::transfer(b, a, "2.50"),
        ];
        let found = post_transfers(&mut session, &items);
        let no = "insufficient_funds";
        assert_eq!(codes(&found), [no, "ok", "ok", no, "ok", "ok"], "{path}");
        let balances: Vec<_> = found.iter().filter_map(|answer| answer.from.zip(answer.to)).collect();
        let wanted = [("0", "10"), ("2.5", "7.5"), ("0", "7.5"), ("0", "10")];
        assert_eq!(balances, wanted.map(|(from, to)| (dec(from), dec(to))), "{path}");
        let stored = "select transaction_id from txn_processing.movements \
                      where transaction_type = 'transfer' order by transaction_id";
        let ids: Vec<String> = found.iter().filter_map(|answer| answer.id).map(|id| id.to_string()).collect();
        assert_eq!(bank.db.lines(stored), ids, "{path}: ids that the function draws ascend");
        assert_eq!([a, b, c].map(|id| bank.db.balance(id)), [dec("10"), dec("0"), dec("0")]);
        audit(&mut bank.db);
    }
}

#[test]
fn a_refused_item_answers_its_word_and_disturbs_no_other() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("100"), bank.account("0"));
        let (frozen, dormant, closed) = (bank.account("5"), bank.account("5"), bank.account("0"));
        let euro = bank.account_with("checking", "EUR", "5", "0");
        let tenant = bank.db.one("select banking.create_tenant('North')");
        let foreigner = bank.customer_of(&format!("'{tenant}'"));
        let foreign = bank
            .db
            .id(&format!("select banking.open_account('{foreigner}', opening_deposit => 5, tenant => '{tenant}')"));
        let suspense = bank.internal("suspense", "USD");
        for (account, status) in [(frozen, "frozen"), (dormant, "dormant"), (closed, "closed")] {
            bank.status(account, status);
        }
        let taken = bank.db.id(&format!("select txn_processing.deposit('{b}', 1)"));
        let nobody = Uuid::now_v7();
        let one = |from: Uuid, to: Uuid| Item::transfer(from, to, "1");
        let of_nothing = |item: Item| Item { amount: "null".to_owned(), ..item };
        let long = "x".repeat(51);
        let refusals = [
            (Item::transfer(b, a, "1000"), "insufficient_funds"),
            (one(nobody, b), "account_not_found"),
            (one(a, nobody), "account_not_found"),
            (one(frozen, b), "account_not_active"),
            (one(a, frozen), "account_not_active"),
            (one(dormant, b), "account_not_active"),
            (one(closed, b), "account_not_active"),
            (one(a, closed), "account_not_active"),
            (one(a, euro), "currency_mismatch"),
            (one(euro, a), "currency_mismatch"),
            (Item::transfer(a, b, "0"), "invalid_amount"),
            (Item::transfer(a, b, "-1"), "invalid_amount"),
            (Item::transfer(a, b, "1.001"), "invalid_amount"),
            (Item::transfer(a, b, "NaN"), "invalid_amount"),
            (Item::transfer(a, b, "Infinity"), "invalid_amount"),
            (Item::transfer(a, b, "-Infinity"), "invalid_amount"),
            (Item::transfer(a, b, "1000000000000000001"), "invalid_amount"),
            (Item::transfer(a, b, "0.00000000000000000000000000000000000000000001"), "invalid_amount"),
            (Item::transfer(a, b, "1e300"), "invalid_amount"),
            (one(a, a), "same_account"),
            (one(a, foreign), "tenant_mismatch"),
            (one(foreign, a), "tenant_mismatch"),
            (one(suspense, a), "internal_account"),
            (one(a, suspense), "internal_account"),
            (one(a, b).refs(&long), "argument_out_of_bounds"),
            (one(a, b).with_id(taken), "id_conflict"),
            (Item::of("transfer", None, b, "1"), "null_argument"),
            (Item::of("transfer", a, None, "1"), "null_argument"),
            (of_nothing(one(a, b)), "null_argument"),
        ];
        // A good item between each two, so that every refusal has neighbours on both sides.
        let mut items = vec![one(a, b)];
        let mut wanted = vec!["ok"];
        for (item, word) in refusals.clone() {
            items.extend([item, one(a, b)]);
            wanted.extend([word, "ok"]);
        }
        let before = postings(&mut bank);
        let mut session = bank.session_on(path);
        let found = post_transfers(&mut session, &items);
        assert_eq!(codes(&found), wanted, "{path}");
        let good = refusals.len() as i64 + 1;
        assert_eq!(postings(&mut bank), before + good, "{path}");
        let moved = found.iter().filter_map(|answer| answer.to).map(|to| to.to_string());
        let steps: Vec<String> = (1..=good).map(|n| format!("{}.00", n + 1)).collect();
        assert_eq!(moved.collect::<Vec<_>>(), steps, "{path}");
        assert_eq!(bank.db.balance(b), dec(&(good + 1).to_string()), "{path}");
        let others = [(frozen, "5"), (dormant, "5"), (closed, "0"), (euro, "5"), (foreign, "5")];
        for (account, balance) in others {
            assert_eq!(bank.db.balance(account), dec(balance), "{path}");
        }
        audit(&mut bank.db);
        // The same refusals alone write nothing at all.
        let alone: Vec<Item> = refusals.iter().map(|(item, _)| item.clone()).collect();
        let before = snapshot(&mut bank.db);
        let found = post_transfers(&mut session, &alone);
        assert_eq!(codes(&found), refusals.map(|(_, word)| word), "{path}");
        assert_eq!(before, snapshot(&mut bank.db), "{path}");
    }
}

#[test]
fn arrays_that_do_not_fit_together_are_refused_whole() {
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("10"), bank.account("0"));
        let mut session = bank.session_on(path);
        let (from, to, amount) = (format!("array['{a}']::uuid[]"), format!("array['{b}']::uuid[]"), "array[1.0]");
        let fine = format!("{from}, {to}, {amount}");
        let two = format!("array['{a}', '{b}']::uuid[]");
        let ten_thousand = "(select array_agg(g::numeric) from generate_series(1, 10001) g)";
        let filled = |id: Uuid| format!("array_fill('{id}'::uuid, array[10001])");
        for (arguments, code) in [
            (format!("null, {to}, {amount}"), "22004"),
            (format!("{from}, null, {amount}"), "22004"),
            (format!("{from}, {to}, null"), "22004"),
            (format!("{fine}, atomic => null"), "22004"),
            (format!("{two}, {to}, {amount}"), "NB021"),
            (format!("{from}, {two}, {amount}"), "NB021"),
            (format!("{from}, {to}, array[1.0, 2]"), "NB021"),
            (format!("{from}, {to}, '{{}}'"), "NB021"),
            (format!("'{{}}', {to}, {amount}"), "NB021"),
            (format!("{fine}, transaction_ids => {two}"), "NB021"),
            (format!("{fine}, transaction_ids => '{{}}'"), "NB021"),
            (format!("{fine}, refs => array['x', 'y']"), "NB021"),
            (format!("{fine}, linked => array[false, false]"), "NB021"),
            (format!("{fine}, linked => array[true]"), "NB021"),
            (format!("{fine}, linked => array[true], atomic => true"), "NB021"),
            (format!("{}, {}, {ten_thousand}", filled(a), filled(b)), "NB021"),
        ] {
            let transfers = format!("select * from txn_processing.post_transfers({arguments})");
            let refusal = refused(&mut session, &transfers, code);
            assert!(code == "22004" || !refusal.detail.is_empty(), "{refusal}");
            let batch = format!("select * from txn_processing.post_batch(array['transfer'], {arguments})");
            refused(&mut session, &batch, code);
        }
        refused(&mut session, &format!("select * from txn_processing.post_batch(null, {fine})"), "22004");
        for types in ["'{}'", "array['transfer', 'transfer']"] {
            refused(&mut session, &format!("select * from txn_processing.post_batch({types}, {fine})"), "NB021");
        }
        session.run(&format!("select * from txn_processing.post_transfers({fine}, null, null, array[null::boolean])"));
        assert_eq!(bank.db.balance(b), dec("1"));
    }
}

#[test]
fn nothing_asked_for_is_nothing_done() {
    for path in PATHS {
        let mut bank = Bank::new();
        bank.account("10");
        let before = snapshot(&mut bank.db);
        let mut session = bank.session_on(path);
        assert_eq!(post_transfers(&mut session, &[]), []);
        assert_eq!(post_batch(&mut session, &[]), []);
        assert_eq!(session.lines(&transfers_sql(&[], true)), Vec::<String>::new());
        assert_eq!(before, snapshot(&mut bank.db));
    }
}

#[test]
fn ten_thousand_items_are_all_posted() {
    for path in PATHS {
        let mut bank = Bank::new();
        let accounts: Vec<Uuid> = (0..40).map(|_| bank.account("1000")).collect();
        let mut session = bank.session_on(path);
        let items: Vec<Item> = (0..10_000)
            .map(|n| Item::transfer(accounts[n % 40], accounts[(n * 7 + 3) % 40], "1").refs(&format!("item {n}")))
            .map(|item| if item.from == item.to { Item { to: Some(accounts[1]), ..item } } else { item })
            .collect();
        let found = post_transfers(&mut session, &items);
        assert!(codes(&found).iter().all(|code| *code == "ok"), "{path}");
        // Each reference stands beside the accounts that its item named.
        let rows = "select debit_account, credit_account, reference, transaction_id \
                    from txn_processing.movements where reference like 'item %' \
                    order by substr(reference, 6)::int";
        let wanted = items.iter().zip(&found).map(|(item, answer)| {
            let ids = [item.from, item.to].map(|id| id.expect("given").to_string());
            format!("{}|{}|{}", ids.join("|"), item.reference.as_deref().expect("given"), answer.id.expect("ok"))
        });
        assert_eq!(bank.db.lines(rows), wanted.collect::<Vec<_>>(), "{path}");
        assert_eq!(
            bank.db.money("select sum(current_balance) from banking.accounts where customer_id is not null"),
            dec("40000")
        );
        audit(&mut bank.db);
    }
}
