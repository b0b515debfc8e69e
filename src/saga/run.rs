//! Running sagas: steps that are functions are called here, each in a subtransaction, and what became of them is written
//! in the same transaction.

use super::core::{Action, ChildUndoing, Failure, Function, Micros, Next, Status, Undoing};
use super::definitions;
use super::held::Held;
use super::running::Running;
use super::store::{self, NewSaga, Which};
use crate::error::Error;
use crate::guc;
use crate::pg::alarm::Alarm;
use crate::pg::call::{ActingAs, Value, call};
use crate::pg::ereport;
use crate::pg::server::{self, LockPatience};
use crate::pg::subtransaction::{attempted, check_deferred};
use crate::pg::{Arg, JsonDatum, Session, Statement, Type};
use crate::txn_processing::bounds::bounded_json;
use serde_json::{Value as Json, json};
use uuid::Uuid;

pub const MAX_DATA_BYTES: usize = 1 << 20;
pub const MAX_DATA_DEPTH: usize = 64;

static TAKE_SIGNAL: Statement = Statement::new(
    c"UPDATE saga.signals g SET consumed_by = $3, consumed_at = clock_timestamp()
      WHERE g.signal_id = (SELECT u.signal_id FROM saga.signals u
                           WHERE u.saga_id = $1 AND u.name = $2 AND u.consumed_by IS NULL
                           ORDER BY u.signal_no LIMIT 1)
      RETURNING g.payload",
    &[Type::Uuid, Type::Text, Type::Int],
);

static OUTPUTS: Statement = Statement::new(
    c"SELECT jsonb_build_object('saga_id', $1, 'outputs', coalesce(
                 (SELECT jsonb_object_agg(p.step_name, p.output_data) FROM saga.saga_steps p
                  WHERE p.saga_id = $1 AND p.output_data IS NOT NULL), '{}'))",
    &[Type::Uuid],
);

/// A call that runs sagas.
pub struct Runner<'a> {
    session: &'a Session,
    /// Whether steps have had effects already, of which others may wait.
    holds_something: bool,
    /// Whether the transaction's deferred constraints held when it began, so that a step is what violates one.
    checks_deferred: bool,
}

/// Runs locked sagas as far as they can go, and writes what became of them.
pub fn run(session: &Session, held: &mut [Held], caller: &str) -> Result<(), Error> {
    let _running = Running::begin(held.iter().map(|held| held.saga.id));
    let checks_deferred = attempted(check_deferred)?.is_ok();
    let mut runner = Runner { session, holds_something: false, checks_deferred };
    for held in held.iter_mut() {
        runner.drive(held)?;
    }
    for held in held.iter_mut().filter(|held| Running::is_nudged(held.saga.id)) {
        if !held.saga.status.has_ended() && held.saga.status != Status::Parked {
            held.saga.due_at = Some(server::clock_micros());
        }
    }
    store::save(session, held, caller)?;
    store::wake_parents(session, held, server::clock_micros())
}

impl Runner<'_> {
    fn drive(&mut self, held: &mut Held) -> Result<(), Error> {
        loop {
            let next = held.machine().next();
            let goes_on = match next {
                Next::Rest => false,
                Next::Call { step } => {
                    self.call_action(held, step)?;
                    true
                }
                Next::CallUndo { step } => {
                    self.call_undo(held, step)?;
                    true
                }
                Next::TakeSignal { step, name } => self.take_signal(held, step, &name)?,
                Next::StartChild { step, saga_type } => {
                    self.start_child(held, step, &saga_type)?;
                    true
                }
                Next::LookAtChild { step, child } => self.look_at_child(held, step, child)?,
                Next::UndoChild { step, child } => self.undo_child(held, step, child)?,
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Calls a step's function with the rights of whoever started the saga. Nothing is answered where it had not ended
    /// by `until`.
    fn called(
        &mut self,
        held: &Held,
        function: &Function,
        effect: Uuid,
        until: Option<Micros>,
    ) -> Result<Option<Result<Option<JsonDatum>, Failure>>, Error> {
        let outputs = held.all_outputs()?;
        let values =
            [Value::Uuid(held.saga.id), Value::Uuid(effect), Value::Json(held.context), Value::Json(outputs)];
        let _patience = LockPatience::giving_way(guc::queue_lock_timeout_ms(), self.holds_something);
        let alarm = until.map(Alarm::at);
        Running::calls(Some((held.saga.id, effect)));
        let attempt = attempted(|| {
            let gone = || Error::SubmitterGone { role: held.started_by.clone() };
            let role = server::role_named(&held.started_by).ok_or_else(gone)?;
            let _role = ActingAs::role(role);
            let answer = call(&function.schema, &function.name, &values, true)?;
            let answer = answer.map(JsonDatum::of_bytes);
            answer.map_or(Ok(()), |json| bounded_json("output", json, MAX_DATA_BYTES, MAX_DATA_DEPTH))?;
            if self.checks_deferred {
                check_deferred()?;
            }
            Ok(answer)
        });
        Running::calls(None);
        if let (Some(alarm), Err(Error::Server(error))) = (&alarm, &attempt)
            && alarm.has_cancelled()
            && error.is_cancel()
        {
            return Ok(None);
        }
        let attempt = attempt?;
        self.holds_something |= attempt.is_ok();
        Ok(Some(attempt.map_err(of_server)))
    }

    fn call_action(&mut self, held: &mut Held, step: usize) -> Result<(), Error> {
        let plan = held.plan.clone();
        let Action::Call(function) = &plan.steps[step].action else { panic!("the step is a call") };
        let until = held.machine().call_ends(step);
        match self.called(held, function, held.saga.steps[step].id, until)? {
            Some(Ok(output)) => {
                held.outputs[step] = output;
                held.machine().called(step);
            }
            Some(Err(failure)) => held.machine().call_failed(step, failure),
            None => held.machine().call_interrupted(step),
        }
        Ok(())
    }

    fn call_undo(&mut self, held: &mut Held, step: usize) -> Result<(), Error> {
        held.name_undos();
        let plan = held.plan.clone();
        let Some(Undoing::Call(function)) = &plan.steps[step].undoing else {
            panic!("its undoing is a call")
        };
        let effect = held.saga.undos[step].as_ref().expect("it has begun").id;
        match self.called(held, function, effect, None)?.expect("there is no end to it") {
            Ok(output) => {
                held.undo_outputs[step] = output;
                held.machine().undo_called(step);
            }
            Err(failure) => held.machine().undo_failed(step, failure),
        }
        Ok(())
    }

    fn take_signal(&self, held: &mut Held, step: usize, name: &str) -> Result<bool, Error> {
        let args = [Arg::Uuid(Some(held.saga.id)), Arg::Text(Some(name)), Arg::Int(Some(step as i32 + 1))];
        let row = self.session.run_latest(&TAKE_SIGNAL, &args)?.first();
        if let Some(row) = &row {
            held.outputs[step] = row.json(1);
        }
        Ok(held.machine().signalled(step, row.is_some()))
    }

    fn start_child(&self, held: &mut Held, step: usize, saga_type: &str) -> Result<(), Error> {
        let (version, plan) = match definitions::newest(self.session, saga_type) {
            Ok(found) => found,
            Err(error @ Error::SagaTypeUnknown { .. }) => {
                let failure = of_server(ereport::Failure::of(error));
                held.machine().child_not_started(step, failure);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let names: Vec<String> = plan.steps.iter().map(|step| step.name.clone()).collect();
        let context = childs_context(held, step)?;
        let new = NewSaga {
            saga_type,
            version: Some(version),
            names: &names,
            context,
            key: None,
            started_by: &held.started_by,
            deadline: None,
            parent: Some((held.saga.id, step as i32 + 1)),
        };
        let child = store::start(self.session, &new, server::clock_micros())?;
        held.machine().child_started(step, child.expect("it has no key that may be taken"));
        Ok(())
    }

    fn look_at_child(&self, held: &mut Held, step: usize, child: Uuid) -> Result<bool, Error> {
        let state = store::child_state(self.session, child)?;
        if state == super::core::ChildState::Completed {
            let row = self.session.run(&OUTPUTS, &[Arg::Uuid(Some(child))])?.first();
            held.outputs[step] = row.and_then(|row| row.json(1));
        }
        Ok(held.machine().child_is(step, state))
    }

    /// A child that somebody else has, or that is in this batch, is looked at later: whoever holds a saga does not wait
    /// for another one.
    fn undo_child(&self, held: &mut Held, step: usize, child: Uuid) -> Result<bool, Error> {
        let mut found = if Running::has(child) {
            Vec::new()
        } else {
            store::load(self.session, Which::OneIfFree(child))?
        };
        let undoing = match found.first_mut() {
            Some(child) => child.machine().undo_with_parent(),
            None => ChildUndoing::UnderWay,
        };
        store::save(self.session, &mut found, &held.started_by)?;
        Ok(held.machine().child_undoing(step, undoing))
    }
}

/// Of the parent's context, and under `parent` what the parent has come to.
fn childs_context(held: &Held, step: usize) -> Result<JsonDatum, Error> {
    let mut context = match held.context.tree() {
        Json::Object(object) => object,
        other => [("context".to_owned(), other)].into_iter().collect(),
    };
    let outputs = held.all_outputs()?.tree();
    let name = &held.plan.steps[step].name;
    context.insert("parent".into(), json!({"saga_id": held.saga.id, "step_name": name, "outputs": outputs}));
    Ok(JsonDatum::of_value(&Json::Object(context)))
}

fn of_server(failure: ereport::Failure) -> Failure {
    let message = match failure.detail {
        Some(detail) => format!("{}: {detail}", failure.message),
        None => failure.message,
    };
    Failure { code: Some(failure.sqlstate), message }
}
