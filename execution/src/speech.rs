//! What a worker says, line by line: believed only where it speaks of a task in its own hands, and never without the
//! task's secrets being looked for first.

use crate::frames::Piece;
use crate::hand::{self, Ended, InHand, Logged, Logs};
use crate::pool::Phase;
use crate::report::report;
use crate::runtime::Image;
use crate::shell::Shell;
use sengu_model::wire::envelope::{Event as What, Way};
use sengu_model::wire::worker::{FromWorker, Level, PROTOCOL};
use sengu_model::{Effect, FailureCode, Outcome, TaskId, limits};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

/// Log lines of a task are sent on once they are this many bytes; else with the next tick.
const LOGS_FLUSH_BYTES: usize = 64 << 10;
/// Checkpoints of one task that go out as they come; later ones wait for the tick, and only the newest does.
const CHECKPOINTS_AT_ONCE_MAX: u32 = 64;
/// A line of progress, in characters.
const PROGRESS_CHARS_MAX: usize = 500;

impl Shell {
    pub fn on_piece(&mut self, key: u64, piece: Piece) {
        let line = match piece {
            Piece::Line(line) => line,
            Piece::TooLong => {
                let detail = format!("more than {} bytes", limits::WORKER_LINE_BYTES_MAX);
                self.misdeed(
                    key,
                    "too long a line",
                    &detail,
                    limits::WORKER_LINE_BYTES_MAX,
                );
                return;
            }
        };
        let frame = match serde_json::from_slice::<FromWorker>(line) {
            Ok(frame) => frame,
            Err(e) => {
                let detail = match self.instances.get(&key) {
                    Some(instance) => format!("{e}: {}", instance.quote(line)),
                    None => return,
                };
                self.misdeed(key, "invalid line on stdout", &detail, line.len());
                return;
            }
        };
        match frame.kind.as_ref() {
            "outcome" => self.on_outcome(key, &frame, line),
            "reading" => self.on_reading(key, &frame, line),
            "log" => self.on_log(key, &frame, line.len()),
            "progress" => self.on_progress(key, &frame, line),
            "beat" => self.on_beat(key, line.len()),
            "hello" => self.on_hello(key, &frame, line.len()),
            other => {
                let detail: String = other.chars().take(40).collect();
                self.misdeed(key, "unknown frame type", &detail, line.len());
            }
        }
    }

    /// Notes what an instance did wrong, and that its bytes were of no use.
    fn misdeed(&mut self, key: u64, what: &'static str, detail: &str, bytes: usize) {
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        instance.waste(bytes, self.now_ms);
        let (at, label) = (instance.pool, instance.label.clone());
        self.complain(at, &label, what, detail);
    }

    /// Hearing anything is a sign of life, so there is nothing to do but to see that they do not become a flood.
    fn on_beat(&mut self, key: u64, bytes: usize) {
        const BEAT_MS_MIN: u64 = 100;
        let now_ms = self.now_ms;
        if let Some(instance) = self.instances.get_mut(&key) {
            if now_ms.saturating_sub(instance.beat_ms) < BEAT_MS_MIN {
                instance.waste(bytes, now_ms);
            }
            instance.beat_ms = now_ms;
        }
    }

    fn on_hello(&mut self, key: u64, frame: &FromWorker, bytes: usize) {
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        let at = instance.pool;
        let label = instance.label.clone();
        if instance.phase != Phase::Starting {
            self.misdeed(key, "said hello twice", "", bytes);
            return;
        }
        let image = &instance.image;
        let (name, version) = (&image.kind, &image.version);
        let said = |text: &Option<Cow<str>>| -> String {
            let text = text.as_deref().unwrap_or("nothing");
            text.chars().take(40).collect()
        };
        let slots = frame.slots.unwrap_or(0);
        let wrong = if frame.protocol != Some(PROTOCOL) {
            let spoken = frame
                .protocol
                .map_or("nothing".to_owned(), |p| p.to_string());
            Some(format!("protocol {spoken}, not {PROTOCOL}"))
        } else if frame.worker.as_deref() != Some(name.as_str()) {
            Some(format!("name {}, not {name}", said(&frame.worker)))
        } else if frame.version.as_deref() != Some(version.as_str()) {
            Some(format!("version {}, not {version}", said(&frame.version)))
        } else if slots == 0 || slots > limits::SLOTS_PER_INSTANCE_MAX {
            Some(format!(
                "{slots} slots, not 1 to {}",
                limits::SLOTS_PER_INSTANCE_MAX
            ))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            let why = format!("its hello says {wrong}");
            self.break_pool(at, &format!("{label} was refused: {why}"));
            self.kill(key, &why);
            return;
        }
        // It may have fewer slots than the manifest says, never more.
        instance.slots = slots.min(instance.slots);
        instance.phase = Phase::Ready;
        instance.idle_since_ms = self.now_ms;
        tracing::info!(instance = %label, slots = instance.slots, "instance ready");
        let image = instance.image.clone();
        self.pools.touch(at);
        let pool = &mut self.pools[at];
        if Arc::ptr_eq(&image, &pool.image) {
            pool.came_up = true;
            // If it only dies of tasks, the next crash tells.
            pool.broken = None;
        }
    }

    /// The task, if it is in the hands of this instance, and whether its frames are wanted.
    fn own(&mut self, key: u64, frame: &FromWorker, bytes: usize) -> Option<(TaskId, bool)> {
        let Some(id) = frame.id else {
            self.misdeed(key, "a frame without its task", &frame.kind, bytes);
            return None;
        };
        if let Some(task) = self.hand.get(&id)
            && task.instance == key
        {
            return Some((id, task.frames));
        }
        let detail = format!("{} of {id}", frame.kind);
        self.misdeed(
            key,
            "spoke of a task that is not in its hands",
            &detail,
            bytes,
        );
        None
    }

    /// The same, and its frame is kept where that is wanted. Not for log lines: they are in the log anyway.
    fn own_kept(&mut self, key: u64, frame: &FromWorker, line: &[u8]) -> Option<TaskId> {
        let (id, frames) = self.own(key, frame, line.len())?;
        if frames {
            self.keep_frame(id, Way::FromWorker, line);
        }
        Some(id)
    }

    fn on_outcome(&mut self, key: u64, frame: &FromWorker, line: &[u8]) {
        let bytes = line.len();
        let Some(id) = self.own_kept(key, frame, line) else {
            return;
        };
        let fits = |task: &InHand| {
            frame
                .fence
                .as_deref()
                .is_some_and(|text| task.fence.is(text))
        };
        if !self.hand.get(&id).is_some_and(fits) {
            self.misdeed(key, "an outcome with a wrong fence", &id.to_string(), bytes);
            return;
        }
        self.flush(id);
        let Some(task) = self.hand.remove(&id) else {
            return;
        };
        let raw = frame.outcome.map_or("null", RawValue::get);
        let (outcome, ended) = match hand::check_outcome(raw) {
            Ok(ended) => match &task.redactor {
                Some(redactor) => (redactor.outcome(raw), ended),
                None => (Cow::Borrowed(raw), ended),
            },
            Err(what) => {
                let detail = format!("{id}: {what}");
                self.misdeed(key, "an outcome that is not understood", &detail, 0);
                (Cow::Owned(not_understood(task.effect, &what)), Ended::Badly)
            }
        };
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        let mut done = report(id, task.fence, self.now, What::Ended);
        done.instance = Some((&*instance.label).into());
        done.digest = Some(instance.image.digest.as_str().into());
        done.started_at = Some(task.handed_at);
        let empty: (&'static str, &[u8]) = ("", &[]);
        let mut parts = [("outcome", outcome.as_bytes()), empty, empty];
        let mut count = 1;
        for (name, collected) in [("readings", &task.readings.0), ("facts", &task.facts.0)] {
            if !collected.is_empty() {
                parts[count] = (name, collected);
                count += 1;
            }
        }
        self.outbox.push(&done, &parts[..count]);
        instance.busy = instance.busy.saturating_sub(1);
        instance.given_up.remove(&id);
        if instance.busy == 0 {
            instance.idle_since_ms = self.now_ms;
        }
        self.pools.touch(instance.pool);
        let pool = &mut self.pools[instance.pool];
        if instance.phase == Phase::Ready {
            pool.free = pool.free.saturating_add(1);
        }
        pool.ended += 1;
        pool.failed += u64::from(ended == Ended::Badly);
        pool.crashes = 0;
        if !self.held_back.is_empty() {
            self.release(id);
        }
    }

    fn on_reading(&mut self, key: u64, frame: &FromWorker, line: &[u8]) {
        let bytes = line.len();
        let Some(id) = self.own_kept(key, frame, line) else {
            return;
        };
        let Some(task) = self.hand.get_mut(&id) else {
            return;
        };
        let mut wrong = None;
        task.reading_bytes += bytes;
        if task.reading_bytes > limits::TASK_RESULT_BYTES_MAX {
            wrong = Some("too many readings".to_owned());
        } else {
            let clean = |raw: &'_ RawValue| -> String {
                match &task.redactor {
                    Some(redactor) => redactor.json(raw.get()).into_owned(),
                    None => raw.get().to_owned(),
                }
            };
            if let Some(raw) = frame.readings {
                let readings = clean(raw);
                match hand::check_readings(&readings) {
                    Ok(()) => task.readings.add_array(&readings),
                    Err(e) => wrong = Some(e),
                }
            }
            if let Some(raw) = frame.facts {
                let facts = clean(raw);
                if facts.starts_with('{') {
                    task.facts.add_object(&facts);
                } else {
                    wrong = Some("facts are not an object".to_owned());
                }
            }
        }
        if let Some(what) = wrong {
            self.misdeed(
                key,
                "a reading that is not taken",
                &format!("{id}: {what}"),
                bytes,
            );
        }
    }

    fn on_log(&mut self, key: u64, frame: &FromWorker, bytes: usize) {
        let Some((id, _)) = self.own(key, frame, bytes) else {
            return;
        };
        let now = self.now;
        let Some(task) = self.hand.get_mut(&id) else {
            return;
        };
        let level = hand::level(frame.level.as_deref().unwrap_or("info"));
        if task.volatile && !matches!(level, Level::Warn | Level::Error) {
            return;
        }
        let message = frame.message.as_deref().unwrap_or_default();
        let message = match &task.redactor {
            Some(redactor) => redactor.text(message),
            None => Cow::Borrowed(message),
        };
        let logs = task.logs.get_or_insert_with(|| Box::new(Logs::default()));
        let logged = logs.add(now, level, &message);
        let large = logs.pending.len() >= LOGS_FLUSH_BYTES;
        match logged {
            Logged::Kept => {}
            Logged::Dropped { first: true } => {
                self.misdeed(key, "a flood of log lines", &id.to_string(), bytes);
            }
            Logged::Dropped { first: false } => {
                if let Some(instance) = self.instances.get_mut(&key) {
                    instance.waste(bytes, self.now_ms);
                }
            }
        }
        if large {
            self.flush(id);
        }
    }

    /// Puts a frame into the task's log where that was asked for. `frame` is one line of JSON.
    pub fn keep_frame(&mut self, id: TaskId, way: Way, frame: &[u8]) {
        let now = self.now;
        let Some(task) = self.hand.get_mut(&id).filter(|task| task.frames) else {
            return;
        };
        let frame = String::from_utf8_lossy(frame);
        let frame = match &task.redactor {
            Some(redactor) => redactor.json(&frame),
            None => Cow::Borrowed(&*frame),
        };
        let logs = task.logs.get_or_insert_with(|| Box::new(Logs::default()));
        logs.add_frame(now, way, &frame);
        if logs.pending.len() >= LOGS_FLUSH_BYTES {
            self.flush(id);
        }
    }

    fn on_progress(&mut self, key: u64, frame: &FromWorker, line: &[u8]) {
        let bytes = line.len();
        let Some(id) = self.own_kept(key, frame, line) else {
            return;
        };
        let now_ms = self.now_ms;
        let Some(task) = self.hand.get_mut(&id) else {
            return;
        };
        let redactor = task.redactor.as_deref();
        let progress = task.progress.get_or_insert_default();
        // What was not out yet when something newer came was of no use.
        let mut wasted = false;
        if let Some(checkpoint) = frame.checkpoint {
            let value = match redactor {
                Some(redactor) => redactor.json(checkpoint.get()),
                None => Cow::Borrowed(checkpoint.get()),
            };
            progress.checkpoints = progress.checkpoints.saturating_add(1);
            if progress.checkpoints <= CHECKPOINTS_AT_ONCE_MAX {
                // The effect may follow at once, so this must not wait.
                let left = report(id, task.fence, self.now, What::Checkpoint);
                self.outbox.push(&left, &[("data", value.as_bytes())]);
            } else {
                wasted |= progress.checkpoint.replace(value.into_owned()).is_some();
            }
        }
        if frame.percent.is_some() || frame.message.is_some() {
            let message = frame.message.as_deref().unwrap_or_default();
            let message = match redactor {
                Some(redactor) => redactor.text(message),
                None => Cow::Borrowed(message),
            };
            let mut line: String = message.chars().take(PROGRESS_CHARS_MAX).collect();
            if let Some(percent) = frame.percent {
                let space = if line.is_empty() { "" } else { " " };
                line = format!("{percent:.0}%{space}{line}");
            }
            wasted |= progress.line.replace(line).is_some();
        }
        if wasted && let Some(instance) = self.instances.get_mut(&key) {
            instance.waste(bytes, now_ms);
        }
    }

    /// Sends on what the task has said of itself so far.
    pub fn flush(&mut self, id: TaskId) {
        let Some(task) = self.hand.get_mut(&id) else {
            return;
        };
        if let Some(progress) = &mut task.progress {
            if let Some(value) = progress.checkpoint.take() {
                let left = report(id, task.fence, self.now, What::Checkpoint);
                self.outbox.push(&left, &[("data", value.as_bytes())]);
            }
            if let Some(line) = progress.line.take() {
                let mut moved = report(id, task.fence, self.now, What::Progress);
                moved.why = Some(line.into());
                self.outbox.push(&moved, &[]);
            }
        }
        if let Some(logs) = &mut task.logs
            && !logs.pending.is_empty()
        {
            let mut data = Vec::with_capacity(logs.pending.len() + 2);
            data.push(b'[');
            data.append(&mut logs.pending);
            data.push(b']');
            let lines = report(id, task.fence, self.now, What::Logs);
            self.outbox.push(&lines, &[("data", &data)]);
        }
    }

    /// The instance is gone or does not answer: the effect may or may not have begun.
    pub fn lose(&mut self, id: TaskId, (label, image): (&str, &Image), why: &str) {
        self.flush(id);
        let Some(task) = self.hand.remove(&id) else {
            return;
        };
        let mut lost = report(id, task.fence, self.now, What::Lost);
        lost.instance = Some(label.into());
        lost.digest = Some(image.digest.as_str().into());
        lost.started_at = Some(task.handed_at);
        lost.why = Some(why.into());
        self.outbox.push(&lost, &[]);
        if let Some(instance) = self.instances.get_mut(&task.instance) {
            instance.busy = instance.busy.saturating_sub(1);
            self.pools[instance.pool].failed += 1;
            self.pools.touch(instance.pool);
        }
        self.release(id);
    }
}

/// What is known when the worker's own word is not: a read has failed, anything else may have happened.
fn not_understood(effect: Effect, what: &str) -> String {
    let why = format!("the worker's outcome is not understood: {what}");
    let outcome = match effect {
        Effect::Read => Outcome::failed(FailureCode::BadReply, why),
        _ => Outcome::Unknown { why },
    };
    serde_json::to_string(&outcome).unwrap_or_default()
}
