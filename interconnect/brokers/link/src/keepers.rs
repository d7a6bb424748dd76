//! Who keeps which retained key: when a connection is gone for longer than the grace, what it kept is withdrawn, unless
//! somebody retained it again. A WEE that dies without a word leaves no announcement behind.

use crate::limits::BROKER_MAX;
use bytes::Bytes;
use sengu_interconnect::{Broker, BrokerError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep_until, timeout};

/// Wait before the broker is asked again to take a key away.
const WITHDRAW_RETRY: Duration = Duration::from_secs(1);

pub struct Keepers {
    broker: Arc<dyn Broker>,
    grace: Duration,
    /// By key. The lock is held while the broker is told, so that it hears of changes in the order made here.
    kept: Mutex<HashMap<String, Kept>>,
    ended: Notify,
}

struct Kept {
    connection: u64,
    /// Its connection is gone.
    until: Option<Instant>,
}

impl Keepers {
    pub fn new(broker: Arc<dyn Broker>, grace: Duration) -> Keepers {
        Keepers {
            broker,
            grace,
            kept: Mutex::default(),
            ended: Notify::new(),
        }
    }

    /// # Errors
    /// What the broker says; `Away` when it says nothing.
    pub async fn retain(
        &self,
        connection: u64,
        key: String,
        value: Option<Bytes>,
    ) -> Result<(), BrokerError> {
        let mut kept = self.kept.lock().await;
        let keeps = value.is_some();
        let told = timeout(BROKER_MAX, self.broker.retain(key.clone(), value)).await;
        told.unwrap_or(Err(BrokerError::Away(None)))?;
        if keeps {
            let until = None;
            kept.insert(key, Kept { connection, until });
        } else {
            kept.remove(&key);
        }
        Ok(())
    }

    /// The connection is gone.
    pub async fn end(&self, connection: u64) {
        let until = Instant::now() + self.grace;
        let mut kept = self.kept.lock().await;
        for keeper in kept.values_mut() {
            if keeper.connection == connection {
                keeper.until = Some(until);
            }
        }
        drop(kept);
        self.ended.notify_one();
    }

    /// Withdraws what is due, for ever.
    pub async fn run(&self) {
        loop {
            let next = self
                .kept
                .lock()
                .await
                .values()
                .filter_map(|k| k.until)
                .min();
            match next {
                Some(next) => tokio::select! {
                    () = sleep_until(next) => self.withdraw().await,
                    () = self.ended.notified() => {}
                },
                None => self.ended.notified().await,
            }
        }
    }

    async fn withdraw(&self) {
        let mut kept = self.kept.lock().await;
        let now = Instant::now();
        let due = kept
            .iter()
            .filter(|(_, k)| k.until.is_some_and(|u| u <= now));
        let due: Vec<String> = due.map(|(key, _)| key.clone()).collect();
        for key in due {
            let told = timeout(BROKER_MAX, self.broker.retain(key.clone(), None)).await;
            match told.unwrap_or(Err(BrokerError::Away(None))) {
                Ok(()) => {
                    tracing::info!(key, "withdrawn: who retained it is gone");
                    kept.remove(&key);
                }
                Err(e) => {
                    tracing::warn!(key, error = %e, "withdraw");
                    if let Some(keeper) = kept.get_mut(&key) {
                        keeper.until = Some(now + WITHDRAW_RETRY);
                    }
                }
            }
        }
    }
}
