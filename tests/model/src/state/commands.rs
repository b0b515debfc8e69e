//! Commands, and what projections answer.

use super::{Circumstances, State, done};
use crate::answer::{Answer, Faults, agree};
use crate::cqrs::{Command, MAX_ATTEMPTS, Projecting};
use crate::events::{Append, NewEvent};
use crate::op::{Kind, Posting};
use neobank_sessions::Uuid;

#[derive(Clone, Debug)]
pub struct Commanded {
    pub command: Command,
    pub status: &'static str,
    pub attempts: i32,
    /// How many events it made.
    pub events: usize,
}

/// Nothing was done, and the command is tried again.
const PASSING: [&str; 3] = ["40001", "40P01", "55P03"];

impl State {
    fn effect(&self, command: &Command) -> Result<Posting, Append> {
        if let Some(to) = command.account {
            return Ok(Posting {
                id: command.id,
                kind: Kind::Deposit,
                from: None,
                to: Some(to),
                amount: command.amount(),
                currency: None,
                reference: None,
                effective_at: None,
                bank: None,
            });
        }
        let event = NewEvent {
            id: None,
            event_type: "FundsDeposited".to_owned(),
            data: command.data(),
            metadata: Some(command.metadata()),
            tags: None,
            stray: false,
        };
        let Command { aggregate, aggregate_type, expected, .. } = *command;
        // As a batch: the id is not told.
        Err(Append { aggregate, aggregate_type, events: vec![event], expected, batch: true })
    }

    /// What there is to refuse; without it, the effect takes place: how many events that makes.
    fn carry_out(&mut self, command: &Command, refused: Option<&str>) -> Result<usize, String> {
        match self.effect(command) {
            Ok(posting) => {
                let mut faults = Faults::default();
                let posted = self.draft(&posting, &mut faults);
                if let Some(code) = refused {
                    return faults.allow(code).map(|()| 0);
                }
                faults.allow_success()?;
                self.book(Some(posting.id), posted.expect("nothing is wrong with it"));
                Ok(usize::from(self.is_published()))
            }
            Err(append) => {
                let version = self.streams.get(&append.aggregate).map_or(0, |stream| stream.version) + 1;
                let seen = match refused {
                    Some(code) => Answer::Refused(code.to_owned()),
                    None => Answer::Done(vec![version.to_string()]),
                };
                self.accept_append(&append, &seen).map(|()| 1)
            }
        }
    }

    pub(super) fn accept_command(
        &mut self,
        command: &Command,
        seen: &Answer,
        how: Circumstances,
    ) -> Result<(), String> {
        if let Some(there) = self.commands.get(&command.id) {
            // How it is to be carried out is no content.
            if (Command { queued: there.command.queued, ..command.clone() }) != there.command {
                return agree("another command", seen, &Answer::Refused("NB120".to_owned()));
            }
            let told = format!("{}|{}|{}", there.status, there.attempts, there.events);
            // A retry holds nothing: it may have been answered before what was done to the command meanwhile.
            return match seen {
                Answer::Done(lines) if !how.alone && lines[0].starts_with("pending|") => Ok(()),
                _ => agree("a command that was submitted before", seen, &Answer::Done(vec![told])),
            };
        }
        let mut new = Commanded { command: command.clone(), status: "pending", attempts: 0, events: 0 };
        let lines = match seen {
            Answer::Refused(code) if command.queued => return Err(format!("a queued command is refused: {code}")),
            Answer::Refused(code) => return self.carry_out(command, Some(code)).map(|_| ()),
            Answer::Done(lines) => lines,
        };
        if !command.queued {
            let events = self.carry_out(command, None)?;
            new = Commanded { status: "completed", attempts: 1, events, ..new };
        }
        let told = format!("{}|{}|{}", new.status, new.attempts, new.events);
        self.commands.set(command.id, new);
        agree("a new command", lines[0].as_str(), &told)
    }

    pub(super) fn accept_processing(&mut self, seen: &Answer, how: Circumstances) -> Result<(), String> {
        if !how.read_committed {
            return agree("commands above READ COMMITTED", seen, &Answer::Refused("NB029".to_owned()));
        }
        let Some(line) = done(seen)?.first() else {
            // One that has failed before waits for its time.
            let fresh = |there: &&Commanded| there.status == "pending" && there.attempts == 0;
            let left = self.commands.rows().map(|(_, there)| there).find(fresh);
            return if how.alone { agree("left", left.map(|it| it.command.id), None) } else { Ok(()) };
        };
        let columns: Vec<&str> = line.split('|').collect();
        let id: Uuid = columns[0].parse().map_err(|e| format!("{e}: {line}"))?;
        let there = self.commands.get(&id).ok_or(format!("command {id} is unknown"))?.clone();
        agree("the status of a command that is carried out", there.status, "pending")?;
        let attempts = there.attempts + 1;
        let (status, events) = match (columns[1], columns[2]) {
            ("completed", "00000") => ("completed", self.carry_out(&there.command, None)?),
            (status @ ("failed" | "pending"), code) => {
                let passes = code == "NB101" || PASSING.contains(&code);
                agree(line, status == "pending", passes && attempts < MAX_ATTEMPTS)?;
                if how.checks(0) && (how.alone || !PASSING.contains(&code)) {
                    self.carry_out(&there.command, Some(code))?;
                }
                (if status == "failed" { "failed" } else { "pending" }, 0)
            }
            _ => return Err(format!("an outcome that cannot be: {line}")),
        };
        self.commands.set(id, Commanded { status, attempts, events, ..there });
        Ok(())
    }

    /// Of every command: its status and attempts.
    pub fn commands(&self) -> impl Iterator<Item = (&Uuid, &'static str, i32)> {
        self.commands.rows().map(|(id, there)| (id, there.status, there.attempts))
    }

    fn is_rebuilt(&self, name: &'static str) -> bool {
        self.rebuilt.get(&name).copied().unwrap_or(false)
    }

    pub(super) fn accept_projecting(
        &mut self,
        projecting: Projecting,
        seen: &Answer,
        how: Circumstances,
    ) -> Result<(), String> {
        let refused = |seen: &Answer, why: &str| agree(why, seen, &Answer::Refused("NB127".to_owned()));
        match projecting {
            Projecting::Run { at_most } => {
                let line = &done(seen)?[0];
                // Nothing where another session is at it.
                let read: i32 = if line.is_empty() { 0 } else { line.parse().map_err(|e| format!("{e}: {line}"))? };
                agree("no more than were asked for", read <= at_most, true)
            }
            Projecting::Rebuild { name } if self.is_rebuilt(name) => refused(seen, "a second rebuild"),
            Projecting::Rebuild { name } => {
                self.rebuilt.set(name, true);
                done(seen).map(|_| ())
            }
            Projecting::Step { .. } if !how.read_committed => {
                agree("a step above READ COMMITTED", seen, &Answer::Refused("NB029".to_owned()))
            }
            // Another session is at it, who may have come to its end meanwhile.
            Projecting::Step { .. } if !how.alone && *seen == Answer::Done(vec!["busy".to_owned()]) => Ok(()),
            Projecting::Step { name, .. } if !self.is_rebuilt(name) => refused(seen, "a step of no rebuild"),
            Projecting::Step { name, .. } => match done(seen)?[0].as_str() {
                "replaying" | "waiting" | "busy" => Ok(()),
                "done" => {
                    self.rebuilt.set(name, false);
                    Ok(())
                }
                other => Err(format!("a step of a rebuild answers {other}")),
            },
        }
    }
}
