//! The overview, put together at most once a second for all who ask.

use super::overview::{
    Level, Overview, RolloutPhase, RolloutSeen, RunSeen, TargetsSeen, TasksSeen, Trouble, WeeSeen,
    WeeState, ZoneSeen,
};
use crate::clock;
use crate::core::{Logic, Shared};
use crate::dispatch::{Glimpse, Input};
use crate::saying::Say;
use crate::service::control;
use sengu_interconnect::contact::Contact;
use sengu_model::kinds::DEFAULT_ZONE;
use sengu_model::release::{ReleaseSpec, ReleaseStatus};
use sengu_model::wire::envelope::WeeAnnouncement;
use sengu_model::{Time, limits};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A store that does not say how many tasks are open within this is slow; what it said before is shown.
const STORE_WAIT: Duration = Duration::from_millis(300);
/// What was taken back is shown for this long.
const TAKEN_BACK_SHOWN_MS: u64 = 3_600_000;
/// Sentences in a list of trouble.
const TROUBLE_MAX: usize = 50;

/// What everybody who watches sees.
#[derive(Clone)]
pub struct Shot {
    /// Grows when something but the time has changed.
    pub number: u64,
    /// As JSON, made once for all.
    pub json: Arc<str>,
    pub at: Instant,
}

#[derive(Default)]
pub struct Overviews(Mutex<Last>);

#[derive(Default)]
struct Last {
    shot: Option<Shot>,
    seen: Option<Overview>,
    tasks_open: u64,
}

impl Logic {
    /// How everything stands, at most a second old.
    pub async fn overview(&self) -> Shot {
        let mut last = self.shared.glance.overview.0.lock().await;
        let every = Duration::from_millis(limits::OVERVIEW_EVERY_MS);
        if let Some(shot) = last.shot.as_ref().filter(|s| s.at.elapsed() < every) {
            return shot.clone();
        }
        let at = Instant::now();
        let mut seen = self.look(&mut last.tasks_open).await;
        let before = last.seen.as_mut().map(|before| {
            // Time alone is no news.
            std::mem::swap(&mut before.at, &mut seen.at);
            let same = *before == seen;
            std::mem::swap(&mut before.at, &mut seen.at);
            same
        });
        let shot = match (&last.shot, before) {
            (Some(shot), Some(true)) => Shot { at, ..shot.clone() },
            (shot, _) => Shot {
                number: shot.as_ref().map_or(1, |s| s.number + 1),
                json: serde_json::to_string(&seen).unwrap_or_default().into(),
                at,
            },
        };
        (last.shot, last.seen) = (Some(shot.clone()), Some(seen));
        shot
    }

    async fn look(&self, tasks_open: &mut u64) -> Overview {
        let (shared, now) = (&self.shared, clock::now());
        let mut trouble = Vec::new();
        match tokio::time::timeout(STORE_WAIT, shared.store.status()).await {
            Ok(Ok(status)) => *tasks_open = status.tasks_open,
            Ok(Err(_)) => trouble.push(bad(Say::StoreSilent, "system")),
            Err(_) => trouble.push(bad(Say::StoreSlow, "system")),
        }
        let glimpse = self.dispatch.ask(Input::Glimpse).await.unwrap_or_default();
        let targets = shared.inventory.read().counts.seen();
        let totals = shared.metrics.totals();
        let (per_second, not_done_per_second, observed_per_second) =
            shared.glance.history.rates(totals);
        let tasks = TasksSeen {
            waiting: tasks_open.saturating_sub(glimpse.sent + glimpse.started),
            sent: glimpse.sent,
            started: glimpse.started,
            ended: totals.0,
            not_done: totals.1,
            per_second,
            not_done_per_second,
            observed_per_second,
        };
        let runs = self.runs_seen(&glimpse).await;
        let (wees, zones) = places(shared, &targets, &mut trouble);
        match &*shared.broker.contact().borrow() {
            Contact::There => {}
            Contact::Away { why, .. } => {
                let why = why.to_string();
                trouble.push(bad(Say::InterconnectAway { why }, "system"));
            }
            Contact::Blocked { why, .. } => {
                let why = why.to_string();
                trouble.push(bad(Say::InterconnectBlocked { why }, "system"));
            }
        }
        trouble.sort_by_key(|t| t.level);
        trouble.truncate(TROUBLE_MAX);
        Overview {
            at: now,
            revision: *shared.revision.borrow(),
            targets,
            tasks,
            history: shared.glance.history.seen(totals, now),
            runs,
            rollouts: rollouts(shared, now),
            slow: glimpse.slow,
            slow_total: glimpse.slow_total,
            wees,
            zones,
            trouble,
        }
    }

    async fn runs_seen(&self, glimpse: &Glimpse) -> Vec<RunSeen> {
        let most = limits::OVERVIEW_RUNS_MAX;
        let running = self
            .control
            .ask(|reply| control::Input::Running(most, reply));
        let running = running.await.unwrap_or_default().into_iter();
        running
            .map(|(name, action, status)| {
                let mut counts = status.counts;
                let out = glimpse.out.get(&name).copied().unwrap_or(0);
                counts.active = out.min(counts.waiting);
                counts.waiting -= counts.active;
                RunSeen {
                    name,
                    phase: status.phase,
                    action,
                    targets: status.targets,
                    counts,
                    batch: status.batch,
                    batches: status.batches,
                    started_at: status.started_at,
                    message: status.message,
                }
            })
            .collect()
    }
}

fn bad(say: Say, link: &str) -> Trouble {
    trouble(Level::Error, say, link)
}

fn trouble(level: Level, say: Say, link: &str) -> Trouble {
    Trouble {
        level,
        text: say.text(),
        saying: say.into(),
        link: Some(link.to_owned()),
    }
}

/// One per worker kind, so there are few.
fn rollouts(shared: &Shared, now: Time) -> Vec<RolloutSeen> {
    let inventory = shared.inventory.read();
    let mut seen = Vec::new();
    for (kind, release) in inventory.others_of(crate::releases::KIND) {
        let status = serde_json::from_value::<ReleaseStatus>(release.record.status.clone());
        let spec = serde_json::from_value::<ReleaseSpec>(release.record.spec.clone());
        let (Ok(status), Ok(spec)) = (status, spec) else {
            continue;
        };
        for rule in &status.rules {
            let Some(phase) = RolloutPhase::of(rule.phase) else {
                continue;
            };
            let declared = spec.rules.iter().find(|r| r.name == rule.name);
            seen.push(RolloutSeen {
                kind: kind.to_owned(),
                version: rule.version.clone(),
                phase,
                share: declared.map_or_else(String::new, |r| r.share.to_string()),
                held: status
                    .held
                    .iter()
                    .filter(|h| h.version == rule.version)
                    .count() as u64,
                message: rule.waits_for.clone(),
                failures: rule.seen.failed,
            });
        }
        let back = status.history.iter().rev().find(|event| {
            event.what == "rolled-back" && now.ms_since(event.at) < TAKEN_BACK_SHOWN_MS
        });
        if let Some(back) = back {
            seen.push(RolloutSeen {
                kind: kind.to_owned(),
                version: back.version.clone(),
                phase: RolloutPhase::RolledBack,
                share: String::new(),
                held: status
                    .held
                    .iter()
                    .filter(|h| h.version == back.version)
                    .count() as u64,
                message: back.message.clone(),
                failures: 0,
            });
        }
    }
    seen
}

/// Execution environments and zones, and what is wrong with them.
fn places(
    shared: &Shared,
    targets: &TargetsSeen,
    wrong: &mut Vec<Trouble>,
) -> (Vec<WeeSeen>, Vec<ZoneSeen>) {
    let mut zones: BTreeMap<String, ZoneSeen> = BTreeMap::new();
    fn zone<'a>(zones: &'a mut BTreeMap<String, ZoneSeen>, name: &str) -> &'a mut ZoneSeen {
        zones.entry(name.to_owned()).or_insert_with(|| ZoneSeen {
            zone: name.to_owned(),
            targets: 0,
            wees: 0,
            slots: 0,
            slots_used: 0,
        })
    }
    for of_zone in &targets.by_zone {
        zone(&mut zones, &of_zone.zone).targets = of_zone.counts.total;
    }
    let mut wees = Vec::new();
    let speaking = shared.wees.read();
    for wee in speaking.values() {
        let (slots, used) = slots(wee);
        wees.push(WeeSeen {
            name: wee.name.clone(),
            zone: wee.zone.clone(),
            state: match (wee.spec.drained, wee.spec.cordoned) {
                (true, _) => WeeState::Draining,
                (false, true) => WeeState::Cordoned,
                (false, false) => WeeState::Ready,
            },
            slots_used: used,
            slots,
            version: wee.sengu_version.clone(),
        });
        let place = zone(&mut zones, &wee.zone);
        place.wees += 1;
        place.slots += slots;
        place.slots_used += used;
        for pool in &wee.pools {
            if let Some(why) = &pool.broken {
                let say = Say::WorkerBroken {
                    worker: format!("{}@{}", pool.kind, pool.version),
                    wee: wee.name.clone(),
                    message: why.clone(),
                };
                wrong.push(trouble(Level::Warn, say, &format!("wee/{}", wee.name)));
            }
        }
    }
    let inventory = shared.inventory.read();
    for (name, record) in inventory.others_of("Wee") {
        if speaking.contains_key(name) {
            continue;
        }
        let said = |key: &str| record.record.status.get(key).and_then(|v| v.as_str());
        wees.push(WeeSeen {
            name: name.to_owned(),
            zone: said("zone").unwrap_or(DEFAULT_ZONE).to_owned(),
            state: WeeState::Silent,
            slots_used: 0,
            slots: 0,
            version: said("sengu_version").unwrap_or_default().to_owned(),
        });
        let wee = name.to_owned();
        let say = Say::WeeSilent { wee };
        wrong.push(trouble(Level::Warn, say, &format!("wee/{name}")));
    }
    for place in zones.values().filter(|z| z.wees == 0 && z.targets > 0) {
        let say = Say::ZoneEmpty {
            zone: place.zone.clone(),
            targets: place.targets.to_string(),
        };
        wrong.push(bad(say, &format!("zone/{}", place.zone)));
    }
    (wees, zones.into_values().collect())
}

fn slots(wee: &WeeAnnouncement) -> (u64, u64) {
    let sum = |of: fn(&sengu_model::wire::envelope::PoolAnnouncement) -> u32| {
        wee.pools.iter().map(|p| u64::from(of(p))).sum()
    };
    (sum(|p| p.slots_max), sum(|p| p.slots_busy))
}
