//! Publishing: many messages on their way at once, their confirms awaited together. Never one by one: a confirm takes a
//! round trip, and a batch would take as many.

use crate::conn::{ApiError, Conn};
use crate::error::{NatsError, away, source};
use crate::limits::{CALL_BYTES_IN_FLIGHT_MAX, CALL_IN_FLIGHT_MAX, CONFIRM_MAX, DEPTH_MAX};
use async_nats::header::HeaderMap;
use async_nats::jetstream;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use bytes::Bytes;
use futures::StreamExt as _;
use sengu_interconnect::{BrokerError, Message, Queue};
use serde_json::{Value, json};
use std::collections::VecDeque;
use tokio::time::timeout;

/// Questions to the API at once while a batch is taken back.
const TAKE_BACK_AT_ONCE: usize = 32;

/// Why the server did not take a message.
#[derive(Debug)]
pub enum Untaken {
    /// The queue, or the stream by a limit that somebody gave it, holds as much as it may.
    Full,
    /// The server has no room left at all.
    NoRoom(String),
    Other(NatsError),
}

/// # Errors
/// `Full` when a queue is full: what was taken of the batch is taken back, as far as nobody has it yet.
pub async fn publish(
    conn: &Conn,
    batch: Vec<Message>,
) -> Result<(), (BrokerError, Option<String>)> {
    for message in &batch {
        fits(conn, &message.body).map_err(|e| (e, None))?;
    }
    let mut taken = Vec::with_capacity(batch.len());
    let done = tokio::select! {
        biased;
        done = all(conn, batch, &mut taken) => done,
        () = conn.signals.until_lost() => return Err((away(conn.gone()), None)),
    };
    let Err((queue, why)) = done else {
        return Ok(());
    };
    Err(match why {
        Untaken::Full => {
            take_back(conn, taken).await;
            let depth_max = DEPTH_MAX;
            (BrokerError::Full { queue, depth_max }, None)
        }
        Untaken::NoRoom(why) => (away(no_room(&why)), Some(why)),
        Untaken::Other(why) => {
            if matches!(
                why,
                NatsError::NoJetStream { .. } | NatsError::Unready { .. }
            ) {
                // The stream is gone, or its leader is: the next connection makes or finds it.
                conn.signals.lost();
            }
            (away(why), None)
        }
    })
}

pub fn fits(conn: &Conn, body: &Bytes) -> Result<(), BrokerError> {
    let (bytes, bytes_max) = (body.len(), conn.client.max_payload());
    match bytes > bytes_max {
        true => Err(BrokerError::TooLarge { bytes, bytes_max }),
        false => Ok(()),
    }
}

pub fn no_room(why: &str) -> NatsError {
    NatsError::Refused {
        what: "keep a message".to_owned(),
        code: 0,
        description: why.to_owned(),
    }
}

struct Waiting {
    queue: Queue,
    bytes: usize,
    confirm: PublishAckFuture,
}

async fn all(
    conn: &Conn,
    batch: Vec<Message>,
    taken: &mut Vec<u64>,
) -> Result<(), (Queue, Untaken)> {
    let Some(first) = batch.first().map(|m| m.queue.clone()) else {
        return Ok(());
    };
    let permits = u32::try_from(batch.len().min(CALL_IN_FLIGHT_MAX)).unwrap_or(u32::MAX);
    let _permits = match timeout(CONFIRM_MAX, conn.in_flight.acquire_many(permits)).await {
        Ok(Ok(permits)) => permits,
        _ => return Err((first, Untaken::Other(late()))),
    };
    let mut waiting: VecDeque<Waiting> = VecDeque::with_capacity(permits as usize);
    let mut bytes = 0;
    let mut failed = None;
    let mut subjects = Subjects::new(conn);
    for Message { queue, body } in batch {
        while waiting.len() >= CALL_IN_FLIGHT_MAX || bytes > CALL_BYTES_IN_FLIGHT_MAX {
            let Some(one) = waiting.pop_front() else {
                break;
            };
            bytes -= one.bytes;
            settle(conn, one, taken, &mut failed).await;
        }
        if failed.is_some() {
            break;
        }
        let subject = subjects.of(&queue);
        let size = body.len();
        match conn.js.publish(subject, body).await {
            Ok(confirm) => {
                bytes += size;
                waiting.push_back(Waiting {
                    queue,
                    bytes: size,
                    confirm,
                });
            }
            Err(e) => failed = Some((queue, untaken(conn, &e))),
        }
    }
    for one in waiting {
        settle(conn, one, taken, &mut failed).await;
    }
    failed.map_or(Ok(()), Err)
}

async fn settle(
    conn: &Conn,
    one: Waiting,
    taken: &mut Vec<u64>,
    failed: &mut Option<(Queue, Untaken)>,
) {
    if matches!(failed, Some((_, Untaken::Other(_)))) {
        // Nothing more is to be learnt, and each could be waited for as long again.
        return;
    }
    match one.confirm.await {
        Ok(confirm) => taken.push(confirm.sequence),
        Err(e) => {
            failed.get_or_insert_with(|| (one.queue, untaken(conn, &e)));
        }
    }
}

/// Batches are mostly for few queues: their subjects are made once.
struct Subjects<'a> {
    conn: &'a Conn,
    last: Option<(Queue, async_nats::Subject)>,
}

impl<'a> Subjects<'a> {
    fn new(conn: &'a Conn) -> Self {
        Subjects { conn, last: None }
    }

    fn of(&mut self, queue: &Queue) -> async_nats::Subject {
        if let Some((last, subject)) = &self.last
            && last == queue
        {
            return subject.clone();
        }
        let subject = async_nats::Subject::from(self.conn.names.subject(queue));
        self.last = Some((queue.clone(), subject.clone()));
        subject
    }
}

/// Publishes one message and waits for its confirm.
pub async fn publish_one(
    conn: &Conn,
    subject: String,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), Untaken> {
    let one = async {
        let sent = conn.js.publish_with_headers(subject, headers, body).await?;
        sent.await.map(|_| ())
    };
    tokio::select! {
        biased;
        done = one => done.map_err(|e| untaken(conn, &e)),
        () = conn.signals.until_lost() => Err(Untaken::Other(conn.gone())),
    }
}

pub fn late() -> NatsError {
    NatsError::Late {
        what: "a publish".to_owned(),
        within: CONFIRM_MAX,
    }
}

fn untaken(conn: &Conn, error: &PublishError) -> Untaken {
    let refusal = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<jetstream::Error>());
    if let Some(refusal) = refusal {
        return refused(conn, refusal);
    }
    Untaken::Other(match error.kind() {
        PublishErrorKind::TimedOut => match conn.signals.denied() {
            Some(text) => NatsError::NotPermitted(text),
            None => late(),
        },
        PublishErrorKind::StreamNotFound => conn.no_jetstream(),
        PublishErrorKind::BrokenPipe => conn.gone(),
        _ => NatsError::Answer {
            what: "a publish".to_owned(),
            source: source(error.to_string()),
        },
    })
}

fn refused(conn: &Conn, refusal: &jetstream::Error) -> Untaken {
    let text = refusal.to_string();
    let err_code = refusal.error_code().0;
    if text.contains("maximum messages") || text.contains("maximum bytes") {
        return Untaken::Full;
    }
    if text.contains("resource") || text.contains("no space") {
        return Untaken::NoRoom(text);
    }
    let what = "a publish".to_owned();
    Untaken::Other(conn.refused(
        what,
        ApiError {
            err_code,
            description: text,
        },
    ))
}

/// Nobody is told of what is still there of a batch that was refused.
async fn take_back(conn: &Conn, taken: Vec<u64>) {
    let subject = format!("STREAM.MSG.DELETE.{}", conn.names.work_stream());
    futures::stream::iter(taken)
        .for_each_concurrent(TAKE_BACK_AT_ONCE, |seq| {
            let subject = &subject;
            async move {
                let question = json!({ "seq": seq, "no_erase": true });
                if let Err(error) = conn.api::<Value>(subject, &question).await {
                    // Somebody has it already: it is delivered twice then, as any message may be.
                    tracing::debug!(seq, %error, "take back");
                }
            }
        })
        .await;
}
