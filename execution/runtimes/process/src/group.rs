//! Process groups, as seen in `/proc`.

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first process of a group, which has the group's id. While it is not reaped, its id can be nobody else's.
pub struct Leader {
    /// None once it is reaped.
    pid: Mutex<Option<Pid>>,
    was_killed: AtomicBool,
}

impl Leader {
    pub fn new(pid: Pid) -> Leader {
        Leader {
            pid: Mutex::new(Some(pid)),
            was_killed: AtomicBool::new(false),
        }
    }

    pub fn kill_group(&self) {
        self.was_killed.store(true, Ordering::Relaxed);
        if let Some(pid) = *self.pid.lock() {
            // It can only be gone already.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// Whether we have killed it, and not something else.
    pub fn was_killed(&self) -> bool {
        self.was_killed.load(Ordering::Relaxed)
    }

    /// From now on the id may be somebody else's.
    pub fn reaped(&self, reap: impl FnOnce()) {
        let mut pid = self.pid.lock();
        reap();
        *pid = None;
    }
}

/// What `/proc/<pid>/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub state: char,
    pub group: i32,
    /// Clock ticks after boot.
    pub start_ticks: u64,
}

pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name is in parentheses and may hold anything, so the last one counts.
    let rest = text.rsplit_once(')')?.1;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let group = fields.nth(1)?.parse().ok()?;
    let start_ticks = fields.nth(16)?.parse().ok()?;
    Some(Stat {
        state,
        group,
        start_ticks,
    })
}

/// Live processes of the group, its leader not counted.
pub fn members(group: Pid) -> Vec<i32> {
    if test_kill_process_group(group).is_err() {
        return Vec::new();
    }
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let number = group.as_raw_nonzero().get();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != number)
        .filter(|pid| stat(*pid).is_some_and(|s| s.group == number && s.state != 'Z'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_trap() {
        let text = "42 (a) b (c)) S 1 17 17 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1 1";
        let stat = parse_stat(text).unwrap();
        assert_eq!(
            (stat.state, stat.group, stat.start_ticks),
            ('S', 17, 98_765)
        );
        assert_eq!(parse_stat("42"), None);
    }

    #[test]
    fn this_process_is_found() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(stat(own).unwrap().start_ticks > 0);
    }
}
