//! Did what many sessions were answered come about in some serial order?
//!
//! Every posting and every change of an account holds the account until its transaction ends (strict two-phase
//! locking), every append its stream, a retry that appends nothing too, and an id of an event that is written holds
//! whoever brings it anew, to whichever stream. So of two transactions that have one of these in common, all of the first
//! one, the reading of the clock before its commit included, is earlier than the second one's work on it, and so than its
//! reading. The readings are therefore a serial order, but for transactions that overlap and have no lock in common. That
//! is a claim about the ledger and the event store, and is checked as one: the model goes through all transactions in that
//! order and must come to each answer; the numbers that the ledger gave to the postings of each account must ascend in
//! it, and the versions of each stream be those of its appends; and it agrees with real time, since each reading of the
//! clock lies between question and answer.
//!
//! What did not stay (refusals, also those within an answer, and what was rolled back) was seen by its session all the
//! same: there must be a moment between its question and its answer (above READ COMMITTED: since its transaction began)
//! at which the model answers the same, with what its own transaction had done by then. So it is with what was only read,
//! whatever became of its transaction: reading holds nothing.

use crate::alone::LEVELS;
use crate::answer::Answer;
use crate::crowd::{Asked, Attempt};
use crate::state::{Circumstances, Mark, Refusals, State};

/// So far a transaction may be put before others.
const OVERLAPPING: usize = 16;

/// Something that did not stay, and the states that may explain it: after so many commits.
struct Passing<'a> {
    attempt: &'a Attempt,
    asked: &'a Asked,
    refusals: Refusals,
    first: usize,
    last: usize,
    /// Why the states up to now did not.
    objections: Vec<String>,
}

fn how(attempt: &Attempt, asked: &Asked, refusals: Refusals, since: usize) -> Circumstances {
    Circumstances {
        alone: false,
        read_committed: attempt.level == LEVELS[0],
        refusals,
        since: since as u64,
        begun_at: attempt.begun_at,
        answered_at: asked.answered_at,
        stays: asked.stays,
    }
}

/// How many of the commits had all been answered when it was asked, or above READ COMMITTED when its transaction began.
fn since(attempt: &Attempt, asked: &Asked, all_answered: &[i64]) -> usize {
    let since = if attempt.level == LEVELS[0] { asked.asked_at } else { attempt.begun_at };
    all_answered.partition_point(|answered| *answered < since)
}

fn commit(state: &mut State, attempt: &Attempt, all_answered: &[i64]) -> Result<(), String> {
    for asked in attempt.asked.iter().filter(|asked| asked.stays && !asked.op.is_reading()) {
        let since = since(attempt, asked, all_answered);
        state
            .accept(&asked.op, &asked.answer, how(attempt, asked, Refusals::Ignored, since))
            .map_err(|error| format!("{asked:#?}\n{error}\nsession {}, at {}", attempt.session, attempt.level))?;
    }
    Ok(())
}

/// Puts a transaction that the state after all before it does not lead to before some that it overlaps with, or one of
/// those after it: whether that leads to all of their answers. What has no lock in common may read the clock in another order than that in which
/// it took effect, such as two postings on a slotted account of which one has just made its slot.
fn commit_earlier(state: &mut State, order: &mut [&Attempt], marks: &mut [Mark], all_answered: &[i64]) -> bool {
    let at = order.len() - 1;
    let late = order[at];
    for back in (at.saturating_sub(OVERLAPPING)..at).rev() {
        if order[back].ended_at < late.begun_at {
            break;
        }
        let mut orders = vec![[late].into_iter().chain(order[back..at].iter().copied()).collect::<Vec<&Attempt>>()];
        // Or the other one came later than all up to here: a run of sagas has had its effects one after another.
        if order[back..].iter().all(|after| after.begun_at <= order[back].ended_at) {
            orders.push(order[back + 1..].iter().copied().chain([order[back]]).collect());
        }
        for tried in orders {
            state.back_to(marks[back]);
            if commit_all(state, &tried, &mut marks[back..], all_answered) {
                order[back..].copy_from_slice(&tried);
                return true;
            }
        }
        state.back_to(marks[back]);
        let as_before = commit_all(state, &order[back..at], &mut marks[back..], all_answered);
        assert!(as_before, "what was accepted once is so again");
    }
    false
}

fn commit_all(state: &mut State, attempts: &[&Attempt], marks: &mut [Mark], all_answered: &[i64]) -> bool {
    attempts.iter().zip(marks).all(|(attempt, mark)| {
        *mark = state.mark();
        commit(state, attempt, all_answered).is_ok()
    })
}

/// For who looks into it: the accounts, and the transactions before and after.
fn circumstances(state: &State, order: &[&Attempt], at: usize) -> String {
    let accounts: Vec<_> = state.accounts().collect();
    let around = &order[at.saturating_sub(15)..(at + 15).min(order.len())];
    let around: Vec<String> = around
        .iter()
        .map(|other| format!("session {} at {}, {:?}{}", other.session, other.level, other.committed, told(other)))
        .collect();
    format!("{accounts:#?}\naround it:\n{}", around.join("\n"))
}

/// Whether this state explains the answer; it is left as it is.
fn explains(state: &mut State, passing: &mut Passing, all_answered: &[i64]) -> bool {
    let before = state.mark();
    let (attempt, asked) = (passing.attempt, passing.asked);
    let mut built_upon = asked.upon.iter().map(|at| &attempt.asked[*at]).filter(|asked| !asked.op.is_reading());
    state.built_upon = true;
    let was_so = built_upon.try_for_each(|asked| {
        let since = since(attempt, asked, all_answered);
        state.accept(&asked.op, &asked.answer, how(attempt, asked, Refusals::Ignored, since))
    });
    state.built_upon = false;
    let explained = was_so
        .and_then(|()| state.accept(&asked.op, &asked.answer, how(attempt, asked, passing.refusals, passing.first)));
    state.back_to(before);
    match explained {
        Ok(()) => true,
        Err(objection) => {
            if passing.objections.last() != Some(&objection) {
                passing.objections.push(objection);
            }
            false
        }
    }
}

/// All that did not stay, by the first state that may explain it.
fn passing<'a>(attempts: &'a [Attempt], order: &[&'a Attempt], all_answered: &[i64]) -> Vec<Passing<'a>> {
    let mut found: Vec<Passing> = Vec::new();
    for attempt in attempts {
        for asked in &attempt.asked {
            let refusals = match &asked.answer {
                Answer::Done(lines) => asked.op.refusals_in(lines),
                Answer::Refused(_) => Vec::new(),
            };
            let mut looked_at: Vec<Refusals> = refusals.into_iter().map(Refusals::Of).collect();
            if !asked.stays || asked.op.is_reading() {
                looked_at.push(if looked_at.is_empty() { Refusals::All } else { Refusals::Ignored });
            }
            let first = since(attempt, asked, all_answered);
            let last = order.partition_point(|other| other.committed.expect("committed") <= asked.answered_at);
            found.extend(looked_at.into_iter().map(|refusals| Passing {
                attempt,
                asked,
                refusals,
                first,
                last,
                objections: Vec::new(),
            }));
        }
    }
    found.sort_by_key(|passing| passing.first);
    found
}

/// What the transaction asked for and was answered, each on a line.
fn told(attempt: &Attempt) -> String {
    let of = |asked: &Asked| format!("\n    {}\n    --> {:?}, stays {}", asked.op.sql(), asked.answer, asked.stays);
    attempt.asked.iter().map(of).collect()
}

/// What came out of it.
pub struct Replayed {
    pub state: State,
    /// Answers that did not stay.
    pub explained: usize,
    /// Transactions that took effect before others which had read the clock earlier.
    pub reordered: usize,
}

/// The state that all of it leads to.
pub fn replay(mut state: State, attempts: &[Attempt]) -> Result<Replayed, String> {
    let mut order: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.committed.is_some()).collect();
    order.sort_by_key(|attempt| attempt.committed);
    for attempt in &order {
        let read = attempt.committed.expect("committed");
        if read < attempt.begun_at || read > attempt.ended_at {
            return Err(format!("the server's clock is not this machine's: {attempt:#?}"));
        }
    }
    // When the commits up to there had all been answered: whoever asks later sees them.
    let mut all_answered: Vec<i64> = Vec::with_capacity(order.len());
    for attempt in &order {
        all_answered.push(all_answered.last().copied().unwrap_or(i64::MIN).max(attempt.ended_at));
    }
    let mut waiting = passing(attempts, &order, &all_answered).into_iter().peekable();
    let mut open: Vec<Passing> = Vec::new();
    let (mut explained, mut reordered) = (0, 0);
    let mut marks: Vec<Mark> = Vec::new();
    for commits in 0..=order.len() {
        while let Some(next) = waiting.next_if(|passing| passing.first <= commits) {
            open.push(next);
        }
        let before = open.len();
        open.retain_mut(|passing| !explains(&mut state, passing, &all_answered));
        explained += before - open.len();
        if let Some(passing) = open.iter().find(|passing| passing.last <= commits) {
            return Err(format!(
                "no moment explains {:#?}\nof session {}, at {}, looked for after {} to {} commits: {:#?}\nits transaction:{}",
                passing.asked,
                passing.attempt.session,
                passing.attempt.level,
                passing.first,
                passing.last,
                passing.objections,
                told(passing.attempt)
            ));
        }
        let Some(attempt) = order.get(commits) else { break };
        state.turn = commits as u64 + 1;
        marks.push(state.mark());
        if let Err(error) = commit(&mut state, attempt, &all_answered) {
            state.back_to(marks[commits]);
            if !commit_earlier(&mut state, &mut order[..=commits], &mut marks, &all_answered) {
                let around = circumstances(&state, &order, commits);
                return Err(format!("after {commits} commits, no serial order leads to this: {error}\n{around}"));
            }
            reordered += 1;
        }
    }
    Ok(Replayed { state, explained, reordered })
}
