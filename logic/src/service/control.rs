//! Simple Control: runs. One action over many targets, in batches, with a failure budget that holds across batches.
//!
//! All tasks of a run are committed when it is created, those of later batches as `Held`. How far a run is follows from
//! its tasks alone, so a run goes on by itself after a restart. What to do next is the pure function `step`.

use crate::clock;
use crate::core::{Logic, Shared};
use crate::dispatch;
use crate::inventory::Target;
use crate::records::{not_found, store_problem};
use crate::tasks::{cancel_open, make};
use sengu_model::kinds::{RunCounts, RunPhase, RunSpec, RunStatus};
use sengu_model::outcome::Status;
use sengu_model::problem::{Code, Problem};
use sengu_model::task::{Ending, Priority};
use sengu_model::{Outcome, Record, RunId, Selector, TaskId, Uid, limits};
use sengu_store::{Expect, Op, RunTask, StoreError, TaskQuery};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Progress that did not change the phase is written at most this often.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// Runs of up to this many targets count as a person's.
const PEOPLE_TARGETS_MAX: usize = 100;
const INPUTS_MAX: usize = 4_096;

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
}

pub enum Input {
    Ended(Vec<Ended>),
    /// A run was created or given new tasks: take it up from the store.
    Load(RunId, oneshot::Sender<()>),
    Cancel(RunId, oneshot::Sender<bool>),
    /// The status as of now.
    Status(RunId, oneshot::Sender<Option<RunStatus>>),
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

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Input) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.0.send(make(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// How far a run is, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub batches: u32,
    /// Batches that were let go.
    pub released: u32,
    /// Tasks of those that have not ended.
    pub open: u32,
    pub held: u32,
    pub done: u32,
    pub targets: u32,
    /// Failed, unknown or expired in this round.
    pub bad: u32,
    pub budget: Option<u32>,
    pub phase: RunPhase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Wait,
    Release(u32),
    /// The budget is spent.
    Stop,
    Over(RunPhase),
}

/// What a run does next.
pub fn step(p: &Progress) -> Step {
    let over_budget = p.budget.is_some_and(|budget| p.bad > budget);
    match p.phase {
        RunPhase::Running if over_budget && p.open + p.held > 0 => Step::Stop,
        RunPhase::Running if p.open > 0 => Step::Wait,
        RunPhase::Running if p.held > 0 && p.released < p.batches => Step::Release(p.released + 1),
        RunPhase::Running if p.done == p.targets => Step::Over(RunPhase::Succeeded),
        RunPhase::Running => Step::Over(RunPhase::Failed),
        RunPhase::Stopping | RunPhase::Cancelling if p.open > 0 => Step::Wait,
        RunPhase::Stopping => Step::Over(RunPhase::Failed),
        RunPhase::Cancelling => Step::Over(RunPhase::Cancelled),
        RunPhase::Succeeded | RunPhase::Failed | RunPhase::Cancelled => Step::Wait,
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
    };
    control.load_all().await;
    let mut tick = tokio::time::interval(WRITE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            input = inputs.recv() => match input {
                Some(input) => control.input(input).await,
                None => return,
            },
            _ = tick.tick(), if control.runs.values().any(|r| r.dirty) => {}
        }
        control.advance().await;
    }
}

impl Control {
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
            if let Err(error) = self.load(id).await {
                tracing::error!(run = %id, error = &error as &dyn std::error::Error, "run not taken up");
            }
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
            written: None,
            dirty: true,
            status,
        };
        let mut released = 0;
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
        live.status.batch = released.max(live.status.batch);
        // Failures of an earlier round do not count against this one's budget.
        live.bad = tasks.iter().filter(|t| bad_now(t, &live)).count() as u32;
        self.runs.insert(id, live);
        Ok(())
    }

    async fn input(&mut self, input: Input) {
        match input {
            Input::Ended(ended) => {
                for end in ended {
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
            }
            Input::Load(id, reply) => {
                if let Err(error) = self.load(id).await {
                    tracing::error!(run = %id, error = &error as &dyn std::error::Error, "run not taken up");
                }
                let _ = reply.send(());
            }
            Input::Cancel(id, reply) => {
                let running = self.runs.get(&id).is_some_and(|r| !r.status.phase.over());
                if running {
                    self.halt(id, RunPhase::Cancelling, "cancelled on request", true)
                        .await;
                }
                let _ = reply.send(running);
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
                    if due {
                        self.write(id).await;
                    }
                }
                Step::Release(batch) => self.release(id, batch).await,
                Step::Stop => {
                    let (bad, budget) = (live.bad, live.status.max_fail.unwrap_or(0));
                    let why = format!("failure budget spent: {bad} failed, {budget} allowed");
                    self.halt(id, RunPhase::Stopping, &why, false).await;
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

    /// No further task of the run begins. `out_too`: those in hand are asked to end as well.
    async fn halt(&mut self, id: RunId, phase: RunPhase, why: &str, out_too: bool) {
        let Some(live) = self.runs.get_mut(&id) else {
            return;
        };
        let now = clock::now();
        let ending = Ending {
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
                live.status.phase = phase;
                why.clone_into(&mut live.status.message);
            }
            Err(error) => {
                tracing::error!(run = %id, error = &error as &dyn std::error::Error, "run not halted");
                tokio::time::sleep(Duration::from_millis(limits::RETRY_FIRST_MS)).await;
                return;
            }
        }
        self.write(id).await;
        let (shared, dispatch, why) = (self.shared.clone(), self.dispatch.clone(), why.to_owned());
        // On its own: cancelling ends tasks, and their ends come back to this loop.
        tokio::spawn(async move {
            if let Err(error) = cancel_run(&shared, &dispatch, id, &why, out_too).await {
                tracing::error!(run = %id, error = &error as &dyn std::error::Error, "run not cancelled");
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
    // A retried target has a newer task, so what is left of earlier rounds are those that are done.
    bad && live.first_ids.contains_key(&task.batch)
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

/// What a run would touch.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunPreview {
    /// Names of the first targets.
    pub targets: Vec<String>,
    pub count: usize,
    /// Targets per batch.
    pub batches: Vec<usize>,
    /// Failures allowed; absent = no limit.
    pub max_fail: Option<u32>,
    pub effect: String,
    pub timeout_ms: u64,
}

impl Logic {
    /// The targets of a run, in name order, without those excluded.
    fn run_targets(&self, spec: &RunSpec) -> Result<Vec<Arc<Target>>, Problem> {
        let selector: Selector = spec.selector.parse().map_err(|e| {
            Problem::new(Code::InvalidSelector, format!("{e}")).hint("sengu help selectors")
        })?;
        if spec.selector.is_empty() && spec.targets.is_empty() {
            return Err(
                Problem::new(Code::NoTargets, "neither targets nor a selector")
                    .hint("name targets, or select them: -l site=tyo1; all of them: -l name"),
            );
        }
        let mut found: BTreeMap<Arc<str>, Arc<Target>> = BTreeMap::new();
        for target in self.targets_named(spec.targets.iter().map(String::as_str))? {
            found.insert(target.name.clone(), target);
        }
        if !spec.selector.is_empty() {
            let inventory = self.shared.inventory.read();
            for target in inventory.select(&selector) {
                found.insert(target.name.clone(), target.clone());
            }
        }
        for name in &spec.exclude {
            found.remove(name.as_str());
        }
        let limit = spec.limit.map_or(usize::MAX, |l| l as usize);
        let targets: Vec<_> = found.into_values().take(limit).collect();
        if targets.len() > limits::TARGETS_PER_RUN_MAX {
            let what = format!(
                "{} targets; at most {}",
                targets.len(),
                limits::TARGETS_PER_RUN_MAX
            );
            return Err(Problem::new(Code::TooManyTargets, what));
        }
        if targets.is_empty() && !spec.allow_empty {
            return Err(Problem::new(Code::NoTargets, "no target matches")
                .hint("sengu get targets -l '...' shows what a selector matches"));
        }
        Ok(targets)
    }

    /// What the run would touch, checked as if it were created.
    ///
    /// # Errors
    /// As `create_run`.
    pub fn preview_run(&self, spec: &RunSpec) -> Result<RunPreview, Problem> {
        let targets = self.run_targets(spec)?;
        let plans = self.run_plans(spec, &targets)?;
        let count = targets.len();
        let size = batch_size(spec, count);
        let first = plans.values().next();
        Ok(RunPreview {
            targets: targets
                .iter()
                .take(limits::PAGE_MAX)
                .map(|t| t.name.to_string())
                .collect(),
            count,
            batches: (0..count)
                .step_by(size)
                .map(|at| size.min(count - at))
                .collect(),
            max_fail: spec.max_fail.map(|m| m.floor_of(count as u32)),
            effect: first.map_or("", |p| p.effect.as_str()).to_owned(),
            timeout_ms: first.map_or(0, |p| p.timeout_ms),
        })
    }

    fn run_plans(
        &self,
        spec: &RunSpec,
        targets: &[Arc<Target>],
    ) -> Result<HashMap<Arc<str>, crate::tasks::Plan>, Problem> {
        let mut plans = HashMap::new();
        for target in targets {
            if !plans.contains_key(&target.kind) {
                let plan = self.plan_action(
                    &target.kind,
                    &spec.action,
                    &spec.params,
                    spec.effect,
                    spec.timeout,
                )?;
                plans.insert(target.kind.clone(), plan);
            }
        }
        Ok(plans)
    }

    /// Freezes the targets, commits the run with all its tasks, and begins the first batch.
    ///
    /// # Errors
    /// As `plan_action`; `no_targets`, `unknown_target`, `invalid_selector`, or the store's. Nothing was created.
    pub async fn create_run(&self, spec: RunSpec) -> Result<Record, Problem> {
        let targets = self.run_targets(&spec)?;
        let plans = self.run_plans(&spec, &targets)?;
        let id = RunId(self.shared.next_id());
        let count = targets.len() as u32;
        let status = RunStatus {
            phase: RunPhase::Running,
            targets: count,
            batches: 0,
            batch: 1,
            counts: RunCounts::default(),
            max_fail: spec.max_fail.map(|m| m.floor_of(count)),
            started_at: Some(clock::now()),
            ended_at: None,
            message: String::new(),
        };
        self.begin_round(id, spec, status, targets, &plans, 0).await
    }

    /// Makes the tasks of one round (a new run, or a retry of what is unfinished) and lets the first batch go.
    async fn begin_round(
        &self,
        id: RunId,
        spec: RunSpec,
        mut status: RunStatus,
        targets: Vec<Arc<Target>>,
        plans: &HashMap<Arc<str>, crate::tasks::Plan>,
        batches_before: u32,
    ) -> Result<Record, Problem> {
        let size = batch_size(&spec, targets.len());
        let priority = priority(&spec, targets.len());
        status.batches = batches_before + targets.len().div_ceil(size) as u32;
        status.batch = batches_before + 1;
        let mut ready = Vec::with_capacity(size.min(targets.len()));
        let mut ops = Vec::with_capacity(targets.len() + 1);
        for (i, target) in targets.into_iter().enumerate() {
            let batch = batches_before + (i / size) as u32 + 1;
            let first = batch == batches_before + 1;
            let held = if first { priority } else { Priority::Held };
            let task = TaskId(self.shared.next_id());
            let plan = plans.get(&target.kind).ok_or_else(|| {
                Problem::new(
                    Code::Internal,
                    "a target's kind changed while the run was made",
                )
            })?;
            let (op, task) = make(plan, target, task, held, Some(id), batch, None, "run");
            ops.push(op);
            if first {
                ready.push(task);
                status.counts.waiting += 1;
            } else {
                status.counts.held += 1;
            }
        }
        let tasks = ops.len() as u64;
        let mut record = Record {
            api_version: sengu_model::record::API_VERSION.to_owned(),
            kind: "Run".to_owned(),
            metadata: sengu_model::Metadata {
                name: id.to_string(),
                created_at: Some(sengu_model::task::created_at(id.0)),
                ..sengu_model::Metadata::default()
            },
            spec: serde_json::to_value(&spec).unwrap_or_default(),
            status: serde_json::to_value(&status).unwrap_or_default(),
        };
        let uid = Uid(id.0);
        ops.push(Op::PutRecord {
            kind: "Run".to_owned(),
            name: id.to_string(),
            uid,
            expect: Expect::Anything,
            body: serde_json::to_vec(&record).unwrap_or_default().into(),
        });
        let committed = self
            .shared
            .store
            .commit(ops.into())
            .await
            .map_err(store_problem)?;
        self.shared.metrics.created(tasks);
        let revision = committed.revisions.last().copied().unwrap_or_default();
        record.metadata.uid = Some(uid);
        record.metadata.revision = Some(revision);
        {
            let other = crate::inventory::Other {
                uid,
                revision,
                record: record.clone(),
            };
            let mut inventory = self.shared.inventory.write();
            inventory
                .others
                .insert(("Run".into(), id.to_string().into()), Arc::new(other));
        }
        self.shared.wrote(&committed.revisions);
        self.control.ask(|reply| Input::Load(id, reply)).await;
        self.dispatch.send(dispatch::Input::New(ready)).await;
        Ok(record)
    }

    fn run_record(&self, name: &str) -> Result<(RunId, Record, RunStatus), Problem> {
        let record = self
            .record("Run", name)
            .ok_or_else(|| not_found("Run", name))?;
        let status: Result<RunStatus, _> = serde_json::from_value(record.status.clone());
        match (name.parse(), status) {
            (Ok(id), Ok(status)) => Ok((id, record, status)),
            _ => Err(not_found("Run", name)),
        }
    }

    /// A run as it stands now.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn run(&self, name: &str) -> Result<Record, Problem> {
        let (id, mut record, _) = self.run_record(name)?;
        if let Some(status) = self.control.ask(|r| Input::Status(id, r)).await.flatten() {
            record.status = serde_json::to_value(status).unwrap_or_default();
        }
        Ok(record)
    }

    /// Ends a run: nothing further begins, what is in hand is asked to end.
    ///
    /// # Errors
    /// `not_found`, `wrong_state` when it is over.
    pub async fn cancel_run(&self, name: &str) -> Result<Record, Problem> {
        let (id, ..) = self.run_record(name)?;
        match self.control.ask(|reply| Input::Cancel(id, reply)).await {
            Some(true) => self.run(name).await,
            _ => Err(Problem::new(
                Code::WrongState,
                format!("run {name} is over"),
            )),
        }
    }

    /// Does the run again for those of its targets that are not done.
    ///
    /// # Errors
    /// `not_found`, `wrong_state` when it is not over or nothing is left.
    pub async fn retry_run(&self, name: &str) -> Result<Record, Problem> {
        let (id, record, mut status) = self.run_record(name)?;
        if !status.phase.over() {
            return Err(
                Problem::new(Code::WrongState, format!("run {name} is not over"))
                    .hint(format!("sengu cancel run/{name}, or wait")),
            );
        }
        let spec: RunSpec = serde_json::from_value(record.spec)
            .map_err(|e| Problem::new(Code::Internal, format!("run {name}: {e}")))?;
        let tasks = self
            .shared
            .store
            .run_tasks(id)
            .await
            .map_err(store_problem)?;
        let batches_before = tasks.iter().map(|t| t.batch).max().unwrap_or(0);
        let mut targets: Vec<Arc<Target>> = {
            let inventory = self.shared.inventory.read();
            let unfinished = tasks.iter().filter(|t| t.status != Some(Status::Done));
            unfinished
                .filter_map(|t| inventory.by_uid.get(&t.target).cloned())
                .collect()
        };
        targets.sort_by(|a, b| a.name.cmp(&b.name));
        if targets.is_empty() {
            return Err(Problem::new(
                Code::WrongState,
                format!("run {name} has nothing left to do"),
            ));
        }
        let plans = self.run_plans(&spec, &targets)?;
        status.phase = RunPhase::Running;
        status.ended_at = None;
        status.message = format!("retry of {} targets", targets.len());
        status.max_fail = spec.max_fail.map(|m| m.floor_of(status.targets));
        status.counts = RunCounts {
            done: status.counts.done,
            ..RunCounts::default()
        };
        self.begin_round(id, spec, status, targets, &plans, batches_before)
            .await
    }
}

fn batch_size(spec: &RunSpec, count: usize) -> usize {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    spec.batch
        .map_or(count.max(1), |b| b.at_least_one_of(count)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(
        released: u32,
        open: u32,
        held: u32,
        done: u32,
        bad: u32,
        phase: RunPhase,
    ) -> Progress {
        Progress {
            batches: 3,
            released,
            open,
            held,
            done,
            targets: 30,
            bad,
            budget: Some(2),
            phase,
        }
    }

    #[test]
    fn batches_follow_each_other_while_the_budget_holds() {
        use RunPhase::{Cancelled, Cancelling, Failed, Running, Stopping, Succeeded};
        let table = [
            (progress(1, 10, 20, 0, 0, Running), Step::Wait),
            (progress(1, 1, 20, 7, 2, Running), Step::Wait),
            (progress(1, 0, 20, 8, 2, Running), Step::Release(2)),
            (progress(1, 3, 20, 4, 3, Running), Step::Stop),
            (progress(3, 1, 0, 26, 3, Running), Step::Stop),
            (progress(3, 0, 0, 27, 3, Running), Step::Over(Failed)),
            (progress(3, 0, 0, 30, 0, Running), Step::Over(Succeeded)),
            (progress(3, 0, 0, 28, 2, Running), Step::Over(Failed)),
            (progress(1, 2, 0, 4, 3, Stopping), Step::Wait),
            (progress(1, 0, 0, 4, 3, Stopping), Step::Over(Failed)),
            (progress(1, 0, 0, 4, 0, Cancelling), Step::Over(Cancelled)),
            (progress(3, 0, 0, 30, 0, Succeeded), Step::Wait),
        ];
        for (progress, expected) in table {
            assert_eq!(step(&progress), expected, "{progress:?}");
        }
    }
}
