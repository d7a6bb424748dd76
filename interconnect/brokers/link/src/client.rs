//! The joining end: a broker that is reached over a connection. It joins in the background, and again when the
//! connection is gone, with growing waits; calls in between wait a little and then say why the broker is away.

use crate::conn::Conn;
use crate::directory::LinkDirectory;
use crate::error::{LinkError, away};
use crate::frame;
use crate::hello::{self, Joining};
use crate::inbound::Inbound;
use crate::limits::{
    BATCH_BYTES_MAX, BODY_BYTES_MAX, COMPLAIN_EVERY, HELLO_MAX, KEY_BYTES_MAX, KEYS_MAX, Pace,
    QUEUE_BYTES_MAX, REJOIN_FIRST, REJOIN_MAX,
};
use crate::stream;
use crate::subscription::LinkSubscription;
use crate::token::{JoinToken, random};
use crate::url::LinkUrl;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use rustls::RootCertStore;
use sengu_interconnect::{Broker, BrokerError, Directory, Message, Queue, Subscription};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// A connection that lasted this long was a good one: the next wait is short again.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// The embedded interconnect of another process.
pub struct LinkBroker {
    core: Arc<Core>,
    task: AbortHandle,
}

pub struct Core {
    state: watch::Sender<State>,
    pace: Pace,
    /// What this end retains: it is said again over every new connection.
    retained: Mutex<BTreeMap<String, Bytes>>,
}

#[derive(Clone)]
enum State {
    Joined(Arc<Conn>),
    Away(Arc<LinkError>),
    /// For ever.
    Ended,
}

impl LinkBroker {
    /// Joins in the background as `name`, which is for people; must be called within a tokio runtime. `ca` holds the
    /// authorities that may have signed the other end's certificate; tls:// needs them.
    pub fn connect(
        url: LinkUrl,
        name: String,
        token: JoinToken,
        ca: Option<RootCertStore>,
    ) -> Arc<LinkBroker> {
        LinkBroker::connect_at(url, name, token, ca, Pace::USUAL)
    }

    /// As `connect`, at a pace of its own.
    pub fn connect_at(
        url: LinkUrl,
        name: String,
        token: JoinToken,
        ca: Option<RootCertStore>,
        pace: Pace,
    ) -> Arc<LinkBroker> {
        let core = Arc::new(Core {
            state: watch::Sender::new(State::Away(Arc::new(LinkError::NotYet))),
            pace,
            retained: Mutex::default(),
        });
        let task = tokio::spawn(keep_joined(core.clone(), url, name, token, ca));
        let task = task.abort_handle();
        Arc::new(LinkBroker { core, task })
    }

    /// Waits until it is joined, for a start that wants to know.
    ///
    /// # Errors
    /// Why it is not: at once where waiting does not help, as with a wrong token, and else after `within`.
    pub async fn until_joined(&self, within: Duration) -> Result<(), Arc<LinkError>> {
        let mut state = self.core.state.subscribe();
        let settled = state.wait_for(|state| match state {
            State::Joined(_) | State::Ended => true,
            State::Away(why) => hopeless(why),
        });
        // Whether or not it was in time, the state tells.
        let _ = timeout(within, settled).await.is_ok();
        match &*self.core.state.borrow() {
            State::Joined(_) => Ok(()),
            State::Away(why) => Err(why.clone()),
            State::Ended => Err(Arc::new(LinkError::Closing)),
        }
    }
}

impl Drop for LinkBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Only a person can mend it.
fn hopeless(why: &LinkError) -> bool {
    matches!(
        why,
        LinkError::Token
            | LinkError::Impostor
            | LinkError::Version { .. }
            | LinkError::NoAuthority
            | LinkError::NotLoopback { .. }
            | LinkError::Name(_)
    )
}

impl Core {
    /// The connection, however long it takes to come back.
    ///
    /// # Errors
    /// When it never will.
    pub async fn joined(&self) -> Result<Arc<Conn>, BrokerError> {
        let mut state = self.state.subscribe();
        let ready = state.wait_for(|state| match state {
            State::Joined(conn) => conn.why_dead().is_none(),
            State::Away(_) => false,
            State::Ended => true,
        });
        match ready.await.as_deref() {
            Ok(State::Joined(conn)) => Ok(conn.clone()),
            _ => Err(away(Arc::new(LinkError::Closing))),
        }
    }

    /// The connection, if it is back soon.
    async fn joined_soon(&self) -> Result<Arc<Conn>, BrokerError> {
        if let State::Joined(conn) = &*self.state.borrow()
            && conn.why_dead().is_none()
        {
            return Ok(conn.clone());
        }
        if let Ok(joined) = timeout(self.pace.away_wait, self.joined()).await {
            return joined;
        }
        let why = match &*self.state.borrow() {
            State::Away(why) => why.clone(),
            State::Joined(conn) => match conn.why_dead() {
                Some(why) => why.clone(),
                None => return Ok(conn.clone()),
            },
            State::Ended => Arc::new(LinkError::Closing),
        };
        Err(away(why))
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
            conn.die(Arc::new(LinkError::Closing));
        }
        self.core.state.send_replace(State::Ended);
    }
}

async fn keep_joined(
    core: Arc<Core>,
    url: LinkUrl,
    name: String,
    token: JoinToken,
    ca: Option<RootCertStore>,
) {
    let mut keeper = Keeper {
        core: core.clone(),
        conn: None,
    };
    // Without random bytes the hello fails anyway, and says so.
    let incarnation = u64::from_le_bytes(random().unwrap_or_default());
    let joining = Joining { name, incarnation };
    let tls = ca.and_then(|ca| stream::client_config(ca).ok());
    let mut wait = REJOIN_FIRST;
    let mut said: Option<(String, Instant)> = None;
    loop {
        let why = match enter(&url, &joining, &token, tls.as_ref()).await {
            Ok((inbound, write)) => {
                tracing::info!(%url, name = joining.name, "joined the interconnect");
                said = None;
                let began = Instant::now();
                let why = stay(&core, &mut keeper, inbound, write).await;
                if began.elapsed() >= GOOD_AFTER {
                    wait = REJOIN_FIRST;
                }
                why
            }
            Err(why) => why,
        };
        let why = Arc::new(why);
        if let Some(conn) = keeper.conn.take() {
            conn.die(why.clone());
        }
        let text = why.text();
        core.state.send_replace(State::Away(why));
        let repeated =
            |(before, at): &(String, Instant)| *before == text && at.elapsed() < COMPLAIN_EVERY;
        if !said.as_ref().is_some_and(repeated) {
            tracing::warn!(%url, error = text, "the interconnect is away");
            said = Some((text, Instant::now()));
        }
        // Many lose their connection at the same moment; they need not all come back at another.
        let [dice] = random::<1>().unwrap_or([128]);
        tokio::time::sleep(wait.mul_f64(0.5 + f64::from(dice) / 256.0)).await;
        wait = (wait * 2).min(REJOIN_MAX);
    }
}

type Entered = (
    Inbound<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
);

async fn enter(
    url: &LinkUrl,
    joining: &Joining,
    token: &JoinToken,
    tls: Option<&Arc<rustls::ClientConfig>>,
) -> Result<Entered, LinkError> {
    if !hello::is_name(&joining.name) {
        return Err(LinkError::Name(joining.name.clone()));
    }
    let mut stream = stream::connect(url, tls).await?;
    let mut inbound = Inbound::new(stream.read);
    let hello = hello::join(
        &mut inbound,
        &mut stream.write,
        joining,
        token,
        stream.channel,
    );
    match timeout(HELLO_MAX, hello).await {
        Ok(joined) => joined?,
        Err(_) => return Err(LinkError::HelloLate),
    }
    Ok((inbound, stream.write))
}

/// Runs the connection until it dies.
async fn stay(
    core: &Core,
    keeper: &mut Keeper,
    inbound: Inbound<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    write: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
) -> LinkError {
    let conn = Arc::new(Conn::new());
    keeper.conn = Some(conn.clone());
    let pace = core.pace;
    let mut tasks = JoinSet::new();
    let (writing, reading) = (conn.clone(), conn.clone());
    tasks.spawn(async move {
        let more = |out: &mut bytes::BytesMut| writing.write_control(out);
        match writing.out.run(write, pace, more).await {
            Ok(()) => LinkError::Closed,
            Err(e) => e,
        }
    });
    tasks.spawn(async move { reading.read(inbound, pace).await });
    let live = async {
        let retained = core.retained.lock().clone();
        for (key, value) in retained {
            conn.retain_again(&key, &value).await;
        }
        core.state.send_replace(State::Joined(conn.clone()));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = tasks.join_next() => match ended {
            Some(Ok(why)) => why,
            _ => LinkError::Closed,
        },
        () = live => LinkError::Closed,
    }
}

impl Broker for LinkBroker {
    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move {
            for message in &batch {
                fits(&message.body)?;
                check_queue(&message.queue)?;
            }
            let conn = self.core.joined_soon().await?;
            let mut rest = batch.as_slice();
            while !rest.is_empty() {
                let mut bytes = 0;
                let weights = rest.iter().map(|m| {
                    bytes += frame::weight(m);
                    bytes
                });
                let count = weights.take_while(|b| *b <= BATCH_BYTES_MAX).count();
                let (these, others) = rest.split_at(count.max(1));
                conn.publish(these).await?;
                rest = others;
            }
            Ok(())
        }
        .boxed()
    }

    fn subscribe(
        &self,
        queue: Queue,
        credit: u32,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, BrokerError>> {
        async move {
            check_queue(&queue)?;
            let conn = self.core.joined_soon().await?;
            let subscription = LinkSubscription::open(conn, queue, credit).await?;
            Ok(Box::new(subscription) as Box<dyn Subscription>)
        }
        .boxed()
    }

    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
        async move {
            check_queue(&queue)?;
            let conn = self.core.joined_soon().await?;
            conn.depth(&queue).await
        }
        .boxed()
    }

    fn retain(&self, key: String, value: Option<Bytes>) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move {
            check_key(&key)?;
            {
                let mut retained = self.core.retained.lock();
                match &value {
                    Some(value) => {
                        fits(value)?;
                        if retained.len() >= KEYS_MAX && !retained.contains_key(&key) {
                            let why = format!("more than {KEYS_MAX} keys");
                            return Err(away(Arc::new(LinkError::Refused(why))));
                        }
                        retained.insert(key.clone(), value.clone());
                    }
                    None => {
                        retained.remove(&key);
                    }
                }
            }
            let conn = self.core.joined_soon().await?;
            conn.retain(&key, value.as_ref()).await
        }
        .boxed()
    }

    fn directory(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Directory>, BrokerError>> {
        async move {
            check_key(&prefix)?;
            let conn = self.core.joined_soon().await?;
            let directory = LinkDirectory::open(self.core.clone(), conn, prefix).await;
            Ok(Box::new(directory) as Box<dyn Directory>)
        }
        .boxed()
    }

    fn lacks(&self) -> Vec<String> {
        vec![
            "messages in flight do not outlive the process that serves them".to_owned(),
            format!(
                "of a batch of more than {} MiB a part may be taken when a queue is full",
                BATCH_BYTES_MAX >> 20
            ),
        ]
    }
}

fn fits(body: &Bytes) -> Result<(), BrokerError> {
    if body.len() > BODY_BYTES_MAX {
        let bytes = body.len();
        return Err(away(Arc::new(LinkError::BodyTooLarge { bytes })));
    }
    Ok(())
}

fn check_queue(queue: &Queue) -> Result<(), BrokerError> {
    short(queue.as_str(), QUEUE_BYTES_MAX)
}

fn check_key(key: &str) -> Result<(), BrokerError> {
    short(key, KEY_BYTES_MAX)
}

fn short(name: &str, max: usize) -> Result<(), BrokerError> {
    if name.len() > max {
        let why = format!(
            "a name of {} bytes, and at most {max} are allowed",
            name.len()
        );
        return Err(away(Arc::new(LinkError::Refused(why))));
    }
    Ok(())
}
