//! Follows the retained directory over a connection of its own, and over another when that is gone: whoever follows
//! notices only the changes.
//!
//! MQTT does not tell where the retained messages end. So each part of the directory is asked for on its own, and then a
//! message to oneself: brokers deliver to one client in the order in which they took it up, so that what was there
//! before has come when that arrives. A broker that breaks this order only makes entries look newer than they are.

use crate::error::{MqttError, away};
use crate::keeper::{Again, client_id};
use crate::limits::{ENTRIES_MAX, Pace};
use crate::names::Names;
use crate::session::{Session, Wish};
use crate::wire::Way;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Publish, RetainForwardRule};
use sengu_interconnect::{BrokerError, Directory, Entries};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

pub(crate) struct MqttDirectory {
    shared: Arc<Shared>,
    first: bool,
    task: AbortHandle,
}

struct Shared {
    names: Names,
    prefix: String,
    view: Mutex<View>,
    changed: Notify,
    /// Number of the last message to oneself that arrived.
    marked: watch::Sender<u64>,
}

#[derive(Default)]
struct View {
    known: HashMap<String, Bytes>,
    /// Not given to the caller yet.
    changes: BTreeMap<String, Option<Bytes>>,
    /// What was heard of while a new connection shows all that is there: the rest is gone from the broker.
    heard: Option<HashSet<String>>,
    full: bool,
}

impl View {
    fn set(&mut self, key: String, value: Option<Bytes>) -> bool {
        if let Some(heard) = &mut self.heard {
            heard.insert(key.clone());
        }
        let before = self.known.get(&key);
        if before == value.as_ref() {
            return false;
        }
        match &value {
            Some(_) if before.is_none() && self.known.len() >= ENTRIES_MAX => {
                self.full = true;
                return false;
            }
            Some(value) => {
                self.known.insert(key.clone(), value.clone());
            }
            None => {
                self.known.remove(&key);
            }
        }
        self.changes.insert(key, value);
        true
    }

    /// Forgets what a new connection did not show.
    fn drop_unheard(&mut self) {
        let heard = self.heard.take().unwrap_or_default();
        let gone: Vec<String> = (self.known.keys())
            .filter(|key| !heard.contains(*key))
            .cloned()
            .collect();
        for key in gone {
            self.set(key, None);
        }
    }
}

impl MqttDirectory {
    /// Ready when all that is there has been seen.
    ///
    /// # Errors
    /// Why it could not be seen in time.
    pub async fn follow(
        way: Way,
        name: &str,
        names: Names,
        prefix: String,
        pace: Pace,
    ) -> Result<MqttDirectory, Arc<MqttError>> {
        let shared = Arc::new(Shared {
            names,
            prefix,
            view: Mutex::default(),
            changed: Notify::new(),
            marked: watch::Sender::new(0),
        });
        let client_id = client_id(name);
        let late = |_| MqttError::Late {
            ms: pace.call_max.as_millis(),
        };
        let session = timeout(pace.call_max, shared.enter(&way, client_id.clone(), pace));
        let session = session.await.map_err(late)??;
        let task = tokio::spawn(keep_following(
            shared.clone(),
            session,
            way,
            client_id,
            pace,
        ));
        let task = task.abort_handle();
        Ok(MqttDirectory {
            shared,
            first: true,
            task,
        })
    }
}

impl Drop for MqttDirectory {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// A connection that has seen all that is there.
    async fn enter(
        self: &Arc<Self>,
        way: &Way,
        client_id: String,
        pace: Pace,
    ) -> Result<Session, Arc<MqttError>> {
        self.view.lock().heard = Some(HashSet::new());
        let own = self.names.mark(&client_id);
        let (this, mark) = (self.clone(), own.clone());
        let wish = Wish {
            client_id,
            pace,
            on_publish: Box::new(move |publish| this.on_publish(&mark, publish)),
        };
        let session = Session::open(way, wish).await?;
        if !session.granted.retained {
            return Err(Arc::new(MqttError::NoRetained));
        }
        // QoS 0: the connection keeps what it carries, and the broker's queue for acknowledged messages is short.
        let rule = RetainForwardRule::OnEverySubscribe;
        session
            .subscribe(&own, QoS::AtMostOnce, rule.clone())
            .await?;
        for filter in self.names.keys_below(&self.prefix) {
            session
                .subscribe(&filter, QoS::AtMostOnce, rule.clone())
                .await?;
            self.round_trip(&session, &own, pace).await?;
        }
        let mut view = self.view.lock();
        if view.full {
            return Err(Arc::new(MqttError::Entries));
        }
        view.drop_unheard();
        drop(view);
        self.changed.notify_one();
        Ok(session)
    }

    async fn round_trip(
        &self,
        session: &Session,
        own: &str,
        pace: Pace,
    ) -> Result<(), Arc<MqttError>> {
        let mut marked = self.marked.subscribe();
        let number = *marked.borrow() + 1;
        let body = Bytes::from(number.to_string());
        let published = session.publish(own, body, false, None).await?;
        session.answer(published).await?;
        let late = |_| {
            Arc::new(MqttError::Late {
                ms: pace.call_max.as_millis(),
            })
        };
        tokio::select! {
            arrived = timeout(pace.call_max, marked.wait_for(|last| *last >= number)) => {
                arrived.map_err(late)?.map_err(|_| Arc::new(MqttError::Closing))?;
                Ok(())
            }
            why = session.died() => Err(why),
        }
    }

    fn on_publish(&self, own: &str, publish: Publish) {
        let Ok(topic) = std::str::from_utf8(&publish.topic) else {
            return;
        };
        if topic == own {
            let number = std::str::from_utf8(&publish.payload).ok();
            if let Some(number) = number.and_then(|text| text.parse().ok()) {
                self.marked.send_replace(number);
            }
            return;
        }
        let Some(key) = self
            .names
            .key_of(topic)
            .filter(|key| key.starts_with(&self.prefix))
        else {
            return;
        };
        // A copy: the message is part of what was read at once, which would stay in memory with it.
        let value = match publish.payload.is_empty() {
            true => None,
            false => Some(Bytes::copy_from_slice(&publish.payload)),
        };
        if self.view.lock().set(key, value) {
            self.changed.notify_one();
        }
    }
}

async fn keep_following(
    shared: Arc<Shared>,
    mut session: Session,
    way: Way,
    client_id: String,
    pace: Pace,
) {
    let mut again = Again::new();
    let address = way.address.to_string();
    loop {
        let began = Instant::now();
        let mut why = session.died().await;
        again.lasted(began);
        session = loop {
            again.wait(&address, &why).await;
            match shared.enter(&way, client_id.clone(), pace).await {
                Ok(session) => break session,
                Err(error) => why = error,
            }
        };
    }
}

impl Directory for MqttDirectory {
    fn next(&mut self) -> BoxFuture<'_, Result<Entries, BrokerError>> {
        async move {
            loop {
                let changes = {
                    let mut view = self.shared.view.lock();
                    if view.full {
                        return Err(away(Arc::new(MqttError::Entries)));
                    }
                    std::mem::take(&mut view.changes)
                };
                if self.first {
                    self.first = false;
                    return Ok(changes
                        .into_iter()
                        .filter(|(_, value)| value.is_some())
                        .collect());
                }
                if !changes.is_empty() {
                    return Ok(changes.into_iter().collect());
                }
                self.shared.changed.notified().await;
            }
        }
        .boxed()
    }
}
