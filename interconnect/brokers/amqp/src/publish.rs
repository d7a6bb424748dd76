//! Publishing: a batch goes out at once, and its confirms are awaited together. A queue that is not there gives the
//! messages back; then it is made and they go again.

use crate::conn::{Conn, Lane, Standing};
use crate::error::{AmqpError, PRECONDITION_FAILED, away, of_channel, said};
use crate::limits::{
    BODY_BYTES_MAX, DEPTH_MAX, HEALS_MAX, IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX, PUBLISH_WAIT_MAX,
};
use crate::queue;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use sengu_interconnect::{BrokerError, Message, Queue};
use std::collections::BTreeMap;
use std::task::Poll;
use tokio::time::timeout;

/// Kept on disk, whatever the queue says.
const PERSISTENT: u8 = 2;

/// Publishes all of them.
///
/// # Errors
/// `Full` or `TooLarge`, when others of the batch may have been taken; `Away` when it is not known.
pub async fn publish(conn: &Conn, batch: &[Message]) -> Result<(), BrokerError> {
    for message in batch {
        let bytes = message.body.len();
        if bytes > BODY_BYTES_MAX {
            let bytes_max = BODY_BYTES_MAX;
            return Err(BrokerError::TooLarge { bytes, bytes_max });
        }
    }
    let mut names: BTreeMap<&Queue, ShortString> = BTreeMap::new();
    for message in batch {
        if !names.contains_key(&message.queue) {
            let name = queue::name(&conn.prefix, &message.queue).map_err(away)?;
            names.insert(&message.queue, name);
        }
    }
    let mut rest: Vec<usize> = (0..batch.len()).collect();
    let mut heals = 0;
    while !rest.is_empty() {
        let lane = match timeout(PUBLISH_WAIT_MAX, ready(conn, &names)).await {
            Ok(lane) => lane.map_err(away)?,
            Err(_) => return Err(away(why_not(conn, &names))),
        };
        let returned = send(conn, &lane.channel, batch, &rest, &names).await?;
        conn.give_back(lane);
        if let Some(first) = returned.first() {
            heals += 1;
            if heals > HEALS_MAX {
                let name = names[&batch[*first].queue].to_string();
                return Err(away(AmqpError::Vanishes(name)));
            }
            for at in &returned {
                conn.forget(&batch[*at].queue).await;
            }
        }
        rest = returned;
    }
    conn.kept(names.keys().copied()).await.map_err(away)
}

/// A channel of its own once the server takes something and the queues are there.
async fn ready<'a>(
    conn: &'a Conn,
    names: &BTreeMap<&Queue, ShortString>,
) -> Result<Lane<'a>, AmqpError> {
    let mut standing = conn.standing();
    let open = standing.wait_for(|standing| !matches!(standing, Standing::Blocked { .. }));
    match open.await.as_deref() {
        Ok(Standing::Dead(why)) => return Err(why.clone()),
        Ok(_) => {}
        Err(_) => return Err(AmqpError::Closing),
    }
    for queue in names.keys() {
        conn.ensure(queue).await?;
    }
    conn.lane().await
}

/// Names of queues in an error, at most.
const NAMED_MAX: usize = 3;

fn why_not(conn: &Conn, names: &BTreeMap<&Queue, ShortString>) -> AmqpError {
    match &*conn.standing().borrow() {
        Standing::Dead(why) => why.clone(),
        Standing::Blocked { why, .. } => AmqpError::Blocked(why.clone()),
        Standing::Open => AmqpError::Unconfirmed {
            queues: some_of(names),
            within: PUBLISH_WAIT_MAX,
        },
    }
}

fn some_of(names: &BTreeMap<&Queue, ShortString>) -> String {
    let some: Vec<&str> = names.values().take(NAMED_MAX).map(|n| n.as_str()).collect();
    match names.len().saturating_sub(NAMED_MAX) {
        0 => some.join(", "),
        others => format!("{} and {others} others", some.join(", ")),
    }
}

/// Sends those of the batch in order and waits for all their confirms. Gives those that came back for want of a queue,
/// in order.
async fn send(
    conn: &Conn,
    channel: &Channel,
    batch: &[Message],
    those: &[usize],
    names: &BTreeMap<&Queue, ShortString>,
) -> Result<Vec<usize>, BrokerError> {
    let mut outcome = Outcome::default();
    let mut under_way = FuturesUnordered::new();
    let mut bytes_under_way = 0;
    for at in those {
        let message = &batch[*at];
        let bytes = message.body.len();
        while under_way.len() >= IN_FLIGHT_MAX
            || (bytes_under_way > 0 && bytes_under_way + bytes > IN_FLIGHT_BYTES_MAX)
        {
            let done = next(conn, names, &mut under_way).await?;
            bytes_under_way -= batch[done.0].body.len();
            outcome.take(batch, done)?;
        }
        let one = send_one(channel, names[&message.queue].clone(), &message.body, *at);
        let mut one = Box::pin(one);
        // Its frames are queued by the first poll, so that they go in this order.
        match futures::poll!(&mut one) {
            Poll::Ready(done) => outcome.take(batch, done)?,
            Poll::Pending => {
                bytes_under_way += bytes;
                under_way.push(one);
            }
        }
    }
    while !under_way.is_empty() {
        let done = next(conn, names, &mut under_way).await?;
        outcome.take(batch, done)?;
    }
    if let Some(queue) = outcome.refusing {
        return Err(refusal(conn, queue).await);
    }
    outcome.returned.sort_unstable();
    Ok(outcome.returned)
}

type Done = (usize, lapin::Result<Confirmation>);

async fn send_one(channel: &Channel, name: ShortString, body: &[u8], at: usize) -> Done {
    // A message that comes back is known by this: the client may hand it out with another's confirm.
    let id = ShortString::try_new(at.to_string()).unwrap_or_default();
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(id);
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let exchange = ShortString::default();
    let sent = channel.basic_publish(exchange, name, options, body, properties);
    let confirmed = async { sent.await?.await };
    (at, confirmed.await)
}

async fn next<F: Future<Output = Done>>(
    conn: &Conn,
    names: &BTreeMap<&Queue, ShortString>,
    under_way: &mut FuturesUnordered<F>,
) -> Result<Done, BrokerError> {
    match timeout(PUBLISH_WAIT_MAX, under_way.next()).await {
        Ok(Some(done)) => Ok(done),
        Ok(None) => Err(away(AmqpError::Closing)),
        Err(_) => Err(away(why_not(conn, names))),
    }
}

/// A queue refuses when it is full; RabbitMQ 3 lets one without a leader refuse, too.
async fn refusal(conn: &Conn, queue: Queue) -> BrokerError {
    match conn.depth(&queue).await {
        // Some may have been taken out since.
        Ok(depth) if depth.unwrap_or_default() >= DEPTH_MAX as u64 / 2 => BrokerError::Full {
            queue,
            depth_max: DEPTH_MAX,
        },
        Ok(_) => away(AmqpError::Refused(queue.to_string())),
        Err(why) => away(why),
    }
}

#[derive(Default)]
struct Outcome {
    returned: Vec<usize>,
    refusing: Option<Queue>,
}

impl Outcome {
    fn take(&mut self, batch: &[Message], (at, confirmed): Done) -> Result<(), BrokerError> {
        let confirmation = confirmed.map_err(|e| of_publish(batch, e))?;
        if confirmation.is_nack() && self.refusing.is_none() {
            self.refusing = Some(batch[at].queue.clone());
        }
        if let Some(returned) = confirmation.take_message() {
            let id = returned.properties.message_id().as_ref();
            let id = id.and_then(|id| id.as_str().parse().ok());
            self.returned
                .push(id.filter(|id| *id < batch.len()).unwrap_or(at));
        }
        Ok(())
    }
}

fn of_publish(batch: &[Message], error: lapin::Error) -> BrokerError {
    if let Some((PRECONDITION_FAILED, words)) = said(&error)
        && words.contains("message size")
    {
        let numbers = words.split(|c: char| !c.is_ascii_digit());
        let numbers: Vec<usize> = numbers.filter_map(|n| n.parse().ok()).collect();
        let bytes = batch.iter().map(|m| m.body.len()).max().unwrap_or_default();
        return BrokerError::TooLarge {
            bytes,
            bytes_max: numbers.get(1).copied().unwrap_or(BODY_BYTES_MAX),
        };
    }
    away(of_channel("publish", error))
}
