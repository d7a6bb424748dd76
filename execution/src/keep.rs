//! Instances from start to end: started, greeted, watched, asked to leave, killed, buried.

use crate::frames::{self, Lines, Piece};
use crate::instance::Instance;
use crate::lease::Due;
use crate::pool::{self, Phase, restart_wait_ms};
use crate::pools::{PoolKey, Stage};
use crate::report::report;
use crate::runtime::{Attached, Exit, Handle, Input, Output, Runtime, RuntimeError};
use crate::shell::{Event, OUTBOX_BYTES_MAX, Shell};
use sengu_model::wire::envelope::Event as What;
use sengu_model::{TaskId, limits};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Read from a worker at once, in bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// How long output of workers waits when reports do not go out.
const CHOKED_WAIT: Duration = Duration::from_millis(100);
/// A killed instance whose end nobody tells of is taken for gone after this.
const KILL_MAX_MS: u64 = 10_000;
/// From the end of one of its streams to its exit.
const CLOSED_MAX_MS: u64 = 1_000;
/// An instance that lived this long and then died does not count to a row of crashes.
const LIVED_LONG_MS: u64 = 60_000;

impl Shell {
    pub fn start_instance(&mut self, at: PoolKey) {
        let pool = &mut self.pools[at];
        let Some(runtime) = pool.runtime.clone() else {
            return;
        };
        self.last_instance += 1;
        let key = self.last_instance;
        let (image, slots) = (pool.image.clone(), pool.image.slots);
        let made_of = (image.clone(), runtime.clone());
        let instance = Instance::new(key, at, made_of, slots, self.now_ms);
        let label = instance.label.to_string();
        tracing::debug!(instance = label, "starting");
        pool.instances.push(key);
        self.instances.insert(key, instance);
        self.source(async move {
            let started = async {
                let handle = runtime.start((*image).clone(), label).await?;
                match runtime.attach(handle.clone()).await {
                    Ok(attached) => Ok((handle, attached)),
                    Err(e) => {
                        // Nobody else knows of it.
                        let _ = runtime.stop(handle).await;
                        Err(e)
                    }
                }
            };
            let started = started.await;
            Event::Started(key, runtime, started)
        });
    }

    pub fn on_started(
        &mut self,
        key: u64,
        runtime: Arc<dyn Runtime>,
        result: Result<(Handle, Attached), RuntimeError>,
    ) {
        let now_ms = self.now_ms;
        let Some(instance) = self.instances.get_mut(&key) else {
            // It took so long that it was given up.
            if let Ok((handle, _)) = result {
                self.source(async move { Event::Stopped(key, runtime.stop(handle).await) });
            }
            return;
        };
        match result {
            Ok((handle, attached)) => {
                instance.handle = Some(handle);
                instance.stdin = Some(attached.stdin);
                instance.stdout_open = true;
                instance.stderr_open = true;
                instance.heard_ms = now_ms;
                // The hello is due from now on.
                instance.started_ms = now_ms;
                let killed = instance.killed.is_some();
                let exit = attached.exit;
                self.source(async move { Event::Exited(key, exit.await) });
                self.read_stdout(key, attached.stdout, Lines::default());
                self.read_stderr(key, attached.stderr, Lines::default());
                if killed {
                    self.stop(key);
                }
            }
            Err(e) => {
                let why = e.text();
                self.on_exited(
                    key,
                    Exit {
                        clean: false,
                        why: format!("could not be started: {why}"),
                        left_behind: 0,
                    },
                );
            }
        }
    }

    fn read_stdout(&self, key: u64, mut output: Output, mut lines: Lines) {
        let pause = self.pause(key);
        self.source(async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            lines.buffer.reserve(CHUNK_BYTES);
            let read = output.read_buf(&mut lines.buffer).await;
            Event::Output(key, output, lines, read)
        });
    }

    fn read_stderr(&self, key: u64, mut output: Output, mut lines: Lines) {
        let pause = self.pause(key);
        self.source(async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            lines.buffer.reserve(4 << 10);
            let read = output.read_buf(&mut lines.buffer).await;
            Event::Stderr(key, output, lines, read)
        });
    }

    fn pause(&self, key: u64) -> Option<Duration> {
        if self.outbox.bytes() > OUTBOX_BYTES_MAX {
            return Some(CHOKED_WAIT);
        }
        self.instances.get(&key)?.pause(self.now_ms)
    }

    pub fn on_output(
        &mut self,
        key: u64,
        output: Output,
        mut lines: Lines,
        read: std::io::Result<usize>,
    ) {
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        instance.heard_ms = self.now_ms;
        if matches!(read, Ok(bytes) if bytes > 0) {
            lines.cut(|piece| self.on_piece(key, piece));
            self.read_stdout(key, output, lines);
            return;
        }
        lines.finish(|piece| self.on_piece(key, piece));
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        instance.stdout_open = false;
        instance
            .closed
            .get_or_insert((self.now_ms, "it closed its stdout"));
        self.bury_if_gone(key);
    }

    pub fn on_stderr(
        &mut self,
        key: u64,
        output: Output,
        mut lines: Lines,
        read: std::io::Result<usize>,
    ) {
        let now_ms = self.now_ms;
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        let mut note = |piece: Piece| {
            if let Piece::Line(line) = piece {
                instance.stderr_line(line, now_ms);
            }
        };
        match read {
            Ok(bytes) if bytes > 0 => {
                lines.cut(note);
                instance.waste(bytes, now_ms);
                self.read_stderr(key, output, lines);
            }
            _ => {
                lines.finish(&mut note);
                instance.stderr_open = false;
                self.bury_if_gone(key);
            }
        }
    }

    /// Writes all frames that wait for the instance with one call.
    pub fn write(&mut self, key: u64) {
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        if instance.out.is_empty() {
            return;
        }
        let Some(mut stdin) = instance.stdin.take() else {
            return;
        };
        let buffer = std::mem::take(&mut instance.out);
        instance.writing_bytes = buffer.len();
        self.source(async move {
            let written = stdin.write_all(&buffer).await.is_ok() && stdin.flush().await.is_ok();
            Event::Written(key, written.then_some(stdin), buffer)
        });
    }

    pub fn on_written(&mut self, key: u64, stdin: Option<Input>, mut buffer: Vec<u8>) {
        /// A buffer that was needed once for large frames is not kept.
        const BUFFER_KEPT_BYTES: usize = 1 << 20;
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        instance.writing_bytes = 0;
        let pool = instance.pool;
        match stdin {
            Some(stdin) => {
                instance.stdin = Some(stdin);
                if instance.out.is_empty() && buffer.capacity() <= BUFFER_KEPT_BYTES {
                    buffer.clear();
                    instance.out = buffer;
                }
                self.write(key);
            }
            None => {
                instance
                    .closed
                    .get_or_insert((self.now_ms, "it closed its stdin"));
            }
        }
        self.pools.touch(pool);
    }

    pub fn retire(&mut self, key: u64) {
        if let Some(instance) = self.instances.get_mut(&key)
            && instance.phase == Phase::Ready
        {
            tracing::debug!(instance = %instance.label, busy = instance.busy, "retiring");
            instance.phase = Phase::Retiring;
            self.pools.touch(instance.pool);
        }
    }

    /// Asks an instance without tasks to leave.
    pub fn drain_instance(&mut self, key: u64) {
        if let Some(instance) = self.instances.get_mut(&key) {
            tracing::debug!(instance = %instance.label, "draining");
            instance.phase = Phase::Draining;
            instance.drain_ms = self.now_ms;
            frames::write_drain(&mut instance.out);
            self.unwritten.push(key);
        }
    }

    /// Ends an instance at once. Its tasks are reported lost once the rest of its output is read.
    pub fn kill(&mut self, key: u64, why: &str) {
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        if instance.killed.is_some() || instance.exit.is_some() {
            return;
        }
        tracing::info!(instance = %instance.label, why, "killing");
        instance.killed = Some(why.to_owned());
        instance.killed_ms = self.now_ms;
        self.stop(key);
    }

    fn stop(&mut self, key: u64) {
        let Some(instance) = self.instances.get(&key) else {
            return;
        };
        // Without a handle it is just being started, and `on_started` comes back here.
        if let Some(handle) = instance.handle.clone() {
            let runtime = instance.runtime.clone();
            self.source(async move { Event::Stopped(key, runtime.stop(handle).await) });
        }
    }

    pub fn on_stopped(&mut self, key: u64, result: Result<(), RuntimeError>) {
        if let (Err(e), Some(instance)) = (result, self.instances.get(&key)) {
            let (at, label) = (instance.pool, instance.label.clone());
            self.complain(at, &label, "could not be killed", &e.text());
        }
    }

    pub fn on_exited(&mut self, key: u64, exit: Exit) {
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        instance.exit = Some(exit);
        instance.exit_ms = self.now_ms;
        self.bury_if_gone(key);
    }

    fn bury_if_gone(&mut self, key: u64) {
        let now_ms = self.now_ms;
        if self.instances.get(&key).is_some_and(|i| i.is_gone(now_ms)) {
            self.bury(key);
        }
    }

    /// Nothing more can come of the instance: its tasks are lost, and its pool learns from it.
    fn bury(&mut self, key: u64) {
        let Some(instance) = self.instances.remove(&key) else {
            return;
        };
        let exit = instance.exit.clone().unwrap_or(Exit {
            clean: false,
            why: "it does not die".to_owned(),
            left_behind: 0,
        });
        let why = match &instance.killed {
            Some(killed) => format!("the instance was killed: {killed}"),
            None => format!("the instance is gone: {}", exit.why),
        };
        let mut lost: Vec<TaskId> = Vec::new();
        for (id, in_hand) in &self.hand {
            if in_hand.instance == key {
                lost.push(*id);
            }
        }
        for id in &lost {
            self.lose(*id, (&instance.label, &instance.image), &why);
        }
        let at = instance.pool;
        // The pool is not reaped before the next settling.
        self.pools[at].instances.retain(|other| *other != key);
        self.pools.touch(at);
        tracing::debug!(instance = %instance.label, exit = exit.why, lost = lost.len(), "gone");
        if exit.left_behind > 0 {
            let detail = format!("{} killed after it", exit.left_behind);
            self.complain(at, &instance.label, "left processes behind", &detail);
        }
        self.judge(&instance, &exit);
    }

    /// Whether the end was a crash, and what that means for the pool.
    fn judge(&mut self, instance: &Instance, exit: &Exit) {
        let at = instance.pool;
        let asked = instance.phase == Phase::Draining
            || (instance.killed.is_some() && self.pools[at].closed.is_some())
            || instance.killed.as_deref() == Some("no longer needed");
        let label = instance.label.clone();
        if asked {
            if instance.phase == Phase::Draining && instance.killed.is_none() && !exit.clean {
                self.complain(at, &label, "did not drain cleanly", &exit.why);
            }
            return;
        }
        let mut detail = match &instance.killed {
            Some(killed) => killed.clone(),
            None => exit.why.clone(),
        };
        let last_words = instance.last_words();
        if !last_words.is_empty() {
            detail.push_str("; stderr: ");
            detail.push_str(&last_words);
        }
        let what = match (&instance.killed, &instance.handle, instance.phase) {
            (None, None, _) => "could not be started",
            (None, _, Phase::Starting) => "ended before its hello",
            (None, ..) => "ended by itself",
            (Some(_), ..) => "had to be killed",
        };
        self.complain(at, &label, what, &detail);
        let now_ms = self.now_ms;
        let pool = &mut self.pools[at];
        pool.restarts += 1;
        if !Arc::ptr_eq(&instance.image, &pool.image) {
            return; // no news of what is offered now
        }
        let lived_ms = now_ms.saturating_sub(instance.started_ms);
        pool.crashes = match instance.phase {
            Phase::Starting => pool.crashes.saturating_add(1),
            _ if lived_ms >= LIVED_LONG_MS => 1,
            _ => pool.crashes.saturating_add(1),
        };
        pool.start_after_ms = now_ms + restart_wait_ms(pool.crashes);
        if instance.handle.is_none() {
            // Perhaps another runtime can, if this one's engine is gone.
            pool.stage = Stage::Dormant;
        }
        if pool::is_broken(pool.crashes, pool.came_up) {
            let why = match pool.crashes {
                1 => format!("{label} {what}: {detail}"),
                n => format!("{n} crashes in a row; {label} {what}: {detail}"),
            };
            self.break_pool(at, &why);
        }
    }

    /// What is due for instances by time alone.
    pub fn look_after_instances(&mut self) {
        let now_ms = self.now_ms;
        let past = |since_ms: u64, max_ms: u64| now_ms.saturating_sub(since_ms) >= max_ms;
        let mut kills: Vec<(u64, String)> = Vec::new();
        let mut gone = Vec::new();
        let paused = self.outbox.bytes() > OUTBOX_BYTES_MAX;
        for (key, instance) in &mut self.instances {
            if paused {
                instance.heard_ms = now_ms;
            }
            if instance.is_gone(now_ms)
                || (instance.killed.is_some() && past(instance.killed_ms, KILL_MAX_MS))
            {
                gone.push(*key);
                continue;
            }
            let why = match instance.phase {
                _ if instance
                    .closed
                    .is_some_and(|(at_ms, _)| past(at_ms, CLOSED_MAX_MS)) =>
                {
                    instance.closed.map_or("", |(_, what)| what).to_owned()
                }
                Phase::Starting if past(instance.started_ms, limits::HELLO_MAX_MS) => {
                    format!("no hello within {} s", limits::HELLO_MAX_MS / 1_000)
                }
                Phase::Draining if past(instance.drain_ms, limits::DRAIN_MAX_MS) => {
                    format!(
                        "it did not leave within {} s of drain",
                        limits::DRAIN_MAX_MS / 1_000
                    )
                }
                Phase::Retiring if instance.deaf(now_ms) => {
                    "no answer to a task beyond its time".to_owned()
                }
                Phase::Ready | Phase::Retiring
                    if past(instance.heard_ms, limits::WORKER_SILENCE_MAX_MS) =>
                {
                    format!("silent for {} s", limits::WORKER_SILENCE_MAX_MS / 1_000)
                }
                _ => continue,
            };
            if instance.killed.is_none() {
                kills.push((*key, why));
            }
        }
        for (key, why) in kills {
            if let Some(instance) = self.instances.get(&key)
                && instance.phase == Phase::Draining
            {
                let (at, label) = (instance.pool, instance.label.clone());
                self.complain(at, &label, "did not drain in time", "");
            }
            self.kill(key, &why);
        }
        for key in gone {
            self.bury(key);
        }
    }

    /// What is due for tasks in hand by time alone.
    pub fn look_after_hand(&mut self) {
        let mut due: Vec<(TaskId, Due)> = Vec::new();
        let mut talkers = Vec::new();
        for (id, in_hand) in &self.hand {
            match in_hand.lease.due(self.now_ms) {
                Due::Nothing => {}
                something => due.push((*id, something)),
            }
            if in_hand.has_something_to_say() {
                talkers.push(*id);
            }
        }
        for id in talkers {
            self.flush(id);
        }
        for (id, due) in due {
            let Some(in_hand) = self.hand.get_mut(&id) else {
                continue;
            };
            let key = in_hand.instance;
            match due {
                Due::Nothing => {}
                Due::Started => {
                    in_hand.lease.started = true;
                    let (fence, at) = (in_hand.fence, in_hand.handed_at);
                    let mut started = report(id, fence, self.now, What::Started);
                    started.started_at = Some(at);
                    if let Some(instance) = self.instances.get(&key) {
                        started.instance = Some((&*instance.label).into());
                        started.digest = Some(instance.image.digest.as_str().into());
                    }
                    self.outbox.push(&started, &[]);
                }
                Due::Cancel => {
                    in_hand.lease.overdue = true;
                    self.send_cancel(key, id);
                }
                Due::GiveUp => self.give_up(key, id),
            }
        }
    }

    /// The worker did not answer for a task, not even to a cancel. It may still be at it, so the task is lost only when the
    /// instance is gone; what else it has in hand is innocent, and gets a while to end first.
    fn give_up(&mut self, key: u64, id: TaskId) {
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        if !instance.given_up.insert(id) {
            return; // said before
        }
        instance.given_up_ms.get_or_insert(self.now_ms);
        let (at, label) = (instance.pool, instance.label.clone());
        self.complain(at, &label, "gave no answer to a task", &id.to_string());
        self.retire(key);
    }

    pub fn report_beats(&mut self) {
        for (id, in_hand) in &self.hand {
            if in_hand.lease.started {
                let beat = report(*id, in_hand.fence, self.now, What::Beat);
                self.outbox.push(&beat, &[]);
            }
        }
    }
}
