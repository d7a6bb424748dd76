//! The conformance kit for workers, in any language: starts a worker and plays a host that is sometimes newer, sometimes
//! hurried, sometimes wrong. It never runs an action of the worker, so no target is needed and none is touched.

use crate::frames::{Lines, Piece};
use crate::hand;
use crate::lease::Fence;
use crate::runtime::{Exit, Handle, Image, Input, Output, Runtime};
use futures::future::BoxFuture;
use sengu_model::manifest::Manifest;
use sengu_model::wire::worker::{FromWorker, PROTOCOL};
use sengu_model::{Outcome, TaskId, limits};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// An answer to a task that needs no device.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// After the last expected line, for one too many to show.
const QUIET: Duration = Duration::from_millis(300);
/// Tasks sent at once, if the worker has as many slots.
const MANY_MAX: u32 = 64;
const UNKNOWN_ACTION: &str = "sengu-check.unknown";
const KNOWN_FRAMES: [&str; 6] = ["hello", "log", "progress", "reading", "outcome", "beat"];

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What must hold.
    pub claim: &'static str,
    pub verdict: Verdict,
    /// What was seen instead, or what it is good for.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// The worker works without it, but would be better with it.
    Advice,
    Failed,
}

/// Checks the worker in `folder`. Takes about a quarter of a minute, since a worker has ten seconds to beat.
///
/// When it does not even say a proper hello, that is the only check.
pub async fn check(runtime: &dyn Runtime, manifest: &Manifest, folder: &Path) -> Vec<Check> {
    let image = Image::of(manifest, "sha256:check".to_owned(), folder.to_owned());
    let kit = Kit {
        runtime,
        manifest,
        image,
    };
    let mut checks = Vec::new();
    let mut noise = Vec::new();
    let hello = kit.hello(&mut noise).await;
    let greeted = hello.is_ok();
    checks.push(verdict(
        "says hello in time, with its name, version, protocol and slots",
        hello,
    ));
    if !greeted {
        return checks;
    }
    // Beats take time, so they are listened for while the rest goes on.
    let (beats, rest) = tokio::join!(kit.beats(), kit.rest(&mut noise));
    checks.extend(rest);
    checks.push(verdict(
        "beats at least every 5 s, also when it has nothing to do",
        beats,
    ));
    let only_frames = match noise.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "{} lines were no frames; logs belong to stderr or into log frames; the first: {first}",
            noise.len()
        )),
    };
    checks.push(verdict("writes nothing but frames to stdout", only_frames));
    checks
}

fn verdict(claim: &'static str, result: Result<(), String>) -> Check {
    match result {
        Ok(()) => Check {
            claim,
            verdict: Verdict::Passed,
            detail: String::new(),
        },
        Err(detail) => Check {
            claim,
            verdict: Verdict::Failed,
            detail,
        },
    }
}

struct Kit<'a> {
    runtime: &'a dyn Runtime,
    manifest: &'a Manifest,
    image: Image,
}

impl Kit<'_> {
    async fn start(&self) -> Result<Subject, String> {
        let label = format!("{}@{}/check", self.image.kind, self.image.version);
        self.runtime
            .prepare(self.image.clone())
            .await
            .map_err(|e| e.text())?;
        let started = self.runtime.start(self.image.clone(), label).await;
        let handle = started.map_err(|e| e.text())?;
        let attached = self
            .runtime
            .attach(handle.clone())
            .await
            .map_err(|e| e.text())?;
        Ok(Subject {
            handle,
            stdin: Some(attached.stdin),
            stdout: attached.stdout,
            stderr: attached.stderr,
            exit: attached.exit,
            exited: None,
            lines: Lines::default(),
            heard: Heard::default(),
            last_words: Vec::new(),
        })
    }

    /// A fresh instance after its hello.
    async fn greeted(&self) -> Result<Subject, String> {
        let mut subject = self.start().await?;
        let hello = Duration::from_millis(limits::HELLO_MAX_MS);
        match subject.until(hello, |heard| heard.hello.is_some()).await {
            Ok(()) => Ok(subject),
            Err(e) => {
                self.end(subject, &mut Vec::new()).await;
                Err(format!("hello: {e}"))
            }
        }
    }

    async fn end(&self, mut subject: Subject, noise: &mut Vec<String>) {
        let _ = self.runtime.stop(subject.handle.clone()).await;
        noise.append(&mut subject.heard.noise);
    }

    async fn hello(&self, noise: &mut Vec<String>) -> Result<(), String> {
        let subject = self.greeted().await?;
        let hello = subject.heard.hello.clone().unwrap_or_default();
        let first = subject.heard.first.clone();
        self.end(subject, noise).await;
        let want = json!({
            "protocol": PROTOCOL, "worker": self.manifest.name, "version": self.manifest.version,
        });
        for field in ["protocol", "worker", "version"] {
            if hello[field] != want[field] {
                return Err(format!("{field} is {}, not {}", hello[field], want[field]));
            }
        }
        let slots = hello["slots"].as_u64().unwrap_or(0);
        if slots == 0 || slots > u64::from(self.manifest.slots) {
            return Err(format!(
                "slots is {slots}, not 1 to {}",
                self.manifest.slots
            ));
        }
        if first.as_deref() != Some("hello") {
            return Err(format!(
                "its first frame is a {}",
                first.unwrap_or_default()
            ));
        }
        Ok(())
    }

    /// Sends `before` and then a task that must be answered.
    async fn answers(
        &self,
        before: &[u8],
        task: Value,
        noise: &mut Vec<String>,
    ) -> Result<(), String> {
        let mut subject = self.greeted().await?;
        let result = async {
            subject.write(before).await?;
            subject.send(&task).await?;
            subject.answer_of(&task).await
        };
        let result = result.await;
        self.end(subject, noise).await;
        result
    }

    async fn rest(&self, noise: &mut Vec<String>) -> Vec<Check> {
        let mut checks = Vec::new();
        let refused = self.answers(b"", task(1), noise).await;
        let works = refused.is_ok();
        checks.push(verdict(
            "refuses an action that it does not know, and lives on",
            refused,
        ));
        if !works {
            // All that follows sends tasks and waits for their answer.
            return checks;
        }
        let mut newer = task(2);
        newer["from_the_future"] = json!({"a": [1, null]});
        newer["target"]["also"] = json!(true);
        let result = self.answers(b"", newer, noise).await;
        checks.push(verdict("ignores fields that it does not know", result));
        let unknown = b"{\"type\":\"sengu-check-unknown\",\"id\":\"t-0000000000009\"}\n";
        let result = self.answers(unknown, task(3), noise).await;
        checks.push(verdict(
            "ignores frames of a type that it does not know",
            result,
        ));
        let unknown = b"{\"type\":\"cancel\",\"id\":\"t-0000000000009\"}\n";
        let result = self.answers(unknown, task(4), noise).await;
        checks.push(verdict(
            "ignores the cancel of a task that it does not have",
            result,
        ));
        let mut large = task(5);
        large["params"] = json!({"text": "x".repeat(limits::TASK_PARAMS_BYTES_MAX - 100)});
        let result = self.answers(b"", large, noise).await;
        checks.push(verdict(
            "takes a task with half a megabyte of parameters",
            result,
        ));
        let many = self.many_at_once(noise).await;
        checks.push(verdict(
            "answers each of many tasks at once, once, with its own fence",
            many,
        ));
        let cancel = self.cancel(noise).await;
        checks.push(verdict("answers a task that is cancelled, once", cancel));
        let drain = self.drain(noise).await;
        checks.push(verdict(
            "drains: answers what it has, exits with status 0, leaves no process",
            drain,
        ));
        let end = self.end_of_input(noise).await;
        checks.push(verdict("exits when its stdin ends", end));
        let mut broken = verdict(
            "survives a line that is not JSON",
            self.answers(b"{\"type\":\"task\",\n", task(6), noise).await,
        );
        if broken.verdict == Verdict::Failed {
            broken.verdict = Verdict::Advice;
            broken
                .detail
                .push_str("; sengu sends none, but a broken line should cost one task, not all");
        }
        checks.push(broken);
        checks
    }

    async fn many_at_once(&self, noise: &mut Vec<String>) -> Result<(), String> {
        let mut subject = self.greeted().await?;
        let result = async {
            let hello = subject.heard.hello.clone().unwrap_or_default();
            let slots = hello["slots"]
                .as_u64()
                .unwrap_or(1)
                .min(u64::from(MANY_MAX));
            let tasks: Vec<Value> = (0..slots).map(|n| task(100 + n)).collect();
            let all: String = tasks.iter().map(|task| format!("{task}\n")).collect();
            subject.write(all.as_bytes()).await?;
            for task in &tasks {
                subject.answer_of(task).await?;
            }
            subject.quiet().await;
            subject.heard.each_once()
        };
        let result = result.await;
        self.end(subject, noise).await;
        result
    }

    async fn cancel(&self, noise: &mut Vec<String>) -> Result<(), String> {
        let mut subject = self.greeted().await?;
        let result = async {
            let task = task(200);
            let cancel = json!({"type": "cancel", "id": task["id"]});
            subject
                .write(format!("{task}\n{cancel}\n").as_bytes())
                .await?;
            subject.answer_of(&task).await?;
            subject.quiet().await;
            subject.heard.each_once()
        };
        let result = result.await;
        self.end(subject, noise).await;
        result
    }

    async fn drain(&self, noise: &mut Vec<String>) -> Result<(), String> {
        let mut subject = self.greeted().await?;
        let result = async {
            let task = task(300);
            subject
                .write(format!("{task}\n{{\"type\":\"drain\"}}\n").as_bytes())
                .await?;
            subject.answer_of(&task).await?;
            let exit = subject.exit_within("drain").await?;
            if !exit.clean {
                return Err(format!("it ended with {}", exit.why));
            }
            match exit.left_behind {
                0 => Ok(()),
                n => Err(format!("{n} processes were left behind")),
            }
        };
        let result = result.await;
        self.end(subject, noise).await;
        result
    }

    async fn end_of_input(&self, noise: &mut Vec<String>) -> Result<(), String> {
        let mut subject = self.greeted().await?;
        subject.stdin = None;
        let exit = subject.exit_within("the end of stdin").await;
        self.end(subject, noise).await;
        exit.map(|_| ())
    }

    async fn beats(&self) -> Result<(), String> {
        let mut subject = self.greeted().await?;
        // The first may come at once; it is the interval that counts.
        let twice = Duration::from_millis(2 * limits::BEAT_MS + 1_000);
        let result = subject.until(twice, |heard| heard.beats >= 2).await;
        let beats = subject.heard.beats;
        self.end(subject, &mut Vec::new()).await;
        result.map_err(|e| format!("{beats} beats in {} s ({e})", twice.as_secs()))
    }
}

fn task(n: u64) -> Value {
    json!({
        "type": "task", "id": TaskId(n), "fence": fence(n), "action": UNKNOWN_ACTION,
        "params": {}, "target": {"name": "check", "address": "check.invalid", "config": {}},
        "timeout_ms": 5_000,
    })
}

fn fence(n: u64) -> String {
    let epoch = 1_000 + n;
    Fence { epoch, attempt: 2 }.to_string()
}

/// All that an instance has said.
#[derive(Debug, Default)]
struct Heard {
    first: Option<String>,
    hello: Option<Value>,
    beats: u32,
    /// By task: the fence and the outcome of each answer.
    answers: BTreeMap<u64, Vec<(String, String)>>,
    noise: Vec<String>,
}

impl Heard {
    fn take(&mut self, piece: Piece) {
        let line = match piece {
            Piece::Line(line) => line,
            Piece::TooLong => return self.noise.push("a line of more than 1 MiB".to_owned()),
        };
        let Ok(frame) = serde_json::from_slice::<FromWorker>(line) else {
            return self.noise.push(excerpt(line));
        };
        self.first.get_or_insert_with(|| frame.kind.to_string());
        match frame.kind.as_ref() {
            "hello" => self.hello = serde_json::from_slice(line).ok(),
            "beat" => self.beats += 1,
            "outcome" => {
                let outcome = frame.outcome.map_or("null", |raw| raw.get()).to_owned();
                let fence = frame.fence.as_deref().unwrap_or_default().to_owned();
                let task = frame.id.map_or(0, |id| id.0);
                self.answers.entry(task).or_default().push((fence, outcome));
            }
            other if KNOWN_FRAMES.contains(&other) => {}
            _ => self.noise.push(excerpt(line)),
        }
    }

    fn each_once(&self) -> Result<(), String> {
        for (task, answers) in &self.answers {
            if answers.len() != 1 {
                return Err(format!(
                    "{} outcomes of task {}",
                    answers.len(),
                    TaskId(*task)
                ));
            }
            if *task < 1 {
                return Err("an outcome without its task".to_owned());
            }
        }
        Ok(())
    }
}

fn excerpt(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().take(80).collect()
}

/// A running worker that is being checked.
struct Subject {
    handle: Handle,
    stdin: Option<Input>,
    stdout: Output,
    stderr: Output,
    exit: BoxFuture<'static, Exit>,
    exited: Option<Exit>,
    lines: Lines,
    heard: Heard,
    last_words: Vec<u8>,
}

impl Subject {
    async fn send(&mut self, frame: &Value) -> Result<(), String> {
        self.write(format!("{frame}\n").as_bytes()).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(stdin) = &mut self.stdin else {
            return Err("its stdin is closed".to_owned());
        };
        let write = async {
            stdin.write_all(bytes).await?;
            stdin.flush().await
        };
        match tokio::time::timeout(ANSWER_MAX, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(self
                .gone(&format!("it no longer reads its stdin ({e})"))
                .await),
            Err(_) => Err("it does not read its stdin".to_owned()),
        }
    }

    /// Listens until `fits`.
    async fn until(&mut self, wait: Duration, fits: impl Fn(&Heard) -> bool) -> Result<(), String> {
        /// Kept of stderr for the explanation.
        const LAST_WORDS_BYTES_MAX: usize = 2 << 10;
        let end = Instant::now() + wait;
        while !fits(&self.heard) {
            self.lines.buffer.reserve(64 << 10);
            let mut words = [0u8; 1024];
            let read = tokio::select! {
                read = self.stdout.read_buf(&mut self.lines.buffer) => read,
                Ok(count @ 1..) = self.stderr.read(&mut words) => {
                    self.last_words.extend_from_slice(&words[..count]);
                    let over = self.last_words.len().saturating_sub(LAST_WORDS_BYTES_MAX);
                    self.last_words.drain(..over);
                    continue;
                }
                () = tokio::time::sleep_until(end) => {
                    return Err(format!("nothing within {} s", wait.as_secs()));
                }
            };
            let heard = &mut self.heard;
            match read {
                Ok(1..) => self.lines.cut(|piece| heard.take(piece)),
                _ => {
                    self.lines.finish(|piece| heard.take(piece));
                    if fits(&self.heard) {
                        return Ok(());
                    }
                    return Err(self.gone("it closed its stdout").await);
                }
            }
        }
        Ok(())
    }

    /// What is to be said of a worker that is no longer there.
    async fn gone(&mut self, what: &str) -> String {
        self.wait_for_exit(QUIET).await;
        let _ = tokio::time::timeout(QUIET, self.stderr.read_to_end(&mut self.last_words)).await;
        let mut text = match &self.exited {
            Some(exit) => format!("it ended with {}", exit.why),
            None => what.to_owned(),
        };
        let words = String::from_utf8_lossy(&self.last_words);
        if let Some(last) = words.lines().rfind(|line| !line.trim().is_empty()) {
            text.push_str("; its last line on stderr: ");
            text.extend(last.chars().take(200));
        }
        text
    }

    /// The answer to a task of an unknown action: `failed` with code `refused`, in its own fence.
    async fn answer_of(&mut self, task: &Value) -> Result<(), String> {
        let id: TaskId = task["id"]
            .as_str()
            .and_then(|t| t.parse().ok())
            .unwrap_or_default();
        self.until(ANSWER_MAX, |heard| heard.answers.contains_key(&id.0))
            .await?;
        let Some((fence, outcome)) = self.heard.answers.get(&id.0).and_then(|a| a.first()) else {
            return Err("no answer".to_owned());
        };
        if task["fence"] != *fence {
            return Err(format!("the fence is {fence:?}, not {}", task["fence"]));
        }
        hand::check_outcome(outcome).map_err(|e| format!("outcome {outcome}: {e}"))?;
        let parsed: Result<Outcome, _> = serde_json::from_str(outcome);
        match parsed {
            Ok(Outcome::Failed(failure)) if failure.code == sengu_model::FailureCode::Refused => {
                Ok(())
            }
            Ok(Outcome::Cancelled { .. }) => Ok(()),
            _ => Err(format!(
                "the outcome of the unknown action is {outcome}, not failed with code refused"
            )),
        }
    }

    /// Listens a little longer, for what should not come.
    async fn quiet(&mut self) {
        let _ = self.until(QUIET, |_| false).await;
    }

    async fn exit_within(&mut self, of: &str) -> Result<Exit, String> {
        let wait = Duration::from_millis(limits::DRAIN_MAX_MS);
        let end = Instant::now() + wait;
        // Its last words may be more than a pipe holds.
        let _ = self.until(wait, |_| false).await;
        self.wait_for_exit(end.saturating_duration_since(Instant::now()).max(QUIET))
            .await;
        let late = || format!("it was still there {} s after {of}", wait.as_secs());
        self.exited.clone().ok_or_else(late)
    }

    async fn wait_for_exit(&mut self, wait: Duration) {
        if self.exited.is_none() {
            self.exited = tokio::time::timeout(wait, &mut self.exit).await.ok();
        }
    }
}
