//! Dispatch: the one loop that sends tasks and settles their ends.
//!
//! It owns the lanes. Requests, reports, finished commits and timers come in; envelopes and commits go out, each in
//! batches. It must never wait for one commit or one publish, never send a task that may not be repeated before that is
//! durable, and never free a lane before the outcome is durable.

mod adopt;
mod alter;
mod arrivals;
mod claim;
mod commit;
mod contact;
pub mod feed;
mod glance;
mod handle;
pub mod lanes;
mod observed;
mod pause;
pub mod report;
mod reports;
pub mod route;
pub mod send;
pub mod settle;
mod shadow;
mod stand;

use crate::catalog::{Action, Catalog, Kind};
use crate::core::Shared;
use crate::inventory::Target;
use crate::rollout::tally::Tally;
use crate::{clock, service};
use arrivals::{Arrival, Arrivals, Gone};
use feed::Feed;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
pub use glance::Glimpse;
pub use handle::{Handle, Input, Inputs};
use lanes::{Lanes, QueueIndex, Stage};
use reports::{ReportTag, Reports};
use sengu_interconnect::Queue;
use sengu_interconnect::contact::Contact;
use sengu_model::outcome::Status;
use sengu_model::task::{Priority, RawBody};
use sengu_model::wire::envelope::{TaskEnvelope, WeeCommand};
use sengu_model::{Class, Effect, Outcome, RunId, TaskId, Time, Uid};
use sengu_store::{Committed, Line, Op, StoreError};
use serde_json::value::RawValue;
pub use stand::{Overview, QueueStanding, Standing};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Commits of outcomes out at once; while they are, further ends gather for the next.
const COMMITS_MAX: usize = 4;
/// Results of a run's reads trickle in as devices answer. Each commit costs ten times what a result costs, so they wait
/// this long for each other; nothing that changes, and nobody's single task, ever waits.
const LINGER_MS: u64 = 20;
/// Something is looked after at least this often.
const IDLE: Duration = Duration::from_secs(10);
/// A turn that comes later than planned by this much: the process was stopped and goes on, or its machine was.
pub(crate) const HELD_MIN: Duration = Duration::from_secs(3);
/// What was observed is kept at most this often.
const KEEP_STATUS_EVERY_MS: u64 = 1_000;

/// All that is needed to send a task.
pub struct Payload {
    pub target: Arc<Target>,
    pub kind: Arc<Kind>,
    pub action: Arc<Action>,
    pub effect: Effect,
    pub params: RawBody,
    pub timeout_ms: u64,
    pub start_by: Option<Time>,
    pub run: Option<RunId>,
    pub batch: u32,
    pub volatile: bool,
    /// What its worker and the WEE say to each other is kept in its log.
    pub frames: bool,
    /// The attempt in hand, from 1. The fence also moves with probes and with what was never handed over; these do not
    /// count.
    pub tries: u32,
    /// Sent in vain since the last attempt that counted.
    pub in_vain: u32,
    /// Why an earlier attempt may have had its effect, if so.
    pub perhaps: Option<String>,
    /// Earlier attempts, one line each.
    pub history: Vec<String>,
    /// Last checkpoint of the attempt in hand.
    pub checkpoint: Option<Box<RawValue>>,
    /// A person asked to end it.
    pub cancelled: bool,
    pub lease_until: Time,
    /// The attempt in hand was sent by an earlier life of logic, of this epoch.
    pub adopted: Option<u64>,
    /// The attempt in hand is a probe for an attempt that was lost, and why that was.
    pub probing: Option<Probing>,
    pub sent_at: Option<Time>,
    pub wee: Option<Box<str>>,
    /// Who alone may begin an attempt that may not be repeated, once somebody asked.
    pub claim: Option<claim::Claim>,
    /// The version that whoever asked named.
    pub pinned: Option<Box<str>>,
    /// Why this version does it.
    pub chosen: Option<Arc<str>>,
    /// Out by a version on trial.
    pub trial: Option<Box<route::OutBy>>,
    /// It repeats a read by another version, to compare.
    pub shadow: Option<Box<shadow::Shadow>>,
}

#[derive(Clone)]
pub struct Probing {
    pub since: Time,
    pub why: String,
    /// Probes sent.
    pub tries: u32,
}

pub type Task = lanes::Task<Payload>;

/// A task that was committed (or is volatile), ready for its lane.
pub struct Ready {
    pub id: TaskId,
    pub priority: Priority,
    /// Where it waits in the store.
    pub line: Line,
    pub attempt: u32,
    pub not_before: Time,
    pub payload: Payload,
}

/// One batch of writes on its way.
struct Flight {
    ends: Vec<End>,
    retries: Vec<Again>,
    /// Tasks that go out once they are marked.
    marked: Vec<TaskId>,
    /// Reports that may be forgotten once this is durable.
    tags: Vec<ReportTag>,
    result: Result<Committed, StoreError>,
    ops: Vec<Op>,
    /// Some of it was refused before.
    repeated: bool,
}

struct End {
    task: TaskId,
    run: Option<RunId>,
    batch: u32,
    status: Status,
    changed: bool,
    attempts: u32,
    target: Arc<str>,
    /// Whether it was in a lane (not only in the store).
    in_lane: bool,
    /// Its batch had not begun.
    held: bool,
}

struct Again {
    task: TaskId,
    attempt: u32,
    not_before: Time,
}

/// Writes that gather until they may go.
#[derive(Default)]
struct Pending {
    ops: Vec<Op>,
    ends: Vec<End>,
    retries: Vec<Again>,
    marked: Vec<TaskId>,
    tags: Vec<ReportTag>,
    /// Some of it was refused before.
    repeated: bool,
    /// Of the operations, those that may wait for company: ends of reads that hold up nobody.
    unhurried: usize,
    /// Since when they do.
    lingers_since: Option<Time>,
}

/// Zone, kind, version, class.
type QueueKey = (Arc<str>, Arc<str>, Arc<str>, Class);

pub struct Dispatch {
    shared: Arc<Shared>,
    inputs: mpsc::Receiver<Input>,
    reports: Reports,
    contact: watch::Receiver<Contact>,
    /// Since when the interconnect cannot be reached from here.
    away_since: Option<Time>,
    lanes: Lanes<Payload>,
    catalog: Arc<Catalog>,
    queues: HashMap<QueueKey, QueueIndex>,
    queue_names: Vec<(QueueKey, Queue)>,
    /// By queue, since the start.
    tallies: Vec<Tally>,
    trials: route::Trials,
    /// Shadows in the lanes.
    shadows_out: usize,
    windows: route::Windows,
    pending: Pending,
    commits: FuturesUnordered<BoxFuture<'static, Flight>>,
    publishes: FuturesUnordered<BoxFuture<'static, send::Unsent>>,
    feed: Feed,
    arrivals: Arrivals,
    /// What ended and may still be brought in by a page or a request.
    gone: Gone,
    /// Being ended straight in the store.
    ending: HashSet<TaskId>,
    /// Runs whose tasks stay in the store unless they have begun.
    paused: HashSet<RunId>,
    /// Targets whose kept status changed.
    dirty: HashSet<Uid>,
    dirty_since: Option<Time>,
    sealed: HashMap<Arc<str>, (u64, Arc<RawValue>)>,
    /// Answers to claims of this turn.
    grants: Vec<claim::Grants>,
    control: mpsc::Sender<service::control::Input>,
    stopping: Option<oneshot::Sender<()>>,
    /// After the store refused: not before this.
    store_rest_until: Time,
    /// Nothing can be written any more.
    store_closed: bool,
    clock: clock::Steps,
}

impl Dispatch {
    pub fn new(
        shared: Arc<Shared>,
        inputs: Inputs,
        control: mpsc::Sender<service::control::Input>,
    ) -> Dispatch {
        let catalog = shared.catalog.read().clone();
        let reports = Reports::new(shared.broker.clone());
        let contact = shared.broker.contact();
        Dispatch {
            shared,
            catalog,
            tallies: Vec::new(),
            trials: route::Trials::new(),
            shadows_out: 0,
            inputs: inputs.inputs,
            arrivals: inputs.arrivals,
            reports,
            contact,
            away_since: None,
            lanes: Lanes::default(),
            queues: HashMap::new(),
            queue_names: Vec::new(),
            windows: HashMap::new(),
            pending: Pending::default(),
            commits: FuturesUnordered::new(),
            publishes: FuturesUnordered::new(),
            feed: Feed::default(),
            gone: Gone::default(),
            ending: HashSet::new(),
            paused: HashSet::new(),
            dirty: HashSet::new(),
            dirty_since: None,
            sealed: HashMap::new(),
            grants: Vec::new(),
            control,
            stopping: None,
            store_rest_until: Time(0),
            store_closed: false,
            clock: clock::Steps::new(),
        }
    }

    /// The time. When somebody set the clock, leases and rests move with it: nobody was silent for an hour because it
    /// is an hour later now.
    fn now(&mut self) -> Time {
        let (now, step) = self.clock.now();
        if step != 0 {
            tracing::warn!(step_ms = step, "the clock was set");
            self.lanes.clock_was_set(step);
            for task in self.lanes.iter_mut() {
                let until = &mut task.payload.lease_until;
                *until = Time(until.0.saturating_add(step));
            }
            self.store_rest_until = now;
            self.dirty_since = self.dirty_since.map(|_| now);
        }
        now
    }

    pub async fn run(mut self) {
        let mut inputs = Vec::with_capacity(256);
        let mut idle = tokio::time::interval(IDLE);
        self.take_paused();
        self.ask_for_lines(TaskId(0));
        let now = self.now();
        self.look_at_contact(now);
        let shared = self.shared.clone();
        let moved = &shared.moved;
        loop {
            let now = self.now();
            let wake = [
                self.lanes.next_timer(),
                self.dirty_at(),
                self.rest_over(),
                self.linger_over(),
            ];
            let wake = wake.into_iter().flatten().min();
            let wait = wake.map(|at| Duration::from_millis(at.ms_since(now)));
            let (begun, planned) = (Instant::now(), wait.map_or(IDLE, |wait| wait.min(IDLE)));
            tokio::select! {
                // What must not stand behind a flood comes first; of the two that may flood, none starves the other.
                biased;
                Some(flight) = self.commits.next() => self.landed(flight),
                Some(unsent) = self.publishes.next() => self.not_published(&unsent),
                Some(page) = self.feed.loads.next() => self.take_page(page),
                Ok(()) = self.contact.changed() => {
                    let now = self.now();
                    self.look_at_contact(now);
                }
                () = moved.notified() => {
                    let catalog = self.shared.catalog.read().clone();
                    let now = self.now();
                    self.take_catalog(catalog, now);
                }
                _ = idle.tick() => {
                    let now = self.now();
                    self.lanes.sweep_idle(now);
                    self.forget_old_secrets();
                }
                count = self.inputs.recv_many(&mut inputs, 256) => {
                    if count == 0 {
                        return; // every handle is gone
                    }
                    for input in inputs.drain(..) {
                        self.input(input);
                    }
                    if self.feed.first_read
                        && let Some(reports) = self.reports.receive(64).now_or_never()
                    {
                        self.take_reports(reports);
                    }
                }
                reports = self.reports.receive(64), if self.feed.first_read => self.take_reports(reports),
                () = async { tokio::time::sleep(wait.unwrap_or_default()).await }, if wait.is_some() => {}
            }
            let now = self.now();
            if begun.elapsed() > planned + HELD_MIN {
                // This process was held. What was said meanwhile is still to be read.
                self.lengthen_leases(now);
            }
            let due = self.lanes.due(now);
            for task in due.leases {
                self.lease_over(task, now);
            }
            for task in due.late {
                self.too_late(task, now);
            }
            self.ask_for_more();
            self.pump(now);
            self.keep_status(now);
            self.flush(now);
            self.send_grants();
            let written = self.commits.is_empty() && self.pending.ops.is_empty();
            if self.store_closed || (self.stopping.is_some() && written && self.dirty.is_empty()) {
                if let Some(reply) = self.stopping.take() {
                    let _ = reply.send(());
                }
                return;
            }
        }
    }

    fn dirty_at(&self) -> Option<Time> {
        // While the store refuses, its rest is what is waited for.
        let at = self.dirty_since.map(|t| t.plus_ms(KEEP_STATUS_EVERY_MS));
        at.filter(|_| self.store_rest_until == Time(0))
    }

    fn rest_over(&self) -> Option<Time> {
        (!self.pending.ops.is_empty() && self.store_rest_until > Time(0))
            .then_some(self.store_rest_until)
    }

    fn linger_over(&self) -> Option<Time> {
        self.pending.lingers_since.map(|t| t.plus_ms(LINGER_MS))
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::New(tasks, arrival) => {
                self.take_new(tasks, now);
                drop(arrival);
            }
            Input::Stored { from } => self.ask_for_lines(from),
            Input::Uncordoned(targets) => targets.iter().for_each(|t| self.dirty(*t, now)),
            Input::Sweep(tasks) => {
                for ready in tasks {
                    self.insert(ready, now, false);
                }
            }
            Input::Cancel {
                tasks,
                why,
                out_too,
                reply,
            } => {
                let mut elsewhere = tasks;
                elsewhere.retain(|id| !self.cancel(*id, &why, out_too, now));
                let _ = reply.send(elsewhere);
            }
            Input::CancelStored {
                tasks,
                why,
                out_too,
                arrival,
            } => {
                for open in tasks {
                    // A page may have brought it in meanwhile.
                    if !self.cancel(open.id, &why, out_too, now) {
                        let why = why.clone();
                        self.end_stored(&open, Outcome::Cancelled { why }, now);
                    }
                }
                drop(arrival);
            }
            Input::RunOut { run, reply } => {
                let out = |t: &&Task| t.payload.run == Some(run) && t.stage != Stage::Waiting;
                let _ = reply.send(self.lanes.iter().filter(out).count() as u32);
            }
            Input::Standing { tasks, reply } => {
                let all = tasks.into_iter().map(|id| self.standing(id, now)).collect();
                let _ = reply.send(all);
            }
            Input::Lane { target, reply } => {
                let _ = reply.send(self.lanes.lane(target));
            }
            Input::Overview(reply) => {
                let _ = reply.send(self.overview());
            }
            Input::Glimpse(reply) => {
                let _ = reply.send(self.glimpse(now));
            }
            Input::OutOf { run, reply } => {
                let out = |t: &&Task| t.payload.run == Some(run) && t.stage != Stage::Waiting;
                let _ = reply.send(self.lanes.iter().filter(out).map(|t| t.id).collect());
            }
            Input::Windows(windows) => {
                self.windows = windows;
                for (i, (key, _)) in self.queue_names.iter().enumerate() {
                    let window = window_of(&self.windows, key);
                    self.lanes.set_window(QueueIndex(i as u32), window);
                }
                // A version on trial takes tasks only where it is ready.
                self.reroute_ruled(now);
            }
            Input::Pause { run, held, from } => self.pause(run, held, from, now),
            Input::Altered(targets) => self.altered(&targets, now),
            Input::Stop(reply) => self.stopping = Some(reply),
        }
    }

    /// The queue of a task, made when first needed.
    fn queue(
        &mut self,
        zone: &Arc<str>,
        kind: &Arc<str>,
        version: &Arc<str>,
        class: Class,
    ) -> QueueIndex {
        let of_class = |class| (zone.clone(), kind.clone(), version.clone(), class);
        if let Some(index) = self.queues.get(&of_class(class)) {
            return *index;
        }
        let known = |class| self.queues.get(&of_class(class));
        let shared_with = Class::ALL.into_iter().find_map(known).copied();
        let index = self.lanes.add_queue(shared_with);
        let key = of_class(class);
        self.lanes.set_window(index, window_of(&self.windows, &key));
        let name = Queue::tasks(zone, kind, version, class);
        self.queue_names.push((key.clone(), name));
        self.queues.insert(key, index);
        self.tallies.push(Tally::default());
        index
    }

    /// Chooses again for all that wait and whose kind has rules.
    fn reroute_ruled(&mut self, now: Time) {
        let ruled = |task: &&Task| task.stage == Stage::Waiting && self.may_move(task);
        let waiting: Vec<TaskId> = self.lanes.iter().filter(ruled).map(|t| t.id).collect();
        for id in waiting {
            self.reroute(id, now);
        }
    }

    /// True when the task is known here: in its lane, or ending.
    fn cancel(&mut self, id: TaskId, why: &str, out_too: bool, now: Time) -> bool {
        let Some(task) = self.lanes.get_mut(id) else {
            return self.ending.contains(&id) || self.gone.contains(id);
        };
        task.payload.cancelled |= out_too;
        match task.stage {
            Stage::Settling => {}
            Stage::Sending | Stage::Sent { .. } | Stage::Started { .. } if !out_too => {}
            Stage::Waiting => {
                let outcome = Outcome::Cancelled {
                    why: why.to_owned(),
                };
                self.end(id, outcome, None, now);
            }
            Stage::Sending | Stage::Sent { .. } | Stage::Started { .. } => self.command_cancel(id),
        }
        true
    }

    fn command_cancel(&self, id: TaskId) {
        let Some(task) = self.lanes.get(id) else {
            return;
        };
        self.command_wees(&WeeCommand::Cancel {
            task: id,
            epoch: self.epoch_of(task),
            attempt: task.attempt,
        });
    }

    /// The epoch of the attempt in hand.
    fn epoch_of(&self, task: &Task) -> u64 {
        task.payload.adopted.unwrap_or(self.shared.epoch)
    }

    fn command_wees(&self, command: &WeeCommand) {
        let Ok(body) = serde_json::to_vec(command) else {
            return;
        };
        let names: Vec<String> = self.shared.wees.read().keys().cloned().collect();
        let messages = names
            .iter()
            .map(|name| sengu_interconnect::Message {
                queue: Queue::wee(name),
                body: body.clone().into(),
            })
            .collect();
        let broker = self.shared.broker.clone();
        clock::spawn(async move {
            if let Err(error) = broker.publish(messages).await {
                tracing::warn!(%error, "a command to the execution environments was not sent");
            }
        });
    }
}

fn window_of(windows: &route::Windows, (zone, kind, version, _): &QueueKey) -> u32 {
    let sizes = windows.get(&**kind);
    let size = sizes.and_then(|s| s.get(&(zone.to_string(), version.to_string())));
    size.copied().unwrap_or(0)
}

/// What an envelope is made of, kept apart so that it can be read at a glance.
fn envelope<'a>(
    task: &'a Task,
    start_by: Time,
    epoch: u64,
    action: &'a str,
    effect: Effect,
    secrets: Option<&'a RawValue>,
    probe: Option<&'a RawValue>,
) -> TaskEnvelope<'a> {
    let payload = &task.payload;
    TaskEnvelope {
        v: sengu_model::wire::envelope::VERSION,
        task: task.id,
        epoch,
        attempt: task.attempt,
        kind: payload.kind.name().into(),
        version: payload.kind.version().into(),
        action: action.into(),
        effect,
        timeout_ms: payload.timeout_ms,
        start_by: Some(start_by),
        sticky: task.target.0,
        params: &payload.params.0,
        target: payload.target.frame(),
        secrets,
        probe,
        volatile: payload.volatile,
        frames: payload.frames,
    }
}
