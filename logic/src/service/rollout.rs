//! The rollout service: looks at what was counted of versions on their way, takes back what is bad, and steps up what is
//! good. It decides by `rollout::guard`; here are only the moves. It must never move a Release that a person has just
//! moved otherwise: it reads, decides and writes under one lock.

use crate::clock;
use crate::core::Shared;
use crate::releases;
use crate::rollout::form::{fit, percent, rolling, tell};
use crate::rollout::watch::{Finding, Watched};
use crate::workers;
use sengu_model::Time;
use sengu_model::release::{HeldCell, ReleaseSpec, ReleaseStatus, RulePhase, RuleStatus};
use sengu_store::Expect;
use std::sync::Arc;
use std::time::Duration;

/// Steps and numbers are looked at this often while something is on its way; alarms at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A version that no execution environment can start is given this long to come up, in milliseconds.
const COMES_UP_MAX_MS: u64 = 3_000;

pub async fn run(shared: Arc<Shared>) {
    for kind in shared.catalog.read().clone().routes.keys() {
        if let Some((spec, status)) = releases::of(&shared, kind) {
            releases::watch(&shared, kind, &spec, &status);
        }
    }
    loop {
        let moving = moving(&shared);
        if moving.is_empty() {
            // Nothing is on its way until a Release moves. Its record is written before it is in force, so that a new
            // revision alone would be looked at too early.
            shared.rollouts.alarm.notified().await;
            continue;
        }
        for kind in &moving {
            if let Err(error) = look(&shared, kind).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    kind,
                    "release not moved"
                );
            }
        }
        tokio::select! {
            biased;
            () = shared.rollouts.alarm.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Kinds with a rule on its way.
fn moving(shared: &Shared) -> Vec<String> {
    let catalog = shared.catalog.read().clone();
    let ruled = catalog
        .routes
        .iter()
        .filter(|(_, routes)| !routes.rules.is_empty());
    let moves = |kind: &str| {
        releases::of(shared, kind).is_some_and(|(_, status)| status.rules.iter().any(rolling))
    };
    ruled
        .map(|(kind, _)| kind.clone())
        .filter(|kind| moves(kind))
        .collect()
}

async fn look(shared: &Arc<Shared>, kind: &str) -> Result<(), sengu_store::StoreError> {
    let _one_writer = shared.writes.lock().await;
    let Some((mut spec, mut status)) = releases::of(shared, kind) else {
        return Ok(());
    };
    let now = clock::now();
    let mut moved = false;
    let mut told = false;
    let names: Vec<String> = spec.rules.iter().map(|rule| rule.name.clone()).collect();
    for name in names {
        let Some(at) = spec.rules.iter().position(|rule| rule.name == name) else {
            continue;
        };
        let mut rule_status = match status.rules.iter().find(|s| s.name == name) {
            Some(found) if rolling(found) => found.clone(),
            _ => continue,
        };
        let before = rule_status.clone();
        let rule = spec.rules[at].clone();
        let judged = shared.rollouts.of(kind, |all| {
            let watched = all.iter_mut().find(|w| w.rule == name)?;
            watched.tell(&mut rule_status);
            Some((
                watched.findings(now),
                watched.is_fine() && watched.undecided(now).is_none(),
                waits_for(watched, &rule, now),
            ))
        });
        let down = comes_not_up(shared, kind, &rule_status, now);
        match (judged, down) {
            (_, Some(why)) => {
                moved = true;
                take_back(&mut spec, &mut status, &rule_status, why);
            }
            (Some((Some(Finding::All(why)), ..)), None) => {
                moved = true;
                take_back(&mut spec, &mut status, &rule_status, why);
            }
            (Some((Some(Finding::Cells(cells)), ..)), None) => {
                moved = true;
                for (cell, why) in cells {
                    let message = format!("{cell} goes back: {why}");
                    tell(&mut status, "cell-rolled-back", &rule.version, message);
                    status.held.push(HeldCell {
                        version: rule.version.clone(),
                        cell,
                        why,
                        at: now,
                    });
                }
                put(&mut status, rule_status);
            }
            (Some((None, fine, waits)), None) => {
                let long = now.ms_since(rule_status.step_at) >= hold_ms(&rule);
                if fine && long {
                    moved |= advance(&mut spec, &mut status, at, rule_status.clone(), now);
                } else {
                    rule_status.waits_for = waits;
                    told |= rule_status != before;
                    put(&mut status, rule_status);
                }
            }
            (None, None) if rule_status.phase == RulePhase::Unguarded => {
                if ready(shared, kind, &rule.version) {
                    moved |= advance(&mut spec, &mut status, at, rule_status, now);
                }
            }
            (None, None) => {
                shared.shadows.tell(kind, &mut rule_status);
                told |= rule_status != before;
                put(&mut status, rule_status);
            }
        }
    }
    if moved {
        fit(&spec, &mut status, now);
        if !status
            .rules
            .iter()
            .any(|s| rolling(s) && s.phase != RulePhase::Shadow)
        {
            status.before = None;
        }
    }
    if moved || told {
        releases::write(shared, kind, &spec, &status, Expect::Anything).await?;
    }
    if moved {
        workers::follow_release(shared, kind).await;
    }
    Ok(())
}

fn hold_ms(rule: &sengu_model::release::ReleaseRule) -> u64 {
    rule.guard.as_ref().map_or(0, |guard| guard.hold.ms)
}

fn put(status: &mut ReleaseStatus, rule: RuleStatus) {
    if let Some(slot) = status.rules.iter_mut().find(|s| s.name == rule.name) {
        *slot = rule;
    }
}

fn waits_for(watched: &Watched, rule: &sengu_model::release::ReleaseRule, now: Time) -> String {
    let (seen, window) = (watched.seen(), u64::from(watched.guard.window));
    let held = now.ms_since(watched.step_at);
    if seen < window {
        return format!("{seen} of {window} tasks of this step have ended");
    }
    if held < watched.guard.hold.ms {
        let left = (watched.guard.hold.ms - held).div_ceil(1_000);
        return format!("the step is held for another {left} s");
    }
    if let Some(cell) = watched.undecided(now) {
        return cell;
    }
    if rule.steps.is_empty() && percent(rule.share) < 100.0 {
        return "a person: there is no further step".to_owned();
    }
    "the verdict".to_owned()
}

/// The whole rule goes.
fn take_back(spec: &mut ReleaseSpec, status: &mut ReleaseStatus, rule: &RuleStatus, why: String) {
    spec.rules.retain(|r| r.name != rule.name);
    let message = format!("all goes back: {why}");
    tell(status, "rolled-back", &rule.version, message);
}

/// The next share, or the end. True when the Release moved.
fn advance(
    spec: &mut ReleaseSpec,
    status: &mut ReleaseStatus,
    at: usize,
    mut rule_status: RuleStatus,
    now: Time,
) -> bool {
    let rule = &mut spec.rules[at];
    if !rule.steps.is_empty() {
        let next = rule.steps.remove(0);
        let message = format!(
            "from {} to {next}: {} of {} tasks failed",
            rule.share, rule_status.seen.failed, rule_status.seen.tasks
        );
        rule.share = next;
        tell(status, "stepped", &rule.version.clone(), message);
        rule_status.begin_step(now);
        put(status, rule_status);
        return true;
    }
    if percent(rule.share) < 100.0 {
        let waits = "a person: there is no further step";
        if rule_status.waits_for != waits {
            waits.clone_into(&mut rule_status.waits_for);
            put(status, rule_status);
            return true;
        }
        return false;
    }
    let version = rule.version.clone();
    if let Some(before) = status.before.take() {
        status.previous = Some(before);
    }
    let whole = rule.selector.is_empty();
    let held = status.held.iter().any(|held| held.version == version);
    if whole && !held {
        // It is what all run now: no rule is needed to say so.
        spec.version.clone_from(&version);
        spec.rules.remove(at);
        spec.rules.retain(|r| r.version != version || r.shadow);
        tell(status, "settled", &version, format!("all run {version}"));
    } else {
        rule_status.phase = RulePhase::Settled;
        rule_status.waits_for = String::new();
        put(status, rule_status);
        let whom = if held {
            "all but the cells that went back".to_owned()
        } else {
            rule.selector.clone()
        };
        tell(status, "settled", &version, format!("{whom} run {version}"));
    }
    true
}

/// Whether some execution environment has it ready.
fn ready(shared: &Shared, kind: &str, version: &str) -> bool {
    let wees = shared.wees.read();
    let mut pools = wees.values().flat_map(|wee| &wee.pools);
    pools.any(|p| p.kind == kind && p.version == version && p.broken.is_none() && p.instances > 0)
}

/// Why no instance of a version comes up anywhere, if so.
fn comes_not_up(shared: &Shared, kind: &str, rule: &RuleStatus, now: Time) -> Option<String> {
    if now.ms_since(rule.started_at) < COMES_UP_MAX_MS {
        return None;
    }
    let wees = shared.wees.read();
    let leaving =
        |w: &sengu_model::wire::envelope::WeeAnnouncement| w.spec.cordoned || w.spec.drained;
    let mut why = None;
    for wee in wees.values().filter(|w| !leaving(w)) {
        let of_version = |p: &&sengu_model::wire::envelope::PoolAnnouncement| {
            p.kind == kind && p.version == rule.version
        };
        if let Some(pool) = wee.pools.iter().find(of_version) {
            let broken = pool.broken.as_ref()?;
            why = Some(format!("no instance comes up in {}: {broken}", wee.name));
        }
    }
    why
}
