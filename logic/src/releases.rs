//! Moves of Releases: the only mutable pointer, moved by people, by guards, and by a new sengu that brings newer workers.

use crate::audit::Act;
use crate::catalog::{Kind, clip};
use crate::clock;
use crate::core::{Logic, Shared};
use crate::inventory::Other;
use crate::records::{not_found, store_problem};
use crate::rollout::form::{faults, fit, free_name, rolling, tell};
use crate::rollout::watch::Watched;
use crate::workers;
use sengu_model::problem::{Code, Problem};
use sengu_model::quantity::Share;
use sengu_model::record::API_VERSION;
use sengu_model::release::{Guard, ReleaseRule, ReleaseSpec, ReleaseStatus, RulePhase, RuleStatus};
use sengu_model::selector::compare_versions;
use sengu_model::{Metadata, Record, Uid};
use sengu_store::{Expect, Op, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

pub const KIND: &str = "Release";

/// To be moved: `kind@version` to a part of the targets.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Promote {
    pub version: String,
    /// Selector over labels, fields and facts, and `action`. Empty: every task.
    #[serde(rename = "where", skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// A percentage of the targets; default 100%.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub share: Option<Share>,
    /// Shares that follow by themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub steps: Vec<Share>,
    /// When it is called good or bad; left out: the default guard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// Nobody watches.
    pub unguarded: bool,
    /// Only run read actions beside the version in use, and compare.
    pub shadow: bool,
    /// Only if the Release is still at this revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Take back whatever other rollout of the kind is on its way.
    pub replace: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rollback {
    /// To this version; left out: ends the rollout on its way, or else goes back to what was before the last move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// A Release as it stands.
pub fn of(shared: &Shared, kind: &str) -> Option<(ReleaseSpec, ReleaseStatus)> {
    let inventory = shared.inventory.read();
    let record = &inventory.other(KIND, kind)?.record;
    let spec = serde_json::from_value(record.spec.clone()).ok()?;
    let status = serde_json::from_value(record.status.clone()).unwrap_or_default();
    Some((spec, status))
}

/// Gives a kind its Release when it has none, and lets one that nobody has moved follow what came with sengu.
///
/// # Errors
/// The store's.
pub async fn adopt(
    shared: &Arc<Shared>,
    kind: &str,
    versions: &BTreeMap<String, Arc<Kind>>,
) -> Result<(), StoreError> {
    let newest = |of: &dyn Fn(&Kind) -> bool| {
        let all = versions.values().filter(|k| of(k));
        let all = all.max_by(|a, b| compare_versions(a.version(), b.version()));
        all.map(|k| k.version().to_owned())
    };
    let bundled = |k: &Kind| {
        let bundled = &shared.config.bundled;
        bundled.iter().any(|b| b.digest == k.offer.digest)
    };
    let came = newest(&bundled);
    let Some(version) = came.clone().or_else(|| newest(&|_| true)) else {
        return Ok(());
    };
    let (mut spec, mut status) = of(shared, kind).unwrap_or_else(|| {
        let spec = ReleaseSpec {
            version: version.clone(),
            rules: Vec::new(),
            pool: sengu_model::release::PoolPatch::default(),
        };
        let status = ReleaseStatus {
            follows_bundled: came.is_some(),
            ..ReleaseStatus::default()
        };
        (spec, status)
    });
    let known = of(shared, kind).is_some();
    let follows = status.follows_bundled || !versions.contains_key(&spec.version);
    if known && (spec.version == version || !follows) {
        return Ok(());
    }
    if known {
        let message = format!("sengu brought {version} and nobody had moved this Release by hand");
        tell(&mut status, "followed", &version, message);
        spec.version = version;
    }
    write(shared, kind, &spec, &status, Expect::Anything).await?;
    Ok(())
}

/// Writes a Release and what is watched by it; who chooses is told by `workers::follow_release`.
///
/// # Errors
/// The store's.
pub async fn write(
    shared: &Arc<Shared>,
    kind: &str,
    spec: &ReleaseSpec,
    status: &ReleaseStatus,
    expect: Expect,
) -> Result<Record, StoreError> {
    let known = shared.inventory.read().other(KIND, kind).cloned();
    let uid = known.as_ref().map(|k| k.uid);
    let uid = uid.unwrap_or_else(|| Uid(shared.next_id()));
    let before = known.map(|k| k.record.clone());
    let metadata = before.as_ref().map(|k| k.metadata.clone());
    let mut record = Record {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        metadata: Metadata {
            uid: None,
            revision: None,
            ..metadata.unwrap_or_else(|| Metadata {
                name: kind.to_owned(),
                created_at: Some(clock::now()),
                ..Metadata::default()
            })
        },
        spec: serde_json::to_value(spec).unwrap_or_default(),
        status: serde_json::to_value(status).unwrap_or_default(),
    };
    let mut ops = vec![Op::PutRecord {
        kind: KIND.to_owned(),
        name: kind.to_owned(),
        uid,
        expect,
        body: serde_json::to_vec(&record).unwrap_or_default().into(),
    }];
    ops.extend(acts(kind, before.as_ref(), &record, status));
    let committed = shared.store.commit(ops.into()).await?;
    let revision = committed.revisions.first().copied().unwrap_or_default();
    record.metadata.uid = Some(uid);
    record.metadata.revision = Some(revision);
    let other = Other {
        uid,
        revision,
        record: record.clone(),
    };
    let key = (KIND.into(), kind.into());
    shared.inventory.write().others.insert(key, Arc::new(other));
    watch(shared, kind, spec, status);
    shared.wrote(&committed.revisions);
    Ok(record)
}

/// What the history of a Release has that it had not before; the last of it says what has changed.
fn acts(kind: &str, before: Option<&Record>, after: &Record, status: &ReleaseStatus) -> Vec<Op> {
    let known = before.and_then(|b| serde_json::from_value::<ReleaseStatus>(b.status.clone()).ok());
    let known = known.unwrap_or_default().history;
    let fresh = status.history.iter().rev();
    let mut fresh: Vec<_> = fresh.take_while(|event| !known.contains(event)).collect();
    fresh.reverse();
    let mut acts: Vec<Act> = fresh
        .iter()
        .map(|e| Act::new(&e.what, KIND, kind).note(format!("{}: {}", e.version, e.message)))
        .collect();
    if before.is_none() && acts.is_empty() {
        acts.push(Act::new("created", KIND, kind));
    }
    if let Some(last) = acts.pop() {
        acts.push(last.fields(before, Some(after)));
    }
    acts.iter().map(Act::op).collect()
}

/// Watches the rules that are to be watched, and no others.
pub fn watch(shared: &Shared, kind: &str, spec: &ReleaseSpec, status: &ReleaseStatus) {
    shared.rollouts.of(kind, |watched| {
        let mut old = std::mem::take(watched);
        for rule in &spec.rules {
            let Some(guard) = &rule.guard else { continue };
            let found = status.rules.iter().find(|s| s.name == rule.name);
            if rule.shadow || found.is_some_and(|s| s.phase == RulePhase::Settled) {
                continue;
            }
            let replaces = found.map_or(&spec.version, |s| &s.replaces);
            let step_at = found.map_or_else(clock::now, |s| s.step_at);
            let same =
                |w: &Watched| w.rule == rule.name && w.version == rule.version && w.guard == *guard;
            let kept = old.iter().position(same).map(|at| old.swap_remove(at));
            let mut next = kept.unwrap_or_else(|| {
                let guard = guard.clone();
                let mut fresh = Watched::new(&rule.name, &rule.version, replaces, guard, step_at);
                if let Some(told) = found {
                    fresh.restore(told);
                }
                fresh
            });
            if next.step_at != step_at {
                next.begin_step(step_at);
            }
            let held = status.held.iter().filter(|h| h.version == rule.version);
            next.hold_only(&held.map(|h| &h.cell).collect::<Vec<_>>());
            watched.push(next);
        }
    });
}

/// A Release was written as a document: watches and chooses by it.
pub async fn follow(shared: &Arc<Shared>, kind: &str) {
    if let Some((spec, status)) = of(shared, kind) {
        watch(shared, kind, &spec, &status);
        workers::follow_release(shared, kind).await;
    }
}

impl Logic {
    /// Moves a version to a part of the targets.
    ///
    /// # Errors
    /// `not_found`, `unknown_version`, `invalid_field`, `invalid_selector`, `conflict`, `rollout_in_progress`, or the
    /// store's.
    pub async fn promote(&self, kind: &str, wanted: Promote) -> Result<Record, Problem> {
        let _one_writer = self.shared.writes.lock().await;
        let (mut spec, mut status) = self.release(kind, wanted.revision)?;
        let now = clock::now();
        let version = wanted.version.clone();
        let moving = |s: &RuleStatus| rolling(s) && s.phase != RulePhase::Shadow;
        if !status.rules.iter().any(moving) {
            status.before = Some(Box::new(without_shadows(&spec)));
        }
        let other = status
            .rules
            .iter()
            .find(|s| s.version != version && rolling(s) && s.phase != RulePhase::Shadow);
        if let Some(other) = other {
            if !wanted.replace {
                let what = format!(
                    "{kind}@{} is on its way (rule {})",
                    other.version, other.name
                );
                return Err(Problem::new(Code::RolloutInProgress, what).hint(format!(
                    "sengu rollback {kind} first, or promote with --replace"
                )));
            }
            let gone = other.name.clone();
            spec.rules.retain(|rule| rule.name != gone);
        }
        let share = wanted.share.unwrap_or(Share::Percent(100.0));
        let guard = match (wanted.unguarded, wanted.guard) {
            (true, _) => None,
            (false, guard) => Some(guard.unwrap_or_default()),
        };
        if version == spec.version && wanted.selector.is_empty() && !wanted.shadow {
            if spec.rules.is_empty() {
                return Ok(self.release_record(kind));
            }
            // All go back to the version that no rule names.
            status.previous = Some(Box::new(without_shadows(&spec)));
            status.before = None;
            spec.rules.clear();
        } else {
            // The same rollout goes on: its share grows (or shrinks), its order among the rules stays.
            let same = |r: &ReleaseRule| r.version == version && r.selector == wanted.selector;
            let at = spec.rules.iter().position(same);
            let name = match at {
                Some(at) => spec.rules[at].name.clone(),
                None => free_name(&spec, &version),
            };
            let rule = ReleaseRule {
                name,
                version: version.clone(),
                selector: wanted.selector.clone(),
                share,
                steps: wanted.steps.clone(),
                guard,
                shadow: wanted.shadow,
            };
            match at {
                Some(at) => spec.rules[at] = rule,
                None => spec.rules.insert(0, rule),
            }
        }
        self.check(kind, &spec)?;
        status.follows_bundled = false;
        // What was held before is tried again: somebody asked for it.
        status.held.retain(|held| held.version != version);
        fit(&spec, &mut status, now);
        let whom = match &*wanted.selector {
            "" => "all".to_owned(),
            text => text.to_owned(),
        };
        let how = if wanted.shadow { "shadows" } else { "gets" };
        for rule in &mut status.rules {
            if rule.version == version && rule.phase != RulePhase::Settled {
                rule.begin_step(now);
            }
        }
        tell(
            &mut status,
            "promoted",
            &version,
            format!("{how} {share} of {whom}"),
        );
        self.keep_images(&spec, kind);
        self.move_release(kind, spec, status, wanted.revision).await
    }

    /// Ends the rollout on its way, or goes back to what was before the last move.
    ///
    /// # Errors
    /// `not_found`, `unknown_version`, `wrong_state`, `conflict`, or the store's.
    pub async fn rollback(&self, kind: &str, wanted: Rollback) -> Result<Record, Problem> {
        let _one_writer = self.shared.writes.lock().await;
        let (mut spec, mut status) = self.release(kind, wanted.revision)?;
        let now = clock::now();
        let names = |of: &dyn Fn(&RuleStatus) -> bool| -> HashSet<String> {
            let rules = status.rules.iter().filter(|s| of(s));
            rules.map(|s| s.name.clone()).collect()
        };
        let is_shadow = |s: &RuleStatus| s.phase == RulePhase::Shadow;
        let mut moving = names(&|s| rolling(s) && !is_shadow(s));
        if moving.is_empty() {
            // A shadow goes on beside a rollout that ends; alone it is what is ended.
            moving = names(&is_shadow);
        }
        status.before = None;
        let message = match &wanted.version {
            Some(version) => {
                let from = spec.version.clone();
                status.previous = Some(Box::new(without_shadows(&spec)));
                spec.rules.clear();
                spec.version.clone_from(version);
                format!("all go to {version} (from {from}), on request")
            }
            None if !moving.is_empty() => {
                spec.rules.retain(|rule| !moving.contains(&rule.name));
                format!(
                    "the rollout was ended on request; all go to {}",
                    spec.version
                )
            }
            None => {
                let Some(previous) = status.previous.take() else {
                    return Err(Problem::new(
                        Code::WrongState,
                        format!("Release/{kind} was never moved: there is nothing to go back to"),
                    )
                    .hint(format!("sengu rollback {kind} --to <version>")));
                };
                if without_shadows(&spec) == *previous {
                    let what = format!("Release/{kind} is as it was before its last move");
                    return Err(Problem::new(Code::WrongState, what)
                        .hint(format!("sengu rollback {kind} --to <version>")));
                }
                let rules = |spec: &ReleaseSpec| match spec.rules.len() {
                    0 => spec.version.clone(),
                    n => format!("{} with {n} rules", spec.version),
                };
                let message = format!(
                    "back from {} to {}, on request",
                    rules(&spec),
                    rules(&previous)
                );
                let now_spec = std::mem::replace(&mut spec, *previous);
                spec.pool = now_spec.pool;
                status.previous = Some(Box::new(without_shadows(&now_spec)));
                message
            }
        };
        self.check(kind, &spec)?;
        status.follows_bundled = false;
        fit(&spec, &mut status, now);
        let version = spec.version.clone();
        tell(&mut status, "rolled-back", &version, message);
        self.move_release(kind, spec, status, wanted.revision).await
    }

    fn release(
        &self,
        kind: &str,
        revision: Option<u64>,
    ) -> Result<(ReleaseSpec, ReleaseStatus), Problem> {
        let found = self
            .shared
            .inventory
            .read()
            .other(KIND, kind)
            .map(|o| o.revision);
        let (spec, status) =
            of(&self.shared, kind).ok_or_else(|| not_found("worker kind", &clip(kind)))?;
        if let Some(wanted) = revision
            && found != Some(wanted)
        {
            let (kind, name) = (KIND.to_owned(), kind.to_owned());
            return Err(store_problem(StoreError::Conflict { kind, name, found }));
        }
        Ok((spec, status))
    }

    fn release_record(&self, kind: &str) -> Record {
        self.record(KIND, kind).unwrap_or_else(|| Record {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: Metadata::default(),
            spec: serde_json::Value::Null,
            status: serde_json::Value::Null,
        })
    }

    fn check(&self, kind: &str, spec: &ReleaseSpec) -> Result<(), Problem> {
        let catalog = self.shared.catalog.read().clone();
        let versions = catalog.routes.get(kind).map(|routes| &routes.versions);
        let Some((place, what)) = faults(kind, spec, versions).into_iter().next() else {
            return Ok(());
        };
        let code = match () {
            () if place.ends_with("version") => Code::UnknownVersion,
            () if place.ends_with("where") => Code::InvalidSelector,
            () => Code::InvalidField,
        };
        let what = match (code, place.rsplit('.').next()) {
            (Code::InvalidField, Some(field)) => format!("{field}: {what}"),
            _ => what,
        };
        Err(Problem::new(code, what).hint("sengu get workers shows kinds and versions"))
    }

    /// What a person chose must outlive the program that brought it.
    fn keep_images(&self, spec: &ReleaseSpec, kind: &str) {
        let catalog = self.shared.catalog.read().clone();
        let names = std::iter::once(&spec.version).chain(spec.rules.iter().map(|r| &r.version));
        let digests: Vec<String> = names
            .filter_map(|version| Some(catalog.version(kind, version)?.offer.digest.clone()))
            .collect();
        let shared = self.shared.clone();
        crate::clock::spawn(async move {
            for digest in digests {
                if let Err(error) = workers::import(&shared, &digest).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "image not kept");
                }
            }
        });
    }

    /// The caller holds `writes`.
    async fn move_release(
        &self,
        kind: &str,
        spec: ReleaseSpec,
        status: ReleaseStatus,
        revision: Option<u64>,
    ) -> Result<Record, Problem> {
        let expect = revision.map_or(Expect::Anything, Expect::Revision);
        let record = write(&self.shared, kind, &spec, &status, expect)
            .await
            .map_err(store_problem)?;
        workers::follow_release(&self.shared, kind).await;
        Ok(record)
    }
}

/// What a rollback goes back to: comparing is over when it is over.
fn without_shadows(spec: &ReleaseSpec) -> ReleaseSpec {
    let mut spec = spec.clone();
    spec.rules.retain(|rule| !rule.shadow);
    spec
}
