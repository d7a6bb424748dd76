//! What can go wrong with a server, on request.

use parking_lot::Mutex;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every answer comes `ms` later.
    Slow,
    /// New connections are reset, those open are closed.
    Refuse,
    /// Requests are taken and never answered.
    Hang,
    /// The connection is closed instead of an answer; nothing happens.
    Cut,
    /// As `cut`, but only for changes.
    CutChange,
    /// 200 with something that is no JSON; nothing happens.
    Garbage,
    /// 503 with Retry-After of `ms` in seconds; nothing happens.
    Busy,
    /// 429 with Retry-After as a date; nothing happens.
    BusyDate,
    /// 401 whatever the credentials.
    Auth,
    /// 403 whatever the credentials.
    Forbidden,
    /// 500; a change has taken place.
    ServerError,
    /// 307 to another origin.
    Redirect,
    /// 302 to itself.
    RedirectLoop,
    /// 200 with 64 MiB.
    Huge,
    /// 200 with 64 MiB in 64 KiB of gzip.
    Bomb,
    /// The right shape with wrong types.
    WrongData,
    /// A login page with 200.
    Html,
    /// Changes take effect, and the connection is closed instead of the answer.
    LostReply,
    /// Changes are accepted and never done.
    Deaf,
    /// Another certificate than the pinned one.
    WrongCert,
    /// All tokens are forgotten, once.
    TokenLost,
    /// The token endpoint refuses the client.
    TokenDenied,
}

const NAMES: &[(&str, Kind)] = &[
    ("slow", Kind::Slow),
    ("refuse", Kind::Refuse),
    ("hang", Kind::Hang),
    ("cut", Kind::Cut),
    ("cut_change", Kind::CutChange),
    ("garbage", Kind::Garbage),
    ("busy", Kind::Busy),
    ("busy_date", Kind::BusyDate),
    ("auth", Kind::Auth),
    ("forbidden", Kind::Forbidden),
    ("server_error", Kind::ServerError),
    ("redirect", Kind::Redirect),
    ("redirect_loop", Kind::RedirectLoop),
    ("huge", Kind::Huge),
    ("bomb", Kind::Bomb),
    ("wrong_data", Kind::WrongData),
    ("html", Kind::Html),
    ("lost_reply", Kind::LostReply),
    ("deaf", Kind::Deaf),
    ("wrong_cert", Kind::WrongCert),
    ("token_lost", Kind::TokenLost),
    ("token_denied", Kind::TokenDenied),
];

impl FromStr for Kind {
    type Err = String;
    fn from_str(name: &str) -> Result<Kind, String> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("unknown fault {name:?}; known are {}", names.join(", "))
        })
    }
}

/// The faults of one server.
#[derive(Default)]
pub struct Faults(Mutex<Vec<Active>>);

struct Active {
    kind: Kind,
    ms: Option<u64>,
    left: Option<u32>,
}

impl Faults {
    pub fn add(&self, kind: Kind, ms: Option<u64>, count: Option<u32>) {
        let mut active = self.0.lock();
        active.retain(|fault| fault.kind != kind);
        let left = count;
        active.push(Active { kind, ms, left });
    }

    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// Whether this fault strikes now, with its milliseconds; counts it.
    pub fn strikes(&self, kind: Kind) -> Option<Option<u64>> {
        let mut active = self.0.lock();
        let at = active.iter().position(|fault| fault.kind == kind)?;
        let ms = active[at].ms;
        if let Some(left) = &mut active[at].left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                active.remove(at);
            }
        }
        Some(ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_ends_by_itself() {
        let faults = Faults::default();
        faults.add(Kind::Busy, Some(7), Some(2));
        let strikes: Vec<bool> = (0..4)
            .map(|_| faults.strikes(Kind::Busy).is_some())
            .collect();
        assert_eq!(strikes, [true, true, false, false]);
        assert!(
            "explode"
                .parse::<Kind>()
                .unwrap_err()
                .contains("token_denied")
        );
    }
}
