//! Connections kept per host, so that many tasks pay for one login.
//!
//! One login at a time per host, and whoever waited for it shares its failure: a wrong password is offered once,
//! however many tasks stand in the queue. Nothing here executes anything on a host.

use crate::dial::{Client, Connection, Dialer, unreachable};
use crate::host::Host;
use russh::client::{Handle, Msg};
use sengu_sdk::Failure;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::Instant;

/// A connection without a task this long is closed: sessions of people come first.
const IDLE_MAX: Duration = Duration::from_secs(30);
const SWEEP: Duration = Duration::from_secs(5);
/// Idle connections kept over all hosts: each costs a file descriptor here and a process there.
const IDLE_CONNECTIONS_MAX: usize = 256;
/// This many more may pile up before the oldest idle ones go.
const IDLE_CONNECTIONS_SLACK: usize = 64;
/// Logins under way at one address: sshd begins to drop connections at 10 (MaxStartups).
const HANDSHAKES_PER_ADDRESS_MAX: usize = 8;
/// Commands at once on one connection; sshd allows 10 (MaxSessions).
const CHANNELS_PER_CONNECTION_MAX: usize = 8;
/// Connections in turn that may prove dead before the host counts as unreachable.
const TRIES_MAX: u32 = 3;
/// From asking for a channel to its confirmation, on a kept connection: then it counts as dead.
const CHANNEL_OPEN_MAX: Duration = Duration::from_secs(10);
const PARTING_MAX: Duration = Duration::from_millis(200);
/// A host without a free session is left alone this long.
const BUSY_RETRY_MS: u64 = 1_000;

type Key = (String, [u8; 32]);

#[derive(Default)]
pub struct Kept {
    dialer: Dialer,
    hosts: Mutex<HashMap<Key, Arc<Slot>>>,
    doors: Mutex<HashMap<String, Arc<Semaphore>>>,
    sweeping: AtomicBool,
    /// Every connection holds a clone, so its count tells how many there are.
    open: Arc<()>,
}

#[derive(Default)]
struct Slot {
    dialing: AsyncMutex<()>,
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    connections: Vec<Arc<Live>>,
    /// Counts failed logins, so that those who waited can tell that theirs was answered.
    failures: u64,
    last_failure: Option<Failure>,
    /// What the host was seen to allow, when it is less than our own limit.
    channels_max: Option<usize>,
}

struct Live {
    connection: Connection,
    _open: Arc<()>,
    use_: Mutex<Use>,
}

struct Use {
    channels: usize,
    since: Instant,
}

/// One channel on a kept connection; the connection stays in use while this lives.
pub struct Leased {
    live: Arc<Live>,
    pub channel: russh::Channel<Msg>,
}

/// Gives a channel's place back.
pub struct Lease(Arc<Live>);

impl Leased {
    pub fn split(self) -> (russh::Channel<Msg>, Lease) {
        (self.channel, Lease(self.live))
    }

    pub fn host_key(&self) -> &str {
        &self.live.connection.host_key
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.release();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is done under these locks that could panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    fn handle(&self) -> &Handle<Client> {
        &self.connection.handle
    }

    fn reserve(&self, channels_max: usize) -> bool {
        let mut use_ = lock(&self.use_);
        let free = !self.handle().is_closed() && use_.channels < channels_max;
        if free {
            use_.channels += 1;
        }
        free
    }

    fn release(&self) {
        let mut use_ = lock(&self.use_);
        use_.channels = use_.channels.saturating_sub(1);
        use_.since = Instant::now();
    }

    /// Says good-bye and gives the words a moment to get out before the stream ends.
    async fn part(&self, why: &str) {
        let _ = self
            .handle()
            .disconnect(russh::Disconnect::ByApplication, why, "")
            .await;
        let end = Instant::now() + PARTING_MAX;
        while !self.handle().is_closed() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn idle_since(&self) -> Option<Instant> {
        let use_ = lock(&self.use_);
        (use_.channels == 0).then_some(use_.since)
    }
}

/// Gives the reservation back unless it became a lease.
struct Reserved(Option<Arc<Live>>);

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(live) = self.0.take() {
            live.release();
        }
    }
}

impl Kept {
    /// A channel on a live connection to `host`, by a new login before `until` if none is kept. Nothing was executed yet.
    ///
    /// # Errors
    /// As [`Dialer::dial`], and `busy` when the host has no free session.
    pub async fn channel(self: &Arc<Self>, host: &Host, until: Instant) -> Result<Leased, Failure> {
        let slot = self.slot(host);
        let mut last = String::new();
        for _ in 0..TRIES_MAX {
            let live = self.live(host, &slot, until).await?;
            let mut reserved = Reserved(Some(live.clone()));
            let opened =
                tokio::time::timeout(CHANNEL_OPEN_MAX, live.handle().channel_open_session()).await;
            match opened {
                Ok(Ok(channel)) => {
                    reserved.0 = None;
                    return Ok(Leased { live, channel });
                }
                Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                    let others = lock(&live.use_).channels.saturating_sub(1);
                    if others == 0 {
                        return Err(Failure::busy(
                            format!("{} opens no session: {reason:?}", host.at()),
                            BUSY_RETRY_MS,
                        ));
                    }
                    // It allows fewer per connection than we hoped; the next one goes over another connection.
                    lock(&slot.state).channels_max = Some(others);
                    last = format!("{reason:?}");
                }
                Ok(Err(error)) => {
                    last = error.to_string();
                    slot.forget(&live);
                }
                Err(_) => {
                    last = "no answer to the request for a session".to_owned();
                    slot.forget(&live);
                }
            }
        }
        Err(unreachable(format!(
            "{}: no session after {TRIES_MAX} connections: {last}",
            host.at()
        )))
    }

    /// A connection with a place reserved on it.
    async fn live(
        self: &Arc<Self>,
        host: &Host,
        slot: &Slot,
        until: Instant,
    ) -> Result<Arc<Live>, Failure> {
        if let Some(live) = slot.reserve() {
            return Ok(live);
        }
        let failures_before = lock(&slot.state).failures;
        let _turn = slot.dialing.lock().await;
        if let Some(live) = slot.reserve() {
            return Ok(live);
        }
        {
            let state = lock(&slot.state);
            if state.failures != failures_before
                && let Some(failure) = &state.last_failure
            {
                return Err(failure.clone());
            }
        }
        let door = self.door(host);
        // The semaphore is never closed; if it were, the login would simply not be counted.
        let _place = door.acquire().await.ok();
        match self.dialer.dial(host, until).await {
            Ok(connection) => {
                let use_ = Use {
                    channels: 1,
                    since: Instant::now(),
                };
                let live = Arc::new(Live {
                    connection,
                    _open: self.open.clone(),
                    use_: Mutex::new(use_),
                });
                lock(&slot.state).connections.push(live.clone());
                let most = IDLE_CONNECTIONS_MAX + IDLE_CONNECTIONS_SLACK;
                if Arc::strong_count(&self.open) > most {
                    self.sweep(Instant::now());
                }
                Ok(live)
            }
            Err(failure) => {
                let mut state = lock(&slot.state);
                state.failures += 1;
                state.last_failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    fn slot(self: &Arc<Self>, host: &Host) -> Arc<Slot> {
        let key = (host.name.clone(), host.fingerprint);
        let slot = lock(&self.hosts).entry(key).or_default().clone();
        self.sweep_soon();
        slot
    }

    fn door(&self, host: &Host) -> Arc<Semaphore> {
        let mut doors = lock(&self.doors);
        doors
            .entry(host.at())
            .or_insert_with(|| Arc::new(Semaphore::new(HANDSHAKES_PER_ADDRESS_MAX)))
            .clone()
    }

    /// Closes what nobody needs until nothing is left; one sweeper at a time, none while nothing is open.
    fn sweep_soon(self: &Arc<Self>) {
        if self.sweeping.swap(true, Ordering::SeqCst) {
            return;
        }
        let kept = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                kept.sweep(Instant::now());
                // Under this lock no slot can be asked for, so nobody is missed when the sweeper ends.
                let mut hosts = lock(&kept.hosts);
                // A slot that somebody holds may be about to get a connection.
                hosts.retain(|_, slot| {
                    Arc::strong_count(slot) > 1 || !lock(&slot.state).connections.is_empty()
                });
                if hosts.is_empty() {
                    lock(&kept.doors).clear();
                    kept.sweeping.store(false, Ordering::SeqCst);
                    return;
                }
            }
        });
    }

    fn sweep(&self, now: Instant) {
        let slots: Vec<Arc<Slot>> = lock(&self.hosts).values().cloned().collect();
        let mut idle: Vec<(Instant, Arc<Slot>, Arc<Live>)> = Vec::new();
        for slot in slots {
            let mut state = lock(&slot.state);
            state
                .connections
                .retain(|live| !live.handle().is_closed() || live.idle_since().is_none());
            for live in &state.connections {
                if let Some(since) = live.idle_since() {
                    idle.push((since, slot.clone(), live.clone()));
                }
            }
        }
        idle.sort_by_key(|(since, ..)| *since);
        let too_many = idle.len().saturating_sub(IDLE_CONNECTIONS_MAX);
        for (n, (since, slot, live)) in idle.into_iter().enumerate() {
            if n >= too_many && now.duration_since(since) < IDLE_MAX {
                break;
            }
            slot.close(live);
        }
    }

    /// Closes everything; for the end of the instance.
    pub async fn close_all(&self) {
        let slots: Vec<Arc<Slot>> = lock(&self.hosts).drain().map(|(_, slot)| slot).collect();
        let mut partings = tokio::task::JoinSet::new();
        for slot in slots {
            for live in std::mem::take(&mut lock(&slot.state).connections) {
                partings.spawn(async move { live.part("drained").await });
            }
        }
        while partings.join_next().await.is_some() {}
    }
}

impl Slot {
    fn reserve(&self) -> Option<Arc<Live>> {
        let state = lock(&self.state);
        let most = state.channels_max.unwrap_or(CHANNELS_PER_CONNECTION_MAX);
        state
            .connections
            .iter()
            .find(|live| live.reserve(most))
            .cloned()
    }

    fn forget(&self, live: &Arc<Live>) {
        lock(&self.state)
            .connections
            .retain(|other| !Arc::ptr_eq(other, live));
    }

    /// Takes an idle connection out and says good-bye.
    fn close(&self, live: Arc<Live>) {
        {
            let mut state = lock(&self.state);
            // It may have been taken since it was looked at; whoever reserves does so under this lock.
            if live.idle_since().is_none() {
                return;
            }
            state.connections.retain(|other| !Arc::ptr_eq(other, &live));
        }
        tokio::spawn(async move { live.part("idle").await });
    }
}
