//! The figures, per file, folder and in total.

use crate::runs::{File, Files};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many there are and how many of them ran.
#[derive(Default, Clone, Copy)]
pub struct Share {
    ran: usize,
    all: usize,
}

impl Share {
    fn of<K>(map: &BTreeMap<K, bool>) -> Share {
        Share { ran: map.values().filter(|ran| **ran).count(), all: map.len() }
    }

    fn percent(self) -> f64 {
        if self.all == 0 { 100.0 } else { 100.0 * self.ran as f64 / self.all as f64 }
    }

    fn add(&mut self, other: Share) {
        self.ran += other.ran;
        self.all += other.all;
    }
}

#[derive(Default, Clone, Copy)]
pub struct Figures {
    lines: Share,
    regions: Share,
    functions: Share,
}

impl Figures {
    fn of(file: &File) -> Figures {
        Figures {
            lines: Share::of(&file.lines),
            regions: Share::of(&file.regions),
            functions: Share::of(&file.functions),
        }
    }

    fn add(&mut self, other: Figures) {
        self.lines.add(other.lines);
        self.regions.add(other.regions);
        self.functions.add(other.functions);
    }

    fn json(self) -> Value {
        let share = |share: Share| json!({"ran": share.ran, "all": share.all});
        json!({"lines": share(self.lines), "regions": share(self.regions), "functions": share(self.functions)})
    }

    fn row(self, name: &str) -> String {
        let share = |s: Share| format!("{:>6} /{:>6} {:>6.1} %", s.ran, s.all, s.percent());
        format!("{name:<36}{}{}{}\n", share(self.lines), share(self.regions), share(self.functions))
    }

    pub fn sentence(self) -> String {
        let share = |s: Share, what: &str| format!("{} of {} {what} ({:.1} %)", s.ran, s.all, s.percent());
        let [lines, regions] = [share(self.lines, "lines"), share(self.regions, "regions")];
        format!("{lines}, {regions}, {}", share(self.functions, "functions"))
    }
}

fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

pub struct Table {
    files: BTreeMap<String, Figures>,
    folders: BTreeMap<String, Figures>,
    pub total: Figures,
}

pub fn add_up(files: &Files) -> Table {
    let mut table = Table { files: BTreeMap::new(), folders: BTreeMap::new(), total: Figures::default() };
    for (name, file) in files {
        let figures = Figures::of(file);
        table.files.insert(name.clone(), figures);
        table.folders.entry(folder(name).to_owned()).or_default().add(figures);
        table.total.add(figures);
    }
    table
}

impl Table {
    pub fn text(&self) -> String {
        let mut text = format!("{:<36}{:>23}{:>23}{:>23}\n", "", "lines", "regions", "functions");
        self.folders.iter().for_each(|(name, figures)| text.push_str(&figures.row(name)));
        text.push_str(&self.total.row("all"));
        text
    }

    pub fn json(&self) -> Value {
        let each = |of: &BTreeMap<String, Figures>| -> Value {
            of.iter().map(|(name, figures)| (name.clone(), figures.json())).collect()
        };
        json!({"total": self.total.json(), "folders": each(&self.folders), "files": each(&self.files)})
    }
}
