//! Following the retained directory: an ephemeral consumer of the bucket gives the newest of each key and then every
//! change. When anything is missed the directory is over, and whoever follows makes a new one: nothing is guessed.

use crate::conn::Conn;
use crate::delivery::facts;
use crate::error::{NatsError, away};
use crate::limits::{
    API_MAX, DIRECTORY_BEAT, DIRECTORY_IDLE_MAX, DIRECTORY_SILENCE_MAX, MARK_AGE_MAX, MARKS_MAX,
};
use crate::topology::{ConsumerInfo, nanos};
use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use sengu_interconnect::{BrokerError, Directory, Entries};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Headers of key-value buckets, as every client of NATS writes them.
pub const OPERATION: &str = "KV-Operation";
pub const DELETED: &str = "DEL";
const LAST_CONSUMER: &str = "Nats-Last-Consumer";

#[derive(Default)]
struct Board {
    news: Mutex<News>,
    posted: Notify,
}

#[derive(Default)]
struct News {
    /// Newest of each key since the last call.
    changed: BTreeMap<String, Option<Bytes>>,
    /// Nothing more will come.
    over: Option<NatsError>,
}

pub struct NatsDirectory {
    board: Arc<Board>,
    is_first: bool,
    reader: AbortHandle,
}

/// One read of the consumer's messages.
struct Reader {
    conn: Arc<Conn>,
    sub: Subscriber,
    prefix: String,
    /// Consumer sequence of the last message.
    last: u64,
}

enum Read {
    Entry {
        key: String,
        value: Option<Bytes>,
        seq: u64,
        published_ns: i128,
        pending: u64,
    },
    /// No entry of what is followed, with what is pending still.
    Other {
        pending: u64,
    },
    Word,
}

impl NatsDirectory {
    /// Resolves when all that is there has been read.
    pub async fn open(conn: Arc<Conn>, prefix: String) -> Result<NatsDirectory, NatsError> {
        let (mut reader, mut pending) = Reader::open(conn, prefix).await?;
        let mut changed = BTreeMap::new();
        let mut marks = Vec::new();
        while pending > 0 {
            let (key, value, seq, published_ns) = match reader.read().await? {
                Read::Word => continue,
                Read::Other { pending: rest } => {
                    pending = rest;
                    continue;
                }
                Read::Entry {
                    key,
                    value,
                    seq,
                    published_ns,
                    pending: rest,
                } => {
                    pending = rest;
                    (key, value, seq, published_ns)
                }
            };
            match value {
                Some(value) => {
                    changed.insert(key, Some(value));
                }
                None => {
                    changed.remove(&key);
                    if is_old(published_ns) && marks.len() < MARKS_MAX {
                        marks.push((key, seq));
                    }
                }
            }
        }
        forget(&reader.conn, marks).await;
        let board = Arc::new(Board::default());
        board.news.lock().changed = changed;
        let to = board.clone();
        let reader = tokio::spawn(async move {
            let why = reader.follow(&to).await;
            to.news.lock().over = Some(why);
            to.posted.notify_one();
        });
        Ok(NatsDirectory {
            board,
            is_first: true,
            reader: reader.abort_handle(),
        })
    }
}

impl Drop for NatsDirectory {
    fn drop(&mut self) {
        // Its subscription goes with it, and the server forgets the consumer that nobody listens to.
        self.reader.abort();
    }
}

impl Directory for NatsDirectory {
    fn next(&mut self) -> BoxFuture<'_, Result<Entries, BrokerError>> {
        async move {
            loop {
                let posted = self.board.posted.notified();
                tokio::pin!(posted);
                posted.as_mut().enable();
                {
                    let mut news = self.board.news.lock();
                    if self.is_first || !news.changed.is_empty() {
                        self.is_first = false;
                        return Ok(std::mem::take(&mut news.changed).into_iter().collect());
                    }
                    if let Some(why) = &news.over {
                        return Err(away(why.clone()));
                    }
                }
                posted.await;
            }
        }
        .boxed()
    }
}

impl Reader {
    async fn open(conn: Arc<Conn>, prefix: String) -> Result<(Reader, u64), NatsError> {
        let inbox = conn.client.new_inbox();
        let sub = conn.client.subscribe(inbox.clone()).await;
        let sub = sub.map_err(|_| conn.gone())?;
        let stream = conn.names.bucket_stream();
        let question = json!({
            "stream_name": stream,
            "config": {
                "deliver_subject": inbox,
                "deliver_policy": "last_per_subject",
                "filter_subject": conn.names.keys_filter(&prefix),
                "ack_policy": "none",
                "replay_policy": "instant",
                "max_deliver": 1,
                "idle_heartbeat": nanos(DIRECTORY_BEAT),
                "inactive_threshold": nanos(DIRECTORY_IDLE_MAX),
                "num_replicas": 1,
                "mem_storage": true,
            },
        });
        let subject = format!("CONSUMER.CREATE.{stream}");
        let info: ConsumerInfo = conn.api(&subject, &question).await?;
        let reader = Reader {
            conn,
            sub,
            prefix,
            last: 0,
        };
        // What came while it was made is among it, or comes next.
        Ok((reader, info.num_pending))
    }

    /// # Errors
    /// When something was missed, or may have been.
    async fn read(&mut self) -> Result<Read, NatsError> {
        let message = tokio::select! {
            biased;
            message = timeout(DIRECTORY_SILENCE_MAX, self.sub.next()) => message,
            () = self.conn.signals.until_lost() => return Err(self.conn.gone()),
        };
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => return Err(self.conn.gone()),
            Err(_) => return Err(NatsError::Over),
        };
        if message.status.is_some() {
            let last = message.headers.as_ref().and_then(|h| h.get(LAST_CONSUMER));
            let last = last.and_then(|last| last.as_str().parse::<u64>().ok());
            return match last {
                Some(last) if last != self.last => Err(NatsError::Over),
                _ => Ok(Read::Word),
            };
        }
        let Some(facts) = message.reply.as_deref().and_then(facts) else {
            return Ok(Read::Word);
        };
        if facts.consumer_seq != self.last + 1 {
            return Err(NatsError::Over);
        }
        self.last = facts.consumer_seq;
        let pending = facts.pending;
        let key = self.conn.names.key(&message.subject);
        let Some(key) = key.filter(|key| key.starts_with(&self.prefix)) else {
            return Ok(Read::Other { pending });
        };
        Ok(Read::Entry {
            key,
            value: value(message),
            seq: facts.stream_seq,
            published_ns: facts.published_ns,
            pending,
        })
    }

    async fn follow(&mut self, board: &Board) -> NatsError {
        loop {
            match self.read().await {
                Ok(Read::Entry { key, value, .. }) => {
                    board.news.lock().changed.insert(key, value);
                    board.posted.notify_one();
                }
                Ok(_) => {}
                Err(why) => return why,
            }
        }
    }
}

fn value(message: Message) -> Option<Bytes> {
    let operation = message.headers.as_ref().and_then(|h| h.get(OPERATION));
    match operation.is_some_and(|o| matches!(o.as_str(), DELETED | "PURGE")) {
        true => None,
        false => Some(message.payload),
    }
}

fn is_old(published_ns: i128) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.is_ok_and(|now| now.as_nanos() as i128 - published_ns > MARK_AGE_MAX.as_nanos() as i128)
}

/// Takes away marks of keys that have long been gone: only what is not newer than the mark.
async fn forget(conn: &Conn, marks: Vec<(String, u64)>) {
    let subject = format!("STREAM.PURGE.{}", conn.names.bucket_stream());
    for (key, seq) in marks {
        let question = json!({ "filter": conn.names.key_subject(&key), "seq": seq + 1 });
        let forgotten = timeout(API_MAX, conn.api::<Value>(&subject, &question)).await;
        if !matches!(forgotten, Ok(Ok(_))) {
            // The next listing tries again.
            return;
        }
    }
}
