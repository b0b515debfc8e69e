//! The part of an upgrade that is written by hand, in sections:
//!
//! ```sql
//! -- @first
//! runs before everything else
//! -- @for INSERT INTO neobank.access_rights
//! runs in place of the changed or vanished statements whose name begins so; a line of its own,
//! -- @new
//! stands for them as the new install script has them
//! -- @last
//! runs after everything else
//! ```

use crate::split::statements;

pub struct Part {
    sections: Vec<Section>,
}

struct Section {
    title: String,
    lines: Vec<String>,
}

const NEW: &str = "-- @new";

impl Part {
    pub fn read(text: &str) -> Result<Part, String> {
        let mut sections: Vec<Section> = Vec::new();
        for line in text.lines() {
            let title = line.strip_prefix("-- @").filter(|_| line.trim() != NEW);
            if let Some(title) = title {
                if !(title == "first" || title == "last" || title.starts_with("for ")) {
                    return Err(format!("no such section: {line}"));
                }
                sections.push(Section { title: title.trim().to_owned(), lines: Vec::new() });
            } else if let Some(section) = sections.last_mut() {
                section.lines.push(line.to_owned());
            } else if !(line.trim().is_empty() || line.starts_with("--")) {
                return Err(format!("before the first section: {line}"));
            }
        }
        Ok(Part { sections })
    }

    fn named(&self, title: &str) -> Vec<String> {
        let lines = self.sections.iter().filter(|section| section.title == title).flat_map(|section| &section.lines);
        let text = lines.fold(String::new(), |text, line| text + line + "\n");
        statements(&text).into_iter().map(|statement| statement.text).collect()
    }

    pub fn first(&self) -> Vec<String> {
        self.named("first")
    }

    pub fn last(&self) -> Vec<String> {
        self.named("last")
    }

    /// Those that cover statements.
    pub fn sections(&self) -> impl Iterator<Item = usize> {
        (0..self.sections.len()).filter(|&at| self.sections[at].title.starts_with("for "))
    }

    pub fn title(&self, section: usize) -> &str {
        &self.sections[section].title["for ".len()..]
    }

    pub fn section_for(&self, name: &str) -> Option<usize> {
        self.sections().find(|&at| name.starts_with(self.title(at)))
    }

    /// Whether it says where the new statements go.
    pub fn has_new(&self, section: usize) -> bool {
        self.sections[section].lines.iter().any(|line| line.trim() == NEW)
    }

    /// Its statements, with the new ones where it wants them.
    pub fn body(&self, section: usize, new: &[String]) -> Vec<String> {
        let mut bodies = vec![String::new()];
        for line in &self.sections[section].lines {
            if line.trim() == NEW {
                bodies.push(String::new());
            } else {
                let body = bodies.last_mut().expect("there is one from the start");
                body.push_str(line);
                body.push('\n');
            }
        }
        let mut found = Vec::new();
        for (at, body) in bodies.iter().enumerate() {
            if at > 0 {
                found.extend(new.iter().cloned());
            }
            found.extend(statements(body).into_iter().map(|statement| statement.text));
        }
        found
    }
}
