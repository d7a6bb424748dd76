//! One `sengu up` on a data directory of its own, and the command line that finds it there.

use crate::process::{Process, descendants, signal};
use crate::{Api, folder, s, until};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const READY_MAX: Duration = Duration::from_secs(30);
const END_MAX: Duration = Duration::from_secs(20);
const TAIL_LINES: usize = 40;

pub struct Instance {
    /// The data directory.
    pub data: PathBuf,
    /// Where stderr of all its lives goes.
    pub log: PathBuf,
    pub api: Api,
    /// The log's filter; `info` unless said.
    pub log_filter: String,
    /// Words before the program, such as `prlimit`.
    pub wrapper: Vec<String>,
    /// More words for `sengu up`, such as `--role logic`.
    pub arguments: Vec<String>,
    /// Command lines run so far: each has files of its own, for several may run at once.
    commands: AtomicU32,
    child: Option<Child>,
    #[allow(dead_code)] // removed on drop
    place: TempDir,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// # Panics
    /// When it ended with another code.
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// # Panics
    /// When stdout is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

impl Instance {
    /// Starts sengu on a fresh data directory and waits until it is ready.
    pub fn start() -> Instance {
        let mut instance = Instance::prepare();
        instance.up();
        instance
    }

    /// A fresh place; nothing runs yet.
    pub fn prepare() -> Instance {
        let place = tempfile::tempdir().expect("a temporary directory");
        Instance {
            data: place.path().join("data"),
            log: place.path().join("up.log"),
            api: Api {
                address: String::new(),
                token: None,
            },
            log_filter: "info".to_owned(),
            wrapper: Vec::new(),
            arguments: Vec::new(),
            commands: AtomicU32::new(0),
            child: None,
            place,
        }
    }

    /// Starts sengu and waits until it is ready.
    ///
    /// # Panics
    /// When it is not.
    pub fn up(&mut self) {
        // That of an earlier life.
        let _ = fs::remove_file(self.data.join("endpoint"));
        let mut command = self.command();
        command.args(["up", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(&self.data).args(&self.arguments);
        let log = fs::File::options()
            .append(true)
            .create(true)
            .open(&self.log)
            .expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sengu starts");
        self.child = Some(child);
        let endpoint = self.data.join("endpoint");
        // One that stands by lives, and is not ready.
        let alone = self.arguments.iter().any(|word| word == "logic");
        let path = if alone { "/healthz" } else { "/readyz" };
        let ready = || {
            if let Some(status) = self.child.as_mut()?.try_wait().ok()? {
                panic!("sengu up ended with {status}:\n{}", self.tail());
            }
            let url = fs::read_to_string(&endpoint).ok()?;
            let api = Api {
                address: url.trim().strip_prefix("http://")?.to_owned(),
                token: Some(
                    fs::read_to_string(self.data.join("token"))
                        .ok()?
                        .trim()
                        .to_owned(),
                ),
            };
            let reply = api.try_call("GET", path, &[], b"").ok()?;
            (reply.status == 200).then_some(api)
        };
        self.api = until("sengu up is ready", READY_MAX, ready);
    }

    fn command(&self) -> Command {
        let program = folder().join("sengu");
        let mut words = self.wrapper.iter();
        let mut command = match words.next() {
            None => Command::new(program),
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(program);
                command
            }
        };
        command
            .env_remove("SENGU_SERVER")
            .env_remove("SENGU_TOKEN_FILE")
            .env("SENGU_DATA", &self.data)
            .env("SENGU_LOG", &self.log_filter);
        command
    }

    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("sengu runs").id()
    }

    /// Worker processes in hand, those of one kind when `kind` is not empty.
    pub fn workers(&self, kind: &str) -> Vec<Process> {
        workers_of(self.pid(), kind)
    }

    /// As a power cut would: no chance to say good-bye.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("sengu runs");
        child.kill().expect("kill sengu");
        child.wait().expect("sengu is ours");
    }

    /// Asks for the end and waits for it.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("sengu runs");
        signal(child.id(), Signal::TERM);
        until("sengu ends after SIGTERM", END_MAX, || {
            child.try_wait().expect("sengu is ours")
        })
    }

    pub fn alive(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// Runs the command line to its end.
    pub fn cli(&self, arguments: &[&str]) -> Ran {
        self.cli_with(arguments, &[])
    }

    /// # Panics
    /// When it cannot be started, or does not end.
    pub fn cli_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(folder().join("sengu"));
        command
            .args(arguments)
            .env_remove("SENGU_SERVER")
            .env_remove("SENGU_TOKEN_FILE")
            .env("SENGU_DATA", &self.data)
            .envs(environment.iter().copied())
            .stdin(Stdio::null());
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let out = self.place.path().join(format!("cli-{number}.out"));
        let err = self.place.path().join(format!("cli-{number}.err"));
        let mut child = command
            .stdout(fs::File::create(&out).expect("a file"))
            .stderr(fs::File::create(&err).expect("a file"))
            .spawn()
            .expect("sengu starts");
        let what = format!("`sengu {}` ends", arguments.join(" "));
        let status = until(&what, s(120), || child.try_wait().expect("sengu is ours"));
        let text =
            |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Ran {
            code: status.code().unwrap_or(-1),
            stdout: text(&out),
            stderr: text(&err),
        }
    }

    /// A path beside the data directory, removed with it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The last lines of the log.
    pub fn tail(&self) -> String {
        tail(&self.log)
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Worker processes below `pid`, those of one kind when `kind` is not empty.
pub(crate) fn workers_of(pid: u32, kind: &str) -> Vec<Process> {
    let wanted = format!("worker-{kind}");
    let mut all = descendants(pid);
    // The kernel cuts names at 15 bytes: sengu-worker-re
    all.retain(|p| kind.is_empty() || wanted.starts_with(p.name.trim_start_matches("sengu-")));
    all
}

impl Drop for Instance {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let workers = descendants(child.id());
        let _ = child.kill();
        let _ = child.wait();
        for worker in workers {
            worker.kill();
        }
        if std::thread::panicking() {
            eprintln!("--- log of sengu up\n{}", self.tail());
        }
    }
}
