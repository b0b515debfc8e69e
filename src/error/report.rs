//! What is told of an error.

use super::Error;

/// What an error looks like to a person and to a program.
pub struct Report {
    pub sqlstate: &'static str,
    /// The `code` of the contract functions' JSON.
    pub word: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<&'static str>,
}

impl Error {
    /// The `code` of JSON answers and of batches.
    pub fn word(&self) -> &'static str {
        self.codes().1
    }

    pub fn report(&self) -> Report {
        let (sqlstate, word) = self.codes();
        let (message, detail) = self.texts();
        let (message, detail) = (bounded(message), detail.map(bounded));
        Report { sqlstate, word, message, detail, hint: self.hint() }
    }

    /// Whether it is a business refusal, decided before anything was written; every function raises the others.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Error::Server(_)
                | Error::ConcurrentUpdate
                | Error::IdInFlight
                | Error::ClaimLost
                | Error::Suppressed
                | Error::EventSuppressed { .. }
                | Error::LedgerStream { .. }
                | Error::NotATrigger { .. }
                | Error::NoDirectPath { .. }
                | Error::OutOfMemory { .. }
        )
    }
}

/// Characters that an error shows of a text that is too long, at its start and at its end.
const SHOWN: [usize; 2] = [400, 100];

/// The text, with its middle left out where an argument has made it long: errors go to clients and into the log.
fn bounded(text: String) -> String {
    let [head, tail] = SHOWN;
    // Bytes first: that is quick, and no text has more characters than bytes.
    if text.len() <= head + tail {
        return text;
    }
    let length = text.chars().count();
    if length <= head + tail {
        return text;
    }
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(length - tail).collect();
    format!("{start} ... {end}")
}

#[cfg(test)]
mod unit_tests {
    use super::bounded;

    #[test]
    fn texts_of_errors_keep_their_ends() {
        assert_eq!(bounded("x".repeat(500)), "x".repeat(500));
        let long = bounded(format!("It is \"{}\".", "\u{1f4b0}".repeat(100_000)));
        assert!(
            long.starts_with("It is \"\u{1f4b0}")
                && long.ends_with("\u{1f4b0}\".")
                && long.chars().count() == 505
        );
        // 500 characters of four bytes each are left whole.
        assert_eq!(bounded("\u{1f4b0}".repeat(500)).chars().count(), 500);
    }
}
