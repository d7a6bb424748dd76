//! What the WEE says of itself: which pools it has, how they are, and what their instances did wrong.

use crate::pools::Pool;
use crate::shell::{Event, Shell};
use crate::{Runtime, WeeConfig};
use bytes::Bytes;
use sengu_model::limits;
use sengu_model::wire::envelope::{PoolAnnouncement, VERSION, WeeAnnouncement};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// An announcement at most this often.
const EVERY_MS: u64 = 500;
/// A longer one goes out only with the next beat when nothing but counters has changed, in bytes: all who follow this
/// WEE read it whole.
const SHORT_BYTES_MAX: usize = 32 << 10;
/// So long the first one waits for what is under this WEE's name already: it may be another's.
const NAMESAKES_WAIT_MS: u64 = 2_000;
/// The broker may be away when the WEE leaves; it leaves all the same.
const TAKE_BACK_MAX: Duration = Duration::from_secs(2);

pub struct Announce {
    /// The newest one. Its pools and time change, the rest does not.
    newest: WeeAnnouncement,
    sender: watch::Sender<Arc<WeeAnnouncement>>,
    under_way: bool,
    /// Something may have changed since it was put together.
    pub stale: bool,
    /// One has been taken over by the broker.
    pub said: bool,
    /// Of the last one.
    bytes: usize,
    next_ms: u64,
    /// Said again by then even if nothing changed, so that its age tells whether this WEE lives.
    again_ms: u64,
}

impl Announce {
    pub fn new(
        config: &WeeConfig,
        runtimes: &[Arc<dyn Runtime>],
    ) -> (Announce, watch::Receiver<Arc<WeeAnnouncement>>) {
        let newest = WeeAnnouncement {
            v: VERSION,
            name: config.name.clone(),
            zone: config.zone.clone(),
            labels: config.labels.clone(),
            life: config.life,
            spec: sengu_model::wire::envelope::WeeSpec::default(),
            embedded: config.embedded,
            sengu_version: config.sengu_version.clone(),
            runtimes: runtimes.iter().map(|r| r.name().to_owned()).collect(),
            isolation: words(runtimes),
            pools: Vec::new(),
            at: sengu_model::Time(0),
        };
        let (sender, receiver) = watch::channel(Arc::new(newest.clone()));
        let announce = Announce {
            newest,
            sender,
            under_way: false,
            stale: true,
            said: false,
            bytes: 0,
            next_ms: 0,
            again_ms: 0,
        };
        (announce, receiver)
    }

    /// Whether it changes or not, it is said once more, and soon.
    pub fn say_again(&mut self) {
        self.again_ms = 0;
        self.next_ms = 0;
    }
}

/// What the runtimes enforce. An engine may come later, so it is asked for again.
fn words(runtimes: &[Arc<dyn Runtime>]) -> Vec<String> {
    let words = |runtime: &Arc<dyn Runtime>| {
        let name = runtime.name().to_owned();
        let words = runtime.isolation().into_iter();
        words.map(move |word| format!("{name}: {word}"))
    };
    runtimes.iter().flat_map(words).collect()
}

/// Whether what others decide by is the same in both: not what only counts on with each task.
fn only_counts(a: &[PoolAnnouncement], b: &[PoolAnnouncement]) -> bool {
    let decisive = |pool: &PoolAnnouncement| PoolAnnouncement {
        slots_busy: 0,
        ended: 0,
        failed: 0,
        ..pool.clone()
    };
    a.len() == b.len() && (a.iter().zip(b)).all(|(a, b)| a == b || decisive(a) == decisive(b))
}

impl Shell {
    pub fn announce_changes(&mut self) {
        let announce = &self.announce;
        let due = announce.stale || self.now_ms >= announce.again_ms;
        if !self.standing.namesakes_read && self.now_ms < NAMESAKES_WAIT_MS {
            return;
        }
        if announce.under_way || !due || self.now_ms < announce.next_ms {
            return;
        }
        self.announce.next_ms = self.now_ms + EVERY_MS;
        let beat = self.now_ms >= self.announce.again_ms;
        let mut soon = true;
        if std::mem::take(&mut self.announce.stale) {
            let pools: Vec<PoolAnnouncement> = self
                .pools
                .iter()
                .filter_map(|(_, p)| self.tell(p))
                .collect();
            let spec = self.told_spec();
            let newest = &mut self.announce.newest;
            let same = *newest.pools == pools && newest.spec == spec;
            let calm = newest.spec == spec && only_counts(&newest.pools, &pools);
            let too_long = self.announce.bytes > SHORT_BYTES_MAX;
            soon = !(same || (calm && too_long));
            newest.pools = pools;
            newest.spec = spec;
            newest.at = self.now;
            if !same {
                let newest = Arc::new(newest.clone());
                self.announce.sender.send_replace(newest);
            }
        }
        if !beat && !soon {
            return;
        }
        self.announce.again_ms = self.now_ms + limits::BEAT_MS;
        if self.stays_out() {
            return; // under this name another one speaks
        }
        self.announce.newest.at = self.now;
        self.announce.newest.isolation = words(&self.runtimes);
        let Ok(body) = serde_json::to_vec(&self.announce.newest) else {
            return;
        };
        self.announce.bytes = body.len();
        self.announce.under_way = true;
        let (broker, key) = (self.broker.clone(), self.wee_key());
        self.source(async move {
            let said = broker.retain(key, Some(Bytes::from(body))).await;
            if let Err(e) = &said {
                tracing::warn!(error = %e, "announce");
            }
            Event::Announced(said.is_ok())
        });
    }

    pub fn on_announced(&mut self, said: bool) {
        self.announce.under_way = false;
        self.announce.said |= said;
        if !said {
            self.announce.again_ms = 0;
        }
    }

    fn tell(&self, pool: &Pool) -> Option<PoolAnnouncement> {
        if pool.closed.is_some() && pool.instances.is_empty() {
            return None;
        }
        let instances = pool
            .instances
            .iter()
            .filter_map(|key| self.instances.get(key));
        let runtime = pool.runtime.as_ref();
        Some(PoolAnnouncement {
            kind: pool.kind.to_string(),
            version: pool.version.to_string(),
            digest: pool.image.digest.clone(),
            runtime: runtime.map_or_else(String::new, |r| r.name().to_owned()),
            slots_max: pool.slots_max(),
            slots_busy: instances.clone().map(|i| i.busy).sum(),
            instances: u32::try_from(instances.count()).unwrap_or(u32::MAX),
            restarts: pool.restarts,
            ended: pool.ended,
            failed: pool.failed,
            complaints: pool.complaints.lines(),
            broken: pool.broken.clone().or_else(|| pool.closed.clone()),
        })
    }

    pub fn wee_key(&self) -> String {
        format!("wee/{}", self.config.name)
    }

    pub async fn take_back_announcement(&mut self) {
        if self.stays_out() {
            return; // it is another's
        }
        let (broker, key) = (self.broker.clone(), self.wee_key());
        let retained = broker.retain(key, None);
        match tokio::time::timeout(TAKE_BACK_MAX, retained).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(error = %e, "take the announcement back"),
            Err(_) => tracing::warn!("the broker did not take the announcement back in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_counters_may_wait_for_the_beat() {
        let pool = PoolAnnouncement {
            kind: "echo".to_owned(),
            version: "1.0.0".to_owned(),
            digest: String::new(),
            runtime: String::new(),
            slots_max: 4,
            slots_busy: 1,
            instances: 1,
            restarts: 0,
            ended: 5,
            failed: 0,
            complaints: Vec::new(),
            broken: None,
        };
        let busier = PoolAnnouncement {
            slots_busy: 3,
            ended: 99,
            failed: 2,
            ..pool.clone()
        };
        let broken = PoolAnnouncement {
            broken: Some("why".to_owned()),
            ..pool.clone()
        };
        let crashed = PoolAnnouncement {
            restarts: 1,
            complaints: vec!["it died".to_owned()],
            ..pool.clone()
        };
        let one = std::slice::from_ref(&pool);
        assert!(only_counts(one, &[busier]));
        assert!(!only_counts(one, &[broken]) && !only_counts(one, &[crashed]));
        assert!(!only_counts(one, &[]) && only_counts(&[], &[]));
    }
}
