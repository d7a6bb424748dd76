//! Faults in force on one host.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Every answer comes late.
    Slow,
    /// Turns connections away as an sshd at MaxStartups does.
    Refuse,
    /// Takes connections and commands and never answers.
    Hang,
    /// Greets and hangs up, before login.
    Cut,
    /// Runs the command, then the connection is gone without an exit status.
    CutMid,
    /// Speaks something else than SSH.
    Garbage,
    /// Refuses every credential.
    Auth,
    /// Shows another host key.
    HostKey,
    /// Opens no sessions.
    SessionsFull,
}

const NAMES: [(&str, Kind); 9] = [
    ("slow", Kind::Slow),
    ("refuse", Kind::Refuse),
    ("hang", Kind::Hang),
    ("cut", Kind::Cut),
    ("cut_mid", Kind::CutMid),
    ("garbage", Kind::Garbage),
    ("auth", Kind::Auth),
    ("host_key", Kind::HostKey),
    ("sessions_full", Kind::SessionsFull),
];

impl Kind {
    /// # Errors
    /// With the names that are known.
    pub fn parse(name: &str) -> Result<Kind, String> {
        let known = NAMES.iter().find(|(n, _)| *n == name).map(|(_, k)| *k);
        known.ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(n, _)| *n).collect();
            format!("no fault {name:?}; an ssh twin knows {}", names.join(", "))
        })
    }

    /// Whether it shows when a connection is made, so that kept ones must go.
    pub fn strikes_at_the_door(self) -> bool {
        matches!(
            self,
            Kind::Refuse | Kind::Hang | Kind::Cut | Kind::Garbage | Kind::Auth | Kind::HostKey
        )
    }
}

struct Active {
    kind: Kind,
    ms: u64,
    left: Option<u32>,
}

#[derive(Default)]
pub struct Faults(Mutex<Vec<Active>>);

const SLOW_DEFAULT_MS: u64 = 2_000;

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Vec<Active>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a fault in force, in place of an earlier one of its kind.
    pub fn set(&self, kind: Kind, ms: Option<u64>, left: Option<u32>) {
        let mut active = self.lock();
        active.retain(|a| a.kind != kind);
        let ms = ms.unwrap_or(SLOW_DEFAULT_MS);
        active.push(Active { kind, ms, left });
    }

    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Whether `kind` strikes now, with its milliseconds; counts it.
    pub fn strikes(&self, kind: Kind) -> Option<u64> {
        let mut active = self.lock();
        let at = active.iter().position(|a| a.kind == kind)?;
        let one = active.get_mut(at)?;
        let ms = one.ms;
        if let Some(left) = &mut one.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                active.remove(at);
            }
        }
        Some(ms)
    }
}
