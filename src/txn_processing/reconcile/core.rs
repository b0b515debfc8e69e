//! Which lines of an external statement are which postings: no server, no clock, no randomness, no floats.
//!
//! A match is made only where it is the only one possible: a line has one candidate, and that candidate has no other
//! line. What could go two ways stays open. The answer therefore depends on what the items say, not on their order.
#![forbid(unsafe_code)]

use super::pairs::{Fitting, Shelf, only_pairs, postings_for};
use super::subset::{Answer, Budget, subset};
use std::collections::{BTreeMap, HashMap};

pub use super::pairs::Item;

/// Rounds until nothing new is found; each match may make another one the only one possible.
const MAX_ROUNDS: usize = 100;

/// The ways to find a match, in the order they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    Reference,
    Date,
    OneToMany,
    ManyToOne,
    Subset,
}

impl Pass {
    pub const ALL: [Pass; 5] = [Pass::Reference, Pass::Date, Pass::OneToMany, Pass::ManyToOne, Pass::Subset];

    pub fn name(self) -> &'static str {
        match self {
            Pass::Reference => "reference",
            Pass::Date => "date",
            Pass::OneToMany => "one_to_many",
            Pass::ManyToOne => "many_to_one",
            Pass::Subset => "subset",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pass| pass.name() == name)
    }
}

/// What counts as the same.
#[derive(Clone, Debug)]
pub struct Rule {
    pub priority: i32,
    /// In the currency's smallest unit.
    pub amount_tolerance: u128,
    /// In millionths of the line's amount.
    pub amount_tolerance_ppm: u128,
    pub date_tolerance_days: i32,
    /// How far apart items of one reference may be.
    pub reference_window_days: i32,
    pub passes: Vec<Pass>,
}

impl Rule {
    /// How far a posting may be from a line of that magnitude: the larger of the two tolerances.
    fn tolerance(&self, line: u128) -> u128 {
        self.amount_tolerance.max(line.saturating_mul(self.amount_tolerance_ppm) / 1_000_000)
    }

    fn allows(&self, pass: Pass) -> bool {
        self.passes.contains(&pass)
    }
}

/// A match: indexes of lines and of postings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub priority: i32,
    pub pass: Pass,
    pub lines: Vec<usize>,
    pub postings: Vec<usize>,
    /// Postings less lines.
    pub difference: i128,
}

/// One side of the matching, and which of it is still open.
struct Side<'a> {
    items: &'a [Item],
    open: Vec<bool>,
}

impl<'a> Side<'a> {
    fn new(items: &'a [Item]) -> Self {
        Side { items, open: vec![true; items.len()] }
    }

    fn open(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.items.len()).filter(|&at| self.open[at])
    }

    fn sum(&self, members: &[usize]) -> i128 {
        members.iter().map(|&at| self.items[at].amount).sum()
    }
}

/// Members by what names them.
fn by_name<'a, N: Iterator<Item = &'a str>>(
    side: &'a Side,
    names: impl Fn(&'a Item) -> N,
) -> BTreeMap<&'a str, Vec<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for at in side.open() {
        for name in names(&side.items[at]) {
            groups.entry(name).or_default().push(at);
        }
    }
    groups
}

fn references(item: &Item) -> impl Iterator<Item = &str> {
    item.references.iter().map(String::as_str)
}

fn batch(item: &Item) -> impl Iterator<Item = &str> {
    item.batch.as_deref().into_iter()
}

/// How many days apart, and how far apart in amount by the line's magnitude.
type Stage<'r> = (i32, Box<dyn Fn(u128) -> u128 + 'r>);

struct Matching<'a> {
    lines: Side<'a>,
    postings: Side<'a>,
    found: Vec<Found>,
    budget: Budget,
}

impl Matching<'_> {
    /// Takes what a stage proposes: lines and postings. Two proposals that share an item could go two ways, so
    /// neither is taken.
    fn take(&mut self, rule: &Rule, pass: Pass, mut proposed: Vec<(Vec<usize>, Vec<usize>)>) {
        proposed.sort_unstable();
        proposed.dedup();
        let (mut lines_wanted, mut postings_wanted) = (HashMap::new(), HashMap::new());
        for (lines, postings) in &proposed {
            lines.iter().for_each(|&at| *lines_wanted.entry(at).or_insert(0) += 1);
            postings.iter().for_each(|&at| *postings_wanted.entry(at).or_insert(0) += 1);
        }
        for (lines, postings) in proposed {
            let alone = lines.iter().all(|at| lines_wanted[at] == 1)
                && postings.iter().all(|at| postings_wanted[at] == 1);
            if !alone {
                continue;
            }
            lines.iter().for_each(|&at| self.lines.open[at] = false);
            postings.iter().for_each(|&at| self.postings.open[at] = false);
            let difference = self.postings.sum(&postings) - self.lines.sum(&lines);
            self.found.push(Found { priority: rule.priority, pass, lines, postings, difference });
        }
    }

    fn pairs(&mut self, rule: &Rule, pass: Pass, pairs: Vec<(usize, usize)>) {
        self.take(rule, pass, pairs.into_iter().map(|(line, posting)| (vec![line], vec![posting])).collect());
    }

    fn groups(&mut self, rule: &Rule, pass: Pass, turned: bool, groups: Vec<(usize, Vec<usize>)>) {
        let sides = |(one, many)| if turned { (many, vec![one]) } else { (vec![one], many) };
        self.take(rule, pass, groups.into_iter().map(sides).collect());
    }

    /// The closest first: same day, then within the days; same amount, then within the tolerance.
    fn stages(rule: &Rule, days: i32) -> [Stage<'_>; 4] {
        let near = |line| rule.tolerance(line);
        [(0, Box::new(|_| 0)), (days, Box::new(|_| 0)), (0, Box::new(near)), (days, Box::new(near))]
    }

    fn by_reference(&mut self, rule: &Rule) {
        for (days, tolerance) in Self::stages(rule, rule.reference_window_days) {
            let postings = by_name(&self.postings, references);
            let mut pairs = Vec::new();
            for (name, lines) in by_name(&self.lines, references) {
                let Some(named) = postings.get(name) else { continue };
                let lines = (self.lines.items, &lines[..]);
                pairs.extend(only_pairs(lines, (self.postings.items, named), days, &*tolerance));
            }
            self.pairs(rule, Pass::Reference, pairs);
        }
    }

    fn by_date(&mut self, rule: &Rule) {
        for (days, tolerance) in Self::stages(rule, rule.date_tolerance_days) {
            let (lines, postings): (Vec<_>, Vec<_>) =
                (self.lines.open().collect(), self.postings.open().collect());
            let sides = ((self.lines.items, &lines[..]), (self.postings.items, &postings[..]));
            let pairs = only_pairs(sides.0, sides.1, days, &*tolerance);
            self.pairs(rule, Pass::Date, pairs);
        }
    }

    /// One of the first side against several of the other: which, and those.
    fn grouped(&mut self, rule: &Rule, pass: Pass) {
        let turned = pass == Pass::ManyToOne;
        for stage in 0..4 {
            let (ones, many) =
                if turned { (&self.postings, &self.lines) } else { (&self.lines, &self.postings) };
            let groups = match stage {
                0 => named_groups(rule, turned, ones, many, &by_name(many, references)),
                1 => named_groups(rule, turned, ones, many, &by_name(many, batch)),
                2 => day_groups(rule, ones, many, |item| item.batch.as_deref().map(|b| (b, false))),
                _ => day_groups(rule, ones, many, |item| Some(("", item.amount < 0))),
            };
            self.groups(rule, pass, turned, groups);
        }
    }

    /// Several that happen to add up, as long as there is one way only.
    fn subsets(&mut self, rule: &Rule) {
        for turned in [false, true] {
            let (ones, many) =
                if turned { (&self.postings, &self.lines) } else { (&self.lines, &self.postings) };
            let shelf = Shelf::of(many.items, many.open());
            let mut found: Vec<(usize, Vec<usize>)> = Vec::new();
            for one in ones.open() {
                let item = &ones.items[one];
                let wanted = item.amount.unsigned_abs();
                let near = shelf.near(item, rule.date_tolerance_days).filter(|(m, _)| *m < wanted);
                if let Answer::Only(members) = subset(wanted, near, &mut self.budget) {
                    found.push((one, members));
                }
            }
            self.groups(rule, Pass::Subset, turned, found);
        }
    }

    fn run(&mut self, rule: &Rule) {
        for pass in Pass::ALL.into_iter().filter(|&pass| rule.allows(pass)) {
            match pass {
                Pass::Reference => self.by_reference(rule),
                Pass::Date => self.by_date(rule),
                Pass::OneToMany | Pass::ManyToOne => self.grouped(rule, pass),
                Pass::Subset => self.subsets(rule),
            }
        }
    }
}

/// Groups that carry the reference of the one item that they add up to, within the tolerance.
fn named_groups(
    rule: &Rule,
    turned: bool,
    ones: &Side,
    many: &Side,
    groups: &BTreeMap<&str, Vec<usize>>,
) -> Vec<(usize, Vec<usize>)> {
    let mut answer = Vec::new();
    for (name, named) in by_name(ones, references) {
        let Some(group) = groups.get(name).filter(|group| group.len() > 1) else { continue };
        let sum = many.sum(group);
        let fits = |one: &usize| {
            let item = &ones.items[*one];
            let line = if turned { sum } else { item.amount };
            let near =
                |at: &usize| many.items[*at].day.abs_diff(item.day) <= rule.reference_window_days as u32;
            (sum < 0) == (item.amount < 0)
                && sum.abs_diff(item.amount) <= rule.tolerance(line.unsigned_abs())
                && group.iter().all(near)
        };
        let mut fitting = named.iter().filter(|one| fits(one));
        if let (Some(&one), None) = (fitting.next(), fitting.next()) {
            answer.push((one, group.clone()));
        }
    }
    answer
}

/// All items of one day and kind, where they add up exactly to one item near that day.
fn day_groups<'a, K: Ord>(
    rule: &Rule,
    ones: &Side,
    many: &'a Side,
    kind: impl Fn(&'a Item) -> Option<K>,
) -> Vec<(usize, Vec<usize>)> {
    let mut groups: BTreeMap<(i32, K), Vec<usize>> = BTreeMap::new();
    for at in many.open() {
        let item = &many.items[at];
        if let Some(kind) = kind(item) {
            groups.entry((item.day, kind)).or_default().push(at);
        }
    }
    let groups: Vec<_> = groups.into_iter().filter(|(_, group)| group.len() > 1).collect();
    let sums: Vec<Item> = groups
        .iter()
        .map(|((day, _), group)| Item { amount: many.sum(group), day: *day, ..Item::default() })
        .collect();
    let (open, all): (Vec<_>, Vec<_>) = (ones.open().collect(), (0..sums.len()).collect());
    let pairs = only_pairs((ones.items, &open), (&sums, &all), rule.date_tolerance_days, &|_| 0);
    pairs.into_iter().map(|(one, sum)| (one, groups[sum].1.clone())).collect()
}

/// All matches between open lines and open postings. Applied to what it leaves open it finds nothing more.
pub fn matched(lines: &[Item], postings: &[Item], rules: &[Rule]) -> Vec<Found> {
    let sides = (Side::new(lines), Side::new(postings));
    let mut matching =
        Matching { lines: sides.0, postings: sides.1, found: Vec::new(), budget: Budget::default() };
    for _ in 0..MAX_ROUNDS {
        let before = matching.found.len();
        rules.iter().for_each(|rule| matching.run(rule));
        if matching.found.len() == before {
            break;
        }
    }
    matching.found
}

/// For each open line, whether there is a posting that it may be, which some rule would take were it the only one.
pub fn ambiguous(lines: &[Item], postings: &[Item], rules: &[Rule]) -> Vec<bool> {
    let all = Shelf::of(postings, 0..postings.len());
    let side = Side::new(postings);
    let named: BTreeMap<&str, Shelf> = by_name(&side, references)
        .into_iter()
        .map(|(name, members)| (name, Shelf::of(postings, members.into_iter())))
        .collect();
    let may_be = |line: &Item, rule: &Rule| {
        let tolerance = |magnitude| rule.tolerance(magnitude);
        let found = |shelf, days| postings_for(line, shelf, days, &tolerance) != Fitting::None;
        rule.allows(Pass::Date) && found(&all, rule.date_tolerance_days)
            || rule.allows(Pass::Reference)
                && references(line)
                    .any(|name| named.get(name).is_some_and(|shelf| found(shelf, rule.reference_window_days)))
    };
    lines.iter().map(|line| rules.iter().any(|rule| may_be(line, rule))).collect()
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
