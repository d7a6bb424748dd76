//! What the WEE says of itself: which pools it has, how they are, and what their instances did wrong.

use crate::offer::Pool;
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
/// The broker may be away when the WEE leaves; it leaves all the same.
const TAKE_BACK_MAX: Duration = Duration::from_secs(2);

pub struct Announce {
    /// The newest one. Its pools and time change, the rest does not.
    newest: WeeAnnouncement,
    sender: watch::Sender<Arc<WeeAnnouncement>>,
    pub under_way: bool,
    next_ms: u64,
    /// Said again by then even if nothing changed, so that its age tells whether this WEE lives.
    again_ms: u64,
}

impl Announce {
    pub fn new(
        config: &WeeConfig,
        runtimes: &[Arc<dyn Runtime>],
    ) -> (Announce, watch::Receiver<Arc<WeeAnnouncement>>) {
        let words = runtimes.iter().flat_map(|runtime| {
            let name = runtime.name().to_owned();
            runtime
                .isolation()
                .into_iter()
                .map(move |word| format!("{name}: {word}"))
        });
        let newest = WeeAnnouncement {
            v: VERSION,
            name: config.name.clone(),
            zone: config.zone.clone(),
            sengu_version: config.sengu_version.clone(),
            runtimes: runtimes.iter().map(|r| r.name().to_owned()).collect(),
            isolation: words.collect(),
            pools: Vec::new(),
            at: sengu_model::Time(0),
        };
        let (sender, receiver) = watch::channel(Arc::new(newest.clone()));
        let announce = Announce {
            newest,
            sender,
            under_way: false,
            next_ms: 0,
            again_ms: 0,
        };
        (announce, receiver)
    }
}

impl Shell {
    pub fn announce_changes(&mut self) {
        if self.announce.under_way || self.now_ms < self.announce.next_ms {
            return;
        }
        self.announce.next_ms = self.now_ms + EVERY_MS;
        let pools: Vec<PoolAnnouncement> = self.pools.iter().filter_map(|p| self.tell(p)).collect();
        if pools == self.announce.newest.pools && self.now_ms < self.announce.again_ms {
            return;
        }
        self.announce.again_ms = self.now_ms + limits::BEAT_MS;
        self.announce.newest.pools = pools;
        self.announce.newest.at = self.now;
        self.announce
            .sender
            .send_replace(Arc::new(self.announce.newest.clone()));
        let Ok(body) = serde_json::to_vec(&self.announce.newest) else {
            return;
        };
        self.announce.under_way = true;
        let (broker, key) = (self.broker.clone(), self.wee_key());
        self.source(async move {
            if let Err(e) = broker.retain(key, Some(Bytes::from(body))).await {
                tracing::warn!(error = %e, "announce");
            }
            Event::Announced
        });
    }

    fn tell(&self, pool: &Pool) -> Option<PoolAnnouncement> {
        if pool.closed.is_some() && pool.instances.is_empty() {
            return None;
        }
        let instances = pool
            .instances
            .iter()
            .filter_map(|key| self.instances.get(key));
        Some(PoolAnnouncement {
            kind: pool.kind.to_string(),
            version: pool.image.version.clone(),
            digest: pool.image.digest.clone(),
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

    fn wee_key(&self) -> String {
        format!("wee/{}", self.config.name)
    }

    pub async fn take_back_announcement(&mut self) {
        let (broker, key) = (self.broker.clone(), self.wee_key());
        let retained = broker.retain(key, None);
        match tokio::time::timeout(TAKE_BACK_MAX, retained).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(error = %e, "take the announcement back"),
            Err(_) => tracing::warn!("the broker did not take the announcement back in time"),
        }
    }
}
