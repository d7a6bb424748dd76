//! The keeper: one thread per instance, which has it started, waits for its end, and kills what is left of it before
//! its id can be anybody else's. The kernel kills a child when the *thread* that forked it ends, and that thread must be
//! within the fence, so it is another one, which does nothing but outlive the child.

use crate::cgroup::Group;
use crate::fence::Reach;
use crate::gate;
use crate::group::{self, Leader};
use crate::isolation::{FILES_MAX, Isolation};
use crate::locate::Located;
use crate::remember::{Memory, Remembered, boot_id};
use crate::stray;
use futures::future::BoxFuture;
use rustix::process::{Pid, Resource, Rlimit, WaitId, WaitIdOptions, getrlimit, prlimit, waitid};
use sengu_execution::runtime::{Attached, Exit, Resources, RuntimeError};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use tokio::sync::oneshot;

/// Bytes in each pipe, so that a full batch of frames is one write.
const PIPE_BYTES: usize = 256 << 10;
/// Neither thread of an instance goes deep.
pub const STACK_BYTES: usize = 256 << 10;

/// What is to be started.
pub struct Plan {
    pub located: Located,
    pub arguments: Vec<String>,
    pub folder: PathBuf,
    pub directory: PathBuf,
    pub name: String,
    pub label: String,
    pub resources: Resources,
    pub isolation: Arc<Isolation>,
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
    let plan = Arc::new(plan);
    match begin(&plan, memory) {
        Ok((kept, pipes)) => {
            let leader = kept.leader.clone();
            if started.send(Ok(Begun { pipes, leader })).is_err() {
                // Nobody waits for it any more.
                kept.leader.kill_group();
            }
            Some(kept.wait())
        }
        Err(e) => {
            let _ = started.send(Err(e));
            None
        }
    }
}

/// A started instance, and what it needs to end well.
struct Kept {
    plan: Arc<Plan>,
    child: Child,
    pid: Pid,
    leader: Arc<Leader>,
    group: Group,
    /// Its end lets the thread go that started the child.
    _starter: mpsc::Sender<()>,
}

fn begin(plan: &Arc<Plan>, memory: &Memory) -> Result<(Kept, Pipes), RuntimeError> {
    let group = plan.isolation.groups.make(&plan.name, &plan.resources)?;
    let (mut child, starter) = start(plan).inspect_err(|_| group.remove())?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        let _ = child.kill();
        return Err(RuntimeError::Engine(
            "the child has no process id".to_owned(),
        ));
    };
    let mut kept = Kept {
        plan: plan.clone(),
        child,
        pid,
        leader: Arc::new(Leader::new(pid)),
        group,
        _starter: starter,
    };
    let placed = kept.place(memory).and_then(|()| match pipes {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok(Pipes {
            stdin,
            stdout,
            stderr,
        }),
        _ => Err(RuntimeError::Engine("the child has no pipes".to_owned())),
    });
    let mut pipes = match placed {
        Ok(pipes) => pipes,
        Err(e) => {
            kept.end();
            return Err(e);
        }
    };
    if plan.isolation.gate.has_shell {
        // It may be gone already; its end tells.
        let _ = pipes.stdin.write_all(gate::OPEN);
    }
    Ok((kept, pipes))
}

/// Starts the child from a thread within the fence, which lives until the sender is dropped.
fn start(plan: &Arc<Plan>) -> Result<(Child, mpsc::Sender<()>), RuntimeError> {
    let (stay, end) = mpsc::channel::<()>();
    let (give, take) = mpsc::sync_channel(1);
    let own = plan.clone();
    let starter = move || {
        let started = spawn(&own);
        drop(own);
        let _ = give.send(started);
        let _ = end.recv();
    };
    std::thread::Builder::new()
        .name("keeper-start".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(starter)
        .map_err(RuntimeError::io("start a thread"))?;
    plan.isolation.groups.warm_up();
    let gone = |_| RuntimeError::Engine("the starting thread is gone".to_owned());
    let child = take.recv().map_err(gone)??;
    Ok((child, stay))
}

fn spawn(plan: &Plan) -> Result<Child, RuntimeError> {
    let mut read = plan.located.readable.clone();
    let folder = std::path::absolute(&plan.folder).unwrap_or_else(|_| plan.folder.clone());
    read.push(folder.clone());
    let write = plan.directory.clone();
    plan.isolation.fence.enter(&Reach { read, write })?;
    let mut command = plan.isolation.gate.command(&plan.located.program);
    command.args(&plan.arguments).env_clear();
    for key in ["PATH", "LANG"] {
        if let Some(value) = std::env::var_os(key) {
            command.env(key, value);
        }
    }
    command
        .env("HOME", &plan.directory)
        .env("TMPDIR", &plan.directory)
        .env("SENGU_WORKER_FOLDER", folder)
        .current_dir(&plan.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(RuntimeError::io(format!(
            "start {}",
            Path::new(&plan.located.program).display()
        )))
}

impl Kept {
    /// Puts the child, which still waits at the gate, under its limits.
    fn place(&mut self, memory: &Memory) -> Result<(), RuntimeError> {
        self.group
            .add(self.pid)
            .map_err(RuntimeError::io("put an instance into its control group"))?;
        self.limit();
        let raw = self.pid.as_raw_nonzero().get();
        let remembered = Remembered {
            pid: raw,
            // It cannot be reaped before we wait for it, so it is there.
            start_ticks: group::stat(raw).map_or(0, |stat| stat.start_ticks),
            boot: boot_id(),
            label: self.plan.label.clone(),
            groups: self.group.directories().to_vec(),
        };
        memory.write(&self.plan.name, &remembered)
    }

    /// Limits that hold for the worker and what it starts. One that cannot be set is not a reason to refuse work.
    fn limit(&self) {
        let set = |resource, most: u64| {
            // Nobody but root may raise what sengu itself was given.
            let most = getrlimit(resource)
                .maximum
                .map_or(most, |own| own.min(most));
            let limit = Rlimit {
                current: Some(most),
                maximum: Some(most),
            };
            if let Err(e) = prlimit(Some(self.pid), resource, limit) {
                tracing::debug!(?resource, error = %e, "limit not set");
            }
        };
        set(Resource::Core, 0);
        set(Resource::Nofile, FILES_MAX);
        if let Some(bytes) = self.plan.isolation.data_bytes_max(&self.plan.resources) {
            set(Resource::Data, bytes);
        }
        // When memory runs out, the kernel takes workers first.
        let file = format!("/proc/{}/oom_score_adj", self.pid.as_raw_nonzero());
        let _ = std::fs::write(file, "500");
    }

    /// Waits for the end of the leader, then for that of what it left behind.
    fn wait(mut self) -> Exit {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(self.pid), options) {}
        let was_asked = self.leader.was_killed();
        let (status, left_behind) = self.end();
        let (status, memory_kills) = (status, left_behind.memory_kills);
        let plain = status.map_or_else(|| "its end was not seen".to_owned(), words);
        let limit = format!(
            "over its memory limit of {} MB",
            self.plan.resources.memory_mb
        );
        let by_signal = status.is_some_and(|s| s.signal().is_some());
        let why = match (memory_kills, by_signal && !was_asked) {
            (0, _) => plain,
            (_, true) => format!("killed by the kernel: {limit}"),
            (n, false) => format!("{plain} ({n} of its processes killed by the kernel: {limit})"),
        };
        Exit {
            clean: status.is_some_and(|s| s.success()),
            why,
            left_behind: left_behind.processes,
        }
    }

    /// Kills all that is left, while the unreaped leader still keeps its id from others, then reaps.
    fn end(&mut self) -> (Option<ExitStatus>, LeftBehind) {
        let pid = self.pid.as_raw_nonzero().get();
        let mut others = self.group.members();
        if self.group.directories().is_empty() {
            others.extend(stray::of(&self.plan.directory));
            others.extend(group::members(self.pid));
        }
        others.remove(&pid);
        self.leader.kill_group();
        if !self.group.kill() {
            tracing::warn!(instance = self.plan.name, "something of it does not die");
        }
        if self.group.directories().is_empty() {
            stray::kill(&self.plan.directory);
        }
        let memory_kills = self.group.out_of_memory_kills();
        let mut status = None;
        let child = &mut self.child;
        self.leader.reaped(|| status = child.wait().ok());
        self.group.remove();
        let left_behind = LeftBehind {
            processes: u32::try_from(others.len()).unwrap_or(u32::MAX),
            memory_kills,
        };
        (status, left_behind)
    }
}

struct LeftBehind {
    processes: u32,
    memory_kills: u64,
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
