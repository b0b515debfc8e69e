//! Cancels, timeouts and terminated sessions, swept over the measured length of every function that writes: on both
//! posting paths, on exclusive and on slotted accounts. After each hit nothing is half done, nothing stays held, the
//! session goes on, and the same call brings the operation to its end.

use neobank_faults::operations::{Again, all};
use neobank_faults::{Operation, Stage, at_rest, check_log, check_storage, differences, effects, found_bank};
use neobank_sessions::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A session that cancels or terminates another one after a delay.
struct Striker {
    orders: Sender<(&'static str, i64, Duration)>,
    done: Receiver<()>,
}

impl Striker {
    fn new(mut session: Client) -> Striker {
        let (orders, received) = channel::<(&'static str, i64, Duration)>();
        let (finished, done) = channel();
        thread::spawn(move || {
            while let Ok((how, backend, delay)) = received.recv() {
                thread::sleep(delay);
                session.run(&format!("select {how}({backend})"));
                if finished.send(()).is_err() {
                    return;
                }
            }
        });
        Striker { orders, done }
    }

    fn strike(&self, how: &'static str, backend: i64, delay: Duration) {
        self.orders.send((how, backend, delay)).expect("the striker waits for orders");
    }

    /// The signal has been sent: one that came too late meets an idle session, which ignores it.
    fn wait(&self) {
        self.done.recv().expect("the striker answers each order");
    }
}

#[derive(Default)]
struct Tally {
    calls: usize,
    cancelled: usize,
    timed_out: usize,
    locked_out: usize,
    terminated: usize,
}

struct Sweep {
    cluster: PrivateCluster,
    admin: Client,
    holder: Client,
    session: Client,
    backend: i64,
    striker: Striker,
    dice: Dice,
    stage: Stage,
    tally: Tally,
}

impl Sweep {
    fn connect(&mut self) {
        self.session = self.cluster.connect("bank");
        self.session.run(&format!("set neobank.posting_path = '{}'", self.stage.path));
        self.backend = self.session.count("select pg_backend_pid()");
    }

    /// What the hit call left: all of it or nothing, and neither locks nor a lasting error.
    fn check(&mut self, operation: &Operation, before: &[String], outcome: &Result<Vec<String>, Refusal>) -> bool {
        self.tally.calls += 1;
        let held = format!("select mode, relation::regclass from pg_locks where pid = {}", self.backend);
        assert_eq!(self.admin.lines(&held), Vec::<String>::new(), "{} left locks", operation.name);
        let after = snapshot(&mut self.admin);
        let Err(refusal) = outcome else { return true };
        let done = after != before;
        // A terminated session may not have heard of its commit; all others are told the truth.
        assert!(
            !done || ["57P01", "client"].contains(&refusal.code.as_str()),
            "{} was refused and left something: {refusal}\n{:#?}",
            operation.name,
            differences(before, &after)
        );
        done
    }

    fn fresh(&mut self, operation: &Operation) -> Vec<String> {
        self.stage.prepare(&mut self.admin, operation);
        snapshot(&mut self.admin)
    }

    /// Brings what was hit to its end and calls it once more. Then all is made anew for the next hit.
    fn finish(&mut self, operation: &Operation, before: &[String], done: bool) -> Vec<String> {
        let call = self.stage.text(operation.call);
        let end = |sweep: &mut Sweep, done: bool| match (sweep.session.try_lines(&call), operation.again) {
            (Ok(_), Again::Refused(_)) if done => panic!("{} went through twice", operation.name),
            (Ok(_), _) => {}
            (Err(refusal), Again::Refused(codes)) if done => {
                assert!(codes.contains(&refusal.code.as_str()), "{}: {refusal}", operation.name);
            }
            (Err(refusal), _) => panic!("{} does not go on: {refusal}", operation.name),
        };
        end(self, done);
        let after = snapshot(&mut self.admin);
        // Interest that another run has counted already is not counted again.
        let may_find_nothing = operation.again != Again::Anew || operation.name == "settle_interest";
        assert!(after != before || may_find_nothing, "{} has no effect", operation.name);
        if operation.again != Again::Anew {
            end(self, true);
            let twice = effects(&after, &snapshot(&mut self.admin));
            assert!(twice.is_empty(), "{} had an effect twice: {twice:#?}", operation.name);
        }
        self.fresh(operation)
    }

    /// The shortest of a few calls without a fault.
    fn measure(&mut self, operation: &Operation) -> Duration {
        let call = self.stage.text(operation.call);
        let one = |sweep: &mut Sweep| {
            sweep.stage.prepare(&mut sweep.admin, operation);
            let begun = Instant::now();
            sweep.session.run(&call);
            begun.elapsed()
        };
        (0..3).map(|_| one(self)).min().expect("three calls")
    }

    fn is(&mut self, operation: &Operation, refusal: &Refusal, code: &str) {
        assert_eq!(refusal.code, code, "{} on {:?}: {refusal}", operation.name, self.stage);
    }

    fn cancel(&mut self, operation: &Operation, before: &[String], delay: Duration) -> bool {
        self.striker.strike("pg_cancel_backend", self.backend, delay);
        let outcome = self.session.try_lines(&self.stage.text(operation.call));
        self.striker.wait();
        // The client hears of an error before the server has cleaned up; then of its readiness.
        self.surely("select");
        if let Err(refusal) = &outcome {
            self.is(operation, refusal, "57014");
            self.tally.cancelled += 1;
        }
        self.check(operation, before, &outcome)
    }

    fn time_out(&mut self, operation: &Operation, before: &[String], delay: Duration) -> bool {
        self.session.run(&format!("set statement_timeout = {}", delay.as_millis().max(1)));
        let outcome = self.session.try_lines(&self.stage.text(operation.call));
        self.relieve("statement_timeout");
        if let Err(refusal) = &outcome {
            self.is(operation, refusal, "57014");
            self.tally.timed_out += 1;
        }
        self.check(operation, before, &outcome)
    }

    /// Takes a timeout away, which may strike once more: this statement, or, at its very end, the next.
    fn relieve(&mut self, setting: &str) {
        self.surely(&format!("set {setting} = 0"));
        self.surely("select");
    }

    /// Runs a statement that a late hit may still meet.
    fn surely(&mut self, statement: &str) {
        while let Err(refusal) = self.session.try_lines(statement) {
            assert_eq!(refusal.code, "57014", "{refusal}");
        }
    }

    fn lock_out(&mut self, operation: &Operation, before: &[String], target: &str) -> bool {
        self.holder.run(&format!("begin; {target}"));
        self.session.run("set lock_timeout = '3ms'");
        let outcome = self.session.try_lines(&self.stage.text(operation.call));
        self.session.run("set lock_timeout = 0");
        self.holder.run("rollback");
        if let Err(refusal) = &outcome {
            self.is(operation, refusal, "55P03");
            self.tally.locked_out += 1;
        }
        self.check(operation, before, &outcome)
    }

    fn terminate(&mut self, operation: &Operation, before: &[String], delay: Duration) -> bool {
        self.striker.strike("pg_terminate_backend", self.backend, delay);
        let outcome = self.session.try_lines(&self.stage.text(operation.call));
        self.striker.wait();
        // Idle or not, it ends; its locks go before its entry does.
        let gone = format!("select count(*) from pg_stat_activity where pid = {}", self.backend);
        while self.admin.count(&gone) > 0 {
            thread::sleep(Duration::from_millis(1));
        }
        if let Err(refusal) = &outcome {
            assert!(["57P01", "client"].contains(&refusal.code.as_str()), "{}: {refusal}", operation.name);
            self.tally.terminated += 1;
        }
        let done = self.check(operation, before, &outcome);
        self.connect();
        done
    }

    /// A table, or the rows of the accounts, that a posting may have to wait for.
    fn target(&mut self) -> String {
        let tables = "select c.oid::regclass from pg_class c where relkind = 'r' and relnamespace in \
                      ('banking'::regnamespace, 'txn_processing'::regnamespace, 'saga'::regnamespace) order by 1";
        let tables = self.admin.lines(tables);
        match self.dice.below(tables.len() + 6) {
            0..3 => "select from banking.accounts for update".to_owned(),
            3..6 => "select from banking.account_slots for update".to_owned(),
            n => format!("lock table {} in access exclusive mode", tables[n - 6]),
        }
    }

    /// One hit of each kind, somewhere in the `part`-th of `parts` of the operation's length.
    fn hits(&mut self, operation: &Operation, part: usize, parts: usize, length: Duration) {
        let at = (part * 1_000 + self.dice.below(1_000)) as u32;
        let delay = length * at / (parts as u32 * 1_000);
        let mut before = self.fresh(operation);
        for kind in 0..4 {
            // A new session for each, so these are fewer.
            if kind == 3 && self.dice.below(3) > 0 {
                continue;
            }
            let target = self.target();
            let done = match kind {
                0 => self.cancel(operation, &before, delay),
                1 if length > Duration::from_millis(2) => self.time_out(operation, &before, delay),
                1 => self.cancel(operation, &before, length * at / (parts as u32 * 2_000)),
                2 => self.lock_out(operation, &before, &target),
                _ => self.terminate(operation, &before, delay),
            };
            before = self.finish(operation, &before, done);
        }
    }
}

fn sweep(seed: u64) -> Option<Sweep> {
    let Some(cluster) = PrivateCluster::start("interrupts", "autovacuum = off\nfsync = off") else {
        skipped("interrupts", "the server's initdb or pg_ctl cannot be found");
        return None;
    };
    let mut admin = found_bank(&cluster);
    Stage::set(&mut admin);
    Some(Sweep {
        holder: cluster.connect("bank"),
        session: cluster.connect("bank"),
        striker: Striker::new(cluster.connect("bank")),
        backend: 0,
        cluster,
        admin,
        dice: Dice(seed),
        stage: Stage::ALL[0],
        tally: Tally::default(),
    })
}

#[test]
fn a_hit_at_any_point_of_any_operation_is_all_or_nothing() {
    let begun = Instant::now();
    let (rounds, seed) = (setting("ROUNDS", 1) as usize, seed());
    let Some(mut sweep) = sweep(seed) else { return };
    for stage in Stage::ALL {
        sweep.stage = stage;
        sweep.connect();
        for operation in all().filter(|o| stage.accounts == "exclusive" || !o.only_exclusive) {
            // A small run takes other ones on each stage.
            if rounds == 1 && sweep.dice.below(10) > 0 {
                continue;
            }
            let length = sweep.measure(operation);
            for round in 0..rounds {
                sweep.hits(operation, round, rounds, length);
            }
        }
        say(&format!("interrupts: {stage:?} after {} s", begun.elapsed().as_secs()));
    }
    at_rest(&mut sweep.admin);
    check_storage(&mut sweep.admin);
    check_log(&sweep.cluster.log());
    let Tally { calls, cancelled, timed_out, locked_out, terminated } = sweep.tally;
    // How many of each kind strike is the clock's business; that some do is the test's.
    assert!(cancelled + timed_out + locked_out + terminated > 0, "none of {calls} calls was struck");
    figure(
        "interrupts",
        &format!(
            "{calls} calls of {} operations, {cancelled} cancelled, {timed_out} timed out, {locked_out} locked out, \
             {terminated} terminated, {} s, SEED={seed}",
            all().count(),
            begun.elapsed().as_secs()
        ),
    );
}

/// What writes and is swept elsewhere, or not at all because it undoes itself or writes nothing. payment_return is called
/// by a run of its saga only, and is `reverse`.
const NOT_SWEPT: [&str; 3] = ["uuid_v7", "validate", "payment_return"];

#[test]
fn every_function_that_writes_is_swept() {
    let mut bank = Bank::new();
    let functions = bank.db.lines(
        "select distinct p.proname from pg_proc p where p.provolatile = 'v' and p.prokind = 'f' and \
         p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype) and p.pronamespace in \
         ('banking'::regnamespace, 'txn_processing'::regnamespace, 'neobank'::regnamespace, 'saga'::regnamespace)",
    );
    let swept = |name: &String| NOT_SWEPT.contains(&name.as_str()) || all().any(|o| o.name == name);
    let forgotten: Vec<&String> = functions.iter().filter(|name| !swept(name)).collect();
    assert!(forgotten.is_empty(), "no operation sweeps {forgotten:?}");
}

/// What the sweeps take for granted of the operations.
#[test]
fn every_operation_repeated_does_what_is_said_of_it() {
    let mut bank = Bank::new();
    let db = &mut bank.db;
    Stage::set(db);
    let mut otherwise = Vec::new();
    let stage = Stage::ALL[0];
    for operation in all() {
        stage.prepare(db, operation);
        let call = stage.text(operation.call);
        db.run(&call);
        let before = snapshot(db);
        let again = db.try_lines(&call);
        let twice = effects(&before, &snapshot(db));
        let is_as_said = match (&again, operation.again) {
            (Ok(_), Again::Nothing) => twice.is_empty(),
            (Ok(_), Again::Anew) => true,
            (Err(refusal), Again::Refused(codes)) => codes.contains(&refusal.code.as_str()),
            _ => false,
        };
        if !is_as_said {
            otherwise.push(format!("{}: {again:?} {twice:?}", operation.name));
        }
    }
    assert!(otherwise.is_empty(), "{otherwise:#?}");
    audit(db);
}
