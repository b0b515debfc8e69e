//! The upgrade script from a release to what the sources make now.
//!
//! Both install scripts are taken apart into statements. What only the new one has is taken over as it stands and in its
//! order; functions and views of the same signature are replaced, comments and the list of what a dump holds are set
//! anew. Everything else that changed or vanished needs somebody who thinks about the rows and rights that are there:
//! a section of the part written by hand.

mod by_hand;
mod rules;
mod split;

use by_hand::Part;
pub use split::{Statement, statements};
use std::collections::{HashMap, HashSet};

/// The two install scripts and what was written by hand.
pub struct Sources<'a> {
    pub frozen: &'a str,
    pub fresh: &'a str,
    pub by_hand: &'a str,
    /// Runs last in every upgrade.
    pub finish: &'a str,
}

/// What is new, and what is different under the same name.
struct Difference<'a> {
    /// In the order of the fresh script.
    steps: Vec<Step<'a>>,
    /// Without a successor of the same name.
    vanished: Vec<&'a Statement>,
}

/// A statement that the frozen script does not have.
struct Step<'a> {
    statement: &'a Statement,
    /// What to run for it; none where only a section written by hand knows.
    text: Option<String>,
}

/// The statements of the upgrade, or a line for each statement that nothing covers.
pub fn upgrade(sources: &Sources) -> Result<Vec<String>, Vec<String>> {
    let (frozen, fresh) = (statements(sources.frozen), statements(sources.fresh));
    let part = Part::read(sources.by_hand).map_err(|fault| vec![fault])?;
    let difference = compare(&frozen, &fresh);
    let mut faults = Vec::new();
    let (mut used, mut written) = (HashSet::new(), HashSet::new());
    let mut script: Vec<String> = part.first();
    for statement in &difference.vanished {
        match part.section_for(&rules::name(statement)) {
            // Where the same section also covers what took its place, it stands there.
            Some(section) if part.has_new(section) => _ = used.insert(section),
            Some(section) if written.insert(section) => script.extend(part.body(section, &[])),
            Some(_) => {}
            None => faults.push(format!("vanished: {}", rules::name(statement))),
        }
    }
    for step in &difference.steps {
        let name = rules::name(step.statement);
        match (part.section_for(&name), &step.text) {
            (Some(section), _) if written.insert(section) => {
                script.extend(part.body(section, &difference.texts(&part, section)));
            }
            (Some(_), _) => {}
            (None, Some(text)) => script.push(text.clone()),
            (None, None) => faults.push(format!("changed: {name}")),
        }
    }
    for section in part.sections().filter(|section| !written.contains(section)) {
        let what = if used.contains(&section) { "nothing is new of" } else { "covers nothing" };
        faults.push(format!("{what}: {}", part.title(section)));
    }
    script.extend(part.last());
    script.extend(statements(sources.finish).into_iter().map(|statement| statement.text));
    if faults.is_empty() { Ok(script) } else { Err(faults) }
}

impl Difference<'_> {
    /// The fresh statements that a section covers.
    fn texts(&self, part: &Part, section: usize) -> Vec<String> {
        let covered = self.steps.iter().filter(|step| part.section_for(&rules::name(step.statement)) == Some(section));
        covered.map(|step| step.statement.text.clone()).collect()
    }
}

fn compare<'a>(frozen: &'a [Statement], fresh: &'a [Statement]) -> Difference<'a> {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for statement in frozen {
        *left.entry(&statement.normal).or_default() += 1;
    }
    let mut is_same = |statement: &Statement| {
        let count = left.get_mut(statement.normal.as_str()).filter(|count| **count > 0);
        count.map(|count| *count -= 1).is_some()
    };
    let changed: Vec<&Statement> = fresh.iter().filter(|statement| !is_same(statement)).collect();
    let kept: HashSet<&str> = fresh.iter().map(|statement| statement.normal.as_str()).collect();
    let gone: Vec<&Statement> = frozen.iter().filter(|statement| !kept.contains(statement.normal.as_str())).collect();
    let names_gone: HashSet<String> = gone.iter().map(|statement| rules::name(statement)).collect();
    let names_new: HashSet<String> = changed.iter().map(|statement| rules::name(statement)).collect();
    let steps = changed.into_iter().filter_map(|statement| {
        let has_predecessor = names_gone.contains(&rules::name(statement));
        let text = match rules::rule(statement) {
            rules::Rule::LeaveOut => return None,
            rules::Rule::Replace if has_predecessor => Some(rules::or_replace(&statement.text)),
            rules::Rule::Plain if has_predecessor => None,
            _ => Some(statement.text.clone()),
        };
        Some(Step { statement, text })
    });
    let steps = steps.collect();
    let needs_thought = |statement: &&Statement| {
        matches!(rules::rule(statement), rules::Rule::Plain | rules::Rule::Replace)
            && !names_new.contains(&rules::name(statement))
    };
    Difference { steps, vanished: gone.into_iter().filter(needs_thought).collect() }
}

/// The script's text.
pub fn script(from: &str, to: &str, statements: &[String]) -> String {
    let mut text = format!(
        "-- Made by scripts/upgrade-script out of two install scripts and sql/upgrade/{from}--{to}.sql: not to be edited.\n\
         \\echo Use \"ALTER EXTENSION neobank UPDATE TO '{to}'\" to load this file. \\quit\n"
    );
    for statement in statements {
        text.push_str(&format!("\n{statement};\n"));
    }
    text
}

#[cfg(test)]
mod tests;
