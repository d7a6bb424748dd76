//! The broker: connects in the background, and again when the connections are gone, with growing waits. While they are,
//! every call says at once why.

use crate::conn::{Conn, Standing};
use crate::error::{AmqpError, away};
use crate::limits::{
    COMPLAIN_EVERY, GOOD_AFTER, KEPT_AFTER, QUEUE_UNUSED_MAX, RECONNECT_FIRST, RECONNECT_MAX,
};
use crate::publish;
use crate::subscription::AmqpSubscription;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use sengu_interconnect::address::Address;
use sengu_interconnect::contact::Contact;
use sengu_interconnect::{Broker, BrokerError, Directory, Message, Queue, Subscription};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Queues in RabbitMQ. The retained directory is another broker's: see `sengu_interconnect::pair`.
pub struct AmqpBroker {
    state: Arc<watch::Sender<State>>,
    contact: watch::Receiver<Contact>,
    task: AbortHandle,
}

/// Times that tests set otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// An unused queue goes after this. All ends of an installation must agree on it.
    pub queue_unused_max: Duration,
    /// A new queue is relied on after this, at servers that do not keep it at once.
    pub kept_after: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            queue_unused_max: QUEUE_UNUSED_MAX,
            kept_after: KEPT_AFTER,
        }
    }
}

#[derive(Clone)]
enum State {
    Open(Arc<Conn>),
    Away(AmqpError),
}

impl AmqpBroker {
    /// Returns at once and connects in the background, for ever, as `name`; must be called within a tokio runtime.
    pub fn open(address: Address, name: String) -> Arc<AmqpBroker> {
        AmqpBroker::open_with(address, name, Timing::default())
    }

    /// As `open`, with other times.
    pub fn open_with(address: Address, name: String, timing: Timing) -> Arc<AmqpBroker> {
        let not_yet = AmqpError::NotYet(address.to_string());
        let (told, contact) = watch::channel(Contact::Away {
            since: Instant::now(),
            why: not_yet.text(),
        });
        let state = Arc::new(watch::Sender::new(State::Away(not_yet)));
        let keep = keep(state.clone(), told, address, name, timing);
        let task = tokio::spawn(keep).abort_handle();
        Arc::new(AmqpBroker {
            state,
            contact,
            task,
        })
    }

    /// Waits until it is there, for a start that wants to know.
    ///
    /// # Errors
    /// Why it is not: at once where waiting does not help, as with a wrong password, and else after `limit`.
    pub async fn until_there(&self, limit: Duration) -> Result<(), AmqpError> {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| match state {
            State::Open(_) => true,
            State::Away(why) => why.is_lasting(),
        });
        // Whether or not it was in time, the state tells.
        let _ = timeout(limit, settled).await.is_ok();
        self.conn().map(drop)
    }

    fn conn(&self) -> Result<Arc<Conn>, AmqpError> {
        match &*self.state.borrow() {
            State::Open(conn) => match conn.why_dead() {
                Some(why) => Err(why),
                None => Ok(conn.clone()),
            },
            State::Away(why) => Err(why.clone()),
        }
    }
}

impl Drop for AmqpBroker {
    fn drop(&mut self) {
        self.task.abort();
        self.state.send_replace(State::Away(AmqpError::Closing));
    }
}

async fn keep(
    state: Arc<watch::Sender<State>>,
    told: watch::Sender<Contact>,
    address: Address,
    name: String,
    timing: Timing,
) {
    let mut wait = RECONNECT_FIRST;
    let mut away_since = Instant::now();
    let mut said: Option<(String, Instant)> = None;
    loop {
        let why = match Conn::open(&address, &name, timing).await {
            Ok(conn) => {
                tracing::info!(%address, name, "RabbitMQ is there");
                said = None;
                let began = Instant::now();
                let mut standing = conn.standing();
                state.send_replace(State::Open(Arc::new(conn)));
                let why = follow(&mut standing, &told).await;
                away_since = Instant::now();
                if began.elapsed() >= GOOD_AFTER {
                    wait = RECONNECT_FIRST;
                }
                why
            }
            Err(why) => why,
        };
        let text = why.text();
        told.send_replace(Contact::Away {
            since: away_since,
            why: text.clone(),
        });
        state.send_replace(State::Away(why));
        let repeated =
            |(before, at): &(String, Instant)| *before == text && at.elapsed() < COMPLAIN_EVERY;
        if !said.as_ref().is_some_and(repeated) {
            tracing::warn!(%address, error = text, "RabbitMQ is away");
            said = Some((text, Instant::now()));
        }
        // Many lose their connection at the same moment; they need not all come back at another.
        let mut dice = [128];
        let _ = getrandom::fill(&mut dice);
        tokio::time::sleep(wait.mul_f64(0.5 + f64::from(dice[0]) / 256.0)).await;
        wait = (wait * 2).min(RECONNECT_MAX);
    }
}

/// Tells how the connection stands until it is dead.
async fn follow(
    standing: &mut watch::Receiver<Standing>,
    told: &watch::Sender<Contact>,
) -> AmqpError {
    loop {
        let now = standing.borrow_and_update().clone();
        told.send_replace(match now {
            Standing::Open => Contact::There,
            Standing::Blocked { since, why } => {
                tracing::warn!(why, "RabbitMQ takes no messages");
                Contact::Blocked { since, why }
            }
            Standing::Dead(why) => return why,
        });
        if standing.changed().await.is_err() {
            return AmqpError::Closing;
        }
    }
}

impl Broker for AmqpBroker {
    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move {
            let conn = self.conn().map_err(away)?;
            publish::publish(&conn, &batch).await
        }
        .boxed()
    }

    fn subscribe(
        &self,
        queue: Queue,
        credit: u32,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, BrokerError>> {
        async move {
            let conn = self.conn().map_err(away)?;
            let subscription = AmqpSubscription::open(conn, queue, credit).await;
            Ok(Box::new(subscription.map_err(away)?) as Box<dyn Subscription>)
        }
        .boxed()
    }

    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
        async move {
            let conn = self.conn().map_err(away)?;
            let depth = conn.depth(&queue).await.map_err(away)?;
            Ok(depth.unwrap_or_default())
        }
        .boxed()
    }

    fn retain(&self, _: String, _: Option<Bytes>) -> BoxFuture<'_, Result<(), BrokerError>> {
        std::future::ready(Err(away(AmqpError::NoDirectory))).boxed()
    }

    fn directory(&self, _: String) -> BoxFuture<'_, Result<Box<dyn Directory>, BrokerError>> {
        std::future::ready(Err(away(AmqpError::NoDirectory))).boxed()
    }

    fn lacks(&self) -> Vec<String> {
        [
            "AMQP keeps no retained directory: another broker does",
            "of a batch that meets a full queue some messages may have been taken",
            "RabbitMQ older than 4.0 that is killed within a second of making a queue leaves it without a leader: nothing accepted is lost, and `rabbitmqctl delete_queue` mends it",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn contact(&self) -> watch::Receiver<Contact> {
        self.contact.clone()
    }
}
