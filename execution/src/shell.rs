//! The only async loop of the WEE. It waits for whatever comes next, applies it, and settles: writes, publishes and
//! re-arms all that became possible. It must never wait for one instance, one queue or one device.

use crate::frames::Lines;
use crate::hand::InHand;
use crate::instance::Instance;
use crate::intake::{Intake, Waiting};
use crate::lease::{Fences, IdHash};
use crate::offer::Pool;
use crate::report::Outbox;
use crate::runtime::{Attached, Exit, Handle, Input, Output, Runtime, RuntimeError};
use crate::{WeeConfig, lease};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use sengu_interconnect::{Broker, BrokerError, Delivery, Directory, Message, Queue, Subscription};
use sengu_model::wire::envelope::WeeAnnouncement;
use sengu_model::{Class, TaskId, Time, limits};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;

/// Leases, limits and pools are looked at this often.
const TICK_MS: u64 = 100;
/// Events applied before the loop settles, so that a busy source does not keep others waiting.
const EVENTS_PER_TURN: usize = 64;
/// Fences remembered; three seconds' worth at the greatest rate, hours at a usual one.
const FENCES_MAX: usize = 65_536;
/// One publish to the broker, in bytes.
const PUBLISH_BYTES_MAX: usize = 8 << 20;
/// Reports waiting for the broker, in bytes: beyond this nothing new is begun and output of workers waits.
pub const OUTBOX_BYTES_MAX: usize = 64 << 20;

/// What may come next.
pub enum Event {
    Directory(Box<dyn Directory>, Entries),
    /// None: no new subscription yet.
    Commands(Option<Box<dyn Subscription>>, Vec<Delivery>),
    Received(usize, Class, Box<dyn Subscription>, Received),
    Subscribed(usize, Class, Result<Box<dyn Subscription>, BrokerError>),
    Prepared(usize, String, Result<(), RuntimeError>),
    Started(
        u64,
        Arc<dyn Runtime>,
        Result<(Handle, Attached), RuntimeError>,
    ),
    Output(u64, Output, Lines, std::io::Result<usize>),
    Stderr(u64, Output, Lines, std::io::Result<usize>),
    /// The stream is None when it broke.
    Written(u64, Option<Input>, Vec<u8>),
    Exited(u64, Exit),
    Stopped(u64, Result<(), RuntimeError>),
    Published(Vec<Bytes>, Result<(), BrokerError>),
    Announced,
    Drain,
    Nothing,
}

pub type Entries = Result<Vec<(String, Option<Bytes>)>, BrokerError>;

pub enum Received {
    Tasks(Vec<Delivery>),
    /// The wait was broken off from here.
    Poked,
    Broken(BrokerError),
}

pub struct Shell {
    pub config: WeeConfig,
    pub broker: Arc<dyn Broker>,
    pub runtimes: Vec<Arc<dyn Runtime>>,
    pub sources: FuturesUnordered<BoxFuture<'static, Event>>,
    origin: Instant,
    /// Milliseconds since `origin`, as of this turn.
    pub now_ms: u64,
    /// As of this turn.
    pub now: Time,
    pub pools: Vec<Pool>,
    pub instances: BTreeMap<u64, Instance>,
    pub last_instance: u64,
    pub hand: HashMap<TaskId, InHand, IdHash>,
    pub fences: Fences,
    /// Newer attempts of tasks whose older attempt is still in hand.
    pub held_back: HashMap<TaskId, (usize, Class, Waiting), IdHash>,
    /// Cancels that came before their task.
    pub cancelled: VecDeque<(TaskId, lease::Fence)>,
    /// Instances with frames to write.
    pub unwritten: Vec<u64>,
    pub outbox: Outbox,
    publish: Publish,
    beat_ms: u64,
    next_tick_ms: u64,
    pub announce: crate::announce::Announce,
    pub draining: Option<Draining>,
}

/// The one publish at a time, so that reports keep their order.
#[derive(Default)]
struct Publish {
    under_way: bool,
    /// Since when reports are stuck.
    stuck_since_ms: Option<u64>,
    failures: u32,
    retry_ms: u64,
    /// Work was stopped because leases could not be renewed.
    stopped: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Draining {
    pub since_ms: u64,
    pub cancelled: bool,
    pub killed: bool,
}

impl Shell {
    pub fn new(
        config: WeeConfig,
        broker: Arc<dyn Broker>,
        runtimes: Vec<Arc<dyn Runtime>>,
    ) -> (Shell, watch::Receiver<Arc<WeeAnnouncement>>) {
        let (announce, status) = crate::announce::Announce::new(&config, &runtimes);
        let shell = Shell {
            outbox: Outbox::new(&config.name),
            config,
            broker,
            runtimes,
            sources: FuturesUnordered::new(),
            origin: Instant::now(),
            now_ms: 0,
            now: Time(0),
            pools: Vec::new(),
            instances: BTreeMap::new(),
            last_instance: 0,
            hand: HashMap::default(),
            fences: Fences::new(FENCES_MAX),
            held_back: HashMap::default(),
            cancelled: VecDeque::new(),
            unwritten: Vec::new(),
            publish: Publish::default(),
            beat_ms: 0,
            next_tick_ms: 0,
            announce,
            draining: None,
        };
        (shell, status)
    }

    pub async fn run(mut self, asked: oneshot::Receiver<()>) {
        self.look_at_the_clock();
        self.clear_leftovers().await;
        self.follow_directory(None);
        self.follow_commands(None);
        self.source(async move {
            match asked.await {
                Ok(()) => Event::Drain,
                Err(_) => std::future::pending().await,
            }
        });
        let mut tick = tokio::time::interval(Duration::from_millis(TICK_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                biased;
                Some(event) = self.sources.next() => event,
                _ = tick.tick() => Event::Nothing,
            };
            self.look_at_the_clock();
            self.on(event);
            for _ in 0..EVENTS_PER_TURN {
                match self.sources.next().now_or_never() {
                    Some(Some(event)) => self.on(event),
                    _ => break,
                }
            }
            if self.now_ms >= self.next_tick_ms {
                self.next_tick_ms = self.now_ms + TICK_MS;
                self.tick();
            }
            self.settle();
            if self.is_drained() {
                break;
            }
        }
        self.take_back_announcement().await;
    }

    pub fn source(&self, source: impl Future<Output = Event> + Send + 'static) {
        self.sources.push(source.boxed());
    }

    fn look_at_the_clock(&mut self) {
        self.now_ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        self.now = Time(unix.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(0)));
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Directory(directory, entries) => self.on_directory(directory, entries),
            Event::Commands(commands, deliveries) => self.on_commands(commands, &deliveries),
            Event::Received(pool, class, subscription, received) => {
                self.on_received(pool, class, subscription, received);
            }
            Event::Subscribed(pool, class, result) => self.on_subscribed(pool, class, result),
            Event::Prepared(pool, digest, result) => self.on_prepared(pool, &digest, result),
            Event::Started(instance, runtime, result) => {
                self.on_started(instance, runtime, result);
            }
            Event::Output(instance, output, lines, read) => {
                self.on_output(instance, output, lines, read);
            }
            Event::Stderr(instance, output, lines, read) => {
                self.on_stderr(instance, output, lines, read);
            }
            Event::Written(instance, stdin, buffer) => self.on_written(instance, stdin, buffer),
            Event::Exited(instance, exit) => self.on_exited(instance, exit),
            Event::Stopped(instance, result) => self.on_stopped(instance, result),
            Event::Published(bodies, result) => self.on_published(bodies, result),
            Event::Announced => self.announce.under_way = false,
            Event::Drain => self.begin_drain(),
            Event::Nothing => {}
        }
    }

    /// What is due by time alone.
    fn tick(&mut self) {
        if self.now_ms >= self.beat_ms {
            self.beat_ms = self.now_ms + limits::BEAT_MS;
            self.report_beats();
        }
        self.look_after_hand();
        self.look_after_instances();
        self.look_after_waiting();
        self.stop_if_leases_cannot_be_renewed();
        self.drain_on();
        for pool in &mut self.pools {
            pool.dirty = true;
        }
    }

    /// Does all that became possible in this turn.
    fn settle(&mut self) {
        for pool in 0..self.pools.len() {
            if std::mem::take(&mut self.pools[pool].dirty) {
                self.settle_pool(pool);
            }
        }
        for key in std::mem::take(&mut self.unwritten) {
            self.write(key);
        }
        self.publish();
        self.announce_changes();
    }

    fn publish(&mut self) {
        if self.publish.under_way || self.outbox.is_empty() || self.now_ms < self.publish.retry_ms {
            return;
        }
        let bodies = self.outbox.take(PUBLISH_BYTES_MAX);
        let messages = |bodies: &[Bytes]| -> Vec<Message> {
            let message = |body: &Bytes| Message {
                queue: Queue::reports(),
                body: body.clone(),
            };
            bodies.iter().map(message).collect()
        };
        let batch = messages(&bodies);
        self.publish.under_way = true;
        self.publish.stuck_since_ms.get_or_insert(self.now_ms);
        let broker = self.broker.clone();
        self.source(async move {
            let result = broker.publish(batch).await;
            Event::Published(bodies, result)
        });
    }

    fn on_published(&mut self, bodies: Vec<Bytes>, result: Result<(), BrokerError>) {
        self.publish.under_way = false;
        match result {
            Ok(()) => {
                if self.publish.failures > 0 {
                    tracing::info!(failures = self.publish.failures, "reports go out again");
                }
                self.publish = Publish::default();
            }
            Err(e) => {
                self.publish.failures = self.publish.failures.saturating_add(1);
                let wait_ms = crate::pool::restart_wait_ms(self.publish.failures);
                // Leases hang on it, so it is tried more often than other things.
                self.publish.retry_ms = self.now_ms + wait_ms.min(limits::BEAT_MS / 2);
                tracing::warn!(error = %e, wait_ms, "reports were not taken");
                self.outbox.give_back(bodies);
            }
        }
    }

    fn stop_if_leases_cannot_be_renewed(&mut self) {
        let Some(since_ms) = self.publish.stuck_since_ms else {
            return;
        };
        let stuck_ms = self.now_ms.saturating_sub(since_ms);
        if self.publish.stopped || !lease::must_stop(stuck_ms) {
            return;
        }
        self.publish.stopped = true;
        tracing::error!(
            stuck_ms,
            tasks = self.hand.len(),
            "leases end, so work is cancelled"
        );
        self.cancel_all();
    }

    /// Whether nothing new may be begun, because reports do not go out.
    pub fn is_choked(&self) -> bool {
        self.publish.stopped || self.outbox.bytes() > OUTBOX_BYTES_MAX
    }

    /// Asks for the end of all that is in hand.
    pub fn cancel_all(&mut self) {
        let all: Vec<(TaskId, u64)> = self.hand.iter().map(|(id, t)| (*id, t.instance)).collect();
        for (id, instance) in all {
            self.send_cancel(instance, id);
        }
    }

    fn begin_drain(&mut self) {
        tracing::info!(tasks = self.hand.len(), "draining");
        self.draining = Some(Draining {
            since_ms: self.now_ms,
            cancelled: false,
            killed: false,
        });
        for pool in 0..self.pools.len() {
            self.close_pool(pool, "this WEE drains");
        }
    }

    /// Tasks in hand get `DRAIN_MAX_MS` to end, then a cancel and a grace, then their instance is killed.
    fn drain_on(&mut self) {
        let Some(mut draining) = self.draining else {
            return;
        };
        let spent_ms = self.now_ms.saturating_sub(draining.since_ms);
        if spent_ms >= limits::DRAIN_MAX_MS && !draining.cancelled {
            draining.cancelled = true;
            self.cancel_all();
        }
        if spent_ms >= limits::DRAIN_MAX_MS + limits::TIMEOUT_GRACE_MS && !draining.killed {
            draining.killed = true;
            let busy = self.instances.values().filter(|i| i.busy > 0);
            let busy: Vec<u64> = busy.map(|i| i.key).collect();
            for key in busy {
                self.kill(key, "tasks did not end before the WEE had to");
            }
        }
        self.draining = Some(draining);
    }

    fn is_drained(&self) -> bool {
        /// For instances to leave, and for the last reports to go out.
        const REST_MAX_MS: u64 = 5_000;
        let Some(draining) = self.draining else {
            return false;
        };
        let most_ms = 2 * limits::DRAIN_MAX_MS + limits::TIMEOUT_GRACE_MS + REST_MAX_MS;
        let idle = |intake: &Intake| intake.is_settled();
        let settled = self.pools.iter().all(|pool| pool.intakes.iter().all(idle));
        let told = self.outbox.is_empty() && !self.publish.under_way;
        (self.instances.is_empty() && settled && told)
            || self.now_ms.saturating_sub(draining.since_ms) >= most_ms
    }

    /// Kills what an earlier life of this WEE left behind.
    async fn clear_leftovers(&mut self) {
        for runtime in &self.runtimes {
            let leftovers = match runtime.list().await {
                Ok(leftovers) => leftovers,
                Err(e) => {
                    tracing::warn!(runtime = runtime.name(), error = e.text(), "list instances");
                    continue;
                }
            };
            for handle in leftovers {
                let stopped = runtime.stop(handle.clone()).await;
                let error = stopped.err().map(|e| e.text());
                tracing::warn!(runtime = runtime.name(), %handle, error, "left-over instance");
            }
        }
    }
}
