//! Making runs: the targets are frozen, the tasks committed, the first batch let go.

use super::{Input, priority};
use crate::audit::{self, Act};
use crate::clock;
use crate::core::Logic;
use crate::dispatch;
use crate::inventory::Target;
use crate::records::{SELECTOR_HINT, not_found, store_problem};
use crate::tasks::{few_enough_for_frames, make};
use sengu_model::kinds::{RunCounts, RunPhase, RunSpec, RunStatus};
use sengu_model::outcome::Status;
use sengu_model::problem::{Code, Problem};
use sengu_model::quantity::Share;
use sengu_model::task::Priority;
use sengu_model::{Record, RunId, Selector, TaskId, Uid, limits};
use sengu_store::{Expect, Op};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

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
        if matches!(spec.batch, Some(Share::Count(0) | Share::Percent(0.0))) {
            return Err(Problem::new(Code::InvalidField, "batch is 0 targets")
                .hint("write a number such as 10 or a share such as 10%"));
        }
        let selector: Selector = spec
            .selector
            .parse()
            .map_err(|e| Problem::new(Code::InvalidSelector, format!("{e}")).hint(SELECTOR_HINT))?;
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
        few_enough_for_frames(spec.frames, targets.len())?;
        let mut plans = HashMap::new();
        for target in targets {
            if !plans.contains_key(&target.kind) {
                let mut plan = self.plan_action(
                    &target.kind,
                    &spec.action,
                    &spec.params,
                    spec.effect,
                    spec.timeout,
                    spec.version.as_deref(),
                )?;
                plan.frames = spec.frames;
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
            first_batch: 1,
            counts: RunCounts::default(),
            max_fail: spec.max_fail.map(|m| m.floor_of(count)),
            started_at: Some(clock::now()),
            ended_at: None,
            message: String::new(),
        };
        let plans = &plans;
        self.begin_round(
            id,
            spec,
            status,
            targets,
            plans,
            0,
            Expect::Absent,
            "created",
        )
        .await
    }

    #[allow(clippy::too_many_arguments)] // each is one column of the round
    /// Makes the tasks of one round (a new run, or a retry of what is unfinished) and lets the first batch go.
    async fn begin_round(
        &self,
        id: RunId,
        spec: RunSpec,
        mut status: RunStatus,
        targets: Vec<Arc<Target>>,
        plans: &HashMap<Arc<str>, crate::tasks::Plan>,
        batches_before: u32,
        expect: Expect,
        what: &str,
    ) -> Result<Record, Problem> {
        let size = batch_size(&spec, targets.len());
        let priority = priority(&spec, targets.len());
        status.batches = batches_before + targets.len().div_ceil(size) as u32;
        status.batch = batches_before + 1;
        let count = targets.len();
        let mut ready = Vec::with_capacity(size.min(count));
        let mut ops = Vec::with_capacity(count + 2);
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
            expect,
            body: serde_json::to_vec(&record).unwrap_or_default().into(),
        });
        let note = audit::on_targets(&spec.action, count);
        ops.push(Act::new(what, "Run", &id.to_string()).note(note).op());
        let arrival = self.dispatch.arriving();
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
        self.dispatch
            .send(dispatch::Input::New(ready, arrival))
            .await;
        Ok(record)
    }

    /// The id of a run that there is.
    pub(super) fn run_id(&self, name: &str) -> Result<RunId, Problem> {
        self.run_record(name).map(|(id, ..)| id)
    }

    /// Keeps what is asked of a run, where its phase will take it.
    pub(super) async fn will_turn(
        &self,
        name: &str,
        what: &str,
        takes: fn(RunPhase) -> bool,
    ) -> Result<RunId, Problem> {
        let id = self.run_id(name)?;
        let status = self.control.ask(|reply| Input::Status(id, reply)).await;
        if status.flatten().is_some_and(|status| takes(status.phase)) {
            self.shared.will(Act::new(what, "Run", name)).await?;
        }
        Ok(id)
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
        let id = self
            .will_turn(name, "cancelled", |phase| !phase.over())
            .await?;
        match self.control.ask(|reply| Input::Cancel(id, reply)).await {
            Some(true) => self.run(name).await,
            _ => Err(Problem::new(
                Code::WrongState,
                format!("run {name} is over"),
            )),
        }
    }

    /// Does the run again for those of its targets that are not done. Those that are `Unknown` after an action which must
    /// not be repeated are left alone, unless `unknown_too` says that a person has looked.
    ///
    /// # Errors
    /// `not_found`, `wrong_state` when it is not over or nothing is left.
    pub async fn retry_run(&self, name: &str, unknown_too: bool) -> Result<Record, Problem> {
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
        let mut targets: Vec<Arc<Target>> = Vec::new();
        let mut unknown = HashSet::new();
        {
            let inventory = self.shared.inventory.read();
            for task in tasks.iter().filter(|t| t.status != Some(Status::Done)) {
                if let Some(target) = inventory.by_uid.get(&task.target) {
                    targets.push(target.clone());
                    if task.status == Some(Status::Unknown) {
                        unknown.insert(target.uid);
                    }
                }
            }
        }
        targets.sort_by(|a, b| a.name.cmp(&b.name));
        let plans = self.run_plans(&spec, &targets)?;
        let unfinished = targets.len();
        targets.retain(|t| {
            let repeatable = plans.get(&t.kind).is_some_and(|p| p.effect.repeatable());
            repeatable || unknown_too || !unknown.contains(&t.uid)
        });
        let left_alone = unfinished - targets.len();
        if targets.is_empty() && left_alone > 0 {
            let what =
                format!("{left_alone} targets of run {name} are unknown, and nothing else is left");
            return Err(Problem::new(Code::WrongState, what).hint(
                "look at them: it may have happened. Then, to do it again all the same: sengu retry --unknown-too",
            ));
        }
        if targets.is_empty() {
            return Err(Problem::new(
                Code::WrongState,
                format!("run {name} has nothing left to do"),
            ));
        }
        status.phase = RunPhase::Running;
        status.ended_at = None;
        status.started_at = Some(clock::now());
        status.first_batch = batches_before + 1;
        status.message = format!("retry of {} targets", targets.len());
        if left_alone > 0 {
            status.message += &format!("; {left_alone} unknown are left alone");
        }
        status.max_fail = spec.max_fail.map(|m| m.floor_of(status.targets));
        status.counts = RunCounts {
            done: status.counts.done,
            ..RunCounts::default()
        };
        // Two who ask at once must not both begin a round.
        let as_read = record.metadata.revision;
        let expect = as_read.map_or(Expect::Anything, Expect::Revision);
        let (before, plans) = (batches_before, &plans);
        self.begin_round(id, spec, status, targets, plans, before, expect, "retried")
            .await
    }
}

fn batch_size(spec: &RunSpec, count: usize) -> usize {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    spec.batch
        .map_or(count.max(1), |b| b.at_least_one_of(count)) as usize
}
