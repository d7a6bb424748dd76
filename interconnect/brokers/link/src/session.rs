//! One joined connection at the serving end. What it asks is done in the order in which it asked; a connection that does
//! not read its answers is not read either, so it can hold up nobody but itself.

use crate::error::LinkError;
use crate::frame::{self, Answer, Ask, Part};
use crate::inbound::Inbound;
use crate::keepers::Keepers;
use crate::limits::{
    BATCH_BYTES_MAX, BROKER_MAX, CLOSE_MAX, DIRECTORIES_MAX, FRAME_BYTES_MAX, KEYS_MAX, Pace,
    SUBSCRIPTIONS_MAX,
};
use crate::outbound::Outbound;
use crate::pump::{Wishes, pump};
use sengu_interconnect::{Broker, BrokerError, Directory, Message, Queue};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

pub struct Session {
    broker: Arc<dyn Broker>,
    keepers: Arc<Keepers>,
    pace: Pace,
    connection: u64,
    out: Arc<Outbound>,
    subscriptions: HashMap<u64, Arc<Wishes>>,
    pumps: JoinSet<()>,
    directories: HashMap<u64, Followed>,
    followers: JoinSet<()>,
    keys: HashSet<String>,
    /// A batch whose last frame is not there yet.
    partial: Option<Partial>,
}

struct Followed {
    /// The joined end wants the next entries; it asks once for each answer.
    wanted: Arc<Notify>,
    task: AbortHandle,
}

struct Partial {
    request: u64,
    messages: Vec<Message>,
    bytes: usize,
}

impl Session {
    pub fn new(
        broker: Arc<dyn Broker>,
        keepers: Arc<Keepers>,
        pace: Pace,
        connection: u64,
    ) -> Session {
        Session {
            broker,
            keepers,
            pace,
            connection,
            out: Arc::new(Outbound::new()),
            subscriptions: HashMap::new(),
            pumps: JoinSet::new(),
            directories: HashMap::new(),
            followers: JoinSet::new(),
            keys: HashSet::new(),
            partial: None,
        }
    }

    /// Serves it until it ends, and tells why it did. What it had and did not ack is with the broker again then.
    pub async fn run<R, W>(
        mut self,
        mut inbound: Inbound<R>,
        write: W,
        mut superseded: watch::Receiver<bool>,
        mut closing: watch::Receiver<bool>,
    ) -> LinkError
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let mut writer = JoinSet::new();
        let (out, pace) = (self.out.clone(), self.pace);
        writer.spawn(async move { out.run(write, pace, |_| {}).await });
        let error = tokio::select! {
            biased;
            Ok(_) = superseded.wait_for(|s| *s) => LinkError::Superseded,
            Ok(_) = closing.wait_for(|c| *c) => LinkError::Closing,
            written = writer.join_next() => match written {
                Some(Ok(Err(error))) => error,
                _ => LinkError::Closed,
            },
            error = self.read(&mut inbound) => error,
        };
        self.followers.abort_all();
        for wishes in self.subscriptions.values() {
            wishes.end();
        }
        let pumps_end = async { while self.pumps.join_next().await.is_some() {} };
        let _ = timeout(CLOSE_MAX, pumps_end).await;
        self.pumps.shutdown().await;
        self.out.end();
        let _ = timeout(CLOSE_MAX, writer.join_next()).await;
        if !self.keys.is_empty() {
            self.keepers.end(self.connection).await;
        }
        error
    }

    async fn read<R: AsyncRead + Unpin>(&mut self, inbound: &mut Inbound<R>) -> LinkError {
        loop {
            let frame = inbound.frame(FRAME_BYTES_MAX, self.pace.silence_max).await;
            let done = match frame.and_then(Ask::read) {
                Ok(ask) => self.answer(ask).await,
                Err(e) => Err(e),
            };
            if let Err(e) = done {
                return e;
            }
        }
    }

    async fn answer(&mut self, ask: Ask) -> Result<(), LinkError> {
        match ask {
            Ask::Alive => {}
            Ask::Publish {
                request,
                part,
                messages,
            } => {
                if let Some(batch) = self.gather(request, part, messages)? {
                    let done = within(self.broker.publish(batch)).await;
                    self.tell(request, done.map(|()| Answer::Done)).await;
                }
            }
            Ask::Subscribe {
                request,
                subscription,
                credit,
                queue,
            } => {
                let done = self.subscribe(subscription, credit, queue).await?;
                self.tell(request, done).await;
            }
            Ask::Settle {
                subscription,
                settled,
            } => match self.subscriptions.get(&subscription) {
                Some(wishes) => wishes.add(settled)?,
                None => return Err(LinkError::Protocol("settled without a subscription")),
            },
            Ask::Unsubscribe { subscription } => {
                // It may have been refused.
                if let Some(wishes) = self.subscriptions.remove(&subscription) {
                    wishes.end();
                }
            }
            Ask::Depth { request, queue } => {
                let depth = within(self.broker.depth(queue)).await;
                self.tell(request, depth.map(Answer::Count)).await;
            }
            Ask::Retain {
                request,
                key,
                value,
            } => {
                let known = self.keys.contains(&key);
                let done = if value.is_some() && !known && self.keys.len() >= KEYS_MAX {
                    Ok(Answer::Away(format!("more than {KEYS_MAX} keys")))
                } else {
                    if value.is_some() {
                        self.keys.insert(key.clone());
                    } else {
                        self.keys.remove(&key);
                    }
                    let retained = self.keepers.retain(self.connection, key, value).await;
                    retained.map(|()| Answer::Done)
                };
                self.tell(request, done).await;
            }
            Ask::Directory { directory, prefix } => self.follow(directory, prefix).await?,
            Ask::Next { directory } => match self.directories.get(&directory) {
                Some(followed) => followed.wanted.notify_one(),
                None => return Err(LinkError::Protocol("no such directory")),
            },
            Ask::CloseDirectory { directory } => {
                if let Some(followed) = self.directories.remove(&directory) {
                    followed.task.abort();
                }
            }
        }
        Ok(())
    }

    /// The whole batch, once its last frame is there. One batch at a time comes in parts; a new one means that the
    /// joined end gave the old one up.
    fn gather(
        &mut self,
        request: u64,
        part: Part,
        messages: Vec<Message>,
    ) -> Result<Option<Vec<Message>>, LinkError> {
        if part.first && part.last {
            return Ok(Some(messages));
        }
        let bytes: usize = messages.iter().map(frame::weight).sum();
        if part.first {
            self.partial = Some(Partial {
                request,
                messages,
                bytes,
            });
            return Ok(None);
        }
        let partial = self.partial.as_mut().filter(|p| p.request == request);
        let partial = partial.ok_or(LinkError::Protocol("a part of no batch"))?;
        partial.messages.extend(messages);
        partial.bytes += bytes;
        if partial.bytes > BATCH_BYTES_MAX {
            return Err(LinkError::Protocol("a batch is too large"));
        }
        if !part.last {
            return Ok(None);
        }
        Ok(self.partial.take().map(|p| p.messages))
    }

    async fn subscribe(
        &mut self,
        id: u64,
        credit: u32,
        queue: Queue,
    ) -> Result<Result<Answer, BrokerError>, LinkError> {
        while self.pumps.try_join_next().is_some() {}
        if self.subscriptions.contains_key(&id) {
            return Err(LinkError::Protocol("subscribed twice"));
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX || self.pumps.len() >= SUBSCRIPTIONS_MAX {
            let why = format!("more than {SUBSCRIPTIONS_MAX} subscriptions");
            return Ok(Ok(Answer::Away(why)));
        }
        let subscription = match within(self.broker.subscribe(queue, credit)).await {
            Ok(subscription) => subscription,
            Err(e) => return Ok(Err(e)),
        };
        let wishes = Arc::new(Wishes::default());
        self.subscriptions.insert(id, wishes.clone());
        self.pumps
            .spawn(pump(id, wishes, subscription, self.out.clone()));
        Ok(Ok(Answer::Done))
    }

    async fn follow(&mut self, id: u64, prefix: String) -> Result<(), LinkError> {
        while self.followers.try_join_next().is_some() {}
        if self.directories.contains_key(&id) {
            return Err(LinkError::Protocol("a directory is opened twice"));
        }
        if self.directories.len() >= DIRECTORIES_MAX {
            return Err(LinkError::Protocol("too many directories"));
        }
        let wanted = Arc::new(Notify::new());
        wanted.notify_one();
        let opened = within(self.broker.directory(prefix)).await;
        let (out, asked) = (self.out.clone(), wanted.clone());
        let task = self.followers.spawn(async move {
            let done = match opened {
                Ok(directory) => follow(id, directory, &asked, &out).await,
                Err(e) => Err(e),
            };
            if let Err(e) = done {
                tracing::warn!(error = %e, "a joined end's directory ends");
                out.say_with_room(|out| frame::directory_gone(out, id))
                    .await;
            }
        });
        self.directories.insert(id, Followed { wanted, task });
        Ok(())
    }

    async fn tell(&self, request: u64, done: Result<Answer, BrokerError>) {
        let answer = done.unwrap_or_else(|e| match e {
            BrokerError::Full { queue, depth_max } => Answer::Full {
                queue,
                depth_max: depth_max as u64,
            },
            other => Answer::Away(chain(&other)),
        });
        self.out
            .say_with_room(|out| frame::answer(out, request, &answer))
            .await;
    }
}

async fn follow(
    id: u64,
    mut directory: Box<dyn Directory>,
    wanted: &Notify,
    out: &Outbound,
) -> Result<(), BrokerError> {
    loop {
        wanted.notified().await;
        let entries = directory.next().await?;
        let mut rest = entries.as_slice();
        loop {
            let count = frame::entries_count(rest);
            let (these, others) = rest.split_at(count);
            let more = !others.is_empty();
            out.say_with_room(|out| frame::entries(out, id, more, these))
                .await;
            rest = others;
            if !more {
                break;
            }
        }
    }
}

/// The broker behind is asked, and waited for no longer than is reasonable.
async fn within<T>(asked: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
    let answered = timeout(BROKER_MAX, asked).await;
    answered.unwrap_or(Err(BrokerError::Away(None)))
}

fn chain(error: &BrokerError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
