//! Random statements against random postings: whatever is imported, matched and undone, the breaks add up to the
//! difference of the balances, to the cent.

use neobank_sessions::*;

struct World {
    bank: Bank,
    accounts: Vec<Uuid>,
    mirrored: Uuid,
    statements: Vec<Uuid>,
    dice: Dice,
}

const DAYS: usize = 40;

impl World {
    fn new(seed: u64, kind: &str) -> World {
        let mut bank = Bank::new();
        bank.db.run("set timezone = 'UTC'; set neobank.max_backdate_days = 36500");
        let accounts = vec![bank.account("1000"), bank.slotted("savings", "1000", "0")];
        let mirrored = match kind {
            "cash" => bank.internal("cash", "USD"),
            "slotted" => accounts[1],
            _ => accounts[0],
        };
        World { bank, accounts, mirrored, statements: Vec::new(), dice: Dice(seed) }
    }

    fn day(&mut self) -> String {
        format!("date '2026-03-01' + {}", self.dice.below(DAYS))
    }

    fn post(&mut self) {
        let account = self.accounts[self.dice.below(2)];
        let day = self.day();
        let (amount, reference) = (1 + self.dice.below(6), self.dice.below(8));
        let function = ["deposit", "deposit", "withdraw", "pay", "charge_fee"][self.dice.below(5)];
        self.bank.db.run(&format!(
            "select txn_processing.{function}('{account}', {amount}.5, reference => nullif('R{reference}', 'R0'), \
             metadata => '{{\"batch\": \"B{}\"}}', effective_at => {day} + time '10:00')",
            self.dice.below(4)
        ));
    }

    fn import(&mut self) {
        // Periods of five to fourteen days, at times with a gap before them, at times over another's days.
        let from = self.dice.below(DAYS);
        let to = from + 4 + self.dice.below(10);
        let lines: Vec<String> = (0..self.dice.below(12))
            .map(|_| {
                let day = from + self.dice.below(to - from + 1);
                let sign = ["", "-"][self.dice.below(2)];
                let (amount, reference) = (1 + self.dice.below(12), self.dice.below(8));
                format!("(date '2026-03-01' + {day}, {sign}{amount}.5, nullif('R{reference}', 'R0'))")
            })
            .collect();
        let rows = if lines.is_empty() { "(null::date, null::numeric, null)".to_owned() } else { lines.join(",") };
        let sql = format!(
            "select txn_processing.import_external_statement('s', 'S' || gen_random_uuid(), '{}', null, o, o + coalesce(sum(a), 0), \
             coalesce(jsonb_agg(jsonb_build_object('booked_on', d, 'amount', a, 'reference', r)) filter (where d is not null), '[]'), \
             date '2026-03-01' + {from}, date '2026-03-01' + {to}) \
             from (select {}::numeric as o) o, (values {rows}) v(d, a, r) group by o",
            self.mirrored,
            self.dice.below(100)
        );
        match self.bank.db.try_lines(&sql) {
            Ok(lines) => self.statements.push(lines[0].parse().expect("an id")),
            Err(refusal) => assert_eq!(refusal.code, "NB049", "{refusal}"),
        }
    }

    fn step(&mut self) {
        match self.dice.below(12) {
            0..=4 => self.post(),
            5 => self.import(),
            6 => {
                let (priority, days) = (1 + self.dice.below(2), self.dice.below(6));
                self.bank.db.run(&format!(
                    "select txn_processing.set_reconciliation_rule('s', {priority}, {}, {}, {days}, {}, \
                     '{{reference,date,one_to_many,many_to_one,subset}}')",
                    self.dice.below(3),
                    self.dice.below(20),
                    self.dice.below(20)
                ));
            }
            7 | 8 if !self.statements.is_empty() => {
                let statement = self.statements[self.dice.below(self.statements.len())];
                let sql = format!("select * from txn_processing.match_external_statement('{statement}')");
                self.bank.db.run(&sql);
                let again = self.bank.db.one(&sql);
                assert!(again.starts_with("0|0|0|"), "what was left open had a match: {again}");
            }
            9 => {
                // A line and a posting that have nothing to do with each other.
                self.bank.db.run(&format!(
                    "select txn_processing.manual_match(array[l.line_id], array[m.transaction_id], 'at random') \
                     from (select line_id from txn_processing.external_lines where line_id not in \
                           (select line_id from txn_processing.reconciliation_match_lines where in_force) \
                           order by md5(line_id::text || {0}) limit 1) l, \
                          (select transaction_id from txn_processing.movements where '{1}' in (debit_account, credit_account) \
                           and transaction_id not in (select transaction_id from txn_processing.reconciliation_match_postings where in_force) \
                           order by md5(transaction_id::text || {0}) limit 1) m",
                    self.dice.below(1000),
                    self.mirrored
                ));
            }
            10 => self.bank.db.run(&format!(
                "select txn_processing.unmatch(match_id, 'at random') from (select match_id \
                 from txn_processing.reconciliation_matches where undone_at is null \
                 order by md5(match_id::text || {}) limit 1) m",
                self.dice.below(1000)
            )),
            _ => {
                let mode = ["exclusive", "slotted"][self.dice.below(2)];
                self.bank.mode(self.accounts[1], mode);
            }
        }
    }

    fn check(&mut self) {
        let off = self.bank.db.lines(
            "select t.statement_ref, s.* from txn_processing.external_statements t \
             cross join lateral txn_processing.reconciliation_summary(t.statement_id) s \
             cross join lateral (select coalesce(sum(b.difference), 0) as difference, \
                     coalesce(sum(b.amount) filter (where b.kind = 'posting_without_line'), 0) as postings, \
                     coalesce(sum(b.amount) filter (where b.line_id is not null), 0) as lines \
                 from txn_processing.reconciliation_breaks(t.statement_id) b) b \
             where s.unexplained <> 0 or s.difference <> b.difference \
                or s.difference <> s.ledger_balance - s.statement_balance \
                or s.unmatched_postings <> b.postings or s.unmatched_lines <> b.lines \
                or s.unmatched_lines <> (select coalesce(sum(l.amount), 0) from txn_processing.external_lines l \
                       where l.statement_id = t.statement_id and l.line_id not in \
                       (select x.line_id from txn_processing.reconciliation_match_lines x where x.in_force)) \
                or s.unmatched_postings <> (select coalesce(sum(case (m.debit_account = a.account_id) \
                           when a.normal_side = 'D' then m.amount else -m.amount end), 0) \
                       from txn_processing.movements m join banking.accounts a on a.account_id = t.account_id \
                       where t.account_id in (m.debit_account, m.credit_account) \
                       and coalesce(m.effective_at, m.created_at) >= t.from_date \
                       and coalesce(m.effective_at, m.created_at) < t.to_date + 1 \
                       and m.transaction_id not in (select x.transaction_id \
                           from txn_processing.reconciliation_match_postings x where x.in_force and x.account_id = t.account_id))",
        );
        assert_eq!(off, [""; 0]);
        let uneven = self.bank.db.lines(
            "select m.match_id from txn_processing.reconciliation_matches m where m.difference <> \
             (select sum(p.amount) from txn_processing.reconciliation_match_postings p where p.match_id = m.match_id) - \
             (select sum(l.amount) from txn_processing.reconciliation_match_lines x \
              join txn_processing.external_lines l using (line_id) where x.match_id = m.match_id)",
        );
        assert_eq!(uneven, [""; 0]);
    }
}

fn play(seed: u64, kind: &str) {
    let mut world = World::new(seed, kind);
    for n in 0..160 {
        world.step();
        if n % 8 == 0 {
            world.check();
        }
    }
    world.check();
    let matches = "select count(*) from txn_processing.reconciliation_matches";
    assert!(world.bank.db.count(matches) > 3, "seed {seed} matches next to nothing");
    // References are reused here on purpose, which the ledger allows.
    let mut broken = broken_rules(&mut world.bank.db);
    broken.retain(|rule| !rule.starts_with("a reference number stands for one posting"));
    assert_eq!(broken, [""; 0]);
}

#[test]
fn the_breaks_add_up_on_cash() {
    (1..=3).for_each(|seed| play(seed, "cash"));
}

#[test]
fn the_breaks_add_up_on_a_customers_account() {
    (11..=12).for_each(|seed| play(seed, "customer"));
}

#[test]
fn the_breaks_add_up_on_a_slotted_account() {
    (21..=23).for_each(|seed| play(seed, "slotted"));
}
