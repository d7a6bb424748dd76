//! One instance: reads frames, has each task done, writes frames. To its reader it is no different from a process.

use crate::limits;
use crate::out::{self, Out};
use crate::task::{self, Line, Shared};
use parking_lot::Mutex;
use sengu_execution::runtime::Exit;
use sengu_model::limits::{BEAT_MS, WORKER_LINE_BYTES_MAX};
use sengu_model::wire::worker::{PROTOCOL, WorkerLine};
use sengu_model::{FailureCode, TaskId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The tasks in hand.
struct Hand {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    cancels: Cancels,
    draining: bool,
}

type Cancels = Arc<Mutex<HashMap<TaskId, watch::Sender<Option<Instant>>>>>;

/// A place among the tasks in hand. It is free when this is dropped, which must be before the outcome is out.
pub struct Slot {
    id: TaskId,
    cancels: Cancels,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.cancels.lock().remove(&self.id);
    }
}

/// Runs an instance to its end: drained, its input closed, or stopped.
pub async fn serve(
    shared: Shared,
    lines: mpsc::Receiver<Vec<u8>>,
    (mut stdin, stdout): (DuplexStream, DuplexStream),
    stop: oneshot::Receiver<()>,
) -> Exit {
    let mut writer = tokio::spawn(out::write(lines, stdout));
    let mut hand = Hand {
        shared: Arc::new(shared),
        tasks: JoinSet::new(),
        cancels: Cancels::default(),
        draining: false,
    };
    let stopped = tokio::select! {
        () = hand.serve(&mut stdin) => false,
        _ = stop => true,
    };
    // Guests that compute end at the next tick; nothing of them is left after this.
    hand.tasks.shutdown().await;
    drop(hand);
    let flushed = async {
        !stopped
            && tokio::time::timeout(limits::FLUSH_MAX, &mut writer)
                .await
                .is_ok()
    };
    if !flushed.await {
        writer.abort();
    }
    Exit {
        clean: !stopped,
        why: if stopped { "stopped" } else { "exit status 0" }.to_owned(),
        left_behind: 0,
    }
}

impl Hand {
    async fn serve(&mut self, stdin: &mut DuplexStream) {
        let ready = &self.shared.ready;
        let hello = WorkerLine::Hello {
            protocol: PROTOCOL,
            worker: ready.kind.clone(),
            version: ready.version.clone(),
            slots: ready.slots,
        };
        if self.out().line(&hello).await.is_err() {
            return;
        }
        let mut input = Input::default();
        let mut open = true;
        let mut beat = tokio::time::interval(Duration::from_millis(BEAT_MS));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !(self.draining && self.tasks.is_empty()) {
            tokio::select! {
                read = input.read(stdin), if open => {
                    if read {
                        while let Some(line) = input.line() {
                            self.take(&line).await;
                        }
                    } else {
                        // The reader is gone. End what can be ended and leave.
                        open = false;
                        self.draining = true;
                        self.cancels.lock().values().for_each(cancel);
                    }
                }
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
                _ = beat.tick() => {
                    self.shared.wires.close_idle();
                    if self.out().line(&WorkerLine::Beat).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn out(&self) -> Out {
        self.shared.out.clone()
    }

    async fn take(&mut self, line: &[u8]) {
        let line: Line = match serde_json::from_slice(line) {
            Ok(line) => line,
            // Frames of a later protocol are ignored; a broken host is not ours to mend.
            Err(e) => return tracing::warn!(error = %e, "frame not understood"),
        };
        match line.kind.as_ref() {
            "task" => match line.task() {
                Some((id, fence, task)) => self.begin(id, fence, task).await,
                None => tracing::warn!("task frame without its parts"),
            },
            "cancel" => {
                if let Some(sender) = line.id.and_then(|id| self.cancels.lock().get(&id).cloned()) {
                    cancel(&sender);
                }
            }
            "drain" => self.draining = true,
            _ => {}
        }
    }

    async fn begin(
        &mut self,
        id: TaskId,
        fence: String,
        task: crate::guest::sengu::worker::types::Task,
    ) {
        let refusal = if self.draining {
            "draining"
        } else {
            let mut cancels = self.cancels.lock();
            if cancels.len() < self.shared.ready.slots as usize && !cancels.contains_key(&id) {
                let (sender, cancel) = watch::channel(None);
                cancels.insert(id, sender);
                let slot = Slot {
                    id,
                    cancels: self.cancels.clone(),
                };
                let work = task::one(self.shared.clone(), slot, id, fence, task, cancel);
                self.tasks.spawn(work);
                return;
            }
            "all slots are in use"
        };
        let line = task::refusal(fence, id, FailureCode::Busy, refusal);
        let _ = self.out().line(&line).await;
    }
}

fn cancel(sender: &watch::Sender<Option<Instant>>) {
    sender.send_if_modified(|at| {
        let first = at.is_none();
        at.get_or_insert_with(Instant::now);
        first
    });
}

/// What was read and is not yet a line.
#[derive(Default)]
struct Input {
    buffer: Vec<u8>,
    /// Bytes at the front that are used up.
    used: usize,
    /// Bytes at the front known to hold no newline.
    searched: usize,
    /// Within a line that is too long.
    skipping: bool,
}

impl Input {
    /// Reads what is there. False at the end. Nothing is lost when this is dropped.
    async fn read(&mut self, stdin: &mut DuplexStream) -> bool {
        self.buffer.drain(..self.used);
        self.searched -= self.used;
        self.used = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > 4 * limits::PIPE_BYTES {
            // A task of half a megabyte need not be remembered by an idle instance.
            self.buffer = Vec::new();
        }
        if self.buffer.len() > WORKER_LINE_BYTES_MAX {
            tracing::warn!("frame over the limit");
            self.buffer.clear();
            self.searched = 0;
            self.skipping = true;
        }
        matches!(stdin.read_buf(&mut self.buffer).await, Ok(1..))
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            let rest = &self.buffer[self.searched..];
            let Some(at) = memchr::memchr(b'\n', rest) else {
                self.searched = self.buffer.len();
                return None;
            };
            let end = self.searched + at;
            let line = self.buffer[self.used..end].to_vec();
            self.used = end + 1;
            self.searched = self.used;
            if !std::mem::take(&mut self.skipping) && !line.is_empty() {
                return Some(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn lines_are_cut_wherever_chunks_end_and_a_long_one_costs_itself_only() {
        let (mut near, mut far) = tokio::io::duplex(7);
        let long = "x".repeat(WORKER_LINE_BYTES_MAX + 10);
        let text = format!("one\n\n{long}\ntwo\nlast");
        let write = tokio::spawn(async move { near.write_all(text.as_bytes()).await });
        let (mut input, mut lines) = (Input::default(), Vec::new());
        while input.read(&mut far).await {
            while let Some(line) = input.line() {
                lines.push(String::from_utf8(line).unwrap());
            }
        }
        write.await.unwrap().unwrap();
        assert_eq!(lines, ["one", "two"]);
    }
}
