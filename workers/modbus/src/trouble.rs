//! Which outcome a lost or denied request is. Messages name addresses, units and registers.

use crate::gateway::{How, Lost};
use sengu_sdk::{Failure, FailureCode, Outcome};

/// A failure while nothing has been changed.
#[derive(Debug)]
pub struct Trouble(pub Failure);

impl Trouble {
    pub fn refused(message: impl Into<String>) -> Trouble {
        Trouble(Failure::new(FailureCode::Refused, message))
    }

    pub fn bad_reply(message: impl Into<String>) -> Trouble {
        Trouble(Failure::new(FailureCode::BadReply, message))
    }

    pub fn mismatch(message: impl Into<String>) -> Trouble {
        Trouble(Failure::new(FailureCode::IdentityMismatch, message))
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble(failure)
    }
}

impl From<Trouble> for Outcome {
    fn from(trouble: Trouble) -> Outcome {
        Outcome::Failed(trouble.0)
    }
}

/// Of a request that only reads: silence is what a device that is off looks like behind a gateway.
impl From<Lost> for Trouble {
    fn from(lost: Lost) -> Trouble {
        let (code, why) = match lost {
            Lost::Unanswered {
                why,
                how: How::Nonsense,
            } => (FailureCode::BadReply, why),
            Lost::NotSent(why) | Lost::Unanswered { why, .. } => (FailureCode::Unreachable, why),
        };
        Trouble(Failure::new(code, why))
    }
}
