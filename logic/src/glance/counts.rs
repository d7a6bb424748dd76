//! How many targets stand how, counted when one changes: nobody has to walk over all of them to know.

use super::overview::{KindCounts, TargetCounts, TargetsSeen, ZoneCounts};
use crate::inventory::{Live, Reachable, Target};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How one target stands, as far as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    reach: Reach,
    quarantined: bool,
    maintenance: bool,
    failing: bool,
    busy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Unknown,
    Yes,
    No,
}

impl Standing {
    pub fn of(target: &Target, live: &Live) -> Standing {
        Standing {
            reach: match live.reachable {
                Reachable::Unknown => Reach::Unknown,
                Reachable::Yes(_) => Reach::Yes,
                Reachable::No { .. } => Reach::No,
            },
            quarantined: live.quarantine.is_some(),
            maintenance: target.maintenance.is_some(),
            failing: live.failing,
            busy: live.busy,
        }
    }

    /// What matters most, as a letter.
    pub fn letter(self) -> u8 {
        match self {
            Standing {
                quarantined: true, ..
            } => b'q',
            Standing {
                maintenance: true, ..
            } => b'm',
            Standing { busy: true, .. } => b'b',
            Standing {
                reach: Reach::No, ..
            } => b'u',
            Standing { failing: true, .. } => b'f',
            Standing {
                reach: Reach::Yes, ..
            } => b'r',
            Standing {
                reach: Reach::Unknown,
                ..
            } => b'?',
        }
    }

    pub fn is_unreachable(self) -> bool {
        self.reach == Reach::No
    }

    pub fn is_quarantined(self) -> bool {
        self.quarantined
    }

    pub fn is_failing(self) -> bool {
        self.failing
    }
}

/// By kind and zone.
#[derive(Default)]
pub struct Counts(Mutex<BTreeMap<KindAndZone, TargetCounts>>);

type KindAndZone = (Arc<str>, Arc<str>);

impl Counts {
    /// A target that was counted as `from` counts as `to` from now on.
    pub fn moved(&self, target: &Target, from: Option<Standing>, to: Option<Standing>) {
        let mut counts = self.0.lock();
        let key = (target.kind.clone(), target.zone.clone());
        let counts_of = counts.entry(key).or_default();
        if let Some(from) = from {
            each(counts_of, from, |n| *n = n.saturating_sub(1));
        }
        if let Some(to) = to {
            each(counts_of, to, |n| *n += 1);
        }
        if counts_of.total == 0 {
            counts.remove(&(target.kind.clone(), target.zone.clone()));
        }
    }

    pub fn seen(&self) -> TargetsSeen {
        let counts = self.0.lock();
        let (mut all, mut kinds, mut zones) = (
            TargetCounts::default(),
            BTreeMap::<&str, TargetCounts>::new(),
            BTreeMap::<&str, TargetCounts>::new(),
        );
        for ((kind, zone), some) in &*counts {
            all.add(some);
            kinds.entry(kind).or_default().add(some);
            zones.entry(zone).or_default().add(some);
        }
        let kind = |(kind, counts): (&str, TargetCounts)| KindCounts {
            kind: kind.to_owned(),
            counts,
        };
        let zone = |(zone, counts): (&str, TargetCounts)| ZoneCounts {
            zone: zone.to_owned(),
            counts,
        };
        TargetsSeen {
            all,
            by_kind: kinds.into_iter().map(kind).collect(),
            by_zone: zones.into_iter().map(zone).collect(),
        }
    }
}

impl TargetCounts {
    fn add(&mut self, other: &TargetCounts) {
        self.total += other.total;
        self.reachable += other.reachable;
        self.unreachable += other.unreachable;
        self.unknown += other.unknown;
        self.quarantined += other.quarantined;
        self.maintenance += other.maintenance;
        self.failing += other.failing;
    }
}

fn each(counts: &mut TargetCounts, standing: Standing, change: impl Fn(&mut u64)) {
    change(&mut counts.total);
    change(match standing.reach {
        Reach::Unknown => &mut counts.unknown,
        Reach::Yes => &mut counts.reachable,
        Reach::No => &mut counts.unreachable,
    });
    for (is, count) in [
        (standing.quarantined, &mut counts.quarantined),
        (standing.maintenance, &mut counts.maintenance),
        (standing.failing, &mut counts.failing),
    ] {
        if is {
            change(count);
        }
    }
}
