//! The protocol loop of a worker instance.
//!
//! It must never block on the host: lines out go through one queue and one writer that writes all that is pending at once.

use crate::drill::Drill;
use crate::{Context, Worker, stdio};
use sengu_model::manifest::Manifest;
use sengu_model::wire::worker::{PROTOCOL, TaskFrame, ToWorker, WorkerLine};
use sengu_model::{Effect, FailureCode, Outcome, TaskId, limits};
use std::panic::AssertUnwindSafe;
use std::task::Poll;
use std::{collections::HashMap, process::ExitCode, sync::Arc, time::Duration};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

const DRAIN_HOOK_MAX: Duration = Duration::from_secs(5);

/// The way out. Lines are serialised by the caller and written in batches by one task.
#[derive(Clone)]
pub(crate) struct Out(mpsc::UnboundedSender<Vec<u8>>);

impl Out {
    // Unbounded is bounded in fact: tasks in hand are at most `slots`, and a host that does not read gets the
    // instance killed for silence, since beats stand in the same queue.
    pub(crate) fn line(&self, line: &WorkerLine) {
        match serde_json::to_vec(line) {
            Ok(mut bytes) if bytes.len() < limits::WORKER_LINE_BYTES_MAX => {
                bytes.push(b'\n');
                let _ = self.0.send(bytes);
            }
            Ok(bytes) => {
                if let WorkerLine::Outcome { id, fence, .. } = line {
                    let message = format!("result of {} bytes is over the limit", bytes.len());
                    let outcome = Outcome::failed(FailureCode::BadReply, message);
                    self.line(&WorkerLine::Outcome {
                        id: *id,
                        fence: fence.clone(),
                        outcome,
                    });
                }
            }
            // Only a non-string map key could do this, and the frames have none.
            Err(_) => {}
        }
    }
}

pub(crate) fn serve<W: Worker>(worker: W, manifest: Manifest, drill: Option<Drill>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(main_loop(
                Arc::new(worker),
                Arc::new(manifest),
                drill.map(Arc::new),
            ));
            // Blocking reads of stdin must not hold up the exit.
            runtime.shutdown_background();
            code
        }
        Err(e) => {
            eprintln!("start runtime: {e}");
            ExitCode::from(2)
        }
    }
}

async fn main_loop<W: Worker>(
    worker: Arc<W>,
    manifest: Arc<Manifest>,
    drill: Option<Arc<Drill>>,
) -> ExitCode {
    let (sender, receiver) = mpsc::unbounded_channel();
    let out = Out(sender);
    let writer = tokio::spawn(write_lines(receiver, stdio::output()));
    out.line(&WorkerLine::Hello {
        protocol: PROTOCOL,
        worker: manifest.name.clone(),
        version: manifest.version.clone(),
        slots: manifest.slots,
    });

    let mut input = BufReader::with_capacity(64 << 10, stdio::input());
    let mut input_open = true;
    let mut line = Vec::new();
    let mut tasks: JoinSet<TaskId> = JoinSet::new();
    let mut cancels: HashMap<TaskId, watch::Sender<bool>> = HashMap::new();
    let mut beat = tokio::time::interval(Duration::from_millis(limits::BEAT_MS));
    let mut draining = false;
    loop {
        tokio::select! {
            read = read_line(&mut input, &mut line), if input_open => {
                match read {
                    Ok(true) => {
                        match serde_json::from_slice::<ToWorker>(&line) {
                            Ok(ToWorker::Task(frame)) if draining => out.line(&WorkerLine::Outcome {
                                id: frame.id,
                                fence: frame.fence,
                                outcome: Outcome::failed(FailureCode::Busy, "draining"),
                            }),
                            Ok(ToWorker::Task(frame)) => {
                                let (cancel, cancelled) = watch::channel(false);
                                cancels.insert(frame.id, cancel);
                                let (worker, out) = (worker.clone(), out.clone());
                                let how = (manifest.clone(), drill.clone());
                                tasks.spawn(one_task(worker, how, *frame, cancelled, out));
                            }
                            Ok(ToWorker::Cancel { id }) => {
                                if let Some(cancel) = cancels.get(&id) {
                                    let _ = cancel.send(true);
                                }
                            }
                            Ok(ToWorker::Drain) => draining = true,
                            // Frames of a later protocol are ignored; a broken host is not ours to mend.
                            Err(e) => eprintln!("frame not understood: {e}"),
                        }
                        line.clear();
                    }
                    // End of input: the host is gone. End what can be ended and leave.
                    Ok(false) | Err(_) => {
                        input_open = false;
                        draining = true;
                        for cancel in cancels.values() {
                            let _ = cancel.send(true);
                        }
                    }
                }
            }
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Ok(id) = ended {
                    cancels.remove(&id);
                }
            }
            _ = beat.tick() => out.line(&WorkerLine::Beat),
            else => {}
        }
        if draining && tasks.is_empty() {
            break;
        }
    }
    let _ = tokio::time::timeout(DRAIN_HOOK_MAX, worker.drain()).await;
    drop((out, cancels));
    let _ = tokio::time::timeout(DRAIN_HOOK_MAX, writer).await;
    ExitCode::SUCCESS
}

/// Reads one line into `line` without its newline; keeps what was read when dropped between two polls.
async fn read_line(
    input: &mut BufReader<stdio::Input>,
    line: &mut Vec<u8>,
) -> std::io::Result<bool> {
    let room = limits::WORKER_LINE_BYTES_MAX.saturating_sub(line.len()) as u64;
    input.take(room).read_until(b'\n', line).await?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(true);
    }
    Ok(false)
}

async fn one_task<W: Worker>(
    worker: Arc<W>,
    (manifest, drill): (Arc<Manifest>, Option<Arc<Drill>>),
    frame: TaskFrame,
    cancelled: watch::Receiver<bool>,
    out: Out,
) -> TaskId {
    let (id, fence) = (frame.id, frame.fence.clone());
    let effect = manifest
        .action(&frame.action)
        .map_or(Effect::Once, |a| a.effect);
    let target = drill.as_ref().map(|_| frame.target.name.clone());
    let context = Context::new(frame, cancelled, out.clone(), drill.clone());
    let deadline = context.deadline();
    let run = async {
        let (Some(drill), Some(target)) = (&drill, &target) else {
            return worker.run(context).await;
        };
        match drill.before(target, effect).await {
            Some(outcome) => outcome,
            None => drill.after(target, worker.run(context).await),
        }
    };
    let outcome = match tokio::time::timeout_at(deadline, caught(run)).await {
        Ok(Some(outcome)) => outcome,
        Ok(None) if effect == Effect::Read => {
            Outcome::failed(FailureCode::Crashed, "the worker's code panicked")
        }
        Ok(None) => Outcome::Unknown {
            why: "the worker's code panicked".to_owned(),
        },
        Err(_) => match effect {
            Effect::Read => Outcome::failed(FailureCode::Timeout, "no answer before the deadline"),
            _ => Outcome::Unknown {
                why: "no answer before the deadline".to_owned(),
            },
        },
    };
    out.line(&WorkerLine::Outcome { id, fence, outcome });
    id
}

/// None when the work panicked: that ends this task and not the instance.
async fn caught(work: impl Future<Output = Outcome>) -> Option<Outcome> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        let poll = AssertUnwindSafe(|| work.as_mut().poll(context));
        match std::panic::catch_unwind(poll) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

async fn write_lines(mut lines: mpsc::UnboundedReceiver<Vec<u8>>, mut stdout: stdio::Output) {
    let (mut batch, mut buffer) = (Vec::new(), Vec::new());
    while lines.recv_many(&mut batch, 512).await > 0 {
        buffer.clear();
        for line in batch.drain(..) {
            buffer.extend_from_slice(&line);
        }
        if stdout.write_all(&buffer).await.is_err() || stdout.flush().await.is_err() {
            return; // the host is gone; the reader sees that too
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_task_only() {
        let fine = caught(async {
            tokio::task::yield_now().await;
            Outcome::Done(Default::default())
        });
        assert!(fine.await.is_some());
        let panics = caught(async {
            tokio::task::yield_now().await;
            panic!("a test of panics")
        });
        assert!(panics.await.is_none());
    }
}
