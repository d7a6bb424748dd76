//! Control groups: one per instance, below one of the runtime's life, below the group that sengu itself is in. They
//! hold memory, processes and CPU of an instance, and know everything that it started, whatever it did to hide it.
//! Only groups that bear the name of a life of ours are ever touched, and only a life that is over is cleared away.

mod place;

use crate::life::Life;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sengu_execution::runtime::{Resources, RuntimeError};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The group that sengu itself moves to where a group may have processes or groups, but not both.
const OWN_LEAF: &str = "sengu-self";
const OWN_GROUPS: &str = "/proc/self/cgroup";
/// Length of the period in which CPU time is counted, in microseconds: the kernel's own default.
const CPU_PERIOD_US: u64 = 100_000;
/// Rounds of killing and looking again, a millisecond apart: killed processes are gone within milliseconds, unless
/// the kernel holds one in a device wait.
const ROUNDS_MAX: u32 = 5_000;
const ROUND: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    Memory,
    Processes,
    Cpu,
}

const CONTROLLERS: [Controller; 3] = [Controller::Memory, Controller::Processes, Controller::Cpu];

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Processes => "pids",
            Controller::Cpu => "cpu",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Processes => "number of processes",
            Controller::Cpu => "CPU time",
        }
    }

    /// The file of a group that holds the limit.
    fn limit_file(self, unified: bool) -> &'static str {
        match (self, unified) {
            (Controller::Memory, true) => "memory.max",
            (Controller::Memory, false) => "memory.limit_in_bytes",
            (Controller::Processes, _) => "pids.max",
            (Controller::Cpu, true) => "cpu.max",
            (Controller::Cpu, false) => "cpu.cfs_quota_us",
        }
    }
}

/// The group of a life in one hierarchy.
#[derive(Debug)]
struct Hierarchy {
    unified: bool,
    controllers: Vec<Controller>,
    parent: PathBuf,
}

impl Hierarchy {
    /// Makes the group of the life; None when the hierarchy is not ours to use, or of no use.
    fn make(
        place: &place::Place,
        life: &Life,
        missing: &[Controller],
    ) -> io::Result<Option<Hierarchy>> {
        let mut base = place.directory.clone();
        let mut wanted: Vec<Controller> = missing.to_vec();
        if place.unified {
            if base.file_name().is_some_and(|name| name == OWN_LEAF) {
                base.pop();
            }
            let given =
                std::fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
            wanted.retain(|c| given.split_whitespace().any(|g| g == c.name()));
            if let Err(e) = hand_down(&base, &wanted) {
                tracing::debug!(group = %base.display(), error = %e, "controllers not handed down");
            }
        } else {
            wanted.retain(|c| place.controllers.iter().any(|p| p == c.name()));
            if wanted.is_empty() {
                return Ok(None);
            }
        }
        let mut hierarchy = Hierarchy {
            unified: place.unified,
            controllers: wanted,
            parent: base.join(life.to_string()),
        };
        hierarchy.make_parent()?;
        let Hierarchy {
            parent,
            controllers,
            ..
        } = &mut hierarchy;
        controllers.retain(|c| parent.join(c.limit_file(place.unified)).exists());
        Ok(Some(hierarchy))
    }

    fn make_parent(&self) -> io::Result<()> {
        std::fs::create_dir(&self.parent)?;
        if self.unified {
            // Not given is found out by the files that are not there then.
            let _ = hand_down(&self.parent, &self.controllers);
        }
        Ok(())
    }

    fn base(&self) -> Option<&Path> {
        self.parent.parent()
    }
}

/// Lets the groups below `group` use the controllers.
fn hand_down(group: &Path, controllers: &[Controller]) -> io::Result<()> {
    let file = group.join("cgroup.subtree_control");
    let handed = std::fs::read_to_string(&file)?;
    let missing: Vec<String> = controllers
        .iter()
        .map(|c| c.name())
        .filter(|name| !handed.split_whitespace().any(|h| h == *name))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let order = missing.join(" ");
    let first = std::fs::write(&file, &order);
    let own = std::process::id().to_string();
    // A group with processes hands nothing down. Where they are all ours, they can step aside.
    let processes = std::fs::read_to_string(group.join("cgroup.procs"))?;
    if first.is_ok() || processes.trim() != own || !is_delegated(group) {
        return first;
    }
    let leaf = group.join(OWN_LEAF);
    if !leaf.is_dir() {
        std::fs::create_dir(&leaf)?;
    }
    std::fs::write(leaf.join("cgroup.procs"), own)?;
    std::fs::write(&file, order)
}

/// Whether its manager leaves what is below to us. systemd marks such groups (`Delegate=yes`), and takes back what is
/// changed in others. Source: systemd, "Control Group APIs and Delegation".
fn is_delegated(group: &Path) -> bool {
    let is_marked = |name| {
        let mut value = [0; 8];
        rustix::fs::getxattr(group, name, &mut value).is_ok_and(|n| value.get(..n) == Some(b"1"))
    };
    let has_manager = Path::new("/run/systemd/system").exists();
    !has_manager
        || ["trusted.delegate", "user.delegate"]
            .into_iter()
            .any(is_marked)
}

/// What this machine lets us use of control groups.
#[derive(Debug, Default)]
pub struct Groups {
    hierarchies: Vec<Hierarchy>,
    /// Where sengu itself is: what `/proc/self/cgroup` said, and the list of processes of one such group.
    own: Option<(String, PathBuf)>,
}

impl Groups {
    /// Makes the groups of this life, and clears away those of lives that are over, but for instances that `is_known`
    /// remembers: these are listed and stopped like all left-overs.
    pub fn find(life: &Life, is_known: impl Fn(&str) -> bool) -> Groups {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        let mut places = place::own();
        // Version 1 first: a controller is in one hierarchy only.
        places.sort_by_key(|place| place.unified);
        for place in places {
            let missing: Vec<Controller> = CONTROLLERS
                .into_iter()
                .filter(|c| !hierarchies.iter().any(|h| h.controllers.contains(c)))
                .collect();
            match Hierarchy::make(&place, life, &missing) {
                Ok(Some(hierarchy)) => hierarchies.push(hierarchy),
                Ok(None) => {}
                Err(e) => {
                    let group = place.directory.display();
                    tracing::debug!(%group, error = %e, "control group not usable");
                }
            }
        }
        // It tells of members, and the unified one kills them in one go.
        hierarchies.sort_by_key(|h| !h.unified);
        for base in hierarchies.iter().filter_map(Hierarchy::base) {
            clear_dead(base, &is_known);
        }
        let text = std::fs::read_to_string(OWN_GROUPS).ok();
        let place = place::own().into_iter().find(|place| place.unified);
        let own = text.zip(place.map(|place| place.directory.join("cgroup.procs")));
        Groups { hierarchies, own }
    }

    /// The kernel makes the first process that changes its group wait for all its CPUs, some milliseconds; those that
    /// follow soon need not. So this moves sengu to where it is already, while the instance is still being started.
    pub fn warm_up(&self) {
        if let Some((text, processes)) = &self.own
            && !self.is_empty()
            && std::fs::read_to_string(OWN_GROUPS).is_ok_and(|now| now == *text)
        {
            let _ = write_existing(processes, &std::process::id().to_string());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.hierarchies.is_empty()
    }

    pub fn enforces(&self, controller: Controller) -> bool {
        self.hierarchies
            .iter()
            .any(|h| h.controllers.contains(&controller))
    }

    pub fn enforced(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let (yes, no): (Vec<Controller>, Vec<Controller>) =
            CONTROLLERS.into_iter().partition(|c| self.enforces(*c));
        let words = |all: Vec<Controller>| all.into_iter().map(Controller::words).collect();
        (words(yes), words(no))
    }

    /// Makes the group of one instance, with its limits.
    pub fn make(&self, name: &str, resources: &Resources) -> Result<Group, RuntimeError> {
        let mut group = Group {
            directories: Vec::new(),
        };
        for hierarchy in &self.hierarchies {
            let directory = hierarchy.parent.join(name);
            let mut made = std::fs::create_dir(&directory);
            if made
                .as_ref()
                .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
            {
                // Somebody has tidied up while nothing ran.
                made = hierarchy
                    .make_parent()
                    .and_then(|()| std::fs::create_dir(&directory));
            }
            let limited = made.and_then(|()| {
                group.directories.push(directory.clone());
                set_limits(&directory, hierarchy, resources)
            });
            if let Err(e) = limited {
                group.remove();
                let what = format!("make control group {}", directory.display());
                return Err(RuntimeError::io(what)(e));
            }
        }
        Ok(group)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for hierarchy in &self.hierarchies {
            // One that still has an instance stays, for the next life to clear away.
            let _ = std::fs::remove_dir(&hierarchy.parent);
        }
    }
}

fn set_limits(directory: &Path, hierarchy: &Hierarchy, resources: &Resources) -> io::Result<()> {
    let unified = hierarchy.unified;
    let write = |file: &str, text: String| std::fs::write(directory.join(file), text);
    for controller in &hierarchy.controllers {
        let file = controller.limit_file(unified);
        match controller {
            Controller::Memory => {
                let bytes = u64::from(resources.memory_mb) << 20;
                write(file, bytes.to_string())?;
                // A leak must not fill the swap instead. A kernel without accounting of swap lacks these.
                let _ = match unified {
                    true => write("memory.swap.max", "0".to_owned()),
                    false => write("memory.memsw.limit_in_bytes", bytes.to_string()),
                };
                if unified {
                    let _ = write("memory.oom.group", "1".to_owned());
                }
            }
            Controller::Processes => write(file, resources.processes.to_string())?,
            Controller::Cpu => {
                let least = CPU_PERIOD_US as f32 / 100.0;
                let quota = (CPU_PERIOD_US as f32 * resources.cpus).max(least) as u64;
                match unified {
                    true => write(file, format!("{quota} {CPU_PERIOD_US}"))?,
                    false => {
                        write("cpu.cfs_period_us", CPU_PERIOD_US.to_string())?;
                        write(file, quota.to_string())?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// The control group of one instance: a directory in each hierarchy. Without any it has no members and does nothing.
#[derive(Debug, Clone, Default)]
pub struct Group {
    directories: Vec<PathBuf>,
}

impl Group {
    /// As remembered from an earlier life. Whatever is not below a group of ours is left out.
    pub fn remembered(directories: &[PathBuf]) -> Group {
        let is_ours = |directory: &&PathBuf| life_of(directory).is_some();
        Group {
            directories: directories.iter().filter(is_ours).cloned().collect(),
        }
    }

    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Takes in a process; what it starts from now on is in as well.
    pub fn add(&self, pid: Pid) -> io::Result<()> {
        let text = pid.as_raw_nonzero().to_string();
        self.directories
            .iter()
            .try_for_each(|d| std::fs::write(d.join("cgroup.procs"), &text))
    }

    pub fn members(&self) -> BTreeSet<i32> {
        // All hierarchies have the same members, unless something was moved out of one.
        self.directories.iter().flat_map(|d| members(d)).collect()
    }

    /// Kills until nothing is left; false when something does not die.
    pub fn kill(&self) -> bool {
        for round in 0..ROUNDS_MAX {
            let members = self.members();
            if members.is_empty() {
                return true;
            }
            // Nothing new may be born meanwhile. Not every kernel can do it in one go.
            for directory in &self.directories {
                let _ = write_existing(&directory.join("pids.max"), "0");
                let _ = write_existing(&directory.join("cgroup.kill"), "1");
            }
            self.signal(&members);
            if round > 0 {
                std::thread::sleep(ROUND);
            }
        }
        self.members().is_empty()
    }

    fn signal(&self, members: &BTreeSet<i32>) {
        let open = |pid: &i32| {
            let handle = pidfd_open(Pid::from_raw(*pid)?, PidfdFlags::empty()).ok()?;
            Some((*pid, handle))
        };
        let opened: Vec<_> = members.iter().filter_map(open).collect();
        // An id may have passed to somebody else before it was opened, but then it is no member now.
        let still = self.members();
        for (_, handle) in opened.iter().filter(|(pid, _)| still.contains(pid)) {
            let _ = pidfd_send_signal(handle, Signal::KILL);
        }
    }

    /// Processes of the group that the kernel killed because of its memory limit.
    pub fn out_of_memory_kills(&self) -> u64 {
        let count = |directory: &PathBuf| {
            let read = |file| std::fs::read_to_string(directory.join(file)).ok();
            let text = read("memory.events").or_else(|| read("memory.oom_control"))?;
            text.lines()
                .find_map(|line| line.strip_prefix("oom_kill "))?
                .trim()
                .parse::<u64>()
                .ok()
        };
        self.directories.iter().filter_map(count).sum()
    }

    /// Removes the group once it is empty.
    pub fn remove(&self) {
        for directory in &self.directories {
            remove(directory);
            // That of a life that is over goes with its last instance.
            if let Some(parent) = directory.parent()
                && life_of(directory).is_some_and(|life| life.is_over())
            {
                let _ = std::fs::remove_dir(parent);
            }
        }
    }
}

/// Whose life the group of an instance belongs to.
fn life_of(directory: &Path) -> Option<Life> {
    Life::parse(directory.parent()?.file_name()?.to_str()?)
}

fn members(directory: &Path) -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.parse().ok())
        .filter(|pid| *pid > 0 && *pid != own)
        .collect()
}

fn remove(directory: &Path) {
    for _ in 0..ROUNDS_MAX {
        match std::fs::remove_dir(directory) {
            // What was killed is still on its way out.
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy && members(directory).is_empty() => {
                std::thread::sleep(ROUND);
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(group = %directory.display(), error = %e, "control group not removed");
                return;
            }
            _ => return,
        }
    }
}

/// Removes what lives that are over have left below `base`.
fn clear_dead(base: &Path, is_known: &impl Fn(&str) -> bool) {
    for (name, parent) in directories(base) {
        if !Life::parse(&name).is_some_and(|life| life.is_over()) {
            continue;
        }
        for (instance, directory) in directories(&parent) {
            if is_known(&instance) {
                continue;
            }
            let group = Group {
                directories: vec![directory],
            };
            tracing::info!(instance, "left-over control group");
            group.kill();
            group.remove();
        }
        let _ = std::fs::remove_dir(&parent);
    }
}

fn directories(of: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| Some((entry.file_name().to_str()?.to_owned(), entry.path())))
        .collect()
}

/// Never makes a file.
fn write_existing(file: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().write(true).open(file)?;
    file.write_all(text.as_bytes())
}
