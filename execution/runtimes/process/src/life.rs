//! One life of the runtime: a process of sengu, and which runtime within it. Control groups bear its name, so that a
//! later life can tell what is nobody's any more. It must never take a living one for over.

use crate::group;
use std::fmt;
use std::os::linux::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Inode of the namespace in which `pid` counts: ids of another one say nothing here.
    namespace: u64,
    pid: i32,
    start_ticks: u64,
    nanoseconds: u128,
}

impl Life {
    pub fn new() -> Life {
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Life {
            namespace: own_namespace(),
            pid,
            start_ticks: group::stat(pid).map_or(0, |stat| stat.start_ticks),
            nanoseconds: unix.map_or(0, |d| d.as_nanos()),
        }
    }

    /// Prefix of the names of its instances.
    pub fn prefix(&self) -> String {
        format!("{:x}-{:x}", self.pid, self.nanoseconds)
    }

    /// None for what is not a name of ours.
    pub fn parse(name: &str) -> Option<Life> {
        let mut parts = name.strip_prefix("sengu.")?.split('.');
        let life = Life {
            namespace: parts.next()?.parse().ok()?,
            pid: parts.next()?.parse().ok()?,
            start_ticks: parts.next()?.parse().ok()?,
            nanoseconds: u128::from_str_radix(parts.next()?, 16).ok()?,
        };
        parts.next().is_none().then_some(life)
    }

    /// Whether its process is gone for sure.
    pub fn is_over(&self) -> bool {
        self.namespace == own_namespace()
            && group::stat(self.pid).is_none_or(|stat| stat.start_ticks != self.start_ticks)
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Life {
            namespace,
            pid,
            start_ticks,
            nanoseconds,
        } = self;
        write!(f, "sengu.{namespace}.{pid}.{start_ticks}.{nanoseconds:x}")
    }
}

fn own_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |about| about.st_ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dead_life_of_this_namespace_is_over() {
        let own = Life::new();
        assert_eq!(Life::parse(&own.to_string()), Some(own.clone()));
        assert!(!own.is_over(), "this one lives");
        let earlier = Life {
            start_ticks: own.start_ticks + 1,
            ..own.clone()
        };
        assert!(earlier.is_over(), "its id is somebody else's by now");
        let elsewhere = Life {
            namespace: 1,
            ..earlier
        };
        assert!(!elsewhere.is_over(), "nothing is known of it");
        for name in [
            "sengu.1.2.3",
            "sengu.1.2.3.4.5",
            "system.slice",
            "sengu.a.2.3.4",
        ] {
            assert_eq!(Life::parse(name), None, "{name}");
        }
    }
}
