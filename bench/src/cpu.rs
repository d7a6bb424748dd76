//! CPU time and memory of processes, by /proc. A tree is counted with those of its processes that have ended and were
//! waited for; what ran outside a tree is not seen, so other users of the machine do not disturb the figures.

use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// The kernel shows times to programs in this unit on every architecture (USER_HZ).
const TICKS_PER_S: f64 = 100.0;

/// Seconds of user and system time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tree {
    /// Of the process itself.
    pub root_s: f64,
    /// Of everything below it, the ended included.
    pub below_s: f64,
}

impl Tree {
    pub fn all_s(self) -> f64 {
        self.root_s + self.below_s
    }

    pub fn since(self, earlier: Tree) -> Tree {
        Tree {
            root_s: self.root_s - earlier.root_s,
            below_s: self.below_s - earlier.below_s,
        }
    }
}

struct Stat {
    parent: u32,
    own_s: f64,
    waited_s: f64,
}

/// Of one process; none when it has ended.
fn stat(pid: u32) -> Option<Stat> {
    let mut stat = parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    stat.own_s = stat.own_s.max(threads_s(pid));
    Some(stat)
}

/// CPU of the living threads, in nanoseconds where the kernel tells: a tree of many short processes would round to
/// nothing in ticks, which are cut off.
fn threads_s(pid: u32) -> f64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0.0;
    };
    let of = |path: std::path::PathBuf| -> Option<f64> {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    let nanoseconds = threads.filter_map(|t| of(t.ok()?.path()));
    nanoseconds.sum::<f64>() / 1e9
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name is in brackets and may hold anything, brackets too.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own_s: (ticks(11)? + ticks(12)?) / TICKS_PER_S,
        waited_s: (ticks(13)? + ticks(14)?) / TICKS_PER_S,
    })
}

/// Every process with its parent.
fn processes() -> Result<BTreeMap<u32, Stat>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|n| n.parse::<u32>().ok());
        if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, stat(pid)?))) {
            all.insert(pid, stat);
        }
    }
    Ok(all)
}

/// # Errors
/// When the process has ended.
pub fn tree(root: u32) -> Result<Tree> {
    let all = processes()?;
    let of_root = all
        .get(&root)
        .with_context(|| format!("process {root} has ended"))?;
    let below = below(&all, root);
    let living: f64 = below
        .iter()
        .map(|pid| all[pid].own_s + all[pid].waited_s)
        .sum();
    Ok(Tree {
        root_s: of_root.own_s,
        below_s: living + of_root.waited_s,
    })
}

/// The living descendants of a process.
fn below(all: &BTreeMap<u32, Stat>, root: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|(_, s)| s.parent == parent);
        let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
        parents.extend(&children);
        found.extend(children);
    }
    found
}

/// A process and its living descendants.
///
/// # Errors
/// When /proc cannot be read.
pub fn family(root: u32) -> Result<Vec<u32>> {
    let mut family = below(&processes()?, root);
    family.push(root);
    Ok(family)
}

/// Of this program without its children: the load generator.
pub fn own_s() -> f64 {
    stat(std::process::id()).map_or(f64::NAN, |s| s.own_s)
}

/// Of the ended and waited-for children of this program, with theirs.
pub fn waited_s() -> f64 {
    stat(std::process::id()).map_or(f64::NAN, |s| s.waited_s)
}

/// Resident memory in MiB: of the process, and of its living descendants.
///
/// # Errors
/// When the process has ended.
pub fn resident_mib(root: u32) -> Result<(f64, f64)> {
    let of = |pid: u32| -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib / 1024.0)
    };
    let root_mib = of(root).with_context(|| format!("process {root} has ended"))?;
    let below = below(&processes()?, root);
    // Folded from 0: the sum of nothing is -0.
    let below_mib = below.into_iter().filter_map(of).fold(0.0, |a, b| a + b);
    Ok((root_mib, below_mib))
}

/// Memory of one process in MiB, with its part of what it shares; 0 when it has ended.
pub fn proportional_mib(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("Pss:"));
    let kib = line.and_then(|l| l.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Whether a process was started as the program of this name.
pub fn runs(pid: u32, program: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(first).rsplit('/').next() == Some(program)
}

/// Share of the machine's CPU that nobody used over half a second, in percent.
pub fn idle_percent() -> f64 {
    let read = || {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let fields: Vec<f64> = line.split(' ').filter_map(|f| f.parse().ok()).collect();
        (
            fields.get(3).copied().unwrap_or(f64::NAN),
            fields.iter().sum::<f64>(),
        )
    };
    let (idle, all) = read();
    std::thread::sleep(Duration::from_millis(500));
    let (idle_later, all_later) = read();
    100.0 * (idle_later - idle) / (all_later - all)
}

/// Model and number of processors, and how busy it is.
pub fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|l| {
            Some(
                l.strip_prefix("model name")?
                    .split_once(':')?
                    .1
                    .trim()
                    .to_owned(),
            )
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    format!("machine: {cpus} processors, {model}; load average {load}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_move_the_fields() {
        let line = "7 (a ) b) S 3 0 0 0 0 0 0 0 0 0 250 50 1000 0 20 0 1 0 5 0 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.parent, stat.own_s, stat.waited_s), (3, 3.0, 10.0));
    }

    #[test]
    fn a_child_is_below_its_parent_and_stays_counted_when_it_has_ended() {
        let me = std::process::id();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        assert!(below(&processes().unwrap(), me).contains(&child.id()));
        assert!(resident_mib(me).unwrap().0 > 0.0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree(child.id()).is_err());
        let burn = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
        let before = tree(me).unwrap();
        std::process::Command::new("sh")
            .args(["-c", burn])
            .status()
            .unwrap();
        assert!(tree(me).unwrap().since(before).below_s > 0.0);
    }
}
