//! How bad a finding is, whoever finds it.
#![forbid(unsafe_code)]

/// In the order of urgency. What cannot be told is worse than what is known to be harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Ok,
    Info,
    Unknown,
    Warning,
    Critical,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Info => "info",
            Severity::Unknown => "unknown",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }

    pub fn of_word(word: &str) -> Option<Severity> {
        [Severity::Ok, Severity::Info, Severity::Unknown, Severity::Warning, Severity::Critical]
            .into_iter()
            .find(|severity| severity.word() == word)
    }

    /// Whether who took note of a finding when it was `noted` knows of it as it is now.
    pub fn is_covered_by(self, noted: Severity) -> bool {
        if self == Severity::Unknown || noted == Severity::Unknown { self == noted } else { self <= noted }
    }
}
