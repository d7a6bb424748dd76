//! The broker: keeps a connection in the background, for ever, and does over it what it is asked for. When there is
//! none, it says so at once; nothing is kept for later but acks.

use crate::conn::Conn;
use crate::connect::connect;
use crate::delivery::{Answer, Answered};
use crate::directory::{DELETED, NatsDirectory, OPERATION};
use crate::error::{NatsError, away};
use crate::limits::{
    BLOCKED_PROBE_EVERY, COMPLAIN_EVERY, DEPTH_MAX, GOOD_AFTER, LATER_MAX, RECONNECT_FIRST,
    RECONNECT_MAX,
};
use crate::names::Names;
use crate::publish::{self, Untaken, no_room, publish_one};
use crate::pump::Pump;
use crate::subscription::{NatsSubscription, Shared};
use crate::topology;
use async_nats::header::HeaderMap;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use sengu_interconnect::address::Address;
use sengu_interconnect::contact::Contact;
use sengu_interconnect::{Broker, BrokerError, Directory, Message, Queue, Subscription};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// NATS JetStream as interconnect.
pub struct NatsBroker {
    core: Arc<Core>,
    task: AbortHandle,
}

pub struct Core {
    address: Address,
    at: String,
    name: String,
    names: Arc<Names>,
    state: watch::Sender<State>,
    contact: watch::Sender<Contact>,
    blocked: Notify,
    retained: Mutex<Retained>,
    later: Mutex<Vec<Answered>>,
    later_added: Notify,
}

/// What this process retains, in case the server comes back without its data.
#[derive(Default)]
struct Retained {
    entries: BTreeMap<String, Bytes>,
    /// When the bucket was made that has them.
    bucket: Option<String>,
}

#[derive(Clone)]
enum State {
    Joined(Arc<Conn>),
    Away(NatsError),
    /// For ever.
    Ended,
}

impl NatsBroker {
    /// Connects in the background as `name`, which is for people; must be called within a tokio runtime.
    pub fn open(address: Address, name: String) -> Arc<NatsBroker> {
        let at = address.to_string();
        let why = NatsError::NotYet(at.clone());
        let contact = Contact::Away {
            since: Instant::now(),
            why: why.text(),
        };
        let core = Arc::new(Core {
            names: Arc::new(Names::new(&address.prefix)),
            address,
            at,
            name,
            state: watch::Sender::new(State::Away(why)),
            contact: watch::Sender::new(contact),
            blocked: Notify::new(),
            retained: Mutex::default(),
            later: Mutex::default(),
            later_added: Notify::new(),
        });
        let task = tokio::spawn(keep_joined(core.clone())).abort_handle();
        Arc::new(NatsBroker { core, task })
    }

    /// Waits until it is there, for a start that wants to know.
    ///
    /// # Errors
    /// Why it is not: at once where waiting does not mend it, and else after `limit`.
    pub async fn until_there(&self, limit: Duration) -> Result<(), NatsError> {
        let mut state = self.core.state.subscribe();
        let settled = state.wait_for(|state| match state {
            State::Joined(_) | State::Ended => true,
            State::Away(why) => !why.may_pass(),
        });
        // Whether or not it was in time, the state tells.
        let _ = timeout(limit, settled).await.is_ok();
        match &*self.core.state.borrow() {
            State::Joined(_) => Ok(()),
            State::Away(why) => Err(why.clone()),
            State::Ended => Err(NatsError::Closing),
        }
    }

    pub(crate) fn prefix(&self) -> &str {
        self.core.names.prefix()
    }

    /// The connection.
    ///
    /// # Errors
    /// At once when there is none.
    pub(crate) fn joined(&self) -> Result<Arc<Conn>, BrokerError> {
        match &*self.core.state.borrow() {
            State::Joined(conn) if conn.signals.is_lost() => Err(away(conn.gone())),
            State::Joined(conn) => Ok(conn.clone()),
            State::Away(why) => Err(away(why.clone())),
            State::Ended => Err(away(NatsError::Closing)),
        }
    }
}

impl Drop for NatsBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Core {
    /// Answers to deliveries of a connection that is gone: the server knows them by any connection.
    pub fn answer_later(&self, answers: Vec<Answered>) {
        if answers.is_empty() {
            return;
        }
        let mut later = self.later.lock();
        let room = LATER_MAX.saturating_sub(later.len());
        later.extend(answers.into_iter().take(room));
        drop(later);
        self.later_added.notify_one();
    }

    fn is_blocked(&self) -> bool {
        matches!(*self.contact.borrow(), Contact::Blocked { .. })
    }

    fn block(&self, why: String) {
        let news = self.contact.send_if_modified(|contact| {
            let news = *contact == Contact::There;
            if news {
                let since = Instant::now();
                *contact = Contact::Blocked { since, why };
            }
            news
        });
        if news {
            tracing::warn!(at = self.at, "NATS has no room left");
            self.blocked.notify_one();
        }
    }

    fn unblock(&self) {
        let news = self.contact.send_if_modified(|contact| {
            let news = matches!(contact, Contact::Blocked { .. });
            if news {
                *contact = Contact::There;
            }
            news
        });
        if news {
            tracing::info!(at = self.at, "NATS has room again");
        }
    }

    fn lose(&self, why: NatsError) {
        let text = why.text();
        self.contact.send_if_modified(|contact| match contact {
            Contact::Away { why, .. } => {
                let news = *why != text;
                text.clone_into(why);
                news
            }
            _ => {
                let since = Instant::now();
                *contact = Contact::Away {
                    since,
                    why: text.clone(),
                };
                true
            }
        });
        self.state.send_replace(State::Away(why));
    }
}

/// Tells all when the task ends, also when it is aborted.
struct Keeper {
    core: Arc<Core>,
    conn: Option<Arc<Conn>>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            // Subscriptions that still live end with it.
            conn.signals.lost();
        }
        self.core.lose(NatsError::Closing);
        self.core.state.send_replace(State::Ended);
    }
}

async fn keep_joined(core: Arc<Core>) {
    let mut keeper = Keeper {
        core: core.clone(),
        conn: None,
    };
    let mut wait = RECONNECT_FIRST;
    let mut said: Option<(String, Instant)> = None;
    loop {
        let why = match enter(&core).await {
            Ok(conn) => {
                tracing::info!(at = core.at, name = core.name, "joined NATS");
                said = None;
                let began = Instant::now();
                keeper.conn = Some(conn.clone());
                stay(&core, &conn).await;
                keeper.conn = None;
                if began.elapsed() >= GOOD_AFTER {
                    wait = RECONNECT_FIRST;
                }
                conn.gone()
            }
            Err(why) => why,
        };
        let text = why.text();
        core.lose(why);
        let repeated =
            |(before, at): &(String, Instant)| *before == text && at.elapsed() < COMPLAIN_EVERY;
        if !said.as_ref().is_some_and(repeated) {
            tracing::warn!(at = core.at, error = text, "NATS is away");
            said = Some((text, Instant::now()));
        }
        // Many lose their connection at the same moment; they need not all come back at another.
        tokio::time::sleep(wait.mul_f64(0.5 + dice())).await;
        wait = (wait * 2).min(RECONNECT_MAX);
    }
}

/// From 0 to 1.
fn dice() -> f64 {
    let mut byte = [128];
    // Without random bytes the waits are only less spread.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 256.0
}

async fn enter(core: &Core) -> Result<Arc<Conn>, NatsError> {
    let connected = connect(&core.address, &core.name).await?;
    let conn = Conn::new(
        connected.client,
        core.names.clone(),
        connected.signals,
        core.at.clone(),
    );
    let bucket = topology::ensure_all(&conn).await?;
    retain_again(core, &conn, bucket).await?;
    Ok(Arc::new(conn))
}

/// Tells a bucket that was made anew what this process retains.
async fn retain_again(core: &Core, conn: &Conn, bucket: String) -> Result<(), NatsError> {
    let entries = {
        let retained = core.retained.lock();
        match retained.bucket.as_ref() {
            Some(before) if *before != bucket => retained.entries.clone(),
            _ => BTreeMap::new(),
        }
    };
    for (key, value) in entries {
        let subject = conn.names.key_subject(&key);
        match publish_one(conn, subject, HeaderMap::new(), value).await {
            Ok(()) => {}
            Err(Untaken::Other(why)) => return Err(why),
            Err(Untaken::Full) => return Err(no_room("the bucket is full")),
            Err(Untaken::NoRoom(why)) => return Err(no_room(&why)),
        }
    }
    core.retained.lock().bucket = Some(bucket);
    Ok(())
}

/// Serves the connection until it is lost.
async fn stay(core: &Core, conn: &Arc<Conn>) {
    let answered = answer(core, conn).await;
    core.state.send_replace(State::Joined(conn.clone()));
    core.contact.send_replace(Contact::There);
    if answered.is_err() {
        return;
    }
    loop {
        let blocked = core.is_blocked();
        tokio::select! {
            biased;
            () = conn.signals.until_lost() => return,
            () = core.later_added.notified() => {
                if answer(core, conn).await.is_err() {
                    return;
                }
            }
            () = core.blocked.notified(), if !blocked => {}
            () = tokio::time::sleep(BLOCKED_PROBE_EVERY), if blocked => probe(core, conn).await,
        }
    }
}

/// Sends the answers of subscriptions whose connection is gone.
async fn answer(core: &Core, conn: &Conn) -> Result<(), ()> {
    let answers = std::mem::take(&mut *core.later.lock());
    for (to, answer) in answers {
        let body = Bytes::from_static(Answer::as_bytes(answer));
        conn.client.publish(to, body).await.map_err(|_| ())?;
    }
    Ok(())
}

/// Asks whether there is room again: whoever publishes may have stopped until there is.
async fn probe(core: &Core, conn: &Conn) {
    let body = Bytes::from_static(&[0; 1_024]);
    let subject = conn.names.probe_subject();
    if publish_one(conn, subject, HeaderMap::new(), body)
        .await
        .is_ok()
    {
        core.unblock();
    }
}

impl Broker for NatsBroker {
    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move {
            let conn = self.joined()?;
            match publish::publish(&conn, batch).await {
                Ok(()) => {
                    self.core.unblock();
                    Ok(())
                }
                Err((error, no_room)) => {
                    if let Some(why) = no_room {
                        self.core.block(why);
                    }
                    Err(error)
                }
            }
        }
        .boxed()
    }

    fn subscribe(
        &self,
        queue: Queue,
        credit: u32,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, BrokerError>> {
        async move {
            let conn = self.joined()?;
            topology::ensure_consumer(&conn, &queue)
                .await
                .map_err(away)?;
            let shared = Arc::new(Shared::default());
            shared.desk.lock().credit = credit as usize;
            let subscription = NatsSubscription::new(shared.clone(), self.core.clone());
            tokio::spawn(Pump::new(conn, self.core.clone(), shared, queue).run());
            Ok(Box::new(subscription) as Box<dyn Subscription>)
        }
        .boxed()
    }

    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
        async move {
            let conn = self.joined()?;
            topology::depth(&conn, &queue).await.map_err(away)
        }
        .boxed()
    }

    fn retain(&self, key: String, value: Option<Bytes>) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move {
            {
                let mut retained = self.core.retained.lock();
                match &value {
                    Some(value) => retained.entries.insert(key.clone(), value.clone()),
                    None => retained.entries.remove(&key),
                };
            }
            let conn = self.joined()?;
            let mut headers = HeaderMap::new();
            if value.is_none() {
                headers.insert(OPERATION, DELETED);
            }
            let body = value.unwrap_or_default();
            publish::fits(&conn, &body)?;
            let subject = conn.names.key_subject(&key);
            match publish_one(&conn, subject, headers, body).await {
                Ok(()) => Ok(()),
                Err(Untaken::Other(why)) => Err(away(why)),
                Err(Untaken::Full) => Err(away(no_room("the bucket is full"))),
                Err(Untaken::NoRoom(why)) => {
                    self.core.block(why.clone());
                    Err(away(no_room(&why)))
                }
            }
        }
        .boxed()
    }

    fn directory(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Directory>, BrokerError>> {
        async move {
            let conn = self.joined()?;
            let directory = NatsDirectory::open(conn, prefix).await.map_err(away)?;
            Ok(Box::new(directory) as Box<dyn Directory>)
        }
        .boxed()
    }

    fn lacks(&self) -> Vec<String> {
        vec![
            "nats-server writes to disk every two minutes unless its sync_interval says otherwise: what was in flight may \
             be lost with the machine's power, and is sent again from sengu's store"
                .to_owned(),
            format!("a queue that nobody serves keeps its messages for a day, and {DEPTH_MAX} of them at most"),
        ]
    }

    fn contact(&self) -> watch::Receiver<Contact> {
        self.core.contact.subscribe()
    }
}
