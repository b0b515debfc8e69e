//! Commands and projections: what they work on, how they are asked for, and drawn at random.

mod rules;

pub use rules::CQRS;

use crate::generate::Generator;
use crate::op::Op;
use neobank_sessions::{Decimal, Uuid};

/// The handlers and the tables of projections, as an application has them. What the handler of Note does has no id of
/// its own, so that it would be there twice if it were done twice.
pub const SETUP: &str = r#"
create function public.note(command cqrs.commands) returns jsonb language plpgsql as $$
begin
    perform event_store.append_event(command.aggregate_type, command.aggregate_id, 'FundsDeposited',
        jsonb_build_object('amount', command.payload -> 'amount'), (command.payload ->> 'expected')::int,
        jsonb_build_object('causation_id', command.command_id));
    return '{"noted": true}';
end $$;
create function public.pay_in(command cqrs.commands) returns jsonb language sql as $$
    select pg_catalog.to_jsonb(txn_processing.deposit((command.payload ->> 'account')::uuid,
        (command.payload ->> 'amount')::numeric, transaction_id => command.command_id))
$$;
select cqrs.register_handler('Note', 'public.note', 3);
select cqrs.register_handler('PayIn', 'public.pay_in', 3);
create table public.tallied (aggregate_id uuid primary key, events int not null, last_version int not null);
create function public.tally(event event_store.events, target regclass) returns void language plpgsql as $$
begin
    execute format('insert into %s as t values ($1, 1, $2)
                    on conflict (aggregate_id) do update set events = t.events + 1, last_version = $2', target)
    using event.aggregate_id, event.event_version;
end $$;
create table public.copied (seq bigint generated always as identity, event_id uuid primary key,
                            global_position bigint not null, event_type text not null, event_data jsonb not null);
create function public.copy(event event_store.events, target regclass) returns void language plpgsql as $$
begin
    execute format('insert into %s (event_id, global_position, event_type, event_data) values ($1, $2, $3, $4)', target)
    using event.event_id, event.global_position, event.event_type, event.event_data;
end $$;
select cqrs.create_projection('tallied', 'public.tally', 'public.tallied', '{}', 'inline');
select cqrs.create_projection('copied', 'public.copy', 'public.copied', '{}', 'async')
"#;

pub const PROCESS: &str = "select command_id, status, code from cqrs.process_commands(1)";

/// As many attempts as the handlers are registered with.
pub const MAX_ATTEMPTS: i32 = 3;

#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub id: Uuid,
    /// An event on the aggregate if there is no account; else a deposit.
    pub account: Option<Uuid>,
    pub aggregate: Uuid,
    pub aggregate_type: &'static str,
    pub cents: i64,
    pub expected: Option<i32>,
    pub queued: bool,
}

impl Command {
    pub fn amount(&self) -> Decimal {
        Decimal::new(self.cents, 2)
    }

    /// The data of the event that it makes.
    pub fn data(&self) -> String {
        format!("{{\"amount\": {}}}", self.amount())
    }

    pub fn metadata(&self) -> String {
        format!("{{\"causation_id\": \"{}\"}}", self.id)
    }

    pub fn sql(&self) -> String {
        let Command { id, aggregate, aggregate_type, queued, .. } = self;
        let mode = if *queued { "queued" } else { "immediate" };
        let (of_type, with) = match self.account {
            Some(account) => ("PayIn", format!("\"account\": \"{account}\"")),
            None => ("Note", format!("\"expected\": {}", self.expected.map_or("null".to_owned(), |it| it.to_string()))),
        };
        let amount = self.amount();
        format!(
            "select r ->> 'status', r ->> 'attempts', jsonb_array_length(r -> 'events') \
             from cqrs.submit_command('{of_type}', '{aggregate_type}', '{{\"amount\": {amount}, {with}}}', \
             '{aggregate}', '{id}', '{mode}') r"
        )
    }
}

/// What is done to one of the two projections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Projecting {
    Run { at_most: i32 },
    Rebuild { name: &'static str },
    Step { name: &'static str, at_most: i32 },
}

impl Projecting {
    pub fn name(self) -> &'static str {
        match self {
            Projecting::Run { .. } => "projection",
            Projecting::Rebuild { .. } => "rebuild",
            Projecting::Step { .. } => "step of a rebuild",
        }
    }

    pub fn sql(self) -> String {
        match self {
            Projecting::Run { at_most } => format!("select cqrs.run_projection('copied', {at_most})"),
            Projecting::Rebuild { name } => format!("select cqrs.rebuild_projection('{name}') is null"),
            Projecting::Step { name, at_most } => format!("select cqrs.run_rebuild('{name}', {at_most})"),
        }
    }
}

impl Generator<'_> {
    pub(crate) fn command(&mut self) -> Op {
        let Op::Append(append) = self.append(false) else { unreachable!("it draws an append") };
        let place = self.dice.below(self.world.places.len());
        let account = self.one_in(3).then(|| self.world.places[place].id);
        Op::Submit(Command {
            id: self.id(),
            account,
            aggregate: append.aggregate,
            aggregate_type: append.aggregate_type,
            cents: self.dice.below(10_000) as i64,
            expected: append.expected.filter(|expected| *expected >= -1),
            queued: self.one_in(2),
        })
    }

    pub(crate) fn project(&mut self) -> Op {
        let name = self.pick(&["copied", "copied", "copied", "tallied"]);
        let at_most = 1 + self.dice.below(400) as i32;
        Op::Project(match self.dice.below(8) {
            0 => Projecting::Rebuild { name },
            1..4 => Projecting::Step { name, at_most: 2 * at_most },
            _ => Projecting::Run { at_most },
        })
    }
}
