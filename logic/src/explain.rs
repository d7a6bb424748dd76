//! Which worker does a task and why that one, or why none does.

use crate::api::Chosen;
use crate::core::Logic;
use crate::inventory::Target;
use crate::rollout::choose::Asked;
use sengu_model::problem::Problem;
use sengu_model::task::TaskView;
use sengu_model::wire::envelope::WeeAnnouncement;
use sengu_model::{Selector, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Whether an execution environment can run a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    Can,
    Drained,
    Cordoned,
    /// It does not have this version.
    Lacks,
    /// In its own words.
    Broken(String),
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Readiness::Can => "can run it",
            Readiness::Drained => "it is drained",
            Readiness::Cordoned => "it is cordoned",
            Readiness::Lacks => "it does not have this version",
            Readiness::Broken(why) => why,
        })
    }
}

impl Logic {
    /// # Errors
    /// `not_found` or the store's.
    pub async fn explain_task(&self, id: TaskId) -> Result<Chosen, Problem> {
        let task = self.task(id).await?;
        let standing = match task.ending {
            Some(_) => None,
            None => self.dispatch.standing(id).await,
        };
        let target = self.shared.inventory.read().target(&task.target).cloned();
        let mut chosen = Chosen {
            task: id.to_string(),
            target: task.target.clone(),
            kind: task.kind.clone(),
            action: task.action.clone(),
            version: None,
            digest: None,
            instance: None,
            wee: None,
            ended: task.ending.is_some(),
            why: String::new(),
            facts: BTreeMap::new(),
            wees: BTreeMap::new(),
        };
        if let Some(target) = &target {
            chosen.facts = self.facts(&task.kind, target);
        }
        if let Some(ending) = &task.ending {
            chosen.instance.clone_from(&ending.instance);
            chosen.digest.clone_from(&ending.digest);
            chosen.wee.clone_from(&ending.wee);
            chosen.version = ending.instance.as_deref().and_then(version_of);
            chosen.why = match (&ending.chosen, &ending.instance) {
                (Some(why), Some(_)) => why.clone(),
                (_, None) => format!("no worker ended it: {}", outcome_words(&task)),
                (None, Some(_)) => "it was done before choices were kept".to_owned(),
            };
            return Ok(chosen);
        }
        let choice = standing.map(|s| {
            chosen.wee = s.wee;
            s.choice
        });
        let choice = choice.or_else(|| Some(self.would_choose(&task, target.as_deref()?)));
        match choice {
            Some(Ok((version, why))) => {
                let catalog = self.shared.catalog.read().clone();
                let found = catalog.version(&task.kind, &version);
                chosen.digest = found.map(|k| k.offer.digest.clone());
                let mut wees = BTreeMap::new();
                if let Some(target) = &target {
                    wees = self.wees_for(&target.zone, &task.kind, &version);
                }
                let can = wees.values().any(|w| *w == Readiness::Can);
                let words = wees.into_iter().map(|(wee, w)| (wee, w.to_string()));
                chosen.wees = words.collect();
                chosen.version = Some(version);
                chosen.why = match can {
                    true => why,
                    false => {
                        format!("{why}; but no execution environment of the zone can run it now")
                    }
                };
            }
            Some(Err(why)) => chosen.why = why,
            None => "its target is gone".clone_into(&mut chosen.why),
        }
        Ok(chosen)
    }

    /// For what is not in memory: as dispatch would choose, trials left aside.
    fn would_choose(&self, task: &TaskView, target: &Target) -> Result<(String, String), String> {
        let catalog = self.shared.catalog.read().clone();
        let routes = catalog.routes.get(&task.kind);
        let routes = routes.ok_or_else(|| format!("no worker of kind {} is known", task.kind))?;
        let asked = Asked {
            target: target.uid,
            action: &task.action,
            effect: task.effect,
            pinned: None,
        };
        let live = target.live.lock();
        let choice = routes.choose(&asked, |key| target.value(&live, key), |_| false)?;
        Ok((choice.kind.version().to_owned(), choice.why.to_string()))
    }

    /// What rules look at, and the usual names.
    fn facts(&self, kind: &str, target: &Target) -> BTreeMap<String, String> {
        let mut keys: BTreeSet<String> = ["vendor", "model", "firmware", "site"]
            .into_iter()
            .map(str::to_owned)
            .collect();
        let catalog = self.shared.catalog.read().clone();
        for rule in catalog.routes.get(kind).into_iter().flat_map(|r| &r.rules) {
            let selector: &Selector = &rule.selector;
            keys.extend(selector.terms.iter().map(|term| term.key.clone()));
        }
        let live = target.live.lock();
        let value = |key: String| {
            let value = target.value(&live, &key)?.into_owned();
            Some((key, value))
        };
        keys.into_iter().filter_map(value).collect()
    }

    /// Execution environments of a zone, and whether each can run a version.
    pub(crate) fn wees_for(
        &self,
        zone: &str,
        kind: &str,
        version: &str,
    ) -> BTreeMap<String, Readiness> {
        let wees = self.shared.wees.read();
        let in_zone = wees.values().filter(|wee| wee.zone == zone);
        in_zone
            .map(|wee| (wee.name.clone(), stands(wee, kind, version)))
            .collect()
    }
}

fn stands(wee: &WeeAnnouncement, kind: &str, version: &str) -> Readiness {
    if wee.spec.drained {
        return Readiness::Drained;
    }
    if wee.spec.cordoned {
        return Readiness::Cordoned;
    }
    let pool = wee
        .pools
        .iter()
        .find(|p| p.kind == kind && p.version == version);
    match pool {
        None => Readiness::Lacks,
        Some(pool) => match &pool.broken {
            Some(why) => Readiness::Broken(why.chars().take(300).collect()),
            None => Readiness::Can,
        },
    }
}

/// Out of `kind@version/number`.
fn version_of(instance: &str) -> Option<String> {
    let (_, rest) = instance.split_once('@')?;
    Some(
        rest.rsplit_once('/')
            .map_or(rest, |(version, _)| version)
            .to_owned(),
    )
}

fn outcome_words(task: &TaskView) -> String {
    let Some(ending) = &task.ending else {
        return String::new();
    };
    match &ending.outcome {
        sengu_model::Outcome::Failed(f) => f.message.clone(),
        sengu_model::Outcome::Unknown { why }
        | sengu_model::Outcome::Cancelled { why }
        | sengu_model::Outcome::Expired { why } => why.clone(),
        sengu_model::Outcome::Done(_) => "done without one".to_owned(),
    }
}
