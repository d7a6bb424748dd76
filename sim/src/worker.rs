//! Simulated workers: the Runtime port with pipes in memory. They speak the worker protocol, drive the fake targets, and
//! crash, hang, answer late and die between an effect and its report as real ones do.

use crate::life::Life;
use crate::target::Session;
use crate::world::{self, note};
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use sengu_execution::Runtime;
use sengu_execution::runtime::{Attached, Exit, Handle, Image, RuntimeError};
use sengu_model::wire::worker::{PROTOCOL, TaskFrame, ToWorker, WorkerLine};
use sengu_model::{Effect, Failure, FailureCode, Outcome, TaskId, limits};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

const PIPE_BYTES: usize = 1 << 20;
/// Tasks that take their time, in per mille.
const SLOW: u64 = 80;

/// The runtime of one WEE. Its instances end with the WEE's process.
#[derive(Clone)]
pub struct SimRuntime {
    wee: String,
    life: Arc<Life>,
    instances: Arc<Mutex<BTreeMap<String, Instance>>>,
}

struct Instance {
    streams: Option<(DuplexStream, DuplexStream, DuplexStream)>,
    gone: watch::Receiver<bool>,
    killer: Arc<Killer>,
}

/// Ends all that an instance does.
#[derive(Default)]
struct Killer {
    all: Mutex<Vec<AbortHandle>>,
    gone: watch::Sender<bool>,
}

impl Killer {
    fn add(&self, handle: AbortHandle) {
        let mut all = self.all.lock();
        all.retain(|h| !h.is_finished());
        all.push(handle);
    }

    fn kill(&self) {
        for handle in self.all.lock().drain(..) {
            handle.abort();
        }
        self.gone.send_replace(true);
    }
}

impl SimRuntime {
    pub fn new(wee: &str, life: &Arc<Life>) -> SimRuntime {
        SimRuntime {
            wee: wee.to_owned(),
            life: life.clone(),
            instances: Arc::default(),
        }
    }

    /// The process of the WEE is gone, and its children with it.
    pub fn kill_all(&self) {
        for instance in self.instances.lock().values() {
            instance.killer.kill();
        }
    }
}

impl Runtime for SimRuntime {
    fn name(&self) -> &'static str {
        "process"
    }

    fn isolation(&self) -> Vec<String> {
        Vec::new()
    }

    fn prepare(&self, _: Image) -> BoxFuture<'_, Result<(), RuntimeError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn start(&self, image: Image, label: String) -> BoxFuture<'_, Result<Handle, RuntimeError>> {
        async move {
            tokio::time::sleep(Duration::from_millis(world::between(1, 20))).await;
            note!("{} starts {label}", self.wee);
            let (stdin, input) = tokio::io::duplex(PIPE_BYTES);
            let (output, stdout) = tokio::io::duplex(PIPE_BYTES);
            let (_, stderr) = tokio::io::duplex(64);
            let killer = Arc::new(Killer::default());
            let worker = Worker {
                wee: self.wee.clone(),
                killer: killer.clone(),
                image,
            };
            let running = tokio::spawn(worker.run(input, output));
            killer.add(running.abort_handle());
            let instance = Instance {
                streams: Some((stdin, stdout, stderr)),
                gone: killer.gone.subscribe(),
                killer,
            };
            self.instances.lock().insert(label.clone(), instance);
            if self.life.is_dead() {
                self.kill_all();
            }
            Ok(Handle(label))
        }
        .boxed()
    }

    fn attach(&self, handle: Handle) -> BoxFuture<'_, Result<Attached, RuntimeError>> {
        let mut instances = self.instances.lock();
        let instance = instances.get_mut(&handle.0);
        let taken = instance.and_then(|i| Some((i.streams.take()?, i.gone.clone())));
        let attached = match taken {
            Some(((stdin, stdout, stderr), mut gone)) => Ok(Attached {
                stdin: Box::pin(stdin),
                stdout: Box::pin(stdout),
                stderr: Box::pin(stderr),
                exit: async move {
                    let _ = gone.wait_for(|gone| *gone).await;
                    Exit {
                        clean: false,
                        why: "gone".to_owned(),
                        left_behind: 0,
                    }
                }
                .boxed(),
            }),
            None => Err(RuntimeError::Unknown(handle)),
        };
        std::future::ready(attached).boxed()
    }

    fn stop(&self, handle: Handle) -> BoxFuture<'_, Result<(), RuntimeError>> {
        if let Some(instance) = self.instances.lock().remove(&handle.0) {
            instance.killer.kill();
        }
        std::future::ready(Ok(())).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Handle>, RuntimeError>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }
}

struct Worker {
    wee: String,
    killer: Arc<Killer>,
    image: Image,
}

impl Worker {
    async fn run(self, input: DuplexStream, mut output: DuplexStream) {
        let (say, mut lines) = mpsc::unbounded_channel::<WorkerLine>();
        let _ = say.send(WorkerLine::Hello {
            protocol: PROTOCOL,
            worker: self.image.kind.clone(),
            version: self.image.version.clone(),
            slots: self.image.slots,
        });
        let writer = tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                let mut text = serde_json::to_vec(&line).unwrap_or_default();
                text.push(b'\n');
                if output.write_all(&text).await.is_err() {
                    return;
                }
                if let WorkerLine::Outcome { id, .. } = &line {
                    // Only now: its process may end with what it has not written yet.
                    world::with(|w| w.saying_done.remove(id) && w.said_done.insert(*id));
                }
            }
        });
        self.killer.add(writer.abort_handle());
        let beats = say.clone();
        let beater = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(limits::BEAT_MS)).await;
                if beats.send(WorkerLine::Beat).is_err() {
                    return;
                }
            }
        });
        self.killer.add(beater.abort_handle());
        let mut input = BufReader::new(input).lines();
        let mut cancels: BTreeMap<TaskId, watch::Sender<bool>> = BTreeMap::new();
        let mut tasks = tokio::task::JoinSet::new();
        while let Ok(Some(line)) = input.next_line().await {
            match serde_json::from_str::<ToWorker>(&line) {
                Ok(ToWorker::Task(frame)) => {
                    let cancel = watch::Sender::new(false);
                    let job = Job {
                        wee: self.wee.clone(),
                        killer: self.killer.clone(),
                        say: say.clone(),
                        cancelled: cancel.subscribe(),
                        frame: *frame,
                    };
                    cancels.insert(job.frame.id, cancel);
                    let handle = tasks.spawn(job.run());
                    self.killer.add(handle);
                }
                Ok(ToWorker::Cancel { id }) => {
                    if let Some(cancel) = cancels.get(&id) {
                        cancel.send_replace(true);
                    }
                }
                Ok(ToWorker::Drain) => break,
                Err(error) => note!("{}: a line is not understood: {error}", self.wee),
            }
        }
        while tasks.join_next().await.is_some() {}
        self.killer.kill();
    }
}

async fn cancelled(by: &mut watch::Receiver<bool>) {
    if by.wait_for(|cancelled| *cancelled).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// How one task goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Well,
    Busy,
    Unreachable,
    Refused,
    AuthFailed,
    /// The worker's process ends before, or right after the effect.
    DiesBefore,
    DiesAfter,
    /// Nothing comes any more, before or after the effect.
    HangsBefore,
    HangsAfter,
    /// It answers after its timeout.
    Late,
    CannotTell,
}

struct Job {
    wee: String,
    killer: Arc<Killer>,
    say: mpsc::UnboundedSender<WorkerLine>,
    cancelled: watch::Receiver<bool>,
    frame: TaskFrame,
}

/// A session on a target, closed however its task ends.
struct Opened {
    target: String,
    number: u64,
}

impl Drop for Opened {
    fn drop(&mut self) {
        // Instances end with the runtime after the world may be gone.
        world::if_there(|w| w.targets.close(&self.target, self.number));
    }
}

impl Job {
    async fn run(self) {
        let mut asked_to_end = self.cancelled.clone();
        let effect = effect_of(&self.frame.action);
        let (id, target) = (self.frame.id, self.frame.target.name.clone());
        let (number, way, ms) = world::with(|w| {
            let lost = w
                .out_of_touch
                .get(&self.wee)
                .is_some_and(|times| *times > 0);
            // Sent by a life of logic that another one has followed.
            let epoch = self
                .frame
                .fence
                .split('.')
                .next()
                .and_then(|e| e.parse().ok());
            // Of two deliveries that need no claim one may be refused, which frees the lane, before the other is heard of.
            let doubled = effect.repeatable() && w.doubled.contains(&id);
            let orphan = lost || doubled || epoch.is_some_and(|epoch: u64| epoch < w.epoch);
            let session = Session::of(id, effect.changes(), &self.wee, orphan);
            let number = w.targets.open(&target, &self.frame.fence, session, effect);
            let way = way(w);
            let ms = match w.random.chance(SLOW) {
                true => w.random.between(400, 3_000),
                false => w.random.between(3, 400),
            };
            (number, way, ms)
        });
        note!(
            "{} begins {id} {} ({}) on {target}: {way:?}",
            self.wee,
            self.frame.fence,
            self.frame.action
        );
        let opened = Opened {
            target: target.clone(),
            number,
        };
        let ms = ms.min(self.frame.timeout_ms / 2);
        let happens = || {
            if effect.changes() {
                note!(
                    "{} {id} {} takes effect on {target}",
                    self.wee,
                    self.frame.fence
                );
                world::with(|w| {
                    w.targets
                        .happens(&target, number, &self.frame.fence, effect)
                });
            }
        };
        let early = matches!(
            way,
            Way::Busy | Way::Unreachable | Way::Refused | Way::AuthFailed
        );
        let before = tokio::time::sleep(Duration::from_millis(ms / 2));
        tokio::select! {
            biased;
            () = cancelled(&mut asked_to_end) => {
                let why = "asked to".to_owned();
                drop(opened);
                self.answer(Outcome::Cancelled { why });
                return;
            }
            () = before => {}
        }
        match way {
            _ if early => {
                drop(opened);
                self.answer(early_end(way));
                return;
            }
            Way::DiesBefore => return self.die(),
            Way::HangsBefore => {
                self.hang().await;
            }
            _ => {}
        }
        happens();
        tokio::time::sleep(Duration::from_millis(ms / 2)).await;
        match way {
            Way::DiesAfter => return self.die(),
            Way::HangsAfter => self.hang().await,
            Way::Late => {
                tokio::time::sleep(Duration::from_millis(self.frame.timeout_ms + 500)).await;
            }
            _ => {}
        }
        let known = world::with(|w| w.targets.is_known(&target, number));
        drop(opened);
        if known && self.frame.probe.is_none() {
            world::with(|w| w.saying_done.insert(id));
        }
        let outcome = self.good_end(effect, way, &target);
        self.answer(outcome);
    }

    fn good_end(&self, effect: Effect, way: Way, target: &str) -> Outcome {
        if self.frame.probe.is_some() {
            let happened = match way {
                Way::CannotTell => None,
                _ => Some(world::with(|w| {
                    w.targets.happened(target, self.frame.id) > 0
                })),
            };
            return Outcome::result(false, json!({ "happened": happened }));
        }
        match effect.changes() {
            true => Outcome::changed(json!(0), json!(1)),
            false => Outcome::already(json!(1)),
        }
    }

    fn answer(&self, outcome: Outcome) {
        note!(
            "{} ends {} {}: {outcome:?}",
            self.wee,
            self.frame.id,
            self.frame.fence
        );
        let _ = self.say.send(WorkerLine::Outcome {
            id: self.frame.id,
            fence: self.frame.fence.clone(),
            outcome,
        });
    }

    /// It neither ends nor does anything; only its end closes the session.
    async fn hang(&self) {
        std::future::pending::<()>().await;
    }

    fn die(&self) {
        note!("{}: a worker dies with {}", self.wee, self.frame.id);
        self.killer.kill();
    }
}

fn effect_of(action: &str) -> Effect {
    match action {
        "set" => Effect::Idempotent,
        "cycle" => Effect::Probe,
        "fire" => Effect::Once,
        _ => Effect::Read,
    }
}

fn way(w: &mut world::World) -> Way {
    let mischief = w.mischief;
    if !w.random.chance(mischief) {
        return Way::Well;
    }
    match w.random.below(32) {
        0..=5 => Way::Busy,
        6..=11 => Way::Unreachable,
        12..=13 => Way::Refused,
        14 => Way::AuthFailed,
        15..=17 => Way::DiesBefore,
        18..=21 => Way::DiesAfter,
        22..=23 => Way::HangsBefore,
        24..=25 => Way::HangsAfter,
        26..=28 => Way::Late,
        _ => Way::CannotTell,
    }
}

fn early_end(way: Way) -> Outcome {
    match way {
        Way::Busy => Outcome::Failed(Failure::busy("not now", 300)),
        Way::Unreachable => Outcome::failed(FailureCode::Unreachable, "no route"),
        Way::AuthFailed => Outcome::failed(FailureCode::AuthFailed, "wrong password"),
        _ => Outcome::failed(FailureCode::Refused, "not this"),
    }
}
