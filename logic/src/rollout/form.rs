//! Releases as values: what is wrong with one, how its status follows its spec, what is told of its moves. Pure but for
//! the clock in the history.

use crate::catalog::{Kind, clip};
use crate::clock;
use sengu_model::quantity::Share;
use sengu_model::release::{
    Guard, ReleaseEvent, ReleaseRule, ReleaseSpec, ReleaseStatus, RulePhase, RuleStatus,
};
use sengu_model::{Record, Selector, Time, limits};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

const HISTORY_MAX: usize = 50;
const HELD_MAX: usize = 1_000;

/// Adds to the history, and to the log.
pub fn tell(status: &mut ReleaseStatus, what: &str, version: &str, message: String) {
    tracing::info!(version, message, "release {what}");
    note(status, what, version, message);
}

fn note(status: &mut ReleaseStatus, what: &str, version: &str, message: String) {
    status.history.push(ReleaseEvent {
        at: clock::now(),
        what: what.to_owned(),
        version: version.to_owned(),
        message,
    });
    let surplus = status.history.len().saturating_sub(HISTORY_MAX);
    status.history.drain(..surplus);
    let surplus = status.held.len().saturating_sub(HELD_MAX);
    status.held.drain(..surplus);
}

/// The status of a Release whose spec somebody writes.
pub fn edited(known: Option<&Record>, spec: &ReleaseSpec, now: Time) -> serde_json::Value {
    let status = known.and_then(|k| serde_json::from_value(k.status.clone()).ok());
    let mut status: ReleaseStatus = status.unwrap_or_default();
    let before = known.and_then(|k| serde_json::from_value::<ReleaseSpec>(k.spec.clone()).ok());
    if let Some(before) = before.filter(|before| before != spec) {
        let same_routes = before.version == spec.version && before.rules == spec.rules;
        let message = match same_routes {
            true => "its pool was changed".to_owned(),
            false => "it was written as a document".to_owned(),
        };
        note(&mut status, "edited", &spec.version, message);
        if !same_routes {
            status.follows_bundled = false;
            status.previous = Some(Box::new(before));
            status.before = None;
        }
    }
    fit(spec, &mut status, now);
    serde_json::to_value(status).unwrap_or_default()
}

/// What is wrong with a Release that somebody wrote.
pub fn faults(
    kind: &str,
    spec: &ReleaseSpec,
    versions: Option<&BTreeMap<String, Arc<Kind>>>,
) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let Some(versions) = versions else {
        faults.push((
            "metadata.name".to_owned(),
            format!("there is no worker kind {:?}", clip(kind)),
        ));
        return faults;
    };
    let known: Vec<&str> = versions.keys().map(String::as_str).collect();
    let unknown = |version: &str| {
        let version = clip(version);
        format!(
            "version {version:?} of {kind} is not known (known: {})",
            known.join(", ")
        )
    };
    if !versions.contains_key(&spec.version) {
        faults.push(("spec.version".to_owned(), unknown(&spec.version)));
    }
    if spec.rules.len() > limits::RULES_PER_RELEASE_MAX {
        let what = format!("more than {} rules", limits::RULES_PER_RELEASE_MAX);
        faults.push(("spec.rules".to_owned(), what));
    }
    let mut names = HashSet::new();
    for (i, rule) in spec.rules.iter().enumerate() {
        let mut fault = |field: &str, what: String| {
            faults.push((format!("spec.rules[{i}].{field}"), what));
        };
        if !sengu_model::record::valid_name(&rule.name) || !names.insert(&rule.name) {
            fault("name", "a name of its own: a-z 0-9 . - _".to_owned());
        }
        if !versions.contains_key(&rule.version) {
            fault("version", unknown(&rule.version));
        }
        if let Err(e) = rule.selector.parse::<Selector>() {
            fault("where", e.to_string());
        }
        for share in std::iter::once(&rule.share).chain(&rule.steps) {
            if !matches!(share, Share::Percent(_)) {
                fault("share", format!("{share} is no percentage, such as 10%"));
            }
        }
        let grows = |pair: &[Share]| percent(pair[0]) < percent(pair[1]);
        let all: Vec<Share> = std::iter::once(rule.share)
            .chain(rule.steps.iter().copied())
            .collect();
        if !all.windows(2).all(grows) {
            fault(
                "steps",
                "each step is greater than the one before".to_owned(),
            );
        }
        let sound = |g: &Guard| {
            (1..=1_000_000).contains(&g.window)
                && (0.0..=1.0).contains(&g.max_failures)
                && (0.0..=1_000.0).contains(&g.max_latency)
        };
        if !rule.guard.as_ref().is_none_or(sound) {
            fault(
                "guard",
                "window 1 to 1000000, maxFailures 0 to 1, maxLatency 0 (not watched) to 1000"
                    .to_owned(),
            );
        }
    }
    let pool = &spec.pool;
    let (warm, max) = (
        pool.warm.unwrap_or(0),
        pool.max.unwrap_or(limits::INSTANCES_PER_POOL_MAX),
    );
    if max == 0 || max > limits::INSTANCES_PER_POOL_MAX || warm > max {
        let what = format!(
            "1 <= max <= {}, warm <= max",
            limits::INSTANCES_PER_POOL_MAX
        );
        faults.push(("spec.pool".to_owned(), what));
    }
    faults
}

pub fn percent(share: Share) -> f64 {
    match share {
        Share::Percent(p) => p,
        Share::Count(_) => 0.0,
    }
}

/// The status of a rule that begins, or begins a step.
fn begin(rule: &ReleaseRule, replaces: &str, now: Time) -> RuleStatus {
    RuleStatus {
        name: rule.name.clone(),
        version: rule.version.clone(),
        replaces: replaces.to_owned(),
        phase: match (rule.shadow, &rule.guard) {
            (true, _) => RulePhase::Shadow,
            (false, Some(_)) => RulePhase::Rolling,
            (false, None) => RulePhase::Unguarded,
        },
        started_at: now,
        step_at: now,
        ..RuleStatus::default()
    }
}

/// Makes the list of rule statuses fit the rules; what is still there keeps its place in time.
pub fn fit(spec: &ReleaseSpec, status: &mut ReleaseStatus, now: Time) {
    let old = std::mem::take(&mut status.rules);
    status.rules = spec
        .rules
        .iter()
        .map(|rule| {
            let known = old
                .iter()
                .find(|s| s.name == rule.name && s.version == rule.version);
            let fresh = begin(rule, &spec.version, now);
            match known {
                Some(known) if known.phase == RulePhase::Settled && !rule.shadow => known.clone(),
                Some(known) if known.phase == fresh.phase => known.clone(),
                _ => fresh,
            }
        })
        .collect();
    let versions: HashSet<&str> = spec.rules.iter().map(|r| r.version.as_str()).collect();
    status
        .held
        .retain(|h| versions.contains(h.version.as_str()) || h.version == spec.version);
}

/// On its way: not at its end, and not only comparing.
pub fn rolling(status: &RuleStatus) -> bool {
    matches!(
        status.phase,
        RulePhase::Rolling | RulePhase::Unguarded | RulePhase::Shadow
    )
}

/// A name for a new rule that tells its version.
pub fn free_name(spec: &ReleaseSpec, version: &str) -> String {
    let base = format!("to-{version}");
    let taken = |name: &str| spec.rules.iter().any(|rule| rule.name == name);
    if !taken(&base) {
        return base;
    }
    (2..=limits::RULES_PER_RELEASE_MAX + 2)
        .map(|n| format!("{base}-{n}"))
        .find(|name| !taken(name))
        .unwrap_or(base)
}
