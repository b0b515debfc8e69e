//! How sessions are ended, and the words for it.
#![forbid(unsafe_code)]

/// How a session is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Cancel,
    Terminate,
}

impl Method {
    pub fn of(text: &str) -> Option<Method> {
        match text {
            "cancel" => Some(Method::Cancel),
            "terminate" => Some(Method::Terminate),
            _ => None,
        }
    }

    pub fn done(self) -> &'static str {
        match self {
            Method::Cancel => "CANCELLED",
            Method::Terminate => "TERMINATED",
        }
    }

    pub fn would(self) -> &'static str {
        match self {
            Method::Cancel => "WOULD CANCEL (dry run)",
            Method::Terminate => "WOULD TERMINATE (dry run)",
        }
    }
}
