//! Many sessions at once, at mixed isolation levels, with what each of them asked, was answered, and when.

use crate::alone::LEVELS;
use crate::answer::Answer;
use crate::generate::Generator;
use crate::op::Op;
use crate::pool::Pool;
use crate::tally::Tally;
use crate::world::World;
use neobank_sessions::*;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// One operation as it went.
#[derive(Clone, Debug)]
pub struct Asked {
    pub op: Op,
    pub answer: Answer,
    /// By the clock of this machine, in microseconds.
    pub asked_at: i64,
    pub answered_at: i64,
    /// Operations of its transaction that it built upon: done, and not taken back by then.
    pub upon: Vec<usize>,
    /// It is a part of what its transaction committed.
    pub stays: bool,
}

/// One attempt at a transaction.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    pub session: usize,
    pub level: &'static str,
    pub begun_at: i64,
    pub ended_at: i64,
    /// By the server's clock, read as the last thing before it committed, so with all its locks.
    pub committed: Option<i64>,
    pub asked: Vec<Asked>,
}

/// What a transaction is going to do, the same again when it is repeated.
struct Plan {
    level: &'static str,
    /// Each behind a savepoint, unless it is by itself.
    ops: Vec<Op>,
    /// After the operation of this number, back to before the one of that number.
    back: Option<(usize, usize)>,
    commits: bool,
    /// It, or what it meets, may be of several operations, and one of them picked to end a deadlock.
    deadlocks: bool,
}

pub struct Crowd {
    pub world: World,
    pool: Mutex<Pool>,
    seed: u64,
    /// Some transactions are of several operations. Else none is, and then there is no deadlock.
    transactions: bool,
}

/// How a worker ended: all attempts, or what must not be.
pub type Work = Result<(Vec<Attempt>, Tally, u64), String>;

pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    since.as_micros().try_into().expect("a time of this age")
}

const CLOCK: &str = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint";
/// What the queue puts off is tried again at once.
const SETTINGS: &str = "set neobank.queue_lock_timeout = '20ms'; set neobank.queue_retry_delay = '1ms'";
/// Where deadlocks are to be expected they are found at once. Where not, the queue has all the time to give way, which
/// it does after a tenth of a second, before somebody else is picked as the victim.
const DEADLOCK_TIMEOUT: [&str; 2] = ["10s", "20ms"];
/// Of a table's own constraints.
const CONSTRAINTS: [&str; 3] = ["23502", "23505", "23514"];
const REPEATABLE: [&str; 2] = ["40001", "40P01"];

impl Crowd {
    pub fn new(world: World, seed: u64, transactions: bool) -> Crowd {
        Crowd { world, pool: Mutex::default(), seed, transactions }
    }

    fn plan(&self, dice: &mut Dice) -> Plan {
        let pool = self.pool.lock().expect("no session panics with it");
        let size = if self.transactions && dice.below(4) == 0 { 2 + dice.below(4) } else { 1 };
        let level = if dice.below(2) == 0 { LEVELS[0] } else { LEVELS[dice.below(3)] };
        let ops: Vec<Op> = (0..size).map(|_| Generator { dice, world: &self.world, pool: &pool }.next_op()).collect();
        let back = (size > 1 && dice.below(3) == 0).then(|| {
            let after = dice.below(size);
            (after, dice.below(after + 1))
        });
        Plan { level, ops, back, commits: size == 1 || dice.below(6) > 0, deadlocks: self.transactions }
    }

    /// As many operations as that, by one of the sessions.
    pub fn work(&self, session: usize, client: &mut Client, operations: u64) -> Work {
        client.run(SETTINGS);
        client.run(&format!("set deadlock_timeout = '{}'", DEADLOCK_TIMEOUT[usize::from(self.transactions)]));
        let mut dice = Dice(self.seed.wrapping_mul(1_000_003).wrapping_add(session as u64));
        let (mut attempts, mut tally, mut repeats) = (Vec::new(), Tally::default(), 0);
        while tally.operations < operations {
            let plan = self.plan(&mut dice);
            loop {
                let mut attempt = Attempt { session, level: plan.level, begun_at: now(), ..Attempt::default() };
                let failure = if plan.ops.len() == 1 {
                    single(client, &plan, &mut attempt)
                } else {
                    several(client, &plan, &mut attempt)
                };
                attempt.ended_at = now();
                let failed = failure?;
                attempts.push(attempt);
                if !failed {
                    break;
                }
                repeats += 1;
            }
            let last = attempts.last().expect("one at least");
            let mut pool = self.pool.lock().expect("no session panics with it");
            for asked in &last.asked {
                tally.count(&asked.op, &asked.answer);
                let lines = if let Answer::Done(lines) = &asked.answer { Some(lines.as_slice()) } else { None };
                pool.learn(&asked.op, lines.filter(|_| asked.stays), &mut dice);
            }
        }
        Ok((attempts, tally, repeats))
    }
}

/// Whether the attempt is to be repeated; other errors than refusals are faults.
fn is_repeated(refusal: &Refusal, plan: &Plan) -> Result<bool, String> {
    let code = refusal.code.as_str();
    if code.starts_with("NB") {
        return Ok(false);
    }
    // Where all transactions are of one operation there are no deadlocks; and at READ COMMITTED none but batches, which
    // see who else posts their ids, are told to repeat.
    let sees_ids = plan.ops.iter().any(|op| matches!(op, Op::Batch { .. }));
    // Tables of the application's own have constraints of their own, and no order in which rows are locked.
    let of_tables = plan.ops.iter().any(|op| matches!(op, Op::Table(_)));
    if of_tables && CONSTRAINTS.contains(&code) {
        return Ok(false);
    }
    let allowed = match code {
        "40P01" => plan.deadlocks || of_tables,
        "40001" => plan.level != LEVELS[0] || sees_ids,
        _ => false,
    };
    match allowed {
        true => Ok(true),
        false => Err(format!("{refusal}\nof {} in a transaction at {}", plan.ops[0].sql(), plan.level)),
    }
}

/// A transaction of one operation, in one message.
fn single(client: &mut Client, plan: &Plan, attempt: &mut Attempt) -> Result<bool, String> {
    let op = &plan.ops[0];
    let patience = if matches!(op, Op::Table(_)) { "set local deadlock_timeout = '20ms'; " } else { "" };
    let sql = format!("begin isolation level {}; {patience}{}; {CLOCK}; commit", plan.level, op.sql());
    let asked_at = now();
    let result = client.try_lines(&sql);
    let answered_at = now();
    let (answer, stays) = match result {
        Ok(mut lines) => {
            let clock = lines.pop().expect("the clock was read");
            attempt.committed = Some(clock.parse().expect("microseconds"));
            (Answer::Done(lines), true)
        }
        Err(refusal) => {
            client.run("rollback");
            if is_repeated(&refusal, plan)? {
                return Ok(true);
            }
            (Answer::Refused(refusal.code), false)
        }
    };
    attempt.asked.push(Asked { op: op.clone(), answer, asked_at, answered_at, upon: Vec::new(), stays });
    Ok(false)
}

/// A transaction of several, each behind a savepoint.
fn several(client: &mut Client, plan: &Plan, attempt: &mut Attempt) -> Result<bool, String> {
    client.run(&format!("begin isolation level {}", plan.level));
    let mut live: Vec<usize> = Vec::new();
    for (at, op) in plan.ops.iter().enumerate() {
        client.run(&format!("savepoint s{at}"));
        let asked_at = now();
        let result = client.try_lines(&op.sql());
        let answered_at = now();
        let upon = live.clone();
        let answer = match result {
            Ok(lines) => {
                live.push(at);
                Answer::Done(lines)
            }
            Err(refusal) => {
                if is_repeated(&refusal, plan)? {
                    client.run("rollback");
                    return Ok(true);
                }
                client.run(&format!("rollback to s{at}"));
                Answer::Refused(refusal.code)
            }
        };
        attempt.asked.push(Asked { op: op.clone(), answer, asked_at, answered_at, upon, stays: false });
        if let Some((after, to)) = plan.back
            && after == at
        {
            client.run(&format!("rollback to s{to}"));
            live.retain(|kept| *kept < to);
        }
    }
    if !plan.commits {
        client.run("rollback");
        return Ok(false);
    }
    // Read by itself: what comes after it is nothing but the commit.
    match client.try_lines(&format!("{CLOCK}; commit")) {
        Ok(lines) => attempt.committed = Some(lines[0].parse().expect("microseconds")),
        Err(refusal) if REPEATABLE.contains(&refusal.code.as_str()) => {
            client.run("rollback");
            return is_repeated(&refusal, plan);
        }
        Err(refusal) => return Err(format!("commit: {refusal}")),
    }
    live.into_iter().for_each(|at| attempt.asked[at].stays = true);
    Ok(false)
}
