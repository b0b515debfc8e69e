//! What is true and what is believed of one key of a table with a history: a list of facts, each true for a while and
//! believed for a while, and what the table says. Instants are microseconds since 1970.

pub const FOREVER: i64 = i64::MAX;

/// With its begin, without its end.
pub type Period = (i64, i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub amount: i64,
    pub link: Option<i64>,
}

/// A transaction: the turn of the model's that it is, and when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    pub turn: u64,
    pub began: i64,
}

#[derive(Clone, Copy, Debug)]
pub struct Fact {
    pub row: Row,
    pub valid: Period,
    pub known: Period,
    by: Writer,
}

impl Fact {
    pub fn is_at(&self, valid: i64, known: i64) -> bool {
        let within = |period: Period, at: i64| period.0 <= at && at < period.1;
        within(self.valid, valid) && within(self.known, known.min(FOREVER - 1))
    }

    pub fn is_believed(&self) -> bool {
        self.known.1 == FOREVER
    }

    fn meets(&self, from: i64, to: i64) -> bool {
        self.valid.0 < to && from < self.valid.1
    }
}

/// A fact has come due that the table does not have, so it is not known what a statement is to change.
#[derive(Debug, PartialEq, Eq)]
pub struct Due;

#[derive(Clone, Debug, Default)]
pub struct History {
    facts: Vec<Fact>,
    /// What the table says.
    pub present: Option<Row>,
    /// The turn that changed the table last.
    pub changed: u64,
    /// The turn that recorded something last.
    pub recorded: u64,
}

impl History {
    /// What was there when the table was enabled.
    pub fn enabled(row: Row, valid_from: i64, by: Writer) -> History {
        let fact = Fact { row, valid: (valid_from, FOREVER), known: (by.began, FOREVER), by };
        History { facts: vec![fact], present: Some(row), changed: by.turn, recorded: by.turn }
    }

    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    pub fn believed(&self) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(|fact| fact.is_believed())
    }

    pub fn at(&self, valid: i64, known: i64) -> Option<&Fact> {
        self.facts.iter().find(|fact| fact.is_at(valid, known))
    }

    pub fn is_free(&self, from: i64, to: i64) -> bool {
        self.believed().all(|fact| !fact.meets(from, to))
    }

    /// By the clock of who works on it; but what others have recorded since, who come first here, is no later.
    fn now(&self, present: i64) -> i64 {
        let recorded = self.facts.iter().map(|fact| if fact.is_believed() { fact.known.0 } else { fact.known.1 });
        recorded.fold(present, i64::max)
    }

    /// The table does not say what is believed.
    pub fn is_due(&self, present: i64) -> bool {
        self.present != self.at(self.now(present), FOREVER).map(|fact| fact.row)
    }

    /// Since when a change of that time is known: the start of its transaction, but after whatever it replaces, and not
    /// before anything of the key that others have ended already.
    fn instant(&self, from: i64, to: i64, me: Writer) -> i64 {
        let replaced = self.believed().filter(|fact| fact.meets(from, to));
        let replaced = replaced.map(|fact| fact.known.0 + i64::from(fact.by != me));
        let ended = self.facts.iter().map(|fact| fact.known.1).filter(|end| *end != FOREVER);
        replaced.chain(ended).fold(me.began, i64::max)
    }

    /// What is believed of that time is so no more, but what `instead` says, if anything. How many facts it met.
    fn supersede(&mut self, from: i64, to: i64, at: i64, me: Writer, instead: Option<&dyn Fn(Row) -> Row>) -> usize {
        let (met, mut rest): (Vec<Fact>, Vec<Fact>) =
            self.facts.drain(..).partition(|fact| fact.is_believed() && fact.meets(from, to));
        for old in &met {
            // What a transaction takes back of its own was never known to anybody.
            if old.by != me {
                rest.push(Fact { known: (old.known.0, at), ..*old });
            }
            let mut piece = |valid: Period, row: Row| {
                if valid.0 < valid.1 {
                    rest.push(Fact { row, valid, known: (at, FOREVER), by: me });
                }
            };
            piece((old.valid.0, from), old.row);
            piece((to, old.valid.1), old.row);
            if let Some(instead) = instead {
                piece((old.valid.0.max(from), old.valid.1.min(to)), instead(old.row));
            }
        }
        self.facts = rest;
        self.recorded = if met.is_empty() { self.recorded } else { me.turn };
        met.len()
    }

    fn add(&mut self, row: Row, valid: Period, at: i64, me: Writer) {
        self.facts.push(Fact { row, valid, known: (at, FOREVER), by: me });
        self.recorded = me.turn;
    }

    /// A statement has the table say something else; `present` is the time by the clock, `moves`: its key is changed.
    /// Whether that changes anything that was believed.
    pub fn state(&mut self, row: Option<Row>, me: Writer, present: i64, moves: bool) -> Result<bool, Due> {
        let (was, present) = (self.present, self.now(present));
        if was == row {
            return Ok(false);
        }
        self.present = row;
        self.changed = me.turn;
        if let (Some(_), Some(newest), false) = (was, self.newest(was, me, present), moves) {
            self.renew(newest, row, me);
            return Ok(true);
        }
        self.settle(was.filter(|_| row.is_some()), me, present)
    }

    /// The open-ended fact that the table says and that was not recorded ahead of its time or corrected by this
    /// transaction.
    fn newest(&self, was: Option<Row>, me: Writer, present: i64) -> Option<usize> {
        let at = self.facts.iter().position(|fact| fact.is_at(present, FOREVER))?;
        let fact = self.facts[at];
        let is_usual = match fact.by == me {
            true => fact.valid.0 == fact.known.0 && self.present.is_some(),
            false => fact.valid.0 <= fact.known.0,
        };
        (fact.valid.1 == FOREVER && Some(fact.row) == was && is_usual).then_some(at)
    }

    /// Before it ended it was believed to go on; of the time before, nothing is believed otherwise now.
    fn renew(&mut self, newest: usize, row: Option<Row>, me: Writer) {
        let old = self.facts[newest];
        self.recorded = me.turn;
        if let (true, Some(row)) = (old.by == me, row) {
            self.facts[newest].row = row;
            return;
        }
        let at = me.began.max(old.known.0 + 1);
        self.facts[newest].valid.1 = at;
        self.facts.push(Fact { valid: (at, FOREVER), known: (old.known.0, at), ..old });
        if let Some(row) = row {
            self.add(row, (at, FOREVER), at, me);
        }
    }

    /// From now on it is believed what the table says: a changed row until the next fact that is scheduled, a deleted one
    /// with what was scheduled for it, a new one until the next fact.
    fn settle(&mut self, was: Option<Row>, me: Writer, present: i64) -> Result<bool, Due> {
        let believed = self.at(present, FOREVER).copied();
        if self.present == believed.map(|fact| fact.row) {
            return Ok(false);
        }
        if let Some(was) = was
            && believed.is_none_or(|fact| fact.by != me && fact.row != was)
        {
            return Err(Due);
        }
        let from = believed.map_or(me.began, |fact| fact.valid.0.max(me.began));
        let at = self.instant(from, FOREVER, me);
        match (self.present, believed) {
            (None, Some(fact)) => self.supersede(at.max(fact.valid.0), FOREVER, at, me, None),
            (Some(row), Some(fact)) => self.supersede(at.max(fact.valid.0), fact.valid.1, at, me, Some(&|_| row)),
            (Some(row), None) => {
                let ends = self.believed().map(|fact| fact.valid.1).filter(|end| *end <= present);
                let from = ends.fold(at, i64::max);
                let next = self.believed().filter(|fact| fact.valid.1 > from).map(|fact| fact.valid.0);
                let to = next.fold(FOREVER, i64::min);
                self.add(row, (from, to), at, me);
                return Ok(false);
            }
            (None, None) => unreachable!("they are the same"),
        };
        Ok(true)
    }

    /// A correction of a portion: another row, or none. How many facts it met.
    pub fn correct(&mut self, from: i64, to: i64, me: Writer, instead: Option<&dyn Fn(Row) -> Row>) -> usize {
        let at = self.instant(from, to, me);
        self.supersede(from, to, at, me, instead)
    }

    /// A fact in a time that is free.
    pub fn fill(&mut self, row: Row, from: i64, to: i64, me: Writer) {
        let at = self.instant(from, to, me);
        self.add(row, (from, to), at, me);
    }

    /// The table is brought up to what is believed. Whether that changed it.
    pub fn catch_up(&mut self, present: i64, turn: u64) -> bool {
        let believed = self.at(self.now(present), FOREVER).map(|fact| fact.row);
        let differs = self.present != believed;
        if differs {
            self.present = believed;
            self.changed = turn;
        }
        differs
    }
}
