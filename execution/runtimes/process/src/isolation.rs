//! What this machine lets us enforce on workers, found out once at the start, and told in words.

use crate::cgroup::{Controller, Groups};
use crate::fence::Fence;
use crate::gate::Gate;
use crate::life::Life;
use sengu_execution::runtime::Resources;

/// Files that one worker may have open: 1024 slots with a few connections each.
pub const FILES_MAX: u64 = 8_192;
/// Where no control group counts memory, writable mappings stand in for it. Stacks of threads and heaps that are
/// reserved but not used count too, so the least is generous.
const DATA_BYTES_MIN: u64 = 4 << 30;
const DATA_PER_MEMORY: u64 = 4;

#[derive(Debug)]
pub struct Isolation {
    pub gate: Gate,
    pub fence: Fence,
    pub groups: Groups,
}

impl Isolation {
    pub fn find(life: &Life, is_known: impl Fn(&str) -> bool) -> Isolation {
        // What sengu itself was given open by whoever started it is not for workers. Its own files never are.
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        Isolation {
            gate: Gate::find(),
            fence: Fence::find(),
            groups: Groups::find(life, is_known),
        }
    }

    /// Bytes of writable mappings, where memory itself is not counted.
    pub fn data_bytes_max(&self, resources: &Resources) -> Option<u64> {
        let memory = u64::from(resources.memory_mb) << 20;
        let counted = self.groups.enforces(Controller::Memory);
        (!counted).then(|| (memory * DATA_PER_MEMORY).max(DATA_BYTES_MIN))
    }

    pub fn words(&self) -> Vec<String> {
        let mut no: Vec<String> = Vec::new();
        let mut words = vec![
            "clean environment, own working directory, no open files of sengu".to_owned(),
            format!("rlimits: {FILES_MAX} open files, no core files"),
        ];
        words.push(match self.groups.is_empty() {
            false => "own control group, killed as a whole".to_owned(),
            true => {
                no.push(
                    "death of what hides from its process group (no control groups)".to_owned(),
                );
                "own process group, killed as a whole".to_owned()
            }
        });
        let (limited, unlimited) = self.groups.enforced();
        if !limited.is_empty() {
            words.push(format!("limited by control groups: {}", limited.join(", ")));
        }
        for what in unlimited {
            no.push(format!(
                "{what} (sengu has no control group of its own to divide; systemd: Delegate=yes)"
            ));
        }
        if !self.groups.enforces(Controller::Memory) {
            words.push(
                "writable memory limited by rlimit, at several times what it may use".to_owned(),
            );
        }
        if !self.gate.has_shell {
            no.push("limits in the first moment of an instance (no /bin/sh)".to_owned());
        }
        match self.fence.no_new_privileges {
            true => words.push(
                "no new privileges, none of root's powers but raw sockets, low ports, reading"
                    .to_owned(),
            ),
            false => no.push("no new privileges".to_owned()),
        }
        match &self.gate.setpriv {
            Some(_) => words.push("dies with sengu".to_owned()),
            None => no.push("death with sengu (setpriv is not installed)".to_owned()),
        }
        match self.fence.landlock {
            0 => no.push("files (the kernel has no Landlock)".to_owned()),
            version => words.push(format!(
                "files: reads its own folder and the system's programs and settings, writes its own working \
                 directory only (Landlock {version})"
            )),
        }
        match self.fence.scopes() {
            true => words.push("no signals to other processes".to_owned()),
            false => no.push("signals to processes of the same user".to_owned()),
        }
        no.push("network".to_owned());
        words.extend(no.into_iter().map(|what| format!("not enforced: {what}")));
        words
    }
}
