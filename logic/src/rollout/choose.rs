//! Which version does a task. Pure: the Release with its versions, the target's facts and the action go in; a version
//! and the reason come out.

use crate::catalog::Kind;
use sengu_model::quantity::Share;
use sengu_model::release::{Cell, ReleaseSpec, RulePhase};
use sengu_model::{Effect, Selector, Uid};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Not known of a target.
pub const UNKNOWN: &str = "-";

/// One Release with all that is needed to choose by it.
pub struct Routes {
    pub kind: Arc<str>,
    /// For what no rule matches. None when that version is not known here.
    pub base: Option<Arc<Kind>>,
    pub base_version: Arc<str>,
    pub rules: Vec<Route>,
    /// Versions that a task may be pinned to.
    pub versions: BTreeMap<String, Arc<Kind>>,
    /// Cells kept off a version.
    pub held: HashSet<(Arc<str>, Cell)>,
    base_why: Arc<str>,
}

/// One rule.
pub struct Route {
    pub name: Arc<str>,
    pub version: Arc<str>,
    pub kind: Arc<Kind>,
    pub selector: Selector,
    /// 0.0..=1.0
    pub share: f64,
    /// It is being proven: its tasks are counted, and few are out before the first have ended well.
    pub trial: bool,
    pub shadow: bool,
    pub why: Arc<str>,
}

/// What is to be done, on what.
pub struct Asked<'a> {
    pub target: Uid,
    pub action: &'a str,
    pub effect: Effect,
    /// A version named by whoever asked.
    pub pinned: Option<&'a str>,
}

#[derive(Clone)]
pub struct Choice {
    pub kind: Arc<Kind>,
    /// The rule that was followed.
    pub rule: Option<usize>,
    pub why: Arc<str>,
}

impl Routes {
    pub fn new(
        kind: &str,
        spec: &ReleaseSpec,
        held: &[(String, Cell)],
        phase: impl Fn(&str) -> Option<RulePhase>,
        versions: &BTreeMap<String, Arc<Kind>>,
    ) -> Routes {
        let rules = spec.rules.iter().filter_map(|rule| {
            let found = versions.get(&rule.version)?.clone();
            let selector: Selector = rule.selector.parse().ok()?;
            let whom = match &*rule.selector {
                "" => "all".to_owned(),
                text => text.to_owned(),
            };
            let settled = phase(&rule.name) == Some(RulePhase::Settled);
            Some(Route {
                name: rule.name.as_str().into(),
                version: rule.version.as_str().into(),
                kind: found,
                selector,
                share: match rule.share {
                    Share::Percent(p) => (p / 100.0).clamp(0.0, 1.0),
                    Share::Count(_) => 0.0,
                },
                trial: rule.guard.is_some() && !settled && !rule.shadow,
                shadow: rule.shadow,
                why: format!(
                    "rule {} of release {kind}: {} of {whom} to {}",
                    rule.name, rule.share, rule.version
                )
                .into(),
            })
        });
        Routes {
            kind: kind.into(),
            base: versions.get(&spec.version).cloned(),
            base_version: spec.version.as_str().into(),
            rules: rules.collect(),
            versions: versions.clone(),
            held: held
                .iter()
                .map(|(version, cell)| (version.as_str().into(), cell.clone()))
                .collect(),
            base_why: format!(
                "release {kind}: {} for all that no rule matches",
                spec.version
            )
            .into(),
        }
    }

    /// Whether tasks are counted for a guard.
    pub fn watched(&self) -> bool {
        self.rules.iter().any(|rule| rule.trial || rule.shadow)
    }

    /// The version for a task. `get` gives labels, fields and facts of the target; a rule that `closed` says yes to is
    /// passed over for now.
    ///
    /// # Errors
    /// Why no version can do it.
    pub fn choose<'a>(
        &self,
        asked: &Asked,
        get: impl Fn(&str) -> Option<Cow<'a, str>>,
        closed: impl Fn(&Route) -> bool,
    ) -> Result<Choice, String> {
        if let Some(pinned) = asked.pinned {
            return self.pinned(asked, pinned);
        }
        for (at, rule) in self.rules.iter().enumerate() {
            if rule.shadow || !self.matches(rule, asked, &get) || closed(rule) {
                continue;
            }
            return Ok(Choice {
                kind: rule.kind.clone(),
                rule: Some(at),
                why: rule.why.clone(),
            });
        }
        let Some(base) = &self.base else {
            return Err(format!(
                "release {} names version {}, which is not known here",
                self.kind, self.base_version
            ));
        };
        if can(base, asked) {
            return Ok(Choice {
                kind: base.clone(),
                rule: None,
                why: self.base_why.clone(),
            });
        }
        Err(match base.actions.contains_key(asked.action) {
            true => format!(
                "{}@{} declares another effect for action {}",
                self.kind, self.base_version, asked.action
            ),
            false => format!(
                "{}@{} has no action {}",
                self.kind, self.base_version, asked.action
            ),
        })
    }

    fn pinned(&self, asked: &Asked, version: &str) -> Result<Choice, String> {
        let Some(kind) = self.versions.get(version) else {
            let known: Vec<&str> = self.versions.keys().map(String::as_str).collect();
            return Err(format!(
                "the task is pinned to {}@{version}, which is not known here (known: {})",
                self.kind,
                known.join(", ")
            ));
        };
        if !can(kind, asked) {
            return Err(format!(
                "the task is pinned to {}@{version}, which cannot do {} as {}",
                self.kind,
                asked.action,
                asked.effect.as_str()
            ));
        }
        Ok(Choice {
            kind: kind.clone(),
            rule: None,
            why: format!("the task is pinned to {version}").into(),
        })
    }

    /// Whether a rule is for this task, its share included.
    pub fn matches<'a>(
        &self,
        rule: &Route,
        asked: &Asked,
        get: &impl Fn(&str) -> Option<Cow<'a, str>>,
    ) -> bool {
        let key = |key: &str| match key {
            "action" => Some(Cow::Borrowed(asked.action)),
            key => get(key),
        };
        let held = || {
            let key = || (rule.version.clone(), cell(asked.action, get));
            !self.held.is_empty() && self.held.contains(&key())
        };
        part(asked.target, &rule.version) < rule.share
            && can(&rule.kind, asked)
            && rule.selector.matches(key)
            && !held()
    }
}

/// What a task asks for is what this version does under that name.
fn can(kind: &Kind, asked: &Asked) -> bool {
    kind.actions
        .get(asked.action)
        .is_some_and(|action| action.decl.effect == asked.effect || action.decl.effect_by_caller)
}

/// The cell in which a task is counted.
pub fn cell<'a>(action: &str, get: &impl Fn(&str) -> Option<Cow<'a, str>>) -> Cell {
    let text = |key: &str| match get(key) {
        Some(value) if !value.is_empty() => value.chars().take(80).collect(),
        _ => UNKNOWN.to_owned(),
    };
    Cell {
        vendor: text("vendor"),
        model: text("model"),
        firmware: text("firmware"),
        action: action.to_owned(),
    }
}

/// Where a target stands in the order in which shares of a version grow, 0.0..1.0: the same for ever, so that a greater
/// share holds all of a smaller one, and another order for each version, so that not always the same targets go first.
fn part(target: Uid, version: &str) -> f64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in version.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut x = hash ^ target.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    // 53 bits are what a double holds.
    (x >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
