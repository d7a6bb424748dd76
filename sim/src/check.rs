//! What must hold: while it runs (see `target`), once all has settled, and in what was told.

use crate::site::{SPARE, Site};
use crate::store::state::{Row, RowState};
use crate::target::Happened;
use crate::world::{self, note};
use sengu_model::kinds::RunStatus;
use sengu_model::outcome::Status;
use sengu_model::task::{Ending, TaskBody};
use sengu_model::{Effect, FailureCode, Outcome, TaskId};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often it is looked whether all has settled.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A new task of a whole target ends within this.
const PROGRESS_MAX: Duration = Duration::from_secs(120);
/// Of one kind of fault so many are told.
const TOLD_MAX: usize = 10;

/// Waits until nothing is open. What is still open at the end is wrong.
pub async fn until_settled(site: &Site, limit: Duration) -> Vec<String> {
    let end = tokio::time::Instant::now() + limit;
    loop {
        let unsettled = unsettled(site).await;
        if unsettled.is_empty() {
            return Vec::new();
        }
        if tokio::time::Instant::now() >= end {
            return unsettled;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn unsettled(site: &Site) -> Vec<String> {
    let Some((life, logic)) = site.logic_now() else {
        return vec!["no logic is there".to_owned()];
    };
    let mut found: Vec<String> = site.store.look(|state| {
        let open = state.tasks.values().filter(|row| row.is_open());
        open.take(TOLD_MAX)
            .map(|row| format!("for ever open: {} {:?}", row.new.id, row.state))
            .collect()
    });
    let open = site.asked.lock().open;
    if open > 0 {
        found.push(format!("{open} requests were never answered"));
    }
    if !found.is_empty() {
        for line in &mut found {
            if let Some(id) = line
                .strip_prefix("for ever open: ")
                .and_then(|l| l.split(' ').next())
                && let Ok(id) = id.parse::<TaskId>()
            {
                let logic = logic.clone();
                let why = life.run(async move { logic.why_task(id).await });
                let why = tokio::time::timeout(Duration::from_secs(5), why).await;
                if let Ok(Some(Ok(why))) = why {
                    let why = serde_json::to_string(&why).unwrap_or_default();
                    line.push_str(&format!("; why: {why}"));
                }
            }
        }
        return found;
    }
    let runs: Vec<String> = site.asked.lock().runs.iter().map(|r| r.0.clone()).collect();
    for run in runs {
        let (logic, name) = (logic.clone(), run.clone());
        let record = life.run(async move { logic.run(&name).await });
        let record = tokio::time::timeout(Duration::from_secs(5), record).await;
        let Ok(Some(Ok(record))) = record else {
            found.push(format!("run {run} cannot be read: {record:?}"));
            continue;
        };
        match serde_json::from_value::<RunStatus>(record.status) {
            Ok(status) if status.phase.over() => {}
            Ok(status) => found.push(format!("run {run} is not over: {status:?}")),
            Err(error) => found.push(format!("run {run}: {error}")),
        }
    }
    found
}

/// Everything that must hold at the end.
pub async fn all(site: &Site) -> Vec<String> {
    let mut wrong = outcomes(site);
    wrong.truncate(TOLD_MAX);
    wrong.extend(order(site));
    wrong.extend(results(site));
    wrong.extend(sessions());
    wrong.extend(runs(site).await);
    wrong.extend(counters(site).await);
    wrong
}

/// What was said of each task against what happened.
fn outcomes(site: &Site) -> Vec<String> {
    let rows: Vec<Row> = site
        .store
        .look(|state| state.tasks.values().cloned().collect());
    let known: BTreeMap<TaskId, &Row> = rows.iter().map(|row| (row.new.id, row)).collect();
    let restarted = world::with(|w| w.epochs > 1);
    let mut wrong = Vec::new();
    for asked in &site.asked.lock().tasks {
        if !known.contains_key(&asked.id) {
            wrong.push(format!("{} was acknowledged and is not there", asked.id));
        }
    }
    for row in &rows {
        let RowState::Ended { ending, .. } = &row.state else {
            continue;
        };
        let body = serde_json::from_slice::<TaskBody>(&row.new.body);
        let ending = serde_json::from_slice::<Ending>(ending);
        let (Ok(body), Ok(ending)) = (body, ending) else {
            wrong.push(format!("{} has no ending that can be read", row.new.id));
            continue;
        };
        let happened = world::with(|w| w.targets.happened(&body.target, row.new.id));
        let said_done = world::with(|w| w.said_done.contains(&row.new.id));
        let unknown = matches!(ending.outcome, Outcome::Unknown { .. });
        if unknown && said_done && body.effect == Effect::Once && site.plan.only_logic_dies() {
            wrong.push(format!(
                "{} ({} on {}) is unknown, and its worker said done: {:?}",
                row.new.id, body.action, body.target, ending.outcome
            ));
        }
        // The broker dealt it to two at once, which may be done with what is idempotent: each says what it met.
        let twice = world::with(|w| w.doubled.contains(&row.new.id));
        let left_open = restarted || twice;
        if let Some(what) = contradiction(body.effect, &ending.outcome, happened, left_open) {
            wrong.push(format!(
                "{} ({} on {}) {what}: it happened {happened} times, and the end is {:?}; {:?}",
                row.new.id, body.action, body.target, ending.outcome, ending.history
            ));
        }
    }
    wrong
}

/// Whether an outcome says other than what happened.
/// `left_open`: a later life of logic may have settled it, or two had the same attempt.
pub fn contradiction(
    effect: Effect,
    outcome: &Outcome,
    happened: usize,
    left_open: bool,
) -> Option<&'static str> {
    if !effect.changes() {
        return None;
    }
    // What may be repeated is not marked as sent, so that a later life cannot know that it was; a cancel says so.
    let says_so = matches!(outcome, Outcome::Cancelled { .. } | Outcome::Failed(_));
    if left_open && effect == Effect::Idempotent && says_so {
        return None;
    }
    match outcome {
        Outcome::Done(_) if happened == 0 => Some("is done and did not happen"),
        Outcome::Cancelled { .. } | Outcome::Expired { .. } if happened > 0 => {
            Some("was not begun, and happened")
        }
        Outcome::Failed(failure) if happened > 0 => {
            let nothing = match failure.code {
                FailureCode::Busy
                | FailureCode::Unreachable
                | FailureCode::AuthFailed
                | FailureCode::IdentityMismatch => true,
                // Of an idempotent action the last attempt tells how the target is; an earlier one may have changed it.
                FailureCode::Refused => effect != Effect::Idempotent,
                FailureCode::Crashed => effect == Effect::Probe,
                FailureCode::Timeout | FailureCode::BadReply => false,
            };
            nothing.then_some("did nothing, and happened")
        }
        _ => None,
    }
}

/// What people asked for one by one on one target happens in the order in which they asked.
fn order(site: &Site) -> Vec<String> {
    let alone: BTreeSet<TaskId> = site.store.look(|state| {
        let rows = state.tasks.values().filter(|row| row.new.run.is_none());
        rows.map(|row| row.new.id).collect()
    });
    let mut wrong = Vec::new();
    world::with(|w| {
        for (name, target) in &w.targets.all {
            // By whom nobody could know of, nothing is in order.
            let known = |all: &Vec<Happened>| -> Vec<u64> {
                let known = all.iter().filter(|h| !h.orphan);
                known.map(|h| h.at_ms).collect()
            };
            let mut last: Option<(TaskId, u64)> = None;
            for (task, all) in target.effects.iter().filter(|(t, _)| alone.contains(t)) {
                let times = known(all);
                let (Some(first), Some(end)) = (times.iter().min(), times.iter().max()) else {
                    continue;
                };
                if let Some((before, at)) = last
                    && at > *first
                {
                    wrong.push(format!(
                        "{name}: {before} took effect at {at} ms, after {task} at {first} ms, which was asked for later"
                    ));
                }
                last = Some((*task, last.map_or(*end, |(_, at)| at.max(*end))));
            }
        }
    });
    wrong.truncate(TOLD_MAX);
    wrong
}

/// The stream of results has every ended task once.
fn results(site: &Site) -> Vec<String> {
    site.store.look(|state| {
        let mut times: BTreeMap<TaskId, u32> = BTreeMap::new();
        for id in state.results.values() {
            *times.entry(*id).or_default() += 1;
        }
        let ended = state.tasks.values().filter(|row| !row.is_open());
        ended
            .filter(|row| times.get(&row.new.id) != Some(&1))
            .map(|row| format!("{} is not once in the stream of results", row.new.id))
            .take(TOLD_MAX)
            .collect()
    })
}

fn sessions() -> Vec<String> {
    world::with(|w| {
        let open = w.targets.all.iter().filter(|(_, t)| t.has_open_changes());
        open.take(TOLD_MAX)
            .map(|(name, target)| format!("a session on {name} was never closed: {target:?}"))
            .collect()
    })
}

/// What runs say of their targets against the rows.
async fn runs(site: &Site) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some((life, logic)) = site.logic_now() else {
        return vec!["no logic is there at the end".to_owned()];
    };
    let runs = site.asked.lock().runs.clone();
    for (name, action) in runs {
        let (logic, run) = (logic.clone(), name.clone());
        let record = life.run(async move { logic.run(&run).await }).await;
        let Some(Ok(record)) = record else {
            wrong.push(format!("run {name} cannot be read"));
            continue;
        };
        let (Ok(status), Ok(id)) = (
            serde_json::from_value::<RunStatus>(record.status),
            name.parse(),
        ) else {
            continue;
        };
        let tasks = site.store.look(|state| state.run_tasks(id));
        let count = |s: Status| tasks.iter().filter(|t| t.status == Some(s)).count() as u32;
        let counts = status.counts;
        let told = [
            counts.done,
            counts.failed,
            counts.unknown,
            counts.cancelled,
            counts.expired,
        ];
        let found = [
            count(Status::Done),
            count(Status::Failed),
            count(Status::Unknown),
            count(Status::Cancelled),
            count(Status::Expired),
        ];
        let open = counts.held + counts.waiting + counts.active;
        if told != found || open != 0 {
            wrong.push(format!(
                "run {name} ({action}) tells {counts:?} and has done, failed, unknown, cancelled, expired {found:?}"
            ));
        }
    }
    wrong
}

/// Nothing is counted as out when nothing is.
async fn counters(site: &Site) -> Vec<String> {
    let Some((life, logic)) = site.logic_now() else {
        return Vec::new();
    };
    // Observation goes on; what changes must be at rest.
    let overview = life
        .run(async move {
            logic
                .dispatch
                .ask(sengu_logic::dispatch::Input::Overview)
                .await
        })
        .await;
    let Some(Some(overview)) = overview else {
        return vec!["dispatch does not answer".to_owned()];
    };
    let control = overview.queues.iter().filter(|q| q.class == "control");
    control
        .filter(|q| q.in_flight > 0)
        .map(|q| {
            format!(
                "{} changes of {} count as out, and none is",
                q.in_flight, q.version
            )
        })
        .collect()
}

/// A new task is done, without a restart.
pub async fn moves_on(site: &Site) -> Vec<String> {
    let Some((life, logic)) = site.logic_now() else {
        return vec!["no logic is there to go on".to_owned()];
    };
    let mut wrong = Vec::new();
    let freeing = logic.clone();
    // An observation may have had it quarantined before all had mended.
    let freed = life.run(async move { freeing.uncordon(SPARE).await }).await;
    if !matches!(freed, Some(Ok(_))) {
        wrong.push("after all has mended, a quarantine is not ended".to_owned());
    }
    for action in ["set", "fire", "cycle"] {
        let asking = logic.clone();
        let request = json!({"action": action, "targets": [SPARE]});
        let Ok(request) = serde_json::from_value(request) else {
            continue;
        };
        let created = life
            .run(async move { asking.create_tasks(request).await })
            .await;
        let Some(Ok(created)) = created else {
            wrong.push(format!(
                "after all has mended, a task is refused: {created:?}"
            ));
            continue;
        };
        let end = tokio::time::Instant::now() + PROGRESS_MAX;
        for task in created {
            loop {
                let row = site.store.look(|state| state.tasks.get(&task.id).cloned());
                match row.map(|row| row.state) {
                    Some(RowState::Ended {
                        status: Status::Done,
                        ..
                    }) => break,
                    Some(RowState::Ended { status, .. }) => {
                        wrong.push(format!("after all has mended, {action} ends as {status:?}"));
                        break;
                    }
                    _ if tokio::time::Instant::now() >= end => {
                        wrong.push(format!("after all has mended, {action} does not end"));
                        break;
                    }
                    _ => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        }
    }
    if !wrong.is_empty() {
        note!("no progress: {wrong:?}");
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_held_against_what_happened() {
        let cancelled = Outcome::Cancelled { why: String::new() };
        let busy = Outcome::failed(FailureCode::Busy, "");
        let refused = Outcome::failed(FailureCode::Refused, "");
        let unknown = Outcome::Unknown { why: String::new() };
        let done = Outcome::already(json!(1));
        let table = [
            (Effect::Once, &done, 0, false),
            (Effect::Once, &done, 1, true),
            (Effect::Read, &done, 0, true),
            (Effect::Once, &cancelled, 1, false),
            (Effect::Once, &busy, 1, false),
            (Effect::Once, &busy, 0, true),
            (Effect::Probe, &refused, 1, false),
            (Effect::Idempotent, &refused, 1, true),
            (Effect::Once, &unknown, 0, true),
            (Effect::Once, &unknown, 1, true),
        ];
        for (effect, outcome, happened, right) in table {
            let found = contradiction(effect, outcome, happened, false);
            assert_eq!(found.is_none(), right, "{effect:?} {outcome:?} {happened}");
        }
    }
}
