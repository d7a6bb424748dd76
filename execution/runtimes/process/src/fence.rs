//! The fence: what a thread gives up before it starts a worker. No new privileges, the Landlock domain and
//! capabilities belong to the *thread*, and what it starts inherits them for ever. So a thread within the fence must do
//! nothing but start the worker and live on: it can neither read `/proc` of others nor write our files any more.

use landlock::{
    ABI, Access, AccessFs, BitFlags, Compatible, LandlockStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs,
};
use sengu_execution::runtime::RuntimeError;
use std::path::PathBuf;

/// Programs, libraries, and the settings that they look for.
const SYSTEM: [&str; 14] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    // Certificates of authorities, where /etc only points to them.
    "/var/lib/ca-certificates",
    "/nix/store",
    "/gnu/store",
    // What /etc/resolv.conf may point to.
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
];
/// What language runtimes read to learn of the machine. Of other processes' secrets the kernel shows nothing across
/// a domain.
const MACHINE: [&str; 5] = [
    "/proc",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/kernel/mm/transparent_hugepage",
];
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// What root's worker may still do: reach devices by raw sockets and low ports, and read a folder of whoever installed
/// it. Without Landlock it reads everything, as it would with all of root's powers.
const KEPT: CapabilitySet = CapabilitySet::NET_RAW
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// What a worker may reach in the file system.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// Files and directories to read, with programs to run.
    pub read: Vec<PathBuf>,
    /// Its own directory.
    pub write: PathBuf,
}

/// What of the fence this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    pub no_new_privileges: bool,
    /// Version of Landlock's interface; 0 where there is none.
    pub landlock: i32,
}

impl Fence {
    /// Tries it on a thread of its own, which is lost for everything else.
    pub fn find() -> Fence {
        let tried = std::thread::Builder::new()
            .name("fence".to_owned())
            .spawn(|| {
                let no_new_privileges = set_no_new_privs(true).is_ok();
                let landlock = restrict(&Reach::default()).unwrap_or_else(|e| {
                    tracing::debug!(error = e.text(), "no Landlock");
                    0
                });
                Fence {
                    no_new_privileges,
                    landlock,
                }
            });
        let nothing = Fence {
            no_new_privileges: false,
            landlock: 0,
        };
        tried.map_or(nothing, |thread| thread.join().unwrap_or(nothing))
    }

    /// Whether signals and abstract sockets of others are out of reach.
    pub fn scopes(&self) -> bool {
        self.landlock >= 6
    }

    /// Puts the calling thread within it, for ever.
    ///
    /// # Errors
    /// When something that was there at the start is refused now: then nothing must be started.
    pub fn enter(&self, reach: &Reach) -> Result<(), RuntimeError> {
        if self.no_new_privileges {
            set_no_new_privs(true).map_err(|e| engine("no new privileges", &e))?;
        }
        if self.landlock > 0 && restrict(reach)? == 0 {
            return Err(RuntimeError::Engine("Landlock is gone".to_owned()));
        }
        let own = capabilities(None).map_err(|e| engine("read the capabilities", &e))?;
        let sets = CapabilitySets {
            effective: own.effective & KEPT,
            permitted: own.permitted & KEPT,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).map_err(|e| engine("drop capabilities", &e))
    }
}

/// Gives the version of Landlock that now holds, 0 when none does.
fn restrict(reach: &Reach) -> Result<i32, RuntimeError> {
    // With later kernels nothing more is asked for, so that an update of the kernel changes no worker's reach.
    const KNOWN: ABI = ABI::V6;
    let read = AccessFs::from_read(KNOWN);
    let look: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    // A device that it makes itself would be any disk of the machine.
    let own = AccessFs::from_all(KNOWN)
        & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let restrict = || {
        Ruleset::default()
            .set_compatibility(landlock::CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))?
            .scope(Scope::from_all(KNOWN))?
            .create()?
            .add_rules(path_beneath_rules(SYSTEM, read))?
            .add_rules(path_beneath_rules(MACHINE, look))?
            .add_rules(path_beneath_rules(DEVICES, device))?
            .add_rules(path_beneath_rules(&reach.read, read))?
            .add_rules(path_beneath_rules([&reach.write], own))?
            .restrict_self()
    };
    let status = restrict().map_err(|e| engine("restrict with Landlock", &e))?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => 0,
        (_, LandlockStatus::Available { effective_abi, .. }) => effective_abi as i32,
        _ => 0,
    })
}

fn engine(what: &str, error: &dyn std::error::Error) -> RuntimeError {
    let mut text = format!("{what}: {error}");
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    RuntimeError::Engine(text)
}
