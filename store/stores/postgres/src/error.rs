//! What PostgreSQL says, in the words of the port. Never lets an engine's error reach a caller unclassified.

use crate::settings::Unusable;
use sengu_store::StoreError;
use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// Why something was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Trouble {
    #[error("postgresql")]
    Engine(#[source] Arc<tokio_postgres::Error>),
    #[error("no answer within {limit:?}")]
    Silent { limit: Duration },
    /// A standby of another server.
    #[error("the server is a standby that only reads")]
    ReadsOnly,
    #[error("the server was primary before another one was promoted")]
    Overtaken,
    /// What each of several servers said.
    #[error("no server takes writes: {}", each(.0))]
    NoneWrites(Vec<(String, Trouble)>),
    /// What was acknowledged is no longer there.
    #[error("the database has lost commits that it had acknowledged")]
    Behind,
    #[error(transparent)]
    Unusable(Unusable),
    /// The tables are not as they must be.
    #[error("{0}")]
    Odd(String),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Trouble {
        Trouble::Engine(Arc::new(error))
    }
}

impl From<Unusable> for Trouble {
    fn from(error: Unusable) -> Trouble {
        Trouble::Unusable(error)
    }
}

fn each(said: &[(String, Trouble)]) -> String {
    let each = said
        .iter()
        .map(|(server, trouble)| format!("{server}: {}", told(trouble)));
    each.collect::<Vec<_>>().join("; ")
}

/// An error with its causes, which for the client hold what the server said and no secret.
pub fn told(trouble: &Trouble) -> String {
    let mut text = trouble.to_string();
    let mut cause = trouble.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The same may work at once or soon: the connection broke, a lock was not had in time, a standby is promoted.
    Passing,
    /// The world is at fault and must be mended first: a full disk.
    Outage,
    /// The statement was refused for what it says.
    Refused,
}

impl Trouble {
    pub fn sort(&self) -> Sort {
        match self {
            Trouble::Silent { .. } | Trouble::ReadsOnly | Trouble::Overtaken => Sort::Passing,
            // What passes at one of them is enough.
            Trouble::NoneWrites(said) => {
                let sorts: Vec<Sort> = said.iter().map(|(_, trouble)| trouble.sort()).collect();
                let is = |sort| sorts.contains(&sort);
                match (is(Sort::Passing), is(Sort::Outage)) {
                    (true, _) => Sort::Passing,
                    (false, true) => Sort::Outage,
                    (false, false) => Sort::Refused,
                }
            }
            Trouble::Behind | Trouble::Unusable(_) | Trouble::Odd(_) => Sort::Refused,
            Trouble::Engine(error) => sort(error),
        }
    }

    /// Whether the connection can still be used.
    pub fn leaves_connection(&self) -> bool {
        match self {
            Trouble::Engine(error) => {
                let state = error.code();
                !error.is_closed()
                    && state.is_some_and(|s| !s.code().starts_with("57P") && !ends_session(s))
            }
            Trouble::Silent { .. }
            | Trouble::ReadsOnly
            | Trouble::Overtaken
            | Trouble::NoneWrites(_) => false,
            Trouble::Behind | Trouble::Unusable(_) | Trouble::Odd(_) => true,
        }
    }

    pub fn for_caller(self, what: &str) -> StoreError {
        match (self.sort(), self) {
            (_, Trouble::Unusable(why)) => why.into(),
            (_, Trouble::Behind) => StoreError::Behind,
            (_, Trouble::Odd(what)) => StoreError::Broken { what, source: None },
            (Sort::Passing | Sort::Outage, trouble) => StoreError::Unavailable(Box::new(trouble)),
            (Sort::Refused, trouble) => StoreError::Broken {
                what: what.to_owned(),
                source: Some(Box::new(trouble)),
            },
        }
    }
}

fn ends_session(state: &SqlState) -> bool {
    *state == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        // It is no longer the primary.
        || *state == SqlState::READ_ONLY_SQL_TRANSACTION
        // A plan or a statement that the server no longer has: a new connection makes it anew.
        || *state == SqlState::FEATURE_NOT_SUPPORTED
        || *state == SqlState::INVALID_SQL_STATEMENT_NAME
}

fn sort(error: &tokio_postgres::Error) -> Sort {
    let Some(state) = error.code() else {
        let broken = error.source().is_some_and(|s| s.is::<io::Error>());
        return if error.is_closed() || broken || is_timeout(error) {
            Sort::Passing
        } else {
            Sort::Refused
        };
    };
    if ends_session(state)
        || *state == SqlState::LOCK_NOT_AVAILABLE
        || *state == SqlState::QUERY_CANCELED
        || *state == SqlState::TOO_MANY_CONNECTIONS
    {
        return Sort::Passing;
    }
    let code = state.code();
    match &code[..2] {
        "08" | "40" => Sort::Passing,
        _ if code.starts_with("57P") => Sort::Passing,
        // Resources, the operating system, and who may sign in.
        "53" | "58" | "28" | "3D" => Sort::Outage,
        _ => Sort::Refused,
    }
}

/// The client's own limit while connecting has no source.
fn is_timeout(error: &tokio_postgres::Error) -> bool {
    error.source().is_none() && error.to_string().contains("timeout")
}

pub fn unavailable(why: impl Into<String>) -> StoreError {
    StoreError::Unavailable(why.into().into())
}

pub fn broken(what: impl Into<String>) -> StoreError {
    StoreError::Broken {
        what: what.into(),
        source: None,
    }
}
