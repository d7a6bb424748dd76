//! For tests of workers: a worker or twin process spoken to over its pipes, as a host would.
//!
//! Blocking on purpose: tests read top to bottom. Every wait has a limit.

use crate::{Record, TwinTarget};
use sengu_model::wire::worker::{Reading, TargetFrame};
use sengu_model::{Outcome, TaskId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A child that speaks JSON lines.
pub struct Lines {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
}

impl Lines {
    /// # Panics
    /// When the program cannot be started.
    pub fn start(command: &mut Command) -> Lines {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("start {command:?}: {e}"));
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        Lines {
            stdin: child.stdin.take(),
            child,
            lines,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// # Panics
    /// When the child no longer reads.
    pub fn send(&mut self, line: &Value) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{line}").expect("the child reads");
        stdin.flush().expect("the child reads");
    }

    /// The next line, or none within `wait`.
    pub fn next(&self, wait: Duration) -> Option<Value> {
        self.lines.recv_timeout(wait).ok()
    }

    /// Closes stdin and waits for the exit.
    ///
    /// # Panics
    /// When the child does not exit within `wait`.
    pub fn close(&mut self, wait: Duration) -> ExitStatus {
        self.stdin = None;
        let end = Instant::now() + wait;
        loop {
            if let Some(status) = self.child.try_wait().expect("child is ours") {
                return status;
            }
            assert!(
                Instant::now() < end,
                "the child did not exit within {wait:?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a task ended and what it said on the way.
#[derive(Debug)]
pub struct Ended {
    pub outcome: Outcome,
    pub readings: Vec<Reading>,
    pub facts: BTreeMap<String, Value>,
    /// `(level, message)`.
    pub logs: Vec<(String, String)>,
    pub checkpoint: Option<Value>,
}

impl Ended {
    /// Value of the first reading of that name.
    pub fn reading(&self, name: &str) -> Option<f64> {
        self.readings
            .iter()
            .find(|r| r.name == name)
            .map(|r| r.value)
    }
}

/// A worker instance.
pub struct Instance {
    pub lines: Lines,
    next_id: u64,
    ended: BTreeMap<u64, Ended>,
    open: BTreeMap<u64, Ended>,
}

impl Instance {
    /// Starts the program with `folder` as the worker's folder and waits for `hello`.
    ///
    /// # Panics
    /// When there is no hello within 10 s.
    pub fn start(program: &str, folder: &str) -> Instance {
        let lines = Lines::start(Command::new(program).env("SENGU_WORKER_FOLDER", folder));
        let hello = lines
            .next(Duration::from_secs(10))
            .expect("hello within 10 s");
        assert_eq!(hello["type"], "hello", "{hello}");
        Instance {
            lines,
            next_id: 0,
            ended: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    /// Hands over a task and returns its number; `wait` collects it.
    pub fn begin(
        &mut self,
        target: &TargetFrame,
        secrets: &BTreeMap<String, String>,
        action: &str,
        params: Value,
        timeout: Duration,
    ) -> u64 {
        self.begin_probe(target, secrets, action, params, timeout, Value::Null)
    }

    /// As `begin`, with the `probe` part of the frame.
    pub fn begin_probe(
        &mut self,
        target: &TargetFrame,
        secrets: &BTreeMap<String, String>,
        action: &str,
        params: Value,
        timeout: Duration,
        probe: Value,
    ) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        let ended = Ended {
            outcome: Outcome::Unknown {
                why: "open".to_owned(),
            },
            readings: Vec::new(),
            facts: BTreeMap::new(),
            logs: Vec::new(),
            checkpoint: None,
        };
        self.open.insert(id, ended);
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.lines.send(&json!({
            "type": "task", "id": TaskId(id), "fence": "1.1", "action": action, "params": params,
            "target": target, "secrets": secrets, "timeout_ms": timeout_ms, "probe": probe,
        }));
        id
    }

    pub fn cancel(&mut self, id: u64) {
        self.lines
            .send(&json!({"type": "cancel", "id": TaskId(id)}));
    }

    /// Waits for the outcome of task `id`.
    ///
    /// # Panics
    /// When it is not there within `wait`.
    pub fn wait(&mut self, id: u64, wait: Duration) -> Ended {
        let end = Instant::now() + wait;
        loop {
            if let Some(ended) = self.ended.remove(&id) {
                return ended;
            }
            let left = end.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .next(left)
                .unwrap_or_else(|| panic!("no outcome of {id} in {wait:?}"));
            self.take(&line);
        }
    }

    /// Runs one task to its end, with 5 s beyond its timeout.
    pub fn call(
        &mut self,
        target: &TargetFrame,
        secrets: &BTreeMap<String, String>,
        action: &str,
        params: Value,
        timeout: Duration,
    ) -> Ended {
        let id = self.begin(target, secrets, action, params, timeout);
        self.wait(id, timeout + Duration::from_secs(5))
    }

    /// Asks for drain and waits for a clean exit.
    pub fn drain(mut self) {
        self.lines.send(&json!({"type": "drain"}));
        let status = self.lines.close(Duration::from_secs(10));
        assert!(status.success(), "drained with {status}");
    }

    fn take(&mut self, line: &Value) {
        let Some(id) = line["id"].as_str().and_then(|t| t.parse::<TaskId>().ok()) else {
            return;
        };
        let Some(open) = self.open.get_mut(&id.0) else {
            return;
        };
        match line["type"].as_str().unwrap_or_default() {
            "log" => open.logs.push((
                line["level"].as_str().unwrap_or_default().to_owned(),
                line["message"].as_str().unwrap_or_default().to_owned(),
            )),
            "progress" if !line["checkpoint"].is_null() => {
                open.checkpoint = Some(line["checkpoint"].clone());
            }
            "reading" => {
                if let Ok(mut more) = serde_json::from_value(line["readings"].clone()) {
                    open.readings.append(&mut more);
                }
                if let Value::Object(facts) = &line["facts"] {
                    open.facts.extend(facts.clone());
                }
            }
            "outcome" => {
                let outcome = serde_json::from_value(line["outcome"].clone());
                if let Some(mut ended) = self.open.remove(&id.0) {
                    ended.outcome = outcome.unwrap_or_else(|e| panic!("{line}: {e}"));
                    self.ended.insert(id.0, ended);
                }
            }
            _ => {}
        }
    }
}

/// A twin process and the fleet it plays.
pub struct TwinProcess {
    pub lines: Lines,
    pub records: Vec<Record>,
}

impl TwinProcess {
    /// Starts `<program> twin <arguments>` and reads its records.
    ///
    /// # Panics
    /// When it is not ready within 60 s.
    pub fn start(program: &str, arguments: &[&str]) -> TwinProcess {
        let lines = Lines::start(Command::new(program).arg("twin").args(arguments));
        let mut records = Vec::new();
        loop {
            let line = lines
                .next(Duration::from_secs(60))
                .expect("twin is ready within 60 s");
            match line["type"].as_str() {
                Some("record") => {
                    let record = serde_json::from_value(line["record"].clone());
                    records.push(record.expect("twin prints records"));
                }
                Some("ready") => return TwinProcess { lines, records },
                _ => panic!("unexpected line of a twin: {line}"),
            }
        }
    }

    /// The targets as a worker gets them, with their secrets.
    pub fn targets(&self) -> Vec<(TargetFrame, BTreeMap<String, String>)> {
        let secret = |name: &Value| {
            let found = self
                .records
                .iter()
                .find(|r| r.kind == "Secret" && *name == r.metadata.name);
            found.map(|r| serde_json::from_value(r.spec["data"].clone()).expect("strings"))
        };
        let targets = self.records.iter().filter(|r| r.kind == "Target");
        targets
            .map(|r| {
                let frame = TargetFrame {
                    name: r.metadata.name.clone(),
                    address: r.spec["address"].as_str().unwrap_or_default().to_owned(),
                    config: r.spec["config"].clone(),
                    identity: serde_json::from_value(r.spec["identity"].clone())
                        .unwrap_or_default(),
                };
                (frame, secret(&r.spec["secret"]).unwrap_or_default())
            })
            .collect()
    }

    /// # Panics
    /// When the twin refuses.
    pub fn fault(&mut self, targets: &str, fault: &str, ms: Option<u64>, count: Option<u32>) {
        let request =
            json!({"type": "fault", "targets": targets, "fault": fault, "ms": ms, "count": count});
        let answer = self.ask(&request);
        assert_eq!(answer["type"], "ok", "{answer}");
    }

    pub fn clear(&mut self) {
        self.ask(&json!({"type": "clear"}));
    }

    pub fn report(&mut self) -> BTreeMap<String, TwinTarget> {
        let answer = self.ask(&json!({"type": "report"}));
        serde_json::from_value(answer["targets"].clone()).expect("a report")
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.lines.send(request);
        self.lines
            .next(Duration::from_secs(20))
            .expect("the twin answers within 20 s")
    }
}
