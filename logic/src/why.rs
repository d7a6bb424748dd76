//! Why something does not progress: the unmet condition in one sentence, with whoever holds it.

use crate::clock;
use crate::core::Logic;
use crate::dispatch::lanes::{Blocked, Stage};
use crate::dispatch::{Input, Standing};
use crate::inventory::{Reachable, Target};
use crate::records::{not_found, store_problem};
use sengu_model::kinds::{RunPhase, RunStatus};
use sengu_model::problem::Problem;
use sengu_model::task::{TaskState, TaskView};
use sengu_model::{Outcome, TaskId, limits};
use sengu_store::TaskQuery;
use serde::Serialize;

/// The answer to "why?".
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    pub object: String,
    pub sentence: String,
    /// What else bears on it, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// The task that is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

fn answer(object: String, sentence: impl Into<String>) -> Why {
    Why {
        object,
        sentence: sentence.into(),
        details: Vec::new(),
        holder: None,
    }
}

impl Logic {
    /// # Errors
    /// `not_found` or the store's.
    pub async fn why_task(&self, id: TaskId) -> Result<Why, Problem> {
        let task = self.task(id).await?;
        let object = format!("task/{id}");
        if let Some(ending) = &task.ending {
            let mut why = answer(object, ended_sentence(&task, &ending.outcome));
            why.details.clone_from(&ending.history);
            if let (Some(wee), Some(instance)) = (&ending.wee, &ending.instance) {
                why.details.push(format!("run by {instance} in {wee}"));
            }
            return Ok(why);
        }
        if task.state == TaskState::Held {
            let run = task.run.map(|r| r.to_string()).unwrap_or_default();
            return Ok(answer(
                object,
                format!("It is held: its batch of run {run} has not begun."),
            ));
        }
        let mut why = match self.dispatch.standing(id).await {
            Some(standing) => self.why_standing(object, &task, &standing),
            None => answer(
                object,
                "It waits in the store behind the tasks that were created before it.",
            ),
        };
        let target = self.shared.inventory.read().target(&task.target).cloned();
        if let Some(target) = target {
            why.details.extend(target_details(&target));
        }
        Ok(why)
    }

    fn why_standing(&self, object: String, task: &TaskView, standing: &Standing) -> Why {
        let now = clock::now();
        let wait_s = |until: sengu_model::Time| until.ms_since(now).div_ceil(1000);
        let probing = if standing.probing {
            " It is a probe for an attempt that was lost."
        } else {
            ""
        };
        let mut why = match standing.stage {
            Stage::Started { at } => answer(
                object,
                format!(
                    "It is being done by {} since {at}; its lease runs for another {} s.{probing}",
                    standing.wee.as_deref().unwrap_or("a worker"),
                    wait_s(standing.lease_until)
                ),
            ),
            Stage::Sent { at } => answer(
                object,
                format!(
                    "It was sent at {at} and no execution environment has reported it started.{probing}"
                ),
            ),
            Stage::Sending => answer(object, "It is being sent."),
            Stage::Settling => answer(object, "It has ended; the outcome is being made durable."),
            Stage::Waiting => match &standing.blocked {
                Blocked::Holder(holder) => {
                    let mut why = answer(
                        object,
                        format!(
                            "Target {} is held by {holder}: changes of one target run one at a time.",
                            task.target
                        ),
                    );
                    why.holder = Some(holder.to_string());
                    why
                }
                Blocked::Behind(first) => {
                    let mut why = answer(
                        object,
                        format!(
                            "{first} comes first: changes of target {} run in order.",
                            task.target
                        ),
                    );
                    why.holder = Some(first.to_string());
                    why
                }
                Blocked::Sessions(sessions) => answer(
                    object,
                    format!(
                        "Target {} bears {sessions} sessions and all are in use.",
                        task.target
                    ),
                ),
                Blocked::Until(at) => answer(
                    object,
                    format!(
                        "It waits until {at} ({} s): {}.",
                        wait_s(*at),
                        rest_reason(standing)
                    ),
                ),
                Blocked::Window { window: 0, .. } => answer(object, self.no_worker(task, standing)),
                Blocked::Window { in_flight, window } => answer(
                    object,
                    format!(
                        "All room for {} is in use: {in_flight} tasks are out of a window of {window}.",
                        task.kind
                    ),
                ),
                Blocked::No => answer(object, "Nothing is in its way; it goes out now."),
            },
        };
        why.details.extend(standing.history.clone());
        let (queue, in_flight, window) = &standing.queue;
        why.details
            .push(format!("queue {queue}: {in_flight} of {window} in flight"));
        why
    }

    /// Why there is nobody to do a task of this kind.
    fn no_worker(&self, task: &TaskView, standing: &Standing) -> String {
        let (version, _) = match &standing.choice {
            Ok(choice) => choice,
            Err(why) => return format!("No version of its worker can do it: {why}."),
        };
        let target = self.shared.inventory.read().target(&task.target).cloned();
        let zone = target.map_or_else(String::new, |t| t.zone.to_string());
        let wees = self.wees_for(&zone, &task.kind, version);
        let worker = format!("{}@{version}", task.kind);
        match wees.iter().next() {
            None => format!("No execution environment is in zone {zone}."),
            Some((wee, why)) if wees.len() == 1 => format!(
                "The only execution environment of zone {zone} cannot run {worker}: {wee}: {why}."
            ),
            Some((wee, why)) => format!(
                "None of {} execution environments of zone {zone} can run {worker}; {wee}: {why}.",
                wees.len()
            ),
        }
    }

    /// # Errors
    /// `not_found` or the store's.
    pub async fn why_target(&self, name: &str) -> Result<Why, Problem> {
        let target = self.shared.inventory.read().target(name).cloned();
        let target = target.ok_or_else(|| not_found("Target", name))?;
        let object = format!("target/{name}");
        let uid = target.uid;
        let lane = self
            .dispatch
            .ask(|reply| Input::Lane { target: uid, reply })
            .await;
        let (holder, in_hand, waiting) = lane.unwrap_or((None, 0, 0));
        let (quarantine, reachable) = {
            let live = target.live.lock();
            (live.quarantine.clone(), live.reachable.clone())
        };
        let mut why = if let Some(q) = quarantine {
            answer(
                object,
                format!(
                    "It is quarantined since {} because of {}: {} - nothing is sent until its record or secret is changed, or: sengu uncordon target/{name}",
                    q.since, q.reason, q.message
                ),
            )
        } else if let Some(reason) = &target.maintenance {
            answer(object, format!("It is in maintenance: {reason}."))
        } else if let Reachable::No {
            since,
            reason,
            message,
        } = reachable
        {
            answer(
                object,
                format!("It has not answered since {since} ({reason}): {message}"),
            )
        } else if let Some(holder) = holder {
            answer(object, format!("It is held by {holder}."))
        } else if waiting > 0 {
            answer(object, format!("{waiting} tasks wait for it."))
        } else {
            answer(object, "Nothing waits for it.")
        };
        why.holder = holder.map(|h| h.to_string());
        why.details.push(format!(
            "lane: {in_hand} in hand, {waiting} waiting in memory"
        ));
        why.details.extend(target_details(&target));
        Ok(why)
    }

    /// # Errors
    /// `not_found` or the store's.
    pub async fn why_run(&self, name: &str) -> Result<Why, Problem> {
        let record = self.run(name).await?;
        let object = format!("run/{name}");
        let status: RunStatus = serde_json::from_value(record.status).map_err(|e| {
            Problem::new(
                sengu_model::problem::Code::Internal,
                format!("run {name}: {e}"),
            )
        })?;
        let counts = status.counts;
        let bad = counts.failed + counts.unknown + counts.expired;
        let mut why = match status.phase {
            RunPhase::Running => answer(
                object,
                format!(
                    "Batch {} of {} is in hand: {} tasks are out, {} wait, {} are held for later batches.",
                    status.batch, status.batches, counts.active, counts.waiting, counts.held
                ),
            ),
            RunPhase::Paused => answer(
                object,
                format!(
                    "It is paused: {} tasks are out and end, {} wait and {} are held until: sengu resume run/{name}",
                    counts.active, counts.waiting, counts.held
                ),
            ),
            RunPhase::Cancelling | RunPhase::Stopping => answer(
                object,
                format!(
                    "{}; {} tasks in hand are still ending.",
                    status.message,
                    counts.active + counts.waiting
                ),
            ),
            RunPhase::Succeeded => {
                answer(object, format!("All {} targets are done.", status.targets))
            }
            RunPhase::Failed | RunPhase::Cancelled => answer(
                object,
                format!(
                    "{} of {} targets are done; {}. The rest: sengu retry run/{name}",
                    counts.done, status.targets, status.message
                ),
            ),
        };
        if let Some(budget) = status.max_fail {
            why.details
                .push(format!("failure budget: {bad} of {budget} used"));
        }
        let Ok(run) = name.parse() else {
            return Ok(why);
        };
        if !status.phase.over() {
            let query = TaskQuery {
                run: Some(run),
                open: true,
                limit: 200,
                ..TaskQuery::default()
            };
            let open = self.list_tasks(query).await?;
            // Held ones wait for those that are not.
            let first = open.iter().rev().find(|t| t.state != TaskState::Held);
            if let Some(task) = first {
                let inner = Box::pin(self.why_task(task.id)).await?;
                why.details.push(format!(
                    "oldest open task {} on {}: {}",
                    task.id, task.target, inner.sentence
                ));
                why.holder = Some(task.id.to_string());
            }
        } else if bad > 0 {
            use sengu_model::outcome::Status;
            let status = vec![Status::Failed, Status::Unknown, Status::Expired];
            let query = TaskQuery {
                run: Some(run),
                status,
                limit: 5,
                ..TaskQuery::default()
            };
            let failed = self
                .shared
                .store
                .tasks(query)
                .await
                .map_err(store_problem)?;
            for stored in failed {
                let task = crate::tasks::view(&stored, None);
                if let Some(ending) = &task.ending {
                    let sentence = ended_sentence(&task, &ending.outcome);
                    why.details.push(format!("{}: {sentence}", task.target));
                }
            }
        }
        Ok(why)
    }
}

fn rest_reason(standing: &Standing) -> String {
    match standing.history.last() {
        Some(last) => format!("after {last}"),
        None => "its target's rate or rest".to_owned(),
    }
}

fn target_details(target: &Target) -> Vec<String> {
    let live = target.live.lock();
    let mut details = Vec::new();
    if let Reachable::No {
        since,
        reason,
        message,
    } = &live.reachable
    {
        details.push(format!(
            "target not reachable since {since} ({reason}): {message}"
        ));
    }
    if live.failures > 0 {
        details.push(format!(
            "{} observations in a row failed; the next is not before {}",
            live.failures, live.next_observe
        ));
    }
    details
}

fn ended_sentence(task: &TaskView, outcome: &Outcome) -> String {
    let attempts = match task.attempt {
        0 | 1 => String::new(),
        n => format!(" after {n} attempts of at most {}", limits::ATTEMPTS_MAX),
    };
    match outcome {
        Outcome::Done(done) if done.changed => {
            format!("It is done and changed the target{attempts}.")
        }
        Outcome::Done(_) => format!("It is done; nothing had to be changed{attempts}."),
        Outcome::Failed(f) => format!("It failed{attempts} ({}): {}", f.code, f.message),
        Outcome::Unknown { why } => format!(
            "Nobody knows whether it took effect{attempts}: {why}. Look at the target, then decide; sengu will not repeat it by itself."
        ),
        Outcome::Cancelled { why } => format!("It was cancelled: {why}."),
        Outcome::Expired { why } => format!("It was never begun: {why}."),
    }
}
