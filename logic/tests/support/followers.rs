//! A broker for followers in memory, that can be away, slow, or refuse what is large.

use bytes::Bytes;
use futures::future::BoxFuture;
use sengu_interconnect::BrokerError;
use sengu_interconnect::events::{Followers, Keep, Told};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Clone)]
pub struct MemoryFollowers(Arc<Inner>);

struct Inner {
    told: Mutex<Vec<(String, Value)>>,
    retained: Mutex<BTreeMap<String, Bytes>>,
    away: AtomicBool,
    /// Takes nothing over and says nothing.
    stuck: AtomicBool,
    bytes_max: AtomicUsize,
    refusals: AtomicUsize,
}

impl MemoryFollowers {
    pub fn new() -> MemoryFollowers {
        MemoryFollowers(Arc::new(Inner {
            told: Mutex::default(),
            retained: Mutex::default(),
            away: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            bytes_max: AtomicUsize::new(usize::MAX),
            refusals: AtomicUsize::new(0),
        }))
    }

    pub fn set_away(&self, away: bool) {
        self.0.away.store(away, Ordering::SeqCst);
    }
    pub fn set_stuck(&self, stuck: bool) {
        self.0.stuck.store(stuck, Ordering::SeqCst);
    }
    pub fn set_bytes_max(&self, bytes: usize) {
        self.0.bytes_max.store(bytes, Ordering::SeqCst);
    }
    pub fn refusals(&self) -> usize {
        self.0.refusals.load(Ordering::SeqCst)
    }

    /// Events below a topic, in order.
    pub fn below(&self, prefix: &str) -> Vec<(String, Value)> {
        let told = self.0.told.lock().unwrap();
        let below = told.iter().filter(|(topic, _)| topic.starts_with(prefix));
        below.cloned().collect()
    }

    pub fn retained(&self) -> Vec<String> {
        self.0.retained.lock().unwrap().keys().cloned().collect()
    }

    pub fn retained_value(&self, topic: &str) -> Option<Value> {
        let retained = self.0.retained.lock().unwrap();
        retained
            .get(topic)
            .map(|b| serde_json::from_slice(b).unwrap())
    }

    /// All that was ever told, as text.
    pub fn text(&self) -> String {
        let told = self.0.told.lock().unwrap();
        told.iter()
            .map(|(topic, body)| format!("{topic} {body}\n"))
            .collect()
    }
}

impl Followers for MemoryFollowers {
    fn tell(&self, batch: Vec<Told>) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            while self.0.stuck.load(Ordering::SeqCst) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            if self.0.away.load(Ordering::SeqCst) {
                self.0.refusals.fetch_add(1, Ordering::SeqCst);
                return Err(BrokerError::Away(None));
            }
            let bytes_max = self.0.bytes_max.load(Ordering::SeqCst);
            for told in batch {
                if told.body.len() > bytes_max {
                    let bytes = told.body.len();
                    return Err(BrokerError::TooLarge { bytes, bytes_max });
                }
                let topic = told.topic.encoded("sengu", '/');
                let mut retained = self.0.retained.lock().unwrap();
                match (told.keep, told.body.is_empty()) {
                    (Keep::Latest, true) => drop(retained.remove(&topic)),
                    (Keep::Latest, false) => {
                        drop(retained.insert(topic.clone(), told.body.clone()))
                    }
                    (Keep::No, _) => {}
                }
                let body = serde_json::from_slice(&told.body).unwrap_or_default();
                self.0.told.lock().unwrap().push((topic, body));
            }
            Ok(())
        })
    }

    fn lacks(&self) -> Vec<String> {
        Vec::new()
    }
}
