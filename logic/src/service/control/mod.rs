//! Simple Control: runs. One action over many targets, in batches, with a failure budget that holds across batches.
//!
//! All tasks of a run are committed when it is created, those of later batches as `Held`. How far a run is follows from
//! its tasks alone, so a run goes on by itself after a restart. What to do next is the pure function `step`.

mod create;
mod pause;
mod step;

pub use create::RunPreview;
pub use step::{Progress, Step, step};

use crate::clock;
use crate::core::Shared;
use crate::dispatch;
use crate::tasks::cancel_open;
use sengu_model::kinds::{RunCounts, RunPhase, RunSpec, RunStatus};
use sengu_model::outcome::Status;
use sengu_model::task::{Ending, Priority};
use sengu_model::{Outcome, RunId, TaskId, limits};
use sengu_store::{Op, RunTask, StoreError, TaskQuery};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Progress that did not change the phase is written at most this often.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// Runs of up to this many targets count as a person's.
const PEOPLE_TARGETS_MAX: usize = 100;
const INPUTS_MAX: usize = 4_096;
/// Attempts to read the open tasks of a run that was halted, from a store that cannot be read.
const CANCEL_TRIES_MAX: u32 = 100;

/// A task of a run has ended, durably.
#[derive(Debug)]
pub struct Ended {
    pub run: RunId,
    pub task: TaskId,
    pub batch: u32,
    pub status: Status,
    pub changed: bool,
    pub retries: u32,
    pub target: Arc<str>,
    /// Its batch had not begun.
    pub held: bool,
}

pub enum Input {
    Ended(Vec<Ended>),
    /// A run was created or given new tasks: take it up from the store.
    Load(RunId, oneshot::Sender<()>),
    Cancel(RunId, oneshot::Sender<bool>),
    Pause(RunId, oneshot::Sender<pause::Turned>),
    Resume(RunId, oneshot::Sender<pause::Turned>),
    /// The status as of now.
    Status(RunId, oneshot::Sender<Option<RunStatus>>),
    /// The runs in progress, newest first, at most so many; `active` is not counted.
    Running(usize, oneshot::Sender<Vec<(RunId, String, RunStatus)>>),
}

pub struct Handle(mpsc::Sender<Input>);

impl Handle {
    pub fn channel() -> (Handle, mpsc::Receiver<Input>) {
        let (sender, receiver) = mpsc::channel(INPUTS_MAX);
        (Handle(sender), receiver)
    }

    pub fn sender(&self) -> mpsc::Sender<Input> {
        self.0.clone()
    }

    pub async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Input) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.0.send(make(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// A run in progress.
struct Live {
    id: RunId,
    spec: RunSpec,
    status: RunStatus,
    priority: Priority,
    /// Lowest task id of each batch of this round.
    first_ids: BTreeMap<u32, TaskId>,
    open: u32,
    /// Tasks counted as ended, so that none is counted twice.
    ended: HashSet<TaskId>,
    bad: u32,
    /// What had not begun was ended, in this life of logic.
    halted: bool,
    written: Option<tokio::time::Instant>,
    dirty: bool,
}

impl Live {
    fn progress(&self) -> Progress {
        Progress {
            batches: self.status.batches,
            released: self.status.batch,
            open: self.open,
            held: self.status.counts.held,
            done: self.status.counts.done,
            targets: self.status.targets,
            bad: self.bad,
            budget: self.status.max_fail,
            phase: self.status.phase,
            halted: self.halted,
        }
    }

    fn count(&mut self, status: Status, changed: bool) {
        let counts = &mut self.status.counts;
        match status {
            Status::Done => counts.done += 1,
            Status::Failed => counts.failed += 1,
            Status::Unknown => counts.unknown += 1,
            Status::Cancelled => counts.cancelled += 1,
            Status::Expired => counts.expired += 1,
        }
        counts.changed += u32::from(changed);
        if matches!(status, Status::Failed | Status::Unknown | Status::Expired) {
            self.bad += 1;
        }
    }
}

struct Control {
    shared: Arc<Shared>,
    dispatch: dispatch::Handle,
    runs: HashMap<RunId, Live>,
    /// Runs that could not be read; tried again.
    unread: HashSet<RunId>,
}

pub async fn run(
    shared: Arc<Shared>,
    dispatch: dispatch::Handle,
    mut inputs: mpsc::Receiver<Input>,
) {
    let mut control = Control {
        shared,
        dispatch,
        runs: HashMap::new(),
        unread: HashSet::new(),
    };
    control.load_all().await;
    let mut tick = tokio::time::interval(WRITE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = tick.tick(), if control.has_to_do() => {
                for id in std::mem::take(&mut control.unread) {
                    control.load_or_later(id).await;
                }
            }
            input = inputs.recv() => match input {
                Some(input) => control.input(input).await,
                None => return,
            },
        }
        control.advance().await;
    }
}

impl Control {
    fn has_to_do(&self) -> bool {
        !self.unread.is_empty() || self.runs.values().any(|r| r.dirty)
    }

    async fn load_all(&mut self) {
        let names: Vec<String> = {
            let inventory = self.shared.inventory.read();
            let runs = inventory.others_of("Run").filter(|(_, other)| {
                let status = serde_json::from_value::<RunStatus>(other.record.status.clone());
                status.is_ok_and(|s| !s.phase.over())
            });
            runs.map(|(name, _)| name.to_owned()).collect()
        };
        for name in names {
            let Ok(id) = name.parse() else { continue };
            self.load_or_later(id).await;
        }
    }

    async fn load_or_later(&mut self, id: RunId) {
        if let Err(error) = self.load(id).await {
            tracing::error!(run = %id, error = &error as &dyn std::error::Error, "run not taken up yet");
            self.unread.insert(id);
        }
    }

    async fn load(&mut self, id: RunId) -> Result<(), StoreError> {
        let other = self
            .shared
            .inventory
            .read()
            .other("Run", &id.to_string())
            .cloned();
        let Some(other) = other else { return Ok(()) };
        let spec = serde_json::from_value::<RunSpec>(other.record.spec.clone());
        let status = serde_json::from_value::<RunStatus>(other.record.status.clone());
        let (Ok(spec), Ok(mut status)) = (spec, status) else {
            return Ok(());
        };
        let tasks = self.shared.store.run_tasks(id).await?;
        let known = self.runs.get(&id);
        if let Some(live) = known {
            // What is known here may not be written yet.
            status.clone_from(&live.status);
        }
        status.counts = RunCounts {
            retries: status.counts.retries,
            ..RunCounts::default()
        };
        let mut live = Live {
            id,
            priority: priority(&spec, tasks.len()),
            spec,
            first_ids: BTreeMap::new(),
            open: 0,
            ended: HashSet::new(),
            bad: 0,
            halted: known.is_some_and(|live| live.halted),
            written: None,
            dirty: true,
            status,
        };
        let mut released = 0;
        let held = tasks.iter().filter(|t| t.priority == Some(Priority::Held));
        let first_held = held.map(|t| t.batch).min();
        for task in &tasks {
            let first = live.first_ids.entry(task.batch).or_insert(task.id);
            *first = (*first).min(task.id);
            match (task.status, task.priority) {
                (Some(status), _) => {
                    live.ended.insert(task.id);
                    live.count(status, task.changed);
                    released = released.max(task.batch);
                }
                (None, Some(Priority::Held)) => live.status.counts.held += 1,
                (None, _) => {
                    live.open += 1;
                    released = released.max(task.batch);
                }
            }
        }
        live.status.targets = tasks.len() as u32;
        live.status.batch = match first_held {
            // Single tasks of a batch that has not begun may have ended.
            Some(batch) => batch.saturating_sub(1),
            None => released.max(live.status.batch),
        };
        // Failures of an earlier round do not count against this one's budget.
        live.bad = tasks.iter().filter(|t| bad_now(t, &live)).count() as u32;
        self.runs.insert(id, live);
        Ok(())
    }

    async fn input(&mut self, input: Input) {
        match input {
            Input::Ended(ended) => {
                let mut counted_anew = HashSet::new();
                for end in ended {
                    if end.held {
                        // Whether its batch was let go meanwhile is known to the store alone.
                        counted_anew.insert(end.run);
                    }
                    let Some(live) = self.runs.get_mut(&end.run) else {
                        continue;
                    };
                    if live.ended.insert(end.task) {
                        live.open = live.open.saturating_sub(1);
                        live.count(end.status, end.changed);
                        live.status.counts.retries += end.retries;
                        live.dirty = true;
                    }
                }
                for id in counted_anew {
                    if self.runs.contains_key(&id) {
                        self.load_or_later(id).await;
                    }
                }
            }
            Input::Load(id, reply) => {
                // What is known is an earlier round, and over.
                self.runs.remove(&id);
                self.load_or_later(id).await;
                self.shared.glance.runs.renewed(id);
                let _ = reply.send(());
            }
            Input::Cancel(id, reply) => {
                let running = self.runs.get(&id).is_some_and(|r| !r.status.phase.over());
                if running {
                    self.halt(id, RunPhase::Cancelling, "cancelled on request")
                        .await;
                }
                let _ = reply.send(running);
            }
            Input::Pause(id, reply) => {
                let turned = self.pause(id).await;
                let _ = reply.send(turned);
            }
            Input::Resume(id, reply) => {
                let turned = self.resume(id).await;
                let _ = reply.send(turned);
            }
            Input::Running(most, reply) => {
                let mut ids: Vec<RunId> = self.runs.keys().copied().collect();
                ids.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
                let lives = ids.iter().take(most).filter_map(|id| self.runs.get(id));
                let seen = lives.map(|live| {
                    let mut status = live.status.clone();
                    status.counts.waiting = live.open;
                    (live.id, live.spec.action.clone(), status)
                });
                let _ = reply.send(seen.collect());
            }
            Input::Status(id, reply) => {
                let status = match self.runs.get(&id) {
                    Some(live) => {
                        let mut status = live.status.clone();
                        let out = self
                            .dispatch
                            .ask(|reply| dispatch::Input::RunOut { run: id, reply });
                        let out = out.await.unwrap_or(0).min(live.open);
                        status.counts.active = out;
                        status.counts.waiting = live.open - out;
                        Some(status)
                    }
                    None => None,
                };
                let _ = reply.send(status);
            }
        }
    }

    /// Does for every run what is to be done next, and writes what changed.
    async fn advance(&mut self) {
        let ids: Vec<RunId> = self
            .runs
            .iter()
            .filter(|(_, r)| r.dirty)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let Some(live) = self.runs.get_mut(&id) else {
                continue;
            };
            match step(&live.progress()) {
                Step::Wait => {
                    let due = live.written.is_none_or(|at| at.elapsed() >= WRITE_EVERY);
                    let over = live.status.phase.over();
                    if due && self.write(id).await && over {
                        self.runs.remove(&id);
                    }
                }
                Step::Halt => {
                    let (phase, why) = (live.status.phase, live.status.message.clone());
                    self.halt(id, phase, &why).await;
                }
                Step::Release(batch) => self.release(id, batch).await,
                Step::Stop => {
                    let (bad, budget) = (live.bad, live.status.max_fail.unwrap_or(0));
                    let why = format!("failure budget spent: {bad} failed, {budget} allowed");
                    self.halt(id, RunPhase::Stopping, &why).await;
                }
                Step::Over(phase) => {
                    live.status.phase = phase;
                    live.status.ended_at = Some(clock::now());
                    if phase == RunPhase::Succeeded {
                        live.status.message = "every target is done".to_owned();
                    } else if live.status.message.is_empty() {
                        live.status.message = "not every target is done".to_owned();
                    }
                    if self.write(id).await {
                        self.runs.remove(&id);
                    }
                }
            }
        }
    }

    async fn release(&mut self, id: RunId, batch: u32) {
        let Some(live) = self.runs.get_mut(&id) else {
            return;
        };
        let to = live.priority;
        let op = Op::Release { run: id, batch, to };
        match self.shared.store.commit(vec![op].into()).await {
            Ok(committed) => {
                let moved = u32::try_from(committed.moved).unwrap_or(u32::MAX);
                live.status.counts.held = live.status.counts.held.saturating_sub(moved);
                live.open += moved;
                live.status.batch = batch;
                self.shared.glance.runs.released(id, batch);
                let from = live.first_ids.get(&batch).copied().unwrap_or(TaskId(0));
                self.dispatch.send(dispatch::Input::Stored { from }).await;
                self.write(id).await;
            }
            Err(error) => {
                tracing::error!(run = %id, error = &error as &dyn std::error::Error, "batch not released");
                tokio::time::sleep(Duration::from_millis(limits::RETRY_FIRST_MS)).await;
            }
        }
    }

    /// No further task of the run begins; when it was cancelled, those in hand are asked to end as well.
    async fn halt(&mut self, id: RunId, phase: RunPhase, why: &str) {
        let Some(live) = self.runs.get_mut(&id) else {
            return;
        };
        let was_paused = live.status.phase == RunPhase::Paused;
        live.status.phase = phase;
        why.clone_into(&mut live.status.message);
        live.halted = false;
        live.dirty = true;
        // The decision is durable before its consequences, so that a restart in between completes it.
        if !self.write(id).await {
            return;
        }
        if was_paused {
            // What it held back is ended below; a retry of the run must not be held.
            self.hold(id, false).await;
        }
        let Some(live) = self.runs.get_mut(&id) else {
            return;
        };
        let now = clock::now();
        let ending = Ending {
            chosen: None,
            outcome: Outcome::Cancelled {
                why: why.to_owned(),
            },
            started_at: None,
            ended_at: now,
            attempts: 0,
            wee: None,
            instance: None,
            digest: None,
            readings: None,
            facts: None,
            history: Vec::new(),
        };
        let op = Op::EndHeld {
            run: id,
            status: Status::Cancelled,
            at: now,
            ending: serde_json::to_vec(&ending).unwrap_or_default().into(),
        };
        match self.shared.store.commit(vec![op].into()).await {
            Ok(committed) => {
                let moved = u32::try_from(committed.moved).unwrap_or(u32::MAX);
                live.status.counts.held = live.status.counts.held.saturating_sub(moved);
                live.status.counts.cancelled += moved;
                self.shared.glance.runs.halted(id);
                live.halted = true;
                live.dirty = true;
                let position = committed.position;
                let newer = |p: &mut u64| *p = (*p).max(position);
                self.shared.position.send_modify(newer);
            }
            Err(error) => {
                tracing::error!(run = %id, error = &error as &dyn std::error::Error, "run not halted");
                tokio::time::sleep(Duration::from_millis(limits::RETRY_FIRST_MS)).await;
                return;
            }
        }
        let out_too = phase == RunPhase::Cancelling;
        let (shared, dispatch, why) = (self.shared.clone(), self.dispatch.clone(), why.to_owned());
        // On its own: cancelling ends tasks, and their ends come back to this loop.
        crate::clock::spawn(async move {
            for _ in 0..CANCEL_TRIES_MAX {
                match cancel_run(&shared, &dispatch, id, &why, out_too).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::error!(run = %id, error = &error as &dyn std::error::Error, "run not cancelled yet");
                        tokio::time::sleep(Duration::from_millis(limits::RETRY_MAX_MS)).await;
                    }
                }
            }
        });
    }

    /// True when it is durable.
    async fn write(&mut self, id: RunId) -> bool {
        let Some(live) = self.runs.get_mut(&id) else {
            return false;
        };
        let mut status = live.status.clone();
        status.counts.waiting = live.open;
        let spec = serde_json::to_value(&live.spec).unwrap_or_default();
        let status = serde_json::to_value(&status).unwrap_or_default();
        live.written = Some(tokio::time::Instant::now());
        match self
            .shared
            .put_own("Run", &live.id.to_string(), spec, status)
            .await
        {
            Ok(_) => {
                live.dirty =
                    live.status.phase.over() || !matches!(step(&live.progress()), Step::Wait);
                true
            }
            Err(error) => {
                tracing::error!(run = %id, error = &error as &dyn std::error::Error, "run not written");
                tokio::time::sleep(Duration::from_millis(limits::RETRY_FIRST_MS)).await;
                false
            }
        }
    }
}

fn bad_now(task: &RunTask, live: &Live) -> bool {
    let bad = matches!(
        task.status,
        Some(Status::Failed | Status::Unknown | Status::Expired)
    );
    bad && task.batch >= live.status.first_batch
}

async fn cancel_run(
    shared: &Shared,
    dispatch: &dispatch::Handle,
    run: RunId,
    why: &str,
    out_too: bool,
) -> Result<(), StoreError> {
    let mut before = None;
    loop {
        let query = TaskQuery {
            run: Some(run),
            open: true,
            before,
            limit: 1_000,
            ..TaskQuery::default()
        };
        let page = shared.store.tasks(query).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        before = Some(last.id);
        let ids = page.iter().map(|t| t.id).collect();
        cancel_open(shared, dispatch, ids, why, out_too).await?;
    }
}

fn priority(spec: &RunSpec, targets: usize) -> Priority {
    match spec.priority {
        Some(p @ (Priority::People | Priority::Batch)) => p,
        _ if targets <= PEOPLE_TARGETS_MAX => Priority::People,
        _ => Priority::Batch,
    }
}
