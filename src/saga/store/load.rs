//! Reading sagas, locked.

use super::super::core::{
    ChildState, Effort, Failure, Plan, Saga, Status, Step, StepStatus, Undo, UndoStatus, Waits,
};
use super::super::definitions;
use super::super::held::Held;
use crate::error::Error;
use crate::pg::plans::OrderedPlans;
use crate::pg::spi::c_text;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Type};
use std::collections::HashMap;
use std::rc::Rc;
use uuid::Uuid;

macro_rules! locked {
    ($which:literal, $types:expr) => {{
        const SQL: &str = concat!(
            "SELECT s.saga_id, s.saga_type::text, s.status::text, s.current_step, s.context, s.definition_version, \
                    s.started_by, s.deadline_at, s.due_at, s.work_type::text, s.work_at, s.waits_for, s.past_return, \
                    s.error_code, s.error_message, s.parked_reason, s.parent_saga_id, s.transitions, s.completed_at \
             FROM saga.sagas s WHERE ",
            $which,
            "\0"
        );
        Statement::new(c_text(SQL), $types)
    }};
}

// The time is a parameter: a volatile function would not be asked in the index.
static DUE: Statement = locked!(
    "s.due_at <= $2 ORDER BY s.due_at, s.saga_id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED",
    &[Type::Int, Type::Timestamp]
);

static ONE: Statement = locked!("s.saga_id = $1 FOR NO KEY UPDATE", &[Type::Uuid]);

static ONE_IF_FREE: Statement = locked!("s.saga_id = $1 FOR NO KEY UPDATE SKIP LOCKED", &[Type::Uuid]);

static WORK: Statement = locked!(
    "s.work_type = $3 AND s.work_at <= $2 ORDER BY s.work_type, s.work_at, s.saga_id LIMIT $1 \
     FOR NO KEY UPDATE SKIP LOCKED",
    &[Type::Int, Type::Timestamp, Type::Text]
);

// One probe of the index for each type that there is.
static WORK_TYPES: Statement = Statement::new(
    c"WITH RECURSIVE t (work_type) AS (
          (SELECT s.work_type::text FROM saga.sagas s WHERE s.work_type IS NOT NULL ORDER BY s.work_type LIMIT 1)
          UNION ALL
          SELECT (SELECT s.work_type::text FROM saga.sagas s WHERE s.work_type > t.work_type
                  ORDER BY s.work_type LIMIT 1)
          FROM t WHERE t.work_type IS NOT NULL)
      SELECT t.work_type FROM t WHERE t.work_type IS NOT NULL",
    &[],
);

static STEPS: Statement = Statement::new(
    c"SELECT p.saga_id, p.step_number, p.step_id, p.status::text, p.started_at, p.completed_at, p.attempts, p.put_off,
             p.next_attempt_at, p.lease_token, p.leased_until, p.claimed_by, p.error_code, p.error_message,
             p.timeout_at, p.effect_possible, p.compensation_needed, p.compensated_at, p.child_saga_id,
             p.input_data, p.output_data, CASE WHEN i.wants_name = 1 THEN p.step_name::text END
      FROM unnest($1, $2) i(saga_id, wants_name) JOIN saga.saga_steps p ON p.saga_id = i.saga_id",
    &[Type::UuidArray, Type::IntArray],
);

static UNDOS: Statement = Statement::new(
    c"SELECT c.saga_id, c.step_number, c.compensation_id, c.status::text, c.started_at, c.completed_at, c.attempts,
             c.put_off, c.next_attempt_at, c.lease_token, c.leased_until, c.claimed_by, c.error_code, c.error_message,
             c.output_data
      FROM unnest($1) i(saga_id) JOIN saga.compensations c ON c.saga_id = i.saga_id",
    &[Type::UuidArray],
);

static SAGA_OF_STEP: Statement = Statement::new(
    c"SELECT p.saga_id, p.step_number FROM saga.saga_steps p WHERE p.step_id = $1",
    &[Type::Uuid],
);

static STATE: Statement = Statement::new(
    c"SELECT s.status::text, s.error_code, s.error_message FROM saga.sagas s WHERE s.saga_id = $1",
    &[Type::Uuid],
);

/// Which sagas are to be locked.
#[derive(Clone, Copy)]
pub enum Which<'a> {
    /// Up to so many that are due by then and that nobody else has, the longest due first.
    Due(i32, i64),
    /// Up to so many from which workers may have steps of that type.
    Work(i32, i64, &'a str),
    /// That one; waits for whoever has it.
    One(Uuid),
    /// That one, unless somebody else has it.
    OneIfFree(Uuid),
}

/// Locks and reads them.
pub fn load(session: &Session, which: Which) -> Result<Vec<Held>, Error> {
    let _plans = OrderedPlans::prefer();
    let rows = match which {
        Which::Due(most, now) => session.run(&DUE, &[Arg::Int(Some(most)), Arg::Timestamp(Some(now))]),
        Which::Work(most, now, of_type) => {
            let args = [Arg::Int(Some(most)), Arg::Timestamp(Some(now)), Arg::Text(Some(of_type))];
            session.run(&WORK, &args)
        }
        Which::One(id) => session.run(&ONE, &[Arg::Uuid(Some(id))]),
        Which::OneIfFree(id) => session.run(&ONE_IF_FREE, &[Arg::Uuid(Some(id))]),
    }?;
    let mut held: Vec<Held> = rows.iter().map(|row| saga(session, &row)).collect::<Result<_, _>>()?;
    if held.is_empty() {
        return Ok(held);
    }
    let places: HashMap<Uuid, usize> = held.iter().enumerate().map(|(at, held)| (held.saga.id, at)).collect();
    let ids: Vec<Uuid> = held.iter().map(|held| held.saga.id).collect();
    steps(session, &ids, &places, &mut held)?;
    let failing: Vec<Uuid> =
        held.iter().filter(|held| held.saga.failure.is_some()).map(|held| held.saga.id).collect();
    if !failing.is_empty() {
        undos(session, &failing, &places, &mut held)?;
    }
    for held in &mut held {
        held.saga.mark_read();
    }
    Ok(held)
}

fn failure(code: Option<String>, message: Option<String>) -> Option<Failure> {
    code.map(|code| Failure { code: Some(code), message: message.unwrap_or_default() })
}

fn saga(session: &Session, row: &Row) -> Result<Held, Error> {
    let time = |at| row.time(at).map(|time| time.0);
    let (saga_type, version) = (row.text(2).expect(PRESENT), row.int(6));
    let plan = match version {
        Some(version) => definitions::of_version(session, &saga_type, version)?,
        None => Rc::new(Plan { steps: Vec::new() }),
    };
    let id = row.uuid(1).expect(PRESENT);
    let count = plan.steps.len();
    let mut saga = Saga::new(id, vec![Uuid::nil(); count], time(8), 0);
    saga.status = Status::of(&row.text(3).expect(PRESENT)).expect("a label of the enum");
    saga.current = usize::try_from(row.int(4).expect(PRESENT)).unwrap_or(0);
    saga.due_at = time(9);
    saga.work = row.text(10).zip(time(11));
    saga.waits = row.text(12).and_then(|text| Waits::of(&text));
    saga.past_return = row.bool(13).unwrap_or(false);
    saga.failure = failure(row.text(14), row.text(15));
    saga.parked = row.text(16);
    saga.completed_at = time(19);
    Ok(Held {
        saga,
        plan,
        saga_type,
        version,
        started_by: row.text(7).expect(PRESENT),
        context: row.json(5).expect(PRESENT),
        parent: row.uuid(17),
        logged: row.int(18).expect(PRESENT),
        inputs: vec![None; count],
        outputs: vec![None; count],
        undo_outputs: vec![None; count],
    })
}

/// Columns of attempts, of which the first is at `from`.
fn effort(row: &Row, from: i32) -> Effort {
    let time = |at| row.time(from + at).map(|time| time.0);
    Effort {
        started_at: time(0),
        completed_at: time(1),
        attempts: row.int(from + 2).expect(PRESENT),
        put_off: row.int(from + 3).expect(PRESENT),
        next_attempt_at: time(4),
        lease_token: row.bigint(from + 5),
        leased_until: time(6),
        claimed_by: row.text(from + 7),
        failure: failure(row.text(from + 8), row.text(from + 9)),
    }
}

fn steps(
    session: &Session,
    ids: &[Uuid],
    places: &HashMap<Uuid, usize>,
    held: &mut [Held],
) -> Result<(), Error> {
    // Names are wanted only of sagas without a definition: those of the others are in it.
    let mut names: HashMap<usize, Vec<(usize, String)>> = HashMap::new();
    let wanted: Vec<i32> = held.iter().map(|held| i32::from(held.version.is_none())).collect();
    for row in session.run(&STEPS, &[Arg::UuidArray(ids), Arg::IntArray(&wanted)])?.iter() {
        let place = places[&row.uuid(1).expect(PRESENT)];
        let of = &mut held[place];
        let at = usize::try_from(row.int(2).expect(PRESENT) - 1).expect("steps count from 1");
        if of.version.is_none() {
            names.entry(place).or_default().push((at, row.text(22).expect(PRESENT)));
            let count = of.saga.steps.len().max(at + 1);
            of.saga.steps.resize_with(count, || Step::pending(Uuid::nil()));
            of.saga.undos.resize(count, None);
            for data in [&mut of.inputs, &mut of.outputs, &mut of.undo_outputs] {
                data.resize(count, None);
            }
        }
        let step = &mut of.saga.steps[at];
        step.id = row.uuid(3).expect(PRESENT);
        step.status = StepStatus::of(&row.text(4).expect(PRESENT)).expect("as its check has it");
        if step.status == StepStatus::Pending && at >= of.saga.current {
            // Nothing has happened to it.
            continue;
        }
        step.effort = effort(&row, 5);
        step.timeout_at = row.time(15).map(|time| time.0);
        step.effect_possible = row.bool(16).unwrap_or(false);
        step.needs_undo = row.bool(17).unwrap_or(false);
        step.compensated_at = row.time(18).map(|time| time.0);
        step.child = row.uuid(19);
        of.inputs[at] = row.json(20);
        of.outputs[at] = row.json(21);
    }
    for (place, mut steps) in names {
        steps.sort_unstable();
        let names = steps.into_iter().map(|(_, name)| name).collect();
        held[place].plan = Rc::new(Plan::of_client(names));
    }
    Ok(())
}

fn undos(
    session: &Session,
    ids: &[Uuid],
    places: &HashMap<Uuid, usize>,
    held: &mut [Held],
) -> Result<(), Error> {
    for row in session.run(&UNDOS, &[Arg::UuidArray(ids)])?.iter() {
        let of = &mut held[places[&row.uuid(1).expect(PRESENT)]];
        let at = usize::try_from(row.int(2).expect(PRESENT) - 1).expect("steps count from 1");
        of.saga.undos[at] = Some(Undo {
            id: row.uuid(3).expect(PRESENT),
            status: UndoStatus::of(&row.text(4).expect(PRESENT)).expect("as its check has it"),
            effort: effort(&row, 5),
            dirty: false,
        });
        of.undo_outputs[at] = row.json(15);
    }
    Ok(())
}

/// Types of which there is work.
pub fn work_types(session: &Session) -> Result<Vec<String>, Error> {
    Ok(session.run(&WORK_TYPES, &[])?.iter().filter_map(|row| row.text(1)).collect())
}

/// The saga that a step belongs to, and its place there.
pub fn saga_of_step(session: &Session, step: Uuid) -> Result<(Uuid, usize), Error> {
    let row = session.run_latest(&SAGA_OF_STEP, &[Arg::Uuid(Some(step))])?.first();
    let row = row.ok_or(Error::StepNotFound { step })?;
    let at = usize::try_from(row.int(2).expect(PRESENT) - 1).expect("steps count from 1");
    Ok((row.uuid(1).expect(PRESENT), at))
}

/// What has become of a saga so far.
pub fn child_state(session: &Session, child: Uuid) -> Result<ChildState, Error> {
    let row = session.run(&STATE, &[Arg::Uuid(Some(child))])?.first();
    let Some(row) = row else {
        return Ok(ChildState::Failed(Failure::new("NB200", "the child is not there any more")));
    };
    Ok(match Status::of(&row.text(1).expect(PRESENT)) {
        Some(Status::Completed) => ChildState::Completed,
        Some(Status::Failed) => {
            let why = failure(row.text(2), row.text(3));
            ChildState::Failed(why.unwrap_or_else(|| Failure::new("NB214", "it failed")))
        }
        _ => ChildState::Open,
    })
}
