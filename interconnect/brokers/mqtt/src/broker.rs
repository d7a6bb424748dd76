//! The broker as sengu sees it: one connection for all that is said, kept up for ever, and one more for each directory
//! or queue that is followed.

use crate::directory::MqttDirectory;
use crate::error::{MqttError, away};
use crate::keeper::{Again, client_id};
use crate::limits::Pace;
use crate::names::Names;
use crate::queues::Queues;
use crate::retained::{Retained, say_again};
use crate::session::{Session, Wish};
use crate::subscription::MqttSubscription;
use crate::wire::Way;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use sengu_interconnect::address::Address;
use sengu_interconnect::contact::Contact;
use sengu_interconnect::events::{Followers, Keep, Told};
use sengu_interconnect::{Broker, BrokerError, Directory, Message, Queue, Subscription};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// A broker that speaks MQTT 5.
pub struct MqttBroker {
    core: Arc<Core>,
    task: AbortHandle,
}

pub(crate) struct Core {
    /// None when the address cannot be used at all.
    way: Option<Way>,
    pub name: String,
    prefix: String,
    pub names: Names,
    pub pace: Pace,
    state: watch::Sender<State>,
    contact: watch::Sender<Contact>,
    retained: Mutex<Retained>,
    /// Values of one key are said in the order in which they are remembered.
    retaining: tokio::sync::Mutex<()>,
    pub queues: Queues,
}

#[derive(Clone)]
enum State {
    There(Arc<Session>),
    Away(Arc<MqttError>),
}

impl MqttBroker {
    /// Connects in the background and for ever; must be called within a tokio runtime. `name` is for people who look at
    /// the broker's clients.
    pub fn open(address: Address, name: String) -> Arc<MqttBroker> {
        MqttBroker::open_at(address, name, Pace::USUAL)
    }

    /// As `open`, at a pace of its own.
    pub fn open_at(address: Address, name: String, pace: Pace) -> Arc<MqttBroker> {
        let prefix = address.prefix.clone();
        let (way, why) = match Way::new(address) {
            Ok(way) => (Some(way), MqttError::NotYet),
            Err(why) => (None, why),
        };
        let contact = Contact::Away {
            since: Instant::now(),
            why: why.text(),
        };
        let core = Arc::new(Core {
            way,
            name,
            names: Names::new(&prefix),
            prefix,
            pace,
            state: watch::Sender::new(State::Away(Arc::new(why))),
            contact: watch::Sender::new(contact),
            retained: Mutex::default(),
            retaining: tokio::sync::Mutex::default(),
            queues: Queues::default(),
        });
        let task = tokio::spawn(keep_there(core.clone())).abort_handle();
        Arc::new(MqttBroker { core, task })
    }

    /// Waits until it is there, for a start that wants to know.
    ///
    /// # Errors
    /// Why it is not: at once where waiting does not help, as with a wrong password, and else after `limit`.
    pub async fn until_there(&self, limit: Duration) -> Result<(), Arc<MqttError>> {
        let mut state = self.core.state.subscribe();
        let settled = state.wait_for(|state| match state {
            State::There(_) => true,
            State::Away(why) => why.is_hopeless(),
        });
        // Whether or not it was in time, the state tells.
        let _ = timeout(limit, settled).await.is_ok();
        match &*self.core.state.borrow() {
            State::There(_) => Ok(()),
            State::Away(why) => Err(why.clone()),
        }
    }
}

impl Drop for MqttBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Core {
    /// # Errors
    /// Why the broker is away.
    pub fn session(&self) -> Result<Arc<Session>, Arc<MqttError>> {
        match &*self.state.borrow() {
            State::There(session) => match session.why_dead() {
                None => Ok(session.clone()),
                Some(why) => Err(why),
            },
            State::Away(why) => Err(why.clone()),
        }
    }

    /// # Errors
    /// Why the address cannot be used at all.
    pub fn way(&self) -> Result<&Way, Arc<MqttError>> {
        self.way
            .as_ref()
            .ok_or_else(|| match &*self.state.borrow() {
                State::Away(why) => why.clone(),
                State::There(_) => Arc::new(MqttError::Closing),
            })
    }

    /// The connection as soon as there is one; None when there never will be.
    pub async fn next_session(&self) -> Option<Arc<Session>> {
        let mut state = self.state.subscribe();
        let ready = state.wait_for(|state| match state {
            State::There(session) => session.why_dead().is_none(),
            State::Away(why) => matches!(**why, MqttError::Closing),
        });
        match ready.await.as_deref() {
            Ok(State::There(session)) => Some(session.clone()),
            _ => None,
        }
    }

    /// `call` with its limit of time.
    ///
    /// # Errors
    /// What went wrong with it, or that it took too long.
    pub async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, Arc<MqttError>>>,
    ) -> Result<T, BrokerError> {
        let limit = self.pace.call_max;
        let late = || {
            Arc::new(MqttError::Late {
                ms: limit.as_millis(),
            })
        };
        let done = timeout(limit, call).await.unwrap_or_else(|_| Err(late()));
        done.map_err(away)
    }

    async fn retain(&self, key: &str, value: Option<Bytes>) -> Result<(), Arc<MqttError>> {
        let topic = self.names.key(key)?;
        if value.as_ref().is_some_and(Bytes::is_empty) {
            let key = key.to_owned();
            return Err(Arc::new(MqttError::Empty { key }));
        }
        let body = value.clone().unwrap_or_default();
        let (session, published) = {
            let _in_order = self.retaining.lock().await;
            let session = self.session();
            if let Ok(session) = &session {
                session.fits(&topic, &body)?;
            }
            self.retained.lock().remember(key, value)?;
            let session = session?;
            let published = session.publish(&topic, body, true, None).await?;
            (session, published)
        };
        session.answer(published).await?;
        Ok(())
    }

    async fn tell(&self, batch: Vec<Told>) -> Result<(), Arc<MqttError>> {
        let session = self.session()?;
        let mut sent = Vec::with_capacity(batch.len());
        let mut refused = None;
        for told in batch {
            let topic = told.topic.encoded(&self.prefix, '/');
            let retain = told.keep == Keep::Latest;
            match session.publish(&topic, told.body, retain, None).await {
                Ok(published) => sent.push(published),
                // It will never be taken; the others need not suffer for it.
                Err(why) if matches!(*why, MqttError::TooLarge { .. }) => refused = Some(why),
                Err(why) => return Err(why),
            }
        }
        for published in sent {
            session.answer(published).await?;
        }
        refused.map_or(Ok(()), Err)
    }
}

/// Tells all when the task ends, also when it is aborted.
struct Keeper(Arc<Core>);

impl Drop for Keeper {
    fn drop(&mut self) {
        away_now(&self.0, Arc::new(MqttError::Closing));
    }
}

fn away_now(core: &Core, why: Arc<MqttError>) {
    let text = why.text();
    core.contact.send_modify(|contact| {
        let since = match contact {
            Contact::Away { since, .. } | Contact::Blocked { since, .. } => *since,
            Contact::There => Instant::now(),
        };
        *contact = Contact::Away { since, why: text };
    });
    core.state.send_replace(State::Away(why));
}

async fn keep_there(core: Arc<Core>) {
    let keeper = Keeper(core);
    let core = &keeper.0;
    let Some(way) = &core.way else {
        // Nobody can mend the address but a person, who starts this again.
        let why = match &*core.state.borrow() {
            State::Away(why) => why.clone(),
            State::There(_) => return,
        };
        tracing::error!(error = why.text(), "this MQTT broker cannot be used");
        std::future::pending::<()>().await;
        return;
    };
    let address = way.address.to_string();
    let mut again = Again::new();
    loop {
        let why = match enter(core, way).await {
            Ok(session) => {
                let (session, began) = (Arc::new(session), Instant::now());
                tracing::info!(address, name = core.name, "connected to the MQTT broker");
                core.state.send_replace(State::There(session.clone()));
                core.contact.send_replace(Contact::There);
                let why = session.died().await;
                again.lasted(began);
                why
            }
            Err(why) => why,
        };
        away_now(core, why.clone());
        again.wait(&address, &why).await;
    }
}

/// A connection that the broker can be used over, with all said again that this process has retained.
async fn enter(core: &Arc<Core>, way: &Way) -> Result<Session, Arc<MqttError>> {
    let this = core.clone();
    let wish = Wish {
        client_id: client_id(&core.name),
        pace: core.pace,
        on_publish: Box::new(move |publish| this.queues.on_publish(&this.names, &publish)),
    };
    let session = Session::open(way, wish).await?;
    if session.granted.qos == 0 {
        return Err(Arc::new(MqttError::NoQos));
    }
    if !session.granted.retained {
        return Err(Arc::new(MqttError::NoRetained));
    }
    let all = core.retained.lock().all();
    say_again(&session, &core.names, all).await?;
    Ok(session)
}

impl Broker for MqttBroker {
    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move { self.core.publish(batch).await }.boxed()
    }

    fn subscribe(
        &self,
        queue: Queue,
        credit: u32,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, BrokerError>> {
        async move {
            let core = &self.core;
            core.session().map_err(away)?;
            let opened = MqttSubscription::open(core.clone(), queue, credit);
            let opened = core.in_time(opened).await?;
            Ok(Box::new(opened) as Box<dyn Subscription>)
        }
        .boxed()
    }

    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
        let depth = self.core.queues.depth(&queue) as u64;
        std::future::ready(Ok(depth)).boxed()
    }

    fn retain(&self, key: String, value: Option<Bytes>) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move { self.core.in_time(self.core.retain(&key, value)).await }.boxed()
    }

    fn directory(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Directory>, BrokerError>> {
        async move {
            let core = &self.core;
            core.session().map_err(away)?;
            let way = core.way().map_err(away)?.clone();
            let names = core.names.clone();
            let followed = MqttDirectory::follow(way, &core.name, names, prefix, core.pace).await;
            Ok(Box::new(followed.map_err(away)?) as Box<dyn Directory>)
        }
        .boxed()
    }

    fn lacks(&self) -> Vec<String> {
        [
            "messages that nobody has room for yet are kept by the process that sends them, and are lost with it",
            "what a subscriber has is given to others when it leaves or loses its connection, but not when its process is killed",
            "the depth of a queue counts what this process keeps of it alone",
            "an empty value cannot be retained",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn contact(&self) -> watch::Receiver<Contact> {
        self.core.contact.subscribe()
    }
}

impl Followers for MqttBroker {
    fn tell(&self, batch: Vec<Told>) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move { self.core.in_time(self.core.tell(batch)).await }.boxed()
    }

    fn lacks(&self) -> Vec<String> {
        vec![
            "who is not connected while an event is told gets the latest value of its topic at most"
                .to_owned(),
        ]
    }
}
