//! Strays: processes of an instance that left its process group, where no control group knows them. They are known by
//! the home that every process of an instance has in its environment, unless it made itself another one.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Rounds of killing and looking again: what was killed goes when it gets its turn.
const ROUNDS_MAX: u32 = 2_500;
const ROUND: Duration = Duration::from_millis(2);

/// Live processes whose home is `directory`.
pub fn of(directory: &Path) -> BTreeSet<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| is_of(*pid, directory))
        .collect()
}

pub fn kill(directory: &Path) {
    for _ in 0..ROUNDS_MAX {
        let strays = of(directory);
        if strays.is_empty() {
            return;
        }
        for pid in strays {
            let opened = Pid::from_raw(pid).map(|p| pidfd_open(p, PidfdFlags::empty()));
            // The id may have passed to somebody else before it was opened.
            if let Some(Ok(handle)) = opened
                && is_of(pid, directory)
            {
                let _ = pidfd_send_signal(&handle, Signal::KILL);
            }
        }
        std::thread::sleep(ROUND);
    }
}

/// What is a zombie, or not ours to look at, has no environment.
fn is_of(pid: i32, directory: &Path) -> bool {
    let home = [b"HOME=", directory.as_os_str().as_bytes()].concat();
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|b| *b == 0).any(|v| v == home))
}
