//! Two connections as one: what publishes must not hold up what consumes. A server that is short of memory or disk stops
//! reading from connections that publish, and acks on the same one would wait with them.

use crate::broker::Timing;
use crate::connect::{self, Opened};
use crate::error::{AmqpError, of_channel, source};
use crate::limits::{BATCHES_MAX, REPLY_MAX};
use crate::queue;
use crate::stream::Grip;
use futures::StreamExt;
use lapin::options::ConfirmSelectOptions;
use lapin::types::ShortString;
use lapin::{Channel, Connection, Event};
use parking_lot::Mutex;
use sengu_interconnect::Queue;
use sengu_interconnect::address::Address;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How the connections stand.
#[derive(Debug, Clone)]
pub enum Standing {
    Open,
    Blocked { since: Instant, why: String },
    Dead(AmqpError),
}

pub struct Conn {
    pub prefix: String,
    publishing: Connection,
    consuming: Connection,
    standing: Arc<watch::Sender<Standing>>,
    /// The lock is held while a queue is declared, so that each is declared once.
    declared: tokio::sync::Mutex<HashMap<Queue, Declared>>,
    /// For questions about queues: any error of one closes it.
    asking: tokio::sync::Mutex<Option<Channel>>,
    batches: Semaphore,
    idle: Mutex<Vec<Channel>>,
    timing: Timing,
    watchers: [AbortHandle; 2],
}

/// What is known of a queue.
#[derive(Default)]
struct Declared {
    /// It was there, and nothing has told otherwise since.
    is_there: bool,
    /// This end made it; from then on it is kept.
    kept_from: Option<Instant>,
}

/// A channel for one batch, with confirms. It goes back only when nothing of the batch is outstanding.
pub struct Lane<'a> {
    pub channel: Channel,
    _permit: SemaphorePermit<'a>,
}

impl Conn {
    /// # Errors
    /// Why there is none.
    pub async fn open(
        address: &Address,
        name: &str,
        mut timing: Timing,
    ) -> Result<Conn, AmqpError> {
        let consuming = connect::open(address, name).await?;
        let publishing = connect::open(address, &format!("{name} publish")).await?;
        if connect::keeps_at_once(&publishing.version) {
            timing.kept_after = Duration::ZERO;
        }
        let standing = Arc::new(watch::Sender::new(Standing::Open));
        let grips = [consuming.grip.clone(), publishing.grip.clone()];
        let watchers = [&consuming, &publishing]
            .map(|opened| watch_over(opened, standing.clone(), grips.clone()));
        Ok(Conn {
            prefix: address.prefix.clone(),
            publishing: publishing.connection,
            consuming: consuming.connection,
            standing,
            declared: tokio::sync::Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            batches: Semaphore::new(BATCHES_MAX),
            idle: Mutex::default(),
            timing,
            watchers,
        })
    }

    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Why it is dead, if it is.
    pub fn why_dead(&self) -> Option<AmqpError> {
        match &*self.standing.borrow() {
            Standing::Dead(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// A channel to consume from.
    ///
    /// # Errors
    /// When the connection has none left or is dead.
    pub async fn channel(&self) -> Result<Channel, AmqpError> {
        open_channel(&self.consuming).await
    }

    /// A channel to publish a batch on, when it is its turn.
    ///
    /// # Errors
    /// When the connection is dead.
    pub async fn lane(&self) -> Result<Lane<'_>, AmqpError> {
        let permit = self.batches.acquire().await;
        let permit = permit.map_err(|_| AmqpError::Closing)?;
        let idle = self.idle.lock().pop();
        let channel = match idle.filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => {
                let channel = open_channel(&self.publishing).await?;
                let confirm = channel.confirm_select(ConfirmSelectOptions::default());
                match timeout(REPLY_MAX, confirm).await {
                    Ok(done) => done.map_err(|e| of_channel("ask for confirms", e))?,
                    Err(_) => return Err(AmqpError::Late("ask for confirms")),
                }
                channel
            }
        };
        let _permit = permit;
        Ok(Lane { channel, _permit })
    }

    pub fn give_back(&self, lane: Lane<'_>) {
        self.idle.lock().push(lane.channel);
    }

    /// Makes the queue unless it is known to be there; the one that poisonous messages go to first.
    ///
    /// # Errors
    /// As `queue::declare`.
    pub async fn ensure(&self, queue: &Queue) -> Result<ShortString, AmqpError> {
        let name = queue::name(&self.prefix, queue)?;
        let mut declared = self.declared.lock().await;
        for queue in [&Queue::parked(), queue] {
            if declared.get(queue).is_some_and(|known| known.is_there) {
                continue;
            }
            let name = queue::name(&self.prefix, queue)?;
            // Declaring does not tell whether it was there.
            let is_new = self.depth(queue).await?.is_none();
            let arguments = queue::arguments(&self.prefix, queue, self.timing.queue_unused_max);
            self.ask(async |channel| queue::declare(channel, name, arguments).await)
                .await?;
            let known = declared.entry(queue.clone()).or_default();
            known.is_there = true;
            if is_new {
                known.kept_from = Some(Instant::now() + self.timing.kept_after);
            }
        }
        Ok(name)
    }

    /// Waits until none of these is so new that a crash of the server could take it away.
    ///
    /// # Errors
    /// When the connection dies meanwhile: they may be gone.
    pub async fn kept(&self, queues: impl Iterator<Item = &Queue>) -> Result<(), AmqpError> {
        let latest = {
            let declared = self.declared.lock().await;
            queues.filter_map(|q| declared.get(q)?.kept_from).max()
        };
        let Some(latest) = latest.filter(|latest| *latest > Instant::now()) else {
            return Ok(());
        };
        let mut standing = self.standing();
        let dead = standing.wait_for(|standing| matches!(standing, Standing::Dead(_)));
        match timeout(latest.saturating_duration_since(Instant::now()), dead).await {
            Err(_) => Ok(()),
            Ok(_) => Err(self.why_dead().unwrap_or(AmqpError::Closing)),
        }
    }

    /// It was taken away: it is made again when it is needed.
    pub async fn forget(&self, queue: &Queue) {
        if let Some(known) = self.declared.lock().await.get_mut(queue) {
            known.is_there = false;
        }
    }

    /// Messages waiting in a queue; `None` when it is not there.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn depth(&self, queue: &Queue) -> Result<Option<u64>, AmqpError> {
        let name = queue::name(&self.prefix, queue)?;
        self.ask(async |channel| queue::depth(channel, name).await)
            .await
    }

    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&Channel) -> Result<T, AmqpError>,
    ) -> Result<T, AmqpError> {
        let mut asking = self.asking.lock().await;
        let kept = asking.take().filter(|channel| channel.status().connected());
        let channel = match kept {
            Some(channel) => channel,
            None => open_channel(&self.consuming).await?,
        };
        let answer = question(&channel).await?;
        // Kept only when the answer was a good one; else it is closed by dropping it.
        *asking = Some(channel);
        Ok(answer)
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.standing.send_if_modified(|standing| {
            let is_alive = !matches!(standing, Standing::Dead(_));
            if is_alive {
                *standing = Standing::Dead(AmqpError::Closing);
            }
            is_alive
        });
        for watcher in &self.watchers {
            watcher.abort();
        }
    }
}

async fn open_channel(connection: &Connection) -> Result<Channel, AmqpError> {
    match timeout(REPLY_MAX, connection.create_channel()).await {
        Ok(channel) => channel.map_err(|e| of_channel("open a channel", e)),
        Err(_) => Err(AmqpError::Late("open a channel")),
    }
}

/// Follows what happens to one of the connections; when it dies the other goes with it.
fn watch_over(
    opened: &Opened,
    standing: Arc<watch::Sender<Standing>>,
    grips: [Arc<Grip>; 2],
) -> AbortHandle {
    let mut events = Box::pin(opened.connection.events_listener());
    let status = opened.connection.status().clone();
    let watching = async move {
        let why = loop {
            // It may have died before anybody listened.
            if !status.connected() {
                break AmqpError::Server {
                    what: "the connection broke",
                    source: source("it was closed"),
                };
            }
            let event = match status.blocked() && matches!(&*standing.borrow(), Standing::Open) {
                true => Some(Event::ConnectionBlocked("at the start".to_owned())),
                false => events.next().await,
            };
            match event {
                Some(Event::ConnectionBlocked(why)) => {
                    let since = Instant::now();
                    standing.send_if_modified(|standing| {
                        let is_open = matches!(standing, Standing::Open);
                        if is_open {
                            *standing = Standing::Blocked { since, why };
                        }
                        is_open
                    });
                }
                Some(Event::ConnectionUnblocked) => {
                    standing.send_if_modified(|standing| {
                        let is_blocked = matches!(standing, Standing::Blocked { .. });
                        if is_blocked {
                            *standing = Standing::Open;
                        }
                        is_blocked
                    });
                }
                // The error of a channel is told here as well: only that of the connection ends it.
                Some(Event::Error(error)) if !status.connected() => {
                    break AmqpError::Server {
                        what: "the connection broke",
                        source: source(error),
                    };
                }
                Some(_) => {}
                None => break AmqpError::Closing,
            }
        };
        standing.send_if_modified(|standing| {
            let is_alive = !matches!(standing, Standing::Dead(_));
            if is_alive {
                *standing = Standing::Dead(why);
            }
            is_alive
        });
        for grip in grips {
            grip.cut();
        }
    };
    tokio::spawn(watching).abort_handle()
}
