//! The processes of the demo: `sengu up` and one twin process per kind. Every one is ended by its own id.

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use sengu_model::Record;
use sengu_model::manifest::Manifest;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};

const READY_MAX: Duration = Duration::from_secs(60);
const ANSWER_MAX: Duration = Duration::from_secs(20);
const END_MAX: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Lines of the control plane's log shown when something goes wrong.
const TAIL_LINES: usize = 15;

/// A thousand listeners and their connections are more than the usual soft limit. Children inherit it.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

/// The end of a log file.
pub fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines[from..]
        .iter()
        .map(|l| format!("  {}\n", crate::output::safe(l)))
        .collect()
}

/// `sengu up` of this very program.
pub struct Up {
    child: Child,
    data: PathBuf,
}

impl Up {
    pub fn start(program: &Path, data: &Path) -> anyhow::Result<Up> {
        let log = std::fs::File::create(data.join("up.log")).context("create up.log")?;
        let child = Command::new(program)
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .env_remove("SENGU_SERVER")
            .env_remove("SENGU_TOKEN_FILE")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for the demo, which then ends its children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("start sengu up")?;
        Ok(Up {
            child,
            data: data.to_owned(),
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Waits until it listens; gives its URL.
    pub async fn ready(&mut self) -> anyhow::Result<String> {
        let endpoint = self.data.join("endpoint");
        let wait = async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    bail!("sengu up ended with {status}");
                }
                if let Ok(url) = std::fs::read_to_string(&endpoint)
                    && !url.trim().is_empty()
                    && self.data.join("token").exists()
                    && is_ready(url.trim()).await
                {
                    return Ok(url.trim().to_owned());
                }
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(READY_MAX, wait)
            .await
            .context("sengu up was not ready within 60s")?
    }

    /// Asks it to end, then ends it.
    pub async fn end(&mut self) {
        end(&mut self.child).await;
    }
}

async fn is_ready(url: &str) -> bool {
    let connect = crate::client::Connect {
        server: Some(url.to_owned()),
        ..Default::default()
    };
    let Ok(client) = crate::client::Client::find(&connect) else {
        return false;
    };
    client.ok("/readyz").await
}

async fn end(child: &mut Child) {
    if let Some(pid) = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
    {
        let _ = kill_process(pid, Signal::TERM);
        if timeout(END_MAX, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }
}

/// The twins of one kind, in one process.
pub struct Twins {
    pub kind: String,
    pub records: Vec<Record>,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

/// What a twin saw of one target.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Seen {
    #[serde(default)]
    pub effects: BTreeMap<String, u64>,
    #[serde(default)]
    pub sessions_max: u32,
}

impl Twins {
    /// Starts the twin that the kind's worker.toml names.
    pub async fn start(
        folder: PathBuf,
        kind: &str,
        prefix: &str,
        count: u32,
        data: &Path,
    ) -> anyhow::Result<Twins> {
        let text = std::fs::read_to_string(folder.join("worker.toml"))
            .with_context(|| format!("read worker.toml of {kind}"))?;
        let manifest = Manifest::parse(&text)?;
        let twin = manifest
            .twin
            .with_context(|| format!("worker {kind} has no twin"))?;
        let (program, arguments) = twin
            .command
            .split_first()
            .context("twin.command is empty")?;
        let beside = folder.join(program);
        let program = if beside.is_file() {
            beside
        } else {
            PathBuf::from(program)
        };
        let log = std::fs::File::create(data.join(format!("twin-{kind}.log")))?;
        let mut child = Command::new(&program)
            .args(arguments)
            .args(["--count", &count.to_string(), "--prefix", prefix])
            .args(["--label", "site=demo"])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start twin {}", program.display()))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut twins = Twins {
            kind: kind.to_owned(),
            records: Vec::new(),
            stdin: child.stdin.take(),
            child,
            lines: BufReader::new(stdout).lines(),
        };
        timeout(READY_MAX, twins.read_records())
            .await
            .with_context(|| format!("the {kind} twins were not ready within 60s"))??;
        Ok(twins)
    }

    async fn read_records(&mut self) -> anyhow::Result<()> {
        loop {
            let line = self.line().await?;
            match line.get("type").and_then(Value::as_str) {
                Some("record") => {
                    let record = line.get("record").cloned().unwrap_or(Value::Null);
                    self.records.push(serde_json::from_value(record)?);
                }
                Some("ready") => return Ok(()),
                _ => bail!("the {} twin said {line}", self.kind),
            }
        }
    }

    async fn line(&mut self) -> anyhow::Result<Value> {
        let line = self.lines.next_line().await?;
        let line = line.with_context(|| format!("the {} twin has ended", self.kind))?;
        serde_json::from_str(&line).with_context(|| format!("the {} twin said {line:?}", self.kind))
    }

    async fn ask(&mut self, question: Value) -> anyhow::Result<Value> {
        let stdin = self.stdin.as_mut().context("stdin is open")?;
        stdin.write_all(format!("{question}\n").as_bytes()).await?;
        stdin.flush().await?;
        let answer = timeout(ANSWER_MAX, self.line())
            .await
            .with_context(|| format!("the {} twin did not answer", self.kind))??;
        if answer.get("type").and_then(Value::as_str) == Some("error") {
            bail!("the {} twin refused {question}: {answer}", self.kind);
        }
        Ok(answer)
    }

    /// Makes one target misbehave; for `count` answers, or until cleared.
    pub async fn fault(
        &mut self,
        target: &str,
        fault: &str,
        ms: Option<u64>,
        count: Option<u32>,
    ) -> anyhow::Result<()> {
        let question =
            json!({"type": "fault", "targets": target, "fault": fault, "ms": ms, "count": count});
        self.ask(question).await.map(|_| ())
    }

    pub async fn clear(&mut self) -> anyhow::Result<()> {
        self.ask(json!({"type": "clear"})).await.map(|_| ())
    }

    pub async fn report(&mut self) -> anyhow::Result<BTreeMap<String, Seen>> {
        let answer = self.ask(json!({"type": "report"})).await?;
        Ok(serde_json::from_value(
            answer.get("targets").cloned().unwrap_or(Value::Null),
        )?)
    }

    /// Names of the targets, in the order of their numbers.
    pub fn targets(&self) -> Vec<String> {
        let targets = self.records.iter().filter(|r| r.kind == "Target");
        targets.map(|r| r.metadata.name.clone()).collect()
    }

    pub async fn end(&mut self) {
        // A twin lives until its stdin closes.
        self.stdin = None;
        if timeout(END_MAX, self.child.wait()).await.is_err() {
            end(&mut self.child).await;
        }
    }
}

/// A process below `ancestor` whose program has this name.
pub fn descendant(ancestor: u32, program: &str) -> Option<u32> {
    let mut parents = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        if let Some(parent) = parent_of(pid) {
            parents.insert(pid, parent);
        }
    }
    let below = |mut pid: u32| {
        // A tree of processes is never this deep; a pid reused meanwhile must not send us round.
        for _ in 0..16 {
            match parents.get(&pid) {
                Some(parent) if *parent == ancestor => return true,
                Some(parent) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    parents
        .keys()
        .copied()
        .filter(|pid| below(*pid))
        .find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let first = line.split(|b| *b == 0).next().unwrap_or_default();
            let first = String::from_utf8_lossy(first);
            Path::new(first.as_ref())
                .file_name()
                .is_some_and(|name| name == program)
        })
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after it are state and parent.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// Ends a process at once, as a crash would.
pub fn kill_hard(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_by_its_program_and_ends_hard() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        // A process that has just begun has no words yet.
        let found = loop {
            let found = descendant(std::process::id(), "sleep");
            if found.is_some() || std::time::Instant::now() > end {
                break found;
            }
        };
        assert_eq!(found, Some(child.id()));
        assert_eq!(descendant(std::process::id(), "no-such-program"), None);
        assert!(kill_hard(child.id()));
        assert!(!child.wait().unwrap().success());
    }
}
