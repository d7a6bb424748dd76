//! One pull: a request for some messages, with an inbox of its own that they come to. The server forgets a pull when
//! nobody listens at its inbox, and that is how it is taken back without losing what is on its way: the server is told
//! to end the listening after so many messages that everything on its way fits, and we fill up with words to ourselves.

use crate::conn::Conn;
use crate::limits::{PULL_BEAT, PULL_FOR, PULL_SILENCE_MAX};
use crate::topology::nanos;
use async_nats::{Message, Subject, Subscriber};
use bytes::Bytes;
use serde_json::json;
use std::time::Instant;

/// Words of the server (a beat, the end) that may be among the messages on their way.
const WORDS_MAX: u64 = 4;
/// The header of what we say to ourselves.
const FILLER: &[u8] = b"filler";

pub struct Pull {
    pub sub: Subscriber,
    inbox: Subject,
    /// Messages that may still come.
    pub remaining: usize,
    /// Whatever came so far, words included: what the server counts.
    count: u64,
    /// It was taken back; what still comes was on its way.
    pub is_taken_back: bool,
    heard: Instant,
}

/// What came to an inbox.
pub enum Came {
    Delivery(Message),
    /// Nothing to act on.
    Word,
    /// No more will come by this pull, as is usual.
    Ended,
    /// No more will come, and the consumer may be gone.
    Broken(String),
}

/// # Errors
/// When the connection is gone.
pub async fn pull(conn: &Conn, stream: &str, consumer: &str, batch: usize) -> Result<Pull, ()> {
    let inbox = Subject::from(conn.client.new_inbox());
    let sub = conn.client.subscribe(inbox.clone()).await.map_err(|_| ())?;
    let question = json!({
        "batch": batch,
        "expires": nanos(PULL_FOR),
        "idle_heartbeat": nanos(PULL_BEAT),
    });
    let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
    let sent = conn
        .client
        .publish_with_reply(subject, inbox.clone(), question.to_string().into());
    sent.await.map_err(|_| ())?;
    Ok(Pull {
        sub,
        inbox,
        remaining: batch,
        count: 0,
        is_taken_back: false,
        heard: Instant::now(),
    })
}

impl Pull {
    /// # Errors
    /// When the connection is gone.
    pub async fn take_back(&mut self, conn: &Conn) -> Result<(), ()> {
        if std::mem::replace(&mut self.is_taken_back, true) {
            return Ok(());
        }
        let room = self.remaining as u64 + WORDS_MAX;
        let last = self.count + room;
        self.sub.unsubscribe_after(last).await.map_err(|_| ())?;
        for _ in 0..room {
            let filler = Bytes::from_static(FILLER);
            let sent = conn.client.publish(self.inbox.clone(), filler).await;
            sent.map_err(|_| ())?;
        }
        Ok(())
    }

    /// The server should have said something since.
    pub fn silent_at(&self) -> Instant {
        self.heard + PULL_SILENCE_MAX
    }

    pub fn read(&mut self, message: Message) -> Came {
        self.count += 1;
        self.heard = Instant::now();
        let Some(status) = message.status else {
            return match message.reply {
                Some(_) => {
                    self.remaining = self.remaining.saturating_sub(1);
                    Came::Delivery(message)
                }
                None => Came::Word,
            };
        };
        match status.as_u16() {
            100 => Came::Word,
            404 | 408 => Came::Ended,
            code => {
                let description = message.description.unwrap_or_default();
                Came::Broken(format!("{description} ({code})"))
            }
        }
    }
}
