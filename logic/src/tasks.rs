//! Making tasks: from a request to committed rows, checked against what the target's kind can do.

use crate::audit::{self, Act};
use crate::catalog::{Action, Kind, clip};
use crate::clock;
use crate::core::Logic;
use crate::dispatch::{Input, Payload, Ready, Standing, lanes::Stage};
use crate::inventory::Target;
use crate::records::{not_found, store_problem};
use sengu_model::problem::{Code, Problem};
use sengu_model::quantity::Duration;
use sengu_model::task::{Priority, RawBody, TaskBody, TaskState, TaskView, created_at};
use sengu_model::{Effect, RunId, TaskId, Time, limits};
use sengu_store::{NewTask, Op, Stand, StoredTask, TaskQuery};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// One action on one or more targets, as tasks of their own.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskRequest {
    /// Names of targets; one task is made for each.
    pub targets: Vec<String>,
    pub action: String,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub params: Value,
    /// From hand-over to outcome, such as `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub timeout: Option<Duration>,
    /// For actions that let the caller declare the effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub effect: Option<Effect>,
    /// `people` (default for up to 100 targets) or `batch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub priority: Option<Priority>,
    /// Version of the worker that must do it, whatever the Release says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Not begun within this time: `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub start_within: Option<Duration>,
    /// Keep the frames between worker and host in the task's log, without secrets; for at most 100 targets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frames: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreatedTask {
    #[schema(value_type = String)]
    pub id: TaskId,
    pub target: String,
}

/// Beyond this a deadline is a slip of the pen, and far beyond it no date.
const START_WITHIN_MAX_MS: u64 = 366 * 86_400_000;
/// Longest wait for the end of a cancelled task that nobody has in hand.
const CANCEL_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(1);
/// Requests of up to this many targets count as a person's.
const PEOPLE_TARGETS_MAX: usize = 100;

/// An action as it will be done, checked once per kind.
pub struct Plan {
    pub kind: Arc<Kind>,
    pub action: Arc<Action>,
    pub effect: Effect,
    pub timeout_ms: u64,
    pub params: RawBody,
    /// The version that must do it.
    pub pinned: Option<String>,
    /// Whether its frames are kept.
    pub frames: bool,
}

impl Logic {
    /// Checks an action and its parameters for one kind.
    ///
    /// # Errors
    /// `unknown_kind`, `unknown_action`, `invalid_params`, `invalid_field`.
    pub fn plan_action(
        &self,
        kind: &str,
        action: &str,
        params: &Value,
        effect: Option<Effect>,
        timeout: Option<Duration>,
        pinned: Option<&str>,
    ) -> Result<Plan, Problem> {
        let catalog = self.shared.catalog.read().clone();
        let default = catalog.kinds.get(kind).ok_or_else(|| {
            let what = format!("no worker drives kind {:?}", clip(kind));
            Problem::new(Code::UnknownKind, what)
        })?;
        let kind = match pinned {
            None => default.clone(),
            Some(version) => catalog.version(kind, version).cloned().ok_or_else(|| {
                let what = format!("version {:?} of {kind} is not known", clip(version));
                let known = catalog.routes.get(kind).into_iter();
                let known: Vec<&str> = known
                    .flat_map(|routes| routes.versions.keys())
                    .map(String::as_str)
                    .collect();
                Problem::new(Code::UnknownVersion, what)
                    .hint(format!("known: {}", known.join(", ")))
            })?,
        };
        let Some(found) = kind.actions.get(action).cloned() else {
            let known: Vec<&str> = kind
                .actions
                .values()
                .filter(|a| !a.decl.internal)
                .map(|a| a.decl.name.as_str())
                .collect();
            let what = format!("kind {} has no action {:?}", kind.name(), clip(action));
            return Err(Problem::new(Code::UnknownAction, what)
                .hint(format!("known: {}", known.join(", "))));
        };
        let declared = found.decl.effect;
        let effect = match effect {
            None => declared,
            Some(e) if e == declared => e,
            Some(e)
                if found.decl.effect_by_caller
                    && matches!(e, Effect::Read | Effect::Idempotent) =>
            {
                e
            }
            Some(e) => {
                let what = format!(
                    "the effect of {action} is {}, not {}",
                    declared.as_str(),
                    e.as_str()
                );
                return Err(Problem::new(Code::InvalidField, what).hint(
                    "only actions with effect_by_caller let you declare read or idempotent",
                ));
            }
        };
        let empty = serde_json::json!({});
        let params = if params.is_null() { &empty } else { params };
        let raw = RawBody::of(params);
        if raw.0.get().len() > limits::TASK_PARAMS_BYTES_MAX {
            let what = format!(
                "params of {} bytes; at most {}",
                raw.0.get().len(),
                limits::TASK_PARAMS_BYTES_MAX
            );
            return Err(Problem::new(Code::InvalidParams, what));
        }
        let faults = found.param_faults(params);
        if let Some(first) = faults.first() {
            let what = format!("{action}: {}: {}", first.place, first.message);
            return Err(Problem::new(Code::InvalidParams, what)
                .hint(format!("sengu explain {}.{action}", kind.name()))
                .errors(faults));
        }
        let timeout_ms = timeout.map_or(found.decl.timeout_ms, |t| t.ms);
        if !(1..=limits::ACTION_TIMEOUT_MAX_MS).contains(&timeout_ms) {
            let what = format!(
                "timeout of {timeout_ms} ms; at most {}",
                limits::ACTION_TIMEOUT_MAX_MS
            );
            return Err(Problem::new(Code::InvalidField, what));
        }
        Ok(Plan {
            kind,
            action: found,
            effect,
            timeout_ms,
            params: raw,
            pinned: pinned.map(str::to_owned),
            frames: false,
        })
    }

    /// Commits one task per target and hands them to dispatch.
    ///
    /// # Errors
    /// As `plan_action`, `unknown_target`, `too_many_targets`, or the store's. Nothing was created.
    pub async fn create_tasks(&self, request: TaskRequest) -> Result<Vec<CreatedTask>, Problem> {
        if request.targets.is_empty() {
            return Err(Problem::new(Code::NoTargets, "targets is empty"));
        }
        if request.targets.len() > limits::TASKS_PER_REQUEST_MAX {
            let what = format!(
                "{} targets; at most {}",
                request.targets.len(),
                limits::TASKS_PER_REQUEST_MAX
            );
            return Err(Problem::new(Code::TooManyTargets, what).hint("make it a run"));
        }
        few_enough_for_frames(request.frames, request.targets.len())?;
        let priority = match request.priority {
            Some(p @ (Priority::People | Priority::Batch)) => p,
            Some(_) => {
                return Err(Problem::new(
                    Code::InvalidField,
                    "priority is people or batch",
                ));
            }
            None if request.targets.len() <= PEOPLE_TARGETS_MAX => Priority::People,
            None => Priority::Batch,
        };
        let targets = self.targets_named(request.targets.iter().map(String::as_str))?;
        let now = clock::now();
        if request
            .start_within
            .is_some_and(|d| d.ms > START_WITHIN_MAX_MS)
        {
            let what = format!("startWithin: at most {}d", START_WITHIN_MAX_MS / 86_400_000);
            return Err(
                Problem::new(Code::InvalidField, what).hint("leave it out to wait for ever")
            );
        }
        let start_by = request.start_within.map(|d| now.plus_ms(d.ms));
        let mut plans: HashMap<Arc<str>, Plan> = HashMap::new();
        let mut ops = Vec::with_capacity(targets.len());
        let mut ready = Vec::with_capacity(targets.len());
        let mut created = Vec::with_capacity(targets.len());
        for target in targets {
            if !plans.contains_key(&target.kind) {
                let mut plan = self.plan_action(
                    &target.kind,
                    &request.action,
                    &request.params,
                    request.effect,
                    request.timeout,
                    request.version.as_deref(),
                )?;
                plan.frames = request.frames;
                plans.insert(target.kind.clone(), plan);
            }
            let plan = &plans[&target.kind];
            let id = TaskId(self.shared.next_id());
            created.push(CreatedTask {
                id,
                target: target.name.to_string(),
            });
            let (op, task) = make(plan, target, id, priority, None, 0, start_by, "person");
            ops.push(op);
            ready.push(task);
        }
        let count = ops.len() as u64;
        if plans.values().any(|plan| plan.effect != Effect::Read)
            && let Some(first) = created.first()
        {
            let note = audit::on_targets(&request.action, created.len());
            let act = Act::new("created", "Task", &first.id.to_string()).note(note);
            let names = created.iter().map(|task| task.target.as_str());
            ops.push(act.targets(names).op());
        }
        let arrival = self.dispatch.arriving();
        let committed = self.shared.store.commit(ops.into()).await;
        committed.map_err(store_problem)?;
        self.shared.metrics.created(count);
        self.dispatch.send(Input::New(ready, arrival)).await;
        Ok(created)
    }

    /// The targets of these names, in the given order, each once.
    ///
    /// # Errors
    /// `unknown_target` that names those that do not exist.
    pub fn targets_named<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<Arc<Target>>, Problem> {
        let inventory = self.shared.inventory.read();
        let mut seen = std::collections::HashSet::new();
        let mut found = Vec::new();
        let mut unknown = Vec::new();
        for name in names {
            match inventory.target(name) {
                Some(target) if seen.insert(target.uid) => found.push(target.clone()),
                Some(_) => {}
                None => unknown.push(clip(name)),
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let more = unknown.len().saturating_sub(5);
        unknown.truncate(5);
        let rest = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        Err(Problem::new(
            Code::UnknownTarget,
            format!("no target {}{rest}", unknown.join(", ")),
        )
        .hint("sengu get targets"))
    }

    /// One task as it stands.
    ///
    /// # Errors
    /// `not_found` or the store's.
    pub async fn task(&self, id: TaskId) -> Result<TaskView, Problem> {
        let stored = self.shared.store.task(id).await.map_err(store_problem)?;
        let stored = stored.ok_or_else(|| not_found("task", &id.to_string()))?;
        let standing = match stored.stand {
            Stand::Open(_) => self.dispatch.standing(id).await,
            Stand::Ended { .. } => None,
        };
        Ok(view(&stored, standing.as_ref()))
    }

    /// Tasks, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn list_tasks(&self, query: TaskQuery) -> Result<Vec<TaskView>, Problem> {
        let stored = self
            .shared
            .store
            .tasks(query)
            .await
            .map_err(store_problem)?;
        let open: Vec<TaskId> = stored
            .iter()
            .filter(|t| matches!(t.stand, Stand::Open(_)))
            .map(|t| t.id)
            .collect();
        let mut standings = HashMap::new();
        if !open.is_empty() {
            let tasks = open.clone();
            let all = self
                .dispatch
                .ask(|reply| Input::Standing { tasks, reply })
                .await;
            let all = all.unwrap_or_default().into_iter();
            standings.extend(
                open.into_iter()
                    .zip(all)
                    .filter_map(|(id, s)| Some((id, s?))),
            );
        }
        Ok(stored
            .iter()
            .map(|t| view(t, standings.get(&t.id)))
            .collect())
    }

    /// Asks for the end of a task.
    ///
    /// # Errors
    /// `not_found`, `wrong_state` when it has ended, or the store's.
    pub async fn cancel_task(&self, id: TaskId) -> Result<TaskView, Problem> {
        let task = self.task(id).await?;
        if task.state == TaskState::Ended {
            return Err(Problem::new(
                Code::WrongState,
                format!("task {id} has ended"),
            ));
        }
        let act = Act::new("cancelled", "Task", &id.to_string());
        let act = act
            .note(task.action.as_str())
            .targets([task.target.as_str()]);
        self.shared.will(act).await?;
        let ended = self.shared.waiters.wait(id);
        self.cancel_open(vec![id], "cancelled on request").await?;
        if matches!(task.state, TaskState::Held | TaskState::Waiting) {
            // It ends as soon as that is written; the answer should say so.
            let _ = tokio::time::timeout(CANCEL_WAIT_MAX, ended).await;
        }
        self.task(id).await
    }

    /// Cancels open tasks, in memory or in the store only.
    pub(crate) async fn cancel_open(&self, ids: Vec<TaskId>, why: &str) -> Result<(), Problem> {
        cancel_open(&self.shared, &self.dispatch, ids, why, true)
            .await
            .map_err(store_problem)
    }
}

/// Cancels open tasks, in memory or in the store only.
pub(crate) async fn cancel_open(
    shared: &crate::core::Shared,
    dispatch: &crate::dispatch::Handle,
    ids: Vec<TaskId>,
    why: &str,
    out_too: bool,
) -> Result<(), sengu_store::StoreError> {
    let reason = why.to_owned();
    let elsewhere = dispatch
        .ask(|reply| Input::Cancel {
            tasks: ids,
            why: reason,
            out_too,
            reply,
        })
        .await
        .unwrap_or_default();
    if elsewhere.is_empty() {
        return Ok(());
    }
    let arrival = dispatch.arriving();
    let mut tasks = Vec::with_capacity(elsewhere.len());
    for id in elsewhere {
        if let Some(stored) = shared.store.task(id).await?
            && let Stand::Open(open) = stored.stand
        {
            tasks.push(*open);
        }
    }
    let why = why.to_owned();
    dispatch
        .send(Input::CancelStored {
            tasks,
            why,
            out_too,
            arrival,
        })
        .await;
    Ok(())
}

/// The row and the ready task of one target.
#[allow(clippy::too_many_arguments)] // each is one column of the task
pub fn make(
    plan: &Plan,
    target: Arc<Target>,
    id: TaskId,
    priority: Priority,
    run: Option<RunId>,
    batch: u32,
    start_by: Option<Time>,
    origin: &str,
) -> (Op, Ready) {
    let body = TaskBody {
        target: target.name.to_string(),
        kind: target.kind.to_string(),
        action: plan.action.decl.name.clone(),
        effect: plan.effect,
        params: plan.params.clone(),
        timeout_ms: plan.timeout_ms,
        start_by,
        origin: origin.to_owned(),
        batch,
        version: plan.pinned.clone(),
        frames: plan.frames,
    };
    let op = Op::InsertTask(NewTask {
        id,
        target: target.uid,
        run,
        priority,
        batch,
        line: line(&target.zone, &target.kind, plan.effect.class()),
        // A struct of text and raw JSON always serialises.
        body: serde_json::to_vec(&body).unwrap_or_default().into(),
    });
    let ready = ready(plan, target, id, priority, run, batch, start_by);
    (op, ready)
}

/// Frames are for looking closely, not for the whole fleet: the store would hold every word of it.
///
/// # Errors
/// `too_many_targets`.
pub fn few_enough_for_frames(frames: bool, targets: usize) -> Result<(), Problem> {
    let most = limits::FRAMES_TARGETS_MAX;
    if !frames || targets <= most {
        return Ok(());
    }
    let what = format!("frames of {targets} targets; at most {most}");
    Err(Problem::new(Code::TooManyTargets, what).hint("name fewer targets, or leave frames out"))
}

fn ready(
    plan: &Plan,
    target: Arc<Target>,
    id: TaskId,
    priority: Priority,
    run: Option<RunId>,
    batch: u32,
    start_by: Option<Time>,
) -> Ready {
    Ready {
        id,
        priority,
        line: line(&target.zone, &target.kind, plan.effect.class()),
        attempt: 1,
        not_before: Time(0),
        payload: Payload {
            target,
            kind: plan.kind.clone(),
            action: plan.action.clone(),
            effect: plan.effect,
            params: plan.params.clone(),
            timeout_ms: plan.timeout_ms,
            start_by,
            run,
            batch,
            volatile: priority == Priority::Sweep,
            frames: plan.frames,
            tries: 1,
            in_vain: 0,
            perhaps: None,
            history: Vec::new(),
            checkpoint: None,
            cancelled: false,
            lease_until: Time(0),
            adopted: None,
            probing: None,
            sent_at: None,
            wee: None,
            claim: None,
            pinned: plan.pinned.as_deref().map(Into::into),
            chosen: None,
            trial: None,
            shadow: None,
        },
    }
}

/// The line of the store in which tasks of a queue wait: a stable number of its name. Two queues may share one; then
/// they are read together, which is slower and no less right.
pub fn line(zone: &str, kind: &str, class: sengu_model::Class) -> u16 {
    // FNV-1a: small, and the same in every version.
    let mut hash: u32 = 0x811c_9dc5;
    for byte in [zone, kind, class.as_str()].join("/").bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    ((hash >> 16) ^ hash) as u16 & 0x03ff
}

/// A volatile task of a sweep: it is never stored.
pub fn sweep(plan: &Plan, target: Arc<Target>, id: TaskId) -> Ready {
    ready(plan, target, id, Priority::Sweep, None, 0, None)
}

/// A stored task as the API shows it, with how it stands in memory.
pub fn view(stored: &StoredTask, standing: Option<&Standing>) -> TaskView {
    let body: Option<TaskBody> = serde_json::from_slice(&stored.body).ok();
    let (state, attempt, priority, not_before, ending) = match &stored.stand {
        Stand::Ended { ending, .. } => {
            let ending: Option<sengu_model::task::Ending> = serde_json::from_slice(ending).ok();
            let attempts = ending.as_ref().map_or(0, |e| e.attempts);
            (TaskState::Ended, attempts, Priority::People, None, ending)
        }
        Stand::Open(open) if open.priority == Priority::Held => {
            (TaskState::Held, 0, Priority::Held, None, None)
        }
        Stand::Open(open) => {
            let state = match standing.map(|s| s.stage) {
                Some(Stage::Started { .. }) => TaskState::Started,
                Some(Stage::Sent { .. } | Stage::Sending | Stage::Settling) => TaskState::Sent,
                Some(Stage::Waiting) | None => TaskState::Waiting,
            };
            let attempt = standing.map_or(open.attempt.max(1), |s| s.attempt);
            let not_before = standing.map(|s| s.not_before).filter(|t| t.0 > 0);
            (state, attempt, open.priority, not_before, None)
        }
    };
    let get = |f: fn(&TaskBody) -> &str| body.as_ref().map(|b| f(b).to_owned()).unwrap_or_default();
    TaskView {
        id: stored.id,
        state,
        target: get(|b| &b.target),
        target_uid: stored.target,
        kind: get(|b| &b.kind),
        action: get(|b| &b.action),
        effect: body.as_ref().map_or(Effect::Once, |b| b.effect),
        params: body
            .as_ref()
            .and_then(|b| serde_json::from_str(b.params.0.get()).ok())
            .unwrap_or_default(),
        run: stored.run,
        origin: get(|b| &b.origin),
        frames: body.as_ref().is_some_and(|b| b.frames),
        priority,
        attempt,
        created_at: created_at(stored.id.0),
        not_before,
        ending,
    }
}
