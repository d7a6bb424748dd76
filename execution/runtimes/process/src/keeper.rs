//! The keeper: one thread per instance, which forks it, waits for its end, and kills what is left of its group before
//! its id can be anybody else's. The kernel kills a child when the *thread* that forked it ends, so it must be a thread
//! that outlives the child.

use crate::group::{self, Leader};
use crate::remember::{Memory, Remembered, boot_id};
use futures::future::BoxFuture;
use rustix::process::{Pid, Resource, Rlimit, WaitId, WaitIdOptions, getrlimit, prlimit, waitid};
use sengu_execution::runtime::{Attached, Exit, RuntimeError};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Memory that one worker may take, in bytes: a leak must not end its neighbours.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Files that one worker may have open: 1024 slots with a few connections each.
const FILES_MAX: u64 = 8_192;
/// Bytes in each pipe, so that a full batch of frames is one write.
const PIPE_BYTES: usize = 256 << 10;

/// What this machine lets us enforce without being root.
#[derive(Debug, Clone)]
pub struct Isolation {
    /// Sets no-new-privileges and the parent death signal, then becomes the worker.
    setpriv: Option<PathBuf>,
}

impl Isolation {
    pub fn find() -> Isolation {
        let places = ["/usr/bin/setpriv", "/bin/setpriv"].map(PathBuf::from);
        // Early versions do not know the death signal.
        let usable = |path: &PathBuf| {
            Command::new(path)
                .args(["--no-new-privs", "--pdeathsig", "KILL", "true"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        Isolation {
            setpriv: places.into_iter().find(usable),
        }
    }

    pub fn words(&self) -> Vec<String> {
        let mut words = vec![
            "own process group, killed as a whole".to_owned(),
            "clean environment, own working directory, no open files of sengu".to_owned(),
            format!(
                "rlimits: {} GiB of memory, {FILES_MAX} open files, no core files",
                MEMORY_BYTES_MAX >> 30
            ),
        ];
        words.push(match self.setpriv {
            Some(_) => "no new privileges, dies with sengu".to_owned(),
            None => "not enforced: no new privileges (setpriv is not installed)".to_owned(),
        });
        words.push("not enforced: files, network, CPU share, other users' processes".to_owned());
        words
    }
}

/// What is to be started.
pub struct Plan {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub folder: PathBuf,
    pub directory: PathBuf,
    pub name: String,
    pub label: String,
    pub isolation: Isolation,
}

pub struct Begun {
    pub pipes: Pipes,
    pub leader: Arc<Leader>,
}

pub struct Pipes {
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

impl Pipes {
    /// Must be called within a tokio runtime.
    pub fn attach(self, exit: BoxFuture<'static, Exit>) -> std::io::Result<Attached> {
        // A smaller pipe only means more wake-ups; users without privileges may have reached their share.
        let _ = rustix::pipe::fcntl_setpipe_size(&self.stdin, PIPE_BYTES);
        let _ = rustix::pipe::fcntl_setpipe_size(&self.stdout, PIPE_BYTES);
        Ok(Attached {
            stdin: Box::pin(tokio::process::ChildStdin::from_std(self.stdin)?),
            stdout: Box::pin(tokio::process::ChildStdout::from_std(self.stdout)?),
            stderr: Box::pin(tokio::process::ChildStderr::from_std(self.stderr)?),
            exit,
        })
    }
}

/// Starts the child, tells `started`, and stays until nothing of it is left. None when it was never started.
pub fn keep(
    plan: Plan,
    memory: &Memory,
    started: oneshot::Sender<Result<Begun, RuntimeError>>,
) -> Option<Exit> {
    let (mut child, pid) = match start(&plan) {
        Ok(begun) => begun,
        Err(e) => {
            let _ = started.send(Err(e));
            return None;
        }
    };
    let leader = Arc::new(Leader::new(pid));
    if let Err(e) = remember(&plan, pid, memory) {
        end(&mut child, &leader);
        let _ = started.send(Err(e));
        return None;
    }
    limit(pid);
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        end(&mut child, &leader);
        return None;
    };
    let begun = Begun {
        pipes: Pipes {
            stdin,
            stdout,
            stderr,
        },
        leader: leader.clone(),
    };
    if started.send(Ok(begun)).is_err() {
        // Nobody waits for it any more.
        leader.kill_group();
    }
    Some(wait(&mut child, pid, &leader))
}

fn start(plan: &Plan) -> Result<(Child, Pid), RuntimeError> {
    let mut command = match &plan.isolation.setpriv {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--no-new-privs", "--pdeathsig", "KILL", "--"]);
            command.arg(&plan.program);
            command
        }
        None => Command::new(&plan.program),
    };
    command.args(&plan.arguments).env_clear();
    for key in ["PATH", "LANG"] {
        if let Some(value) = std::env::var_os(key) {
            command.env(key, value);
        }
    }
    let folder = std::path::absolute(&plan.folder).unwrap_or_else(|_| plan.folder.clone());
    let mut child = command
        .env("HOME", &plan.directory)
        .env("SENGU_WORKER_FOLDER", folder)
        .current_dir(&plan.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(RuntimeError::io(format!(
            "start {}",
            Path::new(&plan.program).display()
        )))?;
    match i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        Some(pid) => Ok((child, pid)),
        None => {
            let _ = child.kill();
            Err(RuntimeError::Engine(
                "the child has no process id".to_owned(),
            ))
        }
    }
}

fn remember(plan: &Plan, pid: Pid, memory: &Memory) -> Result<(), RuntimeError> {
    let raw = pid.as_raw_nonzero().get();
    let remembered = Remembered {
        pid: raw,
        // It cannot be reaped before we wait for it, so it is there.
        start_ticks: group::stat(raw).map_or(0, |stat| stat.start_ticks),
        boot: boot_id(),
        label: plan.label.clone(),
    };
    memory.write(&plan.name, &remembered)
}

/// Limits that hold for the worker and what it starts. One that cannot be set is not a reason to refuse work.
fn limit(pid: Pid) {
    let set = |resource, most: u64| {
        // Nobody but root may raise what sengu itself was given.
        let most = getrlimit(resource)
            .maximum
            .map_or(most, |own| own.min(most));
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        if let Err(e) = prlimit(Some(pid), resource, limit) {
            tracing::debug!(?resource, error = %e, "limit not set");
        }
    };
    set(Resource::Core, 0);
    set(Resource::Data, MEMORY_BYTES_MAX);
    set(Resource::Nofile, FILES_MAX);
    // When memory runs out, the kernel takes workers first.
    let _ = std::fs::write(
        format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero()),
        "500",
    );
}

/// Waits for the end of the leader, then for that of what it left behind.
fn wait(child: &mut Child, pid: Pid, leader: &Leader) -> Exit {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
    let left_behind = u32::try_from(group::members(pid).len()).unwrap_or(u32::MAX);
    let status = end(child, leader);
    Exit {
        clean: status.is_some_and(|s| s.success()),
        why: status.map_or_else(|| "its end was not seen".to_owned(), words),
        left_behind,
    }
}

/// Kills the group while the unreaped leader still keeps its id from others, then reaps.
fn end(child: &mut Child, leader: &Leader) -> Option<ExitStatus> {
    leader.kill_group();
    let mut status = None;
    leader.reaped(|| status = child.wait().ok());
    status
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
