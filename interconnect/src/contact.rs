//! Whether a broker can be reached, and what keeps it from being used: what drivers find out and people are told.

use std::time::Instant;

/// How this process stands with its broker now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    There,
    /// Not reached since then (by this process's own clock), and why, in words without secrets.
    Away {
        since: Instant,
        why: String,
    },
    /// Reached, but it takes nothing (its disk or memory is full).
    Blocked {
        since: Instant,
        why: String,
    },
}

/// One thing that `sengu config check` has looked at without changing anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `reach`, `tls`, `sign in`, `version`, `vhost`, `permissions`, `stream`, `queue types` ...
    pub what: &'static str,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is fine; what was found, such as a version.
    Good(String),
    /// It works, with this drawback.
    Poor(String),
    /// It cannot be used: what is missing, and what to do about it.
    Bad { found: String, hint: String },
}

impl Finding {
    pub fn good(what: &'static str, found: impl Into<String>) -> Finding {
        let verdict = Verdict::Good(found.into());
        Finding { what, verdict }
    }

    pub fn poor(what: &'static str, found: impl Into<String>) -> Finding {
        let verdict = Verdict::Poor(found.into());
        Finding { what, verdict }
    }

    pub fn bad(what: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Finding {
        let (found, hint) = (found.into(), hint.into());
        let verdict = Verdict::Bad { found, hint };
        Finding { what, verdict }
    }

    pub fn is_bad(&self) -> bool {
        matches!(self.verdict, Verdict::Bad { .. })
    }
}
