//! A table with a history against a small model: a list of facts, each true for a while and believed for a while. After
//! random statements and corrections every question at every instant gets the model's answer.

use neobank_sessions::*;

const FOREVER: i64 = i64::MAX;

#[derive(Clone, Debug)]
struct Fact {
    key: usize,
    a: i64,
    b: i64,
    valid: (i64, i64),
    known: (i64, i64),
}

impl Fact {
    fn is_at(&self, valid: i64, known: i64) -> bool {
        let within = |period: (i64, i64), at: i64| period.0 <= at && at < period.1;
        within(self.valid, valid) && within(self.known, known)
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    SetA(i64),
    SetB(i64),
    Remove,
}

/// What is known, as a list.
#[derive(Default)]
struct Model(Vec<Fact>);

impl Model {
    fn believed(&self, key: usize) -> impl Iterator<Item = &Fact> {
        self.0.iter().filter(move |fact| fact.key == key && fact.known.1 == FOREVER)
    }

    fn at(&self, key: usize, at: i64) -> Option<&Fact> {
        self.believed(key).find(|fact| fact.is_at(at, FOREVER - 1))
    }

    fn is_free(&self, key: usize, from: i64, to: i64) -> bool {
        self.believed(key).all(|fact| fact.valid.1 <= from || to <= fact.valid.0)
    }

    /// From `now` on it is believed that the change was so between two instants. Returns how many facts it met.
    fn change(&mut self, key: usize, from: i64, to: i64, change: Change, now: i64) -> usize {
        let mut met = 0;
        for at in 0..self.0.len() {
            let old = self.0[at].clone();
            if old.key != key || old.known.1 != FOREVER || old.valid.1 <= from || to <= old.valid.0 {
                continue;
            }
            met += 1;
            self.0[at].known.1 = now;
            let piece = |valid: (i64, i64)| Fact { valid, known: (now, FOREVER), ..old.clone() };
            let mut middle = piece((old.valid.0.max(from), old.valid.1.min(to)));
            match change {
                Change::SetA(a) => middle.a = a,
                Change::SetB(b) => middle.b = b,
                Change::Remove => middle.valid.1 = middle.valid.0,
            }
            for new in [piece((old.valid.0, from)), middle, piece((to, old.valid.1))] {
                if new.valid.0 < new.valid.1 {
                    self.0.push(new);
                }
            }
        }
        // What one transaction said and took back was never known to anybody.
        self.0.retain(|fact| fact.known.0 < fact.known.1);
        met
    }

    fn answer(&self, valid: i64, known: i64) -> String {
        let mut rows: Vec<_> =
            self.0.iter().filter(|f| f.is_at(valid, known)).map(|f| format!("{}:{}:{}", f.key, f.a, f.b)).collect();
        rows.sort();
        rows.join(",")
    }
}

fn instant(micros: i64) -> String {
    match micros {
        FOREVER => "'infinity'::timestamptz".to_owned(),
        _ => format!("(timestamptz 'epoch' + {micros} * interval '1 microsecond')"),
    }
}

struct World {
    model: Model,
    dice: Dice,
    /// Instants of valid time that portions begin and end at, some of them yet to come.
    grid: Vec<i64>,
}

impl World {
    fn portion(&mut self) -> (i64, i64) {
        let from = self.dice.below(self.grid.len() - 1);
        let to = from + 1 + self.dice.below(self.grid.len() - from);
        (self.grid[from], self.grid.get(to).copied().unwrap_or(FOREVER))
    }

    fn change(&mut self) -> (Change, &'static str, i64) {
        let value = self.dice.below(5) as i64;
        if self.dice.below(2) == 0 { (Change::SetA(value), "a", value) } else { (Change::SetB(value), "b", value) }
    }

    /// One statement, as SQL that answers a figure, and the figure that the model expects.
    fn step(&mut self, now: i64) -> (String, usize) {
        let key = self.dice.below(4);
        let present = self.model.at(key, now).cloned();
        let object = format!("'{{\"key\": {key}}}'");
        match (self.dice.below(10), present) {
            (0..4, None) => {
                let (a, b) = (self.dice.below(5) as i64, self.dice.below(5) as i64);
                let next = self.model.believed(key).map(|f| f.valid.0).filter(|from| *from > now).min();
                let valid = (now, next.unwrap_or(FOREVER));
                self.model.0.push(Fact { key, a, b, valid, known: (now, FOREVER) });
                (format!("with x as (insert into t values ({key}, {a}, {b}) returning 1) select count(*) from x"), 1)
            }
            (0..4, Some(fact)) => {
                let (change, column, value) = self.change();
                let same = match change {
                    Change::SetA(a) => a == fact.a,
                    Change::SetB(b) => b == fact.b,
                    Change::Remove => false,
                };
                if !same {
                    self.model.change(key, now, fact.valid.1, change, now);
                }
                let sql = format!("update t set {column} = {value} where key = {key} returning 1");
                (format!("with x as ({sql}) select count(*) from x"), 1)
            }
            (4, present) => {
                if present.is_some() {
                    self.model.change(key, now, FOREVER, Change::Remove, now);
                }
                let sql = format!("with x as (delete from t where key = {key} returning 1) select count(*) from x");
                (sql, usize::from(present.is_some()))
            }
            (5..7, _) => {
                let ((from, to), (change, column, value)) = (self.portion(), self.change());
                let met = self.model.change(key, from, to, change, now);
                let values = format!("'{{\"{column}\": {value}}}'");
                let (from, to) = (instant(from), instant(to));
                (format!("select temporal.update_portion('t', {object}, {from}, {to}, {values})"), met)
            }
            (7, _) => {
                let (from, to) = self.portion();
                let met = self.model.change(key, from, to, Change::Remove, now);
                let (from, to) = (instant(from), instant(to));
                (format!("select temporal.delete_portion('t', {object}, {from}, {to})"), met)
            }
            _ => {
                let ((from, to), a) = (self.portion(), self.dice.below(5) as i64);
                if !self.model.is_free(key, from, to) {
                    return ("select 0".to_owned(), 0);
                }
                self.model.0.push(Fact { key, a, b: 7, valid: (from, to), known: (now, FOREVER) });
                let row = format!("'{{\"key\": {key}, \"a\": {a}, \"b\": 7}}'");
                (format!("select temporal.insert_portion('t', {row}, {}, {})", instant(from), instant(to)), 1)
            }
        }
    }
}

/// Every question whose answer could differ from that of its neighbours.
fn compare(db: &mut Client, model: &Model, seed: u64) {
    let mut valid: Vec<i64> = model.0.iter().flat_map(|f| [f.valid.0, f.valid.1, f.valid.0 - 1]).collect();
    let mut known: Vec<i64> = model.0.iter().flat_map(|f| [f.known.0, f.known.1, f.known.0 - 1]).collect();
    for instants in [&mut valid, &mut known] {
        instants.retain(|at| *at != FOREVER);
        instants.sort_unstable();
        instants.dedup();
    }
    let array = |instants: &[i64]| instants.iter().map(|at| format!("{at}")).collect::<Vec<_>>().join(",");
    let at = |name: &str| format!("timestamptz 'epoch' + {name} * interval '1 microsecond'");
    let questions = format!(
        "from unnest('{{{}}}'::bigint[]) v cross join unnest('{{{}}}'::bigint[]) k",
        array(&valid),
        array(&known)
    );
    let rows = "string_agg(format('%s:%s:%s', key, a, b), ',' order by key, a, b)";
    let (v, k) = (at("v"), at("k"));
    let by_function = format!(
        "select v, k, coalesce((select {rows} from temporal.as_of(null::t, {v}, {k})), '') {questions} order by v, k"
    );
    let by_timeline = format!(
        "select v, k, coalesce((select {rows} from public_history.t h where h.valid_from <= {v} and {v} < h.valid_to \
         and h.known_from <= {k} and {k} < h.known_to), '') {questions} order by v, k"
    );
    let expected: Vec<String> =
        valid.iter().flat_map(|v| known.iter().map(move |k| format!("{v}|{k}|{}", model.answer(*v, *k)))).collect();
    assert!(expected.len() > 200, "{}", expected.len());
    for (sql, how) in [(by_function, "as_of"), (by_timeline, "timeline")] {
        let differing: Vec<_> =
            db.lines(&sql).into_iter().zip(&expected).filter(|(found, wanted)| found != *wanted).take(3).collect();
        assert_eq!(differing, [], "seed {seed}, {how}");
    }
    assert_eq!(db.lines("select * from temporal.check_history('t')"), [""; 0], "seed {seed}");
}

fn run(seed: u64, transactions: usize) {
    let mut bank = Bank::new();
    bank.db.run("create table t (key int primary key, a int not null, b int not null)");
    bank.db.run("select temporal.enable('t')");
    let start: i64 = bank.db.count("select (extract(epoch from now()) * 1000000)::bigint");
    let grid = (-5..5).map(|day| start + day * 86_400_000_000 + 1).collect();
    let mut world = World { model: Model::default(), dice: Dice(seed), grid };
    for _ in 0..transactions {
        bank.db.run("begin");
        let now = bank.db.count("select (extract(epoch from now()) * 1000000)::bigint");
        for _ in 0..1 + world.dice.below(3) / 2 * 2 {
            let (sql, wanted) = world.step(now);
            assert_eq!(bank.db.count(&sql), wanted as i64, "seed {seed}: {sql}");
        }
        bank.db.run("commit");
    }
    compare(&mut bank.db, &world.model, seed);
}

#[test]
fn every_question_at_every_instant_gets_the_answer_of_a_list_of_facts() {
    let given = seed();
    for (seed, transactions) in [(given, 25), (given + 1, 25), (1, 40)] {
        run(seed, transactions);
    }
}
