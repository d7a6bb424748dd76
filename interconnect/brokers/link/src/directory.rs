//! A directory at the joining end. It outlives connections: after each new one it gives all entries again, and those
//! that vanished in between as gone, so that a follower never keeps what is no more.

use crate::client::Core;
use crate::conn::Conn;
use crate::error::LinkError;
use crate::frame;
use crate::limits::ENTRIES_BYTES_MAX;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use sengu_interconnect::{BrokerError, Directory, Entries};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Wait before a directory that the serving end gave up is opened again.
const OPEN_RETRY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct DirectorySlot {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    entries: Entries,
    bytes: usize,
    complete: bool,
    gone: bool,
}

impl DirectorySlot {
    pub fn add(&self, entries: Entries, more: bool) -> Result<(), LinkError> {
        let mut state = self.state.lock();
        if state.complete {
            return Err(LinkError::Protocol("entries that were not asked for"));
        }
        let bytes = |(key, value): &(String, Option<Bytes>)| {
            key.len() + value.as_ref().map_or(0, Bytes::len) + 64
        };
        state.bytes += entries.iter().map(bytes).sum::<usize>();
        if state.bytes > ENTRIES_BYTES_MAX {
            return Err(LinkError::Protocol("a directory is too large"));
        }
        state.entries.extend(entries);
        state.complete = !more;
        drop(state);
        if !more {
            self.wake();
        }
        Ok(())
    }

    pub fn gone(&self) {
        self.state.lock().gone = true;
        self.wake();
    }

    pub fn wake(&self) {
        self.arrived.notify_one();
    }
}

pub struct LinkDirectory {
    core: Arc<Core>,
    prefix: String,
    /// Keys that the follower holds for existing.
    known: BTreeSet<String>,
    first: bool,
    attached: Option<Attached>,
}

/// The directory as it is open over one connection.
struct Attached {
    conn: Arc<Conn>,
    id: u64,
    slot: Arc<DirectorySlot>,
    /// The next entries are on their way.
    asked: bool,
    /// They are all there are.
    fresh: bool,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.conn.close_directory(self.id);
    }
}

enum Came {
    Entries(Entries),
    /// The connection is dead, or the serving end gave the directory up.
    Dead,
    Gone,
}

impl Attached {
    async fn open(conn: Arc<Conn>, prefix: &str) -> Attached {
        conn.out.room().await;
        let id = conn.number();
        let slot = Arc::new(DirectorySlot::default());
        conn.directories.lock().insert(id, slot.clone());
        conn.out.say(|out| frame::directory(out, id, prefix));
        Attached {
            conn,
            id,
            slot,
            asked: true,
            fresh: true,
        }
    }

    async fn come(&mut self) -> Came {
        if !self.asked {
            self.conn.out.room().await;
            let id = self.id;
            self.conn.out.say(|out| frame::next(out, id));
            self.asked = true;
        }
        loop {
            let arrived = self.slot.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if self.conn.why_dead().is_some() {
                return Came::Dead;
            }
            {
                let mut state = self.slot.state.lock();
                if state.gone {
                    return Came::Gone;
                }
                if state.complete {
                    state.complete = false;
                    state.bytes = 0;
                    self.asked = false;
                    return Came::Entries(std::mem::take(&mut state.entries));
                }
            }
            arrived.await;
        }
    }
}

impl LinkDirectory {
    pub async fn open(core: Arc<Core>, conn: Arc<Conn>, prefix: String) -> LinkDirectory {
        let attached = Some(Attached::open(conn, &prefix).await);
        LinkDirectory {
            core,
            prefix,
            known: BTreeSet::new(),
            first: true,
            attached,
        }
    }

    /// What the follower is to be told; without waiting, so that it is told or nothing has changed.
    fn take(&mut self, mut entries: Entries, fresh: bool) -> Option<Entries> {
        if fresh {
            let there: HashSet<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
            let vanished = self
                .known
                .iter()
                .filter(|key| !there.contains(key.as_str()));
            let vanished: Vec<String> = vanished.cloned().collect();
            entries.extend(vanished.into_iter().map(|key| (key, None)));
        }
        for (key, value) in &entries {
            if value.is_some() {
                self.known.insert(key.clone());
            } else {
                self.known.remove(key);
            }
        }
        let first = std::mem::take(&mut self.first);
        (first || !entries.is_empty()).then_some(entries)
    }
}

impl Directory for LinkDirectory {
    fn next(&mut self) -> BoxFuture<'_, Result<Entries, BrokerError>> {
        async move {
            loop {
                let Some(attached) = &mut self.attached else {
                    let conn = self.core.joined().await?;
                    self.attached = Some(Attached::open(conn, &self.prefix).await);
                    continue;
                };
                match attached.come().await {
                    Came::Entries(entries) => {
                        let fresh = std::mem::take(&mut attached.fresh);
                        if let Some(entries) = self.take(entries, fresh) {
                            return Ok(entries);
                        }
                    }
                    Came::Dead => self.attached = None,
                    Came::Gone => {
                        tokio::time::sleep(OPEN_RETRY).await;
                        self.attached = None;
                    }
                }
            }
        }
        .boxed()
    }
}
