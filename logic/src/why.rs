//! Why something does not progress: the unmet condition in one sentence, with whoever holds it.

use crate::clock;
use crate::core::Logic;
use crate::dispatch::lanes::{Blocked, Stage};
use crate::dispatch::{Input, Standing};
use crate::explain::Readiness;
use crate::inventory::{Reachable, Target};
use crate::records::{not_found, store_problem};
use crate::saying::{Say, Saying};
use sengu_model::kinds::{RunPhase, RunStatus};
use sengu_model::problem::Problem;
use sengu_model::task::{TaskState, TaskView};
use sengu_model::{Outcome, TaskId, Time, limits};
use sengu_store::TaskQuery;
use serde::Serialize;

/// The answer to "why?".
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    pub object: String,
    pub sentence: String,
    /// The same as data.
    #[serde(flatten)]
    pub saying: Saying,
    /// What else bears on it, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// The task that is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

fn answer(object: String, say: Say) -> Why {
    Why {
        object,
        sentence: say.text(),
        saying: say.into(),
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
            let mut why = answer(object, ended(&task, &ending.outcome));
            why.details.clone_from(&ending.history);
            if let (Some(wee), Some(instance)) = (&ending.wee, &ending.instance) {
                why.details.push(format!("run by {instance} in {wee}"));
            }
            return Ok(why);
        }
        if task.state == TaskState::Held {
            let run = task.run.map(|r| r.to_string()).unwrap_or_default();
            return Ok(answer(object, Say::TaskHeld { run }));
        }
        let mut why = match self.dispatch.standing(id).await {
            Some(standing) => self.why_standing(object, &task, &standing),
            None => answer(object, Say::TaskInStore),
        };
        let target = self.shared.inventory.read().target(&task.target).cloned();
        if let Some(target) = target {
            why.details.extend(target_details(&target));
        }
        Ok(why)
    }

    fn why_standing(&self, object: String, task: &TaskView, standing: &Standing) -> Why {
        let say = match standing.stage {
            Stage::Started { at } => begun(standing, at),
            Stage::Sent { at } => {
                let at = at.to_string();
                match standing.probing {
                    true => Say::TaskSentProbe { at },
                    false => Say::TaskSent { at },
                }
            }
            Stage::Sending => Say::TaskSending,
            Stage::Settling => Say::TaskSettling,
            Stage::Waiting => self.waiting(task, standing),
        };
        let mut why = answer(object, say);
        if let (Stage::Waiting, Blocked::Holder(other) | Blocked::Behind(other)) =
            (standing.stage, &standing.blocked)
        {
            why.holder = Some(other.to_string());
        }
        why.details.extend(standing.history.clone());
        let (queue, in_flight, window) = &standing.queue;
        why.details
            .push(format!("queue {queue}: {in_flight} of {window} in flight"));
        why
    }

    fn waiting(&self, task: &TaskView, standing: &Standing) -> Say {
        let target = task.target.clone();
        match &standing.blocked {
            Blocked::Holder(holder) => Say::TaskTargetHeld {
                target,
                holder: holder.to_string(),
            },
            Blocked::Behind(first) => Say::TaskBehind {
                first: first.to_string(),
                target,
            },
            Blocked::Sessions(sessions) => Say::TaskSessions {
                target,
                sessions: sessions.to_string(),
            },
            Blocked::Until(at) => {
                let (until, seconds) = (at.to_string(), seconds_to(*at));
                match standing.history.last() {
                    Some(last) => Say::TaskRestsAfter {
                        until,
                        seconds,
                        message: last.clone(),
                    },
                    None => Say::TaskRests { until, seconds },
                }
            }
            Blocked::Window { window: 0, .. } => self.no_worker(task, standing),
            Blocked::Window { in_flight, window } => Say::TaskNoRoom {
                kind: task.kind.clone(),
                out: in_flight.to_string(),
                window: window.to_string(),
            },
            Blocked::No => Say::TaskGoes,
        }
    }

    /// Why there is nobody to do a task of this kind.
    fn no_worker(&self, task: &TaskView, standing: &Standing) -> Say {
        let (version, _) = match &standing.choice {
            Ok(choice) => choice,
            Err(why) => return Say::TaskNoVersion { why: why.clone() },
        };
        let target = self.shared.inventory.read().target(&task.target).cloned();
        let zone = target.map_or_else(String::new, |t| t.zone.to_string());
        let wees = self.wees_for(&zone, &task.kind, version);
        let worker = format!("{}@{version}", task.kind);
        let count = wees.len();
        if count == 0 {
            return Say::TaskNoWee { zone };
        }
        let mut wees = wees.into_iter();
        match wees.find(|(_, readiness)| *readiness != Readiness::Can) {
            Some((wee, readiness)) => cannot(count, zone, worker, wee, readiness),
            // Between the word of one that has it ready and the window that follows from it.
            None => Say::TaskGoes,
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
        let say = if let Some(q) = quarantine {
            Say::TargetQuarantined {
                since: q.since.to_string(),
                reason: q.reason,
                message: q.message,
                target: name.to_owned(),
            }
        } else if let Some(reason) = &target.maintenance {
            Say::TargetMaintenance {
                message: reason.to_string(),
            }
        } else if let Reachable::No {
            since,
            reason,
            message,
        } = reachable
        {
            Say::TargetUnreachable {
                since: since.to_string(),
                reason: reason.to_owned(),
                message: message.into(),
            }
        } else if let Some(holder) = holder {
            Say::TargetHeld {
                holder: holder.to_string(),
            }
        } else if waiting > 0 {
            Say::TargetAwaited {
                waiting: waiting.to_string(),
            }
        } else {
            Say::TargetFree
        };
        let mut why = answer(object, say);
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
        let mut why = answer(object, run_stands(name, &status));
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
                    let sentence = ended(&task, &ending.outcome).text();
                    why.details.push(format!("{}: {sentence}", task.target));
                }
            }
        }
        Ok(why)
    }
}

fn seconds_to(until: Time) -> String {
    until.ms_since(clock::now()).div_ceil(1000).to_string()
}

fn begun(standing: &Standing, at: Time) -> Say {
    let (since, seconds) = (at.to_string(), seconds_to(standing.lease_until));
    match (standing.wee.clone(), standing.probing) {
        (Some(wee), false) => Say::TaskBegun {
            wee,
            since,
            seconds,
        },
        (Some(wee), true) => Say::TaskBegunProbe {
            wee,
            since,
            seconds,
        },
        (None, false) => Say::TaskBegunSomewhere { since, seconds },
        (None, true) => Say::TaskBegunSomewhereProbe { since, seconds },
    }
}

/// None of the zone's execution environments can run it, and why one of them cannot.
fn cannot(count: usize, zone: String, worker: String, wee: String, readiness: Readiness) -> Say {
    let wees = count.to_string();
    match (count, readiness) {
        (1, Readiness::Drained) => Say::TaskOnlyWeeDrained { zone, worker, wee },
        (1, Readiness::Cordoned) => Say::TaskOnlyWeeCordoned { zone, worker, wee },
        (1, Readiness::Broken(message)) => Say::TaskOnlyWeeBroken {
            zone,
            worker,
            wee,
            message,
        },
        (1, Readiness::Lacks) => Say::TaskOnlyWeeLacks { zone, worker, wee },
        (_, Readiness::Drained) => Say::TaskWeeDrained {
            wees,
            zone,
            worker,
            wee,
        },
        (_, Readiness::Cordoned) => Say::TaskWeeCordoned {
            wees,
            zone,
            worker,
            wee,
        },
        (_, Readiness::Broken(message)) => Say::TaskWeeBroken {
            wees,
            zone,
            worker,
            wee,
            message,
        },
        (_, Readiness::Lacks) => Say::TaskWeeLacks {
            wees,
            zone,
            worker,
            wee,
        },
        (_, Readiness::Can) => Say::TaskGoes,
    }
}

fn run_stands(name: &str, status: &RunStatus) -> Say {
    let counts = &status.counts;
    let (out, waiting, held) = (
        counts.active.to_string(),
        counts.waiting.to_string(),
        counts.held.to_string(),
    );
    let (message, run, targets) = (
        status.message.clone(),
        name.to_owned(),
        status.targets.to_string(),
    );
    match status.phase {
        RunPhase::Running => Say::RunInHand {
            batch: status.batch.to_string(),
            batches: status.batches.to_string(),
            out,
            waiting,
            held,
        },
        RunPhase::Paused => Say::RunPaused {
            out,
            waiting,
            held,
            run,
        },
        RunPhase::Cancelling | RunPhase::Stopping => Say::RunEnding {
            message,
            out: (counts.active + counts.waiting).to_string(),
        },
        RunPhase::Succeeded => Say::RunSucceeded { targets },
        RunPhase::Failed | RunPhase::Cancelled => Say::RunEnded {
            done: counts.done.to_string(),
            targets,
            message,
            run,
        },
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

fn ended(task: &TaskView, outcome: &Outcome) -> Say {
    let after = task.attempt > 1;
    let (attempts, most) = (task.attempt.to_string(), limits::ATTEMPTS_MAX.to_string());
    match outcome {
        Outcome::Done(done) if done.changed && after => Say::TaskChangedAfter { attempts, most },
        Outcome::Done(done) if done.changed => Say::TaskChanged,
        Outcome::Done(_) if after => Say::TaskDoneAfter { attempts, most },
        Outcome::Done(_) => Say::TaskDone,
        Outcome::Failed(f) => {
            let (failure, message) = (f.code.to_string(), f.message.clone());
            match after {
                true => Say::TaskFailedAfter {
                    attempts,
                    most,
                    failure,
                    message,
                },
                false => Say::TaskFailed { failure, message },
            }
        }
        Outcome::Unknown { why } => {
            let why = why.clone();
            match after {
                true => Say::TaskUnknownAfter {
                    attempts,
                    most,
                    why,
                },
                false => Say::TaskUnknown { why },
            }
        }
        Outcome::Cancelled { why } => Say::TaskCancelled { why: why.clone() },
        Outcome::Expired { why } => Say::TaskExpired { why: why.clone() },
    }
}
