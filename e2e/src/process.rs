//! Processes seen through /proc: who descends from whom, and who is still there.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;

/// A process that cannot be mistaken for a later one of the same number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub pid: u32,
    pub name: String,
    /// Ticks since boot.
    started: u64,
}

fn stat(pid: u32) -> Option<(Process, u32, char)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in brackets and may hold anything.
    let (head, tail) = text.rsplit_once(") ")?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split(' ').collect();
    let started = fields.get(19)?.parse().ok()?;
    let parent = fields.get(1)?.parse().ok()?;
    let state = fields.first()?.chars().next()?;
    Some((Process { pid, name, started }, parent, state))
}

/// All that descend from `pid`.
pub fn descendants(pid: u32) -> Vec<Process> {
    let mut children: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().and_then(|n| n.parse().ok());
        if let Some((process, parent, _)) = number.and_then(stat) {
            children.entry(parent).or_default().push(process);
        }
    }
    let (mut found, mut next) = (Vec::new(), vec![pid]);
    while let Some(pid) = next.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            next.push(child.pid);
            found.push(child);
        }
    }
    found
}

impl Process {
    /// Whether it still runs; a zombie does not.
    pub fn lives(&self) -> bool {
        stat(self.pid).is_some_and(|(now, _, state)| now == *self && !matches!(state, 'Z' | 'X'))
    }

    pub fn kill(&self) {
        if self.lives() {
            signal(self.pid, Signal::KILL);
        }
    }
}

pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // It may have ended by itself.
    let _ = kill_process(pid.expect("a process has a number"), signal);
}
