//! Whether a store can be used, and what keeps it from it: what drivers find out without changing anything, and people
//! are told. Words in here never hold a secret.

/// One thing that `sengu config check` has looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at: `reach`, `tls`, `sign in`, `version`, `schema` ...
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

impl Check {
    pub fn good(what: &'static str, found: impl Into<String>) -> Check {
        let verdict = Verdict::Good(found.into());
        Check { what, verdict }
    }

    pub fn poor(what: &'static str, found: impl Into<String>) -> Check {
        let verdict = Verdict::Poor(found.into());
        Check { what, verdict }
    }

    pub fn bad(what: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Check {
        let (found, hint) = (found.into(), hint.into());
        let verdict = Verdict::Bad { found, hint };
        Check { what, verdict }
    }

    pub fn is_bad(&self) -> bool {
        matches!(self.verdict, Verdict::Bad { .. })
    }
}
