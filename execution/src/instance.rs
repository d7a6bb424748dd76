//! What the WEE knows of one instance, from its start to its last byte.

use crate::lease::IdHash;
use crate::pool::{InstanceView, Phase};
use crate::pools::PoolKey;
use crate::redact::Redactor;
use crate::runtime::{Exit, Handle, Image, Input, Runtime};
use sengu_model::TaskId;
use sengu_model::limits;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Frames waiting to be read by an instance, in bytes: beyond this it gets no more tasks.
pub const UNREAD_BYTES_MAX: usize = 8 << 20;
/// Useless output that is read from one instance within a second; then its output waits for the next second.
pub const WASTE_BYTES_PER_S_MAX: usize = 4 << 20;
/// Last lines of stderr kept for a complaint.
const STDERR_LINES_MAX: usize = 6;
const STDERR_LINE_BYTES_MAX: usize = 4 << 10;
/// What is quoted of one line, in characters.
const QUOTE_CHARS_MAX: usize = 200;
/// Values of secrets remembered per instance to keep them out of what is quoted from it; beyond, nothing is quoted.
const SECRETS_SEEN_MAX: usize = 4_096;
/// Lines of stderr traced per second and instance.
const STDERR_LINES_PER_S_MAX: u32 = 20;

pub struct Instance {
    pub key: u64,
    pub pool: PoolKey,
    pub image: Arc<Image>,
    pub runtime: Arc<dyn Runtime>,
    /// `kind@version/number`.
    pub label: Arc<str>,
    pub phase: Phase,
    /// None until the runtime has started it.
    pub handle: Option<Handle>,
    pub slots: u32,
    pub busy: u32,
    /// Tasks handed to it in its life.
    pub tasks: u64,
    /// Tasks in hand that did not answer, not even to a cancel.
    pub given_up: HashSet<TaskId, IdHash>,
    /// When the first one was given up.
    pub given_up_ms: Option<u64>,
    /// Frames to write next.
    pub out: Vec<u8>,
    /// None while a write is under way, and once closed.
    pub stdin: Option<Input>,
    pub writing_bytes: usize,
    pub stdout_open: bool,
    pub stderr_open: bool,
    pub exit: Option<Exit>,
    /// When and which of its streams it closed; its exit should follow at once.
    pub closed: Option<(u64, &'static str)>,
    /// Why it was killed, when it was.
    pub killed: Option<String>,
    pub started_ms: u64,
    pub idle_since_ms: u64,
    pub heard_ms: u64,
    pub beat_ms: u64,
    pub drain_ms: u64,
    pub killed_ms: u64,
    pub exit_ms: u64,
    /// Useless bytes within the second that began at `waste_since_ms`.
    waste_bytes: usize,
    waste_since_ms: u64,
    secrets_seen: HashSet<String>,
    /// As it came: to be quoted only.
    stderr: VecDeque<Vec<u8>>,
    stderr_lines: u32,
    stderr_since_ms: u64,
}

impl Instance {
    pub fn new(
        key: u64,
        pool: PoolKey,
        (image, runtime): (Arc<Image>, Arc<dyn Runtime>),
        slots: u32,
        now_ms: u64,
    ) -> Instance {
        Instance {
            key,
            pool,
            label: format!("{}@{}/{key}", image.kind, image.version).into(),
            image,
            runtime,
            phase: Phase::Starting,
            handle: None,
            slots,
            busy: 0,
            tasks: 0,
            given_up: HashSet::default(),
            given_up_ms: None,
            out: Vec::new(),
            stdin: None,
            writing_bytes: 0,
            stdout_open: false,
            stderr_open: false,
            exit: None,
            closed: None,
            killed: None,
            started_ms: now_ms,
            idle_since_ms: now_ms,
            heard_ms: now_ms,
            beat_ms: 0,
            drain_ms: now_ms,
            killed_ms: now_ms,
            exit_ms: now_ms,
            waste_bytes: 0,
            waste_since_ms: now_ms,
            secrets_seen: HashSet::new(),
            stderr: VecDeque::new(),
            stderr_lines: 0,
            stderr_since_ms: now_ms,
        }
    }

    pub fn view(&self, current: bool) -> InstanceView {
        InstanceView {
            instance: self.key,
            phase: self.phase,
            current,
            slots: self.slots,
            busy: self.busy,
            tasks: self.tasks,
            started_ms: self.started_ms,
            idle_since_ms: self.idle_since_ms,
        }
    }

    /// Slots that can take a task now.
    pub fn free(&self) -> u32 {
        let unread = self.out.len() + self.writing_bytes;
        if self.phase != Phase::Ready || self.killed.is_some() || unread > UNREAD_BYTES_MAX {
            return 0;
        }
        self.slots.saturating_sub(self.busy)
    }

    /// Notes a line that is of no use.
    pub fn waste(&mut self, bytes: usize, now_ms: u64) {
        /// What looking at a line costs, however short it is.
        const LINE_BYTES_MIN: usize = 256;
        let bytes = bytes.max(LINE_BYTES_MIN);
        if now_ms.saturating_sub(self.waste_since_ms) >= 1_000 {
            self.waste_since_ms = now_ms;
            self.waste_bytes = 0;
        }
        self.waste_bytes = self.waste_bytes.saturating_add(bytes);
    }

    /// How long its output must wait, so that its flood costs others nothing.
    pub fn pause(&self, now_ms: u64) -> Option<Duration> {
        let left_ms = 1_000u64.saturating_sub(now_ms.saturating_sub(self.waste_since_ms));
        (self.waste_bytes > WASTE_BYTES_PER_S_MAX && left_ms > 0)
            .then_some(Duration::from_millis(left_ms))
    }

    /// Something that it wrote, fit to be shown to people.
    pub fn quote(&self, text: &[u8]) -> String {
        if self.secrets_seen.len() > SECRETS_SEEN_MAX {
            return "(not shown: too many secrets in use to look for)".to_owned();
        }
        let text = String::from_utf8_lossy(text);
        let redactor = Redactor::new(self.secrets_seen.iter().map(String::as_str));
        let text = redactor.text(&text);
        text.chars().take(QUOTE_CHARS_MAX).collect()
    }

    pub fn saw_secrets<'a>(&mut self, values: impl Iterator<Item = &'a str>) {
        for value in values {
            if self.secrets_seen.len() > SECRETS_SEEN_MAX {
                return;
            }
            if !self.secrets_seen.contains(value) {
                self.secrets_seen.insert(value.to_owned());
            }
        }
    }

    pub fn stderr_line(&mut self, line: &[u8], now_ms: u64) {
        if now_ms.saturating_sub(self.stderr_since_ms) >= 1_000 {
            self.stderr_since_ms = now_ms;
            self.stderr_lines = 0;
        }
        self.stderr_lines = self.stderr_lines.saturating_add(1);
        let traced = self.stderr_lines <= STDERR_LINES_PER_S_MAX;
        if traced && tracing::enabled!(tracing::Level::DEBUG) {
            tracing::debug!(instance = %self.label, line = self.quote(line), "stderr");
        }
        if self.stderr.len() == STDERR_LINES_MAX {
            self.stderr.pop_front();
        }
        self.stderr
            .push_back(line[..line.len().min(STDERR_LINE_BYTES_MAX)].to_vec());
    }

    /// The last lines of its stderr on one line.
    pub fn last_words(&self) -> String {
        let lines: Vec<String> = self.stderr.iter().map(|line| self.quote(line)).collect();
        lines.join(" | ")
    }

    /// Whether it holds a task that it does not answer for, and the others have ended or had their time.
    pub fn deaf(&self, now_ms: u64) -> bool {
        let alone = self.given_up.len() >= usize::try_from(self.busy).unwrap_or(usize::MAX);
        let spent = |since_ms: u64| now_ms.saturating_sub(since_ms) >= limits::DRAIN_MAX_MS;
        !self.given_up.is_empty() && (alone || self.given_up_ms.is_some_and(spent))
    }

    /// Whether nothing more can come of it.
    pub fn is_gone(&self, now_ms: u64) -> bool {
        // Somebody who escaped from the group may hold the pipes open.
        const REMAINDER_MAX_MS: u64 = 3_000;
        let read = !self.stdout_open && !self.stderr_open;
        self.exit.is_some() && (read || now_ms.saturating_sub(self.exit_ms) > REMAINDER_MAX_MS)
    }
}
