//! What is kept on disk of running instances, so that the next life of sengu finds and kills what a `kill -9` of this
//! one left behind. An id alone is never believed: it may be an innocent's by then.

use crate::cgroup::Group;
use crate::group;
use rustix::process::{Pid, Signal, kill_process_group};
use sengu_execution::runtime::RuntimeError;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One process group, as remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub pid: i32,
    /// Clock ticks after boot at which the leader started.
    pub start_ticks: u64,
    /// Ticks of another boot say nothing.
    pub boot: String,
    pub label: String,
    /// Its control group.
    #[serde(default)]
    pub groups: Vec<PathBuf>,
}

impl Remembered {
    /// Whether any process of the instance is alive.
    pub fn lives(&self) -> bool {
        self.group().is_some() || !self.control_group().members().is_empty()
    }

    /// Kills the instance; false when nothing of it was left.
    pub fn kill(&self) -> bool {
        if !self.lives() {
            return false;
        }
        if let Some(group) = self.group() {
            let _ = kill_process_group(group, Signal::KILL);
        }
        self.control_group().kill();
        true
    }

    pub fn control_group(&self) -> Group {
        Group::remembered(&self.groups)
    }

    /// The group, if it is still the one that was remembered.
    fn group(&self) -> Option<Pid> {
        if self.boot != boot_id() {
            return None;
        }
        let group = Pid::from_raw(self.pid)?;
        match group::stat(self.pid) {
            Some(stat) if stat.state == 'Z' => {}
            Some(stat) => return (stat.start_ticks == self.start_ticks).then_some(group),
            None => {}
        }
        // The leader is gone; its group lives on while it has members, and keeps the id from others. Each member must
        // be of a worker, in case the group died out and somebody else's took the id.
        let members = group::members(group);
        (!members.is_empty() && members.iter().all(|pid| is_of_a_worker(*pid))).then_some(group)
    }
}

fn is_of_a_worker(pid: i32) -> bool {
    let mark = b"SENGU_WORKER_FOLDER=";
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|b| *b == 0).any(|v| v.starts_with(mark)))
}

pub fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.unwrap_or_default().trim().to_owned()
}

/// The state directory: `instances/<name>.json` remembers, `work/<name>/` is the instance's working directory.
pub struct Memory {
    root: PathBuf,
}

impl Memory {
    pub fn new(root: PathBuf) -> Memory {
        // The child runs in another directory.
        let root = std::path::absolute(&root).unwrap_or(root);
        Memory { root }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.join("instances").join(format!("{name}.json"))
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.root.join("work").join(name)
    }

    /// Makes the empty working directory of an instance, for its user only.
    pub fn make_directory(&self, name: &str) -> Result<PathBuf, RuntimeError> {
        use std::os::unix::fs::DirBuilderExt;
        let directory = self.directory(name);
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(RuntimeError::io(format!("make {}", directory.display())))?;
        Ok(directory)
    }

    /// # Errors
    /// When it cannot be written: then the instance must not run.
    pub fn write(&self, name: &str, remembered: &Remembered) -> Result<(), RuntimeError> {
        let file = self.file(name);
        let error = || format!("write {}", file.display());
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).map_err(RuntimeError::io(error()))?;
        }
        let text = serde_json::to_vec(remembered)
            .map_err(|e| RuntimeError::io(error())(std::io::Error::other(e)))?;
        // A torn file would be taken for garbage and forgotten, so it appears whole or not at all.
        let part = file.with_extension("part");
        std::fs::write(&part, text)
            .and_then(|()| std::fs::rename(&part, &file))
            .map_err(RuntimeError::io(error()))
    }

    pub fn read(&self, name: &str) -> Option<Remembered> {
        read_file(&self.file(name))
    }

    pub fn is_known(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    pub fn forget(&self, name: &str) {
        let _ = std::fs::remove_file(self.file(name));
        let _ = std::fs::remove_dir_all(self.directory(name));
    }

    /// Names and what is remembered of each; None for a file that cannot be read.
    pub fn all(&self) -> Result<Vec<(String, Option<Remembered>)>, RuntimeError> {
        let directory = self.root.join("instances");
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(RuntimeError::io(format!("read {}", directory.display()))(e)),
        };
        let all = entries.flatten().filter_map(|entry| {
            let path = entry.path();
            let name = path
                .file_name()?
                .to_str()?
                .strip_suffix(".json")?
                .to_owned();
            Some((name, read_file(&path)))
        });
        Ok(all.collect())
    }
}

fn read_file(path: &Path) -> Option<Remembered> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
