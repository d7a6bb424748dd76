//! The only async loop of the WEE. It waits for whatever comes next, applies it, and settles: writes, publishes and
//! re-arms all that became possible. It must never wait for one instance, one queue or one device.

use crate::cache::Stored;
use crate::claim::Claimed;
use crate::commands::Commands;
use crate::directory::{News, Part};
use crate::epoch::LogicLife;
use crate::fetch::FetchError;
use crate::frames::Lines;
use crate::hand::InHand;
use crate::hand_over::HeldBack;
use crate::images::Images;
use crate::instance::Instance;
use crate::lease::{Fences, IdHash};
use crate::leave::Leaving;
use crate::offer::Offers;
use crate::pools::{PoolKey, Pools};
use crate::report::Outbox;
use crate::runtime::{Attached, Exit, Handle, Image, Input, Output, Runtime, RuntimeError};
use crate::standing::Standing;
use crate::{Ended, WeeConfig, lease};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use sengu_interconnect::{Broker, BrokerError, Delivery, Directory, Message, Queue, Subscription};
use sengu_model::wire::envelope::WeeAnnouncement;
use sengu_model::{Class, TaskId, Time, limits};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

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
    Directory(Part, Box<dyn Directory>, Result<News, BrokerError>),
    /// None: no new subscription yet.
    Commands(Option<Box<dyn Subscription>>, Vec<Delivery>),
    Received(PoolKey, Class, Box<dyn Subscription>, Received),
    Subscribed(PoolKey, Class, Result<Box<dyn Subscription>, BrokerError>),
    Scanned(std::io::Result<Vec<Stored>>),
    Fetched(String, Result<Stored, FetchError>),
    Removed(String, std::io::Result<()>),
    Prepared(PoolKey, Arc<Image>, Result<(), RuntimeError>),
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
    /// Whether the broker has taken it over.
    Announced(bool),
    /// Or given up.
    Parked,
    Drain,
    Nothing,
}

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
    /// As of this turn, by the clock of logic.
    pub now: Time,
    pub pools: Pools,
    pub offers: Offers,
    pub images: Images,
    pub standing: Standing,
    pub logic: LogicLife,
    pub commands: Commands,
    pub instances: BTreeMap<u64, Instance>,
    pub last_instance: u64,
    pub hand: HashMap<TaskId, InHand, IdHash>,
    pub fences: Fences,
    /// Newer attempts of tasks whose older attempt is still in hand.
    pub held_back: HashMap<TaskId, HeldBack, IdHash>,
    /// Tasks whose claim logic has not answered yet.
    pub claims: HashMap<TaskId, Claimed, IdHash>,
    /// Cancels that came before their task.
    pub cancelled: VecDeque<(TaskId, lease::Fence)>,
    /// Instances with frames to write.
    pub unwritten: Vec<u64>,
    pub outbox: Outbox,
    /// Messages put aside that the broker has not taken yet.
    pub parking: usize,
    publish: Publish,
    beat_ms: u64,
    pub next_tick_ms: u64,
    pub announce: crate::announce::Announce,
    pub leaving: Option<Leaving>,
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

impl Shell {
    pub fn new(
        config: WeeConfig,
        broker: Arc<dyn Broker>,
        runtimes: Vec<Arc<dyn Runtime>>,
    ) -> (Shell, watch::Receiver<Arc<WeeAnnouncement>>) {
        let (announce, status) = crate::announce::Announce::new(&config, &runtimes);
        let shell = Shell {
            outbox: Outbox::new(&config.name, config.life),
            config,
            broker,
            runtimes,
            sources: FuturesUnordered::new(),
            origin: Instant::now(),
            now_ms: 0,
            now: Time(0),
            pools: Pools::default(),
            offers: Offers::default(),
            images: Images::default(),
            standing: Standing::default(),
            logic: LogicLife::default(),
            commands: Commands::default(),
            instances: BTreeMap::new(),
            last_instance: 0,
            hand: HashMap::default(),
            fences: Fences::new(FENCES_MAX),
            held_back: HashMap::default(),
            claims: HashMap::default(),
            cancelled: VecDeque::new(),
            unwritten: Vec::new(),
            parking: 0,
            publish: Publish::default(),
            beat_ms: 0,
            next_tick_ms: 0,
            announce,
            leaving: None,
        };
        (shell, status)
    }

    pub async fn run(mut self, asked: oneshot::Receiver<()>) -> Ended {
        self.look_at_the_clock();
        self.clear_leftovers().await;
        self.scan_cache();
        for part in [Part::Namesakes, Part::Spec, Part::Logic, Part::Offers] {
            self.follow(part, None, Duration::ZERO);
        }
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
            if self.has_left() {
                break;
            }
        }
        self.take_back_announcement().await;
        match self.is_upgrading() {
            true => Ended::Upgrade,
            false => Ended::Drained,
        }
    }

    pub fn source(&self, source: impl Future<Output = Event> + Send + 'static) {
        self.sources.push(source.boxed());
    }

    fn look_at_the_clock(&mut self) {
        self.now_ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.now = self.logic.clock(crate::clock::now());
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Directory(part, directory, news) => self.on_directory(part, directory, news),
            Event::Commands(commands, deliveries) => self.on_commands(commands, &deliveries),
            Event::Received(pool, class, subscription, received) => {
                self.on_received(pool, class, subscription, received);
            }
            Event::Subscribed(pool, class, result) => self.on_subscribed(pool, class, result),
            Event::Scanned(scanned) => self.on_scanned(scanned),
            Event::Fetched(digest, result) => self.on_fetched(&digest, result),
            Event::Removed(digest, removed) => self.on_removed(&digest, removed),
            Event::Prepared(pool, image, result) => self.on_prepared(pool, &image, result),
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
            Event::Announced(said) => self.on_announced(said),
            Event::Parked => self.parking = self.parking.saturating_sub(1),
            Event::Drain => self.leave(),
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
        self.look_after_claims();
        self.look_after_instances();
        self.look_after_pools();
        self.look_after_standing();
        self.withdraw_unconfirmed();
        self.clean_images();
        self.stop_if_leases_cannot_be_renewed();
        self.leave_on();
    }

    /// Does all that became possible in this turn.
    fn settle(&mut self) {
        for pool in self.pools.take_touched() {
            self.announce.stale = true;
            self.settle_pool(pool);
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

    /// All reports are with the broker.
    pub fn all_is_told(&self) -> bool {
        self.outbox.is_empty() && !self.publish.under_way
    }
}
