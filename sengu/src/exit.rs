//! Exit codes as a contract, and the one place that decides which error means which code.
//!
//! Documented in `docs/reference/exit-codes.md` and `sengu help exit-codes`. A code is never given a second meaning.

use crate::client::ClientError;
use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok,
    /// `diff` found differences; or a target failed, is unknown, was cancelled or expired.
    NotAsWanted,
    /// The command line, or a local file, is wrong.
    Usage,
    /// The server understood and said no (a problem with a 4xx status).
    Refused,
    /// The server cannot be reached, does not know the caller, or cannot answer.
    NoServer,
    /// `--timeout` passed before the end.
    Timeout,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    pub fn number(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::NotAsWanted => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::NoServer => 4,
            Exit::Timeout => 5,
            Exit::Interrupted => 130,
        }
    }

    /// The code that an error ends the process with.
    pub fn of(error: &anyhow::Error) -> Exit {
        for cause in error.chain() {
            if let Some(e) = cause.downcast_ref::<ClientError>() {
                return match e {
                    ClientError::Problem(p) if matches!(p.status, 401 | 403) => Exit::NoServer,
                    ClientError::Problem(p) if (400..500).contains(&p.status) => Exit::Refused,
                    _ => Exit::NoServer,
                };
            }
        }
        Exit::Usage
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.number())
    }
}

pub const HELP: &str = "\
Exit codes:
    0  all is as asked
    1  diff: there are differences
       run, observe, retry: a target failed, is unknown, cancelled or expired
       worker check: the worker does not keep the protocol
       promote --wait: all of it or a part went back
       wee upgrade: one did not come back, or one that was named cannot be upgraded
    2  the command line or a local file is wrong; nothing was sent
    3  the server refused the request (a problem with a 4xx status); nothing was changed
    4  the server cannot be reached, does not accept the token, or cannot answer (5xx)
    5  --timeout passed before the end; what was started goes on
  130  interrupted (Ctrl-C); what was started goes on
  141  the reader of stdout went away

--exit-zero turns 1 into 0 for run, observe and retry. A failed target is never 0 unless asked.";

#[cfg(test)]
mod tests {
    use super::*;
    use sengu_model::problem::{Code, Problem};

    #[test]
    fn problems_map_to_codes() {
        let table = [
            (Code::InvalidField, Exit::Refused),
            (Code::NotFound, Exit::Refused),
            (Code::Unauthenticated, Exit::NoServer),
            (Code::Forbidden, Exit::NoServer),
            (Code::StoreUnavailable, Exit::NoServer),
        ];
        for (code, exit) in table {
            let error = anyhow::Error::from(ClientError::Problem(Box::new(Problem::new(code, ""))));
            assert_eq!(Exit::of(&error.context("apply")), exit, "{code:?}");
        }
        assert_eq!(Exit::of(&anyhow::anyhow!("no such file")), Exit::Usage);
    }

    #[test]
    fn every_code_is_in_the_help() {
        for exit in [
            Exit::Ok,
            Exit::NotAsWanted,
            Exit::Usage,
            Exit::Refused,
            Exit::NoServer,
            Exit::Timeout,
            Exit::Interrupted,
        ] {
            let number = format!("{:>5}  ", exit.number());
            assert!(HELP.contains(&number), "{exit:?}");
        }
    }
}
