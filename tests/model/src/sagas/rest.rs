//! Every saga comes to its end: run, answered by workers, signalled, and in the end settled by a person.

use neobank_sessions::{Ask, Client};

/// Turns until the last one has ended; more than that are a fault.
const TURNS: usize = 400;

const OPEN: &str = "select count(*) from saga.sagas where status not in ('completed', 'failed')";

/// What workers outside do when nothing fails any more.
const ANSWER: &str = "select count(public.saga_complete(step_id, lease_token)) \
                      from saga.claim_step('the last worker', null, 60000, 1000)";

/// How sagas have ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    pub completed: u64,
    pub undone: u64,
    /// By a person, who settled all of it.
    pub by_hand: u64,
    /// Of all of them, those that were parked at some time.
    pub parked: u64,
    /// By functions of their steps and compensations.
    pub effects: u64,
}

impl Ends {
    pub fn add(&mut self, other: &Ends) {
        self.completed += other.completed;
        self.undone += other.undone;
        self.by_hand += other.by_hand;
        self.parked += other.parked;
        self.effects += other.effects;
    }
}

/// Brings every saga to its end.
pub fn bring_to_rest(session: &mut Client) -> Result<(), String> {
    for turn in 0..TURNS {
        while session.one("select count(*) from saga.run_ready(1000)") != "0" {}
        if session.count(OPEN) == 0 {
            return Ok(());
        }
        session.run(ANSWER);
        for saga in session.lines("select saga_id from saga.sagas where status not in ('completed', 'failed')") {
            session.run(&format!("select public.saga_nudge('{saga}', {turn})"));
        }
    }
    Err(format!("sagas come to no end: {:#?}", session.lines("select * from saga.running_sagas limit 5")))
}

/// Of the sagas that have ended.
pub fn ends(session: &mut Client) -> Ends {
    let counts = session.one(
        "select concat_ws(' ', count(*) filter (where s.status = 'completed' and not by_hand),
                count(*) filter (where s.status = 'failed' and not by_hand), count(*) filter (where by_hand),
                count(*) filter (where exists (
                  select from saga.transitions t where t.saga_id = s.saga_id and t.to_state = 'parked')),
                (select count(*) from public.saga_effects))
         from saga.sagas s
         cross join lateral (
           select coalesce((select t.code = 'NB216' from saga.transitions t
                            where t.saga_id = s.saga_id and t.subject = 'saga'
                            order by t.transition_no desc limit 1), false) as by_hand) h
         where s.status in ('completed', 'failed')",
    );
    let mut counts = counts.split(' ').map(|count| count.parse().expect("a count"));
    let mut next = || counts.next().expect("five counts");
    Ends { completed: next(), undone: next(), by_hand: next(), parked: next(), effects: next() }
}
